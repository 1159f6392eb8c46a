//! Saving a workspace while its daemon runs, losing everything, and restoring it: to the log that it was of, and to the other one.
#![forbid(unsafe_code)]

use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use switchboard_e2e::traffic::{
    Traffic, check_older, decided, goes_through, has_an_owner_and_a_clock, number, settled, settled_within,
};
use switchboard_e2e::{Backend, Daemon, Dice, Provider, Shop, eventually_within, http, message, sid};

const BEN: &str = "+1555400001";
const LONG: Duration = Duration::from_secs(60);

fn customer(n: usize) -> String {
    format!("+1555410{n:04}")
}

fn dice() -> Dice {
    let seed = number("CRASH_SEED", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64);
    println!("CRASH_SEED={seed}");
    Dice::new(seed)
}

/// Runs a command beside what the test does meanwhile.
async fn command(shop: &Arc<Shop>, arguments: &[&str]) -> Output {
    let (shop, arguments) = (shop.clone(), arguments.iter().map(|&a| a.to_owned()).collect::<Vec<_>>());
    let run = move || shop.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.expect("the command runs")
}

async fn done(shop: &Arc<Shop>, arguments: &[&str]) -> String {
    let done = command(shop, arguments).await;
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(0), "{out}{err}");
    out.into_owned()
}

async fn refused(shop: &Arc<Shop>, arguments: &[&str], says: &str) {
    let done = command(shop, arguments).await;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains(says), "`{says}` is not in {said}");
}

/// The configuration's log is another one from now on.
fn log_is(shop: &Shop, keys: &str) {
    shop.reconfigure(|text| {
        let (before, rest) = text.split_once("[log]").unwrap();
        let (_, after) = rest.split_once("[http]").unwrap();
        format!("{before}[log]\n{keys}\n[http]{after}")
    });
}

fn keys(backend: &Backend, path: &str) -> String {
    match backend.url() {
        None => format!("backend = \"embedded\"\npath = \"{path}\""),
        Some(url) => format!("backend = \"nats\"\nservers = [\"{url}\"]\npath = \"{path}\""),
    }
}

fn has_mode(path: &Path, mode: u32) {
    let is = std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(is, mode, "{}", path.display());
}

async fn readyz(shop: &Shop) -> String {
    let Ok(answer) = http().get(format!("{}/readyz", shop.admin())).send().await else { return "silent".into() };
    answer.text().await.unwrap_or_default()
}

/// Everything is answered, and known to be.
async fn say(shop: &Shop, customers: std::ops::Range<usize>) {
    for n in customers.clone() {
        goes_through(shop, &customer(n), &format!("refund A-{n}")).await;
    }
    for n in customers {
        let answer = format!("Your refund A-{n} is on its way.");
        let answered = |c: &Value| message(c, &answer).is_some_and(|m| m["status"] == "accepted");
        shop.api().conversation(&format!("phone:{}", customer(n)), "to be answered", answered).await;
    }
}

/// A text that is kept as a file, for its length; answers the file's path once it is there.
async fn tell(shop: &Shop, from: &str, story: &str) -> String {
    let sms = shop.sms(from, story, &sid(&format!("{from} {}", story.len())));
    assert_eq!(sms.deliver(&shop.hook("support-sms")).await.unwrap().status, 200);
    file_of(shop, from).await
}

async fn file_of(shop: &Shop, from: &str) -> String {
    let path = |c: &Value| {
        let messages = c["messages"].as_array().cloned().unwrap_or_default();
        messages.iter().find_map(|m| m["attachments"][0]["url"].as_str().map(str::to_owned))
    };
    let told = shop.api().conversation(&format!("phone:{from}"), "to have a file", |c| path(c).is_some()).await;
    path(&told).expect("a file").trim_start_matches("/api/v1").to_owned()
}

/// What is in quarantine, as it came.
async fn held(shop: &Shop) -> String {
    let api = shop.api();
    let rows = eventually_within(LONG, "the record in quarantine", || async {
        let rows = api.all("/quarantine", "quarantine").await;
        if rows.len() == 1 { Ok(rows) } else { Err(format!("{rows:?}")) }
    })
    .await;
    rows[0]["raw"]["text"].as_str().unwrap_or_default().to_owned()
}

/// Customers write before, while and after the workspace is saved; then the daemon is killed, and all that it had is gone.
async fn saved_and_restored(from: Backend, to: Backend) {
    let mut dice = dice();
    let provider = Provider::start().await;
    provider.takes(Duration::from_millis(200));
    let shop = Arc::new(Shop::with(&provider.base_url()).sms("send_timeout = \"5s\"").log(&from).open());
    let mut daemon = Daemon::start(&shop).await;
    let story = "a long story ".repeat(8_000);
    say(&shop, 0..5).await;
    tell(&shop, BEN, &story).await;
    let unread = shop.sms(BEN, "nobody wrote this", &sid("nobody")).without("From");
    assert_eq!(unread.deliver(&shop.hook("support-sms")).await.unwrap().status, 200);
    assert_eq!(held(&shop).await, unread.body());
    let traffic = Traffic::once(std::slice::from_ref(&shop), 20, &dice);
    tokio::time::sleep(Duration::from_secs(1) + dice.millis(1_000)).await;
    // Taken, and decided or not when the backup begins.
    for n in 20..40 {
        let sms = shop.sms(&customer(n), &format!("refund A-{n}"), &sid(&format!("refund A-{n}")));
        assert_eq!(sms.deliver(&shop.hook("support-sms")).await.unwrap().status, 200);
    }
    let said = done(&shop, &["backup", "--config", "switchboard.toml", "saved"]).await;
    println!("{said}");
    assert!(said.contains("saved ") && said.contains("it holds keys"), "{said}");
    let saved = shop.folder().join("saved");
    has_mode(&saved, 0o700);
    has_mode(&saved.join("log.db"), 0o600);
    has_mode(&saved.join("manifest.json"), 0o600);
    assert!(!shop.folder().join("saved.unfinished").exists());
    let whole = done(&shop, &["backup", "--verify", "saved"]).await;
    assert!(whole.contains("saved is whole"), "{whole}");
    refused(&shop, &["backup", "--config", "switchboard.toml", "saved"], "nothing is overwritten").await;
    refused(&shop, &["restore", "--config", "switchboard.toml", "saved"], "is used by another switchboard").await;
    // The daemon went on, and nobody was refused for it.
    say(&shop, 40..45).await;
    tokio::time::sleep(dice.millis(2_000)).await;
    daemon.kill();
    std::fs::remove_dir_all(shop.folder().join("data")).unwrap();
    drop(from);

    log_is(&shop, &keys(&to, "new"));
    let said = done(&shop, &["restore", "--config", "switchboard.toml", "saved"]).await;
    println!("{said}");
    assert!(said.contains("lost is what came after"), "{said}");
    let occupied = if to.url().is_none() { "there is a workspace in" } else { "has been written to" };
    refused(&shop, &["restore", "--config", "switchboard.toml", "saved"], occupied).await;
    daemon.restart().await;
    eventually_within(LONG, "the rebase", || async {
        let said = readyz(&shop).await;
        if said.contains("the log was rebased at") { Ok(()) } else { Err(said) }
    })
    .await;
    let alarm = daemon.said().lines().filter(|line| line.contains("it is rebased")).collect::<Vec<_>>().join("\n");
    assert!(alarm.contains("was restored here") && !alarm.contains("IN does not hold"), "{alarm}");
    let accepted = traffic.end().await;
    say(&shop, 50..55).await;
    let quiet = settled_within(&shop, 5 * LONG).await;
    check_older(&quiet, &accepted, &provider, false);
    // What was taken before the backup is there once.
    let texts = |n: usize| -> Vec<String> {
        let theirs = quiet.conversations.iter().filter(|(row, _)| row.to_string().contains(&customer(n)));
        let said = theirs.flat_map(|(_, messages)| messages).filter(|m| m["direction"] == "in");
        said.filter_map(|m| m["text"].as_str().map(str::to_owned)).collect()
    };
    for n in (0..5).chain(20..40).chain(50..55) {
        assert_eq!(texts(n), [format!("refund A-{n}")], "customer {n}");
    }
    for n in 0..55 {
        let sent = provider.sent().iter().filter(|s| s.to == customer(n)).count();
        assert!(sent <= 1, "customer {n} was told {sent} times");
        let told = (0..5).contains(&n) || (50..55).contains(&n);
        assert!(!told || sent == 1, "customer {n} was not told");
    }
    quiet.conversations.iter().for_each(|(row, _)| has_an_owner_and_a_clock(row));
    let file = file_of(&shop, BEN).await;
    assert!(shop.api().get(&file).await.text == story, "files were saved too");
    assert_eq!(held(&shop).await, unread.body());
    // What the provider delivers again of before is known.
    let sms = shop.sms(&customer(0), "refund A-0", &sid("refund A-0"));
    assert_eq!(sms.deliver(&shop.hook("support-sms")).await.unwrap().status, 200);
    say(&shop, 55..56).await;
    assert_eq!(provider.sent().iter().filter(|s| s.to == customer(0)).count(), 1);
    assert!(daemon.terminate(LONG).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_log_is_saved_under_traffic_and_restored_where_all_was_lost() {
    saved_and_restored(Backend::Embedded, Backend::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_on_a_broker_is_saved_under_traffic_and_restored_to_another_broker() {
    saved_and_restored(Backend::nats(), Backend::nats()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_an_embedded_log_is_restored_to_a_broker() {
    saved_and_restored(Backend::Embedded, Backend::nats()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_broker_is_restored_to_an_embedded_log() {
    saved_and_restored(Backend::nats(), Backend::Embedded).await;
}

/// Runs a command, killed later and later in its course, until it ends by itself; how often it was killed. `done` is what it says where
/// the one before had done everything but to end.
async fn killed_until_it_ends(
    shop: &Shop,
    arguments: &[&str],
    done: &str,
    step: Duration,
    mut between: impl FnMut(),
) -> u32 {
    for n in 1..400 {
        let ended = shop.killed_after(arguments, step * n).await;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        match ended.status.code() {
            None => between(),
            Some(0) => return n - 1,
            Some(1) if n > 1 && said.contains(done) => return n - 1,
            Some(code) => panic!("{code}: {said}"),
        }
    }
    panic!("it never ends");
}

/// Killed at any moment, a backup is none, and a restore leaves what no daemon starts on; the next try says so, and is whole.
async fn killed(to: Backend) {
    let provider = Provider::start().await;
    let shop = Arc::new(Shop::with(&provider.base_url()).open());
    let mut daemon = Daemon::start(&shop).await;
    say(&shop, 0..30).await;
    for n in 0..10 {
        tell(&shop, &customer(n), &format!("{n} {}", "a long story ".repeat(6_000))).await;
    }
    let _ = settled(&shop).await;
    let saved = shop.folder().join("saved");
    let backup = ["backup", "--config", "switchboard.toml", "saved"];
    // What has the name of a backup is one.
    let verified = || {
        let is_there = saved.exists();
        let verified = shop.command(&["backup", "--verify", "saved"]).status.code();
        assert_eq!(verified, Some(if is_there { 0 } else { 1 }), "there: {is_there}");
    };
    let overwrites = "nothing is overwritten";
    let killed = killed_until_it_ends(&shop, &backup, overwrites, Duration::from_millis(5), verified).await;
    println!("the backup was killed {killed} times");
    done(&shop, &["backup", "--verify", "saved"]).await;
    daemon.kill();
    std::fs::remove_dir_all(shop.folder().join("data")).unwrap();

    log_is(&shop, &keys(&to, "new"));
    let restore = ["restore", "--config", "switchboard.toml", "saved"];
    let (done_already, step) = match to.url() {
        None => ("there is a workspace in", 5),
        Some(_) => ("has been written to", 40),
    };
    let step = Duration::from_millis(step);
    // No daemon starts on what a killed restore left, and it says why.
    let mut parts = 0;
    let part = shop.folder().join("new/restoring");
    let killed = killed_until_it_ends(&shop, &restore, done_already, step, || {
        if part.exists() {
            let run = shop.command(&["run", "--config", "switchboard.toml"]);
            let said = String::from_utf8_lossy(&run.stderr).into_owned();
            assert!(run.status.code() == Some(1) && said.contains("run `switchboard restore` again"), "{said}");
            parts += 1;
        }
    })
    .await;
    println!("the restore was killed {killed} times, {parts} of them where a part was left");
    assert!(killed >= 1 && parts >= 1, "too quick to be killed in the middle");
    assert!(!part.exists());
    daemon.restart().await;
    for n in 0..30 {
        decided(&shop, &customer(n), &format!("refund A-{n}")).await;
    }
    say(&shop, 30..32).await;
    assert_eq!(provider.sent().len(), 32, "nothing was sent twice");
    assert!(daemon.terminate(LONG).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_and_a_restore_that_are_killed_at_any_moment_are_none() {
    killed(Backend::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_to_a_broker_that_is_killed_at_any_moment_is_finished_by_the_next_one() {
    killed(Backend::nats()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_of_another_workspace_or_no_backup_is_not_restored() {
    let provider = Provider::start().await;
    let shop = Arc::new(Shop::with(&provider.base_url()).open());
    refused(&shop, &["backup", "--config", "switchboard.toml", "saved"], "there is nothing to save").await;
    let mut daemon = Daemon::start(&shop).await;
    say(&shop, 0..2).await;
    tell(&shop, BEN, &"a long story ".repeat(8_000)).await;
    assert!(daemon.terminate(LONG).await.success());
    // What an interrupted backup left, and what runs at the moment.
    std::fs::create_dir_all(shop.folder().join("saved.unfinished/backup/blobs")).unwrap();
    let said = done(&shop, &["backup", "--config", "switchboard.toml", "saved"]).await;
    assert!(said.contains("an earlier backup to this place was interrupted"), "{said}");

    let restore = ["restore", "--config", "switchboard.toml", "saved"];
    refused(&shop, &restore, "there is a workspace in").await;
    log_is(&shop, &keys(&Backend::Embedded, "new"));
    let new = shop.folder().join("new");
    let untouched = || assert!(!new.join("log.db").exists() && !new.join("restoring").exists());
    refused(&shop, &["restore", "--config", "switchboard.toml", "pack"], "is no backup").await;
    let saved = shop.folder().join("saved");
    let blob = {
        let scope = std::fs::read_dir(saved.join("blobs")).unwrap().next().unwrap().unwrap().path();
        std::fs::read_dir(scope).unwrap().next().unwrap().unwrap().path()
    };
    let bytes = std::fs::read(&blob).unwrap();
    std::fs::write(&blob, b"something else").unwrap();
    refused(&shop, &restore, "is not what was saved").await;
    refused(&shop, &["backup", "--verify", "saved"], "is not what was saved").await;
    std::fs::remove_file(&blob).unwrap();
    refused(&shop, &restore, "is missing").await;
    std::fs::write(&blob, bytes).unwrap();
    std::fs::write(saved.join("blobs/more"), b"").unwrap();
    refused(&shop, &restore, "does not belong to it").await;
    std::fs::remove_file(saved.join("blobs/more")).unwrap();
    untouched();
    shop.reconfigure(|text| text.replace("workspace = \"main\"", "workspace = \"other\""));
    refused(&shop, &restore, "this is a backup of workspace `main`").await;
    shop.reconfigure(|text| text.replace("workspace = \"other\"", "workspace = \"main\""));
    untouched();
    // What was in it is moved away, and it is a link itself, as where systemd gives the daemon a user of its own.
    std::fs::remove_dir_all(&new).unwrap();
    std::fs::create_dir(shop.folder().join("private")).unwrap();
    std::os::unix::fs::symlink("private", &new).unwrap();
    std::fs::write(new.join("log.db-wal"), "of before").unwrap();
    refused(&shop, &restore, "or a part of one").await;
    std::fs::remove_file(new.join("log.db-wal")).unwrap();
    done(&shop, &restore).await;
    assert!(new.is_symlink() && shop.folder().join("private/log.db").exists());
    daemon.restart().await;
    say(&shop, 2..3).await;
    assert_eq!(provider.sent().len(), 3);
}

/// Not even the first message has come.
#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_to_which_nobody_has_written_is_saved_and_restored_to_a_broker() {
    let (provider, broker) = (Provider::start().await, Backend::nats());
    let shop = Arc::new(Shop::with(&provider.base_url()).open());
    let mut daemon = Daemon::start(&shop).await;
    done(&shop, &["backup", "--config", "switchboard.toml", "saved"]).await;
    assert!(daemon.terminate(LONG).await.success());
    log_is(&shop, &keys(&broker, "new"));
    done(&shop, &["restore", "--config", "switchboard.toml", "saved"]).await;
    daemon.restart().await;
    say(&shop, 0..2).await;
    assert_eq!(provider.sent().len(), 2);
    assert!(readyz(&shop).await.contains("the log was rebased at"));
}
