//! The whole crate over the corpus of real mails, and over mails as they come back to us.

mod channel;
mod corpus;
mod damage;
mod jwz;
mod letters;
mod mutation;
mod shapes;
mod threading;
mod writing;

use crate::{ids::Keys, read::Settings};
use switchboard_adapter_sdk::Secret;
use switchboard_envelope::Timestamp;

const NOW: Timestamp = Timestamp(1_795_298_400_000);
const CONV: &str = "c0123456789abcdef";
const SEND: &str = "mfedcba9876543210";

fn settings() -> Settings {
    Settings {
        channel: "support-email".into(),
        addresses: vec!["support@desk.example".into(), "sales@desk.example".into()],
        trusted: vec!["mx.desk.example".into()],
        boundary: vec![],
        keys: Keys::new(&[Secret::new("corpus")]),
        instance: "corpus".into(),
    }
}

/// Settings of a site whose mail server says nothing about senders.
fn trusting() -> Settings {
    Settings { trusted: vec![], ..settings() }
}
