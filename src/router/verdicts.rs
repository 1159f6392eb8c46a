//! Attempts that nobody told the end of: at `until` the claim says what can have been sent, and a process that is gone will
//! not finish what it claimed.

use super::outgoing::claim_key;
use super::patience::answered;
use super::turn::{Router, Stop};
use crate::clock;
use crate::log::{Claim, LogError};
use crate::outbound::process_of;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::state::{Phase, SendState};
use switchboard_routing_rules::{Input, Verdict};
use tokio::time::Instant;

/// This long after an attempt's end its claim can still be asked, where claims expire.
const CLAIM_KNOWN_MS: i64 = 10 * 60_000;
/// How often attempts are looked at whose edge may have died, and how old they are then.
const ORPHANS: Duration = Duration::from_secs(5);
const ORPHAN_MS: i64 = 5_000;
/// How long attempts that are over wait for their claims where those have no room.
const CLAIMS_AGAIN: Duration = Duration::from_secs(5);
/// A process is gone that was not there at any look for so long: longer than a lost connection takes to come back.
const GONE: Duration = Duration::from_secs(15);
/// Questions to the log that are under way at a time.
const AT_ONCE: usize = 64;

impl Router {
    /// Attempts whose time is over: the claim says whether anything can have been sent.
    pub(super) async fn overdue(&mut self, now: Timestamp) -> Result<(), Stop> {
        if self.claims_wait() {
            return Ok(());
        }
        self.claims_again = None;
        let overdue: Vec<Arc<SendState>> = self.state.overdue_attempts(now).take(64).cloned().collect();
        for send in overdue {
            let until = send.next_deadline().unwrap_or(now);
            // Claims that others share expire: a free one says nothing then.
            // And claims of before a rebase may be those of another life of the log, or be lost.
            if send.doubted || (!self.post.log.exclusive() && now.since(until) > CLAIM_KNOWN_MS) {
                self.verdict(&send, now, Verdict::Unknown)?;
                self.commit_if_full().await?;
                continue;
            }
            let key = claim_key(&send);
            let ask = || async {
                match self.post.log.claim(&key, "router").await {
                    Err(LogError::Full(why)) => Ok(Err(why)),
                    answer => answer.map(Ok),
                }
            };
            let verdict = match answered("a claim", ask).await? {
                Ok(Claim::Ours) => Verdict::NotSent,
                Ok(Claim::Taken) => Verdict::Unknown,
                Err(why) => {
                    self.no_room(why);
                    continue;
                }
            };
            self.verdict(&send, now, verdict)?;
            self.commit_if_full().await?;
        }
        if self.claims_again.is_none() {
            self.post.claims(None);
        }
        Ok(())
    }

    /// The attempt stays as it is, and is looked at again: to wait for room would hold up everything else.
    fn no_room(&mut self, why: String) {
        self.claims_again = Some(Instant::now() + CLAIMS_AGAIN);
        self.post.metrics.log_error("claim");
        self.post.claims(Some(why));
    }

    /// Whether claims had no room a moment ago, so that they are not asked.
    pub(super) fn claims_wait(&self) -> bool {
        self.claims_again.is_some_and(|at| Instant::now() < at)
    }

    fn verdict(&mut self, send: &SendState, now: Timestamp, verdict: Verdict) -> Result<(), Stop> {
        self.decide(&Input::Verdict { now, message: send.id, part: send.part, n: send.n, verdict })
    }

    /// Whether attempts should be looked at whose process may be gone: once after this router began to lead, and then now and
    /// again for the old ones, since an edge can be killed while the router goes on.
    pub(super) fn orphans_due(&self) -> bool {
        let Some(looked) = self.orphans_looked else { return true };
        !self.post.log.exclusive() && looked.elapsed() >= ORPHANS && self.claimed(Some(ORPHAN_MS)).next().is_some()
    }

    /// Attempts without a result, of any age or released at least so long ago.
    fn claimed(&self, age_ms: Option<i64>) -> impl Iterator<Item = &Arc<SendState>> {
        let before = age_ms.map_or(Timestamp(i64::MAX), |ms| clock::now().plus(-ms));
        let waits = move |s: &&Arc<SendState>| {
            matches!(s.phase, Phase::InFlight { .. }) && s.released.is_none_or(|at| at <= before)
        };
        // Who serves a channel from outside says nothing of itself in its claims.
        let ours = |s: &&Arc<SendState>| self.state.channels.get(&s.channel).is_none_or(|c| !c.profile.external);
        self.state.sends.values().filter(waits).filter(ours)
    }

    /// A claim without a result, of a process that is gone, is `unknown` now: nobody will finish it. What a router itself
    /// claimed before it was stopped is claimed again at the attempt's end.
    pub(super) async fn settle_orphans(&mut self) -> Result<(), Stop> {
        let age = self.orphans_looked.map(|_| ORPHAN_MS);
        let claimed: Vec<Arc<SendState>> = self.claimed(age).cloned().collect();
        let holders = at_once(claimed.iter().map(|send| self.holder(send).boxed())).await?;
        let ours = &self.post.process;
        let process = |holder: Option<String>| holder.as_deref().and_then(process_of).map(str::to_owned);
        let held = claimed.into_iter().zip(holders).filter_map(|(send, holder)| Some((process(holder)?, send)));
        let held: Vec<(String, Arc<SendState>)> = held.filter(|(process, _)| process != ours).collect();
        let gone = self.gone(held.iter().map(|(process, _)| process.clone()).collect()).await?;
        let orphans: Vec<Arc<SendState>> =
            held.into_iter().filter(|(process, _)| gone.contains(process)).map(|(_, send)| send).collect();
        // The last that a process said before it went comes first.
        if !orphans.is_empty() && !self.read().await?.is_empty() {
            return Ok(());
        }
        self.orphans_looked = Some(tokio::time::Instant::now());
        for send in orphans {
            self.verdict(&send, clock::now(), Verdict::Unknown)?;
            self.commit_if_full().await?;
        }
        self.commit().await
    }

    async fn holder(&self, send: &SendState) -> Result<Option<String>, Stop> {
        let key = claim_key(send);
        Ok(answered("who holds a claim", || self.post.log.claimed(&key)).await?)
    }

    /// Those of these processes that are gone: on a log that is shared, whose connections come and go, those that were not there
    /// each time for longer than a connection takes to come back.
    async fn gone(&mut self, processes: BTreeSet<String>) -> Result<BTreeSet<String>, Stop> {
        let log = self.post.log.clone();
        let look = |process: String| {
            let log = log.clone();
            async move { Ok(log.is_gone(&process).await.then_some(process)) }.boxed()
        };
        let absent: Vec<String> = at_once(processes.into_iter().map(look)).await?.into_iter().flatten().collect();
        if log.exclusive() {
            return Ok(absent.into_iter().collect());
        }
        let now = Instant::now();
        if self.orphans_looked.is_none_or(|looked| now - looked > GONE) {
            self.absent.clear();
        }
        let since = |process: String| {
            let since = self.absent.get(&process).copied().unwrap_or(now);
            (process, since)
        };
        let absent: BTreeMap<String, Instant> = absent.into_iter().map(since).collect();
        self.absent = absent;
        let long = self.absent.iter().filter(|(_, since)| now - **since >= GONE);
        Ok(long.map(|(process, _)| process.clone()).collect())
    }
}

/// The answers to many questions, of which so many are under way at a time.
async fn at_once<'a, T>(questions: impl Iterator<Item = BoxFuture<'a, Result<T, Stop>>>) -> Result<Vec<T>, Stop> {
    let questions: Vec<_> = questions.collect();
    futures_util::stream::iter(questions).buffered(AT_ONCE).try_collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_router_does_not_stand_still_for_each_claim_in_turn() {
        let began = Instant::now();
        let ask = |n: u64| {
            async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(n)
            }
            .boxed()
        };
        let answers = at_once((0..512).map(ask)).await.expect("answers");
        assert_eq!(answers, (0..512).collect::<Vec<_>>());
        assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    }
}
