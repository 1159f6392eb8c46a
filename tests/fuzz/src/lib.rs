//! What strangers send: every body that a provider delivers or answers with, and every mail. Each target takes any bytes, and panics
//! when a promise does not hold.
#![forbid(unsafe_code)]

mod adapters;
mod dialogue;
mod mail;
mod seeds;

pub use seeds::seeds;

/// Tries one input.
pub type Target = Box<dyn Fn(&[u8]) + Send + Sync>;

/// What [`target`] knows: an adapter each, the reader of mails, and those whom mail servers talk to.
pub const NAMES: [&str; 16] = [
    "mail",
    "imap",
    "lmtp",
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
    "twitter-tokens",
    "webhook",
    "slack",
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    match name {
        "mail" => return Some(Box::new(mail::is_read)),
        "imap" => return Some(Box::new(dialogue::answers_are_read)),
        "lmtp" => return Some(Box::new(dialogue::mail_is_taken)),
        _ => {}
    }
    let adapter = adapters::adapter(name)?;
    Some(Box::new(move |input| adapters::is_total(adapter.as_ref(), input)))
}
