//! Moving pages from the write-ahead log into the file, beside the writer: that syncs the file, and changes must not wait
//! for it.

use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Pages after which a checkpoint begins.
const EVERY: i64 = if cfg!(test) { 64 } else { 4000 };
/// The writer ends a checkpoint itself once no more pages than this are left: only then can the write-ahead log begin again
/// at its start.
const LEFT_TO_WRITER: i64 = 256;
/// Under a flood the rest stays long; then the writer takes it as it is.
const ROUNDS: usize = 5;

pub(super) struct Checkpoints {
    path: PathBuf,
    running: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub fn new(path: &Path) -> Checkpoints {
        Checkpoints { path: path.to_owned(), running: None }
    }

    /// After a commit of the writer.
    pub fn after_commit(&mut self, db: &Connection) {
        match &self.running {
            Some(thread) if !thread.is_finished() => return,
            Some(_) => {
                self.stop();
                warn_of(checkpoint(db, "PASSIVE"));
                return;
            }
            None => {}
        }
        match checkpoint(db, "NOOP") {
            Ok(left) if left < EVERY => return,
            Ok(_) => {}
            Err(error) => return warn_of(Err(error)),
        }
        let path = self.path.clone();
        match thread::Builder::new().name("history-checkpoint".into()).spawn(move || beside(&path)) {
            Ok(thread) => self.running = Some(thread),
            // Without a thread the writer does it.
            Err(_) => warn_of(checkpoint(db, "PASSIVE")),
        }
    }

    /// Waits until no checkpoint runs.
    pub fn stop(&mut self) {
        if let Some(thread) = self.running.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread of history panicked");
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.stop();
    }
}

fn beside(path: &Path) {
    let run = || {
        let db = Connection::open(path)?;
        db.busy_timeout(Duration::from_secs(5))?;
        db.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = FULL;")?;
        for _ in 0..ROUNDS {
            if checkpoint(&db, "PASSIVE")? <= LEFT_TO_WRITER {
                break;
            }
        }
        Ok(0)
    };
    warn_of(run());
}

/// Pages that are left in the write-ahead log only.
fn checkpoint(db: &Connection, mode: &str) -> rusqlite::Result<i64> {
    db.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?
        .query_row([], |r| Ok(r.get::<_, i64>(1)? - r.get::<_, i64>(2)?))
}

fn warn_of(done: rusqlite::Result<i64>) {
    if let Err(error) = done {
        // Nothing is lost: the write-ahead log keeps the pages, and grows.
        tracing::warn!(%error, "a checkpoint of history.db failed; it is tried again after the next changes");
    }
}
