//! What an operator does from the command line: each command that changes something, once, with its effect.
#![forbid(unsafe_code)]

use serde_json::Value;
use switchboard_e2e::{Backend, Daemon, Provider, Shop, Step, eventually, message, on_every_backend, sid};

const ANN: &str = "+15551230001";
const BEN: &str = "+15551230002";
const PACK: &str = r#"
zone: Europe/Paris
queues:
  everyone: {}
  billing: { skills: [billing] }
agents:
  amy: { name: Amy, capacity: 10 }
  bob: { name: Bob, capacity: 10, skills: [billing] }
default: { queue: everyone }
"#;

on_every_backend! {
    conversations_are_answered_and_handed_on,
    contacts_are_tagged_described_and_joined,
    channels_are_paused_and_resumed,
    what_is_held_back_is_read_again_sent_again_or_given_up,
}

/// Runs a command that must succeed; what it says.
fn run(shop: &Shop, arguments: &[&str]) -> String {
    let done = shop.command(arguments);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(done.status.code(), Some(0), "{arguments:?}: {said}{}", String::from_utf8_lossy(&done.stderr));
    said
}

/// The one conversation of somebody, once it `holds`.
async fn conversation(shop: &Shop, of: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    shop.api().conversation(&format!("phone:{of}"), what, holds).await
}

async fn says(shop: &Shop, from: &str, text: &str) -> Value {
    let sms = shop.sms(from, text, &sid(&format!("{from} {text}")));
    assert_eq!(sms.deliver(&shop.hook("support-sms")).await.unwrap().status, 200);
    conversation(shop, from, "to hold the message", |c| message(c, text).is_some()).await
}

fn id(of: &Value) -> &str {
    of["id"].as_str().expect("an id")
}

async fn conversations_are_answered_and_handed_on(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).pack(PACK).open();
    let _daemon = Daemon::start(&shop).await;
    let c = says(&shop, ANN, "hello").await;
    let c = id(&c);
    let becomes = async |what: &str, holds: &dyn Fn(&Value) -> bool| conversation(&shop, ANN, what, holds).await;

    run(&shop, &["agents", "presence", "amy", "available"]);
    let agents = shop.api().get("/agents").await.ok();
    let presence =
        |of: &str| agents["agents"].as_array().unwrap().iter().find(|a| a["id"] == of).unwrap()["presence"].clone();
    assert_eq!((presence("amy"), presence("bob")), ("available".into(), "offline".into()));
    becomes("to be amy's", &|c| c["agent"] == "amy").await;

    let said = run(&shop, &["conversations", "note", c, "she called, too", "--agent", "amy"]);
    assert!(said.contains("noted"), "{said}");
    let said = run(&shop, &["conversations", "reply", c, "Good morning", "--agent", "amy"]);
    assert!(said.contains("the reply is on its way: "), "{said}");
    let answered =
        becomes("to be answered", &|c| message(c, "Good morning").is_some_and(|m| m["status"] == "accepted")).await;
    assert!(said.contains(id(message(&answered, "Good morning").unwrap())), "{said} names the message");
    let sent = provider.sent();
    assert_eq!(sent.iter().map(|s| s.body.as_str()).collect::<Vec<_>>(), ["Good morning"], "and not the note");
    let note = message(&answered, "she called, too").expect("the note");
    assert_eq!(note["author"]["id"], "amy", "{note}");

    run(&shop, &["conversations", "transfer", c, "billing"]);
    becomes("to wait for billing", &|c| c["queue"] == "billing" && c["state"] == "queued").await;
    run(&shop, &["conversations", "transfer", c, "amy"]);
    becomes("to be amy's again", &|c| c["agent"] == "amy" && c["state"] == "assigned").await;
    run(&shop, &["conversations", "transfer", c, "--queue", "billing"]);
    becomes("to wait for billing again", &|c| c["state"] == "queued").await;
    let refused = shop.command(&["conversations", "transfer", c, "nobody"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("everyone") && said.contains("billing"), "{said}");

    run(&shop, &["conversations", "snooze", c, "2h"]);
    becomes("to be snoozed", &|c| c["state"] == "snoozed").await;
    run(&shop, &["conversations", "close", c]);
    becomes("to be closed", &|c| c["state"] == "closed").await;
    run(&shop, &["conversations", "reopen", c]);
    becomes("to be open again", &|c| c["state"] != "closed").await;
    // A reply that takes it from whoever has it.
    run(&shop, &["conversations", "transfer", c, "amy"]);
    becomes("to be amy's", &|c| c["agent"] == "amy").await;
    run(&shop, &["conversations", "reply", c, "Bob here", "--agent", "bob", "--take"]);
    assert_eq!(provider.sent_to(ANN, 2).await[1].body, "Bob here");
    becomes("to be bob's", &|c| c["agent"] == "bob").await;
}

async fn contacts_are_tagged_described_and_joined(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).pack(PACK).open();
    let _daemon = Daemon::start(&shop).await;
    let (first, second) = (says(&shop, ANN, "hello").await, says(&shop, BEN, "hello").await);
    let (ann, ben) = (id(&first["contact"]), id(&second["contact"]));
    let api = shop.api();
    let is = async |what: &str, holds: &dyn Fn(&Value) -> bool| {
        eventually(what, || async {
            let contact = api.get(&format!("/contacts/{ann}")).await;
            if holds(&contact.body) { Ok(contact.body) } else { Err(contact.text) }
        })
        .await
    };
    run(&shop, &["contacts", "tag", ann, "vip", "old"]);
    is("both tags", &|c| c["tags"] == serde_json::json!(["old", "vip"])).await;
    run(&shop, &["contacts", "untag", ann, "old"]);
    is("one tag", &|c| c["tags"] == serde_json::json!(["vip"])).await;
    run(&shop, &["contacts", "set", ann, "tier=gold", "since=2019"]);
    is("both attributes", &|c| c["attributes"]["tier"] == "gold" && c["attributes"]["since"] == "2019").await;
    run(&shop, &["contacts", "set", ann, "since="]);
    is("one attribute", &|c| c["attributes"] == serde_json::json!({ "tier": "gold" })).await;

    run(&shop, &["contacts", "consent", ann, "support-sms", "opted-out"]);
    let refused = shop.command(&["conversations", "reply", id(&first), "are you sure?"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("opted"), "{said}");
    run(&shop, &["contacts", "consent", ann, "support-sms", "opted-in"]);
    run(&shop, &["conversations", "reply", id(&first), "Welcome back"]);
    assert_eq!(provider.sent_to(ANN, 1).await[0].body, "Welcome back");

    run(&shop, &["contacts", "merge", ann, ben]);
    let both = is("both identities", &|c| c["identities"].as_array().is_some_and(|i| i.len() == 2)).await;
    assert!(both.to_string().contains(BEN) && both["tags"] == serde_json::json!(["vip"]), "{both}");
}

async fn channels_are_paused_and_resumed(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).pack(PACK).open();
    let _daemon = Daemon::start(&shop).await;
    let state = async |what: &str, wanted: &str| {
        eventually(what, || async {
            let channels = shop.api().get("/channels").await;
            let sms =
                channels.body["channels"].as_array().and_then(|c| c.iter().find(|c| c["id"] == "support-sms").cloned());
            sms.filter(|c| c["state"] == wanted).ok_or(channels.text)
        })
        .await
    };
    run(&shop, &["channels", "pause", "support-sms"]);
    state("a channel that is paused", "paused").await;
    let c = says(&shop, ANN, "hello").await;
    run(&shop, &["conversations", "reply", id(&c), "later"]);
    conversation(&shop, ANN, "to hold the reply", |c| message(c, "later").is_some()).await;
    assert_eq!(provider.requests(), 0);
    run(&shop, &["channels", "resume", "support-sms"]);
    state("a channel that sends", "up").await;
    assert_eq!(provider.sent_to(ANN, 1).await[0].body, "later");
}

async fn what_is_held_back_is_read_again_sent_again_or_given_up(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).pack(PACK).open();
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    let rows = async |path: &str, key: &str, count: usize| -> Vec<Value> {
        eventually(&format!("{count} of {path}"), || async {
            let rows = api.all(path, key).await;
            if rows.len() == count { Ok(rows) } else { Err(format!("{rows:?}")) }
        })
        .await
    };
    let unread = shop.sms(ANN, "nobody wrote this", &sid("nobody")).without("From");
    assert_eq!(unread.deliver(&shop.hook("support-sms")).await.unwrap().status, 200);
    let held = rows("/quarantine", "quarantine", 1).await;
    let again = shop.command(&["quarantine", "retry", id(&held[0])]);
    let said = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(again.status.code() == Some(1) && said.contains("still cannot be read"), "{said}");
    rows("/quarantine", "quarantine", 1).await;
    run(&shop, &["quarantine", "drop", id(&held[0])]);
    rows("/quarantine", "quarantine", 0).await;

    let c = says(&shop, ANN, "hello").await;
    for text in ["first", "second"] {
        provider.next(Step::bad_request(21_211));
        run(&shop, &["conversations", "reply", id(&c), text]);
        conversation(&shop, ANN, "to hold a refusal", |c| message(c, text).is_some_and(|m| m["status"] == "rejected"))
            .await;
    }
    let dead = rows("/dead-letters", "dead_letters", 2).await;
    let of = |text: &str| id(dead.iter().find(|d| d.to_string().contains(text)).expect("a dead letter")).to_owned();
    run(&shop, &["dead-letters", "drop", &of("second")]);
    rows("/dead-letters", "dead_letters", 1).await;
    run(&shop, &["dead-letters", "resend", &of("first")]);
    rows("/dead-letters", "dead_letters", 0).await;
    assert_eq!(provider.sent_to(ANN, 1).await[0].body, "first");
    assert_eq!(provider.requests(), 3, "what was given up is not sent");
}
