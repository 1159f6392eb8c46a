use std::fmt::Write as _;
use thiserror::Error;

/// The longest accepted event id, in bytes.
pub const MAX_EVENT_ID: usize = 512;

#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not an id: write a-z, 0-9 and `-`, starting with a letter or digit, at most 63 characters")]
pub struct InvalidId(pub String);

/// Whether `s` may name a channel, desk, queue, agent or workspace: `[a-z0-9][a-z0-9-]{0,62}`.
#[must_use]
pub fn is_id(s: &str) -> bool {
    let b = s.as_bytes();
    (1..=63).contains(&b.len())
        && b.first() != Some(&b'-')
        && b.iter().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'-')
}

/// `<channel>:<type>:<event key>`.
#[must_use]
pub fn event_id(channel: &str, kind: &str, key: &str) -> String {
    [channel, ":", kind, ":", key].concat()
}

/// Bytes of a `traceparent`; version 00 has 55.
pub(crate) const MAX_TRACEPARENT: usize = 256;

/// A `traceparent` header's value as it is carried on, when it is one ([W3C Trace Context], 3.2): a version, a trace and a span
/// that are not zero, flags. What a later version adds behind them is kept.
///
/// [W3C Trace Context]: https://www.w3.org/TR/trace-context/#traceparent-header
#[must_use]
pub fn traceparent(value: &str) -> Option<String> {
    let mut parts = value.splitn(5, '-');
    let mut hex = |digits: usize| {
        let part = parts.next()?;
        let is_hex = part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (part.len() == digits && is_hex).then_some(part)
    };
    let (version, trace, span, _flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    let more = parts.next();
    let known = match version {
        "ff" => false,
        "00" => more.is_none(),
        _ => true,
    };
    let plain = value.len() <= MAX_TRACEPARENT && value.bytes().all(|b| b.is_ascii_graphic());
    (known && plain && !zero(trace) && !zero(span)).then(|| value.to_owned())
}

/// Any text as one token of a subject or of a claim's key: `[A-Za-z0-9_-]` stand for themselves, every other byte is `=XX`.
/// The empty text is `=`.
#[must_use]
pub fn subject_token(s: &str) -> String {
    if s.is_empty() {
        return "=".into();
    }
    let mut out = String::with_capacity(s.len());
    for b in s.bytes() {
        if b.is_ascii_alphanumeric() || b == b'-' || b == b'_' {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "={b:02X}");
        }
    }
    out
}

/// The inverse of [`subject_token`]; `None` when `t` is not its output.
#[must_use]
pub fn subject_untoken(t: &str) -> Option<String> {
    if t == "=" {
        return Some(String::new());
    }
    let mut out = Vec::with_capacity(t.len());
    let mut it = t.bytes();
    while let Some(b) = it.next() {
        match b {
            b'=' => {
                let hex = [it.next()?, it.next()?];
                let hex = std::str::from_utf8(&hex).ok()?;
                if hex.bytes().any(|c| !c.is_ascii_hexdigit() || c.is_ascii_lowercase()) {
                    return None;
                }
                out.push(u8::from_str_radix(hex, 16).ok()?);
            }
            b if b.is_ascii_alphanumeric() || b == b'-' || b == b'_' => out.push(b),
            _ => return None,
        }
    }
    let s = String::from_utf8(out).ok()?;
    (!s.is_empty() && subject_token(&s) == t).then_some(s)
}
