use super::*;

fn answer(status: u16, headers: &[(&'static str, &str)], body: impl ToString) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, HeaderValue::from_str(value).unwrap());
    }
    Ok(Response { status, headers: map, body: body.to_string().into() })
}

fn classify(answer: &Answer) -> AttemptOutcome {
    adapter().classify(&send("hi"), answer, NOW)
}

#[test]
fn a_send_is_its_record_under_an_id_that_all_attempts_share() {
    let first = send("Yes, from ten.");
    let call = adapter().encode(&first).unwrap();
    assert_eq!((&call.method, call.url.as_str()), (&Method::POST, "https://crm.example/switchboard?tenant=7"));
    assert_eq!(call.headers, [("webhook-id", "m0123456789abcdef_1".to_owned())]);
    let CallBody::Bytes("application/json", body) = &call.body else { panic!("not JSON") };
    let body: Value = serde_json::from_slice(body).unwrap();
    assert_eq!((&body["v"], &body["type"], &body["send"]), (&json!(1), &json!("send"), &json!("m0123456789abcdef")));
    assert_eq!((&body["to"]["value"], &body["content"]["text"]), (&json!("42"), &json!("Yes, from ten.")));
    assert_eq!((&body["thread"], &body["reply_to"]), (&json!("t-1"), &json!(["evt_1"])));

    let again = adapter().encode(&Send { n: 3, until: NOW.plus(1), ..first.clone() }).unwrap();
    assert_eq!(again.headers, call.headers);
    let other = adapter().encode(&Send { part: 2, ..first }).unwrap();
    assert_ne!(other.headers, call.headers, "another part is another message");
}

#[test]
fn the_same_attempt_is_signed_anew_for_the_moment_at_which_it_leaves() {
    let adapter = adapter();
    let call = adapter.encode(&send("hi")).unwrap();
    for now in [NOW, NOW.plus(3_600_000)] {
        let signed = adapter.signed(call.clone(), now);
        let header = |name: &str| signed.headers.iter().find(|(n, _)| *n == name).unwrap().1.clone();
        let CallBody::Bytes(_, body) = &signed.body else { panic!("no body") };
        let mut received = request(
            &[
                ("webhook-id", &header("webhook-id")),
                ("webhook-timestamp", &header("webhook-timestamp")),
                ("webhook-signature", &header("webhook-signature")),
            ],
            body,
        );
        received.received_at = now;
        assert_eq!(adapter.verify(&received), Verdict::Genuine, "what we sign, we would take");
    }
}

#[test]
fn files_go_out_as_links_only() {
    let file = |url: Option<&str>| Attachment {
        name: "map.png".into(),
        mime: "image/png".into(),
        size: 3,
        blob: Some(switchboard_envelope::BlobRef("blob:sha256:00".into())),
        url: url.map(str::to_owned),
        problem: None,
        thread: None,
        content_id: None,
    };
    let with = |url| {
        let mut send = send("");
        send.content.attachments = vec![file(url)];
        adapter().encode(&send)
    };
    let CallBody::Bytes(_, body) = with(Some("https://hooks.shop.example/media/x")).unwrap().body else { panic!() };
    let body: Value = serde_json::from_slice(&body).unwrap();
    let wanted =
        json!([{ "name": "map.png", "mime": "image/png", "size": 3, "url": "https://hooks.shop.example/media/x" }]);
    assert_eq!(body["content"]["attachments"], wanted);
    let refused = with(None).unwrap_err();
    assert_eq!(refused.detail.as_deref(), Some("file 1 has no public address: set http.public_url"));
    assert_eq!(adapter().encode(&send(" \n")).unwrap_err().outcome, Outcome::Rejected);
    let long = adapter().encode(&send(&"x".repeat(1_000_000))).unwrap_err();
    assert!(long.detail.unwrap().starts_with("the message has 1000"), "with its size");
}

#[test]
fn every_status_has_its_outcome() {
    use Outcome::{Accepted, NotSent, Rejected, Unknown};
    for status in 100..600 {
        let (outcome, paused) = match status {
            200..=299 => (Accepted, false),
            301 | 307 | 308 | 401 | 403 | 404 | 405 | 407 | 410 => (NotSent, true),
            425 | 429 => (NotSent, false),
            408 => (Unknown, false),
            400..=499 => (Rejected, false),
            _ => (Unknown, false),
        };
        let seen = classify(&answer(status, &[], ""));
        assert_eq!((seen.outcome, seen.channel_refused), (outcome, paused), "{status}: {seen:?}");
        assert_eq!(seen.detail.is_none(), outcome == Accepted, "a sentence for all that is not well: {seen:?}");
    }
    assert_eq!(classify(&Err(CallError::Lost("timed out".into()))).outcome, Unknown);
    assert_eq!(classify(&Err(CallError::NotSent("refused".into()))).outcome, NotSent);
}

#[test]
fn retry_after_is_honoured_wherever_a_retry_follows() {
    for (status, wanted) in
        [(429, Some(7_000)), (503, Some(7_000)), (500, Some(7_000)), (425, Some(7_000)), (400, None), (410, None)]
    {
        let seen = classify(&answer(status, &[("retry-after", "7")], ""));
        assert_eq!(seen.retry_after_ms, wanted, "{status}");
    }
    let date = classify(&answer(429, &[("retry-after", "Sun, 22 Nov 2026 06:00:10 GMT")], ""));
    assert!(date.retry_after_ms.is_some(), "{date:?}");
}

#[test]
fn the_receivers_own_id_is_kept_beside_ours() {
    for (body, wanted) in [
        (r#"{"id":"42"}"#, vec!["m0123456789abcdef_1", "42"]),
        (r#"{"id":"m0123456789abcdef_1"}"#, vec!["m0123456789abcdef_1"]),
        (r#"{"id":7}"#, vec!["m0123456789abcdef_1"]),
        (r#"{"id":"a\nb"}"#, vec!["m0123456789abcdef_1"]),
        ("thanks", vec!["m0123456789abcdef_1"]),
        ("", vec!["m0123456789abcdef_1"]),
    ] {
        assert_eq!(classify(&answer(200, &[], body)).provider_ids, wanted, "{body}");
    }
}

#[test]
fn the_receivers_words_lose_numbers_and_control_characters() {
    for (body, wanted) in [
        (
            r#"{"detail":"no user +15550001111\u0007","title":"Bad"}"#,
            "the receiver refused it with 422: no user +15•••11",
        ),
        (r#"{"error":{"a":1},"message":"too long"}"#, "the receiver refused it with 422: too long"),
        ("<html>", "the receiver refused it with 422"),
        ("", "the receiver refused it with 422"),
    ] {
        let seen = classify(&answer(422, &[], body));
        assert_eq!((seen.detail.as_deref(), seen.code.as_deref()), (Some(wanted), Some("422")));
    }
}
