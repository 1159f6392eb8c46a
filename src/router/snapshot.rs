//! Snapshots: taken from a copy of the state, encoded and sealed beside routing, verified before they count.

use super::codec::{Codec, CodecError};
use crate::clock;
use crate::log::{Log, Seq};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::ids::ContactId;
use switchboard_routing_rules::state::{SnapshotParts, State};
use tokio::task::JoinHandle;

/// A snapshot after so many frames, and not more often than the interval.
const FRAMES: u64 = 20_000;
const INTERVAL_MS: i64 = 60_000;
/// With few frames, a snapshot at least this often when anything changed.
const IDLE_MS: i64 = 600_000;

#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(with = "serde_bytes_vec")]
    public: Vec<u8>,
    sealed: Vec<(ContactId, Bytes)>,
}

#[derive(Serialize, Deserialize)]
struct Bytes(#[serde(with = "serde_bytes_vec")] Vec<u8>);

/// Bytes as one binary value instead of a list of numbers.
mod serde_bytes_vec {
    use serde::{Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(v: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(v)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        struct V;
        impl<'de> de::Visitor<'de> for V {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, v: &[u8]) -> Result<Vec<u8>, E> {
                Ok(v.to_vec())
            }
            fn visit_byte_buf<E: de::Error>(self, v: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(v)
            }
        }
        d.deserialize_byte_buf(V)
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error(transparent)]
    State(#[from] switchboard_routing_rules::state::SnapshotError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Seal(#[from] crate::log::seal::SealError),
    #[error("damaged: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
    #[error("cannot be written: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    #[error("it does not give the state that it was made of")]
    Differs,
}

/// What a sealed part is bound to, so that it opens nowhere else.
fn aad(id: ContactId) -> Vec<u8> {
    format!("snapshot:{id}").into_bytes()
}

pub(super) async fn open(codec: &Codec, empty: &State, bytes: &[u8]) -> Result<State, SnapshotError> {
    let document: Document = rmp_serde::from_slice(bytes)?;
    let ids: Vec<ContactId> = document.sealed.iter().map(|(id, _)| *id).collect();
    let keys = codec.keys(&ids).await?;
    let mut private = Vec::with_capacity(document.sealed.len());
    for ((id, sealed), key) in document.sealed.into_iter().zip(keys) {
        // Without its key the person was erased.
        if let Some(key) = key {
            private.push((id, key.open(&aad(id), &sealed.0)?));
        }
    }
    let mut state = State::from_parts(empty.salt, &SnapshotParts { public: document.public, private })?;
    state.limits = empty.limits;
    Ok(state)
}

async fn make(codec: &Codec, state: &State) -> Result<Vec<u8>, SnapshotError> {
    let copy = state.clone();
    let parts = tokio::task::spawn_blocking(move || copy.to_parts()).await.map_err(|_| SnapshotError::Differs)??;
    let ids: Vec<ContactId> = parts.private.iter().map(|(id, _)| *id).collect();
    let keys = codec.keys(&ids).await?;
    let sealed = tokio::task::spawn_blocking(move || -> Result<Vec<u8>, SnapshotError> {
        let mut sealed = Vec::with_capacity(parts.private.len());
        for ((id, plain), key) in parts.private.into_iter().zip(keys) {
            if let Some(key) = key {
                sealed.push((id, Bytes(key.seal(&aad(id), &plain)?)));
            }
        }
        Ok(rmp_serde::to_vec_named(&Document { public: parts.public, sealed })?)
    });
    let bytes = sealed.await.map_err(|_| SnapshotError::Differs)??;
    if open(codec, state, &bytes).await? != *state {
        return Err(SnapshotError::Differs);
    }
    Ok(bytes)
}

/// When to take snapshots, and the one that is being taken.
pub(super) struct Snapshots {
    log: Arc<dyn Log>,
    codec: Arc<Codec>,
    frames: u64,
    taken_at: Timestamp,
    running: Option<JoinHandle<()>>,
    /// The last frame that a snapshot covers.
    covered: Seq,
}

impl Snapshots {
    pub(super) fn new(log: Arc<dyn Log>, codec: Arc<Codec>, last: Seq) -> Snapshots {
        Snapshots { log, codec, frames: 0, taken_at: clock::now(), running: None, covered: last }
    }

    pub(super) fn grew(&mut self) {
        self.frames += 1;
    }

    /// Starts a snapshot when one is due and none is running. Costs the router a copy of a few pointers.
    pub(super) async fn consider(&mut self, state: &State, last: Seq) {
        if self.running.as_ref().is_some_and(|r| !r.is_finished()) {
            return;
        }
        let age = clock::now().since(self.taken_at);
        let due = (self.frames >= FRAMES && age >= INTERVAL_MS) || (self.frames > 0 && age >= IDLE_MS);
        if due {
            self.frames = 0;
            self.taken_at = clock::now();
            self.covered = last;
            self.running = Some(tokio::spawn(take(self.log.clone(), self.codec.clone(), state.clone(), last)));
        }
    }

    /// A snapshot at shutdown, so that the next start is quick.
    pub(super) async fn last_one(&mut self, state: &State, last: Seq) {
        if let Some(running) = self.running.take() {
            let _ = running.await;
        }
        if self.frames > 0 {
            take(self.log.clone(), self.codec.clone(), state.clone(), last).await;
        }
    }
}

async fn take(log: Arc<dyn Log>, codec: Arc<Codec>, state: State, at: Seq) {
    let started = clock::now();
    let made = make(&codec, &state).await;
    let bytes = match made {
        Ok(bytes) => bytes,
        Err(error) => return tracing::error!(at, %error, "a snapshot failed; the log keeps everything"),
    };
    let size = bytes.len();
    match log.put_snapshot(at, bytes.into()).await {
        Ok(()) => tracing::debug!(at, size, ms = clock::now().since(started), "snapshot taken"),
        Err(error) => tracing::error!(at, %error, "a snapshot could not be stored; the log keeps everything"),
    }
}
