//! A stream of the broker that is filled to its limit. What was sent is counted at the provider, independently of what the daemon
//! believes.
//!
//! `BROKER_SEED` repeats a run as far as the machine's timing allows.
#![forbid(unsafe_code)]

use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use switchboard_e2e::traffic::{Traffic, check_beside, number, settled};
use switchboard_e2e::{Daemon, Dice, NatsServer, Pack, Provider, Shop, eventually_within, jetstream, sid};

const LONG: Duration = Duration::from_secs(60);

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
