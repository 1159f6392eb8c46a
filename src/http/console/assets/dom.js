// Building the page. Text only ever enters as text nodes: what a customer wrote can never become markup.

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  back: "M9.5 3.5 5 8l4.5 4.5",
  close: "m4 4 8 8M12 4l-8 8",
  search: "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9Zm3.3 7.8L13.5 13.5",
  down: "m4.5 6.5 3.5 3.5 3.5-3.5",
  person: "M8 2.5a2.6 2.6 0 1 0 0 5.2 2.6 2.6 0 0 0 0-5.2ZM3 13.5c.5-2.6 2.4-4 5-4s4.5 1.4 5 4",
  clip: "M10.5 5 6 9.5a1.1 1.1 0 0 0 1.5 1.5l5-5a2.4 2.4 0 0 0-3.4-3.4l-5.2 5.2a3.7 3.7 0 0 0 5.2 5.2L13 9",
};

/** An element: `h("button.primary", { onclick, "aria-label": "…" }, "text", child, [children])`. */
export function h(spec, props, ...children) {
  const [tag, ...classes] = spec.split(".");
  const el = document.createElement(tag || "div");
  if (classes.length) el.className = classes.join(" ");
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) el.addEventListener(key.slice(2), value);
    else if (key === "class") el.className += ` ${value}`;
    else if (key === "value" || key === "checked" || key === "disabled" || key === "selected") el[key] = value;
    else el.setAttribute(key, value === true ? "" : value);
  }
  append(el, children);
  return el;
}

function append(el, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(el, child);
    else if (child !== undefined && child !== null && child !== false && child !== "") el.append(child);
  }
}

/** Replaces what is inside `el`. */
export function fill(el, ...children) {
  el.replaceChildren();
  append(el, children);
  return el;
}

/** A shape: as `h`, of SVG. */
export function svg(tag, props, ...children) {
  const el = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(props)) el.setAttribute(key, value);
  append(el, children);
  return el;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button that cannot be pressed twice while its work runs. The work reports its own errors. */
export function button(label, { key, primary, quiet, danger, title, disabled, run, ...rest } = {}) {
  const el = h("button", {
    type: "button",
    class: [primary && "primary", quiet && "quiet", danger && "danger"].filter(Boolean).join(" ") || undefined,
    title, disabled, ...rest,
  }, label, key && h("kbd", { "aria-hidden": "true" }, key));
  el.addEventListener("click", async (event) => {
    if (el.getAttribute("aria-busy")) return;
    el.setAttribute("aria-busy", "true");
    try { await run(event); } finally { el.removeAttribute("aria-busy"); }
  });
  return el;
}

/** Puts exactly these elements into `el`, in this order, and moves none that is in its place: a picture that is moved loads again. */
export function arrange(el, elements) {
  const wanted = new Set(elements);
  for (const child of [...el.children]) if (!wanted.has(child)) child.remove();
  elements.forEach((child, i) => { if (el.children[i] !== child) el.insertBefore(child, el.children[i] ?? null); });
}

const ticking = new Map();

/** Keeps the element's text true as time passes; `text` is asked once a second while the element is on the page. */
export function live(el, text) {
  const set = () => {
    const now = text(el);
    if (now !== undefined && el.textContent !== now) el.textContent = now;
  };
  set();
  ticking.set(el, { set, fresh: true });
  return el;
}

setInterval(() => {
  for (const [el, tick] of ticking) {
    if (el.isConnected) { tick.fresh = false; tick.set(); }
    else if (tick.fresh) tick.fresh = false;
    else ticking.delete(el);
  }
}, 1000);

/** Says something to screen readers without moving the focus. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/** The text with what stands between backticks as code, as nodes. */
export const coded = (text) => text.split("`").map((piece, i) => (i % 2 && piece ? h("code", {}, piece) : piece));

/** The text with its web addresses as links, as nodes. */
export function linked(text) {
  const nodes = [];
  let rest = 0;
  for (const match of text.matchAll(/\bhttps?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]]/g)) {
    nodes.push(text.slice(rest, match.index));
    nodes.push(h("a", { href: match[0], target: "_blank", rel: "noopener noreferrer" }, match[0]));
    rest = match.index + match[0].length;
  }
  nodes.push(text.slice(rest));
  return nodes;
}
