use super::NOW;
use crate::{
    Email, EmailConfig,
    config::Mark,
    delivery::{Delivered, Protocol, with_trace},
    events::{MAX_MAIL, WHOLE_SIZE},
};
use bytes::Bytes;
use switchboard_adapter_sdk::{Adapter, signature::to_base64};
use switchboard_envelope::{Address, ChannelProfile, Choice, Inbound, chosen};

fn channel() -> Email {
    let config = EmailConfig {
        address: "support@desk.example".into(),
        name: None,
        ours: vec!["support@desk.example".into()],
        plus_addresses: true,
        reply_line: false,
        html: true,
        trusted: vec![],
        boundary: vec![],
        max_mail: 1024,
        imap: None,
        delivery: None,
        smtp: None,
        reply_all: false,
        dkim: None,
    };
    assert_ne!(Mark::Keyword, Mark::Seen);
    Email::new("mail", config, &[7; 32])
}

const MAIL: &str = "From: Ann <ann@x.example>\r\nTo: support@desk.example\r\nSubject: photos\r\nMessage-ID: <1@x.example>\r\n\
    MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsee both\r\n\
    --b\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=a.png\r\n\r\nAAAA\r\n--b\r\n\
    Content-Type: text/csv\r\nContent-Disposition: attachment; filename=b.csv\r\n\r\n1,2,3\r\n--b--\r\n";

#[test]
fn a_letter_takes_half_of_what_a_chat_takes_of_an_agent() {
    assert_eq!((channel().profile().cost, ChannelProfile::new("webchat", "visitor").cost), (50, 100));
}

#[test]
fn files_come_in_the_order_of_the_attachments_that_name_them() {
    let opened = channel().read(MAIL.as_bytes(), NOW);
    let [Inbound::Message(message)] = opened.events.as_slice() else { panic!("{:?}", opened.events) };
    assert_eq!(message.content.text, "see both");
    let named: Vec<_> = message.content.attachments.iter().map(|a| (a.name.as_str(), a.size)).collect();
    assert_eq!(named, [("a.png", 4), ("b.csv", 5)]);
    let files: Vec<_> = opened.files.iter().map(|f| f.as_ref()).collect();
    assert_eq!(files, [b"AAAA".as_slice(), b"1,2,3"]);
}

#[test]
fn a_number_above_a_quote_and_a_signature_is_a_choice() {
    let choice = |id: &str| Choice { id: id.into(), label: Some(format!("The {id} one")) };
    let offered = [choice("red"), choice("blue")];
    let quote = "On Mon, 23 Nov 2026 at 10:00, Shop <support@desk.example> wrote:\r\n> Which one would you like?\r\n>\r\n\
        > 1. The red one\r\n> 2. The blue one\r\n";
    for said in [
        format!("2\r\n\r\n{quote}"),
        format!("2.\r\n\r\n-- \r\nAnn Lee\r\nSales, Example Ltd\r\n\r\n{quote}"),
        format!("the blue one\r\n\r\nSent from my iPhone\r\n\r\n{quote}"),
        format!("{quote}\r\n2\r\n"),
    ] {
        let mail = format!(
            "From: Ann <ann@x.example>\r\nTo: support@desk.example\r\nSubject: Re: your order\r\n\
             Message-ID: <2@x.example>\r\nIn-Reply-To: <1@desk.example>\r\nContent-Type: text/plain\r\n\r\n{said}"
        );
        let opened = channel().read(mail.as_bytes(), NOW);
        let [Inbound::Message(message)] = opened.events.as_slice() else { panic!("{:?}", opened.events) };
        let text = &message.content.text;
        assert_eq!(chosen(text, &offered).map(|c| c.id.as_str()), Some("blue"), "{text:?} of {said:?}");
    }
}

#[test]
fn a_quarantined_mail_is_read_again_with_its_files() {
    let channel = channel();
    let refused = channel.refused(MAIL.as_bytes(), "the log says no", NOW);
    let [Inbound::Unparsed(held)] = refused.events.as_slice() else { panic!("{:?}", refused.events) };
    assert_eq!(held.reason, "the log says no");
    assert_eq!(held.raw.inline.as_deref(), Some(to_base64(MAIL.as_bytes()).as_str()));
    let opened = channel.reopen(&held.raw, Bytes::from_static(MAIL.as_bytes()), NOW);
    assert_eq!(opened, channel.read(MAIL.as_bytes(), NOW));
    assert_eq!(opened.files.len(), 2);
}

#[test]
fn a_mail_that_is_too_large_says_what_is_missing_and_stays_it() {
    let channel = channel();
    let head = b"From: Bob <bob@x.example>\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n\r\n";
    let held = channel.too_large(head, 99_000_000, NOW);
    let Inbound::Unparsed(u) = &held else { panic!("{held:?}") };
    assert_eq!(
        u.reason,
        "the mail has 99000000 bytes, and max_mail is 1024: its head alone is kept. From bob@x.example, subject café"
    );
    assert_eq!(u.raw.meta.get(WHOLE_SIZE).map(String::as_str), Some("99000000"));
    let again = channel.reopen(&u.raw, Bytes::from_static(head), NOW);
    assert_eq!(again.events, std::slice::from_ref(&held), "its head alone makes no message");
    assert_ne!(channel.too_large(head, 99_000_001, NOW).id(), held.id());
}

#[test]
fn a_mail_that_its_server_keeps_is_named_and_stays_quarantined() {
    let channel = channel();
    let held = channel.not_given("mail 7 of INBOX (UIDVALIDITY 3)", "NO it is broken", NOW);
    let Inbound::Unparsed(u) = &held else { panic!("{held:?}") };
    assert!(u.reason.starts_with("mail 7 of INBOX (UIDVALIDITY 3): NO it is broken. "), "{}", u.reason);
    let again = channel.reopen(&u.raw, Bytes::from_static(b"mail 7 of INBOX (UIDVALIDITY 3)"), NOW);
    assert_eq!(again.events, std::slice::from_ref(&held), "its name makes no message");
}

#[test]
fn two_channels_of_a_workspace_sign_with_different_keys() {
    let one = channel();
    let other = Email::new("sales", one.config().clone(), &[7; 32]);
    assert_ne!(one.identity().instance, other.identity().instance);
    let same = Email::new("mail", one.config().clone(), &[7; 32]);
    assert_eq!(one.identity().instance, same.identity().instance, "a restart changes nothing");
}

const KEY: [u8; 32] = [7; 32];

fn named(address: &str) -> EmailConfig {
    EmailConfig { address: address.into(), ours: vec![address.into()], ..channel().config().clone() }
}

/// Two mailboxes of one shop, each beside the other.
fn pair() -> [Email; 2] {
    let (support, sales) = (named("support@desk.example"), named("sales@desk.example"));
    let all = [("mail", &support), ("sales", &sales)];
    all.map(|(id, config)| Email::new(id, config.clone(), &KEY).beside(all, &KEY))
}

/// What both mailboxes make of a mail: its channel, and the conversation's thread.
fn taken(mail: &str) -> (String, String) {
    let both = pair().map(|channel| channel.read(mail.as_bytes(), NOW));
    assert_eq!(both[0], both[1], "each copy is the same event, under one id");
    let [event] = both[0].events.as_slice() else { panic!("{both:?}") };
    match event {
        Inbound::Message(m) => (m.channel.clone(), m.thread.clone()),
        other => (other.channel().to_owned(), other.kind().to_owned()),
    }
}

#[test]
fn one_mail_to_several_of_our_addresses_is_one_message_of_the_right_channel() {
    let mail = |to: &str, more: &str| {
        format!(
            "From: Ann <ann@x.example>\r\n{to}\r\n{more}Subject: help\r\nMessage-ID: <1@x.example>\r\n\r\nHello\r\n"
        )
    };
    for (to, channel) in [
        ("To: support@desk.example, sales@desk.example", "mail"),
        ("To: Sales <sales@desk.example>, support@desk.example", "sales"),
        ("To: bob@x.example\r\nCc: sales@desk.example, support@desk.example", "sales"),
        ("Cc: sales@desk.example\r\nTo: support+news@desk.example", "mail"),
    ] {
        assert_eq!(taken(&mail(to, "")).0, channel, "{to}");
    }
    // A blind copy belongs to whoever got it.
    let blind = mail("To: undisclosed-recipients:;", "");
    let [support, sales] = pair().map(|channel| channel.read(blind.as_bytes(), NOW));
    assert_eq!((support.events[0].channel(), sales.events[0].channel()), ("mail", "sales"));
}

#[test]
fn an_answer_goes_to_the_channel_that_it_answers_whoever_else_gets_it() {
    let [_, sales] = pair();
    let keys = &sales.identity().keys;
    let (conv, send) = (super::CONV, super::SEND);
    let id = crate::ids::OurMail::id(keys, conv, send, 1, "ann@x.example", "desk.example").unwrap();
    let tagged = crate::ids::Tag::address(keys, conv, "ann@x.example", "sales@desk.example").unwrap();
    let mail = |from: &str, to: &str, more: &str| {
        format!("From: {from}\r\nTo: {to}\r\n{more}\r\nSubject: Re: help\r\nMessage-ID: <2@x.example>\r\n\r\nYes\r\n")
    };
    let answers = format!("In-Reply-To: <{id}>");
    let both = format!("support@desk.example, {tagged}");
    assert_eq!(taken(&mail("ann@x.example", &both, "X-A: b")).0, "sales", "by its reply address");
    assert_eq!(taken(&mail("ann@x.example", "support@desk.example", &answers)).0, "sales", "by what it answers");
    // An id is no secret: it moves nobody's mail but its own reader's.
    assert_eq!(taken(&mail("eve@x.example", "support@desk.example", &answers)).0, "mail");
    // Our own mail with a copy to ourselves is known wherever it comes.
    let own = format!(
        "From: sales@desk.example\r\nTo: ann@x.example\r\nCc: support@desk.example\r\nMessage-ID: <{id}>\r\n\r\nHi\r\n"
    );
    assert_eq!(taken(&own), ("sales".to_owned(), "echo".to_owned()));
}

#[test]
fn mailboxes_that_are_told_of_senders_by_others_rules_keep_their_own() {
    let told = EmailConfig { trusted: vec!["mx.desk.example".into()], ..named("support@desk.example") };
    let sales = named("sales@desk.example");
    let all = [("mail", &told), ("sales", &sales)];
    let mail = b"From: ann@x.example\r\nTo: support@desk.example, sales@desk.example\r\n\r\nHello\r\n";
    for (id, config) in all {
        let opened = Email::new(id, config.clone(), &KEY).beside(all, &KEY).read(mail, NOW);
        assert_eq!(opened.events[0].channel(), id);
    }
}

#[test]
fn what_is_no_address_is_refused_at_once() {
    let channel = channel();
    assert_eq!(channel.reaches(&Address::new("email", "ann@x.example")), Ok(()));
    assert!(channel.reaches(&Address::new("email", "ann")).is_err_and(|e| e.contains("ann@example.org")));
}

#[test]
fn each_mail_without_an_author_is_somebody_elses() {
    let from = |mail: &str| match channel().read(mail.as_bytes(), NOW).events.as_slice() {
        [Inbound::Message(message)] => (message.from.value.clone(), message.thread.clone()),
        other => panic!("{other:?}"),
    };
    let (one, other) = (from("To: support@desk.example\n\nHello"), from("To: support@desk.example\n\nGood day"));
    assert!(one.0 != other.0 && one.1 != other.1 && one.0.ends_with("@invalid"), "{one:?} {other:?}");
    assert_eq!(from("To: support@desk.example\r\n\r\nHello\r\n"), one, "the same mail is the same person's");
}

#[test]
fn what_is_handed_over_can_be_read_with_the_lines_that_say_how_it_came() {
    let config = EmailConfig { max_mail: MAX_MAIL, ..channel().config().clone() };
    let channel = Email::new("mail", config, &[7; 32]);
    let rules = channel.rules(Protocol::Lmtp);
    let long = |n: usize| format!("{}@{}", "a".repeat(64), format!("{n:03}").repeat(80));
    let delivered = Delivered {
        from: long(0),
        to: (0..100).map(long).collect(),
        helo: "a".repeat(255),
        mail: [b"From: a@b.example\r\n\r\n".as_slice(), &vec![b'x'; rules.max_mail - 21]].concat(),
    };
    assert_eq!(delivered.mail.len(), rules.max_mail);
    let mail = with_trace(&delivered, "192.0.2.7", Protocol::Lmtp, "desk.example", "Sun, 22 Nov 2026 10:00:00 +0000");
    let opened = channel.read(&mail, NOW);
    assert!(matches!(opened.events.as_slice(), [Inbound::Message(_)]), "{}", mail.len());
}

#[test]
fn a_mail_was_not_written_long_after_it_came() {
    let at = |date: &str| {
        let mail = format!("From: a@b.example\r\nDate: {date}\r\n\r\nHello");
        match channel().read(mail.as_bytes(), NOW).events.as_slice() {
            [Inbound::Message(message)] => message.at,
            other => panic!("{other:?}"),
        }
    };
    let before = at("Sat, 21 Nov 2026 10:00:00 +0000");
    assert!(before < NOW && before.plus(86_400_000) > NOW);
    for date in ["Sat, 21 Nov 2037 10:00:00 +0000", "Mon, 1 Jan 1900 00:00:00 +0000", "yesterday", ""] {
        assert_eq!(at(date), NOW, "{date}");
    }
}
