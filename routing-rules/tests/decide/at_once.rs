//! Overflow steps that do not wait for their time where nobody is there.

use crate::life::Life;
use switchboard_envelope::{Action, ChannelProfile, Destination};
use switchboard_routing_rules::event::{Event, Public, Why};
use switchboard_routing_rules::pack::Priority;
use switchboard_routing_rules::waiting;

const MINUTE: i64 = 60_000;

const PACK: &str = "
zone: UTC
queues:
  sales: { skills: [sales], overflow: [{ after: 5m, if: nobody_available, skills: [], priority: high }, { if: nobody_free, queue: late }, { after: 20m, queue: all }] }
  late: { skills: [late], overflow: [{ if: nobody_available, queue: all }] }
  all: {}
agents:
  ann: { skills: [sales], capacity: 1 }
  bob: { capacity: 1 }
  eve: { skills: [late], capacity: 1 }
default: { queue: sales }
";

fn life() -> Life {
    Life::with(ChannelProfile::new("sms", "phone"), PACK)
}

fn is(life: &mut Life, agent: &str, presence: &str) -> Vec<Event> {
    life.acts(Action::Presence { agent: agent.into(), presence: presence.into() })
}

/// The queues that a conversation came to, and why.
fn way(events: &[Event]) -> Vec<(String, Why)> {
    let queued = |e: &Event| match &e.public {
        Public::Queued { queue, why, .. } => Some((queue.clone(), why.clone())),
        _ => None,
    };
    events.iter().filter_map(queued).collect()
}

fn at(life: &Life, who: &str) -> String {
    life.conv(who).queue.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn nobody_waits_for_who_is_not_there() {
    let mut life = life();
    is(&mut life, "bob", "available");
    is(&mut life, "ann", "away");
    let events = life.says("x", "1", "hello", |_| {});
    // The first step takes the skill away at once, and Bob has it without another queue.
    assert_eq!((life.has("x"), at(&life, "x")), ("bob".into(), "sales".into()));
    assert_eq!(life.conv("x").priority, Priority::High);
    let considered = |e: &&Event| matches!(e.public, Public::NobodyFree { .. });
    assert_eq!(events.iter().filter(considered).count(), 1, "why nobody could is kept: {events:?}");
    // The next one finds nobody free after that step, and is led on, from where nobody is there either.
    let events = life.says("y", "2", "hello", |_| {});
    let there = |queue: &str| (queue.to_owned(), Why::NobodyThere);
    assert_eq!(way(&events), [("sales".to_owned(), Why::Default), there("late"), there("all")]);
    assert_eq!((life.has("y"), at(&life, "y")), ("queued".into(), "all".into()));
}

#[test]
fn who_is_there_and_busy_is_waited_for() {
    let mut life = life();
    is(&mut life, "ann", "available");
    is(&mut life, "bob", "available");
    life.says("x", "1", "hello", |_| {});
    life.says("y", "2", "hello", |_| {});
    assert_eq!((life.has("x"), life.has("y"), at(&life, "y")), ("ann".into(), "queued".into(), "sales".into()));
    let why = waiting::why(&life.state, life.packs(), life.conv("y").id).expect("it waits");
    let (due, step) = why.next_step.expect("a step");
    assert_eq!((due.since(life.conv("y").entered_at.get().expect("a time")), step.queue), (5 * MINUTE, None));
    // Who goes away later is not what the step asks: it was its turn when the conversation came.
    is(&mut life, "ann", "away");
    assert_eq!(life.has("y"), "queued");
    // With its time it is taken in any case, and the one behind it is looked at then.
    life.passes(5 * MINUTE);
    assert_eq!((life.has("y"), at(&life, "y")), ("bob".into(), "sales".into()));
}

#[test]
fn a_step_without_a_time_is_taken_at_once_or_not_at_all() {
    let mut life = life();
    is(&mut life, "ann", "available");
    for who in ["x", "y"] {
        life.says(who, who, "hello", |_| {});
    }
    // After five minutes nobody is free for it, so it goes on to `late`, where nobody is there.
    let events = life.passes(5 * MINUTE);
    assert_eq!(way(&events).last(), Some(&("all".to_owned(), Why::NobodyThere)), "{events:?}");
    let mut life = self::life();
    is(&mut life, "eve", "available");
    let events = life.says("x", "1", "hello", |_| {});
    assert_eq!(life.has("x"), "eve", "{events:?}");
    let events = life.says("y", "2", "hello", |_| {});
    assert_eq!(way(&events).last(), Some(&("late".to_owned(), Why::NobodyThere)), "{events:?}");
    life.passes(60 * MINUTE);
    assert_eq!((life.has("y"), at(&life, "y")), ("queued".into(), "late".into()), "Eve was there when it came");
}

#[test]
fn it_holds_for_what_comes_back_and_what_is_handed_on() {
    let mut life = life();
    is(&mut life, "bob", "available");
    life.says("x", "1", "hello", |_| {});
    assert_eq!(life.has("x"), "bob");
    let conversation = life.conversation_of("x");
    life.acts(Action::Transfer { conversation, to: Destination::Queue("late".into()) });
    assert_eq!(
        (life.has("x"), at(&life, "x")),
        ("queued".into(), "all".into()),
        "Eve is not there, and Bob gave it away"
    );
    life.passes(2 * MINUTE);
    assert_eq!((life.has("x"), at(&life, "x")), ("bob".into(), "all".into()), "he is asked again later");
    // Nor where what is wanted is relaxed at once.
    let conversation = life.conversation_of("x");
    life.acts(Action::Transfer { conversation, to: Destination::Queue("sales".into()) });
    assert_eq!((life.has("x"), at(&life, "x")), ("queued".into(), "all".into()));
}

#[test]
fn steps_at_once_outlive_a_snapshot_and_steps_of_before_are_read() {
    let mut life = life();
    is(&mut life, "ann", "available");
    for who in ["x", "y"] {
        life.says(who, who, "hello", |_| {});
    }
    let parts = life.state.to_parts().expect("a snapshot");
    let again = switchboard_routing_rules::State::from_parts(life.state.salt, &parts.public, &parts.private);
    assert_eq!(again.expect("it reads"), life.state);
    let before: switchboard_routing_rules::pack::OverflowStep =
        serde_json::from_str(r#"{ "after_ms": 5, "skills": null, "queue": "all", "priority": null }"#).expect("a step");
    assert_eq!((before.after_ms, before.at_once, before.queue.as_deref()), (Some(5), None, Some("all")));
}
