use super::*;
use switchboard_envelope::{Choice, ConsentState, ReceiptStatus, Visibility};

#[test]
fn an_envelope_in_full_is_read_as_it_is_but_for_what_is_ours_to_say() {
    let body = json!({
        "v": 1, "type": "message", "id": "crm:message:evt_1", "channel": "crm", "thread": "t-1",
        "at": "2026-11-21T20:22:05.123Z", "received_at": "1999-01-01T00:00:00Z",
        "from": { "kind": "phone", "value": "+15551230001", "name": "Ann\u{7}" },
        "to": { "kind": "phone", "value": "+15559990000" },
        "content": {
            "text": "Where is my order?", "subject": "Order", "html": "<p>x</p>",
            "attachments": [{ "name": "box.jpg", "mime": "image/jpeg", "size": 9, "url": "https://files.example/box.jpg" }],
            "choice": { "id": "yes", "label": "Yes" },
        },
        "references": ["m0_1"], "visibility": "public", "automatic": true, "authenticated": true,
        "meta": { "tier": "gold", "orders": 7, "vip": true, "deep": { "a": 1 }, "none": null },
        "raw": { "content_type": "x/y", "inline": "AAAA" }, "traceparent": "00-ab-cd-01", "unknown": [1, 2],
    });
    let events = read(&body);
    let m = message(&events);
    assert_eq!((m.id.as_str(), m.provider_id.as_deref()), ("crm:message:msg_1", Some("evt_1")));
    assert_eq!((m.thread.as_str(), m.received_at), ("t-1", NOW), "our own clock");
    assert_eq!(m.at, "2026-11-21T20:22:05.123Z".parse().unwrap());
    assert_eq!((m.from.identity().as_str(), m.from.name.as_deref()), ("phone:+15551230001", Some("Ann")));
    assert_eq!(m.to.as_ref().unwrap().value, "+15559990000");
    let c = &m.content;
    assert_eq!(
        (c.text.as_str(), c.subject.as_deref(), c.html.as_deref()),
        ("Where is my order?", Some("Order"), Some("<p>x</p>"))
    );
    assert_eq!(c.choice, Some(Choice { id: "yes".into(), label: Some("Yes".into()) }));
    assert_eq!(c.attachments[0].url.as_deref(), Some("https://files.example/box.jpg"));
    assert!(c.attachments[0].is_wanted());
    assert_eq!(
        (m.references.as_slice(), m.visibility, m.automatic),
        (&["m0_1".to_owned()][..], Visibility::Public, true)
    );
    assert_eq!(m.authenticated, Some(true));
    let meta: Vec<_> = m.meta.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(meta, [("deep-a", "1"), ("orders", "7"), ("tier", "gold"), ("vip", "true")]);
    let raw = m.raw.as_ref().unwrap();
    assert_eq!(
        from_base64(raw.inline.as_deref().unwrap()).unwrap(),
        body.to_string().as_bytes(),
        "the bytes that came"
    );
    assert_eq!(m.traceparent.as_deref(), Some("00-ab-cd-01"));
}

#[test]
fn what_the_daemon_knows_may_be_left_out() {
    let events = read(&json!({ "type": "message", "from": "42", "text": "Hello" }));
    let m = message(&events);
    assert_eq!((m.from.identity().as_str(), m.thread.as_str()), ("crm:42", "42"));
    assert_eq!((m.content.text.as_str(), m.at, m.provider_id.as_deref()), ("Hello", NOW, Some("msg_1")));
}

#[test]
fn a_payload_in_a_frame_is_read_too() {
    let framed = read(&json!({
        "type": "message.inbound", "id": "evt_1", "timestamp": "2026-08-31T10:00:00Z",
        "data": { "from": "ext-user-1", "text": "Hello", "thread": "t-1" },
    }));
    let m = message(&framed);
    assert_eq!((m.from.value.as_str(), m.thread.as_str(), m.content.text.as_str()), ("ext-user-1", "t-1", "Hello"));
    assert_eq!((m.at, m.provider_id.as_deref()), ("2026-08-31T10:00:00Z".parse().unwrap(), Some("evt_1")));
    // In an envelope these are unknown fields, of whatever type.
    let plain = json!({ "v": 1, "type": "message", "from": "42", "text": "hi", "id": 7, "timestamp": 9, "data": 1 });
    assert_eq!(
        reason(&read(&plain)).split(" at ").next(),
        Some("a field is missing or has another type or form: `id`"),
        "an id is a text"
    );
    let plain =
        json!({ "v": 1, "type": "message", "from": "42", "text": "hi", "timestamp": 9, "data": { "text": "no" } });
    assert_eq!(message(&read(&plain)).content.text, "hi");
}

#[test]
fn what_the_receiver_tells_of_our_messages() {
    let events = read(&json!({
        "type": "receipt", "send": "m0", "part": 1, "n": 2, "status": "failed", "code": "E7", "detail": "no such user\n",
    }));
    let [Inbound::Receipt(r)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((r.id.as_str(), r.provider_id.as_str(), r.status), ("crm:receipt:msg_1", "m0_1", ReceiptStatus::Failed));
    assert_eq!((r.send.as_deref(), r.part, r.n, r.at), (Some("m0"), Some(1), Some(2), NOW));
    assert_eq!((r.code.as_deref(), r.detail.as_deref()), (Some("E7"), Some("no such user")));
    let events = read(&json!({ "type": "receipt", "provider_id": "7", "status": "read" }));
    let [Inbound::Receipt(r)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((r.provider_id.as_str(), &r.send), ("7", &None));
    assert!(reason(&read(&json!({ "type": "receipt", "status": "read" }))).starts_with("field provider_id"));

    let events = read(&json!({ "type": "consent", "address": "42", "state": "opted_out", "reason": "asked" }));
    let [Inbound::Consent(c)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(
        (c.address.identity().as_str(), c.state, c.reason.as_deref()),
        ("crm:42", ConsentState::OptedOut, Some("asked"))
    );

    let events = read(&json!({ "type": "echo", "to": "42", "text": "we called you", "provider_id": "e1" }));
    let [Inbound::Echo(e)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((e.provider_id.as_str(), e.thread.as_str(), e.content.text.as_str()), ("e1", "42", "we called you"));
}

#[test]
fn what_cannot_be_understood_is_kept_with_a_reason_that_quotes_nothing() {
    let many: Vec<Value> = (0..31).map(|_| json!({ "url": "https://a.example" })).collect();
    for (body, why) in [
        ("hello+15551230001".to_owned(), "it is no JSON at line 1, column 1"),
        (r#"{"type":"message","from":"42","text":"+15551230001""#.to_owned(), "it ends too early"),
        ("[]".to_owned(), "a field is missing or has another type or form"),
        (json!({ "v": 2, "type": "message" }).to_string(), "field v: this build reads version 1"),
        (json!({ "type": "command", "action": {} }).to_string(), "field type: a webhook channel takes"),
        (json!({ "type": "result" }).to_string(), "field type: a webhook channel takes"),
        (json!({ "type": "contact.created", "data": {} }).to_string(), "field type: unknown"),
        (
            json!({ "type": "message", "text": "hi" }).to_string(),
            "a field is missing or has another type or form: `from`",
        ),
        (json!({ "type": "message", "from": "42" }).to_string(), "field content: write it, or text"),
        (json!({ "type": "message", "from": "", "text": "hi" }).to_string(), "field thread: must hold 1 to 1024 bytes"),
        (json!({ "type": "message", "from": "a\u{0}", "text": "hi" }).to_string(), "field from: holds a control"),
        (
            json!({ "type": "message", "from": { "kind": "a:b", "value": "c" }, "text": "hi" }).to_string(),
            "field from: its kind",
        ),
        (json!({ "type": "message", "channel": "sms", "from": "42", "text": "hi" }).to_string(), "field channel"),
        (json!({ "type": "message", "thread": "a\nb", "from": "42", "text": "hi" }).to_string(), "field thread: holds"),
        (
            json!({ "type": "message", "from": "42", "content": { "attachments": many } }).to_string(),
            "field content.attachments",
        ),
        (
            json!({ "type": "message", "from": "x".repeat(513), "thread": "t", "text": "hi" }).to_string(),
            "field from: value",
        ),
    ] {
        let events = read_text(&body);
        assert!(reason(&events).starts_with(why), "{}: {body}", reason(&events));
        assert!(!reason(&events).contains("+1555"), "{}", reason(&events));
        let [Inbound::Unparsed(u)] = events.as_slice() else { unreachable!() };
        assert_eq!(u.id, "crm:unparsed:msg_1");
        assert_eq!(from_base64(u.raw.inline.as_deref().unwrap()).unwrap(), body.as_bytes());
        assert_eq!(adapter().reparse(&u.raw, body.into_bytes().into(), NOW), events, "and is read again alike");
    }
}

#[test]
fn a_file_names_no_blob_of_ours() {
    let events = read(&json!({ "type": "message", "from": "42", "content": { "attachments": [
        { "ref": "blob:sha256:00", "name": "stolen" },
        { "url": "file:///etc/passwd" },
        { "url": "https://files.example/a", "mime": "no mime", "name": " " },
        { "url": format!("https://files.example/{}", "a".repeat(2048)) },
    ] } }));
    let files = &message(&events).content.attachments;
    assert!(files.iter().all(|f| f.blob.is_none()));
    let wanted: Vec<_> = files.iter().map(Attachment::is_wanted).collect();
    assert_eq!(wanted, [false, false, true, false]);
    assert_eq!((files[2].name.as_str(), files[2].mime.as_str()), ("file-3", "application/octet-stream"));
    assert_eq!(files[0].problem.as_ref().unwrap().detail, "it came without an address");
}

#[test]
fn an_id_of_any_length_makes_a_key_and_equal_ids_equal_keys() {
    let body = json!({ "type": "message", "from": "42", "text": "hi" }).to_string();
    let id_of = |id: &str| adapter().parse(&signed(id, body.as_bytes()))[0].id().to_owned();
    assert_eq!(id_of("evt.7"), "crm:message:evt.7");
    let long = "x".repeat(4000);
    assert_eq!(id_of(&long), id_of(&long));
    assert_ne!(id_of(&long), id_of(&format!("{long}y")));
    assert_eq!(id_of("with blank").len(), "crm:message:".len() + 64);
    // A request that was let through without an id is known by its body.
    let unsigned = request(&[], body.as_bytes());
    let again = adapter().parse(&unsigned);
    assert_eq!(again[0].id(), adapter().parse(&unsigned)[0].id());
    assert_ne!(again[0].id(), adapter().parse(&request(&[], b"{}"))[0].id());
}

fn meta(written: &Value) -> Vec<(String, String)> {
    let events = read(&json!({ "type": "message", "from": "42", "text": "Hi", "meta": written }));
    message(&events).meta.clone().into_iter().collect()
}

#[test]
fn lists_and_what_objects_hold_are_texts_for_rules() {
    let written = json!({
        "skills": ["support", "en", 2, true, null, "", ["deep"], { "deep": 1 }],
        "none": [], "nulls": [null, {}], "empty": {},
        "customer": { "tier": "gold", "langs": ["de", "en"], "orders": { "open": 1 }, "no name": "x", "a.b": "y" },
        "customer-tier": "written out",
        "with space": { "key": "z" },
    });
    let wanted = [("customer-langs", "de, en"), ("customer-tier", "written out"), ("skills", "support, en, 2, true")];
    let found = meta(&written);
    assert_eq!(found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), wanted);
}

#[test]
fn what_meta_holds_is_bounded_and_is_the_same_each_time() {
    let many: serde_json::Map<String, Value> = (0..300).rev().map(|n| (format!("n{n:03}"), json!(n))).collect();
    let found = meta(&json!({ "in": many, "list": vec!["ab"; 1000] }));
    assert_eq!((found.len(), found[0].0.as_str(), found[99].0.as_str()), (100, "in-n000", "in-n099"));
    assert_eq!(meta(&json!({ "list": vec!["ab"; 1000] }))[0].1.len(), 100 * 4 - 2);
    // What finds no room does not take away that of others.
    let long = "x".repeat(20_000);
    let found = meta(&json!({ "a": long, "b": [long], "c": { "d": "short" } }));
    assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "c-d"]);
}

#[test]
fn a_long_body_is_left_to_whoever_stores_it() {
    let body = json!({ "type": "message", "from": "42", "text": "x".repeat(20_000) });
    let events = read(&body);
    let raw = message(&events).raw.as_ref().unwrap();
    assert_eq!((&raw.inline, &raw.blob), (&None, &None));
}

proptest! {
    #[test]
    fn no_json_panics(text in "\\PC{0,200}", kind in "message|receipt|consent|echo|x") {
        let body = json!({ "type": kind, "from": &text, "to": &text, "address": &text, "text": &text, "thread": &text,
            "status": "read", "state": "opted_in", "send": &text, "provider_id": &text, "meta": { &text: &text } });
        for event in adapter().parse(&signed("msg_1", body.to_string().as_bytes())) {
            event.validate().unwrap();
        }
        adapter().parse(&signed("msg_1", text.as_bytes()));
    }
}
