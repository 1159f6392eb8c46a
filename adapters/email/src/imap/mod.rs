//! The words of IMAP (RFC 3501), without a socket: where a response ends, what it says, and how a command is written.
//!
//! imap-proto reads the responses. It is given whole ones, and what it cannot read costs that response only.

pub mod command;
mod frame;
mod reply;

pub use frame::{Framer, TooLong};
pub use reply::{Code, Fetched, Reply, Said};
