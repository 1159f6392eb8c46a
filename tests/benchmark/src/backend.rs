use std::error::Error;
use std::fmt;
use std::sync::Arc;
use switchboard::log::Log;
use switchboard::log::nats::{NatsLog, NatsOptions};
use switchboard::log::sqlite::{SqliteLog, SqliteOptions};
use switchboard_e2e::Backend;
use switchboard_simulators::NatsServer;
use tempfile::TempDir;

/// Where the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum On {
    #[default]
    Embedded,
    /// A nats-server with its default sync: to the disk every two minutes
    Nats,
    /// A nats-server that syncs before it acknowledges
    NatsSyncAlways,
}

/// On two processors, with everything that the benchmark runs beside the program.
#[derive(Clone, Copy, Debug)]
pub struct Promised {
    /// Messages a second of a full run.
    pub per_second: f64,
    /// From webhook to provider at 500 messages a second, the 99th percentile.
    pub p99_ms: f64,
}

/// Replaces the block that the test broker writes before it.
const ALWAYS: &str =
    "jetstream { store_dir: \"store\", max_file_store: 200GB, max_memory_store: 1GB, sync_interval: always }";

impl On {
    pub fn words(self) -> &'static str {
        match self {
            On::Embedded => "embedded: synced before it answers",
            On::Nats => "one nats-server, default sync",
            On::NatsSyncAlways => "one nats-server, sync_interval: always",
        }
    }

    /// What is promised where the log is there.
    pub fn promised(self) -> Option<Promised> {
        match self {
            On::Embedded => Some(Promised { per_second: 10_000.0, p99_ms: 5.0 }),
            On::Nats => Some(Promised { per_second: 6_000.0, p99_ms: 8.0 }),
            On::NatsSyncAlways => None,
        }
    }

    /// Starts what it needs.
    pub fn start(self) -> Backend {
        match self {
            On::Embedded => Backend::Embedded,
            On::Nats => Backend::nats(),
            On::NatsSyncAlways => Backend::Nats(NatsServer::with(ALWAYS)),
        }
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            On::Embedded => "embedded",
            On::Nats => "nats",
            On::NatsSyncAlways => "nats-sync-always",
        })
    }
}

/// A log of the benchmark's own, with nothing in it.
pub struct Fresh {
    pub log: Arc<dyn Log>,
    _folder: TempDir,
}

impl Fresh {
    pub async fn open(on: &Backend) -> Result<Fresh, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let log: Arc<dyn Log> = match on.url() {
            None => SqliteLog::open(folder.path(), &SqliteOptions::default())?,
            Some(url) => NatsLog::open(&NatsOptions::new(vec![url], "main", "benchmark".into())).await?,
        };
        Ok(Fresh { log, _folder: folder })
    }
}
