//! Looking at the store of a daemon that is stopped, without a byte being written and without a file being made.

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};
use std::path::{Path, PathBuf};

/// What was found in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// There is none.
    Absent,
    /// It is whole.
    Whole { bytes: u64 },
    /// It is not, in the words of SQLite.
    Damaged(String),
    /// It was not looked into: a part of it is in its write-ahead log, which cannot be read beside whoever uses it.
    Unfolded { bytes: u64 },
    /// It could not be looked at.
    Unread(String),
}

/// The database, and how much of it still is in the write-ahead log; `None` where that is not there.
fn sizes(dir: &Path) -> std::io::Result<(PathBuf, u64, Option<u64>)> {
    let path = dir.join("log.db");
    let bytes = std::fs::metadata(&path)?.len();
    Ok((path, bytes, std::fs::metadata(dir.join("log.db-wal")).ok().map(|m| m.len())))
}

/// How many bytes a look reads.
pub(crate) fn to_read(dir: &Path) -> u64 {
    sizes(dir).map(|(_, bytes, unfolded)| bytes + unfolded.unwrap_or(0)).unwrap_or(0)
}

/// Whether the store is whole. A daemon that ended by itself mostly leaves no write-ahead log behind, one that was killed does: the
/// file alone need not be consistent then, so the two are read together.
pub(crate) fn look(dir: &Path) -> Store {
    let (path, bytes, unfolded) = match sizes(dir) {
        Ok(found) => found,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Store::Absent,
        Err(e) => return Store::Unread(e.to_string()),
    };
    let found = match unfolded {
        // What is immutable is neither locked nor given a journal beside it.
        None => check(&path, "immutable=1"),
        // The index of the write-ahead log is not written but made anew in memory; without its file SQLite would make one.
        Some(_) if dir.join("log.db-shm").exists() => check(&path, "readonly_shm=1"),
        Some(bytes) => return Store::Unfolded { bytes },
    };
    // A daemon that was started meanwhile changed it under our eyes.
    if let (None, Ok((_, _, Some(bytes)))) = (unfolded, sizes(dir)) {
        return Store::Unfolded { bytes };
    }
    match found {
        Ok(said) if said == "ok" => Store::Whole { bytes },
        Ok(said) => Store::Damaged(said),
        Err(e) if matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) => {
            Store::Damaged(e.to_string())
        }
        Err(e)
            if matches!(
                e.sqlite_error_code(),
                Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::SystemIoFailure)
            ) =>
        {
            Store::Unread(e.to_string())
        }
        Err(e) => unfolded.map_or_else(|| Store::Unread(e.to_string()), |bytes| Store::Unfolded { bytes }),
    }
}

fn check(path: &Path, how: &str) -> rusqlite::Result<String> {
    let mut uri = url::Url::from_file_path(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
        .map_err(|()| rusqlite::Error::InvalidPath(path.to_owned()))?;
    uri.set_query(Some(how));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(uri.as_str(), flags)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let said: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    // It names pages and tables, in lines; nothing of what is in them.
    Ok(said.lines().last().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Log as _;
    use crate::log::sqlite::{SqliteLog, SqliteOptions};
    use std::collections::BTreeMap;

    fn everything(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = std::fs::read_dir(dir).expect("list").map(|e| e.expect("entry").path()).filter(|p| p.is_file());
        files.map(|path| (path.clone(), std::fs::read(&path).expect("read"))).collect()
    }

    #[tokio::test]
    async fn a_store_is_whole_once_its_daemon_ended_and_nothing_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(look(dir.path()), Store::Absent);
        drop(SqliteLog::open(dir.path(), &SqliteOptions::default()).expect("opened"));
        let before = everything(dir.path());
        assert!(!before.contains_key(&dir.path().join("log.db-wal")), "it ended by itself");
        assert!(matches!(look(dir.path()), Store::Whole { bytes } if bytes > 0), "{:?}", look(dir.path()));
        assert_eq!(everything(dir.path()), before, "nothing was written, and no file was made");
    }

    #[tokio::test]
    async fn what_a_killed_daemon_left_is_read_with_its_write_ahead_log() {
        let (dir, copy) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let log = SqliteLog::open(dir.path(), &SqliteOptions::default()).expect("opened");
        log.put_cursor("a", "b").await.expect("kept");
        // As they stand while it runs, so as they stand after a kill.
        for (path, bytes) in everything(dir.path()) {
            std::fs::write(copy.path().join(path.file_name().expect("a name")), bytes).expect("copied");
        }
        drop(log);
        let before = everything(copy.path());
        let unfolded = before.get(&copy.path().join("log.db-wal")).map_or(0, Vec::len);
        assert!(unfolded > 0, "a part of it is there alone");
        assert!(matches!(look(copy.path()), Store::Whole { .. }), "{:?}", look(copy.path()));
        assert_eq!(everything(copy.path()), before, "nothing was written, and no file was made");
        std::fs::remove_file(copy.path().join("log.db-shm")).expect("removed");
        assert_eq!(look(copy.path()), Store::Unfolded { bytes: unfolded as u64 });
        assert!(!copy.path().join("log.db-shm").exists(), "none was made");
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_opened_is_not_taken_for_one_in_use() {
        let dir = tempfile::tempdir().expect("a directory");
        // Nobody can open it, not even root.
        std::fs::create_dir(dir.path().join("log.db")).expect("made");
        for name in ["log.db-wal", "log.db-shm"] {
            std::fs::write(dir.path().join(name), "").expect("written");
        }
        assert!(matches!(look(dir.path()), Store::Unread(_)), "{:?}", look(dir.path()));
    }

    #[tokio::test]
    async fn a_store_whose_pages_were_overwritten_is_damaged() {
        let dir = tempfile::tempdir().expect("a directory");
        drop(SqliteLog::open(dir.path(), &SqliteOptions::default()).expect("opened"));
        let path = dir.path().join("log.db");
        let mut bytes = std::fs::read(&path).expect("read");
        // The page after the first, whole: a table's root.
        bytes[4096..8192].fill(0xa5);
        std::fs::write(&path, &bytes).expect("written");
        assert!(matches!(look(dir.path()), Store::Damaged(why) if !why.is_empty()), "{:?}", look(dir.path()));
        std::fs::write(&path, "no database at all, but long enough to have a beginning".repeat(20)).expect("written");
        assert!(matches!(look(dir.path()), Store::Damaged(_)), "{:?}", look(dir.path()));
    }
}
