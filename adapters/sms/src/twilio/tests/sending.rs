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

fn fields(adapter: &Twilio, send: &Send) -> Result<BTreeMap<String, Vec<String>>, String> {
    let call = adapter.encode(send).map_err(|refused| {
        assert_eq!(refused.outcome, Outcome::Rejected);
        refused.detail.unwrap()
    })?;
    let CallBody::Bytes("application/x-www-form-urlencoded", body) = call.body else { panic!("not a form") };
    assert_eq!(call.method, Method::POST);
    assert_eq!(call.url, format!("http://127.0.0.1:1/2010-04-01/Accounts/{ACCOUNT}/Messages.json"));
    assert_eq!(call.headers, [("authorization", adapter.authorization.expose().to_owned())]);
    let mut fields = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in form_urlencoded::parse(&body) {
        fields.entry(name.into()).or_default().push(value.into());
    }
    Ok(fields)
}

fn attachment(url: Option<&str>) -> Attachment {
    Attachment {
        name: "a.pdf".into(),
        mime: "application/pdf".into(),
        size: 1,
        blob: None,
        url: url.map(str::to_owned),
        problem: None,
        thread: None,
        content_id: None,
    }
}

#[test]
fn a_send_is_the_documented_form() {
    let mut with_file = send("Żółw & more €");
    with_file.content.attachments =
        vec![attachment(Some("https://a.example/1")), attachment(Some("https://a.example/2"))];
    let seen = fields(&adapter(), &with_file).unwrap();
    let wanted = json!({
        "To": ["+15005550009"],
        "From": ["+15005550006"],
        "Body": ["Żółw & more €"],
        "MediaUrl": ["https://a.example/1", "https://a.example/2"],
        "StatusCallback": ["https://hooks.shop.example/hooks/support-sms/status?send=tok-1&part=1&n=2"],
    });
    assert_eq!(json!(seen), wanted);
    let bare = TwilioConfig {
        messaging_service_sid: Some("MG1".into()),
        public_url: None,
        validity: Some(300),
        smart_encoding: true,
        ..config()
    };
    let bare = Twilio::new("support-sms", bare).unwrap();
    // Told before anybody writes a reply that could not go.
    assert!(bare.profile().no_files.is_some_and(|why| why.contains("http.public_url")));
    assert_eq!(adapter().profile().no_files, None);
    let seen = fields(&bare, &send("hi")).unwrap();
    let wanted = json!({
        "To": ["+15005550009"], "MessagingServiceSid": ["MG1"], "Body": ["hi"], "ValidityPeriod": ["300"], "SmartEncoded": ["true"],
    });
    assert_eq!(json!(seen), wanted);
}

#[test]
fn what_cannot_be_sent_is_refused_with_a_sentence() {
    let to = |kind: &str, value: &str| Send { to: Address::new(kind, value), ..send("hi") };
    let files =
        |files: Vec<Attachment>| Send { content: Content { attachments: files, ..Content::default() }, ..send("") };
    for (send, why) in [
        (send(" \n"), "there is nothing to send"),
        (send(&"x".repeat(1601)), "the text has 1601 characters"),
        (
            files(vec![attachment(None)]),
            "file 1 has no public address: Twilio fetches them from us: set http.public_url",
        ),
        (
            files(vec![Attachment { size: 5_000_001, ..attachment(Some("https://a.example")) }]),
            "the files of a message may have 5 MB together",
        ),
        (files(vec![attachment(Some("https://a.example")); 11]), "more than 10 files"),
        (to("phone", "15005550009"), "the number is not international"),
        (to("whatsapp", "+15005550009"), "a whatsapp address cannot be written to from a phone sender"),
        (to("sender", "My Shop"), "the sender is a name"),
        (to("email", "ann@example.org"), "a email address cannot be written to"),
    ] {
        let refused = fields(&adapter(), &send).unwrap_err();
        assert!(refused.starts_with(why), "{refused}");
    }
    assert!(fields(&adapter(), &send(&"😀".repeat(1600))).is_ok(), "characters are counted, not bytes");
    assert!(fields(&adapter(), &to("sender", "72727")).is_ok());
}

#[test]
fn whatsapp_is_written_to_from_whatsapp() {
    let whatsapp = TwilioConfig { from: Some("whatsapp:+15005550006".into()), ..config() };
    let whatsapp = Twilio::new("support-sms", whatsapp).unwrap();
    for (value, written) in [
        ("15005550009", "whatsapp:+15005550009"),
        ("+15005550009", "whatsapp:+15005550009"),
        ("US.1234", "whatsapp:US.1234"),
    ] {
        let seen = fields(&whatsapp, &Send { to: Address::new("whatsapp", value), ..send("hi") }).unwrap();
        assert_eq!((seen["To"][0].as_str(), seen["From"][0].as_str()), (written, "whatsapp:+15005550006"));
    }
    assert!(fields(&whatsapp, &send("hi")).is_err());
}

fn classify(answer: Answer) -> AttemptOutcome {
    adapter().classify(&send("hi"), &answer, NOW)
}

#[test]
fn every_code_of_the_table_is_classified_by_its_row() {
    for row in CODES {
        let body = json!({"code": row.code.parse::<u32>().unwrap(), "message": "m", "more_info": "u", "status": 400});
        let outcome = classify(answer(400, body));
        assert_eq!(outcome.outcome, row.class.outcome(), "{}", row.code);
        assert_eq!(outcome.channel_refused, row.class == Class::Config, "{}", row.code);
        assert_eq!((outcome.code.as_deref(), outcome.detail.as_deref()), (Some(row.code), Some(row.sentence)));
        assert!(!row.sentence.ends_with('.') && row.sentence.len() > 10, "{}", row.sentence);
    }
}

/// As `protocols.md` 3.4 lists them; 21408 is none of the channel's here, see [`CODES`].
const DOCUMENTED: [(Class, &str); 7] = [
    (Class::RateLimit, "20429 14107 30022 63018 63017"),
    (Class::Retry, "20503 30001 21611 30003 30005 30008 30017"),
    (Class::PermanentRecipient, "21211 21217 21614 30004 30006 63024 63003 21408"),
    (Class::OptedOut, "21610"),
    (Class::OutsideWindow, "63016"),
    (Class::PermanentMessage, "21617 21619 21620 30007 30019 63032 63033"),
    (Class::Config, "20003 20404 21606 21603 21703 21659 30023 30027 30034"),
];

#[test]
fn every_documented_code_is_in_its_class_and_no_other_is_in_the_table() {
    let documented: Vec<_> =
        DOCUMENTED.iter().flat_map(|(class, codes)| codes.split(' ').map(move |code| (code, *class))).collect();
    for (code, class) in &documented {
        let rows: Vec<_> = CODES.iter().filter(|row| row.code == *code).map(|row| row.class).collect();
        assert_eq!(rows, [*class], "{code}");
    }
    assert_eq!(CODES.len(), documented.len());
}

#[test]
fn a_limit_of_one_person_is_no_failure_of_the_channel() {
    for (code, fault) in [(63_017, Some(switchboard_envelope::Fault::Recipient)), (63_018, None)] {
        let outcome = classify(answer(429, json!({"code": code, "message": "m", "status": 429})));
        assert_eq!((outcome.outcome, outcome.fault), (Outcome::NotSent, fault), "{code}");
    }
}

#[test]
fn answers_outside_the_table_have_an_outcome_too() {
    use Outcome::{Accepted, NotSent, Rejected, Unknown};
    let error = |code: u32| json!({"code": code, "message": "m", "status": 400});
    for (answer, outcome, is_refused) in [
        (answer(201, json!({"sid": "SM1", "status": "queued"})), Accepted, false),
        (answer(200, json!({"sid": "SM1"})), Accepted, false),
        (answer(201, json!({"sid": "SM1", "status": "failed", "error_code": 30001})), Rejected, false),
        (answer(201, ""), Unknown, false),
        (answer(201, "<html>"), Unknown, false),
        (answer(201, json!({"sid": "../x"})), Unknown, false),
        (answer(204, ""), Unknown, false),
        (answer(302, ""), Unknown, false),
        (answer(308, ""), NotSent, true),
        (answer(400, error(99_999)), Rejected, false),
        (answer(400, "<html>"), Unknown, false),
        (answer(401, ""), NotSent, true),
        (answer(403, "<html>"), NotSent, true),
        (answer(404, error(20_404)), NotSent, true),
        (answer(407, ""), NotSent, true),
        (answer(408, ""), Unknown, false),
        (answer(429, ""), NotSent, false),
        (answer(429, error(20_429)), NotSent, false),
        (answer(500, ""), Unknown, false),
        (answer(500, error(20_500)), Unknown, false),
        (answer(500, error(21_610)), Unknown, false),
        (answer(503, error(20_503)), NotSent, false),
        (answer(503, ""), Unknown, false),
        (Err(CallError::Lost("timed out".into())), Unknown, false),
        (Err(CallError::NotSent("refused".into())), NotSent, false),
    ] {
        let seen = classify(answer.clone());
        assert_eq!((seen.outcome, seen.channel_refused), (outcome, is_refused), "{answer:?} {seen:?}");
        assert_eq!(seen.detail.is_none(), outcome == Accepted, "a sentence for all that is not well: {seen:?}");
    }
}

#[test]
fn retry_after_is_read_where_it_is_sent() {
    for (value, wanted) in [("7", Some(7_000)), ("999999999", Some(86_400_000)), ("soon", None)] {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", value.parse().unwrap());
        let seen = classify(Ok(Response { status: 429, headers, body: Bytes::new() }));
        assert_eq!(seen.retry_after_ms, wanted, "{value}");
    }
    assert_eq!(classify(answer(429, "")).retry_after_ms, None);
}

#[test]
fn the_providers_own_words_lose_numbers_and_control_characters() {
    let body = json!({"code": 99_999, "message": "The 'To' number +15005550009\u{7} is odd", "status": 400});
    let detail = classify(answer(400, body)).detail.unwrap();
    assert_eq!(detail, "Twilio refused it: The 'To' number +15•••09 is odd");
}
