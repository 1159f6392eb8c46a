use crate::keyed;
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::fmt;
use switchboard_adapter_sdk::{
    Secret,
    signature::{from_hex, to_hex},
};
use switchboard_envelope::Timestamp;
use thiserror::Error;

/// A browser that we know again: `v` and 128 random bits, or `u` and 128 bits of a hash for a user whom the shop's own
/// server vouched for. It is the thread, and the value of the `visitor` address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Visitor(String);

impl Visitor {
    /// A new anonymous visitor. `random` must come from a cryptographic generator: knowing the id of another visitor must
    /// stay out of reach.
    #[must_use]
    pub fn anonymous(random: [u8; 16]) -> Visitor {
        Visitor(format!("v{}", to_hex(&random)))
    }

    /// Reads an id in its canonical form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Visitor> {
        let (kind, hex) = text.split_at_checked(1)?;
        let known = matches!(kind, "v" | "u") && hex.len() == 32;
        (known && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))).then(|| Visitor(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The shop's server vouched for this user.
    #[must_use]
    pub fn is_identified(&self) -> bool {
        self.0.starts_with('u')
    }
}

impl fmt::Display for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    #[error("not a visitor token")]
    Malformed,
    #[error("the visitor token was not signed by this workspace for this channel")]
    Forged,
    #[error("the visitor token is too old")]
    Expired,
}

/// Signs what we hand to browsers. One key a workspace; each use is kept apart by a label, and each token by its channel.
#[derive(Clone)]
pub struct TokenKey(hmac::Key);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(•••)")
    }
}

impl TokenKey {
    #[must_use]
    pub fn new(key: &[u8; 32]) -> TokenKey {
        TokenKey(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    pub(crate) fn key(&self) -> &hmac::Key {
        &self.0
    }

    /// `v1.<visitor>.<issued, seconds>.<mac>`.
    #[must_use]
    pub fn issue(&self, channel: &str, visitor: &Visitor, now: Timestamp) -> String {
        let issued = now.0.div_euclid(1000).max(0).to_string();
        let tag = keyed::mac(&self.0, &[b"visitor-1", channel.as_bytes(), visitor.0.as_bytes(), issued.as_bytes()]);
        format!("v1.{visitor}.{issued}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Who holds this token, and when it was issued.
    ///
    /// # Errors
    /// When it is no token, another key or channel signed it, or it is older than `max_age_ms`.
    pub fn verify(
        &self,
        channel: &str,
        token: &str,
        now: Timestamp,
        max_age_ms: i64,
    ) -> Result<(Visitor, Timestamp), TokenError> {
        if token.len() > 160 {
            return Err(TokenError::Malformed);
        }
        let mut parts = token.split('.');
        let (Some("v1"), Some(visitor), Some(issued), Some(mac), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let visitor = Visitor::parse(visitor).ok_or(TokenError::Malformed)?;
        let tag = URL_SAFE_NO_PAD.decode(mac).map_err(|_| TokenError::Malformed)?;
        let fields: [&[u8]; 4] = [b"visitor-1", channel.as_bytes(), visitor.0.as_bytes(), issued.as_bytes()];
        if !keyed::verify(&self.0, &fields, &tag) {
            return Err(TokenError::Forged);
        }
        let seconds: i64 = issued.parse().map_err(|_| TokenError::Malformed)?;
        let at = Timestamp(seconds.saturating_mul(1000));
        if now.since(at) > max_age_ms {
            return Err(TokenError::Expired);
        }
        Ok((visitor, at))
    }
}

/// Whether the shop's server vouched for `user`: lower- or upper-case hexadecimal HMAC-SHA256(site secret, user id). In
/// constant time, with each of the secrets, so that they can be rotated.
#[must_use]
pub fn identity_matches(secrets: &[Secret], user: &str, proof: &str) -> bool {
    let Some(tag) = from_hex(proof).filter(|tag| tag.len() == 32) else { return false };
    secrets.iter().fold(false, |found, secret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        hmac::verify(&key, user.as_bytes(), &tag).is_ok() | found
    })
}

/// The visitor that a user of the shop is, on every device. The shop's own id does not show in it.
#[must_use]
pub fn identified_visitor(key: &TokenKey, channel: &str, user: &str) -> Visitor {
    let tag = keyed::mac(key.key(), &[b"user-1", channel.as_bytes(), user.as_bytes()]);
    Visitor(format!("u{}", to_hex(tag.as_ref().get(..16).unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn key() -> TokenKey {
        TokenKey::new(&[7; 32])
    }

    #[test]
    fn a_token_names_its_visitor_until_it_is_too_old() {
        let (key, visitor, now) = (key(), Visitor::anonymous([0xab; 16]), Timestamp(1_700_000_000_123));
        let token = key.issue("site", &visitor, now);
        assert!(token.starts_with("v1.vabababababababababababababababab.1700000000."), "{token}");
        let read = key.verify("site", &token, now.plus(DAY), 2 * DAY);
        assert_eq!(read, Ok((visitor, Timestamp(1_700_000_000_000))));
        assert_eq!(key.verify("site", &token, now.plus(3 * DAY), 2 * DAY), Err(TokenError::Expired));
    }

    #[test]
    fn no_changed_byte_other_channel_or_other_key_passes() {
        let (key, now) = (key(), Timestamp(1_700_000_000_000));
        let token = key.issue("site", &Visitor::anonymous([1; 16]), now);
        assert_eq!(key.verify("other", &token, now, DAY), Err(TokenError::Forged));
        assert_eq!(TokenKey::new(&[8; 32]).verify("site", &token, now, DAY), Err(TokenError::Forged));
        for at in 0..token.len() {
            for flip in [1u8, 2, 0x20] {
                let mut bytes = token.clone().into_bytes();
                bytes[at] ^= flip;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                assert!(key.verify("site", &changed, now, DAY).is_err(), "byte {at} of {changed}");
            }
        }
        for bad in ["", "v1", "v1...", "v1.vzz.1.x", &"v1.".repeat(100), "v2.a.b.c"] {
            assert_eq!(key.verify("site", bad, now, DAY), Err(TokenError::Malformed), "{bad}");
        }
    }

    #[test]
    fn an_age_with_a_plus_or_zeros_is_another_token() {
        // The MAC covers the text, so a second spelling of the same number does not verify.
        let (key, now) = (key(), Timestamp(1_700_000_000_000));
        let token = key.issue("site", &Visitor::anonymous([1; 16]), now);
        let spelled = token.replace(".1700000000.", ".+1700000000.");
        assert_eq!(key.verify("site", &spelled, now, DAY), Err(TokenError::Forged));
    }

    #[test]
    fn only_the_shops_server_can_vouch_for_a_user() {
        // RFC 4231, test case 2.
        let secrets = [Secret::new("older"), Secret::new("Jefe")];
        let user = "what do ya want for nothing?";
        let proof = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert!(identity_matches(&secrets, user, proof));
        assert!(identity_matches(&secrets, user, &proof.to_uppercase()));
        assert!(!identity_matches(&secrets[..1], user, proof));
        assert!(!identity_matches(&secrets, "someone else", proof));
        for bad in ["", "5b", "zz", &proof[..62], &format!("{proof}00"), "é"] {
            assert!(!identity_matches(&secrets, user, bad), "{bad}");
        }
        let (a, b) = (identified_visitor(&key(), "site", "42"), identified_visitor(&key(), "site", "43"));
        assert_ne!(a, b);
        assert!(a.is_identified() && Visitor::parse(a.as_str()).is_some());
        assert_ne!(a, identified_visitor(&key(), "other", "42"));
    }
}
