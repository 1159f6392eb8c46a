use super::*;
use proptest::prelude::*;

fn rules(protocol: Protocol) -> Rules {
    Rules {
        protocol,
        name: "shop.example".into(),
        ours: vec!["support@shop.example".into()],
        plus_addresses: true,
        max_mail: 1000,
    }
}

/// Says all of it, each piece after the answer to the one before, and returns the answers and the mails.
fn talk(protocol: Protocol, pieces: &[&[u8]]) -> (Vec<String>, Vec<Delivered>) {
    let mut dialogue = Dialogue::new(rules(protocol));
    let (mut answers, mut mails) = (vec![], vec![]);
    for piece in pieces {
        dialogue.push(piece);
        while let Some(step) = dialogue.step() {
            match step {
                Step::Answer(text) => answers.push(text),
                Step::Close(text) => answers.push(format!("{text}closed")),
                Step::Store(mail) => {
                    mails.push(mail);
                    answers.push(dialogue.settled(Settled::Durable));
                }
            }
        }
    }
    (answers, mails)
}

fn codes(answers: &[String]) -> Vec<&str> {
    answers.iter().map(|a| a.get(..3).unwrap_or_default()).collect()
}

const ENVELOPE: &[u8] = b"LHLO mx\r\nMAIL FROM:<ann@x.example> SIZE=100\r\nRCPT TO:<Support+c-1.x@shop.example>\r\nRCPT TO:<support@SHOP.example>\r\nDATA\r\n";

#[test]
fn a_mail_is_taken_with_its_envelope_and_answered_once_a_recipient() {
    let (answers, mails) = talk(Protocol::Lmtp, &[ENVELOPE, b"Subject: x\r\n\r\n..dot\r\n.\r\n", b"QUIT\r\n"]);
    assert_eq!(codes(&answers), ["250", "250", "250", "250", "354", "250", "221"]);
    assert_eq!(answers[5].matches("250 2.0.0").count(), 2, "one for each");
    let wanted = Delivered {
        from: "ann@x.example".into(),
        to: vec!["Support+c-1.x@shop.example".into(), "support@SHOP.example".into()],
        helo: "mx".into(),
        mail: b"Subject: x\r\n\r\n.dot\r\n".to_vec(),
    };
    assert_eq!(mails, std::slice::from_ref(&wanted));
    let whole = with_trace(&wanted, "127.0.0.1", Protocol::Lmtp, "mail", "Sun, 22 Nov 2026 10:00:00 +0000");
    let whole = String::from_utf8(whole).unwrap();
    assert!(
        whole.starts_with("Return-Path: <ann@x.example>\r\nDelivered-To: Support+c-1.x@shop.example\r\n"),
        "{whole}"
    );
    assert!(whole.contains("Received: from mx ([127.0.0.1])\r\n\tby mail with LMTP; Sun, "), "{whole}");
}

#[test]
fn smtp_answers_once_and_takes_bounces() {
    let start =
        b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<support@shop.example>\r\nRCPT TO:<support+x@shop.example>\r\nDATA\r\n";
    let (answers, mails) = talk(Protocol::Smtp, &[start, b"x\r\n.\r\nNOOP\r\n"]);
    assert_eq!(codes(&answers), ["250", "250", "250", "250", "354", "250", "250"]);
    assert_eq!((answers[5].matches("250").count(), mails[0].from.as_str()), (1, ""));
    let (answers, _) = talk(Protocol::Smtp, &[b"LHLO a\r\nHELO a\r\n"]);
    assert_eq!(codes(&answers), ["500", "250"]);
}

#[test]
fn nobody_elses_mail_is_taken() {
    for to in [
        "ann@x.example",
        "support@shop.example.evil.example",
        "other@shop.example",
        "support%x.example@shop.example",
        "support",
        "",
        "support@shop.example,eve@x.example",
        "@shop.example:eve@x.example",
    ] {
        let line = format!("LHLO a\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n");
        let (answers, mails) = talk(Protocol::Lmtp, &[line.as_bytes()]);
        assert_eq!(codes(&answers), ["250", "250", "550", "503"], "{to}");
        assert!(mails.is_empty());
    }
}

#[test]
fn more_recipients_than_a_mail_may_have_come_with_another() {
    let recipient = b"RCPT TO:<support@shop.example>\r\n".as_slice();
    let mut pieces: Vec<&[u8]> = vec![b"LHLO mx\r\nMAIL FROM:<ann@x.example>\r\n"];
    pieces.extend([recipient; MAX_RECIPIENTS + 1]);
    pieces.extend([b"DATA\r\n".as_slice(), b"Hello\r\n.\r\n"]);
    let (answers, mails) = talk(Protocol::Lmtp, &pieces);
    let (last, taken) = (answers.last().expect("an answer"), answers.iter().filter(|a| a.starts_with("250 2.1.5")));
    assert_eq!((taken.count(), last.matches("250 2.0.0").count()), (MAX_RECIPIENTS, MAX_RECIPIENTS));
    assert_eq!(answers.iter().filter(|a| a.starts_with("452 4.5.3")).count(), 1);
    assert_eq!(mails[0].to.len(), MAX_RECIPIENTS);
}

#[test]
fn no_mail_hides_in_another() {
    for hidden in [
        &b"a\n.\nMAIL FROM:<eve@x.example>\r\n.\r\n"[..],
        b"a\r\n.\nMAIL FROM:<eve@x.example>\r\n.\r\n",
        b"a\n.\r\nMAIL FROM:<eve@x.example>\r\n.\r\n",
        b"a\r.\r\nMAIL FROM:<eve@x.example>\r\n.\r\n",
        b"a\r\r\n.\r\n",
        b"a\rb\r\n.\r\n",
    ] {
        let (answers, mails) = talk(Protocol::Lmtp, &[ENVELOPE, hidden]);
        assert!(mails.is_empty(), "{}", String::from_utf8_lossy(hidden));
        assert!(answers[5..].iter().all(|a| !a.starts_with("250 2.1.0")), "no second envelope: {answers:?}");
        assert!(answers[5].starts_with("554 5.6.0") && answers[5].matches("554").count() == 2, "{answers:?}");
    }
    let (answers, mails) = talk(Protocol::Lmtp, &[b"LHLO a\nMAIL FROM:<a@b>\r\n"]);
    assert!(answers.len() == 1 && answers[0].starts_with("500") && answers[0].ends_with("closed") && mails.is_empty());
    // The mail before our answer to DATA: whoever does that did not hear us.
    let early = [ENVELOPE, b"Subject: x\r\n\r\ny\r\n.\r\n"].concat();
    let (answers, mails) = talk(Protocol::Lmtp, &[&early]);
    assert!(mails.is_empty() && answers.last().is_some_and(|a| a.starts_with("503 5.5.0") && a.ends_with("closed")));
}

#[test]
fn sizes_and_patience_have_an_end() {
    let (answers, _) = talk(Protocol::Lmtp, &[b"LHLO a\r\nMAIL FROM:<a@b.example> SIZE=1001\r\n"]);
    assert_eq!(codes(&answers), ["250", "552"]);
    let line = [vec![b'x'; 98], b"\r\n".to_vec()].concat();
    let (answers, mails) = talk(Protocol::Lmtp, &[ENVELOPE, &line.repeat(11), b".\r\nNOOP\r\n"]);
    assert!(mails.is_empty());
    assert_eq!(codes(&answers[5..]), ["552", "250"], "the connection goes on: {answers:?}");
    let (answers, _) = talk(Protocol::Lmtp, &[ENVELOPE, &line.repeat(50)]);
    assert!(answers.last().is_some_and(|a| a.starts_with("552") && a.ends_with("closed")), "{answers:?}");
    let (answers, _) = talk(Protocol::Lmtp, &[ENVELOPE, &vec![b'x'; 5000]]);
    assert!(answers.last().is_some_and(|a| a.ends_with("closed")), "a line without an end: {answers:?}");
    let (answers, _) = talk(Protocol::Lmtp, &[&vec![b'x'; 3000]]);
    assert!(answers.last().is_some_and(|a| a.starts_with("500") && a.ends_with("closed")));
    let (answers, _) = talk(Protocol::Lmtp, &[&b"WHAT\r\n".repeat(30)]);
    assert!(answers.len() == 21 && answers[20].starts_with("421"), "{answers:?}");
    let circles = [b"Received: x\r\n".repeat(51), b"\r\nx\r\n.\r\n".to_vec()].concat();
    let (answers, mails) = talk(Protocol::Lmtp, &[ENVELOPE, &circles]);
    assert!(mails.is_empty() && answers[5].starts_with("554 5.4.6"), "{answers:?}");
}

#[test]
fn a_line_without_an_end_is_searched_once() {
    let mut dialogue = Dialogue::new(Rules { max_mail: 25 * 1024 * 1024, ..rules(Protocol::Lmtp) });
    dialogue.push(ENVELOPE);
    while dialogue.step().is_some() {}
    crate::fixtures::in_time("a line in pieces", 20, || {
        for _ in 0..700 {
            dialogue.push(&[b'x'; 32 * 1024]);
            assert_eq!(dialogue.step(), None);
        }
    });
    dialogue.push(b"\r\n.\r\n");
    assert!(matches!(dialogue.step(), Some(Step::Store(mail)) if mail.mail.len() == 700 * 32 * 1024 + 2));
}

#[test]
fn the_end_of_a_line_that_was_too_long_ends_no_mail() {
    let (answers, mails) = talk(
        Protocol::Lmtp,
        &[ENVELOPE, &[b'x'; 2100], b".\r\nMAIL FROM:<eve@x.example>\r\nRCPT TO:<support@shop.example>\r\n", b".\r\n"],
    );
    assert!(mails.is_empty());
    assert_eq!(answers.len(), 6, "one answer to the mail, and none to what was in it: {answers:?}");
    assert!(answers[5].starts_with("554 5.6.0"), "{answers:?}");
}

#[test]
fn what_is_not_durable_is_not_accepted() {
    let mut dialogue = Dialogue::new(rules(Protocol::Lmtp));
    dialogue.push(ENVELOPE);
    while dialogue.step().is_some() {}
    dialogue.push(b"x\r\n.\r\n");
    assert!(matches!(dialogue.step(), Some(Step::Store(_))));
    assert_eq!(dialogue.settled(Settled::Full).matches("452 4.3.1").count(), 2);
    assert_eq!(dialogue.settled(Settled::Later), "", "each mail is answered once");
}

proptest! {
    #[test]
    fn any_bytes_are_answered(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..8)) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        talk(Protocol::Lmtp, &pieces);
        talk(Protocol::Smtp, &[&[ENVELOPE][..], &pieces].concat());
    }

    #[test]
    fn a_mail_comes_out_as_it_was_whatever_its_lines_and_the_pieces(lines in proptest::collection::vec("\\.{0,3}[a-z. ]{0,20}", 0..20), step in 1usize..40) {
        let sent: String = lines.iter().map(|l| if l.starts_with('.') { format!(".{l}\r\n") } else { format!("{l}\r\n") }).collect();
        let data = format!("{sent}.\r\n").into_bytes();
        let mut pieces = vec![ENVELOPE];
        pieces.extend(data.chunks(step));
        let (_, mails) = talk(Protocol::Lmtp, &pieces);
        let wanted: String = lines.iter().map(|l| format!("{l}\r\n")).collect();
        prop_assert_eq!(mails.len(), 1);
        prop_assert_eq!(String::from_utf8_lossy(&mails[0].mail), wanted);
    }
}
