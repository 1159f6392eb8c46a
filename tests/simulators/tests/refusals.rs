//! The simulators of Meta, Vonage, Telegram and of gateways refuse what those refuse, and note what no correct client asks.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::time::Duration;
use switchboard_simulators::{
    Dialect, GatewaySim, MetaConfig, MetaSim, MetaStep, TelegramSim, TelegramStep, VonageConfig, VonageSim, VonageStep,
    http::{Answer, call},
};

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn post(url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    call("POST", url, headers, body.as_bytes(), Duration::from_secs(10)).await.expect("an answer")
}

fn encoded(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn proof(secret: &str, token: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::sign(&key, token.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// What `good` is with this key of it set to something else, or taken out.
fn but(good: &Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let mut changed = good.clone();
    let object = changed.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    match value {
        Value::Null => drop(object.remove(key)),
        value => drop(object.insert(key.to_owned(), value)),
    }
    changed
}

#[tokio::test]
async fn meta_takes_what_the_send_api_documents_and_nothing_else() {
    let sim = MetaSim::start(MetaConfig::default()).await.expect("a port");
    let c = sim.config().clone();
    let url = |path: &str, token: &str| {
        format!(
            "{}/v26.0/{path}/messages?access_token={token}&appsecret_proof={}",
            sim.base_url(),
            proof(&c.app_secret, token)
        )
    };
    let good = json!({ "recipient": { "id": "1" }, "messaging_type": "RESPONSE", "message": { "text": "hi", "metadata": "m.1.1" } });
    let (page, insta) = (url(&c.page_id, &c.page_token), url("me", &c.account_token));
    assert_eq!(post(&page, &[JSON], &good.to_string()).await.status, 200);
    assert_eq!(post(&insta, &[JSON], &good.to_string()).await.status, 200);
    assert_eq!(post(&url(&c.page_id, "another"), &[JSON], &good.to_string()).await.status, 401);
    let unproved = format!("{}/v26.0/{}/messages?access_token={}", sim.base_url(), c.page_id, c.page_token);
    assert_eq!(post(&unproved, &[JSON], &good.to_string()).await.status, 400);
    assert_eq!((sim.sent().len(), sim.violations().len()), (2, 0));
    let quick = |key: &str| json!({ "content_type": "text", "title": "Red", "payload": "R", (key): "https://shop.example/r.png" });
    let file = |attachment: Value| but(&good, "/message", json!({ "attachment": attachment }));
    let right = [
        but(&good, "/message/quick_replies", json!([quick("image_url")])),
        file(json!({ "type": "image", "payload": { "url": "https://shop.example/a.png", "is_reusable": false } })),
    ];
    for body in right {
        assert_eq!(post(&page, &[JSON], &body.to_string()).await.status, 200, "{body}");
    }
    let wrong = [
        but(&good, "/nobody_documented", json!(1)),
        but(&good, "/message/nobody_documented", json!(1)),
        but(&good, "/message/text", json!("")),
        but(&good, "/message/text", json!("x".repeat(2001))),
        but(&good, "/message/metadata", json!("x".repeat(1001))),
        but(&good, "/message/attachment", json!({ "type": "image" })),
        but(&good, "/message/quick_replies", json!([{ "title": "x".repeat(21), "payload": "P" }])),
        but(&good, "/message/quick_replies", json!([{ "title": "Red" }])),
        but(&good, "/message/quick_replies", json!([{ "title": "Red", "payload": "R" }])),
        but(&good, "/message/quick_replies", json!([quick("nobody_documented")])),
        file(json!({ "type": "sticker", "payload": { "url": "https://shop.example/a.png" } })),
        file(json!({ "type": "image", "payload": { "url": "/a.png" } })),
        file(json!({ "type": "image", "payload": { "url": "https://shop.example/a.png", "nobody_documented": 1 } })),
        file(json!({ "type": "image", "url": "https://shop.example/a.png" })),
        but(&good, "/messaging_type", json!("UPDATE")),
        but(&good, "/recipient", Value::Null),
        but(&good, "/message", Value::Null),
    ];
    for (n, body) in wrong.iter().enumerate() {
        assert_eq!(post(&page, &[JSON], &body.to_string()).await.status, 400, "{body}");
        assert_eq!(sim.violations().len(), n + 1, "{body}");
    }
    // Bytes on Instagram: as many characters are too long there.
    let long = but(&good, "/message/text", json!("ü".repeat(501)));
    assert_eq!(post(&page, &[JSON], &long.to_string()).await.status, 200);
    assert_eq!(post(&insta, &[JSON], &long.to_string()).await.status, 400);
    assert_eq!(post(&page, &[FORM], &good.to_string()).await.status, 400, "not declared as JSON");
    assert_eq!(post(&url("nobody", &c.page_token), &[JSON], &good.to_string()).await.status, 404);
    sim.next(MetaStep::Limited(Some(7)));
    let limited = post(&page, &[JSON], &good.to_string()).await;
    assert_eq!(
        (limited.status, limited.headers.iter().any(|(name, value)| name == "retry-after" && value == "7")),
        (429, true)
    );
}

#[tokio::test]
async fn whatsapp_takes_what_the_cloud_api_documents_and_nothing_else() {
    let sim = MetaSim::start(MetaConfig::default()).await.expect("a port");
    let c = sim.config().clone();
    let url = format!(
        "{}/v26.0/{}/messages?appsecret_proof={}",
        sim.base_url(),
        c.phone_number_id,
        proof(&c.app_secret, &c.access_token)
    );
    let bearer = format!("Bearer {}", c.access_token);
    let headers = [JSON, ("authorization", bearer.as_str())];
    let good =
        json!({ "messaging_product": "whatsapp", "to": "15005550009", "type": "text", "text": { "body": "hi" } });
    assert_eq!(post(&url, &headers, &good.to_string()).await.status, 200);
    assert_eq!(post(&url, &[JSON, ("authorization", "Bearer another")], &good.to_string()).await.status, 401);
    let asked = |interactive: Value| {
        but(&but(&good, "/text", Value::Null), "/type", json!("interactive"))
            .as_object()
            .map(|all| {
                let mut all = all.clone();
                all.insert("interactive".into(), interactive);
                Value::Object(all)
            })
            .expect("an object")
    };
    let button = |title: &str| json!({ "type": "reply", "reply": { "id": "A", "title": title } });
    let of = |kind: &str, told: Value| {
        let told = json!({ (kind): told, "type": kind });
        let mut all = but(&good, "/text", Value::Null);
        let fields = told.as_object().cloned().expect("an object");
        all.as_object_mut().expect("an object").extend(fields);
        all
    };
    let list = |row: Value| {
        let action = json!({ "button": "Choose", "sections": [{ "rows": [row] }] });
        asked(json!({ "type": "list", "body": { "text": "Which?" }, "action": action }))
    };
    let right = [
        asked(json!({ "type": "button", "body": { "text": "Which?" }, "action": { "buttons": [button("Red")] } })),
        list(json!({ "id": "A", "title": "Red", "description": "as roses" })),
        of("image", json!({ "link": "https://shop.example/a.png" })),
        of("document", json!({ "link": "https://shop.example/a.pdf", "filename": "a.pdf" })),
        of(
            "template",
            json!({ "name": "hello", "language": { "code": "en_US" },
            "components": [{ "type": "body", "parameters": [{ "type": "text", "text": "Ann" }] }] }),
        ),
    ];
    for body in right {
        assert_eq!(post(&url, &headers, &body.to_string()).await.status, 200, "{body}");
    }
    let wrong = [
        of("text", json!({ "body": "hi", "nobody_documented": 1 })),
        of("image", json!({ "link": "/a.png" })),
        of("audio", json!({ "link": "https://shop.example/a.ogg", "filename": "a.ogg" })),
        of("template", json!({ "name": "hello", "language": { "code": "en_US" }, "values": ["Ann"] })),
        of("template", json!({ "name": "hello", "language": { "code": "en_US" }, "components": [{ "kind": "body" }] })),
        list(json!({ "id": "A", "title": "Red", "nobody_documented": 1 })),
        list(json!({ "title": "Red" })),
        asked(json!({ "type": "list", "body": { "text": "Which?" }, "action": { "sections": [] } })),
        asked(json!({ "type": "cta", "body": { "text": "Which?" }, "action": { "buttons": [button("Red")] } })),
        asked(
            json!({ "type": "button", "body": { "text": "Which?" }, "action": { "buttons": [{ "type": "url", "reply": { "id": "A", "title": "Red" } }] } }),
        ),
        but(&good, "/messaging_product", Value::Null),
        but(&good, "/type", json!("sticker")),
        but(&good, "/text", json!({ "body": "x".repeat(4097) })),
        but(&good, "/nobody_documented", json!(1)),
        asked(
            json!({ "type": "button", "body": { "text": "x".repeat(1025) }, "action": { "buttons": [button("Red")] } }),
        ),
        asked(
            json!({ "type": "button", "body": { "text": "Which?" }, "action": { "buttons": [button(&"x".repeat(21))] } }),
        ),
        asked(
            json!({ "type": "button", "body": { "text": "Which?" }, "action": { "buttons": [button("1"), button("2"), button("3"), button("4")] } }),
        ),
        asked(
            json!({ "type": "list", "body": { "text": "Which?" }, "action": { "sections": [{ "rows": [{ "id": "A", "title": "x".repeat(25) }] }] } }),
        ),
    ];
    for (n, body) in wrong.iter().enumerate() {
        assert_eq!(post(&url, &headers, &body.to_string()).await.status, 400, "{body}");
        assert_eq!(sim.violations().len(), n + 1, "{body}");
    }
}

#[tokio::test]
async fn vonage_takes_what_its_apis_document_and_nothing_else() {
    let sim = VonageSim::start(VonageConfig::default()).await.expect("a port");
    let c = sim.config().clone();
    let url = format!("{}/sms/json", sim.base_url());
    let good = [
        ("api_key", c.api_key.as_str()),
        ("api_secret", &c.api_secret),
        ("from", &c.numbers[0]),
        ("to", "447700900001"),
        ("text", "hi"),
    ];
    let with = |name: &'static str, value: &'static str| -> String {
        let kept = good.iter().copied().filter(|(known, _)| *known != name);
        encoded(&kept.chain([(name, value)]).collect::<Vec<_>>())
    };
    let status =
        |answer: &Answer| serde_json::from_slice::<Value>(&answer.body).expect("JSON")["messages"][0]["status"].clone();
    assert_eq!(status(&post(&url, &[FORM], &encoded(&good)).await), "0");
    let long = post(&url, &[FORM], &encoded(&[&good[..4], &[("text", "x".repeat(161).as_str())]].concat())).await;
    let entries = serde_json::from_slice::<Value>(&long.body).expect("JSON");
    assert_eq!(entries["messages"].as_array().map(Vec::len), Some(2), "an entry for each segment: {entries}");
    assert_eq!(status(&post(&url, &[FORM], &with("api_secret", "another")).await), "4");
    assert_eq!(sim.violations(), Vec::<String>::new());
    for (name, value, wanted) in [("to", "+447700900001", "3"), ("from", "447700900009", "15"), ("text", "", "12")] {
        assert_eq!(status(&post(&url, &[FORM], &with(name, value)).await), wanted, "{name}");
    }
    post(&url, &[FORM], &with("nobody-documented", "1")).await;
    post(&url, &[JSON], &encoded(&good)).await;
    assert_eq!(sim.violations().len(), 5, "{:?}", sim.violations());
    sim.next(VonageStep::Limited(Some(3)));
    assert_eq!(post(&url, &[FORM], &encoded(&good)).await.status, 429);
    let newer = format!("{}/v1/messages", sim.base_url());
    assert_eq!(post(&newer, &[JSON], "{}").await.status, 401);
    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", c.api_key, c.api_secret)));
    let headers = [JSON, ("authorization", basic.as_str())];
    let good = json!({ "message_type": "text", "channel": "sms", "to": "447700900001", "from": c.numbers[0], "text": "hi",
        "client_ref": "m.1.1" });
    assert_eq!(post(&newer, &headers, &good.to_string()).await.status, 202);
    let before = sim.violations().len();
    let wrong = [
        (but(&good, "/to", json!("+447700900001")), 422),
        (but(&good, "/from", json!("447700900009")), 422),
        (but(&good, "/text", json!("")), 422),
        (but(&good, "/client_ref", json!("x".repeat(41))), 422),
        // Taken, and noted: no correct client asks so.
        (but(&good, "/nobody_documented", json!(1)), 202),
        (but(&good, "/channel", json!("whatsapp")), 202),
        (but(&good, "/message_type", json!("image")), 202),
        (json!("no object"), 422),
    ];
    for (n, (body, status)) in wrong.iter().enumerate() {
        assert_eq!(post(&newer, &headers, &body.to_string()).await.status, *status, "{body}");
        assert_eq!(sim.violations().len(), before + n + 1, "{body}");
    }
}

#[tokio::test]
async fn telegram_takes_what_the_bot_api_documents_and_nothing_else() {
    let sim = TelegramSim::start().await.expect("a port");
    let url = |method: &str| format!("{}/bot{}/{method}", sim.base_url(), TelegramSim::TOKEN);
    let good = json!({ "chat_id": "7", "text": "hi" });
    assert_eq!(post(&url("sendMessage"), &[JSON], &good.to_string()).await.status, 200);
    assert_eq!(
        post(&format!("{}/bot1:other/sendMessage", sim.base_url()), &[JSON], &good.to_string()).await.status,
        401
    );
    let wrong = [
        but(&good, "/text", json!("")),
        but(&good, "/text", json!("😀".repeat(2049))),
        but(&good, "/nobody_documented", json!(1)),
        but(
            &good,
            "/reply_markup",
            json!({ "inline_keyboard": [[{ "text": "Red", "callback_data": "x".repeat(65) }]] }),
        ),
    ];
    for (n, body) in wrong.iter().enumerate() {
        assert_eq!(post(&url("sendMessage"), &[JSON], &body.to_string()).await.status, 400, "{body}");
        assert_eq!(sim.violations().len(), n + 1, "{body}");
    }
    assert_eq!(post(&url("sendNothing"), &[JSON], &good.to_string()).await.status, 400);
    sim.next(TelegramStep::Answer(502, "<html>".into()));
    assert_eq!(post(&url("sendMessage"), &[JSON], &good.to_string()).await.status, 502);
}

#[tokio::test]
async fn gateways_take_what_they_document_and_nothing_else() {
    let jasmin = GatewaySim::start(Dialect::Jasmin).await.expect("a port");
    let url = format!("{}/send", jasmin.base_url());
    let good = [
        ("username", GatewaySim::USER),
        ("password", GatewaySim::PASSWORD),
        ("to", "15005550009"),
        ("from", "24453"),
        ("coding", "0"),
        ("content", "hi"),
        ("dlr", "yes"),
        ("dlr-level", "3"),
        ("dlr-method", "POST"),
        ("dlr-url", "http://127.0.0.1:9/"),
    ];
    assert_eq!(post(&url, &[FORM], &encoded(&good)).await.status, 200);
    let changes = [
        ("password", "another", 403),
        ("to", "+15005550009", 400),
        ("coding", "3", 400),
        ("content", "", 400),
        ("nobody", "1", 400),
    ];
    for (n, (name, value, wanted)) in changes.into_iter().enumerate() {
        let kept = good.iter().copied().filter(|(known, _)| *known != name);
        let body = encoded(&kept.chain([(name, value)]).collect::<Vec<_>>());
        assert_eq!(post(&url, &[FORM], &body).await.status, wanted, "{name}");
        assert_eq!(jasmin.violations().len(), n + 1);
    }
    let json_one = GatewaySim::start(Dialect::Json).await.expect("a port");
    let url = format!("{}/v1/messages", json_one.base_url());
    let bearer = format!("Bearer {}", GatewaySim::PASSWORD);
    let headers = [JSON, ("authorization", bearer.as_str())];
    let good = json!({ "messages": [{ "to": "15005550009", "from": "24453", "body": "hi", "ref": "m.1.1" }], "callback": "x" });
    assert_eq!(post(&url, &headers, &good.to_string()).await.status, 200);
    assert_eq!(post(&url, &[JSON], &good.to_string()).await.status, 401);
    assert_eq!(post(&url, &headers, &but(&good, "/nobody", json!(1)).to_string()).await.status, 400);
    assert_eq!(post(&url, &headers, &but(&good, "/messages/0/body", json!("")).to_string()).await.status, 400);
}
