//! Looking at the store of a daemon that is stopped, without a byte being written: no lock, no journal, no file made.

use rusqlite::{Connection, OpenFlags};
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
    /// It was not looked into, since a part of it is in its write-ahead log: a daemon uses it, or was killed.
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

/// How many bytes a look would read; `None` where it would not read them.
pub(crate) fn to_read(dir: &Path) -> Option<u64> {
    sizes(dir).ok().filter(|(_, _, unfolded)| unfolded.is_none()).map(|(_, bytes, _)| bytes)
}

/// Whether the store of a stopped daemon is whole. A write-ahead log is there for as long as a daemon runs, and goes when it ends
/// by itself: beside one nothing is judged, for the file alone need not be consistent then.
pub(crate) fn look(dir: &Path) -> Store {
    let (path, bytes, unfolded) = match sizes(dir) {
        Ok(found) => found,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Store::Absent,
        Err(e) => return Store::Unread(e.to_string()),
    };
    if let Some(bytes) = unfolded {
        return Store::Unfolded { bytes };
    }
    let found = check(&path);
    // A daemon that was started meanwhile changed it under our eyes.
    if let Ok((_, _, Some(bytes))) = sizes(dir) {
        return Store::Unfolded { bytes };
    }
    match found {
        Ok(said) if said == "ok" => Store::Whole { bytes },
        Ok(said) => Store::Damaged(said),
        Err(e)
            if matches!(
                e.sqlite_error_code(),
                Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
            ) =>
        {
            Store::Damaged(e.to_string())
        }
        Err(e) => Store::Unread(e.to_string()),
    }
}

fn check(path: &Path) -> rusqlite::Result<String> {
    // What is immutable is neither locked nor given a journal beside it.
    let mut uri = url::Url::from_file_path(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
        .map_err(|()| rusqlite::Error::InvalidPath(path.to_owned()))?;
    uri.set_query(Some("immutable=1"));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(uri.as_str(), flags)?;
    let said: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    // It names pages and tables, in lines; nothing of what is in them.
    Ok(said.lines().last().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::sqlite::{SqliteLog, SqliteOptions};
    use std::collections::BTreeMap;

    fn everything(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = std::fs::read_dir(dir).expect("list").map(|e| e.expect("entry").path()).filter(|p| p.is_file());
        files.map(|path| (path.clone(), std::fs::read(&path).expect("read"))).collect()
    }

    #[tokio::test]
    async fn a_store_is_whole_once_its_daemon_ended_and_not_looked_into_before() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(look(dir.path()), Store::Absent);
        let log = SqliteLog::open(dir.path(), &SqliteOptions::default()).expect("opened");
        assert!(matches!(look(dir.path()), Store::Unfolded { .. }), "it is in use");
        drop(log);
        let before = everything(dir.path());
        assert!(matches!(look(dir.path()), Store::Whole { bytes } if bytes > 0), "{:?}", look(dir.path()));
        assert_eq!(everything(dir.path()), before, "nothing was written, and no file was made");
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
