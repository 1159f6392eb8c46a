//! The adapter as a process.

use crate::Stopped;
use crate::plan::Plan;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use tokio::process::{Child, Command};

/// How much of what it wrote is shown.
const TAIL: usize = 1500;

/// What replaces the places in its command.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub server: String,
    pub workspace: String,
    pub prefix: &'static str,
    pub channel: String,
    pub provider: String,
}

/// A running adapter. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    pub listen: SocketAddr,
    log: PathBuf,
}

/// A port that nobody has. Another process could take it before the adapter does, which would then not start.
fn free_port() -> Result<SocketAddr, Stopped> {
    let no = |e: std::io::Error| Stopped::Machine(format!("no free port on the loopback: {e}"));
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).map_err(no)
}

impl Running {
    pub(crate) fn start(plan: &Plan, places: &Places, log: PathBuf) -> Result<Running, Stopped> {
        let listen = free_port()?;
        let fill = |text: &String| {
            text.replace("{server}", &places.server)
                .replace("{workspace}", &places.workspace)
                .replace("{prefix}", places.prefix)
                .replace("{channel}", &places.channel)
                .replace("{provider}", &places.provider)
                .replace("{listen}", &listen.to_string())
                .replace("{port}", &listen.port().to_string())
        };
        let no_log = |e: std::io::Error| Stopped::Machine(format!("{}: {e}", log.display()));
        let file = File::options().create(true).append(true).open(&log).map_err(no_log)?;
        let again = file.try_clone().map_err(no_log)?;
        let mut words = plan.adapter.command.iter().map(fill);
        let program = words.next().unwrap_or_default();
        let child = Command::new(&program)
            .args(words)
            .envs(plan.adapter.env.iter().map(|(name, value)| (name, fill(value))))
            .current_dir(&plan.folder)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(again)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| Stopped::Adapter(format!("`{program}`: {e}; write in `adapter.command` what starts it")))?;
        Ok(Running { child, listen, log })
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("it ended with {status}; the end of what it wrote:\n{}", self.said()))
    }

    /// SIGKILL: nothing of its own runs any more.
    pub(crate) async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    /// The end of what it wrote.
    pub(crate) fn said(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(text.get(text.len().saturating_sub(TAIL)..).unwrap_or_default()).into_owned()
    }
}
