//! A lane over the log in memory: what it waits for, and what it does once only.

use super::{Caller, Lane, Limits, process_name, process_of, spawn};
use crate::clock;
use crate::inbound::blob_scope;
use crate::log::memory::{Faults, MemoryLog, MemoryOptions, Parts};
use crate::log::{Claim, Commit, FrameWrite, Log, OutRecord};
use crate::metrics::Metrics;
use async_trait::async_trait;
use bytes::Bytes;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use switchboard_adapter_sdk::{
    Adapter, Answer, AttemptOutcome, Call, CallBody, CallError, RawRequest, Transport, Verdict,
};
use switchboard_envelope::{
    Address, Attachment, Author, BlobRef, ChannelProfile, Content, Inbound, Outbound, Outcome, Raw, Reconcile,
    Send as SendRecord, Timestamp,
};
use switchboard_routing_rules::State;
use switchboard_routing_rules::ids::Salt;
use tokio::sync::watch;

/// A provider that counts what it is asked.
#[derive(Default)]
struct Counts(AtomicU32);

#[async_trait]
impl Caller for Counts {
    async fn call(&self, _: Call) -> Answer {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(CallError::Lost("no answer".into()))
    }
}

struct Plain;

impl Adapter for Plain {
    fn profile(&self) -> ChannelProfile {
        ChannelProfile { reconciles: true, reconcile_ms: 30_000, ..ChannelProfile::new("sms", "phone") }
    }

    fn verify(&self, _: &RawRequest) -> Verdict {
        Verdict::Genuine
    }

    fn parse(&self, _: &RawRequest) -> Vec<Inbound> {
        vec![]
    }

    fn reparse(&self, _: &Raw, _: Bytes, _: Timestamp) -> Vec<Inbound> {
        vec![]
    }

    fn encode(&self, _: &SendRecord) -> Result<Call, AttemptOutcome> {
        let (url, body) = ("http://provider/".into(), CallBody::Empty);
        Ok(Call { method: http::Method::POST, url, headers: vec![], body, timeout: Duration::from_secs(1) })
    }

    fn classify(&self, _: &SendRecord, _: &Answer, _: Timestamp) -> AttemptOutcome {
        AttemptOutcome::new(Outcome::Unknown)
    }

    fn reconcile(&self, _: &Reconcile) -> Option<Call> {
        let (url, body) = ("http://provider/list".into(), CallBody::Empty);
        Some(Call { method: http::Method::GET, url, headers: vec![], body, timeout: Duration::from_secs(1) })
    }
}

struct Edge {
    log: MemoryLog,
    provider: Arc<Counts>,
    metrics: Arc<Metrics>,
    _stop: watch::Sender<bool>,
}

impl Edge {
    fn start(log: MemoryLog, limits: Option<Limits>, clock_wrong: watch::Receiver<Option<String>>) -> Edge {
        Edge::with(log, limits, clock_wrong, None)
    }

    fn with(
        log: MemoryLog,
        limits: Option<Limits>,
        clock_wrong: watch::Receiver<Option<String>>,
        transport: Option<Arc<dyn Transport>>,
    ) -> Edge {
        let (provider, metrics) = (Arc::new(Counts::default()), Arc::new(Metrics::default()));
        let lane = Lane {
            channel: "sms".into(),
            adapter: Arc::new(Plain),
            log: Arc::new(log.clone()),
            client: provider.clone(),
            transport,
            limits,
            send_timeout: Duration::from_secs(1),
            metrics: metrics.clone(),
            parallel: 64,
            process: process_name(),
            links: None,
            clock_wrong,
            made: Default::default(),
        };
        let (stop, stopping) = watch::channel(false);
        drop(spawn(lane, stopping));
        Edge { log, provider, metrics, _stop: stop }
    }

    /// Releases so many attempts, which end at `until`.
    async fn release(&self, count: u64, until: Timestamp) {
        self.release_with(count, until, &[]).await;
    }

    /// The same, each with these files.
    async fn release_with(&self, count: u64, until: Timestamp, files: &[Attachment]) {
        let out = |n: u64| {
            let send = SendRecord {
                send: format!("s{n}"),
                part: 1,
                n: 1,
                until,
                channel: "sms".into(),
                conversation: "c".into(),
                thread: "t".into(),
                to: Address::new("phone", "+15551230001"),
                content: Content { attachments: files.to_vec(), ..Content::text("hi") },
                author: Author::Agent { id: "ann".into() },
                reply_to: vec![],
                traceparent: None,
                mail: None,
                window_until: None,
            };
            let claim_key = send.claim_key();
            OutRecord { channel: "sms".into(), claim_key, until, data: Outbound::Send(Box::new(send)).to_vec().into() }
        };
        let sends = (1..=count).map(out).collect();
        let frame = FrameWrite { bytes: Bytes::from_static(b"frame"), keys: vec![], out_first: 1, sends };
        assert_eq!(self.log.commit(0, frame).await, Commit::Done(1));
    }

    async fn asked(&self, count: u32) {
        let there = async {
            while self.provider.0.load(Ordering::Relaxed) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), there).await.expect("the provider is asked in time");
    }
}

/// A mail server that keeps what it is handed.
#[derive(Default)]
struct Keeps(Mutex<Vec<(String, Vec<Bytes>)>>);

#[async_trait]
impl Transport for Keeps {
    async fn send(&self, send: &SendRecord, files: Vec<Bytes>, within: Duration) -> AttemptOutcome {
        assert_eq!(within, Duration::from_secs(1), "the channel's own time");
        self.0.lock().expect("no test fails within it").push((send.send.clone(), files));
        AttemptOutcome::new(Outcome::Accepted)
    }
}

fn right() -> watch::Receiver<Option<String>> {
    watch::channel(None).1
}

#[tokio::test]
async fn a_record_that_is_delivered_again_while_it_waits_for_the_rate_does_not_use_the_rate_twice() {
    let faults = Faults { redeliver: 500, ..Faults::default() };
    let log = MemoryLog::new(&MemoryOptions { faults, ..MemoryOptions::default() });
    let every = governor::Quota::with_period(Duration::from_millis(50)).expect("a period");
    let limits = governor::RateLimiter::direct(every.allow_burst(NonZeroU32::MIN));
    let edge = Edge::start(log, Some(Limits::Own(limits)), right());
    let began = Instant::now();
    edge.release(10, clock::now().plus(60_000)).await;
    edge.asked(10).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?} for half a second of sends", began.elapsed());
}

#[tokio::test]
async fn an_edge_whose_clock_is_wrong_leaves_its_sends_to_others() {
    let (clock, wrong) = watch::channel(Some("an hour ahead".to_owned()));
    let edge = Edge::start(MemoryLog::new(&MemoryOptions::default()), None, wrong);
    // By the clock that is wrong it would be over.
    edge.release(3, clock::now().plus(60_000)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(edge.log.claim("sms.s1.1.1", "another").await, Ok(Claim::Ours), "nothing was claimed");
    clock.send_replace(None);
    edge.asked(2).await;
}

#[tokio::test]
async fn an_attempt_that_is_dropped_for_it_is_too_late_is_counted() {
    let edge = Edge::start(MemoryLog::new(&MemoryOptions::default()), None, right());
    edge.release(1, clock::now().plus(-1)).await;
    let counted = async {
        while !edge
            .metrics
            .text(0, &State::new(Salt([0; 16])), clock::now())
            .contains("late_attempts_total{channel=\"sms\"} 1")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), counted).await.expect("it is counted");
    assert_eq!(edge.provider.0.load(Ordering::Relaxed), 0);
}

/// A clock that was ahead by hours, and is right again, asked the question.
#[tokio::test(start_paused = true)]
async fn a_question_is_asked_for_the_time_of_its_channel_whatever_its_end_says() {
    clock::simulated::start(Timestamp(1_800_000_000_000));
    let log = MemoryLog::new(&MemoryOptions { clock: Some(clock::now), ..MemoryOptions::default() });
    let edge = Edge::start(log, None, right());
    let until = clock::now().plus(10 * 3_600_000);
    let question = Reconcile {
        send: "s1".into(),
        part: 1,
        n: 1,
        channel: "sms".into(),
        conversation: "c".into(),
        thread: "t".into(),
        to: Address::new("phone", "+15551230001"),
        content: Content::text("hi"),
        released_at: clock::now(),
        until,
    };
    let data = Outbound::Reconcile(question).to_vec().into();
    let sends = vec![OutRecord { channel: "sms".into(), claim_key: String::new(), until, data }];
    let frame = FrameWrite { bytes: Bytes::from_static(b"frame"), keys: vec![], out_first: 1, sends };
    assert_eq!(edge.log.commit(0, frame).await, Commit::Done(1));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(edge.provider.0.load(Ordering::Relaxed), 6, "after 0, 1, 3, 7, 15 and 25 seconds");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_this_process_made_is_not_made_again_where_a_copy_of_the_log_lacks_its_claim() {
    clock::simulated::start(Timestamp(1_800_000_000_000));
    let log = MemoryLog::new(&MemoryOptions { clock: Some(clock::now), ..MemoryOptions::default() });
    let edge = Edge::start(log.clone(), None, right());
    let (copy, until) = (log.copy(), clock::now().plus(60_000));
    edge.release(1, until).await;
    edge.asked(1).await;
    log.restore(&copy, Parts { inn: true, log: true, out: true, beside: true });
    assert_eq!(log.claimed("sms.s1.1.1").await, Ok(None));
    edge.release(1, until).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(log.claimed("sms.s1.1.1").await.expect("an answer").is_some(), "so that its end is unknown to the router");
    assert_eq!(edge.provider.0.load(Ordering::Relaxed), 1);
}

/// Its answer would come after the router decided that nothing was sent.
#[tokio::test]
async fn an_attempt_whose_answer_could_come_after_its_end_is_claimed_and_not_made() {
    let log = MemoryLog::new(&MemoryOptions::default());
    let edge = Edge::start(log.clone(), None, right());
    // The channel's calls may take a second.
    edge.release(1, clock::now().plus(900)).await;
    assert_eq!(outcomes(&log, 1).await, [Outcome::NotSent]);
    assert_eq!(edge.provider.0.load(Ordering::Relaxed), 0, "nothing was called");
    assert_eq!(log.claim("sms.s1.1.1", "router").await, Ok(Claim::Taken), "nobody else makes it either");
}

#[test]
fn only_nonces_of_our_own_form_name_a_process() {
    let ours = process_name();
    assert_eq!(process_of(&format!("{ours}.12")), Some(ours.as_str()));
    for foreign in ["router", "k3jx.7", "0123456789abcdef01234567", "0123456789ABCDEF01234567.1", "", "."] {
        assert_eq!(process_of(foreign), None, "{foreign}");
    }
}

#[tokio::test]
async fn what_is_no_http_call_is_claimed_once_gets_its_files_and_is_told_of_all_the_same() {
    let log = MemoryLog::new(&MemoryOptions {
        faults: Faults { redeliver: 500, ..Faults::default() },
        ..MemoryOptions::default()
    });
    let server = Arc::new(Keeps::default());
    let edge = Edge::with(log.clone(), None, right(), Some(server.clone()));
    let blob = log.put_blob(&blob_scope("sms", "t"), Bytes::from_static(b"a file")).await.expect("it is stored");
    let file = Attachment { name: "a.txt".into(), blob: Some(blob), ..Attachment::default() };
    edge.release_with(3, clock::now().plus(60_000), &[file]).await;
    assert_eq!(outcomes(&log, 3).await, [Outcome::Accepted; 3]);
    let mut handed = server.0.lock().expect("no test fails within it").clone();
    handed.sort();
    let sends: Vec<&str> = handed.iter().map(|(send, _)| send.as_str()).collect();
    assert_eq!(sends, ["s1", "s2", "s3"], "each once, however often it was delivered");
    assert!(handed.iter().all(|(_, files)| files == &[Bytes::from_static(b"a file")]));
    assert_eq!(edge.provider.0.load(Ordering::Relaxed), 0, "nothing was called");
}

#[tokio::test]
async fn a_file_that_is_gone_ends_the_send() {
    let log = MemoryLog::new(&MemoryOptions::default());
    let server = Arc::new(Keeps::default());
    let edge = Edge::with(log.clone(), None, right(), Some(server.clone()));
    let gone =
        Attachment { name: "a.txt".into(), blob: Some(BlobRef::of_hash(&"0a".repeat(32))), ..Attachment::default() };
    edge.release_with(1, clock::now().plus(60_000), &[gone]).await;
    assert_eq!(outcomes(&log, 1).await, [Outcome::Rejected]);
    assert!(server.0.lock().expect("no test fails within it").is_empty());
}

/// The outcomes that IN holds, once there are so many.
async fn outcomes(log: &MemoryLog, count: usize) -> Vec<Outcome> {
    let read = async {
        loop {
            let records = log.read_in(0, 100).await.unwrap_or_default();
            let results = records.iter().filter_map(|r| match Inbound::from_slice(&r.data) {
                Ok(Inbound::Result(r)) => Some(r.outcome),
                _ => None,
            });
            let found: Vec<Outcome> = results.collect();
            if found.len() >= count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("the results are stored in time")
}
