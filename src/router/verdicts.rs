//! Attempts that nobody told the end of: at `until` the claim says what can have been sent, and a process that is gone will
//! not finish what it claimed.

use super::outgoing::claim_key;
use super::turn::{RETRY, Router, Stop};
use crate::clock;
use crate::log::{Claim, LogError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::state::{Phase, SendState};
use switchboard_routing_rules::{Input, Verdict};

/// This long after an attempt's end its claim can still be asked, where claims expire.
const CLAIM_KNOWN_MS: i64 = 10 * 60_000;
/// How often attempts are looked at whose edge may have died, and how old they are then.
const ORPHANS: Duration = Duration::from_secs(5);
const ORPHAN_MS: i64 = 5_000;

impl Router {
    /// Attempts whose time is over: the claim says whether anything can have been sent.
    pub(super) async fn overdue(&mut self, now: Timestamp) -> Result<(), Stop> {
        let overdue: Vec<Arc<SendState>> = self.state.overdue_attempts(now).take(64).cloned().collect();
        for send in overdue {
            let until = send.next_deadline().unwrap_or(now);
            // Claims that others share expire: a free one says nothing then.
            if !self.post.log.exclusive() && now.since(until) > CLAIM_KNOWN_MS {
                self.verdict(&send, now, Verdict::Unknown)?;
                self.commit_if_full().await?;
                continue;
            }
            let key = claim_key(&send);
            let verdict = loop {
                match self.post.log.claim(&key, "router").await {
                    Ok(Claim::Ours) => break Verdict::NotSent,
                    Ok(Claim::Taken) => break Verdict::Unknown,
                    Err(LogError::Damaged(e)) => return Err(LogError::Damaged(e).into()),
                    Err(e) => {
                        tracing::warn!(error = %e, "cannot ask a claim; trying again");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            };
            self.verdict(&send, now, verdict)?;
            self.commit_if_full().await?;
        }
        Ok(())
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
        self.state.sends.values().filter(waits)
    }

    /// A claim without a result, of a process that is gone, is `unknown` now: nobody will finish it. What a router itself
    /// claimed before it was stopped is claimed again at the attempt's end.
    pub(super) async fn settle_orphans(&mut self) -> Result<(), Stop> {
        let age = self.orphans_looked.map(|_| ORPHAN_MS);
        let claimed: Vec<Arc<SendState>> = self.claimed(age).cloned().collect();
        let mut gone: BTreeMap<String, bool> = BTreeMap::new();
        let mut orphans = vec![];
        for send in claimed {
            let Some(holder) = self.holder(&send).await? else { continue };
            let process = crate::outbound::process_of(&holder);
            if process == self.post.process || holder == "router" {
                continue;
            }
            let gone = match gone.get(process) {
                Some(gone) => *gone,
                None => *gone.entry(process.to_owned()).or_insert(self.post.log.is_gone(process).await),
            };
            if gone {
                orphans.push(send);
            }
        }
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
        loop {
            match self.post.log.claimed(&claim_key(send)).await {
                Err(LogError::Unavailable(e)) => {
                    tracing::warn!(error = %e, "cannot ask who holds a claim; trying again");
                    tokio::time::sleep(RETRY).await;
                }
                answer => return Ok(answer?),
            }
        }
    }
}
