//! What listens: provider webhooks and chat on the public address; the API, the console and the metrics on the admin one.

pub mod api;
pub mod body;
pub mod chat;
pub mod complaints;
pub mod console;
pub mod front;
pub mod media;
mod problem;
pub mod serve;

pub use problem::{Fault, Problem};

/// The trace that a request belongs to, when it names one that can be read.
pub(crate) fn trace_of(headers: &http::HeaderMap) -> Option<String> {
    switchboard_envelope::traceparent(headers.get("traceparent")?.to_str().ok()?)
}
