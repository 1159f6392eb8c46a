//! Events to frames and back: the public part in the open, what came from a person sealed under that person's key.

use crate::log::frame::{Frame, FrameError};
use crate::log::seal::{self, Keyring, SealError, SealKey};
use crate::log::{KeyId, Log, LogError, Seq, Stored};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::event::{Event, Private, Public};
use switchboard_routing_rules::ids::ContactId;

/// Keys kept in memory at most; the log has them all.
const KEYS: usize = 200_000;

#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("written by a newer version, or damaged: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
    #[error("cannot be encoded: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
}

/// A frame ready to commit.
pub(super) struct Sealed {
    pub bytes: Bytes,
    pub keys: Vec<(KeyId, [u8; 32])>,
    pub id: u128,
}

pub struct Codec {
    log: Arc<dyn Log>,
    keys: Keyring,
}

/// The private parts of one contact in one frame, by the index of their event.
type PrivateParts = Vec<(u32, Private)>;

impl Codec {
    #[must_use]
    pub fn new(log: Arc<dyn Log>) -> Codec {
        Codec { log, keys: Keyring::new(KEYS) }
    }

    /// The keys of contacts; `None` where there is none, or none any more.
    pub(super) async fn keys(&self, ids: &[ContactId]) -> Result<Vec<Option<SealKey>>, CodecError> {
        let names: Vec<KeyId> = ids.iter().map(ContactId::to_string).collect();
        let mut found: Vec<Option<SealKey>> = names.iter().map(|id| self.keys.get(id)).collect();
        let missing: Vec<(usize, KeyId)> = found
            .iter()
            .zip(&names)
            .enumerate()
            .filter(|(_, (key, _))| key.is_none())
            .map(|(i, (_, name))| (i, name.clone()))
            .collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let wanted: Vec<KeyId> = missing.iter().map(|(_, name)| name.clone()).collect();
        let stored = self.log.get_keys(&wanted).await?;
        for ((i, name), bytes) in missing.into_iter().zip(stored) {
            if let (Some(slot), Some(bytes)) = (found.get_mut(i), bytes) {
                *slot = Some(self.keys.insert(&name, &bytes)?);
            }
        }
        Ok(found)
    }

    pub(super) async fn encode(
        &self,
        events: &[Event],
        cursor: (Seq, Timestamp),
        out_first: Seq,
    ) -> Result<Sealed, CodecError> {
        let mut parts: BTreeMap<ContactId, Vec<(u32, &Private)>> = BTreeMap::new();
        for (i, event) in events.iter().enumerate() {
            if let Some((contact, private)) = &event.private {
                parts.entry(*contact).or_default().push((u32::try_from(i).unwrap_or(u32::MAX), private));
            }
        }
        let ids: Vec<ContactId> = parts.keys().copied().collect();
        let known = self.keys(&ids).await?;
        let public: Vec<&Public> = events.iter().map(|e| &e.public).collect();
        let id = fresh_id()?;
        let mut frame = Frame::new(id, cursor, out_first, rmp_serde::to_vec_named(&public)?);
        let mut keys = vec![];
        for ((contact, list), key) in parts.into_iter().zip(known) {
            let name = contact.to_string();
            let key = match key {
                Some(key) => key,
                None => {
                    let bytes = seal::fresh_key()?;
                    keys.push((name.clone(), bytes));
                    self.keys.insert(&name, &bytes)?
                }
            };
            frame.seal(name, &key, &rmp_serde::to_vec_named(&list)?)?;
        }
        Ok(Sealed { bytes: frame.encode()?, keys, id })
    }

    /// The events of a frame; those of an erased contact without their private parts.
    ///
    /// # Errors
    /// When the frame is damaged or holds events that this build does not know.
    pub async fn decode(&self, stored: &Stored) -> Result<Vec<Event>, CodecError> {
        let frame = Frame::decode(&stored.data)?;
        let public: Vec<Public> = rmp_serde::from_slice(&frame.public)?;
        let mut events: Vec<Event> = public.into_iter().map(Event::from).collect();
        let ids: Vec<ContactId> = frame.sealed.iter().filter_map(|(id, _)| ContactId::parse(id)).collect();
        let keys: BTreeMap<String, SealKey> =
            ids.iter().zip(self.keys(&ids).await?).filter_map(|(id, key)| Some((id.to_string(), key?))).collect();
        for (name, plain) in frame.open(|id| keys.get(id).cloned()).parts {
            let Some(contact) = ContactId::parse(&name) else { continue };
            let parts: PrivateParts = rmp_serde::from_slice(&plain)?;
            for (i, private) in parts {
                if let Some(event) = events.get_mut(i as usize) {
                    event.private = Some((contact, private));
                }
            }
        }
        Ok(events)
    }

    /// The id of the frame at `seq`, read from the log itself.
    pub(super) async fn frame_id_at(&self, log: &Arc<dyn Log>, seq: Seq) -> Result<Option<u128>, CodecError> {
        let stored = log.read_log(seq - 1, 1).await?;
        Ok(match stored.first().filter(|s| s.seq == seq) {
            Some(s) => Some(Frame::decode(&s.data)?.id),
            None => None,
        })
    }
}

fn fresh_id() -> Result<u128, SealError> {
    let key = seal::fresh_key()?;
    Ok(key.iter().take(16).fold(0, |id, b| (id << 8) | u128::from(*b)))
}
