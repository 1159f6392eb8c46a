//! Reading one rule.

use super::action_read::{ACTIONS, ActionReader, rule_name};
use super::condition::{Condition, Test};
use super::condition_read::ConditionReader;
use super::pattern::Pattern;
use super::{Actions, Rule};
use crate::pack::problem::Sink;
use crate::pack::read::{flag, keys, named, one_or_many};
use crate::pack::refs::Refs;
use crate::pack::template::Captured;
use crate::pack::yaml::Node;

/// A rule, or `None` when it has no name to go by.
pub(crate) fn read_rule(node: &Node, sink: &mut Sink, refs: &mut Refs, patterns_left: &mut usize) -> Option<Rule> {
    let keys = keys(node, "a rule", &["name", "when", "then", "continue"], sink)?;
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
    let captures = !possible.is_empty();
    let mut cheapest: Vec<usize> = (0..when.len()).collect();
    cheapest.sort_by_key(|i| when.get(*i).map(Condition::cost));
    Some(Rule { name, at: keys.at.clone(), when, cheapest, then, continues, captures })
}

/// What `default` may do: give a place, and say how the conversation waits there. Whatever else should happen to every
/// message belongs in a rule without `when`.
pub(crate) const DEFAULT_ACTIONS: &[&str] = &["queue", "agent", "desk", "priority", "skills", "overflow", "tag", "set"];

/// `default` has no patterns, so it captures nothing.
pub(crate) fn read_default(node: &Node, sink: &mut Sink, refs: &mut Refs) -> Actions {
    let clean = sink.is_empty();
    for (at, name, _) in one_or_many(node).iter().flat_map(|n| named(n, "`default`", sink)).collect::<Vec<_>>() {
        if ACTIONS.contains(&name) && !DEFAULT_ACTIONS.contains(&name) {
            let hint = "write it in a last rule without `when`, with `continue: true`";
            sink.error(at, format!("`{name}` does not belong in `default`"), hint);
        }
    }
    let actions = ActionReader { sink, refs, captured: Captured::default() }.actions(node, "`default`");
    if actions.queue.is_none() && clean {
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
