//! Sealing of what a channel has to keep and nobody is to read.

use crate::signature::Mac;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Seals texts (AES-256-GCM) under a key that is made of a secret, so that they are worth nothing without it.
pub struct Seal {
    key: RandomizedNonceKey,
    purpose: &'static [u8],
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(•••)")
    }
}

impl Seal {
    /// `purpose` tells apart what one secret seals. `None` when no key can be made, which no secret brings about.
    #[must_use]
    pub fn new(secret: &[u8], purpose: &'static str) -> Option<Seal> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &Mac::sha256(secret).sign(purpose.as_bytes())).ok()?;
        Some(Seal { key, purpose: purpose.as_bytes() })
    }

    /// The sealed text; `None` when the machine has no randomness.
    #[must_use]
    pub fn seal(&self, plain: &[u8]) -> Option<String> {
        let mut sealed = plain.to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(self.purpose), &mut sealed).ok()?;
        Some(URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &sealed].concat()))
    }

    /// What was sealed with the same secret for the same purpose; `None` for anything else.
    #[must_use]
    pub fn open(&self, sealed: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        Some(self.key.open_in_place(nonce, Aad::from(self.purpose), &mut sealed).ok()?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_and_purpose_open_it() {
        let seal = Seal::new(b"a secret", "tokens").unwrap();
        let sealed = seal.seal("a token".as_bytes()).unwrap();
        assert!(!sealed.contains("token") && format!("{seal:?}") == "Seal(•••)");
        assert_eq!(seal.open(&sealed).as_deref(), Some(b"a token".as_slice()));
        assert_ne!(seal.seal(b"a token"), Some(sealed.clone()), "each time another");
        for other in [Seal::new(b"another", "tokens"), Seal::new(b"a secret", "else")] {
            assert_eq!(other.unwrap().open(&sealed), None);
        }
        for broken in ["", "AA", "!", &sealed[1..], &format!("{sealed}A")] {
            assert_eq!(seal.open(broken), None, "{broken}");
        }
    }
}
