//! One adapter each, given any bytes as a delivery and as an answer: never a panic, always valid envelopes, and the same each time.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use std::sync::Arc;
use switchboard_adapter_sdk::{
    Adapter, Kept, RawRequest, Response, Secret, Settings, Step,
    settings::Value::{self, Flag, Secrets, Text},
};
use switchboard_envelope::{
    Address, Attachment, Author, ChannelProfile, Content, Inbound, Outcome, Reconcile, Send, Timestamp,
};
use switchboard_webhook::{Webhook, WebhookConfig};

const NOW: Timestamp = Timestamp(1_795_298_400_000);
const HOOK: &str = "a-secret-of-the-path";

fn text(text: &str) -> Value {
    Text(text.to_owned())
}

fn secret(secret: &str) -> Value {
    Secrets(vec![Secret::new(secret.to_owned())])
}

fn with(settings: &[(&str, Value)]) -> Settings {
    let empty = Settings::new("fuzz", Some("https://hooks.shop.example"));
    settings.iter().fold(empty, |all, (key, value)| all.with(key, value.clone()))
}

/// The adapter of this name, configured so that it reads as much as it can.
pub fn adapter(name: &str) -> Option<Arc<dyn Adapter>> {
    let built = match name {
        "messenger" | "instagram" | "whatsapp" => facebook(name),
        "telegram" => {
            let keys = [
                ("token", secret("7000000001:AAE-a-token-of-the-tests_0123456789ab")),
                ("secret_token", secret("a-word")),
            ];
            (switchboard_telegram::KIND.build)(&with(&keys))
        }
        "twitter" => {
            let keys = [
                ("user_id", text("1111111111111111111")),
                ("consumer_key", text("key")),
                ("consumer_secret", secret("a-consumer-secret")),
                ("access_token", secret("a-token")),
                ("access_token_secret", secret("a-token-secret")),
                ("activity", Flag(true)),
                // Then its catch-up asks for replays, too.
                ("webhook_id", text("1146654567674912769")),
                ("bearer_token", secret("an-app-token")),
            ];
            (switchboard_twitter::KIND.build)(&with(&keys))
        }
        // With tokens that are renewed, in the place of keys that are good for ever.
        "twitter-tokens" => {
            let keys = [
                ("user_id", text("1111111111111111111")),
                ("consumer_secret", secret("a-consumer-secret")),
                ("client_id", text("a-client")),
                ("refresh_token", secret("a-refresh-token")),
            ];
            (switchboard_twitter::KIND.build)(&with(&keys))
        }
        "slack" => {
            let keys = [("bot_token", secret("xoxb-1-abc")), ("channel", text("C0SUPPORT"))];
            (switchboard_slack::KIND.build)(&with(&keys))
        }
        "webhook" => return Some(webhook()),
        sms => return sms_provider(sms),
    };
    Some(built.unwrap_or_else(|problems| panic!("{name}: {problems:?}")))
}

fn webhook() -> Arc<dyn Adapter> {
    let config = WebhookConfig {
        url: "https://crm.example/in".into(),
        secrets: vec![Secret::new("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz".to_owned())],
        address_kind: None,
        has_links: true,
    };
    Arc::new(Webhook::new("fuzz", config).unwrap_or_else(|problems| panic!("webhook: {problems:?}")))
}

fn facebook(name: &str) -> Result<Arc<dyn Adapter>, Vec<switchboard_adapter_sdk::ConfigProblem>> {
    let product = switchboard_facebook::product(name).expect("a product");
    let keys = [
        ("app_secret", secret("sesame")),
        ("verify_token", secret("meatyhamhock")),
        ("page_id", text("102030405060")),
        ("page_token", secret("a-page-token")),
        ("phone_number_id", text("106540352242922")),
        ("access_token", secret("an-access-token")),
    ];
    switchboard_facebook::build(product, &with(&keys))
}

fn sms_provider(name: &str) -> Option<Arc<dyn Adapter>> {
    let provider = switchboard_sms::provider(name)?;
    let pairs = |all: &[(&str, &str)]| {
        Value::Pairs(all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    };
    let mut keys = vec![
        ("base_url", text("http://127.0.0.1:1")),
        ("from", text("+15005550006")),
        ("hook_secret", secret(HOOK)),
        ("username", text("tester")),
        ("password", secret("foobar")),
        ("account_sid", text(&format!("AC{}", "0".repeat(32)))),
        ("auth_token", secret("12345")),
        ("signature_secret", secret("a-signature-secret")),
    ];
    if name == "vonage" {
        keys.extend([("api_key", text("abcd1234")), ("api_secret", secret("apisecret"))]);
    }
    if name == "http" {
        keys.extend([
            ("send.path", text("/send")),
            ("send.json", text(r#"{"to": "{to.digits}", "body": "{text}", "ref": "{reference}"}"#)),
            ("answer.id", text("/messages/0/id")),
            ("answer.code", text("/messages/0/status")),
            ("answer.outcomes", pairs(&[("QUEUED", "ok"), ("BUSY", "retry"), ("BAD_NUMBER", "recipient")])),
            ("inbound.list", text("/results")),
            ("inbound.from", text("from")),
            ("inbound.to", text("/to")),
            ("inbound.text", text("/message/text")),
            ("inbound.id", text("id")),
            ("inbound.meta", pairs(&[("operator", "/operator")])),
            ("inbound.part_of", text("/udh/ref")),
            ("inbound.part", text("/udh/part")),
            ("inbound.parts", text("/udh/of")),
            ("reports.list", text("/reports")),
            ("reports.id", text("/id")),
            ("reports.reference", text("ref")),
            ("reports.status", text("/status")),
            ("reports.code", text("/error")),
            ("reports.statuses", pairs(&[("DELIVRD", "delivered"), ("UNDELIV", "failed")])),
        ]);
    }
    let settings = with(&keys);
    Some(switchboard_sms::build(provider, &settings).unwrap_or_else(|problems| panic!("{name}: {problems:?}")))
}

/// Everything that an adapter makes of foreign bytes.
pub fn is_total(adapter: &dyn Adapter, input: &[u8]) {
    for request in requests(input) {
        adapter.screen(&request);
        adapter.verify(&request);
        let _ = adapter.handshake(&request);
        adapter.typing(&request);
        adapter.accepted(&request);
        adapter.apart(&request.body);
        let found = adapter.parse(&request);
        for event in &found {
            event.validate().expect("what is read is valid");
            if let Inbound::Message(message) = event {
                message.content.attachments.iter().for_each(|file| drop(adapter.fetch(file)));
            }
            if let Inbound::Unparsed(held) = event {
                adapter.reparse(&held.raw, request.body.clone(), NOW);
            }
        }
        assert_eq!(adapter.parse(&request), found, "the same bytes are read alike");
    }
    for answer in answers(input) {
        let answer = Ok(answer);
        let outcome = adapter.classify(&send(adapter), &answer, NOW);
        assert!(outcome.outcome != Outcome::Accepted || !outcome.channel_refused);
        let _ = adapter.reconciled(&question(adapter), &answer);
        for cursor in [None, std::str::from_utf8(input).ok()] {
            let _ = adapter.poll(cursor, NOW);
            for event in adapter.polled(cursor, &answer, NOW).map(|polled| polled.events).unwrap_or_default() {
                event.validate().expect("what is listed is valid");
            }
        }
        adapter.listed(&file(), &Bytes::copy_from_slice(input));
        if let Some(mut upload) = adapter.upload(&send(adapter), &file()) {
            let bytes = Bytes::from_static(b"a file");
            let mut last = None;
            for _ in 0..6 {
                match upload.step(&bytes, last, NOW) {
                    Ok(Step::Call(..)) => last = Some(&answer),
                    Ok(Step::Done(_)) | Err(_) => break,
                }
            }
        }
        if let Some(memory) = adapter.memory() {
            let kept = std::str::from_utf8(input).ok().map(str::to_owned);
            for (refused, elsewhere) in [(false, false), (true, false), (false, true)] {
                let kept = Kept { token: kept.clone(), refused, elsewhere, counts: kept.clone() };
                if let Ok(call) = adapter.encode(&send(adapter)) {
                    memory.before(&kept, &call, NOW);
                    memory.learned(&kept, &call, &answer, NOW);
                    memory.authorized(call, &kept, NOW);
                }
                let _ = memory.renewed(&kept, &answer, NOW);
            }
        }
    }
}

/// The bytes as a body, and as a query, on each of the paths that adapters have.
fn requests(input: &[u8]) -> Vec<RawRequest> {
    let is_json = matches!(input.first(), Some(b'{' | b'['));
    let content_type = if is_json { "application/json" } else { "application/x-www-form-urlencoded" };
    let query = std::str::from_utf8(input).ok().filter(|text| text.bytes().all(|b| b.is_ascii_graphic()));
    let mut all = vec![];
    for path in ["".to_owned(), "/status".into(), format!("/{HOOK}/in"), format!("/{HOOK}/status")] {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(content_type));
        let request = |method, query: &str, body: &[u8]| RawRequest {
            method,
            path: path.clone(),
            query: query.to_owned(),
            headers: headers.clone(),
            body: Bytes::copy_from_slice(body),
            url: format!("https://hooks.shop.example/hooks/fuzz{path}"),
            received_at: NOW,
        };
        all.push(request(Method::POST, "", input));
        all.extend(query.map(|query| request(Method::GET, query, b"")));
    }
    all
}

/// The bytes as what a provider answers, well and badly.
fn answers(input: &[u8]) -> Vec<Response> {
    let body = Bytes::copy_from_slice(input);
    [200, 202, 400, 403, 429, 503]
        .map(|status| Response { status, headers: HeaderMap::new(), body: body.clone() })
        .into()
}

fn file() -> Attachment {
    Attachment { name: "a.png".into(), mime: "image/png".into(), ..Attachment::default() }
}

fn to(profile: &ChannelProfile) -> Address {
    let value = if profile.address_kind == "phone" { "+15005550009" } else { "2222222222222222222" };
    Address::new(profile.address_kind.clone(), value)
}

fn send(adapter: &dyn Adapter) -> Send {
    let to = to(&adapter.profile());
    Send {
        send: "mAbC".into(),
        part: 1,
        n: 1,
        until: NOW.plus(120_000),
        channel: "fuzz".into(),
        conversation: "c1".into(),
        thread: to.value.clone(),
        to,
        content: Content::text("hello"),
        author: Author::Agent { id: "ann".into() },
        reply_to: vec![],
        traceparent: None,
        mail: None,
        window_until: None,
    }
}

fn question(adapter: &dyn Adapter) -> Reconcile {
    let send = send(adapter);
    Reconcile {
        send: send.send,
        part: 1,
        n: 1,
        channel: send.channel,
        conversation: send.conversation,
        thread: send.thread,
        to: send.to,
        content: send.content,
        released_at: NOW.plus(-60_000),
        until: NOW.plus(60_000),
    }
}
