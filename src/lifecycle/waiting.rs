//! An edge that was started before any router: the streams and keys of its workspace are not made yet. It waits for them, alive and
//! not ready, and both its supervisor and who asks `/readyz` are told so.

use super::start::StartError;
use super::supervisor::Supervisor;
use crate::config::Config;
use crate::http::serve::{ServeLimits, serve};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often the supervisor is asked for more time.
const ASK: Duration = Duration::from_secs(10);
/// How long a request may run on when the wait is over.
const DRAIN: Duration = Duration::from_secs(1);

/// The wait. Dropping it ends it too.
pub(super) struct Waiting {
    over: watch::Sender<bool>,
    server: JoinHandle<()>,
    speaker: JoinHandle<()>,
}

impl Waiting {
    /// Says on `admin.listen` that this process lives and is not ready, and why.
    ///
    /// # Errors
    /// When that cannot be listened on.
    pub async fn begin(config: &Config, supervisor: &Supervisor) -> Result<Waiting, StartError> {
        let address = config.admin.listen;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| StartError::Listen { what: "admin.listen", address, source })?;
        let why = format!(
            "workspace {} is not made yet, or cannot be reached: this edge waits for the streams and keys that a process with `--role router` \
             or `--role all` makes",
            config.workspace
        );
        let said = format!("{why}\n");
        let routes = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(async move || (StatusCode::SERVICE_UNAVAILABLE, said.clone())));
        let (over, ends) = watch::channel(false);
        let limits = ServeLimits { max_connections: 100, drain: DRAIN, ..ServeLimits::default() };
        let server = tokio::spawn(serve(listener, routes, None, limits, ends));
        let supervisor = supervisor.clone();
        let speaker = tokio::spawn(async move {
            loop {
                tokio::time::sleep(ASK).await;
                supervisor.waiting(&why, ASK * 3);
            }
        });
        Ok(Waiting { over, server, speaker })
    }

    /// The listener is free again when this returns.
    pub async fn over(mut self) {
        self.over.send_replace(true);
        let _ = (&mut self.server).await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.server.abort();
        self.speaker.abort();
    }
}
