//! The validated pack: every name in it exists, every duration is milliseconds, every pattern is compiled.

use crate::event::Presence;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};

/// Ids of queues, agents, desks, channels and replies are short operator-chosen names.
pub type Name = String;

/// Capacity, cost and load in hundredths of a unit.
pub type Units = u32;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
    Urgent,
}

impl Priority {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
            Priority::Urgent => "urgent",
        }
    }

    #[must_use]
    pub fn parse(s: &str) -> Option<Priority> {
        [Priority::Low, Priority::Normal, Priority::High, Priority::Urgent].into_iter().find(|p| p.as_str() == s)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    RoundRobin,
    #[default]
    LeastLoaded,
    LongestIdle,
}

/// An agent's level of a skill puts them before others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefer {
    pub skill: Name,
    /// Who has the least of it comes first, and who has none of it before them; else who has the most.
    pub least: bool,
    /// Of those who have the least first: who has none of it comes last.
    pub none_last: bool,
}

/// Wanted or held skills with their level, 1 and up.
pub type Skills = BTreeMap<Name, u8>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    pub skills: Skills,
    pub sla: Sla,
    /// The clock runs only while these hours are open.
    pub hours: Option<Name>,
    pub strategy: Strategy,
    /// Who is asked first by their skills; the strategy chooses among those who are alike in them.
    pub prefer: Vec<Prefer>,
    /// Prefer the contact's last agent this long after they last answered.
    pub sticky_ms: Option<i64>,
    /// Offers time out after this; `None` assigns without asking.
    pub offer_timeout_ms: Option<i64>,
    /// Waiting this long is worth one priority level.
    pub ageing_ms: Option<i64>,
    /// Who came last is given away first.
    pub newest: bool,
    /// Only who is in one of these presences is given anything, in order; empty for whoever is available.
    pub presence: Vec<Name>,
    pub overflow: Vec<OverflowStep>,
    /// A new message this long after closing reopens; `None` is the default of 72 hours, `Some(0)` never reopens.
    pub reopen_ms: Option<i64>,
    /// After a conversation closed its agent is given nothing new for this long.
    pub wrap_up_ms: Option<i64>,
    /// What stands below the mails that leave from here.
    pub signature: Option<String>,
    pub limit: Option<Limit>,
}

/// How many may wait in a queue, and where the next ones wait instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    pub waiting: u32,
    pub queue: Name,
}

/// Which presences there are, and how absences are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presences {
    /// An agent who went offline may come back within this before conversations are given back.
    pub grace_ms: i64,
    /// Offers that may lapse in a row before the agent is away.
    pub lapses: u32,
    /// Names of the pack's own, and what each counts as.
    pub names: BTreeMap<Name, Presence>,
}

impl Default for Presences {
    fn default() -> Presences {
        Presences { grace_ms: 60_000, lapses: 3, names: BTreeMap::new() }
    }
}

impl Presences {
    /// What a word for a presence counts as, and the word if it is one of the pack's own.
    #[must_use]
    pub fn find(&self, word: &str) -> Option<(Presence, Option<Name>)> {
        let own = || self.names.get(word).map(|presence| (*presence, Some(word.to_owned())));
        Presence::parse(word).map(|presence| (presence, None)).or_else(own)
    }

    /// All words, those that every pack knows first.
    pub fn words(&self) -> impl Iterator<Item = (&str, Presence)> {
        let own = self.names.iter().map(|(name, presence)| (name.as_str(), *presence));
        Presence::ALL.into_iter().map(|presence| (presence.as_str(), presence)).chain(own)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sla {
    pub first_response_ms: Option<i64>,
    pub next_response_ms: Option<i64>,
    pub resolution_ms: Option<i64>,
    /// Percent of the time after which a warning is given.
    pub warn_percent: u8,
    pub on_warn: Breach,
    pub on_breach: Breach,
}

/// What is done when a clock warns, or is breached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breach {
    pub priority: Option<Priority>,
    pub queue: Option<Name>,
    pub notify: Option<Notify>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Notify {
    pub desk: Name,
    pub text: Option<String>,
    /// The rule that asked for it; none where a clock did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverflowStep {
    /// After entering the queue. A step without it is taken at once, or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<i64>,
    /// It is taken at once where this holds when its turn comes.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub at_once: Option<AtOnce>,
    /// Until it is taken only these are asked; empty for everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<Name>,
    pub skills: Option<Skills>,
    pub queue: Option<Name>,
    pub priority: Option<Priority>,
    /// The priority may become lower by it, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lowers: bool,
}

/// How long somebody who is named is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub ms: i64,
    /// Also while none of them is there.
    pub absent: bool,
}

/// When an overflow step does not wait for its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtOnce {
    /// Nobody is available who has the skills that are wanted, however much they have to do.
    NobodyAvailable,
    /// Nobody can take it now.
    NobodyFree,
    /// All of these hold.
    All(Vec<Headcount>),
    /// One of these holds.
    Any(Vec<Headcount>),
}

/// How many agents there are in some presences, of those who have the skills that are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headcount {
    pub agents: Vec<Name>,
    /// At least so many.
    pub least: u32,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<u32>,
}

impl AtOnce {
    pub(crate) const WORDS: &[&str] = &["nobody_available", "nobody_free"];

    pub(crate) fn parse(word: &str) -> Option<AtOnce> {
        let all = [AtOnce::NobodyAvailable, AtOnce::NobodyFree];
        all.into_iter().zip(AtOnce::WORDS).find(|(_, w)| **w == word).map(|(a, _)| a)
    }
}

impl Headcount {
    /// What was found, where it holds: `fewer than 2 were in available (1)`.
    pub(crate) fn found(&self, count: u32) -> Option<String> {
        let holds = count >= self.least && self.most.is_none_or(|most| count <= most);
        let names = self.agents.join(" or ");
        holds.then(|| match self.most {
            Some(0) => format!("nobody was in {names}"),
            _ => format!("{} were in {names} ({count})", self.bounds()),
        })
    }

    fn bounds(&self) -> String {
        match (self.least, self.most) {
            (0, Some(0)) => "nobody".into(),
            (0, Some(most)) => format!("fewer than {}", u64::from(most) + 1),
            (least, Some(most)) if least == most => format!("exactly {least}"),
            (least, Some(most)) => format!("{least} to {most}"),
            (least, None) => format!("at least {least}"),
        }
    }
}

/// `nobody_free`, `fewer than 2 in available`, `more than 3 in away or lunch`.
impl Display for AtOnce {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let joined = |of: &[Headcount], word: &str| of.iter().map(Headcount::to_string).collect::<Vec<_>>().join(word);
        match self {
            AtOnce::NobodyAvailable => f.write_str("nobody_available"),
            AtOnce::NobodyFree => f.write_str("nobody_free"),
            AtOnce::All(counts) => f.write_str(&joined(counts, " and ")),
            AtOnce::Any(counts) => f.write_str(&joined(counts, " or ")),
        }
    }
}

impl Display for Headcount {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.bounds(), self.agents.join(" or "))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    pub name: String,
    pub skills: Skills,
    pub capacity: Units,
    /// Desk id to the agent's address there; the first written is the default.
    pub desks: Vec<(Name, String)>,
    /// What stands below the agent's mails.
    pub signature: Option<String>,
}

/// How many automatic replies a day, and how many to another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub conversation: u32,
    pub address: u32,
    /// After so many in a row that were each answered as machines answer, a conversation gets none until a person writes.
    pub ping_pong: u16,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { conversation: 5, address: 20, ping_pong: 3 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConvStatus {
    Queued,
    Offered,
    Assigned,
    /// Waits for the customer.
    Pending,
    Snoozed,
    Closed,
}

impl ConvStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ConvStatus::Queued => "queued",
            ConvStatus::Offered => "offered",
            ConvStatus::Assigned => "assigned",
            ConvStatus::Pending => "pending",
            ConvStatus::Snoozed => "snoozed",
            ConvStatus::Closed => "closed",
        }
    }
}

/// What the message says, as conditions see it. Kept with the message, not with the facts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeenMessage {
    pub channel: Name,
    pub kind: String,
    pub public: bool,
    pub text: String,
    pub subject: Option<String>,
    /// Address values that `from` matches: the address itself.
    pub from: Option<String>,
    pub to: Option<String>,
    pub authenticated: Option<bool>,
    pub language: Option<String>,
    pub has_attachment: bool,
    pub automatic: bool,
    /// The id of the pressed choice.
    pub choice: Option<String>,
    pub meta: BTreeMap<String, String>,
}

/// What conditions see beside the message: the state before it. Kept with the decision, so that it can be explained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeenState {
    pub now: switchboard_envelope::Timestamp,
    /// The conversation is made by this message.
    pub new: bool,
    pub state: Option<ConvStatus>,
    pub queue: Option<Name>,
    pub tags: BTreeSet<String>,
    pub attributes: BTreeMap<String, String>,
    /// Milliseconds since the conversation opened.
    pub age_ms: i64,
    /// Inbound messages of the conversation before this one.
    pub messages: u32,
    /// Milliseconds since the contact's previous message in the conversation.
    pub silence_ms: Option<i64>,
    pub contact_identities: Vec<String>,
    pub contact_name: Option<String>,
    pub contact_tags: BTreeSet<String>,
    pub contact_attributes: BTreeMap<String, String>,
    /// `opted_in` or `opted_out` for this address on this channel, once known.
    pub contact_consent: Option<String>,
    /// Other open conversations of the contact.
    pub contact_open: u32,
    /// Who last answered the contact.
    pub contact_agent: Option<Name>,
    /// Of the conversation; none where this message makes it, and in what was decided before it was kept. What came later stands last,
    /// and is always written, for what is kept without names is read by place.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// An agent has it. No condition asks it; a replay does.
    #[serde(default)]
    pub owned: bool,
}

/// Where `set` writes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetTarget {
    Conversation(String),
    Contact(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentChoice {
    Agent(Name),
    /// The first of these who can take it.
    OneOf(Vec<Name>),
    /// The owner of the contact's latest other open conversation, else who last answered.
    Sticky,
}

impl AgentChoice {
    /// One of these, who exist.
    pub(crate) fn of(mut found: Vec<Name>) -> Option<AgentChoice> {
        match found.len() {
            0 => None,
            1 => found.pop().map(AgentChoice::Agent),
            _ => Some(AgentChoice::OneOf(found)),
        }
    }
}

/// What a run of the rules decided, merged by the order of design: `tag` and `notify` add up, for everything else the
/// first decision stands. Rotations are resolved, captures filled in, replies rendered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOutcome {
    /// Names of the rules that matched, in order.
    pub hits: Vec<String>,
    pub queue: Option<Name>,
    pub agent: Option<AgentChoice>,
    /// So long it waits for who is named by `agent`, before anybody else is asked.
    pub wait: Option<Wait>,
    /// The rule that chose the queue or the agent, whichever came first; no rule where it is `default`.
    pub placed_by: Option<String>,
    pub desk: Option<Name>,
    pub priority: Option<Priority>,
    /// Added to the queue's.
    pub skills: Skills,
    pub overflow: Option<Vec<OverflowStep>>,
    pub tags: BTreeSet<String>,
    pub set: BTreeMap<SetTarget, String>,
    /// Some(true) is opted in.
    pub consent: Option<bool>,
    pub notify: Vec<Notify>,
    pub reply: Option<RunReply>,
    pub close: bool,
    pub snooze_ms: Option<i64>,
    pub block: bool,
    pub move_: bool,
    /// Actions that lost to an earlier decision: (rule, action).
    pub superseded: Vec<(String, String)>,
    /// The language that was found in the text, because a condition asked for it and the adapter did not know.
    pub language: Option<&'static str>,
}

impl RunOutcome {
    /// Whether it says to whom the conversation goes.
    #[must_use]
    pub fn places(&self) -> bool {
        self.queue.is_some() || self.agent.is_some()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunReply {
    pub rule: String,
    pub reply: Name,
    /// The rendered text, or why it could not be rendered.
    pub text: Result<String, String>,
    /// What the customer may choose from.
    pub choices: Vec<switchboard_envelope::Choice>,
}

/// One rule, as the explanation shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleTrace {
    pub rule: String,
    /// Where the rule is written: `file:line`.
    pub place: String,
    pub matched: bool,
    /// Not looked at, because an earlier rule stopped the run.
    pub skipped: bool,
    /// The first condition that failed: the field, what was wanted, what was seen.
    pub failed: Option<FailedCondition>,
    /// Actions that took effect, and those that an earlier rule had decided.
    pub applied: Vec<String>,
    pub superseded: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedCondition {
    pub field: String,
    pub wanted: String,
    pub saw: String,
    /// One sentence for a person: `text does not contain "refund"`.
    pub sentence: String,
}
