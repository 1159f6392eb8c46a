//! A provider in memory. It counts for itself what it sent to whom, and answers as badly as the seed says.

use crate::outbound::Caller;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use switchboard_adapter_sdk::{
    Adapter, Answer, AttemptOutcome, Call, CallBody, CallError, RawRequest, Response, Verdict,
};
use switchboard_envelope::{ChannelProfile, Inbound, Outcome, Raw, Reconcile, Send, Timestamp};

use super::world::Dice;

/// One call that the provider took: a message, or a part of one.
#[derive(Clone, Debug)]
pub(super) struct Delivered {
    pub send: String,
    pub part: u16,
    pub to: String,
    pub channel: String,
}

impl Delivered {
    /// What the provider knows it by.
    pub fn key(&self) -> String {
        key(&self.send, self.part)
    }
}

pub(super) fn key(send: &str, part: u16) -> String {
    format!("{send}.{part}")
}

#[derive(Default)]
pub(super) struct Book {
    pub delivered: Vec<Delivered>,
    pub calls: u64,
    /// Answers go wrong with this chance in a hundred.
    pub trouble: u64,
    /// A send that was taken before is refused as a repeat, or said to be taken.
    pub drops_repeats: bool,
}

#[derive(Clone)]
pub(super) struct Provider {
    book: Arc<Mutex<Book>>,
    dice: Arc<Mutex<Dice>>,
}

impl Provider {
    pub fn new(dice: Dice) -> Provider {
        Provider { book: Arc::default(), dice: Arc::new(Mutex::new(dice)) }
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn roll(&self, below: u64) -> u64 {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).below(below)
    }

    fn take(&self, key: &str, to: &str, channel: &str) {
        let (send, part) = key.rsplit_once('.').unwrap_or((key, "1"));
        let (part, to, channel) = (part.parse().unwrap_or(1), to.into(), channel.into());
        self.book().delivered.push(Delivered { send: send.into(), part, to, channel });
    }
}

fn answer(status: u16, body: &str) -> Answer {
    Ok(Response { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) })
}

#[async_trait]
impl Caller for Provider {
    async fn call(&self, call: Call) -> Answer {
        let CallBody::Bytes(_, body) = &call.body else {
            // The list: what was taken, for reconciliation.
            let taken = self.book().delivered.iter().any(|d| call.url.ends_with(&d.key()));
            return answer(200, if taken { "taken" } else { "" });
        };
        let text = String::from_utf8_lossy(body).into_owned();
        let (send, to) = text.split_once(' ').unwrap_or((&text, ""));
        let (to, channel) = to.split_once(' ').unwrap_or((to, ""));
        self.book().calls += 1;
        let trouble = self.book().trouble;
        let before = self.roll(40);
        tokio::time::sleep(Duration::from_millis(before)).await;
        let repeat = self.book().drops_repeats && self.book().delivered.iter().any(|d| d.key() == send);
        if repeat {
            return if self.roll(2) == 0 { answer(400, "you sent that before") } else { answer(201, send) };
        }
        if self.roll(100) >= trouble {
            self.take(send, to, channel);
            let after = self.roll(40);
            tokio::time::sleep(Duration::from_millis(after)).await;
            return answer(201, send);
        }
        match self.roll(8) {
            0 => Err(CallError::NotSent("connection refused".into())),
            1 => Err(CallError::Lost("reset before it was read".into())),
            2 => {
                self.take(send, to, channel);
                Err(CallError::Lost("reset after it was taken".into()))
            }
            3 => {
                self.take(send, to, channel);
                tokio::time::sleep(Duration::from_secs(20)).await;
                Err(CallError::Lost("timeout".into()))
            }
            4 => {
                let mut headers = HeaderMap::new();
                headers.insert("retry-after", HeaderValue::from_static("3"));
                Ok(Response { status: 429, headers, body: Bytes::new() })
            }
            5 => answer(400, "rejected"),
            6 => answer(500, ""),
            _ => {
                self.take(send, to, channel);
                answer(200, "<html>garbage")
            }
        }
    }
}

/// What it is the adapter of.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Sms,
    /// A channel that takes few at a time, and a text with its files as one.
    Chat,
    /// A desk, where people of ours are told.
    Desk,
}

/// The adapter of that provider.
pub(super) struct SimAdapter {
    pub kind: Kind,
    pub reconciles: bool,
    /// The provider drops repeats, so that an attempt that may have been taken is made again.
    pub same_id_retry: bool,
}

impl Adapter for SimAdapter {
    fn profile(&self) -> ChannelProfile {
        if self.kind == Kind::Desk {
            let desk = ChannelProfile::new("slack", "slack");
            return ChannelProfile {
                desk: true,
                proactive: false,
                reconciles: self.reconciles,
                reconcile_ms: 5_000,
                ..desk
            };
        }
        let sms = self.kind == Kind::Sms;
        ChannelProfile {
            reconciles: self.reconciles,
            same_id_retry: self.same_id_retry,
            reconcile_ms: 5_000,
            proactive: true,
            in_flight: if sms { 4 } else { 1 },
            not_after_ms: if sms { 3_600_000 } else { 600_000 },
            max_text: Some(500),
            files_apart: sms,
            cost: if sms { 100 } else { 50 },
            ..ChannelProfile::new(if sms { "sms" } else { "webhook" }, "phone")
        }
    }

    fn verify(&self, _: &RawRequest) -> Verdict {
        Verdict::Genuine
    }

    fn parse(&self, _: &RawRequest) -> Vec<Inbound> {
        vec![]
    }

    fn reparse(&self, _: &Raw, _: Bytes, _: Timestamp) -> Vec<Inbound> {
        vec![]
    }

    fn encode(&self, send: &Send) -> Result<Call, AttemptOutcome> {
        let body = format!("{} {} {}", key(&send.send, send.part), send.to.value, send.channel);
        Ok(Call {
            method: Method::POST,
            url: "http://sim/send".into(),
            headers: vec![],
            body: CallBody::Bytes("text/plain", body.into()),
            timeout: Duration::from_secs(20),
        })
    }

    fn classify(&self, _: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
        match answer {
            Ok(r) if r.status == 201 => AttemptOutcome {
                provider_ids: vec![format!("P{}", String::from_utf8_lossy(&r.body))],
                ..AttemptOutcome::new(Outcome::Accepted)
            },
            Ok(r) if r.status == 429 => {
                AttemptOutcome { retry_after_ms: r.retry_after_ms(now), ..AttemptOutcome::new(Outcome::NotSent) }
            }
            Ok(r) if r.status == 400 => AttemptOutcome::new(Outcome::Rejected),
            Err(CallError::NotSent(_)) => AttemptOutcome::new(Outcome::NotSent),
            _ => AttemptOutcome::new(Outcome::Unknown),
        }
    }

    fn reconcile(&self, attempt: &Reconcile) -> Option<Call> {
        self.reconciles.then(|| Call {
            method: Method::GET,
            url: format!("http://sim/list/{}", key(&attempt.send, attempt.part)),
            headers: vec![],
            body: CallBody::Empty,
            timeout: Duration::from_secs(5),
        })
    }

    fn reconciled(&self, attempt: &Reconcile, answer: &Answer) -> Option<AttemptOutcome> {
        let taken = answer.as_ref().is_ok_and(|r| &r.body[..] == b"taken");
        taken.then(|| AttemptOutcome {
            provider_ids: vec![format!("P{}", key(&attempt.send, attempt.part))],
            ..AttemptOutcome::new(Outcome::Accepted)
        })
    }
}

/// How often each part of a send was delivered.
pub(super) fn counts(book: &Book) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for d in &book.delivered {
        *counts.entry(d.key()).or_default() += 1;
    }
    counts
}
