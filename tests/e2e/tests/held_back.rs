//! What cannot be understood: its bytes are kept whole and can be read again, and nothing else repeats what is in them.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::time::Duration;
use switchboard_e2e::{Backend, Daemon, Provider, Shop, eventually, http, message, on_every_backend, post_form, sid};

const ANN: &str = "+15551230001";
const OTHER_ACCOUNT: &str = "AC11111111111111111111111111111111";
/// What a customer might have written, and nobody else should.
const CANARY: &str = "canaryxyzzy";

on_every_backend! {
    a_long_body_is_kept_whole_and_read_again_after_a_fix,
    what_can_be_read_of_a_call_is_not_held_back_by_what_cannot,
    what_cannot_be_read_is_quoted_nowhere_but_in_its_raw_form,
}

async fn held(shop: &Shop, count: usize) -> Vec<Value> {
    let api = shop.api();
    eventually(&format!("{count} records in quarantine"), || async {
        let rows = api.all("/quarantine", "quarantine").await;
        if rows.len() >= count { Ok(rows) } else { Err(format!("{rows:?}")) }
    })
    .await
}

/// A delivery of over 16 KiB that the configuration of the day does not understand: the operator mends the configuration, and
/// the message is there, whole.
async fn a_long_body_is_kept_whole_and_read_again_after_a_fix(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let mut daemon = Daemon::start(&shop).await;
    let api = shop.api();

    let long = format!("{} the end", "long ".repeat(6_000));
    let sms = shop.sms(ANN, &long, &sid("long")).with("AccountSid", OTHER_ACCOUNT);
    assert!(sms.body().len() > 16 * 1024);
    assert_eq!(sms.deliver(&shop.hook("support-sms")).await.unwrap().status, 200);
    let rows = held(&shop, 1).await;
    let shown = rows[0]["raw"]["text"].as_str().expect("the body is shown as text");
    assert!(!shown.is_empty() && sms.body().starts_with(shown), "not the body that was delivered: {shown:.200}");
    assert_eq!(rows[0]["raw"]["cut"], true);
    let retry = format!("/quarantine/{}/retry", rows[0]["id"].as_str().unwrap());
    assert_eq!(api.post(&retry, json!({})).await.ok()["released"], false, "nothing was mended yet");

    shop.reconfigure(|toml| toml.replace(switchboard_e2e::ACCOUNT_SID, OTHER_ACCOUNT));
    daemon.kill();
    daemon.restart().await;
    assert_eq!(api.post(&retry, json!({})).await.ok()["released"], true);
    api.conversation(&format!("phone:{ANN}"), "to hold the long message", |c| message(c, &long).is_some()).await;
    assert!(api.all("/quarantine", "quarantine").await.is_empty());
}

/// A gateway that is described, and the name of its field that is described wrongly.
const GATEWAY: &str = "[channels.regional]\nkind = \"sms\"\nprovider = \"http\"\nbase_url = \"http://127.0.0.1:9\"\n\
    from = \"+15005550006\"\nhook_secret = \"a-secret-of-the-gateway\"\nnumbers = \"digits\"\n\
    [channels.regional.send]\npath = \"/send\"\nform = { to = \"{to}\", text = \"{text}\" }\n\
    [channels.regional.inbound]\nlist = \"/all\"\nfrom = \"/sender\"\ntext = \"/text\"\nonce = true\n";

/// Of the calls of a gateway nothing can be read before its description is mended; of one of them not all can be read then either.
async fn what_can_be_read_of_a_call_is_not_held_back_by_what_cannot(backend: Backend) {
    let shop = Shop::with("http://127.0.0.1:9").log(&backend).more(GATEWAY).open();
    let mut daemon = Daemon::start(&shop).await;
    let api = shop.api();
    let hook = format!("{}/a-secret-of-the-gateway/in", shop.hook("regional"));
    let says = |from: &str, text: &str| json!({ "msisdn": from, "text": text });
    let garbage = json!({ "text": "from nobody" });
    for items in [
        json!([says("15551230001", "one"), garbage, says("15551230002", "two")]),
        json!([says("15551230001", "yes"), says("15551230001", "yes")]),
    ] {
        let call =
            http().post(&hook).header("content-type", "application/json").body(json!({ "all": items }).to_string());
        assert_eq!(call.send().await.unwrap().status(), 200);
    }
    let rows = held(&shop, 2).await;
    assert_eq!(rows.len(), 2, "each call once: {rows:?}");
    shop.reconfigure(|toml| toml.replace("/sender", "/msisdn"));
    daemon.kill();
    daemon.restart().await;
    for row in &rows {
        let retry = format!("/quarantine/{}/retry", row["id"].as_str().unwrap());
        assert_eq!(api.post(&retry, json!({})).await.ok()["released"], true);
    }
    let said = |whole: &Value| {
        let of = whole["messages"].as_array().into_iter().flatten().filter(|m| m["direction"] == "in");
        let mut texts: Vec<String> = of.map(|m| m["text"].as_str().unwrap_or_default().to_owned()).collect();
        texts.sort();
        texts
    };
    let all = async |who: &str, wanted: usize| {
        let who = format!("phone:+{who}");
        said(&api.conversation(&who, "to hold what was said", |c| said(c).len() >= wanted).await)
    };
    assert_eq!(all("15551230001", 3).await, ["one", "yes", "yes"]);
    assert_eq!(all("15551230002", 1).await, ["two"]);
    // What nobody sent is held by itself, and stays.
    let rows = held(&shop, 1).await;
    assert_eq!((rows.len(), rows[0]["raw"]["text"].as_str()), (1, Some(r#"{"text":"from nobody"}"#)));
    let retry = format!("/quarantine/{}/retry", rows[0]["id"].as_str().unwrap());
    assert_eq!(api.post(&retry, json!({})).await.ok()["released"], false);
}

/// Bodies that each channel cannot read, with a word in every place that a parser might quote.
async fn what_cannot_be_read_is_quoted_nowhere_but_in_its_raw_form(backend: Backend) {
    let provider = Provider::start().await;
    let chat = "[channels.site]\nkind = \"webchat\"\norigins = [\"https://shop.example\"]\n";
    let shop = Shop::with(&provider.base_url()).log(&backend).more(chat).open();
    let daemon = Daemon::start(&shop).await;
    let api = shop.api();
    let hook = shop.hook("support-sms");

    let good = || shop.sms(ANN, CANARY, &sid("1"));
    let broken = [
        good().without("From"),
        good().with("From", &format!("\u{7}{CANARY}")),
        good().with("MessageSid", &format!("{CANARY}/1")).without("SmsSid").without("SmsMessageSid"),
        good().with("AccountSid", CANARY),
        good().without("Body").without("NumMedia").without("SmsStatus").with(CANARY, CANARY),
        good().without("From").with("Body", &CANARY.repeat(2_000)),
    ];
    for sms in &broken {
        assert_eq!(sms.deliver(&hook).await.unwrap().status, 200);
    }
    let rows = held(&shop, broken.len()).await;
    assert_eq!(rows.len(), broken.len());
    // Signatures that are none, and paths and queries that are not ours.
    post_form(&hook, Some(CANARY), good().body()).await.unwrap();
    post_form(&format!("{hook}/{CANARY}?{CANARY}"), Some(CANARY), good().body()).await.unwrap();

    let mut answers = chat_garbage(&shop).await;
    for row in rows {
        assert!(row["raw"].to_string().contains(CANARY), "the raw form is what came: {row}");
        let retried = api.post(&format!("/quarantine/{}/retry", row["id"].as_str().unwrap()), json!({})).await;
        answers.push(retried.text);
        answers.push(without_raw(row).to_string());
    }
    answers.push(api.get("/conversations").await.text);
    answers.push(events(&shop).await);
    answers.push(daemon.metrics().await);
    answers.push(daemon.said());
    assert!(daemon.said().contains("a delivery without a valid signature"), "the log is looked at");
    for answer in answers {
        assert!(!answer.contains(CANARY), "a customer's word is repeated: {answer}");
    }
}

fn without_raw(mut row: Value) -> Value {
    row.as_object_mut().unwrap().remove("raw");
    row
}

/// What a browser could send to the chat, and what it is answered.
async fn chat_garbage(shop: &Shop) -> Vec<String> {
    let chat = format!("{}/chat/site", shop.public());
    let welcome = http().post(format!("{chat}/session")).body("{}").send().await.unwrap();
    let welcome: Value = serde_json::from_str(&welcome.text().await.unwrap()).unwrap();
    let token = welcome["token"].as_str().expect("a visitor's token").to_owned();
    let mut answers = vec![];
    for body in [
        CANARY.to_owned(),
        format!("{{\"type\":\"message\",\"client_id\":\"1\",\"text\":[\"{CANARY}\"]}}"),
        format!("{{\"type\":\"{CANARY}\"}}"),
        format!("{{\"client_id\":\"c1\",\"text\":\"hi\",\"attachments\":[{{\"ref\":\"{CANARY}\"}}]}}"),
        format!("{{\"client_id\":{{\"{CANARY}\":1}},\"text\":\"hi\"}}"),
    ] {
        let sent = http().post(format!("{chat}/messages")).bearer_auth(&token).body(body.clone()).send().await.unwrap();
        assert!(sent.status().is_client_error(), "{body}: {}", sent.status());
        answers.push(sent.text().await.unwrap());
    }
    for (name, value) in [("origin", CANARY), ("authorization", CANARY)] {
        let sent = http().post(format!("{chat}/session")).header(name, value).body("{}").send().await.unwrap();
        answers.push(sent.text().await.unwrap());
    }
    let file = http().post(format!("{chat}/files?name={CANARY}.exe")).bearer_auth(&token).body(CANARY).send();
    answers.push(file.await.unwrap().text().await.unwrap());
    answers
}

/// Everything that the event stream told so far.
async fn events(shop: &Shop) -> String {
    let url = format!("{}/api/v1/events", shop.admin());
    let request = http().get(url).bearer_auth(shop.token()).header("last-event-id", "1.0");
    let mut stream = request.send().await.unwrap();
    let mut told = String::new();
    let mut patience = Duration::from_secs(15);
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout(patience, stream.chunk()).await {
        told.push_str(&String::from_utf8_lossy(&chunk));
        patience = Duration::from_millis(500);
    }
    assert!(told.contains("data:"), "the stream told nothing: {told}");
    told
}
