use super::check::count;
use super::screen::Screen;
use super::{ConfigArg, Done, Failure};
use crate::config::{self, Config, Environment};
use crate::lifecycle::{self, BackupError, Earlier, Manifest, Restored, Saved};
use clap::Args;
use std::path::PathBuf;

/// Saves the whole workspace while its daemon runs: conversations with their history, contacts, the memory of duplicates, timers,
/// files, rule packs, and the keys that all of it is sealed with. Keep it where only you can read it. The configuration and the
/// secrets that it names are not in it.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The folder that the backup becomes; it must not be there yet
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Read the backup that is in this folder, and say whether it is what was saved
    #[arg(long)]
    verify: bool,
}

/// Restores a backup to the log that the configuration names, where nothing may be yet. What was on its way to a customer when it was
/// saved is not sent again: the daemon's next start asks the providers for it, and what nobody knows becomes a dead letter.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The folder that `switchboard backup` made
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Backup {
    pub(crate) async fn run(self, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
        if self.verify {
            let manifest = lifecycle::verify(&self.dir).map_err(|e| Failure::Failed(e.to_string()))?;
            screen.out(&format!("{} is whole: {}", self.dir.display(), held(&manifest)));
            return Ok(());
        }
        let config = load(at, env)?;
        let mut steps = vec![];
        let saved = lifecycle::backup(&config, &self.dir, &mut |step| steps.push(step.to_owned())).await;
        let Saved { manifest, removed } = saved.map_err(|e| failed(&e, &steps))?;
        if removed {
            screen.out("an earlier backup to this place was interrupted; what it had left is removed");
        }
        screen.out(&format!(
            "saved {} to {}: {}\nit holds keys, and what people wrote: keep it on another disk, where only you can read it",
            manifest.of,
            self.dir.display(),
            held(&manifest)
        ));
        Ok(())
    }
}

impl Restore {
    pub(crate) async fn run(self, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
        let config = load(at, env)?;
        let mut steps = vec![];
        let restored = lifecycle::restore(&config, &self.dir, &mut |step| steps.push(step.to_owned())).await;
        let restored = restored.map_err(|e| failed(&e, &steps))?;
        screen.out(&said(&restored));
        Ok(())
    }
}

fn load(at: &ConfigArg, env: &Environment) -> Result<Config, Failure> {
    config::load(at.config.as_deref(), env).map_err(|e| Failure::Failed(e.to_string()))
}

fn failed(error: &BackupError, steps: &[String]) -> Failure {
    Failure::Failed(match steps.last() {
        Some(step) => format!("{error} (while: {step})"),
        None => error.to_string(),
    })
}

fn held(manifest: &Manifest) -> String {
    let amount = |n: u64, what: &str| count(usize::try_from(n).unwrap_or(usize::MAX), what);
    let held = [
        amount(manifest.conversations, "conversation"),
        amount(manifest.frames, "frame"),
        count(manifest.blobs(), "file"),
        amount(manifest.inputs, "record"),
    ];
    format!("workspace {} as of {}, {}", manifest.workspace, manifest.at, held.join(", "))
}

fn said(restored: &Restored) -> String {
    let manifest = &restored.manifest;
    let what = match restored.earlier {
        Earlier::Nothing => "restored",
        Earlier::Part => "an earlier restore was interrupted, and its part removed\nrestored",
        Earlier::All => "finished the restore that was interrupted",
    };
    format!(
        "{what}: {}, to {}\nlost is what came after {} and no provider or mailbox delivers again; whoever wrote then should be asked to \
         write again\nstart the daemon as before: it writes a rebase, sends nothing again that may have been sent (see `switchboard \
         dead-letters`), and answers nothing by itself that was written before",
        held(manifest),
        restored.to,
        manifest.at
    )
}
