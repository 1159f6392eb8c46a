// Talking to /api/v1 with the session's cookie.

import { learnClock } from "./format.js";

/** An answer that was no success: `detail` is a sentence for the person at the screen. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `the daemon answered ${status}`);
    this.status = status;
    this.code = body.code ?? "";
    this.errors = body.errors ?? [];
  }

  get text() {
    const more = this.errors.map((e) => e.detail).filter((d) => d && d !== this.message);
    return [this.message, ...more].join("; ");
  }
}

let onSignedOut = () => {};
export const whenSignedOut = (run) => { onSignedOut = run; };

/** A fresh key for one act: repeating the request after a lost answer does not repeat the act. */
export function idempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

async function request(method, address, body, key) {
  const headers = { accept: "application/json", "x-switchboard": "console" };
  const file = body instanceof Blob;
  if (body !== undefined) headers["content-type"] = file ? body.type || "application/octet-stream" : "application/json";
  if (key) headers["idempotency-key"] = key;
  const asked = Date.now();
  let answer;
  try {
    answer = await fetch(address, {
      method, headers, body: body === undefined || file ? body : JSON.stringify(body), credentials: "same-origin", redirect: "error",
    });
  } catch {
    throw new Problem(0, { code: "unreachable", detail: "the daemon does not answer; is it running?" });
  }
  learnClock(answer.headers.get("date"), asked);
  const text = await answer.text();
  let value = null;
  try { value = text ? JSON.parse(text) : null; } catch { value = null; }
  if (answer.ok) return value;
  throw new Problem(answer.status, value ?? {});
}

async function api(method, path, body, key) {
  try {
    return await request(method, `/api/v1${path}`, body, key);
  } catch (problem) {
    if (problem.status === 401) onSignedOut();
    throw problem;
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** A POST that survives one lost answer: it is repeated once under the same key. */
async function act(path, body = {}) {
  const key = idempotencyKey();
  try {
    return await api("POST", path, body, key);
  } catch (problem) {
    if (problem.code !== "unreachable") throw problem;
    await pause(700);
    return api("POST", path, body, key);
  }
}

const seg = encodeURIComponent;
const query = (values) => {
  const used = Object.entries(values).filter(([, v]) => v !== undefined && v !== null && v !== "");
  return used.length ? `?${new URLSearchParams(used)}` : "";
};

export const login = (what) => request("POST", "/console/login", what);
export const logout = () => request("POST", "/console/logout", {});

export const get = (path, values = {}) => api("GET", path + query(values));

export const me = () => get("/me");
export const conversation = (id) => get(`/conversations/${seg(id)}`);
export const messages = (id, cursor) => get(`/conversations/${seg(id)}/messages`, { cursor, limit: 100 });
export const explain = (message) => get(`/messages/${seg(message)}/explain`);

export const reply = (id, body) => act(`/conversations/${seg(id)}/reply`, body);
/** Stores a file of a conversation; the answer goes into a reply's `attachments`. */
export const upload = (id, file) => act(`/attachments${query({ conversation: id, name: file.name || "file" })}`, file);
export const note = (id, text) => act(`/conversations/${seg(id)}/note`, { text });
/** What a text costs on a channel, which may send it in plainer characters or in fewer segments than the text needs. */
export const measure = (channel, text) => api("POST", `/channels/${seg(channel)}/measure`, { text });
export const typing = (id) => api("PUT", `/conversations/${seg(id)}/typing`, {});
export const close = (id) => act(`/conversations/${seg(id)}/close`);
export const reopen = (id) => act(`/conversations/${seg(id)}/reopen`);
export const take = (id) => act(`/conversations/${seg(id)}/take`);
export const transfer = (id, to) => act(`/conversations/${seg(id)}/transfer`, to);
export const snooze = (id, until) => act(`/conversations/${seg(id)}/snooze`, { until });
export const patch = (id, change) => api("PATCH", `/conversations/${seg(id)}`, change);
export const accept = (offer) => act(`/offers/${seg(offer)}/accept`);
export const decline = (offer) => act(`/offers/${seg(offer)}/decline`);
export const presence = (agent, word) => api("PUT", `/agents/${seg(agent)}/presence`, { presence: word });
export const resend = (id) => act(`/dead-letters/${seg(id)}/resend`);
export const drop = (id) => api("DELETE", `/dead-letters/${seg(id)}`);
export const forget = (id) => api("DELETE", `/quarantine/${seg(id)}`);
export const retry = (id) => act(`/quarantine/${seg(id)}/retry`);
export const reloadRules = (body = {}) => act("/rules/reload", body);
export const rollbackRules = () => act("/rules/rollback");
