//! Handing mails in at a mail server (RFC 6409): a client that always knows how far it came, so that a mail that may have been
//! taken is never called unsent, and one that was not is never called lost.

mod dialogue;
mod login;
mod pool;
#[cfg(test)]
mod tests;

pub use pool::Submission;

use crate::connect::Failure;
use crate::submission::Reply;
use switchboard_adapter_sdk::{AttemptOutcome, classify::Class};

/// Why a dialogue ended before its end.
#[derive(Debug)]
enum Ended {
    /// The server said no, or something that does not belong here.
    Answered(Reply),
    /// Nothing came, or the connection is gone.
    Lost(String),
    /// We ended it, for this reason.
    By(Box<AttemptOutcome>),
}

impl From<std::io::Error> for Ended {
    fn from(error: std::io::Error) -> Ended {
        Ended::Lost(error.to_string())
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Ended {
        match failure {
            Failure::Lost(why) => Ended::Lost(why),
            Failure::Config(what) => config(&what),
        }
    }
}

/// Somebody has to mend the configuration.
fn config(what: &str) -> Ended {
    Ended::By(Box::new(Class::Config.attempt(None, what.to_owned())))
}
