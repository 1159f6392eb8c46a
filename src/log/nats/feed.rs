//! The end of a stream, followed: the newest records in memory, in order and without gaps, and a tail that wakes readers.
//!
//! The follower is an ephemeral push consumer with heartbeats. Whatever goes wrong (a lost connection, a gap in the
//! consumer's numbers, silence), it is made again from the first record that is missing. While it is not up to date, reads
//! at the end are errors and not "nothing new": the router would let time pass over answers that wait in IN.

use super::{
    bucket,
    link::{Failure, Link, no_answer, status},
    names::channel_of,
    pages::{self, Pages},
};
use crate::log::ring::Ring;
use crate::log::{Doubt, LogError, Seq, Stored};
use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use switchboard_envelope::Timestamp;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

const RING_BYTES: usize = 8 << 20;
const RING_RECORDS: usize = 16_384;
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence after which the consumer is made again.
const SILENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);
/// A server that just came to lead a stream may not show all of it for a moment.
const CATCH_UP: Duration = Duration::from_secs(5);

/// The end of a stream, as far as it was followed.
struct End {
    /// Every record after its floor and up to `to` is here.
    ring: Ring,
    to: Seq,
    /// The follower is at the end of the stream, or will be told when it grows.
    live: bool,
    /// The end of the stream as this process knows it, from answers of its own.
    known: Seq,
    /// When the record at `to` was stored, where that is known: a stream that was put back from a copy and grew since has another
    /// record there.
    to_at: Option<Timestamp>,
    /// Since when the stream has seemed too short.
    short: Option<Instant>,
}

pub(super) struct Feed {
    link: Link,
    doubt: Arc<Doubt>,
    /// What is in doubt when this stream is another than was read.
    another: fn(&Doubt),
    stream: String,
    end: Mutex<End>,
    tail: watch::Sender<Seq>,
    /// Wakes those who wait for the follower to catch up.
    moved: watch::Sender<()>,
    pages: Pages,
    beside: Option<Beside>,
}

/// A stream that comes back as an older copy together with the one that is followed, where it may be the only one that lacks anything:
/// claims are made without a frame.
struct Beside {
    stream: String,
    /// The newest record that this process made there: its place and what it holds.
    made: Mutex<Option<(Seq, Bytes)>>,
}

/// What a stream that came back holds of what this process made in it.
enum Holds {
    All,
    /// It ends before that, which a server that just came to lead may show for a moment.
    Short,
    /// Another record is in its place.
    Another,
}

impl Beside {
    fn made(&self) -> MutexGuard<'_, Option<(Seq, Bytes)>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn holds(&self, link: &Link) -> Result<Holds, Failure> {
        let Some((seq, data)) = self.made().clone() else { return Ok(Holds::All) };
        if info(link, &self.stream).await?.state.last_seq < seq {
            return Ok(Holds::Short);
        }
        // One that was trimmed says nothing.
        let there = bucket::get(link, &self.stream, &json!({ "seq": seq })).await?;
        Ok(if there.is_none_or(|there| there.data == data) { Holds::All } else { Holds::Another })
    }
}

/// The parts of `STREAM.INFO` that we read.
#[derive(Deserialize)]
pub(super) struct StreamInfo {
    pub state: StreamState,
    /// The server's clock when it answered.
    #[serde(default)]
    pub ts: Option<jiff::Timestamp>,
}

#[derive(Deserialize)]
pub(super) struct StreamState {
    pub messages: u64,
    pub bytes: u64,
    pub first_seq: Seq,
    pub last_seq: Seq,
    pub consumer_count: usize,
}

pub(super) async fn info(link: &Link, stream: &str) -> Result<StreamInfo, Failure> {
    link.api(&format!("STREAM.INFO.{stream}"), &json!({})).await
}

#[derive(Deserialize)]
struct Consumer {
    name: String,
    #[serde(default)]
    num_pending: u64,
}

impl Feed {
    /// A stream that ends at `last`; nothing of it can be read until it is followed.
    pub(super) fn new(link: Link, stream: String, last: Seq, doubt: Arc<Doubt>, another: fn(&Doubt)) -> Feed {
        let end = End {
            ring: Ring::new(last, RING_BYTES, RING_RECORDS),
            to: last,
            live: false,
            known: last,
            to_at: None,
            short: None,
        };
        Feed {
            pages: Pages::new(link.clone(), stream.clone()),
            doubt,
            another,
            link,
            stream,
            end: Mutex::new(end),
            tail: watch::Sender::new(last),
            moved: watch::Sender::new(()),
            beside: None,
        }
    }

    /// The same, which looks at another stream too after a lost connection.
    pub(super) fn beside(self, stream: String) -> Feed {
        Feed { beside: Some(Beside { stream, made: Mutex::default() }), ..self }
    }

    /// This process made this record in this place of the stream beside.
    pub(super) fn made_beside(&self, seq: Seq, data: Bytes) {
        if let Some(beside) = &self.beside {
            let mut made = beside.made();
            if made.as_ref().is_none_or(|(newest, _)| *newest < seq) {
                *made = Some((seq, data));
            }
        }
    }

    /// Follows the stream until the task is aborted.
    pub(super) fn follow(self: &Arc<Self>) -> JoinHandle<()> {
        let following = Arc::clone(self);
        tokio::spawn(async move { following.follow_on().await })
    }

    pub(super) fn tail(&self) -> watch::Receiver<Seq> {
        self.tail.subscribe()
    }

    /// This process learned that the stream has a record at `seq`: reads from now on show it.
    pub(super) fn known(&self, seq: Seq) {
        let mut end = self.lock();
        end.known = end.known.max(seq);
    }

    fn lock(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records after `after`, in order, at most `max`.
    pub(super) async fn read(&self, after: Seq, max: usize) -> Result<Vec<Stored>, LogError> {
        let deadline = tokio::time::Instant::now() + self.link.timeout();
        let mut moved = self.moved.subscribe();
        loop {
            moved.borrow_and_update();
            let fresh = self.lock().read(after, max);
            match fresh {
                Fresh::Here(records) => return Ok(records),
                Fresh::Before(to) => return self.pages.read(after, max, to).await,
                Fresh::Behind => {}
            }
            if tokio::time::timeout_at(deadline, moved.changed()).await.is_err() {
                return Err(LogError::Unavailable(format!("the end of {} is out of reach", self.stream)));
            }
        }
    }

    /// Waits until it is known that the stream is the one that was followed all the time, as after a lost connection: nothing may
    /// be done before that an older copy does not know of.
    pub(super) async fn sound(&self) -> Result<(), LogError> {
        let deadline = Instant::now() + self.link.timeout();
        let mut moved = self.moved.subscribe();
        loop {
            moved.borrow_and_update();
            if self.lock().live {
                return Ok(());
            }
            if tokio::time::timeout_at(deadline, moved.changed()).await.is_err() {
                return Err(LogError::Unavailable(format!("the end of {} is out of reach", self.stream)));
            }
        }
    }

    /// Forgets records up to and with `up_to`, which the stream no longer has.
    pub(super) fn trim(&self, up_to: Seq) {
        self.lock().ring.trim(up_to);
        self.pages.forget();
    }

    async fn follow_on(&self) {
        let mut connections = self.link.connections();
        loop {
            if let Err(why) = self.follow_once().await {
                tracing::debug!(stream = self.stream, %why, "following a stream again");
            }
            self.lock().live = false;
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = connections.changed() => {}
            }
        }
    }

    /// Follows with one consumer, until something is wrong with it.
    async fn follow_once(&self) -> Result<(), Failure> {
        let mut lost = self.link.losses();
        let state = info(&self.link, &self.stream).await?.state;
        let to = self.lock().to;
        let there = match to {
            1.. if state.last_seq >= to => bucket::get(&self.link, &self.stream, &json!({ "seq": to })).await?,
            _ => None,
        };
        let beside = match &self.beside {
            Some(beside) => beside.holds(&self.link).await?,
            None => Holds::All,
        };
        let (from, another) = self.lock().start(&state, there.map(|kept| kept.at), &beside)?;
        if another {
            (self.another)(&self.doubt);
            // What is made from here on is of the new life.
            if let Some(beside) = &self.beside {
                *beside.made() = None;
            }
            self.pages.forget();
            self.tail.send_replace(from);
        }
        let inbox = self.link.client.new_inbox();
        let mut messages = self.link.client.subscribe(inbox.clone()).await.map_err(|e| no_answer(e.to_string()))?;
        let consumer: Consumer = self
            .link
            .api(
                &format!("CONSUMER.CREATE.{}", self.stream),
                &json!({
                    "stream_name": self.stream,
                    "config": {
                        "deliver_policy": "by_start_sequence", "opt_start_seq": from + 1, "deliver_subject": inbox,
                        "ack_policy": "none", "replay_policy": "instant", "max_deliver": 1, "flow_control": true,
                        "idle_heartbeat": nanos(HEARTBEAT), "mem_storage": true, "num_replicas": 1,
                    },
                }),
            )
            .await?;
        if consumer.num_pending == 0 {
            self.caught_up(state.last_seq);
        }
        let ended = self.receive(&mut messages, &mut lost, state.last_seq).await;
        // It would go by itself after five seconds without us.
        let delete = format!("CONSUMER.DELETE.{}.{}", self.stream, consumer.name);
        let _ = self.link.client.publish(format!("$JS.API.{delete}"), Bytes::new()).await;
        ended
    }

    async fn receive(
        &self,
        messages: &mut Subscriber,
        lost: &mut watch::Receiver<u64>,
        last: Seq,
    ) -> Result<(), Failure> {
        let mut delivered = 0;
        loop {
            let message = tokio::select! {
                message = tokio::time::timeout(SILENCE, messages.next()) => message,
                _ = lost.changed() => return Err(no_answer("the connection was lost".into())),
            };
            let message = match message {
                Err(_) => return Err(no_answer("the consumer is silent".into())),
                Ok(None) => return Err(no_answer("the subscription ended".into())),
                Ok(Some(message)) => message,
            };
            if status(&message).is_some() {
                self.beat(&message, delivered).await?;
                continue;
            }
            let (record, number) = record(message)?;
            if number != delivered + 1 {
                return Err(no_answer(format!("a gap after delivery {delivered}")));
            }
            delivered = number;
            let seq = record.seq;
            self.lock().push(record);
            self.moved.send_replace(());
            self.tail.send_replace(seq);
            if seq >= last {
                self.caught_up(seq);
            }
        }
    }

    /// A heartbeat says how far the consumer is; a flow control message wants an answer.
    async fn beat(&self, message: &Message, delivered: u64) -> Result<(), Failure> {
        let header = |name: &str| message.headers.as_ref().and_then(|h| h.get(name)).map(|v| v.as_str().to_owned());
        let answer_to = message.reply.as_ref().map(ToString::to_string).or_else(|| header("Nats-Consumer-Stalled"));
        if let Some(subject) = answer_to {
            let _ = self.link.client.publish(subject, Bytes::new()).await;
        }
        let said = header("Nats-Last-Consumer").and_then(|n| n.parse::<u64>().ok());
        match said {
            Some(said) if said != delivered => Err(no_answer(format!("delivery {said} of the consumer is missing"))),
            _ => Ok(()),
        }
    }

    fn caught_up(&self, last: Seq) {
        {
            let mut end = self.lock();
            end.live = true;
            if last > end.to {
                (end.to, end.to_at) = (last, None);
            }
        }
        self.moved.send_replace(());
        // A reader that waits looks again: what it saw may have been an error.
        self.tail.send_modify(|seen| *seen = (*seen).max(last));
    }
}

enum Fresh {
    Here(Vec<Stored>),
    /// Further back than the ring; it is complete after this sequence.
    Before(Seq),
    /// The follower has not come so far yet.
    Behind,
}

impl End {
    /// Where the follower goes on, and whether the stream is another one than was followed. `there` is when the record at `to`
    /// was stored, where there is one; `beside` is what the stream beside it holds.
    fn start(&mut self, state: &StreamState, there: Option<Timestamp>, beside: &Holds) -> Result<(Seq, bool), Failure> {
        let mut another = there.is_some() && self.to_at.is_some() && there != self.to_at;
        another |= matches!(beside, Holds::Another);
        let short = matches!(beside, Holds::Short);
        if another || (state.last_seq >= self.to && !short) {
            self.short = None;
        } else if self.short.get_or_insert_with(Instant::now).elapsed() < CATCH_UP {
            return Err(no_answer(format!(
                "it ends at {}, and {} was seen; short beside it: {short}",
                state.last_seq, self.to
            )));
        } else {
            another = true;
        }
        if another {
            // What we hold is of another life of it.
            tracing::error!(seen = self.to, last = state.last_seq, "a stream is not the one that was followed");
            self.ring.restart(state.last_seq);
            (self.to, self.known) = (state.last_seq, state.last_seq);
            (self.to_at, self.short) = (None, None);
        } else if there.is_some() {
            self.to_at = there;
        }
        self.known = self.known.max(state.last_seq);
        Ok((self.to, another))
    }

    fn push(&mut self, record: Stored) {
        if record.seq >= self.to {
            (self.to, self.to_at) = (record.seq, Some(record.at));
        }
        self.ring.push(record);
    }

    fn read(&self, after: Seq, max: usize) -> Fresh {
        let Some(here) = self.ring.after(after, max) else { return Fresh::Before(self.ring.floor()) };
        let reached = here.last().map_or(after, |r| r.seq);
        let at_end = here.len() < max && self.ring.last().is_none_or(|last| reached >= last);
        // At the end there may be more to come: what this process knows of must be shown, and an end that nobody watches is
        // no end.
        let missing = self.live && self.to < self.known && after < self.known;
        if at_end && (missing || (here.is_empty() && !self.live)) {
            return Fresh::Behind;
        }
        Fresh::Here(here)
    }
}

/// A delivered message as a record, with its number in the consumer.
pub(super) fn record(message: Message) -> Result<(Stored, u64), Failure> {
    let place = message.reply.as_ref().and_then(|r| pages::place(r.as_str()));
    let Some(place) = place else { return Err(no_answer("a delivery without its place in the stream".into())) };
    let channel = channel_of(message.subject.as_str());
    Ok((Stored { seq: place.seq, at: place.at, channel, data: message.payload }, place.number))
}

pub(super) fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}
