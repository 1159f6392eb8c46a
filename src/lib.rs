//! The daemon: one log, one writer, stateless edges. `main` is thin; everything is here so that tests can reach it.
#![forbid(unsafe_code)]

pub mod config;
pub mod history;
pub mod http;
pub mod log;
