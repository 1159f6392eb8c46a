//! Who gets what waits: agents to conversations, and why others were passed over.

use super::Draft;
use super::notices::Told;
use crate::event::{Considered, PassedOver, Presence, Public, Why};
use crate::ids::{ContactId, ConvId};
use crate::pack::standing::Standing;
use crate::pack::{Agent, AtOnce, ConvStatus, Headcount, Name, Prefer, RulePack, Skills};
use crate::state::roster::Roster;
use crate::state::{AgentState, Conversation, LetGo, WaitClass, WaitKey};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use switchboard_envelope::Timestamp;

/// Agents named in an explanation at most; the rest is a number.
const NAMED: usize = 20;
/// Of these, those who could have taken it but were not preferred.
const PREFERRED: usize = 10;
/// Conversations of a contact that are asked for who had them.
const LOOK: usize = 64;

/// A queue with the first of each kind that waits in it and that somebody could take, in the queue's order.
struct Line {
    queue: Name,
    heads: BinaryHeap<Reverse<(WaitKey, WaitClass)>>,
}

impl Line {
    /// Where its first one stands among the first ones of other queues.
    fn first(&self) -> Option<Reverse<(WaitKey, Name)>> {
        let Reverse((key, class)) = self.heads.peek()?;
        Some(Reverse((key.among_queues(class.newest()), self.queue.clone())))
    }
}

/// What a conversation asks of an agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub skills: Skills,
    /// They are in one of these presences; empty for whoever is available.
    pub presence: Vec<Name>,
}

/// Whom a rule names, in its order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named {
    pub agents: Vec<Name>,
    /// Those of the queue that the rule names too; empty for whoever is available.
    pub presence: Vec<Name>,
}

/// Why an agent cannot take a conversation now; `None` when they can. `bears` says that it is theirs already.
pub(crate) fn passed_over(
    class: &WaitClass,
    wanted: &Wanted,
    name: &str,
    agent: &Agent,
    state: &AgentState,
    bears: bool,
) -> Option<PassedOver> {
    let other = || PassedOver::Presence { name: state.presence_word().to_owned(), counts_as: state.presence };
    match state.presence {
        Presence::Available if state.is_asked(&wanted.presence) => {}
        Presence::Away if state.named.is_none() => return Some(PassedOver::Away),
        Presence::Offline if state.named.is_none() => return Some(PassedOver::Offline),
        _ => return Some(other()),
    }
    if !class.asks(name) {
        return Some(PassedOver::NotYet);
    }
    if let Some((skill, wanted)) = missing(&wanted.skills, agent) {
        let skill = skill.clone();
        return Some(match agent.skills.get(&skill) {
            Some(level) => PassedOver::LowSkill { skill, level: *level, wanted: *wanted },
            None => PassedOver::MissingSkill(skill),
        });
    }
    if class.declined.iter().any(|d| d == name) {
        return Some(PassedOver::Declined);
    }
    if !bears && state.load.saturating_add(class.cost.max(1)) > agent.capacity {
        return Some(PassedOver::Capacity { load: state.load, capacity: agent.capacity });
    }
    (!bears && state.wrap_until.is_some()).then_some(PassedOver::WrappingUp)
}

/// A skill that is wanted and that the agent lacks, or has too little of.
fn missing<'w>(wanted: &'w Skills, agent: &Agent) -> Option<(&'w Name, &'w u8)> {
    wanted.iter().find(|(s, level)| agent.skills.get(*s).is_none_or(|have| have < *level))
}

/// What keeps an agent from a conversation, as it is told: who is passed over because they had it lately may not have declined it.
pub(crate) fn told(c: &Conversation, agent: &str, why: PassedOver) -> PassedOver {
    match (&why, c.let_go(agent)) {
        (PassedOver::Declined, Some(LetGo::Lapsed)) => PassedOver::Lapsed,
        (PassedOver::Declined, Some(LetGo::GaveAway)) => PassedOver::GaveAway,
        _ => why,
    }
}

/// What a conversation of this kind wants in a queue: what the queue does and more, or what an overflow step put in their place.
pub(crate) fn wanted(pack: &RulePack, queue: &str, class: &WaitClass) -> Wanted {
    let queue = pack.queues.get(queue);
    let presence = queue.map(|q| q.presence.clone()).unwrap_or_default();
    if let Some(relaxed) = &class.relaxed {
        return Wanted { skills: relaxed.clone(), presence };
    }
    let mut skills = queue.map(|q| q.skills.clone()).unwrap_or_default();
    for (skill, level) in &class.skills {
        let have = skills.entry(skill.clone()).or_insert(*level);
        *have = (*have).max(*level);
    }
    Wanted { skills, presence }
}

/// Whether what is wanted is what the queue itself wants, which is always at hand.
fn is_plain(class: &WaitClass) -> bool {
    class.skills.is_empty() && class.relaxed.is_none()
}

impl Draft<'_> {
    pub(super) fn agent_state(&self, agent: &str) -> AgentState {
        self.state.agents.get(agent).map(|a| (**a).clone()).unwrap_or_default()
    }

    /// Who is free by the pack of this decision.
    fn ready_roster(&mut self) {
        if !self.state.roster.is_of(self.packs()) {
            self.state.roster = Roster::of(self.packs(), &self.state.agents);
        }
    }

    /// Sees to it that whoever could take a conversation of this kind in a queue need not be searched.
    fn expect(&mut self, queue: &str, class: &WaitClass) {
        if !is_plain(class) {
            let wanted = self.wanted(queue, class);
            self.expect_skills(queue, class.trial, &wanted.skills);
        }
    }

    /// The same for all who wait in these queues.
    fn expect_all(&mut self, queues: &BTreeSet<Name>) {
        if !self.state.roster.anybody() {
            return;
        }
        for queue in queues {
            let added = self.state.classes(queue).map(|(class, _)| class).filter(|class| !is_plain(class));
            let wanted: BTreeSet<(u32, Skills)> =
                added.map(|class| (class.trial, self.wanted(queue, class).skills)).collect();
            for (trial, skills) in wanted {
                self.expect_skills(queue, trial, &skills);
            }
        }
    }

    fn expect_skills(&mut self, queue: &str, trial: u32, skills: &Skills) {
        let known = self.packs().of(&self.state, trial).queues.get(queue);
        self.state.roster.expect(skills, known, &self.state.agents);
    }

    /// What a conversation of this kind wants in a queue, by the pack that decides it.
    pub(super) fn wanted(&self, queue: &str, class: &WaitClass) -> Wanted {
        wanted(self.packs().of(&self.state, class.trial), queue, class)
    }

    /// The agents who could take a conversation of this kind, in the order of the queue's strategy.
    fn able<'s>(&'s self, queue: &str, class: &'s WaitClass, wanted: &Wanted) -> impl Iterator<Item = &'s Name> {
        let known = self.packs().of(&self.state, class.trial).queues.get(queue);
        let able = self.state.roster.able(&wanted.skills, known, class.cost);
        able.filter(|name| !class.declined.contains(*name) && class.asks(name))
    }

    fn somebody_for(&self, queue: &str, class: &WaitClass) -> bool {
        self.able(queue, class, &self.wanted(queue, class)).next().is_some()
    }

    /// Why an overflow step does not wait for its time, where nobody could be given the conversation just now.
    pub(super) fn not_waited_for(&self, at_once: &AtOnce, c: &Conversation, queue: &str) -> Option<Why> {
        let wanted = self.wanted(queue, &WaitClass::of(c));
        let counted = |of: &Headcount| of.found(self.headcount(c, queue, &of.agents, &wanted.skills));
        match at_once {
            AtOnce::NobodyAvailable => {
                let available = self.pack.presences.words().filter(|(_, counts_as)| *counts_as == Presence::Available);
                let available = available.map(|(word, _)| word.to_owned());
                let asked = if wanted.presence.is_empty() { available.collect() } else { wanted.presence };
                (self.headcount(c, queue, &asked, &wanted.skills) == 0).then_some(Why::NobodyThere)
            }
            AtOnce::NobodyFree => Some(Why::NobodyThere),
            AtOnce::All(counts) => {
                let all = counts.iter().map(counted).collect::<Option<Vec<String>>>()?;
                Some(Why::Headcount(all.join(" and ")))
            }
            AtOnce::Any(counts) => counts.iter().find_map(counted).map(Why::Headcount),
        }
    }

    /// Whether this agent is available and has what is wanted.
    pub(super) fn is_there(&self, agent: &str, wanted: &Wanted) -> bool {
        let asked = |a: &AgentState| a.presence == Presence::Available && a.is_asked(&wanted.presence);
        self.state.agents.get(agent).is_some_and(|a| asked(a)) && self.is_able(agent, &wanted.skills)
    }

    /// Whether this is an agent who has these skills.
    pub(super) fn is_able(&self, agent: &str, skills: &Skills) -> bool {
        self.pack.agents.get(agent).is_some_and(|a| missing(skills, a).is_none())
    }

    /// How many agents with these skills are in one of these presences, free or not. Who never came is offline.
    fn headcount(&self, c: &Conversation, queue: &str, presences: &[Name], skills: &Skills) -> u32 {
        let known = self.packs().of(&self.state, c.trial).queues.get(queue);
        let counted = self.state.roster.heads(skills, known, presences.iter().map(String::as_str));
        let each = || {
            let able = self.pack.agents.iter().filter(|(_, a)| missing(skills, a).is_none());
            let of =
                |name: &Name| self.state.agents.get(name).map_or(Presence::Offline.as_str(), |a| a.presence_word());
            let there = able.filter(|(name, _)| presences.iter().any(|word| word == of(name)));
            u32::try_from(there.count()).unwrap_or(u32::MAX)
        };
        debug_assert!(counted.is_none_or(|counted| counted == each()), "heads are counted otherwise than they are");
        counted.unwrap_or_else(each)
    }

    /// Where a conversation stands, as one would tell its customer.
    pub(super) fn standing(&mut self, conv: ConvId) -> Standing {
        self.ready_roster();
        let served = Standing { position: Some(1), at_once: true, wait_ms: None };
        let Some(c) = self.conv(conv).filter(|c| c.status == ConvStatus::Queued) else { return served };
        let queue = c.queue.as_deref().cloned().unwrap_or_default();
        self.expect(&queue, &WaitClass::of(&c));
        let position = self.state.place(&c);
        if position == Some(1) && self.somebody_for(&queue, &WaitClass::of(&c)) {
            return served;
        }
        let wait_ms = position.and_then(|place| self.state.estimated_wait(&queue, place));
        Standing { position, at_once: false, wait_ms }
    }

    /// Whether this very agent can take it now.
    pub(super) fn can_take(&self, c: &Conversation, wanted: Option<&Wanted>, agent: &str) -> bool {
        self.pack.agents.contains_key(agent) && self.kept_from(c, wanted, agent).is_none()
    }

    /// What keeps an agent of the pack from it now.
    fn kept_from(&self, c: &Conversation, wanted: Option<&Wanted>, agent: &str) -> Option<PassedOver> {
        let definition = self.pack.agents.get(agent)?;
        let bears = c.bearer().is_some_and(|b| b == agent);
        let wanted = wanted.cloned().unwrap_or_default();
        let why = passed_over(&WaitClass::of(c), &wanted, agent, definition, &self.agent_state(agent), bears);
        why.map(|why| told(c, agent, why))
    }

    /// What keeps somebody from it whom a rule named. They need not have what is wanted, nor be among those who are asked first; but
    /// where the rule names a queue too, they are in one of the presences in which that gives anything.
    fn named_is_kept_from(&self, c: &Conversation, named: &Named, agent: &str) -> Option<PassedOver> {
        let definition = self.pack.agents.get(agent)?;
        let bears = c.bearer().is_some_and(|b| b == agent);
        let class = WaitClass { only: Vec::new(), ..WaitClass::of(c) };
        let wanted = Wanted { presence: named.presence.clone(), ..Wanted::default() };
        let why = passed_over(&class, &wanted, agent, definition, &self.agent_state(agent), bears);
        why.map(|why| told(c, agent, why))
    }

    /// Of those who are named the first who can take it, and why those before them cannot.
    pub(super) fn first_of(&self, c: &Conversation, named: &Named) -> Considered {
        let mut considered = Considered::default();
        for agent in named.agents.iter().filter(|agent| self.pack.agents.contains_key(*agent)) {
            let Some(why) = self.named_is_kept_from(c, named, agent) else {
                considered.chosen = Some(agent.clone());
                break;
            };
            match considered.passed.len() < NAMED {
                true => considered.passed.push((agent.clone(), why)),
                false => considered.others = considered.others.saturating_add(1),
            }
        }
        considered
    }

    /// Who is preferred whatever the strategy says: who had it before, and where the queue wants it who had the contact last.
    fn preferred(&self, c: &Conversation, queue: &str) -> Option<Name> {
        if let Some(before) = &c.agent {
            return Some((**before).clone());
        }
        let since = self.now().plus(-self.pack_of(c).queues.get(queue)?.sticky_ms?);
        self.last_answered(c.contact, since)
    }

    /// Who of ours answered the contact last, in whichever conversation, if it was since then; once those are gone, whom a queue that
    /// sticks remembers.
    pub(super) fn last_answered(&self, contact: ContactId, since: Timestamp) -> Option<Name> {
        let theirs = self.state.conversations_of(contact).take(LOOK);
        let answers = theirs.filter_map(|c| c.last_answer().map(|(at, by)| (at, c.opened_by, by)));
        let ours = answers.filter(|(at, _, by)| *at >= since && self.pack.agents.contains_key(*by));
        let latest = ours.max_by_key(|(at, opened, _)| (*at, *opened)).map(|(.., by)| by);
        latest.or_else(|| self.state.last_agent(contact)).cloned()
    }

    /// Why another one was preferred to somebody who could take it as well: for a skill that the queue goes by, where they differ in
    /// one.
    fn less_preferred(&self, c: &Conversation, queue: &str, chosen: Option<&Name>, name: &str) -> PassedOver {
        let level = |agent: &str, skill: &Name| self.pack.agents.get(agent).and_then(|a| a.skills.get(skill)).copied();
        let prefer = self.pack_of(c).queues.get(queue).map_or(&[][..], |q| q.prefer.as_slice());
        let differ = |p: &&Prefer| chosen.is_some_and(|chosen| level(chosen, &p.skill) != level(name, &p.skill));
        match prefer.iter().find(differ) {
            Some(p) => {
                let less = if p.none_last && p.least { level(name, &p.skill).is_none() } else { !p.least };
                PassedOver::Skilled { skill: p.skill.clone(), less }
            }
            None => PassedOver::LessPreferred,
        }
    }

    /// Chooses an agent, and says why others were passed over.
    fn choose(&self, c: &Conversation, queue: &str) -> Considered {
        let class = WaitClass::of(c);
        let wanted = self.wanted(queue, &class);
        let before = self.preferred(c, queue);
        let known = before.as_ref().filter(|agent| self.can_take(c, Some(&wanted), agent)).cloned();
        let by_turn = known.is_none();
        let chosen = known.or_else(|| self.able(queue, &class, &wanted).next().cloned());
        let less = |name: &Name| self.less_preferred(c, queue, chosen.as_ref().filter(|_| by_turn), name);
        // Whom a rule named, and who had it before, are told of whoever else there is.
        let named =
            self.named.get(&c.id).into_iter().flat_map(|named| named.agents.iter().map(move |name| (named, name)));
        let mut passed: BTreeMap<&Name, PassedOver> = named
            .take(NAMED)
            .filter(|(_, name)| Some(*name) != chosen.as_ref())
            .filter_map(|(named, name)| Some((name, self.named_is_kept_from(c, named, name)?)))
            .collect();
        let free = self.able(queue, &class, &wanted).filter(|name| Some(*name) != chosen.as_ref());
        for name in free.take(PREFERRED) {
            passed.entry(name).or_insert_with(|| less(name));
        }
        let before = before.as_ref().and_then(|name| self.pack.agents.get_key_value(name));
        for (name, agent) in before.into_iter().chain(&self.pack.agents) {
            if passed.len() >= NAMED {
                break;
            }
            if Some(name) != chosen.as_ref() && !passed.contains_key(name) {
                let bears = c.bearer() == Some(name);
                let why = passed_over(&class, &wanted, name, agent, &self.agent_state(name), bears);
                let why = why.map(|why| told(c, name, why));
                passed.insert(name, why.unwrap_or_else(|| less(name)));
            }
        }
        let others = self.pack.agents.len().saturating_sub(passed.len() + usize::from(chosen.is_some()));
        Considered {
            passed: passed.into_iter().map(|(name, why)| (name.clone(), why)).collect(),
            others: u32::try_from(others).unwrap_or(u32::MAX),
            chosen,
        }
    }

    /// Offers or assigns what waits, as far as this decision touched it: the first of all queues first.
    pub(super) fn assign_pass(&mut self) {
        let mut left = self.most_assigned();
        loop {
            let mut queues = std::mem::take(&mut self.assign);
            if std::mem::take(&mut self.freed) {
                queues.extend(self.state.queues_in_use().cloned());
            }
            if !queues.is_empty() {
                self.ready_roster();
                self.expect_all(&queues);
                let lines = queues.into_iter().map(|queue| self.line(queue)).filter(|line| !line.heads.is_empty());
                self.match_lines(lines.map(|line| (line.queue.clone(), line)).collect(), &mut left);
            }
            // What assigning stirred up was seen to above.
            self.assign.clear();
            self.freed = false;
            for conv in std::mem::take(&mut self.arrived) {
                self.found_nobody(conv);
            }
            // Overflow steps lead to no queue twice, so this comes to an end.
            if self.arrived.is_empty() && self.assign.is_empty() {
                return;
            }
        }
    }

    /// A conversation came to wait. Where nobody can take it, an overflow step may say that it does not wait for anybody.
    fn found_nobody(&mut self, conv: ConvId) {
        let Some(c) = self.conv(conv).filter(|c| c.status == ConvStatus::Queued) else { return };
        let Some(queue) = c.queue.as_deref().cloned() else { return };
        self.ready_roster();
        self.expect(&queue, &WaitClass::of(&c));
        let considered = self.choose(&c, &queue);
        if considered.chosen.is_some() {
            return;
        }
        self.emit(Public::NobodyFree { conv, considered });
        if let Some((number, step, why)) = self.step_at_once(&c, &queue) {
            self.take_step(&c, number, step, why);
        }
    }

    fn line(&self, queue: Name) -> Line {
        let mut heads = BinaryHeap::new();
        if self.state.roster.anybody() {
            let known = |class: &WaitClass| self.packs().of(&self.state, class.trial).queues.contains_key(&queue);
            let could = |class: &WaitClass| known(class) && self.somebody_for(&queue, class);
            let classes = self.state.classes(&queue).filter(|(class, _)| could(class));
            heads.extend(classes.filter_map(|(class, set)| Some(Reverse((*set.get_min()?, class.clone())))));
        }
        Line { queue, heads }
    }

    fn match_lines(&mut self, mut lines: BTreeMap<Name, Line>, left: &mut usize) {
        let mut first: BinaryHeap<Reverse<(WaitKey, Name)>> = lines.values().filter_map(Line::first).collect();
        while let Some(Reverse((at, queue))) = first.pop() {
            let Some(line) = lines.get_mut(&queue) else { continue };
            // What stood first in it when this was noted may be gone: what stands there now has been noted too.
            if line.first().is_none_or(|Reverse((now, _))| now != at) {
                continue;
            }
            let Some(Reverse((key, class))) = line.heads.pop() else { continue };
            if !self.state.roster.anybody() {
                return;
            }
            if self.somebody_for(&queue, &class) {
                if *left == 0 {
                    let at = Some(self.now().plus(1));
                    return self.emit(Public::AssignAgain { at });
                }
                *left -= 1;
                self.give(key.conv, &queue);
                let next =
                    self.state.classes(&queue).find(|(c, _)| **c == class).and_then(|(_, set)| set.get_min().copied());
                // One that was not given away would come again.
                line.heads.extend(next.filter(|n| *n > key).map(|n| Reverse((n, class))));
                first.extend(line.first());
                self.step_aside(&mut lines, &mut first);
                continue;
            }
            first.extend(line.first());
        }
    }

    /// Where the newest come first, one whom nobody can take any more, after what was given just now, hides those behind it, who have
    /// waited longer than they have: they are compared with other queues at once. Elsewhere who stands first has waited longest.
    fn step_aside(&self, lines: &mut BTreeMap<Name, Line>, first: &mut BinaryHeap<Reverse<(WaitKey, Name)>>) {
        for line in lines.values_mut() {
            let hides = |head: &Reverse<(WaitKey, WaitClass)>, queue: &str| {
                let Reverse((_, class)) = head;
                class.newest() && !self.somebody_for(queue, class)
            };
            let mut other = false;
            while line.heads.peek().is_some_and(|head| hides(head, &line.queue)) {
                line.heads.pop();
                other = true;
            }
            first.extend(line.first().filter(|_| other));
        }
    }

    /// Offers or assigns one conversation to the agent who suits best.
    fn give(&mut self, conv: ConvId, queue: &str) {
        let Some(c) = self.conv(conv) else { return };
        let considered = self.choose(&c, queue);
        let Some(agent) = considered.chosen.clone() else { return };
        match self.pack_of(&c).queues.get(queue).and_then(|q| q.offer_timeout_ms) {
            Some(ms) => {
                let offer = self.new_offer_id();
                let expires = self.now().plus(ms);
                self.emit(Public::Offered { conv, offer, agent: agent.clone(), expires, considered });
                self.tell_agent(conv, &agent, Told::Offered { until_ms: ms }, None);
            }
            None => {
                let known = self.preferred(&c, queue).as_ref() == Some(&agent);
                let why = if known { Why::Sticky } else { Why::Strategy };
                self.assign(conv, &agent, why, considered);
            }
        }
    }
}
