//! Bytes to text, whatever the label says. Never fails: a wrong label gives another reading, the last one is windows-1252, in
//! which every byte is a letter.

use encoding_rs::{Encoding, ISO_2022_JP, REPLACEMENT, UTF_8, WINDOWS_1252};

/// Names that mail carries and that the WHATWG list of labels does not have.
const ALIASES: [(&str, &str); 14] = [
    ("cp949", "euc-kr"),
    ("uhc", "euc-kr"),
    ("ms949", "euc-kr"),
    ("cp932", "shift_jis"),
    ("ms932", "shift_jis"),
    ("cp936", "gbk"),
    ("ms936", "gbk"),
    ("cp950", "big5"),
    ("euc-cn", "gbk"),
    ("hz-gb-2312", "gbk"),
    ("koi8-ru", "koi8-u"),
    ("utf8mb4", "utf-8"),
    ("iso-8859-8-e", "iso-8859-8"),
    ("cp850", "windows-1252"),
];

/// Text of `bytes` that are labelled `label`.
#[must_use]
pub fn decode(label: Option<&str>, bytes: &[u8]) -> String {
    let label = label.map(|l| l.trim().trim_matches(['"', '\'']).to_ascii_lowercase()).unwrap_or_default();
    if matches!(label.as_str(), "utf-7" | "unicode-1-1-utf-7" | "x-unicode-2-0-utf-7") && bytes.is_ascii() {
        return utf7(bytes);
    }
    match encoding(&label) {
        Some(encoding) if encoding == UTF_8 => utf8_or_western(bytes),
        // Who writes Latin letters in UTF-8 and says Latin-1 is common; who writes `Ã¶` in Latin-1 is not.
        Some(encoding) if encoding == WINDOWS_1252 => western(bytes),
        Some(encoding) => {
            let (text, _, damaged) = encoding.decode(bytes);
            match std::str::from_utf8(bytes) {
                Ok(utf8) if damaged && !bytes.is_ascii() => utf8.to_owned(),
                _ => text.into_owned(),
            }
        }
        None => unlabelled(bytes),
    }
}

/// Text of bytes without a label that means anything.
#[must_use]
pub fn unlabelled(bytes: &[u8]) -> String {
    // The escapes of ISO-2022-JP are never part of a text.
    if bytes.is_ascii() && [&b"\x1b$B"[..], b"\x1b$@", b"\x1b(J"].iter().any(|e| contains(bytes, e)) {
        return ISO_2022_JP.decode(bytes).0.into_owned();
    }
    western(bytes)
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|w| w == needle)
}

fn encoding(label: &str) -> Option<&'static Encoding> {
    let label = ALIASES.iter().find(|(alias, _)| *alias == label).map_or(label, |(_, known)| known);
    Encoding::for_label(label.as_bytes()).filter(|e| *e != REPLACEMENT)
}

fn western(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(utf8) => utf8.to_owned(),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

/// UTF-8 with a damaged place keeps its letters; bytes that hold no letter of UTF-8 at all were something else.
fn utf8_or_western(bytes: &[u8]) -> String {
    let (text, _, damaged) = UTF_8.decode(bytes);
    if damaged && !text.chars().any(|c| !c.is_ascii() && c != char::REPLACEMENT_CHARACTER) {
        return WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned();
    }
    text.into_owned()
}

/// RFC 2152. What is no valid shift stands for itself, as a whole: `+` is one of the digits, and to look for a shift within a run that
/// is none would be to read the run once for each of its letters.
fn utf7(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'+' {
            out.push(char::from(byte));
            rest = after;
            continue;
        }
        let run = after.iter().take_while(|b| sextet(**b).is_some()).count();
        let (digits, tail) = after.split_at(run);
        let (closed, tail) = tail.strip_prefix(b"-").map_or((false, tail), |tail| (true, tail));
        rest = tail;
        match shifted(digits) {
            _ if run == 0 => out.push('+'),
            Some(text) => out.push_str(&text),
            None => {
                out.push('+');
                out.extend(digits.iter().copied().map(char::from));
                out.extend(closed.then_some('-'));
            }
        }
    }
    out
}

fn shifted(digits: &[u8]) -> Option<String> {
    let (mut bits, mut held) = (0u32, 0u32);
    let mut units = vec![];
    for digit in digits {
        bits = (bits << 6) | sextet(*digit)?;
        held += 6;
        if held >= 16 {
            held -= 16;
            units.push(u16::try_from((bits >> held) & 0xffff).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    (held < 6 && bits == 0).then(|| String::from_utf16(&units).ok())?
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_are_read_as_the_web_reads_them_and_wrong_ones_do_no_harm() {
        for (label, bytes, text) in [
            (Some("ISO-8859-1"), &b"Fr\xf6sche \x80"[..], "Frösche €"),
            (Some("iso-8859-1"), "Frösche".as_bytes(), "Frösche"),
            (Some("us-ascii"), "Frösche".as_bytes(), "Frösche"),
            (Some("utf-8"), b"Fr\xf6sche", "Frösche"),
            (Some("utf-8"), b"Fr\xc3\xb6sche\xff", "Frösche\u{fffd}"),
            (Some("NONE"), b"Fr\xf6sche", "Frösche"),
            (None, "Frösche".as_bytes(), "Frösche"),
            (Some("ks_c_5601-1987"), b"\xc7\xd1\xb1\xdb", "한글"),
            (Some("cp949"), b"\xc7\xd1\xb1\xdb", "한글"),
            (Some("gb2312"), b"\xd6\xd0\xce\xc4\x81\x40", "中文丂"),
            (Some("shift_jis"), b"\x93\xfa\x96\x7b", "日本"),
            (None, b"\x1b$BF|K\\\x1b(B", "日本"),
            (Some("iso-2022-kr"), b"abc", "abc"),
            (Some("\"koi8-r\""), b"\xd0\xd2\xc9", "при"),
            (Some("utf-7"), b"Fr+APY-sche + +- +AOQ +ZeVnLIqe-", "Frösche + + ä 日本語"),
            (Some("utf-7"), b"a +AP b", "a +AP b"),
            (Some("utf-7"), b"+AP- +APY- +++2AA-", "+AP- ö +++2AA-"),
        ] {
            assert_eq!(decode(label, bytes), text, "{label:?} {bytes:?}");
        }
    }

    #[test]
    fn a_run_that_is_no_shift_is_read_once() {
        // Each place of the run is a `+`, and a lone surrogate stands at every alignment.
        let mut bytes = vec![b'+'; 512 * 1024];
        bytes.extend_from_slice(b"3d3d3d3dA3d3d3d3d");
        let text = crate::fixtures::in_time("a run", 20, || decode(Some("utf-7"), &bytes));
        assert_eq!(text.len(), bytes.len());
    }

    proptest! {
        #[test]
        fn any_bytes_under_any_label_are_text(label in "[a-z0-9-]{0,12}|utf-7|utf-16|big5|iso-2022-jp", bytes: Vec<u8>) {
            let text = decode(Some(&label), &bytes);
            prop_assert!(bytes.is_empty() || !text.is_empty() || bytes.len() < 5 || !bytes.is_ascii() || label.starts_with("utf-16") || label.starts_with("iso-2022") || label == "utf-7");
        }

        #[test]
        fn what_is_utf8_stays_itself(text in "[^\u{feff}\u{0}-\u{1f}]{0,40}") {
            prop_assert_eq!(decode(Some("utf-8"), text.as_bytes()), text.clone());
            prop_assert_eq!(decode(Some("latin1"), text.as_bytes()), text);
        }
    }
}
