// The rule pack in force.

import * as api from "./api.js";
import { ask, attempt } from "./dialogs.js";
import { button, fill, h } from "./dom.js";
import { agoLong, exact, plural } from "./format.js";
import { current } from "./route.js";
import { loadRules, may, on, state } from "./store.js";

/** A pack whose own tests fail is put in force only when a person says so, who has read why. */
async function reload() {
  const read = async () => {
    try {
      const answer = await api.reloadRules();
      await loadRules();
      return answer;
    } catch (problem) {
      if (problem.code !== "pack_tests") throw problem;
      if (!(await ask({ title: "Tests of the pack fail", text: problem.text, go: "Put it in force all the same", danger: true }))) return null;
      const answer = await api.reloadRules({ force: true });
      await loadRules();
      return answer;
    }
  };
  await attempt(read, (answer) => answer === null ? "The pack in force stays." : told(answer));
}

const told = ({ changed }) => (changed ? "The pack on disk is in force." : "Nothing changed: the pack on disk was in force already.");

async function rollback() {
  const trial = running();
  const text = trial
    ? "The trial ends: the pack in force decides every conversation from the next message on. What was decided stays."
    : "The pack that was in force before decides from the next message on. What was decided stays.";
  if (!(await ask({ title: trial ? "End the trial?" : "Go back to the pack before?", text, go: "Roll back" }))) return;
  await attempt(async () => { await api.rollbackRules(); await loadRules(); }, trial ? "The trial is over." : "The pack of before is in force again.");
}

/** The trial of a pack, while there is one. */
const running = () => (state.rules?.canary && !state.rules.canary.ended ? state.rules.canary : null);

const short = (hash) => h("code", { title: hash }, String(hash ?? "").slice(0, 12));

/** Both packs of a trial, side by side. */
function trial(canary) {
  const places = [...new Set(canary.packs.flatMap((p) => Object.keys(p.destinations)))].sort();
  const row = (name, of) => h("tr", {}, h("th", { scope: "row" }, name), canary.packs.map((p) => h("td.num", {}, of(p))));
  const took = (ms) => (ms == null ? "–" : ms < 60_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`);
  return h("section.warnings", {}, h("h2", {}, "A pack is being tried"),
    h("p", {}, short(canary.pack), ` decides ${canary.share} % of the new conversations since `, h("time", { title: exact(canary.since) }, agoLong(canary.since)), "."),
    h("table.board-table", { "aria-label": "Both packs" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "New conversations"), h("th.num", { scope: "col" }, "In force"), h("th.num", { scope: "col" }, "Tried"))),
      h("tbody", {}, row("Opened", (p) => p.conversations), places.map((place) => row(`To ${place}`, (p) => p.destinations[place] ?? 0)),
        row("Automatic replies", (p) => p.auto_replies), row("Answered by a person", (p) => p.answered),
        row("First answer, median", (p) => took(p.first_answer.median_ms)), row("Clocks breached", (p) => p.breached))));
}

const warning = (w) => (typeof w === "string" ? w : [w.place, w.text ?? w.message ?? w.detail].filter(Boolean).join(": "));

function table(rules) {
  const most = Math.max(1, ...rules.map((r) => r.hits ?? 0));
  return h("table.board-table.rules-table", { "aria-label": "Rules" },
    h("thead", {}, h("tr", {}, h("th.num", { scope: "col" }, "#"), h("th", { scope: "col" }, "Rule"), h("th.num", { scope: "col", title: "Since midnight where the pack is at home, under whichever pack" }, "Today"), h("th.num", { scope: "col", title: "Since this pack is in force" }, "Hits"), h("th.num", { scope: "col", title: "Since the history of this workspace begins, under whichever pack" }, "In all"), h("td.wide", { "aria-hidden": "true" }), h("th.place-col", { scope: "col" }, "Place"))),
    h("tbody", {}, rules.map((r, i) => {
      const share = h("i", {});
      share.style.width = `${((r.hits ?? 0) / most) * 100}%`;
      return h("tr", { class: [r.name === current.rule && "marked", !r.hits && "off"].filter(Boolean).join(" ") || undefined },
        h("td.num.muted", {}, i + 1), h("th", { scope: "row" }, r.name),
        h("td.num", {}, (r.hits_today ?? 0).toLocaleString()), h("td.num", {}, r.hits ? r.hits.toLocaleString() : h("span.muted", {}, "never")), h("td.num.muted", {}, (r.hits_in_all ?? 0).toLocaleString()), h("td.wide", { "aria-hidden": "true" }, h("span.bar-track", { "aria-hidden": "true" }, share)),
        h("td.place-col", {}, h("code", {}, r.place ?? "")));
    })));
}

/** Mounts the page; it draws only while it is shown. */
export function mount(root) {
  let asked = false;
  const draw = () => {
    if (current.area !== "rules") return;
    if (!asked) { asked = true; loadRules().catch(() => {}); }
    const pack = state.rules;
    if (!pack) return fill(root, h("header.page-head", {}, h("h1", {}, "Rules")), h("p.boot", {}, state.problem?.text ?? "Loading …"));
    const rules = pack.rules ?? [];
    const never = rules.filter((r) => !r.hits).length;
    const before = rules.filter((r) => !r.hits && r.hits_in_all).length;
    fill(root,
      h("header.page-head", {}, h("h1", {}, "Rules"), h("span.spacer"),
        may("admin") && [button("Reload from disk", { run: reload }), button("Roll back", { quiet: true, run: rollback })]),
      h("p.pack", {}, "Pack ", h("code", { title: pack.hash }, String(pack.hash ?? "").slice(0, 12)), pack.loaded_at && [", in force since ", h("time", { title: exact(pack.loaded_at) }, agoLong(pack.loaded_at))],
        `. ${plural(rules.length, "rule")}${never ? `, ${never} that never matched since` : ""}${before ? ` (${before} of them did under earlier packs)` : ""}. They are asked from top to bottom for every message.`),
      running() && trial(running()),
      pack.on_disk && pack.on_disk !== pack.hash && pack.on_disk !== running()?.pack && h("section.warnings", {}, h("h2", {}, "The pack on disk is another"),
        h("p", {}, "On disk is ", h("code", {}, pack.on_disk.slice(0, 12)), ", and ", h("code", {}, String(pack.hash ?? "").slice(0, 12)),
          " decides: after a roll-back, or because the files were changed since. Reload from disk puts it in force.")),
      pack.on_disk === null && h("section.warnings", {}, h("h2", {}, "The pack on disk cannot be used"), h("p", {}, "The one in force stays; ", h("code", {}, "switchboard check"), " says what is wrong.")),
      pack.warnings?.length > 0 && h("section.warnings", {}, h("h2", {}, plural(pack.warnings.length, "warning")), h("ul", {}, pack.warnings.map((w) => h("li", {}, warning(w))))),
      rules.length ? table(rules) : h("div.empty", {}, h("h2", {}, "The pack has no rules"), h("p", {}, "Every message goes to the pack’s default.")));
    root.querySelector("tr.marked")?.scrollIntoView({ block: "center" });
    return undefined;
  };
  on("rules link", draw);
  return draw;
}
