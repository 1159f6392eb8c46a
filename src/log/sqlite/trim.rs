//! Forgetting old records, a bounded piece in each transaction, so that nobody waits long behind it.

use super::{
    late::Hash,
    ops::{Turn, in_bytes},
    schema::{sql, unsql},
};
use crate::log::Seq;
use rusqlite::params;
use switchboard_envelope::Timestamp;

const CHUNK_RECORDS: i64 = 256;
pub(super) const CHUNK_BYTES: usize = 1 << 20;
/// OUT records from the future were stored by a clock that was wrong. They are as old as what came after them says.
const FUTURE_MS: i64 = 3_600_000;

struct Old {
    seq: Seq,
    bytes: usize,
    hash: Option<Hash>,
}

/// The oldest records that `query` yields, up to a chunk of bytes, and whether that was all of them.
fn oldest(turn: &Turn<'_>, query: &str, bound: i64) -> rusqlite::Result<(Vec<Old>, bool)> {
    let mut query = turn.conn.prepare_cached(query)?;
    let mut rows = query.query(params![bound, CHUNK_RECORDS])?;
    let (mut old, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        if bytes > CHUNK_BYTES {
            return Ok((old, true));
        }
        let hash: Option<[u8; 16]> = row.get(2)?;
        let size = usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
        bytes += size;
        old.push(Old { seq: unsql(row.get(0)?), bytes: size, hash: hash.map(Hash::from_be_bytes) });
    }
    let more = old.len() as i64 == CHUNK_RECORDS;
    Ok((old, more))
}

pub(super) fn trim_in(turn: &mut Turn<'_>, up_to: Seq) -> rusqlite::Result<bool> {
    let query = "SELECT seq, length(data), hash FROM in_records WHERE seq <= ?1 ORDER BY seq LIMIT ?2";
    let (old, more) = oldest(turn, query, sql(up_to))?;
    let Some(last) = old.last().map(|r| r.seq) else { return Ok(false) };
    turn.conn.prepare_cached("DELETE FROM in_records WHERE seq <= ?1")?.execute([sql(last)])?;
    for record in &old {
        if let Some(hash) = record.hash {
            turn.indexes.in_ids.delete(turn.conn, hash, record.seq)?;
        }
        turn.counters.in_bytes = turn.counters.in_bytes.saturating_sub(in_bytes(record.bytes));
    }
    turn.counters.in_first = last + 1;
    turn.fresh.in_trimmed = last;
    Ok(more)
}

pub(super) fn trim_log(turn: &mut Turn<'_>, up_to: Seq) -> rusqlite::Result<bool> {
    let query = "SELECT seq, length(data), NULL FROM log_frames WHERE seq <= ?1 ORDER BY seq LIMIT ?2";
    let (old, more) = oldest(turn, query, sql(up_to))?;
    let Some(last) = old.last().map(|r| r.seq) else { return Ok(false) };
    turn.conn.prepare_cached("DELETE FROM log_frames WHERE seq <= ?1")?.execute([sql(last)])?;
    turn.counters.log_first = last + 1;
    turn.fresh.log_trimmed = last;
    Ok(more)
}

pub(super) fn trim_out(turn: &mut Turn<'_>, before: Timestamp) -> rusqlite::Result<bool> {
    let query = "SELECT seq, length(data), hash FROM out_records WHERE seq < ?1 ORDER BY seq LIMIT ?2";
    let end = first_kept(turn, before)?;
    let (old, more) = oldest(turn, query, sql(end))?;
    let Some(last) = old.last().map(|r| r.seq) else { return Ok(false) };
    turn.conn.prepare_cached("DELETE FROM out_records WHERE seq <= ?1")?.execute([sql(last)])?;
    turn.conn.prepare_cached("DELETE FROM out_claims WHERE seq <= ?1")?.execute([sql(last)])?;
    for record in &old {
        turn.indexes.unsettled.remove(record.seq);
        if let Some(hash) = record.hash {
            turn.indexes.out_keys.delete(turn.conn, hash, record.seq)?;
        }
    }
    turn.counters.out_first = last + 1;
    turn.fresh.out_trimmed = last;
    Ok(more)
}

/// OUT is trimmed from its beginning, up to the first record that is to be kept.
fn first_kept(turn: &Turn<'_>, before: Timestamp) -> rusqlite::Result<Seq> {
    let mut query = turn
        .conn
        .prepare_cached("SELECT seq, at FROM out_records WHERE seq >= ?1 AND at < ?2 ORDER BY seq LIMIT ?3")?;
    let future = turn.now.plus(FUTURE_MS).0;
    let mut rows = query.query(params![sql(turn.counters.out_first), future, CHUNK_RECORDS])?;
    let mut end = turn.counters.out_first;
    while let Some(row) = rows.next()? {
        let at = Timestamp(row.get(1)?);
        if at >= before {
            break;
        }
        end = unsql(row.get::<_, i64>(0)?) + 1;
    }
    Ok(end)
}
