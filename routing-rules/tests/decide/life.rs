//! One workspace, decided input by input.

use std::collections::BTreeMap;
use switchboard_envelope::{
    Action, Actor, Address, AttemptResult, ChannelProfile, Command, Content, Echo, Inbound, Message, Outcome, Scope,
    Timestamp, Visibility,
};
use switchboard_routing_rules::event::{DeadReason, Event, Public, Reply};
use switchboard_routing_rules::ids::Salt;
use switchboard_routing_rules::invariants::{check_invariants, given_beyond, overtaken};
use switchboard_routing_rules::pack::{ConvStatus, Environment, RulePack};
use switchboard_routing_rules::state::InForce;
use switchboard_routing_rules::{Input, State, decide};

pub const CHANNEL: &str = "support-sms";
pub const ANN: &str = "+15551230001";
pub const START: i64 = 1_800_000_000_000;

/// One workspace.
pub struct Life {
    pub state: State,
    pub pack: RulePack,
    /// The pack that is tried.
    pub tried: Option<RulePack>,
    /// The pack that the next command names.
    pub candidate: Option<RulePack>,
    pub seq: u64,
    pub now: Timestamp,
}

impl Life {
    pub fn new() -> Life {
        Life::on(ChannelProfile::new("sms", "phone"))
    }

    pub fn on(channel: ChannelProfile) -> Life {
        let yaml = "zone: UTC\nqueues: { q: {} }\nagents: { ann: { capacity: 10 } }\ndefault: { queue: q }\n";
        Life::with(channel, yaml)
    }

    pub fn with(channel: ChannelProfile, yaml: &str) -> Life {
        let files = [("a.yaml".to_owned(), yaml.as_bytes().to_vec())];
        let pack = RulePack::load(&files, &Environment::default()).expect("a pack").pack;
        Life::of(channel, pack, Timestamp(START))
    }

    /// One that begins then.
    pub fn of(channel: ChannelProfile, pack: RulePack, now: Timestamp) -> Life {
        let channels = BTreeMap::from([(CHANNEL.to_owned(), channel)]);
        let state = State::new(Salt([7; 16]));
        let state = decide(state, &Input::Lead { now, incarnation: 1, channels: &channels }, &pack).after;
        Life { state, pack, tried: None, candidate: None, seq: 0, now }
    }

    /// A router begins to lead whose configuration has no channel any more.
    pub fn leads_without_channels(&mut self) {
        let lead = Input::Lead { now: self.now, incarnation: 2, channels: &BTreeMap::new() };
        self.state = decide(self.state.clone(), &lead, &self.pack).after;
    }

    /// A router begins to lead whose configuration has these beside the channel.
    pub fn leads_with(&mut self, desks: &[(&str, ChannelProfile)]) {
        let known = self.state.channels.get(CHANNEL).map(|c| (CHANNEL.to_owned(), c.profile.clone()));
        let desks = desks.iter().map(|(id, profile)| ((*id).to_owned(), profile.clone()));
        let channels = known.into_iter().chain(desks).collect();
        let incarnation = self.state.incarnation + 1;
        let lead = Input::Lead { now: self.now, incarnation, channels: &channels };
        self.state = decide(self.state.clone(), &lead, self.packs()).after;
    }

    pub fn hears(&mut self, inbound: &Inbound) -> Vec<Event> {
        self.seq += 1;
        self.now = self.now.plus(1000);
        let candidate = self.candidate.take();
        let input = Input::Record { seq: self.seq, stored_at: self.now, inbound, candidate: candidate.as_ref() };
        let decision = decide(self.state.clone(), &input, self.packs());
        self.nobody_is_wronged(&decision.events, candidate.as_ref());
        self.state = decision.after;
        for pack in candidate.into_iter().chain(self.tried.take()) {
            if pack.hash() == self.state.pack {
                self.pack = pack;
            } else if self.state.trying().is_some_and(|c| c.pack == pack.hash()) {
                self.tried = Some(pack);
            }
        }
        assert_eq!(check_invariants(&self.state, self.packs()), vec![], "after {inbound:?}");
        decision.events
    }

    /// What is given away by these events goes to who has room, and to who waited longest.
    fn nobody_is_wronged(&self, events: &[Event], candidate: Option<&RulePack>) {
        let mut before = self.state.clone();
        for event in events {
            let known = || [Some(&self.pack), candidate, self.tried.as_ref()].into_iter().flatten();
            let packs = InForce {
                pack: known().find(|p| p.hash() == before.pack).unwrap_or(&self.pack),
                tried: known().find(|p| before.trying().is_some_and(|c| c.pack == p.hash())),
            };
            assert_eq!(given_beyond(&before, &event.public, packs.pack), None);
            assert_eq!(overtaken(&before, &event.public, packs), None);
            before.apply(event);
        }
    }

    pub fn packs(&self) -> InForce<'_> {
        InForce { pack: &self.pack, tried: self.tried.as_ref() }
    }

    /// Another router of the same workspace.
    pub fn again(&self) -> Life {
        let (state, pack, tried) = (self.state.clone(), self.pack.clone(), self.tried.clone());
        Life { state, pack, tried, candidate: None, seq: self.seq, now: self.now }
    }

    pub fn customer(&mut self, key: &str) {
        self.writes(ANN, key);
    }

    pub fn writes(&mut self, who: &str, key: &str) {
        self.says(who, key, "hello", |_| {});
    }

    /// Somebody writes a text, in a message that is changed before it comes.
    pub fn says(&mut self, who: &str, key: &str, text: &str, change: impl FnOnce(&mut Message)) -> Vec<Event> {
        let from = Address::new("phone", who);
        let mut message = Message {
            id: format!("{CHANNEL}:message:{key}"),
            channel: CHANNEL.into(),
            thread: who.into(),
            at: self.now,
            received_at: self.now,
            from,
            to: None,
            content: Content::text(text),
            references: vec![],
            provider_id: Some(key.into()),
            visibility: Visibility::Private,
            automatic: false,
            authenticated: None,
            meta: BTreeMap::new(),
            raw: None,
            traceparent: None,
            mail: None,
        };
        change(&mut message);
        self.hears(&Inbound::Message(Box::new(message)))
    }

    /// An agent asks for something; the answer, and what happened.
    pub fn asks(&mut self, key: &str, action: Action) -> (Reply, Vec<Event>) {
        self.asks_with(Scope::Admin, key, action)
    }

    /// The same with another right.
    pub fn asks_with(&mut self, scope: Scope, key: &str, action: Action) -> (Reply, Vec<Event>) {
        let command = Command {
            id: format!("api:command:{key}"),
            channel: "api".into(),
            at: self.now,
            actor: Actor { agent: Some("ann".into()), token: None, scope },
            action,
            body_hash: None,
            traceparent: None,
        };
        let events = self.hears(&Inbound::Command(Box::new(command)));
        let reply = events.iter().find_map(|e| match &e.public {
            Public::Answered { reply, .. } => Some(reply.clone()),
            _ => None,
        });
        (reply.expect("every command is answered"), events)
    }

    /// An agent answers; the status of the command's answer, its code, and the send's id.
    pub fn answers(&mut self, key: &str, text: &str) -> (u16, String, String) {
        self.answers_to(ANN, key, text)
    }

    pub fn answers_to(&mut self, who: &str, key: &str, text: &str) -> (u16, String, String) {
        let conversation = self.conversation_of(who);
        let action = Action::Reply {
            conversation,
            text: text.into(),
            attachments: vec![],
            take: false,
            seen: None,
            choices: vec![],
            template: None,
        };
        let (reply, _) = self.asks(key, action);
        (reply.status, reply.code, reply.ids.get("message").cloned().unwrap_or_default())
    }

    pub fn result(&mut self, send: &str, outcome: Outcome, opted_out: bool, provider: &[&str]) -> Vec<Event> {
        let result = AttemptResult {
            provider_ids: provider.iter().map(|p| (*p).to_owned()).collect(),
            code: opted_out.then(|| "21610".into()),
            opted_out,
            ..self.ended(send, 1, outcome)
        };
        self.hears(&Inbound::Result(result))
    }

    pub fn ended(&self, send: &str, n: u32, outcome: Outcome) -> AttemptResult {
        AttemptResult {
            id: format!("{CHANNEL}:result:{send}.1.{n}:{}", outcome.as_str()),
            channel: CHANNEL.into(),
            send: send.into(),
            part: 1,
            n,
            at: self.now,
            outcome,
            provider_ids: vec![],
            code: None,
            detail: None,
            retry_after_ms: None,
            channel_refused: false,
            opted_out: false,
            fault: None,
            reconciled: false,
        }
    }

    pub fn passes(&mut self, ms: i64) -> Vec<Event> {
        self.now = self.now.plus(ms);
        let decision = decide(self.state.clone(), &Input::Timers { now: self.now }, self.packs());
        self.nobody_is_wronged(&decision.events, None);
        self.state = decision.after;
        assert_eq!(check_invariants(&self.state, self.packs()), vec![], "after {ms} ms");
        decision.events
    }

    pub fn echo(&mut self, sid: &str, text: &str, at: Timestamp) -> Vec<Event> {
        self.hears(&Inbound::Echo(Box::new(Echo {
            id: format!("{CHANNEL}:echo:{sid}"),
            channel: CHANNEL.into(),
            thread: ANN.into(),
            at,
            provider_id: sid.into(),
            send: None,
            part: None,
            n: None,
            to: Address::new("phone", ANN),
            content: Content::text(text),
        })))
    }

    pub fn conversation(&self) -> String {
        self.conversation_of(ANN)
    }

    pub fn conversation_of(&self, who: &str) -> String {
        let thread = self.state.thread_hash(CHANNEL, who);
        self.state.conversation_of_thread(thread).expect("a conversation").id.to_string()
    }

    pub fn status(&self) -> ConvStatus {
        self.state.conversation_of_thread(self.state.thread_hash(CHANNEL, ANN)).expect("a conversation").status
    }
}

/// The numbers of the attempts that were released.
pub fn released(events: &[Event]) -> Vec<u32> {
    let number = |e: &Event| match &e.public {
        Public::Released { n, .. } => Some(*n),
        _ => None,
    };
    events.iter().filter_map(number).collect()
}

pub fn dead(events: &[Event]) -> Vec<DeadReason> {
    let reason = |e: &Event| match &e.public {
        Public::Dead { reason, .. } => Some(*reason),
        _ => None,
    };
    events.iter().filter_map(reason).collect()
}
