//! The only truth: three logs behind one narrow trait, which promises only what the weakest backend holds.
//!
//! IN holds what came from outside, LOG the router's frames, OUT the attempts to send. Answers can be lost: a caller that
//! gets [`LogError::Unavailable`] or [`Commit::Unknown`] does not know whether the record landed, and must repeat the same
//! bytes until it knows.

#[cfg(test)]
pub(crate) mod conformance;
mod doubt;
pub mod frame;
pub mod memory;
pub mod moving;
pub mod nats;
mod ring;
pub mod seal;
pub mod sqlite;

pub use doubt::{Doubt, Told};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use switchboard_envelope::{BlobRef, Timestamp};
use thiserror::Error;
use tokio::sync::{mpsc, watch};

/// A position in one of the logs, from 1. 0 is before the first record.
pub type Seq = u64;

/// A record for IN.
#[derive(Clone, Debug)]
pub struct InRecord {
    /// The duplicate key, the envelope's id.
    pub id: String,
    pub channel: String,
    pub class: Class,
    pub data: Bytes,
}

/// What may still enter when IN is nearly full: messages are refused at 80 % of its size, so that results and commands
/// always fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Message,
    Vital,
}

/// A record of IN or LOG as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    pub seq: Seq,
    /// When the log stored it, by the log's clock.
    pub at: Timestamp,
    /// The channel for IN and OUT; empty for LOG.
    pub channel: String,
    pub data: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingested {
    Stored(Seq),
    /// The log already holds this id. It may forget ids; the state's memory decides in the end.
    Duplicate,
}

/// The answer to a compare-and-swap append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    Done(Seq),
    /// LOG's last sequence is not the expected one. The frame at `expected + 1` says whether that was ours.
    Conflict,
    /// The answer was lost: repeat the same bytes.
    Unknown(String),
}

/// A frame ready to append, with what must be durable with it.
#[derive(Clone, Debug, Default)]
pub struct FrameWrite {
    pub bytes: Bytes,
    /// New keys, written no later than the frame.
    pub keys: Vec<(KeyId, [u8; 32])>,
    /// The OUT sequence of the first send. OUT's last sequence must be one less.
    pub out_first: Seq,
    pub sends: Vec<OutRecord>,
}

#[derive(Clone, Debug)]
pub struct OutRecord {
    pub channel: String,
    /// `<channel>.<send>.<part>.<n>` for a send; empty for a `reconcile`, which is not claimed.
    pub claim_key: String,
    pub until: Timestamp,
    pub data: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// We own the attempt.
    Ours,
    /// Somebody else does, or did.
    Taken,
}

/// Who leads a workspace, as its processes tell each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leader {
    /// Somebody does, by this name.
    Here(String),
    /// Whoever did has left.
    Nobody,
    /// Somebody said so once, and does not answer: paused, or cut off.
    Silent,
}

/// Names a key: a contact's id in text, or a name of the daemon's own such as `workspace`.
pub type KeyId = String;

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LogError {
    /// No room: refuse the provider with 503, so that it retries.
    #[error("the log is full: {0}")]
    Full(String),
    /// It may or may not have happened; repeat the same record.
    #[error("the log did not answer: {0}")]
    Unavailable(String),
    #[error("the log is damaged: {0}")]
    Damaged(String),
    #[error("{0}")]
    Refused(String),
}

/// The narrow waist of the daemon. Every method can be called from any task.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Durably stores a record under its duplicate key. `Ok` means durable.
    async fn ingest(&self, record: InRecord) -> Result<Ingested, LogError>;

    /// Records of IN after `after`, in order, at most `max`.
    async fn read_in(&self, after: Seq, max: usize) -> Result<Vec<Stored>, LogError>;

    /// The record of IN at `seq`, if it is still kept.
    async fn get_in(&self, seq: Seq) -> Result<Option<Stored>, LogError>;

    /// Changes when IN grew. The number is a hint, never a proof.
    fn in_tail(&self) -> watch::Receiver<Seq>;

    /// IN's last sequence, also when that record was trimmed.
    async fn in_last(&self) -> Result<Seq, LogError>;

    /// Appends one frame if LOG's last sequence is `expected`. Done means: frame, keys and sends are durable.
    async fn commit(&self, expected: Seq, frame: FrameWrite) -> Commit;

    async fn read_log(&self, after: Seq, max: usize) -> Result<Vec<Stored>, LogError>;

    fn log_tail(&self) -> watch::Receiver<Seq>;

    /// LOG's first and last sequence; (1, 0) when empty.
    async fn log_bounds(&self) -> Result<(Seq, Seq), LogError>;

    /// OUT's last sequence.
    async fn out_last(&self) -> Result<Seq, LogError>;

    /// Delivers a channel's OUT records, each for the first time in order. Records may come again, and then in any order: an
    /// acknowledgement is no claim.
    async fn outbox(&self, channel: &str) -> Result<Box<dyn Outbox>, LogError>;

    /// Creates the claim if it does not exist. Repeating a call whose answer was lost, with the same nonce, answers
    /// [`Claim::Ours`]. `Ok` means durable.
    async fn claim(&self, key: &str, nonce: &str) -> Result<Claim, LogError>;

    /// Who holds the claim, if anybody.
    async fn claimed(&self, key: &str) -> Result<Option<String>, LogError>;

    /// Stores bytes under the hash of themselves, in a scope (channel and thread). Durable before it returns.
    async fn put_blob(&self, scope: &str, bytes: Bytes) -> Result<BlobRef, LogError>;

    async fn get_blob(&self, scope: &str, blob: &BlobRef) -> Result<Option<Bytes>, LogError>;

    async fn delete_blob(&self, scope: &str, blob: &BlobRef) -> Result<(), LogError>;

    /// Stores a key if there is none, and returns the one in force.
    async fn put_key(&self, id: &str, key: [u8; 32]) -> Result<[u8; 32], LogError>;

    async fn get_keys(&self, ids: &[KeyId]) -> Result<Vec<Option<[u8; 32]>>, LogError>;

    async fn delete_key(&self, id: &str) -> Result<(), LogError>;

    /// What an edge must remember, such as a poll's cursor.
    async fn put_cursor(&self, name: &str, value: &str) -> Result<(), LogError>;

    async fn get_cursor(&self, name: &str) -> Result<Option<String>, LogError>;

    /// Forgets a cursor, so that it takes no room.
    async fn delete_cursor(&self, name: &str) -> Result<(), LogError>;

    /// Replaces a cursor that is as it was `seen`; `false` when it is another by now. A log that several processes share does both
    /// in one step.
    async fn swap_cursor(&self, name: &str, seen: Option<&str>, value: &str) -> Result<bool, LogError> {
        if self.get_cursor(name).await?.as_deref() != seen {
            return Ok(false);
        }
        self.put_cursor(name, value).await.map(|()| true)
    }

    /// Keeps a snapshot of the state after frame `at`. The one before it is kept too, until this one was verified.
    async fn put_snapshot(&self, at: Seq, bytes: Bytes) -> Result<(), LogError>;

    /// Snapshots, newest first.
    async fn snapshots(&self) -> Result<Vec<(Seq, Bytes)>, LogError>;

    /// One of them; `None` when it is gone or damaged.
    async fn snapshot(&self, at: Seq) -> Result<Option<Bytes>, LogError> {
        Ok(self.snapshots().await?.into_iter().find(|(of, _)| *of == at).map(|(_, bytes)| bytes))
    }

    /// Their sequences, without reading them: whether they can be read is not said.
    async fn snapshot_seqs(&self) -> Result<Vec<Seq>, LogError> {
        Ok(self.snapshots().await?.into_iter().map(|(at, _)| at).collect())
    }

    /// Forgets snapshots of later frames than `after`: those frames are lost, and others will have their numbers.
    async fn drop_snapshots(&self, _after: Seq) -> Result<(), LogError> {
        Ok(())
    }

    /// Takes from OUT what is in it up to `up_to`, where others than this process may read it: it is not to be sent any more.
    async fn void_out(&self, _up_to: Seq) -> Result<(), LogError> {
        Ok(())
    }

    /// Has adapters in other processes, which serve these channels, take nothing from OUT until the attempts that are in it now are
    /// over; or lets them take from it again. Where nobody can be held back, nothing is done.
    async fn hold_out(&self, _channels: &[String], _hold: bool) -> Result<(), LogError> {
        Ok(())
    }

    /// What this process knows of the log's lives.
    fn doubt(&self) -> &Doubt;

    /// How full IN is, in thousandths of what it may hold.
    async fn in_fill(&self) -> Result<u32, LogError>;

    /// Forgets records of IN up to and with `up_to`.
    async fn trim_in(&self, up_to: Seq) -> Result<(), LogError>;

    async fn trim_log(&self, up_to: Seq) -> Result<(), LogError>;

    /// Forgets OUT records and claims stored before `before`.
    async fn trim_out(&self, before: Timestamp) -> Result<(), LogError>;

    /// The log's clock.
    async fn now(&self) -> Result<Timestamp, LogError>;

    /// Only this process uses the log: a claim without a result, found at start, has no live owner.
    fn exclusive(&self) -> bool;

    /// Whether a process, as its claims name it, uses the log no more, so that it will not finish what it claimed. Not to be
    /// sure is `false`: then the attempt's end decides.
    async fn is_gone(&self, _process: &str) -> bool {
        self.exclusive()
    }

    /// Who else leads the workspace. Only a hint, which makes a take-over quick; what keeps two routers apart is
    /// [`Log::commit`].
    async fn leader(&self) -> Leader {
        Leader::Nobody
    }

    /// Says to the others that this process leads, or that it does no longer.
    async fn stand(&self, _leads: bool) -> Result<(), LogError> {
        Ok(())
    }

    /// Takes or keeps a duty that one process at a time should do, and that it asks for again while it does it; `false`
    /// while another has it. Only a saving: whatever is done under it must not harm when two do it.
    async fn duty(&self, _name: &str) -> Result<bool, LogError> {
        Ok(true)
    }

    /// Leaves a duty of this process to whoever asks next, who would otherwise wait until it has lapsed.
    async fn leave_duty(&self, _name: &str) -> Result<(), LogError> {
        Ok(())
    }

    /// Puts into OUT what a durable frame assigned and OUT does not have yet, from `out_first` on. Where a commit is one
    /// step there is nothing to do.
    async fn complete(&self, _out_first: Seq, _sends: Vec<OutRecord>) -> Result<(), LogError> {
        Ok(())
    }

    /// The channels that other processes serve, each time that they say so. `None` where there
    /// can be none.
    async fn beats(&self) -> Result<Option<mpsc::Receiver<String>>, LogError> {
        Ok(None)
    }

    /// Says to whoever listens that a channel is served by this process.
    async fn beat(&self, _channel: &str) -> Result<(), LogError> {
        Ok(())
    }

    /// One sentence: what a power cut can take.
    fn durability(&self) -> String;

    /// Whether a power cut can, or could as far as anybody knows, take what was acknowledged.
    fn may_lose(&self) -> bool {
        false
    }

    /// Where the log keeps what it holds, for whoever looks after it; nothing of what cannot be asked.
    async fn stores(&self) -> Vec<Store> {
        vec![]
    }
}

/// A place of the log with a size of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Store {
    pub name: String,
    pub bytes: u64,
    /// What it may hold, where there is an end.
    pub max_bytes: Option<u64>,
    /// Copies of each record, and how many are configured.
    pub replicas: u32,
    pub wanted_replicas: u32,
    /// Servers whose copy is not up to date, or that do not answer.
    pub behind: Vec<String>,
}

#[async_trait]
pub trait Outbox: Send {
    /// Waits for records and returns them, at most `max`. Dropping the wait loses none.
    async fn next(&mut self, max: usize) -> Result<Vec<Stored>, LogError>;

    /// This record needs no further delivery.
    async fn ack(&mut self, seq: Seq) -> Result<(), LogError>;
}

/// A stored time more than this ahead of the clock was taken while the clock was wrong.
const CLOCK_WAS_SET_MS: i64 = 60_000;

/// The time to store with a record of IN: never before the last one, unless that one was taken by a clock that was wrong by
/// more than a minute, which must not hold for ever.
pub(crate) fn stored_at(last: Timestamp, now: Timestamp) -> Timestamp {
    if last.since(now) > CLOCK_WAS_SET_MS { now } else { last.max(now) }
}

/// The hash that a blob is named after.
pub(crate) fn hash_of(blob: &BlobRef) -> Result<&str, LogError> {
    blob.hash().ok_or_else(|| LogError::Refused(format!("`{}` is not `blob:sha256:<64 hex digits>`", blob.0)))
}

/// How full IN is, in thousandths.
pub(crate) fn in_fill(bytes: u64, in_max_bytes: u64) -> u32 {
    u32::try_from(u128::from(bytes) * 1000 / u128::from(in_max_bytes.max(1))).unwrap_or(u32::MAX)
}

/// How much of `in_max_bytes` may be used before a record of this class is refused.
pub(crate) fn in_limit(class: Class, in_max_bytes: u64) -> u64 {
    match class {
        Class::Message => in_max_bytes / 5 * 4,
        Class::Vital => in_max_bytes,
    }
}

/// What a refusal for lack of room says.
pub(crate) fn in_full(bytes: u64, in_max_bytes: u64) -> LogError {
    LogError::Full(format!(
        "IN holds {bytes} of {in_max_bytes} bytes: see why the router is behind, or raise `limits.inbox`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_wrong_for_a_moment_does_not_hold_for_ever() {
        let (now, second, year) = (Timestamp(1_000_000_000), 1000, 365 * 86_400_000);
        assert_eq!(stored_at(now, now.plus(second)), now.plus(second));
        assert_eq!(stored_at(now.plus(second), now), now.plus(second), "a small step back is not shown");
        assert_eq!(stored_at(now.plus(year), now), now, "a year ahead was an accident");
    }
}
