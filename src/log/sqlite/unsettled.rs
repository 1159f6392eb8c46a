//! Which OUT records still need delivery: those that nobody claimed or acknowledged.
//!
//! Kept in memory, with a floor in the counters: a row for each record, written with its frame and deleted with its claim,
//! would cost more than both. After a crash an acknowledged but unclaimed record above the floor is delivered again.

use super::schema::{sql, unsql};
use crate::log::Seq;
use rusqlite::Connection;
use std::collections::BTreeSet;

#[derive(Default)]
pub(super) struct Unsettled {
    seqs: BTreeSet<Seq>,
    /// What the running transaction did, newest last.
    undo: Vec<Change>,
}

enum Change {
    Inserted(Seq),
    Removed(Seq),
}

impl Unsettled {
    pub(super) fn load(conn: &Connection, floor: Seq) -> rusqlite::Result<Unsettled> {
        let mut query = conn.prepare(
            "SELECT r.seq FROM out_records r LEFT JOIN out_claims c ON c.seq = r.seq WHERE r.seq > ?1 AND c.seq IS NULL",
        )?;
        let seqs: rusqlite::Result<_> = query.query_map([sql(floor)], |r| r.get(0).map(unsql))?.collect();
        Ok(Unsettled { seqs: seqs?, undo: Vec::new() })
    }

    pub(super) fn insert(&mut self, seq: Seq) {
        if self.seqs.insert(seq) {
            self.undo.push(Change::Inserted(seq));
        }
    }

    pub(super) fn remove(&mut self, seq: Seq) {
        if self.seqs.remove(&seq) {
            self.undo.push(Change::Removed(seq));
        }
    }

    /// The sequence up to which nothing needs delivery.
    pub(super) fn floor(&self, out_last: Seq) -> Seq {
        self.seqs.first().map_or(out_last, |first| first.saturating_sub(1))
    }

    pub(super) fn committed(&mut self) {
        self.undo.clear();
    }

    pub(super) fn rolled_back(&mut self) {
        while let Some(change) = self.undo.pop() {
            match change {
                Change::Inserted(seq) => self.seqs.remove(&seq),
                Change::Removed(seq) => self.seqs.insert(seq),
            };
        }
    }
}
