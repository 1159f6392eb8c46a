use super::*;
use crate::provider;
use http::{HeaderMap, Method};
use std::sync::Arc;
use switchboard_adapter_sdk::{
    CallBody, Secret,
    settings::Value,
    testkit::{self, Fixture, Kit},
};
use switchboard_envelope::{Address, Author, Content, Outcome};

const NOW: Timestamp = Timestamp(1_795_298_400_000);
const HOOK: &str = "a-hook-secret-of-the-tests";

fn settings() -> Settings {
    let text = |text: &str| Value::Text(text.to_owned());
    let secret = |secret: &str| Value::Secrets(vec![Secret::new(secret)]);
    Settings::new("gateway", Some("https://hooks.shop.example"))
        .with("base_url", text("http://127.0.0.1:1401"))
        .with("username", text("tester"))
        .with("password", secret("foobar"))
        .with("from", text("+15005550006"))
        .with("hook_secret", secret(HOOK))
        .with("stop_words", Value::Words(vec!["Arrêt".into()]))
}

/// The channel as the daemon builds it, at a provider that does nothing of this itself.
fn built(settings: &Settings) -> Arc<dyn Adapter> {
    crate::build(provider("jasmin").unwrap(), settings).unwrap()
}

fn request(text: &str, extra: &str) -> RawRequest {
    let text: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    RawRequest {
        method: Method::POST,
        path: format!("/{HOOK}/in"),
        query: String::new(),
        headers: HeaderMap::new(),
        body: Bytes::from(format!("id=7&from=%2B15005550009&to=24453&coding=9&content={text}{extra}")),
        url: String::new(),
        received_at: NOW,
    }
}

fn send(text: &str) -> Send {
    Send {
        send: "tok-1".into(),
        part: 1,
        n: 1,
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

#[test]
fn a_word_is_consent_and_the_message_is_kept() {
    use ConsentState::{OptedIn, OptedOut};
    for (text, keyword, wanted) in [
        ("stop", Some("STOP"), Some((OptedOut, "STOP"))),
        (" ARRÊT ", Some("STOP"), Some((OptedOut, "Arrêt"))),
        ("Unstop", Some("START"), Some((OptedIn, "UNSTOP"))),
        ("yes", None, Some((OptedIn, "YES"))),
        ("info", Some("HELP"), None),
        ("please stop", None, None),
    ] {
        let events = built(&settings()).parse(&request(text, ""));
        let (consent, message) = match events.as_slice() {
            [Inbound::Consent(consent), Inbound::Message(message)] => (Some(consent), message),
            [Inbound::Message(message)] => (None, message),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(consent.map(|c| (c.state, c.reason.as_deref().unwrap())), wanted, "{text}");
        assert_eq!(message.meta.get("keyword").map(String::as_str), keyword, "{text}");
        assert_eq!(message.content.text, text);
        if let Some(consent) = consent {
            assert_eq!(
                (consent.id.as_str(), consent.address.identity().as_str()),
                ("gateway:consent:7", "phone:+15005550009")
            );
        }
    }
}

#[test]
fn the_confirmation_of_an_opt_out_comes_before_it_holds_and_a_welcome_after() {
    let text = |text: &str| Value::Text(text.to_owned());
    let confirmed = settings().with("stop_reply", text("no more")).with("start_reply", text("again"));
    let adapter = built(&confirmed);
    let kinds = |said: &str| adapter.parse(&request(said, "")).iter().map(Inbound::kind).collect::<Vec<_>>();
    assert_eq!(kinds("stop"), ["message", "consent"]);
    assert_eq!(kinds("start"), ["consent", "message"]);
    let replies = adapter.profile().keyword_replies;
    assert_eq!((replies["STOP"].as_str(), replies["START"].as_str(), replies.len()), ("no more", "again", 2));
    assert!(built(&settings()).profile().keyword_replies.is_empty());
}

#[test]
fn nothing_is_kept_of_the_secret_in_a_path() {
    assert_eq!(built(&settings()).kept_path(&format!("/{HOOK}/in")), "/in");
}

#[test]
fn what_is_read_again_is_marked_alike() {
    let adapter = built(&settings());
    let request = request("stop", "");
    let events = adapter.parse(&request);
    let Some(Inbound::Message(message)) = events.last() else { panic!("{events:?}") };
    let raw = message.raw.clone().unwrap();
    assert_eq!(adapter.reparse(&raw, request.body.clone(), NOW), events);
}

#[test]
fn typographic_characters_go_out_plain_and_long_texts_not_at_all() {
    let content = |adapter: &dyn Adapter, text: &str| {
        let call = adapter.encode(&send(text)).unwrap();
        let CallBody::Bytes(_, body) = call.body else { panic!("no body") };
        let fields: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
        (fields["coding"].clone(), fields.get("content").cloned())
    };
    let as_written = built(&settings());
    assert_eq!(content(as_written.as_ref(), "It\u{2019}s"), ("8".into(), None));
    let smart = built(&settings().with("smart_encoding", Value::Flag(true)).with("max_segments", Value::Count(2)));
    assert_eq!(content(smart.as_ref(), "It\u{2019}s \u{2026}"), ("0".into(), Some("It's ...".into())));
    let measured = smart.measure("It\u{2019}s").unwrap();
    assert_eq!(
        (measured.encoding, measured.segments, measured.most, measured.text.as_deref()),
        ("gsm7", 1, 2, Some("It's"))
    );
    assert_eq!(as_written.measure(&"ж".repeat(71)).unwrap().per_segment, [67, 4]);
    assert!(smart.encode(&send(&"a".repeat(306))).is_ok());
    let refused = smart.encode(&send(&"a".repeat(307))).err().unwrap();
    assert_eq!(refused.outcome, Outcome::Rejected);
    assert_eq!(refused.detail.as_deref(), Some("the text needs 3 segments, and this channel sends at most 2"));
}

#[test]
fn the_conformance_kit_finds_nothing_around_a_provider() {
    let fixtures: Vec<_> = ["stop", "start", "hello"]
        .map(|text| Fixture { name: text.into(), request: request(text, "&origin-connector=c1") })
        .into();
    let adapter = built(&settings().with("stop_reply", Value::Text("no more".into())));
    let send = send("hi");
    let kit = Kit { adapter: adapter.as_ref(), fixtures: &fixtures, signature_headers: &[], send: &send };
    let failures = testkit::check(&kit);
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn an_address_that_is_no_number_is_known_before_anything_is_sent() {
    let channel = built(&settings());
    assert_eq!(channel.reaches(&Address::new("phone", "+15005550009")), Ok(()));
    for value in ["nonsense", "", "0171 5550009", "+0", "\u{0}"] {
        let refused = channel.reaches(&Address::new("phone", value));
        assert!(refused.is_err_and(|why| why.contains("+15551230001")), "{value:?}");
    }
}
