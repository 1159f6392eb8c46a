//! Content-Transfer-Encoding (RFC 2045), as it is met. Total: damaged places are skipped or stand for themselves.

/// How a part's bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    Plain,
    Base64,
    QuotedPrintable,
    Uuencode,
}

impl Transfer {
    /// What a header's value names; an unknown name means that the bytes are as they are.
    #[must_use]
    pub fn named(value: &str) -> Transfer {
        let name: String = value.chars().filter(|c| c.is_ascii_alphanumeric()).collect::<String>().to_ascii_lowercase();
        match name.as_str() {
            "base64" => Transfer::Base64,
            "quotedprintable" => Transfer::QuotedPrintable,
            "xuuencode" | "uuencode" | "xuue" | "uue" => Transfer::Uuencode,
            _ => Transfer::Plain,
        }
    }

    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Transfer::Plain => bytes.to_vec(),
            Transfer::Base64 => base64(bytes),
            Transfer::QuotedPrintable => quoted_printable(bytes),
            Transfer::Uuencode => uuencode(bytes).unwrap_or_else(|| bytes.to_vec()),
        }
    }
}

/// Base64 with whatever stands between its letters left out. Padding ends a run, and another may follow.
#[must_use]
pub fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3 + 3);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in bytes {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                (bits, held) = (0, 0);
                continue;
            }
            _ => continue,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(low_byte(bits >> held));
            bits &= (1 << held) - 1;
        }
    }
    out
}

fn low_byte(bits: u32) -> u8 {
    u8::try_from(bits & 0xff).unwrap_or(0)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// Quoted-printable; a bad escape stands for itself.
#[must_use]
pub fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let end = line.iter().rposition(|b| !matches!(b, b'\r' | b'\n')).map_or(0, |i| i + 1);
        let (line, line_end) = line.split_at(end);
        let trimmed = line.iter().rposition(|b| !matches!(b, b' ' | b'\t')).map_or(0, |i| i + 1);
        let line = line.get(..trimmed).unwrap_or(line);
        match line.strip_suffix(b"=") {
            Some(soft) => escapes(soft, b'=', false, &mut out),
            None => {
                escapes(line, b'=', false, &mut out);
                out.extend_from_slice(line_end);
            }
        }
    }
    out
}

/// The `Q` coding of encoded words, in which `_` is a blank.
#[must_use]
pub fn quoted_word(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    escapes(bytes, b'=', true, &mut out);
    out
}

/// Bytes with each `<sign>XX` read; `_` is a blank if `underscore`.
pub(crate) fn escapes(bytes: &[u8], sign: u8, underscore: bool, out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b, [high, low, tail @ ..]) if b == sign => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = tail;
                }
                _ => out.push(sign),
            },
            (b'_', _) if underscore => out.push(b' '),
            _ => out.push(byte),
        }
    }
}

/// The file between `begin` and `end`; `None` when there is none.
#[must_use]
pub fn uuencode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut lines = bytes.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    lines.find(|l| l.starts_with(b"begin "))?;
    let mut out = vec![];
    for line in lines {
        let Some((&length, digits)) = line.split_first() else { continue };
        if line == b"end" || line == b"`" {
            break;
        }
        let length = usize::from(length.wrapping_sub(32) & 63);
        let mut decoded = Vec::with_capacity(length + 3);
        for four in digits.chunks(4) {
            let bits = (0..4).fold(0u32, |bits, i| {
                let digit = four.get(i).map_or(0, |b| b.wrapping_sub(32) & 63);
                (bits << 6) | u32::from(digit)
            });
            decoded.extend([low_byte(bits >> 16), low_byte(bits >> 8), low_byte(bits)]);
        }
        decoded.truncate(length);
        out.extend(decoded);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_met_in_any_dress() {
        for (name, transfer) in [
            ("BASE64", Transfer::Base64),
            (" base64 ;", Transfer::Base64),
            ("Quoted-Printable", Transfer::QuotedPrintable),
            ("quoted printable", Transfer::QuotedPrintable),
            ("7-bit", Transfer::Plain),
            ("x-uuencode", Transfer::Uuencode),
            ("", Transfer::Plain),
        ] {
            assert_eq!(Transfer::named(name), transfer, "{name}");
        }
    }

    #[test]
    fn damage_costs_only_its_place() {
        assert_eq!(base64(b"SGVs\r\nbG8h!?*\n"), b"Hello!");
        assert_eq!(base64(b"SGVsbG8=SGVsbG8="), b"HelloHello");
        assert_eq!(quoted_printable(b"a=3Db=\r\nc =XX=\n=4\nd=  \ne"), b"a=bc =XX=4\nde");
        assert_eq!(quoted_printable(b"x   \r\ny"), b"x\r\ny");
        assert_eq!(uuencode(b"noise\nbegin 644 a.txt\n#0V%T\n`\nend\n"), Some(b"Cat".to_vec()));
        assert_eq!(uuencode(b"nothing"), None);
    }

    proptest! {
        #[test]
        fn decoding_is_total(bytes: Vec<u8>) {
            for transfer in [Transfer::Plain, Transfer::Base64, Transfer::QuotedPrintable, Transfer::Uuencode] {
                prop_assert!(transfer.decode(&bytes).len() <= bytes.len() + 3);
            }
        }
    }
}
