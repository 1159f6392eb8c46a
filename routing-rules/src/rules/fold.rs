//! Ignoring case and how words are spaced: letter by letter, so that both sides of a comparison fold alike wherever a letter stands
//! in its word; and a phrase that a mail breaks over two lines is the same phrase.

use std::borrow::Cow;

fn fold_char(c: char) -> impl Iterator<Item = char> {
    // The two small sigmas are one letter.
    c.to_lowercase().map(|l| if l == 'ς' { 'σ' } else { l })
}

/// Whether folding changes nothing, which can be seen quickly.
fn is_plain(s: &str) -> bool {
    let mut space = false;
    s.bytes().all(|b| {
        let plain = b.is_ascii() && !b.is_ascii_uppercase() && !matches!(b, b'\t'..=b'\r') && (!space || b != b' ');
        space = b == b' ';
        plain
    })
}

fn folded(s: &str) -> impl Iterator<Item = char> {
    let mut space = false;
    let spaced = s.chars().filter_map(move |c| {
        let again = space && c.is_whitespace();
        space = c.is_whitespace();
        (!again).then_some(if space { ' ' } else { c })
    });
    spaced.flat_map(fold_char)
}

/// The text with case folded, and one space where several signs of space stand in a row; borrowed when it already is.
pub(crate) fn fold(s: &str) -> Cow<'_, str> {
    if is_plain(s) { Cow::Borrowed(s) } else { Cow::Owned(folded(s).collect()) }
}

/// Whether `s`, folded and without the space around it, is `wanted`. Allocates nothing.
pub(crate) fn same(s: &str, wanted: &str) -> bool {
    let s = s.trim();
    if s.bytes().all(|b| b.is_ascii_graphic()) {
        return s.eq_ignore_ascii_case(wanted);
    }
    folded(s).eq(wanted.chars())
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
    fn how_words_are_spaced_is_nothing() {
        assert_eq!(fold("Money \r\n\u{a0}back  now"), "money back now");
        assert_eq!(fold(" a\tb\u{2028}"), " a b ");
        for text in ["money back", "a b c", " a"] {
            assert!(matches!(fold(text), Cow::Borrowed(_)), "{text}");
        }
        assert!(same("STOP \n", "stop") && same("Money\nback", "money back") && same("\u{a0}Ünd  so", "ünd so"));
        assert!(!same("moneyback", "money back") && !same("", "a") && same(" ", ""));
        // What stands within a text stands in it folded.
        for (text, part) in [("a \n b", " b"), ("a\n\nb", "\nb"), ("a  b", " "), ("x a\u{a0} b", "a\u{a0} ")] {
            assert!(text.contains(part) && fold(text).contains(fold(part).as_ref()), "{text:?} {part:?}");
        }
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
