//! A pack that is tried on a share of the new conversations, and how it does beside the one in force. Which conversation it decides
//! is drawn when that opens, and is part of the log from then on.

use super::{Conversation, State};
use crate::event::{CanaryEnd, ClockKind, Public};
use crate::ids::ContactId;
use crate::pack::{ConvStatus, Name, RulePack};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_envelope::{Author, Timestamp};

/// Places that are counted by name; an `agent` or `queue` beyond them is counted as `others`.
const PLACES: usize = 200;
/// Packs in force that are remembered, with when each of them came.
pub(super) const PACKS: usize = 20;

/// The two packs that may decide: the one in force, and the one that is tried beside it.
#[derive(Clone, Copy, Debug)]
pub struct InForce<'a> {
    pub pack: &'a RulePack,
    /// Counts only while the state says that it is tried.
    pub tried: Option<&'a RulePack>,
}

impl<'a> From<&'a RulePack> for InForce<'a> {
    fn from(pack: &'a RulePack) -> InForce<'a> {
        InForce { pack, tried: None }
    }
}

impl<'a> InForce<'a> {
    /// The pack that decides a conversation of this [`Conversation::trial`].
    #[must_use]
    pub fn of(self, state: &State, trial: u32) -> &'a RulePack {
        match (self.tried, state.trying()) {
            (Some(tried), Some(canary)) if canary.tries(trial) && canary.pack == tried.hash => tried,
            _ => self.pack,
        }
    }

    /// Both of them, or the one that there is.
    pub(crate) fn each(self, state: &State) -> impl Iterator<Item = &'a RulePack> + use<'a> {
        let tried = self.tried.filter(|p| state.trying().is_some_and(|c| c.pack == p.hash));
        std::iter::once(self.pack).chain(tried)
    }
}

/// A trial of a pack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// Counts trials, from one.
    pub number: u32,
    /// The pack that is tried, and the one in force beside it.
    pub pack: String,
    pub beside: String,
    /// Of a hundred new conversations so many are decided by it.
    pub percent: u8,
    pub since: Timestamp,
    pub ended: Option<(Timestamp, CanaryEnd)>,
    pub tried: Tally,
    /// Conversations of the same time under the pack in force.
    pub others: Tally,
}

/// What became of the conversations of one pack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    pub conversations: u64,
    /// Where they were put first: `queue billing`, `agent ann`, `closed`, `snoozed`.
    pub places: BTreeMap<String, u64>,
    pub auto_replies: u64,
    /// Those that one of ours has answered, by the time that took: see [`Tally::answered_within`].
    pub answers: BTreeMap<u16, u64>,
    /// Clocks that were breached.
    pub breached: u64,
}

/// Times in steps of an eighth or less: the position of the highest bit, then the next three bits.
fn step(ms: i64) -> u16 {
    let ms = u64::try_from(ms).unwrap_or(0).max(8);
    let high = 63 - ms.leading_zeros();
    let next = (ms >> (high - 3)) & 7;
    u16::try_from(u64::from(high) * 8 + next).unwrap_or(u16::MAX)
}

/// The longest time of a step.
fn end_of(step: u16) -> i64 {
    let (high, next) = (u32::from(step / 8), i64::from(step % 8));
    if high >= 62 {
        return i64::MAX;
    }
    ((8 + next + 1) << high.saturating_sub(3)) - 1
}

impl Tally {
    /// How many were answered by one of ours.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answers.values().sum()
    }

    /// The time within which this share of the answered ones were first answered, in milliseconds and up to an eighth too long;
    /// `None` while none was.
    #[must_use]
    pub fn answered_within(&self, percent: u64) -> Option<i64> {
        let wanted = (self.answered() * percent.min(100)).div_ceil(100).max(1);
        let mut seen = 0;
        let found = self.answers.iter().find(|(_, n)| {
            seen += **n;
            seen >= wanted
        });
        found.map(|(step, _)| end_of(*step))
    }

    fn put(&mut self, place: String) {
        let known = self.places.len() < PLACES || self.places.contains_key(&place);
        *self.places.entry(if known { place } else { "others".to_owned() }).or_insert(0) += 1;
    }
}

impl Canary {
    /// Whether it decides conversations of this [`Conversation::trial`].
    #[must_use]
    pub fn tries(&self, trial: u32) -> bool {
        self.ended.is_none() && trial == self.mark(true)
    }

    /// What a conversation of this trial keeps of it.
    fn mark(&self, tried: bool) -> u32 {
        self.number.saturating_mul(2).saturating_add(u32::from(tried))
    }

    fn tally(&mut self, trial: u32) -> Option<&mut Tally> {
        match trial {
            0 => None,
            t if t == self.mark(true) => Some(&mut self.tried),
            t if t == self.mark(false) => Some(&mut self.others),
            _ => None,
        }
    }
}

impl State {
    /// The pack that is tried, while one is.
    #[must_use]
    pub fn trying(&self) -> Option<&Canary> {
        self.canary.as_deref().filter(|c| c.ended.is_none())
    }

    /// What a new conversation of this contact keeps of the trial: 0 while there is none. A contact is drawn once for a trial, and
    /// whoever was drawn for a small share is drawn for a larger one.
    pub(crate) fn draw(&self, contact: ContactId) -> u32 {
        let Some(canary) = self.trying() else { return 0 };
        let drawn = self.salt.hash("canary", &[&canary.number.to_be_bytes(), &contact.to_bytes()]) % 10_000;
        canary.mark(drawn < u128::from(canary.percent) * 100)
    }

    pub(super) fn apply_canary(&mut self, event: &Public) {
        match event {
            Public::CanaryBegan { pack, percent, at } => {
                let before = self.canary.as_deref();
                let canary = match self.trying().filter(|c| c.pack == *pack) {
                    Some(same) => Canary { percent: *percent, ..same.clone() },
                    None => Canary {
                        number: before.map_or(0, |c| c.number).saturating_add(1),
                        pack: pack.clone(),
                        beside: self.pack.clone(),
                        percent: *percent,
                        since: *at,
                        ..Canary::default()
                    },
                };
                self.canary = Some(Arc::new(canary));
            }
            Public::CanaryEnded { at, how } => {
                if let Some(canary) = self.canary.as_mut().filter(|c| c.ended.is_none()) {
                    Arc::make_mut(canary).ended = Some((*at, *how));
                }
            }
            _ => {}
        }
    }

    pub(super) fn now_in_force(&mut self, hash: &str) {
        self.previous_pack = Some(std::mem::replace(&mut self.pack, hash.to_owned())).filter(|p| !p.is_empty());
        self.packs.push((hash.to_owned(), self.now));
        if self.packs.len() > PACKS {
            self.packs.remove(0);
        }
    }

    /// Counts what an event says of a conversation of the trial, before it is folded.
    pub(super) fn count_trial(&mut self, event: &Public) {
        let Some(canary) = &mut self.canary else { return };
        if let Public::Opened { trial, .. } = event {
            if Arc::make_mut(canary).tally(*trial).is_some() {
                let tally = Arc::make_mut(canary).tally(*trial);
                tally.into_iter().for_each(|t| t.conversations += 1);
            }
            return;
        }
        let Some(c) = event.conversation().and_then(|id| self.conversations.get(&id)).filter(|c| c.trial > 0) else {
            return;
        };
        let Some(what) = counted(c, event, self.cursor.seq) else { return };
        let Some(tally) = Arc::make_mut(canary).tally(c.trial) else { return };
        match what {
            Counted::Place(place) => tally.put(place),
            Counted::AutoReply => tally.auto_replies += 1,
            Counted::Answer(ms) => *tally.answers.entry(step(ms)).or_insert(0) += 1,
            Counted::Breach => tally.breached += 1,
        }
    }
}

enum Counted {
    Place(String),
    AutoReply,
    Answer(i64),
    Breach,
}

fn counted(c: &Conversation, event: &Public, seq: u64) -> Option<Counted> {
    let nowhere = || c.status == ConvStatus::Pending && c.queue.is_none() && c.agent.is_none();
    // Where it was put in the decision that opened it, and not where it went later.
    let first = |word: &str, name: Option<&Name>| {
        let place = name.map_or_else(|| word.to_owned(), |name| format!("{word} {name}"));
        (c.opened_by == seq && nowhere()).then_some(Counted::Place(place))
    };
    match event {
        Public::Queued { queue, .. } => first("queue", Some(queue)),
        Public::Assigned { agent, .. } => first("agent", Some(agent)),
        Public::Closed { .. } => first("closed", None),
        Public::Snoozed { .. } => first("snoozed", None),
        Public::SendQueued { notice: true, .. } => None,
        Public::SendQueued { author: Author::Auto { .. }, .. } => Some(Counted::AutoReply),
        Public::SendQueued { at, .. } if !c.answered => Some(Counted::Answer(at.since(c.opened_at))),
        Public::ClockBreached { clock, .. } if *clock != ClockKind::Waiting => Some(Counted::Breach),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_in_steps_of_an_eighth() {
        for ms in [0, 7, 8, 9, 15, 16, 100, 999, 60_000, 86_400_000, i64::MAX / 8] {
            let end = end_of(step(ms));
            assert!(end >= ms && end <= ms.max(8) + ms.max(8) / 8, "{ms}: up to {end}");
        }
        assert_eq!(end_of(step(i64::MAX)), i64::MAX);
        let mut tally = Tally::default();
        assert_eq!(tally.answered_within(50), None);
        for ms in [1_000, 2_000, 4_000, 400_000] {
            *tally.answers.entry(step(ms)).or_insert(0) += 1;
        }
        let within = |percent| tally.answered_within(percent).unwrap_or_default();
        assert!((2_000..2_251).contains(&within(50)) && (400_000..450_000).contains(&within(90)), "{}", within(50));
        assert!((1_000..1_126).contains(&within(0)), "nobody is no share");
    }

    #[test]
    fn the_names_of_places_are_bounded() {
        let mut tally = Tally::default();
        for n in 0..PLACES + 50 {
            tally.put(format!("queue q{n}"));
        }
        tally.put("queue q1".into());
        assert_eq!(tally.places.len(), PLACES + 1);
        assert_eq!((tally.places["queue q1"], tally.places["others"]), (2, 50));
    }
}
