use crate::client::{Server, hello};
use crate::fake::Fake;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use switchboard::http::chat::Timing;
use switchboard_webchat::WebchatConfig;

async fn start(fake: &Arc<Fake>) -> Server {
    let config = WebchatConfig { origins: vec!["https://shop.example".into()], ..WebchatConfig::default() };
    Server::start(fake.daemon(config, Timing::default())).await
}

async fn session(server: &Server) -> (String, Value) {
    let welcome = server.post("/chat/site/session", &[], &json!({})).await;
    assert_eq!(welcome.status, 200);
    let welcome = welcome.json();
    (format!("Bearer {}", welcome["token"].as_str().unwrap()), welcome)
}

#[tokio::test]
async fn a_whole_conversation_goes_over_plain_requests() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let (bearer, welcome) = session(&server).await;
    let visitor = welcome["visitor"].as_str().unwrap();
    let auth = [("authorization", bearer.as_str()), ("idempotency-key", "c1")];
    let ack = server
        .post(
            "/chat/site/messages",
            &auth,
            &json!({ "text": "hello", "page": { "url": "https://shop.example/kettle" } }),
        )
        .await;
    assert_eq!((ack.status, &ack.json()["client_id"]), (200, &json!("c1")));
    let again = server.post("/chat/site/messages", &auth, &json!({ "text": "hello" })).await.json();
    assert_eq!(again["duplicate"], true);
    assert_eq!(fake.heard(), ["hello"]);
    let first = server.get("/chat/site/events?after=0&wait=25", &auth[..1]).await.json();
    assert_eq!(first["events"][0]["text"], "hello");
    let seq = first["last_seq"].as_u64().unwrap();
    // A poll that waits is answered by the reply, not by the clock.
    let asked = Instant::now();
    let path = format!("/chat/site/events?after={seq}&wait=25");
    let poll = server.get(&path, &auth[..1]);
    let answer = async {
        super::socket::eventually("the poll listens", || fake.wakes.listeners("site", visitor) == 1).await;
        fake.reply(visitor, Some("Dana"), "Hi!", &[])
    };
    let (news, reply) = tokio::join!(poll, answer);
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert_eq!(news.json()["events"][0]["text"], "Hi!");
    let read = server.post("/chat/site/messages", &auth[..1], &json!({ "type": "read", "up_to_seq": reply })).await;
    assert_eq!(read.status, 204);
    // No message of ours is there.
    let none = server.post("/chat/site/messages", &auth[..1], &json!({ "type": "read", "up_to_seq": reply + 1 })).await;
    assert_eq!(none.status, 204);
    assert_eq!(fake.confirmed(), [(reply, true)]);
    // A socket continues the same thread.
    let (_, resumed) = server.welcome(json!({ "type": "hello", "v": 1, "token": welcome["token"] })).await;
    assert_eq!(resumed["last_seq"], reply);
}

#[tokio::test]
async fn a_poll_without_news_ends_with_its_wait() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let (bearer, _) = session(&server).await;
    let asked = Instant::now();
    let none = server.get("/chat/site/events?after=0&wait=1", &[("authorization", &bearer)]).await;
    assert_eq!((none.status, none.json()["events"].clone()), (200, json!([])));
    assert!(asked.elapsed() >= Duration::from_millis(950), "{:?}", asked.elapsed());
    // A drain ends the wait at once.
    let auth = [("authorization", bearer.as_str())];
    let poll = server.get("/chat/site/events?after=0&wait=25", &auth);
    let drain = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.state.drain();
    };
    let (answer, ()) = tokio::join!(poll, drain);
    assert_eq!(answer.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn every_refusal_has_its_status() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let (bearer, _) = session(&server).await;
    let auth = [("authorization", bearer.as_str())];
    let message = json!({ "client_id": "c1", "text": "x" });
    for (path, headers, body, status) in [
        ("/chat/none/session", &[][..], json!({}), 404),
        ("/chat/site/messages", &[], message.clone(), 401),
        ("/chat/site/messages", &[("authorization", "Bearer v1.x")], message.clone(), 401),
        ("/chat/site/messages", &[("authorization", "Basic abc")], message.clone(), 401),
        ("/chat/site/session", &[], json!({ "token": "v1.forged" }), 401),
        ("/chat/site/session", &[], json!([1]), 400),
        ("/chat/site/session", &[], json!({ "x": "y".repeat(9000) }), 413),
        ("/chat/site/session", &[("origin", "https://evil.example")], json!({}), 403),
        ("/chat/site/messages", &auth, json!({ "text": "no client_id" }), 400),
        ("/chat/site/messages", &auth, json!("x"), 400),
        ("/chat/site/messages", &auth, json!({ "type": "hello" }), 400),
        ("/chat/site/messages", &auth, json!({ "client_id": "c", "text": "" }), 422),
        ("/chat/site/messages", &auth, json!({ "client_id": "c", "text": "x".repeat(4001) }), 422),
        ("/chat/site/messages", &auth, json!({ "client_id": "c", "text": "x".repeat(40_000) }), 413),
        // Four thousand characters of any script are more than a frame of the socket holds.
        ("/chat/site/messages", &auth, json!({ "client_id": "c", "text": "😀".repeat(4000) }), 200),
    ] {
        let answer = server.post(path, headers, &body).await;
        assert_eq!(answer.status, status, "{path} {body:.60}");
    }
    let differ = [auth[0], ("idempotency-key", "other")];
    assert_eq!(server.post("/chat/site/messages", &differ, &message).await.status, 400);
    assert_eq!(server.get("/chat/site/events?after=x", &auth).await.status, 400);
    assert_eq!(server.get("/chat/site/events", &[]).await.status, 401);
    fake.full.store(true, Ordering::SeqCst);
    let full = server.post("/chat/site/messages", &auth, &message).await;
    assert_eq!((full.status, full.header("retry-after")), (503, Some("10")));
    let mut limited = 0;
    for n in 0..40 {
        let answer = server.post("/chat/site/messages", &auth, &json!({ "type": "typing", "n": n })).await;
        limited += u32::from(answer.status == 429);
    }
    assert!(limited > 0, "forty requests at once passed");
}

#[tokio::test]
async fn only_listed_pages_may_read_the_answers() {
    let fake = Fake::new();
    let server = start(&fake).await;
    let shop = [("origin", "https://shop.example")];
    let answer = server.post("/chat/site/session", &shop, &json!({})).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example"));
    assert_eq!(answer.header("vary"), Some("origin"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    for path in ["session", "events", "messages", "files", "files/aa"] {
        let asked = server.request("OPTIONS", &format!("/chat/site/{path}"), &shop, b"").await;
        assert_eq!(asked.status, 204, "{path}");
        assert!(asked.header("access-control-allow-headers").unwrap().contains("authorization"));
        let refused =
            server.request("OPTIONS", &format!("/chat/site/{path}"), &[("origin", "https://evil.example")], b"").await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, None), "{path}");
    }
    // Errors can be read by the page too, so that the widget can say what is wrong.
    let error = server.post("/chat/site/messages", &shop, &json!({})).await;
    assert_eq!((error.status, error.header("access-control-allow-origin")), (401, Some("https://shop.example")));
    let (_, welcome) = server.welcome(hello()).await;
    assert!(welcome["token"].as_str().unwrap().starts_with("v1."));
}
