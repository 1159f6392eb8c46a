// The messages of a conversation, as a plain column: who, when, what, and what became of it.

import { arrange, button, h, icon, linked } from "./dom.js";
import { bytes, day, exact, hourMinute, plural, when, who } from "./format.js";
import { agentName, state } from "./store.js";
import { drop, resend } from "./actions.js";

const STATES = {
  queued: { text: "queued", tone: "muted", title: "waits for its turn to be sent" },
  sending: { text: "sending …", tone: "muted", title: "the provider has been called" },
  accepted: { text: "sent ✓", tone: "muted", title: "the provider took it" },
  delivered: { text: "delivered ✓✓", tone: "muted", title: "it is on the customer's device" },
  read: { text: "read ✓✓", tone: "good", title: "the customer opened it" },
  rejected: { text: "refused ✕", tone: "bad", title: "the provider refused it" },
  failed: { text: "failed ✕", tone: "bad", title: "it did not arrive" },
  unknown: { text: "may have been sent ?", tone: "warn", title: "the provider never said whether it was sent" },
  dead: { text: "not sent ✕", tone: "bad", title: "given up" },
  dropped: { text: "dropped", tone: "muted", title: "somebody decided that it is not sent" },
};

const heldEntry = (m) => state.deadLetters.find((e) => e.id === m.id || e.message === m.id) ?? m;

function outcome(m) {
  if (!["out", "notice"].includes(m.direction) || !m.status) return null;
  // What its latest attempt met stands above the messages, too.
  const held = ["queued", "sending"].includes(m.status) && m.detail;
  const known = held ? { text: "not sent yet …", tone: "warn", title: m.detail } : (STATES[m.status] ?? { text: m.status, tone: "muted", title: "" });
  return h("span.state", { class: known.tone, title: known.title }, known.text);
}

/** What went wrong in words, and what can be done about it. */
function trouble(m) {
  if (!["rejected", "failed", "unknown", "dead"].includes(m.status)) return null;
  const reason = m.detail || (m.status === "unknown" ? "The connection broke after the text was handed over, so it may or may not have arrived." : "");
  const acts = ["rejected", "failed"].includes(m.status) && !state.deadLetters.some((e) => e.id === m.id || e.message === m.id) ? [] : [
    button("Send again", { run: () => resend([{ ...heldEntry(m), status: m.status }]) }),
    button("Drop", { quiet: true, run: () => drop([heldEntry(m)]) }),
  ];
  return h("div.trouble", { class: m.status === "unknown" ? "warn" : "bad" }, h("span", {}, reason, m.code && h("code", {}, ` ${m.code}`)), acts);
}

export const DOUBTS = {
  not_proved: {
    text: "sender not proved", title: "Nothing proves that the customer wrote this: anybody may have, in their name",
    newest: "anybody may have written the newest message in the customer’s name. Ask them in another way before you act on it.",
  },
  disproved: {
    text: "sender disproved",
    title: "Their domain says that this is not theirs (DMARC failed): somebody else may have written it, or a server that forwarded it changed it",
    newest: "somebody else may have written the newest message in the customer’s name: their domain says that it is not theirs (DMARC failed), unless a server that forwarded it changed it. Ask them in another way before you act on it.",
  },
};

/** A mark where it may not have been the customer who wrote: of a message, or of a conversation's newest one. */
export function doubt(of, tag = "span.unproved") {
  const known = DOUBTS[of?.sender_proof];
  return known ? h(tag, { title: known.title }, known.text) : null;
}

function author(m, conversation) {
  const a = m.author ?? {};
  if (m.direction === "in") {
    return h("span.author", {}, a.name || who(conversation), doubt(m));
  }
  if (m.direction === "notice") return h("span.author", {}, `told ${m.desk ?? "a desk"}`, a.rule && h("span.muted", {}, ` · “${a.rule}”`));
  if (a.kind === "auto") return h("span.author", {}, "auto", a.rule && h("span.muted", {}, ` · “${a.rule}”`));
  // Nobody's agent: a person or a program, by the name of its token.
  if (a.kind === "token") return h("span.author", { title: "written with this API token, in no agent's name" }, a.name, h("span.muted", {}, m.direction === "note" ? " · token · note" : " · token"));
  const name = a.kind === "agent" ? agentName(a.id) || a.name : a.name || a.kind || "us";
  return h("span.author", {}, name, m.direction === "note" && h("span.muted", {}, " · note"));
}

/** Only our own files are shown in the page; anything else is a link that names its host. */
function attachment(file) {
  const label = [file.name || "file", bytes(file.size)].filter(Boolean).join(" · ");
  if (file.state === "fetching" || file.state === "failed") {
    const what = file.state === "failed" ? "could not be fetched" : file.problem ? "not fetched yet, tried again" : "being fetched …";
    return h("span.file", { title: file.problem ?? "" }, icon("clip"), `${file.name || "file"} · ${what}${file.problem ? `: ${file.problem}` : ""}`);
  }
  const own = /^\/(?!\/)/.test(file.url ?? "");
  if (own && /^image\/(png|jpeg|gif|webp)$/.test(file.mime ?? "")) {
    return h("a.picture", { href: file.url, target: "_blank", rel: "noopener" }, h("img", { src: file.url, alt: file.name || "picture", loading: "lazy" }));
  }
  if (own || /^https?:\/\//.test(file.url ?? "")) {
    const host = own ? "" : ` · ${file.url.split("/")[2]}`;
    return h("a.file", { href: file.url, target: "_blank", rel: "noopener noreferrer" }, icon("clip"), label + host);
  }
  return h("span.file", {}, icon("clip"), label);
}

/** What was attached; the pictures of a mail's page apart, since most of them are logos. */
function files(m) {
  const all = m.attachments ?? [];
  const [sent, shown] = [all.filter((f) => !f.content_id), all.filter((f) => f.content_id)];
  return [
    sent.length > 0 && h("div.files", {}, sent.map(attachment)),
    shown.length > 0 && h("details.of-page", {}, h("summary", {}, `${plural(shown.length, "picture")} in the mail`), h("div.files", {}, shown.map(attachment))),
  ];
}

/** What the customer was given to choose from, unless it stands in the text as numbered lines. */
function choices(m) {
  const labels = (m.choices ?? []).map((c) => c.label ?? c.id);
  if (!labels.length || m.text?.includes(`1. ${labels[0]}`)) return null;
  return h("ul.choices", { "aria-label": "Choices" }, labels.map((label) => h("li", { dir: "auto" }, label)));
}

/** One message; `joined` when the one before is by the same author within a few minutes. */
function element(m, conversation, joined, onWhy) {
  if (m.direction === "event") {
    return h("li.event", {}, h("time", { title: exact(m.at) }, hourMinute(m.at)), h("span", {}, m.text));
  }
  const whyButton = m.direction === "in" && h("button.why", { type: "button", title: "Why was it handled like this?", onclick: () => onWhy(m.id) }, "Why?");
  return h("li.message", { class: [m.direction, joined && "joined"].filter(Boolean).join(" ") },
    h("time", { title: exact(m.at), datetime: m.at }, hourMinute(m.at)),
    h("div.body", {},
      h("div.meta", {}, author(m, conversation), outcome(m)),
      m.text && h("div.text", { dir: "auto" }, linked(m.text)),
      choices(m),
      files(m),
      trouble(m)),
    whyButton);
}

const authorKey = (m) => `${m.direction} ${m.author?.kind} ${m.author?.id ?? ""} ${m.author?.rule ?? ""} ${m.desk ?? ""} ${m.sender_proof ?? ""}`;
const joins = (m, before) =>
  before && before.direction !== "event" && authorKey(m) === authorKey(before) && when(m.at) - when(before.at) < 5 * 60_000
  && day(m.at) === day(before.at);

/** Keeps `list` showing `messages`: elements of messages that did not change stay as they are. */
export function draw(list, messages, conversation, onWhy, version) {
  const known = list.known?.version === version ? list.known.map : new Map();
  const map = new Map();
  const put = (key, el) => { map.set(key, { el }); elements.push(el); };
  const elements = [];
  let last;
  messages.forEach((m) => {
    const today = day(m.at);
    if (!last || today !== day(last.at)) put(`day ${today}`, known.get(`day ${today}`)?.el ?? h("li.day", {}, h("span", {}, today)));
    const joined = Boolean(joins(m, last));
    const old = known.get(m.id);
    const el = old && old.m === m && old.joined === joined ? old.el : element(m, conversation, joined, onWhy);
    map.set(m.id, { m, joined, el });
    elements.push(el);
    last = m;
  });
  list.known = { version, map };
  arrange(list, elements);
}
