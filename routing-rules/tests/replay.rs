//! A pack beside another over what was decided before.

use std::collections::BTreeMap;
use switchboard_envelope::{Address, ChannelProfile, Content, Inbound, Message, Timestamp, Visibility};
use switchboard_routing_rules::decide::seen_message;
use switchboard_routing_rules::event::{Private, Public};
use switchboard_routing_rules::ids::Salt;
use switchboard_routing_rules::pack::{ConvStatus, Environment, Priority, RulePack, SeenMessage, SeenState};
use switchboard_routing_rules::replay::{not_replayed, would};
use switchboard_routing_rules::{Input, State, decide};

const OLD: &str = "
zone: UTC
queues: { everyone: {}, billing: {}, social: {} }
agents: { ann: { skills: [calm, french] } }
replies: { hi: Hello, bye: Bye }
rules:
  - { name: Hello, when: { new: true }, then: { reply: hi, tag: new }, continue: true }
  - { name: Refunds, when: { text: { word: refund } }, then: { queue: billing, priority: high } }
  - { name: Later, when: { text: later }, then: { snooze: 1h } }
  - { name: Done, when: { text: thanks }, then: { close: true, reply: bye } }
default: { queue: everyone, tag: default }
";

fn pack(yaml: &str) -> RulePack {
    RulePack::load(&[("a.yaml".to_owned(), yaml.as_bytes().to_vec())], &Environment::default()).expect("a pack").pack
}

fn said(text: &str) -> SeenMessage {
    SeenMessage { channel: "sms".into(), text: text.into(), ..SeenMessage::default() }
}

fn new() -> SeenState {
    SeenState { new: true, ..SeenState::default() }
}

fn with(state: ConvStatus) -> SeenState {
    SeenState { state: Some(state), queue: Some("everyone".into()), ..SeenState::default() }
}

#[test]
fn what_would_be_otherwise_is_told_and_what_stays_is_not() {
    let old = pack(OLD);
    let changed =
        OLD.replace("queue: billing, priority: high", "queue: social, tag: money").replace("Hello,", "Good day,");
    let new_pack = pack(&changed.replace("{ hi: Hello", "{ hi: Good day"));
    for text in ["refund please", "hello", "later", "thanks"] {
        assert_eq!(
            would(&old, &said(text), &new()).differences(&would(&old, &said(text), &new())),
            Vec::<String>::new()
        );
    }
    let (before, after) = (would(&old, &said("a refund"), &new()), would(&new_pack, &said("a refund"), &new()));
    assert_eq!((before.destination(), after.destination()), ("queue billing".into(), "queue social".into()));
    assert_eq!(
        after.differences(&before),
        ["priority none instead of high", "tags money new instead of new", "reply hi in other words"]
    );
    let closed = would(&old, &said("thanks"), &new());
    assert_eq!((closed.destination(), closed.reply.map(|r| r.0)), ("closed".into(), Some("hi".into())));
}

#[test]
fn an_owned_conversation_stays_and_the_default_takes_only_what_has_no_place() {
    let old = pack(OLD);
    for state in [ConvStatus::Assigned, ConvStatus::Offered, ConvStatus::Pending] {
        assert_eq!(would(&old, &said("a refund"), &with(state)).destination(), "where it is", "{state:?}");
    }
    for waits in [ConvStatus::Queued, ConvStatus::Snoozed] {
        assert_eq!(would(&old, &said("a refund"), &with(waits)).destination(), "queue billing");
    }
    let theirs = SeenState { owned: true, ..with(ConvStatus::Snoozed) };
    assert_eq!(would(&old, &said("a refund"), &theirs).destination(), "where it is");
    let there = SeenState { queue: Some("billing".into()), ..with(ConvStatus::Snoozed) };
    assert_eq!(would(&old, &said("a refund"), &there).destination(), "where it is");
    assert_eq!(would(&old, &said("hello"), &with(ConvStatus::Queued)).destination(), "where it is");
    assert_eq!(would(&old, &said("hello"), &new()).destination(), "queue everyone");
    assert!(would(&old, &said("hello"), &new()).tags.contains("default"));
}

/// As the router does: what the rules decided stands, and a place and a snooze are two things.
#[test]
fn the_default_adds_to_the_rules_and_a_snooze_adds_to_a_place() {
    let changed = OLD
        .replace("default: {", "default: { priority: low, skills: [calm], ")
        .replace("{ snooze: 1h }", "{ queue: billing, snooze: 1h }")
        .replace("{ reply: hi, tag: new }", "{ reply: hi, tag: new, priority: high, skills: [french] }");
    let pack = pack(&changed);
    let hello = would(&pack, &said("hello"), &new());
    assert_eq!((hello.priority, hello.skills), (Some(Priority::High), vec!["french 1".to_owned()]));
    assert_eq!(hello.queue.as_deref(), Some("everyone"));
    assert_eq!(would(&pack, &said("later"), &new()).destination(), "queue billing, snoozed");
    let bare = SeenState { state: Some(ConvStatus::Closed), ..SeenState::default() };
    let back = would(&pack, &said("hello"), &bare);
    assert_eq!((back.queue.as_deref(), back.priority), (Some("everyone"), Some(Priority::Low)));
}

/// A pair for each: the rule says it otherwise, and nothing else is otherwise.
#[test]
fn how_it_waits_whom_a_desk_tells_and_what_is_offered_is_compared() {
    let base = "
zone: UTC
queues: { everyone: {}, billing: {} }
agents: { ann: { skills: { french: 2 }, desks: { team-slack: U1, pager: P1 } } }
replies: { ask: { text: Which?, choices: [{ id: a, label: One }] } }
rules: [{ name: R, then: { agent: ann, queue: billing, REST } }]
default: { queue: everyone }
";
    let long =
        "overflow: [{ after: 5m, skills: [french], priority: high }, { after: 1h, if: nobody_free, queue: everyone }]";
    for (before, after, said) in [
        (
            "tag: a",
            long,
            "overflow [after 5m: skills french 1, priority high; after 1h if nobody_free: queue everyone] instead of the \
             queue's",
        ),
        (
            "overflow: []",
            "overflow: [{ if: nobody_available, skills: [] }]",
            "overflow [if nobody_available: skills none] instead of no step",
        ),
        ("desk: team-slack", "desk: pager", "desk pager instead of team-slack"),
        ("tag: a, desk: pager", "tag: a", "desk none instead of pager"),
        (
            "notify: { desk: pager, text: Look }",
            "notify: { desk: pager, text: Look now }",
            "notices pager in other words",
        ),
        ("notify: { desk: pager }", "notify: { desk: pager, text: Look }", "notices pager in other words"),
    ] {
        let of = |rest: &str| would(&pack(&base.replace("REST", rest)), &said_of_nothing(), &new());
        let (before, after) = (of(before), of(after));
        let told: Vec<String> = after.differences(&before).into_iter().filter(|d| !d.starts_with("tags")).collect();
        assert_eq!(told, [said]);
        assert_ne!(before, after);
        // As it comes from a daemon.
        let sent = serde_json::to_value(&before).expect("it is written");
        let read: switchboard_routing_rules::replay::Would = serde_json::from_value(sent).expect("it is read");
        assert_eq!(read, before);
    }
    let ask = |pack_text: &str| would(&pack(pack_text), &said_of_nothing(), &new());
    let asks = base.replace("REST", "reply: ask");
    let told = ask(&asks.replace("label: One", "label: Two")).differences(&ask(&asks));
    assert_eq!(told, ["choices a “Two” instead of a “One”"]);
}

fn said_of_nothing() -> SeenMessage {
    said("hello")
}

#[test]
fn what_takes_effect_over_time_is_named_where_it_is_written_otherwise() {
    let old = "
zone: UTC
hours: { office: { week: { mon-fri: '09:00-17:00' } } }
queues: { everyone: {}, billing: { skills: [a], overflow: [{ after: 5m, queue: everyone }] } }
agents: { ann: { skills: [a] }, bob: {} }
budget: { conversation: 3 }
presence: { grace: 1m }
replies: { bye: Bye, hi: Hello }
rules:
  - { name: Bye, on: closed, then: { reply: bye } }
  - { name: Hi, then: { reply: hi } }
default: { queue: everyone }
";
    let differ = |change: &dyn Fn(&str) -> String| not_replayed(&pack(old).settings(), &pack(&change(old)).settings());
    assert_eq!(differ(&str::to_owned), Vec::<String>::new());
    let moved = |s: &str| s.replace("zone: UTC\n", "").replace("default:", "zone: UTC\n\n# Elsewhere.\ndefault:");
    assert_eq!(differ(&moved), Vec::<String>::new(), "where it is written is no matter");
    for (from, to, said) in [
        ("skills: [a], overflow: [{ after: 5m", "overflow: [{ after: 6m", "queue billing (overflow, skills)"),
        ("everyone: {}, ", "everyone: {}, late: {}, ", "queue late (new)"),
        (", bob: {}", "", "agent bob (gone)"),
        ("bob: {}", "bob: { capacity: 2 }", "agent bob (capacity)"),
        ("conversation: 3", "conversation: 4", "budget (conversation)"),
        ("grace: 1m", "grace: 2m", "presence (grace)"),
        ("09:00", "10:00", "hours office (week)"),
        ("on: closed", "on: answered", "rule Bye, on answered (new)"),
        ("bye: Bye", "bye: See you", "rule Bye, on closed (reply bye)"),
        ("zone: UTC", "zone: Europe/Paris", "zone (it)"),
    ] {
        let told = differ(&|s: &str| s.replace(from, to));
        assert!(told.contains(&said.to_owned()), "{to}: {told:?}");
        assert!(told.len() == 1 || said.contains("rule"), "{told:?}");
    }
    assert_eq!(differ(&|s: &str| s.replace("hi: Hello", "hi: Good day")), Vec::<String>::new(), "that is replayed");
}

/// Over the facts that a decision kept, the pack that decided would do what it did.
#[test]
fn a_replay_with_the_same_pack_comes_to_what_happened() {
    let pack = pack(OLD);
    let channels = BTreeMap::from([("sms".to_owned(), ChannelProfile::new("sms", "phone"))]);
    let now = Timestamp(1_800_000_000_000);
    let mut state =
        decide(State::new(Salt([1; 16])), &Input::Lead { now, incarnation: 1, channels: &channels }, &pack).after;
    let texts = ["hello", "a refund", "thanks", "later", "hello again", "refund", "thanks"];
    for (n, text) in texts.iter().enumerate() {
        let message = Message {
            id: format!("sms:message:{n}"),
            channel: "sms".into(),
            thread: format!("{}", n % 2),
            at: now,
            received_at: now,
            from: Address::new("phone", format!("{}", n % 2)),
            to: None,
            content: Content::text(*text),
            references: vec![],
            provider_id: None,
            visibility: Visibility::Private,
            automatic: false,
            authenticated: None,
            meta: BTreeMap::new(),
            raw: None,
            traceparent: None,
            mail: None,
        };
        let inbound = Inbound::Message(Box::new(message.clone()));
        let input =
            Input::Record { seq: n as u64 + 1, stored_at: now.plus(n as i64), inbound: &inbound, candidate: None };
        let decision = decide(state, &input, &pack);
        let seen = decision.events.iter().find_map(|e| match &e.private {
            Some((_, Private::Decided { seen, .. })) => Some((**seen).clone()),
            _ => None,
        });
        let would = would(&pack, &seen_message(&message, "sms".into()), &seen.expect("the facts"));
        let queued = decision.events.iter().find_map(|e| match &e.public {
            Public::Queued { queue, why, .. } if *why != switchboard_routing_rules::event::Why::CustomerWrote => {
                Some(queue.clone())
            }
            _ => None,
        });
        let closed = decision.events.iter().any(|e| matches!(e.public, Public::Closed { .. }));
        assert_eq!((would.queue, would.closed), (queued, closed), "message {n}, {text:?}");
        state = decision.after;
    }
}
