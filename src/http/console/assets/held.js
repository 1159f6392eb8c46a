// Held back: what was not sent, and what could not be read. Nothing of it is lost; a person decides.

import * as actions from "./actions.js";
import { button, fill, h } from "./dom.js";
import { agoLong, exact, plural } from "./format.js";
import { current, path } from "./route.js";
import { may, on, state } from "./store.js";
import { sheet } from "./dialogs.js";

const TABS = {
  parked: {
    label: "May have been sent", list: () => state.deadLetters.filter((e) => e.reason === "unknown"),
    empty: ["Nothing is parked", "A message waits here when its provider never said whether it was sent: sending it again could mean twice, so a person decides."],
  },
  dead: {
    label: "Not sent", list: () => state.deadLetters.filter((e) => e.reason !== "unknown"),
    empty: ["Nothing was given up", "A message waits here when its channel refused it for good, or did not recover in time."],
  },
  quarantine: {
    label: "Not understood", list: () => state.quarantine,
    empty: ["Nothing is in quarantine", "Something well signed that could not be read waits here with its raw form, to be read again after a fix."],
  },
};

function rawText(raw) {
  if (!raw) return "";
  if (raw.text !== undefined && raw.text !== null) return raw.text;
  try {
    return new TextDecoder("utf-8", { fatal: false }).decode(Uint8Array.from(atob(raw.base64 ?? ""), (c) => c.charCodeAt(0)));
  } catch { return raw.base64 ?? ""; }
}

const showRaw = (entry) => sheet("As it came", h("p.muted", {}, entry.raw?.content_type ?? ""), h("pre.raw", { tabindex: 0 }, rawText(entry.raw)), entry.raw?.cut && h("p.muted", {}, "Only the beginning is shown."));

const allowed = (tab) => may(tab === "quarantine" ? "supervisor" : "agent");

/** What an entry is called, for those who hear it. */
const called = (e) => [e.channel, e.to && `to ${typeof e.to === "string" ? e.to : e.to.value}`, (e.text ?? e.reason ?? "").slice(0, 60)].filter(Boolean).join(", ");

function acts(tab, entries, primary = false) {
  const what = entries.length === 1 ? called(entries[0]) : plural(entries.length, "chosen entry", "chosen entries");
  const act = (label, run, more) => button(label, { "aria-label": `${label}: ${what}`, run, ...more });
  if (tab === "quarantine") return [act("Read again", () => actions.retry(entries), { primary }), act("Drop", () => actions.forget(entries))];
  return [act("Send again", () => actions.resend(entries), { primary }), act("Drop", () => actions.drop(entries))];
}

/** Mounts the page; it draws only while it is shown. */
export function mount(root) {
  const chosen = new Set();
  let lastTab = "";

  function line(tab, entry, redraw) {
    const box = h("input", { type: "checkbox", checked: chosen.has(entry.id), "aria-label": `Choose: ${called(entry)}`, onchange: () => {
      if (box.checked) chosen.add(entry.id); else chosen.delete(entry.id);
      redraw();
    } });
    const about = [entry.channel, entry.to && `to ${typeof entry.to === "string" ? entry.to : entry.to.value}`].filter(Boolean).join(" ");
    return h("li.held", {}, box, h("div", {},
      h("div.line", {}, h("b", {}, about), h("span.spacer"), h("time.muted", { title: exact(entry.at) }, agoLong(entry.at))),
      h("p.reason", {}, entry.detail || (entry.reason === "unknown" ? "the provider never said whether it was sent" : entry.reason), entry.code && h("code", {}, ` ${entry.code}`)),
      entry.text && h("p.held-text", { dir: "auto" }, entry.text),
      h("div.actions", {},
        entry.conversation && h("a", { href: path({ area: "inbox", view: "all", id: entry.conversation }), "data-go": true }, "Open the conversation"),
        tab === "quarantine" && button("Show raw", { quiet: true, "aria-label": `Show raw: ${called(entry)}`, run: () => showRaw(entry) }),
        allowed(tab) && acts(tab, [entry]))));
  }

  function draw() {
    if (current.area !== "held") return;
    const tab = current.tab;
    if (tab !== lastTab) { chosen.clear(); lastTab = tab; }
    const list = TABS[tab].list();
    const present = new Set(list.map((e) => e.id));
    for (const id of chosen) if (!present.has(id)) chosen.delete(id);
    const picked = list.filter((e) => chosen.has(e.id));
    const all = h("input", { type: "checkbox", checked: picked.length > 0 && picked.length === list.length, "aria-label": "Choose all", onchange: () => {
      if (picked.length === list.length) chosen.clear(); else list.forEach((e) => chosen.add(e.id));
      draw();
    } });
    const [head, text] = TABS[tab].empty;
    fill(root,
      h("header.page-head", {}, h("h1", {}, "Held back")),
      h("nav.tabs", { "aria-label": "Kinds" }, Object.entries(TABS).map(([name, t]) => h("a", { href: path({ area: "held", tab: name }), "data-go": true, "aria-current": name === tab ? "page" : undefined },
        t.label, t.list().length > 0 && h("span.count", {}, t.list().length)))),
      list.length > 1 && h("div.held-bar", {}, h("label", {}, all, picked.length ? `${picked.length} chosen` : `All ${list.length}`), h("span.spacer"), picked.length > 0 && allowed(tab) && acts(tab, picked, true)),
      list.length ? h("ul.held-list", {}, list.map((e) => line(tab, e, draw))) : h("div.empty", {}, h("h2", {}, head), h("p", {}, state.problem && state.link !== "live" ? state.problem.text : text)),
      state.moreHeld && h("p.muted", {}, `Only the newest ${plural(200, "entry", "entries")} of each kind are listed.`));
  }

  on("held", draw);
  return draw;
}
