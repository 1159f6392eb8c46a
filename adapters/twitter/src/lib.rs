//! The channel `twitter`: direct messages, mentions and replies on X (<https://docs.x.com/x-api>).
//!
//! For rules a message carries `meta.provider` (`twitter`), `meta.username`, `meta.followers`, `meta.verified`, `meta.language` and,
//! where they say something: `meta.post` (`mention`, `reply`, `quote`) for what was said in public, and `meta.event` for what is no
//! plain message (`encrypted`, `edit`, `delete`, and with `activity = true` X's names of likes, follows and the like).
#![forbid(unsafe_code)]

mod channel;
mod config;
#[cfg(test)]
mod fixtures;
mod hook;
mod json;
mod limits;
mod list;
mod oauth1;
mod read;
mod send;
mod tokens;
mod words;

pub use config::{KEYS, build, check};
pub use switchboard_adapter_sdk::ConfigProblem;
