use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use switchboard_webchat::TokenBucket;

/// Token buckets by name, for requests that share no connection. Bounded: a bucket that is full again is forgotten.
pub(super) struct Meters {
    per_second: u32,
    burst: u32,
    most: usize,
    buckets: Mutex<HashMap<String, TokenBucket>>,
}

impl Meters {
    pub fn new(per_second: u32, burst: u32, most: usize) -> Meters {
        Meters { per_second, burst, most, buckets: Mutex::default() }
    }

    /// Takes one token of `name`, or says how many milliseconds to wait.
    pub fn take(&self, name: &str, now_ms: u64) -> Result<(), u64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get_mut(name) {
            return bucket.take(now_ms);
        }
        if buckets.len() >= self.most {
            buckets.retain(|_, bucket| !bucket.is_full(now_ms));
        }
        if buckets.len() >= self.most {
            // So many strangers at once are a flood: nobody new until some bucket is full again.
            return Err(1000);
        }
        let mut bucket = TokenBucket::new(self.per_second, self.burst, now_ms);
        let taken = bucket.take(now_ms);
        buckets.insert(name.to_owned(), bucket);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::Meters;

    #[test]
    fn names_are_metered_apart_and_forgotten_when_full() {
        let meters = Meters::new(1, 2, 3);
        assert_eq!((meters.take("a", 0), meters.take("a", 0), meters.take("a", 0)), (Ok(()), Ok(()), Err(1000)));
        assert_eq!((meters.take("b", 0), meters.take("c", 0)), (Ok(()), Ok(())));
        assert_eq!(meters.take("d", 0), Err(1000), "three names are remembered, and none is full");
        assert_eq!(meters.take("d", 5000), Ok(()));
        assert_eq!(meters.buckets.lock().unwrap().len(), 1);
    }
}
