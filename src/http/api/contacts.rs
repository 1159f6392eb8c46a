//! Customers.

use super::input::{Params, Path, SHORT, cursor};
use super::table::Posted;
use super::{ApiState, views};
use crate::http::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::Uri;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use switchboard_envelope::{Action, ConsentState, is_id};
use switchboard_routing_rules::ids::ContactId;

fn no_contact() -> Problem {
    Problem::not_found("there is no such contact")
}

fn known_form(id: &str) -> Result<String, Problem> {
    ContactId::parse(id).map(|c| c.to_string()).ok_or_else(no_contact)
}

pub(super) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    let mut params = Params::of(&uri);
    let identity = params.one("identity").map(|identity| state.backend().spelt(identity));
    let (limit, before) = (params.limit(), params.cursor("contacts"));
    params.finish()?;
    let page = state.history().await.contacts(identity, before, limit).await?;
    let rows: Vec<Value> = page.items.iter().map(views::contact).collect();
    Ok(Json(json!({ "contacts": rows, "next": cursor("contacts", page.next) })))
}

pub(super) async fn detail(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    Params::of(&uri).finish()?;
    let id = ContactId::parse(&id).ok_or_else(no_contact)?;
    let contact = state.history().await.contact(id).await?.ok_or_else(no_contact)?;
    Ok(Json(views::contact(&contact)))
}

pub(super) async fn update(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut posted: Posted,
) -> Result<Response, Problem> {
    let contact = known_form(&id)?;
    let f = &mut posted.fields;
    let tags = f.strings("tags");
    let attributes = f.map("attributes");
    let mut consent = BTreeMap::new();
    for (channel, word) in f.map("consent") {
        let state = match word.as_deref() {
            Some("opted_out") => ConsentState::OptedOut,
            Some("opted_in") => ConsentState::OptedIn,
            _ => {
                f.fault(&format!("consent\u{1}{channel}"), "must be opted_in or opted_out");
                continue;
            }
        };
        if !is_id(&channel) {
            f.fault(&format!("consent\u{1}{channel}"), "is no channel's id");
        }
        consent.insert(channel, state);
    }
    let unblock = f.strings("unblock").unwrap_or_default();
    if let Some(channel) = unblock.iter().find(|channel| !is_id(channel)) {
        f.fault("unblock", format!("`{channel}` is no channel's id"));
    }
    posted.act(&state, Action::UpdateContact { contact, tags, attributes, consent, unblock }).await
}

/// Joins the contact that the body names into the one of the path.
pub(super) async fn merge(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut posted: Posted,
) -> Result<Response, Problem> {
    let into = known_form(&id)?;
    let f = &mut posted.fields;
    let from = f.text("from", SHORT);
    if !from.is_empty() && ContactId::parse(&from).is_none() {
        f.fault("from", "is no contact's id");
    }
    if from == into {
        f.fault("from", "is the contact itself");
    }
    posted.act(&state, Action::MergeContact { into, from }).await
}
