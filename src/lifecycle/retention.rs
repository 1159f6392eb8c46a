//! Forgetting what need not be kept: IN behind the router, LOG behind its snapshots, OUT once its attempts are over.

use super::aside;
use crate::config::RetentionConfig;
use crate::history::HistoryHandle;
use crate::log::{Log, LogError, Seq, Stored};
use crate::metrics::Metrics;
use crate::router::{Standing, View};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::state::{Phase, State};
use tokio::sync::watch;
use tokio::time::Instant;

/// Often enough that IN cannot fill up in between.
const EVERY: Duration = Duration::from_secs(5);
/// LOG is looked at every hour: that reads the snapshots.
const LOG_ROUNDS: u32 = 720;
/// Records looked at, and trimmed, in one step.
const STEP: usize = 256;
/// From here on IN is trimmed behind the cursor whatever its age.
const HALF_FULL: u32 = 500;
/// From here on also what is in quarantine and cannot be kept beside IN: new messages would have to be refused for it.
const NEARLY_FULL: u32 = 700;
/// Records of the quarantine that are kept beside IN: each takes a place among the cursors, of which a broker has few megabytes.
const MOST_ASIDE: usize = 10_000;
/// An attempt ends ten minutes after its release at the latest, and its claim is asked within ten more.
const OUT_MS: i64 = 20 * 60_000;
/// No clock gains as much between two looks by itself.
const JUMP_MS: i64 = 60_000;
/// How often a log that does not say its time is asked at the beginning, and with what pause.
const LOOKS: u32 = 50;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub struct Keeper {
    pub log: Arc<dyn Log>,
    pub state: View,
    /// Only the router that leads trims.
    pub standing: watch::Receiver<Standing>,
    pub history: HistoryHandle,
    pub metrics: Arc<Metrics>,
    pub retention: RetentionConfig,
}

impl Keeper {
    /// Keeps the log within its retention until `stop` turns true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let (mut rounds, mut steady) = (0_u32, Steady::default());
        steady.look(self.log.as_ref()).await;
        let mut held = Quarantine::default();
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            if let Ok(fill) = self.log.in_fill().await {
                self.metrics.in_fill(fill);
            }
            if *self.standing.borrow() != Standing::Leads {
                continue;
            }
            let life = self.log.doubt().life();
            let (at, state) = self.state.recent();
            let known = Known { life, at, state: &state };
            let seen = match known.holds(self.log.as_ref()).await {
                Ok(true) => held.is_now(self.log.as_ref(), &state).await,
                other => other.map(drop),
            };
            if let Err(error) = seen {
                tracing::warn!(%error, "what left the quarantine could not be removed; it is tried again");
            }
            let told = rounds.is_multiple_of(LOG_ROUNDS).then(|| self.history.history().cursor());
            rounds = rounds.wrapping_add(1);
            if let Err(error) = tidy(self.log.as_ref(), known, told, &self.retention, &mut steady).await {
                tracing::warn!(%error, "the log could not be trimmed; it is tried again");
                self.metrics.log_error("trim");
            }
        }
    }
}

/// What was in quarantine when it was last looked at.
#[derive(Default)]
struct Quarantine {
    records: BTreeSet<Seq>,
    /// The last rebase by then.
    rebase: Option<u64>,
}

impl Quarantine {
    /// Removes what was kept for the quarantine, and was retried or dropped since. What a rebase takes out of it nobody released.
    async fn is_now(&mut self, log: &dyn Log, state: &State) -> Result<(), LogError> {
        let rebase = state.rebased.map(|r| r.number);
        let gone = self.records.iter().filter(|seq| !state.quarantine.contains_key(*seq));
        if rebase == self.rebase {
            for seq in gone {
                aside::forget(log, *seq).await?;
            }
        } else {
            let gone: Vec<&Seq> = gone.collect();
            if !gone.is_empty() {
                tracing::error!(
                    ?gone,
                    "these records are in quarantine no more after a rebase; their bytes stay where they are"
                );
            }
        }
        *self = Quarantine { records: state.quarantine.keys().copied().collect(), rebase };
        Ok(())
    }
}

/// What is known of the log by whoever trims it.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    /// The life of the log, asked before the state.
    pub life: u64,
    /// The frame after which the state was so.
    pub at: Seq,
    pub state: &'a State,
}

impl Known<'_> {
    /// Whether LOG has that frame, as far as is known: where it does not, an older copy came back, and what it does not say must stay
    /// in IN to be decided again. Asked right before what cannot be undone.
    async fn holds(&self, log: &dyn Log) -> Result<bool, LogError> {
        let there = log.log_bounds().await?.1 >= self.at;
        Ok(there && !log.doubt().is_doubted() && log.doubt().life() == self.life)
    }
}

/// Trims IN and OUT once, and LOG when `told` says up to which frame history holds it.
pub(crate) async fn tidy(
    log: &dyn Log,
    known: Known<'_>,
    told: Option<Seq>,
    retention: &RetentionConfig,
    steady: &mut Steady,
) -> Result<(), LogError> {
    if !known.holds(log).await? {
        return Ok(());
    }
    let now = steady.now(log.now().await?);
    // What has no room in one of them is no reason to let the others fill up.
    let inn = trim_in(log, known, now.plus(-millis(retention.raw))).await;
    let frames = match told {
        Some(told) => trim_log(log, told, now.plus(-millis(retention.messages))).await,
        None => Ok(()),
    };
    log.trim_out(out_before(known.state, now)).await?;
    inn.and(frames)
}

/// The time by which things grow old. A clock that jumps ahead is believed once it has stayed there for as long as an attempt may need
/// its record and its claim: what a moment of a wrong clock throws away nothing brings back.
#[derive(Default)]
pub(crate) struct Steady {
    /// The last time that was believed, and when that was.
    believed: Option<(Timestamp, Instant)>,
    ahead: Option<Instant>,
}

impl Steady {
    /// The clock as it is at the beginning. It is asked again where the log does not answer: what it says first is believed, and later
    /// it may be wrong.
    pub(crate) async fn look(&mut self, log: &dyn Log) {
        for _ in 0..LOOKS {
            if let Ok(now) = log.now().await {
                self.now(now);
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn now(&mut self, told: Timestamp) -> Timestamp {
        let here = Instant::now();
        let expected = self.believed.map_or(told, |(then, at)| then.plus(millis(here.duration_since(at))));
        let is_jump = told.since(expected) > JUMP_MS;
        let since = *self.ahead.get_or_insert(here);
        if is_jump && millis(here.duration_since(since)) < OUT_MS {
            return expected;
        }
        (self.believed, self.ahead) = (Some((told, here)), None);
        told
    }
}

/// The record at the cursor stays: it tells whether a log that was restored agrees with the state. What is in quarantine is kept
/// beside IN first.
async fn trim_in(log: &dyn Log, known: Known<'_>, before: Timestamp) -> Result<(), LogError> {
    let end = known.state.cursor.seq;
    let quarantine = &known.state.quarantine;
    loop {
        let fill = log.in_fill().await?;
        let old = |r: &Stored| r.seq < end && (r.at < before || fill >= HALF_FULL);
        if !log.read_in(0, 1).await?.first().is_some_and(old) {
            return Ok(());
        }
        let records = log.read_in(0, STEP).await?;
        let Some(last) = records.iter().take_while(|r| old(r)).last() else { return Ok(()) };
        for record in records.iter().take_while(|r| r.seq <= last.seq).filter(|r| quarantine.contains_key(&r.seq)) {
            let kept = match quarantine.range(..record.seq).rev().nth(MOST_ASIDE - 1) {
                Some((oldest, _)) => gives_way(log, *oldest).await,
                None => Ok(()),
            };
            match kept.and(aside::keep(log, record).await) {
                Err(error) if fill >= NEARLY_FULL => {
                    tracing::error!(
                        seq = record.seq,
                        channel = %record.channel,
                        %error,
                        "a record in quarantine is trimmed and could not be kept beside; it cannot be retried any more"
                    );
                }
                kept => kept?,
            }
        }
        if !known.holds(log).await? {
            return Ok(());
        }
        log.trim_in(last.seq).await?;
    }
}

/// Forgets the oldest record that is kept beside IN for a newer one.
async fn gives_way(log: &dyn Log, seq: Seq) -> Result<(), LogError> {
    if aside::forget(log, seq).await? {
        tracing::error!(
            seq,
            most = MOST_ASIDE,
            "the oldest record of the quarantine is not kept any more, for there are too many of them: retry or drop them"
        );
    }
    Ok(())
}

/// Frames are needed from the older of the two snapshots on, and until history holds them.
async fn trim_log(log: &dyn Log, told: Seq, before: Timestamp) -> Result<(), LogError> {
    let (first, _) = log.log_bounds().await?;
    let after = first.saturating_sub(1);
    if log.read_log(after, 1).await?.first().is_none_or(|frame| frame.at >= before) {
        return Ok(());
    }
    // Newest first; with a single one, the whole log is what makes up for its loss.
    let snapshots = log.snapshots().await?;
    let Some((covered, _)) = snapshots.get(1) else { return Ok(()) };
    let end = told.min(*covered);
    let mut after = after;
    loop {
        let frames = log.read_log(after, STEP).await?;
        let Some(last) = frames.iter().take_while(|f| f.seq <= end && f.at < before).last() else { return Ok(()) };
        log.trim_log(last.seq).await?;
        after = last.seq;
    }
}

/// OUT is kept for as long as an attempt may need it: also one that was released before an outage and not settled since.
fn out_before(state: &State, now: Timestamp) -> Timestamp {
    let open = |phase: &Phase| matches!(phase, Phase::InFlight { .. } | Phase::Reconciling { .. });
    let oldest = state.sends.values().filter(|s| open(&s.phase)).filter_map(|s| s.released).min();
    match oldest {
        // The clock went back since: nothing tells how old that attempt is.
        Some(released) if released > now => Timestamp(0),
        Some(released) => released.min(now.plus(-OUT_MS)),
        None => now.plus(-OUT_MS),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::{Faults, MemoryLog, MemoryOptions, Room};
    use crate::log::{Class, Commit, FrameWrite, InRecord};
    use bytes::Bytes;
    use switchboard_routing_rules::ids::Salt;
    use switchboard_routing_rules::state::Rebase;

    const DAY: Duration = Duration::from_secs(86_400);

    fn retention() -> RetentionConfig {
        RetentionConfig { messages: DAY * 365, raw: DAY * 30 }
    }

    async fn ingest(log: &MemoryLog, n: usize, size: usize) {
        for i in 0..n {
            let data = Bytes::from(vec![b'x'; size]);
            let record = InRecord { id: format!("sms:{size}:{i}"), channel: "sms".into(), class: Class::Message, data };
            log.ingest(record).await.expect("there is room");
        }
    }

    async fn commit(log: &MemoryLog, frames: u64) {
        for expected in 0..frames {
            let frame = FrameWrite { bytes: Bytes::from_static(b"frame"), keys: vec![], out_first: 1, sends: vec![] };
            assert_eq!(log.commit(expected, frame).await, Commit::Done(expected + 1));
        }
    }

    fn known<'a>(log: &MemoryLog, at: Seq, state: &'a State) -> Known<'a> {
        Known { life: log.doubt().life(), at, state }
    }

    fn at_cursor(seq: Seq) -> State {
        let mut state = State::new(Salt([1; 16]));
        state.cursor.seq = seq;
        state
    }

    async fn kept(log: &MemoryLog) -> Vec<Seq> {
        log.read_in(0, 10_000).await.expect("read").iter().map(|r| r.seq).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_of_the_beginning_is_known_although_an_answer_is_lost() {
        for seed in 1..20 {
            let faults = Faults { lost_read: 500, ..Faults::default() };
            let log = MemoryLog::new(&MemoryOptions { seed, faults, ..MemoryOptions::default() });
            let mut steady = Steady::default();
            steady.look(&log).await;
            let hours = Timestamp(36_000_000);
            assert!(steady.now(hours) < hours, "a jump is not what it began with");
        }
    }

    #[tokio::test]
    async fn records_are_kept_for_their_time_and_never_beyond_the_cursor() {
        let log = MemoryLog::new(&MemoryOptions::default());
        ingest(&log, 600, 10).await;
        tidy(&log, known(&log, 0, &at_cursor(500)), Some(0), &retention(), &mut Steady::default()).await.expect("tidy");
        assert_eq!(kept(&log).await.len(), 600, "nothing is old yet");
        let later = log.now().await.expect("now").plus(1);
        trim_in(&log, known(&log, 0, &at_cursor(500)), later).await.expect("trim");
        assert_eq!(kept(&log).await.first(), Some(&500), "the record at the cursor stays");
        assert_eq!(kept(&log).await.len(), 101);
    }

    #[tokio::test]
    async fn while_an_older_copy_of_the_log_is_back_nothing_is_trimmed() {
        let log = MemoryLog::new(&MemoryOptions { in_max_bytes: 1_000_000, ..MemoryOptions::default() });
        ingest(&log, 600, 1000).await;
        commit(&log, 4).await;
        let state = at_cursor(500);
        tidy(&log, known(&log, 5, &state), Some(0), &retention(), &mut Steady::default()).await.expect("tidy");
        assert_eq!(kept(&log).await.len(), 600, "LOG ends before the frame that says that these were decided");
        log.doubt().log_is_another();
        tidy(&log, known(&log, 4, &state), Some(0), &retention(), &mut Steady::default()).await.expect("tidy");
        assert_eq!(kept(&log).await.len(), 600, "nobody has rebased it yet");
        let before = Known { life: log.doubt().life() - 1, at: 4, state: &state };
        log.doubt().rebased(log.doubt().log_life(), 0);
        tidy(&log, before, Some(0), &retention(), &mut Steady::default()).await.expect("tidy");
        assert_eq!(kept(&log).await.len(), 600, "the state is that of another life");
        tidy(&log, known(&log, 4, &state), Some(0), &retention(), &mut Steady::default()).await.expect("tidy");
        assert!(kept(&log).await.len() < 600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_jumps_ahead_makes_nothing_old_until_it_stays_there() {
        let mut steady = Steady::default();
        let minutes = |n: i64| Timestamp(n * 60_000);
        assert_eq!(steady.now(minutes(0)), minutes(0));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(steady.now(minutes(600)), minutes(1));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(steady.now(minutes(2)), minutes(2), "it was wrong for a moment");
        for n in 3..22 {
            tokio::time::advance(Duration::from_secs(60)).await;
            assert_eq!(steady.now(minutes(600 + n)), minutes(n));
        }
        tokio::time::advance(Duration::from_secs(120)).await;
        assert_eq!(steady.now(minutes(624)), minutes(624), "it was set");
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(steady.now(minutes(5)), minutes(5), "and set back");
    }

    #[tokio::test]
    async fn half_full_is_trimmed_whatever_its_age_so_that_messages_are_not_refused() {
        let log = MemoryLog::new(&MemoryOptions { in_max_bytes: 1_000_000, ..MemoryOptions::default() });
        ingest(&log, 600, 1000).await;
        assert!(log.in_fill().await.expect("fill") > HALF_FULL);
        tidy(&log, known(&log, 0, &at_cursor(200)), Some(0), &retention(), &mut Steady::default()).await.expect("tidy");
        assert!(log.in_fill().await.expect("fill") < HALF_FULL, "what was decided went");
        assert!(kept(&log).await.contains(&600), "what was not decided stays");
    }

    #[tokio::test]
    async fn what_is_in_quarantine_is_kept_beside_in_until_it_is_in_quarantine_no_more() {
        let log = MemoryLog::new(&MemoryOptions { in_max_bytes: 1_000_000, ..MemoryOptions::default() });
        ingest(&log, 600, 1000).await;
        let mut state = at_cursor(550);
        state.quarantine = [1_u64, 3, 600].into_iter().map(|seq| (seq, None)).collect();
        tidy(&log, known(&log, 0, &state), None, &retention(), &mut Steady::default()).await.expect("tidy");
        assert!(log.in_fill().await.expect("fill") < HALF_FULL, "it holds up nothing");
        assert!(!kept(&log).await.contains(&3));
        for (seq, there) in [(1, true), (2, false), (3, true), (600, true)] {
            let found = aside::find(&log, seq).await.expect("an answer");
            assert_eq!(found.map(|r| (r.seq, r.data.len())), there.then_some((seq, 1000)));
        }
        let mut held = Quarantine::default();
        held.is_now(&log, &state).await.expect("looked at");
        state.quarantine.remove(&1);
        held.is_now(&log, &state).await.expect("removed");
        assert!(aside::find(&log, 1).await.expect("an answer").is_none(), "it was retried or dropped");
        assert!(aside::find(&log, 3).await.expect("an answer").is_some());
        state.quarantine.remove(&3);
        let at = Timestamp(0);
        state.rebased = Some(Rebase { number: 1, at, frame: 1, out: 0, inn: 0, cut_inn: None, lost_at: None });
        held.is_now(&log, &state).await.expect("looked at");
        assert!(aside::find(&log, 3).await.expect("an answer").is_some(), "nobody released it");
    }

    #[tokio::test]
    async fn of_what_is_kept_beside_in_the_oldest_gives_way_when_there_is_too_much() {
        let log = MemoryLog::new(&MemoryOptions::default());
        let most = MOST_ASIDE as u64;
        ingest(&log, MOST_ASIDE + 3, 10).await;
        let mut state = at_cursor(most + 3);
        state.quarantine = (1..=most + 2).map(|seq| (seq, None)).collect();
        let later = log.now().await.expect("now").plus(1);
        trim_in(&log, known(&log, 0, &state), later).await.expect("trim");
        assert_eq!(kept(&log).await, [most + 3]);
        for (seq, there) in [(1, false), (2, false), (3, true), (most + 2, true)] {
            assert_eq!(aside::find(&log, seq).await.expect("an answer").is_some(), there, "{seq}");
        }
    }

    #[tokio::test]
    async fn what_is_in_quarantine_goes_by_its_age_out_of_in_and_not_out_of_reach() {
        let log = MemoryLog::new(&MemoryOptions::default());
        ingest(&log, 10, 10).await;
        let mut state = at_cursor(10);
        state.quarantine.insert(5, None);
        let later = log.now().await.expect("now").plus(1);
        trim_in(&log, known(&log, 0, &state), later).await.expect("trim");
        assert_eq!(kept(&log).await, [10]);
        assert!(aside::find(&log, 5).await.expect("an answer").is_some());
    }

    #[tokio::test]
    async fn what_is_in_quarantine_and_has_no_room_gives_way_only_to_messages_that_would_be_refused() {
        let log = MemoryLog::new(&MemoryOptions { in_max_bytes: 1_000_000, ..MemoryOptions::default() });
        ingest(&log, 600, 1000).await;
        let mut state = at_cursor(650);
        state.quarantine.insert(1, None);
        commit(&log, 20).await;
        for at in [10, 15] {
            log.put_snapshot(at, Bytes::from_static(b"state")).await.expect("snapshot");
        }
        log.set_now(log.now().await.expect("now").plus(1000));
        log.set_room(Room::None);
        let soon = RetentionConfig { messages: Duration::ZERO, ..retention() };
        assert!(matches!(
            tidy(&log, known(&log, 0, &state), Some(20), &soon, &mut Steady::default()).await,
            Err(LogError::Full(_))
        ));
        assert_eq!(log.log_bounds().await, Ok((11, 20)), "LOG does not fill up for it");
        assert_eq!(kept(&log).await.len(), 600, "there is time to make room");
        log.set_room(Room::Enough);
        ingest(&log, 60, 1001).await;
        log.set_room(Room::None);
        tidy(&log, known(&log, 0, &state), None, &retention(), &mut Steady::default()).await.expect("tidy");
        assert!(log.in_fill().await.expect("fill") < HALF_FULL);
    }

    #[tokio::test]
    async fn frames_go_only_behind_the_older_snapshot_and_behind_history() {
        let log = MemoryLog::new(&MemoryOptions::default());
        commit(&log, 20).await;
        let later = log.now().await.expect("now").plus(1);
        trim_log(&log, 20, later).await.expect("trim");
        assert_eq!(log.log_bounds().await, Ok((1, 20)), "without snapshots everything is needed");
        log.put_snapshot(10, Bytes::from_static(b"ten")).await.expect("snapshot");
        trim_log(&log, 20, later).await.expect("trim");
        assert_eq!(log.log_bounds().await, Ok((1, 20)), "one snapshot could be lost");
        log.put_snapshot(15, Bytes::from_static(b"fifteen")).await.expect("snapshot");
        trim_log(&log, 7, later).await.expect("trim");
        assert_eq!(log.log_bounds().await, Ok((8, 20)), "history has not seen the later ones");
        trim_log(&log, 20, later).await.expect("trim");
        assert_eq!(log.log_bounds().await, Ok((11, 20)));
        tidy(&log, known(&log, 0, &at_cursor(0)), Some(20), &retention(), &mut Steady::default()).await.expect("tidy");
        assert_eq!(log.log_bounds().await, Ok((11, 20)), "the others are young");
    }
}
