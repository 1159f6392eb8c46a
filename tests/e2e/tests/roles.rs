//! Several processes of one workspace on a broker: edges that serve, a router that leads, and one that is ready to.
//!
//! `ROLE_KILLS` is how often the leader is killed (30 when absent), `ROLE_SEED` repeats a run as far as the machine's timing
//! allows.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use switchboard_e2e::traffic::{Traffic, check, number, settled};
use switchboard_e2e::{
    Backend, Cable, Cut, Daemon, Dice, Pack, Provider, Shop, Step, eventually, eventually_within, http, message,
    poll_until, sid,
};

const ANN: &str = "+15551230001";
/// The promise: with a standby, routing goes on within this.
const RESUMES: Duration = Duration::from_secs(3);
const CHAT: &str = "[channels.site]\nkind = \"webchat\"\norigins = [\"https://shop.example\"]\n";

fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("ROLE_SEED", now);
    println!("ROLE_SEED={seed}");
    seed
}

/// The second line of `/readyz`: what a daemon says of its place.
async fn standing(shop: &Shop) -> String {
    let Ok(answer) = http().get(format!("{}/readyz", shop.admin())).send().await else { return "silent".into() };
    let text = answer.text().await.unwrap_or_default();
    text.lines().nth(1).unwrap_or("nothing").to_owned()
}

async fn stands(shop: &Shop, what: &str, within: Duration) {
    let says = || async {
        let said = standing(shop).await;
        if said.starts_with(what) { Ok(()) } else { Err(said) }
    };
    eventually_within(within, &format!("a daemon that {what}"), says).await;
}

/// Whether a message that an edge took was decided, as this daemon sees it.
async fn routed(shop: &Shop, from: &str, text: &str, within: Duration) -> Result<(), String> {
    let api = shop.api();
    let seen = || async {
        let path = format!("/conversations?contact=phone:{}", from.replace('+', "%2B"));
        let list = api.call(http::Method::GET, &path, None, None).await.map_err(|e| e.to_string())?;
        let id = list.body["conversations"][0]["id"].as_str().ok_or(list.text.clone())?.to_owned();
        let path = format!("/conversations/{id}");
        let whole = api.call(http::Method::GET, &path, None, None).await.map_err(|e| e.to_string())?;
        message(&whole.body, text).map(drop).ok_or(whole.text)
    };
    poll_until(within, seen).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_of_its_own_needs_a_log_that_is_shared() {
    for role in ["edge", "router"] {
        let shop = Shop::with("http://127.0.0.1:9").open();
        let refused = shop.command(&["run", "--role", role, "--config", "switchboard.toml"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("`--role {role}`")) && said.contains("backend = \"nats\""), "{said}");
    }
}

/// Nobody has to mind the order in which the processes of a workspace start.
#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_starts_before_any_router_waits_and_is_not_ready_until_one_ran() {
    let (provider, broker) = (Provider::start().await, Backend::nats());
    let shop = |role| Shop::with(&provider.base_url()).log(&broker).role(role).open();
    let (router, edge) = (shop("router"), shop("edge"));
    let mut early = Daemon::spawn(&edge);
    let readyz = || async { http().get(format!("{}/readyz", edge.admin())).send().await.map_err(|e| e.to_string()) };
    let waits = || async {
        let answer = readyz().await?;
        let (status, said) = (answer.status(), answer.text().await.unwrap_or_default());
        if status == 503 && said.contains("waits for the streams and keys") {
            Ok(())
        } else {
            Err(format!("{status} {said}"))
        }
    };
    eventually("an edge that waits", waits).await;
    assert!(http().get(format!("{}/healthz", edge.admin())).send().await.expect("it lives").status().is_success());
    // Longer than a broker is tried at a start.
    tokio::time::sleep(Duration::from_secs(12)).await;
    waits().await.expect("it still waits");
    let said = || early.said().matches("an edge makes none, and waits").count();
    assert_eq!(said(), 1, "it says so once");
    assert!(http().get(edge.public()).send().await.is_err(), "who cannot take anything does not listen");

    let _router = Daemon::start(&router).await;
    early.ready().await;
    let taken = edge.sms(ANN, "refund A-1", &sid("early")).deliver(&edge.hook("support-sms")).await.unwrap();
    assert_eq!(taken.status, 200);
    assert_eq!(provider.sent_to(ANN, 1).await[0].body, "Your refund A-1 is on its way.");
    assert!(early.terminate(Duration::from_secs(20)).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn any_edge_takes_any_webhook_and_any_process_answers_for_all() {
    let (provider, broker) = (Provider::start().await, Backend::nats());
    let shop = |role| Shop::with(&provider.base_url()).log(&broker).role(role).more(CHAT).open();
    let (router, one, two) = (shop("router"), shop("edge"), shop("edge"));
    // An edge without a router: what it takes waits in the log.
    let mut router_daemon = Daemon::start(&router).await;
    let _one = Daemon::start(&one).await;
    router_daemon.kill();
    let taken = one.sms(ANN, "first", &sid("first")).deliver(&one.hook("support-sms")).await.unwrap();
    assert_eq!(taken.status, 200);
    stands(&one, "nobody leads", Duration::from_secs(10)).await;
    router_daemon.restart().await;
    let _two = Daemon::start(&two).await;
    stands(&router, "leads", Duration::from_secs(10)).await;
    stands(&one, "follows", Duration::from_secs(10)).await;
    assert!(http().get(router.public()).send().await.is_err(), "a router serves nobody outside");

    // The same delivery at both edges, and the next at the other one: one conversation, in order.
    for shop in [&one, &two] {
        one.sms(ANN, "first", &sid("first")).deliver(&shop.hook("support-sms")).await.unwrap();
    }
    one.sms(ANN, "refund A-1", &sid("second")).deliver(&two.hook("support-sms")).await.unwrap();
    let sent = provider.sent_to(ANN, 1).await;
    assert_eq!(sent[0].body, "Your refund A-1 is on its way.");
    let answered = |c: &Value| message(c, "Your refund A-1 is on its way.").is_some_and(|m| m["status"] == "accepted");
    for shop in [&one, &two, &router] {
        let c = shop.api().conversation(&format!("phone:{ANN}"), "to be answered", answered).await;
        let messages: Vec<_> = c["messages"].as_array().unwrap().iter().filter(|m| m["direction"] == "in").collect();
        assert_eq!(messages.len(), 2, "{c}");
    }

    // Commands at any process: each is answered there, from the log.
    two.api().available("ann").await;
    let c = one.api().conversation(&format!("phone:{ANN}"), "to be there", |_| true).await;
    for (shop, text) in [(&one, "from one"), (&two, "from two"), (&router, "from the router")] {
        let path = format!("/conversations/{}/reply", c["id"].as_str().unwrap());
        shop.api().post(&path, json!({ "text": text, "agent": "ann" })).await.ok();
    }
    let sent = provider.sent_to(ANN, 4).await;
    let texts: Vec<&str> = sent.iter().skip(1).map(|s| s.body.as_str()).collect();
    assert_eq!(texts, ["from one", "from two", "from the router"]);
    assert_eq!(router.command(&["queues", "--json"]).status.code(), Some(0));

    chat_at_two_edges(&one, &two, &router).await;
    router_daemon.terminate(Duration::from_secs(20)).await;
    stands(&two, "nobody leads", Duration::from_secs(10)).await;
}

/// Nobody knows the customer yet, and every message is somebody's first: at which edge they come decides nothing.
#[tokio::test(flavor = "multi_thread")]
async fn parallel_first_messages_at_two_edges_make_one_conversation_with_one_budget() {
    const MESSAGES: usize = 20;
    let (provider, broker) = (Provider::start().await, Backend::nats());
    let pack = Pack::default()
        .yaml
        .replace("{ conversation: 10000, address: 10000, ping_pong: 10000 }", "{ conversation: 3, address: 3 }");
    let shop = |role| Shop::with(&provider.base_url()).log(&broker).role(role).pack(&pack).open();
    let (router, one, two) = (shop("router"), shop("edge"), shop("edge"));
    let _daemons = [Daemon::start(&router).await, Daemon::start(&one).await, Daemon::start(&two).await];
    let writes = (0..MESSAGES).map(|n| {
        let sms = one.sms(ANN, &format!("refund A-{n}"), &sid(&format!("first {n}")));
        let hook = if n % 2 == 0 { one.hook("support-sms") } else { two.hook("support-sms") };
        tokio::spawn(async move { sms.deliver(&hook).await })
    });
    for write in writes.collect::<Vec<_>>() {
        assert_eq!(write.await.unwrap().unwrap().status, 200);
    }
    let of = |all: &[Value], direction: &str| all.iter().filter(|m| m["direction"] == direction).count();
    for shop in [&router, &one, &two] {
        let messages = eventually("one conversation with every message", || async {
            let all = shop.api().all("/conversations", "conversations").await;
            let [c] = all.as_slice() else { return Err(format!("{} conversations", all.len())) };
            let messages = shop.api().messages(c["id"].as_str().unwrap()).await;
            if of(&messages, "in") == MESSAGES { Ok(messages) } else { Err(format!("{messages:?}")) }
        })
        .await;
        assert_eq!(of(&messages, "out"), 3, "what one customer is answered by rules: {messages:?}");
    }
    assert_eq!(provider.sent_to(ANN, 3).await.len(), 3);
}

/// Whoever looks at a router sees whether anybody serves.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_no_edge_serves_is_shown_as_down_until_one_does_again() {
    let (provider, broker) = (Provider::start().await, Backend::nats());
    let shop = |role| Shop::with(&provider.base_url()).log(&broker).role(role).open();
    let (router, edge) = (shop("router"), shop("edge"));
    let leads = Daemon::start(&router).await;
    let mut serves = Daemon::start(&edge).await;
    let is = async |wanted: &str| {
        eventually_within(Duration::from_secs(45), &format!("a channel that is {wanted}"), || async {
            let channels = router.api().get("/channels").await;
            if channels.body["channels"][0]["state"] == wanted { Ok(()) } else { Err(channels.text) }
        })
        .await;
    };
    is("up").await;
    serves.kill();
    let gone = Instant::now();
    is("down").await;
    assert!(gone.elapsed() > Duration::from_secs(15), "a moment of silence is none: {:?}", gone.elapsed());
    assert!(leads.metrics().await.contains("switchboard_adapter_up{channel=\"support-sms\"} 0"));
    let said = http().get(format!("{}/readyz", router.admin())).send().await.expect("an answer").text().await.unwrap();
    assert!(said.contains("channel support-sms is down"), "{said}");
    serves.restart().await;
    is("up").await;
}

/// A visitor's requests land here and there, with one token.
async fn chat_at_two_edges(one: &Shop, two: &Shop, router: &Shop) {
    let post = |shop: &Shop, path: &str, token: Option<&str>, body: Value| {
        let request = http().post(format!("{}/chat/site{path}", shop.public())).body(body.to_string());
        match token {
            Some(token) => request.bearer_auth(token).send(),
            None => request.send(),
        }
    };
    let welcome = post(one, "/session", None, json!({})).await.unwrap().text().await.unwrap();
    let welcome: Value = serde_json::from_str(&welcome).unwrap();
    let token = welcome["token"].as_str().expect("a visitor's token").to_owned();
    let body = json!({ "client_id": "c1", "text": "is anybody there?" });
    let taken = post(two, "/messages", Some(&token), body).await.unwrap();
    assert!(taken.status().is_success(), "{}", taken.text().await.unwrap());
    let id = eventually("the visitor's conversation", || async {
        let list = router.api().get("/conversations?channel=site").await;
        list.body["conversations"][0]["id"].as_str().map(str::to_owned).ok_or(list.text)
    })
    .await;
    router.api().post(&format!("/conversations/{id}/reply"), json!({ "text": "yes, ann", "agent": "ann" })).await.ok();
    for shop in [one, two] {
        eventually("the answer at every edge", || async {
            let url = format!("{}/chat/site/events?after=0", shop.public());
            let seen = http().get(url).bearer_auth(&token).send().await.unwrap().text().await.unwrap();
            if seen.contains("yes, ann") && seen.contains("is anybody there?") { Ok(()) } else { Err(seen) }
        })
        .await;
    }
}

struct Pair {
    provider: Provider,
    shops: [Arc<Shop>; 2],
    _broker: Backend,
}

impl Pair {
    /// Two processes that do everything, on one broker; ann answers.
    async fn new() -> Pair {
        let (provider, broker) = (Provider::start().await, Backend::nats());
        provider.takes(Duration::from_millis(10));
        let shop =
            || Arc::new(Shop::with(&provider.base_url()).log(&broker).sms("send_timeout = \"5s\"").role("all").open());
        Pair { shops: [shop(), shop()], provider, _broker: broker }
    }

    /// Which of them leads.
    async fn leader(&self) -> usize {
        eventually("one that leads", || async {
            let said = [standing(&self.shops[0]).await, standing(&self.shops[1]).await];
            said.iter().position(|s| s == "leads").ok_or(said.join(", "))
        })
        .await
    }
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |p: usize| times[(times.len() - 1) * p / 100];
    println!("{what}: {} times, median {:?}, slowest {:?}", times.len(), at(50), at(100));
}

/// The leader is killed under traffic, again and again, and started again as the one that is ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_replaced_within_three_seconds_and_nothing_is_lost_or_doubled() {
    let mut dice = Dice::new(seed());
    let pair = Pair::new().await;
    let mut daemons = [Daemon::start(&pair.shops[0]).await, Daemon::start(&pair.shops[1]).await];
    let traffic = Traffic::start(&pair.shops, 60, &dice);
    let mut times = vec![];
    for kill in 0..number("ROLE_KILLS", 30) {
        let leader = pair.leader().await;
        let (other, text) = (&pair.shops[1 - leader], format!("hello probe {kill}"));
        let from = format!("+1555300{kill:04}");
        stands(other, "follows", Duration::from_secs(15)).await;
        tokio::time::sleep(dice.millis(300)).await;
        daemons[leader].kill();
        let killed = Instant::now();
        let taken = other.sms(&from, &text, &sid(&text)).deliver(&other.hook("support-sms")).await.unwrap();
        assert_eq!(taken.status, 200, "the other process takes messages all the time");
        routed(other, &from, &text, Duration::from_secs(20)).await.unwrap_or_else(|last| panic!("not routed: {last}"));
        times.push(killed.elapsed());
        daemons[leader].restart().await;
    }
    show("from the kill to the next message routed", &mut times);
    let accepted = traffic.end().await;
    check(&settled(&pair.shops[0]).await, &accepted, &pair.provider);
    assert!(times.iter().all(|t| *t < RESUMES), "routing resumed too late: {times:?}");
}

/// SIGSTOP is what a machine does that swaps, or a container that is frozen: the process believes that it leads.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_leader_that_goes_on_after_another_took_over_discards_its_state_and_follows() {
    let dice = Dice::new(seed());
    let pair = Pair::new().await;
    let daemons = [Daemon::start(&pair.shops[0]).await, Daemon::start(&pair.shops[1]).await];
    let traffic = Traffic::start(&pair.shops, 40, &dice);
    for round in 0..3 {
        let leader = pair.leader().await;
        let other = &pair.shops[1 - leader];
        tokio::time::sleep(Duration::from_millis(500)).await;
        daemons[leader].signal("STOP");
        stands(other, "leads", Duration::from_secs(10)).await;
        let (from, text) = (format!("+1555300{round:04}"), format!("hello probe {round}"));
        other.sms(&from, &text, &sid(&text)).deliver(&other.hook("support-sms")).await.unwrap();
        routed(other, &from, &text, Duration::from_secs(10)).await.expect("the other routes");
        daemons[leader].signal("CONT");
        stands(&pair.shops[leader], "follows", Duration::from_secs(10)).await;
        // It shows what happened without it.
        routed(&pair.shops[leader], &from, &text, Duration::from_secs(10)).await.expect("it follows");
        assert_eq!(standing(other).await, "leads", "and the other still leads");
    }
    let accepted = traffic.end().await;
    check(&settled(&pair.shops[0]).await, &accepted, &pair.provider);
}

/// A leader that is asked to stop hands over.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_stopped_hands_over_and_loses_nothing() {
    let dice = Dice::new(seed());
    let pair = Pair::new().await;
    let mut daemons = [Daemon::start(&pair.shops[0]).await, Daemon::start(&pair.shops[1]).await];
    let traffic = Traffic::start(&pair.shops, 40, &dice);
    let mut times = vec![];
    for _ in 0..4 {
        let leader = pair.leader().await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        let status = daemons[leader].terminate(Duration::from_secs(40)).await;
        assert!(status.success(), "{status}");
        let ended = Instant::now();
        stands(&pair.shops[1 - leader], "leads", Duration::from_secs(10)).await;
        times.push(ended.elapsed());
        daemons[leader].restart().await;
    }
    show("from the end of a leader to the next", &mut times);
    let accepted = traffic.end().await;
    check(&settled(&pair.shops[1]).await, &accepted, &pair.provider);
    assert!(times.iter().all(|t| *t < RESUMES), "{times:?}");
}

/// Where an edge is killed, and what must have become of its message.
struct Killed {
    cut: Option<Cut>,
    /// How often the provider may have it, and what the daemon says in the end.
    sent: usize,
    says: &'static [&'static str],
}

/// An edge is killed before and after each of its four steps (claim, acknowledge, send, result), and another one is there.
#[tokio::test(flavor = "multi_thread")]
async fn an_edge_killed_between_any_two_steps_loses_no_message_and_sends_none_twice() {
    let before = |s: &str| Some(Cut::Before(s.into()));
    let after = |s: &str| Some(Cut::After(s.into()));
    let (claim, ack, result) = ("$KV.SB_main_CLAIMS.", "$JS.ACK.SB_main_OUT.", "support-sms:result:");
    let steps = [
        Killed { cut: before(claim), sent: 1, says: &["accepted"] },
        Killed { cut: after(claim), sent: 0, says: &["unknown"] },
        Killed { cut: before(ack), sent: 1, says: &["accepted", "unknown"] },
        // The provider has it and nobody could say so; where it lists its messages it is asked.
        Killed { cut: None, sent: 1, says: &["accepted", "unknown"] },
        Killed { cut: before(result), sent: 1, says: &["accepted", "unknown"] },
        Killed { cut: after(result), sent: 1, says: &["accepted"] },
    ];
    let killed: Vec<_> = steps.into_iter().map(|step| tokio::spawn(killed_at(step))).collect();
    for one in killed {
        one.await.expect("a step");
    }
}

async fn killed_at(step: Killed) {
    let (provider, broker) = (Provider::start().await, Backend::nats());
    let url = broker.url().expect("a broker");
    let at = step.cut.clone().unwrap_or(Cut::Before("nothing that comes by".into()));
    let cable = Cable::to(&url, at).await;
    let shop =
        |url: &str, role| Shop::with(&provider.base_url()).broker(url).role(role).sms("send_timeout = \"5s\"").open();
    let (router, edge, next) = (shop(&url, "router"), shop(&cable.url(), "edge"), shop(&url, "edge"));
    let _router = Daemon::start(&router).await;
    let mut edge_daemon = Daemon::start(&edge).await;
    if step.cut.is_none() {
        provider.next(Step::Delay(Duration::from_secs(60), Box::new(Step::Accept)));
    }
    let taken = edge.sms(ANN, "refund A-1", &sid("one")).deliver(&edge.hook("support-sms")).await.unwrap();
    assert_eq!(taken.status, 200);
    match step.cut {
        Some(_) => {
            eventually("the edge to come to its step", || async {
                if cable.is_cut() { Ok(()) } else { Err("not yet") }
            })
            .await;
        }
        None => provider.asked(1).await,
    }
    // What is behind the cut has its time to do harm.
    tokio::time::sleep(Duration::from_millis(300)).await;
    edge_daemon.kill();
    let _next = Daemon::start(&next).await;
    let api = next.api();
    let text = "Your refund A-1 is on its way.";
    let settled = eventually_within(Duration::from_secs(60), "an outcome", || async {
        let list = api.get("/conversations").await;
        let Some(id) = list.body["conversations"][0]["id"].as_str().map(str::to_owned) else { return Err(list.text) };
        let messages = api.messages(&id).await;
        let status = messages.iter().find(|m| m["text"] == text).and_then(|m| m["status"].as_str().map(str::to_owned));
        match status {
            Some(s) if ["accepted", "unknown"].contains(&s.as_str()) => Ok(s),
            _ => Err(format!("{messages:?}")),
        }
    })
    .await;
    assert!(step.says.contains(&settled.as_str()), "{:?}: the daemon says {settled}", step.cut);
    let asked = provider.requests();
    assert!(
        asked <= 1 && asked == step.sent,
        "{:?}: {asked} sends were asked for, the daemon says {settled}",
        step.cut
    );
}

/// The provider's limit is for all that we send, and not for each of our machines.
#[tokio::test(flavor = "multi_thread")]
async fn edges_together_keep_to_the_rate_of_their_channel() {
    const PEOPLE: usize = 40;
    let (provider, broker) = (Provider::start().await, Backend::nats());
    let shop = |role| Shop::with(&provider.base_url()).log(&broker).role(role).sms("rate = \"5/s\"").open();
    let (router, one, two) = (shop("router"), shop("edge"), shop("edge"));
    let _router = Daemon::start(&router).await;
    let _edges = [Daemon::start(&one).await, Daemon::start(&two).await];
    let began = Instant::now();
    for n in 0..PEOPLE {
        let (from, text) = (format!("+1555400{n:04}"), format!("refund R-{n}"));
        let shop = if n % 2 == 0 { &one } else { &two };
        let taken = shop.sms(&from, &text, &sid(&text)).deliver(&shop.hook("support-sms")).await.unwrap();
        assert_eq!(taken.status, 200);
    }
    let sent = || async {
        let sent = provider.sent().len();
        // Looked at all the time: at no moment more were sent than a burst and five a second.
        let most = 5.0 + 5.0 * began.elapsed().as_secs_f64() + 1.0;
        assert!(sent as f64 <= most, "{sent} sent within {:?}", began.elapsed());
        if sent >= PEOPLE { Ok(()) } else { Err(format!("{sent} of {PEOPLE}")) }
    };
    eventually_within(Duration::from_secs(60), "every answer", sent).await;
    let whole = began.elapsed();
    println!("{PEOPLE} sends at 5/s by two edges: {whole:?}");
    assert!(whole < Duration::from_secs(20), "{whole:?}: the rate is not used");
    assert_eq!(provider.sent().len(), PEOPLE, "each once");
}
