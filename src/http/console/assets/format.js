// Times, durations, names: how things are written.

let skew = 0;

/** The daemon's time, so that countdowns are right on a computer whose clock is not. */
export const now = () => Date.now() + skew;

/** Learns the daemon's clock from an answer's `Date`, which has whole seconds. */
export function learnClock(date, asked) {
  const server = Date.parse(date ?? "");
  if (Number.isNaN(server)) return;
  const off = server + 500 - (asked + Date.now()) / 2;
  skew = Math.abs(off) > 2000 ? off : 0;
}

/** Milliseconds since the epoch of a time from the API, or undefined. */
export function when(text) {
  if (typeof text === "number") return text;
  const ms = Date.parse(text ?? "");
  return Number.isNaN(ms) ? undefined : ms;
}

const clockTime = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
const dayMonth = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const fullDay = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const exactTime = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

export const hourMinute = (text) => (when(text) === undefined ? "" : clockTime.format(when(text)));
export const exact = (text) => (when(text) === undefined ? "" : exactTime.format(when(text)));

/** A sentence of the daemon with its times as the reader's clock shows them: the hour today, else with its day. */
export const withLocalTimes = (sentence) => sentence.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, (at) => {
  const today = new Date(when(at)).toDateString() === new Date(now()).toDateString();
  return today ? hourMinute(at) : `${hourMinute(at)} on ${dayMonth.format(when(at))}`;
});

export const day = (text) => {
  const ms = when(text);
  if (ms === undefined) return "";
  const today = new Date(now());
  const then = new Date(ms);
  const days = Math.round((new Date(today).setHours(0, 0, 0, 0) - new Date(then).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return fullDay.format(ms);
};

/** A length of time in its largest useful unit: `now`, `4 min`, `3 h`, `2 d`. */
export function span(ms) {
  const minutes = Math.floor(Math.max(0, ms) / 60_000);
  if (minutes < 1) return "now";
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h`;
  return `${Math.floor(minutes / 1440)} d`;
}

/** How long ago, and past a week the date. */
export function ago(text) {
  const ms = when(text);
  if (ms === undefined) return "";
  const gone = now() - ms;
  return gone > 7 * 86_400_000 ? dayMonth.format(ms) : span(gone);
}

export function agoLong(text) {
  const short = ago(text);
  return short === "now" ? "just now" : /\d (min|h|d)$/.test(short) ? `${short} ago` : short;
}

/** `4:12` below an hour, then `3 h 05`, then days. */
export function countdown(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds < 3600) return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ${String(Math.floor(seconds / 60) % 60).padStart(2, "0")}`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** The state of a service-level clock now: `undefined`, `running`, `warned` or `breached`. */
export function clockState(sla) {
  const due = when(sla?.due_at);
  if (due === undefined) return undefined;
  if (sla.breached || due <= now()) return "breached";
  return sla.warned ? "warned" : "running";
}

export function clockText(sla) {
  const left = when(sla?.due_at) - now();
  if (Number.isNaN(left)) return "";
  if (left > 0) return `${countdown(left)} left`;
  const over = span(-left);
  return over === "now" ? "due now" : `${over} over`;
}

const CLOCKS = { first_response: "first answer", next_response: "answer", resolution: "resolution", waiting: "to be taken from the queue" };

/** What is due when; the usual clock runs for the queue first, and then for whoever took it. */
export const clockTitle = ({ sla, state }) =>
  `${(state === "assigned" && sla.kind === "waiting" ? "answer" : CLOCKS[sla.kind]) ?? "answer"} due ${exact(sla.due_at)}`;

/** A message of ours leaves within this, or it is late. */
const SOON = 10_000;

/** What became of our newest message, in a few words and a tone; undefined once the customer has it, or while it is about to leave. */
export function fate(c) {
  const u = c.undelivered;
  const status = u?.status ?? (c.last_message?.direction === "out" ? c.last_message.status : undefined);
  if (status === "rejected") return { text: "refused ✕", tone: "bad" };
  if (status === "failed") return { text: "failed ✕", tone: "bad" };
  if (status === "dead") return { text: "not sent ✕", tone: "bad" };
  if (status === "unknown") return { text: "may have been sent ?", tone: "warn" };
  const late = u && (u.delayed || now() - when(u.since) > SOON);
  return late && ["queued", "sending"].includes(status) ? { text: "not sent yet …", tone: "warn", waits: true } : undefined;
}

/** What to call the contact: a name, else an address. */
export function who(conversation) {
  const contact = conversation?.contact ?? {};
  return contact.name || address(contact.identities?.[0]) || contact.id || "somebody";
}

/** `phone:+15005550009` without its kind; visitors have no address worth showing. */
export function address(identity) {
  if (!identity) return "";
  const cut = identity.indexOf(":");
  const [kind, value] = [identity.slice(0, cut), identity.slice(cut + 1)];
  if (kind === "visitor") return `visitor ${value.slice(0, 6)}`;
  return kind === "phone" ? phone(value) : value;
}

function phone(value) {
  const us = /^\+1(\d{3})(\d{3})(\d{4})$/.exec(value);
  return us ? `+1 ${us[1]} ${us[2]} ${us[3]}` : value;
}

export const number = (conversation) => (conversation.number ? `#${conversation.number}` : "");

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString()} ${count === 1 ? one : many}`;

export function bytes(size) {
  if (!size) return "";
  if (size < 1024) return `${size} B`;
  if (size < 1024 * 1024) return `${Math.round(size / 1024)} KB`;
  return `${(size / 1024 / 1024).toFixed(1)} MB`;
}
