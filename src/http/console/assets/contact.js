// Beside the conversation: who the customer is and what was before.

import * as api from "./api.js";
import { retag } from "./actions.js";
import { fill, h, icon } from "./dom.js";
import { address, ago, exact, number, who } from "./format.js";
import { doubt } from "./messages.js";
import { current } from "./route.js";
import { state } from "./store.js";

let before = { contact: null, list: null };

async function loadBefore(contact, redraw) {
  if (before.contact === contact) return;
  before = { contact, list: null };
  try {
    const page = await api.get("/conversations", { contact, limit: 10 });
    if (before.contact !== contact) return;
    before.list = page.conversations;
  } catch {
    before.list = [];
  }
  redraw();
}

const row = (label, ...value) => h("div.fact", {}, h("dt", {}, label), h("dd", {}, ...value));

function tags(c) {
  const add = h("input.tag-input", { type: "text", placeholder: "add", "aria-label": "Add a tag", maxlength: 64, size: 6 });
  add.addEventListener("keydown", (event) => {
    const tag = add.value.trim();
    if (event.key !== "Enter" || event.isComposing || !tag) return;
    event.preventDefault();
    if (!(c.tags ?? []).includes(tag)) retag(c, [...(c.tags ?? []), tag]);
  });
  return [(c.tags ?? []).map((tag) => h("span.tag", {}, tag,
    h("button", { type: "button", "aria-label": `Remove the tag ${tag}`, onclick: () => retag(c, c.tags.filter((t) => t !== tag)) }, icon("close")))), add];
}

const consents = (contact) => Object.entries(contact.consent ?? {}).map(([channel, word]) =>
  h("p", { class: word === "opted_out" ? "bad-text" : undefined }, word === "opted_out" ? `Opted out of ${channel}` : `Opted in on ${channel}`));

function earlierOnes(c) {
  if (!before.list) return h("p.muted", {}, "Loading …");
  const others = before.list.filter((b) => b.id !== c.id);
  if (!others.length) return h("p.muted", {}, "This is the first conversation.");
  return h("ul.before", {}, others.map((b) => h("li", {},
    h("a", { href: `/console/inbox/${b.state === "closed" ? "closed" : "all"}/${encodeURIComponent(b.id)}`, "data-go": true },
      h("span", {}, [number(b), b.channel].filter(Boolean).join(" · ")),
      h("span.muted", { title: exact(b.updated_at) }, `${b.state} · ${ago(b.updated_at)}`),
      b.last_message?.text && h("span.snippet.muted", {}, doubt(b, "b.unproved"), b.last_message.text)))));
}

/** Shows the contact of the open conversation in `root`. */
export function draw(root, closeSide) {
  const c = state.conversations.get(current.id);
  if (!c) return fill(root);
  const contact = c.contact ?? {};
  // Somebody is typing a tag: the panel waits.
  if (root.contains(document.activeElement) && document.activeElement.value && root.dataset.of === c.id) return undefined;
  root.dataset.of = c.id;
  if (contact.id) loadBefore(contact.id, () => draw(root, closeSide));
  const attributes = { ...contact.attributes, ...c.attributes };
  return fill(root,
    h("header.panel-head", {}, h("h2", {}, who(c)),
      h("button.icon-button.side-close", { type: "button", "aria-label": "Close", onclick: closeSide }, icon("close"))),
    h("div.identities", {}, (contact.identities ?? []).map((i) => h("p", { title: i }, address(i)))),
    consents(contact),
    h("dl.facts-list", {},
      contact.tags?.length > 0 && row("customer", contact.tags.map((t) => h("span.tag", {}, t))),
      row("tags", tags(c)),
      Object.entries(attributes).map(([name, value]) => row(name, String(value))),
      row("opened", h("time", { title: exact(c.opened_at) }, ago(c.opened_at) === "now" ? "just now" : `${ago(c.opened_at)} ago`))),
    h("h3", {}, "Before"), earlierOnes(c));
}
