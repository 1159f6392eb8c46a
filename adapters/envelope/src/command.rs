use crate::{Address, Attachment, Choice, ConsentState, Template, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Something that a person, or an operator's tool, tells the router to do. Only desks and the API write these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Command {
    pub id: String,
    /// `api`, or the desk through which the agent spoke.
    pub channel: String,
    pub at: Timestamp,
    pub actor: Actor,
    pub action: Action,
    /// Hash of the request's body, so that an `Idempotency-Key` reused with another body can be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_hash: Option<String>,
    /// The trace that the request belongs to, which what it sends carries on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Read,
    Agent,
    Supervisor,
    Admin,
}

/// Who asks, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Actor {
    /// The agent for whom the command speaks.
    #[serde(default)]
    pub agent: Option<String>,
    /// The name of the API token that asks: who acted, where no agent did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    pub scope: Scope,
}

/// Where a transfer or a new conversation goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    Queue(String),
    Agent(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", tag = "do")]
pub enum Action {
    Reply {
        conversation: String,
        text: String,
        #[serde(default)]
        attachments: Vec<Attachment>,
        /// What the customer may choose from.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        choices: Vec<Choice>,
        /// An approved text, for a channel that has them; `text` is then what the transcript shows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        template: Option<Template>,
        /// Take it although another agent owns it; needs `supervisor`.
        #[serde(default)]
        take: bool,
        /// The newest message that the writer had seen; refused when there is a newer one.
        #[serde(default)]
        seen: Option<String>,
    },
    Note {
        conversation: String,
        text: String,
    },
    /// Take a queued conversation, or with `supervisor` another's.
    Take {
        conversation: String,
    },
    Close {
        conversation: String,
    },
    Reopen {
        conversation: String,
    },
    Transfer {
        conversation: String,
        to: Destination,
    },
    Snooze {
        conversation: String,
        until: Timestamp,
    },
    Update {
        conversation: String,
        #[serde(default)]
        tags: Option<Vec<String>>,
        #[serde(default)]
        priority: Option<String>,
        /// A `null` value removes the attribute.
        #[serde(default)]
        attributes: BTreeMap<String, Option<String>>,
    },
    Presence {
        agent: String,
        presence: String,
    },
    AcceptOffer {
        offer: String,
    },
    DeclineOffer {
        offer: String,
    },
    UpdateContact {
        contact: String,
        #[serde(default)]
        tags: Option<Vec<String>>,
        #[serde(default)]
        attributes: BTreeMap<String, Option<String>>,
        /// Consent per `<channel>`.
        #[serde(default)]
        consent: BTreeMap<String, ConsentState>,
        /// Channels on which a rule blocked them.
        #[serde(default)]
        unblock: Vec<String>,
    },
    MergeContact {
        into: String,
        from: String,
    },
    /// Start a conversation from our side.
    Start {
        to_channel: String,
        to: Address,
        /// Where messages have one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        text: String,
        #[serde(default)]
        destination: Option<Destination>,
    },
    /// Send a dead letter again, as a new send at the end of its lane.
    Resend {
        send: String,
    },
    /// Give a dead letter up.
    Drop {
        send: String,
    },
    PauseChannel {
        target: String,
    },
    ResumeChannel {
        target: String,
        /// With what the provider refused is another one now: one attempt shows whether it is right. What an operator paused stays so.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        mended: bool,
    },
    /// Put the pack with this hash in force; the blob is durable already.
    ReloadPack {
        hash: String,
    },
    /// Take back the latest change of rules: end the trial of a pack, or put the pack of before in force again.
    RollbackPack {
        /// Put this earlier pack in force instead, by its hash.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// Try a pack on a share of the new conversations, beside the one in force.
    TryPack {
        hash: String,
        /// Of a hundred new conversations, so many.
        percent: u8,
    },
    /// End the trial of a pack.
    EndTrial {
        /// Put what was tried in force.
        promote: bool,
    },
    /// The customer's client confirmed what we pushed, up to and with this sequence (web chat).
    Confirmed {
        target: String,
        thread: String,
        up_to: u64,
        read: bool,
    },
    /// The files of a message as they stand after an attempt to fetch them from the provider.
    Fetched {
        conversation: String,
        message: String,
        attachments: Vec<Attachment>,
    },
    /// A quarantined record was read again; its outcome was ingested under its own ids.
    Released {
        quarantined: u64,
    },
}
