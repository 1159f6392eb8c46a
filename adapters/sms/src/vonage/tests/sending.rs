use super::*;
use std::collections::BTreeMap;

pub(super) fn send(text: &str) -> Send {
    Send {
        send: "tok-1".into(),
        part: 1,
        n: 2,
        until: NOW.plus(600_000),
        channel: "support-sms".into(),
        conversation: "c1".into(),
        thread: "+447700900001".into(),
        to: Address::new("phone", "+447700900001"),
        content: Content::text(text),
        author: Author::Agent { id: "ann".into() },
        reply_to: vec![],
        traceparent: None,
        mail: None,
        window_until: None,
    }
}

fn body(call: &Call, wanted: &'static str) -> Bytes {
    match &call.body {
        CallBody::Bytes(content_type, body) if *content_type == wanted => body.clone(),
        _ => panic!("not {wanted}"),
    }
}

#[test]
fn a_send_by_the_sms_api_is_the_documented_form() {
    let fields = |text: &str| {
        let call = adapter().encode(&send(text)).unwrap();
        assert_eq!((call.method.as_str(), call.url.as_str()), ("POST", "http://127.0.0.1:1/sms/json"));
        form_urlencoded::parse(&body(&call, FORM)).into_owned().collect::<BTreeMap<String, String>>()
    };
    let wanted = [
        ("api_key", "abcd1234"),
        ("api_secret", "apisecret"),
        ("from", "447700900000"),
        ("to", "447700900001"),
        ("text", "Grüße & €"),
        ("status-report-req", "1"),
        ("callback", "https://hooks.shop.example/hooks/support-sms/status"),
        ("client-ref", "tok-1.1.2"),
    ];
    assert_eq!(fields("Grüße & €"), wanted.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    assert_eq!(fields("ж")["type"], "unicode");
    let long = Send { send: "x".repeat(40), ..send("hi") };
    let call = adapter().encode(&long).unwrap();
    assert!(!String::from_utf8_lossy(&body(&call, FORM)).contains("client-ref"), "Vonage takes at most 40 characters");
}

#[test]
fn a_send_by_the_messages_api_is_the_documented_json() {
    let settings =
        settings().with("api", Value::Text("messages".into())).with("ttl", Value::Span(Duration::from_secs(60)));
    let call = Vonage::new(&settings).unwrap().encode(&send("Żółw")).unwrap();
    assert_eq!(call.url, "http://127.0.0.1:1/v1/messages");
    assert_eq!(call.headers, [("authorization", format!("Basic {}", to_base64(b"abcd1234:apisecret")))]);
    let seen: Json = serde_json::from_slice(&body(&call, JSON)).unwrap();
    let wanted = json!({ "message_type": "text", "channel": "sms", "to": "447700900001", "from": "447700900000",
        "text": "Żółw", "client_ref": "tok-1.1.2", "ttl": 60,
        "webhook_url": "https://hooks.shop.example/hooks/support-sms/status" });
    assert_eq!(seen, wanted);
}

#[test]
fn what_cannot_be_sent_is_refused_with_a_sentence() {
    for (send, why) in [
        (send(" "), "there is nothing to send"),
        (Send { to: Address::new("sender", "My Shop"), ..send("hi") }, "the sender is a name"),
        (Send { to: Address::new("phone", "447700900001"), ..send("hi") }, "the number is not international"),
    ] {
        let refused = adapter().encode(&send).err().unwrap();
        assert_eq!(refused.outcome, Outcome::Rejected);
        assert!(refused.detail.as_deref().unwrap().starts_with(why), "{refused:?}");
    }
}

fn classify(api: Api, status: u16, body: &str) -> AttemptOutcome {
    let answer: Answer =
        Ok(Response { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) });
    send::classify(api, &answer, NOW)
}

#[test]
fn every_status_of_the_table_has_its_row() {
    for row in codes::STATUSES {
        for code in [json!(row.code), json!(row.code.parse::<u32>().unwrap())] {
            let body = json!({ "message-count": "1", "messages": [{ "status": code, "error-text": "e" }] });
            let outcome = classify(Api::Sms, 200, &body.to_string());
            assert_eq!(outcome.outcome, row.class.outcome(), "{}", row.code);
            assert_eq!(outcome.channel_refused, row.class == Class::Config, "{}", row.code);
            assert_eq!((outcome.code.as_deref(), outcome.detail.as_deref()), (Some(row.code), Some(row.sentence)));
        }
    }
    for row in codes::MESSAGES {
        let body =
            json!({ "type": format!("https://developer.vonage.com/api-errors/messages#{}", row.code), "title": "t" });
        let outcome = classify(Api::Messages, 422, &body.to_string());
        assert_eq!(outcome.outcome, row.class.outcome(), "{}", row.code);
        assert_eq!(outcome.detail.as_deref(), Some(row.sentence));
    }
}

/// As `protocols.md` 4.1 and 4.2 list them. What it gives a receipt's code no class for was not delivered, and that is all.
#[test]
fn every_documented_code_is_in_its_class_and_no_other_is_in_its_table() {
    use Class::{Config, OutsideWindow, PermanentMessage, PermanentRecipient, RateLimit, Retry};
    let statuses = [
        (RateLimit, "1"),
        (Retry, "5 10"),
        (PermanentMessage, "2 3 6 11 12 22 23"),
        (PermanentRecipient, "7 33"),
        (Config, "4 8 9 14 15 29 32"),
    ];
    let delivery = [
        (PermanentRecipient, "3 4 9"),
        (PermanentMessage, "6 10 14 50 51 52 53 54 1 5 11 13 15 99"),
        (Retry, "2 7 8 12 16"),
    ];
    let messages = [
        (RateLimit, "1000 throttled"),
        (Retry, "1030 1180"),
        (PermanentMessage, "1010 1020 1150 1210 not-found"),
        (PermanentRecipient, "1050 1170 1190 1220 1240 1250"),
        (OutsideWindow, "1340"),
        (Config, "1060 1070 1080 1120 low-balance unauthorized forbidden"),
    ];
    for (table, documented) in
        [(codes::STATUSES, &statuses[..]), (codes::DELIVERY, &delivery[..]), (codes::MESSAGES, &messages[..])]
    {
        let documented: Vec<_> =
            documented.iter().flat_map(|(class, codes)| codes.split(' ').map(move |code| (code, *class))).collect();
        for (code, class) in &documented {
            let rows: Vec<_> = table.iter().filter(|row| row.code == *code).map(|row| row.class).collect();
            assert_eq!(rows, [*class], "{code}");
        }
        assert_eq!(table.len(), documented.len());
    }
}

#[test]
fn half_a_text_is_neither_sent_again_nor_called_unsent() {
    let body = json!({ "messages": [
        { "status": "0", "message-id": "a" }, { "status": "1", "error-text": "Throttled" }, { "status": "0", "message-id": "c" },
    ]});
    let outcome = classify(Api::Sms, 200, &body.to_string());
    assert_eq!(
        (outcome.outcome, outcome.provider_ids.as_slice()),
        (Outcome::Rejected, &["a".to_owned(), "c".to_owned()][..])
    );
    assert!(outcome.detail.unwrap().starts_with("only 2 of 3 parts of the text were taken: "));
    assert_eq!(outcome.retry_after_ms, None);
}

#[test]
fn answers_outside_the_tables_have_an_outcome_too() {
    use Outcome::{Accepted, NotSent, Rejected, Unknown};
    let problem = |code: &str| {
        json!({ "type": format!("https://x/#{code}"), "title": "t", "detail": "+15005550009 is odd" }).to_string()
    };
    for (api, status, body, outcome, refused) in [
        (Api::Sms, 200, String::new(), Unknown, false),
        (Api::Sms, 200, "<html>".into(), Unknown, false),
        (Api::Sms, 200, json!({ "messages": [] }).to_string(), Unknown, false),
        (Api::Sms, 200, json!({ "messages": [{ "status": "77", "error-text": "new" }] }).to_string(), Rejected, false),
        (Api::Sms, 202, String::new(), Unknown, false),
        (Api::Sms, 401, String::new(), NotSent, true),
        (Api::Sms, 429, String::new(), NotSent, false),
        (Api::Sms, 500, String::new(), Unknown, false),
        (Api::Messages, 202, json!({ "message_uuid": "u" }).to_string(), Accepted, false),
        (Api::Messages, 202, "{}".into(), Unknown, false),
        (Api::Messages, 200, json!({ "message_uuid": "u" }).to_string(), Unknown, false),
        (Api::Messages, 402, problem("low-balance"), NotSent, true),
        (Api::Messages, 404, "<html>".into(), NotSent, true),
        (Api::Messages, 422, problem("9999"), Rejected, false),
        (Api::Messages, 429, problem("1000"), NotSent, false),
        (Api::Messages, 500, problem("1030"), NotSent, false),
        (Api::Messages, 500, problem("1120"), Unknown, false),
        (Api::Messages, 503, String::new(), Unknown, false),
        (Api::Messages, 308, String::new(), NotSent, true),
    ] {
        let seen = classify(api, status, &body);
        assert_eq!((seen.outcome, seen.channel_refused), (outcome, refused), "{api:?} {status} {body}: {seen:?}");
        assert_eq!(seen.detail.is_none(), outcome == Accepted, "{seen:?}");
        assert!(!seen.detail.unwrap_or_default().contains("+15005550009"));
    }
    assert_eq!(send::classify(Api::Sms, &Err(CallError::Lost("x".into())), NOW).outcome, Unknown);
    assert_eq!(send::classify(Api::Sms, &Err(CallError::NotSent("x".into())), NOW).outcome, NotSent);
}
