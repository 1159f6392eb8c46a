//! What letters know beyond their words: what they answer, and what threads them. Channels of other kinds leave it out.

use crate::{Address, Timestamp};
use serde::{Deserialize, Serialize};

/// What a mail that came says about where it belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MailFacts {
    /// The conversation of ours that it answers, as something says that we wrote into a mail of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Answers>,
    /// What it says about its sender may be believed. Without that it joins nothing but its own thread.
    #[serde(default)]
    pub believed: bool,
    /// Somebody whom we trust proved its sender. Without that no secret that it holds speaks for anybody but the conversation's own
    /// customer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proved: bool,
    /// To whom else it openly went, beside us and who wrote it. Never who got a blind copy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Address>,
    /// It must not be answered automatically, though a person may have written it (RFC 3834).
    #[serde(default)]
    pub no_auto_reply: bool,
    /// The bytes of the mail as it came, where something of it is nowhere else: `raw` names them then, and the router lists them as
    /// the message's last file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<u64>,
}

/// A conversation that a mail names, or a send of it, and by what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Answers {
    /// The conversation; of an `envelope` the send.
    pub conversation: String,
    pub by: Evidence,
}

/// How a mail names a conversation, and so whom it speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A signed reply address, which is a secret: whoever has it was given it, and may answer.
    ReplyAddress,
    /// A Message-ID of ours: no secret, so it speaks for the conversation's own customer only.
    MessageId,
    /// The envelope sender of a mail of ours, where machines answer: it names the send, and speaks for the conversation's own customer.
    Envelope,
    /// A token in the subject, which anybody can write: the same.
    Subject,
}

/// What a mail of ours needs beside its content. The same for every attempt, so that every attempt is the same mail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MailContext {
    /// When the answer was written.
    pub at: Timestamp,
    /// The ids of the conversation before the mail that is answered, oldest first; that mail's own is in `reply_to`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// What is quoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<Quote>,
    /// What stands below the text: who writes, and for which queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// To whom else the mail went that this one answers. A channel that answers to all of them copies them in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Address>,
    /// The send that this one repeats because nobody knows whether it arrived: both are the same mail, so that who has it already
    /// can drop the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// The zone in which times are told, as `Europe/Paris`; without it they are told in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// The words that a mail answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Quote {
    /// Who wrote them, as the line above the quote says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    pub at: Timestamp,
    pub text: String,
}
