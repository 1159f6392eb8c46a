//! Ordered maps and sets whose entries lie close together. A million conversations stand in half a dozen indexes each, and in a
//! B-tree of fixed nodes every entry takes twice its size: nodes are half empty where entries come in order, as timers do.
//!
//! Entries lie in runs of exactly their length, runs in groups, and groups in one list. All three are shared: a clone costs one
//! pointer, and a change copies the run, the group and the list that it touches, where somebody else holds them.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// The most entries of a run, and runs of a group.
const FULL: usize = 32;
/// A list grows by this much, and gives back more than twice that.
const STEP: usize = 4;

type Run<K, V> = Vec<(K, V)>;
type Group<K, V> = Vec<(K, Arc<Run<K, V>>)>;
type Groups<K, V> = Vec<(K, Arc<Group<K, V>>)>;

/// An ordered map. Each run and group is kept with a key that none of its entries is smaller than.
#[derive(Clone)]
pub struct DenseMap<K, V> {
    groups: Arc<Groups<K, V>>,
    len: usize,
}

/// Which element of a list holds the key, if any does.
fn place<K: Ord, T>(list: &[(K, T)], key: &K) -> usize {
    list.partition_point(|(first, _)| first <= key).saturating_sub(1)
}

/// Puts an item into a list that holds [`FULL`] at most; what does not fit is the list that follows.
fn put<T>(list: &mut Vec<T>, at: usize, item: T) -> Option<Vec<T>> {
    if list.len() < FULL {
        if list.len() == list.capacity() {
            list.reserve_exact(STEP.min(FULL - list.len()));
        }
        list.insert(at, item);
        return None;
    }
    // What comes in order leaves full lists behind.
    if at == list.len() {
        return Some(vec![item]);
    }
    let mut next = list.split_off(FULL / 2);
    next.shrink_to_fit();
    list.shrink_to(FULL / 2 + STEP);
    let other = match at.checked_sub(list.len()) {
        Some(at) => put(&mut next, at, item),
        None => put(list, at, item),
    };
    debug_assert!(other.is_none(), "half of a list has room");
    Some(next)
}

/// Removes an empty list, and joins one that became short with one beside it.
fn join<K, T: Clone>(lists: &mut Vec<(K, Arc<Vec<T>>)>, at: usize) {
    let size = |at: usize| lists.get(at).map(|(_, list)| list.len());
    match size(at) {
        Some(0) => drop(lists.remove(at)),
        Some(own) if own < FULL / 4 => {
            let fits = |other: Option<usize>| other.is_some_and(|other| other + own <= FULL / 4 * 3);
            let left = if fits(size(at + 1)) {
                at
            } else if at > 0 && fits(size(at - 1)) {
                at - 1
            } else {
                return;
            };
            let (_, right) = lists.remove(left + 1);
            if let Some((_, left)) = lists.get_mut(left) {
                let left = Arc::make_mut(left);
                left.reserve_exact(right.len());
                left.extend_from_slice(&right);
            }
        }
        _ => {}
    }
}

fn trim<T>(list: &mut Vec<T>) {
    if list.capacity() > list.len() + 2 * STEP {
        list.shrink_to(list.len() + STEP);
    }
}

impl<K: Copy + Ord, V: Clone> DenseMap<K, V> {
    /// An empty one.
    #[must_use]
    pub fn new() -> DenseMap<K, V> {
        DenseMap { groups: Arc::default(), len: 0 }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        let (_, group) = self.groups.get(place(&self.groups, key))?;
        let (_, run) = group.get(place(group, key))?;
        let at = run.binary_search_by(|(k, _)| k.cmp(key)).ok()?;
        run.get(at).map(|(_, value)| value)
    }

    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        if !self.contains_key(key) {
            return None;
        }
        let groups = Arc::make_mut(&mut self.groups);
        let at = place(groups, key);
        let group = Arc::make_mut(&mut groups.get_mut(at)?.1);
        let at = place(group, key);
        let run = Arc::make_mut(&mut group.get_mut(at)?.1);
        let at = run.binary_search_by(|(k, _)| k.cmp(key)).ok()?;
        run.get_mut(at).map(|(_, value)| value)
    }

    /// Gives back the value that was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let groups = Arc::make_mut(&mut self.groups);
        let g = place(groups, &key);
        let Some((first, group)) = groups.get_mut(g) else {
            groups.push((key, Arc::new(vec![(key, Arc::new(vec![(key, value)]))])));
            self.len = 1;
            return None;
        };
        *first = key.min(*first);
        let group = Arc::make_mut(group);
        let r = place(group, &key);
        let (first, run) = group.get_mut(r)?;
        *first = key.min(*first);
        let run = Arc::make_mut(run);
        let at = match run.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(at) => return run.get_mut(at).map(|(_, old)| std::mem::replace(old, value)),
            Err(at) => at,
        };
        self.len += 1;
        let run = put(run, at, (key, value))?;
        let first = run.first()?.0;
        let group = put(group, r + 1, (first, Arc::new(run)))?;
        let first = group.first()?.0;
        groups.insert(g + 1, (first, Arc::new(group)));
        None
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        if !self.contains_key(key) {
            return None;
        }
        let groups = Arc::make_mut(&mut self.groups);
        let g = place(groups, key);
        let group = Arc::make_mut(&mut groups.get_mut(g)?.1);
        let r = place(group, key);
        let run = Arc::make_mut(&mut group.get_mut(r)?.1);
        let at = run.binary_search_by(|(k, _)| k.cmp(key)).ok()?;
        let (_, value) = run.remove(at);
        trim(run);
        self.len -= 1;
        join(group, r);
        trim(group);
        join(groups, g);
        Some(value)
    }

    #[must_use]
    pub fn get_min(&self) -> Option<(&K, &V)> {
        let run = &self.groups.first()?.1.first()?.1;
        run.first().map(|(key, value)| (key, value))
    }

    pub fn get_max(&self) -> Option<(&K, &V)> {
        let run = &self.groups.last()?.1.last()?.1;
        run.last().map(|(key, value)| (key, value))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let runs = self.groups.iter().flat_map(|(_, group)| group.iter());
        runs.flat_map(|(_, run)| run.iter().map(|(key, value)| (key, value)))
    }

    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The entries within these bounds, in order.
    pub fn range(&self, bounds: impl RangeBounds<K>) -> impl Iterator<Item = (&K, &V)> {
        let (start, end) = (bounds.start_bound().cloned(), bounds.end_bound().cloned());
        let before = move |key: &K| match &start {
            Bound::Included(from) => key < from,
            Bound::Excluded(from) => key <= from,
            Bound::Unbounded => false,
        };
        let within = move |key: &K| match &end {
            Bound::Included(to) => key <= to,
            Bound::Excluded(to) => key < to,
            Bound::Unbounded => true,
        };
        let skipped = self.groups.partition_point(|(first, _)| before(first)).saturating_sub(1);
        let groups = self.groups.get(skipped..).unwrap_or_default().iter();
        let runs = groups.flat_map(move |(_, group)| {
            let skipped = group.partition_point(|(first, _)| before(first)).saturating_sub(1);
            group.get(skipped..).unwrap_or_default().iter()
        });
        let entries = runs.flat_map(move |(_, run)| {
            let skipped = run.partition_point(|(key, _)| before(key));
            run.get(skipped..).unwrap_or_default().iter()
        });
        entries.map(|(key, value)| (key, value)).take_while(move |(key, _)| within(key))
    }
}

impl<K: Copy + Ord, V: Clone> Default for DenseMap<K, V> {
    fn default() -> DenseMap<K, V> {
        DenseMap::new()
    }
}

impl<K: Copy + Ord, V: Clone + PartialEq> PartialEq for DenseMap<K, V> {
    fn eq(&self, other: &DenseMap<K, V>) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Copy + Ord + std::fmt::Debug, V: Clone + std::fmt::Debug> std::fmt::Debug for DenseMap<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Copy + Ord, V: Clone> FromIterator<(K, V)> for DenseMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> DenseMap<K, V> {
        let mut map = DenseMap::new();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

/// An ordered set.
#[derive(Clone, PartialEq)]
pub struct DenseSet<K: Copy + Ord>(DenseMap<K, ()>);

impl<K: Copy + Ord> DenseSet<K> {
    /// An empty one.
    #[must_use]
    pub fn new() -> DenseSet<K> {
        DenseSet(DenseMap::new())
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Whether it was not there.
    pub fn insert(&mut self, key: K) -> bool {
        self.0.insert(key, ()).is_none()
    }

    /// Whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        self.0.remove(key).is_some()
    }

    #[must_use]
    pub fn get_min(&self) -> Option<&K> {
        self.0.get_min().map(|(key, ())| key)
    }

    #[must_use]
    pub fn get_max(&self) -> Option<&K> {
        self.0.get_max().map(|(key, ())| key)
    }

    pub fn iter(&self) -> impl Iterator<Item = &K> {
        self.0.keys()
    }

    /// Those within these bounds, in order.
    pub fn range(&self, bounds: impl RangeBounds<K>) -> impl Iterator<Item = &K> {
        self.0.range(bounds).map(|(key, ())| key)
    }
}

impl<K: Copy + Ord> Default for DenseSet<K> {
    fn default() -> DenseSet<K> {
        DenseSet::new()
    }
}

impl<K: Copy + Ord + std::fmt::Debug> std::fmt::Debug for DenseSet<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    impl<K: Copy + Ord, V: Clone> DenseMap<K, V> {
        /// How full it is: entries, and the room of the runs.
        fn room(&self) -> (usize, usize) {
            let runs = self.groups.iter().flat_map(|(_, group)| group.iter());
            (self.len, runs.map(|(_, run)| run.capacity()).sum())
        }

        fn check(&self) {
            let groups = &self.groups;
            assert!(groups.windows(2).all(|w| w[0].0 < w[1].0));
            for (first, group) in groups.iter() {
                assert!(!group.is_empty() && group.len() <= FULL && group.windows(2).all(|w| w[0].0 < w[1].0));
                assert!(group.iter().all(|(of, _)| of >= first));
                for (first, run) in group.iter() {
                    assert!(!run.is_empty() && run.len() <= FULL && run.iter().all(|(key, _)| key >= first));
                }
            }
            let keys: Vec<K> = self.keys().copied().collect();
            assert!(keys.windows(2).all(|w| w[0] < w[1]));
            assert_eq!(keys.len(), self.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// It does what a `BTreeMap` does, and a copy keeps what it was.
        #[test]
        fn it_is_an_ordered_map(
            steps in prop::collection::vec((0u16..3, 0u16..3000, any::<u8>()), 0..6000),
            copied in 0usize..6000, from in 0u16..3000, to in 0u16..3000,
        ) {
            let (mut dense, mut plain) = (DenseMap::new(), BTreeMap::new());
            let mut kept = None;
            for (n, (what, key, value)) in steps.iter().enumerate() {
                if n == copied {
                    kept = Some((dense.clone(), plain.clone()));
                }
                match what {
                    0 => prop_assert_eq!(dense.remove(key), plain.remove(key)),
                    1 => prop_assert_eq!(dense.insert(*key, *value), plain.insert(*key, *value)),
                    // Also such as come in order, at either end.
                    _ => {
                        let key = if value % 2 == 0 { 3000 + n as u16 } else { 65_000 - n as u16 };
                        prop_assert_eq!(dense.insert(key, *value), plain.insert(key, *value));
                        if let Some(at) = dense.get_mut(&key) {
                            *at = 7;
                        }
                        plain.insert(key, 7);
                    }
                }
                prop_assert_eq!(dense.get(key), plain.get(key));
            }
            dense.check();
            prop_assert!(dense.iter().eq(plain.iter()));
            prop_assert_eq!(dense.get_min(), plain.iter().next());
            prop_assert!(dense.range(from..).eq(plain.range(from..)));
            prop_assert!(dense.range(..to).eq(plain.range(..to)));
            prop_assert!(dense.range(..=to).eq(plain.range(..=to)));
            if from < to {
                let after = (Bound::Excluded(from), Bound::Included(to));
                prop_assert!(dense.range(after).eq(plain.range(after)));
            }
            prop_assert!(dense == plain.iter().map(|(k, v)| (*k, *v)).collect());
            if let Some((dense, plain)) = kept {
                dense.check();
                prop_assert!(dense.iter().eq(plain.iter()), "the copy changed");
            }
        }
    }

    #[test]
    fn entries_lie_close_together_however_they_come() {
        let shuffled = (0..200_000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for (keys, most) in [
            ((0..200_000u64).collect::<Vec<_>>(), 1.01),
            ((0..200_000u64).rev().collect(), 1.2),
            (shuffled.collect(), 1.2),
        ] {
            let mut all: DenseMap<u64, ()> = keys.iter().map(|k| (*k, ())).collect();
            let (len, room) = all.room();
            assert!((room as f64) < len as f64 * most, "room for {room} of {len}");
            // Those who leave take their room with them.
            for key in keys.iter().filter(|k| *k % 8 != 0) {
                all.remove(key);
            }
            all.check();
            let (len, room) = all.room();
            assert!((room as f64) < len as f64 * 2.5, "room for {room} of {len} that are left");
        }
    }
}
