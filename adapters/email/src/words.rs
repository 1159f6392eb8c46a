//! Encoded words of headers (RFC 2047), as they are met: split inside a letter, with raw bytes inside, inside quotes.

use crate::charset;

/// The text of a header's value, unfolded, with its encoded words read.
#[must_use]
pub fn decode(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    let mut plain: Vec<u8> = vec![];
    let mut rest = value;
    let mut last: Option<Word> = None;
    let mut ends = Ends { whole: value, next: 0 };
    while let Some(at) = find(rest, b"=?") {
        let (before, from) = rest.split_at(at);
        let Some((word, after)) = Word::read(from, &mut ends) else {
            let cut = at + 2;
            flush(&mut out, &mut plain, &mut last);
            plain.extend_from_slice(rest.get(..cut).unwrap_or(rest));
            rest = rest.get(cut..).unwrap_or_default();
            continue;
        };
        let only_blanks = before.iter().all(|b| b.is_ascii_whitespace());
        match &mut last {
            // Blanks between neighbours are no part of the text, and a letter may be split over both.
            Some(open) if only_blanks && open.joins(&word) => open.bytes.extend(word.bytes),
            _ => {
                if !(last.is_some() && only_blanks) {
                    flush(&mut out, &mut plain, &mut last);
                    plain.extend_from_slice(before);
                }
                flush(&mut out, &mut plain, &mut last);
                last = Some(word);
            }
        }
        rest = after;
    }
    flush(&mut out, &mut plain, &mut last);
    plain.extend_from_slice(rest);
    flush(&mut out, &mut plain, &mut last);
    out
}

fn flush(out: &mut String, plain: &mut Vec<u8>, last: &mut Option<Word>) {
    if let Some(word) = last.take() {
        out.push_str(&charset::decode(Some(&word.charset), &word.bytes));
    }
    if !plain.is_empty() {
        out.push_str(&charset::unlabelled(&unfold(plain)));
        plain.clear();
    }
}

/// Line ends and the blanks after them become one blank.
#[must_use]
pub fn unfold(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut folded = false;
    for byte in value {
        match byte {
            b'\r' | b'\n' => folded = true,
            b' ' | b'\t' if folded => {}
            _ => {
                if std::mem::take(&mut folded) {
                    out.push(b' ');
                }
                out.push(*byte);
            }
        }
    }
    out
}

/// The longest encoded word, in bytes; RFC 2047 allows 75.
const MAX_WORD: usize = 4096;

/// The ends of words in a value, each looked for once: a value of beginnings without an end would be read once for each of them.
struct Ends<'a> {
    whole: &'a [u8],
    /// No end stands between the last place that was asked about and here; here is one, or the end of the value.
    next: usize,
}

impl Ends<'_> {
    /// How far behind the place from which on `left` bytes are left the next `?=` stands. Places are asked about in their order.
    fn after(&mut self, left: usize) -> Option<usize> {
        let at = self.whole.len().checked_sub(left)?;
        if self.next < at || !self.whole.get(self.next..)?.starts_with(b"?=") {
            let from = self.next.max(at);
            self.next = find(self.whole.get(from..)?, b"?=").map_or(self.whole.len(), |found| from + found);
        }
        (self.next < self.whole.len()).then(|| self.next - at)
    }
}

struct Word {
    charset: String,
    bytes: Vec<u8>,
}

impl Word {
    fn joins(&self, next: &Word) -> bool {
        // A stateful encoding starts anew in every word.
        self.charset == next.charset && !self.charset.starts_with("iso-2022") && self.charset != "utf-7"
    }

    /// A word at the start of `bytes`, and what follows it.
    fn read<'a>(bytes: &'a [u8], ends: &mut Ends<'_>) -> Option<(Word, &'a [u8])> {
        let inside = bytes.strip_prefix(b"=?")?;
        let (charset, inside) = split(inside, b'?', 64)?;
        let (coding, inside) = split(inside, b'?', 1)?;
        // A `?` may stand in the text of sloppy writers, so the end is `?=`, on this line or, for broken folding, the next.
        let end = ends.after(inside.len()).filter(|end| *end + 2 <= MAX_WORD)?;
        let text = inside.get(..end)?;
        let after = inside.get(end + 2..)?;
        let bytes = match coding {
            b"B" | b"b" => crate::transfer::base64(text),
            b"Q" | b"q" => crate::transfer::quoted_word(text),
            _ => return None,
        };
        let charset = charset.split(|b| *b == b'*').next().unwrap_or_default();
        let named = !charset.is_empty() && charset.iter().all(|b| b.is_ascii_graphic());
        named.then(|| (Word { charset: String::from_utf8_lossy(charset).to_ascii_lowercase(), bytes }, after))
    }
}

fn split(bytes: &[u8], at: u8, most: usize) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().take(most + 1).position(|b| *b == at)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let (first, _) = needle.split_first()?;
    let mut from = 0;
    while let Some(at) = haystack.get(from..)?.iter().position(|b| b == first) {
        let at = from + at;
        if haystack.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_read_joined_and_left_alone() {
        for (value, text) in [
            (&b"=?utf-8?Q?Fr=C3=B6sche?= und =?iso-8859-1?q?M=E4use?="[..], "Frösche und Mäuse"),
            (b"=?utf-8?B?ww==?= =?utf-8?B?tg==?=", "ö"),
            (b"=?utf-8?Q?=C3?=\r\n =?utf-8?Q?=B6?= x", "ö x"),
            (b"=?ISO-2022-JP?B?GyRCRnwbKEI=?= =?ISO-2022-JP?B?GyRCS1wbKEI=?=", "日本"),
            (b"=?UTF-8?Q?AutoRespons?= :Nyaan?", "AutoRespons :Nyaan?"),
            (b"a =?b?= c =?utf-8?X?d?=", "a =?b?= c =?utf-8?X?d?="),
            (b"=?utf-8?Q?a_b?= =?utf-8?Q?c?= d", "a bc d"),
            (b"=?utf-8*en?Q?a?=", "a"),
            (b"Fr\xf6sche", "Frösche"),
            (b"one\r\n two\r\n\tthree", "one two three"),
            (b"=?iso-8859-1?Q?Fr\xf6sche?=", "Frösche"),
            (b"=?", "=?"),
            (b"=?a?q?b =?utf-8?Q?c?= d?= =?utf-8?Q?e", "b =?utf-8?Q?c d?= =?utf-8?Q?e"),
        ] {
            assert_eq!(decode(value), text, "{}", String::from_utf8_lossy(value));
        }
    }

    proptest! {
        #[test]
        fn any_value_is_text_without_line_ends_of_its_own(value in proptest::collection::vec(prop_oneof![Just(b'='), Just(b'?'), Just(b'\n'), any::<u8>()], 0..80)) {
            let _ = decode(&value);
            prop_assert!(!unfold(&value).contains(&b'\n'));
        }
    }
}
