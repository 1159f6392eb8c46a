//! The words in which events say why and how.

use crate::pack::{Name, OverflowStep, Skills};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a conversation was placed, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// A rule, by name.
    Rule(String),
    /// The pack's `default`.
    Default,
    /// The contact's last agent.
    Sticky,
    /// The queue's strategy chose.
    Strategy,
    /// An agent accepted an offer.
    Accepted,
    /// An agent answered or took it.
    Taken,
    /// A person transferred it.
    Transferred,
    /// A person transferred it to this queue, which was full.
    TransferredOn(Name),
    /// A person opened it again.
    Reopened,
    /// We wrote first.
    Started,
    /// The previous owner left, or gave it back.
    Returned,
    /// A timer: the end of a snooze, of a wait, a breached clock.
    Timer,
    /// The customer wrote again.
    CustomerWrote,
    /// A step of the queue's overflow.
    Overflow,
    /// A step of the overflow that is taken at once, because nobody was there for it.
    NobodyThere,
    /// A step of the overflow that is taken at once, for how many agents there were: `fewer than 2 were in available (1)`.
    Headcount(String),
    /// The queue or agent is not in the pack any more.
    Vanished,
    /// A reply could not be delivered.
    NotDelivered,
    /// It waits where it waited, by the order that its queue has now.
    Reordered,
}

impl Why {
    /// Whether a clock or a step moved what waited on to another queue, and nobody's hand or words.
    #[must_use]
    pub fn moves_on(&self) -> bool {
        self.is_at_once() || matches!(self, Why::Overflow | Why::Timer | Why::Vanished)
    }

    /// Whether a person put it there, or would have.
    #[must_use]
    pub fn is_transfer(&self) -> bool {
        matches!(self, Why::Transferred | Why::TransferredOn(_))
    }

    /// Whether a step of the overflow was taken that did not wait for its time.
    #[must_use]
    pub fn is_at_once(&self) -> bool {
        matches!(self, Why::NobodyThere | Why::Headcount(_))
    }
}

/// Which step of the overflow took effect, and why then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTaken {
    /// Counted from 1, as the queue or the rule has its steps; `None` where only the wait for an agent ended.
    pub number: Option<u32>,
    pub why: Why,
    /// Its time, counted from when the conversation entered the queue.
    pub after_ms: Option<i64>,
    /// Until then nobody but these was asked, as a rule named them.
    pub only: Vec<Name>,
}

/// What happened to a conversation, on which rules can follow up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// An agent has it who did not have it before.
    Assigned,
    /// A person of ours answered.
    Answered,
    /// A person of ours closed it.
    Closed,
    /// A note was added.
    Noted,
    /// Somebody of ours changed its tags, its priority or its attributes.
    Changed,
    /// A person of ours put it into a queue in which it did not wait.
    Moved,
    /// Its snooze ended, and nobody had ended it before.
    Returned,
}

impl Happening {
    pub(crate) const ALL: [Happening; 7] = [
        Happening::Assigned,
        Happening::Answered,
        Happening::Closed,
        Happening::Noted,
        Happening::Changed,
        Happening::Moved,
        Happening::Returned,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Happening::Assigned => "assigned",
            Happening::Answered => "answered",
            Happening::Closed => "closed",
            Happening::Noted => "noted",
            Happening::Changed => "changed",
            Happening::Moved => "moved",
            Happening::Returned => "returned",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Happening> {
        Happening::ALL.into_iter().find(|on| on.as_str() == word)
    }
}

/// How the trial of a pack ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CanaryEnd {
    /// Somebody stopped it.
    Stopped,
    /// What was tried is in force.
    Promoted,
    /// Another pack came in force, or is tried.
    Replaced,
    /// A roll-back took it back.
    RolledBack,
    /// The pack could not be read by the router that began to lead.
    Unreadable,
}

impl CanaryEnd {
    /// The word for it in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CanaryEnd::Stopped => "stopped",
            CanaryEnd::Promoted => "promoted",
            CanaryEnd::Replaced => "replaced",
            CanaryEnd::RolledBack => "rolled_back",
            CanaryEnd::Unreadable => "unreadable",
        }
    }
}

/// Why an agent was passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PassedOver {
    Away,
    Offline,
    /// They are in a presence of the pack's own, or in one that the queue does not ask: its name, and what it counts as.
    Presence {
        name: Name,
        counts_as: Presence,
    },
    /// Load and capacity in hundredths of a unit.
    Capacity {
        load: u32,
        capacity: u32,
    },
    MissingSkill(Name),
    /// They have the skill, at a lower level than is wanted.
    LowSkill {
        skill: Name,
        level: u8,
        wanted: u8,
    },
    Declined,
    /// An offer to them ran out lately.
    Lapsed,
    /// They had it until somebody moved it lately.
    GaveAway,
    /// Others are asked first, by name.
    NotYet,
    /// They finish what they closed.
    WrappingUp,
    /// Another agent was preferred by the strategy.
    LessPreferred,
    /// Another agent was preferred by this skill, of which they have less, or more than is asked first.
    Skilled {
        skill: Name,
        less: bool,
    },
}

/// Who was considered for a conversation: at most 20 by name, the rest by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Considered {
    pub chosen: Option<Name>,
    pub passed: Vec<(Name, PassedOver)>,
    pub others: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfferEnd {
    Accepted,
    Declined,
    TimedOut,
    /// The conversation went elsewhere, or the agent left.
    Withdrawn,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    Available,
    Away,
    #[default]
    Offline,
}

impl Presence {
    pub const ALL: [Presence; 3] = [Presence::Available, Presence::Away, Presence::Offline];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Presence::Available => "available",
            Presence::Away => "away",
            Presence::Offline => "offline",
        }
    }

    #[must_use]
    pub fn parse(s: &str) -> Option<Presence> {
        Presence::ALL.into_iter().find(|p| p.as_str() == s)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockKind {
    FirstResponse,
    NextResponse,
    /// The default clock of a queue without an SLA.
    Waiting,
    Resolution,
}

/// Why a send ended without being accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// The provider refused it for good.
    Rejected,
    /// It may have been sent; only a person can decide to send it again.
    Unknown,
    /// `not_after` passed before the provider took it.
    Expired,
    /// The channel left the configuration.
    ChannelRemoved,
    /// The provider took it and said later that it will not arrive.
    Failed,
}

impl DeadReason {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DeadReason::Rejected => "rejected",
            DeadReason::Unknown => "unknown",
            DeadReason::Expired => "expired",
            DeadReason::ChannelRemoved => "channel_removed",
            DeadReason::Failed => "failed",
        }
    }
}

/// Why an automatic reply was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoReply {
    /// A machine wrote the message.
    Automatic,
    ConversationBudget,
    /// Those before it were each answered at once, or with the same words: another machine answers us.
    PingPong,
    AddressBudget,
    OptedOut,
    /// Something else was said to the customer at the same time.
    Answered,
    /// The template needs a value that is missing, or comes to no text.
    Template,
    TooLong,
    /// The channel is not configured any more.
    NoChannel,
    /// The message came before the log was rebased: it may have been answered.
    Rebased,
    /// The message is one that must not be answered automatically, such as one to a list.
    Unwanted,
    /// A rule that follows up: what was written last may not be answered by a machine.
    Quiet,
    /// The sender of a letter was disproved, and an answer would go to whom it names.
    Disproved,
    /// Somebody else than the conversation's customer wrote, and an answer would go to the customer.
    Guest,
    /// The provider takes no answer so long after the message.
    OutsideWindow,
}

/// Where rules, or the pack's default, let a conversation wait, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// None where it is the one in which the conversation waits already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Name>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skills: Skills,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Vec<OverflowStep>>,
}

/// The router's answer to a command, as the API gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// A stable word for programs, such as `owned`; empty on success.
    #[serde(default)]
    pub code: String,
    /// A sentence for people; never a customer's text.
    #[serde(default)]
    pub detail: String,
    /// What was made or touched: `conversation`, `message`, `contact`, `offer`.
    #[serde(default)]
    pub ids: BTreeMap<String, String>,
}
