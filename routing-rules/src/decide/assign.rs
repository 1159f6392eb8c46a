//! Queues and agents: who gets what waits.

use super::{BREACH_AGAIN_MS, DEFAULT_CLOCK_MS, Draft, GRACE_MS, STEP};
use crate::event::{ClockKind, Considered, OfferEnd, PassedOver, Presence, Public, Why};
use crate::ids::ConvId;
use crate::pack::{Agent, ConvStatus, Name, OverflowStep, Skills, Strategy};
use crate::state::{AgentState, Conversation};
use std::sync::Arc;
use switchboard_envelope::Timestamp;

/// Agents named in an explanation at most; the rest is a number.
const NAMED: usize = 20;
/// Waiting conversations looked at per queue and decision.
const LOOK: usize = 32;
/// Assignments of one decision at most; the next input goes on.
const MOST: usize = 64;

/// How a conversation comes to a queue.
pub(crate) struct Entry {
    pub queue: Name,
    pub skills: Skills,
    pub overflow: Option<Vec<OverflowStep>>,
    /// Since when it waits, when it waited before.
    pub since: Option<Timestamp>,
    pub why: Why,
}

impl Entry {
    pub(crate) fn new(queue: Name, why: Why) -> Entry {
        Entry { queue, skills: Skills::new(), overflow: None, since: None, why }
    }
}

impl Draft<'_> {
    /// Puts a conversation into a queue, with its clock.
    pub(crate) fn enqueue(&mut self, conv: ConvId, entry: Entry) {
        let Some(c) = self.conv(conv) else { return };
        let Some(queue) = self.pack.queues.get(&entry.queue).cloned() else {
            if entry.why != Why::Vanished {
                self.enqueue_default(conv, Why::Vanished);
            }
            return;
        };
        self.withdraw_offer(&c);
        let now = self.now();
        let stays = c.queue.as_ref() == Some(&entry.queue) && c.status == ConvStatus::Queued;
        let entered = c.entered_at.filter(|_| stays).unwrap_or(now);
        self.emit(Public::Queued {
            conv,
            queue: entry.queue.clone(),
            since: entry.since.or(c.queued_at).unwrap_or(now),
            entered,
            skills: entry.skills,
            overflow: entry.overflow.unwrap_or_else(|| queue.overflow.clone()),
            ageing: queue.ageing_ms,
            why: entry.why,
        });
        self.start_clock(conv);
        if c.resolution_due.is_none()
            && let Some(ms) = queue.sla.resolution_ms
        {
            let due = self.deadline(&entry.queue, c.opened_at, ms);
            self.emit(Public::ResolutionDue { conv, due: Some(due) });
        }
        self.arrived.insert(conv);
        self.assign.insert(entry.queue);
    }

    /// The queue of the pack's `default`, which every pack has.
    pub(crate) fn default_queue(&self) -> Option<Name> {
        let chosen = self.pack.default_queue(self.now()).map(str::to_owned);
        chosen.or_else(|| self.pack.queues.keys().next().cloned())
    }

    pub(crate) fn enqueue_default(&mut self, conv: ConvId, why: Why) {
        match self.default_queue() {
            Some(queue) if self.pack.queues.contains_key(&queue) => self.enqueue(conv, Entry::new(queue, why)),
            // A pack without a usable default does not load; the wait for the customer at least keeps a clock.
            _ => {
                let until = self.now().plus(DEFAULT_CLOCK_MS);
                self.emit(Public::Snoozed { conv, until });
            }
        }
    }

    fn deadline(&self, queue: &str, from: Timestamp, ms: i64) -> Timestamp {
        match self.pack.queues.get(queue).and_then(|q| q.hours.as_deref()) {
            Some(hours) => self.pack.add_open_time(hours, from, ms),
            None => from.plus(ms),
        }
    }

    /// Starts the clock that fits, unless one runs.
    pub(crate) fn start_clock(&mut self, conv: ConvId) {
        let Some(c) = self.conv(conv) else { return };
        if c.clock.is_some() || !c.is_ours() {
            return;
        }
        let now = self.now();
        let queue = c.queue.clone().unwrap_or_default();
        let sla = self.pack.queues.get(&queue).map(|q| q.sla.clone()).unwrap_or_default();
        let answered = c.last_out.is_some() && c.agent.is_some();
        let (clock, ms) = match (answered, sla.first_response_ms, sla.next_response_ms) {
            (false, Some(ms), _) => (ClockKind::FirstResponse, ms),
            (true, _, Some(ms)) => (ClockKind::NextResponse, ms),
            _ => (ClockKind::Waiting, DEFAULT_CLOCK_MS),
        };
        let due = if clock == ClockKind::Waiting { now.plus(ms) } else { self.deadline(&queue, now, ms) };
        let percent = i64::from(sla.warn_percent.min(100));
        let warn_at = (clock != ClockKind::Waiting && (1..100).contains(&percent))
            .then(|| self.deadline(&queue, now, ms.saturating_mul(percent) / 100))
            .filter(|at| *at < due);
        self.emit(Public::ClockSet { conv, clock, due, warn_at });
    }

    pub(crate) fn breach(&mut self, c: &Arc<Conversation>, clock: ClockKind) {
        let again = self.now().plus(BREACH_AGAIN_MS);
        self.emit(Public::ClockBreached { conv: c.id, clock, again });
        let on_breach = c.queue.as_ref().and_then(|q| self.pack.queues.get(q)).map(|q| q.sla.on_breach.clone());
        let Some(b) = on_breach else { return };
        if let Some(priority) = b.priority.filter(|p| *p > c.priority) {
            self.emit(Public::Prioritised { conv: c.id, priority });
        }
        if let Some(queue) = b.queue.filter(|q| c.status == ConvStatus::Queued && c.queue.as_ref() != Some(q)) {
            self.enqueue(c.id, Entry::new(queue, Why::Timer));
        }
        if let Some(notify) = b.notify {
            self.notify(c, notify);
        }
    }

    /// Gives a conversation to an agent who has room; false when there is none.
    pub(crate) fn assign_if_room(&mut self, conv: ConvId, agent: &str, why: Why) -> bool {
        let Some(c) = self.conv(conv) else { return false };
        let Some(definition) = self.pack.agents.get(agent) else { return false };
        let state = self.agent_state(agent);
        if self.passed_over(&c, &Skills::new(), agent, definition, &state).is_some() {
            return false;
        }
        self.assign(conv, agent, why, Considered { chosen: Some(agent.to_owned()), ..Considered::default() });
        true
    }

    pub(crate) fn assign(&mut self, conv: ConvId, agent: &str, why: Why, considered: Considered) {
        if let Some(c) = self.conv(conv) {
            self.withdraw_offer(&c);
            if c.status == ConvStatus::Assigned && c.agent.as_deref() != Some(agent) {
                self.somebody_freed();
            }
        }
        self.emit(Public::Assigned { conv, agent: agent.to_owned(), why, considered });
        self.start_clock(conv);
    }

    /// Ends an open offer because the conversation goes elsewhere.
    pub(crate) fn withdraw_offer(&mut self, c: &Conversation) {
        if let Some(o) = &c.offer {
            self.emit(Public::OfferEnded { conv: c.id, offer: o.id, agent: o.agent.clone(), how: OfferEnd::Withdrawn });
            self.somebody_freed();
        }
    }

    /// Somebody may have room now.
    pub(crate) fn somebody_freed(&mut self) {
        self.assign.extend(self.state.queues_in_use().cloned());
    }

    fn agent_state(&self, agent: &str) -> AgentState {
        self.state.agents.get(agent).map(|a| (**a).clone()).unwrap_or_default()
    }

    /// Why an agent cannot take a conversation now; `None` when they can.
    fn passed_over(
        &self,
        c: &Conversation,
        wanted: &Skills,
        name: &str,
        agent: &Agent,
        state: &AgentState,
    ) -> Option<PassedOver> {
        match state.presence {
            Presence::Available => {}
            Presence::Away => return Some(PassedOver::Away),
            Presence::Offline => return Some(PassedOver::Offline),
        }
        if let Some((skill, _)) = wanted.iter().find(|(s, level)| agent.skills.get(*s).is_none_or(|have| have < level))
        {
            return Some(PassedOver::MissingSkill(skill.clone()));
        }
        if c.declines().any(|(agent, _)| agent == name) {
            return Some(PassedOver::Declined);
        }
        let bears = c.bearer().is_some_and(|b| b == name);
        if !bears && state.load.saturating_add(c.cost) > agent.capacity {
            return Some(PassedOver::Capacity { load: state.load, capacity: agent.capacity });
        }
        None
    }

    fn wanted(&self, c: &Conversation, queue: &str) -> Skills {
        if let Some(relaxed) = &c.relaxed {
            return (**relaxed).clone();
        }
        let mut wanted = self.pack.queues.get(queue).map(|q| q.skills.clone()).unwrap_or_default();
        for (skill, level) in &c.skills {
            let have = wanted.entry(skill.clone()).or_insert(*level);
            *have = (*have).max(*level);
        }
        wanted
    }

    /// Chooses among the pack's agents; names why the others were passed over.
    fn choose(&self, c: &Conversation, queue: &str) -> Considered {
        let wanted = self.wanted(c, queue);
        let config = self.pack.queues.get(queue);
        let mut free: Vec<(Name, AgentState)> = vec![];
        let mut considered = Considered::default();
        let pass = |considered: &mut Considered, name: &Name, why: PassedOver| {
            if considered.passed.len() < NAMED {
                considered.passed.push((name.clone(), why));
            } else {
                considered.others += 1;
            }
        };
        for (name, agent) in &self.pack.agents {
            let state = self.agent_state(name);
            match self.passed_over(c, &wanted, name, agent, &state) {
                None => free.push((name.clone(), state)),
                Some(why) => pass(&mut considered, name, why),
            }
        }
        let prefers_last = config.is_some_and(|q| q.sticky_ms.is_some()) || c.agent.is_some();
        let sticky = c.agent.as_ref().filter(|a| prefers_last && free.iter().any(|(n, _)| n == *a)).cloned();
        let strategy = config.map(|q| q.strategy).unwrap_or_default();
        let best = sticky.or_else(|| {
            free.iter()
                .min_by_key(|(name, s)| match strategy {
                    Strategy::LeastLoaded => (s.load, s.last_assigned, name.clone()),
                    Strategy::RoundRobin | Strategy::LongestIdle => (0, s.last_assigned, name.clone()),
                })
                .map(|(n, _)| n.clone())
        });
        for (name, _) in free.iter().filter(|(n, _)| Some(n) != best.as_ref()) {
            pass(&mut considered, name, PassedOver::LessPreferred);
        }
        considered.chosen = best;
        considered
    }

    /// Offers or assigns what waits in the queues that this decision touched.
    pub(super) fn assign_pass(&mut self) {
        let queues = std::mem::take(&mut self.assign);
        let mut left = MOST;
        for queue in queues {
            if left == 0 {
                break;
            }
            self.assign_queue(&queue, &mut left);
        }
        self.assign.clear();
        for conv in std::mem::take(&mut self.arrived) {
            let Some(c) = self.conv(conv).filter(|c| c.status == ConvStatus::Queued) else { continue };
            let Some(queue) = c.queue.clone() else { continue };
            let considered = self.choose(&c, &queue);
            self.emit(Public::NobodyFree { conv, considered });
        }
    }

    fn anybody_free(&self) -> bool {
        self.pack.agents.iter().any(|(name, agent)| {
            self.state.agents.get(name).is_some_and(|s| s.presence == Presence::Available && s.load < agent.capacity)
        })
    }

    fn assign_queue(&mut self, queue: &str, left: &mut usize) {
        let Some(config) = self.pack.queues.get(queue) else { return };
        let offer_timeout = config.offer_timeout_ms;
        let heads: Vec<ConvId> = self.state.waiting(queue).take(LOOK.max(*left)).map(|k| k.conv).collect();
        for conv in heads {
            if *left == 0 || !self.anybody_free() {
                return;
            }
            let Some(c) = self.conv(conv) else { continue };
            let considered = self.choose(&c, queue);
            let Some(agent) = considered.chosen.clone() else { continue };
            *left -= 1;
            match offer_timeout {
                Some(ms) => {
                    let offer = self.new_offer_id();
                    let expires = self.now().plus(ms);
                    self.emit(Public::Offered { conv, offer, agent, expires, considered });
                }
                None => {
                    let why = if c.agent.as_ref() == Some(&agent) { Why::Sticky } else { Why::Strategy };
                    self.assign(conv, &agent, why, considered);
                }
            }
        }
    }

    /// An agent's presence, as asked for.
    pub(crate) fn set_presence(&mut self, agent: &str, presence: Presence, lapsed: bool) {
        let at = self.now();
        let before = self.agent_state(agent);
        if before.presence != presence || before.grace_until.is_some() {
            self.emit(Public::PresenceChanged { agent: agent.to_owned(), presence, at, lapsed });
        }
        match presence {
            Presence::Available => self.somebody_freed(),
            Presence::Offline if self.state.borne_by(agent).next().is_some() => {
                self.emit(Public::GraceBegan { agent: agent.to_owned(), until: at.plus(GRACE_MS) });
            }
            Presence::Offline | Presence::Away => {}
        }
    }

    /// What an agent who left has not answered goes back to the head of its queue, in bounded steps.
    pub(crate) fn give_back(&mut self, agent: &str) {
        let borne: Vec<ConvId> = self.state.borne_by(agent).take(STEP + 1).collect();
        let more = borne.len() > STEP;
        for conv in borne.into_iter().take(STEP) {
            let Some(c) = self.conv(conv) else { continue };
            let queue = c.queue.clone().filter(|q| self.pack.queues.contains_key(q)).or_else(|| self.default_queue());
            let mut entry = Entry::new(queue.unwrap_or_default(), Why::Returned);
            entry.since = Some(c.opened_at);
            entry.skills.clone_from(&c.skills);
            self.enqueue(conv, entry);
        }
        if more {
            let until = self.now().plus(1);
            self.emit(Public::GraceBegan { agent: agent.to_owned(), until });
        } else if self.agent_state(agent).grace_until.is_some() {
            let at = self.now();
            let presence = self.agent_state(agent).presence;
            self.emit(Public::PresenceChanged { agent: agent.to_owned(), presence, at, lapsed: false });
        }
    }
}
