//! A history of which LOG does not hold the beginning any more: conversations that opened before are known from a snapshot of the
//! state, and so are messages of ours that were not sent or of which that is not known yet, also where nothing else is known of their
//! conversation, and what is in quarantine, which says of itself what it is. What was said in them before is gone otherwise; what LOG
//! still tells of them is folded like everything else.

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
use switchboard_envelope::{Address, Timestamp};
use switchboard_routing_rules::event::{ClockKind, KeyHash};
use switchboard_routing_rules::ids::{ContactId, ConvId, MessageId};
use switchboard_routing_rules::pack::{ConvStatus, Priority};
use switchboard_routing_rules::state::{self, ConvPrivate, Phase, SendState, State};

/// Gives what is known of before; `None` where there is no snapshot.
pub type Before = Box<dyn Fn() -> BoxFuture<'static, Result<Option<Earlier>, LogError>> + Send + Sync>;

/// What is known without LOG.
pub struct Earlier {
    /// The last frame that the state holds.
    pub of: Seq,
    /// As a snapshot has it.
    pub state: State,
    /// What the records in its quarantine say of themselves, by their places in IN; those of which nothing is kept are missing.
    pub held: BTreeMap<Seq, Held>,
}

/// A record in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub channel: String,
    pub at: Timestamp,
    /// What is wrong with it, where whoever read it wrote that into it.
    pub reason: Option<String>,
}

/// The line at the beginning of a transcript whose earlier messages are gone.
pub const OLDER_GONE: &str = "older_gone";

/// Why a record is in quarantine, where neither LOG nor the record says so any more.
const WHY_GONE: &str = "what is wrong with it is older than the log; reading it again says so";

/// Conversations, or contacts, between two times that memory is given back.
const SOME: usize = 1_000;

impl HistoryWriter {
    /// Begins an empty file with what is known of before the frame `first`. Whatever opened since then is told by LOG, and begins anew
    /// there. Returns the frame behind which LOG is folded.
    ///
    /// # Errors
    /// When the file could not be written; nothing is in it then.
    pub fn begin(&mut self, earlier: &Earlier, first: Seq) -> Result<Seq, HistoryError> {
        let state = &earlier.state;
        self.transaction(|w| {
            w.work.at = Place::default();
            w.work.kinds = state.channels.iter().map(|(name, c)| (name.clone(), c.profile.kind.clone())).collect();
            w.work.pack = state.packs.last().cloned();
            w.work.tables_changed = true;
            w.add_all(earlier)?;
            let rebased = state.rebased.filter(|r| r.frame < first);
            w.work.rebase = rebased.map_or(0, |r| r.number);
            (w.work.cursor, w.work.frame, w.work.known_to) = (first.saturating_sub(1), 0, earlier.of);
            w.flush()?;
            w.write_meta()
        })?;
        Ok(self.cursor())
    }

    /// All that is known, inside the open transaction: little of it is in memory beside the state itself.
    pub(super) fn add_all(&mut self, earlier: &Earlier) -> Done {
        let state = &earlier.state;
        let mut sends: BTreeMap<ConvId, Vec<&SendState>> = BTreeMap::new();
        for send in state.sends.values() {
            sends.entry(send.conv).or_default().push(send);
        }
        for sends in sends.values_mut() {
            sends.sort_by_key(|send| (send.at, send.id));
        }
        // A dead letter waits for a person longer than the state keeps its conversation; what came in the thread since is newer.
        let mut alone: Vec<_> = sends.keys().filter(|conv| !state.conversations.contains_key(conv)).copied().collect();
        alone.sort_by_key(|conv| (sends.get(conv).and_then(|sends| sends.first()).map(|send| send.at), *conv));
        for (n, conv) in alone.into_iter().enumerate() {
            let sends = sends.remove(&conv).unwrap_or_default();
            self.add_ended(state, conv, &sends)?;
            sends.into_iter().try_for_each(|send| self.add_known_send(send))?;
            self.give_back(n)?;
        }
        let mut known: Vec<_> = state.conversations.values().collect();
        known.sort_by_key(|c| (c.opened_at, c.id));
        for (n, c) in known.into_iter().enumerate() {
            self.add_known(state, c)?;
            sends.remove(&c.id).unwrap_or_default().into_iter().try_for_each(|send| self.add_known_send(send))?;
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
            .prepare_cached("INSERT OR REPLACE INTO quarantine(seq, channel, reason, at) VALUES (?1, ?2, ?3, ?4)")?;
        for seq in state.quarantine.keys() {
            let held = earlier.held.get(seq);
            let (channel, at) = held.map_or(("", state.now), |held| (&held.channel, held.at));
            let reason = held.and_then(|held| held.reason.as_deref()).unwrap_or(WHY_GONE);
            put.execute(params![column(*seq), channel, reason, at.0])?;
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
        self.add_person(state, contact, address.as_ref())?;
        let seq = self.next_place();
        let kind = self.work.kinds.get(&**c.channel).cloned().unwrap_or_default();
        let row = Conversation { contact, ..row(seq, c, kind, address) };
        if let Some(offer) = &row.offer {
            self.put_offer(seq, offer)?;
        }
        // Nobody knows how long they had waited before what they wrote last.
        let waits_since = c.last_in.get().filter(|_| row.ours_to_answer);
        self.work.conversations.add(c.id, Conv { waits_since, ..Conv::new(row) });
        self.say_older_gone(c.id, c.opened_at)
    }

    /// A conversation that ended, of which the state has nothing but messages of ours.
    fn add_ended(&mut self, state: &State, conv: ConvId, sends: &[&SendState]) -> Done {
        let Some(first) = sends.first() else { return Ok(()) };
        let contact = state.resolve(first.contact);
        // What people of ours were told went to their desk.
        let said = sends.iter().find(|send| !send.notice);
        let private = said.and_then(|send| send.private.as_ref());
        let address = private.map(|p| p.to.clone());
        self.add_person(state, contact, address.as_ref())?;
        let channel = said.unwrap_or(first).channel.clone();
        let thread = private.map(|p| p.thread.clone());
        let kind = self.work.kinds.get(&channel).cloned().unwrap_or_default();
        let since = |send: &&SendState| if let Phase::Dead { at, .. } = send.phase { at } else { send.at };
        let ended = sends.iter().map(since).max();
        let seq = self.next_place();
        let row = Conversation {
            seq,
            id: conv,
            contact,
            kind,
            // Where it is not known, it is nobody's.
            thread_hash: thread.as_ref().map_or(KeyHash(0), |thread| state.thread_hash(&channel, thread)),
            channel,
            thread,
            address,
            subject: None,
            ours: false,
            opened_at: first.at,
            updated_at: ended.unwrap_or(first.at),
            state: ConvStatus::Closed,
            queue: None,
            agent: None,
            priority: Priority::default(),
            tags: BTreeSet::new(),
            attributes: BTreeMap::new(),
            queued_at: None,
            clock: None,
            resolution_due: None,
            offer: None,
            last: None,
            sender_proof: None,
            ours_to_answer: false,
            snoozed_until: None,
            pending_until: None,
            closed_at: ended,
            messages: 0,
            last_inbound: None,
        };
        self.work.conversations.add(conv, Conv { ended, ..Conv::new(row) });
        self.say_older_gone(conv, first.at)
    }

    /// Whose conversation it is, with what the state knows of this address.
    fn add_person(&mut self, state: &State, contact: ContactId, address: Option<&Address>) -> Done {
        let Some(address) = address else { return self.contact(contact).map(drop) };
        self.identify(contact, address.identity())?;
        let row = self.contact(contact)?;
        row.name = row.name.take().or_else(|| address.name.clone());
        let identity = state.identity_hash(address);
        for channel in state.channels.keys() {
            if let Some(consent) = state.consent.get(&(identity, channel.clone())) {
                row.consent.insert(channel.clone(), *consent);
            }
        }
        Ok(())
    }

    fn say_older_gone(&mut self, conv: ConvId, at: Timestamp) -> Done {
        let event = EventLine { what: OLDER_GONE.to_owned(), ..EventLine::default() };
        let line = Message { event: Some(event), ..Message::new(conv, Direction::Event, Who::System, at) };
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
