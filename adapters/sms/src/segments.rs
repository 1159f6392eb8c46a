//! How many text messages a text becomes on the air (3GPP TS 23.038 and 23.040).

/// The basic set of the GSM 7-bit alphabet without the escape.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// What costs an escape and a second septet.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Septets of the GSM alphabet: 160 in one segment, 153 in each of several.
    Gsm7,
    /// UTF-16 units: 70 in one segment, 67 in each of several.
    Ucs2,
}

impl Encoding {
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
    let encoding = if text.chars().all(|c| septets(c).is_some()) { Encoding::Gsm7 } else { Encoding::Ucs2 };
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
