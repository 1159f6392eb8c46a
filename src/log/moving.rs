//! What moving a log to another place needs beside [`Log`]: all that it holds, and a way to begin where another one is.

use super::{KeyId, Log, LogError, Seq};
use async_trait::async_trait;
use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use switchboard_adapter_sdk::signature::to_hex;
use tokio::sync::mpsc;

/// The key of the names of blobs' scopes.
pub const SCOPES_KEY: &str = "switchboard.scopes";

/// Names scopes. They hold addresses of people, and the name of a file or of an object must not.
pub(super) struct Scopes(hmac::Key);

impl Scopes {
    pub(super) fn new(key: &[u8; 32]) -> Scopes {
        Scopes(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    pub(super) fn name(&self, scope: &str) -> String {
        to_hex(hmac::sign(&self.0, scope.as_bytes()).as_ref().split_at(16).0)
    }
}

/// How an adapter in another process, which has no key, names a scope.
pub(super) fn external_scope(scope: &str) -> String {
    to_hex(digest::digest(&digest::SHA256, scope.as_bytes()).as_ref().split_at(16).0)
}

/// The cursor of a log that is being moved to: of what, for as long as that is not done. No daemon starts on it meanwhile.
pub const MOVING: &str = "moving";

/// Where a log begins that continues another.
#[derive(Clone, Debug)]
pub struct Begin {
    /// The first record of IN comes after this.
    pub in_after: Seq,
    /// The first frame of LOG comes after this.
    pub log_after: Seq,
    /// The key of the names of blobs.
    pub scopes: [u8; 32],
    /// What is moved, as it was when the move began. A place that holds a part of it is gone on with.
    pub mark: String,
}

/// A blob as it is kept: `<scope>/<hash>`, where the scope is a name already.
pub struct Blob {
    pub name: String,
    pub bytes: Bytes,
}

/// A log whose whole content can be read, and that takes another's.
#[async_trait]
pub trait Movable: Log {
    /// Whether this is the only process that uses it.
    async fn is_alone(&self) -> Result<bool, LogError>;

    /// Every key. The receiver's end ends it early.
    async fn send_keys(&self, to: mpsc::Sender<(KeyId, [u8; 32])>) -> Result<(), LogError>;

    /// Every cursor.
    async fn send_cursors(&self, to: mpsc::Sender<(String, String)>) -> Result<(), LogError>;

    /// Every blob.
    async fn send_blobs(&self, to: mpsc::Sender<Blob>) -> Result<(), LogError>;

    /// Keeps a blob under the name that another log gave it.
    async fn take_blob(&self, blob: Blob) -> Result<(), LogError>;
}

/// The scope and the hash in a blob's name, and nothing else: it becomes a path, or a part of a subject.
pub(super) fn blob_parts(name: &str) -> Result<(&str, &str), LogError> {
    let hex = |s: &str, len: usize| s.len() == len && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let parts = name.split_once('/').filter(|(scope, hash)| hex(scope, 32) && hex(hash, 64));
    parts.ok_or_else(|| LogError::Damaged(format!("`{name}` is not the name of a blob")))
}

/// Whoever listened is gone: nothing more is to be sent.
pub(super) fn ended<T>(_: mpsc::error::SendError<T>) -> LogError {
    LogError::Unavailable("whoever read the log has ended".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blobs_name_is_a_scope_and_a_hash_and_no_path() {
        let (scope, hash) = ("a".repeat(32), "0".repeat(64));
        assert_eq!(blob_parts(&format!("{scope}/{hash}")), Ok((scope.as_str(), hash.as_str())));
        for wrong in ["", "/", "../x", &format!("{scope}/../{hash}"), &format!("..{scope}/{hash}"), &hash] {
            assert!(blob_parts(wrong).is_err(), "{wrong}");
        }
        let scopes = Scopes::new(&[7; 32]);
        assert_eq!(scopes.name("sms/+1555").len(), 32);
        assert_ne!(
            scopes.name("sms/+1555"),
            external_scope("sms/+1555"),
            "a name tells nothing to who guesses a scope"
        );
    }
}
