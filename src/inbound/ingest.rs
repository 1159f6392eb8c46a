//! The way into IN: what is large becomes a blob first, and a record counts only once it is durable.

use crate::log::{Class, InRecord, Ingested, Log, LogError};
use crate::metrics::Metrics;
use base64::Engine as _;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_adapter_sdk::{Opened, signature::sha256_hex};
use switchboard_envelope::{
    Attachment, Content, Inbound, MAX_ENVELOPE, Message, Raw, Timestamp, Unparsed, WireError, event_id,
};

/// Content over this becomes a blob.
const CONTENT_MAX: usize = 64 * 1024;
/// What stays of such a text, to read and to match on.
const EXCERPT: usize = 16 * 1024;
/// Raw bodies over this become a blob.
pub(super) const RAW_INLINE_MAX: usize = 16 * 1024;

/// Ingests envelopes.
#[derive(Clone)]
pub struct Ingest {
    pub log: Arc<dyn Log>,
    pub metrics: Arc<Metrics>,
}

impl Ingest {
    /// Stores one envelope durably.
    ///
    /// # Errors
    /// When the log is full or did not answer; the caller tells its counterpart to come again.
    pub async fn one(&self, mut inbound: Inbound) -> Result<Ingested, LogError> {
        match &mut inbound {
            Inbound::Message(m) => self.outsource(m).await?,
            Inbound::Echo(e) => self.outsource_content(&blob_scope(&e.channel, &e.thread), &mut e.content).await?,
            Inbound::Unparsed(u) => self.outsource_raw(&u.channel, &mut u.raw).await?,
            _ => {}
        }
        if let Err(e) = inbound.validate() {
            return Err(LogError::Refused(e.to_string()));
        }
        let data = inbound.to_vec();
        if data.len() > MAX_ENVELOPE {
            // Whoever reads IN would refuse it then.
            return Err(LogError::Refused(WireError::TooLarge { size: data.len() }.to_string()));
        }
        let class =
            if matches!(inbound, Inbound::Message(_) | Inbound::Unparsed(_)) { Class::Message } else { Class::Vital };
        let record =
            InRecord { id: inbound.id().to_owned(), channel: inbound.channel().to_owned(), class, data: data.into() };
        let result = self.log.ingest(record).await;
        match &result {
            Ok(Ingested::Stored(_)) => self.metrics.ingested(inbound.channel(), inbound.kind()),
            Ok(Ingested::Duplicate) => self.metrics.duplicate(inbound.channel()),
            Err(_) => self.metrics.log_error("ingest"),
        }
        result
    }

    /// Stores one envelope that was read out of a request. An adapter leaves a long body out of what it made of it: here the
    /// body becomes a blob, durable before the record that names it.
    ///
    /// # Errors
    /// As [`Ingest::one`].
    pub async fn of_request(&self, mut inbound: Inbound, body: &Bytes) -> Result<Ingested, LogError> {
        let kept = match &mut inbound {
            Inbound::Message(m) => m.raw.as_mut().map(|raw| (blob_scope(&m.channel, &m.thread), raw)),
            Inbound::Unparsed(u) => Some((u.channel.clone(), &mut u.raw)),
            _ => None,
        };
        if let Some((scope, raw)) = kept.filter(|(_, raw)| raw.inline.is_none() && raw.blob.is_none()) {
            raw.blob = Some(self.log.put_blob(&scope, body.clone()).await?);
        }
        self.one(inbound).await
    }

    /// Stores one envelope that a list gave. One that breaks the envelope's rules is kept in the quarantine in its place, for who
    /// asks again would be given it again, and nothing behind it.
    ///
    /// # Errors
    /// As [`Ingest::one`].
    pub async fn or_quarantine(&self, inbound: Inbound, now: Timestamp) -> Result<Ingested, LogError> {
        let written = inbound.to_vec();
        let (channel, raw) = (inbound.channel().to_owned(), kept_of(&inbound).cloned());
        match self.one(inbound).await {
            Err(LogError::Refused(why)) => {
                let raw = raw.unwrap_or_else(|| Raw {
                    content_type: "application/json".into(),
                    blob: None,
                    inline: Some(base64::engine::general_purpose::STANDARD.encode(&written)),
                    meta: BTreeMap::new(),
                });
                let unparsed = Unparsed {
                    id: event_id(&channel, "unparsed", &sha256_hex(&written)),
                    channel,
                    reason: format!("the adapter's envelope is invalid: {why}"),
                    at: now,
                    raw,
                };
                self.one(Inbound::Unparsed(unparsed)).await
            }
            stored => stored,
        }
    }

    /// Stores what was read out of `body`, with the files that it held: they are durable before the record that names them.
    ///
    /// # Errors
    /// As [`Ingest::one`]. Some of the events may be stored then; all of them are given again.
    pub async fn opened(&self, opened: Opened, body: &Bytes) -> Result<(), LogError> {
        let mut files = opened.files.into_iter();
        for mut event in opened.events {
            let place = match &mut event {
                Inbound::Message(m) => Some((blob_scope(&m.channel, &m.thread), &mut m.content)),
                Inbound::Echo(e) => Some((blob_scope(&e.channel, &e.thread), &mut e.content)),
                _ => None,
            };
            if let Some((scope, content)) = place {
                for (attachment, file) in content.attachments.iter_mut().zip(&mut files) {
                    attachment.blob = Some(self.log.put_blob(&scope, file).await?);
                }
            }
            // Without a body the event is as it was stored before.
            if body.is_empty() {
                self.one(event).await?
            } else {
                self.of_request(event, body).await?
            };
        }
        Ok(())
    }

    async fn outsource(&self, m: &mut Message) -> Result<(), LogError> {
        let scope = blob_scope(&m.channel, &m.thread);
        if let Some(raw) = &mut m.raw {
            self.outsource_raw(&scope, raw).await?;
        }
        self.outsource_content(&scope, &mut m.content).await
    }

    async fn outsource_content(&self, scope: &str, content: &mut Content) -> Result<(), LogError> {
        if let Some(html) = content.html.take_if(|h| h.len() > CONTENT_MAX) {
            let attachment = self.attach(scope, "message.html", "text/html", html).await?;
            content.attachments.push(attachment);
        }
        if content.text.len() > CONTENT_MAX {
            let excerpt: String = content.text.chars().take(EXCERPT / 4).collect();
            let whole = std::mem::replace(&mut content.text, excerpt);
            let attachment = self.attach(scope, "message.txt", "text/plain; charset=utf-8", whole).await?;
            content.attachments.push(attachment);
        }
        Ok(())
    }

    async fn attach(&self, scope: &str, name: &str, mime: &str, text: String) -> Result<Attachment, LogError> {
        let size = text.len() as u64;
        let blob = self.log.put_blob(scope, Bytes::from(text)).await?;
        Ok(Attachment { name: name.into(), mime: mime.into(), size, blob: Some(blob), ..Attachment::default() })
    }

    async fn outsource_raw(&self, scope: &str, raw: &mut Raw) -> Result<(), LogError> {
        let long = raw.inline.as_ref().is_some_and(|i| i.len() > RAW_INLINE_MAX * 4 / 3 + 4);
        if !long {
            return Ok(());
        }
        if let Some(bytes) = raw.inline.take().and_then(|i| base64::engine::general_purpose::STANDARD.decode(i).ok()) {
            raw.blob = Some(self.log.put_blob(scope, bytes.into()).await?);
        }
        Ok(())
    }
}

/// What is kept of the provider's own words.
fn kept_of(inbound: &Inbound) -> Option<&Raw> {
    match inbound {
        Inbound::Message(m) => m.raw.as_ref(),
        Inbound::Unparsed(u) => Some(&u.raw),
        _ => None,
    }
}

/// Blobs are scoped by channel and thread, so that no two people share one.
#[must_use]
pub fn blob_scope(channel: &str, thread: &str) -> String {
    format!("{channel}/{thread}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::{Fate, MemoryLog, MemoryOptions};
    use switchboard_envelope::{Address, ConsentChange, ConsentState, Echo, Visibility};

    fn message(text: &str, attachments: Vec<Attachment>) -> Message {
        Message {
            id: "sms:message:1".into(),
            channel: "sms".into(),
            thread: "+1555".into(),
            at: Timestamp(1),
            received_at: Timestamp(1),
            from: Address::new("phone", "+1555"),
            to: None,
            content: Content { attachments, ..Content::text(text) },
            references: vec![],
            provider_id: None,
            visibility: Visibility::Private,
            automatic: false,
            authenticated: None,
            meta: BTreeMap::new(),
            raw: None,
            traceparent: None,
            mail: None,
        }
    }

    fn left_out() -> Option<Raw> {
        Some(Raw { content_type: "text/plain".into(), blob: None, inline: None, meta: BTreeMap::new() })
    }

    /// Stores something that consists of a blob and of a record that names it.
    async fn store(way: usize, ingest: &Ingest) -> Result<(), LogError> {
        let long = "a long story ".repeat(10_000);
        let body = Bytes::from_static(b"the body");
        match way {
            0 => ingest.one(Inbound::Message(Box::new(message(&long, vec![])))).await.map(drop),
            1 => {
                let m = Message { raw: left_out(), ..message("hello", vec![]) };
                ingest.of_request(Inbound::Message(Box::new(m)), &body).await.map(drop)
            }
            2 => {
                let raw = left_out().expect("raw");
                let (id, reason) = ("sms:unparsed:1".to_owned(), "nobody can read it".to_owned());
                let unparsed = Unparsed { id, channel: "sms".into(), reason, at: Timestamp(1), raw };
                ingest.of_request(Inbound::Unparsed(unparsed), &body).await.map(drop)
            }
            3 => {
                let m = message("hello", vec![Attachment::default()]);
                let opened = Opened { events: vec![Inbound::Message(Box::new(m))], files: vec![body] };
                ingest.opened(opened, &Bytes::new()).await
            }
            _ => ingest.one(echo(&long)).await.map(drop),
        }
    }

    fn echo(text: &str) -> Inbound {
        Inbound::Echo(Box::new(Echo {
            id: "sms:echo:1".into(),
            channel: "sms".into(),
            thread: "+1555".into(),
            at: Timestamp(1),
            provider_id: "P1".into(),
            send: None,
            part: None,
            n: None,
            to: Address::new("phone", "+1555"),
            content: Content::text(text),
        }))
    }

    /// Whatever becomes of the writes, no record is there whose blob is not.
    #[tokio::test]
    async fn a_blob_is_durable_before_the_record_that_names_it() {
        for way in 0..5 {
            for fates in [&[Fate::RequestLost][..], &[Fate::Answered, Fate::RequestLost]] {
                let log = MemoryLog::new(&MemoryOptions::default());
                let ingest = Ingest { log: Arc::new(log.clone()), metrics: Arc::new(Metrics::default()) };
                fates.iter().for_each(|fate| log.force(*fate));
                assert!(store(way, &ingest).await.is_err(), "{way} {fates:?}: what is not stored is not acknowledged");
                assert!(log.everything_in().is_empty(), "{way} {fates:?}: a record without its blob");
                store(way, &ingest).await.expect("the provider comes again");
                assert_eq!(log.everything_in().len(), 1);
            }
        }
    }

    #[tokio::test]
    async fn what_we_wrote_elsewhere_is_no_longer_in_its_record_than_what_a_customer_wrote() {
        let log = MemoryLog::new(&MemoryOptions::default());
        let ingest = Ingest { log: Arc::new(log.clone()), metrics: Arc::new(Metrics::default()) };
        let whole = "a long story ".repeat(10_000);
        ingest.one(echo(&whole)).await.expect("stored");
        let stored = log.everything_in().remove(0);
        let Ok(Inbound::Echo(e)) = Inbound::from_slice(&stored.data) else { panic!("no echo") };
        assert!(stored.data.len() < CONTENT_MAX && whole.starts_with(&e.content.text));
        let file = e.content.attachments[0].blob.clone().expect("a file");
        let kept = log.get_blob("sms/+1555", &file).await.expect("an answer").expect("the whole text");
        assert!(kept == whole.as_bytes());
    }

    /// A list gives it again and again, and whatever is newer only behind it.
    #[tokio::test]
    async fn a_record_of_a_list_that_breaks_the_rules_is_quarantined_and_stops_nothing() {
        let log = MemoryLog::new(&MemoryOptions::default());
        let ingest = Ingest { log: Arc::new(log.clone()), metrics: Arc::new(Metrics::default()) };
        let consent = |address: &str| {
            Inbound::Consent(ConsentChange {
                id: format!("handle:consent:{address}"),
                channel: "handle".into(),
                address: Address::new("twitter", address),
                state: ConsentState::OptedOut,
                at: Timestamp(1),
                reason: None,
                topic: None,
            })
        };
        assert!(matches!(ingest.one(consent("")).await, Err(LogError::Refused(_))));
        for _ in 0..2 {
            ingest.or_quarantine(consent(""), Timestamp(5)).await.expect("kept");
            ingest.or_quarantine(consent("2"), Timestamp(5)).await.expect("stored");
        }
        let stored = log.everything_in();
        let read: Vec<Inbound> = stored.iter().map(|s| Inbound::from_slice(&s.data).expect("an envelope")).collect();
        let [Inbound::Unparsed(unparsed), Inbound::Consent(_)] = &read[..] else { panic!("{read:?}") };
        assert!(unparsed.reason.contains("envelope is invalid") && unparsed.raw.inline.is_some(), "{unparsed:?}");
    }

    /// What no reader of IN takes is not acknowledged as if it were stored.
    #[tokio::test]
    async fn a_record_that_nobody_could_read_is_refused() {
        let log = MemoryLog::new(&MemoryOptions::default());
        let ingest = Ingest { log: Arc::new(log.clone()), metrics: Arc::new(Metrics::default()) };
        let consent = |length: usize| {
            Inbound::Consent(ConsentChange {
                id: "handle:consent:1".into(),
                channel: "handle".into(),
                address: Address::new("twitter", "1"),
                state: ConsentState::OptedOut,
                at: Timestamp(1),
                reason: Some("r".repeat(length)),
                topic: None,
            })
        };
        let around = consent(0).to_vec().len();
        let refused = ingest.one(consent(MAX_ENVELOPE + 1 - around)).await;
        assert!(matches!(refused, Err(LogError::Refused(why)) if why.contains("over the limit")));
        ingest.one(consent(MAX_ENVELOPE - around)).await.expect("it fits");
        let stored = log.everything_in();
        assert_eq!(stored.len(), 1);
        assert!(Inbound::from_slice(&stored[0].data).is_ok());
    }
}
