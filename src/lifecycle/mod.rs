//! Start, signals, drain: the parts of the daemon are put together here, and taken apart again.

mod adapters;
mod api;
mod aside;
pub mod channels;
mod chat;
mod health;
mod listener;
mod migrate;
mod open_log;
mod reload;
mod retention;
mod role;
mod start;
mod status;
mod supervisor;
mod timekeeper;
mod tokens;
mod trouble;
mod waiting;

pub use migrate::{MigrateError, Moved, migrate};
#[cfg(test)]
pub(crate) use retention::{Known, Steady, tidy};
pub use role::Role;
pub use start::{StartError, run};
