use super::*;
use crate::fixtures;
use http::HeaderMap;
use proptest::prelude::*;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use switchboard_adapter_sdk::{
    settings::Value,
    testkit::{self, Fixture, Kit},
};
use switchboard_envelope::{Address, Author, Message, Outcome};

const NOW: Timestamp = Timestamp(1_795_298_400_000);
const HOOK: &str = "a-hook-secret-of-the-tests";

fn settings() -> Settings {
    let text = |text: &str| Value::Text(text.to_owned());
    let secret = |secret: &str| Value::Secrets(vec![Secret::new(secret)]);
    Settings::new("gateway", Some("https://hooks.shop.example"))
        .with("base_url", text("http://127.0.0.1:1401"))
        .with("username", text("tester"))
        .with("password", secret("foo&bar"))
        .with("from", text("+15005550006"))
        .with("hook_secret", secret(HOOK))
}

fn adapter() -> Jasmin {
    Jasmin::new(&settings()).unwrap()
}

fn request(path: &str, query: &str, form: &str) -> RawRequest {
    RawRequest {
        method: Method::POST,
        path: format!("/{HOOK}{path}"),
        query: query.into(),
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(form.as_bytes()),
        url: format!("https://hooks.shop.example/hooks/gateway/{HOOK}{path}?{query}"),
        received_at: NOW,
    }
}

fn parse(path: &str, query: &str, form: &str) -> Vec<Inbound> {
    let request = request(path, query, form);
    assert_eq!(adapter().verify(&request), Verdict::Genuine);
    let events = adapter().parse(&request);
    events.iter().for_each(|event| event.validate().unwrap());
    events
}

fn message(events: &[Inbound]) -> &Message {
    let [Inbound::Message(message)] = events else { panic!("not one message: {events:?}") };
    message
}

fn corpus(kind: &str) -> Vec<Json> {
    let all = fixtures::json("kannel/jasmin.json")[kind].as_array().unwrap().clone();
    assert!(all.len() >= 2, "{kind}: {} rows", all.len());
    all
}

fn send(text: &str) -> Send {
    Send {
        send: "tok-1".into(),
        part: 1,
        n: 2,
        until: NOW.plus(600_000),
        channel: "gateway".into(),
        conversation: "c1".into(),
        thread: "+15005550009".into(),
        to: Address::new("phone", "+15005550009"),
        content: Content::text(text),
        author: Author::Agent { id: "ann".into() },
        reply_to: vec![],
        traceparent: None,
        mail: None,
        window_until: None,
    }
}

fn classify(status: u16, body: &str) -> AttemptOutcome {
    let answer = Response { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) };
    adapter().classify(&send("hi"), &Ok(answer), NOW)
}

#[test]
fn every_recorded_message_is_read() {
    for row in corpus("mo") {
        let form = row["form"].as_str().unwrap();
        let events = parse("/in", "", form);
        let message = message(&events);
        assert_eq!(row["expected"]["text"], message.content.text, "{form}");
        if let Some(sender) = row["expected"]["sender"].as_str() {
            assert_eq!(message.thread, sender, "{form}");
        }
    }
    let digits = Jasmin::new(&settings().with("numbers", Value::Text("digits".into()))).unwrap();
    let events = digits.parse(&request("/in", "", "id=1&from=15005550009&to=24453&content=x"));
    assert_eq!(message(&events).from, Address::new("phone", "+15005550009"));
    assert_eq!(message(&events).to, Some(Address::new("sender", "24453")));
}

#[test]
fn every_recorded_report_is_read() {
    for row in corpus("dlr") {
        let form = row["form"].as_str().unwrap();
        let events = parse("/status", "send=tok-1&part=1&n=2", form);
        let [Inbound::Receipt(receipt)] = events.as_slice() else { panic!("{form}: {events:?}") };
        let wanted = match row["expected"].as_str().unwrap() {
            "delivered" => ReceiptStatus::Delivered,
            "failed" => ReceiptStatus::Failed,
            // Jasmin tries again by itself.
            "sent" | "retry" => ReceiptStatus::Accepted,
            other => panic!("{other}"),
        };
        assert_eq!(receipt.status, wanted, "{form}");
        assert_eq!((receipt.send.as_deref(), receipt.n), (Some("tok-1"), Some(2)));
        assert_eq!(receipt.code.is_some(), wanted == ReceiptStatus::Failed);
    }
    for (word, wanted) in [
        ("ESME_RINVDSTADR", Some(ReceiptStatus::Failed)),
        ("ESME_RSOMETHINGNEW", Some(ReceiptStatus::Failed)),
        ("ENROUTE", Some(ReceiptStatus::Accepted)),
        ("UNKNOWN", None),
        ("WHATEVER", None),
        ("ESME_RO%00%001", None),
        ("ESME_R%0aX", None),
        (&format!("ESME_R{}", "X".repeat(2000)), None),
    ] {
        let seen = parse("/status", "", &format!("id=7&message_status={word}"));
        let status = seen.first().and_then(|event| match event {
            Inbound::Receipt(receipt) => Some(receipt.status),
            _ => None,
        });
        assert_eq!(status, wanted, "{word}");
    }
}

#[test]
fn every_recorded_answer_has_its_outcome() {
    for row in corpus("send") {
        let status = u16::try_from(row["http"].as_u64().unwrap()).unwrap();
        let outcome = classify(status, row["body"].as_str().unwrap());
        let wanted = match row["meaning"].as_str() {
            None => (Outcome::Accepted, false),
            Some("permanent") => (Outcome::Rejected, false),
            Some("configuration") => (Outcome::NotSent, true),
            Some("retry") => (Outcome::NotSent, false),
            Some(other) => panic!("{other}"),
        };
        assert_eq!((outcome.outcome, outcome.channel_refused), wanted, "{row}");
    }
    for (status, row) in ANSWERS {
        let outcome = classify(*status, &format!("Error \"{} and more\"", row.code));
        assert_eq!(outcome.outcome, row.class.outcome(), "{}", row.code);
        assert_eq!(outcome.detail.as_deref(), Some(row.sentence));
    }
    use Outcome::{NotSent, Rejected, Unknown};
    for (status, body, wanted) in [
        (200, "Success", Unknown),
        (200, "Success \"\"", Unknown),
        (200, "<html>", Unknown),
        (202, "Success \"x\"", Unknown),
        (400, "Error \"Mandatory argument [to] is not found.\"", Rejected),
        (403, "<html>", NotSent),
        (404, "", NotSent),
        (500, "Error \"something else\"", Unknown),
        (502, "", Unknown),
    ] {
        assert_eq!(classify(status, body).outcome, wanted, "{status} {body}");
    }
    assert_eq!(classify(200, "Success \"07033084-5cfd\"").provider_ids, ["07033084-5cfd"]);
}

#[test]
fn a_send_is_the_documented_form() {
    let fields = |text: &str| {
        let call = adapter().encode(&send(text)).unwrap();
        assert_eq!((call.method, call.url.as_str()), (Method::POST, "http://127.0.0.1:1401/send"));
        let CallBody::Bytes(FORM, body) = call.body else { panic!("not a form") };
        form_urlencoded::parse(&body).into_owned().collect::<BTreeMap<String, String>>()
    };
    let dlr = format!("https://hooks.shop.example/hooks/gateway/{HOOK}/status?send=tok-1&part=1&n=2");
    let wanted = [
        ("username", "tester"),
        ("password", "foo&bar"),
        ("to", "+15005550009"),
        ("from", "+15005550006"),
        ("coding", "0"),
        ("content", "Grüße & €"),
        ("dlr", "yes"),
        ("dlr-url", dlr.as_str()),
        ("dlr-level", "3"),
        ("dlr-method", "POST"),
    ];
    let wanted: BTreeMap<String, String> = wanted.map(|(k, v)| (k.into(), v.into())).into();
    assert_eq!(fields("Grüße & €"), wanted);
    let long = fields("Пр");
    assert_eq!((long["coding"].as_str(), long["hex-content"].as_str()), ("8", "041f0440"));
    assert!(!long.contains_key("content"));
    assert!(adapter().encode(&send("")).is_err());
}

#[test]
fn what_jasmin_says_is_acknowledged_in_its_words() {
    let reply = adapter().accepted(&request("/in", "", "x=1"));
    assert_eq!(Json::from(reply.body), fixtures::json("kannel/jasmin.json")["ack"]);
    assert_eq!(
        adapter().verify(&RawRequest { path: "/in".into(), ..request("", "", "") }),
        Verdict::Forged("the secret in the path is not `hook_secret`".into())
    );
}

#[test]
fn every_alphabet_is_read_and_binary_is_shown() {
    for (coding, bytes, text, is_binary) in [
        ("0", &b"\x05v\x05nement"[..], "événement", false),
        ("0", "é".as_bytes(), "é", false),
        ("1", b"abc", "abc", false),
        ("3", b"\xe9", "é", false),
        ("8", &[0xd8, 0x3d, 0xde, 0x00], "😀", false),
        ("4", &[1, 255], "[binary message of 2 bytes: 01ff]", true),
        ("9", b"x", "x", false),
    ] {
        assert_eq!(decoded(coding, bytes), (text.to_owned(), is_binary), "{coding}");
    }
    assert_eq!(message(&parse("/in", "", "id=1&from=1234&coding=8&binary=041f")).content.text, "П");
}

#[test]
fn the_conformance_kit_finds_nothing() {
    let mut fixtures: Vec<Fixture> = vec![];
    for (kind, path) in [("mo", "/in"), ("dlr", "/status")] {
        for (i, row) in corpus(kind).iter().enumerate() {
            let request = request(path, "send=tok-1&part=1&n=2", row["form"].as_str().unwrap());
            fixtures.push(Fixture { name: format!("{kind} {i}"), request });
        }
    }
    let (adapter, send) = (adapter(), send("hi"));
    let failures = testkit::check(&Kit { adapter: &adapter, fixtures: &fixtures, signature_headers: &[], send: &send });
    assert!(failures.is_empty(), "{failures:#?}");
}

proptest! {
    #[test]
    fn no_form_panics(path in "(/in|/status|)", form in "[a-z]{0,8}=(%[0-9a-fA-F]{0,2}|[a-z0-9&=+%]){0,40}") {
        adapter().parse(&request(&path, "", &form)).iter().for_each(|event| event.validate().unwrap());
    }
}
