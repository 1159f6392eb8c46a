mod files;
mod listing;
mod reading;
mod sending;
mod uploading;

use super::*;
use crate::{fixtures, hook};
use http::HeaderMap;
use serde_json::json;
use switchboard_adapter_sdk::{
    Response,
    settings::Value as Setting,
    signature::{Mac, to_base64},
    testkit::{self, Fixture, Kit},
};
use switchboard_envelope::{Author, Choice, Content, Echo, Message, Outcome, ReceiptStatus, Visibility};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const US: &str = "1111111111111111111";
const ANN: &str = "2222222222222222222";
const SECRET: &str = "a-consumer-secret";

fn settings() -> Settings {
    let secret = |text: &str| Setting::Secrets(vec![Secret::new(text)]);
    Settings::new("handle", Some("https://hooks.shop.example"))
        .with("user_id", Setting::Text(US.into()))
        .with("consumer_key", Setting::Text("a-consumer-key".into()))
        .with("consumer_secret", Setting::Secrets(vec![Secret::new(SECRET), Secret::new("the-next-one")]))
        .with("access_token", secret("1-a-token"))
        .with("access_token_secret", secret("a-token-secret"))
}

fn public(policy: &str) -> Arc<dyn Adapter> {
    crate::config::build(&settings().with("public", Setting::Text(policy.into()))).unwrap()
}

fn adapter() -> Arc<dyn Adapter> {
    crate::config::build(&settings()).unwrap()
}

fn signed(body: &[u8]) -> RawRequest {
    let mut headers = HeaderMap::new();
    let tag = to_base64(&Mac::sha256(SECRET.as_bytes()).sign(body));
    headers.insert(hook::HEADER, format!("sha256={tag}").parse().unwrap());
    RawRequest {
        method: Method::POST,
        path: String::new(),
        query: String::new(),
        headers,
        body: Bytes::copy_from_slice(body),
        url: "https://hooks.shop.example/hooks/handle".into(),
        received_at: NOW,
    }
}

fn read(body: &Value) -> Vec<Inbound> {
    adapter().parse(&signed(body.to_string().as_bytes()))
}

/// An X Activity event.
fn activity(kind: &str, payload: Value) -> Value {
    json!({ "data": { "event_uuid": "-42", "filter": { "user_id": US }, "event_type": kind, "payload": payload } })
}

fn direct(id: &str, from: &str, to: &str, data: Value) -> Value {
    json!({ "type": "message_create", "id": id, "created_timestamp": "1784928224372",
        "message_create": { "target": { "recipient_id": to }, "sender_id": from, "message_data": data } })
}

fn received(data: Value) -> Value {
    activity("dm.received", json!({ "direct_message_events": [direct("77", ANN, US, data)] }))
}

fn message(events: &[Inbound]) -> &Message {
    let [Inbound::Message(message)] = events else { panic!("not one message: {events:#?}") };
    message
}

fn echo(events: &[Inbound]) -> &Echo {
    let [Inbound::Echo(echo)] = events else { panic!("not one echo: {events:#?}") };
    echo
}

fn reason(events: &[Inbound]) -> String {
    let [Inbound::Unparsed(unparsed)] = events else { panic!("not set aside: {events:#?}") };
    unparsed.reason.clone()
}

fn send(text: &str) -> Send {
    Send {
        send: "mAbC".into(),
        part: 1,
        n: 1,
        until: NOW.plus(120_000),
        channel: "handle".into(),
        conversation: "c1".into(),
        thread: ANN.into(),
        to: Address::new("twitter", ANN),
        content: Content::text(text),
        author: Author::Agent { id: "ann".into() },
        reply_to: vec!["2080765901528535096".into()],
        traceparent: None,
        mail: None,
        window_until: None,
    }
}

fn in_public(text: &str) -> Send {
    Send { thread: format!("post:{ANN}"), ..send(text) }
}

fn body(call: &Call) -> Value {
    let CallBody::Bytes("application/json", bytes) = &call.body else { panic!("no JSON") };
    serde_json::from_slice(bytes).unwrap()
}

fn response(status: u16, body: Value) -> Answer {
    Ok(Response { status, headers: HeaderMap::new(), body: body.to_string().into() })
}
