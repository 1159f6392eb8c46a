use crate::client::{Server, hello, hello_again};
use crate::fake::Fake;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use switchboard::http::chat::Timing;
use switchboard_envelope::Inbound;
use switchboard_webchat::{Limits, WebchatConfig};
use tokio_tungstenite::tungstenite::Message;

fn config() -> WebchatConfig {
    WebchatConfig { origins: vec!["https://shop.example".into()], ..WebchatConfig::default() }
}

fn quick() -> Timing {
    Timing { confirm: Duration::from_millis(20), ..Timing::default() }
}

async fn start(fake: &Arc<Fake>) -> Server {
    Server::start(fake.daemon(config(), quick())).await
}

/// Waits for a condition, with a deadline.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never happened: {what}");
}

#[tokio::test]
async fn a_message_is_acknowledged_once_durable_and_comes_back_with_its_place() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let (mut ann, welcome) = server.welcome(hello()).await;
    assert_eq!((&welcome["last_seq"], &welcome["replay"], &welcome["ping_s"]), (&json!(0), &json!([]), &json!(30)));
    ann.message("c1", "My kettle leaks 😀").await;
    let (mut ack, mut message) = (ann.next().await, ann.next().await);
    if ack["type"] == "message" {
        std::mem::swap(&mut ack, &mut message);
    }
    assert_eq!((&ack["type"], &ack["client_id"]), (&json!("ack"), &json!("c1")));
    assert_eq!((&message["client_id"], &message["from"]["kind"]), (&json!("c1"), &json!("visitor")));
    assert_eq!(ack["id"], message["id"]);
    let visitor = welcome["visitor"].as_str().unwrap();
    assert!(ack["id"].as_str().unwrap().starts_with(&format!("site:message:{visitor}.")));
    let seq = fake.reply(visitor, Some("Dana"), "Oh no!", &[("return", "Send it back")]);
    let reply = ann.next().await;
    assert_eq!((&reply["seq"], &reply["text"]), (&json!(seq), &json!("Oh no!")));
    assert_eq!(reply["from"], json!({ "kind": "agent", "name": "Dana" }));
    assert_eq!(reply["choices"][0]["id"], "return");
    let auto = fake.reply(visitor, None, "We are closed.", &[]);
    let reply = ann.next().await;
    assert_eq!((&reply["seq"], &reply["from"]["kind"]), (&json!(auto), &json!("auto")));
}

#[tokio::test]
async fn nobody_sees_anothers_thread() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let (mut ann, a) = server.welcome(hello()).await;
    let (mut bob, b) = server.welcome(hello()).await;
    assert_ne!(a["visitor"], b["visitor"]);
    ann.message("c1", "for us only").await;
    ann.until("ack").await;
    fake.reply(b["visitor"].as_str().unwrap(), Some("Dana"), "Hello Bob", &[]);
    assert_eq!(bob.next().await["text"], "Hello Bob");
    let (_, again) = server.welcome(hello_again(&b, 0)).await;
    assert_eq!(again["replay"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_page_that_is_not_listed_is_refused_with_4403() {
    let fake = Fake::new();
    let server = start(&fake).await;
    for origin in ["https://evil.example", "http://shop.example", "null", "https://shop.example:444"] {
        let (code, frames) = server.visitor_from(Some(origin)).await.closed().await;
        assert_eq!((code, &frames[0]["code"]), (4403, &json!("origin_refused")), "{origin}");
    }
    let own = format!("http://{}", server.addr);
    for origin in ["https://shop.example", own.as_str()] {
        let mut visitor = server.visitor_from(Some(origin)).await;
        visitor.say(hello()).await;
        assert_eq!(visitor.next().await["type"], "welcome", "{origin}");
    }
}

#[tokio::test]
async fn a_forged_token_is_refused_with_4401() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let (_, welcome) = server.welcome(hello()).await;
    let token = welcome["token"].as_str().unwrap();
    let other = token.replacen(".v", ".u", 1);
    for forged in [other.as_str(), "v1.x", "visitor.opaque", &token[..token.len() - 1]] {
        let mut visitor = server.visitor().await;
        visitor.say(json!({ "type": "hello", "v": 1, "token": forged })).await;
        let (code, frames) = visitor.closed().await;
        assert_eq!((code, &frames[0]["code"]), (4401, &json!("unauthorized")), "{forged}");
    }
    for first in [json!({ "type": "message", "client_id": "c", "text": "x" }), json!({ "type": "nonsense" })] {
        let mut visitor = server.visitor().await;
        visitor.say(first).await;
        assert_eq!(visitor.closed().await.0, 4401);
    }
    assert!(fake.heard().is_empty());
}

#[tokio::test]
async fn who_never_says_hello_or_falls_silent_is_let_go_with_4408() {
    let fake = Fake::new();
    let timing = Timing { hello: Duration::from_millis(80), ..quick() };
    let server = Server::start(fake.daemon(config(), timing)).await;
    assert_eq!(server.visitor().await.closed().await.0, 4408);
    let timing = Timing { ping: Duration::from_millis(100), idle: Duration::from_millis(400), ..quick() };
    let server = Server::start(fake.daemon(config(), timing)).await;
    // A client that takes no turn answers no ping: it is read only after the server gave up.
    let (mut silent, _) = server.welcome(hello()).await;
    let (mut lively, _) = server.welcome(hello()).await;
    let alive = async {
        for _ in 0..16 {
            lively.say(json!({ "type": "ping" })).await;
            assert_eq!(lively.next().await["type"], "pong");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    alive.await;
    let (code, frames) = silent.closed().await;
    assert_eq!((code, &frames[0]), (4408, &json!({ "type": "bye", "reason": "idle" })));
}

#[tokio::test]
async fn a_flood_is_slowed_down_and_then_cut_off_with_4429() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let (mut flood, _) = server.welcome(hello()).await;
    for n in 0..30 {
        flood.message(&format!("c{n}"), "again").await;
    }
    let mut limited = None;
    while limited.is_none() {
        let frame = flood.next().await;
        if frame["type"] == "error" {
            limited = Some(frame);
        }
    }
    let limited = limited.unwrap();
    assert_eq!(limited["code"], "rate_limited");
    assert!(limited["client_id"].as_str().unwrap().starts_with('c'));
    let wait = limited["retry_after_ms"].as_u64().unwrap();
    assert!((1..=100).contains(&wait), "{wait}");
    assert!((20..=25).contains(&fake.heard().len()), "{}", fake.heard().len());
    for _ in 0..100 {
        flood.say(json!({ "type": "typing" })).await;
    }
    assert_eq!(flood.closed().await.0, 4429);
}

#[tokio::test]
async fn a_resent_message_is_a_duplicate_and_reused_ids_swallow_nothing() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let (mut ann, welcome) = server.welcome(hello()).await;
    ann.message("c1", "hello").await;
    let first = ann.until("ack").await;
    assert_eq!(first.get("duplicate"), None);
    // The line broke before the acknowledgement was seen: the widget sends the same again.
    drop(ann);
    let (mut ann, _) = server.welcome(hello_again(&welcome, 0)).await;
    ann.message("c1", "hello").await;
    let second = ann.until("ack").await;
    assert_eq!((&second["id"], &second["duplicate"]), (&first["id"], &json!(true)));
    ann.message("c1", "something else").await;
    let third = ann.until("ack").await;
    assert_ne!(third["id"], first["id"]);
    assert_eq!(fake.heard(), ["hello", "something else"]);
    // A stranger with the same client_id and words is heard as well.
    let (mut bob, _) = server.welcome(hello()).await;
    bob.message("c1", "hello").await;
    assert_eq!(bob.until("ack").await.get("duplicate"), None);
    assert_eq!(fake.heard().len(), 3);
}

#[tokio::test]
async fn a_reload_and_a_restart_continue_where_the_thread_stands() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let (mut ann, welcome) = server.welcome(hello()).await;
    let visitor = welcome["visitor"].as_str().unwrap().to_owned();
    ann.message("c1", "before").await;
    let seen = ann.until("message").await["seq"].as_u64().unwrap();
    drop(ann);
    let addr = server.stop().await;
    fake.reply(&visitor, Some("Dana"), "while you were away", &[]);
    let server = Server::start_at(fake.daemon(config(), quick()), addr).await;
    let (_, again) = server.welcome(hello_again(&welcome, seen)).await;
    assert_eq!(again["visitor"], welcome["visitor"]);
    let texts = |w: &serde_json::Value| -> Vec<String> {
        w["replay"].as_array().unwrap().iter().map(|m| m["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts(&again), ["while you were away"]);
    let (_, whole) = server.welcome(hello_again(&welcome, 0)).await;
    assert_eq!(texts(&whole), ["before", "while you were away"]);
    assert_eq!(whole["conversation"], "c1");
    // A position that this log never gave: everything again, and the widget is told to drop what it holds.
    let (_, reset) = server.welcome(hello_again(&welcome, u64::from(u32::MAX))).await;
    assert_eq!((&reset["reset"], texts(&reset).len()), (&json!(true), 2));
}

#[tokio::test]
async fn a_long_thread_arrives_whole_and_in_order() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let (_, welcome) = server.welcome(hello()).await;
    let visitor = welcome["visitor"].as_str().unwrap();
    let sent: Vec<u64> =
        (0..230).map(|n| fake.reply(visitor, Some("Dana"), &format!("{n} {}", "é".repeat(900)), &[])).collect();
    let (mut ann, again) = server.welcome(hello_again(&welcome, 0)).await;
    assert!(again.to_string().len() < 40_000, "a welcome of {} bytes", again.to_string().len());
    let mut got: Vec<u64> = again["replay"].as_array().unwrap().iter().map(|m| m["seq"].as_u64().unwrap()).collect();
    while got.len() < sent.len() {
        got.push(ann.until("message").await["seq"].as_u64().unwrap());
    }
    assert_eq!(got, sent);
}

#[tokio::test]
async fn confirmations_are_bound_to_our_messages_and_coalesced() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let (mut ann, welcome) = server.welcome(hello()).await;
    let visitor = welcome["visitor"].as_str().unwrap();
    let (first, second) =
        (fake.reply(visitor, Some("Dana"), "one", &[]), fake.reply(visitor, Some("Dana"), "two", &[]));
    while ann.until("message").await["seq"] != json!(second) {}
    ann.say(json!({ "type": "delivered", "up_to_seq": first })).await;
    ann.say(json!({ "type": "delivered", "up_to_seq": u64::MAX })).await;
    eventually("delivered", || !fake.confirmed().is_empty()).await;
    assert_eq!(fake.confirmed(), [(second, false)], "of {first} and {second}");
    // Another window of the same visitor hears that it was read here.
    let (mut other, _) = server.welcome(hello_again(&welcome, second)).await;
    ann.say(json!({ "type": "read", "up_to_seq": second })).await;
    assert_eq!(other.until("read").await["up_to_seq"], second);
    eventually("read", || fake.confirmed() == [(second, false), (second, true)]).await;
    let ids: Vec<String> = fake.store.lock().unwrap().ingested.iter().map(|i: &Inbound| i.id().to_owned()).collect();
    assert_eq!(
        ids,
        [format!("site:command:{visitor}.delivered.{second}"), format!("site:command:{visitor}.read.{second}")]
    );
    // What was claimed just before leaving is not lost.
    let third = fake.reply(visitor, Some("Dana"), "three", &[]);
    ann.until("message").await;
    ann.say(json!({ "type": "read", "up_to_seq": third })).await;
    ann.socket.close(None).await.unwrap();
    eventually("read on leaving", || fake.confirmed().last() == Some(&(third, true))).await;
}

#[tokio::test]
async fn a_full_log_is_told_and_the_same_message_goes_through_later() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let (mut ann, _) = server.welcome(hello()).await;
    fake.full.store(true, Ordering::SeqCst);
    ann.message("c1", "hello").await;
    let error = ann.next().await;
    assert_eq!((&error["code"], &error["client_id"]), (&json!("unavailable"), &json!("c1")));
    assert!(error["retry_after_ms"].as_u64().unwrap() > 0);
    fake.full.store(false, Ordering::SeqCst);
    ann.message("c1", "hello").await;
    assert_eq!(ann.until("ack").await.get("duplicate"), None);
    assert_eq!(fake.heard(), ["hello"]);
}

#[tokio::test]
async fn frames_that_break_the_rules_are_errors_and_the_talk_goes_on() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let (mut ann, _) = server.welcome(hello()).await;
    for (frame, code) in [
        (json!({ "type": "message", "client_id": "c", "text": "x".repeat(4001) }), "too_long"),
        (json!({ "type": "message", "client_id": "c", "text": " " }), "empty"),
        (json!({ "type": "message", "client_id": "c", "text": "x".repeat(9000) }), "too_large"),
        (json!({ "type": "message", "client_id": "../c", "text": "x" }), "bad_frame"),
        (json!({ "type": "admin" }), "bad_frame"),
        (json!({ "type": "hello" }), "bad_frame"),
        (json!([1, 2]), "bad_frame"),
    ] {
        ann.say(frame.clone()).await;
        let error = ann.next().await;
        assert_eq!((&error["type"], error["code"].as_str()), (&json!("error"), Some(code)), "{frame:.80}");
    }
    use futures_util::SinkExt as _;
    ann.socket.send(Message::binary(vec![0, 1])).await.unwrap();
    assert_eq!(ann.next().await["code"], "bad_frame");
    ann.message("c", "still here").await;
    ann.until("ack").await;
    assert_eq!(fake.heard(), ["still here"]);
}

#[tokio::test]
async fn windows_and_visitors_have_a_limit() {
    let fake = Fake::new();
    let limits = Limits { sockets_per_visitor: 2, sockets: 3, ..Limits::default() };
    let server = Server::start(fake.daemon(WebchatConfig { limits, ..config() }, quick())).await;
    let (_a, welcome) = server.welcome(hello()).await;
    let (_b, _) = server.welcome(hello_again(&welcome, 0)).await;
    let mut third = server.visitor().await;
    third.say(hello_again(&welcome, 0)).await;
    let (code, frames) = third.closed().await;
    assert_eq!((code, &frames[0]["code"]), (4429, &json!("busy")));
    drop(third);
    let (c, _) = server.welcome(hello()).await;
    let (code, frames) = server.visitor().await.closed().await;
    assert_eq!((code, &frames[0]["code"]), (1013, &json!("busy")));
    // A seat is free again once somebody leaves.
    drop(c);
    for _ in 0..100 {
        let mut next = server.visitor().await;
        next.say(hello()).await;
        if next.next().await["type"] == "welcome" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no seat became free");
}

#[tokio::test]
async fn typing_and_the_place_in_the_queue_are_told() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let (mut ann, welcome) = server.welcome(hello()).await;
    let visitor = welcome["visitor"].as_str().unwrap();
    for _ in 0..3 {
        ann.say(json!({ "type": "typing" })).await;
    }
    eventually("typing", || fake.typing.load(Ordering::SeqCst) == 1).await;
    fake.wakes.agent_typing("site", visitor, Some("Dana"));
    assert_eq!(ann.next().await, json!({ "type": "typing", "from": { "kind": "agent", "name": "Dana" } }));
    fake.set_queue(visitor, Some(3));
    assert_eq!(ann.next().await, json!({ "type": "queue", "position": 3 }));
    fake.set_queue(visitor, None);
    assert_eq!(ann.next().await, json!({ "type": "queue", "position": null }));
    // What comes after a message is a new beginning, however soon it comes.
    ann.message("after-typing", "There.").await;
    ann.until("ack").await;
    ann.say(json!({ "type": "typing" })).await;
    eventually("the next word", || fake.typing.load(Ordering::SeqCst) == 2).await;
}

#[tokio::test]
async fn a_drain_says_goodbye_so_that_widgets_come_back() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let (mut ann, _) = server.welcome(hello()).await;
    server.state.drain();
    let (code, frames) = ann.closed().await;
    assert_eq!((code, &frames[0]), (1012, &json!({ "type": "bye", "reason": "restart" })));
}

#[tokio::test]
async fn a_visitor_who_reads_nothing_is_let_go() {
    let fake = Fake::new();
    let timing = Timing { send: Duration::from_millis(200), ..quick() };
    let server = Server::start(fake.daemon(config(), timing)).await;
    let (ann, welcome) = server.welcome(hello()).await;
    let visitor = welcome["visitor"].as_str().unwrap();
    // More than the socket buffers of both sides hold.
    for n in 0..4000 {
        fake.reply(visitor, Some("Dana"), &format!("{n} {}", "x".repeat(3900)), &[]);
    }
    eventually("the socket was given up", || fake.wakes.listeners("site", visitor) == 0).await;
    drop(ann);
}

#[tokio::test]
async fn a_user_whom_the_shop_vouches_for_is_the_same_on_every_device() {
    let fake = Fake::new();
    let mut config = config();
    config.identity_secrets = vec![switchboard_adapter_sdk::Secret::new("Jefe")];
    let server = Server::start(fake.daemon(config, quick())).await;
    // RFC 4231, test case 2.
    let user = json!({ "id": "what do ya want for nothing?", "name": "Ann",
        "hash": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" });
    let (mut phone, a) = server.welcome(json!({ "type": "hello", "v": 1, "user": user })).await;
    let (_, b) = server.welcome(json!({ "type": "hello", "v": 1, "user": user })).await;
    assert_eq!(a["visitor"], b["visitor"]);
    phone.message("c1", "hello").await;
    phone.until("ack").await;
    let Inbound::Message(m) = fake.store.lock().unwrap().ingested[0].clone() else { panic!("not a message") };
    assert_eq!((m.authenticated, m.from.name.as_deref()), (Some(true), Some("Ann")));
    assert_eq!(m.meta["user"], "what do ya want for nothing?");
    let mut forged = user.clone();
    forged["id"] = "root".into();
    let mut visitor = server.visitor().await;
    visitor.say(json!({ "type": "hello", "v": 1, "user": forged })).await;
    assert_eq!(visitor.closed().await.0, 4401);
}
