//! Duties: what one process at a time should do, as polling a provider. A duty is a record of the bucket EDGES that its holder
//! renews. It goes to another once the holder has left the broker, or has not renewed it for a while by the clock of whoever
//! looks, so that no two clocks are compared.

use super::{bucket::Bucket, presence::Presence};
use crate::log::{LogError, Seq};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A duty that was not renewed for this long is free. Its holder asks for it at least three times in this.
const LAPSE: Duration = Duration::from_secs(30);

/// Stands where nobody has the duty: no process is called so.
const FREE: &[u8] = b"-";

pub(super) struct Duties {
    process: String,
    edges: Bucket,
    /// The record of each duty that another has, and since when it is the same one.
    seen: Mutex<BTreeMap<String, (Seq, Instant)>>,
}

impl Duties {
    pub(super) fn new(process: String, edges: Bucket) -> Duties {
        Duties { process, edges, seen: Mutex::default() }
    }

    pub(super) async fn take(&self, name: &str, presence: &Presence) -> Result<bool, LogError> {
        let key = key(name);
        let there = self.edges.find(&key).await?;
        let last = there.as_ref().map_or(0, |kept| kept.seq);
        if let Some(kept) = there
            && kept.data != self.process.as_bytes()
            && kept.data != FREE
            && !self.lapsed(name, kept.seq)
            && !presence.is_gone(&String::from_utf8_lossy(&kept.data)).await
        {
            return Ok(false);
        }
        self.edges.replace(&key, last, Bytes::from(self.process.clone())).await
    }

    /// Gives a duty back, if it is still this process's.
    pub(super) async fn leave(&self, name: &str) -> Result<(), LogError> {
        let key = key(name);
        match self.edges.find(&key).await? {
            Some(kept) if kept.data == self.process.as_bytes() => {
                self.edges.replace(&key, kept.seq, Bytes::from_static(FREE)).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Whether another's record has not changed for so long that it counts no more.
    fn lapsed(&self, name: &str, seq: Seq) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, since) = seen.entry(name.to_owned()).or_insert_with(|| (seq, Instant::now()));
        if *known != seq {
            (*known, *since) = (seq, Instant::now());
        }
        since.elapsed() >= LAPSE
    }
}

fn key(name: &str) -> String {
    format!("switchboard.duty.{name}")
}
