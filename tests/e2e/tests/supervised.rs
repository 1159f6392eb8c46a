//! Under a supervisor: what systemd is told, and the secrets that it hands over.
#![forbid(unsafe_code)]

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use switchboard_e2e::{Daemon, Shop, eventually, http};

const TOKEN: &str = "a-token-that-systemd-keeps-for-us";

/// What a daemon says to its supervisor, as it comes.
#[derive(Clone)]
struct Words(Arc<Mutex<Vec<String>>>);

impl Words {
    fn at(path: &Path) -> Words {
        let socket = UnixDatagram::bind(path).expect("a socket for the supervisor");
        let words = Words(Arc::default());
        let heard = words.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length) = socket.recv(&mut bytes) {
                heard.0.lock().unwrap().push(String::from_utf8_lossy(&bytes[..length]).into_owned());
            }
        });
        words
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn until(&self, what: &str, holds: impl Fn(&[String]) -> bool) {
        eventually(what, || async {
            let words = self.all();
            if holds(&words) { Ok(()) } else { Err(format!("{words:?}")) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_that_it_is_ready_that_it_lives_and_that_it_stops() {
    let run = tempfile::tempdir().unwrap();
    let path = run.path().join("notify");
    let words = Words::at(&path);
    // A credential, as `LoadCredential=ops-token:…` leaves it.
    std::fs::write(run.path().join("ops-token"), format!("{TOKEN}\n")).unwrap();
    let shop = Shop::with("http://127.0.0.1:9").open();
    shop.reconfigure(|toml| toml.replace("{ file = \"ops.token\" }", "{ credential = \"ops-token\" }"));
    let shop = shop
        .with_env("NOTIFY_SOCKET", path.to_str().unwrap())
        .with_env("WATCHDOG_USEC", "400000")
        .with_env("CREDENTIALS_DIRECTORY", run.path().to_str().unwrap());
    let mut daemon = Daemon::start(&shop).await;

    words.until("a sign of life, again and again", |w| w.iter().filter(|w| *w == "WATCHDOG=1").count() >= 3).await;
    let first = words.all().remove(0);
    assert!(first.starts_with("READY=1\nSTATUS=workspace main is served on 127.0.0.1:"), "{first}");
    let agents = http().get(format!("{}/api/v1/agents", shop.admin())).bearer_auth(TOKEN);
    assert_eq!(agents.send().await.unwrap().status().as_u16(), 200, "the token is the credential");

    let status = daemon.terminate(Duration::from_secs(20)).await;
    assert!(status.success(), "{status}");
    words.until("its last words", |w| w.iter().any(|w| w.starts_with("STOPPING=1\n"))).await;
    let mut said = words.all();
    said.retain(|w| w != "WATCHDOG=1");
    assert_eq!(said.len(), 2, "ready once, stopping once: {said:?}");
}
