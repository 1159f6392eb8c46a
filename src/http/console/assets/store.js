// What the console knows, kept true by the event stream. Views read it and are told, once a frame, what changed.

import * as api from "./api.js";
import { now, when } from "./format.js";

export const OPEN_STATES = ["offered", "queued", "assigned", "pending", "snoozed"];
/** More open conversations than this are not all listed; the counts of the queues stay right. */
const MAX_LOADED = 10_000;
const PAGE = 200;
/** How long a customer counts as typing after the last word of it. */
const TYPING_MS = 5000;

export const state = {
  me: null,
  conversations: new Map(),
  details: new Map(),
  /** Conversations whose customer is typing, each with the timer that ends it. */
  typing: new Map(),
  agents: new Map(),
  /** What agents can be, with what each counts as. */
  presences: [],
  queues: [],
  rules: null,
  deadLetters: [],
  quarantine: [],
  /** `connecting`, `live`, `lost` */
  link: "connecting",
  loading: true,
  /** Open conversations are still being loaded behind what is shown. */
  filling: true,
  truncated: false,
  closed: { ids: [], next: undefined, loading: false, error: null },
  problem: null,
};

const listeners = new Map();
let dirty = new Set();
let scheduled = false;

/** Calls `run` after changes of a topic: `conversations`, `detail`, `agents`, `queues`, `rules`, `held`, `link`, `me`. */
export function on(topics, run) {
  for (const topic of topics.split(" ")) {
    if (!listeners.has(topic)) listeners.set(topic, new Set());
    listeners.get(topic).add(run);
  }
}

function flush() {
  scheduled = false;
  const topics = dirty;
  dirty = new Set();
  const runs = new Set();
  for (const t of topics) for (const run of listeners.get(t) ?? []) runs.add(run);
  for (const run of runs) run(topics);
}

export function changed(topic) {
  dirty.add(topic);
  if (scheduled) return;
  scheduled = true;
  // A hidden page gets no frames, but its title and its ring must stay true.
  if (document.hidden) setTimeout(flush, 50);
  else requestAnimationFrame(flush);
}

// Hidden before the frame that was asked for: it would come when somebody looks again, and until then nothing would ring.
document.addEventListener("visibilitychange", () => { if (document.hidden && scheduled) setTimeout(flush, 50); });

export const myName = () => state.me?.agent ?? null;
export const isMe = (agent) => Boolean(agent) && agent === myName();
export const may = (scope) => {
  const rank = { read: 0, agent: 1, supervisor: 2, admin: 3 };
  return (state.me?.scopes ?? []).some((s) => rank[s] >= rank[scope]);
};
export const agentName = (id) => (isMe(id) ? "you" : state.agents.get(id)?.name || id);
export const myOffers = () =>
  [...state.conversations.values()]
    .filter((c) => c.state === "offered" && isMe(c.offer?.agent) && !(when(c.offer.expires_at) < now() - 2000))
    .sort((a, b) => when(a.offer.expires_at) - when(b.offer.expires_at));

/** Takes a conversation as the API tells it; the newest word wins. */
function put(conversation) {
  const { messages, ...summary } = conversation;
  const known = state.conversations.get(summary.id);
  if (known && when(summary.updated_at) < when(known.updated_at)) return;
  state.conversations.set(summary.id, { ...known, ...summary });
  changed("conversations");
  if (state.details.has(summary.id)) changed("detail");
}

async function pages(values) {
  let cursor;
  do {
    const page = await api.get("/conversations", { ...values, limit: PAGE, cursor });
    page.conversations.forEach(put);
    cursor = page.next;
    if (state.conversations.size >= MAX_LOADED) {
      state.truncated = Boolean(cursor);
      return;
    }
  } while (cursor);
}

/** Loads what is open: first what concerns this agent, then the rest behind it. */
async function loadOpen() {
  const agent = myName();
  if (agent) await Promise.all(["assigned", "pending", "snoozed"].map((s) => pages({ agent, state: s })));
  await pages({ state: "offered" });
  changed("conversations");
  state.loading = false;
  for (const s of ["queued", "assigned", "pending", "snoozed"]) await pages({ state: s });
  state.filling = false;
  changed("conversations");
}

/** The next page of closed conversations. */
export async function loadClosed() {
  const closed = state.closed;
  if (closed.loading || closed.next === null) return;
  closed.loading = true;
  closed.error = null;
  changed("conversations");
  try {
    const page = await api.get("/conversations", { state: "closed", limit: PAGE, cursor: closed.next });
    page.conversations.forEach(put);
    closed.next = page.next ?? null;
  } catch (problem) {
    closed.error = problem;
  } finally {
    closed.loading = false;
    changed("conversations");
  }
}

export async function loadAgents() {
  const { agents, presences } = await api.get("/agents", { limit: PAGE });
  state.presences = presences ?? [];
  state.agents = new Map(agents.map((a) => [a.id, a]));
  changed("agents");
}

export async function loadQueues() {
  const { queues } = await api.get("/queues", { limit: PAGE });
  state.queues = queues.map(dated);
  changed("queues");
}

/** An oldest wait as the moment it began, so that it grows by itself. */
const dated = (queue) => ({
  ...queue,
  waiting_since: queue.oldest_wait_ms === null || queue.oldest_wait_ms === undefined ? null : now() - queue.oldest_wait_ms,
});

export async function loadRules() {
  state.rules = await api.get("/rules");
  changed("rules");
}

export async function loadHeld() {
  const [dead, quarantined] = await Promise.all([
    api.get("/dead-letters", { limit: PAGE }), api.get("/quarantine", { limit: PAGE }),
  ]);
  state.deadLetters = dead.dead_letters;
  state.quarantine = quarantined.quarantine;
  state.moreHeld = Boolean(dead.next || quarantined.next);
  changed("held");
}

/** A conversation with its messages; what is known already is shown at once. */
export async function loadDetail(id) {
  const known = state.details.get(id);
  if (!known) state.details.set(id, { id, messages: [], loading: true, problem: null, earlier: undefined });
  changed("detail");
  const asked = told;
  try {
    const full = await api.conversation(id);
    const before = state.details.get(id);
    const whole = around(ordered(full.messages ?? []), before, asked);
    state.details.set(id, { ...before, ...whole, loading: false, problem: null });
    put(full);
  } catch (problem) {
    const before = state.details.get(id);
    state.details.set(id, { ...before, loading: false, problem });
  }
  changed("detail");
}

/** One page of earlier messages. */
export async function loadEarlier(id) {
  const detail = state.details.get(id);
  if (!detail || detail.earlier === null) return;
  const page = await api.messages(id, detail.earlier);
  const fresh = state.details.get(id);
  fresh.messages = merged(ordered(page.messages), fresh.messages);
  fresh.earlier = page.next ?? null;
  changed("detail");
}

/**
 * What was fetched, in its order: between the earlier pages that are shown and what came by itself since it was asked for. Where none of
 * it is shown, nobody knows what lies between: then what is shown before it goes, and is fetched again by whoever wants it.
 */
function around(fetched, before, asked) {
  const shown = before?.messages ?? [];
  if (!fetched.length) return { messages: shown };
  const common = new Set(fetched.map((m) => m.id));
  const came = (m) => heard.get(m) > asked;
  const from = shown.findIndex((m) => common.has(m.id));
  const earlier = from < 0 ? [] : shown.slice(0, from);
  const since = from < 0 ? shown.filter((m) => came(m) || !(when(m.at) < when(fetched[0].at))) : shown.slice(from);
  const messages = [...earlier, ...merged(fetched, since.filter((m) => came(m) || !common.has(m.id)))];
  return from < 0 ? { messages, earlier: undefined } : { messages };
}

/** Oldest first, whichever way they came. */
function ordered(messages) {
  const first = messages[0]?.at;
  const last = messages[messages.length - 1]?.at;
  return when(first) > when(last) ? [...messages].reverse() : messages;
}

/** `older` followed by what of `newer` is not in it; the newer word on a message wins. */
function merged(older, newer) {
  const latest = new Map(newer.map((m) => [m.id, m]));
  const kept = older.map((m) => {
    const fresh = latest.get(m.id);
    latest.delete(m.id);
    return fresh ?? m;
  });
  return [...kept, ...latest.values()];
}

/** Which messages came by themselves, in the order in which they did: those are newer than what was asked for before. */
const heard = new WeakMap();
let told = 0;

/** Adds or replaces one message of an open conversation. */
export function putMessage(conversation, message) {
  heard.set(message, ++told);
  if (message.direction === "in") hush(conversation);
  const detail = state.details.get(conversation);
  if (!detail) return;
  detail.messages = merged(detail.messages, [message]);
  changed("detail");
}

/** Forgets details that are not on the screen; they are fetched again when needed. */
export function keepDetails(ids) {
  for (const id of state.details.keys()) if (!ids.includes(id)) state.details.delete(id);
}

const soon = new Map();
/** Asks again shortly; many reasons to ask at once are one question. */
function refresh(name, load, wait = 300) {
  if (soon.has(name)) return;
  soon.set(name, setTimeout(() => { soon.delete(name); load().catch(() => {}); }, wait));
}

const HANDLERS = {
  conversation: (c) => c.id && put(c),
  message: ({ conversation, message }) => conversation && message && putMessage(conversation, message),
  agent: (a) => {
    const known = state.agents.get(a.id);
    if (known && a.presence) { state.agents.set(a.id, { ...known, ...a }); changed("agents"); }
    if (!known || a.load === undefined) refresh("agents", loadAgents);
  },
  offer: () => changed("conversations"),
  queue: (q) => {
    const at = state.queues.findIndex((known) => known.id === q.id);
    if (at < 0 || q.depth === undefined) return refresh("queues", loadQueues);
    state.queues[at] = dated({ ...state.queues[at], ...q });
    return changed("queues");
  },
  // Another pack may have other presences.
  rules: () => { refresh("rules", loadRules); refresh("agents", loadAgents); },
  held: () => refresh("held", loadHeld),
  typing: ({ conversation }) => {
    clearTimeout(state.typing.get(conversation));
    state.typing.set(conversation, setTimeout(() => hush(conversation), TYPING_MS));
    changed("typing");
  },
};

/** A customer who wrote, or stopped, is not typing any more. */
function hush(conversation) {
  if (!state.typing.has(conversation)) return;
  clearTimeout(state.typing.get(conversation));
  state.typing.delete(conversation);
  changed("typing");
}

let stream = null;
let lostAt = null;
let whenBack = () => {};

/** `run(ms)` is called when the stream is live again after `ms` without it. */
export const onBack = (run) => { whenBack = run; };

function setLink(link) {
  if (state.link === link) return;
  state.link = link;
  changed("link");
}

// A page kept for the back button must not hold one of the browser's few connections; it comes back with a fresh stream.
window.addEventListener("pagehide", () => { stream?.close(); });
window.addEventListener("pageshow", (event) => { if (event.persisted && stream) connect(); });

/** Opens the event stream, then loads everything, so that nothing falls between the two. */
export function connect() {
  stream?.close();
  stream = new EventSource("/api/v1/events");
  let loaded = false;
  stream.onopen = () => {
    setLink("live");
    if (lostAt !== null) whenBack(Date.now() - lostAt);
    lostAt = null;
    if (!loaded) { loaded = true; loadAll(); }
  };
  stream.onerror = () => {
    lostAt ??= Date.now();
    setLink("lost");
    // The browser resumes by itself unless the daemon said no: then what was missed is gone, and all is asked again.
    if (stream.readyState === EventSource.CLOSED) {
      stream = null;
      setTimeout(() => api.me().then(connect, (p) => p.status === 401 || connect()), 2000);
    }
  };
  for (const [name, handle] of Object.entries(HANDLERS)) {
    stream.addEventListener(name, (event) => {
      try { handle(JSON.parse(event.data)); } catch (error) { console.error(`event ${name}`, error); }
    });
  }
}

export function disconnect() {
  stream?.close();
  stream = null;
}

async function loadAll() {
  const stale = new Set(state.conversations.keys());
  const loads = [loadOpen(), loadAgents(), loadQueues(), loadRules(), loadHeld(), ...[...state.details.keys()].map(loadDetail)];
  const problems = (await Promise.allSettled(loads)).filter((r) => r.status === "rejected").map((r) => r.reason);
  state.problem = problems.find((p) => p.status !== 401 && p.status !== 403) ?? null;
  state.loading = false;
  if (stale.size) refreshStale(stale);
  changed("conversations");
  changed("link");
}

/** After a gap, an open conversation that no list named any more was closed meanwhile. */
function refreshStale(before) {
  state.closed = { ids: [], next: undefined, loading: false, error: null };
  const asked = [...before].filter((id) => OPEN_STATES.includes(state.conversations.get(id)?.state)).slice(0, 200);
  for (const id of asked) {
    api.conversation(id).then(put, (p) => p.status === 404 && state.conversations.delete(id) && changed("conversations"));
  }
}
