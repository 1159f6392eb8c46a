//! What becomes of the state's times when a clock that was ahead is set right.

use crate::life::{CHANNEL, Life};
use switchboard_envelope::{
    Action, Address, AttemptResult, ChannelProfile, Inbound, Outcome, Receipt, ReceiptStatus, Timestamp,
};
use switchboard_routing_rules::event::Public;
use switchboard_routing_rules::{Input, decide};

const YEAR: i64 = 365 * 86_400_000;
const PACK: &str = "
zone: UTC
queues:
  q: { sla: { first_response: 15m, resolution: 8h, warn: 80% }, overflow: [{ after: 5m, skills: [] }] }
  asked: { offer: { timeout: 60s } }
agents: { ann: { capacity: 2 }, bob: { capacity: 1 }, eve: {} }
replies: { hi: Hello }
rules: [{ name: Hello, when: { new: true }, then: { reply: hi } }]
default: { queue: q }
";

/// Something of everything that has a time: places in queues, an offer that was declined and the next, waits, sends in every phase,
/// receipts, an agent who left.
fn busy(life: &mut Life) {
    let presence = |agent: &str, p: &str| Action::Presence { agent: agent.into(), presence: p.into() };
    life.asks("1", presence("ann", "available"));
    life.asks("2", presence("bob", "available"));
    for who in ["a", "b", "c", "d", "e", "g"] {
        life.writes(who, who);
    }
    let to = |life: &Life, who: &str, queue: &str| Action::Transfer {
        conversation: life.conversation_of(who),
        to: switchboard_envelope::Destination::Queue(queue.into()),
    };
    let transfer = to(life, "d", "asked");
    life.asks("3", transfer);
    let (conversation, until) = (life.conversation_of("b"), life.now.plus(3_600_000));
    life.asks("5", Action::Snooze { conversation, until });
    let offer = life.state.offers().next().expect("an offer").0.to_string();
    life.asks("4", Action::DeclineOffer { offer });
    let (_, _, accepted) = life.answers_to("c", "6", "hi");
    let (_, _, refused) = life.answers_to("a", "7", "hi");
    life.answers_to("a", "8", "behind it");
    let first: Vec<String> = life.state.sends.values().filter(|s| s.n == 1).map(|s| s.id.to_string()).collect();
    for send in first.iter().filter(|s| **s != refused && **s != accepted) {
        life.result(send, Outcome::Accepted, false, &[send]);
    }
    life.result(&accepted, Outcome::Accepted, false, &["SM1"]);
    let lost = life.ended(&refused, 1, Outcome::NotSent);
    life.hears(&Inbound::Result(AttemptResult { retry_after_ms: Some(60_000), ..lost }));
    life.hears(&Inbound::Receipt(Receipt {
        thread: None,
        id: format!("{CHANNEL}:receipt:SM9"),
        channel: CHANNEL.into(),
        provider_id: "SM9".into(),
        send: None,
        part: None,
        n: None,
        status: ReceiptStatus::Read,
        at: life.now,
        code: None,
        detail: None,
    }));
    life.asks("9", presence("ann", "offline"));
    life.hears(&Inbound::Echo(Box::new(switchboard_envelope::Echo {
        id: format!("{CHANNEL}:echo:1"),
        channel: CHANNEL.into(),
        thread: "f".into(),
        at: life.now,
        provider_id: "SM8".into(),
        send: None,
        part: None,
        n: None,
        to: Address::new("phone", "f"),
        content: switchboard_envelope::Content::text("hello"),
    })));
}

fn tick(life: &mut Life, now: Timestamp) -> bool {
    let decision = decide(life.state.clone(), &Input::Timers { now }, &life.pack);
    life.state = decision.after;
    life.now = now;
    decision.events.iter().any(|e| matches!(e.public, Public::TimeSetBack { .. }))
}

fn life() -> Life {
    Life::with(ChannelProfile { proactive: true, ..ChannelProfile::new("sms", "phone") }, PACK)
}

#[test]
fn a_clock_that_was_ahead_for_a_moment_leaves_no_trace_in_the_times() {
    let (mut steady, mut ahead) = (life(), life());
    busy(&mut steady);
    ahead.now = ahead.now.plus(YEAR);
    busy(&mut ahead);
    let now = steady.now;
    assert!(!tick(&mut steady, now) && tick(&mut ahead, now));
    // The cursor says which record of IN it is, by the time that the log gave it.
    assert_eq!(ahead.state.cursor.at, now.plus(YEAR));
    ahead.state.cursor = steady.state.cursor;
    assert_eq!(ahead.state, steady.state);
    assert!(ahead.state.next_timer().is_some_and(|at| at < now.plus(60_000)), "what waits does not wait for a year");
}

#[test]
fn what_was_due_before_the_clock_went_ahead_comes_no_later() {
    let mut life = life();
    busy(&mut life);
    let deadlines = |life: &Life| -> Vec<_> {
        let conversations = life.state.conversations.values().map(|c| c.next_deadline());
        conversations.chain(life.state.sends.values().map(|s| s.next_deadline())).collect()
    };
    let (before, now) = (deadlines(&life), life.now);
    life.state.now = now.plus(YEAR);
    life.state.apply(&Public::TimeSetBack { now }.into());
    for (after, before) in deadlines(&life).iter().zip(&before) {
        assert!(after <= before, "{after:?} was {before:?}");
    }
}

#[test]
fn a_small_step_back_of_the_clock_is_waited_out() {
    let mut life = life();
    busy(&mut life);
    let now = life.now;
    assert!(!tick(&mut life, now.plus(-60_000)));
    assert_eq!(life.state.now, now);
}
