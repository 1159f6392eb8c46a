//! From the log to a state: the newest snapshot that can be read, and the frames after it.

use super::Answers;
use super::codec::{Codec, CodecError, Opened};
use super::snapshot;
use super::unsent::Unsent;
use crate::log::frame::FrameId;
use crate::log::{Log, LogError, Seq, Stored};
use std::sync::Arc;
use switchboard_routing_rules::event::{Event, KeyHash, Public, Reply};
use switchboard_routing_rules::ids::Salt;
use switchboard_routing_rules::state::{Limits, State};

/// Frames read at once.
pub(super) const FRAMES: usize = 256;

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
    #[error("the log is another one than was read")]
    AnotherLog,
}

/// What the log holds, up to and with its frame `last`.
pub(super) struct Folded {
    pub state: State,
    pub last: Seq,
    /// Which frame the last is; 0 before the first.
    pub id: FrameId,
    pub unsent: Unsent,
    /// Where OUT ends as these frames assigned it; `None` when no frame was read that says so.
    pub assigned: Option<Seq>,
}

impl Folded {
    /// Folds the next frame.
    pub(super) async fn frame(&mut self, codec: &Codec, stored: &Stored) -> Result<Vec<Event>, RecoverError> {
        let seq = stored.seq;
        if seq != self.last + 1 {
            return Err(RecoverError::Gap { first: seq });
        }
        let Opened { id, out_first, events } = open(codec, stored).await?;
        self.assigned = Some(assigned(out_first, events.iter().map(|e| &e.public)));
        for event in &events {
            self.state.apply(event);
            self.unsent.consider(&self.state, out_first, &event.public);
        }
        self.unsent.end_of_frame();
        (self.last, self.id) = (seq, id);
        Ok(events)
    }
}

async fn open(codec: &Codec, stored: &Stored) -> Result<Opened, RecoverError> {
    codec.open(stored).await.map_err(|source| match source {
        CodecError::Log(e) => RecoverError::Log(e),
        source => RecoverError::Frame { seq: stored.seq, source },
    })
}

/// OUT's end after a frame.
fn assigned<'e>(out_first: Seq, events: impl Iterator<Item = &'e Public>) -> Seq {
    let sends = events.filter(|e| matches!(e, Public::Released { .. } | Public::Reconciling { .. })).count();
    out_first.saturating_sub(1) + sends as u64
}

/// Answers that somebody in this process waits for.
pub(super) type Answered = Vec<(KeyHash, Reply)>;

/// `empty` has the salt and the limits, and nothing else yet.
pub(super) async fn recover(
    log: &Arc<dyn Log>,
    codec: &Codec,
    empty: State,
    unsent: Unsent,
    answers: &Answers,
) -> Result<(Folded, Answered), RecoverError> {
    let (first, last) = log.log_bounds().await?;
    let (from, state) = newest_snapshot(log, codec, empty, last).await?;
    if from + 1 < first {
        return Err(RecoverError::Gap { first });
    }
    let mut folded = Folded { state, last: from, id: 0, unsent, assigned: None };
    let mut answered = vec![];
    while folded.last < last {
        let frames = log.read_log(folded.last, FRAMES).await?;
        if frames.is_empty() {
            break;
        }
        for stored in frames {
            for event in folded.frame(codec, &stored).await? {
                if let Public::Answered { command, reply, .. } = event.public
                    && answers.waits_for(command)
                {
                    answered.push((command, reply));
                }
            }
            folded.unsent.bound(log).await?;
        }
    }
    if folded.assigned.is_none() && last > 0 {
        // The snapshot holds all of LOG: its last frame says where OUT ends.
        let newest = log.read_log(last - 1, 1).await?;
        if let Some(stored) = newest.first().filter(|stored| stored.seq == last) {
            let Opened { id, out_first, events } = open(codec, stored).await?;
            folded.id = id;
            folded.assigned = Some(assigned(out_first, events.iter().map(|e| &e.public)));
        }
    }
    #[cfg(test)]
    if crate::simulation::planted(crate::simulation::Bug::DuplicatesLostAtRestart) {
        folded.state.dups = Default::default();
    }
    let (frames, conversations) = (folded.last - from, folded.state.conversations.len());
    tracing::info!(snapshot = from, frames, conversations, "state recovered");
    Ok((folded, answered))
}

/// The state as the log has it, for who does not route.
///
/// # Errors
/// When the log cannot be read, or holds what this build does not understand.
pub async fn state_of(log: &Arc<dyn Log>, limits: Limits) -> Result<State, RecoverError> {
    let empty = empty(log, limits).await?;
    let codec = Codec::new(log.clone());
    let (folded, _) = recover(log, &codec, empty, Unsent::nothing(), &Answers::default()).await?;
    Ok(folded.state)
}

/// The state of the newest snapshot that can be read, and the last frame that it holds; `None` where there is none.
///
/// # Errors
/// When the log cannot be read.
pub async fn snapshot_of(log: &Arc<dyn Log>, limits: Limits) -> Result<Option<(Seq, State)>, LogError> {
    let (_, last) = log.log_bounds().await?;
    let found = newest_snapshot(log, &Codec::new(log.clone()), empty(log, limits).await?, last).await?;
    Ok(Some(found).filter(|(at, _)| *at > 0))
}

async fn empty(log: &Arc<dyn Log>, limits: Limits) -> Result<State, LogError> {
    let key = log.get_keys(&["workspace".to_owned()]).await?.pop().flatten();
    let mut salt = [0; 16];
    let key = key.ok_or_else(|| LogError::Damaged("the log has no key `workspace`".into()))?;
    salt.copy_from_slice(key.split_at(16).0);
    let mut empty = State::new(Salt(salt));
    empty.limits = limits;
    Ok(empty)
}

/// A snapshot that cannot be read costs time, not data: an older one, or the whole log, is folded instead.
async fn newest_snapshot(log: &Arc<dyn Log>, codec: &Codec, empty: State, last: Seq) -> Result<(Seq, State), LogError> {
    for at in log.snapshot_seqs().await? {
        if at > last {
            tracing::error!(at, last, "a snapshot is newer than the log; it is not used");
            continue;
        }
        let Some(bytes) = log.snapshot(at).await? else {
            tracing::error!(at, "a snapshot is damaged; an older one is tried");
            continue;
        };
        match snapshot::open(codec, &empty, bytes).await {
            Ok(state) => return Ok((at, state)),
            Err(error) => tracing::error!(at, %error, "a snapshot cannot be read; an older one is tried"),
        }
    }
    Ok((0, empty))
}
