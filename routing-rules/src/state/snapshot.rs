//! The state as bytes: a public part, and per contact what came from that person, which the daemon seals.

use super::{
    AgentState, Channel, Contact, ContactPrivate, ConvPrivate, Conversation, Cursor, Dups, HeldReceipt, SendPrivate,
    SendState, Settled, State,
};
use crate::event::KeyHash;
use crate::ids::{ContactId, ConvId, MessageId, Salt};
use crate::pack::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_envelope::{ConsentState, Timestamp};
use thiserror::Error;

/// The version of the layout; another one is not read, and the log is folded instead.
const LAYOUT: u32 = 1;

#[derive(Debug, Error)]
pub enum SnapshotError {
    #[error("snapshot cannot be read: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
    #[error("snapshot cannot be written: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    #[error("snapshot has layout {0}, this build reads {LAYOUT}")]
    Layout(u32),
}

/// A snapshot in two kinds of parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SnapshotParts {
    pub public: Vec<u8>,
    /// One entry a contact, in order.
    pub private: Vec<(ContactId, Vec<u8>)>,
}

#[derive(Serialize, Deserialize)]
struct PublicPart {
    layout: u32,
    now: Timestamp,
    cursor: (u64, Timestamp),
    incarnation: u64,
    pack: String,
    previous_pack: Option<String>,
    channels: Vec<(Name, Channel)>,
    conversations: Vec<Conversation>,
    contacts: Vec<(ContactId, Contact)>,
    consent: Vec<((KeyHash, Name), ConsentState)>,
    blocked: Vec<(KeyHash, Name)>,
    agents: Vec<(Name, AgentState)>,
    sends: Vec<SendState>,
    settled: Vec<(MessageId, Settled)>,
    held: Vec<(KeyHash, HeldReceipt)>,
    quarantine: Vec<u64>,
    dups: Vec<(i64, KeyHash)>,
    budgets: Vec<((i64, KeyHash), u32)>,
}

#[derive(Default, Serialize, Deserialize)]
struct PrivatePart {
    contact: Option<ContactPrivate>,
    conversations: Vec<(ConvId, ConvPrivate)>,
    sends: Vec<(MessageId, SendPrivate)>,
}

impl State {
    /// The snapshot's parts. Equal states give equal bytes.
    ///
    /// # Errors
    /// Never for a state that this crate made; the encoder's error is passed on rather than hidden.
    pub fn to_parts(&self) -> Result<SnapshotParts, SnapshotError> {
        let mut private: BTreeMap<ContactId, PrivatePart> = BTreeMap::new();
        let mut conversations = Vec::with_capacity(self.conversations.len());
        for c in self.conversations.values() {
            let mut public = (**c).clone();
            if let Some(p) = public.private.take() {
                private.entry(c.contact).or_default().conversations.push((c.id, (*p).clone()));
            }
            conversations.push(public);
        }
        let mut sends = Vec::with_capacity(self.sends.len());
        for s in self.sends.values() {
            let mut public = (**s).clone();
            if let Some(p) = public.private.take() {
                private.entry(s.contact).or_default().sends.push((s.id, (*p).clone()));
            }
            sends.push(public);
        }
        let mut contacts = Vec::with_capacity(self.contacts.len());
        for (id, c) in &self.contacts {
            let mut public = (**c).clone();
            if let Some(p) = public.private.take() {
                private.entry(*id).or_default().contact = Some((*p).clone());
            }
            contacts.push((*id, public));
        }
        let part = PublicPart {
            layout: LAYOUT,
            now: self.now,
            cursor: (self.cursor.seq, self.cursor.at),
            incarnation: self.incarnation,
            pack: self.pack.clone(),
            previous_pack: self.previous_pack.clone(),
            channels: self.channels.iter().map(|(n, c)| (n.clone(), (**c).clone())).collect(),
            conversations,
            contacts,
            consent: self.consent.iter().map(|(k, v)| (k.clone(), *v)).collect(),
            blocked: self.blocked.iter().cloned().collect(),
            agents: self.agents.iter().map(|(n, a)| (n.clone(), (**a).clone())).collect(),
            sends,
            settled: self.settled.iter().map(|(id, s)| (*id, (**s).clone())).collect(),
            held: self.held.iter().map(|(p, h)| (*p, (**h).clone())).collect(),
            quarantine: self.quarantine.iter().copied().collect(),
            dups: self.dups.iter().collect(),
            budgets: self.budgets.iter().map(|(k, v)| (*k, *v)).collect(),
        };
        let private = private
            .into_iter()
            .map(|(id, p)| Ok((id, rmp_serde::to_vec_named(&p)?)))
            .collect::<Result<_, rmp_serde::encode::Error>>()?;
        Ok(SnapshotParts { public: rmp_serde::to_vec_named(&part)?, private })
    }

    /// Reads a snapshot; a contact whose part is missing was erased.
    ///
    /// # Errors
    /// When the bytes are damaged or of another layout. The caller folds the log instead.
    pub fn from_parts(salt: Salt, parts: &SnapshotParts) -> Result<State, SnapshotError> {
        let p: PublicPart = rmp_serde::from_slice(&parts.public)?;
        if p.layout != LAYOUT {
            return Err(SnapshotError::Layout(p.layout));
        }
        let mut s = State::new(salt);
        s.now = p.now;
        s.cursor = Cursor { seq: p.cursor.0, at: p.cursor.1 };
        s.incarnation = p.incarnation;
        s.pack = p.pack;
        s.previous_pack = p.previous_pack;
        s.channels = p.channels.into_iter().map(|(n, c)| (n, Arc::new(c))).collect();
        s.conversations = p.conversations.into_iter().map(|c| (c.id, Arc::new(c))).collect();
        s.contacts = p.contacts.into_iter().map(|(id, c)| (id, Arc::new(c))).collect();
        s.consent = p.consent.into_iter().collect();
        s.blocked = p.blocked.into_iter().collect();
        s.agents = p.agents.into_iter().map(|(n, a)| (n, Arc::new(a))).collect();
        s.sends = p.sends.into_iter().map(|x| (x.id, Arc::new(x))).collect();
        s.settled = p.settled.into_iter().map(|(id, x)| (id, Arc::new(x))).collect();
        s.held = p.held.into_iter().map(|(k, h)| (k, Arc::new(h))).collect();
        s.quarantine = p.quarantine.into_iter().collect();
        s.dups = Dups::from_days(p.dups);
        s.budgets = p.budgets.into_iter().collect();
        for (contact, bytes) in &parts.private {
            s.restore_private(*contact, rmp_serde::from_slice(bytes)?);
        }
        s.rebuild_indexes();
        Ok(s)
    }

    fn restore_private(&mut self, contact: ContactId, part: PrivatePart) {
        if let (Some(p), Some(c)) = (part.contact, self.contacts.get_mut(&contact)) {
            Arc::make_mut(c).private = Some(Arc::new(p));
        }
        for (id, p) in part.conversations {
            if let Some(c) = self.conversations.get_mut(&id) {
                Arc::make_mut(c).private = Some(Arc::new(p));
            }
        }
        for (id, p) in part.sends {
            if let Some(s) = self.sends.get_mut(&id) {
                Arc::make_mut(s).private = Some(Arc::new(p));
            }
        }
    }
}
