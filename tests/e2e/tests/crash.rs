//! The promises under SIGKILL: customers write, agents answer, and the process is killed at random moments.
//!
//! `CRASH_KILLS` is how often (100 when absent), `CRASH_SEED` repeats a run as far as the machine's timing allows. What was sent is
//! counted at the provider, independently of what the daemon believes.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use switchboard_e2e::{Api, Backend, Daemon, Dice, Provider, Shop, eventually_within, on_every_backend, sid};

/// Many, because a reply whose fate a kill left open holds its conversation until it is settled.
const CUSTOMERS: u64 = 200;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn phone(customer: u64) -> String {
    format!("+1555200{customer:04}")
}

/// What the customers were told was accepted, in their order, and what agents were told will be sent.
#[derive(Default)]
struct Accepted {
    messages: Vec<String>,
    replies: BTreeSet<String>,
}

on_every_backend! {
    kills_at_random_moments_lose_nothing_send_nothing_twice_and_forget_nobody,
}

async fn kills_at_random_moments_lose_nothing_send_nothing_twice_and_forget_nobody(backend: Backend) {
    // One after the other: the moments of the kills should be the program's, not those of a machine that is too busy.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ALONE.lock().await;
    let kills = number("CRASH_KILLS", 100);
    let seed = number("CRASH_SEED", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64);
    println!("CRASH_SEED={seed} CRASH_KILLS={kills}");
    let mut dice = Dice::new(seed);

    let provider = Provider::start().await;
    provider.takes(Duration::from_millis(10));
    let shop = Arc::new(Shop::with(&provider.base_url()).log(&backend).sms("send_timeout = \"5s\"").open());
    let mut daemon = Daemon::start(&shop).await;

    let stop = Arc::new(AtomicBool::new(false));
    let customers: Vec<_> =
        (0..CUSTOMERS).map(|c| tokio::spawn(customer(shop.clone(), c, dice.fork(c), stop.clone()))).collect();

    for kill in 0..kills {
        tokio::time::sleep(dice.millis(350)).await;
        daemon.kill();
        while dice.one_in(4) {
            // Recovery is killed too.
            daemon.spawn_again();
            tokio::time::sleep(dice.millis(60)).await;
            daemon.kill();
        }
        daemon.restart().await;
        if (kill + 1) % 20 == 0 {
            println!("{} kills, {} replies at the provider", kill + 1, provider.sent().len());
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut accepted = Vec::new();
    for customer in customers {
        accepted.push(customer.await.expect("a customer's task does not fail"));
    }

    let quiet = quiet(&shop).await;
    check(&quiet, &accepted, &provider);
    // Nothing is ready only in memory: a last start finds the same.
    daemon.kill();
    daemon.restart().await;
    let again = quiet_now(&shop.api()).await;
    assert_eq!(texts(&again), texts(&quiet.conversations), "a restart changed the transcripts");
}

/// Writes one message after the other, each until it is accepted, with duplicates; now and then answers itself as the agent.
async fn customer(shop: Arc<Shop>, number: u64, mut dice: Dice, stop: Arc<AtomicBool>) -> Accepted {
    let mut accepted = Accepted::default();
    let hook = shop.hook("support-sms");
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let text = if dice.one_in(2) { format!("refund c{number}-{n}") } else { format!("hello c{number}-{n}") };
        let sms = shop.sms(&phone(number), &text, &sid(&text));
        while !matches!(sms.deliver(&hook).await, Ok(answer) if answer.status == 200) {
            tokio::time::sleep(dice.millis(150)).await;
        }
        accepted.messages.push(text.clone());
        while dice.one_in(3) {
            // Providers repeat what was accepted, and what was accepted long ago.
            let old = &accepted.messages[dice.below(accepted.messages.len() as u64) as usize];
            let _ = shop.sms(&phone(number), old, &sid(old)).deliver(&hook).await;
        }
        if dice.one_in(3)
            && let Some(reply) = agent(&shop.api(), number, n, &mut dice).await
        {
            accepted.replies.insert(reply);
        }
        tokio::time::sleep(dice.millis(400)).await;
    }
    accepted
}

/// Ann answers the customer, repeating the same request under one key until the daemon answers it.
async fn agent(api: &Api, customer: u64, n: u64, dice: &mut Dice) -> Option<String> {
    let contact = format!("phone:{}", phone(customer)).replace('+', "%2B");
    let list = api.call(http::Method::GET, &format!("/conversations?contact={contact}"), None, None).await.ok()?;
    let id = list.body["conversations"][0]["id"].as_str()?.to_owned();
    let text = format!("ann says c{customer}-{n}");
    let body = json!({ "text": text, "agent": "ann" });
    loop {
        let answer =
            api.call(http::Method::POST, &format!("/conversations/{id}/reply"), Some(&body), Some(&text)).await;
        match answer {
            Ok(answer) if answer.status == 202 => return Some(text),
            Ok(answer) if answer.status == 503 || answer.status == 504 => {}
            Ok(answer) => panic!("a reply to an open conversation was refused: {answer}"),
            Err(_) => {}
        }
        // An unanswered reply may or may not be decided: it is repeated until that is known.
        tokio::time::sleep(dice.millis(150)).await;
    }
}

struct Quiet {
    conversations: Vec<(Value, Vec<Value>)>,
    parked: Vec<Value>,
}

async fn quiet_now(api: &Api) -> Vec<(Value, Vec<Value>)> {
    let mut found = Vec::new();
    for row in api.all("/conversations", "conversations").await {
        let messages = api.messages(row["id"].as_str().unwrap()).await;
        found.push((row, messages));
    }
    found
}

/// Waits until every outbound message has an outcome.
async fn quiet(shop: &Shop) -> Quiet {
    let api = shop.api();
    let conversations = eventually_within(Duration::from_secs(180), "every reply to have an outcome", || async {
        let found = quiet_now(&api).await;
        let settled = ["accepted", "delivered", "read", "unknown", "rejected", "failed", "not_sent"];
        let open = found
            .iter()
            .flat_map(|(_, m)| m)
            .find(|m| m["direction"] == "out" && !m["status"].as_str().is_some_and(|s| settled.contains(&s)));
        open.map_or(Ok(found.clone()), |m| Err(m.to_string()))
    })
    .await;
    Quiet { conversations, parked: api.all("/dead-letters", "dead_letters").await }
}

fn texts(conversations: &[(Value, Vec<Value>)]) -> BTreeMap<String, Vec<String>> {
    let text = |m: &Value| format!("{} {}", m["direction"].as_str().unwrap_or("?"), m["text"].as_str().unwrap_or("?"));
    conversations
        .iter()
        .map(|(row, messages)| (row["id"].as_str().unwrap_or("?").to_owned(), messages.iter().map(text).collect()))
        .collect()
}

fn check(quiet: &Quiet, accepted: &[Accepted], provider: &Provider) {
    let mut sent: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in provider.sent() {
        sent.entry(message.to.clone()).or_default().push(message.body.clone());
    }
    let total: usize = accepted.iter().map(|a| a.messages.len()).sum();
    let mut unknown = 0;
    for (number, accepted) in accepted.iter().enumerate() {
        let phone = phone(number as u64);
        let sent = sent.remove(&phone).unwrap_or_default();
        let mine: Vec<_> = quiet.conversations.iter().filter(|(row, _)| row.to_string().contains(&phone)).collect();
        let [(row, messages)] = mine.as_slice() else { panic!("{phone} has {} conversations", mine.len()) };
        decided_once_and_in_order(&phone, messages, accepted);
        unknown += sent_at_most_once(&phone, messages, &sent, accepted, &quiet.parked);
        has_an_owner_and_a_clock(row);
    }
    assert!(sent.is_empty(), "replies to nobody we know: {sent:?}");
    println!("{total} messages accepted, {} replies sent, {unknown} parked as unknown", provider.sent().len());
    assert!(provider.sent().len() > total / 4, "nearly nothing was answered: the test proves little");
}

/// Promises 1, 2 and 4: every accepted message is there exactly once, in the order of acceptance.
fn decided_once_and_in_order(phone: &str, messages: &[Value], accepted: &Accepted) {
    let inbound: Vec<&str> =
        messages.iter().filter(|m| m["direction"] == "in").filter_map(|m| m["text"].as_str()).collect();
    assert_eq!(inbound, accepted.messages, "{phone}: what was decided is not what was accepted");
}

/// Promises 3 and 4: no reply twice at the provider, in the transcript's order; what may be missing is parked as unknown. Returns
/// how many are.
fn sent_at_most_once(phone: &str, messages: &[Value], sent: &[String], accepted: &Accepted, parked: &[Value]) -> usize {
    let distinct: BTreeSet<_> = sent.iter().collect();
    assert_eq!(distinct.len(), sent.len(), "{phone}: a reply was sent twice: {sent:?}");
    let answers = accepted
        .messages
        .iter()
        .filter_map(|m| m.strip_prefix("refund "))
        .map(|o| format!("Your refund {o} is on its way."));
    let wanted: BTreeSet<String> = answers.chain(accepted.replies.iter().cloned()).collect();
    let outbound: Vec<&Value> = messages.iter().filter(|m| m["direction"] == "out").collect();
    let written: BTreeSet<String> = outbound.iter().filter_map(|m| m["text"].as_str()).map(str::to_owned).collect();
    assert_eq!(outbound.len(), written.len(), "{phone}: a reply was decided twice");
    assert_eq!(written, wanted, "{phone}: the replies decided are not those that were asked for");
    let mut unknown = 0;
    for message in &outbound {
        let text = message["text"].as_str().unwrap_or_default();
        let there = sent.iter().any(|s| s == text);
        match message["status"].as_str() {
            Some("accepted" | "delivered" | "read") => {
                assert!(there, "{phone}: {text:?} is said to be sent, and is not")
            }
            Some("unknown") => {
                unknown += 1;
                let id = message["id"].as_str().unwrap_or("?");
                assert!(
                    parked.iter().any(|p| p.to_string().contains(id)),
                    "{phone}: {text:?} is unknown and not parked"
                );
            }
            _ => panic!("{phone}: a reply without an outcome, or refused: {message}"),
        }
    }
    let order: Vec<&str> =
        outbound.iter().filter_map(|m| m["text"].as_str()).filter(|t| sent.iter().any(|s| s == t)).collect();
    assert_eq!(sent, order, "{phone}: replies were sent in another order than decided");
    unknown
}

/// Promise 5: each open conversation has exactly one of an owner, a queue, an offer, a wait, a snooze; and a timer.
fn has_an_owner_and_a_clock(row: &Value) {
    let (queued, offered) = (row["queued_at"].is_string(), row["offer"].is_object());
    let clock = match row["state"].as_str() {
        Some("queued") if row["queue"].is_string() && queued && !offered => &row["sla"]["due_at"],
        Some("offered") if offered => &row["offer"]["expires_at"],
        Some("assigned") if row["agent"].is_string() && !offered => {
            if row["sla"].is_object() {
                &row["sla"]["due_at"]
            } else {
                &row["resolution_due_at"]
            }
        }
        Some("pending") => &row["pending_until"],
        Some("snoozed") => &row["snoozed_until"],
        _ => panic!("nobody has this conversation, or two have it: {row}"),
    };
    assert!(clock.is_string(), "no clock runs for this conversation: {row}");
}
