// The board: how it stands now, readable from across the room.

import { clock, standing } from "./conversation.js";
import * as api from "./api.js";
import { fill, h, live } from "./dom.js";
import { clockState, number, plural, span, when, now, who } from "./format.js";
import { plots } from "./plots.js";
import { current, path } from "./route.js";
import { agentName, on, state } from "./store.js";
import { counts } from "./views.js";

const number_ = (value, label, tone, detail) => h("div.figure", { "data-tone": tone }, h("b", {}, value), h("span", {}, label), detail && h("span.muted", {}, detail));

function figures(clocks) {
  const waiting = state.queues.reduce((sum, q) => sum + (q.depth ?? 0), 0);
  const oldest = Math.min(...state.queues.map((q) => q.waiting_since ?? Infinity));
  const c = counts();
  const available = [...state.agents.values()].filter((a) => a.presence === "available").length;
  const breached = clocks.filter((x) => clockState(x.sla) === "breached").length;
  return h("div.figures", {},
    number_(waiting.toLocaleString(), "waiting in queues"),
    number_(state.truncated || state.filling ? "–" : c.ours.toLocaleString(), "awaiting an answer"),
    number_(oldest === Infinity ? "–" : span(now() - oldest), "oldest wait"),
    number_(breached.toLocaleString(), breached === 1 ? "clock run out" : "clocks run out", breached ? "bad" : undefined),
    number_(`${available}/${state.agents.size}`, "agents available", available === 0 && waiting > 0 ? "bad" : undefined),
    number_(state.truncated ? "10,000+" : c.open.toLocaleString(), "open in all"));
}

/** A share as a bar; the numbers beside it say the same. */
function bar(part, whole, tone) {
  const fillEl = h("i", {});
  fillEl.style.width = `${whole > 0 ? Math.min(100, (part / whole) * 100) : 0}%`;
  return h("span.bar-track", { "aria-hidden": "true", "data-tone": tone }, fillEl);
}

/** A service level may come as a number of hundredths or as a share. */
function level(sla) {
  const share = typeof sla === "number" ? sla : sla?.level ?? sla?.share;
  if (typeof share !== "number") return "";
  return `${Math.round(share <= 1 ? share * 100 : share)} %`;
}

function queues() {
  if (!state.queues.length) return h("p.muted", {}, "The pack in force has no queues.");
  const most = Math.max(1, ...state.queues.map((q) => q.depth ?? 0));
  const levels = state.queues.some((q) => level(q.sla));
  return h("table.board-table", { "aria-label": "Queues" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Queue"), h("th.num", { scope: "col" }, "Waiting"), h("td.wide", { "aria-hidden": "true" }),
    h("th.num", { scope: "col" }, "Offered"), h("th.num", { scope: "col" }, "Oldest"), levels && h("th.num", { scope: "col", title: "answered in time" }, "In time"))),
  h("tbody", {}, state.queues.map((q) => h("tr", {},
    h("th", { scope: "row" }, h("a", { href: path({ area: "inbox", view: "queue", queue: q.id }), "data-go": true }, q.id)),
    h("td.num.big", {}, (q.depth ?? 0).toLocaleString()), h("td.wide", { "aria-hidden": "true" }, bar(q.depth ?? 0, most)),
    h("td.num", {}, q.offered ?? 0),
    live(h("td.num", {}), () => (q.waiting_since ? span(now() - q.waiting_since) : "–")),
    levels && h("td.num", {}, level(q.sla) || "–")))));
}

const GLYPH = { available: "●", away: "◐", offline: "○" };
const ORDER = { available: 0, away: 1, offline: 2 };

function agents() {
  const list = [...state.agents.values()].sort((a, b) => (ORDER[a.presence] ?? 3) - (ORDER[b.presence] ?? 3) || (a.id < b.id ? -1 : 1));
  if (!list.length) return h("p.muted", {}, "The pack in force has no agents.");
  return h("table.board-table", { "aria-label": "Agents" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Agent"), h("th", { scope: "col" }, "Presence"), h("th.num", { scope: "col" }, "Load"), h("td.wide", { "aria-hidden": "true" }))),
    h("tbody", {}, list.map((a) => h("tr", { class: a.presence === "offline" ? "off" : undefined },
      h("th", { scope: "row", title: plainSkills(a) }, a.name ?? agentName(a.id)),
      h("td", {}, h("span.presence-word", { "data-presence": a.presence }, h("span.glyph", { "aria-hidden": "true" }, GLYPH[a.presence] ?? "○"), a.presence_name ?? a.presence)),
      h("td.num", {}, `${a.load ?? 0} / ${a.capacity ?? 0}`), h("td.wide", { "aria-hidden": "true" }, bar(a.load ?? 0, a.capacity ?? 0, (a.load ?? 0) >= (a.capacity ?? 0) ? "full" : undefined))))));
}

function plainSkills(a) {
  const skills = Array.isArray(a.skills) ? a.skills : Object.keys(a.skills ?? {});
  return skills.length ? `skills: ${skills.join(", ")}` : "no skills";
}

function running(clocks) {
  if (!clocks.length) return h("p.muted", {}, "No clock is close to running out. Conversations show here at the queue’s warning time and after.");
  return h("ul.clocks", {}, clocks.slice(0, 30).map((c) => h("li", {},
    h("a", { href: path({ area: "inbox", view: "all", id: c.id }), "data-go": true }, h("span.name", {}, who(c)), h("span.muted", {}, [number(c), c.channel, standing(c)].filter(Boolean).join(" · "))),
    clock(c))), clocks.length > 30 && h("li.muted", {}, `and ${plural(clocks.length - 30, "other")}`));
}

/** Mounts the page; it draws only while it is shown. */
export function mount(root) {
  let activity = null;
  let failed = "";
  let asked = -Infinity;

  /** What the plots show is asked for while somebody looks, and no more than twice a minute. */
  async function look() {
    if (performance.now() - asked < 30_000) return;
    asked = performance.now();
    try {
      activity = await api.get("/activity");
      failed = "";
    } catch (problem) {
      failed = problem.text;
    }
    draw();
  }
  const day = () => (activity ? plots(activity) : h("p.muted", {}, failed || "Loading …"));

  const draw = () => {
    if (current.area !== "board") return;
    look();
    const soon = now() + 15 * 60_000;
    const clocks = [...state.conversations.values()]
      .filter((c) => c.state !== "closed" && when(c.sla?.due_at) !== undefined && (c.sla.warned || c.sla.breached || when(c.sla.due_at) < soon))
      .sort((a, b) => when(a.sla.due_at) - when(b.sla.due_at));
    fill(root, h("header.page-head", {}, h("h1", {}, "Board")), figures(clocks),
      h("div.board-grid", {},
        h("section", {}, h("h2", {}, "Queues"), queues()),
        h("section", {}, h("h2", {}, "Agents"), agents()),
        h("section.wide-section", {}, h("h2", {}, "The last 24 hours"), day()),
        h("section.wide-section", {}, h("h2", {}, "Clocks running out"), running(clocks))));
  };
  on("conversations queues agents", draw);
  setInterval(draw, 15_000);
  return draw;
}
