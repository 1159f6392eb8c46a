//! What history keeps of each thing, as readers get it.

use crate::log::Seq;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use switchboard_envelope::{Address, Attachment, Choice, ConsentState, SenderProof, Timestamp};
use switchboard_routing_rules::event::{
    ClockKind, Considered, DeadReason, DecidedMessage, Happening, KeyHash, NoReply, StepTaken, Why,
};
use switchboard_routing_rules::ids::{ContactId, ConvId, MessageId, OfferId};
use switchboard_routing_rules::pack::{ConvStatus, Name, Priority, SeenState, Skills};

/// The clock that runs for a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    pub kind: ClockKind,
    pub due: Timestamp,
    pub warned: bool,
    pub breached: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastMessage {
    /// At most [`LAST_TEXT`] characters.
    pub text: String,
    pub inbound: bool,
    pub at: Timestamp,
    /// What became of it.
    pub status: Option<Status>,
    /// As [`Message::sender_proof`] of the newest that the customer wrote; what a machine or a guest wrote changes nothing of it.
    pub sender_proof: Option<SenderProof>,
}

/// How much of the newest message a list shows.
pub const LAST_TEXT: usize = 280;

/// An offer that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferRow {
    pub id: OfferId,
    pub conversation: ConvId,
    pub agent: Name,
    pub expires: Timestamp,
}

/// A conversation as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    /// The place of its opening in the transcript numbering; lists are sorted by it.
    pub seq: u64,
    pub id: ConvId,
    pub contact: ContactId,
    pub channel: Name,
    pub kind: String,
    pub thread_hash: KeyHash,
    /// The provider's thread; absent once erased.
    pub thread: Option<String>,
    pub address: Option<Address>,
    pub subject: Option<String>,
    pub ours: bool,
    pub opened_at: Timestamp,
    pub updated_at: Timestamp,
    pub state: ConvStatus,
    pub queue: Option<Name>,
    pub agent: Option<Name>,
    pub priority: Priority,
    pub tags: BTreeSet<Name>,
    pub attributes: BTreeMap<String, String>,
    pub queued_at: Option<Timestamp>,
    pub clock: Option<Clock>,
    pub resolution_due: Option<Timestamp>,
    pub offer: Option<OfferRow>,
    pub last: Option<LastMessage>,
    /// As the customer's newest message has it, also where something of ours is shown.
    pub sender_proof: Option<SenderProof>,
    /// It is our side's turn to answer.
    pub ours_to_answer: bool,
    pub snoozed_until: Option<Timestamp>,
    pub pending_until: Option<Timestamp>,
    pub closed_at: Option<Timestamp>,
    pub messages: u32,
    /// The place of the customer's newest message.
    pub last_inbound: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
    Note,
    Event,
    /// What people of ours were told at a desk.
    Notice,
}

impl Direction {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
            Direction::Note => "note",
            Direction::Event => "event",
            Direction::Notice => "notice",
        }
    }

    pub(super) fn column(self) -> i64 {
        match self {
            Direction::In => 0,
            Direction::Out => 1,
            Direction::Note => 2,
            Direction::Event => 3,
            Direction::Notice => 4,
        }
    }

    pub(super) fn of_column(column: i64) -> Direction {
        match column {
            0 => Direction::In,
            1 => Direction::Out,
            2 => Direction::Note,
            4 => Direction::Notice,
            _ => Direction::Event,
        }
    }
}

/// Who wrote a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Contact,
    Agent(Name),
    /// A person or a program that spoke for no agent, by the name of its API token.
    Token(Name),
    /// An automatic reply, by rule.
    Auto(String),
    System,
    /// Somebody of ours, in the provider's own tool.
    Elsewhere,
}

/// The state of a message. A late, older status never overwrites a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Received,
    Queued,
    Sending,
    /// It may have been sent.
    Unknown,
    /// The provider took it.
    Accepted,
    Delivered,
    Read,
    /// The provider refused it for good.
    Rejected,
    /// The provider took it, and said later that it will not arrive.
    Failed,
    /// Given up for another reason: its time passed, or its channel is gone.
    Dead,
}

impl Status {
    pub(super) const ALL: [Status; 10] = [
        Status::Received,
        Status::Queued,
        Status::Sending,
        Status::Unknown,
        Status::Accepted,
        Status::Delivered,
        Status::Read,
        Status::Rejected,
        Status::Failed,
        Status::Dead,
    ];

    /// How the file writes it.
    pub(super) fn code(self) -> u8 {
        Status::ALL.iter().position(|s| *s == self).and_then(|n| u8::try_from(n).ok()).unwrap_or(u8::MAX)
    }

    pub(super) fn of_code(code: u8) -> Status {
        Status::ALL.get(usize::from(code)).copied().unwrap_or(Status::Unknown)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Received => "received",
            Status::Queued => "queued",
            Status::Sending => "sending",
            Status::Unknown => "unknown",
            Status::Accepted => "accepted",
            Status::Delivered => "delivered",
            Status::Read => "read",
            Status::Rejected => "rejected",
            Status::Failed => "failed",
            Status::Dead => "dead",
        }
    }

    /// How far a message is on its way. Attempts may go back and forth below `Accepted`; from there statuses only grow.
    pub(super) fn rank(self) -> u8 {
        match self {
            Status::Received | Status::Queued => 0,
            Status::Sending | Status::Unknown => 1,
            Status::Accepted => 2,
            Status::Delivered => 3,
            Status::Read => 4,
            Status::Rejected | Status::Failed | Status::Dead => 5,
        }
    }
}

/// What changed by itself how a conversation waits, and where: nobody's hand, and no word of its customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A step of the overflow, where it waited in this queue; which one, where LOG says so.
    Step {
        queue: Option<Name>,
        taken: Option<StepTaken>,
    },
    Warned(ClockKind),
    Breached(ClockKind),
    /// Rules that follow up.
    Rules(Vec<String>),
    /// The queue for which it was had all that may wait in it.
    Full,
}

/// Something that happened to a conversation, as a line of its transcript.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// `assigned`, `queued`, `prioritised`, `relaxed`, `closed`, `reopened`, `snoozed`, `breached`, `followed_up`, `not_replied`,
    /// `opted_in`, `opted_out`, `older_gone`; of a notice `told`.
    pub what: String,
    pub agent: Option<Name>,
    pub queue: Option<Name>,
    pub why: Option<Why>,
    pub until: Option<Timestamp>,
    /// Of a notice: where it was told.
    #[serde(default)]
    pub desk: Option<Name>,
    /// Why a rule's answer was not sent.
    #[serde(default)]
    pub no_reply: Option<NoReply>,
    #[serde(default)]
    pub cause: Option<Cause>,
    /// Who of ours did it.
    #[serde(default)]
    pub by: Option<Name>,
    /// From whom it was taken.
    #[serde(default)]
    pub from: Option<Name>,
    /// The priority before and after.
    #[serde(default)]
    pub priority: Option<(Priority, Priority)>,
    /// What a step left of the skills that it wants.
    #[serde(default)]
    pub skills: Option<Skills>,
    /// On what rules followed up.
    #[serde(default)]
    pub on: Option<Happening>,
}

/// One item of a transcript.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its place in the transcript: [`super::message_seq`] of its event.
    pub seq: u64,
    /// A message's id, or `e` with the place for an event line.
    pub id: String,
    pub conversation: ConvId,
    /// The place of the conversation's opening.
    pub conversation_seq: u64,
    pub direction: Direction,
    pub author: Who,
    /// Absent for event lines, and once erased.
    pub text: Option<String>,
    pub subject: Option<String>,
    pub attachments: Vec<Attachment>,
    pub choice: Option<Choice>,
    /// What the customer was given to choose from.
    pub choices: Vec<Choice>,
    pub at: Timestamp,
    pub status: Option<Status>,
    pub code: Option<String>,
    pub detail: Option<String>,
    pub to: Option<Address>,
    /// The id that the customer's client gave it (web chat).
    pub client_id: Option<String>,
    pub resends: Option<MessageId>,
    pub event: Option<EventLine>,
    /// The customer is who they say, nobody proved it, or it was somebody else; absent where the channel cannot tell.
    pub sender_proof: Option<SenderProof>,
}

/// Who was considered for a conversation, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Considering {
    pub at: Timestamp,
    /// Who was chosen; `None` where nobody could take it.
    pub agent: Option<Name>,
    pub offered: bool,
    pub why: Option<Why>,
    pub considered: Considered,
    /// Who of ours gave it to them, where it was not they who took it.
    #[serde(default)]
    pub by: Option<Name>,
    /// Whose it was until then.
    #[serde(default)]
    pub from: Option<Name>,
}

/// What a decision did, as its events say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FactsOutcome {
    pub queue: Option<Name>,
    pub agent: Option<Name>,
    pub priority: Option<Priority>,
    pub tags: BTreeSet<Name>,
    /// Ids of the automatic replies, with their rule.
    pub replies: Vec<(String, String)>,
    pub closed: bool,
    pub snoozed_until: Option<Timestamp>,
    /// Ids of the notices, with their desk.
    #[serde(default)]
    pub notices: Vec<(String, Name)>,
    /// Why it was put in that queue.
    #[serde(default)]
    pub placed: Option<Why>,
}

/// What a decision saw, from which it can be explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub pack: String,
    pub at: Timestamp,
    pub hits: Vec<String>,
    pub place: Option<Why>,
    /// Absent once erased.
    pub seen: Option<SeenState>,
    pub message: Option<DecidedMessage>,
    pub from: Option<Address>,
    pub considering: Vec<Considering>,
    pub not_replied: Vec<(String, NoReply)>,
    pub outcome: FactsOutcome,
}

/// A customer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    pub id: ContactId,
    pub name: Option<String>,
    pub identities: BTreeSet<String>,
    pub tags: BTreeSet<Name>,
    pub attributes: BTreeMap<String, String>,
    /// By channel.
    pub consent: BTreeMap<Name, ConsentState>,
    pub merged_into: Option<ContactId>,
}

/// A contact beside a conversation.
pub type ContactBrief = Contact;

/// A message of ours that was not accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    pub seq: u64,
    pub reason: DeadReason,
    pub at: Timestamp,
    pub message: Message,
    pub channel: Name,
}

/// What a list of conversations is narrowed by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConversationFilter {
    /// Any of these; empty is all.
    pub states: Vec<ConvStatus>,
    pub queue: Option<Name>,
    pub agent: Option<Name>,
    pub channel: Option<Name>,
    /// Any of these; empty is all.
    pub contacts: Vec<ContactId>,
}

impl Contact {
    pub(super) fn new(id: ContactId) -> Contact {
        Contact {
            id,
            name: None,
            identities: BTreeSet::new(),
            tags: BTreeSet::new(),
            attributes: BTreeMap::new(),
            consent: BTreeMap::new(),
            merged_into: None,
        }
    }
}

impl Message {
    /// Without its ids in text form, and not yet in a transcript.
    pub(super) fn new(conversation: ConvId, direction: Direction, author: Who, at: Timestamp) -> Message {
        Message {
            seq: 0,
            id: String::new(),
            conversation,
            conversation_seq: 0,
            direction,
            author,
            text: None,
            subject: None,
            attachments: vec![],
            choice: None,
            choices: vec![],
            at,
            status: None,
            code: None,
            detail: None,
            to: None,
            client_id: None,
            resends: None,
            event: None,
            sender_proof: None,
        }
    }

    /// The frame that made it.
    #[must_use]
    pub fn frame(&self) -> Seq {
        self.seq / super::PLACES_PER_FRAME
    }
}
