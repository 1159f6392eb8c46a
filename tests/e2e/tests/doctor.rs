//! What an operator sees who asks what is wrong: the right line with the right advice, and nothing that a customer wrote.
#![forbid(unsafe_code)]

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use switchboard_e2e::{
    AUTH_TOKEN, Backend, Daemon, Pack, Provider, Shop, Step, eventually, eventually_within, message, on_every_backend,
    sid,
};

const ANN: &str = "+15551230001";
const BEN: &str = "+15551230002";
const OTHER_ACCOUNT: &str = "AC11111111111111111111111111111111";
/// What a customer wrote, and nobody repeats here.
const CANARY: &str = "canaryxyzzy";

on_every_backend! {
    what_is_held_back_and_another_pack_on_disk_are_warnings_over_a_system_that_works,
}

/// What the command said, and its exit code.
struct Told {
    code: Option<i32>,
    text: String,
}

impl Told {
    /// The line that holds this, which must be one.
    #[track_caller]
    fn line(&self, level: &str, part: &str) -> &str {
        let mut lines = self.text.lines().filter(|l| l.starts_with(level) && l.contains(part));
        let line = lines.next().unwrap_or_else(|| panic!("no line `{level} … {part}`:\n{}", self.text));
        assert!(lines.next().is_none(), "two lines `{level} … {part}`:\n{}", self.text);
        line
    }

    #[track_caller]
    fn advises(&self, level: &str, part: &str, advice: &str) {
        let line = self.line(level, part);
        assert!(line.contains(advice), "`{advice}` is not in: {line}");
    }

    #[track_caller]
    fn without(&self, words: &[&str]) {
        for word in words {
            assert!(!self.text.contains(word), "`{word}` was printed:\n{}", self.text);
        }
    }
}

/// Beside the daemon, with its configuration.
fn doctor(shop: &Shop) -> Told {
    asked(shop, &["doctor", "--config", "switchboard.toml"])
}

fn asked(shop: &Shop, arguments: &[&str]) -> Told {
    let done = shop.command(arguments);
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let told = Told { code: done.status.code(), text };
    told.without(&[AUTH_TOKEN, &shop.token(), CANARY, ANN, BEN]);
    told
}

async fn what_is_held_back_and_another_pack_on_disk_are_warnings_over_a_system_that_works(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();

    let well = doctor(&shop);
    assert_eq!(well.code, Some(0), "{}", well.text);
    well.line("well", "channels: 1 up: support-sms");
    well.line("well", "daemon: version");
    well.line("well", "dead letters: none");
    well.line("well", "quarantine: empty");
    well.line("well", "queues: nobody waits");
    well.line("well", ", and on disk");
    assert!(well.text.lines().last().is_some_and(|l| l.starts_with("nothing is at fault")), "{}", well.text);
    let kept = if matches!(backend, Backend::Embedded) { "embedded: a power cut" } else { "nats at" };
    assert!(well.text.contains(kept) && well.text.contains("IN 0 % full of 1.0 GiB"), "{}", well.text);

    provider.next(Step::Refuse { status: 400, code: 21_211, retry_after: None });
    shop.sms(ANN, &format!("refund {CANARY}"), &sid("1")).deliver(&shop.hook("support-sms")).await.unwrap();
    shop.sms(BEN, CANARY, &sid("2"))
        .with("AccountSid", OTHER_ACCOUNT)
        .deliver(&shop.hook("support-sms"))
        .await
        .unwrap();
    for (path, key) in [("/dead-letters", "dead_letters"), ("/quarantine", "quarantine")] {
        eventually(key, || async {
            let rows = api.all(path, key).await;
            if rows.len() == 1 { Ok(()) } else { Err(format!("{rows:?}")) }
        })
        .await;
    }
    shop.write_pack(&Pack { yaml: Pack::default().yaml.replace("is on its way", "was paid") });
    let told = doctor(&shop);
    assert_eq!(told.code, Some(0), "{}", told.text);
    told.advises("warning", "dead letters: 1 message of ours on support-sms was refused", "dead-letters resend ID");
    told.advises("warning", "quarantine: 1 record of support-sms", "quarantine retry ID");
    told.advises("warning", "rules: the pack on disk", "`switchboard rules reload`");
    let lines: Vec<&str> = told.text.lines().collect();
    let first_well = lines.iter().position(|l| l.starts_with("well"));
    let last_warning = lines.iter().rposition(|l| l.starts_with("warning"));
    assert!(last_warning < first_well, "the worst is not first:\n{}", told.text);

    let machine = asked(&shop, &["doctor", "--json"]);
    let json: Value = serde_json::from_str(&machine.text).unwrap_or_else(|e| panic!("{e}: {}", machine.text));
    assert_eq!((machine.code, &json["faults"]), (Some(0), &Value::from(0)));
    let findings = json["findings"].as_array().expect("findings");
    let held = findings.iter().find(|f| f["about"] == "quarantine").expect("the quarantine");
    assert_eq!(held["level"], "warning");
    assert!(held["then"].as_str().is_some_and(|then| then.contains("quarantine retry ID")), "{held}");
    assert!(findings.iter().all(|f| f["about"] != "configuration"), "only the daemon's address was named: {json}");

    shop.write_pack(&Pack { yaml: "rules: 7\n".into() });
    let told = doctor(&shop);
    let wrong = told.text.lines().find(|l| l.starts_with("warning") && l.contains("pack.yaml:1:"));
    assert!(wrong.is_some_and(|l| l.contains("no start and no reload would take it")), "{}", told.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_or_refuses_our_credentials_is_a_fault_with_what_ends_it() {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).open();
    let _daemon = Daemon::start(&shop).await;
    let api = shop.api();
    provider.down().await;
    for n in 0..5 {
        let (from, text) = (format!("+1555123100{n}"), format!("refund {CANARY}-{n}"));
        shop.sms(&from, &text, &sid(&from)).deliver(&shop.hook("support-sms")).await.unwrap();
    }
    let state = async |wanted: &str| {
        eventually_within(Duration::from_secs(60), &format!("the channel to be {wanted}"), || async {
            let channels = api.get("/channels").await.ok();
            if channels["channels"][0]["state"] == wanted { Ok(()) } else { Err(channels.to_string()) }
        })
        .await;
    };
    state("probing").await;
    let told = doctor(&shop);
    assert_eq!(told.code, Some(1), "{}", told.text);
    told.advises("FAULT", "channel support-sms: the last ", "`switchboard channels resume support-sms` tries at once");
    assert!(told.text.lines().last().is_some_and(|l| l.contains("1 fault")), "{}", told.text);

    provider.up().await;
    for _ in 0..20 {
        provider.next(Step::unauthorized());
    }
    assert_eq!(shop.command(&["channels", "resume", "support-sms"]).status.code(), Some(0));
    state("paused").await;
    let told = doctor(&shop);
    assert_eq!(told.code, Some(1), "{}", told.text);
    told.advises(
        "FAULT",
        "channel support-sms: is paused, nothing is sent",
        "then `switchboard channels resume support-sms`",
    );

    assert_eq!(shop.command(&["channels", "resume", "support-sms"]).status.code(), Some(0));
    assert_eq!(shop.command(&["channels", "pause", "support-sms"]).status.code(), Some(0));
    let told = doctor(&shop);
    told.advises("warning", "channel support-sms: is paused by an operator", "channels resume support-sms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_whom_nobody_can_serve_is_a_fault_and_one_without_anybody_there_a_warning() {
    let pack = "zone: UTC\nqueues: { everyone: {}, books: { skills: [accounting] } }\n\
                agents: { ann: { name: Ann, capacity: 10 } }\n\
                rules:\n  - name: Books\n    when: { text: { contains: books } }\n    then: { queue: books }\n\
                default: { queue: everyone }\n";
    let shop = Shop::with("http://127.0.0.1:1").pack(pack).open();
    let _daemon = Daemon::start(&shop).await;
    for (from, text) in [(ANN, format!("books {CANARY}")), (BEN, CANARY.to_owned())] {
        shop.sms(from, &text, &sid(from)).deliver(&shop.hook("support-sms")).await.unwrap();
        shop.api()
            .conversation(&format!("phone:{from}"), "to wait", |c| {
                message(c, &text).is_some() && c["state"] == "queued"
            })
            .await;
    }
    let told = doctor(&shop);
    assert_eq!(told.code, Some(1), "{}", told.text);
    told.advises("FAULT", "queue books: 1 waits", "`switchboard rules reload`");
    assert!(
        told.line("FAULT", "queue books").contains("none of 1 agent has what is wanted (accounting)"),
        "{}",
        told.text
    );
    told.advises("warning", "queue everyone: 1 waits", "`switchboard agents` says who");
    shop.api().available("ann").await;
    eventually("somebody there", || async {
        let told = doctor(&shop);
        if told.text.contains("queue everyone") { Err(told.text) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_after_the_start_or_is_open_to_others_is_said_on_its_machine() {
    use std::os::unix::fs::PermissionsExt as _;
    let shop = Shop::with("http://127.0.0.1:1").open();
    let _daemon = Daemon::start(&shop).await;
    // Nobody listens there, whoever answers for names that there are not.
    shop.reconfigure(|toml| toml.replace("https://hooks.shop.example", "https://127.0.0.1:1"));
    std::fs::set_permissions(shop.folder().join("data"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let told = doctor(&shop);
    assert_eq!(told.code, Some(0), "{}", told.text);
    told.advises("warning", "configuration: was changed", "restart the daemon");
    told.advises("warning", "others than its owner may enter", "`chmod 700 ");
    told.advises("warning", "public address: https://127.0.0.1:1 cannot be reached from here", "the firewall");
    // What would keep the next start from succeeding.
    shop.reconfigure(|toml| toml.replace("kind = \"sms\"", "kind = \"smms\""));
    let told = doctor(&shop);
    assert_eq!(told.code, Some(1), "{}", told.text);
    told.advises("FAULT", "smms", "nothing would start");
}

/// Every file of the shop's data, byte for byte.
fn everything(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(everything(&path));
        } else {
            all.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_daemon_down_it_says_so_and_looks_at_the_store_without_writing() {
    let shop = Shop::with("http://127.0.0.1:1").open();
    let data = shop.folder().join("data");
    let told = doctor(&shop);
    assert_eq!(told.code, Some(3), "{}", told.text);
    told.advises("FAULT", "daemon: cannot be reached", "systemctl status switchboard");
    told.line("warning", "there is no log in");
    assert!(!data.exists(), "nothing was made");

    let mut daemon = Daemon::start(&shop).await;
    shop.sms(ANN, CANARY, &sid("1")).deliver(&shop.hook("support-sms")).await.unwrap();
    shop.api().conversation(&format!("phone:{ANN}"), "to wait", |c| c["state"] == "queued").await;
    daemon.kill();
    let before = everything(&data);
    let told = doctor(&shop);
    assert_eq!(told.code, Some(3), "{}", told.text);
    told.line("well", "is whole");
    assert_eq!(everything(&data), before, "something was written");

    daemon.restart().await;
    daemon.terminate(Duration::from_secs(30)).await;
    let before = everything(&data);
    let told = doctor(&shop);
    assert_eq!(told.code, Some(3), "{}", told.text);
    told.line("well", "is whole");
    told.line("well", "configuration: switchboard.toml");
    assert_eq!(everything(&data), before, "something was written");

    // A disk that lost everything but the file's header, and what a quick end has left to be taken in.
    for beside in ["log.db-wal", "log.db-shm"] {
        let _ = std::fs::remove_file(data.join(beside));
    }
    let log = data.join("log.db");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[100..].fill(0xa5);
    std::fs::write(&log, bytes).unwrap();
    let told = doctor(&shop);
    assert_eq!(told.code, Some(3), "{}", told.text);
    told.advises("FAULT", "is damaged", "copy the directory as it is");
}
