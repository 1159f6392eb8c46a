//! What a stranger may cost. The rest of the webhooks' behaviour is in `tests/e2e`.

use super::*;
use crate::log::memory::{Faults, MemoryLog, MemoryOptions};
use crate::metrics::Metrics;
use axum::body::Body;
use futures_util::{StreamExt as _, stream};
use std::convert::Infallible;
use std::time::Duration;
use switchboard_adapter_sdk::Secret;
use switchboard_webhook::{Webhook, WebhookConfig};
use tower_service::Service as _;

const TIMEOUT: Duration = Duration::from_secs(15);

/// The hook `/hooks/crm`, with this much room for bodies.
fn served(report_only: bool, room: usize) -> Router {
    let secret = Secret::new("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz".to_owned());
    let config = WebhookConfig {
        url: "https://crm.example/in".into(),
        secrets: vec![secret],
        address_kind: None,
        has_links: false,
    };
    let hook = Hook { adapter: Arc::new(Webhook::new("crm", config).unwrap()), report_only, public_url: None };
    let log = Arc::new(MemoryLog::new(&MemoryOptions::default()));
    routes(Arc::new(HookState {
        hooks: BTreeMap::from([("crm".to_owned(), hook)]),
        ingest: Ingest { log, metrics: Arc::new(Metrics::default()) },
        max_body: 1 << 20,
        read_timeout: TIMEOUT,
        room: Room::new(room),
        typing: Box::new(|_, _| {}),
    }))
}

/// A delivery that never ends: so many bytes, and then nothing.
fn stalled(bytes: usize, signed: bool) -> Request {
    let piece = Ok::<_, Infallible>(Bytes::from(vec![b'x'; bytes]));
    let body = Body::from_stream(stream::iter([piece]).chain(stream::pending()));
    let request = Request::post("/hooks/crm");
    let signature = [
        ("webhook-id", "m1".to_owned()),
        ("webhook-timestamp", (clock::now().0 / 1000).to_string()),
        ("webhook-signature", "v1,AAAA".to_owned()),
    ];
    let head = signature.into_iter().filter(|_| signed).fold(request, |r, (name, value)| r.header(name, value));
    head.body(body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_delivery_without_a_signature_is_not_waited_for() {
    let begun = tokio::time::Instant::now();
    let refused = served(false, 1 << 20).call(stalled(10, false)).await.unwrap();
    assert_eq!((refused.status(), begun.elapsed()), (StatusCode::UNAUTHORIZED, Duration::ZERO));
    let mut old = stalled(10, true);
    old.headers_mut().insert("webhook-timestamp", HeaderValue::from_static("1700000000"));
    let refused = served(false, 1 << 20).call(old).await.unwrap();
    assert_eq!((refused.status(), begun.elapsed()), (StatusCode::FORBIDDEN, Duration::ZERO));
    let reported = served(true, 1 << 20).call(stalled(10, false)).await.unwrap();
    assert_eq!((reported.status(), begun.elapsed()), (StatusCode::REQUEST_TIMEOUT, TIMEOUT));
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_only_reports_takes_a_body_without_a_signature() {
    let whole = Request::post("/hooks/crm").body(Body::from("{}")).unwrap();
    let taken = served(true, 1 << 20).call(whole).await.unwrap();
    assert_eq!(taken.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn stalled_bodies_take_no_more_than_their_room_and_give_it_back() {
    let router = served(false, 100);
    let mut waiting = vec![];
    for _ in 0..10 {
        let mut router = router.clone();
        waiting.push(tokio::spawn(async move { router.call(stalled(30, true)).await.unwrap() }));
    }
    let mut answers = vec![];
    for one in waiting {
        let response = one.await.unwrap();
        let retry = response.headers().get(header::RETRY_AFTER).map(|v| v.to_str().unwrap().to_owned());
        answers.push((response.status().as_u16(), retry));
    }
    answers.sort();
    let (slow, full) = answers.split_at(3);
    assert!(slow.iter().all(|a| *a == (408, None)), "{answers:?}");
    assert!(full.iter().all(|a| *a == (503, Some("5".to_owned()))), "{answers:?}");
    let again = router.clone().call(stalled(100, true)).await.unwrap();
    assert_eq!(again.status(), StatusCode::REQUEST_TIMEOUT);
}

/// X withdraws a webhook whose challenge is not answered: it is, while the log takes nothing and no body has room.
#[tokio::test(start_paused = true)]
async fn a_challenge_is_answered_while_nothing_can_be_stored() {
    use switchboard_adapter_sdk::{Settings, settings::Value};
    let secret = |text: &str| Value::Secrets(vec![Secret::new(text)]);
    let settings = Settings::new("handle", None)
        .with("user_id", Value::Text("1".into()))
        .with("consumer_key", Value::Text("key".into()))
        .with("consumer_secret", secret("apiSecret"))
        .with("access_token", secret("token"))
        .with("access_token_secret", secret("secret"));
    let hook =
        Hook { adapter: (switchboard_twitter::KIND.build)(&settings).unwrap(), report_only: false, public_url: None };
    let faults = Faults { request_lost: 1000, lost_read: 1000, ..Faults::default() };
    let log = Arc::new(MemoryLog::new(&MemoryOptions { faults, ..MemoryOptions::default() }));
    let mut router = routes(Arc::new(HookState {
        hooks: BTreeMap::from([("handle".to_owned(), hook)]),
        ingest: Ingest { log, metrics: Arc::new(Metrics::default()) },
        max_body: 1 << 20,
        read_timeout: TIMEOUT,
        room: Room::new(0),
        typing: Box::new(|_, _| {}),
    }));
    let signed = Request::post("/hooks/handle")
        .header("x-twitter-webhooks-signature", "sha256=DX2DwsCk/YftJ1dJGQaTrJXEXyP4NJgb99yZieE6cIE=")
        .body(Body::from("{\"for_user_id\":\"4337869213\",\"direct_message_events\":[]}"))
        .unwrap();
    assert_eq!(router.call(signed).await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    for _ in 0..1000 {
        let challenge = Request::get("/hooks/handle?crc_token=test+token").body(Body::empty()).unwrap();
        let answer = router.call(challenge).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let body = axum::body::to_bytes(answer.into_body(), 1000).await.unwrap();
        assert_eq!(body, "{\"response_token\":\"sha256=O5hJl2njQRIa4vsumZ+3oom9ECR5m3aQLRZkPoYelp0=\"}");
    }
}
