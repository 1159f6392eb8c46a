//! The channel `webhook`: whatever speaks HTTP can be a channel. Both directions are one signed JSON request a message, after
//! the Standard Webhooks specification (<https://www.standardwebhooks.com>).
//!
//! Customers' messages come in as inbound envelopes, and ours go out as the `send` record. The receiver drops a `webhook-id`
//! that it has seen, so an attempt whose fate is unknown is made again under the same id.
#![forbid(unsafe_code)]

mod read;
mod send;
mod signature;

pub use signature::{InvalidSecret, SigningKey, TOLERANCE_MS};

use bytes::Bytes;
use http::Method;
use std::fmt;
use std::time::Duration;
use switchboard_adapter_sdk::{
    Adapter, Answer, AttemptOutcome, Call, CallBody, RawRequest, Secret, Verdict, client::leads_inside,
};
use switchboard_envelope::{Attachment, ChannelProfile, Inbound, Raw, Send, Timestamp, is_id};
use thiserror::Error;
use url::Url;

/// The most files of one message, in either direction.
pub const MAX_FILES: usize = 30;

const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// An address of a file longer than this is none.
const MAX_URL: usize = 2048;

/// The settings of a channel, as they are written down. `Debug` leaves out the address, whose query may hold a token.
#[derive(Clone)]
pub struct WebhookConfig {
    /// Where our messages are posted.
    pub url: String,
    /// `whsec_…`: each signs what we send, and any may have signed what comes in, so that a secret can be rotated.
    pub secrets: Vec<Secret>,
    /// The `kind` of address of its customers; the channel's id when it is not written.
    pub address_kind: Option<String>,
    /// Our files have addresses that the receiver can fetch.
    pub has_links: bool,
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("channels.{channel}.{key}: {problem}")]
pub struct ConfigProblem {
    pub channel: String,
    pub key: &'static str,
    pub problem: String,
}

impl fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookConfig").field("address_kind", &self.address_kind).finish_non_exhaustive()
    }
}

/// A channel over signed HTTP. `Debug` shows the host alone of where it posts to.
pub struct Webhook {
    channel: String,
    url: Url,
    keys: Vec<SigningKey>,
    address_kind: String,
    has_links: bool,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (channel, host) = (&self.channel, self.url.host_str());
        f.debug_struct("Webhook").field("channel", channel).field("host", &host).finish_non_exhaustive()
    }
}

impl Webhook {
    /// The adapter of the channel with this id.
    ///
    /// # Errors
    /// With every problem of the settings at once.
    pub fn new(channel: &str, config: WebhookConfig) -> Result<Webhook, Vec<ConfigProblem>> {
        let mut found = vec![];
        let mut problem = |key: &'static str, problem: String| {
            found.push(ConfigProblem { channel: channel.to_owned(), key, problem });
        };
        if !is_id(channel) {
            problem("id", "write a-z, 0-9 and `-`".into());
        }
        let url = endpoint(&config.url).map_err(|e| problem("url", e)).ok();
        let address_kind = config.address_kind.unwrap_or_else(|| channel.to_owned());
        if let Err(e) = address_kind_of(&address_kind) {
            problem("address_kind", e);
        }
        let mut keys = vec![];
        for secret in &config.secrets {
            match SigningKey::parse(secret.expose()) {
                Ok(key) => keys.push(key),
                Err(e) => problem("secret", e.to_string()),
            }
        }
        if config.secrets.is_empty() {
            problem("secret", "is missing".into());
        }
        let (Some(url), true) = (url, found.is_empty()) else { return Err(found) };
        Ok(Webhook { channel: channel.to_owned(), url, keys, address_kind, has_links: config.has_links })
    }
}

/// An address that messages can be posted to.
///
/// # Errors
/// With a sentence that says what to write.
pub fn endpoint(text: &str) -> Result<Url, String> {
    let wrong = "is not a web address: write `https://`, a host and a path";
    let url = Url::parse(text).map_err(|_| wrong.to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong.into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no user and no password: the signature is the credential".into());
    }
    if url.fragment().is_some() {
        return Err("must end before `#`".into());
    }
    Ok(url)
}

/// What may stand before the `:` of an identity.
///
/// # Errors
/// With a sentence that says what to write.
pub fn address_kind_of(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if (1..=32).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 32 of a-z, 0-9, `-` and `_`: write `address_kind = \"customer\"`".into())
    }
}

impl Adapter for Webhook {
    fn profile(&self) -> ChannelProfile {
        let no_files = "files go out as links: set http.public_url";
        ChannelProfile {
            max_attachments: u32::try_from(MAX_FILES).ok(),
            no_files: (!self.has_links).then(|| no_files.to_owned()),
            proactive: true,
            same_id_retry: true,
            ..ChannelProfile::new("webhook", self.address_kind.clone())
        }
    }

    fn verify(&self, request: &RawRequest) -> Verdict {
        signature::verify(&self.keys, request)
    }

    fn screen(&self, head: &RawRequest) -> Verdict {
        signature::Signed::of(head).map_or_else(|wrong| wrong, |_| Verdict::Genuine)
    }

    fn parse(&self, request: &RawRequest) -> Vec<Inbound> {
        read::request(self, &read::Source::of(request))
    }

    fn reparse(&self, raw: &Raw, body: Bytes, received_at: Timestamp) -> Vec<Inbound> {
        let part = |name: &str| raw.meta.get(name).map(String::as_str);
        read::request(
            self,
            &read::Source { id: part(signature::ID), content_type: &raw.content_type, body: &body, received_at },
        )
    }

    fn encode(&self, send: &Send) -> Result<Call, AttemptOutcome> {
        send::encode(self, send)
    }

    fn signed(&self, call: Call, now: Timestamp) -> Call {
        signature::sign(&self.keys, call, now)
    }

    fn classify(&self, send: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
        send::classify(send, answer, now)
    }

    fn fetch(&self, attachment: &Attachment) -> Option<Call> {
        let url = Url::parse(attachment.url.as_deref()?).ok()?;
        // A customer may have chosen the address: only the operator's own choice may lead into the network that we stand in.
        let allowed = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && (!leads_inside(&url) || url.origin() == self.url.origin());
        allowed.then(|| Call {
            method: Method::GET,
            url: url.into(),
            headers: vec![],
            body: CallBody::Empty,
            timeout: CALL_TIMEOUT,
        })
    }

    fn fetches_from(&self) -> Option<String> {
        // Which one that is stays inside: whoever has a link to the file reads this.
        let own = if leads_inside(&self.url) { ", and from the channel's own address" } else { "" };
        Some(format!("public addresses{own}"))
    }
}

#[cfg(test)]
mod tests;
