//! Which rules a message of a channel can meet at all.

use super::Rule;
use super::condition::{Condition, Test};
use super::field::Field;
use super::fold::fold;
use std::collections::BTreeMap;

/// Rules by the channels that they ask for, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleIndex {
    named: BTreeMap<String, Vec<usize>>,
    /// For channels that no rule names.
    other: Vec<usize>,
}

impl RuleIndex {
    pub(crate) fn new(rules: &[Rule]) -> RuleIndex {
        let asked: Vec<Option<&[String]>> = rules.iter().map(channels).collect();
        let mut named: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for channel in asked.iter().flatten().copied().flatten() {
            named.entry(channel.clone()).or_default();
        }
        let mut other = Vec::new();
        for (i, asked) in asked.iter().enumerate() {
            match asked {
                Some(channels) => {
                    for channel in *channels {
                        named.entry(channel.clone()).or_default().push(i);
                    }
                }
                None => {
                    named.values_mut().for_each(|list| list.push(i));
                    other.push(i);
                }
            }
        }
        // A channel that is listed twice in one condition.
        named.values_mut().for_each(|list| list.dedup());
        RuleIndex { named, other }
    }

    /// Positions of the rules that may match on this channel, in order.
    pub(crate) fn candidates(&self, channel: &str) -> &[usize] {
        self.named.get(fold(channel).as_ref()).unwrap_or(&self.other)
    }
}

/// The channels that a rule is limited to.
fn channels(rule: &Rule) -> Option<&[String]> {
    rule.when.iter().find_map(|c| match c {
        Condition::Field(f) if f.field == Field::Channel => match &f.test {
            Test::Equals(list) => Some(list.as_slice()),
            _ => None,
        },
        _ => None,
    })
}
