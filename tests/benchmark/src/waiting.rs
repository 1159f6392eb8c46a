//! Very many who wait: what they cost in memory, and how long it takes to have them back after a kill, from the newest snapshot and
//! the frames after it.

use super::Options;
use super::daemon::{self, round};
use super::load::{Text, Webhooks};
use super::provider::Provider;
use serde_json::{Value, json};
use std::error::Error;
use std::time::{Duration, Instant};
use switchboard_e2e::{Daemon, http};

/// Messages of one flood: they are signed before, and so take the load generator's memory all at once.
const FLOOD: u64 = 100_000;
/// How long the start after the kill may take.
const GIVE_UP: Duration = Duration::from_secs(300);
/// What [`Options::waiting`] of them may take, where that is a million, and how soon they are back.
const MAX_MB: f64 = 1024.0;
const MAX_SECONDS: f64 = 20.0;

/// Floods the daemon with first messages that nobody takes, kills it, and starts it again.
///
/// # Errors
/// When the daemon or the load generator does not get through.
pub async fn measure(options: &Options) -> Result<Value, Box<dyn Error>> {
    let provider = Provider::start(None).await?;
    let log = options.backend.start();
    let shop = daemon::shop(&provider, &log).open();
    let mut daemon = Daemon::start(&shop).await;
    let count = options.waiting;
    let mut first = 0;
    while first < count {
        let some = FLOOD.min(count - first);
        Webhooks::sign(&shop, Text::Waits, first, some, count).flood(options.connections).await?;
        first += some;
        daemon::wait_for(&daemon, "switchboard_queue_depth", first).await?;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let resident_mb = daemon::resident_mb(daemon.pid())?;
    daemon.kill();
    let began = Instant::now();
    daemon.spawn_again();
    // Longer than a start of the tests may take.
    while !http().get(format!("{}/readyz", shop.admin())).send().await.is_ok_and(|a| a.status().is_success()) {
        if began.elapsed() > GIVE_UP {
            return Err(format!("not ready {GIVE_UP:?} after the kill").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ready_s = round(began.elapsed().as_secs_f64());
    let back = daemon.metric("switchboard_queue_depth").await;
    if back < count as f64 {
        return Err(format!("{back} of {count} wait after the restart").into());
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after_mb = daemon::resident_mb(daemon.pid())?;
    let kept = resident_mb <= MAX_MB && ready_s <= MAX_SECONDS;
    Ok(json!({
        "waiting": count, "resident_mb": resident_mb, "killed_to_ready_s": ready_s, "resident_after_restart_mb": after_mb,
        "kept": (count >= 1_000_000).then_some(kept), "promised": { "waiting": 1_000_000, "mb": MAX_MB, "seconds": MAX_SECONDS },
    }))
}
