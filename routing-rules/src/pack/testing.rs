//! Reading the tests of a pack (`*_test.yaml`).

use super::check::Expect;
use super::load::{is_test, sources};
use super::people_read::PRIORITIES;
use super::problem::{Place, Problem, Sink};
use super::read::{duration, filled, flag, keys, list, named, one_or_many, short, text, units, whole, word};
use super::refs::{Kind, Known, Refs};
use super::yaml::{self, Node};
use super::{ConvStatus, Environment, Name, Priority, RulePack, SeenMessage, SeenState, Units};
use crate::rules::field::{FIELDS, Field, is_key};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use switchboard_envelope::Timestamp;

/// A test that does not say when it happens is at noon of a Wednesday, UTC.
const NOON: Timestamp = Timestamp(1_767_787_200_000);
const MAX_TESTS: usize = 10_000;
pub(super) const CONSENTS: [&str; 2] = ["opted_in", "opted_out"];

/// One test of a pack: a message, what was there before, and what must follow.
#[derive(Clone, Debug, PartialEq)]
pub struct PackTest {
    pub at: Place,
    pub name: String,
    pub now: Timestamp,
    pub message: SeenMessage,
    /// The kind of the customer's address, where the channel is known.
    pub address_kind: Option<String>,
    /// What the channel's conversations cost an agent, in hundredths of a unit, where it is known; else what those of its kind do.
    pub cost: Option<u32>,
    pub given: Given,
    /// With it, what is expected is what comes of it, and not of the message.
    pub act: Option<Act>,
    pub expect: Expect,
}

/// What an agent does once the message was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub agent: Name,
    pub does: Does,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    Take,
    Answer,
    Close,
    Note,
    /// Lays it aside for an hour, and the hour goes by.
    Snooze,
    /// Adds this tag.
    Tag(String),
    Priority(Priority),
    /// Puts it into this queue.
    Transfer(Name),
}

/// As tests call it.
pub(super) const DOINGS: [&str; 5] = ["take", "answer", "close", "note", "snooze"];

impl Does {
    fn parse(word: &str) -> Option<Does> {
        let all = [Does::Take, Does::Answer, Does::Close, Does::Note, Does::Snooze];
        all.into_iter().zip(DOINGS).find(|(_, w)| *w == word).map(|(does, _)| does)
    }
}

/// What was there before the message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// As conditions see it, with `now` set; `new` unless the test gives a conversation.
    pub seen: SeenState,
    /// Who has the conversation.
    pub agent: Option<Name>,
    pub priority: Priority,
    pub agents: BTreeMap<Name, GivenAgent>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenAgent {
    /// `available`, `away` or `offline`.
    pub presence: Option<String>,
    pub load: Units,
}

struct TestReader<'k> {
    pack: &'k RulePack,
    env: &'k Environment,
    /// All of the pack could be read.
    whole: bool,
    sink: &'k mut Sink,
    refs: &'k mut Refs,
}

impl RulePack {
    /// Reads the tests among the files of a pack; names are checked against this pack.
    ///
    /// # Errors
    /// Every problem of every test file.
    pub fn tests(&self, files: &[(String, Vec<u8>)], env: &Environment) -> Result<Vec<PackTest>, Vec<Problem>> {
        let mut sink = Sink::default();
        let tests = self.read_tests(files, env, &self.known(), &mut sink);
        if sink.is_empty() { Ok(tests) } else { Err(sink.into_problems()) }
    }

    /// Of a pack that has mistakes too: `known` is what it defines, also where that could not be read.
    pub(super) fn read_tests(
        &self,
        files: &[(String, Vec<u8>)],
        env: &Environment,
        known: &Known<'_>,
        sink: &mut Sink,
    ) -> Vec<PackTest> {
        let (mut refs, mut tests) = (Refs::default(), Vec::new());
        // In a file that could not be read anything may be defined.
        let whole = !sink.unreadable;
        for (path, source) in sources(files, is_test, sink) {
            let Some(tree) = yaml::parse(&Arc::from(path.as_str()), &source, sink) else { continue };
            let mut reader = TestReader { pack: self, env, whole, sink, refs: &mut refs };
            reader.file(&tree, &mut tests);
        }
        refs.check(whole, known, env, sink);
        tests
    }

    fn known(&self) -> Known<'_> {
        Known {
            queues: self.queues.keys().map(String::as_str).collect(),
            agents: self.agents.keys().map(String::as_str).collect(),
            replies: self.replies.keys().map(String::as_str).collect(),
            rotations: self.rotations.keys().map(String::as_str).collect(),
            hours: self.hours.keys().map(String::as_str).collect(),
            ..Known::default()
        }
        .and(&self.presences)
    }
}

impl TestReader<'_> {
    fn file(&mut self, tree: &Node, tests: &mut Vec<PackTest>) {
        let Some(keys) = keys(tree, "a test file", &["tests"], self.sink) else { return };
        let items = keys.get("tests").and_then(|n| list(n, "`tests`", self.sink)).unwrap_or_default();
        for node in items {
            if tests.len() >= MAX_TESTS {
                self.sink.error(&node.at, format!("more than {MAX_TESTS} tests"), "split the pack");
                return;
            }
            let Some(test) = self.test(node) else { continue };
            if let Some(first) = tests.iter().find(|t| t.name == test.name) {
                let hint = format!("the first is at {}; give each its own name", first.at);
                self.sink.error(&node.at, format!("two tests are called `{}`", short(&test.name)), hint);
            }
            tests.push(test);
        }
    }

    fn test(&mut self, node: &Node) -> Option<PackTest> {
        let keys = keys(node, "a test", &["name", "at", "message", "given", "act", "expect"], self.sink)?;
        for key in ["name", "message", "expect"] {
            if !keys.has(key) {
                self.sink.error(keys.at, format!("a test without `{key}`"), "write `name`, `message` and `expect`");
            }
        }
        let name = keys.get("name").and_then(|n| filled(n, "the name of a test", self.sink))?.to_owned();
        let now = keys.get("at").and_then(|n| self.moment(n)).unwrap_or(NOON);
        let message = self.message(keys.get("message")?);
        let address_kind = self.env.address_kinds.get(&message.channel).cloned();
        let cost = self.env.costs.get(&message.channel).copied();
        let mut given = Given { seen: SeenState { now, new: true, ..SeenState::default() }, ..Given::default() };
        if let Some(n) = keys.get("given") {
            self.given(n, &mut given);
        }
        if given.seen.contact_identities.is_empty() {
            given.seen.contact_identities = identity(&message, address_kind.as_deref()).into_iter().collect();
        }
        let act = keys.get("act").and_then(|n| self.act(n));
        let expect = self.expect(keys.get("expect")?);
        Some(PackTest { at: keys.at.clone(), name, now, message, address_kind, cost, given, act, expect })
    }

    fn act(&mut self, node: &Node) -> Option<Act> {
        let keys = keys(node, "`act`", &["agent", "does", "tag", "priority", "transfer"], self.sink)?;
        let does = match ["does", "tag", "priority", "transfer"].map(|key| keys.get(key)) {
            [Some(n), None, None, None] => word(n, "what an agent does", &DOINGS, self.sink).and_then(Does::parse),
            [None, Some(n), None, None] => filled(n, "a tag", self.sink).map(|tag| Does::Tag(tag.to_owned())),
            [None, None, Some(n), None] => self.priority(n).map(Does::Priority),
            [None, None, None, Some(n)] => self.name(n, Kind::Queue).map(Does::Transfer),
            _ => {
                let hint = "write `act: { agent: ann, does: close }`";
                self.sink.error(keys.at, "`act` needs either `does`, `tag`, `priority` or `transfer`", hint);
                None
            }
        };
        let Some(agent) = keys.get("agent") else {
            self.sink.error(keys.at, "`act` without `agent`", "write `act: { agent: ann, does: close }`");
            return None;
        };
        Some(Act { agent: self.name(agent, Kind::Agent)?, does: does? })
    }

    /// With an offset a moment; without, the wall clock of the pack's zone.
    fn moment(&mut self, node: &Node) -> Option<Timestamp> {
        let t = text(node, "a time", self.sink)?;
        let moment = t.parse::<Timestamp>().ok().or_else(|| {
            let local = t.parse::<jiff::civil::DateTime>().ok().filter(|_| t.len() >= 16)?;
            self.pack.zone.to_ambiguous_timestamp(local).compatible().ok().map(Timestamp::from_jiff)
        });
        if moment.is_none() {
            let hint = "write it as 2026-11-22T10:00:00+01:00, or 2026-11-22T10:00 in the pack's zone";
            self.sink.error(&node.at, format!("`{}` is not a time", short(t)), hint);
        }
        moment
    }

    fn message(&mut self, node: &Node) -> SeenMessage {
        let mut m = SeenMessage::default();
        for (at, name, value) in named(node, "a message", self.sink) {
            match Field::parse(name) {
                Some(field) if is_message(&field) => self.message_field(&mut m, at, &field, value),
                None if name == "meta" => {
                    for (at, key, v) in named(value, "`meta`", self.sink) {
                        self.message_field(&mut m, at, &Field::Meta(key.to_owned()), v);
                    }
                }
                _ => {
                    let known: Vec<&str> =
                        FIELDS.iter().filter(|(_, f, _)| is_message(f)).map(|(n, ..)| *n).chain(["meta"]).collect();
                    let hint = super::problem::suggestion(name, &known);
                    self.sink.error(at, format!("unknown field `{}` of a message", short(name)), hint);
                }
            }
        }
        self.complete(node, &mut m);
        m
    }

    fn message_field(&mut self, m: &mut SeenMessage, at: &Place, field: &Field, node: &Node) {
        let Some(value) = text(node, &format!("`{}`", field.name()), self.sink) else { return };
        let owned = value.to_owned();
        match field {
            Field::Channel => {
                self.refs.add(&node.at, Kind::Channel, value);
                m.channel = owned;
            }
            Field::Kind => m.kind = owned,
            Field::Text => m.text = owned,
            Field::Subject => m.subject = Some(owned),
            Field::From => m.from = Some(owned),
            Field::To => m.to = Some(owned),
            Field::Language => m.language = Some(owned),
            Field::Choice => m.choice = Some(owned),
            Field::Visibility => {
                m.public = word(node, "a visibility", &["private", "public"], self.sink) == Some("public");
            }
            Field::Authenticated => m.authenticated = flag(node, "a value for `authenticated`", self.sink),
            Field::HasAttachment => m.has_attachment = flag(node, "a value here", self.sink) == Some(true),
            Field::Automatic => m.automatic = flag(node, "a value here", self.sink) == Some(true),
            Field::Meta(key) if is_key(key) => {
                m.meta.insert(key.clone(), owned);
            }
            _ => self.sink.error(at, format!("unknown field `{}` of a message", field.name()), ""),
        }
    }

    /// A channel stands for its kind where the configuration is known, and a kind for a channel of it.
    fn complete(&mut self, node: &Node, m: &mut SeenMessage) {
        let channels = self.env.channels.as_ref();
        if m.channel.is_empty() && m.kind.is_empty() {
            self.sink.error(&node.at, "a message without a channel", "write `channel: …`, or just `kind: sms`");
        } else if m.channel.is_empty() {
            let of_kind = channels.and_then(|c| c.iter().find(|(_, k)| **k == m.kind));
            m.channel = of_kind.map_or(m.kind.clone(), |(id, _)| id.clone());
        } else if m.kind.is_empty() {
            m.kind = channels.and_then(|c| c.get(&m.channel)).cloned().unwrap_or_default();
        }
    }

    fn given(&mut self, node: &Node, given: &mut Given) {
        let Some(keys) = keys(node, "`given`", &["conversation", "contact", "agents"], self.sink) else { return };
        if let Some(n) = keys.get("conversation") {
            self.conversation(n, given);
        }
        if let Some(n) = keys.get("contact") {
            self.contact(n, &mut given.seen);
        }
        let Some(agents) = keys.get("agents") else { return };
        for (at, id, value) in named(agents, "`agents`", self.sink) {
            self.refs.add(at, Kind::Agent, id);
            let Some(keys) = self::keys(value, "a given agent", &["presence", "load"], self.sink) else { continue };
            let presence = keys.get("presence").and_then(|n| self.name(n, Kind::Presence));
            let load = keys.get("load").and_then(|n| units(n, "a load", self.sink)).unwrap_or(0);
            given.agents.insert(id.to_owned(), GivenAgent { presence, load });
        }
    }

    fn conversation(&mut self, node: &Node, given: &mut Given) {
        let known = ["state", "queue", "agent", "priority", "tags", "attributes", "age", "messages", "silence"];
        let Some(keys) = keys(node, "a given conversation", &known, self.sink) else { return };
        given.agent = keys.get("agent").and_then(|n| self.name(n, Kind::Agent));
        let seen = &mut given.seen;
        seen.new = false;
        seen.queue = keys.get("queue").and_then(|n| self.name(n, Kind::Queue));
        seen.tags = self.tags(keys.get("tags"));
        seen.attributes = self.attributes(keys.get("attributes"));
        let implied = if given.agent.is_some() { ConvStatus::Assigned } else { ConvStatus::Queued };
        seen.state = Some(keys.get("state").and_then(|n| self.state(n)).unwrap_or(implied));
        if seen.queue.is_none() && seen.state == Some(ConvStatus::Queued) {
            // Nothing waits nowhere.
            seen.queue = self.pack.default_queue(seen.now).map(str::to_owned);
        }
        let owned = matches!(seen.state, Some(ConvStatus::Assigned | ConvStatus::Offered));
        if owned != given.agent.is_some()
            && !matches!(seen.state, Some(ConvStatus::Pending | ConvStatus::Snoozed | ConvStatus::Closed))
        {
            let hint = "write `agent: …` with `state: assigned` or `offered`, and leave it out with `queued`";
            self.sink.error(keys.at, "the given state and agent do not go together", hint);
        }
        seen.age_ms = keys.get("age").and_then(|n| duration(n, "`age`", 0, self.sink)).unwrap_or(0);
        seen.silence_ms = keys.get("silence").and_then(|n| duration(n, "`silence`", 0, self.sink));
        let count = |n| whole(n, "a number of messages", 0..=10_000, self.sink);
        seen.messages = keys.get("messages").and_then(count).unwrap_or(1);
        if let Some(n) = keys.get("priority") {
            given.priority = self.priority(n).unwrap_or_default();
        }
    }

    fn contact(&mut self, node: &Node, seen: &mut SeenState) {
        let known = ["name", "identities", "tags", "attributes", "consent", "open", "agent"];
        let Some(keys) = keys(node, "a given contact", &known, self.sink) else { return };
        seen.contact_name = keys.get("name").and_then(|n| filled(n, "a name", self.sink)).map(str::to_owned);
        seen.contact_identities = self.tags(keys.get("identities")).into_iter().collect();
        seen.contact_tags = self.tags(keys.get("tags"));
        seen.contact_attributes = self.attributes(keys.get("attributes"));
        seen.contact_consent = keys.get("consent").and_then(|n| self.consent(n));
        let count = |n| whole(n, "a number of conversations", 0..=10_000, self.sink);
        seen.contact_open = keys.get("open").and_then(count).unwrap_or(0);
        seen.contact_agent = keys.get("agent").and_then(|n| self.name(n, Kind::Agent));
    }

    fn expect(&mut self, node: &Node) -> Expect {
        let known = ["queue", "agent", "priority", "tags", "attributes", "replies", "state", "consent", "rules"];
        let Some(keys) = keys(node, "`expect`", &known, self.sink) else { return Expect::default() };
        Expect {
            queue: keys.get("queue").and_then(|n| self.maybe(n, Kind::Queue)),
            agent: keys.get("agent").and_then(|n| self.maybe(n, Kind::Agent)),
            priority: keys.get("priority").and_then(|n| self.priority(n)),
            tags: keys.get("tags").map(|n| self.tags(Some(n))),
            attributes: keys.get("attributes").map(|n| self.attributes(Some(n))),
            replies: keys.get("replies").map(|n| self.replies(n)),
            state: keys.get("state").and_then(|n| self.state(n)),
            consent: keys.get("consent").and_then(|n| self.consent(n)),
            rules: keys.get("rules").map(|n| self.rules(n)),
        }
    }

    fn name(&mut self, node: &Node, kind: Kind) -> Option<Name> {
        let t = filled(node, "an id", self.sink)?;
        self.refs.add(&node.at, kind, t);
        Some(t.to_owned())
    }

    /// '' expects that there is none.
    fn maybe(&mut self, node: &Node, kind: Kind) -> Option<Option<Name>> {
        match text(node, "an id", self.sink)? {
            "" => Some(None),
            _ => self.name(node, kind).map(Some),
        }
    }

    fn replies(&mut self, node: &Node) -> Vec<Name> {
        one_or_many(node).iter().filter_map(|n| self.name(n, Kind::Reply)).collect()
    }

    fn rules(&mut self, node: &Node) -> Vec<String> {
        let mut rules = Vec::new();
        for item in one_or_many(node) {
            let Some(name) = filled(item, "the name of a rule", self.sink) else { continue };
            if self.whole && !self.pack.rules().any(|(known, _)| known == name) {
                let known: Vec<&str> = self.pack.rules().map(|(name, _)| name).collect();
                let hint = super::problem::suggestion(name, &known);
                self.sink.error(&item.at, format!("there is no rule `{}`", short(name)), hint);
            }
            rules.push(name.to_owned());
        }
        rules
    }

    fn tags(&mut self, node: Option<&Node>) -> BTreeSet<String> {
        let items = node.map(one_or_many).unwrap_or_default();
        items.iter().filter_map(|n| filled(n, "a value", self.sink)).map(str::to_owned).collect()
    }

    fn attributes(&mut self, node: Option<&Node>) -> BTreeMap<String, String> {
        let Some(node) = node else { return BTreeMap::new() };
        let mut all = BTreeMap::new();
        for (at, name, value) in named(node, "attributes", self.sink) {
            if !is_key(name.strip_prefix("contact.").unwrap_or(name)) {
                let hint = "write letters, digits, `-` or `_`";
                self.sink.error(at, format!("`{}` cannot be the name of an attribute", short(name)), hint);
            }
            if let Some(v) = text(value, "an attribute", self.sink) {
                all.insert(name.to_owned(), v.to_owned());
            }
        }
        all
    }

    fn priority(&mut self, node: &Node) -> Option<Priority> {
        word(node, "a priority", PRIORITIES, self.sink).and_then(Priority::parse)
    }

    fn consent(&mut self, node: &Node) -> Option<String> {
        word(node, "a consent", &CONSENTS, self.sink).map(str::to_owned)
    }

    fn state(&mut self, node: &Node) -> Option<ConvStatus> {
        let all = [
            ConvStatus::Queued,
            ConvStatus::Offered,
            ConvStatus::Assigned,
            ConvStatus::Pending,
            ConvStatus::Snoozed,
            ConvStatus::Closed,
        ];
        let words = all.map(ConvStatus::as_str);
        let t = word(node, "a state", &words, self.sink)?;
        all.into_iter().find(|s| s.as_str() == t)
    }
}

/// Fields that the message itself has.
pub(crate) fn is_message(field: &Field) -> bool {
    matches!(
        field,
        Field::Channel
            | Field::Kind
            | Field::Visibility
            | Field::Text
            | Field::Subject
            | Field::From
            | Field::To
            | Field::Authenticated
            | Field::Language
            | Field::HasAttachment
            | Field::Automatic
            | Field::Choice
            | Field::Meta(_)
    )
}

/// The identity of who writes: of the channel's kind, or of the one that the address seems to have.
fn identity(message: &SeenMessage, kind: Option<&str>) -> Option<String> {
    let from = message.from.as_deref()?;
    let kind = if let Some(kind) = kind {
        kind
    } else if from.contains('@') {
        "email"
    } else if from.starts_with('+') {
        "phone"
    } else {
        return None;
    };
    Some(format!("{kind}:{from}"))
}
