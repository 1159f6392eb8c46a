// How an SMS is counted (GSM 03.38): 160 septets, or 153 a part; 70 UTF-16 units, or 67 a part.

const BASIC = new Set(
  "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà",
);
const EXTENDED = new Set("^{}\\[~]|€\f");

/** `{ segments, unicode, left, culprit }`: `culprit` is the first character that costs the 160-character alphabet. */
export function count(text) {
  const characters = [...text];
  const culprit = characters.find((c) => !BASIC.has(c) && !EXTENDED.has(c));
  // An escaped pair must not be cut between two parts, nor may a surrogate pair: both are counted as they are packed.
  const costs = characters.map((c) => (culprit === undefined ? (EXTENDED.has(c) ? 2 : 1) : c.length));
  const total = costs.reduce((sum, cost) => sum + cost, 0);
  const [single, part] = culprit === undefined ? [160, 153] : [70, 67];
  if (total <= single) return { segments: total === 0 ? 0 : 1, unicode: culprit !== undefined, left: single - total, culprit };
  let segments = 1;
  let used = 0;
  for (const cost of costs) {
    if (used + cost > part) { segments += 1; used = 0; }
    used += cost;
  }
  return { segments, unicode: culprit !== undefined, left: part - used, culprit };
}
