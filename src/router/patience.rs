//! Asking a log that does not answer, until it does.

use super::codec::CodecError;
use super::recover::RecoverError;
use crate::log::LogError;
use std::fmt::Display;
use std::time::Duration;

/// How long a log that did not answer is left alone.
pub(super) const RETRY: Duration = Duration::from_millis(50);

/// Whether asking again can help.
pub(super) trait Passing: Display {
    fn passes(&self) -> bool;
}

impl Passing for LogError {
    fn passes(&self) -> bool {
        !matches!(self, LogError::Damaged(_))
    }
}

impl Passing for CodecError {
    fn passes(&self) -> bool {
        matches!(self, CodecError::Log(LogError::Unavailable(_)))
    }
}

impl Passing for RecoverError {
    fn passes(&self) -> bool {
        matches!(self, RecoverError::Log(LogError::Unavailable(_)))
    }
}

/// Asks until there is an answer, or an error that stays.
pub(super) async fn answered<T, E: Passing, F: Future<Output = Result<T, E>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> Result<T, E> {
    let mut tries = 0_u64;
    loop {
        match ask().await {
            Err(e) if e.passes() => {
                tries += 1;
                // Told less and less often: it can stay so for hours.
                if tries.is_power_of_two() {
                    tracing::warn!(error = %e, what, tries, "the log does not answer; asking again");
                }
                tokio::time::sleep(RETRY).await;
            }
            answer => return answer,
        }
    }
}
