// What goes with a reply beside its text: choices for the customer, and files.

import * as api from "./api.js";
import { fill, h, icon } from "./dom.js";
import { bytes } from "./format.js";

/** As many as a person can take in, and as long as a button can be. */
const MOST_CHOICES = 10;
const LONGEST = 80;
const MOST_FILES = 10;

/** The text as a channel without buttons sends it, with the choices as numbered lines. */
export function numbered(text, choices) {
  const said = text.trimEnd();
  if (!choices.length) return said;
  return `${said}${said ? "\n\n" : ""}${choices.map((label, i) => `${i + 1}. ${label}`).join("\n")}`;
}

/** The parts below the text field. `changed` is called whenever something of the draft did; `warn` says what went wrong. */
export function mount({ changed, warn }) {
  let draft = { choices: [], files: [] };
  let conversation = null;
  const rows = h("div.choice-rows", {});
  const hint = h("p.muted", {}, "Buttons where the channel has them, else numbered lines: the customer taps one, or types its number.");
  const choices = h("div.choices-edit", { role: "group", "aria-label": "Choices for the customer", hidden: true }, rows, hint);
  const chips = h("ul.chips", { "aria-label": "Files of this reply" });
  const picker = h("input", { type: "file", multiple: true, hidden: true, "aria-label": "Files to send", onchange: () => { add([...picker.files]); picker.value = ""; } });
  const root = h("div.extras", {}, choices, chips, picker);

  const fields = () => [...rows.querySelectorAll("input")];

  function drawChoices(focus) {
    choices.hidden = draft.choices.length === 0;
    fill(rows, draft.choices.map((label, i) => h("div.choice-row", {},
      h("input", {
        type: "text", value: label, maxlength: LONGEST, "aria-label": `Choice ${i + 1}`, placeholder: `Choice ${i + 1}`, dir: "auto", autocomplete: "off",
        oninput: (event) => { draft.choices[i] = event.target.value; changed(); },
        onkeydown: (event) => typed(event, i),
      }),
      h("button.icon-button", { type: "button", "aria-label": `Remove choice ${i + 1}`, onclick: () => remove(i) }, icon("close")))));
    if (focus !== undefined) fields()[Math.min(focus, draft.choices.length - 1)]?.focus();
    changed();
  }

  function typed(event, i) {
    if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      event.stopPropagation();
      if (!draft.choices[i].trim()) return;
      if (i === draft.choices.length - 1 && draft.choices.length < MOST_CHOICES) draft.choices.push("");
      drawChoices(i + 1);
    }
    if (event.key === "Backspace" && draft.choices[i] === "") { event.preventDefault(); remove(i); }
    if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); root.dispatchEvent(new CustomEvent("leave", { bubbles: true })); }
  }

  function remove(i) {
    draft.choices.splice(i, 1);
    drawChoices(Math.max(0, i - 1));
    if (!draft.choices.length) root.dispatchEvent(new CustomEvent("leave", { bubbles: true }));
  }

  function drawFiles() {
    fill(chips, draft.files.map((file) => h("li.file", {}, icon("clip"), [file.name, bytes(file.size), file.sent ? "" : "being uploaded …"].filter(Boolean).join(" · "),
      h("button.icon-button", { type: "button", "aria-label": `Remove ${file.name}`, onclick: () => { take(file); changed(); } }, icon("close")))));
    chips.hidden = draft.files.length === 0;
  }

  function take(file, from = draft) {
    from.files = from.files.filter((f) => f !== file);
    drawFiles();
  }

  async function add(given) {
    const target = draft;
    for (const blob of given.slice(0, MOST_FILES - target.files.length)) {
      const file = { name: blob.name, size: blob.size, sent: null };
      target.files.push(file);
      drawFiles();
      changed();
      try {
        file.sent = await api.upload(conversation.id, blob);
      } catch (problem) {
        take(file, target);
        warn(`${blob.name} could not be uploaded: ${problem.text}`);
      }
      drawFiles();
      changed();
    }
  }

  return {
    root,
    add,
    /** Shows what belongs to the draft of a conversation. */
    show(next, of) {
      draft = next;
      conversation = of;
      drawChoices();
      drawFiles();
    },
    /** Opens the choices, or goes to the first that is empty. */
    offer() {
      const blank = draft.choices.findIndex((label) => !label.trim());
      if (blank < 0 && draft.choices.length < MOST_CHOICES) draft.choices.push("");
      drawChoices(blank < 0 ? draft.choices.length - 1 : blank);
    },
    browse: () => picker.click(),
    labels: () => draft.choices.map((label) => label.trim()).filter(Boolean),
    uploading: () => draft.files.some((file) => !file.sent),
    /** What a reply carries beside its text; nothing that is empty. */
    parts() {
      const labels = draft.choices.map((label) => label.trim()).filter(Boolean);
      const sent = draft.files.map((file) => file.sent).filter(Boolean);
      return {
        ...(labels.length && { choices: labels.map((label) => ({ label })) }),
        ...(sent.length && { attachments: sent }),
      };
    },
  };
}
