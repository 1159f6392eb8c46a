//! A real nats-server of a test's own: on a free port of the loopback, with a store of its own, to be killed and paused.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const READY: Duration = Duration::from_secs(30);

/// A running broker with JetStream. Dropping it kills it and removes its store.
#[derive(Debug)]
pub struct NatsServer {
    dir: TempDir,
    port: u16,
    child: Option<Child>,
    name: String,
    extra: String,
}

/// Where the step `nats` of `tests/run` puts the server.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SWITCHBOARD_NATS_SERVER") {
        return PathBuf::from(path);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("tools/nats/bin/nats-server")
}

impl NatsServer {
    /// Starts a broker.
    ///
    /// # Panics
    /// When there is no nats-server, or it does not start.
    #[must_use]
    pub fn start() -> NatsServer {
        NatsServer::with("")
    }

    /// Starts a broker with more lines in its configuration.
    ///
    /// # Panics
    /// As [`NatsServer::start`].
    #[must_use]
    pub fn with(extra: &str) -> NatsServer {
        NatsServer::named("test", extra)
    }

    fn named(name: &str, extra: &str) -> NatsServer {
        let dir = TempDir::new().expect("a directory for the broker");
        let mut server = NatsServer { dir, port: 0, child: None, name: name.to_owned(), extra: extra.to_owned() };
        server.restart();
        server
    }

    /// What it says of itself over HTTP, where that was configured.
    fn monitoring(&self) -> Option<String> {
        let said = fs::read_to_string(self.dir.path().join(format!("nats-server_{}.ports", self.pid()?))).ok()?;
        let ports: serde_json::Value = serde_json::from_str(&said).ok()?;
        Some(ports.get("monitoring")?.get(0)?.as_str()?.to_owned())
    }

    /// Whether it serves, and has everything that the others of its cluster have.
    fn is_current(&self) -> bool {
        let Some(url) = self.monitoring() else { return false };
        let Some(address) = url.strip_prefix("http://") else { return false };
        let ask = || -> std::io::Result<String> {
            use std::io::{Read as _, Write as _};
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.lines().next().is_some_and(|line| line.contains(" 200 ")))
    }

    /// `nats://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts it, or starts it again with the same port and store.
    ///
    /// # Panics
    /// As [`NatsServer::start`].
    pub fn restart(&mut self) {
        self.kill();
        let binary = binary();
        assert!(
            binary.is_file(),
            "no nats-server at {}: run `tests/run nats`, which installs it, or set SWITCHBOARD_NATS_SERVER",
            binary.display()
        );
        // The port may be lost to another process between two starts of the first run; the kernel chooses it then.
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        let root = self.dir.path();
        let config = format!(
            "host: 127.0.0.1\nport: {port}\nserver_name: {2}\nports_file_dir: \"{0}\"\n\
             jetstream {{ store_dir: \"{0}/store\", max_file_store: 200GB, max_memory_store: 1GB }}\n{1}\n",
            root.display(),
            self.extra,
            self.name
        );
        fs::write(root.join("server.conf"), config).expect("the broker's configuration");
        let log =
            fs::File::options().create(true).append(true).open(root.join("server.log")).expect("the broker's log");
        let child = Command::new(&binary)
            .args(["-c", "server.conf"])
            .current_dir(root)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the broker's log"))
            .stderr(log)
            .spawn()
            .expect("nats-server starts");
        let pid = child.id();
        self.child = Some(child);
        self.wait(pid);
    }

    /// Waits until it says where it listens, and takes connections there.
    fn wait(&mut self, pid: u32) {
        let deadline = Instant::now() + READY;
        let ports = self.dir.path().join(format!("nats-server_{pid}.ports"));
        loop {
            let said = fs::read_to_string(&ports).unwrap_or_default();
            let port = serde_json::from_str::<serde_json::Value>(&said).ok().and_then(|ports| {
                let url = ports.get("nats")?.get(0)?.as_str()?.to_owned();
                url.rsplit(':').next()?.parse::<u16>().ok()
            });
            if let Some(port) = port {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
                    self.port = port;
                    return;
                }
            }
            let gone = self.child.as_mut().is_none_or(|child| child.try_wait().ok().flatten().is_some());
            assert!(!gone && Instant::now() < deadline, "the broker does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it, keeps a copy of its store, and starts it again.
    ///
    /// # Panics
    /// As [`NatsServer::start`], or when the store cannot be copied.
    #[must_use]
    pub fn copy(&mut self) -> TempDir {
        self.kill();
        let copy = TempDir::new().expect("a directory for the copy");
        replace(&self.dir.path().join("store"), &copy.path().join("store"));
        self.restart();
        copy
    }

    /// Kills it, and starts it over a copy of its store that was made before.
    ///
    /// # Panics
    /// As [`NatsServer::copy`].
    pub fn restore(&mut self, copy: &TempDir) {
        self.kill();
        replace(&copy.path().join("store"), &self.dir.path().join("store"));
        self.restart();
    }

    /// The same of one stream only.
    ///
    /// # Panics
    /// As [`NatsServer::copy`].
    pub fn restore_stream(&mut self, copy: &TempDir, stream: &str) {
        self.kill();
        let path = format!("store/jetstream/$G/streams/{stream}");
        replace(&copy.path().join(&path), &self.dir.path().join(&path));
        self.restart();
    }

    /// What it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGSTOP: it keeps its connections and answers nothing.
    pub fn pause(&self) {
        self.signal("-STOP");
        // The signal is on its way when `kill` returns: a thread may still answer.
        let threads = format!("/proc/{}/task", self.pid().expect("the broker runs"));
        while !std::fs::read_dir(&threads).expect("the broker runs").flatten().all(|thread| is_stopped(&thread.path()))
        {
            std::thread::yield_now();
        }
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.pid().expect("the broker runs");
        let sent = Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill");
        assert!(sent.success(), "kill {signal} {pid}");
    }
}

/// Three brokers that are one, on the loopback: what two of them have is kept.
#[derive(Debug)]
pub struct NatsCluster {
    nodes: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts them, and waits until they serve together.
    ///
    /// # Panics
    /// When they do not.
    #[must_use]
    pub fn start() -> NatsCluster {
        // All must know the others' ports before any of them runs.
        let held: Vec<TcpListener> =
            (0..3).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")).collect();
        let ports: Vec<u16> = held.iter().map(|l| l.local_addr().expect("an address").port()).collect();
        drop(held);
        let routes = ports.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect::<Vec<_>>().join(", ");
        let node = |(i, port): (usize, &u16)| {
            let cluster = format!(
                "http: \"127.0.0.1:-1\"\ncluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [ {routes} ] }}"
            );
            NatsServer::named(&format!("node-{i}"), &cluster)
        };
        let cluster = NatsCluster { nodes: ports.iter().enumerate().map(node).collect() };
        cluster.wait_until_current();
        cluster
    }

    /// The addresses of all of them.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(NatsServer::url).collect()
    }

    /// One of them, to be killed and started again.
    ///
    /// # Panics
    /// When there is no such one.
    pub fn node(&mut self, i: usize) -> &mut NatsServer {
        self.nodes.get_mut(i).expect("a node of the cluster")
    }

    /// Waits until each of them has everything.
    ///
    /// # Panics
    /// When that takes longer than a minute.
    pub fn wait_until_current(&self) {
        let deadline = Instant::now() + 2 * READY;
        while !self.nodes.iter().all(NatsServer::is_current) {
            assert!(Instant::now() < deadline, "the cluster is not current:\n{}", self.nodes[0].log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Puts a copy of a folder in the place of another.
fn replace(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp");
    assert!(copied.success(), "cp -a {} {}", from.display(), to.display());
}

/// Whether the kernel has stopped a thread; one that is gone answers nothing either.
fn is_stopped(thread: &std::path::Path) -> bool {
    let Ok(stat) = std::fs::read_to_string(thread.join("stat")) else { return true };
    // The state follows the name, which is in parentheses and may hold anything.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 't', 'Z', 'X']))
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}
