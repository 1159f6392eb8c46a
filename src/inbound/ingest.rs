//! The way into IN: what is large becomes a blob first, and a record counts only once it is durable.

use crate::log::{Class, InRecord, Ingested, Log, LogError};
use crate::metrics::Metrics;
use base64::Engine as _;
use bytes::Bytes;
use std::sync::Arc;
use switchboard_adapter_sdk::Opened;
use switchboard_envelope::{Attachment, Inbound, Message, Raw};

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

/// Blobs are scoped by channel and thread, so that no two people share one.
#[must_use]
pub fn blob_scope(channel: &str, thread: &str) -> String {
    format!("{channel}/{thread}")
}
