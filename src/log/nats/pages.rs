//! Reading what lies further back than the newest records: an ephemeral pull consumer a reader, which is kept where the
//! reader stopped.

use super::{
    feed::{self, nanos},
    link::{Failure, Link, no_answer, status},
};
use crate::log::{LogError, Seq, Stored};
use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use switchboard_envelope::Timestamp;
use tokio::sync::Mutex;

/// Readers that are kept: the router and history read LOG beside each other.
const KEPT: usize = 4;
/// A consumer that nobody uses goes after this.
pub(super) const IDLE: Duration = Duration::from_secs(30);
/// One page holds no more than this.
const PAGE_BYTES: usize = 8 << 20;

/// Where a delivered message stands, from its reply subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub seq: Seq,
    /// The message's number in the consumer.
    pub number: u64,
    pub at: Timestamp,
    pub pending: u64,
}

/// `$JS.ACK.<stream>.<consumer>.<deliveries>.<seq>.<number>.<nanoseconds>.<pending>`; newer servers put a domain and an
/// account before the stream, and a token after the end.
pub(super) fn place(reply: &str) -> Option<Place> {
    let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    let start = match tokens.len() {
        7 => 2,
        n if n >= 9 => 4,
        _ => return None,
    };
    let number = |i: usize| tokens.get(start + i).and_then(|t| t.parse::<u64>().ok());
    let at = i64::try_from(number(3)? / 1_000_000).ok()?;
    Some(Place { seq: number(1)?, number: number(2)?, at: Timestamp(at), pending: number(4)? })
}

struct Page {
    consumer: String,
    inbox: String,
    messages: Subscriber,
    /// The last record that was delivered.
    at: Seq,
    delivered: u64,
    left: u64,
}

pub(super) struct Pages {
    link: Link,
    stream: String,
    kept: Mutex<Vec<Page>>,
}

#[derive(Deserialize)]
struct Made {
    name: String,
    #[serde(default)]
    num_pending: u64,
}

impl Pages {
    pub(super) fn new(link: Link, stream: String) -> Pages {
        Pages { link, stream, kept: Mutex::new(Vec::new()) }
    }

    /// What was trimmed must not be read from a page that is still open.
    pub(super) fn forget(&self) {
        if let Ok(mut kept) = self.kept.try_lock() {
            kept.clear();
        }
    }

    /// Records after `after`; the caller has what lies after `floor` at hand.
    pub(super) async fn read(&self, after: Seq, max: usize, floor: Seq) -> Result<Vec<Stored>, LogError> {
        let mut page = match self.take(after).await {
            Some(page) => page,
            None => self.open(after).await?,
        };
        if page.left == 0 || max == 0 {
            return Ok(vec![]);
        }
        let records = self.fill(&mut page, max).await?;
        if page.left > 0 && page.at < floor {
            let mut kept = self.kept.lock().await;
            if kept.len() >= KEPT {
                kept.remove(0);
            }
            kept.push(page);
        }
        Ok(records)
    }

    async fn take(&self, after: Seq) -> Option<Page> {
        let mut kept = self.kept.lock().await;
        let i = kept.iter().position(|p| p.at == after)?;
        Some(kept.remove(i))
    }

    async fn open(&self, after: Seq) -> Result<Page, LogError> {
        let inbox = self.link.client.new_inbox();
        let subscribed = self.link.client.subscribe(inbox.clone()).await;
        let messages = subscribed.map_err(|e| LogError::Unavailable(e.to_string()))?;
        let made: Made = self.link.api(&format!("CONSUMER.CREATE.{}", self.stream), &json!({
            "stream_name": self.stream,
            "config": {
                "deliver_policy": "by_start_sequence", "opt_start_seq": after.saturating_add(1), "ack_policy": "none",
                "replay_policy": "instant", "max_deliver": 1, "mem_storage": true, "num_replicas": 1,
                "inactive_threshold": nanos(IDLE),
            },
        })).await?;
        Ok(Page { consumer: made.name, inbox, messages, at: after, delivered: 0, left: made.num_pending })
    }

    async fn fill(&self, page: &mut Page, max: usize) -> Result<Vec<Stored>, Failure> {
        let wanted = usize::try_from(page.left).unwrap_or(usize::MAX).min(max);
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, page.consumer);
        let ask = json!({ "batch": wanted, "no_wait": true, "max_bytes": PAGE_BYTES });
        let asked = self.link.client.publish_with_reply(subject, page.inbox.clone(), Bytes::from(ask.to_string()));
        asked.await.map_err(|e| no_answer(e.to_string()))?;
        let mut records = Vec::with_capacity(wanted.min(1024));
        while records.len() < wanted {
            let message = tokio::time::timeout(self.link.timeout(), page.messages.next()).await;
            let message = message.ok().flatten().ok_or_else(|| no_answer("a page of records did not arrive".into()))?;
            match status(&message) {
                None => {}
                Some(100) => continue,
                // The end of the page before this one.
                Some(409) if message.description.as_deref().is_some_and(|d| d.contains("Batch Completed")) => continue,
                // As much as fits into one page.
                Some(404 | 408 | 409) if !records.is_empty() => break,
                Some(other) => return Err(no_answer(format!("a page of records was refused with status {other}"))),
            }
            let (record, number) = feed::record(message)?;
            if number != page.delivered + 1 {
                return Err(no_answer(format!("a gap after delivery {} of a page", page.delivered)));
            }
            (page.delivered, page.at) = (number, record.seq);
            page.left = page.left.saturating_sub(1);
            records.push(record);
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_delivery_is_read_in_both_forms() {
        let expected = Place { seq: 22, number: 3, at: Timestamp(1_700_000_000_123), pending: 9 };
        assert_eq!(place("$JS.ACK.S.c.1.22.3.1700000000123456789.9"), Some(expected));
        assert_eq!(place("$JS.ACK._.hash.S.c.1.22.3.1700000000123456789.9.token"), Some(expected));
        assert_eq!(place("$JS.ACK.S.c.1.x.3.1.9"), None);
        assert_eq!(place("_INBOX.a"), None);
    }
}
