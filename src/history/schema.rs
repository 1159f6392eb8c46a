//! The file: its tables, its version, and making it again when it is no use.

use super::HistoryError;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// Raised whenever a table, a row or what the projection keeps changes: an older file is then made again from LOG, or brought up
/// to date where that is no more than a column.
pub(super) const VERSION: i64 = 13;

/// Under load the file must grow at its end: what is written for every message (`messages`) is in the order of LOG, and
/// the two ways to find a message keep to that order too.
/// - By its conversation: each row names the one before it (`prev`), the conversation names the newest (`last`), and
///   `marks` holds every 64th, so that reading may start in the middle.
/// - By its id: ids are hashes, and one index over all of them would touch a page of its own for each. `ids` is cut into
///   runs of some thousand messages; only the newest run grows, and a search asks them all, newest first.
///
/// Ids are their bits. What only its row needs is packed in `doc`; what becomes of a message (`status`, `code`, `detail`) stands
/// beside it, so that it changes without the rest being read.
const TABLES: &str = "
CREATE TABLE meta(
  id INTEGER PRIMARY KEY CHECK (id = 1), cursor INTEGER NOT NULL, now INTEGER NOT NULL, last_message INTEGER NOT NULL,
  last_contact INTEGER NOT NULL, run INTEGER NOT NULL, run_size INTEGER NOT NULL, pack TEXT, pack_at INTEGER,
  kinds BLOB NOT NULL, frame BLOB, rebase INTEGER NOT NULL DEFAULT 0,
  known_to INTEGER NOT NULL DEFAULT 0);
CREATE TABLE packs(n INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE);
CREATE TABLE conversations(
  seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, contact BLOB NOT NULL, channel TEXT NOT NULL, thread BLOB NOT NULL,
  state INTEGER NOT NULL, queue TEXT, agent TEXT, ended INTEGER, last INTEGER NOT NULL, doc BLOB NOT NULL);
CREATE INDEX conversations_state ON conversations(state, seq);
CREATE INDEX conversations_contact ON conversations(contact, seq);
CREATE INDEX conversations_thread ON conversations(thread, seq);
CREATE INDEX conversations_agent ON conversations(agent, seq) WHERE agent IS NOT NULL;
CREATE INDEX conversations_queue ON conversations(queue, seq) WHERE queue IS NOT NULL;
CREATE INDEX conversations_ended ON conversations(ended, seq) WHERE ended IS NOT NULL;
CREATE TABLE messages(
  seq INTEGER PRIMARY KEY, conv INTEGER NOT NULL, prev INTEGER NOT NULL, dir INTEGER NOT NULL, id BLOB,
  status INTEGER, code TEXT, detail TEXT, doc BLOB NOT NULL, facts BLOB, outcome BLOB);
CREATE TABLE marks(conv INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (conv, seq)) WITHOUT ROWID;
CREATE TABLE runs(first INTEGER PRIMARY KEY, run INTEGER NOT NULL);
CREATE TABLE ids(run INTEGER NOT NULL, id BLOB NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (run, id)) WITHOUT ROWID;
CREATE TABLE contacts(seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, doc BLOB NOT NULL);
CREATE TABLE identities(identity TEXT NOT NULL, contact BLOB NOT NULL, PRIMARY KEY (identity, contact)) WITHOUT ROWID;
CREATE TABLE offers(seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, agent TEXT NOT NULL, doc BLOB NOT NULL);
CREATE TABLE dead(seq INTEGER PRIMARY KEY, message BLOB NOT NULL UNIQUE, place INTEGER NOT NULL, channel TEXT NOT NULL,
  reason TEXT NOT NULL, at INTEGER NOT NULL);
CREATE TABLE quarantine(seq INTEGER PRIMARY KEY, channel TEXT NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL);
CREATE TABLE answers(command BLOB PRIMARY KEY, at INTEGER NOT NULL, body TEXT, reply BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX answers_at ON answers(at);
CREATE TABLE rule_hits(rule TEXT PRIMARY KEY, hits INTEGER NOT NULL, last_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE pack_hits(pack INTEGER NOT NULL, rule TEXT NOT NULL, hits INTEGER NOT NULL, last_at INTEGER NOT NULL,
  PRIMARY KEY (pack, rule)) WITHOUT ROWID;
CREATE TABLE trash(last INTEGER PRIMARY KEY);
CREATE TABLE slots(slot INTEGER PRIMARY KEY, arrived INTEGER NOT NULL, answered INTEGER NOT NULL, waited_ms INTEGER NOT NULL,
  due INTEGER NOT NULL, in_time INTEGER NOT NULL);
CREATE TABLE slot_hits(slot INTEGER NOT NULL, rule TEXT NOT NULL, hits INTEGER NOT NULL, PRIMARY KEY (slot, rule)) WITHOUT ROWID;
";

/// The oldest version that is brought up to date, and what each step adds.
const OLDEST: i64 = 4;
const STEPS: [&str; 9] = [
    "ALTER TABLE meta ADD COLUMN frame BLOB",
    // Hits of a pack count from here on.
    "CREATE TABLE pack_hits(pack INTEGER NOT NULL, rule TEXT NOT NULL, hits INTEGER NOT NULL, last_at INTEGER NOT NULL,
     PRIMARY KEY (pack, rule)) WITHOUT ROWID",
    "ALTER TABLE meta ADD COLUMN rebase INTEGER NOT NULL DEFAULT 0",
    // What happens is counted by slots from here on.
    "CREATE TABLE slots(slot INTEGER PRIMARY KEY, arrived INTEGER NOT NULL, answered INTEGER NOT NULL, waited_ms INTEGER NOT NULL,
     due INTEGER NOT NULL, in_time INTEGER NOT NULL);
     CREATE TABLE slot_hits(slot INTEGER NOT NULL, rule TEXT NOT NULL, hits INTEGER NOT NULL, PRIMARY KEY (slot, rule)) WITHOUT ROWID",
    // One id can be of several people, each within an account.
    "ALTER TABLE identities RENAME TO of_one;
     CREATE TABLE identities(identity TEXT NOT NULL, contact BLOB NOT NULL, PRIMARY KEY (identity, contact)) WITHOUT ROWID;
     INSERT INTO identities SELECT identity, contact FROM of_one; DROP TABLE of_one",
    // Who was considered for a conversation in which its customer wrote nothing is kept with it from here on.
    "",
    "ALTER TABLE meta ADD COLUMN known_to INTEGER NOT NULL DEFAULT 0",
    // Whether a conversation's customer is proved is kept with it from here on.
    "",
    // Who moved it, and what changed its priority, is kept from here on.
    "",
];
const _: () = assert!(OLDEST + STEPS.len() as i64 == VERSION);

/// Opens the file, or makes it (again).
pub(super) fn open(path: &Path) -> Result<Connection, HistoryError> {
    match try_open(path) {
        Ok(Some(db)) => Ok(db),
        Ok(None) if path.exists() => {
            tracing::info!(path = %path.display(), "history is of another version: it is made again from the log");
            create(path)
        }
        Ok(None) => create(path),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "history cannot be used: it is made again");
            create(path)
        }
    }
}

fn pragmas(db: &Connection) -> Result<(), HistoryError> {
    db.busy_timeout(Duration::from_secs(5))?;
    // What a power cut takes is read from LOG again, so NORMAL would do. FULL has the disk write a little at a time, instead of
    // much at each checkpoint, for which the log's own syncs would wait.
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY;
         PRAGMA secure_delete = OFF;",
    )?;
    crate::log::sqlite::keep_plans(db)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn try_open(path: &Path) -> Result<Option<Connection>, HistoryError> {
    if !path.exists() {
        return Ok(None);
    }
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let version: i64 = db.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    if !(OLDEST..=VERSION).contains(&version) {
        return Ok(None);
    }
    // What LOG does not hold any more could not be made again.
    for (step, to) in STEPS.iter().zip(OLDEST + 1..).filter(|(_, to)| *to > version) {
        db.execute_batch(&format!("BEGIN; {step}; PRAGMA user_version = {to}; COMMIT"))?;
    }
    pragmas(&db)?;
    // Tables that are missing or cut show here.
    db.query_row("SELECT cursor FROM meta WHERE id = 1", [], |r| r.get::<_, i64>(0))?;
    Ok(Some(db))
}

/// Makes an empty file in the place of whatever is there.
pub(super) fn create(path: &Path) -> Result<Connection, HistoryError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e.into()),
        }
    }
    // It holds what people wrote: SQLite gives its other files the permissions of this one.
    crate::log::sqlite::files::private(path)?;
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    pragmas(&db)?;
    let kinds = rmp_serde::to_vec(&std::collections::BTreeMap::<String, String>::new())?;
    db.execute_batch("BEGIN")?;
    db.execute_batch(TABLES)?;
    db.execute("INSERT INTO meta(id, cursor, now, last_message, last_contact, run, run_size, kinds) VALUES (1, 0, 0, 0, 0, 0, 0, ?1)", [kinds])?;
    // The version comes last, so that a file cut short while it was made is made again.
    db.execute_batch(&format!("PRAGMA user_version = {VERSION}; COMMIT"))?;
    Ok(db)
}

/// A connection that can only read.
pub(super) fn open_reader(path: &Path) -> Result<Connection, HistoryError> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.execute_batch("PRAGMA cache_size = -512; PRAGMA query_only = ON;")?;
    crate::log::sqlite::keep_plans(&db)?;
    db.set_prepared_statement_cache_capacity(48);
    Ok(db)
}
