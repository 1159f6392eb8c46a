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
/// What the pack's queues want together has sets of its own, numbered from here; so many at most.
const WANTED: u32 = 1 << 24;
const MAX_WANTED: usize = 1_000;

/// Skills by number with the level that is wanted, in order.
type Wanted = Vec<(u32, u8)>;

/// What the pack says of one agent.
#[derive(Debug, PartialEq)]
struct Term {
    name: Name,
    capacity: Units,
    /// By the skill's number, in order.
    skills: Vec<(u32, u8)>,
    /// What queues want together and this agent has.
    able: Vec<(Strategy, u32)>,
}

impl Term {
    fn has(&self, wanted: &[(u32, u8)]) -> bool {
        wanted.iter().all(|(skill, level)| {
            let at = self.skills.binary_search_by_key(skill, |(s, _)| *s).ok();
            at.and_then(|at| self.skills.get(at)).is_some_and(|(_, have)| have >= level)
        })
    }
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
    /// What queues and their overflow want together, with the queue's strategy: who has all of it need not be searched.
    wanted: BTreeMap<(Strategy, Wanted), u32>,
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
    let queues = || std::iter::once(pack).chain(tried).flat_map(|p| p.queues.values());
    let asked = queues().flat_map(|q| {
        let steps = q.overflow.iter().filter_map(|step| step.skills.as_ref());
        std::iter::once(&q.skills).chain(steps).map(|s| (q.strategy, s))
    });
    let asked = asked.filter_map(|(strategy, s)| Some((strategy, numbered(&skills, s)?)));
    // Who has one skill at all stands in its set already.
    let asked: BTreeSet<(Strategy, Wanted)> =
        asked.filter(|(_, w)| w.len() > 1 || w.iter().any(|(_, level)| *level > 1)).collect();
    let wanted: BTreeMap<(Strategy, Wanted), u32> = asked.into_iter().take(MAX_WANTED).zip(WANTED..).collect();
    let term = |(name, agent): (&Name, &Agent)| {
        let skills = agent.skills.iter().filter_map(|(s, level)| Some((*skills.get(s)?, *level))).collect();
        let mut term = Term { name: name.clone(), capacity: agent.capacity, skills, able: Vec::new() };
        term.able = wanted.iter().filter(|((_, w), _)| term.has(w)).map(|((s, _), set)| (*s, *set)).collect();
        term
    };
    let mut strategies: Vec<Strategy> = queues().map(|q| q.strategy).chain([Strategy::default()]).collect();
    strategies.sort_unstable();
    strategies.dedup();
    Terms {
        pack: pack.hash.clone(),
        tried: tried.map(|p| p.hash.clone()),
        numbers: pack.agents.keys().cloned().zip(0..).collect(),
        agents: pack.agents.iter().map(term).collect(),
        skills,
        strategies,
        wanted,
    }
}

/// What is wanted by number; `None` when nobody has one of the skills.
fn numbered(skills: &BTreeMap<Name, u32>, wanted: &Skills) -> Option<Wanted> {
    let mut numbers: Wanted =
        wanted.iter().map(|(s, level)| Some((*skills.get(s)?, *level))).collect::<Option<Wanted>>()?;
    numbers.sort_unstable();
    Some(numbers)
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
        let together = term.able.iter().map(|(strategy, set)| ((*strategy, *set), turn(*strategy, number, a)));
        self.terms.strategies.iter().copied().flat_map(of).chain(together).collect()
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

    /// Free agents with these skills and this much room, in the order of the strategy. Walked is the set of those who have them
    /// together, where a queue wants just that; else the smallest set of those who have one of them.
    pub(crate) fn able(&self, wanted: &Skills, strategy: Strategy, cost: Units) -> impl Iterator<Item = &Name> {
        let asked = numbered(&self.terms.skills, wanted).map(|wanted| (strategy, wanted));
        let together = asked.as_ref().and_then(|asked| self.terms.wanted.get(asked)).copied();
        let known = asked.is_some();
        let wanted = asked.map(|(_, wanted)| wanted).unwrap_or_default();
        let sets = || wanted.iter().map(|(s, _)| *s).chain(wanted.is_empty().then_some(ANY));
        let smallest = || sets().min_by_key(|set| self.free.get(&(strategy, *set)).map_or(0, OrdSet::len));
        let walked = together.or_else(smallest).filter(|_| known).and_then(|set| self.free.get(&(strategy, set)));
        let able = move |(_, _, number, load): &Turn| {
            let term = self.terms.agents.get(*number as usize)?;
            let fits = load.saturating_add(cost) <= term.capacity;
            (fits && (together.is_some() || term.has(&wanted))).then_some(&term.name)
        };
        walked.into_iter().flat_map(OrdSet::iter).filter_map(able)
    }
}
