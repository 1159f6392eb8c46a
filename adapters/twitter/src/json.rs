//! X's JSON, looked at field by field: ids that lost digits as numbers, times in three spellings, and what of a body is kept.

use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;
use switchboard_adapter_sdk::signature::{sha256_hex, to_base64};
use switchboard_envelope::{Attachment, Inbound, Raw, Timestamp, Unparsed, event_id};

/// The longest raw body that travels inside its record, in bytes.
const MAX_INLINE: usize = 16 * 1024;
/// The longest id that is kept as it is.
const MAX_ID: usize = 128;
/// The longest address of a file.
const MAX_URL: usize = 4096;
/// The longest text that goes into `meta`, in characters.
const MAX_META: usize = 500;
/// Where the clock of X's ids begins.
const EPOCH_MS: i64 = 1_288_834_974_657;
/// The largest number that JSON readers which know doubles only do not round.
const EXACT: u64 = 1 << 53;

/// A text unless it is empty.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

/// An id: the text beside the number first, for the number may have lost digits.
pub(crate) fn id(value: &Value, pointer: &str) -> Option<String> {
    let as_text = value.pointer(&format!("{pointer}_str")).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(text) = as_text {
        return Some(kept_id(text));
    }
    match value.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(kept_id(text)),
        Value::Number(number) => number.as_u64().filter(|n| *n < EXACT).map(|n| n.to_string()),
        _ => None,
    }
}

/// An id as it may stand in our own; what cannot is named by its hash.
pub(crate) fn kept_id(text: &str) -> String {
    let is_plain = text.len() <= MAX_ID && text.bytes().all(|b| b.is_ascii_graphic());
    if is_plain { text.to_owned() } else { format!("sha256-{}", sha256_hex(text.as_bytes())) }
}

/// Whether a text is an account's or a post's number.
pub(crate) fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// A key of several ids.
pub(crate) fn joined(parts: &[&str]) -> String {
    let key = parts.join(":");
    let is_plain = key.len() <= 300 && key.bytes().all(|b| b.is_ascii_graphic());
    if is_plain { key } else { format!("sha256-{}", sha256_hex(key.as_bytes())) }
}

/// A moment: milliseconds as number or text, RFC 3339, or the older `Mon May 19 14:01:46 +0000 2025`.
pub(crate) fn time(value: &Value, pointer: &str) -> Option<Timestamp> {
    let ms = match value.pointer(pointer)? {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => match text.parse::<i64>() {
            Ok(ms) => ms,
            Err(_) => written(text)?,
        },
        _ => return None,
    };
    (0..=Timestamp::MAX.0).contains(&ms).then_some(Timestamp(ms))
}

fn written(text: &str) -> Option<i64> {
    if text.len() > 64 {
        return None;
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.as_millisecond());
    }
    let at = jiff::fmt::strtime::parse("%a %b %d %H:%M:%S %z %Y", text).ok()?.to_timestamp().ok()?;
    Some(at.as_millisecond())
}

/// When something with this id was made: X's ids tell.
pub(crate) fn made_at(id: &str) -> Option<Timestamp> {
    let ms = (id.parse::<i64>().ok()? >> 22).checked_add(EPOCH_MS)?;
    // Ids of before that clock are small and tell nothing.
    (ms > EPOCH_MS + 1000).then_some(Timestamp(ms))
}

/// A value for rules, cut to a length that every decision can carry.
pub(crate) fn tell(meta: &mut BTreeMap<String, String>, name: &str, value: Option<&str>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        meta.insert(name.to_owned(), value.chars().filter(|c| !c.is_control()).take(MAX_META).collect());
    }
}

/// A file that X keeps.
pub(crate) fn file(name: &str, mime: &str, url: Option<&str>) -> Attachment {
    Attachment {
        name: name.to_owned(),
        mime: mime.chars().take(120).collect(),
        url: url.filter(|url| url.len() <= MAX_URL).map(str::to_owned),
        ..Attachment::default()
    }
}

/// What is kept of a body; without `inline` whoever stores the record puts a blob of the delivery in its place.
pub(crate) fn raw(body: &Bytes) -> Raw {
    let inline = (body.len() <= MAX_INLINE).then(|| to_base64(body));
    Raw { content_type: "application/json".into(), blob: None, inline, meta: BTreeMap::new() }
}

pub(crate) fn unparsed(channel: &str, key: &str, reason: &str, at: Timestamp, raw: Raw) -> Inbound {
    Inbound::Unparsed(Unparsed {
        id: event_id(channel, "unparsed", key),
        channel: channel.to_owned(),
        reason: reason.to_owned(),
        at,
        raw,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_text_of_an_id_comes_before_its_number() {
        let lost = json!({ "id": 1_924_465_506_158_879_000_u64, "id_str": "1924465506158878979", "small": 7, "minus": "-6850" });
        assert_eq!(id(&lost, "/id").as_deref(), Some("1924465506158878979"));
        assert_eq!(id(&lost, "/small").as_deref(), Some("7"));
        assert_eq!(id(&lost, "/minus").as_deref(), Some("-6850"), "event ids may be negative");
        assert_eq!(id(&json!({ "id": 1_924_465_506_158_879_000_u64 }), "/id"), None, "it may be another's");
        for nothing in [json!({ "id": "" }), json!({ "id": null }), json!({ "id": 1.5 }), json!({})] {
            assert_eq!(id(&nothing, "/id"), None, "{nothing}");
        }
        assert!(id(&json!({ "id": "a b" }), "/id").unwrap().starts_with("sha256-"));
        assert!(is_number("2222222222222222222") && !is_number("") && !is_number("-1") && !is_number(&"1".repeat(21)));
    }

    #[test]
    fn moments_come_in_three_spellings() {
        let at = |value: Value| time(&json!({ "t": value }), "/t").map(|t| t.0);
        assert_eq!(at(json!("1784928224372")), Some(1_784_928_224_372));
        assert_eq!(at(json!(1_784_928_224_372_i64)), Some(1_784_928_224_372));
        assert_eq!(at(json!("2026-07-24T21:23:44.372Z")), Some(1_784_928_224_372));
        assert_eq!(at(json!("2018-05-24T09:48:12+00:00")), Some(1_527_155_292_000));
        assert_eq!(at(json!("Mon May 19 14:01:46 +0000 2025")), Some(1_747_663_306_000));
        for wrong in [json!("soon"), json!(-1), json!(i64::MAX), json!({}), json!("x".repeat(1000)), json!("")] {
            assert_eq!(at(wrong.clone()), None, "{wrong}");
        }
        assert_eq!(made_at("2080765901528535096").map(|t| t.to_string()).as_deref(), Some("2026-07-24T21:23:44.342Z"));
        assert_eq!((made_at("12"), made_at("x"), made_at("-5")), (None, None, None));
    }
}
