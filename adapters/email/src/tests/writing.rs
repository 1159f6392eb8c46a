//! What we write is read back as it was meant, whatever anybody wrote into it.

use super::{CONV, NOW, SEND, settings};
use crate::{
    address,
    compose::{self, Identity, Mail, Parent, Refused, compose},
    fixtures,
    header::Headers,
    ids::{OurMail, Tag, Verp},
    letter::QUOTE,
    read::{self, read},
    tests::jwz,
};
use proptest::prelude::*;
use switchboard_envelope::{
    Address, Attachment, Author, Content, Evidence, Inbound, MailContext, Message, Quote, Send, Timestamp,
};

fn identity() -> Identity {
    Identity {
        address: "support@desk.example".into(),
        name: Some("Desk, Support".into()),
        domain: "desk.example".into(),
        keys: settings().keys,
        instance: "corpus".into(),
        tags: true,
        above_line: true,
        html: true,
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
        to: Address { name: Some("Ann".into()), ..Address::new("email", "ann@customer.example") },
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

/// The page beside the text of a mail that we wrote.
fn page_of(mail: &Mail) -> String {
    let (headers, body) = Headers::read(&mail.bytes);
    let parts = crate::mime::read(&mail.bytes, &headers, body);
    parts.html.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&mail.bytes)))
}

#[test]
fn an_answer_has_a_page_that_says_what_its_text_says() {
    let parent = Parent {
        message_id: Some("two@x".into()),
        author: Some("Ann <ann@customer.example>".into()),
        at: Some(NOW),
        text: Some("It leaks at https://phish.example\n> Earlier <b>".into()),
        ..Parent::default()
    };
    let words = "Dear Ann,\n\ntry <the> new seal:\n  https://shop.example/seal?a=1&b=2.\n\nGrüße";
    for author in [Author::Agent { id: "kim".into() }, Author::Auto { rule: "r".into() }] {
        let mail = written(&Send { author, ..send(words) }, &parent, &[]);
        let (headers, _) = Headers::read(&mail.bytes);
        assert!(headers.word("content-type").starts_with("multipart/alternative"));
        let bytes = String::from_utf8_lossy(&mail.bytes);
        let (text, page) = (bytes.find("text/plain; charset=utf-8"), bytes.find("text/html; charset=utf-8"));
        assert!(text.is_some() && text < page, "the page comes last, because it is preferred: {bytes}");
        assert_eq!(
            page_of(&mail),
            "<!DOCTYPE html>\n<html><head><meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\"></head>\n<body>\n\
             <div dir=\"auto\"><p>Dear Ann,</p>\n\
             <p>try &lt;the&gt; new seal:<br>\n&nbsp;&nbsp;<a href=\"https://shop.example/seal?a=1&amp;b=2\">https://shop.example/seal?a=1&amp;b=2</a>.</p>\n\
             <p>Grüße</p>\n</div>\n\
             <div class=\"moz-signature\">-- <br>\nKim<br>\nDesk</div>\n<br>\n\
             <div>##- Please write above this line -##</div>\n\
             <div class=\"gmail_quote\">\n<div class=\"gmail_attr\">On Sat, 21 Nov 2026 at 22:00 UTC, Ann &lt;ann@customer.example&gt; wrote:</div>\n\
             <blockquote type=\"cite\" class=\"gmail_quote\" style=\"margin:0 0 0 1ex;border-left:1px solid #ccc;padding-left:1ex\" \
             dir=\"auto\">It leaks at https://phish.example<br>\n&gt; Earlier &lt;b&gt;</blockquote>\n</div>\n</body></html>\n"
        );
    }
}

#[test]
fn a_channel_of_text_alone_sends_no_page() {
    let text_alone = Identity { html: false, ..identity() };
    let mut one = send("Hello");
    for page in [None, Some("<p>Hello <b>there</b></p>".to_owned())] {
        one.content.html = page;
        let mail = compose(&one, &Parent::default(), &[], Some("Kim"), &text_alone, NOW).unwrap();
        let (headers, _) = Headers::read(&mail.bytes);
        assert!(headers.word("content-type").starts_with("text/plain"), "{}", headers.word("content-type"));
        assert_eq!(read(&mail.bytes, &settings()).text.trim_end(), "Hello\n\n-- \nKim");
    }
    one.content.text = String::new();
    let mail = compose(&one, &Parent::default(), &[], None, &text_alone, NOW).unwrap();
    assert_eq!(
        read(&mail.bytes, &settings()).text.trim_end(),
        "Hello there",
        "the words of a page that came without any"
    );
}

#[test]
fn a_page_that_was_given_is_made_safe_and_has_below_it_all_that_the_text_has() {
    let parent = Parent { text: Some("It leaks.".into()), author: Some("Ann".into()), ..Parent::default() };
    for text in ["One\r\ntwo\r\nthree\r\nfour\r\n", "One\ntwo", "One\rtwo\0\0\0\r", ""] {
        let mut send = send(text);
        send.content.html =
            Some("<p onclick=x()>One <b>two</b><script>x()</script><img src=https://spy.example/p.gif></p>".into());
        let mail = written(&send, &parent, &[]);
        let page = page_of(&mail);
        assert!(page.contains("<p>One <b>two</b><img></p>"), "{page}");
        assert!(!page.contains("onclick") && !page.contains("script") && !page.contains("spy"), "{page}");
        let read_page = crate::html::read(&page, true);
        assert!(read_page.text.starts_with("One two\n\n--\nKim\nDesk\n"), "{text:?}: {:?}", read_page.text);
        assert!(
            read_page.text.contains("##- Please write above") && read_page.text.contains("Ann wrote:\n> It leaks.")
        );
        let text = read(&mail.bytes, &settings()).text;
        assert!(
            text.starts_with("One") && text.contains("\n-- \nKim\nDesk\n") && text.contains("Ann wrote:\n> It leaks.")
        );
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
    for address in
        ["", "ann", "ann@", "a b@x.org", "ann@x.org\r\nBcc: eve@evil.example", "ann@x.org, eve@evil.example", "a@0#A"]
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

/// How mail programs answer: which fields name what is answered, what stands before the subject, and how they quote.
#[derive(Clone, Copy, Debug)]
enum Program {
    Thunderbird,
    Gmail,
    /// It names what it answers, and nothing before it.
    Outlook,
    Yahoo,
}

const PROGRAMS: [Program; 4] = [Program::Thunderbird, Program::Gmail, Program::Outlook, Program::Yahoo];

/// A customer's mail program answers what it got.
fn answer_of_a_client(ours: &[u8], number: usize, program: Program) -> Vec<u8> {
    let (headers, _) = Headers::read(ours);
    let got = read(ours, &settings());
    let id = headers.ids("message-id").remove(0);
    let references: Vec<String> =
        headers.ids("references").into_iter().chain([id.clone()]).map(|i| format!("<{i}>")).collect();
    let references = format!("References: {}\r\n", references.join("\r\n "));
    let to = headers.text("reply-to").unwrap();
    let was = headers.text("subject").unwrap();
    let quoted: String = got.text.lines().map(|line| format!("> {line}\r\n")).collect();
    let said = format!("Still leaking, {number}.");
    let plain = "Content-Type: text/plain; charset=utf-8\r\n";
    let page: String = got.text.lines().map(|line| format!("{}<br>\r\n", crate::html::from_text(line))).collect();
    let (fields, subject, body) = match program {
        Program::Thunderbird => (
            format!("{references}{plain}"),
            was.clone(),
            format!("{said}\r\n\r\nOn 22/11/2026 10:00, Desk, Support wrote:\r\n{quoted}\r\n"),
        ),
        Program::Gmail => (
            format!("{references}Content-Type: multipart/alternative; boundary=\"000g\"\r\n"),
            was.clone(),
            format!(
                "--000g\r\n{plain}\r\n{said}\r\n\r\nOn Sun, Nov 22, 2026 at 10:00 AM Desk <support@desk.example> wrote:\r\n\r\n{quoted}\r\n\
                 --000g\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<div dir=\"ltr\">{said}</div><br><div class=\"gmail_quote\">\
                 <blockquote class=\"gmail_quote\">{page}</blockquote></div>\r\n--000g--\r\n"
            ),
        ),
        Program::Outlook => (
            format!("Thread-Topic: Kettle\r\nThread-Index: AQHZ0000000000000000000000000000{number:02}==\r\n{plain}"),
            format!("AW: {}", was.trim_start_matches("Re: ")),
            format!(
                "{said}\r\n\r\n-----Urspr\u{fc}ngliche Nachricht-----\r\nVon: Desk, Support <support@desk.example>\r\nGesendet: Sonntag, 22. November 2026 10:00\r\n\
                 An: Ann <ann@customer.example>\r\nBetreff: {was}\r\n\r\n{}\r\n",
                got.text.replace('\n', "\r\n")
            ),
        ),
        Program::Yahoo => (
            plain.to_owned(),
            was.clone(),
            format!(
                "{said}\r\n\r\n    On Sunday, November 22, 2026 at 10:00:00 AM GMT, Desk, Support <support@desk.example> wrote:  \r\n \r\n{quoted}\r\n"
            ),
        ),
    };
    format!(
        "From: Ann <ann@customer.example>\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <ann-{number}@customer.example>\r\nIn-Reply-To: <{id}>\r\n\
         MIME-Version: 1.0\r\n{fields}\r\n{body}"
    )
    .into_bytes()
}

/// What the router releases as the answer to a mail that it was told of.
fn answer_of_the_router(message: &Message, number: usize) -> Send {
    let quote = Quote { author: Some("Ann".into()), at: message.at, text: message.content.text.clone() };
    let references: Vec<String> = message.references.iter().rev().cloned().collect();
    let mail = MailContext { at: NOW, references, quote: Some(quote), ..MailContext::default() };
    let mut content = Content::text("Try this.");
    content.subject.clone_from(&message.content.subject);
    Send {
        send: format!("m{number:016}"),
        content,
        reply_to: message.provider_id.clone().into_iter().collect(),
        mail: Some(Box::new(mail)),
        ..send("")
    }
}

#[test]
fn a_conversation_of_twenty_mails_is_one_thread_for_a_mail_client_and_for_us() {
    let everybody = PROGRAMS.map(|program| vec![program]).into_iter().chain([PROGRAMS.to_vec()]);
    for programs in everybody {
        twenty_mails_are_one_thread(&programs);
    }
}

/// The mail programs answer in turns, as people do who have a telephone too.
fn twenty_mails_are_one_thread(programs: &[Program]) {
    let settings = super::trusting();
    let first = b"From: Ann <ann@customer.example>\nTo: support@desk.example\nSubject: Kettle\nMessage-ID: <ann-0@customer.example>\n\nIt leaks.\n".to_vec();
    let mut box_of_ann = vec![first.clone()];
    let mut last = first;
    for number in 1..=10 {
        let events = crate::events::events(&last, &settings, NOW);
        let [Inbound::Message(message)] = events.events.as_slice() else { panic!("{events:?}") };
        let named = message.mail.as_ref().unwrap().answers.as_ref().map(|a| (a.conversation.as_str(), a.by));
        assert_eq!(named, (number > 1).then_some((CONV, Evidence::ReplyAddress)), "{programs:?} {number}");
        let words = if number > 1 { format!("Still leaking, {}.", number - 1) } else { "It leaks.".into() };
        assert_eq!(message.content.text, words, "{programs:?}: the new words alone");
        let ours = compose::write(&answer_of_the_router(message, number), &[], &identity()).unwrap().bytes;
        assert_eq!(read(&ours, &settings).subject.as_deref(), Some("Re: Kettle"), "{programs:?} {number}");
        last = answer_of_a_client(&ours, number, programs[number % programs.len()]);
        box_of_ann.push(ours);
        box_of_ann.push(last.clone());
    }
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
    assert_eq!(found.len(), 1, "{programs:?}: {found:?}");
    assert_eq!(found[0].1.len(), 21, "{programs:?}");
}

/// A tag that our pages have, whatever anybody wrote into them.
fn is_tag_of_ours(tag: &str) -> bool {
    const OURS: [&str; 12] = [
        "p",
        "br",
        "div",
        "div dir=\"auto\"",
        "div class=\"moz-signature\"",
        "div class=\"gmail_quote\"",
        "div class=\"gmail_attr\"",
        "/p",
        "/div",
        "/a",
        "/blockquote",
        QUOTE,
    ];
    let link = tag.strip_prefix("a href=\"").and_then(|tag| tag.strip_suffix('"')).map(str::to_lowercase);
    let shown = |to: &String| ["http://", "https://", "mailto:"].iter().any(|s| to.starts_with(s)) && !to.contains('"');
    OURS.contains(&tag) || link.as_ref().is_some_and(shown)
}

fn hostile() -> impl Strategy<Value = String> {
    "(\\PC|<script>|<a href=|\"|&|&lt;|https://x.example/|javascript:|mailto:a@b|\r\n|\n|\r|\u{0}|\u{2028}|=\\?utf-8\\?Q\\?=0A\\?=|Bcc: eve@evil.example|--=_m|\\.|\n\\.\n|<|>|\"|,|;){0,60}"
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
        let shown = page_of(&mail);
        let head = "<!DOCTYPE html>\n<html><head><meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\"></head>\n<body>\n";
        let body = shown.strip_prefix(head).and_then(|b| b.strip_suffix("</body></html>\n"));
        prop_assert!(body.is_some(), "{}", shown);
        // A page that was given has tags of its own.
        for tag in body.unwrap().split('<').skip(1).filter(|_| !page) {
            prop_assert!(is_tag_of_ours(tag.split_once('>').map_or(tag, |(tag, _)| tag)), "{} in {}", tag, shown);
        }
        prop_assert!(mail.bytes.split(|b| *b == b'\n').all(|l| l.len() <= 999 && (l.is_empty() || l.ends_with(b"\r"))));
    }

    #[test]
    fn what_we_write_is_what_is_read(subject in "[a-zA-ZäöüßéЖ日 ]{1,60}", text in "[a-zA-Z0-9äöü.,!?日 \n]{1,200}", name in "[a-zA-Zäé, ]{0,30}", file in "[a-zA-Z0-9äö日 _-]{1,30}", chain in proptest::collection::vec("[a-z0-9]{1,12}@[a-z]{1,8}", 0..30)) {
        let words = |t: &str| t.split_whitespace().collect::<Vec<_>>().join(" ");
        prop_assume!(!words(&text).is_empty() && !words(&subject).is_empty());
        let mut one = send(&text);
        one.to.name = Some(name.clone());
        one.content.subject = Some(subject.clone());
        one.content.attachments = vec![Attachment { name: format!("a{file}.pdf"), mime: "application/pdf".into(), ..Attachment::default() }];
        one.reply_to = vec![];
        let parent = Parent { references: chain.clone(), ..Parent::default() };
        let mail = compose(&one, &parent, &[vec![1, 2]], None, &identity(), Timestamp(NOW.0)).unwrap();
        let reading = read(&mail.bytes, &settings());
        prop_assert_eq!(words(reading.subject.as_deref().unwrap()), words(&subject));
        prop_assert_eq!(words(&reading.text), words(&text));
        let trimmed = words(&name);
        let shown = trimmed.trim_matches(['"', '\'', ' ']);
        prop_assert_eq!(words(reading.to[0].name.as_deref().unwrap_or_default()), words(shown));
        prop_assert_eq!(reading.date, Some(Timestamp(NOW.0 / 1000 * 1000)));
        prop_assert_eq!(words(&reading.files[0].name), words(&format!("a{file}.pdf")));
        prop_assert!(reading.references.iter().all(|id| chain.contains(id)) && reading.references.last() == chain.last());
    }

    #[test]
    fn an_answer_is_cut_to_its_new_words_as_text_and_as_a_page(words in proptest::collection::vec(piece(), 1..30), quoted in proptest::collection::vec(piece(), 1..20), signed in "[A-Z][a-z]{1,8}( [a-z]{1,8}){0,3}", line in any::<bool>()) {
        let flat = |t: &str| t.split_whitespace().collect::<Vec<_>>().join(" ");
        let (words, quoted) = (words.concat(), quoted.concat());
        prop_assume!(!flat(&words).is_empty() && !flat(&quoted).is_empty());
        let parent = Parent { author: Some("Ann <ann@customer.example>".into()), text: Some(quoted.clone()), at: Some(NOW), ..Parent::default() };
        let identity = Identity { above_line: line, ..identity() };
        let mail = compose(&send(&words), &parent, &[], Some(&signed), &identity, NOW).unwrap();
        let reading = read(&mail.bytes, &settings());
        prop_assert_eq!(flat(&reading.new_text), flat(&words), "the text");
        let signature = format!("-- {signed}");
        prop_assert_eq!(flat(reading.signature.as_deref().unwrap_or_default()), signature.as_str());
        // The same of who shows the page: what is new, the signature, and all of it.
        let page = crate::html::read(&page_of(&mail), false);
        prop_assert_eq!(flat(&crate::reply::cut(&page.new, false).text), flat(&words), "the page");
        prop_assert_eq!(flat(page.signature.as_deref().unwrap_or_default()), signature.as_str());
        let without_marks = |t: &str| flat(&t.lines().map(|l| l.trim_start_matches(['>', ' '])).collect::<Vec<_>>().join("\n"));
        prop_assert_eq!(without_marks(&page.text), without_marks(&reading.text), "both say the same");
        // And what a customer's program quotes of the page is not what the customer says.
        for answer in [
            format!("<div dir=\"ltr\">Thank you!</div><br><div class=\"gmail_quote\"><blockquote class=\"gmail_quote\">{}</blockquote></div>", page_of(&mail)),
            format!("<html><body>Thank you!<br><div><blockquote type=\"cite\">{}</blockquote></div></body></html>", page_of(&mail)),
            format!("<div>Thank you!</div><div id=\"appendonsend\"></div><hr><div id=\"divRplyFwdMsg\"><b>From:</b> Desk</div>{}", page_of(&mail)),
        ] {
            let new = crate::html::read(&answer, false).new;
            prop_assert_eq!(crate::reply::cut(&new, false).text, "Thank you!");
        }
    }
}

/// A piece of what somebody writes; none of them begins a quote or a signature.
fn piece() -> impl Strategy<Value = String> {
    "([a-zäü]{1,9}|日本|&|<b>|&amp;|\"|https://x\\.example/a\\?b=1&c=2|mailto:a@b\\.example|, | {1,3}|\n|\n\n\n)"
        .prop_map(|piece: String| if piece.trim().is_empty() { piece } else { format!("{piece} ") })
}
