//! What each event means for the rows.

use super::rows::{
    Clock, Considering, Conversation, Direction, EventLine, Facts, FactsOutcome, LAST_TEXT, LastMessage, Message,
    OfferRow, Status, Who,
};
use super::writer::{HistoryWriter, column};
use super::{HistoryError, message_seq};
use crate::log::Seq;
use rusqlite::params;
use switchboard_envelope::{Author, Content, Outcome, ReceiptStatus, Timestamp};
use switchboard_routing_rules::event::{Considered, DeadReason, Event, KeyHash, Private, Public, Why};
use switchboard_routing_rules::ids::{ContactId, ConvId, MessageId};
use switchboard_routing_rules::pack::{ConvStatus, Name, Priority};

type Done = Result<(), HistoryError>;

/// Most confirmed messages that one event moves; a client confirms far more often than that.
const CONFIRM_AT_ONCE: i64 = 500;

impl HistoryWriter {
    pub(super) fn fold(&mut self, frame: Seq, index: usize, event: &Event) -> Done {
        let private = event.private.as_ref().map(|(_, p)| p);
        let at = Place { frame, index };
        if let Some(conv) = event.public.conversation() {
            return self.fold_conversation(at, conv, &event.public, private);
        }
        match &event.public {
            Public::Led { now, .. } | Public::Consumed { now, .. } | Public::Ticked { now } => {
                self.work.now = *now;
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
                Ok(())
            }
            Public::ChannelsInForce { channels } => {
                self.work.kinds.extend(channels.iter().map(|(name, p)| (name.clone(), p.kind.clone())));
                Ok(())
            }
            Public::PresenceChanged { agent, presence, at: when, lapsed } => {
                self.db
                    .prepare_cached(
                        "INSERT OR IGNORE INTO presence(seq, agent, presence, at, lapsed) VALUES (?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute(params![column(message_seq(frame, index)), agent, presence.as_str(), when.0, lapsed])?;
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
                let row = self.contact(*contact)?;
                row.consent.insert(channel.clone(), *state);
                row.identities.extend(identity);
                Ok(())
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
                    row.identities.extend(identity.as_ref().map(switchboard_envelope::Address::identity));
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
        let row = self.contact(into)?;
        row.name = row.name.take().or(moved.name);
        row.identities.extend(moved.identities);
        row.tags.extend(moved.tags);
        for (k, v) in moved.attributes {
            row.attributes.entry(k).or_insert(v);
        }
        for (k, v) in moved.consent {
            row.consent.entry(k).or_insert(v);
        }
        let ids: Vec<String> = {
            self.flush()?;
            let mut find = self.db.prepare_cached("SELECT id FROM conversations WHERE contact = ?1")?;
            find.query_map([from.to_string()], |r| r.get(0))?.collect::<Result<_, _>>()?
        };
        for id in ids.iter().filter_map(|id| ConvId::parse(id)) {
            if let Some(c) = self.conversation(id)? {
                c.contact = into;
            }
        }
        Ok(())
    }

    fn fold_conversation(&mut self, at: Place, conv: ConvId, public: &Public, private: Option<&Private>) -> Done {
        use Public as P;
        match public {
            P::Opened { contact, channel, thread, at: when, ours, .. } => {
                self.opened(at, conv, *contact, channel, *thread, *when, *ours, private)
            }
            P::Received { message, at: when, .. } => self.received(at, conv, *message, *when, private),
            P::NoteAdded { message, agent, at: when, .. } => {
                let who = agent.clone().map_or(Who::System, Who::Agent);
                let mut row = self.new_message(at, message.to_string(), conv, Direction::Note, who, *when);
                if let Some(Private::Note { text }) = private {
                    row.text = Some(text.clone());
                }
                self.add_message(row)
            }
            P::SendQueued { message, author, at: when, push, resends, .. } => {
                self.send_queued(at, conv, *message, author, *when, *push, *resends, private)
            }
            P::Decided { message, pack, hits, place, .. } => {
                self.decided(conv, *message, pack, hits, place.clone(), private)
            }
            P::NotReplied { message, rule, why, .. } => {
                let seq = self.message(*message)?.map(|m| m.seq);
                if let Some(facts) = seq.map(|s| self.facts(s)).transpose()?.flatten() {
                    facts.not_replied.push((rule.clone(), *why));
                }
                Ok(())
            }
            P::Released { .. }
            | P::AttemptEnded { .. }
            | P::Sent { .. }
            | P::Dead { .. }
            | P::DeadCleared { .. }
            | P::Receipt { .. } => self.fold_send(at, conv, public, private),
            _ => self.fold_place(at, conv, public, private),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one for each field of the event")]
    fn opened(
        &mut self,
        at: Place,
        conv: ConvId,
        contact: ContactId,
        channel: &str,
        thread: KeyHash,
        when: Timestamp,
        ours: bool,
        private: Option<&Private>,
    ) -> Done {
        let (name, address, subject) = match private {
            Some(Private::Opened { thread, address, subject }) => {
                (Some(thread.clone()), Some(address.clone()), subject.clone())
            }
            _ => (None, None, None),
        };
        let row = self.contact(contact)?;
        if let Some(a) = &address {
            row.identities.insert(a.identity());
            if row.name.is_none() {
                row.name.clone_from(&a.name);
            }
        }
        let kind = self.work.kinds.get(channel).cloned().unwrap_or_default();
        let seq = self.next_place(at);
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
            ours_to_answer: !ours,
            snoozed_until: None,
            pending_until: None,
            closed_at: None,
            messages: 0,
            last_inbound: None,
        };
        self.work.conversations.put(conv, row);
        // The row must be there before its messages: they name it by its place.
        Ok(())
    }

    fn received(
        &mut self,
        at: Place,
        conv: ConvId,
        message: MessageId,
        when: Timestamp,
        private: Option<&Private>,
    ) -> Done {
        let mut row = self.new_message(at, message.to_string(), conv, Direction::In, Who::Contact, when);
        row.status = Some(Status::Received);
        let mut name = None;
        if let Some(Private::Received { content, from, client_id, .. }) = private {
            fill(&mut row, content);
            row.client_id.clone_from(client_id);
            name.clone_from(&from.name);
        }
        let (seq, last) = (row.seq, last_message(&row));
        self.add_message(row)?;
        let Some(c) = self.conversation(conv)? else { return Ok(()) };
        c.last = last;
        c.ours_to_answer = true;
        c.updated_at = c.updated_at.max(when);
        c.last_inbound = Some((message, seq));
        let contact = c.contact;
        if let Some(name) = name {
            let row = self.contact(contact)?;
            row.name.get_or_insert(name);
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one for each field of the event")]
    fn send_queued(
        &mut self,
        at: Place,
        conv: ConvId,
        message: MessageId,
        author: &Author,
        when: Timestamp,
        push: bool,
        resends: Option<MessageId>,
        private: Option<&Private>,
    ) -> Done {
        let who = match author {
            Author::Auto { rule } => Who::Auto(rule.clone()),
            Author::Agent { id } => Who::Agent(id.clone()),
        };
        let mut row = self.new_message(at, message.to_string(), conv, Direction::Out, who, when);
        row.status = Some(if push { Status::Accepted } else { Status::Queued });
        row.resends = resends;
        if let Some(Private::Send { content, to, .. }) = private {
            fill(&mut row, content);
            row.to = Some(to.clone());
        }
        let last = last_message(&row);
        if let (Author::Auto { rule }, Some((c, seq))) = (author, self.work.deciding)
            && c == conv
            && let Some(facts) = self.facts(seq)?
        {
            facts.outcome.replies.push((message.to_string(), rule.clone()));
        }
        self.add_message(row)?;
        if let Some(c) = self.conversation(conv)? {
            c.last = last;
            c.updated_at = c.updated_at.max(when);
            if matches!(author, Author::Agent { .. }) {
                c.ours_to_answer = false;
            }
        }
        Ok(())
    }

    fn decided(
        &mut self,
        conv: ConvId,
        message: MessageId,
        pack: &str,
        hits: &[String],
        place: Option<Why>,
        private: Option<&Private>,
    ) -> Done {
        let now = self.work.now;
        for rule in hits {
            let hit = self.work.hits.entry(rule.clone()).or_default();
            *hit = (hit.0 + 1, now);
        }
        let from = self.conversation(conv)?.and_then(|c| c.address.clone());
        let Some(seq) = self.message(message)?.map(|m| m.seq) else { return Ok(()) };
        let (seen, about) = match private {
            Some(Private::Decided { seen, message }) => (Some((**seen).clone()), Some((**message).clone())),
            _ => (None, None),
        };
        let facts = Facts {
            pack: pack.to_owned(),
            at: now,
            hits: hits.to_vec(),
            place,
            seen,
            message: about,
            from,
            considering: vec![],
            not_replied: vec![],
            outcome: FactsOutcome::default(),
        };
        self.work.facts.put(seq, facts);
        self.work.deciding = Some((conv, seq));
        Ok(())
    }

    /// The facts of the decision that this input is about, for a conversation.
    fn outcome(&mut self, conv: ConvId) -> Result<Option<&mut FactsOutcome>, HistoryError> {
        match self.work.deciding {
            Some((c, seq)) if c == conv => Ok(self.facts(seq)?.map(|f| &mut f.outcome)),
            _ => Ok(None),
        }
    }

    fn fold_place(&mut self, at: Place, conv: ConvId, public: &Public, private: Option<&Private>) -> Done {
        use Public as P;
        let now = self.work.now;
        self.note_outcome(conv, public)?;
        let Some(c) = self.conversation(conv)? else { return Ok(()) };
        c.updated_at = c.updated_at.max(now);
        match public {
            P::Tagged { add, remove, .. } => {
                c.tags.retain(|t| !remove.contains(t));
                c.tags.extend(add.iter().cloned());
            }
            P::Prioritised { priority, .. } => c.priority = *priority,
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
                c.clock.iter_mut().filter(|k| k.kind == *clock).for_each(|k| k.warned = true)
            }
            P::ClockBreached { clock, .. } => {
                c.clock.iter_mut().filter(|k| k.kind == *clock).for_each(|k| k.breached = true);
                return self.line(at, conv, "breached", |l| l.why = Some(Why::Timer));
            }
            P::ResolutionDue { due, .. } => c.resolution_due = *due,
            P::Offered { offer, agent, expires, considered, .. } => {
                let row = OfferRow { id: *offer, conversation: conv, agent: agent.clone(), expires: *expires };
                c.state = ConvStatus::Offered;
                c.offer = Some(row.clone());
                self.put_offer(at, &row)?;
                return self.considered(conv, agent, None, true, considered);
            }
            P::OfferEnded { offer, .. } => {
                if c.offer.as_ref().is_some_and(|o| o.id == *offer) {
                    c.offer = None;
                    if c.state == ConvStatus::Offered {
                        c.state = ConvStatus::Queued;
                    }
                }
                self.db.prepare_cached("DELETE FROM offers WHERE id = ?1")?.execute([offer.to_string()])?;
            }
            _ => return self.fold_state(at, conv, public),
        }
        Ok(())
    }

    fn fold_state(&mut self, at: Place, conv: ConvId, public: &Public) -> Done {
        use Public as P;
        let Some(c) = self.conversation(conv)? else { return Ok(()) };
        match public {
            P::Queued { queue, since, why, .. } => {
                (c.state, c.queue, c.agent, c.queued_at) =
                    (ConvStatus::Queued, Some(queue.clone()), None, Some(*since));
                (c.snoozed_until, c.pending_until, c.closed_at) = (None, None, None);
                // What every message does is no news; the rest is.
                if matches!(why, Why::Rule(_) | Why::Default | Why::Strategy | Why::CustomerWrote) {
                    return Ok(());
                }
                self.line(at, conv, "queued", |l| (l.queue, l.why) = (Some(queue.clone()), Some(why.clone())))
            }
            P::Assigned { agent, why, considered, .. } => {
                (c.state, c.agent, c.queued_at) = (ConvStatus::Assigned, Some(agent.clone()), None);
                (c.snoozed_until, c.pending_until, c.closed_at) = (None, None, None);
                self.line(at, conv, "assigned", |l| (l.agent, l.why) = (Some(agent.clone()), Some(why.clone())))?;
                self.considered(conv, agent, Some(why.clone()), false, considered)
            }
            P::Pending { until, .. } => {
                (c.state, c.pending_until, c.snoozed_until) = (ConvStatus::Pending, Some(*until), None);
                c.ours_to_answer = false;
                Ok(())
            }
            P::Snoozed { until, .. } => {
                (c.state, c.snoozed_until) = (ConvStatus::Snoozed, Some(*until));
                self.line(at, conv, "snoozed", |l| l.until = Some(*until))
            }
            P::Closed { by, .. } => {
                let now = self.work.now;
                let Some(c) = self.conversation(conv)? else { return Ok(()) };
                (c.state, c.closed_at, c.clock, c.queued_at) = (ConvStatus::Closed, Some(now), None, None);
                (c.snoozed_until, c.pending_until, c.ours_to_answer) = (None, None, false);
                self.line(at, conv, "closed", |l| l.agent.clone_from(by))
            }
            P::Reopened { why, .. } => {
                (c.snoozed_until, c.pending_until, c.closed_at) = (None, None, None);
                // Where it goes is told by the event that follows; until then it is nobody's surprise.
                c.state = if c.agent.is_some() { ConvStatus::Assigned } else { ConvStatus::Queued };
                self.line(at, conv, "reopened", |l| l.why = Some(why.clone()))
            }
            _ => Ok(()),
        }
    }

    fn note_outcome(&mut self, conv: ConvId, public: &Public) -> Done {
        let Some(o) = self.outcome(conv)? else { return Ok(()) };
        match public {
            Public::Tagged { add, .. } => o.tags.extend(add.iter().cloned()),
            Public::Prioritised { priority, .. } => o.priority = Some(*priority),
            Public::Queued { queue, .. } => o.queue = Some(queue.clone()),
            Public::Assigned { agent, .. } | Public::Offered { agent, .. } => o.agent = Some(agent.clone()),
            Public::Closed { .. } => o.closed = true,
            Public::Snoozed { until, .. } => o.snoozed_until = Some(*until),
            _ => {}
        }
        Ok(())
    }

    /// Who was considered belongs to the explanation of the customer's newest message.
    fn considered(
        &mut self,
        conv: ConvId,
        agent: &str,
        why: Option<Why>,
        offered: bool,
        considered: &Considered,
    ) -> Done {
        let at = self.work.now;
        let place = self.conversation(conv)?.and_then(|c| c.last_inbound).map(|(_, seq)| seq);
        if let Some(facts) = place.map(|p| self.facts(p)).transpose()?.flatten()
            && facts.considering.len() < 20
        {
            let considered = considered.clone();
            facts.considering.push(Considering { at, agent: agent.to_owned(), offered, why, considered });
        }
        Ok(())
    }

    fn put_offer(&mut self, at: Place, row: &OfferRow) -> Done {
        self.db.prepare_cached("INSERT OR REPLACE INTO offers(seq, id, agent, doc) VALUES (?1, ?2, ?3, ?4)")?.execute(
            params![column(message_seq(at.frame, at.index)), row.id.to_string(), row.agent, rmp_serde::to_vec(row)?],
        )?;
        Ok(())
    }

    fn fold_send(&mut self, at: Place, conv: ConvId, public: &Public, private: Option<&Private>) -> Done {
        use Public as P;
        self.touch(conv)?;
        match public {
            P::Released { message, .. } => self.step(*message, |m| {
                if m.status.is_some_and(|s| s.rank() < Status::Accepted.rank()) {
                    m.status = Some(Status::Sending);
                }
            }),
            P::AttemptEnded { message, outcome, code, .. } => {
                let detail = match private {
                    Some(Private::Attempt { detail, .. }) => detail.clone(),
                    _ => None,
                };
                self.step(*message, |m| attempt_ended(m, *outcome, code.clone(), detail))
            }
            P::Sent { message, .. } => self.step(*message, |m| {
                // A later answer still settles what was unknown, even when it was parked; a failure reported since stands.
                if m.status.is_none_or(|s| s.rank() < Status::Accepted.rank() || s == Status::Dead) {
                    (m.status, m.code, m.detail) = (Some(Status::Accepted), None, None);
                }
            }),
            P::Receipt { message, status, code, .. } => {
                let detail = match private {
                    Some(Private::Receipt { detail }) => detail.clone(),
                    _ => None,
                };
                self.step(*message, |m| receipt(m, *status, code.clone(), detail))
            }
            P::Dead { message, reason, at: when, .. } => {
                let channel = self.conversation(conv)?.map(|c| c.channel.clone()).unwrap_or_default();
                self.step(*message, |m| dead(m, *reason))?;
                self.db
                    .prepare_cached(
                        "INSERT OR REPLACE INTO dead(seq, message, channel, reason, at) VALUES (?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute(params![
                        column(message_seq(at.frame, at.index)),
                        message.to_string(),
                        channel,
                        reason.as_str(),
                        when.0
                    ])?;
                Ok(())
            }
            P::DeadCleared { message, .. } => {
                self.db.prepare_cached("DELETE FROM dead WHERE message = ?1")?.execute([message.to_string()])?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn step(&mut self, message: MessageId, change: impl FnOnce(&mut Message)) -> Done {
        if let Some(m) = self.message(message)? {
            change(m);
        }
        Ok(())
    }

    /// The visitor's client has everything of ours up to a place.
    fn confirmed(&mut self, channel: &str, thread: KeyHash, up_to: u64, read: bool) -> Done {
        self.flush()?;
        self.work.threads.insert((channel.to_owned(), thread));
        let ids: Vec<String> = {
            let mut find = self.db.prepare_cached(
                "SELECT m.id FROM conversations c JOIN messages m ON m.conv = c.seq
                 WHERE c.thread = ?1 AND c.channel = ?2 AND m.dir = 1 AND m.seq <= ?3 ORDER BY m.seq DESC LIMIT ?4",
            )?;
            let rows =
                find.query_map(params![thread.0.to_be_bytes(), channel, column(up_to), CONFIRM_AT_ONCE], |r| r.get(0))?;
            rows.collect::<Result<_, _>>()?
        };
        let status = if read { ReceiptStatus::Read } else { ReceiptStatus::Delivered };
        for id in ids.iter().filter_map(|id| MessageId::parse(id)) {
            self.step(id, |m| receipt(m, status, None, None))?;
        }
        Ok(())
    }

    /// Whoever shows the conversation's thread must look again.
    fn touch(&mut self, conv: ConvId) -> Done {
        if let Some(c) = self.conversation(conv)? {
            let thread = (c.channel.clone(), c.thread_hash);
            self.work.threads.insert(thread);
        }
        Ok(())
    }

    fn line(&mut self, at: Place, conv: ConvId, what: &str, fill: impl FnOnce(&mut EventLine)) -> Done {
        let mut event = EventLine { what: what.to_owned(), agent: None, queue: None, why: None, until: None };
        fill(&mut event);
        let now = self.work.now;
        let mut row = self.new_message(at, String::new(), conv, Direction::Event, Who::System, now);
        row.id = format!("e{}", row.seq);
        row.event = Some(event);
        self.add_message(row)
    }

    fn new_message(
        &mut self,
        at: Place,
        id: String,
        conv: ConvId,
        direction: Direction,
        who: Who,
        when: Timestamp,
    ) -> Message {
        let seq = self.next_place(at);
        Message::new(seq, id, conv, direction, who, when)
    }

    fn add_message(&mut self, mut row: Message) -> Done {
        let conv = row.conversation;
        // A message of a conversation whose opening was trimmed from LOG has nowhere to be shown.
        let Some(c) = self.conversation(conv)? else { return Ok(()) };
        row.conversation_seq = c.seq;
        c.messages = c.messages.saturating_add(u32::from(row.direction != Direction::Event));
        self.work.messages.put(row.id.clone(), row);
        self.touch(conv)
    }

    fn next_place(&mut self, at: Place) -> u64 {
        let seq = message_seq(at.frame, at.index).max(self.work.last_message.saturating_add(1));
        self.work.last_message = seq;
        seq
    }
}

/// Where an event stands in LOG.
#[derive(Clone, Copy)]
struct Place {
    frame: Seq,
    index: usize,
}

fn fill(row: &mut Message, content: &Content) {
    row.text = Some(content.text.clone());
    row.subject.clone_from(&content.subject);
    row.attachments.clone_from(&content.attachments);
    row.choice.clone_from(&content.choice);
}

fn last_message(row: &Message) -> Option<LastMessage> {
    let text: String = row.text.as_deref()?.chars().take(LAST_TEXT).collect();
    Some(LastMessage { text, inbound: row.direction == Direction::In, at: row.at })
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

fn attempt_ended(m: &mut Message, outcome: Outcome, code: Option<String>, detail: Option<String>) {
    // A receipt may have overtaken the result, and says more.
    if m.status.is_some_and(|s| s.rank() >= Status::Accepted.rank()) {
        return;
    }
    match outcome {
        // Further parts may follow: `sent` comes with the last.
        Outcome::Accepted => (m.code, m.detail) = (None, None),
        Outcome::NotSent => (m.status, m.code, m.detail) = (Some(Status::Queued), code, detail),
        Outcome::Unknown => (m.status, m.code, m.detail) = (Some(Status::Unknown), code, detail),
        Outcome::Rejected => (m.status, m.code, m.detail) = (Some(Status::Rejected), code, detail),
    }
}

/// What a message says of itself once it is a dead letter: what is known of its fate, if anything is.
fn dead(m: &mut Message, reason: DeadReason) {
    m.status = Some(match reason {
        DeadReason::Unknown => Status::Unknown,
        DeadReason::Rejected => Status::Rejected,
        DeadReason::Failed => Status::Failed,
        DeadReason::Expired | DeadReason::ChannelRemoved => Status::Dead,
    });
}

fn receipt(m: &mut Message, status: ReceiptStatus, code: Option<String>, detail: Option<String>) {
    let next = match status {
        ReceiptStatus::Accepted => Status::Accepted,
        ReceiptStatus::Delivered => Status::Delivered,
        ReceiptStatus::Read => Status::Read,
        ReceiptStatus::Failed => Status::Failed,
    };
    let current = m.status.unwrap_or(Status::Queued);
    // A parked message that its receipt proves sent is no longer in doubt.
    let settles = current == Status::Dead && next != Status::Failed;
    if next.rank() <= current.rank() && !settles {
        return;
    }
    m.status = Some(next);
    // What an earlier attempt said no longer describes the message.
    (m.code, m.detail) = (code, detail);
}
