//! Every file of the recorded corpus, read by its `kind` in the index; the corpus may grow.

use super::*;

fn index() -> Vec<Json> {
    let files = fixtures::json("vonage/index.json")["files"].as_array().unwrap().clone();
    assert!(files.len() >= 15, "{} files", files.len());
    files
}

fn name(entry: &Json) -> &str {
    entry["file"].as_str().unwrap()
}

fn is_webhook(entry: &Json) -> bool {
    !entry["kind"].as_str().unwrap().starts_with("api-")
}

fn signed(entry: &Json) -> RawRequest {
    let name = name(entry);
    let body = fixtures::bytes(&format!("vonage/{name}"));
    if name.ends_with(".form") {
        signed_form(&body)
    } else if name.starts_with("messages-") {
        with_token(&body)
    } else {
        signed_json(&body)
    }
}

fn same(name: &str, expected: &Json, key: &str, seen: impl Into<Json>) {
    if let Some(wanted) = expected.get(key) {
        assert_eq!(&seen.into(), wanted, "{name}: {key}");
    }
}

#[test]
fn every_webhook_reads_as_the_corpus_says() {
    for entry in index().iter().filter(|entry| is_webhook(entry)) {
        let (name, kind, expected) = (name(entry), entry["kind"].as_str().unwrap(), &entry["expected"]);
        let events = parse(&signed(entry));
        if kind == "status" {
            let word = match events.as_slice() {
                [] => "unknown",
                _ => match receipt(&events).status {
                    ReceiptStatus::Accepted => "sent",
                    ReceiptStatus::Delivered => "delivered",
                    ReceiptStatus::Read => "read",
                    ReceiptStatus::Failed => "failed",
                },
            };
            same(name, expected, "status", word);
            if !events.is_empty() {
                let receipt = receipt(&events);
                same(name, expected, "id", receipt.provider_id.clone());
                same(name, expected, "err_code", receipt.code.clone().unwrap_or_else(|| "0".into()));
            }
            continue;
        }
        let message = message(&events);
        same(name, expected, "id", message.provider_id.clone().unwrap());
        same(name, expected, "sender", message.thread.trim_start_matches('+'));
        same(name, expected, "text", message.content.text.clone());
        if kind == "message.part" {
            same(name, expected, "part", message.meta["part"].parse::<u64>().unwrap());
            same(name, expected, "total", message.meta["parts"].parse::<u64>().unwrap());
        }
        assert!(!message.content.text.is_empty(), "{name}");
    }
}

#[test]
fn every_answer_is_classified_as_the_corpus_says() {
    let mut seen = 0;
    for entry in index().iter().filter(|entry| !is_webhook(entry)) {
        let (name, expected) = (name(entry), &entry["expected"]);
        seen += 1;
        let bytes = fixtures::bytes(&format!("vonage/{name}"));
        let body: Json = serde_json::from_slice(&bytes).unwrap();
        // The recorded problems of the Messages API do not carry their status.
        let (api, status) = match name {
            name if name.starts_with("messages-") => {
                let status = match body["title"].as_str() {
                    None => 202,
                    Some("Low balance") => 402,
                    Some("Not Found") => 404,
                    Some(_) => 422,
                };
                (Api::Messages, status)
            }
            name => (Api::Sms, name.strip_prefix("api-").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap()),
        };
        let answer: Answer = Ok(Response { status, headers: HeaderMap::new(), body: bytes.into() });
        let outcome = send::classify(api, &answer, NOW);
        let statuses: Vec<_> = body["messages"].as_array().into_iter().flatten().map(|m| m["status"].clone()).collect();
        let ids: Vec<_> =
            body["messages"].as_array().into_iter().flatten().filter_map(|m| m.get("message-id")).collect();
        match (api, statuses.iter().all(|s| s == "0")) {
            (Api::Sms, true) => {
                assert_eq!(outcome.outcome, Outcome::Accepted, "{name}");
                assert_eq!(json!(outcome.provider_ids), json!(ids), "{name}");
            }
            (Api::Messages, _) if status == 202 => {
                assert_eq!(json!(outcome.provider_ids), json!([body["message_uuid"]]), "{name}");
            }
            _ => assert_ne!(outcome.outcome, Outcome::Accepted, "{name}: {outcome:?}"),
        }
        if expected["class_"] == "rate-limit" {
            assert_eq!((outcome.outcome, outcome.channel_refused), (Outcome::NotSent, false), "{name}");
        }
        same(name, expected, "wait_ms", outcome.retry_after_ms);
        if !ids.is_empty() && statuses.iter().any(|s| s != "0") {
            assert_eq!(outcome.outcome, Outcome::Rejected, "{name}: never sent again, and never called unsent");
            assert_eq!(json!(outcome.provider_ids), json!(ids), "{name}");
        }
    }
    assert!(seen >= 9, "{seen} answers");
}

#[test]
fn the_conformance_kit_finds_nothing() {
    let index = index();
    // A signature among the parameters is no header that the kit could change; `every_bit_of_a_signed_request_counts` does.
    let (mut by_token, mut by_parameter) = (vec![], vec![]);
    for entry in index.iter().filter(|entry| is_webhook(entry)) {
        let request = signed(entry);
        let of = if request.headers.contains_key("authorization") { &mut by_token } else { &mut by_parameter };
        of.push(Fixture { name: name(entry).to_owned(), request });
    }
    assert!(by_token.len() >= 2 && by_parameter.len() >= 7);
    // Times are signed too, and the kit asks about an hour later.
    let settings = settings().with("signature_age", Value::Span(Duration::from_secs(86_400 * 2)));
    let unsent = sending::send("hi");
    for (api, fixtures, signature_headers) in
        [("messages", &by_token, &["authorization"][..]), ("sms", &by_parameter, &[]), ("messages", &by_parameter, &[])]
    {
        let adapter = Vonage::new(&settings.clone().with("api", Value::Text(api.into()))).unwrap();
        let kit = Kit { adapter: &adapter, fixtures, signature_headers, send: &unsent };
        let failures = testkit::check(&kit);
        assert!(failures.is_empty(), "{api}: {failures:#?}");
    }
}
