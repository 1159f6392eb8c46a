use crate::names::MAX_TRACEPARENT;
use crate::{Address, Command, Content, MailFacts, Raw, Timestamp, Visibility};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A record of IN.
#[derive(Clone, Debug, PartialEq)]
pub enum Inbound {
    Message(Box<Message>),
    Echo(Box<Echo>),
    Receipt(Receipt),
    Consent(ConsentChange),
    Result(AttemptResult),
    Command(Box<Command>),
    Unparsed(Unparsed),
    Refused(ChannelRefused),
}

impl Inbound {
    /// The duplicate key: `<channel>:<type>:<event key>`.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Inbound::Message(m) => &m.id,
            Inbound::Echo(e) => &e.id,
            Inbound::Receipt(r) => &r.id,
            Inbound::Consent(c) => &c.id,
            Inbound::Result(r) => &r.id,
            Inbound::Command(c) => &c.id,
            Inbound::Unparsed(u) => &u.id,
            Inbound::Refused(r) => &r.id,
        }
    }

    /// The trace that it belongs to, where what brought it said so in few and plain characters.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        let said = match self {
            Inbound::Message(m) => m.traceparent.as_deref(),
            Inbound::Command(c) => c.traceparent.as_deref(),
            _ => None,
        };
        said.filter(|t| t.len() <= MAX_TRACEPARENT && t.bytes().all(|b| b.is_ascii_graphic()))
    }

    #[must_use]
    pub fn channel(&self) -> &str {
        match self {
            Inbound::Message(m) => &m.channel,
            Inbound::Echo(e) => &e.channel,
            Inbound::Receipt(r) => &r.channel,
            Inbound::Consent(c) => &c.channel,
            Inbound::Result(r) => &r.channel,
            Inbound::Command(c) => &c.channel,
            Inbound::Unparsed(u) => &u.channel,
            Inbound::Refused(r) => &r.channel,
        }
    }

    /// The `type` on the wire.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Inbound::Message(_) => "message",
            Inbound::Echo(_) => "echo",
            Inbound::Receipt(_) => "receipt",
            Inbound::Consent(_) => "consent",
            Inbound::Result(_) => "result",
            Inbound::Command(_) => "command",
            Inbound::Unparsed(_) => "unparsed",
            Inbound::Refused(_) => "refused",
        }
    }
}

/// Something a customer said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Message {
    pub id: String,
    pub channel: String,
    /// The provider's idea of one conversation partner: a phone number, a visitor, a mail thread.
    pub thread: String,
    /// The provider's time, for display only.
    pub at: Timestamp,
    pub received_at: Timestamp,
    pub from: Address,
    #[serde(default)]
    pub to: Option<Address>,
    pub content: Content,
    /// Provider ids of earlier messages that this one answers.
    #[serde(default)]
    pub references: Vec<String>,
    /// The provider's id of this message, for threading and receipts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    #[serde(default)]
    pub visibility: Visibility,
    /// A machine wrote it (RFC 3834): rules run, replies do not.
    #[serde(default)]
    pub automatic: bool,
    /// The channel proved who wrote it; `None` where it cannot say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<bool>,
    /// What the adapter documents for rules as `meta.<name>`.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Raw>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// For letters: what they answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<Box<MailFacts>>,
}

/// Our own side's message, seen at the provider: sent by us, or written in the provider's native app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Echo {
    pub id: String,
    pub channel: String,
    pub thread: String,
    pub at: Timestamp,
    pub provider_id: String,
    /// Our send token, where the provider carried it.
    #[serde(default)]
    pub send: Option<String>,
    #[serde(default)]
    pub part: Option<u16>,
    #[serde(default)]
    pub n: Option<u32>,
    pub to: Address,
    pub content: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReceiptStatus {
    /// The provider has it and will try.
    Accepted,
    Delivered,
    Read,
    /// Final: it will not arrive.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Receipt {
    pub id: String,
    pub channel: String,
    /// Empty where `thread` stands in its place.
    pub provider_id: String,
    /// For providers that name no message: everything that was sent to this thread until `at` has the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// Our send token, where the provider carried it back; it ties a receipt that overtakes its result.
    #[serde(default)]
    pub send: Option<String>,
    #[serde(default)]
    pub part: Option<u16>,
    #[serde(default)]
    pub n: Option<u32>,
    pub status: ReceiptStatus,
    pub at: Timestamp,
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    pub detail: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ConsentState {
    OptedOut,
    OptedIn,
}

/// A provider, or a word that the customer sent, changed whether we may write to an address. It holds for this address on
/// this channel, and where a topic is named for messages of that kind alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConsentChange {
    pub id: String,
    pub channel: String,
    pub address: Address,
    pub state: ConsentState,
    pub at: Timestamp,
    /// What caused it, such as the keyword.
    #[serde(default)]
    pub reason: Option<String>,
    /// The kind of message that it is about, as a template's `category` names it, such as `marketing`; without one, every kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

impl ConsentChange {
    /// What the consent is kept for: the channel, or one topic of it.
    #[must_use]
    pub fn scope(&self) -> String {
        self.topic.as_ref().map_or_else(|| self.channel.clone(), |topic| topic_of(&self.channel, topic))
    }
}

/// A topic of a channel, as consent is kept for it. No channel is called so.
#[must_use]
pub fn topic_of(channel: &str, topic: &str) -> String {
    format!("{channel}/{}", topic.to_ascii_lowercase())
}

/// How one outbound attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The provider took it.
    Accepted,
    /// The provider refused it for good; no retry.
    Rejected,
    /// Nothing was sent; a retry is safe.
    NotSent,
    /// It may have been sent.
    Unknown,
}

impl Outcome {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Rejected => "rejected",
            Outcome::NotSent => "not_sent",
            Outcome::Unknown => "unknown",
        }
    }
}

/// What became of one claimed attempt. Its id carries the outcome, so that a later, better answer is no duplicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AttemptResult {
    pub id: String,
    pub channel: String,
    pub send: String,
    pub part: u16,
    pub n: u32,
    pub at: Timestamp,
    pub outcome: Outcome,
    #[serde(default)]
    pub provider_ids: Vec<String>,
    /// The provider's code, such as Twilio's 21610.
    #[serde(default)]
    pub code: Option<String>,
    /// A sentence for the person who reads it; never a secret.
    #[serde(default)]
    pub detail: Option<String>,
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
    /// Our credentials, permission or sender were refused: the channel pauses until an operator acts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub channel_refused: bool,
    /// The provider refused it because the person opted out; from here that holds on our side too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub opted_out: bool,
    /// Whose trouble it was, where it was not the provider's as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// The result answers a `reconcile`, not the call itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reconciled: bool,
}

/// What an attempt that sent nothing says of its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// This recipient cannot be reached now; the channel works, and others need not wait.
    Recipient,
    /// Nobody answered at the provider's address, so nothing was asked of it: looking again soon costs nothing.
    Unreachable,
}

/// The provider tells us that it takes nothing from us any more, such as that somebody revoked our access. The channel pauses
/// until an operator acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChannelRefused {
    pub id: String,
    pub channel: String,
    pub at: Timestamp,
    /// A sentence for the operator, which says what to do.
    pub detail: String,
}

/// An authentic delivery that could not be understood. It is quarantined with its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Unparsed {
    pub id: String,
    pub channel: String,
    pub reason: String,
    #[serde(default)]
    pub at: Timestamp,
    pub raw: Raw,
}
