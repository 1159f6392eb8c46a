//! How the process does that answers: what `switchboard doctor` reads beside the lists of the API.

use super::ApiState;
use super::input::Params;
use crate::http::problem::Problem;
use crate::log::Store;
use crate::machine::Machine;
use axum::Json;
use axum::extract::State;
use http::Uri;
use serde::{Deserialize, Serialize};
use switchboard_envelope::Timestamp;

/// One process of a workspace. Nothing in it was written by a customer, and nothing is secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    pub version: String,
    pub workspace: String,
    /// `all`, `router` or `edge`.
    pub role: String,
    pub process: u32,
    pub started_at: Option<Timestamp>,
    pub now: Option<Timestamp>,
    /// `leads`, `follows` or `vacant`, and who leads where another does.
    pub standing: String,
    pub leader: Option<String>,
    pub history: HistoryStatus,
    pub log: LogStatus,
    pub duplicates: Duplicates,
    /// The latest rebase: the log came back as an older copy of itself.
    pub rebased_at: Option<Timestamp>,
    /// When a rebase found that something was lost.
    pub lost_at: Option<Timestamp>,
    /// Messages of ours that have not ended, by channel.
    pub unsettled: Vec<Unsettled>,
    /// Queues in which somebody waits.
    pub queues: Vec<Queue>,
    pub quarantined: u64,
    /// Connections that the public listener takes.
    pub max_connections: u64,
    pub machine: Machine,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryStatus {
    /// Frames that the router has and history does not.
    pub behind: u64,
    pub stuck: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogStatus {
    /// `embedded` or `nats`.
    pub backend: String,
    pub durability: String,
    /// Whether a power cut can take what was acknowledged.
    pub may_lose: bool,
    /// The format that is written, and the newest that this version writes.
    pub format: u16,
    pub newest_format: u16,
    /// How full IN is, in thousandths, and what it may hold in bytes.
    pub in_thousandths: Option<u32>,
    pub in_max_bytes: u64,
    pub stores: Vec<Store>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Duplicates {
    pub remembered: u64,
    pub most: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unsettled {
    pub channel: String,
    pub messages: u64,
    pub oldest_at: Option<Timestamp>,
}

/// A queue with those who wait in it and have no owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Queue {
    pub id: String,
    pub waiting: u64,
    /// Of them, those whose clock ran out.
    pub overdue: u64,
    pub oldest_at: Option<Timestamp>,
    /// What an agent must know for the one who waits longest.
    pub wanted: Vec<String>,
    /// Agents of the rule pack, of them those who know that, and of these those who are there.
    pub agents: u64,
    pub able: u64,
    pub there: u64,
}

/// `GET /status`
pub(super) async fn show(State(state): State<ApiState>, uri: Uri) -> Result<Json<Status>, Problem> {
    Params::of(&uri).finish()?;
    Ok(Json(state.backend().status().await?))
}
