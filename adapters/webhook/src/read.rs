//! What comes in: one inbound envelope a request. What the daemon knows better, or can fill in, may be left out.

use crate::{MAX_FILES, MAX_URL, Webhook, signature};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::BTreeMap;
use switchboard_adapter_sdk::{
    RawRequest,
    signature::{sha256_hex, to_base64},
};
use switchboard_envelope::{
    Address, Attachment, Choice, ConsentChange, ConsentState, Content, Echo, FileProblem, Inbound, JsonProblem,
    Message, Raw, Receipt, ReceiptStatus, Timestamp, Unparsed, VERSION, Visibility, event_id,
};

/// The longest raw body that travels inside its record, in bytes.
const MAX_INLINE: usize = 16 * 1024;
/// The longest `webhook-id` that stands in an event's id as it is.
const MAX_KEY: usize = 256;
const MAX_NAME: usize = 200;
/// What a message's `meta` holds at most: names, the parts of one list, and bytes in all.
const MAX_META: usize = 100;
const MAX_LIST: usize = 100;
const MAX_META_BYTES: usize = 32 * 1024;

/// A request, live or out of quarantine.
pub(crate) struct Source<'a> {
    /// The `webhook-id`; a request that was let through without a signature may have none.
    pub id: Option<&'a str>,
    pub content_type: &'a str,
    pub body: &'a [u8],
    pub received_at: Timestamp,
}

impl<'a> Source<'a> {
    pub(crate) fn of(request: &'a RawRequest) -> Source<'a> {
        let content_type = request.headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        Source {
            id: signature::single(&request.headers, signature::ID),
            content_type: content_type.unwrap_or("application/json"),
            body: &request.body,
            received_at: request.received_at,
        }
    }

    /// The sender's idempotency key, which is the event's.
    fn key(&self) -> String {
        match self.id {
            Some(id) if id.len() <= MAX_KEY && id.bytes().all(|b| b.is_ascii_graphic()) => id.to_owned(),
            Some(id) => sha256_hex(id.as_bytes()),
            None => sha256_hex(self.body),
        }
    }

    /// Everything that reading it again needs. A body over the limit is left out; whoever stores the record puts a blob there.
    fn raw(&self) -> Raw {
        let meta = self.id.map(|id| (signature::ID.to_owned(), id.to_owned()));
        let inline = (self.body.len() <= MAX_INLINE).then(|| to_base64(self.body));
        Raw { content_type: self.content_type.to_owned(), blob: None, inline, meta: meta.into_iter().collect() }
    }
}

/// What every body says first. The payload may stand under `data`, as Standard Webhooks proposes.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    v: Option<u64>,
    #[serde(rename = "type")]
    kind: String,
    // In a plain envelope the other names stand for nothing, and may hold anything.
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    timestamp: Option<Value>,
    #[serde(default)]
    data: Option<serde::de::IgnoredAny>,
}

impl Head {
    /// An envelope says its version; a frame around one does not.
    fn is_frame(&self) -> bool {
        self.v.is_none() && self.data.is_some()
    }

    fn timestamp(&self) -> Option<Timestamp> {
        self.timestamp.as_ref()?.as_str()?.parse().ok()
    }
}

#[derive(Deserialize)]
struct Framed<T> {
    data: T,
}

/// A message, with what may be left out left out.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    thread: Option<String>,
    #[serde(default)]
    at: Option<Timestamp>,
    from: Party,
    #[serde(default)]
    to: Option<Party>,
    /// Short for a content that is only this.
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    content: Option<Body>,
    #[serde(default)]
    references: Vec<String>,
    #[serde(default)]
    provider_id: Option<String>,
    #[serde(default)]
    visibility: Visibility,
    #[serde(default)]
    automatic: bool,
    #[serde(default)]
    authenticated: Option<bool>,
    #[serde(default)]
    meta: BTreeMap<String, Value>,
    #[serde(default)]
    traceparent: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Party {
    /// An address of the channel's own kind.
    Value(String),
    Address(Address),
}

#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    html: Option<String>,
    #[serde(default)]
    attachments: Vec<File>,
    #[serde(default)]
    choice: Option<Choice>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    mime: Option<String>,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    url: Option<String>,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    provider_id: Option<String>,
    #[serde(default)]
    send: Option<String>,
    #[serde(default)]
    part: Option<u16>,
    #[serde(default)]
    n: Option<u32>,
    status: ReceiptStatus,
    #[serde(default)]
    at: Option<Timestamp>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    detail: Option<String>,
}

#[derive(Deserialize)]
struct Chose {
    #[serde(default)]
    channel: Option<String>,
    address: Party,
    state: ConsentState,
    #[serde(default)]
    at: Option<Timestamp>,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Seen {
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    thread: Option<String>,
    #[serde(default)]
    at: Option<Timestamp>,
    #[serde(default)]
    provider_id: Option<String>,
    #[serde(default)]
    send: Option<String>,
    #[serde(default)]
    part: Option<u16>,
    #[serde(default)]
    n: Option<u32>,
    to: Party,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    content: Option<Body>,
}

pub(crate) fn request(webhook: &Webhook, source: &Source<'_>) -> Vec<Inbound> {
    let read = understood(webhook, source).and_then(|event| match event.validate() {
        Ok(()) => Ok(event),
        // It names fields and rules only. What stands in backticks would not be shown, for elsewhere that is what was said.
        Err(e) => Err(e.to_string().replace('`', "")),
    });
    let event = read.unwrap_or_else(|reason| {
        Inbound::Unparsed(Unparsed {
            id: event_id(&webhook.channel, "unparsed", &source.key()),
            channel: webhook.channel.clone(),
            reason,
            at: source.received_at,
            raw: source.raw(),
        })
    });
    vec![event]
}

/// The event, or why there is none: a sentence that quotes nothing of the body.
fn understood(webhook: &Webhook, source: &Source<'_>) -> Result<Inbound, String> {
    let head: Head = json(source.body)?;
    if head.v.is_some_and(|v| v != u64::from(VERSION)) {
        return Err(format!("field v: this build reads version {VERSION}"));
    }
    let reader = Reader { webhook, source, head: &head };
    // The names with a dot are what Standard Webhooks calls a hierarchy of event types.
    match head.kind.strip_suffix(".inbound").unwrap_or(&head.kind) {
        "message" => reader.message(),
        "receipt" => reader.receipt(),
        "consent" => reader.consent(),
        "echo" => reader.echo(),
        "command" | "result" | "send" | "reconcile" => {
            Err("field type: a webhook channel takes message, receipt, consent and echo only".into())
        }
        _ => Err("field type: unknown; write message, receipt, consent or echo".into()),
    }
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|e| JsonProblem::of(&e, body).to_string())
}

struct Reader<'a> {
    webhook: &'a Webhook,
    source: &'a Source<'a>,
    head: &'a Head,
}

impl Reader<'_> {
    fn payload<T: DeserializeOwned>(&self) -> Result<T, String> {
        if self.head.is_frame() { Ok(json::<Framed<T>>(self.source.body)?.data) } else { json(self.source.body) }
    }

    fn event_id(&self, kind: &str) -> String {
        event_id(&self.webhook.channel, kind, &self.source.key())
    }

    /// The provider's time, for display: the payload's, the frame's, or when it came.
    fn at(&self, written: Option<Timestamp>) -> Timestamp {
        written.or_else(|| self.head.timestamp()).unwrap_or(self.source.received_at)
    }

    fn ours(&self, channel: Option<&str>) -> Result<(), String> {
        match channel {
            Some(named) if named != self.webhook.channel => Err("field channel: it is another channel's".into()),
            _ => Ok(()),
        }
    }

    fn address(&self, field: &str, party: Party) -> Result<Address, String> {
        let mut address = match party {
            Party::Value(value) => Address::new(self.webhook.address_kind.clone(), value),
            Party::Address(address) => address,
        };
        crate::address_kind_of(&address.kind).map_err(|_| format!("field {field}: its kind is of another form"))?;
        if address.value.chars().any(char::is_control) {
            return Err(format!("field {field}: holds a control character"));
        }
        address.name = address.name.map(|name| shown(&name));
        Ok(address)
    }

    fn message(&self) -> Result<Inbound, String> {
        let said: Said = self.payload()?;
        self.ours(said.channel.as_deref())?;
        let from = self.address("from", said.from)?;
        let to = said.to.map(|to| self.address("to", to)).transpose()?;
        let content = content(said.text, said.content)?;
        Ok(Inbound::Message(Box::new(Message {
            id: self.event_id("message"),
            channel: self.webhook.channel.clone(),
            thread: thread(said.thread, &from)?,
            at: self.at(said.at),
            received_at: self.source.received_at,
            provider_id: Some(self.provider_id("message", said.provider_id, said.id.as_deref())),
            from,
            to,
            content,
            references: said.references.into_iter().filter(|r| is_plain(r)).take(100).collect(),
            visibility: said.visibility,
            automatic: said.automatic,
            authenticated: said.authenticated,
            meta: meta(said.meta),
            raw: Some(self.source.raw()),
            traceparent: said.traceparent.filter(|trace| trace.len() <= MAX_KEY && is_plain(trace)),
            mail: None,
        })))
    }

    /// The sender's name for its message: what it says, the id of the body, or of the request.
    fn provider_id(&self, kind: &str, written: Option<String>, id: Option<&str>) -> String {
        let prefix = event_id(&self.webhook.channel, kind, "");
        let named =
            id.or_else(|| self.head.id.as_ref()?.as_str()).map(|id| id.strip_prefix(&prefix).unwrap_or(id).to_owned());
        written.or(named).filter(|id| is_plain(id)).unwrap_or_else(|| self.source.key())
    }

    fn receipt(&self) -> Result<Inbound, String> {
        let told: Told = self.payload()?;
        self.ours(told.channel.as_deref())?;
        let named = told.provider_id.filter(|id| is_plain(id));
        // Our own id of the message says as much as theirs.
        let provider_id = named.or_else(|| Some(format!("{}_{}", told.send.as_deref()?, told.part.unwrap_or(1))));
        Ok(Inbound::Receipt(Receipt {
            thread: None,
            id: self.event_id("receipt"),
            channel: self.webhook.channel.clone(),
            provider_id: provider_id.ok_or("field provider_id: write it, or send")?,
            send: told.send,
            part: told.part,
            n: told.n,
            status: told.status,
            at: self.at(told.at),
            code: told.code.map(|code| shown(&code)),
            detail: told.detail.map(|detail| shown(&detail)),
        }))
    }

    fn consent(&self) -> Result<Inbound, String> {
        let chose: Chose = self.payload()?;
        self.ours(chose.channel.as_deref())?;
        Ok(Inbound::Consent(ConsentChange {
            id: self.event_id("consent"),
            channel: self.webhook.channel.clone(),
            address: self.address("address", chose.address)?,
            state: chose.state,
            at: self.at(chose.at),
            reason: chose.reason.map(|reason| shown(&reason)),
            topic: None,
        }))
    }

    fn echo(&self) -> Result<Inbound, String> {
        let seen: Seen = self.payload()?;
        self.ours(seen.channel.as_deref())?;
        let to = self.address("to", seen.to)?;
        Ok(Inbound::Echo(Box::new(Echo {
            id: self.event_id("echo"),
            channel: self.webhook.channel.clone(),
            thread: thread(seen.thread, &to)?,
            at: self.at(seen.at),
            provider_id: self.provider_id("echo", seen.provider_id, None),
            send: seen.send,
            part: seen.part,
            n: seen.n,
            to,
            content: content(seen.text, seen.content)?,
        })))
    }
}

/// One thread a person, unless the sender has threads of its own.
fn thread(written: Option<String>, person: &Address) -> Result<String, String> {
    let thread = written.unwrap_or_else(|| person.value.clone());
    if thread.chars().any(char::is_control) {
        Err("field thread: holds a control character".into())
    } else {
        Ok(thread)
    }
}

fn content(text: Option<String>, body: Option<Body>) -> Result<Content, String> {
    if text.is_none() && body.is_none() {
        return Err("field content: write it, or text".into());
    }
    let body = body.unwrap_or_default();
    if body.attachments.len() > MAX_FILES {
        return Err(format!("field content.attachments: more than {MAX_FILES}"));
    }
    Ok(Content {
        text: body.text.or(text).unwrap_or_default(),
        subject: body.subject,
        html: body.html,
        attachments: body.attachments.into_iter().enumerate().map(|(i, file)| attachment(i, file)).collect(),
        choice: body.choice,
        ..Content::default()
    })
}

/// A file is known by its address only: a `ref` would name a blob of ours, and is nobody else's to give.
fn attachment(i: usize, file: File) -> Attachment {
    let name = file.name.map(|name| shown(&name)).filter(|name| !name.trim().is_empty());
    let mime =
        file.mime.filter(|mime| mime.len() <= 100 && mime.bytes().all(|b| b.is_ascii_graphic()) && mime.contains('/'));
    let is_web = |url: &String| url.len() <= MAX_URL && (url.starts_with("https://") || url.starts_with("http://"));
    let url = file.url.filter(is_web);
    let problem = url.is_none().then(|| FileProblem { detail: "it came without an address".into(), again: false });
    Attachment {
        name: name.unwrap_or_else(|| format!("file-{}", i + 1)),
        mime: mime.unwrap_or_else(|| "application/octet-stream".into()),
        size: file.size,
        blob: None,
        url,
        problem,
        thread: None,
        content_id: None,
    }
}

/// What rules see as `meta.<name>`: texts, numbers and booleans as they are written; lists of such with commas between, and what an
/// object holds as `<name>-<key>`. What is deeper is left out, and so is what finds no room any more, in the order of the names.
fn meta(written: BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    let mut inside = vec![];
    for (name, value) in written {
        match value {
            Value::Object(fields) => inside.push((name, fields)),
            value => flat.extend(plain(&value).map(|text| (name, text))),
        }
    }
    for (name, fields) in inside {
        for (key, value) in fields {
            let name = format!("{name}-{key}");
            // What is written under this very name says more.
            if is_key(&name) && !flat.contains_key(&name) {
                flat.extend(plain(&value).map(|text| (name, text)));
            }
        }
    }
    let (mut names, mut room) = (0, MAX_META_BYTES);
    flat.retain(|name, value| {
        let left = room.checked_sub(name.len() + value.len()).filter(|_| names < MAX_META);
        (names, room) = (names + usize::from(left.is_some()), left.unwrap_or(room));
        left.is_some()
    });
    flat
}

fn plain(value: &Value) -> Option<String> {
    let Value::Array(list) = value else { return scalar(value) };
    let texts: Vec<String> = list.iter().take(MAX_LIST).filter_map(scalar).filter(|text| !text.is_empty()).collect();
    Some(texts.join(", ")).filter(|text| !text.is_empty())
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether rules can name it.
fn is_key(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

/// A name or a sentence that people read.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

fn is_plain(id: &str) -> bool {
    (1..=512).contains(&id.len()) && !id.chars().any(char::is_control)
}
