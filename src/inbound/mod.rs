//! From outside to IN: verify, parse, ingest, and only then acknowledge.

mod delivery;
mod files;
mod hooks;
mod ingest;
mod mail;
mod mended;
mod poll;
mod whose;

pub use delivery::{Handover, spawn as spawn_handover};
pub use files::{FILE_MAX, Fetcher, FileChannel, FileSource, spawn as spawn_files};
pub use hooks::{Hook, HookState, routes};
pub use ingest::{Ingest, blob_scope};
pub use mail::{Again, Mailbox, Mailboxes, spawn as spawn_mailbox};
pub use mended::{Mended, spawn as spawn_mended};
pub use poll::{Poller, Polls, spawn};
pub use whose::{Speaker, reader};
