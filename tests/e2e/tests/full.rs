//! The broker's streams, filled to their limits while customers write: callers are told to come again, and once there is room
//! everything goes on. What was sent is counted at the provider, independently of what the daemon believes.
//!
//! `BROKER_SEED` repeats a run as far as the machine's timing allows.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use switchboard_e2e::traffic::{Traffic, check_beside, goes_through, number, settled, transcripts};
use switchboard_e2e::{Daemon, Dice, NatsServer, Pack, Provider, Shop, eventually_within, http, jetstream, sid};
use tokio::task::JoinSet;

const LONG: Duration = Duration::from_secs(60);
const WRITERS: usize = 8;
/// To whom an agent writes while LOG is full.
const TOLD: &str = "+15557100009";
/// Below what goes into the log as a file, so that it fills the streams.
const LARGEST: usize = 60_000;

fn dice() -> Dice {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("BROKER_SEED", now);
    println!("BROKER_SEED={seed}");
    Dice::new(seed)
}

/// A router and two edges on one broker, with streams of these sizes.
fn shops(provider: &Provider, url: &str, pack: &str, sizes: &str) -> [Arc<Shop>; 3] {
    ["router", "edge", "edge"].map(|role| {
        let shop = Shop::with(&provider.base_url()).broker(url).log_keys(sizes).role(role).pack(pack);
        Arc::new(shop.sms("send_timeout = \"5s\"").more("[limits]\ninbox = \"16MiB\"").open())
    })
}

/// Those who write long texts until not even a short one is taken.
#[derive(Default)]
struct Writers {
    accepted: [Vec<String>; WRITERS],
}

fn writer(number: usize) -> String {
    format!("+1555700{number:04}")
}

/// How a text is answered by the edge.
async fn write(shop: &Shop, from: &str, text: &str) -> u16 {
    let id = sid(&format!("{from} {text}"));
    let delivered = shop.sms(from, text, &id).deliver(&shop.hook("support-sms")).await.expect("the edge answers");
    if delivered.status == 503 {
        assert!(delivered.retry_after.is_some(), "a refusal says when to come again");
    }
    delivered.status
}

/// Waits until this edge takes nothing any more: what others write it learns within a second.
async fn takes_nothing(shop: &Shop) {
    for n in 0.. {
        let text = format!("{n} {} no room", shop.public_port);
        if write(shop, "+15557100001", &text).await == 503 {
            return;
        }
        assert!(n < 1000, "IN is not full at this edge");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Writers {
    async fn fill(&mut self, shop: &Arc<Shop>) {
        let mut all = JoinSet::new();
        for (number, accepted) in self.accepted.iter_mut().enumerate() {
            let (shop, mut accepted) = (shop.clone(), std::mem::take(accepted));
            all.spawn(async move {
                let mut size = LARGEST;
                while size > 100 {
                    let text = format!("{}.{size} {}", accepted.len(), "x".repeat(size));
                    match write(&shop, &writer(number), &text).await {
                        200 => accepted.push(text),
                        503 => size /= 8,
                        other => panic!("a text of {size} bytes is answered with {other}"),
                    }
                }
                (number, accepted)
            });
        }
        while let Some(done) = all.join_next().await {
            let (number, accepted) = done.expect("a writer");
            self.accepted[number] = accepted;
        }
    }

    fn count(&self) -> usize {
        self.accepted.iter().map(Vec::len).sum()
    }

    /// Everything that was accepted is there, once, and in its order.
    fn check(&self, conversations: &[(Value, Vec<Value>)]) {
        for (number, accepted) in self.accepted.iter().enumerate() {
            let mine: Vec<_> =
                conversations.iter().filter(|(row, _)| row.to_string().contains(&writer(number))).collect();
            let [(_, messages)] = mine.as_slice() else { panic!("{} conversations of one writer", mine.len()) };
            let head = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
            let there: Vec<String> = messages.iter().filter_map(|m| m["text"].as_str()).map(head).collect();
            let wanted: Vec<String> = accepted.iter().map(|text| head(text)).collect();
            assert_eq!(there, wanted, "writer {number}: what was decided is not what was accepted");
        }
    }
}

/// IN fills while no router leads, LOG while one does; an operator gives LOG more room.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_in_and_a_full_log_refuse_with_503_and_lose_route_twice_and_send_twice_nothing() {
    let dice = dice();
    let provider = Provider::start().await;
    provider.takes(Duration::from_millis(10));
    let server = NatsServer::start();
    let sizes = "sizes = { log = \"24MiB\", out = \"1MiB\" }";
    let shops = shops(&provider, &server.url(), &Pack::default().yaml, sizes);
    let mut router = Daemon::start(&shops[0]).await;
    let mut edges = [Daemon::start(&shops[1]).await, Daemon::start(&shops[2]).await];
    let traffic = Traffic::start(&shops[1..], 30, &dice);
    let mut writers = Writers::default();

    router.kill();
    writers.fill(&shops[1]).await;
    let waiting = writers.count();
    takes_nothing(&shops[2]).await;
    let first = writers.accepted[0][0].clone();
    assert_eq!(write(&shops[2], &writer(0), &first).await, 200, "what IN holds need not come again");
    let room = Instant::now();
    router.restart().await;
    goes_through(&shops[1], "+15557100002", "hello after a full IN").await;
    println!("IN: {waiting} texts filled it; from the router's start to the next message routed {:?}", room.elapsed());

    log_is_full(&mut writers, &shops, &router).await;
    let asked = Asked::meanwhile(&shops).await;
    let info = jetstream(&server.url(), "STREAM.INFO.SB_main_LOG", &json!({})).await;
    let mut config = info["config"].clone();
    config["max_bytes"] = json!(96 << 20);
    jetstream(&server.url(), "STREAM.UPDATE.SB_main_LOG", &config).await;
    let room = Instant::now();
    goes_through(&shops[1], "+15557100003", "hello after a full LOG").await;
    println!("LOG: {} texts; from more room to the next message routed {:?}", writers.count(), room.elapsed());

    asked.afterwards(&shops, &provider).await;

    let accepted = traffic.end().await;
    let quiet = settled(&shops[0]).await;
    check_beside(&quiet, &accepted, &provider, &BTreeSet::from([TOLD.to_owned()]));
    assert_eq!(provider.sent().iter().filter(|s| s.to == TOLD).count(), 1, "an agent's message, once");
    writers.check(&quiet.conversations);
    // What the operator did at the broker is to be written down: else the next start says so.
    assert!(router.terminate(Duration::from_secs(40)).await.success());
    for (edge, shop) in edges.iter_mut().zip(&shops[1..]) {
        assert!(edge.terminate(Duration::from_secs(40)).await.success());
        let refused = shop.command(&["run", "--config", "switchboard.toml", "--role", "edge"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && said.contains("`log.sizes.log`"), "{said}");
    }
    shops[0].reconfigure(|toml| toml.replace("24MiB", "96MiB"));
    router.restart().await;
    writers.check(&transcripts(&shops[0].api()).await);
}

/// Fills LOG, and then IN behind it: nothing is decided, and the daemon says why.
async fn log_is_full(writers: &mut Writers, shops: &[Arc<Shop>; 3], router: &Daemon<'_>) {
    let began = Instant::now();
    loop {
        writers.fill(&shops[1]).await;
        // IN may have been full only because the router was busy; it is trimmed every five seconds.
        if router.said().contains("maximum bytes exceeded") {
            break;
        }
        assert!(began.elapsed() < 2 * LONG, "LOG is never full");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let ready = || async {
        let answer = http().get(format!("{}/readyz", shops[0].admin())).send().await.expect("an answer");
        let (status, said) = (answer.status().as_u16(), answer.text().await.unwrap_or_default());
        if status == 503 && said.contains("maximum bytes exceeded") { Ok(()) } else { Err(format!("{status} {said}")) }
    };
    eventually_within(LONG, "/readyz to say that LOG is full", ready).await;
    // The router has trimmed once more what it decided before: behind it IN fills to its limit again.
    let began = Instant::now();
    loop {
        writers.fill(&shops[1]).await;
        let mut taken = vec![];
        for shop in &shops[1..] {
            taken.push(
                write(shop, "+15557100001", &format!("{:?} {} any room?", began.elapsed(), shop.public_port)).await,
            );
        }
        if taken == [503, 503] {
            return;
        }
        assert!(began.elapsed() < 2 * LONG, "IN is never full behind a full LOG: {taken:?}");
    }
}

/// What an agent asks for while LOG is full.
struct Asked {
    key: String,
    body: Value,
}

impl Asked {
    /// Nobody waits long for what cannot be decided. The process that leads knows and takes nothing; an edge has taken it, says so,
    /// and says under which key its answer can be asked for.
    async fn meanwhile(shops: &[Arc<Shop>; 3]) -> Asked {
        let body =
            |text: &str| json!({ "channel": "support-sms", "to": { "kind": "phone", "value": TOLD }, "text": text });
        let ask = async |shop: &Shop, text: &str, key: Option<&str>| {
            let began = Instant::now();
            let asked = shop.api().call(http::Method::POST, "/messages", Some(&body(text)), key).await;
            let answer = asked.expect("an answer in time");
            assert!(began.elapsed() < Duration::from_secs(15), "{:?} for {answer}", began.elapsed());
            println!("LOG is full: {} after {:?}", answer.body["code"], began.elapsed());
            answer
        };
        let refused = ask(&shops[0], "never taken", None).await;
        refused.refused(503, "log_unavailable");
        assert!(refused.text.contains("nothing was done") && refused.body["idempotency_key"].is_null(), "{refused}");
        let taken = ask(&shops[1], "taken while LOG was full", None).await;
        taken.refused(503, "undecided");
        let key = taken.body["idempotency_key"].as_str().expect("a key").to_owned();
        // Asked for again, here or elsewhere, it is still the same one.
        for shop in [&shops[1], &shops[2]] {
            ask(shop, "taken while LOG was full", Some(&key)).await.refused(503, "undecided");
        }
        Asked { key, body: body("taken while LOG was full") }
    }

    /// Once there is room it is done, once, and whoever asks again gets its first answer.
    async fn afterwards(&self, shops: &[Arc<Shop>; 3], provider: &Provider) {
        let mut ids = BTreeSet::new();
        for shop in [&shops[1], &shops[2], &shops[0]] {
            let asked = shop.api().call(http::Method::POST, "/messages", Some(&self.body), Some(&self.key)).await;
            ids.insert(asked.expect("an answer").ok()["id"].to_string());
        }
        assert_eq!(ids.len(), 1, "one answer: {ids:?}");
        let sent = provider.sent_to(TOLD, 1).await;
        assert_eq!(sent.iter().map(|s| s.body.as_str()).collect::<Vec<_>>(), ["taken while LOG was full"]);
    }
}

/// More than OUT holds is released while no edge is there to take it. What it dropped is found at the attempts' end, not before.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_out_dropped_is_found_at_its_end_and_sent_once() {
    const PEOPLE: usize = 300;
    let dice = dice();
    let provider = Provider::start().await;
    provider.takes(Duration::from_millis(10));
    let server = NatsServer::start();
    let long = "\u{1f9fe}".repeat(1_500);
    let pack =
        Pack::default().yaml.replace("replies:\n", &format!("replies:\n  long: \"{{{{ match.order }}}} {long}\"\n"));
    let rule = "rules:\n  - name: Long ones\n    when: { text: { matches: '^statement (?<order>\\S+)' } }\n    then: { reply: long }\n";
    let pack = pack.replace("rules:\n", rule);
    let shops = shops(&provider, &server.url(), &pack, "sizes = { out = \"1MiB\" }");
    let mut router = Daemon::start(&shops[0]).await;
    let mut first = Daemon::start(&shops[1]).await;
    router.kill();
    let people: Vec<String> = (0..PEOPLE).map(|n| format!("+1555600{n:04}")).collect();
    for (n, from) in people.iter().enumerate() {
        let text = format!("statement S-{n}");
        let taken = shops[1].sms(from, &text, &sid(&text)).deliver(&shops[1].hook("support-sms")).await.unwrap();
        assert_eq!(taken.status, 200);
    }
    first.kill();
    router.restart().await;
    let released = || async {
        let info = jetstream(&server.url(), "STREAM.INFO.SB_main_OUT", &json!({})).await;
        if info["state"]["last_seq"] == PEOPLE { Ok(info) } else { Err(info["state"].to_string()) }
    };
    let info = eventually_within(LONG, "every answer to be released", released).await;
    let kept = info["state"]["messages"].as_u64().expect("a number") as usize;
    assert!(kept < PEOPLE - 50, "OUT holds {kept} of {PEOPLE}: it was not full");

    // An edge comes, and customers with it: the channel goes on with what there is.
    first.restart().await;
    let _second = Daemon::start(&shops[2]).await;
    let traffic = Traffic::start(&shops[1..], 20, &dice);
    let began = Instant::now();
    let sent = || async {
        let sent = provider.sent().iter().filter(|s| people.contains(&s.to)).count();
        if sent >= PEOPLE { Ok(()) } else { Err(format!("{sent} of {PEOPLE}, OUT held {kept}")) }
    };
    eventually_within(5 * LONG, "every statement", sent).await;
    println!("OUT: it held {kept} of {PEOPLE} answers; the others came within {:?}", began.elapsed());
    let accepted = traffic.end().await;
    let quiet = settled(&shops[0]).await;
    check_beside(&quiet, &accepted, &provider, &people.iter().cloned().collect());
    let statements: Vec<String> = provider.sent().into_iter().map(|s| s.to).filter(|to| people.contains(to)).collect();
    let distinct: BTreeSet<&String> = statements.iter().collect();
    assert_eq!((statements.len(), distinct.len()), (PEOPLE, PEOPLE), "each once");
}

/// Gives a stream room for this many bytes more than it holds.
async fn room_for(server: &NatsServer, stream: &str, more: u64) {
    let info = jetstream(&server.url(), &format!("STREAM.INFO.{stream}"), &json!({})).await;
    let mut config = info["config"].clone();
    config["max_bytes"] = json!(info["state"]["bytes"].as_u64().expect("a number") + more);
    jetstream(&server.url(), &format!("STREAM.UPDATE.{stream}"), &config).await;
}

/// Waits until `/readyz` answers so, and says this.
async fn ready(shop: &Shop, status: u16, words: &str) {
    eventually_within(3 * LONG, &format!("/readyz to say `{words}`"), || async {
        let answer = http().get(format!("{}/readyz", shop.admin())).send().await.expect("an answer");
        let (is, said) = (answer.status().as_u16(), answer.text().await.unwrap_or_default());
        if is == status && said.contains(words) { Ok(()) } else { Err(format!("{is} {said}")) }
    })
    .await;
}

/// Without a key nothing of a new customer may be written. It is said, nothing is lost, and it is done once there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_of_keys_stops_deciding_says_so_and_loses_nothing() {
    let provider = Provider::start().await;
    let server = NatsServer::start();
    let shops = shops(&provider, &server.url(), &Pack::default().yaml, "");
    let _router = Daemon::start(&shops[0]).await;
    let _edge = Daemon::start(&shops[1]).await;
    goes_through(&shops[1], &writer(0), "hello with room").await;
    room_for(&server, "KV_SB_main_KEYS", 1).await;
    assert_eq!(write(&shops[1], &writer(1), "refund A-1").await, 200, "IN has room");
    ready(&shops[0], 503, "bucket SB_main_KEYS").await;
    assert_eq!(provider.requests(), 0);
    room_for(&server, "KV_SB_main_KEYS", 1 << 24).await;
    provider.sent_to(&writer(1), 1).await;
    ready(&shops[0], 200, "leads").await;
    assert_eq!(provider.requests(), 1, "once");
}

/// What is too long for a record has no place; everything shorter goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_of_blobs_refuses_long_texts_and_nothing_else() {
    let provider = Provider::start().await;
    let server = NatsServer::start();
    let shops = shops(&provider, &server.url(), &Pack::default().yaml, "");
    let _router = Daemon::start(&shops[0]).await;
    let _edge = Daemon::start(&shops[1]).await;
    goes_through(&shops[1], &writer(0), "hello with room").await;
    room_for(&server, "OBJ_SB_main_BLOBS", 1).await;
    // What was delivered goes beside the record from 16 KiB on.
    let long = format!("{} the end", "long ".repeat(6_000));
    assert_eq!(write(&shops[1], &writer(0), &long).await, 503);
    goes_through(&shops[1], &writer(1), "hello beside it").await;
    room_for(&server, "OBJ_SB_main_BLOBS", 1 << 28).await;
    goes_through(&shops[1], &writer(0), &long).await;
}

/// Cursors, snapshots' names and requests have no place: messages are decided and answered all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_of_edges_holds_up_no_message() {
    let provider = Provider::start().await;
    let server = NatsServer::start();
    let shops = shops(&provider, &server.url(), &Pack::default().yaml, "");
    let _router = Daemon::start(&shops[0]).await;
    let _edge = Daemon::start(&shops[1]).await;
    goes_through(&shops[1], &writer(0), "hello with room").await;
    room_for(&server, "KV_SB_main_EDGES", 1).await;
    assert_eq!(write(&shops[1], &writer(1), "refund A-1").await, 200);
    provider.sent_to(&writer(1), 1).await;
    goes_through(&shops[1], &writer(2), "hello without room").await;
    assert_eq!(provider.requests(), 1, "once");
}

/// Attempts cannot be claimed, not even at their end: they wait, and nothing else does.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_of_claims_holds_up_what_is_sent_and_nothing_else() {
    const PEOPLE: usize = 5;
    let provider = Provider::start().await;
    let server = NatsServer::start();
    let shops = shops(&provider, &server.url(), &Pack::default().yaml, "");
    let _router = Daemon::start(&shops[0]).await;
    let _edge = Daemon::start(&shops[1]).await;
    room_for(&server, "KV_SB_main_CLAIMS", 100).await;
    for number in 0..PEOPLE {
        assert_eq!(write(&shops[1], &writer(number), &format!("refund A-{number}")).await, 200);
    }
    let readyz = async || {
        let answer = http().get(format!("{}/readyz", shops[0].admin())).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.unwrap_or_default())
    };
    let says = async |held: bool| {
        eventually_within(3 * LONG, &format!("/readyz to say of claims without room: {held}"), || async {
            let (status, said) = readyz().await;
            let as_wanted = status == 200 && said.contains("claims have no room") == held;
            if as_wanted { Ok(()) } else { Err(format!("{status} {said}")) }
        })
        .await;
    };
    // The attempts' end is two minutes after their release.
    says(true).await;
    goes_through(&shops[1], "+15557100004", "hello while claims are full").await;
    assert_eq!(provider.requests(), 0, "nothing is sent without a claim");
    room_for(&server, "KV_SB_main_CLAIMS", 1 << 30).await;
    for number in 0..PEOPLE {
        provider.sent_to(&writer(number), 1).await;
    }
    says(false).await;
    assert_eq!(provider.requests(), PEOPLE, "each once");
}
