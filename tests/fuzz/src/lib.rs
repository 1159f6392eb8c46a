//! What strangers send: every body that a provider delivers or answers with, and every mail. Each target takes any bytes, and panics
//! when a promise does not hold.
#![forbid(unsafe_code)]

mod adapters;
mod mail;
mod seeds;

pub use seeds::seeds;

/// Tries one input.
pub type Target = Box<dyn Fn(&[u8]) + Send + Sync>;

/// What [`target`] knows: an adapter each, and the reader of mails.
pub const NAMES: [&str; 12] = [
    "mail",
    "twilio",
    "vonage",
    "kannel",
    "jasmin",
    "http",
    "messenger",
    "instagram",
    "whatsapp",
    "telegram",
    "twitter",
    "webhook",
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    if name == "mail" {
        return Some(Box::new(mail::is_read));
    }
    let adapter = adapters::adapter(name)?;
    Some(Box::new(move |input| adapters::is_total(adapter.as_ref(), input)))
}
