//! Who could take something now, in the order in which each strategy would ask. It follows from the agents' states and the pack
//! in force, so it is no part of what a state says: whoever decides makes it when it is missing, and edits of agents keep it.

use super::{AgentState, InForce};
use crate::event::Presence;
use crate::pack::{Agent, Name, Skills, Strategy, Units};
use imbl::{OrdMap, OrdSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The set of those who are free, whatever their skills.
const ANY: u32 = u32::MAX;

/// What the pack says of one agent.
#[derive(Debug, PartialEq)]
struct Term {
    name: Name,
    capacity: Units,
    /// By the skill's number, in order.
    skills: Vec<(u32, u8)>,
}

/// What the pack says of all: agents and skills by number, in the order of their names.
#[derive(Debug, Default, PartialEq)]
struct Terms {
    pack: String,
    /// The pack that is tried beside it: its queues may have other strategies.
    tried: Option<String>,
    numbers: BTreeMap<Name, u32>,
    agents: Vec<Term>,
    skills: BTreeMap<Name, u32>,
    strategies: Vec<Strategy>,
}

/// An agent's turn: what the strategy compares first and second, the agent's number, and the load.
type Turn = (i64, i64, u32, Units);

/// Free agents by strategy and skill.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    terms: Arc<Terms>,
    free: OrdMap<(Strategy, u32), OrdSet<Turn>>,
}

/// Two states that say the same are equal, whether or not somebody has decided with them.
impl PartialEq for Roster {
    fn eq(&self, _: &Roster) -> bool {
        true
    }
}

/// Whether the agent may be given something at all.
pub(crate) fn is_free(a: &AgentState, capacity: Units) -> bool {
    a.presence == Presence::Available && a.wrap_until.is_none() && a.load < capacity
}

fn turn(strategy: Strategy, number: u32, a: &AgentState) -> Turn {
    let (first, second) = match strategy {
        Strategy::LeastLoaded => (i64::from(a.load), a.last_assigned.0),
        Strategy::RoundRobin => (a.last_assigned.0, 0),
        // Whoever has nothing is idle; of the others, who was busy with something new longest ago.
        Strategy::LongestIdle => (i64::from(a.load > 0), a.idle_since.0),
    };
    (first, second, number, a.load)
}

fn terms(packs: InForce<'_>) -> Terms {
    let InForce { pack, tried } = packs;
    let named: BTreeSet<&Name> = pack.agents.values().flat_map(|a| a.skills.keys()).collect();
    let skills: BTreeMap<Name, u32> = named.into_iter().cloned().zip(0..).collect();
    let term = |(name, agent): (&Name, &Agent)| Term {
        name: name.clone(),
        capacity: agent.capacity,
        skills: agent.skills.iter().filter_map(|(s, level)| Some((*skills.get(s)?, *level))).collect(),
    };
    let queues = std::iter::once(pack).chain(tried).flat_map(|p| p.queues.values());
    let mut strategies: Vec<Strategy> = queues.map(|q| q.strategy).chain([Strategy::default()]).collect();
    strategies.sort_unstable();
    strategies.dedup();
    Terms {
        pack: pack.hash.clone(),
        tried: tried.map(|p| p.hash.clone()),
        numbers: pack.agents.keys().cloned().zip(0..).collect(),
        agents: pack.agents.iter().map(term).collect(),
        skills,
        strategies,
    }
}

impl Roster {
    /// Whoever is free of the agents of the pack in force.
    pub(crate) fn of(packs: InForce<'_>, agents: &OrdMap<Name, Arc<AgentState>>) -> Roster {
        let mut roster = Roster { terms: Arc::new(terms(packs)), free: OrdMap::new() };
        for (name, a) in agents {
            roster.enter(name, a);
        }
        roster
    }

    pub(crate) fn is_of(&self, packs: InForce<'_>) -> bool {
        self.terms.pack == packs.pack.hash && self.terms.tried.as_deref() == packs.tried.map(|p| p.hash.as_str())
    }

    /// Whether another one says the same, unlike `==`.
    pub(crate) fn says_the_same(&self, other: &Roster) -> bool {
        self.terms == other.terms && self.free == other.free
    }

    fn term(&self, name: &str) -> Option<(u32, &Term)> {
        let number = *self.terms.numbers.get(name)?;
        Some((number, self.terms.agents.get(number as usize)?))
    }

    fn places(&self, name: &str, a: &AgentState) -> Vec<((Strategy, u32), Turn)> {
        let Some((number, term)) = self.term(name).filter(|(_, t)| is_free(a, t.capacity)) else { return vec![] };
        let sets = || std::iter::once(ANY).chain(term.skills.iter().map(|(s, _)| *s));
        let of = |strategy: Strategy| sets().map(move |set| ((strategy, set), turn(strategy, number, a)));
        self.terms.strategies.iter().copied().flat_map(of).collect()
    }

    fn enter(&mut self, name: &str, a: &AgentState) {
        for (set, turn) in self.places(name, a) {
            self.free.entry(set).or_default().insert(turn);
        }
    }

    /// An agent's state became another.
    pub(crate) fn note(&mut self, name: &str, before: &AgentState, after: &AgentState) {
        for (set, turn) in self.places(name, before) {
            let empty = self.free.get_mut(&set).is_some_and(|turns| {
                turns.remove(&turn);
                turns.is_empty()
            });
            if empty {
                self.free.remove(&set);
            }
        }
        self.enter(name, after);
    }

    /// Whether anybody is free.
    pub(crate) fn anybody(&self) -> bool {
        !self.free.is_empty()
    }

    /// Free agents with these skills and this much room, in the order of the strategy. What is walked is the smallest set of those
    /// who have one of the skills.
    pub(crate) fn able(&self, wanted: &Skills, strategy: Strategy, cost: Units) -> impl Iterator<Item = &Name> {
        let numbers: Option<Vec<(u32, u8)>> =
            wanted.iter().map(|(s, level)| Some((*self.terms.skills.get(s)?, *level))).collect();
        let wanted = numbers.clone().unwrap_or_default();
        let sets = || wanted.iter().map(|(s, _)| *s).chain(wanted.is_empty().then_some(ANY));
        let smallest = sets().min_by_key(|set| self.free.get(&(strategy, *set)).map_or(0, OrdSet::len));
        let walked = smallest.filter(|_| numbers.is_some()).and_then(|set| self.free.get(&(strategy, set)));
        let able = move |(_, _, number, load): &Turn| {
            let term = self.terms.agents.get(*number as usize)?;
            let has = |(skill, level): &(u32, u8)| {
                let at = term.skills.binary_search_by_key(skill, |(s, _)| *s).ok();
                at.and_then(|at| term.skills.get(at)).is_some_and(|(_, have)| have >= level)
            };
            (load.saturating_add(cost) <= term.capacity && wanted.iter().all(has)).then_some(&term.name)
        };
        walked.into_iter().flat_map(OrdSet::iter).filter_map(able)
    }
}
