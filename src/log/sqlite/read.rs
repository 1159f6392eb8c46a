//! Reading what is no longer in memory, on connections of its own, away from the async threads.

use super::{
    schema::{open_reader, sql, unsql},
    tail::lock,
};
use crate::log::ring::READ_BYTES;
use crate::log::{LogError, Seq, Stored};
use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};
use switchboard_envelope::Timestamp;
use tokio::sync::Semaphore;

/// Readers at once; more wait their turn.
const READERS: usize = 4;

pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Readers {
        Readers { path, idle: Mutex::new(Vec::new()), permits: Semaphore::new(READERS) }
    }

    /// Runs a query on a blocking thread.
    pub(super) async fn with<T, F>(self: &Arc<Self>, query: F) -> Result<T, LogError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let stopped = || LogError::Unavailable("the log is closed".into());
        let _permit = self.permits.acquire().await.map_err(|_| stopped())?;
        let readers = Arc::clone(self);
        let work = move || {
            // The lock must be free while the file is opened and read.
            let idle = lock(&readers.idle).pop();
            let conn = idle.map_or_else(|| open_reader(&readers.path), Ok)?;
            let answer = query(&conn);
            lock(&readers.idle).push(conn);
            answer
        };
        let answer = tokio::task::spawn_blocking(work).await.map_err(|_| stopped())?;
        answer.map_err(|error| read_error(&error))
    }

    pub(super) fn close(&self) {
        lock(&self.idle).clear();
    }
}

fn read_error(error: &rusqlite::Error) -> LogError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => LogError::Damaged(error.to_string()),
        _ => LogError::Unavailable(error.to_string()),
    }
}

/// Expects sequence, time, channel, data.
fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        seq: unsql(row.get(0)?),
        at: Timestamp(row.get(1)?),
        channel: row.get(2)?,
        data: Bytes::from(row.get::<_, Vec<u8>>(3)?),
    })
}

fn collect(mut rows: rusqlite::Rows<'_>) -> rusqlite::Result<Vec<Stored>> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    while bytes < READ_BYTES
        && let Some(row) = rows.next()?
    {
        let record = stored(row)?;
        bytes += record.data.len();
        records.push(record);
    }
    Ok(records)
}

fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

pub(super) fn read_in(conn: &Connection, after: Seq, max: usize) -> rusqlite::Result<Vec<Stored>> {
    let mut query =
        conn.prepare_cached("SELECT seq, at, channel, data FROM in_records WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    collect(query.query(params![sql(after), limit(max)])?)
}

pub(super) fn get_in(conn: &Connection, seq: Seq) -> rusqlite::Result<Option<Stored>> {
    let mut query = conn.prepare_cached("SELECT seq, at, channel, data FROM in_records WHERE seq = ?1")?;
    query.query_row([sql(seq)], stored).optional()
}

pub(super) fn read_log(conn: &Connection, after: Seq, max: usize) -> rusqlite::Result<Vec<Stored>> {
    let mut query =
        conn.prepare_cached("SELECT seq, at, '', data FROM log_frames WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    collect(query.query(params![sql(after), limit(max)])?)
}

/// A channel's OUT records that nobody claimed.
pub(super) fn pending(conn: &Connection, channel: &str, after: Seq, max: usize) -> rusqlite::Result<Vec<Stored>> {
    let mut query = conn.prepare_cached(
        "SELECT r.seq, r.at, r.channel, r.data FROM out_records r LEFT JOIN out_claims c ON c.seq = r.seq
         WHERE r.channel = ?1 AND r.seq > ?2 AND c.seq IS NULL ORDER BY r.seq LIMIT ?3",
    )?;
    collect(query.query(params![channel, sql(after), limit(max)])?)
}

pub(super) fn keys(conn: &Connection, ids: &[String]) -> rusqlite::Result<Vec<Option<[u8; 32]>>> {
    let mut query = conn.prepare_cached("SELECT value FROM keys WHERE id = ?1")?;
    ids.iter().map(|id| query.query_row([id], |r| r.get(0)).optional()).collect()
}

pub(super) fn edge_cursor(conn: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    let mut query = conn.prepare_cached("SELECT value FROM edge_cursors WHERE name = ?1")?;
    query.query_row([name], |r| r.get(0)).optional()
}
