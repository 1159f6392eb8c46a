//! A channel that is paused because its provider refused our credentials tries again by itself, once for each time that a file
//! of them changes. Whether it may is the core's to decide: who paused it by hand is not overruled.

use super::files::SPEAKER;
use super::ingest::Ingest;
use crate::clock;
use crate::log::LogError;
use std::path::{Path, PathBuf};
use std::time::Duration;
use switchboard_adapter_sdk::signature::sha256_hex;
use switchboard_envelope::{Action, Actor, Command, Inbound, Scope, event_id};
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// What changed so shortly before a channel came to be paused may not have been what was refused: the attempt may have begun before.
const BEFORE: Duration = Duration::from_secs(120);
/// The longest file: certificates of all who are believed.
const MOST: u64 = 1024 * 1024;

/// A channel whose credentials stand in files.
pub struct Mended {
    pub channel: String,
    pub files: Vec<PathBuf>,
    pub ingest: Ingest,
    /// Whether it is paused because something was refused, as far as this process knows.
    pub refused: Box<dyn Fn() -> bool + Send + Sync>,
}

/// Looks at the files until `stop`.
pub fn spawn(mended: Mended, mut stop: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        tokio::select! {
            () = mended.keep() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    })
}

impl Mended {
    async fn keep(&self) {
        let mut known = Known::default();
        loop {
            let now = Instant::now();
            if known.is_due(digest(&self.files).await, (self.refused)(), now) {
                tracing::info!(channel = %self.channel, "what the provider refused stands otherwise in its file: it is tried again");
                self.ask().await;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Asks the router for one attempt, however long the log does not answer.
    async fn ask(&self) {
        let at = clock::now();
        let command = Command {
            id: event_id(SPEAKER, "command", &format!("mended-{}-{}", self.channel, at.0)),
            channel: SPEAKER.to_owned(),
            at,
            actor: Actor { agent: None, token: None, scope: Scope::Admin },
            action: Action::ResumeChannel { target: self.channel.clone(), mended: true },
            body_hash: None,
            traceparent: None,
        };
        let inbound = Inbound::Command(Box::new(command));
        loop {
            match self.ingest.one(inbound.clone()).await {
                Ok(_) => return,
                Err(LogError::Refused(why)) => {
                    return tracing::error!(channel = %self.channel, why, "the log does not take that a channel tries again");
                }
                Err(error) => {
                    tracing::warn!(channel = %self.channel, %error, "a channel waits for the log to try again")
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What is known of the files of a channel.
#[derive(Default)]
struct Known {
    stood: Option<String>,
    /// When they changed last, unless that was tried.
    changed: Option<Instant>,
    /// Since when the channel is seen as paused.
    refused: Option<Instant>,
}

impl Known {
    /// Whether what stands there now is to be tried; each change is once.
    fn is_due(&mut self, stands: Option<String>, refused: bool, now: Instant) -> bool {
        if let Some(stands) = stands {
            let before = self.stood.replace(stands);
            if before.is_some() && before != self.stood {
                self.changed = Some(now);
            }
        }
        self.refused = refused.then(|| self.refused.unwrap_or(now));
        let Some(since) = self.refused else { return false };
        self.changed.take_if(|at| *at + BEFORE >= since).is_some()
    }
}

/// What stands in the files; nothing while one of them is not there, or is empty, as when somebody writes it.
async fn digest(files: &[PathBuf]) -> Option<String> {
    let mut all = vec![];
    for file in files {
        let bytes = read(file).await.ok().filter(|bytes| !bytes.trim_ascii().is_empty())?;
        all.extend(sha256_hex(&bytes).into_bytes());
    }
    Some(sha256_hex(&all))
}

async fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    // What is no file could keep us waiting without end.
    if !tokio::fs::metadata(file).await?.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = vec![];
    tokio::fs::File::open(file).await?.take(MOST).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Log;
    use crate::log::memory::{MemoryLog, MemoryOptions};
    use crate::metrics::Metrics;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Counts how often `Known` would try, look after look.
    fn tries(looks: &[(&str, bool)]) -> Vec<usize> {
        let (mut known, mut now) = (Known::default(), Instant::now());
        let mut tried = vec![];
        for (n, (stands, refused)) in looks.iter().enumerate() {
            now += LOOK;
            let stands = Some((*stands).to_owned()).filter(|s| !s.is_empty());
            if known.is_due(stands, *refused, now) {
                tried.push(n);
            }
        }
        tried
    }

    #[test]
    fn each_change_is_tried_once_and_only_while_something_is_refused() {
        assert_eq!(tries(&[("a", false), ("a", true), ("a", true), ("b", true), ("b", true), ("b", false)]), [3]);
        // The next one is wrong, too, and then it is right.
        assert_eq!(tries(&[("a", true), ("b", true), ("b", false), ("b", true), ("b", true), ("c", true)]), [1, 5]);
        // It was mended before the pause was seen.
        assert_eq!(tries(&[("a", false), ("b", false), ("b", true), ("b", true)]), [2]);
        // Somebody writes it, or what stood there stands there again.
        assert_eq!(tries(&[("a", true), ("", true), ("a", true), ("", true), ("b", true)]), [4]);
        // What was changed long ago is what was refused.
        let long = [vec![("a", false), ("b", false)], vec![("b", false); 30], vec![("b", true); 3]].concat();
        assert_eq!(tries(&long), [0; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_router_is_asked_for_one_attempt_when_a_file_is_another_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        std::fs::write(&file, "wrong\n").expect("written");
        let log = MemoryLog::new(&MemoryOptions::default());
        let refused = Arc::new(AtomicBool::new(false));
        let (stop, stopping) = watch::channel(false);
        let ingest = Ingest { log: Arc::new(log.clone()), metrics: Arc::new(Metrics::default()) };
        let seen = refused.clone();
        let mended = Mended {
            channel: "mail".into(),
            files: vec![file.clone()],
            ingest,
            refused: Box::new(move || seen.load(Ordering::SeqCst)),
        };
        let task = spawn(mended, stopping);
        let asked = async || log.read_in(0, 9).await.expect("read").len();
        tokio::time::sleep(LOOK * 100).await;
        refused.store(true, Ordering::SeqCst);
        tokio::time::sleep(LOOK * 100).await;
        assert_eq!(asked().await, 0, "it is as it was refused");
        std::fs::write(&file, "right\n").expect("written");
        tokio::time::sleep(LOOK * 100).await;
        let [record] = &log.read_in(0, 9).await.expect("read")[..] else { panic!("asked once") };
        let Inbound::Command(command) = Inbound::from_slice(&record.data).expect("an envelope") else {
            panic!("a command")
        };
        assert_eq!(command.action, Action::ResumeChannel { target: "mail".into(), mended: true });
        stop.send_replace(true);
        task.await.expect("it ends");
    }
}
