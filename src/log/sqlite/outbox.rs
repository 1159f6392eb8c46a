//! A channel's OUT records: fresh ones from memory, older ones from the database.

use super::{
    read::{Readers, pending},
    tail::{Shared, lock},
};
use crate::log::{LogError, Outbox, Seq, Stored};
use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::watch;

pub(super) struct SqliteOutbox {
    shared: Arc<Shared>,
    readers: Arc<Readers>,
    channel: String,
    after: Seq,
    tail: watch::Receiver<Seq>,
    closed: watch::Receiver<bool>,
}

impl SqliteOutbox {
    pub(super) fn new(shared: Arc<Shared>, readers: Arc<Readers>, channel: &str) -> SqliteOutbox {
        let (tail, closed) = (shared.out_tail.subscribe(), shared.closed.subscribe());
        SqliteOutbox { shared, readers, channel: channel.to_owned(), after: 0, tail, closed }
    }

    async fn available(&mut self, max: usize) -> Result<Vec<Stored>, LogError> {
        let (fresh, floor) = {
            let out = lock(&self.shared.out);
            (out.after(&self.channel, self.after, max), out.floor(&self.channel))
        };
        if let Some(fresh) = fresh {
            return Ok(fresh);
        }
        let settled = lock(&self.shared.counters).out_settled;
        let (channel, after) = (self.channel.clone(), self.after.max(settled));
        let old = self.readers.with(move |conn| pending(conn, &channel, after, max)).await?;
        if old.is_empty() {
            // Everything up to the floor was durable before the query saw nothing.
            self.after = self.after.max(floor);
        }
        Ok(old)
    }
}

#[async_trait]
impl Outbox for SqliteOutbox {
    async fn next(&mut self, max: usize) -> Result<Vec<Stored>, LogError> {
        loop {
            if *self.closed.borrow() {
                return Err(LogError::Unavailable("the log is closed".into()));
            }
            self.tail.mark_unchanged();
            let before = self.after;
            let records = self.available(max.max(1)).await?;
            if let Some(last) = records.last() {
                self.after = last.seq;
                return Ok(records);
            }
            if self.after == before {
                tokio::select! {
                    _ = self.tail.changed() => {}
                    _ = self.closed.changed() => {}
                }
            }
        }
    }

    async fn ack(&mut self, seq: Seq) -> Result<(), LogError> {
        lock(&self.shared.acks).push(seq);
        Ok(())
    }
}
