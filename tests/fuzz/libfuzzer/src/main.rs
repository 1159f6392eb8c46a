//! Gives what libFuzzer thinks of to the target that `FUZZ` names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use switchboard_fuzz::{NAMES, Target, target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ").unwrap_or_default();
    target(&name).unwrap_or_else(|| panic!("write what is tried as FUZZ: {}", NAMES.join(", ")))
});

fuzz_target!(|input: &[u8]| TARGET(input));
