//! The channel `webhook`: a conversation in both directions over signed JSON, and what becomes of a message whose receiver
//! misbehaves.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use switchboard_e2e::{
    Api, Backend, Daemon, HookStep, Shop, Taken, WebhookSim, eventually, eventually_within, http, message,
    on_every_backend,
};

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
const NEXT_SECRET: &str = "whsec_bmV4dG5leHRuZXh0bmV4dG5leHRuZXh0bmV4dG5leHQ=";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const NEXT_TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const REPLY: &str = "Your refund A-1 is on its way.";

on_every_backend! {
    a_conversation_goes_both_ways_over_signed_json,
}

/// A shop with the channel `crm` towards this receiver.
fn shop(crm: &WebhookSim, backend: &Backend, keys: &str) -> Shop {
    let channel = format!("[channels.crm]\nkind = \"webhook\"\nurl = \"{}\"\n{keys}", crm.url());
    let shop = Shop::with("http://127.0.0.1:9").log(backend).more(&channel).open();
    for (name, secret) in [("crm.secret", SECRET), ("crm.next", NEXT_SECRET)] {
        std::fs::write(shop.folder().join(name), secret).expect("a secret");
    }
    shop
}

const ONE_SECRET: &str = "secret = { file = \"crm.secret\" }";

fn said(text: &str) -> Value {
    json!({ "type": "message", "from": "42", "text": text })
}

async fn tell(crm: &WebhookSim, shop: &Shop, id: &str, body: &Value) {
    assert_eq!(crm.send(&shop.hook("crm"), id, body).await.unwrap(), 200);
}

async fn taken(crm: &WebhookSim, count: usize) -> Vec<Taken> {
    eventually_within(Duration::from_secs(40), &format!("{count} messages at the receiver"), || async {
        assert_eq!(crm.violations(), Vec::<String>::new(), "the receiver would not have taken this");
        let taken = crm.taken();
        if taken.len() >= count { Ok(taken) } else { Err(format!("{taken:?}")) }
    })
    .await
}

async fn reply_is(api: &Api, status: &str) -> Value {
    let conversation = api
        .conversation("crm:42", &format!("to have its reply {status}"), |c| {
            message(c, REPLY).is_some_and(|m| m["status"] == status)
        })
        .await;
    message(&conversation, REPLY).unwrap().clone()
}

async fn a_conversation_goes_both_ways_over_signed_json(backend: Backend) {
    let crm = WebhookSim::start(&[SECRET]).await.unwrap();
    let shop = shop(&crm, &backend, ONE_SECRET);
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    let picture = crm.add_file("box.png", "image/png", b"\x89PNG\r\n\x1a\nnot much of a picture");
    let first = json!({
        "v": 1, "type": "message", "id": "crm:message:order-7", "channel": "crm", "thread": "t-1", "at": "2026-11-21T20:22:05Z",
        "from": { "kind": "crm", "value": "42", "name": "Ann" },
        "content": { "text": "refund A-1", "attachments": [{ "name": "box.png", "mime": "image/png", "url": picture }] },
        "meta": { "tier": "gold" }, "a_field_of_tomorrow": true, "traceparent": TRACE,
    });
    tell(&crm, &shop, "evt_1", &first).await;
    let sent = taken(&crm, 1).await.remove(0);
    assert_eq!((&sent.body["content"]["text"], &sent.body["to"]["value"]), (&json!(REPLY), &json!("42")));
    assert_eq!((&sent.body["thread"], &sent.body["channel"]), (&json!("t-1"), &json!("crm")));
    assert_eq!(sent.body["traceparent"], TRACE, "the trace of what it answers");
    assert_eq!(sent.id, format!("{}_1", sent.body["send"].as_str().unwrap()));
    reply_is(&api, "accepted").await;

    // A repeated delivery changes nothing, whatever it says.
    tell(&crm, &shop, "evt_1", &first).await;
    tell(&crm, &shop, "evt_1", &said("refund A-2")).await;
    // The receiver may name our message by its own id, or by ours.
    tell(&crm, &shop, "evt_2", &json!({ "type": "receipt", "provider_id": "r1", "status": "delivered" })).await;
    reply_is(&api, "delivered").await;
    tell(&crm, &shop, "evt_3", &json!({ "type": "receipt", "provider_id": sent.id, "status": "read" })).await;
    reply_is(&api, "read").await;

    tell(&crm, &shop, "evt_4", &json!({ "type": "message", "thread": "t-1", "from": "42", "text": "and my coat?" }))
        .await;
    let waiting = api
        .conversation("crm:42", "to hold the next question and the file", |c| {
            let stored = c["messages"][0]["attachments"][0]["state"] == "stored"
                || c["messages"].as_array().is_some_and(|m| m.iter().any(|m| m["attachments"][0]["state"] == "stored"));
            message(c, "and my coat?").is_some() && stored
        })
        .await;
    let id = waiting["id"].as_str().unwrap();
    let texts = api.messages(id).await;
    let heard: Vec<_> = texts.iter().filter(|m| m["direction"] == "in").map(|m| m["text"].clone()).collect();
    assert_eq!(heard, [json!("refund A-1"), json!("and my coat?")]);
    let asked = json!({ "text": "Which coat?", "agent": "ann" });
    api.post_with(&format!("/conversations/{id}/reply"), asked, ("traceparent", NEXT_TRACE)).await.ok();
    let sent = taken(&crm, 2).await.remove(1);
    assert_eq!((&sent.body["content"]["text"], &sent.body["author"]["id"]), (&json!("Which coat?"), &json!("ann")));
    assert_eq!(sent.body["traceparent"], NEXT_TRACE, "the trace of the request");
    assert_eq!(sent.body["reply_to"], json!(["evt_4"]), "what it answers, by the name that the sender gave it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_with_our_secret_now_is_refused_and_kept_nowhere() {
    let crm = WebhookSim::start(&[SECRET]).await.unwrap();
    let stranger = WebhookSim::start(&[NEXT_SECRET]).await.unwrap();
    let shop = shop(&crm, &Backend::Embedded, ONE_SECRET);
    let daemon = Daemon::start(&shop).await;
    let (hook, body) = (shop.hook("crm"), said("refund A-1").to_string());
    let now = || jiff::Timestamp::now().as_second();
    assert_eq!(crm.post(&hook, &[], &body).await.unwrap(), 401);
    assert_eq!(stranger.send(&hook, "evt_1", &said("refund A-1")).await.unwrap(), 403);
    for (offset, expected) in [(-301, 403), (310, 403), (-250, 200), (250, 200)] {
        let timestamp = (now() + offset).to_string();
        let signature = crm.signature("evt_2", &timestamp, body.as_bytes());
        let headers =
            [("webhook-id", "evt_2"), ("webhook-timestamp", timestamp.as_str()), ("webhook-signature", &signature)];
        assert_eq!(crm.post(&hook, &headers, &body).await.unwrap(), expected, "{offset} s");
        let changed = body.replace("A-1", "A-2");
        assert_eq!(crm.post(&hook, &headers, &changed).await.unwrap(), 403, "{offset} s, changed");
    }
    taken(&crm, 1).await;
    assert_eq!(daemon.metric("switchboard_ingested_total").await, 1.0, "the message, once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_understood_is_quarantined_with_its_bytes() {
    let crm = WebhookSim::start(&[SECRET]).await.unwrap();
    let shop = shop(&crm, &Backend::Embedded, ONE_SECRET);
    let _daemon = Daemon::start(&shop).await;
    tell(&crm, &shop, "evt_1", &json!({ "type": "contact.created", "data": { "id": 7 } })).await;
    let command =
        json!({ "v": 1, "type": "command", "actor": { "scope": "admin" }, "action": { "do": "rollback_pack" } });
    tell(&crm, &shop, "evt_2", &command).await;
    let held = eventually("two records in quarantine", || async {
        let list = shop.api().all("/quarantine", "quarantine").await;
        if list.len() == 2 { Ok(list) } else { Err(format!("{list:?}")) }
    })
    .await;
    let reasons: Vec<_> = held.iter().filter_map(|q| q["reason"].as_str()).collect();
    assert!(reasons.iter().all(|r| r.starts_with("field type: ")), "{reasons:?}");
}

/// Each of these leaves open whether the receiver has it. It comes again under the same id until there is an answer, and the
/// receiver has it once.
async fn comes_again_under_the_same_id(faults: Vec<HookStep>) {
    let crm = WebhookSim::start(&[SECRET]).await.unwrap();
    let shop = shop(&crm, &Backend::Embedded, &format!("{ONE_SECRET}\nsend_timeout = \"2s\""));
    let _daemon = Daemon::start(&shop).await;
    let attempts = faults.len() + 1;
    faults.into_iter().for_each(|fault| crm.script(fault));
    tell(&crm, &shop, "evt_1", &said("refund A-1")).await;
    eventually_within(Duration::from_secs(60), "an answer to the last attempt", || async {
        let requests = crm.requests();
        if requests >= attempts { Ok(()) } else { Err(format!("{requests} requests")) }
    })
    .await;
    reply_is(&shop.api(), "accepted").await;
    let taken = taken(&crm, 1).await;
    assert_eq!((taken.len(), taken[0].requests), (1, attempts), "{taken:?}");
    assert_eq!(shop.api().all("/dead-letters", "dead_letters").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_after_it_was_taken_is_made_up_for() {
    comes_again_under_the_same_id(vec![HookStep::AcceptAndReset, HookStep::AcceptAndAnswer { status: 502 }]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_500_is_tried_again() {
    comes_again_under_the_same_id(vec![HookStep::refuse(500)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_takes_too_long_is_not_waited_for() {
    let slow = HookStep::Delay(Duration::from_secs(40), Box::new(HookStep::Accept));
    let began = Instant::now();
    comes_again_under_the_same_id(vec![slow]).await;
    assert!(began.elapsed() < Duration::from_secs(35), "the second attempt waited for the first one's answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_waits_as_long_as_it_is_asked_to() {
    let crm = WebhookSim::start(&[SECRET]).await.unwrap();
    let shop = shop(&crm, &Backend::Embedded, ONE_SECRET);
    let _daemon = Daemon::start(&shop).await;
    crm.script(HookStep::Refuse { status: 429, retry_after: Some(4), body: String::new() });
    let began = Instant::now();
    tell(&crm, &shop, "evt_1", &said("refund A-1")).await;
    taken(&crm, 1).await;
    assert!(began.elapsed() >= Duration::from_secs(4), "retried after {:?}", began.elapsed());
    assert_eq!(crm.requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_shown_with_the_receivers_words_and_never_repeated() {
    let crm = WebhookSim::start(&[SECRET]).await.unwrap();
    let shop = shop(&crm, &Backend::Embedded, ONE_SECRET);
    let _daemon = Daemon::start(&shop).await;
    let body = json!({ "title": "Unprocessable", "detail": "no such customer" }).to_string();
    crm.script(HookStep::Refuse { status: 422, retry_after: None, body });
    tell(&crm, &shop, "evt_1", &said("refund A-1")).await;
    let reply = reply_is(&shop.api(), "rejected").await;
    assert!(reply.to_string().contains("no such customer"), "{reply}");
    assert_eq!((crm.requests(), crm.taken().len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_pauses_the_channel_and_loses_nothing() {
    let crm = WebhookSim::start(&[SECRET]).await.unwrap();
    let shop = shop(&crm, &Backend::Embedded, ONE_SECRET);
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    crm.script(HookStep::refuse(410));
    tell(&crm, &shop, "evt_1", &said("refund A-1")).await;
    eventually("the channel to be paused", || async {
        let channels = api.get("/channels").await;
        let crm = channels.body["channels"].as_array().and_then(|c| c.iter().find(|c| c["id"] == "crm").cloned());
        crm.filter(|c| c["paused"] == true || c["state"] == "paused").ok_or(channels.text)
    })
    .await;
    api.post("/channels/crm/resume", json!({})).await.ok();
    taken(&crm, 1).await;
    reply_is(&api, "accepted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_rotated_without_losing_a_message() {
    let crm = WebhookSim::start(&[SECRET]).await.unwrap();
    let rotated = WebhookSim::start(&[NEXT_SECRET]).await.unwrap();
    let shop = shop(&crm, &Backend::Embedded, "secret = [{ file = \"crm.next\" }, { file = \"crm.secret\" }]");
    let _daemon = Daemon::start(&shop).await;
    // Both sides of the rotation are understood, and the receiver that knows only the old secret takes what we send.
    tell(&crm, &shop, "evt_1", &said("refund A-1")).await;
    tell(&rotated, &shop, "evt_2", &said("refund A-2")).await;
    let taken = taken(&crm, 2).await;
    assert_eq!(taken.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_crm_can_be_written_to_first() {
    let crm = WebhookSim::start(&[SECRET]).await.unwrap();
    let shop = shop(&crm, &Backend::Embedded, ONE_SECRET);
    let daemon = Daemon::start(&shop).await;
    let start = json!({ "channel": "crm", "to": { "kind": "crm", "value": "43" }, "text": "Your coat is here.", "agent": "ann" });
    let answer = shop.api().post("/messages", start).await;
    assert_eq!(answer.status, 202, "{answer}");
    assert_eq!(taken(&crm, 1).await[0].body["to"]["value"], "43");
    // No secret is told to anybody who looks.
    let shown = http().get(format!("{}/metrics", shop.admin())).bearer_auth(shop.token()).send().await.unwrap();
    let shown = format!("{}{}", shown.text().await.unwrap(), daemon.said());
    assert!(!shown.contains("whsec_") && !shown.contains(&SECRET[6..]));
}
