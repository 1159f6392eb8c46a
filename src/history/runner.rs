//! Keeping history up with LOG, and telling whoever waits.

use super::pace::{MANY, Pace};
use super::reader::Wanted;
use super::trim::{STEP, Trimmed};
use super::{Before, History, HistoryError, HistoryWriter};
use crate::log::frame::{self, FrameId};
use crate::log::{Log, LogError, Seq, Stored};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::event::{Event, Public};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Frames of one transaction that the router handed over, and that are read from LOG.
const BATCH: usize = 500;
const LOG_BATCH: usize = 128;
/// Frames that a slow listener may fall behind before it must read LOG.
const CHANGES: usize = 1024;
/// Events that the router may hand over before they are folded; beyond it frames are read from LOG.
const FED_EVENTS: usize = 65_536;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a frame that is in LOG is waited for, where the router has handed over those before it.
const HAND_OVER: Duration = Duration::from_millis(if cfg!(test) { 500 } else { 50 });
/// After so long without a change, memory is given back.
const IDLE: Duration = Duration::from_secs(1);
/// Between two steps of trimming.
const BETWEEN_STEPS: Duration = Duration::from_millis(50);

/// A frame that history has folded.
#[derive(Clone, Debug)]
pub struct Change {
    pub seq: Seq,
    /// 0 where it is not known.
    pub id: FrameId,
    pub events: Arc<Vec<Event>>,
}

impl Change {
    /// Whether the log began another life with this frame: frames of its number were others before.
    #[must_use]
    pub fn is_rebase(&self) -> bool {
        self.events.iter().any(|e| matches!(e.public, Public::Rebased { .. }))
    }
}

#[derive(Default)]
struct Fed {
    frames: VecDeque<Change>,
    events: usize,
}

impl Fed {
    /// Frames that are in the file already are of no use.
    fn drop_before(&mut self, next: Seq) {
        while self.frames.front().is_some_and(|f| f.seq < next) {
            if let Some(old) = self.frames.pop_front() {
                self.events -= old.events.len();
            }
        }
    }
}

type Trim = (Timestamp, oneshot::Sender<Trimmed>);

struct Shared {
    changes: broadcast::Sender<Change>,
    fed: Mutex<Fed>,
    trims: mpsc::Sender<Trim>,
    wanted: Arc<Wanted>,
    stuck: AtomicBool,
    renew: AtomicBool,
}

/// The running projection.
#[derive(Clone)]
pub struct HistoryHandle {
    history: History,
    shared: Arc<Shared>,
}

impl HistoryHandle {
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Every frame once history holds it. A listener that lags reads LOG from where it was.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.shared.changes.subscribe()
    }

    /// The router hands over what it committed, in order, so that history need not read and unseal it again. Only a
    /// shortcut: what is not handed over is read from LOG.
    pub fn feed(&self, seq: Seq, id: FrameId, events: Arc<Vec<Event>>) {
        let mut fed = self.shared.fed.lock().unwrap_or_else(PoisonError::into_inner);
        if fed.frames.back().is_some_and(|last| last.seq >= seq) {
            *fed = Fed::default();
        }
        let follows = fed.frames.back().is_none_or(|last| last.seq + 1 == seq);
        // Where history is far behind, what it has comes first; then it reads LOG until what comes here follows again.
        if !follows || fed.events > FED_EVENTS {
            return;
        }
        fed.events += events.len();
        fed.frames.push_back(Change { seq, id, events });
        // In between the projection looks by itself.
        if fed.frames.len() == 1 || fed.events >= MANY {
            self.shared.wanted.bell.notify_one();
        }
    }

    /// Removes conversations that were closed before `before`, while changes are folded, and says what was removed. `None`
    /// when that failed, which is told in the log, or when the projection ended.
    pub async fn trim(&self, before: Timestamp) -> Option<Trimmed> {
        let (done, result) = oneshot::channel();
        self.shared.trims.send((before, done)).await.ok()?;
        self.shared.wanted.bell.notify_one();
        result.await.ok()
    }

    /// What history holds is of a log that is no more: it is made again.
    pub fn renew(&self) {
        self.shared.renew.store(true, Ordering::SeqCst);
        self.shared.wanted.bell.notify_one();
    }

    /// The projection has ended, or will not trim any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.trims.is_closed()
    }

    /// Whether history has trouble keeping up, for readiness: it could not read or write its last batch.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.shared.stuck.load(Ordering::Relaxed)
    }
}

/// Starts to follow a LOG that has its beginning; see [`spawn_projection_after`].
pub fn spawn_projection<D, F>(
    log: Arc<dyn Log>,
    writer: HistoryWriter,
    decode: D,
    shutdown: watch::Receiver<bool>,
) -> (HistoryHandle, JoinHandle<()>)
where
    D: Fn(Stored) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Vec<Event>, LogError>> + Send + 'static,
{
    let nothing: Before = Box::new(|| Box::pin(std::future::ready(Ok(None))));
    spawn_projection_after(nothing, log, writer, decode, shutdown)
}

/// Starts to follow LOG; where its beginning is gone, `before` says what was before. `decode` opens a frame into its events; a sealed part whose key is gone stays sealed. The task
/// ends when `shutdown` becomes true.
pub fn spawn_projection_after<D, F>(
    before: Before,
    log: Arc<dyn Log>,
    writer: HistoryWriter,
    decode: D,
    shutdown: watch::Receiver<bool>,
) -> (HistoryHandle, JoinHandle<()>)
where
    D: Fn(Stored) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Vec<Event>, LogError>> + Send + 'static,
{
    let (cursor, reader) = watch::channel(writer.cursor());
    let history = History::new(writer.path(), reader);
    let (trims, asked) = mpsc::channel(1);
    let shared = Arc::new(Shared {
        changes: broadcast::channel(CHANGES).0,
        fed: Mutex::new(Fed::default()),
        trims,
        wanted: Arc::clone(history.wanted()),
        stuck: AtomicBool::new(false),
        renew: AtomicBool::new(false),
    });
    let handle = HistoryHandle { history: history.clone(), shared: Arc::clone(&shared) };
    let now = Instant::now();
    let runner = Runner {
        tail: log.log_tail(),
        life: log.doubt().log_life(),
        log,
        writer: Some(writer),
        before,
        decode,
        cursor,
        history,
        shared,
        shutdown,
        pace: Pace::new(now),
        look: true,
        fed_lately: false,
        changed_at: Some(now),
        asked,
        trimming: None,
    };
    (handle, tokio::spawn(runner.run()))
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    History(#[from] HistoryError),
}

struct Runner<D> {
    log: Arc<dyn Log>,
    tail: watch::Receiver<Seq>,
    /// The life of LOG that history is made of.
    life: u64,
    /// Away only while a blocking task writes.
    writer: Option<HistoryWriter>,
    before: Before,
    decode: D,
    cursor: watch::Sender<Seq>,
    history: History,
    shared: Arc<Shared>,
    shutdown: watch::Receiver<bool>,
    pace: Pace,
    /// LOG must be asked, whatever its tail says.
    look: bool,
    /// The last frames came from the router.
    fed_lately: bool,
    /// When history last changed, unless its memory was given back since.
    changed_at: Option<Instant>,
    asked: mpsc::Receiver<Trim>,
    trimming: Option<Trimming>,
}

struct Trimming {
    before: Timestamp,
    so_far: Trimmed,
    done: oneshot::Sender<Trimmed>,
    next: Instant,
}

impl<D, F> Runner<D>
where
    D: Fn(Stored) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Vec<Event>, LogError>> + Send + 'static,
{
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            if *self.shutdown.borrow() {
                return self.finish().await;
            }
            let step = match self.step().await {
                Ok(more) => {
                    self.shared.stuck.store(false, Ordering::Relaxed);
                    pause = FIRST_PAUSE;
                    if more {
                        continue;
                    }
                    None
                }
                Err(error) => {
                    self.shared.stuck.store(true, Ordering::Relaxed);
                    tracing::error!(%error, cursor = *self.cursor.borrow(), "history cannot follow the log; it tries again");
                    self.recover(&error).await;
                    self.look = true;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    Some(pause)
                }
            };
            if !self.rest(step).await {
                return;
            }
        }
    }

    async fn step(&mut self) -> Result<bool, Trouble> {
        let more = self.turn().await?;
        self.trim().await?;
        Ok(more)
    }

    /// Waits for something to do. False when nobody will ever ask again.
    async fn rest(&mut self, trouble: Option<Duration>) -> bool {
        if trouble.is_none() && self.trimming.is_none() && self.changed_at.is_some_and(|at| at.elapsed() >= IDLE) {
            self.changed_at = None;
            let rested = self.blocking(|w| {
                w.rest();
                Ok(())
            });
            if rested.await.is_err() {
                return false;
            }
        }
        let shared = Arc::clone(&self.shared);
        let next_trim = self.trimming.as_ref().map(|t| t.next);
        let changed_at = self.changed_at.filter(|_| self.trimming.is_none());
        let until_idle = changed_at.map_or(LONGEST_PAUSE, |at| IDLE.saturating_sub(at.elapsed()));
        tokio::select! {
            // The tail is a hint: look again now and then even if it stays silent.
            () = tokio::time::sleep(trouble.unwrap_or(until_idle.min(LONGEST_PAUSE))) => {
                self.look = true;
                true
            }
            () = tokio::time::sleep_until(next_trim.unwrap_or_else(Instant::now)), if next_trim.is_some() && trouble.is_none() => true,
            () = shared.wanted.bell.notified(), if trouble.is_none() => true,
            changed = self.tail.changed(), if trouble.is_none() => changed.is_ok(),
            ended = self.shutdown.changed() => ended.is_ok(),
        }
    }

    /// What was handed over is folded; the rest is found in LOG at the next start.
    async fn finish(mut self) {
        while let Some(batch) = self.fed_batch() {
            if let Err(error) = self.fold(batch).await {
                tracing::warn!(%error, "history ends behind the log; it catches up at the next start");
                return;
            }
        }
    }

    /// Folds one batch; whether there may be more.
    async fn turn(&mut self) -> Result<bool, Trouble> {
        if self.history.is_damaged() {
            tracing::warn!("history is damaged: it is made again");
            self.reset().await?;
        }
        self.other_life().await?;
        if !self.is_fed().0 {
            if !self.look && *self.tail.borrow_and_update() <= *self.cursor.borrow() {
                return Ok(false);
            }
            if self.fed_lately {
                self.await_hand_over().await;
            }
        }
        self.gather().await;
        let (batch, full) = match self.fed_batch() {
            Some(batch) => {
                self.fed_lately = true;
                (batch, false)
            }
            None => {
                let batch = self.read_batch().await?;
                if self.other_life().await? {
                    return Ok(true);
                }
                let full = batch.len() >= LOG_BATCH;
                (self.look, self.fed_lately) = (full, self.fed_lately && batch.is_empty());
                (batch, full)
            }
        };
        if batch.is_empty() {
            return Ok(false);
        }
        let began = Instant::now();
        self.fold(batch).await?;
        // While history catches up it does not rest.
        if !full {
            self.pace.committed(Instant::now(), began.elapsed());
        }
        Ok(true)
    }

    /// Whether the next frame was handed over, and how many events were.
    fn is_fed(&self) -> (bool, usize) {
        let next = *self.cursor.borrow() + 1;
        let mut fed = self.shared.fed.lock().unwrap_or_else(PoisonError::into_inner);
        fed.drop_before(next);
        let follows = fed.frames.front().is_some_and(|f| f.seq == next);
        (follows, if fed.frames.len() >= BATCH { MANY } else { fed.events })
    }

    /// LOG tells of a frame a moment before the router hands it over.
    async fn await_hand_over(&mut self) {
        let deadline = Instant::now() + HAND_OVER;
        while !self.is_fed().0 {
            tokio::select! {
                () = self.shared.wanted.bell.notified() => {}
                () = tokio::time::sleep_until(deadline) => return,
            }
        }
    }

    /// Lets changes come together, unless one has waited long enough or somebody waits for it.
    async fn gather(&mut self) {
        loop {
            let waited_for = self.shared.wanted.seq() > *self.cursor.borrow();
            let (_, events) = self.is_fed();
            let Some(wait) = self.pace.wait(Instant::now(), events, waited_for) else { return };
            tokio::select! {
                () = tokio::time::sleep(wait) => return,
                () = self.shared.wanted.bell.notified() => {}
                ended = self.shutdown.changed() => {
                    if ended.is_err() || *self.shutdown.borrow() {
                        return;
                    }
                }
            }
        }
    }

    async fn fold(&mut self, batch: Vec<Change>) -> Result<(), HistoryError> {
        let frames: Vec<(Seq, Arc<Vec<Event>>)> = batch.iter().map(|c| (c.seq, Arc::clone(&c.events))).collect();
        let end = batch.last().map_or(0, |change| change.id);
        let cursor = self
            .blocking(move |w| {
                let frames: Vec<(Seq, &[Event])> = frames.iter().map(|(s, e)| (*s, e.as_slice())).collect();
                w.apply_up_to(&frames, end)
            })
            .await?;
        self.changed_at = Some(Instant::now());
        self.publish(batch, cursor);
        Ok(())
    }

    /// One step of what somebody asked to remove, when it is time for one.
    async fn trim(&mut self) -> Result<(), HistoryError> {
        if self.trimming.is_none()
            && let Ok((before, done)) = self.asked.try_recv()
        {
            self.trimming = Some(Trimming { before, so_far: Trimmed::default(), done, next: Instant::now() });
        }
        let Some(mut t) = self.trimming.take_if(|t| t.next <= Instant::now()) else { return Ok(()) };
        let before = t.before;
        t.so_far = t.so_far.plus(self.blocking(move |w| w.trim(before, STEP)).await?);
        if t.so_far.more {
            t.next = Instant::now() + BETWEEN_STEPS;
            self.trimming = Some(t);
        } else {
            // Who asked may have gone.
            let _ = t.done.send(t.so_far);
        }
        Ok(())
    }

    fn publish(&self, batch: Vec<Change>, cursor: Seq) {
        self.cursor.send_replace(cursor);
        if self.shared.changes.receiver_count() > 0 {
            for change in batch {
                // No receiver is no error.
                let _ = self.shared.changes.send(change);
            }
        }
    }

    /// The frames that the router handed over, if they follow what history holds.
    fn fed_batch(&self) -> Option<Vec<Change>> {
        let next = *self.cursor.borrow() + 1;
        let mut fed = self.shared.fed.lock().unwrap_or_else(PoisonError::into_inner);
        fed.drop_before(next);
        let (mut batch, mut events) = (vec![], 0);
        while batch.len() < BATCH
            && events < MANY
            && let Some(change) = fed.frames.pop_front_if(|f| f.seq == next + batch.len() as u64)
        {
            events += change.events.len();
            batch.push(change);
        }
        fed.events -= events;
        Some(batch).filter(|b| !b.is_empty())
    }

    async fn read_batch(&mut self) -> Result<Vec<Change>, Trouble> {
        let cursor = *self.cursor.borrow();
        let mut stored = self.log.read_log(cursor, LOG_BATCH).await?;
        if stored.is_empty() && cursor > 0 {
            let (_, last) = self.log.log_bounds().await?;
            if last < cursor {
                // LOG was restored from an older copy: what history holds beyond it never happened.
                tracing::warn!(cursor, last, "history is ahead of the log: it is made again");
                self.reset().await?;
                stored = self.log.read_log(0, LOG_BATCH).await?;
            }
        }
        if let Some(first) = stored.first().map(|frame| frame.seq).filter(|first| cursor > 0 && *first > cursor + 1) {
            // What LOG does not hold any more cannot be told, and what history holds is older still.
            tracing::warn!(
                cursor,
                first,
                "the log was trimmed beyond history: history is made again from what is left"
            );
            self.reset().await?;
            stored = self.log.read_log(0, LOG_BATCH).await?;
        }
        if let Some(first) = stored.first().map(|frame| frame.seq).filter(|first| *first > 1) {
            self.begin(first).await?;
        }
        let mut batch = Vec::with_capacity(stored.len());
        for frame in stored {
            let (seq, id) = (frame.seq, frame::id_of(&frame));
            let events = (self.decode)(frame).await?;
            batch.push(Change { seq, id, events: Arc::new(events) });
        }
        Ok(batch)
    }

    /// An empty history of a LOG that begins there starts with what a snapshot knows of before.
    async fn begin(&mut self, first: Seq) -> Result<(), Trouble> {
        if *self.cursor.borrow() > 0 {
            return Ok(());
        }
        let Some(earlier) = (self.before)().await? else {
            tracing::warn!(
                first,
                "no snapshot says what was before the log: conversations that opened before are not listed"
            );
            return Ok(());
        };
        let (of, conversations) = (earlier.of, earlier.state.conversations.len());
        tracing::info!(first, snapshot = of, conversations, "history begins with what a snapshot knows");
        let cursor = self.blocking(move |w| w.begin(&earlier, first)).await?;
        self.cursor.send_replace(cursor);
        Ok(())
    }

    async fn recover(&mut self, trouble: &Trouble) {
        if let Trouble::History(e) = trouble
            && e.is_damage()
            && let Err(error) = self.reset().await
        {
            tracing::error!(%error, "history cannot be made again");
        }
    }

    /// Makes history again when LOG is another one than it was made of; whether it did.
    async fn other_life(&mut self) -> Result<bool, HistoryError> {
        let life = self.log.doubt().log_life();
        let renew = self.shared.renew.swap(false, Ordering::SeqCst);
        if life == self.life && !renew {
            return Ok(false);
        }
        tracing::warn!(cursor = *self.cursor.borrow(), "history is of another log than this one: it is made again");
        if let Err(error) = self.reset().await {
            self.shared.renew.store(true, Ordering::SeqCst);
            return Err(error);
        }
        self.life = life;
        Ok(true)
    }

    async fn reset(&mut self) -> Result<(), HistoryError> {
        // What was handed over is of what is made again, too.
        *self.shared.fed.lock().unwrap_or_else(PoisonError::into_inner) = Fed::default();
        self.look = true;
        self.blocking(HistoryWriter::reset).await?;
        self.history.renew();
        self.cursor.send_replace(0);
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &mut self,
        f: impl FnOnce(&mut HistoryWriter) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, HistoryError> {
        let path = self.history_path();
        let mut writer = match self.writer.take() {
            Some(w) => w,
            None => HistoryWriter::open(path)?,
        };
        let (writer, result) = tokio::task::spawn_blocking(move || {
            let result = f(&mut writer);
            (writer, result)
        })
        .await
        .map_err(|_| HistoryError::Closed)?;
        self.writer = Some(writer);
        result
    }

    fn history_path(&self) -> std::path::PathBuf {
        self.history.path().to_owned()
    }
}
