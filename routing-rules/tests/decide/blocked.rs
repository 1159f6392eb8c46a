//! Whom a rule blocks: on that channel only, kept and not decided, and heard again once somebody of ours says so.

use crate::life::{ANN, CHANNEL, Life};
use switchboard_envelope::{Action, ChannelProfile, Scope};
use switchboard_routing_rules::State;
use switchboard_routing_rules::event::{Event, Public};
use switchboard_routing_rules::pack::ConvStatus;

const PACK: &str = "
zone: UTC
queues: { q: {} }
agents: { ann: { capacity: 10 } }
replies: { hi: We read it. }
rules:
  - { name: Spam, when: { text: { word: casino } }, then: { block: true, close: true } }
  - { name: All, when: { text: { exists: true } }, then: { reply: hi } }
default: { queue: q }
";
const OTHER: &str = "other-sms";

fn life() -> Life {
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), PACK);
    life.leads_with(&[(OTHER, ChannelProfile::new("sms", "phone"))]);
    assert_eq!(heard(&mut life, CHANNEL, "spam", "my casino"), (true, true, 0));
    life
}

/// Whether it was received and decided, and how many replies it got.
fn heard(life: &mut Life, channel: &str, key: &str, text: &str) -> (bool, bool, usize) {
    let events = life.says(ANN, key, text, |m| {
        m.id = format!("{channel}:message:{key}");
        m.channel = channel.into();
    });
    let any = |f: fn(&Public) -> bool| events.iter().any(|e: &Event| f(&e.public));
    let sent = events.iter().filter(|e| matches!(e.public, Public::SendQueued { .. })).count();
    (any(|p| matches!(p, Public::Received { .. })), any(|p| matches!(p, Public::Decided { .. })), sent)
}

fn unblocks(life: &mut Life, scope: Scope, key: &str, channel: &str) -> (u16, String, usize) {
    let contact = life.state.contact_of(&switchboard_envelope::Address::new("phone", ANN)).to_string();
    let (tags, attributes, consent) = (Some(vec![format!("tag {key}")]), [].into(), [].into());
    let action = Action::UpdateContact { contact, tags, attributes, consent, unblock: vec![channel.into()] };
    let (reply, events) = life.asks_with(scope, key, action);
    let touched = events.iter().any(|e| matches!(e.public, Public::ContactTouched { .. }));
    assert_eq!(touched, reply.status == 200, "who is refused changes nothing");
    let freed = events.iter().filter(|e| matches!(&e.public, Public::Unblocked { by, .. } if by == "ann"));
    (reply.status, reply.code, freed.count())
}

fn snapshot(life: &mut Life) {
    let parts = life.state.to_parts().expect("a snapshot");
    State::check_public(&parts.public).expect("it says what it was made of");
    let again = State::from_parts(life.state.salt, &parts.public, &parts.private).expect("it reads");
    assert_eq!(again, life.state);
    life.state = again;
}

#[test]
fn a_blocked_sender_is_kept_and_not_decided_on_that_channel_only() {
    let mut life = life();
    for snapshots in [false, true] {
        if snapshots {
            snapshot(&mut life);
        }
        let key = format!("again {snapshots}");
        assert_eq!(heard(&mut life, CHANNEL, &key, "hello?"), (true, false, 0), "after a snapshot: {snapshots}");
        assert_eq!(life.status(), ConvStatus::Closed);
        assert_eq!(heard(&mut life, OTHER, &key, "hello"), (true, true, 1), "another channel hears them");
    }
    let events = life.says("+15551239999", "else", "hello", |_| {});
    assert!(events.iter().any(|e| matches!(e.public, Public::Decided { .. })), "somebody else is heard");
}

#[test]
fn whoever_is_unblocked_is_heard_and_routed_again_however_long_ago_it_was() {
    for days in [0, 30] {
        let mut life = life();
        life.passes(days * 86_400_000);
        snapshot(&mut life);
        assert_eq!(unblocks(&mut life, Scope::Agent, "1", CHANNEL), (403, "forbidden".into(), 0));
        assert_eq!(unblocks(&mut life, Scope::Supervisor, "2", "nowhere"), (422, "no_channel".into(), 0));
        assert_eq!(unblocks(&mut life, Scope::Supervisor, "3", OTHER), (200, String::new(), 0), "not blocked there");
        assert_eq!(heard(&mut life, CHANNEL, "still", "hello"), (true, false, 0));
        assert_eq!(unblocks(&mut life, Scope::Supervisor, "4", CHANNEL), (200, String::new(), 1));
        assert_eq!(unblocks(&mut life, Scope::Supervisor, "5", CHANNEL), (200, String::new(), 0), "once is enough");
        snapshot(&mut life);
        assert_eq!(heard(&mut life, CHANNEL, "again", "hello"), (true, true, 1), "{days} days later");
        assert_eq!(life.status(), ConvStatus::Queued);
    }
}
