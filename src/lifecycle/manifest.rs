//! What a backup says of itself: what it is of, and each of its files with its length and hash.

use super::backup::{BackupError, at};
use crate::log::sqlite::saved;
use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::Path;
use switchboard_adapter_sdk::signature::to_hex;
use switchboard_envelope::Timestamp;

pub(super) const MANIFEST: &str = "manifest.json";
/// Raised when an older program could not restore it any more.
const FORMAT: u32 = 1;
/// Bytes read at once.
const CHUNK: usize = 1 << 16;

/// What a backup holds.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Manifest {
    pub format: u32,
    /// The version of the program that wrote it.
    pub version: String,
    pub workspace: String,
    /// Everything that was acknowledged before this moment is in it.
    pub at: Timestamp,
    /// The log that it is of.
    pub of: String,
    pub conversations: u64,
    pub frames: u64,
    pub inputs: u64,
    pub keys: u64,
    pub files: BTreeMap<String, Sum>,
}

/// One file.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Sum {
    pub bytes: u64,
    pub sha256: String,
}

impl Manifest {
    pub(super) fn new(workspace: &str, at: Timestamp, of: String) -> Manifest {
        Manifest {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            workspace: workspace.into(),
            at,
            of,
            conversations: 0,
            frames: 0,
            inputs: 0,
            keys: 0,
            files: BTreeMap::new(),
        }
    }

    /// Files of the workspace, beside its database and its snapshots.
    #[must_use]
    pub fn blobs(&self) -> usize {
        self.files.keys().filter(|name| name.starts_with("blobs/")).count()
    }

    /// It is there as a whole, or not at all.
    pub(super) fn write(&self, dir: &Path) -> Result<(), BackupError> {
        let path = dir.join(MANIFEST);
        let unfinished = path.with_extension("unfinished");
        let written = || {
            let mut text = serde_json::to_vec_pretty(self)?;
            text.push(b'\n');
            let mut file = saved::private_file(&unfinished)?;
            file.set_len(0)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(dir)?.sync_all()
        };
        written().map_err(at(&path))
    }

    pub(super) fn read(dir: &Path) -> Result<Manifest, BackupError> {
        let path = dir.join(MANIFEST);
        let mut text = vec![];
        match saved::open_itself(&path).and_then(|mut file| file.read_to_end(&mut text)) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(BackupError::NoBackup(dir.to_owned())),
            read => read.map_err(at(&path))?,
        };
        let damaged = |why: String| BackupError::Damaged { dir: dir.to_owned(), why };
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(&text).map_err(|e| damaged(format!("{MANIFEST}: {e}")))?;
        if format != FORMAT {
            return Err(BackupError::Format { dir: dir.to_owned(), found: format });
        }
        serde_json::from_slice(&text).map_err(|e| damaged(format!("{MANIFEST}: {e}")))
    }

    /// Reads a folder that should hold this.
    pub(super) fn compare(&self, dir: &Path) -> Result<(), BackupError> {
        let damaged = |why: String| Err(BackupError::Damaged { dir: dir.to_owned(), why });
        let found = sums(dir).map_err(at(dir))?;
        for (name, sum) in &self.files {
            match found.get(name) {
                None => return damaged(format!("{name} is missing")),
                Some(there) if there != sum => return damaged(format!("{name} is not what was saved")),
                Some(_) => {}
            }
        }
        if let Some(name) = found.keys().find(|name| !self.files.contains_key(*name)) {
            return damaged(format!("{name} does not belong to it"));
        }
        match saved::examine(dir)? {
            Err(why) => damaged(format!("{}: {why}", saved::DATABASE)),
            Ok(rows) if (rows.frames, rows.inputs, rows.keys) == (self.frames, self.inputs, self.keys) => Ok(()),
            Ok(_) => damaged(format!("{} does not hold what {MANIFEST} counts", saved::DATABASE)),
        }
    }
}

/// Reads a backup to its end.
///
/// # Errors
/// When it is not, byte by byte, what was written.
pub fn verify(dir: &Path) -> Result<Manifest, BackupError> {
    let manifest = Manifest::read(dir)?;
    manifest.compare(dir)?;
    Ok(manifest)
}

/// Every file of a folder, with its sum, but for the manifest.
pub(super) fn sums(dir: &Path) -> io::Result<BTreeMap<String, Sum>> {
    let mut found = BTreeMap::new();
    let mut left = vec![String::new()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(dir.join(&folder))? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "a name is not UTF-8"))?;
            let name = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                left.push(name);
            } else if !kind.is_file() {
                return Err(saved::no_part(&entry.path()));
            } else if name != MANIFEST {
                found.insert(name, sum(&entry.path())?);
            }
        }
    }
    Ok(found)
}

fn sum(path: &Path) -> io::Result<Sum> {
    let (mut file, mut hash, mut bytes) = (saved::open_itself(path)?, Context::new(&SHA256), 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk)?;
        let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else {
            return Ok(Sum { bytes, sha256: to_hex(hash.finish().as_ref()) });
        };
        hash.update(part);
        bytes += part.len() as u64;
    }
}
