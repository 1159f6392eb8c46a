// The address says what is shown, so that a reload, a bookmark and the back button work.

const listeners = new Set();
export const onRoute = (run) => listeners.add(run);

const BASE = "/console";
const AREAS = ["inbox", "board", "rules", "held"];

/** The list that the console opens with. */
let first = "mine";
export const home = () => ({ area: "inbox", view: first });

/** Says which list that is; an agent's own lists are nobody's without an agent. */
export function begin(view) {
  first = view;
  current = parse(window.location);
  if (first !== "mine" && ["mine", "offered"].includes(current.view)) go({ ...current, view: first }, { replace: true });
}

/** `{ area, view, queue, id, why, tab }` of an address. */
export function parse(location) {
  const parts = location.pathname.slice(BASE.length).split("/").filter(Boolean).map(decode);
  const params = new URLSearchParams(location.search);
  const area = parts.length === 0 ? "inbox" : AREAS.includes(parts[0]) ? parts[0] : "nowhere";
  const route = { area, why: params.get("why"), rule: params.get("rule") };
  if (area === "held") route.tab = ["parked", "dead", "quarantine"].includes(parts[1]) ? parts[1] : "parked";
  if (area !== "inbox") return route;
  const queued = parts[1] === "queue";
  route.view = queued ? "queue" : (["mine", "offered", "all", "closed"].includes(parts[1]) ? parts[1] : first);
  if (parts[1] && !queued && route.view !== parts[1]) return { area: "nowhere", why: null, rule: null };
  route.queue = queued ? parts[2] : null;
  route.id = parts[queued ? 3 : 2] ?? null;
  return route;
}

function decode(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

export function path(route) {
  const parts = [route.area];
  if (route.area === "held") parts.push(route.tab);
  if (route.area === "inbox") {
    parts.push(route.view);
    if (route.view === "queue") parts.push(route.queue);
    if (route.id) parts.push(route.id);
  }
  const params = new URLSearchParams();
  if (route.why) params.set("why", route.why);
  if (route.rule) params.set("rule", route.rule);
  const tail = params.size ? `?${params}` : "";
  return `${BASE}/${parts.map((p) => encodeURIComponent(p ?? "")).join("/")}${tail}`;
}

export let current = parse(window.location);

/** Goes there. `replace` leaves no step in the history. */
export function go(route, { replace = false } = {}) {
  const to = path(route);
  if (to === window.location.pathname + window.location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", to);
  apply();
}

/** Changes only what is named. */
export const change = (what, how) => go({ ...current, ...what }, how);

function apply() {
  current = parse(window.location);
  for (const run of listeners) run(current);
}

window.addEventListener("popstate", apply);

/** Follows links of the console without loading the page again. */
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-go]");
  if (!link || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  const url = new URL(link.href);
  go(parse(url));
});
