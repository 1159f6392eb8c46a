//! How a token is renewed. At its provider the old one ends with the answer, so from the question until the new one is stored nothing
//! may be dropped: it is done in a task of its own, whoever waits for it or does not any more.

use super::{Inner, stays};
use crate::clock;
use crate::log::LogError;
use crate::outbound::worker::Caller;
use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::Duration;
use switchboard_adapter_sdk::{Answer, Before, Call, Kept, Memory};

/// How long calls wait for a new token to be stored. Then they use it, and it is tried further.
const SAVED_WITHIN: Duration = Duration::from_secs(60);
/// The waits between tries to store it: at first, and once that took long.
const SAVE_WAITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// Tries with the first of these waits.
const SOON: u32 = 600;
/// How often the log is asked for a token that another process renews, and how many times.
const LOOK: Duration = Duration::from_millis(500);
const LOOKS: u32 = 10;
/// The same after a refusal: the other one may have been cut off from the log after its provider answered.
const LATE_LOOKS: u32 = 20;
/// A duty goes to another when it is not asked for within three times this.
const ON_DUTY: Duration = Duration::from_secs(10);

/// Has the token renewed for a call. Whether another process renews it, while the one that is held is still good.
pub(super) async fn renewed<C: Caller>(account: &Arc<Inner<C>>, call: &Call) -> Result<bool, Box<Answer>> {
    // Gone once nobody waits: then no renewal begins any more, and one that has begun goes on.
    let wanted = Arc::new(());
    let (inner, call, asked) = (account.clone(), call.clone(), Arc::downgrade(&wanted));
    let begun = account.unfinished.begin();
    let task = tokio::spawn(async move {
        let renewed = inner.renew(&call, &asked).await;
        drop(begun);
        renewed
    });
    let renewed = task.await.unwrap_or_else(|e| Err(stays(&format!("the token could not be renewed: {e}"))));
    drop(wanted);
    renewed
}

impl<C: Caller> Inner<C> {
    async fn renew(self: &Arc<Self>, call: &Call, asked: &Weak<()>) -> Result<bool, Box<Answer>> {
        let unread = |e: LogError| stays(&format!("the token could not be read: {e}"));
        let _one = self.renewing.lock().await;
        let Some(memory) = self.adapter.memory() else { return Ok(false) };
        for _ in 0..LOOKS {
            let kept = self.held().await?.kept.clone();
            // Who waited before may have had it renewed.
            let Before::Renew(renewal) = memory.before(&kept, call, clock::now()) else { return Ok(false) };
            if asked.strong_count() == 0 {
                return Err(stays("nobody waits for it any more"));
            }
            // The duty first: who had it until now has stored what it renewed.
            let is_ours = self.log.duty(&self.token()).await.map_err(unread)?;
            if self.found().await.map_err(unread)? {
                if is_ours {
                    self.leave_duty().await;
                }
                return Ok(false);
            }
            if is_ours {
                let renewed = tokio::select! {
                    renewed = self.renew_with(memory, *renewal) => renewed,
                    never = self.stay_on_duty() => match never {},
                };
                self.leave_duty().await;
                return renewed.map(|()| false);
            }
            let without = Kept { elsewhere: true, ..kept };
            if !matches!(memory.before(&without, call, clock::now()), Before::Renew(_)) {
                return Ok(true);
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(stays("another process renews the token"))
    }

    /// Takes what another process stored. What this one could not store yet is newer.
    async fn found(&self) -> Result<bool, LogError> {
        let stored = self.log.get_cursor(&self.token()).await?;
        let mut held = self.held.lock().await;
        let is_news = held.unsaved.is_none() && stored.is_some() && stored != held.kept.token;
        if is_news {
            (held.kept.token, held.kept.refused) = (stored, false);
        }
        Ok(is_news)
    }

    async fn renew_with(self: &Arc<Self>, memory: &dyn Memory, renewal: Call) -> Result<(), Box<Answer>> {
        let answer = self.client.call(renewal).await;
        let kept = self.held().await?.kept.clone();
        let refused = match memory.renewed(&kept, &answer, clock::now()) {
            Ok(token) => {
                self.keep(token).await;
                tracing::info!(channel = %self.channel, "the token was renewed");
                return Ok(());
            }
            Err(refused) => refused,
        };
        // What did not arrive says nothing of the token. A refusal says that it was used up, perhaps by another process.
        let looks = if refused.is_err() || self.log.exclusive() { 0 } else { LATE_LOOKS };
        for _ in 0..looks {
            if self.found().await.unwrap_or_default() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(refused)
    }

    async fn stay_on_duty(&self) -> Infallible {
        loop {
            tokio::time::sleep(ON_DUTY).await;
            if let Err(error) = self.log.duty(&self.token()).await {
                tracing::debug!(channel = %self.channel, %error, "the duty to renew the token could not be kept");
            }
        }
    }

    /// Otherwise the next process to renew would wait until ours has lapsed.
    async fn leave_duty(&self) {
        if let Err(error) = self.log.leave_duty(&self.token()).await {
            tracing::debug!(channel = %self.channel, %error, "the duty to renew the token could not be left");
        }
    }

    /// Another token, durable before anybody uses it where the log takes it in time: the one that it replaces is good for nothing
    /// any more.
    async fn keep(self: &Arc<Self>, token: String) {
        self.held.lock().await.unsaved = Some(token.clone());
        let (inner, begun) = (self.clone(), self.unfinished.begin());
        let saving = tokio::spawn(async move {
            inner.save().await;
            drop(begun);
        });
        if tokio::time::timeout(SAVED_WITHIN, saving).await.is_err() {
            tracing::error!(
                channel = %self.channel,
                "a new token is used that the log does not take; it is tried further. If the process ends before, authorize the app \
                 again and write the new refresh_token"
            );
        }
        let mut held = self.held.lock().await;
        (held.kept.token, held.kept.refused) = (Some(token), false);
    }

    /// Stores the newest token, for as long as that takes.
    async fn save(&self) {
        let _one = self.saving.lock().await;
        for n in 0_u32.. {
            let Some(token) = self.held.lock().await.unsaved.clone() else { return };
            match self.log.put_cursor(&self.token(), &token).await {
                Ok(()) => {
                    let mut held = self.held.lock().await;
                    if held.unsaved.as_ref() == Some(&token) {
                        held.unsaved = None;
                        return;
                    }
                }
                Err(error) => {
                    if n % 50 == 0 {
                        tracing::warn!(channel = %self.channel, %error, "a new token cannot be stored; trying again");
                    }
                    let [soon, later] = SAVE_WAITS;
                    tokio::time::sleep(if n < SOON { soon } else { later }).await;
                }
            }
        }
    }
}
