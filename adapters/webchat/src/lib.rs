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
pub use file::{check_upload, sign_file, verify_file, FileRefused, SignedFile, MAX_FILE_NAME};
pub use frame::{
    Ack, Bye, ChoiceFrame, ClientFrame, ErrorCode, ErrorFrame, FrameError, From, Hello, MessageFrame, MessageIn, Page,
    Queue, Read, ServerFrame, Speaker, Typing, User, Welcome, MAX_ATTACHMENTS, MAX_CLIENT_ID, MAX_FRAME, PROTOCOL,
};
pub use inbound::{confirmation, message, Context, Refused};
pub use multipart::{first_file, MultipartError, Part};
pub use origin::{Origin, OriginPolicy, OriginRefused};
pub use token::{identity_matches, identified_visitor, TokenError, TokenKey, Visitor};
