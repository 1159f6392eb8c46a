// One key each, and `?` to show them.

import { dialogOpen, sheet } from "./dialogs.js";
import { h } from "./dom.js";

const bindings = new Map();
const shown = [];
let prefix = null;
let hushedUntil = 0;
const HUSH_MS = 1500;

/** No key does anything until a pause in the typing. */
export const hush = () => { hushedUntil = Date.now() + HUSH_MS; };

/** Binds `keys` (`"j"`, `"g i"`, `"mod+k"`); `help` is shown under `group`. */
export function bind(keys, group, help, run, { typing = false } = {}) {
  for (const key of [keys].flat()) bindings.set(key, { run, typing });
  if (help) shown.push({ keys: [keys].flat()[0], group, help });
}

const isTyping = (el) => el?.matches?.("input:not([type=checkbox]), textarea, select, [contenteditable]");

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.altKey || dialogOpen()) return;
  const mod = event.ctrlKey || event.metaKey;
  const pressed = mod ? `mod+${event.key.toLowerCase()}` : event.key;
  const key = prefix && !mod ? `${prefix} ${pressed}` : pressed;
  prefix = null;
  const typing = isTyping(event.target);
  if (!typing && !mod && event.key.length === 1 && Date.now() < hushedUntil) { hush(); event.preventDefault(); return; }
  // A focused button keeps its own Enter and Space.
  if (!typing && (event.key === "Enter" || event.key === " ") && event.target.closest?.("button, a, summary")) return;
  const binding = bindings.get(key);
  if (binding && (!typing || binding.typing)) {
    if (binding.run(event) !== false) event.preventDefault();
  } else if (!typing && !mod && pressed === "g") {
    prefix = "g";
    setTimeout(() => { prefix = null; }, 1500);
  }
});

const isApple = /Mac|iPhone|iPad/.test(navigator.platform);
export const label = (key) => key.replace("mod+", isApple ? "⌘" : "Ctrl ").replace(/\b[a-z]$/, (c) => c.toUpperCase());

export function help() {
  const groups = Map.groupBy ? Map.groupBy(shown, (b) => b.group) : shown.reduce((m, b) => m.set(b.group, [...(m.get(b.group) ?? []), b]), new Map());
  sheet("Keyboard", h("div.key-groups", {}, [...groups].map(([group, list]) => h("section", {}, h("h3", {}, group),
    h("dl.keys", {}, list.map((b) => [h("dt", {}, ...b.keys.split(" ").map((k) => h("kbd", {}, label(k)))), h("dd", {}, b.help)]))))));
}
