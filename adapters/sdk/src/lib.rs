//! What an adapter author depends on: the [`Adapter`] trait, the vocabulary of requests, calls and answers, signatures,
//! the HTTP client with its guards, outcome classification, redaction, and the test kit.
//!
//! An adapter is a set of pure functions over bytes. The daemon does the waiting, the limits, the claims and the metrics.
#![forbid(unsafe_code)]

mod adapter;
pub mod classify;
pub mod client;
pub mod file_type;
mod kind;
mod memory;
pub mod redact;
pub mod seal;
mod secret;
pub mod settings;
pub mod signature;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod transport;
mod upload;

pub use adapter::{
    Adapter, Answer, AttemptOutcome, Call, CallBody, CallError, Measure, Opened, Polled, RawRequest, Reply, Response,
    Verdict,
};
pub use client::{Client, FetchError, File};
pub use kind::{Build, Kind};
pub use memory::{Before, Kept, Learned, Memory};
pub use secret::Secret;
pub use settings::{ConfigProblem, Settings};
pub use transport::Transport;
pub use upload::{Step, Upload};
