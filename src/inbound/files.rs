//! The provider's files of messages. A message is taken without them, for a provider does not wait; once its frame is
//! durable they are fetched, and what came of that is an input like any other.
//!
//! What was looked at is remembered as a place in LOG, which never passes a message whose files are not settled: after a
//! crash they are found again.

mod round;

use self::round::Round;
use super::ingest::{Ingest, blob_scope};
use crate::clock;
use crate::history::HistoryHandle;
use crate::log::{LogError, Seq, Stored};
use async_trait::async_trait;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use switchboard_adapter_sdk::{Adapter, Call, Client, FetchError, File};
use switchboard_envelope::{Action, Actor, Attachment, Command, Inbound, Scope, event_id};
use switchboard_routing_rules::event::{Event, Private, Public};
use switchboard_routing_rules::ids::{ConvId, MessageId};
use tokio::sync::{Semaphore, broadcast, watch};
use tokio::task::{JoinHandle, JoinSet};

/// The largest file that is fetched, in bytes.
pub const FILE_MAX: usize = 16 * 1024 * 1024;
/// Files fetched at once.
const PARALLEL: usize = 4;
/// Messages whose files are in hand; beyond it LOG is read later.
const IN_HAND: usize = 2000;
/// Waits before each further try; after the last it is given up. Together about half a day.
const WAITS: [Duration; 7] = [
    Duration::from_secs(2),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(3 * 3600),
    Duration::from_secs(8 * 3600),
];
/// How often the place in LOG is stored.
const REMEMBER: Duration = Duration::from_secs(10);
/// Frames read from LOG at once.
const BATCH: usize = 200;
const CURSOR: &str = "files";
/// In whose name the daemon tells what became of files: no channel has it, and an adapter may not send commands in its own.
pub(super) const SPEAKER: &str = "router";

/// Fetches files.
#[async_trait]
pub trait FileSource: Send + Sync + 'static {
    async fn fetch(&self, call: Call, limit: usize) -> Result<File, FetchError>;
}

#[async_trait]
impl FileSource for Client {
    async fn fetch(&self, call: Call, limit: usize) -> Result<File, FetchError> {
        Client::fetch(self, call, limit).await
    }
}

/// How a channel's files are had.
#[derive(Clone)]
pub struct FileChannel {
    pub adapter: Arc<dyn Adapter>,
    pub source: Arc<dyn FileSource>,
}

type Decoded = Pin<Box<dyn Future<Output = Result<Vec<Event>, LogError>> + Send>>;

pub struct Fetcher {
    pub channels: HashMap<String, FileChannel>,
    pub ingest: Ingest,
    pub history: HistoryHandle,
    /// Opens a frame of LOG.
    pub decode: Box<dyn Fn(Stored) -> Decoded + Send + Sync>,
}

/// A message with files at their provider.
struct Found {
    seq: Seq,
    conv: ConvId,
    message: MessageId,
}

/// Fetches until `stop`.
pub fn spawn(fetcher: Fetcher, mut stop: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        tokio::select! {
            () = follow(Arc::new(fetcher)) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    })
}

/// Follows LOG for ever; aborting it aborts what it fetches. Of several processes one does, for what two fetch is fetched
/// twice.
async fn follow(fetcher: Arc<Fetcher>) {
    loop {
        if fetcher.on_duty(false).await {
            serve(&fetcher).await;
        }
        tokio::time::sleep(REMEMBER).await;
    }
}

/// Fetches while this process has the duty to.
async fn serve(fetcher: &Arc<Fetcher>) {
    let mut changes = fetcher.history.changes();
    let mut work = Work::new(fetcher.start().await);
    let mut remember = tokio::time::interval(REMEMBER);
    loop {
        if work.behind && work.has_room() {
            work.catch_up(fetcher).await;
            continue;
        }
        tokio::select! {
            change = changes.recv(), if !work.behind => match change {
                Ok(change) if change.is_rebase() => {
                    work.rewind(change.seq);
                    work.behind = true;
                }
                // Frames come in order; a gap, or no room for more, is made up for by reading LOG.
                Ok(change) if change.seq == work.seen + 1 && work.has_room() => {
                    work.look(fetcher, change.seq, &change.events);
                }
                Ok(change) => work.behind = change.seq > work.seen,
                Err(broadcast::error::RecvError::Lagged(_)) => work.behind = true,
                Err(broadcast::error::RecvError::Closed) => return,
            },
            Some(done) = work.jobs.join_next() => work.settled(done.ok()),
            _ = remember.tick() => {
                if !fetcher.on_duty(true).await {
                    return;
                }
                work.remember(fetcher).await;
            }
        }
    }
}

struct Work {
    /// The last frame that was looked at.
    seen: Seq,
    /// LOG has frames that no change told of.
    behind: bool,
    /// Messages in hand, by their frame.
    open: BTreeMap<Seq, usize>,
    jobs: JoinSet<Seq>,
    gate: Arc<Semaphore>,
    remembered: Seq,
}

impl Work {
    fn new(seen: Seq) -> Work {
        let gate = Arc::new(Semaphore::new(PARALLEL));
        Work { seen, behind: true, open: BTreeMap::new(), jobs: JoinSet::new(), gate, remembered: seen }
    }

    fn has_room(&self) -> bool {
        self.jobs.len() < IN_HAND
    }

    async fn catch_up(&mut self, fetcher: &Arc<Fetcher>) {
        let frames = match fetcher.frames(self.seen).await {
            Ok(frames) => frames,
            Err(error) => {
                tracing::warn!(%error, "cannot look for files in the log; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
                return;
            }
        };
        self.behind = !frames.is_empty();
        // An older copy of LOG ends before what was looked at.
        if frames.is_empty()
            && let Ok((_, last)) = fetcher.ingest.log.log_bounds().await
        {
            self.rewind(last);
        }
        for (seq, events) in frames {
            self.look(fetcher, seq, &events);
        }
    }

    fn look(&mut self, fetcher: &Arc<Fetcher>, seq: Seq, events: &[Event]) {
        for event in events {
            let Some(found) = wanted(seq, event) else { continue };
            *self.open.entry(seq).or_default() += 1;
            let (fetcher, gate) = (fetcher.clone(), self.gate.clone());
            self.jobs.spawn(async move {
                fetcher.settle(&found, &gate).await;
                found.seq
            });
        }
        self.seen = self.seen.max(seq);
    }

    /// Frames after `to` are other ones than those that were looked at, if any were.
    fn rewind(&mut self, to: Seq) {
        if to < self.seen {
            (self.seen, self.remembered, self.behind) = (to, self.remembered.min(to), true);
        }
    }

    fn settled(&mut self, seq: Option<Seq>) {
        // A job that panicked stays open: it is tried again at the next start.
        let Some(seq) = seq else { return };
        if let Some(count) = self.open.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&seq);
            }
        }
    }

    async fn remember(&mut self, fetcher: &Fetcher) {
        let upto = self.open.keys().next().map_or(self.seen, |first| first.saturating_sub(1));
        if upto <= self.remembered {
            return;
        }
        match fetcher.ingest.log.put_cursor(CURSOR, &upto.to_string()).await {
            Ok(()) => self.remembered = upto,
            Err(error) => tracing::debug!(%error, "the place of the files was not stored"),
        }
    }
}

/// A received message with files to fetch.
fn wanted(seq: Seq, event: &Event) -> Option<Found> {
    let Public::Received { conv, message, .. } = &event.public else { return None };
    let Some((_, Private::Received { content, .. })) = &event.private else { return None };
    let any = content.attachments.iter().any(Attachment::is_wanted);
    any.then_some(Found { seq, conv: *conv, message: *message })
}

impl Fetcher {
    /// Whether this process fetches. Who did goes on while the log does not answer.
    async fn on_duty(&self, was: bool) -> bool {
        self.ingest.log.duty(CURSOR).await.unwrap_or(was)
    }

    /// The place where an earlier process stopped looking.
    async fn start(&self) -> Seq {
        loop {
            match self.ingest.log.get_cursor(CURSOR).await {
                Ok(cursor) => return cursor.and_then(|c| c.parse().ok()).unwrap_or(0),
                Err(error) => {
                    tracing::warn!(%error, "cannot look for files in the log; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn frames(&self, after: Seq) -> Result<Vec<(Seq, Vec<Event>)>, LogError> {
        let mut frames = vec![];
        for stored in self.ingest.log.read_log(after, BATCH).await? {
            let seq = stored.seq;
            frames.push((seq, (self.decode)(stored).await?));
        }
        Ok(frames)
    }

    /// Fetches the files of one message, until all are stored or given up.
    async fn settle(&self, found: &Found, gate: &Semaphore) {
        // Without the message, or what is known of its conversation, there is nothing to tell.
        let Some((mut files, channel, thread)) = self.known(found).await else { return };
        let scope = blob_scope(&channel, &thread);
        for wait in WAITS.iter().map(Some).chain([None]) {
            let before = files.clone();
            if let Ok(_permit) = gate.acquire().await {
                let round = Round { channels: &self.channels, log: self.ingest.log.as_ref(), channel: &channel };
                round.run(&scope, &mut files, wait.is_some()).await;
            }
            if files != before {
                self.tell(&channel, found, &files).await;
            }
            match wait {
                Some(wait) if files.iter().any(Attachment::is_wanted) => tokio::time::sleep(*wait).await,
                _ => return,
            }
        }
    }

    /// The message's files as they stand, so that what an earlier process stored or gave up is not tried again; with its
    /// channel and thread.
    async fn known(&self, found: &Found) -> Option<(Vec<Attachment>, String, String)> {
        let history = self.history.history();
        loop {
            if history.wait_for(found.seq, Duration::from_secs(30)).await
                && let Ok(message) = history.message(found.message.to_string()).await
                && let Ok(conversation) = history.conversation(found.conv).await
            {
                let (conversation, _) = conversation?;
                return Some((message?.attachments, conversation.channel, conversation.thread?));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Ingests how the files stand. The same standing has the same id, so telling it twice changes nothing.
    async fn tell(&self, channel: &str, found: &Found, files: &[Attachment]) {
        let standing = serde_json::to_vec(files).unwrap_or_default();
        let digest = switchboard_adapter_sdk::signature::sha256_hex(&standing);
        let key = format!("files-{}-{}", found.message, digest.get(..32).unwrap_or(&digest));
        let command = Command {
            id: event_id(SPEAKER, "command", &key),
            channel: SPEAKER.to_owned(),
            at: clock::now(),
            actor: Actor { agent: None, token: None, scope: Scope::Admin },
            action: Action::Fetched {
                conversation: found.conv.to_string(),
                message: found.message.to_string(),
                attachments: files.to_vec(),
            },
            body_hash: None,
            traceparent: None,
        };
        until_stored(&self.ingest, channel, &Inbound::Command(Box::new(command))).await;
    }
}

/// Stores what became of files, however long the log does not answer. What it will never take, as it is too long, is given up.
async fn until_stored(ingest: &Ingest, channel: &str, inbound: &Inbound) {
    loop {
        match ingest.one(inbound.clone()).await {
            Ok(_) => return,
            Err(LogError::Refused(why)) => {
                let id = inbound.id();
                return tracing::error!(channel, id, why, "what became of the files of a message cannot be told");
            }
            Err(error) => tracing::warn!(channel, %error, "cannot tell what became of a file; trying again"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::{Fate, MemoryLog, MemoryOptions};
    use crate::metrics::Metrics;
    use switchboard_envelope::{Address, ConsentChange, ConsentState, MAX_ENVELOPE, Timestamp};

    #[tokio::test(start_paused = true)]
    async fn what_became_of_files_is_told_once_the_log_answers_and_never_where_it_is_too_long() {
        let log = MemoryLog::new(&MemoryOptions::default());
        let ingest = Ingest { log: Arc::new(log.clone()), metrics: Arc::new(Metrics::default()) };
        let told = |long: usize| {
            Inbound::Consent(ConsentChange {
                id: format!("wa:consent:{long}"),
                channel: "wa".into(),
                address: Address::new("whatsapp", "1"),
                state: ConsentState::OptedOut,
                at: Timestamp(1),
                reason: Some("r".repeat(long)),
                topic: None,
            })
        };
        log.force(Fate::RequestLost);
        until_stored(&ingest, "wa", &told(100)).await;
        assert_eq!(log.everything_in().len(), 1);
        let too_long = told(MAX_ENVELOPE);
        let given_up = until_stored(&ingest, "wa", &too_long);
        tokio::time::timeout(Duration::from_secs(60), given_up).await.expect("it does not go round for ever");
        assert_eq!(log.everything_in().len(), 1);
    }
}
