//! The log that the configuration names, with the data directory that it needs.

use super::role::Role;
use super::start::StartError;
use crate::config::{Config, NatsConfig};
use crate::log::Log;
use crate::log::nats::{NatsLog, NatsOptions, Part, Sizes};
use crate::log::sqlite::{SqliteLog, SqliteOptions, lock_dir, saved};
use std::fs::File;
use std::sync::Arc;
use tokio::sync::watch;

pub(super) struct Opened {
    pub log: Arc<dyn Log>,
    /// Becomes a reason when the log cannot go on.
    pub fatal: watch::Receiver<Option<String>>,
    /// Held while the process runs, where the log itself does not hold it: the directory has history and the token.
    _directory: Option<File>,
    /// A broker that is gone comes back: there nothing is fatal.
    _never: Option<watch::Sender<Option<String>>>,
}

pub(super) async fn open(config: &Config, process: &str, role: Role) -> Result<Opened, StartError> {
    crate::log::sqlite::create_private(&config.log.path).map_err(|e| {
        StartError::Other(format!("the data directory {} cannot be made: {e}", config.log.path.display()))
    })?;
    let Some(nats) = &config.log.nats else {
        let sqlite = SqliteLog::open(&config.log.path, &embedded(config))?;
        return Ok(Opened { fatal: sqlite.fatal(), log: sqlite, _directory: None, _never: None });
    };
    let directory = lock_dir(&config.log.path)?;
    // Until it says so on the broker, only what is here tells that a backup was to be carried there.
    saved::is_none_on_its_way(&config.log.path)?;
    let log = NatsLog::open(&options(config, nats, process, part(role))).await?;
    let (never, fatal) = watch::channel(None);
    Ok(Opened { log, fatal, _directory: Some(directory), _never: Some(never) })
}

pub(super) fn embedded(config: &Config) -> SqliteOptions {
    SqliteOptions { in_max_bytes: config.limits.inbox, ..SqliteOptions::default() }
}

fn part(role: Role) -> Part {
    match role {
        Role::All => Part::All,
        Role::Router => Part::Router,
        Role::Edge => Part::Edge,
    }
}

pub(super) fn options(config: &Config, nats: &NatsConfig, process: &str, part: Part) -> NatsOptions {
    NatsOptions {
        prefix: nats.prefix.clone(),
        credentials: nats.credentials.clone(),
        tls: nats.tls.clone(),
        replicas: nats.replicas,
        part,
        sizes: Sizes { inn: config.limits.inbox, ..nats.sizes.clone() },
        ..NatsOptions::new(nats.servers.clone(), &config.workspace, process.to_owned())
    }
}
