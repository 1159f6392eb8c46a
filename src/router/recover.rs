//! From the log to a state: the newest snapshot that can be read, and the frames after it.

use super::codec::{Codec, CodecError};
use super::snapshot;
use super::turn::out_record;
use crate::log::{Log, LogError, OutRecord, Seq};
use std::sync::Arc;
use switchboard_routing_rules::event::Public;
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
    let mut unsent = Unsent::new(log).await?;
    while at < last {
        let frames = log.read_log(at, FRAMES).await?;
        if frames.is_empty() {
            break;
        }
        for stored in frames {
            let seq = stored.seq;
            let opened = codec.open(&stored).await;
            let (out_first, events) = opened.map_err(|source| RecoverError::Frame { seq, source })?;
            for event in &events {
                state.apply(event);
                unsent.consider(&state, out_first, &event.public);
            }
            unsent.end_of_frame();
            at = seq;
        }
    }
    #[cfg(test)]
    if crate::simulation::planted(crate::simulation::Bug::DuplicatesLostAtRestart) {
        state.dups = Default::default();
    }
    tracing::info!(snapshot = from, frames = at - from, conversations = state.conversations.len(), "state recovered");
    unsent.complete(log).await?;
    let out_last = log.out_last().await?;
    Ok(Recovered { state, last: at, out_last })
}

/// What the last frames sent and OUT does not have: where a commit is several steps, a router can be killed between its frame
/// and its sends.
struct Unsent {
    out_last: Seq,
    /// The place of the next send of the frame that is folded.
    next: Option<Seq>,
    first: Seq,
    sends: Vec<OutRecord>,
}

impl Unsent {
    async fn new(log: &Arc<dyn Log>) -> Result<Unsent, LogError> {
        // Where a commit is one step, every send is where its frame put it.
        let out_last = if log.exclusive() { Seq::MAX } else { log.out_last().await? };
        Ok(Unsent { out_last, next: None, first: 0, sends: vec![] })
    }

    fn consider(&mut self, state: &State, out_first: Seq, event: &Public) {
        if self.out_last == Seq::MAX || !matches!(event, Public::Released { .. } | Public::Reconciling { .. }) {
            return;
        }
        let place = self.next.unwrap_or(out_first);
        let record = if place > self.out_last { out_record(state, event) } else { None };
        if let Some(record) = record {
            if self.first + self.sends.len() as Seq != place {
                // An earlier frame's sends were given up when this one took their places.
                (self.first, self.sends) = (place, vec![]);
            }
            self.sends.push(record);
        }
        self.next = Some(place + 1);
    }

    fn end_of_frame(&mut self) {
        self.next = None;
    }

    async fn complete(self, log: &Arc<dyn Log>) -> Result<(), LogError> {
        if self.sends.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            first = self.first,
            sends = self.sends.len(),
            "an earlier process left sends out of OUT; they follow now"
        );
        log.complete(self.first, self.sends).await
    }
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
