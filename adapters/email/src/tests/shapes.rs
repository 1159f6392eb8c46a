//! Shapes of mail that real programs write and that have no file of their own.

use super::settings;
use crate::{
    read::{Kind, Reading, read},
    report::Action,
};

fn of(mail: &[u8]) -> Reading {
    read(mail, &settings())
}

fn text_of(fields: &str, body: &[u8]) -> String {
    let mail =
        [b"From: a@b.c\nTo: support@desk.example\nMIME-Version: 1.0\n", fields.as_bytes(), b"\n\n", body].concat();
    of(&mail).text.trim().to_owned()
}

#[test]
fn text_is_read_in_every_charset_and_coding() {
    for (fields, body, text) in [
        ("Content-Type: text/plain; charset=ISO-2022-JP", &b"\x1b$BF|K\\8l\x1b(B"[..], "日本語"),
        ("Content-Type: text/plain", b"\x1b$BF|K\\8l\x1b(B", "日本語"),
        ("Content-Type: text/plain; charset=koi8-r", b"\xd0\xd2\xc9\xd7\xc5\xd4", "привет"),
        ("Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64", b"//4oAPYAKQA=", "(ö)"),
        ("Content-Type: text/plain; charset=utf-16be\nContent-Transfer-Encoding: base64", b"ACgA9gAp", "(ö)"),
        (
            "Content-Type: text/plain; charset=gb2312\nContent-Transfer-Encoding: QUOTED-PRINTABLE",
            b"=D6=D0=CE=C4",
            "中文",
        ),
        ("Content-Type: text/plain; charset=NONE\nContent-Transfer-Encoding: 7-bit", b"Fr\xf6sche", "Frösche"),
        ("Content-Type: text/plain; charset=\"utf-8\"; format=flowed; delsp=yes", "日本 \n語".as_bytes(), "日本語"),
        ("Content-Type: text/html; charset=utf-8", "<p>Größe</p>".as_bytes(), "Größe"),
        ("Content-Type: text/html", b"<meta charset=iso-8859-5><p>\xbf\xe0</p>", "Пр"),
        ("Content-Transfer-Encoding: base64", b"R3L8\xdf!\nZQ==", "Grüe"),
        ("Content-Type: TEXT/PLAIN; CHARSET=US-ASCII", "Größe".as_bytes(), "Größe"),
        ("Content-Type: unknown/type", b"Hello", ""),
    ] {
        assert_eq!(text_of(fields, body), text, "{fields}");
    }
}

#[test]
fn a_gateways_footer_is_part_of_the_text_and_replaces_nothing() {
    let mail = b"From: a@b.c\nContent-Type: multipart/mixed; boundary=\"m\"\n\n--m \nContent-Type: multipart/alternative; boundary=ma\n\n--ma\n\nplain words\n--ma\nContent-Type: text/html\n\n<b>rich words</b>\n--ma--\n--m\nContent-Type: text/html\n\n<i>scanned</i>\n--m\nContent-Type: text/html\n\n<i>twice</i>\n--m--\n";
    let reading = of(mail);
    assert!(["words", "scanned", "twice"].iter().all(|w| reading.text.contains(w)), "{}", reading.text);
    let html = reading.html.unwrap();
    assert!(["rich words", "scanned", "twice"].iter().all(|w| html.contains(w)), "{html}");
    assert!(reading.files.is_empty());
}

#[test]
fn files_are_found_by_every_coding_and_name() {
    let part = |fields: &str, body: &str| {
        let mail = format!(
            "From: a@b.c\nContent-Type: multipart/mixed; boundary=m\n\n--m\n\nHello\n--m\n{fields}\n\n{body}\n--m--\n"
        );
        let reading = of(mail.as_bytes());
        assert_eq!(reading.text.trim(), "Hello", "{fields}");
        let [file] = reading.files.as_slice() else { panic!("{fields}: {:?}", reading.files) };
        (file.name.clone(), file.mime.clone(), file.bytes.clone())
    };
    let found = part(
        "Content-Type: application/octet-stream; name=cat.txt\nContent-Transfer-Encoding: x-uuencode",
        "begin 644 cat.txt\n#0V%T\n`\nend",
    );
    assert_eq!((found.0.as_str(), found.2.as_slice()), ("cat.txt", &b"Cat"[..]));
    let found = part(
        "Content-Type: text/plain; name=\"notes.txt\"\nContent-Disposition: inline; filename*=UTF-8''n%C3%B6tes.txt",
        "n",
    );
    assert_eq!((found.0.as_str(), found.1.as_str()), ("nötes.txt", "text/plain"));
    let found = part(
        "Content-Type: message/rfc822\nContent-Disposition: attachment",
        "Subject: Inner\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\na\n--x\nContent-Disposition: attachment; filename=b.bin\n\nb\n--x--",
    );
    assert_eq!((found.0.as_str(), found.1.as_str()), ("Inner.eml", "message/rfc822"));
    assert!(found.2.starts_with(b"Subject: Inner"));
    let found = part(
        "Content-Type: image/png; name=\"../../x.png\"\nContent-ID: <logo@x>\nContent-Transfer-Encoding: base64",
        "iVBO\nRw==",
    );
    assert_eq!((found.0.as_str(), found.2.as_slice()), ("x.png", &b"\x89PNG"[..]));
}

#[test]
fn a_picture_that_the_page_shows_is_no_listed_file() {
    let part = |fields: &str| format!("--r\nContent-Type: {fields}\n\nx\n");
    let mail = format!(
        "From: a@b.c\nMIME-Version: 1.0\nContent-Type: multipart/related; boundary=r\n\n--r\nContent-Type: text/html\n\n\
         <p>Hello <img src=\"CID:logo%2B1@x\"> <IMG src='cid:a&amp;b@x'><img src=\"cid:bill@x\"><img src=\"cid:none@x\">\
         <a href=\"cid:linked@x\">f</a><img src=\"https://x.example/cid:remote@x\"></p>\n{}{}{}{}{}{}--r--\n",
        part("image/png; name=logo.png\nContent-ID: <logo+1@x>\nContent-Disposition: inline"),
        part("image/gif; name=amp.gif\nContent-ID:  <a&b@x>\nContent-Disposition: attachment"),
        part("application/pdf; name=bill.pdf\nContent-ID: <bill@x>"),
        part("image/png; name=linked.png\nContent-ID: <linked@x>"),
        part("image/png; name=remote.png\nContent-ID: <remote@x>"),
        part("image/jpeg; name=photo.jpg"),
    );
    let reading = of(mail.as_bytes());
    let found: Vec<_> = reading.files.iter().map(|f| (f.name.as_str(), f.content_id.as_deref())).collect();
    let wanted = [
        ("logo.png", Some("logo+1@x")),
        ("amp.gif", Some("a&b@x")),
        // Only pictures are shown: what else is named so would be seen by nobody.
        ("bill.pdf", None),
        ("linked.png", None),
        ("remote.png", None),
        ("photo.jpg", None),
    ];
    assert_eq!(found, wanted, "{:?}", reading.html);
    let events = crate::events::events(mail.as_bytes(), &settings(), super::NOW).events;
    let [switchboard_envelope::Inbound::Message(message)] = events.as_slice() else { panic!("{events:?}") };
    let sent: Vec<_> = message.content.attachments.iter().filter(|a| a.is_sent()).map(|a| a.name.as_str()).collect();
    assert_eq!(sent, ["bill.pdf", "linked.png", "remote.png", "photo.jpg"]);
    let plain = mail.replace("text/html", "text/plain");
    assert!(of(plain.as_bytes()).files.iter().all(|f| f.content_id.is_none()), "no page shows them");
}

#[test]
fn what_cannot_be_read_here_is_kept_whole_and_said() {
    let pgp = b"From: a@b.c\nContent-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=m\n\n--m\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--m\nContent-Type: application/octet-stream; name=encrypted.asc\n\n-----BEGIN PGP MESSAGE-----\n--m--\n";
    let smime = b"From: a@b.c\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\nContent-Transfer-Encoding: base64\n\nMIIB\n";
    for mail in [&pgp[..], smime] {
        let reading = of(mail);
        assert!(reading.encrypted && !reading.files.is_empty());
        let events = crate::events::events(mail, &settings(), super::NOW).events;
        let [switchboard_envelope::Inbound::Message(message)] = events.as_slice() else { panic!("{events:?}") };
        assert!(message.content.text.contains("encrypted"));
    }
}

#[test]
fn reports_are_told_apart() {
    let report = |kind: &str, part: &str, fields: &str| {
        of(format!("From: x@y.example\nTo: support@desk.example\nContent-Type: multipart/report; report-type={kind}; boundary=b\n\n--b\n\nText\n--b\nContent-Type: message/{part}\n\n{fields}\n--b--\n").as_bytes())
    };
    let read = report(
        "disposition-notification",
        "disposition-notification",
        "Final-Recipient: rfc822; ann@x.org\nOriginal-Message-ID: <1@x>\nDisposition: manual-action/MDN-sent-manually; displayed\n",
    );
    assert_eq!((read.kind, read.auto_reply_allowed), (Kind::ReadReceipt, false));
    assert_eq!(read.report.unwrap().original_ids, ["1@x"]);
    let spam = report("feedback-report", "feedback-report", "Feedback-Type: abuse\nOriginal-Rcpt-To: <ann@x.org>\n");
    assert_eq!((spam.kind, spam.report.unwrap().recipients[0].address.as_str()), (Kind::Complaint, "ann@x.org"));
    let late = report(
        "delivery-status",
        "delivery-status",
        "Reporting-MTA: dns; x\n\nFinal-Recipient: RFC822; ann@x.org\nAction: delayed\nStatus: 4.4.0 (other or undefined network or routing status)\n",
    );
    let late = &late.report.unwrap().recipients[0];
    assert_eq!((late.action, late.status.as_str(), late.hard), (Action::Delayed, "4.4.0", false));
    let list = report(
        "delivery-status",
        "delivery-status",
        "Reporting-MTA: dns; x\n\nFinal-Recipient: rfc822; list@x.org\nAction: expanded\nStatus: 2.0.0\n",
    );
    assert_eq!(list.kind, Kind::Delivered);
    let quoted = of(b"From: ann@x.org\nTo: support@desk.example\nSubject: Undeliverable?\n\nI got `550 5.1.1 user unknown` when I wrote to you. What is wrong?\n");
    assert_eq!(quoted.kind, Kind::Message, "a person who speaks of a bounce sends none");
}

#[test]
fn our_own_mail_and_loops_are_never_answered() {
    for fields in [
        "From: Desk <support@desk.example>",
        "From: x@y.example\nX-Switchboard-Loop: corpus",
        "From: support+c-1.2@desk.example",
    ] {
        let reading = of(format!("{fields}\nTo: support@desk.example\nSubject: x\n\nHello\n").as_bytes());
        assert!(reading.automatic && !reading.auto_reply_allowed, "{fields}");
    }
    let person = of(b"From: ann@x.org\nTo: support@desk.example\nSubject: x\n\nHello\n");
    assert!(!person.automatic && person.auto_reply_allowed);
    let hidden = of(b"From: ann@x.org\nTo: others@x.org\nSubject: x\n\nHello\n");
    assert!(!hidden.automatic && !hidden.auto_reply_allowed, "RFC 3834: our address is in neither To nor Cc");
}

#[test]
fn a_text_without_an_empty_line_before_it_is_a_text() {
    assert_eq!(of(b"From: a@x.example\r\nSubject: hi\r\nthe text stands here\r\n").text.trim(), "the text stands here");
    let parts = b"From: a@x.example\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: text/plain\r\nbar\r\n\r\n--m--\r\n";
    assert_eq!(of(parts).text.trim(), "bar");
    let dates = b"From: a@x.example\r\nDate: Tue, 7 Apr 2026 10:00:t <x@x.example>\r\nDate: Tue, 7 Apr 2026 10:00:01 +0000\r\n\r\nhi";
    assert_eq!(of(dates).date.map(|d| d.0), Some(1_775_556_001_000));
}

#[test]
fn bounces_of_old_systems_name_whom_they_are_about_once() {
    let plain = |from: &str, subject: &str, text: &str| {
        let mail = format!("Return-Path: {from}\r\nFrom: gate@x.example\r\nSubject: {subject}\r\n\r\n{text}");
        let reading = of(mail.as_bytes());
        let report = reading.report.unwrap_or_else(|| panic!("{mail}"));
        let named: Vec<String> = report.recipients.iter().map(|r| r.address.clone()).collect();
        (reading.kind, named, report.recipients[0].status.clone())
    };
    let bounce = |address: &str, status: &str| (crate::read::Kind::Bounce, vec![address.to_owned()], status.to_owned());
    let daemon = "<MAILER-DAEMON@x.example>";
    for (subject, text, wanted) in [
        (
            "Mail Not Delivered",
            "Unfortunately, your mail was not delivered to the following address:\n\n<ann@y.example>:\n550 User unknown\n",
            bounce("ann@y.example", ""),
        ),
        (
            "Mail could not be delivered",
            "Received >>> 550 5.1.1 unknown user.\nUnable to deliver message to <ann@y.example>.\n",
            bounce("ann@y.example", "5.1.1"),
        ),
        (
            "Undeliverable: RELEASED thing 2.0.13",
            "RELEASED thing 2.0.13 did not reach SMTP=ann@y.example.\n<mailto:list@y.example>\n",
            bounce("ann@y.example", ""),
        ),
    ] {
        assert_eq!(plain(daemon, subject, text), wanted, "{subject}");
    }
    let group = "Final-Recipient: rfc822; ann@y.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n";
    let report = format!(
        "From: MAILER-DAEMON@x.example\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nno\r\n--b\r\n\
         Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x.example\r\n\r\n{group}{group}{group}--b--\r\n"
    );
    assert_eq!(of(report.as_bytes()).report.map(|r| r.recipients.len()), Some(1));
}

#[test]
fn an_invitation_is_a_persons_and_is_not_acknowledged() {
    let invites = |method: &str| {
        let mail = format!(
            "From: a@b.c\nTo: support@desk.example\nContent-Type: multipart/alternative; boundary=m\n\n--m\n\nCome by?\n--m\n\
             Content-Type: text/calendar; {method}charset=utf-8\n\nBEGIN:VCALENDAR\nEND:VCALENDAR\n--m--\n"
        );
        let reading = of(mail.as_bytes());
        (reading.kind, reading.automatic, reading.auto_reply_allowed)
    };
    for method in ["method=REQUEST; ", "method=CANCEL; ", "method=PUBLISH; "] {
        assert_eq!(invites(method), (Kind::Message, false, false), "{method}");
    }
    assert_eq!(invites("method=REPLY; "), (Kind::Message, true, false), "their calendar says so, not they");
    assert_eq!(invites(""), (Kind::Message, false, true), "a date that came along");
}

#[test]
fn a_list_names_who_wrote_where_it_writes_in_its_own_name() {
    let sender = |fields: &str| {
        let reading = of(format!("{fields}To: support@desk.example\n\nHello").as_bytes());
        reading.sender.map(|s| s.address).unwrap_or_default()
    };
    let group = "From: 'Ann' via Help <help@group.example>\nX-Original-Sender: ann@x.example\n";
    assert_eq!(sender(group), "ann@x.example");
    assert_eq!(sender(&format!("{group}Reply-To: bob@x.example\n")), "bob@x.example", "where an answer is wanted");
    assert_eq!(sender(&group.replace("ann@x.example", "")), "help@group.example");
}
