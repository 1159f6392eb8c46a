use super::check::count;
use super::screen::Screen;
use super::{ConfigArg, Done, Failure};
use crate::config::{self, Config, Environment};
use crate::lifecycle::{self, Moved};
use clap::Args;
use std::path::{Path, PathBuf};

/// Moves the whole workspace: conversations with their history, contacts, the memory of duplicates, timers, files, rule packs.
/// Stop the daemon, and every other process of the workspace, first; the old log stays as it was, and no daemon starts on it
/// any more.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// The configuration whose `[log]` is the new place; it is what the daemon is started with afterwards
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

impl Migrate {
    pub(crate) async fn run(self, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
        let from = load(at.config.as_deref(), env)?;
        let to = load(Some(&self.to), env)?;
        let mut steps = vec![];
        let moved = lifecycle::migrate(&from, &to, &mut |step| steps.push(step.to_owned())).await;
        match moved {
            Ok(moved) => {
                screen.out(&said(&moved, &self.to));
                Ok(())
            }
            Err(e) => Err(Failure::Failed(match steps.last() {
                Some(step) => format!("{e} (while: {step})"),
                None => e.to_string(),
            })),
        }
    }
}

fn load(file: Option<&Path>, env: &Environment) -> Result<Config, Failure> {
    config::load(file, env).map_err(|e| Failure::Failed(e.to_string()))
}

fn said(moved: &Moved, to: &Path) -> String {
    let amount = |n: u64, what: &str| count(usize::try_from(n).unwrap_or(usize::MAX), what);
    let held = [
        count(moved.conversations, "conversation"),
        amount(moved.frames, "frame"),
        amount(moved.blobs, "file"),
        format!("{} still to be decided or just decided", amount(moved.inputs, "record")),
        format!("{} in quarantine", amount(moved.quarantined, "record")),
    ];
    format!(
        "moved from {} to {}: {}\nstart the daemon with: switchboard run --config {}\nwhat was on its way to a customer when the \
         old daemon ended is among the dead letters then, if nobody can tell whether it was sent",
        moved.from,
        moved.to,
        held.join(", "),
        to.display()
    )
}
