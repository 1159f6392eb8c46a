//! Who waits for a thread's transcript to change.

use crate::log::Seq;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use switchboard_routing_rules::event::KeyHash;
use switchboard_routing_rules::pack::Name;
use tokio::sync::watch;

/// Threads that somebody looks at. A thread nobody looks at costs nothing.
#[derive(Default)]
pub(super) struct Wakes(Mutex<HashMap<(Name, KeyHash), watch::Sender<Seq>>>);

/// Above this many entries, those without a listener are dropped.
const TIDY_ABOVE: usize = 256;

impl Wakes {
    pub fn subscribe(&self, channel: &str, thread: KeyHash) -> watch::Receiver<Seq> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= TIDY_ABOVE && map.len().is_power_of_two() {
            map.retain(|_, s| s.receiver_count() > 0);
        }
        map.entry((channel.to_owned(), thread)).or_insert_with(|| watch::channel(0).0).subscribe()
    }

    pub fn wake(&self, threads: &BTreeSet<(Name, KeyHash)>, cursor: Seq) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.is_empty() {
            return;
        }
        for thread in threads {
            let gone = match map.get(thread) {
                Some(sender) if sender.receiver_count() > 0 => {
                    sender.send_replace(cursor);
                    false
                }
                Some(_) => true,
                None => false,
            };
            if gone {
                map.remove(thread);
            }
        }
    }

    /// After history was made again, everybody looks again.
    pub fn wake_all(&self, cursor: Seq) {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in map.values() {
            sender.send_replace(cursor);
        }
    }
}
