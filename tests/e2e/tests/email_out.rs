//! Mail that leaves, through a real Postfix.
#![forbid(unsafe_code)]

#[path = "../../../adapters/email/src/tests/jwz/tree.rs"]
mod jwz;
#[path = "email_out/programs.rs"]
mod programs;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use switchboard_e2e::{
    Daemon, Dice, Dovecot, Frayed, MAILBOX_PASSWORD, Postfix, Shop, eventually, eventually_within, field, fields,
    message, page_of, text_of,
};

/// A shop whose channel `support-email` hands its mails in at this Postfix.
fn shop(postfix: &Postfix) -> Shop {
    let (port, ca) = (postfix.port, postfix.certificate());
    let email = format!(
        "[channels.support-email]
kind = \"email\"
address = \"support@shop.example\"
name = \"Shop, Support\"
imap = {{ host = \"127.0.0.1\", port = 9, tls = \"none\", user = \"support\", password = \"x\" }}
smtp = {{ host = \"localhost\", port = {port}, tls = \"starttls\", ca = \"{}\" }}
",
        ca.display()
    );
    Shop::with("http://127.0.0.1:9").more(&email).open()
}

/// A shop that reads its mail at this Dovecot, too.
fn both(dovecot: &Dovecot, postfix: &Postfix) -> Shop {
    let (port, ca) = (postfix.port, postfix.certificate());
    let smtp = format!("smtp = {{ host = \"localhost\", port = {port}, ca = \"{}\" }}\n", ca.display());
    Shop::with("http://127.0.0.1:9").more(&format!("{}{smtp}", dovecot.channel(""))).open()
}

/// Writes to somebody first; the conversation's id.
async fn write(shop: &Shop, to: &str, subject: &str, text: &str) -> String {
    let to = json!({ "kind": "email", "value": to });
    let body = json!({ "channel": "support-email", "to": to, "subject": subject, "text": text, "agent": "ann" });
    let done = shop.api().post("/messages", body).await.ok();
    done["conversation"].as_str().expect("a conversation").to_owned()
}

async fn status(shop: &Shop, conversation: &str, text: &str, wanted: &str) -> Value {
    eventually_within(Duration::from_secs(60), &format!("`{text}` to be {wanted}"), || async {
        let whole = shop.api().get(&format!("/conversations/{conversation}")).await;
        match message(&whole.body, text).filter(|m| m["status"] == wanted) {
            Some(m) => Ok(m.clone()),
            None => Err(whole.to_string()),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_leaves_encrypted_with_what_brings_its_answer_back() {
    let postfix = Postfix::new("");
    postfix.up().await;
    let shop = shop(&postfix);
    let _daemon = Daemon::start(&shop).await;
    let text = "Your kettle is ready.\n.\nFrom Ann\nZürich";
    let conversation = write(&shop, "ann@customer.example", "Ihr Kessel: fertig ☕", text).await;
    status(&shop, &conversation, text, "accepted").await;
    let mail = postfix.delivered("customers", 1).await.remove(0);
    assert!(field(&mail, "from").ends_with(" <support@shop.example>"), "{mail}");
    assert_eq!(field(&mail, "to"), "ann@customer.example");
    assert!(field(&mail, "subject").starts_with("=?utf-8?B?"), "{mail}");
    let id = field(&mail, "message-id");
    assert!(id.starts_with(&format!("<{conversation}.")) && id.ends_with("@shop.example>"), "{id}");
    assert!(field(&mail, "reply-to").contains(&format!("<support+c-{conversation}.")), "{mail}");
    assert!(field(&mail, "return-path").starts_with("<support+b-"), "{mail}");
    for absent in ["auto-submitted", "in-reply-to", "references", "bcc"] {
        assert_eq!(field(&mail, absent), "", "{mail}");
    }
    let (fields, _) = fields(&mail);
    assert_eq!(fields.iter().filter(|(name, _)| name == "message-id").count(), 1);
    assert!(text_of(&mail).starts_with(text), "a line with a dot alone is no end: {mail}");
    assert!(page_of(&mail).contains("ready.<br>\n.<br>\nFrom Ann<br>\nZürich</p>"), "{mail}");
    assert!(postfix.said().contains("client=localhost"), "{}", postfix.said());
    assert!(fields.iter().any(|(name, value)| name == "received" && value.contains("with ESMTPS")), "{mail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_are_handed_in_within_tls_by_password_or_by_a_token_that_is_read_at_each_login() {
    let (mut dovecot, postfix) = (Dovecot::new(), Postfix::new(""));
    dovecot.up().await;
    let (port, ca) = (postfix.submissions(dovecot.sasl_port), postfix.certificate());
    postfix.up().await;
    let by = |secret: &str| {
        let smtp = format!(
            "smtp = {{ host = \"localhost\", port = {port}, tls = \"implicit\", ca = \"{}\", user = \"support\", {secret} }}\n",
            ca.display()
        );
        Shop::with("http://127.0.0.1:9").more(&format!("{}{smtp}", dovecot.channel(""))).open()
    };
    let by_password = by(&format!("password = \"{MAILBOX_PASSWORD}\""));
    let daemon = Daemon::start(&by_password).await;
    write(&by_password, "ann@customer.example", "Hello", "By password.").await;
    let mail = postfix.delivered("customers", 1).await.remove(0);
    assert!(
        text_of(&mail).starts_with("By password.") && fields(&mail).0.iter().any(|(_, v)| v.contains("with ESMTPSA"))
    );
    assert!(postfix.said().contains("sasl_method=PLAIN, sasl_username=support"), "{}", postfix.said());
    drop(daemon);

    // A password that nobody knows: the channel waits for another one, and each is tried once.
    let by_mistake = by("password = { file = \"smtp.password\" }");
    by_mistake.write_secret("smtp.password", "wrong");
    let daemon = Daemon::start(&by_mistake).await;
    let conversation = write(&by_mistake, "ann@customer.example", "Hello", "Not at once.").await;
    let refused = async |times: usize| {
        eventually("the channel to pause with the reason", || async {
            let said = by_mistake.api().get("/channels").await.body;
            let of_mail = said["channels"].as_array().into_iter().flatten().find(|c| c["id"] == "support-email");
            let logins = postfix.said().matches("SASL PLAIN authentication failed").count();
            assert!(logins <= times, "{}", postfix.said());
            let paused = of_mail.is_some_and(|c| c["paused_reason"].is_string());
            if paused && logins == times { Ok(()) } else { Err(format!("{logins} logins; {said}")) }
        })
        .await;
    };
    refused(1).await;
    by_mistake.write_secret("smtp.password", "wrong again");
    refused(2).await;
    // Mended, it needs nobody else, and no other start.
    by_mistake.write_secret("smtp.password", MAILBOX_PASSWORD);
    status(&by_mistake, &conversation, "Not at once.", "accepted").await;
    assert_eq!(postfix.said().matches("SASL PLAIN authentication failed").count(), 2, "{}", postfix.said());
    assert_eq!(postfix.delivered("customers", 2).await.len(), 2);
    drop(daemon);

    let by_token = by("token_file = \"support.token\"");
    let renew = |seconds| by_token.write_secret("support.token", &dovecot.token(seconds));
    renew(-60);
    let _daemon = Daemon::start(&by_token).await;
    let conversation = write(&by_token, "ann@customer.example", "Hello", "By token.").await;
    eventually("a token that ran out to be refused", || async {
        let said = postfix.said();
        if said.contains("SASL XOAUTH2 authentication failed") { Ok(()) } else { Err(said) }
    })
    .await;
    renew(300);
    status(&by_token, &conversation, "By token.", "accepted").await;
    assert!(postfix.said().contains("sasl_method=XOAUTH2, sasl_username=support"), "{}", postfix.said());
    assert_eq!(postfix.delivered("customers", 3).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_along_as_it_was_uploaded() {
    let postfix = Postfix::new("");
    postfix.up().await;
    let shop = shop(&postfix);
    let _daemon = Daemon::start(&shop).await;
    let conversation = write(&shop, "ann@customer.example", "A file", "It follows.").await;
    postfix.delivered("customers", 1).await;
    let url = format!("{}/api/v1/attachments?conversation={conversation}&name=seal.bin", shop.admin());
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let uploaded =
        switchboard_e2e::http().post(url).bearer_auth(shop.token()).header("content-type", "application/octet-stream");
    let uploaded = uploaded.body(bytes).send().await.expect("an answer");
    assert!(uploaded.status().is_success(), "{}", uploaded.status());
    let file: Value = serde_json::from_str(&uploaded.text().await.expect("text")).expect("JSON");
    let file = json!({ "id": file["id"], "name": file["name"], "mime": file["mime"] });
    let reply = json!({ "text": "Here it is.", "attachments": [file] });
    shop.api().post(&format!("/conversations/{conversation}/reply"), reply).await.ok();
    let mails = postfix.delivered("customers", 2).await;
    let mail = mails.iter().find(|m| m.contains("seal.bin")).expect("the mail with the file");
    // 0, 1, 2 … in base64.
    assert!(
        mail.contains("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4"),
        "{mail:.3000}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_address_is_told_to_who_wrote() {
    let postfix = Postfix::new("");
    postfix.up().await;
    let shop = shop(&postfix);
    let _daemon = Daemon::start(&shop).await;
    let conversation = write(&shop, "nobody@customer.example", "Hello", "Are you there?").await;
    let refused = status(&shop, &conversation, "Are you there?", "rejected").await;
    let detail = refused["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("the address does not exist") && detail.contains("no such person"), "{refused}");
    assert_eq!(refused["code"], "5.1.1");
    let wrong = json!({ "channel": "support-email", "to": { "kind": "email", "value": "no address" }, "text": "x" });
    shop.api().post("/messages", wrong).await.refused(422, "invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_comes_to_the_address_of_its_send() {
    let postfix = Postfix::new("");
    postfix.up().await;
    let shop = shop(&postfix);
    let _daemon = Daemon::start(&shop).await;
    let conversation = write(&shop, "bob@gone.example", "Hello", "Are you there?").await;
    status(&shop, &conversation, "Are you there?", "accepted").await;
    let bounce = postfix.delivered("shop", 1).await.remove(0);
    assert!(
        field(&bounce, "x-original-to").starts_with("support+b-")
            || field(&bounce, "delivered-to").starts_with("support+b-"),
        "{bounce}"
    );
    assert!(field(&bounce, "content-type").contains("report-type=delivery-status"), "{bounce}");
    assert!(bounce.contains(&format!("Message-ID: <{conversation}.")), "the headers of ours are in it: {bounce}");
}

/// How many mails go while servers are killed again and again; `SWITCHBOARD_MAILS` for another number.
fn mails() -> usize {
    std::env::var("SWITCHBOARD_MAILS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000)
}

#[tokio::test(flavor = "multi_thread")]
async fn none_is_lost_and_none_comes_twice_while_the_mail_server_is_killed() {
    let postfix = Postfix::new("");
    postfix.up().await;
    let shop = shop(&postfix);
    let daemon = Daemon::start(&shop).await;
    let count = mails();
    let writing = async {
        for n in 0..count {
            write(&shop, &format!("c{n}@customer.example"), "Load", &format!("mail number {n}.")).await;
        }
    };
    let killing = async {
        for n in 1..=5 {
            // Each time once some more have arrived, so that the kills fall into the traffic.
            let some = count * n / 7;
            eventually_within(Duration::from_secs(240), &format!("{some} mails"), || async {
                let there = postfix.mails("customers").len();
                if there >= some { Ok(()) } else { Err(format!("{there} are there")) }
            })
            .await;
            postfix.kill();
            postfix.up().await;
        }
    };
    tokio::join!(writing, killing);
    // What may have been taken when Postfix died is unknown, and is listed; nothing else is missing, and nothing is there twice.
    let parked = || async {
        let dead = shop.api().all("/dead-letters?channel=support-email", "dead_letters").await;
        assert!(dead.iter().all(|d| d["reason"] == "unknown"), "{dead:?}");
        dead.iter().map(|d| d["text"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let mails = eventually_within(Duration::from_secs(300), "every mail to be there or parked", || async {
        let mails = postfix.mails("customers");
        let there: BTreeSet<usize> = mails.iter().filter_map(|m| number(m)).collect();
        let parked: BTreeSet<usize> = parked().await.iter().filter_map(|m| number(m)).collect();
        if there.union(&parked).count() == count {
            Ok(mails)
        } else {
            Err(format!("{} there, {} parked", there.len(), parked.len()))
        }
    })
    .await;
    let mut ids: Vec<String> = mails.iter().map(|m| field(m, "message-id")).collect();
    ids.sort();
    let all = ids.len();
    ids.dedup();
    let parked = parked().await.len();
    println!("{count} written, {all} delivered, {parked} parked as unknown");
    // Postfix itself may deliver one twice that it was delivering when it died; that is told apart by its Received lines.
    let doubles = all - ids.len();
    assert_eq!(handed_in(&mails), ids.len(), "{doubles} twice in the mailbox: each was handed in once");
    assert!(parked <= 8 * 5, "no more are unknown than were on their way at the kills: {parked}");
    drop(daemon);
}

/// How many mails were handed in, by the ids of Postfix's queue: a mail that came twice into the mailbox may have been handed in once.
fn handed_in(mails: &[String]) -> usize {
    let queued = mails
        .iter()
        .filter_map(|m| fields(m).0.into_iter().find(|(n, v)| n == "received" && v.contains("with ESMTPS")));
    let ids: BTreeSet<String> = queued
        .filter_map(|(_, v)| Some(v.split("with ESMTPS id ").nth(1)?.split([' ', ';']).next()?.to_owned()))
        .collect();
    ids.len()
}

/// The number of a mail of the load test.
fn number(text: &str) -> Option<usize> {
    text.split("mail number ").nth(1)?.split('.').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mail_that_arrives_is_answered_once_while_both_servers_are_killed() {
    let (mut dovecot, postfix) = (Dovecot::new(), Postfix::new(""));
    dovecot.up().await;
    postfix.up().await;
    let shop = both(&dovecot, &postfix);
    let _daemon = Daemon::start(&shop).await;
    let count = mails();
    dovecot.drop_files((0..count).map(|n| {
        format!(
            "From: c{n}@customer.example\r\nTo: support@shop.example\r\nSubject: Refund\r\nMessage-ID: <load-{n}@customer.example>\r\n\
             Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\nrefund A-{n} please\r\n"
        )
    }));
    for kill in 1..=5 {
        let some = count * kill / 7;
        eventually_within(Duration::from_secs(240), &format!("{some} answers"), || async {
            let there = postfix.mails("customers").len();
            if there >= some { Ok(()) } else { Err(format!("{there} are there")) }
        })
        .await;
        postfix.kill();
        dovecot.down();
        postfix.up().await;
        dovecot.up().await;
    }
    let answered = |text: &str| text.split("refund A-").nth(1)?.split(' ').next()?.parse::<usize>().ok();
    let (mails, parked) =
        eventually_within(Duration::from_secs(300), "every mail to be answered or parked", || async {
            let dead = shop.api().all("/dead-letters?channel=support-email", "dead_letters").await;
            assert!(dead.iter().all(|d| d["reason"] == "unknown"), "{dead:?}");
            let mails = postfix.mails("customers");
            let mut known: BTreeSet<usize> = mails.iter().filter_map(|m| answered(&text_of(m))).collect();
            known.extend(dead.iter().filter_map(|d| answered(d["text"].as_str()?)));
            if known.len() == count { Ok((mails, dead.len())) } else { Err(format!("{} of {count}", known.len())) }
        })
        .await;
    let ids: BTreeSet<String> = mails.iter().map(|m| field(m, "message-id")).collect();
    let asked: BTreeSet<usize> = mails.iter().filter_map(|m| answered(&text_of(m))).collect();
    println!("{count} arrived, {} answers delivered, {parked} parked as unknown", asked.len());
    assert_eq!(ids.len(), asked.len(), "nobody was answered with two mails");
    assert_eq!(handed_in(&mails), asked.len(), "nor twice with the same one");
    assert!(parked <= 8 * 5, "no more are unknown than were on their way at the kills: {parked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mail_is_answered_once_or_listed_while_the_network_dies_at_any_byte() {
    const MAILS: usize = 80;
    let (mut dovecot, postfix) = (Dovecot::new(), Postfix::new(""));
    dovecot.up().await;
    postfix.up().await;
    // With a login, each mail of ours is some five thousand bytes on a connection of its own, and two on one that is kept.
    let frayed = Frayed::to(postfix.port, Dice::new(5), 2000, 16_000).await;
    let smtp = format!(
        "smtp = {{ host = \"localhost\", port = {}, ca = \"{}\" }}\n",
        frayed.port(),
        postfix.certificate().display()
    );
    let shop = Shop::with("http://127.0.0.1:9").more(&format!("{}{smtp}", dovecot.channel(""))).open();
    let _daemon = Daemon::start(&shop).await;
    let mut client = dovecot.client().await;
    for n in 0..MAILS {
        let mail = format!(
            "From: c{n}@customer.example\r\nTo: support@shop.example\r\nSubject: Refund\r\nMessage-ID: <cut-{n}@customer.example>\r\n\r\nrefund A-{n} please\r\n"
        );
        client.append(&mail).await.expect("Dovecot takes it");
    }
    let dead = || async { shop.api().all("/dead-letters?channel=support-email", "dead_letters").await };
    let answered = |text: &str| text.split("refund A-").nth(1)?.split(' ').next()?.parse::<usize>().ok();
    let known = |mails: &[String], dead: &[Value]| {
        let mut known: BTreeSet<usize> = mails.iter().filter_map(|m| answered(&text_of(m))).collect();
        known.extend(dead.iter().filter_map(|d| answered(d["text"].as_str()?)));
        known.len()
    };
    eventually_within(Duration::from_secs(120), "fifteen cuts", || async {
        let known = known(&postfix.mails("customers"), &dead().await);
        if frayed.cuts() >= 15 || known == MAILS { Ok(()) } else { Err(format!("{} cuts, {known}", frayed.cuts())) }
    })
    .await;
    frayed.mend();
    let (mails, parked) =
        eventually_within(Duration::from_secs(300), "every mail to be answered or parked", || async {
            let (mails, dead) = (postfix.mails("customers"), dead().await);
            assert!(dead.iter().all(|d| d["reason"] == "unknown"), "{dead:?}");
            let known = known(&mails, &dead);
            if known == MAILS { Ok((mails, dead.len())) } else { Err(format!("{known} of {MAILS}")) }
        })
        .await;
    println!("{} connections were cut, {} answers delivered, {parked} parked as unknown", frayed.cuts(), mails.len());
    assert!(frayed.cuts() >= 10, "{} connections were cut", frayed.cuts());
    let asked: BTreeSet<usize> = mails.iter().filter_map(|m| answered(&text_of(m))).collect();
    assert_eq!((mails.len(), handed_in(&mails)), (asked.len(), asked.len()), "nobody has an answer twice");
    assert!(parked <= frayed.cuts(), "no more are unknown than connections were cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_is_away_is_waited_for() {
    let postfix = Postfix::new("");
    let shop = shop(&postfix);
    let _daemon = Daemon::start(&shop).await;
    let conversation = write(&shop, "ann@customer.example", "Hello", "In time.").await;
    eventually("a failed attempt", || async {
        let whole = shop.api().get(&format!("/conversations/{conversation}")).await;
        match message(&whole.body, "In time.") {
            Some(m) if m["status"] != "accepted" => Ok(()),
            _ => Err(whole.to_string()),
        }
    })
    .await;
    postfix.up().await;
    status(&shop, &conversation, "In time.", "accepted").await;
    assert_eq!(postfix.delivered("customers", 1).await.len(), 1);
}

const FIRST: &str = "From: Ann <ann@customer.example>\r\nTo: support@shop.example\r\nSubject: Kettle\r\n\
    Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <ann-0@customer.example>\r\n\r\nI want my refund A-17 please\r\n";

/// What a reader of threads knows of a mail.
fn known(mail: &str) -> jwz::Mail {
    let ids = |name: &str| field(mail, name).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    jwz::Mail {
        id: ids("message-id").pop(),
        in_reply_to: ids("in-reply-to"),
        references: ids("references"),
        ..jwz::Mail::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_mails_between_mail_programs_a_rule_and_an_agent_are_one_conversation_and_one_thread() {
    let (mut dovecot, postfix) = (Dovecot::new(), Postfix::new(""));
    dovecot.up().await;
    postfix.up().await;
    let shop = both(&dovecot, &postfix);
    let _daemon = Daemon::start(&shop).await;
    let (api, mut client) = (shop.api(), dovecot.client().await);
    client.append(FIRST).await.expect("Dovecot takes it");
    let auto = postfix.delivered("customers", 1).await.remove(0);
    let said = |mail: &str, name: &str| field(mail, name);
    assert_eq!(said(&auto, "auto-submitted"), "auto-replied");
    assert_eq!(said(&auto, "in-reply-to"), "<ann-0@customer.example>");
    assert_eq!(said(&auto, "subject"), "Re: Kettle");
    for shown in [text_of(&auto), page_of(&auto)] {
        assert!(shown.contains("Your refund A-17") && !shown.contains("I want"), "{auto}");
    }
    let conversation = api.conversation("email:ann@customer.example", "to be there", |_| true).await;
    let id = conversation["id"].as_str().expect("an id").to_owned();
    let mut thread = vec![FIRST.replace("\r\n", "\n"), auto];
    // Each program answers, and once one of them changes the subject.
    for (number, program) in programs::ALL.into_iter().enumerate() {
        let subject = (number % 3 == 2).then_some("Something else now");
        let text = format!("question {number} of mine");
        let asked = format!("<ann-{}@customer.example>", number + 1);
        let answer = program.answers(thread.last().expect("a mail"), &asked, subject, &text);
        client.append(&answer).await.expect("Dovecot takes it");
        eventually(&format!("`{text}` by {program:?} in the conversation"), || async {
            let all = api.get(&format!("/conversations/{id}/messages?limit=100")).await;
            let texts = all.body["messages"].as_array().cloned().unwrap_or_default();
            // The new words alone, without what is quoted below them.
            if texts.iter().any(|m| m["text"] == text) { Ok(()) } else { Err(all.to_string()) }
        })
        .await;
        let ours = format!("answer {number} of ours");
        api.post(&format!("/conversations/{id}/reply"), json!({ "text": ours })).await.ok();
        let mails = postfix.delivered("customers", number + 2).await;
        let mail = mails.iter().find(|m| text_of(m).starts_with(&ours)).expect("the answer");
        assert_eq!(said(mail, "in-reply-to"), asked, "{program:?}");
        let wanted = format!("Re: {}", subject.unwrap_or(if number < 2 { "Kettle" } else { "Something else now" }));
        assert_eq!(said(mail, "subject"), wanted, "{program:?}: one `Re:`, whatever it puts there");
        assert!(text_of(mail).contains(&format!("> {text}")), "{mail}");
        let quote = page_of(mail).split("<blockquote").nth(1).expect("a quote").to_owned();
        assert!(quote.contains(&text) && page_of(mail).contains(&ours), "{mail}");
        assert_eq!(said(mail, "auto-submitted"), "");
        thread.extend([answer.replace("\r\n", "\n"), mail.clone()]);
    }
    let list = api.get("/conversations?contact=email%3Aann%40customer.example").await;
    assert_eq!(list.body["conversations"].as_array().map(Vec::len), Some(1), "{list}");
    // As Ann's programs show it, which have every mail; and as one that lost the first half of them.
    assert_eq!(thread.len(), 2 + 2 * programs::ALL.len());
    for shown in [&thread[..], &thread[thread.len() / 2..]] {
        let found = jwz::threads(&shown.iter().map(|mail| known(mail)).collect::<Vec<_>>(), true);
        let sizes: Vec<usize> = found.iter().map(|(_, mails, _)| mails.len()).collect();
        assert_eq!(sizes, [shown.len()], "one thread");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_comes_back_is_told_of_the_answer_that_it_was() {
    let (mut dovecot, postfix) = (Dovecot::new(), Postfix::new(""));
    dovecot.up().await;
    postfix.up().await;
    let shop = both(&dovecot, &postfix);
    let _daemon = Daemon::start(&shop).await;
    let conversation = write(&shop, "bob@gone.example", "Hello", "Are you there?").await;
    status(&shop, &conversation, "Are you there?", "accepted").await;
    let bounce = postfix.delivered("shop", 1).await.remove(0);
    dovecot.client().await.append(&bounce.replace('\n', "\r\n")).await.expect("Dovecot takes it");
    let failed = status(&shop, &conversation, "Are you there?", "failed").await;
    let detail = failed["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("bob@gone.example") && detail.contains("the address does not exist"), "{failed}");
    let refused = shop.command(&["dead-letters", "resend", failed["id"].as_str().expect("an id")]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("answer there again"), "{said}");
    let all = shop.api().get("/conversations?channel=support-email").await;
    assert_eq!(all.body["conversations"].as_array().map(Vec::len), Some(1), "a report is no message: {all}");
}
