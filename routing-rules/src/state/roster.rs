//! Who could take something now, in the order in which each queue would ask. It follows from the agents' states and the pack
//! in force, so it is no part of what a state says: whoever decides makes it when it is missing, and edits of agents keep it.

use super::{AgentState, InForce};
use crate::event::Presence;
use crate::pack::{Agent, Name, Prefer, Queue, Skills, Strategy, Units};
use imbl::{OrdMap, OrdSet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The set of those who are free, whatever their skills.
const ANY: u32 = u32::MAX;
/// What the pack's queues want together has sets of its own, numbered from here; so many at most.
const WANTED: u32 = 1 << 24;
const MAX_WANTED: usize = 1_000;
/// And what somebody wants together who waits, as a rule added something, from here; so many at most.
const ADDED: u32 = 1 << 25;
const MAX_ADDED: usize = 64;
/// How often something is looked for that has no set of its own, before those of what was asked for first give way to others.
const MISSED: u32 = 256;

/// Skills by number with the level that is wanted, in order.
type Wanted = Vec<(u32, u8)>;

/// Whom a queue asks: those in these presences, by their skills first, then as its strategy says.
type Order = (Strategy, Vec<Prefer>, Vec<Name>);

fn order_of(queue: &Queue) -> Order {
    (queue.strategy, queue.prefer.clone(), queue.presence.clone())
}

/// What the pack says of one agent.
#[derive(Debug, PartialEq)]
struct Term {
    name: Name,
    capacity: Units,
    /// By the skill's number, in order.
    skills: Vec<(u32, u8)>,
    /// What queues want together and this agent has, by the number of the order and of the set.
    able: Vec<(u32, u32)>,
}

impl Term {
    /// The sets of an order in which the agent stands: of all, of each skill, and of what queues want together.
    fn sets(&self, order: u32) -> impl Iterator<Item = u32> {
        let together = self.able.iter().filter(move |(of, _)| *of == order).map(|(_, set)| *set);
        std::iter::once(ANY).chain(self.skills.iter().map(|(skill, _)| *skill)).chain(together)
    }

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
    /// The orders of all queues by number, and that of a queue which says nothing.
    orders: BTreeMap<Order, u32>,
    /// Of each order, where each agent's skills put them, by the agent's number; nothing where skills do not count.
    ranks: Vec<Vec<u32>>,
    /// What queues and their overflow want together, with the queue's order: who has all of it need not be searched.
    wanted: BTreeMap<(u32, Wanted), u32>,
}

impl Terms {
    fn order(&self, queue: Option<&Queue>) -> u32 {
        let own = queue.and_then(|q| self.orders.get(&order_of(q)));
        own.or_else(|| self.orders.get(&Order::default())).copied().unwrap_or(0)
    }
}

/// An agent's turn: where their skills put them, what the strategy compares first and second, the agent's number, and the load.
type Turn = (u32, i64, i64, u32, Units);

/// Free agents by order and skill, and how many there are in each presence, free or not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    terms: Arc<Terms>,
    free: OrdMap<(u32, u32), OrdSet<Turn>>,
    heads: OrdMap<(u32, u32, Name), u32>,
    /// What conversations were found to want together, other than what the pack's queues do, with the queue's order.
    added: Arc<BTreeMap<(u32, Wanted), u32>>,
    /// What found no room among them, since they were begun anew.
    missed: u32,
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

fn turn(strategy: Strategy, rank: u32, number: u32, a: &AgentState) -> Turn {
    let (first, second) = match strategy {
        Strategy::LeastLoaded => (i64::from(a.load), a.last_assigned.0),
        Strategy::RoundRobin => (a.last_assigned.0, 0),
        // Whoever has nothing is idle; of the others, who was busy with something new longest ago.
        Strategy::LongestIdle => (i64::from(a.load > 0), a.idle_since.0),
    };
    (rank, first, second, number, a.load)
}

/// Where an order puts each agent by their skills: those who are alike have the same rank.
fn ranks(prefer: &[Prefer], agents: &BTreeMap<Name, Agent>) -> Vec<u32> {
    if prefer.is_empty() {
        return Vec::new();
    }
    // Who has none of it has the least, unless only those count who have some.
    let level = |agent: &Agent, p: &Prefer| match (agent.skills.get(&p.skill), p.least) {
        (None, true) if p.none_last => i32::MAX,
        (level, true) => level.map_or(0, |level| i32::from(*level)),
        (level, false) => -level.map_or(0, |level| i32::from(*level)),
    };
    let of = |agent: &Agent| prefer.iter().map(|p| level(agent, p)).collect::<Vec<i32>>();
    let kinds: BTreeSet<Vec<i32>> = agents.values().map(of).collect();
    let kinds: BTreeMap<Vec<i32>, u32> = kinds.into_iter().zip(0..).collect();
    agents.values().map(|agent| kinds.get(&of(agent)).copied().unwrap_or(u32::MAX)).collect()
}

fn terms(packs: InForce<'_>) -> Terms {
    let InForce { pack, tried } = packs;
    let named: BTreeSet<&Name> = pack.agents.values().flat_map(|a| a.skills.keys()).collect();
    let skills: BTreeMap<Name, u32> = named.into_iter().cloned().zip(0..).collect();
    let queues = || std::iter::once(pack).chain(tried).flat_map(|p| p.queues.values());
    let orders = queues().map(order_of).chain([Order::default()]);
    let orders: BTreeMap<Order, u32> = orders.collect::<BTreeSet<_>>().into_iter().zip(0..).collect();
    let asked = queues().flat_map(|q| {
        let steps = q.overflow.iter().filter_map(|step| step.skills.as_ref());
        let order = orders.get(&order_of(q)).copied();
        std::iter::once(&q.skills).chain(steps).filter_map(move |s| Some((order?, s)))
    });
    let asked = asked.filter_map(|(order, s)| Some((order, numbered(&skills, s)?)));
    // Who has one skill at all stands in its set already.
    let asked: BTreeSet<(u32, Wanted)> =
        asked.filter(|(_, w)| w.len() > 1 || w.iter().any(|(_, level)| *level > 1)).collect();
    let wanted: BTreeMap<(u32, Wanted), u32> = asked.into_iter().take(MAX_WANTED).zip(WANTED..).collect();
    let term = |(name, agent): (&Name, &Agent)| {
        let skills = agent.skills.iter().filter_map(|(s, level)| Some((*skills.get(s)?, *level))).collect();
        let mut term = Term { name: name.clone(), capacity: agent.capacity, skills, able: Vec::new() };
        term.able = wanted.iter().filter(|((_, w), _)| term.has(w)).map(|((o, _), set)| (*o, *set)).collect();
        term
    };
    Terms {
        pack: pack.hash.clone(),
        tried: tried.map(|p| p.hash.clone()),
        numbers: pack.agents.keys().cloned().zip(0..).collect(),
        agents: pack.agents.iter().map(term).collect(),
        skills,
        ranks: orders.keys().map(|(_, prefer, _)| ranks(prefer, &pack.agents)).collect(),
        orders,
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
        let mut roster = Roster { terms: Arc::new(terms(packs)), ..Roster::default() };
        // Who never came is offline.
        let never = AgentState::default();
        for name in packs.pack.agents.keys() {
            let a = agents.get(name).map_or(&never, |a| a);
            roster.enter(name, a);
            roster.count(name, a, |heads| heads.saturating_add(1));
        }
        roster
    }

    pub(crate) fn is_of(&self, packs: InForce<'_>) -> bool {
        self.terms.pack == packs.pack.hash && self.terms.tried.as_deref() == packs.tried.map(|p| p.hash.as_str())
    }

    /// Whether another one says the same, unlike `==`.
    pub(crate) fn says_the_same(&self, other: &Roster) -> bool {
        self.terms == other.terms && self.free == other.free && self.heads == other.heads && self.added == other.added
    }

    /// The same made anew, with sets for all for which this one has some.
    pub(crate) fn again(&self, packs: InForce<'_>, agents: &OrdMap<Name, Arc<AgentState>>) -> Roster {
        let mut again = Roster::of(packs, agents);
        let mut added: Vec<_> = self.added.iter().collect();
        added.sort_unstable_by_key(|(_, set)| **set);
        added.into_iter().for_each(|(wanted, _)| again.add(wanted.clone(), agents));
        again
    }

    /// Sees to it that whoever has all of this need not be searched, as far as there is room. It is asked for where somebody waits who
    /// wants it; what the pack's queues want, or is one skill at any level of it, has its set without.
    pub(crate) fn expect(&mut self, wanted: &Skills, queue: Option<&Queue>, agents: &OrdMap<Name, Arc<AgentState>>) {
        let Some(numbers) = numbered(&self.terms.skills, wanted) else { return };
        if matches!(numbers.as_slice(), [] | [(_, 1)]) {
            return;
        }
        let wanted = (self.terms.order(queue), numbers);
        if self.terms.wanted.contains_key(&wanted) || self.added.contains_key(&wanted) {
            return;
        }
        if self.added.len() >= MAX_ADDED {
            self.missed = self.missed.saturating_add(1);
            if self.missed < MISSED {
                return;
            }
            self.drop_added();
        }
        self.add(wanted, agents);
    }

    fn add(&mut self, wanted: (u32, Wanted), agents: &OrdMap<Name, Arc<AgentState>>) {
        let set = ADDED.saturating_add(u32::try_from(self.added.len()).unwrap_or(u32::MAX - ADDED));
        let (terms, never) = (Arc::clone(&self.terms), AgentState::default());
        for term in terms.agents.iter().filter(|term| term.has(&wanted.1)) {
            let a = agents.get(&term.name).map_or(&never, |a| a);
            // Where they stand in the order's set of all.
            let turn = self.places(&term.name, a).into_iter().find(|(place, _)| *place == (wanted.0, ANY));
            if let Some((_, turn)) = turn {
                self.free.entry((wanted.0, set)).or_default().insert(turn);
            }
            *self.heads.entry((wanted.0, set, a.presence_word().to_owned())).or_default() += 1;
        }
        Arc::make_mut(&mut self.added).insert(wanted, set);
    }

    fn drop_added(&mut self) {
        self.missed = 0;
        for (order, set) in self.added.iter().map(|((order, _), set)| (*order, *set)) {
            self.free.remove(&(order, set));
            let heads = self.heads.range((order, set, Name::new())..(order, set + 1, Name::new()));
            let heads: Vec<_> = heads.map(|(key, _)| key.clone()).collect();
            for key in heads {
                self.heads.remove(&key);
            }
        }
        self.added = Arc::default();
    }

    /// The set of those who have all of this, if there is one.
    fn together(&self, wanted: &(u32, Wanted)) -> Option<u32> {
        self.terms.wanted.get(wanted).or_else(|| self.added.get(wanted)).copied()
    }

    /// What was added of an order that this agent has all of.
    fn added_for<'r>(&'r self, order: u32, term: &'r Term) -> impl Iterator<Item = u32> + 'r {
        let of = (order, Wanted::new())..(order.saturating_add(1), Wanted::new());
        self.added.range(of).filter(|((_, wanted), _)| term.has(wanted)).map(|(_, set)| *set)
    }

    fn term(&self, name: &str) -> Option<(u32, &Term)> {
        let number = *self.terms.numbers.get(name)?;
        Some((number, self.terms.agents.get(number as usize)?))
    }

    fn places(&self, name: &str, a: &AgentState) -> Vec<((u32, u32), Turn)> {
        let Some((number, term)) = self.term(name).filter(|(_, t)| is_free(a, t.capacity)) else { return vec![] };
        let mut places = Vec::new();
        for ((strategy, _, _), order) in self.terms.orders.iter().filter(|((.., presences), _)| a.is_asked(presences)) {
            let ranks = self.terms.ranks.get(*order as usize);
            let rank = ranks.and_then(|r| r.get(number as usize)).copied().unwrap_or(0);
            let turn = turn(*strategy, rank, number, a);
            places.extend(term.sets(*order).chain(self.added_for(*order, term)).map(|set| ((*order, set), turn)));
        }
        places
    }

    /// Counts an agent anew in their presence, in every set they stand in.
    fn count(&mut self, name: &str, a: &AgentState, anew: impl Fn(u32) -> u32) {
        let Some((_, term)) = self.term(name) else { return };
        let orders = self.terms.orders.values();
        let sets = orders.flat_map(|order| {
            let sets = term.sets(*order).chain(self.added_for(*order, term));
            sets.map(move |set| (*order, set, a.presence_word().to_owned()))
        });
        for key in sets.collect::<Vec<_>>() {
            match anew(self.heads.get(&key).copied().unwrap_or(0)) {
                0 => drop(self.heads.remove(&key)),
                count => drop(self.heads.insert(key, count)),
            }
        }
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
        if before.presence_word() != after.presence_word() {
            self.count(name, before, |heads| heads.saturating_sub(1));
            self.count(name, after, |heads| heads.saturating_add(1));
        }
    }

    /// How many agents with these skills are in one of these presences, free or not; `None` where that is not counted, because no queue
    /// wants these skills together by itself, and they were not [expected](Roster::expect).
    pub(crate) fn heads<'w>(
        &self,
        wanted: &Skills,
        queue: Option<&Queue>,
        words: impl Iterator<Item = &'w str>,
    ) -> Option<u32> {
        let order = self.terms.order(queue);
        // What nobody has, nobody has in any presence.
        let Some(numbers) = numbered(&self.terms.skills, wanted) else { return Some(0) };
        let set = match numbers.as_slice() {
            [] => ANY,
            [(skill, 1)] => *skill,
            _ => self.together(&(order, numbers))?,
        };
        let count = |word: &str| self.heads.get(&(order, set, word.to_owned())).copied().unwrap_or(0);
        Some(words.map(count).fold(0, u32::saturating_add))
    }

    /// Whether anybody is free.
    pub(crate) fn anybody(&self) -> bool {
        !self.free.is_empty()
    }

    /// Free agents with these skills and this much room, in the order of the queue. Walked is the set of those who have them
    /// together, where a queue wants just that or it was [expected](Roster::expect); else the smallest set of those who have one of them.
    pub(crate) fn able(&self, wanted: &Skills, queue: Option<&Queue>, cost: Units) -> impl Iterator<Item = &Name> {
        let order = self.terms.order(queue);
        let asked = numbered(&self.terms.skills, wanted).map(|wanted| (order, wanted));
        let together = asked.as_ref().and_then(|asked| self.together(asked));
        let known = asked.is_some();
        let wanted = asked.map(|(_, wanted)| wanted).unwrap_or_default();
        let sets = || wanted.iter().map(|(s, _)| *s).chain(wanted.is_empty().then_some(ANY));
        let smallest = || sets().min_by_key(|set| self.free.get(&(order, *set)).map_or(0, OrdSet::len));
        let walked = together.or_else(smallest).filter(|_| known).and_then(|set| self.free.get(&(order, set)));
        let able = move |(_, _, _, number, load): &Turn| {
            let term = self.terms.agents.get(*number as usize)?;
            let fits = load.saturating_add(cost) <= term.capacity;
            (fits && (together.is_some() || term.has(&wanted))).then_some(&term.name)
        };
        walked.into_iter().flat_map(OrdSet::iter).filter_map(able)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::{Environment, RulePack};

    /// Agents of whom each has two of these skills beside one that all have.
    fn crowd(skills: usize) -> (RulePack, OrdMap<Name, Arc<AgentState>>) {
        let mut yaml = String::from("zone: UTC\nqueues: { q: {} }\ndefault: { queue: q }\nagents:\n");
        let pairs = || (0..skills).flat_map(|a| (a + 1..skills).map(move |b| (a, b)));
        for (a, b) in pairs() {
            yaml.push_str(&format!("  a{a}-{b}: {{ skills: {{ s{a}: 2, s{b}: 1, all: 1 }}, capacity: 3 }}\n"));
        }
        let pack = RulePack::load(&[("pack.yaml".to_owned(), yaml.into_bytes())], &Environment::default());
        let pack = pack.expect("a pack").pack;
        let here = AgentState { presence: Presence::Available, ..AgentState::default() };
        let agents = pack.agents.keys().map(|name| (name.clone(), Arc::new(here.clone()))).collect();
        (pack, agents)
    }

    fn wanted(pair: (usize, usize)) -> Skills {
        [(format!("s{}", pair.0), 2), (format!("s{}", pair.1), 1)].into()
    }

    #[test]
    fn of_what_was_expected_only_those_who_have_it_are_walked() {
        let (pack, mut agents) = crowd(20);
        let packs = InForce { pack: &pack, tried: None };
        let (mut roster, queue) = (Roster::of(packs, &agents), pack.queues.get("q"));
        let asked =
            |roster: &Roster, pair| roster.together(&(0, numbered(&roster.terms.skills, &wanted(pair)).unwrap()));
        let walked = |roster: &Roster, pair| Some(roster.free.get(&(0, asked(roster, pair)?)).map_or(0, OrdSet::len));
        assert_eq!(walked(&roster, (3, 4)), None, "everybody with one of both");
        roster.expect(&wanted((3, 4)), queue, &agents);
        assert_eq!(walked(&roster, (3, 4)), Some(1));
        assert_eq!(roster.able(&wanted((3, 4)), queue, 1).collect::<Vec<_>>(), ["a3-4"]);
        assert_eq!(roster.heads(&wanted((3, 4)), queue, ["available"].into_iter()), Some(1));
        // Who leaves stands there no more.
        let before = agents["a3-4"].clone();
        let after = AgentState { presence: Presence::Away, ..(*before).clone() };
        roster.note("a3-4", &before, &after);
        agents.insert("a3-4".into(), Arc::new(after));
        assert_eq!((walked(&roster, (3, 4)), roster.able(&wanted((3, 4)), queue, 1).next()), (Some(0), None));
        assert_eq!(roster.heads(&wanted((3, 4)), queue, ["away"].into_iter()), Some(1));
        assert!(roster.says_the_same(&roster.again(packs, &agents)));
        assert!(!roster.says_the_same(&Roster::of(packs, &agents)));
    }

    #[test]
    fn what_is_expected_is_bounded_and_what_was_first_gives_way_when_others_are_asked_for_long_enough() {
        let (pack, agents) = crowd(20);
        let packs = InForce { pack: &pack, tried: None };
        let (mut roster, queue) = (Roster::of(packs, &agents), pack.queues.get("q"));
        let pairs: Vec<_> = (0..20).flat_map(|a| (a + 1..20).map(move |b| (a, b))).collect();
        let mut begun_anew = 0;
        for pair in pairs.iter().cycle().take(4_000) {
            let before = roster.added.len();
            roster.expect(&wanted(*pair), queue, &agents);
            assert!(roster.added.len() <= MAX_ADDED);
            begun_anew += usize::from(roster.added.len() < before);
            let name = format!("a{}-{}", pair.0, pair.1);
            assert_eq!(roster.able(&wanted(*pair), queue, 1).collect::<Vec<_>>(), [&name]);
        }
        assert!((2..20).contains(&begun_anew), "{begun_anew} times");
        assert!(roster.says_the_same(&roster.again(packs, &agents)));
    }
}
