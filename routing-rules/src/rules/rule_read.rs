//! Reading one rule.

use super::action_read::{ACTIONS, ActionReader, rule_name};
use super::condition::{Condition, Test};
use super::condition_read::ConditionReader;
use super::field::Field;
use super::pattern::Pattern;
use super::{Actions, Rule};
use crate::event::Happening;
use crate::pack::is_message;
use crate::pack::problem::{Sink, nearest};
use crate::pack::read::{flag, keys, named, one_or_many, word};
use crate::pack::refs::Refs;
use crate::pack::template::Captured;
use crate::pack::yaml::{Node, Value};

/// A rule, or `None` when it has no name to go by.
pub(crate) fn read_rule(node: &Node, sink: &mut Sink, refs: &mut Refs, patterns_left: &mut usize) -> Option<Rule> {
    let keys = keys(node, "a rule", &["name", "on", "when", "then", "continue"], sink)?;
    let when = match keys.get("when") {
        Some(n) => ConditionReader { sink, refs, patterns_left }.conditions(n),
        None => Vec::new(),
    };
    let (certain, possible) = captured(&when);
    let then = match keys.get("then") {
        Some(n) => {
            let captured = Captured { certain: &certain, possible: &possible };
            ActionReader { sink, refs, captured }.actions(n, "`then`")
        }
        None => {
            sink.error(keys.at, "a rule without `then`", "write what it does, such as `then: { queue: everyone }`");
            Actions::default()
        }
    };
    let continues = keys.get("continue").and_then(|n| flag(n, "a value for `continue`", sink)).unwrap_or(false);
    let name = match keys.get("name") {
        Some(n) => rule_name(n, sink)?.to_owned(),
        None => {
            sink.error(keys.at, "a rule without a name", "write `name: …`; explanations and tests use it");
            return None;
        }
    };
    let on = keys.get("on").and_then(|n| happening(n, sink));
    // Whatever it was meant to run on, if not on messages.
    let misspelt = |n: &Node| matches!(&n.value, Value::Text(t) if nearest(t, [MESSAGE]).is_none());
    if on.is_some() || keys.get("on").is_some_and(misspelt) {
        follows_up(&when, keys.get("then"), sink);
    }
    let captures = !possible.is_empty();
    let mut cheapest: Vec<usize> = (0..when.len()).collect();
    cheapest.sort_by_key(|i| when.get(*i).map(Condition::cost));
    Some(Rule { name, at: keys.at.clone(), on, when, cheapest, then, continues, captures })
}

/// What a rule runs for that does not follow up on anything.
pub(crate) const MESSAGE: &str = "message";

fn happening(node: &Node, sink: &mut Sink) -> Option<Happening> {
    if let Value::List(items) = &node.value {
        let words = items.iter().filter_map(|n| match &n.value {
            Value::Text(t) => Happening::parse(t).map(Happening::as_str),
            _ => None,
        });
        let all: Vec<String> = words.map(|on| format!("`on: {on}`")).collect();
        let hint = match all.as_slice() {
            [one] if items.len() == 1 => format!("write {one}"),
            [] | [_] => "write a rule for each word, with a name of its own: `on: closed`".to_owned(),
            all => format!("write a rule for each, with a name of its own: {}", all.join(", ")),
        };
        sink.error(&node.at, "a rule runs on one thing, and this is a list", hint);
        return None;
    }
    let known: Vec<&str> = std::iter::once(MESSAGE).chain(Happening::ALL.map(Happening::as_str)).collect();
    word(node, "what a rule runs on", &known, sink).and_then(Happening::parse)
}

/// What a rule may do that follows up on what people of ours did: what they decided stands, and nothing that it does is followed up.
const FOLLOW_UP_ACTIONS: &[&str] = &["priority", "tag", "set", "notify", "reply"];

/// There is no message then to ask anything of, and only some actions are taken.
fn follows_up(when: &[Condition], then: Option<&Node>, sink: &mut Sink) {
    for condition in when {
        condition.visit(&mut |c| {
            let known = matches!(c.field, Field::Channel | Field::Kind | Field::From);
            if is_message(&c.field) && !known || matches!(c.field, Field::Content) {
                let hint = "ask what is known of the conversation, the contact or the time";
                sink.error(
                    &c.at,
                    format!("`{}` is of a message, and this rule runs without one", c.field.name()),
                    hint,
                );
            }
        });
    }
    for item in then.map(one_or_many).unwrap_or_default() {
        let Value::Map(entries) = &item.value else { continue };
        for (key, _) in entries {
            let Value::Text(name) = &key.value else { continue };
            if ACTIONS.contains(&name.as_str()) && !FOLLOW_UP_ACTIONS.contains(&name.as_str()) {
                let hint = format!("such a rule can take {}", FOLLOW_UP_ACTIONS.join(", "));
                sink.error(&key.at, format!("`{name}` is not for a rule that follows up"), hint);
            }
        }
    }
}

/// What `default` may do: give a place, and say how the conversation waits there. Whatever else should happen to every
/// message belongs in a rule without `when`.
pub(crate) const DEFAULT_ACTIONS: &[&str] = &["queue", "agent", "desk", "priority", "skills", "overflow", "tag", "set"];

/// `default` has no patterns, so it captures nothing.
pub(crate) fn read_default(node: &Node, sink: &mut Sink, refs: &mut Refs) -> Actions {
    let before = sink.count();
    for (at, name, _) in one_or_many(node).iter().flat_map(|n| named(n, "`default`", sink)).collect::<Vec<_>>() {
        if ACTIONS.contains(&name) && !DEFAULT_ACTIONS.contains(&name) {
            let hint = "write it in a last rule without `when`, with `continue: true`";
            sink.error(at, format!("`{name}` does not belong in `default`"), hint);
        }
    }
    let actions = ActionReader { sink, refs, captured: Captured::default() }.actions(node, "`default`");
    if actions.queue.is_none() && sink.count() == before {
        let hint = "write `queue: …` in it: every conversation needs a place where it waits";
        sink.error(&node.at, "`default` names no queue", hint);
    }
    actions
}

/// Names that the conditions certainly capture, and all that they may.
pub(super) fn captured(when: &[Condition]) -> (Vec<&str>, Vec<&str>) {
    let certain = when.iter().flat_map(Condition::certain_captures).collect();
    let mut possible = Vec::new();
    for condition in when {
        condition.visit(&mut |c| {
            if let Test::Matches(patterns) = &c.test {
                possible.extend(patterns.iter().flat_map(Pattern::names));
            }
        });
    }
    (certain, possible)
}
