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

/// The letters of an id.
const LETTERS: usize = 16;

/// Events are full of ids, so they are written and read without a detour over the heap.
struct Text([u8; 1 + LETTERS]);

impl Text {
    fn of(prefix: char, id: u128) -> Text {
        let mut text = [b'0'; 1 + LETTERS];
        let mut rest = id;
        for letter in text.iter_mut().rev() {
            let five = usize::try_from(rest & 31).unwrap_or(0);
            *letter = *ALPHABET.get(five).unwrap_or(&b'0');
            rest >>= 5;
        }
        if let (Some(first), Ok(prefix)) = (text.first_mut(), u8::try_from(prefix)) {
            *first = prefix;
        }
        Text(text)
    }

    fn as_str(&self) -> &str {
        // Every byte is one of our letters.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// What each byte stands for; 255 for no letter.
#[expect(clippy::indexing_slicing, reason = "it is computed while compiling, where an index out of bounds is an error")]
const DIGITS: [u8; 256] = {
    let mut digits = [u8::MAX; 256];
    let mut n = 0;
    while n < ALPHABET.len() {
        digits[ALPHABET[n] as usize] = n as u8;
        n += 1;
    }
    digits
};

fn read_id(prefix: char, s: &str) -> Option<u128> {
    let rest = s.strip_prefix(prefix)?;
    if rest.len() != LETTERS {
        return None;
    }
    rest.bytes().try_fold(0u128, |acc, b| {
        let digit = DIGITS.get(usize::from(b)).copied().filter(|digit| *digit != u8::MAX)?;
        Some((acc << 5) | u128::from(digit))
    })
}

/// A state holds millions of ids, so they take the ten bytes that they have.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $domain:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(Rust, packed(2))]
        pub struct $name(u64, u16);

        impl $name {
            /// Derived from its cause.
            #[must_use]
            pub fn derive(salt: &Salt, fields: &[&[u8]]) -> $name {
                $name::of(salt.hash($domain, fields) >> (128 - BITS))
            }

            /// Reads the text form; `None` when it is none.
            #[must_use]
            pub fn parse(s: &str) -> Option<$name> {
                read_id($prefix, s).map($name::of)
            }

            /// Of the lowest 80 bits.
            fn of(bits: u128) -> $name {
                $name((bits >> 16) as u64, bits as u16)
            }

            fn bits(self) -> u128 {
                (u128::from(self.0) << 16) | u128::from(self.1)
            }

            /// All of its bits, in the order of the ids.
            #[must_use]
            pub fn to_bytes(self) -> [u8; ID_BYTES] {
                let [.., a, b, c, d, e, f, g, h, i, j] = self.bits().to_be_bytes();
                [a, b, c, d, e, f, g, h, i, j]
            }

            /// What `to_bytes` gave.
            #[must_use]
            pub fn from_bytes(bytes: [u8; ID_BYTES]) -> $name {
                $name::of(bytes.into_iter().fold(0, |id, byte| (id << 8) | u128::from(byte)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Text::of($prefix, self.bits()).as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(Text::of($prefix, self.bits()).as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Read;
                impl serde::de::Visitor<'_> for Read {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("an id of the form ", $prefix, "…"))
                    }
                    fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<$name, E> {
                        $name::parse(s)
                            .ok_or_else(|| E::custom(concat!("not an id of the form ", $prefix, "…")))
                    }
                }
                d.deserialize_str(Read)
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
    pub(crate) const MIN: ConvId = ConvId(0, 0);
    pub(crate) const MAX: ConvId = ConvId(u64::MAX, u16::MAX);
}

impl ContactId {
    pub(crate) const MIN: ContactId = ContactId(0, 0);
    pub(crate) const MAX: ContactId = ContactId(u64::MAX, u16::MAX);
}

impl MessageId {
    pub(crate) const MIN: MessageId = MessageId(0, 0);
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
