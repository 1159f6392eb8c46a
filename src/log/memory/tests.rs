//! The conformance suite over the log in memory, and its faults: a fault that never happens would prove nothing.

use super::{Fate, Faults, MemoryLog, MemoryOptions, Room};
use crate::log::{
    Claim, Class, Commit, Ingested, Log, LogError,
    conformance::{Backend, conformance_suite, frame, ingest, record, send, seqs, take, texts},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use switchboard_envelope::Timestamp;

struct InMemory(MemoryLog);

impl InMemory {
    fn new() -> InMemory {
        InMemory(MemoryLog::new(&MemoryOptions::default()))
    }
}

#[async_trait]
impl Backend for InMemory {
    async fn open_limited(&self, in_max_bytes: u64) -> Arc<dyn Log> {
        self.0.shared.lock().store.in_max_bytes = in_max_bytes;
        self.0.crash();
        Arc::new(self.0.clone())
    }
}

conformance_suite!(InMemory::new());

fn log(seed: u64, faults: Faults) -> MemoryLog {
    MemoryLog::new(&MemoryOptions { seed, faults, ..MemoryOptions::default() })
}

const EVERYTHING: Faults = Faults {
    forget_duplicate: 100,
    answer_lost: 150,
    request_lost: 150,
    late: 150,
    lost_read: 100,
    redeliver: 200,
    ack_lost: 300,
    half: 100,
    leader_unseen: 100,
    overtaken: 200,
};

#[tokio::test]
async fn a_lost_answer_hides_what_happened() {
    let log = log(1, Faults::default());
    log.force(Fate::AnswerLost);
    assert!(matches!(log.ingest(record("a", Class::Message)).await, Err(LogError::Unavailable(_))));
    assert_eq!(ingest(&log, "a").await, Ingested::Duplicate);
    log.force(Fate::RequestLost);
    assert!(matches!(log.ingest(record("b", Class::Message)).await, Err(LogError::Unavailable(_))));
    assert_eq!(ingest(&log, "b").await, Ingested::Stored(2));
    log.force(Fate::AnswerLost);
    assert!(matches!(log.commit(0, frame("ours", 1, vec![send("sms", 1)])).await, Commit::Unknown(_)));
    assert_eq!(log.commit(0, frame("ours", 1, vec![send("sms", 1)])).await, Commit::Conflict);
    log.force(Fate::AnswerLost);
    assert!(log.claim("sms.s1.1.1", "edge").await.is_err());
    assert_eq!(log.claim("sms.s1.1.1", "edge").await, Ok(Claim::Ours));
    assert_eq!(log.claim("sms.s1.1.1", "other").await, Ok(Claim::Taken));
}

#[tokio::test]
async fn a_late_frame_lands_after_a_read_that_did_not_see_it() {
    let log = log(1, Faults::default());
    log.force(Fate::Late);
    assert!(matches!(log.commit(0, frame("late", 1, vec![])).await, Commit::Unknown(_)));
    let mut reads = 0;
    while log.read_log(0, 1).await.expect("read").is_empty() {
        reads += 1;
        assert!(reads < 10, "it never lands");
    }
    assert_eq!(texts(&log.read_log(0, 1).await.expect("read")), ["late"]);
    log.force(Fate::Late);
    assert!(matches!(log.commit(1, frame("too late", 1, vec![])).await, Commit::Unknown(_)));
    assert_eq!(log.commit(1, frame("in time", 1, vec![])).await, Commit::Done(2));
    log.land_late();
    assert_eq!(
        texts(&log.read_log(0, 9).await.expect("read")),
        ["late", "in time"],
        "compare and swap holds for it too"
    );
}

/// Writes as the router must: the same bytes until the fate of the frame is known.
async fn commit_surely(log: &MemoryLog, expected: u64, text: &str, sends: u64) {
    loop {
        let out_first = expected * sends + 1;
        let sends = (0..sends).map(|n| send("sms", out_first + n)).collect();
        match log.commit(expected, frame(text, out_first, sends)).await {
            Commit::Done(seq) => return assert_eq!(seq, expected + 1),
            Commit::Unknown(_) => {}
            Commit::Conflict => loop {
                if let Ok(there) = log.read_log(expected, 1).await {
                    return assert_eq!(texts(&there), [text], "a conflict with nobody but ourselves");
                }
            },
        }
    }
}

#[tokio::test]
async fn repeating_the_same_bytes_appends_each_frame_once_under_every_fault() {
    for seed in 0..200 {
        let log = log(seed, EVERYTHING);
        for n in 0..40 {
            commit_surely(&log, n, &format!("frame {n}"), 2).await;
            if n % 13 == 0 {
                log.crash();
            }
        }
        log.land_late();
        log.set_faults(Faults::default());
        let expected: Vec<_> = (0..40).map(|n| format!("frame {n}")).collect();
        assert_eq!(texts(&log.read_log(0, 100).await.expect("read")), expected, "seed {seed}");
        assert_eq!(log.out_last().await, Ok(80), "seed {seed}");
    }
}

#[tokio::test]
async fn every_fault_happens_and_none_loses_what_was_acknowledged() {
    let log = log(7, EVERYTHING);
    let (mut acknowledged, mut refused, mut late) = (Vec::new(), 0, 0);
    for n in 0..500 {
        let id = format!("sms:message:{}", n % 400);
        match log.ingest(record(&id, Class::Message)).await {
            Ok(_) => acknowledged.push(id),
            Err(_) => refused += 1,
        }
        late = late.max(log.late());
    }
    log.crash();
    log.set_faults(Faults::default());
    let there = log.read_in(0, 1000).await.expect("read");
    let data = texts(&there);
    assert_eq!(seqs(&there), (1..=there.len() as u64).collect::<Vec<_>>());
    assert!(acknowledged.iter().all(|id| data.contains(&format!("data of {id}"))));
    let forgotten = data.iter().collect::<std::collections::BTreeSet<_>>().len() < data.len();
    assert!(refused > 100 && late > 1 && forgotten, "{refused} {late} {forgotten}");
}

#[tokio::test]
async fn an_outbox_repeats_and_never_skips() {
    let log = log(3, Faults { redeliver: 300, ack_lost: 300, lost_read: 100, ..Faults::default() });
    let sends = (0..50).map(|n| send(if n % 3 == 0 { "chat" } else { "sms" }, n)).collect();
    assert_eq!(log.commit(0, frame("frame", 1, sends)).await, Commit::Done(1));
    let mut outbox = log.outbox("sms").await.expect("outbox");
    let (mut highest, mut repeats, mut new) = (0, 0, Vec::new());
    while new.len() < 33 {
        let Ok(records) = outbox.next(4).await else { continue };
        for one in records {
            assert_eq!(one.channel, "sms");
            repeats += u64::from(one.seq <= highest);
            if one.seq > highest {
                highest = one.seq;
                new.push(one.data);
            }
            outbox.ack(one.seq).await.expect("ack");
        }
    }
    let expected: Vec<_> = (0..50).filter(|n| n % 3 != 0).map(|n| Bytes::from(format!("send {n}"))).collect();
    assert_eq!(new, expected, "in order, with nothing left out");
    assert!(repeats > 0);
    log.set_faults(Faults::default());
    let mut other = log.outbox("sms").await.expect("outbox");
    let again = other.next(100).await.expect("lost acknowledgements come again");
    assert!(!again.is_empty() && again.len() < 33);
}

#[tokio::test]
async fn an_outbox_of_a_killed_process_takes_nothing() {
    let log = log(3, Faults::default());
    let mut outbox = log.outbox("sms").await.expect("outbox");
    let waiting = tokio::spawn(async move { (outbox.next(1).await, outbox.ack(1).await) });
    tokio::task::yield_now().await;
    log.crash();
    let (next, ack) = waiting.await.expect("task");
    assert!(next.is_err() && ack.is_err());
    log.commit(0, frame("frame", 1, vec![send("sms", 1)])).await;
    assert_eq!(take(&mut *log.outbox("sms").await.expect("outbox"), 1).await.len(), 1);
}

#[tokio::test]
async fn records_that_come_again_come_in_any_order_and_new_ones_in_theirs() {
    let log = log(5, Faults { redeliver: 400, ..Faults::default() });
    let mut outbox = log.outbox("sms").await.expect("outbox");
    let (mut seen, mut shuffled) = (0, 0);
    for n in 0..60_u64 {
        log.commit(n, frame("frame", n + 1, vec![send("sms", n + 1)])).await;
        let page: Vec<u64> = outbox.next(100).await.expect("records").iter().map(|r| r.seq).collect();
        let (new, again): (Vec<u64>, Vec<u64>) = page.iter().partition(|seq| **seq > seen);
        assert!(new.is_sorted(), "{new:?}");
        shuffled += usize::from(!again.is_sorted());
        seen = seen.max(*page.iter().max().expect("a record"));
    }
    assert!(seen > 50 && shuffled > 5, "{shuffled} pages of {seen} records");
}

#[tokio::test]
async fn a_full_disk_takes_what_removes_and_recovers() {
    let log = log(1, Faults::default());
    ingest(&log, "a").await;
    log.set_room(Room::ForVital);
    assert!(matches!(log.ingest(record("b", Class::Message)).await, Err(LogError::Full(_))));
    assert_eq!(log.ingest(record("c", Class::Vital)).await, Ok(Ingested::Stored(2)));
    log.set_room(Room::None);
    assert!(matches!(log.ingest(record("d", Class::Vital)).await, Err(LogError::Full(_))));
    assert!(matches!(log.commit(0, frame("frame", 1, vec![])).await, Commit::Unknown(_)));
    assert_eq!(log.log_bounds().await, Ok((1, 0)));
    log.trim_in(1).await.expect("trim");
    log.set_room(Room::Enough);
    assert_eq!(log.commit(0, frame("frame", 1, vec![])).await, Commit::Done(1));
    assert_eq!(log.ingest(record("d", Class::Vital)).await, Ok(Ingested::Stored(3)));
}

#[tokio::test]
async fn the_clock_is_the_one_that_was_set() {
    let log = log(1, Faults::default());
    log.set_now(Timestamp(5_000));
    ingest(&log, "a").await;
    log.set_now(Timestamp(4_000));
    ingest(&log, "b").await;
    let times: Vec<_> = log.read_in(0, 9).await.expect("read").iter().map(|r| r.at).collect();
    assert_eq!(times, [Timestamp(5_000), Timestamp(5_000)]);
    assert_eq!(log.now().await, Ok(Timestamp(4_000)));
}

#[tokio::test]
async fn the_same_seed_tells_the_same_story() {
    async fn story(seed: u64) -> Vec<String> {
        let log = log(seed, EVERYTHING);
        let mut told = Vec::new();
        for n in 0..200_u64 {
            told.push(format!("{:?}", log.ingest(record(&format!("{}", n % 50), Class::Message)).await));
            let (_, last) = log.log_bounds().await.unwrap_or_default();
            let out = log.out_last().await.unwrap_or_default();
            told.push(format!("{:?}", log.commit(last, frame("frame", out + 1, vec![send("sms", n)])).await));
            told.push(format!("{:?}", log.claim(&format!("sms.s{}.1.1", n / 2), &format!("{n}")).await));
        }
        told
    }
    assert_eq!(story(11).await, story(11).await);
    assert_ne!(story(11).await, story(12).await);
}
