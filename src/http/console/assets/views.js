// The lists of the inbox: which conversations they hold, in which order, and what to say when there are none.

import { isMe, may, myName, myOffers, state } from "./store.js";
import { clockState, fate, when } from "./format.js";

const isOpen = (c) => c.state !== "closed";
const waitingSince = (c) => when(c.queued_at) ?? when(c.last_message?.at) ?? when(c.opened_at) ?? 0;
const lastAt = (c) => when(c.last_message?.at) ?? when(c.updated_at) ?? 0;
const PRIORITY = { urgent: 0, high: 1, normal: 2, low: 3 };

/** Breached clocks first, then those that run out soonest, then by priority, then who waits longest. */
function byNeed(a, b) {
  const [x, y] = [when(a.sla?.due_at) ?? Infinity, when(b.sla?.due_at) ?? Infinity];
  if (x !== y) return x - y;
  const p = (PRIORITY[a.priority] ?? 2) - (PRIORITY[b.priority] ?? 2);
  return p || waitingSince(a) - waitingSince(b) || (a.id < b.id ? -1 : 1);
}

const byLatest = (a, b) => lastAt(b) - lastAt(a) || (a.id < b.id ? -1 : 1);

export const needsMe = (c) => isMe(c.agent) && c.state === "assigned" && c.turn !== "customer";

/** Our answer has not left: nobody waits for the customer yet. */
const waits = (c) => Boolean(fate(c)?.waits);

const group = (label, list) => ({ label, list });
const open = () => [...state.conversations.values()].filter(isOpen);

const VIEWS = {
  mine: {
    title: () => "Mine",
    groups: () => {
      const mine = open().filter((c) => isMe(c.agent) && c.state !== "offered");
      const snoozed = mine.filter((c) => c.state === "snoozed");
      const yours = mine.filter(needsMe);
      const theirs = mine.filter((c) => c.state !== "snoozed" && !needsMe(c));
      return [
        group("Offered to you", myOffers()),
        group("Your turn", yours.sort(byNeed)),
        group("Not sent yet", theirs.filter(waits).sort(byLatest)),
        group("Waiting for the customer", theirs.filter((c) => !waits(c)).sort(byLatest)),
        group("Snoozed", snoozed.sort((a, b) => (when(a.snoozed_until) ?? 0) - (when(b.snoozed_until) ?? 0))),
      ];
    },
    empty: () => myName()
      ? ["Nothing needs you", "Conversations that you take or accept are listed here. While you are available, new ones are offered to you."]
      : ["This login names no agent", "Its token has no agent, so no conversation can be yours. Queues, the board and the rules are open to you."],
  },
  offered: {
    title: () => "Offered",
    groups: () => {
      const others = open().filter((c) => c.state === "offered" && !isMe(c.offer?.agent));
      const shown = may("supervisor") ? others.sort(byNeed) : [];
      return [group("Offered to you", myOffers()), group("Offered to others", shown)];
    },
    empty: () => ["No offers", "While you are available and have room, the longest-waiting conversation that fits your skills rings here."],
  },
  queue: {
    title: (route) => route.queue,
    groups: (route) => {
      const here = open().filter((c) => c.queue === route.queue);
      return [
        group("Waiting", here.filter((c) => c.state === "queued").sort(byNeed)),
        group("Offered", here.filter((c) => c.state === "offered").sort(byNeed)),
        group("Taken", here.filter((c) => c.state !== "queued" && c.state !== "offered").sort(byLatest)),
      ];
    },
    empty: (route) => [`Nobody waits in ${route.queue}`, "Conversations that the rules send to this queue wait here until an agent takes them."],
  },
  all: {
    title: () => "Everything open",
    groups: () => [group("", open().sort(byLatest))],
    empty: () => ["No open conversations", "Every message that arrives opens a conversation or continues one; both are listed here."],
  },
  closed: {
    title: () => "Closed",
    groups: () => [group("", [...state.conversations.values()].filter((c) => c.state === "closed").sort(byLatest))],
    empty: () => ["Nothing is closed yet", "A conversation that you close moves here; a new message from its customer reopens it."],
  },
};

export const view = (route) => VIEWS[route.view] ?? VIEWS.mine;

/** The groups of a view that hold something. */
export const groups = (route) => view(route).groups(route).filter((g) => g.list.length > 0);

/** What the navigation counts, in one pass. */
export function counts() {
  const found = { ours: 0, mine: 0, needs: 0, offered: myOffers().length, open: 0, queues: new Map(), breached: 0 };
  for (const c of state.conversations.values()) {
    if (!isOpen(c)) continue;
    found.open += 1;
    if (c.turn !== "customer") found.ours += 1;
    if (isMe(c.agent) && c.state !== "offered") found.mine += 1;
    if (needsMe(c)) found.needs += 1;
    if (c.state === "queued") found.queues.set(c.queue, (found.queues.get(c.queue) ?? 0) + 1);
    if (clockState(c.sla) === "breached") found.breached += 1;
  }
  return found;
}
