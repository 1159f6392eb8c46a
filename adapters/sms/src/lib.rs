//! Text messages: one adapter a provider, and what all of them share (counting segments, opt-out words, numbers).
//!
//! A provider is a module with its adapter, and a variant of [`SmsConfig`].
#![forbid(unsafe_code)]

#[cfg(test)]
mod fixtures;
pub mod keywords;
pub mod number;
pub mod segments;
pub mod twilio;

pub use twilio::{Twilio, TwilioConfig};

use std::sync::Arc;
use switchboard_adapter_sdk::Adapter;
use thiserror::Error;

/// The providers by the names that the configuration uses.
pub const PROVIDERS: &[&str] = &["twilio"];

/// What a channel of kind `sms` is configured with, by provider.
#[derive(Clone, Debug)]
pub enum SmsConfig {
    Twilio(TwilioConfig),
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("channels.{channel}.{key}: {problem}")]
pub struct ConfigProblem {
    pub channel: String,
    pub key: &'static str,
    pub problem: String,
}

/// The adapter of the channel with this id.
///
/// # Errors
/// With every problem of the settings at once.
pub fn build(channel: &str, config: SmsConfig) -> Result<Arc<dyn Adapter>, Vec<ConfigProblem>> {
    match config {
        SmsConfig::Twilio(config) => Ok(Arc::new(Twilio::new(channel, config)?)),
    }
}
