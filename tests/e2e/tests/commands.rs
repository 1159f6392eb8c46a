//! What an operator does from the command line: each command that changes something, once, with its effect.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::time::Duration;
use switchboard_e2e::{
    Backend, Daemon, NatsServer, Provider, Shop, Step, eventually, eventually_within, http, message, on_every_backend,
    sid,
};

const ANN: &str = "+15551230001";
const BEN: &str = "+15551230002";
const PACK: &str = r#"
zone: Europe/Paris
presence: { names: { limited: available, lunch: away } }
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
    what_changed_by_itself_and_who_moved_it_is_told_in_order,
    contacts_are_tagged_described_and_joined,
    channels_are_paused_and_resumed,
    what_is_held_back_is_read_again_sent_again_or_given_up,
    a_reply_that_cannot_leave_is_seen_wherever_an_operator_looks,
    a_token_answers_in_its_own_name_and_for_an_agent_who_is_named,
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

const TOLD: &str = r#"
zone: Europe/Paris
queues:
  leads: { overflow: [{ after: 1s, priority: high }], sla: { first_response: 2s, on_breach: { priority: urgent } } }
  billing: {}
agents:
  amy: { name: Amy, capacity: 10 }
  bob: { name: Bob, capacity: 10 }
rules:
  - { name: Sales, then: { agent: amy, queue: leads } }
  - { name: Handed on, on: moved, then: { tag: moved } }
default: { queue: leads }
"#;

async fn what_changed_by_itself_and_who_moved_it_is_told_in_order(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).pack(TOLD).open();
    let _daemon = Daemon::start(&shop).await;
    let c = says(&shop, ANN, "hello").await;
    let c = id(&c);
    conversation(&shop, ANN, "to be late", |c| c["priority"] == "urgent").await;
    let raised = [
        "its priority went from normal to high because it had waited 1 second (step 1 of its overflow in leads)",
        "its priority went from high to urgent because its first answer was late",
    ];
    let shown = run(&shop, &["conversations", "show", c]);
    let waits = "It waits in the queue leads, first of 1. Nobody can take it now: both agents are offline.";
    let more = format!("switchboard rules explain {c}");
    for part in raised.into_iter().chain([waits, &more, "its clock ran out: its first answer was late"]) {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    run(&shop, &["conversations", "transfer", c, "billing"]);
    conversation(&shop, ANN, "to wait for billing", |c| c["queue"] == "billing").await;
    run(&shop, &["conversations", "transfer", c, "amy"]);
    conversation(&shop, ANN, "to be amy's", |c| c["agent"] == "amy" && c["state"] == "assigned").await;
    let explained = run(&shop, &["rules", "explain", c]);
    let order = [
        "The rule “Sales” named Amy for it.",
        "Nobody could take it then: both agents were offline.",
        raised[0],
        raised[1],
        "moved it to the queue billing.",
        "the rule “Handed on” followed up when somebody put it into a queue.",
        "transferred it to Amy.",
    ];
    let places: Vec<Option<usize>> = order.iter().map(|part| explained.find(part)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {explained}");
    for part in order {
        assert_eq!(explained.matches(part).count(), 1, "{part}: {explained}");
    }
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
    run(&shop, &["agents", "presence", "bob", "lunch"]);
    let said = run(&shop, &["agents"]);
    assert!(said.contains("lunch (away)") && said.contains("available"), "{said}");
    let refused = shop.command(&["agents", "presence", "bob", "holiday"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("available, away, offline, limited, lunch"), "{said}");

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
    run(&shop, &["conversations", "close", c, "--as", "amy"]);
    let closed = becomes("to be closed", &|c| c["state"] == "closed").await;
    assert!(message(&closed, "closed by Amy").is_some(), "{closed}");
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
    let shown = run(&shop, &["quarantine", "show", id(&held[0])]);
    assert!(shown.contains("support-sms") && shown.contains("wrote"), "{shown}");
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

async fn a_reply_that_cannot_leave_is_seen_wherever_an_operator_looks(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).pack(PACK).sms("poll = \"10s\"").open();
    provider.down().await;
    let _daemon = Daemon::start(&shop).await;
    let ready = async || http().get(format!("{}/readyz", shop.admin())).send().await.unwrap().text().await.unwrap();
    let channel = async |what: &str, holds: &dyn Fn(&str) -> bool| {
        eventually(what, || async {
            let (table, ready) = (run(&shop, &["channels"]), ready().await);
            let rows: Vec<&str> = table.lines().filter(|row| row.starts_with("support-sms")).collect();
            if holds(&rows.join("\n")) && holds(&ready) { Ok(()) } else { Err(format!("{rows:?}\n{ready}")) }
        })
        .await;
    };
    // Before anything is sent the channel cannot even catch up.
    channel("why it does not catch up", &|said| said.contains("cannot be fetched: ")).await;

    let c = says(&shop, ANN, "hello").await;
    run(&shop, &["conversations", "reply", id(&c), "On its way"]);
    eventually("the list to say so", || async {
        let table = run(&shop, &["conversations"]);
        if table.contains("NOT SENT YET: On its way") { Ok(()) } else { Err(table) }
    })
    .await;
    let late = conversation(&shop, ANN, "to wait with a reason", |c| c["undelivered"]["reason"].is_string()).await;
    let (undelivered, answer) = (&late["undelivered"], message(&late, "On its way").unwrap());
    assert_eq!((&undelivered["message"], &undelivered["delayed"]), (&answer["id"], &json!(true)), "{late}");
    let reason = undelivered["reason"].as_str().unwrap();
    let shown = run(&shop, &["conversations", "show", id(&c)]);
    assert!(shown.contains("our latest message: not sent yet, after ") && shown.contains(reason), "{shown}");
    channel("that it does not send", &|said| said.contains("to send failed")).await;
    let table = run(&shop, &["channels"]);
    assert!(table.contains("to send failed: ") && table.contains(reason), "{table}");
    let told = ready().await;
    let sends = told.lines().find(|line| line.contains("to send failed")).unwrap_or_default();
    assert!(!sends.contains(reason), "who needs no token learns nothing of a customer's message: {told}");
    // Neither trouble hides the other.
    channel("both", &|said| said.contains("to send failed") && said.contains("cannot be fetched: ")).await;

    // What is paused says who did it, and what ends it.
    run(&shop, &["channels", "pause", "support-sms"]);
    let shown = run(&shop, &["conversations", "show", id(&c)]);
    assert!(
        shown.contains("channel `support-sms` is paused: paused by an operator; then: switchboard channels"),
        "{shown}"
    );
    let ends = ["paused by an operator", "switchboard channels resume support-sms", "cannot be fetched: "];
    channel("what ends it", &|said| ends.iter().all(|part| said.contains(part))).await;
    provider.up().await;
    run(&shop, &["channels", "resume", "support-sms"]);
    // The waits between attempts grow, and how far they have depends on the machine.
    eventually_within(Duration::from_secs(60), "the answer at the provider", || async {
        let sent: Vec<String> = provider.sent().into_iter().map(|s| s.body).collect();
        if sent == ["On its way"] { Ok(()) } else { Err(format!("{sent:?}")) }
    })
    .await;
    conversation(&shop, ANN, "to be answered", |c| c["undelivered"].is_null()).await;
    channel("that all is well", &|said| !said.contains("failed") && !said.contains("fetched")).await;
    assert!(!run(&shop, &["conversations"]).contains("NOT SENT"), "the customer has it");
}

async fn a_token_answers_in_its_own_name_and_for_an_agent_who_is_named(backend: Backend) {
    const ALONE: &str =
        "queues: { everyone: {} }\nagents: { amy: { name: Amy, capacity: 10 } }\ndefault: { queue: everyone }\n";
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).pack(ALONE).open();
    let _daemon = Daemon::start(&shop).await;
    let c = says(&shop, ANN, "hello").await;
    run(&shop, &["conversations", "note", id(&c), "from the shop's system"]);
    run(&shop, &["conversations", "reply", id(&c), "On its way"]);
    let answered = conversation(&shop, ANN, "to be answered", |c| {
        message(c, "On its way").is_some_and(|m| m["status"] == "accepted")
    })
    .await;
    let ops = json!({ "kind": "token", "name": "ops" });
    for text in ["from the shop's system", "On its way"] {
        assert_eq!(message(&answered, text).unwrap()["author"], ops, "{answered}");
    }
    assert_eq!((&answered["agent"], &answered["state"]), (&Value::Null, &json!("pending")), "Amy did nothing");
    let shown = run(&shop, &["conversations", "show", id(&c)]);
    assert!(shown.lines().any(|line| line.contains("  out  ops  ")) && !shown.contains("Amy"), "{shown}");

    run(&shop, &["conversations", "reply", id(&c), "Anything else?", "--as", "amy"]);
    let answered = conversation(&shop, ANN, "to be amy's", |c| c["agent"] == "amy").await;
    assert_eq!(message(&answered, "Anything else?").unwrap()["author"]["id"], "amy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_link_signs_an_agent_in_once_without_a_restart() {
    let shop = Shop::with("http://127.0.0.1:1").pack(PACK).open();
    let mut daemon = Daemon::start(&shop).await;
    let link = run(&shop, &["agents", "login", "amy"]);
    let code = link.trim().strip_prefix(&format!("{}/console#login=", shop.admin())).expect("a link").to_owned();
    let sign_in = async || {
        let login = http().post(format!("{}/console/login", shop.admin())).header("x-switchboard", "console");
        login.body(json!({ "code": code }).to_string()).send().await.unwrap()
    };
    let answer = sign_in().await;
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let me = http().get(format!("{}/api/v1/me", shop.admin())).header("cookie", cookie).send().await.unwrap();
    let me: Value = serde_json::from_str(&me.text().await.unwrap()).unwrap();
    assert_eq!((&me["agent"], &me["name"], &me["scopes"]), (&json!("amy"), &json!("Amy"), &json!(["agent"])));
    assert_eq!(sign_in().await.status().as_u16(), 401, "it works once");

    let refused = shop.command(&["agents", "login", "nobody"]);
    assert_eq!(refused.status.code(), Some(1), "{}", String::from_utf8_lossy(&refused.stderr));
    // Where people reach the console from outside, the link leads there.
    let outside = "public_url = \"https://desk.example\"\n[admin.tokens.ops]";
    shop.reconfigure(|config| config.replace("[admin.tokens.ops]", outside));
    daemon.kill();
    daemon.restart().await;
    let link = run(&shop, &["agents", "login", "amy", "--scope", "supervisor"]);
    assert!(link.starts_with("https://desk.example/console#login="), "{link}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_while_the_log_is_away_is_called_the_last_that_is_known() {
    let mut broker = NatsServer::start();
    let shop = Shop::with("http://127.0.0.1:1").broker(&broker.url()).pack(PACK).open();
    let daemon = Daemon::start(&shop).await;
    let said = daemon.said();
    let short = said.lines().find(|line| line.starts_with("log ")).unwrap_or_default();
    assert!(short.contains("one copy") && short.contains("a power cut there can take") && short.len() < 200, "{said}");
    assert_eq!(said.matches("sync_interval").count(), 1, "what to do about it is said once: {said}");
    says(&shop, ANN, "hello").await;
    let listed = || shop.command(&["conversations"]);
    let all_known = listed();
    assert!(all_known.stderr.is_empty(), "{}", String::from_utf8_lossy(&all_known.stderr));
    broker.kill();
    let away = listed();
    let (rows, said) = (String::from_utf8_lossy(&away.stdout), String::from_utf8_lossy(&away.stderr));
    assert!(away.status.success() && rows.contains("hello"), "{rows}{said}");
    assert!(said.contains("what the daemon knew last") && said.contains("the log cannot be written"), "{said}");
}
