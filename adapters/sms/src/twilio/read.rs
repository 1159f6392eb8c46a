//! What Twilio's webhooks say: messages, opt-outs and status callbacks
//! (<https://www.twilio.com/docs/messaging/guides/webhook-request>).

use super::{MAX_MEDIA, Twilio, is_token, signature::is_form};
use crate::{
    keywords::{self, Keyword},
    number,
    request::{Source, attempt, unparsed},
};
use std::borrow::Cow;
use switchboard_adapter_sdk::{
    classify::{self, Class},
    signature::sha256_hex,
};
use switchboard_envelope::{
    Attachment, Choice, ConsentChange, ConsentState, Content, Inbound, Message, Raw, Receipt, ReceiptStatus, Timestamp,
    Visibility, event_id,
};

/// The most files that are read from one message; Twilio sends at most ten.
pub(super) const MEDIA_READ: usize = 2 * MAX_MEDIA;

/// The decoded fields of a form.
struct Form<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Form<'a> {
    fn of(bytes: &'a [u8]) -> Form<'a> {
        Form(form_urlencoded::parse(bytes).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    /// The field unless it is empty.
    fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    fn sid(&self) -> Option<&str> {
        // The latter two are older names of the same value.
        ["MessageSid", "SmsMessageSid", "SmsSid"].iter().find_map(|name| self.filled(name)).filter(|sid| is_token(sid))
    }
}

/// A message as a webhook or the message list tells it.
pub(super) struct Heard<'a> {
    pub sid: &'a str,
    pub from: &'a str,
    pub to: Option<&'a str>,
    pub text: String,
    pub name: Option<&'a str>,
    pub attachments: Vec<Attachment>,
    pub choice: Option<Choice>,
    /// What Twilio's own opt-out handling made of it.
    pub opt_out: Option<&'a str>,
    pub meta: Vec<(&'static str, &'a str)>,
    pub at: Timestamp,
    pub received_at: Timestamp,
}

pub(super) fn webhook(twilio: &Twilio, source: &Source<'_>) -> Vec<Inbound> {
    understood(twilio, source).unwrap_or_else(|reason| {
        let key = sha256_hex(source.fields());
        vec![unparsed(&twilio.channel, &key, reason, source.received_at, source.raw())]
    })
}

fn understood(twilio: &Twilio, source: &Source<'_>) -> Result<Vec<Inbound>, &'static str> {
    if !source.is_get && !is_form(source.content_type) {
        return Err("not a form");
    }
    let form = Form::of(source.fields());
    if form.filled("AccountSid").is_some_and(|sid| sid != twilio.account_sid) {
        return Err("AccountSid is another account's");
    }
    let word = form.filled("MessageStatus").or_else(|| form.filled("SmsStatus")).map(str::to_ascii_lowercase);
    let is_received = word.as_deref().is_none_or(|word| matches!(word, "received" | "receiving"));
    let says_something = ["Body", "NumMedia", "ButtonPayload", "ButtonText", "Latitude"];
    let says_something = says_something.iter().any(|name| form.get(name).is_some());
    if is_received && says_something {
        return heard(twilio, source, &form);
    }
    match word {
        Some(word) if !is_received || source.path == "/status" => receipt(twilio, source, &form, &word),
        _ => Err("neither a message nor a status"),
    }
}

fn heard(twilio: &Twilio, source: &Source<'_>, form: &Form<'_>) -> Result<Vec<Inbound>, &'static str> {
    let sid = form.sid().ok_or("no MessageSid")?;
    let names = [
        ("country", "FromCountry"),
        ("service", "MessagingServiceSid"),
        ("external_user_id", "ExternalUserId"),
        ("forwarded", "Forwarded"),
    ];
    let heard = Heard {
        sid,
        from: form.filled("From").ok_or("no From")?,
        to: form.filled("To"),
        text: text(form),
        name: form.filled("ProfileName"),
        attachments: attachments(form),
        choice: choice(form),
        opt_out: form.filled("OptOutType"),
        meta: names.iter().filter_map(|(name, field)| Some((*name, form.filled(field)?))).collect(),
        at: source.received_at,
        received_at: source.received_at,
    };
    events(twilio, heard, source.raw())
}

/// The message, after the change of consent that it is.
pub(super) fn events(twilio: &Twilio, heard: Heard<'_>, raw: Raw) -> Result<Vec<Inbound>, &'static str> {
    let mut from = number::origin(heard.from).ok_or("From is not an address")?;
    let channel = &twilio.channel;
    let (keyword, consent) = keyword(heard.opt_out, &heard.text);
    let consent = consent.map(|(state, reason)| {
        Inbound::Consent(ConsentChange {
            id: event_id(channel, "consent", heard.sid),
            channel: channel.clone(),
            address: from.clone(),
            state,
            at: heard.at,
            reason: Some(reason.to_owned()),
            topic: None,
        })
    });
    let meta = heard.meta.into_iter().chain([("provider", "twilio")]).chain(keyword.map(|word| ("keyword", word)));
    // One thread a person and network: the same number on WhatsApp is another conversation.
    let thread = number::written(&from);
    from.name = heard.name.map(|name| name.chars().take(200).collect());
    let message = Message {
        id: event_id(channel, "message", heard.sid),
        channel: channel.clone(),
        thread,
        at: heard.at,
        received_at: heard.received_at,
        from,
        to: heard.to.and_then(number::origin),
        content: Content {
            text: heard.text,
            attachments: heard.attachments,
            choice: heard.choice,
            ..Content::default()
        },
        references: vec![],
        provider_id: Some(heard.sid.to_owned()),
        visibility: Visibility::Private,
        automatic: false,
        authenticated: None,
        meta: meta.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        raw: Some(raw),
        traceparent: None,
        mail: None,
    };
    Ok(consent.into_iter().chain([Inbound::Message(Box::new(message))]).collect())
}

type Consent = (ConsentState, &'static str);

/// The keyword that rules see, and what it does to consent. What Twilio says goes before the word, for its lists can be
/// changed by the operator and its answer to the person has gone out already.
fn keyword(opt_out: Option<&str>, text: &str) -> (Option<&'static str>, Option<Consent>) {
    match opt_out.map(str::to_ascii_uppercase).as_deref() {
        Some("STOP") => return (Some("STOP"), Some((ConsentState::OptedOut, "STOP"))),
        Some("START") => return (Some("START"), Some((ConsentState::OptedIn, "START"))),
        Some("HELP") => return (Some("HELP"), None),
        _ => {}
    }
    match keywords::read(text) {
        Some(Keyword::Stop(word)) => (Some("STOP"), Some((ConsentState::OptedOut, word))),
        Some(Keyword::Start(word)) => (Some("START"), Some((ConsentState::OptedIn, word))),
        // The router knows whether the person had opted out; to anyone else this changes nothing.
        Some(Keyword::Yes) => (None, Some((ConsentState::OptedIn, "YES"))),
        Some(Keyword::Help(_)) => (Some("HELP"), None),
        None => (None, None),
    }
}

fn text(form: &Form<'_>) -> String {
    let body = form.filled("Body").or_else(|| form.filled("ButtonText"));
    if let Some(body) = body {
        return body.to_owned();
    }
    // A shared place has no body.
    let (Some(latitude), Some(longitude)) = (form.filled("Latitude"), form.filled("Longitude")) else {
        return String::new();
    };
    let names = [form.filled("Label"), form.filled("Address")].into_iter().flatten().collect::<Vec<_>>().join(", ");
    if names.is_empty() { format!("{latitude},{longitude}") } else { format!("{names} ({latitude},{longitude})") }
}

fn choice(form: &Form<'_>) -> Option<Choice> {
    let label = form.filled("ButtonText");
    let id = form.filled("ButtonPayload").or(label)?;
    Some(Choice { id: id.to_owned(), label: label.map(str::to_owned) })
}

/// The files, each with what is known of it: a file that Twilio counts but does not describe is still shown.
fn attachments(form: &Form<'_>) -> Vec<Attachment> {
    let counted = form.get("NumMedia").and_then(|n| n.trim().parse::<usize>().ok()).unwrap_or(0);
    (0..MEDIA_READ)
        .map(|i| (i, form.filled(&format!("MediaUrl{i}"))))
        .take_while(|(i, url)| *i < counted || url.is_some())
        .map(|(i, url)| {
            let mime = form.filled(&format!("MediaContentType{i}")).map(mime).unwrap_or_default();
            let is_web = |url: &&str| url.len() <= 2048 && (url.starts_with("https://") || url.starts_with("http://"));
            file(i, mime, url.filter(is_web).map(str::to_owned))
        })
        .collect()
}

pub(super) fn file(i: usize, mime: String, url: Option<String>) -> Attachment {
    let mime = if mime.is_empty() { "application/octet-stream".to_owned() } else { mime };
    Attachment { name: format!("file-{}.{}", i + 1, extension(&mime)), mime, url, ..Attachment::default() }
}

/// A media type without parameters, if it is one.
pub(super) fn mime(declared: &str) -> String {
    let essence = declared.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    let holds =
        essence.len() <= 100 && essence.split_once('/').is_some_and(|(kind, sub)| is_part(kind) && is_part(sub));
    if holds { essence } else { String::new() }
}

fn extension(mime: &str) -> &str {
    match mime {
        "image/jpeg" => "jpg",
        "image/svg+xml" => "svg",
        "audio/mpeg" => "mp3",
        "audio/mp4" => "m4a",
        "video/3gpp" | "audio/3gpp" => "3gp",
        "video/quicktime" => "mov",
        "text/plain" => "txt",
        "text/vcard" | "text/x-vcard" => "vcf",
        "text/calendar" => "ics",
        "application/octet-stream" => "bin",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        _ => mime
            .split_once('/')
            .map(|(_, sub)| sub)
            .filter(|sub| (2..=5).contains(&sub.len()) && sub.bytes().all(|b| b.is_ascii_alphanumeric()))
            .unwrap_or("bin"),
    }
}

fn receipt(twilio: &Twilio, source: &Source<'_>, form: &Form<'_>, word: &str) -> Result<Vec<Inbound>, &'static str> {
    let sid = form.sid().ok_or("no MessageSid")?;
    // A word that is not known yet says nothing that we could show.
    let Some(status) = status(word) else { return Ok(vec![]) };
    let is_code = |code: &&str| *code != "0" && code.len() <= 10 && code.bytes().all(|b| b.is_ascii_digit());
    let code = (status == ReceiptStatus::Failed).then(|| form.filled("ErrorCode").filter(is_code)).flatten();
    let detail =
        (status == ReceiptStatus::Failed).then(|| match code.and_then(|code| classify::find(super::CODES, code)) {
            Some(row) => row.sentence.to_owned(),
            None if word == "canceled" => "canceled before it was sent".to_owned(),
            None => "not delivered".to_owned(),
        });
    let attempt = attempt(source.query);
    let key = match code {
        Some(code) => format!("{sid}:{word}:{code}"),
        None => format!("{sid}:{word}"),
    };
    let opted_out = code
        .and_then(|code| classify::find(super::CODES, code))
        .filter(|row| row.class == Class::OptedOut)
        .and_then(|row| Some((row, form.filled("To").and_then(number::origin)?)));
    let consent = opted_out.map(|(row, address)| {
        Inbound::Consent(ConsentChange {
            id: event_id(&twilio.channel, "consent", &format!("{sid}:{}", row.code)),
            channel: twilio.channel.clone(),
            address,
            state: ConsentState::OptedOut,
            at: source.received_at,
            reason: Some(format!("the provider, {}", row.code)),
            topic: None,
        })
    });
    let receipt = Inbound::Receipt(Receipt {
        thread: None,
        id: event_id(&twilio.channel, "receipt", &key),
        channel: twilio.channel.clone(),
        provider_id: sid.to_owned(),
        send: attempt.as_ref().map(|(send, ..)| send.clone()),
        part: attempt.as_ref().map(|(_, part, _)| *part),
        n: attempt.as_ref().map(|(.., n)| *n),
        status,
        at: source.received_at,
        code: code.map(str::to_owned),
        detail,
    });
    Ok([receipt].into_iter().chain(consent).collect())
}

/// Twilio's words for how far a message is. `received` and `receiving` are said of messages to us, never of ours.
fn status(word: &str) -> Option<ReceiptStatus> {
    match word {
        "accepted" | "scheduled" | "queued" | "sending" | "sent" | "partially_delivered" => {
            Some(ReceiptStatus::Accepted)
        }
        "delivered" => Some(ReceiptStatus::Delivered),
        "read" => Some(ReceiptStatus::Read),
        "undelivered" | "failed" | "canceled" => Some(ReceiptStatus::Failed),
        _ => None,
    }
}
