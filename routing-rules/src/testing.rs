//! Running the tests of a pack: what was given is folded as events, the message is decided as in production, and what
//! became of the conversation is compared with what was expected.

use crate::decide::{Input, decide};
use crate::event::{Event, Presence, Private, Public, Why};
use crate::ids::{ContactId, ConvId, MessageId, Salt};
use crate::pack::{Actual, ConvStatus, Name, PackTest, RulePack};
use crate::state::State;
use std::collections::BTreeMap;
use switchboard_envelope::{
    Address, Attachment, Author, ChannelProfile, Choice, ConsentState, Content, Inbound, Message, Timestamp, Visibility,
};

/// Ids in a test mean nothing outside it.
const SALT: Salt = Salt([0; 16]);
const HOUR: i64 = 3_600_000;

/// How one test of a pack went.
#[derive(Clone, Debug, PartialEq)]
pub struct TestOutcome {
    /// `file:line` of the test, and its name.
    pub place: String,
    pub name: String,
    /// A sentence for each expectation that was not met.
    pub wrong: Vec<String>,
    /// What happened instead.
    pub actual: Actual,
}

/// Runs tests that [`RulePack::tests`] has read.
#[must_use]
pub fn run_tests(pack: &RulePack, tests: &[PackTest]) -> Vec<TestOutcome> {
    let run = |test: &PackTest| {
        let actual = run_test(pack, test);
        TestOutcome {
            place: format!("{}:{}", test.at.file, test.at.line),
            name: test.name.clone(),
            wrong: test.expect.check(&actual),
            actual,
        }
    };
    tests.iter().map(run).collect()
}

/// What becomes of one test's message.
#[must_use]
pub fn run_test(pack: &RulePack, test: &PackTest) -> Actual {
    let (message, stage) = (envelope(test), Stage::new(pack, test));
    let state = stage.set();
    let inbound = Inbound::Message(Box::new(message));
    let input = Input::Record { seq: 1, stored_at: test.now, inbound: &inbound, candidate: None };
    let decision = decide(&state, &input, pack);
    let mut actual = looked_at(&decision.after, test);
    for event in &decision.events {
        match &event.public {
            Public::Decided { hits, .. } => actual.rules.clone_from(hits),
            Public::SendQueued { author: Author::Auto { rule }, .. } => actual.replies.extend(pack.reply_of(rule)),
            _ => {}
        }
    }
    actual
}

fn looked_at(after: &State, test: &PackTest) -> Actual {
    let from = sender(test);
    let mut actual = Actual::default();
    let thread = after.thread_hash(&test.message.channel, THREAD);
    if let Some(c) = after.conversation_of_thread(thread) {
        actual.queue.clone_from(&c.queue);
        actual.agent = c.bearer().or(c.agent.as_ref()).cloned();
        actual.priority = c.priority;
        actual.tags.clone_from(&c.tags);
        actual.attributes = c.private.as_ref().map(|p| p.attributes.clone()).unwrap_or_default();
        actual.state = Some(c.status);
    }
    let contact = after.contacts.get(&after.contact_of(&from)).and_then(|c| c.private.as_ref());
    actual.contact_attributes = contact.map(|p| p.attributes.clone()).unwrap_or_default();
    let consent = after.consent.get(&(after.identity_hash(&from), test.message.channel.clone()));
    actual.consent = consent.map(|s| match s {
        ConsentState::OptedIn => "opted_in".to_owned(),
        ConsentState::OptedOut => "opted_out".to_owned(),
    });
    actual
}

/// The thread of the conversation under test.
const THREAD: &str = "test";

/// Who writes: the message's `from`, else the contact's first identity, else somebody.
fn sender(test: &PackTest) -> Address {
    let identity = test.given.seen.contact_identities.first().and_then(|i| i.split_once(':'));
    match (&test.message.from, identity) {
        (Some(value), Some((kind, own))) if own == value => Address::new(kind, value),
        (Some(value), _) => Address::new(address_kind(&test.message.kind), value),
        (None, Some((kind, value))) => Address::new(kind, value),
        (None, None) => Address::new(address_kind(&test.message.kind), "somebody"),
    }
}

fn address_kind(channel_kind: &str) -> &str {
    match channel_kind {
        "sms" => "phone",
        "webchat" => "visitor",
        "" => "sender",
        other => other,
    }
}

fn envelope(test: &PackTest) -> Message {
    let m = &test.message;
    let mut meta = m.meta.clone();
    if let Some(language) = &m.language {
        meta.insert("language".into(), language.clone());
    }
    let file =
        Attachment { name: "file".into(), mime: "application/octet-stream".into(), size: 1, blob: None, url: None };
    Message {
        id: format!("{}:message:test", m.channel),
        channel: m.channel.clone(),
        thread: THREAD.into(),
        at: test.now,
        received_at: test.now,
        from: sender(test),
        to: m.to.as_ref().map(|to| Address::new(address_kind(&m.kind), to)),
        content: Content {
            text: m.text.clone(),
            subject: m.subject.clone(),
            attachments: if m.has_attachment { vec![file] } else { Vec::new() },
            choice: m.choice.as_ref().map(|id| Choice { id: id.clone(), label: None }),
            ..Content::default()
        },
        references: Vec::new(),
        provider_id: None,
        visibility: if m.public { Visibility::Public } else { Visibility::Private },
        automatic: m.automatic,
        authenticated: m.authenticated,
        meta,
        raw: None,
        traceparent: None,
    }
}

/// Builds the state that a test gives.
struct Stage<'a> {
    pack: &'a RulePack,
    test: &'a PackTest,
    state: State,
    made: u32,
}

impl<'a> Stage<'a> {
    fn new(pack: &'a RulePack, test: &'a PackTest) -> Stage<'a> {
        Stage { pack, test, state: State::new(SALT), made: 0 }
    }

    fn set(mut self) -> State {
        let now = self.test.now;
        self.emit(Public::Led { now, incarnation: 1 });
        self.emit(Public::PackInForce { hash: self.pack.hash().to_owned() });
        self.emit(Public::ChannelsInForce { channels: self.channels() });
        self.agents();
        let contact = self.contact();
        self.other_conversations();
        if !self.test.given.seen.new {
            self.conversation(contact);
        }
        self.state
    }

    fn emit(&mut self, public: Public) {
        self.state.apply(&Event::from(public));
    }

    fn emit_private(&mut self, public: Public, contact: ContactId, private: Private) {
        self.state.apply(&Event { public, private: Some((contact, private)) });
    }

    /// The channel under test, and one for each given load, whose conversations weigh just that.
    fn channels(&self) -> BTreeMap<Name, ChannelProfile> {
        let m = &self.test.message;
        let mut channels = BTreeMap::new();
        for (agent, given) in self.test.given.agents.iter().filter(|(_, g)| g.load > 0) {
            let profile = ChannelProfile { cost: given.load, ..ChannelProfile::new("test", "test") };
            channels.insert(load_channel(agent), profile);
        }
        channels.insert(m.channel.clone(), ChannelProfile::new(m.kind.clone(), address_kind(&m.kind)));
        channels
    }

    /// Agents of whom a test says nothing are offline.
    fn agents(&mut self) {
        let at = self.test.now.plus(-HOUR);
        for (agent, given) in &self.test.given.agents {
            let presence = given.presence.as_deref().and_then(Presence::parse).unwrap_or_default();
            self.emit(Public::PresenceChanged { agent: agent.clone(), presence, at, lapsed: false });
            if given.load > 0 {
                let conv = self.open(&load_channel(agent), &Address::new("test", agent), at, false);
                self.assign(conv, agent);
            }
        }
    }

    fn contact(&mut self) -> ContactId {
        let (from, seen) = (sender(self.test), &self.test.given.seen);
        let contact = self.state.contact_of(&from);
        if seen.contact_name.is_some() || !seen.contact_tags.is_empty() || !seen.contact_attributes.is_empty() {
            let attributes = seen.contact_attributes.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
            let private = Private::Contact { name: seen.contact_name.clone(), attributes, identity: None };
            let tags = Some(seen.contact_tags.clone());
            self.emit_private(Public::ContactTouched { contact, tags }, contact, private);
        }
        if let Some(consent) = &seen.contact_consent {
            let state = if consent == "opted_in" { ConsentState::OptedIn } else { ConsentState::OptedOut };
            let identity = self.state.identity_hash(&from);
            let channel = self.test.message.channel.clone();
            self.emit(Public::ConsentChanged { contact, identity, channel, state });
        }
        contact
    }

    /// Open ones that wait for the customer, and a closed one of the agent who answered last.
    fn other_conversations(&mut self) {
        let (from, now) = (sender(self.test), self.test.now);
        let channel = self.test.message.channel.clone();
        for _ in 0..self.test.given.seen.contact_open {
            let conv = self.open(&channel, &from, now.plus(-HOUR), false);
            self.emit(Public::Pending { conv, until: now.plus(HOUR) });
        }
        if let Some(agent) = &self.test.given.seen.contact_agent {
            let conv = self.open(&channel, &from, now.plus(-HOUR), true);
            self.assign(conv, agent);
            self.emit(Public::Closed { conv, by: None, reopen_until: now.plus(HOUR) });
        }
    }

    fn open(&mut self, channel: &str, address: &Address, at: Timestamp, ours: bool) -> ConvId {
        self.made += 1;
        let thread = format!("other {}", self.made);
        self.open_thread(channel, &thread, address, at, ours)
    }

    fn open_thread(&mut self, channel: &str, thread: &str, address: &Address, at: Timestamp, ours: bool) -> ConvId {
        let conv = ConvId::derive(&SALT, &[channel.as_bytes(), thread.as_bytes()]);
        let contact = self.state.contact_of(address);
        let hash = self.state.thread_hash(channel, thread);
        let private = Private::Opened { thread: thread.to_owned(), address: address.clone(), subject: None };
        let opened = Public::Opened { conv, contact, channel: channel.to_owned(), thread: hash, at, ours };
        self.emit_private(opened, contact, private);
        conv
    }

    fn assign(&mut self, conv: ConvId, agent: &str) {
        let considered = Default::default();
        self.emit(Public::Assigned { conv, agent: agent.to_owned(), why: Why::Taken, considered });
    }

    /// The conversation that the message belongs to.
    fn conversation(&mut self, contact: ContactId) {
        let given = &self.test.given;
        let (seen, now) = (&given.seen, self.test.now);
        let opened = now.plus(-seen.age_ms);
        let channel = self.test.message.channel.clone();
        let conv = self.open_thread(&channel, THREAD, &sender(self.test), opened, false);
        let last = seen.silence_ms.map_or(opened, |ms| now.plus(-ms));
        for n in 0..seen.messages {
            let message = MessageId::derive(&SALT, &[&n.to_be_bytes()]);
            self.emit(Public::Received { conv, message, at: last, automatic: false, provider: None });
        }
        if !seen.tags.is_empty() {
            self.emit(Public::Tagged { conv, add: seen.tags.clone(), remove: Default::default() });
        }
        if !seen.attributes.is_empty() {
            let set = seen.attributes.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
            self.emit_private(Public::AttributesSet { conv }, contact, Private::Attributes { set });
        }
        self.emit(Public::Prioritised { conv, priority: given.priority });
        self.place(conv, opened);
    }

    fn place(&mut self, conv: ConvId, since: Timestamp) {
        let given = &self.test.given;
        let (status, now) = (given.seen.state.unwrap_or(ConvStatus::Queued), self.test.now);
        let queue = given.seen.queue.clone().or_else(|| self.pack.default_queue(now).map(str::to_owned));
        let own = given.seen.queue.is_some() || matches!(status, ConvStatus::Queued | ConvStatus::Offered);
        if let Some(queue) = queue.filter(|_| own) {
            let config = self.pack.queue(&queue);
            let overflow = config.map(|q| q.overflow.clone()).unwrap_or_default();
            let ageing = config.and_then(|q| q.ageing_ms);
            let skills = Default::default();
            let entered = since;
            self.emit(Public::Queued { conv, queue, since, entered, skills, overflow, ageing, why: Why::Default });
        }
        if let Some(agent) = given.agent.clone() {
            if status == ConvStatus::Offered {
                let offer = crate::ids::OfferId::derive(&SALT, &[b"offer"]);
                let expires = now.plus(HOUR);
                return self.emit(Public::Offered { conv, offer, agent, expires, considered: Default::default() });
            }
            self.assign(conv, &agent);
        }
        let until = now.plus(HOUR);
        match status {
            ConvStatus::Pending => self.emit(Public::Pending { conv, until }),
            ConvStatus::Snoozed => self.emit(Public::Snoozed { conv, until }),
            ConvStatus::Closed => self.emit(Public::Closed { conv, by: None, reopen_until: until }),
            ConvStatus::Queued | ConvStatus::Offered | ConvStatus::Assigned => {}
        }
    }
}

/// Ids hold no `_`, so this is nobody's channel.
fn load_channel(agent: &str) -> Name {
    format!("load_{agent}")
}
