use super::*;
use crate::fixtures;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value as Json, json};
use switchboard_adapter_sdk::{
    Answer, CallError, Response,
    classify::Class,
    settings::Value,
    signature::{to_base64, to_hex},
    testkit::{self, Fixture, Kit},
};
use switchboard_envelope::{Address, Author, Content, Message, Outcome, Receipt, ReceiptStatus};

mod fixture_files;
mod sending;

const NOW: Timestamp = Timestamp(1_578_787_200_000);
const SECRET: &str = "signature_secret";
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

fn settings() -> Settings {
    let text = |text: &str| Value::Text(text.to_owned());
    let secret = |secrets: &[&str]| Value::Secrets(secrets.iter().map(|s| Secret::new(*s)).collect());
    Settings::new("support-sms", Some("https://hooks.shop.example"))
        .with("api_key", text("abcd1234"))
        .with("api_secret", secret(&["apisecret"]))
        .with("from", text("+447700900000"))
        .with("signature_secret", secret(&["an-older-secret", SECRET]))
        .with("base_url", text("http://127.0.0.1:1"))
}

fn adapter() -> Vonage {
    Vonage::new(&settings()).unwrap()
}

fn request(method: Method, query: &str, content_type: &'static str, body: &[u8]) -> RawRequest {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(content_type));
    RawRequest {
        method,
        path: "/in".into(),
        query: query.into(),
        headers,
        body: Bytes::copy_from_slice(body),
        url: format!("https://hooks.shop.example/hooks/support-sms/in?{query}"),
        received_at: NOW,
    }
}

/// The fields with a signature over them, by our own reading of the method.
fn signed_pairs(pairs: &[(String, String)]) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = pairs.iter().filter(|(name, _)| name != "sig").cloned().collect();
    if !pairs.iter().any(|(name, _)| name == "timestamp") {
        pairs.push(("timestamp".into(), (NOW.0 / 1000).to_string()));
    }
    let mut sorted = pairs.clone();
    sorted.sort();
    let base = sorted
        .iter()
        .fold(String::new(), |base, (name, value)| format!("{base}&{name}={}", value.replace(['&', '='], "_")));
    let sig = to_hex(&switchboard_adapter_sdk::signature::Mac::sha256(SECRET.as_bytes()).sign(base.as_bytes()));
    pairs.push(("sig".into(), sig));
    pairs
}

fn signed_form(body: &[u8]) -> RawRequest {
    let pairs: Vec<_> = form_urlencoded::parse(body).into_owned().collect();
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(signed_pairs(&pairs)).finish();
    request(Method::POST, "", FORM, form.as_bytes())
}

fn signed_get(body: &[u8]) -> RawRequest {
    let form = signed_form(body);
    request(Method::GET, std::str::from_utf8(&form.body).unwrap(), "", b"")
}

fn signed_json(body: &[u8]) -> RawRequest {
    let Json::Object(fields) = serde_json::from_slice(body).unwrap() else { panic!("not an object") };
    let pairs: Vec<_> = fields.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect();
    let signed: serde_json::Map<_, _> = signed_pairs(&pairs).into_iter().map(|(k, v)| (k, Json::from(v))).collect();
    request(Method::POST, "", JSON, Json::Object(signed).to_string().as_bytes())
}

fn url_base64(bytes: &[u8]) -> String {
    to_base64(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

fn token(header: &Json, claims: &Json) -> String {
    let signed = format!("{}.{}", url_base64(header.to_string().as_bytes()), url_base64(claims.to_string().as_bytes()));
    let tag = switchboard_adapter_sdk::signature::Mac::sha256(SECRET.as_bytes()).sign(signed.as_bytes());
    format!("Bearer {signed}.{}", url_base64(&tag))
}

fn claims(body: &[u8]) -> Json {
    let hash = switchboard_adapter_sdk::signature::sha256_hex(body);
    json!({ "iat": NOW.0 / 1000, "jti": "1", "iss": "Vonage", "payload_hash": hash, "api_key": "abcd1234" })
}

fn with_token(body: &[u8]) -> RawRequest {
    let mut request = request(Method::POST, "", JSON, body);
    let bearer = token(&json!({ "alg": "HS256", "typ": "JWT" }), &claims(body));
    request.headers.insert("authorization", bearer.parse().unwrap());
    request
}

fn parse(request: &RawRequest) -> Vec<Inbound> {
    let adapter = adapter();
    assert_eq!(adapter.verify(request), Verdict::Genuine);
    let events = adapter.parse(request);
    events.iter().for_each(|event| event.validate().unwrap());
    events
}

fn message(events: &[Inbound]) -> &Message {
    let [Inbound::Message(message)] = events else { panic!("not one message: {events:?}") };
    message
}

fn receipt(events: &[Inbound]) -> &Receipt {
    let [Inbound::Receipt(receipt)] = events else { panic!("not one receipt: {events:?}") };
    receipt
}

fn reason(events: &[Inbound]) -> &str {
    let [Inbound::Unparsed(unparsed)] = events else { panic!("not one unparsed: {events:?}") };
    &unparsed.reason
}

fn forged(adapter: &Vonage, request: &RawRequest) -> bool {
    matches!(adapter.verify(request), Verdict::Forged(_))
}

const TEXT: &[u8] = b"msisdn=447700900001&to=447700900000&messageId=0A1&text=a%26b%3Dc&type=text&message-timestamp=2020-01-12+00%3A00%3A00";

#[test]
fn a_text_reads_the_same_as_query_form_and_json() {
    let fields = json!({
        "msisdn": "447700900001", "to": "447700900000", "messageId": "0A1", "text": "a&b=c", "type": "text",
        "message-timestamp": "2020-01-12 00:00:00",
    });
    for request in [signed_form(TEXT), signed_get(TEXT), signed_json(fields.to_string().as_bytes())] {
        let events = parse(&request);
        let message = message(&events);
        assert_eq!(message.content.text, "a&b=c");
        assert_eq!(
            (message.from.identity().as_str(), message.thread.as_str()),
            ("phone:+447700900001", "+447700900001")
        );
        assert_eq!(message.to, Some(Address::new("phone", "+447700900000")));
        assert_eq!((message.id.as_str(), message.at), ("support-sms:message:0A1", NOW));
    }
}

#[test]
fn every_method_and_every_secret_is_tried_and_time_counts() {
    for method in signature::METHODS {
        let settings = settings().with("signature_method", Value::Text((*method).to_owned()));
        let adapter = Vonage::new(&settings).unwrap();
        let genuine = adapter.verify(&signed_form(TEXT));
        assert_eq!(genuine == Verdict::Genuine, *method == "sha256hmac", "{method}: {genuine:?}");
    }
    let unsigned = request(Method::POST, "", FORM, TEXT);
    assert_eq!(adapter().verify(&unsigned), Verdict::Missing);
    assert_eq!(adapter().unsigned_status(), 503);
    for (seconds, genuine) in [(0, true), (300, true), (-300, true), (301, false), (-301, false)] {
        let late = RawRequest { received_at: NOW.plus(seconds * 1000), ..signed_form(TEXT) };
        assert_eq!(adapter().verify(&late) == Verdict::Genuine, genuine, "{seconds}");
    }
    let upper = signed_form(TEXT);
    let body = String::from_utf8(upper.body.to_vec()).unwrap();
    let (rest, sig) = body.rsplit_once("sig=").unwrap();
    let shout = format!("{rest}sig={}", sig.to_uppercase());
    assert_eq!(adapter().verify(&RawRequest { body: shout.into(), ..upper.clone() }), Verdict::Genuine);
    for wrong in [format!("{rest}sig=zz"), format!("{rest}sig={}", &sig[..62]), format!("{rest}x=1&sig={sig}")] {
        assert!(forged(&adapter(), &RawRequest { body: wrong.clone().into(), ..upper.clone() }), "{wrong}");
    }
    assert!(forged(&adapter(), &request(Method::POST, "", "text/plain", TEXT)));
}

#[test]
fn every_bit_of_a_signed_request_counts() {
    for genuine in [signed_form(TEXT), signed_get(TEXT)] {
        let events = bare(adapter().parse(&genuine));
        let carried =
            if genuine.method == Method::GET { genuine.query.clone().into_bytes() } else { genuine.body.to_vec() };
        for bit in 0..carried.len() * 8 {
            let mut flipped = carried.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let changed = if genuine.method == Method::GET {
                let Ok(query) = String::from_utf8(flipped) else { continue };
                RawRequest { query, ..genuine.clone() }
            } else {
                RawRequest { body: flipped.into(), ..genuine.clone() }
            };
            let verdict = adapter().verify(&changed);
            let same = verdict == Verdict::Genuine && bare(adapter().parse(&changed)) == events;
            assert!(same || verdict != Verdict::Genuine, "bit {bit}: {changed:?}");
        }
        for cut in 0..carried.len() {
            let changed = if genuine.method == Method::GET {
                RawRequest { query: String::from_utf8(carried[..cut].to_vec()).unwrap(), ..genuine.clone() }
            } else {
                RawRequest { body: carried[..cut].to_vec().into(), ..genuine.clone() }
            };
            assert_ne!(adapter().verify(&changed), Verdict::Genuine, "{cut}");
            adapter().parse(&changed);
        }
    }
}

fn bare(events: Vec<Inbound>) -> Vec<Inbound> {
    let strip = |event| match event {
        Inbound::Message(mut message) => {
            message.raw = None;
            Inbound::Message(message)
        }
        other => other,
    };
    events.into_iter().map(strip).collect()
}

#[test]
fn a_token_proves_the_body_the_account_and_the_time() {
    let vectors = fixtures::vectors();
    let vector = vectors["vectors"].as_array().unwrap().iter().find(|v| v["name"] == "vonage-messages-jwt").unwrap();
    let body = vector["inputs"]["body"].as_str().unwrap();
    let mut published = request(Method::POST, "", JSON, body.as_bytes());
    published
        .headers
        .insert("authorization", format!("Bearer {}", vector["expected"].as_str().unwrap()).parse().unwrap());
    published.received_at = Timestamp(1_756_632_000_000);
    assert_eq!(adapter().verify(&published), Verdict::Genuine);
    assert_eq!(message(&adapter().parse(&published)).content.text, "Hello");

    let hs = json!({ "alg": "HS256" });
    let body = body.as_bytes();
    let good = claims(body);
    let change = |key: &str, value: Json| {
        let mut claims = good.clone();
        claims[key] = value;
        claims
    };
    for (bearer, genuine) in [
        (token(&hs, &good), true),
        (token(&hs, &good).replacen("Bearer", "Basic", 1), false),
        (token(&json!({ "alg": "none" }), &good), false),
        (token(&json!({ "alg": "RS256" }), &good), false),
        (token(&json!({}), &good), false),
        (token(&hs, &change("payload_hash", json!("00"))), false),
        (token(&hs, &change("payload_hash", Json::Null)), false),
        (token(&hs, &change("api_key", json!("other"))), false),
        (token(&hs, &change("iat", json!(NOW.0 / 1000 - 301))), false),
        (token(&hs, &change("iat", Json::Null)), false),
        (token(&hs, &json!(7)), false),
        ("Bearer a.b".into(), false),
        ("Bearer a.b.c".into(), false),
        ("Basic eDp5".into(), false),
        ("Bearer".into(), false),
    ] {
        let mut request = request(Method::POST, "", JSON, body);
        request.headers.insert("authorization", bearer.parse().unwrap());
        assert_eq!(adapter().verify(&request) == Verdict::Genuine, genuine, "{bearer}");
    }
}

#[test]
fn an_account_that_signs_nothing_is_known_by_its_path() {
    let hook = "a-hook-secret-of-the-tests";
    let unsigned = Settings::new("support-sms", Some("https://hooks.shop.example"))
        .with("api_key", Value::Text("abcd1234".into()))
        .with("api_secret", Value::Secrets(vec![Secret::new("apisecret")]))
        .with("from", Value::Text("Shop".into()))
        .with("hook_secret", Value::Secrets(vec![Secret::new(hook)]));
    assert_eq!(check(&unsigned), []);
    let adapter = Vonage::new(&unsigned).unwrap();
    let at = |path: &str| RawRequest { path: path.into(), ..request(Method::POST, "", FORM, TEXT) };
    assert_eq!(adapter.verify(&at(&format!("/{hook}/in"))), Verdict::Genuine);
    assert_eq!(adapter.verify(&at("")), Verdict::Missing);
    assert!(forged(&adapter, &at("/in")));
    let events = adapter.parse(&at(&format!("/{hook}/in")));
    assert!(!format!("{events:?}").contains(hook), "the secret is not stored");
    assert_eq!(adapter.kept_path(&format!("/{hook}/in")), "/in");
    let neither = Settings::new("support-sms", None).with("api_key", Value::Text("abcd1234".into()));
    let keys: Vec<_> = check(&neither).into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["signature_secret", "public_url"]);
}

#[test]
fn a_part_says_of_what_and_nonsense_stands_alone() {
    let part = |extra: &str| {
        let body = format!("msisdn=447700900001&to=447700900000&messageId=A1&text=x&type=text{extra}");
        let events = parse(&signed_form(body.as_bytes()));
        let meta = message(&events).meta.clone();
        meta.get("part_of").map(|of| (of.clone(), meta["part"].clone(), meta["parts"].clone()))
    };
    let (of, number, total) = part("&concat=true&concat-ref=108&concat-total=2&concat-part=1").unwrap();
    assert_eq!((number.as_str(), total.as_str()), ("1", "2"));
    let (same, other, _) = part("&concat=true&concat-ref=108&concat-total=2&concat-part=2").unwrap();
    assert_eq!((&of, other.as_str()), (&same, "2"));
    assert!(!of.contains("447700900001"));
    assert_ne!(part("&concat=true&concat-ref=109&concat-total=2&concat-part=1").unwrap().0, of);
    for alone in [
        "",
        "&concat=false&concat-ref=1&concat-total=2&concat-part=1",
        "&concat=true&concat-ref=1&concat-total=2&concat-part=3",
        "&concat=true&concat-ref=1&concat-total=2&concat-part=0",
        "&concat=true&concat-ref=1&concat-total=1&concat-part=1",
        "&concat=true&concat-ref=1&concat-total=900&concat-part=1",
        "&concat=true&concat-total=2&concat-part=1",
    ] {
        assert_eq!(part(alone), None, "{alone}");
    }
}

#[test]
fn every_status_word_and_code_has_its_meaning() {
    use ReceiptStatus::{Accepted, Delivered, Failed, Read};
    for (word, code, wanted) in [
        ("delivered", "0", Some(Delivered)),
        ("accepted", "0", Some(Accepted)),
        ("buffered", "0", Some(Accepted)),
        ("expired", "12", Some(Failed)),
        ("failed", "6", Some(Failed)),
        ("rejected", "14", Some(Failed)),
        ("unknown", "1", None),
        ("invented", "0", None),
    ] {
        let body =
            format!("msisdn=447700900000&to=AcmeInc&messageId=0A&status={word}&err-code={code}&client-ref=tok.1.2");
        let events = parse(&signed_form(body.as_bytes()));
        let Some(wanted) = wanted else {
            assert_eq!(events, [], "{word}");
            continue;
        };
        let seen = receipt(&events);
        assert_eq!((seen.status, seen.send.as_deref(), seen.part, seen.n), (wanted, Some("tok"), Some(1), Some(2)));
        assert_eq!(seen.code.as_deref(), (wanted == Failed).then_some(code));
        assert_eq!(seen.detail.is_some(), wanted == Failed);
    }
    for row in codes::DELIVERY {
        let body = format!("msisdn=447700900000&to=AcmeInc&messageId=0A&status=failed&err-code={}", row.code);
        let events = parse(&signed_form(body.as_bytes()));
        assert_eq!(receipt(&events).detail.as_deref(), Some(row.sentence), "{}", row.code);
    }
    for (word, wanted) in [
        ("submitted", Some(Accepted)),
        ("delivered", Some(Delivered)),
        ("read", Some(Read)),
        ("rejected", Some(Failed)),
        ("undeliverable", Some(Failed)),
        ("invented", None),
    ] {
        let body = json!({ "message_uuid": "u-1", "to": "447700900000", "status": word, "client_ref": "tok.1.2",
            "error": { "type": "https://developer.vonage.com/api-errors/messages#1190", "title": 1190, "detail": "x" } });
        let events = parse(&with_token(body.to_string().as_bytes()));
        let seen = events.first().map(|_| receipt(&events).status);
        assert_eq!(seen, wanted, "{word}");
        if wanted == Some(Failed) {
            let seen = receipt(&events);
            assert_eq!(
                (seen.code.as_deref(), seen.detail.as_deref()),
                (Some("1190"), Some("the number is not in service any more"))
            );
        }
    }
}

#[test]
fn what_is_no_event_is_kept_with_its_reason() {
    for (body, why) in [
        ("text=x", "neither a message nor a receipt"),
        ("messageId=A", "no msisdn"),
        ("messageId=A&msisdn=447700900001", "no text"),
        ("messageId=A&msisdn=447700900001&type=binary&data=zz", "binary data that is not hexadecimal"),
        ("messageId=A&msisdn=447700900001&text=x&api-key=other", "api-key is another account's"),
    ] {
        let events = parse(&signed_form(body.as_bytes()));
        assert_eq!(reason(&events), why, "{body}");
    }
    let events = parse(&signed_form(b"messageId=A&msisdn=447700900001&type=binary&data=00ff&udh=050003"));
    assert_eq!(message(&events).content.text, "[binary message of 2 bytes: 00ff]");
    for (body, why) in [
        (json!({ "message_uuid": "u", "text": "x" }), "no from"),
        (json!({ "message_uuid": "u", "from": "447700900001" }), "no text"),
        (
            json!({ "message_uuid": "u", "from": "447700900001", "message_type": "location" }),
            "a kind of message that cannot be shown",
        ),
    ] {
        assert_eq!(reason(&parse(&with_token(body.to_string().as_bytes()))), why);
    }
}

#[test]
fn the_messages_api_brings_files_other_channels_and_its_older_shape() {
    let body = json!({ "message_uuid": "u-1", "from": "447700900001", "to": "447700900000", "channel": "mms",
        "message_type": "image", "timestamp": "2020-01-01T14:00:00.000Z",
        "image": { "url": "https://api.nexmo.com/v3/media/1", "caption": "Look", "name": "box.jpg" } });
    let events = parse(&with_token(body.to_string().as_bytes()));
    let seen = message(&events);
    assert_eq!((seen.content.text.as_str(), seen.content.attachments[0].name.as_str()), ("Look", "box.jpg"));
    let fetched = adapter().fetch(&seen.content.attachments[0]).unwrap();
    assert!(fetched.headers.iter().any(|(name, _)| *name == "authorization"));
    for other in [
        "https://evil.example/1",
        "http://api.nexmo.com/1",
        "https://nexmo.com.evil.example/",
        "https://a@api.nexmo.com/",
    ] {
        let elsewhere = Attachment { url: Some(other.into()), ..Attachment::default() };
        assert!(adapter().fetch(&elsewhere).is_none(), "{other}");
    }
    let older = json!({ "message_uuid": "u-2", "from": { "type": "sms", "number": "447700900001" },
        "to": { "type": "sms", "number": "447700900000" }, "message": { "content": { "type": "text", "text": "hi" } } });
    let events = parse(&with_token(older.to_string().as_bytes()));
    assert_eq!((message(&events).thread.as_str(), message(&events).content.text.as_str()), ("+447700900001", "hi"));
    let whatsapp = json!({ "message_uuid": "u-3", "from": "447700900001", "channel": "whatsapp", "text": "hi" });
    let events = parse(&with_token(whatsapp.to_string().as_bytes()));
    assert_eq!(message(&events).from.identity(), "whatsapp:447700900001");
}
