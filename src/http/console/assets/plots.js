// What came, for how long it waited, and what was in time, hour by hour: three small plots, each with its numbers for who cannot see it.

import { h, svg } from "./dom.js";
import { hourMinute, span, when } from "./format.js";

const HOUR = 3_600_000;
/** The shapes are drawn on a field of this size, and stretched to the place that there is. */
const [WIDTH, HEIGHT] = [480, 96];

/** The slots of the API as hours, the oldest first and the one that runs last; hours in which nothing happened are there too. */
export function hours(activity) {
  const until = when(activity.until);
  const count = Math.round((until - when(activity.since)) / HOUR);
  // On the hour, as a clock shows it; zones half an hour off have their own.
  const off = new Date(until).getTimezoneOffset() * 60_000;
  const last = Math.floor((until - off) / HOUR) * HOUR + off;
  const found = Array.from({ length: count }, (_, i) => ({ at: last - (count - 1 - i) * HOUR, arrived: 0, answered: 0, waited_ms: 0, due: 0, in_time: 0 }));
  for (const slot of activity.slots) {
    const hour = found[Math.floor((when(slot.at) - found[0].at) / HOUR)];
    if (hour) for (const key of ["arrived", "answered", "waited_ms", "due", "in_time"]) hour[key] += slot[key];
  }
  return found;
}

/** The least round number that a plot may end at. */
export function ceiling(most) {
  if (most <= 4) return 4;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 4, 6, 8, 10].map((n) => n * power).find((n) => n >= most);
}

/** The same for times: whole minutes, then whole hours. */
function ceilingOfTime(most) {
  const unit = most > 2 * HOUR ? HOUR : 60_000;
  return ceiling(most / unit) * unit;
}

const place = (i, all) => ((i + 0.5) / all) * WIDTH;
const height = (value, top) => HEIGHT - (value / top) * (HEIGHT - 2);

function bars(values, top) {
  const room = WIDTH / values.length;
  return values.map((v, i) => v > 0 && svg("rect", { x: i * room + room * 0.14, y: height(v, top), width: room * 0.72, height: HEIGHT - height(v, top), class: "plot-bar" }));
}

/** A line through the hours that have a value, broken where they have none; one that stands alone is a dot. */
function line(values, top) {
  const runs = [];
  values.forEach((v, i) => {
    if (v === null) return;
    if (i > 0 && values[i - 1] !== null) runs.at(-1).push(i); else runs.push([i]);
  });
  const point = (i) => `${place(i, values.length).toFixed(1)},${height(values[i], top).toFixed(1)}`;
  return runs.map((run) => svg("polyline", { class: run.length > 1 ? "plot-line" : "plot-line plot-dot", points: (run.length > 1 ? run : [run[0], run[0]]).map(point).join(" ") }));
}

/** One plot: `write` says a value in words. */
function plot({ title, sum, values, top, kind, write, rows }) {
  const known = values.filter((v) => v !== null && v !== 0);
  const field = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true", class: "plot-field" },
    [0.5, 1].map((share) => svg("line", { class: "plot-grid", x1: 0, x2: WIDTH, y1: height(share, 1), y2: height(share, 1) })),
    svg("line", { class: "plot-base", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }),
    known.length || kind === "line" ? (kind === "line" ? line(values, top) : bars(values, top)) : null);
  // Every sixth hour is named; the hour that runs is "now".
  const named = rows.map((row, i) => (i === rows.length - 1 ? "now" : (rows.length - 1 - i) % 6 === 0 ? hourMinute(row.at) : ""));
  return h("figure.plot", {},
    h("figcaption", {}, h("span.plot-title", {}, title), h("b", {}, sum)),
    h("div.plot-box", { "aria-hidden": "true" }, h("span.plot-top", {}, write(top)), h("span.plot-half", {}, write(top / 2)), field,
      values.every((v) => v === null) && h("span.plot-none", {}, "nothing yet")),
    h("div.plot-hours", { "aria-hidden": "true" }, named.map((text) => h("span", {}, text))),
    h("table.visually-hidden", {}, h("caption", {}, `${title} by hour`), h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "From"), h("th", { scope: "col" }, title))),
      h("tbody", {}, rows.map((row, i) => values[i] !== null && values[i] !== 0 && h("tr", {}, h("th", { scope: "row" }, hourMinute(row.at)), h("td", {}, write(values[i])))))));
}

const took = (ms) => (ms > 0 && ms < 60_000 ? `${Math.max(1, Math.round(ms / 1000))} s` : ms === 0 ? "0" : span(ms));
const percent = (share) => `${Math.round(share * 100)} %`;

/** The three plots of the board. */
export function plots(activity) {
  const rows = hours(activity);
  const total = (key) => rows.reduce((sum, row) => sum + row[key], 0);
  const arrived = rows.map((row) => row.arrived);
  const waited = rows.map((row) => (row.answered ? row.waited_ms / row.answered : null));
  const kept = rows.map((row) => (row.due ? row.in_time / row.due : null));
  const [answered, due] = [total("answered"), total("due")];
  return h("div.plots", {},
    plot({ title: "Arrivals", sum: total("arrived").toLocaleString(), values: arrived, top: ceiling(Math.max(...arrived)), kind: "bars", write: (n) => n.toLocaleString(), rows }),
    plot({ title: "Wait for an answer, mean", sum: answered ? took(total("waited_ms") / answered) : "–", values: waited, top: ceilingOfTime(Math.max(...waited, 0)), kind: "line", write: took, rows }),
    plot({ title: "First answers in time", sum: due ? percent(total("in_time") / due) : "–", values: kept, top: 1, kind: "line", write: percent, rows }));
}
