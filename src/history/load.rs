//! Rows from memory, else from the file.

use super::HistoryError;
use super::rows::{Contact, Direction};
use super::stored::{self, Conv, Fate, Item, Outcome, Standing, column, conversations, messages, unpacked, unsigned};
use super::writer::{ContactRow, HistoryWriter};
use rusqlite::{OptionalExtension, params};
use switchboard_routing_rules::event::KeyHash;
use switchboard_routing_rules::ids::{ContactId, ConvId, MessageId};

type Found<'a, T> = Result<Option<&'a mut T>, HistoryError>;

/// The run that holds an id is asked for newest first.
pub(super) const PLACE_OF: &str = "SELECT i.seq FROM runs r CROSS JOIN ids i ON i.run = r.run AND i.id = ?1
     ORDER BY r.first DESC LIMIT 1";

impl HistoryWriter {
    fn load_conversation(&mut self, id: ConvId) -> Result<(), HistoryError> {
        if self.work.conversations.holds(id) {
            return Ok(());
        }
        let mut find = self.db.prepare_cached(conversations!("WHERE id = ?1"))?;
        let mut rows = find.query([id.to_bytes()])?;
        if let Some(r) = rows.next()? {
            let bytes = stored::blob(r, 10)?.len();
            let row = stored::conversation(r)?;
            self.work.conversations.remember(id, row, bytes);
        }
        Ok(())
    }

    /// The conversation, to be changed.
    pub(super) fn conversation(&mut self, id: ConvId) -> Found<'_, Conv> {
        self.load_conversation(id)?;
        Ok(self.work.conversations.change(id))
    }

    /// The conversation, to be looked at.
    pub(super) fn look(&mut self, id: ConvId) -> Result<Option<&Conv>, HistoryError> {
        self.load_conversation(id)?;
        Ok(self.work.conversations.get(id))
    }

    /// Conversations of a thread, oldest first.
    pub(super) fn of_thread(&mut self, channel: &str, thread: KeyHash) -> Result<Vec<ConvId>, HistoryError> {
        let mut find =
            self.db.prepare_cached("SELECT id FROM conversations WHERE thread = ?1 AND channel = ?2 ORDER BY seq")?;
        let mut rows = find.query(params![thread.0.to_be_bytes(), channel])?;
        let mut ids = vec![];
        while let Some(r) = rows.next()? {
            ids.push(ConvId::from_bytes(stored::bytes(r, 0)?));
        }
        for id in self.work.fresh.get(&thread).into_iter().flatten() {
            if self.work.conversations.get(*id).is_some_and(|c| c.row.channel == channel) {
                ids.push(*id);
            }
        }
        Ok(ids)
    }

    /// The place of a message.
    pub(super) fn find_message(&mut self, id: MessageId) -> Result<Option<u64>, HistoryError> {
        if let Some(place) = self.work.places.get(id) {
            return Ok(Some(place));
        }
        let mut find = self.db.prepare_cached(PLACE_OF)?;
        let place = find.query_row([id.to_bytes()], |r| r.get::<_, i64>(0)).optional()?.map(unsigned);
        if let Some(place) = place {
            self.work.places.remember(id, place);
        }
        Ok(place)
    }

    /// What is known of the message at a place.
    pub(super) fn standing(&mut self, place: u64) -> Result<Option<Standing>, HistoryError> {
        if let Some(m) = self.work.messages.fresh(place) {
            return Ok(Some(m.standing()));
        }
        if !self.work.fates.holds(place) {
            let mut find =
                self.db.prepare_cached("SELECT dir, prev, status, code, detail FROM messages WHERE seq = ?1")?;
            let mut rows = find.query([column(place)])?;
            let Some(r) = rows.next()? else { return Ok(None) };
            let (direction, prev) = (Direction::of_column(r.get(0)?), unsigned(r.get(1)?));
            let row = Standing { direction, prev, fate: stored::fate(r, 2)? };
            let bytes = row.fate.bytes();
            self.work.fates.remember(place, row, bytes);
        }
        Ok(self.work.fates.get(place).cloned())
    }

    /// Something new is known of a message whose standing was asked for.
    pub(super) fn tell_fate(&mut self, place: u64, fate: Fate) {
        if let Some(m) = self.work.messages.fresh(place) {
            (m.row.status, m.row.code, m.row.detail) = (fate.status, fate.code, fate.detail);
        } else if let Some(s) = self.work.fates.change(place) {
            s.fate = fate;
        }
    }

    /// The message at a place, to be changed in everything but its fate.
    pub(super) fn message_at(&mut self, place: u64) -> Found<'_, Item> {
        if !self.work.messages.holds(place) {
            let mut find = self.db.prepare_cached(messages!("WHERE m.seq = ?1"))?;
            let mut rows = find.query([column(place)])?;
            let Some(r) = rows.next()? else { return Ok(None) };
            let bytes = stored::blob(r, 5)?.len();
            let row = stored::item(r, ConvId::from_bytes(stored::bytes(r, 9)?))?;
            self.work.messages.remember(place, row, bytes);
        }
        Ok(self.work.messages.change(place))
    }

    /// What came of the decision about the message at a place, to be changed.
    pub(super) fn outcome_at(&mut self, place: u64) -> Found<'_, Outcome> {
        if !self.work.outcomes.holds(place) {
            let row = self
                .db
                .prepare_cached("SELECT outcome FROM messages WHERE seq = ?1 AND facts IS NOT NULL")?
                .query_row([column(place)], |r| r.get::<_, Option<Vec<u8>>>(0))
                .optional()?;
            let Some(doc) = row else { return Ok(None) };
            let bytes = doc.as_ref().map_or(0, Vec::len);
            let row = doc.as_deref().map(Outcome::unpacked).transpose()?.unwrap_or_default();
            self.work.outcomes.remember(place, row, bytes);
        }
        Ok(self.work.outcomes.change(place))
    }

    fn load_contact(&mut self, id: ContactId) -> Result<bool, HistoryError> {
        if self.work.contacts.holds(id) {
            return Ok(true);
        }
        let row = self
            .db
            .prepare_cached("SELECT seq, doc FROM contacts WHERE id = ?1")?
            .query_row([id.to_bytes()], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, Vec<u8>>(1)?)))
            .optional()?;
        let Some((seq, doc)) = row else { return Ok(false) };
        let row = ContactRow { seq: unsigned(seq), row: unpacked(&doc)? };
        self.work.contacts.remember(id, row, doc.len());
        Ok(true)
    }

    /// The contact, if there is one, to be looked at.
    pub(super) fn look_contact(&mut self, id: ContactId) -> Result<Option<&Contact>, HistoryError> {
        self.load_contact(id)?;
        Ok(self.work.contacts.get(id).map(|c| &c.row))
    }

    /// The contact, to be changed; made if there is none.
    pub(super) fn contact(&mut self, id: ContactId) -> Result<&mut Contact, HistoryError> {
        if !self.load_contact(id)? {
            let at = self.work.at;
            let seq = super::message_seq(at.frame, at.index).max(self.work.last_contact.saturating_add(1));
            self.work.last_contact = seq;
            self.work.contacts.add(id, ContactRow { seq, row: Contact::new(id) });
        }
        match self.work.contacts.change(id) {
            Some(c) => Ok(&mut c.row),
            // It is held: it was loaded or added above.
            None => Err(HistoryError::Closed),
        }
    }

    /// Another identity of a contact.
    pub(super) fn identify(&mut self, id: ContactId, identity: String) -> Result<(), HistoryError> {
        if self.look_contact(id)?.is_some_and(|c| c.identities.contains(&identity)) {
            return Ok(());
        }
        self.contact(id)?.identities.insert(identity.clone());
        self.work.identities.push((identity, id));
        Ok(())
    }

    /// The number of a pack in the file.
    pub(super) fn pack_number(&mut self, hash: &str) -> Result<i64, HistoryError> {
        if let Some(n) = self.work.packs.get(hash) {
            return Ok(*n);
        }
        self.db.prepare_cached("INSERT OR IGNORE INTO packs(hash) VALUES (?1)")?.execute([hash])?;
        let n = self.db.prepare_cached("SELECT n FROM packs WHERE hash = ?1")?.query_row([hash], |r| r.get(0))?;
        self.work.packs.insert(hash.to_owned(), n);
        Ok(n)
    }
}
