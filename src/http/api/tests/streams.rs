use super::*;
use crate::history::tests::{conv, opened, queued, received};
use crate::http::console::Identity;
use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt;
use http::{Request, StatusCode};
use std::time::Duration;
use switchboard_envelope::Scope;
use switchboard_routing_rules::event::Private;

const SOON: Duration = Duration::from_secs(10);

struct Client {
    body: BodyDataStream,
    text: String,
}

#[derive(Debug, PartialEq)]
struct Told {
    name: String,
    id: Option<String>,
    data: Value,
}

async fn open(fake: &Fake, last: Option<&str>) -> Result<Client, StatusCode> {
    let mut request = Request::builder().uri("/api/v1/events").header("authorization", "Bearer t-read");
    if let Some(id) = last {
        request = request.header("last-event-id", id);
    }
    let response = fake.send(request.body(Body::empty()).unwrap()).await;
    if response.status() != StatusCode::OK {
        return Err(response.status());
    }
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    Ok(Client { body: response.into_body().into_data_stream(), text: String::new() })
}

impl Client {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    block.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
                };
                let told = field("data").map(|d| Told {
                    name: field("event").unwrap(),
                    id: field("id"),
                    data: serde_json::from_str(&d).unwrap(),
                });
                self.text = rest.to_owned();
                if told.is_some() {
                    return told;
                }
                continue;
            }
            let chunk = tokio::time::timeout(SOON, self.body.next()).await.expect("an event in time")?;
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    async fn until(&mut self, name: &str) -> Vec<Told> {
        let mut all = vec![];
        loop {
            let told = self.next().await.unwrap();
            let found = told.name == name;
            all.push(told);
            if found {
                return all;
            }
        }
    }
}

#[tokio::test]
async fn a_change_is_told_with_the_newest_state_and_an_id() {
    let fake = fake().await;
    let mut client = open(&fake, None).await.unwrap();
    let mut said = received(9, 900, "hello there");
    let Some((_, Private::Received { proved, .. })) = &mut said.private else { panic!("{said:?}") };
    *proved = Some(false);
    fake.back.frames.push((5, vec![opened(9, "sms"), said, queued(9, "everyone")]));
    let all = client.until("queue").await;
    let message = all.iter().find(|t| t.name == "message").unwrap();
    assert_eq!(
        (&message.data["conversation"], &message.data["message"]["text"]),
        (&json!(conv(9)), &json!("hello there"))
    );
    assert_eq!((message.id.as_deref(), &message.data["message"]["sender_proved"]), (Some("5.1"), &json!(false)));
    let conversation = all.iter().find(|t| t.name == "conversation").unwrap();
    assert_eq!((&conversation.data["state"], &conversation.data["queue"]), (&json!("queued"), &json!("everyone")));
    assert_eq!(all.last().unwrap().data["depth"], 3);
    // Both come from event 2; the id stands on the last of them only.
    assert_eq!((conversation.id.as_deref(), all.last().unwrap().id.as_deref()), (None, Some("5.2")));
    fake.stop.send(true).unwrap();
    assert_eq!(client.next().await, None, "the end of the daemon ends the stream");
}

#[tokio::test]
async fn a_client_that_comes_back_gets_what_it_missed_and_then_what_is_new() {
    let fake = fake().await;
    for frame in 5..=7 {
        fake.back.frames.push((frame, vec![opened(u32::try_from(frame).unwrap(), "sms")]));
    }
    assert!(fake.history.history().wait_for(7, SOON).await);
    let mut client = open(&fake, Some("5.0")).await.unwrap();
    let mut ids = vec![];
    for _ in 0..2 {
        ids.push(client.until("conversation").await.pop().unwrap().data["id"].clone());
    }
    assert_eq!(ids, [json!(conv(6)), json!(conv(7))], "in order, without what it had");
    fake.back.frames.push((8, vec![opened(8, "sms")]));
    let told = client.until("conversation").await.pop().unwrap();
    assert_eq!((told.data["id"].clone(), told.id.as_deref()), (json!(conv(8)), Some("8.0")));
    // In the middle of a frame: only the rest of it.
    fake.back.frames.push((9, vec![opened(20, "sms"), opened(21, "sms")]));
    assert!(fake.history.history().wait_for(9, SOON).await);
    let mut client = open(&fake, Some("9.0")).await.unwrap();
    assert_eq!(client.until("conversation").await.pop().unwrap().data["id"], json!(conv(21)));
}

#[tokio::test]
async fn what_is_gone_is_gone_and_nonsense_is_refused() {
    let fake = fake().await;
    *fake.back.first.lock().unwrap() = 3;
    assert_eq!(open(&fake, Some("1.0")).await.err(), Some(StatusCode::GONE));
    assert_eq!(open(&fake, Some("99.0")).await.err(), Some(StatusCode::GONE), "of another log");
    assert_eq!(open(&fake, Some("x")).await.err(), Some(StatusCode::BAD_REQUEST));
    assert!(open(&fake, Some("2.0")).await.is_ok(), "all that followed is there");
    assert!(open(&fake, Some("4.0")).await.is_ok());
}

#[tokio::test]
async fn a_client_that_reads_slowly_misses_nothing() {
    let fake = fake().await;
    let mut client = open(&fake, None).await.unwrap();
    // More frames than the channel between holds.
    for frame in 5..3005u64 {
        fake.back.frames.push((frame, vec![received(1, 10_000 + u32::try_from(frame).unwrap(), "more")]));
    }
    assert!(fake.history.history().wait_for(3004, SOON).await);
    let mut seen = std::collections::BTreeSet::new();
    while !seen.contains("3004.0") {
        let told = client.next().await.unwrap();
        if told.name == "message" {
            seen.insert(told.id.clone().unwrap_or_default());
            assert_eq!(told.data["message"]["text"], "more");
        }
        seen.extend(told.id);
    }
    assert!(seen.len() >= 3000, "{}", seen.len());
}

#[tokio::test]
async fn signing_out_ends_the_stream_at_its_next_heartbeat() {
    let fake = fake().await;
    let ann = Identity { token: "ann".into(), agent: Some("ann".into()), scopes: vec![Scope::Agent] };
    let cookie = fake.sessions.start(ann).unwrap().split(';').next().unwrap().to_owned();
    let request = Request::builder().uri("/api/v1/events").header("cookie", &cookie);
    let request = request.body(Body::empty()).unwrap();
    let headers = request.headers().clone();
    let response = fake.send(request).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut stream = response.into_body().into_data_stream();
    tokio::time::pause();
    let beat = tokio::time::timeout(Duration::from_secs(60), stream.next()).await;
    assert!(matches!(beat, Ok(Some(Ok(_)))), "{beat:?}");
    assert_eq!(fake.sessions.open_consoles("ann"), 1);

    fake.sessions.end(&headers);
    let ended = async { while stream.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the stream ends");
    drop(stream);
    assert_eq!(fake.sessions.open_consoles("ann"), 0);
}
