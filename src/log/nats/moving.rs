//! The log on a broker as something that is moved.

use super::{
    NatsLog, bucket, commit, feed,
    link::Link,
    names::{Names, text_of},
    options::{NatsOptions, OpenError},
    pages, setup,
};
use crate::log::{
    KeyId, LogError, Seq,
    moving::{Begin, Blob, MOVING, Movable, SCOPES_KEY, ended},
};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};

/// A process that just ended is followed by its consumers for so long, those among them by which it read what lies further back.
const LINGERS: Duration = pages::IDLE.saturating_add(Duration::from_secs(10));
const PAUSE: Duration = Duration::from_millis(250);
/// What belongs to the broker's processes, and not to the log.
const OWN: &str = "switchboard.";

impl NatsLog {
    /// Opens a log that goes on where another one ends. Nothing may have been written there, or a part of the same one.
    ///
    /// # Errors
    /// As [`NatsLog::open`], and when something else was written there before.
    pub async fn begin(options: &NatsOptions, begin: &Begin) -> Result<Arc<NatsLog>, OpenError> {
        let names = Names::new(&options.prefix, &options.workspace);
        let link = setup::connect(options, &names).await?;
        setup::streams(&link, options, &names).await?;
        let failed = OpenError::Begin;
        let edges = bucket::Bucket::new(link.clone(), names.bucket("EDGES"));
        let mark = edges.get(MOVING).await.map_err(failed)?.filter(|mark| !mark.is_empty());
        if mark.as_ref().is_some_and(|mark| *mark != begin.mark.as_bytes()) {
            return Err(OpenError::Unfinished { workspace: options.workspace.clone() });
        }
        let last = async |stream: String| feed::info(&link, &stream).await.map(|info| info.state.last_seq);
        if mark.is_none() {
            for stream in [names.inn(), names.log(), names.out()] {
                if last(stream.clone()).await.map_err(|e| failed(e.into()))? > 0 {
                    return Err(OpenError::Written { what: format!("stream {stream}") });
                }
            }
            // Before anything of it is there: no daemon begins anew on a part of a log.
            edges.put(MOVING, Bytes::from(begin.mark.clone())).await.map_err(failed)?;
        }
        for (stream, after) in [(names.inn(), begin.in_after), (names.log(), begin.log_after)] {
            // An earlier try may have come further.
            if last(stream.clone()).await.map_err(|e| failed(e.into()))? == 0 {
                skip(&link, &stream, after).await.map_err(failed)?;
            }
        }
        let keys = bucket::Bucket::new(link.clone(), names.bucket("KEYS"));
        keys.put(SCOPES_KEY, Bytes::copy_from_slice(&begin.scopes)).await.map_err(failed)?;
        drop(link);
        NatsLog::open(options).await
    }
}

/// The next record of an empty stream gets the number after this: a purge beyond the end skips what is before.
async fn skip(link: &Link, stream: &str, after: Seq) -> Result<(), LogError> {
    if after == 0 {
        return Ok(());
    }
    bucket::purge(link, stream, &json!({ "seq": after + 1 })).await?;
    match feed::info(link, stream).await?.state.last_seq {
        last if last == after => Ok(()),
        last => Err(LogError::Refused(format!("stream {stream} should begin after {after}, and begins after {last}"))),
    }
}

impl NatsLog {
    /// Goes through the values of a bucket, in the order in which they were written.
    async fn values(&self, stream: &str, to: mpsc::Sender<(String, Bytes)>) -> Result<(), LogError> {
        let mut after = 0;
        while let Some(kept) = bucket::next(&self.link, stream, after, ">").await? {
            after = kept.seq;
            // `$KV.<bucket>.<key>`; what has no bytes says that something was deleted.
            if let Some(key) = kept.subject.splitn(3, '.').nth(2).filter(|_| !kept.data.is_empty()) {
                to.send((text_of(key), kept.data)).await.map_err(ended)?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Movable for NatsLog {
    /// Every process follows LOG by a consumer.
    async fn is_alone(&self) -> Result<bool, LogError> {
        // This process follows LOG too: until its consumer is there, the one that is counted would be somebody else's.
        self.log.sound().await?;
        let deadline = Instant::now() + LINGERS;
        loop {
            if feed::info(&self.link, &self.names.log()).await?.state.consumer_count <= 1 {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn send_keys(&self, to: mpsc::Sender<(KeyId, [u8; 32])>) -> Result<(), LogError> {
        let (found, mut values) = mpsc::channel::<(String, Bytes)>(64);
        let stream = self.keys.stream();
        let pass = async {
            while let Some((id, bytes)) = values.recv().await {
                let key = commit::key_of(&id, &bytes)?;
                to.send((id, key)).await.map_err(ended)?;
            }
            Ok(())
        };
        tokio::try_join!(self.values(&stream, found), pass).map(drop)
    }

    async fn send_cursors(&self, to: mpsc::Sender<(String, String)>) -> Result<(), LogError> {
        let (found, mut values) = mpsc::channel::<(String, Bytes)>(64);
        let stream = self.edges.stream();
        let pass = async {
            while let Some((name, bytes)) = values.recv().await {
                if !name.starts_with(OWN) {
                    to.send((name, String::from_utf8_lossy(&bytes).into_owned())).await.map_err(ended)?;
                }
            }
            Ok(())
        };
        tokio::try_join!(self.values(&stream, found), pass).map(drop)
    }

    async fn send_blobs(&self, to: mpsc::Sender<Blob>) -> Result<(), LogError> {
        let mut after = 0;
        while let Some(kept) = bucket::next(&self.link, &self.blobs.stream(), after, &self.blobs.descriptions()).await?
        {
            after = kept.seq;
            if let Some(blob) = self.blobs.described(&kept).await? {
                to.send(blob).await.map_err(ended)?;
            }
        }
        Ok(())
    }

    async fn take_blob(&self, blob: Blob) -> Result<(), LogError> {
        self.blobs.take(&blob.name, &blob.bytes).await
    }
}
