//! Whether the log is still the one that this process read: a broker can come back with an older copy of its store.

use super::{Seq, frame::FrameId};
use crate::clock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use switchboard_envelope::Timestamp;

/// What a process knows of the lives of its log. A new life begins when LOG or IN turns out to be another than was read; what
/// was read before holds no more. While LOG is in doubt nothing is claimed, until a router has rebased.
#[derive(Debug, Default)]
pub struct Doubt {
    log: AtomicU64,
    inn: AtomicU64,
    doubted: AtomicBool,
    void: AtomicU64,
    /// When IN last turned out to be another; 0 for never.
    inn_at: AtomicI64,
}

impl Doubt {
    /// Of a log that nobody has read yet.
    #[must_use]
    pub const fn new() -> Doubt {
        Doubt {
            log: AtomicU64::new(0),
            inn: AtomicU64::new(0),
            doubted: AtomicBool::new(false),
            void: AtomicU64::new(0),
            inn_at: AtomicI64::new(0),
        }
    }

    /// Changes when LOG or IN begins another life. Whoever reads compares it after each read.
    #[must_use]
    pub fn life(&self) -> u64 {
        self.log.load(Ordering::SeqCst).wrapping_add(self.inn.load(Ordering::SeqCst))
    }

    /// Changes when LOG begins another life.
    #[must_use]
    pub fn log_life(&self) -> u64 {
        self.log.load(Ordering::SeqCst)
    }

    /// LOG is not the one that was read.
    pub fn log_is_another(&self) {
        self.doubted.store(true, Ordering::SeqCst);
        self.log.fetch_add(1, Ordering::SeqCst);
    }

    /// IN is not the one that was read.
    pub fn in_is_another(&self) {
        self.inn_at.store(clock::now().0, Ordering::SeqCst);
        self.inn.fetch_add(1, Ordering::SeqCst);
    }

    /// When this process last found that IN is not the one that it had read. Where it lacks nothing that was decided nobody rebases,
    /// and what was accepted and not decided yet may be gone all the same.
    #[must_use]
    pub fn in_lost_at(&self) -> Option<Timestamp> {
        Some(Timestamp(self.inn_at.load(Ordering::SeqCst))).filter(|at| at.0 > 0)
    }

    /// LOG is another one than this process knew, and no router has rebased it, as far as this process knows.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::SeqCst)
    }

    /// A router has rebased this life of LOG: records of OUT up to `out` are not sent any more. It may be less than a rebase
    /// before said, where OUT came back shorter: what is numbered on from there is new.
    pub fn rebased(&self, life: u64, out: Seq) {
        if self.log_life() == life {
            self.void.store(out, Ordering::SeqCst);
            self.doubted.store(false, Ordering::SeqCst);
            // Another life may have begun in between.
            if self.log_life() != life {
                self.doubted.store(true, Ordering::SeqCst);
            }
        }
    }

    /// Whether a record of OUT, which was taken from it in this life of LOG, must not be sent.
    #[must_use]
    pub fn is_void(&self, taken_in: u64, seq: Seq) -> bool {
        self.log_life() != taken_in || seq <= self.void.load(Ordering::SeqCst)
    }
}

/// What this process, or its history, has read of LOG.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub frame: Seq,
    /// Which frame that is: in another life of LOG another one may have its number. 0 where that is not known.
    pub id: FrameId,
    /// The number of the last rebase up to that frame; 0 before the first. One with a higher number knows of what was read.
    pub rebase: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_another_life_or_from_before_the_rebase_is_not_sent() {
        let doubt = Doubt::default();
        let before = doubt.log_life();
        assert!(!doubt.is_void(before, 9) && !doubt.is_doubted());
        doubt.log_is_another();
        assert!(doubt.is_doubted() && doubt.is_void(before, 9), "it was taken before");
        let now = doubt.log_life();
        doubt.rebased(before, 5);
        assert!(doubt.is_doubted(), "that was a rebase of another life");
        doubt.rebased(now, 9);
        assert!(!doubt.is_doubted() && doubt.is_void(now, 9) && !doubt.is_void(now, 10));
    }

    #[test]
    fn what_follows_a_shorter_out_is_sent_although_a_rebase_before_it_numbered_on_from_further_up() {
        let doubt = Doubt::default();
        doubt.rebased(doubt.log_life(), 40);
        // OUT alone came back older.
        doubt.rebased(doubt.log_life(), 20);
        assert!(doubt.is_void(doubt.log_life(), 20) && !doubt.is_void(doubt.log_life(), 21));
        // And LOG with it.
        doubt.log_is_another();
        let now = doubt.log_life();
        doubt.rebased(now, 10);
        assert!(doubt.is_void(now, 10) && !doubt.is_void(now, 11));
        doubt.rebased(now - 1, 30);
        assert!(!doubt.is_void(now, 11), "a rebase of another life says nothing of this one");
    }

    #[test]
    fn a_new_life_of_in_changes_what_readers_compare_and_doubts_no_claim() {
        let doubt = Doubt::default();
        let before = (doubt.life(), doubt.log_life());
        assert_eq!(doubt.in_lost_at(), None);
        doubt.in_is_another();
        assert!(doubt.in_lost_at().is_some_and(|at| clock::now().since(at) < 60_000));
        assert_ne!(doubt.life(), before.0);
        assert_eq!((doubt.log_life(), doubt.is_doubted()), (before.1, false));
    }
}
