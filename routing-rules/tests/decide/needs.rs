//! What a support team needs over time, by the shipped packs: a pack's own tests are of one moment.

use crate::life::{CHANNEL, Life};
use std::path::Path;
use switchboard_envelope::{Action, ChannelProfile, Timestamp};
use switchboard_routing_rules::pack::{ConvStatus, Environment, RulePack, files};
use switchboard_routing_rules::state::Conversation;

fn life(pack: &str, kind: &str, now: &str) -> Life {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("packs").join(pack);
    let files = files::read_dir(&dir).expect("a shipped pack");
    let pack = RulePack::load(&files, &Environment::default()).expect("it loads").pack;
    let mut life = Life::of(ChannelProfile::new(kind, "phone"), pack, now.parse().expect("a time"));
    life.passes(1);
    life
}

fn comes(life: &mut Life, agent: &str) {
    let key = format!("{agent} {}", life.seq);
    let presence = Action::Presence { agent: agent.into(), presence: "available".into() };
    assert_eq!(life.asks(&key, presence).0.status, 200);
}

fn conv<'l>(life: &'l Life, who: &str) -> &'l Conversation {
    let thread = life.state.thread_hash(CHANNEL, who);
    life.state.conversation_of_thread(thread).expect("a conversation")
}

/// Time passes timer by timer.
fn until(life: &mut Life, end: Timestamp) {
    while life.now < end {
        let next = life.state.next_timer().filter(|at| *at <= end).unwrap_or(end).max(life.now);
        life.passes(next.since(life.now));
        if next == end {
            return;
        }
    }
}

#[test]
fn a_german_chat_waits_two_minutes_for_a_german_speaker_and_then_takes_anybody() {
    let mut life = life("support-team", "webchat", "2027-02-03T12:00:00Z");
    comes(&mut life, "fay");
    life.says("who", "1", "Guten Tag, wo ist mein Paket geblieben?", |_| {});
    let start = life.now;
    until(&mut life, start.plus(119_000));
    assert_eq!(conv(&life, "who").status, ConvStatus::Queued, "fay speaks no german");
    until(&mut life, start.plus(121_000));
    let c = conv(&life, "who");
    assert_eq!(c.offer.as_ref().map(|o| o.agent.as_str()), Some("fay"));
    // One who comes in time is asked at once.
    comes(&mut life, "ann");
    life.says("else", "2", "Guten Tag, meine Bestellung ist nicht angekommen", |_| {});
    assert_eq!(conv(&life, "else").offer.as_ref().map(|o| o.agent.as_str()), Some("ann"));
}

#[test]
fn who_asks_for_a_person_twice_within_ten_minutes_skips_the_robot() {
    let mut life = life("support-team", "webchat", "2027-02-03T12:00:00Z");
    let queue = |life: &Life, who: &str| conv(life, who).queue.as_deref().cloned().unwrap_or_default();
    for (who, wait) in [("quick", 9 * 60_000), ("slow", 11 * 60_000)] {
        life.says(who, &format!("{who} 1"), "can I talk to a human please", |_| {});
        assert_eq!(queue(&life, who), "bot");
        life.passes(wait);
        life.says(who, &format!("{who} 2"), "a human, please", |_| {});
    }
    assert_eq!((queue(&life, "quick").as_str(), queue(&life, "slow").as_str()), ("people", "bot"));
}

#[test]
fn a_lead_climbs_as_taskrouter_shows_it() {
    let mut life = life("from-taskrouter", "webchat", "2027-02-03T20:00:00Z");
    life.says("lead", "1", "hello", |m| drop(m.meta.insert("type".into(), "lead".into())));
    let start = life.now;
    let at = |life: &Life| {
        let c = conv(life, "lead");
        (c.queue.as_deref().cloned().unwrap_or_default(), c.priority)
    };
    use switchboard_routing_rules::pack::Priority;
    assert_eq!(at(&life), ("leads".to_owned(), Priority::Normal));
    until(&mut life, start.plus(5 * 60_000));
    assert_eq!(at(&life), ("leads".to_owned(), Priority::High));
    until(&mut life, start.plus(10 * 60_000));
    assert_eq!(at(&life), ("managers".to_owned(), Priority::Urgent));
}

#[test]
fn a_customer_with_another_conversation_open_goes_to_the_same_agent() {
    let mut life = life("support-team", "webchat", "2027-02-03T12:00:00Z");
    for agent in ["ann", "bob", "fay"] {
        comes(&mut life, agent);
    }
    life.says("who", "1", "where is my order?", |_| {});
    let conversation = life.conversation_of("who");
    life.asks("t", Action::Transfer { conversation, to: switchboard_envelope::Destination::Agent("bob".into()) });
    // The same person, in another thread.
    life.says("who", "2", "and another thing", |m| m.thread = "second".into());
    let second = conv(&life, "second");
    assert_eq!((second.status, second.agent.as_deref().map(String::as_str)), (ConvStatus::Assigned, Some("bob")));
}
