use crate::{Shop, http, poll_until};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a start may take before it is a failure. The promise is a second, on a machine that does nothing else.
const START: Duration = Duration::from_secs(20);

/// The real program over a [`Shop`]. Dropping it kills the process; a failed test prints the end of what it said.
#[derive(Debug)]
pub struct Daemon<'a> {
    shop: &'a Shop,
    child: Child,
}

impl<'a> Daemon<'a> {
    /// Starts it and waits until it is ready.
    pub async fn start(shop: &'a Shop) -> Daemon<'a> {
        let mut daemon = Daemon { shop, child: spawn(shop, None) };
        daemon.ready().await;
        daemon
    }

    /// Starts it and returns at once: who starts it knows that it is not ready soon.
    #[must_use]
    pub fn spawn(shop: &'a Shop) -> Daemon<'a> {
        Daemon { shop, child: spawn(shop, None) }
    }

    /// Starts it from a shell that said something before, such as `umask 0` or `ulimit -f 4096`, and waits until it is ready.
    pub async fn start_after(shop: &'a Shop, shell: &str) -> Daemon<'a> {
        let mut daemon = Daemon { shop, child: spawn(shop, Some(shell)) };
        daemon.ready().await;
        daemon
    }

    /// Waits for `/readyz`.
    ///
    /// # Panics
    /// When the process ends before it is ready, or is not ready in time.
    pub async fn ready(&mut self) {
        let began = Instant::now();
        let url = format!("{}/readyz", self.shop.admin());
        while began.elapsed() < START {
            if let Some(status) = self.child.try_wait().expect("the process can be asked") {
                panic!("the daemon ended with {status} before it was ready");
            }
            if let Ok(answer) = http().get(&url).send().await
                && answer.status().is_success()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the daemon was not ready within {START:?}");
    }

    /// SIGKILL: nothing of it runs any more when this returns.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process can be waited for");
    }

    /// Starts it again over the same shop, after [`Daemon::kill`] or [`Daemon::terminate`].
    pub async fn restart(&mut self) {
        self.spawn_again();
        self.ready().await;
    }

    /// Starts it again and returns at once, for a kill before it is ready.
    pub fn spawn_again(&mut self) {
        self.child = spawn(self.shop, None);
    }

    /// Sends a signal by name, as `TERM` or `HUP`.
    pub fn signal(&self, name: &str) {
        let done =
            Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().expect("kill runs");
        assert!(done.success(), "kill -{name} failed");
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let child = &mut self.child;
        let ended = poll_until(within, || {
            let status = child.try_wait().expect("the process can be asked");
            async move { status.ok_or("still running") }
        });
        ended.await.unwrap_or_else(|last| panic!("the daemon is {last} after {within:?}"))
    }

    /// SIGTERM, and waits for the end.
    pub async fn terminate(&mut self, within: Duration) -> ExitStatus {
        self.signal("TERM");
        self.ended(within).await
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.shop.log()).unwrap_or_default()
    }

    /// `/metrics` as text.
    pub async fn metrics(&self) -> String {
        let url = format!("{}/metrics", self.shop.admin());
        let answer = http().get(url).bearer_auth(self.shop.token()).send().await.expect("the daemon answers /metrics");
        answer.text().await.expect("metrics are text")
    }

    /// The sum of a metric over its labels; 0 when it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let rows = self.metrics().await;
        let values = rows.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            let tail = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default().join("\n");
            eprintln!("--- the daemon's last lines ---\n{tail}\n---");
        }
    }
}

impl Shop {
    /// Runs a command of the program to its end, as an operator would in this shop's folder.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = program(self);
        command.args(arguments).stdin(Stdio::null());
        command.env("SWITCHBOARD_URL", self.admin()).env("SWITCHBOARD_TOKEN", self.token());
        command.output().expect("the program runs")
    }

    /// Starts a command that is killed unless it ends within `time`; without an exit code it was killed.
    pub async fn killed_after(&self, arguments: &[&str], time: Duration) -> Output {
        let mut command = program(self);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        tokio::time::sleep(time).await;
        let _ = child.kill();
        child.wait_with_output().expect("the process can be waited for")
    }
}

fn spawn(shop: &Shop, shell: Option<&str>) -> Child {
    let log: File = OpenOptions::new().create(true).append(true).open(shop.log()).expect("a file for the daemon's log");
    let errors = log.try_clone().expect("the log can be shared");
    let (arguments, environment) = shop.start();
    let mut command = match shell {
        // The program takes the shell's place and its process id.
        Some(said) => {
            let mut shell = in_shop(shop, "/bin/sh".as_ref());
            shell.arg("-c").arg(format!("{said}; exec \"$0\" \"$@\"")).arg(binary());
            shell
        }
        None => program(shop),
    };
    command.args(arguments).envs(environment).stdin(Stdio::null()).stdout(log).stderr(errors);
    command.spawn().expect("the program starts")
}

fn program(shop: &Shop) -> Command {
    in_shop(shop, &binary())
}

/// A program with an environment that holds nothing of the tester's.
fn in_shop(shop: &Shop, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(shop.folder()).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// `SWITCHBOARD_BIN`, else the newest build in this checkout.
///
/// # Panics
/// When there is none: a test without the program proves nothing.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SWITCHBOARD_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "SWITCHBOARD_BIN is {}, where there is no program", path.display());
        return path;
    }
    let target = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target"));
    let built = ["release", "debug"].map(|profile| target.join(profile).join("switchboard"));
    let newest =
        built.iter().filter(|path| path.is_file()).max_by_key(|path| path.metadata().and_then(|m| m.modified()).ok());
    newest
        .cloned()
        .unwrap_or_else(|| panic!("build the program first: cargo build -p switchboard, or set SWITCHBOARD_BIN"))
}
