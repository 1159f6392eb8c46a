//! What an operator has to be told of as it happens: a channel that stopped, or is only probed, and a memory that is too small.

use crate::metrics::Metrics;
use std::collections::BTreeMap;
use std::time::Duration;
use switchboard_adapter_sdk::redact;
use switchboard_routing_rules::decide::{FAILING, PAUSED_BY_OPERATOR};
use switchboard_routing_rules::event::{Event, Private, Public};
use switchboard_routing_rules::state::State;
use tokio::time::Instant;

/// How often a memory that is too small is told of, however often it is.
const AGAIN: Duration = Duration::from_secs(3_600);

/// How a channel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Sends,
    /// It failed several times in a row: one attempt a minute goes out.
    Probed,
    Paused,
}

impl Health {
    fn of(failures: u32, paused: Option<&str>) -> Health {
        match paused {
            Some(_) => Health::Paused,
            None if failures >= FAILING => Health::Probed,
            None => Health::Sends,
        }
    }
}

/// What came of an attempt that failed, in words.
fn failed(event: &Event) -> Option<String> {
    match (&event.public, &event.private) {
        // Its words may quote what somebody wrote: they are told only where it has no code, as where nobody answered.
        (Public::AttemptEnded { code: Some(code), .. }, _) => Some(code.clone()),
        (Public::AttemptEnded { .. }, Some((_, Private::Attempt { detail, .. }))) => {
            detail.as_deref().map(|said| redact::text(said, &[]))
        }
        _ => None,
    }
}

/// What was told last.
pub(super) struct Alarms {
    channels: BTreeMap<String, Health>,
    forgot: Option<Instant>,
}

impl Alarms {
    /// What is so already when a router begins to lead was told by the one before it.
    pub(super) fn of(state: &State) -> Alarms {
        let health = |c: &switchboard_routing_rules::state::Channel| Health::of(c.failures, c.paused.as_deref());
        Alarms { channels: state.channels.iter().map(|(n, c)| (n.clone(), health(c))).collect(), forgot: None }
    }

    /// Tells what durable events changed.
    pub(super) fn see(&mut self, events: &[Event], metrics: &Metrics) {
        for (at, event) in events.iter().enumerate() {
            if let Public::ChannelHealth { channel, failures, paused, .. } = &event.public {
                // The attempt that failed is told of right after what it does to its channel.
                let why = events.get(at + 1).filter(|_| *failures > 0).and_then(failed);
                self.channel(channel, *failures, paused.as_deref(), why.as_deref(), metrics);
            }
        }
    }

    fn channel(&mut self, channel: &str, failures: u32, paused: Option<&str>, why: Option<&str>, metrics: &Metrics) {
        let now = Health::of(failures, paused);
        if failures == 1 && now == Health::Sends {
            tracing::info!(channel, why, "an attempt to send failed, and is made again");
        }
        let before = self.channels.insert(channel.to_owned(), now).unwrap_or(Health::Sends);
        match (before, now) {
            (before, now) if before == now => return,
            (_, Health::Paused) => {
                let why = paused.unwrap_or_default();
                if why == PAUSED_BY_OPERATOR {
                    tracing::info!(channel, "the channel is paused by an operator: nothing is sent on it");
                } else {
                    tracing::error!(
                        channel,
                        why,
                        "the channel is paused: nothing is sent on it until that is mended and somebody says `switchboard channels \
                         resume {channel}`; a change of the configuration itself needs a restart"
                    );
                }
            }
            (Health::Paused, Health::Probed) => {
                tracing::info!(
                    channel,
                    "what was refused is another one now: one attempt is made until one gets through"
                );
            }
            (_, Health::Probed) => {
                tracing::warn!(
                    channel,
                    failures,
                    why,
                    "the channel fails: one attempt a minute is made until one gets through"
                );
            }
            (_, Health::Sends) => tracing::info!(channel, "the channel sends again"),
        }
        metrics.channel_health(channel, now.as_str());
    }

    /// Ids were forgotten before their time, for lack of room.
    pub(super) fn forgot(&mut self, ids: usize, kept: usize, metrics: &Metrics) {
        metrics.duplicates_forgotten(ids);
        if self.forgot.is_none_or(|at| at.elapsed() >= AGAIN) {
            self.forgot = Some(Instant::now());
            tracing::error!(
                ids,
                kept,
                "the memory of duplicates is full, and the oldest ids are forgotten: what is delivered again after that is \
                 routed again; raise `limits.duplicates`"
            );
        }
    }
}

impl Health {
    fn as_str(self) -> &'static str {
        match self {
            Health::Sends => "sends",
            Health::Probed => "probed",
            Health::Paused => "paused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use switchboard_routing_rules::ids::Salt;

    fn health(failures: u32, paused: Option<&str>) -> Event {
        let paused = paused.map(str::to_owned);
        Public::ChannelHealth { channel: "sms".into(), failures, probe_at: None, paused }.into()
    }

    fn counted(metrics: &Metrics, line: &str) -> bool {
        metrics.text(0, &State::new(Salt([0; 16])), clock::now()).lines().any(|l| l == line)
    }

    #[test]
    fn a_channel_that_stops_is_told_of_once_and_not_with_every_failure() {
        let (mut alarms, metrics) = (Alarms::of(&State::new(Salt([0; 16]))), Metrics::default());
        let refused = Some("the provider refused our credentials");
        let told = [1, 4, 5, 5, 6, 7].map(|failures| health(failures, None));
        alarms.see(&told, &metrics);
        alarms.see(&[health(7, refused), health(8, refused)], &metrics);
        alarms.see(&[health(0, None), health(1, None), health(2, refused)], &metrics);
        for line in [
            "switchboard_channel_changes_total{channel=\"sms\",health=\"probed\"} 1",
            "switchboard_channel_changes_total{channel=\"sms\",health=\"paused\"} 2",
            "switchboard_channel_changes_total{channel=\"sms\",health=\"sends\"} 1",
        ] {
            assert!(counted(&metrics, line), "{line}");
        }
    }
}
