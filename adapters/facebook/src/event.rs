//! What all products' deliveries have in common: JSON that is looked at field by field, ids, times, and what of the body is
//! kept with an event.

use bytes::Bytes;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use switchboard_adapter_sdk::{
    RawRequest,
    signature::{sha256_hex, to_base64},
};
use switchboard_envelope::{Attachment, Inbound, Raw, Timestamp, Unparsed, event_id};

/// The longest raw body that travels inside its record, in bytes.
const MAX_INLINE: usize = 16 * 1024;
/// The longest id of Meta's that is kept as it is.
const MAX_ID: usize = 360;
/// The longest address of a file.
const MAX_URL: usize = 4096;
/// The longest text that goes into `meta`, in characters.
const MAX_META: usize = 500;
/// The most events of one delivery; Meta puts no more than a thousand into one.
const MAX_EVENTS: usize = 5000;
/// The most bytes that what is said around the events of a delivery may come to, once it is said around each of them.
const MAX_AROUND: usize = 16 * 1024 * 1024;
/// The most files of one message.
pub(crate) const MAX_FILES: usize = 30;

/// A delivery, live or out of quarantine.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub body: &'a Bytes,
    pub received_at: Timestamp,
}

impl<'a> Source<'a> {
    pub(crate) fn of(request: &'a RawRequest) -> Source<'a> {
        Source { body: &request.body, received_at: request.received_at }
    }
}

/// One event of a delivery: what it is, what it was wrapped in, and when it came.
#[derive(Clone)]
pub(crate) struct Event {
    pub value: Value,
    /// The delivery with this event alone.
    pub alone: Value,
    pub received_at: Timestamp,
}

impl Event {
    /// What is kept of it. Of a delivery that says nothing else whoever stores the record may keep the body itself; beside other
    /// people's events each keeps its own, however long it is.
    pub(crate) fn raw(&self, whole: Option<&Bytes>) -> Raw {
        let inline = match whole {
            Some(body) => (body.len() <= MAX_INLINE).then(|| to_base64(body)),
            None => Some(to_base64(self.alone.to_string().as_bytes())),
        };
        Raw { content_type: "application/json".into(), blob: None, inline, meta: BTreeMap::new() }
    }

    pub(crate) fn text(&self, pointer: &str) -> Option<&str> {
        text(&self.value, pointer)
    }

    pub(crate) fn id(&self, pointer: &str) -> Option<String> {
        id(&self.value, pointer)
    }
}

/// What a delivery will become, counted before any of it is made: anybody can send one where signatures are only reported.
#[derive(Default)]
pub(crate) struct Size {
    events: usize,
    around: usize,
}

impl Size {
    /// Adds events of which each is wrapped in a copy of `around`.
    pub(crate) fn add(&mut self, events: usize, around: usize) -> Result<(), &'static str> {
        self.events = self.events.saturating_add(events);
        self.around = self.around.saturating_add(events.saturating_mul(around));
        if self.events > MAX_EVENTS {
            return Err("more events than Meta puts into one delivery");
        }
        if self.around > MAX_AROUND {
            return Err("more is said around its events than Meta says");
        }
        Ok(())
    }
}

/// The bytes of a value as it is written.
pub(crate) fn written(value: Option<&Value>) -> usize {
    value.map_or(0, |value| value.to_string().len())
}

/// Reads a delivery: `split` finds its events, `read` says what one of them is. One that cannot be read is set aside alone.
pub(crate) fn delivery(
    channel: &str,
    source: &Source<'_>,
    split: impl FnOnce(&Value, Timestamp) -> Result<Vec<Event>, &'static str>,
    read: impl Fn(&Event, Raw) -> Result<Vec<Inbound>, String>,
) -> Vec<Inbound> {
    let whole = |reason: &str| {
        let raw =
            Event { value: Value::Null, alone: Value::Null, received_at: source.received_at }.raw(Some(source.body));
        vec![unparsed(channel, &sha256_hex(source.body), reason, source.received_at, raw)]
    };
    let Ok(body) = serde_json::from_slice::<Value>(source.body) else { return whole("the body is no JSON") };
    let events = match split(&body, source.received_at) {
        Ok(events) => events,
        Err(reason) => return whole(reason),
    };
    let only = events.len() == 1;
    let mut seen = BTreeSet::new();
    let mut read_all: Vec<Inbound> = vec![];
    for event in &events {
        let raw = event.raw(only.then_some(source.body));
        let found = read(event, raw.clone()).unwrap_or_else(|reason| {
            let key = sha256_hex(event.alone.to_string().as_bytes());
            vec![unparsed(channel, &key, &reason, event.received_at, raw)]
        });
        // The same event now and then stands twice in one delivery.
        read_all.extend(found.into_iter().filter(|inbound| seen.insert(inbound.id().to_owned())));
    }
    read_all
}

fn unparsed(channel: &str, key: &str, reason: &str, at: Timestamp, raw: Raw) -> Inbound {
    Inbound::Unparsed(Unparsed {
        id: event_id(channel, "unparsed", key),
        channel: channel.to_owned(),
        reason: reason.to_owned(),
        at,
        raw,
    })
}

/// A text unless it is empty.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// An id, which is text, but now and then a number.
pub(crate) fn id(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(kept_id(text)),
        Value::Number(number) if number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

/// An id that can stand in an event's id; a longer or stranger one is named by its hash.
pub(crate) fn kept_id(text: &str) -> String {
    let is_plain = (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if is_plain { text.to_owned() } else { format!("sha256-{}", sha256_hex(text.as_bytes())) }
}

/// A key of several ids, none of which can be mistaken for another.
pub(crate) fn joined(parts: &[&str]) -> String {
    kept_id(&parts.join(":"))
}

/// Milliseconds, or now and then seconds, as number or text.
pub(crate) fn time(value: &Value, pointer: &str) -> Option<Timestamp> {
    let number = match value.pointer(pointer)? {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    let ms = if number < 100_000_000_000 { number.checked_mul(1000)? } else { number };
    (0..=Timestamp::MAX.0).contains(&ms).then_some(Timestamp(ms))
}

/// A value for rules, cut to a length that every decision can carry.
pub(crate) fn tell(meta: &mut BTreeMap<String, String>, name: &str, value: Option<&str>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        let short = value.chars().filter(|c| !c.is_control()).take(MAX_META).collect();
        meta.insert(name.to_owned(), short);
    }
}

/// A file that Meta keeps.
pub(crate) fn file(name: &str, mime: Option<&str>, url: Option<&str>) -> Attachment {
    Attachment {
        name: name.chars().filter(|c| !c.is_control() && !matches!(c, '/' | '\\')).take(120).collect(),
        mime: mime.unwrap_or("application/octet-stream").chars().take(120).collect(),
        url: url.filter(|url| url.len() <= MAX_URL).map(str::to_owned),
        ..Attachment::default()
    }
}

/// Our attempt in one word, for what carries a word of ours.
pub(crate) fn reference(send: &str, part: u16, n: u32) -> String {
    format!("{send}.{part}.{n}")
}

/// What [`reference`] says; `None` for what is not ours. Others may write such words too: the router knows its own.
pub(crate) fn referred(text: &str) -> Option<(String, u16, u32)> {
    let mut parts = text.rsplitn(3, '.');
    let n = parts.next()?.parse().ok().filter(|n| *n >= 1)?;
    let part = parts.next()?.parse().ok().filter(|part| *part >= 1)?;
    let is_token = |send: &&str| {
        (1..=128).contains(&send.len()) && send.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    Some((parts.next().filter(is_token)?.to_owned(), part, n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn our_word_is_read_back_and_nothing_else_is_taken_for_it() {
        assert_eq!(referred(&reference("mAb-_9", 2, 7)), Some(("mAb-_9".into(), 2, 7)));
        for other in ["", "m-7731", "a.1", "a.0.1", "a.1.0", ".1.1", "a b.1.1", "a.b.1.1", "a.1.99999999999"] {
            assert_eq!(referred(other), None, "{other}");
        }
    }

    #[test]
    fn times_come_in_seconds_and_milliseconds_and_as_text() {
        let at = |value: Value| time(&json!({ "t": value }), "/t").map(|t| t.0);
        assert_eq!(at(json!(1_756_632_000_123_i64)), Some(1_756_632_000_123));
        assert_eq!(at(json!(1_756_632_000)), Some(1_756_632_000_000));
        assert_eq!(at(json!("1756632000")), Some(1_756_632_000_000));
        for wrong in [json!(-1), json!(i64::MAX), json!(u64::MAX), json!(1.5), json!("soon"), json!(null)] {
            assert_eq!(at(wrong.clone()), None, "{wrong}");
        }
    }

    #[test]
    fn an_id_is_kept_or_named_by_its_hash() {
        let find = |value: Value| id(&json!({ "id": value }), "/id");
        assert_eq!(find(json!("m_A1")), Some("m_A1".into()));
        assert_eq!(find(json!(369_239_263_222_822_u64)), Some("369239263222822".into()));
        assert_eq!((find(json!("")), find(json!(-1)), find(json!([]))), (None, None, None));
        let long = find(json!("x".repeat(1000))).unwrap();
        assert!(long.starts_with("sha256-") && long.len() == 71);
        assert_ne!(find(json!("a b")), find(json!("a c")));
    }
}
