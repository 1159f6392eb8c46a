//! Outbound lanes: an attempt is claimed durably, called, and its result ingested. Nothing here decides whether to send
//! again; that is the core's.

mod account;
mod attempt;
mod rate;
#[cfg(test)]
mod tests;
mod unfinished;
mod upload;
mod worker;

pub use account::Account;
pub use attempt::{process_name, process_of};
pub use rate::{Budget, Limits};
pub use unfinished::Unfinished;
pub use worker::{Caller, Lane, Made, spawn};
