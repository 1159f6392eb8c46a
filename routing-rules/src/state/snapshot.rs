//! The state as bytes: a public part, and per contact what came from that person, which the daemon seals.

use super::{
    AgentState, Canary, Channel, Contact, ContactPrivate, ConvPrivate, Conversation, Cursor, Dups, HeldReceipt, Join,
    Pace, Rebase, SendPrivate, SendState, Settled, State,
};
use crate::event::KeyHash;
use crate::ids::{ContactId, ConvId, MessageId, Salt};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use switchboard_envelope::{ConsentState, Message, Timestamp};
use thiserror::Error;

/// The version of the layout; another one is not read, and the log is folded instead.
const LAYOUT: u32 = 3;
/// Ids of the duplicate memory in one record.
const DUPLICATES: usize = 1000;

#[derive(Debug, Error)]
pub enum SnapshotError {
    #[error("snapshot cannot be read: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
    #[error("snapshot cannot be written: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    #[error("snapshot has layout {0}, this build reads {LAYOUT}")]
    Layout(u32),
    #[error("snapshot has no head")]
    Head,
    #[error("snapshot does not give what it was made of")]
    Differs,
}

/// A snapshot in two kinds of parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SnapshotParts {
    /// Records, one after the other, so that neither writing nor checking them needs a second copy of the state.
    pub public: Vec<u8>,
    /// One entry a contact, in order.
    pub private: Vec<(ContactId, Vec<u8>)>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Head {
    layout: u32,
    now: Timestamp,
    cursor: (u64, Timestamp),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cursor_id: Option<KeyHash>,
    incarnation: u64,
    #[serde(default)]
    rebased: Option<Rebase>,
    pack: String,
    previous_pack: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    packs: Vec<(String, Timestamp)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    canary: Option<Arc<Canary>>,
    #[serde(default)]
    assign_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    assign_relived: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    relives: bool,
}

/// One record of the public part. What a person wrote is not in it: see [`PrivatePart`].
#[derive(Clone, Serialize, Deserialize)]
enum Record<'a> {
    Head(Cow<'a, Head>),
    Channel(Cow<'a, str>, Cow<'a, Channel>),
    Conversation(Cow<'a, Conversation>),
    Contact(ContactId, Cow<'a, Contact>),
    Consent(KeyHash, Cow<'a, str>, ConsentState),
    OptOutKept(KeyHash, Cow<'a, str>),
    /// One of whom it is not known whose address it is.
    Blocked(KeyHash, Cow<'a, str>),
    BlockedOf(KeyHash, Cow<'a, str>, ContactId),
    Agent(Cow<'a, str>, Cow<'a, AgentState>),
    Send(Cow<'a, SendState>),
    Settled(MessageId, Cow<'a, Settled>),
    Held(KeyHash, Cow<'a, HeldReceipt>),
    Join(KeyHash, Cow<'a, Join>),
    /// One that has no id, as what cannot be read.
    Quarantine(u64),
    QuarantineOf(u64, KeyHash),
    Duplicates(u64, i64, Vec<KeyHash>),
    Budget(i64, KeyHash, u32),
    LastAgent(ContactId, Cow<'a, str>, Timestamp),
    Pace(Cow<'a, str>, Pace),
}

/// What came from one person.
#[derive(Default, Serialize, Deserialize)]
struct PrivatePart<'a> {
    contact: Option<Cow<'a, ContactPrivate>>,
    conversations: Vec<(ConvId, Cow<'a, ConvPrivate>)>,
    sends: Vec<(MessageId, Cow<'a, SendPrivate>)>,
    /// Parts of longer texts. Left out where there are none, as before there were any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<(KeyHash, Cow<'a, BTreeMap<u16, Message>>)>,
}

impl PrivatePart<'_> {
    fn is_empty(&self) -> bool {
        self.contact.is_none() && self.conversations.is_empty() && self.sends.is_empty() && self.parts.is_empty()
    }
}

/// What is not found by its person otherwise.
#[derive(Clone, Debug, Default)]
pub struct PrivateIndex {
    sends: BTreeMap<ContactId, Vec<MessageId>>,
    joins: BTreeMap<ContactId, Vec<KeyHash>>,
}

impl State {
    /// The snapshot's parts. Equal states give equal bytes.
    ///
    /// # Errors
    /// Never for a state that this crate made; the encoder's error is passed on rather than hidden.
    pub fn to_parts(&self) -> Result<SnapshotParts, SnapshotError> {
        let mut public = Vec::new();
        self.write_public(&mut public)?;
        Ok(SnapshotParts { public, private: self.private_parts()? })
    }

    /// Appends the public part.
    ///
    /// # Errors
    /// As [`State::to_parts`].
    pub fn write_public(&self, out: &mut Vec<u8>) -> Result<(), SnapshotError> {
        let mut put = |record: Record<'_>| rmp_serde::encode::write_named(out, &record);
        put(Record::Head(Cow::Owned(Head {
            layout: LAYOUT,
            now: self.now,
            cursor: (self.cursor.seq, self.cursor.at),
            cursor_id: self.cursor.id,
            incarnation: self.incarnation,
            rebased: self.rebased,
            pack: self.pack.clone(),
            previous_pack: self.previous_pack.clone(),
            packs: self.packs.clone(),
            canary: self.canary.clone(),
            assign_at: self.assign_at,
            assign_relived: self.assign_relived,
            relives: self.relives,
        })))?;
        self.channels.iter().try_for_each(|(n, c)| put(Record::Channel(n.into(), Cow::Borrowed(c))))?;
        self.conversations.values().try_for_each(|c| put(Record::Conversation(Cow::Borrowed(c))))?;
        self.contacts.iter().try_for_each(|(id, c)| put(Record::Contact(*id, Cow::Borrowed(c))))?;
        self.consent.iter().try_for_each(|((who, channel), c)| put(Record::Consent(*who, channel.into(), *c)))?;
        self.kept_opt_outs.iter().try_for_each(|(who, channel)| put(Record::OptOutKept(*who, channel.into())))?;
        self.blocked.iter().try_for_each(|((who, channel), contact)| match contact {
            Some(contact) => put(Record::BlockedOf(*who, channel.into(), *contact)),
            None => put(Record::Blocked(*who, channel.into())),
        })?;
        self.agents.iter().try_for_each(|(n, a)| put(Record::Agent(n.into(), Cow::Borrowed(a))))?;
        self.sends.values().try_for_each(|s| put(Record::Send(Cow::Borrowed(s))))?;
        self.settled.iter().try_for_each(|(id, s)| put(Record::Settled(*id, Cow::Borrowed(s))))?;
        self.held.iter().try_for_each(|(p, h)| put(Record::Held(*p, Cow::Borrowed(h))))?;
        self.joins.iter().try_for_each(|(k, j)| put(Record::Join(*k, Cow::Borrowed(j))))?;
        self.quarantine.iter().try_for_each(|(seq, id)| match id {
            Some(id) => put(Record::QuarantineOf(*seq, *id)),
            None => put(Record::Quarantine(*seq)),
        })?;
        let (mut of, mut ids) = ((0, 0), Vec::with_capacity(DUPLICATES));
        for (piece, day, id) in self.dups.iter() {
            if !ids.is_empty() && (of != (piece, day) || ids.len() == DUPLICATES) {
                put(Record::Duplicates(of.0, of.1, std::mem::take(&mut ids)))?;
            }
            of = (piece, day);
            ids.push(id);
        }
        if !ids.is_empty() {
            put(Record::Duplicates(of.0, of.1, ids))?;
        }
        self.budgets.iter().try_for_each(|((day, who), n)| put(Record::Budget(*day, *who, *n)))?;
        self.last_agents.iter().try_for_each(|(who, (a, until))| put(Record::LastAgent(*who, a.into(), *until)))?;
        self.paces.iter().try_for_each(|(queue, pace)| put(Record::Pace(queue.into(), *pace)))?;
        Ok(())
    }

    /// What came from people, by person.
    ///
    /// # Errors
    /// As [`State::to_parts`].
    pub fn private_parts(&self) -> Result<Vec<(ContactId, Vec<u8>)>, SnapshotError> {
        self.private_parts_after(&self.private_index(), None, usize::MAX)
    }

    /// For [`State::private_parts_after`].
    #[must_use]
    pub fn private_index(&self) -> PrivateIndex {
        let mut index = PrivateIndex::default();
        for s in self.sends.values().filter(|s| s.private.is_some()) {
            index.sends.entry(s.contact).or_default().push(s.id);
        }
        for (key, join) in self.joins.iter().filter(|(_, join)| join.private.is_some()) {
            index.joins.entry(join.contact).or_default().push(*key);
        }
        index
    }

    /// The parts of up to so many people, in order, of those who come after one of them: never all of them need be in memory.
    ///
    /// # Errors
    /// As [`State::to_parts`].
    pub fn private_parts_after(
        &self,
        index: &PrivateIndex,
        after: Option<ContactId>,
        most: usize,
    ) -> Result<Vec<(ContactId, Vec<u8>)>, SnapshotError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let last = after.map_or(Bound::Unbounded, |id| Bound::Excluded((id, ConvId::MAX)));
        let mut talking = self.by_contact.range((last, Bound::Unbounded)).map(|(id, _)| *id).peekable();
        let mut known = self.contacts.range((from, Bound::Unbounded)).map(|(id, _)| *id).peekable();
        let mut sent = index.sends.range((from, Bound::Unbounded)).map(|(id, _)| *id).peekable();
        let mut joined = index.joins.range((from, Bound::Unbounded)).map(|(id, _)| *id).peekable();
        let mut parts = vec![];
        while parts.len() < most {
            let heads = [talking.peek(), known.peek(), sent.peek(), joined.peek()];
            let Some(id) = heads.into_iter().flatten().min().copied() else { break };
            while talking.next_if_eq(&id).is_some() {}
            known.next_if_eq(&id);
            sent.next_if_eq(&id);
            joined.next_if_eq(&id);
            let part = self.private_part(index, id);
            if !part.is_empty() {
                parts.push((id, rmp_serde::to_vec_named(&part)?));
            }
        }
        Ok(parts)
    }

    fn private_part(&self, index: &PrivateIndex, id: ContactId) -> PrivatePart<'_> {
        let conversations = self.conversations_under(id);
        let sends = index.sends.get(&id).into_iter().flatten().filter_map(|id| self.sends.get(id));
        let joins = index.joins.get(&id).into_iter().flatten().filter_map(|key| Some((key, self.joins.get(key)?)));
        PrivatePart {
            contact: self.contacts.get(&id).and_then(|c| c.private.as_deref()).map(Cow::Borrowed),
            conversations: conversations.filter_map(|c| Some((c.id, Cow::Borrowed(c.private.as_deref()?)))).collect(),
            sends: sends.filter_map(|s| Some((s.id, Cow::Borrowed(s.private.as_deref()?)))).collect(),
            parts: joins.filter_map(|(key, j)| Some((*key, Cow::Borrowed(j.private.as_deref()?)))).collect(),
        }
    }

    /// Whether the bytes can be read, and say what was written: each record is read and written again, one at a time.
    ///
    /// # Errors
    /// When they do not.
    pub fn check_public(bytes: &[u8]) -> Result<(), SnapshotError> {
        let mut again = Vec::new();
        for_each_record(bytes, |record, written| {
            again.clear();
            rmp_serde::encode::write_named(&mut again, &record)?;
            if again == written { Ok(()) } else { Err(SnapshotError::Differs) }
        })
    }

    /// The same for the part of one person.
    ///
    /// # Errors
    /// When it cannot be read, or says something else.
    pub fn check_private(bytes: &[u8]) -> Result<(), SnapshotError> {
        let part: PrivatePart<'_> = rmp_serde::from_slice(bytes)?;
        if rmp_serde::to_vec_named(&part)? == bytes { Ok(()) } else { Err(SnapshotError::Differs) }
    }

    /// Reads a snapshot; a contact whose part is missing was erased.
    ///
    /// # Errors
    /// When the bytes are damaged or of another layout. The caller folds the log instead.
    pub fn from_parts(salt: Salt, public: &[u8], private: &[(ContactId, Vec<u8>)]) -> Result<State, SnapshotError> {
        let mut s = State::new(salt);
        let mut duplicates = vec![];
        let mut head = false;
        for_each_record(public, |record, _| {
            match record {
                Record::Head(h) if h.layout != LAYOUT => return Err(SnapshotError::Layout(h.layout)),
                Record::Duplicates(piece, day, ids) => duplicates.extend(ids.into_iter().map(|id| (piece, day, id))),
                record => {
                    head |= matches!(record, Record::Head(_));
                    s.restore(record);
                }
            }
            Ok(())
        })?;
        if !head {
            return Err(SnapshotError::Head);
        }
        s.dups = Dups::from_pieces(duplicates);
        for (contact, bytes) in private {
            s.add_private_part(*contact, bytes)?;
        }
        s.rebuild_indexes();
        Ok(s)
    }

    /// Adds what came from one person, as [`State::private_parts`] gave it.
    ///
    /// # Errors
    /// When the bytes are damaged.
    pub fn add_private_part(&mut self, contact: ContactId, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.restore_private(contact, rmp_serde::from_slice(bytes)?);
        Ok(())
    }

    fn restore(&mut self, record: Record<'_>) {
        match record {
            Record::Head(h) => {
                let h = h.into_owned();
                self.now = h.now;
                self.cursor = Cursor { seq: h.cursor.0, at: h.cursor.1, id: h.cursor_id };
                self.incarnation = h.incarnation;
                self.rebased = h.rebased;
                self.pack = h.pack;
                self.previous_pack = h.previous_pack;
                (self.packs, self.canary) = (h.packs, h.canary);
                (self.assign_at, self.assign_relived, self.relives) = (h.assign_at, h.assign_relived, h.relives);
            }
            Record::Channel(name, c) => drop(self.channels.insert(name.into_owned(), Arc::new(c.into_owned()))),
            Record::Conversation(c) => self.restore_conversation(c.into_owned()),
            Record::Contact(id, c) => drop(self.contacts.insert(id, Arc::new(c.into_owned()))),
            Record::Consent(who, channel, c) => drop(self.consent.insert((who, channel.into_owned()), c)),
            Record::OptOutKept(who, channel) => drop(self.kept_opt_outs.insert((who, channel.into_owned()))),
            Record::Blocked(who, channel) => drop(self.blocked.insert((who, channel.into_owned()), None)),
            Record::BlockedOf(who, channel, contact) => {
                self.blocked.insert((who, channel.into_owned()), Some(contact));
            }
            Record::Agent(name, a) => drop(self.agents.insert(name.into_owned(), Arc::new(a.into_owned()))),
            Record::Send(x) => drop(self.sends.insert(x.id, Arc::new(x.into_owned()))),
            Record::Settled(id, x) => drop(self.settled.insert(id, Arc::new(x.into_owned()))),
            Record::Held(provider, h) => drop(self.held.insert(provider, Arc::new(h.into_owned()))),
            Record::Join(key, j) => drop(self.joins.insert(key, Arc::new(j.into_owned()))),
            Record::Quarantine(seq) => drop(self.quarantine.insert(seq, None)),
            Record::QuarantineOf(seq, id) => drop(self.quarantine.insert(seq, Some(id))),
            Record::Duplicates(..) => {}
            Record::Budget(day, who, n) => drop(self.budgets.insert((day, who), n)),
            Record::LastAgent(who, a, until) => drop(self.last_agents.insert(who, (a.into_owned(), until))),
            Record::Pace(queue, pace) => drop(self.paces.insert(queue.into_owned(), pace)),
        }
    }

    fn restore_conversation(&mut self, mut c: Conversation) {
        c.channel = self.shared.label(&c.channel);
        for name in [&mut c.queue, &mut c.agent].into_iter().flatten() {
            *name = self.shared.label(name);
        }
        if let Some(answer) = &mut c.answer {
            answer.by = self.shared.label(&answer.by);
        }
        c.chosen = c.chosen.map(|chosen| self.shared.chosen(&chosen));
        if let Some(queue) = &c.queue {
            c.overflow = self.shared.steps(queue, &c.overflow);
        }
        self.conversations.insert(c.id, Arc::new(c));
    }

    fn restore_private(&mut self, contact: ContactId, part: PrivatePart<'_>) {
        if let (Some(p), Some(c)) = (part.contact, self.contacts.get_mut(&contact)) {
            Arc::make_mut(c).private = Some(Arc::new(p.into_owned()));
        }
        for (id, p) in part.conversations {
            if let Some(c) = self.conversations.get_mut(&id) {
                Arc::make_mut(c).private = Some(Arc::new(p.into_owned()));
            }
        }
        for (key, p) in part.parts {
            if let Some(join) = self.joins.get_mut(&key) {
                Arc::make_mut(join).private = Some(Arc::new(p.into_owned()));
            }
        }
        for (id, p) in part.sends {
            if let Some(s) = self.sends.get_mut(&id) {
                Arc::make_mut(s).private = Some(Arc::new(p.into_owned()));
            }
        }
    }
}

/// Reads the records one after the other, each with its bytes.
fn for_each_record(
    bytes: &[u8],
    mut each: impl FnMut(Record<'static>, &[u8]) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let before = rest;
        let record = Record::deserialize(&mut rmp_serde::Deserializer::new(&mut rest))?;
        let read = before.len() - rest.len();
        each(record, before.get(..read).unwrap_or_default())?;
    }
    Ok(())
}
