//! Moving a workspace from the embedded log to a broker and back, with all that it holds.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::time::Duration;
use switchboard_e2e::{
    Backend, Daemon, NatsServer, Provider, Shop, eventually_within, jetstream, jetstream_says, message, sid,
};

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
    // Nobody can read it: it is in quarantine with its bytes.
    let unread = shop.sms(BEN, "nobody wrote this", &sid("nobody")).without("From");
    assert_eq!(unread.deliver(&shop.hook("support-sms")).await.unwrap().status, 200);
    assert_eq!(deliver(CLEO, &"a long story ".repeat(8_000), "cleo").await, 200);
    provider.sent_to(ANN, 1).await;
    let api = shop.api();
    let phone = |number: &str| format!("phone:{number}");
    let ann = api.conversation(&phone(ANN), "to be answered", |c| c["messages"].as_array().unwrap().len() == 2).await;
    let cleo = api.conversation(&phone(CLEO), "to be there", |_| true).await;
    let snooze = format!("/conversations/{}/snooze", cleo["id"].as_str().unwrap());
    let until = jiff::Timestamp::now() + Duration::from_secs(60);
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
    still_held(&shop, &unread.body()).await;
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
    eventually_within(SOON * 2, "the end of the snooze, by its timer", || async {
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
    let said = migrate(&shop, "back.toml");
    assert!(said.contains("1 record in quarantine"), "{said}");
    daemon.restart().await;
    same(&shop, &before).await;
    still_held(&shop, &unread.body()).await;
    assert_eq!(deliver(ANN, "refund A-2", "ann again").await, 200);
    assert_eq!(deliver(BEN, "refund B-1", "ben again").await, 200);
    provider.sent_to(BEN, 3).await;
    assert_eq!(provider.sent().len(), 5, "nothing was sent twice");
}

/// What is in quarantine is there with its bytes, is read again on demand, and can be dropped by its number.
async fn still_held(shop: &Shop, body: &str) {
    let api = shop.api();
    let rows = eventually_within(SOON, "the record in quarantine", || async {
        let rows = api.all("/quarantine", "quarantine").await;
        if rows.len() == 1 { Ok(rows) } else { Err(format!("{rows:?}")) }
    })
    .await;
    assert_eq!(rows[0]["raw"]["text"], body, "{}", rows[0]);
    let retry = format!("/quarantine/{}/retry", rows[0]["id"].as_str().unwrap());
    let again = api.post(&retry, json!({})).await.ok();
    assert!(again["released"] == false && !again.to_string().contains("not kept"), "it was read again: {again}");
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

/// Whether the broker holds a part of a workspace that is being moved to it.
async fn is_begun(url: &str) -> bool {
    let asked = json!({ "last_by_subj": "$KV.SB_main_EDGES.moving" });
    let found = jetstream_says(url, "STREAM.MSG.GET.KV_SB_main_EDGES", &asked).await;
    found["message"]["data"].is_string()
}

/// Takes everything of the workspace off the broker, as the refusal says.
async fn removed(url: &str) {
    let streams = ["SB_main_IN", "SB_main_LOG", "SB_main_OUT", "OBJ_SB_main_BLOBS"].map(str::to_owned);
    let buckets = ["CLAIMS", "KEYS", "EDGES"].map(|bucket| format!("KV_SB_main_{bucket}"));
    for stream in streams.iter().chain(&buckets) {
        let gone = jetstream(url, &format!("STREAM.DELETE.{stream}"), &json!({})).await;
        assert_eq!(gone["success"], true, "{gone}");
    }
}

/// Moves, killed later and later in its course, until one move ends by itself; how many were killed.
async fn killed_until_it_ends(shop: &Shop, to: &str, step: Duration) -> u32 {
    for n in 1..200 {
        let ended = shop.killed_after(&["migrate", "--config", "switchboard.toml", "--to", to], step * n).await;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        match ended.status.code() {
            None => continue,
            Some(0) => {}
            // The one before had done everything but to say so.
            Some(1) if n > 1 && said.contains("this log was moved to") => {}
            Some(code) => panic!("{code}: {said}"),
        }
        std::fs::copy(shop.folder().join(to), shop.config()).unwrap();
        return n - 1;
    }
    panic!("the move never ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_killed_at_any_moment_is_finished_by_the_next_one_and_loses_and_doubles_nothing() {
    const PEOPLE: usize = 60;
    let (provider, broker) = (Provider::start().await, Backend::nats());
    let url = broker.url().unwrap();
    let shop = Shop::with(&provider.base_url()).open();
    let from = |n: usize| format!("+1555300{n:04}");
    let deliver = async |n: usize, text: &str| {
        let sms = shop.sms(&from(n), text, &sid(&format!("{n} {text}")));
        assert_eq!(sms.deliver(&shop.hook("support-sms")).await.unwrap().status, 200);
    };
    let sent = async |people: usize, each: usize| {
        for n in 0..people {
            provider.sent_to(&from(n), each).await;
        }
        let settled = || async {
            let all = shop.api().all("/conversations", "conversations").await;
            let mut open = vec![];
            let mut answered = vec![0; people];
            for c in &all {
                let messages = shop.api().messages(c["id"].as_str().unwrap()).await;
                let (accepted, others): (Vec<Value>, Vec<Value>) =
                    messages.into_iter().filter(|m| m["direction"] == "out").partition(|m| m["status"] == "accepted");
                open.extend(others);
                let who = format!("{}", c["contact"]["identities"]);
                let theirs = answered.iter_mut().enumerate().filter(|(n, _)| who.contains(&from(*n)));
                theirs.for_each(|(_, count)| *count += accepted.len());
            }
            // The transcript may be behind what the provider has.
            let all_are_told = answered.iter().all(|count| *count >= each);
            if open.is_empty() && all_are_told { Ok(()) } else { Err(format!("{answered:?}, {open:?}")) }
        };
        eventually_within(SOON, "every answer to be accepted", settled).await;
    };
    let mut daemon = Daemon::start(&shop).await;
    for n in 0..PEOPLE {
        deliver(n, &format!("refund A-{n}")).await;
        // Some of it are files.
        if n % 6 == 0 {
            deliver(n, &format!("{n} {}", "a long story ".repeat(6_000))).await;
        }
    }
    sent(PEOPLE, 1).await;
    assert_eq!(daemon.terminate(SOON).await.code(), Some(0));
    beside(&shop, "nats.toml", &format!("backend = \"nats\"\nservers = [\"{url}\"]\npath = \"moved\""));

    // A part of a move is no log to start on; and it is no part of a move of what the old log became meanwhile.
    let migrate = ["migrate", "--config", "switchboard.toml", "--to", "nats.toml"];
    let mut wait = Duration::from_millis(20);
    while !is_begun(&url).await {
        let ended = shop.killed_after(&migrate, wait).await;
        assert!(!ended.status.success(), "the first moment of the move was missed");
        wait += Duration::from_millis(5);
    }
    refused(&shop, &["run", "--config", "nats.toml"], "run `switchboard migrate` again");
    daemon.restart().await;
    deliver(0, "refund B-0").await;
    provider.sent_to(&from(0), 2).await;
    sent(1, 2).await;
    let before = picture(&shop).await;
    assert_eq!(daemon.terminate(SOON).await.code(), Some(0));
    refused(&shop, &migrate, "or of one before the old log was written to: delete the streams SB_main_*");
    removed(&url).await;

    let killed = killed_until_it_ends(&shop, "nats.toml", Duration::from_millis(60)).await;
    println!("to the broker: {killed} killed");
    daemon.restart().await;
    same(&shop, &before).await;
    deliver(1, "refund A-1").await;
    deliver(1, "refund C-1").await;
    provider.sent_to(&from(1), 2).await;
    sent(2, 2).await;
    let before = picture(&shop).await;
    assert_eq!(daemon.terminate(SOON).await.code(), Some(0));

    // Between two tries the broker has to forget who followed the log: five seconds each.
    beside(&shop, "back.toml", "backend = \"embedded\"\npath = \"back\"");
    let back = killed_until_it_ends(&shop, "back.toml", Duration::from_millis(400)).await;
    println!("and back: {back} killed");
    assert!(killed >= 1 && back >= 1, "too quick to be killed in the middle: {killed} and {back}");
    daemon.restart().await;
    same(&shop, &before).await;
    deliver(1, "refund C-1").await;
    deliver(2, "refund D-2").await;
    provider.sent_to(&from(2), 2).await;
    assert_eq!(provider.sent().len(), PEOPLE + 3, "nothing was sent twice");
}

/// LOG's bounds, as the broker has them.
async fn bounds(url: &str) -> (u64, u64) {
    let info = jetstream(url, "STREAM.INFO.SB_main_LOG", &json!({})).await;
    let number = |key: &str| info["state"][key].as_u64().expect("a number");
    (number("first_seq"), number("last_seq"))
}

/// What retention took from LOG is in the snapshots, which are moved with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_beginning_was_trimmed_moves_from_where_it_begins() {
    let (provider, one, two) = (Provider::start().await, NatsServer::start(), NatsServer::start());
    let shop = Shop::with(&provider.base_url()).broker(&one.url()).open();
    let deliver = async |from: &str, text: &str, id: &str| {
        shop.sms(from, text, &sid(id)).deliver(&shop.hook("support-sms")).await.unwrap().status
    };
    let mut daemon = Daemon::start(&shop).await;
    assert_eq!(deliver(ANN, "refund A-1", "ann").await, 200);
    let accepted = |c: &Value| message(c, "Your refund A-1 is on its way.").is_some_and(|m| m["status"] == "accepted");
    shop.api().conversation(&format!("phone:{ANN}"), "to be answered", accepted).await;
    assert_eq!(deliver(BEN, "is anybody there?", "ben").await, 200);
    shop.api().conversation(&format!("phone:{BEN}"), "to wait", |_| true).await;
    // Each stop keeps a snapshot. Behind the older of two LOG is trimmed, as retention does a year later.
    assert_eq!(daemon.terminate(SOON).await.code(), Some(0));
    let (_, end) = bounds(&one.url()).await;
    daemon.restart().await;
    assert_eq!(deliver(CLEO, "hello", "cleo").await, 200);
    shop.api().conversation(&format!("phone:{CLEO}"), "to wait", |_| true).await;
    // Who waits is in the state, and that is what moves: history shows what LOG holds, and was trimmed like it.
    let waiting = daemon.metric("switchboard_queue_depth").await;
    assert!(waiting >= 2.0, "{waiting}");
    assert_eq!(daemon.terminate(SOON).await.code(), Some(0));
    jetstream(&one.url(), "STREAM.PURGE.SB_main_LOG", &json!({ "seq": end + 1 })).await;
    let (first, last) = bounds(&one.url()).await;
    assert!(first == end + 1 && last > first, "LOG begins at {first} and ends at {last}");

    beside(&shop, "back.toml", "backend = \"embedded\"\npath = \"back\"");
    assert!(migrate(&shop, "back.toml").contains("3 conversations"));
    let servers = format!("backend = \"nats\"\nservers = [\"{}\"]\npath = \"moved\"", two.url());
    beside(&shop, "again.toml", &servers);
    assert!(migrate(&shop, "again.toml").contains("3 conversations"));
    assert_eq!(bounds(&two.url()).await, (first, last), "frames keep their numbers");
    daemon.restart().await;
    eventually_within(SOON, "as many to wait as before", || async {
        let now = daemon.metric("switchboard_queue_depth").await;
        if now == waiting { Ok(()) } else { Err(format!("{now} of {waiting}")) }
    })
    .await;
    shop.api().conversation(&format!("phone:{CLEO}"), "to be shown", |_| true).await;
    // What was decided in the frames that are gone is known when it comes again.
    assert_eq!(deliver(ANN, "refund A-1", "ann").await, 200);
    assert_eq!(deliver(ANN, "refund A-2", "ann again").await, 200);
    let sent: Vec<String> = provider.sent_to(ANN, 2).await.into_iter().map(|s| s.body).collect();
    assert_eq!(sent, ["Your refund A-1 is on its way.", "Your refund A-2 is on its way."]);
    assert_eq!(provider.sent().len(), 2, "nothing was sent twice");
}
