// One field that finds everything: conversations, queues, pages, acts.

import { pick } from "./dialogs.js";
import { address, ago, number, when, who } from "./format.js";
import { DOUBTS } from "./messages.js";
import { go } from "./route.js";
import { myName, state } from "./store.js";

const place = (label, route, hint = "page") => ({ label, hint, value: () => go(route) });

function places() {
  const inbox = (view) => ({ area: "inbox", view });
  return [
    ...(myName() ? [place("Mine", inbox("mine")), place("Offered", inbox("offered"))] : []), place("Everything open", inbox("all")), place("Closed", inbox("closed")),
    ...state.queues.map((q) => place(q.id, { area: "inbox", view: "queue", queue: q.id }, `queue · ${q.depth} waiting`)),
    place("Board", { area: "board" }), place("Rules", { area: "rules" }), place("Held back", { area: "held", tab: "parked" }),
  ];
}

function text(c) {
  const contact = c.contact ?? {};
  return [number(c), who(c), ...(contact.identities ?? []), ...(contact.identities ?? []).map(address), c.subject, c.last_message?.text, c.channel,
    ...(c.tags ?? []), ...Object.values(c.attributes ?? {})].join(" ").toLowerCase();
}

function conversations(words) {
  const found = [];
  for (const c of state.conversations.values()) {
    const all = text(c);
    if (words.every((w) => all.includes(w))) found.push(c);
  }
  found.sort((a, b) => (when(b.updated_at) ?? 0) - (when(a.updated_at) ?? 0));
  return found.slice(0, 30).map((c) => ({
    label: `${who(c)} ${number(c)}`.trim(),
    hint: [c.channel, c.state, DOUBTS[c.sender_proof]?.text, (c.last_message?.text ?? "").slice(0, 60), ago(c.last_message?.at)].filter(Boolean).join(" · "),
    value: () => go({ area: "inbox", view: c.state === "closed" ? "closed" : "all", id: c.id }),
  }));
}

export async function find() {
  const items = (typed) => {
    const words = typed.split(/\s+/).filter(Boolean);
    const pages = places().filter((p) => words.every((w) => p.label.toLowerCase().includes(w)));
    return words.length ? [...conversations(words), ...pages] : [...pages, ...conversations([]).slice(0, 8)];
  };
  const run = await pick({
    title: "Find", placeholder: "Name, number, address, latest text, queue …", items,
    empty: `Nothing fits among the ${state.conversations.size.toLocaleString()} conversations that are loaded: the open ones, and of the closed ones those that were looked at. Only their latest text is searched.`,
  });
  run?.();
}
