//! The console over made-up data, for working on its pages and for looking at them:
//!
//! `cargo run --example console_preview -- [conversations] [port]` prints an address that is signed in already.
//!
//! It answers the part of `/api/v1` that the console uses, keeps what is done in memory, and sends the events that the
//! daemon would send. It is no test double of the daemon: nothing is routed.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a tool for looking at pages, never shipped"
)]

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, middleware};
use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use switchboard::http::console::{ConsoleState, Identity, Sessions, routes};
use switchboard_envelope::{Scope, Timestamp};
use tokio::sync::broadcast;

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn at(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap().to_string()
}

struct World {
    conversations: Mutex<Vec<Value>>,
    agents: Mutex<Vec<Value>>,
    dead: Mutex<Vec<Value>>,
    quarantine: Mutex<Vec<Value>>,
    events: broadcast::Sender<(String, Value)>,
    sessions: Arc<Sessions>,
}

type Shared = Arc<World>;

impl World {
    fn tell(&self, event: &str, data: Value) {
        let _ = self.events.send((event.to_owned(), data));
    }

    /// Changes a conversation and tells everybody.
    fn change(&self, id: &str, change: impl FnOnce(&mut Value)) -> Response {
        let mut all = self.conversations.lock().unwrap();
        let Some(c) = all.iter_mut().find(|c| c["id"] == id) else {
            return problem(404, "not_found", "no such conversation");
        };
        change(c);
        c["updated_at"] = at(now()).into();
        self.tell("conversation", summary(c));
        (StatusCode::ACCEPTED, Json(json!({ "id": id }))).into_response()
    }

    /// Puts a message in the place of its earlier state.
    fn keep(&self, id: &str, message: &Value) {
        let mut all = self.conversations.lock().unwrap();
        let messages = all.iter_mut().find(|c| c["id"] == id).and_then(|c| c["messages"].as_array_mut());
        if let Some(kept) = messages.and_then(|list| list.iter_mut().find(|kept| kept["id"] == message["id"])) {
            *kept = message.clone();
        }
    }

    fn say(&self, id: &str, message: Value) -> Response {
        self.tell("message", json!({ "conversation": id, "message": message }));
        let answer = message["id"].clone();
        let last = json!({ "text": message["text"], "direction": message["direction"], "at": message["at"] });
        self.change(id, |c| {
            c["last_message"] = last;
            c["messages"].as_array_mut().unwrap().push(message);
        });
        (StatusCode::ACCEPTED, Json(json!({ "id": answer }))).into_response()
    }
}

fn summary(c: &Value) -> Value {
    let mut c = c.clone();
    c.as_object_mut().unwrap().remove("messages");
    c
}

fn problem(status: u16, code: &str, detail: &str) -> Response {
    let body = json!({ "type": "about:blank", "status": status, "code": code, "detail": detail });
    (StatusCode::from_u16(status).unwrap(), [("content-type", "application/problem+json")], body.to_string())
        .into_response()
}

const NAMES: [&str; 16] = [
    "Ann Lee",
    "Tomás Ferreira",
    "Nour Haddad",
    "Kei Tanaka",
    "Olu Adeyemi",
    "Marta Nowak",
    "Jean-Baptiste de La Rochefoucauld",
    "Sofia Lindqvist",
    "Ravi Menon",
    "Chloé Martin",
    "Bilal Khan",
    "Grace O’Connor",
    "Iva Horvat",
    "Pedro Alves",
    "山田 花子",
    "Liz Park",
];
const TEXTS: [&str; 12] = [
    "Where is my refund? I sent the parcel back two weeks ago and heard nothing since.",
    "Hi! Do you ship to Iceland?",
    "The box arrived open, one cup is broken. See the picture.",
    "Can I change the delivery address of order #123456?",
    "Thanks, that works 👍",
    "My invoice shows the wrong VAT number, could you correct it please?",
    "hello?",
    "Is the blue one back in stock soon? My sister wants exactly that one for her birthday on the 12th.",
    "I cannot log in any more. The code never arrives.",
    "Please cancel my order",
    "The link https://shop.example/track/8812 says “not found”.",
    "Quelle est votre politique de retour ?",
];
const PRIORITIES: [&str; 6] = ["high", "normal", "normal", "urgent", "normal", "low"];
const QUEUES: [&str; 3] = ["everyone", "billing", "delivery"];

fn message(id: String, direction: &str, author: Value, text: &str, ms: i64, status: Value) -> Value {
    json!({ "id": id, "direction": direction, "author": author, "text": text, "attachments": [], "at": at(ms), "status": status })
}

/// A conversation whose features follow from its number.
fn conversation(n: usize) -> Value {
    let age = (n as i64) * 137_000 % 90_000_000 + (n as i64) * 9_000 + 20_000;
    let last = now() - age;
    let kind = ["sms", "webchat", "webchat", "sms"][n % 4];
    let (state, agent) = match n {
        0..3 => ("assigned", json!("you")),
        3 => ("offered", Value::Null),
        4..7 => ("assigned", json!("you")),
        7 => ("pending", json!("you")),
        8 => ("snoozed", json!("you")),
        _ => match n % 9 {
            0..3 => ("queued", Value::Null),
            3..5 => ("assigned", json!(["bob", "ann"][n % 2])),
            5 => ("pending", json!("bob")),
            _ => ("closed", json!("ann")),
        },
    };
    let turn = if state == "pending" || n == 5 || n == 6 { "customer" } else { "us" };
    let text = TEXTS[n % TEXTS.len()];
    let due = match n {
        0 => Some(last + age + 252_000),
        1 => Some(now() - 720_000),
        _ if state == "queued" && n.is_multiple_of(4) => Some(now() + (n as i64 % 11 - 2) * 400_000),
        _ => None,
    };
    let identity =
        if kind == "sms" { format!("phone:+1500555{:04}", n % 10_000) } else { format!("visitor:{n:06x}a1") };
    let name = if n == 6 || n % 13 == 12 { Value::Null } else { NAMES[n % NAMES.len()].into() };
    let opted_out = n == 4;
    json!({
        "id": format!("c{n}"), "number": 4127 - n as i64, "channel": if kind == "sms" { "support-sms" } else { "site" }, "kind": kind, "state": state,
        "queue": QUEUES[n % 3], "agent": agent, "priority": PRIORITIES[n % 6],
        "tags": if n.is_multiple_of(3) { json!(["refund"]) } else { json!([]) }, "attributes": if n.is_multiple_of(2) { json!({ "order": "123456" }) } else { json!({}) },
        "contact": { "id": format!("k{n}"), "name": name, "identities": [identity, format!("email:person{n}@example.org")], "tags": if n == 0 { json!(["vip"]) } else { json!([]) },
                     "attributes": { "language": "en" }, "consent": if opted_out { json!({ "support-sms": "opted_out" }) } else { json!({}) } },
        "subject": Value::Null, "opened_at": at(last - 600_000), "updated_at": at(last), "queued_at": if state == "queued" { json!(at(last)) } else { Value::Null },
        "sla": due.map(|ms| json!({ "due_at": at(ms), "kind": "first_response", "warned": ms - now() < 600_000, "breached": ms < now() })),
        "last_message": { "text": text, "direction": if turn == "us" { "in" } else { "out" }, "at": at(last) }, "turn": turn,
        "offer": if state == "offered" { json!({ "id": format!("o{n}"), "agent": "you", "expires_at": at(now() + 55_000) }) } else { Value::Null },
        "snoozed_until": if state == "snoozed" { json!(at(now() + 7_200_000)) } else { Value::Null },
        "can_reply": if opted_out { json!({ "ok": false, "reason": "the customer opted out of support-sms with STOP on 12 October" }) } else { json!({ "ok": true }) },
        "messages": messages(n, text, last),
    })
}

fn messages(n: usize, text: &str, last: i64) -> Value {
    let contact = json!({ "kind": "contact", "name": NAMES[n % NAMES.len()] });
    let auto = json!({ "kind": "auto", "rule": "After hours" });
    let you = json!({ "kind": "agent", "id": "you" });
    let bob = json!({ "kind": "agent", "id": "bob" });
    let m = |i: usize, direction: &str, author: &Value, text: &str, before: i64, status: Value| {
        message(format!("c{n}-m{i}"), direction, author.clone(), text, last - before, status)
    };
    let mut list = vec![
        m(0, "in", &contact, "Hello, anybody there?", 86_400_000 + 240_000, json!("received")),
        m(1, "out", &auto, "Thanks Ann, we are back tomorrow at 9:00.", 86_400_000 + 239_000, json!("delivered")),
        m(
            2,
            "event",
            &json!({ "kind": "system" }),
            "waited in billing for 14 min, then taken by Bob",
            3_600_000,
            Value::Null,
        ),
        m(3, "in", &contact, "I sent the cups back with the label from your mail.", 900_000, json!("received")),
        m(4, "in", &contact, "The number on it is 00340434161094042557.", 880_000, json!("received")),
        m(
            5,
            "note",
            &bob,
            "Called the bank: the money left us on Monday. Should be there tomorrow.",
            600_000,
            Value::Null,
        ),
        m(6, "out", &you, "It is on its way: the bank says tomorrow.", 540_000, json!("read")),
    ];
    if n == 0 {
        let mut unknown =
            m(7, "out", &you, "I also added a voucher for the trouble: CUPS10.", 500_000, json!("unknown"));
        unknown["detail"] = "the connection broke after the text was handed to Twilio".into();
        list.push(unknown);
        let mut failed = m(8, "out", &you, "You can use it in any order this year.", 400_000, json!("dead"));
        failed["code"] = "30007".into();
        failed["detail"] = "the carrier filtered it as unwanted".into();
        list.push(failed);
        let mut picture = m(9, "in", &contact, "This is what it looked like", 120_000, json!("received"));
        picture["attachments"] = json!([{ "name": "box.png", "mime": "image/png", "size": 48_211, "url": "/api/v1/attachments/box" }, { "name": "label.pdf", "mime": "application/pdf", "size": 9_911, "url": "/api/v1/attachments/label" }]);
        list.push(picture);
    }
    list.push(m(10, "in", &contact, text, 0, json!("received")));
    Value::Array(list)
}

fn explanation(id: &str) -> Value {
    let failed = |field: &str, sentence: &str| json!({ "field": field, "wanted": "", "saw": "", "sentence": sentence });
    json!({
        "message": id, "pack": "3f9ac01b77de5521", "decided_at": at(now() - 60_000),
        "sentences": ["It waits in billing with high priority, because “Refunds go to billing” matched.", "It was offered to you, who had the least to do of those with the skill billing."],
        "rules": [
            { "rule": "After hours", "place": "rules.yaml:31:5", "matched": false, "skipped": false, "failed": failed("hours", "hours office should be closed, but it was open (Tuesday 10:02 in Europe/Paris)"), "applied": [], "superseded": [] },
            { "rule": "Note the order number", "place": "rules.yaml:36:5", "matched": true, "skipped": false, "failed": null, "applied": ["set order to 123456"], "superseded": [] },
            { "rule": "Refunds go to billing", "place": "rules.yaml:41:5", "matched": true, "skipped": false, "failed": null, "applied": ["queue billing", "tag refund"], "superseded": ["priority high"] },
            { "rule": "Everything else in French", "place": "rules.yaml:50:5", "matched": false, "skipped": true, "failed": null, "applied": [], "superseded": [] },
        ],
        "outcome": { "queue": "billing", "agent": "you", "replies": [] },
        "agents": [
            { "agent": "you", "chosen": true, "reason": "has 1.5 of 5" },
            { "agent": "bob", "chosen": false, "reason": "is full: 4 of 4" },
            { "agent": "cid", "chosen": false, "reason": "is offline" },
        ],
        "others": 14, "facts": { "channel": "support-sms", "text": "Where is my refund?", "new": "false", "contact.tags": "vip" },
    })
}

async fn read(State(w): State<Shared>, Path(path): Path<String>, Query(q): Query<HashMap<String, String>>) -> Response {
    let parts: Vec<&str> = path.split('/').collect();
    let body = match parts[..] {
        ["me"] => json!({ "token": "admin", "agent": "you", "scopes": ["admin"] }),
        ["conversations"] => list(&w, &q),
        ["conversations", id] => match w.conversations.lock().unwrap().iter().find(|c| c["id"] == id) {
            Some(c) => c.clone(),
            None => return problem(404, "not_found", "no such conversation"),
        },
        ["conversations", _, "messages"] => json!({ "messages": [], "next": null }),
        ["messages", id, "explain"] => explanation(id),
        ["agents"] => json!({ "agents": *w.agents.lock().unwrap(), "presences": [], "next": null }),
        ["queues"] => queues(&w),
        ["dead-letters"] => json!({ "dead_letters": *w.dead.lock().unwrap(), "next": null }),
        ["quarantine"] => json!({ "quarantine": *w.quarantine.lock().unwrap(), "next": null }),
        ["rules"] => rules(),
        ["attachments", "box"] => {
            let svg = "<svg xmlns='http://www.w3.org/2000/svg' width='320' height='200'><rect width='320' height='200' fill='#b9926a'/><path d='M0 60 160 90 320 60M160 90V200' stroke='#7d5f40' stroke-width='4' fill='none'/></svg>";
            return ([("content-type", "image/svg+xml")], svg).into_response();
        }
        _ => return problem(404, "not_found", "no such resource"),
    };
    Json(body).into_response()
}

fn list(w: &World, q: &HashMap<String, String>) -> Value {
    let limit: usize = q.get("limit").and_then(|l| l.parse().ok()).unwrap_or(50).min(200);
    let from: usize = q.get("cursor").and_then(|c| c.parse().ok()).unwrap_or(0);
    let all = w.conversations.lock().unwrap();
    let fits = |c: &&Value| {
        ["state", "agent", "queue"].iter().all(|f| q.get(*f).is_none_or(|v| c[*f] == v.as_str()))
            && q.get("contact").is_none_or(|v| c["contact"]["id"] == v.as_str())
    };
    let mut found = all.iter().filter(fits).skip(from);
    let page: Vec<Value> = found.by_ref().take(limit).map(summary).collect();
    let next = found.next().map(|_| (from + limit).to_string());
    json!({ "conversations": page, "next": next })
}

fn queues(w: &World) -> Value {
    let all = w.conversations.lock().unwrap();
    let rows: Vec<Value> = QUEUES
        .iter()
        .map(|id| {
            let waiting = || all.iter().filter(|c| c["queue"] == *id && c["state"] == "queued");
            let oldest = waiting().filter_map(|c| c["queued_at"].as_str()?.parse::<jiff::Timestamp>().ok()).min();
            json!({ "id": id, "depth": waiting().count(), "oldest_wait_ms": oldest.map(|t| now() - t.as_millisecond()), "offered": usize::from(*id == "everyone"), "sla": 0.87 })
        })
        .collect();
    json!({ "queues": rows, "next": null })
}

fn rules() -> Value {
    let rule = |name: &str, line: u32, hits: u32| json!({ "name": name, "place": format!("rules.yaml:{line}:5"), "hits": hits });
    json!({
        "hash": "3f9ac01b77de5521aa00", "loaded_at": at(now() - 5_400_000), "warnings": ["rules.yaml:50:5: “Everything else in French” never matches: “Refunds go to billing” at rules.yaml:41:5 takes all it would take"],
        "rules": [rule("After hours", 31, 212), rule("Note the order number", 36, 1204), rule("Refunds go to billing", 41, 388), rule("Everything else in French", 50, 0)], "queues": [], "agents": [],
    })
}

async fn write(State(w): State<Shared>, method: Method, Path(path): Path<String>, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    let text = body["text"].as_str().unwrap_or_default();
    let you = json!({ "kind": "agent", "id": "you" });
    match parts[..] {
        ["conversations", id, "reply"] if text.contains("fail") => {
            let _ = id;
            problem(
                422,
                "window_closed",
                "the messaging window closed 3 h ago; it opens when the customer writes again",
            )
        }
        ["conversations", _, "reply"] if text.contains("stale") && !body["seen"].is_null() => {
            problem(409, "stale", "a newer message exists")
        }
        ["conversations", id, "reply"] => reply(&w, id, text, you),
        ["conversations", id, "note"] => {
            w.say(id, message(format!("n{}", now()), "note", you, text, now(), Value::Null))
        }
        ["conversations", id, "close"] => w.change(id, |c| c["state"] = "closed".into()),
        ["conversations", id, "reopen" | "take"] => w.change(id, |c| {
            c["state"] = "assigned".into();
            c["agent"] = "you".into();
            c["offer"] = Value::Null;
        }),
        ["conversations", id, "snooze"] => w.change(id, |c| {
            c["state"] = "snoozed".into();
            c["snoozed_until"] = body["until"].clone();
        }),
        ["conversations", id, "transfer"] => w.change(id, |c| {
            c["agent"] = body["agent"].clone();
            if body["agent"].is_null() {
                c["queue"] = body["queue"].clone();
            }
            c["state"] = if body["agent"].is_null() { "queued" } else { "assigned" }.into();
        }),
        ["conversations", id] => w.change(id, |c| {
            for (k, v) in body.as_object().unwrap() {
                c[k] = v.clone()
            }
        }),
        ["offers", id, answer] => w.change(&id.replace('o', "c"), |c| {
            c["offer"] = Value::Null;
            c["state"] = if answer == "accept" { "assigned" } else { "queued" }.into();
            if answer == "accept" {
                c["agent"] = "you".into();
            }
        }),
        ["agents", id, "presence"] => {
            let mut agents = w.agents.lock().unwrap();
            let Some(agent) = agents.iter_mut().find(|a| a["id"] == id) else {
                return problem(404, "not_found", "no such agent");
            };
            agent["presence"] = body["presence"].clone();
            agent["presence_name"] = body["presence"].clone();
            w.tell("agent", agent.clone());
            StatusCode::NO_CONTENT.into_response()
        }
        ["dead-letters", id, ..] | ["quarantine", id, ..] => {
            w.dead.lock().unwrap().retain(|e| e["id"] != id);
            w.quarantine.lock().unwrap().retain(|e| e["id"] != id);
            w.tell("held", json!({}));
            StatusCode::ACCEPTED.into_response()
        }
        ["rules", _] => StatusCode::ACCEPTED.into_response(),
        _ => problem(405, "not_allowed", &format!("{method} {path} is not part of the preview")),
    }
}

/// Goes through the states that a real send has.
fn reply(w: &Shared, id: &str, text: &str, author: Value) -> Response {
    let sent = message(format!("r{}", now()), "out", author, text, now(), json!("queued"));
    let answer = w.say(id, sent.clone());
    w.change(id, |c| {
        c["turn"] = "customer".into();
        c["agent"] = "you".into();
        c["state"] = "assigned".into();
        c["sla"] = Value::Null;
        c["offer"] = Value::Null;
    });
    let (w, id) = (Arc::clone(w), id.to_owned());
    tokio::spawn(async move {
        for status in ["sending", "sent", "delivered", "read"] {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            let mut m = sent.clone();
            m["status"] = status.into();
            w.keep(&id, &m);
            w.tell("message", json!({ "conversation": id, "message": m }));
        }
    });
    answer
}

async fn events(
    State(w): State<Shared>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, std::convert::Infallible>>> {
    let agent = w.sessions.identify(&headers).and_then(|i| i.agent).unwrap_or_default();
    let open = w.sessions.open_console(&agent);
    let stream = futures_util::stream::unfold((w.events.subscribe(), open, 0u64), |(mut feed, open, n)| async move {
        let (name, data) = feed.recv().await.ok()?;
        Some((Ok(Event::default().id(format!("{n}.0")).event(name).data(data.to_string())), (feed, open, n + 1)))
    });
    let hello = futures_util::stream::iter([Ok(Event::default().comment("open"))]);
    Sse::new(hello.chain(stream)).keep_alive(KeepAlive::default())
}

async fn signed_in(State(w): State<Shared>, request: axum::extract::Request, next: middleware::Next) -> Response {
    match w.sessions.check(request.method(), request.headers()) {
        Ok(Some(_)) => next.run(request).await,
        Ok(None) => problem(401, "unauthorized", "sign in first"),
        Err(forged) => problem(403, "forged", &forged.to_string()),
    }
}

/// A customer who keeps writing, so that there is something live to see.
async fn customer(w: Shared, every: u64) {
    for n in 0.. {
        tokio::time::sleep(std::time::Duration::from_secs(every)).await;
        let id = format!("c{}", [0, 9, 10, 18][n % 4]);
        let author = json!({ "kind": "contact", "name": "Ann Lee" });
        w.say(&id, message(format!("live{n}"), "in", author, TEXTS[n % TEXTS.len()], now(), json!("received")));
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|a| a.parse::<usize>().ok());
    let count = arguments.next().unwrap_or(200);
    let port = arguments.next().unwrap_or(8099);
    let every = arguments.next().unwrap_or(20);
    let sessions = Arc::new(Sessions::new(Arc::new(|| Timestamp(now())), false));
    let you = Identity { token: "admin".into(), agent: Some("you".into()), scopes: vec![Scope::Admin] };
    let agent = |id: &str, name: &str, presence: &str, load: f64, capacity: f64| json!({ "id": id, "name": name, "presence": presence, "load": load, "capacity": capacity, "skills": { "billing": 1 }, "offers": 0, "conversations": load });
    let dead = |id: &str, reason: &str, code: Value, detail: &str, text: &str| json!({ "id": id, "conversation": "c0", "channel": "support-sms", "to": "+15005550000", "text": text, "reason": reason, "code": code, "detail": detail, "at": at(now() - 500_000) });
    let world = Arc::new(World {
        conversations: Mutex::new((0..count).map(conversation).collect()),
        agents: Mutex::new(vec![
            agent("you", "Maya Ortiz", "available", 1.5, 5.0),
            agent("bob", "Bob Reyes", "available", 4.0, 4.0),
            agent("ann", "Ann Kowalski", "away", 2.0, 5.0),
            agent("cid", "Cid Moreau", "offline", 0.0, 5.0),
        ]),
        dead: Mutex::new(vec![
            dead(
                "c0-m7",
                "unknown",
                Value::Null,
                "the connection broke after the text was handed to Twilio",
                "I also added a voucher for the trouble: CUPS10.",
            ),
            dead(
                "c0-m8",
                "rejected",
                json!("30007"),
                "the carrier filtered it as unwanted",
                "You can use it in any order this year.",
            ),
            dead(
                "d3",
                "expired",
                Value::Null,
                "support-sms did not recover within 4 h",
                "Your parcel is at the counter.",
            ),
        ]),
        quarantine: Mutex::new(vec![
            json!({ "id": "q1", "channel": "support-sms", "reason": "Twilio’s form has no field From", "at": at(now() - 900_000), "raw": { "content_type": "application/x-www-form-urlencoded", "text": "MessageSid=SM0123&Body=hello&To=%2B15005550006" } }),
        ]),
        events: broadcast::channel(1024).0,
        sessions: Arc::clone(&sessions),
    });
    let api = Router::new()
        .route("/api/v1/events", get(events))
        .route("/api/v1/{*path}", get(read).post(write).put(write).patch(write).delete(write))
        .layer(middleware::from_fn_with_state(Arc::clone(&world), signed_in))
        .with_state(Arc::clone(&world));
    let tokens = {
        let you = you.clone();
        Arc::new(move |t: &str| (t == "preview").then(|| you.clone()))
    };
    let console = routes(ConsoleState { sessions: Arc::clone(&sessions), tokens, workspace: "main".into() });
    tokio::spawn(customer(world, every as u64));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", u16::try_from(port).unwrap())).await.unwrap();
    println!("http://127.0.0.1:{port}/console#login={}", sessions.create_login(you).unwrap());
    serve(listener, api.merge(console)).await;
}

async fn serve(listener: tokio::net::TcpListener, app: Router) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let service = hyper_util::service::TowerToHyperService::new(app.clone());
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(stream), service),
        );
    }
}
