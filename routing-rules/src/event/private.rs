//! The private part of an event.

use crate::pack::{Name, Notify, SeenState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use switchboard_envelope::{Address, Attachment, Content, MailContext, Message, Timestamp};

/// The private part: everything that came from a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Private {
    Opened {
        thread: String,
        address: Address,
        subject: Option<String>,
    },
    Received {
        content: Box<Content>,
        from: Address,
        provider_id: Option<String>,
        client_id: Option<String>,
        id: String,
        /// For letters: what an answer needs of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mail: Option<Box<ReceivedMail>>,
        /// When the person said it, by the provider's clock but no later than ours; absent where a machine wrote.
        #[serde(default)]
        said_at: Option<Timestamp>,
        /// Who wrote it proved to be who they say, or did not; absent where the channel cannot tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proved: Option<bool>,
        /// Somebody else wrote it in their name.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        disproved: bool,
    },
    /// A part of a longer text, without its raw form.
    Part {
        message: Box<Message>,
    },
    Files {
        attachments: Vec<Attachment>,
    },
    Decided {
        seen: Box<SeenState>,
        message: Box<DecidedMessage>,
    },
    /// A `None` removes the attribute.
    Attributes {
        set: BTreeMap<String, Option<String>>,
    },
    Notified {
        notify: Notify,
    },
    Note {
        text: String,
    },
    Send {
        content: Box<Content>,
        to: Address,
        reply_to: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mail: Option<Box<MailContext>>,
        /// The trace of what it answers, or of the request that asked for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        traceparent: Option<String>,
    },
    Attempt {
        provider_ids: Vec<String>,
        detail: Option<String>,
    },
    Receipt {
        detail: Option<String>,
    },
    Consent {
        address: Address,
        reason: Option<String>,
    },
    Contact {
        name: Option<String>,
        attributes: BTreeMap<String, Option<String>>,
        identity: Option<Address>,
    },
}

/// What conditions saw of the message beside its content, which history keeps with the message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DecidedMessage {
    pub channel: Name,
    pub kind: String,
    pub public: bool,
    pub to: Option<String>,
    pub authenticated: Option<bool>,
    pub language: Option<String>,
    pub automatic: bool,
    pub meta: BTreeMap<String, String>,
}

/// What an answer to a letter needs beside its words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReceivedMail {
    /// The ids of the letters before it, oldest first.
    pub references: Vec<String>,
    /// The sender's time.
    pub at: Timestamp,
    /// To whom else it openly went.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Address>,
    /// Answers do not answer it: somebody else than the conversation's customer wrote it, or a machine did meanwhile.
    pub aside: bool,
}
