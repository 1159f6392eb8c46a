//! Queues and agents: who gets what waits.

use super::notices::Told;
use super::{DEFAULT_CLOCK_MS, Draft, STEP};
use crate::event::{ClockKind, Considered, Happening, OfferEnd, Presence, Public, StepTaken, Why};
use crate::ids::ConvId;
use crate::pack::{AtOnce, ConvStatus, Name, OverflowStep, RulePack, Skills, Wait};
use crate::state::{AgentState, Clock, Conversation, WaitClass};
use switchboard_envelope::Timestamp;

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

/// How a conversation comes back to a queue: it wants what it wanted when it waited there last, and as long. What its rules wanted
/// and for how long goes together; neither goes to another queue, nor with what was closed, which begins anew.
///
/// `own` are the steps of that queue itself.
pub(crate) fn comes_back(c: &Conversation, queue: Name, own: &[OverflowStep], why: Why) -> Entry {
    let mut entry = Entry::new(queue, why);
    let there = c.queue.as_deref() == Some(&entry.queue);
    let Some(chosen) = c.chosen.as_deref().filter(|_| there) else { return entry };
    entry.skills.clone_from(&c.skills);
    // For whom it waited by name was a matter of that time.
    let steps = c.overflow.iter().filter(|step| !waits_only(step));
    let steps: Vec<OverflowStep> = steps.map(|step| OverflowStep { only: vec![], ..step.clone() }).collect();
    let of_rules = match &chosen.overflow {
        Some(of_rules) => *of_rules == steps,
        // Rules that said nothing of either left it with what those before them had said.
        None => chosen.queue.is_none() && steps != own,
    };
    entry.overflow = of_rules.then_some(steps);
    entry
}

/// Whether a step is there for a rule's `wait` alone.
fn waits_only(step: &OverflowStep) -> bool {
    step.skills.is_none() && step.queue.is_none() && step.priority.is_none()
}

/// What is told of a step that takes effect.
fn taken(c: &Conversation, number: u32, step: &OverflowStep, why: &Why) -> StepTaken {
    let at = number as usize;
    let written = c.overflow.iter().take(at).filter(|step| !waits_only(step)).count();
    let waits_on = c.overflow.get(at + 1).is_some_and(|next| !next.only.is_empty());
    StepTaken {
        number: u32::try_from(written + 1).ok().filter(|_| !waits_only(step)),
        why: why.clone(),
        after_ms: step.after_ms,
        only: if waits_on { vec![] } else { step.only.clone() },
    }
}

impl Draft<'_> {
    /// The steps of a queue of a conversation's pack.
    pub(crate) fn steps_of(&self, c: &Conversation, queue: &str) -> Vec<OverflowStep> {
        self.pack_of(c).queues.get(queue).map(|q| q.overflow.clone()).unwrap_or_default()
    }

    /// Where the next one waits when a queue has all that may wait in it; limits never lead in a circle.
    fn with_room(&self, conv: &Conversation, entry: &mut Entry) {
        let pack = self.pack_of(conv);
        for _ in 0..pack.queues.len() {
            let Some(limit) = pack.queues.get(&entry.queue).and_then(|q| q.limit.as_ref()) else { return };
            let stays = conv.queue.as_deref() == Some(&entry.queue) && conv.queued_at.is_some();
            // What comes back stood here before.
            let returns = entry.why == Why::Returned && conv.queue.as_deref() == Some(&entry.queue);
            if stays || returns || self.state.depth(&entry.queue) < limit.waiting as usize {
                return;
            }
            let full = std::mem::replace(&mut entry.queue, limit.queue.clone());
            entry.why = match &entry.why {
                // Who gave it away does not get it back for that.
                Why::Transferred => Why::TransferredOn(full),
                Why::TransferredOn(first) => Why::TransferredOn(first.clone()),
                _ => Why::Overflow,
            };
        }
    }

    /// Puts a conversation into a queue, with its clock.
    pub(crate) fn enqueue(&mut self, conv: ConvId, mut entry: Entry) {
        let Some(c) = self.conv(conv) else { return };
        self.with_room(&c, &mut entry);
        let Some(queue) = self.pack_of(&c).queues.get(&entry.queue) else {
            if entry.why != Why::Vanished {
                self.enqueue_default(conv, Why::Vanished);
            }
            return;
        };
        self.withdraw_offer(&c);
        if c.status == ConvStatus::Assigned {
            self.somebody_freed();
        }
        let now = self.now();
        let stays = c.queue.as_deref() == Some(&entry.queue) && c.status == ConvStatus::Queued;
        let entered = c.entered_at.get().filter(|_| stays).unwrap_or(now);
        self.emit(Public::Queued {
            conv,
            queue: entry.queue.clone(),
            since: entry.since.or(c.queued_at.get()).unwrap_or(now),
            entered,
            skills: entry.skills,
            overflow: entry.overflow.unwrap_or_else(|| queue.overflow.clone()),
            ageing: queue.ageing_ms,
            newest: queue.newest,
            by: self.by_hand(&entry.why),
            why: entry.why,
        });
        self.start_clock(conv);
        self.arrived.insert(conv);
        self.assign.insert(entry.queue);
    }

    /// Whether its queue has another order than it stands by there.
    pub(crate) fn stands_otherwise(&self, c: &Conversation) -> bool {
        let queue = c.queue.as_deref().and_then(|q| self.pack_of(c).queues.get(q));
        queue.is_some_and(|q| q.newest != WaitClass::of(c).newest())
    }

    /// Puts what waits where it is by the order that its queue has now: nothing else of its wait changes. False where its pack does not
    /// have that queue.
    pub(crate) fn stands_by_the_order(&mut self, conv: ConvId) -> bool {
        let Some(c) = self.conv(conv) else { return false };
        let Some((name, queue)) = c.queue.as_deref().and_then(|q| self.pack_of(&c).queues.get_key_value(q)) else {
            return false;
        };
        let now = self.now();
        self.emit(Public::Queued {
            conv,
            queue: name.clone(),
            since: c.queued_at.get().unwrap_or(now),
            entered: c.entered_at.get().unwrap_or(now),
            skills: (*c.skills).clone(),
            overflow: c.overflow.to_vec(),
            ageing: queue.ageing_ms,
            newest: queue.newest,
            why: Why::Reordered,
            by: None,
        });
        self.assign.insert(name.clone());
        true
    }

    /// An overflow step takes effect: because its time has come, or at once.
    pub(crate) fn take_step(&mut self, c: &Conversation, number: u32, step: &OverflowStep, why: Why) {
        let conv = c.id;
        let at_once = why.is_at_once();
        let taken = Some(Box::new(taken(c, number, step, &why)));
        self.emit(Public::Relaxed { conv, step: number, skills: step.skills.clone(), at_once, taken });
        // What a clock raised further stays there.
        // The clock of a queue that promises nothing warns nobody.
        let warned = |clock: &Clock| clock.warned && clock.kind != ClockKind::Waiting;
        let late = c.clock.as_ref().is_some_and(|clock| clock.breached || warned(clock));
        let lowers = step.lowers && !late;
        if let Some(priority) = step.priority.filter(|p| *p > c.priority || (lowers && *p < c.priority)) {
            self.emit(Public::Prioritised { conv, priority, by: None });
        }
        match &step.queue {
            Some(queue) if c.queue.as_deref() != Some(queue) => self.enqueue(conv, Entry::new(queue.clone(), why)),
            _ => {
                self.assign.extend(c.queue.as_deref().cloned());
                // What follows it may not wait either.
                if c.overflow.get(number as usize + 1).is_some_and(|next| next.at_once.is_some()) {
                    self.arrived.insert(conv);
                }
            }
        }
    }

    /// The step that does not wait: its turn has come, and nobody is there who could take the conversation. Of one that waits for
    /// nobody in particular the turn comes and goes.
    pub(crate) fn step_at_once<'c>(&self, c: &'c Conversation, queue: &str) -> Option<(u32, &'c OverflowStep, Why)> {
        for (number, step) in (0u32..).zip(c.overflow.iter()).skip(c.step as usize) {
            // It was not given to anybody just now.
            let why = step.at_once.as_ref().and_then(|at_once| self.not_waited_for(at_once, c, queue));
            if let Some(why) = why {
                return Some((number, step, why));
            }
            if step.after_ms.is_some() {
                return None;
            }
        }
        None
    }

    /// Where none of those who are named can take it now, only they are asked for so long: until the step that ends it. Nobody waits for
    /// who could never take it, nor, unless the rule says so, where none of them is there.
    pub(crate) fn wait_for(&self, c: &Conversation, entry: &mut Entry, named: &[Name], wait: Option<Wait>) {
        let Some((Wait { ms, absent }, queue)) = wait.zip(self.pack_of(c).queues.get(&entry.queue)) else { return };
        let class = WaitClass { skills: entry.skills.clone(), ..WaitClass::of(c) };
        let wanted = self.wanted(&entry.queue, &WaitClass { relaxed: None, ..class });
        let only: Vec<Name> = named.iter().filter(|agent| self.is_able(agent, &wanted.skills)).cloned().collect();
        if only.is_empty() || !(absent || only.iter().any(|agent| self.is_there(agent, &wanted))) {
            return;
        }
        let mut steps = entry.overflow.take().unwrap_or_else(|| queue.overflow.clone());
        // Of whom it waits for nobody is free: a step that asks for that has its turn after the wait.
        let waits = |step: &&OverflowStep| step.at_once != Some(AtOnce::NobodyFree);
        let at = steps.iter().take_while(|s| waits(s) && s.after_ms.is_some_and(|after| after <= ms)).count();
        for step in steps.iter_mut().take(at) {
            step.only.clone_from(&only);
        }
        if steps.get(at.wrapping_sub(1)).is_none_or(|step| step.after_ms != Some(ms)) {
            steps.insert(at, OverflowStep { after_ms: Some(ms), only, ..OverflowStep::default() });
        }
        entry.overflow = Some(steps);
    }

    /// The queue of the pack's `default`, which every pack has.
    pub(crate) fn default_queue(&self, pack: &RulePack) -> Option<Name> {
        let chosen = pack.default_queue(self.now()).map(str::to_owned);
        chosen.or_else(|| pack.queues.keys().next().cloned())
    }

    pub(crate) fn enqueue_default(&mut self, conv: ConvId, why: Why) {
        let Some(pack) = self.state.conversation(conv).map(|c| self.pack_of(c)) else { return };
        match self.default_queue(pack) {
            Some(queue) if pack.queues.contains_key(&queue) => self.enqueue(conv, Entry::new(queue, why)),
            // A pack without a usable default does not load; the wait for the customer at least keeps a clock.
            _ => {
                let until = self.now().plus(DEFAULT_CLOCK_MS);
                self.snooze_until(conv, until);
            }
        }
    }

    /// Gives a conversation to an agent who has room; false when there is none.
    pub(crate) fn assign_if_room(&mut self, conv: ConvId, agent: &str, why: Why) -> bool {
        let takes = self.conv(conv).is_some_and(|c| self.can_take(&c, None, agent));
        if takes {
            self.assign(conv, agent, why, Considered { chosen: Some(agent.to_owned()), ..Considered::default() });
        }
        takes
    }

    pub(crate) fn assign(&mut self, conv: ConvId, agent: &str, why: Why, considered: Considered) {
        self.assign_at(conv, agent, why, considered, None);
    }

    /// Assigns, and tells the agent of it at this desk, or at their own.
    pub(crate) fn assign_at(
        &mut self,
        conv: ConvId,
        agent: &str,
        why: Why,
        considered: Considered,
        desk: Option<&str>,
    ) {
        if let Some(c) = self.conv(conv) {
            if c.agent.as_deref().is_none_or(|before| before != agent) {
                self.happened(conv, Happening::Assigned);
            }
            self.withdraw_offer(&c);
            if c.status == ConvStatus::Assigned && c.agent.as_deref().is_none_or(|a| a != agent) {
                self.somebody_freed();
            }
        }
        // Who took it knows.
        let unaware = !matches!(why, Why::Taken | Why::Accepted);
        let by = self.by_hand(&why).filter(|by| by != agent);
        self.emit(Public::Assigned { conv, agent: agent.to_owned(), why, considered, by });
        self.start_clock(conv);
        if unaware {
            self.tell_agent(conv, agent, Told::Assigned, desk);
        }
    }

    /// Who of ours moves it, where somebody does.
    fn by_hand(&self, why: &Why) -> Option<Name> {
        self.by.clone().filter(|_| why.is_transfer() || matches!(why, Why::Taken | Why::Reopened))
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
        self.freed = true;
    }

    /// An agent's presence, as asked for.
    pub(crate) fn set_presence(&mut self, agent: &str, presence: Presence, named: Option<Name>, lapsed: bool) {
        let at = self.now();
        let before = self.agent_state(agent);
        let other = before.presence != presence || before.named != named;
        if other || before.next_deadline().is_some() {
            self.emit(Public::PresenceChanged { agent: agent.to_owned(), presence, named, at, lapsed });
        }
        match presence {
            Presence::Available => self.somebody_freed(),
            Presence::Offline | Presence::Away => {
                // Nobody waits for the answer of somebody who is not there.
                let borne: Vec<ConvId> = self.state.borne_by(agent).take(STEP).collect();
                let offered = borne.iter().filter_map(|id| self.conv(*id)).filter(|c| c.offer.is_some());
                for c in offered.collect::<Vec<_>>() {
                    self.end_offer(&c, OfferEnd::Withdrawn);
                }
                if presence == Presence::Offline && self.state.borne_by(agent).next().is_some() {
                    let until = at.plus(self.pack.presences.grace_ms);
                    self.emit(Public::GraceBegan { agent: agent.to_owned(), until });
                }
            }
        }
    }

    /// What somebody is given by hand while they are offline goes back after the grace, like what they leave behind.
    pub(crate) fn begin_grace(&mut self, agent: &str) {
        let state = self.agent_state(agent);
        if state.presence == Presence::Offline && state.grace_until.is_none() {
            let until = self.now().plus(self.pack.presences.grace_ms);
            self.emit(Public::GraceBegan { agent: agent.to_owned(), until });
        }
    }

    /// An agent whose conversation closed is given nothing new for as long as its queue says.
    pub(crate) fn wrap_up(&mut self, c: &Conversation) {
        let Some(agent) = c.agent.as_deref().cloned() else { return };
        let Some(ms) = c.queue.as_deref().and_then(|q| self.pack_of(c).queues.get(q)).and_then(|q| q.wrap_up_ms) else {
            return;
        };
        let state = self.agent_state(&agent);
        let until = self.now().plus(ms);
        if state.presence == Presence::Available && state.wrap_until.is_none_or(|at| at < until) {
            self.emit(Public::WrapUp { agent, until: Some(until) });
        }
    }

    /// An agent's time has come: what they wrap up is done, or what they left goes back.
    pub(crate) fn agent_due(&mut self, agent: &str) {
        let (state, now) = (self.agent_state(agent), self.now());
        if state.wrap_until.is_some_and(|at| at <= now) {
            self.emit(Public::WrapUp { agent: agent.to_owned(), until: None });
            self.somebody_freed();
        }
        if state.grace_until.is_some_and(|at| at <= now) {
            self.give_back(agent);
        }
    }

    /// What an agent who left has not answered goes back to the head of its queue, in bounded steps.
    pub(crate) fn give_back(&mut self, agent: &str) {
        let borne: Vec<ConvId> = self.state.borne_by(agent).take(STEP + 1).collect();
        let more = borne.len() > STEP;
        for conv in borne.into_iter().take(STEP) {
            let Some(c) = self.conv(conv) else { continue };
            let pack = self.pack_of(&c);
            let queue = c
                .queue
                .as_deref()
                .cloned()
                .filter(|q| pack.queues.contains_key(q))
                .or_else(|| self.default_queue(pack));
            let queue = queue.unwrap_or_default();
            let own = self.steps_of(&c, &queue);
            let entry = comes_back(&c, queue, &own, Why::Returned);
            self.enqueue(conv, Entry { since: Some(c.opened_at), ..entry });
        }
        if more {
            let until = self.now().plus(1);
            self.emit(Public::GraceBegan { agent: agent.to_owned(), until });
        } else if self.agent_state(agent).grace_until.is_some() {
            let at = self.now();
            let AgentState { presence, named, .. } = self.agent_state(agent);
            self.emit(Public::PresenceChanged { agent: agent.to_owned(), presence, named, at, lapsed: false });
        }
    }
}
