// The console: signs in, puts the panes together, binds the keys.

import * as actions from "./actions.js";
import * as alert from "./alert.js";
import * as api from "./api.js";
import * as board from "./board.js";
import * as contact from "./contact.js";
import * as conversation from "./conversation.js";
import * as held from "./held.js";
import * as inbox from "./inbox.js";
import * as login from "./login.js";
import * as route from "./route.js";
import * as rules from "./rules.js";
import * as shell from "./shell.js";
import * as why from "./why.js";
import { button, fill, h } from "./dom.js";
import { find } from "./find.js";
import { toast } from "./dialogs.js";
import { bind, help, hush } from "./keys.js";
import { connect, disconnect, on, onBack, state } from "./store.js";

const root = document.getElementById("app");
let started = false;

function signedOut(text = "") {
  disconnect();
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  login.show(root, () => window.location.reload(), text);
}

/** An address of the console that names nothing. */
function nowhere(page) {
  fill(page, h("div.empty", {}, h("h1", {}, "There is no such page"),
    h("p", {}, "Nothing of the console has the address ", h("code", {}, window.location.pathname), "."),
    h("p", {}, h("a", { href: route.path(route.home()), "data-go": true }, "Go to the inbox"))));
}

/** The panes, and what to do when the address or the data change. */
function build() {
  const top = h("header.top", {});
  const linkBar = h("div.link-bar", { role: "status", hidden: true });
  const nav = h("nav.nav", { "aria-label": "Console" });
  const list = h("section.list", { "aria-label": "Conversations" });
  const conv = h("section.conv-pane", { "aria-label": "Conversation" });
  const side = h("aside.side", { "aria-label": "About" });
  const page = h("div.page", {});
  const shade = h("div.shade", { onclick: () => { frame.classList.remove("nav-open", "side-open"); if (route.current.why) route.change({ why: null }, { replace: true }); } });
  const main = h("main", { id: "main", tabindex: -1 }, list, conv, side, page);
  const frame = h("div.frame", {}, nav, main, shade);
  fill(root, h("a.skip", { href: "#main" }, "Skip to the content"), top, linkBar, frame);

  const toggleSide = () => frame.classList.toggle("side-open");
  const drawNav = shell.nav(nav);
  shell.top(top, { toggleNav: () => frame.classList.toggle("nav-open"), signedOut });
  shell.linkBar(linkBar);
  const rows = inbox.mount(list);
  const pane = conversation.mount(conv, toggleSide);
  const pages = { board: board.mount(page), rules: rules.mount(page), held: held.mount(page), nowhere: () => nowhere(page) };

  const drawSide = () => {
    const shown = route.current.area === "inbox" && route.current.id && state.conversations.has(route.current.id);
    side.hidden = !shown;
    if (!shown) return;
    side.dataset.panel = route.current.why ? "why" : "contact";
    if (route.current.why) why.draw(side); else contact.draw(side, toggleSide);
  };

  let lastPlace = "";
  const follow = () => {
    const { area, id } = route.current;
    frame.dataset.area = area;
    frame.dataset.pane = id ? "conversation" : "list";
    frame.classList.remove("nav-open");
    if (lastPlace !== `${area} ${id}`) frame.classList.remove("side-open");
    frame.classList.toggle("why-open", Boolean(route.current.why));
    lastPlace = `${area} ${id}`;
    drawNav();
    rows.draw();
    pane.follow();
    drawSide();
    pages[area]?.();
  };
  route.onRoute(follow);
  on("detail conversations", drawSide);
  bindKeys({ rows, pane, toggleSide });
  follow();
}

/** Says why a key did nothing; what is typed after it was meant for a field that is not there. */
function nothingOpen(text = "No conversation is open: choose one with j and k, then open it with o.") {
  toast(text);
  hush();
}

function bindKeys({ rows, pane, toggleSide }) {
  const one = (run) => () => {
    const c = pane.open() ?? rows.at();
    if (c) run(c); else nothingOpen();
  };
  const write = (mode) => () => {
    if (!pane.open() && !rows.at()) return nothingOpen();
    if (!pane.open()) rows.open();
    requestAnimationFrame(() => pane.writer.focus(mode));
    return undefined;
  };
  const inInbox = (run) => () => (route.current.area === "inbox" ? run() : false);
  bind("j", "List", "Down", inInbox(() => rows.move(1)));
  bind("k", "List", "Up", inInbox(() => rows.move(-1)));
  bind(["o", "Enter"], "List", "Open", inInbox(() => rows.open() ?? undefined));
  bind("u", "List", "Back to the list", inInbox(() => route.change({ id: null, why: null })));
  bind("mod+k", "List", "Find", () => { find(); }, { typing: true });
  bind("r", "Conversation", "Reply", inInbox(write("reply")));
  bind("n", "Conversation", "Note", inInbox(write("note")));
  bind("/", "Conversation", "Canned replies", inInbox(() => { if (pane.open()) pane.writer.canned(); }));
  bind("c", "Conversation", "Let the customer choose", inInbox(() => { if (pane.open()) pane.writer.offer(); }));
  bind("f", "Conversation", "Attach a file", inInbox(() => { if (pane.open()) pane.writer.attach(); }));
  bind("y", "Conversation", "Take", inInbox(one((c) => actions.canTake(c) && actions.take(c))));
  bind("e", "Conversation", "Close, or reopen", inInbox(one(actions.close)));
  bind("t", "Conversation", "Transfer", inInbox(one(actions.transfer)));
  bind("s", "Conversation", "Snooze", inInbox(one(actions.snooze)));
  bind("w", "Conversation", "Why?", inInbox(() => { conversation.toggleWhy(); }));
  bind("i", "Conversation", "About the customer", inInbox(toggleSide));
  const offer = (run) => () => { const c = actions.offerAtHand(route.current.id); if (c) run(c); else nothingOpen("Nothing is offered to you."); };
  bind("a", "Offers", "Accept", offer(actions.accept));
  bind("d", "Offers", "Decline", offer(actions.decline));
  bind("p", "Offers", "Change your presence", () => { shell.choosePresence(); });
  bind("g m", "Go to", "Mine", () => route.go(route.home()));
  bind("g o", "Go to", "Offered", () => route.go({ area: "inbox", view: "offered" }));
  bind("g a", "Go to", "Everything open", () => route.go({ area: "inbox", view: "all" }));
  bind("g b", "Go to", "Board", () => route.go({ area: "board" }));
  bind("g r", "Go to", "Rules", () => route.go({ area: "rules" }));
  bind("g h", "Go to", "Held back", () => route.go({ area: "held", tab: "parked" }));
  bind("?", "Go to", "These keys", help);
  bind("Escape", null, null, () => (route.current.why ? route.change({ why: null }, { replace: true }) : document.activeElement?.blur()));
}

async function start() {
  const code = login.codeFromAddress();
  let refused = "";
  if (code) {
    try { await api.login({ code }); } catch (problem) {
      refused = problem.status === 401 ? "This login link was used already, or is older than ten minutes. Whoever runs the daemon makes a new one with switchboard agents login, or paste a token." : problem.text;
    }
  }
  try {
    state.me = await api.me();
  } catch (problem) {
    if (problem.status === 401) return signedOut(refused);
    return fill(root, h("div.empty", {}, h("h1", {}, "The daemon does not answer"), h("p", {}, problem.text), button("Try again", { run: start })));
  }
  if (started) return undefined;
  started = true;
  // A login without an agent has nothing of its own to look at.
  route.begin(state.me.agent ? "mine" : "all");
  api.whenSignedOut(() => signedOut("The session has ended: it was signed out elsewhere, was idle for half a day or is a week old, or its token was changed."));
  build();
  alert.start();
  // A short cut is a lost packet; a long one may have made the router think that nobody is here.
  onBack((ms) => ms > 25_000 && shell.comeIn());
  connect();
  shell.comeIn();
  return undefined;
}

// The login link, opened in a tab that shows the console already, changes only the fragment.
window.addEventListener("hashchange", () => { if (window.location.hash.startsWith("#login=")) window.location.reload(); });

start();
