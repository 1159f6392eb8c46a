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

/// Where we differ on purpose: the case, and why.
const ARGUED: &[(&str, &str)] = &[];

#[test]
fn the_corpus_of_replies_is_cut_as_it_wants() {
    let cases = fixtures::json("reply_trimmer_cases.json");
    let cases = cases["cases"].as_array().unwrap();
    let missed: Vec<_> = cases.iter().filter(|case| !is_met(case)).map(|case| &case["name"]).collect();
    println!("{} of {} reply cases met; not: {missed:?}", cases.len() - missed.len(), cases.len());
    let argued = |name: &&serde_json::Value| ARGUED.iter().any(|(argued, _)| *name == argued);
    let open: Vec<_> = missed.iter().filter(|name| !argued(name)).collect();
    assert!(open.is_empty(), "not met: {open:?}");
    for (name, _) in ARGUED.iter().filter(|(name, _)| cases.iter().any(|case| case["name"] == *name)) {
        assert!(missed.iter().any(|missed| *missed == name), "{name} is argued for and met");
    }
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
        // A program's sentence in the person's last line, whole or broken.
        ("reply On Wed, Apr 4, 2012 at 3:59 PM, bob@example.com wrote:\n> Hi", "reply"),
        ("a\nb-c - d--- On Wed, Apr 4, 2012 at 3:59 PM, me@domain.com wrote:\n> Hi", "a\nb-c - d"),
        ("information On Nov 30, 2011, at 12:47 PM, Some <\n416ff@example.com>wrote:\n\n> Hi", "information"),
        ("I came on Mon and wrote:\nnothing", "I came on Mon and wrote:\nnothing"),
        // Fields in another order, and two that say enough.
        ("Blah\nDate: Fri, 28 Sep 2012 10:55:48 +0000\nFrom: t@x.org\nTo: b@x.org\nSubject: x\n\nHi", "Blah"),
        ("Blah\n\nDate: Wed, 16 May 2012 00:15:02 -0600\nTo: k@example.com\n", "Blah"),
        ("Blah\n\nDate: tomorrow\nTo: the shop\n", "Blah\n\nDate: tomorrow\nTo: the shop"),
        // Links that a program broke out of its quote are no answers.
        ("Blah\n\nOn 1 May 2026, Bob wrote:\n\n>\n> Post\n>\n (http://x.org/c/Y) >\n> life (http://x.org/c)\n", "Blah"),
        ("Blah\n\nOn 1 May 2026, bob wrote:\n\n> View (http://x.org/action\n_nonce=3dd518)\n>\n", "Blah"),
        ("Hi\n\n----- Antwort Nachricht -----\n\nTest", "Hi"),
        ("Hallo,\n\nAm 13.05.2026 um 09:05 schrieb Ann B:\n> Alt.\n\nNeu.\n\nGruß\nBob", "Hallo,\n\nNeu.\n\nGruß\nBob"),
        ("One\n\n________________\n\nTwo\n\nOn July 28, 2026, Ann wrote:\n> old", "One\n\n________________\n\nTwo"),
        ("List:\n\n-\nFirst\n*\nSecond\n\n--\nAnn", "List:\n\n-\nFirst\n*\nSecond"),
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
fn a_mail_that_was_passed_on_is_found_however_its_program_writes() {
    let apple = "> From: \"Some One\" <some@x.org>\n> Date: 1. August 2011 23:28\n> To: us <us@x.org>\n> Subject: AW: Some\n>\n> Original\n";
    let outlook = "Subject: \tSome\nDate: \tFri, 19 Jun 2009 19:16:04 +0200\nFrom: \tSome One <some@x.org>\nTo: \tus@x.org\n\nOriginal\n";
    let french = "Sujet :     Some\nDate :  Wed, 11 Nov 2015 12:31:25 +0100\nDe :    Some One <some@x.org>\nPour :  Us <us@x.org>\n\nOriginal\n";
    for (begin, mail) in [
        ("Begin forwarded message:\n\n", apple),
        ("Forwarded message:\n\n", apple),
        ("", apple),
        ("-------- Original Message --------\n", outlook),
        ("-------- Message transféré --------\n", french),
        (
            "Début du message réexpédié :\n\n",
            "De: Some One <some@x.org>\nDate: 14 novembre 2015\nÀ: us <us@x.org>\nObjet: Some\n\nOriginal\n",
        ),
        (
            "---------- Forwarded message ----------\n",
            "From: Some One <some@x.org>\nSubject: AW:\nSome\nTo: us@x.org\n\nOriginal\n",
        ),
    ] {
        let text = format!("Please look.\n\n{begin}{mail}");
        let found = cut(&text, true);
        let forwarded = found.forwarded.unwrap_or_else(|| panic!("{text}"));
        assert_eq!((forwarded.before.as_str(), forwarded.body.as_str()), ("Please look.", "Original"), "{text}");
        assert!(forwarded.from.unwrap_or_default().contains("some@x.org"), "{text}");
        assert_eq!(forwarded.subject.unwrap_or_default().trim_start_matches("AW: "), "Some", "{text}");
        assert!(found.text.contains("Original"));
    }
}

#[test]
fn a_pathological_text_takes_no_longer_than_another() {
    for unit in [
        "a On 1 b wrote:\n",
        "a On 1 b\n",
        "> (http\nx)\n",
        "Date: 2026 1:11\n",
        "> From: a\n",
        "On \n",
        "> \n",
        "<\n",
        "On 1 <a@b> wrote \n",
        "-\n",
        "From: a\n",
        "\u{a0}",
        "1:1 <a@b>",
        "On <\n<\n",
    ] {
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
            // A program's sentence that shared the line is cut off it.
            let known = lines.iter().any(|l| l.starts_with(&squeeze(line)) || l.ends_with(&squeeze(line)));
            prop_assert!(known, "{:?} is not in {:?}", line, text);
        }
    }
}
