//! The state: exactly the fold of the events. Everything that can be derived from the entities (who waits where, loads,
//! timers) is an index that this module keeps; nothing else writes them.
//!
//! The maps are persistent: cloning the state is cheap, so a decision works on a copy and a snapshot never stalls routing.

mod apply;
mod back;
mod canary;
mod declined;
mod dense;
mod dups;
pub(crate) mod fold;
mod index;
mod line;
mod model;
mod private;
mod relived;
pub(crate) mod roster;
mod slim;
mod snapshot;
mod window;

pub use canary::{Canary, InForce, Tally};
pub use declined::{Declined, LetGo};
pub use dense::{DenseMap, DenseSet};
pub use dups::{Dups, day};
pub use line::{FAR_BACK, Kept, Pace};
pub use model::*;
pub(crate) use private::line;
pub use private::{ConvPrivate, Files, MAX_EXCERPT, MAX_QUOTE, Parent};
pub use relived::Relived;
pub use slim::{Empty, Label, Rare, Steps, When};
pub use snapshot::{PrivateIndex, SnapshotError, SnapshotParts};
pub use window::Window;

use self::index::RECEIPT_MS;
use self::roster::Roster;
use self::slim::Shared;
use crate::event::KeyHash;
use crate::ids::{ContactId, ConvId, MessageId, OfferId, Salt};
use crate::pack::Name;
use imbl::{OrdMap, OrdSet};
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_envelope::{Address, ConsentState, Timestamp};

/// Bounds on what is remembered for convenience; what goes is said in ARCHITECTURE.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ids in the memory of duplicates.
    pub duplicates: usize,
    /// Sent messages that still wait for receipts.
    pub settled: usize,
    /// Receipts that came before their message was known.
    pub held: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { duplicates: 5_000_000, settled: 50_000, held: 10_000 }
    }
}

/// Where the next input of IN is read: after this record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub seq: u64,
    pub at: Timestamp,
    /// The hash of its input's id, where it could be read: in another life of IN the same number may have the same time.
    pub id: Option<KeyHash>,
}

/// When, and by which frame, the log was last taken for another one than was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "WrittenRebase")]
pub struct Rebase {
    /// Tells it from those before, in whatever life of the log: a rebase is the answer to whoever knew only lower ones.
    pub number: u64,
    pub at: Timestamp,
    pub frame: u64,
    /// Records of OUT up to here are not sent any more.
    pub out: u64,
    /// Records of IN up to here were there before it.
    pub inn: u64,
    /// IN's end when frames were last lost, at this rebase or an earlier one: what it held then may have been decided in them.
    pub cut_inn: Option<u64>,
    /// When something was last lost, at this rebase or an earlier one: frames, or records of IN that were decided last, with which what
    /// had been accepted and not decided is gone too.
    pub lost_at: Option<Timestamp>,
}

/// As any build wrote it.
#[derive(serde::Deserialize)]
struct WrittenRebase {
    #[serde(default)]
    number: u64,
    at: Timestamp,
    frame: u64,
    out: u64,
    #[serde(default)]
    inn: u64,
    #[serde(default)]
    cut_inn: Option<u64>,
    #[serde(default)]
    lost_at: Option<Timestamp>,
    /// Builds that did not say when something was lost said so whether IN alone had come back older.
    #[serde(default)]
    rewound: bool,
}

impl From<WrittenRebase> for Rebase {
    fn from(written: WrittenRebase) -> Rebase {
        let WrittenRebase { number, at, frame, out, inn, cut_inn, lost_at, rewound } = written;
        // At this one or an earlier one: rather too much is told than too little.
        let loses = rewound || cut_inn.is_some();
        Rebase { number, at, frame, out, inn, cut_inn, lost_at: lost_at.or_else(|| loses.then_some(at)) }
    }
}

impl Rebase {
    /// Whether a record of IN was there before the rebase. Its time would not say so, for a clock may have been ahead.
    #[must_use]
    pub fn is_after(&self, seq: u64) -> bool {
        seq <= self.inn
    }

    /// Whether a record of IN may have been decided in frames that are lost.
    #[must_use]
    pub fn cut_after(&self, seq: u64) -> bool {
        self.cut_inn.is_some_and(|inn| seq <= inn)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub salt: Salt,
    pub limits: Limits,
    pub now: Timestamp,
    pub cursor: Cursor,
    pub incarnation: u64,
    pub rebased: Option<Rebase>,
    /// The pack in force and the one before.
    pub pack: String,
    pub previous_pack: Option<String>,
    /// The packs that came in force, the newest last, each with when it did.
    pub packs: Vec<(String, Timestamp)>,
    /// The latest trial of a pack, which may be over.
    pub canary: Option<Arc<Canary>>,
    pub channels: OrdMap<Name, Arc<Channel>>,
    pub conversations: DenseMap<ConvId, Arc<Conversation>>,
    pub contacts: OrdMap<ContactId, Arc<Contact>>,
    pub consent: OrdMap<(KeyHash, Name), ConsentState>,
    /// Opt-outs that the channel's provider holds as well.
    pub kept_opt_outs: OrdSet<(KeyHash, Name)>,
    /// Addresses that are not heard on a channel, each with whose it is.
    pub blocked: OrdMap<(KeyHash, Name), Option<ContactId>>,
    pub agents: OrdMap<Name, Arc<AgentState>>,
    pub sends: OrdMap<MessageId, Arc<SendState>>,
    pub settled: OrdMap<MessageId, Arc<Settled>>,
    pub held: OrdMap<KeyHash, Arc<HeldReceipt>>,
    /// Longer texts of which parts are missing.
    pub joins: OrdMap<KeyHash, Arc<Join>>,
    /// Records of IN that wait for a person, each with the id under which it would be known as decided; none of what cannot be read.
    pub quarantine: OrdMap<u64, Option<KeyHash>>,
    pub dups: Dups,
    /// Automatic replies a day and address.
    pub budgets: OrdMap<(i64, KeyHash), u32>,
    /// Who last answered a contact of whom nothing else is left, and until when that counts.
    pub last_agents: OrdMap<ContactId, (Name, Timestamp)>,
    /// How fast queues move.
    pub paces: OrdMap<Name, Pace>,
    /// More could be assigned than one decision may.
    pub assign_at: Option<Timestamp>,
    /// And that may have gone on in frames that are lost.
    assign_relived: bool,
    /// What is decided now may have been decided in frames that are lost.
    relives: bool,
    /// Who is free, for the pack that was decided with last.
    pub(crate) roster: Roster,

    /// What conversations share.
    shared: Shared,
    threads: DenseMap<KeyHash, ConvId>,
    by_contact: DenseSet<(ContactId, ConvId)>,
    /// Contacts, each behind the one that it was merged into.
    merged: OrdSet<(ContactId, ContactId)>,
    waiting: OrdMap<Name, OrdMap<WaitClass, DenseSet<WaitKey>>>,
    /// How many classes there are of each queue, trial and order: all of them that a pack must have.
    standings: OrdMap<(Name, u32, bool), u32>,
    last_agents_order: OrdSet<(Timestamp, ContactId)>,
    borne: OrdSet<(Name, ConvId)>,
    offers: OrdMap<OfferId, ConvId>,
    ready: OrdSet<(Name, Timestamp, MessageId)>,
    settled_order: OrdSet<(Timestamp, MessageId)>,
    providers: OrdMap<KeyHash, MessageId>,
    held_order: OrdSet<(Timestamp, KeyHash)>,
    timers: OrdSet<(Timestamp, Timer)>,
    /// The timers of conversations, of which there are the most.
    conv_timers: DenseSet<Deadline>,
}

/// Of a person's merged contacts no more are looked at for one question.
const MOST_MERGED: usize = 64;

impl State {
    #[must_use]
    pub fn new(salt: Salt) -> State {
        State {
            salt,
            limits: Limits::default(),
            now: Timestamp(0),
            cursor: Cursor::default(),
            incarnation: 0,
            rebased: None,
            pack: String::new(),
            previous_pack: None,
            packs: Vec::new(),
            canary: None,
            channels: OrdMap::new(),
            conversations: DenseMap::new(),
            contacts: OrdMap::new(),
            consent: OrdMap::new(),
            kept_opt_outs: OrdSet::new(),
            blocked: OrdMap::new(),
            agents: OrdMap::new(),
            sends: OrdMap::new(),
            settled: OrdMap::new(),
            held: OrdMap::new(),
            joins: OrdMap::new(),
            quarantine: OrdMap::new(),
            dups: Dups::default(),
            budgets: OrdMap::new(),
            last_agents: OrdMap::new(),
            paces: OrdMap::new(),
            assign_at: None,
            assign_relived: false,
            relives: false,
            roster: Roster::default(),
            last_agents_order: OrdSet::new(),
            shared: Shared::default(),
            threads: DenseMap::new(),
            by_contact: DenseSet::new(),
            merged: OrdSet::new(),
            waiting: OrdMap::new(),
            standings: OrdMap::new(),
            borne: OrdSet::new(),
            offers: OrdMap::new(),
            ready: OrdSet::new(),
            settled_order: OrdSet::new(),
            providers: OrdMap::new(),
            held_order: OrdSet::new(),
            timers: OrdSet::new(),
            conv_timers: DenseSet::new(),
        }
    }

    /// The hash under which an id, a provider's id or an identity is remembered.
    #[must_use]
    pub fn hash(&self, domain: &str, fields: &[&str]) -> KeyHash {
        let bytes: Vec<&[u8]> = fields.iter().map(|f| f.as_bytes()).collect();
        KeyHash(self.salt.hash(domain, &bytes))
    }

    #[must_use]
    pub fn thread_hash(&self, channel: &str, thread: &str) -> KeyHash {
        self.hash("thread", &[channel, thread])
    }

    #[must_use]
    pub fn identity_hash(&self, address: &Address) -> KeyHash {
        let (kind, value) = (address.kind.as_str(), address.value.as_str());
        match &address.within {
            Some(account) => self.hash("identity", &[kind, value, account]),
            None => self.hash("identity", &[kind, value]),
        }
    }

    /// The contact that an address belongs to, after merges.
    #[must_use]
    pub fn contact_of(&self, address: &Address) -> ContactId {
        let (kind, value) = (address.kind.as_bytes(), address.value.as_bytes());
        self.resolve(match &address.within {
            Some(account) => ContactId::derive(&self.salt, &[kind, value, account.as_bytes()]),
            None => ContactId::derive(&self.salt, &[kind, value]),
        })
    }

    /// Follows merges; merges never form a circle.
    #[must_use]
    pub fn resolve(&self, contact: ContactId) -> ContactId {
        let mut id = contact;
        for _ in 0..16 {
            match self.contacts.get(&id).and_then(|c| c.merged_into) {
                Some(next) => id = next,
                None => break,
            }
        }
        id
    }

    /// Whether notices go anywhere.
    #[must_use]
    pub fn has_desks(&self) -> bool {
        self.channels.values().any(|c| c.profile.desk && !c.removed)
    }

    #[must_use]
    pub fn conversation(&self, id: ConvId) -> Option<&Arc<Conversation>> {
        self.conversations.get(&id)
    }

    /// The latest conversation of a thread.
    #[must_use]
    pub fn conversation_of_thread(&self, thread: KeyHash) -> Option<&Arc<Conversation>> {
        self.threads.get(&thread).and_then(|id| self.conversations.get(id))
    }

    /// The contact that a person is known by now, and those that were merged into it.
    fn person(&self, contact: ContactId) -> Vec<ContactId> {
        let mut all = vec![self.resolve(contact)];
        let mut at = 0;
        while let Some(into) = all.get(at).copied()
            && all.len() < MOST_MERGED
        {
            let merged = self.merged.range((into, ContactId::MIN)..=(into, ContactId::MAX)).map(|(_, from)| *from);
            for from in merged.take(MOST_MERGED.saturating_sub(all.len())) {
                if !all.contains(&from) {
                    all.push(from);
                }
            }
            at += 1;
        }
        all
    }

    /// Conversations of a person, by whichever of the contacts that were merged.
    pub fn conversations_of(&self, contact: ContactId) -> impl Iterator<Item = &Arc<Conversation>> {
        self.person(contact).into_iter().flat_map(|contact| self.conversations_under(contact))
    }

    /// Conversations under this contact alone, under which their personal data are kept.
    pub(crate) fn conversations_under(&self, contact: ContactId) -> impl Iterator<Item = &Arc<Conversation>> {
        let low = (contact, ConvId::MIN);
        let high = (contact, ConvId::MAX);
        self.by_contact.range(low..=high).filter_map(|(_, id)| self.conversations.get(id))
    }

    /// Conversations that wait in a queue, in order.
    pub fn waiting(&self, queue: &str) -> impl Iterator<Item = &WaitKey> {
        let mut classes: Vec<_> = self.classes(queue).map(|(_, set)| set.iter().peekable()).collect();
        std::iter::from_fn(move || {
            let heads = classes.iter_mut().filter_map(|set| Some((*set.peek()?, set)));
            heads.min_by_key(|(key, _)| *key).and_then(|(_, set)| set.next())
        })
    }

    /// Those who wait in a queue by what assignment asks of them.
    pub fn classes(&self, queue: &str) -> impl Iterator<Item = (&WaitClass, &DenseSet<WaitKey>)> {
        self.waiting.get(queue).into_iter().flat_map(OrdMap::iter)
    }

    #[must_use]
    pub fn depth(&self, queue: &str) -> usize {
        self.classes(queue).map(|(_, set)| set.len()).sum()
    }

    /// By which queue, of the pack of which trial, and whether by its order who came last comes first, anybody waits.
    pub fn standings(&self) -> impl Iterator<Item = &(Name, u32, bool)> {
        self.standings.keys()
    }

    pub fn queues_in_use(&self) -> impl Iterator<Item = &Name> {
        self.waiting.keys()
    }

    /// Who answered a person last, where no conversation of theirs is left to tell.
    #[must_use]
    pub fn last_agent(&self, contact: ContactId) -> Option<&Name> {
        let known = self.person(contact).into_iter().filter_map(|contact| self.last_agents.get(&contact));
        known.filter(|(_, until)| self.now < *until).max_by_key(|(_, until)| *until).map(|(agent, _)| agent)
    }

    /// Conversations that an agent owns or is offered.
    pub fn borne_by(&self, agent: &str) -> impl Iterator<Item = ConvId> + '_ {
        let low = (agent.to_owned(), ConvId::MIN);
        let high = (agent.to_owned(), ConvId::MAX);
        self.borne.range(low..=high).map(|(_, id)| *id)
    }

    #[must_use]
    pub fn offer(&self, id: OfferId) -> Option<&Arc<Conversation>> {
        self.offers.get(&id).and_then(|c| self.conversations.get(c))
    }

    pub fn offers(&self) -> impl Iterator<Item = (&OfferId, &ConvId)> {
        self.offers.iter()
    }

    /// The next send of a channel that may be released.
    #[must_use]
    pub fn next_ready(&self, channel: &str) -> Option<MessageId> {
        let low = (channel.to_owned(), Timestamp(i64::MIN), MessageId::MIN);
        self.ready.range(low..).next().filter(|(c, _, _)| c == channel).map(|(_, _, id)| *id)
    }

    /// Under which a receipt is held that names our message before its result came.
    #[must_use]
    pub fn held_key(&self, message: MessageId) -> KeyHash {
        self.hash("held", &[&message.to_string()])
    }

    #[must_use]
    pub fn message_of_provider(&self, provider: KeyHash) -> Option<MessageId> {
        self.providers.get(&provider).copied()
    }

    /// Whether a message of ours from then may be forgotten: settled ones are kept for a while, and only so many.
    #[must_use]
    pub fn sent_before_memory(&self, at: Timestamp) -> bool {
        let kept_since = self.now.plus(-RECEIPT_MS);
        let full = self.settled.len() >= self.limits.settled;
        at <= kept_since || (full && self.settled_order.get_min().is_some_and(|(oldest, _)| at <= *oldest))
    }

    /// When something must happen next.
    #[must_use]
    pub fn next_timer(&self) -> Option<Timestamp> {
        let conversation = self.conv_timers.get_min().map(|d| d.at());
        self.timers.get_min().map(|(at, _)| *at).into_iter().chain(conversation).min()
    }

    /// The same without the ends of attempts that are under way, which it is not for the core to judge.
    #[must_use]
    pub fn next_timer_but_ends(&self) -> Option<Timestamp> {
        self.due_but_ends(Timestamp(i64::MAX)).next().map(|(at, _)| at)
    }

    /// Timers due at `now`, in order, without the ends of attempts that are under way.
    pub fn due_but_ends(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, Timer)> {
        self.due(now).filter(|(_, timer)| !self.ends(timer))
    }

    /// Whether this timer is the end of an attempt that is under way.
    pub(crate) fn ends(&self, timer: &Timer) -> bool {
        let under_way = |s: &Arc<SendState>| matches!(s.phase, Phase::InFlight { .. });
        matches!(timer, Timer::Send(id) if self.sends.get(id).is_some_and(under_way))
    }

    /// Timers due at `now`, in order.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, Timer)> {
        let mut conversations = self.conv_timers.iter().map(|d| (d.at(), Timer::Conv(d.conv()))).peekable();
        let mut others = self.timers.iter().peekable();
        let all = std::iter::from_fn(move || match (conversations.peek(), others.peek()) {
            (Some(conversation), Some(other)) if conversation < other => conversations.next(),
            (_, Some(_)) => others.next().cloned(),
            (_, None) => conversations.next(),
        });
        all.take_while(move |(at, _)| *at <= now)
    }

    /// Attempts whose `until` has passed without a result; the router must ask the claims.
    pub fn overdue_attempts(&self, now: Timestamp) -> impl Iterator<Item = &Arc<SendState>> {
        self.due(now).filter_map(|(_, t)| match t {
            Timer::Send(id) => self.sends.get(&id).filter(|s| matches!(s.phase, Phase::InFlight { .. })),
            _ => None,
        })
    }
}

/// Sets and, where the value is `None`, removes.
pub(crate) fn merge_attributes(into: &mut BTreeMap<String, String>, set: &BTreeMap<String, Option<String>>) {
    for (name, value) in set {
        match value {
            Some(v) => {
                into.insert(name.clone(), v.clone());
            }
            None => {
                into.remove(name);
            }
        }
    }
}
