//! The one place that reads the wall clock.

use crate::log::{Log, LogError};
use switchboard_envelope::Timestamp;

/// The current time. Everything below the edges takes time as an argument.
#[must_use]
pub fn now() -> Timestamp {
    #[cfg(test)]
    if let Some(now) = simulated::now() {
        return now;
    }
    wall()
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn wall() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}

/// Who is further off the log's clock than this neither leads nor sends.
const OFF_MS: i64 = 5_000;

/// How far this machine's clock is off the log's, as a sentence, if that is too much.
///
/// # Errors
/// When the log does not say its time.
pub async fn off(log: &dyn Log) -> Result<Option<String>, LogError> {
    if log.exclusive() {
        return Ok(None);
    }
    let before = now();
    let theirs = log.now().await?;
    let after = now();
    // The log's answer was made somewhere between the two.
    let off = if theirs > after { theirs.since(after) } else { before.since(theirs).max(0) };
    Ok((off > OFF_MS)
        .then(|| format!("this machine's clock is {} s off the log's: set it, for instance with chrony", off / 1000)))
}

/// Simulated time, of one thread: the runtime's paused clock, counted from a start.
#[cfg(test)]
pub(crate) mod simulated {
    use std::cell::Cell;
    use switchboard_envelope::Timestamp;
    use tokio::time::Instant;

    thread_local! {
        static START: Cell<Option<(Timestamp, Instant)>> = const { Cell::new(None) };
        static AHEAD_MS: Cell<i64> = const { Cell::new(0) };
    }

    /// From here on, this thread's time is `at`, and moves with the runtime's.
    pub fn start(at: Timestamp) {
        START.set(Some((at, Instant::now())));
        ahead(0);
    }

    /// The clock is wrong by so much from now on; 0 sets it right.
    pub fn ahead(by_ms: i64) {
        AHEAD_MS.set(by_ms);
    }

    pub fn stop() {
        START.set(None);
    }

    pub(super) fn now() -> Option<Timestamp> {
        let right =
            START.get().map(|(at, from)| at.plus(i64::try_from(from.elapsed().as_millis()).unwrap_or(i64::MAX)));
        right.map(|now| now.plus(AHEAD_MS.get()))
    }
}
