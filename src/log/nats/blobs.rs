//! Blobs and snapshots, as an object store's clients keep them: chunks under a name of their own, then a description that
//! names them. What has no description does not exist.

use super::{
    bucket::{self, Bucket},
    link::{Link, no_answer},
};
use crate::log::{LogError, Seq};
use crate::random;
use async_nats::HeaderMap;
use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::json;
use switchboard_adapter_sdk::signature::{sha256_hex, to_hex};
use switchboard_envelope::{BlobRef, Timestamp};

const CHUNK: usize = 128 * 1024;
const PREFIX: &str = "blob:sha256:";
/// The list of snapshots, a value of the bucket EDGES: a list by subject would go through every blob.
const SNAPSHOTS: &str = "switchboard.snapshots";
/// The one before the newest is kept, until the newest was verified.
const KEPT: usize = 2;

pub(super) struct Blobs {
    pub link: Link,
    /// The bucket as object store clients call it.
    pub bucket: String,
    pub edges: Bucket,
    /// Scopes hold addresses of people; an object's name must not.
    pub scope_key: hmac::Key,
}

/// The description of an object.
#[derive(Serialize, Deserialize)]
struct Object {
    name: String,
    bucket: String,
    nuid: String,
    size: usize,
    mtime: Timestamp,
    chunks: usize,
    digest: String,
}

fn checked(blob: &BlobRef) -> Result<&str, LogError> {
    let hash = blob.0.strip_prefix(PREFIX).unwrap_or_default();
    if hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(hash);
    }
    Err(LogError::Refused(format!("`{}` is not `{PREFIX}<64 hex digits>`", blob.0)))
}

fn digest_of(bytes: &[u8]) -> String {
    format!("SHA-256={}", URL_SAFE.encode(digest(&SHA256, bytes)))
}

impl Blobs {
    fn stream(&self) -> String {
        format!("OBJ_{}", self.bucket)
    }

    fn chunks(&self, nuid: &str) -> String {
        format!("$O.{}.C.{nuid}", self.bucket)
    }

    fn description(&self, name: &str) -> String {
        format!("$O.{}.M.{}", self.bucket, URL_SAFE.encode(name))
    }

    fn blob_name(&self, scope: &str, hash: &str) -> String {
        let scope = hmac::sign(&self.scope_key, scope.as_bytes());
        format!("{}/{hash}", to_hex(scope.as_ref().split_at(16).0))
    }

    pub(super) async fn put_blob(&self, scope: &str, bytes: &Bytes) -> Result<BlobRef, LogError> {
        let hash = sha256_hex(bytes);
        let name = self.blob_name(scope, &hash);
        if self.find(&name).await?.is_none() {
            self.put(&name, bytes).await?;
        }
        Ok(BlobRef(format!("{PREFIX}{hash}")))
    }

    /// What an adapter in another process describes a blob with. It has no key for scopes, and its account may write below its
    /// channel only.
    fn external(&self, scope: &str, hash: &str) -> String {
        let channel = scope.split_once('/').map_or(scope, |(channel, _)| channel);
        let scope = to_hex(digest(&SHA256, scope.as_bytes()).as_ref().split_at(16).0);
        format!("$O.{}.M.{channel}.{scope}.{hash}", self.bucket)
    }

    pub(super) async fn get_blob(&self, scope: &str, blob: &BlobRef) -> Result<Option<Bytes>, LogError> {
        let hash = checked(blob)?;
        let found = match self.read(&self.blob_name(scope, hash)).await? {
            None => self.read_at(&self.external(scope, hash)).await?,
            found => found,
        };
        if found.as_ref().is_some_and(|bytes| sha256_hex(bytes) != hash) {
            return Err(LogError::Damaged(format!("the blob {hash} does not hold what it is named after")));
        }
        Ok(found)
    }

    pub(super) async fn delete_blob(&self, scope: &str, blob: &BlobRef) -> Result<(), LogError> {
        let hash = checked(blob)?;
        self.delete(&self.blob_name(scope, hash)).await?;
        self.delete_at(&self.external(scope, hash)).await
    }

    async fn find(&self, name: &str) -> Result<Option<Object>, LogError> {
        self.find_at(&self.description(name)).await
    }

    async fn find_at(&self, description: &str) -> Result<Option<Object>, LogError> {
        let query = json!({ "last_by_subj": description });
        let Some(kept) = bucket::get(&self.link, &self.stream(), &query).await? else { return Ok(None) };
        let object = serde_json::from_slice(&kept.data);
        object.map(Some).map_err(|e| LogError::Damaged(format!("the description of a blob: {e}")))
    }

    async fn put(&self, name: &str, bytes: &Bytes) -> Result<(), LogError> {
        let before = self.find(name).await?;
        let nuid = random::bytes::<12>().map_err(|e| LogError::Unavailable(e.to_string()))?;
        let nuid = to_hex(&nuid);
        let mut chunks = 0;
        for at in (0..bytes.len()).step_by(CHUNK) {
            let chunk = bytes.slice(at..bytes.len().min(at + CHUNK));
            if let Err(e) = self.link.publish(self.chunks(&nuid), HeaderMap::new(), chunk).await {
                // Best effort: chunks that nothing describes are only lost room.
                let _ = bucket::purge(&self.link, &self.stream(), &json!({ "filter": self.chunks(&nuid) })).await;
                return Err(e.into());
            }
            chunks += 1;
        }
        let object = Object {
            name: name.to_owned(),
            bucket: self.bucket.clone(),
            nuid,
            size: bytes.len(),
            mtime: crate::clock::now(),
            chunks,
            digest: digest_of(bytes),
        };
        let description = serde_json::to_vec(&object).map_err(|e| LogError::Refused(e.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Rollup", "sub");
        self.link.publish(self.description(name), headers, description.into()).await?;
        if let Some(before) = before {
            bucket::purge(&self.link, &self.stream(), &json!({ "filter": self.chunks(&before.nuid) })).await?;
        }
        Ok(())
    }

    async fn read(&self, name: &str) -> Result<Option<Bytes>, LogError> {
        self.read_at(&self.description(name)).await
    }

    async fn read_at(&self, description: &str) -> Result<Option<Bytes>, LogError> {
        let Some(object) = self.find_at(description).await? else { return Ok(None) };
        let subject = self.chunks(&object.nuid);
        let (mut bytes, mut seq) = (BytesMut::new(), 0);
        for _ in 0..object.chunks {
            let query = json!({ "seq": seq + 1, "next_by_subj": subject });
            let Some(chunk) = bucket::get(&self.link, &self.stream(), &query).await? else { break };
            seq = chunk.seq;
            bytes.extend_from_slice(&chunk.data);
        }
        if digest_of(&bytes) == object.digest {
            return Ok(Some(bytes.freeze()));
        }
        // Somebody may have deleted or replaced it meanwhile.
        match self.find_at(description).await? {
            Some(now) if now.nuid == object.nuid => {
                Err(LogError::Damaged(format!("blob {} has lost some of its {} chunks", object.name, object.chunks)))
            }
            _ => Err(no_answer("a blob changed while it was read".into()).into()),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), LogError> {
        self.delete_at(&self.description(name)).await
    }

    async fn delete_at(&self, description: &str) -> Result<(), LogError> {
        let Some(object) = self.find_at(description).await? else { return Ok(()) };
        // The description goes first: without it nothing is found.
        bucket::purge(&self.link, &self.stream(), &json!({ "filter": description })).await?;
        bucket::purge(&self.link, &self.stream(), &json!({ "filter": self.chunks(&object.nuid) })).await?;
        Ok(())
    }

    /// The list, newest first, and its record.
    async fn snapshot_list(&self) -> Result<(Vec<Seq>, Seq), LogError> {
        let Some(kept) = self.edges.find(SNAPSHOTS).await? else { return Ok((vec![], 0)) };
        let list = serde_json::from_slice(&kept.data);
        Ok((list.map_err(|e| LogError::Damaged(format!("the list of snapshots: {e}")))?, kept.seq))
    }

    pub(super) async fn put_snapshot(&self, at: Seq, bytes: &Bytes) -> Result<(), LogError> {
        self.put(&snapshot_name(at), bytes).await?;
        let (listed, record) = self.snapshot_list().await?;
        let mut list: Vec<Seq> = listed.iter().copied().filter(|seq| *seq != at).chain([at]).collect();
        list.sort_unstable_by(|a, b| b.cmp(a));
        list.truncate(KEPT);
        // A router that was paused in here must not take away what its successor listed meanwhile.
        if !self.edges.replace(SNAPSHOTS, record, json!(list).to_string().into()).await? {
            return Err(LogError::Refused("another process stored a snapshot at the same time".into()));
        }
        for old in listed.iter().chain([&at]).filter(|seq| !list.contains(seq)) {
            self.delete(&snapshot_name(*old)).await?;
        }
        Ok(())
    }

    pub(super) async fn snapshots(&self) -> Result<Vec<(Seq, Bytes)>, LogError> {
        let mut snapshots = vec![];
        for at in self.snapshot_list().await?.0 {
            match self.read(&snapshot_name(at)).await {
                Ok(Some(bytes)) => snapshots.push((at, bytes)),
                Ok(None) => tracing::error!(at, "a snapshot is listed and gone"),
                // It costs time, not data: an older one, or the whole log, is folded instead.
                Err(LogError::Damaged(why)) => tracing::error!(at, why, "a snapshot cannot be read"),
                Err(e) => return Err(e),
            }
        }
        Ok(snapshots)
    }
}

fn snapshot_name(at: Seq) -> String {
    format!("snapshots/{at:020}")
}
