//! The adapter and the client against the simulator: two implementations of each side of Twilio's documents.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use switchboard_adapter_sdk::{
    Adapter as _, AttemptOutcome, Client, RawRequest, Secret, Verdict,
    client::{FetchError, File},
};
use switchboard_envelope::{
    Address, Attachment, Author, Content, Inbound, Outcome, ReceiptStatus, Reconcile, Send, Timestamp,
};
use switchboard_simulators::{
    Callback, InboundSms, Signature, Step, TwilioSim, TwilioSimConfig,
    http::{self, Answer, Connection},
};
use switchboard_sms::{Twilio, TwilioConfig};
use tokio::net::TcpListener;

const PUBLIC: &str = "https://hooks.shop.example";
const CUSTOMER: &str = "+15005550009";
const SOON: Duration = Duration::from_secs(10);

fn now() -> Timestamp {
    Timestamp(i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap())
}

fn adapter(sim: &TwilioSim) -> Twilio {
    let config = TwilioConfig {
        from: Some("+15005550006".into()),
        base_url: sim.base_url(),
        public_url: Some(PUBLIC.into()),
        ..TwilioConfig::new(sim.config().account_sid.clone(), Secret::new("12345"))
    };
    Twilio::new("support-sms", config).unwrap()
}

fn send(text: &str) -> Send {
    Send {
        send: "tok-1".into(),
        part: 1,
        n: 2,
        until: now().plus(60_000),
        channel: "support-sms".into(),
        conversation: "c1".into(),
        thread: CUSTOMER.into(),
        to: Address::new("phone", CUSTOMER),
        content: Content::text(text),
        author: Author::Agent { id: "ann".into() },
        reply_to: vec![],
        traceparent: None,
        mail: None,
        window_until: None,
    }
}

struct World {
    sim: TwilioSim,
    adapter: Arc<Twilio>,
    client: Client,
}

async fn world() -> World {
    let sim = TwilioSim::start(TwilioSimConfig::default()).await.unwrap();
    World { adapter: Arc::new(adapter(&sim)), client: Client::loopback_only().unwrap(), sim }
}

impl World {
    async fn attempt(&self, send: &Send) -> AttemptOutcome {
        let mut call = self.adapter.encode(send).unwrap();
        call.timeout = Duration::from_millis(500);
        let answer = self.client.call(call).await;
        self.adapter.classify(send, &answer, now())
    }

    async fn reconcile(&self, text: &str, released_at: Timestamp) -> Option<AttemptOutcome> {
        let s = send(text);
        let question = Reconcile {
            send: s.send,
            part: 1,
            n: 2,
            channel: s.channel,
            conversation: s.conversation,
            thread: s.thread,
            to: s.to,
            content: s.content,
            released_at,
            until: released_at.plus(30_000),
        };
        let answer = self.client.call(self.adapter.reconcile(&question).unwrap()).await;
        self.adapter.reconciled(&question, &answer)
    }

    /// Serves the webhooks as the daemon would, and notes what was said.
    async fn hooks(&self) -> Arc<Mutex<Vec<Inbound>>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.sim.route(PUBLIC, &format!("http://{}", listener.local_addr().unwrap()));
        let heard = Arc::<Mutex<Vec<Inbound>>>::default();
        let (adapter, events) = (self.adapter.clone(), heard.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut connection = Connection::new(stream);
                let request = raw(connection.read().await.unwrap().unwrap());
                let answer = match adapter.verify(&request) {
                    Verdict::Genuine => {
                        events.lock().unwrap().extend(adapter.parse(&request));
                        let reply = adapter.accepted(&request);
                        Answer::new(reply.status, reply.content_type, reply.body)
                    }
                    Verdict::Missing => Answer::new(401, "text/plain", ""),
                    Verdict::Forged(_) => Answer::new(403, "text/plain", ""),
                };
                connection.write(&answer).await.unwrap();
            }
        });
        heard
    }
}

fn raw(request: http::Request) -> RawRequest {
    let mut headers = ::http::HeaderMap::new();
    for (name, value) in &request.headers {
        headers.append(::http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    let mark = if request.query.is_empty() { "" } else { "?" };
    RawRequest {
        method: request.method.parse().unwrap(),
        path: request.path.strip_prefix("/hooks/support-sms").unwrap().into(),
        url: format!("{PUBLIC}{}{mark}{}", request.path, request.query),
        query: request.query,
        headers,
        body: request.body,
        received_at: now(),
    }
}

#[tokio::test]
async fn a_send_is_taken_and_its_receipts_come_back_to_the_attempt() {
    let world = world().await;
    let heard = world.hooks().await;
    world.sim.callbacks(vec![
        Callback::before("queued"),
        Callback::after("delivered"),
        Callback::after("sent"),
        Callback::after("sent"),
    ]);
    let outcome = world.attempt(&send("Żółw & Co. 👍")).await;
    assert_eq!(outcome.outcome, Outcome::Accepted, "{outcome:?}");
    let taken = world.sim.sent();
    assert_eq!(outcome.provider_ids, [taken[0].sid.clone()]);
    assert_eq!(
        (taken[0].to.as_str(), taken[0].from.as_str(), taken[0].body.as_str()),
        (CUSTOMER, "+15005550006", "Żółw & Co. 👍")
    );
    assert_eq!((taken[0].send.as_deref(), taken[0].part, taken[0].n), (Some("tok-1"), Some(1), Some(2)));
    assert_eq!(world.sim.callback_answers(), [200], "the first receipt overtook the answer");
    assert_eq!(world.sim.status(&taken[0].sid, &Callback::failed(30_003)).await, 200);
    assert!(world.sim.wait_for_callbacks(5, SOON).await, "{:?}", world.sim.callback_answers());
    let heard = heard.lock().unwrap();
    let ids: BTreeSet<&str> = heard.iter().map(Inbound::id).collect();
    let wanted = ["queued", "delivered", "sent", "failed:30003"]
        .map(|word| format!("support-sms:receipt:{}:{word}", taken[0].sid));
    assert_eq!(ids, wanted.iter().map(String::as_str).collect(), "duplicates have one id");
    for event in heard.iter() {
        let Inbound::Receipt(receipt) = event else { panic!("{event:?}") };
        assert_eq!((receipt.send.as_deref(), receipt.part, receipt.n), (Some("tok-1"), Some(1), Some(2)));
        assert_eq!(receipt.status == ReceiptStatus::Failed, receipt.detail.is_some());
    }
    assert_eq!(world.sim.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn every_way_of_failing_has_the_outcome_that_it_must() {
    use Outcome::{NotSent, Rejected, Unknown};
    let world = world().await;
    let slow = Step::Delay(Duration::from_secs(2), Box::new(Step::Accept));
    for (step, outcome, is_refused, retry_after) in [
        (Step::rate_limited(Some(3)), NotSent, false, Some(3000)),
        (Step::rate_limited(None), NotSent, false, None),
        (Step::unauthorized(), NotSent, true, None),
        (Step::bad_request(21_211), Rejected, false, None),
        (Step::bad_request(21_610), Rejected, false, None),
        (Step::bad_request(21_606), NotSent, true, None),
        (Step::server_error(), Unknown, false, None),
        (Step::garbage(), Unknown, false, None),
        (Step::AcceptAndAnswer { status: 201, body: "{".into() }, Unknown, false, None),
        (Step::AcceptAndReset, Unknown, false, None),
        (Step::ReadAndReset, Unknown, false, None),
        (Step::Reset, Unknown, false, None),
        (slow, Unknown, false, None),
    ] {
        let what = format!("{step:?}");
        world.sim.script(step);
        let seen = world.attempt(&send("hi")).await;
        assert_eq!(
            (seen.outcome, seen.channel_refused, seen.retry_after_ms),
            (outcome, is_refused, retry_after),
            "{what}: {seen:?}"
        );
        assert!(seen.detail.is_some(), "{what}");
    }
    world.sim.opt_out(CUSTOMER);
    assert_eq!(world.attempt(&send("hi")).await.code.as_deref(), Some("21610"));
    world.sim.set_up(false).await;
    assert_eq!(world.attempt(&send("hi")).await.outcome, NotSent, "nobody listens");
    world.sim.set_up(true).await;
    world.sim.script_to(CUSTOMER, Step::bad_request(30_007));
    assert_eq!(world.attempt(&send("hi")).await.code.as_deref(), Some("30007"));
    assert_eq!(world.sim.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_lost_answer_is_proved_where_the_list_can_and_only_there() {
    let world = world().await;
    let released = now();
    world.sim.script(Step::AcceptAndReset);
    assert_eq!(world.attempt(&send("taken")).await.outcome, Outcome::Unknown);
    let proof = world.reconcile("taken", released).await.unwrap();
    assert_eq!((proof.outcome, proof.provider_ids), (Outcome::Accepted, vec![world.sim.sent()[0].sid.clone()]));
    world.sim.script(Step::ReadAndReset);
    assert_eq!(world.attempt(&send("lost")).await.outcome, Outcome::Unknown);
    assert_eq!(world.reconcile("lost", released).await, None, "absence proves nothing");
    world.attempt(&send("taken")).await;
    assert_eq!(world.reconcile("taken", released).await, None, "two alike prove nothing");
    assert_eq!(world.sim.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn webhooks_are_believed_by_their_signature_and_repeated_until_taken() {
    let world = world().await;
    let heard = world.hooks().await;
    let url = format!("{PUBLIC}/hooks/support-sms");
    for (signature, status) in [
        (Signature::Missing, 401),
        (Signature::Bad, 403),
        (Signature::With("another".into()), 403),
        (Signature::Good, 200),
    ] {
        let message =
            InboundSms { signature, sid: Some("SM77".into()), ..InboundSms::new(CUSTOMER, "Where's my order?") };
        assert_eq!(world.sim.inbound(&url, message).await.statuses, [status]);
    }
    let odd = InboundSms {
        extra: vec![("NewIn2027".into(), "x & y".into()), ("Digits".into(), "2".into()), ("Digits".into(), "1".into())],
        media: vec![(world.sim.add_file("image/png", b"png"), "image/png".into())],
        ..InboundSms::new(CUSTOMER, "")
    };
    let delivery = world.sim.inbound(&url, odd).await;
    assert!(delivery.is_taken() && delivery.answer == "<Response/>", "{delivery:?}");
    let ids: Vec<String> = heard.lock().unwrap().iter().map(|event| event.id().to_owned()).collect();
    assert_eq!(ids, ["support-sms:message:SM77".to_owned(), format!("support-sms:message:{}", delivery.sid)]);
    let nobody = InboundSms { attempts: 2, between_attempts: Duration::ZERO, ..InboundSms::new(CUSTOMER, "x") };
    assert_eq!(world.sim.inbound("http://127.0.0.1:1/", nobody).await.statuses, [0, 0]);
}

#[tokio::test]
async fn a_file_is_fetched_with_credentials_that_stay_at_home() {
    let world = world().await;
    let url = world.sim.add_file("image/png", b"\x89PNG");
    let file = |url: String| Attachment {
        name: "file-1.png".into(),
        mime: "image/png".into(),
        size: 0,
        blob: None,
        url: Some(url),
        problem: None,
        thread: None,
        content_id: None,
    };
    let call = world.adapter.fetch(&file(url.clone())).unwrap();
    let fetched = world.client.fetch(call.clone(), 1000).await.unwrap();
    assert_eq!(fetched, File { bytes: b"\x89PNG"[..].into(), content_type: Some("image/png".into()) });
    assert_eq!(world.client.fetch(call, 3).await, Err(FetchError::TooLarge { limit: 3 }));
    let gone = world.adapter.fetch(&file(format!("{url}x"))).unwrap();
    assert_eq!(world.client.fetch(gone, 1000).await, Err(FetchError::Status(404)));
    assert_eq!(world.sim.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_catch_up_finds_every_message_that_no_webhook_told_of() {
    let world = world().await;
    let start = jiff_at(now().plus(-600_000));
    let wanted: BTreeSet<String> = (0..250)
        .map(|i| world.sim.missed(&InboundSms::new(CUSTOMER, &format!("message {i}")), start + Duration::from_secs(i)))
        .collect();
    world.sim.missed(&InboundSms { to: "+15005550007".into(), ..InboundSms::new(CUSTOMER, "other") }, start);
    world.attempt(&send("ours")).await;
    let mut cursor = Some(serde_json::json!({ "since": now().plus(-700_000) }).to_string());
    let (mut found, mut pages) = (vec![], 0);
    loop {
        let call = world.adapter.poll(cursor.as_deref(), now()).unwrap();
        let answer = world.client.call(call).await;
        let polled = world.adapter.polled(cursor.as_deref(), &answer, now()).unwrap();
        found.extend(polled.events.iter().map(|event| event.id().replace("support-sms:message:", "")));
        cursor = Some(polled.cursor);
        pages += 1;
        if !polled.more {
            break;
        }
    }
    assert_eq!((pages, found.len()), (3, 250));
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(world.sim.violations(), Vec::<String>::new());
}

fn jiff_at(at: Timestamp) -> jiff::Timestamp {
    at.to_jiff()
}

#[tokio::test]
async fn what_twilio_refuses_is_refused_and_what_no_client_sends_is_noted() {
    let world = world().await;
    let list = format!("{}/2010-04-01/Accounts/{}/Messages.json", world.sim.base_url(), world.sim.config().account_sid);
    let authorization = world.adapter.encode(&send("hi")).unwrap().headers[0].1.clone();
    let post = async |body: &str, authorization: &str| {
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("authorization", authorization)];
        let answer = http::call("POST", &list, &headers, body.as_bytes(), SOON).await.unwrap();
        let code: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        (answer.status, code["code"].as_u64().unwrap_or(0))
    };
    let good = "To=%2B15005550009&From=%2B15005550006&Body=x";
    let long = format!("To=%2B15005550009&From=%2B15005550006&Body={}", "x".repeat(1601));
    for (body, wanted) in [
        (good, (201, 0)),
        ("From=%2B15005550006&Body=x", (400, 21_604)),
        ("To=15005550009&From=%2B15005550006&Body=x", (400, 21_211)),
        ("To=%2B15005550009&Body=x", (400, 21_603)),
        ("To=%2B15005550009&From=%2B15005550007&Body=x", (400, 21_606)),
        ("To=%2B15005550009&MessagingServiceSid=MG1&Body=x", (400, 21_703)),
        ("To=whatsapp:%2B15005550009&From=%2B15005550006&Body=x", (400, 21_910)),
        ("To=%2B15005550009&From=%2B15005550006&Body=", (400, 21_619)),
        (long.as_str(), (400, 21_617)),
        ("To=%2B15005550009&From=%2B15005550006&MediaUrl=file:///x", (400, 21_620)),
        ("To=%2B15005550009&From=%2B15005550006&Body=x&StatusCallback=https://a_b.example/", (400, 21_609)),
        ("To=%2B15005550009&From=%2B15005550006&Body=x&ValidityPeriod=0", (400, 21_621)),
    ] {
        assert_eq!(post(body, &authorization).await, wanted, "{body}");
    }
    assert_eq!(post(good, "Basic bm86").await, (401, 20_003));
    assert_eq!(world.sim.violations(), Vec::<String>::new());
    for wrong in ["Colour=red", "Body=y", "Body=%ff"] {
        assert_eq!(post(&format!("{good}&{wrong}"), &authorization).await, (400, 20_001), "{wrong}");
    }
    let elsewhere =
        http::call("GET", &format!("{}/2010-04-01/nothing", world.sim.base_url()), &[], b"", SOON).await.unwrap();
    assert_eq!(elsewhere.status, 404);
    assert_eq!(world.sim.violations().len(), 4);
    assert_eq!(world.sim.sent().len(), 1);
    assert!(world.sim.wait_for_sent(1, SOON).await);
}
