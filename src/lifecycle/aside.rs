//! Records in quarantine that IN does not hold any more: their bytes are kept beside it, until they are read again or dropped.

use crate::history::Held;
use crate::log::{Log, LogError, Seq, Stored};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use switchboard_envelope::{BlobRef, Inbound, Timestamp};

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

/// What records say of themselves, wherever they are kept; those that are gone or damaged say nothing.
pub(super) async fn described(
    log: &dyn Log,
    seqs: impl Iterator<Item = &Seq>,
) -> Result<BTreeMap<Seq, Held>, LogError> {
    let mut described = BTreeMap::new();
    for seq in seqs {
        match find(log, *seq).await {
            Ok(Some(stored)) => drop(described.insert(*seq, held(stored))),
            Ok(None) => {}
            Err(error @ LogError::Damaged(_)) => {
                tracing::warn!(seq, %error, "nothing is known of a record in quarantine")
            }
            Err(error) => return Err(error),
        }
    }
    Ok(described)
}

fn held(stored: Stored) -> Held {
    let reason = match Inbound::from_slice(&stored.data) {
        Ok(Inbound::Unparsed(unparsed)) if unparsed.channel == stored.channel => Some(unparsed.reason),
        _ => None,
    };
    Held { channel: stored.channel, at: stored.at, reason }
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
    use switchboard_envelope::{Raw, Unparsed};

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
    #[tokio::test]
    async fn records_say_of_which_channel_they_are_and_what_is_wrong_with_them() {
        let log = MemoryLog::new(&MemoryOptions::default());
        let unparsed = Inbound::Unparsed(Unparsed {
            id: "sms:unparsed:1".into(),
            channel: "sms".into(),
            reason: "no body".into(),
            at: Timestamp(4),
            raw: Raw { content_type: "text/plain".into(), blob: None, inline: None, meta: BTreeMap::new() },
        });
        let stored = |seq, channel: &str, data: Vec<u8>| Stored {
            seq,
            at: Timestamp(5),
            channel: channel.into(),
            data: data.into(),
        };
        let unparsed = unparsed.to_vec();
        keep(&log, &stored(7, "sms", unparsed.clone())).await.expect("kept");
        keep(&log, &stored(8, "mail", b"no envelope".to_vec())).await.expect("kept");
        // It says that it is another channel's.
        keep(&log, &stored(9, "mail", unparsed)).await.expect("kept");
        let held = |channel: &str, reason: Option<&str>| Held {
            channel: channel.into(),
            at: Timestamp(5),
            reason: reason.map(str::to_owned),
        };
        let found = described(&log, [7, 8, 9, 10].iter()).await.expect("an answer");
        let wanted = [(7, held("sms", Some("no body"))), (8, held("mail", None)), (9, held("mail", None))];
        assert_eq!(found, BTreeMap::from(wanted));
    }
}
