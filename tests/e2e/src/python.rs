//! Adapters in Python.

use crate::{Shop, eventually};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A Python program with nats-py; dropping it kills it.
pub struct Python {
    child: Child,
    log: PathBuf,
}

impl Python {
    /// Starts it with its output in a file of the shop.
    ///
    /// # Panics
    /// When Python or nats-py is not there.
    #[must_use]
    pub fn start(shop: &Shop, name: &str, arguments: &[&str]) -> Python {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
        let installed =
            std::env::var_os("SWITCHBOARD_NATS_PY").map_or_else(|| target.join("tools/nats-py"), PathBuf::from);
        assert!(
            installed.join("nats").is_dir(),
            "no nats-py at {}: run `tests/run nats`, which installs it, or set SWITCHBOARD_NATS_PY",
            installed.display()
        );
        let log = shop.folder().join(name);
        let file = std::fs::File::create(&log).expect("a log");
        let child = Command::new("python3")
            .args(arguments)
            .env("PYTHONPATH", installed)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("the log"))
            .stderr(file)
            .spawn()
            .expect("python3 runs");
        Python { child, log }
    }

    /// What it wrote.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// When nobody can say how it ended.
    pub fn ends(&mut self) -> ExitStatus {
        self.child.wait().expect("it ran")
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.log.display(), self.said());
        }
    }
}

/// Starts the example of an adapter, a channel `line`, with more arguments; the address at which people connect to it.
///
/// # Panics
/// When it does not start.
pub async fn line(shop: &Shop, server: &str, name: &str, more: &[&str]) -> (Python, String) {
    let script = root().join("adapters/examples/line/line.py");
    let script = script.to_str().expect("a path");
    let arguments = [&[script, "--server", server, "--listen", "127.0.0.1:0"], more].concat();
    let python = Python::start(shop, name, &arguments);
    let address = eventually("the adapter to listen", || async {
        let said = python.said();
        let line = said.lines().find_map(|line| line.split_once("listening on "));
        line.map(|(_, address)| address.trim().to_owned()).ok_or(said.clone())
    })
    .await;
    (python, address)
}
