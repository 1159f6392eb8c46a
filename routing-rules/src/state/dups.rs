//! The memory of duplicates: exact keyed hashes by day and in pieces, never probabilistic.

use super::DenseSet;
use crate::event::KeyHash;
use imbl::OrdMap;
use std::collections::BTreeSet;
use switchboard_envelope::Timestamp;

/// Ids are remembered for this many days on which anything came: at least seven whole days. They are counted, not measured, for
/// a clock that is ahead for a moment must not make everything look old.
const DAYS: usize = 8;
const DAY_MS: i64 = 86_400_000;

/// The memory is kept in at least this many pieces when it is full, so that little is forgotten at once.
const PIECES: usize = 16;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dups {
    /// Pieces in the order of their making, each of one day.
    pieces: OrdMap<u64, Piece>,
    len: usize,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Piece {
    day: i64,
    ids: DenseSet<KeyHash>,
}

/// Which day, counted from 1970, a moment belongs to.
#[must_use]
pub fn day(at: Timestamp) -> i64 {
    at.0.div_euclid(DAY_MS)
}

impl Dups {
    #[must_use]
    pub fn contains(&self, id: KeyHash) -> bool {
        // What is repeated is mostly young.
        self.pieces.values().rev().any(|piece| piece.ids.contains(&id))
    }

    /// Remembers an id, and forgets days that are old enough, and the oldest piece when there are more than `max` ids.
    pub fn insert(&mut self, id: KeyHash, now: Timestamp, max: usize) {
        let today = day(now);
        if self.pieces.get_max().is_some_and(|(_, newest)| newest.day != today) {
            self.forget_all_but(DAYS - 1);
        }
        let last = self.pieces.get_max().map(|(n, piece)| (*n, piece.day == today && piece.ids.len() < max / PIECES));
        let number = match last {
            Some((n, true)) => n,
            Some((n, false)) => n + 1,
            None => 0,
        };
        let piece = self.pieces.entry(number).or_insert_with(|| Piece { day: today, ids: DenseSet::new() });
        if piece.ids.insert(id) {
            self.len += 1;
        }
        while self.len > max && self.pieces.len() > 1 {
            self.forget_oldest();
        }
    }

    /// Forgets one id, as that of a record which was never decided.
    pub fn remove(&mut self, id: KeyHash) {
        let found = self.pieces.iter().rev().find(|(_, piece)| piece.ids.contains(&id)).map(|(n, _)| *n);
        if let Some(n) = found
            && let Some(piece) = self.pieces.get_mut(&n)
            && piece.ids.remove(&id)
        {
            self.len -= 1;
            if piece.ids.is_empty() {
                self.pieces.remove(&n);
            }
        }
    }

    /// How many ids go for lack of room when another one of this moment comes: the promise does not hold for them any more.
    #[must_use]
    pub fn displaced(&self, now: Timestamp, max: usize) -> usize {
        let Some((newest, piece)) = self.pieces.get_max() else { return 0 };
        // The first of a new day forgets old days first, which is no lack of room.
        if self.len < max || piece.day != day(now) {
            return 0;
        }
        let grows = piece.ids.len() < max / PIECES;
        let mut left = self.len + 1;
        for (n, piece) in &self.pieces {
            if left <= max || (grows && n == newest) {
                break;
            }
            left = left.saturating_sub(piece.ids.len());
        }
        self.len + 1 - left
    }

    /// Days that are still to come were counted by a clock that was ahead.
    pub(super) fn set_back(&mut self, now: Timestamp) {
        let today = day(now);
        self.pieces = self.pieces.iter().map(|(n, p)| (*n, Piece { day: p.day.min(today), ..p.clone() })).collect();
    }

    /// Forgets whole days, the oldest first, until so many are left.
    fn forget_all_but(&mut self, days: usize) {
        let known: BTreeSet<i64> = self.pieces.values().map(|piece| piece.day).collect();
        for old in known.iter().take(known.len().saturating_sub(days)) {
            while self.pieces.get_min().is_some_and(|(_, oldest)| oldest.day <= *old) {
                self.forget_oldest();
            }
        }
    }

    fn forget_oldest(&mut self) {
        let (gone, rest) = self.pieces.without_min();
        self.pieces = rest;
        self.len = self.len.saturating_sub(gone.map_or(0, |piece| piece.ids.len()));
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every id with its piece and day, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, i64, KeyHash)> + '_ {
        self.pieces.iter().flat_map(|(n, piece)| piece.ids.iter().map(move |id| (*n, piece.day, *id)))
    }

    /// From what [`Dups::iter`] gave.
    #[must_use]
    pub fn from_pieces(entries: impl IntoIterator<Item = (u64, i64, KeyHash)>) -> Dups {
        let mut dups = Dups::default();
        for (n, day, id) in entries {
            let piece = dups.pieces.entry(n).or_insert_with(|| Piece { day, ids: DenseSet::new() });
            if piece.ids.insert(id) {
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
        for day in 100..108 {
            d.insert(KeyHash(u128::try_from(day).unwrap_or(0)), t(day), 100);
        }
        assert!(d.contains(KeyHash(100)), "seven days later it is still known");
        d.insert(KeyHash(3), t(108), 100);
        assert!(!d.contains(KeyHash(100)) && d.contains(KeyHash(101)));
        // Of one day too the oldest go, whatever their hashes.
        d.insert(KeyHash(2), t(109), 160);
        for i in (1000..1500).rev() {
            let (before, displaced) = (d.len(), d.displaced(t(109), 160));
            d.insert(KeyHash(i), t(109), 160);
            assert_eq!(before + 1 - d.len(), displaced, "what goes for lack of room is told");
            assert!(d.contains(KeyHash(i)), "the newest is always known");
            assert!(d.len() <= 160);
        }
        assert!(!d.contains(KeyHash(107)) && !d.contains(KeyHash(1499)));
        assert!((1000..1150).all(|i| d.contains(KeyHash(i))), "the newest are kept");
        assert_eq!(Dups::from_pieces(d.iter()), d);
        let before = d.len();
        d.remove(KeyHash(1001));
        d.remove(KeyHash(1001));
        assert!(!d.contains(KeyHash(1001)) && d.contains(KeyHash(1002)) && d.len() == before - 1);
        d.insert(KeyHash(7), t(110), 160);
        d.remove(KeyHash(7));
        assert_eq!(Dups::from_pieces(d.iter()), d, "a day without any is no day");
    }

    #[test]
    fn a_clock_that_was_ahead_by_weeks_makes_nothing_forgotten() {
        let (mut d, right, ahead) = (Dups::default(), Timestamp(100 * DAY_MS), Timestamp(141 * DAY_MS));
        d.insert(KeyHash(1), right, 100);
        for n in 2..20 {
            d.insert(KeyHash(n), ahead, 100);
            d.set_back(right);
            d.insert(KeyHash(n + 20), right, 100);
        }
        assert!(d.contains(KeyHash(1)) && d.contains(KeyHash(2)));
        assert!(d.iter().all(|(_, day, _)| day == 100));
    }
}
