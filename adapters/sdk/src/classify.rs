//! Outcomes from tables: an adapter lists its provider's codes as [`Row`]s, and one function reads them.

use crate::{AttemptOutcome, CallError};
use switchboard_envelope::Outcome;

/// What a provider's answer means for a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Taken.
    Ok,
    /// Taken, but the provider cut the text.
    OkTruncated,
    /// Too much, too fast; nothing was done.
    RateLimit,
    /// A passing trouble that the provider documents; nothing was done.
    Retry,
    /// It may have been done.
    Ambiguous,
    /// This content will never be taken.
    PermanentMessage,
    /// This address will never be reached.
    PermanentRecipient,
    /// The person does not want it.
    OptedOut,
    /// The provider's messaging window is closed.
    OutsideWindow,
    /// Our credentials, permission or sender are refused: an operator must act.
    Config,
}

impl Class {
    /// The outcome of an attempt that ended in this class.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        match self {
            Class::Ok | Class::OkTruncated => Outcome::Accepted,
            Class::RateLimit | Class::Retry | Class::Config => Outcome::NotSent,
            Class::PermanentMessage | Class::PermanentRecipient | Class::OptedOut | Class::OutsideWindow => {
                Outcome::Rejected
            }
            Class::Ambiguous => Outcome::Unknown,
        }
    }

    /// The outcome with the provider's code and a sentence for a person.
    #[must_use]
    pub fn attempt(self, code: Option<&str>, sentence: impl Into<String>) -> AttemptOutcome {
        AttemptOutcome {
            code: code.map(str::to_owned),
            detail: Some(sentence.into()),
            channel_refused: self == Class::Config,
            opted_out: self == Class::OptedOut,
            ..AttemptOutcome::new(self.outcome())
        }
    }
}

/// One code of a provider.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The code as the provider writes it.
    pub code: &'static str,
    pub class: Class,
    /// What it means, for the agent or operator who reads it: lower case, no full stop.
    pub sentence: &'static str,
}

/// The row of `code`, if the table has one.
#[must_use]
pub fn find(table: &'static [Row], code: &str) -> Option<&'static Row> {
    table.iter().find(|row| row.code == code)
}

/// The outcome of a call that got no answer.
#[must_use]
pub fn unanswered(error: &CallError) -> AttemptOutcome {
    let class = match error {
        CallError::NotSent(_) => Class::Retry,
        CallError::Lost(_) => Class::Ambiguous,
    };
    class.attempt(None, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_config_pauses_the_channel_and_only_an_opt_out_is_one() {
        let all = [
            (Class::Ok, Outcome::Accepted),
            (Class::OkTruncated, Outcome::Accepted),
            (Class::RateLimit, Outcome::NotSent),
            (Class::Retry, Outcome::NotSent),
            (Class::Ambiguous, Outcome::Unknown),
            (Class::PermanentMessage, Outcome::Rejected),
            (Class::PermanentRecipient, Outcome::Rejected),
            (Class::OptedOut, Outcome::Rejected),
            (Class::OutsideWindow, Outcome::Rejected),
            (Class::Config, Outcome::NotSent),
        ];
        for (class, outcome) in all {
            let attempt = class.attempt(Some("7"), "why");
            assert_eq!((attempt.outcome, attempt.channel_refused), (outcome, class == Class::Config), "{class:?}");
            assert_eq!(attempt.opted_out, class == Class::OptedOut, "{class:?}");
            assert_eq!((attempt.code.as_deref(), attempt.detail.as_deref()), (Some("7"), Some("why")));
        }
    }

    #[test]
    fn a_lost_answer_is_unknown_and_a_failed_connect_is_not_sent() {
        assert_eq!(unanswered(&CallError::Lost("reset".into())).outcome, Outcome::Unknown);
        assert_eq!(unanswered(&CallError::NotSent("refused".into())).outcome, Outcome::NotSent);
        assert!(!unanswered(&CallError::NotSent("refused".into())).channel_refused);
    }
}
