//! Transcripts: the messages of a conversation, each of which names the one before it.

use super::queries::Read;
use super::rows::Message;
use super::stored::{self, Item, column, messages, unsigned};
use rusqlite::{Connection, OptionalExtension, params};
use switchboard_routing_rules::event::KeyHash;
use switchboard_routing_rules::ids::ConvId;

/// The message at a place, if its conversation is still there.
pub(super) fn at(db: &Connection, place: u64) -> Read<Option<Item>> {
    let mut find = db.prepare_cached(messages!("WHERE m.seq = ?1"))?;
    let mut rows = find.query([column(place)])?;
    let Some(r) = rows.next()? else { return Ok(None) };
    Ok(Some(stored::item(r, ConvId::from_bytes(stored::bytes(r, 9)?))?))
}

/// One conversation's transcript.
pub(super) struct Chain {
    /// The place of the conversation; everything in it comes later.
    pub first: u64,
    /// Its newest row; 0 when there is none.
    last: u64,
}

impl Chain {
    pub fn of(db: &Connection, conversation: u64) -> Read<Option<Chain>> {
        let mut find = db.prepare_cached("SELECT last FROM conversations WHERE seq = ?1")?;
        let last = find.query_row([column(conversation)], |r| r.get::<_, i64>(0)).optional()?;
        Ok(last.map(|last| Chain { first: conversation, last: unsigned(last) }))
    }

    /// Those of a thread that hold something after a place, oldest first.
    pub fn of_thread(db: &Connection, channel: &str, thread: KeyHash, after: u64) -> Read<Vec<Chain>> {
        let mut find = db.prepare_cached(
            "SELECT seq, last FROM conversations WHERE thread = ?1 AND channel = ?2 AND last > ?3 ORDER BY seq",
        )?;
        let rows = find.query_map(params![thread.0.to_be_bytes(), channel, column(after)], |r| {
            Ok(Chain { first: unsigned(r.get(0)?), last: unsigned(r.get(1)?) })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// At most `limit` rows before a place, newest first.
    pub fn before(&self, db: &Connection, before: Option<u64>, limit: usize) -> Read<Vec<Message>> {
        let mut start = self.last;
        if let Some(before) = before {
            let mark: Option<i64> = db
                .prepare_cached("SELECT min(seq) FROM marks WHERE conv = ?1 AND seq >= ?2")?
                .query_row([column(self.first), column(before)], |r| r.get(0))?;
            start = mark.map_or(self.last, unsigned);
        }
        let mut found = vec![];
        walk(
            db,
            start,
            |seq| seq > 0,
            |item| {
                if before.is_none_or(|b| item.row.seq < b) {
                    found.push(item.into_message());
                }
                found.len() < limit
            },
        )?;
        Ok(found)
    }

    /// At least `limit` rows after a place that are asked for, or all that there are, oldest first.
    pub fn after(
        &self,
        db: &Connection,
        after: u64,
        limit: usize,
        asked: impl Fn(&Message) -> bool,
    ) -> Read<Vec<Message>> {
        let mut marks = db.prepare_cached("SELECT seq FROM marks WHERE conv = ?1 AND seq > ?2 ORDER BY seq")?;
        let mut marks = marks.query([column(self.first), column(after)])?;
        let (mut found, mut lower) = (vec![], after);
        while found.len() < limit && lower < self.last {
            // Block after block, each from its end.
            let upper = marks.next()?.map(|r| r.get(0)).transpose()?.map_or(self.last, unsigned);
            let mut block = vec![];
            walk(
                db,
                upper,
                |seq| seq > lower,
                |item| {
                    if asked(&item.row) {
                        block.push(item.into_message());
                    }
                    true
                },
            )?;
            found.extend(block.into_iter().rev());
            lower = upper;
        }
        Ok(found)
    }
}

/// Goes back from a place while its rows are wanted.
fn walk(db: &Connection, from: u64, wanted: impl Fn(u64) -> bool, mut each: impl FnMut(Item) -> bool) -> Read<()> {
    let mut place = from;
    while wanted(place) {
        let Some(item) = at(db, place)? else { break };
        place = item.prev;
        if !each(item) {
            break;
        }
    }
    Ok(())
}
