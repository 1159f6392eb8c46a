//! A mail that cannot be read must cost that mail only, also where reading it takes for ever or takes the process with it.
//!
//! A thread that does not end cannot be stopped, and a stack that overflows ends the process; a server that is not told that a
//! mail was taken sends it again. So a mail on which a reading did not end is known by its content in the log, and is put into
//! the quarantine unread the next time but one. That is written beforehand only while there is a reason: for the first mails
//! after a start, among which must be the one that ended the process before, and after a reading that took too long.

use super::Trouble;
use crate::log::{Log, LogError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use switchboard_adapter_sdk::Opened;
use switchboard_adapter_sdk::signature::sha256_hex;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long the reading of a mail, or of a batch, may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Readings of one mail that may fail to end.
const TRIES: u32 = 2;
/// Readings that do not end and are waited for by nobody. Each keeps a processor busy.
const OVERDUE: usize = 8;
/// Readings out of the quarantine at once.
const RETRIES: usize = 2;
/// Mails of which is known that a reading did not end.
const KNOWN: usize = 64;

/// What makes events of a mail.
pub(in crate::inbound) type Work = Arc<dyn Fn() -> Opened + Send + Sync>;

/// A mail that is to be read, and what it is known by.
#[derive(Clone)]
pub(in crate::inbound) struct Job {
    pub key: bytes::Bytes,
    pub work: Work,
}

/// How a reading ended.
pub(in crate::inbound) enum Read {
    Opened(Opened),
    /// It is not to be read; with the reason.
    Unread(&'static str),
}

/// It was not read now, and may be tried again.
#[derive(Debug, thiserror::Error)]
pub(in crate::inbound) enum NotNow {
    #[error("the reading of a mail did not end within {} s", LIMIT.as_secs())]
    TooLong,
    #[error("{OVERDUE} readings of mails do not end: restart the process, and look for them in the quarantine")]
    Overdue,
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<NotNow> for Trouble {
    fn from(not: NotNow) -> Trouble {
        match not {
            NotNow::Log(error) => Trouble::Log(error),
            other => Trouble::Connection(other.to_string()),
        }
    }
}

/// While a reading is noted before it begins.
#[derive(Clone, Copy)]
pub(in crate::inbound) enum Careful {
    /// The first mails after a start: whoever asks for what is next finds among them what it was reading when it ended.
    Mails(usize),
    /// For so long after a start: a server tries again within this time.
    For(Duration),
}

/// Readings that did not end, by the mail's hash; whose turn was longest ago first, which is forgotten first.
#[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize)]
#[serde(transparent)]
struct Tries(VecDeque<(String, u32)>);

impl Tries {
    fn of(&self, key: &str) -> u32 {
        self.0.iter().find(|(known, _)| known == key).map_or(0, |(_, tries)| *tries)
    }

    fn set(&mut self, key: String, tries: u32) {
        self.remove(&key);
        self.0.push_back((key, tries));
        while self.0.len() > KNOWN {
            self.0.pop_front();
        }
    }

    fn remove(&mut self, key: &str) {
        self.0.retain(|(known, _)| known != key);
    }
}

struct State {
    mails: usize,
    until: Instant,
    /// `None` before they were asked for.
    tries: Option<Tries>,
}

pub(in crate::inbound) struct Guard {
    log: Arc<dyn Log>,
    name: String,
    limit: Duration,
    state: Mutex<State>,
    overdue: Arc<AtomicUsize>,
}

impl Guard {
    /// `name` is where the log keeps what is known.
    pub fn new(log: Arc<dyn Log>, name: String, careful: Careful) -> Guard {
        let (mails, lasts) = match careful {
            Careful::Mails(mails) => (mails, Duration::ZERO),
            Careful::For(lasts) => (0, lasts),
        };
        let state = Mutex::new(State { mails, until: Instant::now() + lasts, tries: None });
        Guard { log, name, limit: LIMIT, state, overdue: Arc::default() }
    }

    #[cfg(test)]
    pub fn within(self, limit: Duration) -> Guard {
        Guard { limit, ..self }
    }

    /// Reads one mail.
    pub async fn read(&self, job: &Job) -> Result<Read, NotNow> {
        let Ok(state) = tokio::time::timeout(self.limit, self.state.lock()).await else { return Err(NotNow::TooLong) };
        let mut state = self.known(state).await?;
        let careful = state.mails > 0 || Instant::now() < state.until;
        if careful || state.tries.as_ref().is_some_and(|tries| !tries.0.is_empty()) {
            // One at a time, so that nobody is blamed for another.
            return self.noted(&mut state, job, careful).await;
        }
        drop(state);
        match self.bounded(vec![job.clone()]).await? {
            Ended::Read(mut read) => Ok(read.pop().map_or(Read::Unread(FAILED), Read::Opened)),
            Ended::Panicked => Ok(Read::Unread(FAILED)),
            Ended::TooLong => {
                let mut state = self.state.lock().await;
                let key = digest(job).await;
                self.put(&mut state, |tries| tries.set(key, 1)).await?;
                Err(NotNow::TooLong)
            }
        }
    }

    /// Reads mails together; one by one where there is a reason.
    pub async fn read_all(&self, jobs: &[Job]) -> Result<Vec<Read>, NotNow> {
        let mut state = self.known(self.state.lock().await).await?;
        let is_plain = state.mails == 0 && state.tries.as_ref().is_none_or(|tries| tries.0.is_empty());
        if is_plain {
            if let Ended::Read(read) = self.bounded(jobs.to_vec()).await? {
                return Ok(read.into_iter().map(Read::Opened).collect());
            }
            // One of them, and nobody knows which.
            state.mails = jobs.len();
        }
        drop(state);
        let mut all = vec![];
        for job in jobs {
            all.push(self.read(job).await?);
        }
        Ok(all)
    }

    /// Reads one mail of which the log knows beforehand, where `careful` says so, that it is read.
    async fn noted(&self, state: &mut State, job: &Job, careful: bool) -> Result<Read, NotNow> {
        let key = digest(job).await;
        let before = state.tries.as_ref().map_or(0, |tries| tries.of(&key));
        if before >= TRIES {
            return Ok(Read::Unread(NEVER_ENDS));
        }
        let noted = careful || before > 0;
        if noted {
            self.put(state, |tries| tries.set(key.clone(), before + 1)).await?;
        }
        match self.bounded(vec![job.clone()]).await? {
            Ended::TooLong => {
                if !noted {
                    self.put(state, |tries| tries.set(key, before + 1)).await?;
                }
                if before + 1 >= TRIES { Ok(Read::Unread(NEVER_ENDS)) } else { Err(NotNow::TooLong) }
            }
            ended => {
                state.mails = state.mails.saturating_sub(1);
                if noted {
                    self.put(state, |tries| tries.remove(&key)).await?;
                }
                match ended {
                    Ended::Read(mut read) => Ok(read.pop().map_or(Read::Unread(FAILED), Read::Opened)),
                    _ => Ok(Read::Unread(FAILED)),
                }
            }
        }
    }

    /// What earlier processes found out.
    async fn known<'a>(
        &self,
        mut state: tokio::sync::MutexGuard<'a, State>,
    ) -> Result<tokio::sync::MutexGuard<'a, State>, NotNow> {
        if state.tries.is_none() {
            let text = self.log.get_cursor(&self.name).await?;
            state.tries = Some(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default());
        }
        Ok(state)
    }

    async fn put(&self, state: &mut State, change: impl FnOnce(&mut Tries)) -> Result<(), NotNow> {
        let mut tries = state.tries.clone().unwrap_or_default();
        change(&mut tries);
        let text = serde_json::to_string(&tries).unwrap_or_default();
        self.log.put_cursor(&self.name, &text).await?;
        state.tries = Some(tries);
        Ok(())
    }

    async fn bounded(&self, jobs: Vec<Job>) -> Result<Ended, NotNow> {
        if self.overdue.load(Ordering::Relaxed) >= OVERDUE {
            return Err(NotNow::Overdue);
        }
        let mut reading: JoinHandle<Vec<Opened>> =
            tokio::task::spawn_blocking(move || jobs.iter().map(|job| (job.work)()).collect());
        match tokio::time::timeout(self.limit, &mut reading).await {
            Ok(Ok(read)) => Ok(Ended::Read(read)),
            Ok(Err(_)) => Ok(Ended::Panicked),
            Err(_) => {
                let overdue = self.overdue.clone();
                overdue.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let _ = reading.await;
                    overdue.fetch_sub(1, Ordering::Relaxed);
                });
                Ok(Ended::TooLong)
            }
        }
    }
}

/// Reads what somebody asks to have read once more out of the quarantine. It may be there because a reading did not end, so this
/// one has its own thread and a limit; and few are under way, because one that does not end cannot be stopped.
pub struct Again {
    limit: Duration,
    free: Arc<Semaphore>,
}

impl Default for Again {
    fn default() -> Again {
        Again { limit: LIMIT, free: Arc::new(Semaphore::new(RETRIES)) }
    }
}

impl Again {
    #[cfg(test)]
    pub fn within(self, limit: Duration) -> Again {
        Again { limit, ..self }
    }

    /// # Errors
    /// A sentence, when the reading did not end in time, failed, or had no room.
    pub async fn read<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        let Ok(free) = self.free.clone().try_acquire_owned() else {
            return Err(format!("{RETRIES} readings are under way or do not end: try it later, or after a restart"));
        };
        let reading = tokio::task::spawn_blocking(move || {
            let opened = work();
            drop(free);
            opened
        });
        match tokio::time::timeout(self.limit, reading).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(_)) => Err(FAILED.into()),
            Err(_) => {
                Err(format!("reading it did not end within {} s: retry it with a later version", self.limit.as_secs()))
            }
        }
    }
}

enum Ended {
    Read(Vec<Opened>),
    Panicked,
    TooLong,
}

const FAILED: &str = "the reader of mails failed on it";
const NEVER_ENDS: &str = "reading it did not end, twice: it is kept unread; retry it with a later version";

/// A long mail takes a while to hash.
async fn digest(job: &Job) -> String {
    let key = job.key.clone();
    let hashed = tokio::task::spawn_blocking(move || sha256_hex(&key)).await;
    hashed.map(|hash| hash.chars().take(40).collect()).unwrap_or_default()
}
