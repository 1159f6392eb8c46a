//! The calls of a channel that remembers something between them: a token that is renewed, and what is left of its provider's
//! limits. Both are kept in the log, so that a restart forgets neither.
//!
//! Several processes may serve one channel. A token that another one renewed is found in the log before this one renews it, and only
//! one renews at a time. Counts are each process's own, as far as the provider does not tell them what is left; the log keeps the
//! latest.

mod renewal;

use super::unfinished::Unfinished;
use super::worker::Caller;
use crate::clock;
use crate::inbound::FileSource;
use crate::log::{Log, LogError};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use switchboard_adapter_sdk::{Adapter, Answer, Before, Call, CallError, FetchError, File, Kept, Memory};
use switchboard_envelope::Timestamp;
use tokio::sync::{Mutex, MutexGuard};

/// What a call can need before it leaves, one after the other: a renewal that another process made, one of our own.
const STEPS: u32 = 4;

/// Makes calls, and remembers.
pub struct Account<C>(Arc<Inner<C>>);

struct Inner<C> {
    channel: String,
    adapter: Arc<dyn Adapter>,
    client: C,
    log: Arc<dyn Log>,
    /// Never locked while anybody else is waited for, but for its first reading: an answer that came must be told.
    held: Mutex<Held>,
    /// The counts that the log has. Who stores them holds it.
    counted: Mutex<Option<String>>,
    /// Who renews the token holds it, and the others wait.
    renewing: Mutex<()>,
    /// Who stores a new token holds it.
    saving: Mutex<()>,
    unfinished: Unfinished,
}

#[derive(Default)]
struct Held {
    kept: Kept,
    is_read: bool,
    /// A token that the log does not have yet. Nothing older takes its place.
    unsaved: Option<String>,
}

/// A call that may leave, and the token that it shows.
struct Ready {
    call: Call,
    token: Option<String>,
}

impl<C> Account<C> {
    /// What the account has begun and must not be dropped is counted in `unfinished`.
    pub fn new(
        channel: &str,
        adapter: Arc<dyn Adapter>,
        client: C,
        log: Arc<dyn Log>,
        unfinished: &Unfinished,
    ) -> Account<C> {
        Account(Arc::new(Inner {
            channel: channel.to_owned(),
            adapter,
            client,
            log,
            held: Mutex::default(),
            counted: Mutex::default(),
            renewing: Mutex::default(),
            saving: Mutex::default(),
            unfinished: unfinished.clone(),
        }))
    }
}

impl<C> Inner<C> {
    fn token(&self) -> String {
        format!("token.{}", self.channel)
    }

    fn counts(&self) -> String {
        format!("counts.{}", self.channel)
    }

    /// What is known; it is read from the log once.
    async fn held(&self) -> Result<MutexGuard<'_, Held>, Box<Answer>> {
        let unread = |e: LogError| stays(&format!("what is kept could not be read: {e}"));
        let mut held = self.held.lock().await;
        if !held.is_read {
            let token = self.log.get_cursor(&self.token()).await.map_err(unread)?;
            let counts = self.log.get_cursor(&self.counts()).await.map_err(unread)?;
            held.kept = Kept { token, counts, ..Kept::default() };
            held.is_read = true;
        }
        Ok(held)
    }

    /// Stores the counts as they are now. Counts that are not stored are counted all the same, until a restart.
    async fn store_counts(&self) {
        let mut counted = self.counted.lock().await;
        let latest = self.held.lock().await.kept.counts.clone();
        // Who came before may have stored them for all.
        let Some(counts) = latest.filter(|latest| Some(latest) != counted.as_ref()) else { return };
        match self.log.put_cursor(&self.counts(), &counts).await {
            Ok(()) => *counted = Some(counts),
            Err(error) => {
                tracing::debug!(channel = %self.channel, %error, "what is left of the provider's limits was not stored");
            }
        }
    }

    /// Notes what an answer says; whether the call may be made again with another token.
    async fn learn(&self, memory: &dyn Memory, call: &Call, answer: &Answer, used: Option<&str>) -> bool {
        let mut held = self.held.lock().await;
        let learned = memory.learned(&held.kept, call, answer, clock::now());
        // Meanwhile it may have been renewed.
        if learned.refused && held.kept.token.as_deref() == used {
            held.kept.refused = true;
        }
        if learned.counts.is_some() {
            held.kept.counts = learned.counts;
            drop(held);
            self.store_counts().await;
        }
        learned.refused
    }
}

impl<C: Caller> Account<C> {
    /// The call as it may leave, or what is answered in the provider's place. After `latest` nobody waits for it.
    async fn ready(&self, memory: &dyn Memory, call: &Call, latest: Option<Timestamp>) -> Result<Ready, Box<Answer>> {
        let mut elsewhere = false;
        for _ in 0..STEPS {
            let mut held = self.0.held().await?;
            let now = clock::now();
            let kept = Kept { elsewhere, ..held.kept.clone() };
            match memory.before(&kept, call, now) {
                Before::Go(counts) => {
                    let ready = Ready { call: memory.authorized(call.clone(), &kept, now), token: kept.token };
                    if counts.is_some() {
                        held.kept.counts = counts;
                        drop(held);
                        self.0.store_counts().await;
                    }
                    return Ok(ready);
                }
                Before::Hold(answer) => return Err(answer),
                Before::Renew(_) => {}
            }
            drop(held);
            let renewed = renewal::renewed(&self.0, call);
            elsewhere = match latest.map(|latest| u64::try_from(latest.since(clock::now())).unwrap_or(0)) {
                Some(left) => {
                    let renewed = tokio::time::timeout(Duration::from_millis(left), renewed).await;
                    renewed.map_err(|_| stays("the token was not renewed in time"))??
                }
                None => renewed.await?,
            };
        }
        Err(stays("the provider refuses each token that it gives"))
    }

    async fn make(&self, call: Call, latest: Option<Timestamp>) -> Answer {
        let Some(memory) = self.0.adapter.memory() else { return self.0.client.call(call).await };
        for is_last in [false, true] {
            let ready = match self.ready(memory, &call, latest).await {
                Ok(ready) => ready,
                Err(answer) => return *answer,
            };
            let answer = match latest {
                // Only now is it known when it leaves.
                Some(latest) => self.0.client.call_until(ready.call, latest).await,
                None => self.0.client.call(ready.call).await,
            };
            // A refused token says that nothing was done: the same call with another one is the first of its kind.
            if !self.0.learn(memory, &call, &answer, ready.token.as_deref()).await || is_last {
                return answer;
            }
        }
        *stays("the provider refuses each token that it gives")
    }
}

/// What never left.
fn stays(why: &str) -> Box<Answer> {
    Box::new(Err(CallError::NotSent(why.to_owned())))
}

#[async_trait]
impl<C: Caller> Caller for Account<C> {
    async fn call(&self, call: Call) -> Answer {
        self.make(call, None).await
    }

    async fn call_until(&self, call: Call, latest: Timestamp) -> Answer {
        self.make(call, Some(latest)).await
    }
}

#[async_trait]
impl<C: Caller + FileSource> FileSource for Account<C> {
    async fn fetch(&self, call: Call, limit: usize) -> Result<File, FetchError> {
        let Some(memory) = self.0.adapter.memory() else { return self.0.client.fetch(call, limit).await };
        match self.ready(memory, &call, None).await {
            Ok(ready) => self.0.client.fetch(ready.call, limit).await,
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
