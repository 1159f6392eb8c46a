//! What a stranger may cost. The rest of the webhooks' behaviour is in `tests/e2e`.

use super::*;
use crate::inbound::whose::tests::number;
use crate::log::memory::{Faults, MemoryLog, MemoryOptions};
use crate::metrics::Metrics;
use axum::body::Body;
use futures_util::{StreamExt as _, stream};
use std::convert::Infallible;
use std::time::Duration;
use switchboard_adapter_sdk::Secret;
use switchboard_routing_rules::ids::Salt;
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

/// X withdraws a webhook whose challenge is not answered within ten seconds: hundreds at a time are, while the log takes nothing and
/// bodies that do not end have all the room.
#[tokio::test(start_paused = true)]
async fn challenges_are_answered_while_nothing_can_be_stored_and_no_body_has_room() {
    use switchboard_adapter_sdk::{
        Settings,
        settings::Value,
        signature::{Mac, to_base64},
    };
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
        room: Room::new(400),
        typing: Box::new(|_, _| {}),
    }));
    let delivery = |signature: &str, body: Body| {
        let head = Request::post("/hooks/handle").header("x-twitter-webhooks-signature", signature);
        head.body(body).unwrap()
    };
    let direct = r#"{"for_user_id":"1","direct_message_events":[{"type":"message_create","id":"7","created_timestamp":"1518452444662","message_create":{"target":{"recipient_id":"1"},"sender_id":"2","message_data":{"text":"hello"}}}]}"#;
    let signature = format!("sha256={}", to_base64(&Mac::sha256(b"apiSecret").sign(direct.as_bytes())));
    let unstored = router.call(delivery(&signature, Body::from(direct))).await.unwrap();
    assert_eq!(unstored.status(), StatusCode::SERVICE_UNAVAILABLE, "the log takes nothing");
    // What holds no event needs no log, as long as there is room for it.
    let empty = "{\"for_user_id\":\"4337869213\",\"direct_message_events\":[]}";
    let signature = "sha256=DX2DwsCk/YftJ1dJGQaTrJXEXyP4NJgb99yZieE6cIE=";
    assert_eq!(router.call(delivery(signature, Body::from(empty))).await.unwrap().status(), StatusCode::OK);
    let mut held = vec![];
    for _ in 0..4 {
        let piece = Ok::<_, Infallible>(Bytes::from(vec![b'x'; 100]));
        let stalled = delivery(signature, Body::from_stream(stream::iter([piece]).chain(stream::pending())));
        let mut router = router.clone();
        held.push(tokio::spawn(async move { router.call(stalled).await.unwrap().status() }));
    }
    // Time passes here only once all of them wait.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let full = router.call(delivery(signature, Body::from(empty))).await.unwrap();
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE, "and bodies that do not end have all the room");
    for _ in 0..5 {
        let ask = |_| {
            let mut router = router.clone();
            let challenge = Request::get("/hooks/handle?crc_token=test+token").body(Body::empty()).unwrap();
            tokio::spawn(async move { router.call(challenge).await.unwrap() })
        };
        let asked: Vec<_> = (0..200).map(ask).collect();
        for one in asked {
            let answer = tokio::time::timeout(Duration::from_secs(10), one).await.expect("an answer in time").unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            let body = axum::body::to_bytes(answer.into_body(), 1000).await.unwrap();
            assert_eq!(body, "{\"response_token\":\"sha256=O5hJl2njQRIa4vsumZ+3oom9ECR5m3aQLRZkPoYelp0=\"}");
        }
    }
    for one in held {
        assert_eq!(one.await.unwrap(), StatusCode::REQUEST_TIMEOUT, "they held it meanwhile");
    }
}

/// Where a secret stands in the path; what it hears breaks the envelope's rules.
struct Odd;

impl Adapter for Odd {
    fn profile(&self) -> switchboard_envelope::ChannelProfile {
        switchboard_envelope::ChannelProfile::new("sms", "phone")
    }

    fn verify(&self, _: &RawRequest) -> Verdict {
        Verdict::Genuine
    }

    fn parse(&self, request: &RawRequest) -> Vec<Inbound> {
        vec![Inbound::Consent(switchboard_envelope::ConsentChange {
            id: "gateway:consent:1".into(),
            channel: "gateway".into(),
            address: switchboard_envelope::Address::new("phone", ""),
            state: switchboard_envelope::ConsentState::OptedOut,
            at: request.received_at,
            reason: None,
            topic: None,
        })]
    }

    fn kept_path<'a>(&self, path: &'a str) -> &'a str {
        path.strip_prefix("/a-s3cret").unwrap_or_default()
    }

    fn reparse(&self, _: &Raw, _: Bytes, _: switchboard_envelope::Timestamp) -> Vec<Inbound> {
        vec![]
    }

    fn encode(
        &self,
        _: &switchboard_envelope::Send,
    ) -> Result<switchboard_adapter_sdk::Call, switchboard_adapter_sdk::AttemptOutcome> {
        unreachable!("nothing is sent")
    }

    fn classify(
        &self,
        _: &switchboard_envelope::Send,
        _: &switchboard_adapter_sdk::Answer,
        _: switchboard_envelope::Timestamp,
    ) -> switchboard_adapter_sdk::AttemptOutcome {
        unreachable!("nothing is sent")
    }
}

/// Hooks over a log that can be looked into.
fn hooks(adapters: Vec<(&str, Arc<dyn Adapter>, bool)>) -> (Router, MemoryLog) {
    counted(adapters, Arc::new(Metrics::default()))
}

fn counted(adapters: Vec<(&str, Arc<dyn Adapter>, bool)>, metrics: Arc<Metrics>) -> (Router, MemoryLog) {
    let log = MemoryLog::new(&MemoryOptions::default());
    let hook = |(id, adapter, report_only): (&str, Arc<dyn Adapter>, bool)| {
        (id.to_owned(), Hook { adapter, report_only, public_url: None })
    };
    let router = routes(Arc::new(HookState {
        hooks: adapters.into_iter().map(hook).collect(),
        ingest: Ingest { log: Arc::new(log.clone()), metrics },
        max_body: 1 << 20,
        read_timeout: TIMEOUT,
        room: Room::new(1 << 20),
        typing: Box::new(|_, _| {}),
    }));
    (router, log)
}

fn read(log: &MemoryLog) -> Vec<Inbound> {
    log.everything_in().iter().map(|stored| Inbound::from_slice(&stored.data).expect("an envelope")).collect()
}

#[tokio::test]
async fn what_an_adapter_makes_wrong_is_kept_without_the_secret_of_its_path() {
    let (mut router, log) = hooks(vec![("gateway", Arc::new(Odd), false)]);
    let call = Request::get("/hooks/gateway/a-s3cret/in?text=stop").body(Body::empty()).unwrap();
    assert_eq!(router.call(call).await.unwrap().status(), StatusCode::OK);
    let [Inbound::Unparsed(held)] = &read(&log)[..] else { panic!("{:?}", read(&log)) };
    assert_eq!((held.raw.meta["path"].as_str(), held.raw.meta["query"].as_str()), ("/in", "text=stop"));
    let kept = log.everything_in().iter().any(|stored| String::from_utf8_lossy(&stored.data).contains("s3cret"));
    assert!(!kept);
}

fn by_meta(hook: &str, secret: &str, body: &serde_json::Value) -> Request {
    use switchboard_adapter_sdk::signature::{Mac, to_hex};
    let tag = to_hex(&Mac::sha256(secret.as_bytes()).sign(body.to_string().as_bytes()));
    let request = Request::post(hook).header("x-hub-signature-256", format!("sha256={tag}"));
    request.body(Body::from(body.to_string())).unwrap()
}

fn closed(business: &str) -> serde_json::Value {
    news(business, &[("account_update", "ACCOUNT_DELETED")])
}

/// What is said of a business account and none of its numbers.
fn news(business: &str, events: &[(&str, &str)]) -> serde_json::Value {
    let change = |(field, event): &(&str, &str)| serde_json::json!({ "field": field, "value": { "event": event } });
    let changes: Vec<_> = events.iter().map(change).collect();
    serde_json::json!({ "object": "whatsapp_business_account", "entry": [{ "id": business, "changes": changes }] })
}

/// Nobody is paused by a guess.
#[tokio::test]
async fn an_account_that_is_closed_pauses_the_channel_that_has_it_and_no_other() {
    let first = |business| ("wa-a", number("wa-a", "1", "app", business), false);
    let second = |business| ("wa-b", number("wa-b", "2", "app", business), false);
    let foreign = || ("wa-c", number("wa-c", "3", "another app", None), false);
    for (channels, of, refused) in [
        (vec![first(None)], "77", Some("wa-a")),
        (vec![first(None), foreign()], "77", Some("wa-a")),
        (vec![first(None), second(None)], "77", None),
        (vec![first(Some("77")), second(Some("88"))], "77", Some("wa-a")),
        (vec![first(Some("77")), second(Some("88"))], "88", Some("wa-b")),
        (vec![first(Some("77")), second(Some("88"))], "99", None),
        (vec![first(None), second(Some("88"))], "88", Some("wa-b")),
    ] {
        let (mut router, log) = hooks(channels);
        let answer = router.call(by_meta("/hooks/wa-a", "app", &closed(of))).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        match (&read(&log)[..], refused) {
            ([Inbound::Refused(found)], Some(wanted)) => assert_eq!(found.channel, wanted, "{of}"),
            ([Inbound::Unparsed(held)], None) => assert_eq!(held.channel, "wa-a", "{of}"),
            (other, wanted) => panic!("{of}: {wanted:?} is not {other:?}"),
        }
    }
}

/// What is held can be read by who has the secret that signed it. A body that was only let through was signed by nobody.
#[tokio::test]
async fn what_is_held_of_a_stranger_says_whose_secret_signed_it() {
    let said = serde_json::json!({ "messages": [{ "from": "15005550009", "id": "wamid.1", "type": "text", "text": { "body": "hi" } }],
        "metadata": { "phone_number_id": "2" } });
    let change = serde_json::json!({ "field": "messages", "value": said });
    let body =
        serde_json::json!({ "object": "whatsapp_business_account", "entry": [{ "id": "77", "changes": [change] }] });
    for (secret, vouched) in [("app", true), ("another app", false)] {
        let (mut router, log) = hooks(vec![("wa-a", number("wa-a", "1", "app", None), true)]);
        let answer = router.call(by_meta("/hooks/wa-a", secret, &body)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let [Inbound::Unparsed(held)] = &read(&log)[..] else { panic!("{:?}", read(&log)) };
        let bytes = base64::engine::general_purpose::STANDARD.decode(held.raw.inline.as_ref().unwrap()).unwrap();
        let taken_by = number("wa-a", "1", "app", None);
        let again = |others: &[(&str, Arc<dyn Adapter>)]| {
            let others: Vec<Speaker<'_>> = others.iter().map(|(id, other)| (*id, other.as_ref())).collect();
            let bytes = Bytes::from(bytes.clone());
            let found = crate::inbound::reader(&held.raw, &bytes, ("wa-a", taken_by.as_ref()), &others);
            found.map(|(id, _)| id.to_owned())
        };
        let of_the_app = [("wa-b", number("wa-b", "2", "app", None))];
        assert_eq!(again(&of_the_app).ok().as_deref(), vouched.then_some("wa-b"));
        assert!(again(&[("wa-b", number("wa-b", "2", "another app", None))]).is_err(), "of another app");
        assert!(again(&[]).is_err());
    }
}

/// With two numbers of one business account, its news are no alarm; that it is closed is one, and that of somebody else's.
#[tokio::test]
async fn what_is_said_of_an_account_that_two_channels_could_have_is_held_and_no_alarm() {
    let first = |business| ("wa-a", number("wa-a", "1", "app", business), false);
    let second = |business| ("wa-b", number("wa-b", "2", "app", business), false);
    let (template, quality, gone) = (
        ("message_template_status_update", "APPROVED"),
        ("phone_number_quality_update", "FLAGGED"),
        ("account_update", "ACCOUNT_DELETED"),
    );
    for (channels, events, alarms) in [
        (vec![first(None), second(None)], vec![template, quality], 0),
        (vec![first(None), second(None)], vec![template, gone, quality], 1),
        (vec![first(Some("88")), second(None)], vec![template], 0),
        (vec![first(Some("88")), second(Some("88"))], vec![template, quality], 1),
    ] {
        let metrics = Arc::new(Metrics::default());
        let (mut router, log) = counted(channels, metrics.clone());
        let answer = router.call(by_meta("/hooks/wa-a", "app", &news("77", &events))).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(read(&log).len(), events.len(), "all of it is held");
        let counted = metrics.text(0, &switchboard_routing_rules::State::new(Salt([0; 16])), clock::now());
        let told = format!("switchboard_webhooks_total{{channel=\"wa-a\",verdict=\"stranger\"}} {alarms}");
        assert_eq!(counted.contains("stranger"), alarms > 0, "{counted}");
        assert!(alarms == 0 || counted.contains(&told), "{counted}");
    }
}

/// A number of another app could have the account as well, but did not sign what is said of it.
#[tokio::test]
async fn what_a_channel_holds_of_its_own_says_who_signed_it_too() {
    let own = || ("wa-a", number("wa-a", "1", "app", None), false);
    let foreign = || ("wa-b", number("wa-b", "2", "another app", None), false);
    let (mut router, log) = hooks(vec![own(), foreign()]);
    let said = news("77", &[("message_template_status_update", "APPROVED")]);
    assert_eq!(router.call(by_meta("/hooks/wa-a", "app", &said)).await.unwrap().status(), StatusCode::OK);
    let [Inbound::Unparsed(held)] = &read(&log)[..] else { panic!("{:?}", read(&log)) };
    let bytes = base64::engine::general_purpose::STANDARD.decode(held.raw.inline.as_ref().unwrap()).unwrap();
    let (own, foreign) = (own(), foreign());
    let others: [Speaker<'_>; 1] = [(foreign.0, foreign.1.as_ref())];
    let found = crate::inbound::reader(&held.raw, &bytes.into(), (own.0, own.1.as_ref()), &others);
    assert_eq!(found.map(|(id, _)| id), Ok("wa-a"));
}
