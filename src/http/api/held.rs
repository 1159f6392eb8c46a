//! What is held back: dead letters and the quarantine.

use super::backend::{RawRecord, Retried};
use super::commands::Given;
use super::input::{Params, Path, cursor};
use super::table::Posted;
use super::{ApiState, views};
use crate::history::{Quarantined, Status};
use crate::http::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{StatusCode, Uri};
use serde_json::{Value, json};
use switchboard_envelope::Action;
use switchboard_routing_rules::ids::MessageId;

/// Why what the provider said later did not arrive is not held back: nothing waits for a decision. What to do follows.
const BOUNCED: &str =
    "this was taken by the provider, which said later that it did not arrive: such an answer is no dead letter. ";

/// Bytes of a raw body that the list shows; the rest is said to be cut.
const SHOWN: usize = 16 * 1024;

pub(super) async fn dead_letters(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    let mut params = Params::of(&uri);
    let channel = params.one("channel");
    let (limit, before) = (params.limit(), params.cursor("dead_letters"));
    params.finish()?;
    let page = state.history().await.dead_letters(channel, before, limit).await?;
    let rows: Vec<Value> = page.items.iter().map(views::dead_letter).collect();
    Ok(Json(json!({ "dead_letters": rows, "next": cursor("dead_letters", page.next) })))
}

async fn about(
    state: ApiState,
    id: &str,
    posted: Posted,
    action: fn(String) -> Action,
    advice: &str,
) -> Result<Response, Problem> {
    let send = MessageId::parse(id).ok_or_else(|| Problem::not_found("there is no such dead letter"))?.to_string();
    let done = posted.act(&state, action(send.clone())).await?;
    if done.status() != StatusCode::NOT_FOUND {
        return Ok(done);
    }
    let message = state.history().await.message(send).await?;
    if message.is_some_and(|m| m.status == Some(Status::Failed)) {
        return Err(Problem::not_found(format!("{BOUNCED}{advice}")));
    }
    Ok(done)
}

pub(super) async fn resend(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    let advice = "Its conversation came back to its agent or queue: answer there again";
    about(state, &id, posted, |send| Action::Resend { send }, advice).await
}

pub(super) async fn give_up(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    about(state, &id, posted, |send| Action::Drop { send }, "Nothing of it waits here for a decision").await
}

/// The record as it came: as text where it is some, else in base64.
fn raw(record: &RawRecord) -> Value {
    let cut = record.bytes.len() > SHOWN;
    let shown = record.bytes.get(..SHOWN).unwrap_or(&record.bytes);
    match std::str::from_utf8(shown) {
        Ok(text) => json!({ "content_type": record.content_type, "text": text, "cut": cut }),
        // A cut may fall into the middle of a character.
        Err(e) if cut && e.valid_up_to() + 4 > shown.len() => {
            let text = String::from_utf8_lossy(shown.get(..e.valid_up_to()).unwrap_or(&[])).into_owned();
            json!({ "content_type": record.content_type, "text": text, "cut": true })
        }
        Err(_) => json!({ "content_type": record.content_type, "base64": STANDARD.encode(shown), "cut": cut }),
    }
}

pub(super) async fn quarantine(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    let mut params = Params::of(&uri);
    let (limit, before) = (params.limit(), params.cursor("quarantine"));
    params.finish()?;
    let page = state.history().await.quarantine(before, limit).await?;
    let mut rows = Vec::with_capacity(page.items.len());
    for q in &page.items {
        rows.push(held(q, &state).await?);
    }
    Ok(Json(json!({ "quarantine": rows, "next": cursor("quarantine", page.next) })))
}

/// A record with its beginning, as it came.
async fn held(q: &Quarantined, state: &ApiState) -> Result<Value, Problem> {
    let record = state.backend().quarantined(q.seq).await?;
    Ok(json!({
        "id": q.seq.to_string(), "channel": q.channel, "reason": q.reason, "at": q.at, "raw": record.as_ref().map(raw),
    }))
}

fn no_record() -> Problem {
    Problem::not_found("there is no such record in quarantine")
}

pub(super) async fn record(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    Params::of(&uri).finish()?;
    let seq: u64 = id.parse().map_err(|_| no_record())?;
    let q = state.history().await.quarantined(seq).await?.ok_or_else(no_record)?;
    Ok(Json(held(&q, &state).await?))
}

/// Reads a record again, after a fix. One that still cannot be read stays, and the answer says why.
pub(super) async fn retry(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut posted: Posted,
) -> Result<Response, Problem> {
    let seq: u64 = id.parse().map_err(|_| no_record())?;
    let actor = posted.actor()?;
    posted.fields.finish()?;
    let once = posted.once;
    let (_turn, before) = state.turn(&once).await?;
    if let Some(given) = before {
        return Ok(released(given, &id).into_response());
    }
    state.history().await.quarantined(seq).await?.ok_or_else(no_record)?;
    if let Retried::StillHeld(reason) = state.backend().retry_quarantined(seq).await? {
        // Nothing was done: after a restart it may as well be tried again.
        let value = json!({ "id": id, "released": false, "reason": reason });
        state.remember(&once, StatusCode::OK, &value);
        return Ok(Json(value).into_response());
    }
    let given = state.command(once, actor, Action::Released { quarantined: seq }).await?;
    Ok(released(given, &id).into_response())
}

/// The command's answer as this path gives it, also when it is given again.
fn released(mut given: Given, id: &str) -> Given {
    if let Ok(Value::Object(map)) = &mut given.value {
        map.entry("id").or_insert_with(|| id.into());
        map.entry("released").or_insert(Value::Bool(true));
    }
    given
}

/// Gives a record up: what it says reaches nobody. Who did it is in the log of the daemon, and in IN with the command.
pub(super) async fn forget(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut posted: Posted,
) -> Result<Response, Problem> {
    let seq: u64 = id.parse().map_err(|_| no_record())?;
    let actor = posted.actor()?;
    posted.fields.finish()?;
    let held = state.history().await.quarantined(seq).await?.ok_or_else(no_record)?;
    let (token, agent) = (posted.caller.identity.token.clone(), actor.agent.clone().unwrap_or_default());
    let done = state.act(posted.once, actor, Action::Released { quarantined: seq }).await?;
    if done.status().is_success() {
        tracing::info!(
            seq,
            channel = held.channel,
            reason = held.reason,
            token,
            agent,
            "a quarantined record was dropped"
        );
    }
    Ok(done)
}
