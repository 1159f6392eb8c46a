//! What a channel may send in a time. Where several edges send, they have one budget: a record of the log, which each of them
//! replaces for every call that it makes, so that their provider never sees more than one edge would make.

use crate::clock;
use crate::log::{Log, LogError};
use std::sync::Arc;
use std::time::Duration;
use switchboard_envelope::Timestamp;
use tokio::sync::Mutex;

/// How long a log that did not answer is left alone.
const RETRY: Duration = Duration::from_millis(200);
/// Two clocks of edges that send are at most so far apart, in microseconds: each within five seconds of the log's.
const SKEW: i64 = 10_000_000;

/// What one channel may do in a time.
pub enum Limits {
    /// This process alone sends.
    Own(governor::DefaultDirectRateLimiter),
    /// Every edge of the channel does.
    Shared(Budget),
}

impl Limits {
    /// Waits until one more call may leave, and no longer than until `until`; or finds that the attempt of this claim is another's
    /// already, which uses nothing.
    pub async fn until_ready(&self, until: Timestamp, claim: &str) {
        match self {
            Limits::Own(limiter) => limiter.until_ready().await,
            Limits::Shared(budget) => budget.take(until, claim).await,
        }
    }
}

/// A budget that processes share: the moment at which it would be unused again, in microseconds (the generic cell rate algorithm).
pub struct Budget {
    log: Arc<dyn Log>,
    record: String,
    /// Microseconds that one call takes of it.
    every: i64,
    /// Calls that may leave at once.
    burst: i64,
    /// The record as this process knows it. Whoever holds it is next here.
    seen: Mutex<Option<String>>,
}

impl Budget {
    /// `count` calls of this channel in `per`, of which all may be made at once.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, channel: &str, count: u32, per: Duration) -> Budget {
        let every = i64::try_from(per.as_micros()).unwrap_or(i64::MAX) / i64::from(count.max(1));
        let (every, burst) = (every.max(1), i64::from(count.max(1)));
        Budget { log, record: format!("rate/{channel}"), every, burst, seen: Mutex::new(None) }
    }

    async fn take(&self, until: Timestamp, claim: &str) {
        let mut seen = self.seen.lock().await;
        let mut failures = 0_u64;
        while clock::now() <= until {
            match self.step(&mut seen, claim).await {
                Ok(None) => return,
                Ok(Some(wait)) => tokio::time::sleep(wait).await,
                Err(error) => {
                    failures += 1;
                    if failures.is_power_of_two() {
                        tracing::warn!(record = self.record, %error, "cannot use the channel's rate; trying again");
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// How long to wait before the next try; nothing when the call may leave.
    async fn step(&self, seen: &mut Option<String>, claim: &str) -> Result<Option<Duration>, LogError> {
        if seen.is_none() {
            *seen = self.log.get_cursor(&self.record).await?;
        }
        let unused = seen.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0);
        let next = match next(unused, clock::now().0.saturating_mul(1000), self.every, self.burst) {
            Ok(next) => next.to_string(),
            // Others can only have used more of it meanwhile.
            Err(wait) => return Ok(Some(Duration::from_micros(u64::try_from(wait).unwrap_or(0)))),
        };
        // A record that waits here for long is given to another edge as well: one of the two uses the rate.
        if self.log.claimed(claim).await?.is_some() {
            return Ok(None);
        }
        if self.log.swap_cursor(&self.record, seen.as_deref(), &next).await? {
            *seen = Some(next);
            return Ok(None);
        }
        *seen = None;
        Ok(Some(Duration::ZERO))
    }
}

/// When the budget is unused again after one more call now; else how long that call has to wait.
fn next(unused: i64, now: i64, every: i64, burst: i64) -> Result<i64, i64> {
    let whole = every.saturating_mul(burst);
    let full = now.saturating_add(whole);
    // Written by a clock that was ahead: the channel must not stand still until then.
    let unused = if unused > full.saturating_add(SKEW) { full - every } else { unused.max(now) };
    let after = unused.saturating_add(every);
    if after > full { Err(after - full) } else { Ok(after) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::nats::{NatsLog, NatsOptions};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;
    use switchboard_simulators::NatsServer;

    #[test]
    fn a_burst_leaves_at_once_and_then_one_after_the_other() {
        let (mut unused, mut now) = (0, 1_000_000);
        for n in 0..3 {
            unused = next(unused, now, 100, 3).unwrap_or_else(|wait| panic!("call {n} waits {wait}"));
        }
        assert_eq!(next(unused, now, 100, 3), Err(100));
        now += 100;
        unused = next(unused, now, 100, 3).expect("its turn");
        assert_eq!(next(unused, now + 40, 100, 3), Err(60));
        // What was not used in a long time is no more than one burst.
        now += 1_000_000;
        for _ in 0..3 {
            unused = next(unused, now, 100, 3).expect("a burst");
        }
        assert_eq!(next(unused, now, 100, 3), Err(100));
    }

    #[test]
    fn a_clock_that_was_ahead_stops_nothing() {
        let now = 1_000_000;
        let after = next(now + 86_400_000_000, now, 100, 3).expect("one call");
        assert_eq!((after, next(after, now, 100, 3)), (now + 300, Err(100)), "as after a burst");
        // Another edge's clock may be a little ahead.
        assert!(next(now + 5_000_000, now, 100, 3).is_err());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn edges_together_send_no_more_than_the_rate_and_no_less() {
        let broker = NatsServer::start();
        let (made, began) = (Arc::new(AtomicU32::new(0)), Instant::now());
        let mut edges = vec![];
        for _ in 0..3 {
            let options = NatsOptions::new(vec![broker.url()], "main", crate::outbound::process_name());
            let log: Arc<dyn Log> = NatsLog::open(&options).await.expect("open");
            // Forty a second, of which two at once.
            let budget = Budget { burst: 2, ..Budget::new(log, "sms", 40, Duration::from_secs(1)) };
            let made = made.clone();
            edges.push(tokio::spawn(async move {
                loop {
                    budget.take(Timestamp(i64::MAX), "sms.s1.1.1").await;
                    made.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        let before = (made.load(Ordering::Relaxed), Instant::now());
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (made, whole) = (made.load(Ordering::Relaxed), began.elapsed());
        edges.iter().for_each(tokio::task::JoinHandle::abort);
        let most = 2.0 + 40.0 * whole.as_secs_f64() + 1.0;
        assert!(f64::from(made) <= most, "{made} calls in {whole:?}");
        let least = 0.6 * 40.0 * before.1.elapsed().as_secs_f64();
        assert!(f64::from(made - before.0) >= least, "only {made} calls in {whole:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_another_edge_has_claimed_uses_nothing_and_what_is_over_waits_no_longer() {
        let broker = NatsServer::start();
        let options = NatsOptions::new(vec![broker.url()], "main", crate::outbound::process_name());
        let log = NatsLog::open(&options).await.expect("open");
        let budget = Budget::new(log.clone(), "sms", 1, Duration::from_secs(3600));
        log.claim("sms.s1.1.1", "another.1").await.expect("claimed");
        budget.take(Timestamp(i64::MAX), "sms.s1.1.1").await;
        assert_eq!(log.get_cursor("rate/sms").await, Ok(None), "nothing was used");
        budget.take(Timestamp(i64::MAX), "sms.s2.1.1").await;
        assert!(log.get_cursor("rate/sms").await.expect("read").is_some());
        let waits = budget.take(clock::now().plus(-1), "sms.s3.1.1");
        tokio::time::timeout(Duration::from_secs(5), waits).await.expect("an attempt whose end has come");
    }
}
