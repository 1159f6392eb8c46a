//! How many text messages a text becomes on the air (3GPP TS 23.038 and 23.040).

/// The basic set of the GSM 7-bit alphabet without the escape.
pub(crate) const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// What costs an escape and a second septet.
pub(crate) const EXTENSION: &str = "\u{c}^{}\\[~]|€";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Septets of the GSM alphabet: 160 in one segment, 153 in each of several.
    Gsm7,
    /// UTF-16 units: 70 in one segment, 67 in each of several.
    Ucs2,
}

impl Encoding {
    /// As the API names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Gsm7 => "gsm7",
            Encoding::Ucs2 => "ucs2",
        }
    }

    fn limits(self) -> (usize, usize) {
        match self {
            Encoding::Gsm7 => (160, 153),
            Encoding::Ucs2 => (70, 67),
        }
    }

    /// Units that a character costs. A character is never split: neither an escape pair nor a surrogate pair.
    fn cost(self, c: char) -> usize {
        match self {
            Encoding::Gsm7 => septets(c).unwrap_or(1),
            Encoding::Ucs2 => c.len_utf16(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    pub encoding: Encoding,
    /// Septets or UTF-16 units of the whole text.
    pub units: usize,
    /// Text messages on the air; an empty text is one.
    pub segments: usize,
    /// Characters (Unicode scalar values) in each.
    pub per_segment: Vec<usize>,
}

/// Counts the segments of a text as the provider bills them.
#[must_use]
pub fn count(text: &str) -> Segments {
    let encoding = encoding(text);
    let (single, several) = encoding.limits();
    let units = text.chars().map(|c| encoding.cost(c)).sum();
    let per_segment = if units <= single { vec![text.chars().count()] } else { split(text, encoding, several) };
    Segments { encoding, units, segments: per_segment.len(), per_segment }
}

fn split(text: &str, encoding: Encoding, limit: usize) -> Vec<usize> {
    let mut full = vec![];
    let (mut used, mut characters) = (0, 0);
    for cost in text.chars().map(|c| encoding.cost(c)) {
        if used + cost > limit {
            full.push(characters);
            (used, characters) = (0, 0);
        }
        used += cost;
        characters += 1;
    }
    full.push(characters);
    full
}

/// The encoding that a text needs.
#[must_use]
pub fn encoding(text: &str) -> Encoding {
    if text.chars().all(|c| septets(c).is_some()) { Encoding::Gsm7 } else { Encoding::Ucs2 }
}

/// Typographic characters with the plain ones that say the same.
const TYPOGRAPHIC: &[(&str, &str)] = &[
    ("\u{2018}\u{2019}\u{201a}\u{201b}\u{2032}\u{2035}\u{00b4}\u{0060}\u{02bc}\u{2039}\u{203a}", "'"),
    ("\u{201c}\u{201d}\u{201e}\u{201f}\u{2033}\u{2036}\u{00ab}\u{00bb}", "\""),
    ("\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2015}\u{2212}\u{00ad}", "-"),
    ("\u{2026}", "..."),
    (
        "\u{00a0}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200a}\u{202f}\u{205f}\u{3000}\t",
        " ",
    ),
    ("\u{200b}\u{2060}\u{feff}", ""),
    ("\u{2022}\u{00b7}", "*"),
    ("\u{2044}", "/"),
];

/// The text with plain characters in the place of typographic ones: quotes, dashes, dots, blanks. Only where that makes the
/// shorter encoding of it; letters are left alone, for without their accents they are other letters.
#[must_use]
pub fn plain(text: &str) -> String {
    let swapped: String = text
        .chars()
        .flat_map(|c| {
            let known = TYPOGRAPHIC.iter().find(|(from, _)| from.contains(c) && septets(c).is_none());
            let (one, several) = known.map_or((Some(c), ""), |(_, to)| (None, *to));
            one.into_iter().chain(several.chars())
        })
        .collect();
    if encoding(&swapped) == Encoding::Gsm7 { swapped } else { text.to_owned() }
}

fn septets(c: char) -> Option<usize> {
    if BASIC.contains(c) {
        Some(1)
    } else if EXTENSION.contains(c) {
        Some(2)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use proptest::prelude::*;

    #[test]
    fn every_vector_is_counted() {
        let vectors = fixtures::vectors();
        let cases = vectors["sms_segments"]["cases"].as_array().unwrap();
        assert!(cases.len() >= 22, "{} cases", cases.len());
        for case in cases {
            let counted = count(case["text"].as_str().unwrap());
            let encoding = match counted.encoding {
                Encoding::Gsm7 => "gsm7",
                Encoding::Ucs2 => "ucs2",
            };
            let seen = serde_json::json!([encoding, counted.units, counted.segments, counted.per_segment]);
            let wanted =
                serde_json::json!([case["encoding"], case["units"], case["segments"], case["characters_per_segment"]]);
            assert_eq!(seen, wanted, "{}", case["name"]);
        }
    }

    #[test]
    fn typographic_characters_become_plain_where_that_is_cheaper() {
        for (text, wanted) in [
            ("\u{201c}It\u{2019}s\u{a0}here\u{201d} \u{2013} now\u{2026}", "\"It's here\" - now..."),
            ("`x`", "'x'"),
            ("plain £5 é", "plain £5 é"),
            ("zażółć \u{2013} x", "zażółć \u{2013} x"),
            ("😀\u{2026}", "😀\u{2026}"),
            ("§ ¿ ¡", "§ ¿ ¡"),
        ] {
            assert_eq!(plain(text), wanted);
        }
        assert_eq!(count("\u{2019}").encoding, Encoding::Ucs2);
        assert_eq!(count(&plain("\u{2019}")).encoding, Encoding::Gsm7);
    }

    #[test]
    fn the_alphabet_is_the_published_one() {
        let vectors = fixtures::vectors();
        assert_eq!(vectors["sms_segments"]["gsm7_basic"], BASIC);
        assert_eq!(vectors["sms_segments"]["gsm7_extension"], EXTENSION);
    }

    proptest! {
        #[test]
        fn no_character_is_lost_and_no_pair_is_split(text in "([a-z€{😀ж]|\\PC){0,700}") {
            let counted = count(&text);
            let (single, several) = counted.encoding.limits();
            prop_assert_eq!(counted.per_segment.iter().sum::<usize>(), text.chars().count());
            prop_assert_eq!(counted.segments, counted.per_segment.len());
            let limit = if counted.segments == 1 { single } else { several };
            let mut characters = text.chars();
            let mut units = 0;
            for n in &counted.per_segment {
                // Whole characters only, each with both halves of its pair: the segment is within its limit.
                let used: usize = characters.by_ref().take(*n).map(|c| counted.encoding.cost(c)).sum();
                prop_assert!(used <= limit, "{} units in a segment", used);
                units += used;
            }
            prop_assert_eq!(units, counted.units);
        }
    }
}
