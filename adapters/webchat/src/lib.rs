//! The web chat channel: what a visitor's browser may say, how it is known again, and how its words become envelopes.
//!
//! Everything here is a function over its arguments: no clock, no randomness, no I/O. The daemon holds the sockets. This
//! crate knows nothing of HTTP servers, of the log or of rules.
#![forbid(unsafe_code)]

mod adapter;
mod bucket;
mod config;
mod confirm;
mod file;
mod frame;
mod inbound;
mod keyed;
mod multipart;
mod origin;
mod token;

pub use adapter::Webchat;
pub use bucket::TokenBucket;
pub use config::{ConfigProblem, Limits, Settings, Side, WebchatConfig};
pub use confirm::{Confirmation, Confirmations};
pub use file::{FileRefused, MAX_FILE_NAME, SignedFile, check_upload, sign_file, verify_file};
pub use frame::{
    Ack, Bye, ChoiceFrame, ClientFrame, ErrorCode, ErrorFrame, FrameError, From, Hello, MAX_ATTACHMENTS, MAX_CLIENT_ID,
    MAX_FRAME, MessageFrame, MessageIn, PROTOCOL, Page, Queue, Read, ServerFrame, Speaker, Typing, User, Welcome,
};
pub use inbound::{Context, Refused, confirmation, message};
pub use multipart::{MultipartError, Part, first_file};
pub use origin::{Origin, OriginPolicy, OriginRefused};
pub use token::{TokenError, TokenKey, Visitor, identified_visitor, identity_matches};
