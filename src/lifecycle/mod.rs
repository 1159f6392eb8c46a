//! Start, signals, drain: the parts of the daemon are put together here, and taken apart again.

pub mod channels;
mod chat;
mod health;
mod start;
mod tokens;

pub use start::{StartError, run};
