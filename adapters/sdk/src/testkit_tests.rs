//! The kit is a test, so it is tested by planting faults: an honest adapter passes, and each fault is found by its check.

use super::*;
use crate::{Answer, Call, CallBody, Polled, signature::Mac};
use http::Method;
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use switchboard_envelope::{Address, Author, ChannelProfile, Content, Message, Unparsed, Visibility, event_id};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    BelievesAll,
    BelievesUnsigned,
    ScreensTheBody,
    ComparesAPrefix,
    IgnoresTheEnd,
    PanicsOnOddBytes,
    PanicsInClassify,
    CountsItsIds,
    OneIdForAll,
    OthersIds,
    ForgetsTheRaw,
    ReadsAgainOtherwise,
    CallsLostUnsent,
    RetriesEvery5xx,
    AcceptsEverything,
}

/// `x-tag: hex HMAC-SHA256`; each line of the body is a message.
struct Lines {
    fault: Fault,
    counter: AtomicUsize,
}

fn mac() -> Mac {
    Mac::sha256(b"secret")
}

impl Lines {
    fn message(&self, line: &str, raw: Raw, received_at: Timestamp) -> Inbound {
        let key = match self.fault {
            Fault::CountsItsIds => self.counter.fetch_add(1, Ordering::Relaxed).to_string(),
            Fault::OneIdForAll => "same".into(),
            _ => crate::signature::sha256_hex(line.as_bytes()),
        };
        let channel = if self.fault == Fault::OthersIds { "other" } else { "lines" };
        Inbound::Message(Box::new(Message {
            id: event_id(channel, "message", &key),
            channel: "lines".into(),
            thread: "t".into(),
            at: received_at,
            received_at,
            from: Address::new("visitor", "v"),
            to: None,
            content: Content::text(line),
            references: vec![],
            provider_id: None,
            visibility: Visibility::Private,
            automatic: false,
            authenticated: None,
            meta: [].into(),
            raw: Some(raw),
            traceparent: None,
            mail: None,
        }))
    }

    fn read(&self, body: &[u8], received_at: Timestamp) -> Vec<Inbound> {
        let inline = if self.fault == Fault::ForgetsTheRaw { to_base64(b"") } else { to_base64(body) };
        let raw = Raw { content_type: "text/plain".into(), blob: None, inline: Some(inline), meta: [].into() };
        let Ok(text) = std::str::from_utf8(body) else {
            assert_ne!(self.fault, Fault::PanicsOnOddBytes, "odd bytes");
            let id = event_id("lines", "unparsed", &crate::signature::sha256_hex(body));
            let reason = "not UTF-8".into();
            return vec![Inbound::Unparsed(Unparsed { id, channel: "lines".into(), reason, at: received_at, raw })];
        };
        let lines: BTreeSet<&str> = text.lines().collect();
        lines.into_iter().map(|line| self.message(line, raw.clone(), received_at)).collect()
    }
}

impl Adapter for Lines {
    fn profile(&self) -> ChannelProfile {
        ChannelProfile::new("lines", "visitor")
    }

    fn verify(&self, request: &RawRequest) -> Verdict {
        let Some(tag) = request.headers.get("x-tag") else {
            let believes = matches!(self.fault, Fault::BelievesAll | Fault::BelievesUnsigned);
            return if believes { Verdict::Genuine } else { Verdict::Missing };
        };
        let tag = tag
            .to_str()
            .ok()
            .filter(|t| t.bytes().all(|b| !b.is_ascii_uppercase()))
            .and_then(crate::signature::from_hex);
        let body = &request.body;
        let body = if self.fault == Fault::IgnoresTheEnd { &body[..body.len().min(8)] } else { &body[..] };
        let is_signed = tag.is_some_and(|tag| match self.fault {
            Fault::BelievesAll => true,
            Fault::ComparesAPrefix => mac().sign(body)[..4] == tag[..4.min(tag.len())],
            _ => mac().verify(body, &tag),
        });
        if is_signed { Verdict::Genuine } else { Verdict::Forged("no match".into()) }
    }

    fn screen(&self, head: &RawRequest) -> Verdict {
        if self.fault == Fault::ScreensTheBody { self.verify(head) } else { Verdict::Genuine }
    }

    fn parse(&self, request: &RawRequest) -> Vec<Inbound> {
        self.read(&request.body, request.received_at)
    }

    fn reparse(&self, _raw: &Raw, body: Bytes, received_at: Timestamp) -> Vec<Inbound> {
        if self.fault == Fault::ReadsAgainOtherwise {
            return self.read(b"something else", received_at);
        }
        self.read(&body, received_at)
    }

    fn encode(&self, _send: &Send) -> Result<Call, AttemptOutcome> {
        let (method, timeout) = (Method::POST, Duration::from_secs(1));
        Ok(Call { method, url: "http://127.0.0.1/".into(), headers: vec![], body: CallBody::Empty, timeout })
    }

    fn classify(&self, _send: &Send, answer: &Answer, _now: Timestamp) -> AttemptOutcome {
        AttemptOutcome::new(match answer {
            _ if self.fault == Fault::AcceptsEverything => Outcome::Accepted,
            Err(CallError::Lost(_)) if self.fault != Fault::CallsLostUnsent => Outcome::Unknown,
            Err(_) => Outcome::NotSent,
            Ok(answer) => match answer.status {
                200 => Outcome::Accepted,
                418 if self.fault == Fault::PanicsInClassify => panic!("a teapot"),
                500..=599 if self.fault == Fault::RetriesEvery5xx => Outcome::NotSent,
                _ => Outcome::Unknown,
            },
        })
    }

    fn polled(&self, _cursor: Option<&str>, _answer: &Answer, _now: Timestamp) -> Result<Polled, String> {
        Err("no list".into())
    }
}

fn failures(fault: Fault) -> BTreeSet<&'static str> {
    let body = Bytes::from_static("first line\nzweite Zeile ü\n".as_bytes());
    let tag = crate::signature::to_hex(&mac().sign(if fault == Fault::IgnoresTheEnd { &body[..8] } else { &body[..] }));
    let request = RawRequest {
        method: Method::POST,
        path: String::new(),
        query: String::new(),
        headers: [(http::HeaderName::from_static("x-tag"), tag.parse().unwrap())].into_iter().collect(),
        body,
        url: "https://a.example/hooks/lines".into(),
        received_at: Timestamp(1_800_000_000_000),
    };
    let send = send();
    let adapter = Lines { fault, counter: AtomicUsize::new(0) };
    let fixtures = [Fixture { name: "two-lines".into(), request }];
    let kit = Kit { adapter: &adapter, fixtures: &fixtures, signature_headers: &["x-tag"], send: &send };
    check(&kit).into_iter().map(|failure| failure.check).collect()
}

#[test]
fn an_honest_adapter_passes() {
    assert_eq!(failures(Fault::None), BTreeSet::new());
}

#[test]
fn every_planted_fault_is_found() {
    for (fault, found) in [
        (Fault::BelievesAll, "a changed body is refused"),
        (Fault::BelievesUnsigned, "an unsigned request is refused"),
        (Fault::ScreensTheBody, "the head of a genuine request is let through"),
        (Fault::ComparesAPrefix, "a changed signature is refused"),
        (Fault::IgnoresTheEnd, "a cut body is refused"),
        (Fault::PanicsOnOddBytes, "parse is total"),
        (Fault::PanicsInClassify, "classify is total"),
        (Fault::CountsItsIds, "ids are stable"),
        (Fault::CountsItsIds, "order does not matter"),
        (Fault::OneIdForAll, "ids differ within a request"),
        (Fault::OthersIds, "events are valid"),
        (Fault::ForgetsTheRaw, "a raw body is read again alike"),
        (Fault::ReadsAgainOtherwise, "a raw body is read again alike"),
        (Fault::CallsLostUnsent, "a lost answer is unknown"),
        (Fault::RetriesEvery5xx, "an undocumented 5xx is unknown"),
        (Fault::AcceptsEverything, "only a success is accepted"),
    ] {
        let failures = failures(fault);
        assert!(failures.contains(found), "{fault:?}: {failures:?}");
    }
}

#[test]
fn no_fixtures_is_no_pass() {
    let adapter = Lines { fault: Fault::None, counter: AtomicUsize::new(0) };
    let send = send();
    let kit = Kit { adapter: &adapter, fixtures: &[], signature_headers: &[], send: &send };
    assert!(check(&kit).iter().any(|failure| failure.check == "fixtures"));
}

fn send() -> Send {
    Send {
        send: "s".into(),
        part: 1,
        n: 1,
        until: Timestamp(0),
        channel: "lines".into(),
        conversation: "c".into(),
        thread: "t".into(),
        to: Address::new("visitor", "v"),
        content: Content::text("hi"),
        author: Author::Agent { id: "ann".into() },
        reply_to: vec![],
        traceparent: None,
        mail: None,
        window_until: None,
    }
}
