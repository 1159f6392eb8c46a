//! A pack's test, carried out by the core that routes real messages: a state is made in which what was given holds, the
//! message is decided, and what came of it is compared.

use crate::decide::{Followed, decide_and_tell, seen_message};
use crate::event::{Considered, Event, Happening, NoReply, Presence, Private, Public, Why};
use crate::ids::{ContactId, ConvId, OfferId, Salt};
use crate::pack::{
    Act, Actual, ConvStatus, Does, Expect, Given, Name, PackTest, Place, RuleTrace, SeenMessage, SeenState,
};
use crate::replay::{Would, would};
use crate::state::{Answer, Conversation, Label};
use crate::{Decision, Input, RulePack, State, decide};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use switchboard_envelope::{
    Action, Actor, Address, Attachment, Author, ChannelProfile, Choice, Command, ConsentState, Content, Destination,
    Inbound, Message, Scope, Timestamp, Visibility,
};

/// Waits that were given last beyond the test's message.
const LATER_MS: i64 = 86_400_000;
/// An agent acts so long after the test's message.
const ACTS_AFTER_MS: i64 = 60_000;
/// A snooze of a test lasts so long.
const SNOOZE_MS: i64 = 3_600_000;

/// What came of one test.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// A sentence for each expectation that was not met; empty when the test passed.
    pub faults: Vec<String>,
    /// What the rules did with the message, in order: asked for only when the test failed.
    pub trace: Vec<RuleTrace>,
    /// The same, where it is what an agent did afterwards that came to something else.
    pub before: Vec<RuleTrace>,
    /// The same of the rules that follow up, by what was done.
    pub followed: Vec<(Happening, Vec<RuleTrace>)>,
    /// Who was considered, where another agent was expected.
    pub considered: Option<Considered>,
    /// What became of the message; `None` when it was not decided.
    pub actual: Option<Actual>,
}

impl Verdict {
    #[must_use]
    pub fn passed(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Carries out a test of a pack.
#[must_use]
pub fn run(pack: &RulePack, test: &PackTest) -> Verdict {
    let trial = Trial::new(test);
    let before = trial.given(pack);
    let message = Inbound::Message(Box::new(trial.message.clone()));
    let input = Input::Record { seq: 1, stored_at: test.now, inbound: &message, candidate: None };
    let (decision, followed) = decide_and_tell(before, &input, pack);
    if let Some(act) = &test.act {
        return trial.acted(pack, act, decision);
    }
    let Some(actual) = trial.actual(pack, &decision) else {
        let ignored = "the message was not decided: its sender is blocked, or it is no message of this channel";
        return Verdict { faults: vec![ignored.into()], ..Verdict::default() };
    };
    let mut faults = test.expect.check(&actual);
    // A reply that cannot be rendered is not sent, and a test that expects none would not notice.
    if let Some((reply, problem)) = trial.unrendered(pack, &decision) {
        faults.push(format!("reply {reply}: {problem}"));
    }
    if faults.is_empty() {
        return Verdict { actual: Some(actual), ..Verdict::default() };
    }
    let followed = trial.asked(pack, &decision.after, &followed);
    let considered = trial.considered(&faults, &decision);
    Verdict {
        faults,
        trace: trial.trace(pack, &decision),
        followed,
        considered,
        actual: Some(actual),
        ..Verdict::default()
    }
}

/// What came of a message that nothing was before.
#[derive(Clone, Debug, PartialEq)]
pub struct First {
    pub actual: Actual,
    /// Whom the rules would have had it, and whom they told: nobody is there to take it, and no desk.
    pub would: Would,
    pub trace: Vec<RuleTrace>,
    /// Why the reply that the rules chose was not sent.
    pub not_replied: Option<NoReply>,
}

/// Carries out what a message does that opens a conversation while nobody is there; `None` when it is not decided.
#[must_use]
pub fn first(pack: &RulePack, message: &Message, kind: &str) -> Option<First> {
    let now = message.received_at;
    let at = Place { file: Arc::from(""), line: 1, column: 1 };
    let test = PackTest {
        at,
        name: String::new(),
        now,
        message: SeenMessage::default(),
        address_kind: None,
        cost: None,
        given: Given { seen: SeenState { now, new: true, ..SeenState::default() }, ..Given::default() },
        act: None,
        expect: Expect::default(),
    };
    let trial = Trial { test: &test, message: message.clone(), kind: kind.to_owned() };
    let before = trial.given(pack);
    let inbound = Inbound::Message(Box::new(message.clone()));
    let decision = decide(before, &Input::Record { seq: 1, stored_at: now, inbound: &inbound, candidate: None }, pack);
    let actual = trial.actual(pack, &decision)?;
    let not_replied = decision.events.iter().find_map(|e| match &e.public {
        Public::NotReplied { why, .. } => Some(*why),
        _ => None,
    });
    let would = would(pack, &seen_message(message, kind.to_owned()), saw(&decision)?);
    Some(First { actual, would, trace: trial.trace(pack, &decision), not_replied })
}

struct Trial<'t> {
    test: &'t PackTest,
    message: Message,
    kind: String,
}

impl<'t> Trial<'t> {
    fn new(test: &'t PackTest) -> Trial<'t> {
        Trial { test, message: message(test), kind: test.message.kind.clone() }
    }

    /// The state in which what the test gives holds.
    fn given(&self, pack: &RulePack) -> State {
        let (test, now) = (self.test, self.test.now);
        let seen = &test.given.seen;
        let start = now.plus(-seen.age_ms.saturating_add(1000));
        let mut state = State::new(Salt([0; 16]));
        let channels = self.channels();
        state = decide(state, &Input::Lead { now: start, incarnation: 1, channels: &channels }, pack).after;
        let contact = state.contact_of(&self.message.from);
        self.contact(&mut state, contact);
        self.others(&mut state, contact, start);
        for (agent, given) in &test.given.agents {
            if given.load > 0 {
                let other = contact_other(&state, agent);
                let of = Address::new("test", format!("busy {agent}"));
                let busy = opened(&mut state, other, &load_channel(agent), agent, &of, start);
                assigned(&mut state, busy, agent);
            }
            let known = given.presence.as_deref().and_then(|word| pack.presences.find(word));
            let (presence, named) = known.unwrap_or((Presence::Available, None));
            let agent = agent.clone();
            state.apply(&Public::PresenceChanged { agent, presence, named, at: start, lapsed: false }.into());
        }
        if !seen.new {
            self.conversation(&mut state, contact, pack);
        }
        state
    }

    /// The message's channel, and one for each agent's other work, whose cost is the load that was given.
    fn channels(&self) -> BTreeMap<Name, ChannelProfile> {
        let kind = if self.kind.is_empty() { "test" } else { &self.kind };
        let mut channels: BTreeMap<Name, ChannelProfile> = self
            .test
            .given
            .agents
            .iter()
            .map(|(agent, given)| {
                (load_channel(agent), ChannelProfile { cost: given.load, ..ChannelProfile::new("test", "test") })
            })
            .collect();
        channels.insert("others".into(), ChannelProfile { cost: 0, ..ChannelProfile::new("test", "test") });
        let usual = ChannelProfile::new(kind, &self.message.from.kind);
        let cost = self.test.cost.unwrap_or(usual.cost);
        let own = ChannelProfile { push: kind == "webchat", proactive: true, cost, ..usual };
        channels.insert(self.message.channel.clone(), own);
        channels
    }

    fn contact(&self, state: &mut State, contact: ContactId) {
        let seen = &self.test.given.seen;
        let attributes = seen.contact_attributes.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
        let public = Public::ContactTouched { contact, tags: Some(seen.contact_tags.clone()) };
        let private =
            Private::Contact { name: seen.contact_name.clone(), attributes, identity: Some(self.message.from.clone()) };
        state.apply(&Event { public, private: Some((contact, private)) });
        let consent = match seen.contact_consent.as_deref() {
            Some("opted_in") => ConsentState::OptedIn,
            Some("opted_out") => ConsentState::OptedOut,
            _ => return,
        };
        let identity = state.identity_hash(&self.message.from);
        state.apply(
            &Public::ConsentChanged { contact, identity, channel: self.message.channel.clone(), state: consent }.into(),
        );
    }

    /// The contact's other conversations, and who answered last.
    fn others(&self, state: &mut State, contact: ContactId, start: Timestamp) {
        let seen = &self.test.given.seen;
        let known = seen.contact_agent.as_ref().filter(|_| self.test.given.agent.is_none());
        let open = seen.contact_open.min(1000);
        let from = &self.message.from;
        for (n, (kind, value)) in self.further_identities().enumerate() {
            let conv = opened(state, contact, "others", &format!("known {n}"), &Address::new(kind, value), start);
            state.apply(&Public::Closed { conv, by: None, reopen_until: start.plus(LATER_MS) }.into());
        }
        for n in 0..open.max(u32::from(known.is_some())) {
            let conv = opened(state, contact, "others", &format!("other {n}"), from, start);
            if let Some(agent) = known {
                assigned(state, conv, agent);
            }
            if n >= open {
                if let (Some(agent), Some(c)) = (known, state.conversations.get_mut(&conv)) {
                    Arc::make_mut(c).answer = Some(Box::new(Answer { by: Label::new(agent), at: start }));
                }
                state.apply(&Public::Closed { conv, by: None, reopen_until: start.plus(LATER_MS) }.into());
            }
        }
    }

    /// Addresses of the contact beside the one that wrote: those of its earlier conversations.
    fn further_identities(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.test.given.seen.contact_identities.iter().filter_map(|i| i.split_once(':'));
        all.filter(|(kind, value)| (*kind, *value) != (&*self.message.from.kind, &*self.message.from.value))
    }

    /// The conversation that the message continues.
    fn conversation(&self, state: &mut State, contact: ContactId, pack: &RulePack) {
        let (given, now) = (&self.test.given, self.test.now);
        let seen = &given.seen;
        let opened_at = now.plus(-seen.age_ms);
        let (channel, thread) = (&self.message.channel, &self.message.thread);
        let conv = opened(state, contact, channel, thread, &self.message.from, opened_at);
        if let Some(queue) = &seen.queue {
            let of = pack.queues.get(queue);
            let queued = Public::Queued {
                conv,
                queue: queue.clone(),
                since: opened_at,
                entered: opened_at,
                skills: BTreeMap::new(),
                overflow: vec![],
                ageing: of.and_then(|q| q.ageing_ms),
                newest: of.is_some_and(|q| q.newest),
                why: Why::Default,
                by: None,
            };
            state.apply(&queued.into());
        }
        match &given.agent {
            Some(agent) if seen.state == Some(ConvStatus::Offered) => offered(state, conv, agent, now.plus(LATER_MS)),
            Some(agent) => assigned(state, conv, agent),
            None => {}
        }
        state.apply(&Public::Tagged { conv, add: seen.tags.clone(), remove: BTreeSet::new() }.into());
        state.apply(&Public::Prioritised { conv, priority: given.priority, by: None }.into());
        let set = seen.attributes.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
        state.apply(&Event {
            public: Public::AttributesSet { conv },
            private: Some((contact, Private::Attributes { set })),
        });
        let until = now.plus(LATER_MS);
        match seen.state {
            Some(ConvStatus::Pending) => state.apply(&Public::Pending { conv, until }.into()),
            Some(ConvStatus::Snoozed) => state.apply(&Public::Snoozed { conv, until, left: None }.into()),
            Some(ConvStatus::Closed) => state.apply(&Public::Closed { conv, by: None, reopen_until: until }.into()),
            _ => {}
        }
        // Nothing is indexed by these, and a million events for a count would only cost time.
        if let Some(c) = state.conversations.get_mut(&conv) {
            let c = Arc::make_mut(c);
            c.messages = seen.messages;
            c.last_in = seen.silence_ms.map(|ms| now.plus(-ms)).or((seen.messages > 0).then_some(opened_at)).into();
        }
    }

    /// What comes of what an agent does, once the message was decided.
    fn acted(&self, pack: &RulePack, act: &Act, heard: Decision) -> Verdict {
        let seen = saw(&heard).cloned();
        let before = || {
            let message = seen_message(&self.message, self.kind.clone());
            seen.as_ref().map(|seen| pack.explain(&message, seen)).unwrap_or_default()
        };
        let fault = |said: String| Verdict { faults: vec![said], before: before(), ..Verdict::default() };
        let thread = heard.after.thread_hash(&self.message.channel, &self.message.thread);
        let Some(c) = heard.after.conversation_of_thread(thread) else {
            return fault("the message was not decided, so there is nothing to act on".into());
        };
        let conversation = c.id.to_string();
        let now = self.test.now.plus(ACTS_AFTER_MS);
        let command = Inbound::Command(Box::new(Command {
            id: "api:command:test".into(),
            channel: "api".into(),
            at: now,
            actor: Actor { agent: Some(act.agent.clone()), scope: Scope::Supervisor, token: None },
            action: does(&act.does, conversation, c, now),
            body_hash: None,
            traceparent: None,
        }));
        let input = Input::Record { seq: 2, stored_at: now, inbound: &command, candidate: None };
        let (mut decision, mut followed) = decide_and_tell(heard.after, &input, pack);
        let refused = decision.events.iter().find_map(|e| match &e.public {
            Public::Answered { reply, .. } if reply.status >= 400 => Some(reply.detail.clone()),
            _ => None,
        });
        if let Some(detail) = refused {
            return fault(format!("{} could not do it: {detail}", act.agent));
        }
        if act.does == Does::Snooze {
            let input = Input::Timers { now: now.plus(SNOOZE_MS) };
            (decision, followed) = decide_and_tell(decision.after, &input, pack);
        }
        let actual = self.outcome(pack, &decision);
        let faults: Vec<String> = actual.iter().flat_map(|actual| self.test.expect.check(actual)).collect();
        if faults.is_empty() {
            return Verdict { actual, ..Verdict::default() };
        }
        let followed = self.asked(pack, &decision.after, &followed);
        let considered = self.considered(&faults, &decision);
        Verdict { faults, before: before(), followed, considered, actual, ..Verdict::default() }
    }

    /// Who was considered last for this conversation, where another agent was expected.
    fn considered(&self, faults: &[String], decision: &Decision) -> Option<Considered> {
        let thread = decision.after.thread_hash(&self.message.channel, &self.message.thread);
        let of = decision.after.conversation_of_thread(thread).map(|c| c.id)?;
        let one = |e: &Event| match &e.public {
            Public::Assigned { conv, considered, .. }
            | Public::Offered { conv, considered, .. }
            | Public::NobodyFree { conv, considered }
                if *conv == of =>
            {
                Some(considered.clone())
            }
            _ => None,
        };
        let asked = faults.iter().any(|fault| fault.starts_with("agent:"));
        decision.events.iter().rev().find_map(one).filter(|_| asked)
    }

    /// What the rules did that follow up on what was done with this conversation.
    fn asked(&self, pack: &RulePack, after: &State, followed: &[Followed]) -> Vec<(Happening, Vec<RuleTrace>)> {
        let thread = after.thread_hash(&self.message.channel, &self.message.thread);
        let conv = after.conversation_of_thread(thread).map(|c| c.id);
        let of_it = followed.iter().filter(|f| Some(f.conv) == conv);
        of_it.map(|f| (f.on, pack.explain_follow_up(f.on, &f.message, &f.seen))).collect()
    }

    /// What came of it; `None` when the message was not decided.
    fn actual(&self, pack: &RulePack, decision: &Decision) -> Option<Actual> {
        let decided = |e: &Event| matches!(e.public, Public::Decided { .. });
        decision.events.iter().any(decided).then(|| self.outcome(pack, decision)).flatten()
    }

    fn outcome(&self, pack: &RulePack, decision: &Decision) -> Option<Actual> {
        let after = &decision.after;
        let hits = decision.events.iter().flat_map(|e| match &e.public {
            Public::Decided { hits, .. } | Public::FollowedUp { hits, .. } => hits.clone(),
            _ => vec![],
        });
        let hits = hits.collect();
        let thread = after.thread_hash(&self.message.channel, &self.message.thread);
        let c = after.conversation_of_thread(thread)?;
        let contact = after.contacts.get(&c.contact).and_then(|c| c.private.as_ref());
        let consent = after.consent.get(&(after.identity_hash(&self.message.from), self.message.channel.clone()));
        Some(Actual {
            queue: c.queue.as_deref().cloned(),
            agent: match c.status {
                ConvStatus::Offered => c.offer.as_ref().map(|o| o.agent.clone()),
                // Who had it before is only remembered.
                ConvStatus::Queued => None,
                _ => c.agent.as_deref().cloned(),
            },
            priority: c.priority,
            tags: (*c.tags).clone(),
            attributes: c.private.as_ref().map(|p| (*p.attributes).clone()).unwrap_or_default(),
            contact_attributes: contact.map(|p| p.attributes.clone()).unwrap_or_default(),
            replies: answered(decision).filter_map(|rule| pack.reply_of(rule).cloned()).collect(),
            state: Some(c.status),
            consent: consent.map(|c| if *c == ConsentState::OptedIn { "opted_in" } else { "opted_out" }.to_owned()),
            rules: hits,
        })
    }

    /// The reply that the rules chose, with the problem that kept it from being rendered.
    fn reply(&self, pack: &RulePack, decision: &Decision) -> Option<(Name, Option<String>)> {
        let reply = pack.run(&seen_message(&self.message, self.kind.clone()), saw(decision)?).reply?;
        Some((reply.reply, reply.text.err()))
    }

    fn trace(&self, pack: &RulePack, decision: &Decision) -> Vec<RuleTrace> {
        let message = seen_message(&self.message, self.kind.clone());
        saw(decision).map(|seen| pack.explain(&message, seen)).unwrap_or_default()
    }

    fn unrendered(&self, pack: &RulePack, decision: &Decision) -> Option<(Name, String)> {
        self.reply(pack, decision).and_then(|(reply, problem)| problem.map(|p| (reply, p)))
    }
}

/// The state before the message, as the decision kept it.
fn saw(decision: &Decision) -> Option<&SeenState> {
    decision.events.iter().find_map(|e| match &e.private {
        Some((_, Private::Decided { seen, .. })) => Some(&**seen),
        _ => None,
    })
}

/// The rules whose automatic replies were sent, and not refused.
fn answered(decision: &Decision) -> impl Iterator<Item = &str> {
    decision.events.iter().filter_map(|e| match &e.public {
        Public::SendQueued { author: Author::Auto { rule }, notice: false, .. } => Some(rule.as_str()),
        _ => None,
    })
}

/// What an agent does, as a command.
fn does(what: &Does, conversation: String, c: &Conversation, now: Timestamp) -> Action {
    match what {
        Does::Tag(tag) => Action::Update {
            conversation,
            tags: Some(c.tags.iter().chain([tag]).cloned().collect()),
            priority: None,
            attributes: BTreeMap::new(),
        },
        Does::Priority(priority) => Action::Update {
            conversation,
            tags: None,
            priority: Some(priority.as_str().into()),
            attributes: BTreeMap::new(),
        },
        Does::Transfer(queue) => Action::Transfer { conversation, to: Destination::Queue(queue.clone()) },
        Does::Snooze => Action::Snooze { conversation, until: now.plus(SNOOZE_MS) },
        Does::Take => Action::Take { conversation },
        Does::Close => Action::Close { conversation },
        Does::Note => Action::Note { conversation, text: "a note".into() },
        Does::Answer => Action::Reply {
            conversation,
            text: "an answer".into(),
            attachments: vec![],
            choices: vec![],
            template: None,
            take: true,
            seen: None,
        },
    }
}

/// The test's message, as its channel would have brought it.
fn message(test: &PackTest) -> Message {
    let m = &test.message;
    let mut meta = m.meta.clone();
    meta.extend(m.language.iter().map(|l| ("language".to_owned(), l.clone())));
    let kind_of = |value: &str| {
        let known = test.given.seen.contact_identities.iter().filter_map(|i| i.split_once(':'));
        known.filter(|(_, v)| *v == value).map(|(k, _)| k.to_owned()).next()
    };
    let usual = test.address_kind.as_deref().unwrap_or_else(|| usual(m));
    let first = test.given.seen.contact_identities.first().and_then(|i| i.split_once(':'));
    let from = match (&m.from, first) {
        (Some(value), _) => Address::new(kind_of(value).unwrap_or_else(|| usual.into()), value),
        (None, Some((kind, value))) => Address::new(kind, value),
        (None, None) => Address::new(usual, "someone"),
    };
    let attachment = || Attachment {
        name: "file".into(),
        mime: "application/octet-stream".into(),
        size: 1,
        ..Attachment::default()
    };
    let content = Content {
        text: m.text.clone(),
        subject: m.subject.clone(),
        attachments: m.has_attachment.then(attachment).into_iter().collect(),
        choice: m.choice.clone().map(|id| Choice { id, label: None }),
        ..Content::default()
    };
    Message {
        id: format!("{}:message:test", m.channel),
        channel: m.channel.clone(),
        thread: from.value.clone(),
        at: test.now,
        received_at: test.now,
        from,
        to: m.to.as_ref().map(|to| Address::new(usual, to)),
        content,
        references: vec![],
        provider_id: None,
        visibility: if m.public { Visibility::Public } else { Visibility::Private },
        automatic: m.automatic,
        authenticated: m.authenticated,
        meta,
        raw: None,
        traceparent: None,
        mail: None,
    }
}

/// What an address of this kind of channel is called, where the test does not say.
fn usual(m: &SeenMessage) -> &'static str {
    match m.kind.as_str() {
        "sms" | "whatsapp" => "phone",
        "email" => "email",
        "" if m.from.as_deref().is_some_and(|f| f.contains('@')) => "email",
        "" if m.from.as_deref().is_some_and(|f| f.starts_with('+')) => "phone",
        _ => "visitor",
    }
}

fn load_channel(agent: &str) -> Name {
    format!("load-of-{agent}")
}

/// Somebody else, with whom an agent is busy.
fn contact_other(state: &State, agent: &str) -> ContactId {
    state.contact_of(&Address::new("test", format!("busy {agent}")))
}

fn opened(
    state: &mut State,
    contact: ContactId,
    channel: &str,
    thread: &str,
    address: &Address,
    at: Timestamp,
) -> ConvId {
    let conv = ConvId::derive(&state.salt, &[channel.as_bytes(), thread.as_bytes()]);
    let hash = state.thread_hash(channel, thread);
    let public = Public::Opened { conv, contact, channel: channel.to_owned(), thread: hash, at, ours: false, trial: 0 };
    let private = Private::Opened { thread: thread.to_owned(), address: address.clone(), subject: None };
    state.apply(&Event { public, private: Some((contact, private)) });
    conv
}

fn offered(state: &mut State, conv: ConvId, agent: &str, expires: Timestamp) {
    let offer = OfferId::derive(&state.salt, &[agent.as_bytes()]);
    let considered = Considered { chosen: Some(agent.to_owned()), passed: vec![], others: 0 };
    state.apply(&Public::Offered { conv, offer, agent: agent.to_owned(), expires, considered }.into());
}

fn assigned(state: &mut State, conv: ConvId, agent: &str) {
    let considered = Considered { chosen: Some(agent.to_owned()), passed: vec![], others: 0 };
    state.apply(&Public::Assigned { conv, agent: agent.to_owned(), why: Why::Strategy, considered, by: None }.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::Environment;

    const PACK: &str = "
queues: { everyone: {}, billing: { skills: [billing] }, calm: { offer: { timeout: 60s } } }
agents:
  ann: { name: Ann, skills: [billing], capacity: 2 }
  bob: { name: Bob, capacity: 1 }
replies: { hello: 'Hello {{ contact.first_name | default(\"there\") }}' }
rules:
  - name: Money
    when: { text: { word: refund } }
    then: { queue: billing, reply: hello, priority: high }
  - name: Calm
    when: { text: { word: calm } }
    then: { queue: calm }
  - name: Known
    when: { contact.open: { gt: 0 } }
    then: { agent: sticky, queue: everyone }
default: { queue: everyone }
";

    fn run(test: &str) -> Vec<String> {
        let env = Environment::default();
        let files = vec![
            ("pack.yaml".to_owned(), PACK.as_bytes().to_vec()),
            ("a_test.yaml".to_owned(), format!("tests:\n  - name: T\n{test}").into_bytes()),
        ];
        let pack = RulePack::load(&files, &env).unwrap_or_else(|p| panic!("{p:?}")).pack;
        let tests = pack.tests(&files, &env).unwrap_or_else(|p| panic!("{p:?}"));
        assert_eq!(tests.len(), 1);
        super::run(&pack, &tests[0]).faults
    }

    #[test]
    fn a_message_is_routed_and_answered() {
        assert_eq!(
            run(
                "    message: { kind: sms, from: '+15551230001', text: refund }\n    expect: { queue: billing, priority: high, replies: [hello], state: queued, agent: '', rules: [Money] }\n"
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn an_automatic_message_is_not_answered() {
        assert_eq!(
            run(
                "    message: { kind: sms, from: '+15551230001', text: refund, automatic: true }\n    expect: { queue: billing, replies: [] }\n"
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn an_opted_out_address_is_not_answered() {
        assert_eq!(
            run(
                "    message: { kind: sms, from: '+15551230001', text: refund }\n    given: { contact: { consent: opted_out } }\n    expect: { replies: [], consent: opted_out }\n"
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn who_is_there_and_able_gets_it() {
        let message = "    message: { kind: sms, from: '+15551230001', text: refund }\n";
        assert_eq!(
            run(&format!(
                "{message}    given: {{ agents: {{ ann: {{ presence: available }}, bob: {{ presence: available }} }} }}\n    expect: {{ agent: ann, state: assigned }}\n"
            )),
            Vec::<String>::new()
        );
        assert_eq!(
            run(&format!(
                "{message}    given: {{ agents: {{ ann: {{ presence: available, load: 2 }} }} }}\n    expect: {{ agent: '', state: queued }}\n"
            )),
            Vec::<String>::new()
        );
        assert_eq!(
            run(&format!(
                "{message}    given: {{ agents: {{ ann: {{ presence: away }} }} }}\n    expect: {{ agent: '', state: queued }}\n"
            )),
            Vec::<String>::new()
        );
    }

    #[test]
    fn an_offer_names_its_agent() {
        assert_eq!(
            run(
                "    message: { kind: sms, from: '+15551230001', text: calm }\n    given: { agents: { bob: { presence: available } } }\n    expect: { agent: bob, state: offered, queue: calm }\n"
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn an_owned_conversation_stays_where_it_is() {
        assert_eq!(
            run(
                "    message: { kind: sms, from: '+15551230001', text: refund }\n    given: { conversation: { agent: bob, queue: everyone, tags: [old], attributes: { order: 1 }, age: 1h }, agents: { bob: { presence: available } } }\n    expect: { agent: bob, state: assigned, tags: [old], attributes: { order: 1 } }\n"
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn sticky_finds_who_has_the_contacts_other_conversation() {
        assert_eq!(
            run(
                "    message: { kind: sms, from: '+15551230001', text: hello }\n    given: { contact: { open: 1, agent: bob }, agents: { bob: { presence: available } } }\n    expect: { agent: bob, rules: [Known] }\n"
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_is_otherwise_than_expected_is_said() {
        let faults = run(
            "    message: { kind: sms, from: '+15551230001', text: hi }\n    expect: { queue: billing, state: assigned }\n",
        );
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
}
