//! Adapters in other processes: their channels as the router knows them, what they must find on the broker, and whether they
//! are there.

use super::StartError;
use super::channels::Running;
use crate::clock;
use crate::config::ExternalConfig;
use crate::log::Log;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use switchboard_adapter_sdk::{Adapter, Answer, AttemptOutcome, Call, RawRequest, Verdict};
use switchboard_envelope::{ChannelProfile, Inbound, Outcome, Raw, Send, Timestamp, Unparsed, event_id};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// An adapter beats this often; after the silence below its channel is down.
const BEAT: Duration = Duration::from_secs(10);
pub const SILENCE_MS: i64 = 30_000;

/// Stands for a channel whose adapter is another process: the router must know of it, and nothing here speaks for it.
#[derive(Debug)]
pub struct External {
    channel: String,
    config: ExternalConfig,
}

impl External {
    #[must_use]
    pub fn new(channel: &str, config: ExternalConfig) -> External {
        External { channel: channel.to_owned(), config }
    }
}

const ELSEWHERE: &str = "the adapter of this channel is another process";

impl Adapter for External {
    fn profile(&self) -> ChannelProfile {
        let kind = self.config.address_kind.as_ref().unwrap_or(&self.config.label);
        ChannelProfile {
            external: true,
            max_text: self.config.max_text,
            no_files: Some("an adapter in another process is given no files to send".into()),
            proactive: self.config.proactive,
            ..ChannelProfile::new(self.config.label.clone(), kind.clone())
        }
    }

    fn verify(&self, _request: &RawRequest) -> Verdict {
        Verdict::Forged(ELSEWHERE.into())
    }

    fn parse(&self, _request: &RawRequest) -> Vec<Inbound> {
        vec![]
    }

    fn reparse(&self, raw: &Raw, _body: Bytes, received_at: Timestamp) -> Vec<Inbound> {
        // Only the adapter can read its provider's bytes: what it could not read stays where it is.
        vec![Inbound::Unparsed(Unparsed {
            id: event_id(&self.channel, "unparsed", &format!("reparse.{}", received_at.0)),
            channel: self.channel.clone(),
            reason: ELSEWHERE.into(),
            at: received_at,
            raw: raw.clone(),
        })]
    }

    fn encode(&self, _send: &Send) -> Result<Call, AttemptOutcome> {
        Err(AttemptOutcome { detail: Some(ELSEWHERE.into()), ..AttemptOutcome::new(Outcome::Rejected) })
    }

    fn classify(&self, _send: &Send, _answer: &Answer, _now: Timestamp) -> AttemptOutcome {
        AttemptOutcome::new(Outcome::Unknown)
    }
}

/// When each channel that another process serves was heard of last.
#[derive(Clone, Default)]
pub struct Adapters(Arc<Mutex<BTreeMap<String, Heard>>>);

/// What is known of one of them.
#[derive(Clone, Copy)]
struct Heard {
    /// When it was heard of last, or since when that is waited for.
    at: Timestamp,
    /// It was heard of at all.
    ever: bool,
}

impl Adapters {
    /// Makes what the adapters bind to, and listens for them from now on; where this process `serves` nothing itself, also for the
    /// edges that do.
    ///
    /// # Errors
    /// When a consumer cannot be made, or is not as it must be.
    pub async fn watch(
        log: &dyn Log,
        running: &[Running],
        serves: bool,
    ) -> Result<(Adapters, Option<JoinHandle<()>>), StartError> {
        let adapters = Adapters::default();
        for r in running {
            if r.profile.external {
                // Opening it makes the durable consumer; the adapter pulls from it, and nobody here does.
                drop(log.outbox(&r.id).await?);
                adapters.expected(&r.id, false);
            } else if !serves {
                adapters.expected(&r.id, true);
            }
        }
        let Some(mut beats) = log.beats().await?.filter(|_| !adapters.all(clock::now()).is_empty()) else {
            return Ok((adapters, None));
        };
        let heard = adapters.clone();
        let listening = tokio::spawn(async move {
            while let Some(channel) = beats.recv().await {
                heard.beat(&channel);
            }
        });
        Ok((adapters, Some(listening)))
    }

    /// A new channel is given the time of one silence to be heard of. An adapter that is `ever` there is one of our own processes,
    /// of which nobody has to be told how to start it.
    fn expected(&self, channel: &str, ever: bool) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(channel.to_owned(), Heard { at: clock::now(), ever });
    }

    /// A beat of a channel that is none of ours is nobody's.
    fn beat(&self, channel: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(heard) = known.get_mut(channel) {
            *heard = Heard { at: clock::now(), ever: true };
        }
    }

    /// Since when nothing is heard of a channel's adapter, if that is too long.
    #[must_use]
    pub fn silent_since(&self, channel: &str, now: Timestamp) -> Option<Timestamp> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(channel).map(|heard| heard.at).filter(|at| now.since(*at) > SILENCE_MS)
    }

    /// Whether a channel's adapter was not heard of since this process started.
    #[must_use]
    pub fn unheard(&self, channel: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(channel).is_some_and(|heard| !heard.ever)
    }

    /// Every such channel, and whether its adapter is there.
    #[must_use]
    pub fn all(&self, now: Timestamp) -> Vec<(String, bool)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|(channel, heard)| (channel.clone(), now.since(heard.at) <= SILENCE_MS)).collect()
    }
}

/// Says that these channels are served here, until `stop` turns true.
pub async fn beat(log: Arc<dyn Log>, channels: Vec<String>, mut stop: watch::Receiver<bool>) {
    loop {
        for channel in &channels {
            if let Err(error) = log.beat(channel).await {
                tracing::debug!(%error, channel, "cannot say that the channel is served");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_seconds_of_silence_are_an_absence_and_a_beat_ends_it() {
        let adapters = Adapters::default();
        adapters.expected("tg", false);
        adapters.beat("stranger");
        assert!(adapters.unheard("tg") && !adapters.unheard("stranger"), "it did not start yet");
        let now = clock::now();
        assert_eq!(adapters.all(now), [("tg".to_owned(), true)]);
        let later = now.plus(SILENCE_MS + 1);
        assert_eq!(adapters.all(later), [("tg".to_owned(), false)]);
        assert!(adapters.silent_since("tg", later).is_some() && adapters.silent_since("stranger", later).is_none());
        adapters.beat("tg");
        assert!(!adapters.unheard("tg"));
        assert_eq!(adapters.silent_since("tg", clock::now()), None);
    }
}
