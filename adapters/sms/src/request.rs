//! Reading what a provider's webhook carries: where its fields are, what of it is kept, and which attempt of ours it is about.

use bytes::Bytes;
use http::Method;
use std::collections::BTreeMap;
use switchboard_adapter_sdk::{
    RawRequest, Secret, Verdict,
    signature::{equal, sha256, sha256_hex, to_base64},
};
use switchboard_envelope::{Inbound, Message, Raw, Timestamp, Unparsed, Visibility, event_id};

/// The longest raw body that travels inside its record, in bytes.
pub(crate) const MAX_INLINE: usize = 16 * 1024;
/// The longest query that is kept with a record, in bytes.
const MAX_QUERY: usize = 16 * 1024;
/// The most fields that are read from one request.
const MAX_FIELDS: usize = 256;
/// The longest id of a provider that is kept as it is.
const MAX_ID: usize = 128;

/// A webhook, live or out of quarantine.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub is_get: bool,
    pub path: &'a str,
    pub query: &'a str,
    pub content_type: &'a str,
    pub body: &'a [u8],
    /// Its place in the call, where the body is one item of several.
    pub item: Option<usize>,
    pub received_at: Timestamp,
}

impl<'a> Source<'a> {
    pub(crate) fn of(request: &'a RawRequest) -> Source<'a> {
        Source {
            is_get: request.method == Method::GET,
            path: &request.path,
            query: &request.query,
            content_type: content_type(request),
            body: &request.body,
            item: None,
            received_at: request.received_at,
        }
    }

    /// What was stored by [`Source::raw`].
    pub(crate) fn again(raw: &'a Raw, body: &'a Bytes, received_at: Timestamp) -> Source<'a> {
        let part = |name: &str| raw.meta.get(name).map_or("", String::as_str);
        Source {
            is_get: part("method") == "GET",
            path: part("path"),
            query: part("query"),
            content_type: &raw.content_type,
            body,
            item: part("item").parse().ok(),
            received_at,
        }
    }

    /// The same below a path that holds no secret, so that none is stored.
    pub(crate) fn at(self, path: &'a str) -> Source<'a> {
        Source { path, ..self }
    }

    /// Where the fields are: in the query of a GET, else in the body.
    pub(crate) fn fields(&self) -> &'a [u8] {
        if self.is_get { self.query.as_bytes() } else { self.body }
    }

    /// Everything that reading it again needs. A body over the limit is left out, and whoever stores the record puts a blob of the call
    /// there; an item stands there however long it is, for the call is other people's too.
    pub(crate) fn raw(&self) -> Raw {
        let mut meta = BTreeMap::new();
        let query = if self.query.len() <= MAX_QUERY { self.query } else { "" };
        for (name, value) in [("path", self.path), ("query", query), ("method", if self.is_get { "GET" } else { "" })] {
            if !value.is_empty() {
                meta.insert(name.to_owned(), value.to_owned());
            }
        }
        if let Some(item) = self.item {
            meta.insert("item".to_owned(), item.to_string());
        }
        let inline = (self.item.is_some() || self.body.len() <= MAX_INLINE).then(|| to_base64(self.body));
        Raw { content_type: self.content_type.to_owned(), blob: None, inline, meta }
    }

    /// The record of a request that was not understood.
    pub(crate) fn unparsed(&self, channel: &str, reason: &str) -> Inbound {
        unparsed(channel, &self.key(), reason, self.received_at, self.raw())
    }

    /// Names the request by what it says.
    pub(crate) fn key(&self) -> String {
        sha256_hex(&[self.path.as_bytes(), b"?", self.query.as_bytes(), b"\n", self.body].concat())
    }
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

pub(crate) fn content_type(request: &RawRequest) -> &str {
    request.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A content type without its parameters, in lower case.
pub(crate) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The fields of a form as bytes: what they spell depends on other fields.
pub(crate) struct Fields(Vec<(String, Vec<u8>)>);

impl Fields {
    pub(crate) fn of(form: &[u8]) -> Fields {
        let pairs = form.split(|b| *b == b'&').filter(|pair| !pair.is_empty()).take(MAX_FIELDS);
        let pair = |pair: &[u8]| {
            let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at(at);
            let name = String::from_utf8_lossy(&percent_decoded(name)).into_owned();
            (name, percent_decoded(value.get(1..).unwrap_or_default()))
        };
        Fields(pairs.map(pair).collect())
    }

    pub(crate) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    /// A field as text, unless it is empty or no UTF-8.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.bytes(name)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .map(str::trim)
            .filter(|text| !text.is_empty())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same with names in lower case, for senders that cannot decide.
    pub(crate) fn folded(self) -> Fields {
        Fields(self.0.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect())
    }
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        let pair = digit(after.first()).zip(digit(after.get(1)));
        match (first, pair) {
            (b'+', _) => decoded.push(b' '),
            (b'%', Some((high, low))) => {
                decoded.push(high << 4 | low);
                rest = after.get(2..).unwrap_or_default();
            }
            (other, _) => decoded.push(*other),
        }
    }
    decoded
}

/// Our attempt, as we wrote it into the address of its receipts. It is all there and well formed, or it is not ours.
pub(crate) fn attempt(query: &str) -> Option<(String, u16, u32)> {
    let fields = Fields::of(query.as_bytes());
    let send = fields.text("send").filter(|send| is_token(send))?;
    let part = fields.text("part")?.parse().ok().filter(|part| *part >= 1)?;
    let n = fields.text("n")?.parse().ok().filter(|n| *n >= 1)?;
    Some((send.to_owned(), part, n))
}

/// Our attempt in one word, for providers that carry a reference of ours.
pub(crate) fn reference(send: &switchboard_envelope::Send) -> String {
    format!("{}.{}.{}", send.send, send.part, send.n)
}

/// What [`reference`] says.
pub(crate) fn referred(text: &str) -> Option<(String, u16, u32)> {
    let mut parts = text.rsplitn(3, '.');
    let n = parts.next()?.parse().ok().filter(|n| *n >= 1)?;
    let part = parts.next()?.parse().ok().filter(|part| *part >= 1)?;
    let send = parts.next().filter(|send| is_token(send))?;
    Some((send.to_owned(), part, n))
}

fn is_token(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A provider's id that can stand in an event's id; a longer or stranger one is named by its hash.
pub(crate) fn id_of(text: &str) -> String {
    let is_plain = (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if is_plain { text.to_owned() } else { format!("sha256-{}", sha256_hex(text.as_bytes())) }
}

/// Whether the path of a webhook begins with one of the secrets, as `/<secret>/…`: for providers that sign nothing. Gives back
/// the rest of the path.
pub(crate) fn below_secret<'a>(path: &'a str, secrets: &[Secret]) -> Result<&'a str, Verdict> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (given, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    if given.is_empty() {
        return Err(Verdict::Missing);
    }
    // Hashes, so that the time tells nothing of the length either.
    let hash = sha256(given.as_bytes());
    let known = secrets.iter().fold(false, |known, secret| equal(&sha256(secret.expose().as_bytes()), &hash) | known);
    if known { Ok(rest) } else { Err(Verdict::Forged("the secret in the path is not `hook_secret`".into())) }
}

/// What of a path stands behind its secret, without looking at the secret: for requests that were verified.
pub(crate) fn behind_secret(path: &str) -> &str {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split_at(path.find('/').unwrap_or(path.len())).1
}

/// A text message with what every provider says of one; the rest is for the caller to fill in.
pub(crate) fn message(channel: &str, key: &str, from: switchboard_envelope::Address, source: &Source<'_>) -> Message {
    Message {
        id: event_id(channel, "message", key),
        channel: channel.to_owned(),
        thread: crate::number::written(&from),
        at: source.received_at,
        received_at: source.received_at,
        from,
        to: None,
        content: switchboard_envelope::Content::default(),
        references: vec![],
        provider_id: None,
        visibility: Visibility::Private,
        automatic: false,
        authenticated: None,
        meta: BTreeMap::new(),
        raw: Some(source.raw()),
        traceparent: None,
        mail: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_bytes_whatever_they_spell() {
        let fields = Fields::of(b"text=%04%1F+x&empty=&bad=%g1%4&=x&a%20b=c&text=second");
        assert_eq!(fields.bytes("text"), Some(&[4, 0x1f, b' ', b'x'][..]));
        assert_eq!((fields.bytes("empty"), fields.text("empty")), (Some(&b""[..]), None));
        assert_eq!(fields.text("bad"), Some("%g1%4"));
        assert_eq!(fields.text("a b"), Some("c"));
        assert_eq!(fields.text("other"), None);
        assert!(Fields::of(b"&&").is_empty());
        assert_eq!(Fields::of(b"From=1").folded().text("from"), Some("1"));
    }

    #[test]
    fn an_attempt_is_ours_or_nothing() {
        assert_eq!(attempt("send=aB-_9&part=2&n=3"), Some(("aB-_9".into(), 2, 3)));
        for forged in ["", "send=a&part=0&n=1", "send=a&part=1&n=0", "send=a%20b&part=1&n=1", "send=a&part=70000&n=1"] {
            assert_eq!(attempt(forged), None, "{forged}");
        }
        assert_eq!(referred("aB-_9.2.3"), Some(("aB-_9".into(), 2, 3)));
        for forged in ["", "a", "a.1", ".1.1", "a.0.1", "a.1.0", "a b.1.1", "my-personal-reference", "a.1.x"] {
            assert_eq!(referred(forged), None, "{forged}");
        }
    }

    #[test]
    fn a_path_without_the_secret_is_not_the_providers() {
        let secrets = [Secret::new("old-secret"), Secret::new("new-secret")];
        for (path, wanted) in [
            ("/new-secret/in", Ok("/in")),
            ("/old-secret", Ok("")),
            ("/old-secret/", Ok("/")),
            ("", Err(Verdict::Missing)),
            ("/", Err(Verdict::Missing)),
        ] {
            assert_eq!(below_secret(path, &secrets), wanted, "{path}");
        }
        for path in ["/new-secre/in", "/new-secretx/in", "/in/new-secret", "/NEW-SECRET/in"] {
            assert!(matches!(below_secret(path, &secrets), Err(Verdict::Forged(_))), "{path}");
        }
        assert!(matches!(below_secret("/x", &[]), Err(Verdict::Forged(_))));
        assert_eq!((behind_secret("/s/in"), behind_secret("/s"), behind_secret("")), ("/in", "", ""));
    }
}
