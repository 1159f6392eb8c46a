//! `{{ queue.position }}`, `{{ queue.place }}` and `{{ queue.wait }}`: where somebody stands is known once the rules have placed them,
//! which is after their texts were filled in. So a filled-in text holds a mark for each, which nothing that is written can hold.

use crate::state::FAR_BACK;

/// What a template may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// `3`
    Position,
    /// `third`
    Place,
    /// `about four minutes`
    Wait,
}

const ALL: [Asked; 3] = [Asked::Position, Asked::Place, Asked::Wait];
const SMALL: [&str; 10] = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
const ORDINALS: [&str; 10] =
    ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];
const MINUTE_MS: i64 = 60_000;

/// Where a conversation stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// From 1; `None` is further back than is counted.
    pub position: Option<usize>,
    /// Somebody is there for it now.
    pub at_once: bool,
    /// As far as it can be told.
    pub wait_ms: Option<i64>,
}

impl Asked {
    /// From the private use area, which has no meaning between programs.
    pub(crate) fn mark(self) -> char {
        match self {
            Asked::Position => '\u{F0001}',
            Asked::Place => '\u{F0002}',
            Asked::Wait => '\u{F0003}',
        }
    }

    fn words(self, s: &Standing) -> String {
        match self {
            Asked::Position => s.position.map_or_else(|| format!("over {FAR_BACK}"), |n| n.to_string()),
            Asked::Place => s.position.map_or_else(|| format!("further back than {FAR_BACK}"), ordinal),
            Asked::Wait if s.at_once => "a moment".into(),
            Asked::Wait => s.wait_ms.map_or_else(|| "a while".into(), about),
        }
    }
}

/// A value without what could be taken for a mark.
pub(crate) fn unmarked(value: String) -> String {
    match value.contains(ALL.map(Asked::mark)) {
        true => value.replace(ALL.map(Asked::mark), ""),
        false => value,
    }
}

/// Whether a text holds a mark.
pub(crate) fn asks(text: &str) -> bool {
    text.contains(ALL.map(Asked::mark))
}

/// The text with its marks filled in.
pub(crate) fn fill_in(text: &str, standing: &Standing) -> String {
    ALL.iter().fold(text.to_owned(), |text, asked| match text.contains(asked.mark()) {
        true => text.replace(asked.mark(), &asked.words(standing)),
        false => text,
    })
}

/// `third`, `11th`.
#[must_use]
pub fn ordinal(n: usize) -> String {
    if let Some(word) = n.checked_sub(1).and_then(|i| ORDINALS.get(i)) {
        return (*word).to_owned();
    }
    let end = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{end}")
}

/// `about four minutes`: rounded as people round, minutes up to an hour and a half, then hours.
#[must_use]
pub fn about(ms: i64) -> String {
    let minutes = ms.saturating_add(MINUTE_MS / 2) / MINUTE_MS;
    let (n, unit) = match minutes {
        ..=0 => return "less than a minute".into(),
        1..=90 => (minutes, "minute"),
        _ => ((minutes + 30) / 60, "hour"),
    };
    let word =
        usize::try_from(n - 1).ok().and_then(|i| SMALL.get(i)).map_or_else(|| n.to_string(), |w| (*w).to_owned());
    let plural = if n == 1 { "" } else { "s" };
    format!("about {word} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_and_a_wait_as_one_would_say_them() {
        for (n, word) in
            [(1, "first"), (3, "third"), (10, "tenth"), (11, "11th"), (21, "21st"), (112, "112th"), (103, "103rd")]
        {
            assert_eq!(ordinal(n), word);
        }
        for (ms, words) in [
            (0, "less than a minute"),
            (-5, "less than a minute"),
            (40_000, "about one minute"),
            (4 * MINUTE_MS, "about four minutes"),
            (12 * MINUTE_MS, "about 12 minutes"),
            (100 * MINUTE_MS, "about two hours"),
            (i64::MAX, "about 2562047788015 hours"),
        ] {
            assert_eq!(about(ms), words);
        }
    }

    #[test]
    fn marks_are_filled_in_and_cannot_be_written_by_a_customer() {
        let marks: String = ALL.iter().map(|a| a.mark()).collect();
        assert_eq!(unmarked(format!("a{marks}b")), "ab");
        let third = Standing { position: Some(3), at_once: false, wait_ms: Some(240_000) };
        assert_eq!(fill_in(&marks, &third), "3thirdabout four minutes");
        let now = Standing { position: Some(1), at_once: true, wait_ms: Some(240_000) };
        assert_eq!(fill_in(&marks, &now), "1firsta moment");
        assert_eq!(fill_in(&marks, &Standing::default()), "over 1000further back than 1000a while");
        assert_eq!(fill_in("plain", &third), "plain");
    }
}
