//! The way into IN: what is large becomes a blob first, and a record counts only once it is durable.

use crate::log::{Class, InRecord, Ingested, Log, LogError};
use crate::metrics::Metrics;
use base64::Engine as _;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_adapter_sdk::{Opened, signature::sha256_hex};
use switchboard_envelope::{Attachment, Inbound, Message, Raw, Timestamp, Unparsed, event_id};

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
            Inbound::Unparsed(u) => self.outsource_raw(&u.channel, &mut u.raw).await?,
            _ => {}
        }
        if let Err(e) = inbound.validate() {
            return Err(LogError::Refused(e.to_string()));
        }
        let class =
            if matches!(inbound, Inbound::Message(_) | Inbound::Unparsed(_)) { Class::Message } else { Class::Vital };
        let record = InRecord {
            id: inbound.id().to_owned(),
            channel: inbound.channel().to_owned(),
            class,
            data: inbound.to_vec().into(),
        };
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
        if let Some(html) = m.content.html.take_if(|h| h.len() > CONTENT_MAX) {
            let attachment = self.attach(&scope, "message.html", "text/html", html).await?;
            m.content.attachments.push(attachment);
        }
        if m.content.text.len() > CONTENT_MAX {
            let excerpt: String = m.content.text.chars().take(EXCERPT / 4).collect();
            let whole = std::mem::replace(&mut m.content.text, excerpt);
            let attachment = self.attach(&scope, "message.txt", "text/plain; charset=utf-8", whole).await?;
            m.content.attachments.push(attachment);
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
    use crate::log::memory::{MemoryLog, MemoryOptions};
    use switchboard_envelope::{Address, ConsentChange, ConsentState};

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
}
