//! The entities of the state.

use super::declined::{Declined, LetGo};
use super::private::ConvPrivate;
use super::relived::Relived;
use super::slim::{Empty, Label, Rare, Steps, When};
use crate::event::{Chosen, ClockKind, DeadReason, KeyHash, OfPart, Presence};
use crate::ids::{ContactId, ConvId, MessageId, OfferId};
use crate::pack::{ConvStatus, Name, OverflowStep, Priority, Skills};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroI64;
use std::sync::Arc;
use switchboard_envelope::{Address, Author, ChannelProfile, Content, MailContext, Message, ReceiptStatus, Timestamp};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    pub id: OfferId,
    pub agent: Name,
    pub expires: Timestamp,
}

/// A deadline that somebody has to meet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    pub kind: ClockKind,
    pub due: Timestamp,
    pub warned: bool,
    pub breached: bool,
    /// When it is looked at next: to warn, at the breach, and regularly after it. [`STANDS_STILL`] while the conversation is
    /// snoozed; `due` is then how much open time is left.
    pub next: Timestamp,
}

/// Never: see [`Clock::next`].
pub const STANDS_STILL: Timestamp = Timestamp(i64::MIN);

impl Clock {
    /// The open time that is left, while the clock stands still.
    #[must_use]
    pub fn left(&self) -> Option<i64> {
        (self.next == STANDS_STILL).then_some(self.due.0)
    }
}

/// What an agent said to the customer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub by: Label,
    pub at: Timestamp,
}

/// The clock of a conversation's resolution, beside when it is due.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resolution {
    /// While it stands still: the open time that is left, in milliseconds.
    pub left: Option<i64>,
    /// When it warns.
    pub warn_at: Option<Timestamp>,
    pub warned: bool,
    pub breached: bool,
    /// The conversation was closed; opened again, it begins again.
    pub closed: bool,
}

/// What few of them have at a time is boxed: many are open at once, and each takes this much (see its test).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    pub id: ConvId,
    pub contact: ContactId,
    pub channel: Label,
    /// Hash of channel and thread.
    pub thread: KeyHash,
    pub status: ConvStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Label>,
    /// The owner; while pending, snoozed or closed, whom it returns to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Label>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Box<Offer>>,
    pub priority: Priority,
    /// Wanted beside the queue's.
    #[serde(default, skip_serializing_if = "none")]
    pub skills: Rare<Skills>,
    /// Wanted instead of both, since an overflow step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relaxed: Option<Box<Skills>>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub overflow: Steps,
    /// The next overflow step.
    #[serde(default, skip_serializing_if = "crate::event::is_zero")]
    pub step: u32,
    /// What waiting is worth a level of priority; negative where who came last comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ageing: Option<NonZeroI64>,
    /// The place and the priority that rules chose last. What moved or raised it since stands while they choose the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Arc<Chosen>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen_priority: Option<Priority>,
    #[serde(default, skip_serializing_if = "none")]
    pub tags: Rare<BTreeSet<Name>>,
    pub opened_at: Timestamp,
    /// The input that opened it, by its sequence in IN.
    pub opened_by: u64,
    /// Since when it waits, over all queues of this wait.
    #[serde(default, skip_serializing_if = "never")]
    pub queued_at: When,
    #[serde(default, skip_serializing_if = "never")]
    pub entered_at: When,
    #[serde(default, skip_serializing_if = "never")]
    pub last_in: When,
    #[serde(default, skip_serializing_if = "never")]
    pub last_out: When,
    /// Inbound messages.
    pub messages: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message: Option<MessageId>,
    /// Our latest message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sent: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Clock>,
    #[serde(default, skip_serializing_if = "never")]
    pub resolution_due: When,
    /// What is known of the resolution's clock beside its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Box<Resolution>>,
    /// One of ours has answered, and not only a rule.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answered: bool,
    /// Who of ours answered last, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Box<Answer>>,
    /// The end of a pending wait, of a snooze, or of the time in which a closed conversation reopens.
    #[serde(default, skip_serializing_if = "never")]
    pub wait_until: When,
    /// Load on its bearer, in hundredths of a unit.
    pub cost: u32,
    /// Who let it go lately.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::declined::map")]
    pub declined: Option<Box<BTreeMap<Name, Declined>>>,
    #[serde(default)]
    pub auto_day: i64,
    /// Automatic replies on `auto_day`.
    #[serde(default, skip_serializing_if = "few")]
    pub auto_replies: u16,
    /// Nobody has said anything since an automatic reply.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_spoke: bool,
    /// Automatic replies in a row that were each answered as machines answer, since a person of ours wrote.
    #[serde(default, skip_serializing_if = "few")]
    pub ping_pong: u16,
    /// What they wrote last may not be answered by a machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
    /// Unsettled sends in order; of each channel or desk the first is the only one that may be in flight.
    #[serde(default, skip_serializing_if = "none")]
    pub lane: Rare<Vec<MessageId>>,
    /// Which trial of a pack it opened in, and which pack was drawn for it: twice the trial's number, and one more where that is
    /// the pack that is tried. 0 outside of any.
    #[serde(default, skip_serializing_if = "crate::event::is_zero")]
    pub trial: u32,
    /// Which of its deadlines may have passed in frames that are lost.
    #[serde(default, skip_serializing_if = "Relived::is_none")]
    pub relived: Relived,
    #[serde(skip)]
    pub private: Option<Arc<ConvPrivate>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn few(n: &u16) -> bool {
    *n == 0
}

fn never(at: &When) -> bool {
    !at.is_some()
}

fn none<T: Empty>(all: &Rare<T>) -> bool {
    all.is_empty()
}

/// An agent who declined is passed over this long.
pub const DECLINE_MEMORY_MS: i64 = 120_000;

impl Conversation {
    /// Who let it go lately, and when.
    pub fn declines(&self) -> impl Iterator<Item = (&Name, &Timestamp)> {
        self.declined.iter().flat_map(|all| all.iter().map(|(agent, declined)| (agent, &declined.at)))
    }

    /// How an agent let it go, if they did lately.
    #[must_use]
    pub fn let_go(&self, agent: &str) -> Option<LetGo> {
        self.declined.as_ref()?.get(agent).map(|declined| declined.how)
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        self.status != ConvStatus::Closed
    }

    /// When one of ours last answered, and who. Of what was answered before this was kept, whoever has it did.
    #[must_use]
    pub fn last_answer(&self) -> Option<(Timestamp, &Name)> {
        match &self.answer {
            Some(answer) => Some((answer.at, &answer.by)),
            None => self.last_out.get().filter(|_| self.answered).zip(self.agent.as_deref()),
        }
    }

    /// The agent whose capacity it takes: its owner, or the one it is offered to.
    #[must_use]
    pub fn bearer(&self) -> Option<&Name> {
        match self.status {
            ConvStatus::Assigned => self.agent.as_deref(),
            ConvStatus::Offered => self.offer.as_ref().map(|o| &o.agent),
            _ => None,
        }
    }

    /// Somebody of ours is expected to act, so a clock runs.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        matches!(self.status, ConvStatus::Queued | ConvStatus::Offered | ConvStatus::Assigned)
    }

    /// Its deadlines, also those that mean nothing where it is now.
    pub(super) fn times(&self) -> [Option<Timestamp>; 6] {
        let step = self.next_step().map(|(at, ..)| at);
        let declined = self.declines().map(|(_, at)| at).min().map(|at| at.plus(DECLINE_MEMORY_MS));
        let warning = self.resolution.as_ref().and_then(|r| r.warn_at);
        let resolution = self.resolution_due.get().map(|due| warning.map_or(due, |w| w.min(due)));
        let (clock, offer) = (self.clock.as_ref().map(|c| c.next), self.offer.as_ref().map(|o| o.expires));
        [clock, offer, step, declined, resolution, self.wait_until.get()]
    }

    /// When something must happen to it.
    pub(super) fn deadlines(&self) -> [Option<Timestamp>; 6] {
        let queued = self.status == ConvStatus::Queued;
        let [clock, offer, step, declined, resolution, wait] = self.times();
        [
            clock.filter(|_| self.is_ours()),
            offer,
            step.filter(|_| queued),
            declined.filter(|_| queued),
            resolution.filter(|_| self.is_open()),
            wait,
        ]
    }

    /// Who alone is asked while it waits, until the next step of its overflow; empty for everybody.
    #[must_use]
    pub fn asks_first(&self) -> &[Name] {
        let waits = matches!(self.status, ConvStatus::Queued | ConvStatus::Offered);
        self.overflow.get(self.step as usize).filter(|_| waits).map_or(&[], |step| step.only.as_slice())
    }

    /// The overflow step that comes next by its time: when, and its number.
    #[must_use]
    pub fn next_step(&self) -> Option<(Timestamp, u32, &OverflowStep)> {
        let entered = self.entered_at.get()?;
        let left = (0u32..).zip(self.overflow.iter()).skip(self.step as usize);
        left.filter_map(|(n, step)| Some((entered.plus(step.after_ms?), n, step))).next()
    }

    /// The next moment at which something must happen to it.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines().into_iter().flatten().min()
    }
}

/// Only contacts with something to remember are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    pub tags: BTreeSet<Name>,
    pub merged_into: Option<ContactId>,
    #[serde(skip)]
    pub private: Option<Arc<ContactPrivate>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContactPrivate {
    pub name: Option<String>,
    pub attributes: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentState {
    pub presence: Presence,
    /// The pack's own name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<Name>,
    pub since: Timestamp,
    /// Unanswered conversations go back then.
    pub grace_until: Option<Timestamp>,
    /// Offers that lapsed in a row.
    pub lapses: u32,
    pub last_assigned: Timestamp,
    /// When they last came, were given a conversation, or were done with one.
    #[serde(default)]
    pub idle_since: Timestamp,
    /// Until then they finish what they closed, and are given nothing new.
    #[serde(default)]
    pub wrap_until: Option<Timestamp>,
    /// Which of their deadlines may have passed in frames that are lost.
    #[serde(default, skip_serializing_if = "Relived::is_none")]
    pub relived: Relived,
    /// Derived: hundredths of units borne.
    pub load: u32,
}

impl AgentState {
    /// The word for their presence: the pack's own name for it, where it has one.
    #[must_use]
    pub fn presence_word(&self) -> &str {
        self.named.as_deref().unwrap_or(self.presence.as_str())
    }

    /// Whether they are given something where only who is in one of these presences is.
    pub(crate) fn is_asked(&self, presences: &[Name]) -> bool {
        presences.is_empty() || presences.iter().any(|word| word == self.presence_word())
    }

    pub(super) fn deadlines(&self) -> [Option<Timestamp>; 2] {
        [self.grace_until, self.wrap_until]
    }

    /// When something must happen to them.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines().into_iter().flatten().min()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    pub profile: ChannelProfile,
    /// Attempts in a row that did not get through.
    pub failures: u32,
    /// While failing: when the next single probe may be released.
    pub probe_at: Option<Timestamp>,
    pub paused: Option<String>,
    /// It left the configuration.
    pub removed: bool,
    /// Derived: attempts released and unsettled.
    pub in_flight: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Behind another send of its lane.
    Waiting,
    /// May be released as soon as the channel has room.
    Ready {
        since: Timestamp,
    },
    InFlight {
        until: Timestamp,
    },
    /// A retry is due at `until`.
    Backoff {
        until: Timestamp,
    },
    /// The provider was asked; the lane is held until then.
    Reconciling {
        until: Timestamp,
    },
    /// A dead letter.
    Dead {
        reason: DeadReason,
        at: Timestamp,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SendPrivate {
    pub content: Content,
    pub to: Address,
    pub thread: String,
    pub reply_to: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<Box<MailContext>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What was said of it before its result, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<HeldDetail>,
}

/// The words of a receipt that is held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldDetail {
    /// As [`HeldPart::provider`].
    pub provider: KeyHash,
    pub status: ReceiptStatus,
    pub detail: String,
}

/// A message of ours that is not settled, or is a dead letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SendState {
    pub id: MessageId,
    pub conv: ConvId,
    pub contact: ContactId,
    pub channel: Name,
    pub author: Author,
    pub at: Timestamp,
    pub not_after: Timestamp,
    pub parts: u16,
    /// The part that is being sent, from 1.
    pub part: u16,
    /// The latest attempt at it; 0 before the first.
    pub n: u32,
    /// Retries so far, for the back-off.
    pub retries: u32,
    pub phase: Phase,
    /// When the latest attempt was released.
    pub released: Option<Timestamp>,
    /// Hashes of the provider's ids for it.
    pub provider: Vec<KeyHash>,
    /// An attempt at this part may have been taken, though it was retried since.
    #[serde(default)]
    pub maybe_sent: bool,
    /// It is of a log that lost frames: every part of it may have been sent in them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relived: bool,
    /// A rebase found it unsettled, so that attempts at it are possible which this log does not know.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doubted: bool,
    /// It tells somebody of ours at a desk.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notice: bool,
    /// Our message before it in the conversation.
    #[serde(default)]
    pub before: Option<MessageId>,
    #[serde(skip)]
    pub private: Option<Arc<SendPrivate>>,
}

impl SendState {
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Waiting | Phase::Ready { .. } => Some(self.not_after),
            Phase::InFlight { until } | Phase::Reconciling { until } => Some(until),
            Phase::Backoff { until } => Some(until.min(self.not_after)),
            Phase::Dead { .. } => None,
        }
    }

    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self.phase, Phase::Dead { .. })
    }
}

/// A message that was sent; kept for a while so that receipts find it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    pub conv: ConvId,
    pub contact: ContactId,
    pub channel: Name,
    pub status: ReceiptStatus,
    pub at: Timestamp,
    pub provider: Vec<KeyHash>,
    /// What was told of each of these ids, where there are several; empty where nobody counts.
    #[serde(default)]
    pub parts: Vec<ReceiptStatus>,
    /// When it was accepted for sending: the provider had it no earlier.
    #[serde(default)]
    pub queued_at: Timestamp,
    /// Our message before it in the conversation.
    #[serde(default)]
    pub before: Option<MessageId>,
    /// The attempt that the provider took, where that is all of the message; else 0.
    #[serde(default)]
    pub n: u32,
}

impl Settled {
    /// What was told of the part that the provider calls so; `None` where the message is one part, or none of that name.
    #[must_use]
    pub fn part(&self, provider: KeyHash) -> Option<ReceiptStatus> {
        let at = self.provider.iter().position(|p| *p == provider).filter(|_| self.provider.len() > 1)?;
        Some(self.parts.get(at).copied().unwrap_or(self.status))
    }

    /// A receipt: of one part, or of all of it.
    pub(super) fn told(&mut self, status: ReceiptStatus, of: Option<OfPart>) {
        // Where its answer was lost, the provider has it under ids that nobody knew.
        self.provider.extend(of.map(|of| of.provider).filter(|of| !self.provider.contains(of)));
        // It may have been settled before parts were counted.
        self.parts.resize(if self.provider.len() > 1 { self.provider.len() } else { 0 }, self.status);
        self.status = status;
        for (provider, part) in self.provider.iter().zip(&mut self.parts) {
            match of {
                Some(of) if of.provider == *provider => *part = of.status,
                Some(_) => {}
                None => *part = status.max(*part),
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldReceipt {
    pub channel: Name,
    pub status: ReceiptStatus,
    pub code: Option<String>,
    pub at: Timestamp,
    /// By the provider's id, where it is held for our message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<HeldPart>,
}

/// What is held of one of the ids by which a provider has a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldPart {
    pub provider: KeyHash,
    pub status: ReceiptStatus,
    pub code: Option<String>,
}

/// The order in a queue: effective priority first, then age (the younger first where the queue says so), then id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(Rust, packed(2))]
pub struct WaitKey {
    rank: i64,
    since: Timestamp,
    pub conv: ConvId,
}

/// Without `ageing` a level of priority is worth a day of waiting, so that nobody waits for ever behind those who come later.
const AGEING_MS: i64 = 86_400_000;

impl WaitKey {
    /// Since when it waits.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// A level of priority counts like `ageing` milliseconds of waiting, so the order of two never changes with time. What is
    /// normal counts by its age alone, so that queues with another `ageing` compare.
    #[must_use]
    pub fn of(c: &Conversation) -> Option<WaitKey> {
        let since = c.queued_at.get().filter(|_| c.status == ConvStatus::Queued)?;
        let level = c.priority as i64 - Priority::Normal as i64;
        let ageing = c.ageing.map_or(AGEING_MS, NonZeroI64::get);
        let waited = if ageing < 0 { -since.0 } else { since.0 };
        let rank = waited.saturating_sub(level.saturating_mul(ageing.saturating_abs()));
        Some(WaitKey { rank, since, conv: c.id })
    }

    /// What [`Conversation::ageing`] is in a queue.
    pub(super) fn ageing(queue_ms: Option<i64>, newest: bool) -> Option<NonZeroI64> {
        let ms = if newest { Some(-queue_ms.unwrap_or(AGEING_MS)) } else { queue_ms };
        ms.and_then(NonZeroI64::new)
    }

    /// Its place among the first ones of several queues: there who waited longest comes first, whatever the order within each.
    #[must_use]
    pub fn among_queues(self, newest: bool) -> WaitKey {
        let rank = if newest { self.rank.saturating_add(self.since.0.saturating_mul(2)) } else { self.rank };
        WaitKey { rank, ..self }
    }
}

/// What makes two that wait in a queue alike to assignment: whoever may take one may take the other, so only the first of them
/// need be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct WaitClass {
    /// Wanted beside the queue's.
    pub skills: Skills,
    /// Wanted instead of both.
    pub relaxed: Option<Skills>,
    pub cost: u32,
    /// Who declined it lately.
    pub declined: Vec<Name>,
    /// Only these are asked, until the next step of its overflow; empty for everybody.
    pub only: Vec<Name>,
    /// With these alike, who comes first has waited longest; shortest where `ageing` is negative.
    pub priority: Priority,
    pub ageing: Option<i64>,
    /// The trial whose pack decides it, if one may: another pack may want other skills in the same queue.
    pub trial: u32,
}

impl WaitClass {
    /// Whether this agent is asked already.
    #[must_use]
    pub fn asks(&self, agent: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == agent)
    }

    /// Whether who came last comes first.
    #[must_use]
    pub fn newest(&self) -> bool {
        self.ageing.is_some_and(|ms| ms < 0)
    }

    #[must_use]
    pub fn of(c: &Conversation) -> WaitClass {
        WaitClass {
            skills: (*c.skills).clone(),
            relaxed: c.relaxed.as_deref().cloned(),
            cost: c.cost,
            declined: c.declines().map(|(agent, _)| agent.clone()).collect(),
            only: c.asks_first().to_vec(),
            priority: c.priority,
            ageing: c.ageing.map(NonZeroI64::get),
            trial: if c.trial % 2 == 1 { c.trial } else { 0 },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Assignment goes on.
    Assign,
    Conv(ConvId),
    Send(MessageId),
    Agent(Name),
    Channel(Name),
    Join(KeyHash),
}

/// When something must happen to a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(Rust, packed(2))]
pub(super) struct Deadline(Timestamp, ConvId);

impl Deadline {
    pub fn new(at: Timestamp, conv: ConvId) -> Deadline {
        Deadline(at, conv)
    }

    pub fn at(self) -> Timestamp {
        self.0
    }

    pub fn conv(self) -> ConvId {
        self.1
    }
}

/// A longer text whose parts have not all come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Join {
    pub contact: ContactId,
    pub channel: Name,
    pub total: u16,
    /// Which parts are there, from one.
    pub numbers: BTreeSet<u16>,
    /// From when on it waits no longer.
    pub until: Timestamp,
    /// It may have ended in frames that are lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub relived: bool,
    /// The parts by their numbers.
    #[serde(skip)]
    pub private: Option<Arc<BTreeMap<u16, Message>>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_conversation_fits_the_allocators_class_of_320_bytes() {
        let counts = 2 * size_of::<usize>();
        assert!(size_of::<Conversation>() + counts <= 320, "{} bytes", size_of::<Conversation>());
    }
}
