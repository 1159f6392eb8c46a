use std::time::Duration;
use tokio::time::Instant;

const STEP: Duration = Duration::from_millis(20);

/// What `look` finds, as soon as it finds something, or `None` when the time is over.
pub(crate) async fn until<T, F: AsyncFnMut() -> Option<T>>(within: Duration, mut look: F) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        tokio::time::sleep(STEP).await;
    }
}
