//! The log on NATS JetStream, for more than one machine.
//!
//! IN, LOG and OUT are streams, claims, keys and cursors are buckets, blobs and snapshots are objects. A frame is one
//! message, appended by compare-and-swap; what goes with it is written before (keys) or after (sends) it, and completed by
//! whoever finds it half done. docs/operators/nats.md lists every name.

mod blobs;
mod bucket;
#[cfg(test)]
mod cluster_tests;
mod commit;
mod durable;
mod duties;
#[cfg(test)]
mod fault_tests;
mod feed;
mod ingest;
mod link;
mod moving;
mod names;
mod options;
mod outbox;
mod pages;
#[cfg(test)]
mod permission_tests;
mod presence;
mod setup;
mod stores;
#[cfg(test)]
mod tests;

pub use options::{Credentials, NatsOptions, OpenError, Part, Sizes, Tls};

use super::moving::{SCOPES_KEY, Scopes};
use super::{
    Claim, Commit, Doubt, FrameWrite, InRecord, Ingested, KeyId, Leader, Log, LogError, OutRecord, Outbox, Seq, Stored,
};
use async_trait::async_trait;
use blobs::Blobs;
use bucket::{Bucket, Created};
use bytes::Bytes;
use commit::Committer;
use duties::Duties;
use feed::Feed;
use futures_util::StreamExt as _;
use ingest::{Inlet, Room};
use link::Link;
use names::Names;
use presence::Presence;
use serde_json::json;
use std::sync::Arc;
use switchboard_envelope::{BlobRef, Timestamp};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// The log on a broker. Dropping it ends what it follows; what was acknowledged stays.
pub struct NatsLog {
    link: Link,
    names: Names,
    inlet: Inlet,
    log: Arc<Feed>,
    committer: Committer,
    claims: Bucket,
    keys: Bucket,
    edges: Bucket,
    blobs: Arc<Blobs>,
    presence: Presence,
    duties: Duties,
    doubt: Arc<Doubt>,
    durability: String,
    may_lose: bool,
    replicas: u32,
    part: Part,
    tasks: Vec<JoinHandle<()>>,
}

impl NatsLog {
    /// Connects, makes or compares the streams, and answers for this process from then on.
    ///
    /// # Errors
    /// When the broker cannot be reached, is too old, or holds something else than is configured.
    pub async fn open(options: &NatsOptions) -> Result<Arc<NatsLog>, OpenError> {
        let names = Names::new(&options.prefix, &options.workspace);
        let link = setup::connect(options, &names).await?;
        setup::streams(&link, options, &names).await?;
        let durable::Durability { short: durability, sentence, at_risk } = durable::ask(&link, options, &names).await;
        if at_risk {
            tracing::warn!(durability = sentence, "acknowledged data can be lost by a power cut");
        }
        let (presence, answering) = Presence::here(&link, &names, &options.process).await?;
        let gone = |e: LogError| OpenError::NoJetStream(e.to_string());
        let in_state = feed::info(&link, &names.inn()).await.map_err(|e| gone(e.into()))?.state;
        let log_state = feed::info(&link, &names.log()).await.map_err(|e| gone(e.into()))?.state;
        let bucket = |name| Bucket::new(link.clone(), names.bucket(name));
        let (claims, keys, edges) = (bucket("CLAIMS"), bucket("KEYS"), bucket("EDGES"));
        let scopes = scopes_key(&keys, options.part).await.map_err(gone)?;
        let blobs = Arc::new(Blobs {
            link: link.clone(),
            bucket: names.bucket("BLOBS"),
            edges: edges.clone(),
            scopes: Scopes::new(&scopes),
        });
        let doubt = Arc::new(Doubt::new());
        let inn = Feed::new(link.clone(), names.inn(), in_state.last_seq, doubt.clone(), Doubt::in_is_another);
        let inn = Arc::new(inn);
        let log = Feed::new(link.clone(), names.log(), log_state.last_seq, doubt.clone(), Doubt::log_is_another)
            .beside(claims.stream());
        let log = Arc::new(log);
        let mut tasks = vec![answering, log.follow()];
        // Only a router reads IN.
        if options.part != Part::Edge {
            tasks.push(inn.follow());
        }
        let room = Arc::new(Room::new(options.sizes.inn, in_state.bytes));
        Ok(Arc::new(NatsLog {
            inlet: Inlet { link: link.clone(), names: names.clone(), feed: inn, room, copies: options.replicas > 1 },
            committer: Committer::new(link.clone(), names.clone(), keys.clone(), Arc::clone(&log)),
            log,
            duties: Duties::new(options.process.clone(), edges.clone()),
            presence,
            doubt,
            claims,
            keys,
            edges,
            blobs,
            durability,
            may_lose: at_risk,
            replicas: options.replicas,
            part: options.part,
            tasks,
            link,
            names,
        }))
    }

    /// Purges a stream up to and with `up_to`, but never further than its end: a purge beyond it would skip sequences.
    async fn trim(&self, stream: &str, up_to: Seq) -> Result<Option<Seq>, LogError> {
        let state = feed::info(&self.link, stream).await?.state;
        let up_to = up_to.min(state.last_seq);
        if state.messages == 0 || up_to < state.first_seq {
            return Ok(None);
        }
        bucket::purge(&self.link, stream, &json!({ "seq": up_to + 1 })).await?;
        Ok(Some(up_to))
    }

    /// Purges what a stream stored before a moment.
    async fn trim_before(&self, stream: &str, before: Timestamp) -> Result<(), LogError> {
        let state = feed::info(&self.link, stream).await?.state;
        // Between the two is the first record to keep; records are stored in the order of their times.
        let (mut low, mut high) = (state.first_seq, state.last_seq + 1);
        while state.messages > 0 && low < high {
            let middle = low + (high - low) / 2;
            let kept = bucket::get(&self.link, stream, &json!({ "seq": middle, "next_by_subj": ">" })).await?;
            match kept.filter(|kept| kept.seq < high) {
                Some(kept) if kept.at < before => low = kept.seq + 1,
                _ => high = middle,
            }
        }
        if low > state.first_seq { self.trim(stream, low - 1).await.map(drop) } else { Ok(()) }
    }
}

/// Blobs' names need a secret of the workspace's own.
async fn scopes_key(keys: &Bucket, part: Part) -> Result<[u8; 32], LogError> {
    let fresh = super::seal::fresh_key().map_err(|e| LogError::Unavailable(e.to_string()))?;
    put_key(keys, part, SCOPES_KEY, fresh).await
}

/// Reads first: an account that may not write keys can still ask for those that are there. An edge makes none: it waits for a
/// router to.
async fn put_key(keys: &Bucket, part: Part, id: &str, key: [u8; 32]) -> Result<[u8; 32], LogError> {
    let mut waits = setup::Waits::default();
    loop {
        if let Some(there) = commit::read_key(keys, id).await? {
            return Ok(there);
        }
        if part != Part::Edge {
            break;
        }
        waits.more(&format!("key {id}")).await;
    }
    match keys.create(id, Bytes::copy_from_slice(&key)).await? {
        Created::Now(_) => Ok(key),
        Created::Before(there) => commit::key_of(id, &there),
    }
}

impl Drop for NatsLog {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[async_trait]
impl Log for NatsLog {
    async fn ingest(&self, record: InRecord) -> Result<Ingested, LogError> {
        self.inlet.ingest(record).await
    }

    async fn read_in(&self, after: Seq, max: usize) -> Result<Vec<Stored>, LogError> {
        self.inlet.feed.read(after, max).await
    }

    async fn get_in(&self, seq: Seq) -> Result<Option<Stored>, LogError> {
        let kept = bucket::get(&self.link, &self.names.inn(), &json!({ "seq": seq })).await?;
        Ok(kept.map(|kept| {
            let channel = names::channel_of(&kept.subject);
            Stored { seq: kept.seq, at: kept.at, channel, data: kept.data }
        }))
    }

    fn in_tail(&self) -> watch::Receiver<Seq> {
        self.inlet.feed.tail()
    }

    async fn in_last(&self) -> Result<Seq, LogError> {
        let last = feed::info(&self.link, &self.names.inn()).await?.state.last_seq;
        // Whoever then reads up to it gets all of it.
        self.inlet.feed.known(last);
        Ok(last)
    }

    /// [`Commit::Unknown`] also when there is no room: repeating the same bytes is right there too.
    async fn commit(&self, expected: Seq, frame: FrameWrite) -> Commit {
        // After a lost connection the streams may be others, which end where those of before did.
        if let Err(error) = self.log.sound().await {
            return Commit::Unknown(error.to_string());
        }
        self.committer.commit(expected, &frame).await
    }

    async fn read_log(&self, after: Seq, max: usize) -> Result<Vec<Stored>, LogError> {
        let mut records = self.log.read(after, max).await?;
        records.iter_mut().for_each(|r| r.channel.clear());
        Ok(records)
    }

    fn log_tail(&self) -> watch::Receiver<Seq> {
        self.log.tail()
    }

    async fn log_bounds(&self) -> Result<(Seq, Seq), LogError> {
        let state = feed::info(&self.link, &self.names.log()).await?.state;
        self.log.known(state.last_seq);
        Ok(if state.messages == 0 { (state.last_seq + 1, state.last_seq) } else { (state.first_seq, state.last_seq) })
    }

    async fn out_last(&self) -> Result<Seq, LogError> {
        Ok(feed::info(&self.link, &self.names.out()).await?.state.last_seq)
    }

    async fn outbox(&self, channel: &str) -> Result<Box<dyn Outbox>, LogError> {
        let channel = names::channel_token(channel)?;
        Ok(Box::new(outbox::NatsOutbox::open(self.link.clone(), &self.names, channel).await?))
    }

    async fn claim(&self, key: &str, nonce: &str) -> Result<Claim, LogError> {
        self.log.sound().await?;
        if self.doubt.is_doubted() {
            return Err(LogError::Unavailable(
                "LOG is another one than was read, and no router has rebased yet".into(),
            ));
        }
        match self.claims.create(key, Bytes::copy_from_slice(nonce.as_bytes())).await? {
            Created::Now(seq) => {
                self.log.made_beside(seq, Bytes::copy_from_slice(nonce.as_bytes()));
                Ok(Claim::Ours)
            }
            // An answer that was lost was ours.
            Created::Before(there) if there == nonce.as_bytes() => Ok(Claim::Ours),
            Created::Before(_) => Ok(Claim::Taken),
        }
    }

    async fn claimed(&self, key: &str) -> Result<Option<String>, LogError> {
        let there = self.claims.get(key).await?;
        Ok(there.map(|nonce| String::from_utf8_lossy(&nonce).into_owned()))
    }

    async fn put_blob(&self, scope: &str, bytes: Bytes) -> Result<BlobRef, LogError> {
        self.blobs.put_blob(scope, &bytes).await
    }

    async fn get_blob(&self, scope: &str, blob: &BlobRef) -> Result<Option<Bytes>, LogError> {
        self.blobs.get_blob(scope, blob).await
    }

    async fn delete_blob(&self, scope: &str, blob: &BlobRef) -> Result<(), LogError> {
        self.blobs.delete_blob(scope, blob).await
    }

    async fn put_key(&self, id: &str, key: [u8; 32]) -> Result<[u8; 32], LogError> {
        put_key(&self.keys, self.part, id, key).await
    }

    async fn get_keys(&self, ids: &[KeyId]) -> Result<Vec<Option<[u8; 32]>>, LogError> {
        self.committer.read_keys(ids.to_vec()).await
    }

    async fn delete_key(&self, id: &str) -> Result<(), LogError> {
        self.keys.wipe(id).await
    }

    async fn put_cursor(&self, name: &str, value: &str) -> Result<(), LogError> {
        self.edges.put(name, Bytes::copy_from_slice(value.as_bytes())).await
    }

    async fn get_cursor(&self, name: &str) -> Result<Option<String>, LogError> {
        let value = self.edges.get(name).await?;
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    async fn delete_cursor(&self, name: &str) -> Result<(), LogError> {
        self.edges.wipe(name).await
    }

    async fn swap_cursor(&self, name: &str, seen: Option<&str>, value: &str) -> Result<bool, LogError> {
        let there = self.edges.find(name).await?;
        if there.as_ref().map(|kept| kept.data.as_ref()) != seen.map(str::as_bytes) {
            return Ok(false);
        }
        let last = there.map_or(0, |kept| kept.seq);
        self.edges.replace(name, last, Bytes::copy_from_slice(value.as_bytes())).await
    }

    async fn put_snapshot(&self, at: Seq, bytes: Bytes) -> Result<(), LogError> {
        self.blobs.put_snapshot(at, &bytes).await
    }

    async fn snapshot(&self, at: Seq) -> Result<Option<Bytes>, LogError> {
        self.blobs.snapshot_at(at).await
    }

    async fn drop_snapshots(&self, after: Seq) -> Result<(), LogError> {
        self.blobs.drop_snapshots(after).await
    }

    /// Adapters in other processes take from OUT by themselves.
    async fn void_out(&self, up_to: Seq) -> Result<(), LogError> {
        self.trim(&self.names.out(), up_to).await.map(drop)
    }

    async fn hold_out(&self, channels: &[String], hold: bool) -> Result<(), LogError> {
        let until = if hold { Some(self.now().await?.plus(outbox::HELD_MS)) } else { None };
        for channel in channels {
            outbox::hold(&self.link, &self.names, names::channel_token(channel)?, until).await?;
        }
        Ok(())
    }

    fn doubt(&self) -> &Doubt {
        &self.doubt
    }

    async fn snapshots(&self) -> Result<Vec<(Seq, Bytes)>, LogError> {
        self.blobs.snapshots().await
    }

    async fn snapshot_seqs(&self) -> Result<Vec<Seq>, LogError> {
        self.blobs.snapshot_seqs().await
    }

    async fn in_fill(&self) -> Result<u32, LogError> {
        let bytes = feed::info(&self.link, &self.names.inn()).await?.state.bytes;
        Ok(super::in_fill(bytes, self.inlet.room.max_bytes()))
    }

    async fn trim_in(&self, up_to: Seq) -> Result<(), LogError> {
        self.log.sound().await?;
        if let Some(gone) = self.trim(&self.names.inn(), up_to).await? {
            self.inlet.feed.trim(gone);
        }
        Ok(())
    }

    async fn trim_log(&self, up_to: Seq) -> Result<(), LogError> {
        if let Some(gone) = self.trim(&self.names.log(), up_to).await? {
            self.log.trim(gone);
        }
        Ok(())
    }

    async fn trim_out(&self, before: Timestamp) -> Result<(), LogError> {
        self.trim_before(&self.names.out(), before).await?;
        self.trim_before(&self.claims.stream(), before).await
    }

    /// The broker's clock.
    async fn now(&self) -> Result<Timestamp, LogError> {
        let info = feed::info(&self.link, &self.names.inn()).await?;
        let ts = info.ts.ok_or_else(|| LogError::Unavailable("the broker does not tell its time".into()))?;
        Ok(Timestamp::from_jiff(ts))
    }

    fn exclusive(&self) -> bool {
        false
    }

    async fn is_gone(&self, process: &str) -> bool {
        self.presence.is_gone(process).await
    }

    async fn leader(&self) -> Leader {
        self.presence.leader().await
    }

    async fn stand(&self, leads: bool) -> Result<(), LogError> {
        self.presence.stand(leads).await?;
        if leads {
            let blobs = Arc::clone(&self.blobs);
            tokio::spawn(async move {
                if let Err(e) = blobs.sweep().await {
                    tracing::debug!(error = %e, "what is left of old snapshots could not be removed");
                }
            });
        }
        Ok(())
    }

    async fn duty(&self, name: &str) -> Result<bool, LogError> {
        self.duties.take(name, &self.presence).await
    }

    async fn leave_duty(&self, name: &str) -> Result<(), LogError> {
        self.duties.leave(name).await
    }

    async fn beats(&self) -> Result<Option<mpsc::Receiver<String>>, LogError> {
        let subscribed = self.link.client.subscribe(self.names.status_subject()).await;
        let mut messages = subscribed.map_err(|e| LogError::Unavailable(e.to_string()))?;
        let (told, beats) = mpsc::channel(64);
        tokio::spawn(async move {
            // Ends with the connection, or with whoever listened.
            while let Some(message) = messages.next().await {
                if told.send(names::channel_of(&message.subject)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Some(beats))
    }

    async fn beat(&self, channel: &str) -> Result<(), LogError> {
        let said = self.link.client.publish(self.names.status_of(channel), bytes::Bytes::new()).await;
        said.map_err(|e| LogError::Unavailable(e.to_string()))
    }

    async fn complete(&self, out_first: Seq, sends: Vec<OutRecord>) -> Result<(), LogError> {
        self.committer.complete(out_first, &sends).await
    }

    fn durability(&self) -> String {
        self.durability.clone()
    }

    fn may_lose(&self) -> bool {
        self.may_lose
    }

    async fn stores(&self) -> Vec<crate::log::Store> {
        stores::all(&self.link, &self.names, self.replicas).await
    }
}
