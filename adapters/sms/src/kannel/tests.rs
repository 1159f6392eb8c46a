use super::*;
use crate::fixtures;
use http::HeaderMap;
use proptest::prelude::*;
use serde_json::Value as Json;
use switchboard_adapter_sdk::{
    CallError,
    settings::Value,
    testkit::{self, Fixture, Kit},
};
use switchboard_envelope::{Address, Attachment, Author, Message, Outcome};

const NOW: Timestamp = Timestamp(1_795_298_400_000);
const HOOK: &str = "a-hook-secret-of-the-tests";

fn settings() -> Settings {
    let text = |text: &str| Value::Text(text.to_owned());
    let secret = |secret: &str| Value::Secrets(vec![Secret::new(secret)]);
    Settings::new("gateway", Some("https://hooks.shop.example"))
        .with("base_url", text("http://127.0.0.1:13013"))
        .with("username", text("tester"))
        .with("password", secret("foo&bar"))
        .with("from", text("+15005550006"))
        .with("hook_secret", secret(HOOK))
}

fn adapter() -> Kannel {
    Kannel::new(&settings()).unwrap()
}

fn request(path: &str, query: &str) -> RawRequest {
    RawRequest {
        method: Method::GET,
        path: format!("/{HOOK}{path}"),
        query: query.into(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        url: format!("https://hooks.shop.example/hooks/gateway/{HOOK}{path}?{query}"),
        received_at: NOW,
    }
}

fn parse(path: &str, query: &str) -> Vec<Inbound> {
    let request = request(path, query);
    assert_eq!(adapter().verify(&request), Verdict::Genuine);
    let events = adapter().parse(&request);
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

pub(crate) fn send(text: &str) -> Send {
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

fn fields(adapter: &Kannel, send: &Send) -> Result<Vec<(String, String)>, String> {
    let call = adapter.encode(send).map_err(|refused| {
        assert_eq!(refused.outcome, Outcome::Rejected);
        refused.detail.unwrap()
    })?;
    assert_eq!((call.method, call.headers.len()), (Method::GET, 0));
    let (address, query) = call.url.split_once('?').unwrap();
    assert_eq!(address, "http://127.0.0.1:13013/cgi-bin/sendsms");
    Ok(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
}

fn one(fields: &[(String, String)], name: &str) -> String {
    let values: Vec<_> = fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect();
    assert!(values.len() <= 1, "{name} stands twice");
    values.into_iter().next().unwrap_or_default()
}

fn corpus(kind: &str) -> Vec<Json> {
    let all = fixtures::json("kannel/requests.json")[kind].as_array().unwrap().clone();
    assert!(all.len() >= 5, "{kind}: {} rows", all.len());
    all
}

#[test]
fn every_recorded_message_is_read() {
    for row in corpus("mo") {
        let (query, expected) = (row["query"].as_str().unwrap(), &row["expected"]);
        if expected.get("error").is_some() {
            let reply = adapter().handshake(&request("/in", query)).expect("an empty call is refused");
            assert_eq!(Json::from(reply.status), expected["error"]);
            continue;
        }
        assert_eq!(adapter().handshake(&request("/in", query)), None);
        let events = parse("/in", query);
        let message = message(&events);
        let same = |key: &str, seen: Json| {
            if let Some(wanted) = expected.get(key) {
                assert_eq!(&seen, wanted, "{query}: {key}");
            }
        };
        same("sender", message.thread.clone().into());
        same("text", message.content.text.clone().into());
        same("to", message.to.as_ref().unwrap().value.clone().into());
        same("id", message.provider_id.clone().unwrap().into());
        same("ts", (message.at.0 / 1000).into());
    }
}

#[test]
fn every_recorded_report_is_read() {
    for row in corpus("dlr") {
        let (query, expected) = (row["query"].as_str().unwrap(), row["expected"].as_str().unwrap());
        let events = parse("/status", query);
        if expected.starts_with("ignored") {
            assert_eq!(events, [], "{query}");
            continue;
        }
        let wanted = match expected.split(' ').next().unwrap() {
            "delivered" => ReceiptStatus::Delivered,
            "failed" => ReceiptStatus::Failed,
            "sent" | "queued" => ReceiptStatus::Accepted,
            other => panic!("{other}"),
        };
        let receipt = receipt(&events);
        assert_eq!(receipt.status, wanted, "{query}");
        assert!(query.contains(&receipt.provider_id), "{query}: {}", receipt.provider_id);
    }
}

#[test]
fn every_recorded_answer_has_its_outcome() {
    for row in corpus("sendsms_responses") {
        let status = u16::try_from(row["http"].as_u64().unwrap()).unwrap();
        let outcome = classify(status, row["body"].as_str().unwrap());
        let wanted = match row["meaning"].as_str().unwrap() {
            "sent to gateway" => (Outcome::Accepted, false),
            "permanent" => (Outcome::Rejected, false),
            "configuration" => (Outcome::NotSent, true),
            "retry" => (Outcome::NotSent, false),
            other => panic!("{other}"),
        };
        assert_eq!((outcome.outcome, outcome.channel_refused), wanted, "{row}");
    }
}

fn classify(status: u16, body: &str) -> AttemptOutcome {
    let answer = Response { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) };
    adapter().classify(&send("hi"), &Ok(answer), NOW)
}

#[test]
fn every_answer_of_the_table_has_its_row_and_the_rest_an_outcome() {
    for (status, row) in ANSWERS {
        let outcome = classify(*status, &format!("{} and more", row.code));
        assert_eq!(outcome.outcome, row.class.outcome(), "{}", row.code);
        assert_eq!(outcome.channel_refused, row.class == Class::Config, "{}", row.code);
        if row.class == Class::Ok {
            assert_eq!(outcome.provider_ids, ["tok-1.1.2"]);
        } else {
            assert_eq!(outcome.detail.as_deref(), Some(row.sentence));
        }
    }
    use Outcome::{NotSent, Rejected, Unknown};
    for (status, body, outcome, refused) in [
        (200, "0: Accepted for delivery", Unknown, false),
        (202, "", Unknown, false),
        (202, "<html>", Unknown, false),
        (400, "Number of +15005550009 is odd", Rejected, false),
        (400, "<html>", Unknown, false),
        (401, "", NotSent, true),
        (403, "<html>", NotSent, true),
        (403, "Some new refusal", Rejected, false),
        (404, "Not found", NotSent, true),
        (429, "", NotSent, false),
        (500, "0: Accepted for delivery", Unknown, false),
        (503, "<html>", Unknown, false),
    ] {
        let seen = classify(status, body);
        assert_eq!((seen.outcome, seen.channel_refused), (outcome, refused), "{status} {body}: {seen:?}");
        assert!(!seen.detail.unwrap().contains("+15005550009"), "{status} {body}");
    }
    let lost = adapter().classify(&send("hi"), &Err(CallError::NotSent("refused".into())), NOW);
    assert_eq!(lost.outcome, NotSent, "the gateway is down: nothing was sent");
}

#[test]
fn every_bit_has_its_meaning_and_a_code_where_it_failed() {
    use ReceiptStatus::{Accepted, Delivered, Failed};
    for (bits, answer, wanted, code) in [
        (
            1,
            "id:7 sub:001 dlvrd:001 submit date:2608311000 done date:2608311001 stat:DELIVRD err:000 text:hi",
            Some(Delivered),
            None,
        ),
        (2, "id:7 stat:UNDELIV err:0C1 text:stat:DELIVRD", Some(Failed), Some("UNDELIV 0C1")),
        (2, "", Some(Failed), Some("2")),
        (4, "", Some(Accepted), None),
        (8, "ACK/", Some(Accepted), None),
        (16, "NACK/0x0000000B/Invalid Destination Address", Some(Failed), Some("ESME_RINVDSTADR")),
        (16, "NACK/11/Invalid Destination Address", Some(Failed), Some("ESME_RINVDSTADR")),
        (16, "NACK/", Some(Failed), Some("16")),
        (32, "", None, None),
        (34, "", None, None),
        (66, "", None, None),
        (0, "", None, None),
    ] {
        let answer: String = form_urlencoded::byte_serialize(answer.as_bytes()).collect();
        let query = format!("send=tok-1&part=1&n=2&status={bits}&smsc=abc&answer={answer}&ts=1756632000");
        let events = parse("/status", &query);
        let Some(wanted) = wanted else {
            assert_eq!(events, [], "{bits}");
            continue;
        };
        let receipt = receipt(&events);
        assert_eq!((receipt.status, receipt.code.as_deref()), (wanted, code), "{bits}");
        assert_eq!((receipt.send.as_deref(), receipt.part, receipt.n), (Some("tok-1"), Some(1), Some(2)));
        assert_eq!(receipt.id, format!("gateway:receipt:tok-1.1.2:{bits}"));
        assert_eq!(receipt.detail.is_some(), wanted == Failed);
        assert_eq!(receipt.at, Timestamp(1_756_632_000_000));
    }
}

#[test]
fn a_send_is_the_documented_query() {
    let seen = fields(&adapter(), &send("Grüße & 100 %")).unwrap();
    let dlr = format!(
        "https://hooks.shop.example/hooks/gateway/{HOOK}/status?send=tok-1&part=1&n=2&status=%d&smsc=%F&answer=%A&ts=%T"
    );
    for (name, wanted) in [
        ("username", "tester"),
        ("password", "foo&bar"),
        ("from", "+15005550006"),
        ("to", "+15005550009"),
        ("text", "Grüße & 100 %"),
        ("coding", "0"),
        ("charset", "UTF-8"),
        ("dlr-mask", "31"),
        ("dlr-url", dlr.as_str()),
        ("smsc", ""),
        ("validity", ""),
        ("priority", ""),
    ] {
        assert_eq!(one(&seen, name), wanted, "{name}");
    }
    assert_eq!(one(&fields(&adapter(), &send("Żółw 😀")).unwrap(), "coding"), "2");
    let all = settings()
        .with("numbers", Value::Text("digits".into()))
        .with("callback_url", Value::Text("http://127.0.0.1:8080".into()))
        .with("smsc", Value::Text("smsc-1".into()))
        .with("validity", Value::Span(Duration::from_secs(3600)))
        .with("priority", Value::Count(2));
    let seen = fields(&Kannel::new(&all).unwrap(), &send("hi")).unwrap();
    for (name, wanted) in
        [("from", "15005550006"), ("to", "15005550009"), ("smsc", "smsc-1"), ("validity", "60"), ("priority", "2")]
    {
        assert_eq!(one(&seen, name), wanted, "{name}");
    }
    assert!(one(&seen, "dlr-url").starts_with("http://127.0.0.1:8080/hooks/gateway/"));
}

#[test]
fn what_cannot_be_sent_is_refused_with_a_sentence() {
    let to = |kind: &str, value: &str| Send { to: Address::new(kind, value), ..send("hi") };
    let mut with_file = send("hi");
    with_file.content.attachments.push(Attachment::default());
    for (send, why) in [
        (send(" "), "there is nothing to send"),
        (with_file, "this provider sends no files"),
        (to("phone", "15005550009"), "the number is not international"),
        (to("sender", "My Shop"), "the sender is a name"),
        (to("email", "ann@example.org"), "a email address"),
    ] {
        let refused = fields(&adapter(), &send).unwrap_err();
        assert!(refused.starts_with(why), "{refused}");
    }
    assert_eq!(one(&fields(&adapter(), &to("sender", "24453")).unwrap(), "to"), "24453");
}

#[test]
fn binary_messages_and_messages_without_an_id_are_kept() {
    let events = parse("/in", "sender=%2B15005550009&message=%00%ff&coding=1&to=24453&backend=m1&service=info");
    let seen = message(&events);
    assert_eq!(seen.content.text, "[binary message of 2 bytes: 00ff]");
    assert_eq!(seen.meta["binary"], "true");
    assert_eq!((seen.meta["smsc"].as_str(), seen.meta["service"].as_str()), ("m1", "info"));
    assert_eq!(seen.provider_id, None);
    let again = parse("/in", "sender=%2B15005550009&message=%00%ff&coding=1&to=24453&backend=m1&service=info");
    assert_eq!(again[0].id(), events[0].id(), "the same call again is the same message");
    for (path, query, why) in [
        ("/in", "message=x", "no sender"),
        ("/in", "sender=%2B15005550009", "no message"),
        ("/in", "sender=a%07b&message=x", "the sender is no address"),
        ("/status", "send=a&part=1&n=1", "no status"),
        ("/status", "status=1", "no message is named"),
        ("/other", "a=b", "neither"),
    ] {
        let events = parse(path, query);
        let [Inbound::Unparsed(unparsed)] = events.as_slice() else { panic!("{events:?}") };
        assert!(unparsed.reason.starts_with(why), "{}", unparsed.reason);
        let shown = format!("{unparsed:?}");
        assert!(!shown.contains(HOOK), "the secret is not stored: {shown}");
        let raw = &unparsed.raw;
        assert_eq!(adapter().reparse(raw, Bytes::new(), NOW), events, "read again alike");
    }
}

#[test]
fn utf16_that_lost_a_byte_at_an_end_is_read_all_the_same() {
    let text = |message: &str| {
        let query = format!("id=1&sender=%2B15005550009&message={message}&coding=2&charset=UTF-16BE");
        message_text(&parse("/in", &query))
    };
    assert_eq!(text("%00+%00s%00t%00o%00p%00p%00"), " stopp ", "as Kannel 1.4.5 was seen to write ` stopp `");
    assert_eq!(text("%AC%005"), "€5");
    assert_eq!(text("+%AC%005"), "€5", "with its first byte, as `%b` gives it");
    assert_eq!(text("%04%1F"), "П");
    assert_eq!(text(""), "");
}

fn message_text(events: &[Inbound]) -> String {
    message(events).content.text.clone()
}

#[test]
fn without_the_secret_nobody_is_kannel() {
    let good = request("/in", "sender=1");
    for (path, missing) in [("", true), ("/", true), ("/in", false), ("/A-hook-secret-of-the-tests/in", false)] {
        let verdict = adapter().verify(&RawRequest { path: path.into(), ..good.clone() });
        assert_eq!(verdict == Verdict::Missing, missing, "{path}: {verdict:?}");
        assert_ne!(verdict, Verdict::Genuine);
    }
    for bit in 0..HOOK.len() * 8 {
        let mut flipped = HOOK.as_bytes().to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let path = format!("/{}/in", String::from_utf8_lossy(&flipped));
        let verdict = adapter().verify(&RawRequest { path, ..good.clone() });
        assert_ne!(verdict, Verdict::Genuine, "bit {bit}");
    }
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let weak = settings().with("hook_secret", Value::Secrets(vec![Secret::new("100%")]));
    let problems = check(&weak);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].key == "hook_secret" && !problems[0].problem.contains("100%"), "{problems:?}");
    let mut unreachable = settings();
    unreachable.public_url = None;
    assert_eq!(check(&unreachable)[0].key, "public_url");
    assert_eq!(check(&unreachable.with("callback_url", Value::Text("http://127.0.0.1:1".into()))), []);
}

#[test]
fn the_conformance_kit_finds_nothing() {
    let mut fixtures: Vec<Fixture> = vec![];
    for (kind, path) in [("mo", "/in"), ("dlr", "/status")] {
        for (i, row) in corpus(kind).iter().enumerate() {
            let query = row["query"].as_str().unwrap();
            if !query.is_empty() {
                fixtures.push(Fixture { name: format!("{kind} {i}"), request: request(path, query) });
                // Some installations post what others put into the query.
                let posted = RawRequest {
                    method: Method::POST,
                    query: String::new(),
                    body: Bytes::copy_from_slice(query.as_bytes()),
                    ..request(path, "")
                };
                fixtures.push(Fixture { name: format!("{kind} {i}, posted"), request: posted });
            }
        }
    }
    let (adapter, send) = (adapter(), send("hi"));
    let failures = testkit::check(&Kit { adapter: &adapter, fixtures: &fixtures, signature_headers: &[], send: &send });
    assert!(failures.is_empty(), "{failures:#?}");
}

proptest! {
    #[test]
    fn no_query_panics(path in "(/in|/status|)", query in "[a-z]{0,8}=(%[0-9a-fA-F]{0,2}|[a-z0-9&=+%]){0,40}") {
        let adapter = adapter();
        let events = adapter.parse(&request(&path, &query));
        events.iter().for_each(|event| event.validate().unwrap());
    }

    #[test]
    fn a_cut_query_is_read_or_kept(cut in 0usize..130) {
        let whole = "backend=SIM1&sender=%2B15005550009&message=%04%1F%04%40&ts=1756632000&id=7b0e3b&to=24453&coding=2&charset=UTF-16BE";
        let query = whole.get(..cut).unwrap_or(whole);
        let events = adapter().parse(&request("/in", query));
        prop_assert_eq!(events.len(), 1);
    }
}
