//! `/hooks/<channel>`: a provider calls.

use super::complaints::Complaints;
use super::ingest::{Ingest, RAW_INLINE_MAX};
use crate::clock;
use crate::http::chat::ClientAddr;
use crate::log::LogError;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_adapter_sdk::{Adapter, RawRequest, Reply, Verdict};
use switchboard_envelope::{Inbound, Raw};

/// One channel that has a webhook.
pub struct Hook {
    pub adapter: Arc<dyn Adapter>,
    /// `signatures = "report"`: a bad signature is counted, and let through.
    pub report_only: bool,
    /// `<public_url>/hooks/<channel>`, over which signatures are computed.
    pub public_url: Option<String>,
}

pub struct HookState {
    pub hooks: BTreeMap<String, Hook>,
    pub ingest: Ingest,
    pub max_body: usize,
    /// How long a body may take to arrive.
    pub read_timeout: std::time::Duration,
}

/// What the routes hold: the hooks, and for each what was said of wrong signatures.
struct Served {
    state: Arc<HookState>,
    complaints: BTreeMap<String, Complaints>,
}

/// The routes of the public listener that providers call.
pub fn routes(state: Arc<HookState>) -> Router {
    let complaints = state.hooks.keys().map(|channel| (channel.clone(), Complaints::default())).collect();
    Router::new()
        .route("/hooks/{channel}", any(root))
        .route("/hooks/{channel}/{*rest}", any(below))
        .with_state(Arc::new(Served { state, complaints }))
}

async fn root(State(served): State<Arc<Served>>, Path(channel): Path<String>, request: Request) -> Response {
    receive(&served, &channel, String::new(), request).await
}

async fn below(
    State(served): State<Arc<Served>>,
    Path((channel, rest)): Path<(String, String)>,
    request: Request,
) -> Response {
    receive(&served, &channel, format!("/{rest}"), request).await
}

async fn receive(served: &Served, channel: &str, path: String, request: Request) -> Response {
    let state = &served.state;
    let Some(hook) = state.hooks.get(channel) else { return StatusCode::NOT_FOUND.into_response() };
    if !matches!(*request.method(), Method::GET | Method::POST) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, POST")]).into_response();
    }
    let metrics = &state.ingest.metrics;
    let (parts, body) = request.into_parts();
    let Ok(body) = tokio::time::timeout(state.read_timeout, read(body, state.max_body)).await else {
        metrics.webhook(channel, "too_slow");
        return StatusCode::REQUEST_TIMEOUT.into_response();
    };
    let Some(body) = body else {
        metrics.webhook(channel, "too_large");
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let client = parts.extensions.get::<ClientAddr>().map(|c| c.0);
    let query = parts.uri.query().unwrap_or_default().to_owned();
    // The path as it was sent, still encoded: signatures are computed over it.
    let sent_path = parts.uri.path();
    let sent = sent_path.strip_prefix("/hooks/").and_then(|p| p.strip_prefix(channel)).unwrap_or(&path);
    let raw = RawRequest {
        url: public_url(hook.public_url.as_deref(), sent_path, sent, &query),
        method: parts.method,
        path,
        query,
        headers: parts.headers,
        body,
        received_at: clock::now(),
    };
    if let Err(wrong) = verified(hook, &raw) {
        metrics.webhook(channel, wrong.counted(hook.report_only));
        if let Some(complaints) = served.complaints.get(channel) {
            let (of, why) = match &wrong {
                Wrong::Missing => (&complaints.missing, "it has no signature"),
                Wrong::Forged(why) => (&complaints.forged, why.as_str()),
            };
            of.say(channel, client, why, hook.report_only);
        }
        if !hook.report_only {
            return wrong.status().into_response();
        }
    } else {
        metrics.webhook(channel, "genuine");
    }
    if let Some(reply) = hook.adapter.handshake(&raw) {
        return respond(reply);
    }
    match store(state, channel, hook, &raw).await {
        Ok(()) => respond(hook.adapter.accepted(&raw)),
        Err(error) => {
            tracing::warn!(channel, %error, "a delivery could not be stored; the provider is asked to repeat it");
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")]).into_response()
        }
    }
}

fn public_url(base: Option<&str>, sent_path: &str, below: &str, query: &str) -> String {
    let mut url = match base {
        Some(base) => format!("{base}{below}"),
        None => sent_path.to_owned(),
    };
    if !query.is_empty() {
        url.push('?');
        url.push_str(query);
    }
    url
}

async fn read(body: Body, max: usize) -> Option<Bytes> {
    axum::body::to_bytes(body, max).await.ok()
}

/// Why a delivery is not the provider's.
enum Wrong {
    Missing,
    Forged(String),
}

fn verified(hook: &Hook, raw: &RawRequest) -> Result<(), Wrong> {
    match hook.adapter.verify(raw) {
        Verdict::Genuine => Ok(()),
        Verdict::Missing => Err(Wrong::Missing),
        Verdict::Forged(why) => Err(Wrong::Forged(why)),
    }
}

impl Wrong {
    fn status(&self) -> StatusCode {
        match self {
            Wrong::Missing => StatusCode::UNAUTHORIZED,
            Wrong::Forged(_) => StatusCode::FORBIDDEN,
        }
    }

    /// As the metric names it.
    fn counted(&self, report_only: bool) -> &'static str {
        match (self, report_only) {
            (Wrong::Missing, false) => "missing",
            (Wrong::Missing, true) => "reported_missing",
            (Wrong::Forged(_), false) => "forged",
            (Wrong::Forged(_), true) => "reported_forged",
        }
    }
}

/// Everything that was parsed is durable before the provider hears of it. Repeating the delivery is safe: ids are stable.
async fn store(state: &HookState, channel: &str, hook: &Hook, raw: &RawRequest) -> Result<(), LogError> {
    for inbound in hook.adapter.parse(raw) {
        match state.ingest.of_request(inbound, &raw.body).await {
            Ok(_) => {}
            // The adapter made something that breaks the envelope's rules: the bytes are kept, and can be read again.
            Err(LogError::Refused(why)) => {
                state.ingest.of_request(quarantined(channel, raw, &why), &raw.body).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn quarantined(channel: &str, raw: &RawRequest, why: &str) -> Inbound {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &raw.body);
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let content_type = raw.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let kept = Raw {
        content_type: content_type.unwrap_or("application/octet-stream").to_owned(),
        blob: None,
        inline: (raw.body.len() <= RAW_INLINE_MAX).then(|| base64::engine::general_purpose::STANDARD.encode(&raw.body)),
        meta: BTreeMap::from([
            ("method".to_owned(), raw.method.to_string()),
            ("path".to_owned(), raw.path.clone()),
            ("query".to_owned(), raw.query.clone()),
            ("url".to_owned(), raw.url.clone()),
        ]),
    };
    Inbound::Unparsed(switchboard_envelope::Unparsed {
        id: switchboard_envelope::event_id(channel, "unparsed", &hex),
        channel: channel.to_owned(),
        reason: format!("the adapter's envelope is invalid: {why}"),
        at: raw.received_at,
        raw: kept,
    })
}

fn respond(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let content_type = HeaderValue::from_static(reply.content_type);
    (status, [(header::CONTENT_TYPE, content_type)], reply.body).into_response()
}
