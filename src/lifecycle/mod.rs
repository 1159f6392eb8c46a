//! Start, signals, drain: the parts of the daemon are put together here, and taken apart again.

mod api;
pub mod channels;
mod chat;
mod health;
mod reload;
mod listener;
mod start;
mod tokens;

pub use start::{StartError, run};
