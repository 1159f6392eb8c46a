//! Setting time back, after a clock that was ahead was set right.

use super::{AgentState, Channel, Clock, Conversation, Phase, SendState, State, day};
use imbl::OrdMap;
use std::sync::Arc;
use switchboard_envelope::Timestamp;

/// How far times move. What is later than `to` was reckoned from a clock that was ahead, and keeps its distance from `now`.
/// So does a deadline that was set before: nothing tells them apart, and one that comes early is seen, while one that comes
/// as late as the clock was wrong is not.
struct Back {
    to: Timestamp,
    by: i64,
}

impl Back {
    fn at(&self, t: &mut Timestamp) {
        if *t > self.to {
            *t = t.plus(-self.by);
        }
    }

    fn maybe(&self, t: &mut Option<Timestamp>) {
        if let Some(t) = t {
            self.at(t);
        }
    }

    fn conversation(&self, c: &mut Conversation) {
        self.at(&mut c.opened_at);
        let waits = [&mut c.queued_at, &mut c.entered_at, &mut c.resolution_due, &mut c.wait_until];
        for t in waits.into_iter().chain([&mut c.last_in, &mut c.last_out]) {
            let mut at = t.get();
            self.maybe(&mut at);
            *t = at.into();
        }
        if let Some(Clock { due, next, .. }) = c.clock.as_mut().filter(|k| k.left().is_none()) {
            self.at(due);
            self.at(next);
        }
        if let Some(resolution) = &mut c.resolution {
            self.maybe(&mut resolution.warn_at);
        }
        if let Some(answer) = &mut c.answer {
            self.at(&mut answer.at);
        }
        if let Some(offer) = &mut c.offer {
            self.at(&mut offer.expires);
        }
        if let Some(declined) = &mut c.declined {
            declined.values_mut().for_each(|d| self.at(&mut d.at));
        }
        if let Some(p) = c.private.as_mut().filter(|p| p.said_at.get().is_some_and(|at| at > self.to)) {
            let mut said_at = p.said_at.get();
            self.maybe(&mut said_at);
            Arc::make_mut(p).said_at = said_at.into();
        }
        c.auto_day = c.auto_day.min(day(self.to));
    }

    fn send(&self, s: &mut SendState) {
        self.at(&mut s.at);
        self.at(&mut s.not_after);
        self.maybe(&mut s.released);
        match &mut s.phase {
            Phase::Waiting => {}
            Phase::Ready { since: t } | Phase::Dead { at: t, .. } => self.at(t),
            Phase::InFlight { until: t } | Phase::Backoff { until: t } | Phase::Reconciling { until: t } => self.at(t),
        }
    }

    fn agent(&self, a: &mut AgentState) {
        self.at(&mut a.since);
        self.at(&mut a.last_assigned);
        self.at(&mut a.idle_since);
        self.maybe(&mut a.grace_until);
        self.maybe(&mut a.wrap_until);
    }

    fn channel(&self, c: &mut Channel) {
        self.maybe(&mut c.probe_at);
    }
}

fn each<K: Ord + Clone, V: Clone>(map: &mut OrdMap<K, Arc<V>>, change: impl Fn(&mut V)) {
    let changed = std::mem::take(map).into_iter().map(|(k, mut v)| {
        change(Arc::make_mut(&mut v));
        (k, v)
    });
    *map = changed.collect();
}

impl State {
    /// The cursor keeps its time: it says which record of IN it is.
    pub(super) fn set_back(&mut self, to: Timestamp) {
        let back = Back { to, by: self.now.since(to) };
        if back.by <= 0 {
            return;
        }
        self.now = to;
        for id in self.conversations.keys().copied().collect::<Vec<_>>() {
            if let Some(c) = self.conversations.get_mut(&id) {
                back.conversation(Arc::make_mut(c));
            }
        }
        each(&mut self.sends, |s| back.send(s));
        each(&mut self.settled, |s| {
            back.at(&mut s.at);
            back.at(&mut s.queued_at);
        });
        each(&mut self.held, |h| back.at(&mut h.at));
        each(&mut self.agents, |a| back.agent(a));
        each(&mut self.channels, |c| back.channel(c));
        each(&mut self.joins, |j| back.at(&mut j.until));
        self.last_agents = std::mem::take(&mut self.last_agents)
            .into_iter()
            .map(|(contact, (agent, mut until))| {
                back.at(&mut until);
                (contact, (agent, until))
            })
            .collect();
        self.paces = std::mem::take(&mut self.paces)
            .into_iter()
            .map(|(queue, mut pace)| {
                back.at(&mut pace.last);
                pace.kept.day = pace.kept.day.min(day(to));
                (queue, pace)
            })
            .collect();
        back.maybe(&mut self.assign_at);
        self.packs.iter_mut().for_each(|(_, since)| back.at(since));
        if let Some(canary) = &mut self.canary {
            let canary = Arc::make_mut(canary);
            back.at(&mut canary.since);
            canary.ended.iter_mut().for_each(|(at, _)| back.at(at));
        }
        self.dups.set_back(to);
        for ((spent, identity), n) in std::mem::take(&mut self.budgets) {
            *self.budgets.entry((spent.min(day(to)), identity)).or_insert(0) += n;
        }
        self.rebuild_indexes();
    }
}
