//! What a send that did not leave says of its channel: of one recipient, of an address where nobody answers, or of all.

use crate::life::{CHANNEL, Life};
use switchboard_envelope::{Action, AttemptResult, ChannelProfile, Fault, Inbound, Outcome, Timestamp};
use switchboard_routing_rules::event::{Event, Public};

fn mailing() -> Life {
    Life::on(ChannelProfile { not_after_ms: 4 * 86_400_000, in_flight: 8, ..ChannelProfile::new("email", "phone") })
}

/// Somebody is written to; the send.
fn writes_to(life: &mut Life, who: &str) -> String {
    life.writes(who, who);
    life.answers_to(who, &format!("to {who}"), "hi").2
}

fn fails(life: &mut Life, send: &str, n: u32, fault: Option<Fault>) -> Vec<Event> {
    let ended = AttemptResult { fault, ..life.ended(send, n, Outcome::NotSent) };
    life.hears(&Inbound::Result(ended))
}

fn released(events: &[Event]) -> Vec<(String, u32)> {
    let of = |e: &Event| match &e.public {
        Public::Released { message, n, .. } => Some((message.to_string(), *n)),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

fn failures(life: &Life) -> u32 {
    life.state.channels[CHANNEL].failures
}

/// Lets time pass by seconds until something is released, at most so many.
fn waits(life: &mut Life, most: u64) -> Option<(u64, Vec<(String, u32)>)> {
    (1..=most).find_map(|second| {
        let sent = released(&life.passes(1000));
        (!sent.is_empty()).then_some((second, sent))
    })
}

#[test]
fn one_recipient_who_has_to_wait_holds_up_nobody_else() {
    let mut life = mailing();
    let grey = writes_to(&mut life, "grey");
    let (mut n, mut last) = (1, Timestamp(0));
    // Asked to come again for three days.
    let began = life.now;
    while life.now.0 - began.0 < 3 * 86_400_000 {
        let ended = fails(&mut life, &grey, n, Some(Fault::Recipient));
        let until = ended.iter().find_map(|e| match e.public {
            Public::AttemptEnded { retry_at, .. } => retry_at,
            _ => None,
        });
        let until = until.expect("it is tried again");
        assert!(until.0 - life.now.0 <= 18 * 60_000, "a quarter of an hour, with its jitter");
        assert_eq!(failures(&life), 0, "the channel works");
        let again = released(&life.passes(until.0 - life.now.0));
        assert_eq!(again, [(grey.clone(), n + 1)]);
        (n, last) = (n + 1, life.now);
    }
    assert!(last.0 - began.0 >= 3 * 86_400_000 && n > 200, "{n} attempts");
    let other = writes_to(&mut life, "other");
    assert!(life.state.sends.values().any(|s| s.id.to_string() == other && s.n == 1), "it leaves at once");
}

#[test]
fn a_recipient_who_has_to_wait_shows_that_a_failing_channel_works_again() {
    let mut life = mailing();
    let sends: Vec<String> = (0..6).map(|n| writes_to(&mut life, &format!("c{n}"))).collect();
    for send in sends.iter().take(5) {
        fails(&mut life, send, 1, None);
    }
    assert_eq!(failures(&life), 5);
    fails(&mut life, &sends[5], 1, Some(Fault::Recipient));
    assert_eq!((failures(&life), life.state.channels[CHANNEL].probe_at), (0, None));
}

#[test]
fn where_nobody_answers_is_looked_at_soon_and_then_less_often_up_to_once_a_minute() {
    let mut life = mailing();
    let sends: Vec<String> = (0..8).map(|n| writes_to(&mut life, &format!("c{n}"))).collect();
    for send in &sends {
        fails(&mut life, send, 1, Some(Fault::Unreachable));
    }
    let mut gaps = vec![];
    for _ in 0..20 {
        let (after, sent) = waits(&mut life, 70).expect("somebody looks");
        assert_eq!(sent.len(), 1, "one at a time: {sent:?}");
        gaps.push(after);
        let (send, n) = &sent[0];
        fails(&mut life, send, *n, Some(Fault::Unreachable));
    }
    assert!(gaps.iter().take(4).all(|gap| *gap <= 6), "a server that was away for a moment: {gaps:?}");
    assert!(gaps.iter().rev().take(6).all(|gap| (40..=62).contains(gap)), "and one that is away for long: {gaps:?}");
    let (_, sent) = waits(&mut life, 70).expect("somebody looks");
    life.hears(&Inbound::Result(life.ended(&sent[0].0, sent[0].1, Outcome::Accepted)));
    assert_eq!(failures(&life), 0);
}

#[test]
fn a_channel_that_fails_otherwise_admits_one_a_minute() {
    let mut life = mailing();
    let sends: Vec<String> = (0..8).map(|n| writes_to(&mut life, &format!("c{n}"))).collect();
    for send in &sends {
        fails(&mut life, send, 1, None);
    }
    let (after, sent) = waits(&mut life, 70).expect("a probe");
    assert!((50..=61).contains(&after) && sent.len() == 1, "{after} {sent:?}");
}

fn paused(life: &Life) -> Option<&str> {
    life.state.channels[CHANNEL].paused.as_deref()
}

#[test]
fn what_was_refused_is_tried_once_with_one_message_when_it_was_mended() {
    let mut life = mailing();
    let sends: Vec<String> = (0..3).map(|n| writes_to(&mut life, &format!("c{n}"))).collect();
    let refuse = |life: &mut Life, send: &str, n: u32| {
        let detail = Some("check `smtp.password`".to_owned());
        let ended = AttemptResult { channel_refused: true, detail, ..life.ended(send, n, Outcome::NotSent) };
        life.hears(&Inbound::Result(ended))
    };
    for send in &sends {
        refuse(&mut life, send, 1);
    }
    assert_eq!(paused(&life), Some("check `smtp.password`"));
    assert_eq!(released(&life.passes(3_600_000)), []);
    let mended = |life: &mut Life, key: &str| {
        let (reply, events) = life.asks(key, Action::ResumeChannel { target: CHANNEL.into(), mended: true });
        (reply.status, released(&events))
    };
    // It is no better: one login for one change.
    let (status, tried) = mended(&mut life, "1");
    let [(send, 2)] = &tried[..] else { panic!("one attempt: {tried:?}") };
    assert_eq!((status, paused(&life)), (200, None));
    assert_eq!(released(&life.passes(1_000)), [], "the others wait for how it ends");
    assert_eq!(released(&refuse(&mut life, send, 2)), []);
    assert!(paused(&life).is_some() && released(&life.passes(3_600_000)).is_empty());
    // Now it is right, and whoever waits goes on.
    let (_, tried) = mended(&mut life, "2");
    let [(send, n)] = &tried[..] else { panic!("one attempt: {tried:?}") };
    let accepted = life.ended(send, *n, Outcome::Accepted);
    let others = released(&life.hears(&Inbound::Result(accepted)));
    assert_eq!((others.len(), failures(&life), paused(&life)), (2, 0, None));
    // Nothing is refused, and then somebody wants it to rest.
    assert_eq!(mended(&mut life, "3"), (409, vec![]));
    life.asks("pause", Action::PauseChannel { target: CHANNEL.into() });
    assert_eq!((mended(&mut life, "4"), paused(&life)), ((409, vec![]), Some("paused by an operator")));
}
