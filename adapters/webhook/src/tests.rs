use super::*;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};
use switchboard_adapter_sdk::{
    CallError, Response,
    signature::{Mac, from_base64, to_base64},
    testkit::{self, Fixture, Kit},
};
use switchboard_envelope::{Address, Author, Content, Message, Outcome};

mod reading;
mod sending;
mod signing;

const NOW: Timestamp = Timestamp(1_795_298_400_000);
/// 24 and 32 bytes.
const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
const OLD_SECRET: &str = "whsec_b2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xkb2xkb2w=";

fn config() -> WebhookConfig {
    WebhookConfig {
        url: "https://crm.example/switchboard?tenant=7".into(),
        secrets: vec![Secret::new(SECRET)],
        address_kind: None,
        has_links: true,
    }
}

fn adapter() -> Webhook {
    Webhook::new("crm", config()).unwrap()
}

/// The signature as the specification words it, made without the adapter's code.
fn tag(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let key = from_base64(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let data = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    format!("v1,{}", to_base64(&Mac::sha256(&key).sign(&data)))
}

fn request(headers: &[(&'static str, &str)], body: &[u8]) -> RawRequest {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    RawRequest {
        method: Method::POST,
        path: String::new(),
        query: String::new(),
        headers: map,
        body: Bytes::copy_from_slice(body),
        url: "https://hooks.shop.example/hooks/crm".into(),
        received_at: NOW,
    }
}

fn signed(id: &str, body: &[u8]) -> RawRequest {
    let timestamp = (NOW.0 / 1000).to_string();
    let tag = tag(SECRET, id, &timestamp, body);
    request(
        &[
            ("webhook-id", id),
            ("webhook-timestamp", &timestamp),
            ("webhook-signature", &tag),
            ("content-type", "application/json"),
        ],
        body,
    )
}

fn read(body: &Value) -> Vec<Inbound> {
    read_text(&body.to_string())
}

fn read_text(body: &str) -> Vec<Inbound> {
    let request = signed("msg_1", body.as_bytes());
    assert_eq!(adapter().verify(&request), Verdict::Genuine);
    let events = adapter().parse(&request);
    events.iter().for_each(|event| event.validate().unwrap());
    events
}

fn message(events: &[Inbound]) -> &Message {
    let [Inbound::Message(message)] = events else { panic!("not one message: {events:?}") };
    message
}

fn reason(events: &[Inbound]) -> &str {
    let [Inbound::Unparsed(unparsed)] = events else { panic!("not one unparsed: {events:?}") };
    &unparsed.reason
}

fn send(text: &str) -> Send {
    Send {
        send: "m0123456789abcdef".into(),
        part: 1,
        n: 2,
        until: NOW.plus(120_000),
        channel: "crm".into(),
        conversation: "c0123456789abcdef".into(),
        thread: "t-1".into(),
        to: Address::new("crm", "42"),
        content: Content::text(text),
        author: Author::Agent { id: "ann".into() },
        reply_to: vec!["evt_1".into()],
        traceparent: None,
        mail: None,
        window_until: None,
    }
}

#[test]
fn a_token_in_the_address_is_shown_to_nobody() {
    let config = WebhookConfig { url: "https://crm.example/in?token=sesame-42".into(), ..config() };
    let shown = format!("{config:?} {:?}", Webhook::new("crm", config.clone()).unwrap());
    assert!(!shown.contains("sesame") && shown.contains("crm.example"), "{shown}");
}

#[test]
fn the_adapter_keeps_the_promises_of_its_kit() {
    let fixtures = [
        json!({ "type": "message", "from": "42", "text": "Where is my order?" }),
        json!({ "v": 1, "type": "receipt", "provider_id": "7", "status": "read" }),
        json!({ "type": "consent", "address": "42", "state": "opted_out" }),
        json!({ "type": "echo", "to": "42", "text": "from the CRM" }),
        json!({ "type": "contact.created", "data": {} }),
    ];
    let fixtures: Vec<Fixture> = fixtures
        .iter()
        .enumerate()
        .map(|(i, body)| Fixture {
            name: body["type"].to_string(),
            request: signed(&format!("msg_{i}"), body.to_string().as_bytes()),
        })
        .collect();
    let adapter = adapter();
    let kit = Kit {
        adapter: &adapter,
        fixtures: &fixtures,
        signature_headers: &["webhook-signature", "webhook-id", "webhook-timestamp"],
        send: &send("hi"),
    };
    let failures = testkit::check(&kit);
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn settings_that_cannot_work_are_named_all_at_once() {
    let broken = WebhookConfig {
        url: "ftp://crm.example".into(),
        secrets: vec![Secret::new("whsec_c2hvcnQ="), Secret::new("plain-text-secret")],
        address_kind: Some("A kind".into()),
        has_links: false,
    };
    let problems = Webhook::new("CRM", broken).unwrap_err();
    let keys: Vec<_> = problems.iter().map(|p| p.key).collect();
    assert_eq!(keys, ["id", "url", "address_kind", "secret", "secret"]);
    assert!(!format!("{problems:?}").contains("plain-text"), "no secret is shown");
    let none = WebhookConfig { secrets: vec![], ..config() };
    assert_eq!(Webhook::new("crm", none).unwrap_err()[0].to_string(), "channels.crm.secret: is missing");
    for (url, why) in [
        ("https://user:pass@crm.example", "must hold no user"),
        ("https://crm.example/#a", "must end before"),
        ("crm.example/x", "is not a web address"),
        ("https://", "is not a web address"),
    ] {
        assert!(endpoint(url).unwrap_err().starts_with(why), "{url}");
    }
    let long = "c".repeat(63);
    assert_eq!(Webhook::new(&long, config()).unwrap_err()[0].key, "address_kind", "an id may be longer than a kind");
}

#[test]
fn the_profile_says_that_repeats_are_dropped() {
    let profile = adapter().profile();
    assert!(profile.same_id_retry && profile.proactive && !profile.reconciles && !profile.push);
    assert_eq!((profile.kind.as_str(), profile.address_kind.as_str(), profile.no_files), ("webhook", "crm", None));
    let phones = WebhookConfig { address_kind: Some("phone".into()), has_links: false, ..config() };
    let profile = Webhook::new("crm", phones).unwrap().profile();
    assert_eq!(profile.address_kind, "phone");
    assert!(profile.no_files.unwrap().contains("http.public_url"));
}

#[test]
fn a_file_is_fetched_from_outside_or_from_the_receiver_itself() {
    let inside = Webhook::new("crm", WebhookConfig { url: "http://127.0.0.1:9000/hook".into(), ..config() }).unwrap();
    let fetch = |adapter: &Webhook, url: &str| {
        adapter.fetch(&Attachment { url: Some(url.into()), ..Attachment::default() }).map(|call| call.url)
    };
    let box_jpg = "https://files.example/box.jpg";
    assert_eq!(fetch(&inside, box_jpg).as_deref(), Some(box_jpg));
    assert_eq!(fetch(&inside, "http://127.0.0.1:9000/a").as_deref(), Some("http://127.0.0.1:9000/a"));
    for refused in [
        "http://127.0.0.1:9001/a",
        "http://169.254.169.254/latest/meta-data/",
        "http://localhost/a",
        "http://[::1]/a",
        "http://10.0.0.1/a",
        "https://u:p@files.example/a",
        "file:///etc/passwd",
        "not an address",
    ] {
        assert_eq!(fetch(&inside, refused), None, "{refused}");
    }
    assert_eq!(fetch(&adapter(), "http://127.0.0.1:9000/a"), None);
    assert!(inside.fetch(&Attachment::default()).is_none());
}
