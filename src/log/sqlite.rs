//! The embedded log: one SQLite database in a locked directory, written by one thread.
//!
//! A commit is one transaction over frame, keys and sends. A claim is written once, for an OUT record that exists. What
//! callers wait for is durable when they are answered, and many of them share one sync.

mod checkpoint;
pub(crate) mod files;
#[cfg(test)]
mod kill_tests;
mod late;
pub(crate) mod look;
mod moving;
mod ops;
mod outbox;
mod read;
pub(crate) mod saved;
mod schema;
mod tail;
#[cfg(test)]
mod tests;
mod trim;
mod unsettled;
mod writer;

use super::moving::Scopes;
use super::{Claim, Commit, Doubt, FrameWrite, InRecord, Ingested, KeyId, Log, LogError, Outbox, Seq, Stored, in_fill};
use async_trait::async_trait;
use bytes::Bytes;
use files::Files;
use late::LateIndex;
use ops::{Indexes, Op, Reply};
use read::Readers;
use schema::Counters;
pub(crate) use schema::keep_plans;
use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};
use switchboard_envelope::{BlobRef, Timestamp};
use tail::{Shared, lock};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use unsettled::Unsettled;
use writer::Writer;

/// Operations that may wait for the writer; more wait for their place.
const QUEUE: usize = 2048;

/// Limits of the embedded log.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// What IN may hold, in bytes. Messages are refused from 80 % of it.
    pub in_max_bytes: u64,
    /// The database file grows no further than this; no limit but the disk's when absent.
    pub max_file_bytes: Option<u64>,
}

impl Default for SqliteOptions {
    fn default() -> SqliteOptions {
        SqliteOptions { in_max_bytes: 1 << 30, max_file_bytes: None }
    }
}

/// Why a log cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("the data directory `{}` is used by another switchboard{}: stop that one, or set `log.path` to another directory",
        dir.display(), holder.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    Locked { dir: PathBuf, holder: Option<String> },
    #[error("cannot use the data directory `{}`: {source}", dir.display())]
    Directory { dir: PathBuf, source: io::Error },
    #[error("cannot open the log database `{}`: {source}", path.display())]
    Database { path: PathBuf, source: rusqlite::Error },
    #[error("the log database `{}` has format {found}, and this build knows format {known}: run the version that wrote it",
        path.display())]
    Format { path: PathBuf, found: i32, known: i32 },
    #[error("the log database `{}` has been written to: move to a directory without one", path.display())]
    Written { path: PathBuf },
    #[error(
        "the directory `{}` holds a part of another move, or of one before the old log was written to: remove it and migrate again",
        dir.display()
    )]
    Unfinished { dir: PathBuf },
    #[error(
        "a backup was being restored to `{}`, and that was interrupted: run `switchboard restore` again; or remove the directory `{}` to begin \
         without it",
        dir.display(), dir.join(saved::RESTORING).display()
    )]
    Restoring { dir: PathBuf },
    #[error("`{}` is a database of another program: set `log.path` to another directory", path.display())]
    Foreign { path: PathBuf },
    #[error("cannot start a thread for the log: {0}")]
    Thread(String),
}

/// The embedded log. Dropping it waits until everything queued is stored.
pub struct SqliteLog {
    /// Absent only while it is dropped.
    queue: Option<mpsc::Sender<Op>>,
    writer: Option<thread::JoinHandle<()>>,
    shared: Arc<Shared>,
    readers: Arc<Readers>,
    files: Arc<Files>,
    in_max_bytes: u64,
    doubt: Doubt,
    /// Held until the writer has ended.
    lock: File,
}

impl SqliteLog {
    /// Opens the log in `dir`, which is created when missing and locked for this process.
    ///
    /// # Errors
    /// When the directory cannot be used, another process uses it, or it holds something else.
    pub fn open(dir: &Path, options: &SqliteOptions) -> Result<Arc<SqliteLog>, OpenError> {
        let directory = |source| OpenError::Directory { dir: dir.to_owned(), source };
        create_private(dir).map_err(directory)?;
        let lock = lock_dir(dir)?;
        saved::is_none_on_its_way(dir)?;
        let path = dir.join("log.db");
        let database = |source| OpenError::Database { path: path.clone(), source };
        let conn = schema::open_writer(&path, options)?;
        let counters = Counters::load(&conn).map_err(database)?;
        let hash_key = schema::hash_key(&conn).map_err(database)?;
        let indexes = Indexes {
            hash_key,
            in_ids: LateIndex::load(&conn, late::IN_IDS, counters.in_indexed).map_err(database)?,
            out_keys: LateIndex::load(&conn, late::OUT_KEYS, counters.out_indexed).map_err(database)?,
            unsettled: Unsettled::load(&conn, counters.out_settled).map_err(database)?,
            in_max_bytes: options.in_max_bytes,
        };
        let scopes = Scopes::new(&schema::scopes_key(&conn).map_err(database)?);
        let files = Arc::new(Files::open(dir, scopes).map_err(directory)?);
        let checkpointer = checkpoint::Checkpointer::start(&path).map_err(OpenError::Thread)?;
        let shared = Arc::new(Shared::new(counters));
        let (queue, queued) = mpsc::channel(QUEUE);
        let writer = Writer { conn, indexes, counters, shared: Arc::clone(&shared), checkpointer };
        let writer = thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run(queued))
            .map_err(|e| OpenError::Thread(e.to_string()))?;
        let readers = Arc::new(Readers::new(path));
        Ok(Arc::new(SqliteLog {
            queue: Some(queue),
            writer: Some(writer),
            shared,
            readers,
            files,
            in_max_bytes: options.in_max_bytes,
            doubt: Doubt::new(),
            lock,
        }))
    }

    /// Becomes a reason when the log cannot go on: an error at COMMIT whose effect nobody knows, or a damaged file. The
    /// process must then end; the next start finds out what was stored.
    #[must_use]
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.shared.fatal.subscribe()
    }

    /// The bytes that IN holds, as they count against [`SqliteOptions::in_max_bytes`].
    #[must_use]
    pub fn in_bytes(&self) -> u64 {
        lock(&self.shared.counters).in_bytes
    }

    async fn ask<T>(&self, op: impl FnOnce(Reply<T>) -> Op) -> Result<T, LogError> {
        let closed = || LogError::Unavailable("the log is closed".into());
        let (reply, answer) = Reply::new();
        let queue = self.queue.as_ref().ok_or_else(closed)?;
        queue.send(op(reply)).await.map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn on_files<T, F>(&self, work: F) -> Result<T, LogError>
    where
        T: Send + 'static,
        F: FnOnce(&Files) -> Result<T, LogError> + Send + 'static,
    {
        let files = Arc::clone(&self.files);
        let answer = tokio::task::spawn_blocking(move || work(&files)).await;
        answer.unwrap_or_else(|_| Err(LogError::Unavailable("the log is closed".into())))
    }
}

impl Drop for SqliteLog {
    fn drop(&mut self) {
        self.queue = None;
        // The last connection to close folds the write-ahead log into the database: that should be the writer's.
        self.readers.close();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of the log panicked");
        }
        // Closing alone would leave it held for as long as a process that is just being started has a copy of the handle.
        let _ = self.lock.unlock();
    }
}

/// A directory that only the daemon's user can enter, made when it is missing: also where a link to it is all that is left.
pub(crate) fn create_private(dir: &Path) -> io::Result<()> {
    let real = match fs::read_link(dir) {
        Ok(to) if !dir.exists() => dir.parent().map_or_else(|| to.clone(), |parent| parent.join(&to)),
        _ => dir.to_owned(),
    };
    files::private_dirs().recursive(true).create(real)
}

/// Locks a data directory for this process, for as long as the file is open.
pub(crate) fn lock_dir(dir: &Path) -> Result<File, OpenError> {
    let directory = |source| OpenError::Directory { dir: dir.to_owned(), source };
    let mut file = files::private_itself(&dir.join("lock")).map_err(directory)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.take(32).read_to_string(&mut holder);
            let holder = Some(holder.trim().to_owned()).filter(|pid| !pid.is_empty());
            return Err(OpenError::Locked { dir: dir.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(directory(source)),
    }
    // For the message that another one will print.
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(directory)?;
    Ok(file)
}

#[async_trait]
impl Log for SqliteLog {
    async fn ingest(&self, record: InRecord) -> Result<Ingested, LogError> {
        self.ask(|reply| Op::Ingest(record, reply)).await
    }

    async fn read_in(&self, after: Seq, max: usize) -> Result<Vec<Stored>, LogError> {
        let fresh = lock(&self.shared.inn).after(after, max);
        match fresh {
            Some(fresh) => Ok(fresh),
            None => self.readers.with(move |conn| read::read_in(conn, after, max)).await,
        }
    }

    async fn get_in(&self, seq: Seq) -> Result<Option<Stored>, LogError> {
        let fresh = lock(&self.shared.inn).get(seq);
        match fresh {
            Some(fresh) => Ok(Some(fresh)),
            None => self.readers.with(move |conn| read::get_in(conn, seq)).await,
        }
    }

    fn in_tail(&self) -> watch::Receiver<Seq> {
        self.shared.in_tail.subscribe()
    }

    async fn in_last(&self) -> Result<Seq, LogError> {
        Ok(*self.shared.in_tail.borrow())
    }

    /// A full disk answers [`Commit::Unknown`], and nothing was stored: repeating the same bytes is right there too.
    /// [`Commit::Conflict`] with no frame at `expected + 1` means that OUT does not end at `out_first - 1`, or that a key
    /// of the frame is not the one in force; both are logged as errors.
    async fn commit(&self, expected: Seq, frame: FrameWrite) -> Commit {
        let answer = self.ask(|reply| Op::Commit(expected, frame, reply)).await;
        answer.unwrap_or_else(|error| Commit::Unknown(error.to_string()))
    }

    async fn read_log(&self, after: Seq, max: usize) -> Result<Vec<Stored>, LogError> {
        let fresh = lock(&self.shared.log).after(after, max);
        match fresh {
            Some(fresh) => Ok(fresh),
            None => self.readers.with(move |conn| read::read_log(conn, after, max)).await,
        }
    }

    fn log_tail(&self) -> watch::Receiver<Seq> {
        self.shared.log_tail.subscribe()
    }

    async fn log_bounds(&self) -> Result<(Seq, Seq), LogError> {
        let counters = lock(&self.shared.counters);
        Ok((counters.log_first, counters.log_last))
    }

    async fn out_last(&self) -> Result<Seq, LogError> {
        Ok(lock(&self.shared.counters).out_last)
    }

    async fn outbox(&self, channel: &str) -> Result<Box<dyn Outbox>, LogError> {
        let (shared, readers) = (Arc::clone(&self.shared), Arc::clone(&self.readers));
        Ok(Box::new(outbox::SqliteOutbox::new(shared, readers, channel)))
    }

    /// The claim of an attempt that OUT no longer holds, or never held, is [`Claim::Taken`]: it may not be sent.
    async fn claim(&self, key: &str, nonce: &str) -> Result<Claim, LogError> {
        let (key, nonce) = (key.to_owned(), nonce.to_owned());
        self.ask(|reply| Op::Claim { key, nonce, reply }).await
    }

    async fn claimed(&self, key: &str) -> Result<Option<String>, LogError> {
        self.ask(|reply| Op::Claimed(key.to_owned(), reply)).await
    }

    async fn put_blob(&self, scope: &str, bytes: Bytes) -> Result<BlobRef, LogError> {
        let scope = scope.to_owned();
        self.on_files(move |files| files.put_blob(&scope, &bytes)).await
    }

    async fn get_blob(&self, scope: &str, blob: &BlobRef) -> Result<Option<Bytes>, LogError> {
        let (scope, blob) = (scope.to_owned(), blob.clone());
        self.on_files(move |files| files.get_blob(&scope, &blob)).await
    }

    async fn delete_blob(&self, scope: &str, blob: &BlobRef) -> Result<(), LogError> {
        let (scope, blob) = (scope.to_owned(), blob.clone());
        self.on_files(move |files| files.delete_blob(&scope, &blob)).await
    }

    async fn put_key(&self, id: &str, key: [u8; 32]) -> Result<[u8; 32], LogError> {
        self.ask(|reply| Op::PutKey(id.to_owned(), key, reply)).await
    }

    async fn get_keys(&self, ids: &[KeyId]) -> Result<Vec<Option<[u8; 32]>>, LogError> {
        let ids = ids.to_vec();
        self.readers.with(move |conn| read::keys(conn, &ids)).await
    }

    /// Answers when the key is gone from the write-ahead log too.
    async fn delete_key(&self, id: &str) -> Result<(), LogError> {
        self.ask(|reply| Op::DeleteKey(id.to_owned(), reply)).await
    }

    async fn put_cursor(&self, name: &str, value: &str) -> Result<(), LogError> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.ask(|reply| Op::PutCursor(name, value, reply)).await
    }

    async fn get_cursor(&self, name: &str) -> Result<Option<String>, LogError> {
        let name = name.to_owned();
        self.readers.with(move |conn| read::edge_cursor(conn, &name)).await
    }

    async fn delete_cursor(&self, name: &str) -> Result<(), LogError> {
        self.ask(|reply| Op::DeleteCursor(name.to_owned(), reply)).await
    }

    async fn put_snapshot(&self, at: Seq, bytes: Bytes) -> Result<(), LogError> {
        self.on_files(move |files| files.put_snapshot(at, &bytes)).await
    }

    async fn drop_snapshots(&self, after: Seq) -> Result<(), LogError> {
        self.on_files(move |files| files.drop_snapshots(after)).await
    }

    fn doubt(&self) -> &Doubt {
        &self.doubt
    }

    async fn snapshots(&self) -> Result<Vec<(Seq, Bytes)>, LogError> {
        self.on_files(Files::snapshots).await
    }

    async fn snapshot(&self, at: Seq) -> Result<Option<Bytes>, LogError> {
        self.on_files(move |files| files.snapshot(at)).await
    }

    async fn snapshot_seqs(&self) -> Result<Vec<Seq>, LogError> {
        self.on_files(Files::snapshot_seqs).await
    }

    async fn in_fill(&self) -> Result<u32, LogError> {
        Ok(in_fill(self.in_bytes(), self.in_max_bytes))
    }

    async fn trim_in(&self, up_to: Seq) -> Result<(), LogError> {
        while self.ask(|reply| Op::TrimIn(up_to, reply)).await? {}
        Ok(())
    }

    async fn trim_log(&self, up_to: Seq) -> Result<(), LogError> {
        while self.ask(|reply| Op::TrimLog(up_to, reply)).await? {}
        Ok(())
    }

    async fn trim_out(&self, before: Timestamp) -> Result<(), LogError> {
        while self.ask(|reply| Op::TrimOut(before, reply)).await? {}
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp, LogError> {
        Ok(writer::clock())
    }

    fn exclusive(&self) -> bool {
        true
    }

    fn durability(&self) -> String {
        "embedded: a power cut takes nothing that was acknowledged, for every record is synced to the disk before its answer"
            .into()
    }
}
