//! Every file of the recorded corpus, read by its `kind` in the index; the corpus may grow.

use super::*;

fn index() -> Vec<Value> {
    fixtures::json("x/index.json")["files"].as_array().unwrap().clone()
}

fn webhooks() -> Vec<(Fixture, Value)> {
    let is_webhook = |entry: &Value| entry["request"].as_str().is_some_and(|r| r.starts_with("POST"));
    let fixture = |entry: Value| {
        let name = entry["file"].as_str().unwrap().to_owned();
        (Fixture { request: signed(&fixtures::bytes(&format!("x/{name}"))), name }, entry)
    };
    index().into_iter().filter(is_webhook).map(fixture).collect()
}

fn same(name: &str, expected: &Value, key: &str, seen: impl Into<Value>) {
    if let Some(wanted) = expected.get(key) {
        let seen = seen.into();
        let alike = wanted == &seen || seen.as_str().is_some_and(|text| text == wanted.to_string().trim_matches('"'));
        assert!(alike, "{name}: {key}: {wanted} is not {seen}");
    }
}

fn as_expected(name: &str, entry: &Value, events: &[Inbound]) {
    let (kind, expected) = (entry["kind"].as_str().unwrap(), &entry["expected"]);
    assert!(!events.iter().any(|e| matches!(e, Inbound::Unparsed(_))), "{name}: set aside: {events:?}");
    match kind {
        "status.read" => {
            let mut named = events.iter().filter_map(|event| match event {
                Inbound::Receipt(r) => {
                    assert_eq!(r.status, ReceiptStatus::Read, "{name}");
                    (!r.provider_id.is_empty()).then(|| r.provider_id.clone())
                }
                other => panic!("{name}: no receipt: {other:?}"),
            });
            same(name, expected, "up_to", named.next().expect("a receipt that names a message"));
        }
        "echo" | "echo.own" | "echo.other" => {
            let echo = echo(events);
            same(name, expected, "id", echo.provider_id.clone());
            assert_ne!(echo.thread, US, "{name}");
        }
        "typing" => assert!(events.is_empty(), "{name}: {events:?}"),
        "revoked" => {
            let [Inbound::Refused(refused)] = events else { panic!("{name}: {events:?}") };
            assert!(refused.detail.contains("revoked") && expected["user"] == US, "{name}");
        }
        _ => said(name, kind, expected, message(events)),
    }
}

fn said(name: &str, kind: &str, expected: &Value, message: &Message) {
    let is_public = matches!(kind, "mention" | "delete" | "reply" | "quote" | "group");
    let visibility = if is_public { Visibility::Public } else { Visibility::Private };
    assert_eq!((message.visibility, message.from.value.as_str()), (visibility, ANN), "{name}");
    let thread = if is_public { format!("post:{ANN}") } else { ANN.to_owned() };
    assert_eq!(message.thread, thread, "{name}");
    assert!(!message.content.text.is_empty() || !message.content.attachments.is_empty(), "{name}: nothing to see");
    let referred = message.references.first().cloned().unwrap_or_default();
    let id = if kind == "delete" { referred } else { message.provider_id.clone().unwrap_or_default() };
    same(name, expected, "id", id);
    same(name, expected, "sender", message.from.value.clone());
    same(name, expected, "author", message.from.value.clone());
    if expected.get("text").is_some() {
        same(name, expected, "text", message.content.text.clone());
    }
    same(name, expected, "attachments", message.content.attachments.len());
    let choice = message.content.choice.as_ref().map(|c| c.id.clone()).unwrap_or_default();
    for key in ["payload", "choice", "metadata"] {
        same(name, expected, key, choice.clone());
    }
    assert_eq!(message.automatic, kind == "delete", "{name}: what is no message is answered by no rule");
}

#[test]
fn every_webhook_reads_as_the_corpus_says() {
    let all = webhooks();
    assert!(all.len() >= 12, "{} files", all.len());
    for (fixture, entry) in all {
        assert_eq!(adapter().verify(&fixture.request), Verdict::Genuine, "{}", fixture.name);
        as_expected(&fixture.name, &entry, &adapter().parse(&fixture.request));
    }
}

#[test]
fn every_answer_is_classified_as_the_corpus_says() {
    let mut seen = 0;
    for entry in index() {
        let name = entry["file"].as_str().unwrap();
        let Some(status) = name.strip_prefix("api-").and_then(|rest| rest.get(..3)) else { continue };
        seen += 1;
        let answer = Response {
            status: status.parse().unwrap(),
            headers: HeaderMap::new(),
            body: fixtures::bytes(&format!("x/{name}")).into(),
        };
        let outcome = adapter().classify(&send("hi"), &Ok(answer), NOW);
        let wanted = entry["expected"]["class_"].as_str().unwrap_or("ok");
        assert!(testkit::ended_as(wanted, &outcome), "{name}: {wanted} is not {outcome:?}");
        if outcome.outcome == Outcome::Accepted {
            assert_eq!(outcome.provider_ids.len(), 1, "{name}");
        } else {
            let told = outcome.detail.as_ref().is_some_and(|d| d.len() > 10);
            assert!(told && outcome.code.is_some(), "{name}: {outcome:?}");
        }
    }
    assert!(seen >= 4, "{seen} answers");
}

#[test]
fn the_conformance_kit_finds_nothing() {
    let fixtures: Vec<Fixture> = webhooks().into_iter().map(|(fixture, _)| fixture).collect();
    let (adapter, send) = (adapter(), send("hi"));
    let kit = Kit { adapter: adapter.as_ref(), fixtures: &fixtures, signature_headers: &[hook::HEADER], send: &send };
    let failures = testkit::check(&kit);
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Bodies with every field of the corpus taken away, or made another kind of value, in turn.
#[test]
fn no_field_is_trusted_to_be_there_or_to_be_what_it_was() {
    let mut tried = 0;
    let noisy = crate::config::build(&settings().with("activity", Setting::Flag(true))).unwrap();
    for (fixture, _) in webhooks() {
        let whole: Value = serde_json::from_slice(&fixture.request.body).unwrap();
        for path in paths(&whole, "") {
            let others =
                [Value::Null, json!(7), json!(""), json!([]), json!({}), json!("x".repeat(3000)), json!([{}, 1, null])];
            for other in others {
                let mut changed = whole.clone();
                *changed.pointer_mut(&path).unwrap() = other;
                let request = signed(changed.to_string().as_bytes());
                let (once, again) = (noisy.parse(&request), noisy.parse(&request));
                assert_eq!(once, again);
                for event in once {
                    event.validate().unwrap_or_else(|e| panic!("{}: {path}: {e}", fixture.name));
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}

fn paths(value: &Value, at: &str) -> Vec<String> {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(all) => all.iter().map(|(key, v)| (format!("{at}/{key}"), v)).collect(),
        Value::Array(all) => all.iter().enumerate().map(|(i, v)| (format!("{at}/{i}"), v)).collect(),
        _ => vec![],
    };
    below.into_iter().flat_map(|(path, v)| [vec![path.clone()], paths(v, &path)].concat()).collect()
}
