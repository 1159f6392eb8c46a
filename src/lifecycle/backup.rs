//! Saving a workspace while its daemon runs.
//!
//! A backup is a folder that an embedded log could be opened in, with a manifest: whatever log it is of, it can be restored to either.
//! It is written under another name, read again, and folded to a state, before it gets its own.

use super::manifest::{Manifest, sums};
use super::migrate::{self, MigrateError};
use crate::clock;
use crate::config::Config;
use crate::log::sqlite::{OpenError, SqliteLog, SqliteOptions, create_private, lock_dir, saved};
use crate::log::{Log, LogError};
use crate::router::{RecoverError, state_of};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use switchboard_routing_rules::state::{Limits, State};

/// What was saved.
#[derive(Clone, Debug)]
pub struct Saved {
    pub manifest: Manifest,
    /// An earlier backup was interrupted; what it had left is removed.
    pub removed: bool,
}

/// Why a workspace was not saved, or not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("there is nothing to save: there is no log in {}", .0.display())]
    Nothing(PathBuf),
    #[error("{} exists: name a folder that does not, nothing is overwritten", .0.display())]
    Exists(PathBuf),
    #[error("another backup is being written to {}", .0.display())]
    Busy(PathBuf),
    #[error("{} is no backup: it has no manifest.json", .0.display())]
    NoBackup(PathBuf),
    #[error("the backup in {} has format {found}, which this program does not know: use the version that wrote it, or a later one",
        dir.display())]
    Format { dir: PathBuf, found: u32 },
    #[error("the backup in {} is damaged: {why}", dir.display())]
    Damaged { dir: PathBuf, why: String },
    #[error(
        "this is a backup of workspace `{found}`, and the configuration's is `{wanted}`: set `workspace` to the same"
    )]
    Workspace { found: String, wanted: String },
    #[error("there is a workspace in {} already, or a part of one, and nothing is overwritten: move all that is in the directory away, \
        or set `log.path` to another", .0.display())]
    Occupied(PathBuf),
    #[error(
        "a restore to an embedded log was interrupted right before its end, and all of it is in {}: finish it with the configuration of \
         then, or remove that folder", stage.display()
    )]
    Unplaced { stage: PathBuf },
    #[error(
        "the restore of another backup, of {at}, had been interrupted in {} right before its end, and is finished now: start the daemon, \
         or move what is in that directory away and restore again", dir.display()
    )]
    AnotherFinished { dir: PathBuf, at: String },
    #[error("{}: {source}", path.display())]
    Files { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Hindered(String),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Move(#[from] MigrateError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("what was saved makes no state: {0}")]
    Recover(#[from] RecoverError),
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Files { path, source }
}

/// Saves the workspace into a folder that is not there yet.
///
/// # Errors
/// With what stands in the way; then there is no such folder.
pub async fn backup(config: &Config, to: &Path, tell: &mut dyn FnMut(&str)) -> Result<Saved, BackupError> {
    if config.log.nats.is_none() && !config.log.path.join(saved::DATABASE).exists() {
        return Err(BackupError::Nothing(config.log.path.clone()));
    }
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let unfinished = beside(to);
    create_private(&unfinished).map_err(at(&unfinished))?;
    let lock = lock_dir(&unfinished).map_err(|e| match e {
        OpenError::Locked { .. } => BackupError::Busy(unfinished.clone()),
        other => BackupError::Open(other),
    })?;
    let content = unfinished.join("backup");
    let left = content.exists();
    if left {
        saved::remove(&content).map_err(at(&content))?;
    }
    let written = write(config, &content, tell).await;
    let placed = written.and_then(|manifest| {
        // A folder of that name may be there by now; an empty one is no loss.
        fs::rename(&content, to).map_err(at(to))?;
        let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(at(parent))?;
        Ok(manifest)
    });
    // It holds what people wrote, also where it is no backup.
    let removed = saved::remove(&unfinished);
    drop(lock);
    let manifest = placed?;
    removed.map_err(at(&unfinished))?;
    Ok(Saved { manifest, removed: left })
}

/// The name under which a backup is written.
fn beside(to: &Path) -> PathBuf {
    let mut name = to.file_name().map_or_else(|| OsString::from("backup"), OsString::from);
    name.push(".unfinished");
    to.with_file_name(name)
}

async fn write(config: &Config, content: &Path, tell: &mut dyn FnMut(&str)) -> Result<Manifest, BackupError> {
    create_private(content).map_err(at(content))?;
    let of = match &config.log.nats {
        // Its path may be one from where the configuration is.
        None => std::path::absolute(&config.log.path).map_err(at(&config.log.path))?.display().to_string(),
        Some(_) => migrate::words(config),
    };
    let mut manifest = Manifest::new(&config.workspace, clock::now(), of);
    match &config.log.nats {
        None => {
            tell("the database and its files");
            let (from, to) = (config.log.path.clone(), content.to_owned());
            let saved = tokio::task::spawn_blocking(move || saved::save(&from, &to)).await;
            saved.map_err(|e| BackupError::Hindered(e.to_string()))??;
        }
        Some(nats) => migrate::save(config, nats, content, tell).await?,
    }
    tell("folding what was saved");
    let state = folded(content, super::start::limits(config)).await?;
    manifest.conversations = state.conversations.len() as u64;
    saved::settle(content)?;
    let damaged = |why: String| BackupError::Damaged { dir: content.to_owned(), why };
    let rows = saved::examine(content)?.map_err(damaged)?;
    (manifest.frames, manifest.inputs, manifest.keys) = (rows.frames, rows.inputs, rows.keys);
    manifest.files = sums(content).map_err(at(content))?;
    manifest.write(content)?;
    tell("reading it again");
    super::manifest::verify(content)
}

/// The state that the log in a directory makes: whoever restores it gets this one.
async fn folded(dir: &Path, limits: Limits) -> Result<State, BackupError> {
    let log: Arc<dyn Log> = SqliteLog::open(dir, &SqliteOptions::default())?;
    if let Some(why) = migrate::hinders(log.as_ref()).await? {
        return Err(BackupError::Hindered(why));
    }
    Ok(state_of(&log, limits).await?)
}
