//! A history of which LOG does not hold the beginning any more: conversations that opened before are known from a snapshot of the
//! state, and so are messages of ours that were not sent or of which that is not known yet, and what is in quarantine. What was said
//! in them before is gone otherwise; what LOG still tells of them is folded like everything else.

use super::HistoryError;
use super::project::{Done, Place, fill, who_wrote};
use super::rows::{Clock, Contact, Conversation, Direction, EventLine, Message, OfferRow, Status, Who};
use super::sends::{notice, status_of};
use super::stored::{Conv, column};
use super::writer::HistoryWriter;
use crate::log::{LogError, Seq};
use futures_util::future::BoxFuture;
use rusqlite::params;
use std::collections::{BTreeMap, BTreeSet};
use switchboard_envelope::Address;
use switchboard_routing_rules::event::ClockKind;
use switchboard_routing_rules::ids::{ConvId, MessageId};
use switchboard_routing_rules::pack::ConvStatus;
use switchboard_routing_rules::state::{self, ConvPrivate, Phase, SendState, State};

/// Gives the state as a snapshot has it, with the last frame that it holds; `None` where there is none.
pub type Before = Box<dyn Fn() -> BoxFuture<'static, Result<Option<(Seq, State)>, LogError>> + Send + Sync>;

/// The line at the beginning of a transcript whose earlier messages are gone.
pub const OLDER_GONE: &str = "older_gone";

/// Why a record is in quarantine, where LOG does not say so any more.
const WHY_GONE: &str = "what is wrong with it is older than the log; reading it again says so";

/// Conversations, or contacts, between two times that memory is given back.
const SOME: usize = 1_000;

impl HistoryWriter {
    /// Begins an empty file with what a state, which holds the frames up to `of`, knows of before the frame `first`. Whatever opened
    /// since then is told by LOG, and begins anew there. Returns the frame behind which LOG is folded.
    ///
    /// # Errors
    /// When the file could not be written; nothing is in it then.
    pub fn begin(&mut self, (of, state): (Seq, &State), first: Seq) -> Result<Seq, HistoryError> {
        self.transaction(|w| {
            w.work.at = Place::default();
            w.work.kinds = state.channels.iter().map(|(name, c)| (name.clone(), c.profile.kind.clone())).collect();
            w.work.pack = state.packs.last().cloned();
            w.work.tables_changed = true;
            w.add_all(state)?;
            let rebased = state.rebased.filter(|r| r.frame < first);
            w.work.rebase = rebased.map_or(0, |r| r.number);
            (w.work.cursor, w.work.frame, w.work.known_to) = (first.saturating_sub(1), 0, of);
            w.flush()?;
            w.write_meta()
        })?;
        Ok(self.cursor())
    }

    /// All that the state knows, inside the open transaction: little of it is in memory beside the state itself.
    pub(super) fn add_all(&mut self, state: &State) -> Done {
        let mut sends: BTreeMap<ConvId, Vec<&SendState>> = BTreeMap::new();
        for send in state.sends.values() {
            sends.entry(send.conv).or_default().push(send);
        }
        let mut known: Vec<_> = state.conversations.values().collect();
        known.sort_by_key(|c| (c.opened_at, c.id));
        for (n, c) in known.into_iter().enumerate() {
            self.add_known(state, c)?;
            let mut sends = sends.remove(&c.id).unwrap_or_default();
            sends.sort_by_key(|send| (send.at, send.id));
            sends.into_iter().try_for_each(|send| self.add_known_send(send))?;
            self.give_back(n)?;
        }
        for (n, (id, contact)) in state.contacts.iter().enumerate() {
            let row = self.contact(*id)?;
            row.merged_into = contact.merged_into;
            tell(row, contact);
            self.give_back(n)?;
        }
        let mut put = self
            .db
            .prepare_cached("INSERT OR REPLACE INTO quarantine(seq, channel, reason, at) VALUES (?1, '', ?2, ?3)")?;
        for seq in state.quarantine.keys() {
            put.execute(params![column(*seq), WHY_GONE, state.now.0])?;
        }
        Ok(())
    }

    fn give_back(&mut self, n: usize) -> Done {
        if n % SOME == SOME - 1 {
            self.flush()?;
            self.work.settle();
        }
        Ok(())
    }

    /// A message of ours that is a dead letter, or of which it is not known yet what becomes of it.
    fn add_known_send(&mut self, send: &SendState) -> Done {
        let mut row = match send.notice {
            true => notice(send.conv, &send.author, send.at, &send.channel),
            false => Message::new(send.conv, Direction::Out, who_wrote(&send.author), send.at),
        };
        row.status = Some(match &send.phase {
            Phase::Waiting | Phase::Ready { .. } | Phase::Backoff { .. } => Status::Queued,
            Phase::InFlight { .. } => Status::Sending,
            Phase::Reconciling { .. } => Status::Unknown,
            Phase::Dead { reason, .. } => status_of(*reason),
        });
        if let Some(p) = &send.private {
            match send.notice {
                true => row.text = Some(p.content.text.clone()),
                false => fill(&mut row, &p.content),
            }
            row.to = Some(p.to.clone());
        }
        let Some(place) = self.add_message(Some(send.id), row)? else { return Ok(()) };
        match &send.phase {
            Phase::Dead { reason, at } => self.put_dead(place, send.id, place, &send.channel, (*reason, *at)),
            _ => Ok(()),
        }
    }

    fn add_known(&mut self, state: &State, c: &state::Conversation) -> Done {
        let contact = state.resolve(c.contact);
        let address = c.private.as_ref().and_then(|p| p.address());
        match &address {
            Some(address) => {
                self.identify(contact, address.identity())?;
                let row = self.contact(contact)?;
                row.name = row.name.take().or_else(|| address.name.clone());
                let identity = state.identity_hash(address);
                for channel in state.channels.keys() {
                    if let Some(consent) = state.consent.get(&(identity, channel.clone())) {
                        row.consent.insert(channel.clone(), *consent);
                    }
                }
            }
            None => drop(self.contact(contact)?),
        }
        let seq = self.next_place();
        let kind = self.work.kinds.get(&**c.channel).cloned().unwrap_or_default();
        let row = Conversation { contact, ..row(seq, c, kind, address) };
        if let Some(offer) = &row.offer {
            self.put_offer(seq, offer)?;
        }
        // Nobody knows how long they had waited before what they wrote last.
        let waits_since = c.last_in.get().filter(|_| row.ours_to_answer);
        self.work.conversations.add(c.id, Conv { waits_since, ..Conv::new(row) });
        let what = OLDER_GONE.to_owned();
        let event = EventLine { what, ..EventLine::default() };
        let line = Message { event: Some(event), ..Message::new(c.id, Direction::Event, Who::System, c.opened_at) };
        self.add_message(None, line).map(drop)
    }

    /// LOG tells of the opening of a conversation itself: what a snapshot knew of it is of no use.
    pub(super) fn forget_known(&mut self, conv: ConvId) -> Done {
        if self.work.at.frame > self.work.known_to {
            return Ok(());
        }
        let Some((seq, mut place)) = self.look(conv)?.map(|c| (c.seq, c.last)) else { return Ok(()) };
        self.db.prepare_cached("DELETE FROM offers WHERE seq = ?1")?.execute([column(seq)])?;
        self.db.prepare_cached("DELETE FROM conversations WHERE seq = ?1")?.execute([column(seq)])?;
        self.db.prepare_cached("DELETE FROM marks WHERE conv = ?1")?.execute([column(seq)])?;
        while place > 0 {
            place = self.drop_message(place, &mut BTreeSet::new())?;
        }
        self.work.conversations.forget(conv);
        Ok(())
    }

    /// The same of a message of ours, in a conversation that a snapshot knew: it has its place where LOG tells of it.
    pub(super) fn forget_known_send(&mut self, conv: ConvId, message: MessageId) -> Done {
        if self.work.at.frame > self.work.known_to {
            return Ok(());
        }
        let Some(place) = self.find_message(message)? else { return Ok(()) };
        // So that the file has all of its transcript.
        self.flush()?;
        let Some((seq, last)) = self.look(conv)?.map(|c| (c.seq, c.last)) else { return Ok(()) };
        let (mut after, mut at) = (None, last);
        while at > place {
            after = Some(at);
            at = self.standing(at)?.map_or(0, |s| s.prev);
        }
        if at != place {
            return Ok(());
        }
        let counts = self.standing(place)?.is_some_and(|s| s.direction == Direction::Out);
        let before = self.drop_message(place, &mut BTreeSet::new())?;
        self.db
            .prepare_cached("DELETE FROM marks WHERE conv = ?1 AND seq = ?2")?
            .execute([column(seq), column(place)])?;
        if let Some(after) = after {
            self.db
                .prepare_cached("UPDATE messages SET prev = ?2 WHERE seq = ?1")?
                .execute([column(after), column(before)])?;
            self.work.messages.forget(after);
            self.work.fates.forget(after);
        }
        if let Some(c) = self.conversation(conv)? {
            c.messages = c.messages.saturating_sub(u32::from(counts));
            c.last = if c.last == place { before } else { c.last };
        }
        Ok(())
    }
}

/// What the state says of a contact.
fn tell(row: &mut Contact, contact: &state::Contact) {
    row.tags.clone_from(&contact.tags);
    if let Some(p) = &contact.private {
        row.name = p.name.clone().or_else(|| row.name.take());
        row.attributes.clone_from(&p.attributes);
    }
}

/// What the state says of a conversation, at a place of the transcript's numbering.
fn row(seq: u64, c: &state::Conversation, kind: String, address: Option<Address>) -> Conversation {
    let private = c.private.as_deref();
    let written = c.last_in.get().max(c.last_out.get()).unwrap_or(c.opened_at);
    let waits = matches!(c.status, ConvStatus::Queued | ConvStatus::Offered);
    let until = |status: ConvStatus| c.wait_until.get().filter(|_| c.status == status);
    let runs = |k: &&state::Clock| k.breached || k.left().is_none();
    let unanswered = c.last_in.get() > c.last_answer().map(|(at, _)| at);
    Conversation {
        seq,
        id: c.id,
        contact: c.contact,
        channel: (*c.channel).clone(),
        kind,
        thread_hash: c.thread,
        thread: private.map(|p| p.thread().to_owned()),
        address,
        subject: private.and_then(|p| p.subject()).map(str::to_owned),
        // The message is gone; that whoever wrote it was proved is gone with it, and that they were not is kept.
        sender_proof: private.and_then(ConvPrivate::doubt),
        ours: c.messages == 0,
        opened_at: c.opened_at,
        updated_at: written.max(c.opened_at),
        state: c.status,
        queue: c.queue.as_deref().cloned(),
        agent: c.agent.as_deref().filter(|_| !waits).cloned(),
        priority: c.priority,
        tags: BTreeSet::clone(&c.tags),
        attributes: private.map(|p| (*p.attributes).clone()).unwrap_or_default(),
        queued_at: c.queued_at.get(),
        clock: c.clock.as_ref().filter(runs).map(|k| Clock {
            kind: k.kind,
            due: k.due,
            // The state says so of a clock that has no warning, too.
            warned: k.warned && k.kind != ClockKind::Waiting,
            breached: k.breached,
        }),
        resolution_due: c.resolution_due.get(),
        offer: c.offer.as_ref().map(|o| OfferRow {
            id: o.id,
            conversation: c.id,
            agent: o.agent.clone(),
            expires: o.expires,
        }),
        last: None,
        ours_to_answer: c.is_ours() || (c.status == ConvStatus::Snoozed && unanswered),
        snoozed_until: until(ConvStatus::Snoozed),
        pending_until: until(ConvStatus::Pending),
        closed_at: (!c.is_open()).then_some(written),
        messages: 0,
        last_inbound: None,
    }
}
