//! Hashes and MACs over several fields, each with its length before it, so that no two lists of fields read the same.

use aws_lc_rs::{digest, hmac};
use switchboard_adapter_sdk::signature::to_hex;

fn joined(fields: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(fields.iter().map(|f| f.len() + 8).sum());
    for field in fields {
        out.extend_from_slice(&(field.len() as u64).to_be_bytes());
        out.extend_from_slice(field);
    }
    out
}

/// The first 128 bits of SHA-256 in lower-case hexadecimal.
pub(crate) fn hash(fields: &[&[u8]]) -> String {
    to_hex(digest::digest(&digest::SHA256, &joined(fields)).as_ref().get(..16).unwrap_or_default())
}

pub(crate) fn mac(key: &hmac::Key, fields: &[&[u8]]) -> hmac::Tag {
    hmac::sign(key, &joined(fields))
}

/// In constant time.
pub(crate) fn verify(key: &hmac::Key, fields: &[&[u8]], tag: &[u8]) -> bool {
    hmac::verify(key, &joined(fields), tag).is_ok()
}
