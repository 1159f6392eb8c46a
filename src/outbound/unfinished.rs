//! What has to come to its end though nobody waits for it any more.

use std::sync::Arc;
use tokio::sync::watch;

/// Counts what is under way and must not be dropped in the middle: a token that is renewed is good for nothing any more at its
/// provider, and the next one is nowhere yet. The end of the process waits for it.
#[derive(Clone, Debug)]
pub struct Unfinished(Arc<watch::Sender<usize>>);

impl Default for Unfinished {
    fn default() -> Unfinished {
        Unfinished(Arc::new(watch::Sender::new(0)))
    }
}

/// One that has begun; it is finished when this is dropped.
pub struct Begun(Arc<watch::Sender<usize>>);

impl Unfinished {
    #[must_use]
    pub fn begin(&self) -> Begun {
        self.0.send_modify(|count| *count += 1);
        Begun(self.0.clone())
    }

    #[must_use]
    pub fn is_any(&self) -> bool {
        *self.0.borrow() > 0
    }

    /// Waits until everything that had begun is finished.
    pub async fn end(&self) {
        // It cannot fail: the sender is here.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}
