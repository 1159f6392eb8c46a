//! Rows in memory between commits, within a bound on bytes.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// For keys that are keyed hashes or places, which nobody outside can choose: their bits only need to be spread.
#[derive(Default)]
pub(super) struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.write_u64(u64::from(*b)));
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    fn write_u128(&mut self, n: u128) {
        let [high, low] = [n >> 64, n & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or(0));
        self.write_u64(high);
        self.write_u64(low);
    }

    fn finish(&self) -> u64 {
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

type Table<K, V> = HashMap<K, Slot<V>, BuildHasherDefault<Spread>>;

struct Slot<V> {
    row: Box<V>,
    /// Not in the file as it is here.
    dirty: bool,
    /// In the file at all.
    stored: bool,
    bytes: usize,
}

/// Rows by key, in two generations: what is used moves to the young one, and once that is full the old one goes. So what
/// is in use stays, and forgetting costs nothing.
pub(super) struct Cache<K, V> {
    young: Table<K, V>,
    old: Table<K, V>,
    /// Of the young generation.
    bytes: usize,
    /// Of both.
    bound: usize,
    dirty: Vec<K>,
}

impl<K: Copy + Eq + Hash, V> Cache<K, V> {
    /// Bytes that a row takes beside its contents: itself, its key, and its places in the tables.
    const BESIDE: usize = size_of::<V>() + 2 * size_of::<K>() + 64;

    pub fn new(bound: usize) -> Cache<K, V> {
        Cache { young: Table::default(), old: Table::default(), bytes: 0, bound, dirty: vec![] }
    }

    fn slot(&mut self, key: K) -> Option<&mut Slot<V>> {
        if !self.young.contains_key(&key) {
            let slot = self.old.remove(&key)?;
            self.bytes += slot.bytes;
            self.young.insert(key, slot);
        }
        self.young.get_mut(&key)
    }

    pub fn holds(&self, key: K) -> bool {
        self.young.contains_key(&key) || self.old.contains_key(&key)
    }

    pub fn get(&mut self, key: K) -> Option<&V> {
        self.slot(key).map(|s| &*s.row)
    }

    /// The row, to be changed: it is written with the next commit.
    pub fn change(&mut self, key: K) -> Option<&mut V> {
        let was_clean = {
            let slot = self.slot(key)?;
            !std::mem::replace(&mut slot.dirty, true)
        };
        if was_clean {
            self.dirty.push(key);
        }
        self.slot(key).map(|s| &mut *s.row)
    }

    fn put(&mut self, key: K, slot: Slot<V>) {
        self.bytes += slot.bytes;
        let former = self.young.insert(key, slot);
        self.old.remove(&key);
        self.bytes -= former.map_or(0, |f| f.bytes);
    }

    /// A row that the file does not have yet.
    pub fn add(&mut self, key: K, row: V) {
        self.put(key, Slot { row: Box::new(row), dirty: true, stored: false, bytes: Self::BESIDE });
        self.dirty.push(key);
    }

    /// A row as the file has it, with the bytes of its contents.
    pub fn remember(&mut self, key: K, row: V, bytes: usize) {
        self.put(key, Slot { row: Box::new(row), dirty: false, stored: true, bytes: Self::BESIDE + bytes });
    }

    pub fn forget(&mut self, key: K) {
        let young = self.young.remove(&key);
        self.old.remove(&key);
        self.bytes -= young.map_or(0, |s| s.bytes);
    }

    /// The keys of what must be written. Each is then [`saved`](Cache::saved).
    pub fn take_dirty(&mut self) -> Vec<K> {
        std::mem::take(&mut self.dirty)
    }

    /// A row that must be written, and whether the file has an older form of it. `None` when it was written already.
    pub fn unsaved(&mut self, key: K) -> Option<(&mut V, bool)> {
        let slot = self.young.get_mut(&key).filter(|s| s.dirty)?;
        Some((&mut *slot.row, slot.stored))
    }

    /// A row that the file does not have yet.
    pub fn fresh(&mut self, key: K) -> Option<&mut V> {
        self.young.get_mut(&key).filter(|s| s.dirty && !s.stored).map(|s| &mut *s.row)
    }

    /// The row is in the file, where its contents take so many bytes.
    pub fn saved(&mut self, key: K, bytes: usize) {
        if let Some(slot) = self.young.get_mut(&key) {
            (slot.dirty, slot.stored) = (false, true);
            self.bytes += (Self::BESIDE + bytes).saturating_sub(slot.bytes);
            self.bytes -= slot.bytes.saturating_sub(Self::BESIDE + bytes);
            slot.bytes = Self::BESIDE + bytes;
        }
    }

    /// After a commit, when nothing is dirty: keeps within the bound.
    pub fn settle(&mut self) {
        if self.bytes > self.bound / 2 {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
    }

    /// After a commit, for rows that are hardly asked for again: forgets them all.
    pub fn forget_all(&mut self) {
        self.young.clear();
        self.old.clear();
        self.bytes = 0;
    }

    /// Gives everything back. Nothing may be dirty.
    pub fn clear(&mut self) {
        *self = Cache::new(self.bound);
    }

    #[cfg(test)]
    pub fn total_bytes(&self) -> usize {
        self.young.values().chain(self.old.values()).map(|s| s.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: usize = 100;

    fn filled(cache: &mut Cache<u64, u64>, keys: impl Iterator<Item = u64>) {
        for key in keys {
            cache.remember(key, key, ROW);
            cache.settle();
        }
    }

    #[test]
    fn it_keeps_within_its_bound_and_what_is_in_use() {
        let bound = 100 * (Cache::<u64, u64>::BESIDE + ROW);
        let mut cache = Cache::new(bound);
        filled(&mut cache, 0..10_000);
        assert!(cache.total_bytes() <= bound + ROW * 4, "{} bytes of {bound}", cache.total_bytes());
        assert!(cache.holds(9_999) && !cache.holds(9_000));
        for n in 10_000..20_000 {
            assert_eq!(cache.get(9_999), Some(&9_999), "it was used all the time");
            filled(&mut cache, n..=n);
        }
        let counted = cache.young.values().map(|s| s.bytes).sum::<usize>();
        assert_eq!(cache.bytes, counted, "the sum follows every change");
    }

    #[test]
    fn what_is_dirty_is_told_once_and_stays_until_it_is_saved() {
        let mut cache: Cache<u64, u64> = Cache::new(1);
        cache.add(1, 10);
        *cache.change(1).unwrap() = 11;
        cache.remember(2, 20, ROW);
        *cache.change(2).unwrap() = 21;
        assert_eq!(cache.take_dirty(), [1, 2]);
        assert_eq!(cache.unsaved(1), Some((&mut 11, false)));
        assert_eq!(cache.unsaved(2), Some((&mut 21, true)));
        for key in [1, 2] {
            cache.saved(key, ROW);
            assert_eq!(cache.unsaved(key), None);
        }
        assert!(cache.take_dirty().is_empty());
        *cache.change(1).unwrap() = 12;
        assert_eq!((cache.take_dirty(), cache.unsaved(1)), (vec![1], Some((&mut 12, true))));
        cache.forget(1);
        assert!(!cache.holds(1));
        assert_eq!(cache.bytes, cache.young.values().map(|s| s.bytes).sum::<usize>());
    }
}
