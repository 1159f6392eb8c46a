//! The command line. Each command returns what it has to say; only [`screen`] prints.

mod adapter;
mod admin;
mod api;
mod backup;
pub mod banner;
mod canary;
mod check;
mod contacts;
mod conversations;
mod doctor;
mod explain;
mod list;
mod migrate;
mod replay;
mod rules;
mod run;
mod schema;
mod screen;
mod table;

use crate::config::Environment;
use clap::{Args, Parser, Subcommand};
use screen::Screen;
use std::path::PathBuf;
use std::process::ExitCode;

/// A daemon that makes a company reachable, and answerable, wherever its customers write.
#[derive(Debug, Parser)]
#[command(name = "switchboard", version, disable_help_subcommand = true, after_help = AFTER)]
struct Cli {
    #[command(flatten)]
    at: ConfigArg,
    /// `run` when left out
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER: &str = "\
The configuration is looked for in this order: --config, $SWITCHBOARD_CONFIG, /etc/switchboard/switchboard.toml, then the
built-in quickstart. Commands that administer a running daemon ask it at $SWITCHBOARD_URL with $SWITCHBOARD_TOKEN, else where
the configuration says that it is, with the admin.token in its data directory.

Exit codes: 0, 1 failed, 2 usage, 3 the daemon cannot be reached.";

/// Where the configuration is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ConfigArg {
    /// The configuration file
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon (the default)
    Run(run::Run),
    /// Look at a running system, and say what is wrong and what to do; it changes nothing
    Doctor(doctor::Doctor),
    /// Validate configuration and rules without starting; all errors at once
    Check,
    /// Test, explain and change the rules
    Rules {
        #[command(subcommand)]
        command: rules::Rules,
    },
    /// List, read and answer conversations
    #[command(visible_alias = "conversation")]
    Conversations(conversations::Conversations),
    /// List agents and set their presence
    #[command(visible_alias = "agent")]
    Agents(admin::Agents),
    /// List queues with their depth and oldest wait
    #[command(visible_alias = "queue")]
    Queues(admin::Queues),
    /// List, pause and resume channels
    #[command(visible_alias = "channel")]
    Channels(admin::Channels),
    /// Find, read and change contacts
    #[command(visible_alias = "contact")]
    Contacts(contacts::Contacts),
    /// List, resend and drop what could not be sent, or may have been; what bounced later is in its conversation
    DeadLetters(admin::DeadLetters),
    /// List, show, retry and drop what could not be understood
    Quarantine(admin::Quarantine),
    /// Move a workspace to another log: from the embedded one to NATS, or back
    Migrate(migrate::Migrate),
    /// Save a workspace while its daemon runs
    Backup(backup::Backup),
    /// Restore a workspace from a backup
    Restore(backup::Restore),
    /// Check an adapter that is written in another language
    Adapter {
        #[command(subcommand)]
        command: adapter::Adapter,
    },
    /// Print a JSON Schema
    Schema {
        /// Which one; all of them when left out
        #[arg(value_enum)]
        name: Option<schema::Name>,
    },
}

/// Why a command failed; the variant decides the exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It was understood and did not work: 1.
    Failed(String),
    /// What was asked for cannot be: 2.
    Usage(String),
    /// The daemon cannot be reached: 3.
    Unreachable(String),
}

pub(crate) type Done = Result<(), Failure>;

/// Runs the command that the arguments name.
pub async fn main(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let env = Environment::of_process();
    let mut screen = Screen::of_process(&env);
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(e) => return not_a_command(&e, &mut screen),
    };
    let at = &cli.at;
    let done = match cli.command.unwrap_or_else(|| Command::Run(run::Run::default())) {
        Command::Run(what) => run::run(what, at, &env, &mut screen).await,
        Command::Doctor(d) => d.run(at, &env, &mut screen).await,
        Command::Check => check::run(at, &env, &mut screen),
        Command::Rules { command } => rules::run(command, at, &env, &mut screen).await,
        Command::Conversations(c) => c.run(at, &env, &mut screen).await,
        Command::Agents(c) => c.run(at, &env, &mut screen).await,
        Command::Queues(c) => c.run(at, &env, &mut screen).await,
        Command::Channels(c) => c.run(at, &env, &mut screen).await,
        Command::Contacts(c) => c.run(at, &env, &mut screen).await,
        Command::DeadLetters(c) => c.run(at, &env, &mut screen).await,
        Command::Quarantine(c) => c.run(at, &env, &mut screen).await,
        Command::Migrate(m) => m.run(at, &env, &mut screen).await,
        Command::Backup(b) => b.run(at, &env, &mut screen).await,
        Command::Restore(r) => r.run(at, &env, &mut screen).await,
        Command::Adapter { command } => command.run(&mut screen).await,
        Command::Schema { name } => schema::run(name, &mut screen),
    };
    finish(done, &mut screen)
}

fn finish(done: Done, screen: &mut Screen) -> ExitCode {
    let (code, message) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(m)) => (1, m),
        Err(Failure::Usage(m)) => (2, m),
        Err(Failure::Unreachable(m)) => (3, m),
    };
    if !message.is_empty() {
        screen.err(&format!("switchboard: {message}"));
    }
    ExitCode::from(code)
}

/// Help and version were asked for and go to the standard output; everything else is a wrong use.
fn not_a_command(e: &clap::Error, screen: &mut Screen) -> ExitCode {
    let text = e.render().to_string();
    if e.use_stderr() {
        screen.err(text.trim_end());
        ExitCode::from(2)
    } else {
        screen.out(text.trim_end());
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_configuration_is_named_before_or_after_the_command() {
        for line in [
            vec!["--config", "x.toml"],
            vec!["run", "--config", "x.toml"],
            vec!["--config", "x.toml", "check"],
            vec!["conversations", "--config", "x.toml", "show", "c1"],
            vec!["queues", "list", "--config", "x.toml"],
        ] {
            let cli = Cli::try_parse_from([vec!["switchboard"], line.clone()].concat())
                .unwrap_or_else(|e| panic!("{line:?}: {e}"));
            assert_eq!(cli.at.config, Some("x.toml".into()), "{line:?}");
        }
    }

    #[test]
    fn what_administrators_type_is_understood() {
        for line in [
            "run",
            "run --role edge",
            "conversations",
            "conversations --json",
            "conversations list --state queued --limit 10 --json",
            "conversations show c1",
            "conversations reply c1 hello",
            "conversations --channel site --limit 3",
            "conversations take c1",
            "conversations take c1 --as ann",
            "conversations close c1",
            "conversations transfer c1 --queue billing",
            "conversations snooze c1 2026-11-23T09:00:00Z",
            "agents",
            "agents presence ann available",
            "queues",
            "queues --json",
            "channels pause site",
            "contacts list --identity phone:+1",
            "doctor",
            "doctor --json",
            "dead-letters",
            "dead-letters list --limit 5",
            "dead-letters resend m1",
            "dead-letters drop m1",
            "quarantine show 7",
            "quarantine retry 7",
            "quarantine drop 7",
            "conversations transfer c1 billing",
            "conversations snooze c1 2h",
            "conversations list --state open",
            "conversations reply c1 hello --idempotency-key 0a1b",
            "contacts list phone:+15551230001",
            "contacts tag p1 vip late",
            "contacts untag p1 vip",
            "contacts set p1 tier=gold note=",
            "contacts consent p1 support-sms opted-in",
            "contacts merge p1 p2",
            "rules reload --force",
            "rules test",
            "rules test dir",
            "rules test dir --config switchboard.toml",
            "rules explain --last",
            "rules explain m1 --json",
            "rules reload",
            "rules rollback",
            "rules rollback --to 0123456789ab",
            "rules canary",
            "rules canary --json",
            "rules canary --share 10%",
            "rules canary --share 10 --pack dir --force",
            "rules canary --share 10 --disk",
            "rules canary --promote",
            "rules canary --stop",
            "rules history",
            "backup /srv/backups/monday",
            "backup --verify /srv/backups/monday",
            "restore /srv/backups/monday --config new.toml",
            "schema",
            "schema config",
            "adapter check plan.toml",
            "adapter check plan.toml --server nats://127.0.0.1:4222 --only send,crash --json",
        ] {
            let words = std::iter::once("switchboard").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
        for line in [
            "conversatons",
            "run --role leader",
            "conversations reply c1",
            "conversations transfer c1",
            "conversations transfer c1 billing --agent ann",
            "conversations snooze c1 soon",
            "conversations snooze c1 0h",
            "contacts set p1 tier",
            "contacts consent p1 support-sms maybe",
            "contacts list phone:+1 --identity phone:+1",
            "agents presence ann",
            "rules explain",
            "rules explain m1 --last",
            "rules canary --share 0",
            "rules canary --pack dir",
            "rules canary --share 10 --stop",
            "conversations list --limit 0",
            "schema toml",
            "backup",
            "restore",
            "adapter check",
            "adapter check plan.toml --only everything",
        ] {
            let words = std::iter::once("switchboard").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
        // What an unset variable of a script leaves behind.
        assert!(Cli::try_parse_from(["switchboard", "conversations", "show", ""]).is_err());
    }
}
