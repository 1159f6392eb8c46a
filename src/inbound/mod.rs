//! From outside to IN: verify, parse, ingest, and only then acknowledge.

mod hooks;
mod ingest;
mod poll;

pub use hooks::{Hook, HookState, routes};
pub use ingest::{Ingest, blob_scope};
pub use poll::{Poller, spawn};
