//! The newest records of a log in memory, in order: whoever lives at its end reads them without asking the log itself.

use super::{Seq, Stored};
use std::collections::VecDeque;

/// One read returns no more than this, and at least one record.
pub(super) const READ_BYTES: usize = 8 << 20;

/// The end of one log. Every record after its floor is here.
pub(super) struct Ring {
    records: VecDeque<Stored>,
    bytes: usize,
    floor: Seq,
    most_bytes: usize,
    most_records: usize,
}

/// What a record takes, roughly: its data, and what is around it.
fn weight(record: &Stored) -> usize {
    record.data.len() + size_of::<Stored>() + record.channel.len()
}

impl Ring {
    /// Nothing is in it; what comes after `floor` will be, up to these limits.
    pub fn new(floor: Seq, most_bytes: usize, most_records: usize) -> Ring {
        Ring { records: VecDeque::new(), bytes: 0, floor, most_bytes, most_records }
    }

    pub fn floor(&self) -> Seq {
        self.floor
    }

    pub fn push(&mut self, record: Stored) {
        self.bytes += weight(&record);
        self.records.push_back(record);
        while self.bytes > self.most_bytes || self.records.len() > self.most_records {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(old) = self.records.pop_front() {
            self.bytes = self.bytes.saturating_sub(weight(&old));
            self.floor = self.floor.max(old.seq);
        }
    }

    /// Records after `after`, or `None` when that is further back than this ring reaches.
    pub fn after(&self, after: Seq, max: usize) -> Option<Vec<Stored>> {
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

    pub fn get(&self, seq: Seq) -> Option<Stored> {
        let at = self.records.partition_point(|r| r.seq < seq);
        self.records.get(at).filter(|r| r.seq == seq).cloned()
    }

    /// The newest record, if it is still here.
    pub fn last(&self) -> Option<Seq> {
        self.records.back().map(|r| r.seq)
    }

    /// Forgets records up to and with `up_to`, which the log no longer has.
    pub fn trim(&mut self, up_to: Seq) {
        while self.records.front().is_some_and(|r| r.seq <= up_to) {
            self.pop();
        }
    }

    /// Begins again after `floor`, as in another life of the log.
    pub fn restart(&mut self, floor: Seq) {
        self.records.clear();
        (self.bytes, self.floor) = (0, floor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_envelope::Timestamp;

    fn record(seq: Seq, bytes: usize) -> Stored {
        Stored { seq, at: Timestamp(1), channel: "sms".into(), data: vec![0; bytes].into() }
    }

    fn seqs(ring: &Ring, after: Seq, max: usize) -> Option<Vec<Seq>> {
        ring.after(after, max).map(|all| all.iter().map(|r| r.seq).collect())
    }

    #[test]
    fn it_holds_the_newest_within_its_limits_and_says_how_far_back() {
        let mut ring = Ring::new(10, 1 << 20, 3);
        assert_eq!((seqs(&ring, 10, 9), seqs(&ring, 9, 9), ring.last()), (Some(vec![]), None, None));
        // Numbers may be missing: what was removed at the log is not here either.
        for seq in [11, 13, 14, 15] {
            ring.push(record(seq, 10));
        }
        assert_eq!((ring.floor(), ring.last()), (11, Some(15)));
        assert_eq!(seqs(&ring, 11, 9), Some(vec![13, 14, 15]));
        assert_eq!(seqs(&ring, 13, 1), Some(vec![14]));
        assert_eq!(seqs(&ring, 10, 9), None);
        assert_eq!((ring.get(14).map(|r| r.seq), ring.get(12).map(|r| r.seq)), (Some(14), None));
        ring.trim(14);
        assert_eq!((ring.floor(), seqs(&ring, 14, 9)), (14, Some(vec![15])));
        ring.restart(3);
        assert_eq!((ring.floor(), ring.last(), seqs(&ring, 3, 9)), (3, None, Some(vec![])));
    }

    #[test]
    fn bytes_bound_it_and_each_read_of_it() {
        let mut ring = Ring::new(0, 1000, 100);
        (1..=20).for_each(|seq| ring.push(record(seq, 200)));
        assert!(ring.last() == Some(20) && ring.floor() >= 16, "{}", ring.floor());
        // What was counted is given back, so that it is as roomy at the end as at the beginning.
        ring.trim(20);
        ring.push(record(21, 600));
        assert_eq!(seqs(&ring, 20, 9), Some(vec![21]));
        let mut large = Ring::new(0, 100 << 20, 100);
        (1..=4).for_each(|seq| large.push(record(seq, READ_BYTES / 2)));
        assert_eq!(seqs(&large, 0, 9), Some(vec![1, 2]));
        large.push(record(5, READ_BYTES + 1));
        assert_eq!(seqs(&large, 4, 9), Some(vec![5]), "one is always given");
    }
}
