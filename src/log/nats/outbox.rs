//! A channel's OUT records: one durable consumer a channel, shared by whoever serves it.
//!
//! Every wait can be dropped in the middle: the subscription and the count of what was asked for stay in the outbox.

use super::{
    link::{Link, code, no_answer, status},
    names::Names,
    pages,
};
use crate::log::{LogError, Outbox, Seq, Stored};
use async_nats::{Message, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, time::Duration};
use switchboard_envelope::Timestamp;
use tokio::sync::watch;

/// How long a delivered record waits for its acknowledgement before it comes again.
const ACK_WAIT: Duration = Duration::from_secs(15);
/// Records delivered and not acknowledged: the back-pressure.
const MAX_ACK_PENDING: u64 = 256;
const PULL: Duration = Duration::from_secs(20);
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Silence after which the pull is made again.
const SILENCE: Duration = Duration::from_secs(5);

pub(super) struct NatsOutbox {
    link: Link,
    next_subject: String,
    channel: String,
    pull: Option<Pull>,
    /// Where delivered records are acknowledged.
    unacked: BTreeMap<Seq, String>,
}

struct Pull {
    inbox: String,
    messages: Subscriber,
    lost: watch::Receiver<u64>,
    asked: usize,
}

#[derive(Deserialize)]
struct Info {
    config: Map<String, Value>,
}

/// Makes the channel's consumer, or compares the one that is there: it is never made again, for then acknowledged records
/// would be delivered again.
async fn consumer(link: &Link, names: &Names, channel: &str) -> Result<(), LogError> {
    let stream = names.out();
    let config = json!({
        "durable_name": channel,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": super::feed::nanos(ACK_WAIT),
        "max_deliver": -1,
        "max_ack_pending": MAX_ACK_PENDING,
        "filter_subject": names.out_subject(channel),
        "replay_policy": "instant",
    });
    let info: Info = match link.api(&format!("CONSUMER.INFO.{stream}.{channel}"), &json!({})).await {
        Ok(info) => info,
        Err(e) if e.is(code::CONSUMER_NOT_FOUND) => {
            let body = json!({ "stream_name": stream, "config": config });
            link.api(&format!("CONSUMER.DURABLE.CREATE.{stream}.{channel}"), &body).await?
        }
        Err(e) => return Err(e.into()),
    };
    let Value::Object(wanted) = config else { return Ok(()) };
    let differs = wanted.iter().find(|(key, value)| info.config.get(*key) != Some(value));
    match differs {
        None => Ok(()),
        Some((key, value)) => Err(LogError::Refused(format!(
            "consumer `{channel}` of {stream} is not as it must be: {key} is {} and must be {value}; edit it with `nats consumer edit`",
            info.config.get(key).unwrap_or(&Value::Null)
        ))),
    }
}

/// Servers before this one cannot hold a consumer back.
const PAUSES: (u64, u64, u64) = (2, 11, 0);
/// An attempt ends ten minutes after its release at the latest: what is held back for so long is made by nobody.
pub(super) const HELD_MS: i64 = 11 * 60_000;

/// Has a channel's consumer deliver nothing until then, by the broker's clock, or deliver again.
pub(super) async fn hold(link: &Link, names: &Names, channel: &str, until: Option<Timestamp>) -> Result<(), LogError> {
    let info = link.client.server_info();
    if super::setup::version(&info.version).is_none_or(|version| version < PAUSES) {
        let why = format!("nats-server {} cannot hold a consumer back; 2.11 and later can", info.version);
        return Err(LogError::Refused(why));
    }
    let body = until.map_or_else(|| json!({}), |until| json!({ "pause_until": until.to_string() }));
    match link.api::<Value>(&format!("CONSUMER.PAUSE.{}.{channel}", names.out()), &body).await {
        // Nobody takes anything by it.
        Err(e) if e.is(code::CONSUMER_NOT_FOUND) => Ok(()),
        answer => Ok(answer.map(drop)?),
    }
}

impl NatsOutbox {
    pub(super) async fn open(link: Link, names: &Names, channel: &str) -> Result<NatsOutbox, LogError> {
        consumer(&link, names, channel).await?;
        let next_subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{channel}", names.out());
        Ok(NatsOutbox { link, next_subject, channel: channel.to_owned(), pull: None, unacked: BTreeMap::new() })
    }

    async fn subscribed(&mut self) -> Result<&mut Pull, LogError> {
        if self.pull.is_none() {
            let inbox = self.link.client.new_inbox();
            let subscribed = self.link.client.subscribe(inbox.clone()).await;
            let messages = subscribed.map_err(|e| LogError::Unavailable(e.to_string()))?;
            self.pull = Some(Pull { inbox, messages, lost: self.link.losses(), asked: 0 });
        }
        self.pull.as_mut().ok_or_else(|| LogError::Unavailable("the outbox is closed".into()))
    }

    /// The next message, be it a record or a status. Asks for `max` when nothing is asked for.
    async fn message(&mut self, max: usize) -> Result<Message, LogError> {
        let (client, subject) = (self.link.client.clone(), self.next_subject.clone());
        let pull = self.subscribed().await?;
        if pull.asked == 0 {
            let ask = json!({ "batch": max, "expires": super::feed::nanos(PULL), "idle_heartbeat": super::feed::nanos(HEARTBEAT) });
            let asked = client.publish_with_reply(subject, pull.inbox.clone(), Bytes::from(ask.to_string())).await;
            asked.map_err(|e| LogError::Unavailable(e.to_string()))?;
            pull.asked = max;
        }
        tokio::select! {
            biased;
            message = tokio::time::timeout(SILENCE, pull.messages.next()) => {
                message.ok().flatten().ok_or_else(|| LogError::Unavailable("the broker is silent".into()))
            }
            _ = pull.lost.changed() => Err(LogError::Unavailable("the connection was lost".into())),
        }
    }

    fn record(&mut self, message: Message) -> Option<Stored> {
        let reply = message.reply.as_ref()?.to_string();
        let place = pages::place(&reply)?;
        self.unacked.insert(place.seq, reply);
        Some(Stored { seq: place.seq, at: place.at, channel: self.channel.clone(), data: message.payload })
    }

    /// A status instead of a record.
    fn said(&mut self, code: u16, message: &Message) -> Result<(), LogError> {
        match code {
            100 => {}
            404 | 408 => self.nothing_asked(),
            409 if message.description.as_deref().is_some_and(|d| d.contains("Deleted") || d.contains("deleted")) => {
                return Err(LogError::Unavailable("the consumer was deleted".into()));
            }
            409 => self.nothing_asked(),
            other => return Err(no_answer(format!("a pull was refused with status {other}")).into()),
        }
        Ok(())
    }

    fn nothing_asked(&mut self) {
        if let Some(pull) = &mut self.pull {
            pull.asked = 0;
        }
    }

    /// What has arrived already, without waiting.
    fn arrived(&mut self) -> Option<Message> {
        self.pull.as_mut()?.messages.next().now_or_never().flatten()
    }

    async fn wait(&mut self, max: usize) -> Result<Vec<Stored>, LogError> {
        let mut records = Vec::new();
        loop {
            let message = match self.arrived() {
                Some(message) => message,
                None if !records.is_empty() => return Ok(records),
                None => self.message(max).await?,
            };
            if let Some(code) = status(&message) {
                self.said(code, &message)?;
                continue;
            }
            if let Some(pull) = &mut self.pull {
                pull.asked = pull.asked.saturating_sub(1);
            }
            records.extend(self.record(message));
            if records.len() >= max {
                return Ok(records);
            }
        }
    }
}

#[async_trait]
impl Outbox for NatsOutbox {
    async fn next(&mut self, max: usize) -> Result<Vec<Stored>, LogError> {
        let records = self.wait(max.max(1)).await;
        if records.is_err() {
            self.pull = None;
        }
        records
    }

    async fn ack(&mut self, seq: Seq) -> Result<(), LogError> {
        let Some(reply) = self.unacked.remove(&seq) else { return Ok(()) };
        let sent = self.link.client.publish(reply, Bytes::from_static(b"+ACK")).await;
        sent.map_err(|e| LogError::Unavailable(e.to_string()))
    }
}

impl Drop for NatsOutbox {
    /// Hands back what was delivered and not acknowledged, so that another edge need not wait for it.
    fn drop(&mut self) {
        while let Some(message) = self.arrived() {
            if status(&message).is_none() {
                self.record(message);
            }
        }
        let replies: Vec<String> = std::mem::take(&mut self.unacked).into_values().collect();
        let (client, pull) = (self.link.client.clone(), self.pull.take());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            // First nobody listens here any more: else the records would come back to where nobody reads them.
            if let Some(mut pull) = pull {
                let _ = pull.messages.unsubscribe().await;
            }
            for reply in replies {
                let _ = client.publish(reply, Bytes::from_static(b"-NAK")).await;
            }
        });
    }
}
