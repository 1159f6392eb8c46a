//! Who may reach the broker, and what each may do there: TLS with a client's certificate, `.creds` of an operator's accounts, and
//! the users that deploy/ ships, one a role.
#![forbid(unsafe_code)]

use serde_json::{Value, json};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;
use switchboard_e2e::traffic::{Traffic, check, goes_through, settled};
use switchboard_e2e::{
    Authority, Daemon, Dice, Issuer, NatsServer, Provider, Shop, Visitor, eventually, http, message, shipped_users,
};

const ANN: &str = "+15551230001";
const SOON: Duration = Duration::from_secs(40);
const CHAT: &str = "[channels.site]\nkind = \"webchat\"\norigins = [\"https://shop.example\"]\n";

/// Pairs made for these tests.
const DAEMON: (&str, &str) = (
    "SUAPT3AUXD5JGY672D4BLUSBURXBNBLQBYDLURDRA354V7MJGTR5AG5WOY",
    "UBZAXALZ65UGYXAEGG7QSOCK4HTSF3HFR52A2O6P6HFPJADXZQFBMX7V",
);
const ROUTER: (&str, &str) = (
    "SUAKWI4TLIOTMWLZXQGZATP7QAFO6WY6IRHN42KWVDBYLNCI6TXVSY4WEE",
    "UBC2O7WOVSIMQLBZACKRSJGBR5E7NXAUEVZCGC67RD3DONH67JTS6CLV",
);
const EDGE: (&str, &str) = (
    "SUACKR47KFVSZY5QY4VYPPYAZURW7AAFOI5MH7XAG473HA2VEAOT5JMOKM",
    "UA7K7SGKOVBIO33OVFIDZDIBRFPOONSRKQ6HVCAFSLHPMYW6QT445FJT",
);

/// A customer is answered by a rule, through this daemon alone.
async fn answers(shop: &Shop, provider: &Provider, order: &str) {
    goes_through(shop, ANN, &format!("refund {order}")).await;
    let answer = format!("Your refund {order} is on its way.");
    let accepted = |c: &Value| message(c, &answer).is_some_and(|m| m["status"] == "accepted");
    shop.api().conversation(&format!("phone:{ANN}"), "answered", accepted).await;
    assert_eq!(provider.sent().iter().filter(|s| s.body == answer).count(), 1);
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

/// Runs daemons that must not start, all at once, for each tries to connect for some seconds.
async fn refused(shops: Vec<(Shop, Vec<&'static str>)>) -> Vec<String> {
    let run = |(shop, role): (Shop, Vec<&'static str>)| {
        tokio::task::spawn_blocking(move || {
            let arguments = [&["run", "--config", "switchboard.toml"], role.as_slice()].concat();
            let Output { status, stderr, .. } = shop.command(&arguments);
            (status.code(), String::from_utf8_lossy(&stderr).into_owned())
        })
    };
    let mut said = vec![];
    for ended in shops.into_iter().map(run).collect::<Vec<_>>() {
        let (code, text) = ended.await.expect("it ran");
        assert_eq!(code, Some(1), "{text}");
        said.push(text.lines().rfind(|line| line.starts_with("switchboard: ")).unwrap_or_default().to_owned());
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_behind_tls_is_reached_with_a_certificate_of_its_authority_and_not_without() {
    let (ours, other) = (Authority::new(), Authority::new());
    let (server, client, stranger) = (ours.leaf("broker"), ours.leaf("daemon"), other.leaf("stranger"));
    let (cert, key, ca) = (path(&server.cert), path(&server.key), ours.ca());
    let ca = path(&ca);
    let tls =
        format!("tls {{ cert_file: \"{cert}\", key_file: \"{key}\", ca_file: \"{ca}\", verify: true, timeout: 5 }}");
    let mut broker = NatsServer::with(&tls);
    let url = broker.url().replace("nats://", "tls://");
    let provider = Provider::start().await;
    let shop = |tls: &str| Shop::with(&provider.base_url()).broker(&url).log_keys(&format!("tls = {{ {tls} }}")).open();
    let with = |ca: &str, leaf: &switchboard_e2e::Leaf| {
        format!("ca = \"{ca}\", cert = \"{}\", key = \"{}\"", path(&leaf.cert), path(&leaf.key))
    };

    let good = shop(&with(ca, &client));
    let mut daemon = Daemon::start(&good).await;
    answers(&good, &provider, "A-1").await;
    // The way back is encrypted, too.
    broker.kill();
    broker.restart();
    answers(&good, &provider, "A-2").await;
    assert!(daemon.terminate(SOON).await.success());

    let theirs = other.ca();
    let bad = vec![
        (shop(&format!("ca = \"{ca}\"")), vec![]),
        (shop(&with(ca, &stranger)), vec![]),
        (shop(&with(path(&theirs), &client)), vec![]),
    ];
    let said = refused(bad).await;
    for text in &said {
        assert!(text.contains("cannot connect to the broker at tls://"), "{said:?}");
    }
    assert!(said[2].to_lowercase().contains("certificate"), "whose authority is another: {}", said[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creds_file_of_the_brokers_operator_is_taken_and_anothers_is_not() {
    let (ours, other) = (Issuer::new(), Issuer::new());
    let broker = NatsServer::with(&ours.configuration());
    let provider = Provider::start().await;
    let shop = |credentials: String| {
        let keys = "credentials = { file = \"daemon.creds\" }";
        let shop = Shop::with(&provider.base_url()).broker(&broker.url()).log_keys(keys).open();
        std::fs::write(shop.folder().join("daemon.creds"), credentials).expect("a file of credentials");
        shop
    };
    let good = shop(ours.credentials("daemon"));
    let mut daemon = Daemon::start(&good).await;
    answers(&good, &provider, "A-1").await;
    daemon.kill();
    daemon.restart().await;
    answers(&good, &provider, "A-2").await;
    assert!(daemon.terminate(SOON).await.success());
    let said = daemon.said();
    assert!(!said.contains("SEED") && !said.contains("eyJ"), "a secret is in the log");

    let said =
        refused(vec![(shop(other.credentials("daemon")), vec![]), (shop("no credentials".into()), vec![])]).await;
    assert!(said[0].contains("does not let this process in"), "{said:?}");
    assert!(said[1].contains("`log.credentials`"), "{said:?}");
}

/// A shop whose process is `role` on the broker, with the nkey of `seed`.
fn member(provider: &Provider, broker: &NatsServer, role: &'static str, seed: &str) -> Shop {
    let shop = Shop::with(&provider.base_url()).broker(&broker.url()).log_keys("nkey = { file = \"process.nk\" }");
    let shop = shop.role(role).more(CHAT).sms("send_timeout = \"5s\"").open();
    std::fs::write(shop.folder().join("process.nk"), seed).expect("a seed");
    shop
}

fn shipped() -> NatsServer {
    NatsServer::with(&shipped_users(&[
        ("$DAEMON_NKEY", DAEMON.1),
        ("$ROUTER_NKEY", ROUTER.1),
        ("$EDGE_NKEY", EDGE.1),
        ("$LINE_PASSWORD", "secret"),
    ]))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_does_all_its_work_as_the_user_that_is_shipped_for_it() {
    let (provider, broker) = (Provider::start().await, shipped());
    provider.takes(Duration::from_millis(10));
    let shops = [("router", ROUTER), ("router", ROUTER), ("edge", EDGE), ("edge", EDGE)]
        .map(|(role, (seed, _))| Arc::new(member(&provider, &broker, role, seed)));
    let mut leader = Daemon::start(&shops[0]).await;
    let mut standby = Daemon::start(&shops[1]).await;
    let _edges = [Daemon::start(&shops[2]).await, Daemon::start(&shops[3]).await];
    let traffic = Traffic::start(&shops[2..], 20, &Dice::new(7));

    // A body that is too long for a record becomes a file of the log; chat; rules from an edge; another router.
    goes_through(&shops[2], "+15557100001", &format!("{}the end", "long ".repeat(6_000))).await;
    chats(&shops[2], &shops[3]).await;
    for shop in [&shops[0], &shops[2]] {
        let pack = std::fs::read_to_string(shop.pack().join("pack.yaml")).unwrap();
        std::fs::write(shop.pack().join("pack.yaml"), format!("{pack}# {}\n", shop.public_port)).unwrap();
        shop.api().post("/rules/reload", json!({})).await.ok();
    }
    leader.kill();
    goes_through(&shops[3], "+15557100002", "hello to the standby").await;
    leader.restart().await;
    assert!(standby.terminate(SOON).await.success());
    goes_through(&shops[3], "+15557100003", "hello to the first again").await;

    let accepted = traffic.end().await;
    check(&settled(&shops[0]).await, &accepted, &provider);
    assert!(leader.terminate(SOON).await.success());
    let denied: Vec<String> = broker.log().lines().filter(|l| l.contains("Violation")).map(str::to_owned).collect();
    assert_eq!(denied, Vec::<String>::new(), "the broker denied what a role needs");
}

/// A visitor writes at one edge and reads the answer at both.
async fn chats(one: &Shop, two: &Shop) {
    let mut visitor = Visitor::at(one, None, 0).await.expect("a socket");
    visitor.write("c1", "is anybody there?").await.expect("sent");
    visitor.until("ack").await.expect("taken");
    let id = eventually("the visitor's conversation", || async {
        let list = two.api().get("/conversations?channel=site").await;
        list.body["conversations"][0]["id"].as_str().map(str::to_owned).ok_or(list.text)
    })
    .await;
    two.api().post(&format!("/conversations/{id}/reply"), json!({ "text": "yes, ann", "agent": "ann" })).await.ok();
    for shop in [one, two] {
        let again = Visitor::at(shop, Some(&visitor.token()), 0).await.expect("a socket");
        let mut seen = again.welcome["replay"].to_string();
        let mut again = again;
        while !seen.contains("yes, ann") {
            seen += &again.until("message").await.expect("the answer").to_string();
        }
    }
}

/// The streams of a workspace say below which prefix they were made, and a process of another one leaves them alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_served_under_the_prefix_that_made_it_and_not_under_another() {
    let (provider, broker) = (Provider::start().await, NatsServer::start());
    let shop = |role, keys: &str| {
        Shop::with(&provider.base_url())
            .broker(&broker.url())
            .log_keys(keys)
            .role(role)
            .sms("send_timeout = \"5s\"")
            .open()
    };
    let prefix = "prefix = \"shop.eu\"";
    let [router, edge] = ["router", "edge"].map(|role| shop(role, prefix));
    let mut daemons = [Daemon::start(&router).await, Daemon::start(&edge).await];
    answers(&edge, &provider, "A-1").await;
    let others = ["router", "edge"].map(|role| (shop(role, ""), vec!["--role", role]));
    for text in refused(others.into()).await {
        assert!(text.contains("change `log.prefix`"), "{text}");
        assert!(text.contains("shop.eu.main.") && text.contains("\"sb.main."), "both are shown: {text}");
    }
    for daemon in &mut daemons {
        assert!(daemon.terminate(SOON).await.success());
        daemon.restart().await;
    }
    answers(&edge, &provider, "A-2").await;
    assert_eq!(provider.requests(), 2, "once each");
}

/// A process with another role's key does not start as what it is not, nor does anybody without a key.
#[tokio::test(flavor = "multi_thread")]
async fn no_process_starts_with_the_user_of_another_role() {
    let (provider, broker) = (Provider::start().await, shipped());
    let first = member(&provider, &broker, "router", ROUTER.0);
    let _router = Daemon::start(&first).await;
    let unknown = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y";
    let wrong = vec![
        (member(&provider, &broker, "router", EDGE.0), vec!["--role", "router"]),
        (member(&provider, &broker, "edge", ROUTER.0), vec!["--role", "edge"]),
        (member(&provider, &broker, "all", EDGE.0), vec![]),
        (member(&provider, &broker, "all", unknown), vec![]),
    ];
    let said = refused(wrong).await;
    for text in &said {
        assert!(text.contains("`log.nkey`"), "what to change is not said: {text}");
    }
    assert!(said[3].contains("does not let this process in"), "{said:?}");
    // The one with its own key goes on, and nothing of the others came in.
    let ready = http().get(format!("{}/readyz", first.admin())).send().await.unwrap().text().await.unwrap();
    assert!(ready.contains("leads"), "{ready}");
    let found = first.api().all("/conversations", "conversations").await;
    assert!(found.is_empty(), "{found:?}");
    let nobody = Shop::with(&provider.base_url()).broker(&broker.url()).open();
    let said = refused(vec![(nobody, vec![])]).await;
    assert!(said[0].contains("does not let this process in"), "{said:?}");
}
