//! The promises that are watched event by event: each is found broken where it is.

use crate::life::{CHANNEL, Life};
use switchboard_envelope::{ChannelProfile, Timestamp};
use switchboard_routing_rules::event::{ClockKind, Considered, Public, Why};
use switchboard_routing_rules::ids::{ConvId, OfferId, Salt};
use switchboard_routing_rules::invariants::{ClockWatch, given_beyond, overtaken};

const PACK: &str = "
zone: UTC
queues: { a: {}, z: { skills: [french] } }
agents: { ann: { capacity: 1, skills: [french] }, bob: { capacity: 1 } }
rules: [{ name: z, when: { from: { prefix: z } }, then: { queue: z } }]
default: { queue: a }
";

fn conv(life: &Life, who: &str) -> ConvId {
    life.state.conversation_of_thread(life.state.thread_hash(CHANNEL, who)).expect("a conversation").id
}

fn assigned(life: &Life, who: &str, agent: &str, why: Why) -> Public {
    Public::Assigned { conv: conv(life, who), agent: agent.into(), why, considered: Considered::default(), by: None }
}

fn offered(life: &Life, who: &str, agent: &str) -> Public {
    let expires = life.now.plus(1000);
    let (conv, agent) = (conv(life, who), agent.into());
    Public::Offered {
        conv,
        offer: OfferId::derive(&life.state.salt, &[b"an offer"]),
        agent,
        expires,
        considered: Considered::default(),
    }
}

fn available(life: &mut Life, agent: &str) {
    let presence = switchboard_envelope::Action::Presence { agent: agent.into(), presence: "available".into() };
    life.asks(&format!("{agent} comes"), presence);
}

#[test]
fn whoever_is_given_more_than_they_take_is_found() {
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), PACK);
    available(&mut life, "ann");
    for (who, key) in [("a1", "1"), ("a2", "2")] {
        life.writes(who, key);
    }
    let found = |event: &Public| given_beyond(&life.state, event, &life.pack).map(|(id, _)| id);
    assert_eq!(found(&assigned(&life, "a2", "ann", Why::Strategy)), Some("I7"), "ann has one, and takes one");
    assert_eq!(found(&assigned(&life, "a2", "ann", Why::Transferred)), Some("I7"));
    assert_eq!(found(&offered(&life, "a2", "ann")), Some("I7"));
    assert_eq!(found(&assigned(&life, "a2", "cy", Why::Strategy)), Some("I7"), "nobody of the pack");
    // What somebody took themselves, what is theirs already, and whoever has room.
    assert_eq!(found(&assigned(&life, "a2", "ann", Why::Taken)), None);
    assert_eq!(found(&assigned(&life, "a1", "ann", Why::CustomerWrote)), None);
    assert_eq!(found(&assigned(&life, "a2", "bob", Why::Strategy)), None);
}

#[test]
fn whoever_is_served_before_one_who_waited_longer_is_found_whichever_queue_they_wait_in() {
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), PACK);
    for (who, key) in [("z1", "1"), ("a1", "2"), ("a2", "3")] {
        life.writes(who, key);
    }
    available_without_assigning(&mut life);
    let found = |event: &Public| overtaken(&life.state, event, &life.pack).map(|(id, _)| id);
    assert_eq!(
        found(&assigned(&life, "a1", "ann", Why::Strategy)),
        Some("I17"),
        "z1 waits longer, and ann speaks French"
    );
    assert_eq!(found(&offered(&life, "a1", "ann")), Some("I17"));
    assert_eq!(found(&assigned(&life, "a2", "bob", Why::Strategy)), Some("I17"), "a1 waits longer in the same queue");
    assert_eq!(found(&assigned(&life, "z1", "ann", Why::Strategy)), None);
    assert_eq!(found(&assigned(&life, "a1", "bob", Why::Strategy)), None, "bob cannot take z1");
    assert_eq!(found(&assigned(&life, "a1", "ann", Why::Taken)), None, "people may choose");
}

/// As they come, before anything is given to them.
fn available_without_assigning(life: &mut Life) {
    use switchboard_routing_rules::event::{Event, Presence};
    for agent in ["ann", "bob"] {
        let (agent, at) = (agent.to_owned(), life.now);
        let came = Public::PresenceChanged { agent, presence: Presence::Available, named: None, at, lapsed: false };
        life.state.apply(&Event::from(came));
    }
}

#[test]
fn a_warning_before_its_time_is_found() {
    let conv = ConvId::derive(&Salt([7; 16]), &[b"a conversation"]);
    let (due, warn_at) = (Timestamp(10_000), Some(Timestamp(8_000)));
    let response = Public::ClockSet { conv, clock: ClockKind::FirstResponse, due, warn_at };
    let unasked = Public::ClockSet { conv, clock: ClockKind::FirstResponse, due, warn_at: None };
    let resolution = Public::ResolutionDue { conv, due: Some(due), warn_at };
    for (set, kind, at, broken) in [
        (&response, ClockKind::FirstResponse, 7_999, true),
        (&response, ClockKind::FirstResponse, 8_000, false),
        (&unasked, ClockKind::FirstResponse, 9_000, true),
        (&resolution, ClockKind::Resolution, 7_999, true),
        (&resolution, ClockKind::Resolution, 8_000, false),
    ] {
        let mut watch = ClockWatch::default();
        assert_eq!(watch.see(Timestamp(0), set), None);
        let found = watch.see(Timestamp(at), &Public::ClockWarned { conv, clock: kind });
        assert_eq!(found.map(|(id, _)| id), broken.then_some("I15"), "{set:?} at {at}");
    }
}
