//! Into IN: one publish a record under its id, as many at once as there are callers.

use super::{
    feed::{self, Feed},
    link::{Failure, Link, code},
    names::{Names, channel_token},
};
use crate::log::{Class, InRecord, Ingested, LogError, in_full, in_limit};
use async_nats::{HeaderMap, header::HeaderValue};
use bytes::Bytes;
use std::{
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

/// What a record costs the stream beside subject, headers and data.
const OVERHEAD: usize = 64;
/// What this process counted is compared with the broker this often: other processes write too, and the router trims.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// How long the same id is left alone that is just being stored.
const IN_PROCESS: Duration = Duration::from_millis(5);

/// How full IN is, as far as this process knows.
pub(super) struct Room {
    max_bytes: u64,
    bytes: AtomicU64,
    counting: AtomicBool,
    counted: std::sync::Mutex<Instant>,
    /// Those who are about to be refused ask the broker first, one question for all of them.
    asking: Mutex<()>,
    asked: watch::Sender<u64>,
}

impl Room {
    pub(super) fn new(max_bytes: u64, bytes: u64) -> Room {
        Room {
            max_bytes,
            bytes: AtomicU64::new(bytes),
            counting: AtomicBool::new(false),
            counted: std::sync::Mutex::new(Instant::now()),
            asking: Mutex::new(()),
            asked: watch::Sender::new(0),
        }
    }

    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    fn fits(&self, class: Class, cost: u64) -> bool {
        self.bytes.load(Ordering::Relaxed).saturating_add(cost) <= in_limit(class, self.max_bytes)
    }

    fn count(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        *self.counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
    }

    fn is_stale(&self) -> bool {
        self.counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner).elapsed() >= COUNT_EVERY
    }
}

pub(super) struct Inlet {
    pub link: Link,
    pub names: Names,
    pub feed: Arc<Feed>,
    pub room: Arc<Room>,
    /// Whether IN is kept in several copies.
    pub copies: bool,
}

fn header(name: &'static str, value: &str, headers: &mut HeaderMap) -> Result<(), LogError> {
    let value = HeaderValue::from_str(value)
        .map_err(|e| LogError::Refused(format!("the id `{}` cannot travel in a header: {e}", value.escape_debug())))?;
    headers.insert(name, value);
    Ok(())
}

impl Inlet {
    pub(super) async fn ingest(&self, record: InRecord) -> Result<Ingested, LogError> {
        let subject = self.names.in_subject(channel_token(&record.channel)?);
        let mut headers = HeaderMap::new();
        header("Nats-Msg-Id", &record.id, &mut headers)?;
        let cost = (subject.len() + record.id.len() + record.data.len() + OVERHEAD) as u64;
        if !self.has_room(record.class, cost).await? {
            return self.refuse(subject, headers).await;
        }
        let deadline = Instant::now() + self.link.timeout();
        let stored = loop {
            match self.link.publish(subject.clone(), headers.clone(), record.data.clone()).await {
                // Where several servers keep the stream, another delivery of the same id is on its way to them.
                Err(e) if e.is(code::ID_IN_PROCESS) && Instant::now() < deadline => {
                    tokio::time::sleep(IN_PROCESS).await
                }
                stored => break stored?,
            }
        };
        if stored.duplicate {
            return Ok(Ingested::Duplicate);
        }
        self.room.bytes.fetch_add(cost, Ordering::Relaxed);
        self.feed.known(stored.seq);
        Ok(Ingested::Stored(stored.seq))
    }

    async fn has_room(&self, class: Class, cost: u64) -> Result<bool, LogError> {
        if self.room.fits(class, cost) {
            self.count_sometimes();
            return Ok(true);
        }
        if class == Class::Vital {
            // The broker refuses what really does not fit.
            return Ok(true);
        }
        let mut asked = self.room.asked.subscribe();
        let _one = self.room.asking.lock().await;
        // Somebody who waited for this lock after us may have asked already.
        if !asked.has_changed().unwrap_or(false) {
            let info = feed::info(&self.link, &self.names.inn()).await?;
            self.room.count(info.state.bytes);
            self.room.asked.send_modify(|n| *n += 1);
        }
        asked.mark_unchanged();
        Ok(self.room.fits(class, cost))
    }

    fn count_sometimes(&self) {
        if !self.room.is_stale() || self.room.counting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (link, stream, room) = (self.link.clone(), self.names.inn(), Arc::clone(&self.room));
        tokio::spawn(async move {
            if let Ok(info) = feed::info(&link, &stream).await {
                room.count(info.state.bytes);
            }
            room.counting.store(false, Ordering::Release);
        });
    }

    /// There is no room. Whether IN holds the record already is still worth knowing: its provider would retry for nothing.
    /// The question is a publish that cannot be stored: ids are compared before the last id is, and no record has this one. A stream
    /// of several copies gives no answer to it: there the provider retries until there is room.
    async fn refuse(&self, subject: String, mut headers: HeaderMap) -> Result<Ingested, LogError> {
        if self.copies {
            return Err(in_full(self.room.bytes.load(Ordering::Relaxed), self.room.max_bytes));
        }
        headers.insert("Nats-Expected-Last-Msg-Id", "switchboard:none");
        match self.link.publish(subject, headers, Bytes::new()).await {
            Ok(stored) if stored.duplicate => Ok(Ingested::Duplicate),
            Ok(_) => Err(LogError::Damaged("IN stored a question".into())),
            Err(Failure::NoAnswer(why)) => Err(LogError::Unavailable(why)),
            Err(_) => Err(in_full(self.room.bytes.load(Ordering::Relaxed), self.room.max_bytes)),
        }
    }
}
