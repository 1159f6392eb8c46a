//! Events to frames and back: the public part in the open, what came from a person sealed under that person's key.

use super::patience::answered;
use crate::log::frame::{Frame, FrameError, FrameId, VERSION};
use crate::log::seal::{self, Keyring, SealError, SealKey};
use crate::log::{KeyId, Log, LogError, Seq, Stored};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::event::{Event, Private, Public};
use switchboard_routing_rules::ids::ContactId;

/// Keys kept in memory at most; the log has them all.
const KEYS: usize = 40_000;
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
    #[error(
        "an event is of format {needs}, and `log.format` is {format}: raise it once every process of the workspace knows that \
         format and no earlier version will be gone back to"
    )]
    Format { needs: u16, format: u16 },
}

/// A frame ready to commit.
pub(super) struct Sealed {
    pub bytes: Bytes,
    pub keys: Vec<(KeyId, [u8; 32])>,
    pub id: FrameId,
}

/// Events as they will be written: what a frame weighs is known before it is closed.
#[derive(Default)]
pub(super) struct Encoded {
    /// The index of the first event in its frame, and of the next one.
    first: u32,
    count: u32,
    public: Vec<u8>,
    private: BTreeMap<ContactId, Part>,
    size: usize,
}

/// The private parts of one contact.
#[derive(Default)]
struct Part {
    count: u32,
    bytes: Vec<u8>,
}

/// Room for what a decision mostly writes, so that it is not moved again and again while it grows.
const USUAL: usize = 1024;

impl Part {
    fn roomy() -> Part {
        Part { count: 0, bytes: Vec::with_capacity(USUAL) }
    }
}

/// What a frame's head and ends, and each of its parts, cost beside their bytes; rounded up.
const FRAME_BYTES: usize = 128;
const PART_BYTES: usize = 96;

impl Encoded {
    /// For the events of one decision, which follow those of `frame`.
    pub fn after(frame: &Encoded) -> Encoded {
        Encoded { first: frame.count, count: frame.count, public: Vec::with_capacity(USUAL), ..Encoded::default() }
    }

    /// For the frame after this one: with room for as much.
    pub fn next(&self) -> Encoded {
        Encoded { public: Vec::with_capacity(self.public.len()), ..Encoded::default() }
    }

    pub fn push(&mut self, event: &Event) -> Result<(), CodecError> {
        let before = self.public.len();
        rmp_serde::encode::write_named(&mut self.public, &event.public)?;
        self.size += self.public.len() - before;
        if let Some((contact, private)) = &event.private {
            let part = self.private.entry(*contact).or_insert_with(Part::roomy);
            let before = part.bytes.len();
            rmp_serde::encode::write_named(&mut part.bytes, &(self.count, private))?;
            self.size += part.bytes.len() - before + PART_BYTES;
            part.count += 1;
        }
        self.count += 1;
        Ok(())
    }

    /// Adds the events of the next decision.
    pub fn append(&mut self, next: Encoded) {
        self.count = next.count;
        self.size += next.size;
        self.public.extend_from_slice(&next.public);
        for (contact, more) in next.private {
            match self.private.entry(contact) {
                Entry::Vacant(place) => drop(place.insert(more)),
                Entry::Occupied(mut part) => {
                    part.get_mut().count += more.count;
                    part.get_mut().bytes.extend_from_slice(&more.bytes);
                }
            }
        }
    }

    /// No more than this many bytes once sealed.
    pub fn size(&self) -> usize {
        self.size + FRAME_BYTES
    }
}

/// A MessagePack array of elements that are encoded already.
fn list(count: u32, elements: &[u8]) -> Vec<u8> {
    const ARRAY_32: u8 = 0xdd;
    let mut bytes = Vec::with_capacity(5 + elements.len());
    bytes.push(ARRAY_32);
    bytes.extend(count.to_be_bytes());
    bytes.extend_from_slice(elements);
    bytes
}

/// A frame, opened.
pub(super) struct Opened {
    pub id: FrameId,
    /// The OUT sequence that its first send got.
    pub out_first: Seq,
    pub events: Vec<Event>,
}

pub struct Codec {
    log: Arc<dyn Log>,
    keys: Keyring,
    /// The format of the frames that it writes; it reads every one that this build knows.
    format: u16,
}

/// The private parts of one contact in one frame, by the index of their event.
type PrivateParts = Vec<(u32, Private)>;

impl Codec {
    #[must_use]
    pub fn new(log: Arc<dyn Log>) -> Codec {
        Codec { log, keys: Keyring::new(KEYS), format: VERSION }
    }

    /// The same, which writes frames of this format.
    #[must_use]
    pub fn writing(self, format: u16) -> Codec {
        Codec { format, ..self }
    }

    /// Whether these events are known in the format that is written: an earlier version of this program refuses to lead over
    /// others, so they would take away the way back to it.
    pub(super) fn may_write(&self, events: &[Event]) -> Result<(), CodecError> {
        match events.iter().map(|e| e.public.format()).max().filter(|needs| *needs > self.format) {
            Some(needs) => Err(CodecError::Format { needs, format: self.format }),
            None => Ok(()),
        }
    }

    /// The keys of contacts; `None` where there is none, or none any more.
    pub(super) async fn keys(&self, ids: &[ContactId]) -> Result<Vec<Option<SealKey>>, CodecError> {
        let names: Vec<KeyId> = ids.iter().map(ContactId::to_string).collect();
        answered("keys", || async { Ok(self.keys.fetch(self.log.as_ref(), &names).await?) }).await
    }

    /// Forgets every key: one may never have come in force, because its frame was not taken, or be none of this life of the log.
    pub(super) fn forget(&self) {
        self.keys.clear();
    }

    /// Seals the private parts and closes the frame.
    pub(super) async fn seal(
        &self,
        events: Encoded,
        cursor: (Seq, Timestamp),
        out_first: Seq,
    ) -> Result<Sealed, CodecError> {
        let ids: Vec<ContactId> = events.private.keys().copied().collect();
        let known = self.keys(&ids).await?;
        let id = fresh_id()?;
        let public = list(events.count - events.first, &events.public);
        let mut frame = Frame { version: self.format, ..Frame::new(id, cursor, out_first, public) };
        let mut keys = vec![];
        for ((contact, part), key) in events.private.into_iter().zip(known) {
            let name = contact.to_string();
            let key = match key {
                Some(key) => key,
                None => {
                    let bytes = seal::fresh_key()?;
                    keys.push((name.clone(), bytes));
                    self.keys.insert(&name, &bytes)
                }
            };
            frame.seal(name, &key, &list(part.count, &part.bytes))?;
        }
        Ok(Sealed { bytes: frame.encode()?, keys, id })
    }

    /// The events of a frame; those of an erased contact without their private parts.
    ///
    /// # Errors
    /// When the frame is damaged or holds events that this build does not know.
    pub async fn decode(&self, stored: &Stored) -> Result<Vec<Event>, CodecError> {
        self.open(stored).await.map(|opened| opened.events)
    }

    /// The public parts of a frame's events, for which no key is needed.
    pub(super) fn public(&self, stored: &Stored) -> Result<Vec<Public>, CodecError> {
        Ok(rmp_serde::from_slice(&Frame::decode(&stored.data)?.public)?)
    }

    pub(super) async fn open(&self, stored: &Stored) -> Result<Opened, CodecError> {
        let frame = Frame::decode(&stored.data)?;
        let (id, out_first) = (frame.id, frame.out_first);
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
        Ok(Opened { id, out_first, events })
    }

    /// The id of the frame at `seq`, read from the log itself.
    pub(super) async fn frame_id_at(&self, log: &Arc<dyn Log>, seq: Seq) -> Result<Option<FrameId>, CodecError> {
        let stored = answered("whose frame it is", || log.read_log(seq - 1, 1)).await?;
        Ok(match stored.first().filter(|s| s.seq == seq) {
            Some(s) => Some(Frame::decode(&s.data)?.id),
            None => None,
        })
    }
}

fn fresh_id() -> Result<FrameId, SealError> {
    let key = seal::fresh_key()?;
    Ok(key.iter().take(16).fold(0, |id, b| (id << 8) | u128::from(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::{MemoryLog, MemoryOptions};
    use proptest::prelude::*;
    use switchboard_routing_rules::ids::Salt;

    fn event(n: u64, text: Option<&str>) -> Event {
        let public = Public::Quarantined {
            seq: n,
            channel: "c".repeat(n as usize % 40 + 1),
            reason: "r".into(),
            at: Timestamp(0),
        };
        let contact = ContactId::derive(&Salt([3; 16]), &[&(n % 7).to_le_bytes()]);
        Event { public, private: text.map(|t| (contact, Private::Note { text: t.into() })) }
    }

    #[tokio::test]
    async fn an_event_that_an_earlier_version_does_not_know_is_not_written_before_the_format_is_raised() {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new(&MemoryOptions::default()));
        let before = Codec::new(log.clone()).writing(0);
        let refused = before.may_write(&[event(1, None)]).expect_err("of format 1").to_string();
        assert!(refused.starts_with("an event is of format 1, and `log.format` is 0: raise it"), "{refused}");
        assert!(before.may_write(&[]).is_ok());
        let raised = Codec::new(log).writing(1);
        raised.may_write(&[event(1, None)]).expect("it is known");
        let mut events = Encoded::default();
        events.push(&event(1, None)).expect("encoded");
        let sealed = raised.seal(events, (1, Timestamp(1)), 1).await.expect("sealed");
        assert_eq!(Frame::decode(&sealed.bytes).expect("a frame").version, 1, "the frame says its format");
    }

    proptest! {
        #[test]
        fn a_frame_is_never_larger_than_it_was_said_to_be(
            decisions in prop::collection::vec(prop::collection::vec((any::<u16>(), prop::option::of(".{0,300}")), 0..6), 0..60)
        ) {
            let log: Arc<dyn Log> = Arc::new(MemoryLog::new(&MemoryOptions::default()));
            let codec = Codec::new(log);
            let (mut frame, mut events) = (Encoded::default(), vec![]);
            for decision in &decisions {
                let mut next = Encoded::after(&frame);
                for (n, text) in decision {
                    let event = event(u64::from(*n), text.as_deref());
                    next.push(&event).expect("an event can be written");
                    events.push(event);
                }
                frame.append(next);
            }
            let said = frame.size();
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let sealed = runtime.block_on(codec.seal(frame, (1, Timestamp(1)), 1)).expect("it can be sealed");
            prop_assert!(sealed.bytes.len() <= said, "{} bytes, said {said}", sealed.bytes.len());
            let stored = Stored { seq: 1, at: Timestamp(1), channel: String::new(), data: sealed.bytes };
            prop_assert_eq!(runtime.block_on(codec.decode(&stored)).expect("it can be read"), events);
        }
    }
}
