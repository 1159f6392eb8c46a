//! Reading `then` and `default`.

use super::action::{Actions, AgentPick, NotifyAction, QueuePick, SkillPick};
use super::field::is_key;
use crate::pack::people_read::{IdOrRotation, PeopleReader};
use crate::pack::problem::{Place, Sink, suggestion};
use crate::pack::read::{duration, filled, flag, keys, named, one_or_many, only_true, plain, short, whole, word};
use crate::pack::refs::{Kind, Refs};
use crate::pack::template::{Captured, NAMES, Template, read as read_template};
use crate::pack::yaml::{Node, Value};
use crate::pack::{AgentChoice, SetTarget, Wait};
use std::collections::BTreeMap;

pub(crate) const ACTIONS: &[&str] = &[
    "queue", "agent", "wait", "desk", "priority", "skills", "overflow", "tag", "set", "consent", "notify", "reply",
    "close", "snooze", "block", "move",
];

/// The longest tag, in letters.
const MAX_TAG: usize = 64;

/// Reads actions; `captured` is what the rule's patterns capture.
pub(crate) struct ActionReader<'k> {
    pub sink: &'k mut Sink,
    pub refs: &'k mut Refs,
    pub captured: Captured<'k>,
}

impl ActionReader<'_> {
    /// One map of actions, or a list of maps read as one.
    pub(crate) fn actions(&mut self, node: &Node, what: &str) -> Actions {
        let mut actions = Actions::default();
        let mut written: BTreeMap<String, Place> = BTreeMap::new();
        let mut empty = !matches!(node.value, Value::Bad);
        for item in one_or_many(node) {
            for (at, name, value) in named(item, what, self.sink) {
                empty = false;
                if !ACTIONS.contains(&name) {
                    let hint = suggestion(name, ACTIONS);
                    self.sink.error(at, format!("unknown action `{}`", short(name)), hint);
                    continue;
                }
                let adds_up = matches!(name, "tag" | "notify" | "set");
                if let Some(first) = written.insert(name.to_owned(), at.clone()).filter(|_| !adds_up) {
                    let hint = format!("it is already at {first}; remove one");
                    self.sink.error(at, format!("`{name}` is written twice in one rule"), hint);
                }
                self.action(&mut actions, name, at, value);
            }
        }
        if let Some(at) = written.get("wait").filter(|_| !written.contains_key("agent")) {
            self.sink.error(at, "`wait` without `agent`", "say for whom: `agent: ann, wait: 30s`");
        }
        if empty && matches!(node.value, Value::Map(_) | Value::List(_)) {
            self.sink.error(&node.at, format!("{what} has no action"), "write one, such as `queue: everyone`");
        }
        actions
    }

    /// `30s`, or `{ for: 5m, absent: true }`.
    fn wait(&mut self, node: &Node) -> Option<Wait> {
        if !matches!(node.value, Value::Map(_)) {
            return duration(node, "`wait`", 1_000, self.sink).map(|ms| Wait { ms, absent: false });
        }
        let keys = keys(node, "a wait", &["for", "absent"], self.sink)?;
        let Some(time) = keys.get("for") else {
            self.sink.error(
                keys.at,
                "a wait without a time",
                "write `wait: 30s`, or `wait: { for: 5m, absent: true }`",
            );
            return None;
        };
        let absent = keys.get("absent").and_then(|n| flag(n, "`absent`", self.sink)).unwrap_or(false);
        duration(time, "`for`", 1_000, self.sink).map(|ms| Wait { ms, absent })
    }

    fn people(&mut self) -> PeopleReader<'_> {
        PeopleReader { sink: self.sink, refs: self.refs }
    }

    fn action(&mut self, actions: &mut Actions, name: &str, at: &Place, node: &Node) {
        match name {
            "queue" => actions.queue = self.queue(node),
            "agent" => actions.agent = self.agent(node),
            "wait" => actions.wait = self.wait(node),
            "desk" => actions.desk = self.people().name(node, Kind::Desk, "a desk"),
            "priority" => actions.priority = self.people().priority(node),
            "skills" => actions.skills = self.skills(node),
            "overflow" => actions.overflow = Some(self.people().overflow(node)),
            "tag" => self.tags(actions, node),
            "set" => self.set(actions, node),
            "consent" => {
                let state = word(node, "a consent", &["opted_in", "opted_out"], self.sink);
                actions.consent = state.map(|s| s == "opted_in");
            }
            "notify" => {
                for item in one_or_many(node) {
                    let notice = self.notify(item);
                    actions.notify.extend(notice);
                }
            }
            "reply" => actions.reply = self.people().name(node, Kind::Reply, "a reply").map(|r| (at.clone(), r)),
            "close" => actions.close = only_true(node, name, self.sink).is_some(),
            "snooze" => actions.snooze_ms = duration(node, "`snooze`", 1_000, self.sink),
            "block" => actions.block = only_true(node, name, self.sink).is_some(),
            _ => actions.move_ = only_true(node, name, self.sink).is_some(),
        }
    }

    fn queue(&mut self, node: &Node) -> Option<QueuePick> {
        match self.people().id_or_rotation(node, "a queue")? {
            IdOrRotation::Id(id) => {
                self.refs.add(&node.at, Kind::Queue, &id);
                Some(QueuePick::Queue(id))
            }
            IdOrRotation::Rotation(id) => Some(QueuePick::Rotation(id)),
        }
    }

    /// A text that is filled in with names.
    fn names(&mut self, node: &Node) -> Option<Template> {
        let template = read_template(node, NAMES, self.sink, self.refs)?;
        template.check_captures(&node.at, self.captured, self.sink);
        Some(template)
    }

    /// Those that are written are read as everywhere; beside them a text may name some.
    fn skills(&mut self, node: &Node) -> Option<SkillPick> {
        let (mut written, mut named) = (node.clone(), Vec::new());
        match &mut written.value {
            Value::List(items) => items.retain(|item| match asks_names(item) {
                true => {
                    named.extend(self.names(item).map(|t| (t, 1)));
                    false
                }
                false => true,
            }),
            Value::Map(entries) => entries.retain(|(key, level)| match asks_names(key) {
                true => {
                    let level = whole(level, "a level", 1..=100, self.sink).and_then(|l| u8::try_from(l).ok());
                    named.extend(self.names(key).zip(level));
                    false
                }
                false => true,
            }),
            _ => {}
        }
        Some(SkillPick { written: self.people().wanted(&written)?, named })
    }

    fn agent(&mut self, node: &Node) -> Option<AgentPick> {
        if asks_names(node) {
            return self.names(node).map(AgentPick::Named);
        }
        if let Value::List(items) = &node.value {
            let all: Vec<_> = items.iter().filter_map(|n| self.people().name(n, Kind::Agent, "an agent")).collect();
            if items.is_empty() {
                self.sink.error(&node.at, "an empty list of agents", "list at least one");
            }
            return Some(AgentPick::Choice(AgentChoice::OneOf(all)));
        }
        match self.people().id_or_rotation(node, "an agent")? {
            IdOrRotation::Id(id) if id == "sticky" => Some(AgentPick::Choice(AgentChoice::Sticky)),
            IdOrRotation::Id(id) => {
                self.refs.add(&node.at, Kind::Agent, &id);
                Some(AgentPick::Choice(AgentChoice::Agent(id)))
            }
            IdOrRotation::Rotation(id) => Some(AgentPick::Rotation(id)),
        }
    }

    fn tags(&mut self, actions: &mut Actions, node: &Node) {
        for item in one_or_many(node) {
            let Some(tag) = plain(item, "a tag", self.sink) else { continue };
            if tag.chars().count() > MAX_TAG || tag.contains('\n') {
                self.sink.error(&item.at, "a tag that is too long", format!("at most {MAX_TAG} letters on one line"));
                continue;
            }
            actions.tags.push(tag.to_owned());
        }
    }

    fn set(&mut self, actions: &mut Actions, node: &Node) {
        for (at, name, value) in named(node, "`set`", self.sink) {
            let target = match name.strip_prefix("contact.") {
                Some(n) => SetTarget::Contact(n.to_owned()),
                None => SetTarget::Conversation(name.to_owned()),
            };
            let (SetTarget::Contact(key) | SetTarget::Conversation(key)) = &target;
            if !is_key(key) {
                let hint = "write letters, digits, `-` or `_`, or `contact.<name>` for the contact";
                self.sink.error(at, format!("`{}` cannot be the name of an attribute", short(name)), hint);
                continue;
            }
            if actions.set.iter().any(|(t, _)| *t == target) {
                self.sink.error(at, format!("`{name}` is set twice in one rule"), "remove one");
            }
            // Unlike other values, an attribute may be set to the empty text.
            let empty = matches!(&value.value, Value::Text(t) if t.is_empty());
            let template =
                if empty { Template::parse("").ok() } else { read_template(value, "a value", self.sink, self.refs) };
            if let Some(template) = template {
                template.check_captures(&value.at, self.captured, self.sink);
                actions.set.push((target, template));
            }
        }
    }

    fn notify(&mut self, node: &Node) -> Option<NotifyAction> {
        let keys = keys(node, "notify", &["desk", "text"], self.sink)?;
        let Some(desk) = keys.get("desk") else {
            self.sink.error(keys.at, "notify without a desk", "write `notify: { desk: team-slack, text: … }`");
            return None;
        };
        let text = keys.get("text").and_then(|n| {
            let template = read_template(n, "the text of a notice", self.sink, self.refs)?;
            template.check_captures(&n.at, self.captured, self.sink);
            Some(template)
        });
        Some(NotifyAction { desk: self.people().name(desk, Kind::Desk, "a desk")?, text })
    }
}

/// Whether a text is one that is filled in.
fn asks_names(node: &Node) -> bool {
    matches!(&node.value, Value::Text(t) if t.contains("{{"))
}

/// The name of a rule: what a person reads in an explanation.
pub(crate) fn rule_name<'a>(node: &'a Node, sink: &mut Sink) -> Option<&'a str> {
    let name = filled(node, "the name of a rule", sink)?;
    if name.chars().count() > 120 || name.contains('\n') {
        sink.error(&node.at, "the name of a rule is too long", "at most 120 letters on one line");
        return None;
    }
    Some(name)
}
