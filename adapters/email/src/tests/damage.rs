//! Mail that was cut, bent or made to hurt: it is read all the same.

use super::{NOW, settings};
use crate::{events::events, fixtures, read::read};
use proptest::prelude::*;
use std::sync::LazyLock;
use switchboard_envelope::Inbound;

static CORPUS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| fixtures::names("", ".eml").iter().map(|name| fixtures::bytes(name)).collect());

/// Everything that must hold of any bytes: one valid event at least, with a file for every attachment, and no failure of a parser.
fn holds(mail: &[u8]) {
    let found = events(mail, &settings(), NOW);
    assert!(!found.events.is_empty());
    for event in &found.events {
        event.validate().unwrap();
        match event {
            Inbound::Message(m) => assert_eq!(m.content.attachments.len(), found.files.len()),
            Inbound::Echo(e) => assert_eq!(e.content.attachments.len(), found.files.len()),
            Inbound::Unparsed(u) => panic!("{}", u.reason),
            _ => {}
        }
    }
    let again = events(mail, &settings(), NOW);
    assert_eq!(found.events, again.events);
}

#[test]
fn every_mail_is_read_wherever_it_is_cut() {
    for mail in CORPUS.iter() {
        holds(mail);
        let step = (mail.len() / 40).max(1);
        for end in (0..mail.len()).step_by(step) {
            holds(mail.get(..end).unwrap());
            holds(mail.get(end..).unwrap());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_mail_is_read_whatever_bits_are_wrong(which: prop::sample::Index, flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..20)) {
        let mut mail = CORPUS[which.index(CORPUS.len())].clone();
        for (at, bit) in flips {
            let at = at.index(mail.len());
            mail[at] ^= 1 << bit;
        }
        holds(&mail);
    }

    #[test]
    fn two_mails_run_into_each_other(a: prop::sample::Index, b: prop::sample::Index, cut: prop::sample::Index) {
        let (a, b) = (&CORPUS[a.index(CORPUS.len())], &CORPUS[b.index(CORPUS.len())]);
        holds(&[a.get(..cut.index(a.len())).unwrap(), b.as_slice()].concat());
    }

    #[test]
    fn any_bytes_are_a_mail(mail: Vec<u8>) {
        holds(&mail);
    }

    #[test]
    fn any_structure_is_a_mail(mail in "(From: |To: |Content-Type: |multipart/mixed; boundary=a|multipart/report; report-type=delivery-status; boundary=a|message/rfc822|message/delivery-status|text/html|text/plain|\n|\n\n|--a\n|--a--\n|Content-Transfer-Encoding: base64\n|=\\?utf-8\\?B\\?|\\?=|<|>|@|;|\"|x){0,60}") {
        holds(mail.as_bytes());
    }
}

#[test]
fn mail_that_is_made_to_hurt_takes_no_longer() {
    let nested = "Content-Type: message/rfc822\n\n".repeat(50_000);
    let parts = format!("Content-Type: multipart/mixed; boundary=a\n\n{}", "--a\n\nx\n".repeat(50_000));
    let deep: String =
        (0..5_000).map(|i| format!("Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n")).collect();
    let headers = "X: y\n".repeat(200_000) + "\nbody";
    let addresses = format!("From: a@b.c\nTo: {}\n\nbody", "x <x@y.z>, ".repeat(50_000));
    let words = format!("Subject: {}\n\nbody", "=?utf-8?Q?a?= ".repeat(50_000));
    let open = format!("Subject: {}\n\nbody", "=?".repeat(100_000));
    let comments = format!("From: {}\n\nbody", "(".repeat(100_000));
    let references = format!("From: a@b.c\nReferences: {}\n\nbody", "<a@b> ".repeat(50_000));
    for mail in [nested, parts, deep, headers, addresses, words, open, comments, references] {
        holds(mail.as_bytes());
    }
}

#[test]
fn a_mail_beside_the_limits_is_kept_as_it_is() {
    let mail = vec![b'x'; crate::events::MAX_MAIL + 1];
    let found = events(&mail, &settings(), NOW);
    assert!(matches!(found.events.as_slice(), [Inbound::Unparsed(u)] if u.reason.contains("50 MiB")));
    let many = (0..150).map(|i| format!("--a\nContent-Type: image/png; name={i}.png\n\nx\n")).collect::<String>();
    let mail = format!("From: a@b.c\nContent-Type: multipart/mixed; boundary=a\n\n{many}--a--\n");
    let reading = read(mail.as_bytes(), &settings());
    assert_eq!((reading.files.len(), reading.files_left_out), (100, 50));
    holds(mail.as_bytes());
}
