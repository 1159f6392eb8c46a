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
    }
}

fn send() -> Send {
    let quote = Quote { author: Some("Ann <ann@x.example>".into()), at: NOW, text: "It leaks.".into() };
    let mail = MailContext {
        at: NOW,
        references: vec!["first@x".into(), "second@x".into()],
        quote: Some(quote),
        signature: Some("Kim\nThe desk".into()),
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
    assert!(found.text.contains("Ann <ann@x.example> wrote:\n> It leaks."), "{}", found.text);
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
        trusted: vec![],
        max_mail: 1024,
        imap: None,
        delivery: None,
        smtp: Some(server),
    };
    let without = Email::new("mail", EmailConfig { smtp: None, ..config.clone() }, &[7; 32]);
    let with = Email::new("mail", config, &[7; 32]);
    assert!(with.transport().is_some() && without.transport().is_none());
    let profile = with.profile();
    assert!(profile.mail && profile.proactive && profile.not_after_ms == 4 * 86_400_000);
    let refused = without.encode(&send()).err().unwrap();
    assert!(refused.detail.unwrap().contains("no `smtp` configured"));
}
