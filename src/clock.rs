//! The one place that reads the wall clock.

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

/// Simulated time, of one thread: the runtime's paused clock, counted from a start.
#[cfg(test)]
pub(crate) mod simulated {
    use std::cell::Cell;
    use switchboard_envelope::Timestamp;
    use tokio::time::Instant;

    thread_local! {
        static START: Cell<Option<(Timestamp, Instant)>> = const { Cell::new(None) };
    }

    /// From here on, this thread's time is `at`, and moves with the runtime's.
    pub fn start(at: Timestamp) {
        START.set(Some((at, Instant::now())));
    }

    pub fn stop() {
        START.set(None);
    }

    pub(super) fn now() -> Option<Timestamp> {
        START.get().map(|(at, from)| at.plus(i64::try_from(from.elapsed().as_millis()).unwrap_or(i64::MAX)))
    }
}
