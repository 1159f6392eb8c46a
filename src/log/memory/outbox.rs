//! A channel's OUT records, which come again when the dice say so.

use super::{Inner, Shared, no_answer};
use crate::log::{LogError, Outbox, Seq, Stored};
use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::watch;

pub(super) struct MemoryOutbox {
    shared: Arc<Shared>,
    channel: String,
    after: Seq,
    tail: watch::Receiver<Seq>,
    epoch: watch::Receiver<u64>,
    opened_in: u64,
}

impl MemoryOutbox {
    pub(super) fn new(shared: Arc<Shared>, channel: &str) -> MemoryOutbox {
        let (tail, epoch) = (shared.out_tail.subscribe(), shared.epoch.subscribe());
        let opened_in = *epoch.borrow();
        MemoryOutbox { shared, channel: channel.to_owned(), after: 0, tail, epoch, opened_in }
    }

    fn alive(&self) -> Result<(), LogError> {
        if *self.epoch.borrow() == self.opened_in {
            return Ok(());
        }
        Err(LogError::Unavailable("this outbox belongs to a process that was killed".into()))
    }

    fn deliver(&mut self, max: usize) -> Result<Vec<Stored>, LogError> {
        let shared = Arc::clone(&self.shared);
        let mut inner = shared.begin();
        let (lost, redeliver) = (inner.faults.lost_read, inner.faults.redeliver);
        let answer = if inner.dice.chance(lost) {
            Err(no_answer())
        } else {
            let again = inner.dice.chance(redeliver);
            let from = if again { inner.dice.below(self.after + 1) } else { self.after };
            let mut records = self.pending(&inner, from, max, again);
            let before = self.after;
            self.after = records.last().map_or(before, |last| last.seq);
            // What comes again comes in any order; what comes for the first time comes in its own.
            let known = records.iter().take_while(|r| r.seq <= before).count();
            for last in (1..known).rev() {
                let other = usize::try_from(inner.dice.below(last as u64 + 1)).unwrap_or(0);
                records.swap(last, other);
            }
            Ok(records)
        };
        shared.show(inner);
        answer
    }

    fn pending(&self, inner: &Inner, from: Seq, max: usize, acked_too: bool) -> Vec<Stored> {
        let wanted = |seq: Seq| acked_too || !inner.store.acked.contains(&seq);
        let ours =
            inner.store.out.range(from.saturating_add(1)..).filter(|(_, sent)| sent.record.channel == self.channel);
        ours.filter(|(seq, _)| wanted(**seq)).take(max.max(1)).map(|(_, sent)| sent.record.clone()).collect()
    }
}

#[async_trait]
impl Outbox for MemoryOutbox {
    async fn next(&mut self, max: usize) -> Result<Vec<Stored>, LogError> {
        loop {
            self.alive()?;
            self.tail.mark_unchanged();
            let records = self.deliver(max)?;
            if !records.is_empty() {
                return Ok(records);
            }
            tokio::select! {
                biased;
                _ = self.tail.changed() => {}
                _ = self.epoch.changed() => {}
            }
        }
    }

    async fn ack(&mut self, seq: Seq) -> Result<(), LogError> {
        self.alive()?;
        let mut inner = self.shared.begin();
        let lost = inner.faults.ack_lost;
        if !inner.dice.chance(lost) {
            inner.store.acked.insert(seq);
        }
        self.shared.show(inner);
        Ok(())
    }
}
