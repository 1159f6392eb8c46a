// What an agent does to a conversation, by button or key.

import * as api from "./api.js";
import { expect } from "./alert.js";
import { ask, attempt, pick, toast } from "./dialogs.js";
import { exact, now, plural, who } from "./format.js";
import { agentName, isMe, loadDetail, may, myName, myOffers, state } from "./store.js";
import { change } from "./route.js";

export async function accept(conversation) {
  const offer = conversation?.offer;
  if (!offer) return;
  expect(conversation.id);
  if (await attempt(() => api.accept(offer.id))) change({ view: "mine", area: "inbox", queue: null, id: conversation.id, why: null });
  loadDetail(conversation.id);
}

export const decline = (conversation) =>
  conversation?.offer && attempt(() => api.decline(conversation.offer.id), `Declined ${who(conversation)}; the next agent is asked.`);

/** The offer that `a` and `d` answer: the open conversation's, else the one that ends soonest. */
export function offerAtHand(id) {
  const offers = myOffers();
  return offers.find((c) => c.id === id) ?? offers[0];
}

export async function take(conversation) {
  const owner = conversation.agent;
  if (owner && !isMe(owner)) {
    const text = `${agentName(owner)} has this conversation and keeps seeing it until you take it.`;
    if (!(await ask({ title: `Take it from ${agentName(owner)}?`, text, go: "Take it" }))) return;
  }
  expect(conversation.id);
  await attempt(() => api.take(conversation.id));
  loadDetail(conversation.id);
}

export const canTake = (c) =>
  Boolean(myName()) && !["closed"].includes(c.state) && !isMe(c.agent) && !(c.state === "offered" && isMe(c.offer?.agent))
  && (c.state === "queued" || may("supervisor"));

export const close = (conversation) =>
  conversation.state === "closed" ? reopen(conversation)
    : attempt(() => api.close(conversation.id), `Closed ${who(conversation)}.`, { label: "Undo", run: () => reopen(conversation) });

export function reopen(conversation) {
  expect(conversation.id);
  return attempt(() => api.reopen(conversation.id), `Reopened ${who(conversation)}.`);
}

export async function transfer(conversation) {
  const queues = state.queues.map((q) => ({
    label: q.id, hint: `queue · ${q.depth} waiting`, value: { queue: q.id }, disabled: q.id === conversation.queue && !conversation.agent,
  }));
  const agents = [...state.agents.values()].filter((a) => a.id !== conversation.agent).map((a) => ({
    label: isMe(a.id) ? `${a.name ?? a.id} (you)` : (a.name ?? a.id), hint: `${a.presence_name ?? a.presence} · ${a.load ?? 0} of ${a.capacity ?? 0}`, value: { agent: a.id },
  }));
  const to = await pick({ title: `Transfer ${who(conversation)} to`, placeholder: "Queue or agent", items: [...queues, ...agents] });
  if (!to) return;
  expect(conversation.id);
  await attempt(() => api.transfer(conversation.id, to), `Transferred to ${to.queue ?? agentName(to.agent)}.`);
}

const UNITS = { m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 };

/** `2h`, `30 min`, `3d` as a moment. */
function typedSnooze(typed) {
  const match = /^(\d{1,3})\s*(m|min|h|d|w)$/.exec(typed);
  if (!match || match[1] === "0") return [];
  const until = new Date(now() + Number(match[1]) * UNITS[match[2]]);
  return [{ label: `For ${match[1]} ${match[2]}`, hint: exact(until.toISOString()), value: until }];
}

function snoozeTimes() {
  const at = (days, hour) => { const d = new Date(now()); d.setDate(d.getDate() + days); d.setHours(hour, 0, 0, 0); return d; };
  const today = new Date(now());
  const times = [["In an hour", new Date(now() + UNITS.h)], ["In three hours", new Date(now() + 3 * UNITS.h)]];
  if (today.getHours() < 16) times.push(["This evening", at(0, 18)]);
  times.push(["Tomorrow morning", at(1, 9)], ["Monday morning", at((8 - today.getDay()) % 7 || 7, 9)]);
  return times.map(([label, until]) => ({ label, hint: exact(until.toISOString()), value: until }));
}

export async function snooze(conversation) {
  const until = await pick({ title: `Snooze ${who(conversation)}`, placeholder: "Or type 2h, 30 min, 3d", items: snoozeTimes(), free: typedSnooze });
  if (until) await attempt(() => api.snooze(conversation.id, until.toISOString()), `Snoozed until ${exact(until.toISOString())}.`);
}

export async function prioritise(conversation) {
  const items = ["urgent", "high", "normal", "low"].map((p) => ({ label: p, hint: p === conversation.priority ? "now" : "", value: p }));
  const priority = await pick({ title: "Priority", items });
  if (priority && priority !== conversation.priority) await attempt(() => api.patch(conversation.id, { priority }));
}

export const retag = (conversation, tags) => attempt(() => api.patch(conversation.id, { tags }));

/** Resends what may have been sent already: only after a person said that twice is better than never. */
export async function resend(entries) {
  const risky = entries.filter((e) => e.reason === "unknown" || e.status === "unknown").length;
  if (risky > 0) {
    const text = `The provider never said whether ${risky === 1 ? "it was" : "they were"} sent. If so, the customer gets ${risky === 1 ? "it" : "them"} twice.`;
    if (!(await ask({ title: `Send ${plural(entries.length, "message")} again?`, text, go: "Send again" }))) return;
  }
  await many(entries, (e) => api.resend(e.id), "sent again");
}

export async function drop(entries) {
  const text = "The customer does not get it from us. The text stays in the conversation, marked as dropped.";
  if (!(await ask({ title: `Drop ${plural(entries.length, "message")}?`, text, go: "Drop", danger: true }))) return;
  await many(entries, (e) => api.drop(e.id), "dropped");
}

/** What still cannot be read stays in quarantine, and the answer says why. */
export const retry = (entries) => many(entries, async (e) => {
  const answer = await api.retry(e.id);
  if (answer?.released === false) throw Object.assign(new Error(answer.reason), { text: answer.reason ?? "it still cannot be read" });
}, "read again");

/** Gives up what cannot be read: its bytes go with the records around it. */
export async function forget(entries) {
  const text = "What it says reaches nobody. Its bytes are kept until the log lets them go, and the log says who dropped it.";
  if (!(await ask({ title: `Drop ${plural(entries.length, "record")} from the quarantine?`, text, go: "Drop", danger: true }))) return;
  await many(entries, (e) => api.forget(e.id), "dropped");
}

async function many(entries, run, done) {
  const results = await Promise.allSettled(entries.map(run));
  const failed = results.filter((r) => r.status === "rejected");
  if (failed.length) toast(`${failed.length} of ${entries.length} failed: ${failed[0].reason.text}`, { error: true });
  else toast(`${plural(entries.length, "message")} ${done}.`);
}
