//! `/healthz`, `/readyz` and `/metrics` of the private listener.

use crate::clock;
use crate::history::HistoryHandle;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::router::View;
use axum::Router;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use tokio::sync::watch;

#[derive(Clone)]
pub struct Health {
    pub log: Arc<dyn Log>,
    pub metrics: Arc<Metrics>,
    pub history: HistoryHandle,
    pub state: View,
    pub draining: watch::Receiver<bool>,
}

pub fn routes(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

/// Ready: the log takes writes, history follows, and nobody asked us to stop.
async fn ready(Extract(h): Extract<Health>) -> Response {
    let mut problems = vec![];
    if *h.draining.borrow() {
        problems.push("the daemon is stopping".to_owned());
    }
    if let Err(error) = h.log.put_cursor("readyz", &clock::now().0.to_string()).await {
        problems.push(format!("the log cannot be written: {error}"));
    }
    if h.history.is_stuck() {
        problems.push("history cannot follow the log".to_owned());
    }
    let state = h.state.recent().1;
    let paused: Vec<String> = state
        .channels
        .iter()
        .filter(|(_, c)| !c.removed)
        .filter_map(|(id, c)| c.paused.as_ref().map(|why| format!("channel {id} is paused: {why}")))
        .collect();
    if problems.is_empty() {
        let note = if paused.is_empty() { "ready\n".to_owned() } else { format!("ready\n{}\n", paused.join("\n")) };
        return note.into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n").into_response()
}

async fn metrics(Extract(h): Extract<Health>) -> Response {
    let (seq, state) = h.state.recent();
    let text = tokio::task::spawn_blocking(move || h.metrics.text(seq, &state, clock::now())).await.unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}
