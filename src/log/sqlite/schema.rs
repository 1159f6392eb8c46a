//! The database file: how it is opened, what it holds, and the counters that outlive what was trimmed.

use super::{OpenError, SqliteOptions};
use crate::log::{Seq, moving::SCOPES_KEY, seal::fresh_key};
use rusqlite::{Connection, OpenFlags, config::DbConfig, params};
use std::{path::Path, time::Duration};
use switchboard_envelope::Timestamp;

/// `Swbd`, so that `file` and a stray database are told apart from ours.
const APPLICATION_ID: i32 = 0x5377_6264;
/// Raised when the tables change.
const FORMAT: i32 = 2;
const PAGE_BYTES: u64 = 4096;
/// The writer's page cache grows up to this under load.
const CACHE_KIB: i32 = 4 * 1024;
/// The write-ahead log keeps this much of its file after a checkpoint: room in which records can be trimmed when the disk
/// is full. Under load it grows to about half of this between two checkpoints; a file that shrank and grew again each time would
/// have its metadata synced with every commit.
const WAL_KEPT_BYTES: u64 = 64 << 20;

/// Ids and claim keys are found by keyed hash, so that no long text is stored twice. Their tables are filled by
/// [`super::late::LateIndex`]: behind the records, never ahead of them.
const TABLES: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE counters (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    in_last INTEGER NOT NULL, in_at INTEGER NOT NULL, in_bytes INTEGER NOT NULL,
    log_last INTEGER NOT NULL, out_last INTEGER NOT NULL, in_indexed INTEGER NOT NULL, out_indexed INTEGER NOT NULL,
    out_settled INTEGER NOT NULL
) STRICT;
INSERT INTO counters VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0);
CREATE TABLE in_records (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, hash BLOB NOT NULL, channel TEXT NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE TABLE in_ids (hash BLOB PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE log_frames (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE out_records (
    seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, hash BLOB, channel TEXT NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE TABLE out_keys (hash BLOB PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE out_claims (seq INTEGER PRIMARY KEY, nonce TEXT NOT NULL) STRICT;
CREATE TABLE keys (id TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE edge_cursors (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// What must be known without reading the tables; the last sequences also outlive what was trimmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub in_last: Seq,
    pub in_at: Timestamp,
    pub in_bytes: u64,
    pub log_last: Seq,
    pub out_last: Seq,
    /// Ids of IN up to here are in their table; the later ones are in memory.
    pub in_indexed: Seq,
    /// The same for the claim keys of OUT.
    pub out_indexed: Seq,
    /// Every record of OUT up to here was claimed or acknowledged.
    pub out_settled: Seq,
    /// The first record that is kept; one past the last when there is none. Not stored: read when the log is opened.
    pub in_first: Seq,
    pub log_first: Seq,
    pub out_first: Seq,
}

/// SQLite's integers are signed; no counter of ours gets near the difference.
pub(super) fn sql(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn unsql(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// Opens the file for the one writer, creating it when it is missing.
pub(super) fn open_writer(path: &Path, options: &SqliteOptions) -> Result<Connection, OpenError> {
    let fail = |source| OpenError::Database { path: path.to_owned(), source };
    // SQLite gives its other files the permissions of this one.
    super::files::private(path).map_err(|source| OpenError::Directory { dir: path.to_owned(), source })?;
    let conn = Connection::open(path).map_err(fail)?;
    conn.busy_timeout(Duration::from_secs(1)).map_err(fail)?;
    conn.pragma_update(None, "journal_mode", "WAL").map_err(fail)?;
    conn.pragma_update(None, "synchronous", "FULL").map_err(fail)?;
    // Checkpoints run beside the writer, see checkpoint.rs.
    conn.pragma_update(None, "wal_autocheckpoint", 0).map_err(fail)?;
    conn.pragma_update(None, "journal_size_limit", sql(WAL_KEPT_BYTES)).map_err(fail)?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB).map_err(fail)?;
    // What is deleted is overwritten: keys, and the words of people.
    conn.pragma_update(None, "secure_delete", "ON").map_err(fail)?;
    conn.pragma_update(None, "trusted_schema", "OFF").map_err(fail)?;
    keep_plans(&conn).map_err(fail)?;
    conn.set_prepared_statement_cache_capacity(64);
    if let Some(bytes) = options.max_file_bytes {
        conn.pragma_update(None, "max_page_count", sql((bytes / PAGE_BYTES).max(1))).map_err(fail)?;
    }
    prepare_tables(&conn, path)?;
    Ok(conn)
}

/// Opens the file for reading.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.pragma_update(None, "cache_size", -1024)?;
    keep_plans(&conn)?;
    conn.set_prepared_statement_cache_capacity(32);
    Ok(conn)
}

/// Plans that do not depend on what is bound: otherwise SQLite compiles a statement again whenever a value that it looked at
/// while planning is bound anew, which costs more than running it.
pub(crate) fn keep_plans(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn prepare_tables(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let fail = |source| OpenError::Database { path: path.to_owned(), source };
    if numbers(conn).map_err(fail)? == (0, 0) && is_empty(conn).map_err(fail)? {
        return create(conn).map_err(fail);
    }
    is_ours(conn, path)
}

/// Refuses what this build did not make.
pub(super) fn is_ours(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    match numbers(conn).map_err(|source| OpenError::Database { path: path.to_owned(), source })? {
        (APPLICATION_ID, FORMAT) => Ok(()),
        (APPLICATION_ID, found) => Err(OpenError::Format { path: path.to_owned(), found, known: FORMAT }),
        _ => Err(OpenError::Foreign { path: path.to_owned() }),
    }
}

/// Whose database it is, and of which format.
fn numbers(conn: &Connection) -> rusqlite::Result<(i32, i32)> {
    let number = |name: &str| conn.pragma_query_value(None, name, |r| r.get::<_, i32>(0));
    Ok((number("application_id")?, number("user_version")?))
}

fn is_empty(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |r| r.get(0))
}

fn create(conn: &Connection) -> rusqlite::Result<()> {
    let mut key = [0_u8; 16];
    // A hash key that nobody outside knows: without it, ids could be made to collide.
    aws_lc_rs::rand::fill(&mut key).map_err(|_| rusqlite::Error::ToSqlConversionFailure("no randomness".into()))?;
    let tx = conn.unchecked_transaction()?;
    tx.execute_batch(TABLES)?;
    tx.execute("INSERT INTO meta VALUES ('hash_key', ?1)", params![key])?;
    let scopes = fresh_key().map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
    tx.execute("INSERT INTO keys VALUES (?1, ?2)", params![SCOPES_KEY, scopes])?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", FORMAT)?;
    tx.commit()
}

/// The key of this database's id hashes.
pub(super) fn hash_key(conn: &Connection) -> rusqlite::Result<[u8; 16]> {
    conn.query_row("SELECT value FROM meta WHERE name = 'hash_key'", [], |r| r.get(0))
}

/// The key of the names of blobs' directories, which moves with them.
pub(super) fn scopes_key(conn: &Connection) -> rusqlite::Result<[u8; 32]> {
    conn.query_row("SELECT value FROM keys WHERE id = ?1", [SCOPES_KEY], |r| r.get(0))
}

impl Counters {
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Counters> {
        let mut c = conn.query_row("SELECT * FROM counters", [], |r| {
            Ok(Counters {
                in_last: unsql(r.get("in_last")?),
                in_at: Timestamp(r.get("in_at")?),
                in_bytes: unsql(r.get("in_bytes")?),
                log_last: unsql(r.get("log_last")?),
                out_last: unsql(r.get("out_last")?),
                in_indexed: unsql(r.get("in_indexed")?),
                out_indexed: unsql(r.get("out_indexed")?),
                out_settled: unsql(r.get("out_settled")?),
                ..Counters::default()
            })
        })?;
        c.in_first = first(conn, "SELECT min(seq) FROM in_records", c.in_last)?;
        c.log_first = first(conn, "SELECT min(seq) FROM log_frames", c.log_last)?;
        c.out_first = first(conn, "SELECT min(seq) FROM out_records", c.out_last)?;
        Ok(c)
    }

    pub(super) fn save(&self, conn: &Connection) -> rusqlite::Result<()> {
        conn.prepare_cached(
            "UPDATE counters SET in_last=?1, in_at=?2, in_bytes=?3, log_last=?4, out_last=?5, in_indexed=?6, out_indexed=?7,
             out_settled=?8",
        )?
        .execute([
            sql(self.in_last),
            self.in_at.0,
            sql(self.in_bytes),
            sql(self.log_last),
            sql(self.out_last),
            sql(self.in_indexed),
            sql(self.out_indexed),
            sql(self.out_settled),
        ])
        .map(drop)
    }
}

fn first(conn: &Connection, query: &str, last: Seq) -> rusqlite::Result<Seq> {
    conn.query_row(query, [], |r| r.get::<_, Option<i64>>(0)).map(|first| first.map_or(last + 1, unsql))
}
