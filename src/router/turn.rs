//! A turn: inputs, decisions, one commit, and what follows from it.

use super::Answers;
use super::codec::{Codec, Sealed};
use super::recover::{self, RecoverError, Recovered};
use super::snapshot::Snapshots;
use crate::clock;
use crate::log::{Claim, Commit, FrameWrite, Log, LogError, OutRecord, Seq, Stored};
use crate::metrics::Metrics;
use crate::packs::Packs;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use switchboard_envelope::{Action, ChannelProfile, Inbound, Outbound, Reconcile, Send as SendRecord, Timestamp};
use switchboard_routing_rules::event::{Event, Public};
use switchboard_routing_rules::ids::Salt;
use switchboard_routing_rules::state::{Phase, SendState, State};
use switchboard_routing_rules::{Input, RulePack, Verdict, decide};
use tokio::sync::watch;

#[cfg(test)]
use crate::simulation::{Bug, planted};

/// Inputs of one frame at most.
const INPUTS: usize = 256;
/// Events of one frame at most; a frame stays under 512 KiB with room to spare.
const EVENTS: usize = 1024;
/// Content of one frame at most, in bytes before sealing.
const CONTENT: usize = 96 * 1024;
/// How long a commit without an answer waits before the same bytes are tried again.
const RETRY: Duration = Duration::from_millis(50);
/// Wall-clock ticks are not finer than this.
const TICK_MIN: Duration = Duration::from_millis(5);
const TICK_MAX: Duration = Duration::from_secs(30);

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
    Codec(#[from] super::CodecError),
}

/// What others see of a running router.
#[derive(Clone)]
pub struct RouterHandle {
    /// The state after the last durable frame, with that frame's sequence.
    pub state: watch::Receiver<(Seq, Arc<State>)>,
    pub answers: Arc<Answers>,
}

pub struct Router {
    log: Arc<dyn Log>,
    codec: Arc<Codec>,
    packs: Arc<Packs>,
    channels: BTreeMap<String, ChannelProfile>,
    metrics: Arc<Metrics>,
    answers: Arc<Answers>,
    publish: watch::Sender<(Seq, Arc<State>)>,
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
}

/// What this process brings to lead a workspace.
pub struct Seat {
    pub channels: BTreeMap<String, ChannelProfile>,
    /// The key of the workspace's hashes.
    pub salt: Salt,
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
    content: usize,
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
        let Seat { channels, salt, process, feed } = seat;
        let Recovered { state, last, out_last } = recover::recover(&log, &codec, salt).await?;
        let pack = packs.at_lead(&log, &state).await?;
        let (publish, seen) = watch::channel((last, Arc::new(state.clone())));
        let answers = Arc::new(Answers::default());
        let mut router = Router {
            snapshots: Snapshots::new(log.clone(), codec.clone(), last),
            log,
            codec,
            packs,
            channels,
            metrics,
            answers: answers.clone(),
            publish,
            state,
            pack,
            last,
            out_last,
            frame: Draft::default(),
            orphans_checked: false,
            process,
            feed,
        };
        router.take_lead().await?;
        Ok((router, RouterHandle { state: seen, answers }))
    }

    async fn take_lead(&mut self) -> Result<(), Stop> {
        let incarnation = self.state.incarnation + 1;
        let channels = std::mem::take(&mut self.channels);
        self.decide(&Input::Lead { now: clock::now(), incarnation, channels: &channels });
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
        if !self.orphans_checked {
            self.orphans_checked = true;
            self.settle_orphans().await?;
            return Ok(());
        }
        let now = clock::now();
        if self.next_timer().is_some_and(|at| at <= now) {
            self.overdue(now).await?;
            if self.state.next_timer().is_some_and(|at| at <= now) {
                self.decide(&Input::Timers { now });
            }
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
        let before = self.state.next_timer();
        self.overdue(now).await?;
        self.decide(&Input::Timers { now });
        Ok(self.state.next_timer() != before)
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
            self.verdict(&send, now, verdict);
        }
        Ok(())
    }

    fn verdict(&mut self, send: &SendState, now: Timestamp, verdict: Verdict) {
        self.decide(&Input::Verdict { now, message: send.id, part: send.part, n: send.n, verdict });
    }

    /// A single process that starts knows that no edge is still sending: a claim without a result is `unknown` now.
    async fn settle_orphans(&mut self) -> Result<(), Stop> {
        if !self.log.exclusive() {
            return Ok(());
        }
        let claimed: Vec<Arc<SendState>> =
            self.state.sends.values().filter(|s| matches!(s.phase, Phase::InFlight { .. })).cloned().collect();
        for send in claimed {
            let holder = self.log.claimed(&claim_key(&send)).await?;
            if holder.is_some_and(|h| !crate::outbound::is_nonce_of(&self.process, &h)) {
                self.verdict(&send, clock::now(), Verdict::Unknown);
            }
        }
        self.commit().await
    }

    async fn input(&mut self, record: &Stored) -> Result<(), Stop> {
        let inbound = match Inbound::from_slice(&record.data) {
            Ok(inbound) if inbound.channel() == record.channel => inbound,
            Ok(_) => {
                self.poison(record, "the record names another channel than its subject");
                return Ok(());
            }
            Err(e) => {
                self.poison(record, &e.to_string());
                return Ok(());
            }
        };
        let candidate = self.candidate(&inbound).await;
        let input =
            Input::Record { seq: record.seq, stored_at: record.at, inbound: &inbound, candidate: candidate.as_deref() };
        let pack = self.pack.clone();
        // A record that makes the core panic must not stop the others; nothing of it was committed.
        match catch_unwind(AssertUnwindSafe(|| decide(&self.state, &input, &pack))) {
            Ok(decision) => self.take(decision.events, decision.after),
            Err(_) => self.poison(record, "deciding it failed; please report this with the record"),
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

    fn poison(&mut self, record: &Stored, reason: &str) {
        tracing::error!(seq = record.seq, channel = %record.channel, reason, "a record was quarantined");
        self.metrics.quarantined.inc();
        self.decide(&Input::Poison { seq: record.seq, stored_at: record.at, channel: &record.channel, reason });
    }

    fn decide(&mut self, input: &Input<'_>) {
        let decision = decide(&self.state, input, &self.pack.clone());
        self.take(decision.events, decision.after);
    }

    fn take(&mut self, events: Vec<Event>, after: State) {
        self.state = after;
        for event in events {
            if let Some(record) = self.out_record(&event.public) {
                self.frame.sends.push(record);
            }
            self.frame.content += codec_weight(&event);
            self.frame.events.push(event);
        }
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

    /// What an event sends to OUT.
    fn out_record(&self, event: &Public) -> Option<OutRecord> {
        let (message, until, asks) = match event {
            Public::Released { message, until, .. } => (message, *until, false),
            Public::Reconciling { message, until, .. } => (message, *until, true),
            _ => return None,
        };
        let s = self.state.sends.get(message)?;
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
                released_at: s.released.unwrap_or(self.state.now),
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

    async fn commit_if_full(&mut self) -> Result<(), Stop> {
        if self.frame.events.len() >= EVENTS || self.frame.content >= CONTENT {
            self.commit().await?;
        }
        Ok(())
    }

    /// Appends the frame: the same bytes until done, or until the log shows that another frame stands there.
    async fn commit(&mut self) -> Result<(), Stop> {
        if self.frame.events.is_empty() {
            return Ok(());
        }
        let Draft { events, sends, .. } = std::mem::take(&mut self.frame);
        #[cfg(test)]
        let events = self.plant_cursor_first(events).await?;
        let cursor = (self.state.cursor.seq, self.state.cursor.at);
        let Sealed { bytes, keys, id } = self.codec.encode(&events, cursor, self.out_last + 1).await?;
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
    async fn plant_cursor_first(&mut self, events: Vec<Event>) -> Result<Vec<Event>, Stop> {
        if !planted(Bug::CursorBeforeEffects) {
            return Ok(events);
        }
        let (cursor, effects): (Vec<Event>, Vec<Event>) =
            events.into_iter().partition(|e| matches!(e.public, Public::Consumed { .. }));
        let at = (self.state.cursor.seq, self.state.cursor.at);
        let sealed = self.codec.encode(&cursor, at, self.out_last + 1).await?;
        let write = FrameWrite { bytes: sealed.bytes, keys: sealed.keys, out_first: self.out_last + 1, sends: vec![] };
        while !matches!(self.log.commit(self.last, write.clone()).await, Commit::Done(_) | Commit::Conflict) {}
        self.last += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(effects)
    }

    fn after_commit(&mut self, events: Vec<Event>) {
        self.metrics.observe(&events);
        for event in &events {
            if let Public::Answered { command, reply, .. } = &event.public {
                self.answers.publish(*command, reply);
            }
        }
        (self.feed)(self.last, Arc::new(events));
        let _ = self.publish.send((self.last, Arc::new(self.state.clone())));
        self.snapshots.grew();
    }
}

/// The claim of a send's current attempt.
fn claim_key(s: &SendState) -> String {
    format!("{}.{}.{}.{}", s.channel, s.id, s.part, s.n)
}

/// A rough size of what an event adds to the sealed parts.
fn codec_weight(event: &Event) -> usize {
    use switchboard_routing_rules::event::Private;
    match event.private.as_ref().map(|(_, p)| p) {
        Some(Private::Received { content, .. } | Private::Send { content, .. }) => content.text.len() + 300,
        Some(Private::Note { text }) => text.len() + 50,
        Some(_) => 300,
        None => 50,
    }
}
