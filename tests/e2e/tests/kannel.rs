//! The channel `kannel` against a real Kannel: with its own fake centre, and with an SMPP centre behind it that makes every
//! delivery report.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::time::Duration;
use switchboard_e2e::{
    Api, Backend, Daemon, Fate, GATEWAY_NUMBER, HOOK_SECRET, Shop, SmppCentre, Submitted, eventually,
    eventually_within, http, message, on_every_backend,
};

const ANN: &str = "+15551230001";
const BOB: &str = "+15551230002";

on_every_backend! {
    a_text_on_the_fake_centre_is_answered_and_delivered,
    every_report_of_a_centre_becomes_the_messages_status,
    long_texts_arrive_whole_in_both_alphabets,
    a_gateway_that_goes_and_comes_back_loses_nothing_and_repeats_nothing,
    stop_is_confirmed_once_and_then_nothing_goes_out,
    who_does_not_know_the_secret_says_nothing,
}

/// Waits for the conversation of a number to hold a message with this text.
async fn with_message(api: &Api, number: &str, text: &str) -> Value {
    api.conversation(&format!("phone:{number}"), &format!("to hold `{text}`"), |c| message(c, text).is_some()).await
}

async fn status(api: &Api, number: &str, text: &str, wanted: &str) -> Value {
    let whole = api
        .conversation(&format!("phone:{number}"), &format!("to have `{text}` {wanted}"), |c| {
            message(c, text).is_some_and(|m| m["status"] == wanted)
        })
        .await;
    message(&whole, text).cloned().expect("it was there")
}

async fn reply(api: &Api, conversation: &Value, text: &str) {
    let id = conversation["id"].as_str().expect("an id");
    api.post(&format!("/conversations/{id}/reply"), json!({ "text": text })).await.ok();
}

/// A running shop, Kannel and centre that are connected.
async fn connected(backend: &Backend, centre: &SmppCentre) -> (Shop, switchboard_e2e::Gateway) {
    let (shop, mut gateway) = Shop::with_gateway(backend, Some(centre.port()));
    gateway.up().await;
    log_in(centre).await;
    (shop, gateway)
}

async fn log_in(centre: &SmppCentre) {
    eventually("Kannel to log in at the centre", || async {
        if centre.sessions() > 0 { Ok(()) } else { Err("nobody is logged in") }
    })
    .await;
}

async fn submitted_to(centre: &SmppCentre, to: &str, count: usize) -> Vec<Submitted> {
    eventually_within(Duration::from_secs(60), &format!("{count} messages to {to}"), || async {
        let all: Vec<_> = centre.submitted().into_iter().filter(|s| s.to == to).collect();
        if all.len() >= count { Ok(all) } else { Err(format!("{all:?}")) }
    })
    .await
}

/// What the parts of a text say together.
fn joined(parts: &[Submitted]) -> String {
    let mut parts = parts.to_vec();
    parts.sort_by_key(|part| part.header.last().copied());
    let data: Vec<u8> = parts.iter().flat_map(|part| part.data.clone()).collect();
    if parts.iter().all(|part| part.coding == 8) {
        let units: Vec<u16> = data.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        return String::from_utf16(&units).expect("whole characters");
    }
    String::from_utf8(data).expect("the letters of these texts are ASCII in both alphabets")
}

async fn a_text_on_the_fake_centre_is_answered_and_delivered(backend: Backend) {
    let (shop, mut gateway) = Shop::with_gateway(&backend, None);
    let _daemon = Daemon::start(&shop).await;
    gateway.up().await;
    let phone = gateway.phone(ANN, "24453", "my refund A-17, please");
    let answer = "Your refund A-17, is on its way.";
    eventually("the answer on the phone", || async {
        let got = phone.got();
        if got.iter().any(|line| line == &format!("{GATEWAY_NUMBER} {ANN} text {answer}")) {
            Ok(())
        } else {
            Err(format!("{got:?}"))
        }
    })
    .await;
    let seen = status(&shop.api(), ANN, answer, "delivered").await;
    assert_eq!(seen["direction"], "out");
    let whole = with_message(&shop.api(), ANN, "my refund A-17, please").await;
    assert_eq!(whole["channel"], "gateway");
    assert_eq!(phone.got().len(), 1, "nothing but the answer went out: an answer to Kannel's call would be a text");
}

async fn every_report_of_a_centre_becomes_the_messages_status(backend: Backend) {
    let centre = SmppCentre::start().await.expect("a centre");
    let (shop, _gateway) = connected(&backend, &centre).await;
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    centre.say(ANN, "24453", "Привет 😀");
    let conversation = with_message(&api, ANN, "Привет 😀").await;
    // 8, then 1; 8 alone; 8, 4, then 1; 8, then 2; 16.
    for (text, fate, wanted) in [
        ("one", Fate::taken(&["DELIVRD"]), "delivered"),
        ("two", Fate::taken(&[]), "accepted"),
        ("three", Fate::taken(&["ACCEPTD"]), "accepted"),
        ("four", Fate::taken(&["ENROUTE", "DELIVRD"]), "delivered"),
        ("five", Fate::taken(&["UNDELIV"]), "failed"),
        ("six", Fate::taken(&["EXPIRED"]), "failed"),
        ("seven", Fate::taken(&["REJECTD"]), "failed"),
        ("eight", Fate::refused(0x0b), "failed"),
    ] {
        centre.next(fate);
        reply(&api, &conversation, text).await;
        let seen = status(&api, ANN, text, wanted).await;
        if wanted == "failed" {
            assert!(
                seen["detail"].as_str().or(seen["problem"].as_str()).is_some() || seen["code"].is_string(),
                "{seen}"
            );
        }
    }
    let sent = centre.submitted();
    let texts: Vec<String> = sent.iter().map(|s| joined(std::slice::from_ref(s))).collect();
    assert_eq!(texts, ["one", "two", "three", "four", "five", "six", "seven"], "each once, in order");
    assert!(sent.iter().all(|s| s.to == ANN && s.from == GATEWAY_NUMBER && s.registered), "{sent:?}");
}

async fn long_texts_arrive_whole_in_both_alphabets(backend: Backend) {
    let centre = SmppCentre::start().await.expect("a centre");
    let (shop, _gateway) = connected(&backend, &centre).await;
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    centre.say_septets(ANN, "24453", b"hello");
    let conversation = with_message(&api, ANN, "hello").await;
    let plain = "A plain text of some length. ".repeat(12).trim().to_owned();
    reply(&api, &conversation, &plain).await;
    let parts = submitted_to(&centre, ANN, 3).await;
    assert!(parts.iter().all(|p| p.coding == 0 && p.data.len() <= 153), "{parts:?}");
    assert_eq!(joined(&parts), plain);
    status(&api, ANN, &plain, "delivered").await;

    centre.say(BOB, "24453", "ж");
    let conversation = with_message(&api, BOB, "ж").await;
    let long = format!("{}😀{}", "ж".repeat(66), "щ😀".repeat(20));
    reply(&api, &conversation, &long).await;
    let parts = submitted_to(&centre, BOB, 2).await;
    assert!(parts.iter().all(|p| p.coding == 8 && p.data.len() <= 134), "{parts:?}");
    assert_eq!(joined(&parts), long);
    status(&api, BOB, &long, "delivered").await;
}

async fn a_gateway_that_goes_and_comes_back_loses_nothing_and_repeats_nothing(backend: Backend) {
    let centre = SmppCentre::start().await.expect("a centre");
    let (shop, mut gateway) = connected(&backend, &centre).await;
    let mut daemon = Daemon::start(&shop).await;
    let api = shop.api();
    centre.say(ANN, "24453", "before");
    let conversation = with_message(&api, ANN, "before").await;

    gateway.down();
    for text in ["while it is down", "and once more"] {
        reply(&api, &conversation, text).await;
    }
    // At least one attempt met nobody.
    eventually("an attempt on the gateway that is down", || async {
        let tried = daemon.metrics().await;
        let failed = tried.lines().any(|l| l.contains("not_sent") && l.contains("gateway") && !l.ends_with(" 0"));
        if failed { Ok(()) } else { Err("none yet") }
    })
    .await;
    gateway.up().await;
    log_in(&centre).await;
    let sent = submitted_to(&centre, ANN, 2).await;
    let texts: Vec<String> = sent.iter().map(|s| joined(std::slice::from_ref(s))).collect();
    assert_eq!(texts, ["while it is down", "and once more"]);
    status(&api, ANN, "and once more", "delivered").await;

    // The daemon is away while a customer writes: Kannel tries again, and the message is there once.
    daemon.kill();
    centre.say(ANN, "24453", "while you are down");
    eventually("Kannel to take the message from the centre", || async {
        if centre.sessions() > 0 { Ok(()) } else { Err("logged out") }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    daemon.restart().await;
    let whole = eventually_within(Duration::from_secs(60), "the message that came while we were away", || async {
        let whole = with_message_or_none(&api, &conversation).await;
        whole.ok_or("not there yet")
    })
    .await;
    let count = whole.iter().filter(|m| m["text"] == "while you are down").count();
    assert_eq!(count, 1);
    assert_eq!(centre.submitted().len(), 2, "nothing was sent twice");
}

async fn with_message_or_none(api: &Api, conversation: &Value) -> Option<Vec<Value>> {
    let messages = api.messages(conversation["id"].as_str()?).await;
    messages.iter().any(|m| m["text"] == "while you are down").then_some(messages)
}

async fn stop_is_confirmed_once_and_then_nothing_goes_out(backend: Backend) {
    let centre = SmppCentre::start().await.expect("a centre");
    let (shop, _gateway) = connected(&backend, &centre).await;
    shop.reconfigure(|toml| {
        let keys = "provider = \"kannel\"\nstop_words = [\"STOPP\"]\nstop_reply = \"You get no more texts. START brings them back.\"\nstart_reply = \"Welcome back.\"\nhelp_reply = \"The Shop. STOP ends this.\"\n";
        toml.replace("provider = \"kannel\"\n", keys)
    });
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    let texts = |parts: &[Submitted]| parts.iter().map(|s| joined(std::slice::from_ref(s))).collect::<Vec<_>>();
    centre.say(ANN, "24453", "help");
    assert_eq!(texts(&submitted_to(&centre, ANN, 1).await), ["The Shop. STOP ends this."]);
    centre.say(ANN, "24453", " stopp ");
    assert_eq!(texts(&submitted_to(&centre, ANN, 2).await)[1], "You get no more texts. START brings them back.");
    let conversation = with_message(&api, ANN, " stopp ").await;
    let path = format!("/conversations/{}/reply", conversation["id"].as_str().expect("an id"));
    eventually("the opt-out to hold", || async {
        let answer = api.post(&path, json!({ "text": "an offer" })).await;
        if answer.status == 422 && answer.body["code"] == "opted_out" { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    let before = centre.submitted().len();
    centre.say(ANN, "24453", "STOP");
    centre.say(ANN, "24453", "refund B-1");
    with_message(&api, ANN, "refund B-1").await;
    centre.say(ANN, "24453", "START");
    let after = submitted_to(&centre, ANN, before + 1).await;
    assert_eq!(texts(&after)[before], "Welcome back.", "neither the second STOP nor the refund was answered");
    api.post(&path, json!({ "text": "an offer" })).await.ok();
    assert_eq!(texts(&submitted_to(&centre, ANN, before + 2).await)[before + 1], "an offer");
}

async fn who_does_not_know_the_secret_says_nothing(backend: Backend) {
    let (shop, _gateway) = Shop::with_gateway(&backend, None);
    let _daemon = Daemon::start(&shop).await;
    let call = |path: String| async move { http().get(path).send().await.expect("an answer").status().as_u16() };
    let hook = shop.hook("gateway");
    let query = "sender=%2B15551230001&message=hi&to=24453&id=1";
    assert_eq!(call(format!("{hook}?{query}")).await, 401);
    assert_eq!(call(format!("{hook}/in?{query}")).await, 403);
    assert_eq!(call(format!("{hook}/{HOOK_SECRET}x/in?{query}")).await, 403);
    assert_eq!(call(format!("{hook}/{HOOK_SECRET}/in")).await, 400);
    assert_eq!(call(format!("{hook}/{HOOK_SECRET}/in?{query}")).await, 200);
    with_message(&shop.api(), ANN, "hi").await;
}
