//! A turn: inputs, decisions, one commit, and what follows from it.

use super::alarms::Alarms;
use super::codec::{CodecError, Encoded, Sealed};
use super::outgoing::out_record;
use super::patience::{Passing as _, RETRY, answered};
use super::post::Post;
use super::rebase::Due;
use super::recover::{self, Folded, RecoverError};
use super::snapshot::Snapshots;
use super::unsent::Unsent;
use crate::clock;
use crate::log::frame::FrameId;
use crate::log::{Commit, FrameWrite, LogError, OutRecord, Seq, Stored};
use crate::packs::PackError;
use futures_util::FutureExt as _;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use switchboard_envelope::{Action, Inbound, Timestamp};
use switchboard_routing_rules::decide::{CLOCK_AHEAD_MS, stranded};
use switchboard_routing_rules::event::{Event, Public};
use switchboard_routing_rules::state::{InForce, State, Timer};
use switchboard_routing_rules::{Decision, Input, RulePack, decide};
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
/// Wall-clock ticks are not finer than this.
const TICK_MIN: Duration = Duration::from_millis(5);
const TICK_MAX: Duration = Duration::from_secs(30);
/// How often a leading router compares its clock with the log's.
const CLOCK: Duration = Duration::from_secs(10);

/// Why the router stopped.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    #[error("the log cannot be read: {0}")]
    Log(#[from] LogError),
    #[error(transparent)]
    Recover(#[from] RecoverError),
    #[error("no rule pack can be put in force: {0}")]
    Pack(PackError),
    #[error("a frame cannot be written: {0}")]
    Codec(#[from] CodecError),
}

impl From<PackError> for Stop {
    fn from(e: PackError) -> Stop {
        match e {
            // It says nothing of the pack.
            PackError::Log(e) => Stop::Log(e),
            e => Stop::Pack(e),
        }
    }
}

/// A router that leads.
pub(super) struct Router {
    pub post: Post,
    snapshots: Snapshots,
    pub state: State,
    pack: Arc<RulePack>,
    /// The one that is tried beside it.
    tried: Option<Arc<RulePack>>,
    /// LOG's and OUT's last sequences as this router left them.
    pub last: Seq,
    out_last: Seq,
    frame: Draft,
    /// When attempts of processes that are gone were last looked for, once IN was drained.
    pub orphans_looked: Option<tokio::time::Instant>,
    /// Claims had no room: attempts that are over wait for them until then.
    pub claims_again: Option<tokio::time::Instant>,
    /// Processes that were not there when it was looked for them, and since when.
    pub absent: BTreeMap<String, tokio::time::Instant>,
    clock_checked: tokio::time::Instant,
    alarms: Alarms,
}

/// Why a router ended by itself.
pub(super) enum Ended {
    /// It was asked to.
    Stopped,
    /// It must not lead any longer, for this reason.
    Hindered(String),
}

/// The frame in the making.
#[derive(Default)]
struct Draft {
    events: Vec<Event>,
    sends: Vec<OutRecord>,
    encoded: Encoded,
}

impl Draft {
    /// The next frame, with room for as much as this one holds.
    fn next(&self) -> Draft {
        Draft {
            events: Vec::with_capacity(self.events.len()),
            sends: Vec::with_capacity(self.sends.len()),
            encoded: self.encoded.next(),
        }
    }
}

impl Router {
    /// Begins to lead with this pack: once this has an answer, this process decides.
    ///
    /// # Errors
    /// When another router wrote first, or the log cannot be written.
    pub(super) async fn lead(
        post: Post,
        folded: Folded,
        (pack, tried): (Arc<RulePack>, Option<Arc<RulePack>>),
        out_last: Seq,
        due: Option<Due>,
    ) -> Result<Router, (Box<Post>, Stop)> {
        let Folded { state, last, .. } = folded;
        let snapshots = Snapshots::new(post.log.clone(), post.codec.clone(), post.metrics.clone(), last);
        let mut router = Router {
            alarms: Alarms::of(&state),
            post,
            snapshots,
            state,
            pack,
            tried,
            last,
            out_last,
            frame: Draft::default(),
            orphans_looked: None,
            claims_again: None,
            absent: BTreeMap::new(),
            clock_checked: tokio::time::Instant::now(),
        };
        match router.take_lead(due).await {
            Ok(()) => Ok(router),
            Err(stop) => Err((Box::new(router.post), stop)),
        }
    }

    async fn take_lead(&mut self, due: Option<Due>) -> Result<(), Stop> {
        if let Some(Due { now, number, agrees, inn, out, cut, why }) = due {
            let cursor = agrees.seq;
            // What IN lacks of what was decided is in LOG; what had come after it is nowhere.
            if cut || cursor < self.state.cursor.seq {
                tracing::error!(why, cut, out, cursor, "the log is not the one that was written last: it is rebased");
            } else {
                tracing::warn!(why, cut, out, cursor, "the log is rebased; it lacks nothing that was decided");
            }
            let frame = self.last + 1;
            self.decide(&Input::Rebase { now, number, frame, agrees, inn, out, cut, why: &why })?;
        }
        let incarnation = self.state.incarnation + 1;
        let channels = std::mem::take(&mut self.post.channels);
        let decided = self.decide(&Input::Lead { now: clock::now(), incarnation, channels: &channels });
        self.post.channels = channels;
        decided?;
        self.commit().await?;
        self.post.publish(self.last, &self.state);
        Ok(())
    }

    /// Routes until `stop` turns true.
    ///
    /// # Errors
    /// When the log is damaged or another writer took over; this router must not go on.
    pub(super) async fn run(&mut self, stop: &mut watch::Receiver<bool>) -> Result<Ended, Stop> {
        let mut tail = self.post.log.in_tail();
        while !*stop.borrow() {
            if let Some(why) = self.hindered().await? {
                return Ok(Ended::Hindered(why));
            }
            tail.borrow_and_update();
            let records = self.read().await?;
            if records.is_empty() {
                self.idle(&mut tail, stop).await?;
            } else {
                self.inputs(records).await?;
            }
        }
        // What was accepted before the stop is decided before the process ends; others may go on writing.
        let (end, alone) = (*self.post.log.in_tail().borrow(), self.post.log.exclusive());
        while alone || self.state.cursor.seq < end {
            let records = self.read().await?;
            if records.is_empty() {
                break;
            }
            self.inputs(records).await?;
        }
        self.post.publish(self.last, &self.state);
        Ok(Ended::Stopped)
    }

    /// The snapshot of the end, so that the next start is quick.
    pub(super) async fn last_snapshot(&mut self) {
        self.snapshots.last_one(&self.state, self.last).await;
    }

    /// Ends in order: what was decided is durable, so the state can be kept.
    pub(super) fn step_down(self) -> (Post, Folded) {
        let (unsent, assigned) = (Unsent::after(self.out_last), Some(self.out_last));
        let id = self.post.told.id;
        (self.post, Folded { state: self.state, last: self.last, id, unsent, assigned })
    }

    /// Why this process must not lead any longer; looked at now and then.
    async fn hindered(&mut self) -> Result<Option<String>, RecoverError> {
        if self.clock_checked.elapsed() < CLOCK {
            return Ok(None);
        }
        self.clock_checked = tokio::time::Instant::now();
        // Somebody may know more of LOG than this process does.
        if !self.post.log.exclusive() && self.post.is_rebase_asked(&self.state).await.unwrap_or(false) {
            return Err(RecoverError::AnotherLog);
        }
        // A log that does not answer tells nothing about clocks.
        Ok(self.post.clock_hinders().await.ok().flatten())
    }

    pub(super) async fn read(&self) -> Result<Vec<Stored>, Stop> {
        let mut tries = 0_u64;
        loop {
            let records = self.post.log.read_in(self.state.cursor.seq, INPUTS).await;
            // What another life of the log says, be it that there is nothing, is no input of this state.
            self.same_life()?;
            match records {
                Err(e) if e.passes() => {
                    tries += 1;
                    if tries.is_power_of_two() {
                        tracing::warn!(error = %e, tries, "cannot read the log's input; trying again");
                    }
                    self.post.metrics.log_error("read");
                    tokio::time::sleep(RETRY).await;
                }
                records => return Ok(records?),
            }
        }
    }

    fn same_life(&self) -> Result<(), RecoverError> {
        if self.post.is_another_life() { Err(RecoverError::AnotherLog) } else { Ok(()) }
    }

    /// IN is drained: time may move.
    async fn idle(&mut self, tail: &mut watch::Receiver<Seq>, stop: &mut watch::Receiver<bool>) -> Result<(), Stop> {
        self.post.publish(self.last, &self.state);
        if self.orphans_due() {
            return self.settle_orphans().await;
        }
        let now = clock::now();
        if self.state.now.since(now) > CLOCK_AHEAD_MS && self.set_back().await? {
            return Ok(());
        }
        if self.claims_again.is_some() && !self.claims_wait() {
            self.overdue(now).await?;
            self.commit().await?;
        }
        if self.next_timer().is_some_and(|at| at <= now) {
            self.overdue(now).await?;
            if self.next_timer().is_some_and(|at| at <= now) {
                self.decide(&Input::Timers { now })?;
            }
            self.commit().await?;
            self.post.publish(self.last, &self.state);
            return Ok(());
        }
        if stranded(&self.state, InForce { pack: &self.pack, tried: self.tried.as_deref() }).next().is_some() {
            self.decide(&Input::Timers { now })?;
            self.commit().await?;
            return Ok(());
        }
        let longest = if self.post.log.exclusive() { TICK_MAX } else { CLOCK };
        let wait = self.next_timer().map_or(longest, |at| {
            Duration::from_millis(u64::try_from(at.since(now)).unwrap_or(0)).clamp(TICK_MIN, longest)
        });
        let wait = self.claims_again.map_or(wait, |at| wait.min(at.duration_since(tokio::time::Instant::now())));
        self.snapshots.consider(&self.state, self.last).await;
        self.post.answers.sweep();
        let (last, mut frames) = (self.last, self.post.log.log_tail());
        tokio::select! {
            biased;
            _ = stop.changed() => {}
            _ = tail.changed() => {}
            () = tokio::time::sleep(wait) => {}
            // Another leads, and did not wait for a frame of ours to be refused.
            Ok(tail) = frames.wait_for(|tail| *tail > last), if !self.post.log.exclusive() => {
                return Err(RecoverError::AnotherWriter(*tail).into());
            }
        }
        Ok(())
    }

    /// `now` is far ahead of this clock: set back to the log's, if that one says so too.
    async fn set_back(&mut self) -> Result<bool, Stop> {
        let Ok(now) = self.post.log.now().await else { return Ok(false) };
        let ahead = self.state.now.since(now);
        if ahead <= CLOCK_AHEAD_MS {
            return Ok(false);
        }
        tracing::warn!(seconds = ahead / 1000, "the clock was ahead: everything that waits is set back with it");
        self.decide(&Input::Timers { now })?;
        self.commit().await?;
        self.post.publish(self.last, &self.state);
        Ok(true)
    }

    async fn inputs(&mut self, records: Vec<Stored>) -> Result<(), Stop> {
        let (began, before) = (std::time::Instant::now(), self.snapshots.under_way());
        for record in records {
            let now = self.state.now.max(record.at);
            // Due before it, and not only by now: who began to lead is later than what still waits here to be heard.
            while self.next_timer().is_some_and(|at| at <= record.at) && self.fire(now).await? {
                self.commit_if_full().await?;
            }
            self.input(&record).await?;
            self.commit_if_full().await?;
        }
        self.commit().await?;
        self.snapshots.consider(&self.state, self.last).await;
        self.post.metrics.turned(began.elapsed(), before || self.snapshots.under_way());
        Ok(())
    }

    /// Fires what is due; false when that changed nothing, so that no timer can hold the loop.
    async fn fire(&mut self, now: Timestamp) -> Result<bool, Stop> {
        let before = self.first_due(now);
        self.overdue(now).await?;
        self.decide(&Input::Timers { now })?;
        Ok(self.first_due(now) != before)
    }

    /// The first timer that is due and can fire now.
    fn first_due(&self, now: Timestamp) -> Option<(Timestamp, Timer)> {
        if self.claims_wait() {
            return self.state.due_but_ends(now).next();
        }
        self.state.due(now).next()
    }

    fn next_timer(&self) -> Option<Timestamp> {
        #[cfg(test)]
        if planted(Bug::ForgottenTimer) && self.state.incarnation > 1 {
            return None;
        }
        if self.claims_wait() {
            return self.state.next_timer_but_ends();
        }
        self.state.next_timer()
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
        #[cfg(test)]
        let inbound = crate::simulation::mistaken(inbound);
        let candidate = self.candidate(&inbound).await?;
        let input =
            Input::Record { seq: record.seq, stored_at: record.at, inbound: &inbound, candidate: candidate.as_deref() };
        let displaced = self.state.dups.displaced(self.state.now.max(record.at), self.state.limits.duplicates);
        let (pack, tried, state) = (self.pack.clone(), self.tried.clone(), self.lend());
        #[cfg(test)]
        let tried = tried.filter(|_| !planted(Bug::TrialForgotten) || state.incarnation < 2);
        #[cfg(test)]
        let pack = crate::simulation::bent(&inbound, &pack).unwrap_or(pack);
        #[cfg(test)]
        let (state, right) = crate::simulation::ageless(&inbound, state);
        let packs = InForce { pack: &pack, tried: tried.as_deref() };
        // A record that makes the core panic must not stop the others; nothing of it was committed.
        let decided = catch_unwind(AssertUnwindSafe(|| {
            #[cfg(test)]
            crate::simulation::trip(&inbound);
            decide(state, &input, packs)
        }));
        match decided {
            Ok(decision) => {
                #[cfg(test)]
                let decision = crate::simulation::righted(decision, right);
                #[cfg(test)]
                let decision = Decision { events: crate::simulation::told(decision.events), ..decision };
                let encoded = self.encode(&decision.events)?;
                if encoded.size() <= DECISION {
                    let new = matches!(
                        decision.events.first().map(|e| &e.public),
                        Some(Public::Consumed { id: Some(_), duplicate: false, .. })
                    );
                    self.take(decision, encoded);
                    if new && displaced > 0 {
                        self.alarms.forgot(displaced, self.state.dups.len(), &self.post.metrics);
                    }
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
        self.follow_packs(candidate);
        self.post.metrics.decided.inc();
        Ok(())
    }

    /// The pack that a command asks for, compiled before the core sees it.
    async fn candidate(&self, inbound: &Inbound) -> Result<Option<Arc<RulePack>>, Stop> {
        let Inbound::Command(c) = inbound else { return Ok(None) };
        let hash = match &c.action {
            Action::ReloadPack { hash } => Some(hash),
            Action::TryPack { hash, .. } | Action::RollbackPack { to: Some(hash) } => Some(hash),
            Action::RollbackPack { to: None } => self.state.previous_pack.as_ref(),
            _ => None,
        };
        let Some(hash) = hash else { return Ok(None) };
        Ok(answered("a rule pack", || self.post.packs.by_hash(&self.post.log, hash).boxed()).await?)
    }

    /// The packs that decide are those of which the state says so.
    fn follow_packs(&mut self, candidate: Option<Arc<RulePack>>) {
        for pack in candidate.into_iter().chain(self.tried.take()) {
            if pack.hash() == self.state.pack {
                self.pack = pack;
            } else if self.state.trying().is_some_and(|c| c.pack == pack.hash()) {
                self.tried = Some(pack);
            }
        }
    }

    fn poison(&mut self, record: &Stored, reason: &str) -> Result<(), Stop> {
        tracing::error!(seq = record.seq, channel = %record.channel, reason, "a record was quarantined");
        self.post.metrics.quarantined.inc();
        self.decide(&Input::Poison { seq: record.seq, stored_at: record.at, channel: &record.channel, reason })
    }

    pub(super) fn decide(&mut self, input: &Input<'_>) -> Result<(), Stop> {
        let (pack, tried) = (self.pack.clone(), self.tried.clone());
        let decision = decide(self.lend(), input, InForce { pack: &pack, tried: tried.as_deref() });
        #[cfg(test)]
        let decision = Decision { events: crate::simulation::told(decision.events), ..decision };
        let encoded = self.encode(&decision.events)?;
        self.take(decision, encoded);
        Ok(())
    }

    fn encode(&self, events: &[Event]) -> Result<Encoded, CodecError> {
        self.post.codec.may_write(events)?;
        let mut encoded = Encoded::after(&self.frame.encoded);
        events.iter().try_for_each(|e| encoded.push(e))?;
        Ok(encoded)
    }

    /// The state, for a decision that gives back the next one.
    fn lend(&mut self) -> State {
        std::mem::replace(&mut self.state, self.post.empty())
    }

    /// The state went down with a decision that panicked: what is durable is folded again, and the frame in the making.
    async fn fold_again(&mut self) -> Result<(), Stop> {
        let fold = || async {
            let (post, unsent) = (&self.post, Unsent::nothing());
            recover::recover(&post.log, &post.codec, post.empty(), unsent, &post.answers).await
        };
        let (folded, _) = answered("LOG, to fold it again", fold).await?;
        if folded.last != self.last {
            return Err(RecoverError::AnotherWriter(folded.last).into());
        }
        self.state = folded.state;
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
        // A command that puts another pack in force is decided before that pack is taken up here.
        let in_force =
            [Some(&self.pack), self.tried.as_ref()].into_iter().flatten().find(|p| p.hash() == self.state.pack);
        if let Some(pack) = in_force.filter(|_| self.state.conversations.len() < 50) {
            let packs = InForce { pack, tried: self.tried.as_deref() };
            let broken = switchboard_routing_rules::invariants::check_invariants(&self.state, packs);
            debug_assert!(broken.is_empty(), "invariants broken: {broken:?}");
        }
    }

    pub(super) async fn commit_if_full(&mut self) -> Result<(), Stop> {
        if self.frame.encoded.size() >= FULL {
            self.commit().await?;
        }
        Ok(())
    }

    /// Appends the frame: the same bytes until done, or until the log shows that another frame stands there.
    pub(super) async fn commit(&mut self) -> Result<(), Stop> {
        if self.frame.events.is_empty() {
            return Ok(());
        }
        let next = self.frame.next();
        let Draft { events, sends, encoded } = std::mem::replace(&mut self.frame, next);
        #[cfg(test)]
        let (events, encoded) = self.plant_cursor_first(events, encoded).await?;
        let cursor = (self.state.cursor.seq, self.state.cursor.at);
        let Sealed { bytes, keys, id } = self.post.codec.seal(encoded, cursor, self.out_last + 1).await?;
        let count = sends.len() as u64;
        let write = FrameWrite { bytes, keys, out_first: self.out_last + 1, sends };
        let started = std::time::Instant::now();
        let mut tries = 0_u64;
        loop {
            self.same_life()?;
            match self.post.log.commit(self.last, write.clone()).await {
                Commit::Done(seq) => {
                    self.last = seq;
                    break;
                }
                #[cfg(test)]
                Commit::Conflict if planted(Bug::DroppedCompareAndSwap) => self.last += 1,
                Commit::Conflict if self.post.codec.frame_id_at(&self.post.log, self.last + 1).await? == Some(id) => {
                    self.last += 1;
                    break;
                }
                Commit::Conflict => {
                    return Err(RecoverError::AnotherWriter(self.last + 1).into());
                }
                Commit::Unknown(why) => {
                    tries += 1;
                    // A full log can stay so for hours: it is told less and less often.
                    if tries.is_power_of_two() {
                        tracing::warn!(why, tries, "the log did not take a frame; trying again");
                    }
                    self.post.metrics.log_error("commit");
                    self.post.writes(Some(why));
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        self.post.writes(None);
        self.out_last += count;
        self.post.metrics.committed(started.elapsed());
        self.after_commit(id, events);
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
        let sealed = self.post.codec.seal(self.encode(&cursor)?, at, self.out_last + 1).await?;
        let write = FrameWrite { bytes: sealed.bytes, keys: sealed.keys, out_first: self.out_last + 1, sends: vec![] };
        while !matches!(self.post.log.commit(self.last, write.clone()).await, Commit::Done(_) | Commit::Conflict) {}
        self.last += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let encoded = self.encode(&effects)?;
        Ok((effects, encoded))
    }

    fn after_commit(&mut self, id: FrameId, events: Vec<Event>) {
        self.post.metrics.observe(&events);
        self.alarms.see(&events, &self.post.metrics);
        self.snapshots.grew(events.len());
        self.post.after_frame((self.last, id), &self.state, events);
    }
}
