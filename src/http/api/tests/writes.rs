use super::*;
use crate::history::tests::{contact, conv, msg, offer};
use crate::http::api::Unanswered;
use std::time::Duration;
use switchboard_envelope::{Action, Choice, ConsentState, Destination, Scope, Template};
use switchboard_routing_rules::event::Reply;

async fn keyed(fake: &Fake, path: &str, key: &str, body: &str) -> Got {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    call(fake, Method::POST, path, "t-ann", &headers, body).await
}

#[tokio::test]
async fn the_same_key_gives_the_first_answer_and_acts_once() {
    let mut fake = fake().await;
    let path = format!("/conversations/{}/reply", conv(1));
    let body = r#"{"text":"hello"}"#;
    let (a, b, c) =
        tokio::join!(keyed(&fake, &path, "k", body), keyed(&fake, &path, "k", body), keyed(&fake, &path, "k", body));
    assert_eq!((a.status.as_u16(), &a.body["id"]), (202, &json!("m0000000000000009")));
    assert_eq!((&a.body, &a.body), (&b.body, &c.body));
    assert_eq!(fake.commands(), 1);
    keyed(&fake, &path, "k", r#"{"text":"else"}"#).await.refused(422, "idempotency_mismatch");
    keyed(&fake, &format!("/conversations/{}/reply", conv(2)), "k", body).await.refused(422, "idempotency_mismatch");
    // Another caller's key is another key.
    let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
    call(&fake, Method::POST, &path, "t-sup", &headers, body).await.ok();
    assert_eq!(fake.commands(), 2);
    // The answer outlives the daemon.
    fake.history.history().wait_for(102, Duration::from_secs(10)).await;
    fake.restart();
    assert_eq!(keyed(&fake, &path, "k", body).await.body, a.body);
    keyed(&fake, &path, "k", r#"{"text":"else"}"#).await.refused(422, "idempotency_mismatch");
    assert_eq!(fake.commands(), 2);
}

#[tokio::test]
async fn a_refusal_of_the_router_is_a_problem_and_is_repeated_under_its_key() {
    let fake = fake().await;
    let reply = Reply { status: 409, code: "owned".into(), detail: "bob has it".into(), ids: [].into() };
    *fake.back.reply.lock().unwrap() = reply;
    let path = format!("/conversations/{}/reply", conv(1));
    let got = keyed(&fake, &path, "r", r#"{"text":"hello"}"#).await;
    got.refused(409, "owned");
    assert_eq!(keyed(&fake, &path, "r", r#"{"text":"hello"}"#).await.body, got.body);
    assert_eq!(fake.commands(), 1);
}

#[tokio::test]
async fn a_failed_attempt_is_not_remembered() {
    let fake = fake().await;
    let path = format!("/conversations/{}/note", conv(1));
    *fake.back.fails.lock().unwrap() = Some(crate::log::LogError::Full("x".into()).into());
    keyed(&fake, &path, "f", r#"{"text":"x"}"#).await.refused(503, "log_full");
    *fake.back.fails.lock().unwrap() = None;
    keyed(&fake, &path, "f", r#"{"text":"x"}"#).await.ok();
}

#[tokio::test]
async fn who_gave_no_key_is_told_one_under_which_a_command_without_an_answer_is_asked_for_again() {
    let fake = fake().await;
    let path = format!("/conversations/{}/note", conv(1));
    *fake.back.fails.lock().unwrap() = Some(Unanswered::Undecided("LOG is full".into()));
    let got =
        call(&fake, Method::POST, &path, "t-ann", &[("content-type", "application/json")], r#"{"text":"x"}"#).await;
    got.refused(503, "undecided");
    let first = fake.back.asked.lock().unwrap().clone();
    let key = got.body["idempotency_key"].as_str().expect("a key").to_owned();
    // The same command, by its id, and no other.
    keyed(&fake, &path, &key, r#"{"text":"x"}"#).await.refused(503, "undecided");
    let asked = fake.back.asked.lock().unwrap().clone();
    assert!(first.len() == 1 && asked == [first[0].clone(), first[0].clone()], "{asked:?}");
    *fake.back.fails.lock().unwrap() = None;
    keyed(&fake, &path, &key, r#"{"text":"x"}"#).await.ok();
    keyed(&fake, &path, &key, r#"{"text":"y"}"#).await.refused(422, "idempotency_mismatch");
    assert_eq!(fake.commands(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_request_under_the_same_key_does_not_wait_for_ever() {
    let pending = crate::http::api::commands::Pending::default();
    let first = pending.turn("k").await.expect("its turn");
    let began = tokio::time::Instant::now();
    assert!(pending.turn("k").await.is_none());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    drop(first);
    assert!(pending.turn("k").await.is_some(), "the next one has its turn");
}

#[tokio::test]
async fn a_text_that_the_channel_would_not_pay_for_is_refused_before_it_is_decided() {
    let fake = fake().await;
    let path = format!("/conversations/{}/reply", conv(1));
    let long = json!({ "text": "measured and found too long for it" }).to_string();
    let got = keyed(&fake, &path, "l1", &long).await;
    got.refused(422, "too_long");
    let said = got.body["detail"].as_str().unwrap_or_default();
    assert!(said.contains("needs 4 segments (gsm7)") && said.contains("at most 3"), "{said}");
    // What the customer may choose from is part of the text there.
    let choices = json!({ "text": "measured and short", "choices": [{ "label": "The red one" }] }).to_string();
    keyed(&fake, &path, "l2", &choices).await.refused(422, "too_long");
    assert_eq!(fake.commands(), 0);
    keyed(&fake, &path, "l3", r#"{"text":"measured and short"}"#).await.ok();
    let to = json!({ "channel": "support-sms", "to": { "kind": "phone", "value": "+15005550009" }, "text": "measured and found too long for it" });
    let headers = [("content-type", "application/json")];
    call(&fake, Method::POST, "/messages", "t-sup", &headers, &to.to_string()).await.refused(422, "too_long");
    assert_eq!(fake.commands(), 1);
}

fn choice(id: &str, label: &str) -> Choice {
    Choice { id: id.into(), label: Some(label.into()) }
}

#[tokio::test]
async fn choices_that_could_not_be_told_apart_are_refused() {
    let fake = fake().await;
    let path = format!("/conversations/{}/reply", conv(1));
    for (key, choices) in [
        ("1", json!([{ "label": "Red" }, { "label": "red" }])),
        ("2", json!([{ "id": "1", "label": "Red" }, { "id": "1", "label": "Blue" }])),
        ("3", json!([{ "id": "1" }])),
        ("4", json!([{ "label": "Red\nBlue" }])),
        ("5", json!((0..31).map(|n| json!({ "label": n.to_string() })).collect::<Vec<_>>())),
        ("6", json!("Red")),
    ] {
        let body = json!({ "text": "Which?", "choices": choices }).to_string();
        keyed(&fake, &path, key, &body).await.refused(422, "invalid");
    }
}

#[tokio::test]
async fn each_request_becomes_its_command() {
    let fake = fake().await;
    let (c, o, p) = (conv(1).to_string(), offer(1).to_string(), contact(1).to_string());
    let m = msg(6).to_string();
    let at = |path: &str| path.replace("$c", &c).replace("$o", &o).replace("$p", &p).replace("$m", &m);
    let until = "2027-01-01T00:00:00Z";
    let none = || None;
    let table: Vec<(&str, &str, Value, Action)> = vec![
        (
            "POST",
            "/conversations/$c/reply",
            json!({ "text": "hi", "take": true, "seen": m }),
            Action::Reply {
                choices: vec![],
                template: None,
                conversation: c.clone(),
                text: "hi".into(),
                attachments: vec![],
                take: true,
                seen: Some(m.clone()),
            },
        ),
        (
            "POST",
            "/conversations/$c/reply",
            json!({
                "choices": [{ "label": "Red" }, { "id": "BLUE", "label": "Blue" }], "text": "Which?",
                "template": { "name": "order_ready", "language": "en_US", "values": ["7"], "category": "utility" },
            }),
            Action::Reply {
                choices: vec![choice("Red", "Red"), choice("BLUE", "Blue")],
                template: Some(Template {
                    name: "order_ready".into(),
                    language: "en_US".into(),
                    values: vec!["7".into()],
                    category: Some("utility".into()),
                }),
                conversation: c.clone(),
                text: "Which?".into(),
                attachments: vec![],
                take: false,
                seen: None,
            },
        ),
        (
            "POST",
            "/conversations/$c/note",
            json!({ "text": "n" }),
            Action::Note { conversation: c.clone(), text: "n".into() },
        ),
        ("POST", "/conversations/$c/take", json!({}), Action::Take { conversation: c.clone() }),
        ("POST", "/conversations/$c/close", json!({}), Action::Close { conversation: c.clone() }),
        ("POST", "/conversations/$c/reopen", json!({}), Action::Reopen { conversation: c.clone() }),
        (
            "POST",
            "/conversations/$c/transfer",
            json!({ "queue": "billing" }),
            Action::Transfer { conversation: c.clone(), to: Destination::Queue("billing".into()) },
        ),
        (
            "POST",
            "/conversations/$c/transfer",
            json!({ "agent": "bob" }),
            Action::Transfer { conversation: c.clone(), to: Destination::Agent("bob".into()) },
        ),
        (
            "POST",
            "/conversations/$c/snooze",
            json!({ "until": until }),
            Action::Snooze { conversation: c.clone(), until: until.parse().unwrap() },
        ),
        (
            "PATCH",
            "/conversations/$c",
            json!({ "tags": ["a"], "priority": "high", "attributes": { "x": null, "y": "1" } }),
            Action::Update {
                conversation: c.clone(),
                tags: Some(vec!["a".into()]),
                priority: Some("high".into()),
                attributes: [("x".to_owned(), none()), ("y".to_owned(), Some("1".to_owned()))].into(),
            },
        ),
        (
            "PUT",
            "/agents/ann/presence",
            json!({ "presence": "away" }),
            Action::Presence { agent: "ann".into(), presence: "away".into() },
        ),
        ("POST", "/offers/$o/accept", json!({}), Action::AcceptOffer { offer: o.clone() }),
        ("POST", "/offers/$o/decline", json!({}), Action::DeclineOffer { offer: o.clone() }),
        (
            "PATCH",
            "/contacts/$p",
            json!({ "consent": { "sms": "opted_in" } }),
            Action::UpdateContact {
                contact: p.clone(),
                tags: None,
                attributes: [].into(),
                consent: [("sms".to_owned(), ConsentState::OptedIn)].into(),
                unblock: vec![],
            },
        ),
        (
            "PATCH",
            "/contacts/$p",
            json!({ "unblock": ["sms"] }),
            Action::UpdateContact {
                contact: p.clone(),
                tags: None,
                attributes: [].into(),
                consent: [].into(),
                unblock: vec!["sms".into()],
            },
        ),
        (
            "POST",
            "/contacts/$p/merge",
            json!({ "from": contact(2) }),
            Action::MergeContact { into: p.clone(), from: contact(2).to_string() },
        ),
        ("POST", "/channels/sms/pause", json!({}), Action::PauseChannel { target: "sms".into() }),
        ("POST", "/channels/sms/resume", json!({}), Action::ResumeChannel { target: "sms".into(), mended: false }),
        ("POST", "/rules/reload", json!({}), Action::ReloadPack { hash: "pack2".into() }),
        ("POST", "/rules/rollback", json!({}), Action::RollbackPack { to: None }),
        ("POST", "/rules/rollback", json!({ "to": "pack0" }), Action::RollbackPack { to: Some("pack0".into()) }),
        ("POST", "/rules/canary", json!({ "share": "10%" }), Action::TryPack { hash: "pack2".into(), percent: 10 }),
        ("POST", "/rules/canary/promote", json!({}), Action::EndTrial { promote: true }),
        ("DELETE", "/rules/canary", json!({}), Action::EndTrial { promote: false }),
        ("POST", "/dead-letters/$m/resend", json!({}), Action::Resend { send: m.clone() }),
        ("DELETE", "/dead-letters/$m", json!({}), Action::Drop { send: m.clone() }),
        (
            "POST",
            "/messages",
            json!({ "channel": "sms", "to": { "kind": "phone", "value": "+15551230001" }, "text": "hi", "queue": "q" }),
            Action::Start {
                to_channel: "sms".into(),
                to: switchboard_envelope::Address::new("phone", "+15551230001"),
                subject: None,
                text: "hi".into(),
                destination: Some(Destination::Queue("q".into())),
            },
        ),
    ];
    for (method, path, body, action) in table {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let got =
            call(&fake, method, &at(path), "t-admin", &[("content-type", "application/json")], &body.to_string()).await;
        assert!(got.status.is_success(), "{path}: {} {}", got.status, got.body);
        let command = fake.last_command();
        assert_eq!(command.action, action, "{path}");
        assert_eq!((command.channel.as_str(), command.actor.scope), ("api", Scope::Admin));
        assert!(switchboard_envelope::Inbound::Command(Box::new(command)).validate().is_ok(), "{path}");
    }
}

#[tokio::test]
async fn only_a_supervisor_speaks_for_another_agent() {
    let fake = fake().await;
    let path = format!("/conversations/{}/reply", conv(1));
    fake.post(&path, "t-ann", json!({ "text": "x", "agent": "bob" })).await.refused(403, "not_you");
    fake.post(&path, "t-ann", json!({ "text": "x", "agent": "ann" })).await.ok();
    assert_eq!(fake.last_command().actor.agent.as_deref(), Some("ann"));
    fake.post(&path, "t-sup", json!({ "text": "x", "agent": "bob" })).await.ok();
    assert_eq!(fake.last_command().actor.agent.as_deref(), Some("bob"));
    fake.post(&path, "t-sup", json!({ "text": "x" })).await.ok();
    assert_eq!(fake.last_command().actor.agent.as_deref(), Some("cy"));
    let put = async |token, agent: &str| {
        let headers = [("content-type", "application/json")];
        call(&fake, Method::PUT, &format!("/agents/{agent}/presence"), token, &headers, r#"{"presence":"away"}"#).await
    };
    put("t-ann", "cy").await.refused(403, "not_you");
    put("t-sup", "ann").await.ok();
    put("t-sup", "nobody").await.refused(404, "not_found");
}

#[tokio::test]
async fn what_is_said_of_an_agent_after_their_console_closed_is_not_undone() {
    use super::fake::NOW;
    use crate::http::console::Sessions;
    use crate::http::console::presence::{AWAY_AFTER_MS, Presence};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};
    let mut fake = fake().await;
    let later = Arc::new(AtomicI64::new(0));
    let clock = Arc::clone(&later);
    fake.sessions = Arc::new(Sessions::new(Arc::new(move || NOW.plus(clock.load(Ordering::SeqCst))), false));
    fake.restart();
    let headers = [("content-type", "application/json")];
    for (said, wanted) in [(true, 0), (false, 1)] {
        later.store(0, Ordering::SeqCst);
        drop(fake.sessions.open_console("ann"));
        if said {
            let body = r#"{"presence":"available"}"#;
            call(&fake, Method::PUT, "/agents/ann/presence", "t-sup", &headers, body).await.ok();
        }
        later.store(AWAY_AFTER_MS, Ordering::SeqCst);
        let changes = fake.sessions.presence_changes(|_| Some(Presence::Available));
        assert_eq!(changes.len(), wanted, "{changes:?}");
    }
}

#[tokio::test]
async fn a_read_after_an_answer_waits_for_history_but_not_for_ever() {
    let fake = fake().await;
    *fake.back.held.lock().unwrap() = Some(vec![]);
    fake.post(&format!("/conversations/{}/close", conv(1)), "t-ann", json!({})).await.ok();
    let began = tokio::time::Instant::now();
    fake.get("/conversations").await.ok();
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(900) && waited < Duration::from_secs(5), "{waited:?}");
    let held = fake.back.held.lock().unwrap().take().unwrap();
    held.into_iter().for_each(|f| fake.back.frames.push(f));
    fake.history.history().wait_for(101, Duration::from_secs(10)).await;
    let began = tokio::time::Instant::now();
    fake.get("/conversations").await.ok();
    assert!(began.elapsed() < Duration::from_millis(900));
}

#[tokio::test]
async fn a_file_is_uploaded_sent_and_read_back_as_nothing_that_runs() {
    let fake = fake().await;
    let c = conv(2);
    let headers = [("content-type", "text/html"), ("idempotency-key", "f1")];
    let path = format!("/attachments?conversation={c}&name=..%2Fevil%22.html");
    let up = call(&fake, Method::POST, &path, "t-ann", &headers, "<script>").await;
    assert_eq!((up.status.as_u16(), &up.body["name"], &up.body["size"]), (201, &json!("evil.html"), &json!(8)));
    call(&fake, Method::POST, &path, "t-ann", &headers, "other").await.refused(422, "idempotency_mismatch");
    call(&fake, Method::POST, "/attachments?name=x", "t-ann", &[], "x").await.refused(400, "bad_query");
    call(&fake, Method::POST, &path, "t-ann", &[], &"x".repeat(10_001)).await.refused(413, "too_large");
    let reply = format!("/conversations/{c}/reply");
    fake.post(&reply, "t-ann", json!({ "attachments": [up.body] })).await.ok();
    let Action::Reply { attachments, text, .. } = fake.last_command().action else { panic!("no reply") };
    assert_eq!((attachments.len(), attachments[0].size, text.as_str()), (1, 8, ""));
    // The file belongs to that conversation only.
    let other =
        fake.post(&format!("/conversations/{}/reply", conv(1)), "t-ann", json!({ "attachments": [up.body] })).await;
    assert_eq!(other.body["errors"][0]["pointer"], "/attachments/0/id", "{}", other.body);

    let mut event =
        crate::history::tests::send(2, 90, "see", switchboard_envelope::Author::Agent { id: "ann".into() }, true);
    if let Some((_, switchboard_routing_rules::event::Private::Send { content, .. })) = &mut event.private {
        content.attachments = attachments;
    }
    fake.back.frames.push((200, vec![event]));
    fake.history.history().wait_for(200, Duration::from_secs(10)).await;
    let message = fake.get(&format!("/messages/{}", msg(90))).await.ok();
    let url = message["attachments"][0]["url"].as_str().unwrap().strip_prefix("/api/v1").unwrap().to_owned();
    let down = call(&fake, Method::GET, &url, "", &[], "").await;
    assert_eq!(&down.bytes[..], b"<script>", "the link is enough");
    assert_eq!(down.headers["referrer-policy"], "no-referrer");
    let bare = url.split('?').next().unwrap();
    assert_eq!(&fake.get(bare).await.bytes[..], b"<script>", "and so is a token");
    call(&fake, Method::GET, bare, "", &[], "").await.refused(401, "token_missing");
    assert_eq!(down.headers["content-type"], "text/html");
    assert!(down.headers["content-disposition"].to_str().unwrap().starts_with("attachment;"));
    assert!(down.headers["content-security-policy"].to_str().unwrap().contains("sandbox"));
}

#[tokio::test]
async fn a_link_to_a_file_opens_that_file_and_nothing_else() {
    let fake = fake().await;
    let files = ["pixel.png", "note.txt"].map(|name| switchboard_envelope::Attachment {
        name: name.into(),
        mime: if name == "pixel.png" { "image/png".into() } else { "text/plain".into() },
        blob: Some(switchboard_envelope::BlobRef(name.into())),
        ..Default::default()
    });
    // What is called a picture is a page.
    let page = bytes::Bytes::from_static(b"<html><script>alert(1)</script>");
    for (name, body) in [("pixel.png", page), ("note.txt", bytes::Bytes::from_static("Grüße".as_bytes()))] {
        let (channel, thread) = scope_of(&fake, 2).await;
        fake.back.files.lock().unwrap().insert((channel, thread, name.into()), body);
    }
    let mut event =
        crate::history::tests::send(2, 91, "see", switchboard_envelope::Author::Agent { id: "ann".into() }, true);
    if let Some((_, switchboard_routing_rules::event::Private::Send { content, .. })) = &mut event.private {
        content.attachments = files.to_vec();
    }
    fake.back.frames.push((200, vec![event]));
    fake.history.history().wait_for(200, Duration::from_secs(10)).await;
    let message = fake.get(&format!("/messages/{}", msg(91))).await.ok();
    let link =
        |i: usize| message["attachments"][i]["url"].as_str().unwrap().strip_prefix("/api/v1").unwrap().to_owned();
    let open = async |link: &str| call(&fake, Method::GET, link, "", &[], "").await;

    let (picture, note) = (open(&link(0)).await, open(&link(1)).await);
    assert!(picture.headers["content-disposition"].to_str().unwrap().starts_with("attachment;"), "it is no picture");
    assert!(note.headers["content-disposition"].to_str().unwrap().starts_with("inline;"));
    assert_eq!(
        (&note.bytes[..], &note.headers["content-type"]),
        ("Grüße".as_bytes(), &"text/plain; charset=utf-8".parse().unwrap())
    );
    for answer in [picture, note] {
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert!(answer.headers["content-security-policy"].to_str().unwrap().contains("sandbox"));
    }

    let other_file = link(0).replace("/attachments/0", "/attachments/1");
    let other_message = link(0).replace(&msg(91).to_string(), &msg(90).to_string());
    for changed in [other_file, other_message, link(0).replace("until=1", "until=2"), format!("{}0", link(0))] {
        assert_ne!(changed, link(0));
        open(&changed).await.refused(403, "link_refused");
    }
    // A token beside a bad signature does not make it a good one, and a link reads files only.
    fake.get(&link(0).replace("until=1", "until=3")).await.refused(403, "link_refused");
    let query = link(0).split_once('?').unwrap().1.to_owned();
    open(&format!("/conversations?{query}")).await.refused(401, "token_missing");
    fake.get("/conversations?contact=signature=").await.ok();
    call(&fake, Method::POST, &format!("/attachments?{query}"), "", &[], "x").await.refused(401, "token_missing");
}

#[tokio::test]
async fn a_link_to_a_file_that_is_not_there_says_why_and_to_a_person_in_words() {
    use switchboard_envelope::{Attachment, FileProblem};
    let fake = fake().await;
    let file = |url: Option<&str>, problem: Option<(&str, bool)>, size: u64| Attachment {
        url: url.map(str::to_owned),
        problem: problem.map(|(detail, again)| FileProblem { detail: detail.into(), again }),
        size,
        ..Attachment::default()
    };
    let at = Some("https://files.example/1");
    let cases = [
        (
            file(at, Some(("it is larger than 16 MiB", false)), 0),
            "not_fetched",
            "this file could not be fetched: it is larger than 16 MiB",
        ),
        (file(at, None, 0), "not_fetched_yet", "this file is being fetched; look again in a moment"),
        (
            file(at, Some(("the provider answered 503", true)), 7),
            "not_fetched_yet",
            "this file is not fetched yet, and is tried again: the provider answered 503",
        ),
        (file(None, None, 0), "not_fetched", "this file could not be fetched"),
    ];
    let mut event = crate::history::tests::received(2, 91, "see");
    if let Some((_, switchboard_routing_rules::event::Private::Received { content, .. })) = &mut event.private {
        content.attachments = cases.iter().map(|(file, ..)| file.clone()).collect();
    }
    fake.back.frames.push((200, vec![event]));
    fake.history.history().wait_for(200, Duration::from_secs(10)).await;
    let message = fake.get(&format!("/messages/{}", msg(91))).await.ok();
    let sizes: Vec<_> = message["attachments"].as_array().unwrap().iter().map(|f| f["size"].clone()).collect();
    assert_eq!(sizes, [Value::Null, Value::Null, json!(7), Value::Null], "of what is not there nobody says a size");
    let links = crate::http::api::FileLinks::new(&[7; 32]);
    let browser = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    for (i, (_, code, said)) in cases.iter().enumerate() {
        let path = format!("/messages/{}/attachments/{i}", msg(91));
        let link = links.of_path(&path, crate::http::api::backend::Backend::now(&*fake.back)).unwrap();
        let link = link.strip_prefix("/api/v1").unwrap();
        call(&fake, Method::GET, link, "", &[], "").await.refused(404, code);
        let shown = call(&fake, Method::GET, link, "", &browser, "").await;
        assert_eq!((shown.status.as_u16(), &shown.bytes[..]), (404, format!("{said}\n").as_bytes()));
        assert_eq!(shown.headers["content-type"], "text/plain; charset=utf-8");
        let changed = link.replace("until=1", "until=2");
        let shown = call(&fake, Method::GET, &changed, "", &browser, "").await;
        assert!(
            shown.status.as_u16() == 403 && shown.bytes.starts_with(b"this is no link of ours; open the conversation")
        );
    }
    fake.get(&format!("/messages/{}/attachments/9", msg(91))).await.refused(404, "not_found");
}

/// Where the files of a conversation of the story are kept.
async fn scope_of(fake: &Fake, conversation: u32) -> (String, String) {
    let (c, _) = fake.history.history().conversation(conv(conversation)).await.unwrap().unwrap();
    (c.channel, c.thread.unwrap())
}

#[tokio::test]
async fn a_bad_pack_is_refused_with_every_place() {
    let fake = fake().await;
    let problems = vec!["pack.yaml:1:1: rules must be a list".to_owned(), "b.yaml:2:3: no such queue".to_owned()];
    *fake.back.reload.lock().unwrap() = Err(crate::http::api::ReloadError::Pack(problems));
    let got = fake.post("/rules/reload", "t-admin", json!({})).await;
    got.refused(422, "bad_pack");
    assert_eq!(got.body["errors"][1]["detail"], "b.yaml:2:3: no such queue");
    assert_eq!(fake.commands(), 0);
}

#[tokio::test]
async fn a_reload_and_a_retry_are_not_done_again_after_a_restart() {
    let mut fake = fake().await;
    let keyed = async |fake: &Fake, path: &str, key| {
        call(fake, Method::POST, path, "t-admin", &[("idempotency-key", key)], "").await
    };
    let ids = [("pack".to_owned(), "pack2".to_owned()), ("before".to_owned(), "pack1".to_owned())].into();
    *fake.back.reply.lock().unwrap() = Reply { status: 200, code: String::new(), detail: String::new(), ids };
    let reloaded = keyed(&fake, "/rules/reload", "k1").await.ok();
    let warned = ["pack.yaml:3:1: can never match"];
    assert_eq!(reloaded, json!({ "pack": "pack2", "hash": "pack2", "changed": true, "warnings": warned }));

    *fake.back.retried.lock().unwrap() = crate::http::api::Retried::Understood;
    fake.back.reply.lock().unwrap().ids.clear();
    let released = keyed(&fake, "/quarantine/10/retry", "k2").await.ok();
    assert_eq!(released, json!({ "id": "10", "released": true }));
    assert_eq!(fake.last_command().action, Action::Released { quarantined: 10 });
    let gone = switchboard_routing_rules::event::Public::QuarantineReleased { seq: 10 };
    fake.back.frames.push((103, vec![gone.into()]));
    fake.history.history().wait_for(103, Duration::from_secs(10)).await;

    *fake.back.reload.lock().unwrap() = Ok("pack3".into());
    fake.restart();
    assert_eq!(keyed(&fake, "/rules/reload", "k1").await.ok(), reloaded);
    assert_eq!(keyed(&fake, "/quarantine/10/retry", "k2").await.ok(), released);
    keyed(&fake, "/quarantine/11/retry", "k2").await.refused(422, "idempotency_mismatch");
    keyed(&fake, "/quarantine/10/retry", "k3").await.refused(404, "not_found");
    assert_eq!(fake.commands(), 2);
}

#[tokio::test]
async fn a_login_link_signs_one_agent_in_once() {
    let fake = fake().await;
    let path = "/agents/you/login";
    fake.post(path, "t-sup", json!({})).await.refused(403, "scope");
    for (id, said) in [
        ("nobody", "the rule pack in force has no agent `nobody`; its agents are you"),
        ("You", "the rule pack in force has no agent `You`: did you mean `you`?"),
    ] {
        let refused = fake.post(&format!("/agents/{id}/login"), "t-admin", json!({})).await;
        refused.refused(404, "not_found");
        assert_eq!(refused.body["detail"], said);
    }
    fake.post(path, "t-admin", json!({ "scope": "root" })).await.refused(422, "invalid");
    let link = fake.post(path, "t-admin", json!({ "scope": "supervisor" })).await.ok();
    assert_eq!((&link["agent"], &link["scope"], &link["url"]), (&json!("you"), &json!("supervisor"), &Value::Null));
    assert_eq!(link["expires_at"], json!(super::fake::NOW.plus(crate::http::console::LOGIN_TTL_MS)));
    let code = link["path"].as_str().unwrap().strip_prefix("/console#login=").unwrap().to_owned();
    let who = fake.sessions.redeem(&code).unwrap();
    assert_eq!((who.agent.as_deref(), who.scopes), (Some("you"), vec![Scope::Supervisor]));
    assert_eq!(fake.sessions.redeem(&code), None, "once");
    let usual = fake.post(path, "t-admin", json!({})).await.ok();
    assert_eq!(usual["scope"], "agent");
    assert_ne!(usual["path"], link["path"]);
    assert_eq!(fake.commands(), 0, "the router has nothing to do with it");
}

#[tokio::test]
async fn a_command_says_whose_token_gave_it() {
    let fake = fake().await;
    let path = format!("/conversations/{}/note", conv(1));
    for (token, agent, name) in [("t-admin", None, "ops"), ("t-ann", Some("ann"), "ann")] {
        fake.post(&path, token, json!({ "text": "seen" })).await.ok();
        let actor = fake.last_command().actor;
        assert_eq!((actor.agent.as_deref(), actor.token.as_deref()), (agent, Some(name)));
    }
}
