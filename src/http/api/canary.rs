//! Trying a pack on a share of the new conversations, and how it does beside the one in force.

use super::commands::{Whole, whole};
use super::input::{Fields, Params, SHORT};
use super::table::Posted;
use super::{ApiState, rules};
use crate::http::problem::Problem;
use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use serde_json::{Value, json};
use switchboard_envelope::Action;
use switchboard_routing_rules::state::{Canary, Tally};

/// The files of a pack together: far more than ten thousand rules take.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// `GET /rules/canary`: the latest trial, which may be over.
pub(super) async fn show(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    Params::of(&uri).finish()?;
    let now = state.backend().state();
    Ok(Json(json!({ "canary": now.canary.as_deref().map(trial) })))
}

/// A trial with both packs side by side.
pub(super) fn trial(canary: &Canary) -> Value {
    let ended = canary.ended.map(|(at, how)| json!({ "at": at, "how": how.as_str() }));
    json!({
        "pack": canary.pack, "beside": canary.beside, "share": canary.percent, "since": canary.since, "ended": ended,
        "packs": [
            arm(&canary.beside, "in_force", &canary.others),
            arm(&canary.pack, "tried", &canary.tried),
        ],
    })
}

fn arm(pack: &str, role: &str, tally: &Tally) -> Value {
    json!({
        "pack": pack,
        "role": role,
        "conversations": tally.conversations,
        "destinations": tally.places,
        "auto_replies": tally.auto_replies,
        "answered": tally.answered(),
        "first_answer": { "median_ms": tally.answered_within(50), "p90_ms": tally.answered_within(90) },
        "breached": tally.breached,
    })
}

/// `POST /rules/canary`: tries a pack on a share of the new conversations: the one in the body, else the one that is tried already,
/// else the one on disk.
pub(super) async fn begin(State(state): State<ApiState>, request: Request) -> Result<Response, Problem> {
    let Whole { caller, headers, uri, body, once } = whole(request, &state, MAX_BODY).await?;
    Params::of(&uri).finish()?;
    let mut fields = Fields::parse(&headers, &body)?;
    let named = fields.optional("agent", SHORT);
    let actor = caller.actor(named)?;
    let (percent, force, files) = (fields.percent("share"), fields.flag("force"), fields.documents("files"));
    let from_disk = fields.flag("disk");
    fields.finish()?;
    let (_turn, before) = state.turn(&once).await?;
    if let Some(given) = before {
        return Ok(rules::warned(&state, given).into_response());
    }
    let now = state.backend().state();
    // Who changes the share does not mean what is on disk by now.
    let tried = now.canary.as_deref().filter(|c| c.ended.is_none() && !from_disk).map(|c| c.pack.clone());
    let staged = match (files, tried) {
        (Some(files), _) => state.backend().stage_pack(files, force).await,
        (None, Some(tried)) => Ok(tried),
        (None, None) => state.backend().reload_pack(force).await,
    };
    let hash = staged.map_err(rules::refused)?;
    let action = Action::TryPack { hash, percent };
    Ok(rules::warned(&state, state.command(once, actor, action).await?).into_response())
}

/// `DELETE /rules/canary`: the pack in force decides everything again.
pub(super) async fn stop(State(state): State<ApiState>, posted: Posted) -> Result<Response, Problem> {
    posted.act(&state, Action::EndTrial { promote: false }).await
}

/// `POST /rules/canary/promote`: what was tried decides everything.
pub(super) async fn promote(State(state): State<ApiState>, posted: Posted) -> Result<Response, Problem> {
    posted.act(&state, Action::EndTrial { promote: true }).await
}

/// Puts an earlier pack in force again, or ends the trial.
pub(super) async fn rollback(State(state): State<ApiState>, mut posted: Posted) -> Result<Response, Problem> {
    let asked = posted.fields.optional("to", SHORT);
    let to = match asked {
        None => None,
        Some(start) => Some(known(&state, &start)?),
    };
    posted.act(&state, Action::RollbackPack { to }).await
}

/// The pack that was in force whose hash begins like this.
fn known(state: &ApiState, start: &str) -> Result<String, Problem> {
    let now = state.backend().state();
    let mut found: Vec<&String> = now.packs.iter().map(|(hash, _)| hash).filter(|h| h.starts_with(start)).collect();
    found.sort();
    found.dedup();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Problem::not_found("no pack was in force whose hash begins like this; GET /rules lists them")),
        _ => {
            let detail = "several packs were in force whose hash begins like this: write more of it";
            Err(Problem::new(StatusCode::CONFLICT, "ambiguous", detail))
        }
    }
}
