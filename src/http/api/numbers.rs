//! Agents, offers, queues and channels: what the router holds now, and what may be done to it.

use super::conversations::Who;
use super::input::{Params, Path, SHORT, cursor};
use super::table::Posted;
use super::{ApiState, OPENAPI, scope_name, views};
use crate::http::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri, header};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use switchboard_envelope::{Action, Scope, is_id};
use switchboard_routing_rules::decide::lacks;
use switchboard_routing_rules::event::Presence;
use switchboard_routing_rules::ids::OfferId;
use switchboard_routing_rules::pack::Presences;

/// The longest text that is measured, in bytes.
const MEASURED: usize = 64 * 1024;

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], OPENAPI).into_response()
}

pub(super) async fn me(State(state): State<ApiState>, who: Who) -> Json<Value> {
    let identity = &who.identity;
    let names = views::Names::of(&state).await;
    let scopes: Vec<&str> = identity.scopes.iter().map(|s| scope_name(*s)).collect();
    Json(json!({
        "token": identity.token,
        "agent": identity.agent,
        "name": identity.agent.as_deref().and_then(|a| names.get(a)),
        "scopes": scopes,
        "workspace": state.backend().workspace(),
        "console": who.console,
    }))
}

/// Lists that the state holds whole are short, but page like all others: by their order, from a place.
fn page<T>(rows: Vec<T>, list: &str, params: &mut Params) -> (Vec<T>, Value) {
    let (limit, from) = (params.limit(), params.cursor(list).unwrap_or(0));
    let total = rows.len();
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let rows: Vec<T> = rows.into_iter().skip(from).take(limit).collect();
    let end = from.saturating_add(rows.len());
    let next = (end < total && !rows.is_empty()).then_some(end as u64);
    (rows, cursor(list, next))
}

pub(super) async fn agents(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    let mut params = Params::of(&uri);
    let now = state.backend().state();
    let pack = state.backend().pack(&now.pack).await?;
    let known = pack.as_deref().map(|p| p.agents());
    // Somebody who left the pack is still shown while the state knows them.
    let ids: BTreeSet<&String> = now.agents.keys().chain(known.into_iter().flat_map(|k| k.keys())).collect();
    let rows = ids.into_iter().map(|id| views::agent(id, known.and_then(|k| k.get(id)), now.agents.get(id))).collect();
    let (rows, next) = page::<Value>(rows, "agents", &mut params);
    params.finish()?;
    let none = Presences::default();
    let words = pack.as_deref().map_or(&none, |p| p.presences()).words();
    let presences: Vec<Value> =
        words.map(|(name, counts_as)| json!({ "name": name, "counts_as": counts_as.as_str() })).collect();
    Ok(Json(json!({ "agents": rows, "presences": presences, "next": next })))
}

/// Whether the router knows the agent: by the pack, or because it still holds something of theirs.
async fn known_agent(state: &ApiState, id: &str) -> Result<(), Problem> {
    let now = state.backend().state();
    if now.agents.contains_key(id) {
        return Ok(());
    }
    match state.backend().pack(&now.pack).await? {
        Some(pack) if pack.agent(id).is_some() => Ok(()),
        Some(pack) => Err(Problem::not_found(lacks("agent", id, pack.agents()))),
        None => Err(Problem::not_found("there is no such agent")),
    }
}

pub(super) async fn presence(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut posted: Posted,
) -> Result<Response, Problem> {
    let own = posted.caller.identity.agent.as_deref() == Some(id.as_str());
    if !own && posted.caller.scope < Scope::Supervisor {
        let detail = "changing another agent's presence needs the scope `supervisor`";
        return Err(Problem::new(StatusCode::FORBIDDEN, "not_you", detail));
    }
    let f = &mut posted.fields;
    let presence = f.text("presence", SHORT);
    let in_force = state.backend().state().pack.clone();
    let pack = state.backend().pack(&in_force).await?;
    let of_all = Presence::parse(&presence);
    let counts_as = of_all.or_else(|| pack.as_deref()?.presences().find(&presence).map(|(counts_as, _)| counts_as));
    if !presence.is_empty() && counts_as.is_none() {
        let words = pack.as_deref().map(|p| p.presences().words().map(|(word, _)| word).collect::<Vec<_>>().join(", "));
        let words = words.unwrap_or_else(|| "available, away, offline".into());
        f.fault("presence", format!("must be one of {words}"));
    }
    posted.fields.finish()?;
    known_agent(&state, &id).await?;
    let actor = posted.caller.actor(None)?;
    let by_their_console = own && posted.caller.console;
    // Who is taken out of the rounds still goes offline when their console stays closed.
    let raises = counts_as == Some(Presence::Available) && !by_their_console;
    let done = state.act(posted.once, actor, Action::Presence { agent: id.clone(), presence }).await?;
    let raised = raises && done.status().is_success();
    if let Some(sessions) = state.shared.gate.sessions.as_ref().filter(|_| raised) {
        sessions.presence_said(&id);
    }
    Ok(done)
}

pub(super) async fn offers(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    let mut params = Params::of(&uri);
    let agent = params.one("agent");
    let (limit, before) = (params.limit(), params.cursor("offers"));
    params.finish()?;
    let page = state.history().await.offers(agent, before, limit).await?;
    let rows: Vec<Value> = page.items.iter().map(views::offer).collect();
    Ok(Json(json!({ "offers": rows, "next": cursor("offers", page.next) })))
}

async fn answer_offer(
    state: ApiState,
    id: &str,
    posted: Posted,
    action: fn(String) -> Action,
) -> Result<Response, Problem> {
    let offer = OfferId::parse(id).ok_or_else(|| Problem::not_found("there is no such offer"))?.to_string();
    posted.act(&state, action(offer)).await
}

pub(super) async fn accept(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    answer_offer(state, &id, posted, |offer| Action::AcceptOffer { offer }).await
}

pub(super) async fn decline(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    answer_offer(state, &id, posted, |offer| Action::DeclineOffer { offer }).await
}

pub(super) async fn queues(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    let mut params = Params::of(&uri);
    let view = state.backend().state();
    let pack = state.backend().pack(&view.pack).await?;
    let now = state.backend().now();
    let known = pack.iter().flat_map(|p| p.queues().keys());
    let ids: BTreeSet<&String> = view.queues.keys().chain(known).collect();
    let empty = super::QueueView::default();
    let rows = ids.into_iter().map(|id| views::queue(id, view.queues.get(id).unwrap_or(&empty), now)).collect();
    let (rows, next) = page::<Value>(rows, "queues", &mut params);
    params.finish()?;
    Ok(Json(json!({ "queues": rows, "next": next })))
}

pub(super) async fn channels(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    let mut params = Params::of(&uri);
    let now = state.backend().state();
    let mut rows = vec![];
    for (id, c) in &now.channels {
        rows.push(views::channel(id, c, &state).await);
    }
    let (rows, next) = page::<Value>(rows, "channels", &mut params);
    params.finish()?;
    Ok(Json(json!({ "channels": rows, "next": next })))
}

/// What a text costs before anybody sends it. It changes nothing, and is no GET only because a text is no part of an address.
pub(super) async fn measure(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut posted: Posted,
) -> Result<Json<Value>, Problem> {
    if !is_id(&id) || !state.backend().state().channels.contains_key(&id) {
        return Err(Problem::not_found("there is no such channel"));
    }
    let text = posted.fields.optional("text", MEASURED).unwrap_or_default();
    posted.fields.finish()?;
    let characters = text.chars().count();
    let Some(measured) = state.backend().measure(&id, &text) else {
        return Ok(Json(json!({ "segments": 1, "fits": true, "characters": characters })));
    };
    Ok(Json(json!({
        "segments": measured.segments,
        "fits": measured.segments <= measured.most,
        "characters": characters,
        "most": measured.most,
        "encoding": measured.encoding,
        "units": measured.units,
        "per_segment": measured.per_segment,
        "text": measured.text,
    })))
}

async fn channel_command(
    state: ApiState,
    id: String,
    posted: Posted,
    action: fn(String) -> Action,
) -> Result<Response, Problem> {
    if !is_id(&id) || !state.backend().state().channels.contains_key(&id) {
        return Err(Problem::not_found("there is no such channel"));
    }
    posted.act_as_caller(&state, action(id)).await
}

pub(super) async fn pause(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    channel_command(state, id, posted, |target| Action::PauseChannel { target }).await
}

pub(super) async fn resume(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    posted: Posted,
) -> Result<Response, Problem> {
    channel_command(state, id, posted, |target| Action::ResumeChannel { target, mended: false }).await
}
