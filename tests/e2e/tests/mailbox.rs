//! The channel `email` against a real Dovecot that is killed, numbered anew and shared with another client.
//!
//! `MAILBOX_MAILS` makes the large mailbox smaller or larger.
#![forbid(unsafe_code)]

use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use switchboard_e2e::{
    Api, Daemon, Dice, Dovecot, Frayed, MAILBOX_PASSWORD, MailClient, Postfix, Shop, eventually, eventually_within,
    free_port, http, message,
};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

fn mail(number: usize, text: &str) -> String {
    format!(
        "From: Customer {number} <customer{number}@example.org>\r\nTo: support@shop.example\r\nSubject: Question {number}\r\n\
         Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{number}@example.org>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
    )
}

async fn shop_over(imap: &str) -> (Dovecot, Shop) {
    let mut dovecot = Dovecot::new();
    dovecot.up().await;
    let shop = Shop::with("http://127.0.0.1:9").more(&dovecot.channel(imap)).open();
    (dovecot, shop)
}

fn sender(number: usize) -> String {
    format!("email:customer{number}@example.org")
}

async fn arrived(api: &Api, number: usize, text: &str) -> Value {
    api.conversation(&sender(number), &format!("to hold `{text}`"), |c| message(c, text).is_some()).await
}

/// How many messages each customer has. Every one of ours wrote one.
async fn counts(api: &Api) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for conversation in api.all("/conversations?channel=support-email", "conversations").await {
        let id = conversation["id"].as_str().expect("an id").to_owned();
        let messages = api.messages(&id).await.len();
        let who = conversation["contact"].to_string();
        *counts.entry(who).or_default() += messages;
    }
    counts
}

/// Waits until so many customers have written, and says that each did once.
async fn each_once(api: &Api, customers: usize, deadline: Duration) {
    eventually_within(deadline, &format!("{customers} conversations"), || async {
        let found = api.all("/conversations?channel=support-email", "conversations").await.len();
        if found >= customers { Ok(()) } else { Err(format!("{found} of {customers}")) }
    })
    .await;
    let counts = counts(api).await;
    assert_eq!(counts.len(), customers, "one conversation a customer");
    let doubled: Vec<_> = counts.iter().filter(|(_, n)| **n != 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
}

async fn until_flags(client: &mut MailClient, uid: u32, wanted: &str) -> String {
    for _ in 0..400 {
        let said = client.ask(&format!("UID FETCH {uid} (FLAGS)")).await;
        let told: String = said.lines().filter(|line| line.contains(" FETCH ")).collect();
        if told.contains(wanted) {
            return told;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("mail {uid} never had `{wanted}`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_is_routed_with_its_files_and_then_marked() {
    let (dovecot, shop) = shop_over("").await;
    let daemon = Daemon::start(&shop).await;
    let mut client = dovecot.client().await;
    let photo = "From: Ann <ann@example.org>\r\nTo: support@shop.example\r\nSubject: Broken\r\nMessage-ID: <a@example.org>\r\n\
        MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
        It arrived broken.\r\n\r\n> quoted\r\n--b\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=box.png\r\n\
        Content-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--b--\r\n";
    client.append(photo).await.expect("Dovecot takes it");
    let api = shop.api();
    let whole = api.conversation("email:ann@example.org", "to hold the photo", |c| {
        message(c, "It arrived broken.").is_some_and(|m| m["attachments"][0]["name"] == "box.png")
    });
    let whole = whole.await;
    let said = message(&whole, "It arrived broken.").expect("it was there").clone();
    assert_eq!(said["subject"], "Broken");
    let url = said["attachments"][0]["url"].as_str().expect("a link to the file");
    let file = http().get(format!("{}{url}", shop.admin())).bearer_auth(shop.token()).send().await.expect("an answer");
    assert_eq!(file.bytes().await.expect("bytes").as_ref(), b"\x89PNG\r\n\x1a\n");
    // The quote is in none of its texts, so the mail is there as it came.
    let files = said["attachments"].as_array().expect("files");
    assert_eq!(
        files.iter().map(|f| f["name"].as_str().unwrap_or_default()).collect::<Vec<_>>(),
        ["box.png", "original.eml"]
    );
    let url = files[1]["url"].as_str().expect("a link to the mail");
    let original = http().get(format!("{}{url}", shop.admin())).send().await.expect("an answer");
    assert_eq!(String::from_utf8_lossy(&original.bytes().await.expect("bytes")), photo);
    let flags = until_flags(&mut client, 1, "$Switchboard").await;
    assert!(!flags.contains("\\Seen"), "people see what nobody has read: {flags}");
    // Without IDLE it would come at the next look, ten seconds later.
    let began = std::time::Instant::now();
    client.append(&mail(2, "A second one.")).await.expect("Dovecot takes it");
    arrived(&api, 2, "A second one.").await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(daemon.metric("switchboard_adapter_up").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_tells_nothing_is_looked_at_again_and_again() {
    let mut dovecot = Dovecot::without_idle();
    dovecot.up().await;
    let shop = Shop::with("http://127.0.0.1:9").more(&dovecot.channel("")).open();
    let _daemon = Daemon::start(&shop).await;
    let mut client = dovecot.client().await;
    let can = client.ask("CAPABILITY").await;
    assert!(can.contains("MOVE") && !can.contains("IDLE"), "{can}");
    let api = shop.api();
    for (number, text) in [(1, "Before it looks."), (2, "Between two looks."), (3, "After another look.")] {
        client.append(&mail(number, text)).await.expect("Dovecot takes it");
        // It looks every ten seconds.
        arrived(&api, number, text).await;
    }
    each_once(&api, 3, Duration::from_secs(5)).await;
    until_flags(&mut client, 3, "$Switchboard").await;
}

/// Waits until the channel is shown as one that fails, with these words.
async fn failing(shop: &Shop, words: &str) {
    eventually(&format!("the channel to say `{words}`"), || async {
        let said = shop.command(&["channels"]);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let row = said.lines().find(|l| l.starts_with("support-email")).unwrap_or_default();
        if row.contains("  failing  ") && row.contains(words) { Ok(()) } else { Err(said) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_believes_is_told_with_what_to_write() {
    let mut dovecot = Dovecot::new();
    dovecot.up().await;
    let ca = format!(", ca = \"{}\"", dovecot.ca().display());
    let shop = Shop::with("http://127.0.0.1:9").more(&dovecot.channel("").replace(&ca, "")).open();
    let _daemon = Daemon::start(&shop).await;
    failing(&shop, ": if its issuer is one of your own, name the issuer's certificate in `ca`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_mended_in_its_file_opens_the_mailbox_without_a_restart() {
    let mut dovecot = Dovecot::new();
    dovecot.up().await;
    let literal = format!("password = \"{MAILBOX_PASSWORD}\"");
    let channel = dovecot.channel("").replace(&literal, "password = { file = \"imap.password\" }");
    let shop = Shop::with("http://127.0.0.1:9").more(&channel).open();
    shop.write_secret("imap.password", "worng");
    let _daemon = Daemon::start(&shop).await;
    let mut client = dovecot.client().await;
    client.append(&mail(1, "Hello.")).await.expect("Dovecot takes it");
    failing(&shop, "the server refuses the login of `support`").await;
    shop.write_secret("imap.password", MAILBOX_PASSWORD);
    arrived(&shop.api(), 1, "Hello.").await;
    eventually("the channel to be up", || async {
        let said = shop.command(&["channels"]);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let row = said.lines().find(|l| l.starts_with("support-email")).unwrap_or_default().to_owned();
        if row.split_whitespace().eq(["support-email", "email", "up", "-"]) { Ok(()) } else { Err(said) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_starttls_mails_are_moved_into_a_folder_that_is_made_for_them() {
    let mut dovecot = Dovecot::new();
    dovecot.up().await;
    let channel = dovecot
        .channel(", move_to = \"Erledigt.für uns\", tls = \"starttls\"")
        .replace(&format!("port = {}", dovecot.imaps_port), &format!("port = {}", dovecot.imap_port));
    let shop = Shop::with("http://127.0.0.1:9").more(&channel).open();
    let mut client = dovecot.client().await;
    for number in 1..=3 {
        client.append(&mail(number, "Hello.")).await.expect("Dovecot takes it");
    }
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    each_once(&api, 3, Duration::from_secs(30)).await;
    eventually("the mailbox to be empty", || async {
        let said = dovecot.client().await.ask("STATUS INBOX (MESSAGES)").await;
        if said.contains("MESSAGES 0") { Ok(()) } else { Err(said) }
    })
    .await;
    let listed = client.ask("LIST \"\" *").await;
    assert!(listed.contains("f&APw-r uns"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_are_marked_as_read_where_that_is_wanted_and_what_was_read_before_is_taken_once() {
    let (dovecot, shop) = shop_over(", mark = \"seen\"").await;
    let mut client = dovecot.client().await;
    for number in 1..=3 {
        client.append(&mail(number, "Hello.")).await.expect("Dovecot takes it");
    }
    client.ask("UID STORE 1 +FLAGS (\\Seen)").await;
    let mut daemon = Daemon::start(&shop).await;
    each_once(&shop.api(), 3, Duration::from_secs(30)).await;
    for uid in 1..=3 {
        let flags = until_flags(&mut client, uid, "\\Seen").await;
        assert!(!flags.contains("$Switchboard"), "{flags}");
    }
    // Nor does a person who marks it as unread have it taken again.
    client.ask("UID STORE 2 -FLAGS (\\Seen)").await;
    daemon.kill();
    daemon.restart().await;
    client.append(&mail(4, "Hello.")).await.expect("Dovecot takes it");
    each_once(&shop.api(), 4, Duration::from_secs(30)).await;
    // The server tells of others on the way.
    let told = client.ask("UID FETCH 2 (FLAGS)").await;
    let flags = told.lines().find(|line| line.contains("(UID 2 ")).unwrap_or_default();
    assert!(!flags.is_empty() && !flags.contains("\\Seen"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_file_is_read_at_each_login_and_one_that_ran_out_is_refused() {
    let mut dovecot = Dovecot::new();
    dovecot.up().await;
    let password = format!("password = \"{MAILBOX_PASSWORD}\"");
    let channel = dovecot.channel("").replace(&password, "token_file = \"support.token\"");
    let shop = Shop::with("http://127.0.0.1:9").more(&channel).open();
    let renew = |seconds| {
        let path = shop.folder().join("support.token");
        std::fs::write(&path, format!("{}\n", dovecot.token(seconds))).expect("a token");
        let for_us = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, for_us).expect("for us alone");
    };
    renew(-60);
    let daemon = Daemon::start(&shop).await;
    eventually("the refusal", || async {
        let text = http().get(format!("{}/readyz", shop.admin())).send().await.map_err(|e| e.to_string())?;
        let text = text.text().await.map_err(|e| e.to_string())?;
        if text.contains("its mailbox cannot be read") { Ok(()) } else { Err(text) }
    })
    .await;
    // Whoever keeps the file fresh does so now; the next try is twenty seconds off.
    renew(300);
    let mut client = dovecot.client().await;
    client.append(&mail(1, "Hello.")).await.expect("Dovecot takes it");
    each_once(&shop.api(), 1, Duration::from_secs(60)).await;
    assert!(dovecot.logins("XOAUTH2") >= 1, "by the token that was renewed");
    assert!(!daemon.said().contains(&dovecot.token(300)[..40]), "a token is a secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_mail_to_two_of_our_mailboxes_is_one_message_of_the_one_it_was_written_to() {
    let mut dovecot = Dovecot::new();
    dovecot.up().await;
    let mut client = dovecot.client().await;
    client.ask("CREATE Sales").await;
    let sales = dovecot
        .channel(", mailbox = \"Sales\"")
        .replace("support-email", "sales-email")
        .replace("support@shop.example", "sales@shop.example");
    let shop = Shop::with("http://127.0.0.1:9").more(&format!("{}{sales}", dovecot.channel(""))).open();
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    let both = mail(1, "Who of you helps me?").replace("To: support@", "To: support@shop.example, sales@");
    // The copy that was not meant comes first.
    client.ask(&format!("APPEND Sales {{{}+}}\r\n{both}", both.len())).await;
    let first = arrived(&api, 1, "Who of you helps me?").await;
    assert_eq!(first["channel"], "support-email", "it was written to this address first");
    client.append(&both).await.expect("Dovecot takes it");
    // What comes behind it in the same mailbox shows that it was read.
    client.append(&mail(2, "Behind it.")).await.expect("Dovecot takes it");
    arrived(&api, 2, "Behind it.").await;
    let one = arrived(&api, 1, "Who of you helps me?").await;
    let id = one["id"].as_str().expect("an id");
    assert_eq!((one["id"].as_str(), api.messages(id).await.len()), (first["id"].as_str(), 1));
    assert_eq!(api.all("/conversations?channel=sales-email", "conversations").await.len(), 0);
    // What is written to the other alone stays there.
    let other = mail(3, "An offer, please.").replace("To: support@", "To: sales@");
    client.ask(&format!("APPEND Sales {{{}+}}\r\n{other}", other.len())).await;
    assert_eq!(arrived(&api, 3, "An offer, please.").await["channel"], "sales-email");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_nobody_vouches_for_gets_no_password() {
    let mut dovecot = Dovecot::new();
    dovecot.up().await;
    let channel = dovecot.channel("").replace(&format!(", ca = \"{}\"", dovecot.ca().display()), "");
    let shop = Shop::with("http://127.0.0.1:9").more(&channel).open();
    let daemon = Daemon::start(&shop).await;
    let ready = eventually("readiness to say why", || async {
        let text = http().get(format!("{}/readyz", shop.admin())).send().await.map_err(|e| e.to_string())?;
        let text = text.text().await.map_err(|e| e.to_string())?;
        if text.contains("its mailbox cannot be read") { Ok(text) } else { Err(text) }
    })
    .await;
    assert!(ready.contains("support-email") && ready.contains("TLS"), "{ready}");
    assert!(!daemon.said().contains("a-mailbox-secret") && !ready.contains("a-mailbox-secret"));
    assert_eq!(daemon.metric("switchboard_adapter_up").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_survive_a_server_and_a_daemon_that_are_killed() {
    const MAILS: usize = 300;
    let (mut dovecot, shop) = shop_over("").await;
    let mut daemon = Daemon::start(&shop).await;
    let mut dice = Dice::new(7);
    let mut sent = 0;
    let mut client = dovecot.client().await;
    while sent < MAILS {
        let number = sent + 1;
        match client.append(&mail(number, "Where is my order?")).await {
            Ok(()) => sent = number,
            // It may have it all the same: the same mail again is the same message.
            Err(_) => client = dovecot.client().await,
        }
        if number % 60 == 0 && sent == number {
            tokio::time::sleep(Duration::from_millis(dice.below(300))).await;
            if number % 120 == 0 {
                daemon.kill();
                daemon.restart().await;
            }
            dovecot.down();
            dovecot.up().await;
            client = dovecot.client().await;
        }
    }
    each_once(&shop.api(), MAILS, Duration::from_secs(90)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_is_numbered_anew_brings_nothing_twice_and_loses_nothing() {
    let (mut dovecot, shop) = shop_over("").await;
    let daemon = Daemon::start(&shop).await;
    let mut client = dovecot.client().await;
    for number in 1..=20 {
        client.append(&mail(number, "Hello.")).await.expect("Dovecot takes it");
    }
    let api = shop.api();
    each_once(&api, 20, Duration::from_secs(30)).await;
    until_flags(&mut client, 20, "$Switchboard").await;
    // Some lose the mark, so that only their content tells that they are known.
    client.ask("UID STORE 1:10 -FLAGS ($Switchboard)").await;
    client.ask("LOGOUT").await;
    let before = daemon.metric("switchboard_ingested_total").await;
    dovecot.down();
    dovecot.renumber();
    dovecot.drop_files((21..=22).map(|n| mail(n, "Hello.")));
    dovecot.up().await;
    // What is behind all the others comes last.
    dovecot.client().await.append(&mail(23, "Hello.")).await.expect("Dovecot takes it");
    arrived(&api, 23, "Hello.").await;
    each_once(&api, 23, Duration::from_secs(60)).await;
    eventually("the warning", || async {
        if daemon.said().contains("numbered anew") { Ok(()) } else { Err(daemon.said()) }
    })
    .await;
    assert!(before > 0.0, "the metric is called otherwise now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_called_otherwise_goes_on_where_it_was() {
    let (dovecot, shop) = shop_over(", mailbox = \"INBOX\"").await;
    let mut client = dovecot.client().await;
    for number in 1..=5 {
        client.append(&mail(number, "Hello.")).await.expect("Dovecot takes it");
    }
    let mut daemon = Daemon::start(&shop).await;
    let api = shop.api();
    each_once(&api, 5, Duration::from_secs(30)).await;
    until_flags(&mut client, 5, "$Switchboard").await;
    client.ask("UID STORE 1:5 -FLAGS ($Switchboard)").await;
    daemon.terminate(Duration::from_secs(30)).await;
    shop.reconfigure(|c| c.replace("mailbox = \"INBOX\"", "mailbox = \"inbox\""));
    daemon.restart().await;
    client.append(&mail(6, "Hello.")).await.expect("Dovecot takes it");
    each_once(&api, 6, Duration::from_secs(30)).await;
    let flags = client.ask("UID FETCH 1:5 (FLAGS)").await;
    // The sixth is told of without its UID, because it changed.
    let mut asked = flags.lines().filter(|line| line.contains("(UID "));
    assert!(asked.all(|line| !line.contains("$Switchboard")), "they were taken once more: {flags}");
    assert!(!daemon.said().contains("numbered anew"), "{}", daemon.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_that_plays_with_flags_changes_nothing() {
    let (dovecot, shop) = shop_over("").await;
    let mut client = dovecot.client().await;
    for number in 1..=10 {
        client.append(&mail(number, "Hello.")).await.expect("Dovecot takes it");
    }
    // Read, answered and wrongly marked as ours before we look; and one is gone.
    client.ask("UID STORE 1:5 +FLAGS (\\Seen \\Answered)").await;
    client.ask("UID STORE 6:7 +FLAGS ($Switchboard)").await;
    let daemon = Daemon::start(&shop).await;
    let api = shop.api();
    each_once(&api, 10, Duration::from_secs(30)).await;
    until_flags(&mut client, 10, "$Switchboard").await;
    client.ask("UID STORE 1:10 -FLAGS ($Switchboard \\Seen)").await;
    client.ask("UID STORE 3:4 +FLAGS (\\Deleted)").await;
    client.ask("EXPUNGE").await;
    client.ask("UID COPY 8 INBOX").await;
    client.append(&mail(11, "Hello.")).await.expect("Dovecot takes it");
    each_once(&api, 11, Duration::from_secs(30)).await;
    assert!(!daemon.said().contains("cannot be read now"), "{}", daemon.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_cannot_be_taken_is_quarantined_and_the_next_one_comes() {
    let (dovecot, shop) = shop_over("").await;
    shop.reconfigure(|c| c.replace("poll = \"10s\"\nimap", "poll = \"10s\"\nmax_mail = \"64KiB\"\nimap"));
    let mut client = dovecot.client().await;
    client.append(&mail(1, &"x".repeat(70_000))).await.expect("Dovecot takes it");
    let nested = "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n".repeat(1000);
    client.append(&format!("From: evil@example.org\r\n{nested}")).await.expect("Dovecot takes it");
    client.append("\r\n").await.expect("Dovecot takes it");
    client.append(&mail(4, "After all that.")).await.expect("Dovecot takes it");
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    arrived(&api, 4, "After all that.").await;
    let held = api.all("/quarantine", "quarantine").await;
    let large = held.iter().find(|h| h.to_string().contains("max_mail")).unwrap_or_else(|| panic!("{held:?}"));
    assert!(large.to_string().contains("customer1@example.org"), "its head is kept: {large}");
    until_flags(&mut client, 1, "$Switchboard").await;
}

const MAILBOX_MAILS: usize = 50_000;

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("a line about memory");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

/// Catches up with a mailbox of so many mails: the most memory that it took, in MB.
async fn memory_of(mails: usize) -> u64 {
    let mut dovecot = Dovecot::new();
    let body = "A line of words that a customer could have written to a shop.\r\n".repeat(60);
    dovecot.drop_files((1..=mails).map(|n| mail(n % 500, &format!("Mail {n}.\r\n{body}"))));
    dovecot.up().await;
    let shop = Shop::with("http://127.0.0.1:9").more(&dovecot.channel("")).open();
    let daemon = Daemon::start(&shop).await;
    let began = std::time::Instant::now();
    let mut most = 0;
    loop {
        let taken = daemon.metric("switchboard_ingested_total").await;
        most = most.max(resident(daemon.pid()) / 1024);
        if taken as usize >= mails {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60 + mails as u64 / 50), "{taken} of {mails}: {most} MB");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("{mails} mails in {:?}: {most} MB at most", began.elapsed());
    assert_eq!(shop.api().all("/quarantine", "quarantine").await, Vec::<Value>::new(), "each of them is a message");
    most
}

/// `MAILBOX_MAILS` for another number. Together the mails have five times the memory that may come with them.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_mailbox_is_caught_up_with_flat_memory() {
    let mails: usize = std::env::var("MAILBOX_MAILS").ok().map_or(MAILBOX_MAILS, |n| n.parse().expect("a number"));
    let (few, many) = (memory_of(mails / 20).await, memory_of(mails).await);
    let (growth, whole) = (many.saturating_sub(few), mails as u64 * 4 / 1024);
    assert!(growth < whole / 5, "memory grows with the mailbox of {whole} MB: {few} MB, then {many} MB");
}

/// Says something to a listener and returns its answer, of one line or of as many recipients.
async fn say(stream: &mut BufReader<TcpStream>, line: &str, answers: usize) -> String {
    stream.get_mut().write_all(line.as_bytes()).await.expect("it listens");
    let mut heard = String::new();
    let mut left = answers;
    while left > 0 {
        let mut line = String::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_line(&mut line)).await.expect("an answer");
        assert!(read.expect("readable") > 0, "it left after {heard}");
        left -= usize::from(line.as_bytes().get(3) == Some(&b' '));
        heard.push_str(&line);
    }
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_handed_over_is_kept_before_it_is_accepted_and_known_when_it_comes_again() {
    let port = free_port();
    let channel = format!(
        "[channels.support-email]\nkind = \"email\"\naddress = \"support@shop.example\"\ndelivery = {{ listen = \"127.0.0.1:{port}\" }}\n"
    );
    let shop = Shop::with("http://127.0.0.1:9").more(&channel).open();
    let mut daemon = Daemon::start(&shop).await;
    let connect = async || {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.expect("it listens"));
        assert!(say(&mut stream, "", 1).await.starts_with("220 shop.example LMTP"));
        say(&mut stream, "LHLO mx.shop.example\r\n", 1).await;
        stream
    };
    let mut stream = connect().await;
    say(&mut stream, "MAIL FROM:<customer1@example.org>\r\n", 1).await;
    assert!(say(&mut stream, "RCPT TO:<eve@elsewhere.example>\r\n", 1).await.starts_with("550 5.1.1"), "no relay");
    say(&mut stream, "RCPT TO:<support@shop.example>\r\n", 1).await;
    say(&mut stream, "RCPT TO:<Support+tag@shop.example>\r\n", 1).await;
    assert!(say(&mut stream, "DATA\r\n", 1).await.starts_with("354"));
    let answer = say(&mut stream, &format!("{}.\r\n", mail(1, "Handed over.")), 2).await;
    assert_eq!(answer.matches("250 2.0.0").count(), 2, "{answer}");
    // It is durable from here on, and the same mail again changes nothing.
    daemon.kill();
    daemon.restart().await;
    let api = shop.api();
    let whole = arrived(&api, 1, "Handed over.").await;
    let mut stream = connect().await;
    for _ in 0..2 {
        say(&mut stream, "MAIL FROM:<customer1@example.org>\r\n", 1).await;
        say(&mut stream, "RCPT TO:<support@shop.example>\r\n", 1).await;
        say(&mut stream, "DATA\r\n", 1).await;
        assert!(say(&mut stream, &format!("{}.\r\n", mail(1, "Handed over.")), 1).await.starts_with("250"));
    }
    each_once(&api, 1, Duration::from_secs(20)).await;
    assert_eq!(whole["channel"], "support-email");
    say(&mut stream, "QUIT\r\n", 1).await;
}

async fn hand_to(postfix: &Postfix, number: usize) {
    let stream = TcpStream::connect(("127.0.0.1", postfix.port)).await.expect("Postfix listens");
    let mut stream = BufReader::new(stream);
    say(&mut stream, "", 1).await;
    say(&mut stream, "EHLO customers.example\r\n", 1).await;
    say(&mut stream, &format!("MAIL FROM:<customer{number}@example.org>\r\n"), 1).await;
    say(&mut stream, "RCPT TO:<support+any@shop.example>\r\n", 1).await;
    say(&mut stream, "DATA\r\n", 1).await;
    let answer = say(&mut stream, &format!("{}.\r\n", mail(number, "By way of Postfix.")), 1).await;
    assert!(answer.starts_with("250"), "{answer}");
    say(&mut stream, "QUIT\r\n", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postfix_hands_its_mail_over_and_keeps_it_while_nobody_listens() {
    let port = free_port();
    let postfix =
        Postfix::new(&format!("transport_maps = inline:{{ {{ shop.example = lmtp:inet:127.0.0.1:{port} }} }}"));
    postfix.up().await;
    let channel = format!(
        "[channels.support-email]\nkind = \"email\"\naddress = \"support@shop.example\"\ndelivery = {{ listen = \"127.0.0.1:{port}\" }}\n"
    );
    let shop = Shop::with("http://127.0.0.1:9").more(&channel).open();
    let mut daemon = Daemon::start(&shop).await;
    for number in 1..=5 {
        hand_to(&postfix, number).await;
    }
    let api = shop.api();
    each_once(&api, 5, Duration::from_secs(30)).await;
    daemon.kill();
    for number in 6..=10 {
        hand_to(&postfix, number).await;
    }
    daemon.restart().await;
    each_once(&api, 10, Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_among_the_peers_is_refused_and_hands_over_once_it_is() {
    let port = free_port();
    let postfix =
        Postfix::new(&format!("transport_maps = inline:{{ {{ shop.example = lmtp:inet:127.0.0.1:{port} }} }}"));
    postfix.up().await;
    let channel = format!(
        "[channels.support-email]\nkind = \"email\"\naddress = \"support@shop.example\"\ndelivery = {{ listen = \"127.0.0.1:{port}\", peers = [\"192.0.2.7\"] }}\n"
    );
    let shop = Shop::with("http://127.0.0.1:9").more(&channel).open();
    let mut daemon = Daemon::start(&shop).await;
    hand_to(&postfix, 1).await;
    eventually("Postfix to say that it was refused", || async {
        let said = postfix.said();
        if said.contains("554 5.7.1 you are not expected here") { Ok(()) } else { Err(said) }
    })
    .await;
    assert_eq!(shop.api().all("/conversations?channel=support-email", "conversations").await, Vec::<Value>::new());
    daemon.terminate(Duration::from_secs(30)).await;
    shop.reconfigure(|c| c.replace("192.0.2.7", "127.0.0.1"));
    daemon.restart().await;
    each_once(&shop.api(), 1, Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_over_arrives_once_while_the_network_dies_at_any_byte() {
    const MAILS: usize = 60;
    let inner = free_port();
    let frayed = Frayed::to(inner, Dice::new(11), 0, 3000).await;
    let postfix = Postfix::new(&format!(
        "transport_maps = inline:{{ {{ shop.example = lmtp:inet:127.0.0.1:{} }} }}\n\
         lmtp_destination_concurrency_failed_cohort_limit = 0\nlmtp_connection_cache_on_demand = yes",
        frayed.port()
    ));
    postfix.up().await;
    let channel = format!(
        "[channels.support-email]\nkind = \"email\"\naddress = \"support@shop.example\"\ndelivery = {{ listen = \"127.0.0.1:{inner}\" }}\n"
    );
    let shop = Shop::with("http://127.0.0.1:9").more(&channel).open();
    let _daemon = Daemon::start(&shop).await;
    for number in 1..=MAILS {
        hand_to(&postfix, number).await;
    }
    eventually_within(Duration::from_secs(120), "twenty cuts", || async {
        let found = shop.api().all("/conversations?channel=support-email", "conversations").await.len();
        if frayed.cuts() >= 20 || found == MAILS { Ok(()) } else { Err(format!("{} cuts", frayed.cuts())) }
    })
    .await;
    frayed.mend();
    each_once(&shop.api(), MAILS, Duration::from_secs(120)).await;
    println!("{} connections were cut", frayed.cuts());
    assert!(frayed.cuts() >= 10, "{} connections were cut", frayed.cuts());
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_of_a_mailbox_arrive_once_while_the_network_dies_at_any_byte() {
    let mut dovecot = Dovecot::new();
    dovecot.up().await;
    let mut client = dovecot.client().await;
    for (seed, imap) in [(3, ""), (4, ", move_to = \"Done\"")] {
        client.ask("UID STORE 1:* +FLAGS (\\Deleted)").await;
        client.ask("EXPUNGE").await;
        // What a login takes is some five thousand bytes.
        let frayed = Frayed::to(dovecot.imaps_port, Dice::new(seed), 0, 14_000).await;
        let channel = dovecot.channel(imap);
        let channel = channel.replace(&format!("port = {}", dovecot.imaps_port), &format!("port = {}", frayed.port()));
        let shop = Shop::with("http://127.0.0.1:9").more(&channel).open();
        let _daemon = Daemon::start(&shop).await;
        let mut sent = 0;
        // Some at a time, so that the next ones come to a connection that has few bytes left, or to none.
        while sent < 60 && (sent < 40 || frayed.cuts() < 8) {
            for _ in 0..5 {
                sent += 1;
                client.append(&mail(sent, "Where is my order?")).await.expect("Dovecot takes it");
            }
            each_once(&shop.api(), sent, Duration::from_secs(120)).await;
        }
        println!("{} connections were cut", frayed.cuts());
        assert!(frayed.cuts() >= 5, "{} connections were cut", frayed.cuts());
        frayed.mend();
        client.append(&mail(sent + 1, "And where now?")).await.expect("Dovecot takes it");
        each_once(&shop.api(), sent + 1, Duration::from_secs(120)).await;
        client.ask("NOOP").await;
    }
}
