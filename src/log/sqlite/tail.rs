//! The newest records in memory: the router and the outboxes live at the end of the logs, and read them without SQL.

use super::schema::Counters;
use crate::log::{Seq, Stored};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Bytes of IN, of LOG, and of each channel of OUT that are kept.
const RING_BYTES: usize = 2 << 20;
const RING_RECORDS: usize = 8192;
/// One read returns no more than this, and at least one record.
pub(super) const READ_BYTES: usize = 8 << 20;
/// What a record costs beside its data, roughly.
const RECORD_OVERHEAD: usize = 96;

/// A panic elsewhere never leaves these structures half changed, so a poisoned lock is used on.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of one log, in order.
pub(super) struct Ring {
    records: VecDeque<Stored>,
    bytes: usize,
    /// Every record after this one is here.
    floor: Seq,
}

impl Ring {
    pub(super) fn new(floor: Seq) -> Ring {
        Ring { records: VecDeque::new(), bytes: 0, floor }
    }

    pub(super) fn floor(&self) -> Seq {
        self.floor
    }

    pub(super) fn push(&mut self, record: Stored) {
        self.bytes += record.data.len() + RECORD_OVERHEAD;
        self.records.push_back(record);
        while self.bytes > RING_BYTES || self.records.len() > RING_RECORDS {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(old) = self.records.pop_front() {
            self.bytes = self.bytes.saturating_sub(old.data.len() + RECORD_OVERHEAD);
            self.floor = self.floor.max(old.seq);
        }
    }

    /// Records after `after`, or `None` when that is further back than this ring reaches.
    pub(super) fn after(&self, after: Seq, max: usize) -> Option<Vec<Stored>> {
        if after < self.floor {
            return None;
        }
        let start = self.records.partition_point(|r| r.seq <= after);
        let mut left = READ_BYTES;
        let fits = |r: &&Stored| {
            let fits = left == READ_BYTES || r.data.len() <= left;
            left = left.saturating_sub(r.data.len().max(1));
            fits
        };
        Some(self.records.range(start..).take(max).take_while(fits).cloned().collect())
    }

    pub(super) fn get(&self, seq: Seq) -> Option<Stored> {
        let at = self.records.partition_point(|r| r.seq < seq);
        self.records.get(at).filter(|r| r.seq == seq).cloned()
    }

    pub(super) fn trim(&mut self, up_to: Seq) {
        while self.records.front().is_some_and(|r| r.seq <= up_to) {
            self.pop();
        }
    }
}

/// OUT by channel. A channel that is not here had no record since the log was opened.
pub(super) struct OutRings {
    opened_at: Seq,
    rings: HashMap<String, Ring>,
}

impl OutRings {
    pub(super) fn push(&mut self, record: Stored) {
        let opened_at = self.opened_at;
        self.rings.entry(record.channel.clone()).or_insert_with(|| Ring::new(opened_at)).push(record);
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
}

impl Shared {
    pub(super) fn new(counters: Counters) -> Shared {
        Shared {
            counters: Mutex::new(counters),
            inn: Mutex::new(Ring::new(counters.in_last)),
            log: Mutex::new(Ring::new(counters.log_last)),
            out: Mutex::new(OutRings { opened_at: counters.out_last, rings: HashMap::new() }),
            in_tail: watch::Sender::new(counters.in_last),
            log_tail: watch::Sender::new(counters.log_last),
            out_tail: watch::Sender::new(counters.out_last),
            acks: Mutex::new(Vec::new()),
            fatal: watch::Sender::new(None),
            closed: watch::Sender::new(false),
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
