//! `/api/v1` on the admin listener: what people and programs do to a running daemon.

mod activity;
mod attachments;
mod auth;
mod backend;
mod canary;
mod commands;
mod contacts;
mod conversations;
mod decisions;
mod events;
mod explain;
mod held;
mod input;
mod links;
mod logins;
mod numbers;
mod rules;
mod status;
mod table;
#[cfg(test)]
mod tests;
mod told;
mod views;
mod waiting;

pub use auth::{Caller, Gate, Tokens, scope_name};
pub use backend::{
    AgentView, Answer, Backend, ChannelView, QueueView, RawRecord, ReloadError, Retried, StateView, Unanswered,
    Undelivered, resume_command,
};
pub(crate) use explain::no_reply_words;
pub use links::FileLinks;
pub use status::{Duplicates, HistoryStatus, LogStatus, Queue, Status, Unsettled};
pub use table::{ROUTES, Route};
pub(crate) use waiting::passed_words;

use crate::history::HistoryHandle;
use crate::http::console::Sessions;
use axum::Router;
use commands::Pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// The OpenAPI document of the API.
pub const OPENAPI: &str = include_str!("openapi.json");

/// A read waits this long for history to reach what this daemon answered.
const FRESH: Duration = Duration::from_secs(1);
/// Event streams at one time.
const STREAMS: usize = 128;

/// How large requests may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a JSON body.
    pub json: usize,
    /// Bytes of an uploaded file.
    pub file: usize,
    pub read_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { json: 256 * 1024, file: 16 * 1024 * 1024, read_timeout: Duration::from_secs(30) }
    }
}

/// What the routes need. Clones are cheap.
#[derive(Clone)]
pub struct ApiState {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Arc<dyn Backend>,
    history: HistoryHandle,
    gate: Gate,
    files: FileLinks,
    limits: Limits,
    pending: Pending,
    /// The frame of the newest answer that this daemon gave.
    answered: AtomicU64,
    streams: Arc<Semaphore>,
    shutdown: watch::Receiver<bool>,
}

impl ApiState {
    /// `shutdown` ends the event streams, so that a drain can end.
    #[must_use]
    pub fn new(
        backend: Arc<dyn Backend>,
        history: HistoryHandle,
        tokens: Arc<Tokens>,
        sessions: Option<Arc<Sessions>>,
        files: FileLinks,
        limits: Limits,
        shutdown: watch::Receiver<bool>,
    ) -> ApiState {
        let shared = Shared {
            backend,
            history,
            gate: Gate { tokens, sessions },
            files,
            limits,
            pending: Pending::default(),
            answered: AtomicU64::new(0),
            streams: Arc::new(Semaphore::new(STREAMS)),
            shutdown,
        };
        ApiState { shared: Arc::new(shared) }
    }

    fn backend(&self) -> &dyn Backend {
        &*self.shared.backend
    }

    /// History, once it holds what this daemon answered before; a read never waits longer than a second for it.
    async fn history(&self) -> &crate::history::History {
        let history = self.shared.history.history();
        let wanted = self.shared.answered.load(Ordering::SeqCst);
        if history.cursor() < wanted {
            history.wait_for(wanted, FRESH).await;
        }
        history
    }

    /// Where a file of a message can be read for a while, without a token.
    fn file_link(&self, message: &str, index: usize) -> String {
        self.shared.files.link(message, index, self.backend().now())
    }

    fn note_answer(&self, seq: u64) {
        self.shared.answered.fetch_max(seq, Ordering::SeqCst);
    }
}

/// Everything below `/api/v1`.
pub fn routes(state: ApiState) -> Router {
    Router::new().nest("/api/v1", table::router(state))
}
