//! The simulator of X refuses what X refuses, and the adapter's own calls are none of it.

use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use switchboard_adapter_sdk::{Adapter, Call, CallBody, Kept, Secret, Settings, settings::Value as Setting};
use switchboard_envelope::{Address, Author, Content, Send, Timestamp};
use switchboard_simulators::{
    ANN, XConfig, XSim, XStep,
    http::{Answer, Connection, call},
};

const LIMIT: Duration = Duration::from_secs(10);

fn adapter(sim: &XSim) -> Arc<dyn Adapter> {
    let c = sim.config();
    let secret = |text: &str| Setting::Secrets(vec![Secret::new(text)]);
    let settings = Settings::new("handle", None)
        .with("user_id", Setting::Text(c.user_id.clone()))
        .with("consumer_key", Setting::Text(c.consumer_key.clone()))
        .with("consumer_secret", secret(&c.consumer_secret))
        .with("access_token", secret(&c.access_token))
        .with("access_token_secret", secret(&c.access_token_secret))
        .with("base_url", Setting::Text(sim.base_url()));
    (switchboard_twitter::KIND.build)(&settings).expect("good settings")
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_millisecond())
}

fn send(text: &str, thread: &str, reply_to: &[&str]) -> Send {
    Send {
        send: "mAbC".into(),
        part: 1,
        n: 1,
        until: now().plus(120_000),
        channel: "handle".into(),
        conversation: "c1".into(),
        thread: thread.into(),
        to: Address::new("twitter", ANN),
        content: Content::text(text),
        author: Author::Agent { id: "ann".into() },
        reply_to: reply_to.iter().map(|id| (*id).to_owned()).collect(),
        traceparent: None,
        mail: None,
        window_until: None,
    }
}

fn signed(adapter: &dyn Adapter, call: Call) -> Call {
    adapter.memory().expect("it remembers").authorized(call, &Kept::default(), now())
}

async fn make(made: &Call) -> Answer {
    let (kind, body) = match &made.body {
        CallBody::Bytes(kind, bytes) => (*kind, bytes.to_vec()),
        CallBody::Empty => ("text/plain", vec![]),
    };
    let mut headers: Vec<(&str, &str)> = made.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    headers.push(("content-type", kind));
    call(made.method.as_str(), &made.url, &headers, &body, LIMIT).await.expect("an answer")
}

fn told(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

#[tokio::test]
async fn the_adapters_calls_are_taken_once_each() {
    let sim = XSim::start(XConfig::default()).await.expect("a port");
    let adapter = adapter(&sim);
    let direct = adapter.encode(&send("hi & \"you\" 👋", ANN, &[])).expect("it can be expressed");
    let answer = make(&signed(adapter.as_ref(), direct.clone())).await;
    assert_eq!(answer.status, 201);
    let (post, mention) = (sim.id(), "@deskbrand leaks");
    drop(sim.mention(&post, ANN, mention));
    let public = adapter.encode(&send("sorry", &format!("post:{ANN}"), &[&post])).expect("it can be expressed");
    assert_eq!(make(&signed(adapter.as_ref(), public.clone())).await.status, 201);
    let again = make(&signed(adapter.as_ref(), public)).await;
    assert_eq!((again.status, told(&again)["detail"].as_str().is_some_and(|d| d.contains("duplicate"))), (403, true));
    let sent = sim.sent();
    assert_eq!(sent.iter().map(|s| s.text.as_str()).collect::<Vec<_>>(), ["hi & \"you\" 👋", "sorry"]);
    let list = signed(adapter.as_ref(), adapter.poll(None, now()).expect("a list"));
    let page = told(&make(&list).await);
    assert_eq!(page["data"][0]["id"], sent[0].id.as_str());
}

#[tokio::test]
async fn what_x_refuses_is_refused_and_noted() {
    for wrong in ["unsigned", "another_key", "nonce_twice", "unknown_field", "empty", "elsewhere"] {
        let sim = XSim::start(XConfig::default()).await.expect("a port");
        let adapter = adapter(&sim);
        let good = adapter.encode(&send("hi", ANN, &[])).expect("it can be expressed");
        let with =
            |body: Value| Call { body: CallBody::Bytes("application/json", body.to_string().into()), ..good.clone() };
        let call = match wrong {
            "unsigned" => good.clone(),
            "another_key" => {
                let mut call = signed(adapter.as_ref(), good.clone());
                call.headers =
                    call.headers.into_iter().map(|(n, v)| (n, v.replace("a-consumer-key", "b-consumer-key"))).collect();
                call
            }
            "nonce_twice" => {
                let call = signed(adapter.as_ref(), good.clone());
                assert_eq!(make(&call).await.status, 201);
                call
            }
            "unknown_field" => signed(adapter.as_ref(), with(json!({ "text": "hi", "quick_reply": {} }))),
            "empty" => signed(adapter.as_ref(), with(json!({ "text": "" }))),
            _ => {
                signed(adapter.as_ref(), Call { url: format!("{}/2/dm_conversations", sim.base_url()), ..good.clone() })
            }
        };
        let status = make(&call).await.status;
        assert!((400..500).contains(&status), "{wrong}: {status}");
        let noted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sim.sent()));
        assert!(noted.is_err(), "{wrong} is noted");
    }
}

#[tokio::test]
async fn the_limit_is_told_and_kept_and_steps_are_followed() {
    let sim = XSim::start(XConfig { direct_limit: 1, ..XConfig::default() }).await.expect("a port");
    let adapter = adapter(&sim);
    let header = |answer: &Answer, name: &str| answer.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let made =
        |text: &str| signed(adapter.as_ref(), adapter.encode(&send(text, ANN, &[])).expect("it can be expressed"));
    let first = make(&made("one")).await;
    assert_eq!((first.status, header(&first, "x-rate-limit-remaining").as_deref()), (201, Some("0")));
    let second = make(&made("two")).await;
    assert!(second.status == 429 && header(&second, "x-rate-limit-reset").is_some());
    sim.next(XStep::Code(403, 150));
    assert_eq!(told(&make(&made("three")).await)["errors"][0]["code"], 150);
    sim.next(XStep::Problem(403, "because".into()));
    assert_eq!(told(&make(&made("four")).await)["detail"], "because");
    assert_eq!(sim.sent().len(), 1);
}

#[tokio::test]
async fn an_echo_can_come_before_the_answer() {
    let sim = XSim::start(XConfig::default()).await.expect("a port");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let hook = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let answered = Arc::new(AtomicBool::new(false));
    let was_answered = answered.clone();
    let heard = tokio::spawn(async move {
        let mut connection = Connection::new(listener.accept().await.expect("a call").0);
        let request = connection.read().await.expect("a request").expect("a request");
        assert!(!was_answered.load(Ordering::SeqCst), "the answer came before the echo");
        connection.write(&Answer::new(200, "text/plain", "")).await.expect("it waits for an answer");
        serde_json::from_slice::<Value>(&request.body).expect("JSON")
    });
    sim.next(XStep::EchoFirst(hook));
    let adapter = adapter(&sim);
    let direct = adapter.encode(&send("hi", ANN, &[])).expect("it can be expressed");
    let answer = make(&signed(adapter.as_ref(), direct)).await;
    answered.store(true, Ordering::SeqCst);
    let echo = heard.await.expect("an echo");
    let event = &echo["data"]["payload"]["direct_message_events"][0];
    assert_eq!((&echo["data"]["event_type"], &event["id"]), (&json!("dm.sent"), &told(&answer)["data"]["dm_event_id"]));
}
