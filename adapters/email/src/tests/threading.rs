//! Which conversation a mail belongs to, and whose word counts; what becomes of the mails that machines send.

use super::{CONV, NOW, SEND, settings, trusting};
use crate::{
    events::events,
    ids::{OurMail, Tag, Verp},
    read::{Kind, Settings, read},
};
use switchboard_envelope::{ConsentState, Echo, Evidence, Inbound, Message, Receipt, ReceiptStatus};

const ANN: &str = "ann@customer.example";

fn message_with(mail: &str, settings: &Settings) -> Message {
    match events(mail.as_bytes(), settings, NOW).events.as_slice() {
        [Inbound::Message(m)] => (**m).clone(),
        other => panic!("{other:?}"),
    }
}

fn message(mail: &str) -> Message {
    message_with(mail, &trusting())
}

fn our_id(settings: &Settings) -> String {
    OurMail::id(&settings.keys, CONV, SEND, 1, ANN, "desk.example").unwrap()
}

fn mail(from: &str, fields: &str) -> String {
    format!(
        "From: {from}\nTo: support@desk.example\nSubject: Kettle\nMessage-ID: <{}@x>\n{fields}\nHello\n",
        fields.len()
    )
}

#[test]
fn a_customers_mails_share_a_thread_by_their_first_one_and_nobody_elses_do() {
    let first = message(&mail(ANN, "Message-ID: <one@x>\n").replacen("Message-ID: <20@x>\n", "", 1));
    let ours = our_id(&trusting());
    let answer = message(&mail(ANN, &format!("In-Reply-To: <{ours}>\nReferences: <one@x> <{ours}>\n")));
    let changed = message(&mail(ANN, "References: <one@x>\n").replace("Kettle", "Something else"));
    assert_eq!(first.thread, answer.thread);
    assert_eq!(first.thread, changed.thread);
    assert_eq!(answer.meta.get("conversation").map(String::as_str), Some(CONV));
    assert_eq!(answer.references, [ours.clone(), "one@x".into()]);
    let stranger =
        message(&mail("eve@evil.example", &format!("In-Reply-To: <{ours}>\nReferences: <one@x> <{ours}>\n")));
    assert_ne!(first.thread, stranger.thread);
    assert_eq!(stranger.meta.get("conversation"), None, "a Message-ID is no secret");
    assert_eq!(stranger.meta.get("mentions").map(String::as_str), Some(CONV));
    let other = message(&mail(ANN, ""));
    assert_ne!(first.thread, other.thread);
}

#[test]
fn a_tag_leads_to_its_conversation_whoever_answers_and_a_made_up_one_to_none() {
    let address = Tag::address(&trusting().keys, CONV, ANN, "support@desk.example").unwrap();
    let written = |from: &str, address: &str| {
        format!("Delivered-To: {address}\nFrom: {from}\nTo: support@desk.example\n\nHello\n")
    };
    let by = |from: &str, address: &str| {
        let proof = "Authentication-Results: mx.desk.example; dmarc=pass\n";
        message_with(&format!("{proof}{}", written(from, address)), &settings())
    };
    let own = by(ANN, &address);
    assert_eq!((own.meta.get("conversation").map(String::as_str), own.meta.get("participant")), (Some(CONV), None));
    let colleague = by("bob@customer.example", &address.to_uppercase());
    assert_eq!(colleague.meta.get("conversation").map(String::as_str), Some(CONV));
    assert_eq!(colleague.meta.get("participant").map(String::as_str), Some("new"));
    // Where nobody proves who wrote, the tag brings its own customer back, and nobody else in.
    assert_eq!(message(&written(ANN, &address)).meta.get("conversation").map(String::as_str), Some(CONV));
    let anybody = message(&written("bob@customer.example", &address));
    assert_eq!((anybody.meta.get("conversation"), anybody.mail.unwrap().proved), (None, false));
    let forged = by(ANN, &address.replace(CONV, "c0123456789abcdeg"));
    assert_eq!(forged.meta.get("conversation"), None);
    assert_eq!(own.to.unwrap().value, address);
}

#[test]
fn a_sender_who_was_not_proved_acts_by_no_token() {
    let settings = settings();
    let address = Tag::address(&settings.keys, CONV, ANN, "support@desk.example").unwrap();
    let ours = our_id(&settings);
    let with = |result: &str, extra: &str| {
        let mail = format!(
            "Authentication-Results: mx.desk.example; {result}\nFrom: {ANN}\n{extra}To: {address}\nReferences: <one@x> <{ours}>\n\nHello\n"
        );
        message_with(&mail, &settings)
    };
    let proved = with("dmarc=pass header.from=customer.example", "");
    let forged = with("dmarc=fail header.from=customer.example", "");
    assert_eq!((proved.authenticated, proved.meta.get("conversation").map(String::as_str)), (Some(true), Some(CONV)));
    assert_eq!((forged.authenticated, forged.meta.get("conversation")), (Some(false), None));
    assert_ne!(proved.thread, forged.thread, "a forged mail joins nothing by its references either");
    let elsewhere = with("dmarc=pass header.from=customer.example", "Reply-To: victim@bank.example\n");
    assert_eq!((elsewhere.from.value.as_str(), elsewhere.authenticated), ("victim@bank.example", None));
    assert_eq!(elsewhere.meta.get("conversation"), None);
}

#[test]
fn the_same_mail_is_one_event_however_it_comes() {
    let id = |mail: &str| events(mail.as_bytes(), &trusting(), NOW).events[0].id().to_owned();
    let one = "Received: a\nFrom: a@b.c\nTo: support@desk.example\nMessage-ID: <1@x>\n\nHello\n";
    let two = "Received: b\r\nDelivered-To: sales@desk.example\r\nFrom: A <A@b.c>\r\nTo: support@desk.example\r\nMessage-ID: <1@x>\r\n\r\nHello\r\n\r\n";
    assert_eq!(id(one), id(two));
    for other in [one.replace("Hello", "Bye"), one.replace("a@b.c", "e@b.c"), one.replace("<1@x>", "<2@x>")] {
        assert_ne!(id(one), id(&other), "{other}");
    }
    assert_ne!(
        id(&one.replace("Message-ID: <1@x>\n", "Subject: x\n")),
        id(&one.replace("Message-ID: <1@x>\n", "Subject: y\n"))
    );
}

fn bounce(to: &str, returned: &str, status: &str) -> String {
    format!(
        "Return-Path: <>\nDelivered-To: {to}\nFrom: MAILER-DAEMON@mx.example\nTo: {to}\nSubject: Undelivered\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
         --b\n\nIt failed.\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n{status}\n--b\nContent-Type: text/rfc822-headers\n\n{returned}\n--b--\n"
    )
}

const UNKNOWN: &str = "Final-Recipient: rfc822; ann@customer.example\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 no such user\n";

fn receipt(mail: &str) -> Receipt {
    match events(mail.as_bytes(), &settings(), NOW).events.as_slice() {
        [Inbound::Receipt(r)] => r.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bounce_finds_its_mail_by_the_address_it_comes_to_or_by_the_id_it_returns() {
    let settings = settings();
    let verp = Verp::address(&settings.keys, SEND, 1, &[], "support@desk.example").unwrap();
    let ours = our_id(&settings);
    for mail in [
        bounce(&verp, "Subject: x", UNKNOWN),
        bounce("support@desk.example", &format!("Message-ID: <{ours}>"), UNKNOWN),
    ] {
        let receipt = receipt(&mail);
        assert_eq!(
            (receipt.send.as_deref(), receipt.part, receipt.status),
            (Some(SEND), Some(1), ReceiptStatus::Failed)
        );
        assert_eq!(receipt.code.as_deref(), Some("5.1.1"));
        assert_eq!(
            receipt.detail.as_deref(),
            Some("ann@customer.example: the address does not exist (550 5.1.1): 550 5.1.1 no such user")
        );
    }
    let late = receipt(&bounce(&verp, "", "Final-Recipient: rfc822; a@b.c\nAction: delayed\nStatus: 4.2.2\n"));
    assert_eq!(late.status, ReceiptStatus::Accepted);
    let arrived = receipt(&bounce(&verp, "", "Final-Recipient: rfc822; a@b.c\nAction: delivered\nStatus: 2.0.0\n"));
    assert_eq!(arrived.status, ReceiptStatus::Delivered);
}

#[test]
fn a_copy_that_did_not_arrive_is_no_failure_of_the_mail() {
    let verp = Verp::address(&settings().keys, SEND, 1, &[], "support@desk.example").unwrap();
    let returned =
        format!("Message-ID: <{}>\nTo: Ann <{ANN}>\nCc: Bob <Bob@x.example>, c@x.example", our_id(&settings()));
    let bobs = UNKNOWN.replace(ANN, "bob@x.example");
    let copy = receipt(&bounce(&verp, &returned, &bobs));
    assert_eq!((copy.send.as_deref(), copy.status, copy.code.as_deref()), (Some(SEND), ReceiptStatus::Accepted, None));
    let detail = copy.detail.unwrap();
    assert!(detail.starts_with("a copy did not arrive: bob@x.example: the address does not exist"), "{detail}");
    let both = receipt(&bounce(&verp, &returned, &format!("{bobs}\n{UNKNOWN}")));
    assert_eq!(both.status, ReceiptStatus::Failed);
    assert!(both.detail.unwrap().starts_with(ANN));
    // Whoever the report names that we did not copy in may be where the customer's mail is forwarded to.
    let elsewhere = receipt(&bounce(&verp, &returned, &UNKNOWN.replace(ANN, "ann@home.example")));
    assert_eq!(elsewhere.status, ReceiptStatus::Failed);
}

#[test]
fn a_copy_that_comes_back_with_nothing_of_the_mail_is_no_failure_of_it_either() {
    let copies = ["Bob@x.example".to_owned(), "c@x.example".to_owned()];
    let verp = Verp::address(&settings().keys, SEND, 1, &copies, "support@desk.example").unwrap();
    let qmail = |address: &str, more: &str| {
        format!(
            "Return-Path: <>\nFrom: MAILER-DAEMON@mx.example\nTo: {verp}\nSubject: failure notice\n\nHi. This is the qmail-send program.\nI'm afraid I wasn't able to deliver your message.\n\n<{address}>:\n550 5.1.1 no such user\n{more}"
        )
    };
    for (address, status) in [
        ("bob@x.example", ReceiptStatus::Accepted),
        ("C@X.example", ReceiptStatus::Accepted),
        (ANN, ReceiptStatus::Failed),
        // Where it was passed on to, as far as anybody knows.
        ("ann@home.example", ReceiptStatus::Failed),
    ] {
        let found = receipt(&qmail(address, ""));
        assert_eq!((found.send.as_deref(), found.status), (Some(SEND), status), "{address}");
        let copy = found.detail.unwrap().starts_with("a copy did not arrive: ");
        assert_eq!(copy, status == ReceiptStatus::Accepted, "{address}");
    }
    let both = receipt(&qmail("bob@x.example", &format!("\n<{ANN}>:\n550 5.1.1 no such user\n")));
    assert_eq!(both.status, ReceiptStatus::Failed);
}

#[test]
fn a_bounce_without_a_report_finds_its_mail_too() {
    let ours = our_id(&settings());
    let mail = format!(
        "Return-Path: <>\nFrom: MAILER-DAEMON@mx.example\nTo: support@desk.example\nSubject: failure notice\n\nHi. This is the qmail-send program.\nI'm afraid I wasn't able to deliver your message.\n\n<ann@customer.example>:\n552 disk quota exceeded\n\n--- Below this line is a copy of the message.\n\nMessage-ID: <{ours}>\n"
    );
    let receipt = receipt(&mail);
    assert_eq!((receipt.send.as_deref(), receipt.status), (Some(SEND), ReceiptStatus::Failed));
    assert!(receipt.detail.unwrap().starts_with("ann@customer.example: the mailbox is full (552)"));
}

#[test]
fn a_bounce_that_names_none_of_ours_is_a_message_of_a_machine() {
    let found = message_with(&bounce("support@desk.example", "Message-ID: <other@x>", UNKNOWN), &settings());
    assert!(found.automatic);
    assert_eq!(found.meta.get("kind").map(String::as_str), Some("bounce"));
    assert_eq!(found.references, ["other@x"]);
}

#[test]
fn a_read_receipt_and_a_complaint_are_told_of_the_mail_that_they_are_about() {
    let ours = our_id(&settings());
    let report = |kind: &str, part: &str, fields: &str| {
        format!(
            "From: ann@customer.example\nTo: support@desk.example\nContent-Type: multipart/report; report-type={kind}; boundary=b\n\n--b\n\nText\n--b\nContent-Type: message/{part}\n\n{fields}\n\n--b\nContent-Type: text/rfc822-headers\n\nMessage-ID: <{ours}>\nTo: {ANN}\n--b--\n"
        )
    };
    let read = report(
        "disposition-notification",
        "disposition-notification",
        &format!("Original-Message-ID: <{ours}>\nDisposition: manual-action/MDN-sent-manually; displayed"),
    );
    assert_eq!(receipt(&read).status, ReceiptStatus::Read);
    let spam = report("feedback-report", "feedback-report", "Feedback-Type: abuse\nUser-Agent: x\nVersion: 1");
    match events(spam.as_bytes(), &settings(), NOW).events.as_slice() {
        [Inbound::Consent(c)] => assert_eq!((c.address.value.as_str(), c.state), (ANN, ConsentState::OptedOut)),
        other => panic!("{other:?}"),
    }
    let forged = spam.replace(ANN, "victim@bank.example");
    assert!(
        matches!(events(forged.as_bytes(), &settings(), NOW).events.as_slice(), [Inbound::Message(m)] if m.automatic),
        "nobody is silenced by a complaint about another's mail"
    );
    let disproved = format!("Authentication-Results: mx.desk.example; dmarc=fail\n{spam}");
    assert!(matches!(events(disproved.as_bytes(), &settings(), NOW).events.as_slice(), [Inbound::Message(_)]));
    let fine = spam.replace("abuse", "not-spam");
    assert!(matches!(events(fine.as_bytes(), &settings(), NOW).events.as_slice(), [Inbound::Message(_)]));
}

#[test]
fn a_complaint_that_withholds_every_address_is_told_of_its_mail() {
    let settings = settings();
    let verp = Verp::address(&settings.keys, SEND, 1, &[], "support@desk.example").unwrap();
    let report = |to: &str, fields: &str, returned: &str| {
        format!(
            "From: complaints@provider.example\nTo: {to}\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nText\n--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\n{fields}\n--b\nContent-Type: text/rfc822-headers\n\n{returned}\n--b--\n"
        )
    };
    let ours = our_id(&settings);
    for spam in [
        report(&verp, "Original-Rcpt-To: redacted@provider.example\n", "Subject: Kettle"),
        report("support@desk.example", "", &format!("Message-ID: <{ours}>\nTo: <redacted>")),
        report("support@desk.example", "Original-Rcpt-To: redacted\n", &format!("Message-ID: <{ours}>")),
    ] {
        let told = receipt(&spam);
        assert_eq!((told.send.as_deref(), told.status), (Some(SEND), ReceiptStatus::Accepted));
        assert!(told.detail.unwrap().contains("called spam"));
    }
    let of_another = report(&verp, "Original-Rcpt-To: victim@bank.example\n", "Subject: Kettle");
    assert!(matches!(events(of_another.as_bytes(), &settings, NOW).events.as_slice(), [Inbound::Message(_)]));
    let unknown = report("support@desk.example", "", "Subject: Kettle");
    assert!(matches!(events(unknown.as_bytes(), &settings, NOW).events.as_slice(), [Inbound::Message(_)]));
}

#[test]
fn every_notice_to_the_envelope_sender_of_one_mail_is_of_one_thread_and_names_the_mail() {
    let settings = trusting();
    let verp = Verp::address(&settings.keys, SEND, 1, &[], "support@desk.example").unwrap();
    let notice = |n: usize, from: &str| {
        message(&format!(
            "Return-Path: <>\nDelivered-To: {verp}\nFrom: {from}\nTo: {verp}\nSubject: Away\nMessage-ID: <{n}@x>\nAuto-Submitted: auto-replied\n\nI am away.\n"
        ))
    };
    let first = notice(0, ANN);
    assert!(first.automatic);
    let named = first.mail.clone().unwrap().answers.unwrap();
    assert_eq!((named.conversation.as_str(), named.by), (SEND, Evidence::Envelope));
    assert!((1..11).all(|n| notice(n, ANN).thread == first.thread));
    assert_ne!(notice(11, "eve@evil.example").thread, first.thread);
}

#[test]
fn a_wish_to_leave_is_heard_and_silences_only_who_proved_to_be_the_sender() {
    let settings = settings();
    let found = |fields: &str, text: &str, settings: &Settings| {
        let mail = format!("{fields}From: {ANN}\nSubject: Kettle\nMessage-ID: <9@x>\n\n{text}\n");
        let events = events(mail.as_bytes(), settings, NOW).events;
        let Some(Inbound::Message(m)) = events.first() else { panic!("the words are lost: {events:?}") };
        assert_eq!((m.content.text.as_str(), m.automatic), (text, false));
        assert!(m.mail.as_ref().unwrap().no_auto_reply);
        match events.get(1..).unwrap() {
            [] => false,
            [Inbound::Consent(c)] => c.address.value == ANN && c.state == ConsentState::OptedOut,
            other => panic!("{other:?}"),
        }
    };
    let said = |result: &str| format!("Authentication-Results: mx.desk.example; {result}\nTo: support@desk.example\n");
    assert!(found(&said("dmarc=pass"), "Stop", &settings));
    assert!(!found(&said("dmarc=fail"), "Stop", &settings));
    assert!(!found(&said("dmarc=none"), "Unsubscribe.", &settings));
    assert!(!found("To: support@desk.example\n", "Stop", &trusting()), "where nobody can tell, nobody is silenced");
    let answer = format!("{}In-Reply-To: <{}>\n", said("dmarc=pass"), our_id(&settings));
    assert!(!found(&answer, "Stop", &settings), "it may be the order that is to stop");
    let address = Tag::address(&settings.keys, CONV, ANN, "unsubscribe@desk.example").unwrap();
    assert!(found(&format!("To: {address}\n"), "Unsubscribe", &trusting()), "we gave the address to nobody else");
    let disproved = format!("Authentication-Results: mx.desk.example; dmarc=fail\nTo: {address}\n");
    assert!(!found(&disproved, "Unsubscribe", &settings), "whoever saw our mail has the address");
    let others = Tag::address(&settings.keys, CONV, "bob@customer.example", "unsubscribe@desk.example").unwrap();
    assert!(!found(&format!("To: {others}\n"), "Unsubscribe", &trusting()));
    assert!(!found("To: unsubscribe@desk.example\n", "Unsubscribe", &trusting()));
    let text = "From: a@b.c\nTo: support@desk.example\nSubject: Question\n\nHow do I unsubscribe?\n";
    assert_eq!(read(text.as_bytes(), &settings).kind, Kind::Message);
}

#[test]
fn a_person_whose_mail_came_over_a_list_or_a_large_sender_is_a_person() {
    for fields in [
        "Feedback-ID: 1.eu-west-1.x:AmazonSES\n",
        "List-Id: Team <team.desk.example>\n",
        "List-Unsubscribe: <mailto:leave@x.example>\n",
        "Precedence: list\n",
    ] {
        let found = message(&mail(ANN, fields));
        assert_eq!(found.meta.get("kind").map(String::as_str), Some("bulk"), "{fields}");
        assert!(!found.automatic && found.mail.unwrap().no_auto_reply, "{fields}");
    }
    for fields in ["List-Id: Team <team.desk.example>\nAuto-Submitted: auto-replied\n", "Precedence: auto_reply\n"] {
        assert!(message(&mail(ANN, fields)).automatic, "{fields}");
    }
}

fn echo(mail: &str, settings: &Settings) -> Option<Echo> {
    match events(mail.as_bytes(), settings, NOW).events.as_slice() {
        [Inbound::Echo(e)] => Some((**e).clone()),
        [Inbound::Message(m)] => {
            assert!(m.automatic, "our own mail is never answered automatically");
            None
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn our_own_mail_is_known_when_it_comes_back() {
    let settings = settings();
    let ours = our_id(&settings);
    let sent = format!("From: support@desk.example\nTo: {ANN}\nMessage-ID: <{ours}>\nIn-Reply-To: <one@x>\n\nHello\n");
    let seen = echo(&sent, &settings).unwrap();
    assert_eq!((seen.send.as_deref(), seen.part, seen.to.value.as_str()), (Some(SEND), Some(1), ANN));
    let elsewhere =
        format!("From: support@desk.example\nTo: {ANN}\nMessage-ID: <phone@x>\nReferences: <one@x>\n\nHello\n");
    assert_eq!(echo(&elsewhere, &settings), None, "anybody can write our address into a mail");
    let proved = format!("Authentication-Results: mx.desk.example; dmarc=pass\n{elsewhere}");
    let written = echo(&proved, &settings).unwrap();
    assert_eq!(written.send, None);
    let question = message_with(
        &format!(
            "Authentication-Results: mx.desk.example; dmarc=pass\nFrom: {ANN}\nTo: support@desk.example\nMessage-ID: <one@x>\n\nHi\n"
        ),
        &settings,
    );
    assert_eq!(written.thread, question.thread, "it joins the conversation that it answers");
    let looped =
        message_with("From: robot@x.example\nTo: support@desk.example\nX-Switchboard-Loop: corpus\n\nHi\n", &settings);
    assert!(looped.automatic && looped.meta.get("auto_reply").map(String::as_str) == Some("no"));
}
