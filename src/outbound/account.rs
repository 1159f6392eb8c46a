//! The calls of a channel that remembers something between them: a token that is renewed, and what is left of its provider's
//! limits. Both are kept in the log, so that a restart forgets neither.
//!
//! Several processes may serve one channel. A token that another one renewed is found in the log before this one renews it, and only
//! one renews at a time. Counts are each process's own, as far as the provider does not tell them what is left; the log keeps the
//! latest.

use super::worker::Caller;
use crate::clock;
use crate::inbound::FileSource;
use crate::log::{Log, LogError};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use switchboard_adapter_sdk::{Adapter, Answer, Before, Call, CallError, FetchError, File, Kept, Memory};
use tokio::sync::{Mutex, MutexGuard};

/// What a call can need before it leaves, one after the other: a renewal that another process made, one of our own.
const STEPS: u32 = 4;
/// How often a new token is tried to be stored. Whoever loses it has to authorize the app again.
const KEEP_TRIES: u32 = 600;
const KEEP_WAIT: Duration = Duration::from_millis(100);

/// Makes calls, and remembers.
pub struct Account<C> {
    channel: String,
    adapter: Arc<dyn Adapter>,
    client: C,
    log: Arc<dyn Log>,
    /// Empty until it is read. Who renews a token holds it, and the others wait.
    kept: Mutex<Option<Kept>>,
}

impl<C> Account<C> {
    pub fn new(channel: &str, adapter: Arc<dyn Adapter>, client: C, log: Arc<dyn Log>) -> Account<C> {
        Account { channel: channel.to_owned(), adapter, client, log, kept: Mutex::default() }
    }

    fn token(&self) -> String {
        format!("token.{}", self.channel)
    }

    fn counts(&self) -> String {
        format!("counts.{}", self.channel)
    }

    async fn read(&self) -> Result<Kept, LogError> {
        let token = self.log.get_cursor(&self.token()).await?;
        let counts = self.log.get_cursor(&self.counts()).await?;
        Ok(Kept { token, refused: false, counts })
    }

    /// Counts that are not stored are counted all the same, until a restart.
    async fn keep_counts(&self, kept: &mut Kept, counts: String) {
        if let Err(error) = self.log.put_cursor(&self.counts(), &counts).await {
            tracing::debug!(channel = %self.channel, %error, "what is left of the provider's limits was not stored");
        }
        kept.counts = Some(counts);
    }

    /// Another token, durable before anybody uses it: the one that it replaces is good for nothing any more.
    async fn keep_token(&self, kept: &mut Kept, token: String) {
        for n in 0..KEEP_TRIES {
            match self.log.put_cursor(&self.token(), &token).await {
                Ok(()) => break,
                Err(error) if n + 1 == KEEP_TRIES => {
                    tracing::error!(
                        channel = %self.channel, %error,
                        "a new token was not stored, and is lost at the next restart: then authorize the app again"
                    );
                }
                Err(error) => {
                    if n % 50 == 0 {
                        tracing::warn!(channel = %self.channel, %error, "a new token cannot be stored; trying again");
                    }
                    tokio::time::sleep(KEEP_WAIT).await;
                }
            }
        }
        (kept.token, kept.refused) = (Some(token), false);
    }
}

impl<C: Caller> Account<C> {
    /// The call as it may leave, or what is answered in the provider's place.
    async fn ready(&self, memory: &dyn Memory, call: &Call) -> Result<Call, Box<Answer>> {
        let mut guard = self.kept.lock().await;
        if guard.is_none() {
            *guard = Some(self.read().await.map_err(|e| stays(&format!("what is kept could not be read: {e}")))?);
        }
        let Some(kept) = guard.as_mut() else { return Err(stays("nothing is known of the account")) };
        for _ in 0..STEPS {
            let now = clock::now();
            match memory.before(kept, call, now) {
                Before::Go(counts) => {
                    if let Some(counts) = counts {
                        self.keep_counts(kept, counts).await;
                    }
                    return Ok(memory.authorized(call.clone(), kept, now));
                }
                Before::Hold(answer) => return Err(answer),
                Before::Renew(renewal) => self.renew(memory, kept, *renewal).await?,
            }
        }
        Err(stays("the provider refuses each token that it gives"))
    }

    async fn renew(&self, memory: &dyn Memory, kept: &mut Kept, renewal: Call) -> Result<(), Box<Answer>> {
        let unread = |e: LogError| stays(&format!("the token could not be read: {e}"));
        let stored = self.log.get_cursor(&self.token()).await.map_err(unread)?;
        if stored.is_some() && stored != kept.token {
            // Another process was faster.
            (kept.token, kept.refused) = (stored, false);
            return Ok(());
        }
        if !self.log.duty(&self.token()).await.map_err(unread)? {
            return Err(stays("another process renews the token"));
        }
        let answer = self.client.call(renewal).await;
        let token = memory.renewed(kept, &answer, clock::now())?;
        self.keep_token(kept, token).await;
        tracing::info!(channel = %self.channel, "the token was renewed");
        Ok(())
    }

    /// Notes what an answer says; whether the call may be made again with another token.
    async fn learn(&self, memory: &dyn Memory, call: &Call, answer: &Answer, used: Option<&str>) -> bool {
        let mut guard: MutexGuard<'_, Option<Kept>> = self.kept.lock().await;
        let Some(kept) = guard.as_mut() else { return false };
        let learned = memory.learned(kept, call, answer, clock::now());
        if let Some(counts) = learned.counts {
            self.keep_counts(kept, counts).await;
        }
        // Meanwhile it may have been renewed.
        if learned.refused && kept.token.as_deref() == used {
            kept.refused = true;
        }
        learned.refused
    }

    async fn token_in_use(&self) -> Option<String> {
        self.kept.lock().await.as_ref().and_then(|kept| kept.token.clone())
    }
}

/// What never left.
fn stays(why: &str) -> Box<Answer> {
    Box::new(Err(CallError::NotSent(why.to_owned())))
}

#[async_trait]
impl<C: Caller> Caller for Account<C> {
    async fn call(&self, call: Call) -> Answer {
        let Some(memory) = self.adapter.memory() else { return self.client.call(call).await };
        for is_last in [false, true] {
            let ready = match self.ready(memory, &call).await {
                Ok(ready) => ready,
                Err(answer) => return *answer,
            };
            let used = self.token_in_use().await;
            let answer = self.client.call(ready).await;
            // A refused token says that nothing was done: the same call with another one is the first of its kind.
            if !self.learn(memory, &call, &answer, used.as_deref()).await || is_last {
                return answer;
            }
        }
        *stays("the provider refuses each token that it gives")
    }
}

#[async_trait]
impl<C: Caller + FileSource> FileSource for Account<C> {
    async fn fetch(&self, call: Call, limit: usize) -> Result<File, FetchError> {
        let Some(memory) = self.adapter.memory() else { return self.client.fetch(call, limit).await };
        match self.ready(memory, &call).await {
            Ok(ready) => self.client.fetch(ready, limit).await,
            Err(answer) => match *answer {
                Err(error) => Err(FetchError::Call(error)),
                Ok(response) => Err(FetchError::Status(response.status)),
            },
        }
    }
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
