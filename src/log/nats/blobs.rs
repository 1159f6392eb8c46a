//! Blobs and snapshots, as an object store's clients keep them: chunks under a name of their own, then a description that
//! names them. What has no description does not exist.

use super::{
    bucket::{self, Bucket, Kept},
    link::{Link, no_answer},
};
use crate::log::{
    LogError, Seq, hash_of,
    moving::{Blob, Scopes, blob_parts, external_scope},
};
use crate::random;
use async_nats::HeaderMap;
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use switchboard_adapter_sdk::signature::{sha256_hex, to_hex};
use switchboard_envelope::{BlobRef, Timestamp};

const CHUNK: usize = 128 * 1024;
/// What an adapter in another process may describe: as much as the daemon fetches itself, in chunks of 4 KiB on average.
const EXTERNAL_MAX: usize = 16 * 1024 * 1024;
const EXTERNAL_CHUNKS: usize = 4096;
/// The list of snapshots, a value of the bucket EDGES: a list by subject would go through every blob.
const SNAPSHOTS: &str = "switchboard.snapshots";
/// The one before the newest is kept, until the newest was verified.
const KEPT: usize = 2;

pub(super) struct Blobs {
    pub link: Link,
    /// The bucket as object store clients call it.
    pub bucket: String,
    pub edges: Bucket,
    pub scopes: Scopes,
}

/// Where an object is kept.
pub(super) struct Place {
    /// What clients call it, and the subject of its description.
    name: String,
    description: String,
    /// What the names of its chunks begin with.
    under: &'static str,
}

/// Snapshots are below a token that no channel has as its id, so that they can be listed without going through every blob.
const UNDER: &str = "_snapshots.";

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

fn digest_of(bytes: &[u8]) -> String {
    format!("SHA-256={}", URL_SAFE.encode(digest(&SHA256, bytes)))
}

impl Blobs {
    pub(super) fn stream(&self) -> String {
        format!("OBJ_{}", self.bucket)
    }

    pub(super) fn chunks(&self, nuid: &str) -> String {
        format!("$O.{}.C.{nuid}", self.bucket)
    }

    fn description(&self, name: &str) -> String {
        format!("$O.{}.M.{}", self.bucket, URL_SAFE.encode(name))
    }

    fn blob_name(&self, scope: &str, hash: &str) -> String {
        format!("{}/{hash}", self.scopes.name(scope))
    }

    pub(super) async fn put_blob(&self, scope: &str, bytes: &Bytes) -> Result<BlobRef, LogError> {
        let hash = sha256_hex(bytes);
        let name = self.blob_name(scope, &hash);
        let place = Place { description: self.description(&name), name, under: "" };
        if self.find_at(&place.description).await?.is_none() {
            self.put(place, bytes).await?;
        }
        Ok(BlobRef::of_hash(&hash))
    }

    /// What an adapter in another process describes a blob with. It has no key for scopes, and its account may write below its
    /// channel only.
    pub(super) fn external(&self, scope: &str, hash: &str) -> String {
        format!("$O.{}.M.{}.{}.{hash}", self.bucket, channel_of(scope), external_scope(scope))
    }

    async fn find_external(&self, scope: &str, hash: &str) -> Result<Option<Object>, LogError> {
        let Some(object) = self.find_at(&self.external(scope, hash)).await? else { return Ok(None) };
        believed(&object, channel_of(scope), hash)?;
        Ok(Some(object))
    }

    pub(super) async fn get_blob(&self, scope: &str, blob: &BlobRef) -> Result<Option<Bytes>, LogError> {
        let hash = hash_of(blob)?;
        let found = match self.read_at(&self.description(&self.blob_name(scope, hash))).await? {
            None => match self.find_external(scope, hash).await? {
                Some(object) => self.chunks_of(&object, &self.external(scope, hash)).await?,
                None => None,
            },
            found => found,
        };
        // What such an adapter stored, and was moved here from another log.
        let found = match found {
            None => self.read_at(&self.description(&format!("{}/{hash}", external_scope(scope)))).await?,
            found => found,
        };
        if found.as_ref().is_some_and(|bytes| sha256_hex(bytes) != hash) {
            return Err(LogError::Damaged(format!("the blob {hash} does not hold what it is named after")));
        }
        Ok(found)
    }

    pub(super) async fn delete_blob(&self, scope: &str, blob: &BlobRef) -> Result<(), LogError> {
        let hash = hash_of(blob)?;
        self.delete_at(&self.description(&self.blob_name(scope, hash))).await?;
        match self.find_external(scope, hash).await {
            Ok(Some(object)) => self.remove(&self.external(scope, hash), Some(&object)).await,
            Ok(None) => Ok(()),
            // What it names may be another's.
            Err(LogError::Damaged(_)) => self.remove(&self.external(scope, hash), None).await,
            Err(e) => Err(e),
        }
    }

    async fn find_at(&self, description: &str) -> Result<Option<Object>, LogError> {
        let query = json!({ "last_by_subj": description });
        let Some(kept) = bucket::get(&self.link, &self.stream(), &query).await? else { return Ok(None) };
        let object = serde_json::from_slice(&kept.data);
        object.map(Some).map_err(|e| LogError::Damaged(format!("the description of a blob: {e}")))
    }

    pub(super) async fn put(&self, place: Place, bytes: &Bytes) -> Result<(), LogError> {
        let Place { name, description: subject, under } = place;
        let before = self.find_at(&subject).await?;
        let nuid = random::bytes::<12>().map_err(|e| LogError::Unavailable(e.to_string()))?;
        let nuid = format!("{under}{}", to_hex(&nuid));
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
            name,
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
        self.link.publish(subject, headers, description.into()).await?;
        if let Some(before) = before {
            bucket::purge(&self.link, &self.stream(), &json!({ "filter": self.chunks(&before.nuid) })).await?;
        }
        Ok(())
    }

    async fn read_at(&self, description: &str) -> Result<Option<Bytes>, LogError> {
        match self.find_at(description).await? {
            Some(object) => self.chunks_of(&object, description).await,
            None => Ok(None),
        }
    }

    /// Where every object is described.
    pub(super) fn descriptions(&self) -> String {
        format!("$O.{}.M.>", self.bucket)
    }

    /// The blob that a record describes; a snapshot is none, and neither is what an adapter described wrongly.
    pub(super) async fn described(&self, kept: &Kept) -> Result<Option<Blob>, LogError> {
        let tokens: Vec<&str> = kept.subject.split('.').skip(3).collect();
        let name = match tokens.as_slice() {
            [name] => URL_SAFE.decode(name).ok().and_then(|name| String::from_utf8(name).ok()).unwrap_or_default(),
            [_, scope, hash] => format!("{scope}/{hash}"),
            _ => return Ok(None),
        };
        let Ok((_, hash)) = blob_parts(&name) else { return Ok(None) };
        let Some(object) = self.find_at(&kept.subject).await? else { return Ok(None) };
        if let [channel, ..] = tokens.as_slice()
            && tokens.len() > 1
            && let Err(why) = believed(&object, channel, hash)
        {
            tracing::warn!(%why, "this blob is not moved");
            return Ok(None);
        }
        let bytes = self.chunks_of(&object, &kept.subject).await?;
        Ok(bytes.map(|bytes| Blob { name, bytes }))
    }

    /// Keeps a blob under the name that another log gave it.
    pub(super) async fn take(&self, name: &str, bytes: &Bytes) -> Result<(), LogError> {
        let (_, hash) = blob_parts(name)?;
        if sha256_hex(bytes) != hash {
            return Err(LogError::Damaged(format!("the blob {hash} is not what it is named after")));
        }
        let place = Place { description: self.description(name), name: name.to_owned(), under: "" };
        self.put(place, bytes).await
    }

    /// The bytes of an object, and no more of them than its description says.
    async fn chunks_of(&self, object: &Object, description: &str) -> Result<Option<Bytes>, LogError> {
        let subject = self.chunks(&object.nuid);
        let (mut bytes, mut seq) = (BytesMut::new(), 0);
        for _ in 0..object.chunks {
            let query = json!({ "seq": seq + 1, "next_by_subj": subject });
            let Some(chunk) = bucket::get(&self.link, &self.stream(), &query).await? else { break };
            seq = chunk.seq;
            bytes.extend_from_slice(&chunk.data);
            if bytes.len() > object.size {
                break;
            }
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

    async fn delete_at(&self, description: &str) -> Result<(), LogError> {
        match self.find_at(description).await? {
            Some(object) => self.remove(description, Some(&object)).await,
            None => Ok(()),
        }
    }

    async fn remove(&self, description: &str, object: Option<&Object>) -> Result<(), LogError> {
        // The description goes first: without it nothing is found.
        bucket::purge(&self.link, &self.stream(), &json!({ "filter": description })).await?;
        if let Some(object) = object {
            bucket::purge(&self.link, &self.stream(), &json!({ "filter": self.chunks(&object.nuid) })).await?;
        }
        Ok(())
    }

    /// The list, newest first, and its record.
    async fn snapshot_list(&self) -> Result<(Vec<Seq>, Seq), LogError> {
        let Some(kept) = self.edges.find(SNAPSHOTS).await? else { return Ok((vec![], 0)) };
        let list = serde_json::from_slice(&kept.data);
        Ok((list.map_err(|e| LogError::Damaged(format!("the list of snapshots: {e}")))?, kept.seq))
    }

    pub(super) async fn put_snapshot(&self, at: Seq, bytes: &Bytes) -> Result<(), LogError> {
        self.put(self.snapshot(at), bytes).await?;
        let (listed, record) = self.snapshot_list().await?;
        let mut list: Vec<Seq> = listed.iter().copied().filter(|seq| *seq != at).chain([at]).collect();
        list.sort_unstable_by(|a, b| b.cmp(a));
        list.truncate(KEPT);
        // A router that was paused in here must not take away what its successor listed meanwhile.
        if !self.edges.replace(SNAPSHOTS, record, json!(list).to_string().into()).await? {
            if !self.snapshot_list().await?.0.contains(&at) {
                self.delete_at(&self.snapshot(at).description).await?;
            }
            return Err(LogError::Refused("another process stored a snapshot at the same time".into()));
        }
        for old in listed.iter().chain([&at]).filter(|seq| !list.contains(seq)) {
            self.delete_at(&self.snapshot(*old).description).await?;
        }
        Ok(())
    }

    /// Removes those of later frames than `after`.
    pub(super) async fn drop_snapshots(&self, after: Seq) -> Result<(), LogError> {
        let (listed, record) = self.snapshot_list().await?;
        let (kept, gone): (Vec<Seq>, Vec<Seq>) = listed.into_iter().partition(|seq| *seq <= after);
        if gone.is_empty() {
            return Ok(());
        }
        if !self.edges.replace(SNAPSHOTS, record, json!(kept).to_string().into()).await? {
            return Err(LogError::Unavailable("another process stored a snapshot at the same time".into()));
        }
        for seq in gone {
            self.delete_at(&self.snapshot(seq).description).await?;
        }
        Ok(())
    }

    pub(super) async fn snapshots(&self) -> Result<Vec<(Seq, Bytes)>, LogError> {
        let mut snapshots = vec![];
        for at in self.snapshot_list().await?.0 {
            snapshots.extend(self.snapshot_at(at).await?.map(|bytes| (at, bytes)));
        }
        Ok(snapshots)
    }

    /// One that is listed; `None` when it cannot be read, which costs time, not data: an older one, or the whole log, is folded instead.
    pub(super) async fn snapshot_at(&self, at: Seq) -> Result<Option<Bytes>, LogError> {
        match self.read_at(&self.snapshot(at).description).await {
            Ok(Some(bytes)) => return Ok(Some(bytes)),
            Ok(None) => tracing::error!(at, "a snapshot is listed and gone"),
            Err(LogError::Damaged(why)) => tracing::error!(at, why, "a snapshot cannot be read"),
            Err(e) => return Err(e),
        }
        Ok(None)
    }

    pub(super) async fn snapshot_seqs(&self) -> Result<Vec<Seq>, LogError> {
        Ok(self.snapshot_list().await?.0)
    }

    pub(super) fn snapshot(&self, at: Seq) -> Place {
        let description = format!("$O.{}.M.{UNDER}{at:020}", self.bucket);
        Place { name: format!("snapshots/{at:020}"), description, under: UNDER }
    }

    /// Removes what is left of snapshots that were begun and never listed, as by a process that was killed. For who begins to lead,
    /// and writes none yet; one that its predecessor is still writing is newer than those that are listed.
    pub(super) async fn sweep(&self) -> Result<(), LogError> {
        let listed = self.snapshot_seqs().await?;
        let Some(newest) = listed.first() else { return Ok(()) };
        let descriptions = format!("$O.{}.M.{UNDER}", self.bucket);
        let mut kept = BTreeSet::new();
        for subject in self.subjects(&descriptions).await? {
            let at = subject.strip_prefix(&descriptions).and_then(|at| at.parse::<Seq>().ok());
            if at.is_some_and(|at| at < *newest && !listed.contains(&at)) {
                self.delete_at(&subject).await?;
            } else if let Some(object) = self.find_at(&subject).await? {
                kept.insert(self.chunks(&object.nuid));
            }
        }
        for chunks in self.subjects(&self.chunks(UNDER)).await? {
            if !kept.contains(&chunks) {
                bucket::purge(&self.link, &self.stream(), &json!({ "filter": chunks })).await?;
            }
        }
        Ok(())
    }

    /// The subjects of the bucket with one more token than `prefix`.
    pub(super) async fn subjects(&self, prefix: &str) -> Result<Vec<String>, LogError> {
        #[derive(Deserialize)]
        struct Info {
            state: Subjects,
        }
        #[derive(Deserialize)]
        struct Subjects {
            #[serde(default)]
            subjects: BTreeMap<String, u64>,
        }
        let filter = json!({ "subjects_filter": format!("{prefix}*") });
        let info: Info = self.link.api(&format!("STREAM.INFO.{}", self.stream()), &filter).await?;
        Ok(info.state.subjects.into_keys().collect())
    }
}

/// A description by an adapter in another process is believed when it names chunks of its own channel, and no more than a file may
/// have.
fn believed(object: &Object, channel: &str, hash: &str) -> Result<(), LogError> {
    let random = object.nuid.strip_prefix(channel).and_then(|rest| rest.strip_prefix('.')).unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if random.is_empty() || !random.bytes().all(plain) {
        return Err(LogError::Damaged(format!("the blob {hash} is described by chunks that are not of `{channel}`")));
    }
    if object.size > EXTERNAL_MAX || object.chunks > EXTERNAL_CHUNKS {
        return Err(LogError::Damaged(format!(
            "the blob {hash} of `{channel}` is described as {} bytes in {} chunks: at most {EXTERNAL_MAX} in {EXTERNAL_CHUNKS}",
            object.size, object.chunks
        )));
    }
    Ok(())
}

fn channel_of(scope: &str) -> &str {
    scope.split_once('/').map_or(scope, |(channel, _)| channel)
}
