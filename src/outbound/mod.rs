//! Outbound lanes: an attempt is claimed durably, called, and its result ingested. Nothing here decides whether to send
//! again; that is the core's.

mod account;
mod attempt;
#[cfg(test)]
mod tests;
mod worker;

pub use account::Account;
pub use attempt::{Limits, process_name, process_of};
pub use worker::{Caller, Lane, spawn};
