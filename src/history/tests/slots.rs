//! What came and was answered, by quarters of an hour.

use super::{agent, assigned, consumed, conv, history_of, opened, received, send, story, t};
use crate::history::{SLOT_MS, Slot};
use switchboard_routing_rules::event::{ClockKind, Event, Public, Why};

#[tokio::test]
async fn what_happens_is_counted_by_slots_and_so_is_what_rules_did() {
    let dir = tempfile::tempdir().unwrap();
    let (_writer, h) = history_of(dir.path(), &story());
    let slots = h.slots(t(0)).await.unwrap();
    assert_eq!(slots.len(), 1, "all of it happened within a quarter of an hour");
    let Slot { arrived, answered, due, .. } = slots[0].1;
    assert_eq!(
        (arrived, answered, due),
        (2, 2, 0),
        "both asked and were answered, and nobody waits for the customer yet"
    );
    let hits = h.hits_since(t(0)).await.unwrap();
    assert_eq!((hits.get("Refunds"), hits.get("Greet")), (Some(&1), Some(&1)));
    assert!(h.hits_since(t(0).plus(SLOT_MS)).await.unwrap().is_empty());
}

/// A conversation of a customer who wrote, and for whom a first response is due.
fn asked(n: u32) -> Vec<Event> {
    let clock = Public::ClockSet { conv: conv(n), clock: ClockKind::FirstResponse, due: t(900), warn_at: None };
    vec![consumed(u64::from(n)), opened(n, "sms"), received(n, n, "hello"), clock.into()]
}

#[tokio::test]
async fn who_waits_is_counted_once_and_what_is_in_time_is_told_from_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let now = |ms: i64| Event::from(Public::Ticked { now: t(ms), relived: false });
    let pending = |n: u32| Event::from(Public::Pending { conv: conv(n), until: t(9_000_000) });
    let breached = Public::ClockBreached { conv: conv(2), clock: ClockKind::FirstResponse, again: t(99_000) };
    let frames = vec![
        (1, [super::channels()].into_iter().chain(asked(1)).chain(asked(2)).collect()),
        // One is answered ten seconds later, and writes again twice; of the other the time runs out.
        (2, vec![now(10_001), assigned(1, "ann", Why::Strategy), send(1, 10, "yes", agent("ann"), false), pending(1)]),
        (3, vec![now(20_000), received(1, 11, "and?"), received(1, 12, "hello?"), breached.into()]),
        (4, vec![now(30_000), send(2, 13, "sorry", agent("ann"), false), pending(2)]),
    ];
    let (_writer, h) = history_of(dir.path(), &frames);
    let slots = h.slots(t(0)).await.unwrap();
    let [(at, slot)] = slots.as_slice() else { panic!("{slots:?}") };
    assert_eq!(at.0 % SLOT_MS, 0);
    let waited_ms = 10_000 + 29_998;
    assert_eq!(*slot, Slot { arrived: 3, answered: 2, waited_ms, due: 2, in_time: 1 });
}
