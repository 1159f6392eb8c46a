//! What a pack says beside what its rules do with messages: it takes effect over time, so a replay of messages does not show it.

use super::load::Merged;
use super::problem::Sink;
use super::yaml::{self, Node, Value};
use super::{RulePack, blob};
use std::collections::BTreeMap;
use std::sync::Arc;

/// By what it is about (`queue billing`), under each key a hash of what is written. Two packs in which it is written alike are alike
/// in it.
pub type Settings = BTreeMap<String, BTreeMap<String, String>>;

impl RulePack {
    /// The pack's settings, as hashes: they hold what nobody else need read, such as where agents are told.
    #[must_use]
    pub fn settings(&self) -> Settings {
        // It loaded, so there is nothing wrong with it.
        let mut sink = Sink::default();
        let parsed =
            self.sources.iter().filter_map(|(path, text)| yaml::parse(&Arc::from(path.as_str()), text, &mut sink));
        let trees: Vec<Node> = parsed.collect();
        let mut merged = Merged::default();
        for tree in &trees {
            merged.join(tree, &mut sink);
        }
        let named = [("queue", &merged.queues), ("agent", &merged.agents), ("hours", &merged.hours)];
        let of_names = named
            .iter()
            .flat_map(|(what, all)| all.iter().map(move |(_, id, node)| (format!("{what} {id}"), keys(node))));
        let single = [("budget", merged.budget), ("presence", merged.presence), ("zone", merged.zone)];
        let of_all = single.into_iter().filter_map(|(what, node)| Some((what.to_owned(), keys(node?))));
        let mut settings: Settings = of_names.chain(of_all).collect();
        settings.extend(merged.rules.iter().filter_map(|rule| follow_up(rule, &merged)));
        settings
    }
}

/// A rule that follows up, with what it says.
fn follow_up(rule: &Node, merged: &Merged<'_>) -> Option<(String, BTreeMap<String, String>)> {
    let on = value(rule, "on").filter(|on| *on != crate::rules::MESSAGE)?;
    let mut said = keys(rule);
    let Value::Map(entries) = &rule.value else { return None };
    let then = entries.iter().find(|(key, _)| is(key, "then")).map(|(_, then)| then);
    let actions = then.map(super::read::one_or_many).unwrap_or_default();
    for reply in actions.iter().filter_map(|item| value(item, "reply")) {
        let text = merged.replies.iter().find(|(_, id, _)| *id == reply).map(|(.., node)| hash(node));
        said.extend(text.map(|text| (format!("reply {reply}"), text)));
    }
    Some((format!("rule {}, on {on}", value(rule, "name")?), said))
}

fn is(key: &Node, name: &str) -> bool {
    matches!(&key.value, Value::Text(text) if text == name)
}

fn value<'n>(map: &'n Node, name: &str) -> Option<&'n str> {
    let Value::Map(entries) = &map.value else { return None };
    entries.iter().find(|(key, _)| is(key, name)).and_then(|(_, value)| match &value.value {
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

/// The keys of a map, each with a hash of its value; of anything else the whole.
fn keys(node: &Node) -> BTreeMap<String, String> {
    match &node.value {
        Value::Map(entries) => entries
            .iter()
            .filter_map(|(key, value)| match &key.value {
                Value::Text(name) => Some((name.clone(), hash(value))),
                _ => None,
            })
            .collect(),
        _ => [("it".to_owned(), hash(node))].into(),
    }
}

fn hash(node: &Node) -> String {
    let mut text = String::new();
    written(node, &mut text);
    blob::hash(&[(String::new(), text)]).chars().take(16).collect()
}

/// What is written, without where.
fn written(node: &Node, to: &mut String) {
    match &node.value {
        Value::Text(text) => to.push_str(&format!("{text:?}")),
        Value::List(items) => {
            to.push('[');
            items.iter().for_each(|item| {
                written(item, to);
                to.push(',');
            });
            to.push(']');
        }
        Value::Map(entries) => {
            to.push('{');
            for (key, value) in entries {
                written(key, to);
                to.push(':');
                written(value, to);
                to.push(',');
            }
            to.push('}');
        }
        Value::Bad => {}
    }
}
