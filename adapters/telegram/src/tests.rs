use super::*;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use switchboard_adapter_sdk::{
    CallBody, CallError, Response, Secret,
    classify::Class,
    settings::Value as Setting,
    signature::from_base64,
    testkit::{self, Fixture, Kit},
};
use switchboard_envelope::{Author, Choice, ConsentState, Content, Message, Outcome, Visibility};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const TOKEN: &str = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
const ANN: i64 = 7_000_000_001;

fn settings() -> Settings {
    let secrets = |all: &[&str]| Setting::Secrets(all.iter().map(|s| Secret::new(*s)).collect());
    Settings::new("bot", Some("https://hooks.shop.example"))
        .with("token", secrets(&[TOKEN]))
        .with("secret_token", secrets(&["sesame", "the-next_one"]))
}

fn adapter() -> Arc<dyn Adapter> {
    (KIND.build)(&settings()).unwrap()
}

fn said_with(secret: Option<&str>, update: &Value) -> RawRequest {
    let mut headers = HeaderMap::new();
    if let Some(secret) = secret {
        headers.insert(bot::HEADER, secret.parse().unwrap());
    }
    RawRequest {
        method: Method::POST,
        path: String::new(),
        query: String::new(),
        headers,
        body: Bytes::from(update.to_string()),
        url: "https://hooks.shop.example/hooks/bot".into(),
        received_at: NOW,
    }
}

fn said(update: &Value) -> RawRequest {
    said_with(Some("sesame"), update)
}

fn private() -> Value {
    json!({ "id": ANN, "type": "private", "first_name": "Ann" })
}

fn person() -> Value {
    json!({ "id": ANN, "is_bot": false, "first_name": "Ann", "last_name": "Lee", "username": "annlee", "language_code": "en" })
}

fn told(more: Value) -> Value {
    let mut message = json!({ "message_id": 42, "from": person(), "chat": private(), "date": 1_756_632_000 });
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "update_id": 9, "message": message })
}

fn pressed() -> Value {
    let keyboard = json!({ "inline_keyboard": [[{ "text": "Red", "callback_data": "RED" }], [{ "text": "Blue", "callback_data": "BLUE" }]] });
    let under = json!({ "message_id": 43, "from": { "id": 1, "is_bot": true, "first_name": "Shop" }, "chat": private(), "date": 1_756_632_000, "text": "Which?", "reply_markup": keyboard });
    json!({ "update_id": 10, "callback_query": { "id": "4382bfdwdsb323b2d9", "from": person(), "chat_instance": "x", "data": "BLUE", "message": under } })
}

fn blocked(status: &str) -> Value {
    json!({ "update_id": 11, "my_chat_member": { "chat": private(), "from": person(), "date": 1_756_632_000,
        "old_chat_member": { "status": "member" }, "new_chat_member": { "status": status } } })
}

fn read(update: &Value) -> Vec<Inbound> {
    adapter().parse(&said(update))
}

fn message(update: &Value) -> Message {
    match read(update).as_slice() {
        [Inbound::Message(message)] => (**message).clone(),
        other => panic!("not one message: {other:#?}"),
    }
}

fn send(text: &str) -> Send {
    Send {
        send: "mAbC".into(),
        part: 1,
        n: 1,
        until: NOW.plus(120_000),
        channel: "bot".into(),
        conversation: "c1".into(),
        thread: ANN.to_string(),
        to: Address::new("telegram", ANN.to_string()),
        content: Content::text(text),
        author: Author::Agent { id: "ann".into() },
        reply_to: vec![],
        traceparent: None,
        mail: None,
        window_until: None,
    }
}

fn body(call: &Call) -> Value {
    let CallBody::Bytes("application/json", bytes) = &call.body else { panic!("no JSON") };
    serde_json::from_slice(bytes).unwrap()
}

fn answer(status: u16, body: &Value) -> Answer {
    Ok(Response { status, headers: HeaderMap::new(), body: Bytes::from(body.to_string()) })
}

#[test]
fn the_kit_finds_nothing() {
    let updates = [
        ("text", told(json!({ "text": "Grüße 👋" }))),
        ("photo", told(json!({ "photo": [{ "file_id": "AgAD", "width": 90, "height": 90 }], "caption": "look" }))),
        ("press", pressed()),
        ("blocked", blocked("kicked")),
    ];
    let fixtures: Vec<Fixture> =
        updates.iter().map(|(name, update)| Fixture { name: (*name).into(), request: said(update) }).collect();
    let failures = testkit::check(&Kit {
        adapter: adapter().as_ref(),
        fixtures: &fixtures,
        signature_headers: &[bot::HEADER],
        send: &send("hi"),
    });
    // The proof is a word in the head, as Telegram makes it: it says nothing of the body.
    let beyond: Vec<_> = failures
        .iter()
        .filter(|f| f.check != "a changed body is refused" && f.check != "a cut body is refused")
        .collect();
    assert!(beyond.is_empty(), "{beyond:#?}");
}

#[test]
fn only_who_knows_the_word_is_heard_and_nothing_of_the_body_is_read_before() {
    let update = told(json!({ "text": "hi" }));
    for good in ["sesame", "the-next_one"] {
        let request = said_with(Some(good), &update);
        assert_eq!(
            (adapter().screen(&request), adapter().verify(&request)),
            (Verdict::Genuine, Verdict::Genuine),
            "{good}"
        );
    }
    assert_eq!(adapter().screen(&said_with(None, &update)), Verdict::Missing);
    for wrong in ["", "sesam", "Sesame", "sesame "] {
        assert!(matches!(adapter().verify(&said_with(Some(wrong), &update)), Verdict::Forged(_)), "{wrong}");
    }
    let mut get = said(&update);
    get.method = Method::GET;
    assert!(matches!(adapter().verify(&get), Verdict::Forged(_)));
}

#[test]
fn what_people_write_is_a_message_in_their_thread() {
    let m = message(&told(json!({ "text": "Grüße 👋", "reply_to_message": { "message_id": 40 } })));
    assert_eq!(
        (m.id.as_str(), m.thread.as_str(), m.content.text.as_str()),
        ("bot:message:7000000001.42", "7000000001", "Grüße 👋")
    );
    assert_eq!((m.from.identity().as_str(), m.from.name.as_deref()), ("telegram:7000000001", Some("Ann Lee")));
    assert_eq!((m.at, m.references), (Timestamp(1_756_632_000_000), vec!["7000000001.40".to_owned()]));
    assert_eq!(
        (m.visibility, m.automatic, m.provider_id.as_deref()),
        (Visibility::Private, false, Some("7000000001.42"))
    );
    assert_eq!(m.meta.get("username").map(String::as_str), Some("annlee"));
    let m = message(&told(json!({ "text": "/start summer" })));
    assert_eq!((m.meta["command"].as_str(), m.meta["referral"].as_str()), ("start", "summer"));
    let group = json!({ "id": -100_123, "type": "supergroup", "title": "Shop talk" });
    let m = message(&told(json!({ "text": "hi all", "chat": group })));
    assert_eq!((m.thread.as_str(), m.visibility), ("-100123:7000000001", Visibility::Public));
    let m = message(&told(json!({ "text": "beep", "from": { "id": 5, "is_bot": true, "first_name": "B" } })));
    assert!(m.automatic, "another bot is never answered automatically");
}

#[test]
fn an_edit_a_service_message_and_a_reaction_say_what_they_are() {
    let mut update = told(json!({ "text": "Where is order 7?", "edit_date": 1_756_632_060 }));
    let edited = update["message"].take();
    let m = message(&json!({ "update_id": 10, "edited_message": edited }));
    assert_eq!(
        (m.id.as_str(), m.references.as_slice()),
        ("bot:message:7000000001.42.10", &["7000000001.42".to_owned()][..])
    );
    assert_eq!((m.meta["event"].as_str(), m.provider_id), ("edit", None));
    let m = message(&told(json!({ "pinned_message": { "message_id": 1 } })));
    assert_eq!((m.content.text.as_str(), m.automatic), ("[pinned message]", true));
    let reaction = json!({ "update_id": 3, "message_reaction": { "chat": private(), "message_id": 43, "user": person(), "date": 1_756_632_000,
        "old_reaction": [], "new_reaction": [{ "type": "emoji", "emoji": "👍" }] } });
    let m = message(&reaction);
    assert_eq!(
        (m.content.text.as_str(), m.automatic, m.references.as_slice()),
        ("[reacted with 👍]", true, &["7000000001.43".to_owned()][..])
    );
}

#[test]
fn a_button_comes_back_as_its_choice_and_its_clock_is_stopped() {
    let m = message(&pressed());
    assert_eq!(m.content.choice, Some(Choice { id: "BLUE".into(), label: Some("Blue".into()) }));
    assert_eq!((m.content.text.as_str(), m.thread.as_str()), ("Blue", "7000000001"));
    assert_eq!(m.references, ["7000000001.43"]);
    let reply = adapter().accepted(&said(&pressed()));
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(body, json!({ "method": "answerCallbackQuery", "callback_query_id": "4382bfdwdsb323b2d9" }));
    assert_eq!(adapter().accepted(&said(&told(json!({ "text": "hi" })))).body, "");
}

#[test]
fn who_blocks_the_bot_has_opted_out_until_they_take_it_back() {
    for (status, state) in [("kicked", ConsentState::OptedOut), ("member", ConsentState::OptedIn)] {
        let events = read(&blocked(status));
        let [Inbound::Consent(consent)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((consent.state, consent.address.identity().as_str()), (state, "telegram:7000000001"));
    }
}

#[test]
fn files_are_kept_without_the_token_and_fetched_with_it() {
    let sizes = json!([{ "file_id": "small", "width": 90 }, { "file_id": "large", "width": 1280, "file_size": 9000 }]);
    let m = message(&told(json!({ "photo": sizes, "caption": "look" })));
    let [photo] = m.content.attachments.as_slice() else { panic!("{:?}", m.content) };
    assert_eq!((photo.mime.as_str(), photo.size, m.content.text.as_str()), ("image/jpeg", 9000, "look"));
    assert_eq!(photo.url.as_deref(), Some("https://api.telegram.org/getFile?file_id=large"));
    let asked = adapter().fetch(photo).unwrap();
    assert_eq!(asked.url, format!("https://api.telegram.org/bot{TOKEN}/getFile?file_id=large"));
    let found = adapter()
        .listed(photo, &Bytes::from(json!({ "ok": true, "result": { "file_path": "photos/file_1.jpg" } }).to_string()))
        .unwrap();
    assert_eq!(found[0].url.as_deref(), Some("https://api.telegram.org/file/photos/file_1.jpg"));
    assert_eq!(
        adapter().fetch(&found[0]).unwrap().url,
        format!("https://api.telegram.org/file/bot{TOKEN}/photos/file_1.jpg")
    );
    assert_eq!(adapter().listed(&found[0], &Bytes::from_static(b"\xff\xd8")), None, "this is the file");
    for path in ["../bot1:x/getMe", "a/../../b", "/etc/passwd", "a//b", "http://elsewhere.example/x", "a?b", ""] {
        let told = Bytes::from(json!({ "ok": true, "result": { "file_path": path } }).to_string());
        let found = adapter().listed(photo, &told).unwrap();
        assert!(found[0].url.is_none() && found[0].problem.is_some(), "{path}");
    }
    for url in [
        "https://elsewhere.example/getFile?file_id=large",
        "https://api.telegram.org/file/../x",
        "https://api.telegram.org/bot1/x",
    ] {
        assert!(adapter().fetch(&Attachment { url: Some(url.into()), ..Attachment::default() }).is_none(), "{url}");
    }
    for (kind, file) in [
        ("document", json!({ "file_id": "a", "file_name": "../bill.pdf", "mime_type": "application/pdf" })),
        ("voice", json!({ "file_id": "b" })),
    ] {
        let m = message(&told(json!({ kind: file })));
        assert_eq!((m.content.attachments.len(), m.meta["file"].as_str()), (1, kind));
        assert!(!m.content.attachments[0].name.contains('/'));
    }
}

#[test]
fn what_is_no_file_is_a_line() {
    for (more, line) in [
        (json!({ "location": { "latitude": 48.2, "longitude": 16.4 } }), "[location: 48.2, 16.4]"),
        (json!({ "contact": { "phone_number": "+43123", "first_name": "Bob" } }), "[Bob: +43123]"),
        (json!({ "poll": { "question": "Red?" } }), "[poll: Red?]"),
        (json!({ "dice": { "emoji": "🎲", "value": 6 } }), "🎲 6"),
    ] {
        assert_eq!(message(&told(more)).content.text, line);
    }
}

#[test]
fn what_nobody_knows_is_set_aside_with_its_bytes() {
    for (update, why) in [
        (json!({ "update_id": 1, "inline_query": { "id": "1" } }), "`inline_query`"),
        (json!({ "update_id": 1 }), "without anything that is known"),
        (json!([]), "anything that is known"),
        (json!({ "update_id": 1, "message": { "text": "from nowhere" } }), "without its chat"),
        (told(json!({})), "nothing in it"),
    ] {
        let events = read(&update);
        let [Inbound::Unparsed(unparsed)] = events.as_slice() else { panic!("{update}: {events:?}") };
        assert!(unparsed.reason.contains(why), "{why}: {}", unparsed.reason);
        assert!(!unparsed.reason.contains("from nowhere"));
        let inline = unparsed.raw.inline.as_deref().and_then(from_base64).unwrap();
        assert_eq!(inline, update.to_string().as_bytes());
    }
}

#[test]
fn a_text_goes_out_with_its_buttons() {
    let mut hello = send("Which colour?");
    let choice = |id: &str, label: &str| Choice { id: id.into(), label: Some(label.into()) };
    hello.content.choices = vec![choice("RED", "Red"), choice("BLUE", "Blue")];
    let call = adapter().encode(&hello).unwrap();
    assert_eq!(call.url, format!("https://api.telegram.org/bot{TOKEN}/sendMessage"));
    let keyboard = json!([[{ "text": "Red", "callback_data": "RED" }], [{ "text": "Blue", "callback_data": "BLUE" }]]);
    assert_eq!(
        body(&call),
        json!({ "chat_id": "7000000001", "text": "Which colour?", "reply_markup": { "inline_keyboard": keyboard } })
    );
    hello.content.choices = vec![choice(&"x".repeat(65), "Red")];
    assert_eq!(adapter().encode(&hello).unwrap_err().outcome, Outcome::Rejected);
    assert!(adapter().encode(&send(&"x".repeat(4096))).is_ok());
    let long = adapter().encode(&send(&"😀".repeat(2049))).unwrap_err();
    assert!(long.detail.unwrap().contains("4098 UTF-16 units"));
    let mut group = send("for you");
    group.thread = "-100123:7000000001".into();
    group.reply_to = vec!["-100123.40".into(), "elsewhere".into()];
    let sent = body(&adapter().encode(&group).unwrap());
    assert_eq!((&sent["chat_id"], &sent["reply_parameters"]["message_id"]), (&json!("-100123"), &json!(40)));
}

#[test]
fn each_file_is_a_call_of_its_kind() {
    let file = |mime: &str| Attachment {
        mime: mime.into(),
        url: Some("https://hooks.shop.example/m/1".into()),
        ..Attachment::default()
    };
    let mut all = send("see");
    all.content.attachments = vec![file("image/png"), file("application/pdf; x=1"), file("application/x-tar")];
    let call = |part: u16| adapter().encode(&Send { part, ..all.clone() });
    assert!(call(1).unwrap().url.ends_with("/sendMessage"));
    let photo = call(2).unwrap();
    assert!(photo.url.ends_with("/sendPhoto") && body(&photo)["photo"] == "https://hooks.shop.example/m/1");
    assert!(call(3).unwrap().url.ends_with("/sendDocument"));
    assert!(call(4).unwrap_err().detail.unwrap().contains("application/x-tar"));
    assert_eq!(call(5).unwrap_err().outcome, Outcome::Rejected);
    assert_eq!(call(u16::MAX).unwrap_err().outcome, Outcome::Rejected);
}

#[test]
fn each_refusal_has_its_outcome_and_what_nobody_documents_is_unknown() {
    let classify = |answer: &Answer| adapter().classify(&send("hi"), answer, NOW);
    let taken = classify(&answer(200, &json!({ "ok": true, "result": { "message_id": 77 } })));
    assert_eq!((taken.outcome, taken.provider_ids), (Outcome::Accepted, vec!["7000000001.77".to_owned()]));
    for row in codes::REFUSALS {
        let description = format!("Forbidden: {}", row.holds.to_uppercase());
        let got =
            classify(&answer(row.code, &json!({ "ok": false, "error_code": row.code, "description": description })));
        assert_eq!(got.outcome, row.class.outcome(), "{row:?}");
        assert!(got.detail.as_deref().unwrap().starts_with(row.sentence), "{row:?}: {got:?}");
        assert_eq!((got.channel_refused, got.opted_out), (row.class == Class::Config, row.class == Class::OptedOut));
        assert!(!row.sentence.ends_with('.') && row.holds == row.holds.to_lowercase());
    }
    let wait = json!({ "ok": false, "error_code": 429, "description": "Too Many Requests: retry after 8", "parameters": { "retry_after": 8 } });
    assert_eq!(classify(&answer(429, &wait)).retry_after_ms, Some(8000));
    for odd in [
        answer(502, &json!({ "ok": false, "error_code": 502, "description": "Bad Gateway" })),
        answer(500, &json!("<html>")),
        answer(400, &json!("a proxy's page")),
        answer(403, &Value::Null),
        answer(200, &json!({ "ok": true })),
        answer(200, &json!({ "ok": true, "result": { "message_id": "x" } })),
        answer(302, &json!({})),
        Err(CallError::Lost("reset".into())),
    ] {
        assert_eq!(classify(&odd).outcome, Outcome::Unknown, "{odd:?}");
    }
    assert_eq!(classify(&Err(CallError::NotSent("dns".into()))).outcome, Outcome::NotSent);
    let hostile =
        classify(&answer(429, &json!({ "ok": false, "error_code": 429, "parameters": { "retry_after": u64::MAX } })));
    assert_eq!(hostile.outcome, Outcome::NotSent);
}

#[test]
fn settings_that_cannot_work_are_said() {
    let with = |key: &str, value: &str| (KIND.build)(&settings().with(key, Setting::Secrets(vec![Secret::new(value)])));
    for (key, value) in [
        ("token", "xyzzy"),
        ("token", "1:short"),
        ("token", "1:has a blank in it"),
        ("token", "../1:AAAAAAAAAA"),
        ("secret_token", ""),
        ("secret_token", "no blanks"),
    ] {
        let problems = with(key, value).err().unwrap_or_else(|| panic!("{key} = {value}"));
        assert_eq!(problems[0].key, key);
        assert!(value.is_empty() || !problems[0].problem.contains(value), "secrets are not shown");
    }
    assert!(adapter().reaches(&Address::new("telegram", "-100123")).is_ok());
    for wrong in ["", "-", "@annlee", "12a", &"1".repeat(21)] {
        assert!(adapter().reaches(&Address::new("telegram", wrong)).is_err(), "{wrong}");
    }
}

/// The API asks before it answers 202: what Telegram refuses is no dead letter then.
#[test]
fn what_telegram_would_refuse_is_said_before_it_is_taken() {
    let (adapter, thread) = (adapter(), ANN.to_string());
    let fits = |content: &Content| adapter.fits(&thread, content);
    let file = |mime: &str| Attachment {
        name: "file".into(),
        mime: mime.into(),
        url: Some("https://hooks.shop.example/media/x".into()),
        ..Attachment::default()
    };
    let choice = |id: &str| vec![Choice { id: id.into(), label: Some("Red".into()) }];
    assert_eq!(fits(&Content::text("👋".repeat(2048))), Ok(()));
    assert!(fits(&Content::text("👋".repeat(3000))).is_err_and(|why| why.contains("6000 UTF-16 units")));
    assert_eq!(fits(&Content { choices: choice(&"x".repeat(64)), ..Content::text("Which?") }), Ok(()));
    let long = Content { choices: choice(&"x".repeat(65)), ..Content::text("Which?") };
    assert!(fits(&long).is_err_and(|why| why.contains("64 bytes")));
    let good = Content { attachments: vec![file("image/png"), file("Application/PDF; a=b")], ..Content::default() };
    assert_eq!(fits(&good), Ok(()));
    let docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
    let refused = Content { attachments: vec![file("image/png"), file(docx)], ..Content::text("here") };
    assert!(fits(&refused).is_err_and(|why| why.contains(docx)));
    // The same words as when it leaves.
    let sent = Send { content: long, ..send("") };
    assert!(adapter.encode(&sent).unwrap_err().detail.is_some_and(|why| why.contains("64 bytes")));
}

#[test]
fn two_edits_of_one_second_are_two_and_a_live_location_is_no_message_of_the_customer() {
    let edited = |update: i64, more: Value| {
        let mut told = told(more);
        json!({ "update_id": update, "edited_message": told["message"].take() })
    };
    let of = |update: i64, text: &str| message(&edited(update, json!({ "text": text, "edit_date": 1_756_632_060 })));
    let (first, second) = (of(10, "Order 7"), of(11, "Order 8"));
    assert!(first.id != second.id && !first.automatic, "{} {}", first.id, second.id);
    assert_eq!(first.id, of(10, "Order 7").id, "and one that comes again is one");
    let place =
        json!({ "location": { "latitude": 52.2, "longitude": 21.0, "live_period": 3600 }, "edit_date": 1_756_632_060 });
    assert!(message(&edited(12, place.clone())).automatic);
    assert!(!message(&told(place)).automatic, "where they are at first they say themselves");
}
