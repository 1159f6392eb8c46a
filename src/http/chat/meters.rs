use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// How often something is done at this moment, by name.
#[derive(Default)]
pub(super) struct Places(Arc<Mutex<HashMap<String, usize>>>);

/// One of them, until it is dropped.
pub(super) struct Place {
    places: Places,
    name: String,
}

impl Places {
    /// A place under `name`, when fewer than `most` are taken.
    pub fn take(&self, name: &str, most: usize) -> Option<Place> {
        let mut places = self.locked();
        let taken = places.get(name).copied().unwrap_or(0);
        if taken >= most {
            return None;
        }
        places.insert(name.to_owned(), taken + 1);
        Some(Place { places: Places(Arc::clone(&self.0)), name: name.to_owned() })
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.places.locked();
        if let Some(taken) = places.get_mut(&self.name) {
            *taken -= 1;
            if *taken == 0 {
                places.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Meters, Places};

    #[test]
    fn a_place_is_free_again_and_forgotten_once_it_is_left() {
        let places = Places::default();
        let (first, second) = (places.take("a", 2), places.take("a", 2));
        assert!(first.is_some() && second.is_some() && places.take("a", 2).is_none() && places.take("b", 1).is_some());
        drop(first);
        assert!(places.take("a", 2).is_some());
        drop(second);
        assert!(places.locked().is_empty());
    }

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
