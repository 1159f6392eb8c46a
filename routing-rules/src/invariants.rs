//! The promises as predicates over the state, by the ids that ARCHITECTURE.md gives them. The simulator, the tests and debug
//! builds run the same ones.

use crate::decide::matching::{passed_over, wanted};
use crate::event::{ClockKind, Public, Why};
use crate::ids::ConvId;
use crate::pack::{ConvStatus, RulePack};
use crate::state::{Conversation, InForce, Phase, State, WaitClass, WaitKey};
use std::collections::{BTreeMap, BTreeSet};
use switchboard_envelope::Timestamp;

/// A broken invariant: its id, and what was found.
pub type Broken = (&'static str, String);

/// Checks every invariant; the cost is linear in the state.
#[must_use]
pub fn check_invariants<'p>(state: &State, packs: impl Into<InForce<'p>>) -> Vec<Broken> {
    let packs: InForce<'p> = packs.into();
    let mut broken = vec![];
    for c in state.conversations.values() {
        one_place(c, &mut broken);
        has_timer(state, c, &mut broken);
        lane_order(state, c, &mut broken);
    }
    parts_have_timers(state, &mut broken);
    loads(state, &mut broken);
    nobody_overlooked(state, packs, &mut broken);
    one_open_per_thread(state, &mut broken);
    indexes(state, packs, &mut broken);
    unsettled_have_timers(state, &mut broken);
    broken
}

/// I5: an open conversation has exactly one of: an owner, a place in a queue, an offer, a wait, a snooze.
fn one_place(c: &Conversation, broken: &mut Vec<Broken>) {
    let ok = match c.status {
        ConvStatus::Queued => c.queue.is_some() && c.queued_at.is_some() && c.offer.is_none(),
        ConvStatus::Offered => c.offer.is_some() && c.queue.is_some(),
        ConvStatus::Assigned => c.agent.is_some() && c.offer.is_none() && c.queued_at.get().is_none(),
        ConvStatus::Pending | ConvStatus::Snoozed | ConvStatus::Closed => {
            c.wait_until.is_some() && c.offer.is_none() && c.queued_at.get().is_none()
        }
    };
    if !ok {
        broken.push(("I5", format!("conversation {} is {} without what that needs", c.id, c.status.as_str())));
    }
}

/// I6: every conversation in the state has a timer.
fn has_timer(state: &State, c: &Conversation, broken: &mut Vec<Broken>) {
    match c.next_deadline() {
        None => broken.push(("I6", format!("conversation {} ({}) has no clock", c.id, c.status.as_str()))),
        Some(at) if !state.has_conversation_timer(at, c.id) => {
            broken.push(("I6", format!("conversation {}: its timer is not set", c.id)));
        }
        Some(_) => {}
    }
    let ours = c.is_ours();
    if ours && c.clock.is_none() {
        broken.push(("I6", format!("conversation {} waits for us without a clock", c.id)));
    }
}

/// I6: the parts of a longer text wait for a time, and are fewer than all.
fn parts_have_timers(state: &State, broken: &mut Vec<Broken>) {
    for (key, join) in &state.joins {
        if !state.has_join_timer(join.until, *key) {
            broken.push(("I6", "parts of a text wait without a timer".into()));
        }
        if join.numbers.is_empty() || join.numbers.len() >= usize::from(join.total) {
            broken.push(("I6", format!("{} of {} parts wait", join.numbers.len(), join.total)));
        }
    }
}

/// I4: of a lane (a conversation's sends to one channel or desk) only the first may be anywhere but waiting, and none is settled
/// or dead.
fn lane_order(state: &State, c: &Conversation, broken: &mut Vec<Broken>) {
    let mut led = BTreeSet::new();
    for id in c.lane.iter() {
        let send = state.sends.get(id);
        let leads = send.is_some_and(|s| led.insert(&s.channel));
        match send.map(|s| &s.phase) {
            None | Some(Phase::Dead { .. }) => broken.push(("I4", format!("{id} is in a lane but settled"))),
            Some(Phase::Waiting) if leads => broken.push(("I4", format!("{id} leads its lane but waits"))),
            Some(phase) if !leads && *phase != Phase::Waiting => {
                broken.push(("I4", format!("{id} overtakes its lane")));
            }
            Some(_) => {}
        }
    }
}

/// I7: an agent's load is what they bear. That they are given no more than they take says [`given_beyond`].
fn loads(state: &State, broken: &mut Vec<Broken>) {
    let mut loads: BTreeMap<&str, u32> = BTreeMap::new();
    for c in state.conversations.values() {
        if let Some(agent) = c.bearer() {
            *loads.entry(agent.as_str()).or_default() += c.cost;
        }
    }
    for (name, agent) in &state.agents {
        let load = loads.get(name.as_str()).copied().unwrap_or(0);
        if agent.load != load {
            broken.push(("I7", format!("agent {name}: load {} is kept, {load} is borne", agent.load)));
        }
    }
}

/// I14: nobody waits whom somebody could take, or in a queue that its pack does not have and from which nobody is given away, or by
/// another order than the queue has, unless a timer goes on assigning. So nobody starves: who waits is overtaken only by those whose
/// priority outweighs what they came later.
fn nobody_overlooked(state: &State, packs: InForce<'_>, broken: &mut Vec<Broken>) {
    if state.assign_at.is_some() {
        return;
    }
    for c in state.conversations.values().filter(|c| c.status == ConvStatus::Queued) {
        let pack = packs.of(state, c.trial);
        let Some(queue) = c.queue.as_deref() else { continue };
        let class = WaitClass::of(c);
        match pack.queues.get(queue) {
            None => {
                broken.push(("I14", format!("conversation {} waits in {queue}, which its pack does not have", c.id)));
                continue;
            }
            Some(own) if own.newest != class.newest() => {
                broken.push(("I14", format!("conversation {} waits in {queue} by the order of before", c.id)));
            }
            Some(_) => {}
        }
        let wants = wanted(pack, queue, &class);
        let able = packs.pack.agents.iter().find(|(name, agent)| {
            let known = state.agents.get(*name);
            known.is_some_and(|a| passed_over(&class, &wants, name, agent, a, false).is_none())
        });
        if let Some((name, _)) = able {
            broken.push(("I14", format!("conversation {} waits in {queue} though {name} could take it", c.id)));
        }
    }
}

/// I8: a thread has at most one open conversation, so a burst of first messages cannot open several.
fn one_open_per_thread(state: &State, broken: &mut Vec<Broken>) {
    let mut open = BTreeMap::new();
    for c in state.conversations.values().filter(|c| c.is_open()) {
        if let Some(other) = open.insert(c.thread, c.id) {
            broken.push(("I8", format!("{} and {other} are open on one thread", c.id)));
        }
    }
}

/// I9: the indexes are what the entities say.
fn indexes(state: &State, packs: InForce<'_>, broken: &mut Vec<Broken>) {
    let mut again = state.clone();
    again.rebuild_indexes();
    // Nothing else is made again, so nothing else can differ.
    let differ = state.index_difference(&again);
    if !differ.is_empty() {
        broken.push(("I9", format!("the indexes are not what the entities say: {differ}")));
    }
    if state.roster.is_of(packs) && !state.roster.says_the_same(&state.roster.again(packs, &state.agents)) {
        broken.push(("I9", "who is free is not what the agents' states say".into()));
    }
}

/// I10: every unsettled send has a timer, or is a dead letter that is listed.
fn unsettled_have_timers(state: &State, broken: &mut Vec<Broken>) {
    for s in state.sends.values() {
        if s.next_deadline().is_none() && !s.is_dead() {
            broken.push(("I10", format!("send {} has no clock", s.id)));
        }
        let in_lane = state.conversations.get(&s.conv).is_some_and(|c| c.lane.contains(&s.id));
        if !s.is_dead() && !in_lane {
            broken.push(("I10", format!("send {} is in no lane", s.id)));
        }
    }
}

/// I19, after each event: no channel has more attempts under way than it takes, because of one that was released.
#[must_use]
pub fn released_within(state: &State, event: &Public) -> Option<Broken> {
    let Public::Released { message, .. } = event else { return None };
    let channel = state.channels.get(&state.sends.get(message)?.channel)?;
    let (under_way, most) = (channel.in_flight, channel.profile.in_flight.max(1));
    (under_way > most)
        .then(|| ("I19", format!("{message} was released, and {under_way} are under way where {most} may be")))
}

/// I7, before each event: nobody is assigned or offered what goes beyond their capacity by the pack in force. What they took
/// themselves, or were offered before, may exceed it, and so may what a smaller pack leaves them with.
#[must_use]
pub fn given_beyond(before: &State, event: &Public, pack: &RulePack) -> Option<Broken> {
    let (conv, agent) = match event {
        Public::Offered { conv, agent, .. } => (conv, agent),
        Public::Assigned { conv, agent, why, .. } if !matches!(why, Why::Taken | Why::Accepted) => (conv, agent),
        _ => return None,
    };
    let c = before.conversation(*conv).filter(|c| c.bearer() != Some(agent))?;
    let load = before.agents.get(agent).map_or(0, |a| a.load).saturating_add(c.cost);
    let capacity = pack.agents.get(agent).map_or(0, |a| a.capacity);
    (load > capacity).then(|| ("I7", format!("{agent} was given {conv}, and bears {load} of {capacity} hundredths")))
}

/// I17, before each event: of all who wait and whom an agent could take, the one is given to them who waited longest, priority
/// and ageing reckoned in, whichever queue they wait in.
#[must_use]
pub fn overtaken<'p>(before: &State, event: &Public, packs: impl Into<InForce<'p>>) -> Option<Broken> {
    let (conv, agent) = match event {
        Public::Offered { conv, agent, .. } => (conv, agent),
        Public::Assigned { conv, agent, why: Why::Strategy | Why::Sticky, .. } => (conv, agent),
        _ => return None,
    };
    let packs: InForce<'p> = packs.into();
    let c = before.conversation(*conv)?;
    let (own, key, class) = (c.queue.as_deref()?, WaitKey::of(c)?, WaitClass::of(c));
    let (takes, state) = (packs.pack.agents.get(agent)?, before.agents.get(agent)?);
    // A decision that assigned as many as one may goes on with the others of its queues.
    let all_queues = before.assign_at.is_none();
    for queue in before.queues_in_use().filter(|queue| all_queues || *queue == own) {
        let could = |of: &WaitClass| {
            let pack = packs.of(before, of.trial);
            let able = || passed_over(of, &wanted(pack, queue, of), agent, takes, state, false).is_none();
            (queue == own && *of == class) || (pack.queues.contains_key(queue) && able())
        };
        let heads = before.classes(queue).filter_map(|(of, set)| Some((set.get_min()?, of)));
        // In its own queue its place counts; of another one the first, by how long each has waited.
        let first = heads.filter(|(k, of)| (queue != own || **k < key) && could(of)).min_by_key(|(k, _)| **k);
        let before_it = |(k, of): &(&WaitKey, &WaitClass)| {
            queue == own || k.among_queues(of.newest()) < key.among_queues(class.newest())
        };
        if let Some((first, _)) = first.filter(before_it) {
            return Some(("I17", format!("{conv} was given away before {}, whose turn it was", first.conv)));
        }
    }
    None
}

/// I15, over the events of a whole life: a clock warns and is breached at most once, and never before its time.
#[derive(Clone, Debug, Default)]
pub struct ClockWatch {
    clocks: BTreeMap<(ConvId, bool), Watched>,
    /// How many were breached.
    pub breached: usize,
}

/// One clock: when it is due and when it warns, where that is known, and what it did.
#[derive(Clone, Copy, Debug, Default)]
struct Watched {
    due: Option<Timestamp>,
    warn_at: Option<Timestamp>,
    warned: bool,
    breached: bool,
}

impl ClockWatch {
    /// Watches the next event, which was decided at `now`.
    pub fn see(&mut self, now: Timestamp, event: &Public) -> Option<Broken> {
        match event {
            Public::ClockSet { conv, due, warn_at, .. } => {
                let set = Watched { due: Some(*due), warn_at: *warn_at, ..Watched::default() };
                self.clocks.insert((*conv, false), set);
            }
            Public::ResolutionDue { conv, due, warn_at } => {
                let k = self.clocks.entry((*conv, true)).or_default();
                (k.due, k.warn_at) = (*due, *warn_at);
            }
            Public::ResolutionStopped { conv, .. } => {
                let k = self.clocks.entry((*conv, true)).or_default();
                (k.due, k.warn_at) = (None, None);
            }
            Public::Closed { conv, .. } => drop(self.clocks.remove(&(*conv, true))),
            // Deadlines from before come early then, by as much as nobody can tell.
            Public::TimeSetBack { .. } => self.clocks.values_mut().for_each(|k| {
                let ever = Some(Timestamp(i64::MIN));
                (k.due, k.warn_at) = (ever, ever);
            }),
            Public::ClockWarned { conv, clock } => {
                let k = self.clocks.entry((*conv, *clock == ClockKind::Resolution)).or_default();
                if k.warned || k.breached || k.due.is_none() {
                    return Some(("I15", format!("{conv}: a clock warned at {now} that had warned, or did not run")));
                }
                if k.warn_at.is_none_or(|at| now < at) {
                    return Some(("I15", format!("{conv}: a clock warned at {now}, early or unasked: {k:?}")));
                }
                k.warned = true;
            }
            Public::ClockBreached { conv, clock, .. } => {
                let k = self.clocks.entry((*conv, *clock == ClockKind::Resolution)).or_default();
                if k.breached || k.due.is_none_or(|due| now < due) {
                    return Some(("I15", format!("{conv}: a clock was breached at {now}, early or again: {k:?}")));
                }
                k.breached = true;
                self.breached += 1;
            }
            _ => {}
        }
        None
    }
}
