//! What came and what was answered, over the last hours.

use super::ApiState;
use super::input::Params;
use crate::history::{SLOT_MS, Slot};
use crate::http::problem::Problem;
use axum::Json;
use axum::extract::State;
use http::Uri;
use serde_json::{Value, json};
use switchboard_envelope::Timestamp;

const HOUR_MS: i64 = 3_600_000;
/// Hours that are told, when the caller does not say and at most: what happened is kept by slots for eight days.
const HOURS: i64 = 24;
const MOST: i64 = 168;

/// `GET /activity`: slots of a quarter of an hour in which anything happened, the oldest first.
pub(super) async fn show(State(state): State<ApiState>, uri: Uri) -> Result<Json<Value>, Problem> {
    let mut params = Params::of(&uri);
    let hours = params.one("hours").map(|text| text.parse::<i64>().ok().filter(|n| (1..=MOST).contains(n)));
    if hours == Some(None) {
        params.fault("hours", format!("must be 1 to {MOST}"));
    }
    params.finish()?;
    let until = state.backend().now();
    let since = until.plus(-hours.flatten().unwrap_or(HOURS) * HOUR_MS);
    // The slot in which it began counts whole.
    let since = Timestamp(since.0.div_euclid(SLOT_MS) * SLOT_MS);
    let rows = state.history().await.slots(since).await?;
    let rows: Vec<Value> = rows.iter().map(|(at, s)| slot(*at, s)).collect();
    Ok(Json(json!({ "since": since, "until": until, "slot_ms": SLOT_MS, "slots": rows })))
}

fn slot(at: Timestamp, s: &Slot) -> Value {
    json!({
        "at": at, "arrived": s.arrived, "answered": s.answered, "waited_ms": s.waited_ms, "due": s.due, "in_time": s.in_time,
    })
}
