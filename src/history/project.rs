//! What each event means for the rows.

use super::causes::{considering, follows_at_once};
use super::rows::{
    Cause, Clock, Considering, Conversation, Direction, EventLine, FactsOutcome, Message, OfferRow, Status, Who,
};
use super::stored::{Conv, Item, Outcome, column, pack_seen};
use super::writer::HistoryWriter;
use super::{HistoryError, message_seq};
use crate::log::Seq;
use rusqlite::params;
use switchboard_envelope::{Author, ConsentState, Content, SenderProof, Timestamp};
use switchboard_routing_rules::event::{Event, KeyHash, Private, Public, Why};
use switchboard_routing_rules::ids::{ContactId, ConvId, ID_BYTES, MessageId};
use switchboard_routing_rules::pack::{ConvStatus, Name, Priority};

pub(super) type Done = Result<(), HistoryError>;

/// A row of a transcript in so many is marked, so that reading may start there.
const MARK_EVERY: u32 = 64;

impl HistoryWriter {
    /// Folds the event that stands at `work.at`.
    pub(super) fn fold(&mut self, event: &Event) -> Done {
        let private = event.private.as_ref().map(|(_, p)| p);
        if !follows_at_once(&event.public) {
            self.work.cause = None;
        }
        if let Some(conv) = event.public.conversation() {
            return self.fold_conversation(conv, &event.public, private);
        }
        match &event.public {
            Public::Led { now, .. } | Public::Consumed { now, .. } | Public::Ticked { now, .. } => {
                self.work.now = *now;
                self.work.deciding = None;
                Ok(())
            }
            Public::Rebased { number, at, cursor, .. } => {
                // What comes after the cursor is read again, and quarantined again if need be.
                self.db.prepare_cached("DELETE FROM quarantine WHERE seq > ?1")?.execute([column(*cursor)])?;
                (self.work.rebase, self.work.now) = (*number, *at);
                self.work.deciding = None;
                Ok(())
            }
            Public::Quarantined { seq, channel, reason, at } => {
                self.db
                    .prepare_cached(
                        "INSERT OR REPLACE INTO quarantine(seq, channel, reason, at) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![column(*seq), channel, reason, at.0])?;
                Ok(())
            }
            Public::QuarantineReleased { seq } => {
                self.db.prepare_cached("DELETE FROM quarantine WHERE seq = ?1")?.execute([column(*seq)])?;
                Ok(())
            }
            Public::PackInForce { hash } => {
                self.work.pack = Some((hash.clone(), self.work.now));
                self.work.tables_changed = true;
                Ok(())
            }
            Public::ChannelsInForce { channels } => {
                self.work.kinds.extend(channels.iter().map(|(name, p)| (name.clone(), p.kind.clone())));
                self.work.tables_changed = true;
                Ok(())
            }
            Public::Confirmed { channel, thread, up_to, read, .. } => self.confirmed(channel, *thread, *up_to, *read),
            Public::Answered { command, body, reply } => {
                // The first answer stands, whatever is asked again under the same key.
                self.db
                    .prepare_cached("INSERT OR IGNORE INTO answers(command, at, body, reply) VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![command.0.to_be_bytes(), self.work.now.0, body, rmp_serde::to_vec(reply)?])?;
                Ok(())
            }
            other => self.fold_contact(other, private),
        }
    }

    fn fold_contact(&mut self, public: &Public, private: Option<&Private>) -> Done {
        match public {
            Public::ConsentChanged { contact, channel, state, .. } => {
                let identity = match private {
                    Some(Private::Consent { address, .. }) => Some(address.identity()),
                    _ => None,
                };
                self.contact(*contact)?.consent.insert(channel.clone(), *state);
                identity.map_or(Ok(()), |i| self.identify(*contact, i))
            }
            Public::ContactTouched { contact, tags } => {
                let row = self.contact(*contact)?;
                if let Some(tags) = tags {
                    row.tags.clone_from(tags);
                }
                if let Some(Private::Contact { name, attributes, identity }) = private {
                    if name.is_some() {
                        row.name.clone_from(name);
                    }
                    set_attributes(&mut row.attributes, attributes);
                    if let Some(address) = identity {
                        self.identify(*contact, address.identity())?;
                    }
                }
                Ok(())
            }
            Public::ContactMerged { into, from } => self.merge(*into, *from),
            _ => Ok(()),
        }
    }

    fn merge(&mut self, into: ContactId, from: ContactId) -> Done {
        if into == from {
            return Ok(());
        }
        let left = self.contact(from)?;
        let moved = left.clone();
        left.identities.clear();
        left.merged_into = Some(into);
        self.work.identities.extend(moved.identities.iter().map(|i| (i.clone(), into)));
        let row = self.contact(into)?;
        row.name = row.name.take().or(moved.name);
        row.identities.extend(moved.identities.iter().cloned());
        row.tags.extend(moved.tags);
        for (k, v) in moved.attributes {
            row.attributes.entry(k).or_insert(v);
        }
        for (k, v) in moved.consent {
            row.consent.entry(k).or_insert(v);
        }
        self.flush()?;
        for identity in &moved.identities {
            self.db
                .prepare_cached("DELETE FROM identities WHERE identity = ?1 AND contact = ?2")?
                .execute(params![identity, from.to_bytes()])?;
        }
        let ids = {
            let mut find = self.db.prepare_cached("SELECT id FROM conversations WHERE contact = ?1")?;
            let rows = find.query_map([from.to_bytes()], |r| r.get::<_, [u8; ID_BYTES]>(0))?;
            rows.collect::<Result<Vec<_>, _>>()?
        };
        for id in ids {
            if let Some(c) = self.conversation(ConvId::from_bytes(id))? {
                c.contact = into;
            }
        }
        Ok(())
    }

    fn fold_conversation(&mut self, conv: ConvId, public: &Public, private: Option<&Private>) -> Done {
        use Public as P;
        match public {
            P::Opened { contact, channel, thread, at: when, ours, .. } => {
                self.opened(conv, *contact, channel, *thread, *when, *ours, private)
            }
            P::Received { message, at: when, .. } => self.received(conv, *message, *when, private),
            P::NoteAdded { message, agent, token, at: when, .. } => {
                let by_token = || token.clone().map_or(Who::System, Who::Token);
                let who = agent.clone().map_or_else(by_token, Who::Agent);
                let mut row = Message::new(conv, Direction::Note, who, *when);
                if let Some(Private::Note { text }) = private {
                    row.text = Some(text.clone());
                }
                self.add_message(Some(*message), row).map(drop)
            }
            P::SendQueued { notice: true, .. } => self.notice_queued(conv, public, private),
            P::SendQueued { message, author, at: when, push, resends, .. } => {
                self.send_queued(conv, *message, author, *when, *push, *resends, private)
            }
            P::Decided { message, pack, hits, place, .. } => {
                self.decided(conv, *message, pack, hits, place.as_ref(), private)
            }
            P::FollowedUp { on, pack, hits, .. } => self.followed_up(conv, *on, pack, hits),
            P::NotReplied { message, rule, why, .. } => {
                let place = self.find_message(*message)?;
                if let Some(o) = place.map(|p| self.outcome_at(p)).transpose()?.flatten() {
                    o.not_replied.push((rule.clone(), *why));
                }
                self.line(conv, "not_replied", |l| (l.why, l.no_reply) = (Some(Why::Rule(rule.clone())), Some(*why)))
            }
            P::ConsentByHand { state, by, .. } => {
                let what = match state {
                    ConsentState::OptedOut => "opted_out",
                    ConsentState::OptedIn => "opted_in",
                };
                self.line(conv, what, |l| l.agent = Some(by.clone()))
            }
            P::FilesFetched { .. }
            | P::Released { .. }
            | P::AttemptEnded { .. }
            | P::Sent { .. }
            | P::Dead { .. }
            | P::DeadCleared { .. }
            | P::Receipt { .. } => self.fold_send(conv, public, private),
            _ => self.fold_place(conv, public, private),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one for each field of the event")]
    fn opened(
        &mut self,
        conv: ConvId,
        contact: ContactId,
        channel: &str,
        thread: KeyHash,
        when: Timestamp,
        ours: bool,
        private: Option<&Private>,
    ) -> Done {
        self.forget_known(conv)?;
        let (name, address, subject) = match private {
            Some(Private::Opened { thread, address, subject }) => {
                (Some(thread.clone()), Some(address.clone()), subject.clone())
            }
            _ => (None, None, None),
        };
        match &address {
            Some(a) => {
                self.identify(contact, a.identity())?;
                self.name_contact(contact, a.name.as_ref())?;
            }
            // It is there, whatever was erased of it.
            None => {
                self.contact(contact)?;
            }
        }
        let kind = self.work.kinds.get(channel).cloned().unwrap_or_default();
        let seq = self.next_place();
        let row = Conversation {
            seq,
            id: conv,
            contact,
            channel: channel.to_owned(),
            kind,
            thread_hash: thread,
            thread: name,
            address,
            subject,
            ours,
            opened_at: when,
            updated_at: when,
            state: ConvStatus::Queued,
            queue: None,
            agent: None,
            priority: Priority::default(),
            tags: std::collections::BTreeSet::new(),
            attributes: std::collections::BTreeMap::new(),
            queued_at: None,
            clock: None,
            resolution_due: None,
            offer: None,
            last: None,
            sender_proof: None,
            ours_to_answer: !ours,
            snoozed_until: None,
            pending_until: None,
            closed_at: None,
            messages: 0,
            last_inbound: None,
        };
        self.work.conversations.add(conv, Conv::new(row));
        self.work.fresh.entry(thread).or_default().push(conv);
        Ok(())
    }

    fn received(&mut self, conv: ConvId, message: MessageId, when: Timestamp, private: Option<&Private>) -> Done {
        let mut row = Message::new(conv, Direction::In, Who::Contact, when);
        row.status = Some(Status::Received);
        let (mut name, mut aside) = (None, false);
        if let Some(Private::Received { content, from, client_id, mail, proved, disproved, .. }) = private {
            aside = mail.as_ref().is_some_and(|m| m.aside);
            fill(&mut row, content);
            row.client_id.clone_from(client_id);
            row.sender_proof = SenderProof::of(*proved, *disproved);
            // A guest's name is not the customer's.
            name = from.name.as_ref().filter(|_| !aside);
        }
        let proof = if aside { self.proof_before(conv)? } else { row.sender_proof };
        let known = self.work.at.frame <= self.work.known_to;
        let Some(seq) = self.add_message(Some(message), row)? else { return Ok(()) };
        let now = self.work.now;
        let Some(c) = self.conversation(conv)? else { return Ok(()) };
        c.shown = seq;
        c.ours_to_answer = true;
        // A snapshot may have told it of this message.
        let arrives = c.waits_since.is_none_or(|since| known && since >= when);
        if arrives {
            c.waits_since = Some(now);
        }
        (c.sender_proof, c.proof_kept) = (proof, true);
        c.updated_at = c.updated_at.max(when);
        c.last_inbound = Some(seq);
        c.considering = vec![];
        let contact = c.contact;
        self.work.slots.at(now).arrived += u64::from(arrives);
        self.name_contact(contact, name)
    }

    /// Whether the customer was proved when they wrote last: what a machine or a guest writes says nothing of that.
    fn proof_before(&mut self, conv: ConvId) -> Result<Option<SenderProof>, HistoryError> {
        let Some(c) = self.look(conv)? else { return Ok(None) };
        match c.last_inbound.filter(|_| !c.proof_kept) {
            Some(place) => Ok(self.message_at(place)?.and_then(|m| m.sender_proof)),
            None => Ok(c.sender_proof),
        }
    }

    /// The first name that a contact had stays until a person changes it.
    fn name_contact(&mut self, contact: ContactId, name: Option<&String>) -> Done {
        if let Some(name) = name
            && self.look_contact(contact)?.is_none_or(|c| c.name.is_none())
        {
            self.contact(contact)?.name = Some(name.clone());
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one for each field of the event")]
    fn send_queued(
        &mut self,
        conv: ConvId,
        message: MessageId,
        author: &Author,
        when: Timestamp,
        push: bool,
        resends: Option<MessageId>,
        private: Option<&Private>,
    ) -> Done {
        self.forget_known_send(conv, message)?;
        let mut row = Message::new(conv, Direction::Out, who_wrote(author), when);
        row.status = Some(if push { Status::Accepted } else { Status::Queued });
        row.resends = resends;
        if let Some(Private::Send { content, to, .. }) = private {
            fill(&mut row, content);
            row.to = Some(to.clone());
        }
        if let (Author::Auto { rule }, Some((c, place))) = (author, self.work.deciding)
            && c == conv
            && let Some(o) = self.outcome_at(place)?
        {
            o.outcome.replies.push((message.to_string(), rule.clone()));
        }
        let Some(seq) = self.add_message(Some(message), row)? else { return Ok(()) };
        let (now, mut waited) = (self.work.now, None);
        if let Some(c) = self.conversation(conv)? {
            // A list shows what the customer asked until a person has answered it.
            if !(matches!(author, Author::Auto { .. }) && c.last_inbound.is_some()) {
                c.shown = seq;
            }
            c.updated_at = c.updated_at.max(when);
            if !matches!(author, Author::Auto { .. }) {
                c.ours_to_answer = false;
                waited = c.waits_since.take();
            }
        }
        // Who waits by a snapshot may have begun only after this.
        if let Some(since) = waited.filter(|since| *since <= now) {
            let slot = self.work.slots.at(now);
            slot.answered += 1;
            slot.waited_ms += u64::try_from(now.since(since)).unwrap_or(0);
        }
        Ok(())
    }

    fn decided(
        &mut self,
        conv: ConvId,
        message: MessageId,
        pack: &str,
        hits: &[String],
        place: Option<&Why>,
        private: Option<&Private>,
    ) -> Done {
        let now = self.work.now;
        let pack = self.hit(pack, hits)?;
        let Some(place_of) = self.find_message(message)? else { return Ok(()) };
        let seen = pack_seen(pack, now, hits, place, private)?;
        self.work.outcomes.add(place_of, Outcome { seen, ..Outcome::default() });
        self.work.deciding = Some((conv, place_of));
        Ok(())
    }

    /// Counts the rules, and gives the number of their pack.
    pub(super) fn hit(&mut self, pack: &str, hits: &[String]) -> Result<i64, HistoryError> {
        let now = self.work.now;
        let pack = self.pack_number(pack)?;
        for rule in hits {
            let hit = self.work.hits.entry((pack, rule.clone())).or_insert((0, now));
            *hit = (hit.0 + 1, now);
            self.work.slots.hit(now, rule);
        }
        Ok(pack)
    }

    /// What came of the decision that this input is about, for a conversation.
    fn outcome(&mut self, conv: ConvId) -> Result<Option<&mut FactsOutcome>, HistoryError> {
        match self.work.deciding {
            Some((c, place)) if c == conv => Ok(self.outcome_at(place)?.map(|o| &mut o.outcome)),
            _ => Ok(None),
        }
    }

    fn fold_place(&mut self, conv: ConvId, public: &Public, private: Option<&Private>) -> Done {
        use Public as P;
        let now = self.work.now;
        self.note_outcome(conv, public)?;
        self.count_response(conv, public)?;
        let Some(c) = self.conversation(conv)? else { return Ok(()) };
        c.updated_at = c.updated_at.max(now);
        match public {
            P::Tagged { add, remove, .. } => {
                c.tags.retain(|t| !remove.contains(t));
                c.tags.extend(add.iter().cloned());
            }
            P::Prioritised { priority, by, .. } => return self.prioritised(conv, *priority, by.as_ref()),
            P::Relaxed { skills, taken, .. } => return self.relaxed(conv, skills.as_ref(), taken.as_deref()),
            P::AttributesSet { .. } => {
                if let Some(Private::Attributes { set }) = private {
                    set_attributes(&mut c.attributes, set);
                }
            }
            P::ClockSet { clock, due, .. } => {
                c.clock = Some(Clock { kind: *clock, due: *due, warned: false, breached: false });
            }
            P::ClockStopped { .. } => c.clock = None,
            P::ClockWarned { clock, .. } => {
                c.clock.iter_mut().filter(|k| k.kind == *clock).for_each(|k| k.warned = true);
                self.work.cause = Some((conv, Cause::Warned(*clock)));
            }
            P::ClockBreached { clock, .. } => {
                c.clock.iter_mut().filter(|k| k.kind == *clock).for_each(|k| k.breached = true);
                let cause = Cause::Breached(*clock);
                self.work.cause = Some((conv, cause.clone()));
                return self.line(conv, "breached", |l| (l.why, l.cause) = (Some(Why::Timer), Some(cause)));
            }
            P::ResolutionDue { due, .. } => c.resolution_due = *due,
            P::Offered { offer, agent, expires, considered, .. } => {
                let row = OfferRow { id: *offer, conversation: conv, agent: agent.clone(), expires: *expires };
                c.state = ConvStatus::Offered;
                c.offer = Some(row.clone());
                self.put_offer(message_seq(self.work.at.frame, self.work.at.index), &row)?;
                return self.considered(conv, considering(Some(agent), considered, true));
            }
            P::NobodyFree { considered, .. } => {
                return self.considered(conv, considering(None, considered, false));
            }
            P::OfferEnded { offer, .. } => {
                if c.offer.as_ref().is_some_and(|o| o.id == *offer) {
                    c.offer = None;
                    if c.state == ConvStatus::Offered {
                        c.state = ConvStatus::Queued;
                    }
                }
                self.db.prepare_cached("DELETE FROM offers WHERE id = ?1")?.execute([offer.to_bytes()])?;
            }
            _ => return self.fold_state(conv, public),
        }
        Ok(())
    }

    fn fold_state(&mut self, conv: ConvId, public: &Public) -> Done {
        use Public as P;
        let now = self.work.now;
        let cause = self.cause_of(conv);
        let Some(c) = self.conversation(conv)? else { return Ok(()) };
        match public {
            P::Queued { queue, since, why, by, .. } => {
                (c.state, c.queue, c.agent, c.queued_at) =
                    (ConvStatus::Queued, Some(queue.clone()), None, Some(*since));
                (c.snoozed_until, c.pending_until, c.closed_at) = (None, None, None);
                // What every message does is no news; the rest is.
                if matches!(why, Why::Rule(_) | Why::Default | Why::Strategy | Why::CustomerWrote) {
                    return Ok(());
                }
                // No step took effect: there was no room where it was to wait.
                let cause = cause.or((*why == Why::Overflow).then_some(Cause::Full));
                self.line(conv, "queued", |l| {
                    (l.queue, l.why) = (Some(queue.clone()), Some(why.clone()));
                    (l.cause, l.by) = (cause, by.clone());
                })
            }
            P::Assigned { agent, why, considered, by, .. } => {
                let had = matches!(c.state, ConvStatus::Assigned | ConvStatus::Pending | ConvStatus::Snoozed);
                let from = c.agent.take().filter(|from| had && from != agent);
                (c.state, c.agent, c.queued_at) = (ConvStatus::Assigned, Some(agent.clone()), None);
                (c.snoozed_until, c.pending_until, c.closed_at) = (None, None, None);
                self.line(conv, "assigned", |l| {
                    (l.agent, l.why) = (Some(agent.clone()), Some(why.clone()));
                    (l.by, l.from) = (by.clone(), from.clone());
                })?;
                let one = considering(Some(agent), considered, false);
                self.considered(conv, Considering { why: Some(why.clone()), by: by.clone(), from, ..one })
            }
            P::Pending { until, .. } => {
                (c.state, c.pending_until, c.snoozed_until) = (ConvStatus::Pending, Some(*until), None);
                c.clock = None;
                c.ours_to_answer = false;
                Ok(())
            }
            P::Snoozed { until, .. } => {
                (c.state, c.snoozed_until) = (ConvStatus::Snoozed, Some(*until));
                // What is breached stays so; any other clock is set again when the snooze ends.
                c.clock = c.clock.take().filter(|k| k.breached);
                self.line(conv, "snoozed", |l| l.until = Some(*until))
            }
            P::Forgotten { .. } => {
                c.ended = c.closed_at;
                Ok(())
            }
            P::Closed { by, .. } => {
                (c.state, c.closed_at, c.clock, c.queued_at) = (ConvStatus::Closed, Some(now), None, None);
                (c.snoozed_until, c.pending_until, c.ours_to_answer) = (None, None, false);
                c.waits_since = None;
                self.line(conv, "closed", |l| l.agent.clone_from(by))
            }
            P::Reopened { why, .. } => {
                (c.snoozed_until, c.pending_until, c.closed_at) = (None, None, None);
                // Where it goes is told by the event that follows; until then it is nobody's surprise.
                c.state = if c.agent.is_some() { ConvStatus::Assigned } else { ConvStatus::Queued };
                self.line(conv, "reopened", |l| l.why = Some(why.clone()))
            }
            _ => Ok(()),
        }
    }

    fn note_outcome(&mut self, conv: ConvId, public: &Public) -> Done {
        use Public as P;
        // Most of what happens is no outcome: then nothing is written.
        if !matches!(
            public,
            P::Tagged { .. }
                | P::Prioritised { .. }
                | P::Queued { .. }
                | P::Assigned { .. }
                | P::Offered { .. }
                | P::Closed { .. }
                | P::Snoozed { .. }
        ) {
            return Ok(());
        }
        let by_itself = self.cause_of(conv).is_some();
        let Some(o) = self.outcome(conv)? else { return Ok(()) };
        match public {
            Public::Tagged { add, .. } => o.tags.extend(add.iter().cloned()),
            // What came of it by itself, the transcript tells: another priority, and where it went on to.
            Public::Prioritised { priority, .. } if !by_itself => o.priority = Some(*priority),
            Public::Queued { queue, why, .. } if o.queue.is_none() || !why.moves_on() => {
                (o.queue, o.placed) = (Some(queue.clone()), Some(why.clone()));
            }
            Public::Assigned { agent, .. } | Public::Offered { agent, .. } => o.agent = Some(agent.clone()),
            Public::Closed { .. } => o.closed = true,
            Public::Snoozed { until, .. } => o.snoozed_until = Some(*until),
            _ => {}
        }
        Ok(())
    }

    /// Who was considered belongs to the explanation of the customer's newest message; to the conversation's own before there is one.
    fn considered(&mut self, conv: ConvId, one: Considering) -> Done {
        let one = Considering { at: self.work.now, ..one };
        match self.look(conv)?.and_then(|c| c.last_inbound) {
            Some(place) => {
                if let Some(o) = self.outcome_at(place)? {
                    one.join(&mut o.considering);
                }
            }
            None => {
                if let Some(c) = self.conversation(conv)? {
                    one.join(&mut c.considering);
                }
            }
        }
        Ok(())
    }

    pub(super) fn put_offer(&mut self, place: u64, row: &OfferRow) -> Done {
        self.db
            .prepare_cached("INSERT OR REPLACE INTO offers(seq, id, agent, doc) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![column(place), row.id.to_bytes(), row.agent, rmp_serde::to_vec(row)?])?;
        Ok(())
    }

    pub(super) fn line(&mut self, conv: ConvId, what: &str, fill: impl FnOnce(&mut EventLine)) -> Done {
        let mut event = EventLine { what: what.to_owned(), ..EventLine::default() };
        fill(&mut event);
        let now = self.work.now;
        let mut row = Message::new(conv, Direction::Event, Who::System, now);
        row.event = Some(event);
        self.add_message(None, row).map(drop)
    }

    /// Adds a row to its transcript, and returns its place.
    pub(super) fn add_message(&mut self, id: Option<MessageId>, mut row: Message) -> Result<Option<u64>, HistoryError> {
        // The place is taken in any case: it does not depend on what was trimmed.
        let seq = self.next_place();
        // A message of a conversation whose opening was trimmed from LOG has nowhere to be shown.
        let Some(c) = self.conversation(row.conversation)? else { return Ok(None) };
        (row.seq, row.conversation_seq) = (seq, c.seq);
        c.messages =
            c.messages.saturating_add(u32::from(!matches!(row.direction, Direction::Event | Direction::Notice)));
        c.items = c.items.saturating_add(1);
        let mark = c.items.is_multiple_of(MARK_EVERY).then_some((c.seq, seq));
        let prev = std::mem::replace(&mut c.last, seq);
        self.work.marks.extend(mark);
        if let Some(id) = id {
            self.work.places.add(id, seq, matches!(row.direction, Direction::Out | Direction::Notice));
        }
        self.work.messages.add(seq, Item { row, id, prev });
        Ok(Some(seq))
    }

    pub(super) fn next_place(&mut self) -> u64 {
        let at = self.work.at;
        let seq = message_seq(at.frame, at.index).max(self.work.last_message.saturating_add(1));
        self.work.last_message = seq;
        seq
    }
}

/// Where an event stands in LOG.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    pub frame: Seq,
    pub index: usize,
}

pub(super) fn who_wrote(author: &Author) -> Who {
    match author {
        Author::Auto { rule } => Who::Auto(rule.clone()),
        Author::Agent { id } => Who::Agent(id.clone()),
        Author::Token { name } => Who::Token(name.clone()),
        Author::Elsewhere => Who::Elsewhere,
    }
}

pub(super) fn fill(row: &mut Message, content: &Content) {
    row.text = Some(content.text.clone());
    row.subject.clone_from(&content.subject);
    row.attachments.clone_from(&content.attachments);
    row.choice.clone_from(&content.choice);
    row.choices.clone_from(&content.choices);
}

fn set_attributes(
    attributes: &mut std::collections::BTreeMap<Name, String>,
    set: &std::collections::BTreeMap<String, Option<String>>,
) {
    for (name, value) in set {
        match value {
            Some(v) => {
                attributes.insert(name.clone(), v.clone());
            }
            None => {
                attributes.remove(name);
            }
        }
    }
}
