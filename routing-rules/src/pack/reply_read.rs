//! A reply as it is written: a text, or a text with what the customer may choose from.

use super::problem::Sink;
use super::read::{filled, keys, list, short};
use super::yaml::{Node, Value};
use switchboard_envelope::Choice;

/// The most choices of one reply; no channel shows more, and nobody reads more lines.
const MAX_CHOICES: usize = 30;
/// The longest id and label, in bytes.
const MAX_WORD: usize = 200;

/// The node of the text, and the choices.
pub(super) fn read<'a>(node: &'a Node, sink: &mut Sink) -> Option<(&'a Node, Vec<Choice>)> {
    if !matches!(node.value, Value::Map(_)) {
        return Some((node, vec![]));
    }
    let keys = keys(node, "a reply", &["text", "choices"], sink)?;
    let Some(text) = keys.get("text") else {
        sink.error(keys.at, "the reply has no `text`", "write `text: …` beside `choices`");
        return None;
    };
    Some((text, keys.get("choices").map(|node| choices(node, sink)).unwrap_or_default()))
}

fn choices(node: &Node, sink: &mut Sink) -> Vec<Choice> {
    let mut all: Vec<Choice> = vec![];
    for item in list(node, "`choices`", sink).unwrap_or_default() {
        let Some(choice) = choice(item, sink) else { continue };
        // Either could not be told from the other when it comes back.
        let same = |c: &Choice| c.id == choice.id || c.shown().to_lowercase() == choice.shown().to_lowercase();
        if all.iter().any(same) {
            let message = format!("`{}` is the same choice as another", short(choice.shown()));
            sink.error(&item.at, message, "give each an id and a label of its own");
        } else if all.len() == MAX_CHOICES {
            sink.error(&item.at, format!("more than {MAX_CHOICES} choices"), "ask in two steps");
            break;
        } else {
            all.push(choice);
        }
    }
    all
}

/// `Red`, or `{ id: RED, label: Red }`; the label stands for an id that is left out.
fn choice(node: &Node, sink: &mut Sink) -> Option<Choice> {
    let (id, label) = match &node.value {
        Value::Map(_) => {
            let keys = keys(node, "a choice", &["id", "label"], sink)?;
            let Some(label) = keys.get("label") else {
                sink.error(keys.at, "the choice has no `label`", "write what the customer reads");
                return None;
            };
            (keys.get("id").unwrap_or(label), label)
        }
        _ => (node, node),
    };
    Some(Choice { id: word(id, sink)?, label: Some(word(label, sink)?) })
}

fn word(node: &Node, sink: &mut Sink) -> Option<String> {
    let word = filled(node, "a choice", sink)?;
    if word.len() > MAX_WORD || word.chars().any(char::is_control) || word.contains("{{") {
        let hint = format!("write one line of at most {MAX_WORD} bytes, without names to be filled in");
        sink.error(&node.at, "a choice must be a short line", hint);
        return None;
    }
    Some(word.to_owned())
}
