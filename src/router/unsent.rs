//! What the newest frames sent and OUT may not have yet: where a commit is several steps, a router can be killed between its
//! frame and its sends. Whoever leads next puts them there.

use super::outgoing::out_record;
use crate::log::{Log, LogError, OutRecord, Seq};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use switchboard_routing_rules::event::Public;
use switchboard_routing_rules::state::State;

/// So many sends are kept before OUT is asked which of them it has.
const KEPT: usize = 1024;

pub(super) struct Unsent {
    /// OUT has everything up to here, as far as it was asked.
    landed: Seq,
    /// The place of the next send of the frame that is folded.
    next: Option<Seq>,
    /// In their places, without gaps.
    sends: VecDeque<(Seq, OutRecord)>,
    /// How many are kept before OUT is asked again.
    limit: usize,
}

impl Unsent {
    /// For who will never lead, and where a commit is one step: every send is where its frame put it.
    pub(super) fn nothing() -> Unsent {
        Unsent { landed: Seq::MAX, next: None, sends: VecDeque::new(), limit: KEPT }
    }

    /// For who led until now, and left OUT with this end.
    pub(super) fn after(out_last: Seq) -> Unsent {
        Unsent { landed: out_last, ..Unsent::nothing() }
    }

    pub(super) async fn new(log: &Arc<dyn Log>, may_lead: bool) -> Result<Unsent, LogError> {
        if !may_lead || log.exclusive() {
            return Ok(Unsent::nothing());
        }
        Ok(Unsent { landed: log.out_last().await?, ..Unsent::nothing() })
    }

    pub(super) fn consider(&mut self, state: &State, out_first: Seq, event: &Public) {
        if matches!(event, Public::Rebased { .. }) {
            // What OUT did not have then is in doubt and given up, whether or not others took its places since.
            self.sends.clear();
        }
        if self.landed == Seq::MAX || !matches!(event, Public::Released { .. } | Public::Reconciling { .. }) {
            return;
        }
        let place = self.next.unwrap_or(out_first);
        if place > self.landed
            && let Some(record) = out_record(state, event)
        {
            // Sends that were given up when this one took their places.
            while self.sends.back().is_some_and(|(last, _)| *last >= place) {
                self.sends.pop_back();
            }
            if self.sends.back().is_some_and(|(last, _)| last + 1 != place) {
                self.sends.clear();
            }
            self.sends.push_back((place, record));
        }
        self.next = Some(place + 1);
    }

    pub(super) fn end_of_frame(&mut self) {
        self.next = None;
    }

    /// Forgets what OUT has, once there is much of it.
    pub(super) async fn bound(&mut self, log: &Arc<dyn Log>) -> Result<(), LogError> {
        if self.sends.len() < self.limit {
            return Ok(());
        }
        self.look(log).await?;
        // What OUT does not take now is kept all the same.
        self.limit = self.sends.len() + KEPT;
        Ok(())
    }

    /// Asks where OUT ends.
    pub(super) async fn look(&mut self, log: &Arc<dyn Log>) -> Result<Seq, LogError> {
        let last = log.out_last().await?;
        if self.landed == Seq::MAX {
            return Ok(last);
        }
        self.landed = last;
        while self.sends.front().is_some_and(|(place, _)| *place <= self.landed) {
            self.sends.pop_front();
        }
        Ok(last)
    }

    /// Whether what is kept is all that OUT does not have from `out` to `assigned`, and nobody made any of these attempts.
    pub(super) fn fill(&self, out: Seq, assigned: Seq, open: &BTreeSet<String>) -> bool {
        let ends = self.sends.front().zip(self.sends.back());
        let unmade = |r: &OutRecord| r.claim_key.is_empty() || open.contains(&r.claim_key);
        ends.is_some_and(|((first, _), (last, _))| *first == out + 1 && *last == assigned)
            && self.sends.iter().all(|(_, record)| unmade(record))
    }

    /// Puts into OUT what it does not have.
    pub(super) async fn complete(&mut self, log: &Arc<dyn Log>) -> Result<(), LogError> {
        self.look(log).await?;
        let Some((first, _)) = self.sends.front() else { return Ok(()) };
        let first = *first;
        tracing::warn!(first, sends = self.sends.len(), "an earlier router left sends out of OUT; they follow now");
        log.complete(first, self.sends.iter().map(|(_, record)| record.clone()).collect()).await?;
        self.sends.clear();
        Ok(())
    }
}
