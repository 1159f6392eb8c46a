//! What Vonage's webhooks say: messages, parts of longer ones, and receipts, of the SMS API (as query, form or JSON) and of the
//! Messages API.

use super::{
    Vonage,
    codes::{DELIVERY, MESSAGES},
};
use crate::{
    charset,
    kannel::short,
    number::{self, Form},
    request::{self, Source, essence, id_of, referred},
};
use serde_json::Value;
use switchboard_adapter_sdk::{
    classify::{self, Row},
    signature::{from_hex, sha256_hex},
};
use switchboard_envelope::{
    Address, Attachment, Content, Inbound, Message, Receipt, ReceiptStatus, Timestamp, event_id,
};

/// The most parts of one text that are joined; GSM counts them in a byte.
const MAX_PARTS: u16 = 255;

/// What a request carries, flat as the signature sees it.
pub(super) struct Body {
    pairs: Vec<(String, String)>,
    json: Option<Value>,
}

impl Body {
    pub(super) fn of(source: &Source<'_>) -> Result<Body, &'static str> {
        let form = |bytes: &[u8]| Body { pairs: form_urlencoded::parse(bytes).into_owned().collect(), json: None };
        if source.is_get {
            return Ok(form(source.query.as_bytes()));
        }
        match essence(source.content_type).as_str() {
            "" | "application/x-www-form-urlencoded" if source.body.first() != Some(&b'{') => Ok(form(source.body)),
            "" | "application/json" | "text/json" => Body::of_json(source.body),
            _ => Err("neither a form nor JSON"),
        }
    }

    fn of_json(bytes: &[u8]) -> Result<Body, &'static str> {
        let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(bytes) else {
            return Err("not a JSON object");
        };
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let pairs = fields.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        Ok(Body { pairs, json: Some(Value::Object(fields)) })
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.pairs().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// A field unless it is empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.raw(name).map(str::trim).filter(|text| !text.is_empty())
    }

    fn json(&self, pointer: &str) -> Option<&str> {
        self.json.as_ref()?.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
    }
}

pub(super) fn webhook(vonage: &Vonage, source: &Source<'_>) -> Vec<Inbound> {
    let read = Body::of(source).and_then(|body| understood(vonage, source, &body));
    read.unwrap_or_else(|reason| vec![source.unparsed(&vonage.channel, reason)])
}

fn understood(vonage: &Vonage, source: &Source<'_>, body: &Body) -> Result<Vec<Inbound>, &'static str> {
    if body.text("api-key").is_some_and(|key| key != vonage.signing.api_key) {
        return Err("api-key is another account's");
    }
    match (body.text("message_uuid"), body.text("messageId")) {
        (Some(id), _) if body.text("status").is_some() => Ok(status(vonage, source, body, id)),
        (Some(id), _) => said(vonage, source, body, id),
        (None, Some(id)) if body.text("status").is_some() => Ok(receipt(vonage, source, body, id)),
        (None, Some(id)) => heard(vonage, source, body, id),
        (None, None) => Err("neither a message nor a receipt"),
    }
}

/// A text by the SMS API.
fn heard(vonage: &Vonage, source: &Source<'_>, body: &Body, id: &str) -> Result<Vec<Inbound>, &'static str> {
    let from = Form::Digits.read(body.text("msisdn").ok_or("no msisdn")?).ok_or("msisdn is no address")?;
    let is_binary = body.text("type") == Some("binary");
    let text = match body.raw("text") {
        Some(text) if !is_binary => text.to_owned(),
        _ if is_binary => {
            charset::shown_binary(&body.text("data").and_then(from_hex).ok_or("binary data that is not hexadecimal")?)
        }
        _ => return Err("no text"),
    };
    let mut message = request::message(&vonage.channel, &id_of(id), from, source);
    message.provider_id = Some(id_of(id));
    message.at = body.text("message-timestamp").and_then(utc).unwrap_or(source.received_at);
    message.to = body.text("to").and_then(|to| Form::Digits.read(to));
    message.content = Content::text(text);
    tell(&mut message, "provider", Some("vonage"));
    tell(&mut message, "network", body.text("network-code"));
    tell(&mut message, "binary", is_binary.then_some("true"));
    if let Some((key, number, total)) = part(body) {
        tell(&mut message, "part_of", Some(&key));
        tell(&mut message, "part", Some(&number.to_string()));
        tell(&mut message, "parts", Some(&total.to_string()));
    }
    Ok(vec![Inbound::Message(Box::new(message))])
}

/// Of which longer text a message is a part. Vonage counts from one; a part that cannot be one of its text stands alone.
fn part(body: &Body) -> Option<(String, u16, u16)> {
    if body.text("concat") != Some("true") {
        return None;
    }
    let count = |name: &str| body.text(name)?.parse::<u16>().ok();
    let (number, total) = (count("concat-part")?, count("concat-total")?);
    let is_part = (2..=MAX_PARTS).contains(&total) && (1..=total).contains(&number);
    // References repeat soon, so the people and the count are part of the key.
    let key = [body.text("msisdn")?, body.text("to").unwrap_or_default(), body.text("concat-ref")?].join("\n");
    is_part.then(|| (sha256_hex(format!("{key}\n{total}").as_bytes()), number, total))
}

fn tell(message: &mut Message, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        message.meta.insert(name.to_owned(), short(value));
    }
}

/// A message by the Messages API.
fn said(vonage: &Vonage, source: &Source<'_>, body: &Body, id: &str) -> Result<Vec<Inbound>, &'static str> {
    let network = body.text("channel").unwrap_or("sms").to_ascii_lowercase();
    // Older versions wrap an address into an object.
    let sender = body.json("/from/number").or_else(|| body.text("from")).ok_or("no from")?;
    let from = address(&network, sender).ok_or("from is no address")?;
    let kind = body.text("message_type").or_else(|| body.json("/message/content/type")).unwrap_or("text").to_owned();
    let mut message = request::message(&vonage.channel, &id_of(id), from, source);
    message.provider_id = Some(id_of(id));
    message.at = body.text("timestamp").and_then(|at| at.parse().ok()).unwrap_or(source.received_at);
    let to = body.json("/to/number").or_else(|| body.text("to"));
    message.to = to.and_then(|to| address(&network, to));
    let text = body.json("/text").or_else(|| body.json("/message/content/text"));
    let pointer = |field: &str| format!("/{kind}/{field}");
    let caption = body.json(&pointer("caption"));
    message.content = Content::text(text.or(caption).unwrap_or_default());
    if let Some(url) = body.json(&pointer("url")).filter(|url| url.len() <= 2048 && url.starts_with("https://")) {
        let name = body.json(&pointer("name")).map_or_else(|| kind.clone(), short);
        message.content.attachments.push(Attachment {
            name,
            mime: "application/octet-stream".into(),
            url: Some(url.to_owned()),
            ..Attachment::default()
        });
    }
    if message.content.text.is_empty() && message.content.attachments.is_empty() && kind != "text" {
        return Err("a kind of message that cannot be shown");
    }
    if text.is_none() && kind == "text" {
        return Err("no text");
    }
    tell(&mut message, "provider", Some("vonage"));
    tell(&mut message, "network", Some(network.as_str()).filter(|network| *network != "sms"));
    Ok(vec![Inbound::Message(Box::new(message))])
}

fn address(network: &str, text: &str) -> Option<Address> {
    let known = Form::Digits.read(text)?;
    let is_person = known.kind == "phone" && !matches!(network, "sms" | "mms");
    // The same number elsewhere is another conversation.
    let elsewhere = || number::address(&format!("{network}:{}", known.value));
    if is_person { elsewhere().or(Some(known)) } else { Some(known) }
}

/// A delivery receipt of the SMS API.
fn receipt(vonage: &Vonage, source: &Source<'_>, body: &Body, id: &str) -> Vec<Inbound> {
    let word = body.text("status").unwrap_or_default().to_ascii_lowercase();
    let status = match word.as_str() {
        "delivered" => ReceiptStatus::Delivered,
        "accepted" | "buffered" => ReceiptStatus::Accepted,
        "expired" | "failed" | "rejected" | "undeliverable" => ReceiptStatus::Failed,
        // Nobody knows; what is known stays.
        _ => return vec![],
    };
    let code = body.text("err-code").filter(|code| *code != "0");
    let at = body.text("message-timestamp").and_then(utc).unwrap_or(source.received_at);
    let sentence = if word == "expired" { "the phone was not reached in time" } else { "not delivered" };
    vec![told(vonage, body.text("client-ref"), id, &word, Told { status, code, table: DELIVERY, sentence, at })]
}

/// A status of the Messages API.
fn status(vonage: &Vonage, source: &Source<'_>, body: &Body, id: &str) -> Vec<Inbound> {
    let word = body.text("status").unwrap_or_default().to_ascii_lowercase();
    let status = match word.as_str() {
        "submitted" => ReceiptStatus::Accepted,
        "delivered" => ReceiptStatus::Delivered,
        "read" => ReceiptStatus::Read,
        "rejected" | "undeliverable" => ReceiptStatus::Failed,
        _ => return vec![],
    };
    let number = body.json.as_ref().and_then(|json| json.pointer("/error/title")).and_then(Value::as_u64);
    let number = number.map(|number| number.to_string());
    let code =
        number.as_deref().or_else(|| body.json("/error/type").map(code_of)).or_else(|| body.json("/error/title"));
    let at = body.text("timestamp").and_then(|at| at.parse().ok()).unwrap_or(source.received_at);
    let told_of = Told { status, code, table: MESSAGES, sentence: "not delivered", at };
    vec![told(vonage, body.text("client_ref"), id, &word, told_of)]
}

/// The code at the end of an error's address: `…/messages#1150`.
pub(super) fn code_of(address: &str) -> &str {
    address.rsplit(['#', '/']).find(|part| !part.is_empty()).unwrap_or(address)
}

struct Told<'a> {
    status: ReceiptStatus,
    code: Option<&'a str>,
    table: &'static [Row],
    sentence: &'static str,
    at: Timestamp,
}

fn told(vonage: &Vonage, reference: Option<&str>, id: &str, word: &str, told: Told<'_>) -> Inbound {
    let failed = told.status == ReceiptStatus::Failed;
    let is_code = |code: &&str| code.len() <= 20 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let code = told.code.filter(is_code).filter(|_| failed);
    let row = code.and_then(|code| classify::find(told.table, code));
    let attempt = reference.and_then(referred);
    let provider_id = id_of(id);
    let key = match code {
        Some(code) => format!("{provider_id}:{word}:{code}"),
        None => format!("{provider_id}:{word}"),
    };
    Inbound::Receipt(Receipt {
        thread: None,
        id: event_id(&vonage.channel, "receipt", &key),
        channel: vonage.channel.clone(),
        provider_id,
        send: attempt.as_ref().map(|(send, ..)| send.clone()),
        part: attempt.as_ref().map(|(_, part, _)| *part),
        n: attempt.as_ref().map(|(.., n)| *n),
        status: told.status,
        at: told.at,
        code: code.map(str::to_owned),
        detail: failed.then(|| row.map_or(told.sentence, |row| row.sentence).to_owned()),
    })
}

/// `2020-01-01 12:00:00`, in UTC.
fn utc(text: &str) -> Option<Timestamp> {
    let at = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()?;
    Some(Timestamp::from_jiff(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()))
}
