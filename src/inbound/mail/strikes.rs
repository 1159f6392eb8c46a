//! What a server failed at, so that no mail can stand in the way of those behind it, and no outage costs one.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A server may fail as often at one mail, with growing waits between: together some minutes.
pub(super) const STRIKES: u32 = 8;
/// A mail at which a server fails that gives no other mail either may be as good as any: such a failure counts once in so long.
const SPREAD: Duration = Duration::from_secs(3600);

/// Failures at one mail.
struct Failure {
    count: u32,
    last: Instant,
}

/// Kept from one connection to the next.
#[derive(Default)]
pub(super) struct Strikes {
    /// What is being fetched.
    pub at: Option<(u32, u32)>,
    /// Mails below are fetched one by one.
    pub singly: u32,
    /// The server gave a mail over this connection: what it does not give it has, and cannot give.
    pub gives: bool,
    /// How often another mail was asked for, to see whether the server gives any.
    pub asked: usize,
    failed: BTreeMap<u32, Failure>,
}

impl Strikes {
    /// Notes at what the last connection ended.
    pub fn look_back(&mut self) {
        let Some((first, last)) = self.at.take() else { return };
        self.singly = last.saturating_add(1);
        if first != last {
            return;
        }
        let now = Instant::now();
        match self.failed.get_mut(&first) {
            Some(failure) if self.gives || now.duration_since(failure.last) >= SPREAD => {
                failure.count += 1;
                failure.last = now;
            }
            Some(_) => {}
            None => {
                self.failed.insert(first, Failure { count: 1, last: now });
            }
        }
    }

    /// A connection begins, of which nothing is known.
    pub fn begin(&mut self) {
        self.look_back();
        self.gives = false;
    }

    /// The server failed at it before.
    pub fn is_suspect(&self, uid: u32) -> bool {
        self.failed.contains_key(&uid)
    }

    /// It is given up.
    pub fn is_out(&self, uid: u32) -> bool {
        self.failed.get(&uid).is_some_and(|failure| failure.count >= STRIKES)
    }

    /// These were taken, or given up.
    pub fn settle(&mut self, first: u32, last: u32) {
        self.at = None;
        self.failed.retain(|uid, _| *uid < first || *uid > last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails_at(strikes: &mut Strikes, uid: u32, gives: bool) {
        strikes.begin();
        strikes.gives = gives;
        strikes.at = Some((uid, uid));
        strikes.look_back();
    }

    #[tokio::test(start_paused = true)]
    async fn a_mail_counts_as_failed_once_it_was_alone() {
        let mut strikes = Strikes { at: Some((3, 9)), ..Strikes::default() };
        strikes.look_back();
        assert!(strikes.singly == 10 && strikes.failed.is_empty(), "one of them, and nobody knows which");
        for _ in 0..STRIKES {
            assert!(!strikes.is_out(5));
            fails_at(&mut strikes, 5, true);
        }
        assert!(strikes.is_out(5) && !strikes.is_out(6));
        strikes.settle(5, 5);
        assert!(!strikes.is_suspect(5));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_no_mails_fault_but_does_not_go_on_for_ever() {
        let mut strikes = Strikes::default();
        for _ in 0..60 {
            fails_at(&mut strikes, 5, false);
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        assert!(!strikes.is_out(5), "an hour in which the server gave nothing");
        for _ in 0..STRIKES {
            fails_at(&mut strikes, 5, false);
            tokio::time::advance(SPREAD).await;
        }
        assert!(strikes.is_out(5), "hours in which it gave nothing: what comes behind it is looked at");
    }
}
