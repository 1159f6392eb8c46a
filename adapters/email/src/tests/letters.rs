//! What the router says of a send becomes a mail, and what comes back of it is told to the router.

use super::{CONV, NOW, SEND, settings, trusting};
use crate::{
    Email, EmailConfig,
    compose::{self, Identity},
    events,
    header::Headers,
    read::{Settings, read},
};
use switchboard_adapter_sdk::Adapter;
use switchboard_envelope::{
    Address, Answers, Author, Content, Evidence, Inbound, MailContext, MailFacts, Quote, Send, Timestamp,
};

fn identity() -> Identity {
    Identity {
        address: "support@desk.example".into(),
        name: None,
        domain: "desk.example".into(),
        keys: settings().keys,
        instance: "corpus".into(),
        tags: true,
        above_line: false,
        html: true,
        reply_all: false,
        ours: vec![],
        dkim: None,
    }
}

fn send() -> Send {
    let quote = Quote { author: Some("Ann <ann@x.example>".into()), at: NOW, text: "It leaks.".into() };
    let mail = MailContext {
        at: NOW,
        references: vec!["first@x".into(), "second@x".into()],
        quote: Some(quote),
        signature: Some("Kim\nThe desk".into()),
        others: vec![],
        first: None,
        zone: Some("Europe/Paris".into()),
    };
    Send {
        send: SEND.into(),
        part: 1,
        n: 1,
        until: NOW.plus(1),
        channel: "support-email".into(),
        conversation: CONV.into(),
        thread: "mail:x".into(),
        to: Address::new("email", "ann@x.example"),
        content: Content { subject: Some("Re: Kettle".into()), ..Content::text("Try the new seal.") },
        author: Author::Agent { id: "kim".into() },
        reply_to: vec!["third@x".into()],
        traceparent: None,
        mail: Some(Box::new(mail)),
        window_until: None,
    }
}

#[test]
fn what_the_router_knows_of_a_send_is_in_its_mail() {
    let mail = compose::write(&send(), &[], &identity()).unwrap();
    let found = read(&mail.bytes, &settings());
    assert_eq!(found.subject.as_deref(), Some("Re: Kettle"));
    assert_eq!(found.in_reply_to, ["third@x"]);
    assert_eq!(found.references, ["first@x", "second@x", "third@x"]);
    assert_eq!(found.new_text, "Try the new seal.");
    assert_eq!(found.signature.as_deref(), Some("--\nKim\nThe desk"));
    let quoted = "\nOn Sat, 21 Nov 2026 at 23:00 CET, Ann <ann@x.example> wrote:\n> It leaks.";
    assert!(found.text.contains(quoted), "{}", found.text);
    for (zone, moment) in [
        (None, "On Sat, 21 Nov 2026 at 22:00 UTC, "),
        (Some("America/Sao_Paulo"), "On Sat, 21 Nov 2026 at 19:00 UTC-03, "),
        (Some("Asia/Kolkata"), "On Sun, 22 Nov 2026 at 03:30 IST, "),
        (Some("Nowhere/At_All"), "On Sat, 21 Nov 2026 at 22:00 UTC, "),
    ] {
        let context = MailContext { zone: zone.map(str::to_owned), ..*send().mail.unwrap() };
        let there = compose::write(&Send { mail: Some(Box::new(context)), ..send() }, &[], &identity()).unwrap();
        let found = read(&there.bytes, &settings());
        assert!(found.text.contains(moment), "{zone:?}: {}", found.text);
        // Whoever answers above or below it, their program's quote of ours or ours alone is no word of theirs.
        let answer = format!(
            "From: a@b.c\nTo: support@desk.example\n\nIt holds.\n\n{moment}Ann <ann@x.example> wrote:\n> It leaks.\n"
        );
        assert_eq!(read(answer.as_bytes(), &settings()).new_text, "It holds.");
    }
    assert_eq!(found.date, Some(Timestamp(NOW.0 / 1000 * 1000)), "when it was written, and not when it was tried");
    let later = Send { n: 7, until: NOW.plus(86_400_000), ..send() };
    assert_eq!(compose::write(&later, &[], &identity()).unwrap().bytes, mail.bytes, "every attempt is the same mail");
}

/// What a mail with these fields tells the router.
fn facts(fields: &str, settings: &Settings) -> MailFacts {
    let mail =
        format!("{fields}\r\nFrom: Ann <ann@x.example>\r\nMessage-ID: <a@x.example>\r\nSubject: x\r\n\r\nhello\r\n");
    let found = events::events(mail.as_bytes(), settings, NOW).events;
    let [Inbound::Message(message)] = found.as_slice() else { panic!("{found:?}") };
    *message.mail.clone().unwrap()
}

#[test]
fn what_names_a_conversation_is_told_with_what_it_is_worth() {
    let ours = compose::write(&send(), &[], &identity()).unwrap();
    let (headers, _) = Headers::read(&ours.bytes);
    let reply_to = headers.text("reply-to").unwrap();
    let id = format!("<{}>", ours.message_id);
    let to = "To: support@desk.example";
    let named = |by| Some(Answers { conversation: CONV.into(), by });
    for (fields, answers) in [
        (format!("To: {reply_to}\r\nIn-Reply-To: {id}"), named(Evidence::ReplyAddress)),
        (format!("{to}\r\nIn-Reply-To: {id}"), named(Evidence::MessageId)),
        (format!("{to}\r\nReferences: <x@y> {id} <z@y>"), named(Evidence::MessageId)),
        (format!("{to}\r\nSubject: Re: [#{}] Kettle", CONV.to_uppercase()), named(Evidence::Subject)),
        (format!("{to}\r\nIn-Reply-To: {}", id.replace(".1.", ".2.")), None),
        (format!("To: {}", reply_to.replace("+c-c0", "+c-c1")), None),
    ] {
        let found = facts(&fields, &trusting());
        assert_eq!((found.answers, found.believed), (answers, true), "{fields}");
    }
}

#[test]
fn the_original_is_kept_where_something_of_it_is_nowhere_else() {
    let with = |fields: &str, body: &str| {
        let mail = format!("From: ann@x.example\nTo: support@desk.example\n{fields}\n{body}");
        let found = events::events(mail.as_bytes(), &trusting(), NOW).events;
        let [Inbound::Message(message)] = found.as_slice() else { panic!("{found:?}") };
        let raw = message.raw.clone().unwrap();
        assert_eq!(raw.inline.is_none(), message.mail.as_ref().unwrap().original.is_some(), "listed ones are blobs");
        message.mail.as_ref().unwrap().original.map(|size| (size, mail.len() as u64))
    };
    let kept = |found: Option<(u64, u64)>| found.is_some_and(|(size, whole)| size == whole);
    assert_eq!(with("", "It leaks.\n\n\nStill.\n"), None);
    assert!(kept(with("", "It leaks.\n\nOn 1 May 2026, Desk <support@desk.example> wrote:\n> Try this.\n")), "a quote");
    assert!(kept(with("", "It leaks.\n-- \nAnn\n")), "a signature");
    assert!(kept(with("Content-Type: text/html\n", "<p>It <b>leaks</b>.</p>")), "how it looks");
    let files = (0..150).map(|i| format!("--a\nContent-Type: image/png; name={i}.png\n\nx\n")).collect::<String>();
    assert!(kept(with("Content-Type: multipart/mixed; boundary=a\n", &format!("{files}--a--\n"))), "too many files");
    assert!(kept(with("", &"words ".repeat(30_000))), "a long text");
}

#[test]
fn one_that_is_sent_again_in_doubt_is_the_same_mail_with_bounces_of_its_own() {
    let first = compose::write(&send(), &[], &identity()).unwrap();
    let mut again = Send { send: "m0000000000000002".into(), ..send() };
    let other = compose::write(&again, &[], &identity()).unwrap();
    assert_ne!(other.message_id, first.message_id);
    again.mail.as_mut().unwrap().first = Some(send().send);
    let repeated = compose::write(&again, &[], &identity()).unwrap();
    assert_eq!((repeated.message_id, &repeated.from), (first.message_id, &other.from));
}

#[test]
fn whom_a_mail_openly_went_to_is_told_and_never_who_got_a_blind_copy() {
    let others = |fields: &str| -> Vec<String> {
        facts(fields, &trusting())
            .others
            .into_iter()
            .map(|a| a.name.map_or(a.value.clone(), |n| format!("{n} {}", a.value)))
            .collect()
    };
    let mail = "Delivered-To: support@desk.example\r\nX-Original-To: hidden@x.example\r\nX-Forwarded-For: f@x.example\r\n\
        Bcc: secret@x.example\r\nTo: Sales <SALES+x@desk.example>, Bob <Bob@X.example>, bob@x.example\r\n\
        Cc: support@desk.example, \"C, D\" <cd@b\u{fc}cher.example>, ann@x.example, not an address";
    assert_eq!(others(mail), ["Bob bob@x.example", "C, D cd@xn--bcher-kva.example"]);
    let crowd: Vec<String> = (0..21).map(|n| format!("p{n}@x.example")).collect();
    assert_eq!(others(&format!("To: support@desk.example, {}", crowd[..20].join(", "))).len(), 20);
    assert_eq!(others(&format!("To: support@desk.example, {}", crowd.join(", "))), [""; 0], "a crowd");
    for machine in ["Auto-Submitted: auto-replied", "List-Id: <l.x.example>"] {
        assert_eq!(others(&format!("To: support@desk.example, bob@x.example\r\n{machine}")), [""; 0], "{machine}");
    }
}

fn copied(others: &[&str]) -> Send {
    let others = others.iter().map(|o| Address { name: Some("A, B".into()), ..Address::new("email", *o) }).collect();
    let mail = MailContext { others, ..*send().mail.unwrap() };
    Send { mail: Some(Box::new(mail)), ..send() }
}

fn addresses(mails: &[lettre::Address]) -> Vec<String> {
    mails.iter().map(ToString::to_string).collect()
}

#[test]
fn an_answer_to_all_is_copied_to_those_who_are_not_us_and_only_where_the_channel_says_so() {
    let all = Identity {
        reply_all: true,
        ours: vec!["support@desk.example".into(), "sales@desk.example".into()],
        ..identity()
    };
    let send = copied(&[
        "bob@x.example",
        "Ann@X.example",
        "sales+t@desk.example",
        "a\r\nBcc: e@x.example",
        "BOB@x.example",
        "c@b\u{fc}cher.example",
    ]);
    let mail = compose::write(&send, &[], &all).unwrap();
    assert_eq!(addresses(&mail.cc), ["bob@x.example", "c@xn--bcher-kva.example"]);
    assert_eq!(addresses(mail.envelope().unwrap().to()), ["ann@x.example", "bob@x.example", "c@xn--bcher-kva.example"]);
    let found = read(&mail.bytes, &settings());
    let shown: Vec<&str> = found.cc.iter().map(|m| m.address.as_str()).collect();
    assert_eq!((shown, found.to.len()), (vec!["bob@x.example", "c@xn--bcher-kva.example"], 1));
    assert_eq!(found.cc[0].name.as_deref(), Some("A, B"));
    assert!(!String::from_utf8_lossy(&mail.bytes).to_lowercase().contains("bcc"));
    let machine = Send { author: Author::Auto { rule: "r".into() }, ..send.clone() };
    for (send, identity) in [(&send, &identity()), (&machine, &all)] {
        let alone = compose::write(send, &[], identity).unwrap();
        assert!(alone.cc.is_empty() && Headers::read(&alone.bytes).0.text("cc").is_none());
        assert!(!String::from_utf8_lossy(&alone.bytes).contains("bob@"), "nobody else is named");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
    #[test]
    fn a_mail_names_nobody_but_its_customer_us_and_whom_that_customer_wrote_to(
        others in proptest::collection::vec("[a-c]{1,2}@[xy]\\.example|[ -~]{0,20}|support\\+[a-z]{1,3}@desk\\.example", 0..8), reply_all: bool, by_rule: bool,
    ) {
        let identity = Identity { reply_all, ours: vec!["support@desk.example".into()], ..identity() };
        let named: Vec<&str> = others.iter().map(String::as_str).collect();
        let mut send = copied(&named);
        if by_rule {
            send.author = Author::Auto { rule: "r".into() };
        }
        let mail = compose::write(&send, &[], &identity).unwrap();
        let found = read(&mail.bytes, &settings());
        let shown: Vec<String> = found.cc.iter().map(|m| m.address.clone()).collect();
        proptest::prop_assert_eq!(&addresses(&mail.cc), &shown, "who gets it is who is shown");
        for copy in &shown {
            proptest::prop_assert!(reply_all && !by_rule && others.contains(copy) && !copy.ends_with("desk.example"));
        }
        proptest::prop_assert_eq!(found.to.len(), 1);
        proptest::prop_assert_eq!(mail.to.to_string(), "ann@x.example");
    }
}

#[test]
fn a_domain_beyond_ascii_is_one_however_it_is_spelled() {
    let from = |from: &str| {
        let mail = format!("From: Ann <{from}>\r\nTo: support@desk.example\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n");
        match events::events(mail.as_bytes(), &trusting(), NOW).events.as_slice() {
            [Inbound::Message(m)] => (m.from.value.clone(), m.thread.clone(), m.id.clone()),
            other => panic!("{other:?}"),
        }
    };
    let plain = from("ann@xn--bcher-kva.example");
    assert_eq!(plain.0, "ann@xn--bcher-kva.example");
    for spelled in
        ["ann@b\u{fc}cher.example", "Ann@B\u{dc}CHER.example", "ann@bu\u{308}cher.example", "ann@XN--BCHER-KVA.example"]
    {
        assert_eq!(from(spelled), plain, "{spelled}");
    }
    let to = Send { to: Address::new("email", "ann@b\u{fc}cher.example"), ..send() };
    let mail = compose::write(&to, &[], &identity()).unwrap();
    assert_eq!(mail.to.to_string(), "ann@xn--bcher-kva.example");
    assert!(mail.bytes.is_ascii(), "no server needs SMTPUTF8 for it");
}

#[test]
fn who_is_not_proved_is_not_believed_and_a_list_wants_no_answer() {
    let proved =
        "Authentication-Results: mx.desk.example; dmarc=pass header.from=x.example\r\nTo: support@desk.example";
    assert!(facts(proved, &settings()).believed);
    for forged in [
        "To: support@desk.example",
        "Authentication-Results: mx.desk.example; dmarc=fail header.from=x.example\r\nTo: support@desk.example",
        "Authentication-Results: mx.elsewhere.example; dmarc=pass header.from=x.example\r\nTo: support@desk.example",
    ] {
        assert!(!facts(forged, &settings()).believed, "{forged}");
    }
    let list = facts("To: support@desk.example\r\nList-Id: <news.x.example>", &trusting());
    let person = facts("To: support@desk.example", &trusting());
    assert_eq!((list.no_auto_reply, person.no_auto_reply), (true, false));
}

#[test]
fn a_mail_is_signed_where_the_channel_has_a_key() {
    let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let key = switchboard_adapter_sdk::signature::to_base64(&[&head[..], &[5; 32]].concat());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
    let dkim = crate::dkim::Signer::new("desk.example", "s1", &pem).unwrap();
    let bare = compose::write(&send(), &[], &identity()).unwrap();
    let signed = compose::write(&send(), &[], &Identity { dkim: Some(dkim), ..identity() }).unwrap();
    let text = String::from_utf8(signed.bytes).unwrap();
    assert!(text.starts_with("DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=desk.example;"), "{text}");
    assert!(text.contains(&format!("t={};", NOW.0 / 1000)) && text.ends_with(&String::from_utf8(bare.bytes).unwrap()));
}

#[test]
fn a_channel_is_one_of_letters_that_waits_for_days_and_hands_in_where_it_can() {
    let server = crate::Server {
        host: "smtp.desk.example".into(),
        port: 587,
        tls: crate::Tls::StartTls,
        account: None,
        ca: None,
    };
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
        smtp: Some(server),
        reply_all: false,
        dkim: None,
    };
    let without = Email::new("mail", EmailConfig { smtp: None, ..config.clone() }, &[7; 32]);
    let with = Email::new("mail", config, &[7; 32]);
    assert!(with.transport().is_some() && without.transport().is_none());
    let profile = with.profile();
    assert!(profile.mail && profile.proactive && profile.not_after_ms == 4 * 86_400_000);
    let refused = without.encode(&send()).err().unwrap();
    assert!(refused.detail.unwrap().contains("no `smtp` configured"));
}
