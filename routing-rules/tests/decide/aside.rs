//! What was laid aside while it waited, and is written in again.

use crate::life::Life;
use switchboard_envelope::{Action, ChannelProfile, Destination};

const PACK: &str = "
zone: UTC
queues: { sales: {}, legal: {}, q: {} }
agents: { ann: {} }
rules:
  - { name: Legal, when: { text: legal }, then: { queue: legal } }
  - { name: Sales, then: { queue: sales } }
default: { queue: q }
";

fn life() -> Life {
    Life::with(ChannelProfile::new("sms", "phone"), PACK)
}

fn lays_aside(life: &mut Life) {
    let (conversation, until) = (life.conversation_of("who"), life.now.plus(3_600_000));
    life.acts(Action::Snooze { conversation, until });
}

fn place(life: &Life) -> (String, String) {
    (life.has("who"), life.conv("who").queue.as_deref().cloned().unwrap_or_default())
}

#[test]
fn it_goes_where_rules_now_choose_and_stays_where_a_person_moved_it() {
    let mut life = life();
    life.writes("who", "1");
    lays_aside(&mut life);
    life.says("who", "2", "legal", |_| {});
    assert_eq!(place(&life), ("queued".into(), "legal".into()), "the rules choose another place");

    let (conversation, to) = (life.conversation_of("who"), Destination::Queue("q".into()));
    life.acts(Action::Transfer { conversation, to });
    lays_aside(&mut life);
    life.says("who", "3", "legal", |_| {});
    assert_eq!(place(&life), ("queued".into(), "q".into()), "the rules choose what they chose before");
}

#[test]
fn no_machine_brings_it_back() {
    let mut life = life();
    life.writes("who", "1");
    lays_aside(&mut life);
    life.says("who", "2", "legal", |m| m.automatic = true);
    assert_eq!(place(&life), ("snoozed".into(), "sales".into()));
}
