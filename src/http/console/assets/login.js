// Signing in: with the link that the daemon prints, or with a token of the API.

import * as api from "./api.js";
import { button, fill, h } from "./dom.js";

/** The code of `#login=…`, taken out of the address before anything else is done. */
export function codeFromAddress() {
  const match = /^#login=([\w-]+)$/.exec(window.location.hash);
  if (!match) return null;
  history.replaceState(null, "", window.location.pathname + window.location.search);
  return match[1];
}

/** Shows the form until a login works, then calls `done`. */
export function show(root, done, why = "") {
  const input = h("input", { type: "password", id: "token", autocomplete: "current-password", required: true, spellcheck: "false" });
  const error = h("p.error-text", { role: "alert" }, why);
  const submit = button("Sign in", { primary: true, run: () => signIn() });
  async function signIn() {
    fill(error);
    if (!input.value.trim()) return;
    try {
      await api.login({ token: input.value.trim() });
      done();
    } catch (problem) {
      fill(error, problem.status === 401 ? "No such token is configured." : problem.text);
      input.select();
    }
  }
  const form = h("form.login", { onsubmit: (event) => { event.preventDefault(); submit.click(); } },
    h("h1", {}, "Switchboard"),
    h("p", {}, "Open the login link that the daemon prints when it starts, or paste an API token."),
    h("label", { for: "token" }, "Token"), input, error, submit,
    h("p.muted", {}, "The token of this machine is in the file ", h("code", {}, "admin.token"), " of the data directory; others are under ",
      h("code", {}, "[admin.tokens]"), " of the configuration."));
  fill(root, form);
  input.focus();
}
