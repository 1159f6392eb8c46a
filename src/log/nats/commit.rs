//! Frames: keys first, then the frame by compare-and-swap, then its sends into OUT in the order that the frame assigned.
//!
//! Unlike in the embedded log these are several steps. A frame that landed is repeated until all its sends are in OUT; what a
//! router that was killed left out is completed by the next one, and what nobody completes is found free at `until`.

use super::{
    bucket::{self, Bucket, Created},
    feed::{self, Feed},
    link::{Failure, Link},
    names::{Names, channel_token},
};
use crate::log::{Commit, FrameWrite, KeyId, LogError, OutRecord, Seq};
use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Keys read or written at once.
const KEYS_AT_ONCE: usize = 64;
/// Sends published at once.
const SENDS_AT_ONCE: usize = 256;

/// The ends of LOG and OUT as this process left them; unknown after anything went wrong.
#[derive(Default)]
struct Ends {
    log: Option<Seq>,
    out: Option<Seq>,
}

pub(super) struct Committer {
    pub link: Link,
    pub names: Names,
    pub keys: Bucket,
    pub feed: Arc<Feed>,
    ends: Mutex<Ends>,
}

/// Why a commit ends early.
enum Early {
    Conflict,
    Unknown(String),
}

impl From<LogError> for Early {
    fn from(error: LogError) -> Early {
        Early::Unknown(error.to_string())
    }
}

impl From<Failure> for Early {
    fn from(failure: Failure) -> Early {
        Early::Unknown(failure.to_string())
    }
}

fn expecting(seq: Seq) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Expected-Last-Sequence", seq.to_string().as_str());
    headers
}

impl Committer {
    pub(super) fn new(link: Link, names: Names, keys: Bucket, feed: Arc<Feed>) -> Committer {
        Committer { link, names, keys, feed, ends: Mutex::new(Ends::default()) }
    }

    pub(super) async fn commit(&self, expected: Seq, frame: &FrameWrite) -> Commit {
        let mut ends = self.ends.lock().await;
        match self.steps(&mut ends, expected, frame).await {
            Ok(seq) => Commit::Done(seq),
            Err(Early::Conflict) => {
                *ends = Ends::default();
                Commit::Conflict
            }
            Err(Early::Unknown(why)) => {
                *ends = Ends::default();
                Commit::Unknown(why)
            }
        }
    }

    async fn steps(&self, ends: &mut Ends, expected: Seq, frame: &FrameWrite) -> Result<Seq, Early> {
        if self.log_end(ends, !frame.keys.is_empty()).await? != expected {
            return self.settle(expected, frame).await;
        }
        if !frame.sends.is_empty() && !self.continues_out(ends, frame.out_first).await? {
            tracing::error!(out_first = frame.out_first, "a frame's sends do not continue OUT");
            return Err(Early::Conflict);
        }
        self.write_keys(&frame.keys).await?;
        let appended = self.link.publish(self.names.log_subject(), expecting(expected), frame.bytes.clone()).await;
        let seq = match appended {
            Ok(stored) => stored.seq,
            Err(e) if e.is_wrong_last() => return self.settle(expected, frame).await,
            Err(e) => return Err(e.into()),
        };
        ends.log = Some(seq);
        self.feed.known(seq);
        if !frame.sends.is_empty() {
            ends.out = None;
            self.release(frame.out_first, &frame.sends).await?;
            ends.out = Some(frame.out_first + frame.sends.len() as u64 - 1);
        }
        Ok(seq)
    }

    /// LOG's last sequence; asked anew before keys are written, for a router that was deposed must not leave any.
    async fn log_end(&self, ends: &mut Ends, fresh: bool) -> Result<Seq, Early> {
        match ends.log.filter(|_| !fresh) {
            Some(last) => Ok(last),
            None => {
                let last = feed::info(&self.link, &self.names.log()).await?.state.last_seq;
                ends.log = Some(last);
                Ok(last)
            }
        }
    }

    async fn continues_out(&self, ends: &mut Ends, first: Seq) -> Result<bool, Early> {
        if ends.out.is_some_and(|last| last + 1 == first) {
            return Ok(true);
        }
        let last = feed::info(&self.link, &self.names.out()).await?.state.last_seq;
        ends.out = Some(last);
        Ok(last + 1 == first)
    }

    async fn write_keys(&self, keys: &[(KeyId, [u8; 32])]) -> Result<(), Early> {
        if keys.is_empty() {
            return Ok(());
        }
        // All are compared before any is written: a frame that is refused leaves nothing.
        let there = self.read_keys(keys.iter().map(|(id, _)| id.clone()).collect()).await?;
        let others = keys.iter().zip(&there).any(|((_, key), there)| there.is_some_and(|there| there != *key));
        if others {
            tracing::error!("a frame is sealed with a key that is not in force");
            return Err(Early::Conflict);
        }
        let missing = keys.iter().zip(there).filter(|(_, there)| there.is_none()).map(|(key, _)| key.clone());
        let missing: Vec<(KeyId, [u8; 32])> = missing.collect();
        let written = stream::iter(missing).map(|(id, key)| async move {
            let made = self.keys.create(&id, Bytes::copy_from_slice(&key)).await?;
            Ok::<bool, LogError>(match made {
                Created::Now(_) => true,
                Created::Before(there) => there.as_ref() == key,
            })
        });
        let written: Vec<Result<bool, LogError>> = written.buffered(KEYS_AT_ONCE).collect().await;
        for ours in written {
            if !ours? {
                return Err(Early::Conflict);
            }
        }
        Ok(())
    }

    pub(super) async fn read_keys(&self, ids: Vec<KeyId>) -> Result<Vec<Option<[u8; 32]>>, LogError> {
        let found = stream::iter(ids).map(|id| async move { read_key(&self.keys, &id).await });
        let found: Vec<_> = found.buffered(KEYS_AT_ONCE).collect().await;
        found.into_iter().collect()
    }

    /// LOG does not end at `expected`: is the frame after it ours? Then its sends must be in OUT before anybody is told.
    async fn settle(&self, expected: Seq, frame: &FrameWrite) -> Result<Seq, Early> {
        let at = expected.saturating_add(1);
        let there = bucket::get(&self.link, &self.names.log(), &json!({ "seq": at })).await?;
        if let Some(there) = there {
            // Who asks next whose frame it is must see it.
            self.feed.known(there.seq);
            if there.data == frame.bytes {
                self.complete(frame.out_first, &frame.sends).await?;
            }
        }
        Err(Early::Conflict)
    }

    /// Publishes those of a durable frame's sends that OUT does not have.
    pub(super) async fn complete(&self, first: Seq, sends: &[OutRecord]) -> Result<(), LogError> {
        let last = feed::info(&self.link, &self.names.out()).await?.state.last_seq;
        let landed = usize::try_from((last + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let Some(missing) = sends.get(landed..).filter(|m| !m.is_empty()) else { return Ok(()) };
        if last + 1 < first {
            // OUT lost records that had their place. These find none; at `until` their claims are free, and they are retried.
            tracing::error!(
                last,
                first,
                "OUT ends before what a frame assigned; its sends wait for their next attempt"
            );
            return Ok(());
        }
        self.release(first + landed as u64, missing).await
    }

    /// A frame with the first few of its sends, as a router leaves it that is killed.
    #[cfg(test)]
    pub(super) async fn append_alone(&self, frame: &FrameWrite, sends: usize) {
        let subject = self.names.log_subject();
        self.link.publish(subject, HeaderMap::new(), frame.bytes.clone()).await.expect("append");
        self.release(frame.out_first, &frame.sends[..sends]).await.expect("release");
    }

    /// Publishes sends in their order: one that is refused refuses all after it.
    async fn release(&self, first: Seq, sends: &[OutRecord]) -> Result<(), LogError> {
        for (sends, first) in sends.chunks(SENDS_AT_ONCE).zip((first..).step_by(SENDS_AT_ONCE)) {
            let mut records = Vec::with_capacity(sends.len());
            for (send, seq) in sends.iter().zip(first..) {
                let subject = self.names.out_subject(channel_token(&send.channel)?);
                records.push((subject, expecting(seq.saturating_sub(1)), send.data.clone()));
            }
            self.link.publish_in_order(records).await?;
        }
        Ok(())
    }
}

pub(super) async fn read_key(keys: &Bucket, id: &str) -> Result<Option<[u8; 32]>, LogError> {
    keys.get(id).await?.map(|bytes| key_of(id, &bytes)).transpose()
}

pub(super) fn key_of(id: &str, bytes: &[u8]) -> Result<[u8; 32], LogError> {
    bytes.try_into().map_err(|_| LogError::Damaged(format!("the key `{id}` is not 32 bytes long")))
}
