//! Text messages: one adapter a provider, and what all of them share (counting segments, opt-out words, numbers).
//!
//! A provider is a module with a [`Provider`], which declares its keys and builds its adapter, and a line in [`PROVIDERS`].
//! The daemon knows providers by that table only: configuration, schema and start need no other change.
#![forbid(unsafe_code)]

mod channel;
mod charset;
#[cfg(test)]
mod fixtures;
mod generic;
mod jasmin;
mod kannel;
pub mod keywords;
pub mod number;
mod provider;
mod request;
pub mod segments;
mod smpp;
pub mod twilio;
mod vonage;

pub use provider::{COMMON, Provider, build, check, provider};
pub use switchboard_adapter_sdk::ConfigProblem;
pub use twilio::{Twilio, TwilioConfig};

/// Every provider, by the name that the configuration uses.
pub const PROVIDERS: &[&Provider] = &[
    &twilio::PROVIDER, // <https://www.twilio.com/docs/messaging>
    &vonage::PROVIDER, // <https://developer.vonage.com/en/messaging/overview>
    &kannel::PROVIDER, // <https://www.kannel.org/userguide.shtml>
    &jasmin::PROVIDER, // <https://docs.jasminsms.com/en/latest/apis/ja-http/>
    &generic::PROVIDER,
];
