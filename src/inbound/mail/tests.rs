//! Sessions against a server that says exactly what the test writes: what a good server never says.

mod places;

use super::session::Session;
use super::{Careful, CatchUp, Guard, Mailbox, Mailboxes, Strikes, Trouble, Waits};
use crate::inbound::Ingest;
use crate::log::memory::{MemoryLog, MemoryOptions, Room};
use crate::log::{LogError, Stored};
use std::sync::Arc;
use std::time::Duration;
use switchboard_adapter_sdk::Secret;
use switchboard_email::connect::Stream;
use switchboard_email::{Email, EmailConfig, Imap, Login, Mark, Server, Tls};
use switchboard_envelope::Inbound;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream};
use tokio::task::JoinHandle;

/// What the server expects of a line after its tag, and what it says then; `$` is the tag.
type Script = Vec<(&'static str, &'static str)>;

/// Plays a script and returns the lines that came.
fn server(greeting: &'static str, script: Script) -> (Box<dyn Stream>, JoinHandle<Vec<String>>) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    (Box::new(ours), tokio::spawn(play(theirs, greeting, script)))
}

async fn play(stream: DuplexStream, greeting: &'static str, script: Script) -> Vec<String> {
    let mut stream = BufReader::new(stream);
    stream.write_all(greeting.as_bytes()).await.expect("heard");
    let mut lines = vec![];
    let mut tag = String::new();
    for (wanted, answer) in script {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            break;
        }
        let line = line.trim_end_matches("\r\n").to_owned();
        let (first, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let said = if wanted.starts_with('=') {
            line.clone()
        } else {
            first.clone_into(&mut tag);
            rest.to_owned()
        };
        assert!(said.starts_with(wanted.trim_start_matches('=')), "`{said}` where `{wanted}` was expected");
        lines.push(said);
        let answer = answer.replace('$', &tag).replace("§", "$");
        stream.write_all(answer.as_bytes()).await.expect("heard");
    }
    lines
}

fn at(tls: Tls, login: Login) -> Server {
    Server { host: "127.0.0.1".into(), port: 1, tls, account: Some(("ann".into(), login)), ca: None }
}

fn password() -> Login {
    Login::Password(Secret::new("p"))
}

fn token() -> Login {
    Login::TokenCommand(["/bin/echo", "tok"].map(str::to_owned).to_vec())
}

async fn open(greeting: &'static str, script: Script, server_is: Server) -> (Result<Session, Trouble>, Vec<String>) {
    let (stream, played) = server(greeting, script);
    let session = Session::open(stream, &server_is, 1024).await;
    let failed = session.is_err();
    let kept = if failed { None } else { session.as_ref().ok().map(|_| ()) };
    let lines = played.await.expect("it followed the script");
    assert_eq!(kept.is_some(), !failed);
    (session, lines)
}

#[tokio::test]
async fn what_is_injected_before_tls_is_not_believed() {
    let greeting = "* OK [CAPABILITY IMAP4rev1 STARTTLS] hello\r\n";
    let injected = "$ OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n";
    let (opened, lines) = open(greeting, vec![("STARTTLS", injected)], at(Tls::StartTls, password())).await;
    let error = opened.err().expect("it is refused").to_string();
    assert!(error.contains("between STARTTLS and TLS"), "{error}");
    assert_eq!(lines, ["STARTTLS"], "no password was sent");
}

#[tokio::test]
async fn a_server_that_skips_tls_gets_no_password() {
    for (greeting, script, wanted) in [
        ("* PREAUTH welcome\r\n", vec![], "before TLS"),
        ("* OK hello\r\n", vec![("STARTTLS", "$ NO what is that\r\n")], "no STARTTLS"),
        ("* BYE busy\r\n", vec![], "busy"),
        ("220 smtp.example ESMTP\r\n", vec![], "not an IMAP server"),
    ] {
        let (opened, lines) = open(greeting, script, at(Tls::StartTls, password())).await;
        let error = opened.err().expect("it is refused").to_string();
        assert!(error.contains(wanted), "{error}");
        assert!(lines.iter().all(|l| l == "STARTTLS"), "{lines:?}");
    }
}

#[tokio::test]
async fn each_way_to_log_in_is_used_where_the_server_has_it() {
    let done = "$ OK [CAPABILITY IMAP4rev1 IDLE] in\r\n";
    for (capabilities, login, script, sent) in [
        ("AUTH=PLAIN SASL-IR", password(), vec![("AUTHENTICATE", done)], "AUTHENTICATE PLAIN AGFubgBw"),
        ("AUTH=PLAIN", password(), vec![("AUTHENTICATE PLAIN", "+ \r\n"), ("=AGFubgBw", done)], "AGFubgBw"),
        ("X", password(), vec![("LOGIN", done)], "LOGIN \"ann\" \"p\""),
        (
            "AUTH=XOAUTH2 SASL-IR",
            token(),
            vec![("AUTHENTICATE XOAUTH2 dXNlcj1hbm4BYXV0aD1CZWFyZXIgdG9rAQE=", done)],
            "AUTHENTICATE XOAUTH2",
        ),
        (
            "AUTH=OAUTHBEARER",
            token(),
            vec![("AUTHENTICATE OAUTHBEARER", "+ \r\n"), ("=bixhPWFubiwB", done)],
            "bixhPWFubiwB",
        ),
    ] {
        let greeting: &'static str = format!("* OK [CAPABILITY IMAP4rev1 {capabilities}] hello\r\n").leak();
        let (opened, lines) = open(greeting, script, at(Tls::None, login)).await;
        assert!(opened.expect("logged in").can_idle());
        assert!(lines.last().is_some_and(|l| l.starts_with(sent)), "{lines:?}");
    }
}

#[tokio::test]
async fn a_refused_login_is_told_from_a_lost_connection() {
    let greeting = "* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR] hello\r\n";
    // The reason comes as a challenge, which wants an empty answer.
    let script =
        vec![("AUTHENTICATE", "+ eyJzdGF0dXMiOiI0MDAifQ==\r\n"), ("=", "$ NO [AUTHENTICATIONFAILED] expired\r\n")];
    let (opened, _) = open(greeting, script, at(Tls::None, token())).await;
    let trouble = opened.err().expect("it is refused");
    assert!(
        matches!(&trouble, Trouble::Refused(words) if words.contains("expired") && !words.contains("tok")),
        "{trouble}"
    );
    let mut waits = Waits::default();
    assert!(waits.after(&trouble, Duration::ZERO) >= Duration::from_secs(15), "accounts are locked for less");
    let (opened, _) =
        open("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hello\r\n", vec![], at(Tls::None, password())).await;
    assert!(matches!(opened.err(), Some(Trouble::Refused(words)) if words.contains("LOGINDISABLED")));
    let (opened, _) = open(greeting, vec![("AUTHENTICATE", "* BYE\r\n")], at(Tls::None, token())).await;
    assert!(matches!(opened.err(), Some(Trouble::Connection(_))));
}

#[test]
fn waits_grow_to_an_end_and_begin_again() {
    let lost = Trouble::Connection("x".into());
    let mut waits = Waits::default();
    let all: Vec<u64> = (0..12).map(|_| waits.after(&lost, Duration::ZERO).as_millis() as u64).collect();
    for (n, wait) in all.iter().enumerate() {
        let whole = (1000u64 << n).min(300_000);
        assert!((whole * 3 / 4..=whole).contains(wait), "{n}: {wait}");
    }
    assert!(waits.after(&lost, Duration::from_secs(61)) <= Duration::from_secs(1));
    waits.succeeded();
    assert!(waits.after(&lost, Duration::ZERO) <= Duration::from_secs(1));
    // Locked accounts are of passwords; a token is renewed by somebody else, at any moment.
    let refused = Trouble::Refused("x".into());
    for (login, most) in [(password(), 1800), (token(), 60)] {
        let mut waits = Waits::of(&at(Tls::None, login));
        let all: Vec<u64> = (0..12).map(|_| waits.after(&refused, Duration::ZERO).as_secs()).collect();
        assert!(all[0] >= 15 && all[11] <= most && all[11] >= most * 3 / 4, "{all:?}");
    }
}

fn mailbox() -> Mailbox {
    let imap = Imap {
        server: at(Tls::None, password()),
        mailbox: "INBOX".into(),
        mark: Mark::Keyword,
        move_to: None,
        only_new: false,
    };
    let config = EmailConfig {
        address: "us@shop.example".into(),
        name: None,
        ours: vec!["us@shop.example".into()],
        plus_addresses: true,
        reply_line: false,
        html: true,
        trusted: vec![],
        boundary: vec![],
        max_mail: 1024,
        imap: Some(imap.clone()),
        delivery: None,
        smtp: None,
        reply_all: false,
        dkim: None,
    };
    Mailbox {
        channel: "mail".into(),
        email: Arc::new(Email::new("mail", config, &[1; 32])),
        imap,
        ingest: Ingest { log: Arc::new(MemoryLog::new(&MemoryOptions::default())), metrics: Arc::default() },
        every: None,
        mailboxes: Mailboxes::default(),
    }
}

const HELLO: &str = "* PREAUTH [CAPABILITY IMAP4rev1] hello\r\n";
const SELECTED: &str = "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 4] x\r\n* OK [PERMANENTFLAGS (\\Seen \\*)] x\r\n$ OK [READ-WRITE] x\r\n";

/// One connection to its end.
async fn once(mailbox: &Mailbox, strikes: &mut Strikes, script: Script) -> (Result<(), Trouble>, Vec<String>) {
    let (stream, played) = server(HELLO, script);
    let ended = async {
        let mut session = Session::open(stream, &mailbox.imap.server, 1024).await?;
        let selected = session.select("INBOX").await?;
        let guard = Guard::new(mailbox.ingest.log.clone(), "reading.imap.mail".into(), Careful::Mails(1));
        let mut reader = CatchUp::begin(mailbox, &guard, &mut session, strikes, &selected).await?;
        reader.run(&mut session, strikes).await
    };
    let ended = ended.await;
    (ended, played.await.expect("it followed the script"))
}

async fn taken(mailbox: &Mailbox) -> Vec<Inbound> {
    let all: Vec<Stored> = mailbox.ingest.log.read_in(0, 100).await.expect("readable");
    all.iter().map(|s| Inbound::from_slice(&s.data).expect("an envelope")).collect()
}

fn reasons(events: &[Inbound]) -> Vec<&str> {
    events.iter().map(|e| if let Inbound::Unparsed(u) = e { u.reason.as_str() } else { "a message" }).collect()
}

#[tokio::test]
async fn a_server_that_lies_about_sizes_or_answers_nonsense_costs_its_mail_only() {
    let mailbox = mailbox();
    let long: &'static str = format!(
        "* 1 FETCH (UID 1 BODY[]<0> {{1025}}\r\nFrom: a@b.example\r\n\r\n{})\r\n* 2 FETCH (UID 2 FUTURE ~ ~)\r\n* 3 FETCH (UID 3 BODY[]<0> {{22}}\r\nFrom: c@d.example\r\n\r\nx)\r\n$ OK\r\n",
        "y".repeat(1025 - 21)
    )
    .leak();
    let script = vec![
        ("SELECT \"INBOX\"", SELECTED),
        (
            "UID FETCH 1:3 (UID RFC822.SIZE INTERNALDATE)",
            "* 1 FETCH (UID 1 RFC822.SIZE 5)\r\n* 2 FETCH (UID 2 RFC822.SIZE 5)\r\n* 3 FETCH (UID 3 RFC822.SIZE 5)\r\n$ OK\r\n",
        ),
        ("UID FETCH 1:3 (UID BODY.PEEK[]<0.1025>)", long),
        ("UID FETCH 2 (UID BODY.PEEK[]<0.1025>)", "* 2 FETCH (UID 2 FUTURE ~ ~)\r\n$ OK\r\n"),
        ("UID FETCH 2 (UID)", "* 2 FETCH (UID 2)\r\n$ OK\r\n"),
        ("UID STORE 1,3 +FLAGS.SILENT ($Switchboard)", "$ NO not today\r\n"),
        ("UID FETCH 4:* (UID RFC822.SIZE INTERNALDATE)", "* 3 FETCH (UID 3 RFC822.SIZE 5)\r\n$ OK\r\n"),
    ];
    let (ended, _) = once(&mailbox, &mut Strikes::default(), script).await;
    ended.expect("a mark that is refused is no trouble");
    let events = taken(&mailbox).await;
    let mut reasons = reasons(&events);
    reasons.sort_unstable();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert_eq!(reasons[0], "a message");
    assert!(
        reasons[1].starts_with("mail 2 of INBOX (UIDVALIDITY 7): the server's answer about it cannot be read"),
        "{}",
        reasons[1]
    );
    assert!(reasons[2].contains("max_mail is 1024"), "{}", reasons[2]);
}

#[tokio::test]
async fn a_mail_at_which_the_server_dies_is_left_behind_after_some_tries() {
    let mailbox = mailbox();
    let mut strikes = Strikes::default();
    let list = "* 1 FETCH (UID 1 RFC822.SIZE 5)\r\n* 2 FETCH (UID 2 RFC822.SIZE 5)\r\n$ OK\r\n";
    let good = "* 2 FETCH (UID 2 BODY[]<0> {22}\r\nFrom: c@d.example\r\n\r\nx)\r\n$ OK\r\n";
    let dies = "* BYE internal error\r\n";
    let begin = || vec![("SELECT", SELECTED), ("UID FETCH 1:3 (UID RFC822.SIZE INTERNALDATE)", list)];
    let another = ("UID FETCH 2 (UID BODY.PEEK[]<0.1>)", "* 2 FETCH (UID 2 BODY[]<0> {1}\r\nF)\r\n$ OK\r\n");
    // Together first, then alone until it is enough, each time after another mail was had.
    let mut scripts = vec![vec![("UID FETCH 1:2 (UID BODY", dies)], vec![("UID FETCH 1 (UID BODY", dies)]];
    scripts.extend(std::iter::repeat_n(vec![another, ("UID FETCH 1 (UID BODY", dies)], 7));
    for script in scripts {
        strikes.asked = 0;
        let (ended, _) = once(&mailbox, &mut strikes, [begin(), script].concat()).await;
        assert!(matches!(ended, Err(Trouble::Connection(_))));
    }
    assert!(taken(&mailbox).await.is_empty());
    // It is neither marked nor moved.
    let rest = vec![
        ("UID FETCH 2 (UID BODY", good),
        ("UID STORE 2 +FLAGS.SILENT", "$ OK\r\n"),
        ("UID FETCH 4:* (UID", "$ OK\r\n"),
    ];
    let (ended, _) = once(&mailbox, &mut strikes, [begin(), rest].concat()).await;
    ended.expect("it goes on");
    let events = taken(&mailbox).await;
    let reasons = reasons(&events);
    assert!(reasons.len() == 2 && reasons[0].contains("the connection broke each time"), "{reasons:?}");
    assert_eq!(reasons[1], "a message");
}

#[tokio::test]
async fn a_mail_that_the_log_does_not_take_is_neither_marked_nor_moved_nor_passed_by() {
    let log = MemoryLog::new(&MemoryOptions::default());
    let mut mailbox = mailbox();
    mailbox.ingest.log = Arc::new(log.clone());
    mailbox.imap.move_to = Some("Done".into());
    let begin = vec![
        ("SELECT", SELECTED),
        ("UID FETCH 1:3 (UID RFC822.SIZE INTERNALDATE)", "* 1 FETCH (UID 1 RFC822.SIZE 5)\r\n$ OK\r\n"),
        ("UID FETCH 1 (UID BODY", "* 1 FETCH (UID 1 BODY[]<0> {22}\r\nFrom: c@d.example\r\n\r\nx)\r\n$ OK\r\n"),
    ];
    log.set_room(Room::ForVital);
    let whatever_else = vec![("", "$ OK\r\n"); 4];
    let (ended, lines) = once(&mailbox, &mut Strikes::default(), [begin.clone(), whatever_else].concat()).await;
    assert!(matches!(ended, Err(Trouble::Log(LogError::Full(_)))), "{ended:?}");
    assert!(lines.last().is_some_and(|line| line.starts_with("UID FETCH 1 (UID BODY")), "nothing follows: {lines:?}");
    assert!(taken(&mailbox).await.is_empty());
    log.set_room(Room::Enough);
    let rest = vec![
        ("UID STORE 1 +FLAGS.SILENT ($Switchboard)", "$ OK\r\n"),
        ("UID COPY 1 \"Done\"", "$ OK\r\n"),
        ("UID STORE 1 +FLAGS.SILENT (\\Deleted)", "$ OK\r\n"),
        ("UID FETCH 4:*", "$ OK\r\n"),
    ];
    once(&mailbox, &mut Strikes::default(), [begin, rest].concat()).await.0.expect("caught up");
    assert_eq!(taken(&mailbox).await.len(), 1);
}

/// The connection ends after any of its lines, and once more with the answer on its way: each mail is taken once.
#[tokio::test]
async fn a_connection_that_ends_anywhere_costs_no_mail_and_brings_none_twice() {
    let bodies: &'static str = format!("{}{}$ OK\r\n", body(1, 1024), body(2, 1024)).leak();
    let list = "* 1 FETCH (UID 1 RFC822.SIZE 5)\r\n* 2 FETCH (UID 2 RFC822.SIZE 5)\r\n$ OK\r\n";
    let whole: Script = vec![
        ("SELECT", SELECTED),
        ("UID FETCH 1:3 (UID RFC822.SIZE INTERNALDATE)", list),
        ("UID FETCH 1:2 (UID BODY", bodies),
        ("UID STORE 1:2 +FLAGS.SILENT", "$ OK\r\n"),
        ("UID FETCH 4:*", "$ OK\r\n"),
    ];
    for line in 0..whole.len() {
        let answer = whole[line].1;
        // Before the answer, within it, and right after.
        for end in [0, answer.len() / 3, answer.len() / 2, answer.len() - 1, answer.len()] {
            let mailbox = mailbox();
            let mut cut: Script = whole[..line].to_vec();
            cut.push((whole[line].0, &answer[..end]));
            let mut strikes = Strikes::default();
            let (ended, _) = once(&mailbox, &mut strikes, cut).await;
            let at_end = line + 1 == whole.len() && end == answer.len();
            assert_eq!(ended.is_ok(), at_end, "{line} {end}: {ended:?}");
            let had = taken(&mailbox).await.len();
            assert!(had == 0 || had == 2 || line == 2, "{line} {end}: {had}");
            // What a whole session needs now depends on how far the first one came; whatever it asks is answered.
            let again = async {
                let (stream, played) = answering(whole.clone());
                let mut session = Session::open(stream, &mailbox.imap.server, 1024).await?;
                let selected = session.select("INBOX").await?;
                let guard = Guard::new(mailbox.ingest.log.clone(), "reading.imap.mail".into(), Careful::Mails(1));
                let mut reader = CatchUp::begin(&mailbox, &guard, &mut session, &mut strikes, &selected).await?;
                reader.run(&mut session, &mut strikes).await?;
                drop(session);
                played.await.expect("it answered");
                Ok::<(), Trouble>(())
            };
            again.await.unwrap_or_else(|e| panic!("{line} {end}: {e}"));
            let mut ids: Vec<String> = taken(&mailbox).await.iter().map(|e| e.id().to_owned()).collect();
            ids.sort();
            assert_eq!(ids.len(), 2, "{line} {end}: {ids:?}");
            assert_ne!(ids[0], ids[1]);
        }
    }
}

/// The start of a small mail, as an answer.
fn body(uid: u32, most: usize) -> String {
    let mail = format!("From: c{uid}@d.example\r\nMessage-ID: <{uid}@d.example>\r\n\r\nx");
    let mail = &mail[..mail.len().min(most)];
    format!("* {uid} FETCH (UID {uid} BODY[]<0> {{{}}}\r\n{mail})\r\n", mail.len())
}

/// Answers whatever is asked: for mails with those mails, else by the line of the script that it begins like, and with OK where there
/// is none.
fn answering(script: Script) -> (Box<dyn Stream>, JoinHandle<()>) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let play = async move {
        let mut stream = BufReader::new(theirs);
        stream.write_all(HELLO.as_bytes()).await.expect("heard");
        let mut line = String::new();
        while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
            let (tag, said) = line.split_once(' ').unwrap_or((&line, ""));
            let asked = said.strip_prefix("UID FETCH ").and_then(|rest| rest.split_once(" (UID BODY.PEEK[]<0."));
            let answer = match asked {
                Some((uids, rest)) => {
                    let most = rest.split('>').next().and_then(|n| n.parse().ok()).expect("a number");
                    let wanted = |uid: &u32| uids.split([':', ',']).any(|n| n == uid.to_string());
                    (1..=2).filter(wanted).map(|uid| body(uid, most)).collect::<String>() + "$ OK\r\n"
                }
                None => {
                    script.iter().find(|(wanted, _)| said.starts_with(wanted)).map_or("$ OK\r\n", |(_, a)| a).to_owned()
                }
            };
            let answer = answer.replace('$', tag);
            line.clear();
            stream.write_all(answer.as_bytes()).await.expect("heard");
        }
    };
    (Box::new(ours), tokio::spawn(play))
}

#[tokio::test]
async fn what_was_taken_is_not_fetched_again_and_a_place_outlives_the_process() {
    let mailbox = mailbox();
    let list = "* 1 FETCH (UID 1 RFC822.SIZE 5)\r\n$ OK\r\n";
    let mail = "* 1 FETCH (UID 1 BODY[]<0> {22}\r\nFrom: c@d.example\r\n\r\nx)\r\n$ OK\r\n";
    let first = vec![
        ("SELECT", SELECTED),
        ("UID FETCH 1:3 (UID RFC822.SIZE INTERNALDATE)", list),
        ("UID FETCH 1 (UID BODY", mail),
        ("UID STORE 1 +FLAGS.SILENT", "$ OK\r\n"),
        ("UID FETCH 4:*", "$ OK\r\n"),
    ];
    once(&mailbox, &mut Strikes::default(), first).await.0.expect("caught up");
    // A restart: only what comes is asked for.
    let again = vec![("SELECT", SELECTED), ("UID FETCH 4:* (UID RFC822.SIZE INTERNALDATE)", list)];
    once(&mailbox, &mut Strikes::default(), again).await.0.expect("caught up");
    // Other numbers: all is looked at, what has our keyword is left, and what is known by its content changes nothing.
    let renumbered =
        "* 2 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\n* OK [UIDNEXT 3] x\r\n* OK [PERMANENTFLAGS (\\Seen)] x\r\n$ OK x\r\n";
    let listed = "* 1 FETCH (UID 1 RFC822.SIZE 5 FLAGS (§SWITCHBOARD))\r\n* 2 FETCH (UID 2 RFC822.SIZE 5 FLAGS (\\Seen))\r\n$ OK\r\n";
    let anew = vec![
        ("SELECT", renumbered),
        ("UID FETCH 1:2 (UID RFC822.SIZE INTERNALDATE FLAGS)", listed),
        ("UID FETCH 2 (UID BODY", "* 2 FETCH (UID 2 BODY[]<0> {22}\r\nFrom: c@d.example\r\n\r\nx)\r\n$ OK\r\n"),
        ("UID STORE 2 +FLAGS.SILENT (\\Seen)", "$ OK\r\n"),
        ("UID FETCH 3:*", "$ OK\r\n"),
    ];
    once(&mailbox, &mut Strikes::default(), anew).await.0.expect("caught up");
    let mut ids: Vec<String> = taken(&mailbox).await.iter().map(|e| e.id().to_owned()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}
