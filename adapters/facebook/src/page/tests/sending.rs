//! What leaves, and what is made of the answers.

use super::*;
use switchboard_adapter_sdk::CallBody;
use switchboard_envelope::Choice;

fn body(call: &Call) -> Value {
    let CallBody::Bytes("application/json", bytes) = &call.body else { panic!("no JSON") };
    serde_json::from_slice(bytes).unwrap()
}

fn encoded(send: &Send) -> Value {
    body(&adapter().encode(send).unwrap())
}

fn answer(status: u16, code: i64, subcode: Option<i64>) -> Answer {
    let mut error = json!({ "message": "(#1) words of Meta's", "type": "OAuthException", "code": code });
    if let Some(subcode) = subcode {
        error["error_subcode"] = json!(subcode);
    }
    Ok(Response { status, headers: HeaderMap::new(), body: json!({ "error": error }).to_string().into() })
}

#[test]
fn a_text_goes_as_meta_documents_it_with_a_word_that_its_echo_brings_back() {
    let call = adapter().encode(&send("Grüße 👋")).unwrap();
    let proof = to_hex(&Mac::sha256(SECRET.as_bytes()).sign(b"a-page-token"));
    let url =
        format!("https://graph.facebook.com/v26.0/{PAGE}/messages?access_token=a-page-token&appsecret_proof={proof}");
    assert_eq!((call.method.as_str(), call.url.as_str()), ("POST", url.as_str()));
    let wanted = json!({ "recipient": { "id": ANN }, "messaging_type": "RESPONSE",
        "message": { "text": "Grüße 👋", "metadata": "mAbC.1.1" } });
    assert_eq!(body(&call), wanted);
    let instagram = adapter_of(&INSTAGRAM, &settings()).encode(&send("hi")).unwrap();
    assert!(instagram.url.starts_with("https://graph.facebook.com/v26.0/me/messages?"), "{}", instagram.url);
}

#[test]
fn the_window_decides_the_rule_under_which_an_answer_goes() {
    const HOUR: i64 = 3_600_000;
    let tag = |author: Author, window: Option<i64>, human_agent: Option<bool>| {
        let mut settings = settings();
        if let Some(flag) = human_agent {
            settings.set("human_agent", Setting::Flag(flag));
        }
        let send = Send { author, window_until: window.map(|ms| NOW.plus(ms)), ..send("hi") };
        match adapter_of(&MESSENGER, &settings).encode(&send) {
            Ok(call) => Ok((body(&call)["messaging_type"].clone(), body(&call)["tag"].clone())),
            Err(refused) => Err(refused.outcome),
        }
    };
    let (agent, auto) = (|| Author::Agent { id: "ann".into() }, || Author::Auto { rule: "R".into() });
    let (response, tagged) = (Ok((json!("RESPONSE"), Value::Null)), Ok((json!("MESSAGE_TAG"), json!("HUMAN_AGENT"))));
    let refused = Err(Outcome::Rejected);
    assert_eq!(tag(agent(), Some(HOUR), None), response, "inside of it nobody needs a tag");
    assert_eq!(tag(agent(), None, None), response, "nobody knows of a window");
    assert_eq!(tag(agent(), Some(-HOUR), None), tagged);
    assert_eq!(tag(agent(), Some(60_000), None), tagged, "it may leave after the end");
    assert_eq!(tag(agent(), Some(-5 * 24 * HOUR), None), tagged);
    assert_eq!(tag(agent(), Some(-7 * 24 * HOUR), None), refused, "after seven days a person neither");
    assert_eq!(tag(auto(), Some(HOUR), None), response);
    assert_eq!(tag(auto(), Some(-HOUR), None), refused, "the tag is a person's alone");
    assert_eq!(tag(auto(), Some(60_000), None), response, "Meta decides about the last minutes");
    assert_eq!(tag(agent(), Some(-HOUR), Some(false)), refused, "an app without the tag");
    assert_eq!(adapter().profile().person_window_ms, Some(7 * 24 * HOUR));
}

#[test]
fn choices_are_quick_replies_unless_they_are_lines_of_the_text() {
    let choice = |id: &str, label: &str| Choice { id: id.into(), label: Some(label.into()) };
    let with = |choices: Vec<Choice>| {
        let mut send = send("Which?");
        send.content.choices = choices;
        encoded(&send)["message"]["quick_replies"].clone()
    };
    let shown = with(vec![choice("RED", "Red"), choice("BLUE", "Blue")]);
    let reply = |id: &str, label: &str| json!({ "content_type": "text", "title": label, "payload": id });
    assert_eq!(shown, json!([reply("RED", "Red"), reply("BLUE", "Blue")]));
    assert_eq!(with(vec![choice("1", &"x".repeat(21))]), Value::Null);
    assert_eq!(with((0..14).map(|n| choice(&n.to_string(), &n.to_string())).collect()), Value::Null);
    let mut long = send("Which?");
    long.content.choices = vec![choice(&"x".repeat(1001), "Red")];
    assert_eq!(adapter().encode(&long).unwrap_err().outcome, Outcome::Rejected);
}

#[test]
fn the_text_and_each_file_are_calls_of_their_own() {
    let file = |mime: &str, url: Option<&str>| Attachment {
        mime: mime.into(),
        url: url.map(str::to_owned),
        ..Attachment::default()
    };
    let mut send = send("Here they are");
    send.content.attachments =
        vec![file("image/png", Some("https://a.example/1")), file("application/pdf", Some("https://a.example/2"))];
    let part = |n: u16| adapter().encode(&Send { part: n, ..send.clone() }).map(|call| body(&call)["message"].clone());
    assert_eq!(part(1).unwrap(), json!({ "text": "Here they are", "metadata": "mAbC.1.1" }));
    let attached = |kind: &str, n: u16| {
        json!({ "metadata": format!("mAbC.{}.1", n + 1),
        "attachment": { "type": kind, "payload": { "url": format!("https://a.example/{n}"), "is_reusable": false } } })
    };
    assert_eq!((part(2).unwrap(), part(3).unwrap()), (attached("image", 1), attached("file", 2)));
    assert_eq!(part(4).unwrap_err().outcome, Outcome::Rejected, "there is no more");
    send.content.text = String::new();
    let first = adapter().encode(&send).map(|call| body(&call)["message"]["attachment"]["type"].clone());
    assert_eq!(first.unwrap(), json!("image"), "without a text the first call is the first file");
    send.content.attachments = vec![file("image/png", None)];
    assert!(adapter().encode(&send).unwrap_err().detail.unwrap().contains("public_url"));
    assert_eq!(adapter().profile().parts(&send.content), 1);
}

#[test]
fn too_long_a_text_is_refused_in_the_products_own_measure() {
    assert!(adapter().encode(&send(&"ü".repeat(2000))).is_ok());
    assert_eq!(adapter().encode(&send(&"ü".repeat(2001))).unwrap_err().outcome, Outcome::Rejected);
    let instagram = adapter_of(&INSTAGRAM, &settings());
    assert!(instagram.encode(&send(&"ü".repeat(500))).is_ok());
    let refused = instagram.encode(&send(&"ü".repeat(501))).unwrap_err();
    assert!(refused.detail.as_deref().unwrap().contains("1002 bytes"), "{refused:?}");
}

/// As `protocols.md` 8.3 lists them, with the codes beside which the subcodes come.
#[test]
fn each_documented_code_is_in_its_class_and_no_other_is_in_the_table() {
    let documented = [
        (Class::Retry, "1 2 1/99"),
        (Class::RateLimit, "4 17 32 613 80006 4/2018338 4/2534040 4/1893016 10/2018338 10/2534040 10/1893016"),
        (Class::OutsideWindow, "10/2018278 10/2534022 10/2018065"),
        (Class::PermanentRecipient, "10/2018108 100/2018001 551 200/1545041 551/1545041"),
        (Class::OptedOut, "10/1893015"),
        (Class::PermanentMessage, "100 100/2018008 100/2018047 100/2018109"),
        (Class::Config, "190 10 200 200/2018028 2018300 10/2018300 100/2018300 10/1893063 9000001"),
    ];
    let documented: Vec<_> =
        documented.iter().flat_map(|(class, codes)| codes.split(' ').map(move |code| (code, *class))).collect();
    for (code, class) in &documented {
        let rows: Vec<_> = codes::CODES.iter().filter(|row| row.code == *code).map(|row| row.class).collect();
        assert_eq!(rows, [*class], "{code}");
    }
    assert_eq!(codes::CODES.len(), documented.len());
    // The rate's subcodes are its own, whatever code they come with.
    for subcode in [2_018_338, 2_534_040, 1_893_016] {
        let outcome = adapter().classify(&send("hi"), &answer(400, 613, Some(subcode)), NOW);
        assert_eq!((outcome.outcome, outcome.channel_refused), (Outcome::NotSent, false), "{subcode}");
    }
}

#[test]
fn each_row_of_the_table_has_its_outcome() {
    let mut seen = std::collections::BTreeSet::new();
    for row in codes::CODES {
        assert!(seen.insert(row.code), "{} stands twice", row.code);
        assert!(!row.sentence.ends_with('.'), "{}", row.code);
        let (code, subcode) = match row.code.split_once('/') {
            Some((code, subcode)) => (code.parse().unwrap(), Some(subcode.parse().unwrap())),
            None => (row.code.parse().unwrap(), None),
        };
        for status in [400, 500] {
            let outcome = adapter().classify(&send("hi"), &answer(status, code, subcode), NOW);
            assert_eq!(outcome.outcome, row.class.outcome(), "{} with {status}", row.code);
            assert_eq!(outcome.code.as_deref(), Some(row.code));
            assert_eq!(outcome.detail.as_deref(), Some(row.sentence));
            assert_eq!(outcome.channel_refused, row.class == Class::Config, "{}", row.code);
        }
    }
    let of = |status, code, subcode| adapter().classify(&send("hi"), &answer(status, code, subcode), NOW).outcome;
    assert_eq!(of(400, 190, Some(463)), Outcome::NotSent, "a subcode of a token's");
    assert_eq!(of(400, 230, Some(2018278)), Outcome::Rejected, "the window, with another code");
    assert_eq!(of(400, 12345, None), Outcome::Rejected, "a code that nobody documented");
    assert_eq!(of(500, 12345, None), Outcome::Unknown, "the same from a server in trouble");
    assert_eq!(of(403, 299, None), Outcome::NotSent, "a permission");
}

#[test]
fn a_missing_permission_for_the_tag_stops_no_channel() {
    let mut late = send("hi");
    late.window_until = Some(NOW.plus(-3_600_000));
    for code in [10, 200] {
        let tagged = adapter().classify(&late, &answer(403, code, None), NOW);
        assert!(tagged.outcome == Outcome::Rejected && !tagged.channel_refused, "{tagged:?}");
        assert!(tagged.detail.unwrap().contains("human_agent"));
        assert!(adapter().classify(&send("hi"), &answer(403, code, None), NOW).channel_refused);
    }
    assert!(adapter().classify(&late, &answer(401, 190, None), NOW).channel_refused, "a token is a token");
}

#[test]
fn a_limit_of_one_person_is_no_failure_of_the_channel() {
    for (code, subcode, wanted) in [(4, Some(1_893_016), true), (10, Some(1_893_016), true), (4, None, false)] {
        let outcome = adapter().classify(&send("hi"), &answer(400, code, subcode), NOW);
        let fault = wanted.then_some(switchboard_envelope::Fault::Recipient);
        assert_eq!((outcome.outcome, outcome.fault), (Outcome::NotSent, fault), "{code} {subcode:?}");
    }
}

#[test]
fn a_limit_says_when_it_ends() {
    let mut headers = HeaderMap::new();
    headers.insert("x-business-use-case-usage", r#"{"1":[{"estimated_time_to_regain_access":2}]}"#.parse().unwrap());
    let Ok(limited) = answer(400, 613, None) else { unreachable!() };
    let outcome = adapter().classify(&send("hi"), &Ok(Response { headers, ..limited }), NOW);
    assert_eq!((outcome.outcome, outcome.retry_after_ms), (Outcome::NotSent, Some(120_000)));
}

#[test]
fn files_come_without_our_token() {
    let file = Attachment { url: Some("https://scontent.xx.fbcdn.net/a.jpg".into()), ..Attachment::default() };
    assert!(adapter().fetch(&file).unwrap().headers.is_empty());
    let inside = Attachment { url: Some("https://169.254.169.254/latest".into()), ..Attachment::default() };
    assert!(adapter().fetch(&inside).is_none());
}

#[test]
fn a_window_that_is_not_a_day_is_configured() {
    const HOUR: i64 = 3_600_000;
    let settings = settings().with("window", Setting::Span(std::time::Duration::from_secs(72 * 3600)));
    let adapter = adapter_of(&MESSENGER, &settings);
    let profile = adapter.profile();
    assert_eq!((profile.window_ms, profile.person_window_ms), (Some(72 * HOUR), Some(168 * HOUR)));
    let at = |end: i64| adapter.encode(&Send { window_until: Some(NOW.plus(end)), ..send("hi") });
    let kind = |call: Result<Call, AttemptOutcome>| call.map(|call| body(&call)["messaging_type"].clone()).ok();
    assert_eq!(kind(at(HOUR)), Some(json!("RESPONSE")));
    // A person's seven days are counted from the message, not from the end of the window.
    assert_eq!(kind(at(-95 * HOUR)), Some(json!("MESSAGE_TAG")));
    assert_eq!(kind(at(-97 * HOUR)), None);
}
