//! The rule pack in force.

use super::backend::ReloadError;
use super::commands::Given;
use super::input::Params;
use super::table::Posted;
use super::{ApiState, canary, views};
use crate::history::RuleHits;
use crate::http::problem::{Fault, Problem};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::Uri;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use switchboard_envelope::{Action, Timestamp};

pub(super) async fn show(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    Params::of(&uri).finish()?;
    let now = state.backend().state();
    let history = state.history().await;
    let by_rule = |hits: Vec<RuleHits>| hits.into_iter().map(|h| (h.rule.clone(), h)).collect::<BTreeMap<_, _>>();
    let (all, hits) = (by_rule(history.rule_hits().await?), by_rule(history.pack_hits(&now.pack).await?));
    let since = history.pack_in_force().await?.filter(|(hash, _)| *hash == now.pack).map(|(_, at)| at);
    let pack = state.backend().pack(&now.pack).await?;
    let today = match pack.as_deref() {
        Some(pack) => history.hits_since(pack.midnight(now.now)).await?,
        None => BTreeMap::new(),
    };
    let rule = |(name, place): (&str, &switchboard_routing_rules::pack::Place)| {
        let hit = hits.get(name);
        json!({
            "name": name,
            "place": format!("{}:{}", place.file, place.line),
            "hits": hit.map_or(0, |h| h.hits),
            "hits_today": today.get(name).copied().unwrap_or(0),
            "hits_in_all": all.get(name).map_or(0, |h| h.hits),
            "last_hit_at": all.get(name).map(|h| h.last_at),
        })
    };
    let rules: Vec<Value> = pack.iter().flat_map(|p| p.rules()).map(rule).collect();
    let agents: Vec<Value> =
        pack.iter().flat_map(|p| p.agents()).map(|(id, a)| views::agent(id, Some(a), now.agents.get(id))).collect();
    let replies: BTreeMap<&str, String> = pack.iter().flat_map(|p| p.reply_drafts()).collect();
    let queues: Vec<&String> = pack.iter().flat_map(|p| p.queues().keys()).collect();
    Ok(Json(json!({
        "hash": now.pack, "history": history_of(&now.packs), "canary": now.canary.as_deref().map(canary::trial), "on_disk": state.backend().pack_on_disk().await, "loaded_at": since, "warnings": now.pack_warnings, "rules": rules, "queues": queues, "agents": agents,
        "replies": replies,
    })))
}

/// What the pack in force says beside its rules, as hashes: with another pack's, `rules replay` tells in what they differ.
pub(super) async fn settings(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    Params::of(&uri).finish()?;
    let hash = state.backend().state().pack.clone();
    let pack = state.backend().pack(&hash).await?;
    Ok(Json(json!({ "hash": hash, "settings": pack.map(|p| p.settings()).unwrap_or_default() })))
}

/// The packs that were in force, the newest first.
fn history_of(packs: &[(String, Timestamp)]) -> Vec<Value> {
    packs.iter().rev().map(|(hash, since)| json!({ "hash": hash, "since": since })).collect()
}

/// Puts the pack on disk in force. A bad one is refused with everything that is wrong, and the running one stays.
pub(super) async fn reload(State(state): State<ApiState>, mut posted: Posted) -> Result<Response, Problem> {
    let actor = posted.actor()?;
    let force = posted.fields.flag("force");
    posted.fields.finish()?;
    let once = posted.once;
    let (_turn, before) = state.turn(&once).await?;
    if let Some(given) = before {
        return Ok(warned(&state, reloaded(given)).into_response());
    }
    let hash = state.backend().reload_pack(force).await.map_err(refused)?;
    let given = reloaded(state.command(once, actor, Action::ReloadPack { hash }).await?);
    Ok(warned(&state, given).into_response())
}

/// With what the load of the pack warned of.
pub(super) fn warned(state: &ApiState, mut given: Given) -> Given {
    if let Ok(Value::Object(map)) = &mut given.value
        && let Some(hash) = ["pack", "hash"].iter().find_map(|key| map.get(*key)?.as_str().map(str::to_owned))
    {
        map.insert("warnings".into(), json!(state.backend().pack_warnings(&hash)));
    }
    given
}

/// Why a pack was not taken: nothing has changed.
pub(super) fn refused(error: ReloadError) -> Problem {
    let faults = |all: Vec<String>| all.into_iter().map(|detail| Fault { pointer: String::new(), detail }).collect();
    match error {
        ReloadError::Log(error) => error.into(),
        ReloadError::Tests(failing) => {
            let detail =
                "tests of the pack fail, and what is in force stays; add `\"force\": true` to take it all the same";
            Problem { code: "pack_tests".into(), detail: detail.into(), ..Problem::invalid(faults(failing)) }
        }
        ReloadError::Pack(problems) => {
            let detail = "the pack has errors; what is in force stays";
            Problem { code: "bad_pack".into(), detail: detail.into(), ..Problem::invalid(faults(problems)) }
        }
    }
}

/// The command's answer as this path gives it, also when it is given again.
fn reloaded(mut given: Given) -> Given {
    if let Ok(Value::Object(map)) = &mut given.value
        && let (Some(hash), Some(before)) = (map.get("pack").cloned(), map.remove("before"))
    {
        map.insert("changed".into(), Value::Bool(hash != before));
        map.insert("hash".into(), hash);
    }
    given
}
