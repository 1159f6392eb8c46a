use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(20);

/// Looks until `look` finds something, for at most 15 s; panics with what it waited for and what it saw last.
pub async fn eventually<T, E, F>(what: &str, look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
    E: Display,
{
    eventually_within(Duration::from_secs(15), what, look).await
}

/// As [`eventually`], with a deadline of its own.
pub async fn eventually_within<T, E, F>(deadline: Duration, what: &str, look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
    E: Display,
{
    match poll_until(deadline, look).await {
        Ok(found) => found,
        Err(last) => panic!("waited {deadline:?} for {what}; last seen: {last}"),
    }
}

/// As [`eventually_within`], for callers that go on when the condition never held.
pub async fn poll_until<T, E, F>(deadline: Duration, mut look: impl FnMut() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, E>>,
    E: Display,
{
    let until = Instant::now() + deadline;
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(last) if Instant::now() >= until => return Err(last.to_string()),
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}
