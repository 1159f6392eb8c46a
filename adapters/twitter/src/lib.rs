//! The channel `twitter`: direct messages, mentions and replies on X (<https://docs.x.com/x-api>).
//!
//! For rules a message carries `meta.provider` (`twitter`), `meta.username`, `meta.followers`, `meta.verified`, `meta.language` and,
//! where they say something: `meta.chat` (`group`), `meta.post` (`mention`, `reply`, `quote`) for what was said in public, and `meta.event` for what is no
//! plain message (`encrypted`, `edit`, `delete`, and with `activity = true` X's names of likes, follows and the like).
#![forbid(unsafe_code)]

mod apart;
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
mod upload;
mod words;

use std::time::Duration;
use switchboard_adapter_sdk::Kind;

/// The channel, as the daemon's registry lists it.
pub const KIND: Kind = Kind {
    name: "twitter",
    about: "An account on X.",
    keys: config::KEYS,
    either: &["access_token", "refresh_token"],
    needs: &[
        ("access_token", &["access_token_secret", "consumer_key"]),
        ("access_token_secret", &["access_token"]),
        ("refresh_token", &["client_id"]),
        ("webhook_id", &["bearer_token"]),
        ("bearer_token", &["webhook_id"]),
    ],
    poll: Some(Duration::from_secs(300)),
    rate: None,
    check: config::check,
    build: config::build,
};
