// Writing: a reply or a note, with what the channel allows shown before a word is typed.

import * as api from "./api.js";
import * as canned from "./canned.js";
import * as extras from "./extras.js";
import { button, fill, h, icon } from "./dom.js";
import { count } from "./segments.js";
import { now, plural, span, when, who } from "./format.js";
import { agentName, isMe, loadDetail, may, myName, putMessage, state } from "./store.js";

const DRAFT = "switchboard.draft.";
const drafts = new Map();

function draftOf(id) {
  if (!drafts.has(id)) {
    let kept = null;
    try { kept = JSON.parse(sessionStorage.getItem(DRAFT + id) ?? "null"); } catch { kept = null; }
    drafts.set(id, { mode: "reply", text: "", choices: [], ...kept, files: [] });
  }
  return drafts.get(id);
}

function keep(id) {
  const { mode, text, choices } = drafts.get(id);
  if (text || choices.length) sessionStorage.setItem(DRAFT + id, JSON.stringify({ mode, text, choices }));
  else sessionStorage.removeItem(DRAFT + id);
}

/** Why a reply cannot be sent, in words; undefined when it can. */
function refusal(c) {
  if (c.agent && !isMe(c.agent) && c.state !== "closed" && !may("supervisor")) return `${agentName(c.agent)} has this conversation. You can leave a note.`;
  if (over(c)) return "The provider takes answers for a while after the customer wrote, and that is over";
  if (c.can_reply && !c.can_reply.ok) return sentence(c.can_reply.reason || "The channel does not allow a reply now");
  return undefined;
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

/** The customer's newest message that is on the screen: the daemon refuses an answer to an older one. */
function newestSeen(id) {
  const messages = state.details.get(id)?.messages ?? [];
  const last = messages.findLast((m) => m.direction === "in") ?? messages.findLast((m) => m.direction === "out");
  return last?.id;
}

/** The time for answers went by while the conversation stood on the screen. */
const over = (c) => c.can_reply?.ok && c.can_reply.until !== undefined && when(c.can_reply.until) < now();

/** How long the provider still takes an answer, once that is a day or less. */
function remaining(c) {
  const left = c.can_reply?.ok && c.can_reply.until !== undefined ? when(c.can_reply.until) - now() : undefined;
  return left === undefined || left < 0 || left > 86400000 ? "" : `${left < 60000 ? "under a minute" : span(left)} left to answer`;
}

/** What sending will do beyond sending. */
function effect(c) {
  if (c.state === "closed") return "Replying reopens it.";
  if (c.state === "queued" && myName()) return "Replying takes it.";
  if (c.state === "offered" && isMe(c.offer?.agent)) return "Replying accepts it.";
  if (c.agent && !isMe(c.agent) && c.state !== "closed") return `${agentName(c.agent)} has it.`;
  return "";
}

/** What the text costs; `known` is what the channel itself said of this text, once it did. */
function price(text, known) {
  const { segments, unicode, left, culprit } = count(known?.text ?? text);
  if (segments === 0) return "SMS";
  const why = unicode && segments > 1 ? ` (“${culprit}” makes them short)` : "";
  const most = known && !known.fits ? `, and this channel sends at most ${known.most}` : "";
  return `${plural(segments, "segment")}${why}${most} · ${left} left`;
}

/** The composer; `actions` are the buttons beside Send. */
export function mount(root, actions) {
  let current = null;
  let sending = false;
  /** When the customer was last told that somebody writes. */
  let told = 0;
  /** The text that its channel was asked about last, and what it said. */
  let asked = {};
  const tabs = h("div.tabs", { role: "tablist", "aria-label": "What to write" });
  const area = h("textarea", { rows: 2, dir: "auto" });
  const notice = h("div.notice", { role: "status" });
  const info = h("span.info.muted", {});
  const send = button("Send", { primary: true, run: () => submit() });
  const cannedButton = button("Canned", { quiet: true, key: "/", title: "Canned replies (/)", run: () => insertCanned() });
  const choicesButton = button("Choices", { quiet: true, key: "C", title: "Let the customer choose (c)", run: () => offer() });
  const attachButton = button(icon("clip"), { quiet: true, title: "Attach a file (f)", "aria-label": "Attach a file", run: () => attach() });
  const bar = h("div.bar", {});
  const more = extras.mount({ changed: () => changed(), warn: (text) => warn(text) });
  fill(root, tabs, notice, area, more.root, h("div.under", {}, info), bar);

  const mode = () => draftOf(current.id).mode;
  const blocked = () => (mode() === "reply" ? refusal(current) : undefined);

  function grow() {
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight + 2, 240)}px`;
  }

  function tab(name, label) {
    const on = mode() === name;
    return h("button", { type: "button", role: "tab", "aria-selected": String(on), tabindex: on ? 0 : -1, onclick: () => setMode(name) }, label,
      h("kbd", { "aria-hidden": "true" }, name === "reply" ? "R" : "N"));
  }

  function draw() {
    if (!current) return;
    const why = blocked();
    fill(tabs, tab("reply", "Reply"), tab("note", "Note"), h("span.spacer"), mode() === "reply" && [attachButton, choicesButton], cannedButton);
    more.root.hidden = mode() === "note" || Boolean(why);
    root.classList.toggle("noting", mode() === "note");
    area.disabled = Boolean(why);
    area.readOnly = sending;
    area.setAttribute("aria-label", mode() === "note" ? "Note for colleagues" : `Reply to ${who(current)}`);
    area.placeholder = why ?? (mode() === "note" ? "A note that only colleagues see" : `Reply to ${who(current)} …`);
    send.firstChild.textContent = sending ? "Sending …" : mode() === "note" ? "Add note" : "Send";
    send.disabled = Boolean(why) || sending || (mode() === "reply" && more.uploading());
    for (const b of [cannedButton, choicesButton, attachButton]) b.disabled = Boolean(why);
    fill(bar, send, h("span.spacer"), actions(current));
    drawInfo();
  }

  /** What the text costs: counted at once, and by the channel itself as soon as it answers. */
  function cost() {
    if (current.kind !== "sms") return "";
    const text = extras.numbered(area.value, more.labels());
    const { channel } = current;
    if (text && (asked.text !== text || asked.channel !== channel)) {
      clearTimeout(asked.timer);
      const question = { text, channel };
      question.timer = setTimeout(async () => {
        question.known = await api.measure(channel, text).catch(() => undefined);
        if (asked === question && current) drawInfo();
      }, 200);
      asked = question;
    }
    return price(text, text ? asked.known : undefined);
  }

  function drawInfo() {
    const parts = mode() === "reply" && !blocked() ? [cost(), remaining(current), effect(current)] : [];
    fill(info, parts.filter(Boolean).join(" · ") || (blocked() ? "" : "Enter sends · Shift Enter for a new line"));
  }

  function setMode(name) {
    draftOf(current.id).mode = name;
    keep(current.id);
    draw();
    area.focus();
  }

  function warn(text, ...acts) {
    fill(notice, text && [h("span", {}, text), acts]);
  }

  /** Something beside the text is another. */
  function changed() {
    if (!current) return;
    keep(current.id);
    drawInfo();
    send.disabled = Boolean(blocked()) || sending || (mode() === "reply" && more.uploading());
  }

  function beside(act) {
    if (refusal(current)) return;
    if (mode() !== "reply") setMode("reply");
    act();
  }
  const offer = () => beside(() => more.offer());
  const attach = () => beside(() => more.browse());

  async function insertCanned() {
    if (blocked()) return;
    const text = await canned.choose(current, area.value.trim());
    if (text === undefined) return;
    area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
    typed();
    area.focus();
  }

  /** The customer sees that somebody answers; a hint, so nothing depends on its arrival. */
  function tell() {
    if (current.kind !== "webchat" || mode() !== "reply" || !area.value || Date.now() - told < 3000) return;
    told = Date.now();
    api.typing(current.id).catch(() => {});
  }

  function typed() {
    tell();
    draftOf(current.id).text = area.value;
    keep(current.id);
    grow();
    drawInfo();
  }

  async function submit(extra = {}) {
    const text = area.value.trim();
    const isNote = mode() === "note";
    const parts = isNote ? {} : more.parts();
    if ((!text && !parts.attachments) || sending || blocked() || (!isNote && more.uploading())) {
      if (!text && parts.choices) warn("Write what the customer is asked to choose.");
      return;
    }
    const target = current;
    const seen = newestSeen(target.id);
    sending = true;
    warn("");
    draw();
    try {
      const answer = isNote ? await api.note(target.id, text) : await api.reply(target.id, { ...(text && { text }), ...parts, seen, ...extra });
      Object.assign(draftOf(target.id), { text: "", mode: "reply", ...(!isNote && { choices: [], files: [] }) });
      told = 0;
      keep(target.id);
      if (current.id === target.id) { area.value = ""; more.show(draftOf(target.id), current); grow(); }
      shown(target.id, answer, text, isNote, parts);
    } catch (problem) {
      if (current.id === target.id) refused(problem);
    } finally {
      sending = false;
      draw();
    }
  }

  /** Shows at once what was accepted; the event stream brings its true state. */
  function shown(id, answer, text, isNote, parts) {
    const message = answer?.id ?? answer?.message?.id;
    if (!message) { loadDetail(id); return; }
    if (state.details.get(id)?.messages.some((m) => m.id === message)) return;
    putMessage(id, {
      id: message, direction: isNote ? "note" : "out", author: myName() ? { kind: "agent", id: myName() } : { kind: "token", name: state.me?.token }, text, attachments: parts.attachments ?? [], choices: parts.choices,
      at: new Date().toISOString(), status: isNote ? undefined : "queued",
    });
  }

  function refused(problem) {
    if (problem.code === "stale") {
      loadDetail(current.id);
      warn("Something new has arrived above. Read it, then decide.", button("Send anyway", { run: () => submit({ seen: undefined }) }));
    } else if (problem.code === "owned" && may("supervisor")) {
      warn(sentence(problem.text), button("Take it and send", { run: () => submit({ take: true }) }));
    } else {
      warn(sentence(problem.text));
    }
  }

  area.addEventListener("input", typed);
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !event.altKey) { event.preventDefault(); submit(); }
    if (event.key === "Escape") { area.blur(); event.preventDefault(); }
    if (event.key === "/" && area.value === "") { event.preventDefault(); insertCanned(); }
  });
  area.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length && mode() === "reply") { event.preventDefault(); more.add(files); }
  });
  more.root.addEventListener("leave", () => area.focus());
  tabs.addEventListener("keydown", (event) => {
    if (["ArrowLeft", "ArrowRight"].includes(event.key)) { setMode(mode() === "note" ? "reply" : "note"); tabs.querySelector("[aria-selected=true]").focus(); }
  });

  return {
    show(conversation) {
      const other = current?.id !== conversation.id;
      current = conversation;
      if (other) {
        warn("");
        area.value = draftOf(conversation.id).text;
        more.show(draftOf(conversation.id), conversation);
      }
      draw();
      if (other) grow();
    },
    focus: (name) => current && setMode(name),
    canned: insertCanned,
    offer: () => current && offer(),
    attach: () => current && attach(),
  };
}
