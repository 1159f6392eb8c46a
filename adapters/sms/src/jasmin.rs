//! Jasmin (<https://docs.jasminsms.com/en/latest/apis/ja-http/>): an SMPP gateway with an HTTP API.
//!
//! It is a provider of its own, and no example of `http`, since what it sends cannot be described by templates: the bytes of
//! a text are in the alphabet that another field names, and a report's words depend on its level.
//!
//! Jasmin signs nothing: what it calls has a secret in its path, `/hooks/<channel>/<hook_secret>/in` for messages and
//! `…/status` for reports, whose address goes out with each text. It repeats a call until it is answered `ACK/Jasmin`.
//!
//! For rules a message carries `meta.provider` (`jasmin`), `meta.keyword`, `meta.connector`, and `meta.binary` (`true`) for
//! what is no text.

use crate::{
    Provider, charset,
    kannel::{CALLBACK_URL, HOOK_SECRET, NUMBERS, check_hook, form_of, hook_address, refuse_content, short},
    number::{self, Form},
    request::{self, Fields, Source, attempt, behind_secret, below_secret, id_of},
    segments::{self, Encoding},
    smpp,
};
use bytes::Bytes;
use http::Method;
use std::time::Duration;
use switchboard_adapter_sdk::{
    Adapter, Answer, AttemptOutcome, Call, CallBody, ConfigProblem, RawRequest, Reply, Response, Secret, Settings,
    Verdict,
    classify::{self, Class, Row},
    redact,
    settings::{Key, Shape, any},
    signature::{from_hex, sha256_hex, to_hex},
};
use switchboard_envelope::{ChannelProfile, Content, Inbound, Raw, Receipt, ReceiptStatus, Send, Timestamp, event_id};

const KEYS: &[Key] = &[
    Key::new("base_url", Shape::Url, "where Jasmin's HTTP API listens").required("\"http://127.0.0.1:1401\""),
    Key::new("username", Shape::Text { check: any, pattern: "" }, "of the Jasmin user").required("\"switchboard\""),
    Key::new("password", Shape::Secret, "of the Jasmin user").required("{ env = \"NAME\" }"),
    Key::new("from", Shape::Text { check: number::sender, pattern: "" }, "a number in E.164, a short code or a name")
        .required("\"+15005550006\""),
    HOOK_SECRET,
    CALLBACK_URL,
    NUMBERS,
    Key::new("priority", Shape::Count { least: 0, most: 3 }, "the centre's priority of our texts"),
    Key::new("validity", Shape::Span { least: "1m", most: "7d" }, "how long the centre may try to deliver"),
];

/// Jasmin.
pub const PROVIDER: Provider = Provider {
    name: "jasmin",
    about: "Text messages, through a Jasmin of one's own.",
    keys: KEYS,
    together: &[],
    either: &[],
    check: |settings| check_hook(settings, "Jasmin"),
    build: |settings| Ok(Box::new(Jasmin::new(settings)?)),
};

const ACKNOWLEDGED: &str = "ACK/Jasmin";
const FORM: &str = "application/x-www-form-urlencoded";
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_TEXT: u32 = 15_300;
/// The longest status that is taken for a word.
const MAX_STATUS: usize = 64;

/// A channel through Jasmin.
struct Jasmin {
    channel: String,
    send_url: String,
    username: String,
    password: Secret,
    from: String,
    hook_secrets: Vec<Secret>,
    status: Option<Secret>,
    numbers: Form,
    priority: Option<u64>,
    validity_minutes: Option<u64>,
}

impl Jasmin {
    fn new(settings: &Settings) -> Result<Jasmin, Vec<ConfigProblem>> {
        let missing = |key: &str| vec![settings.problem(key, "is missing")];
        let text = |key: &str| settings.text(key).map(str::to_owned).ok_or_else(|| missing(key));
        let numbers = form_of(settings);
        Ok(Jasmin {
            channel: settings.channel.clone(),
            send_url: format!("{}/send", text("base_url")?),
            username: text("username")?,
            password: settings.secret("password").cloned().ok_or_else(|| missing("password"))?,
            from: numbers.spell(&text("from")?),
            hook_secrets: settings.secrets("hook_secret").to_vec(),
            status: hook_address(settings).map(|hook| Secret::new(format!("{}/status", hook.expose()))),
            numbers,
            priority: settings.count("priority"),
            validity_minutes: settings.span("validity").map(|span| span.as_secs() / 60),
        })
    }

    fn webhook(&self, source: &Source<'_>) -> Vec<Inbound> {
        // Versions differ in the case of the names.
        let fields = Fields::of(source.fields()).folded();
        let read = match source.path {
            "/status" => self.report(source, &fields),
            "" | "/" | "/in" => self.heard(source, &fields),
            _ => Err("neither `in` nor `status` stands behind the secret"),
        };
        read.unwrap_or_else(|reason| vec![source.unparsed(&self.channel, reason)])
    }

    fn heard(&self, source: &Source<'_>, fields: &Fields) -> Result<Vec<Inbound>, &'static str> {
        let from = self.numbers.read(fields.text("from").ok_or("no sender")?).ok_or("the sender is no address")?;
        let from_binary = fields.text("binary").and_then(from_hex);
        let bytes = fields.bytes("content").map(<[u8]>::to_vec).or(from_binary).ok_or("no content")?;
        let coding = fields.text("coding").unwrap_or("0");
        let (text, is_binary) = decoded(coding, &bytes);
        let id = fields.text("id").map(id_of);
        let key = id.clone().unwrap_or_else(|| sha256_hex(source.fields()));
        let mut message = request::message(&self.channel, &key, from, source);
        message.to = fields.text("to").and_then(|to| self.numbers.read(to));
        message.content = Content::text(text);
        message.provider_id = id;
        let pairs = [
            ("provider", Some("jasmin")),
            ("connector", fields.text("origin-connector")),
            ("binary", is_binary.then_some("true")),
        ];
        message.meta = pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), short(value?)))).collect();
        Ok(vec![Inbound::Message(Box::new(message))])
    }

    fn report(&self, source: &Source<'_>, fields: &Fields) -> Result<Vec<Inbound>, &'static str> {
        let id = id_of(fields.text("id").ok_or("no id")?);
        let word = fields.text("message_status").ok_or("no message_status")?.to_ascii_uppercase();
        let Some((status, sentence)) = status(&word) else { return Ok(vec![]) };
        let attempt = attempt(source.query);
        let err = fields.text("err").filter(|err| err.len() <= 10 && err.bytes().all(|b| b.is_ascii_alphanumeric()));
        let code = (status == ReceiptStatus::Failed).then(|| match err {
            Some(err) => format!("{word} {err}"),
            None => word.clone(),
        });
        Ok(vec![Inbound::Receipt(Receipt {
            thread: None,
            id: event_id(&self.channel, "receipt", &format!("{id}:{word}")),
            channel: self.channel.clone(),
            provider_id: id,
            send: attempt.as_ref().map(|(send, ..)| send.clone()),
            part: attempt.as_ref().map(|(_, part, _)| *part),
            n: attempt.as_ref().map(|(.., n)| *n),
            status,
            at: source.received_at,
            code,
            detail: (status == ReceiptStatus::Failed).then(|| sentence.to_owned()),
        })])
    }
}

/// A text in the alphabet that its data coding names (SMPP 3.4 §5.2.19), and whether it is none at all.
fn decoded(coding: &str, bytes: &[u8]) -> (String, bool) {
    match coding {
        // Septets have no eighth bit; what has one was decoded on the way.
        "0" if bytes.iter().all(|b| *b < 0x80) => (charset::from_gsm7(bytes), false),
        "1" | "3" => (charset::from_latin1(bytes), false),
        "2" | "4" => (charset::shown_binary(bytes), true),
        "8" => (charset::from_ucs2(bytes), false),
        _ => (charset::from_utf8(bytes), false),
    }
}

/// How far a message is: the centre's answer at level 1, its receipt at level 2. A word that is not known says nothing.
fn status(word: &str) -> Option<(ReceiptStatus, &'static str)> {
    if let Some(row) = smpp::STATUSES.iter().find(|row| row.code == word) {
        let status = match row.class {
            // Jasmin goes on trying by itself.
            Class::Ok | Class::RateLimit | Class::Retry => ReceiptStatus::Accepted,
            _ => ReceiptStatus::Failed,
        };
        return Some((status, row.sentence));
    }
    let is_word = word.len() <= MAX_STATUS && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if word.starts_with("ESME_R") && is_word {
        return Some((ReceiptStatus::Failed, "the centre refused the message"));
    }
    smpp::status(word).map(|status| (status, smpp::sentence(word)))
}

/// What Jasmin answers beside a success, by how its words begin.
const ANSWERS: &[(u16, Row)] = &[
    (403, row("Authentication failure", Class::Config, "Jasmin refuses the user: check username and password")),
    (
        403,
        row("Authorization failed", Class::Config, "Jasmin does not allow this user to send so: check its permissions"),
    ),
    (403, row("User throughput exceeded", Class::RateLimit, "the user's throughput at Jasmin is exceeded")),
    (403, row("Connector throughput exceeded", Class::RateLimit, "the connector's throughput at Jasmin is exceeded")),
    (403, row("Cannot charge submit_sm", Class::Config, "the user's balance at Jasmin is spent")),
    (412, row("No route found", Class::PermanentRecipient, "Jasmin has no route to this number")),
    (500, row("Cannot send submit_sm", Class::Retry, "Jasmin cannot send for the moment")),
];

const fn row(code: &'static str, class: Class, sentence: &'static str) -> Row {
    Row { code, class, sentence }
}

fn answered(response: &Response, now: Timestamp) -> AttemptOutcome {
    let body = String::from_utf8_lossy(response.body.get(..300).unwrap_or(&response.body)).trim().to_owned();
    let quoted = |word: &str| body.strip_prefix(word).and_then(|rest| rest.trim().strip_prefix('"')?.split('"').next());
    let status = response.status;
    if status == 200
        && let Some(id) = quoted("Success").filter(|id| !id.is_empty())
    {
        let mut outcome = AttemptOutcome::new(Class::Ok.outcome());
        outcome.provider_ids = vec![id_of(id)];
        return outcome;
    }
    let said = quoted("Error").unwrap_or_default();
    let known = ANSWERS.iter().find(|(s, row)| *s == status && said.starts_with(row.code));
    let words = redact::text(&short(said), &[]);
    let (class, sentence) = match (known, status) {
        (Some((_, row)), _) => (row.class, row.sentence.to_owned()),
        (None, 429) => (Class::RateLimit, "too many requests to the gateway; nothing was sent".to_owned()),
        (None, 412) => (Class::PermanentRecipient, "Jasmin has no route to this number".to_owned()),
        (None, 400 | 403) if !said.is_empty() => (Class::PermanentMessage, format!("Jasmin refused it: {words}")),
        (None, 301 | 307 | 308 | 401 | 403 | 404 | 405 | 407) => {
            (Class::Config, format!("{status} is not what Jasmin's API answers: check base_url"))
        }
        _ => (Class::Ambiguous, format!("the gateway answered {status}")),
    };
    let mut outcome = class.attempt(Some(&status.to_string()), sentence);
    if matches!(class, Class::RateLimit | Class::Retry) {
        outcome.retry_after_ms = response.retry_after_ms(now);
    }
    outcome
}

impl Adapter for Jasmin {
    fn profile(&self) -> ChannelProfile {
        ChannelProfile {
            max_text: Some(MAX_TEXT),
            max_attachments: Some(0),
            no_files: Some("Jasmin carries text only".into()),
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

    fn parse(&self, request: &RawRequest) -> Vec<Inbound> {
        self.webhook(&Source::of(request).at(behind_secret(&request.path)))
    }

    fn accepted(&self, _request: &RawRequest) -> Reply {
        Reply { status: 200, content_type: "text/plain", body: ACKNOWLEDGED.into() }
    }

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
        let text = &send.content.text;
        let mut form = form_urlencoded::Serializer::new(String::with_capacity(512));
        form.append_pair("username", &self.username).append_pair("password", self.password.expose());
        form.append_pair("to", &to).append_pair("from", &self.from);
        match segments::encoding(text) {
            Encoding::Gsm7 => form.append_pair("coding", "0").append_pair("content", text),
            Encoding::Ucs2 => {
                form.append_pair("coding", "8").append_pair("hex-content", &to_hex(&charset::to_ucs2(text)))
            }
        };
        if let Some(status) = &self.status {
            let url = format!("{}?send={}&part={}&n={}", status.expose(), send.send, send.part, send.n);
            form.append_pair("dlr", "yes").append_pair("dlr-url", &url);
            form.append_pair("dlr-level", "3").append_pair("dlr-method", "POST");
        }
        for (name, value) in [("priority", self.priority), ("validity-period", self.validity_minutes)] {
            if let Some(value) = value {
                form.append_pair(name, &value.to_string());
            }
        }
        Ok(Call {
            method: Method::POST,
            url: self.send_url.clone(),
            headers: vec![],
            body: CallBody::Bytes(FORM, Bytes::from(form.finish())),
            timeout: CALL_TIMEOUT,
        })
    }

    fn classify(&self, _send: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
        match answer {
            Ok(response) => answered(response, now),
            Err(error) => classify::unanswered(error),
        }
    }
}

#[cfg(test)]
mod tests;
