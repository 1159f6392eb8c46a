//! Kannel (<https://www.kannel.org/userguide.shtml>): a gateway of one's own, and through it any SMPP centre or modem.
//!
//! Kannel signs nothing: what it calls has a secret in its path, `/hooks/<channel>/<hook_secret>/in` for messages and
//! `…/status` for delivery reports, whose address goes out with each text. It gives no id for what it takes, so our own token
//! in that address is the only tie.
//!
//! For rules a message carries `meta.provider` (`kannel`), `meta.keyword`, `meta.smsc` (the centre that received it),
//! `meta.service`, and `meta.binary` (`true`) for what is no text.

use crate::{
    Provider, charset,
    number::{self, Form},
    provider::needs_public_url,
    request::{self, Fields, Source, attempt, behind_secret, below_secret, id_of, reference},
    segments::{self, Encoding},
    smpp,
};
use bytes::Bytes;
use http::Method;
use std::borrow::Cow;
use std::time::Duration;
use switchboard_adapter_sdk::{
    Adapter, Answer, AttemptOutcome, Call, CallBody, ConfigProblem, RawRequest, Reply, Response, Secret, Settings,
    Verdict,
    classify::{self, Class, Row},
    redact,
    settings::{Key, Shape, any},
    signature::sha256_hex,
};
use switchboard_envelope::{ChannelProfile, Content, Inbound, Raw, Receipt, ReceiptStatus, Send, Timestamp, event_id};

const KEYS: &[Key] = &[
    Key::new("base_url", Shape::Url, "where Kannel's smsbox listens").required("\"http://127.0.0.1:13013\""),
    Key::new("username", Shape::Text { check: any, pattern: "" }, "of the `sendsms-user`").required("\"switchboard\""),
    Key::new("password", Shape::Secret, "of the `sendsms-user`").required("{ env = \"NAME\" }"),
    Key::new("from", Shape::Text { check: number::sender, pattern: "" }, "a number in E.164, a short code or a name")
        .required("\"+15005550006\""),
    HOOK_SECRET,
    CALLBACK_URL,
    NUMBERS,
    Key::new(
        "smsc",
        Shape::Text { check: word, pattern: WORD },
        "the `smsc-id` that texts leave by; Kannel routes them by default",
    ),
    Key::new(
        "validity",
        Shape::Span { least: "1m", most: "7d" },
        "how long the centre may try to deliver, in whole minutes",
    ),
    Key::new("priority", Shape::Count { least: 0, most: 3 }, "the centre's priority of our texts"),
];

/// For providers that sign nothing: what must stand in the path of their calls.
pub(crate) const HOOK_SECRET: Key = Key::new(
    "hook_secret",
    Shape::Secrets,
    "stands in the path of every call to us, since the provider signs nothing: 16 to 128 of a-z, A-Z, 0-9, `-` and `_`",
)
.required("{ env = \"NAME\" }");
pub(crate) const CALLBACK_URL: Key = Key::new(
    "callback_url",
    Shape::Url,
    "where the gateway reaches this daemon, if that is another address than `http.public_url`",
);
pub(crate) const NUMBERS: Key = Key::new(
    "numbers",
    Shape::Choice(&["plus", "digits"]),
    "how the gateway writes international numbers: `plus` (+15551230001) or `digits` (15551230001)",
)
.usual("plus");
const WORD: &str = "^[A-Za-z0-9._-]{1,64}$";

/// Kannel.
pub const PROVIDER: Provider = Provider {
    name: "kannel",
    about: "Text messages, through a Kannel of one's own.",
    keys: KEYS,
    together: &[],
    either: &[],
    check,
    build: |settings| Ok(Box::new(Kannel::new(settings)?)),
};

const SENDSMS: &str = "/cgi-bin/sendsms";
/// Delivered, failed, buffered, accepted by the centre, refused by the centre.
const EVERY_REPORT: u8 = 31;
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Kannel splits texts by itself; one is never longer than all segments together, in characters.
const MAX_TEXT: u32 = 15_300;

fn word(text: &str) -> Result<String, String> {
    let is_word = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_' || b == b'-');
    if is_word { Ok(text.to_owned()) } else { Err(format!("`{text}` is not an id: write a-z, 0-9, `.`, `-` and `_`")) }
}

/// What is wrong with secrets that stand in the path of a provider's calls.
pub(crate) fn check_hook_secret(settings: &Settings) -> Option<ConfigProblem> {
    let is_plain = |secret: &Secret| {
        let text = secret.expose();
        (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let write = "must have 16 to 128 of a-z, A-Z, 0-9, `-` and `_`: make one with `openssl rand -hex 16`";
    (!settings.secrets("hook_secret").iter().all(is_plain)).then(|| settings.problem("hook_secret", write))
}

/// What is wrong with a channel whose calls carry their secret in the path.
pub(crate) fn check_hook(settings: &Settings, who: &str) -> Vec<ConfigProblem> {
    let mut problems: Vec<_> = check_hook_secret(settings).into_iter().collect();
    if !settings.has("callback_url") {
        let why = format!("{who} reports deliveries to an address that we give it");
        problems.extend(needs_public_url(settings, &why));
    }
    problems
}

/// `<address>/hooks/<channel>/<hook_secret>`, as the provider calls it.
pub(crate) fn hook_address(settings: &Settings) -> Option<Secret> {
    let base = settings.text("callback_url").or(settings.public_url.as_deref())?;
    let secret = settings.secret("hook_secret")?;
    Some(Secret::new(format!("{base}/hooks/{}/{}", settings.channel, secret.expose())))
}

pub(crate) fn form_of(settings: &Settings) -> Form {
    if settings.text("numbers") == Some("digits") { Form::Digits } else { Form::Plus }
}

fn check(settings: &Settings) -> Vec<ConfigProblem> {
    check_hook(settings, "Kannel")
}

/// A channel through Kannel.
struct Kannel {
    channel: String,
    sendsms: String,
    username: String,
    password: Secret,
    from: String,
    hook_secrets: Vec<Secret>,
    /// Where reports go; the attempt and Kannel's escapes are appended. It holds the hook's secret.
    status: Option<Secret>,
    numbers: Form,
    smsc: Option<String>,
    validity_minutes: Option<u64>,
    priority: Option<u64>,
}

impl Kannel {
    fn new(settings: &Settings) -> Result<Kannel, Vec<ConfigProblem>> {
        let missing = |key: &str| vec![settings.problem(key, "is missing")];
        let text = |key: &str| settings.text(key).map(str::to_owned).ok_or_else(|| missing(key));
        let numbers = form_of(settings);
        Ok(Kannel {
            channel: settings.channel.clone(),
            sendsms: format!("{}{SENDSMS}", text("base_url")?),
            username: text("username")?,
            password: settings.secret("password").cloned().ok_or_else(|| missing("password"))?,
            from: numbers.spell(&text("from")?),
            hook_secrets: settings.secrets("hook_secret").to_vec(),
            status: hook_address(settings).map(|hook| Secret::new(format!("{}/status", hook.expose()))),
            numbers,
            smsc: settings.text("smsc").map(str::to_owned),
            validity_minutes: settings.span("validity").map(|span| span.as_secs() / 60),
            priority: settings.count("priority"),
        })
    }

    fn webhook(&self, source: &Source<'_>) -> Vec<Inbound> {
        let fields = Fields::of(source.fields());
        let read = match source.path {
            "/status" => self.report(source, &fields),
            "" | "/" | "/in" => self.heard(source, &fields),
            _ => Err("neither `in` nor `status` stands behind the secret"),
        };
        read.unwrap_or_else(|reason| vec![source.unparsed(&self.channel, reason)])
    }

    fn heard(&self, source: &Source<'_>, fields: &Fields) -> Result<Vec<Inbound>, &'static str> {
        let sender = fields.text("sender").ok_or("no sender")?;
        let from = self.numbers.read(sender).ok_or("the sender is no address")?;
        let bytes = fields.bytes("message").ok_or("no message")?;
        let is_binary = fields.text("coding") == Some("1");
        let text = match (is_binary, fields.text("charset")) {
            (true, _) => charset::shown_binary(bytes),
            (false, Some(charset)) => charset::named(charset, &whole(charset, bytes)),
            (false, None) => charset::from_utf8(bytes),
        };
        let id = fields.text("id").map(id_of);
        // Without Kannel's id the same words in the same second are the same message; without its time as well each call is one.
        let key = id.clone().unwrap_or_else(|| {
            let at = if fields.text("ts").is_some() { String::new() } else { source.received_at.to_string() };
            sha256_hex(&[source.fields(), b"\n", at.as_bytes()].concat())
        });
        let mut message = request::message(&self.channel, &key, from, source);
        if let Some(at) = fields.text("ts").and_then(seconds) {
            message.at = at;
        }
        message.to = fields.text("to").and_then(|to| self.numbers.read(to));
        message.content = Content::text(text);
        message.provider_id = id;
        let pairs = [("smsc", fields.text("backend")), ("service", fields.text("service"))];
        let pairs = pairs.into_iter().chain([("provider", Some("kannel")), ("binary", is_binary.then_some("true"))]);
        message.meta = pairs.filter_map(|(name, value)| Some((name.to_owned(), short(value?)))).collect();
        Ok(vec![Inbound::Message(Box::new(message))])
    }

    fn report(&self, source: &Source<'_>, fields: &Fields) -> Result<Vec<Inbound>, &'static str> {
        let bits = fields.text("status").and_then(|text| text.parse::<u32>().ok()).ok_or("no status")?;
        let attempt = attempt(source.query);
        let provider_id = match &attempt {
            Some((send, part, n)) => format!("{send}.{part}.{n}"),
            // An address that an operator wrote may name the message in its own way.
            None => id_of(fields.text("uuid").or_else(|| fields.text("id")).ok_or("no message is named")?),
        };
        // A word that is not known yet says nothing that we could show.
        let Some(status) = status(bits) else { return Ok(vec![]) };
        let failure =
            (status == ReceiptStatus::Failed).then(|| failure(bits, fields.text("answer").unwrap_or_default()));
        let (code, detail) = failure.map_or((None, None), |(code, detail)| (Some(code), Some(detail)));
        Ok(vec![Inbound::Receipt(Receipt {
            thread: None,
            id: event_id(&self.channel, "receipt", &format!("{provider_id}:{bits}")),
            channel: self.channel.clone(),
            provider_id,
            send: attempt.as_ref().map(|(send, ..)| send.clone()),
            part: attempt.as_ref().map(|(_, part, _)| *part),
            n: attempt.as_ref().map(|(.., n)| *n),
            status,
            at: fields.text("ts").and_then(seconds).unwrap_or(source.received_at),
            code,
            detail,
        })])
    }

    fn query(&self, send: &Send, to: &str) -> String {
        let text = &send.content.text;
        let coding = if segments::encoding(text) == Encoding::Gsm7 { "0" } else { "2" };
        let mut query = form_urlencoded::Serializer::new(String::with_capacity(512 + text.len()));
        query.append_pair("username", &self.username).append_pair("password", self.password.expose());
        query.append_pair("from", &self.from).append_pair("to", to).append_pair("text", text);
        query.append_pair("coding", coding).append_pair("charset", "UTF-8");
        if let Some(status) = &self.status {
            // Nothing in it may hold a percent sign but the escapes that Kannel fills in.
            let url = format!(
                "{}?send={}&part={}&n={}&status=%d&smsc=%F&answer=%A&ts=%T",
                status.expose(),
                send.send,
                send.part,
                send.n
            );
            query.append_pair("dlr-mask", &EVERY_REPORT.to_string()).append_pair("dlr-url", &url);
        }
        let numbers = [("validity", self.validity_minutes), ("priority", self.priority)];
        for (name, value) in numbers {
            if let Some(value) = value {
                query.append_pair(name, &value.to_string());
            }
        }
        if let Some(smsc) = &self.smsc {
            query.append_pair("smsc", smsc);
        }
        query.finish()
    }
}

/// UTF-16 as it was before Kannel's `%a` took blanks off its ends byte by byte: a blank at the end leaves its other half there,
/// and a character such as `€` (20AC) or a typographic quote at the start loses its first. `%b` leaves the bytes alone.
fn whole<'a>(charset: &str, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    if bytes.len().is_multiple_of(2) || !charset.to_ascii_uppercase().starts_with("UTF-16") {
        return Cow::Borrowed(bytes);
    }
    match bytes.last() {
        Some(0) => Cow::Owned([bytes, b" "].concat()),
        _ => Cow::Owned([b" ", bytes].concat()),
    }
}

/// A fact for rules, within bounds.
pub(crate) fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

pub(crate) fn seconds(text: &str) -> Option<Timestamp> {
    // Until the year 9999, so that it can be written as a date.
    text.parse::<i64>().ok().filter(|s| (1..253_402_300_800).contains(s)).map(|s| Timestamp(s * 1000))
}

/// Kannel's bits, of which a call has one. Others, as 32 for an intermediate note, say nothing final and nothing new.
fn status(bits: u32) -> Option<ReceiptStatus> {
    match bits {
        1 => Some(ReceiptStatus::Delivered),
        2 | 16 => Some(ReceiptStatus::Failed),
        // Buffered at the centre; accepted by it.
        4 | 8 => Some(ReceiptStatus::Accepted),
        _ => None,
    }
}

/// The code and sentence of a failed delivery, from what the centre answered.
fn failure(bits: u32, answer: &str) -> (String, String) {
    let number = answer.strip_prefix("NACK/").and_then(|rest| rest.split('/').next());
    let number = number.and_then(|n| match n.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => n.parse().ok(),
    });
    if let Some(row) = number.and_then(smpp::by_number) {
        return (row.code.to_owned(), row.sentence.to_owned());
    }
    let receipt = smpp::receipt_text(answer);
    if let Some(stat) = receipt.stat {
        let sentence = smpp::sentence(&stat).to_owned();
        return (receipt.err.map_or_else(|| stat.clone(), |err| format!("{stat} {err}")), sentence);
    }
    let sentence = if bits == 16 { "the centre refused the message" } else { "the message could not be delivered" };
    (bits.to_string(), sentence.to_owned())
}

/// What smsbox answers, by how its words begin; the status comes with them.
const ANSWERS: &[(u16, Row)] = &[
    (202, row("0: Accepted for delivery", Class::Ok, "taken")),
    (202, row("3: Queued for later delivery", Class::Ok, "taken, and queued in the gateway")),
    (202, row("Sent.", Class::Ok, "taken")),
    (503, row("Temporal failure", Class::Retry, "the gateway takes no message for the moment")),
    (403, row("Not routable", Class::PermanentRecipient, "the gateway has no route to this number")),
    (403, row("Number(s) has/have been denied", Class::PermanentRecipient, "the gateway's lists deny this number")),
    (403, row("Authorization failed", Class::Config, "Kannel refuses the user: check username and password")),
    (400, row("Sender missing", Class::Config, "Kannel wants a sender: check from")),
    (400, row("Missing receiver", Class::PermanentMessage, "the number or the text is missing")),
    (400, row("Empty text", Class::PermanentMessage, "the text is empty")),
];

const fn row(code: &'static str, class: Class, sentence: &'static str) -> Row {
    Row { code, class, sentence }
}

fn answered(send: &Send, response: &Response, now: Timestamp) -> AttemptOutcome {
    let body = String::from_utf8_lossy(response.body.get(..300).unwrap_or(&response.body)).trim().to_owned();
    let known = ANSWERS.iter().find(|(status, row)| *status == response.status && body.starts_with(row.code));
    let status = response.status;
    let words = redact::text(&short(&body), &[]);
    let (class, sentence) = match (known, status) {
        (Some((_, row)), _) => (row.class, row.sentence.to_owned()),
        (None, 429) => (Class::RateLimit, "too many requests to the gateway; nothing was sent".to_owned()),
        (None, 401 | 404 | 405 | 407) => {
            (Class::Config, format!("{status} is not what Kannel's sendsms answers: check base_url"))
        }
        (None, 301 | 307 | 308) => (Class::Config, "the gateway is at another address: check base_url".to_owned()),
        (None, 400..=499) if !body.starts_with('<') && !body.is_empty() => {
            (Class::PermanentMessage, format!("Kannel refused it: {words}"))
        }
        (None, 403) => (Class::Config, "403 is not what Kannel's sendsms answers: check base_url".to_owned()),
        _ => (Class::Ambiguous, format!("the gateway answered {status}")),
    };
    if class == Class::Ok {
        let mut outcome = AttemptOutcome::new(class.outcome());
        outcome.provider_ids = vec![reference(send)];
        return outcome;
    }
    let mut outcome = class.attempt(Some(&status.to_string()), sentence);
    if matches!(class, Class::RateLimit | Class::Retry) {
        outcome.retry_after_ms = response.retry_after_ms(now);
    }
    outcome
}

/// What no gateway can carry.
pub(crate) fn refuse_content(content: &Content) -> Option<AttemptOutcome> {
    let why = if !content.attachments.is_empty() {
        "this provider sends no files"
    } else if content.text.trim().is_empty() {
        "there is nothing to send: no text"
    } else {
        return None;
    };
    Some(Class::PermanentMessage.attempt(None, why))
}

impl Adapter for Kannel {
    fn profile(&self) -> ChannelProfile {
        ChannelProfile {
            max_text: Some(MAX_TEXT),
            max_attachments: Some(0),
            no_files: Some("Kannel carries text only".into()),
            proactive: true,
            ..ChannelProfile::new("sms", "phone")
        }
    }

    fn verify(&self, request: &RawRequest) -> Verdict {
        below_secret(&request.path, &self.hook_secrets).map_or_else(|verdict| verdict, |_| Verdict::Genuine)
    }

    fn screen(&self, head: &RawRequest) -> Verdict {
        self.verify(head)
    }

    fn handshake(&self, request: &RawRequest) -> Option<Reply> {
        // A call that says nothing at all is somebody trying the address.
        let is_empty = Fields::of(Source::of(request).fields()).is_empty();
        is_empty.then(|| Reply { status: 400, content_type: "text/plain", body: String::new() })
    }

    fn parse(&self, request: &RawRequest) -> Vec<Inbound> {
        self.webhook(&Source::of(request).at(behind_secret(&request.path)))
    }

    // An answer to a message with any text in it would be sent to the person, so `accepted` stays empty.

    fn kept_path<'a>(&self, path: &'a str) -> &'a str {
        behind_secret(path)
    }

    fn reparse(&self, raw: &Raw, body: Bytes, received_at: Timestamp) -> Vec<Inbound> {
        self.webhook(&Source::again(raw, &body, received_at))
    }

    fn encode(&self, send: &Send) -> Result<Call, AttemptOutcome> {
        if let Some(refused) = refuse_content(&send.content) {
            return Err(refused);
        }
        let to = self.numbers.write(&send.to).map_err(|why| Class::PermanentRecipient.attempt(None, why))?;
        Ok(Call {
            method: Method::GET,
            url: format!("{}?{}", self.sendsms, self.query(send, &to)),
            headers: vec![],
            body: CallBody::Empty,
            timeout: CALL_TIMEOUT,
        })
    }

    fn classify(&self, send: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
        match answer {
            Ok(response) => answered(send, response, now),
            Err(error) => classify::unanswered(error),
        }
    }
}

#[cfg(test)]
mod tests;
