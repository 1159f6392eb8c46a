//! The embedded log as files that lie still: saved beside the daemon that writes it, and laid where a daemon will start.
//!
//! Whoever saves is another process. It reads the database in one transaction, as of one moment, for which the writer waits for
//! nothing; meanwhile the write-ahead log grows by what is written.

use super::{
    OpenError,
    files::{neither, private, private_dir, private_itself, read_itself, sync_dir},
    schema::{self, Counters, unsql},
};
use rusqlite::Connection;
use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::Path,
};

/// What a log consists of; the last makes a directory one.
const PARTS: [&str; 3] = ["blobs", "snapshots", DATABASE];
pub(crate) const DATABASE: &str = "log.db";
/// Where a backup is put together in the directory of the log that it becomes. No daemon starts beside it.
pub(crate) const RESTORING: &str = "restoring";
/// What is left of it once the log is there.
const RESTORED: &str = "restored";

/// What the database of a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub frames: u64,
    pub inputs: u64,
    pub keys: u64,
}

/// Refuses a directory that is a part of a log only.
pub(crate) fn is_none_on_its_way(dir: &Path) -> Result<(), OpenError> {
    if dir.join(RESTORING).exists() { Err(OpenError::Restoring { dir: dir.to_owned() }) } else { Ok(()) }
}

/// Saves a log into another directory, which is empty: what is acknowledged by now is in it, with the files that it names.
pub(crate) fn save(from: &Path, to: &Path) -> Result<(), OpenError> {
    is_none_on_its_way(from)?;
    let failed = |source| OpenError::Directory { dir: to.to_owned(), source };
    // Before the database: a snapshot of frames that it does not have could not be used.
    copy_files(&from.join("snapshots"), &to.join("snapshots")).map_err(failed)?;
    save_database(&from.join(DATABASE), &to.join(DATABASE))?;
    // After it: each was there before the record that names it.
    copy_files(&from.join("blobs"), &to.join("blobs")).map_err(failed)
}

fn save_database(from: &Path, to: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Database { path: from.to_owned(), source };
    let conn = schema::open_reader(from).map_err(failed)?;
    schema::is_ours(&conn, from)?;
    let no_text = || io::Error::new(ErrorKind::InvalidInput, "its name is not UTF-8");
    let directory = |source| OpenError::Directory { dir: to.to_owned(), source };
    let name = to.to_str().ok_or_else(no_text).map_err(directory)?;
    // An empty file is taken, with its permissions.
    private(to).map_err(directory)?;
    conn.execute("VACUUM main INTO ?1", [name]).map(drop).map_err(failed)?;
    File::open(to).and_then(|file| file.sync_all()).map_err(directory)
}

/// A file that only this process's user can read.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    private(path)
}

/// Opens a file of a backup, and nothing else that has its name.
pub(crate) fn open_itself(path: &Path) -> io::Result<File> {
    read_itself(path)
}

/// Why what is neither a file nor a folder is not part of a backup.
pub(crate) fn no_part(path: &Path) -> io::Error {
    neither(path)
}

/// Copies a folder of files into a new one of this process's user alone. What goes meanwhile was to go. A link is not followed: root
/// would read for the daemon's user what that user may not.
fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(from)?.is_dir() {
        return Err(neither(from));
    }
    private_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (there, here) = (entry.path(), to.join(entry.file_name()));
        let copied = match entry.file_type()? {
            kind if kind.is_dir() => copy_files(&there, &here),
            kind if kind.is_file() => copy_file(&there, &here),
            _ => Err(neither(&there)),
        };
        match copied {
            Err(e) if e.kind() == ErrorKind::NotFound && !there.exists() => {}
            other => other?,
        }
    }
    sync_dir(to)
}

/// Copies a log that lies still, and nothing else that is beside it.
pub(crate) fn copy_parts(from: &Path, to: &Path) -> io::Result<()> {
    private_dir(to)?;
    for part in PARTS {
        let (there, here) = (from.join(part), to.join(part));
        if fs::symlink_metadata(&there)?.is_dir() { copy_files(&there, &here)? } else { copy_file(&there, &here)? }
    }
    sync_dir(to)
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut read = read_itself(from)?;
    let mut file = private_itself(to)?;
    io::copy(&mut read, &mut file)?;
    file.sync_all()
}

/// Makes a directory in which a log was opened one that lies still: one file for the database, and nothing that belongs to a process.
pub(crate) fn settle(dir: &Path) -> Result<(), OpenError> {
    let path = dir.join(DATABASE);
    let failed = |source| OpenError::Database { path: path.clone(), source };
    let conn = Connection::open(&path).map_err(failed)?;
    conn.pragma_update(None, "journal_mode", "DELETE").map_err(failed)?;
    conn.close().map_err(|(_, e)| failed(e))?;
    let directory = |source| OpenError::Directory { dir: dir.to_owned(), source };
    for name in ["lock", "unfinished"] {
        remove(&dir.join(name)).map_err(directory)?;
    }
    File::open(&path).and_then(|file| file.sync_all()).and_then(|()| sync_dir(dir)).map_err(directory)
}

/// Removes a file or a folder, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// What a database that lies still holds; the inner error says what is wrong with it.
pub(crate) fn examine(dir: &Path) -> Result<Result<Rows, String>, OpenError> {
    let path = dir.join(DATABASE);
    let conn = schema::open_reader(&path).map_err(|source| OpenError::Database { path: path.clone(), source })?;
    schema::is_ours(&conn, &path)?;
    Ok(rows(&conn).unwrap_or_else(|e| Err(e.to_string())))
}

fn rows(conn: &Connection) -> rusqlite::Result<Result<Rows, String>> {
    let said: String = conn.query_row("PRAGMA integrity_check(1)", [], |r| r.get(0))?;
    if said != "ok" {
        return Ok(Err(said));
    }
    let counters = Counters::load(conn)?;
    let count = |table: &str| conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |r| r.get(0).map(unsql));
    let rows = Rows { frames: count("log_frames")?, inputs: count("in_records")?, keys: count("keys")? };
    let whole = |first: u64, last: u64, rows: u64| (last + 1).saturating_sub(first) == rows;
    if !whole(counters.log_first, counters.log_last, rows.frames) {
        return Ok(Err(format!("frames are missing between {} and {}", counters.log_first, counters.log_last)));
    }
    if !whole(counters.in_first, counters.in_last, rows.inputs) {
        return Ok(Err(format!("records are missing between {} and {}", counters.in_first, counters.in_last)));
    }
    Ok(Ok(rows))
}

/// Whether a directory holds a log, or a part of one. What SQLite keeps beside a database counts: it would be taken into the next one
/// of its name.
pub(crate) fn is_occupied(dir: &Path) -> io::Result<bool> {
    let beside = ["-wal", "-shm", "-journal"].map(|end| format!("{DATABASE}{end}"));
    for part in PARTS.into_iter().chain(beside.iter().map(String::as_str)) {
        let path = dir.join(part);
        if path.is_file() || (path.is_dir() && fs::read_dir(&path)?.next().is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes what was put together in a directory's [`RESTORING`] its log. Killed in the middle, it is called again.
pub(crate) fn place(dir: &Path) -> io::Result<()> {
    let from = dir.join(RESTORING);
    own_alike(&from, dir)?;
    own_alike(&dir.join("lock"), dir)?;
    for part in PARTS {
        let (there, here) = (from.join(part), dir.join(part));
        if there.exists() {
            // Over an empty folder too.
            fs::rename(&there, &here)?;
        }
    }
    sync_dir(dir)?;
    // In one step, too: what says that a log is on its way is there as a whole, or gone.
    remove(&dir.join(RESTORED))?;
    fs::rename(&from, dir.join(RESTORED))?;
    sync_dir(dir)?;
    remove(&dir.join(RESTORED))
}

/// Gives a file, or everything in a folder, to the owner of a directory: it may be root who restores what another user runs.
#[cfg(unix)]
pub(crate) fn own_alike(path: &Path, dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, lchown};
    let owner = fs::metadata(dir)?;
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        let is = fs::symlink_metadata(&path)?;
        if is.uid() != owner.uid() {
            match lchown(&path, Some(owner.uid()), Some(owner.gid())) {
                // Who is not root gives nothing away. On a volume of root's the daemon's user makes what is to be its own.
                Err(e) if e.kind() == ErrorKind::PermissionDenied => {}
                other => other?,
            }
        }
        if is.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        }
    }
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn own_alike(_: &Path, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::sqlite::{SqliteLog, SqliteOptions};
    use crate::log::{Class, Commit, FrameWrite, InRecord, Ingested, Log as _};
    use std::path::PathBuf;
    use std::sync::Arc;
    use tempfile::TempDir;

    fn open(dir: &Path) -> Arc<SqliteLog> {
        SqliteLog::open(dir, &SqliteOptions::default()).expect("the log opens")
    }

    async fn ingest(log: &SqliteLog, n: u64) {
        let (id, data) = (format!("sms:{n}"), format!("record {n}").into());
        let record = InRecord { id, channel: "sms".into(), class: Class::Message, data };
        assert_eq!(log.ingest(record).await, Ok(Ingested::Stored(n)));
    }

    async fn frame(log: &SqliteLog, after: u64) {
        let write = FrameWrite { bytes: format!("frame {}", after + 1).into(), ..FrameWrite::default() };
        assert_eq!(log.commit(after, write).await, Commit::Done(after + 1));
    }

    /// A directory that a backup of this log was put into.
    fn saved(from: &Path) -> TempDir {
        let to = tempfile::tempdir().expect("a directory");
        save(from, to.path()).expect("saved");
        to
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_log_is_saved_while_it_is_written_to_and_holds_all_that_was_acknowledged_before() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = open(dir.path());
        for n in 1..=50 {
            ingest(&log, n).await;
            frame(&log, n - 1).await;
        }
        let blob = log.put_blob("sms/ann", "a picture".into()).await.expect("kept");
        let writes = tokio::spawn({
            let log = Arc::clone(&log);
            async move {
                for n in 51..=400 {
                    ingest(&log, n).await;
                    frame(&log, n - 1).await;
                }
            }
        });
        let from = dir.path().to_owned();
        let to = tokio::task::spawn_blocking(move || saved(&from)).await.expect("saved");
        writes.await.expect("written, as if nobody had saved");
        let rows = examine(to.path()).expect("it opens").expect("it is whole");
        // One moment: a record is written before its frame, and never two before one.
        assert!(rows.frames >= 50 && (rows.frames..=rows.frames + 1).contains(&rows.inputs), "{rows:?}");
        let copy = open(to.path());
        assert_eq!(copy.get_blob("sms/ann", &blob).await, Ok(Some("a picture".into())));
        assert_eq!(copy.log_bounds().await, Ok((1, rows.frames)));
        let known = InRecord { id: "sms:7".into(), channel: "sms".into(), class: Class::Message, data: "x".into() };
        assert_eq!(copy.ingest(known).await, Ok(Ingested::Duplicate), "what was taken is known there");
        drop(copy);
        settle(to.path()).expect("settled");
        let mut left: Vec<_> = fs::read_dir(to.path()).expect("list").map(|e| e.expect("entry").file_name()).collect();
        left.sort();
        assert_eq!(left, ["blobs", "log.db", "snapshots"], "nothing of a process is left");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: PathBuf| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
            assert_eq!((mode(to.path().join("log.db")), mode(to.path().join("blobs"))), (0o600, 0o700));
        }
    }

    #[tokio::test]
    async fn a_log_that_was_killed_and_one_that_was_closed_are_saved_like_one_that_runs() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = open(dir.path());
        ingest(&log, 1).await;
        frame(&log, 0).await;
        // What a kill leaves behind: the write-ahead log, and nobody who has it open.
        let killed = tempfile::tempdir().expect("a directory");
        copy_files(dir.path(), killed.path()).expect("copied");
        drop(log);
        for from in [killed.path(), dir.path()] {
            let to = saved(from);
            let rows = examine(to.path()).expect("it opens").expect("it is whole");
            assert_eq!((rows.frames, rows.inputs), (1, 1));
        }
    }

    #[tokio::test]
    async fn a_database_with_a_hole_or_of_somebody_else_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = open(dir.path());
        for n in 0..5 {
            frame(&log, n).await;
        }
        drop(log);
        let conn = Connection::open(dir.path().join(DATABASE)).expect("open");
        conn.execute("DELETE FROM log_frames WHERE seq = 3", []).expect("deleted");
        drop(conn);
        let wrong = examine(dir.path()).expect("it opens").expect_err("a hole");
        assert_eq!(wrong, "frames are missing between 1 and 5");
        let other = tempfile::tempdir().expect("a directory");
        Connection::open(other.path().join(DATABASE)).expect("open").execute("CREATE TABLE t (x)", []).expect("made");
        assert!(matches!(examine(other.path()), Err(OpenError::Foreign { .. })));
    }

    #[test]
    fn what_was_left_beside_a_database_that_was_moved_away_occupies_its_place() {
        for name in ["log.db-wal", "log.db-shm", "log.db-journal"] {
            let dir = tempfile::tempdir().expect("a directory");
            assert!(!is_occupied(dir.path()).expect("listed"));
            fs::write(dir.path().join(name), "8 bytes.").expect("written");
            assert!(is_occupied(dir.path()).expect("listed"), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn no_link_is_followed_and_no_pipe_waited_for_by_who_may_read_more_than_the_daemon() {
        let (dir, outside) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let secret = outside.path().join("shadow");
        fs::write(&secret, "of root").expect("written");
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, dir.path().join(name)).expect("linked");
        let refused = |done: io::Result<()>| {
            let said = done.expect_err("refused").to_string();
            assert!(said.contains("is neither a file nor a folder"), "{said}");
        };
        let copy = |name: &str| {
            let to = tempfile::tempdir().expect("a directory");
            let copied = copy_files(&dir.path().join(name), &to.path().join("copy"));
            assert!(!to.path().join("copy/shadow").exists());
            copied
        };
        private_dir(&dir.path().join("blobs")).expect("made");
        link(&secret, "blobs/shadow");
        refused(copy("blobs"));
        link(outside.path(), "snapshots");
        refused(copy("snapshots"));
        private_dir(&dir.path().join("pipes")).expect("made");
        let pipe = dir.path().join("pipes/pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
        refused(copy("pipes"));
        refused(open_itself(&pipe).map(drop));
        link(&secret, "lock");
        assert!(super::super::lock_dir(dir.path()).is_err());
        assert_eq!(fs::read(&secret).expect("read"), b"of root", "no process wrote its number there");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_what_was_moved_away_gets_its_directory_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let link = dir.path().join("switchboard");
        std::os::unix::fs::symlink("private/switchboard", &link).expect("linked");
        for _ in 0..2 {
            super::super::create_private(&link).expect("made, or there");
            assert!(dir.path().join("private/switchboard").is_dir() && link.is_symlink());
        }
        assert!(!is_occupied(&link).expect("listed"));
    }

    #[tokio::test]
    async fn what_is_put_together_becomes_the_log_at_once_and_no_log_opens_beside_a_part_of_it() {
        let (from, dir) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let log = open(from.path());
        frame(&log, 0).await;
        let blob = log.put_blob("sms/ann", "a picture".into()).await.expect("kept");
        drop(log);
        drop(super::super::lock_dir(dir.path()).expect("a lock"));
        let put_together = || {
            let stage = dir.path().join(RESTORING);
            private_dir(&stage).expect("made");
            save(from.path(), &stage).expect("saved");
            settle(&stage).expect("settled");
            stage
        };
        let stage = put_together();
        assert!(!is_occupied(dir.path()).expect("listed"));
        let refused = SqliteLog::open(dir.path(), &SqliteOptions::default()).err().expect("refused");
        assert!(refused.to_string().contains("run `switchboard restore` again"), "{refused}");
        // Killed between two steps.
        fs::rename(stage.join("blobs"), dir.path().join("blobs")).expect("moved");
        assert!(SqliteLog::open(dir.path(), &SqliteOptions::default()).is_err());
        for _ in 0..2 {
            place(dir.path()).expect("placed");
            assert!(!dir.path().join(RESTORING).exists() && !dir.path().join(RESTORED).exists());
            assert!(is_occupied(dir.path()).expect("listed"));
            let log = open(dir.path());
            assert_eq!(log.log_bounds().await, Ok((1, 1)));
            assert_eq!(log.get_blob("sms/ann", &blob).await, Ok(Some("a picture".into())));
            drop(log);
            // Killed at the very last step: only the empty folder is left.
            private_dir(&dir.path().join(RESTORING)).expect("made");
        }
    }
}
