use crate::log::{Ingested, LogError};
use async_trait::async_trait;
use bytes::Bytes;
use switchboard_envelope::{Attachment, BlobRef, Choice, Inbound, ReceiptStatus, Timestamp};

/// What the chat needs of the daemon, and no more: the log behind it and the history before it.
///
/// Whoever implements it also calls [`Wakes::grew`](super::Wakes::grew) for a thread after history shows something new
/// of it.
#[async_trait]
pub trait ChatBackend: Send + Sync + 'static {
    /// Stores durably. `Ok` is what the visitor is told; after an error the widget sends the same record again.
    async fn ingest(&self, inbound: Inbound) -> Result<Ingested, LogError>;

    /// What a visitor may see of a thread after `after`: at most `max` messages, oldest first, never internal notes.
    async fn transcript(&self, channel: &str, thread: &str, after: u64, max: usize) -> Result<Transcript, LogError>;

    /// Stores a file in the thread's scope, durably.
    async fn put_file(&self, channel: &str, thread: &str, bytes: Bytes) -> Result<BlobRef, LogError>;

    /// A file of the thread, whoever sent it.
    async fn get_file(&self, channel: &str, thread: &str, blob: &BlobRef) -> Result<Option<Bytes>, LogError>;

    /// The visitor is writing. Ephemeral; at most every two seconds a connection.
    fn visitor_typing(&self, channel: &str, thread: &str);
}

/// A stretch of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    pub messages: Vec<ChatItem>,
    /// The sequence of the newest visible message of the thread, whether it is in `messages` or not; 0 without any.
    pub last_seq: u64,
    /// `after` is no position of this log, or what followed it is not kept any more: `messages` start at the oldest.
    pub reset: bool,
    /// The conversation's id, once there is one.
    pub conversation: Option<String>,
    /// The place in the queue from 1, while waiting.
    pub queue_position: Option<u32>,
}

/// A message as the visitor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatItem {
    /// Its position in the log: ascending in a thread, not dense.
    pub seq: u64,
    pub id: String,
    pub from_visitor: bool,
    /// The agent's name as customers see it.
    pub author_name: Option<String>,
    /// An automatic reply.
    pub auto: bool,
    pub text: String,
    pub attachments: Vec<Attachment>,
    /// Buttons that the message offers.
    pub choices: Vec<Choice>,
    pub at: Timestamp,
    /// A visitor's message: the `provider_id` of its envelope, which is the widget's own id.
    pub client_id: Option<String>,
    /// One of ours: how far it came.
    pub status: Option<ReceiptStatus>,
}
