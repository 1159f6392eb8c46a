//! Texts in the character sets of the air: GSM 03.38, UCS-2, and what gateways make of them.

use crate::segments::{BASIC, EXTENSION};

/// The places of the extension's characters behind an escape (3GPP TS 23.038 §6.2.1.1), in the order of [`EXTENSION`].
const EXTENSION_CODES: [u8; 10] = [0x0a, 0x14, 0x28, 0x29, 0x2f, 0x3c, 0x3d, 0x3e, 0x40, 0x65];
const ESCAPE: u8 = 0x1b;

/// Septets, one in each byte, as text. What the alphabet does not have becomes U+FFFD; an escape before what has no meaning
/// behind one is dropped, as the standard asks.
pub(crate) fn from_gsm7(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut escaped = false;
    for byte in bytes {
        if *byte == ESCAPE && !escaped {
            escaped = true;
            continue;
        }
        let extended = EXTENSION_CODES.iter().position(|code| code == byte).and_then(|at| EXTENSION.chars().nth(at));
        text.push(extended.filter(|_| escaped).or_else(|| basic(*byte)).unwrap_or(char::REPLACEMENT_CHARACTER));
        escaped = false;
    }
    text
}

fn basic(byte: u8) -> Option<char> {
    // The table leaves the escape out.
    match byte {
        ESCAPE | 0x80.. => None,
        0..ESCAPE => BASIC.chars().nth(usize::from(byte)),
        _ => BASIC.chars().nth(usize::from(byte) - 1),
    }
}

/// UTF-16 in network order. A half that has no other half becomes U+FFFD, and so does an odd byte at the end.
pub(crate) fn from_ucs2(bytes: &[u8]) -> String {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
    let mut text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    if !rest.is_empty() {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    text
}

/// The bytes of a text in UTF-16, network order.
pub(crate) fn to_ucs2(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// ISO 8859-1, which has a character for each byte.
pub(crate) fn from_latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// Text in UTF-8; what is none is read as ISO 8859-1, in which senders write who say nothing.
pub(crate) fn from_utf8(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| from_latin1(bytes), str::to_owned)
}

/// Text in the charset of this name; an unknown name is read as UTF-8.
pub(crate) fn named(charset: &str, bytes: &[u8]) -> String {
    match charset.to_ascii_uppercase().as_str() {
        "UTF-16BE" | "UTF-16" | "UCS-2" | "UCS-2BE" | "ISO-10646-UCS-2" => from_ucs2(bytes),
        "ISO-8859-1" | "LATIN1" | "WINDOWS-1252" => from_latin1(bytes),
        "GSM" | "GSM-7" | "GSM7" | "GSM-0338" => from_gsm7(bytes),
        _ => from_utf8(bytes),
    }
}

/// Bytes as an agent can at least see them.
pub(crate) fn shown_binary(bytes: &[u8]) -> String {
    let hex = switchboard_adapter_sdk::signature::to_hex(bytes.get(..140).unwrap_or(bytes));
    format!("[binary message of {} bytes: {hex}]", bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Septets of a text, for reading them back.
    fn to_gsm7(text: &str) -> Vec<u8> {
        text.chars()
            .flat_map(|c| {
                if let Some(at) = BASIC.chars().position(|known| known == c) {
                    let code = u8::try_from(at).unwrap();
                    return vec![if code >= ESCAPE { code + 1 } else { code }];
                }
                let at = EXTENSION.chars().position(|known| known == c).unwrap();
                vec![ESCAPE, EXTENSION_CODES[at]]
            })
            .collect()
    }

    #[test]
    fn every_character_of_the_alphabet_is_read_back() {
        let all = format!("{BASIC}{EXTENSION}");
        assert_eq!(from_gsm7(&to_gsm7(&all)), all);
        assert_eq!(from_gsm7(b"\x05v\x05nement"), "événement");
        assert_eq!(from_gsm7(&[0x1b, 0x65, 0x00, 0x1b, 0x41, 0x80]), "€@A\u{fffd}");
        assert_eq!(from_gsm7(&[0x1b]), "");
        assert_eq!((BASIC.chars().count(), EXTENSION.chars().count()), (127, EXTENSION_CODES.len()));
    }

    #[test]
    fn ucs2_keeps_pairs_together_and_shows_what_is_missing() {
        assert_eq!(from_ucs2(&[0x04, 0x1f, 0x04, 0x40]), "Пр");
        assert_eq!(from_ucs2(&to_ucs2("a😀ж")), "a😀ж");
        assert_eq!(from_ucs2(&[0xd8, 0x3d, 0x00, b'x', 0x01]), "\u{fffd}x\u{fffd}");
    }

    #[test]
    fn a_charset_is_read_by_its_name() {
        assert_eq!(named("utf-16be", &[0x04, 0x1f]), "П");
        assert_eq!(named("ISO-8859-1", b"\xe9"), "é");
        assert_eq!(named("", "Grüße".as_bytes()), "Grüße");
        assert_eq!(named("UTF-8", b"\xe9"), "é", "not UTF-8 at all");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), charset in "\\PC{0,10}") {
            let _ = (from_gsm7(&bytes), from_ucs2(&bytes), named(&charset, &bytes), shown_binary(&bytes));
        }

        #[test]
        fn utf16_is_read_back(text in "\\PC{0,50}") {
            prop_assert_eq!(from_ucs2(&to_ucs2(&text)), text);
        }
    }
}
