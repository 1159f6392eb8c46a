//! A mailbox that is read by IMAP: connected, caught up, waited at, and connected again.
//!
//! What was taken is remembered as UIDVALIDITY and UID in a cursor of the log, which is written after the mails that it covers are
//! in IN and marked. So a process that dies at any moment finds again what it may not have finished, and the ids of mails, which
//! come of their content, make the second time change nothing. Flags are only for people and for mailboxes that are numbered anew,
//! of which the cursor also knows until when everything was taken.

mod catch_up;
mod cursor;
mod fetch;
mod guard;
#[cfg(test)]
mod guard_tests;
mod list;
mod session;
mod store;
mod strikes;
#[cfg(test)]
mod tests;
mod token;

use self::catch_up::CatchUp;
pub use self::guard::Again;
pub(super) use self::guard::{Careful, Guard, Job};
use self::session::Session;
pub(super) use self::store::{opened, store};
use self::strikes::Strikes;
use super::ingest::Ingest;
use crate::clock;
use crate::log::LogError;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use switchboard_email::connect::{self, Failure};
use switchboard_email::{Email, Imap, Login, Server};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A server ends an IDLE after half an hour, some without a word (RFC 2177): it is renewed before.
const IDLE_MOST: Duration = Duration::from_secs(28 * 60);
/// How often the duty to read a mailbox is asked for again.
const DUTY: Duration = Duration::from_secs(8);
/// Mails that are read with care after a start: at least as many as are read together.
const CAREFUL: usize = 100;
/// Waits after a connection that failed: from the first to the last, doubling.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5 * 60));
/// Waits after a login that was refused: many of them lock an account.
const REFUSED: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(30 * 60));

/// The last of them where it is a token that is refused: no account is locked for it, and somebody will have renewed it.
const RENEWED: Duration = Duration::from_secs(60);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The network, the server, or what it says.
    #[error("{0}")]
    Connection(String),
    /// Credentials or the mailbox: somebody has to act.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Trouble {
        match failure {
            Failure::Lost(why) => Trouble::Connection(why),
            Failure::Config(what) => Trouble::Refused(what),
        }
    }
}

/// What is wrong with each mailbox of this process; nothing is also something to know.
#[derive(Clone, Default)]
pub struct Mailboxes(Arc<Mutex<BTreeMap<String, Option<String>>>>);

impl Mailboxes {
    pub(crate) fn set(&self, channel: &str, trouble: Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(channel.to_owned(), trouble);
    }

    /// Another process reads it.
    fn forget(&self, channel: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(channel);
    }

    /// The mailboxes that this process reads, each with why it cannot.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Option<String>)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|(channel, trouble)| (channel.clone(), trouble.clone())).collect()
    }
}

/// One mailbox, and where what is read goes.
pub struct Mailbox {
    pub channel: String,
    pub email: Arc<Email>,
    pub imap: Imap,
    pub ingest: Ingest,
    /// The time between looks, also while the server says that it would tell.
    pub every: Option<Duration>,
    pub mailboxes: Mailboxes,
}

/// Reads the mailbox until `stop`.
pub fn spawn(mailbox: Mailbox, mut stop: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(async move {
        tokio::select! {
            () = mailbox.keep() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    })
}

impl Mailbox {
    async fn keep(&self) {
        let mut waits = Waits::of(&self.imap.server);
        let mut strikes = Strikes::default();
        let mut guard = self.guard();
        loop {
            match self.on_duty().await {
                Ok(true) => {}
                Ok(false) => {
                    self.mailboxes.forget(&self.channel);
                    // What another process learns meanwhile, or dies of, this one does not know.
                    guard = self.guard();
                    tokio::time::sleep(DUTY).await;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(channel = %self.channel, %error, "the mailbox waits for the log");
                    tokio::time::sleep(DUTY).await;
                    continue;
                }
            }
            let began = Instant::now();
            let stood = match &self.imap.server.account {
                Some((_, login)) => token::standing(login).await,
                None => None,
            };
            // Whoever lost the duty ends in the middle of what it does: that is what a crash does too.
            let ended = tokio::select! {
                ended = self.session(&guard, &mut strikes, &mut waits) => ended,
                () = self.until_off_duty() => continue,
            };
            let Err(trouble) = ended;
            let wait = waits.after(&trouble, began.elapsed());
            tracing::warn!(channel = %self.channel, error = %trouble, again_in = ?wait, "the mailbox cannot be read now");
            self.ingest.metrics.poll_failed(&self.channel);
            self.mailboxes.set(&self.channel, Some(trouble.to_string()));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.mended(&trouble, stood) => tracing::info!(channel = %self.channel, "the mailbox has another password"),
            }
        }
    }

    fn guard(&self) -> Guard {
        let name = format!("reading.imap.{}", self.channel);
        Guard::new(self.ingest.log.clone(), name, Careful::Mails(CAREFUL))
    }

    async fn on_duty(&self) -> Result<bool, LogError> {
        self.ingest.log.duty(&format!("imap.{}", self.channel)).await
    }

    async fn until_off_duty(&self) {
        loop {
            tokio::time::sleep(DUTY).await;
            // A log that does not answer takes no duty from anybody, and no mails either.
            if let Ok(false) = self.on_duty().await {
                tracing::info!(channel = %self.channel, "another process reads the mailbox now");
                return;
            }
        }
    }

    /// Ends when what was refused has changed.
    async fn mended(&self, trouble: &Trouble, stood: token::Standing) {
        match (&self.imap.server.account, trouble) {
            (Some((_, login)), Trouble::Refused(_)) => token::mended(login, stood).await,
            _ => std::future::pending().await,
        }
    }

    /// How long to wait for news of the server, at most.
    fn rest(&self, told: bool) -> Duration {
        let usual = if told { IDLE_MOST } else { switchboard_email::config::USUAL_POLL };
        self.every.unwrap_or(usual).min(IDLE_MOST)
    }

    /// One connection, for as long as it lasts.
    async fn session(
        &self,
        guard: &Guard,
        strikes: &mut Strikes,
        waits: &mut Waits,
    ) -> Result<std::convert::Infallible, Trouble> {
        let (stream, _) = connect::open(&self.imap.server).await?;
        let mut session = Session::open(stream, &self.imap.server, self.email.config().max_mail).await?;
        let selected = session.select(&self.imap.mailbox).await?;
        tracing::info!(channel = %self.channel, mails = selected.exists, "the mailbox is open");
        let mut reader = CatchUp::begin(self, guard, &mut session, strikes, &selected).await?;
        loop {
            reader.run(&mut session, strikes).await?;
            // What was asked for has been had: a later failure is a new one.
            waits.succeeded();
            self.mailboxes.set(&self.channel, None);
            if session.can_idle() {
                session.idle(self.rest(true)).await?;
            } else {
                tokio::time::sleep(self.rest(false)).await;
                session.noop().await?;
            }
        }
    }
}

/// How long to wait before the next connection.
#[derive(Default)]
struct Waits {
    failed: u32,
    by_token: bool,
}

impl Waits {
    fn of(server: &Server) -> Waits {
        let by_token = matches!(&server.account, Some((_, Login::TokenFile(_) | Login::TokenCommand(_))));
        Waits { by_token, ..Waits::default() }
    }

    fn succeeded(&mut self) {
        self.failed = 0;
    }

    fn after(&mut self, trouble: &Trouble, lasted: Duration) -> Duration {
        // A connection that held for a while shows that the server is there.
        if lasted > Duration::from_secs(60) {
            self.failed = 0;
        }
        let (first, last) = match trouble {
            Trouble::Refused(_) if self.by_token => (REFUSED.0, RENEWED),
            Trouble::Refused(_) => REFUSED,
            _ => AGAIN,
        };
        let wait = first.saturating_mul(1 << self.failed.min(16)).min(last);
        self.failed = self.failed.saturating_add(1);
        // Mailboxes of one server that restarts do not come back in one moment: up to a quarter less.
        let part = u32::try_from(clock::now().0.rem_euclid(256)).unwrap_or(0);
        wait - wait / 4 * part / 256
    }
}
