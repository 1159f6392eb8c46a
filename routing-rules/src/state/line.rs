//! Where somebody stands in a queue, and how fast it moves.

use super::dense::DenseSet;
use super::{Conversation, State, WaitClass, WaitKey, day};
use crate::pack::Name;
use serde::{Deserialize, Serialize};
use switchboard_envelope::Timestamp;

/// A place further back than this is not counted out: the line would be walked for a number that helps nobody.
pub const FAR_BACK: usize = 1_000;
/// How many conversations must have left a queue before anything is said about its speed.
const ENOUGH: u32 = 3;
/// A longer silence says that nobody was there, and not how fast they work.
const LONGEST_GAP_MS: i64 = 3_600_000;

/// How fast conversations leave a queue while others wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// The mean time between two that leave; newer ones count more.
    pub gap_ms: i64,
    /// How many gaps were seen.
    pub seen: u32,
    pub last: Timestamp,
    /// Others were waiting when the last one left, so that the time until the next is work and not idleness.
    pub busy: bool,
    /// First responses of one day.
    #[serde(default)]
    pub kept: Kept,
}

/// First responses that were due on a day, and those of them that came in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Days since 1970, in UTC.
    pub day: i64,
    pub due: u64,
    pub in_time: u64,
}

impl Kept {
    fn count(&mut self, today: i64, in_time: bool) {
        if self.day != today {
            *self = Kept { day: today, ..Kept::default() };
        }
        self.due += 1;
        self.in_time += u64::from(in_time);
    }
}

impl Pace {
    fn left(&mut self, now: Timestamp, others_wait: bool) {
        if self.busy {
            let gap = now.since(self.last).clamp(0, LONGEST_GAP_MS);
            let weight = i64::from(self.seen.min(7));
            self.gap_ms = (self.gap_ms.saturating_mul(weight) + gap) / (weight + 1);
            self.seen = self.seen.saturating_add(1);
        }
        self.last = now;
        self.busy = others_wait;
    }
}

impl State {
    /// One left a queue for an agent.
    pub(super) fn left_queue(&mut self, queue: &Name) {
        let (now, others) = (self.now, self.depth(queue) > 0);
        self.paces.entry(queue.clone()).or_default().left(now, others);
    }

    /// A first response came, or did not come in time.
    pub(super) fn count_response(&mut self, queue: &Name, in_time: bool) {
        let today = day(self.now);
        self.paces.entry(queue.clone()).or_default().kept.count(today, in_time);
    }

    /// Today's first responses of a queue: how many were due, and how many of them came in time.
    #[must_use]
    pub fn kept_today(&self, queue: &str) -> (u64, u64) {
        let today = self.paces.get(queue).map(|p| p.kept).filter(|k| k.day == day(self.now)).unwrap_or_default();
        (today.due, today.in_time)
    }

    /// The place in its queue of a conversation that waits, from 1; `None` when it does not wait, or stands further back than
    /// [`FAR_BACK`].
    #[must_use]
    pub fn place(&self, c: &Conversation) -> Option<usize> {
        let (queue, key) = (c.queue.as_deref()?, WaitKey::of(c)?);
        let mut ahead = 0;
        for (_, set) in self.classes(queue) {
            ahead += set.range(..key).take(FAR_BACK - ahead).count();
            if ahead >= FAR_BACK {
                return None;
            }
        }
        Some(ahead + 1)
    }

    /// Since when the one waits who waits longest in a queue.
    #[must_use]
    pub fn oldest(&self, queue: &str) -> Option<Timestamp> {
        let first = |class: &WaitClass, set: &DenseSet<WaitKey>| match class.newest() {
            true => set.get_max().map(WaitKey::since),
            false => set.get_min().map(WaitKey::since),
        };
        self.classes(queue).filter_map(|(class, set)| first(class, set)).min()
    }

    /// How long the one at a place of a queue will wait, by how fast conversations left it lately; `None` while too few have.
    #[must_use]
    pub fn estimated_wait(&self, queue: &str, place: usize) -> Option<i64> {
        let pace = self.paces.get(queue).filter(|p| p.seen >= ENOUGH)?;
        Some(pace.gap_ms.saturating_mul(i64::try_from(place).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_in_which_somebody_waited_counts() {
        let mut pace = Pace::default();
        let mut now = Timestamp(0);
        for (after, others) in [(0, true), (60_000, true), (60_000, false), (86_400_000, true), (60_000, true)] {
            now = now.plus(after);
            pace.left(now, others);
        }
        assert_eq!((pace.gap_ms, pace.seen), (60_000, 3));
        now = now.plus(86_400_000);
        pace.left(now, true);
        assert_eq!(pace.gap_ms, (3 * 60_000 + LONGEST_GAP_MS) / 4, "a night is no more than an hour");
        pace.left(now.plus(-5), true);
        assert!(pace.gap_ms >= 0, "time that goes back is no time");
    }
}
