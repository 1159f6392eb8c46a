//! How a channel sends that does not speak HTTP.

use crate::AttemptOutcome;
use async_trait::async_trait;
use bytes::Bytes;
use std::time::Duration;
use switchboard_envelope::Send as SendRecord;

/// Makes one attempt at a send. It is claimed before and its outcome is stored after, as for every channel: this only talks to
/// the provider, and says how far it came.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// `files` are the bytes of the send's attachments, in their order. What was not answered `within` this time is `unknown` when
    /// the provider may have taken it, and `not_sent` when it cannot have.
    async fn send(&self, send: &SendRecord, files: Vec<Bytes>, within: Duration) -> AttemptOutcome;
}
