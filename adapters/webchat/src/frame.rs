use crate::file::SignedFile;
use serde::{Deserialize, Serialize};
use switchboard_envelope::{ReceiptStatus, Timestamp};
use thiserror::Error;

/// The version that the frames carry.
pub const PROTOCOL: u32 = 1;
/// The longest frame from a visitor, in bytes.
pub const MAX_FRAME: usize = 8 * 1024;
/// The longest `client_id`, in bytes.
pub const MAX_CLIENT_ID: usize = 64;
/// The most files of one message.
pub const MAX_ATTACHMENTS: usize = 5;

/// What the visitor's browser says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    Hello(Box<Hello>),
    Message(Box<MessageFrame>),
    /// The visitor is writing.
    Typing,
    /// Everything up to and with this sequence was on a visible screen.
    Read {
        up_to_seq: u64,
    },
    /// Everything up to and with this sequence reached the widget.
    Delivered {
        up_to_seq: u64,
    },
    Ping,
}

/// The first frame of a socket, and the body of a session request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Hello {
    pub v: u32,
    pub token: Option<String>,
    /// The newest sequence that the widget holds; 0 asks for everything.
    pub resume_after: u64,
    pub page: Page,
    pub locale: Option<String>,
    pub tz: Option<String>,
    pub user: Option<User>,
}

/// Where the visitor is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Page {
    pub url: String,
    pub title: String,
    pub referrer: String,
}

/// A user of the shop, vouched for by the shop's server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct User {
    pub id: String,
    /// HMAC-SHA256(site secret, `id`) in hexadecimal.
    pub hash: String,
    #[serde(default)]
    pub name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct MessageFrame {
    pub client_id: String,
    #[serde(default)]
    pub text: String,
    #[serde(default)]
    pub attachments: Vec<SignedFile>,
    #[serde(default)]
    pub choice: Option<ChoiceFrame>,
}

/// A button that we offered, or that the visitor pressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChoiceFrame {
    pub id: String,
    #[serde(default)]
    pub label: Option<String>,
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    #[error("the frame is longer than {MAX_FRAME} bytes")]
    TooLarge,
    #[error("the frame is not one of this protocol")]
    Unknown,
}

impl ClientFrame {
    /// Reads a frame of at most `max` bytes. Total: whatever a browser sends is a frame or an error.
    ///
    /// # Errors
    /// When it is too long, no JSON, or of no known type and shape.
    pub fn parse(text: &[u8], max: usize) -> Result<ClientFrame, FrameError> {
        if text.len() > max {
            return Err(FrameError::TooLarge);
        }
        serde_json::from_slice(text).map_err(|_| FrameError::Unknown)
    }
}

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct From {
    pub kind: Speaker,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Speaker {
    Visitor,
    Agent,
    /// An automatic reply.
    Auto,
}

/// What we say.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    Welcome(Box<Welcome>),
    Ack(Ack),
    Message(Box<MessageIn>),
    Typing(Typing),
    Read(Read),
    Queue(Queue),
    Pong,
    Error(ErrorFrame),
    Bye(Bye),
}

impl ServerFrame {
    /// The frame as text.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, numbers and lists: writing them into memory cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Welcome {
    pub v: u32,
    pub visitor: String,
    /// To be kept and shown again; it may be newer than the one that was sent.
    pub token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// The newest sequence of the thread. What is not in `replay` follows as `message` frames.
    pub last_seq: u64,
    /// What the widget holds is not ours any more: drop it and take the replay.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
    pub ping_s: u32,
    /// Messages after `resume_after`, oldest first, each as a `message` frame.
    pub replay: Vec<ServerFrame>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ack {
    pub client_id: String,
    pub id: String,
    /// Known once the router has decided; until then it comes with the `message` frame of the same `client_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    pub at: Timestamp,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
}

/// One message of the thread, in either direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageIn {
    pub seq: u64,
    pub id: String,
    pub from: From,
    pub text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<switchboard_envelope::Attachment>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<ChoiceFrame>,
    pub at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ReceiptStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Typing {
    pub from: From,
}

/// The visitor read up to here in another window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Read {
    pub up_to_seq: u64,
}

/// The place in the queue changed; `None`: no longer waiting, or not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Queue {
    pub position: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The token was not signed by us, or is too old.
    Unauthorized,
    /// The page's origin is not in the list.
    OriginRefused,
    /// Slow down; nothing was stored.
    RateLimited,
    /// Nothing may have been stored; send the same again.
    Unavailable,
    /// Too many windows, or too many visitors.
    Busy,
    BadFrame,
    TooLarge,
    TooLong,
    Empty,
    /// It will never be accepted.
    Refused,
    FileType,
}

impl ErrorCode {
    /// Sending the same again later can help.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        matches!(self, ErrorCode::RateLimited | ErrorCode::Unavailable | ErrorCode::Busy)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorFrame {
    pub code: ErrorCode,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl ErrorFrame {
    #[must_use]
    pub fn new(code: ErrorCode) -> ErrorFrame {
        ErrorFrame { code, retry_after_ms: None, client_id: None, detail: None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bye {
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::PathBuf;

    fn fixture(name: &str) -> Vec<u8> {
        let found = std::env::var_os("SWITCHBOARD_FIXTURES").map(PathBuf::from).or_else(|| {
            let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
            here.ancestors().map(|d| d.join("shared/fixtures")).find(|d| d.is_dir())
        });
        let path =
            found.expect("no shared/fixtures above this crate: set SWITCHBOARD_FIXTURES").join("webchat").join(name);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    #[test]
    fn the_recorded_client_frames_read() {
        let ClientFrame::Hello(hello) = ClientFrame::parse(&fixture("ws-client-hello.json"), MAX_FRAME).unwrap() else {
            panic!("not a hello")
        };
        assert_eq!(hello.token.as_deref(), Some("visitor.opaque"));
        assert_eq!((hello.v, hello.resume_after, hello.page.title.as_str()), (1, 41, "Kettle"));
        let ClientFrame::Message(m) = ClientFrame::parse(&fixture("ws-client-message.json"), MAX_FRAME).unwrap() else {
            panic!("not a message")
        };
        assert_eq!(m.text, "My kettle leaks 😀");
        assert_eq!(
            ClientFrame::parse(&fixture("ws-client-read.json"), MAX_FRAME),
            Ok(ClientFrame::Read { up_to_seq: 44 })
        );
    }

    #[test]
    fn our_frames_are_the_recorded_ones() {
        let at: Timestamp = "2026-08-31T10:00:05.000Z".parse().unwrap();
        let client_id = "0197f2c0-6a0e-7c3a-9d7e-3d1b1c6f1a11".to_owned();
        for (name, duplicate) in [("ws-server-ack.json", false), ("ws-server-ack-duplicate.json", true)] {
            let ack = Ack { client_id: client_id.clone(), id: "m_44".into(), seq: Some(44), at, duplicate };
            same(name, &ServerFrame::Ack(ack));
        }
        let mut error = ErrorFrame::new(ErrorCode::RateLimited);
        error.retry_after_ms = Some(2000);
        error.client_id = Some("0197f2c0-6a0e-7c3a-9d7e-3d1b1c6f1a12".into());
        same("ws-server-error.json", &ServerFrame::Error(error));
    }

    #[test]
    fn a_welcome_has_every_field_of_the_recorded_one() {
        let recorded: serde_json::Value = serde_json::from_slice(&fixture("ws-server-welcome.json")).unwrap();
        let message = ServerFrame::Message(Box::new(MessageIn {
            seq: 42,
            id: "m_42".into(),
            from: From { kind: Speaker::Agent, name: Some("Dana".into()) },
            text: "Hello".into(),
            attachments: vec![],
            choices: vec![],
            at: "2026-08-31T10:00:00.000Z".parse().unwrap(),
            client_id: None,
            status: None,
        }));
        assert_eq!(serde_json::to_value(&message).unwrap(), recorded["replay"][0]);
        let ours = serde_json::to_value(ServerFrame::Welcome(Box::new(Welcome {
            v: PROTOCOL,
            visitor: "v_1".into(),
            token: "t".into(),
            conversation: Some("c_1".into()),
            last_seq: 43,
            reset: false,
            ping_s: 30,
            replay: vec![],
            queue_position: None,
        })))
        .unwrap();
        for key in ["type", "conversation", "visitor", "last_seq", "ping_s"] {
            assert_eq!(ours[key], recorded[key], "{key}");
        }
        assert!(ours["replay"].is_array());
    }

    fn same(name: &str, frame: &ServerFrame) {
        let recorded: serde_json::Value = serde_json::from_slice(&fixture(name)).unwrap();
        assert_eq!(serde_json::to_value(frame).unwrap(), recorded, "{name}");
    }

    #[test]
    fn hostile_frames_are_errors() {
        let long = format!("{{\"type\":\"ping\",\"x\":\"{}\"}}", "a".repeat(MAX_FRAME));
        assert_eq!(ClientFrame::parse(long.as_bytes(), MAX_FRAME), Err(FrameError::TooLarge));
        let deep = format!("{{\"type\":\"hello\",\"page\":{}", "[".repeat(4000));
        let bad = [
            "",
            "{}",
            "[]",
            "null",
            "{\"type\":\"admin\"}",
            "{\"type\":\"read\",\"up_to_seq\":-1}",
            "{\"type\":\"read\",\"up_to_seq\":1e400}",
            "{\"type\":\"message\"}",
            "\u{0}",
            deep.as_str(),
        ];
        for bad in bad {
            assert_eq!(ClientFrame::parse(bad.as_bytes(), MAX_FRAME), Err(FrameError::Unknown), "{bad:.60}");
        }
    }

    proptest! {
        #[test]
        fn parsing_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = ClientFrame::parse(&bytes, MAX_FRAME);
        }
    }
}
