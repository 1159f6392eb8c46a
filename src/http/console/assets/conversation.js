// The conversation: its header, its messages, what can be done with it, and the composer.

import * as actions from "./actions.js";
import * as composer from "./composer.js";
import * as messages from "./messages.js";
import { button, coded, fill, h, icon, live } from "./dom.js";
import { agoLong, clockState, clockText, clockTitle, countdown, exact, fate, now, number, plural, when, who } from "./format.js";
import { change, current } from "./route.js";
import { agentName, isMe, keepDetails, loadDetail, loadEarlier, on, state } from "./store.js";
import { attempt } from "./dialogs.js";

/** The service-level clock as a label that stays true. */
export function clock(c, tag = "span.clock") {
  if (!clockState(c.sla)) return null;
  return live(h(tag, { title: clockTitle(c) }), (el) => {
    el.dataset.clock = clockState(c.sla);
    return clockText(c.sla);
  });
}

/** Where it is and who has it, in words. */
export function standing(c) {
  switch (c.state) {
    case "queued": return `waiting in ${c.queue}`;
    case "offered": return isMe(c.offer?.agent) ? "offered to you" : `offered to ${agentName(c.offer?.agent ?? c.agent)}`;
    case "assigned": return isMe(c.agent) ? "yours" : `with ${agentName(c.agent)}`;
    case "pending": return `${!c.agent ? "" : isMe(c.agent) ? "yours, " : `with ${agentName(c.agent)}, `}${fate(c) ? "answered" : "waiting for the customer"}`;
    case "snoozed": return `snoozed until ${exact(c.snoozed_until)}`;
    default: return c.state;
  }
}

/** The part of an offer's time that is left, 0 to 1; offers do not say how long they were. */
export const offerLeft = (offer) => when(offer?.expires_at) - now();

function offerBar(c) {
  if (c.state !== "offered" || !isMe(c.offer?.agent)) return null;
  const left = live(h("b.count", {}), () => countdown(offerLeft(c.offer)));
  return h("div.offer-bar", { role: "status" }, h("span", {}, "Offered to you · ", left), h("span.spacer"),
    button("Accept", { primary: true, key: "A", run: () => actions.accept(c) }),
    button("Decline", { key: "D", run: () => actions.decline(c) }));
}

/** Says that the customer may not have written: it stays in sight, whatever was said since. */
function doubtBar(c) {
  const known = messages.DOUBTS[c.sender_proof];
  return known ? h("div.doubt-bar", { role: "status" }, h("b", {}, known.text), `: ${known.newest}`) : null;
}

/** Says that our answer has not left, why, and when it is tried again. */
function waitingBar(c) {
  const u = c.undelivered;
  if (!fate(c)?.waits) return null;
  const tried = u.attempts > 0 ? `tried ${plural(u.attempts, "time")}` : "not tried yet";
  const again = live(h("span", {}), () => (when(u.tried_again_at) > now() ? `, again in ${countdown(when(u.tried_again_at) - now())}` : ""));
  return h("div.waiting-bar", { role: "status" }, h("span", {}, h("b", {}, "Our answer has not left yet"), u.reason && [": ", coded(u.reason)],
    u.then && ["; then: ", h("code", {}, u.then)], u.receiving_trouble && ["; and ", coded(u.receiving_trouble)]),
    h("span.when", {}, tried, again));
}

/** The buttons beside Send. */
function buttons(c) {
  const shut = c.state === "closed";
  return [
    actions.canTake(c) && button("Take", { key: "Y", title: "Take it (y)", run: () => actions.take(c) }),
    button(shut ? "Reopen" : "Close", { key: "E", title: `${shut ? "Reopen" : "Close"} (e)`, run: () => actions.close(c) }),
    !shut && button("Transfer", { key: "T", title: "Transfer (t)", run: () => actions.transfer(c) }),
    !shut && button("Snooze", { key: "S", title: "Snooze (s)", run: () => actions.snooze(c) }),
    button("Why?", { key: "W", title: "Why was it handled like this? (w)", run: () => toggleWhy() }),
  ];
}

const inbound = (id) => state.details.get(id)?.messages.filter((m) => m.direction === "in") ?? [];

/** Opens the explanation of the latest inbound message, or closes it. */
export function toggleWhy() {
  const latest = inbound(current.id).at(-1);
  if (current.why) change({ why: null }, { replace: true });
  else if (latest) change({ why: latest.id });
}

function header(c, toggleSide) {
  return [
    h("button.icon-button.back", { type: "button", "aria-label": "Back to the list", onclick: () => change({ id: null, why: null }) }, icon("back")),
    h("div.title", {},
      h("h1", {}, h("span.who", {}, who(c)), c.subject && h("span.subject", {}, c.subject)),
      h("p.facts", {}, [number(c), c.channel, c.state === "queued" ? null : c.queue, standing(c)].filter(Boolean).map((t, i) => [i > 0 && " · ", t]),
        c.priority && [" · ", h("button.link", { type: "button", "data-priority": c.priority, title: "Change the priority", onclick: () => actions.prioritise(c) }, c.priority)])),
    clock(c),
    h("button.icon-button.side-toggle", { type: "button", "aria-label": "About the customer", title: "About the customer (i)", onclick: toggleSide }, icon("person")),
  ];
}

function nothingOpen() {
  return h("div.empty", {}, h("h2", {}, "No conversation is open"),
    h("p", {}, "Choose one from the list."),
    h("p.key-hint", {}, h("kbd", {}, "j"), " and ", h("kbd", {}, "k"), " move, ", h("kbd", {}, "o"), " opens, ", h("kbd", {}, "?"), " shows every key."));
}

function missing(problem, id) {
  const gone = problem.status === 404;
  return h("div.empty", {}, h("h2", {}, gone ? "There is no such conversation" : "It could not be loaded"),
    h("p", {}, gone ? "It may have been erased, or its transcript is older than what is kept." : problem.text),
    !gone && button("Try again", { run: () => loadDetail(id) }));
}

/** Mounts the pane; answers what the keys need of it. */
export function mount(root, toggleSide) {
  const top = h("header.conv-head", {});
  const offer = h("div.offer-slot", {});
  const list = h("ol.messages", { role: "log", "aria-label": "Messages" });
  const earlier = button("Earlier messages", { quiet: true, run: () => attempt(() => older()) });
  const scroller = h("div.scroller", { tabindex: 0, "aria-label": "Messages", role: "region" }, h("div.earlier", {}, earlier), list);
  const fresh = h("button.fresh", { type: "button", hidden: true, onclick: () => toEnd() }, "New message ↓");
  const typist = h("div.typist", { "aria-live": "off" });
  const write = h("div.composer", {});
  const blank = h("div.blank", {});
  const whole = h("div.conv", { hidden: true }, top, offer, h("div.scroll-box", {}, scroller, fresh), typist, write);
  fill(root, blank, whole);
  const writer = composer.mount(write, buttons);
  let shownId = null;
  let shownSummary = null;
  let turnsLate = null;
  let count = 0;

  const atEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 48;
  const toEnd = () => { scroller.scrollTop = scroller.scrollHeight; fresh.hidden = true; };
  scroller.addEventListener("scroll", () => { if (atEnd()) fresh.hidden = true; }, { passive: true });
  // A picture that loads late, or a composer that grows, must not push the latest message out of sight.
  let following = true;
  let lastTop = 0;
  scroller.addEventListener("scroll", () => {
    // Only a person scrolls up; content that grows under the end does not.
    if (atEnd()) following = true;
    else if (scroller.scrollTop < lastTop - 2) following = false;
    lastTop = scroller.scrollTop;
  }, { passive: true });
  new ResizeObserver(() => following && toEnd()).observe(list);
  new ResizeObserver(() => following && toEnd()).observe(scroller);

  async function older() {
    const height = scroller.scrollHeight;
    following = false;
    await loadEarlier(shownId);
    requestAnimationFrame(() => requestAnimationFrame(() => { scroller.scrollTop += scroller.scrollHeight - height; }));
  }

  function drawMessages(c, detail) {
    const other = shownId !== c.id;
    const stay = !other && !following;
    const grew = detail.messages.length > count && !other;
    count = detail.messages.length;
    // Names and held messages show in the lines, so the lines of before are only good while those are the same.
    const version = `${c.id} ${state.agents.size} ${state.deadLetters.map((e) => e.id).join(" ")}`;
    messages.draw(list, detail.messages, c, (id) => change({ why: id }), version);
    earlier.hidden = detail.earlier === null || detail.messages.length < 20;
    if (stay) { if (grew && detail.messages.at(-1)?.direction === "in") fresh.hidden = false; }
    else { following = true; toEnd(); }
  }

  function draw() {
    const id = current.area === "inbox" ? current.id : null;
    const detail = state.details.get(id);
    const c = state.conversations.get(id);
    root.classList.toggle("has-one", Boolean(id));
    if (!id || detail?.problem || !c) {
      whole.hidden = true;
      blank.hidden = false;
      fill(blank, !id ? nothingOpen() : detail?.problem ? missing(detail.problem, id) : h("p.boot", {}, "Loading …"));
      shownId = null;
      shownSummary = null;
      return;
    }
    blank.hidden = true;
    whole.hidden = false;
    if (c !== shownSummary) {
      shownSummary = c;
      fill(top, header(c, toggleSide));
      fill(offer, offerBar(c), doubtBar(c), waitingBar(c));
      // An answer that is late becomes so by time alone.
      clearTimeout(turnsLate);
      if (c.undelivered && !fate(c)) turnsLate = setTimeout(() => { shownSummary = null; draw(); }, 10_100);
      writer.show(c);
    }
    if (detail) drawMessages(c, detail);
    shownId = c.id;
  }

  let wanted = null;
  function follow() {
    if (current.area === "inbox" && current.id && current.id !== wanted) {
      keepDetails([current.id]);
      loadDetail(current.id);
    }
    wanted = current.area === "inbox" ? current.id : wanted;
    draw();
  }

  function drawTyping() {
    const c = current.area === "inbox" ? state.conversations.get(current.id) : undefined;
    fill(typist, c && state.typing.has(c.id) ? `${who(c)} is typing …` : "");
  }

  on("detail conversations held", draw);
  on("typing detail conversations", drawTyping);
  on("agents", () => { shownSummary = null; draw(); });
  return { follow, writer, open: () => (current.id ? state.conversations.get(current.id) : undefined), since: (c) => agoLong(c.opened_at) };
}
