//! Blobs and snapshots: large, so they are files beside the database, durable before anybody hears of them.

use crate::log::{
    LogError, Seq, hash_of,
    moving::{Scopes, blob_parts, external_scope},
};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};
use switchboard_adapter_sdk::signature::sha256_hex;
use switchboard_envelope::BlobRef;

const HASH_BYTES: usize = 32;

pub(super) struct Files {
    blobs: PathBuf,
    snapshots: PathBuf,
    /// Files that are being written; what is found here at start was not finished.
    unfinished: PathBuf,
    next: AtomicU64,
    scopes: Scopes,
}

impl Files {
    pub(super) fn open(dir: &Path, scopes: Scopes) -> io::Result<Files> {
        let files = Files {
            blobs: dir.join("blobs"),
            snapshots: dir.join("snapshots"),
            unfinished: dir.join("unfinished"),
            next: AtomicU64::new(0),
            scopes,
        };
        if files.unfinished.exists() {
            fs::remove_dir_all(&files.unfinished)?;
        }
        for path in [&files.blobs, &files.snapshots, &files.unfinished] {
            private_dir(path)?;
        }
        sync_dir(dir)?;
        Ok(files)
    }

    pub(super) fn put_blob(&self, scope: &str, bytes: &[u8]) -> Result<BlobRef, LogError> {
        let name = sha256_hex(bytes);
        let dir = self.scope_dir(scope);
        // Whoever put the same bytes there may not have come to syncing the directory yet.
        let there = dir.join(&name).exists() && sync_dir(&dir).is_ok();
        if !there {
            self.place(&dir, &name, &[bytes]).map_err(|e| write_error("a blob", &e))?;
        }
        Ok(BlobRef::of_hash(&name))
    }

    pub(super) fn get_blob(&self, scope: &str, blob: &BlobRef) -> Result<Option<Bytes>, LogError> {
        let name = hash_of(blob)?;
        // What an adapter in another process stored was moved here under the name that it gave.
        match self.read_blob(&self.scope_dir(scope), name)? {
            None => self.read_blob(&self.blobs.join(external_scope(scope)), name),
            found => Ok(found),
        }
    }

    fn read_blob(&self, dir: &Path, name: &str) -> Result<Option<Bytes>, LogError> {
        let path = dir.join(name);
        let Some(bytes) = read(&path)? else { return Ok(None) };
        if sha256_hex(&bytes) != name {
            return Err(LogError::Damaged(format!(
                "blob file {} does not hold what it is named after",
                path.display()
            )));
        }
        Ok(Some(Bytes::from(bytes)))
    }

    pub(super) fn delete_blob(&self, scope: &str, blob: &BlobRef) -> Result<(), LogError> {
        let dir = self.scope_dir(scope);
        let failed = |e: &io::Error| write_error("a blob", e);
        match fs::remove_file(dir.join(hash_of(blob)?)) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| failed(&e))?,
        }
        // The last one takes the directory with it; one that is not empty stays.
        if fs::remove_dir(&dir).is_ok() {
            return sync_dir(&self.blobs).map_err(|e| failed(&e));
        }
        sync_dir(&dir).map_err(|e| failed(&e))
    }

    /// Keeps this snapshot and the newest other one.
    pub(super) fn put_snapshot(&self, at: Seq, bytes: &[u8]) -> Result<(), LogError> {
        let failed = |e: &io::Error| write_error("a snapshot", e);
        let hash = digest(&SHA256, bytes);
        self.place(&self.snapshots, &snapshot_name(at), &[hash.as_ref(), bytes]).map_err(|e| failed(&e))?;
        let others = self.snapshot_seqs()?.into_iter().filter(|seq| *seq != at);
        for old in others.skip(1) {
            fs::remove_file(self.snapshots.join(snapshot_name(old))).map_err(|e| failed(&e))?;
        }
        Ok(())
    }

    /// Removes those of later frames than `after`.
    pub(super) fn drop_snapshots(&self, after: Seq) -> Result<(), LogError> {
        for seq in self.snapshot_seqs()?.into_iter().filter(|seq| *seq > after) {
            let removed = fs::remove_file(self.snapshots.join(snapshot_name(seq)));
            removed.map_err(|e| write_error("a snapshot", &e))?;
        }
        Ok(())
    }

    /// Newest first. A damaged one is left out: the one before it, or the whole log, takes its place.
    pub(super) fn snapshots(&self) -> Result<Vec<(Seq, Bytes)>, LogError> {
        let mut found = Vec::new();
        for seq in self.snapshot_seqs()? {
            found.extend(self.snapshot(seq)?.map(|bytes| (seq, bytes)));
        }
        Ok(found)
    }

    /// One of them; `None` when it is gone or damaged.
    pub(super) fn snapshot(&self, at: Seq) -> Result<Option<Bytes>, LogError> {
        let path = self.snapshots.join(snapshot_name(at));
        let Some(mut bytes) = read(&path)?.map(Bytes::from) else { return Ok(None) };
        if bytes.len() >= HASH_BYTES {
            let hash = bytes.split_to(HASH_BYTES);
            if digest(&SHA256, &bytes).as_ref() == &hash[..] {
                return Ok(Some(bytes));
            }
        }
        tracing::error!(file = %path.display(), "a snapshot is damaged and is not used");
        Ok(None)
    }

    pub(super) fn snapshot_seqs(&self) -> Result<Vec<Seq>, LogError> {
        let failed = |e: io::Error| LogError::Unavailable(format!("cannot list {}: {e}", self.snapshots.display()));
        let mut seqs = Vec::new();
        for entry in fs::read_dir(&self.snapshots).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            seqs.extend(name.to_str().and_then(|n| n.parse::<Seq>().ok()));
        }
        seqs.sort_unstable_by(|a, b| b.cmp(a));
        Ok(seqs)
    }

    fn scope_dir(&self, scope: &str) -> PathBuf {
        self.blobs.join(self.scopes.name(scope))
    }

    /// The name of every blob.
    pub(super) fn names(&self) -> Result<Vec<String>, LogError> {
        let failed = |e: io::Error| LogError::Unavailable(format!("cannot list {}: {e}", self.blobs.display()));
        let mut names = vec![];
        for dir in fs::read_dir(&self.blobs).map_err(failed)? {
            let dir = dir.map_err(failed)?;
            for file in fs::read_dir(dir.path()).map_err(failed)? {
                let file = file.map_err(failed)?;
                names.push(format!("{}/{}", dir.file_name().to_string_lossy(), file.file_name().to_string_lossy()));
            }
        }
        Ok(names)
    }

    pub(super) fn read_named(&self, name: &str) -> Result<Bytes, LogError> {
        let (scope, hash) = blob_parts(name)?;
        let there = self.read_blob(&self.blobs.join(scope), hash)?;
        there.ok_or_else(|| LogError::Damaged(format!("the blob {hash} is gone")))
    }

    pub(super) fn take_named(&self, name: &str, bytes: &[u8]) -> Result<(), LogError> {
        let (scope, hash) = blob_parts(name)?;
        if sha256_hex(bytes) != hash {
            return Err(LogError::Damaged(format!("the blob {hash} is not what it is named after")));
        }
        self.place(&self.blobs.join(scope), hash, &[bytes]).map_err(|e| write_error("a blob", &e))
    }

    /// Writes a file under another name, syncs it, gives it its name, and syncs that.
    fn place(&self, dir: &Path, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        let unfinished = self.unfinished.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let placed = write_synced(&unfinished, parts).and_then(|()| move_into(&unfinished, dir, name));
        if placed.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        placed
    }
}

/// A file that only the daemon's user can read, made when it is missing, and made so when it is there.
pub(crate) fn private(path: &Path) -> io::Result<File> {
    open_private(path, &mut File::options())
}

fn open_private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.create(true).read(true).write(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    let file = options.open(path)?;
    close_to_others(&file, 0o600)?;
    Ok(file)
}

/// The same, for who may have more rights than whoever owns the folder: no link leads to a file elsewhere.
pub(crate) fn private_itself(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.is_file() => return Err(neither(path)),
        _ => {}
    }
    only_a_file(open_private(path, &mut itself())?, path)
}

/// Opens a file to be read, and nothing else that has its name.
pub(crate) fn read_itself(path: &Path) -> io::Result<File> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(neither(path));
    }
    only_a_file(itself().read(true).open(path)?, path)
}

fn only_a_file(file: File, path: &Path) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(neither(path)) }
}

/// What was a file a moment ago and is a link now is not followed, and a pipe keeps nobody waiting.
fn itself() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "flags are of Unix"))]
    let mut options = File::options();
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits().cast_signed());
    }
    options
}

pub(crate) fn neither(path: &Path) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("`{}` is neither a file nor a folder", path.display()))
}

/// A directory below the daemon's own that only its user can enter, made when it is missing, and made so when it is there.
pub(super) fn private_dir(dir: &Path) -> io::Result<()> {
    match private_dirs().create(dir) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e),
        _ => close_to_others(&File::open(dir)?, 0o700),
    }
}

/// Makes directories that only the daemon's user can enter.
pub(super) fn private_dirs() -> DirBuilder {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "modes are of Unix"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// What others may read of an earlier start, or of a copy, they may read no more.
fn close_to_others(file: &File, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
    }
    #[cfg(not(unix))]
    let _ = (file, mode);
    Ok(())
}

fn write_synced(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = private(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()
}

fn move_into(from: &Path, dir: &Path, name: &str) -> io::Result<()> {
    loop {
        match private_dirs().create(dir) {
            Ok(()) => dir.parent().map_or(Ok(()), sync_dir)?,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        match fs::rename(from, dir.join(name)) {
            // Deleting the scope's last blob removed the directory in between; the file is still ours.
            Err(e) if e.kind() == ErrorKind::NotFound && from.exists() => {}
            Err(e) => return Err(e),
            Ok(()) => return sync_dir(dir),
        }
    }
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, LogError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(LogError::Unavailable(format!("cannot read {}: {e}", path.display()))),
    }
}

fn write_error(what: &str, error: &io::Error) -> LogError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            LogError::Full(format!("no room for {what}: {error}"))
        }
        _ => LogError::Unavailable(format!("cannot write {what}: {error}")),
    }
}

/// The hash in a reference. It becomes a file's name, so nothing else may pass.
fn snapshot_name(at: Seq) -> String {
    format!("{at:020}")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("metadata").permissions().mode() & 0o777
    }

    #[test]
    fn what_others_could_read_is_closed_to_them_and_new_folders_are_closed_from_the_start() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("log.db");
        fs::write(&file, b"kept").expect("write");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
        fs::create_dir(dir.path().join("blobs")).expect("mkdir");
        fs::set_permissions(dir.path().join("blobs"), fs::Permissions::from_mode(0o755)).expect("chmod");
        drop(private(&file).expect("open"));
        assert_eq!((mode(&file), fs::read(&file).expect("read")), (0o600, b"kept".to_vec()));
        let files = Files::open(dir.path(), Scopes::new(&[1; 32])).expect("open");
        files.put_blob("sms/ann", b"a picture").expect("put");
        let folders = fs::read_dir(&files.blobs).expect("list").map(|e| e.expect("entry").path());
        for path in folders.chain([files.blobs.clone(), files.snapshots.clone(), files.unfinished.clone()]) {
            assert_eq!(mode(&path), 0o700, "{}", path.display());
        }
    }
}
