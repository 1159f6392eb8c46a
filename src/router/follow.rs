//! Following: LOG is folded as another router writes it, so that this process answers from its own state, and takes over
//! without a long replay when nobody leads any more.

use super::patience::{Passing as _, RETRY};
use super::post::{Post, Standing};
use super::rebase::Found;
use super::recover::{self, FRAMES, Folded, RecoverError};
use super::turn::{Router, Stop};
use super::unsent::Unsent;
use crate::log::{Leader, LogError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often a process that may lead looks who leads, and one that only wants to say so.
const LOOK: Duration = Duration::from_millis(250);
const LOOK_ONLY: Duration = Duration::from_secs(2);
/// A leader that left may be back in a moment, when only its connection was lost; one that is silent may be paused, or the
/// broker busy. A quick take-over costs the other its state, and nothing else.
const LEFT: Duration = Duration::from_millis(700);
const SILENT: Duration = Duration::from_secs(2);
/// After something forbade to lead it is looked at again.
const HINDERED: Duration = Duration::from_secs(5);

/// A router that follows.
pub(super) struct Follower {
    post: Post,
    folded: Folded,
    /// Since when nothing has shown that somebody leads.
    vacant: Instant,
    /// When to look again who leads.
    look: Instant,
    /// When the pack in force was last asked for, while it is not here.
    pack_asked: Option<Instant>,
}

/// Why following ended.
pub(super) enum Next {
    Stopped,
    Leads(Box<Router>),
}

/// Folds the log from its newest snapshot, for as long as it takes.
pub(super) async fn fold(post: &mut Post) -> Result<Folded, Stop> {
    loop {
        match fold_once(post).await {
            Err(e) if e.passes() => {
                tracing::warn!(error = %e, "cannot read the log to fold it; trying again");
                post.metrics.log_error("read");
                tokio::time::sleep(RETRY).await;
            }
            folded => return Ok(folded?),
        }
    }
}

async fn fold_once(post: &mut Post) -> Result<Folded, RecoverError> {
    let life = post.life_now();
    // Another router may have made others, or this one some that did not come in force.
    post.codec.forget();
    let unsent = Unsent::new(&post.log, post.may_lead).await?;
    let (folded, answered) = recover::recover(&post.log, &post.codec, post.empty(), unsent, &post.answers).await?;
    post.adopt(life, (folded.last, folded.id), &folded.state).await?;
    post.folded(folded.last, &folded.state);
    answered.iter().for_each(|(command, reply)| post.answers.publish(*command, reply));
    Ok(folded)
}

impl Follower {
    pub(super) fn new(post: Post, folded: Folded) -> Follower {
        let now = Instant::now();
        Follower { post, folded, vacant: now, look: now, pack_asked: None }
    }

    /// Leads at once when nobody else does; for a start, where nobody need wait for a leader to come back.
    pub(super) async fn enter(mut self) -> Result<Result<Box<Router>, Box<Follower>>, Stop> {
        let leader = self.post.log.leader().await;
        if !self.post.may_lead || leader != Leader::Nobody {
            if let Leader::Here(by) = leader {
                self.post.stands(Standing::Follows(by));
            }
            self.load_pack().await;
            return Ok(Err(Box::new(self)));
        }
        match self.lead().await {
            Ok(router) => Ok(Ok(router)),
            Err((follower, None)) => Ok(Err(follower)),
            // Who starts is there to see it.
            Err((_, Some(stop))) => Err(stop),
        }
    }

    /// Follows until `stop` turns true, or until this process leads.
    ///
    /// # Errors
    /// When the log is damaged, or holds what this build does not understand.
    pub(super) async fn follow(mut self: Box<Self>, stop: &mut watch::Receiver<bool>) -> Result<Next, Stop> {
        let mut tail = self.post.log.log_tail();
        while !*stop.borrow() {
            tail.borrow_and_update();
            if self.fold_next().await? {
                continue;
            }
            self.post.publish(self.folded.last, &self.folded.state);
            self.post.mind_rebases().await;
            self.load_pack().await;
            if self.is_vacant().await {
                self = match self.lead().await {
                    Ok(router) => return Ok(Next::Leads(router)),
                    Err((follower, stop)) => follower.stays(stop)?,
                };
            }
            tokio::select! {
                biased;
                _ = stop.changed() => {}
                _ = tail.changed() => {}
                () = tokio::time::sleep_until(self.look) => {}
            }
        }
        Ok(Next::Stopped)
    }

    /// Folds what LOG has more; whether there was any.
    async fn fold_next(&mut self) -> Result<bool, Stop> {
        let frames = match self.post.log.read_log(self.folded.last, FRAMES).await {
            Ok(frames) => frames,
            Err(LogError::Damaged(e)) => return Err(LogError::Damaged(e).into()),
            Err(e) => {
                self.cannot_read(&e).await;
                return Ok(false);
            }
        };
        if self.post.is_another_life() {
            self.folded = fold(&mut self.post).await?;
            return Ok(true);
        }
        let any = !frames.is_empty();
        for stored in frames {
            match self.folded.frame(&self.post.codec, &stored).await {
                Ok(events) => {
                    self.post.after_frame((self.folded.last, self.folded.id), &self.folded.state, events);
                }
                // Others trimmed LOG behind a snapshot before this process came so far.
                Err(RecoverError::Gap { first }) => {
                    tracing::warn!(last = self.folded.last, first, "fell behind the log; folding it again");
                    self.folded = fold(&mut self.post).await?;
                    return Ok(true);
                }
                Err(RecoverError::Log(e)) => {
                    self.cannot_read(&e).await;
                    return Ok(false);
                }
                Err(e) => return Err(e.into()),
            }
        }
        if any {
            // Whoever writes is there, whatever else it says.
            self.vacant = Instant::now();
            if let Err(e) = self.folded.unsent.bound(&self.post.log).await {
                tracing::debug!(error = %e, "cannot ask for the end of OUT");
            }
        }
        Ok(any)
    }

    async fn cannot_read(&mut self, error: &LogError) {
        tracing::warn!(%error, "cannot read the log; trying again");
        self.post.metrics.log_error("read");
        self.vacant = Instant::now();
        tokio::time::sleep(RETRY).await;
    }

    /// The pack in force, for those who look at the state.
    async fn load_pack(&mut self) {
        let state = &self.folded.state;
        let wanted = Some(&state.pack).into_iter().chain(state.trying().map(|c| &c.pack));
        let missing: Vec<&String> =
            wanted.filter(|hash| !hash.is_empty() && self.post.packs.cached(hash).is_none()).collect();
        if !missing.is_empty() && self.pack_asked.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
            self.pack_asked = Some(Instant::now());
            for hash in missing {
                // It is asked for again.
                let _ = self.post.packs.by_hash(&self.post.log, hash).await;
            }
        }
    }

    /// Looks who leads, now and then; whether this process should.
    async fn is_vacant(&mut self) -> bool {
        if Instant::now() < self.look {
            return false;
        }
        let leader = self.post.log.leader().await;
        let patience = match leader {
            Leader::Here(by) => {
                self.post.stands(Standing::Follows(by));
                self.vacant = Instant::now();
                self.look = Instant::now() + if self.post.may_lead { LOOK } else { LOOK_ONLY };
                return false;
            }
            Leader::Nobody => LEFT,
            Leader::Silent => SILENT,
        };
        self.look = Instant::now() + LOOK;
        let over = self.vacant.elapsed() >= patience;
        if over && !self.post.may_lead {
            self.post.stands(Standing::Vacant { hindered: None });
        }
        over && self.post.may_lead
    }

    /// Takes over. Without a reason to stop, another was quicker, or this process must not lead now.
    async fn lead(mut self) -> Result<Box<Router>, (Box<Follower>, Option<Stop>)> {
        match self.post.clock_hinders().await {
            Ok(None) => {}
            Ok(hindered) => {
                self.post.stands(Standing::Vacant { hindered });
                self.look = Instant::now() + HINDERED;
                return Err((Box::new(self), None));
            }
            Err(e) => return Err((Box::new(self), Some(e.into()))),
        }
        let log = self.post.log.clone();
        let due = match self.post.examine(&mut self.folded).await {
            Ok(Found::Agrees) => None,
            Ok(Found::Rebase(due)) => Some(due),
            Ok(Found::Moved) => {
                self.look = Instant::now() + LOOK;
                return Err((Box::new(self), None));
            }
            Err(e) => return Err((Box::new(self), Some(e.into()))),
        };
        let ready = async {
            let out_last = match &due {
                None => {
                    self.folded.unsent.complete(&log).await?;
                    log.out_last().await?
                }
                Some(due) => {
                    // Others will have the numbers of the frames that they are of.
                    log.drop_snapshots(self.folded.last).await?;
                    due.out
                }
            };
            let pack = self.post.packs.at_lead(&log, &self.folded.state).await?;
            let tried = self.post.packs.tried(&log, &self.folded.state).await?;
            log.stand(true).await?;
            Ok::<_, Stop>((out_last, (pack, tried)))
        };
        let (out_last, packs) = match ready.await {
            Ok(ready) => ready,
            Err(stop) => return Err((Box::new(self), Some(stop))),
        };
        // The maps of a state are shared until they change, so what is kept for a lost race costs little.
        let Folded { last, id, assigned, .. } = self.folded;
        let before = self.folded.state.clone();
        let (post, stop) = match Router::lead(self.post, self.folded, packs, out_last, due).await {
            Ok(router) => {
                router.post.void(&router.state).await;
                router.post.stands(Standing::Leads);
                return Ok(Box::new(router));
            }
            Err(refused) => refused,
        };
        if let Err(e) = log.stand(false).await {
            tracing::warn!(error = %e, "cannot say that this process does not lead");
        }
        let folded = Folded { state: before, last, id, unsent: Unsent::after(out_last), assigned };
        let stop = match stop {
            Stop::Recover(RecoverError::AnotherWriter(_) | RecoverError::AnotherLog) if !log.exclusive() => None,
            stop => Some(stop),
        };
        Err((Box::new(Follower::new(*post, folded)), stop))
    }

    /// Goes on following after it could not lead; what a restart could not mend either ends it.
    fn stays(mut self: Box<Self>, why: Option<Stop>) -> Result<Box<Follower>, Stop> {
        match why {
            None => {}
            Some(Stop::Log(LogError::Unavailable(e)) | Stop::Recover(RecoverError::Log(LogError::Unavailable(e)))) => {
                tracing::warn!(error = %e, "cannot take over yet; trying again");
            }
            Some(Stop::Pack(e)) => {
                self.post.stands(Standing::Vacant { hindered: Some(format!("no rule pack can be put in force: {e}")) });
                self.look = Instant::now() + HINDERED;
            }
            Some(stop) => return Err(stop),
        }
        Ok(self)
    }
}
