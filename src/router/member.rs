//! A router among those of its workspace: one leads, the others follow and are ready to.

use super::codec::Codec;
use super::follow::{self, Follower, Next};
use super::post::{Post, RouterHandle, Seat, Standing};
use super::recover::RecoverError;
use super::turn::{Ended, Router, Stop};
use crate::log::Log;
use crate::metrics::Metrics;
use crate::packs::Packs;
use std::sync::Arc;
use tokio::sync::watch;

/// A process's part in the routing of its workspace.
pub struct Member {
    log: Arc<dyn Log>,
    part: Part,
}

enum Part {
    Follows(Box<Follower>),
    Leads(Box<Router>),
}

impl Member {
    /// Folds what the log holds. From the answer of this function on this process leads, unless another does or it may not.
    ///
    /// # Errors
    /// When the log cannot be read, or holds what this build does not understand; or when no rule pack can be put in force.
    pub async fn enter(
        log: Arc<dyn Log>,
        codec: Arc<Codec>,
        packs: Arc<Packs>,
        metrics: Arc<Metrics>,
        seat: Seat,
    ) -> Result<(Member, RouterHandle), Stop> {
        let (mut post, handle) = Post::new(log.clone(), codec, packs, metrics, seat);
        let folded = follow::fold(&mut post).await?;
        let part = match Follower::new(post, folded).enter().await? {
            Ok(router) => Part::Leads(router),
            Err(follower) => Part::Follows(follower),
        };
        Ok((Member { log, part }, handle))
    }

    /// Leads and follows until `stop` turns true.
    ///
    /// # Errors
    /// When the log is damaged, or holds what this build does not understand; the process must not go on.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> Result<(), Stop> {
        let Member { log, mut part } = self;
        loop {
            part = match part {
                Part::Follows(follower) => match follower.follow(&mut stop).await? {
                    Next::Stopped => return Ok(()),
                    Next::Leads(router) => Part::Leads(router),
                },
                Part::Leads(mut router) => {
                    let ended = router.run(&mut stop).await;
                    // Who waits to lead need not wait for what follows here.
                    if let Err(e) = log.stand(false).await {
                        tracing::warn!(error = %e, "cannot say that this process leads no longer");
                    }
                    match after(*router, ended).await? {
                        Some(follower) => Part::Follows(follower),
                        None => return Ok(()),
                    }
                }
            };
        }
    }
}

/// What a router that led becomes.
async fn after(mut router: Router, ended: Result<Ended, Stop>) -> Result<Option<Box<Follower>>, Stop> {
    router.post.writes(None);
    router.post.claims(None);
    match ended {
        Ok(Ended::Stopped) => {
            router.last_snapshot().await;
            Ok(None)
        }
        Ok(Ended::Hindered(why)) => {
            let (post, folded) = router.step_down();
            post.stands(Standing::Vacant { hindered: Some(why) });
            Ok(Some(Box::new(Follower::new(post, folded))))
        }
        Err(Stop::Recover(why @ (RecoverError::AnotherLog | RecoverError::AnotherWriter(_))))
            if !router.post.log.exclusive() =>
        {
            tracing::warn!(%why, "this router leads no longer; what it decided and could not write is discarded");
            let mut post = router.post;
            post.stands(Standing::Vacant { hindered: None });
            #[cfg(test)]
            let kept = router.state;
            let folded = follow::fold(&mut post).await?;
            #[cfg(test)]
            let folded = planted_keeping(folded, kept);
            Ok(Some(Box::new(Follower::new(post, folded))))
        }
        Err(stop) => Err(stop),
    }
}

#[cfg(test)]
fn planted_keeping(folded: super::recover::Folded, kept: switchboard_routing_rules::State) -> super::recover::Folded {
    if crate::simulation::planted(crate::simulation::Bug::RelievedKeepsItsState) {
        return super::recover::Folded { state: kept, ..folded };
    }
    folded
}
