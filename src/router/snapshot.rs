//! Snapshots: taken from a copy of the state, encoded and sealed beside routing, verified before they count.

use super::codec::{Codec, CodecError};
use crate::clock;
use crate::log::frame::checksum;
use crate::log::seal::SealKey;
use crate::log::{Log, Seq};
use crate::metrics::Metrics;
use bytes::Bytes;
use std::sync::Arc;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::ids::ContactId;
use switchboard_routing_rules::state::State;
use tokio::task::JoinHandle;

/// A snapshot after so many frames, and not more often than the interval.
const FRAMES: u64 = 20_000;
/// Or after so many events, and twice as many as there are conversations: what a start folds again takes no longer than reading the
/// snapshot, and what is written no longer than a share of what was decided.
const EVENTS: usize = 500_000;
const INTERVAL_MS: i64 = 60_000;
/// With few frames, a snapshot at least this often when anything changed.
const IDLE_MS: i64 = 600_000;

#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error(transparent)]
    State(#[from] switchboard_routing_rules::state::SnapshotError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Seal(#[from] crate::log::seal::SealError),
    #[error("damaged: {0}")]
    Damaged(&'static str),
    #[error("the thread that made it panicked")]
    Panicked,
}

/// What a sealed part is bound to, so that it opens nowhere else.
fn aad(id: ContactId) -> Vec<u8> {
    format!("snapshot:{id}").into_bytes()
}

/// The public part is read beside the keys, which takes as long where there are many.
pub(super) async fn open(codec: &Codec, empty: &State, bytes: Bytes) -> Result<State, SnapshotError> {
    let (public, sealed) = read(&bytes)?;
    let ids: Vec<ContactId> = sealed.iter().map(|(id, _)| *id).collect();
    let (salt, public) = (empty.salt, bytes.slice_ref(public));
    let public = blocking(move || Ok(State::from_parts(salt, &public, &[])?));
    let (state, keys) = tokio::join!(public, codec.keys(&ids));
    let (mut state, keys) = (state?, keys?);
    state.limits = empty.limits;
    let whole = bytes.clone();
    blocking(move || {
        for ((id, sealed), key) in read(&whole)?.1.into_iter().zip(keys) {
            // Without its key the person was erased.
            if let Some(key) = key {
                state.add_private_part(id, &key.open(&aad(id), sealed)?)?;
            }
        }
        Ok(state)
    })
    .await
}

/// ```text
/// version u8 · public: length u64, bytes · each sealed part: contact length u8, contact, length u32, bytes · checksum u64 over all of it
/// ```
/// Numbers are little-endian.
const VERSION: u8 = 1;

type SealedPart<'a> = (ContactId, &'a [u8]);

fn read(bytes: &[u8]) -> Result<(&[u8], Vec<SealedPart<'_>>), SnapshotError> {
    const CUT: SnapshotError = SnapshotError::Damaged("it is cut short");
    let (body, stated) = bytes.split_last_chunk().ok_or(CUT)?;
    if checksum(body) != u64::from_le_bytes(*stated) {
        return Err(SnapshotError::Damaged("its checksum does not match"));
    }
    let (&version, rest) = body.split_first().ok_or(CUT)?;
    if version != VERSION {
        return Err(SnapshotError::Damaged("it is of another version"));
    }
    let (len, rest) = rest.split_first_chunk().ok_or(CUT)?;
    let len = usize::try_from(u64::from_le_bytes(*len)).unwrap_or(usize::MAX);
    let (public, mut rest) = rest.split_at_checked(len).ok_or(CUT)?;
    let mut sealed = Vec::new();
    while !rest.is_empty() {
        let (&len, after) = rest.split_first().ok_or(CUT)?;
        let (id, after) = after.split_at_checked(usize::from(len)).ok_or(CUT)?;
        let id = std::str::from_utf8(id).ok().and_then(ContactId::parse);
        let id = id.ok_or(SnapshotError::Damaged("a part belongs to no contact"))?;
        let (len, after) = after.split_first_chunk().ok_or(CUT)?;
        let (part, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or(CUT)?;
        sealed.push((id, part));
        rest = after;
    }
    Ok((public, sealed))
}

/// People whose parts are encoded and sealed at once.
const PEOPLE: usize = 4096;

/// Everything is written once, and read again piece by piece: beside the state there is never more than the snapshot.
async fn make(codec: &Codec, state: State) -> Result<Vec<u8>, SnapshotError> {
    let encode = move || -> Result<_, SnapshotError> {
        let mut out = vec![VERSION];
        out.extend([0; 8]);
        state.write_public(&mut out)?;
        let (head, public) = out.split_at_mut(9);
        State::check_public(public)?;
        let len = public.len() as u64;
        head.get_mut(1..).unwrap_or_default().copy_from_slice(&len.to_le_bytes());
        let index = state.private_index();
        Ok((out, state, index))
    };
    let (mut out, mut state, mut index) = blocking(encode).await?;
    let mut after = None;
    loop {
        let some = move || -> Result<_, SnapshotError> {
            let parts = state.private_parts_after(&index, after, PEOPLE)?;
            Ok((parts, state, index))
        };
        let parts;
        (parts, state, index) = blocking(some).await?;
        let Some((last, _)) = parts.last() else { break };
        after = Some(*last);
        let ids: Vec<ContactId> = parts.iter().map(|(id, _)| *id).collect();
        let keys = codec.keys(&ids).await?;
        out = blocking(move || seal(out, parts, keys)).await?;
    }
    // The state goes before the whole is looked at once more.
    drop(state);
    let finish = move || {
        out.extend(checksum(&out).to_le_bytes());
        read(&out)?;
        Ok(out)
    };
    blocking(finish).await
}

fn seal(
    mut out: Vec<u8>,
    parts: Vec<(ContactId, Vec<u8>)>,
    keys: Vec<Option<SealKey>>,
) -> Result<Vec<u8>, SnapshotError> {
    for ((id, plain), key) in parts.into_iter().zip(keys) {
        let Some(key) = key else { continue };
        State::check_private(&plain)?;
        let sealed = key.seal(&aad(id), &plain)?;
        if key.open(&aad(id), &sealed)? != plain {
            return Err(SnapshotError::Damaged("a sealed part does not open to what it was"));
        }
        let len = u32::try_from(sealed.len()).map_err(|_| SnapshotError::Damaged("a part is too long"))?;
        let id = id.to_string();
        out.push(u8::try_from(id.len()).map_err(|_| SnapshotError::Damaged("an id is too long"))?);
        out.extend(id.as_bytes());
        out.extend(len.to_le_bytes());
        out.extend_from_slice(&sealed);
    }
    Ok(out)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, SnapshotError> {
    // A runtime of one thread has no other to spare, and the simulation must repeat itself.
    if tokio::runtime::Handle::current().runtime_flavor() == tokio::runtime::RuntimeFlavor::CurrentThread {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| SnapshotError::Panicked)?
}

/// When to take snapshots, and the one that is being taken.
pub(super) struct Snapshots {
    log: Arc<dyn Log>,
    codec: Arc<Codec>,
    metrics: Arc<Metrics>,
    frames: u64,
    events: usize,
    taken_at: Timestamp,
    running: Option<JoinHandle<()>>,
    /// The last frame that a snapshot covers.
    covered: Seq,
}

impl Snapshots {
    pub(super) fn new(log: Arc<dyn Log>, codec: Arc<Codec>, metrics: Arc<Metrics>, last: Seq) -> Snapshots {
        Snapshots { log, codec, metrics, frames: 0, events: 0, taken_at: clock::now(), running: None, covered: last }
    }

    /// By a frame of so many events.
    pub(super) fn grew(&mut self, events: usize) {
        self.frames += 1;
        self.events += events;
    }

    /// Whether one is being taken.
    pub(super) fn under_way(&self) -> bool {
        self.running.as_ref().is_some_and(|r| !r.is_finished())
    }

    /// Starts a snapshot when one is due and none is running. Costs the router a copy of a few pointers.
    pub(super) async fn consider(&mut self, state: &State, last: Seq) {
        if self.under_way() {
            return;
        }
        let age = clock::now().since(self.taken_at);
        let many = self.frames >= FRAMES || self.events >= EVENTS.max(2 * state.conversations.len());
        let due = (many && age >= INTERVAL_MS) || (self.frames > 0 && age >= IDLE_MS);
        if due {
            (self.frames, self.events) = (0, 0);
            self.taken_at = clock::now();
            self.covered = last;
            self.running = Some(tokio::spawn(self.take(state.clone(), last)));
        }
    }

    /// A snapshot at shutdown, so that the next start is quick.
    pub(super) async fn last_one(&mut self, state: &State, last: Seq) {
        if let Some(running) = self.running.take() {
            let _ = running.await;
        }
        if self.frames > 0 {
            self.take(state.clone(), last).await;
        }
    }

    fn take(&self, state: State, at: Seq) -> impl Future<Output = ()> + Send + 'static {
        take(self.log.clone(), self.codec.clone(), self.metrics.clone(), state, at)
    }
}

/// A snapshot of a router that is gone is nobody's.
impl Drop for Snapshots {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

async fn take(log: Arc<dyn Log>, codec: Arc<Codec>, metrics: Arc<Metrics>, state: State, at: Seq) {
    let (started, life) = (clock::now(), log.doubt().log_life());
    let made = make(&codec, state).await;
    let bytes = match made {
        Ok(bytes) => bytes,
        Err(error) => return tracing::error!(at, %error, "a snapshot failed; the log keeps everything"),
    };
    let size = bytes.len();
    if log.doubt().log_life() != life {
        return tracing::warn!(at, "a snapshot is of frames that are lost; it is not kept");
    }
    match log.put_snapshot(at, bytes.into()).await {
        Ok(()) => {
            let ended = clock::now();
            metrics.snapshot(started, ended);
            tracing::debug!(at, size, ms = ended.since(started), "snapshot taken");
        }
        Err(error) => tracing::error!(at, %error, "a snapshot could not be stored; the log keeps everything"),
    }
}
