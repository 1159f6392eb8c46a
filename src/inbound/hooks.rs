//! `/hooks/<channel>`: a provider calls.

use super::ingest::{Ingest, RAW_INLINE_MAX};
use super::whose::{Speaker, vouch, whose};
use crate::clock;
use crate::http::body::{self, BodyLimits, Cut, Room};
use crate::http::chat::ClientAddr;
use crate::http::complaints::Complaints;
use crate::http::trace_of;
use crate::log::LogError;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine as _;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use switchboard_adapter_sdk::{Adapter, RawRequest, Reply, Verdict, signature::sha256_hex};
use switchboard_envelope::{Inbound, Raw};

/// One channel that has a webhook.
pub struct Hook {
    pub adapter: Arc<dyn Adapter>,
    /// `signatures = "report"`: a bad signature is counted, and let through.
    pub report_only: bool,
    /// `<public_url>/hooks/<channel>`, over which signatures are computed.
    pub public_url: Option<String>,
}

/// Hears the channel and the thread in which somebody is writing.
pub type Typing = Box<dyn Fn(&str, &str) + Send + Sync>;

pub struct HookState {
    pub hooks: BTreeMap<String, Hook>,
    pub ingest: Ingest,
    pub max_body: usize,
    /// How long a body may take to arrive.
    pub read_timeout: std::time::Duration,
    /// For the bodies of all of them.
    pub room: Room,
    /// Tells who looks at a channel's thread that somebody is writing there.
    pub typing: Typing,
}

/// What the routes hold: the hooks, and for each what was said of wrong signatures.
struct Served {
    state: Arc<HookState>,
    complaints: BTreeMap<String, Complaints>,
}

impl Served {
    /// Counts a delivery that is not the provider's, and says so now and then.
    fn complain(&self, channel: &str, client: Option<IpAddr>, wrong: &Wrong, let_through: bool) {
        self.state.ingest.metrics.webhook(channel, wrong.counted(let_through));
        let Some(complaints) = self.complaints.get(channel) else { return };
        let (of, why) = match wrong {
            Wrong::Missing => (&complaints.missing, "it has no signature"),
            Wrong::Forged(why) => (&complaints.forged, why.as_str()),
        };
        of.say(channel, client, why, let_through);
    }

    /// What is for an account that no channel speaks for is kept in the quarantine; if it is ours, somebody waits for an answer.
    fn stranger(&self, channel: &str, stranger: &Stranger, alarm: bool) {
        let account = stranger.account.as_str();
        if !alarm {
            if let Some(unsaid) = self.complaints.get(channel).and_then(|c| c.shared.note()) {
                tracing::warn!(
                    channel,
                    account,
                    unsaid,
                    "news of an account that more than one channel could have is in the quarantine: write the account into each of \
                     them (`business_account_id`)"
                );
            }
            return;
        }
        self.state.ingest.metrics.webhook(channel, "stranger");
        if let Some(unsaid) = self.complaints.get(channel).and_then(|c| c.strangers.note()) {
            tracing::error!(
                channel,
                account,
                unsaid,
                "a delivery is for an account that no channel has, or that more than one could have; it is in the quarantine: \
                 configure a channel for the account with the app's secret and retry what is held, or unsubscribe the app from it"
            );
        }
    }

    fn refuse(&self, hook: &Hook, channel: &str, client: Option<IpAddr>, wrong: &Wrong) -> Response {
        self.complain(channel, client, wrong, false);
        wrong.status(hook.adapter.as_ref()).into_response()
    }
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
    let (parts, body) = request.into_parts();
    let client = parts.extensions.get::<ClientAddr>().map(|c| c.0);
    let query = parts.uri.query().unwrap_or_default().to_owned();
    // The path as it was sent, still encoded: signatures are computed over it.
    let sent_path = parts.uri.path();
    let sent = sent_path.strip_prefix("/hooks/").and_then(|p| p.strip_prefix(channel)).unwrap_or(&path);
    let mut raw = RawRequest {
        url: public_url(hook.public_url.as_deref(), sent_path, sent, &query),
        method: parts.method,
        path,
        query,
        headers: parts.headers,
        body: Bytes::new(),
        received_at: clock::now(),
    };
    // A stranger's body is not waited for.
    if !hook.report_only
        && let Err(wrong) = genuine(hook.adapter.screen(&raw))
    {
        return served.refuse(hook, channel, client, &wrong);
    }
    let limits = BodyLimits::new(state.max_body, state.read_timeout);
    let whole = match body::read(&raw.headers, body, limits, Some(&state.room)).await {
        Ok(whole) => whole,
        Err(cut) => return unread(state, channel, cut),
    };
    raw.body = whole.bytes.clone();
    raw.received_at = clock::now();
    match genuine(hook.adapter.verify(&raw)) {
        Ok(()) => state.ingest.metrics.webhook(channel, "genuine"),
        Err(wrong) if hook.report_only => served.complain(channel, client, &wrong, true),
        Err(wrong) => return served.refuse(hook, channel, client, &wrong),
    }
    if let Some(reply) = hook.adapter.handshake(&raw) {
        return respond(reply);
    }
    match take(served, channel, hook, &raw).await {
        Ok(()) => respond(hook.adapter.accepted(&raw)),
        Err(error) => {
            if let Some(unsaid) = served.complaints.get(channel).and_then(|c| c.unstored.note()) {
                tracing::warn!(
                    channel, %error, unsaid, "a delivery could not be stored; the provider is asked to repeat it"
                );
            }
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

/// A body that did not come whole.
fn unread(state: &HookState, channel: &str, cut: Cut) -> Response {
    let (status, counted) = match cut {
        Cut::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        Cut::BrokeOff => (StatusCode::BAD_REQUEST, "broke_off"),
        Cut::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
        Cut::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, "no_room"),
    };
    state.ingest.metrics.webhook(channel, counted);
    let mut response = status.into_response();
    if cut == Cut::NoRoom {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}

/// Why a delivery is not the provider's.
enum Wrong {
    Missing,
    Forged(String),
}

fn genuine(verdict: Verdict) -> Result<(), Wrong> {
    match verdict {
        Verdict::Genuine => Ok(()),
        Verdict::Missing => Err(Wrong::Missing),
        Verdict::Forged(why) => Err(Wrong::Forged(why)),
    }
}

impl Wrong {
    fn status(&self, adapter: &dyn Adapter) -> StatusCode {
        match self {
            Wrong::Missing => StatusCode::from_u16(adapter.unsigned_status()).unwrap_or(StatusCode::UNAUTHORIZED),
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

/// A delivery, or a part of it, and the channel that takes it.
struct Part<'a> {
    channel: &'a str,
    request: RawRequest,
    /// The account that it is for, where no channel has that: then it is held by the channel that was called.
    stranger: Option<Stranger>,
}

struct Stranger {
    account: String,
    /// The channel that was called could have it, and another could too: it is likely ours.
    is_shared: bool,
}

/// Every part of a delivery, by those whom it is for.
async fn take(served: &Served, channel: &str, hook: &Hook, raw: &RawRequest) -> Result<(), LogError> {
    let state = &served.state;
    let parts = addressed(served, channel, hook, raw);
    for part in parts {
        let Some(hook) = state.hooks.get(part.channel) else { continue };
        for thread in hook.adapter.typing(&part.request) {
            (state.typing)(part.channel, &thread);
        }
        store(served, hook, &part, raw).await?;
    }
    Ok(())
}

/// A delivery as it is, or its parts with the channels that they are for: an app's one address is called for all of its accounts.
/// Whose channel does not find the delivery genuine by its own secrets is of another app.
fn addressed<'a>(served: &'a Served, channel: &'a str, hook: &'a Hook, raw: &RawRequest) -> Vec<Part<'a>> {
    let (ours, parts) = (hook.adapter.accounts(), hook.adapter.apart(&raw.body));
    if parts.iter().all(|(account, _)| ours.contains(account)) {
        return vec![Part { channel, request: raw.clone(), stranger: None }];
    }
    let others = served.state.hooks.iter().filter(|(id, _)| *id != channel);
    let of_the_app = others.filter(|(_, other)| genuine(other.adapter.verify(raw)).is_ok());
    let called: Speaker<'a> = (channel, hook.adapter.as_ref());
    let channels: Vec<Speaker<'a>> =
        std::iter::once(called).chain(of_the_app.map(|(id, other)| (id.as_str(), other.adapter.as_ref()))).collect();
    let part = |(account, body): (String, Bytes)| {
        let request = RawRequest { body, ..raw.clone() };
        match whose(&account, &channels) {
            Some((channel, _)) => Part { channel, request, stranger: None },
            None => {
                let mut could = channels.iter().filter(|(_, adapter)| adapter.may_have(&account));
                let is_shared = called.1.may_have(&account) && could.nth(1).is_some();
                Part { channel, request, stranger: Some(Stranger { account, is_shared }) }
            }
        }
    };
    parts.into_iter().map(part).collect()
}

/// Everything that was parsed is durable before the provider hears of it. Repeating the delivery is safe: ids are stable.
async fn store(served: &Served, hook: &Hook, part: &Part<'_>, whole: &RawRequest) -> Result<(), LogError> {
    let (state, raw) = (&served.state, &part.request);
    // Looked for once, and where something is held: a delivery may have thousands of events, and be long.
    let signer = OnceLock::new();
    let word = |held: &[u8]| hook.adapter.vouch((*signer.get_or_init(|| hook.adapter.signed_by(whole)))?, held);
    let trace = trace_of(&raw.headers);
    let held = |reason: &str| {
        let mut held = quarantined(part.channel, hook.adapter.as_ref(), raw, reason);
        vouch(&mut held, &raw.body, word);
        held
    };
    // Said once, and again only if it turns out to be an alarm.
    let mut told = None;
    for mut inbound in hook.adapter.parse(raw) {
        // Other news of an account that is likely ours harm nobody.
        let mut alarm = part.stranger.as_ref().is_some_and(|stranger| !stranger.is_shared);
        match &mut inbound {
            Inbound::Message(m) if m.traceparent.is_none() => m.traceparent.clone_from(&trace),
            // Nobody knows that it is of this channel, so it does not stop it.
            Inbound::Refused(_) if part.stranger.is_some() => {
                alarm = true;
                inbound = held("it says that an account is closed, and no channel has it");
            }
            Inbound::Unparsed(_) => vouch(&mut inbound, &raw.body, word),
            _ => {}
        }
        if let (Some(stranger), Inbound::Unparsed(_)) = (&part.stranger, &inbound)
            && told < Some(alarm)
        {
            told = Some(alarm);
            served.stranger(part.channel, stranger, alarm);
        }
        match state.ingest.of_request(inbound, &raw.body).await {
            Ok(_) => {}
            // The adapter made something that breaks the envelope's rules: the bytes are kept, and can be read again.
            Err(LogError::Refused(why)) => {
                let held = held(&format!("the adapter's envelope is invalid: {why}"));
                state.ingest.of_request(held, &raw.body).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A record of a whole request. Of its path nothing is kept that proves who called.
fn quarantined(channel: &str, adapter: &dyn Adapter, raw: &RawRequest, reason: &str) -> Inbound {
    let hex = sha256_hex(&raw.body);
    let content_type = raw.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let kept = Raw {
        content_type: content_type.unwrap_or("application/octet-stream").to_owned(),
        blob: None,
        inline: (raw.body.len() <= RAW_INLINE_MAX).then(|| base64::engine::general_purpose::STANDARD.encode(&raw.body)),
        meta: BTreeMap::from([
            ("method".to_owned(), raw.method.to_string()),
            ("path".to_owned(), adapter.kept_path(&raw.path).to_owned()),
            ("query".to_owned(), raw.query.clone()),
        ]),
    };
    Inbound::Unparsed(switchboard_envelope::Unparsed {
        id: switchboard_envelope::event_id(channel, "unparsed", &hex),
        channel: channel.to_owned(),
        reason: reason.to_owned(),
        at: raw.received_at,
        raw: kept,
    })
}

fn respond(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let content_type = HeaderValue::from_static(reply.content_type);
    (status, [(header::CONTENT_TYPE, content_type)], reply.body).into_response()
}

#[cfg(test)]
#[path = "hooks_tests.rs"]
mod tests;
