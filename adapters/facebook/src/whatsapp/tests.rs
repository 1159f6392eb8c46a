//! WhatsApp over the recorded corpus, and what the corpus does not show.

use super::{codes::CODES, *};
use crate::{fixtures, hook};
use http::{HeaderMap, Method};
use serde_json::json;
use switchboard_adapter_sdk::{
    CallBody, Response, Secret,
    classify::Class,
    settings::Value as Setting,
    signature::{Mac, to_hex},
    testkit::{self, Fixture, Kit},
};
use switchboard_envelope::{Author, Choice, ConsentState, Content, Message, Outcome, Receipt, ReceiptStatus, Template};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const ANN: &str = "15005550009";
const NUMBER: &str = "106540352242922";
const SECRET: &str = "an-app-secret";

fn settings() -> Settings {
    let secret = |text: &str| Setting::Secrets(vec![Secret::new(text)]);
    Settings::new("wa", Some("https://hooks.shop.example"))
        .with("phone_number_id", Setting::Text(NUMBER.into()))
        .with("app_secret", secret(SECRET))
        .with("verify_token", secret("meatyhamhock"))
        .with("access_token", secret("a-token"))
}

fn adapter() -> Arc<dyn Adapter> {
    crate::build(&PRODUCT, &settings()).unwrap()
}

fn signed(body: &[u8]) -> RawRequest {
    let mut headers = HeaderMap::new();
    let tag = to_hex(&Mac::sha256(SECRET.as_bytes()).sign(body));
    headers.insert(hook::HEADER, format!("sha256={tag}").parse().unwrap());
    let body = Bytes::copy_from_slice(body);
    let (path, query, url) = (String::new(), String::new(), "https://hooks.shop.example/hooks/wa".into());
    RawRequest { method: Method::POST, path, query, headers, body, url, received_at: NOW }
}

fn wrapped(field: &str, value: Value) -> Vec<u8> {
    let mut whole = json!({ "metadata": { "display_phone_number": "15550001111", "phone_number_id": NUMBER },
        "contacts": [{ "profile": { "name": "Kim" }, "wa_id": ANN }] });
    whole.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    json!({ "object": "whatsapp_business_account", "entry": [{ "id": "1", "changes": [{ "field": field, "value": whole }] }] })
        .to_string()
        .into_bytes()
}

fn read(items: &[Value]) -> Vec<Inbound> {
    adapter().parse(&signed(&wrapped("messages", json!({ "messages": items }))))
}

fn item(kind: &str, told: Value) -> Value {
    json!({ "from": ANN, "id": format!("wamid.{kind}"), "timestamp": "1756632000", "type": kind, (kind): told })
}

fn message(events: &[Inbound]) -> &Message {
    let [Inbound::Message(message)] = events else { panic!("not one message: {events:#?}") };
    message
}

fn receipt(events: &[Inbound]) -> &Receipt {
    let [Inbound::Receipt(receipt)] = events else { panic!("not one receipt: {events:#?}") };
    receipt
}

fn index() -> Vec<Value> {
    fixtures::json("whatsapp/index.json")["files"].as_array().unwrap().clone()
}

fn webhooks() -> Vec<(Fixture, Value)> {
    let all = index().into_iter().filter(|entry| entry["request"].as_str().is_some_and(|r| r.starts_with("POST")));
    all.map(|entry| {
        let name = entry["file"].as_str().unwrap().to_owned();
        let request = signed(&fixtures::bytes(&format!("whatsapp/{name}")));
        (Fixture { name, request }, entry)
    })
    .collect()
}

fn same(name: &str, expected: &Value, key: &str, seen: impl Into<Value>) {
    let Some(wanted) = expected.get(key) else { return };
    let seen = seen.into();
    let alike = wanted == &seen || seen.as_str().is_some_and(|text| text == wanted.to_string().trim_matches('"'));
    assert!(alike, "{name}: {key}: {wanted} is not {seen}");
}

/// The corpus's word for what became of an answer. Who stopped one kind of message is not opted out of others.
fn class(word: &str) -> &str {
    if word == "opted-out" { "permanent-message" } else { word }
}

fn classes(word: &str) -> &'static [Class] {
    testkit::classes(class(word))
}

#[test]
fn every_webhook_reads_as_the_corpus_says() {
    let all = webhooks();
    assert!(all.len() >= 17, "{} files", all.len());
    for (fixture, entry) in all {
        let (name, kind, expected) = (fixture.name.as_str(), entry["kind"].as_str().unwrap(), &entry["expected"]);
        let (consents, events): (Vec<Inbound>, Vec<Inbound>) =
            adapter().parse(&fixture.request).into_iter().partition(|event| event.kind() == "consent");
        let is_of_sales = |c: &Inbound| matches!(c, Inbound::Consent(c) if c.topic.as_deref() == Some("marketing"));
        assert!(consents.iter().all(is_of_sales), "{name}: answers are not opted out of");
        if kind.starts_with("status.") {
            let receipt = receipt(&events);
            let word = match receipt.status {
                ReceiptStatus::Accepted => "status.sent",
                ReceiptStatus::Delivered => "status.delivered",
                ReceiptStatus::Read => "status.read",
                ReceiptStatus::Failed => "status.failed",
            };
            assert_eq!(word, kind, "{name}");
            same(name, expected, "id", receipt.provider_id.clone());
            same(name, expected, "code", receipt.code.clone().unwrap_or_default());
            assert_eq!(consents.len(), usize::from(receipt.code.as_deref() == Some("131050")), "{name}");
            if let Some(wanted) = expected["class_"].as_str() {
                let row = CODES.iter().find(|row| Some(row.code) == receipt.code.as_deref()).unwrap();
                assert!(classes(wanted).contains(&row.class), "{name}: {wanted} is not {:?}", row.class);
                assert_eq!(receipt.detail.as_deref(), Some(row.sentence), "{name}");
            }
            continue;
        }
        let message = message(&events);
        let choice = message.content.choice.as_ref().map(|c| c.id.clone()).unwrap_or_default();
        assert!(!message.content.text.is_empty() || !message.content.attachments.is_empty(), "{name}");
        same(name, expected, "text", message.content.text.clone());
        same(name, expected, "sender", message.from.value.clone());
        same(name, expected, "payload", choice);
        same(name, expected, "reply_to", message.references.first().cloned().unwrap_or_default());
        same(name, expected, "message", message.references.first().cloned().unwrap_or_default());
        same(name, expected, "code", message.meta.get("error").cloned().unwrap_or_default());
        same(name, expected, "group", message.meta.get("group").cloned().unwrap_or_default());
        same(name, expected, "category", message.meta.get("category").cloned().unwrap_or_default());
        same(name, expected, "voice", message.meta.get("voice").is_some_and(|v| v == "true"));
        if let Some(emoji) = expected.get("emoji") {
            let event = message.meta["event"].as_str();
            assert_eq!(event, if emoji.is_null() { "unreact" } else { "reaction" }, "{name}");
        }
        for (field, value) in expected["fields"].as_object().into_iter().flatten() {
            assert_eq!(Some(message.meta[&format!("form_{field}")].as_str()), value.as_str(), "{name}");
        }
        let noted = matches!(kind, "reaction" | "opt_out" | "opt_in");
        assert_eq!(message.automatic, noted, "{name}: what is no message is answered by no rule");
        assert_eq!(consents.len(), usize::from(matches!(kind, "opt_out" | "opt_in")), "{name}");
    }
}

#[test]
fn every_answer_is_classified_as_the_corpus_says() {
    let mut seen = 0;
    for entry in index() {
        let name = entry["file"].as_str().unwrap();
        let Some(status) = name.strip_prefix("api-").and_then(|rest| rest.get(..3)) else { continue };
        seen += 1;
        let body = fixtures::bytes(&format!("whatsapp/{name}"));
        let response = Response { status: status.parse().unwrap(), headers: HeaderMap::new(), body: body.into() };
        let outcome = adapter().classify(&send("hi"), &Ok(response), NOW);
        let wanted = class(entry["expected"]["class_"].as_str().unwrap_or("ok"));
        assert!(testkit::ended_as(wanted, &outcome), "{name}: {wanted} is not {outcome:?}");
        assert_eq!(outcome.provider_ids.len(), usize::from(outcome.outcome == Outcome::Accepted), "{name}");
    }
    assert!(seen >= 6, "{seen} answers");
    for row in CODES {
        let body = json!({ "error": { "code": row.code.parse::<i64>().unwrap(), "message": "x" } }).to_string();
        let response = Response { status: 400, headers: HeaderMap::new(), body: body.into() };
        let outcome = adapter().classify(&send("hi"), &Ok(response), NOW);
        assert_eq!(
            (outcome.outcome, outcome.detail.as_deref()),
            (row.class.outcome(), Some(row.sentence)),
            "{}",
            row.code
        );
    }
}

/// As `protocols.md` 10 lists them. Who stopped marketing is still answered, so 131050 is of the message; what comes later is a
/// retry that waits a day, see [`what_whatsapp_takes_tomorrow_is_tried_tomorrow`].
#[test]
fn every_documented_code_is_in_its_class_and_no_other_is_in_the_table() {
    let documented = [
        (Class::RateLimit, "4 80007 130429 131048 131056 133016"),
        (Class::Retry, "1 2 131000 131016 131053 131049 130472"),
        (Class::OutsideWindow, "131047"),
        (Class::PermanentRecipient, "131026 131021 131045 130497"),
        (
            Class::PermanentMessage,
            "131050 100 131008 131009 131051 131052 132000 132001 132005 132007 132012 132015 132016",
        ),
        (Class::Config, "0 3 10 190 131031 131042 368 133010"),
    ];
    let documented: Vec<_> =
        documented.iter().flat_map(|(class, codes)| codes.split(' ').map(move |code| (code, *class))).collect();
    for (code, class) in &documented {
        let rows: Vec<_> = CODES.iter().filter(|row| row.code == *code).map(|row| row.class).collect();
        assert_eq!(rows, [*class], "{code}");
    }
    assert_eq!(CODES.len(), documented.len());
    let of = |code: i64| {
        let body = json!({ "error": { "code": code, "message": "x" } }).to_string();
        let response = Response { status: 400, headers: HeaderMap::new(), body: body.into() };
        let outcome = adapter().classify(&send("hi"), &Ok(response), NOW);
        (outcome.outcome, outcome.channel_refused)
    };
    (200..=299).for_each(|code| assert_eq!(of(code), (Outcome::NotSent, true), "{code}"));
    (132_000..=132_016).for_each(|code| assert_eq!(of(code), (Outcome::Rejected, false), "{code}"));
}

#[test]
fn who_stops_what_is_sold_to_them_is_opted_out_of_that_alone() {
    let preference = |category: &str, value: &str| {
        let item = json!({ "wa_id": ANN, "category": category, "value": value, "timestamp": 1_756_632_000 });
        adapter().parse(&signed(&wrapped("user_preferences", json!({ "user_preferences": [item] }))))
    };
    for (value, wanted) in [("stop", ConsentState::OptedOut), ("resume", ConsentState::OptedIn)] {
        let events = preference("marketing_messages", value);
        let [Inbound::Message(note), Inbound::Consent(consent)] = &events[..] else { panic!("{events:?}") };
        assert!(note.automatic && note.meta["preference"] == value);
        assert_eq!((consent.state, consent.topic.as_deref()), (wanted, Some("marketing")));
        assert_eq!(consent.address, Address::new("whatsapp", ANN));
        assert_eq!(Inbound::Consent(consent.clone()).validate().map_err(|e| e.to_string()), Ok(()));
    }
    for (category, value) in [("marketing_messages", "later"), ("news_of_tomorrow", "stop")] {
        assert!(matches!(preference(category, value)[..], [Inbound::Message(_)]), "{category} {value}");
    }
    let failed = |code: i64| {
        let status = json!({ "id": "wamid.1", "status": "failed", "timestamp": "1756632000", "recipient_id": ANN, "errors": [{ "code": code }] });
        adapter().parse(&signed(&wrapped("messages", json!({ "statuses": [status] }))))
    };
    let events = failed(131_050);
    let [Inbound::Receipt(_), Inbound::Consent(consent)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((consent.state, consent.topic.as_deref()), (ConsentState::OptedOut, Some("marketing")));
    assert!(matches!(failed(131_026)[..], [Inbound::Receipt(_)]));
}

#[test]
fn what_whatsapp_takes_tomorrow_is_tried_tomorrow() {
    let day = 86_400_000;
    for (code, wanted) in [(131_049, Some(day)), (130_472, Some(day)), (131_016, None)] {
        let body = json!({ "error": { "code": code, "message": "x" } }).to_string();
        let response = Response { status: 400, headers: HeaderMap::new(), body: body.into() };
        let outcome = adapter().classify(&send("hi"), &Ok(response), NOW);
        assert_eq!((outcome.outcome, outcome.retry_after_ms), (Outcome::NotSent, wanted), "{code}");
        // Others are written to meanwhile.
        let fault = wanted.map(|_| switchboard_envelope::Fault::Recipient);
        assert_eq!(outcome.fault, fault, "{code}");
    }
    let of_one = json!({ "error": { "code": 131_056, "message": "x" } }).to_string();
    let response = Response { status: 400, headers: HeaderMap::new(), body: of_one.into() };
    let outcome = adapter().classify(&send("hi"), &Ok(response), NOW);
    assert_eq!((outcome.outcome, outcome.fault), (Outcome::NotSent, Some(switchboard_envelope::Fault::Recipient)));
    assert!(adapter().profile().not_after_ms > i64::try_from(day).unwrap(), "it is still wanted then");
}

#[test]
fn the_conformance_kit_finds_nothing() {
    let fixtures: Vec<Fixture> = webhooks().into_iter().map(|(fixture, _)| fixture).collect();
    let (adapter, send) = (adapter(), send("hi"));
    let kit = Kit { adapter: adapter.as_ref(), fixtures: &fixtures, signature_headers: &[hook::HEADER], send: &send };
    let failures = testkit::check(&kit);
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn one_bad_item_spoils_none_of_its_neighbours() {
    let good = |id: &str| json!({ "from": ANN, "id": id, "timestamp": "1756632000", "type": "text", "text": { "body": "hi" } });
    let bad = [
        json!({ "from": ANN, "timestamp": "1", "type": "text", "text": { "body": "no id" } }),
        json!({ "id": "wamid.2", "type": "text", "text": { "body": "from nobody" } }),
        item("brand_new", json!({})),
        item("image", json!({})),
        item("text", json!({ "body": "" })),
        json!(7),
    ];
    let events = read(&[vec![good("wamid.1")], bad.to_vec(), vec![good("wamid.9")]].concat());
    let ids: Vec<&str> = events.iter().filter(|e| e.kind() == "message").map(Inbound::id).collect();
    assert_eq!(ids, ["wa:message:wamid.1", "wa:message:wamid.9"]);
    assert_eq!(events.iter().filter(|e| e.kind() == "unparsed").count(), bad.len(), "{events:#?}");
    let other =
        String::from_utf8(wrapped("messages", json!({ "messages": [good("wamid.1")] }))).unwrap().replace(NUMBER, "1");
    assert!(matches!(adapter().parse(&signed(other.as_bytes()))[..], [Inbound::Unparsed(_)]), "another number");
    let field = wrapped("message_template_status_update", json!({ "event": "APPROVED" }));
    assert!(matches!(adapter().parse(&signed(&field))[..], [Inbound::Unparsed(_)]), "another field");
}

fn kept(inbound: &Inbound) -> Vec<u8> {
    let Inbound::Message(message) = inbound else { panic!("not a message: {inbound:#?}") };
    let raw = message.raw.as_ref().unwrap();
    assert!(raw.blob.is_none());
    switchboard_adapter_sdk::signature::from_base64(raw.inline.as_ref().expect("its own bytes")).unwrap()
}

#[test]
fn nobodys_record_holds_what_somebody_else_wrote() {
    // So long that it becomes a blob, of which only the event's own bytes may be one.
    let of = |who: &str, text: &str| json!({ "from": who, "id": format!("wamid.{who}"), "timestamp": "1756632000", "type": "text", "text": { "body": text } });
    let (long, told) =
        ("a".repeat(40_000), |who: &str, name: &str| json!({ "profile": { "name": name }, "wa_id": who }));
    let value = json!({ "messages": [of(ANN, &long), of("15005550010", "a secret of Bob's")],
        "contacts": [told("15005550010", "Bob"), told(ANN, "Ann")] });
    let events = adapter().parse(&signed(&wrapped("messages", value)));
    let [ann, bob] = [&events[0], &events[1]].map(|event| String::from_utf8(kept(event)).unwrap());
    assert!(
        ann.contains(&long) && ann.contains("Ann") && !ann.contains("Bob") && !ann.contains("15005550010"),
        "{ann:.2000}"
    );
    assert!(bob.contains("Bob") && !bob.contains("Ann") && !bob.contains(ANN));
    let Inbound::Message(bobs) = &events[1] else { panic!() };
    assert_eq!(bobs.from.name.as_deref(), Some("Bob"));
    // What is kept is read again as it was.
    let again = adapter().reparse(bobs.raw.as_ref().unwrap(), Bytes::from(bob), NOW);
    assert_eq!(again[0].id(), events[1].id());
}

#[test]
fn a_delivery_that_would_become_gigabytes_is_counted_before_it_is_made() {
    let item = json!({ "from": ANN, "id": "wamid.1", "type": "text", "text": { "body": "x" } });
    let items = |count: usize| vec![item.clone(); count];
    let long = json!({ "profile": { "name": "n".repeat(500_000) }, "wa_id": ANN });
    let more: Vec<Value> = (0..4000).map(|n| json!({ "wa_id": format!("{n:0>100}") })).collect();
    let deliveries = [
        (json!({ "messages": items(4000), "contacts": [long.clone()] }), "around"),
        (json!({ "messages": items(4000), "contacts": [long, { "wa_id": "1" }] }), "around"),
        (json!({ "messages": items(4000), "errors_of_all": "e".repeat(500_000) }), "around"),
        (json!({ "messages": items(9000) }), "more events"),
        (json!({ "messages": items(4000), "contacts": more }), ""),
    ];
    let adapter = adapter();
    for (value, wanted) in deliveries {
        let began = std::time::Instant::now();
        let events = adapter.parse(&signed(&wrapped("messages", value)));
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
        match events.as_slice() {
            [Inbound::Unparsed(whole)] => {
                assert!(!wanted.is_empty() && whole.reason.contains(wanted), "{}", whole.reason)
            }
            // One id, however often it comes.
            other => assert!(wanted.is_empty() && other.len() == 1, "{wanted}: {}", other.len()),
        }
    }
}

#[test]
fn somebody_without_a_number_and_a_group_can_be_answered() {
    let mut unnamed = item("text", json!({ "body": "hi" }));
    unnamed.as_object_mut().unwrap().remove("from");
    unnamed["from_user_id"] = json!("US.1234");
    let events = read(&[unnamed]);
    assert_eq!((message(&events).thread.as_str(), message(&events).from.value.as_str()), ("US.1234", "US.1234"));
    let mut grouped = item("text", json!({ "body": "hi" }));
    grouped["group_id"] = json!("555");
    let events = read(&[grouped]);
    let said = message(&events);
    assert_eq!(
        (said.thread.as_str(), said.from.value.as_str(), said.from.name.as_deref()),
        ("group:555", ANN, Some("Kim"))
    );
    let answer = Send { thread: said.thread.clone(), ..send("hi all") };
    assert_eq!((body(&answer)["recipient_type"].as_str(), body(&answer)["to"].as_str()), (Some("group"), Some("555")));
    let answer = Send { reply_to: vec!["wamid.1".into()], ..answer };
    assert_eq!(body(&answer)["context"], json!({ "message_id": "wamid.1" }), "in a group it says whom it answers");
    assert_eq!(body(&Send { thread: ANN.into(), ..answer })["context"], Value::Null);
}

#[test]
fn a_status_names_the_attempt_that_it_is_of() {
    let status = |word: &str, more: Value| {
        let mut told = json!({ "id": "wamid.OUT", "status": word, "timestamp": "1756632005", "recipient_id": ANN });
        told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        adapter().parse(&signed(&wrapped("messages", json!({ "statuses": [told] }))))
    };
    let events = status("sent", json!({ "biz_opaque_callback_data": "mAbC.1.2" }));
    assert_eq!(
        (receipt(&events).send.as_deref(), receipt(&events).part, receipt(&events).n),
        (Some("mAbC"), Some(1), Some(2))
    );
    assert_eq!(receipt(&status("played", json!({}))).status, ReceiptStatus::Read);
    let unknown = status("failed", json!({ "errors": [{ "code": 999_999 }] }));
    assert!(receipt(&unknown).detail.as_ref().is_some_and(|d| d.len() > 10));
    // It was taken first, and refused later: nobody sends it again by themselves.
    let capped = status("failed", json!({ "errors": [{ "code": 131_049 }] }));
    assert_eq!((receipt(&capped).status, receipt(&capped).code.as_deref()), (ReceiptStatus::Failed, Some("131049")));
    let told = receipt(&capped).detail.clone().unwrap_or_default();
    assert!(told.contains("marketing") && told.ends_with("by hand after 2025-09-01T09:20:05.000Z"), "{told}");
    for word in ["deleted", "brand_new"] {
        assert!(status(word, json!({})).is_empty(), "{word}");
    }
}

#[test]
fn kinds_of_messages_show_what_they_say() {
    for (kind, told, text, files) in [
        ("location", json!({ "latitude": 48.5, "longitude": 2.25, "name": "Shop" }), "[location: 48.5, 2.25]\nShop", 0),
        ("image", json!({ "id": "7", "mime_type": "image/jpeg", "caption": "my box" }), "my box", 1),
        ("document", json!({ "id": "7", "filename": "../bill.pdf" }), "", 1),
        ("order", json!({ "product_items": [{}, {}], "text": "quickly" }), "[an order of 2 items] quickly", 0),
        ("button", json!({ "payload": "P", "text": "No" }), "No", 0),
        ("interactive", json!({ "button_reply": { "id": "b", "title": "Yes" } }), "Yes", 0),
        ("edit", json!({ "original_message_id": "wamid.1", "message": { "text": { "body": "better" } } }), "better", 0),
    ] {
        let events = read(&[item(kind, told)]);
        let said = message(&events);
        assert_eq!((said.content.text.as_str(), said.content.attachments.len()), (text, files), "{kind}");
        assert!(
            !said.automatic && said.content.attachments.iter().all(|f| f.is_wanted() && !f.name.contains('/')),
            "{kind}"
        );
    }
    let cards = json!({ "from": ANN, "id": "wamid.c", "type": "contacts",
        "contacts": [{ "name": { "formatted_name": "Bob" }, "phones": [{ "phone": "+1 500" }] }] });
    assert_eq!(message(&read(&[cards])).content.text, "[Bob] +1 500");
}

#[test]
fn a_file_is_asked_about_and_then_fetched_and_our_token_goes_to_meta_alone() {
    let events = read(&[item("image", json!({ "id": "1003383421387257", "mime_type": "image/jpeg" }))]);
    let asked = &message(&events).content.attachments[0];
    let call = adapter().fetch(asked).unwrap();
    assert_eq!(call.url, "https://graph.facebook.com/v26.0/1003383421387257");
    assert_eq!(call.headers, [("authorization", "Bearer a-token".to_owned())]);
    let told = |url: &str| {
        let body = json!({ "url": url, "mime_type": "image/jpeg", "id": "1003383421387257" }).to_string();
        adapter().listed(asked, &Bytes::from(body)).unwrap().remove(0)
    };
    let found = told("https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1");
    assert!(found.is_wanted() && found.mime == "image/jpeg");
    assert_eq!(adapter().fetch(&found).unwrap().headers.len(), 1);
    assert!(adapter().listed(&found, &Bytes::from_static(b"{}")).is_none(), "a file is no list");
    for (elsewhere, has_call) in
        [("https://evilfbsbx.com/a", true), ("https://a.example/fbsbx.com", true), ("https://10.0.0.1/a", false)]
    {
        let call = adapter().fetch(&told(elsewhere));
        assert_eq!(call.is_some(), has_call, "{elsewhere}");
        assert!(call.is_none_or(|call| call.headers.is_empty()), "{elsewhere}");
    }
    assert!(!told("https://graph.facebook.com/v26.0/7").is_wanted(), "not in circles");
    assert!(!adapter().listed(asked, &Bytes::from_static(b"nonsense")).unwrap()[0].is_wanted());
    let odd = read(&[item("image", json!({ "id": "../me?fields=secrets" }))]);
    assert!(!message(&odd).content.attachments[0].is_wanted(), "an id that is none is no path");
}

fn send(text: &str) -> Send {
    Send {
        send: "mAbC".into(),
        part: 1,
        n: 1,
        until: NOW.plus(120_000),
        channel: "wa".into(),
        conversation: "c1".into(),
        thread: ANN.into(),
        to: Address::new("whatsapp", ANN),
        content: Content::text(text),
        author: Author::Agent { id: "ann".into() },
        reply_to: vec![],
        traceparent: None,
        mail: None,
        window_until: Some(NOW.plus(3_600_000)),
    }
}

fn body(send: &Send) -> Value {
    let call = adapter().encode(send).unwrap();
    let CallBody::Bytes("application/json", bytes) = &call.body else { panic!("no JSON") };
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn a_text_goes_as_meta_documents_it() {
    let call = adapter().encode(&send("Grüße")).unwrap();
    let proof = to_hex(&Mac::sha256(SECRET.as_bytes()).sign(b"a-token"));
    assert_eq!(call.url, format!("https://graph.facebook.com/v26.0/{NUMBER}/messages?appsecret_proof={proof}"));
    assert_eq!(call.headers, [("authorization", "Bearer a-token".to_owned())]);
    let wanted = json!({ "messaging_product": "whatsapp", "recipient_type": "individual", "to": ANN, "type": "text",
        "text": { "body": "Grüße", "preview_url": false }, "biz_opaque_callback_data": "mAbC.1.1" });
    assert_eq!(body(&send("Grüße")), wanted);
}

#[test]
fn outside_the_window_only_an_approved_text_goes() {
    let mut late = Send { window_until: Some(NOW.plus(-3_600_000)), ..send("") };
    assert_eq!(adapter().encode(&late).unwrap_err().outcome, Outcome::Rejected);
    late.content.template = Some(Template {
        name: "order_ready".into(),
        language: "en_US".into(),
        values: vec!["7".into()],
        category: None,
    });
    let told = body(&late);
    assert_eq!(told["type"], "template");
    assert_eq!(
        told["template"],
        json!({ "name": "order_ready", "language": { "code": "en_US" },
        "components": [{ "type": "body", "parameters": [{ "type": "text", "text": "7" }] }] })
    );
    let profile = adapter().profile();
    assert!(profile.templates && profile.window_ms == Some(24 * 3_600_000) && profile.person_window_ms.is_none());
}

#[test]
fn choices_are_buttons_or_a_list_as_many_as_they_are() {
    let with = |count: usize| {
        let mut send = send("Which?");
        let choice = |n: usize| Choice { id: format!("C{n}"), label: Some(format!("Choice {n}")) };
        send.content.choices = (1..=count).map(choice).collect();
        body(&send)
    };
    let three = with(3);
    assert_eq!(three["interactive"]["type"], "button");
    assert_eq!(
        three["interactive"]["action"]["buttons"][2],
        json!({ "type": "reply", "reply": { "id": "C3", "title": "Choice 3" } })
    );
    let ten = with(10);
    assert_eq!(
        (ten["interactive"]["type"].as_str(), ten["interactive"]["action"]["button"].as_str()),
        (Some("list"), Some("Choose"))
    );
    assert_eq!(ten["interactive"]["action"]["sections"][0]["rows"].as_array().unwrap().len(), 10);
    assert_eq!(with(11)["type"], "text", "more than it shows are lines of the text");
    let mut long = send(&"x".repeat(1025));
    long.content.choices = vec![Choice { id: "1".into(), label: Some("Red".into()) }];
    assert_eq!(adapter().encode(&long).unwrap_err().outcome, Outcome::Rejected);
}

#[test]
fn the_text_and_each_file_are_calls_of_their_own() {
    let file = |mime: &str| Attachment {
        name: "bill.pdf".into(),
        mime: mime.into(),
        url: Some("https://a.example/1".into()),
        ..Attachment::default()
    };
    let mut two = send("Here");
    two.content.attachments = vec![file("application/pdf"), file("image/png")];
    assert_eq!(
        body(&Send { part: 2, ..two.clone() })["document"],
        json!({ "link": "https://a.example/1", "filename": "bill.pdf" })
    );
    assert_eq!(body(&Send { part: 3, ..two.clone() })["image"], json!({ "link": "https://a.example/1" }));
    assert_eq!(adapter().encode(&Send { part: 4, ..two }).unwrap_err().outcome, Outcome::Rejected);
}

#[test]
fn an_account_that_is_closed_is_the_operators_to_see() {
    let update = |value: Value| {
        let body = json!({ "object": "whatsapp_business_account", "entry": [{ "id": "1", "changes": [{ "field": "account_update", "value": value }] }] });
        adapter().parse(&signed(body.to_string().as_bytes()))
    };
    let closed = update(json!({ "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": "DISABLE" } }));
    assert!(matches!(&closed[..], [Inbound::Refused(refused)] if refused.detail.contains("closed")), "{closed:?}");
    let lifted = update(json!({ "event": "DISABLED_UPDATE", "ban_info": { "waba_ban_state": "REINSTATE" } }));
    assert!(matches!(lifted[..], [Inbound::Unparsed(_)]));
}

#[test]
fn another_business_accounts_closing_says_nothing_of_the_number() {
    let of = |id: &str| {
        let change = json!({ "field": "account_update", "value": { "event": "ACCOUNT_DELETED" } });
        json!({ "object": WHATSAPP, "entry": [{ "id": id, "changes": [change] }] }).to_string()
    };
    let named = crate::build(&PRODUCT, &settings().with("business_account_id", Setting::Text("1".into()))).unwrap();
    assert!(matches!(named.parse(&signed(of("1").as_bytes()))[..], [Inbound::Refused(_)]));
    let other = named.parse(&signed(of("2").as_bytes()));
    assert!(matches!(&other[..], [Inbound::Unparsed(u)] if u.reason.contains("business_account_id")), "{other:?}");
    // Whoever names it has it; whoever does not could have any.
    let number = format!("{WHATSAPP}:{NUMBER}");
    assert_eq!(named.accounts(), [number.clone(), format!("{WHATSAPP}:waba:1")]);
    assert_eq!(adapter().accounts(), std::slice::from_ref(&number));
    for id in ["1", "2"] {
        let [(account, _)] = &named.apart(&Bytes::from(of(id)))[..] else { panic!("one account") };
        assert_eq!((named.accounts().contains(account), named.may_have(account)), (id == "1", false), "{account}");
        assert!(adapter().may_have(account) && !adapter().may_have(&number));
    }
}

#[test]
fn an_entry_without_changes_is_kept() {
    let bodies = [json!([{ "id": "1" }]), json!([{ "id": "1", "changes": [] }]), json!([7])];
    for entries in bodies {
        let body = json!({ "object": WHATSAPP, "entry": entries }).to_string();
        let events = adapter().parse(&signed(body.as_bytes()));
        let [Inbound::Unparsed(kept)] = &events[..] else { panic!("{body}: {events:?}") };
        assert_eq!(kept.reason, "an entry without changes");
    }
    let said = item("text", json!({ "body": "hi" }));
    let mut both: Value = serde_json::from_slice(&wrapped("messages", json!({ "messages": [said] }))).unwrap();
    both["entry"].as_array_mut().unwrap().insert(0, json!({ "id": "1", "news": true }));
    let events = adapter().parse(&signed(both.to_string().as_bytes()));
    let [Inbound::Unparsed(kept), Inbound::Message(_)] = &events[..] else { panic!("{events:?}") };
    let inline = switchboard_adapter_sdk::signature::from_base64(kept.raw.inline.as_ref().unwrap()).unwrap();
    assert!(String::from_utf8(inline).unwrap().contains("news"));
}

#[test]
fn what_was_written_on_the_phone_belongs_to_the_conversation() {
    let echo = json!({ "from": "15550001111", "to": ANN, "id": "wamid.E", "timestamp": "1756632000", "type": "text", "text": { "body": "on my way" } });
    let events = adapter().parse(&signed(&wrapped("smb_message_echoes", json!({ "message_echoes": [echo] }))));
    let [Inbound::Echo(echo)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((echo.thread.as_str(), echo.content.text.as_str(), echo.send.is_none()), (ANN, "on my way", true));
}

#[test]
fn a_window_that_is_not_a_day_is_configured() {
    let window = |settings: &Settings| crate::build(&PRODUCT, settings).unwrap().profile().window_ms;
    assert_eq!(window(&settings()), Some(86_400_000));
    let settings = settings().with("window", Setting::Span(std::time::Duration::from_secs(72 * 3600)));
    assert_eq!(window(&settings), Some(72 * 3_600_000));
}

#[test]
fn a_number_has_one_spelling_however_it_is_typed() {
    for typed in ["+15005550009", " +1 (500) 555-0009", "15005550009"] {
        let to = Address::new("whatsapp", typed);
        assert_eq!((adapter().reaches(&to), adapter().canonical(to).value), (Ok(()), ANN.to_owned()), "{typed}");
    }
    for kept in ["US.1234", "+", "+0123456789", "+1234x"] {
        assert_eq!(adapter().canonical(Address::new("whatsapp", kept)).value, kept);
    }
    assert!(adapter().reaches(&Address::new("whatsapp", "+1234x")).is_err());
}
