//! Outbound lanes: an attempt is claimed durably, called, and its result ingested. Nothing here decides whether to send
//! again; that is the core's.

mod attempt;
mod worker;

pub use attempt::{is_own_nonce, Limits};
pub use worker::{spawn, Caller, Lane};
