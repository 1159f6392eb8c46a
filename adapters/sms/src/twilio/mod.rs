//! Twilio: text messages, media and WhatsApp (<https://www.twilio.com/docs/messaging/api>).
//!
//! For rules a message carries `meta.provider` (`twilio`), `meta.keyword` (`STOP`, `START`, `HELP`), `meta.country` (the
//! sender's, where Twilio says), `meta.service` (the messaging service that received it), `meta.forwarded` (`true`) and
//! `meta.external_user_id` (WhatsApp's business-scoped id).

mod codes;
mod list;
mod read;
mod send;
mod signature;

pub use codes::CODES;

use crate::{Provider, number, provider::needs_public_url, request::Source};
use bytes::Bytes;
use http::Method;
use std::time::Duration;
use switchboard_adapter_sdk::{
    Adapter, Answer, AttemptOutcome, Call, CallBody, ConfigProblem, Polled, RawRequest, Reply, Secret, Settings,
    Verdict,
    settings::{Key, Shape},
    signature::{Mac, to_base64},
};
use switchboard_envelope::{Address, Attachment, ChannelProfile, Inbound, Raw, Reconcile, Send, Timestamp, is_id};
use url::Url;

/// Where Twilio's API is.
pub const DEFAULT_BASE_URL: &str = "https://api.twilio.com";

/// The most characters of one message.
pub const MAX_TEXT: usize = 1600;
/// The most files of one message.
pub const MAX_MEDIA: usize = 10;

/// The most bytes of a message's files, beyond which carriers take none of it.
pub const MAX_MEDIA_BYTES: u64 = 5 * 1000 * 1000;

const KEYS: &[Key] = &[
    Key::new("account_sid", Shape::Text { check: account, pattern: "^AC[0-9a-fA-F]{32}$" }, "the account's SID")
        .required("\"AC…\""),
    Key::new("auth_token", Shape::Secrets, "signs webhooks, and authenticates calls").required("{ env = \"NAME\" }"),
    Key::new(
        "api_key",
        Shape::Text { check: api_key, pattern: "^SK[0-9a-fA-F]{32}$" },
        "an API key's SID, for calls instead of the account's token",
    ),
    Key::new("api_secret", Shape::Secret, "the API key's secret"),
    Key::new(
        "from",
        Shape::Text { check: number::sender, pattern: "" },
        "a number in E.164, a short code, a name, or `whatsapp:` and a number",
    ),
    Key::new(
        "messaging_service_sid",
        Shape::Text { check: service, pattern: "^MG[0-9a-fA-F]{32}$" },
        "Twilio chooses the sender out of this service",
    ),
    Key::new("base_url", Shape::Url, "another address of the API").usual(DEFAULT_BASE_URL),
    Key::new("validity", Shape::Span { least: "1s", most: "10h" }, "how long Twilio may try to deliver"),
    Key::new(
        "echoes",
        Shape::Flag,
        "the poll also reads what the number sent, and shows what was written in Twilio's own tools",
    )
    .usual("false"),
];

/// Twilio.
pub const PROVIDER: Provider = Provider {
    name: "twilio",
    about: "Text messages, through Twilio.",
    keys: KEYS,
    together: &[["api_key", "api_secret"]],
    either: &["from", "messaging_service_sid"],
    check,
    build: |settings| Ok(Box::new(Twilio::new(&settings.channel, TwilioConfig::of(settings))?)),
};

fn account(text: &str) -> Result<String, String> {
    sid(text, "AC", "an account SID")
}

fn api_key(text: &str) -> Result<String, String> {
    sid(text, "SK", "an API key's SID")
}

fn service(text: &str) -> Result<String, String> {
    sid(text, "MG", "a messaging service's SID")
}

fn sid(text: &str, prefix: &str, what: &str) -> Result<String, String> {
    let good = text.strip_prefix(prefix).is_some_and(|h| h.len() == 32 && h.bytes().all(|b| b.is_ascii_hexdigit()));
    if good { Ok(text.to_owned()) } else { Err(format!("is not {what}: it is `{prefix}` and 32 hexadecimal digits")) }
}

fn check(settings: &Settings) -> Vec<ConfigProblem> {
    let mut problems = vec![];
    if !settings.has("from") && !settings.has("messaging_service_sid") {
        let write =
            "is missing: write the number to send from, as `from = \"+15005550006\"`, or a `messaging_service_sid`";
        problems.push(settings.problem("from", write));
    }
    problems.extend(needs_public_url(settings, "Twilio signs its webhooks over the address that it calls"));
    let host = settings.public_url.as_deref().and_then(|url| Url::parse(url).ok()?.host_str().map(str::to_owned));
    if let Some(host) = host.filter(|host| host.contains('_')) {
        let why = format!(
            "has an `_` in its host `{host}`: Twilio refuses such an address for the status callbacks of `channels.{}`",
            settings.channel
        );
        problems.push(settings.problem("public_url", why));
    }
    problems
}

const NO_PUBLIC_URL: &str = "Twilio fetches them from us: set http.public_url";
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const RECONCILE_MS: i64 = 30_000;

/// The settings of a channel at Twilio, as they are written down.
#[derive(Clone, Debug)]
pub struct TwilioConfig {
    /// `AC…`.
    pub account_sid: String,
    /// The first authenticates our calls (unless there is an API key); webhooks may be signed with any, so that a token can be
    /// rotated.
    pub auth_tokens: Vec<Secret>,
    /// An API key's sid (`SK…`) and secret, used for our calls instead of the token.
    pub api_key: Option<(String, Secret)>,
    /// The number, short code, name or `whatsapp:+…` from which we write. Without it nothing can be polled.
    pub from: Option<String>,
    /// `MG…`: Twilio chooses the sender out of this service. It takes precedence over `from`.
    pub messaging_service_sid: Option<String>,
    pub base_url: String,
    /// The public address of this daemon; without it no delivery receipts are asked for.
    pub public_url: Option<String>,
    /// How long Twilio may hold a message before it gives up, in seconds (1 to 36000).
    pub validity: Option<u32>,
    /// Twilio replaces typographic characters that would double the price.
    pub smart_encoding: bool,
    /// The poll reads our own number's messages too, for what somebody wrote in Twilio's own tools.
    pub echoes: bool,
}

impl TwilioConfig {
    #[must_use]
    pub fn new(account_sid: impl Into<String>, auth_token: Secret) -> TwilioConfig {
        TwilioConfig {
            account_sid: account_sid.into(),
            auth_tokens: vec![auth_token],
            api_key: None,
            from: None,
            messaging_service_sid: None,
            base_url: DEFAULT_BASE_URL.into(),
            public_url: None,
            validity: None,
            smart_encoding: false,
            echoes: false,
        }
    }

    /// As the configuration writes them.
    fn of(settings: &Settings) -> TwilioConfig {
        let text = |key: &str| settings.text(key).map(str::to_owned);
        TwilioConfig {
            account_sid: text("account_sid").unwrap_or_default(),
            auth_tokens: settings.secrets("auth_token").to_vec(),
            api_key: text("api_key").zip(settings.secret("api_secret").cloned()),
            from: text("from"),
            messaging_service_sid: text("messaging_service_sid"),
            base_url: text("base_url").unwrap_or_else(|| DEFAULT_BASE_URL.to_owned()),
            public_url: settings.public_url.clone(),
            validity: settings.span("validity").map(|span| u32::try_from(span.as_secs()).unwrap_or(u32::MAX)),
            smart_encoding: settings.flag("smart_encoding"),
            echoes: settings.flag("echoes"),
        }
    }
}

/// A channel at Twilio.
#[derive(Debug)]
pub struct Twilio {
    channel: String,
    account_sid: String,
    from: Option<Address>,
    has_service: bool,
    /// The field that names our sender, and its value.
    sender: (&'static str, String),
    base: Url,
    /// `…/Accounts/AC…/Messages.json` of the base.
    messages_url: String,
    /// Where receipts go; the attempt's query is appended.
    status_url: Option<String>,
    validity: Option<u32>,
    smart_encoding: bool,
    echoes: bool,
    keys: Vec<Mac>,
    authorization: Secret,
}

impl Twilio {
    /// The adapter of the channel with this id.
    ///
    /// # Errors
    /// With every problem of the settings at once.
    pub fn new(channel: &str, config: TwilioConfig) -> Result<Twilio, Vec<ConfigProblem>> {
        let mut problems = Problems { channel, found: vec![] };
        problems.check("id", is_id(channel), "write a-z, 0-9 and `-`");
        problems.check("account_sid", is_sid(&config.account_sid, "AC"), "write the sid that starts with AC");
        let tokens_hold = !config.auth_tokens.is_empty() && config.auth_tokens.iter().all(is_usable);
        problems.check("auth_token", tokens_hold, "must not be empty, nor hold control characters");
        let key_holds = config.api_key.as_ref().is_none_or(|(sid, secret)| is_sid(sid, "SK") && is_usable(secret));
        problems.check("api_key", key_holds, "write the key's sid, which starts with SK, and its secret");
        let service = config.messaging_service_sid;
        let service_holds = service.as_ref().is_none_or(|sid| is_sid(sid, "MG"));
        problems.check("messaging_service_sid", service_holds, "write the sid that starts with MG");
        problems.check("from", config.from.is_some() || service.is_some(), "write it, or messaging_service_sid");
        let from = config.from.as_deref().and_then(number::address);
        let from_holds = from.is_some() || config.from.is_none();
        problems.check(
            "from",
            from_holds,
            "write a number as +15551230001, a short code, a name or whatsapp:+15551230001",
        );
        problems.check(
            "validity",
            config.validity.is_none_or(|s| (1..=36_000).contains(&s)),
            "must be 1 to 36000 seconds",
        );
        let base = problems.url("base_url", &config.base_url);
        let public = config.public_url.and_then(|url| {
            let parsed = problems.url("public_url", &url)?;
            // Twilio refuses such a host in StatusCallback.
            problems.check(
                "public_url",
                !parsed.host_str().unwrap_or_default().contains('_'),
                "the host must hold no `_`",
            );
            Some(url.trim_end_matches('/').to_owned())
        });
        let (Some(base), true) = (base, problems.found.is_empty()) else { return Err(problems.found) };

        let account_sid = config.account_sid;
        let (user, password) = match &config.api_key {
            Some((sid, secret)) => (sid.as_str(), secret.expose()),
            None => (account_sid.as_str(), config.auth_tokens.first().map(Secret::expose).unwrap_or_default()),
        };
        Ok(Twilio {
            channel: channel.to_owned(),
            authorization: Secret::new(format!("Basic {}", to_base64(format!("{user}:{password}").as_bytes()))),
            messages_url: format!(
                "{}/2010-04-01/Accounts/{account_sid}/Messages.json",
                config.base_url.trim_end_matches('/')
            ),
            status_url: public.map(|url| format!("{url}/hooks/{channel}/status")),
            keys: config.auth_tokens.iter().map(|token| Mac::sha1(token.expose().as_bytes())).collect(),
            account_sid,
            has_service: service.is_some(),
            sender: match (service, &from) {
                (Some(service), _) => ("MessagingServiceSid", service),
                (None, from) => ("From", from.as_ref().map(number::written).unwrap_or_default()),
            },
            from,
            base,
            validity: config.validity,
            smart_encoding: config.smart_encoding,
            echoes: config.echoes,
        })
    }

    fn call(&self, method: Method, url: String, body: CallBody) -> Call {
        Call {
            method,
            url,
            headers: vec![("authorization", self.authorization.expose().to_owned())],
            body,
            timeout: CALL_TIMEOUT,
        }
    }

    fn get(&self, url: String) -> Call {
        self.call(Method::GET, url, CallBody::Empty)
    }
}

struct Problems<'a> {
    channel: &'a str,
    found: Vec<ConfigProblem>,
}

impl Problems<'_> {
    fn check(&mut self, key: &str, holds: bool, problem: &str) {
        if !holds {
            self.found.push(ConfigProblem {
                channel: self.channel.to_owned(),
                key: key.to_owned(),
                problem: problem.to_owned(),
            });
        }
    }

    fn url(&mut self, key: &str, text: &str) -> Option<Url> {
        let url = Url::parse(text).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        self.check(key, url.is_some(), "write an http:// or https:// URL without query");
        url
    }
}

fn is_usable(secret: &Secret) -> bool {
    !secret.expose().is_empty() && !secret.expose().chars().any(char::is_control)
}

fn is_sid(text: &str, prefix: &str) -> bool {
    text.len() <= 64 && text.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()) && is_token(text)
}

/// Letters and digits, as every sid is: safe in a path and in an event's id.
fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

impl Adapter for Twilio {
    fn profile(&self) -> ChannelProfile {
        let address_kind = self.from.as_ref().map_or("phone", |from| match from.kind.as_str() {
            "sender" => "phone",
            kind => kind,
        });
        ChannelProfile {
            max_text: u32::try_from(MAX_TEXT).ok(),
            max_attachments: u32::try_from(MAX_MEDIA).ok(),
            no_files: self.status_url.is_none().then(|| NO_PUBLIC_URL.to_owned()),
            proactive: true,
            reconciles: true,
            reconcile_ms: RECONCILE_MS,
            keeps_opt_outs: true,
            ..ChannelProfile::new("sms", address_kind)
        }
    }

    fn verify(&self, request: &RawRequest) -> Verdict {
        signature::verify(&self.keys, request)
    }

    fn screen(&self, head: &RawRequest) -> Verdict {
        signature::tag(head).map_or_else(|wrong| wrong, |_| Verdict::Genuine)
    }

    fn parse(&self, request: &RawRequest) -> Vec<Inbound> {
        read::webhook(self, &Source::of(request))
    }

    fn reaches(&self, to: &Address) -> Result<(), String> {
        send::recipient(self, to).map(drop)
    }

    fn accepted(&self, _request: &RawRequest) -> Reply {
        // Any text would be sent to the person as a message.
        Reply { status: 200, content_type: "text/xml", body: "<Response/>".into() }
    }

    fn reparse(&self, raw: &Raw, body: Bytes, received_at: Timestamp) -> Vec<Inbound> {
        if raw.meta.get("source").is_some_and(|source| source == list::SOURCE) {
            return list::again(self, &body, received_at);
        }
        read::webhook(self, &Source::again(raw, &body, received_at))
    }

    fn encode(&self, send: &Send) -> Result<Call, AttemptOutcome> {
        send::encode(self, send)
    }

    fn classify(&self, _send: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
        send::classify(answer, now)
    }

    fn reconcile(&self, attempt: &Reconcile) -> Option<Call> {
        list::ask(self, attempt)
    }

    fn reconciled(&self, attempt: &Reconcile, answer: &Answer) -> Option<AttemptOutcome> {
        list::proof(self, attempt, answer)
    }

    fn poll(&self, cursor: Option<&str>, now: Timestamp) -> Option<Call> {
        list::poll(self, cursor, now)
    }

    fn polled(&self, cursor: Option<&str>, answer: &Answer, now: Timestamp) -> Result<Polled, String> {
        list::polled(self, cursor, answer, now)
    }

    fn fetch(&self, attachment: &Attachment) -> Option<Call> {
        let url = Url::parse(attachment.url.as_deref()?).ok()?;
        // The credentials are shown to the API's own hosts only, whatever a webhook or a list names.
        let is_twilio = url.scheme() == "https"
            && url.port().is_none()
            && url.host_str().is_some_and(|host| host == "twilio.com" || host.ends_with(".twilio.com"));
        let is_trusted = url.origin() == self.base.origin() || is_twilio;
        (is_trusted && url.username().is_empty() && url.password().is_none()).then(|| self.get(url.into()))
    }

    fn listed(&self, attachment: &Attachment, fetched: &Bytes) -> Option<Vec<Attachment>> {
        list::listed(self, attachment, fetched)
    }
}

#[cfg(test)]
mod tests;
