//! What can go wrong, and the dice that decide when it does.

use super::store::Write;
use crate::log::Class;

/// Chances in a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// A duplicate is not recognised, and stored again.
    pub forget_duplicate: u16,
    /// A write happens, and its answer is lost.
    pub answer_lost: u16,
    /// A write does not happen, and nobody says so.
    pub request_lost: u16,
    /// A write is not answered, and happens after one of the next eight calls has.
    pub late: u16,
    /// A read is not answered.
    pub lost_read: u16,
    /// An outbox goes back and delivers records again, also acknowledged ones.
    pub redeliver: u16,
    /// An acknowledgement is forgotten: another outbox gets the record again.
    pub ack_lost: u16,
    /// A commit ends after its frame and some of its sends, and is not answered. Other writes do not happen.
    pub half: u16,
    /// Whoever leads does not seem to.
    pub leader_unseen: u16,
    /// A call lets whatever else can run go first, and again with the same chance.
    pub overtaken: u16,
}

/// What becomes of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Answered,
    AnswerLost,
    RequestLost,
    Late,
    Half,
}

/// How much room the disk has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    #[default]
    Enough,
    /// Messages are refused; results, commands and frames fit.
    ForVital,
    /// Everything fits but new claims.
    NoClaims,
    /// Nothing fits. What only removes still works.
    None,
}

impl Room {
    pub(super) fn refuses(self, write: &Write) -> bool {
        match self {
            Room::Enough => false,
            Room::ForVital => matches!(write, Write::Ingest(record) if record.class == Class::Message),
            Room::NoClaims => matches!(write, Write::Claim { .. }),
            Room::None => !write.only_removes(),
        }
    }
}

impl Faults {
    pub(super) fn fate(&self, dice: &mut Dice) -> Fate {
        let mut roll = dice.below(1000);
        for (chance, fate) in [
            (self.answer_lost, Fate::AnswerLost),
            (self.request_lost, Fate::RequestLost),
            (self.late, Fate::Late),
            (self.half, Fate::Half),
        ] {
            let chance = u64::from(chance);
            if roll < chance {
                return fate;
            }
            roll -= chance;
        }
        Fate::Answered
    }
}

/// SplitMix64: small, and the same on every machine.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    pub(super) fn chance(&mut self, per_mille: u16) -> bool {
        per_mille > 0 && self.below(1000) < u64::from(per_mille)
    }
}
