//! The disk of the data directory is full, with everything on it: the log, its files, and history. It needs root, to mount one.
//!
//! `CRASH_SEED` repeats a run as far as the machine's timing allows.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use switchboard_e2e::traffic::{Traffic, check, goes_through, number, settled, texts, transcripts};
use switchboard_e2e::{Daemon, Dice, Provider, Shop, eventually_within, http, sid};

const LONG: Duration = Duration::from_secs(60);

/// A file system in memory of 64 MiB. Dropping it unmounts it.
struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    fn mount(at: &Path) -> SmallDisk {
        std::fs::create_dir_all(at).expect("a folder");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs"]).arg(at).output();
        let mounted = mounted.unwrap_or_else(|e| panic!("mount: {e}: install Debian's mount"));
        let said = String::from_utf8_lossy(&mounted.stderr).into_owned();
        assert!(mounted.status.success(), "{said}: this test mounts a small file system, as root, with CAP_SYS_ADMIN");
        SmallDisk { at: at.to_owned() }
    }

    /// Takes all room but for so many bytes.
    fn fill(&self, leave: usize) {
        let mut ballast = File::create(self.ballast()).expect("a file");
        let block = vec![0; 64 << 10];
        let mut written = 0_u64;
        while let Ok(more @ 1..) = ballast.write(&block) {
            written += more as u64;
        }
        ballast.set_len(written.saturating_sub(leave as u64)).expect("a shorter file");
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast");
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The daemon may still hold files there; the kernel takes it away when it ends.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// The status of `/readyz`, and what it says.
async fn readyz(shop: &Shop) -> (u16, String) {
    let answer = http().get(format!("{}/readyz", shop.admin())).send().await.expect("the daemon answers");
    (answer.status().as_u16(), answer.text().await.unwrap_or_default())
}

/// Nothing is taken any more, be it a text, a file, or what an operator does; and the daemon goes on.
async fn is_full(shop: &Shop, round: usize) {
    let hook = shop.hook("support-sms");
    let (short, long) = (format!("no room {round}"), format!("{round} {}", "long ".repeat(40_000)));
    for text in [&short, &long] {
        let refused = || async {
            let from = format!("+1555710{:04}", round * 10 + usize::from(text.len() > 100));
            let answer = shop.sms(&from, text, &sid(text)).deliver(&hook).await.map_err(|e| e.to_string())?;
            if answer.status == 503 { Ok(answer) } else { Err(format!("{answer:?}")) }
        };
        let answer = eventually_within(LONG, "a text to be refused", refused).await;
        assert!(answer.retry_after.is_some(), "a refusal says when to come again");
    }
    let told = || async {
        let (status, said) = readyz(shop).await;
        if status == 503 && said.contains("no room") { Ok(()) } else { Err(format!("{status} {said}")) }
    };
    eventually_within(LONG, "/readyz to say that there is no room", told).await;
    let body = serde_json::json!({ "presence": "available" });
    let asked = shop.api().call(http::Method::PUT, "/agents/ann/presence", Some(&body), None).await;
    let asked = asked.expect("an answer");
    assert!(asked.status == 503 && asked.text.contains("nothing was done"), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_with_503_half_does_nothing_and_goes_on_once_there_is_room() {
    let seed = number("CRASH_SEED", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64);
    println!("CRASH_SEED={seed}");
    let mut dice = Dice::new(seed);
    let provider = Provider::start().await;
    provider.takes(Duration::from_millis(10));
    let shop = Arc::new(Shop::with(&provider.base_url()).sms("send_timeout = \"5s\"").open());
    let disk = SmallDisk::mount(&shop.folder().join("data"));
    let mut daemon = Daemon::start(&shop).await;
    let pid = daemon.pid();
    let traffic = Traffic::start(std::slice::from_ref(&shop), 40, &dice);
    for round in 0..3 {
        tokio::time::sleep(dice.millis(800)).await;
        // The page at which it ends is another one each time.
        disk.fill(dice.below(1 << 20) as usize);
        is_full(&shop, round).await;
        // What is under way meets the end in every step.
        tokio::time::sleep(Duration::from_secs(2)).await;
        disk.free();
        goes_through(&shop, &format!("+1555720{round:04}"), &format!("hello with room {round}")).await;
        let ready = || async {
            let (status, said) = readyz(&shop).await;
            if status == 200 { Ok(()) } else { Err(said) }
        };
        eventually_within(LONG, "a daemon that is ready again", ready).await;
    }
    assert_eq!(daemon.pid(), pid);
    let accepted = traffic.end().await;
    let quiet = settled(&shop).await;
    check(&quiet, &accepted, &provider);
    // It ended for none of this, and the next start finds the same; also one over a disk that is full.
    assert!(daemon.terminate(LONG).await.success());
    assert!(!daemon.said().contains("panicked"), "{}", daemon.said());
    daemon.restart().await;
    assert_eq!(
        texts(&transcripts(&shop.api()).await),
        texts(&quiet.conversations),
        "a restart changed the transcripts"
    );
}
