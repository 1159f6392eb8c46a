//! Customers who write and an agent who answers, over one daemon or several, and the promises that must hold afterwards.

use crate::{Api, Dice, Provider, Shop, eventually_within, message, sid};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// A number from the environment.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn phone(customer: u64) -> String {
    format!("+1555200{customer:04}")
}

/// Long enough for a broker or a router to come back.
const LONG: Duration = Duration::from_secs(60);

/// Delivers a text until it is taken, and waits until it was decided.
pub async fn goes_through(shop: &Shop, from: &str, text: &str) {
    let taken = || async {
        match shop.sms(from, text, &sid(text)).deliver(&shop.hook("support-sms")).await {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    eventually_within(LONG, "a message to be taken", taken).await;
    decided(shop, from, text).await;
}

/// Waits until a text is in its conversation, as this daemon shows it.
pub async fn decided(shop: &Shop, from: &str, text: &str) -> Value {
    let api = shop.api();
    let seen = || async {
        let path = format!("/conversations?contact=phone:{}", from.replace('+', "%2B"));
        let list = api.call(http::Method::GET, &path, None, None).await.map_err(|e| e.to_string())?;
        let id = list.body["conversations"][0]["id"].as_str().ok_or(list.text.clone())?.to_owned();
        let path = format!("/conversations/{id}");
        let whole = api.call(http::Method::GET, &path, None, None).await.map_err(|e| e.to_string())?;
        message(&whole.body, text).map(|_| whole.body.clone()).ok_or(whole.text)
    };
    eventually_within(LONG, "a message to be decided", seen).await
}

/// What the customers were told was accepted, in their order, and what agents were told will be sent.
#[derive(Default)]
pub struct Accepted {
    messages: Vec<String>,
    replies: BTreeSet<String>,
}

/// Customers who write until they are told to stop.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    customers: Vec<JoinHandle<Accepted>>,
}

impl Traffic {
    /// So many customers, who write to any of these daemons.
    #[must_use]
    pub fn start(shops: &[Arc<Shop>], customers: u64, dice: &Dice) -> Traffic {
        Traffic::of(shops, customers, dice, true)
    }

    /// The same, where nothing is said again once it was taken, nor asked for again by an agent: for logs that lose what they
    /// took, so that whatever comes twice was made twice by the daemon.
    #[must_use]
    pub fn once(shops: &[Arc<Shop>], customers: u64, dice: &Dice) -> Traffic {
        Traffic::of(shops, customers, dice, false)
    }

    fn of(shops: &[Arc<Shop>], customers: u64, dice: &Dice, repeats: bool) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let one = |c| tokio::spawn(customer(shops.to_vec(), c, dice.fork(c), stop.clone(), repeats));
        Traffic { customers: (0..customers).map(one).collect(), stop }
    }

    /// Ends it, once everything that was begun is accepted.
    ///
    /// # Panics
    /// When a customer's task failed.
    pub async fn end(self) -> Vec<Accepted> {
        self.stop.store(true, Ordering::Relaxed);
        let mut accepted = Vec::new();
        for customer in self.customers {
            accepted.push(customer.await.expect("a customer's task does not fail"));
        }
        accepted
    }
}

/// Writes one message after the other, each until any of the daemons accepts it, with duplicates; now and then answers itself
/// as the agent.
async fn customer(
    shops: Vec<Arc<Shop>>,
    number: u64,
    mut dice: Dice,
    stop: Arc<AtomicBool>,
    repeats: bool,
) -> Accepted {
    let mut accepted = Accepted::default();
    let any = |dice: &mut Dice| shops[dice.below(shops.len() as u64) as usize].clone();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let text = if dice.one_in(2) { format!("refund c{number}-{n}") } else { format!("hello c{number}-{n}") };
        let sms = shops[0].sms(&phone(number), &text, &sid(&text));
        while !matches!(sms.deliver(&any(&mut dice).hook("support-sms")).await, Ok(answer) if answer.status == 200) {
            tokio::time::sleep(dice.millis(150)).await;
        }
        accepted.messages.push(text.clone());
        while repeats && dice.one_in(3) {
            // Providers repeat what was accepted, and what was accepted long ago.
            let old = &accepted.messages[dice.below(accepted.messages.len() as u64) as usize];
            let again = shops[0].sms(&phone(number), old, &sid(old));
            let _ = again.deliver(&any(&mut dice).hook("support-sms")).await;
        }
        if dice.one_in(3)
            && let Some(reply) = agent(&any(&mut dice).api(), number, n, &mut dice, repeats).await
        {
            accepted.replies.insert(reply);
        }
        // Where much will be in doubt, and is cleared up one after the other, there is less of it.
        tokio::time::sleep(dice.millis(if repeats { 400 } else { 1_200 })).await;
    }
    accepted
}

/// Ann answers the customer, repeating the same request under one key until the daemon answers it; or asks once, and takes what
/// comes.
async fn agent(api: &Api, customer: u64, n: u64, dice: &mut Dice, repeats: bool) -> Option<String> {
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
            // The conversation may be gone with what the log lost.
            _ if !repeats => return None,
            Ok(answer) if answer.status == 503 || answer.status == 504 => {}
            Ok(answer) => panic!("a reply to an open conversation was refused: {answer}"),
            Err(_) => {}
        }
        // An unanswered reply may or may not be decided: it is repeated until that is known.
        tokio::time::sleep(dice.millis(150)).await;
    }
}

/// What a daemon says once every outbound message has an outcome.
pub struct Settled {
    pub conversations: Vec<(Value, Vec<Value>)>,
    /// The dead letters.
    pub parked: Vec<Value>,
}

/// Every conversation with its messages.
pub async fn transcripts(api: &Api) -> Vec<(Value, Vec<Value>)> {
    let mut found = Vec::new();
    for row in api.all("/conversations", "conversations").await {
        let messages = api.messages(row["id"].as_str().unwrap()).await;
        found.push((row, messages));
    }
    found
}

/// Waits until every outbound message has an outcome.
///
/// # Panics
/// When that takes longer than three minutes.
pub async fn settled(shop: &Shop) -> Settled {
    settled_within(shop, Duration::from_secs(180)).await
}

/// The same with another patience: of what is in doubt the provider is asked for half a minute each.
///
/// # Panics
/// When that takes longer.
pub async fn settled_within(shop: &Shop, patience: Duration) -> Settled {
    let api = shop.api();
    let settled = eventually_within(patience, "every reply to have an outcome", || async {
        let found = transcripts(&api).await;
        let parked = api.all("/dead-letters", "dead_letters").await;
        let settled = ["accepted", "delivered", "read", "unknown", "rejected", "failed", "not_sent"];
        let open = found
            .iter()
            .flat_map(|(_, m)| m)
            .find(|m| m["direction"] == "out" && !m["status"].as_str().is_some_and(|s| settled.contains(&s)));
        // What came to be known between the two questions is neither unknown nor parked any more.
        let id = |m: &Value| m["id"].as_str().unwrap_or("?").to_owned();
        let moved = found.iter().flat_map(|(_, m)| m).find(|m| {
            m["direction"] == "out"
                && m["status"] == "unknown"
                && !parked.iter().any(|p| p.to_string().contains(&id(m)))
        });
        match open.or(moved).map(ToString::to_string) {
            None => Ok((found, parked)),
            Some(message) => Err(message),
        }
    })
    .await;
    Settled { conversations: settled.0, parked: settled.1 }
}

/// The texts of each conversation, in their order.
#[must_use]
pub fn texts(conversations: &[(Value, Vec<Value>)]) -> BTreeMap<String, Vec<String>> {
    let text = |m: &Value| format!("{} {}", m["direction"].as_str().unwrap_or("?"), m["text"].as_str().unwrap_or("?"));
    conversations
        .iter()
        .map(|(row, messages)| (row["id"].as_str().unwrap_or("?").to_owned(), messages.iter().map(text).collect()))
        .collect()
}

/// The promises, by what customers and agents were told, what the daemon says and what the provider counted.
///
/// # Panics
/// When one is broken.
pub fn check(quiet: &Settled, accepted: &[Accepted], provider: &Provider) {
    check_beside(quiet, accepted, provider, &BTreeSet::new());
}

/// The same where others, by their numbers, were written to as well.
///
/// # Panics
/// When a promise is broken.
pub fn check_beside(quiet: &Settled, accepted: &[Accepted], provider: &Provider, others: &BTreeSet<String>) {
    let mut sent: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in provider.sent().iter().filter(|message| !others.contains(&message.to)) {
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

/// The promises of a log that came back older than it was, over [`Traffic::once`]: what is there is there once, in its order and with
/// an owner and a clock, and no customer was told a thing twice. `whole` where nothing that was accepted may be missing.
///
/// # Panics
/// When one is broken.
pub fn check_older(quiet: &Settled, accepted: &[Accepted], provider: &Provider, whole: bool) {
    let all = provider.sent();
    let (mut missing, mut unknown) = (0, 0);
    for (number, accepted) in accepted.iter().enumerate() {
        let phone = phone(number as u64);
        let sent: Vec<&str> = all.iter().filter(|s| s.to == phone).map(|s| s.body.as_str()).collect();
        let distinct: BTreeSet<&&str> = sent.iter().collect();
        assert_eq!(distinct.len(), sent.len(), "{phone}: a reply was sent twice: {sent:?}");
        let mine: Vec<_> = quiet.conversations.iter().filter(|(row, _)| row.to_string().contains(&phone)).collect();
        assert!(mine.len() <= 1, "{phone} has {} conversations", mine.len());
        let messages = mine.first().map(|(_, messages)| messages.as_slice()).unwrap_or_default();
        let said =
            |direction: &str| -> Vec<&Value> { messages.iter().filter(|m| m["direction"] == direction).collect() };
        let inbound: Vec<&str> = said("in").iter().filter_map(|m| m["text"].as_str()).collect();
        let mut order = accepted.messages.iter();
        let kept = inbound.iter().all(|text| order.any(|a| a == text));
        assert!(kept, "{phone}: {inbound:?} is not what was accepted, in its order: {:?}", accepted.messages);
        missing += accepted.messages.len() - inbound.len();
        let outbound: Vec<&str> = said("out").iter().filter_map(|m| m["text"].as_str()).collect();
        let there: Vec<&str> = outbound.iter().copied().filter(|text| sent.contains(text)).collect();
        let known: Vec<&str> = sent.iter().copied().filter(|text| outbound.contains(text)).collect();
        assert_eq!(known, there, "{phone}: replies were sent in another order than decided, or decided twice");
        for message in said("out") {
            let (text, id) = (message["text"].as_str().unwrap_or("?"), message["id"].as_str().unwrap_or("?"));
            match message["status"].as_str() {
                Some("accepted" | "delivered" | "read") => {
                    assert!(sent.contains(&text), "{phone}: {text:?} is said to be sent, and is not");
                }
                Some("unknown") => {
                    unknown += 1;
                    let parked = quiet.parked.iter().any(|p| p.to_string().contains(id));
                    assert!(parked, "{phone}: {text:?} is unknown and not parked");
                }
                _ => panic!("{phone}: a reply without an outcome, or refused: {message}"),
            }
        }
        mine.iter().for_each(|(row, _)| has_an_owner_and_a_clock(row));
    }
    let total: usize = accepted.iter().map(|a| a.messages.len()).sum();
    println!("{total} messages accepted, {missing} gone, {} replies sent, {unknown} parked as unknown", all.len());
    assert!(!whole || missing == 0, "{missing} of {total} messages are gone, and IN had them");
    assert!(all.len() > total / 8 && missing < total, "nearly nothing was answered: the test proves little");
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
///
/// # Panics
/// When it has none, or two.
pub fn has_an_owner_and_a_clock(row: &Value) {
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
