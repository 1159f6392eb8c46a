//! The promises as predicates over the state, by the ids that ARCHITECTURE.md gives them. The simulator, the tests and debug
//! builds run the same ones.

use crate::pack::{ConvStatus, RulePack};
use crate::state::{Conversation, Phase, State};
use std::collections::BTreeMap;

/// A broken invariant: its id, and what was found.
pub type Broken = (&'static str, String);

/// Checks every invariant; the cost is linear in the state.
#[must_use]
pub fn check_invariants(state: &State, pack: &RulePack) -> Vec<Broken> {
    let mut broken = vec![];
    for c in state.conversations.values() {
        one_place(c, &mut broken);
        has_timer(state, c, &mut broken);
        lane_order(state, c, &mut broken);
    }
    parts_have_timers(state, &mut broken);
    capacity(state, pack, &mut broken);
    one_open_per_thread(state, &mut broken);
    indexes(state, &mut broken);
    unsettled_have_timers(state, &mut broken);
    broken
}

/// I5: an open conversation has exactly one of: an owner, a place in a queue, an offer, a wait, a snooze.
fn one_place(c: &Conversation, broken: &mut Vec<Broken>) {
    let ok = match c.status {
        ConvStatus::Queued => c.queue.is_some() && c.queued_at.is_some() && c.offer.is_none(),
        ConvStatus::Offered => c.offer.is_some() && c.queue.is_some(),
        ConvStatus::Assigned => c.agent.is_some() && c.offer.is_none() && c.queued_at.is_none(),
        ConvStatus::Pending | ConvStatus::Snoozed | ConvStatus::Closed => {
            c.wait_until.is_some() && c.offer.is_none() && c.queued_at.is_none()
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

/// I4: of a lane only the first send may be anywhere but waiting, and none is settled or dead.
fn lane_order(state: &State, c: &Conversation, broken: &mut Vec<Broken>) {
    for (i, id) in c.lane.iter().enumerate() {
        match state.sends.get(id).map(|s| &s.phase) {
            None | Some(Phase::Dead { .. }) => broken.push(("I4", format!("{id} is in a lane but settled"))),
            Some(Phase::Waiting) if i == 0 => broken.push(("I4", format!("{id} leads its lane but waits"))),
            Some(phase) if i > 0 && *phase != Phase::Waiting => {
                broken.push(("I4", format!("{id} overtakes its lane")));
            }
            Some(_) => {}
        }
    }
}

/// I7: no agent bears more than their capacity by assignment or offer. Conversations that they took themselves, that were
/// given by hand, or that a smaller pack left them with may exceed it, so the load is compared with what was assigned.
fn capacity(state: &State, pack: &RulePack, broken: &mut Vec<Broken>) {
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
        if state.offers_of(name) > 0 && pack.agents.get(name).is_some_and(|a| load > a.capacity.max(agent.load)) {
            broken.push(("I7", format!("agent {name} is offered more than the capacity")));
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
fn indexes(state: &State, broken: &mut Vec<Broken>) {
    let mut again = state.clone();
    again.rebuild_indexes();
    if again != *state {
        broken.push(("I9", format!("the indexes are not what the entities say: {}", state.index_difference(&again))));
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
