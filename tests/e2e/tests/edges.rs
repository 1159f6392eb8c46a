//! The public side of the program: TLS of its own, a stop that is asked for twice, and visitors who move from one edge to another.
#![forbid(unsafe_code)]

use serde_json::json;
use std::time::{Duration, Instant};
use switchboard_e2e::traffic::goes_through;
use switchboard_e2e::{
    Authority, Backend, Daemon, Provider, Shop, Step, Visitor, eventually, eventually_within, http, message, sid,
};
use tokio::io::AsyncReadExt as _;

const ANN: &str = "+15551230001";
const SOON: Duration = Duration::from_secs(40);
const CHAT: &str = "[channels.site]\nkind = \"webchat\"\norigins = [\"https://shop.example\"]\n";
const REPLY: &str = "Your refund A-1 is on its way.";

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_and_chat_come_over_tls_of_its_own_and_nothing_comes_without() {
    let authority = Authority::new();
    let leaf = authority.leaf("hooks");
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).more(CHAT).open();
    let tls = format!("[http]\ntls = {{ cert = {:?}, key = {{ file = {:?} }} }}\n", leaf.cert, leaf.key);
    shop.reconfigure(|toml| toml.replace("[http]\n", &tls));
    let mut daemon = Daemon::start(&shop).await;
    let ca = reqwest::Certificate::from_pem(&std::fs::read(authority.ca()).unwrap()).unwrap();
    let client = |builder: reqwest::ClientBuilder| builder.no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    let _ = http();
    let trusting = client(reqwest::Client::builder().tls_certs_only([ca]));
    let secure = shop.public().replace("http://", "https://");

    // Who opens a connection and says nothing keeps nobody waiting.
    let mut silent = tokio::net::TcpStream::connect(("127.0.0.1", shop.public_port)).await.unwrap();
    let sms = shop.sms(ANN, "refund A-1", &sid("1"));
    let post = trusting.post(format!("{secure}/hooks/support-sms")).body(sms.body());
    let post = post.header("content-type", "application/x-www-form-urlencoded");
    let answer = post.header("x-twilio-signature", sms.signature()).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(provider.sent_to(ANN, 1).await[0].body, REPLY);
    let page = trusting.get(format!("{secure}/chat/site")).send().await.unwrap();
    assert_eq!(page.status().as_u16(), 200);

    // In the clear there is no answer at all, and the certificate is the configured one: nobody else's authority knows it.
    let plain = shop.sms(ANN, "refund A-2", &sid("2")).deliver(&shop.hook("support-sms")).await;
    assert!(plain.is_err(), "{plain:?}");
    let other = reqwest::Certificate::from_pem(&std::fs::read(Authority::new().ca()).unwrap()).unwrap();
    let distrusting = client(reqwest::Client::builder().tls_certs_only([other]));
    assert!(distrusting.get(format!("{secure}/chat/site")).send().await.is_err());
    assert_eq!(provider.sent().len(), 1);
    // The handshake has its time; then the silent one is let go.
    let mut nothing = vec![];
    let read = tokio::time::timeout(Duration::from_secs(60), silent.read_to_end(&mut nothing)).await;
    assert!(read.is_ok() && nothing.is_empty(), "{read:?} {nothing:?}");
    assert!(daemon.terminate(SOON).await.success());

    // A key of another certificate is said at the start, and not at the first webhook.
    std::fs::copy(authority.leaf("another").key, &leaf.key).unwrap();
    let refused = shop.command(&["run", "--config", "switchboard.toml"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("http.tls"), "{said}");
}

/// An answer is on its way, and the provider takes its time.
async fn in_flight(shop: &Shop, provider: &Provider) {
    provider.next(Step::Delay(Duration::from_secs(15), Box::new(Step::Accept)));
    shop.sms(ANN, "refund A-1", &sid("1")).deliver(&shop.hook("support-sms")).await.unwrap();
    provider.asked(1).await;
}

/// What was cut off is neither forgotten nor made again.
async fn is_known_and_not_repeated(shop: &Shop, provider: &Provider) {
    let settled = |c: &serde_json::Value| {
        message(c, REPLY).is_some_and(|m| m["status"] == "accepted" || m["status"] == "unknown")
    };
    shop.api().conversation(&format!("phone:{ANN}"), "to know what became of its reply", settled).await;
    assert_eq!(provider.requests(), 1, "the call was not made again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_drain_at_once_and_loses_nothing() {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).open();
    let mut daemon = Daemon::start(&shop).await;
    in_flight(&shop, &provider).await;
    daemon.signal("TERM");
    eventually("the daemon to drain", || async {
        let taken = shop.sms(ANN, "more", &sid("2")).deliver(&shop.hook("support-sms")).await;
        if taken.is_err() && daemon.said().contains("stopping") { Ok(()) } else { Err(format!("{taken:?}")) }
    })
    .await;
    // It waits for the call: one signal alone does not cut it off.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let again = Instant::now();
    assert_eq!(daemon.terminate(Duration::from_secs(5)).await.code(), Some(0));
    println!("from the second signal to the end: {:?}", again.elapsed());
    assert!(daemon.said().contains("stopped at once"), "{}", daemon.said());
    daemon.restart().await;
    is_known_and_not_repeated(&shop, &provider).await;
    goes_through(&shop, ANN, "still there?").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_takes_too_long_ends_by_itself_and_loses_nothing() {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).more("[shutdown]\ndrain = \"1s\"\n").open();
    let mut daemon = Daemon::start(&shop).await;
    in_flight(&shop, &provider).await;
    let began = Instant::now();
    assert_eq!(daemon.terminate(Duration::from_secs(8)).await.code(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(daemon.said().contains("the drain took too long"), "{}", daemon.said());
    daemon.restart().await;
    is_known_and_not_repeated(&shop, &provider).await;
}

/// What a visitor has seen, in order.
#[derive(Default)]
struct Seen {
    texts: Vec<String>,
    place: u64,
}

impl Seen {
    fn take(&mut self, message: &serde_json::Value) {
        let place = message["seq"].as_u64().expect("a place");
        assert!(place > self.place, "a message came twice, or out of order: {message} after {}", self.place);
        self.place = place;
        self.texts.push(message["text"].as_str().expect("a text").to_owned());
    }

    /// At this edge, from where the visitor stands.
    async fn go_on(&mut self, shop: &Shop, token: &str) -> Visitor {
        let visitor =
            eventually_within(SOON, "a socket", || async { Visitor::at(shop, Some(token), self.place).await }).await;
        for message in visitor.welcome["replay"].as_array().expect("a replay") {
            self.take(message);
        }
        assert_ne!(visitor.welcome["reset"], true, "the place is known at every edge: {}", visitor.welcome);
        visitor
    }

    async fn acknowledged(&mut self, visitor: &mut Visitor) {
        loop {
            let frame = visitor.next().await.expect("the socket stays open");
            if frame["type"] == "message" {
                self.take(&frame);
            } else if frame["type"] == "ack" {
                return;
            }
        }
    }

    async fn until(&mut self, visitor: &mut Visitor, count: usize) {
        while self.texts.len() < count {
            let message = visitor.until("message").await.expect("the socket stays open");
            self.take(&message);
        }
    }
}

/// The edge that a visitor talks to is killed, or stopped, and the widget goes on at another: nothing is missed or shown twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_whose_edge_ends_goes_on_at_another_and_sees_everything_once() {
    let (provider, broker) = (Provider::start().await, Backend::nats());
    let shops = ["router", "edge", "edge"]
        .map(|role| Shop::with(&provider.base_url()).log(&broker).role(role).more(CHAT).open());
    let _router = Daemon::start(&shops[0]).await;
    let mut edges = [Daemon::start(&shops[1]).await, Daemon::start(&shops[2]).await];
    let api = shops[0].api();
    let mut seen = Seen::default();
    let mut visitor = Visitor::at(&shops[1], None, 0).await.expect("a socket");
    let token = visitor.token();
    let mut wanted: Vec<String> = vec![];
    let mut conversation = None;
    for round in 0..6 {
        let (here, there) = (round % 2, (round + 1) % 2);
        let said = format!("question {round}");
        visitor.write(&format!("c{round}"), &said).await.expect("sent");
        wanted.push(said);
        seen.until(&mut visitor, wanted.len()).await;
        if conversation.is_none() {
            let found = eventually("the conversation", || async {
                let list = api.get("/conversations?channel=site").await;
                list.body["conversations"][0]["id"].as_str().map(str::to_owned).ok_or(list.text)
            });
            conversation = Some(found.await);
        }
        let reply = format!("/conversations/{}/reply", conversation.as_deref().unwrap_or_default());
        let answer = |text: String| api.post(&reply, json!({ "text": text, "agent": "ann" }));
        let heard = format!("answer {round}");
        answer(heard.clone()).await.ok();
        wanted.push(heard);
        seen.until(&mut visitor, wanted.len()).await;
        // What is said while nobody listens, and a message whose acknowledgement may be lost.
        let unsure = format!("unsure {round}");
        visitor.write(&format!("u{round}"), &unsure).await.expect("sent");
        if round % 3 == 2 {
            assert!(edges[here].terminate(SOON).await.success());
        } else {
            edges[here].kill();
        }
        visitor = seen.go_on(&shops[there + 1], &token).await;
        visitor.write(&format!("u{round}"), &unsure).await.expect("sent again, as the widget does");
        seen.acknowledged(&mut visitor).await;
        wanted.push(unsure);
        seen.until(&mut visitor, wanted.len()).await;
        edges[here].restart().await;
    }
    assert_eq!(seen.texts, wanted, "what the visitor saw");
    let list = api.messages(conversation.as_deref().expect("a conversation")).await;
    let said = list.iter().filter(|m| m["direction"] == "in" || m["direction"] == "out");
    let kept: Vec<&str> = said.filter_map(|m| m["text"].as_str()).collect();
    assert_eq!(kept, wanted, "what the shop kept");
}
