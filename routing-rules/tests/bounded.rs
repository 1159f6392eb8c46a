//! One decision never grows with the workspace: what it leads to fits a frame, and what is left follows.

use std::collections::BTreeMap;
use switchboard_envelope::{
    Action, Actor, Address, ChannelProfile, Command, Content, Inbound, Message, Scope, Timestamp, Visibility,
};
use switchboard_routing_rules::decide::stranded;
use switchboard_routing_rules::event::{Event, Public};
use switchboard_routing_rules::ids::Salt;
use switchboard_routing_rules::invariants::check_invariants;
use switchboard_routing_rules::pack::{ConvStatus, Environment, RulePack};
use switchboard_routing_rules::{Input, State, decide};

const CHANNEL: &str = "support-sms";
const START: Timestamp = Timestamp(1_800_000_000_000);
/// What the router takes of one decision.
const DECISION: usize = 256 * 1024;

fn pack(yaml: &str) -> RulePack {
    let files = [("a.yaml".to_owned(), yaml.as_bytes().to_vec())];
    RulePack::load(&files, &Environment::default()).expect("a pack").pack
}

struct Life {
    state: State,
    pack: RulePack,
    seq: u64,
    now: Timestamp,
}

impl Life {
    fn new(yaml: &str) -> Life {
        let mut life = Life { state: State::new(Salt([7; 16])), pack: pack(yaml), seq: 0, now: START };
        life.leads(1);
        life
    }

    fn step(&mut self, input: &Input<'_>) -> Vec<Event> {
        let decision = decide(self.state.clone(), input, &self.pack);
        self.state = decision.after;
        let size: usize =
            decision.events.iter().map(|e| rmp_serde::to_vec_named(&e.public).expect("an event").len()).sum();
        assert!(size < DECISION, "{} events of {size} bytes", decision.events.len());
        decision.events
    }

    fn leads(&mut self, incarnation: u64) {
        let channels = BTreeMap::from([(CHANNEL.to_owned(), ChannelProfile::new("sms", "phone"))]);
        self.step(&Input::Lead { now: self.now, incarnation, channels: &channels });
    }

    fn hears(&mut self, inbound: &Inbound) -> Vec<Event> {
        self.seq += 1;
        self.now = self.now.plus(1);
        self.step(&Input::Record { seq: self.seq, stored_at: self.now, inbound, candidate: None })
    }

    fn customer(&mut self, n: usize) {
        let phone = format!("+1555{n:07}");
        self.hears(&Inbound::Message(Box::new(Message {
            id: format!("{CHANNEL}:message:{n}"),
            channel: CHANNEL.into(),
            thread: phone.clone(),
            at: self.now,
            received_at: self.now,
            from: Address::new("phone", &phone),
            to: None,
            content: Content::text("hello"),
            references: vec![],
            provider_id: Some(n.to_string()),
            visibility: Visibility::Private,
            automatic: false,
            authenticated: None,
            meta: BTreeMap::new(),
            raw: None,
            traceparent: None,
            mail: None,
        })));
    }

    fn command(&mut self, action: Action) -> u16 {
        let command = Command {
            id: format!("api:command:{}", self.seq),
            channel: "api".into(),
            at: self.now,
            actor: Actor { agent: None, token: None, scope: Scope::Admin },
            action,
            body_hash: None,
            traceparent: None,
        };
        let events = self.hears(&Inbound::Command(Box::new(command)));
        let answer = events.iter().find_map(|e| match &e.public {
            Public::Answered { reply, .. } => Some(reply.status),
            _ => None,
        });
        answer.expect("every command is answered")
    }

    fn presence(&mut self, agent: usize, presence: &str) {
        let status = self.command(Action::Presence { agent: format!("a{agent}"), presence: presence.into() });
        assert_eq!(status, 200);
    }
}

#[test]
fn everybody_in_a_queue_that_vanished_moves_in_steps_that_fit() {
    let old = "zone: UTC\nqueues: { gone: {}, kept: {} }\nagents: { ann: {} }\ndefault: { queue: gone }\n";
    let mut life = Life::new(old);
    (0..300).for_each(|n| life.customer(n));
    assert_eq!(life.state.depth("gone"), 300);
    life.pack = pack(&old.replace("gone: {}, ", "").replace("queue: gone", "queue: kept"));
    life.leads(2);
    let mut steps = 0;
    while stranded(&life.state, &life.pack).next().is_some() {
        let before = life.state.depth("gone");
        life.step(&Input::Timers { now: life.now });
        assert!(life.state.depth("gone") < before, "a step moves somebody");
        steps += 1;
    }
    assert!(steps > 1, "one decision did not move them all");
    assert_eq!(life.state.depth("kept"), 300);
    assert_eq!(check_invariants(&life.state, &life.pack), vec![]);
}

#[test]
fn many_agents_whose_grace_ended_meanwhile_give_back_in_steps_that_fit() {
    const AGENTS: usize = 30;
    let agents: Vec<String> = (0..AGENTS).map(|n| format!("a{n}: {{ capacity: 20 }}")).collect();
    let yaml =
        format!("zone: UTC\nqueues: {{ q: {{}} }}\nagents: {{ {} }}\ndefault: {{ queue: q }}\n", agents.join(", "));
    let mut life = Life::new(&yaml);
    (0..AGENTS).for_each(|n| life.presence(n, "available"));
    (0..AGENTS * 20).for_each(|n| life.customer(n));
    let owned = |life: &Life| life.state.conversations.values().filter(|c| c.status == ConvStatus::Assigned).count();
    assert_eq!(owned(&life), AGENTS * 20);
    (0..AGENTS).for_each(|n| life.presence(n, "offline"));
    // Nothing ran until every grace was over.
    life.now = life.now.plus(3_600_000);
    let mut steps = 0;
    while life.state.due(life.now).next().is_some() {
        life.now = life.now.plus(1);
        life.step(&Input::Timers { now: life.now });
        steps += 1;
        assert!(steps < 1000, "the timers never end");
    }
    assert!(steps > 1, "one decision did not give back all");
    assert_eq!((owned(&life), life.state.depth("q")), (0, AGENTS * 20));
    assert_eq!(check_invariants(&life.state, &life.pack), vec![]);
}

#[test]
fn attributes_do_not_grow_without_end() {
    let mut life = Life::new("zone: UTC\nqueues: { q: {} }\nagents: { ann: {} }\ndefault: { queue: q }\n");
    life.customer(1);
    let conversation = life.state.conversations.keys().next().expect("one").to_string();
    let update = |range: std::ops::Range<usize>, bytes: usize| Action::Update {
        conversation: conversation.clone(),
        tags: None,
        priority: None,
        attributes: range.map(|n| (format!("k{n}"), Some("x".repeat(bytes)))).collect(),
    };
    assert_eq!(life.command(update(0..60, 10)), 200);
    assert_eq!(life.command(update(60..120, 10)), 422, "together more than a hundred");
    assert_eq!(life.command(update(0..60, 1000)), 422, "together too long");
    let clear = Action::Update {
        conversation: conversation.clone(),
        tags: None,
        priority: None,
        attributes: (0..60).map(|n| (format!("k{n}"), None)).collect(),
    };
    assert_eq!(life.command(clear), 200);
    assert_eq!(life.command(update(60..120, 10)), 200, "there is room again");
}

#[test]
fn a_customer_of_whom_nothing_is_kept_leaves_no_contact() {
    const PEOPLE: usize = 1_000;
    let mut life = Life::new("zone: UTC\nqueues: { q: {} }\nagents: { ann: {} }\ndefault: { queue: q }\n");
    (0..PEOPLE).for_each(|n| life.customer(n));
    assert_eq!((life.state.conversations.len(), life.state.contacts.len()), (PEOPLE, 0));
    let all: Vec<String> = life.state.conversations.keys().map(ToString::to_string).collect();
    for conversation in all {
        let closed = Action::Close { conversation };
        assert_eq!(life.command(closed), 200);
    }
    // Past the time in which a message would reopen them.
    life.now = life.now.plus(30 * 86_400_000);
    while life.state.due(life.now).next().is_some() {
        life.now = life.now.plus(1);
        life.step(&Input::Timers { now: life.now });
    }
    assert_eq!((life.state.conversations.len(), life.state.contacts.len()), (0, 0));
    assert_eq!(check_invariants(&life.state, &life.pack), vec![]);
}
