//! The data directory: who may read it, what a start finds in it, and what becomes of it when the disk fails.
#![forbid(unsafe_code)]

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use switchboard_e2e::{Backend, Daemon, Provider, Shop, eventually, http, message, on_every_backend, sid};
use tempfile::TempDir;

const ANN: &str = "+15551230001";
const SOON: Duration = Duration::from_secs(40);

on_every_backend! {
    the_data_is_for_its_owner_alone,
    a_lost_log_is_refused_and_from_an_older_copy_the_daemon_goes_on_with_an_alarm,
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o777
}

/// Whatever the umask is, and also in a directory that was made for it with wider permissions.
async fn the_data_is_for_its_owner_alone(backend: Backend) {
    let provider = Provider::start().await;
    for made_before in [false, true] {
        let shop = Shop::with(&provider.base_url()).log(&backend).open();
        let data = shop.folder().join("data");
        if made_before {
            std::fs::create_dir(&data).unwrap();
            std::fs::set_permissions(&data, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let mut daemon = Daemon::start_after(&shop, "umask 0").await;
        shop.sms(ANN, "hello", &sid(&format!("private {made_before}")))
            .deliver(&shop.hook("support-sms"))
            .await
            .unwrap();
        let api = shop.api();
        api.conversation(&format!("phone:{ANN}"), "the message", |c| message(c, "hello").is_some()).await;
        // A stored body and a snapshot, which the end makes, are files too.
        let long = shop.sms("+15551230002", &"long ".repeat(60_000), &sid(&format!("long {made_before}")));
        assert_eq!(long.deliver(&shop.hook("support-sms")).await.unwrap().status, 200);
        assert_eq!(daemon.terminate(SOON).await.code(), Some(0));

        if !made_before {
            assert_eq!(mode(&data), 0o700, "the data directory");
        }
        let files = files_below(&data);
        let log = matches!(backend, Backend::Embedded).then_some("log.db");
        for name in ["history.db", "admin.token"].into_iter().chain(log) {
            assert!(files.iter().any(|f| f.ends_with(name)), "no {name} among {files:?}");
        }
        let open: Vec<String> =
            files.iter().filter(|f| mode(f) & 0o077 != 0).map(|f| format!("{} {:o}", f.display(), mode(f))).collect();
        assert_eq!(open, Vec::<String>::new(), "others may read these");
    }
}

/// The log, which is lost and comes back as it was before.
struct Copies {
    backend: Backend,
    data: PathBuf,
}

impl Copies {
    fn files(&self) -> Vec<PathBuf> {
        let all = if self.data.is_dir() { files_below(&self.data) } else { vec![] };
        let is_log = |f: &PathBuf| f.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log.db"));
        all.into_iter().filter(is_log).collect()
    }

    /// As it is now; no daemon runs.
    fn copy(&mut self) -> TempDir {
        if let Backend::Nats(broker) = &mut self.backend {
            return broker.copy();
        }
        let copy = TempDir::new().unwrap();
        for file in self.files() {
            std::fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
        }
        copy
    }

    fn put_back(&mut self, copy: &TempDir) {
        if let Backend::Nats(broker) = &mut self.backend {
            return broker.restore(copy);
        }
        self.files().iter().for_each(|file| std::fs::remove_file(file).unwrap());
        for file in files_below(copy.path()) {
            std::fs::copy(&file, self.data.join(file.file_name().unwrap())).unwrap();
        }
    }
}

/// A log that was lost forgot everything: going on would answer it all again. One that is an older copy is gone on with, for what
/// it forgot is not answered by itself.
async fn a_lost_log_is_refused_and_from_an_older_copy_the_daemon_goes_on_with_an_alarm(backend: Backend) {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).log(&backend).open();
    let mut log = Copies { backend, data: shop.folder().join("data") };
    let nothing = log.copy();
    let mut daemon = Daemon::start(&shop).await;
    shop.sms(ANN, "refund A-1", &sid("first")).deliver(&shop.hook("support-sms")).await.unwrap();
    provider.sent_to(ANN, 1).await;
    assert_eq!(daemon.terminate(SOON).await.code(), Some(0));
    let older = log.copy();
    daemon.restart().await;
    shop.sms(ANN, "refund A-2", &sid("second")).deliver(&shop.hook("support-sms")).await.unwrap();
    provider.sent_to(ANN, 2).await;
    assert_eq!(daemon.terminate(SOON).await.code(), Some(0));

    log.put_back(&nothing);
    daemon.spawn_again();
    assert_eq!(daemon.ended(SOON).await.code(), Some(1), "a lost log");
    let said = daemon.said();
    let why = said.lines().rfind(|line| line.starts_with("switchboard: ")).unwrap_or_default();
    assert!(why.contains("the log is empty") && why.contains("Put the log that belongs here back"), "{said}");

    log.put_back(&older);
    daemon.restart().await;
    assert!(daemon.said().contains("it is rebased"), "no alarm");
    assert_eq!(daemon.metric("switchboard_rebases_total").await, 1.0);
    let ready = http().get(format!("{}/readyz", shop.admin())).send().await.unwrap().text().await.unwrap();
    assert!(ready.contains("the log was rebased at"), "{ready}");
    // What it forgot is not answered again, what comes is answered, and what it holds is there.
    shop.sms(ANN, "refund A-3", &sid("third")).deliver(&shop.hook("support-sms")).await.unwrap();
    let sent: Vec<String> = provider.sent_to(ANN, 3).await.into_iter().map(|s| s.body).collect();
    assert_eq!(sent, ["A-1", "A-2", "A-3"].map(|order| format!("Your refund {order} is on its way.")));
    let held = |c: &Value| message(c, "refund A-1").is_some() && message(c, "refund A-3").is_some();
    let c = shop.api().conversation(&format!("phone:{ANN}"), "with what the copy holds", held).await;
    assert!(message(&c, "refund A-2").is_none(), "the copy does not hold it");
    assert_eq!(daemon.terminate(SOON).await.code(), Some(0));
    daemon.restart().await;
    assert_eq!(daemon.metric("switchboard_rebases_total").await, 0.0, "once is enough");
    assert_eq!(provider.sent().len(), 3);
}

fn customer(n: usize) -> String {
    format!("+1555{n:07}")
}

fn senders(conversations: &[Value]) -> Vec<String> {
    let identities = conversations.iter().filter_map(|c| c["contact"]["identities"].as_array());
    identities.flatten().filter_map(|i| i.as_str()?.strip_prefix("phone:").map(str::to_owned)).collect()
}

/// Writes past a size fail in the kernel, as they do on a disk that breaks: the COMMIT that meets it may have happened or not,
/// so that nobody can say, and the daemon ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_ends_the_daemon_and_loses_nothing_that_was_accepted() {
    let provider = Provider::start().await;
    let shop = Shop::with(&provider.base_url()).open();
    // Without the trap the signal that comes with it would end the process before the error is seen.
    let mut daemon = Daemon::start_after(&shop, "trap '' XFSZ; ulimit -f 4096").await;
    let hook = shop.hook("support-sms");
    let mut accepted = vec![];
    let refused = loop {
        let n = accepted.len();
        assert!(n < 20_000, "the disk never failed");
        let sms = shop.sms(&customer(n), &"word ".repeat(300), &sid(&format!("disk {n}")));
        match sms.deliver(&hook).await {
            Ok(delivered) if delivered.status == 200 => accepted.push(customer(n)),
            other => break other,
        }
    };
    assert!(refused.as_ref().map_or(true, |d| d.status == 503), "{refused:?}");
    assert_eq!(daemon.ended(SOON).await.code(), Some(1), "it cannot know what is stored");
    assert!(daemon.said().contains("COMMIT failed"), "it does not say why it ended");

    daemon.restart().await;
    let api = shop.api();
    eventually("every accepted message", || async {
        let known = senders(&api.all("/conversations", "conversations").await);
        let lost: Vec<&String> = accepted.iter().filter(|a| !known.contains(a)).collect();
        if lost.is_empty() { Ok(()) } else { Err(format!("{} of {} are not there", lost.len(), accepted.len())) }
    })
    .await;
    shop.sms(ANN, "refund A-1", &sid("after the disk was mended")).deliver(&hook).await.unwrap();
    assert_eq!(provider.sent_to(ANN, 1).await[0].body, "Your refund A-1 is on its way.");
}
