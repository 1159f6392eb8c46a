//! Clocks: until when somebody must be answered, and when their matter must be resolved.
//!
//! A response's clock runs while somebody of ours is expected to act; waiting for the customer ends it, and the next question starts
//! another. The resolution's clock stands still meanwhile and goes on with the time that is left. A snooze stops both, and gives
//! neither more time than it had. Both run only in the open hours of the queue, and each warns and breaches at most once.

use super::assign::Entry;
use super::{BREACH_AGAIN_MS, DEFAULT_CLOCK_MS, Draft};
use crate::event::{ClockKind, Public, Why};
use crate::ids::ConvId;
use crate::pack::{Breach, ConvStatus, Sla};
use crate::state::{Clock, Conversation};
use std::sync::Arc;
use switchboard_envelope::Timestamp;

/// A clock to be set.
struct Deadline {
    clock: ClockKind,
    due: Timestamp,
    warn_at: Option<Timestamp>,
}

impl Draft<'_> {
    fn sla(&self, c: &Conversation) -> Sla {
        c.queue.as_deref().and_then(|q| self.pack_of(c).queues.get(q)).map(|q| q.sla.clone()).unwrap_or_default()
    }

    /// When so much open time of the conversation's queue has passed.
    fn deadline(&self, c: &Conversation, from: Timestamp, ms: i64) -> Timestamp {
        match self.hours_of(c) {
            Some(hours) => self.pack_of(c).add_open_time(hours, from, ms),
            None => from.plus(ms.max(0)),
        }
    }

    fn hours_of(&self, c: &Conversation) -> Option<&str> {
        c.queue.as_deref().and_then(|q| self.pack_of(c).queues.get(q)).and_then(|q| q.hours.as_deref())
    }

    /// The conversation is laid aside: it takes nobody's capacity, and its clocks stand still.
    pub(super) fn snooze_until(&mut self, conv: ConvId, until: Timestamp) {
        let Some(c) = self.conv(conv) else { return };
        self.withdraw_offer(&c);
        self.stop_resolution(conv);
        let runs = c.clock.as_ref().filter(|k| !k.breached && k.kind != ClockKind::Waiting);
        let left = runs.map(|k| k.left().unwrap_or_else(|| self.open_time_until(&c, k.due)));
        self.emit(Public::Snoozed { conv, until, left });
        self.somebody_freed();
    }

    /// The open time of the conversation's queue from now on.
    fn open_time_until(&self, c: &Conversation, due: Timestamp) -> i64 {
        let left = match self.hours_of(c) {
            Some(hours) => self.pack_of(c).open_time_between(hours, self.now(), due),
            None => due.since(self.now()),
        };
        left.max(0)
    }

    /// A clock that stood still goes on with what was left of it.
    fn goes_on(&self, c: &Conversation, stood: &Clock, left: i64) -> Deadline {
        let (now, sla) = (self.now(), self.sla(c));
        let promised = match stood.kind {
            ClockKind::FirstResponse => sla.first_response_ms,
            _ => sla.next_response_ms,
        };
        let due = self.deadline(c, now, left);
        let ahead = promised.map_or(0, |ms| left - (ms - share(ms, sla.warn_percent)));
        let warns = (1..100).contains(&sla.warn_percent) && !stood.warned && ahead > 0;
        let warn_at = warns.then(|| self.deadline(c, now, ahead)).filter(|at| *at < due);
        Deadline { clock: stood.kind, due, warn_at }
    }

    /// The clock that its queue asks for from now on.
    fn response_clock(&self, c: &Conversation) -> Deadline {
        let (now, sla) = (self.now(), self.sla(c));
        let (clock, ms) = match (c.answered, sla.first_response_ms, sla.next_response_ms) {
            (false, Some(ms), _) => (ClockKind::FirstResponse, ms),
            (true, _, Some(ms)) => (ClockKind::NextResponse, ms),
            _ => return Deadline { clock: ClockKind::Waiting, due: now.plus(DEFAULT_CLOCK_MS), warn_at: None },
        };
        let due = self.deadline(c, now, ms);
        let warn_at = (1..100)
            .contains(&sla.warn_percent)
            .then(|| self.deadline(c, now, share(ms, sla.warn_percent)))
            .filter(|at| *at < due);
        Deadline { clock, due, warn_at }
    }

    /// Starts the clocks that fit. One that runs stays: a conversation gains no time by being moved, and has less only where
    /// its new queue promises more.
    pub(crate) fn start_clock(&mut self, conv: ConvId) {
        let Some(c) = self.conv(conv).filter(|c| c.is_ours()) else { return };
        let fresh = self.response_clock(&c);
        let stood = c.clock.as_ref().and_then(|k| Some(self.goes_on(&c, k, k.left()?)));
        let Deadline { clock, due, warn_at } = match stood {
            // A queue that promises more than what is left has its way.
            Some(stood) if fresh.clock == ClockKind::Waiting || stood.due <= fresh.due => stood,
            _ => fresh,
        };
        let sets = match &c.clock {
            Some(k) if k.left().is_some() => true,
            None => true,
            Some(k) if k.breached || clock == ClockKind::Waiting => false,
            Some(k) => k.kind == ClockKind::Waiting || due < k.due,
        };
        if sets {
            self.emit(Public::ClockSet { conv, clock, due, warn_at });
        }
        self.run_resolution(&c);
    }

    /// The resolution's clock goes on, or begins.
    fn run_resolution(&mut self, c: &Arc<Conversation>) {
        let known = c.resolution.as_deref().cloned().unwrap_or_default();
        let sla = self.sla(c);
        let Some(ms) = sla.resolution_ms.filter(|_| c.resolution_due.get().is_none() && !known.breached) else {
            return;
        };
        let (from, left) = match known.left {
            Some(left) => (self.now(), left),
            // Opened again, it begins again.
            None => (if known.closed { self.now() } else { c.opened_at }, ms),
        };
        let due = self.deadline(c, from, left);
        let ahead = left - (ms - share(ms, sla.warn_percent));
        let warns = (1..100).contains(&sla.warn_percent) && !known.warned && ahead > 0;
        let warn_at = warns.then(|| self.deadline(c, from, ahead)).filter(|at| *at < due);
        self.emit(Public::ResolutionDue { conv: c.id, due: Some(due), warn_at });
    }

    /// The resolution's clock stands still while the customer is waited for, and while the conversation is snoozed.
    pub(crate) fn stop_resolution(&mut self, conv: ConvId) {
        let Some(c) = self.conv(conv) else { return };
        let Some(due) = c.resolution_due.get() else { return };
        let left = self.open_time_until(&c, due);
        self.emit(Public::ResolutionStopped { conv, left });
    }

    pub(super) fn clock_due(&mut self, id: ConvId) {
        let now = self.now();
        let Some(c) = self.conv(id) else { return };
        let Some(clock) = c.clock.clone().filter(|k| c.is_ours() && k.next <= now) else { return };
        let again = now.plus(BREACH_AGAIN_MS);
        match clock.kind {
            kind if clock.breached => self.emit(Public::StillBreached { conv: id, clock: kind, again }),
            kind if clock.due <= now => {
                self.emit(Public::ClockBreached { conv: id, clock: kind, again });
                // The default clock is nobody's promise: it shows that somebody is forgotten, and nothing else.
                if kind != ClockKind::Waiting {
                    self.escalate(id, self.sla(&c).on_breach, late(kind, true));
                }
            }
            kind => {
                self.emit(Public::ClockWarned { conv: id, clock: kind });
                self.escalate(id, self.sla(&c).on_warn, late(kind, false));
            }
        }
    }

    pub(super) fn resolution_due(&mut self, id: ConvId) {
        let now = self.now();
        let Some(c) = self.conv(id).filter(|c| c.is_open()) else { return };
        let Some(due) = c.resolution_due.get() else { return };
        let clock = ClockKind::Resolution;
        if due <= now {
            self.emit(Public::ClockBreached { conv: id, clock, again: now.plus(BREACH_AGAIN_MS) });
            self.escalate(id, self.sla(&c).on_breach, late(clock, true));
        } else if c.resolution.as_ref().is_some_and(|r| r.warn_at.is_some_and(|at| at <= now)) {
            self.emit(Public::ClockWarned { conv: id, clock });
            self.escalate(id, self.sla(&c).on_warn, late(clock, false));
        }
    }

    /// What the queue does when a clock warns or is breached.
    fn escalate(&mut self, id: ConvId, what: Breach, late: &'static str) {
        let Some(c) = self.conv(id) else { return };
        if let Some(priority) = what.priority.filter(|p| *p > c.priority) {
            self.emit(Public::Prioritised { conv: id, priority, by: None });
        }
        // What is offered waits too, until somebody accepts.
        let waits = matches!(c.status, ConvStatus::Queued | ConvStatus::Offered);
        if let Some(queue) = what.queue.filter(|q| waits && c.queue.as_deref() != Some(q)) {
            self.enqueue(id, Entry::new(queue, Why::Timer));
        }
        if let Some(notify) = what.notify {
            self.notify_late(id, &notify, late);
        }
    }
}

/// What a notice says of a clock that has no text of its own.
fn late(clock: ClockKind, breached: bool) -> &'static str {
    match (clock, breached) {
        (ClockKind::FirstResponse, false) => "the first answer is due soon",
        (ClockKind::FirstResponse, true) => "the first answer is late",
        (ClockKind::Resolution, false) => "this is to be resolved soon",
        (ClockKind::Resolution, true) => "this should have been resolved",
        (ClockKind::NextResponse | ClockKind::Waiting, false) => "an answer is due soon",
        (ClockKind::NextResponse | ClockKind::Waiting, true) => "an answer is late",
    }
}

fn share(ms: i64, percent: u8) -> i64 {
    ms.saturating_mul(i64::from(percent.min(100))) / 100
}
