//! `/healthz`, `/readyz` and `/metrics` of the private listener.

use super::adapters::Adapters;
use crate::clock;
use crate::history::HistoryHandle;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::router::{RouterHandle, Standing};
use axum::Router;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use tokio::sync::watch;

/// A rebase is told this long.
const REBASED_MS: i64 = 7 * 86_400_000;

#[derive(Clone)]
pub struct Health {
    pub log: Arc<dyn Log>,
    pub metrics: Arc<Metrics>,
    pub history: HistoryHandle,
    pub router: RouterHandle,
    /// Whether this process should be ready to lead.
    pub may_lead: bool,
    pub draining: watch::Receiver<bool>,
    /// Why nothing may be sent from here.
    pub clock_wrong: watch::Receiver<Option<String>>,
    pub adapters: Adapters,
}

pub fn routes(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

/// Ready: the log takes writes, history follows, nothing keeps this process from leading if it should be able to, and nobody
/// asked us to stop. That nobody leads is said, and is no reason to send providers elsewhere: what they bring is kept.
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
    if let Some(why) = &*h.clock_wrong.borrow() {
        problems.push(format!("nothing is sent from here: {why}"));
    }
    let mut notes = vec![match &*h.router.standing.borrow() {
        Standing::Leads => "leads".to_owned(),
        Standing::Follows(by) => format!("follows {by}"),
        Standing::Vacant { hindered: Some(why) } if h.may_lead => {
            problems.push(format!("the router cannot lead: {why}"));
            "leads not".to_owned()
        }
        Standing::Vacant { .. } => "nobody leads the workspace".to_owned(),
    }];
    let state = h.router.state.recent().1;
    if h.log.doubt().is_doubted() {
        notes.push(
            "the log is not the one that this process read: nothing is sent until a router has rebased it".to_owned(),
        );
    }
    if let Some(at) = state.rebased.map(|r| r.at).filter(|at| clock::now().since(*at) < REBASED_MS) {
        notes.push(format!("the log was rebased at {at}: look at the dead letters, and ask customers what was lost"));
    }
    let paused = state
        .channels
        .iter()
        .filter(|(_, c)| !c.removed)
        .filter_map(|(id, c)| c.paused.as_ref().map(|why| format!("channel {id} is paused: {why}")));
    notes.extend(paused);
    // The other channels go on without it, so this is a note too.
    let silent = h.adapters.all(clock::now()).into_iter().filter(|(_, up)| !up);
    notes.extend(silent.map(|(id, _)| format!("channel {id} is down: nothing is heard of its adapter")));
    if problems.is_empty() {
        return format!("ready\n{}\n", notes.join("\n")).into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n").into_response()
}

async fn metrics(Extract(h): Extract<Health>) -> Response {
    h.adapters.all(clock::now()).iter().for_each(|(channel, up)| h.metrics.adapter(channel, *up));
    let (seq, state) = h.router.state.recent();
    let text = tokio::task::spawn_blocking(move || h.metrics.text(seq, &state, clock::now())).await.unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}
