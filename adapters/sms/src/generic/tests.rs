use super::*;
use http::HeaderMap;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use switchboard_adapter_sdk::{
    CallError,
    settings::Value,
    signature::from_base64,
    testkit::{self, Fixture, Kit},
};
use switchboard_envelope::{Address, Author, Content, Message, Outcome, Receipt};

const NOW: Timestamp = Timestamp(1_795_298_400_000);
const HOOK: &str = "a-hook-secret-of-the-tests";

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn pairs(pairs: &[(&str, &str)]) -> Value {
    Value::Pairs(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

fn base() -> Settings {
    Settings::new("gateway", Some("https://hooks.shop.example"))
        .with("base_url", text("http://127.0.0.1:1"))
        .with("from", text("+15005550006"))
        .with("hook_secret", Value::Secrets(vec![Secret::new(HOOK)]))
        .with("secrets", Value::NamedSecrets([("token".to_owned(), Secret::new("t0ken"))].into()))
}

/// The gateway of the documentation's example: JSON both ways.
fn settings() -> Settings {
    base()
        .with("send.path", text("/v1/messages"))
        .with("send.headers", pairs(&[("Authorization", "Bearer {secret.token}")]))
        .with("send.json", text(r#"{"messages": [{"to": "{to.digits}", "from": "{from.digits}", "body": "{text}", "ref": "{reference}"}], "callback": "{status_url}"}"#))
        .with("answer.id", text("/messages/0/id"))
        .with("answer.code", text("/messages/0/status"))
        .with("answer.outcomes", pairs(&[("QUEUED", "ok"), ("BUSY", "retry"), ("BAD_NUMBER", "recipient"), ("STOPPED", "opted_out"), ("SPAM", "message"), ("NO_CREDIT", "config"), ("429", "rate_limit"), ("503", "retry")]))
        .with("inbound.list", text("/results"))
        .with("inbound.from", text("from"))
        .with("inbound.to", text("/to"))
        .with("inbound.text", text("/message/text"))
        .with("inbound.id", text("id"))
        .with("inbound.meta", pairs(&[("operator", "/operator")]))
        .with("inbound.reply", text("OK"))
        .with("numbers", text("digits"))
        .with("reports.id", text("/id"))
        .with("reports.reference", text("/ref"))
        .with("reports.status", text("/state"))
        .with("reports.code", text("/error"))
        .with("reports.statuses", pairs(&[("SENT", "accepted"), ("DELIVERED", "delivered"), ("LOST", "failed")]))
}

fn adapter() -> Generic {
    assert_eq!(check(&settings()), []);
    Generic::new(&settings()).unwrap()
}

fn post(path: &str, content_type: &'static str, body: &str) -> RawRequest {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", content_type.parse().unwrap());
    RawRequest {
        method: Method::POST,
        path: format!("/{HOOK}{path}"),
        query: String::new(),
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
        url: format!("https://hooks.shop.example/hooks/gateway/{HOOK}{path}"),
        received_at: NOW,
    }
}

fn parse(adapter: &Generic, request: &RawRequest) -> Vec<Inbound> {
    assert_eq!(adapter.verify(request), Verdict::Genuine);
    let events = adapter.parse(request);
    events.iter().for_each(|event| event.validate().unwrap());
    events
}

fn message(event: &Inbound) -> &Message {
    let Inbound::Message(message) = event else { panic!("not a message: {event:?}") };
    message
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

#[test]
fn a_text_fills_the_description_and_breaks_out_of_nothing() {
    for said in ["Grüße", "a\",\"to\":\"1\"} & {to} %d\n\u{0}"] {
        let call = adapter().encode(&send(said)).unwrap();
        assert_eq!((call.method.as_str(), call.url.as_str()), ("POST", "http://127.0.0.1:1/v1/messages"));
        assert_eq!(call.headers, [("authorization", "Bearer t0ken".to_owned())]);
        let CallBody::Bytes("application/json", body) = call.body else { panic!("not JSON") };
        let seen: Json = serde_json::from_slice(&body).unwrap();
        let wanted = json!({
            "messages": [{ "to": "15005550009", "from": "15005550006", "body": said, "ref": "tok-1.1.2" }],
            "callback": format!("https://hooks.shop.example/hooks/gateway/{HOOK}/status?send=tok-1&part=1&n=2"),
        });
        assert_eq!(seen, wanted);
        let form = base()
            .with("send.path", text("/send"))
            .with("send.query", pairs(&[("key", "{secret.token}"), ("enc", "{encoding}")]))
            .with("send.form", pairs(&[("to", "{to}"), ("msg", "{text}"), ("hex", "{text.hex}"), ("x", "{{{from}}}")]))
            .with("send.basic", text("shop"))
            .with(
                "secrets",
                Value::NamedSecrets(
                    [("token", "t&1"), ("password", "pw")].map(|(k, v)| (k.to_owned(), Secret::new(v))).into(),
                ),
            );
        assert_eq!(check(&form), []);
        let call = Generic::new(&form).unwrap().encode(&send(said)).unwrap();
        assert!(call.url.starts_with("http://127.0.0.1:1/send?"), "{}", call.url);
        let query: BTreeMap<String, String> =
            form_urlencoded::parse(call.url.split_once('?').unwrap().1.as_bytes()).into_owned().collect();
        assert_eq!(query["key"], "t&1");
        assert_eq!(call.headers, [("authorization", format!("Basic {}", to_base64(b"shop:pw")))]);
        let CallBody::Bytes("application/x-www-form-urlencoded", body) = call.body else { panic!("not a form") };
        let fields: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
        assert_eq!(
            (fields["to"].as_str(), fields["msg"].as_str(), fields["x"].as_str()),
            ("+15005550009", said, "{+15005550006}")
        );
    }
}

#[test]
fn a_call_with_several_messages_is_read_item_by_item() {
    let item = |id: &str, from: &str, text: &str| json!({ "id": id, "from": from, "to": "24453", "message": { "text": text }, "operator": "T1" });
    let body = json!({ "results": [item("1", "15005550009", "hi"), item("2", "", "x"), item("3", "Shop", "ho"), item("1", "15005550009", "hi")] });
    let events = parse(&adapter(), &post("/in", "application/json", &body.to_string()));
    assert_eq!(events.len(), 3, "{events:?}");
    let first = message(&events[0]);
    assert_eq!((first.from.identity().as_str(), first.content.text.as_str()), ("phone:+15005550009", "hi"));
    assert_eq!(
        (first.to.as_ref().unwrap().identity().as_str(), first.provider_id.as_deref()),
        ("sender:24453", Some("1"))
    );
    assert_eq!((first.meta["operator"].as_str(), first.meta["provider"].as_str()), ("T1", "http"));
    assert_eq!(message(&events[1]).from.identity(), "sender:Shop");
    assert!(matches!(&events[2], Inbound::Unparsed(u) if u.reason.starts_with("no sender")), "{:?}", events[2]);
    for (request, why) in [
        (post("/in", "application/json", "{}"), "no list"),
        (post("/in", "text/plain", "hello"), "neither a form nor JSON"),
        (post("/other", "application/json", "{}"), "neither `in` nor `status`"),
    ] {
        let events = parse(&adapter(), &request);
        assert!(matches!(&events[..], [Inbound::Unparsed(u)] if u.reason.starts_with(why)), "{events:?}");
    }
    assert_eq!(adapter().accepted(&post("/in", "application/json", "{}")).body, "OK");
}

#[test]
fn queries_and_forms_are_read_too() {
    let settings = base()
        .with("send.path", text("/send"))
        .with("inbound.from", text("sender"))
        .with("inbound.text", text("msg"))
        .with("inbound.time", text("at"))
        .with("reports.status", text("dlr"))
        .with("reports.statuses", pairs(&[("1", "delivered")]));
    let adapter = Generic::new(&settings).unwrap();
    let query = "sender=%2B15005550009&msg=Gr%C3%BC%C3%9Fe+you&at=12:00:01";
    let get = RawRequest { method: Method::GET, query: query.into(), ..post("/in", "", "") };
    let form = post("/in", "application/x-www-form-urlencoded", query);
    for request in [&get, &form] {
        let events = parse(&adapter, request);
        assert_eq!(message(&events[0]).content.text, "Grüße you");
        let again = parse(&adapter, request);
        assert_eq!(again[0].id(), events[0].id(), "without an id, the same words of one time are the same message");
    }
    let report =
        RawRequest { query: "send=tok-1&part=1&n=2&dlr=1".into(), method: Method::GET, ..post("/status", "", "") };
    let events = parse(&adapter, &report);
    assert!(
        matches!(&events[..], [Inbound::Receipt(r)] if r.provider_id == "tok-1.1.2" && r.status == ReceiptStatus::Delivered),
        "{events:?}"
    );
}

fn later(request: &RawRequest, ms: i64) -> RawRequest {
    RawRequest { received_at: NOW.plus(ms), ..request.clone() }
}

#[test]
fn the_same_words_said_again_are_another_message() {
    let described = |key: &str, value: Value| {
        let settings = base().with("send.path", text("/send")).with("inbound.from", text("sender"));
        let settings = settings.with("inbound.text", text("msg")).with(key, value);
        assert_eq!(check(&settings), [], "{key}");
        Generic::new(&settings).unwrap()
    };
    let call = |extra: &str| {
        let query = format!("sender=%2B15005550009&msg=yes{extra}");
        RawRequest { method: Method::GET, query, ..post("/in", "", "") }
    };
    let id = |adapter: &Generic, request: &RawRequest| parse(adapter, request)[0].id().to_owned();
    let by_time = described("inbound.time", text("at"));
    let (first, second) = (call("&at=2026-11-23+09:00:00"), call("&at=2026-11-23+09:00:07"));
    assert_eq!(id(&by_time, &first), id(&by_time, &later(&first, 60_000)), "a call that is repeated");
    assert_ne!(id(&by_time, &first), id(&by_time, &second), "a second `yes`");
    // Neither id nor time: never a repeat.
    for adapter in [by_time, described("inbound.once", Value::Flag(true)), described("inbound.id", text("id"))] {
        let first = call("");
        assert_ne!(id(&adapter, &first), id(&adapter, &later(&first, 1)));
        assert_eq!(id(&adapter, &first), id(&adapter, &first), "out of the quarantine it is itself");
    }
    let neither = base().with("inbound.from", text("sender")).with("inbound.text", text("msg"));
    let problems = check(&neither);
    assert!(matches!(&problems[..], [p] if p.key == "inbound" && p.problem.contains("once = true")), "{problems:?}");
    assert_eq!(check(&base()), [], "a gateway that only sends");
}

#[test]
fn an_id_that_json_cannot_hold_exactly_names_nothing() {
    let item = |id: &str| format!(r#"{{"results":[{{"id":{id},"from":"15005550009","message":{{"text":"hi"}}}}]}}"#);
    let of = |id: &str| {
        let events = parse(&adapter(), &post("/in", "application/json", &item(id)));
        (events[0].id().to_owned(), message(&events[0]).provider_id.clone())
    };
    let (long, next) = (of("123456789012345678901234567890"), of("123456789012345678901234567891"));
    assert_eq!((long.1, next.1), (None, None));
    assert_eq!(of("18446744073709551615").1.as_deref(), Some("18446744073709551615"));
    assert_eq!(of(r#""123456789012345678901234567890""#).1.as_deref(), Some("123456789012345678901234567890"));
}

#[test]
fn a_call_is_read_to_its_last_item_or_kept_whole() {
    let item = |n: usize| json!({ "id": n.to_string(), "from": "15005550009", "message": { "text": "hi" } });
    let of = |count: usize| {
        let body = json!({ "results": (0..count).map(item).collect::<Vec<_>>() });
        parse(&adapter(), &post("/in", "application/json", &body.to_string()))
    };
    for count in [101, 5_000, 10_000] {
        let events = of(count);
        assert_eq!(events.len(), count);
        let kept: usize = events.iter().map(|event| kept(event).1.len()).sum();
        assert!(kept < 100 * count, "{kept} bytes are kept of a call of {count}");
        assert_eq!(message(&events[count - 1]).provider_id, Some((count - 1).to_string()));
    }
    let events = of(10_001);
    assert!(matches!(&events[..], [Inbound::Unparsed(u)] if u.reason.starts_with("more items")), "{}", events.len());
    // The address is kept with each of them.
    let body = json!({ "results": (0..2_000).map(item).collect::<Vec<_>>() });
    let long = post("/in", "application/json", &body.to_string());
    let long = RawRequest { query: "x".repeat(16_000), ..long };
    assert!(matches!(&parse(&adapter(), &long)[..], [Inbound::Unparsed(_)]));
}

/// The records of a call with two of whom one writes a field that the configuration does not name.
fn beside(adapter: &Generic, long: &str) -> [Inbound; 2] {
    let item = |name: &str, n: &str| json!({ "n": n, name: "15005550009", "message": { "text": long } });
    let body = json!({ "results": [item("from", "1"), item("msisdn", "2")], "around": "everybody" });
    parse(adapter, &post("/in", "application/json", &body.to_string())).try_into().unwrap()
}

fn kept(event: &Inbound) -> (Raw, Bytes) {
    let raw = match event {
        Inbound::Message(message) => message.raw.clone().unwrap(),
        Inbound::Unparsed(unparsed) => unparsed.raw.clone(),
        other => panic!("it keeps nothing: {other:?}"),
    };
    let bytes = from_base64(raw.inline.as_ref().expect("its own words")).unwrap();
    (raw, bytes.into())
}

#[test]
fn what_is_said_beside_others_keeps_its_own_words_and_is_read_by_them_alone() {
    let described = |from: &str| {
        let settings = settings().with("inbound.from", text(from)).with("inbound.once", Value::Flag(true));
        Generic::new(&settings).unwrap()
    };
    let (adapter, mended) = (described("/from"), described("/msisdn"));
    for long in ["yes".to_owned(), "yes ".repeat(10_000)] {
        let [said, held] = beside(&adapter, &long);
        assert!(matches!((&said, &held), (Inbound::Message(_), Inbound::Unparsed(_))));
        for (event, own) in [(&said, "1"), (&held, "2")] {
            let (_, bytes) = kept(event);
            let item: Json = serde_json::from_slice(&bytes).unwrap();
            assert_eq!((&item["n"], item.get("around")), (&json!(own), None), "nobody else's");
        }
        let again = |adapter: &Generic, event: &Inbound, at: Timestamp| {
            let (raw, bytes) = kept(event);
            let [event]: [Inbound; 1] = adapter.reparse(&raw, bytes, at).try_into().unwrap();
            event
        };
        assert_eq!(again(&adapter, &said, NOW).id(), said.id());
        assert!(matches!(again(&adapter, &held, NOW), Inbound::Unparsed(_)));
        let read = again(&mended, &held, NOW);
        assert_eq!(message(&read).content.text, long);
        // The very same words of the same person, whom a mended path finds: two messages, as in one call.
        assert_ne!(read.id(), said.id());
        assert_eq!(beside(&mended, &long)[0].id(), read.id(), "it is what it would have been in its call");
    }
    // The same that cannot be read is held once for each time that it was said.
    let (good, bad) = (json!({ "from": "1", "message": { "text": "yes" } }), json!({ "message": { "text": "yes" } }));
    let call = |body: Json| parse(&adapter, &post("/in", "application/json", &json!({ "results": body }).to_string()));
    let held = |events: &[Inbound]| {
        let held = events.iter().filter(|event| matches!(event, Inbound::Unparsed(_)));
        held.map(|event| event.id().to_owned()).collect::<BTreeSet<_>>()
    };
    let first = held(&call(json!([good, bad, bad])));
    assert_eq!(first.len(), 2);
    assert_eq!(held(&call(json!([good, bad, bad]))), first, "a call that is repeated");
    assert!(held(&call(json!([good, bad, bad, {}]))).is_disjoint(&first));
    // Where none can be read, the call is held once, and read again with each of them as it stood there.
    let whole = call(json!([bad, { "msisdn": "15005550009", "message": { "text": "yes" } }]));
    assert_eq!(whole.len(), 1, "{whole:?}");
    let (raw, bytes) = kept(&whole[0]);
    let read = mended.reparse(&raw, bytes, NOW);
    assert!(matches!(&read[..], [Inbound::Message(_), Inbound::Unparsed(u)] if u.id != whole[0].id()), "{read:?}");
}

#[test]
fn a_report_that_is_read_again_is_not_taken_for_the_only_one_of_its_call() {
    let described = |status: &str| {
        Generic::new(&settings().with("reports.list", text("/reports")).with("reports.status", text(status))).unwrap()
    };
    let body = json!({ "reports": [{ "state": "SENT", "ref": "tok-8.1.1" }, { "ref": "tok-9.1.1", "word": "LOST" }, { "word": "LOST" }] });
    let call = post("/status", "application/json", &body.to_string());
    let call = RawRequest { query: "send=tok-1&part=1&n=2".into(), ..call };
    let held = parse(&described("/state"), &call).split_off(1);
    assert_eq!(held.len(), 2, "{held:?}");
    let read = |event: &Inbound| {
        let (raw, bytes) = kept(event);
        described("/word").reparse(&raw, bytes, NOW).remove(0)
    };
    assert!(matches!(read(&held[0]), Inbound::Receipt(r) if r.send.as_deref() == Some("tok-9")));
    assert!(matches!(read(&held[1]), Inbound::Unparsed(u) if u.reason == "the report names no message"));
}

#[test]
fn the_parts_of_a_longer_text_say_that_they_are() {
    let settings = settings()
        .with("inbound.part_of", text("/udh/ref"))
        .with("inbound.part", text("/udh/part"))
        .with("inbound.parts", text("/udh/of"));
    assert_eq!(check(&settings), []);
    let adapter = Generic::new(&settings).unwrap();
    let item = |from: &str, part: Json, parts: Json| {
        // All parts have the id of the whole.
        json!({ "id": format!("of {from}"), "from": from, "to": "24453", "message": { "text": "hi" },
            "udh": { "ref": 7, "part": part, "of": parts } })
    };
    let ann = "15005550009";
    let body = json!({ "results": [
        item(ann, json!(2), json!("2")), item(ann, json!(1), json!(2)), item("15005550010", json!(1), json!(2)),
    ] });
    let events = parse(&adapter, &post("/in", "application/json", &body.to_string()));
    let meta = |event: &Inbound, name: &str| message(event).meta.get(name).cloned();
    assert_eq!(events.len(), 3, "{events:?}");
    for (event, part) in events.iter().zip(["2", "1", "1"]) {
        assert_eq!((meta(event, "part").as_deref(), meta(event, "parts").as_deref()), (Some(part), Some("2")));
    }
    assert_eq!(meta(&events[0], "part_of"), meta(&events[1], "part_of"));
    assert_ne!(meta(&events[1], "part_of"), meta(&events[2], "part_of"), "another person's");
    for (part, parts) in [(json!(1), json!(1)), (json!(3), json!(2)), (json!(0), json!(2)), (json!("x"), json!(2))] {
        let body = json!({ "results": [item(ann, part, parts)] });
        let events = parse(&adapter, &post("/in", "application/json", &body.to_string()));
        assert_eq!(meta(&events[0], "part_of"), None, "it stands alone");
    }
    let keys: Vec<_> = check(&base().with("inbound.part", text("n"))).into_iter().map(|p| p.key).collect();
    assert_eq!(keys, ["inbound.part_of", "inbound.parts"]);
}

#[test]
fn a_list_of_reports_names_its_messages_itself() {
    let settings = settings().with("reports.list", text("/reports"));
    let adapter = Generic::new(&settings).unwrap();
    let receipts = |reports: Json| {
        let request = post("/status", "application/json", &json!({ "reports": reports }).to_string());
        let request = RawRequest { query: "send=tok-9&part=1&n=1".into(), ..request };
        let receipts = parse(&adapter, &request).into_iter();
        receipts
            .map(|event| match event {
                Inbound::Receipt(Receipt { provider_id, send, .. }) => (provider_id, send),
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    let of = |id: &str, reference: Json| json!({ "id": id, "ref": reference, "state": "DELIVERED" });
    let (one, other) = (("g-1".to_owned(), Some("tok-1".to_owned())), ("g-2".to_owned(), None));
    let seen = receipts(json!([of("g-1", json!("tok-1.1.1")), of("g-2", json!(null))]));
    assert_eq!(seen, [one.clone(), other], "the address is of one text, and there are several");
    assert_eq!(receipts(json!([of("g-1", json!("tok-1.1.1"))])), [one], "what the report says itself comes first");
    assert_eq!(receipts(json!([of("g-1", json!(null))])), [("g-1".to_owned(), Some("tok-9".to_owned()))]);
}

#[test]
fn every_described_status_is_read_and_others_change_nothing() {
    for (state, wanted) in [
        ("SENT", Some(ReceiptStatus::Accepted)),
        ("delivered", Some(ReceiptStatus::Delivered)),
        ("LOST", Some(ReceiptStatus::Failed)),
        ("NEW", None),
    ] {
        let body = json!({ "id": "g-1", "ref": "tok-1.1.2", "state": state, "error": 17 });
        let events = parse(&adapter(), &post("/status", "application/json", &body.to_string()));
        let Some(wanted) = wanted else {
            assert_eq!(events, [], "{state}");
            continue;
        };
        let [Inbound::Receipt(receipt)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(
            (receipt.status, receipt.provider_id.as_str(), receipt.send.as_deref()),
            (wanted, "g-1", Some("tok-1"))
        );
        assert_eq!(receipt.code.as_deref(), (wanted == ReceiptStatus::Failed).then_some("17"));
    }
    for (body, why) in
        [(json!({ "id": "g" }), "no status"), (json!({ "state": "SENT" }), "the report names no message")]
    {
        let events = parse(&adapter(), &post("/status", "application/json", &body.to_string()));
        assert!(matches!(&events[..], [Inbound::Unparsed(u)] if u.reason.starts_with(why)), "{events:?}");
    }
}

#[test]
fn an_answer_means_what_the_description_says_and_else_nothing_is_assumed() {
    use Outcome::{Accepted, NotSent, Rejected, Unknown};
    let one = |code: &str| json!({ "messages": [{ "id": "g-1", "status": code }] }).to_string();
    for (status, body, outcome, refused, opted_out) in [
        (200, one("QUEUED"), Accepted, false, false),
        (200, one("BUSY"), NotSent, false, false),
        (200, one("BAD_NUMBER"), Rejected, false, false),
        (200, one("STOPPED"), Rejected, false, true),
        (400, one("SPAM"), Rejected, false, false),
        (200, one("NO_CREDIT"), NotSent, true, false),
        (200, one("SOMETHING_NEW"), Unknown, false, false),
        (500, one("QUEUED"), Unknown, false, false),
        (200, "{}".into(), Unknown, false, false),
        (200, "<html>".into(), Unknown, false, false),
        (401, String::new(), NotSent, true, false),
        (429, String::new(), NotSent, false, false),
        (503, String::new(), NotSent, false, false),
        (500, String::new(), Unknown, false, false),
        (404, String::new(), Unknown, false, false),
    ] {
        let answer = Response { status, headers: HeaderMap::new(), body: Bytes::from(body.clone()) };
        let seen = adapter().classify(&send("hi"), &Ok(answer), NOW);
        assert_eq!(
            (seen.outcome, seen.channel_refused, seen.opted_out),
            (outcome, refused, opted_out),
            "{status} {body}: {seen:?}"
        );
        if outcome == Accepted {
            assert_eq!(seen.provider_ids, ["g-1"]);
        }
    }
    let plain = base().with("send.path", text("/send")).with("answer.id", text("text"));
    let plain = Generic::new(&plain).unwrap();
    let answer = Response { status: 200, headers: HeaderMap::new(), body: Bytes::from_static(b" 12345\n") };
    assert_eq!(plain.classify(&send("hi"), &Ok(answer), NOW).provider_ids, ["12345"]);
    assert_eq!(plain.classify(&send("hi"), &Err(CallError::Lost("x".into())), NOW).outcome, Unknown);
}

#[test]
fn a_description_that_cannot_work_says_why() {
    for (template, why) in [
        ("{text", "a brace alone"),
        ("}", "a brace alone"),
        ("{txt}", "`{txt}` is not known"),
        ("{secret.}", "is not known"),
    ] {
        assert!(template_of(template).unwrap_err().contains(why), "{template}");
    }
    for good in ["", "{text}", "{{x}} {secret.token}", "50 %"] {
        assert_eq!(template_of(good).as_deref(), Ok(good));
    }
    assert!(
        json_of("{").is_err() && json_of(r#"{"a":"{nope}"}"#).is_err() && json_of(r#"{"a":["{text}", 7]}"#).is_ok()
    );
    assert!(path("send").is_err() && path("/send?x").is_err() && path("/send").is_ok());
    assert!(outcome("fine").is_err() && report_status("gone").is_err() && status("500").is_err());
    let keys = |settings: Settings| check(&settings).into_iter().map(|p| p.key).collect::<Vec<_>>();
    let both = settings().with("send.form", pairs(&[("a", "{secret.other}")])).with("send.basic", text("u"));
    assert_eq!(keys(both), ["send.json", "send.form", "send.basic"]);
    assert_eq!(keys(settings().with("send.method", text("GET"))), ["send.method"]);
    let header = settings().with("send.headers", pairs(&[("Host", "x")]));
    assert!(Generic::new(&header).err().unwrap()[0].problem.contains("`Host`"));
}

#[test]
fn the_conformance_kit_finds_nothing() {
    let item = json!({ "id": "1", "from": "15005550009", "to": "24453", "message": { "text": "hi" } });
    let fixtures = [
        ("message", post("/in", "application/json", &json!({ "results": [item] }).to_string())),
        (
            "report",
            post(
                "/status",
                "application/json",
                &json!({ "id": "g-1", "ref": "tok-1.1.2", "state": "LOST" }).to_string(),
            ),
        ),
        ("form", post("/in", "application/x-www-form-urlencoded", "from=1&text=x")),
    ];
    let fixtures: Vec<_> = fixtures.into_iter().map(|(name, request)| Fixture { name: name.into(), request }).collect();
    // A 503 that is described is one that is known; the kit asks for those that are not.
    let settings = settings().with("answer.outcomes", pairs(&[("QUEUED", "ok")]));
    let (adapter, send) = (Generic::new(&settings).unwrap(), send("hi"));
    let failures = testkit::check(&Kit { adapter: &adapter, fixtures: &fixtures, signature_headers: &[], send: &send });
    assert!(failures.is_empty(), "{failures:#?}");
}

proptest! {
    #[test]
    fn no_template_panics_and_what_is_filled_stays_where_it_stands(template in "[a-z{}. ]{0,30}", said in "\\PC{0,40}") {
        if let Ok(parsed) = Template::parse(&template) {
            let secrets = BTreeMap::new();
            let values = Values { text: &said, to: "1", from: "2", reference: String::new(), status_url: String::new(), secrets: &secrets };
            let filled = parsed.filled(&values, Place::Plain);
            if !template.contains(['{', '}']) {
                prop_assert_eq!(filled, template);
            }
        }
    }

    #[test]
    fn no_body_panics(path in "(/in|/status)", body in "[\\[\\]{}\":,a-z0-9/]{0,60}") {
        adapter().parse(&post(&path, "application/json", &body)).iter().for_each(|event| event.validate().unwrap());
    }
}
