//! The channel `email`: a support mailbox.
//!
//! Reading is pure: [`events::events`] makes envelopes of a raw mail, and never fails, panics or loses anything. [`read::read`]
//! says what a mail is, for whoever wants to know more than the router does.
//!
//! Writing is pure too: [`compose::compose`] makes the mail of a send, the same bytes for every attempt.
//!
//! What our own mails carry ([`ids`]) is signed and names the conversation, so that an answer finds its way without a table.
#![forbid(unsafe_code)]

pub mod address;
pub mod authentication;
mod automatic;
mod channel;
mod charset;
pub mod compose;
pub mod config;
pub mod connect;
pub mod delivery;
pub mod dkim;
pub mod events;
mod file_name;
#[cfg(test)]
mod fixtures;
mod flowed;
mod header;
pub mod html;
pub mod ids;
pub mod imap;
mod letter;
pub mod list;
pub mod mime;
mod owner;
mod params;
pub mod read;
pub mod reply;
pub mod report;
pub mod smtp;
mod structure;
pub mod subject;
pub mod submission;
#[cfg(test)]
mod tests;
mod tnef;
mod transfer;
mod words;

pub use channel::Email;
pub use config::{Delivery, EmailConfig, Imap, Login, Mark, Server, Tls};
