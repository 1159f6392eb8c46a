//! Vonage: text messages by the SMS API and by the Messages API (<https://developer.vonage.com/en/messaging/overview>).
//!
//! `api` chooses which of them sends; what comes in is understood from either, whatever the account is set to: as query, form
//! or JSON. Calls are proved by the account's signature, or where it signs nothing by a secret in the path.
//!
//! For rules a message carries `meta.provider` (`vonage`), `meta.keyword`, `meta.network` (the carrier's code, or the Messages
//! API's other channel), and `meta.binary` (`true`). A part of a longer text carries `part_of`, `part` and `parts`, by which the
//! router joins it.

mod codes;
mod md5;
mod read;
mod send;
mod signature;

use crate::{
    Provider,
    kannel::{check_hook_secret, refuse_content},
    number,
    provider::needs_public_url,
    request::{Source, below_secret},
};
use bytes::Bytes;
use http::Method;
use signature::Signing;
use std::time::Duration;
use switchboard_adapter_sdk::{
    Adapter, Answer, AttemptOutcome, Call, CallBody, ConfigProblem, RawRequest, Secret, Settings, Verdict,
    settings::{Key, Shape, any},
    signature::to_base64,
};
use switchboard_envelope::{Attachment, ChannelProfile, Inbound, Raw, Send, Timestamp};
use url::Url;

/// Where the SMS API is.
const SMS_BASE_URL: &str = "https://rest.nexmo.com";
/// Where the Messages API is.
const MESSAGES_BASE_URL: &str = "https://api.nexmo.com";

const KEYS: &[Key] = &[
    Key::new("api_key", Shape::Text { check: key, pattern: "^[A-Za-z0-9]{1,64}$" }, "the account's API key")
        .required("\"abcd1234\""),
    Key::new("api_secret", Shape::Secret, "the account's API secret").required("{ env = \"NAME\" }"),
    Key::new("from", Shape::Text { check: number::sender, pattern: "" }, "a number in E.164, a short code or a name")
        .required("\"+447700900000\""),
    Key::new("api", Shape::Choice(&["sms", "messages"]), "which API sends").usual("sms"),
    Key::new("signature_secret", Shape::Secrets, "signs what Vonage calls"),
    Key::new("signature_method", Shape::Choice(signature::METHODS), "how, as the account's settings say")
        .usual("sha256hmac"),
    Key::new(
        "signature_age",
        Shape::Span { least: "10s", most: "2d" },
        "how far the time of a signature may be from ours, either way",
    )
    .usual("5m"),
    Key::new(
        "hook_secret",
        Shape::Secrets,
        "stands in the path of every call to us, for an account that signs nothing: 16 to 128 of a-z, A-Z, 0-9, `-` and `_`",
    ),
    Key::new("base_url", Shape::Url, "another address of the API that sends").usual(SMS_BASE_URL),
    Key::new("ttl", Shape::Span { least: "20s", most: "7d" }, "how long Vonage may try to deliver"),
];

/// Vonage.
pub const PROVIDER: Provider = Provider {
    name: "vonage",
    about: "Text messages, through Vonage.",
    keys: KEYS,
    together: &[],
    either: &["signature_secret", "hook_secret"],
    check,
    build: |settings| Ok(Box::new(Vonage::new(settings)?)),
};

/// Longer texts are refused by Vonage.
const MAX_TEXT: u32 = 3_200;
const MAX_REFERENCE: usize = 40;
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const SIGNATURE_AGE_MS: i64 = 300_000;

fn key(text: &str) -> Result<String, String> {
    let is_key = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_key { any(text) } else { Err("is not an API key: write its letters and digits".into()) }
}

fn check(settings: &Settings) -> Vec<ConfigProblem> {
    let mut problems: Vec<_> = check_hook_secret(settings).into_iter().collect();
    if !settings.has("signature_secret") && !settings.has("hook_secret") {
        let write = "is missing: write the account's, as `signature_secret = { env = \"NAME\" }`, or a `hook_secret` where it signs nothing";
        problems.push(settings.problem("signature_secret", write));
    }
    problems.extend(needs_public_url(settings, "Vonage reports deliveries to an address that we give it"));
    problems
}

/// Which API sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    Sms,
    Messages,
}

/// A channel at Vonage.
#[derive(Debug)]
struct Vonage {
    channel: String,
    api: Api,
    send_url: String,
    base: Url,
    api_secret: Secret,
    authorization: Secret,
    from: String,
    signing: Signing,
    hook_secrets: Vec<Secret>,
    /// Where receipts go; it may hold the hook's secret.
    status: Option<Secret>,
    ttl_ms: Option<u64>,
}

impl Vonage {
    fn new(settings: &Settings) -> Result<Vonage, Vec<ConfigProblem>> {
        let missing = |key: &str| vec![settings.problem(key, "is missing")];
        let text = |key: &str| settings.text(key).map(str::to_owned).ok_or_else(|| missing(key));
        let api = if settings.text("api") == Some("messages") { Api::Messages } else { Api::Sms };
        let (usual, path) = match api {
            Api::Sms => (SMS_BASE_URL, "/sms/json"),
            Api::Messages => (MESSAGES_BASE_URL, "/v1/messages"),
        };
        let base = settings.text("base_url").unwrap_or(usual);
        let api_key = text("api_key")?;
        let api_secret = settings.secret("api_secret").cloned().ok_or_else(|| missing("api_secret"))?;
        let secret_path = settings.secret("hook_secret").map(|s| format!("/{}", s.expose())).unwrap_or_default();
        let status = settings.public_url.as_ref();
        let status = status.map(|url| format!("{url}/hooks/{}{secret_path}/status", settings.channel));
        Ok(Vonage {
            channel: settings.channel.clone(),
            api,
            send_url: format!("{base}{path}"),
            base: Url::parse(base).map_err(|_| missing("base_url"))?,
            authorization: Secret::new(format!(
                "Basic {}",
                to_base64(format!("{api_key}:{}", api_secret.expose()).as_bytes())
            )),
            api_secret,
            from: number::Form::Digits.spell(&text("from")?),
            signing: Signing {
                secrets: settings.secrets("signature_secret").to_vec(),
                method: signature::Method::named(settings.text("signature_method").unwrap_or_default()),
                age_ms: settings
                    .span("signature_age")
                    .map_or(SIGNATURE_AGE_MS, |age| i64::try_from(age.as_millis()).unwrap_or(SIGNATURE_AGE_MS)),
                api_key,
            },
            hook_secrets: settings.secrets("hook_secret").to_vec(),
            status: status.map(Secret::new),
            ttl_ms: settings.span("ttl").and_then(|ttl| u64::try_from(ttl.as_millis()).ok()),
        })
    }

    /// The path below the hook, without a secret that stands in it.
    fn source<'a>(&self, request: &'a RawRequest) -> Source<'a> {
        Source::of(request).at(self.kept_path(&request.path))
    }
}

impl Adapter for Vonage {
    fn profile(&self) -> ChannelProfile {
        ChannelProfile {
            max_text: Some(MAX_TEXT),
            max_attachments: Some(0),
            no_files: Some("text messages by Vonage carry text only".into()),
            proactive: true,
            ..ChannelProfile::new("sms", "phone")
        }
    }

    fn screen(&self, head: &RawRequest) -> Verdict {
        if self.hook_secrets.is_empty() {
            return Verdict::Genuine;
        }
        below_secret(&head.path, &self.hook_secrets).map_or_else(|verdict| verdict, |_| Verdict::Genuine)
    }

    fn verify(&self, request: &RawRequest) -> Verdict {
        match self.screen(request) {
            Verdict::Genuine => {}
            other => return other,
        }
        if self.signing.secrets.is_empty() { Verdict::Genuine } else { self.signing.verify(request) }
    }

    fn unsigned_status(&self) -> u16 {
        // Vonage says that a fault of its own may send a call without its signature, and that it repeats what is answered so.
        503
    }

    fn parse(&self, request: &RawRequest) -> Vec<Inbound> {
        read::webhook(self, &self.source(request))
    }

    fn kept_path<'a>(&self, path: &'a str) -> &'a str {
        if self.hook_secrets.is_empty() { path } else { crate::request::behind_secret(path) }
    }

    fn reparse(&self, raw: &Raw, body: Bytes, received_at: Timestamp) -> Vec<Inbound> {
        read::webhook(self, &Source::again(raw, &body, received_at))
    }

    fn encode(&self, send: &Send) -> Result<Call, AttemptOutcome> {
        match refuse_content(&send.content) {
            Some(refused) => Err(refused),
            None => send::encode(self, send),
        }
    }

    fn classify(&self, _send: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
        send::classify(self.api, answer, now)
    }

    fn fetch(&self, attachment: &Attachment) -> Option<Call> {
        let url = Url::parse(attachment.url.as_deref()?).ok()?;
        // The credentials are shown to the API's own hosts only, whatever a webhook names.
        let is_vonage = url.scheme() == "https"
            && url.port().is_none()
            && url.host_str().is_some_and(|host| {
                [".nexmo.com", ".vonage.com"].iter().any(|known| host.ends_with(known)) || host == "nexmo.com"
            });
        let is_trusted = url.origin() == self.base.origin() || is_vonage;
        (is_trusted && url.username().is_empty() && url.password().is_none()).then(|| Call {
            method: Method::GET,
            url: url.into(),
            headers: vec![("authorization", self.authorization.expose().to_owned())],
            body: CallBody::Empty,
            timeout: CALL_TIMEOUT,
        })
    }
}

#[cfg(test)]
mod tests;
