//! Files that are handed over before their message.

use super::super::{Caller, process_name};
use super::*;
use crate::inbound::blob_scope;
use crate::log::Log;
use crate::log::memory::{MemoryLog, MemoryOptions};
use crate::metrics::Metrics;
use async_trait::async_trait;
use http::{HeaderMap, Method};
use std::sync::{Arc, Mutex};
use switchboard_adapter_sdk::{Adapter, Answer, CallBody, RawRequest, Response, Verdict};
use switchboard_envelope::{Address, Author, BlobRef, ChannelProfile, Content, Inbound, Outcome, Raw, Timestamp};
use tokio::sync::watch;

/// A provider that takes a file in calls of four bytes.
#[derive(Default)]
struct Provider(Mutex<Vec<String>>);

#[async_trait]
impl Caller for Provider {
    async fn call(&self, call: Call) -> Answer {
        self.0.lock().expect("no test fails within it").push(call.url);
        Ok(Response { status: 200, headers: HeaderMap::new(), body: Bytes::new() })
    }
}

/// Hands over files whose names do not begin with `plain`.
struct Hands {
    wait: Duration,
}

struct Pieces {
    at: usize,
    wait: Duration,
}

impl Upload for Pieces {
    fn step(&mut self, file: &Bytes, _: Option<&Answer>, _: Timestamp) -> Result<Step, AttemptOutcome> {
        let Some(piece) = file.get(self.at..).filter(|rest| !rest.is_empty()) else {
            return Ok(Step::Done(format!("file-of-{}", file.len())));
        };
        let piece = String::from_utf8_lossy(&piece[..piece.len().min(4)]).into_owned();
        self.at += 4;
        let (method, headers) = (Method::POST, vec![]);
        let call = Call { method, url: piece, headers, body: CallBody::Empty, timeout: Duration::from_secs(1) };
        Ok(Step::Call(Box::new(call), self.wait))
    }
}

impl Adapter for Hands {
    fn profile(&self) -> ChannelProfile {
        ChannelProfile::new("twitter", "twitter")
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

    fn encode(&self, _: &SendRecord) -> Result<Call, AttemptOutcome> {
        Err(AttemptOutcome::new(Outcome::Rejected))
    }

    fn classify(&self, _: &SendRecord, _: &Answer, _: Timestamp) -> AttemptOutcome {
        AttemptOutcome::new(Outcome::Unknown)
    }

    fn upload(&self, _: &SendRecord, file: &Attachment) -> Option<Box<dyn Upload + '_>> {
        (!file.name.starts_with("plain")).then(|| Box::new(Pieces { at: 0, wait: self.wait }) as Box<dyn Upload>)
    }
}

fn lane(log: &MemoryLog, wait: Duration) -> (Lane, Arc<Provider>) {
    let provider = Arc::new(Provider::default());
    let lane = Lane {
        channel: "handle".into(),
        adapter: Arc::new(Hands { wait }),
        log: Arc::new(log.clone()),
        client: provider.clone(),
        transport: None,
        limits: None,
        send_timeout: Duration::from_secs(1),
        metrics: Arc::new(Metrics::default()),
        parallel: 1,
        process: process_name(),
        links: None,
        clock_wrong: watch::channel(None).1,
        made: Default::default(),
    };
    (lane, provider)
}

async fn send(log: &MemoryLog, files: &[(&str, &'static [u8])], until: Timestamp) -> SendRecord {
    let mut attachments = vec![];
    for (name, bytes) in files {
        let blob = log.put_blob(&blob_scope("handle", "t"), Bytes::from_static(bytes)).await.expect("it is stored");
        attachments.push(Attachment { name: (*name).into(), blob: Some(blob), ..Attachment::default() });
    }
    SendRecord {
        send: "s1".into(),
        part: 1,
        n: 1,
        until,
        channel: "handle".into(),
        conversation: "c".into(),
        thread: "t".into(),
        to: Address::new("twitter", "2"),
        content: Content { attachments, ..Content::text("hi") },
        author: Author::Agent { id: "ann".into() },
        reply_to: vec![],
        traceparent: None,
        mail: None,
        window_until: None,
    }
}

fn later(ms: i64) -> Timestamp {
    clock::now().plus(ms)
}

#[tokio::test(start_paused = true)]
async fn each_file_is_handed_over_whole_and_the_message_has_the_providers_names() {
    let log = MemoryLog::new(&MemoryOptions::default());
    let (lane, provider) = lane(&log, Duration::from_secs(3));
    let files: [(&str, &[u8]); 3] = [("a.png", b"abcdefgh"), ("plain.txt", b"not asked for"), ("b.png", b"xyz")];
    let ready = lane.hand_over(&send(&log, &files, later(60_000)).await).await.expect("they are handed over");
    let names: Vec<Option<&str>> = ready.content.attachments.iter().map(|file| file.url.as_deref()).collect();
    assert_eq!(names, [Some("file-of-8"), None, Some("file-of-3")]);
    assert_eq!(*provider.0.lock().unwrap(), ["abcd", "efgh", "xyz"]);
}

#[tokio::test(start_paused = true)]
async fn what_would_take_longer_than_the_attempt_is_given_up_before_its_message() {
    let log = MemoryLog::new(&MemoryOptions::default());
    let (lane, provider) = lane(&log, Duration::from_secs(10));
    // A wait of ten seconds, a call of one, and the message's own.
    let late = lane.hand_over(&send(&log, &[("a.png", b"abc")], later(11_900)).await).await.expect_err("it is late");
    assert_eq!((late.outcome, late.channel_refused), (Outcome::NotSent, false));
    assert!(late.detail.is_some_and(|why| why.contains("`a.png`")));
    assert_eq!(*provider.0.lock().unwrap(), Vec::<String>::new());
    lane.hand_over(&send(&log, &[("a.png", b"abc")], later(15_000)).await).await.expect("there is time");
    let long: &[u8] = &[b'x'; 4 * 1000];
    let endless = lane.hand_over(&send(&log, &[("a.png", long)], later(600_000)).await).await;
    let endless = endless.expect_err("it never ends");
    assert_eq!((endless.outcome, endless.fault), (Outcome::NotSent, Some(Fault::Recipient)));
    assert_eq!(provider.0.lock().unwrap().len(), 1 + MOST_STEPS as usize);
}

/// Others are written to meanwhile: five of these in a row do not make everybody wait.
#[test]
fn a_file_that_the_provider_does_not_take_now_is_no_failure_of_the_channel() {
    let answered: Answer = Ok(Response { status: 503, headers: HeaderMap::new(), body: Bytes::new() });
    let lost: Answer = Err(switchboard_adapter_sdk::CallError::Lost("reset".into()));
    for (class, answer, wanted) in [
        (Class::Retry, Some(&answered), Some(Fault::Recipient)),
        (Class::RateLimit, Some(&answered), Some(Fault::Recipient)),
        (Class::Config, Some(&answered), None),
        (Class::PermanentMessage, Some(&answered), None),
        (Class::Retry, Some(&lost), None),
        (Class::Retry, None, None),
    ] {
        assert_eq!(of_the_file(class.attempt(None, "why"), answer).fault, wanted, "{class:?} {answer:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_gone_ends_the_send() {
    let log = MemoryLog::new(&MemoryOptions::default());
    let (lane, _) = lane(&log, Duration::ZERO);
    let mut gone = send(&log, &[("a.png", b"abc")], later(60_000)).await;
    gone.content.attachments[0].blob = Some(BlobRef::of_hash(&"0a".repeat(32)));
    assert_eq!(lane.hand_over(&gone).await.expect_err("it is gone").outcome, Outcome::Rejected);
}
