//! When a transaction begins. A commit costs about the same for one change as for some hundred, so under load changes are
//! gathered; a change that comes alone, or that somebody waits for, is committed at once.

use std::time::Duration;
use tokio::time::Instant;

/// The longest that a change waits for others.
pub(super) const LONGEST: Duration = Duration::from_millis(100);
/// So many times as long as the last commit took is left before the next: commits take a small part of a processor until
/// changes come so fast that they wait the longest.
const REST: u32 = 16;
/// Events that are not gathered any longer: they take memory.
pub(super) const MANY: usize = 16_384;

pub(super) struct Pace {
    /// Before it nothing need be committed.
    next: Instant,
}

impl Pace {
    pub fn new(now: Instant) -> Pace {
        Pace { next: now }
    }

    /// How long what is there may still wait; `None` when it is due. `gathered` are events, `waited_for` says that somebody
    /// waits.
    pub fn wait(&self, now: Instant, gathered: usize, waited_for: bool) -> Option<Duration> {
        if waited_for || gathered >= MANY {
            return None;
        }
        Some(self.next.saturating_duration_since(now)).filter(|d| !d.is_zero())
    }

    /// A commit ended now, and took so long.
    pub fn committed(&mut self, now: Instant, took: Duration) {
        self.next = now + (took * REST).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_gathered_for_a_while_and_no_longer() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut pace = Pace::new(start);
        assert_eq!(pace.wait(start, 1, false), None, "the first change is committed at once");
        pace.committed(start, ms(1));
        assert_eq!(pace.wait(start + ms(4), 1, false), Some(ms(12)), "a cheap commit is soon followed by the next");
        assert_eq!(pace.wait(start + ms(16), 1, false), None);
        assert_eq!(pace.wait(start + ms(5000), 1, false), None, "a change after silence is committed at once");
        pace.committed(start, ms(900));
        assert_eq!(pace.wait(start, 1, false), Some(LONGEST), "however slow the disk is");
        assert_eq!(pace.wait(start, 1, true), None, "somebody waits");
        assert_eq!(pace.wait(start, MANY, false), None, "memory is bounded");
    }
}
