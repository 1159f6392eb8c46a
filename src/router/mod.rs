//! The single writer of a workspace: it reads IN in order, decides, and commits what it decided as frames. Several processes
//! may be ready to: one leads, the others follow LOG and take over.
//!
//! Nothing leaves this module (an OUT record, an answer, a change for readers) before the frame that says so is durable.

mod alarms;
mod answers;
mod codec;
#[cfg(test)]
mod ends_tests;
mod follow;
mod member;
mod outgoing;
mod patience;
#[cfg(test)]
mod poison_tests;
mod post;
mod rebase;
#[cfg(test)]
mod rebase_tests;
mod recover;
mod snapshot;
#[cfg(test)]
mod standby_tests;
#[cfg(test)]
mod trimmed_tests;
mod turn;
mod unsent;
mod verdicts;

pub use answers::Answers;
pub use codec::{Codec, CodecError};
pub use member::Member;
pub use post::{Feed, RouterHandle, Seat, Standing, View};
pub use rebase::{is_as_read, request_rebase};
pub use recover::{RecoverError, snapshot_of, state_of};
pub use turn::Stop;
