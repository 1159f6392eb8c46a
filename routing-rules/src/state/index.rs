//! The indexes: each is a function of one entity, so an edit removes what the old entity gave and adds what the new one
//! gives. [`State::rebuild_indexes`] makes them from nothing, and the invariants compare.

use super::{
    AgentState, Channel, Conversation, Deadline, DenseMap, DenseSet, Join, Phase, Roster, SendState, State, Timer,
    WaitClass, WaitKey, day,
};
use crate::event::KeyHash;
use crate::ids::{ContactId, ConvId, MessageId, OfferId};
use crate::pack::Name;
use imbl::{OrdMap, OrdSet};
use std::sync::Arc;
use switchboard_envelope::Timestamp;

/// How long a sent message waits for receipts: mail servers give up after five days, and say so then.
pub(super) const RECEIPT_MS: i64 = 6 * 86_400_000;
/// How long a held receipt waits for its message.
const HELD_MS: i64 = 3_600_000;
/// Contacts of whom only the last agent is remembered, at most.
const LAST_AGENTS: usize = 200_000;

/// What a conversation contributes to the indexes.
#[derive(PartialEq)]
struct ConvIndex {
    wait: Option<(Name, WaitClass, WaitKey)>,
    bearer: Option<Name>,
    cost: u32,
    offer: Option<OfferId>,
    timer: Option<Timestamp>,
}

fn conv_index(c: &Conversation) -> ConvIndex {
    ConvIndex {
        wait: WaitKey::of(c).and_then(|key| Some((c.queue.as_deref()?.clone(), WaitClass::of(c), key))),
        bearer: c.bearer().cloned(),
        cost: c.cost,
        offer: c.offer.as_ref().map(|o| o.id),
        timer: c.next_deadline(),
    }
}

/// What a send contributes.
#[derive(PartialEq)]
struct SendIndex {
    timer: Option<Timestamp>,
    ready: Option<Timestamp>,
    in_flight: bool,
}

fn send_index(s: &SendState) -> SendIndex {
    SendIndex {
        timer: s.next_deadline(),
        ready: match s.phase {
            Phase::Ready { since } => Some(since),
            _ => None,
        },
        in_flight: matches!(s.phase, Phase::InFlight { .. }),
    }
}

impl State {
    pub(super) fn edit_conversation(&mut self, id: ConvId, edit: impl FnOnce(&mut Conversation)) {
        let relives = self.relives;
        let Some(entry) = self.conversations.get_mut(&id) else { return };
        let old = conv_index(entry);
        let times = (relives || !entry.relived.is_none()).then(|| entry.times());
        let c = Arc::make_mut(entry);
        edit(c);
        if let Some(times) = times {
            let after = c.times();
            c.relived.follow(&times, &after, relives);
        }
        c.tags.settle();
        c.lane.settle();
        let new = conv_index(c);
        if old != new {
            self.unindex_conv(id, &old);
            self.index_conv(id, &new);
            if (&old.bearer, old.cost) != (&new.bearer, new.cost) {
                self.unbear(id, &old);
                self.bear(id, &new);
            }
        }
    }

    fn unbear(&mut self, id: ConvId, i: &ConvIndex) {
        if let Some(agent) = &i.bearer {
            self.borne.remove(&(agent.clone(), id));
            let cost = i.cost;
            self.edit_agent(agent, |a| a.load = a.load.saturating_sub(cost));
        }
    }

    fn bear(&mut self, id: ConvId, i: &ConvIndex) {
        if let Some(agent) = &i.bearer {
            self.borne.insert((agent.clone(), id));
            let cost = i.cost;
            self.edit_agent(agent, |a| a.load = a.load.saturating_add(cost));
        }
    }

    fn unindex_conv(&mut self, id: ConvId, i: &ConvIndex) {
        if let Some((queue, class, key)) = &i.wait {
            let last = self.waiting.get_mut(queue).is_some_and(|classes| {
                let last = classes.get_mut(class).is_some_and(|set| {
                    set.remove(key);
                    set.is_empty()
                });
                if last {
                    classes.remove(class);
                }
                last
            });
            if self.waiting.get(queue).is_some_and(OrdMap::is_empty) {
                self.waiting.remove(queue);
            }
            if last {
                let standing = (queue.clone(), class.trial, class.newest());
                let left = self.standings.get(&standing).map_or(0, |classes| classes.saturating_sub(1));
                match left {
                    0 => self.standings.remove(&standing),
                    left => self.standings.insert(standing, left),
                };
            }
        }
        if let Some(offer) = i.offer {
            self.offers.remove(&offer);
        }
        if let Some(at) = i.timer {
            self.conv_timers.remove(&Deadline::new(at, id));
        }
    }

    fn index_conv(&mut self, id: ConvId, i: &ConvIndex) {
        if let Some((queue, class, key)) = &i.wait {
            let set = self.waiting.entry(queue.clone()).or_default().entry(class.clone()).or_default();
            let first = set.is_empty();
            set.insert(*key);
            if first {
                *self.standings.entry((queue.clone(), class.trial, class.newest())).or_default() += 1;
            }
        }
        if let Some(offer) = i.offer {
            self.offers.insert(offer, id);
        }
        if let Some(at) = i.timer {
            self.conv_timers.insert(Deadline::new(at, id));
        }
    }

    /// A closed conversation leaves the state, unless something of it is unsettled.
    pub(super) fn forget(&mut self, id: ConvId) {
        let Some(c) = self.conversations.get(&id).cloned() else { return };
        let index = conv_index(&c);
        self.unindex_conv(id, &index);
        self.unbear(id, &index);
        self.conversations.remove(&id);
        self.by_contact.remove(&(c.contact, id));
        if self.threads.get(&c.thread) == Some(&id) {
            let before =
                self.conversations_under(c.contact).filter(|o| o.thread == c.thread).max_by_key(|o| o.opened_by);
            match before.map(|o| o.id) {
                Some(before) => self.threads.insert(c.thread, before),
                None => self.threads.remove(&c.thread),
            };
        }
    }

    pub(super) fn edit_agent(&mut self, name: &str, edit: impl FnOnce(&mut AgentState)) {
        let before = self.agents.get(name).map(|a| (**a).clone()).unwrap_or_default();
        let mut a = before.clone();
        edit(&mut a);
        let after = a.deadlines();
        a.relived.follow(&before.deadlines(), &after, self.relives);
        if a.next_deadline() != before.next_deadline() {
            if let Some(at) = before.next_deadline() {
                self.timers.remove(&(at, Timer::Agent(name.to_owned())));
            }
            if let Some(at) = a.next_deadline() {
                self.timers.insert((at, Timer::Agent(name.to_owned())));
            }
        }
        self.roster.note(name, &before, &a);
        self.agents.insert(name.to_owned(), Arc::new(a));
    }

    pub(super) fn edit_channel(&mut self, name: &str, edit: impl FnOnce(&mut Option<Channel>)) {
        let mut c = self.channels.get(name).map(|c| (**c).clone());
        if let Some(at) = c.as_ref().and_then(|c| c.probe_at) {
            self.timers.remove(&(at, Timer::Channel(name.to_owned())));
        }
        edit(&mut c);
        let Some(c) = c else { return };
        if let Some(at) = c.probe_at {
            self.timers.insert((at, Timer::Channel(name.to_owned())));
        }
        self.channels.insert(name.to_owned(), Arc::new(c));
    }

    pub(super) fn put_send(&mut self, s: SendState) {
        self.index_send(&s.channel, s.id, &send_index(&s));
        self.sends.insert(s.id, Arc::new(s));
    }

    pub(super) fn edit_send(&mut self, id: MessageId, edit: impl FnOnce(&mut SendState)) {
        let Some(entry) = self.sends.get_mut(&id) else { return };
        let old = send_index(entry);
        let s = Arc::make_mut(entry);
        edit(s);
        let new = send_index(s);
        if old != new {
            let channel = s.channel.clone();
            self.unindex_send(&channel, id, &old);
            self.index_send(&channel, id, &new);
        }
    }

    pub(super) fn remove_send(&mut self, id: MessageId) {
        if let Some(s) = self.sends.remove(&id) {
            self.unindex_send(&s.channel, id, &send_index(&s));
        }
    }

    fn unindex_send(&mut self, channel: &str, id: MessageId, i: &SendIndex) {
        if let Some(at) = i.timer {
            self.timers.remove(&(at, Timer::Send(id)));
        }
        if let Some(at) = i.ready {
            self.ready.remove(&(channel.to_owned(), at, id));
        }
        if i.in_flight {
            self.count_in_flight(channel, -1);
        }
    }

    fn index_send(&mut self, channel: &str, id: MessageId, i: &SendIndex) {
        if let Some(at) = i.timer {
            self.timers.insert((at, Timer::Send(id)));
        }
        if let Some(at) = i.ready {
            self.ready.insert((channel.to_owned(), at, id));
        }
        if i.in_flight {
            self.count_in_flight(channel, 1);
        }
    }

    fn count_in_flight(&mut self, channel: &str, by: i32) {
        if let Some(c) = self.channels.get_mut(channel) {
            let c = Arc::make_mut(c);
            c.in_flight = c.in_flight.saturating_add_signed(by);
        }
    }

    pub(super) fn drop_settled(&mut self, id: MessageId) {
        if let Some(s) = self.settled.remove(&id) {
            self.settled_order.remove(&(s.at, id));
            // A provider that gives its ids again means its latest message.
            for p in s.provider.iter().filter(|p| self.providers.get(*p) == Some(&id)).copied().collect::<Vec<_>>() {
                self.providers.remove(&p);
            }
        }
    }

    pub(super) fn remember_agent(&mut self, contact: ContactId, agent: Name, until: Timestamp) {
        if let Some((_, old)) = self.last_agents.insert(contact, (agent, until)) {
            self.last_agents_order.remove(&(old, contact));
        }
        self.last_agents_order.insert((until, contact));
        while self.last_agents.len() > LAST_AGENTS {
            let Some(soonest) = self.last_agents_order.get_min().copied() else { break };
            self.forget_agent(soonest);
        }
    }

    fn forget_agent(&mut self, (until, contact): (Timestamp, ContactId)) {
        self.last_agents_order.remove(&(until, contact));
        self.last_agents.remove(&contact);
    }

    pub(super) fn assign_again(&mut self, at: Option<Timestamp>) {
        if let Some(old) = std::mem::replace(&mut self.assign_at, at) {
            self.timers.remove(&(old, Timer::Assign));
        }
        if at.is_none() {
            self.assign_relived = false;
        }
        if let Some(at) = at {
            self.timers.insert((at, Timer::Assign));
        }
    }

    pub(super) fn put_join(&mut self, key: KeyHash, join: Join) {
        self.timers.insert((join.until, Timer::Join(key)));
        self.joins.insert(key, Arc::new(join));
    }

    pub(super) fn drop_join(&mut self, key: KeyHash) {
        if let Some(join) = self.joins.remove(&key) {
            self.timers.remove(&(join.until, Timer::Join(key)));
        }
    }

    pub(crate) fn has_join_timer(&self, at: Timestamp, key: KeyHash) -> bool {
        self.timers.contains(&(at, Timer::Join(key)))
    }

    pub(super) fn drop_held(&mut self, provider: KeyHash) {
        if let Some(h) = self.held.remove(&provider) {
            self.held_order.remove(&(h.at, provider));
        }
    }

    /// Forgets what is only kept for a while. Bounded work per event: the rest goes with the next ones.
    pub(super) fn forget_old(&mut self, now: Timestamp) {
        for _ in 0..8 {
            match self.settled_order.get_min() {
                Some((at, id)) if at.plus(RECEIPT_MS) <= now => {
                    let id = *id;
                    self.drop_settled(id);
                }
                _ => break,
            }
        }
        for _ in 0..8 {
            match self.held_order.get_min() {
                Some((at, provider)) if at.plus(HELD_MS) <= now => {
                    let provider = *provider;
                    self.drop_held(provider);
                }
                _ => break,
            }
        }
        for _ in 0..8 {
            match self.last_agents_order.get_min() {
                Some((until, contact)) if *until <= now => {
                    let oldest = (*until, *contact);
                    self.forget_agent(oldest);
                }
                _ => break,
            }
        }
        let today = day(now);
        for _ in 0..8 {
            match self.budgets.get_min() {
                Some(((d, _), _)) if *d < today => self.budgets = self.budgets.without_min().1,
                _ => break,
            }
        }
    }

    pub(crate) fn has_conversation_timer(&self, at: Timestamp, id: ConvId) -> bool {
        self.conv_timers.contains(&Deadline::new(at, id))
    }

    /// Which indexes differ, for a failing check.
    pub(crate) fn index_difference(&self, other: &State) -> String {
        let pairs = [
            ("threads", self.threads == other.threads),
            ("by_contact", self.by_contact == other.by_contact),
            ("merged", self.merged == other.merged),
            ("waiting", self.waiting == other.waiting),
            ("standings", self.standings == other.standings),
            ("last_agents_order", self.last_agents_order == other.last_agents_order),
            ("borne", self.borne == other.borne),
            ("offers", self.offers == other.offers),
            ("ready", self.ready == other.ready),
            ("settled_order", self.settled_order == other.settled_order),
            ("providers", self.providers == other.providers),
            ("held_order", self.held_order == other.held_order),
            ("timers", self.timers == other.timers),
            ("conv_timers", self.conv_timers == other.conv_timers),
            ("agents", self.agents == other.agents),
            ("channels", self.channels == other.channels),
        ];
        pairs.iter().filter(|(_, same)| !same).map(|(n, _)| *n).collect::<Vec<_>>().join(", ")
    }

    /// Makes every index from the entities.
    pub(crate) fn rebuild_indexes(&mut self) {
        self.threads = DenseMap::new();
        self.by_contact = DenseSet::new();
        self.merged = self.contacts.iter().filter_map(|(from, c)| Some((c.merged_into?, *from))).collect();
        self.waiting = OrdMap::new();
        self.standings = OrdMap::new();
        self.borne = OrdSet::new();
        self.offers = OrdMap::new();
        self.ready = OrdSet::new();
        self.settled_order = OrdSet::new();
        self.providers = OrdMap::new();
        self.held_order = OrdSet::new();
        self.timers = OrdSet::new();
        self.conv_timers = DenseSet::new();
        self.last_agents_order = self.last_agents.iter().map(|(contact, (_, until))| (*until, *contact)).collect();
        self.assign_again(self.assign_at);
        // Made again by who decides next.
        self.roster = Roster::default();
        for name in self.agents.keys().cloned().collect::<Vec<_>>() {
            self.edit_agent(&name, |a| a.load = 0);
            if let Some(at) = self.agents.get(&name).and_then(|a| a.next_deadline()) {
                self.timers.insert((at, Timer::Agent(name)));
            }
        }
        for name in self.channels.keys().cloned().collect::<Vec<_>>() {
            self.edit_channel(&name, |c| {
                if let Some(c) = c {
                    c.in_flight = 0;
                }
            });
        }
        // The latest conversation of a thread wins.
        let mut all: Vec<Arc<Conversation>> = self.conversations.values().cloned().collect();
        all.sort_by_key(|c| c.opened_by);
        for c in all {
            self.threads.insert(c.thread, c.id);
            self.by_contact.insert((c.contact, c.id));
            let index = conv_index(&c);
            self.index_conv(c.id, &index);
            self.bear(c.id, &index);
        }
        for s in self.sends.values().cloned().collect::<Vec<_>>() {
            self.index_send(&s.channel, s.id, &send_index(&s));
        }
        self.settled_order = self.settled.iter().map(|(id, s)| (s.at, *id)).collect();
        for (_, id) in self.settled_order.clone() {
            for p in self.settled.get(&id).map(|s| s.provider.clone()).into_iter().flatten() {
                self.providers.insert(p, id);
            }
        }
        for (p, h) in self.held.clone() {
            self.held_order.insert((h.at, p));
        }
        for (key, join) in self.joins.clone() {
            self.timers.insert((join.until, Timer::Join(key)));
        }
    }
}
