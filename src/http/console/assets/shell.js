// What is around the pages: the bar on top, the navigation, the state of the live connection.

import * as alert from "./alert.js";
import * as api from "./api.js";
import { attempt, pick } from "./dialogs.js";
import { button, fill, h, icon } from "./dom.js";
import { find } from "./find.js";
import { help, label } from "./keys.js";
import { current, path } from "./route.js";
import { disconnect, loadAgents, myName, on, state } from "./store.js";
import { counts } from "./views.js";

const CHOICE = "switchboard.presence";
const COUNTED = `${CHOICE}.counts_as`;
const workspace = document.querySelector("meta[name=switchboard-workspace]")?.content ?? "main";

/** What the agent last chose; available unless they said otherwise. */
export const chosen = () => localStorage.getItem(CHOICE) ?? "available";

const MEANS = { available: "conversations are offered to you", away: "you keep what you have, nothing new comes", offline: "unanswered conversations go back to their queues" };

/** Choices that the daemon has not answered yet. */
let underway = 0;

/** What the daemon takes is kept, with what it counts as: a pack of later may not know the name. */
async function setPresence(word) {
  const countsAs = Object.hasOwn(MEANS, word) ? word : state.presences.find((p) => p.name === word)?.counts_as ?? "away";
  underway += 1;
  if (await attempt(() => api.presence(myName(), word))) {
    localStorage.setItem(CHOICE, word);
    localStorage.setItem(COUNTED, countsAs);
  }
  underway -= 1;
}

/**
 * Opening the console makes its agent available, unless they chose otherwise; so does coming back after being cut off. Who chose what kept
 * conversations from them stays in it, whatever a pack calls it now.
 */
export async function comeIn() {
  const word = chosen();
  const counted = localStorage.getItem(COUNTED) ?? (Object.hasOwn(MEANS, word) ? word : "away");
  if (!myName() || counted !== "available" || underway) return;
  if (word === "available") return void await attempt(() => api.presence(myName(), word));
  // Where nobody can say what it means now, or they chose something else meanwhile, it stays as it is.
  if (!await attempt(loadAgents) || underway || chosen() !== word) return;
  const own = state.presences.find((p) => p.name === word);
  if (own && own.counts_as !== "available") return;
  await attempt(() => api.presence(myName(), own ? word : "available"));
}

export async function choosePresence() {
  const word = await pick({ title: "Your presence", items: [
    ...Object.entries(MEANS).map(([value, hint]) => ({ label: value[0].toUpperCase() + value.slice(1), hint, value })),
    ...state.presences.filter((p) => !Object.hasOwn(MEANS, p.name)).map((p) => ({ label: p.name, hint: `counts as ${p.counts_as}`, value: p.name })),
  ] });
  if (word) await setPresence(word);
}

async function menu(signedOut) {
  const act = await pick({ title: myName() ?? state.me?.token ?? "You", items: [
    { label: alert.muted() ? "Ring for offers" : "Mute the ring", value: () => alert.mute(!alert.muted()) },
    { label: "Keyboard", hint: "?", value: help },
    { label: "Sign out", value: async () => { disconnect(); await attempt(() => api.logout()); signedOut(); } },
  ] });
  await act?.();
}

const PRESENCE = { available: "●", away: "◐", offline: "○" };

function presenceButton() {
  const agent = state.agents.get(myName());
  if (!agent) return null;
  return h("button.presence", { type: "button", "data-presence": agent.presence, title: "Change your presence", onclick: choosePresence },
    h("span.glyph", { "aria-hidden": "true" }, PRESENCE[agent.presence] ?? "○"), h("span", {}, agent.presence_name ?? agent.presence), icon("down"));
}

/** The bar on top. */
export function top(root, { toggleNav, signedOut }) {
  const presence = h("span.presence-slot", {});
  const me = h("span", {});
  fill(root,
    h("button.icon-button.nav-toggle", { type: "button", "aria-label": "Navigation", onclick: toggleNav }, icon("menu")),
    h("span.brand", {}, "switchboard", h("span.muted", {}, ` ${workspace}`)),
    h("span.spacer"),
    h("button.find", { type: "button", onclick: find, "aria-label": "Find" }, icon("search"), h("span", {}, "Find"), h("kbd", { "aria-hidden": "true" }, label("mod+k"))),
    h("span.spacer"),
    presence,
    h("button.who-am-i", { type: "button", onclick: () => menu(signedOut) }, me, icon("down")));
  const draw = () => {
    fill(presence, presenceButton());
    fill(me, state.agents.get(myName())?.name ?? state.me?.name ?? myName() ?? state.me?.token ?? "");
  };
  on("agents", draw);
  draw();
}

function link(label, route, { count, hot, sub, title } = {}) {
  const here = route.area === current.area && (route.area !== "inbox" || (route.view === current.view && (route.queue ?? null) === (current.queue ?? null)));
  return h("a", { href: path(route), "data-go": true, class: sub ? "sub" : undefined, "aria-current": here ? "page" : undefined },
    h("span.nav-label", {}, label), count > 0 && h("span.count", { class: hot ? "hot" : undefined, title }, count.toLocaleString()));
}

/** The navigation with its counts. */
export function nav(root) {
  const draw = () => {
    const c = counts();
    const inbox = (view, extra) => ({ area: "inbox", view, ...extra });
    const held = state.deadLetters.length + state.quarantine.length;
    // The queues' own depth is right even when not every conversation is loaded.
    const depth = (q) => (state.truncated || state.filling ? q.depth : (c.queues.get(q.id) ?? (state.filling ? q.depth : 0)));
    const names = state.queues.map((q) => q.id);
    fill(root,
      h("div.nav-group", {}, h("h2", {}, "Inbox"),
        !myName() && link("Open", inbox("all"), { count: state.truncated || state.filling ? 0 : c.open }),
        myName() && link("Mine", inbox("mine"), { count: c.mine, hot: c.needs > 0, title: `${c.mine} yours, ${c.needs} wait for you` }),
        myName() && link("Offered", inbox("offered"), { count: c.offered, hot: true })),
      names.length > 0 && h("div.nav-group", {}, h("h2", {}, "Queues"),
        state.queues.map((q) => link(q.id, inbox("queue", { queue: q.id }), { count: depth(q), sub: true, title: "waiting" }))),
      h("div.nav-group", {}, h("h2", {}, "All"), myName() && link("Open", inbox("all"), { count: state.truncated || state.filling ? 0 : c.open }), link("Closed", inbox("closed"))),
      h("div.nav-group", {}, h("h2", {}, "Workspace"), link("Board", { area: "board" }, { count: c.breached, hot: true, title: "clocks run out" }), link("Rules", { area: "rules" }),
        link("Held back", { area: "held", tab: held && !state.deadLetters.length ? "quarantine" : "parked" }, { count: held })),
      h("div.nav-foot.muted", {}, button("Keyboard", { quiet: true, key: "?", run: help })));
  };
  on("conversations queues held link agents", draw);
  return draw;
}

/** Says plainly when what is shown may be old. */
export function linkBar(root) {
  const draw = () => {
    root.hidden = state.link !== "lost";
    fill(root, state.link === "lost" ? "Not live: the connection to the daemon is lost. Trying again …" : null);
  };
  on("link", draw);
  draw();
}
