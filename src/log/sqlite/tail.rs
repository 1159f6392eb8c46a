//! The newest records in memory: the router and the outboxes live at the end of the logs, and read them without SQL.

use super::schema::Counters;
use crate::log::ring::Ring;
use crate::log::{Seq, Stored};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Bytes of IN, of LOG, and of each channel of OUT that are kept.
const RING_BYTES: usize = 2 << 20;
const RING_RECORDS: usize = 8192;

/// A panic elsewhere never leaves these structures half changed, so a poisoned lock is used on.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ring(floor: Seq) -> Ring {
    Ring::new(floor, RING_BYTES, RING_RECORDS)
}

/// OUT by channel. A channel that is not here had no record since the log was opened.
pub(super) struct OutRings {
    opened_at: Seq,
    rings: HashMap<String, Ring>,
}

impl OutRings {
    pub(super) fn push(&mut self, record: Stored) {
        let opened_at = self.opened_at;
        self.rings.entry(record.channel.clone()).or_insert_with(|| ring(opened_at)).push(record);
    }

    pub(super) fn floor(&self, channel: &str) -> Seq {
        self.rings.get(channel).map_or(self.opened_at, Ring::floor)
    }

    pub(super) fn after(&self, channel: &str, after: Seq, max: usize) -> Option<Vec<Stored>> {
        match self.rings.get(channel) {
            Some(ring) => ring.after(after, max),
            None => (after >= self.opened_at).then(Vec::new),
        }
    }

    fn trim(&mut self, up_to: Seq) {
        self.rings.values_mut().for_each(|ring| ring.trim(up_to));
    }
}

/// What one transaction added or removed, published once it is durable.
#[derive(Default)]
pub(super) struct Fresh {
    pub inn: Vec<Stored>,
    pub log: Vec<Stored>,
    pub out: Vec<Stored>,
    pub in_trimmed: Seq,
    pub log_trimmed: Seq,
    pub out_trimmed: Seq,
}

/// What the writer tells everybody else.
pub(super) struct Shared {
    pub counters: Mutex<Counters>,
    pub inn: Mutex<Ring>,
    pub log: Mutex<Ring>,
    pub out: Mutex<OutRings>,
    pub in_tail: watch::Sender<Seq>,
    pub log_tail: watch::Sender<Seq>,
    pub out_tail: watch::Sender<Seq>,
    /// Acknowledgements ride along with the next transaction: losing one costs a redelivery, which a claim makes harmless.
    pub acks: Mutex<Vec<Seq>>,
    /// Why the writer can no longer be trusted, once it cannot.
    pub fatal: watch::Sender<Option<String>>,
    /// The writer has ended, for that reason or in order.
    pub closed: watch::Sender<bool>,
    /// Transactions that were committed.
    #[cfg(test)]
    pub commits: std::sync::atomic::AtomicUsize,
}

impl Shared {
    pub(super) fn new(counters: Counters) -> Shared {
        Shared {
            counters: Mutex::new(counters),
            inn: Mutex::new(ring(counters.in_last)),
            log: Mutex::new(ring(counters.log_last)),
            out: Mutex::new(OutRings { opened_at: counters.out_last, rings: HashMap::new() }),
            in_tail: watch::Sender::new(counters.in_last),
            log_tail: watch::Sender::new(counters.log_last),
            out_tail: watch::Sender::new(counters.out_last),
            acks: Mutex::new(Vec::new()),
            fatal: watch::Sender::new(None),
            closed: watch::Sender::new(false),
            #[cfg(test)]
            commits: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    /// Shows readers what just became durable.
    pub(super) fn publish(&self, counters: Counters, fresh: Fresh) {
        let (grew_in, grew_log, grew_out) = (!fresh.inn.is_empty(), !fresh.log.is_empty(), !fresh.out.is_empty());
        *lock(&self.counters) = counters;
        update(&self.inn, fresh.inn, fresh.in_trimmed);
        update(&self.log, fresh.log, fresh.log_trimmed);
        if grew_out || fresh.out_trimmed > 0 {
            let mut out = lock(&self.out);
            fresh.out.into_iter().for_each(|r| out.push(r));
            out.trim(fresh.out_trimmed);
        }
        for (grew, tail, last) in [
            (grew_out, &self.out_tail, counters.out_last),
            (grew_log, &self.log_tail, counters.log_last),
            (grew_in, &self.in_tail, counters.in_last),
        ] {
            if grew {
                tail.send_replace(last);
            }
        }
    }
}

fn update(ring: &Mutex<Ring>, fresh: Vec<Stored>, trimmed: Seq) {
    if !fresh.is_empty() || trimmed > 0 {
        let mut ring = lock(ring);
        fresh.into_iter().for_each(|r| ring.push(r));
        ring.trim(trimmed);
    }
}
