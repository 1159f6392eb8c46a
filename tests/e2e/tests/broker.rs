//! The broker under the daemon fails: killed, paused, cut off, restored from an older copy, and a cluster whose nodes are killed in
//! turn. What was sent is counted at the provider, independently of what the daemon believes.
//!
//! `BROKER_KILLS` is how often the broker is killed (20 when absent), `BROKER_ROUNDS` how often each node of the cluster (2);
//! `BROKER_SEED` repeats a run as far as the machine's timing allows.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use switchboard_e2e::traffic::{Traffic, check, check_older, decided, goes_through, number, settled, settled_within};
use switchboard_e2e::{
    Backend, Daemon, Dice, Line, NatsServer, Provider, Shop, eventually, eventually_within, http, message, sid,
};

const LONG: Duration = Duration::from_secs(60);

fn dice() -> Dice {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("BROKER_SEED", now);
    println!("BROKER_SEED={seed}");
    Dice::new(seed)
}

async fn readyz(shop: &Shop) -> String {
    let Ok(answer) = http().get(format!("{}/readyz", shop.admin())).send().await else { return "silent".into() };
    answer.text().await.unwrap_or_default()
}

fn shop(
    provider: &Provider,
    keys: impl FnOnce(switchboard_e2e::ShopBuilder) -> switchboard_e2e::ShopBuilder,
) -> Arc<Shop> {
    Arc::new(keys(Shop::with(&provider.base_url()).sms("send_timeout = \"5s\"")).open())
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |p: usize| times[(times.len() - 1) * p / 100];
    println!("{what}: {} times, median {:?}, slowest {:?}", times.len(), at(50), at(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_twenty_times_under_traffic_loses_routes_and_sends_nothing_twice() {
    let mut dice = dice();
    let provider = Provider::start().await;
    provider.takes(Duration::from_millis(10));
    let mut server = NatsServer::start();
    let url = server.url();
    let shops = [shop(&provider, |s| s.broker(&url).role("all")), shop(&provider, |s| s.broker(&url).role("edge"))];
    let _daemons = [Daemon::start(&shops[0]).await, Daemon::start(&shops[1]).await];
    let traffic = Traffic::start(&shops, 60, &dice);
    let mut times = vec![];
    for kill in 0..number("BROKER_KILLS", 20) {
        tokio::time::sleep(dice.millis(600)).await;
        server.kill();
        if dice.one_in(2) {
            tokio::time::sleep(dice.millis(400)).await;
        }
        server.restart();
        let back = Instant::now();
        goes_through(&shops[0], &format!("+1555300{kill:04}"), &format!("hello probe {kill}")).await;
        times.push(back.elapsed());
    }
    show("from the broker's return to the next message routed", &mut times);
    let accepted = traffic.end().await;
    check(&settled(&shops[0]).await, &accepted, &provider);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_paused_past_every_timeout_and_a_connection_cut_and_restored_lose_and_double_nothing() {
    let mut dice = dice();
    let provider = Provider::start().await;
    provider.takes(Duration::from_millis(10));
    let server = NatsServer::start();
    let lines = [Line::to(&server.url()).await, Line::to(&server.url()).await];
    let [leads, edge] = [lines[0].url(), lines[1].url()];
    let shops = [shop(&provider, |s| s.broker(&leads).role("all")), shop(&provider, |s| s.broker(&edge).role("edge"))];
    let _daemons = [Daemon::start(&shops[0]).await, Daemon::start(&shops[1]).await];
    let traffic = Traffic::start(&shops, 40, &dice);
    // At first as long as one request is waited for; then longer than a record is kept from others and a process may be silent;
    // then longer than an attempt lives.
    for (round, longer) in [0, 20, 125].into_iter().enumerate() {
        tokio::time::sleep(dice.millis(500)).await;
        server.pause();
        // What is under way is given up, and a provider is told to come again.
        let (from, text) = (format!("+1555400{round:04}"), format!("while paused {round}"));
        let refused = shops[0].sms(&from, &text, &sid(&text)).deliver(&shops[0].hook("support-sms")).await.unwrap();
        assert_eq!(refused.status, 503);
        tokio::time::sleep(Duration::from_secs(longer)).await;
        server.resume();
        goes_through(&shops[0], &from, &text).await;
    }
    // The connection of the one that leads, and the edge's, in turn.
    for round in 0..6 {
        tokio::time::sleep(dice.millis(500)).await;
        let at = round % 2;
        lines[at].cut();
        let (from, text) = (format!("+1555500{round:04}"), format!("while cut {round}"));
        let refused = shops[at].sms(&from, &text, &sid(&text)).deliver(&shops[at].hook("support-sms")).await.unwrap();
        assert_eq!(refused.status, 503, "who is without its broker takes nothing");
        lines[at].restore();
        goes_through(&shops[at], &from, &text).await;
    }
    let accepted = traffic.end().await;
    check(&settled(&shops[0]).await, &accepted, &provider);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_nodes_are_killed_in_turn_loses_routes_and_sends_nothing_twice() {
    let mut dice = dice();
    let provider = Provider::start().await;
    provider.takes(Duration::from_millis(10));
    let mut backend = Backend::Cluster(switchboard_e2e::NatsCluster::start());
    let shops = [shop(&provider, |s| s.log(&backend).role("all")), shop(&provider, |s| s.log(&backend).role("all"))];
    let Backend::Cluster(cluster) = &mut backend else { panic!("a cluster") };
    let _daemons = [Daemon::start(&shops[0]).await, Daemon::start(&shops[1]).await];
    let traffic = Traffic::start(&shops, 30, &dice);
    let mut times = vec![];
    for round in 0..number("BROKER_ROUNDS", 2) {
        for node in 0..3 {
            tokio::time::sleep(dice.millis(500)).await;
            cluster.node(node).kill();
            let killed = Instant::now();
            let n = round * 3 + node as u64;
            goes_through(&shops[node % 2], &format!("+1555300{n:04}"), &format!("hello probe {n}")).await;
            times.push(killed.elapsed());
            cluster.node(node).restart();
            cluster.wait_until_current();
        }
    }
    show("from the kill of a node to the next message routed", &mut times);
    let accepted = traffic.end().await;
    check(&settled(&shops[0]).await, &accepted, &provider);
}

/// Three processes on one broker, and customers who are all answered by a rule.
struct Restored {
    provider: Provider,
    server: NatsServer,
    shops: Vec<Arc<Shop>>,
}

fn customer(n: usize) -> String {
    format!("+1555400{n:04}")
}

impl Restored {
    async fn new() -> Restored {
        let provider = Provider::start().await;
        let server = NatsServer::start();
        let url = server.url();
        let shops = ["all", "all", "edge"].map(|role| shop(&provider, |s| s.broker(&url).role(role))).to_vec();
        Restored { provider, server, shops }
    }

    /// Says and is answered; the answer's end is known.
    async fn say(&self, customers: std::ops::Range<usize>) {
        for n in customers.clone() {
            goes_through(&self.shops[n % 3], &customer(n), &format!("refund A-{n}")).await;
        }
        for n in customers {
            let answer = format!("Your refund A-{n} is on its way.");
            let answered = |c: &Value| message(c, &answer).is_some_and(|m| m["status"] == "accepted");
            let identity = format!("phone:{}", customer(n));
            self.shops[0].api().conversation(&identity, "answered", answered).await;
        }
    }

    /// Every process knows of the rebase, and one leads.
    async fn rebased(&self) {
        for shop in &self.shops {
            let says = || async {
                let said = readyz(shop).await;
                if said.contains("the log was rebased at") { Ok(()) } else { Err(said) }
            };
            eventually_within(LONG, "a process that knows of the rebase", says).await;
        }
        let said = self.shops.iter().map(|s| std::fs::read_to_string(s.log()).unwrap_or_default());
        assert!(said.into_iter().any(|said| said.contains("it is rebased")), "no alarm");
    }

    /// No process doubts its log any more, and one leads.
    async fn trusted(&self) {
        for shop in &self.shops {
            let says = || async {
                let said = readyz(shop).await;
                let trusts = said.starts_with("ready") && !said.contains("is not the one that this process read");
                if trusts && !said.contains("nobody leads") { Ok(()) } else { Err(said) }
            };
            eventually_within(LONG, "a process that trusts its log again", says).await;
        }
    }

    fn sent_to(&self, n: usize) -> usize {
        self.provider.sent().iter().filter(|s| s.to == customer(n)).count()
    }
}

/// The broker comes back with a store of some time ago: what happened since is gone from the log, and was done all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_restored_from_an_older_copy_is_rebased_with_an_alarm_and_nothing_is_sent_twice() {
    let mut r = Restored::new().await;
    let shops = r.shops.clone();
    let mut daemons = vec![];
    for shop in &shops {
        daemons.push(Daemon::start(shop).await);
    }
    r.say(0..10).await;
    let copy = r.server.copy();
    r.say(10..30).await;
    r.server.restore(&copy);
    r.rebased().await;
    // New messages are routed and answered, by processes that were there all the time.
    r.say(30..40).await;
    for n in 0..40 {
        assert_eq!(r.sent_to(n), 1, "customer {n}");
    }
    assert_eq!(r.provider.requests(), 40, "nothing was sent a second time");
    // What the copy holds is there at every process; what it does not is gone, which the alarm says.
    for shop in &shops {
        eventually(&format!("the copy's conversations at {}", shop.folder().display()), || async {
            let known = shop.api().all("/conversations", "conversations").await.len();
            if known == 20 { Ok(()) } else { Err(format!("{known}")) }
        })
        .await;
    }
    let metrics: f64 =
        daemons[0].metric("switchboard_rebases_total").await + daemons[1].metric("switchboard_rebases_total").await;
    assert_eq!(metrics, 1.0, "one of them did it, once");
    for daemon in &mut daemons {
        assert!(daemon.terminate(Duration::from_secs(40)).await.success());
    }
}

/// Only LOG is older: IN still holds everything that was accepted since, and all of it comes back. Nobody runs meanwhile, so that
/// history alone knows.
#[tokio::test(flavor = "multi_thread")]
async fn what_in_holds_is_decided_again_after_log_was_restored_and_none_of_it_is_answered_again() {
    let mut r = Restored::new().await;
    let shops = r.shops.clone();
    let mut daemons = vec![];
    for shop in &shops {
        daemons.push(Daemon::start(shop).await);
    }
    r.say(0..5).await;
    let copy = r.server.copy();
    r.say(5..15).await;
    // A person answered too.
    let api = shops[1].api();
    api.available("ann").await;
    goes_through(&shops[1], &customer(90), "hello").await;
    let c = decided(&shops[1], &customer(90), "hello").await;
    let path = format!("/conversations/{}/reply", c["id"].as_str().unwrap());
    api.post(&path, json!({ "text": "ann says yes", "agent": "ann" })).await.ok();
    let accepted = |c: &Value| message(c, "ann says yes").is_some_and(|m| m["status"] == "accepted");
    api.conversation(&format!("phone:{}", customer(90)), "answered", accepted).await;
    for daemon in &mut daemons {
        assert!(daemon.terminate(Duration::from_secs(40)).await.success());
    }
    r.server.restore_stream(&copy, "SB_main_LOG");
    for daemon in &mut daemons {
        daemon.restart().await;
    }
    r.rebased().await;
    for n in 0..15 {
        decided(&shops[n % 3], &customer(n), &format!("refund A-{n}")).await;
    }
    // IN told how the answer ended, so nobody need look at it.
    api.conversation(&format!("phone:{}", customer(90)), "known to be answered", accepted).await;
    r.say(15..20).await;
    for n in (0..20).chain([90]) {
        assert_eq!(r.sent_to(n), 1, "customer {n}");
    }
    assert_eq!(r.provider.requests(), 21, "nothing was sent a second time");
    eventually("no attempt whose end is not known", || async {
        let parked = api.all("/dead-letters", "dead_letters").await;
        if parked.is_empty() { Ok(()) } else { Err(format!("{parked:?}")) }
    })
    .await;
}

/// What of the broker's store comes back older.
#[derive(Clone, Copy, PartialEq)]
enum Older {
    All,
    Log,
}

/// Customers write all the time: when the copy comes back, messages are being stored, decided, claimed and sent.
async fn restored_under_traffic(older: Older) {
    let mut dice = dice();
    let mut r = Restored::new().await;
    r.provider.takes(Duration::from_millis(200));
    let shops = r.shops.clone();
    let mut daemons = vec![];
    for shop in &shops {
        daemons.push(Daemon::start(shop).await);
    }
    let rebases = async || {
        let mut sum = 0.0;
        for daemon in &daemons {
            sum += daemon.metric("switchboard_rebases_total").await;
        }
        sum
    };
    let traffic = Traffic::once(&shops, 30, &dice);
    for round in 0..2 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let copy = r.server.copy();
        let before = rebases().await;
        // At first at once: hardly anything was written since, and what was sent meanwhile is all that the copy lacks.
        if round > 0 {
            tokio::time::sleep(dice.millis(2000)).await;
            goes_through(&shops[round], &customer(round), &format!("hello to what is lost {round}")).await;
        }
        match older {
            Older::All => r.server.restore(&copy),
            Older::Log => r.server.restore_stream(&copy, "SB_main_LOG"),
        }
        goes_through(&shops[0], &customer(10 + round), &format!("hello after the copy {round}")).await;
        r.trusted().await;
        let made = rebases().await - before;
        println!("round {round}: {made} rebases");
        assert!(made == 1.0 || (round == 0 && made == 0.0), "{made} rebases for one older copy");
    }
    let accepted = traffic.end().await;
    let quiet = settled_within(&shops[0], 10 * LONG).await;
    check_older(&quiet, &accepted, &r.provider, older == Older::Log);
    for daemon in &mut daemons {
        assert!(daemon.terminate(Duration::from_secs(40)).await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_restored_under_traffic_sends_nothing_twice_and_keeps_the_order() {
    restored_under_traffic(Older::All).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_restored_under_traffic_sends_nothing_twice_and_loses_nothing_that_in_holds() {
    restored_under_traffic(Older::Log).await;
}
