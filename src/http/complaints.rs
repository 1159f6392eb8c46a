//! What anybody can bring about by calling: said to the operator, but not as often as anybody calls.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// One line of a channel this often; the metric counts every one.
const EVERY: Duration = Duration::from_secs(10);

/// What was said of one channel's deliveries. Whoever calls without a signature must not hide that ours are found wrong.
#[derive(Debug, Default)]
pub struct Complaints {
    pub missing: Complaint,
    pub forged: Complaint,
    /// Theirs, but for an account that no channel has.
    pub strangers: Complaint,
    /// Theirs, and news of an account that more than one channel could have.
    pub shared: Complaint,
    /// Theirs, but there is no room, or no log: every delivery of an outage comes here, again and again.
    pub unstored: Complaint,
}

/// One thing to complain of.
#[derive(Debug, Default)]
pub struct Complaint(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    last: Option<Instant>,
    /// Since then, and not said.
    unsaid: u64,
}

impl Complaint {
    /// Notes one; how many went unsaid before it, when it is to be said.
    pub fn note(&self) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if said.last.is_some_and(|last| now.duration_since(last) < EVERY) {
            said.unsaid = said.unsaid.saturating_add(1);
            return None;
        }
        said.last = Some(now);
        Some(std::mem::take(&mut said.unsaid))
    }

    /// Says that a delivery was refused, or let through though it should not be. Nothing of what came is in it: it may be a
    /// customer's words, or a secret that was sent to the wrong place.
    pub fn say(&self, channel: &str, client: Option<IpAddr>, why: &str, let_through: bool) {
        let Some(unsaid) = self.note() else { return };
        let client = client.map(tracing::field::display);
        if let_through {
            tracing::warn!(channel, client, why, unsaid, "a delivery without a valid signature was let through");
        } else {
            tracing::warn!(channel, client, why, unsaid, "a delivery without a valid signature was refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_in_ten_seconds_says_how_many_there_were() {
        let complaint = Complaint::default();
        assert_eq!(complaint.note(), Some(0));
        for _ in 0..500 {
            assert_eq!(complaint.note(), None);
        }
        tokio::time::advance(EVERY - Duration::from_millis(1)).await;
        assert_eq!(complaint.note(), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(complaint.note(), Some(501));
        tokio::time::advance(EVERY).await;
        assert_eq!(complaint.note(), Some(0));
    }
}
