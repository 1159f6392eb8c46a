//! From the log to a state: the newest snapshot that can be read, and the frames after it.

use super::codec::{Codec, CodecError};
use super::snapshot;
use crate::log::{Log, LogError, Seq};
use std::sync::Arc;
use switchboard_routing_rules::state::State;

/// Frames read at once.
const FRAMES: usize = 256;

#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error("the log cannot be read: {0}")]
    Log(#[from] LogError),
    #[error("frame {seq} cannot be folded: {source}")]
    Frame { seq: Seq, source: CodecError },
    #[error(
        "the log begins at frame {first}, and no snapshot reaches it: restore a backup, or start with an empty data directory"
    )]
    Gap { first: Seq },
    #[error("another router wrote frame {0}; this one stops")]
    AnotherWriter(Seq),
}

pub(super) struct Recovered {
    pub state: State,
    pub last: Seq,
    pub out_last: Seq,
}

/// `empty` has the salt and the limits, and nothing else yet.
pub(super) async fn recover(log: &Arc<dyn Log>, codec: &Codec, empty: State) -> Result<Recovered, RecoverError> {
    let (first, last) = log.log_bounds().await?;
    let (mut at, mut state) = newest_snapshot(log, codec, empty, last).await?;
    if at + 1 < first {
        return Err(RecoverError::Gap { first });
    }
    let from = at;
    while at < last {
        let frames = log.read_log(at, FRAMES).await?;
        if frames.is_empty() {
            break;
        }
        for stored in frames {
            let seq = stored.seq;
            let events = codec.decode(&stored).await.map_err(|source| RecoverError::Frame { seq, source })?;
            events.iter().for_each(|e| state.apply(e));
            at = seq;
        }
    }
    #[cfg(test)]
    if crate::simulation::planted(crate::simulation::Bug::DuplicatesLostAtRestart) {
        state.dups = Default::default();
    }
    tracing::info!(snapshot = from, frames = at - from, conversations = state.conversations.len(), "state recovered");
    let out_last = log.out_last().await?;
    Ok(Recovered { state, last: at, out_last })
}

/// A snapshot that cannot be read costs time, not data: an older one, or the whole log, is folded instead.
async fn newest_snapshot(log: &Arc<dyn Log>, codec: &Codec, empty: State, last: Seq) -> Result<(Seq, State), LogError> {
    for (at, bytes) in log.snapshots().await? {
        if at > last {
            tracing::error!(at, last, "a snapshot is newer than the log; it is not used");
            continue;
        }
        match snapshot::open(codec, &empty, &bytes).await {
            Ok(state) => return Ok((at, state)),
            Err(error) => tracing::error!(at, %error, "a snapshot cannot be read; an older one is tried"),
        }
    }
    Ok((0, empty))
}
