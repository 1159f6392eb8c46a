//! Keyed signatures over raw bytes, compared in constant time.

use aws_lc_rs::{constant_time, digest, hmac};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

/// What vouches for a part of a delivery begins with this, so that it is never the signature of a delivery.
const VOUCHED: &[u8] = b"switchboard: a part of a delivery\n";

/// A key that signs and verifies. It is made once per configured secret.
#[derive(Clone)]
pub struct Mac(hmac::Key);

impl std::fmt::Debug for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mac(•••)")
    }
}

impl Mac {
    /// HMAC-SHA1 (RFC 2104), which older providers still use.
    #[must_use]
    pub fn sha1(secret: &[u8]) -> Mac {
        Mac(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret))
    }

    /// HMAC-SHA256.
    #[must_use]
    pub fn sha256(secret: &[u8]) -> Mac {
        Mac(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// HMAC-SHA512.
    #[must_use]
    pub fn sha512(secret: &[u8]) -> Mac {
        Mac(hmac::Key::new(hmac::HMAC_SHA512, secret))
    }

    /// The tag over `data`, as bytes.
    #[must_use]
    pub fn sign(&self, data: &[u8]) -> Vec<u8> {
        hmac::sign(&self.0, data).as_ref().to_vec()
    }

    /// The tag over the parts, one after the other, without a copy of them.
    #[must_use]
    pub fn sign_parts(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| context.update(part));
        context.sign().as_ref().to_vec()
    }

    /// Whether `tag` is the tag over `data`; in constant time, and never for a shortened tag.
    #[must_use]
    pub fn verify(&self, data: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, data, tag).is_ok()
    }

    /// A word by which whoever has the key can tell later that it found the delivery genuine of which this is a part.
    #[must_use]
    pub fn vouch(&self, part: &[u8]) -> String {
        to_hex(&self.sign_parts(&[VOUCHED, part]))
    }

    /// Whether a word is this key's for the part.
    #[must_use]
    pub fn vouched(&self, part: &[u8], word: &str) -> bool {
        from_hex(word).is_some_and(|word| equal(&word, &self.sign_parts(&[VOUCHED, part])))
    }
}

/// SHA-256 of `data`.
#[must_use]
pub fn sha256(data: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, data).as_ref().to_vec()
}

/// SHA-256 of `data` in lower-case hex.
#[must_use]
pub fn sha256_hex(data: &[u8]) -> String {
    to_hex(&sha256(data))
}

/// Whether two byte strings are equal, in a time that tells nothing but their lengths.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// Lower-case hex.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).filter_map(|nibble| char::from_digit(u32::from(nibble), 16)).collect()
}

/// Bytes from hex of either case; `None` for anything else.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    digits
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(nibble(high)? << 4 | nibble(low)?),
            _ => None,
        })
        .collect()
}

/// Standard base64 with padding.
#[must_use]
pub fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Bytes from canonical base64; another spelling of the same bytes is refused, so that a signature has one form only.
#[must_use]
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Bytes from canonical base64 in the alphabet for addresses, without padding (RFC 4648 §5), as JSON Web Tokens are written.
#[must_use]
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_matches_the_published_vectors() {
        // RFC 2202 case 2 and RFC 4231 case 2.
        let data = b"what do ya want for nothing?";
        assert_eq!(to_hex(&Mac::sha1(b"Jefe").sign(data)), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(
            to_hex(&Mac::sha256(b"Jefe").sign(data)),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let long = to_hex(&Mac::sha512(b"Jefe").sign(data));
        assert!(long.starts_with("164b7a7bfcf819e2e395fbe73b56e0a3") && long.len() == 128, "{long}");
    }

    #[test]
    fn a_wrong_or_shortened_tag_is_refused() {
        let mac = Mac::sha1(b"12345");
        let tag = mac.sign(b"body");
        assert!(mac.verify(b"body", &tag));
        assert!(!mac.verify(b"bodY", &tag));
        assert!(!mac.verify(b"body", &tag[..19]));
        assert!(!mac.verify(b"body", b""));
        assert!(!Mac::sha1(b"12346").verify(b"body", &tag));
    }

    #[test]
    fn a_key_vouches_for_a_part_and_for_nothing_else() {
        let mac = Mac::sha256(b"12345");
        let word = mac.vouch(b"part");
        assert!(mac.vouched(b"part", &word));
        assert!(!mac.vouched(b"parT", &word) && !Mac::sha256(b"12346").vouched(b"part", &word));
        assert!(!mac.vouched(b"part", "") && !mac.vouched(b"part", &word[2..]) && !mac.vouched(b"part", "no hex"));
        let signature = from_hex(&word).unwrap();
        assert!(!mac.verify(b"part", &signature), "nobody can send it as a delivery of its own");
    }

    #[test]
    fn parts_are_signed_as_what_they_make_together() {
        let mac = Mac::sha256(b"12345");
        assert_eq!(mac.sign_parts(&[b"a", b"", b".b"]), mac.sign(b"a.b"));
    }

    #[test]
    fn hex_and_base64_have_one_reading() {
        assert_eq!(from_hex("00fFa0"), Some(vec![0, 255, 160]));
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("0g"), None);
        assert_eq!(to_hex(&[0, 255, 160]), "00ffa0");
        assert_eq!(from_base64("AA=="), Some(vec![0]));
        assert_eq!(from_base64("AB=="), None, "spare bits must be zero");
        assert_eq!(from_base64("AA"), None);
        assert_eq!(from_base64url("-_8"), Some(vec![0xfb, 0xff]));
        assert!(from_base64url("-_8=").is_none() && from_base64url("+/8").is_none());
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", Mac::sha1(b"secret")), "Mac(•••)");
    }

    #[test]
    fn equality_needs_equal_lengths() {
        assert!(equal(b"ab", b"ab"));
        assert!(!equal(b"ab", b"abc"));
        assert!(!equal(b"ab", b"ac"));
    }
}
