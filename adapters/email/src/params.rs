//! A structured MIME value with its parameters (RFC 2045 §5.1, RFC 2231), as it is met.

use crate::{charset, transfer, words};
use std::collections::BTreeMap;

/// `type/subtype; name=value`: the value in lower case, the parameters by their lower-case names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    pub value: String,
    params: BTreeMap<String, String>,
}

/// The most parameters of one value, and pieces of one parameter.
const MAX: usize = 100;
/// The most bytes of a value that are looked at.
const MAX_VALUE: usize = 64 * 1024;

impl Params {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }

    #[must_use]
    pub fn read(value: &[u8]) -> Params {
        let value = words::unfold(value.get(..MAX_VALUE).unwrap_or(value));
        let mut pieces = pieces(&value).into_iter();
        let first = pieces.next().unwrap_or_default();
        let first: String =
            charset::unlabelled(first.split(|b| *b == b'(').next().unwrap_or_default()).split_whitespace().collect();
        let mut raw: Vec<(String, Vec<u8>)> = vec![];
        for piece in pieces.take(MAX) {
            let Some(equals) = piece.iter().position(|b| *b == b'=') else { continue };
            let name = String::from_utf8_lossy(piece.get(..equals).unwrap_or_default()).trim().to_ascii_lowercase();
            let text = unquoted(piece.get(equals + 1..).unwrap_or_default().trim_ascii());
            raw.push((name, text));
        }
        let mut params = BTreeMap::new();
        for (name, text) in &raw {
            if !name.contains('*') {
                params.entry(name.clone()).or_insert_with(|| plain(text));
            }
        }
        // The extended form is the better one when both are there.
        for (name, text) in extended(&raw) {
            params.insert(name, text);
        }
        Params { value: first.to_lowercase(), params }
    }
}

/// What stands between the semicolons that are not inside quotes or comments.
fn pieces(value: &[u8]) -> Vec<Vec<u8>> {
    let (mut found, mut piece) = (vec![], vec![]);
    let (mut quotes, mut escaped) = (false, false);
    for byte in value {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quotes => escaped = true,
            b'"' => quotes = !quotes,
            b';' if !quotes => {
                found.push(std::mem::take(&mut piece));
                continue;
            }
            _ => {}
        }
        piece.push(*byte);
    }
    found.push(piece);
    found
}

fn unquoted(text: &[u8]) -> Vec<u8> {
    let Some(inside) = text.strip_prefix(b"\"") else {
        return text.to_vec();
    };
    let mut out = vec![];
    let mut rest = inside;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            // Windows paths are written with single backslashes: only what needs one is escaped.
            (b'\\', [next @ (b'"' | b'\\'), tail @ ..]) => {
                out.push(*next);
                rest = tail;
            }
            (b'"', _) => break,
            _ => out.push(byte),
        }
    }
    out
}

/// Encoded words are not allowed here, and common.
fn plain(text: &[u8]) -> String {
    words::decode(text).trim().to_owned()
}

/// `name*=charset'language'%41`, and `name*0=`, `name*1*=` in pieces.
fn extended(raw: &[(String, Vec<u8>)]) -> BTreeMap<String, String> {
    let mut whole: BTreeMap<String, BTreeMap<usize, (Vec<u8>, bool)>> = BTreeMap::new();
    for (name, text) in raw {
        let Some((base, rest)) = name.split_once('*') else { continue };
        let (number, coded) = match rest.strip_suffix('*') {
            Some(number) => (number, true),
            None => (rest, rest.is_empty()),
        };
        let Ok(number) = (if number.is_empty() { Ok(0) } else { number.parse::<usize>() }) else { continue };
        if number < MAX {
            whole.entry(base.to_owned()).or_default().entry(number).or_insert((text.clone(), coded));
        }
    }
    let mut found = BTreeMap::new();
    for (name, parts) in whole {
        let (mut label, mut bytes) = (None, vec![]);
        for (i, (number, (text, coded))) in parts.iter().enumerate() {
            if *number != i {
                break;
            }
            let text = text.as_slice();
            let text = match (i, coded) {
                (0, true) => match split_label(text) {
                    Some((charset, text)) => {
                        label = Some(charset);
                        text
                    }
                    None => text,
                },
                _ => text,
            };
            if *coded { bytes.extend(percent(text)) } else { bytes.extend_from_slice(text) }
        }
        let text = match label {
            Some(label) if !label.is_empty() => charset::decode(Some(&label), &bytes),
            _ => words::decode(&bytes),
        };
        found.insert(name, text.trim().to_owned());
    }
    found
}

fn split_label(text: &[u8]) -> Option<(String, &[u8])> {
    let mut parts = text.splitn(3, |b| *b == b'\'');
    let label = String::from_utf8_lossy(parts.next()?).into_owned();
    let _language = parts.next()?;
    Some((label, parts.next()?))
}

fn percent(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    transfer::escapes(text, b'%', false, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_are_read_in_every_dress() {
        for (value, kind, name, text) in [
            (&b"text/plain; charset=utf-8"[..], "text/plain", "charset", Some("utf-8")),
            (b"TEXT/Plain ; charset = \"utf-8\" ; x", "text/plain", "charset", Some("utf-8")),
            (b"attachment; filename=This is a test.txt", "attachment", "filename", Some("This is a test.txt")),
            (b"attachment; filename=\"a;b.txt\"", "attachment", "filename", Some("a;b.txt")),
            (b"attachment; filename=\"C:\\dir\\a.txt\"", "attachment", "filename", Some("C:\\dir\\a.txt")),
            (b"attachment; filename=\"=?utf-8?Q?=C3=B6.txt?=\"", "attachment", "filename", Some("ö.txt")),
            (b"attachment; filename*=iso-8859-1'de'%f6%20b.txt", "attachment", "filename", Some("ö b.txt")),
            (
                b"attachment; filename*0*=utf-8''%c3; filename*1*=%b6; filename*2=\"%.txt\"",
                "attachment",
                "filename",
                Some("ö%.txt"),
            ),
            (b"attachment; filename=old.txt; filename*=utf-8''new.txt", "attachment", "filename", Some("new.txt")),
            (b"attachment; filename*0=a; filename*2=c", "attachment", "filename", Some("a")),
            (b"attachment; filename*=utf-8''100%25%3D=.txt", "attachment", "filename", Some("100%==.txt")),
            (b"attachment; filename=\"\xf6.txt\"", "attachment", "filename", Some("ö.txt")),
            (b"multipart/mixed; boundary = nextPart", "multipart/mixed", "boundary", Some("nextPart")),
            (b"text/plain (note)", "text/plain", "charset", None),
            (b"", "", "charset", None),
        ] {
            let read = Params::read(value);
            assert_eq!((read.value.as_str(), read.get(name)), (kind, text), "{}", String::from_utf8_lossy(value));
        }
    }

    proptest! {
        #[test]
        fn any_value_is_read(value in proptest::collection::vec(prop_oneof![Just(b';'), Just(b'*'), Just(b'='), Just(b'\''), Just(b'"'), Just(b'%'), Just(b'0'), any::<u8>()], 0..100)) {
            let _ = Params::read(&value);
        }
    }
}
