//! Moving pages from the write-ahead log into the database, beside the writer: a checkpoint syncs the database, and the
//! records that wait for their COMMIT must not wait for that too. The pages move a few at a time, so that the disk never has
//! many to write at once; only when the write-ahead log is long does the writer let it begin again at its start.

use super::tail::lock;
use rusqlite::Connection;
use std::{
    fs::File,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

/// Bytes written, roughly, after which pages are moved.
const EVERY_BYTES: usize = 2 << 20;
/// Pages of a write-ahead log that shall begin again at its start: 32 MiB.
const LONG: i64 = 8192;
/// What an operation writes beside its own bytes: parts of index pages.
const OP_OVERHEAD: usize = 1024;
/// The writer finishes a checkpoint itself once no more pages than this are left: only then can the write-ahead log begin
/// again at its start.
const LEFT_TO_WRITER: i64 = 256;
/// Under a flood the rest stays long; then the writer takes it as it is.
const ROUNDS: usize = 5;

pub(super) struct Checkpointer {
    wake: Option<mpsc::SyncSender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    /// Only one checkpoint runs at a time.
    gate: Arc<Mutex<()>>,
    nearly_done: Arc<AtomicBool>,
    written: usize,
}

impl Checkpointer {
    pub(super) fn start(path: &Path) -> Result<Checkpointer, String> {
        let conn = Connection::open(path).map_err(|e| e.to_string())?;
        conn.pragma_update(None, "wal_autocheckpoint", 0).map_err(|e| e.to_string())?;
        conn.pragma_update(None, "synchronous", "FULL").map_err(|e| e.to_string())?;
        let file = File::open(path).map_err(|e| e.to_string())?;
        let (wake, woken) = mpsc::sync_channel::<()>(1);
        let (gate, nearly_done) = (Arc::new(Mutex::new(())), Arc::new(AtomicBool::new(false)));
        let (their_gate, their_flag) = (Arc::clone(&gate), Arc::clone(&nearly_done));
        let work = move || {
            while woken.recv().is_ok() {
                if run(&conn, &file, &their_gate) {
                    their_flag.store(true, Ordering::Release);
                }
            }
        };
        let thread = thread::Builder::new().name("log-checkpoint".into()).spawn(work).map_err(|e| e.to_string())?;
        Ok(Checkpointer { wake: Some(wake), thread: Some(thread), gate, nearly_done, written: 0 })
    }

    /// Called by the writer after each transaction, when everybody has their answer.
    pub(super) fn after_write(&mut self, conn: &Connection, bytes: usize) {
        self.written = self.written.saturating_add(bytes + OP_OVERHEAD);
        if self.nearly_done.swap(false, Ordering::AcqRel) {
            let _gate = lock(&self.gate);
            if let Err(error) = checkpoint(conn, "PRAGMA wal_checkpoint(PASSIVE)") {
                warn(&error);
            }
        }
        if self.written >= EVERY_BYTES
            && let Some(wake) = &self.wake
            && wake.try_send(()).is_ok()
        {
            self.written = 0;
        }
    }

    /// Empties the write-ahead log. False when a reader prevented it.
    pub(super) fn truncate(&self, conn: &Connection) -> rusqlite::Result<bool> {
        let _gate = lock(&self.gate);
        checkpoint(conn, "PRAGMA wal_checkpoint(TRUNCATE)").map(|c| !c.busy)
    }

    pub(super) fn stop(mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread of the log panicked");
        }
    }
}

/// Whether the write-ahead log is long, and nearly all of it is in the database and on the disk.
fn run(conn: &Connection, file: &File, gate: &Mutex<()>) -> bool {
    let mut long = false;
    for _ in 0..ROUNDS {
        let _gate = lock(gate);
        match checkpoint(conn, "PRAGMA wal_checkpoint(PASSIVE)") {
            Ok(done) => {
                long = done.pages >= LONG;
                if done.left <= LEFT_TO_WRITER {
                    break;
                }
            }
            Err(error) => {
                warn(&error);
                return false;
            }
        }
    }
    // SQLite leaves this to whoever moves the last page, and that is the writer.
    if let Err(error) = file.sync_data() {
        tracing::warn!(%error, "the log database could not be synced beside its writer, which does it itself");
    }
    long
}

fn warn(error: &rusqlite::Error) {
    // Nothing is lost: the write-ahead log keeps the pages, and grows.
    tracing::warn!(%error, "a checkpoint of the log database failed; it is tried again after the next records");
}

struct Checkpointed {
    busy: bool,
    pages: i64,
    left: i64,
}

fn checkpoint(conn: &Connection, pragma: &str) -> rusqlite::Result<Checkpointed> {
    conn.query_row(pragma, [], |r| {
        let (busy, pages, done): (i64, i64, i64) = (r.get(0)?, r.get(1)?, r.get(2)?);
        Ok(Checkpointed { busy: busy != 0, pages, left: pages - done })
    })
}
