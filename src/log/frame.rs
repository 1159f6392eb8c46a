//! How a frame is written: a public part that anybody may read, and one sealed part for each contact.
//!
//! ```text
//! version u16 · id u128 · cursor seq u64 · cursor time i64 · out_first u64
//! public: length u32, bytes · count u32 · each sealed part: key id length u16, key id, length u32, bytes
//! checksum u64 over all of it
//! ```
//! Numbers are little-endian. Reading is total: any bytes give a frame or an error.

use super::{
    KeyId, Seq, Stored,
    seal::{SealError, SealKey},
};
use bytes::Bytes;
use siphasher::sip::SipHasher24;
use std::hash::Hasher;
use switchboard_envelope::Timestamp;
use thiserror::Error;

/// The version that this build writes, and the newest that it reads.
pub const VERSION: u16 = 1;

/// The largest frame in bytes, so that a broker takes it whole.
pub const MAX_FRAME: usize = 512 * 1024;

const CHECKSUM_BYTES: usize = 8;

/// Tells a frame from every other, also from one that has its number in another life of the log.
pub type FrameId = u128;

/// What the router decided in one turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub version: u16,
    /// Unique: after a lost answer it says whether the frame at a sequence is ours.
    pub id: FrameId,
    /// The record of IN up to which everything is decided, and its stored time.
    pub cursor: (Seq, Timestamp),
    /// The OUT sequence of the first send.
    pub out_first: Seq,
    /// The events, without anything that came from a person.
    pub public: Vec<u8>,
    /// What came from people, each part sealed with its person's key.
    pub sealed: Vec<(KeyId, Vec<u8>)>,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    #[error("a frame of {size} bytes is over the limit of {MAX_FRAME}")]
    TooLarge { size: usize },
    #[error("frame version {found} is not supported: this build reads up to version {VERSION}")]
    Version { found: u16 },
    #[error("not a frame: {0}")]
    Damaged(&'static str),
}

/// The parts of a frame that could be opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    pub parts: Vec<(KeyId, Vec<u8>)>,
    /// Parts whose key was erased.
    pub erased: usize,
}

impl Frame {
    /// A frame of this build's version with no sealed part yet.
    #[must_use]
    pub fn new(id: FrameId, cursor: (Seq, Timestamp), out_first: Seq, public: Vec<u8>) -> Frame {
        Frame { version: VERSION, id, cursor, out_first, public, sealed: Vec::new() }
    }

    /// Adds a part. Seal once and keep the result: a repeated commit needs the same bytes.
    ///
    /// # Errors
    /// When sealing fails.
    pub fn seal(&mut self, id: KeyId, key: &SealKey, plaintext: &[u8]) -> Result<(), SealError> {
        let sealed = key.seal(&self.place(&id), plaintext)?;
        self.sealed.push((id, sealed));
        Ok(())
    }

    /// Opens every part whose key there is. A part that its key does not open was sealed with an earlier key of the same
    /// contact, which was erased: the frame's checksum says that its bytes are as they were written.
    pub fn open(&self, mut key: impl FnMut(&str) -> Option<SealKey>) -> Opened {
        let mut opened = Opened::default();
        for (id, sealed) in &self.sealed {
            match key(id).and_then(|key| key.open(&self.place(id), sealed).ok()) {
                Some(plaintext) => opened.parts.push((id.clone(), plaintext)),
                None => opened.erased += 1,
            }
        }
        opened
    }

    /// A part belongs to its frame and its contact, and opens nowhere else.
    fn place(&self, id: &str) -> Vec<u8> {
        [&self.id.to_le_bytes()[..], id.as_bytes()].concat()
    }

    /// # Errors
    /// [`FrameError::TooLarge`]: decide fewer inputs in one frame, or move content into blobs.
    pub fn encode(&self) -> Result<Bytes, FrameError> {
        let size = self.encoded_len();
        if size > MAX_FRAME || self.sealed.iter().any(|(id, _)| id.len() > usize::from(u16::MAX)) {
            return Err(FrameError::TooLarge { size });
        }
        let mut out = Vec::with_capacity(size);
        out.extend(self.version.to_le_bytes());
        out.extend(self.id.to_le_bytes());
        out.extend(self.cursor.0.to_le_bytes());
        out.extend(self.cursor.1.0.to_le_bytes());
        out.extend(self.out_first.to_le_bytes());
        put_long(&mut out, &self.public);
        put_len(&mut out, self.sealed.len());
        for (id, sealed) in &self.sealed {
            out.extend(u16::try_from(id.len()).unwrap_or(u16::MAX).to_le_bytes());
            out.extend(id.as_bytes());
            put_long(&mut out, sealed);
        }
        out.extend(checksum(&out).to_le_bytes());
        Ok(Bytes::from(out))
    }

    /// How long [`Frame::encode`]'s bytes are, so that a turn can stop before it is too long.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let parts: usize = self.sealed.iter().map(|(id, sealed)| 2 + id.len() + 4 + sealed.len()).sum();
        2 + 16 + 8 + 8 + 8 + 4 + self.public.len() + 4 + parts + CHECKSUM_BYTES
    }

    /// # Errors
    /// When the bytes are no frame, are damaged, or of a newer version.
    pub fn decode(bytes: &[u8]) -> Result<Frame, FrameError> {
        if bytes.len() > MAX_FRAME {
            return Err(FrameError::TooLarge { size: bytes.len() });
        }
        let (body, stated) = bytes.split_last_chunk().ok_or(FrameError::Damaged("too short"))?;
        if checksum(body) != u64::from_le_bytes(*stated) {
            return Err(FrameError::Damaged("its checksum does not match"));
        }
        let mut rest = Rest(body);
        let version = u16::from_le_bytes(rest.chunk()?);
        if version == 0 || version > VERSION {
            return Err(FrameError::Version { found: version });
        }
        let frame = Frame {
            version,
            id: u128::from_le_bytes(rest.chunk()?),
            cursor: (u64::from_le_bytes(rest.chunk()?), Timestamp(i64::from_le_bytes(rest.chunk()?))),
            out_first: u64::from_le_bytes(rest.chunk()?),
            public: rest.long()?.to_vec(),
            sealed: rest.sealed()?,
        };
        if rest.0.is_empty() { Ok(frame) } else { Err(FrameError::Damaged("bytes follow its end")) }
    }
}

/// Which frame this is; 0 when it cannot be read.
#[must_use]
pub fn id_of(stored: &Stored) -> FrameId {
    Frame::decode(&stored.data).map_or(0, |frame| frame.id)
}

/// Finds accidents, such as a disk that returns other bytes; it is no defence against somebody who writes to the log.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new();
    hasher.write(bytes);
    hasher.finish()
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    // Nothing longer than MAX_FRAME comes here.
    out.extend(u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend(bytes);
}

/// What is left to read. No length is believed before so many bytes are there.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (chunk, rest) = self.0.split_first_chunk().ok_or(FrameError::Damaged("it ends early"))?;
        self.0 = rest;
        Ok(*chunk)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], FrameError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(FrameError::Damaged("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn len(&mut self) -> Result<usize, FrameError> {
        Ok(u32::from_le_bytes(self.chunk()?) as usize)
    }

    fn long(&mut self) -> Result<&'a [u8], FrameError> {
        let len = self.len()?;
        self.take(len)
    }

    fn sealed(&mut self) -> Result<Vec<(KeyId, Vec<u8>)>, FrameError> {
        let count = self.len()?;
        let mut parts = Vec::new();
        for _ in 0..count {
            let len = usize::from(u16::from_le_bytes(self.chunk()?));
            let id = std::str::from_utf8(self.take(len)?).map_err(|_| FrameError::Damaged("a key id is not text"))?;
            parts.push((id.to_owned(), self.long()?.to_vec()));
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(n: u8) -> SealKey {
        SealKey::new(&[n; 32])
    }

    fn frame() -> Frame {
        let mut frame = Frame::new(7 << 100, (41, Timestamp(1_763_000_000_123)), 9, b"public events".to_vec());
        frame.seal("ann".into(), &key(1), b"Ann's words").expect("seal");
        frame.seal("bob".into(), &key(2), b"Bob's words").expect("seal");
        frame
    }

    #[test]
    fn a_frame_comes_back_as_it_was_written() {
        let frame = frame();
        let bytes = frame.encode().expect("encode");
        assert_eq!(bytes.len(), frame.encoded_len());
        assert_eq!(Frame::decode(&bytes), Ok(frame));
        assert!(!bytes.windows(5).any(|w| w == b"words"), "a person's words are in the clear");
    }

    #[test]
    fn an_erased_key_leaves_the_public_part_and_the_other_people() {
        let read = Frame::decode(&frame().encode().expect("encode")).expect("decode");
        let opened = read.open(|id| (id == "bob").then(|| key(2)));
        assert_eq!(opened, Opened { parts: vec![("bob".into(), b"Bob's words".to_vec())], erased: 1 });
        assert_eq!(read.public, b"public events");
        assert_eq!(read.open(|_| None), Opened { parts: vec![], erased: 2 });
    }

    #[test]
    fn a_new_key_after_an_erasure_does_not_make_old_frames_unreadable() {
        let read = Frame::decode(&frame().encode().expect("encode")).expect("decode");
        let opened = read.open(|id| Some(if id == "ann" { key(99) } else { key(2) }));
        assert_eq!((opened.parts.len(), opened.erased), (1, 1));
    }

    #[test]
    fn a_part_moved_to_another_frame_or_contact_does_not_open() {
        let mut other = Frame::new(8, (0, Timestamp(0)), 1, vec![]);
        other.sealed = frame().sealed;
        assert_eq!(other.open(|id| Some(key(if id == "ann" { 1 } else { 2 }))).erased, 2);
        let mut swapped = frame();
        swapped.sealed[0].0 = "bob".into();
        assert_eq!(swapped.open(|_| Some(key(1))).erased, 2);
    }

    #[test]
    fn a_frame_that_a_broker_would_refuse_is_not_written() {
        let fits = |extra| Frame::new(1, (0, Timestamp(0)), 1, vec![0; MAX_FRAME - 58 + extra]).encode();
        assert_eq!(fits(0).map(|b| b.len()), Ok(MAX_FRAME));
        assert_eq!(fits(1), Err(FrameError::TooLarge { size: MAX_FRAME + 1 }));
        assert!(matches!(Frame::decode(&vec![0; MAX_FRAME + 1]), Err(FrameError::TooLarge { .. })));
        let mut long_id = Frame::new(1, (0, Timestamp(0)), 1, vec![]);
        long_id.sealed.push(("x".repeat(70_000), vec![]));
        assert!(matches!(long_id.encode(), Err(FrameError::TooLarge { .. })));
    }

    #[test]
    fn a_newer_frame_is_refused_with_its_version() {
        let newer = Frame { version: VERSION + 1, ..frame() };
        let error = Frame::decode(&newer.encode().expect("encode")).expect_err("refused");
        assert_eq!(error, FrameError::Version { found: VERSION + 1 });
    }

    #[test]
    fn no_flipped_bit_and_no_cut_passes_for_a_frame() {
        let bytes = frame().encode().expect("encode");
        for bit in 0..bytes.len() * 8 {
            let mut bent = bytes.to_vec();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::decode(&bent).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Frame::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    /// With a right checksum, so that the reader behind it is reached.
    fn signed(mut body: Vec<u8>) -> Vec<u8> {
        body.extend(checksum(&body).to_le_bytes());
        body
    }

    #[test]
    fn a_length_that_lies_takes_no_memory_and_no_panic() {
        let bytes = Frame::new(1, (0, Timestamp(0)), 1, vec![]).encode().expect("encode");
        let body = &bytes[..bytes.len() - CHECKSUM_BYTES];
        for at in [42, 46] {
            let mut lying = body.to_vec();
            lying[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert_eq!(Frame::decode(&signed(lying)), Err(FrameError::Damaged("it ends early")));
        }
        let longer = [body, b"more"].concat();
        assert_eq!(Frame::decode(&signed(longer)), Err(FrameError::Damaged("bytes follow its end")));
    }

    proptest! {
        #[test]
        fn reading_any_bytes_ends(body in proptest::collection::vec(any::<u8>(), 0..300), version in 0_u16..3) {
            let _ = Frame::decode(&body);
            let headed = [&version.to_le_bytes()[..], &body].concat();
            let _ = Frame::decode(&signed(headed));
        }

        #[test]
        fn what_is_read_is_what_was_written(
            id: u128, seq: u64, at: i64, out_first: u64,
            public in proptest::collection::vec(any::<u8>(), 0..200),
            sealed in proptest::collection::vec(("\\PC{0,20}", proptest::collection::vec(any::<u8>(), 0..50)), 0..5),
        ) {
            let mut frame = Frame::new(id, (seq, Timestamp(at)), out_first, public);
            frame.sealed = sealed;
            let bytes = frame.encode().expect("encode");
            prop_assert_eq!(Frame::decode(&bytes), Ok(frame));
        }
    }
}
