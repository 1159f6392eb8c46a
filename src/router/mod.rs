//! The single writer of a workspace: it reads IN in order, decides, and commits what it decided as frames.
//!
//! Nothing leaves this module (an OUT record, an answer, a change for readers) before the frame that says so is durable.

mod answers;
mod codec;
mod recover;
mod snapshot;
mod turn;

pub use answers::Answers;
pub use codec::{Codec, CodecError};
pub use recover::RecoverError;
pub use turn::{Feed, Router, RouterHandle, Seat, Stop, View};
