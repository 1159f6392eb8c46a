//! The same conversation over plain requests, for visitors whose network lets no WebSocket through.

use super::Transcript;
use super::cors::problem;
use super::session::{PAGE, Session, shown};
use super::state::{Addr, Channel, ChatState};
use crate::http::body::{self, BodyLimits, Cut, WholeBody};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use switchboard_webchat::{
    ClientFrame, Confirmation, ErrorCode, ErrorFrame, FrameError, From, Hello, MAX_FRAME, ServerFrame, Speaker, Typing,
};
use tokio::time::Instant;

/// A request's body may be longer than a frame, so that four thousand characters of any script fit.
const MAX_BODY: usize = 4 * MAX_FRAME;

/// The whole body of a request, in time.
pub(super) async fn body(
    state: &ChatState,
    channel: &Channel,
    headers: &HeaderMap,
    body: Body,
    limits: BodyLimits,
) -> Result<WholeBody, ErrorFrame> {
    body::read(headers, body, limits, Some(&state.room)).await.map_err(|cut| match cut {
        Cut::TooLarge => state.refuse(channel, ErrorCode::TooLarge, format!("longer than {} bytes", limits.bytes)),
        Cut::TooSlow => state.refuse(channel, ErrorCode::BadFrame, "the body did not arrive in time"),
        Cut::BrokeOff => state.refuse(channel, ErrorCode::BadFrame, "the body broke off"),
        Cut::NoRoom => state.refuse_for(channel, ErrorCode::Busy, 2000),
    })
}

/// Who calls, by the token in `Authorization: Bearer`. `said` is what the request says of its page.
pub(super) fn bearer(
    state: &ChatState,
    channel: &Arc<Channel>,
    headers: &HeaderMap,
    said: Hello,
) -> Result<Session, ErrorFrame> {
    let value = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let token =
        value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, t)| t.trim());
    let Some(token) = token.filter(|t| !t.is_empty()) else {
        return Err(state.refuse(
            channel,
            ErrorCode::Unauthorized,
            "send the visitor token in `Authorization: Bearer`",
        ));
    };
    Session::open(state, channel, &Hello { token: Some(token.to_owned()), ..said })
}

fn metered(state: &ChatState, session: &Session) -> Result<(), ErrorFrame> {
    let taken = session.channel.requests.take(session.visitor.as_str(), state.monotonic_ms());
    taken.map_err(|ms| state.refuse_for(&session.channel, ErrorCode::RateLimited, ms))
}

fn json(value: impl Serialize) -> Response {
    let mut response = Json(value).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `POST /chat/<channel>/session`: a `hello` over HTTP; the answer is the welcome.
pub(super) async fn session(
    State(state): State<ChatState>,
    Path(channel): Path<String>,
    addr: Addr,
    headers: HeaderMap,
    request: Body,
) -> Response {
    let Some(channel) = state.channel(&channel) else { return StatusCode::NOT_FOUND.into_response() };
    open(&state, &channel, addr, &headers, request).await.unwrap_or_else(problem)
}

async fn open(
    state: &ChatState,
    channel: &Arc<Channel>,
    addr: Addr,
    headers: &HeaderMap,
    request: Body,
) -> Result<Response, ErrorFrame> {
    state.metered_address(channel, &channel.strangers, addr)?;
    let bytes = body(state, channel, headers, request, BodyLimits::new(MAX_FRAME, state.timing.hello)).await?.bytes;
    let bad = || state.refuse(channel, ErrorCode::BadFrame, "the body must be a JSON object");
    let hello = if bytes.is_empty() { Hello::default() } else { object(&bytes).ok_or_else(bad)? };
    let session = Session::open(state, channel, &hello)?;
    metered(state, &session)?;
    let transcript = session.transcript(state, hello.resume_after, PAGE).await?;
    let (mut welcome, rest) = session.welcome(state, transcript);
    // A poll brings what follows, but one answer is cheaper than two.
    welcome.replay.extend(rest.iter().map(shown));
    Ok(json(ServerFrame::Welcome(Box::new(welcome))))
}

/// A `hello` that is a JSON object; serde would read a list as its fields in order.
fn object(bytes: &[u8]) -> Option<Hello> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    value.is_object().then(|| serde_json::from_value(value).ok())?
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Poll {
    after: u64,
    /// Seconds.
    wait: u64,
    /// The place in the queue that the widget shows, so that a change ends the wait; 0 for none.
    queue: Option<u32>,
}

#[derive(Serialize)]
struct Events {
    events: Vec<ServerFrame>,
    last_seq: u64,
    reset: bool,
    queue_position: Option<u32>,
}

/// `GET /chat/<channel>/events?after=N&wait=25`: what is new, or after the wait nothing.
pub(super) async fn events(
    State(state): State<ChatState>,
    Path(channel): Path<String>,
    query: Result<Query<Poll>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let Some(channel) = state.channel(&channel) else { return StatusCode::NOT_FOUND.into_response() };
    let Ok(Query(poll)) = query else {
        return problem(state.refuse(&channel, ErrorCode::BadFrame, "`after` and `wait` are numbers"));
    };
    match wait(&state, &channel, &poll, &headers).await {
        Ok(events) => json(events),
        Err(error) => problem(error),
    }
}

async fn wait(
    state: &ChatState,
    channel: &Arc<Channel>,
    poll: &Poll,
    headers: &HeaderMap,
) -> Result<Events, ErrorFrame> {
    let session = bearer(state, channel, headers, Hello::default())?;
    metered(state, &session)?;
    let busy = |ms| state.refuse_for(channel, ErrorCode::Busy, ms);
    let _seat = Arc::clone(&channel.seats).try_acquire_owned().map_err(|_| busy(5000))?;
    let most = channel.settings.limits.sockets_per_visitor as usize;
    let mut wake = state.wakes.listen(channel.id(), session.visitor.as_str(), most).ok_or_else(|| busy(5000))?;
    let deadline = Instant::now() + Duration::from_secs(poll.wait).min(state.timing.poll);
    let mut seen = wake.seen();
    let mut typing = vec![];
    loop {
        let transcript = session.transcript(state, poll.after, PAGE).await?;
        let moved = poll.queue.is_some_and(|shown| shown != transcript.queue_position.unwrap_or(0));
        let news = !transcript.messages.is_empty() || transcript.reset || moved || !typing.is_empty();
        if news || Instant::now() >= deadline || state.is_draining() {
            let mut events: Vec<ServerFrame> = transcript.messages.iter().map(shown).collect();
            events.append(&mut typing);
            let Transcript { last_seq, reset, queue_position, .. } = transcript;
            return Ok(Events { events, last_seq, reset, queue_position });
        }
        tokio::select! {
            signal = wake.changed() => {
                if signal.typing != seen.typing {
                    let from = From { kind: Speaker::Agent, name: signal.typist.clone() };
                    typing.push(ServerFrame::Typing(Typing { from }));
                }
                seen = signal;
            }
            () = tokio::time::sleep_until(deadline) => {}
            () = state.drained() => {}
        }
    }
}

/// `POST /chat/<channel>/messages`: a `message`, `typing`, `read` or `delivered` frame. Without a `type` it is a message, and
/// `Idempotency-Key` is its `client_id`. It may name the page, as a `hello` does.
pub(super) async fn messages(
    State(state): State<ChatState>,
    Path(channel): Path<String>,
    addr: Addr,
    headers: HeaderMap,
    request: Body,
) -> Response {
    let Some(channel) = state.channel(&channel) else { return StatusCode::NOT_FOUND.into_response() };
    said(&state, &channel, addr, &headers, request).await.unwrap_or_else(problem)
}

async fn said(
    state: &ChatState,
    channel: &Arc<Channel>,
    addr: Addr,
    headers: &HeaderMap,
    request: Body,
) -> Result<Response, ErrorFrame> {
    // Cheap before dear: a stranger's body is not read.
    let known = bearer(state, channel, headers, Hello::default())?;
    metered(state, &known)?;
    // A visitor costs nothing to make: without this, whoever makes a hundred says a hundred times as much.
    state.metered_address(channel, &channel.messages, addr)?;
    let bytes = body(state, channel, headers, request, BodyLimits::new(MAX_BODY, state.timing.hello)).await?.bytes;
    let bad = |detail: &str| state.refuse(channel, ErrorCode::BadFrame, detail);
    let mut value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|_| bad("the body must be a JSON object"))?;
    let fields = value.as_object_mut().ok_or_else(|| bad("the body must be a JSON object"))?;
    fields.entry("type").or_insert_with(|| "message".into());
    let key = headers.get("idempotency-key").and_then(|v| v.to_str().ok());
    if let Some(key) = key {
        let id = fields.entry("client_id").or_insert_with(|| key.into());
        if id.as_str() != Some(key) {
            return Err(bad("`Idempotency-Key` and `client_id` differ"));
        }
    }
    let said: Hello = serde_json::from_value(value.clone()).unwrap_or_default();
    let frame = ClientFrame::parse(&serde_json::to_vec(&value).unwrap_or_default(), 2 * MAX_BODY);
    let mut session = bearer(state, channel, headers, Hello { token: None, ..said })?;
    match frame {
        Ok(frame) => act(state, &mut session, frame, addr).await,
        Err(FrameError::TooLarge) => Err(state.refuse(channel, ErrorCode::TooLarge, "")),
        Err(FrameError::Unknown) => Err(bad("not a frame of this protocol")),
    }
}

async fn act(state: &ChatState, session: &mut Session, frame: ClientFrame, addr: Addr) -> Result<Response, ErrorFrame> {
    match frame {
        ClientFrame::Message(message) => {
            let ack = session.say(state, &message, addr).await?;
            Ok(json(ServerFrame::Ack(ack)))
        }
        ClientFrame::Typing => {
            state.backend.visitor_typing(session.channel.id(), session.visitor.as_str());
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        ClientFrame::Read { up_to_seq } => confirm(state, session, up_to_seq, true).await,
        ClientFrame::Delivered { up_to_seq } => confirm(state, session, up_to_seq, false).await,
        ClientFrame::Ping | ClientFrame::Hello(_) => {
            Err(state.refuse(&session.channel, ErrorCode::BadFrame, "this frame has no meaning here"))
        }
    }
}

async fn confirm(state: &ChatState, session: &Session, up_to: u64, read: bool) -> Result<Response, ErrorFrame> {
    // The claim is bound to a message of ours that exists: the first at it, else the newest.
    let near = session.transcript(state, up_to.saturating_sub(1), 1).await?;
    let exact = near.messages.first().is_some_and(|m| m.seq == up_to && !m.from_visitor);
    if exact {
        session.confirm(state, Confirmation { up_to, read }).await?;
        if read {
            state.wakes.visitor_read(session.channel.id(), session.visitor.as_str(), up_to);
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
