//! An index by hash that is written late and in order.
//!
//! Hashes are random: written at once, each would dirty a page of its own, and the write-ahead log would take four
//! kilobytes for sixteen bytes. So new hashes stay in memory, and are merged into their table in the order of the table, a
//! few with each transaction. The records hold the hashes too: after a crash those that were not merged are read from there.

use super::schema::{sql, unsql};
use crate::log::Seq;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::HashMap;

/// New hashes before a merge begins.
const MERGE_AT: usize = 32 * 1024;

/// A keyed 128-bit hash: exact enough that equal means the same, since nobody can aim at a key that he does not know.
pub(super) type Hash = u128;

/// The statements of one index.
pub(super) struct Statements {
    pub lookup: &'static str,
    pub insert: &'static str,
    pub delete: &'static str,
    /// Sequences and hashes of the records after a sequence.
    pub unmerged: &'static str,
}

pub(super) const IN_IDS: Statements = Statements {
    lookup: "SELECT seq FROM in_ids WHERE hash = ?1",
    insert: "INSERT OR REPLACE INTO in_ids VALUES (?1, ?2)",
    delete: "DELETE FROM in_ids WHERE hash = ?1 AND seq = ?2",
    unmerged: "SELECT seq, hash FROM in_records WHERE seq > ?1 ORDER BY seq",
};

pub(super) const OUT_KEYS: Statements = Statements {
    lookup: "SELECT seq FROM out_keys WHERE hash = ?1",
    insert: "INSERT OR REPLACE INTO out_keys VALUES (?1, ?2)",
    delete: "DELETE FROM out_keys WHERE hash = ?1 AND seq = ?2",
    unmerged: "SELECT seq, hash FROM out_records WHERE seq > ?1 AND hash IS NOT NULL ORDER BY seq",
};

pub(super) struct LateIndex {
    statements: Statements,
    fresh: HashMap<Hash, Seq>,
    /// Sorted by hash, kept whole until the last of them is in the table.
    merging: Vec<(Hash, Seq)>,
    /// How many of `merging` are durably in the table, and how many with the transaction that runs.
    merged: usize,
    merged_staged: usize,
    /// What the running transaction replaced in `fresh`.
    undo: Vec<(Hash, Option<Seq>)>,
}

impl LateIndex {
    /// Reads what was not merged when the log was last closed.
    pub(super) fn load(conn: &Connection, statements: Statements, indexed: Seq) -> rusqlite::Result<LateIndex> {
        let mut fresh = HashMap::new();
        let mut rows = conn.prepare(statements.unmerged)?;
        let mut rows = rows.query([sql(indexed)])?;
        while let Some(row) = rows.next()? {
            fresh.insert(Hash::from_be_bytes(row.get(1)?), unsql(row.get(0)?));
        }
        Ok(LateIndex { statements, fresh, merging: Vec::new(), merged: 0, merged_staged: 0, undo: Vec::new() })
    }

    /// The record with this hash. Those before `first` were trimmed and do not count.
    pub(super) fn get(&self, conn: &Connection, hash: Hash, first: Seq) -> rusqlite::Result<Option<Seq>> {
        let merging = || {
            let at = self.merging.binary_search_by_key(&hash, |entry| entry.0).ok()?;
            self.merging.get(at).map(|entry| entry.1)
        };
        let kept = |seq: &Seq| *seq >= first;
        if let Some(seq) = self.fresh.get(&hash).copied().filter(kept).or_else(|| merging().filter(kept)) {
            return Ok(Some(seq));
        }
        let found = conn
            .prepare_cached(self.statements.lookup)?
            .query_row([hash.to_be_bytes()], |r| r.get(0).map(unsql))
            .optional()?;
        Ok(found.filter(kept))
    }

    /// Remembers the hash of a new record, whose row must hold it. The hash must not be known: of two records with one key
    /// only the first has it.
    pub(super) fn insert(&mut self, hash: Hash, seq: Seq) {
        let replaced = self.fresh.insert(hash, seq);
        self.undo.push((hash, replaced));
    }

    /// Forgets a trimmed record's hash. What is still in memory needs nothing: it is before the first kept record.
    pub(super) fn delete(&self, conn: &Connection, hash: Hash, seq: Seq) -> rusqlite::Result<()> {
        conn.prepare_cached(self.statements.delete)?.execute(params![hash.to_be_bytes(), sql(seq)]).map(drop)
    }

    /// Moves some hashes into the table: two for each that came with this transaction, so that a merge always ends before
    /// the next one must begin. Answers the sequence up to which everything is merged, when that changes.
    pub(super) fn merge(&mut self, conn: &Connection, first: Seq) -> rusqlite::Result<Option<Seq>> {
        let until = self.merging.len().min(self.merged_staged + 2 * self.undo.len());
        self.merge_until(conn, until, first)
    }

    fn merge_until(&mut self, conn: &Connection, until: usize, first: Seq) -> rusqlite::Result<Option<Seq>> {
        if self.merged_staged >= until {
            return Ok(None);
        }
        let mut insert = conn.prepare_cached(self.statements.insert)?;
        for (hash, seq) in self.merging.get(self.merged_staged..until).unwrap_or_default() {
            if *seq >= first {
                insert.execute(params![hash.to_be_bytes(), sql(*seq)])?;
            }
        }
        self.merged_staged = until;
        let done = until == self.merging.len();
        Ok(if done { self.merging.iter().map(|entry| entry.1).max() } else { None })
    }

    /// The transaction is durable.
    pub(super) fn committed(&mut self) {
        self.undo.clear();
        self.merged = self.merged_staged;
        if self.merged == self.merging.len() {
            self.merging = Vec::new();
            (self.merged, self.merged_staged) = (0, 0);
            if self.fresh.len() >= MERGE_AT {
                self.merging = self.fresh.drain().collect();
                self.merging.sort_unstable();
            }
        }
    }

    /// The transaction never happened.
    pub(super) fn rolled_back(&mut self) {
        while let Some((hash, replaced)) = self.undo.pop() {
            match replaced {
                Some(seq) => self.fresh.insert(hash, seq),
                None => self.fresh.remove(&hash),
            };
        }
        self.merged_staged = self.merged;
    }
}
