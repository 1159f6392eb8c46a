//! Writing history: frames are folded in memory, and what they touched is written in one transaction a batch.

use super::rows::{Contact, Conversation, Facts, Message};
use super::{HistoryError, schema};
use crate::log::Seq;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::path::{Path, PathBuf};
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::event::{Event, KeyHash};
use switchboard_routing_rules::ids::{ContactId, ConvId, MessageId};
use switchboard_routing_rules::pack::{ConvStatus, Name};

/// Rows of one kind kept in memory between batches; above it they are read from the file again.
const CACHED: usize = 4096;
/// An `Idempotency-Key` is remembered this long.
const ANSWERS_MS: i64 = 7 * 24 * 3_600_000;
/// Old answers are looked for once in this many batches.
const PRUNE_EVERY: u64 = 4096;

/// What a batch changed, for whoever waits for it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The cursor after the batch.
    pub cursor: Seq,
    /// Threads whose transcript changed.
    pub threads: BTreeSet<(Name, KeyHash)>,
}

pub(super) struct Slot<V> {
    pub row: V,
    pub dirty: bool,
}

/// Rows by key, with those that must be written.
pub(super) struct Rows<K, V>(pub HashMap<K, Slot<V>>);

impl<K: Eq + Hash, V> Rows<K, V> {
    fn new() -> Rows<K, V> {
        Rows(HashMap::new())
    }

    pub fn put(&mut self, key: K, row: V) {
        self.0.insert(key, Slot { row, dirty: true });
    }

    fn settle(&mut self) {
        if self.0.len() > CACHED {
            self.0.clear();
        } else {
            self.0.values_mut().for_each(|s| s.dirty = false);
        }
    }
}

/// The indexed columns of a conversation.
type Places = (ContactId, ConvStatus, Option<Name>, Option<Name>);

/// What the fold works on between two commits of the file.
pub(super) struct Work {
    pub cursor: Seq,
    pub now: Timestamp,
    /// The last transcript number given out.
    pub last_message: u64,
    pub pack: Option<(String, Timestamp)>,
    /// Kinds of channels, as the channel table in force says.
    pub kinds: BTreeMap<Name, String>,
    pub conversations: Rows<ConvId, Conversation>,
    /// What the file's indexes say of the conversations in memory.
    pub indexed: HashMap<ConvId, Places>,
    pub contacts: Rows<ContactId, Contact>,
    pub messages: Rows<String, Message>,
    /// By the place of the message.
    pub facts: Rows<u64, Facts>,
    pub hits: BTreeMap<String, (u64, Timestamp)>,
    /// The conversation and message that the rules ran for in this input.
    pub deciding: Option<(ConvId, u64)>,
    pub threads: BTreeSet<(Name, KeyHash)>,
}

/// The one writer of `history.db`.
pub struct HistoryWriter {
    path: PathBuf,
    pub(super) db: Connection,
    pub(super) work: Work,
    batches: u64,
}

impl HistoryWriter {
    /// Opens the file. A file that is missing, damaged or of another version is made again, with cursor 0.
    ///
    /// # Errors
    /// When the file can neither be opened nor made.
    pub fn open(path: impl AsRef<Path>) -> Result<HistoryWriter, HistoryError> {
        let path = path.as_ref().to_owned();
        let db = schema::open(&path)?;
        match read_meta(&db) {
            Ok(work) => Ok(HistoryWriter { path, db, work, batches: 0 }),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "history cannot be used: it is made again");
                drop(db);
                let db = schema::create(&path)?;
                let work = read_meta(&db)?;
                Ok(HistoryWriter { path, db, work, batches: 0 })
            }
        }
    }

    /// Deletes the file and makes an empty one; LOG fills it again.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn reset(&mut self) -> Result<(), HistoryError> {
        self.db = Connection::open_in_memory()?;
        self.db = schema::create(&self.path)?;
        self.work = read_meta(&self.db)?;
        Ok(())
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last frame that is in the file.
    #[must_use]
    pub fn cursor(&self) -> Seq {
        self.work.cursor
    }

    /// Folds frames into the file, in one transaction. Frames at or before the cursor change nothing.
    ///
    /// # Errors
    /// When the file could not be written; nothing of the batch is in it then.
    pub fn apply(&mut self, frames: &[(Seq, impl AsRef<[Event]>)]) -> Result<Applied, HistoryError> {
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        match self.fold_all(frames) {
            Ok(()) => {
                self.batches += 1;
                let threads = std::mem::take(&mut self.work.threads);
                Ok(Applied { cursor: self.work.cursor, threads })
            }
            Err(error) => {
                // What was folded in memory is ahead of the file now: read the file's word again.
                let _ = self.db.execute_batch("ROLLBACK");
                if let Ok(work) = read_meta(&self.db) {
                    self.work = work;
                }
                Err(error)
            }
        }
    }

    fn fold_all(&mut self, frames: &[(Seq, impl AsRef<[Event]>)]) -> Result<(), HistoryError> {
        for (seq, events) in frames {
            if *seq <= self.work.cursor {
                continue;
            }
            self.work.deciding = None;
            for (index, event) in events.as_ref().iter().enumerate() {
                self.fold(*seq, index, event)?;
            }
            self.work.cursor = *seq;
        }
        if self.batches.is_multiple_of(PRUNE_EVERY) {
            self.db.prepare_cached("DELETE FROM answers WHERE at < ?1")?.execute([self
                .work
                .now
                .plus(-ANSWERS_MS)
                .0])?;
        }
        self.flush()?;
        self.write_meta()?;
        self.db.execute_batch("COMMIT")?;
        self.work.conversations.settle();
        if self.work.conversations.0.is_empty() {
            self.work.indexed.clear();
        }
        self.work.contacts.settle();
        self.work.messages.settle();
        self.work.facts.settle();
        Ok(())
    }

    /// Writes what is dirty, inside the open transaction.
    pub(super) fn flush(&mut self) -> Result<(), HistoryError> {
        self.flush_conversations()?;
        self.flush_messages()?;
        self.flush_contacts()?;
        let mut hits = self.db.prepare_cached(
            "INSERT INTO rule_hits(rule, hits, last_at) VALUES (?1, ?2, ?3)
             ON CONFLICT(rule) DO UPDATE SET hits = hits + excluded.hits, last_at = excluded.last_at",
        )?;
        for (rule, (count, at)) in std::mem::take(&mut self.work.hits) {
            hits.execute(params![rule, i64::try_from(count).unwrap_or(i64::MAX), at.0])?;
        }
        Ok(())
    }

    fn flush_conversations(&mut self) -> Result<(), HistoryError> {
        let mut buf = vec![];
        let mut put = self.db.prepare_cached(
            "INSERT INTO conversations(seq, id, contact, channel, thread, state, queue, agent, doc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT(seq) DO UPDATE SET contact = excluded.contact, state = excluded.state, queue = excluded.queue,
               agent = excluded.agent, doc = excluded.doc",
        )?;
        // Most changes touch nothing that is indexed: then the indexes are left alone.
        let mut body = self.db.prepare_cached("UPDATE conversations SET doc = ?2 WHERE seq = ?1")?;
        for slot in self.work.conversations.0.values_mut().filter(|s| s.dirty) {
            let c = &slot.row;
            slot.dirty = false;
            let places = (c.contact, c.state, c.queue.clone(), c.agent.clone());
            if self.work.indexed.get(&c.id) == Some(&places) {
                body.execute(params![column(c.seq), packed(&mut buf, c)?])?;
                continue;
            }
            self.work.indexed.insert(c.id, places);
            put.execute(params![
                column(c.seq),
                c.id.to_string(),
                c.contact.to_string(),
                c.channel,
                c.thread_hash.0.to_be_bytes(),
                c.state.as_str(),
                c.queue,
                c.agent,
                packed(&mut buf, c)?,
            ])?;
        }
        Ok(())
    }

    fn flush_messages(&mut self) -> Result<(), HistoryError> {
        let mut buf = vec![];
        let mut put = self.db.prepare_cached(
            "INSERT INTO messages(seq, id, conv, dir, doc)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT(seq) DO UPDATE SET doc = excluded.doc",
        )?;
        // In the order of their places: the file grows at its end.
        let mut dirty: Vec<&mut Slot<Message>> = self.work.messages.0.values_mut().filter(|s| s.dirty).collect();
        dirty.sort_unstable_by_key(|s| s.row.seq);
        for slot in dirty {
            let m = &slot.row;
            put.execute(params![
                column(m.seq),
                // An event line's id says its place already.
                m.event.is_none().then_some(&m.id),
                column(m.conversation_seq),
                m.direction.column(),
                packed(&mut buf, m)?,
            ])?;
            slot.dirty = false;
        }
        let mut put = self.db.prepare_cached("INSERT OR REPLACE INTO decisions(seq, doc) VALUES (?1, ?2)")?;
        let mut dirty: Vec<_> = self.work.facts.0.iter_mut().filter(|(_, s)| s.dirty).collect();
        dirty.sort_unstable_by_key(|(seq, _)| **seq);
        for (seq, slot) in dirty {
            put.execute(params![column(*seq), packed(&mut buf, &slot.row)?])?;
            slot.dirty = false;
        }
        Ok(())
    }

    fn flush_contacts(&mut self) -> Result<(), HistoryError> {
        let mut buf = vec![];
        let mut put = self.db.prepare_cached(
            "INSERT INTO contacts(id, doc) VALUES (?1, ?2) ON CONFLICT(id) DO UPDATE SET doc = excluded.doc",
        )?;
        let mut identity =
            self.db.prepare_cached("INSERT OR REPLACE INTO identities(identity, contact) VALUES (?1, ?2)")?;
        // In the order of their ids, so that a rebuild gives the same rows.
        let mut dirty: Vec<&mut Slot<Contact>> = self.work.contacts.0.values_mut().filter(|s| s.dirty).collect();
        dirty.sort_by_key(|s| s.row.id);
        for slot in dirty {
            let id = slot.row.id.to_string();
            put.execute(params![id, packed(&mut buf, &slot.row)?])?;
            for i in &slot.row.identities {
                identity.execute(params![i, id])?;
            }
            slot.dirty = false;
        }
        Ok(())
    }

    fn write_meta(&mut self) -> Result<(), HistoryError> {
        let w = &self.work;
        self.db
            .prepare_cached(
                "UPDATE meta SET cursor = ?1, now = ?2, last_message = ?3, pack = ?4, pack_at = ?5, kinds = ?6 WHERE id = 1",
            )?
            .execute(params![
                column(w.cursor),
                w.now.0,
                column(w.last_message),
                w.pack.as_ref().map(|p| &p.0),
                w.pack.as_ref().map(|p| p.1.0),
                rmp_serde::to_vec(&w.kinds)?,
            ])?;
        Ok(())
    }

    pub(super) fn conversation(&mut self, id: ConvId) -> Result<Option<&mut Conversation>, HistoryError> {
        if !self.work.conversations.0.contains_key(&id) {
            let row = self
                .db
                .prepare_cached("SELECT doc FROM conversations WHERE id = ?1")?
                .query_row([id.to_string()], |r| r.get::<_, Vec<u8>>(0))
                .optional()?;
            let Some(doc) = row else { return Ok(None) };
            let row: Conversation = rmp_serde::from_slice(&doc)?;
            self.work.indexed.insert(id, (row.contact, row.state, row.queue.clone(), row.agent.clone()));
            self.work.conversations.0.insert(id, Slot { row, dirty: false });
        }
        Ok(self.work.conversations.0.get_mut(&id).map(|slot| {
            slot.dirty = true;
            &mut slot.row
        }))
    }

    pub(super) fn message(&mut self, id: MessageId) -> Result<Option<&mut Message>, HistoryError> {
        let key = id.to_string();
        if !self.work.messages.0.contains_key(&key) {
            let row = self
                .db
                .prepare_cached("SELECT doc FROM messages WHERE id = ?1")?
                .query_row([&key], |r| r.get::<_, Vec<u8>>(0))
                .optional()?;
            let Some(doc) = row else { return Ok(None) };
            let row = rmp_serde::from_slice(&doc)?;
            self.work.messages.0.insert(key.clone(), Slot { row, dirty: false });
        }
        Ok(self.work.messages.0.get_mut(&key).map(|slot| {
            slot.dirty = true;
            &mut slot.row
        }))
    }

    pub(super) fn facts(&mut self, seq: u64) -> Result<Option<&mut Facts>, HistoryError> {
        if !self.work.facts.0.contains_key(&seq) {
            let row = self
                .db
                .prepare_cached("SELECT doc FROM decisions WHERE seq = ?1")?
                .query_row([column(seq)], |r| r.get::<_, Vec<u8>>(0))
                .optional()?;
            let Some(doc) = row else { return Ok(None) };
            let row = rmp_serde::from_slice(&doc)?;
            self.work.facts.0.insert(seq, Slot { row, dirty: false });
        }
        Ok(self.work.facts.0.get_mut(&seq).map(|slot| {
            slot.dirty = true;
            &mut slot.row
        }))
    }

    /// The contact's row, made if there is none.
    pub(super) fn contact(&mut self, id: ContactId) -> Result<&mut Contact, HistoryError> {
        if !self.work.contacts.0.contains_key(&id) {
            let row = self
                .db
                .prepare_cached("SELECT doc FROM contacts WHERE id = ?1")?
                .query_row([id.to_string()], |r| r.get::<_, Vec<u8>>(0))
                .optional()?;
            let row = match row {
                Some(doc) => rmp_serde::from_slice(&doc)?,
                None => Contact::new(id),
            };
            self.work.contacts.0.insert(id, Slot { row, dirty: false });
        }
        let slot = self.work.contacts.0.entry(id).or_insert_with(|| Slot { row: Contact::new(id), dirty: true });
        slot.dirty = true;
        Ok(&mut slot.row)
    }
}

/// A row's bytes, in a buffer that is used again.
fn packed<'b>(buf: &'b mut Vec<u8>, row: &impl Serialize) -> Result<&'b [u8], HistoryError> {
    buf.clear();
    rmp_serde::encode::write(buf, row)?;
    Ok(buf)
}

/// A position as SQLite's signed integer.
pub(super) fn column(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn read_meta(db: &Connection) -> Result<Work, HistoryError> {
    let (cursor, now, last, pack, pack_at, kinds) =
        db.query_row("SELECT cursor, now, last_message, pack, pack_at, kinds FROM meta WHERE id = 1", [], |r| {
            Ok((
                r.get::<_, i64>(0)?,
                r.get::<_, i64>(1)?,
                r.get::<_, i64>(2)?,
                r.get::<_, Option<String>>(3)?,
                r.get::<_, Option<i64>>(4)?,
                r.get::<_, Vec<u8>>(5)?,
            ))
        })?;
    Ok(Work {
        cursor: u64::try_from(cursor).unwrap_or(0),
        now: Timestamp(now),
        last_message: u64::try_from(last).unwrap_or(0),
        pack: pack.zip(pack_at.map(Timestamp)),
        kinds: rmp_serde::from_slice(&kinds)?,
        conversations: Rows::new(),
        indexed: HashMap::new(),
        contacts: Rows::new(),
        messages: Rows::new(),
        facts: Rows::new(),
        hits: BTreeMap::new(),
        deciding: None,
        threads: BTreeSet::new(),
    })
}
