use std::collections::VecDeque;
use switchboard_envelope::ReceiptStatus;

/// What the widget has shown, as far as it said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// The sequence of one of our messages.
    pub up_to: u64,
    pub read: bool,
}

/// Turns what one connection claims to have shown into the fewest confirmations: only for messages of ours that we really
/// sent to it, only forwards, several as one.
#[derive(Clone, Debug, Default)]
pub struct Confirmations {
    /// Sequences of our messages that were sent on this connection and are not read yet, ascending.
    shown: VecDeque<u64>,
    delivered: u64,
    read: u64,
    claimed_delivered: u64,
    claimed_read: u64,
}

/// Beyond this many unread messages the oldest are confirmed with their successors.
const MAX_SHOWN: usize = 256;

impl Confirmations {
    /// One of our messages was sent to the widget, and its status then.
    pub fn sent(&mut self, seq: u64, status: Option<ReceiptStatus>) {
        match status {
            Some(ReceiptStatus::Read | ReceiptStatus::Failed) => return,
            Some(ReceiptStatus::Delivered) => self.delivered = self.delivered.max(seq),
            Some(ReceiptStatus::Accepted) | None => {}
        }
        if self.shown.back().is_none_or(|last| *last < seq) {
            self.shown.push_back(seq);
            if self.shown.len() > MAX_SHOWN {
                self.shown.pop_front();
            }
        }
    }

    /// The widget said that it holds, or showed, everything up to `up_to`.
    pub fn claim(&mut self, up_to: u64, read: bool) {
        let claimed = if read { &mut self.claimed_read } else { &mut self.claimed_delivered };
        *claimed = (*claimed).max(up_to);
    }

    /// What is to be recorded now; at most one of each kind, and each only once.
    pub fn take(&mut self) -> Vec<Confirmation> {
        let mut out = vec![];
        if let Some(up_to) = self.newest(self.claimed_read).filter(|seq| *seq > self.read) {
            self.read = up_to;
            // What was read was delivered.
            self.delivered = self.delivered.max(up_to);
            out.push(Confirmation { up_to, read: true });
        }
        if let Some(up_to) = self.newest(self.claimed_delivered).filter(|seq| *seq > self.delivered) {
            self.delivered = up_to;
            out.push(Confirmation { up_to, read: false });
        }
        while self.shown.front().is_some_and(|seq| *seq <= self.read) {
            self.shown.pop_front();
        }
        out
    }

    /// The newest message of ours not beyond the claim, so that a claim of any number names a real message.
    fn newest(&self, claimed: u64) -> Option<u64> {
        self.shown.iter().rev().find(|seq| **seq <= claimed).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_coalesced_and_bound_to_what_was_sent() {
        let mut c = Confirmations::default();
        c.claim(u64::MAX, true);
        assert_eq!(c.take(), [], "nothing of ours was sent yet");
        let mut c = Confirmations::default();
        for seq in [10, 20, 30] {
            c.sent(seq, None);
        }
        c.claim(12, false);
        c.claim(25, false);
        assert_eq!(c.take(), [Confirmation { up_to: 20, read: false }]);
        c.claim(25, false);
        assert_eq!(c.take(), []);
        c.claim(u64::MAX, true);
        assert_eq!(c.take(), [Confirmation { up_to: 30, read: true }]);
        c.claim(30, false);
        c.claim(5, true);
        assert_eq!(c.take(), [], "never backwards, and read implies delivered");
    }

    #[test]
    fn what_history_knows_already_is_not_confirmed_again() {
        let mut c = Confirmations::default();
        c.sent(10, Some(ReceiptStatus::Read));
        c.sent(20, Some(ReceiptStatus::Delivered));
        c.claim(20, false);
        assert_eq!(c.take(), []);
        c.claim(20, true);
        assert_eq!(c.take(), [Confirmation { up_to: 20, read: true }]);
    }

    #[test]
    fn a_thousand_unread_messages_take_bounded_memory() {
        let mut c = Confirmations::default();
        (1..=1000).for_each(|seq| c.sent(seq, None));
        assert_eq!(c.shown.len(), MAX_SHOWN);
        c.claim(1000, true);
        assert_eq!(c.take(), [Confirmation { up_to: 1000, read: true }]);
        assert!(c.shown.is_empty());
    }
}
