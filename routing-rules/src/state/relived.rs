//! Which deadlines may have passed in frames that are lost, so that somebody may have been told of them.
//!
//! Their time does not say so, for a clock may have been ahead in those frames. Who set them does: what was set before the loss, or
//! since by what came before it, may have passed; what was set because of something that came later has not.

use super::{State, Timer};
use crate::ids::ConvId;
use crate::pack::Name;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use switchboard_envelope::Timestamp;

/// Those of an entity's deadlines, in the order in which it lists them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Relived(u8);

impl Relived {
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0 == 0
    }

    /// All that are set.
    pub(super) fn all(set: &[Option<Timestamp>]) -> Relived {
        let bits = set.iter().enumerate().filter(|(_, at)| at.is_some());
        Relived(bits.fold(0, |bits, (i, _)| bits | 1 << i))
    }

    /// What was set otherwise is what `relives` says, and the rest is what it was.
    pub(super) fn follow(&mut self, before: &[Option<Timestamp>], after: &[Option<Timestamp>], relives: bool) {
        for (i, (_, after)) in before.iter().zip(after).enumerate().filter(|(_, (before, after))| before != after) {
            self.0 &= !(1 << i);
            self.0 |= u8::from(relives && after.is_some()) << i;
        }
    }

    fn is_due(self, deadlines: &[Option<Timestamp>], now: Timestamp) -> bool {
        let due = |(i, at): (usize, &Option<Timestamp>)| self.0 & 1 << i != 0 && at.is_some_and(|at| at <= now);
        deadlines.iter().enumerate().any(due)
    }
}

impl State {
    /// Whether what a timer that is due leads to may have been told in frames that are lost.
    pub(crate) fn may_have_fired(&self, timer: &Timer, now: Timestamp) -> bool {
        match timer {
            Timer::Conv(id) => self
                .conversations
                .get(id)
                .is_some_and(|c| !c.relived.is_none() && c.relived.is_due(&c.deadlines(), now)),
            Timer::Agent(name) => self.agents.get(name).is_some_and(|a| a.relived.is_due(&a.deadlines(), now)),
            Timer::Send(id) => self.sends.get(id).is_some_and(|s| s.relived),
            Timer::Join(key) => self.joins.get(key).is_some_and(|join| join.relived),
            Timer::Assign => self.assign_relived,
            Timer::Channel(_) => false,
        }
    }

    /// Frames are lost that came after this state.
    pub(super) fn frames_are_lost(&mut self) {
        self.relives = true;
        self.assign_relived = self.assign_at.is_some();
        for id in self.conversations.keys().copied().collect::<Vec<ConvId>>() {
            if let Some(c) = self.conversations.get_mut(&id) {
                let relived = Relived::all(&c.times());
                Arc::make_mut(c).relived = relived;
            }
        }
        for name in self.agents.keys().cloned().collect::<Vec<Name>>() {
            self.edit_agent(&name, |a| a.relived = Relived::all(&a.deadlines()));
        }
        for key in self.joins.keys().copied().collect::<Vec<_>>() {
            if let Some(join) = self.joins.get_mut(&key) {
                Arc::make_mut(join).relived = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_what_set_it_last() {
        let at = |ms| Some(Timestamp(ms));
        let mut relived = Relived::all(&[at(5), None, at(7)]);
        assert!(relived.is_due(&[at(5), None, at(7)], Timestamp(5)));
        relived.follow(&[at(5), None, at(7)], &[at(6), None, at(7)], false);
        assert!(!relived.is_due(&[at(6), None, at(7)], Timestamp(6)), "it was set anew");
        assert!(relived.is_due(&[at(6), None, at(7)], Timestamp(7)), "and the other one was not");
        relived.follow(&[at(6), None, at(7)], &[at(6), at(9), None], true);
        assert!(
            relived.is_due(&[at(6), at(9), None], Timestamp(9)) && !relived.is_due(&[at(6), None, at(9)], Timestamp(9))
        );
        relived.follow(&[at(6), at(9), None], &[at(6), None, None], true);
        assert!(relived.is_none());
    }
}
