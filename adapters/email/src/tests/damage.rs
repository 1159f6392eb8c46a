//! Mail that was cut, bent or made to hurt: it is read all the same.

use super::{NOW, settings};
use crate::{events::events, fixtures, read::read};
use proptest::prelude::*;
use std::sync::LazyLock;
use switchboard_envelope::Inbound;

pub(super) static CORPUS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| fixtures::names("", ".eml").iter().map(|name| fixtures::bytes(name)).collect());

/// Everything that must hold of any bytes: one valid event at least, with a file for every attachment, and no failure of a parser.
pub(super) fn holds(mail: &[u8]) {
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

/// A part that is sent as base64.
fn coded(kind: &str, inside: &str) -> String {
    let coded = switchboard_adapter_sdk::signature::to_base64(inside.as_bytes());
    format!("Content-Type: {kind}\nContent-Transfer-Encoding: base64\n\n{coded}\n")
}

/// Mails whose shape is repeated `n` times: each is read in time and memory that grow no faster than it does. The stack that a test
/// has is small, and so is its patience: with a reader that walks a list once for each of its members these take hours.
fn shapes(n: usize) -> Vec<(&'static str, String)> {
    let many = |text: &str| text.repeat(n);
    let numbered = |text: &str| (0..n).map(|i| text.replace('#', &i.to_string())).collect::<String>();
    let body = |kind: &str, inside: &str| format!("From: a@b.c\nContent-Type: {kind}\n\n{inside}");
    let field = |name: &str, value: &str| format!("From: a@b.c\n{name}: {value}\n\nbody");
    let mixed = "multipart/mixed; boundary=a";
    let mails = many("Content-Type: message/rfc822\n\n");
    let report = "multipart/report; report-type=delivery-status; boundary=a";
    let status = |groups: &str| {
        body(
            report,
            &format!("--a\n\n{}\n--a\nContent-Type: message/delivery-status\n\n{groups}\n--a--\n", many("word ")),
        )
    };
    vec![
        ("mails in mails", mails.clone()),
        ("mails in a coded mail", coded("message/rfc822", &mails)),
        ("mails in a coded mail in a coded mail", coded("message/global", &coded("message/rfc822", &mails))),
        (
            "mails in a quoted-printable mail",
            format!(
                "Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n{}",
                mails.replace('-', "=2D")
            ),
        ),
        (
            "mails in a coded part of a digest",
            body("multipart/digest; boundary=a", &format!("--a\n{}--a--\n", coded("message/rfc822", &mails))),
        ),
        ("digests in digests", numbered("Content-Type: multipart/digest; boundary=b#\n\n--b#\n\n")),
        (
            "mails with text",
            body(mixed, &format!("--a\n{}{}", many("Content-Type: message/rfc822\n\n"), many("text\n"))),
        ),
        ("parts", body(mixed, &many("--a\n\nx\n"))),
        ("empty parts", body(mixed, &many("--a\n"))),
        ("parts of fields", body(mixed, &many("--a\nX: y\n"))),
        ("multiparts without parts", body(mixed, &many("--a\nContent-Type: multipart/x; boundary=absent\n"))),
        (
            "multiparts without parts, with bodies",
            body(mixed, &many("--a\nContent-Type: multipart/x; boundary=absent\n\nx\n")),
        ),
        ("multiparts in multiparts", numbered("Content-Type: multipart/mixed; boundary=b#\n\n--b#\n")),
        ("the same boundary in itself", many("Content-Type: multipart/mixed; boundary=b\n\n--b\n")),
        (
            "alternatives of pages",
            body("multipart/alternative; boundary=a", &many("--a\nContent-Type: text/html\n\n<p>x\n")),
        ),
        ("lines that are nearly boundaries", body(mixed, &format!("--a\n\n{}", many("--aa\n-- a\n--b\n")))),
        ("fields", many("X: y\n") + "\nbody"),
        ("names of nothing", many(":\n") + "\nbody"),
        ("addresses", field("To", &many("x <x@y.z>, "))),
        ("brackets", field("To", &many("<,"))),
        ("groups", field("To", &format!("{}a@b {}", many("x "), many(":")))),
        ("quotes", field("Cc", &many("\"x\\\""))),
        ("comments", field("Reply-To", &many("("))),
        ("many fields of addresses", many("To: <,x\n") + "\nbody"),
        ("words", field("Subject", &many("=?utf-8?Q?a?= "))),
        ("words without an end", field("Subject", &many("=?a?q?"))),
        ("openings", field("Subject", &many("=?"))),
        ("prefixes", field("Subject", &many("Re: [x] "))),
        ("references", field("References", &many("<a@b> "))),
        ("open references", field("References", &many("<a@b "))),
        ("parameters", field("Content-Type", &format!("text/plain{}", many("; a*0=b")))),
        (
            "utf-7 in a name",
            field("Content-Disposition", &format!("attachment; filename*=utf-7''{}3d3d3d3dA3d3d3d3d", many("+"))),
        ),
        ("utf-7 in the text", body("text/plain; charset=utf-7", &(many("+") + "3d3d3d3dA3d3d3d3d"))),
        (
            "results",
            field("Authentication-Results", &format!("mx.desk.example; {}", many("dmarc=pass (x;\"y\") z=\"; "))),
        ),
        ("elements", body("text/html", &many("<div>"))),
        (
            "formats",
            body(
                "text/html",
                &format!("<p>{}</p>{}", numbered("<b id=#>").get(..n.min(5_000)).unwrap_or_default(), many("<p>x</p>")),
            ),
        ),
        ("tables", body("text/html", &format!("{}<table>{}", many("<br>"), many("x<tr></tr>")))),
        ("comments of pages", body("text/html", &many("<!--"))),
        ("lines", body("text/plain", &many("\n"))),
        ("signatures", body("text/plain", &format!("Hi{}", many("\nSent from my iPhone\n")))),
        ("quoted lines", body("text/plain", &many("> x\ny\n"))),
        ("sentences of programs", body("text/plain", &many("On Monday, ä\n<x@y> wrote:\n> x\ny\n"))),
        ("fields of programs", body("text/plain", &many("From: x\nTo: y\n"))),
        ("flowed", body("text/plain; format=flowed", &many("> x \n"))),
        (
            "a bounce's addresses",
            format!("From: MAILER-DAEMON@x\nSubject: failure notice\n\n{}", numbered("<a#@x.example>:\n")),
        ),
        ("recipients of a report", status(&numbered("Final-Recipient: rfc822; a#@x.example\nAction: failed\n\n"))),
        ("groups of a report", status(&many("X: y\n\n"))),
        ("the same recipient in many parts of a report", {
            let groups = "action:x\n\n".repeat(n.min(1000));
            let parts = format!("--a\nContent-Type: message/delivery-status\n\n{groups}").repeat((n / 1000).max(1));
            body(report, &format!("--a\n\n{}\n{parts}", "word ".repeat(n.min(2000))))
        }),
        ("a calendar", body("text/calendar", &many("BEGIN:VEVENT\n UID\n"))),
        ("uuencode", format!("From: a@b.c\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 a\n{}", many("`\n!\n"))),
    ]
}

#[test]
fn mail_that_is_made_to_hurt_takes_no_longer() {
    for (name, mail) in shapes(60_000) {
        let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
        let read = move || {
            let found = fixtures::in_time(name, 30, || events(mail.as_bytes(), &settings(), NOW));
            found.events.iter().for_each(|e| e.validate().unwrap());
            assert!(!found.events.is_empty() && !found.events.iter().any(|e| matches!(e, Inbound::Unparsed(_))));
        };
        thread.spawn(read).unwrap().join().unwrap_or_else(|_| panic!("{name}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_mail_is_read_with_a_shape_inside_it(which: prop::sample::Index, shape: prop::sample::Index, at: prop::sample::Index, n in 1usize..40) {
        let mail = &CORPUS[which.index(CORPUS.len())];
        let shapes = shapes(n);
        let (_, inside) = &shapes[shape.index(shapes.len())];
        let (before, after) = mail.split_at(at.index(mail.len()));
        holds(&[before, inside.as_bytes(), after].concat());
    }

    #[test]
    fn every_mail_is_read_inside_of_a_shape(which: prop::sample::Index, shape: prop::sample::Index, at: prop::sample::Index, n in 1usize..40) {
        let mail = &CORPUS[which.index(CORPUS.len())];
        let shapes = shapes(n);
        let (_, outside) = &shapes[shape.index(shapes.len())];
        let (before, after) = outside.as_bytes().split_at(at.index(outside.len()));
        holds(&[before, mail.as_slice(), after].concat());
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
    assert_eq!((reading.files.len(), reading.files_left_out), (98, 52));
    holds(mail.as_bytes());
}
