//! Mail that leaves, through a real Postfix.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use switchboard_e2e::{Daemon, Dovecot, Postfix, Shop, eventually, eventually_within, field, fields, message};

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
    let (fields, body) = fields(&mail);
    assert_eq!(fields.iter().filter(|(name, _)| name == "message-id").count(), 1);
    assert!(body.contains("\n.\n") || body.contains("\n=2E\n"), "a line with a dot alone is no end: {body}");
    assert!(postfix.said().contains("client=localhost"), "{}", postfix.said());
    assert!(fields.iter().any(|(name, value)| name == "received" && value.contains("with ESMTPS")), "{mail}");
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
            let mut known: BTreeSet<usize> = mails.iter().filter_map(|m| answered(&fields(m).1)).collect();
            known.extend(dead.iter().filter_map(|d| answered(d["text"].as_str()?)));
            if known.len() == count { Ok((mails, dead.len())) } else { Err(format!("{} of {count}", known.len())) }
        })
        .await;
    let ids: BTreeSet<String> = mails.iter().map(|m| field(m, "message-id")).collect();
    let asked: BTreeSet<usize> = mails.iter().filter_map(|m| answered(&fields(m).1)).collect();
    println!("{count} arrived, {} answers delivered, {parked} parked as unknown", asked.len());
    assert_eq!(ids.len(), asked.len(), "nobody was answered with two mails");
    assert_eq!(handed_in(&mails), asked.len(), "nor twice with the same one");
    assert!(parked <= 8 * 5, "no more are unknown than were on their way at the kills: {parked}");
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

/// A customer's mail, as a mail program writes it: `answers` is what it answers.
fn customers(number: usize, subject: &str, text: &str, answers: Option<&str>) -> String {
    let mut mail = format!(
        "From: Ann <ann@customer.example>\r\nSubject: {subject}\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <ann-{number}@customer.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    );
    match answers {
        None => mail.push_str("To: support@shop.example\r\n"),
        Some(answered) => {
            let (to, id, before) =
                (field(answered, "reply-to"), field(answered, "message-id"), field(answered, "references"));
            mail.push_str(&format!("To: {to}\r\nIn-Reply-To: {id}\r\nReferences: {before} {id}\r\n"));
        }
    }
    let quoted: String = answered_text(answers).lines().map(|line| format!("> {line}\r\n")).collect();
    format!("{mail}\r\n{text}\r\n\r\nOn Sun, 22 Nov 2026, Shop wrote:\r\n{quoted}")
}

fn answered_text(answers: Option<&str>) -> String {
    answers.map(|mail| fields(mail).1).unwrap_or_else(|| "nothing".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_mails_between_a_mail_program_a_rule_and_an_agent_are_one_conversation() {
    let (mut dovecot, postfix) = (Dovecot::new(), Postfix::new(""));
    dovecot.up().await;
    postfix.up().await;
    let shop = both(&dovecot, &postfix);
    let _daemon = Daemon::start(&shop).await;
    let (api, mut client) = (shop.api(), dovecot.client().await);
    client.append(&customers(0, "Kettle", "I want my refund A-17 please", None)).await.expect("Dovecot takes it");
    let auto = postfix.delivered("customers", 1).await.remove(0);
    let said = |mail: &str, name: &str| field(mail, name);
    assert_eq!(said(&auto, "auto-submitted"), "auto-replied");
    assert_eq!(said(&auto, "in-reply-to"), "<ann-0@customer.example>");
    assert_eq!(said(&auto, "subject"), "Re: Kettle");
    assert!(fields(&auto).1.contains("Your refund A-17") && !fields(&auto).1.contains("> I want"), "{auto}");
    let conversation = api.conversation("email:ann@customer.example", "to be there", |_| true).await;
    let id = conversation["id"].as_str().expect("an id").to_owned();
    let mut latest = auto.clone();
    let mut known = BTreeSet::from(["<ann-0@customer.example>".to_owned(), said(&auto, "message-id")]);
    for number in 1..=9 {
        let subject = if number % 3 == 0 { "Something else now" } else { "Re: Kettle" };
        let text = format!("question {number} of mine");
        client.append(&customers(number, subject, &text, Some(&latest))).await.expect("Dovecot takes it");
        eventually(&format!("`{text}` in the conversation"), || async {
            let all = api.get(&format!("/conversations/{id}/messages?limit=100")).await;
            let texts = all.body["messages"].as_array().cloned().unwrap_or_default();
            // The new words alone, without what is quoted below them.
            if texts.iter().any(|m| m["text"] == text) { Ok(()) } else { Err(all.to_string()) }
        })
        .await;
        known.insert(format!("<ann-{number}@customer.example>"));
        api.post(&format!("/conversations/{id}/reply"), json!({ "text": format!("answer {number} of ours") }))
            .await
            .ok();
        let mails = postfix.delivered("customers", number + 1).await;
        let ours =
            mails.iter().find(|m| fields(m).1.starts_with(&format!("answer {number} of ours"))).expect("the answer");
        assert_eq!(said(ours, "in-reply-to"), format!("<ann-{number}@customer.example>"));
        let named: Vec<String> = said(ours, "references").split_whitespace().map(str::to_owned).collect();
        assert!(named.iter().all(|n| known.contains(n)) && named.len() >= 2, "{named:?} of {known:?}");
        assert_eq!(
            named.first().map(String::as_str),
            Some("<ann-0@customer.example>"),
            "one thread from its first mail on"
        );
        assert!(fields(ours).1.contains(&format!("> question {number} of mine")), "{ours}");
        assert_eq!(said(ours, "auto-submitted"), "");
        known.insert(said(ours, "message-id"));
        latest.clone_from(ours);
    }
    let list = api.get("/conversations?contact=email%3Aann%40customer.example").await;
    assert_eq!(list.body["conversations"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(known.len(), 20);
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
    assert!(failed["detail"].as_str().is_some_and(|d| d.contains("bob@gone.example")), "{failed}");
    let all = shop.api().get("/conversations?channel=support-email").await;
    assert_eq!(all.body["conversations"].as_array().map(Vec::len), Some(1), "a report is no message: {all}");
}
