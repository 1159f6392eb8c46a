//! Moving a workspace from the embedded log to a broker and back, with all that it holds.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::time::Duration;
use switchboard_e2e::{Backend, Daemon, Provider, Shop, eventually_within, message, sid};

const ANN: &str = "+15551230001";
const BEN: &str = "+15551230002";
const CLEO: &str = "+15551230003";
const SOON: Duration = Duration::from_secs(40);

/// Writes a second configuration beside the first, with this `[log]`.
fn beside(shop: &Shop, name: &str, log: &str) {
    let text = std::fs::read_to_string(shop.config()).unwrap();
    let (before, rest) = text.split_once("[log]").unwrap();
    let (_, after) = rest.split_once("[http]").unwrap();
    std::fs::write(shop.folder().join(name), format!("{before}[log]\n{log}\n[http]{after}")).unwrap();
}

/// Moves, and has the daemon's next start use the new place.
fn migrate(shop: &Shop, to: &str) -> String {
    let done = shop.command(&["migrate", "--config", "switchboard.toml", "--to", to]);
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(0), "{out}{err}");
    let old = shop.folder().join("old.toml");
    std::fs::rename(shop.config(), &old).unwrap();
    std::fs::copy(shop.folder().join(to), shop.config()).unwrap();
    out.into_owned()
}

fn refused(shop: &Shop, arguments: &[&str], says: &str) {
    let done = shop.command(arguments);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains(says), "`{says}` is not in {said}");
}

/// Everything of every conversation that must be the same afterwards.
async fn picture(shop: &Shop) -> Vec<Value> {
    let mut all = shop.api().all("/conversations", "conversations").await;
    all.sort_by_key(|c| c["id"].to_string());
    let mut whole = vec![];
    for c in &all {
        let id = c["id"].as_str().unwrap();
        let mut messages = shop.api().messages(id).await;
        messages.sort_by_key(|m| m["id"].to_string());
        let keep = |v: &Value, keys: &[&str]| -> Value { keys.iter().map(|k| v[*k].clone()).collect() };
        let said: Vec<Value> = messages
            .iter()
            .map(|m| keep(m, &["id", "direction", "author", "text", "at", "status", "attachments"]))
            .collect();
        whole.push(json!({
            "conversation": keep(c, &["id", "channel", "state", "queue", "agent", "priority", "tags", "attributes",
                "contact", "opened_at", "queued_at", "sla"]),
            "messages": said,
        }));
    }
    whole
}

async fn explained(shop: &Shop, conversation: &Value) -> Value {
    let first = message(conversation, "refund A-1").unwrap()["id"].as_str().unwrap().to_owned();
    shop.api().get(&format!("/messages/{first}/explain")).await.ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_moves_to_a_broker_and_back_with_all_that_it_holds() {
    let (provider, broker) = (Provider::start().await, Backend::nats());
    let shop = Shop::with(&provider.base_url()).open();
    let deliver = async |from: &str, text: &str, id: &str| {
        shop.sms(from, text, &sid(id)).deliver(&shop.hook("support-sms")).await.unwrap().status
    };
    let mut daemon = Daemon::start(&shop).await;
    // Answered by a rule; waiting; taken and answered; snoozed until after the move; a long text, which is a file.
    assert_eq!(deliver(ANN, "refund A-1", "ann").await, 200);
    assert_eq!(deliver(BEN, "is anybody there?", "ben").await, 200);
    assert_eq!(deliver(CLEO, &"a long story ".repeat(8_000), "cleo").await, 200);
    provider.sent_to(ANN, 1).await;
    let api = shop.api();
    let phone = |number: &str| format!("phone:{number}");
    let ann = api.conversation(&phone(ANN), "to be answered", |c| c["messages"].as_array().unwrap().len() == 2).await;
    let cleo = api.conversation(&phone(CLEO), "to be there", |_| true).await;
    let snooze = format!("/conversations/{}/snooze", cleo["id"].as_str().unwrap());
    let until = jiff::Timestamp::now() + Duration::from_secs(20);
    api.post(&snooze, json!({ "until": until.to_string() })).await.ok();
    api.available("ann").await;
    let ben = api.conversation(&phone(BEN), "to be there", |_| true).await;
    let reply = format!("/conversations/{}/reply", ben["id"].as_str().unwrap());
    api.post(&reply, json!({ "text": "yes", "agent": "ann" })).await.ok();
    provider.sent_to(BEN, 1).await;
    let settled = |c: &Value| message(c, "yes").is_some_and(|m| m["status"] == "accepted");
    api.conversation(&phone(BEN), "to be sent", settled).await;
    let (before, why) = (picture(&shop).await, explained(&shop, &ann).await);

    beside(
        &shop,
        "nats.toml",
        &format!("backend = \"nats\"\nservers = [\"{}\"]\npath = \"moved\"", broker.url().unwrap()),
    );
    let to_nats = ["migrate", "--config", "switchboard.toml", "--to", "nats.toml"];
    refused(&shop, &to_nats, "is used by another switchboard");
    refused(&shop, &["migrate", "--config", "switchboard.toml", "--to", "switchboard.toml"], "the same log");
    assert_eq!(daemon.terminate(SOON).await.code(), Some(0));

    let said = migrate(&shop, "nats.toml");
    assert!(said.contains("3 conversations"), "{said}");
    // The old place is one no more, and the new one takes no second workspace.
    refused(&shop, &["run", "--config", "old.toml"], "this log was moved to");
    beside(&shop, "third.toml", "backend = \"embedded\"\npath = \"third\"");
    refused(&shop, &["migrate", "--config", "old.toml", "--to", "third.toml"], "this log was moved to");

    daemon.restart().await;
    same(&shop, &before).await;
    assert_eq!(explained(&shop, &ann).await, why, "a decision explains itself as before");
    // What the provider delivers again is known, and what is new is decided.
    assert_eq!(deliver(ANN, "refund A-1", "ann").await, 200);
    assert_eq!(deliver(ANN, "refund A-2", "ann again").await, 200);
    let sent = provider.sent_to(ANN, 2).await;
    assert_eq!(sent[1].body, "Your refund A-2 is on its way.");
    let story = api.conversation(&phone(CLEO), "to be there", |_| true).await;
    let file = story["messages"][0]["attachments"][0]["url"].as_str().expect("a file");
    let stored = api.get(file.trim_start_matches("/api/v1")).await.text;
    assert!(stored == "a long story ".repeat(8_000), "files moved too: {} bytes", stored.len());
    eventually_within(SOON, "the end of the snooze, by its timer", || async {
        let c = api.conversation(&phone(CLEO), "to be there", |_| true).await;
        if c["state"] == "snoozed" { Err("snoozed") } else { Ok(()) }
    })
    .await;
    assert_eq!(provider.sent().len(), 3, "nothing was sent twice");
    // The agent is known, and so is whose the conversation is.
    api.post(&reply, json!({ "text": "still there?", "agent": "ann" })).await.ok();
    provider.sent_to(BEN, 2).await;
    let settled = |c: &Value| message(c, "still there?").is_some_and(|m| m["status"] == "accepted");
    api.conversation(&phone(BEN), "to be sent", settled).await;
    let before = picture(&shop).await;
    refused(&shop, &["migrate", "--config", "switchboard.toml", "--to", "third.toml"], "another process uses");
    assert_eq!(daemon.terminate(SOON).await.code(), Some(0));

    beside(&shop, "back.toml", "backend = \"embedded\"\npath = \"back\"");
    migrate(&shop, "back.toml");
    daemon.restart().await;
    same(&shop, &before).await;
    assert_eq!(deliver(ANN, "refund A-2", "ann again").await, 200);
    assert_eq!(deliver(BEN, "refund B-1", "ben again").await, 200);
    provider.sent_to(BEN, 3).await;
    assert_eq!(provider.sent().len(), 5, "nothing was sent twice");
}

/// History is made anew in the new place, which takes a moment.
async fn same(shop: &Shop, before: &[Value]) {
    eventually_within(SOON, "the same conversations as before", || async {
        let now = picture(shop).await;
        let other = before.iter().zip(&now).find(|(a, b)| a != b);
        match other {
            None if before.len() == now.len() => Ok(()),
            None => Err(format!("{} conversations of {}", now.len(), before.len())),
            Some((was, is)) => Err(format!("was {was}\nis  {is}")),
        }
    })
    .await;
}
