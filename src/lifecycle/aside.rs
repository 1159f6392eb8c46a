//! Records in quarantine that IN does not hold any more: their bytes are kept beside it, until they are read again or dropped.

use crate::log::{Log, LogError, Seq, Stored};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use switchboard_envelope::{BlobRef, Timestamp};

/// A record as it stood in IN. Its envelope is text mostly, but need not be.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    at: Timestamp,
    channel: String,
    data: String,
}

/// The scope of the record's bytes, and the cursor that says under which hash they are there.
fn place(seq: Seq) -> String {
    format!("quarantine/{seq}")
}

/// Keeps a record beside IN, under its number. Doing it again changes nothing.
pub(super) async fn keep(log: &dyn Log, record: &Stored) -> Result<(), LogError> {
    let kept = Kept { at: record.at, channel: record.channel.clone(), data: STANDARD.encode(&record.data) };
    let bytes = serde_json::to_vec(&kept).map_err(|e| LogError::Refused(e.to_string()))?;
    let blob = log.put_blob(&place(record.seq), bytes.into()).await?;
    log.put_cursor(&place(record.seq), &blob.0).await
}

/// The record of this number, wherever it is kept.
pub(super) async fn find(log: &dyn Log, seq: Seq) -> Result<Option<Stored>, LogError> {
    if let Some(stored) = log.get_in(seq).await? {
        return Ok(Some(stored));
    }
    let Some(blob) = named(log, seq).await? else { return Ok(None) };
    let Some(bytes) = log.get_blob(&place(seq), &blob).await? else { return Ok(None) };
    let damaged = |e: &dyn std::fmt::Display| LogError::Damaged(format!("record {seq} of the quarantine: {e}"));
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|e| damaged(&e))?;
    let data = STANDARD.decode(&kept.data).map_err(|e| damaged(&e))?;
    Ok(Some(Stored { seq, at: kept.at, channel: kept.channel, data: data.into() }))
}

/// The record need not be kept any more; answers whether it was.
pub(super) async fn forget(log: &dyn Log, seq: Seq) -> Result<bool, LogError> {
    let Some(blob) = named(log, seq).await? else { return Ok(false) };
    log.delete_blob(&place(seq), &blob).await?;
    log.delete_cursor(&place(seq)).await?;
    Ok(true)
}

async fn named(log: &dyn Log, seq: Seq) -> Result<Option<BlobRef>, LogError> {
    Ok(log.get_cursor(&place(seq)).await?.map(BlobRef))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::{MemoryLog, MemoryOptions};
    use bytes::Bytes;

    #[tokio::test]
    async fn a_record_comes_back_as_it_was_until_it_is_forgotten() {
        let log = MemoryLog::new(&MemoryOptions::default());
        let data = Bytes::from_static(b"\xff\x00 no envelope");
        let record = Stored { seq: 7, at: Timestamp(5), channel: "sms".into(), data: data.clone() };
        assert!(find(&log, 7).await.expect("an answer").is_none());
        for _ in 0..2 {
            keep(&log, &record).await.expect("kept");
        }
        // The same bytes may have come under another number.
        keep(&log, &Stored { seq: 8, ..record.clone() }).await.expect("kept");
        let found = find(&log, 7).await.expect("an answer").expect("it is there");
        assert_eq!((found.seq, found.at, found.channel.as_str(), found.data), (7, Timestamp(5), "sms", data));
        for _ in 0..2 {
            forget(&log, 7).await.expect("forgotten");
        }
        assert!(find(&log, 7).await.expect("an answer").is_none());
        assert!(find(&log, 8).await.expect("an answer").is_some());
    }
}
