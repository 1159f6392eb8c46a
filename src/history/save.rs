//! What is dirty goes to the file.

use super::HistoryError;
use super::cache::Cache;
use super::rows::{Direction, Status};
use super::stored::{column, packed, state_column};
use super::writer::HistoryWriter;
use rusqlite::params;
use switchboard_routing_rules::ids::ID_BYTES;

type Done = Result<(), HistoryError>;

/// Ids of one run. More make a commit touch more pages; fewer make a search ask more runs.
const RUN: usize = if cfg!(test) { 64 } else { 16_384 };

impl HistoryWriter {
    /// Writes what is dirty, inside the open transaction.
    pub(super) fn flush(&mut self) -> Done {
        self.flush_conversations()?;
        self.flush_messages()?;
        self.flush_fates()?;
        self.flush_outcomes()?;
        self.flush_contacts()?;
        let mut hits = self.db.prepare_cached(
            "INSERT INTO rule_hits(rule, hits, last_at) VALUES (?1, ?2, ?3)
             ON CONFLICT(rule) DO UPDATE SET hits = hits + excluded.hits, last_at = excluded.last_at",
        )?;
        let mut of_pack = self.db.prepare_cached(
            "INSERT INTO pack_hits(pack, rule, hits, last_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT(pack, rule) DO UPDATE SET hits = hits + excluded.hits, last_at = excluded.last_at",
        )?;
        for ((pack, rule), (count, at)) in std::mem::take(&mut self.work.hits) {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            hits.execute(params![rule, count, at.0])?;
            of_pack.execute(params![pack, rule, count, at.0])?;
        }
        drop((hits, of_pack));
        self.flush_slots()
    }

    fn flush_conversations(&mut self) -> Done {
        let mut buf = vec![];
        let mut add = self.db.prepare_cached(
            "INSERT INTO conversations(seq, id, contact, channel, thread, state, queue, agent, ended, last, doc)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?;
        // Most changes touch nothing that is indexed: then the indexes are left alone.
        let mut body = self.db.prepare_cached("UPDATE conversations SET last = ?2, doc = ?3 WHERE seq = ?1")?;
        let mut places = self
            .db
            .prepare_cached("UPDATE conversations SET state = ?2, queue = ?3, agent = ?4, ended = ?5 WHERE seq = ?1")?;
        let mut owner = self.db.prepare_cached("UPDATE conversations SET contact = ?2 WHERE seq = ?1")?;
        for key in in_order(&mut self.work.conversations, |c| c.row.seq) {
            let Some((c, _)) = self.work.conversations.unsaved(key) else { continue };
            let (seq, last, state) = (column(c.row.seq), column(c.last), state_column(c.row.state));
            let ended = c.ended.map(|at| at.0);
            let doc = c.packed(&mut buf)?;
            match &c.indexed {
                None => {
                    let (id, contact) = (c.row.id.to_bytes(), c.row.contact.to_bytes());
                    let thread = c.row.thread_hash.0.to_be_bytes();
                    let (channel, queue, agent) = (&c.row.channel, &c.row.queue, &c.row.agent);
                    add.execute(params![seq, id, contact, channel, thread, state, queue, agent, ended, last, doc])?;
                }
                Some((contact, former, queue, agent, end)) => {
                    body.execute(params![seq, last, doc])?;
                    if (*former, queue, agent, *end) != (c.row.state, &c.row.queue, &c.row.agent, c.ended) {
                        places.execute(params![seq, state, c.row.queue, c.row.agent, ended])?;
                    }
                    if *contact != c.row.contact {
                        owner.execute(params![seq, c.row.contact.to_bytes()])?;
                    }
                }
            }
            let now = (c.row.contact, c.row.state, &c.row.queue, &c.row.agent, c.ended);
            if c.indexed.as_ref().is_none_or(|i| (i.0, i.1, &i.2, &i.3, i.4) != now) {
                c.indexed = Some((now.0, now.1, now.2.clone(), now.3.clone(), now.4));
            }
            let bytes = doc.len();
            self.work.conversations.saved(key, bytes);
        }
        self.work.fresh.clear();
        let mut put = self.db.prepare_cached("INSERT OR IGNORE INTO marks(conv, seq) VALUES (?1, ?2)")?;
        for (conv, seq) in std::mem::take(&mut self.work.marks) {
            put.execute(params![column(conv), column(seq)])?;
        }
        Ok(())
    }

    fn flush_messages(&mut self) -> Done {
        let ids = self.flush_rows()?;
        self.flush_ids(ids)
    }

    /// The messages themselves, with the decisions about them; returns the new ones by id.
    fn flush_rows(&mut self) -> Result<Vec<([u8; ID_BYTES], u64)>, HistoryError> {
        let (mut buf, mut outcome_buf) = (vec![], vec![]);
        let mut add = self.db.prepare_cached(
            "INSERT INTO messages(seq, conv, prev, dir, id, status, code, detail, doc, facts, outcome)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?;
        let mut body = self.db.prepare_cached("UPDATE messages SET doc = ?2 WHERE seq = ?1")?;
        let mut ids: Vec<([u8; ID_BYTES], u64)> = vec![];
        // In the order of their places: the file grows at its end.
        let mut dirty = self.work.messages.take_dirty();
        dirty.sort_unstable();
        for seq in dirty {
            let Some((m, stored)) = self.work.messages.unsaved(seq) else { continue };
            let doc = m.packed(&mut buf)?;
            if stored {
                body.execute(params![column(seq), doc])?;
            } else {
                let id = m.id.map(|id| id.to_bytes());
                ids.extend(id.map(|id| (id, seq)));
                let decision = self.work.outcomes.unsaved(seq).map(|(o, _)| o);
                let outcome = decision.as_ref().map(|o| o.packed(&mut outcome_buf)).transpose()?.flatten();
                let facts = decision.as_ref().map(|o| o.seen.as_slice());
                let (conv, prev, dir) = (m.row.conversation_seq, m.prev, m.row.direction.column());
                let (status, code, detail) = (m.row.status.map(Status::code), &m.row.code, &m.row.detail);
                let (place, conv, prev) = (column(seq), column(conv), column(prev));
                add.execute(params![place, conv, prev, dir, id, status, code, detail, doc, facts, outcome])?;
                if matches!(m.row.direction, Direction::Out | Direction::Notice) {
                    let standing = m.standing();
                    let bytes = standing.fate.bytes();
                    self.work.fates.remember(seq, standing, bytes);
                }
                if let Some(o) = decision {
                    o.seen = vec![];
                    let bytes = outcome.map_or(0, <[u8]>::len);
                    self.work.outcomes.saved(seq, bytes);
                }
            }
            let bytes = doc.len();
            self.work.messages.saved(seq, bytes);
        }
        self.work.places.saved();
        Ok(ids)
    }

    fn flush_ids(&mut self, mut ids: Vec<([u8; ID_BYTES], u64)>) -> Done {
        let Some((_, first)) = ids.first().copied() else { return Ok(()) };
        let (run, size) = &mut self.work.run;
        if *run == 0 || *size >= RUN {
            (*run, *size) = (*run + 1, 0);
            self.db
                .prepare_cached("INSERT INTO runs(first, run) VALUES (?1, ?2)")?
                .execute(params![column(first), *run])?;
        }
        *size += ids.len();
        // Neighbours in the run are written one after the other.
        ids.sort_unstable();
        let mut add = self.db.prepare_cached("INSERT OR REPLACE INTO ids(run, id, seq) VALUES (?1, ?2, ?3)")?;
        for (id, seq) in ids {
            add.execute(params![*run, id, column(seq)])?;
        }
        Ok(())
    }

    /// What became of messages that are in the file already.
    fn flush_fates(&mut self) -> Done {
        let mut tell =
            self.db.prepare_cached("UPDATE messages SET status = ?2, code = ?3, detail = ?4 WHERE seq = ?1")?;
        let mut dirty = self.work.fates.take_dirty();
        dirty.sort_unstable();
        for seq in dirty {
            let Some((s, _)) = self.work.fates.unsaved(seq) else { continue };
            let (fate, bytes) = (&s.fate, s.fate.bytes());
            tell.execute(params![column(seq), fate.status.map(Status::code), fate.code, fate.detail])?;
            self.work.fates.saved(seq, bytes);
        }
        Ok(())
    }

    /// Decisions whose message is in the file already.
    fn flush_outcomes(&mut self) -> Done {
        let mut buf = vec![];
        let mut whole = self.db.prepare_cached("UPDATE messages SET facts = ?2, outcome = ?3 WHERE seq = ?1")?;
        let mut part = self.db.prepare_cached("UPDATE messages SET outcome = ?2 WHERE seq = ?1")?;
        let mut dirty = self.work.outcomes.take_dirty();
        dirty.sort_unstable();
        for seq in dirty {
            let Some((o, stored)) = self.work.outcomes.unsaved(seq) else { continue };
            let outcome = o.packed(&mut buf)?;
            if stored {
                part.execute(params![column(seq), outcome])?;
            } else {
                whole.execute(params![column(seq), o.seen, outcome])?;
                o.seen = vec![];
            }
            let bytes = outcome.map_or(0, <[u8]>::len);
            self.work.outcomes.saved(seq, bytes);
        }
        Ok(())
    }

    fn flush_contacts(&mut self) -> Done {
        let mut buf = vec![];
        let mut add = self.db.prepare_cached("INSERT INTO contacts(seq, id, doc) VALUES (?1, ?2, ?3)")?;
        let mut body = self.db.prepare_cached("UPDATE contacts SET doc = ?2 WHERE seq = ?1")?;
        for key in in_order(&mut self.work.contacts, |c| c.seq) {
            let Some((c, stored)) = self.work.contacts.unsaved(key) else { continue };
            let doc = packed(&mut buf, &c.row)?;
            if stored {
                body.execute(params![column(c.seq), doc])?;
            } else {
                add.execute(params![column(c.seq), c.row.id.to_bytes(), doc])?;
            }
            let bytes = doc.len();
            self.work.contacts.saved(key, bytes);
        }
        let mut put = self.db.prepare_cached("INSERT OR REPLACE INTO identities(identity, contact) VALUES (?1, ?2)")?;
        for (identity, contact) in std::mem::take(&mut self.work.identities) {
            put.execute(params![identity, contact.to_bytes()])?;
        }
        Ok(())
    }
}

/// What is dirty, in the order of its place in the file.
fn in_order<K: Copy + Eq + std::hash::Hash, V>(cache: &mut Cache<K, V>, place: impl Fn(&V) -> u64) -> Vec<K> {
    let dirty = cache.take_dirty();
    let mut placed: Vec<(u64, K)> =
        dirty.into_iter().filter_map(|key| cache.unsaved(key).map(|(v, _)| (place(v), key))).collect();
    placed.sort_unstable_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, key)| key).collect()
}
