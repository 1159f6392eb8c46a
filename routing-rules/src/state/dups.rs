//! The memory of duplicates: exact keyed hashes in day buckets, never probabilistic.

use crate::event::KeyHash;
use imbl::{OrdMap, OrdSet};
use switchboard_envelope::Timestamp;

/// Ids are remembered for at least seven whole days.
const DAYS: i64 = 8;
const DAY_MS: i64 = 86_400_000;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dups {
    days: OrdMap<i64, OrdSet<KeyHash>>,
    len: usize,
}

/// Which day, counted from 1970, a moment belongs to.
#[must_use]
pub fn day(at: Timestamp) -> i64 {
    at.0.div_euclid(DAY_MS)
}

impl Dups {
    #[must_use]
    pub fn contains(&self, id: KeyHash) -> bool {
        self.days.values().any(|set| set.contains(&id))
    }

    /// Remembers an id, forgets days that are old enough, and then the oldest ids above `max`.
    pub fn insert(&mut self, id: KeyHash, now: Timestamp, max: usize) {
        let today = day(now);
        while let Some((oldest, set)) = self.days.get_min() {
            if *oldest > today - DAYS {
                break;
            }
            self.len = self.len.saturating_sub(set.len());
            self.days = self.days.without_min().1;
        }
        if self.days.entry(today).or_default().insert(id).is_none() {
            self.len += 1;
        }
        while self.len > max {
            let Some(oldest) = self.days.get_min().map(|(d, _)| *d) else { break };
            let Some(set) = self.days.get_mut(&oldest) else { break };
            let (gone, rest) = set.without_min();
            *set = rest;
            if gone.is_some() {
                self.len -= 1;
            } else {
                self.days.remove(&oldest);
            }
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every id with its day, in order.
    pub fn iter(&self) -> impl Iterator<Item = (i64, KeyHash)> + '_ {
        self.days.iter().flat_map(|(day, set)| set.iter().map(move |id| (*day, *id)))
    }

    /// From what [`Dups::iter`] gave.
    #[must_use]
    pub fn from_days(entries: impl IntoIterator<Item = (i64, KeyHash)>) -> Dups {
        let mut dups = Dups::default();
        for (day, id) in entries {
            if dups.days.entry(day).or_default().insert(id).is_none() {
                dups.len += 1;
            }
        }
        dups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_for_seven_days_and_the_oldest_go_first_when_memory_is_short() {
        let mut d = Dups::default();
        let t = |days: i64| Timestamp(days * DAY_MS + 5);
        d.insert(KeyHash(1), t(100), 10);
        d.insert(KeyHash(2), t(107), 10);
        assert!(d.contains(KeyHash(1)), "seven days later it is still known");
        d.insert(KeyHash(3), t(108), 10);
        assert!(!d.contains(KeyHash(1)));
        for i in 10..30 {
            d.insert(KeyHash(i), t(109), 10);
        }
        assert_eq!(d.len(), 10);
        assert!(!d.contains(KeyHash(2)));
        assert_eq!(Dups::from_days(d.iter()), d);
    }
}
