//! Buckets: a value a key, created once or replaced, read from the leader.

use super::{
    link::{Failure, Link, code, no_answer},
    names::key,
};
use crate::log::{LogError, Seq};
use async_nats::HeaderMap;
use base64::Engine as _;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use switchboard_envelope::Timestamp;

/// One message of a stream, as its leader has it.
pub(super) struct Kept {
    pub seq: Seq,
    pub subject: String,
    pub at: Timestamp,
    pub data: Bytes,
}

#[derive(Deserialize)]
struct Got {
    message: GotMessage,
}

#[derive(Deserialize)]
struct GotMessage {
    subject: String,
    seq: Seq,
    time: jiff::Timestamp,
    #[serde(default)]
    data: String,
}

/// Asks the stream's leader, for another replica may be behind.
pub(super) async fn get(link: &Link, stream: &str, query: &Value) -> Result<Option<Kept>, Failure> {
    let got: Got = match link.api(&format!("STREAM.MSG.GET.{stream}"), query).await {
        Ok(got) => got,
        Err(e) if e.is(code::NO_MESSAGE) => return Ok(None),
        Err(e) => return Err(e),
    };
    let m = got.message;
    let data = base64::engine::general_purpose::STANDARD.decode(&m.data).map_err(|e| no_answer(e.to_string()))?;
    Ok(Some(Kept { seq: m.seq, subject: m.subject, at: Timestamp::from_jiff(m.time), data: data.into() }))
}

/// The first message after `after` whose subject is one of these, as the stream's leader has it.
pub(super) async fn next(link: &Link, stream: &str, after: Seq, subjects: &str) -> Result<Option<Kept>, Failure> {
    get(link, stream, &json!({ "seq": after + 1, "next_by_subj": subjects })).await
}

#[derive(Deserialize)]
struct Done {
    #[serde(default)]
    success: bool,
}

/// Removes what a purge's filter names.
pub(super) async fn purge(link: &Link, stream: &str, filter: &Value) -> Result<(), Failure> {
    let done: Done = link.api(&format!("STREAM.PURGE.{stream}"), filter).await?;
    if done.success { Ok(()) } else { Err(no_answer("a purge had no success".into())) }
}

/// Removes one message and overwrites its bytes.
pub(super) async fn wipe(link: &Link, stream: &str, seq: Seq) -> Result<(), Failure> {
    let body = json!({ "seq": seq, "no_erase": false });
    match link.api::<Done>(&format!("STREAM.MSG.DELETE.{stream}"), &body).await {
        Ok(_) => Ok(()),
        Err(e) if e.is(code::NO_MESSAGE) => Ok(()),
        Err(e) => Err(e),
    }
}

/// What became of a value that was to be created.
pub(super) enum Created {
    /// It is there, in this place of the bucket's stream.
    Now(Seq),
    /// Another was there before.
    Before(Bytes),
}

#[derive(Clone)]
pub(super) struct Bucket {
    link: Link,
    name: String,
}

impl Bucket {
    pub(super) fn new(link: Link, name: String) -> Bucket {
        Bucket { link, name }
    }

    pub(super) fn stream(&self) -> String {
        format!("KV_{}", self.name)
    }

    fn subject(&self, name: &str) -> String {
        format!("$KV.{}.{}", self.name, key(name))
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Bytes>, LogError> {
        Ok(self.find(name).await?.map(|kept| kept.data))
    }

    pub(super) async fn find(&self, name: &str) -> Result<Option<Kept>, Failure> {
        get(&self.link, &self.stream(), &json!({ "last_by_subj": self.subject(name) })).await
    }

    /// Creates the value, or returns the one that is there.
    pub(super) async fn create(&self, name: &str, value: Bytes) -> Result<Created, LogError> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
        match self.link.publish(self.subject(name), headers, value).await {
            Ok(stored) => Ok(Created::Now(stored.seq)),
            Err(e) if e.is_wrong_last() => match self.get(name).await? {
                Some(there) => Ok(Created::Before(there)),
                // It went between the two questions, by its age or by hand.
                None => Err(LogError::Unavailable(format!("`{name}` of {} just changed", self.name))),
            },
            Err(e) => Err(self.error(e)),
        }
    }

    pub(super) async fn put(&self, name: &str, value: Bytes) -> Result<(), LogError> {
        let stored = self.link.publish(self.subject(name), HeaderMap::new(), value).await;
        stored.map(drop).map_err(|e| self.error(e))
    }

    /// Replaces the value whose record is `last`, 0 being none; `false` when another stands there.
    pub(super) async fn replace(&self, name: &str, last: Seq, value: Bytes) -> Result<bool, LogError> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", last.to_string().as_str());
        match self.link.publish(self.subject(name), headers, value).await {
            Ok(_) => Ok(true),
            Err(e) if e.is_wrong_last() => Ok(false),
            Err(e) => Err(self.error(e)),
        }
    }

    /// Removes the value and overwrites its bytes.
    pub(super) async fn wipe(&self, name: &str) -> Result<(), LogError> {
        while let Some(kept) = self.find(name).await? {
            wipe(&self.link, &self.stream(), kept.seq).await?;
        }
        Ok(())
    }

    fn error(&self, failure: Failure) -> LogError {
        if failure.is_full() {
            return LogError::Full(format!("bucket {}: {failure}", self.name));
        }
        failure.into()
    }
}
