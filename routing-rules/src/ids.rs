//! Identifiers. They derive from what caused them, by a keyed hash, so that the same input always gets the same ids and
//! none of them tells an address.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::fmt;
use std::hash::Hasher;

/// The key of every hash in one workspace; secret, made once, kept with the keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

impl Salt {
    /// A keyed 128-bit hash over fields; a field's length is hashed with it, so that no two lists of fields collide.
    #[must_use]
    pub fn hash(&self, domain: &str, fields: &[&[u8]]) -> u128 {
        let mut h = SipHasher24::new_with_key(&self.0);
        for f in std::iter::once(&domain.as_bytes()).chain(fields) {
            h.write_u64(f.len() as u64);
            h.write(f);
        }
        h.finish128().as_u128()
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(•••)")
    }
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Bits of the hash that an id keeps: 16 letters of five bits.
const BITS: u32 = 80;
/// Bytes of an id in its shortest form.
pub const ID_BYTES: usize = BITS as usize / 8;

fn write_id(prefix: char, id: u128) -> String {
    let mut s = String::with_capacity(17);
    s.push(prefix);
    for i in (0..16).rev() {
        let five = (id >> (i * 5)) & 31;
        let letter = usize::try_from(five).ok().and_then(|five| ALPHABET.get(five));
        s.push(char::from(*letter.unwrap_or(&b'0')));
    }
    s
}

fn read_id(prefix: char, s: &str) -> Option<u128> {
    let rest = s.strip_prefix(prefix)?;
    if rest.len() != 16 {
        return None;
    }
    rest.bytes().try_fold(0u128, |acc, b| {
        let digit = ALPHABET.iter().position(|a| *a == b)?;
        Some((acc << 5) | digit as u128)
    })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $domain:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// Derived from its cause.
            #[must_use]
            pub fn derive(salt: &Salt, fields: &[&[u8]]) -> $name {
                $name(salt.hash($domain, fields) >> (128 - BITS))
            }

            /// Reads the text form; `None` when it is none.
            #[must_use]
            pub fn parse(s: &str) -> Option<$name> {
                read_id($prefix, s).map($name)
            }

            /// All of its bits, in the order of the ids.
            #[must_use]
            pub fn to_bytes(self) -> [u8; ID_BYTES] {
                let [.., a, b, c, d, e, f, g, h, i, j] = self.0.to_be_bytes();
                [a, b, c, d, e, f, g, h, i, j]
            }

            /// What `to_bytes` gave.
            #[must_use]
            pub fn from_bytes(bytes: [u8; ID_BYTES]) -> $name {
                $name(bytes.into_iter().fold(0, |id, byte| (id << 8) | u128::from(byte)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&write_id($prefix, self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let s = std::borrow::Cow::<'de, str>::deserialize(d)?;
                $name::parse(&s).ok_or_else(|| serde::de::Error::custom(concat!("not an id of the form ", $prefix, "…")))
            }
        }
    };
}

id!(
    /// A conversation, such as `c3k9…`.
    ConvId, 'c', "conversation"
);
id!(
    /// A contact: a keyed hash of the first identity that it was seen under.
    ContactId, 'p', "contact"
);
id!(
    /// A message of a transcript, in or out. The id of an outbound message is its send token.
    MessageId, 'm', "message"
);
id!(
    /// An offer of a conversation to an agent.
    OfferId, 'o', "offer"
);

impl ConvId {
    pub(crate) const MIN: ConvId = ConvId(0);
    pub(crate) const MAX: ConvId = ConvId(u128::MAX);
}

impl MessageId {
    pub(crate) const MIN: MessageId = MessageId(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_depend_on_salt_and_field_borders() {
        let salt = Salt([7; 16]);
        let a = ConvId::derive(&salt, &[b"ab", b"c"]);
        assert_eq!(ConvId::parse(&a.to_string()), Some(a));
        assert_ne!(a, ConvId::derive(&salt, &[b"a", b"bc"]));
        assert_ne!(a, ConvId::derive(&Salt([8; 16]), &[b"ab", b"c"]));
        assert_eq!(ConvId::parse("c"), None);
        assert_eq!(ConvId::parse("p0000000000000000"), None);
        assert_eq!(a.to_string().len(), 17);
        assert_eq!(ConvId::from_bytes(a.to_bytes()), a);
        assert!(
            (a.to_bytes() < ConvId::from_bytes([0xff; ID_BYTES]).to_bytes())
                && a < ConvId::from_bytes([0xff; ID_BYTES])
        );
    }
}
