//! Reading history: a few connections, used through blocking tasks, for short reads.

use super::{HistoryError, schema};
use crate::log::Seq;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};

/// Reads at one time.
const CONNECTIONS: usize = 4;

struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<(u64, Connection)>>,
    /// Raised when the file was replaced: older connections still show the deleted one.
    generation: AtomicU64,
    permits: Arc<Semaphore>,
    damaged: AtomicBool,
}

/// What readers want of the projection.
#[derive(Default)]
pub(super) struct Wanted {
    seq: AtomicU64,
    /// Rings when somebody waits, and for whatever else the projection must look at.
    pub bell: Notify,
}

impl Wanted {
    /// The last frame that somebody waits for.
    pub fn seq(&self) -> Seq {
        self.seq.load(Ordering::SeqCst)
    }
}

/// Somebody waits for a frame, until this is dropped.
struct Waiting<'a>(&'a Wanted, Seq);

impl<'a> Waiting<'a> {
    fn new(wanted: &'a Wanted, seq: Seq) -> Waiting<'a> {
        wanted.seq.fetch_max(seq, Ordering::SeqCst);
        wanted.bell.notify_one();
        Waiting(wanted, seq)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Whoever waits for a later frame goes on waiting.
        let _ = self.0.seq.compare_exchange(self.1, 0, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// A handle for reading; clones share its connections.
#[derive(Clone)]
pub struct History {
    pool: Arc<Pool>,
    cursor: watch::Receiver<Seq>,
    wanted: Arc<Wanted>,
}

impl History {
    /// `cursor` tells the last frame that is in the file.
    #[must_use]
    pub fn new(path: &Path, cursor: watch::Receiver<Seq>) -> History {
        let pool = Pool {
            path: path.to_owned(),
            idle: Mutex::new(vec![]),
            generation: AtomicU64::new(0),
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
            damaged: AtomicBool::new(false),
        };
        History { pool: Arc::new(pool), cursor, wanted: Arc::default() }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.pool.path
    }

    /// The last frame that reads can see.
    #[must_use]
    pub fn cursor(&self) -> Seq {
        *self.cursor.borrow()
    }

    /// Changes when history grew.
    #[must_use]
    pub fn watch_cursor(&self) -> watch::Receiver<Seq> {
        self.cursor.clone()
    }

    pub(super) fn wanted(&self) -> &Arc<Wanted> {
        &self.wanted
    }

    /// Waits until the frame `seq` can be seen, at most `at_most`. Whether it can. The projection does not gather changes
    /// meanwhile.
    pub async fn wait_for(&self, seq: Seq, at_most: Duration) -> bool {
        let mut cursor = self.cursor.clone();
        if *cursor.borrow_and_update() >= seq {
            return true;
        }
        let _waiting = Waiting::new(&self.wanted, seq);
        let reached = cursor.wait_for(|c| *c >= seq);
        matches!(tokio::time::timeout(at_most, reached).await, Ok(Ok(_)))
    }

    /// Runs a short read.
    ///
    /// # Errors
    /// When the file cannot be read; a damaged one is then made again.
    pub async fn read<T, F>(&self, f: F) -> Result<T, HistoryError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, HistoryError> + Send + 'static,
    {
        let permit = Arc::clone(&self.pool.permits).acquire_owned().await.map_err(|_| HistoryError::Closed)?;
        let pool = Arc::clone(&self.pool);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            pool.run(f)
        });
        task.await.map_err(|_| HistoryError::Closed)?
    }

    /// The file was replaced.
    pub(super) fn renew(&self) {
        self.pool.generation.fetch_add(1, Ordering::SeqCst);
        self.pool.damaged.store(false, Ordering::SeqCst);
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A read met damage.
    pub(super) fn is_damaged(&self) -> bool {
        self.pool.damaged.load(Ordering::SeqCst)
    }
}

impl Pool {
    fn run<T>(&self, f: impl FnOnce(&Connection) -> Result<T, HistoryError>) -> Result<T, HistoryError> {
        let generation = self.generation.load(Ordering::SeqCst);
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some((g, c)) if g == generation => c,
            _ => schema::open_reader(&self.path)?,
        };
        // One transaction a read, so that what belongs together is from the same moment.
        connection.execute_batch("BEGIN")?;
        let result = f(&connection);
        let ended = connection.execute_batch("ROLLBACK");
        match &result {
            Err(e) if e.is_damage() => self.damaged.store(true, Ordering::SeqCst),
            _ if ended.is_ok() => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((generation, connection));
            }
            _ => {}
        }
        result
    }
}
