//! A turn: inputs, decisions, one commit, and what follows from it.

use super::Answers;
use super::codec::{Codec, CodecError, Encoded, Sealed};
use super::recover::{self, RecoverError, Recovered};
use super::snapshot::Snapshots;
use crate::clock;
use crate::log::{Claim, Commit, FrameWrite, Log, LogError, OutRecord, Seq, Stored};
use crate::metrics::Metrics;
use crate::packs::Packs;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use switchboard_envelope::{Action, ChannelProfile, Inbound, Outbound, Reconcile, Send as SendRecord, Timestamp};
use switchboard_routing_rules::decide::stranded;
use switchboard_routing_rules::event::{Event, Public};
use switchboard_routing_rules::ids::Salt;
use switchboard_routing_rules::state::{Limits, Phase, SendState, State};
use switchboard_routing_rules::{Decision, Input, RulePack, Verdict, decide};
use tokio::sync::watch;

#[cfg(test)]
use crate::simulation::{Bug, planted};

/// Inputs read at once.
const INPUTS: usize = 256;
/// A frame of this many bytes takes no further decision.
const FULL: usize = 192 * 1024;
/// One decision adds at most this, so that a frame stays below [`crate::log::frame::MAX_FRAME`]. An input that leads to more
/// is quarantined.
const DECISION: usize = 256 * 1024;
const _: () = assert!(FULL + DECISION < crate::log::frame::MAX_FRAME);
/// How long a commit without an answer waits before the same bytes are tried again.
const RETRY: Duration = Duration::from_millis(50);
/// While frames follow each other, the state is shown to others this often: when somebody looks, and when nobody does.
const PUBLISH: Duration = Duration::from_millis(25);
const PUBLISH_AT_LEAST: Duration = Duration::from_secs(1);
/// Wall-clock ticks are not finer than this.
const TICK_MIN: Duration = Duration::from_millis(5);
const TICK_MAX: Duration = Duration::from_secs(30);
/// This long after an attempt's end its claim can still be asked, where claims expire.
const CLAIM_KNOWN_MS: i64 = 10 * 60_000;

/// Why the router stopped.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    #[error("the log cannot be read: {0}")]
    Log(#[from] LogError),
    #[error(transparent)]
    Recover(#[from] RecoverError),
    #[error("no rule pack can be put in force: {0}")]
    Pack(#[from] crate::packs::PackError),
    #[error("a frame cannot be written: {0}")]
    Codec(#[from] CodecError),
}

/// What others see of a running router.
#[derive(Clone)]
pub struct RouterHandle {
    pub state: View,
    pub answers: Arc<Answers>,
}

/// The state as others see it. What they hold must be copied before it changes, so it is not renewed with every frame.
#[derive(Clone)]
pub struct View {
    seen: watch::Receiver<(Seq, Arc<State>)>,
    wanted: Arc<AtomicBool>,
}

impl View {
    /// The state after a durable frame, with that frame's sequence. It holds everything while nothing comes in, and
    /// whatever was answered; under load it is up to 25 ms old for who looks all the time, and a second for the first.
    #[must_use]
    pub fn latest(&self) -> (Seq, Arc<State>) {
        self.wanted.store(true, Ordering::Relaxed);
        self.seen.borrow().clone()
    }

    /// The same without asking for a new one: up to a second old under load. For who looks at numbers, again and again.
    #[must_use]
    pub fn recent(&self) -> (Seq, Arc<State>) {
        self.seen.borrow().clone()
    }

    /// The state once it holds a frame; the last one if the router ends before.
    pub async fn at(&mut self, frame: Seq) -> (Seq, Arc<State>) {
        loop {
            self.wanted.store(true, Ordering::Relaxed);
            let (seq, state) = self.seen.borrow_and_update().clone();
            if seq >= frame || self.seen.changed().await.is_err() {
                return (seq, state);
            }
        }
    }
}

pub struct Router {
    log: Arc<dyn Log>,
    codec: Arc<Codec>,
    packs: Arc<Packs>,
    channels: BTreeMap<String, ChannelProfile>,
    metrics: Arc<Metrics>,
    answers: Arc<Answers>,
    publish: watch::Sender<(Seq, Arc<State>)>,
    wanted: Arc<AtomicBool>,
    snapshots: Snapshots,
    state: State,
    pack: Arc<RulePack>,
    /// LOG's and OUT's last sequences as this router left them.
    last: Seq,
    out_last: Seq,
    frame: Draft,
    /// Attempts that an earlier process claimed and left without a result are settled once IN is drained.
    orphans_checked: bool,
    process: String,
    feed: Feed,
    /// When the state was last shown to others, and whether it has changed since.
    published: tokio::time::Instant,
    unpublished: bool,
}

/// What this process brings to lead a workspace.
pub struct Seat {
    pub channels: BTreeMap<String, ChannelProfile>,
    /// The key of the workspace's hashes.
    pub salt: Salt,
    pub limits: Limits,
    /// The prefix of the claims' nonces of this process; other processes have others.
    pub process: String,
    pub feed: Feed,
}

/// Who is handed the events of each durable frame, in order.
pub type Feed = Box<dyn Fn(Seq, Arc<Vec<Event>>) + Send + Sync>;

/// The frame in the making.
#[derive(Default)]
struct Draft {
    events: Vec<Event>,
    sends: Vec<OutRecord>,
    encoded: Encoded,
}

impl Router {
    /// Folds what the log holds and leads: from the answer of this function on, this process decides.
    ///
    /// # Errors
    /// When the log cannot be read, or holds what this build does not understand.
    pub async fn lead(
        log: Arc<dyn Log>,
        codec: Arc<Codec>,
        packs: Arc<Packs>,
        metrics: Arc<Metrics>,
        seat: Seat,
    ) -> Result<(Router, RouterHandle), Stop> {
        let Seat { channels, salt, limits, process, feed } = seat;
        let mut empty = State::new(salt);
        empty.limits = limits;
        let Recovered { state, last, out_last } = recover::recover(&log, &codec, empty).await?;
        let pack = packs.at_lead(&log, &state).await?;
        let (publish, seen) = watch::channel((last, Arc::new(state.clone())));
        let (answers, wanted) = (Arc::new(Answers::default()), Arc::new(AtomicBool::new(false)));
        let mut router = Router {
            snapshots: Snapshots::new(log.clone(), codec.clone(), last),
            log,
            codec,
            packs,
            channels,
            metrics,
            answers: answers.clone(),
            publish,
            wanted: wanted.clone(),
            state,
            pack,
            last,
            out_last,
            frame: Draft::default(),
            orphans_checked: false,
            process,
            feed,
            published: tokio::time::Instant::now(),
            unpublished: false,
        };
        router.take_lead().await?;
        router.publish();
        Ok((router, RouterHandle { state: View { seen, wanted }, answers }))
    }

    async fn take_lead(&mut self) -> Result<(), Stop> {
        let incarnation = self.state.incarnation + 1;
        let channels = std::mem::take(&mut self.channels);
        self.decide(&Input::Lead { now: clock::now(), incarnation, channels: &channels })?;
        self.channels = channels;
        self.commit().await
    }

    /// Routes until `stop` turns true.
    ///
    /// # Errors
    /// When the log is damaged or another writer took over; the process must not go on.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Stop> {
        let mut tail = self.log.in_tail();
        while !*stop.borrow() {
            tail.borrow_and_update();
            let records = self.read().await?;
            if records.is_empty() {
                self.idle(&mut tail, &mut stop).await?;
            } else {
                self.inputs(records).await?;
            }
        }
        // What was accepted before the stop is decided before the process ends.
        loop {
            let records = self.read().await?;
            if records.is_empty() {
                break;
            }
            self.inputs(records).await?;
        }
        self.publish();
        self.snapshots.last_one(&self.state, self.last).await;
        Ok(())
    }

    async fn read(&self) -> Result<Vec<Stored>, Stop> {
        loop {
            match self.log.read_in(self.state.cursor.seq, INPUTS).await {
                Ok(records) => return Ok(records),
                Err(LogError::Damaged(e)) => return Err(LogError::Damaged(e).into()),
                Err(e) => {
                    tracing::warn!(error = %e, "cannot read the log's input; trying again");
                    self.metrics.log_error("read");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// IN is drained: time may move.
    async fn idle(&mut self, tail: &mut watch::Receiver<Seq>, stop: &mut watch::Receiver<bool>) -> Result<(), Stop> {
        self.publish();
        if !self.orphans_checked {
            self.orphans_checked = true;
            self.settle_orphans().await?;
            return Ok(());
        }
        let now = clock::now();
        if self.next_timer().is_some_and(|at| at <= now) {
            self.overdue(now).await?;
            if self.state.next_timer().is_some_and(|at| at <= now) {
                self.decide(&Input::Timers { now })?;
            }
            self.commit().await?;
            self.publish();
            return Ok(());
        }
        if stranded(&self.state, &self.pack).next().is_some() {
            self.decide(&Input::Timers { now })?;
            self.commit().await?;
            return Ok(());
        }
        let wait = self.next_timer().map_or(TICK_MAX, |at| {
            Duration::from_millis(u64::try_from(at.since(now)).unwrap_or(0)).clamp(TICK_MIN, TICK_MAX)
        });
        self.snapshots.consider(&self.state, self.last).await;
        self.answers.sweep();
        tokio::select! {
            _ = tail.changed() => {}
            _ = stop.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
        Ok(())
    }

    async fn inputs(&mut self, records: Vec<Stored>) -> Result<(), Stop> {
        for record in records {
            let now = self.state.now.max(record.at);
            while self.next_timer().is_some_and(|at| at <= now) && self.fire(now).await? {
                self.commit_if_full().await?;
            }
            self.input(&record).await?;
            self.commit_if_full().await?;
        }
        self.commit().await?;
        self.snapshots.consider(&self.state, self.last).await;
        Ok(())
    }

    /// Fires what is due; false when that changed nothing, so that no timer can hold the loop.
    async fn fire(&mut self, now: Timestamp) -> Result<bool, Stop> {
        let first = |state: &State| state.due(now).next().cloned();
        let before = first(&self.state);
        self.overdue(now).await?;
        self.decide(&Input::Timers { now })?;
        Ok(first(&self.state) != before)
    }

    fn next_timer(&self) -> Option<Timestamp> {
        #[cfg(test)]
        if planted(Bug::ForgottenTimer) && self.state.incarnation > 1 {
            return None;
        }
        self.state.next_timer()
    }

    /// Attempts whose time is over: the claim says whether anything can have been sent.
    async fn overdue(&mut self, now: Timestamp) -> Result<(), Stop> {
        let overdue: Vec<Arc<SendState>> = self.state.overdue_attempts(now).take(64).cloned().collect();
        for send in overdue {
            let until = send.next_deadline().unwrap_or(now);
            // Claims that others share expire: a free one says nothing then.
            if !self.log.exclusive() && now.since(until) > CLAIM_KNOWN_MS {
                self.verdict(&send, now, Verdict::Unknown)?;
                self.commit_if_full().await?;
                continue;
            }
            let key = claim_key(&send);
            let verdict = loop {
                match self.log.claim(&key, "router").await {
                    Ok(Claim::Ours) => break Verdict::NotSent,
                    Ok(Claim::Taken) => break Verdict::Unknown,
                    Err(LogError::Damaged(e)) => return Err(LogError::Damaged(e).into()),
                    Err(e) => {
                        tracing::warn!(error = %e, "cannot ask a claim; trying again");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            };
            self.verdict(&send, now, verdict)?;
            self.commit_if_full().await?;
        }
        Ok(())
    }

    fn verdict(&mut self, send: &SendState, now: Timestamp, verdict: Verdict) -> Result<(), Stop> {
        self.decide(&Input::Verdict { now, message: send.id, part: send.part, n: send.n, verdict })
    }

    /// A claim without a result, of a process that is gone, is `unknown` now: nobody will finish it. What the router itself
    /// claimed before it was stopped, it claims again at the attempt's end.
    async fn settle_orphans(&mut self) -> Result<(), Stop> {
        let claimed: Vec<Arc<SendState>> =
            self.state.sends.values().filter(|s| matches!(s.phase, Phase::InFlight { .. })).cloned().collect();
        let mut gone: BTreeMap<String, bool> = BTreeMap::new();
        for send in claimed {
            let Some(holder) = self.holder(&send).await? else { continue };
            let process = crate::outbound::process_of(&holder);
            if process == self.process || holder == "router" {
                continue;
            }
            let gone = match gone.get(process) {
                Some(gone) => *gone,
                None => *gone.entry(process.to_owned()).or_insert(self.log.is_gone(process).await),
            };
            if gone {
                self.verdict(&send, clock::now(), Verdict::Unknown)?;
                self.commit_if_full().await?;
            }
        }
        self.commit().await
    }

    async fn holder(&self, send: &SendState) -> Result<Option<String>, Stop> {
        loop {
            match self.log.claimed(&claim_key(send)).await {
                Err(LogError::Unavailable(e)) => {
                    tracing::warn!(error = %e, "cannot ask who holds a claim; trying again");
                    tokio::time::sleep(RETRY).await;
                }
                answer => return Ok(answer?),
            }
        }
    }

    async fn input(&mut self, record: &Stored) -> Result<(), Stop> {
        let inbound = match Inbound::from_slice(&record.data) {
            Ok(inbound) if inbound.channel() == record.channel => inbound,
            Ok(_) => {
                return self.poison(record, "the record names another channel than its subject");
            }
            Err(e) => {
                return self.poison(record, &e.to_string());
            }
        };
        let candidate = self.candidate(&inbound).await;
        let input =
            Input::Record { seq: record.seq, stored_at: record.at, inbound: &inbound, candidate: candidate.as_deref() };
        let (pack, state) = (self.pack.clone(), self.lend());
        // A record that makes the core panic must not stop the others; nothing of it was committed.
        match catch_unwind(AssertUnwindSafe(|| decide(state, &input, &pack))) {
            Ok(decision) => {
                let encoded = self.encode(&decision.events)?;
                if encoded.size() <= DECISION {
                    self.take(decision, encoded);
                } else {
                    self.fold_again().await?;
                    self.poison(record, "what follows from it does not fit a frame")?;
                }
            }
            Err(_) => {
                self.fold_again().await?;
                self.poison(record, "deciding it failed; please report this with the record")?;
            }
        }
        if let Some(pack) = candidate.filter(|p| p.hash() == self.state.pack) {
            self.pack = pack;
        }
        self.metrics.decided.inc();
        Ok(())
    }

    /// The pack that a command asks for, compiled before the core sees it.
    async fn candidate(&self, inbound: &Inbound) -> Option<Arc<RulePack>> {
        let Inbound::Command(c) = inbound else { return None };
        let hash = match &c.action {
            Action::ReloadPack { hash } => hash.clone(),
            Action::RollbackPack => self.state.previous_pack.clone()?,
            _ => return None,
        };
        self.packs.by_hash(&self.log, &hash).await
    }

    fn poison(&mut self, record: &Stored, reason: &str) -> Result<(), Stop> {
        tracing::error!(seq = record.seq, channel = %record.channel, reason, "a record was quarantined");
        self.metrics.quarantined.inc();
        self.decide(&Input::Poison { seq: record.seq, stored_at: record.at, channel: &record.channel, reason })
    }

    fn decide(&mut self, input: &Input<'_>) -> Result<(), Stop> {
        let decision = decide(self.lend(), input, &self.pack.clone());
        let encoded = self.encode(&decision.events)?;
        self.take(decision, encoded);
        Ok(())
    }

    fn encode(&self, events: &[Event]) -> Result<Encoded, CodecError> {
        let mut encoded = Encoded::after(&self.frame.encoded);
        events.iter().try_for_each(|e| encoded.push(e))?;
        Ok(encoded)
    }

    /// The state, for a decision that gives back the next one.
    fn lend(&mut self) -> State {
        let mut empty = State::new(self.state.salt);
        empty.limits = self.state.limits;
        std::mem::replace(&mut self.state, empty)
    }

    /// The state went down with a decision that panicked: what is durable is folded again, and the frame in the making.
    async fn fold_again(&mut self) -> Result<(), Stop> {
        let mut empty = State::new(self.state.salt);
        empty.limits = self.state.limits;
        let recovered = loop {
            match recover::recover(&self.log, &self.codec, empty.clone()).await {
                Err(RecoverError::Log(LogError::Unavailable(e))) => {
                    tracing::warn!(error = %e, "cannot read the log to fold it again; trying again");
                    self.metrics.log_error("read");
                    tokio::time::sleep(RETRY).await;
                }
                other => break other?,
            }
        };
        if recovered.last != self.last {
            return Err(RecoverError::AnotherWriter(recovered.last).into());
        }
        self.state = recovered.state;
        self.frame.events.iter().for_each(|e| self.state.apply(e));
        Ok(())
    }

    fn take(&mut self, decision: Decision, encoded: Encoded) {
        self.state = decision.after;
        for event in decision.events {
            if let Some(record) = out_record(&self.state, &event.public) {
                self.frame.sends.push(record);
            }
            self.frame.events.push(event);
        }
        self.frame.encoded.append(encoded);
        #[cfg(debug_assertions)]
        self.check();
    }

    #[cfg(debug_assertions)]
    fn check(&self) {
        if self.state.conversations.len() < 50 {
            let broken = switchboard_routing_rules::invariants::check_invariants(&self.state, &self.pack);
            debug_assert!(broken.is_empty(), "invariants broken: {broken:?}");
        }
    }

    async fn commit_if_full(&mut self) -> Result<(), Stop> {
        if self.frame.encoded.size() >= FULL {
            self.commit().await?;
        }
        Ok(())
    }

    /// Appends the frame: the same bytes until done, or until the log shows that another frame stands there.
    async fn commit(&mut self) -> Result<(), Stop> {
        if self.frame.events.is_empty() {
            return Ok(());
        }
        let Draft { events, sends, encoded } = std::mem::take(&mut self.frame);
        #[cfg(test)]
        let (events, encoded) = self.plant_cursor_first(events, encoded).await?;
        let cursor = (self.state.cursor.seq, self.state.cursor.at);
        let Sealed { bytes, keys, id } = self.codec.seal(encoded, cursor, self.out_last + 1).await?;
        let count = sends.len() as u64;
        let write = FrameWrite { bytes, keys, out_first: self.out_last + 1, sends };
        let started = std::time::Instant::now();
        loop {
            match self.log.commit(self.last, write.clone()).await {
                Commit::Done(seq) => {
                    self.last = seq;
                    break;
                }
                #[cfg(test)]
                Commit::Conflict if planted(Bug::DroppedCompareAndSwap) => self.last += 1,
                Commit::Conflict if self.codec.frame_id_at(&self.log, self.last + 1).await? == Some(id) => {
                    self.last += 1;
                    break;
                }
                Commit::Conflict => return Err(RecoverError::AnotherWriter(self.last + 1).into()),
                Commit::Unknown(why) => {
                    tracing::warn!(why, "the log did not take a frame; trying again");
                    self.metrics.log_error("commit");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        self.out_last += count;
        self.metrics.committed(started.elapsed());
        self.after_commit(events);
        Ok(())
    }

    #[cfg(test)]
    async fn plant_cursor_first(
        &mut self,
        events: Vec<Event>,
        encoded: Encoded,
    ) -> Result<(Vec<Event>, Encoded), Stop> {
        if !planted(Bug::CursorBeforeEffects) {
            return Ok((events, encoded));
        }
        let (cursor, effects): (Vec<Event>, Vec<Event>) =
            events.into_iter().partition(|e| matches!(e.public, Public::Consumed { .. }));
        let at = (self.state.cursor.seq, self.state.cursor.at);
        let sealed = self.codec.seal(self.encode(&cursor)?, at, self.out_last + 1).await?;
        let write = FrameWrite { bytes: sealed.bytes, keys: sealed.keys, out_first: self.out_last + 1, sends: vec![] };
        while !matches!(self.log.commit(self.last, write.clone()).await, Commit::Done(_) | Commit::Conflict) {}
        self.last += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let encoded = self.encode(&effects)?;
        Ok((effects, encoded))
    }

    fn after_commit(&mut self, events: Vec<Event>) {
        self.metrics.observe(&events);
        self.unpublished = true;
        // Who is answered may look at once at what his command did.
        let answers = events.iter().any(|e| matches!(e.public, Public::Answered { .. }));
        let age = self.published.elapsed();
        if answers || age >= PUBLISH_AT_LEAST || (age >= PUBLISH && self.wanted.swap(false, Ordering::Relaxed)) {
            self.publish();
        }
        for event in &events {
            if let Public::Answered { command, reply, .. } = &event.public {
                self.answers.publish(*command, reply);
            }
        }
        (self.feed)(self.last, Arc::new(events));
        self.snapshots.grew();
    }

    /// Shows the state to others. While they hold it, whatever changes is copied first, so this is not done for every frame.
    fn publish(&mut self) {
        if std::mem::take(&mut self.unpublished) {
            self.published = tokio::time::Instant::now();
            let _ = self.publish.send((self.last, Arc::new(self.state.clone())));
        }
    }
}

/// What an event sends to OUT.
pub(super) fn out_record(state: &State, event: &Public) -> Option<OutRecord> {
    let (message, until, asks) = match event {
        Public::Released { message, until, .. } => (message, *until, false),
        Public::Reconciling { message, until, .. } => (message, *until, true),
        _ => return None,
    };
    let s = state.sends.get(message)?;
    // Erased meanwhile: nothing is sent, and the claim at `until` says so.
    let p = s.private.as_ref()?;
    let (data, claim_key) = if asks {
        let record = Reconcile {
            send: s.id.to_string(),
            part: s.part,
            n: s.n,
            channel: s.channel.clone(),
            conversation: s.conv.to_string(),
            thread: p.thread.clone(),
            to: p.to.clone(),
            content: p.content.clone(),
            released_at: s.released.unwrap_or(state.now),
            until,
        };
        (Outbound::Reconcile(record).to_vec(), String::new())
    } else {
        let record = SendRecord {
            send: s.id.to_string(),
            part: s.part,
            n: s.n,
            until,
            channel: s.channel.clone(),
            conversation: s.conv.to_string(),
            thread: p.thread.clone(),
            to: p.to.clone(),
            content: p.content.clone(),
            author: s.author.clone(),
            reply_to: p.reply_to.clone(),
            traceparent: None,
        };
        let key = record.claim_key();
        (Outbound::Send(Box::new(record)).to_vec(), key)
    };
    Some(OutRecord { channel: s.channel.clone(), claim_key, until, data: data.into() })
}

/// The claim of a send's current attempt.
fn claim_key(s: &SendState) -> String {
    format!("{}.{}.{}.{}", s.channel, s.id, s.part, s.n)
}
