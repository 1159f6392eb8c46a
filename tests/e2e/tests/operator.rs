//! What an operator does: check, start, watch, change rules, stop.
#![forbid(unsafe_code)]

use serde_json::Value;
use std::process::Output;
use std::time::Duration;
use switchboard_e2e::{Backend, Daemon, Pack, Provider, Shop, Step, eventually, message, on_every_backend, sid};

const ANN: &str = "+15551230001";

on_every_backend! {
    tables_show_a_running_daemon_and_json_is_for_machines,
    a_new_pack_comes_into_force_on_sighup_and_a_bad_one_does_not,
    a_graceful_stop_finishes_the_call_in_flight,
    a_waiting_conversation_says_why_and_another_pack_is_tried_on_what_was_decided,
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_says_what_it_listens_on_and_what_a_power_cut_can_take() {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).open();
    let daemon = Daemon::start(&shop).await;
    let text = daemon.said();
    let listens = [shop.public_port, shop.admin_port].map(|port| format!("127.0.0.1:{port}"));
    for part in listens.into_iter().chain(["embedded".into(), "a power cut takes nothing that was acknowledged".into()])
    {
        assert!(text.contains(&part), "the start does not mention {part}:\n{text}");
    }
    assert!(
        !text.contains(switchboard_e2e::AUTH_TOKEN) && !text.contains(&shop.token()),
        "a secret was printed:\n{text}"
    );
    let health = switchboard_e2e::http().get(format!("{}/healthz", shop.admin())).send().await.unwrap();
    assert_eq!(health.status().as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_every_error_at_once_with_its_place() {
    let shop =
        Shop::with("http://127.0.0.1:1").more("[channels.broken]\nkind = \"sms\"\nprovider = \"nobody\"\n").open();
    shop.write_pack(&Pack {
        yaml: "queues: { everyone: {} }\nrules:\n  - name: A\n    when: { texxt: hi }\n    then: { queue: nowhere }\n"
            .into(),
    });
    let config = shop.config();
    let output = shop.command(&["check", "--config", config.to_str().unwrap()]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in ["nobody", "broken", "texxt", "nowhere", "default", "switchboard.toml", "pack.yaml:4:"] {
        assert!(text.contains(part), "check does not mention {part}:\n{text}");
    }
    assert!(!text.contains(switchboard_e2e::AUTH_TOKEN), "a secret was printed:\n{text}");

    // A daemon does not start over it either, and says the same.
    let output = shop.command(&["run", "--config", config.to_str().unwrap()]);
    assert_ne!(output.status.code(), Some(0));
    assert!(said(&output).contains("texxt"), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_accepts_a_good_configuration() {
    let shop = Shop::with("http://127.0.0.1:1").open();
    let config = shop.config();
    let output = shop.command(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packs_tests_run_without_a_daemon_and_fail_when_a_rule_is_wrong() {
    let shop = Shop::with("http://127.0.0.1:1").open();
    let test = |priority: &str| {
        format!(
            "tests:\n  - name: A refund is answered\n    at: 2026-11-23T10:00:00+01:00\n    \
             message: {{ kind: sms, from: \"+15551230001\", text: refund A-1 }}\n    \
             expect: {{ queue: everyone, priority: {priority}, tags: [refund], replies: [refund] }}\n"
        )
    };
    let pack = shop.pack();
    std::fs::write(pack.join("refund_test.yaml"), test("normal")).unwrap();
    let good = shop.command(&["rules", "test", pack.to_str().unwrap()]);
    assert_eq!(good.status.code(), Some(0), "{}", said(&good));
    std::fs::write(pack.join("refund_test.yaml"), test("high")).unwrap();
    let bad = shop.command(&["rules", "test", pack.to_str().unwrap()]);
    assert_eq!(bad.status.code(), Some(1), "{}", said(&bad));
    assert!(said(&bad).contains("A refund is answered"), "{}", said(&bad));
}

async fn tables_show_a_running_daemon_and_json_is_for_machines(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let mut daemon = Daemon::start(&shop).await;
    shop.sms(ANN, "hello", &sid("1")).deliver(&shop.hook("support-sms")).await.unwrap();
    shop.api().conversation(&format!("phone:{ANN}"), "to wait", |c| c["state"] == "queued").await;
    for (command, part) in
        [("conversations", "queued"), ("queues", "everyone"), ("agents", "ann"), ("channels", "support-sms")]
    {
        let table = shop.command(&[command]);
        assert_eq!(table.status.code(), Some(0), "{command}: {}", said(&table));
        assert!(said(&table).contains(part), "{command} does not show {part}:\n{}", said(&table));
        let json = shop.command(&[command, "--json"]);
        let parsed: Value =
            serde_json::from_slice(&json.stdout).unwrap_or_else(|e| panic!("{command} --json: {e}: {}", said(&json)));
        assert!(parsed.to_string().contains(part), "{command} --json: {parsed}");
    }
    for command in ["dead-letters", "quarantine"] {
        assert_eq!(shop.command(&[command]).status.code(), Some(0));
    }
    let explained = shop.command(&["rules", "explain", "--last"]);
    assert_eq!(explained.status.code(), Some(0), "{}", said(&explained));
    assert!(said(&explained).contains("Refunds"), "{}", said(&explained));

    daemon.kill();
    assert_eq!(shop.command(&["conversations"]).status.code(), Some(3), "no daemon to ask");
    assert_eq!(shop.command(&["conversatons"]).status.code(), Some(2), "no such command");
}

async fn a_new_pack_comes_into_force_on_sighup_and_a_bad_one_does_not(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let daemon = Daemon::start(&shop).await;
    let api = shop.api();
    let before = api.get("/rules").await.ok();

    shop.write_pack(&Pack { yaml: Pack::default().yaml.replace("is on its way", "was paid") });
    daemon.signal("HUP");
    eventually("the new pack to be in force", || async {
        let rules = api.get("/rules").await;
        if rules.status == 200 && rules.body["hash"] != before["hash"] { Ok(()) } else { Err(rules.text) }
    })
    .await;
    shop.sms(ANN, "refund A-1", &sid("1")).deliver(&shop.hook("support-sms")).await.unwrap();
    assert_eq!(provider.sent_to(ANN, 1).await[0].body, "Your refund A-1 was paid.");

    shop.write_pack(&Pack { yaml: "rules: 7\n".into() });
    let refused = api.post("/rules/reload", serde_json::json!({})).await;
    assert_eq!(refused.status, 422, "{refused}");
    assert!(refused.text.contains("pack.yaml:1:"), "{refused}");
    shop.sms(ANN, "refund A-2", &sid("2")).deliver(&shop.hook("support-sms")).await.unwrap();
    assert_eq!(provider.sent_to(ANN, 2).await[1].body, "Your refund A-2 was paid.");
}

async fn a_graceful_stop_finishes_the_call_in_flight(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let mut daemon = Daemon::start(&shop).await;
    provider.next(Step::Delay(Duration::from_millis(1500), Box::new(Step::Accept)));
    shop.sms(ANN, "refund A-1", &sid("1")).deliver(&shop.hook("support-sms")).await.unwrap();
    provider.asked(1).await;
    let status = daemon.terminate(Duration::from_secs(40)).await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(provider.sent().len(), 1);
    daemon.restart().await;
    shop.api()
        .conversation(&format!("phone:{ANN}"), "to know that its reply was accepted", |c| {
            message(c, "Your refund A-1 is on its way.").is_some_and(|m| m["status"] == "accepted")
        })
        .await;
    assert_eq!(provider.sent().len(), 1, "the call was not made again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_over_the_same_data_is_refused() {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).open();
    let _daemon = Daemon::start(&shop).await;
    let config = shop.config();
    let second = shop.command(&["run", "--config", config.to_str().unwrap()]);
    assert_ne!(second.status.code(), Some(0));
    assert!(said(&second).contains("data"), "{}", said(&second));
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_schemas_are_what_the_program_prints() {
    let shop = Shop::with("http://127.0.0.1:1").open();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    for (name, path) in [
        ("envelope", "adapters/envelope/schema/envelope.schema.json"),
        ("asyncapi", "adapters/envelope/schema/asyncapi.json"),
        ("rules", "routing-rules/schema/pack.schema.json"),
        ("config", "schema/config.schema.json"),
    ] {
        let printed = shop.command(&["schema", name]);
        assert_eq!(printed.status.code(), Some(0), "{name}: {}", said(&printed));
        let committed = std::fs::read_to_string(format!("{root}/{path}")).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(committed.as_bytes() == printed.stdout, "run `switchboard schema {name} > {path}`");
    }
    let openapi = shop.command(&["schema", "openapi"]);
    let parsed: Value = serde_json::from_slice(&openapi.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&openapi)));
    assert!(parsed["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{parsed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tests_of_the_shipped_packs_pass() {
    let shop = Shop::with("http://127.0.0.1:1").open();
    let packs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../routing-rules/packs");
    let mut tested = 0;
    for pack in std::fs::read_dir(packs).expect("the shipped packs") {
        let path = pack.expect("a folder of packs").path();
        let output = shop.command(&["rules", "test", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}: {}", path.display(), said(&output));
        tested += 1;
    }
    assert!(tested > 0, "no pack in {packs}");
}

async fn a_waiting_conversation_says_why_and_another_pack_is_tried_on_what_was_decided(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let _daemon = Daemon::start(&shop).await;
    for (n, (from, text)) in
        [(ANN, "hello"), ("+15551230002", "refund A-1"), ("+15551230003", "good morning")].iter().enumerate()
    {
        shop.sms(from, text, &sid(&n.to_string())).deliver(&shop.hook("support-sms")).await.unwrap();
        shop.api().conversation(&format!("phone:{from}"), "to wait", |c| c["state"] == "queued").await;
    }
    let last = shop.api().conversation("phone:+15551230003", "to wait", |c| c["waiting"]["position"] == 3).await;
    assert_eq!(last["waiting"]["agents"][0]["reason"], "is offline", "{last}");
    let explained = shop.command(&["rules", "explain", last["id"].as_str().unwrap()]);
    let told = said(&explained);
    assert!(told.contains("third of 3.") && told.contains("the only agent is offline."), "{told}");

    let tried = shop.pack().with_file_name("tried");
    std::fs::create_dir(&tried).unwrap();
    let yaml = Pack::default().yaml.replace("tag: refund, reply: refund", "tag: money, priority: high, reply: refund");
    std::fs::write(tried.join("pack.yaml"), yaml).unwrap();
    let tried = tried.to_str().unwrap();
    let replayed = shop.command(&["rules", "replay", "--pack", tried, "--since", "1h", "--max-changes", "1"]);
    let told = said(&replayed);
    assert_eq!(replayed.status.code(), Some(0), "{told}");
    assert!(told.starts_with("3 messages since") && told.contains("would handle 1 otherwise"), "{told}");
    for part in ["priority high instead of none", "tags money instead of refund", "“refund A-1”"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let none = shop.command(&["rules", "replay", "--pack", tried, "--max-changes", "0"]);
    assert_eq!(none.status.code(), Some(1), "{}", said(&none));
    let same = shop.command(&["rules", "replay", "--pack", shop.pack().to_str().unwrap(), "--max-changes", "0"]);
    assert_eq!(same.status.code(), Some(0), "{}", said(&same));
}
