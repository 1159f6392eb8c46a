// The list of conversations. Only the rows in sight exist, so ten thousand scroll like ten.

import * as actions from "./actions.js";
import { arrange as arrangeIn, button, fill, h, live } from "./dom.js";
import { clock, offerLeft } from "./conversation.js";
import { ago, agoLong, clockState, countdown, exact, fate, who } from "./format.js";
import { change, current } from "./route.js";
import { doubt } from "./messages.js";
import { agentName, isMe, loadClosed, on, state } from "./store.js";
import { groups, needsMe, view } from "./views.js";

const ROW = 80;
const HEAD = 32;
const SPARE = 6;

/** What the customer asked, until a person has answered; then the answer, and that it did not leave or arrive where it did not. */
function snippet(c) {
  const last = c.last_message;
  if (!last) return c.subject ?? "";
  const mark = live(h("b.undelivered", { title: c.undelivered?.reason }), (el) => {
    const known = fate(c);
    if (known) el.dataset.tone = known.tone;
    // What follows may be the customer's words.
    if (known && last.direction !== "out") return `our answer: ${known.text} · `;
    return known ? `${known.text} ` : "";
  });
  return [doubt(c, "b.unproved"), mark, (last.direction === "out" ? "↳ " : "") + (last.text || "attachment")];
}

/** Who it waits for, in a word or two, where the group does not say it. */
function turn(c) {
  if (c.state === "closed") return "closed";
  if (c.state === "snoozed") return "snoozed";
  if (c.state === "queued") return "waiting";
  if (c.state === "offered") return isMe(c.offer?.agent) ? "" : `offered to ${agentName(c.offer?.agent)}`;
  const owner = !c.agent || current.view === "mine" ? "" : agentName(c.agent);
  // Who has not got our answer has no turn.
  const theirs = (c.turn === "customer" || c.state === "pending") && !fate(c);
  return [owner, theirs && "customer’s turn"].filter(Boolean).join(" · ");
}

function offerLine(c) {
  const left = live(h("b.count", {}), () => countdown(offerLeft(c.offer)));
  const act = (label, run, primary) => button(label, { primary, "aria-label": `${label} ${who(c)}`, run: (event) => { event.stopPropagation(); return run(c); } });
  return h("div.row-offer", {}, left, h("span.spacer"), act("Accept", actions.accept, true), act("Decline", actions.decline));
}

function row(c) {
  const offered = c.state === "offered" && isMe(c.offer?.agent);
  const ours = c.turn !== "customer" && !["closed", "snoozed", "pending"].includes(c.state);
  const place = [c.channel, current.view === "queue" ? null : c.queue].filter(Boolean).join(" · ");
  const el = h("div.row", {
    role: "row", id: `row-${c.id}`, class: [offered || needsMe(c) ? "needs" : "", ours ? "ours" : ""].filter(Boolean).join(" ") || undefined,
    "data-clock": clockState(c.sla) ?? undefined,
  },
  h("div", { role: "gridcell" }, h("div.line", {}, h("span.dot", { title: ours ? "waits for our answer" : "waits for the customer" }), h("span.name", {}, who(c)),
    ["urgent", "high"].includes(c.priority) && h("span.priority", { "data-priority": c.priority }, c.priority),
    h("span.spacer"), live(h("time", { title: exact(c.last_message?.at ?? c.opened_at) }), () => ago(c.last_message?.at ?? c.opened_at))),
  h("div.snippet", { dir: "auto" }, snippet(c)),
  !offered && h("div.line.small", {}, h("span.where", {}, place), h("span.spacer"), clock(c) ?? h("span", {}, turn(c)))),
  offered && h("div", { role: "gridcell" }, offerLine(c)));
  el.addEventListener("click", () => change({ id: c.id, why: null }));
  return el;
}

/** Mounts the list; answers what the keys need of it. */
export function mount(root) {
  const title = h("h1", {});
  const count = h("span.muted", {});
  const spacer = h("div.spacer-rows", { role: "rowgroup" });
  const scroller = h("div.rows", { role: "grid", tabindex: 0, "aria-label": "Conversations" }, spacer);
  const empty = h("div.empty", {});
  const more = h("div.more", {});
  fill(root, h("header.list-head", {}, title, count), scroller, empty, more);

  let items = [];
  let tops = [0];
  let heads = [];
  let order = new Map();
  let shown = new Map();
  let cursor = null;
  let movedAt = -Infinity;
  let lastView = "";
  let late = null;
  let revealed = null;

  // Nothing moves under the pointer: while it is in use here, rows keep their order and new ones come below.
  const hold = () => { movedAt = performance.now(); };
  const holding = () => performance.now() - movedAt < 3000;
  for (const type of ["pointermove", "pointerdown", "wheel"]) scroller.addEventListener(type, hold, { passive: true });
  scroller.addEventListener("pointerleave", () => { movedAt = -Infinity; draw(); });

  function arrange() {
    const key = `${current.view} ${current.queue}`;
    if (key !== lastView) { lastView = key; order = new Map(); movedAt = -Infinity; scroller.scrollTop = 0; cursor = null; }
    const found = groups(current);
    if (order.size && holding()) {
      for (const g of found) g.list.sort((a, b) => (order.get(a.id) ?? Infinity) - (order.get(b.id) ?? Infinity));
      clearTimeout(late);
      late = setTimeout(draw, 3100);
    }
    items = found.flatMap((g) => [...(g.label ? [{ head: `${g.label}`, count: g.list.length }] : []), ...g.list.map((c) => ({ c }))]);
    heads = items.flatMap((item, i) => (item.c ? [] : [i]));
    tops = [0];
    for (const item of items) tops.push(tops[tops.length - 1] + (item.c ? ROW : HEAD));
    order = new Map();
    items.forEach((item, i) => item.c && order.set(item.c.id, i));
    scroller.setAttribute("aria-rowcount", String(order.size));
  }

  /** Rows above an item, without the heads of the groups. */
  const rowsBefore = (i) => i - heads.filter((at) => at < i).length;

  /** The first item at or below a height. */
  function at(top) {
    let [low, high] = [0, items.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (tops[middle + 1] > top) high = middle; else low = middle + 1;
    }
    return low;
  }

  function draw() {
    if (current.area !== "inbox") return;
    arrange();
    const total = order.size;
    fill(title, view(current).title(current));
    fill(count, total ? total.toLocaleString() : "");
    const waiting = current.view === "closed" && (state.closed.loading || state.closed.next === undefined);
    const [head, text] = state.problem && !total ? ["The list could not be loaded", state.problem.text] : view(current).empty(current);
    empty.hidden = total > 0;
    scroller.hidden = total === 0;
    fill(empty, (state.loading || waiting) && !state.problem ? h("p.boot", {}, "Loading …") : [h("h2", {}, head), h("p", {}, text)]);
    fill(more, state.truncated && current.view !== "closed" ? h("p.muted", {}, "Only the newest ten thousand are listed; the counts of the queues are complete.") : null);
    spacer.style.height = `${tops[tops.length - 1]}px`;
    reveal();
    drawWindow();
  }

  /** Brings the open conversation into sight, once, when it was opened from elsewhere. */
  function reveal() {
    const i = order.get(current.id);
    if (revealed === current.id || i === undefined || holding()) return;
    revealed = current.id;
    const seen = scroller.scrollTop <= tops[i] && tops[i] + ROW <= scroller.scrollTop + scroller.clientHeight;
    if (!seen) scroller.scrollTop = tops[i] - scroller.clientHeight / 3;
  }

  function drawWindow() {
    const first = Math.max(0, at(scroller.scrollTop) - SPARE);
    const last = Math.min(items.length, at(scroller.scrollTop + scroller.clientHeight) + SPARE);
    const next = new Map();
    for (let i = first; i < last; i += 1) {
      const item = items[i];
      const key = item.c ? item.c.id : `head ${item.head}`;
      const version = item.c ?? item.count;
      const known = shown.get(key);
      const el = known && known.version === version && known.view === lastView && known.agents === state.agents.size ? known.el
        : item.c ? row(item.c) : h("div.group", { role: "presentation" }, item.head, h("span.muted", {}, ` ${item.count}`));
      el.style.transform = `translateY(${tops[i]}px)`;
      if (item.c) {
        el.setAttribute("aria-selected", String(item.c.id === current.id));
        el.setAttribute("aria-rowindex", String(rowsBefore(i) + 1));
        el.classList.toggle("cursor", item.c.id === cursor);
      }
      next.set(key, { el, version, view: lastView, agents: state.agents.size });
    }
    shown = next;
    arrangeIn(spacer, [...next.values()].map(({ el }) => el));
    if (cursor && shown.has(cursor)) scroller.setAttribute("aria-activedescendant", `row-${cursor}`);
    else scroller.removeAttribute("aria-activedescendant");
    if (current.view === "closed" && last > items.length - 20) loadClosed();
  }

  let frame = 0;
  scroller.addEventListener("scroll", () => { cancelAnimationFrame(frame); frame = requestAnimationFrame(drawWindow); }, { passive: true });
  new ResizeObserver(() => drawWindow()).observe(scroller);

  function move(step) {
    const rows = items.map((item, i) => ({ item, i })).filter(({ item }) => item.c);
    if (!rows.length) return;
    const from = rows.findIndex(({ item }) => item.c.id === (cursor ?? current.id));
    const to = rows[Math.min(rows.length - 1, Math.max(0, from < 0 ? 0 : from + step))];
    cursor = to.item.c.id;
    const top = tops[to.i];
    if (top - HEAD < scroller.scrollTop) scroller.scrollTop = top - HEAD;
    if (top + ROW > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + ROW - scroller.clientHeight;
    drawWindow();
  }

  scroller.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { move(event.key === "ArrowDown" ? 1 : -1); event.preventDefault(); }
  });

  on("conversations agents", draw);
  return {
    draw, move,
    open: () => cursor && change({ id: cursor, why: null }),
    at: () => (cursor ? state.conversations.get(cursor) : undefined),
    describe: (c) => `${who(c)}, ${agoLong(c.last_message?.at)}`,
  };
}
