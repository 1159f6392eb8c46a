//! What strangers send: every body that a provider delivers or answers with, and every mail. `FUZZ` names what is tried.
#![no_main]

mod adapters;
mod mail;

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// Tries one input.
type Target = Box<dyn Fn(&[u8]) + Send + Sync>;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ").unwrap_or_default();
    match name.as_str() {
        "mail" => Box::new(mail::is_read),
        other => match adapters::adapter(other) {
            Some(adapter) => Box::new(move |input| adapters::is_total(adapter.as_ref(), input)),
            None => panic!("write what is tried as FUZZ: mail, {}", adapters::NAMES.join(", ")),
        },
    }
});

fuzz_target!(|input: &[u8]| TARGET(input));
