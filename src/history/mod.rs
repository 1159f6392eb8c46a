//! History: transcripts, lists and explanations, served from `history.db`.
//!
//! The file is a projection of LOG with its own cursor. It is disposable: when it is missing, damaged or of another
//! version it is made again from LOG, and from a snapshot of the state where LOG lost its beginning. `decide` never reads it. Everything in it that came from a person came from the
//! private part of an event, so that it can be rewritten without that person.

mod beginning;
mod cache;
mod causes;
mod chain;
mod checkpoint;
mod load;
mod pace;
mod places;
mod project;
mod queries;
mod reader;
mod rows;
mod runner;
mod save;
mod schema;
mod sends;
mod slots;
mod stored;
#[cfg(test)]
pub(crate) mod tests;
mod trim;
mod writer;

pub use beginning::{Before, Earlier, Held, OLDER_GONE};
pub use queries::{Answered, Page, Quarantined, RuleHits};
pub use reader::History;
pub use rows::{
    Cause, Clock, Considering, Contact, ContactBrief, Conversation, ConversationFilter, DeadLetter, Direction,
    EventLine, Facts, FactsOutcome, LastMessage, Message, OfferRow, Status, Who,
};
pub use runner::{Change, HistoryHandle, spawn_projection, spawn_projection_after};
pub use slots::{SLOT_MS, Slot};
pub use trim::{Trimmed, keep_within};
pub use writer::HistoryWriter;

use crate::log::Seq;
use thiserror::Error;

/// Places in the transcript's numbering that one frame takes.
pub const PLACES_PER_FRAME: u64 = 4096;

/// The transcript number of the event at `index` in the frame `seq`. Numbers grow; where a frame holds more events than
/// it has places, the projection uses the next free number instead.
#[must_use]
pub fn message_seq(seq: Seq, index: usize) -> u64 {
    seq.saturating_mul(PLACES_PER_FRAME).saturating_add(u64::try_from(index).unwrap_or(u64::MAX)).min(i64::MAX as u64)
}

/// Why history could not be read or written.
#[derive(Debug, Error)]
pub enum HistoryError {
    #[error("history.db: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("history.db: a row cannot be read: {0}")]
    Read(#[from] rmp_serde::decode::Error),
    #[error("history.db: a row cannot be written: {0}")]
    Write(#[from] rmp_serde::encode::Error),
    #[error("history.db: {0}")]
    Io(#[from] std::io::Error),
    #[error("history is closing")]
    Closed,
}

impl HistoryError {
    /// The file is no use any more and must be made again.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode as C;
        match self {
            HistoryError::Read(_) => true,
            HistoryError::Sqlite(rusqlite::Error::SqliteFailure(e, _)) => {
                matches!(e.code, C::DatabaseCorrupt | C::NotADatabase | C::SchemaChanged) || e.extended_code == 1
            }
            HistoryError::Sqlite(
                rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::FromSqlConversionFailure(..),
            ) => true,
            _ => false,
        }
    }
}
