//! Reading and writing: the version and the type are looked at first, then the one body that they name.

use crate::{Address, Content, MAX_EVENT_ID, inbound::Inbound, is_id, outbound::Outbound};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::borrow::Cow;
use thiserror::Error;

/// The version that this build reads and writes.
pub const VERSION: u32 = 1;

/// The largest envelope in bytes; what is longer travels as a blob. A broker refuses records of a mebibyte.
pub const MAX_ENVELOPE: usize = 900 * 1024;

/// Room for an envelope as it mostly is, so that it is not moved again and again while it grows.
const USUAL: usize = 512;

/// Why an envelope is refused. No variant holds anything of what was in it: these texts reach logs and public events, and
/// an envelope holds what a customer wrote.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WireError {
    #[error("not a JSON envelope: {0}")]
    Json(JsonProblem),
    #[error("envelope version {found} is not supported: this build reads version {VERSION}")]
    Version { found: u64 },
    #[error("unknown envelope type")]
    Type,
    #[error("field `{field}`: {problem}")]
    Field { field: &'static str, problem: String },
    #[error("{size} bytes are over the limit of {MAX_ENVELOPE}")]
    TooLarge { size: usize },
}

/// What is wrong with a JSON text and where, without quoting it, as the parser's own messages do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what}{} at line {line}, column {column}", named(.field.as_deref()))]
pub struct JsonProblem {
    pub what: &'static str,
    /// The field that it is about, where that is known: names only, never a value.
    pub field: Option<Box<str>>,
    /// From 1; 0 when the parser cannot say.
    pub line: usize,
    /// From 1, in bytes; 0 when the parser cannot say.
    pub column: usize,
}

impl From<&serde_json::Error> for JsonProblem {
    fn from(error: &serde_json::Error) -> JsonProblem {
        use serde_json::error::Category;
        let what = match error.classify() {
            Category::Io => "it cannot be read",
            Category::Syntax => "it is no JSON",
            Category::Data => "a field is missing or has another type or form",
            Category::Eof => "it ends too early",
        };
        let is_data = error.classify() == Category::Data;
        let field = if is_data { missing_field(&error.to_string()) } else { None };
        JsonProblem { what, field, line: error.line(), column: error.column() }
    }
}

impl JsonProblem {
    /// What is wrong with these bytes, with the field in which it is.
    #[must_use]
    pub fn of(error: &serde_json::Error, bytes: &[u8]) -> JsonProblem {
        let mut problem = JsonProblem::from(error);
        if error.is_data() && problem.field.is_none() {
            problem.field = field_at(bytes, problem.line, problem.column);
        }
        problem
    }
}

/// The fields of envelopes, and of the frame in which one may come, in the order of the alphabet.
#[rustfmt::skip]
const FIELDS: &[&str] = &[
    "action", "actor", "address", "again", "agent", "answers", "at", "attachments", "attributes", "authenticated",
    "author", "automatic", "believed", "body_hash", "by", "category", "channel", "channel_refused", "choice",
    "choices", "code", "consent", "contact", "content", "content_id", "content_type", "conversation", "data",
    "destination", "detail", "do", "fault", "first", "from", "hash", "html", "id", "inline", "into", "kind",
    "label", "language", "mail", "mended", "message", "meta", "mime", "n", "name", "no_auto_reply", "offer", "opted_out",
    "original", "others", "outcome", "part", "percent", "presence", "priority", "problem", "promote", "proved",
    "provider_id", "provider_ids", "quarantined", "queue", "quote", "raw", "read", "reason", "received_at",
    "reconciled", "ref", "references", "released_at", "reply_to", "retry_after_ms", "rule", "scope", "seen", "send",
    "sender_proof", "signature", "size", "state", "status", "subject", "tags", "take", "target", "template", "text", "thread",
    "timestamp", "to", "to_channel", "token", "topic", "traceparent", "type", "unblock", "until", "up_to", "url",
    "v", "value", "values", "visibility", "window_until", "within", "zone",
];

/// Whether this is the name of a field of ours. Naming it repeats nothing that a stranger chose.
#[must_use]
pub fn is_field(name: &str) -> bool {
    FIELDS.binary_search(&name).is_ok()
}

fn named(field: Option<&str>) -> String {
    field.map(|name| format!(": `{name}`")).unwrap_or_default()
}

/// The parser's word for a field that is missing names the field of our own type, and quotes nothing.
fn missing_field(said: &str) -> Option<Box<str>> {
    said.strip_prefix("missing field `")?.split('`').next().map(Box::from)
}

/// The keys that lead to a place of a JSON text, with dots between. What does not look like the name of a field is not repeated.
fn field_at(bytes: &[u8], line: usize, column: usize) -> Option<Box<str>> {
    let start: usize = bytes.split_inclusive(|b| *b == b'\n').take(line.checked_sub(1)?).map(<[u8]>::len).sum();
    let before = bytes.get(..start.saturating_add(column).min(bytes.len()))?;
    let (mut keys, mut text, mut latest): (Vec<&[u8]>, Option<usize>, &[u8]) = (vec![], None, &[]);
    let mut escaped = false;
    for (i, b) in before.iter().enumerate() {
        match (text, b) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(from), b'"') => {
                latest = before.get(from..i).unwrap_or_default();
                text = None;
            }
            (Some(_), _) => {}
            (None, b'"') => text = Some(i + 1),
            (None, b'{' | b'[') => keys.push(&[]),
            // The error may stand at the end of the value itself.
            (None, b'}' | b']') if i + 1 < before.len() => drop(keys.pop()),
            (None, b':') => {
                if let Some(key) = keys.last_mut() {
                    *key = latest;
                }
            }
            (None, _) => {}
        }
    }
    let is_name = |key: &&[u8]| {
        (1..=64).contains(&key.len()) && key.iter().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(b))
    };
    let names: Vec<&str> =
        keys.into_iter().filter(is_name).take(8).filter_map(|k| std::str::from_utf8(k).ok()).collect();
    (!names.is_empty()).then(|| names.join(".").into())
}

#[derive(Deserialize)]
struct Head<'a> {
    v: u64,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Serialize)]
struct Framed<'a, T> {
    v: u32,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

fn head(bytes: &[u8]) -> Result<Head<'_>, WireError> {
    if bytes.len() > MAX_ENVELOPE {
        return Err(WireError::TooLarge { size: bytes.len() });
    }
    if let Some(head) = written_head(bytes) {
        return Ok(head);
    }
    let head: Head<'_> = read(bytes)?;
    if head.v != u64::from(VERSION) {
        return Err(WireError::Version { found: head.v });
    }
    Ok(head)
}

/// The head where [`write`] puts it, which spares reading the text twice. Whether the rest is JSON is the body's reader's to
/// judge; to it, more of these two fields are unknown ones.
fn written_head(bytes: &[u8]) -> Option<Head<'_>> {
    const BEGINNING: &[u8] = br#"{"v":1,"type":""#;
    const _: () = assert!(VERSION == 1);
    let rest = bytes.strip_prefix(BEGINNING)?;
    let end = rest.iter().position(|b| *b == b'"')?;
    let kind = rest.get(..end)?;
    if !kind.iter().all(u8::is_ascii_lowercase) {
        return None;
    }
    Some(Head { v: u64::from(VERSION), kind: Cow::Borrowed(std::str::from_utf8(kind).ok()?) })
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, WireError> {
    serde_json::from_slice(bytes).map_err(|e| WireError::Json(JsonProblem::of(&e, bytes)))
}

fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    read(bytes)
}

fn write<T: Serialize>(kind: &str, body: &T) -> Vec<u8> {
    // These types hold strings, numbers, lists and string-keyed maps only: writing them into memory cannot fail.
    let mut bytes = Vec::with_capacity(USUAL);
    if serde_json::to_writer(&mut bytes, &Framed { v: VERSION, kind, body }).is_err() {
        bytes.clear();
    }
    bytes
}

impl Inbound {
    /// Reads and validates a record of IN.
    ///
    /// # Errors
    /// When the bytes are no envelope, of another version or an unknown type, or when a field breaks its rule.
    pub fn from_slice(bytes: &[u8]) -> Result<Inbound, WireError> {
        let inbound = match head(bytes)?.kind.as_ref() {
            "message" => Inbound::Message(Box::new(body(bytes)?)),
            "echo" => Inbound::Echo(Box::new(body(bytes)?)),
            "receipt" => Inbound::Receipt(body(bytes)?),
            "consent" => Inbound::Consent(body(bytes)?),
            "result" => Inbound::Result(body(bytes)?),
            "command" => Inbound::Command(Box::new(body(bytes)?)),
            "unparsed" => Inbound::Unparsed(body(bytes)?),
            "refused" => Inbound::Refused(body(bytes)?),
            _ => return Err(WireError::Type),
        };
        inbound.validate()?;
        Ok(inbound)
    }

    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let kind = self.kind();
        match self {
            Inbound::Message(b) => write(kind, b),
            Inbound::Echo(b) => write(kind, b),
            Inbound::Receipt(b) => write(kind, b),
            Inbound::Consent(b) => write(kind, b),
            Inbound::Result(b) => write(kind, b),
            Inbound::Command(b) => write(kind, b),
            Inbound::Unparsed(b) => write(kind, b),
            Inbound::Refused(b) => write(kind, b),
        }
    }

    /// The rules that types alone do not hold.
    ///
    /// # Errors
    /// With the first field that breaks its rule.
    pub fn validate(&self) -> Result<(), WireError> {
        let (id, channel) = (self.id(), self.channel());
        check(is_id(channel), "channel", || "is not an id: write a-z, 0-9 and `-`".into())?;
        let prefix_holds = id
            .strip_prefix(channel)
            .and_then(|rest| rest.strip_prefix(':'))
            .and_then(|rest| rest.strip_prefix(self.kind()))
            .and_then(|rest| rest.strip_prefix(':'))
            .is_some_and(|key| !key.is_empty());
        check(prefix_holds, "id", || format!("must be `<channel>:{}:<event key>`", self.kind()))?;
        check(id.len() <= MAX_EVENT_ID, "id", || format!("longer than {MAX_EVENT_ID} bytes"))?;
        check(!id.chars().any(char::is_control), "id", || "holds a control character".into())?;
        match self {
            Inbound::Message(m) => {
                check(!m.thread.is_empty() && m.thread.len() <= 1024, "thread", || "must hold 1 to 1024 bytes".into())?;
                address("from", &m.from)?;
                m.to.as_ref().map_or(Ok(()), |to| address("to", to))?;
                content(&m.content)?;
                let named = m.mail.as_ref().and_then(|mail| mail.answers.as_ref());
                check(named.is_none_or(|a| a.conversation.len() <= 64), "mail", || "names no conversation".into())?;
                check(m.references.len() <= 100, "references", || "more than 100".into())
            }
            Inbound::Echo(e) => address("to", &e.to).and_then(|()| content(&e.content)),
            Inbound::Consent(c) => {
                let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
                let is_name = |topic: &String| (1..=64).contains(&topic.len()) && topic.bytes().all(plain);
                let named = c.topic.as_ref().is_none_or(is_name);
                check(named, "topic", || "must be 1 to 64 letters, digits, `-` and `_`".into())?;
                address("address", &c.address)
            }
            Inbound::Result(r) => {
                check(r.part >= 1, "part", || "counts from 1".into())?;
                check(r.n >= 1, "n", || "counts from 1".into())
            }
            Inbound::Receipt(_) | Inbound::Command(_) | Inbound::Unparsed(_) | Inbound::Refused(_) => Ok(()),
        }
    }
}

impl Outbound {
    /// Reads a record of OUT.
    ///
    /// # Errors
    /// When the bytes are no envelope, of another version or of an unknown type.
    pub fn from_slice(bytes: &[u8]) -> Result<Outbound, WireError> {
        match head(bytes)?.kind.as_ref() {
            "send" => Ok(Outbound::Send(Box::new(body(bytes)?))),
            "reconcile" => Ok(Outbound::Reconcile(body(bytes)?)),
            _ => Err(WireError::Type),
        }
    }

    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        match self {
            Outbound::Send(b) => write("send", b),
            Outbound::Reconcile(b) => write("reconcile", b),
        }
    }
}

fn check(ok: bool, field: &'static str, problem: impl FnOnce() -> String) -> Result<(), WireError> {
    if ok { Ok(()) } else { Err(WireError::Field { field, problem: problem() }) }
}

fn address(field: &'static str, a: &Address) -> Result<(), WireError> {
    check(!a.kind.is_empty() && a.kind.len() <= 32, field, || "kind must hold 1 to 32 bytes".into())?;
    check(!a.value.is_empty() && a.value.len() <= 512, field, || "value must hold 1 to 512 bytes".into())?;
    let within = a.within.as_ref().is_none_or(|account| !account.is_empty() && account.len() <= 128);
    check(within, field, || "within must hold 1 to 128 bytes".into())
}

fn content(c: &Content) -> Result<(), WireError> {
    check(c.attachments.len() <= 100, "content.attachments", || "more than 100".into())?;
    check(c.choices.len() <= 100, "content.choices", || "more than 100".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_field_and_never_a_value() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only reading it matters")]
        struct Inner {
            number: u32,
        }
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only reading it matters")]
        struct Outer {
            list: Vec<Inner>,
            text: String,
        }
        for (text, field) in [
            (r#"{"list":[],"other":1}"#, Some("text")),
            (r#"{"list":[{"number":"s3cret"}],"text":"a"}"#, Some("list.number")),
            ("{\"list\": [],\n \"text\": 7}", Some("text")),
            (r#"{"list":[],"text":{"s3cret \" key":1}}"#, Some("text")),
            (r#""s3cret""#, None),
        ] {
            let error = serde_json::from_str::<Outer>(text).expect_err(text);
            let problem = JsonProblem::of(&error, text.as_bytes());
            assert_eq!(problem.field.as_deref(), field, "{text}: {error}");
            assert!(!problem.to_string().contains("s3cret"), "{problem}");
        }
    }
}
