/// A token bucket without a clock: the caller passes milliseconds of any monotonic clock.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    per_second: u32,
    burst: u32,
    /// Thousandths of a token, so that a fraction earned between two frames is not lost.
    milli: u64,
    at: u64,
}

impl TokenBucket {
    /// A full bucket. Rates and bursts below one are taken as one.
    #[must_use]
    pub fn new(per_second: u32, burst: u32, now_ms: u64) -> TokenBucket {
        let (per_second, burst) = (per_second.max(1), burst.max(1));
        TokenBucket { per_second, burst, milli: u64::from(burst) * 1000, at: now_ms }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// With the milliseconds until there is one. A clock that went back earns nothing and costs nothing.
    pub fn take(&mut self, now_ms: u64) -> Result<(), u64> {
        self.refill(now_ms);
        if self.milli >= 1000 {
            self.milli -= 1000;
            return Ok(());
        }
        Err((1000 - self.milli).div_ceil(u64::from(self.per_second)))
    }

    /// Whether it is full, and so remembers nothing.
    #[must_use]
    pub fn is_full(&mut self, now_ms: u64) -> bool {
        self.refill(now_ms);
        self.milli == u64::from(self.burst) * 1000
    }

    fn refill(&mut self, now_ms: u64) {
        let earned = now_ms.saturating_sub(self.at).saturating_mul(u64::from(self.per_second));
        self.milli = self.milli.saturating_add(earned).min(u64::from(self.burst) * 1000);
        self.at = self.at.max(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::TokenBucket;

    #[test]
    fn a_burst_of_twenty_then_ten_a_second() {
        let mut bucket = TokenBucket::new(10, 20, 5_000);
        for n in 0..20 {
            assert_eq!(bucket.take(5_000), Ok(()), "frame {n} of the burst");
        }
        assert_eq!(bucket.take(5_000), Err(100));
        assert_eq!(bucket.take(5_060), Err(40));
        assert_eq!(bucket.take(5_100), Ok(()));
        assert_eq!(bucket.take(5_100), Err(100));
        // A second later ten have grown, not more.
        assert_eq!((0..30).filter(|_| bucket.take(6_100).is_ok()).count(), 10);
    }

    #[test]
    fn an_hour_of_silence_earns_no_more_than_the_burst() {
        let mut bucket = TokenBucket::new(10, 20, 0);
        assert!(bucket.is_full(0));
        assert_eq!(bucket.take(0), Ok(()));
        assert!(!bucket.is_full(0));
        assert_eq!((0..100).filter(|_| bucket.take(3_600_000).is_ok()).count(), 20);
    }

    #[test]
    fn a_clock_that_goes_back_neither_panics_nor_pays() {
        let mut bucket = TokenBucket::new(10, 1, 10_000);
        assert_eq!(bucket.take(10_000), Ok(()));
        assert!(bucket.take(0).is_err());
        assert!(bucket.take(10_050).is_err());
        assert_eq!(bucket.take(10_100), Ok(()));
        assert_eq!(TokenBucket::new(0, 0, 0).take(u64::MAX), Ok(()));
    }
}
