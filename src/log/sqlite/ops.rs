//! What the writer can be asked to do, and how each thing is done inside its transaction.

use super::{
    late::{Hash, LateIndex},
    schema::{Counters, sql},
    tail::Fresh,
    trim,
    unsettled::Unsettled,
};
use crate::log::{
    Claim, Commit, FrameWrite, InRecord, Ingested, LogError, OutRecord, Seq, Stored, in_full, in_limit, stored_at,
};
use rusqlite::{Connection, OptionalExtension, params};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;
use switchboard_envelope::Timestamp;
use tokio::sync::oneshot;

/// What a record of IN costs beside its data, roughly.
const IN_OVERHEAD: usize = 128;

/// An answer, held back until the transaction is durable.
pub(super) struct Reply<T> {
    to: oneshot::Sender<Result<T, LogError>>,
    answer: Option<Result<T, LogError>>,
}

impl<T> Reply<T> {
    pub(super) fn new() -> (Reply<T>, oneshot::Receiver<Result<T, LogError>>) {
        let (to, from) = oneshot::channel();
        (Reply { to, answer: None }, from)
    }

    fn send(self) {
        if let Some(answer) = self.answer {
            // The caller may have gone; the record stands all the same.
            let _ = self.to.send(answer);
        }
    }

    fn fail(self, error: LogError) {
        let _ = self.to.send(Err(error));
    }
}

pub(super) enum Op {
    Ingest(InRecord, Reply<Ingested>),
    Commit(Seq, FrameWrite, Reply<Commit>),
    Claim {
        key: String,
        nonce: String,
        reply: Reply<Claim>,
    },
    Claimed(String, Reply<Option<String>>),
    PutKey(String, [u8; 32], Reply<[u8; 32]>),
    DeleteKey(String, Reply<()>),
    PutCursor(String, String, Reply<()>),
    DeleteCursor(String, Reply<()>),
    /// Trims answer whether there is more to do.
    TrimIn(Seq, Reply<bool>),
    TrimLog(Seq, Reply<bool>),
    TrimOut(Timestamp, Reply<bool>),
}

impl Op {
    /// Roughly, what this adds to a transaction.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Op::Ingest(record, _) => record.data.len() + IN_OVERHEAD,
            Op::Commit(_, frame, _) => {
                frame.bytes.len() + frame.sends.iter().map(|s| s.data.len() + 256).sum::<usize>()
            }
            Op::TrimIn(..) | Op::TrimLog(..) | Op::TrimOut(..) => trim::CHUNK_BYTES,
            _ => 256,
        }
    }

    pub(super) fn send(self) {
        match self {
            Op::Ingest(_, reply) => reply.send(),
            Op::Commit(_, _, reply) => reply.send(),
            Op::Claim { reply, .. } => reply.send(),
            Op::Claimed(_, reply) => reply.send(),
            Op::PutKey(_, _, reply) => reply.send(),
            Op::DeleteKey(_, reply) | Op::PutCursor(_, _, reply) | Op::DeleteCursor(_, reply) => reply.send(),
            Op::TrimIn(_, reply) | Op::TrimLog(_, reply) | Op::TrimOut(_, reply) => reply.send(),
        }
    }

    pub(super) fn fail(self, error: LogError) {
        match self {
            Op::Ingest(_, reply) => reply.fail(error),
            Op::Commit(_, _, reply) => reply.fail(error),
            Op::Claim { reply, .. } => reply.fail(error),
            Op::Claimed(_, reply) => reply.fail(error),
            Op::PutKey(_, _, reply) => reply.fail(error),
            Op::DeleteKey(_, reply) | Op::PutCursor(_, _, reply) | Op::DeleteCursor(_, reply) => reply.fail(error),
            Op::TrimIn(_, reply) | Op::TrimLog(_, reply) | Op::TrimOut(_, reply) => reply.fail(error),
        }
    }
}

/// What the writer keeps between transactions.
pub(super) struct Indexes {
    pub hash_key: [u8; 16],
    pub in_ids: LateIndex,
    pub out_keys: LateIndex,
    pub unsettled: Unsettled,
    pub in_max_bytes: u64,
}

impl Indexes {
    pub(super) fn committed(&mut self) {
        self.in_ids.committed();
        self.out_keys.committed();
        self.unsettled.committed();
    }

    pub(super) fn rolled_back(&mut self) {
        self.in_ids.rolled_back();
        self.out_keys.rolled_back();
        self.unsettled.rolled_back();
    }

    fn hash(&self, text: &str) -> Hash {
        let mut hasher = SipHasher24::new_with_key(&self.hash_key);
        hasher.write(text.as_bytes());
        hasher.finish128().into()
    }
}

/// One transaction: counters and fresh records are staged here, and dropped with it when it fails.
pub(super) struct Turn<'a> {
    pub conn: &'a Connection,
    pub indexes: &'a mut Indexes,
    pub counters: Counters,
    pub fresh: Fresh,
    pub now: Timestamp,
}

impl Turn<'_> {
    pub(super) fn apply(&mut self, op: &mut Op) -> rusqlite::Result<()> {
        match op {
            Op::Ingest(record, reply) => reply.answer = Some(self.ingest(record)?),
            Op::Commit(expected, frame, reply) => reply.answer = Some(Ok(self.commit(*expected, frame)?)),
            Op::Claim { key, nonce, reply } => reply.answer = Some(Ok(self.claim(key, nonce)?)),
            Op::Claimed(key, reply) => reply.answer = Some(Ok(self.claimed(key)?)),
            Op::PutKey(id, key, reply) => reply.answer = Some(Ok(self.put_key(id, *key)?)),
            Op::DeleteKey(id, reply) => {
                self.conn.prepare_cached("DELETE FROM keys WHERE id = ?1")?.execute([&*id])?;
                reply.answer = Some(Ok(()));
            }
            Op::PutCursor(name, value, reply) => {
                self.conn
                    .prepare_cached("INSERT OR REPLACE INTO edge_cursors VALUES (?1, ?2)")?
                    .execute([&*name, &*value])?;
                reply.answer = Some(Ok(()));
            }
            Op::DeleteCursor(name, reply) => {
                self.conn.prepare_cached("DELETE FROM edge_cursors WHERE name = ?1")?.execute([&*name])?;
                reply.answer = Some(Ok(()));
            }
            Op::TrimIn(up_to, reply) => reply.answer = Some(Ok(trim::trim_in(self, *up_to)?)),
            Op::TrimLog(up_to, reply) => reply.answer = Some(Ok(trim::trim_log(self, *up_to)?)),
            Op::TrimOut(before, reply) => reply.answer = Some(Ok(trim::trim_out(self, *before)?)),
        }
        Ok(())
    }

    /// Brings the indexes and the counters up to date.
    pub(super) fn finish(&mut self, acks: &[Seq], before: Counters) -> rusqlite::Result<()> {
        acks.iter().for_each(|seq| self.indexes.unsettled.remove(*seq));
        self.counters.out_settled = self.indexes.unsettled.floor(self.counters.out_last);
        if let Some(indexed) = self.indexes.in_ids.merge(self.conn, self.counters.in_first)? {
            self.counters.in_indexed = indexed;
        }
        if let Some(indexed) = self.indexes.out_keys.merge(self.conn, self.counters.out_first)? {
            self.counters.out_indexed = indexed;
        }
        if self.counters == before { Ok(()) } else { self.counters.save(self.conn) }
    }

    fn ingest(&mut self, record: &InRecord) -> rusqlite::Result<Result<Ingested, LogError>> {
        let hash = self.indexes.hash(&record.id);
        if self.indexes.in_ids.get(self.conn, hash, self.counters.in_first)?.is_some() {
            return Ok(Ok(Ingested::Duplicate));
        }
        let max = self.indexes.in_max_bytes;
        let bytes = self.counters.in_bytes.saturating_add(in_bytes(record.data.len()));
        if bytes > in_limit(record.class, max) {
            return Ok(Err(in_full(self.counters.in_bytes, max)));
        }
        let (seq, at) = (self.counters.in_last + 1, stored_at(self.counters.in_at, self.now));
        self.conn.prepare_cached("INSERT INTO in_records VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
            sql(seq),
            at.0,
            hash.to_be_bytes(),
            record.channel,
            &record.data[..]
        ])?;
        self.indexes.in_ids.insert(hash, seq);
        self.counters.in_last = seq;
        self.counters.in_at = at;
        self.counters.in_bytes = bytes;
        self.fresh.inn.push(Stored { seq, at, channel: record.channel.clone(), data: record.data.clone() });
        Ok(Ok(Ingested::Stored(seq)))
    }

    fn commit(&mut self, expected: Seq, frame: &FrameWrite) -> rusqlite::Result<Commit> {
        if self.counters.log_last != expected {
            return Ok(Commit::Conflict);
        }
        if !frame.sends.is_empty() && frame.out_first != self.counters.out_last + 1 {
            tracing::error!(
                out_first = frame.out_first,
                out_last = self.counters.out_last,
                "OUT does not end where the frame expects it: the frame is refused, and the router must rebase"
            );
            return Ok(Commit::Conflict);
        }
        // All are looked at before one is written: a refused frame leaves nothing.
        for (id, key) in &frame.keys {
            if self.key(id)?.is_some_and(|in_force| in_force != *key) {
                tracing::error!(key = id, "the frame is sealed with a key that is not the one in force: it is refused");
                return Ok(Commit::Conflict);
            }
        }
        for (id, key) in &frame.keys {
            self.put_key(id, *key)?;
        }
        let (seq, at) = (expected + 1, self.now);
        self.conn.prepare_cached("INSERT INTO log_frames VALUES (?1, ?2, ?3)")?.execute(params![
            sql(seq),
            at.0,
            &frame.bytes[..]
        ])?;
        self.counters.log_last = seq;
        for send in &frame.sends {
            self.send(send)?;
        }
        self.fresh.log.push(Stored { seq, at, channel: String::new(), data: frame.bytes.clone() });
        Ok(Commit::Done(seq))
    }

    fn send(&mut self, send: &OutRecord) -> rusqlite::Result<()> {
        let (seq, at) = (self.counters.out_last + 1, self.now);
        // A key that is already there keeps its first record: a rebase can release the same attempt again, and both
        // must meet the same claim.
        let mut hash = (!send.claim_key.is_empty()).then(|| self.indexes.hash(&send.claim_key));
        if let Some(known) = hash {
            if self.indexes.out_keys.get(self.conn, known, self.counters.out_first)?.is_some() {
                hash = None;
            } else {
                self.indexes.out_keys.insert(known, seq);
            }
        }
        self.conn.prepare_cached("INSERT INTO out_records VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
            sql(seq),
            at.0,
            hash.map(Hash::to_be_bytes),
            send.channel,
            &send.data[..]
        ])?;
        self.indexes.unsettled.insert(seq);
        self.counters.out_last = seq;
        self.fresh.out.push(Stored { seq, at, channel: send.channel.clone(), data: send.data.clone() });
        Ok(())
    }

    fn attempt(&self, key: &str) -> rusqlite::Result<Option<Seq>> {
        self.indexes.out_keys.get(self.conn, self.indexes.hash(key), self.counters.out_first)
    }

    fn holder(&self, seq: Seq) -> rusqlite::Result<Option<String>> {
        let mut query = self.conn.prepare_cached("SELECT nonce FROM out_claims WHERE seq = ?1")?;
        query.query_row([sql(seq)], |r| r.get(0)).optional()
    }

    /// An attempt that OUT does not hold was trimmed, or never released: nobody may send it any more.
    fn claim(&mut self, key: &str, nonce: &str) -> rusqlite::Result<Claim> {
        let Some(seq) = self.attempt(key)? else { return Ok(Claim::Taken) };
        let mut create = self.conn.prepare_cached("INSERT INTO out_claims VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
        let ours = create.execute(params![sql(seq), nonce])? == 1 || self.holder(seq)?.is_some_and(|h| h == nonce);
        self.indexes.unsettled.remove(seq);
        Ok(if ours { Claim::Ours } else { Claim::Taken })
    }

    fn claimed(&self, key: &str) -> rusqlite::Result<Option<String>> {
        self.attempt(key)?.map_or(Ok(None), |seq| self.holder(seq))
    }

    fn key(&self, id: &str) -> rusqlite::Result<Option<[u8; 32]>> {
        self.conn.prepare_cached("SELECT value FROM keys WHERE id = ?1")?.query_row([id], |r| r.get(0)).optional()
    }

    /// Writes the key if there is none, and answers the one in force.
    fn put_key(&self, id: &str, key: [u8; 32]) -> rusqlite::Result<[u8; 32]> {
        if let Some(in_force) = self.key(id)? {
            return Ok(in_force);
        }
        self.conn.prepare_cached("INSERT INTO keys VALUES (?1, ?2)")?.execute(params![id, key])?;
        Ok(key)
    }
}

/// How much a record counts against `in_max_bytes`.
pub(super) fn in_bytes(data: usize) -> u64 {
    (data + IN_OVERHEAD) as u64
}
