//! Ignoring case: letter by letter, so that both sides of a comparison fold alike wherever a letter stands in its word.

use std::borrow::Cow;

fn fold_char(c: char) -> impl Iterator<Item = char> {
    // The two small sigmas are one letter.
    c.to_lowercase().map(|l| if l == 'ς' { 'σ' } else { l })
}

/// The text with case folded; borrowed when it already is.
pub(crate) fn fold(s: &str) -> Cow<'_, str> {
    if s.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        return Cow::Borrowed(s);
    }
    Cow::Owned(s.chars().flat_map(fold_char).collect())
}

/// Whether `s`, with case folded, is `folded`. Allocates nothing.
pub(crate) fn same(s: &str, folded: &str) -> bool {
    if s.is_ascii() {
        return s.eq_ignore_ascii_case(folded);
    }
    s.chars().flat_map(fold_char).eq(folded.chars())
}

/// Whether `needle` stands in `hay` as a word of its own, or as words of their own.
pub(crate) fn has_word(hay: &str, needle: &str) -> bool {
    let letter = |c: char| c.is_alphanumeric() || c == '_';
    let mut from = 0;
    while let Some(found) = hay.get(from..).and_then(|h| h.find(needle)) {
        let start = from + found;
        let end = start + needle.len();
        let before = hay.get(..start).and_then(|h| h.chars().next_back());
        let after = hay.get(end..).and_then(|h| h.chars().next());
        // A needle that itself begins or ends with a sign needs no border there.
        let border =
            |inner: Option<char>, outer: Option<char>| !(inner.is_some_and(letter) && outer.is_some_and(letter));
        if border(needle.chars().next(), before) && border(needle.chars().next_back(), after) {
            return true;
        }
        from = start + hay.get(start..).and_then(|h| h.chars().next()).map_or(1, char::len_utf8);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_folded_in_every_script() {
        assert_eq!(fold("ÉCOLE"), "école");
        assert!(same("ΟΔΟΣ", &fold("οδος")));
        assert!(same("ΟΔΟΣ", &fold("οδός".replace('ό', "ο").as_str())));
        assert!(same("Refund", "refund") && !same("Refunds", "refund"));
        assert!(same("Straße", &fold("STRAßE")));
    }

    #[test]
    fn words_have_borders() {
        assert!(has_word("i want a refund.", "refund"));
        assert!(!has_word("refunds", "refund"));
        assert!(!has_word("prerefund refund_", "refund"));
        assert!(has_word("refunds and a refund", "refund"));
        assert!(has_word("my money back please", "money back"));
        assert!(has_word("costs 5€ now", "5€"));
        assert!(!has_word("été", "t"));
        assert!(has_word("c++ is", "c++"));
        assert!(!has_word("", "a"));
    }
}
