//! What a decision says happened. An event has a public part (ids, names that operators chose, numbers, times) and at most
//! one private part, which holds all that came from a person and is sealed under the contact's key. No public field depends
//! on a private one: folding without the key gives the same public state as folding with it.

mod private;
mod words;

pub use private::{DecidedMessage, Private, ReceivedMail};
pub use words::{
    CanaryEnd, Chosen, ClockKind, Considered, DeadReason, Happening, NoReply, OfferEnd, PassedOver, Presence, Reply,
    StepTaken, Why,
};

use crate::ids::{ContactId, ConvId, MessageId, OfferId};
use crate::pack::{ConvStatus, Name, OverflowStep, Priority, Skills};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use switchboard_envelope::{Author, ChannelProfile, ConsentState, Outcome, ReceiptStatus, Timestamp};

/// What was told of one of the ids by which a provider has a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfPart {
    pub provider: KeyHash,
    pub status: ReceiptStatus,
}

/// A 128-bit keyed hash, of an event id, a provider's id or an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(Rust, packed(2))]
pub struct KeyHash(pub u128);

impl Serialize for KeyHash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(&{ self.0 }.to_be_bytes())
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> serde::de::Visitor<'de> for V {
            type Value = KeyHash;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("16 bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, v: &[u8]) -> Result<KeyHash, E> {
                v.try_into().map(|b| KeyHash(u128::from_be_bytes(b))).map_err(|_| E::invalid_length(v.len(), &self))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<KeyHash, A::Error> {
                let mut n = 0u128;
                for i in 0..16 {
                    let b: u8 = seq.next_element()?.ok_or_else(|| serde::de::Error::invalid_length(i, &self))?;
                    n = (n << 8) | u128::from(b);
                }
                Ok(KeyHash(n))
            }
        }
        d.deserialize_bytes(V)
    }
}

/// One event with its private part.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub public: Public,
    pub private: Option<(ContactId, Private)>,
}

impl From<Public> for Event {
    fn from(public: Public) -> Event {
        Event { public, private: None }
    }
}

/// The public part. Enum values are written by name, so that a reader meets an unknown one as an error, never as another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Public {
    /// A router leads. From here the pack and the channel table are these.
    Led {
        now: Timestamp,
        incarnation: u64,
    },
    /// The log is not the one that was written last: an older copy was put back, or it was moved. What was on its way may have
    /// been sent, and what came before this gets no automatic reply.
    Rebased {
        /// Each has a higher one than all before it that anybody knew of, also in frames that are lost.
        #[serde(default)]
        number: u64,
        at: Timestamp,
        /// The frame that says so, so that whoever read another one in its place knows.
        frame: u64,
        /// Where IN is read on: after the last record that is the one that was decided.
        cursor: u64,
        cursor_at: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cursor_id: Option<KeyHash>,
        /// IN's end: what is up to here came before.
        #[serde(default)]
        inn: u64,
        /// OUT's end; what is up to here is not sent any more.
        out: u64,
        /// Frames were lost: also what was not released, as far as this log says, may have been sent.
        cut: bool,
        why: String,
    },
    /// An input of IN was decided: the cursor moves, and its id is remembered unless it was a duplicate.
    Consumed {
        seq: u64,
        stored_at: Timestamp,
        now: Timestamp,
        id: Option<KeyHash>,
        duplicate: bool,
    },
    /// Time moved without an input of IN.
    Ticked {
        now: Timestamp,
        /// What is decided then may have been decided in frames that are lost.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        relived: bool,
    },
    /// The log's clock had been ahead: `now` goes back to it, and every later time with it.
    TimeSetBack {
        now: Timestamp,
    },
    /// A record of IN that could not be understood; its bytes stay readable there.
    Quarantined {
        seq: u64,
        channel: Name,
        reason: String,
        at: Timestamp,
    },
    /// A quarantined record was read again, or given up.
    QuarantineReleased {
        seq: u64,
    },
    PackInForce {
        hash: String,
    },
    /// A pack is tried on a share of the new conversations from here on; or the share of the one that is tried is another.
    CanaryBegan {
        pack: String,
        percent: u8,
        at: Timestamp,
    },
    CanaryEnded {
        at: Timestamp,
        how: CanaryEnd,
    },
    ChannelsInForce {
        channels: BTreeMap<Name, ChannelProfile>,
    },
    ChannelHealth {
        channel: Name,
        failures: u32,
        probe_at: Option<Timestamp>,
        paused: Option<String>,
    },
    Opened {
        conv: ConvId,
        contact: ContactId,
        channel: Name,
        thread: KeyHash,
        at: Timestamp,
        ours: bool,
        /// Which pack of a trial decides it; 0 outside of one.
        #[serde(default, skip_serializing_if = "is_zero")]
        trial: u32,
    },
    /// `provider` is the hash of the provider's id, by which later messages may refer to this one.
    Received {
        conv: ConvId,
        message: MessageId,
        at: Timestamp,
        automatic: bool,
        provider: Option<KeyHash>,
        /// No machine may answer it, though no machine wrote it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        quiet: bool,
    },
    /// The provider's files of a message were fetched, or could not be.
    FilesFetched {
        conv: ConvId,
        message: MessageId,
    },
    /// The rules ran for a message.
    Decided {
        conv: ConvId,
        message: MessageId,
        pack: String,
        hits: Vec<String>,
        place: Option<Why>,
        /// The place that they chose, where it goes there: what moves it from there stands when they choose the same again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        chosen: Option<Box<Chosen>>,
        /// The priority that they chose, where it is another than the time before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<Priority>,
    },
    /// Rules followed up on what people of ours did.
    FollowedUp {
        conv: ConvId,
        on: Happening,
        pack: String,
        hits: Vec<String>,
    },
    Tagged {
        conv: ConvId,
        add: BTreeSet<Name>,
        remove: BTreeSet<Name>,
    },
    Prioritised {
        conv: ConvId,
        priority: Priority,
        /// Who of ours changed it; what a step, a clock or rules did follows in LOG on what says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Name>,
    },
    AttributesSet {
        conv: ConvId,
    },
    /// Waits in a queue since `since`; `entered` is when it entered this queue. Skills and overflow are what it brings.
    Queued {
        conv: ConvId,
        queue: Name,
        since: Timestamp,
        entered: Timestamp,
        skills: Skills,
        /// The steps that take effect while it waits here, counted from `entered`.
        overflow: Vec<OverflowStep>,
        /// Waiting this long is worth one priority level.
        ageing: Option<i64>,
        /// Who came last comes first.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        newest: bool,
        why: Why,
        /// Who of ours put it there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Name>,
    },
    /// An overflow step took effect.
    Relaxed {
        conv: ConvId,
        step: u32,
        skills: Option<Skills>,
        /// It did not wait for its time, so who declined it just now is not asked again for it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        at_once: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        taken: Option<Box<StepTaken>>,
    },
    Offered {
        conv: ConvId,
        offer: OfferId,
        agent: Name,
        expires: Timestamp,
        considered: Considered,
    },
    OfferEnded {
        conv: ConvId,
        offer: OfferId,
        agent: Name,
        how: OfferEnd,
    },
    Assigned {
        conv: ConvId,
        agent: Name,
        why: Why,
        considered: Considered,
        /// Who of ours gave it to them, where it was not they who took it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Name>,
    },
    /// Nobody could take it when it came to wait; why is part of the explanation.
    NobodyFree {
        conv: ConvId,
        considered: Considered,
    },
    /// Agents who declined it some time ago may be asked again.
    DeclinesForgotten {
        conv: ConvId,
        before: Timestamp,
    },
    /// So many automatic replies in a row were each answered as machines answer.
    PingPong {
        conv: ConvId,
        replies: u16,
    },
    Pending {
        conv: ConvId,
        until: Timestamp,
    },
    Snoozed {
        conv: ConvId,
        until: Timestamp,
        /// So much open time is left until somebody must be answered; the clock goes on with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<i64>,
    },
    Closed {
        conv: ConvId,
        by: Option<Name>,
        reopen_until: Timestamp,
    },
    Reopened {
        conv: ConvId,
        why: Why,
    },
    /// It leaves the state; history keeps it.
    Forgotten {
        conv: ConvId,
        /// Until then the contact's next conversation prefers the agent of this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sticky_until: Option<Timestamp>,
    },
    ClockSet {
        conv: ConvId,
        clock: ClockKind,
        due: Timestamp,
        warn_at: Option<Timestamp>,
    },
    ClockStopped {
        conv: ConvId,
    },
    ClockWarned {
        conv: ConvId,
        clock: ClockKind,
    },
    /// `again` is when the clock is looked at again, so that a breached conversation keeps one.
    ClockBreached {
        conv: ConvId,
        clock: ClockKind,
        again: Timestamp,
    },
    /// The clock of a breached conversation was looked at again.
    StillBreached {
        conv: ConvId,
        clock: ClockKind,
        again: Timestamp,
    },
    ResolutionDue {
        conv: ConvId,
        due: Option<Timestamp>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warn_at: Option<Timestamp>,
    },
    /// Nobody of ours is expected to act: so much open time is left.
    ResolutionStopped {
        conv: ConvId,
        left: i64,
    },
    /// A notice of a log from before there were desks; now a notice is a send of its own.
    Notified {
        conv: ConvId,
        desk: Name,
    },
    NoteAdded {
        conv: ConvId,
        message: MessageId,
        agent: Option<Name>,
        /// By which token it was written, where no agent wrote it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Name>,
        at: Timestamp,
    },

    /// A message of ours was accepted for sending. On a push channel it is sent by being in the log.
    SendQueued {
        conv: ConvId,
        message: MessageId,
        channel: Name,
        author: Author,
        at: Timestamp,
        not_after: Timestamp,
        push: bool,
        /// The send that this one repeats.
        resends: Option<MessageId>,
        /// It was decided before, in frames that are lost: each part of it may have been sent.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        relived: bool,
        /// For that it is not released.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        doubted: bool,
        /// It tells somebody of ours at a desk (`channel`), and the customer nothing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        notice: bool,
        /// The provider's calls that it needs, one after the other.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        parts: u16,
    },
    /// An attempt goes to OUT.
    Released {
        conv: ConvId,
        message: MessageId,
        part: u16,
        n: u32,
        until: Timestamp,
    },
    AttemptEnded {
        conv: ConvId,
        message: MessageId,
        part: u16,
        n: u32,
        outcome: Outcome,
        code: Option<String>,
        /// When the next attempt may be released.
        retry_at: Option<Timestamp>,
        /// Hashes of the provider's ids, by which receipts find the message.
        provider: Vec<KeyHash>,
    },
    /// The wait before a retry is over.
    RetryDue {
        conv: ConvId,
        message: MessageId,
    },
    /// The provider is asked what became of an attempt.
    Reconciling {
        conv: ConvId,
        message: MessageId,
        part: u16,
        n: u32,
        until: Timestamp,
    },
    /// The last part was accepted.
    Sent {
        conv: ConvId,
        message: MessageId,
        at: Timestamp,
    },
    Dead {
        conv: ConvId,
        message: MessageId,
        reason: DeadReason,
        at: Timestamp,
    },
    /// A dead letter was given up or replaced.
    DeadCleared {
        conv: ConvId,
        message: MessageId,
        resent: Option<MessageId>,
    },
    /// What the channel said later. Statuses only move forward.
    Receipt {
        conv: ConvId,
        message: MessageId,
        status: ReceiptStatus,
        code: Option<String>,
        at: Timestamp,
        /// Which part it is about, where the provider has the message in several; `status` is what the whole has come to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        of: Option<OfPart>,
    },
    /// A receipt came before the result that names its message; it is held for a while.
    ReceiptHeld {
        provider: KeyHash,
        channel: Name,
        status: ReceiptStatus,
        code: Option<String>,
        at: Timestamp,
        /// The provider's id, where `provider` is the key of our message: others of its ids may be told of meanwhile.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        of: Option<KeyHash>,
        /// Our message, where it is known and something was said of it in words: they are kept with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<MessageId>,
    },
    NotReplied {
        conv: ConvId,
        message: MessageId,
        rule: String,
        why: NoReply,
    },
    /// A part of a longer text came, and waits for the others.
    PartKept {
        key: KeyHash,
        contact: ContactId,
        channel: Name,
        number: u16,
        total: u16,
        until: Timestamp,
    },
    /// What came of the parts is read as one message.
    PartsJoined {
        key: KeyHash,
    },
    ConsentChanged {
        contact: ContactId,
        identity: KeyHash,
        channel: Name,
        state: ConsentState,
    },
    /// An opt-out that the provider holds as well: no consent of ours undoes it.
    OptOutKept {
        identity: KeyHash,
        channel: Name,
    },
    /// Somebody of ours changed the consent of a conversation's customer.
    ConsentByHand {
        conv: ConvId,
        state: ConsentState,
        by: Name,
    },
    ContactTouched {
        contact: ContactId,
        tags: Option<BTreeSet<Name>>,
    },
    ContactMerged {
        into: ContactId,
        from: ContactId,
    },
    Blocked {
        identity: KeyHash,
        channel: Name,
        /// Whose address it is, by whom it is found again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contact: Option<ContactId>,
    },
    /// Somebody of ours lets the address be heard again.
    Unblocked {
        identity: KeyHash,
        channel: Name,
        by: Name,
    },
    BudgetSpent {
        identity: KeyHash,
        day: i64,
    },

    PresenceChanged {
        agent: Name,
        presence: Presence,
        /// The pack's own name for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        named: Option<Name>,
        at: Timestamp,
        lapsed: bool,
    },
    /// An agent left; what is unanswered goes back at `until`.
    GraceBegan {
        agent: Name,
        until: Timestamp,
    },
    /// Offers that lapsed in a row.
    Lapsed {
        agent: Name,
        count: u32,
    },
    /// An agent finishes what they closed, or is done with that.
    WrapUp {
        agent: Name,
        until: Option<Timestamp>,
    },
    /// More could be assigned than one decision may: it goes on then.
    AssignAgain {
        at: Option<Timestamp>,
    },

    /// Customer's client confirmed pushed messages up to this sequence.
    Confirmed {
        channel: Name,
        thread: KeyHash,
        up_to: u64,
        read: bool,
        at: Timestamp,
    },
    Answered {
        command: KeyHash,
        body: Option<String>,
        reply: Reply,
    },
    /// An input changed nothing, for this reason.
    Ignored {
        reason: String,
    },
}

fn one() -> u16 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(crate) fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_one(n: &u16) -> bool {
    *n == 1
}

impl Public {
    /// The format of frames that knows this kind of event. A kind that is added later is of a later format, which is written
    /// only once an operator has raised `log.format`; until then `decide` does without it.
    #[must_use]
    pub fn format(&self) -> u16 {
        1
    }

    /// The conversation that the event belongs to.
    #[must_use]
    pub fn conversation(&self) -> Option<ConvId> {
        use Public as P;
        match self {
            P::Opened { conv, .. }
            | P::Received { conv, .. }
            | P::FilesFetched { conv, .. }
            | P::Decided { conv, .. }
            | P::FollowedUp { conv, .. }
            | P::Tagged { conv, .. }
            | P::Prioritised { conv, .. }
            | P::AttributesSet { conv }
            | P::Queued { conv, .. }
            | P::Relaxed { conv, .. }
            | P::Offered { conv, .. }
            | P::OfferEnded { conv, .. }
            | P::Assigned { conv, .. }
            | P::NobodyFree { conv, .. }
            | P::DeclinesForgotten { conv, .. }
            | P::PingPong { conv, .. }
            | P::Pending { conv, .. }
            | P::Snoozed { conv, .. }
            | P::Closed { conv, .. }
            | P::Reopened { conv, .. }
            | P::Forgotten { conv, .. }
            | P::ClockSet { conv, .. }
            | P::ClockStopped { conv }
            | P::ClockWarned { conv, .. }
            | P::ClockBreached { conv, .. }
            | P::ResolutionDue { conv, .. }
            | P::ResolutionStopped { conv, .. }
            | P::StillBreached { conv, .. }
            | P::Notified { conv, .. }
            | P::NoteAdded { conv, .. }
            | P::SendQueued { conv, .. }
            | P::Released { conv, .. }
            | P::AttemptEnded { conv, .. }
            | P::RetryDue { conv, .. }
            | P::Reconciling { conv, .. }
            | P::Sent { conv, .. }
            | P::Dead { conv, .. }
            | P::DeadCleared { conv, .. }
            | P::Receipt { conv, .. }
            | P::ConsentByHand { conv, .. }
            | P::NotReplied { conv, .. } => Some(*conv),
            _ => None,
        }
    }
}

/// A conversation's place after an event, for lists and streams.
#[must_use]
pub fn status_after(public: &Public) -> Option<ConvStatus> {
    match public {
        Public::Queued { .. } => Some(ConvStatus::Queued),
        Public::Offered { .. } => Some(ConvStatus::Offered),
        Public::Assigned { .. } => Some(ConvStatus::Assigned),
        Public::Pending { .. } => Some(ConvStatus::Pending),
        Public::Snoozed { .. } => Some(ConvStatus::Snoozed),
        Public::Closed { .. } => Some(ConvStatus::Closed),
        _ => None,
    }
}
