//! Rule packs: what operators write, validated into what the core uses.

mod blob;
mod check;
pub mod files;
pub(crate) mod hours;
mod load;
pub(crate) mod people_read;
pub(crate) mod problem;
pub(crate) mod read;
pub(crate) mod refs;
mod reply_read;
mod schema;
#[cfg(test)]
mod schema_tests;
mod settings;
pub(crate) mod standing;
pub(crate) mod template;
mod testing;
mod types;
pub(crate) mod yaml;

pub use check::{Actual, Expect};
pub use hours::{Hours, Rotation};
pub use problem::{Place, Problem};
pub use schema::json_schema;
pub use settings::Settings;
pub use standing::{about, ordinal};
pub(crate) use testing::is_message;
pub use testing::{Act, Does, Given, GivenAgent, PackTest};
pub use types::*;

use crate::event::Happening;
use crate::rules::{Actions, Rule, RuleIndex};
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use switchboard_envelope::Timestamp;

/// The pack that is in force when nothing is configured: `refund` is answered automatically, anything else rings in the
/// console. A list of (path, text).
pub const QUICKSTART: &[(&str, &str)] = &[
    ("pack.yaml", include_str!("../../packs/quickstart/pack.yaml")),
    ("pack_test.yaml", include_str!("../../packs/quickstart/pack_test.yaml")),
];

/// What the configuration says that a pack may name. `None` is not known, as when a pack is tested without one.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Channel ids with their kinds.
    pub channels: Option<BTreeMap<Name, String>>,
    /// Channel ids with the kind of their customers' addresses.
    pub address_kinds: BTreeMap<Name, String>,
    /// Channel ids with what a conversation costs an agent, in hundredths of a unit.
    pub costs: BTreeMap<Name, u32>,
    /// Desk ids; `console` is always there.
    pub desks: Option<BTreeSet<Name>>,
}

/// A pack in the form in which it decides. It is loaded whole or not at all; the same files give the same pack with the
/// same hash on every machine.
#[derive(Clone, Debug)]
pub struct RulePack {
    pub(crate) hash: String,
    pub(crate) sources: Vec<(String, String)>,
    pub(crate) zone: TimeZone,
    pub(crate) queues: BTreeMap<Name, Queue>,
    pub(crate) agents: BTreeMap<Name, Agent>,
    pub(crate) hours: BTreeMap<Name, Hours>,
    pub(crate) rotations: BTreeMap<Name, Rotation>,
    pub(crate) replies: BTreeMap<Name, template::Template>,
    /// What the customer may choose from, of the replies that offer something.
    pub(crate) choices: BTreeMap<Name, Vec<switchboard_envelope::Choice>>,
    pub(crate) budget: Budget,
    pub(crate) presences: Presences,
    pub(crate) rules: Vec<Rule>,
    /// Those that run on what people of ours do.
    pub(crate) follow_ups: Vec<Rule>,
    pub(crate) index: RuleIndex,
    pub(crate) default: Actions,
}

/// A pack that loaded, and what its author should look at.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub pack: RulePack,
    pub warnings: Vec<Problem>,
}

/// A pack that cannot be used.
#[derive(Clone, Debug)]
pub struct Unusable {
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// What its author should look at besides. What only seems so because of a problem is not among it.
    pub warnings: Vec<Problem>,
}

impl RulePack {
    /// The hash of the content: SHA-256 in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The files that it was made of, as (path, text).
    #[must_use]
    pub fn sources(&self) -> &[(String, String)] {
        &self.sources
    }

    #[must_use]
    pub fn queues(&self) -> &BTreeMap<Name, Queue> {
        &self.queues
    }

    #[must_use]
    pub fn queue(&self, id: &str) -> Option<&Queue> {
        self.queues.get(id)
    }

    #[must_use]
    pub fn agents(&self) -> &BTreeMap<Name, Agent> {
        &self.agents
    }

    /// What agents can be, and how absences are taken.
    #[must_use]
    pub fn presences(&self) -> &Presences {
        &self.presences
    }

    #[must_use]
    pub fn agent(&self, id: &str) -> Option<&Agent> {
        self.agents.get(id)
    }

    #[must_use]
    pub fn hours(&self, id: &str) -> Option<&Hours> {
        self.hours.get(id)
    }

    #[must_use]
    pub fn rotation(&self, id: &str) -> Option<&Rotation> {
        self.rotations.get(id)
    }

    /// Ids of the reply templates.
    pub fn replies(&self) -> impl Iterator<Item = &str> {
        self.replies.keys().map(String::as_str)
    }

    /// The replies as drafts for a person, who finishes them.
    pub fn reply_drafts(&self) -> impl Iterator<Item = (&str, String)> {
        self.replies.iter().map(|(id, template)| (id.as_str(), template.draft()))
    }

    #[must_use]
    pub fn budget(&self) -> Budget {
        self.budget
    }

    /// The rules in order, as (name, place); those that follow up on what people of ours do come last.
    pub fn rules(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.every_rule().map(|r| (r.name.as_str(), &r.at))
    }

    pub(crate) fn every_rule(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().chain(&self.follow_ups)
    }

    /// Whether any rule follows up on this.
    pub(crate) fn follows_up(&self, on: Happening) -> bool {
        self.follow_ups.iter().any(|r| r.on == Some(on))
    }

    /// Whether these hours are open; `None` when the pack does not know them.
    #[must_use]
    pub fn hours_open(&self, hours: &str, now: Timestamp) -> Option<bool> {
        self.hours.get(hours).map(|h| h.open(now))
    }

    /// The moment at which `ms` milliseconds of open time have passed since `from`. Hours that the pack does not know
    /// are always open.
    #[must_use]
    pub fn add_open_time(&self, hours: &str, from: Timestamp, ms: i64) -> Timestamp {
        match self.hours.get(hours) {
            Some(h) => h.add_open_time(from, ms),
            None => from.plus(ms.max(0)),
        }
    }

    /// The open time between two moments, in milliseconds. Hours that the pack does not know are always open.
    #[must_use]
    pub fn open_time_between(&self, hours: &str, from: Timestamp, to: Timestamp) -> i64 {
        match self.hours.get(hours) {
            Some(h) => h.open_time_between(from, to),
            None => to.since(from).max(0),
        }
    }

    /// When the day of a moment began, in the pack's zone.
    #[must_use]
    pub fn midnight(&self, at: Timestamp) -> Timestamp {
        let begins = self.local(at).date().to_datetime(jiff::civil::Time::midnight());
        let begins = self.zone.to_ambiguous_timestamp(begins).compatible();
        begins.map_or(at, |t| Timestamp(t.as_millisecond()))
    }

    /// The wall clock in the pack's zone.
    pub(crate) fn local(&self, at: Timestamp) -> jiff::civil::DateTime {
        self.zone.to_datetime(at.to_jiff())
    }
}
