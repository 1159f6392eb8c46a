//! Where a mailbox goes on, and which mails are not passed by: renamed, restored, half understood, or while the server gives none.

use super::*;

/// A folder with this UIDVALIDITY, UIDNEXT and number of mails.
fn selected(validity: u32, next: u32, exists: u32) -> (&'static str, &'static str) {
    let says = format!(
        "* {exists} EXISTS\r\n* OK [UIDVALIDITY {validity}] x\r\n* OK [UIDNEXT {next}] x\r\n* OK [PERMANENTFLAGS (\\Seen)] x\r\n$ OK x\r\n"
    );
    ("SELECT", says.leak())
}

/// Mails in a list, each with the day of November on which it came.
fn list(mails: &[(u32, u32)]) -> &'static str {
    let line = |(uid, day): &(u32, u32)| {
        format!(
            "* {uid} FETCH (UID {uid} RFC822.SIZE 22 INTERNALDATE \"{day:02}-Nov-2025 10:00:00 +0000\" FLAGS (\\Seen))\r\n"
        )
    };
    format!("{}$ OK\r\n", mails.iter().map(line).collect::<String>()).leak()
}

/// These mails, whole.
fn bodies(uids: &[u32]) -> &'static str {
    let mail = |uid: &u32| {
        let mail = format!("From: c{uid}@d.example\r\nMessage-ID: <{uid}@d.example>\r\n\r\nx");
        format!("* {uid} FETCH (UID {uid} BODY[]<0> {{{}}}\r\n{mail})\r\n", mail.len())
    };
    format!("{}$ OK\r\n", uids.iter().map(mail).collect::<String>()).leak()
}

const OK: &str = "$ OK\r\n";
const NO: &str = "$ NO [LIMIT] too much was read today\r\n";

/// Mails 1 to 3 of the first three days are in the log.
async fn caught_up() -> Mailbox {
    let mailbox = mailbox();
    let script = vec![
        selected(7, 4, 3),
        ("UID FETCH 1:3 (UID RFC822.SIZE INTERNALDATE)", list(&[(1, 1), (2, 2), (3, 3)])),
        ("UID FETCH 1:3 (UID BODY", bodies(&[1, 2, 3])),
        ("UID STORE 1:3 +FLAGS.SILENT (\\Seen)", OK),
        ("UID FETCH 4:* (UID", OK),
    ];
    once(&mailbox, &mut Strikes::default(), script).await.0.expect("caught up");
    assert_eq!(taken(&mailbox).await.len(), 3);
    mailbox
}

const WITNESS: &str = "UID FETCH 3 (UID INTERNALDATE)";

#[tokio::test]
async fn a_folder_or_account_that_is_called_otherwise_goes_on_where_it_was() {
    let mut mailbox = caught_up().await;
    mailbox.imap.mailbox = "inbox".into();
    mailbox.imap.server.account = Some(("ann@shop.example".into(), password()));
    let script = vec![
        selected(7, 5, 4),
        (WITNESS, list(&[(3, 3)])),
        ("UID FETCH 4:4 (UID RFC822.SIZE INTERNALDATE)", list(&[(4, 4)])),
        ("UID FETCH 4 (UID BODY", bodies(&[4])),
        ("UID STORE 4 ", OK),
        ("UID FETCH 5:*", OK),
    ];
    once(&mailbox, &mut Strikes::default(), script).await.0.expect("caught up");
    assert_eq!(taken(&mailbox).await.len(), 4);
}

#[tokio::test]
async fn a_mailbox_on_another_server_or_numbered_anew_brings_nothing_old_again() {
    for (validity, witness) in [(7, Some((3, 9))), (8, None)] {
        let mut mailbox = caught_up().await;
        mailbox.imap.server.host = "imap2.example".into();
        // Copied with its dates; a year later the duplicate memory knows nothing of them. What came since is taken, read or not.
        let mut script = vec![selected(validity, 6, 5)];
        script.extend(witness.map(|mail| (WITNESS, list(&[mail]))));
        script.extend([
            ("UID FETCH 1:5 (UID RFC822.SIZE INTERNALDATE FLAGS)", list(&[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)])),
            ("UID FETCH 4:5 (UID BODY", bodies(&[4, 5])),
            ("UID STORE 4:5 ", OK),
            ("UID FETCH 6:*", OK),
        ]);
        once(&mailbox, &mut Strikes::default(), script).await.0.expect("caught up");
        assert_eq!(taken(&mailbox).await.len(), 5);
    }
}

#[tokio::test]
async fn a_mailbox_out_of_a_backup_gives_its_numbers_a_second_time() {
    // It ends before what was taken; or it grew again meanwhile, and another mail has a number that was taken.
    for (next, witness, listed) in [(3, vec![], vec![(1, 1), (2, 8)]), (5, vec![(3, 9)], vec![(1, 1), (2, 8), (3, 9)])]
    {
        let mailbox = caught_up().await;
        let new: Vec<u32> = listed.iter().map(|(uid, _)| *uid).filter(|uid| *uid > 1).collect();
        let script = vec![
            selected(7, next, 2),
            (WITNESS, list(&witness)),
            ("UID FETCH 1:", list(&listed)),
            // What is asked for is all that counts here.
            ("UID FETCH 2", OK),
            ("UID FETCH 2", NO),
        ];
        let (ended, lines) = once(&mailbox, &mut Strikes::default(), script).await;
        assert!(ended.is_err());
        let wanted = switchboard_email::imap::command::set(&new);
        assert!(lines[3].starts_with(&format!("UID FETCH {wanted} (UID BODY")), "{lines:?}");
    }
}

#[tokio::test]
async fn a_mail_of_which_nothing_was_understood_is_not_taken_for_gone() {
    let mailbox = mailbox();
    // 1 comes without its body and is there; 2 is gone; 4 is told without its number, and the list did not name it.
    let listed = "* 1 FETCH (UID 1 RFC822.SIZE 22)\r\n* 2 FETCH (UID 2 RFC822.SIZE 22)\r\n* 3 FETCH (UID 3 RFC822.SIZE 22)\r\n* 4 FETCH (FUTURE ~ ~)\r\n$ OK\r\n";
    let some = bodies(&[3]).replace("$ OK", "* 1 FETCH (UID 1 FLAGS ())\r\n$ OK").leak();
    let script = vec![
        selected(7, 5, 4),
        ("UID FETCH 1:4 (UID RFC822.SIZE INTERNALDATE)", listed),
        ("UID SEARCH UID 1:4", "* SEARCH 1 2 3 4\r\n$ OK\r\n"),
        ("UID FETCH 1:3 (UID BODY", some),
        ("UID FETCH 1:2 (UID)", "* 1 FETCH (UID 1)\r\n$ OK\r\n"),
        ("UID FETCH 1 (UID BODY", OK),
        ("UID FETCH 1 (UID)", "* 1 FETCH (UID 1)\r\n$ OK\r\n"),
        ("UID STORE 3 ", OK),
        ("UID FETCH 4 (UID BODY", bodies(&[4])),
        ("UID STORE 4 ", OK),
        ("UID FETCH 5:*", OK),
    ];
    once(&mailbox, &mut Strikes::default(), script).await.0.expect("caught up");
    let events = taken(&mailbox).await;
    let mut reasons = reasons(&events);
    reasons.sort_unstable();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[0..2].iter().all(|r| *r == "a message"), "{reasons:?}");
    assert!(reasons[2].starts_with("mail 1 of INBOX (UIDVALIDITY 7): the server's answer about it"), "{reasons:?}");
}

#[tokio::test]
async fn mail_that_is_told_of_while_the_list_is_made_is_looked_for_before_the_server_is_waited_at() {
    let mailbox = mailbox();
    let script = vec![
        selected(7, 1, 0),
        ("UID FETCH 1:* (UID RFC822.SIZE", "* 1 EXISTS\r\n$ OK\r\n"),
        ("UID FETCH 1:* (UID RFC822.SIZE", list(&[(1, 1)])),
        ("UID FETCH 1 (UID BODY", bodies(&[1])),
        ("UID STORE 1 ", OK),
        // One went and one came: as many as before.
        ("UID FETCH 2:*", "* 1 EXPUNGE\r\n* 1 EXISTS\r\n$ OK\r\n"),
        ("UID FETCH 2:*", list(&[(2, 2)])),
        ("UID FETCH 2 (UID BODY", bodies(&[2])),
        ("UID STORE 2 ", OK),
        // The same number once more is no news.
        ("UID FETCH 3:*", "* 1 EXISTS\r\n$ OK\r\n"),
    ];
    once(&mailbox, &mut Strikes::default(), script).await.0.expect("caught up");
    assert_eq!(taken(&mailbox).await.len(), 2);
}

#[tokio::test]
async fn mail_that_comes_before_the_server_waits_with_us_ends_the_wait() {
    let (stream, played) = server(
        "* PREAUTH [CAPABILITY IMAP4rev1 IDLE] hello\r\n",
        vec![selected(7, 1, 0), ("IDLE", "* 1 EXISTS\r\n+ idling\r\n"), ("=DONE", "s2 OK\r\n")],
    );
    let ended = async {
        let mut session = Session::open(stream, &at(Tls::None, password()), 1024).await?;
        session.select("INBOX").await?;
        session.take_news();
        session.idle(Duration::from_secs(1700)).await
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("nobody waits").expect("all is well");
    played.await.expect("it followed the script");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_while_it_waits_with_us_is_asked_and_then_left() {
    let (stream, played) = server(
        "* PREAUTH [CAPABILITY IMAP4rev1 IDLE] hello\r\n",
        vec![
            selected(7, 1, 0),
            ("IDLE", "+ idling\r\n"),
            ("=DONE", "* 1 EXISTS\r\n$ OK\r\n"),
            ("IDLE", "+ idling\r\n"),
            ("=DONE", ""),
            ("=nothing", ""),
        ],
    );
    let mut session = Session::open(stream, &at(Tls::None, password()), 1024).await.expect("open");
    session.select("INBOX").await.expect("selected");
    session.take_news();
    let began = tokio::time::Instant::now();
    session.idle(Duration::from_secs(60)).await.expect("it told nothing, and answers when it is asked");
    assert!((60..70).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(session.take_news(), "there was mail all the time");
    // A connection that is gone without a word is given up.
    let left = session.idle(Duration::from_secs(60)).await;
    assert!(matches!(left, Err(Trouble::Connection(_))), "{left:?}");
    assert!(began.elapsed() < Duration::from_secs(60 * 5), "{:?}", began.elapsed());
    drop(session);
    played.await.expect("it followed the script");
}

#[tokio::test(start_paused = true)]
async fn an_outage_in_which_the_server_gives_nothing_costs_no_mail() {
    let mailbox = mailbox();
    let mut strikes = Strikes::default();
    let begin = || vec![selected(7, 3, 2), ("UID FETCH 1:2 (UID RFC822.SIZE", list(&[(1, 1), (2, 2)]))];
    let together = vec![("UID FETCH 1:2 (UID BODY", NO), ("UID FETCH 1 (UID BODY", NO)];
    assert!(once(&mailbox, &mut strikes, [begin(), together].concat()).await.0.is_err());
    for n in 0..40 {
        tokio::time::advance(Duration::from_secs(30)).await;
        // Another mail is asked for first, each time another one.
        let other = ["UID FETCH 2 (UID BODY", "FETCH 1 (UID BODY", "FETCH * (UID BODY"][n % 3];
        let script = vec![(other, NO), ("UID FETCH 1 (UID BODY", NO)];
        assert!(once(&mailbox, &mut strikes, [begin(), script].concat()).await.0.is_err());
    }
    assert!(taken(&mailbox).await.is_empty());
    let well = vec![
        ("UID FETCH", bodies(&[2])),
        ("UID FETCH 1 (UID BODY", bodies(&[1])),
        ("UID STORE 1 ", OK),
        ("UID FETCH 2 (UID BODY", bodies(&[2])),
        ("UID STORE 2 ", OK),
        ("UID FETCH 3:*", OK),
    ];
    strikes.asked = 0;
    once(&mailbox, &mut strikes, [begin(), well].concat()).await.0.expect("caught up");
    assert_eq!(reasons(&taken(&mailbox).await), ["a message", "a message"]);
}

#[tokio::test]
async fn a_mail_that_alone_is_not_given_is_left_as_it_is() {
    let mut mailbox = mailbox();
    mailbox.imap.move_to = Some("Done".into());
    let mut strikes = Strikes::default();
    let begin = || vec![selected(7, 3, 2), ("UID FETCH 1:2 (UID RFC822.SIZE", list(&[(1, 1), (2, 2)]))];
    let together = vec![("UID FETCH 1:2 (UID BODY", NO), ("UID FETCH 1 (UID BODY", NO)];
    assert!(once(&mailbox, &mut strikes, [begin(), together].concat()).await.0.is_err());
    for _ in 0..6 {
        strikes.asked = 0;
        let script = vec![("UID FETCH 2 (UID BODY.PEEK[]<0.1>)", bodies(&[2])), ("UID FETCH 1 (UID BODY", NO)];
        assert!(once(&mailbox, &mut strikes, [begin(), script].concat()).await.0.is_err());
    }
    strikes.asked = 0;
    let last = vec![
        ("UID FETCH 2 (UID BODY.PEEK[]<0.1>)", bodies(&[2])),
        ("UID FETCH 1 (UID BODY", NO),
        ("UID FETCH 2 (UID BODY", bodies(&[2])),
        ("UID STORE 2 ", OK),
        ("UID COPY 2 ", OK),
        ("UID STORE 2 ", OK),
        ("UID FETCH 3:*", OK),
    ];
    once(&mailbox, &mut strikes, [begin(), last].concat()).await.0.expect("it goes on");
    let events = taken(&mailbox).await;
    let reasons = reasons(&events);
    assert!(reasons[0].contains("too much was read today") && reasons[1] == "a message", "{reasons:?}");
}

#[tokio::test]
async fn a_mail_of_which_the_server_gives_no_byte_is_no_empty_mail() {
    const NIL: &str = "* 1 FETCH (UID 1 BODY[]<0> NIL)\r\n$ OK\r\n";
    const THERE: &str = "* 1 FETCH (UID 1)\r\n$ OK\r\n";
    let begin = || vec![selected(7, 3, 2), ("UID FETCH 1:2 (UID RFC822.SIZE", list(&[(1, 1), (2, 2)]))];
    let both: &'static str = bodies(&[2]).replace("$ OK\r\n", NIL).leak();
    let together =
        |there| vec![("UID FETCH 1:2 (UID BODY", both), ("UID FETCH 1 (UID BODY", NIL), ("UID FETCH 1 (UID)", there)];
    // Another session removed it.
    let removed = mailbox();
    let rest = vec![("UID STORE 2 ", OK), ("UID FETCH 3:*", OK)];
    let script = [begin(), together(OK), rest].concat();
    once(&removed, &mut Strikes::default(), script).await.0.expect("caught up");
    assert_eq!(reasons(&taken(&removed).await), ["a message"]);
    // The server cannot read it.
    let (unreadable, mut strikes) = (mailbox(), Strikes::default());
    assert!(once(&unreadable, &mut strikes, [begin(), together(THERE)].concat()).await.0.is_err());
    let again = || {
        let other = ("UID FETCH 2 (UID BODY.PEEK[]<0.1>)", bodies(&[2]));
        vec![other, ("UID FETCH 1 (UID BODY", NIL), ("UID FETCH 1 (UID)", THERE)]
    };
    strikes.asked = 0;
    let rest = vec![("UID FETCH 2 (UID BODY", bodies(&[2])), ("UID STORE 2 ", OK), ("UID FETCH 3:*", OK)];
    once(&unreadable, &mut strikes, [begin(), again(), rest].concat()).await.0.expect("it goes on");
    let events = taken(&unreadable).await;
    let reasons = reasons(&events);
    assert!(reasons[0].contains("it gives none of its 22 bytes") && reasons[1] == "a message", "{reasons:?}");
}

#[tokio::test]
async fn a_mailbox_is_looked_at_as_often_as_is_written_and_an_idle_ends_before_the_server_ends_it() {
    let mut mailbox = mailbox();
    let minutes = |n: u64| Some(Duration::from_secs(60 * n));
    for (every, told, rest) in [
        (None, true, minutes(28)),
        (None, false, minutes(1)),
        (minutes(1), true, minutes(1)),
        (minutes(5), false, minutes(5)),
        (minutes(60), true, minutes(28)),
        (minutes(60), false, minutes(28)),
    ] {
        mailbox.every = every;
        assert_eq!(Some(mailbox.rest(told)), rest, "{every:?}, {told}");
    }
}
