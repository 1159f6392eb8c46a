use crate::{Address, Content, MailContext, Timestamp};
use serde::{Deserialize, Serialize};

/// A record of OUT.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a question is rare, and lives for one call")]
pub enum Outbound {
    Send(Box<Send>),
    Reconcile(Reconcile),
}

/// Who speaks for us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Author {
    /// An automatic reply, by the rule of this name.
    Auto {
        rule: String,
    },
    Agent {
        id: String,
    },
    /// A person or a program that speaks for no agent, by the name of its API token.
    Token {
        name: String,
    },
    /// Somebody of ours, in the provider's own tool: we saw it there, and sent nothing.
    Elsewhere,
}

impl Author {
    /// It was written for this customer, and not by a rule.
    #[must_use]
    pub fn by_hand(&self) -> bool {
        matches!(self, Author::Agent { .. } | Author::Token { .. })
    }
}

/// One attempt at one provider call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Send {
    /// The message's token; the same for every part and attempt.
    pub send: String,
    /// The part of a send of several calls, from 1.
    pub part: u16,
    /// The attempt at this part, from 1.
    pub n: u32,
    /// After this moment nothing may be sent.
    pub until: Timestamp,
    pub channel: String,
    pub conversation: String,
    pub thread: String,
    pub to: Address,
    pub content: Content,
    pub author: Author,
    /// Provider ids of the messages that this one answers, for threading.
    #[serde(default)]
    pub reply_to: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// For letters: what threads it, and what it quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<Box<MailContext>>,
    /// Until when the provider's window for ordinary answers is open, where the channel has one and the customer wrote at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_until: Option<Timestamp>,
}

impl Send {
    /// The key under which the attempt is claimed: `<channel>.<send>.<part>.<n>`.
    #[must_use]
    pub fn claim_key(&self) -> String {
        claim_key(&self.channel, &self.send, self.part, self.n)
    }
}

/// A question: what became of this attempt? It is not claimed, since asking twice harms nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reconcile {
    pub send: String,
    pub part: u16,
    pub n: u32,
    pub channel: String,
    pub conversation: String,
    pub thread: String,
    pub to: Address,
    pub content: Content,
    /// When the attempt was released.
    pub released_at: Timestamp,
    /// After this moment the answer is no longer waited for.
    pub until: Timestamp,
}

pub(crate) fn claim_key(channel: &str, send: &str, part: u16, n: u32) -> String {
    // Two numbers and three dots.
    let mut key = String::with_capacity(channel.len() + send.len() + 18);
    for text in [channel, ".", send, ".", &part.to_string(), ".", &n.to_string()] {
        key.push_str(text);
    }
    key
}

impl Outbound {
    #[must_use]
    pub fn channel(&self) -> &str {
        match self {
            Outbound::Send(s) => &s.channel,
            Outbound::Reconcile(r) => &r.channel,
        }
    }
}
