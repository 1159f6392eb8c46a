//! Rebase: going on from a log that is not the one that was written last, because an older copy of it was put back, or because it
//! was moved. What shows it, and where IN agrees with LOG.
//!
//! Nothing is sent twice by itself for it: what was on its way becomes `unknown`, what OUT held is void, and what came before gets
//! no automatic reply. Nothing that is still in IN is lost either: it is decided again, and ids remove what was decided.

use super::outgoing::claim_key;
use super::post::Post;
use super::recover::{FRAMES, Folded, RecoverError};
use crate::log::frame::id_of;
use crate::log::{Log, LogError, Seq, Stored, Told};
use std::collections::BTreeSet;
use std::sync::Arc;
use switchboard_envelope::{Inbound, Timestamp};
use switchboard_routing_rules::event::Public;
use switchboard_routing_rules::state::{Cursor, Phase, State};

/// Where somebody asks for a rebase, in the log itself so that no crash forgets it: `<number> <why>`. One of that number, or of a
/// higher one, is the answer.
const REQUEST: &str = "rebase";
/// How a request begins that a restore makes.
const RESTORED: &str = "restore:";
/// No workspace was ever rebased so often since it was last read: such a request is not ours.
const LEAP: u64 = 1 << 32;

/// Asks whoever leads to rebase, as after data was restored or moved, unless the log has a rebase after the one of number `after`, the
/// last that whoever asks knows of; `why` begins with `migrate` where no frame was lost, and with `restore:` where records have their numbers. Several may ask at the same moment, and the
/// last of them is heard: who is not answered by the rebase that follows asks again.
///
/// # Errors
/// When the log does not take it; then nobody may go on with it.
pub async fn request_rebase(log: &dyn Log, after: u64, why: &str) -> Result<(), LogError> {
    let number = after.saturating_add(1);
    if let Some((asked, words)) = requested(log).await? {
        // Who moved the log says that nothing is lost; who misses something knows better.
        let knows_less = is_moved(&words) && !is_moved(why);
        if asked > number || (asked == number && !knows_less) {
            return Ok(());
        }
    }
    log.put_cursor(REQUEST, &format!("{number} {why}")).await
}

fn is_moved(why: &str) -> bool {
    why.starts_with("migrate")
}

async fn requested(log: &dyn Log) -> Result<Option<(u64, String)>, LogError> {
    let Some(request) = log.get_cursor(REQUEST).await? else { return Ok(None) };
    let read = request.split_once(' ').and_then(|(number, why)| Some((number.parse().ok()?, why)));
    Ok(read.map(|(number, why)| (number, why.chars().take(200).collect())))
}

/// Whether LOG, which ends at `last`, has the last frame that was read of it: as that frame, not only under its number.
///
/// # Errors
/// When the log does not answer.
pub async fn is_as_read(log: &dyn Log, last: Seq, told: Told) -> Result<bool, LogError> {
    if told.frame == 0 || last < told.frame || told.id == 0 {
        return Ok(last >= told.frame);
    }
    let there = log.read_log(told.frame - 1, 1).await?;
    // One that was trimmed, or cannot be read, says nothing.
    let id = there.first().filter(|stored| stored.seq == told.frame).map_or(0, id_of);
    Ok(id == 0 || id == told.id)
}

/// A rebase that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub now: Timestamp,
    /// The lowest number that answers everybody.
    pub number: u64,
    pub agrees: Cursor,
    /// IN's end.
    pub inn: Seq,
    pub out: Seq,
    pub cut: bool,
    pub why: String,
}

/// What a look at the three logs shows.
pub(super) enum Found {
    /// They are what was written last.
    Agrees,
    /// LOG has other frames than were folded: they come first.
    Moved,
    Rebase(Due),
}

impl Post {
    /// Compares what was folded with what the three logs hold now.
    pub(super) async fn examine(&self, folded: &mut Folded) -> Result<Found, RecoverError> {
        let log = &self.log;
        let out = folded.unsent.look(log).await?;
        // Asked after OUT: the frame of every record that is there is in LOG by now.
        if log.log_bounds().await?.1 != folded.last || self.is_another_life() {
            return Ok(Found::Moved);
        }
        let (mut why, mut cut, mut placed) = (vec![], false, false);
        let now = log.now().await?;
        let mut number = 0;
        if let Some(lost) = self.lost {
            cut = true;
            number = lost.rebase.saturating_add(1);
            why.push(format!(
                "LOG does not hold frame {} as it was read before, or lacks what was beside it",
                lost.frame
            ));
        }
        if let Some((asked, words)) = pending(log.as_ref(), &folded.state).await? {
            // A record of the cursor's number may be another where frames of the moved log are lost.
            placed = (is_moved(&words) || words.starts_with(RESTORED)) && !cut;
            cut |= !is_moved(&words);
            number = number.max(asked);
            why.push(words);
        }
        // An empty LOG assigned nothing.
        let assigned = folded.assigned.unwrap_or(if folded.last == 0 { 0 } else { out });
        if out > assigned {
            cut = true;
            why.push(format!("OUT ends at record {out}, beyond {assigned} that LOG assigned"));
        } else if out < assigned && !folded.unsent.fill(out, assigned, &open_claims(&folded.state)) {
            why.push(format!("OUT ends at record {out}, before attempts up to {assigned} that were made"));
        }
        let at = folded.state.cursor;
        let agrees = match placed {
            true => as_moved(log, at).await?,
            false => agreeing(log, &self.codec, folded).await?,
        };
        if agrees != at && !(placed && agrees.seq == at.seq) {
            why.push(format!("IN does not hold record {} of {}, which was decided last", at.seq, at.at));
        }
        // IN is trimmed behind LOG's cursor only: what is missing after it was decided in frames that are lost.
        if at.seq > 0 && !placed && log.read_in(0, 1).await?.first().is_some_and(|first| first.seq > at.seq + 1) {
            cut = true;
            why.push(format!("IN begins after record {}, up to which LOG decided", at.seq));
        }
        #[cfg(test)]
        if crate::simulation::planted(crate::simulation::Bug::OlderCopyUnnoticed) {
            self.log.doubt().rebased(self.log.doubt().log_life(), 0);
            why.clear();
        }
        if why.is_empty() {
            return Ok(Found::Agrees);
        }
        let inn = log.in_last().await?;
        Ok(Found::Rebase(Due { now, number, agrees, inn, out, cut, why: why.join("; ") }))
    }

    /// Whether somebody asked for a rebase that has not come yet.
    pub(super) async fn is_rebase_asked(&self, state: &State) -> Result<bool, LogError> {
        Ok(pending(self.log.as_ref(), state).await?.is_some())
    }
}

async fn pending(log: &dyn Log, state: &State) -> Result<Option<(u64, String)>, LogError> {
    let Some((asked, why)) = requested(log).await? else { return Ok(None) };
    let last = state.rebased.map_or(0, |r| r.number);
    if asked.saturating_sub(last) > LEAP {
        // It is asked for once, and not under a number from which on nothing could be counted.
        let next = last.saturating_add(1);
        log.put_cursor(REQUEST, &format!("{next} {why}")).await?;
        return Ok(Some((next, why)));
    }
    Ok((asked > last).then_some((asked, why)))
}

/// The claims of attempts without a result.
fn open_claims(state: &State) -> BTreeSet<String> {
    state.sends.values().filter(|s| matches!(s.phase, Phase::InFlight { .. })).map(|s| claim_key(s)).collect()
}

/// Whether IN holds the record that was decided, and not another one under its number, be it of the same moment.
async fn holds(log: &Arc<dyn Log>, state: &State, at: Cursor) -> Result<bool, LogError> {
    let id = |record: &Stored| Inbound::from_slice(&record.data).ok().map(|i| state.hash("input", &[i.id()]));
    let is_it = |record: Stored| record.at == at.at && at.id.is_none_or(|known| id(&record) == Some(known));
    Ok(log.get_in(at.seq).await?.is_some_and(is_it))
}

/// A log that was moved, or restored from a backup, has its records under their numbers, and may have other times; so does the record
/// at the cursor.
async fn as_moved(log: &Arc<dyn Log>, at: Cursor) -> Result<Cursor, LogError> {
    // Nothing was decided yet, and no log has a record of that number.
    if at.seq == 0 {
        return Ok(at);
    }
    Ok(log.get_in(at.seq).await?.map_or_else(Cursor::default, |record| Cursor { at: record.at, ..at }))
}

/// The last input that LOG decided and IN still holds as the same record; where there is none, what was before the first record that
/// IN holds, for all that is there has to be read. What was trimmed has no other in its place: what is kept of it, as in quarantine,
/// still counts.
async fn agreeing(log: &Arc<dyn Log>, codec: &super::Codec, folded: &Folded) -> Result<Cursor, RecoverError> {
    let at = folded.state.cursor;
    if at.seq == 0 || holds(log, &folded.state, at).await? {
        return Ok(at);
    }
    // Records before the first that IN has were trimmed; they say nothing.
    let Some(first) = log.read_in(0, 1).await?.first().map(|record| record.seq) else { return Ok(Cursor::default()) };
    let all = Cursor { seq: first.saturating_sub(1), ..Cursor::default() };
    let (begin, _) = log.log_bounds().await?;
    let (mut end, mut limit) = (folded.last, Seq::MAX);
    while end + 1 > begin {
        let from = end.saturating_sub(FRAMES as u64).max(begin.saturating_sub(1));
        let mut inputs = vec![];
        for stored in log.read_log(from, FRAMES).await?.iter().take_while(|stored| stored.seq <= end) {
            let seq = stored.seq;
            let events = codec.public(stored).map_err(|source| RecoverError::Frame { seq, source })?;
            inputs.extend(events);
        }
        let (decided, before) = decided(&inputs, limit);
        limit = before;
        let reaches = decided.first().is_none_or(|first_here| first_here.seq <= first);
        let known: Vec<Cursor> = decided.into_iter().filter(|at| at.seq >= first).collect();
        if let Some(at) = last_held(log, &folded.state, &known).await? {
            return Ok(at);
        }
        if reaches && !known.is_empty() {
            break;
        }
        end = from;
    }
    Ok(all)
}

/// The inputs of these frames that count, in their order: what an earlier rebase rewound over is another life of IN. With the
/// highest that may count in the frames before.
fn decided(events: &[Public], mut limit: Seq) -> (Vec<Cursor>, Seq) {
    let mut inputs = vec![];
    for event in events.iter().rev() {
        match event {
            Public::Rebased { cursor, .. } => limit = limit.min(*cursor),
            Public::Consumed { seq, stored_at, id, .. } if *seq <= limit => {
                inputs.push(Cursor { seq: *seq, at: *stored_at, id: *id });
            }
            _ => {}
        }
    }
    inputs.reverse();
    (inputs, limit)
}

/// The last of these that IN holds: what agrees is a beginning of them.
async fn last_held(log: &Arc<dyn Log>, state: &State, inputs: &[Cursor]) -> Result<Option<Cursor>, LogError> {
    let (mut low, mut high) = (0, inputs.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(at) = inputs.get(middle) else { break };
        if holds(log, state, *at).await? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low.checked_sub(1).and_then(|last| inputs.get(last)).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumed(seq: Seq) -> Public {
        let at = Timestamp(i64::try_from(seq).unwrap_or(0));
        Public::Consumed { seq, stored_at: at, now: at, id: None, duplicate: false }
    }

    fn rebased(cursor: Seq) -> Public {
        let (at, why) = (Timestamp(0), String::new());
        Public::Rebased {
            number: 1,
            at,
            frame: 1,
            cursor,
            cursor_at: at,
            cursor_id: None,
            inn: 0,
            out: 0,
            cut: false,
            why,
        }
    }

    #[test]
    fn what_an_earlier_rebase_rewound_over_is_not_taken_for_what_in_holds() {
        let events = [consumed(1), consumed(2), consumed(3), rebased(2), consumed(3), consumed(4)];
        let (inputs, limit) = decided(&events, Seq::MAX);
        let seqs: Vec<Seq> = inputs.iter().map(|at| at.seq).collect();
        assert_eq!((seqs, limit), (vec![1, 2, 3, 4], 2), "the first record 3 was another one");
        assert_eq!(decided(&events[..3], limit).0.len(), 2);
    }
}
