//! What a snapshot does to routing: messages at a steady rate among many open conversations, until one was taken meanwhile.

use super::Options;
use super::daemon::{self, Latency, round};
use super::load::{Text, Webhooks};
use serde_json::{Value, json};
use std::error::Error;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use switchboard_e2e::{Daemon, Shop};
use tokio::sync::mpsc;

/// What no turn beside a snapshot may take.
const PROMISED_MS: f64 = 50.0;

type Arrivals = mpsc::UnboundedReceiver<(u64, Instant)>;

/// Sends messages that are answered to the daemon, which has its open conversations already.
///
/// # Errors
/// When the daemon or the load generator does not get through.
pub async fn measure(
    daemon: &Daemon<'_>,
    shop: &Shop,
    arrivals: &mut Arrivals,
    options: &Options,
) -> Result<Value, Box<dyn Error>> {
    // Their numbers go on after those of the conversations.
    let first = options.conversations;
    let count = u64::from(options.rate) * u64::from(options.among_open);
    let webhooks = Webhooks::sign(shop, Text::Answered, first, count, options.conversations);
    let before = daemon.metric("switchboard_snapshots_total").await;
    // Snapshots tell their times by the clock on the wall.
    let (began, wall) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH)?);
    let answered = daemon::answered(webhooks, arrivals, first, options).await?;
    let metrics = daemon.metrics().await;
    let at = |name: &str| Duration::try_from_secs_f64(value(&metrics, name).unwrap_or(0.0)).unwrap_or_default();
    let (from, to) =
        (at("switchboard_snapshot_began_timestamp_seconds"), at("switchboard_snapshot_ended_timestamp_seconds"));
    let taken = daemon.metric("switchboard_snapshots_total").await - before;
    let beside = |(due, ms): &(Instant, f64)| {
        let due = wall + due.duration_since(began);
        due <= to && due + Duration::from_secs_f64(ms / 1000.0) >= from
    };
    let (with, without): (Vec<_>, Vec<_>) = answered.iter().partition(|a| beside(a));
    let shown = |of: Vec<&(Instant, f64)>| {
        (!of.is_empty()).then(|| {
            let l = Latency::of(of.iter().map(|(_, ms)| *ms));
            json!({ "messages": l.messages, "p50": l.p50_ms, "p99": l.p99_ms, "max": l.max_ms })
        })
    };
    let longest = |snapshot: &str| {
        let seconds = value(&metrics, &format!("switchboard_turn_longest_seconds{{snapshot=\"{snapshot}\"}}"));
        seconds.map(|s| round(s * 1000.0))
    };
    let turn = longest("yes");
    Ok(json!({
        "open_conversations": options.conversations,
        "rate_per_second": options.rate,
        "taken": taken,
        "last_took_ms": round(to.saturating_sub(from).as_secs_f64() * 1000.0),
        // Since the start, the flood that opened the conversations among it.
        "longest_turn_ms": { "beside_a_snapshot": turn, "otherwise": longest("no") },
        "latency_webhook_to_provider_ms": { "beside_the_last_snapshot": shown(with), "otherwise": shown(without) },
        "promised_longest_turn_ms": PROMISED_MS,
        "kept": (taken > 0.0).then(|| turn.is_some_and(|ms| ms <= PROMISED_MS)),
    }))
}

/// One row of the metrics.
fn value(metrics: &str, row: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(' ')?.parse().ok())
}
