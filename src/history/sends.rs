//! What becomes of the messages that we send.

use super::project::Done;
use super::rows::{Direction, EventLine, Message, Status, Who};
use super::stored::{Fate, column};
use super::writer::HistoryWriter;
use super::{HistoryError, message_seq};
use rusqlite::params;
use switchboard_envelope::{Author, Outcome, ReceiptStatus, Timestamp};
use switchboard_routing_rules::event::{DeadReason, KeyHash, Private, Public};
use switchboard_routing_rules::ids::{ConvId, MessageId};

/// Most messages of ours that one confirmation moves; a client confirms far more often than that.
const CONFIRM_AT_ONCE: usize = 500;
/// Notices that the explanation of one message names.
const MOST_NOTICES: usize = 50;

impl HistoryWriter {
    pub(super) fn fold_send(&mut self, conv: ConvId, public: &Public, private: Option<&Private>) -> Done {
        use Public as P;
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
            P::FilesFetched { message, .. } => {
                if let Some(Private::Files { attachments }) = private
                    && let Some(place) = self.find_message(*message)?
                    && let Some(m) = self.message_at(place)?
                {
                    m.row.attachments.clone_from(attachments);
                }
                Ok(())
            }
            P::Sent { message, .. } => {
                let mut parked = false;
                self.step(*message, |m| {
                    parked =
                        matches!(m.status, Some(Status::Unknown | Status::Rejected | Status::Failed | Status::Dead));
                    sent(m);
                })?;
                if parked {
                    self.not_dead(*message)?;
                }
                Ok(())
            }
            P::Receipt { message, status, code, .. } => {
                let detail = match private {
                    Some(Private::Receipt { detail }) => detail.clone(),
                    _ => None,
                };
                self.step(*message, |m| receipt(m, *status, code.clone(), detail))
            }
            P::Dead { message, reason, at: when, .. } => {
                self.step(*message, |m| dead(m, *reason))?;
                let place = self.find_message(*message)?.unwrap_or(0);
                let desk = self.message_at(place)?.and_then(|m| m.row.event.as_ref()?.desk.clone());
                let of_conv = || self.look(conv).map(|c| c.map(|c| c.channel.clone()).unwrap_or_default());
                let channel = desk.map_or_else(of_conv, Ok)?;
                let seq = message_seq(self.work.at.frame, self.work.at.index);
                self.put_dead(seq, *message, place, &channel, (*reason, *when))
            }
            P::DeadCleared { message, .. } => self.not_dead(*message),
            _ => Ok(()),
        }
    }

    /// A dead letter of the message at a place, since when, and why.
    pub(super) fn put_dead(
        &mut self,
        seq: u64,
        message: MessageId,
        place: u64,
        channel: &str,
        (reason, since): (DeadReason, Timestamp),
    ) -> Done {
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO dead(seq, message, place, channel, reason, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![column(seq), message.to_bytes(), column(place), channel, reason.as_str(), since.0])?;
        Ok(())
    }

    /// What people of ours are told: the customer's side of the conversation stays as it is.
    pub(super) fn notice_queued(&mut self, conv: ConvId, public: &Public, private: Option<&Private>) -> Done {
        let Public::SendQueued { message, channel, author, at, push, resends, .. } = public else { return Ok(()) };
        self.forget_known_send(conv, *message)?;
        let mut row = notice(conv, author, *at, channel);
        row.status = Some(if *push { Status::Accepted } else { Status::Queued });
        row.resends = *resends;
        if let Some(Private::Send { content, to, .. }) = private {
            row.text = Some(content.text.clone());
            row.to = Some(to.clone());
        }
        if let Some((c, place)) = self.work.deciding
            && c == conv
            && let Some(o) = self.outcome_at(place)?
            && o.outcome.notices.len() < MOST_NOTICES
        {
            o.outcome.notices.push((message.to_string(), channel.clone()));
        }
        self.add_message(Some(*message), row)?;
        if let Some(c) = self.conversation(conv)? {
            c.updated_at = c.updated_at.max(*at);
        }
        Ok(())
    }

    fn step(&mut self, message: MessageId, change: impl FnOnce(&mut Fate)) -> Done {
        match self.find_message(message)? {
            Some(place) => self.step_at(place, change),
            None => Ok(()),
        }
    }

    fn not_dead(&mut self, message: MessageId) -> Done {
        self.db.prepare_cached("DELETE FROM dead WHERE message = ?1")?.execute([message.to_bytes()])?;
        Ok(())
    }

    /// What changes nothing is not written.
    fn step_at(&mut self, place: u64, change: impl FnOnce(&mut Fate)) -> Done {
        let Some(standing) = self.standing(place)? else { return Ok(()) };
        let mut fate = standing.fate.clone();
        change(&mut fate);
        if fate != standing.fate {
            self.tell_fate(place, fate);
        }
        Ok(())
    }

    /// The visitor's client has everything of ours up to a place.
    pub(super) fn confirmed(&mut self, channel: &str, thread: KeyHash, up_to: u64, read: bool) -> Done {
        let status = if read { ReceiptStatus::Read } else { ReceiptStatus::Delivered };
        let mut left = CONFIRM_AT_ONCE;
        for conv in self.of_thread(channel, thread)?.into_iter().rev() {
            let mut place = self.look(conv)?.map_or(0, |c| c.last);
            while place > 0 && left > 0 {
                let Some((before, ours, known)) = self.confirmable(place, read)? else { break };
                if ours && place <= up_to {
                    if known {
                        // Whoever confirmed this one confirmed all before it.
                        break;
                    }
                    self.step_at(place, |m| receipt(m, status, None, None))?;
                    left -= 1;
                }
                place = before;
            }
        }
        Ok(())
    }

    /// The place before, whether the message is ours, and whether a client has confirmed as much of it before.
    fn confirmable(&mut self, place: u64, read: bool) -> Result<Option<(u64, bool, bool)>, HistoryError> {
        Ok(self.standing(place)?.map(|m| {
            let status = m.fate.status;
            let known = status == Some(Status::Read) || (!read && status == Some(Status::Delivered));
            (m.prev, m.direction == Direction::Out, known)
        }))
    }
}

/// What a desk is told, without its words.
pub(super) fn notice(conv: ConvId, author: &Author, at: Timestamp, desk: &str) -> Message {
    let who = if let Author::Auto { rule } = author { Who::Auto(rule.clone()) } else { Who::System };
    let event = EventLine { what: "told".to_owned(), desk: Some(desk.to_owned()), ..EventLine::default() };
    Message { event: Some(event), ..Message::new(conv, Direction::Notice, who, at) }
}

/// A later answer still settles what was unknown, even when it was parked; a failure reported since stands.
fn sent(m: &mut Fate) {
    if m.status.is_none_or(|s| s.rank() < Status::Accepted.rank() || s == Status::Dead) {
        // What its attempt said of it stands, unless it is why it was thought to be lost.
        let detail = m.detail.take().filter(|_| m.status == Some(Status::Sending));
        *m = Fate { status: Some(Status::Accepted), code: None, detail };
    }
}

fn attempt_ended(m: &mut Fate, outcome: Outcome, code: Option<String>, detail: Option<String>) {
    // A receipt may have overtaken the result, and says more.
    if m.status.is_some_and(|s| s.rank() >= Status::Accepted.rank()) {
        return;
    }
    match outcome {
        // Further parts may follow: `sent` comes with the last.
        Outcome::Accepted => (m.code, m.detail) = (None, detail.filter(|d| !d.is_empty())),
        Outcome::NotSent => *m = Fate { status: Some(Status::Queued), code, detail },
        Outcome::Unknown => *m = Fate { status: Some(Status::Unknown), code, detail },
        Outcome::Rejected => *m = Fate { status: Some(Status::Rejected), code, detail },
    }
}

/// What a message says of itself once it is a dead letter: what is known of its fate, if anything is.
fn dead(m: &mut Fate, reason: DeadReason) {
    m.status = Some(status_of(reason));
}

pub(super) fn status_of(reason: DeadReason) -> Status {
    match reason {
        DeadReason::Unknown => Status::Unknown,
        DeadReason::Rejected => Status::Rejected,
        DeadReason::Failed => Status::Failed,
        DeadReason::Expired | DeadReason::ChannelRemoved => Status::Dead,
    }
}

fn receipt(m: &mut Fate, status: ReceiptStatus, code: Option<String>, detail: Option<String>) {
    let next = match status {
        ReceiptStatus::Accepted => Status::Accepted,
        ReceiptStatus::Delivered => Status::Delivered,
        ReceiptStatus::Read => Status::Read,
        ReceiptStatus::Failed => Status::Failed,
    };
    let current = m.status.unwrap_or(Status::Queued);
    // It is late, or a copy of it did not arrive.
    if next == Status::Accepted && current == Status::Accepted && detail.is_some() {
        (m.code, m.detail) = (code, detail);
        return;
    }
    // A parked message that its receipt proves sent is no longer in doubt.
    let settles = current == Status::Dead && next != Status::Failed;
    if next.rank() <= current.rank() && !settles {
        return;
    }
    // What an earlier attempt said no longer describes the message.
    *m = Fate { status: Some(next), code, detail };
}
