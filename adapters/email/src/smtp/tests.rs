//! The client against servers that follow a script: what is said, what came of it, and how it ends when they stop.

use super::{Submission, dialogue::wire};
use crate::compose::{Identity, Mail};
use crate::config::{Login, Server, Tls};
use crate::ids::Keys;
use crate::submission::Stage;
use proptest::prelude::*;
use std::time::Duration;
use switchboard_adapter_sdk::{AttemptOutcome, Secret, signature::to_base64};
use switchboard_envelope::{Fault, Outcome};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One step of a server.
#[derive(Clone, Debug)]
enum Step {
    Says(String),
    /// The next line must begin so.
    Hears(&'static str),
    /// Takes lines up to the one that ends a mail.
    Takes,
    /// Says nothing more, and keeps the connection.
    Waits,
}
use Step::{Hears, Takes, Waits};

fn says(text: &str) -> Step {
    Step::Says(format!("{text}\r\n"))
}

/// A server that plays one script a connection, then closes it. What it heard comes back.
async fn server(scripts: Vec<Vec<Step>>) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let mut heard = vec![];
        for script in scripts {
            let (stream, _) = listener.accept().await.unwrap();
            play(stream, script, &mut heard).await;
        }
        heard
    });
    (port, task)
}

async fn play(stream: TcpStream, script: Vec<Step>, heard: &mut Vec<String>) {
    let mut io = BufReader::new(stream);
    for step in script {
        match step {
            Step::Says(text) => io.get_mut().write_all(text.as_bytes()).await.unwrap(),
            Hears(start) => {
                let mut line = String::new();
                io.read_line(&mut line).await.unwrap();
                assert!(line.starts_with(start), "{start} was due, and came {line:?}");
                heard.push(line.trim_end().to_owned());
            }
            Takes => {
                let mut mail = vec![];
                while !mail.ends_with(b"\r\n.\r\n") {
                    assert_ne!(io.read_until(b'\n', &mut mail).await.unwrap(), 0, "the mail has an end");
                }
                heard.push(String::from_utf8(mail).unwrap());
            }
            Waits => {
                let mut rest = vec![];
                let _ = io.read_to_end(&mut rest).await;
            }
        }
    }
}

const OFFERS: &str = "250-mx.example\r\n250-SIZE 1000\r\n250-AUTH PLAIN LOGIN XOAUTH2\r\n250-DSN\r\n250 8BITMIME";

/// A greeting up to the first mail.
fn greeting() -> Vec<Step> {
    vec![says("220 mx.example"), Hears("EHLO [127.0.0.1]"), says(OFFERS)]
}

/// A mail that is taken.
fn taken() -> Vec<Step> {
    let mut steps = up_to_data();
    steps.extend([Hears("DATA"), says("354 go on"), Takes, says("250 2.0.0 Ok: queued as 1")]);
    steps
}

fn up_to_data() -> Vec<Step> {
    vec![
        Hears("MAIL FROM:<b-x@desk.example>"),
        says("250 2.1.0 Ok"),
        Hears("RCPT TO:<ann@x.example>"),
        says("250 2.1.5 Ok"),
    ]
}

fn script(parts: &[&[Step]]) -> Vec<Step> {
    parts.concat()
}

fn submission(port: u16, account: Option<(String, Login)>, tls: Tls) -> Submission {
    let server = Server { host: "127.0.0.1".into(), port, tls, account, ca: None };
    let identity = Identity {
        address: "support@desk.example".into(),
        name: None,
        domain: "desk.example".into(),
        keys: Keys::new(&[Secret::new("k")]),
        instance: "i".into(),
        tags: true,
        above_line: false,
        html: true,
        reply_all: false,
        ours: vec![],
        dkim: None,
    };
    Submission::new(server, identity)
}

fn mail(text: &str) -> Mail {
    Mail {
        from: "b-x@desk.example".parse().unwrap(),
        to: "ann@x.example".parse().unwrap(),
        cc: vec![],
        message_id: "id=1@desk.example".into(),
        bytes: text.as_bytes().to_vec(),
    }
}

const SOON: Duration = Duration::from_secs(20);

/// What one mail comes to at a server that plays this.
async fn comes_to(script: Vec<Step>) -> AttemptOutcome {
    let (port, _server) = server(vec![script]).await;
    submission(port, None, Tls::None).submit(&mail("Subject: x\r\n\r\nhello\r\n"), Duration::from_secs(3)).await
}

#[tokio::test]
async fn two_mails_go_over_one_connection_each_as_it_was_written() {
    let (port, heard) = server(vec![script(&[&greeting(), &taken(), &taken()])]).await;
    let submission = submission(port, None, Tls::None);
    for text in ["Subject: x\r\n\r\n.hidden\r\n..\nbare\rends", "Subject: y\r\n\r\n"] {
        let outcome = submission.submit(&mail(text), SOON).await;
        assert_eq!((outcome.outcome, outcome.detail.as_deref()), (Outcome::Accepted, None));
        assert_eq!(outcome.provider_ids, ["id=1@desk.example"]);
    }
    let heard = heard.await.unwrap();
    assert_eq!(heard[1], "MAIL FROM:<b-x@desk.example> SIZE=35 RET=HDRS ENVID=id+3D1@desk.example");
    assert_eq!(heard[2], "RCPT TO:<ann@x.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;ann@x.example");
    assert_eq!(heard[4], "Subject: x\r\n\r\n..hidden\r\n...\r\nbare\r\nends\r\n.\r\n");
    assert_eq!(heard.len(), 9, "{heard:?}");
}

#[tokio::test]
async fn a_connection_that_ends_is_unknown_only_once_the_mail_may_be_there() {
    let whole = script(&[&greeting(), &taken()]);
    for end in 0..whole.len() {
        let outcome = comes_to(whole[..end].to_vec()).await;
        // The last step is the server's yes; the one before, that it has the mail. Before that one it hangs up while the mail is
        // on its way, which the system may tell us before or after the last line.
        let expected: &[Outcome] = match whole.len() - end {
            1 => &[Outcome::Unknown],
            2 => &[Outcome::Unknown, Outcome::NotSent],
            _ => &[Outcome::NotSent],
        };
        assert!(expected.contains(&outcome.outcome), "after {end} steps: {outcome:?}");
        assert!(!outcome.channel_refused, "{outcome:?}");
    }
    assert_eq!(comes_to(whole).await.outcome, Outcome::Accepted);
}

#[tokio::test]
async fn a_server_that_says_nothing_more_is_waited_for_and_not_for_ever() {
    let whole = script(&[&greeting(), &taken()]);
    for (end, expected) in [(0, Outcome::NotSent), (5, Outcome::NotSent), (whole.len() - 1, Outcome::Unknown)] {
        let mut script = whole[..end].to_vec();
        script.push(Waits);
        assert_eq!(comes_to(script).await.outcome, expected, "after {end} steps");
    }
}

#[tokio::test]
async fn a_refusal_is_what_it_is_at_its_stage() {
    let data = || script(&[&greeting(), &up_to_data(), &[Hears("DATA")]]);
    for (steps, outcome, refused) in [
        (vec![says("554 no service")], Outcome::NotSent, true),
        (vec![says("421 4.3.2 later")], Outcome::NotSent, false),
        (script(&[&greeting(), &[Hears("MAIL"), says("550 5.7.1 not yours")]]), Outcome::NotSent, true),
        (
            script(&[&greeting(), &[Hears("MAIL"), says("250 Ok"), Hears("RCPT"), says("450 4.2.0 greylisted")]]),
            Outcome::NotSent,
            false,
        ),
        (
            script(&[&greeting(), &[Hears("MAIL"), says("250 Ok"), Hears("RCPT"), says("550 5.1.1 nobody")]]),
            Outcome::Rejected,
            false,
        ),
        (script(&[&data(), &[says("451 4.3.0 later")]]), Outcome::NotSent, false),
        (script(&[&data(), &[says("354 go on"), Takes, says("554 5.7.1 spam")]]), Outcome::Rejected, false),
        (script(&[&data(), &[says("354 go on"), Takes, says("452 4.3.1 full")]]), Outcome::NotSent, false),
    ] {
        let shown = format!("{:?}", steps.last());
        let found = comes_to(steps).await;
        assert_eq!((found.outcome, found.channel_refused), (outcome, refused), "{shown}: {found:?}");
        assert!(found.detail.is_some_and(|d| d.starts_with("the mail server answered ")), "{shown}");
    }
}

#[tokio::test]
async fn what_follows_a_refused_mail_begins_anew() {
    let refused = [Hears("MAIL"), says("250 Ok"), Hears("RCPT"), says("550 5.1.1 nobody")];
    let (port, heard) =
        server(vec![script(&[&greeting(), &refused, &[Hears("RSET"), says("250 Ok")], &taken()])]).await;
    let submission = submission(port, None, Tls::None);
    assert_eq!(submission.submit(&mail("a"), SOON).await.outcome, Outcome::Rejected);
    assert_eq!(submission.submit(&mail("b"), SOON).await.outcome, Outcome::Accepted);
    heard.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_waited_is_no_reason_to_wait() {
    for says_so in [vec![], vec![Hears("MAIL"), says("421 4.4.2 timeout")]] {
        let (port, heard) =
            server(vec![script(&[&greeting(), &taken(), &says_so]), script(&[&greeting(), &taken()])]).await;
        let submission = submission(port, None, Tls::None);
        for text in ["a", "b"] {
            assert_eq!(submission.submit(&mail(text), SOON).await.outcome, Outcome::Accepted);
        }
        heard.await.unwrap();
    }
}

#[tokio::test]
async fn what_the_server_cannot_take_is_not_offered() {
    let large = mail(&"x".repeat(1001));
    let (port, _server) = server(vec![script(&[&greeting(), &[Waits]])]).await;
    let found = submission(port, None, Tls::None).submit(&large, SOON).await;
    assert_eq!(
        (found.outcome, found.detail.as_deref()),
        (Outcome::Rejected, Some("the mail has 1001 bytes, and the mail server takes 1000: leave files out"))
    );
    let named = Mail { to: "jörg@x.example".parse().unwrap(), ..mail("x") };
    let (port, _server) = server(vec![script(&[&greeting(), &[Waits]])]).await;
    let found = submission(port, None, Tls::None).submit(&named, SOON).await;
    assert!(found.outcome == Outcome::Rejected && found.detail.unwrap().contains("SMTPUTF8"));
}

fn copied() -> Mail {
    let cc = ["bob@x.example", "carl@x.example"].map(|a| a.parse().unwrap()).to_vec();
    Mail { cc, ..mail("a") }
}

#[tokio::test]
async fn a_copy_that_the_server_refuses_does_not_keep_the_mail_from_its_customer() {
    let asked =
        [Hears("RCPT TO:<bob@x.example>"), says("550 5.1.1 nobody"), Hears("RCPT TO:<carl@x.example>"), says("250 Ok")];
    let rest = [Hears("DATA"), says("354 go on"), Takes, says("250 2.0.0 Ok")];
    let (port, heard) = server(vec![script(&[&greeting(), &up_to_data(), &asked, &rest])]).await;
    let outcome = submission(port, None, Tls::None).submit(&copied(), SOON).await;
    assert_eq!((outcome.outcome, outcome.provider_ids.len(), outcome.fault), (Outcome::Accepted, 1, None));
    let detail = outcome.detail.unwrap();
    assert!(
        detail.starts_with("it went to ann@x.example, and not to bob@x.example: the mail server answered 550"),
        "{detail}"
    );
    heard.await.unwrap();
    // The customer's own refusal is the mail's, and nobody gets a copy of what they do not get.
    let refused = [Hears("MAIL"), says("250 Ok"), Hears("RCPT TO:<ann@x.example>"), says("550 5.1.1 nobody")];
    let (port, _server) = server(vec![script(&[&greeting(), &refused])]).await;
    assert_eq!(submission(port, None, Tls::None).submit(&copied(), SOON).await.outcome, Outcome::Rejected);
    let hangs_up = [Hears("RCPT TO:<bob@x.example>"), says("421 4.3.2 going down")];
    let (port, _server) = server(vec![script(&[&greeting(), &up_to_data(), &hangs_up])]).await;
    assert_eq!(submission(port, None, Tls::None).submit(&copied(), SOON).await.outcome, Outcome::NotSent);
}

#[tokio::test]
async fn what_did_not_leave_says_whose_trouble_it_was() {
    let recipient =
        |answer: &str| script(&[&greeting(), &[Hears("MAIL"), says("250 Ok"), Hears("RCPT"), says(answer)]]);
    for (steps, fault) in [
        (recipient("450 4.2.0 greylisted"), Some(Fault::Recipient)),
        (recipient("451 4.7.1 come again"), Some(Fault::Recipient)),
        (recipient("450 no status"), Some(Fault::Recipient)),
        (recipient("452 4.2.2 full"), Some(Fault::Recipient)),
        (recipient("451 4.3.0 our disk"), None),
        (recipient("421 4.7.0 too many of you"), None),
        (recipient("452 4.5.3 too many recipients"), None),
        (recipient("550 5.1.1 nobody"), None),
        (script(&[&greeting(), &[Hears("MAIL"), says("451 4.7.1 come again")]]), None),
        (vec![says("421 4.3.2 busy")], None),
        (vec![], Some(Fault::Unreachable)),
    ] {
        let shown = format!("{:?}", steps.last());
        assert_eq!(comes_to(steps).await.fault, fault, "{shown}");
    }
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let outcome = submission(port, None, Tls::None).submit(&mail("a"), SOON).await;
    assert_eq!(outcome.fault, Some(Fault::Unreachable));
}

fn password(offers: &str) -> (Vec<Step>, (String, Login)) {
    let greeting = vec![says("220 mx"), Hears("EHLO"), says(&format!("250-mx\r\n250 AUTH {offers}"))];
    (greeting, ("support".into(), Login::Password(Secret::new("pass"))))
}

#[tokio::test]
async fn an_account_is_opened_in_the_way_that_the_server_knows() {
    let (greets, account) = password("LOGIN PLAIN");
    let plain = script(&[&greets, &[Hears("AUTH PLAIN AHN1cHBvcnQAcGFzcw=="), says("235 2.7.0 Ok")], &taken()]);
    let (greets, _) = password("LOGIN");
    let by_login = [
        Hears("AUTH LOGIN"),
        says("334 VXNlcm5hbWU6"),
        Hears("c3VwcG9ydA=="),
        says("334 UGFzc3dvcmQ6"),
        Hears("cGFzcw=="),
        says("235 Ok"),
    ];
    for script in [plain, script(&[&greets, &by_login, &taken()])] {
        let (port, heard) = server(vec![script]).await;
        let outcome = submission(port, Some(account.clone()), Tls::None).submit(&mail("a"), SOON).await;
        assert_eq!(outcome.outcome, Outcome::Accepted, "{outcome:?}");
        heard.await.unwrap();
    }
    let (greets, _) = password("CRAM-MD5");
    let (port, _server) = server(vec![greets]).await;
    let outcome = submission(port, Some(account.clone()), Tls::None).submit(&mail("a"), SOON).await;
    assert!(outcome.channel_refused && outcome.detail.unwrap().contains("it has CRAM-MD5"));
    let (greets, _) = password("PLAIN");
    let (port, _server) = server(vec![script(&[&greets, &[Hears("AUTH"), says("535 5.7.8 no")]])]).await;
    let outcome = submission(port, Some(account), Tls::None).submit(&mail("a"), SOON).await;
    assert!(outcome.outcome == Outcome::NotSent && outcome.channel_refused, "{outcome:?}");
    assert!(!format!("{outcome:?}").contains("pass\""), "{outcome:?}");
}

#[tokio::test]
async fn a_token_is_asked_for_at_each_login_and_its_refusal_is_not_the_accounts() {
    let command = |script: &str| {
        let words = ["sh", "-c", script].map(str::to_owned).to_vec();
        Some(("support".to_owned(), Login::TokenCommand(words)))
    };
    let wanted = to_base64(b"user=support\x01auth=Bearer tok-1\x01\x01");
    let (greets, _) = password("XOAUTH2");
    let (port, heard) = server(vec![script(&[&greets, &[Hears("AUTH XOAUTH2 "), says("235 Ok")], &taken()])]).await;
    let outcome = submission(port, command("echo tok-1"), Tls::None).submit(&mail("a"), SOON).await;
    assert_eq!(outcome.outcome, Outcome::Accepted, "{outcome:?}");
    assert_eq!(heard.await.unwrap()[1], format!("AUTH XOAUTH2 {wanted}"));

    let no = [Hears("AUTH XOAUTH2 "), says("334 eyJzdGF0dXMiOiI0MDEifQ=="), Hears("\r\n"), says("535 5.7.8 expired")];
    let (port, _server) = server(vec![script(&[&greets, &no])]).await;
    let outcome = submission(port, command("echo old"), Tls::None).submit(&mail("a"), SOON).await;
    assert!(outcome.outcome == Outcome::NotSent && !outcome.channel_refused, "{outcome:?}");

    for (script, why) in [("exit 3", "exit status: 3"), ("echo two words", "is none"), ("printf ''", "is empty")] {
        let (port, _server) = server(vec![greets.clone()]).await;
        let outcome = submission(port, command(script), Tls::None).submit(&mail("a"), SOON).await;
        assert_eq!(outcome.outcome, Outcome::NotSent);
        assert!(outcome.detail.as_ref().unwrap().contains(why), "{outcome:?}");
    }
}

#[tokio::test]
async fn nothing_is_said_in_the_clear_where_encryption_was_wanted() {
    let (greets, account) = password("PLAIN");
    let (port, heard) = server(vec![greets]).await;
    let outcome = submission(port, Some(account.clone()), Tls::StartTls).submit(&mail("a"), SOON).await;
    assert!(outcome.channel_refused && outcome.detail.unwrap().contains("STARTTLS"));
    assert_eq!(heard.await.unwrap().len(), 1, "no password");
    // Somebody on the way adds a line to be read as if it had come encrypted.
    let offer = [says("220 mx"), Hears("EHLO"), says("250-mx\r\n250 STARTTLS"), Hears("STARTTLS")];
    let (port, _server) = server(vec![script(&[&offer, &[says("220 go\r\n250 AUTH PLAIN"), Waits]])]).await;
    let outcome = submission(port, Some(account), Tls::StartTls).submit(&mail("a"), SOON).await;
    assert!(outcome.outcome == Outcome::NotSent && outcome.detail.unwrap().contains("before the encryption began"));
}

#[tokio::test]
async fn a_server_that_talks_without_end_is_not_listened_to() {
    for talk in ["x".repeat(1_000_000), "220-more\r\n".repeat(100_000), "HTTP/1.1 400 no\r\n".into()] {
        let (port, server) = server(vec![vec![Step::Says(talk), Waits]]).await;
        let outcome = submission(port, None, Tls::None).submit(&mail("a"), SOON).await;
        assert_eq!(outcome.outcome, Outcome::NotSent);
        assert!(outcome.detail.unwrap().contains("does not speak SMTP"));
        server.abort();
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let outcome = submission(port, None, Tls::None).submit(&mail("a"), SOON).await;
    assert_eq!(outcome.outcome, Outcome::NotSent);
    assert_eq!(crate::submission::lost(Stage::Connect, "x").outcome, Outcome::NotSent);
}

proptest! {
    #[test]
    fn no_mail_ends_before_its_end_whatever_is_in_it(bytes in prop::collection::vec(prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..200)) {
        let out = wire(&bytes);
        let text: Vec<u8> = [b"\r\n".as_slice(), &out].concat();
        prop_assert!(!text.windows(5).any(|w| w == b"\r\n.\r\n"), "{out:?}");
        prop_assert!(out.is_empty() || out.ends_with(b"\r\n"));
        for (at, byte) in out.iter().enumerate() {
            prop_assert!(*byte != b'\n' || (at > 0 && out[at - 1] == b'\r'), "no bare line feed");
            prop_assert!(*byte != b'\r' || out.get(at + 1) == Some(&b'\n'), "no bare carriage return");
        }
    }
}
