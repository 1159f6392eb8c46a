//! Attempts: what a verdict at their end leads to, how often they are made again, and how many at once.

use crate::life::{CHANNEL, Life, dead, released};
use std::collections::BTreeSet;
use switchboard_envelope::{Action, AttemptResult, ChannelProfile, Inbound, Outcome, Timestamp};
use switchboard_routing_rules::event::{DeadReason, Event, Public};
use switchboard_routing_rules::ids::MessageId;
use switchboard_routing_rules::pack::ConvStatus;
use switchboard_routing_rules::state::Phase;
use switchboard_routing_rules::{Input, Verdict, decide};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60_000;
/// The longest wait between two attempts, before a fifth of jitter.
const LONGEST: i64 = 15 * MINUTE;

fn verdict(life: &mut Life, send: &str, n: u32, verdict: Verdict) -> Vec<Event> {
    let message = MessageId::parse(send).expect("an id");
    let decision =
        decide(life.state.clone(), &Input::Verdict { now: life.now, message, part: 1, n, verdict }, &life.pack);
    life.state = decision.after;
    decision.events
}

fn phase(life: &Life, send: &str) -> Option<Phase> {
    life.state.sends.get(&MessageId::parse(send).expect("an id")).map(|s| s.phase.clone())
}

/// The attempts that were released, as their send and number.
fn attempts(events: &[Event]) -> Vec<(String, u32)> {
    let attempt = |e: &Event| match &e.public {
        Public::Released { message, n, .. } => Some((message.to_string(), *n)),
        _ => None,
    };
    events.iter().filter_map(attempt).collect()
}

fn retry_at(events: &[Event]) -> Option<Timestamp> {
    events.iter().find_map(|e| match e.public {
        Public::AttemptEnded { retry_at, .. } => retry_at,
        _ => None,
    })
}

fn in_flight(life: &Life) -> u32 {
    life.state.channels.get(CHANNEL).expect("the channel").in_flight
}

/// As many customers, each of whom was answered once; the sends.
fn answered(life: &mut Life, customers: u32) -> Vec<String> {
    let one = |life: &mut Life, n: u32| {
        let who = format!("+1555000{n:04}");
        life.writes(&who, &format!("SM{n}"));
        life.answers_to(&who, &n.to_string(), "hi").2
    };
    (0..customers).map(|n| one(life, n)).collect()
}

fn fails(life: &mut Life, send: &str, n: u32) -> Vec<Event> {
    let result = life.ended(send, n, Outcome::NotSent);
    life.hears(&Inbound::Result(result))
}

#[test]
fn an_attempt_that_nobody_claimed_is_made_again_at_once_and_not_given_up() {
    let mut life = Life::new();
    life.customer("SM1");
    let send = life.answers("1", "hi").2;
    let Some(Phase::InFlight { until }) = phase(&life, &send) else { panic!("it is released") };
    life.now = until;
    let events = verdict(&mut life, &send, 1, Verdict::NotSent);
    assert_eq!((dead(&events), retry_at(&events)), (vec![], Some(until)), "{events:?}");
    assert_eq!(attempts(&life.passes(0)), [(send.clone(), 2)], "under the next number, which has a claim of its own");
    // What a late edge, whose claim was refused, or an older one may still say of the first attempt changes nothing.
    for outcome in [Outcome::Accepted, Outcome::Rejected, Outcome::NotSent, Outcome::Unknown] {
        let late = Inbound::Result(life.ended(&send, 1, outcome));
        let events = life.hears(&late);
        assert!(matches!(events.last().map(|e| &e.public), Some(Public::Ignored { .. })), "{outcome:?}: {events:?}");
        assert!(matches!(phase(&life, &send), Some(Phase::InFlight { .. })), "{outcome:?}");
    }
}

#[test]
fn a_verdict_on_an_attempt_whose_result_came_first_changes_nothing() {
    for (outcome, n) in [(Outcome::Accepted, 1), (Outcome::Rejected, 1), (Outcome::NotSent, 1), (Outcome::Unknown, 1)] {
        for verdict_of in [Verdict::NotSent, Verdict::Unknown] {
            let mut life = Life::new();
            life.customer("SM1");
            let send = life.answers("1", "hi").2;
            life.result(&send, outcome, false, &[]);
            let before = phase(&life, &send);
            let events = verdict(&mut life, &send, n, verdict_of);
            assert!(matches!(events[..], [Event { public: Public::Ticked { .. }, .. }]), "{outcome:?}: {events:?}");
            assert_eq!(phase(&life, &send), before, "{outcome:?}");
        }
    }
}

#[test]
fn what_nobody_claimed_until_it_is_too_late_ends_as_unsent() {
    let mut life = Life::on(ChannelProfile { not_after_ms: 30 * SECOND, ..ChannelProfile::new("sms", "phone") });
    life.customer("SM1");
    let send = life.answers("1", "hi").2;
    life.now = life.now.plus(30 * SECOND);
    let events = verdict(&mut life, &send, 1, Verdict::NotSent);
    assert_eq!(dead(&events), [DeadReason::Expired]);
    assert!(released(&life.passes(MINUTE)).is_empty());
}

#[test]
fn what_may_have_been_claimed_is_parked_and_never_made_again_by_itself() {
    let mut life = Life::new();
    life.customer("SM1");
    let send = life.answers("1", "hi").2;
    assert_eq!(dead(&verdict(&mut life, &send, 1, Verdict::Unknown)), [DeadReason::Unknown]);
    for _ in 0..48 {
        assert!(released(&life.passes(3_600_000)).is_empty(), "only a person resends it");
    }
}

#[test]
fn a_channel_that_fails_is_probed_once_a_minute_and_not_hammered() {
    let mut life = Life::new();
    let sends = answered(&mut life, 8);
    assert_eq!(in_flight(&life), 8);
    let mut made = vec![];
    for send in &sends {
        made.extend(attempts(&fails(&mut life, send, 1)));
    }
    let mut at = vec![];
    for _ in 0..600 {
        made.extend(attempts(&life.passes(SECOND)));
        for (send, n) in std::mem::take(&mut made) {
            at.push(life.now);
            made.extend(attempts(&fails(&mut life, &send, n)));
        }
        assert!(in_flight(&life) <= 1, "one probe");
    }
    let apart: Vec<i64> = at.windows(2).map(|w| w[1].since(w[0])).collect();
    assert!(apart.iter().all(|ms| *ms >= MINUTE), "{apart:?}");
    assert!(at.len() >= 8, "but it is probed: {at:?}");
    // It works again: everything that waits goes.
    let mut released = vec![];
    while released.is_empty() {
        released = attempts(&life.passes(SECOND));
    }
    let works = Inbound::Result(life.ended(&released[0].0, released[0].1, Outcome::Accepted));
    let mut events = life.hears(&works);
    events.extend(life.passes(LONGEST * 6 / 5));
    assert_eq!(attempts(&events).len(), 7, "{:?}", attempts(&events));
}

#[test]
fn a_probe_without_an_answer_lets_nothing_else_through() {
    let mut life = Life::on(ChannelProfile { send_timeout_ms: 5 * MINUTE, ..ChannelProfile::new("sms", "phone") });
    let sends = answered(&mut life, 8);
    sends.iter().for_each(|send| drop(fails(&mut life, send, 1)));
    let mut probes = 0;
    for _ in 0..240 {
        probes += released(&life.passes(SECOND)).len();
    }
    assert_eq!(probes, 1, "its answer is waited for");
    assert_eq!(in_flight(&life), 1);
}

#[test]
fn a_refusal_that_the_provider_answers_is_no_failure_of_the_channel() {
    let mut life = Life::new();
    let sends = answered(&mut life, 8);
    for send in &sends[..7] {
        life.result(send, Outcome::Rejected, false, &[]);
    }
    assert_eq!(life.state.channels.get(CHANNEL).map(|c| (c.failures, c.probe_at)), Some((0, None)));
}

#[test]
fn no_more_is_released_at_once_than_the_channel_takes() {
    let mut life = Life::on(ChannelProfile { in_flight: 3, ..ChannelProfile::new("sms", "phone") });
    let mut waiting: Vec<String> = answered(&mut life, 10);
    let mut open: Vec<String> = waiting.drain(..3).collect();
    let flying = |life: &Life, send: &String| matches!(phase(life, send), Some(Phase::InFlight { .. }));
    assert!(open.iter().all(|s| flying(&life, s)) && !waiting.iter().any(|s| flying(&life, s)));
    while let Some(send) = open.pop() {
        let events = life.result(&send, Outcome::Accepted, false, &[]);
        let next: Vec<String> = attempts(&events).into_iter().map(|(send, _)| send).collect();
        assert_eq!(next.len(), usize::from(!waiting.is_empty()), "one goes, one comes: {next:?}");
        assert_eq!(next.first(), waiting.first(), "the one that waited longest");
        waiting.drain(..next.len());
        open.extend(next);
        assert!(in_flight(&life) <= 3);
    }
    assert!(waiting.is_empty(), "and each had its turn");
}

/// The waits that follow one failure after the other.
fn waits(life: &mut Life, send: &str, tries: u32) -> Vec<i64> {
    let mut waits = vec![];
    for n in 1..=tries {
        let events = fails(life, send, n);
        let at = retry_at(&events).expect("it is tried again");
        waits.push(at.since(life.now));
        // A channel that fails is probed, so it may be a minute more.
        let (due, mut events) = (at.since(life.now), vec![]);
        for pause in [due - 1, 1, MINUTE] {
            let came = life.passes(pause);
            assert!(pause != due - 1 || released(&came).is_empty(), "not before its time");
            events.extend(came);
        }
        assert_eq!(released(&events), [n + 1]);
    }
    waits
}

#[test]
fn retries_grow_apart_up_to_a_limit_so_that_no_provider_is_hammered() {
    let profile = ChannelProfile { not_after_ms: 240 * 60 * MINUTE, ..ChannelProfile::new("sms", "phone") };
    let mut life = Life::on(profile);
    life.customer("SM1");
    let send = life.answers("1", "hi").2;
    let waits = waits(&mut life, &send, 30);
    for (tries, wait) in waits.iter().enumerate() {
        let base = ((2 * SECOND) << tries.min(20)).min(LONGEST);
        assert!((base * 4 / 5..=base * 6 / 5).contains(wait), "retry {tries}: {wait} of {base}");
    }
    assert!(waits.iter().collect::<BTreeSet<_>>().len() > 25, "jitter also where it grows no longer: {waits:?}");
}

#[test]
fn sends_that_failed_together_are_not_tried_again_together() {
    let mut life = Life::new();
    let sends = answered(&mut life, 4);
    let mut waits = BTreeSet::new();
    for send in &sends {
        let events = fails(&mut life, send, 1);
        waits.insert(retry_at(&events).expect("a retry").since(life.now));
    }
    assert_eq!(waits.len(), 4, "{waits:?}");
}

#[test]
fn a_provider_that_says_when_is_not_asked_before() {
    for (said, least) in [(600_000, 600_000), (1, 1_600), (u64::MAX, 1_600)] {
        let mut life = Life::new();
        life.customer("SM1");
        let send = life.answers("1", "hi").2;
        let result = AttemptResult { retry_after_ms: Some(said), ..life.ended(&send, 1, Outcome::NotSent) };
        let events = life.hears(&Inbound::Result(result));
        let wait = retry_at(&events).expect("a retry").since(life.now);
        assert!((least..=least.max(2_400)).contains(&wait), "{said}: {wait}");
        assert!(released(&life.passes(least - 1)).is_empty(), "{said}");
    }
}

#[test]
fn what_cannot_leave_in_time_is_a_dead_letter_and_does_not_wait_for_ever() {
    let hour = ChannelProfile { not_after_ms: 60 * MINUTE, ..ChannelProfile::new("sms", "phone") };
    // Tried again and again.
    let mut life = Life::on(hour.clone());
    life.customer("SM1");
    let send = life.answers("1", "hi").2;
    let (mut n, accepted) = (1, life.now);
    let mut events = fails(&mut life, &send, n);
    while dead(&events).is_empty() {
        events = life.passes(SECOND);
        for (send, next) in attempts(&events) {
            n = next;
            events.extend(fails(&mut life, &send, n));
        }
    }
    assert_eq!(dead(&events), [DeadReason::Expired]);
    assert!(n > 6 && life.now.since(accepted) <= 60 * MINUTE, "{n}");
    // Never tried.
    let mut life = Life::on(hour);
    life.asks("pause", Action::PauseChannel { target: CHANNEL.into() });
    life.customer("SM1");
    life.answers("1", "hi");
    assert_eq!(dead(&life.passes(60 * MINUTE - 1)), []);
    let events = life.passes(1);
    assert_eq!((dead(&events), released(&events)), (vec![DeadReason::Expired], vec![]));
    assert!(life.state.sends.values().all(|s| s.is_dead()), "and it is listed");
}

#[test]
fn an_attempt_never_starts_after_its_message_is_too_late() {
    let mut life = Life::on(ChannelProfile { not_after_ms: 30 * SECOND, ..ChannelProfile::new("sms", "phone") });
    life.customer("SM1");
    let send = life.answers("1", "hi").2;
    let queued = life.now;
    assert_eq!(phase(&life, &send), Some(Phase::InFlight { until: queued.plus(30 * SECOND) }));
    let result = AttemptResult { retry_after_ms: Some(40_000), ..life.ended(&send, 1, Outcome::NotSent) };
    let events = life.hears(&Inbound::Result(result));
    assert_eq!((dead(&events), retry_at(&events)), (vec![DeadReason::Expired], None));
}

#[test]
fn what_comes_on_a_removed_channel_is_kept_apart_and_not_routed() {
    let mut life = Life::new();
    life.customer("SM1");
    life.leads_without_channels();
    let before = life.state.conversations.len();
    let events = life.says("+15551239999", "SM2", "hello", |_| {});
    let kept = events.iter().any(|e| {
        matches!(&e.public, Public::Quarantined { seq, reason, .. }
            if *seq == life.seq && reason.contains("not in the configuration"))
    });
    assert!(kept && life.state.quarantine.contains_key(&life.seq), "{events:?}");
    assert_eq!(life.state.conversations.len(), before);
    let echo = life.echo("SM3", "from the provider's tool", life.now);
    assert!(echo.iter().any(|e| matches!(e.public, Public::Quarantined { .. })), "{echo:?}");
}

#[test]
fn a_reply_on_a_removed_channel_is_refused_and_not_parked() {
    let mut life = Life::new();
    life.customer("SM1");
    life.leads_without_channels();
    let (status, code, send) = life.answers("1", "hi");
    assert_eq!((status, code.as_str(), send.as_str()), (422, "no_channel", ""));
    assert!(life.state.sends.is_empty());
}

#[test]
fn what_a_removed_channel_left_open_ends_as_a_dead_letter_and_can_still_turn_out_sent() {
    for (said, end) in
        [(Verdict::NotSent, vec![DeadReason::ChannelRemoved]), (Verdict::Unknown, vec![DeadReason::Unknown])]
    {
        let mut life = Life::new();
        life.customer("SM1");
        let send = life.answers("1", "hi").2;
        life.answers("2", "behind it");
        life.leads_without_channels();
        assert_eq!(dead(&verdict(&mut life, &send, 1, said)), end);
        let events = life.passes(25 * 60 * MINUTE);
        assert_eq!((dead(&events), released(&events)), (vec![DeadReason::ChannelRemoved], vec![]), "{said:?}");
    }
    let mut life = Life::new();
    life.customer("SM1");
    let send = life.answers("1", "hi").2;
    life.leads_without_channels();
    let events = life.result(&send, Outcome::Accepted, false, &["P1"]);
    assert!(events.iter().any(|e| matches!(e.public, Public::Sent { .. })), "{events:?}");
}

#[test]
fn an_attempt_ends_within_ten_minutes_however_long_a_call_may_take() {
    for (timeout, most) in [(SECOND, 2 * MINUTE), (3 * MINUTE, 6 * MINUTE), (60 * MINUTE, 10 * MINUTE)] {
        let profile = ChannelProfile { send_timeout_ms: timeout, ..ChannelProfile::new("sms", "phone") };
        let mut life = Life::on(profile);
        life.customer("SM1");
        life.answers("1", "hi");
        let send = life.state.sends.values().next().expect("a send");
        let Phase::InFlight { until } = send.phase else { panic!("{send:?}") };
        assert_eq!(until, life.now.plus(most), "a call may take {timeout} ms");
    }
}

#[test]
fn an_answer_that_may_have_been_sent_brings_its_conversation_back() {
    let mut life = Life::new();
    life.customer("SM1");
    let send = life.answers("1", "hi").2;
    assert_eq!(life.status(), ConvStatus::Pending);
    let events = life.result(&send, Outcome::Unknown, false, &[]);
    assert_eq!(dead(&events), [DeadReason::Unknown]);
    assert_eq!(life.status(), ConvStatus::Queued, "somebody has to look at it");
}
