//! What is not taken is delivered again as each provider does, with the same words, until it is.

use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use switchboard_simulators::{
    Dialect, GatewaySim, MetaConfig, MetaSigned, MetaSim, Repeats, TelegramSim, VonageConfig, VonageForm, VonageSigned,
    VonageSim, WebhookSim, XConfig, XSim,
    http::{Answer, Connection, Request},
};
use tokio::net::TcpListener;

/// So many times faster than a provider.
const FASTER: u32 = 100_000;

/// Somebody who refuses the first deliveries, and the requests that came.
struct Receiver {
    url: String,
    came: Arc<Mutex<Vec<Request>>>,
}

async fn receiver(refuses: usize, answer: &'static str) -> Receiver {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let came: Arc<Mutex<Vec<Request>>> = Arc::default();
    let kept = came.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut connection = Connection::new(stream);
            let Ok(Some(request)) = connection.read().await else { continue };
            let count = {
                let mut kept = kept.lock().expect("a lock");
                kept.push(request);
                kept.len()
            };
            let answer =
                if count > refuses { Answer::new(200, "text/plain", answer) } else { Answer::new(503, "x", "") };
            let _ = connection.write(&answer).await;
        }
    });
    Receiver { url, came }
}

impl Receiver {
    /// What came, which is each time the same.
    fn same(&self) -> usize {
        let came = self.came.lock().expect("a lock");
        assert!(came.windows(2).all(|two| two[0].body == two[1].body && two[0].path == two[1].path), "{came:?}");
        came.len()
    }
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

#[test]
fn the_schedules_are_those_of_the_providers() {
    let seconds = |repeats: Repeats| repeats.waits(1).map(|wait| wait.as_secs()).collect::<Vec<_>>();
    assert_eq!(seconds(Repeats::TWILIO), [0]);
    assert_eq!(seconds(Repeats::JASMIN), [30, 30, 30]);
    assert_eq!(seconds(Repeats::VONAGE).iter().sum::<u64>(), 24 * 3600 - 60);
    let day_and_a_half = seconds(Repeats::META).iter().sum::<u64>();
    assert!((24 * 3600..=36 * 3600).contains(&day_and_a_half), "{day_and_a_half}");
    assert!(seconds(Repeats::X).iter().sum::<u64>() <= 28 * 3600);
    assert_eq!(Repeats::JASMIN.waits(300).next(), Some(Duration::from_millis(100)));
}

#[tokio::test]
async fn what_is_not_taken_comes_again_until_it_is() {
    let (meta, x) = (MetaSim::start(MetaConfig::default()).await, XSim::start(XConfig::default()).await);
    let (meta, x) = (meta.expect("a port"), x.expect("a port"));
    let telegram = TelegramSim::start().await.expect("a port");
    let gateway = GatewaySim::start(Dialect::Json).await.expect("a port");
    let webhook = WebhookSim::start(&["whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"]).await.expect("a port");

    let at = receiver(3, "OK").await;
    let event = [meta.event("1", json!({ "message": { "mid": "m_1", "text": "hi" } }))];
    let page = || async { meta.page_says(&at.url, &event, MetaSigned::Well).await == 200 };
    assert_eq!(Repeats::META.until_taken(FASTER, page).await, Some(4));
    // What is around it says when it was delivered.
    let at = at.came.lock().expect("a lock").clone();
    let mid = |request: &Request| body(request).pointer("/entry/0/messaging/0/message/mid").cloned();
    assert!(at.len() == 4 && at.iter().all(|request| mid(request) == Some(json!("m_1"))), "{at:?}");

    let at = receiver(3, "OK").await;
    let said = x.received(&[x.direct("7", "2", json!({ "text": "hi" }))]);
    let direct = || async { x.says(&at.url, &said).await == 200 };
    assert_eq!((Repeats::X.until_taken(FASTER, direct).await, at.same()), (Some(4), 4));

    let at = receiver(3, "OK").await;
    let update = telegram.message(7, &json!({ "text": "hi" }));
    let bot = || async { telegram.says(&at.url, &update, Some(TelegramSim::SECRET)).await.0 == 200 };
    assert_eq!((Repeats::TELEGRAM.until_taken(FASTER, bot).await, at.same()), (Some(4), 4));

    let at = receiver(3, "OK").await;
    let text = || async { gateway.says(&at.url, "1", "15550001", "hi").await == (200, true) };
    assert_eq!((Repeats::GATEWAY.until_taken(FASTER, text).await, at.same()), (Some(4), 4));

    let at = receiver(3, "OK").await;
    let said = json!({ "type": "message", "from": "customer-1", "text": "hi" });
    let hook = || async { matches!(webhook.send(&at.url, "1", &said).await, Ok(200)) };
    assert_eq!((Repeats::WEBHOOK.until_taken(10_000_000, hook).await, at.same()), (Some(4), 4));
}

#[tokio::test]
async fn vonage_comes_again_with_the_same_message() {
    let vonage = VonageSim::start(VonageConfig::default()).await.expect("a port");
    let at = receiver(2, "").await;
    let text = || async {
        let (form, signed) = (VonageForm::Json, VonageSigned::Not);
        vonage.deliver(&at.url, "0A", "447700900001", "hi", None, form, signed).await == 200
    };
    assert_eq!(Repeats::VONAGE.until_taken(FASTER, text).await, Some(3));
    let came = at.came.lock().expect("a lock");
    assert!(came.len() == 3 && came.iter().all(|request| body(request)["messageId"] == "0A"), "{came:?}");
}

#[tokio::test]
async fn who_gives_up_has_delivered_as_often_as_its_provider_does() {
    let jasmin = GatewaySim::start(Dialect::Jasmin).await.expect("a port");
    let at = receiver(usize::MAX, "").await;
    let text = || async { jasmin.says(&at.url, "1", "15550001", "hi").await == (200, true) };
    assert_eq!((Repeats::JASMIN.until_taken(FASTER, text).await, at.same()), (None, 4));
    // What is answered 200 without its word was not taken either.
    let at = receiver(0, "ACK/Other").await;
    let text = || async { jasmin.says(&at.url, "1", "15550001", "hi").await == (200, true) };
    assert_eq!((Repeats::JASMIN.until_taken(FASTER, text).await, at.same()), (None, 4));
}
