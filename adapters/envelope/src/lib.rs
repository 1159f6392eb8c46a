//! The types that Switchboard puts on the wire: what adapters publish, what the router asks them to send, and what they answer.
//!
//! Every payload is a JSON object with a version `v` and a `type`. Unknown fields are tolerated, so that an older reader
//! survives a newer writer; an unknown version is refused, because its meaning may have changed.
#![forbid(unsafe_code)]

#[cfg(feature = "schema")]
pub mod asyncapi;
mod command;
mod content;
mod inbound;
mod mail;
mod names;
mod outbound;
mod profile;
#[cfg(feature = "schema")]
pub mod schema;
mod time;
mod wire;

pub use command::{Action, Actor, Command, Destination, Scope};
pub use content::{
    Address, Attachment, BlobRef, Choice, Content, FileProblem, Raw, SenderProof, Template, Visibility, chosen,
    numbered,
};
pub use inbound::{
    AttemptResult, ChannelRefused, ConsentChange, ConsentState, Echo, Fault, Inbound, Message, Outcome, Receipt,
    ReceiptStatus, Unparsed, topic_of,
};
pub use mail::{Answers, Evidence, MailContext, MailFacts, Quote};
pub use names::{InvalidId, MAX_EVENT_ID, event_id, is_id, subject_token, subject_untoken, traceparent};
pub use outbound::{Author, Outbound, Reconcile, Send};
pub use profile::ChannelProfile;
pub use time::Timestamp;
pub use wire::{JsonProblem, MAX_ENVELOPE, VERSION, WireError, is_field};
