//! What the daemon counts. Label values are names that operators chose, never an address or a text.

use crate::log::Seq;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use switchboard_envelope::{Outcome, Timestamp};
use switchboard_routing_rules::State;
use switchboard_routing_rules::event::{Event, Public};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct One {
    channel: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Verdict {
    channel: String,
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    channel: String,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ended {
    channel: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Changed {
    channel: String,
    health: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Beside {
    snapshot: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfQueue {
    queue: String,
}

/// A state larger than this is walked for its gauges once in a while only, however often it is asked for.
const WALK_ALWAYS: usize = 1_000;
const WALK_MS: i64 = 1_000;

/// Every metric of the daemon, with its registry.
pub struct Metrics {
    registry: Mutex<Registry>,
    webhooks: Family<Verdict, Counter>,
    ingested: Family<Kind, Counter>,
    duplicates: Family<One, Counter>,
    attempts: Family<Ended, Counter>,
    attempt_seconds: Histogram,
    late: Family<One, Counter>,
    results: Counter,
    frames: Counter,
    commit_seconds: Histogram,
    turn_seconds: Family<Beside, Histogram>,
    turn_longest: Family<Beside, Gauge<f64, AtomicU64>>,
    snapshots: Counter,
    snapshot_began: Gauge<f64, AtomicU64>,
    snapshot_ended: Gauge<f64, AtomicU64>,
    log_errors: Family<Operation, Counter>,
    poll_failures: Family<One, Counter>,
    dead: Counter,
    auto_replies: Counter,
    conversations: Family<InState, Gauge>,
    queue_depth: Family<OfQueue, Gauge>,
    queue_oldest: Family<OfQueue, Gauge>,
    channel_up: Family<One, Gauge>,
    channel_changes: Family<Changed, Counter>,
    forgotten: Counter,
    remembered: Gauge,
    adapter_up: Family<One, Gauge>,
    unsettled: Gauge,
    in_fill: Gauge<f64, AtomicU64>,
    frame: Gauge,
    cursor: Gauge,
    leads: Gauge,
    rebases: Counter,
    rebase_due: Gauge,
    rebased_at: Gauge,
    /// When the gauges that need a walk over the state were last made.
    walked: Mutex<Option<Timestamp>>,
    /// Inputs decided.
    pub decided: Counter,
    pub quarantined: Counter,
}

/// From a tenth of a millisecond to thirteen seconds.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 18))
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut m = Metrics {
            registry: Mutex::default(),
            webhooks: Family::default(),
            ingested: Family::default(),
            duplicates: Family::default(),
            attempts: Family::default(),
            attempt_seconds: seconds(),
            late: Family::default(),
            results: Counter::default(),
            frames: Counter::default(),
            commit_seconds: seconds(),
            turn_seconds: Family::new_with_constructor(seconds),
            turn_longest: Family::default(),
            snapshots: Counter::default(),
            snapshot_began: Gauge::default(),
            snapshot_ended: Gauge::default(),
            log_errors: Family::default(),
            poll_failures: Family::default(),
            dead: Counter::default(),
            auto_replies: Counter::default(),
            conversations: Family::default(),
            queue_depth: Family::default(),
            queue_oldest: Family::default(),
            channel_up: Family::default(),
            channel_changes: Family::default(),
            forgotten: Counter::default(),
            remembered: Gauge::default(),
            adapter_up: Family::default(),
            unsettled: Gauge::default(),
            in_fill: Gauge::default(),
            frame: Gauge::default(),
            cursor: Gauge::default(),
            leads: Gauge::default(),
            rebases: Counter::default(),
            rebase_due: Gauge::default(),
            rebased_at: Gauge::default(),
            walked: Mutex::default(),
            decided: Counter::default(),
            quarantined: Counter::default(),
        };
        m.register();
        m
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = self.registry.get_mut().unwrap_or_else(PoisonError::into_inner);
        let r = registry.sub_registry_with_prefix("switchboard");
        r.register("webhooks", "Deliveries from providers, by what the signature says", self.webhooks.clone());
        r.register("ingested", "Records that IN took", self.ingested.clone());
        r.register("duplicates", "Records that IN held already", self.duplicates.clone());
        r.register("attempts", "Calls to providers, by outcome", self.attempts.clone());
        r.register("attempt_seconds", "Duration of calls to providers", self.attempt_seconds.clone());
        r.register(
            "late_attempts",
            "Attempts that came to an edge after their end, and were not made",
            self.late.clone(),
        );
        r.register("results", "Results of attempts in LOG", self.results.clone());
        r.register("frames", "Frames in LOG, by this process", self.frames.clone());
        r.register("commit_seconds", "Duration of commits", self.commit_seconds.clone());
        r.register(
            "turn_seconds",
            "Duration of the router's turns, from inputs that are read to their frames being durable, beside a snapshot and without",
            self.turn_seconds.clone(),
        );
        r.register("turn_longest_seconds", "The longest of those turns", self.turn_longest.clone());
        r.register("snapshots", "Snapshots stored", self.snapshots.clone());
        r.register(
            "snapshot_began_timestamp_seconds",
            "When the last stored snapshot was begun; 0 for never",
            self.snapshot_began.clone(),
        );
        r.register(
            "snapshot_ended_timestamp_seconds",
            "When the last stored snapshot was ready; 0 for never",
            self.snapshot_ended.clone(),
        );
        r.register("log_errors", "Operations that the log refused or did not answer", self.log_errors.clone());
        r.register("poll_failures", "Catch-up polls that failed", self.poll_failures.clone());
        r.register("dead_letters", "Messages of ours that became dead letters", self.dead.clone());
        r.register("auto_replies", "Automatic replies accepted for sending", self.auto_replies.clone());
        r.register("decided", "Inputs decided", self.decided.clone());
        r.register("quarantined", "Records that could not be decided", self.quarantined.clone());
        r.register("conversations", "Conversations in the state", self.conversations.clone());
        r.register("queue_depth", "Conversations that wait in a queue", self.queue_depth.clone());
        r.register("queue_oldest_seconds", "Longest wait in a queue", self.queue_oldest.clone());
        r.register(
            "channel_up",
            "1 while a channel sends; 0 while it is paused, or once five attempts in a row failed",
            self.channel_up.clone(),
        );
        r.register(
            "channel_changes",
            "Times that a channel was paused, came to be probed, or sent again",
            self.channel_changes.clone(),
        );
        r.register("duplicates_remembered", "Ids in the memory of duplicates", self.remembered.clone());
        r.register(
            "duplicates_forgotten",
            "Ids that were forgotten because `limits.duplicates` is too small",
            self.forgotten.clone(),
        );
        r.register(
            "adapter_up",
            "1 while the adapter in another process is heard of, or the mailbox can be read",
            self.adapter_up.clone(),
        );
        r.register("unsettled_sends", "Messages of ours that are not settled", self.unsettled.clone());
        r.register("in_fill_ratio", "How full IN is; messages are refused from 0.8", self.in_fill.clone());
        r.register("log_frame", "Sequence of the last frame", self.frame.clone());
        r.register("in_cursor", "Sequence of the last input decided", self.cursor.clone());
        r.register(
            "rebases",
            "Times that this process went on from a log that was not the one written last",
            self.rebases.clone(),
        );
        r.register(
            "rebase_due",
            "1 while the log is another one than this process read, and nobody has rebased it",
            self.rebase_due.clone(),
        );
        r.register(
            "rebased_timestamp_seconds",
            "When the workspace was last rebased; 0 for never",
            self.rebased_at.clone(),
        );
        r.register("leads", "1 in the process whose router leads the workspace, else 0", self.leads.clone());
    }

    /// Adds the metrics of a part that keeps its own.
    pub fn extend(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn adapter(&self, channel: &str, up: bool) {
        self.adapter_up.get_or_create(&One { channel: channel.to_owned() }).set(i64::from(up));
    }

    pub fn webhook(&self, channel: &str, verdict: &'static str) {
        self.webhooks.get_or_create(&Verdict { channel: channel.to_owned(), verdict }).inc();
    }

    pub fn ingested(&self, channel: &str, kind: &'static str) {
        self.ingested.get_or_create(&Kind { channel: channel.to_owned(), kind }).inc();
    }

    pub fn duplicate(&self, channel: &str) {
        self.duplicates.get_or_create(&One { channel: channel.to_owned() }).inc();
    }

    /// A call to a provider ended after `ms` milliseconds.
    pub fn sent(&self, channel: &str, outcome: Outcome, ms: i64) {
        self.attempts.get_or_create(&Ended { channel: channel.to_owned(), outcome: outcome.as_str() }).inc();
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of one call")]
        self.attempt_seconds.observe(ms as f64 / 1000.0);
    }

    pub fn late(&self, channel: &str) {
        self.late.get_or_create(&One { channel: channel.to_owned() }).inc();
    }

    pub fn log_error(&self, operation: &'static str) {
        self.log_errors.get_or_create(&Operation { operation }).inc();
    }

    pub fn poll_failed(&self, channel: &str) {
        self.poll_failures.get_or_create(&One { channel: channel.to_owned() }).inc();
    }

    /// How a channel does from now on.
    pub fn channel_health(&self, channel: &str, health: &'static str) {
        self.channel_changes.get_or_create(&Changed { channel: channel.to_owned(), health }).inc();
    }

    /// Ids of the memory of duplicates went for lack of room.
    pub fn duplicates_forgotten(&self, ids: usize) {
        self.forgotten.inc_by(ids as u64);
    }

    /// How full IN is, in thousandths.
    pub fn in_fill(&self, thousandths: u32) {
        self.in_fill.set(f64::from(thousandths) / 1000.0);
    }

    pub fn leads(&self, leads: bool) {
        self.leads.set(i64::from(leads));
    }

    /// Whether the log is another one than was read, and waits for a rebase.
    pub fn rebase_due(&self, due: bool) {
        self.rebase_due.set(i64::from(due));
    }

    pub fn committed(&self, took: Duration) {
        self.frames.inc();
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// The router took `took` for a turn, while a snapshot was under way or not.
    pub fn turned(&self, took: Duration, snapshot: bool) {
        let beside = Beside { snapshot: if snapshot { "yes" } else { "no" } };
        self.turn_seconds.get_or_create(&beside).observe(took.as_secs_f64());
        let longest = self.turn_longest.get_or_create(&beside);
        if took.as_secs_f64() > longest.get() {
            longest.set(took.as_secs_f64());
        }
    }

    /// A snapshot is in the log.
    pub fn snapshot(&self, began: Timestamp, ended: Timestamp) {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of this century")]
        let seconds = |at: Timestamp| at.0 as f64 / 1000.0;
        self.snapshots.inc();
        self.snapshot_began.set(seconds(began));
        self.snapshot_ended.set(seconds(ended));
    }

    /// What durable events say.
    pub fn observe(&self, events: &[Event]) {
        for event in events {
            match &event.public {
                Public::AttemptEnded { .. } => self.results.inc(),
                Public::Rebased { .. } => self.rebases.inc(),
                Public::Dead { .. } => self.dead.inc(),
                Public::SendQueued { author: switchboard_envelope::Author::Auto { .. }, notice: false, .. } => {
                    self.auto_replies.inc()
                }
                _ => continue,
            };
        }
    }

    /// The text that Prometheus reads, with the gauges of this state.
    #[must_use]
    pub fn text(&self, seq: Seq, state: &State, now: Timestamp) -> String {
        self.gauges(seq, state, now);
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into memory cannot fail.
        let _ = encode(&mut out, &registry);
        out
    }

    fn gauges(&self, seq: Seq, state: &State, now: Timestamp) {
        self.queue_depth.clear();
        for queue in state.queues_in_use() {
            let of = OfQueue { queue: queue.clone() };
            self.queue_depth.get_or_create(&of).set(i64::try_from(state.depth(queue)).unwrap_or(i64::MAX));
        }
        for (channel, c) in &state.channels {
            let up = !c.removed && c.paused.is_none() && c.probe_at.is_none();
            self.channel_up.get_or_create(&One { channel: channel.clone() }).set(i64::from(up));
        }
        self.frame.set(i64::try_from(seq).unwrap_or(i64::MAX));
        self.rebased_at.set(state.rebased.map_or(0, |r| r.at.0 / 1000));
        self.remembered.set(i64::try_from(state.dups.len()).unwrap_or(i64::MAX));
        self.cursor.set(i64::try_from(state.cursor.seq).unwrap_or(i64::MAX));
        let mut walked = self.walked.lock().unwrap_or_else(PoisonError::into_inner);
        let small = state.conversations.len() + state.sends.len() <= WALK_ALWAYS;
        if small || walked.is_none_or(|at| now.since(at) >= WALK_MS || at > now) {
            *walked = Some(now);
            self.walk(state, now);
        }
    }

    /// The gauges that only a walk over all conversations gives.
    fn walk(&self, state: &State, now: Timestamp) {
        use switchboard_routing_rules::pack::ConvStatus as S;
        let mut counts = [0i64; 6];
        const STATES: [S; 6] = [S::Queued, S::Offered, S::Assigned, S::Pending, S::Snoozed, S::Closed];
        for c in state.conversations.values() {
            for (count, _) in counts.iter_mut().zip(STATES).filter(|(_, s)| *s == c.status) {
                *count += 1;
            }
        }
        for (count, s) in counts.iter().zip(STATES) {
            self.conversations.get_or_create(&InState { state: s.as_str() }).set(*count);
        }
        self.queue_oldest.clear();
        for queue in state.queues_in_use() {
            let oldest = state.oldest(queue).map_or(0, |at| now.since(at) / 1000);
            self.queue_oldest.get_or_create(&OfQueue { queue: queue.clone() }).set(oldest);
        }
        let unsettled = state.sends.values().filter(|s| !s.is_dead()).count();
        self.unsettled.set(i64::try_from(unsettled).unwrap_or(i64::MAX));
    }
}
