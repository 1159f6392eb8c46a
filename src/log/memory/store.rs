//! What the log in memory holds, and what each write does to it. No chance decides here, except through `forget`.

use super::Parts;
use crate::log::{
    Claim, Commit, FrameWrite, InRecord, Ingested, KeyId, LogError, OutRecord, Seq, Stored, in_full, in_limit,
    stored_at,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use switchboard_envelope::{BlobRef, Timestamp};

/// What a record of IN costs beside its data, as in the embedded log.
const IN_OVERHEAD: usize = 128;

/// A write, kept whole so that it can land later.
pub(super) enum Write {
    Ingest(InRecord),
    Commit(Seq, FrameWrite),
    Complete(Seq, Vec<OutRecord>),
    Claim { key: String, nonce: String },
    PutBlob { scope: String, blob: BlobRef, bytes: Bytes },
    DeleteBlob { scope: String, blob: BlobRef },
    PutKey(KeyId, [u8; 32]),
    DeleteKey(KeyId),
    PutCursor(String, String),
    DeleteCursor(String),
    PutSnapshot(Seq, Bytes),
    DropSnapshots(Seq),
    TrimIn(Seq),
    TrimLog(Seq),
    TrimOut(Timestamp),
}

impl Write {
    pub(super) fn only_removes(&self) -> bool {
        use Write::{DeleteBlob, DeleteCursor, DeleteKey, DropSnapshots, TrimIn, TrimLog, TrimOut};
        matches!(self, DeleteBlob { .. } | DeleteKey(_) | DeleteCursor(_) | DropSnapshots(_))
            || matches!(self, TrimIn(_) | TrimLog(_) | TrimOut(_))
    }
}

pub(super) enum Answer {
    Ingested(Ingested),
    Committed(Commit),
    Claimed(Claim),
    Key([u8; 32]),
    Done,
}

/// Each kind of write has one kind of answer; what cannot come is answered as if nobody knew.
impl Answer {
    pub(super) fn ingested(self) -> Ingested {
        if let Answer::Ingested(ingested) = self { ingested } else { Ingested::Duplicate }
    }

    pub(super) fn committed(self) -> Commit {
        if let Answer::Committed(commit) = self { commit } else { Commit::Unknown("no answer".into()) }
    }

    pub(super) fn claimed(self) -> Claim {
        if let Answer::Claimed(claim) = self { claim } else { Claim::Taken }
    }

    pub(super) fn key(self) -> [u8; 32] {
        if let Answer::Key(key) = self { key } else { [0; 32] }
    }
}

#[derive(Clone)]
pub(super) struct Sent {
    pub record: Stored,
    claim_key: String,
}

#[derive(Clone)]
pub(super) struct Store {
    pub now: Timestamp,
    pub in_max_bytes: u64,
    pub in_last: Seq,
    in_at: Timestamp,
    pub in_bytes: u64,
    pub inn: BTreeMap<Seq, Stored>,
    /// What was trimmed, where somebody wants to compare with it.
    pub trimmed: Option<BTreeMap<Seq, Stored>>,
    pub trimmed_log: Option<BTreeMap<Seq, Stored>>,
    ids: BTreeMap<String, Seq>,
    ids_of: BTreeMap<Seq, String>,
    pub log_last: Seq,
    pub log: BTreeMap<Seq, Stored>,
    pub out_last: Seq,
    pub out: BTreeMap<Seq, Sent>,
    pub acked: BTreeSet<Seq>,
    attempts: BTreeMap<String, Seq>,
    /// By their keys, as a broker keeps them beside OUT.
    claims: BTreeMap<String, String>,
    pub keys: BTreeMap<KeyId, [u8; 32]>,
    pub blobs: BTreeMap<(String, BlobRef), Bytes>,
    pub cursors: BTreeMap<String, String>,
    pub snapshots: BTreeMap<Seq, Bytes>,
}

impl Store {
    pub(super) fn new(in_max_bytes: u64) -> Store {
        Store {
            now: Timestamp(0),
            in_max_bytes,
            in_last: 0,
            in_at: Timestamp(0),
            in_bytes: 0,
            inn: BTreeMap::new(),
            trimmed: None,
            trimmed_log: None,
            ids: BTreeMap::new(),
            ids_of: BTreeMap::new(),
            log_last: 0,
            log: BTreeMap::new(),
            out_last: 0,
            out: BTreeMap::new(),
            acked: BTreeSet::new(),
            attempts: BTreeMap::new(),
            claims: BTreeMap::new(),
            keys: BTreeMap::new(),
            blobs: BTreeMap::new(),
            cursors: BTreeMap::new(),
            snapshots: BTreeMap::new(),
        }
    }

    pub(super) fn after(records: &BTreeMap<Seq, Stored>, after: Seq, max: usize) -> Vec<Stored> {
        let Some(first) = after.checked_add(1) else { return Vec::new() };
        records.range(first..).take(max).map(|(_, record)| record.clone()).collect()
    }

    /// Does it. `forget` says whether a known id goes unrecognised.
    pub(super) fn apply(&mut self, write: Write, forget: impl FnOnce() -> bool) -> Result<Answer, LogError> {
        match write {
            Write::Ingest(record) => return self.ingest(record, forget).map(Answer::Ingested),
            Write::Commit(expected, frame) => {
                let sends = frame.sends.len();
                return Ok(Answer::Committed(self.commit(expected, frame, sends)));
            }
            Write::Complete(first, sends) => self.complete(first, sends),
            Write::Claim { key, nonce } => return Ok(Answer::Claimed(self.claim(&key, nonce))),
            Write::PutKey(id, key) => return Ok(Answer::Key(*self.keys.entry(id).or_insert(key))),
            Write::PutBlob { scope, blob, bytes } => drop(self.blobs.insert((scope, blob), bytes)),
            Write::DeleteBlob { scope, blob } => drop(self.blobs.remove(&(scope, blob))),
            Write::DeleteKey(id) => drop(self.keys.remove(&id)),
            Write::PutCursor(name, value) => drop(self.cursors.insert(name, value)),
            Write::DeleteCursor(name) => drop(self.cursors.remove(&name)),
            Write::PutSnapshot(at, bytes) => self.put_snapshot(at, bytes),
            Write::DropSnapshots(after) => self.snapshots.retain(|at, _| *at <= after),
            Write::TrimIn(up_to) => self.trim_in(up_to),
            Write::TrimLog(up_to) => self.trim_log(up_to),
            Write::TrimOut(before) => self.trim_out(before),
        }
        Ok(Answer::Done)
    }

    fn ingest(&mut self, record: InRecord, forget: impl FnOnce() -> bool) -> Result<Ingested, LogError> {
        if self.ids.contains_key(&record.id) && !forget() {
            return Ok(Ingested::Duplicate);
        }
        let bytes = self.in_bytes + (record.data.len() + IN_OVERHEAD) as u64;
        if bytes > in_limit(record.class, self.in_max_bytes) {
            return Err(in_full(self.in_bytes, self.in_max_bytes));
        }
        let (seq, at) = (self.in_last + 1, stored_at(self.in_at, self.now));
        (self.in_last, self.in_at, self.in_bytes) = (seq, at, bytes);
        self.inn.insert(seq, Stored { seq, at, channel: record.channel, data: record.data });
        self.ids.insert(record.id.clone(), seq);
        self.ids_of.insert(seq, record.id);
        Ok(Ingested::Stored(seq))
    }

    /// Appends a frame with the first few of its sends; the rest follows when it is repeated or completed.
    pub(super) fn commit(&mut self, expected: Seq, frame: FrameWrite, sends: usize) -> Commit {
        if self.log.get(&(expected + 1)).is_some_and(|there| there.data == frame.bytes) {
            self.complete(frame.out_first, frame.sends);
            return Commit::Conflict;
        }
        let other_key = |(id, key): &(KeyId, [u8; 32])| self.keys.get(id).is_some_and(|in_force| in_force != key);
        let off = !frame.sends.is_empty() && frame.out_first != self.out_last + 1;
        if expected != self.log_last || off || frame.keys.iter().any(other_key) {
            return Commit::Conflict;
        }
        let (seq, at) = (expected + 1, self.now);
        self.log_last = seq;
        self.log.insert(seq, Stored { seq, at, channel: String::new(), data: frame.bytes });
        self.keys.extend(frame.keys);
        frame.sends.into_iter().take(sends).for_each(|send| self.send(send));
        Commit::Done(seq)
    }

    /// Puts into OUT those of a durable frame's sends that it does not have.
    fn complete(&mut self, first: Seq, sends: Vec<OutRecord>) {
        let Some(landed) = (self.out_last + 1).checked_sub(first) else { return };
        let landed = usize::try_from(landed).unwrap_or(usize::MAX);
        sends.into_iter().skip(landed).for_each(|send| self.send(send));
    }

    fn send(&mut self, send: OutRecord) {
        self.out_last += 1;
        let seq = self.out_last;
        if !send.claim_key.is_empty() {
            // The first record of an attempt keeps its claim, however often the attempt is released.
            self.attempts.entry(send.claim_key.clone()).or_insert(seq);
        }
        let record = Stored { seq, at: self.now, channel: send.channel, data: send.data };
        self.out.insert(seq, Sent { record, claim_key: send.claim_key });
    }

    fn claim(&mut self, key: &str, nonce: String) -> Claim {
        if !self.attempts.contains_key(key) && !self.claims.contains_key(key) {
            return Claim::Taken;
        }
        let holder = self.claims.entry(key.to_owned()).or_insert_with(|| nonce.clone());
        if *holder == nonce { Claim::Ours } else { Claim::Taken }
    }

    pub(super) fn holder(&self, key: &str) -> Option<&String> {
        self.claims.get(key)
    }

    /// The claims that a copy does not have.
    pub(super) fn claims_beyond(&self, copy: &Store) -> BTreeSet<String> {
        self.claims.keys().filter(|key| !copy.claims.contains_key(*key)).cloned().collect()
    }

    /// Puts back what a copy held. Keys and blobs stay: what is lost with them is another matter.
    pub(super) fn restore(&mut self, copy: &Store, parts: Parts) {
        let copy = copy.clone();
        if parts.inn {
            (self.in_last, self.in_at, self.in_bytes) = (copy.in_last, copy.in_at, copy.in_bytes);
            (self.inn, self.ids, self.ids_of) = (copy.inn, copy.ids, copy.ids_of);
            self.trimmed = copy.trimmed;
        }
        if parts.log {
            (self.log_last, self.log, self.trimmed_log) = (copy.log_last, copy.log, copy.trimmed_log);
        }
        if parts.out {
            (self.out_last, self.out, self.acked, self.attempts) = (copy.out_last, copy.out, copy.acked, copy.attempts);
        }
        if parts.beside {
            (self.claims, self.cursors, self.snapshots) = (copy.claims, copy.cursors, copy.snapshots);
            (self.keys, self.blobs) = (copy.keys, copy.blobs);
        }
    }

    fn put_snapshot(&mut self, at: Seq, bytes: Bytes) {
        self.snapshots.insert(at, bytes);
        let other = self.snapshots.keys().rev().find(|seq| **seq != at).copied();
        self.snapshots.retain(|seq, _| *seq == at || Some(*seq) == other);
    }

    fn trim_log(&mut self, up_to: Seq) {
        let kept = self.log.split_off(&up_to.saturating_add(1));
        let gone = std::mem::replace(&mut self.log, kept);
        self.trimmed_log.iter_mut().for_each(|trimmed| trimmed.extend(gone.clone()));
    }

    fn trim_in(&mut self, up_to: Seq) {
        while let Some((seq, record)) = self.inn.first_key_value().filter(|(seq, _)| **seq <= up_to) {
            let (seq, bytes) = (*seq, (record.data.len() + IN_OVERHEAD) as u64);
            self.in_bytes = self.in_bytes.saturating_sub(bytes);
            let gone = self.inn.remove(&seq);
            if let (Some(trimmed), Some(gone)) = (&mut self.trimmed, gone) {
                trimmed.insert(seq, gone);
            }
            // A forgotten duplicate's id belongs to the later record.
            if let Some(id) = self.ids_of.remove(&seq).filter(|id| self.ids.get(id) == Some(&seq)) {
                self.ids.remove(&id);
            }
        }
    }

    pub(super) fn drop_out(&mut self, up_to: Seq) -> usize {
        let before = self.out.len();
        self.out.retain(|seq, _| *seq > up_to);
        self.acked.retain(|seq| *seq > up_to);
        before - self.out.len()
    }

    fn trim_out(&mut self, before: Timestamp) {
        while let Some((seq, sent)) = self.out.first_key_value().filter(|(_, sent)| sent.record.at < before) {
            let (seq, key) = (*seq, sent.claim_key.clone());
            self.out.remove(&seq);
            self.acked.remove(&seq);
            if self.attempts.get(&key) == Some(&seq) {
                self.attempts.remove(&key);
                self.claims.remove(&key);
            }
        }
    }
}
