//! Sealing what came from a person, under a key of that person: erasing the key erases the words, wherever copies of the
//! log are.
//!
//! AES-256-GCM with a random nonce in front. A key seals far fewer than the 2^32 messages up to which random nonces are
//! safe: it belongs to one contact.

use super::{KeyId, Log, LogError};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use std::{
    collections::HashMap,
    fmt, mem,
    sync::{Mutex, MutexGuard, PoisonError},
};
use thiserror::Error;

/// Why something could not be sealed or opened. The texts are constant: they tell an attacker nothing.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SealError {
    #[error("sealing failed")]
    Seal,
    /// Another key, other associated data, or changed bytes: nobody can tell which.
    #[error("a sealed part cannot be opened with this key")]
    Open,
    #[error("the system gives no randomness")]
    Randomness,
}

/// A key. Its schedule is made anew for each use, which takes less than a microsecond: a hundred thousand of them kept would
/// take more memory than the conversations that they belong to.
#[derive(Clone)]
pub struct SealKey([u8; 32]);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey")
    }
}

impl SealKey {
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> SealKey {
        SealKey(*bytes)
    }

    fn schedule(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, &self.0).ok().map(LessSafeKey::new)
    }

    /// Seals `plaintext`. It opens only with the same `aad`.
    ///
    /// # Errors
    /// When there is no randomness, or the text is longer than the cipher takes.
    pub fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0_u8; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealError::Randomness)?;
        let mut text = plaintext.to_vec();
        let tag = self
            .schedule()
            .ok_or(SealError::Seal)?
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut text)
            .map_err(|_| SealError::Seal)?;
        Ok([&nonce[..], &text, tag.as_ref()].concat())
    }

    /// Opens what [`SealKey::seal`] made.
    ///
    /// # Errors
    /// [`SealError::Open`], whatever is wrong.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Open)?;
        let mut text = text.to_vec();
        let key = self.schedule().ok_or(SealError::Open)?;
        let opened = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut text);
        let len = opened.map_err(|_| SealError::Open)?.len();
        text.truncate(len);
        Ok(text)
    }
}

/// Bytes for a new key.
///
/// # Errors
/// When the system gives no randomness.
pub fn fresh_key() -> Result<[u8; 32], SealError> {
    let mut key = [0; 32];
    rand::fill(&mut key).map_err(|_| SealError::Randomness)?;
    Ok(key)
}

/// The keys used lately. The log has them all.
pub struct Keyring {
    cache: Mutex<Cache>,
    /// Keys in each of the two halves.
    half: usize,
}

#[derive(Default)]
struct Cache {
    young: HashMap<KeyId, SealKey>,
    /// What was young when `young` was last full: keys that are used again move back.
    old: HashMap<KeyId, SealKey>,
    /// Counts erasures: a key that was read from the log before one must not come in after it.
    erasures: u64,
}

impl Cache {
    fn put(&mut self, id: KeyId, key: SealKey, half: usize) {
        if self.young.len() >= half && !self.young.contains_key(&id) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(id, key);
    }
}

impl Keyring {
    /// Keeps up to about `capacity` keys.
    #[must_use]
    pub fn new(capacity: usize) -> Keyring {
        Keyring { cache: Mutex::new(Cache::default()), half: (capacity / 2).max(1) }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key, if it is here.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<SealKey> {
        let mut cache = self.cache();
        if let Some(key) = cache.young.get(id) {
            return Some(key.clone());
        }
        let key = cache.old.remove(id)?;
        cache.put(id.to_owned(), key.clone(), self.half);
        Some(key)
    }

    /// Remembers a key that is in force.
    pub fn insert(&self, id: &str, bytes: &[u8; 32]) -> SealKey {
        let key = SealKey::new(bytes);
        self.cache().put(id.to_owned(), key.clone(), self.half);
        key
    }

    /// Forgets a key that was erased, or never came in force.
    pub fn forget(&self, id: &str) {
        let mut cache = self.cache();
        cache.young.remove(id);
        cache.old.remove(id);
        cache.erasures += 1;
    }

    /// Forgets every key.
    pub fn clear(&self) {
        let mut cache = self.cache();
        cache.young.clear();
        cache.old.clear();
        cache.erasures += 1;
    }

    /// The keys of `ids`, in their order; `None` for one that was erased or never was. What is not here is read from the
    /// log in one question.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn fetch(&self, log: &dyn Log, ids: &[KeyId]) -> Result<Vec<Option<SealKey>>, LogError> {
        let mut keys: Vec<Option<SealKey>> = ids.iter().map(|id| self.get(id)).collect();
        let missing: Vec<KeyId> =
            ids.iter().zip(&keys).filter(|(_, key)| key.is_none()).map(|(id, _)| id.clone()).collect();
        if missing.is_empty() {
            return Ok(keys);
        }
        let erasures = self.cache().erasures;
        let mut found = log.get_keys(&missing).await?.into_iter();
        for (slot, id) in keys.iter_mut().zip(ids).filter(|(slot, _)| slot.is_none()) {
            let Some(bytes) = found.next().flatten() else { continue };
            let key = SealKey::new(&bytes);
            let mut cache = self.cache();
            if cache.erasures == erasures {
                cache.put(id.clone(), key.clone(), self.half);
            }
            *slot = Some(key);
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::{MemoryLog, MemoryOptions};

    fn key(n: u8) -> SealKey {
        SealKey::new(&[n; 32])
    }

    #[test]
    fn no_flipped_bit_and_no_other_key_or_place_opens_a_part() {
        let sealed = key(1).seal(b"frame 7", b"her words").expect("seal");
        assert_eq!(key(1).open(b"frame 7", &sealed), Ok(b"her words".to_vec()));
        assert_eq!(key(2).open(b"frame 7", &sealed), Err(SealError::Open));
        assert_eq!(key(1).open(b"frame 8", &sealed), Err(SealError::Open));
        for bit in 0..sealed.len() * 8 {
            let mut bent = sealed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key(1).open(b"frame 7", &bent), Err(SealError::Open), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert_eq!(key(1).open(b"frame 7", &sealed[..len]), Err(SealError::Open), "{len} bytes");
        }
    }

    #[test]
    fn sealing_the_same_words_twice_does_not_look_the_same() {
        let (a, b) = (key(1).seal(b"", b"yes").expect("seal"), key(1).seal(b"", b"yes").expect("seal"));
        assert_ne!(a, b);
        assert!(!a.windows(3).any(|w| w == b"yes"));
        assert_ne!(fresh_key().expect("key"), fresh_key().expect("key"));
    }

    #[test]
    fn a_key_never_shows_in_a_debug_print() {
        assert_eq!(format!("{:?}", key(0x41)), "SealKey");
    }

    #[test]
    fn the_ring_does_not_grow_and_keeps_what_is_used() {
        let ring = Keyring::new(100);
        ring.insert("ann", &[1; 32]);
        for n in 0..10_000 {
            ring.insert(&format!("contact {n}"), &[2; 32]);
            if n % 20 == 0 {
                assert!(ring.get("ann").is_some(), "used, but evicted at {n}");
            }
        }
        let cache = ring.cache();
        assert!(cache.young.len() + cache.old.len() <= 101);
    }

    #[tokio::test]
    async fn an_erased_key_is_not_fetched_and_not_remembered() {
        let log = MemoryLog::new(&MemoryOptions::default());
        log.put_key("ann", [1; 32]).await.expect("put");
        log.put_key("bob", [2; 32]).await.expect("put");
        let ring = Keyring::new(10);
        let ids = ["bob".to_owned(), "nobody".into(), "ann".into()];
        let found = ring.fetch(&log, &ids).await.expect("fetch");
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
        let sealed = key(2).seal(b"", b"bob's").expect("seal");
        assert_eq!(
            found[0].as_ref().map(|k| k.open(b"", &sealed)),
            Some(Ok(b"bob's".to_vec())),
            "the right key for each"
        );
        log.delete_key("ann").await.expect("delete");
        ring.forget("ann");
        assert!(ring.get("ann").is_none());
        assert!(ring.fetch(&log, &ids).await.expect("fetch")[2].is_none());
        assert!(ring.get("bob").is_some());
    }
}
