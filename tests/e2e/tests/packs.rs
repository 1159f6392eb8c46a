//! The rule pack in force is the log's to say: the same in every process, after any restart and any failover, whatever is on whose
//! disk.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::time::Duration;
use switchboard_e2e::traffic::goes_through;
use switchboard_e2e::{Backend, Daemon, Pack, Provider, Shop, eventually_within, on_every_backend};

const LONG: Duration = Duration::from_secs(30);

on_every_backend! {
    a_reload_and_a_rollback_outlive_restarts_and_only_a_pack_that_is_new_is_taken_from_disk,
}

/// The default pack, whose refunds end with this word.
fn pack(word: &str) -> Pack {
    // A rule more before the others: what is explained by the wrong pack shows it.
    let more =
        format!("rules:\n  - {{ name: Never {word}, when: {{ text: {{ word: zzz }} }}, then: {{ tag: never }} }}\n");
    Pack { yaml: Pack::default().yaml.replace("is on its way", word).replacen("rules:\n", &more, 1) }
}

/// Waits until this daemon shows a pack with that hash as the one in force.
async fn in_force(shop: &Shop, hash: &str) {
    let shown = || async {
        let rules = shop.api().call(http::Method::GET, "/rules", None, None).await.map_err(|e| e.to_string())?;
        if rules.body["hash"] == hash { Ok(()) } else { Err(rules.text) }
    };
    eventually_within(LONG, &format!("the pack {hash} to be in force"), shown).await;
}

async fn hash(shop: &Shop) -> String {
    shop.api().get("/rules").await.ok()["hash"].as_str().expect("a hash").to_owned()
}

/// What a rule answers now: which pack decides is what a customer sees.
struct Customers<'a> {
    provider: &'a Provider,
    number: u32,
}

impl Customers<'_> {
    async fn hear(&mut self, shop: &Shop, word: &str) {
        self.number += 1;
        let (from, order) = (format!("+1555123{:04}", self.number), format!("A-{}", self.number));
        goes_through(shop, &from, &format!("refund {order}")).await;
        assert_eq!(self.provider.sent_to(&from, 1).await[0].body, format!("Your refund {order} {word}."));
    }
}

async fn explained(shop: &Shop, message: &str) -> Value {
    shop.api().get(&format!("/messages/{message}/explain")).await.ok()
}

async fn reload(shop: &Shop, word: &str) -> String {
    shop.write_pack(&pack(word));
    shop.api().post("/rules/reload", json!({})).await.ok();
    hash(shop).await
}

async fn a_reload_and_a_rollback_outlive_restarts_and_only_a_pack_that_is_new_is_taken_from_disk(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let mut daemon = Daemon::start(&shop).await;
    let mut customers = Customers { provider: &provider, number: 0 };
    let first = hash(&shop).await;
    customers.hear(&shop, "is on its way").await;
    let decision = explained(&shop, "last").await;
    assert_eq!(decision["pack"], json!(first));
    let paid = reload(&shop, "was paid").await;
    assert_ne!(first, paid);
    for stop in ["kill", "terminate"] {
        if stop == "kill" {
            daemon.kill()
        } else {
            assert!(daemon.terminate(LONG).await.success())
        }
        daemon.restart().await;
        in_force(&shop, &paid).await;
        customers.hear(&shop, "was paid").await;
        // What was decided before is explained by the pack that decided it, with what its rules said then.
        let again = explained(&shop, decision["message"].as_str().expect("an id")).await;
        assert_eq!((&again["pack"], &again["rules"]), (&json!(first), &decision["rules"]));
        assert_eq!(again["incomplete"], Value::Null);
        assert_eq!(explained(&shop, "last").await["pack"], json!(paid));
    }
    // Rolled back, while the disk still has what was rolled back: the command says so.
    let said = shop.command(&["rules", "rollback"]);
    let said = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(
        said.contains("in force again") && said.contains(&format!("on disk is still pack {}", &paid[..12])),
        "{said}"
    );
    in_force(&shop, &first).await;
    daemon.kill();
    daemon.restart().await;
    in_force(&shop, &first).await;
    customers.hear(&shop, "is on its way").await;
    assert!(daemon.said().contains("is not the one in force"), "an operator is told that the disk has another");
    // A pack that the log never knew is meant to be put in force by this start.
    shop.write_pack(&pack("was sent"));
    daemon.kill();
    daemon.restart().await;
    let sent = hash(&shop).await;
    assert!(sent != first && sent != paid, "the new one");
    customers.hear(&shop, "was sent").await;
    // One that cannot be used changes nothing.
    shop.write_pack(&Pack { yaml: "rules: 7\n".into() });
    daemon.kill();
    daemon.restart().await;
    in_force(&shop, &sent).await;
    customers.hear(&shop, "was sent").await;
    assert!(daemon.said().contains("the rule pack on disk cannot be used"), "{}", daemon.said());
}

/// Each process has a disk of its own, and only one of them has what was put in force.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_with_the_pack_in_force_and_not_with_the_one_on_its_disk() {
    let (provider, broker) = (Provider::start().await, Backend::nats());
    let shops = [(); 2].map(|()| Shop::with(&provider.base_url()).log(&broker).role("all").open());
    let mut daemons = [Daemon::start(&shops[0]).await, Daemon::start(&shops[1]).await];
    let mut customers = Customers { provider: &provider, number: 0 };
    let first = hash(&shops[0]).await;
    let paid = reload(&shops[0], "was paid").await;
    let mut wanted = (paid.as_str(), "was paid");
    for leader in [0, 1, 0] {
        for shop in &shops {
            in_force(shop, wanted.0).await;
            customers.hear(shop, wanted.1).await;
        }
        daemons[leader].kill();
        customers.hear(&shops[1 - leader], wanted.1).await;
        in_force(&shops[1 - leader], wanted.0).await;
        daemons[leader].restart().await;
        in_force(&shops[leader], wanted.0).await;
        customers.hear(&shops[leader], wanted.1).await;
        if leader == 1 {
            // At the one that follows now.
            shops[1].api().post("/rules/rollback", json!({})).await.ok();
            wanted = (first.as_str(), "is on its way");
        }
    }
    for daemon in &mut daemons {
        assert!(daemon.terminate(LONG).await.success());
    }
    // Nobody was there for a moment; the first to come has another pack on its disk than was rolled back to.
    daemons[0].restart().await;
    in_force(&shops[0], &first).await;
    customers.hear(&shops[0], "is on its way").await;
}

/// A command that must succeed; what it said.
fn says(shop: &Shop, arguments: &[&str]) -> String {
    let output = shop.command(arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn report(shop: &Shop) -> Value {
    let said = says(shop, &["rules", "canary", "--json"]);
    serde_json::from_str::<Value>(&said).expect("JSON")["canary"].clone()
}

/// At five in the afternoon: on some at first, then on more, back again, and in force; all by commands.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_is_tried_on_some_taken_back_and_put_in_force_by_commands() {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).open();
    let mut daemon = Daemon::start(&shop).await;
    let mut customers = Customers { provider: &provider, number: 0 };
    let first = hash(&shop).await;
    assert!(says(&shop, &["rules", "canary"]).contains("no pack was ever tried"));
    let candidate = shop.folder().join("candidate");
    std::fs::create_dir(&candidate).expect("a directory");
    std::fs::write(candidate.join("pack.yaml"), pack("was tried").yaml).expect("written");
    let directory = candidate.to_str().expect("UTF-8");

    let said = says(&shop, &["rules", "canary", "--share", "100%", "--pack", directory]);
    assert!(said.contains("is tried on 100% of the new conversations"), "{said}");
    customers.hear(&shop, "was tried").await;
    let tried = report(&shop);
    let hashed = tried["pack"].as_str().expect("a hash").to_owned();
    assert_eq!((&tried["beside"], &tried["share"], &tried["ended"]), (&json!(first), &json!(100), &Value::Null));
    assert_eq!((&tried["packs"][1]["conversations"], &tried["packs"][0]["conversations"]), (&json!(1), &json!(0)));
    assert_eq!(tried["packs"][1]["auto_replies"], json!(1));
    assert_eq!(hash(&shop).await, first, "it is not in force");

    // Another share is of what is tried, whatever stands on disk by now.
    shop.write_pack(&pack("was never meant"));
    assert!(says(&shop, &["rules", "canary", "--share", "50"]).contains("on 50% of"));
    assert_eq!((&report(&shop)["pack"], &report(&shop)["packs"][1]["conversations"]), (&json!(hashed), &json!(1)));
    shop.write_pack(&Pack::default());
    assert!(says(&shop, &["rules", "reload"]).contains("is tried beside it"), "a reload that changes nothing says so");
    daemon.kill();
    daemon.restart().await;
    assert_eq!((&report(&shop)["pack"], &report(&shop)["ended"]), (&json!(hashed), &Value::Null));

    assert!(says(&shop, &["rules", "rollback"]).contains("has ended"));
    assert_eq!(report(&shop)["ended"]["how"], "rolled_back");
    customers.hear(&shop, "is on its way").await;

    // A pack whose tests fail is not tried, unless it is forced.
    let failing = "tests:\n  - name: Never\n    message: { kind: sms, text: hello }\n    expect: { tags: [never] }\n";
    std::fs::write(candidate.join("a_test.yaml"), failing).expect("written");
    let again = ["rules", "canary", "--share", "100%", "--pack", directory];
    let refused = shop.command(&again);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && why.contains("Never"), "{why}");
    assert_eq!(report(&shop)["ended"]["how"], "rolled_back");
    says(&shop, &[again.as_slice(), &["--force"]].concat());
    says(&shop, &["rules", "canary", "--promote"]);
    let now = hash(&shop).await;
    assert_ne!(now, first);
    customers.hear(&shop, "was tried").await;
    let history = says(&shop, &["rules", "history"]);
    let shown = |hash: &str| history.find(&hash[..12]).unwrap_or_else(|| panic!("{hash} is not in {history}"));
    assert!(shown(&now) < shown(&first) && history.contains("decides now"), "{history}");

    says(&shop, &["rules", "rollback", "--to", &first[..12]]);
    in_force(&shop, &first).await;
    customers.hear(&shop, "is on its way").await;
    assert!(daemon.terminate(LONG).await.success());
}
