//! What the NATS backend is told, and why it may not start.

use crate::log::LogError;
use std::{path::PathBuf, time::Duration};
use switchboard_adapter_sdk::Secret;
use thiserror::Error;

/// How this process proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    None,
    /// The text of a `.creds` file: a JWT and the seed that signs for it.
    File(Secret),
    /// The seed of an nkey.
    Nkey(Secret),
}

/// TLS towards the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates that are believed beside the system's; PEM.
    pub ca: Option<PathBuf>,
    /// The client's certificate and its key; PEM.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// The sizes of the streams, in bytes. Each is reserved on the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub inn: u64,
    pub log: u64,
    pub out: u64,
    pub claims: u64,
    pub keys: u64,
    pub edges: u64,
    pub blobs: u64,
}

impl Default for Sizes {
    fn default() -> Sizes {
        const MIB: u64 = 1 << 20;
        Sizes {
            inn: 1024 * MIB,
            log: 4096 * MIB,
            out: 512 * MIB,
            // A claim takes some 140 bytes and lives for half an hour: enough for 6,000 attempts a second.
            claims: 2048 * MIB,
            keys: 256 * MIB,
            edges: 16 * MIB,
            blobs: 4096 * MIB,
        }
    }
}

/// Settings of the NATS backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsOptions {
    pub servers: Vec<String>,
    /// The first token of every subject.
    pub prefix: String,
    pub workspace: String,
    pub credentials: Credentials,
    /// Absent: as the servers' addresses and the broker say.
    pub tls: Option<Tls>,
    pub replicas: u32,
    pub sizes: Sizes,
    /// How long the broker remembers the ids of IN. The state's memory decides in the end.
    pub duplicate_window: Duration,
    /// How long one question may take.
    pub timeout: Duration,
    /// How long the first connection is tried.
    pub connect: Duration,
    /// This process, as its claims name it.
    pub process: String,
    pub part: Part,
}

/// What a process may do to the log. Each part has an inbox of its own, so that a broker can keep the answers to one from the
/// others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    #[default]
    All,
    Router,
    /// Makes no stream, writes no frame, and does not follow IN.
    Edge,
}

impl Part {
    pub(super) fn token(self) -> &'static str {
        match self {
            Part::All => "all",
            Part::Router => "router",
            Part::Edge => "edge",
        }
    }
}

impl NatsOptions {
    /// The defaults for these servers and this workspace.
    #[must_use]
    pub fn new(servers: Vec<String>, workspace: &str, process: String) -> NatsOptions {
        NatsOptions {
            servers,
            prefix: "sb".into(),
            workspace: workspace.to_owned(),
            credentials: Credentials::None,
            tls: None,
            replicas: 1,
            sizes: Sizes::default(),
            duplicate_window: Duration::from_secs(120),
            timeout: Duration::from_secs(5),
            connect: Duration::from_secs(10),
            process,
            part: Part::All,
        }
    }
}

/// Why the log cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("cannot connect to the broker at {servers}: {why}: start nats-server, or change `log.servers`")]
    Connect { servers: String, why: String },
    #[error(
        "the broker at {servers} does not let this process in: {why}: change `log.nkey` or `log.credentials` to a user that it knows"
    )]
    NotLetIn { servers: String, why: String },
    #[error("`log.credentials`: {0}")]
    Credentials(String),
    #[error(
        "the broker at {server} is nats-server {found}, and at least 2.10.23 is needed: install 2.12.3 or later from \
         https://github.com/nats-io/nats-server/releases"
    )]
    TooOld { server: String, found: String },
    #[error("the broker takes messages of {found} bytes at most: set `max_payload` of nats-server to 1MB or more")]
    Payload { found: usize },
    #[error(
        "JetStream does not answer on this broker: start nats-server with `-js` or a `jetstream` block, and see that this \
         account may use it, and that `log.nkey` or `log.credentials` are of a user for this role ({0})"
    )]
    NoJetStream(String),
    #[error("{what} has been written to: move to a workspace, or to a broker, without one")]
    Written { what: String },
    #[error(
        "the streams of workspace {workspace} on the broker hold a part of another move or restore, or of one before the old log was written to: \
         delete the streams SB_{workspace}_*, KV_SB_{workspace}_* and OBJ_SB_{workspace}_BLOBS (`nats stream rm`) and try again"
    )]
    Unfinished { workspace: String },
    #[error("the log cannot begin where the other one ends: {0}")]
    Begin(LogError),
    #[error("{what} of the broker is not as configured: {differences}; {mend}")]
    Differs { what: String, differences: String, mend: String },
    /// Only inside: an edge waits for it.
    #[error("{what} is not on the broker, and an edge makes none")]
    NotMade { what: String },
    #[error("{what} could not be made on the broker: {why}")]
    Make { what: String, why: String },
}
