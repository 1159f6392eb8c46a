//! Keeping history up with LOG, and telling whoever waits.

use super::wake::Wakes;
use super::{Applied, History, HistoryError, HistoryWriter};
use crate::log::{Log, LogError, Seq, Stored};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use switchboard_routing_rules::event::{Event, KeyHash};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

/// Frames of one transaction.
const BATCH: usize = 500;
/// Frames that a slow listener may fall behind before it must read LOG.
const CHANGES: usize = 1024;
/// Events that the router may hand over before they are folded; beyond it frames are read from LOG.
const FED_EVENTS: usize = 65_536;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A frame that history has folded.
#[derive(Clone, Debug)]
pub struct Change {
    pub seq: Seq,
    pub events: Arc<Vec<Event>>,
}

#[derive(Default)]
struct Fed {
    frames: VecDeque<Change>,
    events: usize,
}

struct Shared {
    changes: broadcast::Sender<Change>,
    wakes: Wakes,
    fed: Mutex<Fed>,
    stuck: AtomicBool,
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

    /// Changes when the transcript of a thread did. Subscribe first, then read.
    #[must_use]
    pub fn subscribe(&self, channel: &str, thread: KeyHash) -> watch::Receiver<Seq> {
        self.shared.wakes.subscribe(channel, thread)
    }

    /// The router hands over what it committed, in order, so that history need not read and unseal it again. Only a
    /// shortcut: what is not handed over is read from LOG.
    pub fn feed(&self, seq: Seq, events: Arc<Vec<Event>>) {
        let mut fed = self.shared.fed.lock().unwrap_or_else(PoisonError::into_inner);
        if fed.events > FED_EVENTS || fed.frames.back().is_some_and(|last| last.seq + 1 != seq) {
            *fed = Fed::default();
        }
        fed.events += events.len();
        fed.frames.push_back(Change { seq, events });
    }

    /// Whether history has trouble keeping up, for readiness: it could not read or write its last batch.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.shared.stuck.load(Ordering::Relaxed)
    }
}

/// Starts to follow LOG. `decode` opens a frame into its events; a sealed part whose key is gone stays sealed. The task
/// ends when `shutdown` becomes true.
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
    let (cursor, reader) = watch::channel(writer.cursor());
    let history = History::new(writer.path(), reader);
    let shared = Arc::new(Shared {
        changes: broadcast::channel(CHANGES).0,
        wakes: Wakes::default(),
        fed: Mutex::new(Fed::default()),
        stuck: AtomicBool::new(false),
    });
    let handle = HistoryHandle { history: history.clone(), shared: Arc::clone(&shared) };
    let runner = Runner { log, writer: Some(writer), decode, cursor, history, shared };
    (handle, tokio::spawn(runner.run(shutdown)))
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
    /// Away only while a blocking task writes.
    writer: Option<HistoryWriter>,
    decode: D,
    cursor: watch::Sender<Seq>,
    history: History,
    shared: Arc<Shared>,
}

impl<D, F> Runner<D>
where
    D: Fn(Stored) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Vec<Event>, LogError>> + Send + 'static,
{
    async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut tail = self.log.log_tail();
        let mut pause = FIRST_PAUSE;
        loop {
            if *shutdown.borrow() {
                return;
            }
            let step = match self.turn().await {
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
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    Some(pause)
                }
            };
            tokio::select! {
                // The tail is a hint: look again now and then even if it stays silent.
                () = tokio::time::sleep(step.unwrap_or(LONGEST_PAUSE)) => {}
                changed = tail.changed(), if step.is_none() => {
                    if changed.is_err() { return; }
                }
                ended = shutdown.changed() => {
                    if ended.is_err() { return; }
                }
            }
        }
    }

    /// Folds one batch; whether there may be more.
    async fn turn(&mut self) -> Result<bool, Trouble> {
        if self.history.is_damaged() {
            tracing::warn!("history is damaged: it is made again");
            self.reset().await?;
        }
        let batch = match self.fed_batch() {
            Some(batch) => batch,
            None => self.read_batch().await?,
        };
        if batch.is_empty() {
            return Ok(false);
        }
        let frames: Vec<(Seq, Arc<Vec<Event>>)> = batch.iter().map(|c| (c.seq, Arc::clone(&c.events))).collect();
        let applied = self
            .blocking(move |w| {
                let frames: Vec<(Seq, &[Event])> = frames.iter().map(|(s, e)| (*s, e.as_slice())).collect();
                w.apply(&frames)
            })
            .await?;
        self.publish(batch, &applied);
        Ok(true)
    }

    fn publish(&self, batch: Vec<Change>, applied: &Applied) {
        self.cursor.send_replace(applied.cursor);
        self.shared.wakes.wake(&applied.threads, applied.cursor);
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
        while fed.frames.front().is_some_and(|f| f.seq < next) {
            if let Some(old) = fed.frames.pop_front() {
                fed.events -= old.events.len();
            }
        }
        if fed.frames.front().is_none_or(|f| f.seq != next) {
            return None;
        }
        let take = fed.frames.len().min(BATCH);
        let batch: Vec<Change> = fed.frames.drain(..take).collect();
        fed.events -= batch.iter().map(|c| c.events.len()).sum::<usize>();
        Some(batch)
    }

    async fn read_batch(&mut self) -> Result<Vec<Change>, Trouble> {
        let cursor = *self.cursor.borrow();
        let mut stored = self.log.read_log(cursor, BATCH).await?;
        if stored.is_empty() && cursor > 0 {
            let (_, last) = self.log.log_bounds().await?;
            if last < cursor {
                // LOG was restored from an older copy: what history holds beyond it never happened.
                tracing::warn!(cursor, last, "history is ahead of the log: it is made again");
                self.reset().await?;
                stored = self.log.read_log(0, BATCH).await?;
            }
        }
        let mut batch = Vec::with_capacity(stored.len());
        for frame in stored {
            let seq = frame.seq;
            let events = (self.decode)(frame).await?;
            batch.push(Change { seq, events: Arc::new(events) });
        }
        Ok(batch)
    }

    async fn recover(&mut self, trouble: &Trouble) {
        if let Trouble::History(e) = trouble
            && e.is_damage()
            && let Err(error) = self.reset().await
        {
            tracing::error!(%error, "history cannot be made again");
        }
    }

    async fn reset(&mut self) -> Result<(), HistoryError> {
        self.blocking(HistoryWriter::reset).await?;
        self.history.renew();
        self.cursor.send_replace(0);
        self.shared.wakes.wake_all(0);
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
