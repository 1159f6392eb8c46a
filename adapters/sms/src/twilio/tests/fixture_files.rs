//! Every file of the recorded corpus, read by its `kind` in the index; the corpus may grow.

use super::*;

fn index() -> Vec<Value> {
    let files = fixtures::json("twilio/index.json")["files"].as_array().unwrap().clone();
    assert!(files.len() >= 16, "{} files", files.len());
    files
}

fn webhooks() -> Vec<Fixture> {
    let files = index();
    let names = files.iter().map(|entry| entry["file"].as_str().unwrap()).filter(|name| name.ends_with(".form"));
    names
        .map(|name| {
            let (path, query) = if name.starts_with("status") { ("/status", "send=abc&part=1&n=1") } else { ("", "") };
            let body = fixtures::bytes(&format!("twilio/{name}"));
            Fixture { name: name.to_owned(), request: signed(path, query, &body) }
        })
        .collect()
}

fn same(name: &str, expected: &Value, key: &str, seen: impl Into<Value>) {
    if let Some(wanted) = expected.get(key) {
        assert_eq!(&seen.into(), wanted, "{name}: {key}");
    }
}

/// The class of a code in the corpus's own words.
fn is_class(name: &str, expected: &Value, class: Class) {
    let wanted = match expected.get("class_").and_then(Value::as_str) {
        None => return,
        Some("retryable-later") => &[Class::Retry][..],
        Some("permanent") => &[Class::PermanentMessage, Class::PermanentRecipient],
        Some("opted-out") => &[Class::OptedOut],
        Some("outside-window") => &[Class::OutsideWindow],
        Some("configuration") => &[Class::Config],
        Some("rate-limit" | "rate_limit" | "rate-limited") => &[Class::RateLimit],
        Some(other) => panic!("{name}: the class {other} is not known to this test"),
    };
    assert!(wanted.contains(&class), "{name}: {class:?} is none of {wanted:?}");
}

fn class_of(code: &str) -> Class {
    let row: &Row = CODES.iter().find(|row| row.code == code).unwrap_or_else(|| panic!("{code} is not in the table"));
    row.class
}

#[test]
fn every_webhook_reads_as_the_corpus_says() {
    let files = index();
    for fixture in webhooks() {
        let name = fixture.name.as_str();
        let entry = files.iter().find(|entry| entry["file"] == name).unwrap();
        let (kind, expected) = (entry["kind"].as_str().unwrap(), &entry["expected"]);
        let events = parse(&fixture.request);
        if name.starts_with("status") {
            status(name, expected, &events);
            continue;
        }
        let message = message(&events);
        same(name, expected, "id", message.provider_id.clone().unwrap());
        same(name, expected, "sender", message.thread.clone());
        same(name, expected, "recipient", crate::number::written(message.to.as_ref().unwrap()));
        same(name, expected, "text", message.content.text.clone());
        same(name, expected, "attachments", message.content.attachments.len());
        same(name, expected, "keyword", message.meta.get("keyword").cloned().unwrap_or_default());
        let state = consent(&events).map(|(state, _)| state);
        match kind {
            "opt_out" => assert_eq!(state, Some(ConsentState::OptedOut), "{name}"),
            "opt_in" => assert_eq!(state, Some(ConsentState::OptedIn), "{name}"),
            _ => assert_eq!(state, None, "{name}"),
        }
        assert_eq!(message.id, format!("support-sms:message:{}", message.provider_id.as_deref().unwrap()));
    }
}

fn status(name: &str, expected: &Value, events: &[Inbound]) {
    if events.is_empty() {
        assert!(name.contains("unknown"), "{name}: no event");
        return;
    }
    let receipt = receipt(events);
    assert_eq!((receipt.send.as_deref(), receipt.part, receipt.n), (Some("abc"), Some(1), Some(1)), "{name}");
    let word = match receipt.status {
        ReceiptStatus::Accepted => &["sent", "queued", "accepted"][..],
        ReceiptStatus::Delivered => &["delivered"],
        ReceiptStatus::Read => &["read"],
        ReceiptStatus::Failed => &["failed"],
    };
    let wanted = expected["status"].as_str().unwrap();
    assert!(word.contains(&wanted), "{name}: {wanted} is none of {word:?}");
    same(name, expected, "error", receipt.code.clone().unwrap_or_default());
    if receipt.status == ReceiptStatus::Failed {
        assert!(receipt.detail.as_ref().is_some_and(|detail| detail.len() > 10), "{name}: a sentence");
        is_class(name, expected, class_of(receipt.code.as_deref().unwrap()));
    }
}

#[test]
fn every_answer_is_classified_as_the_corpus_says() {
    let send = sending::send("hi");
    let mut seen = 0;
    for entry in index() {
        let name = entry["file"].as_str().unwrap();
        let Some(status) = name.strip_prefix("api-").and_then(|rest| rest.get(..3)) else { continue };
        seen += 1;
        let body = fixtures::bytes(&format!("twilio/{name}"));
        let response =
            Response { status: status.parse().unwrap(), headers: HeaderMap::new(), body: body.clone().into() };
        let outcome = adapter().classify(&send, &Ok(response), NOW);
        let body: Value = serde_json::from_slice(&body).unwrap();
        if entry["kind"] == "api-response" {
            assert_eq!(outcome.outcome, Outcome::Accepted, "{name}");
            assert_eq!(json!(outcome.provider_ids), json!([body["sid"]]), "{name}");
        } else {
            let code = outcome.code.clone().unwrap();
            assert_eq!(code, body["code"].to_string(), "{name}");
            let class = class_of(&code);
            is_class(name, &entry["expected"], class);
            assert_eq!((outcome.outcome, outcome.channel_refused), (class.outcome(), class == Class::Config), "{name}");
        }
    }
    assert!(seen >= 5, "{seen} answers");
}

#[test]
fn the_conformance_kit_finds_nothing() {
    let fixtures = webhooks();
    assert!(fixtures.len() >= 11);
    let (adapter, send) = (adapter(), sending::send("hi"));
    let kit = Kit { adapter: &adapter, fixtures: &fixtures, signature_headers: &[signature::HEADER], send: &send };
    let failures = testkit::check(&kit);
    assert!(failures.is_empty(), "{failures:#?}");
}
