//! Files that a provider wants to have before the message that shows them.

use crate::{Answer, AttemptOutcome, Call};
use bytes::Bytes;
use std::time::Duration;
use switchboard_envelope::Timestamp;

/// What comes next.
#[derive(Clone, Debug)]
pub enum Step {
    /// This call, after this wait.
    Call(Box<Call>, Duration),
    /// The provider has the file, under this name: it stands in the attachment's `url` when the message is encoded.
    Done(String),
}

/// One file on its way to the provider, within an attempt at a send. Pure: the daemon makes the calls and does the waiting. Nothing
/// of it is seen by the customer, so whatever fails before the message itself leaves may be done again.
pub trait Upload: Send {
    /// The next step, given the answer to the last call; there is none before the first. Total: an answer may hold anything.
    ///
    /// # Errors
    /// With what becomes of the attempt, when the provider will not have the file. It never is `unknown`: no message left.
    fn step(&mut self, file: &Bytes, answer: Option<&Answer>, now: Timestamp) -> Result<Step, AttemptOutcome>;
}
