//! Start, signals, drain: the parts of the daemon are put together here, and taken apart again.

mod adapters;
mod api;
mod aside;
mod backup;
pub mod channels;
mod chat;
mod health;
mod listener;
mod manifest;
mod migrate;
mod open_log;
mod reload;
mod restore;
mod retention;
mod role;
mod start;
mod status;
mod supervisor;
mod timekeeper;
mod tokens;
mod trouble;
mod waiting;

pub use backup::{BackupError, Saved, backup};
pub use manifest::{Manifest, verify};
pub use migrate::{MigrateError, Moved, migrate};
pub use restore::{Earlier, Restored, restore};
#[cfg(test)]
pub(crate) use retention::{Known, Steady, tidy};
pub use role::Role;
pub use start::{StartError, run};
