//! SIGHUP puts the rule pack on disk in force, as `POST /api/v1/rules/reload` does.

use crate::clock;
use crate::http::api::{Backend, ReloadError};
use std::sync::Arc;
use switchboard_envelope::{Action, Actor, Command, Scope, event_id};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for SIGHUP from now on: without a listener the signal ends the process.
///
/// # Errors
/// When the system has no room for another listener.
pub fn listen() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Reloads at every SIGHUP, for as long as it is polled. A bad pack leaves the one in force.
pub async fn on_hangup(mut hangups: Signal, backend: Arc<impl Backend>) {
    let mut count = 0_u64;
    while hangups.recv().await.is_some() {
        count += 1;
        reload(backend.as_ref(), count).await;
    }
}

async fn reload(backend: &impl Backend, count: u64) {
    let hash = match backend.reload_pack(false).await {
        Ok(hash) => hash,
        Err(ReloadError::Pack(problems)) => {
            for problem in problems {
                tracing::error!(problem, "the rule pack on disk is wrong; the one in force stays");
            }
            return;
        }
        Err(ReloadError::Tests(failing)) => {
            for test in failing {
                tracing::error!(test, "a test of the rule pack on disk fails; the one in force stays");
            }
            return;
        }
        Err(ReloadError::Log(error)) => {
            tracing::error!(%error, "the rule pack was not put in force; send SIGHUP again");
            return;
        }
    };
    for warning in backend.pack_warnings(&hash) {
        tracing::warn!(warning, "the rule pack on disk has a warning");
    }
    let command = Command {
        id: event_id("api", "command", &format!("hangup-{}-{count}", clock::now().0)),
        channel: "api".into(),
        at: clock::now(),
        actor: Actor { agent: None, token: None, scope: Scope::Admin },
        action: Action::ReloadPack { hash: hash.clone() },
        body_hash: None,
        traceparent: None,
    };
    match backend.command(command).await {
        Ok(answer) => tracing::info!(hash, seq = answer.seq, "rule pack reloaded"),
        Err(error) => tracing::error!(%error, "the rule pack was not put in force; send SIGHUP again"),
    }
}
