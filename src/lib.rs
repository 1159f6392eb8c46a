//! The daemon: one log, one writer, stateless edges. `main` is thin; everything is here so that tests can reach it.
#![forbid(unsafe_code)]

pub mod cli;
pub mod clock;
pub mod config;
pub mod history;
pub mod http;
pub mod inbound;
pub mod lifecycle;
pub mod log;
pub mod machine;
pub mod metrics;
pub mod outbound;
pub mod packs;
pub mod random;
pub mod registry;
pub mod router;
#[cfg(test)]
mod simulation;
