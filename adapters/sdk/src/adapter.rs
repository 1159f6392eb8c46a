use crate::{Memory, Upload};
use bytes::Bytes;
use http::{HeaderMap, Method};
use std::path::PathBuf;
use std::time::Duration;
use switchboard_envelope::{
    Address, Attachment, ChannelProfile, Content, Fault, Inbound, Outcome, Raw, Reconcile, Send as SendRecord,
    Timestamp,
};

/// A request from outside, as it came. Nothing in it can be trusted before [`Adapter::verify`].
#[derive(Clone, Debug)]
pub struct RawRequest {
    pub method: Method,
    /// The path below `/hooks/<channel>`, empty or starting with `/`.
    pub path: String,
    /// The query as it was sent, without `?`, still encoded.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The URL as the provider called it: the configured public URL with the request's path and query, never the `Host`
    /// header.
    pub url: String,
    pub received_at: Timestamp,
}

/// Whether a request comes from the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Genuine,
    /// No signature at all: 401.
    Missing,
    /// A signature that does not match: 403. The text is for the log, and holds no secret and no expected value.
    Forged(String),
}

/// What we answer the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

/// A request to the provider. `Debug` shows neither headers nor body: they hold secrets and customers' text.
#[derive(Clone)]
pub struct Call {
    pub method: Method,
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: CallBody,
    pub timeout: Duration,
}

#[derive(Clone)]
pub enum CallBody {
    Empty,
    /// Bytes with their content type.
    Bytes(&'static str, Bytes),
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("method", &self.method).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// What came of a call.
pub type Answer = Result<Response, CallError>;

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    /// Capped by the client; a longer body is cut.
    pub body: Bytes,
}

impl Response {
    /// `Retry-After` in milliseconds, in either of its two forms (RFC 9110 §10.2.3); capped at a day.
    #[must_use]
    pub fn retry_after_ms(&self, now: Timestamp) -> Option<u64> {
        let value = self.headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
        let ms = if let Ok(seconds) = value.parse::<u64>() {
            seconds.saturating_mul(1000)
        } else {
            let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
            u64::try_from(at.as_millisecond().saturating_sub(now.0)).unwrap_or(0)
        };
        Some(ms.min(86_400_000))
    }
}

/// A call without a response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// DNS, connect or TLS failed: no byte of the request left.
    #[error("could not connect: {0}")]
    NotSent(String),
    /// The request may have arrived: a timeout or a reset after writing.
    #[error("no answer: {0}")]
    Lost(String),
}

/// How an attempt ended, as the provider's answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptOutcome {
    pub outcome: Outcome,
    pub provider_ids: Vec<String>,
    pub code: Option<String>,
    /// A sentence for a person, with the provider's meaning of the code.
    pub detail: Option<String>,
    pub retry_after_ms: Option<u64>,
    /// Credentials, permission or sender refused: pause the channel and tell an operator.
    pub channel_refused: bool,
    /// The provider says that the person opted out: nothing more is sent to them.
    pub opted_out: bool,
    /// What a send that did not leave says of its channel.
    pub fault: Option<Fault>,
}

impl AttemptOutcome {
    #[must_use]
    pub fn new(outcome: Outcome) -> AttemptOutcome {
        AttemptOutcome {
            outcome,
            provider_ids: vec![],
            code: None,
            detail: None,
            retry_after_ms: None,
            channel_refused: false,
            opted_out: false,
            fault: None,
        }
    }
}

/// What a text costs on the air, where a channel counts that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// `gsm7` or `ucs2`.
    pub encoding: &'static str,
    /// Septets or UTF-16 units of the whole text.
    pub units: usize,
    /// How many messages are sent and paid for.
    pub segments: usize,
    /// Characters (Unicode scalar values) in each.
    pub per_segment: Vec<usize>,
    /// The most segments that the channel sends.
    pub most: usize,
    /// The text as it goes out, where the channel changes it.
    pub text: Option<String>,
}

/// One page of a catch-up poll.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Polled {
    pub events: Vec<Inbound>,
    /// Stored once the events are durable; handed to the next poll.
    pub cursor: String,
    /// Poll again at once.
    pub more: bool,
    /// What an operator should know, though the poll goes on.
    pub complaint: Option<String>,
}

/// What was read out of bytes that hold files beside what was said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opened {
    pub events: Vec<Inbound>,
    /// The files of the one message or echo among the events, in the order of its attachments.
    pub files: Vec<Bytes>,
}

/// One configured channel of a kind. Pure: no clock, no I/O.
pub trait Adapter: std::marker::Send + Sync + 'static {
    /// What the router must know of the channel.
    fn profile(&self) -> ChannelProfile;

    /// Is this really the provider? Over the raw bytes, in constant time, with each of the configured secrets.
    fn verify(&self, request: &RawRequest) -> Verdict;

    /// What the head alone shows, before a byte of the body is read (it is empty here): without its signature, or with one
    /// that can be none, a request is refused at once. `Genuine` means that it is read and verified.
    fn screen(&self, _head: &RawRequest) -> Verdict {
        Verdict::Genuine
    }

    /// What a request without any signature is answered. A provider that now and then sends one by mistake repeats it when it
    /// is told to come again.
    fn unsigned_status(&self) -> u16 {
        401
    }

    /// Challenges that the provider sends before it trusts the address; answered instead of parsed.
    fn handshake(&self, _request: &RawRequest) -> Option<Reply> {
        None
    }

    /// What was said. Total: one bad event does not spoil its neighbours, and what cannot be understood becomes one
    /// `unparsed` with the raw body.
    fn parse(&self, request: &RawRequest) -> Vec<Inbound>;

    /// The accounts that the channel speaks for, where a provider calls one address of an app for all of its accounts; as
    /// [`Adapter::apart`] names them.
    fn accounts(&self) -> Vec<String> {
        vec![]
    }

    /// The body of a delivery by the accounts that it is for, each part a delivery of its own; empty where all of it is this
    /// channel's. Total.
    fn apart(&self, _body: &Bytes) -> Vec<(String, Bytes)> {
        vec![]
    }

    /// Whether an account that no channel names may be this one's, because its settings do not say which it has. It is, where no
    /// other channel could have it.
    fn may_have(&self, _account: &str) -> bool {
        false
    }

    /// Which of its secrets found a delivery genuine; `None` where none did.
    fn signed_by(&self, _request: &RawRequest) -> Option<usize> {
        None
    }

    /// A word by which a channel that has this one of our secrets can tell later that a part of a delivery, which is kept, came with
    /// one that it signed.
    fn vouch(&self, _secret: usize, _part: &[u8]) -> Option<String> {
        None
    }

    /// Whether a word is [`Adapter::vouch`]'s, by a secret of this channel.
    fn vouched(&self, _part: &[u8], _word: &str) -> bool {
        false
    }

    /// What of the path of a genuine request may be kept with it: a secret may not.
    fn kept_path<'a>(&self, path: &'a str) -> &'a str {
        path
    }

    /// The threads in which somebody is writing, as a request says: a hint for who looks at them, which nobody keeps.
    fn typing(&self, _request: &RawRequest) -> Vec<String> {
        vec![]
    }

    /// The answer once everything parsed is durable.
    fn accepted(&self, _request: &RawRequest) -> Reply {
        Reply { status: 200, content_type: "text/plain", body: String::new() }
    }

    /// Reads a quarantined body again, after a fix, as it was received then.
    fn reparse(&self, raw: &Raw, body: Bytes, received_at: Timestamp) -> Vec<Inbound>;

    /// As [`Adapter::reparse`], with the files that the body itself holds.
    fn reopen(&self, raw: &Raw, body: Bytes, received_at: Timestamp) -> Opened {
        Opened { events: self.reparse(raw, body, received_at), files: vec![] }
    }

    /// Whether an address is one that this channel can write to, as far as its form says, so that what can never be sent is
    /// refused at once. Total: it may hold anything.
    ///
    /// # Errors
    /// With a sentence that says what is wrong with it.
    fn reaches(&self, _to: &Address) -> Result<(), String> {
        Ok(())
    }

    /// Whether the channel can express a message in a thread, as far as it is known before it is sent, so that an agent hears it at
    /// once. What holds for every thread of the channel is said in its profile.
    ///
    /// # Errors
    /// With a sentence that says what is wrong with it.
    fn fits(&self, _thread: &str, _content: &Content) -> Result<(), String> {
        Ok(())
    }

    /// The address as this channel's own messages name it, so that a person whom we write to first is the one who answers. Total.
    fn canonical(&self, to: Address) -> Address {
        to
    }

    /// The provider's request for one attempt; an error is a permanent refusal with its reason.
    ///
    /// # Errors
    /// When the content cannot be expressed on this channel.
    fn encode(&self, send: &SendRecord) -> Result<Call, AttemptOutcome>;

    /// Files of what we sign in with and of whom we believe, where they are read anew each time, so that another one counts at once.
    fn credential_files(&self) -> Vec<PathBuf> {
        vec![]
    }

    /// How a file of a send is handed to the provider before the send itself; `None` where it is not.
    fn upload(&self, _send: &SendRecord, _file: &Attachment) -> Option<Box<dyn Upload + '_>> {
        None
    }

    /// What the channel remembers between its calls. Then every call, for files and lists too, is authorized by it.
    fn memory(&self) -> Option<&dyn Memory> {
        None
    }

    /// Adds to a call what depends on the moment at which it leaves, such as a signature over the time.
    fn signed(&self, call: Call, _now: Timestamp) -> Call {
        call
    }

    /// The outcome of an attempt, from a data table of the provider's codes.
    fn classify(&self, send: &SendRecord, answer: &Answer, now: Timestamp) -> AttemptOutcome;

    /// How to learn the fate of an `unknown` attempt.
    fn reconcile(&self, _attempt: &Reconcile) -> Option<Call> {
        None
    }

    /// What the provider's list proves. `None`: nothing; absence is no proof.
    fn reconciled(&self, _attempt: &Reconcile, _answer: &Answer) -> Option<AttemptOutcome> {
        None
    }

    /// How to catch up on what webhooks missed. `cursor` is what the last poll returned.
    fn poll(&self, _cursor: Option<&str>, _now: Timestamp) -> Option<Call> {
        None
    }

    /// Reads a poll's answer; an error leaves the cursor and is tried again later.
    ///
    /// # Errors
    /// With a sentence for the log when the answer is not what the provider documents.
    fn polled(&self, _cursor: Option<&str>, _answer: &Answer, _now: Timestamp) -> Result<Polled, String> {
        Err("this channel has no list to poll".into())
    }

    /// How to fetch a file that the provider keeps; `None` when its address is not one of the provider's. Credentials must
    /// not follow a redirect to another host.
    fn fetch(&self, _attachment: &Attachment) -> Option<Call> {
        None
    }

    /// Where files may lie that [`Adapter::fetch`] fetches, for who reads that one was refused, as it follows *fetched only from*;
    /// `None` where there is no more to say than that it is the provider's.
    fn fetches_from(&self) -> Option<String> {
        None
    }

    /// What a text costs before it is sent; `None` where a message is a message.
    fn measure(&self, _text: &str) -> Option<Measure> {
        None
    }

    /// What was fetched is no file of the message but the provider's list of them: these are meant.
    fn listed(&self, _attachment: &Attachment, _fetched: &Bytes) -> Option<Vec<Attachment>> {
        None
    }
}
