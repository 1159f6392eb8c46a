//! What a channel remembers between its calls.

use crate::{Answer, Call};
use switchboard_envelope::Timestamp;

/// What the daemon keeps for a channel, in the log. To everybody but the adapter they are just texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// A token that is renewed. The adapter seals what must not be read.
    pub token: Option<String>,
    /// The provider refused that token, so that another is needed at once.
    pub refused: bool,
    /// Another process renews that token: it is used until its end.
    pub elsewhere: bool,
    /// What is left of the provider's limits.
    pub counts: Option<String>,
}

/// Whether a call may leave.
#[derive(Clone, Debug)]
pub enum Before {
    /// It leaves, and these counts are kept, where it uses some.
    Go(Option<String>),
    /// It stays here, and this is answered in the provider's place.
    Hold(Box<Answer>),
    /// This call has to be made first; what it brings is read by [`Memory::renewed`].
    Renew(Box<Call>),
}

/// What an answer says beyond the call that it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// Counts to keep, where they changed.
    pub counts: Option<String>,
    /// The token was refused, and nothing was done: with another one the call may be made again.
    pub refused: bool,
}

/// A channel whose calls hang together: by a token that is renewed, or by a limit that they share. Pure, as the rest of the
/// adapter: what is kept goes in and comes out.
pub trait Memory: Send + Sync {
    /// Whether a call may leave now.
    fn before(&self, kept: &Kept, call: &Call, now: Timestamp) -> Before;

    /// The token to keep from now on. It is durable before it is used.
    ///
    /// # Errors
    /// With what is answered in the provider's place when there is none.
    fn renewed(&self, kept: &Kept, answer: &Answer, now: Timestamp) -> Result<String, Box<Answer>>;

    /// The call as it leaves, with what proves it.
    fn authorized(&self, call: Call, kept: &Kept, now: Timestamp) -> Call;

    /// What an answer says.
    fn learned(&self, kept: &Kept, call: &Call, answer: &Answer, now: Timestamp) -> Learned;
}
