//! Every file of the recorded corpus, read by its `kind` in the index; the corpus may grow.

use super::*;

fn index(product: &str) -> Vec<Value> {
    fixtures::json(&format!("{product}/index.json"))["files"].as_array().unwrap().clone()
}

fn webhooks(product: &str) -> Vec<(Fixture, Value)> {
    let is_webhook = |entry: &Value| entry["request"].as_str().is_some_and(|r| r.starts_with("POST"));
    let fixture = |entry: Value| {
        let name = entry["file"].as_str().unwrap().to_owned();
        let request = signed(&fixtures::bytes(&format!("{product}/{name}")));
        (Fixture { name, request }, entry)
    };
    index(product).into_iter().filter(is_webhook).map(fixture).collect()
}

fn same(name: &str, expected: &Value, key: &str, seen: impl Into<Value>) {
    if let Some(wanted) = expected.get(key) {
        let seen = seen.into();
        // What the corpus writes as a number or as nothing, an envelope holds as text.
        let alike = wanted == &seen || seen.as_str().is_some_and(|text| text == wanted.to_string().trim_matches('"'));
        let both_empty = wanted.is_null() && seen.as_str().is_some_and(str::is_empty);
        assert!(alike || both_empty, "{name}: {key}: {wanted} is not {seen}");
    }
}

fn told(message: &Message, name: &str) -> Value {
    message.meta.get(name).cloned().map_or(Value::Null, Value::from)
}

fn as_expected(name: &str, entry: &Value, events: &[Inbound]) {
    let (kind, expected) = (entry["kind"].as_str().unwrap(), &entry["expected"]);
    match kind {
        "status.delivered" | "status.read" => {
            let wanted = if kind == "status.read" { ReceiptStatus::Read } else { ReceiptStatus::Delivered };
            let all = receipts(events);
            assert!(!all.is_empty() && all.iter().all(|r| r.status == wanted), "{name}: {events:?}");
            let mids: Vec<&str> = all.iter().map(|r| r.provider_id.as_str()).filter(|id| !id.is_empty()).collect();
            same(name, expected, "mids", mids.clone());
            same(name, expected, "mid", mids.first().copied().unwrap_or_default());
            if let Some(watermark) = expected["watermark"].as_i64() {
                assert!(all.iter().all(|r| r.at.0 == watermark), "{name}: {events:?}");
            }
            let threads = all.iter().filter(|r| r.thread.as_deref() == Some(ANN)).count();
            assert_eq!(threads, 1, "{name}: what was before holds too");
        }
        "echo" | "echo.own" | "echo.other" => {
            let [Inbound::Echo(echo)] = events else { panic!("{name}: no echo: {events:?}") };
            same(name, expected, "mid", echo.provider_id.clone());
            assert_eq!((echo.thread.as_str(), echo.to.value.as_str()), (ANN, ANN), "{name}");
        }
        "batch" => {
            let ids: Vec<String> = events.iter().map(|e| e.id().rsplit(':').next().unwrap().to_owned()).collect();
            same(name, expected, "accepted", ids);
        }
        _ => said(name, kind, expected, message(events)),
    }
}

fn said(name: &str, kind: &str, expected: &Value, message: &Message) {
    assert_eq!((message.thread.as_str(), message.from.value.as_str()), (ANN, ANN), "{name}");
    assert!(!message.content.text.is_empty() || !message.content.attachments.is_empty(), "{name}: nothing to see");
    let referred = message.references.first().cloned().unwrap_or_default();
    let choice = message.content.choice.as_ref().map(|c| c.id.clone()).unwrap_or_default();
    same(name, expected, "id", message.provider_id.clone().unwrap_or_default());
    same(name, expected, "sender", message.from.value.clone());
    same(name, expected, "recipient", message.to.as_ref().unwrap().value.clone());
    same(name, expected, "text", message.content.text.clone());
    same(name, expected, "title", message.content.text.clone());
    same(name, expected, "attachments", message.content.attachments.len());
    same(name, expected, "payload", choice);
    same(name, expected, "reply_to", referred.clone());
    same(name, expected, "mid", referred);
    same(name, expected, "sticker", told(message, "sticker"));
    same(name, expected, "story", told(message, "story"));
    same(name, expected, "ref", told(message, "referral"));
    same(name, expected, "token", told(message, "token"));
    if kind == "message.media" {
        same(name, expected, "kind", told(message, "file"));
    }
    let event = message.meta.get("event").map(String::as_str);
    let wanted = match kind {
        "reaction" => Some(if expected["action"] == "unreact" { "unreact" } else { "reaction" }),
        "postback" | "edit" | "referral" => Some(kind),
        "opt_in" | "opt_out" => Some("optin"),
        "unsent" | "delete" => Some("unsend"),
        _ => None,
    };
    assert_eq!(event, wanted, "{name}");
    let noted = matches!(kind, "reaction" | "opt_in" | "opt_out" | "unsent" | "delete");
    assert_eq!(message.automatic, noted, "{name}: what is no message is answered by no rule");
    assert_eq!(message.meta.contains_key("unsupported"), kind == "message.unsupported", "{name}");
}

#[test]
fn every_webhook_reads_as_the_corpus_says() {
    for (product, name, least) in [(&MESSENGER, "messenger", 19), (&INSTAGRAM, "instagram", 6)] {
        let adapter = adapter_of(product, &settings());
        let all = webhooks(name);
        assert!(all.len() >= least, "{} files", all.len());
        for (fixture, entry) in all {
            assert_eq!(adapter.verify(&fixture.request), Verdict::Genuine, "{}", fixture.name);
            as_expected(&fixture.name, &entry, &adapter.parse(&fixture.request));
        }
    }
}

#[test]
fn every_answer_is_classified_as_the_corpus_says() {
    let mut seen = 0;
    for entry in index("messenger") {
        let name = entry["file"].as_str().unwrap();
        let Some(status) = name.strip_prefix("api-").and_then(|rest| rest.get(..3)) else { continue };
        seen += 1;
        let body = fixtures::bytes(&format!("messenger/{name}"));
        let response = Response { status: status.parse().unwrap(), headers: HeaderMap::new(), body: body.into() };
        let outcome = adapter().classify(&send("hi"), &Ok(response), NOW);
        let wanted = entry["expected"]["class_"].as_str().unwrap_or("ok");
        assert!(testkit::ended_as(wanted, &outcome), "{name}: {wanted} is not {outcome:?}");
        if outcome.outcome == Outcome::Accepted {
            assert_eq!(outcome.provider_ids.len(), 1, "{name}");
        } else {
            assert!(
                outcome.detail.as_ref().is_some_and(|d| d.len() > 10) && outcome.code.is_some(),
                "{name}: {outcome:?}"
            );
        }
    }
    assert!(seen >= 6, "{seen} answers");
}

#[test]
fn the_conformance_kit_finds_nothing() {
    for (product, name) in [(&MESSENGER, "messenger"), (&INSTAGRAM, "instagram")] {
        let fixtures: Vec<Fixture> = webhooks(name).into_iter().map(|(fixture, _)| fixture).collect();
        let (adapter, send) = (adapter_of(product, &settings()), send("hi"));
        let kit =
            Kit { adapter: adapter.as_ref(), fixtures: &fixtures, signature_headers: &[hook::HEADER], send: &send };
        let failures = testkit::check(&kit);
        assert!(failures.is_empty(), "{failures:#?}");
    }
}
