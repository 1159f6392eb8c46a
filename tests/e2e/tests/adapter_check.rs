//! `switchboard adapter check` as an integrator runs it: what it prints, and its exit codes.
#![forbid(unsafe_code)]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use switchboard_e2e::binary;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn tool(variable: &str, path: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let found = std::env::var_os(variable).map_or_else(|| target.join(path), PathBuf::from);
    assert!(found.exists(), "no {}: run `tests/run nats`, which installs it, or set {variable}", found.display());
    found
}

fn check(plan: &Path, more: &[&str]) -> Output {
    Command::new(binary())
        .args(["adapter", "check"])
        .arg(plan)
        .args(more)
        .env("SWITCHBOARD_NATS_SERVER", tool("SWITCHBOARD_NATS_SERVER", "tools/nats/bin/nats-server"))
        .env("PYTHONPATH", tool("SWITCHBOARD_NATS_PY", "tools/nats-py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("the program runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn example() -> PathBuf {
    root().join("adapters/examples/courier/courier.toml")
}

#[test]
fn the_example_holds_and_a_mistake_in_it_is_told() {
    let good = check(&example(), &["--only", "message,duplicates,send,lost-answer,crash"]);
    assert_eq!(good.status.code(), Some(0), "{}", said(&good));
    assert!(said(&good).ends_with("5 checks hold\n"), "{}", said(&good));

    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("courier")).expect("made");
    for path in ["switchboard.py", "courier/courier.py", "courier/courier.toml"] {
        let text = std::fs::read_to_string(root().join("adapters/examples").join(path)).expect("the example");
        let wrong = text
            .replace("\"unknown\", \"detail\": f\"Courier's answer", "\"not_sent\", \"detail\": f\"Courier's answer");
        std::fs::write(folder.path().join(path), wrong).expect("written");
    }
    let plan = folder.path().join("courier/courier.toml");
    let wrong = check(&plan, &["--only", "send,lost-answer"]);
    assert_eq!(wrong.status.code(), Some(1), "{}", said(&wrong));
    let text = said(&wrong);
    assert!(
        text.contains("WRONG lost-answer") && text.contains("call it `unknown`, for it may have been sent"),
        "{text}"
    );
    assert!(text.contains("ok    send") && text.ends_with("1 check wrong, 1 hold\n"), "{text}");

    let json = check(&plan, &["--only", "lost-answer", "--json"]);
    let told: Value = serde_json::from_slice(&json.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&json)));
    assert_eq!(
        (json.status.code(), &told["wrong"], &told["checks"][0]["name"]),
        (Some(1), &1.into(), &"lost-answer".into())
    );
}

#[test]
fn what_cannot_be_checked_has_an_exit_code_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = folder.path().join("plan.toml");
    std::fs::write(&plan, "[adapter]\ncommand = []\n").expect("written");
    let unreadable = check(&plan, &[]);
    assert_eq!(unreadable.status.code(), Some(2), "{}", said(&unreadable));
    assert!(
        said(&unreadable).contains("plan.toml") && said(&unreadable).contains("`adapter.command` is empty"),
        "{}",
        said(&unreadable)
    );
    let nobody = check(&example(), &["--server", "nats://127.0.0.1:9"]);
    assert_eq!(nobody.status.code(), Some(3), "{}", said(&nobody));
    assert!(said(&nobody).contains("nats://127.0.0.1:9 does not answer"), "{}", said(&nobody));
}
