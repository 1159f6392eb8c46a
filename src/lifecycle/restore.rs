//! Laying a backup where a daemon starts on it.
//!
//! It is put together in a folder of its own, folded, asked to be rebased, and becomes the log in its last step. A kill before that
//! leaves what no daemon starts on, and the next restore begins anew; a kill within it, and the next one finishes it.

use super::backup::{BackupError, at};
use super::manifest::{MANIFEST, Manifest};
use super::migrate::{self, A_BACKUP, Place, carry};
use crate::config::Config;
use crate::log::sqlite::saved::{self, RESTORING};
use crate::log::sqlite::{SqliteLog, create_private, lock_dir};
use crate::log::{Log, LogError};
use crate::router::{request_rebase, state_of};
use std::path::Path;
use std::sync::Arc;

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    pub manifest: Manifest,
    pub to: String,
    /// What an earlier restore had left that was interrupted.
    pub earlier: Earlier,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// There was none.
    Nothing,
    /// A part of a backup: it was removed.
    Part,
    /// All of this one: it was finished.
    All,
}

/// Restores a backup to the log that the configuration names, where nothing may be yet.
///
/// # Errors
/// With what stands in the way; then no daemon starts there on a part of it.
pub async fn restore(config: &Config, from: &Path, tell: &mut dyn FnMut(&str)) -> Result<Restored, BackupError> {
    let manifest = Manifest::read(from)?;
    if manifest.workspace != config.workspace {
        return Err(BackupError::Workspace { found: manifest.workspace, wanted: config.workspace.clone() });
    }
    let dir = &config.log.path;
    create_private(dir).map_err(at(dir))?;
    let _lock = lock_dir(dir)?;
    // At once: also where nothing comes of the restore, the daemon is to start.
    saved::own_alike(&dir.join("lock"), dir).map_err(at(dir))?;
    let stage = dir.join(RESTORING);
    let earlier = if stage.exists() { Earlier::Part } else { Earlier::Nothing };
    let mut restored = Restored { manifest, to: migrate::words(config), earlier };
    if config.log.nats.is_none() {
        if stage.join(MANIFEST).exists() {
            tell("finishing a restore that was interrupted");
            let there = Manifest::read(&stage)?;
            forget_history(dir)?;
            saved::place(dir).map_err(at(dir))?;
            if there != restored.manifest {
                return Err(BackupError::AnotherFinished { dir: dir.clone(), at: there.at.to_string() });
            }
            restored.earlier = Earlier::All;
            return Ok(restored);
        }
        if saved::is_occupied(dir).map_err(at(dir))? {
            return Err(BackupError::Occupied(dir.clone()));
        }
    } else if stage.join(MANIFEST).exists() {
        return Err(BackupError::Unplaced { stage });
    }
    tell("reading the backup");
    restored.manifest.compare(from)?;
    if let Err(error) = put_together(config, from, &stage, &restored.manifest, tell).await {
        // Only a kill leaves a part.
        saved::remove(&stage).map_err(at(&stage))?;
        return Err(error);
    }
    forget_history(dir)?;
    if config.log.nats.is_some() {
        saved::remove(&stage).map_err(at(&stage))?;
    } else {
        saved::place(dir).map_err(at(dir))?;
    }
    Ok(restored)
}

/// A history that stayed here is of the log that was here, and would be taken for what the restored one has lost; it is made again.
fn forget_history(dir: &Path) -> Result<(), BackupError> {
    for end in ["", "-wal", "-shm"] {
        let path = dir.join(format!("history.db{end}"));
        saved::remove(&path).map_err(at(&path))?;
    }
    Ok(())
}

/// Puts the log together that is to be there, and carries it to the broker if that is where.
async fn put_together(
    config: &Config,
    from: &Path,
    stage: &Path,
    manifest: &Manifest,
    tell: &mut dyn FnMut(&str),
) -> Result<(), BackupError> {
    tell("copying it");
    let (source, to, copy) = (from.to_owned(), stage.to_owned(), manifest.clone());
    let copied = tokio::task::spawn_blocking(move || {
        saved::remove(&to).map_err(at(&to))?;
        saved::copy_parts(&source, &to).map_err(at(&to))?;
        copy.compare(&to)
    });
    copied.await.map_err(|e| BackupError::Hindered(e.to_string()))??;
    let backup = format!("{A_BACKUP}{}", manifest.at);
    let why = format!("restore: {backup} was restored here");
    if config.log.nats.is_some() {
        tell("carrying it to the broker");
        let log = SqliteLog::open(stage, &super::open_log::embedded(config))?;
        carry(&Place::of(log, backup), super::start::limits(config), config, &why, tell).await?;
        return Ok(());
    }
    tell("asking for a rebase");
    prepare(config, stage, manifest, &why).await?;
    saved::settle(stage)?;
    // From here on it is whole, and a restore that is interrupted is finished.
    manifest.write(stage)
}

/// What was on its way when it was saved has ended since, and nobody can tell how.
async fn prepare(config: &Config, stage: &Path, manifest: &Manifest, why: &str) -> Result<(), BackupError> {
    let log: Arc<dyn Log> = SqliteLog::open(stage, &super::open_log::embedded(config))?;
    if let Some(why) = migrate::hinders(log.as_ref()).await? {
        return Err(BackupError::Hindered(why));
    }
    let state = state_of(&log, super::start::limits(config)).await?;
    if state.conversations.len() as u64 != manifest.conversations {
        return Err(LogError::Damaged("it makes another state than it did when it was saved".into()).into());
    }
    let known = state.rebased.map_or(0, |r| r.number);
    // Who asked before it was saved is answered by the rebase that comes now.
    log.delete_cursor("rebase").await?;
    Ok(request_rebase(log.as_ref(), known, why).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load};
    use crate::lifecycle::backup;
    use crate::log::sqlite::SqliteOptions;
    use crate::log::{Class, InRecord, Ingested};
    use std::fs;

    /// A configuration whose log is in this directory.
    fn config(folder: &Path, data: &str) -> Config {
        let (file, data) = (folder.join(format!("{data}.toml")), folder.join(data));
        let text = format!("workspace = \"main\"\n[log]\npath = {:?}\n", data.display().to_string());
        fs::write(&file, text).expect("written");
        load(Some(&file), &Environment::default()).expect("a configuration")
    }

    fn open(config: &Config) -> Arc<SqliteLog> {
        SqliteLog::open(&config.log.path, &SqliteOptions::default()).expect("the log opens")
    }

    /// A workspace to which nobody has written.
    async fn made(config: &Config) {
        open(config).put_key("workspace", [7; 32]).await.expect("kept");
    }

    async fn restored(config: &Config, from: &Path) -> Result<Earlier, BackupError> {
        restore(config, from, &mut |_| {}).await.map(|restored| restored.earlier)
    }

    /// As a kill right before the last step leaves it.
    fn unplaced(config: &Config, manifest: &Manifest, parts: &[&str]) {
        let stage = config.log.path.join(RESTORING);
        fs::create_dir(&stage).expect("made");
        for part in parts {
            fs::rename(config.log.path.join(part), stage.join(part)).expect("moved");
        }
        manifest.write(&stage).expect("written");
    }

    /// What another user's directory holds is that user's, also after a restore that came to nothing.
    #[cfg(unix)]
    #[tokio::test(flavor = "multi_thread")]
    async fn a_restore_that_fails_leaves_the_daemons_user_its_lock_and_no_history_of_before_stays() {
        use std::os::unix::fs::{MetadataExt as _, chown};
        let folder = tempfile::tempdir().expect("a directory");
        let (old, new) = (config(folder.path(), "old"), config(folder.path(), "new"));
        made(&old).await;
        let saved = folder.path().join("saved");
        backup(&old, &saved, &mut |_| {}).await.expect("saved");
        fs::create_dir(&new.log.path).expect("made");
        fs::write(new.log.path.join("history.db"), "of another log").expect("written");
        // Only root gives away.
        let given = chown(&new.log.path, Some(12_345), None).is_ok();
        fs::write(saved.join("more"), "").expect("written");
        assert!(matches!(restored(&new, &saved).await, Err(BackupError::Damaged { .. })));
        let owner = |name: &str| fs::metadata(new.log.path.join(name)).expect("metadata").uid();
        assert_eq!(owner("lock"), owner(""), "{given}");
        assert!(new.log.path.join("history.db").exists(), "nothing was restored");
        fs::remove_file(saved.join("more")).expect("removed");
        assert_eq!(restored(&new, &saved).await.expect("restored"), Earlier::Nothing);
        assert_eq!((owner("log.db"), owner("lock")), (owner(""), owner("")));
        assert!(!new.log.path.join("history.db").exists());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_of_a_restore_to_an_embedded_log_is_not_removed_for_one_to_a_broker() {
        let folder = tempfile::tempdir().expect("a directory");
        let (old, mut new) = (config(folder.path(), "old"), config(folder.path(), "new"));
        made(&old).await;
        let saved = folder.path().join("saved");
        let manifest = backup(&old, &saved, &mut |_| {}).await.expect("saved").manifest;
        assert_eq!(restored(&new, &saved).await.expect("restored"), Earlier::Nothing);
        unplaced(&new, &manifest, &["blobs", "snapshots", "log.db"]);
        let text = format!(
            "workspace = \"main\"\n[log]\nbackend = \"nats\"\nservers = [\"nats://127.0.0.1:1\"]\npath = {:?}\n",
            new.log.path.display().to_string()
        );
        let file = folder.path().join("nats.toml");
        fs::write(&file, text).expect("written");
        new = load(Some(&file), &Environment::default()).expect("a configuration");
        assert!(matches!(restored(&new, &saved).await, Err(BackupError::Unplaced { .. })));
        assert!(new.log.path.join(RESTORING).join("log.db").exists());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_restore_that_was_killed_begins_anew_or_is_finished_and_always_asks_for_a_rebase() {
        let folder = tempfile::tempdir().expect("a directory");
        let (old, new) = (config(folder.path(), "old"), config(folder.path(), "new"));
        let log = open(&old);
        log.put_key("workspace", [7; 32]).await.expect("kept");
        // Somebody else's request, which says that nothing is lost.
        log.put_cursor("rebase", "9 migrate: elsewhere").await.expect("kept");
        let record = |n: u64| InRecord {
            id: format!("sms:{n}"),
            channel: "sms".into(),
            class: Class::Message,
            data: "{}".into(),
        };
        assert_eq!(log.ingest(record(1)).await, Ok(Ingested::Stored(1)));
        let one = folder.path().join("backups/one");
        let saved = backup(&old, &one, &mut |_| {}).await.expect("saved beside the one who has it open");
        assert_eq!((saved.manifest.inputs, saved.removed), (1, false));
        assert_eq!(log.ingest(record(2)).await, Ok(Ingested::Stored(2)));
        let two = folder.path().join("backups/two");
        fs::create_dir_all(folder.path().join("backups/two.unfinished/backup/blobs")).expect("made");
        assert!(backup(&old, &two, &mut |_| {}).await.expect("saved").removed);
        assert!(matches!(backup(&old, &two, &mut |_| {}).await, Err(BackupError::Exists(_))));
        assert_eq!(fs::read_dir(folder.path().join("backups")).expect("listed").count(), 2, "nothing else is left");

        // Killed while it was copied, with the manifest of what is copied or without.
        let stage = new.log.path.join(RESTORING);
        fs::create_dir_all(stage.join("blobs")).expect("made");
        fs::write(stage.join("manifest.unfinished"), "{").expect("written");
        assert_eq!(restored(&new, &one).await.expect("restored"), Earlier::Part);
        assert!(matches!(restored(&new, &one).await, Err(BackupError::Occupied(_))));
        let is_one = async |words: &str| {
            let log = open(&new);
            assert_eq!(log.in_last().await, Ok(1));
            let asked = log.get_cursor("rebase").await.expect("an answer").expect("a request");
            assert!(asked.starts_with("1 restore: the backup of "), "{words}: {asked}");
        };
        is_one("begun anew").await;
        // Killed among the renames.
        for parts in [&["blobs", "snapshots", "log.db"][..], &["snapshots", "log.db"], &["log.db"], &[]] {
            unplaced(&new, &saved.manifest, parts);
            assert_eq!(restored(&new, &one).await.expect("finished"), Earlier::All, "{parts:?}");
            is_one("finished").await;
        }
        unplaced(&new, &saved.manifest, &["log.db"]);
        let said = restored(&new, &two).await.expect_err("another one").to_string();
        assert!(said.contains("is finished now"), "{said}");
        is_one("another was asked for").await;
    }
}
