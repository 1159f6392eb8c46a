// Small windows over the page, and short notices in its corner.

import { button, fill, h, icon, say } from "./dom.js";

const toasts = h("div.toasts");
document.body.append(toasts);

/** A notice that goes by itself; an error stays longer. `act` is `{ label, run }`. */
export function toast(text, { error = false, act } = {}) {
  const el = h("div.toast", { class: error ? "error" : undefined, role: error ? "alert" : undefined }, h("span", {}, text));
  if (act) el.append(button(act.label, { quiet: true, run: async () => { el.remove(); await act.run(); } }));
  el.append(h("button.icon-button", { type: "button", "aria-label": "Dismiss", onclick: () => el.remove() }, icon("close")));
  toasts.append(el);
  if (!error) say(text);
  setTimeout(() => el.remove(), error ? 12_000 : 6_000);
  while (toasts.children.length > 3) toasts.firstChild.remove();
}

/** Runs an act and says how it went: `done` is the sentence, or makes it of the act's answer. Answers whether it worked. */
export async function attempt(run, done, act) {
  try {
    const answer = await run();
    if (done) toast(typeof done === "function" ? done(answer) : done, { act });
    return true;
  } catch (problem) {
    toast(problem.text ?? String(problem), { error: true });
    return false;
  }
}

export const dialogOpen = () => document.querySelector("dialog[open]") !== null;

function open(dialog) {
  const before = document.activeElement;
  document.body.append(dialog);
  dialog.addEventListener("close", () => { dialog.remove(); before?.focus?.(); }, { once: true });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.showModal();
}

/**
 * Lets a person choose one of `items` (`{ label, hint, value, disabled }`) by typing, arrows or mouse. `free` turns what was
 * typed into further items. Answers the value, or undefined.
 */
export function pick({ title, placeholder = "Type to filter", items, free, empty = "Nothing fits" }) {
  return new Promise((done) => {
    let shown = [];
    let at = 0;
    let answer;
    const list = h("div.pick-list", { role: "listbox", id: "pick-list", "aria-label": title });
    const input = h("input", {
      type: "text", placeholder, role: "combobox", "aria-controls": "pick-list", "aria-expanded": "true", "aria-label": title,
      autocomplete: "off", spellcheck: "false",
    });
    const dialog = h("dialog.pick", { "aria-label": title }, h("div.pick-title", {}, title), input, list);
    const choose = (item) => {
      if (!item || item.disabled) return;
      answer = item.value;
      dialog.close();
    };
    const mark = () => {
      [...list.children].forEach((el, i) => el.setAttribute("aria-selected", String(i === at)));
      const el = list.children[at];
      if (el?.id) input.setAttribute("aria-activedescendant", el.id);
      el?.scrollIntoView?.({ block: "nearest" });
    };
    const draw = () => {
      const typed = input.value.trim().toLowerCase();
      const all = typeof items === "function" ? items(typed) : items.filter((i) => `${i.label} ${i.hint ?? ""}`.toLowerCase().includes(typed));
      shown = [...(typed && free ? free(typed) : []), ...all].slice(0, 50);
      at = 0;
      fill(list, shown.length ? shown.map((item, i) => h("div.pick-item", {
        role: "option", id: `pick-${i}`, "aria-disabled": item.disabled ? "true" : undefined,
        onclick: () => choose(item), onpointermove: () => { if (at !== i) { at = i; mark(); } },
      }, h("span", {}, item.label), item.hint && h("span.muted", {}, item.hint))) : h("div.pick-none.muted", {}, empty));
      mark();
    };
    input.addEventListener("input", draw);
    input.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step && shown.length) { at = (at + step + shown.length) % shown.length; mark(); event.preventDefault(); }
      if (event.key === "Enter" && !event.isComposing) { choose(shown[at]); event.preventDefault(); }
    });
    dialog.addEventListener("close", () => done(answer), { once: true });
    draw();
    open(dialog);
    input.focus();
  });
}

/** A question with one way forward; answers whether it was taken. */
export function ask({ title, text, go, danger = false }) {
  return new Promise((done) => {
    let answer = false;
    const dialog = h("dialog.ask", { "aria-label": title }, h("h2", {}, title), h("p", {}, text), h("div.actions", {},
      button("Cancel", { run: () => dialog.close() }),
      button(go, { primary: !danger, danger, run: () => { answer = true; dialog.close(); } })));
    dialog.addEventListener("close", () => done(answer), { once: true });
    open(dialog);
    dialog.querySelector(".actions button:last-child").focus();
  });
}

/** Shows `content` until it is closed. */
export function sheet(title, ...content) {
  const dialog = h("dialog.sheet", { "aria-label": title },
    h("header", {}, h("h2", {}, title), h("button.icon-button", { type: "button", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"))),
    ...content);
  open(dialog);
  return dialog;
}
