//! What was decided, message by message, so that another pack can be tried on it.

use super::ApiState;
use super::explain::seen_message;
use super::input::{Params, cursor};
use crate::history::{Facts, Message};
use crate::http::problem::Problem;
use axum::Json;
use axum::extract::State;
use http::Uri;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::RulePack;
use switchboard_routing_rules::replay::would;

const NOT_A_TIME: &str = "must be a time such as 2026-11-21T20:22:05Z";

/// `GET /decisions`: the newest first, as far back as `since`.
pub(super) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    let mut params = Params::of(&uri);
    let since = params.one("since").map(|text| text.parse().map_err(|_| params.fault("since", NOT_A_TIME)));
    let since: Option<Timestamp> = since.and_then(Result::ok);
    let (limit, before) = (params.limit(), params.cursor("decisions"));
    params.finish()?;
    let page = state.history().await.decisions(since, before, limit).await?;
    let mut packs: BTreeMap<String, Option<Arc<RulePack>>> = BTreeMap::new();
    let mut rows = vec![];
    for (message, facts) in &page.items {
        if !packs.contains_key(&facts.pack) {
            packs.insert(facts.pack.clone(), state.backend().pack(&facts.pack).await?);
        }
        rows.push(row(message, facts, packs.get(&facts.pack).and_then(Option::as_deref)));
    }
    Ok(Json(json!({ "decisions": rows, "next": cursor("decisions", page.next) })))
}

fn row(message: &Message, facts: &Facts, pack: Option<&RulePack>) -> Value {
    let said = seen_message(message, facts);
    // What the pack that decided comes to over the same facts, so that both sides are worked out alike.
    let did = match (pack, &said, &facts.seen) {
        (Some(pack), Some(said), Some(seen)) => Some(would(pack, said, seen)),
        _ => None,
    };
    json!({
        "message": message.id,
        "conversation": message.conversation,
        "at": facts.at,
        "pack": facts.pack,
        "rules": facts.hits,
        "did": did,
        "said": said,
        "seen": facts.seen,
    })
}
