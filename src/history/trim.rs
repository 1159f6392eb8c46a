//! What is older than the retention leaves history: conversations that were closed before, with their messages and
//! decisions, and contacts that nothing speaks of any more. In small steps, so that new changes hardly wait.

use super::HistoryError;
use super::rows::Contact;
use super::runner::HistoryHandle;
use super::stored::{bytes, column, unsigned};
use super::writer::HistoryWriter;
use crate::clock;
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::ids::{ContactId, ConvId, ID_BYTES, MessageId};

/// How long one step may take, without its commit.
pub(super) const STEP: Duration = Duration::from_millis(8);
/// An `Idempotency-Key` is remembered this long.
const ANSWERS_MS: i64 = 7 * 24 * 3_600_000;
/// Answers that one step forgets, and messages between two looks at the clock.
const ANSWERS: i64 = 200;
const LOOK: u32 = 16;
/// How long after the start the first look is taken, and between two.
const FIRST_LOOK: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_secs(3600);

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    pub conversations: u64,
    pub messages: u64,
    pub contacts: u64,
    /// There is more to be removed.
    pub more: bool,
}

impl Trimmed {
    pub(super) fn plus(self, other: Trimmed) -> Trimmed {
        Trimmed {
            conversations: self.conversations + other.conversations,
            messages: self.messages + other.messages,
            contacts: self.contacts + other.contacts,
            more: other.more,
        }
    }
}

/// Keeps history within the retention, as long as it runs.
pub async fn keep_within(history: HistoryHandle, retention: Duration) {
    let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    tokio::time::sleep(FIRST_LOOK).await;
    while !history.is_closed() {
        let trimmed = history.trim(Timestamp(clock::now().0.saturating_sub(retention))).await.unwrap_or_default();
        if trimmed != Trimmed::default() {
            let Trimmed { conversations, messages, contacts, .. } = trimmed;
            tracing::info!(conversations, messages, contacts, "history older than `retention.messages` was removed");
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

impl HistoryWriter {
    /// Removes conversations that were closed before `before` and that no input can touch any more, for about as long as
    /// `budget`, in one transaction.
    ///
    /// # Errors
    /// When the file could not be written; nothing is removed then.
    pub fn trim(&mut self, before: Timestamp, budget: Duration) -> Result<Trimmed, HistoryError> {
        self.transaction(|w| {
            let mut step = Step { until: Instant::now() + budget, done: Trimmed::default(), runs: BTreeSet::new() };
            while !step.done.more && (w.empty_trash(&mut step)? || w.drop_oldest(before, &mut step)?) {
                step.done.more = Instant::now() >= step.until;
            }
            w.drop_runs(&step)?;
            step.done.more |= w.drop_answers()?;
            w.drop_slots()?;
            Ok(step.done)
        })
    }

    /// Removes the conversation that ended first; its messages follow. False when there is none.
    fn drop_oldest(&mut self, before: Timestamp, step: &mut Step) -> Result<bool, HistoryError> {
        let (seq, last, id, contact) = {
            let mut find = self.db.prepare_cached(
                "SELECT seq, last, id, contact FROM conversations WHERE ended < ?1 ORDER BY ended, seq LIMIT 1",
            )?;
            let mut rows = find.query([before.0])?;
            let Some(r) = rows.next()? else { return Ok(false) };
            let (seq, last): (i64, i64) = (r.get(0)?, r.get(1)?);
            (seq, last, ConvId::from_bytes(bytes(r, 2)?), ContactId::from_bytes(bytes(r, 3)?))
        };
        self.db.prepare_cached("DELETE FROM conversations WHERE seq = ?1")?.execute([seq])?;
        self.db.prepare_cached("DELETE FROM marks WHERE conv = ?1")?.execute([seq])?;
        if last > 0 {
            self.db.prepare_cached("INSERT OR IGNORE INTO trash(last) VALUES (?1)")?.execute([last])?;
        }
        self.work.conversations.forget(id);
        step.done.conversations += 1;
        self.drop_contact(contact, step)?;
        Ok(true)
    }

    /// A contact stays as long as it has a conversation, or as a person said something about it that must hold later.
    fn drop_contact(&mut self, id: ContactId, step: &mut Step) -> Result<(), HistoryError> {
        let in_use = self
            .db
            .prepare_cached("SELECT 1 FROM conversations WHERE contact = ?1 LIMIT 1")?
            .exists([id.to_bytes()])?;
        if in_use {
            return Ok(());
        }
        let Some(contact) = self.look_contact(id)?.filter(|c| !must_stay(c)).cloned() else { return Ok(()) };
        for identity in &contact.identities {
            self.db
                .prepare_cached("DELETE FROM identities WHERE identity = ?1 AND contact = ?2")?
                .execute(params![identity, id.to_bytes()])?;
        }
        self.db.prepare_cached("DELETE FROM contacts WHERE id = ?1")?.execute([id.to_bytes()])?;
        self.work.contacts.forget(id);
        step.done.contacts += 1;
        Ok(())
    }

    /// Removes messages whose conversation is gone. False when there are none.
    fn empty_trash(&mut self, step: &mut Step) -> Result<bool, HistoryError> {
        let find = "SELECT last FROM trash ORDER BY last LIMIT 1";
        let Some(last) = self.db.prepare_cached(find)?.query_row([], |r| r.get::<_, i64>(0)).optional()? else {
            return Ok(false);
        };
        let (mut place, mut removed) = (unsigned(last), 0u32);
        while place > 0 && (!removed.is_multiple_of(LOOK) || removed == 0 || Instant::now() < step.until) {
            place = self.drop_message(place, &mut step.runs)?;
            removed += 1;
        }
        self.db.prepare_cached("DELETE FROM trash WHERE last = ?1")?.execute([last])?;
        if place > 0 {
            self.db.prepare_cached("INSERT OR IGNORE INTO trash(last) VALUES (?1)")?.execute([column(place)])?;
        }
        step.done.messages += u64::from(removed);
        Ok(true)
    }

    /// Removes a message, and returns the place of the one before it; `runs` are those that lost ids.
    pub(super) fn drop_message(&mut self, place: u64, runs: &mut BTreeSet<i64>) -> Result<u64, HistoryError> {
        let row = self
            .db
            .prepare_cached("SELECT prev, id FROM messages WHERE seq = ?1")?
            .query_row([column(place)], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, Option<[u8; ID_BYTES]>>(1)?)))
            .optional()?;
        let Some((prev, id)) = row else { return Ok(0) };
        if let Some(id) = id {
            let run: Option<i64> = self
                .db
                .prepare_cached("SELECT run FROM runs WHERE first <= ?1 ORDER BY first DESC LIMIT 1")?
                .query_row([column(place)], |r| r.get(0))
                .optional()?;
            if let Some(run) = run {
                self.db.prepare_cached("DELETE FROM ids WHERE run = ?1 AND id = ?2")?.execute(params![run, id])?;
                runs.insert(run);
            }
            self.db.prepare_cached("DELETE FROM dead WHERE message = ?1")?.execute([id])?;
            self.work.places.forget(MessageId::from_bytes(id));
        }
        self.db.prepare_cached("DELETE FROM messages WHERE seq = ?1")?.execute([column(place)])?;
        self.work.messages.forget(place);
        self.work.fates.forget(place);
        self.work.outcomes.forget(place);
        // Each names an earlier one: a damaged row must not lead in a circle.
        Ok(Some(unsigned(prev)).filter(|prev| *prev < place).unwrap_or(0))
    }

    /// Runs that hold no id any more need not be asked.
    fn drop_runs(&mut self, step: &Step) -> Result<(), HistoryError> {
        for run in step.runs.iter().filter(|run| **run != self.work.run.0) {
            if !self.db.prepare_cached("SELECT 1 FROM ids WHERE run = ?1 LIMIT 1")?.exists([run])? {
                self.db.prepare_cached("DELETE FROM runs WHERE run = ?1")?.execute([run])?;
            }
        }
        Ok(())
    }

    /// Whether there may be more to forget.
    fn drop_answers(&mut self) -> Result<bool, HistoryError> {
        let removed = self
            .db
            .prepare_cached(
                "DELETE FROM answers WHERE command IN (SELECT command FROM answers WHERE at < ?1 ORDER BY at LIMIT ?2)",
            )?
            .execute(params![self.work.now.plus(-ANSWERS_MS).0, ANSWERS])?;
        Ok(i64::try_from(removed).is_ok_and(|n| n >= ANSWERS))
    }
}

/// What a step did so far.
struct Step {
    until: Instant,
    done: Trimmed,
    /// Runs that lost ids.
    runs: BTreeSet<i64>,
}

fn must_stay(c: &Contact) -> bool {
    let linked = c.merged_into.is_some() || c.identities.len() > 1;
    linked || !(c.consent.is_empty() && c.tags.is_empty() && c.attributes.is_empty())
}
