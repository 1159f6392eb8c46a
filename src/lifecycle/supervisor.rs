//! What a supervisor wants to know, in the words of systemd (sd_notify(3)): that the daemon is ready, that it lives, that it
//! stops. Without `NOTIFY_SOCKET` nobody asked, and nothing is said.

use crate::config::Environment;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// More than the drain itself, for what comes after it.
const AFTER_DRAIN: Duration = Duration::from_secs(10);

/// Speaks to the supervisor, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    socket: Option<Arc<(UnixDatagram, SocketAddr)>>,
    /// After this long without a word from us it takes us for dead.
    patience: Option<Duration>,
}

impl Supervisor {
    /// The supervisor that the environment of this process names.
    #[must_use]
    pub fn of_process() -> Supervisor {
        Supervisor::of(&Environment::of_process(), std::process::id())
    }

    fn of(env: &Environment, pid: u32) -> Supervisor {
        let get = |name: &str| env.get(name).ok().flatten().filter(|value| !value.is_empty());
        let Some(named) = get("NOTIFY_SOCKET") else { return Supervisor::default() };
        let socket = match connect(named) {
            Ok(socket) => Arc::new(socket),
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be used: the supervisor is told nothing");
                return Supervisor::default();
            }
        };
        // The watchdog may be meant for another process, from which we have the environment.
        let ours = get("WATCHDOG_PID").is_none_or(|meant| meant == pid.to_string());
        let patience = get("WATCHDOG_USEC").filter(|_| ours).and_then(|usec| usec.parse().ok());
        let patience = patience.filter(|usec| *usec > 0).map(Duration::from_micros);
        Supervisor { socket: Some(socket), patience }
    }

    /// What the daemon promises at its start holds; `status` is shown to who asks the supervisor.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={}", status.replace('\n', " ")));
    }

    /// The start waits for something, for at least so long from now.
    pub fn waiting(&self, why: &str, more: Duration) {
        self.say(&format!("STATUS={}\nEXTEND_TIMEOUT_USEC={}", why.replace('\n', " "), more.as_micros()));
    }

    /// The drain begins, and may take this long.
    pub fn stopping(&self, drain: Duration) {
        let limit = drain.saturating_add(AFTER_DRAIN).as_micros();
        self.say(&format!("STOPPING=1\nSTATUS=finishing what is in hand\nEXTEND_TIMEOUT_USEC={limit}"));
    }

    /// Says that we live, twice within the supervisor's patience, until it is aborted. It says so from the runtime that does
    /// all work: when that does not turn any more, it falls silent.
    #[must_use]
    pub fn watch(&self) -> Option<JoinHandle<()>> {
        let every = self.patience? / 2;
        let supervisor = self.clone();
        Some(tokio::spawn(async move {
            loop {
                supervisor.say("WATCHDOG=1");
                tokio::time::sleep(every).await;
            }
        }))
    }

    fn say(&self, words: &str) {
        let Some((socket, address)) = self.socket.as_deref() else { return };
        if let Err(error) = socket.send_to_addr(words.as_bytes(), address) {
            tracing::warn!(%error, "the supervisor did not hear us");
        }
    }
}

/// A path, or `@` and a name that is in no file system.
fn connect(named: &str) -> std::io::Result<(UnixDatagram, SocketAddr)> {
    let address = match named.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None if named.starts_with('/') => SocketAddr::from_pathname(named)?,
        None => return Err(std::io::Error::other("it is neither a path nor an abstract name")),
    };
    let socket = UnixDatagram::unbound()?;
    // A supervisor that does not read must not hold us up.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let length = socket.recv(&mut bytes).expect("a word within ten seconds");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    fn supervisor(vars: &[(&str, &str)]) -> Supervisor {
        Supervisor::of(&vars.iter().copied().collect(), 7)
    }

    #[test]
    fn it_speaks_to_a_path_and_to_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("switchboard-test-{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (named, socket) in [(path.to_str().unwrap().to_owned(), by_path), (format!("@{name}"), by_name)] {
            let s = supervisor(&[("NOTIFY_SOCKET", &named)]);
            s.ready("two\nchannels");
            assert_eq!(heard(&socket), "READY=1\nSTATUS=two channels");
            s.waiting("for a\nrouter", Duration::from_secs(30));
            assert_eq!(heard(&socket), "STATUS=for a router\nEXTEND_TIMEOUT_USEC=30000000");
            s.stopping(Duration::from_secs(30));
            assert_eq!(heard(&socket), "STOPPING=1\nSTATUS=finishing what is in hand\nEXTEND_TIMEOUT_USEC=40000000");
        }
    }

    #[tokio::test]
    async fn the_watchdog_is_fed_twice_within_its_patience_when_it_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let named = ("NOTIFY_SOCKET", path.to_str().unwrap());
        for (pid, usec, patience) in [
            (None, "20000", Some(20_000)),
            (Some("7"), "20000", Some(20_000)),
            (Some("8"), "20000", None),
            (None, "0", None),
            (None, "soon", None),
        ] {
            let pid = pid.map(|pid| ("WATCHDOG_PID", pid));
            let vars: Vec<_> = [named, ("WATCHDOG_USEC", usec)].into_iter().chain(pid).collect();
            assert_eq!(supervisor(&vars).patience, patience.map(Duration::from_micros), "{vars:?}");
        }
        let watch = supervisor(&[named, ("WATCHDOG_USEC", "20000")]).watch().expect("a watchdog");
        let words = tokio::task::spawn_blocking(move || [heard(&socket), heard(&socket), heard(&socket)]);
        assert_eq!(words.await.unwrap(), ["WATCHDOG=1"; 3]);
        watch.abort();
        assert!(supervisor(&[named]).watch().is_none());
    }

    #[test]
    fn without_a_supervisor_nothing_is_said() {
        for vars in
            [&[][..], &[("NOTIFY_SOCKET", "")], &[("NOTIFY_SOCKET", "vsock:2:1")], &[("NOTIFY_SOCKET", "relative")]]
        {
            let s = supervisor(vars);
            assert!(s.socket.is_none(), "{vars:?}");
            s.ready("nobody hears it");
        }
        // One that went away is no reason to stop.
        supervisor(&[("NOTIFY_SOCKET", "/nowhere/at/all")]).ready("nobody hears it");
    }
}
