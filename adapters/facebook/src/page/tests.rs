mod files;
mod reading;
mod sending;

use super::*;
use crate::{Product, fixtures, hook};
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use switchboard_adapter_sdk::{
    Response, Secret,
    classify::Class,
    settings::Value as Setting,
    signature::{Mac, to_hex},
    testkit::{self, Fixture, Kit},
};
use switchboard_envelope::{Author, Content, Message, Outcome, Receipt, ReceiptStatus};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const PAGE: &str = "102030405060";
const ANN: &str = "7000000000000001";
const SECRET: &str = "an-app-secret";

fn settings() -> Settings {
    let secret = |text: &str| Setting::Secrets(vec![Secret::new(text)]);
    Settings::new("page", Some("https://hooks.shop.example"))
        .with("page_id", Setting::Text(PAGE.into()))
        .with("app_secret", secret(SECRET))
        .with("verify_token", secret("meatyhamhock"))
        .with("page_token", secret("a-page-token"))
}

fn adapter_of(product: &Product, settings: &Settings) -> Arc<dyn Adapter> {
    crate::build(product, settings).unwrap()
}

fn adapter() -> Arc<dyn Adapter> {
    adapter_of(&MESSENGER, &settings())
}

fn signed(body: &[u8]) -> RawRequest {
    let mut headers = HeaderMap::new();
    let tag = to_hex(&Mac::sha256(SECRET.as_bytes()).sign(body));
    headers.insert(hook::HEADER, format!("sha256={tag}").parse().unwrap());
    RawRequest {
        method: Method::POST,
        path: String::new(),
        query: String::new(),
        headers,
        body: Bytes::copy_from_slice(body),
        url: "https://hooks.shop.example/hooks/page".into(),
        received_at: NOW,
    }
}

fn wrapped(list: &str, events: &[Value]) -> Vec<u8> {
    json!({ "object": "page", "entry": [{ "id": PAGE, "time": 1_756_632_000_456_i64, (list): events }] })
        .to_string()
        .into_bytes()
}

fn event(more: Value) -> Value {
    let mut event = json!({ "sender": { "id": ANN }, "recipient": { "id": PAGE }, "timestamp": 1_756_632_000_123_i64 });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

fn read(events: &[Value]) -> Vec<Inbound> {
    adapter().parse(&signed(&wrapped("messaging", events)))
}

fn message(events: &[Inbound]) -> &Message {
    let [Inbound::Message(message)] = events else { panic!("not one message: {events:#?}") };
    message
}

fn receipts(events: &[Inbound]) -> Vec<&Receipt> {
    fn receipt(event: &Inbound) -> &Receipt {
        match event {
            Inbound::Receipt(receipt) => receipt,
            other => panic!("no receipt: {other:?}"),
        }
    }
    events.iter().map(receipt).collect()
}

fn send(text: &str) -> Send {
    Send {
        send: "mAbC".into(),
        part: 1,
        n: 1,
        until: NOW.plus(120_000),
        channel: "page".into(),
        conversation: "c1".into(),
        thread: ANN.into(),
        to: Address::new("facebook", ANN),
        content: Content::text(text),
        author: Author::Agent { id: "ann".into() },
        reply_to: vec![],
        traceparent: None,
        mail: None,
        window_until: Some(NOW.plus(3_600_000)),
    }
}
