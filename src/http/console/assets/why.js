// Why a message was handled as it was: the rules in order, what each saw, and which agents were considered.

import * as api from "./api.js";
import { button, fill, h, icon } from "./dom.js";
import { exact, hourMinute, plural, withLocalTimes } from "./format.js";
import { change, current } from "./route.js";
import { agentName, state } from "./store.js";

const cache = new Map();

async function load(message, redraw) {
  cache.set(message, { loading: true });
  try {
    cache.set(message, { trace: await api.explain(message) });
  } catch (problem) {
    cache.set(message, { problem });
  }
  redraw();
  while (cache.size > 50) cache.delete(cache.keys().next().value);
}

const value = (v) => (v === null || v === undefined ? "nothing" : typeof v === "string" ? `“${v}”` : JSON.stringify(v));

/** The failed condition in words. */
function failed(f) {
  if (f.sentence) return f.sentence;
  return `${f.field} should be ${value(f.wanted)}, but was ${value(f.saw)}`;
}

const applied = (a) => (typeof a === "string" ? a : Object.entries(a).map(([k, v]) => `${k}: ${typeof v === "string" ? v : JSON.stringify(v)}`).join(", "));

function rule(r) {
  const kind = r.matched ? "hit" : r.skipped ? "skipped" : "miss";
  const mark = { hit: "✓", skipped: "–", miss: "✕" }[kind];
  const word = { hit: "matched", skipped: "not asked", miss: "did not match" }[kind];
  return h("li.rule", { class: kind },
    h("span.mark", { "aria-hidden": "true" }, mark),
    h("div", {},
      h("div.rule-name", {}, h("span", {}, r.rule), h("span.visually-hidden", {}, `: ${word}`),
        r.place && h("a.place", { href: `/console/rules?rule=${encodeURIComponent(r.rule)}`, "data-go": true, title: "Its place in the rule pack" }, r.place)),
      r.matched && (r.applied ?? []).map((a) => h("p.applied", {}, `→ ${applied(a)}`)),
      r.matched && (r.superseded ?? []).map((a) => h("p.muted", {}, `${applied(a)}: an earlier rule had decided this`)),
      kind === "miss" && r.failed && h("p.muted", {}, failed(r.failed)),
      kind === "skipped" && h("p.muted", {}, typeof r.skipped === "string" ? r.skipped : "not asked: a rule before it ended the run")));
}

function considered(trace) {
  const agents = trace.agents ?? [];
  if (!agents.length) return null;
  return [h("h3", {}, "Agents considered"), h("ul.considered", {}, agents.map((a) => h("li", { class: a.chosen ? "hit" : undefined },
    h("span.mark", { "aria-hidden": "true" }, a.chosen ? "✓" : "–"),
    h("span", {}, h("b", {}, agentName(a.agent)), a.chosen && h("span.visually-hidden", {}, " chosen"), a.reason && h("span.muted", {}, ` ${a.reason}`))))),
  trace.others > 0 && h("p.muted", {}, `and ${plural(trace.others, "other")}`)];
}

const passed = (a) => h("li", {},
  h("span.mark", { "aria-hidden": "true" }, "–"), h("span", {}, h("b", {}, agentName(a.agent)), h("span.muted", {}, ` ${a.reason}`)));

/** Why nobody could take it when the message was decided. */
function then(trace) {
  const w = trace.nobody_free;
  // The same list is shown once.
  const same = w?.others === trace.others && JSON.stringify(w?.agents) === JSON.stringify(trace.agents);
  if (!w?.agents?.length || same) return null;
  return [h("h3", {}, "Why nobody could take it then"), h("ul.considered.then", {}, w.agents.map(passed)),
    w.others > 0 && h("p.muted", {}, `and ${plural(w.others, "other")}`)];
}

/** Why nobody takes a conversation that waits, where other agents are shown for a choice that was made before. */
function waiting(trace) {
  const w = trace.waiting;
  const shown = (trace.agents ?? []).some((a) => a.chosen);
  if (!w?.agents?.length || !shown) return null;
  return [h("h3", {}, "Why nobody takes it now"), h("ul.considered", {}, w.agents.map(passed)),
  w.others > 0 && h("p.muted", {}, `and ${plural(w.others, "other")}`)];
}

function facts(trace) {
  const entries = Object.entries(trace.facts ?? {});
  if (!entries.length) return null;
  return h("details", {}, h("summary", {}, "What the rules saw"),
    h("dl.facts-list", {}, entries.map(([k, v]) => h("div.fact", {}, h("dt", {}, k), h("dd", {}, typeof v === "string" ? v : JSON.stringify(v))))));
}

function outcome(trace) {
  if (trace.sentences?.length) return trace.sentences.map((s) => h("p.sentence", {}, withLocalTimes(s)));
  const o = trace.outcome ?? {};
  const parts = [o.queue && `queue ${o.queue}`, o.agent && `agent ${agentName(o.agent)}`, o.replies?.length && `answered by ${o.replies.map((r) => `“${r.rule ?? r}”`).join(", ")}`];
  return h("p.sentence", {}, parts.filter(Boolean).join(" · ") || "It changed nothing about where the conversation is.");
}

function body(entry, message, redraw) {
  if (!entry || entry.loading) return h("p.muted", {}, "Loading …");
  if (entry.problem) {
    return [h("p", {}, entry.problem.status === 404 ? "There is no decision for this message: rules run only for what a customer wrote." : entry.problem.text),
      button("Try again", { run: () => load(message, redraw) })];
  }
  const trace = entry.trace;
  const hits = (trace.rules ?? []).filter((r) => r.matched).length;
  return [
    outcome(trace),
    h("h3", {}, "Rules, in order", h("span.muted", {}, ` ${hits} of ${trace.rules?.length ?? 0} matched`)),
    h("ol.rules-trace", {}, (trace.rules ?? []).map(rule)),
    considered(trace),
    then(trace),
    waiting(trace),
    facts(trace),
    h("p.pack.muted", {}, "Decided ", h("time", { title: exact(trace.decided_at) }, hourMinute(trace.decided_at)), " by pack ",
      h("a", { href: "/console/rules", "data-go": true }, h("code", {}, String(trace.pack ?? "").slice(0, 12)))),
  ];
}

/** Shows the explanation of the message that the address names in `root`. */
export function draw(root) {
  const message = current.why;
  if (!message) return;
  const redraw = () => draw(root);
  if (!cache.has(message)) load(message, redraw);
  const entry = cache.get(message);
  const said = state.details.get(current.id)?.messages.find((m) => m.id === message);
  // Drawn already: what the person opened or scrolled to stays.
  if (root.drawn?.entry === entry && root.drawn.said === said?.text && root.querySelector(".panel-head")) return;
  root.drawn = { entry, said: said?.text };
  fill(root,
    h("header.panel-head", {}, h("h2", {}, "Why?"),
      h("button.icon-button", { type: "button", "aria-label": "Close the explanation", onclick: () => change({ why: null }, { replace: true }) }, icon("close"))),
    said?.text && h("blockquote", {}, said.text.length > 160 ? `${said.text.slice(0, 160)} …` : said.text),
    body(entry, message, redraw));
}
