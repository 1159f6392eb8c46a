//! Catching up on what webhooks missed: the provider's list is read from a cursor that is stored after what it covers.

use super::ingest::Ingest;
use crate::clock;
use crate::outbound::Caller;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use switchboard_adapter_sdk::Adapter;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Pages read in one go before the interval is waited for again.
const PAGES: usize = 50;

/// Which channels could not catch up when this process tried last, each with the reason.
#[derive(Clone, Default)]
pub struct Polls(Arc<Mutex<BTreeMap<String, String>>>);

impl Polls {
    pub(crate) fn set(&self, channel: &str, trouble: Option<String>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble {
            Some(why) => known.insert(channel.to_owned(), why),
            None => known.remove(channel),
        };
    }

    #[must_use]
    pub fn trouble(&self, channel: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(channel).cloned()
    }
}

pub struct Poller {
    pub channel: String,
    pub adapter: Arc<dyn Adapter>,
    pub client: Arc<dyn Caller>,
    pub ingest: Ingest,
    pub every: Duration,
    pub polls: Polls,
}

/// Polls at once and then at the interval, until `stop`.
pub fn spawn(poller: Poller, mut stop: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while !*stop.borrow() {
            tokio::select! {
                result = poller.catch_up() => {
                    if let Err(error) = &result {
                        tracing::warn!(channel = %poller.channel, error, "catching up failed; it is tried again");
                        poller.ingest.metrics.poll_failed(&poller.channel);
                    }
                    poller.polls.set(&poller.channel, result.unwrap_or_else(Some));
                }
                _ = stop.changed() => break,
            }
            tokio::select! {
                () = tokio::time::sleep(poller.every) => {}
                _ = stop.changed() => break,
            }
        }
    })
}

impl Poller {
    /// What got in the way of a part of it, if anything did.
    async fn catch_up(&self) -> Result<Option<String>, String> {
        let name = format!("poll.{}", self.channel);
        // Where several processes serve the channel one of them polls; two would only ask the provider twice.
        if !self.ingest.log.duty(&name).await.map_err(|e| e.to_string())? {
            return Ok(None);
        }
        let mut obstacle = None;
        let mut cursor = self.ingest.log.get_cursor(&name).await.map_err(|e| e.to_string())?;
        for _ in 0..PAGES {
            let now = clock::now();
            let Some(call) = self.adapter.poll(cursor.as_deref(), now) else { return Ok(obstacle) };
            let answer = self.client.call(call).await;
            let polled = self.adapter.polled(cursor.as_deref(), &answer, now)?;
            for inbound in polled.events {
                self.ingest.or_quarantine(inbound, now).await.map_err(|e| e.to_string())?;
            }
            if let Some(complaint) = polled.complaint {
                tracing::warn!(channel = %self.channel, complaint, "catching up met an obstacle");
                self.ingest.metrics.poll_failed(&self.channel);
                obstacle = Some(complaint);
            }
            self.ingest.log.put_cursor(&name, &polled.cursor).await.map_err(|e| e.to_string())?;
            cursor = Some(polled.cursor);
            if !polled.more {
                return Ok(obstacle);
            }
        }
        Ok(obstacle)
    }
}
