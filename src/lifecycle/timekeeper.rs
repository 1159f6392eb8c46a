//! Whether this machine's clock can be trusted with attempts to send, whose ends are times.

use crate::clock;
use crate::log::Log;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often the clock is compared with the log's.
const EVERY: Duration = Duration::from_secs(10);

/// Why nothing may be sent from here, as long as it is so. It is looked at for as long as somebody listens.
pub async fn watch_clock(log: Arc<dyn Log>) -> watch::Receiver<Option<String>> {
    let first = clock::off(log.as_ref()).await.ok().flatten();
    complain(first.as_deref());
    let (told, wrong) = watch::channel(first);
    if !log.exclusive() {
        tokio::spawn(async move {
            while !told.is_closed() {
                tokio::time::sleep(EVERY).await;
                // A log that does not answer tells nothing about clocks.
                let Ok(now) = clock::off(log.as_ref()).await else { continue };
                told.send_if_modified(|before| {
                    let changed = before.is_some() != now.is_some();
                    if changed {
                        complain(now.as_deref());
                    }
                    *before = now;
                    changed
                });
            }
        });
    }
    wrong
}

fn complain(wrong: Option<&str>) {
    if let Some(why) = wrong {
        tracing::error!(why, "nothing is sent from here");
    }
}
