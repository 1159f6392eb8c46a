//! What changes something: a command to the router, its answer, and `Idempotency-Key`.

use super::ApiState;
use super::auth::Caller;
use super::backend::Unanswered;
use super::input::{Fields, SHORT};
use crate::http::body::read_body;
use crate::http::problem::Problem;
use crate::http::trace_of;
use crate::log::LogError;
use crate::random;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use switchboard_adapter_sdk::signature::{sha256_hex, to_hex};
use switchboard_envelope::{Action, Actor, Command};
use switchboard_routing_rules::event::Reply;
use tokio::sync::OwnedMutexGuard;

const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest `Idempotency-Key`, in bytes.
const MAX_KEY: usize = 255;
/// How long a request waits for one under the same key.
const TURN: Duration = Duration::from_secs(12);
/// Answers remembered in memory, until history holds them.
const RECENT: usize = 4096;

fn hash(parts: &[&[u8]]) -> String {
    let mut all = vec![];
    for part in parts {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    }
    sha256_hex(&all)
}

/// A request under an `Idempotency-Key`, or none.
#[derive(Clone, Debug)]
pub struct Once {
    /// The command's id.
    pub id: String,
    /// The hash of what was asked.
    pub body: String,
    /// The `Idempotency-Key`; who gave none is told ours where the request has to be repeated.
    key: String,
    keyed: bool,
    trace: Option<String>,
}

/// A request that changes something: who asks, and the body, read strictly.
pub struct Posted {
    pub caller: Caller,
    pub fields: Fields,
    pub once: Once,
}

/// The parts of a request with its whole body.
pub(super) struct Whole {
    pub caller: Caller,
    pub headers: HeaderMap,
    pub uri: http::Uri,
    pub body: Bytes,
    pub once: Once,
}

pub(super) async fn whole(request: Request, state: &ApiState, limit: usize) -> Result<Whole, Problem> {
    let (parts, body) = request.into_parts();
    let Some(caller) = parts.extensions.get::<Caller>().cloned() else {
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "token_missing", "this path needs a token"));
    };
    let body = read_body(&parts.headers, body, limit, state.shared.limits.read_timeout).await?;
    let content_type = parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let target = parts.uri.path_and_query().map_or("", |p| p.as_str());
    let asked = hash(&[parts.method.as_str().as_bytes(), target.as_bytes(), content_type, &body]);
    let once = once(&parts.headers, &caller, asked)?;
    Ok(Whole { caller, headers: parts.headers, uri: parts.uri, body, once })
}

fn once(headers: &HeaderMap, caller: &Caller, body: String) -> Result<Once, Problem> {
    let trace = trace_of(headers);
    let (key, keyed) = match given_key(headers)? {
        Some(key) => (key.to_owned(), true),
        None => {
            let random = random::bytes::<16>().map_err(|e| Problem::unavailable("unavailable", e.to_string()))?;
            (to_hex(&random), false)
        }
    };
    // Two callers may choose the same key.
    let id = hash(&[caller.identity.token.as_bytes(), key.as_bytes()]);
    Ok(Once { id: format!("api:command:k{}", id.get(..48).unwrap_or(&id)), body, key, keyed, trace })
}

fn given_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut given = headers.get_all(&KEY_HEADER).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|k| !k.is_empty() && k.len() <= MAX_KEY);
    match (key, given.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => {
            let detail = format!("Idempotency-Key must be one value of 1 to {MAX_KEY} visible ASCII characters");
            Err(Problem::bad("bad_idempotency_key", detail))
        }
    }
}

impl FromRequest<ApiState> for Posted {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Posted, Problem> {
        let whole = whole(request, state, state.shared.limits.json).await?;
        super::input::Params::of(&whole.uri).finish()?;
        let fields = Fields::parse(&whole.headers, &whole.body)?;
        Ok(Posted { caller: whole.caller, fields, once: whole.once })
    }
}

impl Posted {
    /// Whom the command speaks for, taken from the body's `agent`.
    pub fn actor(&mut self) -> Result<Actor, Problem> {
        let named = self.fields.optional("agent", SHORT);
        self.caller.actor(named)
    }

    /// Tells the router what was asked for, once all of the body was understood.
    pub(super) async fn act(mut self, state: &ApiState, action: Action) -> Result<Response, Problem> {
        let actor = self.actor()?;
        self.fields.finish()?;
        state.act(self.once, actor, action).await
    }

    /// The same where the body's `agent` means something else: it speaks for the caller.
    pub(super) async fn act_as_caller(self, state: &ApiState, action: Action) -> Result<Response, Problem> {
        let actor = self.caller.actor(None)?;
        self.fields.finish()?;
        state.act(self.once, actor, action).await
    }
}

/// What is known of a command without an answer. The cause is for the operator.
fn unanswered(error: Unanswered, key: &str) -> Problem {
    match error {
        Unanswered::Log(error @ LogError::Unavailable(_)) => {
            let problem = Problem::from(error);
            Problem::maybe_taken(&problem.code, "the log did not answer, so it may have been taken", key)
        }
        Unanswered::Log(error) => error.into(),
        Unanswered::Unwritable(why) => {
            tracing::warn!(why, "a command was refused: the log does not take the router's frame");
            Problem::unavailable("log_unavailable", "the log cannot be written; nothing was done by this request")
        }
        Unanswered::Undecided(why) => {
            tracing::warn!(why, "a command was taken, and is not decided yet");
            Problem::maybe_taken("undecided", "it was taken, and is not decided yet", key)
        }
    }
}

/// An answer that may be given again under the same key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Given {
    pub body: String,
    pub status: u16,
    pub value: Result<Value, (String, String)>,
}

impl Given {
    fn of(body: &str, reply: &Reply) -> Given {
        let value =
            if reply.status < 400 { Ok(success(reply)) } else { Err((reply.code.clone(), reply.detail.clone())) };
        Given { body: body.to_owned(), status: reply.status, value }
    }

    pub fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match self.value {
            Ok(value) => (status, axum::Json(value)).into_response(),
            Err((code, detail)) => Problem::new(status, &code, detail).into_response(),
        }
    }
}

/// `id` is what the command made or touched most closely; the others stand beside it under their own names.
fn success(reply: &Reply) -> Value {
    let closest = ["message", "offer", "contact", "conversation"];
    let mut map: Map<String, Value> = reply.ids.iter().map(|(k, v)| (k.clone(), Value::String(v.clone()))).collect();
    if let Some(id) = closest.iter().find_map(|k| reply.ids.get(*k)) {
        map.insert("id".into(), Value::String(id.clone()));
    }
    if !reply.detail.is_empty() {
        map.insert("detail".into(), Value::String(reply.detail.clone()));
    }
    Value::Object(map)
}

#[derive(Default)]
struct Memory {
    /// Keys whose first request is still being answered.
    running: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
    given: HashMap<String, Given>,
    order: VecDeque<String>,
}

/// Requests under a key: one at a time, and each answer remembered.
#[derive(Default)]
pub(super) struct Pending(Mutex<Memory>);

/// Keeps others with the same key waiting.
pub(super) struct Turn<'p> {
    pending: &'p Pending,
    id: String,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        drop(self.guard.take());
        let mut memory = self.pending.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's own handle is the last one left.
        if memory.running.get(&self.id).is_some_and(|m| Arc::strong_count(m) == 1) {
            memory.running.remove(&self.id);
        }
    }
}

impl Pending {
    /// `None` when whoever has it does not come to an end.
    pub(super) async fn turn(&self, id: &str) -> Option<Turn<'_>> {
        let lock = {
            let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(memory.running.entry(id.to_owned()).or_default())
        };
        // Made before the wait, so that a wait that is given up leaves nothing behind.
        let mut turn = Turn { pending: self, id: id.to_owned(), guard: None };
        turn.guard = Some(tokio::time::timeout(TURN, lock.lock_owned()).await.ok()?);
        Some(turn)
    }

    fn recall(&self, id: &str) -> Option<Given> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).given.get(id).cloned()
    }

    fn remember(&self, id: &str, given: Given) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.given.insert(id.to_owned(), given).is_none() {
            memory.order.push_back(id.to_owned());
        }
        while memory.order.len() > RECENT {
            if let Some(old) = memory.order.pop_front() {
                memory.given.remove(&old);
            }
        }
    }
}

impl ApiState {
    /// Waits for this key's turn; the answer that was given before, if there is one.
    ///
    /// # Errors
    /// 422 when the key was used for something else.
    pub(super) async fn turn(&self, once: &Once) -> Result<(Option<Turn<'_>>, Option<Given>), Problem> {
        if !once.keyed {
            return Ok((None, None));
        }
        let Some(turn) = self.shared.pending.turn(&once.id).await else {
            return Err(Problem::maybe_taken("undecided", "a request under the same key has no answer yet", &once.key));
        };
        let mut before = self.shared.pending.recall(&once.id);
        if before.is_none() {
            let key = self.backend().command_key(&once.id);
            let stored = self.history().await.answered(key).await?;
            before = stored.map(|a| Given::of(a.body.as_deref().unwrap_or(""), &a.reply));
        }
        match before {
            Some(given) if given.body != once.body => {
                let detail = "this Idempotency-Key was used for another request; take a new one";
                Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_mismatch", detail))
            }
            given => Ok((Some(turn), given)),
        }
    }

    /// Remembers an answer that no command carries.
    pub(super) fn remember(&self, once: &Once, status: StatusCode, value: &Value) {
        if once.keyed {
            let given = Given { body: once.body.clone(), status: status.as_u16(), value: Ok(value.clone()) };
            self.shared.pending.remember(&once.id, given);
        }
    }

    /// Tells the router something and gives its answer.
    pub(super) async fn act(&self, once: Once, actor: Actor, action: Action) -> Result<Response, Problem> {
        let (_turn, before) = self.turn(&once).await?;
        if let Some(given) = before {
            return Ok(given.into_response());
        }
        Ok(self.command(once, actor, action).await?.into_response())
    }

    /// Tells the router something; the caller holds the key's turn.
    pub(super) async fn command(&self, once: Once, actor: Actor, action: Action) -> Result<Given, Problem> {
        let command = Command {
            id: once.id.clone(),
            channel: "api".into(),
            at: self.backend().now(),
            actor,
            action,
            body_hash: Some(once.body.clone()),
            traceparent: once.trace.clone(),
        };
        let answer = self.backend().command(command).await.map_err(|error| unanswered(error, &once.key))?;
        self.note_answer(answer.seq);
        let given = Given::of(&once.body, &answer.reply);
        if once.keyed {
            self.shared.pending.remember(&once.id, given.clone());
        }
        Ok(given)
    }
}
