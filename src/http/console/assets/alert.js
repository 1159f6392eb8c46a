// What is heard: the soft ring of an offer, one chime for what came to this agent otherwise; and the page's title.

import { say } from "./dom.js";
import { who } from "./format.js";
import { myOffers, on, state } from "./store.js";
import { counts, needsMe } from "./views.js";

const MUTED = "switchboard.muted";
let audio = null;
let ringing = null;
/** What needed this agent when it was last looked at; `null` until everything is loaded. */
let known = null;
/** What this agent takes themself is no news to them. */
const own = new Set();
export const expect = (id) => { own.add(id); setTimeout(() => own.delete(id), 5000); };

export const muted = () => localStorage.getItem(MUTED) === "yes";

export function mute(yes) {
  localStorage.setItem(MUTED, yes ? "yes" : "no");
  if (yes) stop();
  else follow();
}

/** Two quiet notes. Browsers allow sound only after the first click or key; until then nothing is heard. */
function chime() {
  if (navigator.userActivation && !navigator.userActivation.hasBeenActive) return;
  audio ??= new AudioContext();
  if (audio.state === "suspended") audio.resume().catch(() => {});
  [[660, 0], [880, 0.18]].forEach(([frequency, delay]) => {
    const start = audio.currentTime + delay;
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    tone.frequency.value = frequency;
    volume.gain.setValueAtTime(0, start);
    volume.gain.linearRampToValueAtTime(0.06, start + 0.03);
    volume.gain.exponentialRampToValueAtTime(0.0005, start + 0.7);
    tone.connect(volume).connect(audio.destination);
    tone.start(start);
    tone.stop(start + 0.75);
  });
}

function stop() {
  clearInterval(ringing);
  ringing = null;
}

/** Says what is new, and answers whether any of it came without an offer. */
function news(offers) {
  const now = new Map(offers.map((c) => [c.id, c]));
  for (const c of state.conversations.values()) if (needsMe(c)) now.set(c.id, c);
  const before = known;
  known = state.loading ? null : new Set(now.keys());
  if (!before || !known) return false;
  const fresh = [...now.values()].filter((c) => !before.has(c.id) && !own.has(c.id));
  if (fresh.length) say(fresh.map((c) => `${c.state === "offered" ? "Offered to you" : "Your turn"}: ${who(c)}, ${c.last_message?.text ?? c.subject ?? c.channel}`).join(". "));
  return fresh.some((c) => c.state !== "offered");
}

function follow() {
  const offered = myOffers();
  const offers = offered.length;
  if (news(offered) && !muted() && ringing === null) chime();
  if (offers === 0) stop();
  else if (ringing === null && !muted()) {
    chime();
    ringing = setInterval(() => (myOffers().length ? chime() : stop()), 4000);
  }
  title(offers);
}

function title(offers) {
  const { needs } = counts();
  const lead = offers ? `● ${offers} offered · ` : needs ? `(${needs}) ` : "";
  document.title = `${lead}Switchboard${state.link === "lost" ? " · not live" : ""}`;
}

export function start() {
  on("conversations link", follow);
}
