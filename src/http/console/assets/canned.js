// Canned replies: those of the rule pack, and texts that this browser keeps for its agent.

import { pick, toast } from "./dialogs.js";
import { who } from "./format.js";
import { agentName, myName, state } from "./store.js";

const KEY = "switchboard.canned";
const MAX = 100;

function saved() {
  try {
    const list = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(list) ? list.filter((t) => typeof t === "string") : [];
  } catch { return []; }
}

const save = (list) => localStorage.setItem(KEY, JSON.stringify(list.slice(0, MAX)));

/** `{name}` and `{me}` are filled in. */
function filled(text, conversation) {
  const first = (conversation.contact?.name ?? "").split(" ")[0];
  const me = agentName(myName());
  return text.replaceAll("{name}", first || "there").replaceAll("{me}", me === "you" ? "" : me);
}

/** Lets the agent choose, keep or forget a text; answers the text to insert, or undefined. */
export async function choose(conversation, written) {
  const list = saved();
  const items = [
    ...list.map((text) => ({ label: text, hint: "kept here", value: { use: text } })),
    ...Object.entries(state.rules?.replies ?? {}).map(([id, text]) => ({ label: text, hint: `of the rules, ${id}`, value: { use: text } })),
  ];
  const known = list.includes(written);
  if (written) items.push(known ? { label: "Forget what is written", value: { forget: written } } : { label: "Keep what is written as a canned reply", value: { keep: written } });
  const answer = await pick({
    title: `Canned replies for ${who(conversation)}`, items,
    empty: "None yet. Write a reply, then press the Canned button to keep it in this browser; replies of the rule pack are listed too. {name} becomes the customer's first name.",
  });
  if (answer?.keep) { save([answer.keep, ...list]); toast("Kept in this browser."); }
  if (answer?.forget) { save(list.filter((t) => t !== answer.forget)); toast("Forgotten."); }
  return answer?.use === undefined ? undefined : filled(answer.use, conversation);
}
