//! What the API needs of the daemon, and no more.

use crate::history::Status;
use crate::log::{LogError, Seq};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_adapter_sdk::Measure;
use switchboard_envelope::{Address, BlobRef, Command, Content, Timestamp};
use switchboard_routing_rules::event::{Event, KeyHash, Presence, Reply};
use switchboard_routing_rules::ids::{ConvId, MessageId};
use switchboard_routing_rules::pack::{Name, RulePack, Units};
use switchboard_routing_rules::state::{Canary, Window};
use switchboard_routing_rules::waiting::Waiting;
use tokio::sync::broadcast;

/// The router's answer to a command, and the frame that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub reply: Reply,
    pub seq: Seq,
}

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The log did not take it, or it is not known whether it did.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Nothing can be decided now, so this request was not put into IN.
    #[error("the log does not take the router's frame, so nothing was done: {0}")]
    Unwritable(String),
    /// IN has it, and a router decides it once one can.
    #[error("the command was taken and is not decided yet: {0}")]
    Undecided(String),
}

/// Why a pack was not put in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadError {
    /// The pack on disk is wrong; `file:line:column: what is wrong` each.
    Pack(Vec<String>),
    /// It could be put in force, and its own tests fail; a line each.
    Tests(Vec<String>),
    Log(LogError),
}

/// A quarantined record as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRecord {
    pub content_type: String,
    pub bytes: Bytes,
}

/// What came of reading a quarantined record again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It was understood, and what it says was ingested.
    Understood,
    /// It still cannot be understood, for this reason.
    StillHeld(String),
}

/// One queue now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueView {
    pub depth: u64,
    /// Since when the head waits.
    pub oldest_since: Option<Timestamp>,
    pub offered: u64,
    /// First responses in time and all that were due, today.
    pub in_time: u64,
    pub due: u64,
}

/// One agent now; load and capacity in hundredths of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentView {
    pub presence: Presence,
    /// The pack's own name for it.
    pub named: Option<String>,
    pub load: Units,
    /// Until then they finish what they closed, and are given nothing new.
    pub wrap_until: Option<Timestamp>,
    pub offers: u32,
    pub conversations: u32,
}

/// One channel now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelView {
    pub kind: String,
    pub failures: u32,
    /// Why it is paused.
    pub paused: Option<String>,
    /// When the next probe may be sent.
    pub probe_at: Option<Timestamp>,
    /// Since when nothing is heard of its adapter, which is another process.
    pub silent_since: Option<Timestamp>,
    /// Its adapter, which is another process, was not heard of since this one started.
    pub unheard: bool,
}

/// The newest message of ours in a conversation, which has not left or did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    pub message: MessageId,
    /// The message whose attempts say why: itself, or the one that it waits behind.
    pub told_by: MessageId,
    pub status: Status,
    pub since: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    pub tried_again: Option<Timestamp>,
    /// It is no more on its way than any message is for a moment.
    pub delayed: bool,
    /// Why nothing leaves on its channel.
    pub paused: Option<String>,
    /// What ends that, once its cause is mended.
    pub then: Option<String>,
}

/// What somebody types who has mended why a channel is paused, or who paused it.
#[must_use]
pub fn resume_command(channel: &str) -> String {
    format!("switchboard channels resume {channel}")
}

impl Undelivered {
    /// A message that has not left within this is late.
    pub const SOON_MS: i64 = 10_000;
}

/// The live numbers that history does not hold, as of one frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateView {
    pub seq: Seq,
    pub now: Timestamp,
    /// Hash of the pack in force, and what its load warned of.
    pub pack: String,
    pub pack_warnings: Vec<String>,
    pub queues: BTreeMap<Name, QueueView>,
    pub agents: BTreeMap<Name, AgentView>,
    pub channels: BTreeMap<Name, ChannelView>,
    /// The packs that came in force, the newest last, each with when it did.
    pub packs: Vec<(String, Timestamp)>,
    /// The latest trial of a pack.
    pub canary: Option<Arc<Canary>>,
}

/// The daemon behind the API.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// The workspace's name.
    fn workspace(&self) -> String;

    /// Ingests a command, and waits a bounded time for the router's answer, its frame being durable. A command whose id the
    /// log knows already gets its first answer.
    ///
    /// # Errors
    /// When there is no answer, and what is known of the command then.
    async fn command(&self, command: Command) -> Result<Answer, Unanswered>;

    /// The hash under which history keeps the answer of a command.
    fn command_key(&self, id: &str) -> KeyHash;

    fn state(&self) -> Arc<StateView>;

    /// A pack by hash; `None` when it is not kept any more.
    async fn pack(&self, hash: &str) -> Result<Option<Arc<RulePack>>, LogError>;

    /// Reads the pack on disk, validates it, runs its tests unless it is forced, and stores it durably; the answer is its hash.
    /// It is not in force yet.
    async fn reload_pack(&self, force: bool) -> Result<String, ReloadError>;

    /// The same with a pack that is given as (path, text).
    async fn stage_pack(&self, files: Vec<(String, Vec<u8>)>, force: bool) -> Result<String, ReloadError>;

    /// What the load of a pack warned of, while it is remembered which was read here.
    fn pack_warnings(&self, _hash: &str) -> Vec<String> {
        vec![]
    }

    /// The hash of the pack on disk; `None` when it cannot be used.
    async fn pack_on_disk(&self) -> Option<String> {
        None
    }

    /// Whether a channel can write to an address, as far as its form says.
    ///
    /// # Errors
    /// With what is wrong with the address.
    fn reaches(&self, _channel: &str, _to: &Address) -> Result<(), String> {
        Ok(())
    }

    /// Whether the channel of a conversation can express a reply there.
    ///
    /// # Errors
    /// With what is wrong with it.
    fn fits(&self, _conversation: &str, _content: &Content) -> Result<(), String> {
        Ok(())
    }

    /// For how long the channel of a conversation takes a person's answer there; `None` where there is no end that is known.
    fn window(&self, _conversation: ConvId) -> Option<Window> {
        None
    }

    /// The newest message of ours in a conversation, while it has not left or did not arrive.
    fn undelivered(&self, _conversation: ConvId) -> Option<Undelivered> {
        None
    }

    /// Why our messages do not leave on a channel, unless it is paused; `None` while they do.
    async fn sending_trouble(&self, _channel: &str) -> Option<String> {
        None
    }

    /// Why what customers write on a channel does not come in; `None` while it does.
    fn receiving_trouble(&self, _channel: &str) -> Option<String> {
        None
    }

    /// Where people reach the console from outside, if that is configured.
    fn console_url(&self) -> Option<String> {
        None
    }

    /// An address as the messages of a channel name it.
    fn canonical(&self, _channel: &str, to: Address) -> Address {
        to
    }

    /// An identity as somebody typed it, such as `whatsapp:+15551230001`, as the messages of its channels name it.
    fn spelt(&self, identity: String) -> String {
        identity
    }

    async fn put_file(&self, channel: &str, thread: &str, bytes: Bytes) -> Result<BlobRef, LogError>;

    async fn get_file(&self, channel: &str, thread: &str, blob: &BlobRef) -> Result<Option<Bytes>, LogError>;

    /// The bytes of a quarantined record of IN.
    async fn quarantined(&self, seq: Seq) -> Result<Option<RawRecord>, LogError>;

    /// Reads a quarantined record again. It stays there until the router is told that it was released.
    async fn retry_quarantined(&self, seq: Seq) -> Result<Retried, LogError>;

    /// Frames of LOG after `after`, opened.
    async fn frames(&self, after: Seq, max: usize) -> Result<Vec<(Seq, Vec<Event>)>, LogError>;

    /// The conversations in which customers are writing, as they write. Ephemeral: nobody who listens later hears of it.
    fn typing(&self) -> broadcast::Receiver<ConvId>;

    /// An agent is writing; the customer sees it where the channel can show it.
    fn agent_typing(&self, conversation: ConvId, agent: Option<&str>);

    /// What a text costs on a channel before it is sent; `None` where a message is a message.
    fn measure(&self, _channel: &str, _text: &str) -> Option<Measure> {
        None
    }

    /// Why a conversation waits, as of now; `None` when it does not.
    ///
    /// # Errors
    /// When the pack cannot be read.
    async fn waiting(&self, _conversation: ConvId) -> Result<Option<Waiting>, LogError> {
        Ok(None)
    }

    /// How this process does.
    ///
    /// # Errors
    /// When the pack cannot be read.
    async fn status(&self) -> Result<super::Status, LogError> {
        Ok(super::Status { workspace: self.workspace(), ..super::Status::default() })
    }

    /// LOG's first and last sequence.
    async fn log_bounds(&self) -> Result<(Seq, Seq), LogError>;
}
