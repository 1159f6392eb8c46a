//! The conformance kit: drives any adapter over its recorded requests, and over what an attacker, a broken proxy or a new
//! version of the provider would make of them.
//!
//! ```text
//! let failures = testkit::check(&Kit { adapter: &adapter, fixtures: &fixtures, signature_headers: &["x-signature"], send: &send });
//! assert!(failures.is_empty(), "{failures:#?}");
//! ```

use crate::{Adapter, AttemptOutcome, CallError, RawRequest, Response, Verdict, classify::Class, signature::to_base64};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
};
use switchboard_envelope::{Inbound, Outcome, Raw, Send, Timestamp};

/// Bodies up to this length have every bit flipped and are cut at every byte; longer ones are sampled.
const EXHAUSTIVE: usize = 1024;
const SAMPLES: usize = 2048;
const ARBITRARY: usize = 500;

/// A genuine request.
#[derive(Clone, Debug)]
pub struct Fixture {
    pub name: String,
    pub request: RawRequest,
}

/// What [`check`] needs.
pub struct Kit<'a> {
    pub adapter: &'a dyn Adapter,
    pub fixtures: &'a [Fixture],
    /// The headers that hold signatures; empty for a channel without any.
    pub signature_headers: &'a [&'static str],
    /// A send that the channel can express.
    pub send: &'a Send,
}

/// A promise of the adapter that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The fixture, or the function.
    pub subject: String,
    pub check: &'static str,
    pub detail: String,
}

/// The classes that a word of the recorded payloads stands for, in each spelling that they have it in; none for any other word.
#[must_use]
pub fn classes(word: &str) -> &'static [Class] {
    match word.replace('_', "-").as_str() {
        "ok" => &[Class::Ok],
        "ok-truncated" => &[Class::OkTruncated],
        "rate-limit" | "rate-limited" => &[Class::RateLimit],
        "retry" | "retryable" | "retryable-later" | "later" | "temporary" => &[Class::Retry],
        "ambiguous" | "unknown" => &[Class::Ambiguous],
        "permanent" => &[Class::PermanentMessage, Class::PermanentRecipient],
        "permanent-for-message" | "permanent-message" => &[Class::PermanentMessage],
        "permanent-for-recipient" | "permanent-recipient" => &[Class::PermanentRecipient],
        "opted-out" => &[Class::OptedOut],
        "outside-window" => &[Class::OutsideWindow],
        "configuration" | "config" => &[Class::Config],
        _ => &[],
    }
}

/// Whether an answer ended as a word of the recorded payloads says.
///
/// # Panics
/// When nobody knows the word.
#[must_use]
pub fn ended_as(word: &str, outcome: &AttemptOutcome) -> bool {
    assert!(!classes(word).is_empty(), "the class {word} is not known to the kit");
    classes(word).iter().any(|class| {
        let of_class = class.attempt(None, "");
        (outcome.outcome, outcome.channel_refused, outcome.opted_out)
            == (of_class.outcome, of_class.channel_refused, of_class.opted_out)
    })
}

/// Every failure of every check; none is a pass.
#[must_use]
pub fn check(kit: &Kit<'_>) -> Vec<Failure> {
    let mut run = Run { kit, failures: vec![], random: Random(0x9E37_79B9_7F4A_7C15) };
    if kit.fixtures.is_empty() {
        run.fail("kit", "fixtures", "there are none, so nothing was checked".into());
    }
    for fixture in kit.fixtures {
        run.genuine(fixture);
        run.signatures(fixture);
        run.bodies(fixture);
        run.cuts(fixture);
        run.stable(fixture);
        run.quarantined(fixture);
        run.arbitrary(fixture);
    }
    run.order();
    run.answers();
    run.failures
}

struct Run<'a> {
    kit: &'a Kit<'a>,
    failures: Vec<Failure>,
    random: Random,
}

impl Run<'_> {
    fn fail(&mut self, subject: &str, check: &'static str, detail: String) {
        // One detail a check and subject is enough to find the fault.
        if !self.failures.iter().any(|f| f.subject == subject && f.check == check) {
            self.failures.push(Failure { subject: subject.to_owned(), check, detail });
        }
    }

    fn verify(&self, request: &RawRequest) -> Result<Verdict, String> {
        quietly(|| self.kit.adapter.verify(request))
    }

    /// What is read out of a request, after checking that it can be written, read and told apart.
    fn parse(&mut self, name: &str, request: &RawRequest) -> Vec<Inbound> {
        match quietly(|| self.kit.adapter.parse(request)) {
            Ok(events) => {
                self.well_formed(name, &events);
                events
            }
            Err(panic) => {
                self.fail(name, "parse is total", format!("{panic} on {}", shown(&request.body)));
                vec![]
            }
        }
    }

    fn well_formed(&mut self, name: &str, events: &[Inbound]) {
        for event in events {
            if let Err(e) = event.validate() {
                self.fail(name, "events are valid", e.to_string());
            }
            match Inbound::from_slice(&event.to_vec()) {
                Ok(read) if read == *event => {}
                Ok(_) => self.fail(name, "events survive the wire", format!("{event:?} was read as another")),
                Err(e) => self.fail(name, "events survive the wire", e.to_string()),
            }
            if matches!(event, Inbound::Command(_) | Inbound::Result(_)) {
                self.fail(name, "a provider sends no commands and no results", event.id().to_owned());
            }
        }
        let ids: BTreeSet<&str> = events.iter().map(Inbound::id).collect();
        if ids.len() != events.len() {
            self.fail(name, "ids differ within a request", format!("{ids:?} for {} events", events.len()));
        }
    }

    fn genuine(&mut self, fixture: &Fixture) {
        match self.verify(&fixture.request) {
            Ok(Verdict::Genuine) => {}
            other => self.fail(&fixture.name, "the recorded request is genuine", format!("{other:?}")),
        }
        let head = RawRequest { body: Bytes::new(), ..fixture.request.clone() };
        match quietly(|| self.kit.adapter.screen(&head)) {
            Ok(Verdict::Genuine) => {}
            other => self.fail(&fixture.name, "the head of a genuine request is let through", format!("{other:?}")),
        }
    }

    fn signatures(&mut self, fixture: &Fixture) {
        for name in self.kit.signature_headers {
            let mut unsigned = fixture.request.clone();
            let Some(value) = unsigned.headers.remove(*name) else { continue };
            if !matches!(self.verify(&unsigned), Ok(Verdict::Missing | Verdict::Forged(_))) {
                self.fail(&fixture.name, "an unsigned request is refused", (*name).to_owned());
            }
            for bit in 0..value.as_bytes().len() * 8 {
                let Ok(flipped) = HeaderValue::from_bytes(&flip(value.as_bytes(), bit)) else { continue };
                let mut request = fixture.request.clone();
                request.headers.insert(*name, flipped);
                match self.verify(&request) {
                    Ok(Verdict::Forged(_) | Verdict::Missing) => {}
                    other => self.fail(
                        &fixture.name,
                        "a changed signature is refused",
                        format!("{name} bit {bit}: {other:?}"),
                    ),
                }
            }
        }
    }

    /// A changed body is refused, unless it is another spelling of the same events.
    fn bodies(&mut self, fixture: &Fixture) {
        if self.kit.signature_headers.is_empty() {
            return;
        }
        let body = fixture.request.body.clone();
        let events = bare(self.parse(&fixture.name, &fixture.request));
        for bit in self.positions(body.len() * 8, EXHAUSTIVE * 8) {
            let request = RawRequest { body: flip(&body, bit).into(), ..fixture.request.clone() };
            match self.verify(&request) {
                Ok(Verdict::Forged(_)) => {}
                Ok(Verdict::Genuine) if bare(self.parse(&fixture.name, &request)) == events => {}
                other => self.fail(&fixture.name, "a changed body is refused", format!("bit {bit}: {other:?}")),
            }
        }
    }

    fn cuts(&mut self, fixture: &Fixture) {
        let body = fixture.request.body.clone();
        let events = bare(self.parse(&fixture.name, &fixture.request));
        for length in self.positions(body.len(), EXHAUSTIVE) {
            let request = RawRequest { body: body.slice(..length), ..fixture.request.clone() };
            let cut = bare(self.parse(&fixture.name, &request));
            let is_refused = !matches!(self.verify(&request), Ok(Verdict::Genuine));
            if !self.kit.signature_headers.is_empty() && !is_refused && cut != events {
                self.fail(&fixture.name, "a cut body is refused", format!("{length} of {} bytes", body.len()));
            }
        }
    }

    /// The same request, later and again, has the same ids: that is how the router knows a duplicate.
    fn stable(&mut self, fixture: &Fixture) {
        let first = self.parse(&fixture.name, &fixture.request);
        let later = RawRequest { received_at: fixture.request.received_at.plus(3_600_000), ..fixture.request.clone() };
        let again = self.parse(&fixture.name, &later);
        if ids(&first) != ids(&again) {
            self.fail(&fixture.name, "ids are stable", format!("{:?}, then {:?}", ids(&first), ids(&again)));
        }
    }

    /// What travels with an event is enough to read it again.
    fn quarantined(&mut self, fixture: &Fixture) {
        let events = self.parse(&fixture.name, &fixture.request);
        for raw in events.iter().filter_map(raw_of).filter(|raw| raw.inline.is_some()) {
            let body = raw.inline.as_deref().and_then(|text| STANDARD.decode(text).ok());
            let Some(body) = body else {
                self.fail(&fixture.name, "raw bodies are base64", format!("{raw:?}"));
                continue;
            };
            let at = fixture.request.received_at.plus(86_400_000);
            match quietly(|| self.kit.adapter.reparse(raw, body.into(), at)) {
                // An event of several may hold only its own part of the request.
                Ok(again) if !again.is_empty() && ids(&again).is_subset(&ids(&events)) => {
                    self.well_formed(&fixture.name, &again);
                }
                other => self.fail(&fixture.name, "a raw body is read again alike", format!("{other:?}")),
            }
        }
    }

    /// Parsing keeps no state: whatever came between, each request reads the same.
    fn order(&mut self) {
        let forth: Vec<_> = self.kit.fixtures.iter().map(|f| self.kit.adapter.parse(&f.request)).collect();
        let mut back: Vec<_> = self.kit.fixtures.iter().rev().map(|f| self.kit.adapter.parse(&f.request)).collect();
        back.reverse();
        for ((fixture, forth), back) in self.kit.fixtures.iter().zip(&forth).zip(&back) {
            if forth != back {
                self.fail(&fixture.name, "order does not matter", format!("{forth:?}, then {back:?}"));
            }
        }
    }

    /// Arbitrary bodies, and the fixture with a piece overwritten, doubled or moved.
    fn arbitrary(&mut self, fixture: &Fixture) {
        for round in 0..ARBITRARY {
            let body = if round % 2 == 0 { self.random.bytes(600) } else { self.random.mangle(&fixture.request.body) };
            let request = RawRequest { body: body.into(), ..fixture.request.clone() };
            self.parse(&fixture.name, &request);
            if let Err(panic) = self.verify(&request) {
                self.fail(&fixture.name, "verify is total", panic);
            }
            let raw = Raw {
                content_type: String::from_utf8_lossy(&self.random.bytes(20)).into_owned(),
                blob: None,
                inline: Some(to_base64(&request.body)),
                meta: [("path", "/x"), ("query", "%%&=&a"), ("source", "list")]
                    .map(|(k, v)| (k.into(), v.into()))
                    .into(),
            };
            match quietly(|| self.kit.adapter.reparse(&raw, request.body.clone(), request.received_at)) {
                Ok(events) => self.well_formed(&fixture.name, &events),
                Err(panic) => self.fail(&fixture.name, "reparse is total", panic),
            }
        }
    }

    /// Whatever the provider answers has an outcome, and what may have been sent is never called unsent.
    fn answers(&mut self) {
        let now = Timestamp(1_800_000_000_000);
        if let Err(why) =
            quietly(|| self.kit.adapter.encode(self.kit.send)).and_then(|call| call.map_err(|e| format!("{e:?}")))
        {
            self.fail("encode", "the given send can be expressed", why);
        }
        let lost = self.classified(Err(CallError::Lost("reset".into())), now);
        if lost.is_some_and(|outcome| outcome.outcome != Outcome::Unknown) {
            self.fail("classify", "a lost answer is unknown", "another outcome".into());
        }
        let not_sent = self.classified(Err(CallError::NotSent("refused".into())), now);
        if not_sent.is_some_and(|outcome| outcome.outcome != Outcome::NotSent) {
            self.fail("classify", "a failed connect is not sent", "another outcome".into());
        }
        for status in 100..600 {
            for body in [
                vec![],
                b"<html>Bad Gateway</html>".to_vec(),
                b"{}".to_vec(),
                b"[1,null".to_vec(),
                self.random.bytes(200),
            ] {
                let answer = Response { status, headers: HeaderMap::new(), body: body.into() };
                let Some(outcome) = self.classified(Ok(answer), now) else { continue };
                if (500..600).contains(&status) && outcome.outcome != Outcome::Unknown {
                    self.fail("classify", "an undocumented 5xx is unknown", format!("{status}: {outcome:?}"));
                }
                if !(200..300).contains(&status) && outcome.outcome == Outcome::Accepted {
                    self.fail("classify", "only a success is accepted", format!("{status}: {outcome:?}"));
                }
            }
        }
    }

    fn classified(&mut self, answer: Result<Response, CallError>, now: Timestamp) -> Option<AttemptOutcome> {
        match quietly(|| self.kit.adapter.classify(self.kit.send, &answer, now)) {
            Ok(outcome) => Some(outcome),
            Err(panic) => {
                self.fail("classify", "classify is total", format!("{panic} on {answer:?}"));
                None
            }
        }
    }

    /// Every position below `end`, or a sample when there are more than `limit`.
    fn positions(&mut self, end: usize, limit: usize) -> Vec<usize> {
        if end <= limit { (0..end).collect() } else { (0..SAMPLES).map(|_| self.random.below(end)).collect() }
    }
}

fn quietly<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_else(|| "panic".into())
    })
}

fn ids(events: &[Inbound]) -> BTreeSet<String> {
    events.iter().map(|event| event.id().to_owned()).collect()
}

fn raw_of(event: &Inbound) -> Option<&Raw> {
    match event {
        Inbound::Message(message) => message.raw.as_ref(),
        Inbound::Unparsed(unparsed) => Some(&unparsed.raw),
        _ => None,
    }
}

/// Events without their raw bodies, which differ between spellings of the same content.
fn bare(events: Vec<Inbound>) -> Vec<Inbound> {
    let strip = |event| match event {
        Inbound::Message(mut message) => {
            message.raw = None;
            Inbound::Message(message)
        }
        Inbound::Unparsed(mut unparsed) => {
            (unparsed.raw.inline, unparsed.id) = (None, String::new());
            Inbound::Unparsed(unparsed)
        }
        other => other,
    };
    events.into_iter().map(strip).collect()
}

fn flip(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
    bytes
}

fn shown(body: &Bytes) -> String {
    String::from_utf8_lossy(body.get(..200).unwrap_or(body)).into_owned()
}

/// Xorshift: the same sequence in every run, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 1).unwrap_or(usize::MAX) % end.max(1)
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most);
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }

    fn mangle(&mut self, body: &[u8]) -> Vec<u8> {
        let (from, to) = (self.below(body.len() + 1), self.below(body.len() + 1));
        let piece = body.get(from.min(to)..from.max(to)).unwrap_or_default().to_vec();
        let at = self.below(body.len() + 1);
        let (head, rest) = body.split_at(at);
        match self.below(3) {
            0 => [head, &piece, rest].concat(),
            1 => [head, &self.bytes(40), rest.get(40..).unwrap_or_default()].concat(),
            _ => [rest, head, &piece].concat(),
        }
    }
}

#[cfg(test)]
#[path = "testkit_tests.rs"]
mod tests;
