use siphasher::sip::SipHasher13;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

type Key = (String, String);
type Shard = HashMap<Key, watch::Sender<Signal>>;

/// What happened to a thread. Counters, so that many changes before somebody looks are one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signal {
    pub grew: u64,
    pub typing: u64,
    /// Who is typing, as customers see the name.
    pub typist: Option<String>,
    /// What the visitor read in another window.
    pub read_up_to: u64,
}

/// Who waits for which thread. A change wakes the sockets of its own thread and no other, so that ten thousand idle ones
/// cost nothing.
#[derive(Debug, Default)]
pub struct Wakes {
    shards: [Mutex<Shard>; 16],
}

impl Wakes {
    #[must_use]
    pub fn new() -> Arc<Wakes> {
        Arc::new(Wakes::default())
    }

    /// History shows something new of this thread: a message, a status, a place in the queue.
    pub fn grew(&self, channel: &str, thread: &str) {
        self.signal(channel, thread, |s| s.grew += 1);
    }

    /// Changes were missed: every thread that somebody listens to looks again.
    pub fn all_grew(&self) {
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.values().for_each(|sender| sender.send_modify(|s| s.grew += 1));
        }
    }

    /// An agent is writing in this thread. Ephemeral: nobody who comes later hears of it.
    pub fn agent_typing(&self, channel: &str, thread: &str, name: Option<&str>) {
        self.signal(channel, thread, |s| {
            s.typing += 1;
            s.typist = name.map(str::to_owned);
        });
    }

    /// The visitor read up to here in one of several windows.
    pub(super) fn visitor_read(&self, channel: &str, thread: &str, up_to: u64) {
        self.signal(channel, thread, |s| s.read_up_to = s.read_up_to.max(up_to));
    }

    /// Sockets and polls of this thread in this process.
    #[must_use]
    pub fn listeners(&self, channel: &str, thread: &str) -> usize {
        let key = (channel.to_owned(), thread.to_owned());
        self.shard(&key).get(&key).map_or(0, watch::Sender::receiver_count)
    }

    /// Listens to a thread, unless `most` already do. What happens after this call is seen.
    pub(super) fn listen(self: &Arc<Self>, channel: &str, thread: &str, most: usize) -> Option<Wake> {
        let key = (channel.to_owned(), thread.to_owned());
        let mut shard = self.shard(&key);
        let sender = shard.entry(key.clone()).or_insert_with(|| watch::channel(Signal::default()).0);
        if sender.receiver_count() >= most {
            return None;
        }
        let receiver = sender.subscribe();
        drop(shard);
        Some(Wake { wakes: Arc::clone(self), key, receiver: Some(receiver) })
    }

    fn signal(&self, channel: &str, thread: &str, change: impl FnOnce(&mut Signal)) {
        let key = (channel.to_owned(), thread.to_owned());
        if let Some(sender) = self.shard(&key).get(&key) {
            sender.send_modify(change);
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let mut hasher = SipHasher13::new();
        key.hash(&mut hasher);
        // Sixteen shards: the remainder is an index of the array. The map is whole even if a holder of the lock panicked.
        let [first, ..] = &self.shards;
        let at = usize::try_from(hasher.finish() % 16).unwrap_or_default();
        self.shards.get(at).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One listener of one thread.
pub(super) struct Wake {
    wakes: Arc<Wakes>,
    key: Key,
    /// Only `None` while being dropped.
    receiver: Option<watch::Receiver<Signal>>,
}

impl Wake {
    /// The thread's signal now; [`Wake::changed`] waits for the next one.
    pub fn seen(&mut self) -> Signal {
        self.receiver.as_mut().map(|r| r.borrow_and_update().clone()).unwrap_or_default()
    }

    pub async fn changed(&mut self) -> Signal {
        if let Some(receiver) = self.receiver.as_mut()
            && receiver.changed().await.is_ok()
        {
            return self.seen();
        }
        // The registry keeps the sender while anybody listens, so this is never reached; waiting is harmless.
        std::future::pending().await
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        let mut shard = self.wakes.shard(&self.key);
        self.receiver = None;
        if shard.get(&self.key).is_some_and(|s| s.receiver_count() == 0) {
            shard.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_wakes_its_own_thread_only_and_nothing_is_kept_afterwards() {
        let wakes = Wakes::new();
        let mut ann = wakes.listen("site", "ann", 2).unwrap();
        let mut bob = wakes.listen("site", "bob", 2).unwrap();
        wakes.grew("site", "ann");
        wakes.grew("site", "ann");
        wakes.grew("other", "bob");
        assert_eq!(ann.changed().await.grew, 2);
        assert!(!bob.receiver.as_mut().unwrap().has_changed().unwrap());
        wakes.all_grew();
        assert_eq!((ann.changed().await.grew, bob.changed().await.grew), (3, 1));
        let second = wakes.listen("site", "ann", 2).unwrap();
        assert!(wakes.listen("site", "ann", 2).is_none(), "a third of two");
        assert_eq!(wakes.listeners("site", "ann"), 2);
        drop((ann, second, bob));
        assert!(wakes.shards.iter().all(|s| s.lock().unwrap().is_empty()));
    }
}
