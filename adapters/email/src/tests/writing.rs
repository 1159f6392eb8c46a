//! What we write is read back as it was meant, whatever anybody wrote into it.

use super::{CONV, NOW, SEND, settings};
use crate::{
    address,
    compose::{Identity, Mail, Parent, Refused, compose},
    fixtures,
    header::Headers,
    ids::{OurMail, Tag, Verp},
    read::{self, read},
    tests::jwz,
};
use proptest::prelude::*;
use switchboard_envelope::{Address, Attachment, Author, Content, Send, Timestamp};

fn identity() -> Identity {
    Identity {
        address: "support@desk.example".into(),
        name: Some("Desk, Support".into()),
        domain: "desk.example".into(),
        keys: settings().keys,
        instance: "corpus".into(),
        tags: true,
        above_line: true,
        reply_all: false,
        ours: vec![],
        dkim: None,
    }
}

fn send(text: &str) -> Send {
    Send {
        send: SEND.into(),
        part: 1,
        n: 1,
        until: NOW,
        channel: "support-email".into(),
        conversation: CONV.into(),
        thread: "mail:x".into(),
        to: Address { kind: "email".into(), value: "ann@customer.example".into(), name: Some("Ann".into()) },
        content: Content::text(text),
        author: Author::Agent { id: "kim".into() },
        reply_to: vec!["one@x".into()],
        traceparent: None,
        mail: None,
        window_until: None,
    }
}

fn written(send: &Send, parent: &Parent, files: &[Vec<u8>]) -> Mail {
    compose(send, parent, files, Some("Kim\nDesk"), &identity(), NOW).unwrap()
}

const FIELDS: &[&str] = &[
    "from",
    "to",
    "subject",
    "date",
    "message-id",
    "x-switchboard-loop",
    "in-reply-to",
    "references",
    "reply-to",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "auto-submitted",
    "x-auto-response-suppress",
    "precedence",
];

#[test]
fn an_answer_carries_what_brings_its_answer_back() {
    let parent = Parent {
        message_id: Some("two@x".into()),
        references: vec!["one@x".into()],
        subject: Some("AW: Re: Kettle".into()),
        author: Some("Ann <ann@customer.example>".into()),
        at: Some(NOW),
        text: Some("It leaks.\n> Earlier".into()),
        ..Parent::default()
    };
    let mail = written(&send("Try the new seal."), &parent, &[]);
    let keys = &identity().keys;
    let (headers, _) = Headers::read(&mail.bytes);
    let reading = read(&mail.bytes, &settings());
    assert_eq!(reading.subject.as_deref(), Some("Re: Kettle"));
    assert_eq!(
        (reading.in_reply_to.as_slice(), reading.references.as_slice()),
        (&["two@x".to_owned()][..], &["one@x".to_owned(), "two@x".into()][..])
    );
    assert_eq!(reading.message_id.as_deref(), Some(mail.message_id.as_str()));
    assert!(OurMail::read(keys, &mail.message_id).unwrap().was_for(keys, "ann@customer.example"));
    let answers = address::of(&headers, "reply-to").remove(0);
    assert_eq!(answers.name.as_deref(), Some("Desk, Support"));
    assert_eq!(Tag::read(keys, address::detail(&answers.address).unwrap().1.unwrap()).unwrap().conversation, CONV);
    let bounces = mail.from.to_string();
    assert_eq!(Verp::read(keys, address::detail(&bounces).unwrap().1.unwrap()).unwrap().send, SEND);
    assert_eq!(reading.new_text, "Try the new seal.");
    assert_eq!(reading.signature.as_deref(), Some("--\nKim\nDesk"));
    assert!(reading.text.contains("> It leaks.\n>> Earlier"), "{}", reading.text);
    assert!(!headers.has("auto-submitted"));
    let text = String::from_utf8(mail.bytes).unwrap();
    assert!(text.lines().all(|line| line.len() <= 998), "{text}");
}

#[test]
fn a_page_has_below_it_all_that_the_text_has_below_its_own_words() {
    let parent = Parent { text: Some("It leaks.".into()), author: Some("Ann".into()), ..Parent::default() };
    for text in ["One\r\ntwo\r\nthree\r\nfour\r\n", "One\ntwo", "One\rtwo\0\0\0\r"] {
        let mut send = send(text);
        send.content.html = Some("<p>One two</p>".into());
        let reading = read(&written(&send, &parent, &[]).bytes, &settings());
        let page = crate::html::read(reading.html.as_deref().unwrap(), true).text;
        assert!(page.starts_with("One two\n\n\n--\nKim\nDesk\n"), "{text:?}: {page:?}");
        assert!(page.contains("##- Please write above") && page.contains("Ann wrote:\n> It leaks."), "{page:?}");
    }
}

#[test]
fn the_lines_of_a_file_are_no_lines_of_the_mail() {
    for bytes in [&b"a\nb\n"[..], b"a\r\nb\r", b"\0\n", b".\n", b""] {
        let mut one = send("Hello");
        one.content.attachments =
            vec![Attachment { name: "a.csv".into(), mime: "text/csv".into(), ..Attachment::default() }];
        let mail = written(&one, &Parent::default(), &[bytes.to_vec()]);
        assert!(mail.bytes.split_inclusive(|b| *b == b'\n').all(|line| line.ends_with(b"\r\n")), "{bytes:?}");
        assert_eq!(read(&mail.bytes, &settings()).files[0].bytes, bytes, "and the file is the same");
    }
}

#[test]
fn every_attempt_is_the_same_mail() {
    let file = Attachment { name: "seal.pdf".into(), mime: "application/pdf".into(), ..Attachment::default() };
    let mut first = send("Hello");
    first.content.html = Some("<p>Hello</p>".into());
    first.content.attachments = vec![file];
    let again = Send { n: 2, ..first.clone() };
    let files = [vec![1, 2, 3]];
    assert_eq!(written(&first, &Parent::default(), &files).bytes, written(&again, &Parent::default(), &files).bytes);
}

#[test]
fn an_automatic_answer_says_that_it_is_one() {
    let auto = Send { author: Author::Auto { rule: "r".into() }, ..send("We are closed.") };
    let (headers, _) = Headers::read(&written(&auto, &Parent::default(), &[]).bytes);
    assert_eq!(
        (headers.word("auto-submitted"), headers.word("x-auto-response-suppress")),
        ("auto-replied".into(), "all".into())
    );
    let notice = Send { reply_to: vec![], ..auto };
    let mail = written(&notice, &Parent::default(), &[]);
    let (headers, _) = Headers::read(&mail.bytes);
    assert_eq!((headers.word("auto-submitted"), headers.has("references")), ("auto-generated".into(), false));
    // Another desk like ours does not answer it.
    let theirs = read::Settings {
        addresses: vec!["ann@customer.example".into()],
        instance: "theirs".into(),
        keys: crate::ids::Keys::new(&[]),
        ..settings()
    };
    let reading = read(&mail.bytes, &theirs);
    assert!(reading.automatic && !reading.auto_reply_allowed);
}

#[test]
fn the_corpus_of_answers_is_met() {
    let mut met = 0;
    for file in fixtures::names("", ".eml") {
        let wanted = fixtures::json(&file.replace(".eml", ".expected.json"));
        let wanted = &wanted["upstream"];
        if wanted["reply_references"].is_null() {
            continue;
        }
        let reading = read(&fixtures::bytes(&file), &settings());
        let parent = Parent {
            message_id: reading.message_id,
            in_reply_to: reading.in_reply_to,
            references: reading.references,
            subject: reading.subject,
            ..Parent::default()
        };
        let answer = read(&written(&send("Hello"), &parent, &[]).bytes, &settings());
        assert_eq!(serde_json::json!(answer.in_reply_to), wanted["reply_in_reply_to"], "{file}");
        assert_eq!(serde_json::json!(answer.references), wanted["reply_references"], "{file}");
        assert_eq!(answer.subject.as_deref(), wanted["reply_subject"].as_str(), "{file}");
        met += 1;
    }
    println!("{met} answers as expected");
    assert!(met > 0);
}

#[test]
fn a_long_conversation_keeps_its_first_id_and_the_last_ones() {
    let parent = Parent {
        message_id: Some("last@x".into()),
        references: (0..200).map(|i| format!("{i}@x")).collect(),
        ..Parent::default()
    };
    let reading = read(&written(&send("Hello"), &parent, &[]).bytes, &settings());
    assert_eq!(
        (reading.references.len(), reading.references[0].as_str(), reading.references[20].as_str()),
        (21, "0@x", "last@x")
    );
    let hostile = Parent {
        message_id: Some("a@x>\r\nBcc: eve@evil.example".into()),
        references: vec!["b@x\nX: y".into(), "c@x".into()],
        ..Parent::default()
    };
    let mail = written(&send("Hello"), &hostile, &[]);
    let reading = read(&mail.bytes, &settings());
    assert_eq!((reading.references.as_slice(), reading.in_reply_to.len()), (&["c@x".to_owned()][..], 0));
    assert!(!Headers::read(&mail.bytes).0.has("bcc"));
}

#[test]
fn what_cannot_be_sent_is_refused_with_a_reason() {
    let refused = |send: &Send| compose(send, &Parent::default(), &[], None, &identity(), NOW).unwrap_err();
    for address in ["", "ann", "ann@", "a b@x.org", "ann@x.org\r\nBcc: eve@evil.example", "ann@x.org, eve@evil.example"]
    {
        let to = Address::new("email", address);
        assert!(matches!(refused(&Send { to, ..send("x") }), Refused::Address(_)), "{address:?}");
    }
    assert_eq!(refused(&send("  \n")), Refused::Empty);
    let keyless = Identity { keys: crate::ids::Keys::new(&[]), ..identity() };
    assert_eq!(compose(&send("x"), &Parent::default(), &[], None, &keyless, NOW).unwrap_err(), Refused::Key);
    let mut large = send("x");
    large.content.attachments = vec![Attachment::default()];
    let files = [vec![7; crate::compose::MAX_MAIL]];
    assert!(matches!(compose(&large, &Parent::default(), &files, None, &identity(), NOW), Err(Refused::TooLarge(_))));
}

/// A customer's mail program answers what it got: it keeps the References and adds ours.
fn answer_of_a_client(ours: &[u8], number: usize) -> Vec<u8> {
    let (headers, _) = Headers::read(ours);
    let id = headers.ids("message-id").remove(0);
    let references: Vec<String> =
        headers.ids("references").into_iter().chain([id.clone()]).map(|i| format!("<{i}>")).collect();
    format!(
        "From: Ann <ann@customer.example>\r\nTo: {}\r\nSubject: {}\r\nMessage-ID: <ann-{number}@customer.example>\r\nIn-Reply-To: <{id}>\r\nReferences: {}\r\n\r\nStill leaking, {number}.\r\n",
        headers.text("reply-to").unwrap(),
        headers.text("subject").unwrap(),
        references.join("\r\n ")
    )
    .into_bytes()
}

#[test]
fn a_conversation_of_twenty_mails_is_one_thread_for_a_mail_client_and_for_us() {
    let settings = super::trusting();
    let first = b"From: Ann <ann@customer.example>\nTo: support@desk.example\nSubject: Kettle\nMessage-ID: <ann-0@customer.example>\n\nIt leaks.\n".to_vec();
    let mut box_of_ann = vec![first.clone()];
    let (mut last, mut threads) = (first, vec![]);
    for number in 1..=10 {
        let reading = read(&last, &settings);
        let events = crate::events::events(&last, &settings, NOW);
        let [switchboard_envelope::Inbound::Message(message)] = events.events.as_slice() else { panic!("{events:?}") };
        threads.push(message.thread.clone());
        assert_eq!(message.meta.get("conversation").map(String::as_str), (number > 1).then_some(CONV));
        let parent = Parent {
            message_id: reading.message_id,
            in_reply_to: reading.in_reply_to,
            references: reading.references,
            subject: reading.subject,
            text: Some(reading.new_text),
            ..Parent::default()
        };
        let ours = Send { send: format!("m{number:016}"), ..send("Try this.") };
        let ours = written(&ours, &parent, &[]).bytes;
        last = answer_of_a_client(&ours, number);
        box_of_ann.push(ours);
        box_of_ann.push(last.clone());
    }
    threads.dedup();
    assert_eq!(threads.len(), 1);
    let mails: Vec<jwz::Mail> = box_of_ann
        .iter()
        .enumerate()
        .map(|(i, mail)| {
            let reading = read(mail, &settings);
            jwz::Mail {
                name: i.to_string(),
                id: reading.message_id,
                in_reply_to: reading.in_reply_to,
                references: reading.references,
                subject: String::new(),
                date: format!("{i:03}"),
            }
        })
        .collect();
    let found = jwz::threads(&mails, &jwz::Options { by_subject: false, ..jwz::Options::default() });
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].1.len(), 21);
}

fn hostile() -> impl Strategy<Value = String> {
    "(\\PC|\r\n|\n|\r|\u{0}|\u{2028}|=\\?utf-8\\?Q\\?=0A\\?=|Bcc: eve@evil.example|--=_m|\\.|\n\\.\n|<|>|\"|,|;){0,60}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nobody_writes_a_header_of_ours(subject in hostile(), name in hostile(), text in hostile(), author in hostile(), signature in hostile(), file in hostile(), quoted in hostile(), bytes: Vec<u8>, page in any::<bool>()) {
        let mut one = send(&format!("Hello {text}"));
        one.to.name = Some(name);
        one.content.subject = Some(subject.clone());
        one.content.html = page.then(|| format!("<p>{text}</p>"));
        one.content.attachments = vec![Attachment { name: file.clone(), mime: "application/pdf".into(), ..Attachment::default() }];
        let parent = Parent { author: Some(author), text: Some(quoted), at: Some(NOW), ..Parent::default() };
        let mail = compose(&one, &parent, std::slice::from_ref(&bytes), Some(&signature), &identity(), NOW).unwrap();
        let (headers, _) = Headers::read(&mail.bytes);
        for (field, _) in headers.iter() {
            prop_assert!(FIELDS.contains(&field), "{}", field);
        }
        for field in FIELDS {
            prop_assert!(headers.all(field).count() <= 1, "{} twice", field);
        }
        let reading = read(&mail.bytes, &settings());
        prop_assert_eq!(reading.to.len(), 1);
        prop_assert_eq!(&reading.to[0].address, "ann@customer.example");
        prop_assert_eq!(reading.message_id.as_deref(), Some(mail.message_id.as_str()));
        prop_assert_eq!(reading.files.len(), 1);
        prop_assert_eq!(&reading.files[0].bytes, &bytes);
        prop_assert!(!reading.damaged);
        prop_assert_eq!(reading.html.is_some(), page);
        prop_assert!(mail.bytes.split(|b| *b == b'\n').all(|l| l.len() <= 999 && (l.is_empty() || l.ends_with(b"\r"))));
    }

    #[test]
    fn what_we_write_is_what_is_read(subject in "[a-zA-ZäöüßéЖ日 ]{1,60}", text in "[a-zA-Z0-9äöü.,!?日 \n]{1,200}", name in "[a-zA-Zäé, ]{0,30}") {
        let words = |t: &str| t.split_whitespace().collect::<Vec<_>>().join(" ");
        prop_assume!(!words(&text).is_empty() && !words(&subject).is_empty());
        let mut one = send(&text);
        one.to.name = Some(name.clone());
        one.content.subject = Some(subject.clone());
        one.reply_to = vec![];
        let mail = compose(&one, &Parent::default(), &[], None, &identity(), Timestamp(NOW.0)).unwrap();
        let reading = read(&mail.bytes, &settings());
        prop_assert_eq!(words(reading.subject.as_deref().unwrap()), words(&subject));
        prop_assert_eq!(words(&reading.text), words(&text));
        let trimmed = words(&name);
        let shown = trimmed.trim_matches(['"', '\'', ' ']);
        prop_assert_eq!(words(reading.to[0].name.as_deref().unwrap_or_default()), words(shown));
        prop_assert_eq!(reading.date, Some(Timestamp(NOW.0 / 1000 * 1000)));
    }
}
