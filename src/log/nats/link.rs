//! The connection: every question has a time-out of its own, and is given up when the connection is lost.

use super::durable;
use crate::log::LogError;
use async_nats::{Client, HeaderMap, Message, Request, RequestErrorKind, ServerError, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Error codes of JetStream's API that mean something to us.
pub(super) mod code {
    pub(in crate::log::nats) const CONSUMER_NOT_FOUND: u64 = 10014;
    pub(in crate::log::nats) const NO_RESOURCES: u64 = 10023;
    pub(in crate::log::nats) const NO_JETSTREAM_FOR_ACCOUNT: u64 = 10039;
    pub(in crate::log::nats) const NO_MESSAGE: u64 = 10037;
    pub(in crate::log::nats) const STORAGE_EXCEEDED: u64 = 10047;
    pub(in crate::log::nats) const TOO_LARGE: u64 = 10054;
    pub(in crate::log::nats) const ID_IN_PROCESS: u64 = 10158;
    pub(in crate::log::nats) const STREAM_NOT_FOUND: u64 = 10059;
    pub(in crate::log::nats) const WRONG_LAST: u64 = 10071;
    pub(in crate::log::nats) const NO_JETSTREAM: u64 = 10076;
    pub(in crate::log::nats) const STORE_FAILED: u64 = 10077;
    pub(in crate::log::nats) const WRONG_LAST_ANY: u64 = 10164;
}

/// What a refused question says.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct ApiError {
    #[serde(default)]
    pub err_code: u64,
    #[serde(default)]
    pub description: String,
}

/// Why there is no answer to build on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server refused.
    Api(ApiError),
    /// Nobody knows whether it happened.
    NoAnswer(String),
}

impl Failure {
    pub(super) fn is(&self, wanted: u64) -> bool {
        matches!(self, Failure::Api(e) if e.err_code == wanted)
    }

    /// LOG, OUT or a bucket does not end where the writer thought.
    pub(super) fn is_wrong_last(&self) -> bool {
        self.is(code::WRONG_LAST) || self.is(code::WRONG_LAST_ANY)
    }

    /// There is no room.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Failure::Api(e) => match e.err_code {
                code::NO_RESOURCES | code::STORAGE_EXCEEDED => true,
                code::STORE_FAILED => e.description.contains("maximum"),
                _ => false,
            },
            Failure::NoAnswer(_) => false,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Api(e) => write!(f, "the broker refused: {} (error {})", e.description, e.err_code),
            Failure::NoAnswer(why) => f.write_str(why),
        }
    }
}

impl From<Failure> for LogError {
    fn from(failure: Failure) -> LogError {
        if failure.is_full() {
            return LogError::Full(failure.to_string());
        }
        match &failure {
            Failure::Api(e) if e.err_code == code::TOO_LARGE => LogError::Refused(failure.to_string()),
            _ => LogError::Unavailable(failure.to_string()),
        }
    }
}

/// The answer to a publish that was stored.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Stored {
    pub seq: u64,
    #[serde(default)]
    pub duplicate: bool,
}

#[derive(Deserialize)]
struct Refusal {
    error: ApiError,
}

/// One connection to the broker, which comes back by itself.
#[derive(Clone)]
pub(super) struct Link {
    pub client: Client,
    /// Changes with each loss of the connection.
    lost: watch::Receiver<u64>,
    /// Changes with each connection.
    connected: watch::Receiver<u64>,
    /// Changes with each thing that the broker does not let us do.
    denied: watch::Receiver<u64>,
    timeout: Duration,
}

/// Where the events of a connection are told.
#[derive(Clone)]
pub(super) struct Events {
    lost: Arc<watch::Sender<u64>>,
    connected: Arc<watch::Sender<u64>>,
    /// Events since the connection was there.
    silent: Arc<AtomicU64>,
    /// What the broker did not let us do, in all.
    denied: Arc<watch::Sender<u64>>,
}

impl Events {
    pub(super) fn new() -> Events {
        Events {
            lost: Arc::new(watch::Sender::new(0)),
            connected: Arc::new(watch::Sender::new(0)),
            silent: Arc::default(),
            denied: Arc::new(watch::Sender::new(0)),
        }
    }

    pub(super) fn hear(&self, event: &async_nats::Event) {
        match event {
            async_nats::Event::Connected => {
                tracing::info!("connected to the broker");
                self.silent.store(0, Ordering::Relaxed);
                self.connected.send_modify(|n| *n += 1);
            }
            async_nats::Event::Disconnected => {
                tracing::warn!("the connection to the broker was lost; connecting again");
                self.lost.send_modify(|n| *n += 1);
            }
            async_nats::Event::SlowConsumer(_) => tracing::debug!("a subscription was too slow; it is read again"),
            async_nats::Event::ServerError(ServerError::Other(said)) if is_denial(said) => {
                self.denied.send_modify(|n| *n += 1);
                let optional = said.to_ascii_lowercase().contains(&durable::QUESTION.to_ascii_lowercase());
                if !optional && self.denied.borrow().is_power_of_two() {
                    tracing::error!(
                        denied = said,
                        "the broker does not let this process do this: `log.nkey` or `log.credentials` must be of the user for its \
                         role, with the permissions of deploy/nats-users.conf"
                    );
                }
            }
            // This process let the connection go: attempts to reach the broker again have no end, and so close nothing.
            async_nats::Event::Closed => tracing::debug!("the connection to the broker is closed"),
            // While the broker is away each attempt says so: told less and less often.
            other if self.silent.fetch_add(1, Ordering::Relaxed).wrapping_add(1).is_power_of_two() => {
                tracing::warn!(event = %other, "the broker cannot be reached; trying again");
            }
            other => tracing::debug!(event = %other, "the broker's connection"),
        }
    }

    pub(super) fn link(&self, client: Client, timeout: Duration) -> Link {
        Link {
            client,
            lost: self.lost.subscribe(),
            connected: self.connected.subscribe(),
            denied: self.denied.subscribe(),
            timeout,
        }
    }
}

fn is_denial(said: &str) -> bool {
    said.to_ascii_lowercase().contains("permissions violation")
}

impl Link {
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Changes with each loss of the connection, from now on.
    pub(super) fn losses(&self) -> watch::Receiver<u64> {
        let mut lost = self.lost.clone();
        lost.mark_unchanged();
        lost
    }

    /// Changes with each connection, from now on.
    pub(super) fn connections(&self) -> watch::Receiver<u64> {
        let mut connected = self.connected.clone();
        connected.mark_unchanged();
        connected
    }

    /// Changes with each thing that the broker does not let us do, from now on.
    pub(super) fn denials(&self) -> watch::Receiver<u64> {
        let mut denied = self.denied.clone();
        denied.mark_unchanged();
        denied
    }

    /// Asks, and waits for one answer.
    pub(super) async fn ask(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Message, Failure> {
        let mut lost = self.losses();
        let mut request = Request::new().payload(payload).timeout(None);
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        let sent = tokio::time::timeout(self.timeout, self.client.send_request(subject, request));
        tokio::select! {
            biased;
            answer = sent => match answer {
                Err(_) => Err(no_answer(format!("no answer within {:?}", self.timeout))),
                Ok(Err(e)) if e.kind() == RequestErrorKind::NoResponders => Err(no_answer(
                    "nobody answers: the stream has no leader, or JetStream is not enabled".into())),
                Ok(Err(e)) if e.kind() == RequestErrorKind::MaxPayloadExceeded => {
                    Err(Failure::Api(ApiError { err_code: code::TOO_LARGE, description: e.to_string() }))
                }
                Ok(Err(e)) => Err(no_answer(e.to_string())),
                Ok(Ok(message)) => Ok(message),
            },
            _ = lost.changed() => Err(no_answer("the connection was lost".into())),
        }
    }

    /// Publishes into a stream; `Ok` means that the stream's leader stored it.
    pub(super) async fn publish(&self, subject: String, headers: HeaderMap, data: Bytes) -> Result<Stored, Failure> {
        let answer = self.ask(subject, Some(headers), data).await?;
        parse(&answer.payload)
    }

    /// Publishes records in their order without waiting between them, then waits for all. An error says nothing about the
    /// others: some may be stored.
    pub(super) async fn publish_in_order(&self, records: Vec<(String, HeaderMap, Bytes)>) -> Result<(), Failure> {
        let mut lost = self.losses();
        let inbox = self.client.new_inbox();
        let subscribed = self.client.subscribe(format!("{inbox}.*")).await;
        let mut answers = subscribed.map_err(|e| no_answer(e.to_string()))?;
        let count = records.len();
        let all = async {
            for (i, (subject, headers, data)) in records.into_iter().enumerate() {
                let reply = format!("{inbox}.{i}");
                let sent = self.client.publish_with_reply_and_headers(subject, reply, headers, data).await;
                sent.map_err(|e| no_answer(e.to_string()))?;
            }
            for _ in 0..count {
                let answer = tokio::time::timeout(self.timeout, answers.next()).await;
                let answer = answer.ok().flatten().ok_or_else(|| no_answer("a record was not answered".into()))?;
                if status(&answer).is_some() {
                    return Err(no_answer("nobody answers: the stream has no leader".into()));
                }
                parse::<Stored>(&answer.payload)?;
            }
            Ok(())
        };
        tokio::select! {
            biased;
            answered = all => answered,
            _ = lost.changed() => Err(no_answer("the connection was lost".into())),
            () = tokio::time::sleep(self.timeout.saturating_mul(2)) => Err(no_answer("the connection is stuck".into())),
        }
    }

    /// A question to JetStream's API.
    pub(super) async fn api<T: DeserializeOwned>(&self, call: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|e| no_answer(e.to_string()))?;
        let answer = self.ask(format!("$JS.API.{call}"), None, body.into()).await?;
        parse(&answer.payload)
    }
}

pub(super) fn no_answer(why: String) -> Failure {
    Failure::NoAnswer(why)
}

fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Failure> {
    if let Ok(refusal) = serde_json::from_slice::<Refusal>(payload) {
        return Err(Failure::Api(refusal.error));
    }
    serde_json::from_slice(payload).map_err(|e| no_answer(format!("an answer that cannot be read: {e}")))
}

/// The status of a message that carries no record.
pub(super) fn status(message: &Message) -> Option<u16> {
    message.status.filter(|s| *s != StatusCode::OK).map(|s| s.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_refusals_are_told_apart() {
        let stored = parse::<Stored>(br#"{"stream":"S","seq":7,"duplicate":true}"#);
        assert_eq!(stored, Ok(Stored { seq: 7, duplicate: true }));
        let refused = parse::<Stored>(
            br#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"S","seq":0}"#,
        );
        assert!(refused.as_ref().is_err_and(Failure::is_full), "{refused:?}");
        let wrong =
            parse::<Stored>(br#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 4"}}"#);
        assert!(wrong.is_err_and(|e| e.is_wrong_last()));
        assert!(matches!(parse::<Stored>(b"nonsense"), Err(Failure::NoAnswer(_))));
    }
}
