use super::*;
use crate::fixtures;
use proptest::prelude::*;

fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a case of the corpus is read as it wants, by these rules where the corpus and we differ on purpose: a forward stays
/// whole and is told apart instead, and a text is never cut to nothing.
fn is_met(case: &serde_json::Value) -> bool {
    let text = |name: &str| case[name].as_str().unwrap_or_default();
    let found = cut(text("email"), false);
    if let Some(forwarded) = &found.forwarded {
        return squeeze(&forwarded.before) == squeeze(text("before"))
            && squeeze(text("embedded")).ends_with(&squeeze(&forwarded.body))
            && squeeze(&found.text) == squeeze(text("email"));
    }
    if text("trimmed").trim().is_empty() {
        return squeeze(&found.text) == squeeze(text("email"));
    }
    squeeze(&found.text) == squeeze(text("trimmed"))
}

#[test]
fn the_corpus_of_replies_is_cut_as_it_wants() {
    let cases = fixtures::json("reply_trimmer_cases.json");
    let cases = cases["cases"].as_array().unwrap();
    let missed: Vec<_> = cases.iter().filter(|case| !is_met(case)).map(|case| &case["name"]).collect();
    println!("{} of {} reply cases met; not: {missed:?}", cases.len() - missed.len(), cases.len());
    // The corpus is a yardstick: nobody's rules meet every case of somebody else's.
    assert!(missed.len() * 20 <= cases.len(), "not met: {missed:?}");
}

#[test]
fn what_a_person_wrote_is_told_from_what_they_quote() {
    for (text, new) in [
        ("Hello\n\nOn 1 May 2026, Ann <a@x.org> wrote:\n> Hi\n", "Hello"),
        ("On 1 May 2026, Ann <a@x.org> wrote:\n> Hi\nHello", "Hello"),
        ("Hi,\n\nOn 1 May 2026, Ann <a@x.org> wrote:\n> one?\nyes\n> two?\nno\n", "Hi,\n\n> one?\nyes\n> two?\nno"),
        (
            "Hello\n\n________________________________\nFrom: Ann <a@x.org>\nSent: Monday\nTo: Bob\nSubject: Re: x\n\nHi",
            "Hello",
        ),
        ("Hallo\n\nVon: Ann <a@x.org>\nGesendet: Montag\nAn: Bob\nBetreff: AW: x\n\nHi", "Hallo"),
        ("Hello\n-- \nAnn\n\nOn 1 May 2026, Bob wrote:\n> Hi", "Hello"),
        ("Hello\n\nSent from my iPhone\n\nOn 1 May 2026, Bob <b@x.org> wrote:\n\n> Hi", "Hello"),
        ("Yes please.\n\n##- Please write above this line -##\n\nOur answer", "Yes please."),
        ("> quoted only\n> twice", "> quoted only\n> twice"),
        (
            "Please see: the price was 5 USD.\nFrom: here to there it is far.\nTo: be honest, I wrote:\nnothing.",
            "Please see: the price was 5 USD.\nFrom: here to there it is far.\nTo: be honest, I wrote:\nnothing.",
        ),
        (
            "On 4 May I wrote to you and nobody answered.\nPlease call.",
            "On 4 May I wrote to you and nobody answered.\nPlease call.",
        ),
        ("", ""),
        ("-- \nAnn", "--\nAnn"),
    ] {
        assert_eq!(cut(text, false).text.trim(), new.trim(), "{text}");
    }
}

#[test]
fn what_is_left_out_is_kept_beside_it() {
    let found = cut("Hello\n-- \nAnn\nSent from my iPhone\n", false);
    assert_eq!((found.text.as_str(), found.signature.as_deref()), ("Hello", Some("--\nAnn\nSent from my iPhone")));
    let found = cut(
        "Please look.\n\n---------- Forwarded message ---------\nFrom: Kim <kim@x.org>\nDate: Monday\nSubject: Broken\nTo: Us <us@x.org>\n\n\nIt leaks.\n",
        false,
    );
    let forwarded = found.forwarded.unwrap();
    assert_eq!(forwarded.before, "Please look.");
    assert_eq!(forwarded.from.as_deref(), Some("Kim <kim@x.org>"));
    assert_eq!(forwarded.subject.as_deref(), Some("Broken"));
    assert_eq!(forwarded.body, "It leaks.");
    assert!(found.text.contains("It leaks.") && found.text.contains("Please look."));
}

#[test]
fn a_pathological_text_takes_no_longer_than_another() {
    for unit in ["On \n", "> \n", "<\n", "On 1 <a@b> wrote \n", "-\n", "From: a\n", "\u{a0}", "1:1 <a@b>", "On <\n<\n"]
    {
        let text = unit.repeat(MAX_TEXT / unit.len());
        let found = cut(&text, false);
        assert!(text.trim_matches(['\n', ' ', '\u{a0}']).is_empty() || !found.text.is_empty());
    }
}

proptest! {
    #[test]
    fn nothing_is_invented_and_something_is_left(text in "(\\PC{0,20}|> .{0,10}|On 1 May Ann <a@b.c> wrote:|-- |--|From: x|To: y|Subject: z|Sent from my iPhone|\n){0,20}") {
        let found = cut(&text, false);
        prop_assert_eq!(squeeze(&found.text).is_empty(), squeeze(&text).is_empty());
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let lines: Vec<String> = text.lines().map(squeeze).collect();
        for line in found.text.lines() {
            prop_assert!(lines.contains(&squeeze(line)), "{:?} is not in {:?}", line, text);
        }
    }
}
