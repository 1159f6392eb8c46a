//! Signatures after Standard Webhooks: HMAC-SHA256 over `<webhook-id>.<webhook-timestamp>.<body>`, in base64 behind `v1,`;
//! several in one header while a secret is rotated.

use http::HeaderMap;
use switchboard_adapter_sdk::{
    Call, CallBody, RawRequest, Verdict,
    signature::{Mac, equal, from_base64, to_base64},
};
use switchboard_envelope::Timestamp;
use thiserror::Error;

pub(crate) const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// How far a request's timestamp may be from our clock, either way, in milliseconds.
pub const TOLERANCE_MS: i64 = 5 * 60_000;

const PREFIX: &str = "whsec_";
/// Signatures of one request that are looked at; a sender has one for each secret that is in use.
const MOST: usize = 16;

/// A secret that is none. The text holds nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is no signing secret: it is `whsec_` and the base64 of 24 to 64 random bytes")]
pub struct InvalidSecret;

/// One secret, ready to sign.
#[derive(Clone, Debug)]
pub struct SigningKey(Mac);

impl SigningKey {
    /// Reads `whsec_` and base64.
    ///
    /// # Errors
    /// When it is of another form, or has too few or too many bytes.
    pub fn parse(text: &str) -> Result<SigningKey, InvalidSecret> {
        let bytes = text.strip_prefix(PREFIX).and_then(from_base64).ok_or(InvalidSecret)?;
        if (24..=64).contains(&bytes.len()) { Ok(SigningKey(Mac::sha256(&bytes))) } else { Err(InvalidSecret) }
    }

    fn tag(&self, id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
        self.0.sign_parts(&[id.as_bytes(), b".", timestamp.as_bytes(), b".", body])
    }
}

/// What a request's head says of its signature.
pub(crate) struct Signed<'a> {
    id: &'a str,
    timestamp: &'a str,
    tags: Vec<Vec<u8>>,
}

impl<'a> Signed<'a> {
    /// Reads it; an error is a head that no genuine request has.
    pub(crate) fn of(request: &'a RawRequest) -> Result<Signed<'a>, Verdict> {
        let (Some(id), Some(timestamp)) = (single(&request.headers, ID), single(&request.headers, TIMESTAMP)) else {
            return Err(Verdict::Missing);
        };
        let signatures: Vec<&str> = request
            .headers
            .get_all(SIGNATURE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(' '))
            .filter(|entry| !entry.is_empty())
            .take(MOST)
            .collect();
        if signatures.is_empty() {
            return Err(Verdict::Missing);
        }
        let Some(seconds) = seconds(timestamp) else {
            return Err(Verdict::Forged("webhook-timestamp is no number of seconds".into()));
        };
        let early = Timestamp(seconds.saturating_mul(1000)).since(request.received_at);
        if early.abs() > TOLERANCE_MS {
            return Err(Verdict::Forged(format!(
                "webhook-timestamp is {early} ms from our clock, and {TOLERANCE_MS} are allowed: an old request, or a wrong clock"
            )));
        }
        // Other versions stand beside ours, as `v1a,…` does; they are not looked at.
        let tags = signatures.iter().filter_map(|entry| entry.strip_prefix("v1,")).filter_map(from_base64).collect();
        Ok(Signed { id, timestamp, tags })
    }
}

pub(crate) fn verify(keys: &[SigningKey], request: &RawRequest) -> Verdict {
    let signed = match Signed::of(request) {
        Ok(signed) => signed,
        Err(wrong) => return wrong,
    };
    // Each secret signs once, and every tag is compared with it, whichever fits.
    let genuine = keys.iter().fold(false, |found, key| {
        let expected = key.tag(signed.id, signed.timestamp, &request.body);
        signed.tags.iter().fold(found, |found, tag| equal(&expected, tag) | found)
    });
    if genuine {
        Verdict::Genuine
    } else {
        Verdict::Forged("no v1 signature matches; is it the secret that the sender signs with?".into())
    }
}

/// Adds the time and the signatures to a call that has its id.
pub(crate) fn sign(keys: &[SigningKey], mut call: Call, now: Timestamp) -> Call {
    let Some(id) = call.headers.iter().find(|(name, _)| *name == ID).map(|(_, id)| id.clone()) else { return call };
    let timestamp = (now.0 / 1000).to_string();
    let body: &[u8] = match &call.body {
        CallBody::Bytes(_, bytes) => bytes,
        CallBody::Empty => &[],
    };
    let tags: Vec<String> =
        keys.iter().map(|key| format!("v1,{}", to_base64(&key.tag(&id, &timestamp, body)))).collect();
    call.headers.push((TIMESTAMP, timestamp));
    call.headers.push((SIGNATURE, tags.join(" ")));
    call
}

/// The value of a header that stands once; what stands twice could be read in two ways.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().filter(|text| !text.is_empty()),
        _ => None,
    }
}

fn seconds(text: &str) -> Option<i64> {
    let plain = (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}
