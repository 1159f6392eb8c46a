//! What one visitor, one address or one page may not take from everybody else.

use crate::client::{Server, hello};
use crate::fake::Fake;
use crate::socket::eventually;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use switchboard::http::chat::Timing;
use switchboard_webchat::WebchatConfig;

const EVIL: (&str, &str) = ("origin", "https://evil.example");

async fn start(fake: &Arc<Fake>, timing: Timing) -> Server {
    let config = WebchatConfig { origins: vec!["https://shop.example".into()], ..WebchatConfig::default() };
    Server::start(fake.daemon(config, timing)).await
}

/// A new visitor's `Authorization`.
async fn visitor(server: &Server) -> String {
    let welcome = server.post("/chat/site/session", &[], &json!({})).await.json();
    format!("Bearer {}", welcome["token"].as_str().unwrap())
}

fn message(n: usize) -> Value {
    json!({ "client_id": format!("c{n}"), "text": format!("message {n}") })
}

/// What a bucket of this size and rate has given at most since then.
fn most(burst: f64, per_second: f64, since: Instant) -> usize {
    (burst + per_second * since.elapsed().as_secs_f64()).ceil() as usize
}

#[tokio::test]
async fn an_address_says_and_begins_no_more_by_making_more_visitors() {
    let fake = Fake::new();
    let server = start(&fake, Timing::default()).await;
    let mut visitors = vec![];
    for _ in 0..40 {
        visitors.push(visitor(&server).await);
    }
    let begun = Instant::now();
    let mut known = vec![];
    for (n, visitor) in visitors.iter().enumerate() {
        // Of one IPv6 network, each from another address of it.
        let ip = format!("2001:db8::{n:x}");
        let auth = [("authorization", visitor.as_str()), ("x-at", ip.as_str())];
        match server.post("/chat/site/messages", &auth, &message(0)).await.status {
            200 => known.push(visitor),
            status => assert_eq!(status, 429),
        }
    }
    assert!((30..=most(30.0, 1.0, begun)).contains(&known.len()), "{} conversations were begun", known.len());
    assert!(known.len() < 40);
    let elsewhere = [("authorization", visitors[39].as_str()), ("x-at", "2001:db8:0:1::1")];
    assert_eq!(server.post("/chat/site/messages", &elsewhere, &message(0)).await.status, 200);

    let mut socket = server.handshake(&[("x-at", "2001:db8::1")]).await.expect("a socket");
    socket.say(hello()).await;
    socket.until("welcome").await;
    let mut limited = 0;
    for n in 1..=150 {
        let auth = [("authorization", known[n % known.len()].as_str()), ("x-at", "2001:db8::2")];
        limited += usize::from(server.post("/chat/site/messages", &auth, &message(n)).await.status == 429);
    }
    assert!(limited > 0, "150 messages of one network passed");
    let said = fake.heard().len() - 1;
    assert!(said <= most(100.0, 10.0, begun), "{said} messages");
    socket.message("c1", "over a socket").await;
    let refused = socket.until("error").await;
    assert_eq!((&refused["code"], &refused["client_id"]), (&json!("rate_limited"), &json!("c1")));
}

#[tokio::test]
async fn nobody_keeps_others_from_uploading() {
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n-not-really-a-picture";
    let fake = Fake::new();
    let server = start(&fake, Timing { pause: Duration::from_secs(1), ..Timing::default() }).await;
    let path = "/chat/site/files?name=a.png";
    let (ann, bob, cem) = (visitor(&server).await, visitor(&server).await, visitor(&server).await);
    let here = |who: &'static str, auth: &str| [("authorization", auth.to_owned()), ("x-at", who.to_owned())];
    let put = async |who: &'static str, auth: &str| {
        let headers = here(who, auth);
        let headers = [(headers[0].0, headers[0].1.as_str()), (headers[1].0, headers[1].1.as_str())];
        server.request("POST", path, &headers, PNG).await.status
    };
    let mut stalled = vec![];
    for auth in [&ann, &ann, &bob] {
        stalled.push(server.stalled(path, &[("authorization", auth.as_str()), ("x-at", "192.0.2.1")]).await);
    }
    let mut refused = (0, 0);
    for _ in 0..5 {
        refused = (put("192.0.2.9", &ann).await, put("192.0.2.1", &cem).await);
        if refused == (503, 503) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(refused, (503, 503), "a third one of a visitor, and a fourth of an address");
    assert_eq!(put("192.0.2.9", &bob).await, 201);
    // Who sends nothing for a while loses the place.
    for answer in stalled {
        assert_eq!(answer.await.unwrap().status, 400);
    }
    assert_eq!((put("192.0.2.9", &ann).await, put("192.0.2.1", &cem).await), (201, 201));
}

#[tokio::test]
async fn pages_that_are_not_listed_are_metered_and_take_few_sockets() {
    let fake = Fake::new();
    let server = start(&fake, Timing::default()).await;
    let mut held = vec![];
    let mut plain = 0;
    for _ in 0..80 {
        match server.handshake(&[EVIL]).await {
            Ok(socket) => held.push(socket),
            Err(status) => plain += usize::from(status == 403),
        }
    }
    assert!(plain > 0 && held.len() + plain == 80, "{} sockets and {plain} answers", held.len());
    let shop = server.handshake(&[("origin", "https://shop.example")]).await;
    shop.expect("a listed page has its socket").say(hello()).await;
    let mut limited = 0;
    for _ in 0..150 {
        let answer = server.post("/chat/site/session", &[EVIL, ("x-at", "192.0.2.1")], &json!({})).await;
        limited += usize::from(answer.status == 429);
    }
    assert!(limited > 0, "150 calls of a page that is not listed passed");
}

/// What is logged, line by line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn pages_that_are_not_listed_do_not_fill_the_log() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    // This test's thread is the server's, too.
    let _here = tracing::subscriber::set_default(subscriber);
    let fake = Fake::new();
    let server = start(&fake, Timing::default()).await;
    for _ in 0..20 {
        assert_eq!(server.post("/chat/site/session", &[EVIL], &json!({})).await.status, 403);
        drop(server.handshake(&[EVIL]).await);
    }
    let text = || String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    eventually("the log tells of it", || text().contains("refused a page")).await;
    assert_eq!(text().matches("refused a page").count(), 1, "{}", text());
}
