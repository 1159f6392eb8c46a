//! Subjects: the words under the prefixes that programs add (RFC 5256 §2.1), and tokens in them.

/// The most letters of a subject that are compared.
const MAX_SUBJECT: usize = 2000;
/// Prefixes of answers, in the languages that programs speak.
const REPLIES: &[&str] = &[
    "re", "aw", "sv", "antw", "odp", "vs", "vá", "va", "ynt", "ref", "res", "rép", "rif", "r", "ad", "bls", "sb", "απ",
    "σχετ", "ha", "回复", "回覆", "答复", "回信", "відп", "отв", "на",
];
/// Prefixes of what is passed on.
const FORWARDS: &[&str] = &[
    "fwd",
    "fw",
    "wg",
    "tr",
    "rv",
    "enc",
    "i",
    "vl",
    "vb",
    "doorst",
    "trs",
    "továbbítás",
    "pd",
    "fs",
    "ilt",
    "yml",
    "πρθ",
    "转发",
    "轉寄",
    "转",
    "пересл",
    "fwd.",
    "vid",
    "red",
];

/// The words that both the first mail and its answers have, in lower case.
#[must_use]
pub fn base(subject: &str) -> String {
    base_with(subject, &[])
}

/// Like [`base`], with further prefixes.
#[must_use]
pub fn base_with(subject: &str, more: &[&str]) -> String {
    let start: String = subject.chars().take(MAX_SUBJECT).collect();
    let mut text = start.split_whitespace().collect::<Vec<_>>().join(" ");
    // Each turn makes it shorter.
    loop {
        let before = text.len();
        text = without_trailer(&text);
        text = without_wrapper(&text);
        while let Some((_, rest)) = prefix(&text, more) {
            text = rest.trim_start().to_owned();
        }
        if let Some(rest) = without_blob(&text) {
            text = rest;
        }
        if text.len() == before {
            return text.to_lowercase();
        }
    }
}

/// A subject for an answer: one `Re: `.
#[must_use]
pub fn reply(subject: &str) -> String {
    let mut text = subject.trim();
    while let Some((kind, rest)) = prefix(text, &[]) {
        if kind != Prefix::Reply {
            break;
        }
        text = rest.trim_start();
    }
    format!("Re: {text}").trim_end().to_owned()
}

/// The mail passes another one on.
#[must_use]
pub fn is_forward(subject: &str) -> bool {
    let text = subject.trim();
    matches!(prefix(text, &[]), Some((Prefix::Forward, _))) || text.to_lowercase().starts_with("[fwd:")
}

/// `1042` in `Re: [#1042] Broken kettle`.
#[must_use]
pub fn ticket(subject: &str) -> Option<&str> {
    let (_, after) = subject.split_once("[#")?;
    let (ticket, _) = after.split_once(']')?;
    let plain =
        (1..=40).contains(&ticket.len()) && ticket.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    plain.then_some(ticket)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefix {
    Reply,
    Forward,
}

/// `Re:`, `Re[2]:`, `AW :` or `RE：` at the start, and what follows it.
fn prefix<'a>(text: &'a str, more: &[&str]) -> Option<(Prefix, &'a str)> {
    let (head, rest) = text.split_once([':', '：'])?;
    let head = head.trim_end();
    let word = match head.split_once(['[', '(']) {
        Some((word, count)) => {
            let count = count.strip_suffix([']', ')'])?;
            (!count.is_empty() && count.bytes().all(|b| b.is_ascii_digit())).then_some(word)?
        }
        None => head.trim_end_matches(|c: char| c.is_ascii_digit()),
    };
    let word = word.trim_end().to_lowercase();
    if REPLIES.contains(&word.as_str()) || more.iter().any(|m| m.to_lowercase() == word) {
        return Some((Prefix::Reply, rest));
    }
    FORWARDS.contains(&word.as_str()).then_some((Prefix::Forward, rest))
}

fn without_trailer(text: &str) -> String {
    let mut text = text.trim();
    while text.len() >= 5 && text.get(text.len() - 5..).is_some_and(|t| t.eq_ignore_ascii_case("(fwd)")) {
        text = text.get(..text.len() - 5).unwrap_or_default().trim_end();
    }
    text.to_owned()
}

fn without_wrapper(text: &str) -> String {
    let wrapped = text.get(..5).is_some_and(|t| t.eq_ignore_ascii_case("[fwd:"));
    match text.get(5..).and_then(|t| t.strip_suffix(']')) {
        Some(inside) if wrapped => inside.trim().to_owned(),
        _ => text.to_owned(),
    }
}

/// `[list] ` in front of other words.
fn without_blob(text: &str) -> Option<String> {
    let (blob, rest) = text.strip_prefix('[')?.split_once(']')?;
    let rest = rest.trim_start();
    (!blob.contains('[') && !rest.is_empty()).then(|| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn subjects_are_compared_by_their_words() {
        for (subject, words) in [
            ("Re: Fwd: RE[2]: [list] Plan (fwd)", "plan"),
            ("[Fwd: Plan]", "plan"),
            ("[list] Re: Plan", "plan"),
            ("AW: WG: Plan", "plan"),
            ("[list]", "[list]"),
            ("Report: Plan", "report: plan"),
            ("", ""),
        ] {
            assert_eq!(base(subject), words, "{subject}");
        }
        assert_eq!(reply("RE: AW: Re: Plan"), "Re: Plan");
        assert_eq!(reply("Fwd: Plan"), "Re: Fwd: Plan");
        assert_eq!(reply(""), "Re:");
        assert!(
            is_forward("WG: x") && is_forward("[Fwd: x]") && !is_forward("Re: Fwd: x") && !is_forward("Forward march")
        );
        assert_eq!(ticket("Re: [#1042] Broken"), Some("1042"));
        assert_eq!(ticket("[#] [#a b]"), None);
    }

    proptest! {
        #[test]
        fn an_answers_subject_has_the_same_words(subject in "(Re: |AW: |\\[x\\] |\\PC){0,20}") {
            prop_assert_eq!(base(&reply(&subject)), base(&subject));
            prop_assert_eq!(reply(&reply(&subject)), reply(&subject));
        }
    }
}
