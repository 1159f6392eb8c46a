//! What a process keeps while it follows, leads and follows again: its place among the others, and what it shows of the state.

use super::Answers;
use super::codec::Codec;
use crate::log::frame::FrameId;
use crate::log::{Log, LogError, Seq, Told};
use crate::metrics::Metrics;
use crate::packs::Packs;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use switchboard_envelope::ChannelProfile;
use switchboard_routing_rules::event::{Event, Public};
use switchboard_routing_rules::ids::Salt;
use switchboard_routing_rules::state::{Limits, State};
use tokio::sync::watch;
use tokio::time::Instant;

/// While frames follow each other, the state is shown to others this often: when somebody looks, and when nobody does.
const PUBLISH: Duration = Duration::from_millis(25);
const PUBLISH_AT_LEAST: Duration = Duration::from_secs(5);

/// What this process brings to a workspace.
pub struct Seat {
    pub channels: BTreeMap<String, ChannelProfile>,
    /// The key of the workspace's hashes.
    pub salt: Salt,
    pub limits: Limits,
    /// The prefix of the claims' nonces of this process; other processes have others.
    pub process: String,
    pub feed: Feed,
    /// Whether this process may lead; one that may not only follows.
    pub may_lead: bool,
    /// What this process read of LOG in earlier runs.
    pub told: Told,
}

/// Who is handed the events of each durable frame, in order.
pub type Feed = Box<dyn Fn(Seq, FrameId, Arc<Vec<Event>>) + Send + Sync>;

/// Where a process stands among those of its workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It decides.
    Leads,
    /// Another does, by this name.
    Follows(String),
    /// Nobody does, as far as this process knows. `hindered` says why this process does not, where it should.
    Vacant { hindered: Option<String> },
}

/// What others see of a router, whether it leads or follows.
#[derive(Clone)]
pub struct RouterHandle {
    pub state: View,
    pub answers: Arc<Answers>,
    pub standing: watch::Receiver<Standing>,
    /// Why the frame that this router holds is not in the log, while it is so: nothing is decided meanwhile.
    pub unwritten: watch::Receiver<Option<String>>,
    /// Why claims are refused, while they are: nothing is sent meanwhile, and everything else goes on.
    pub unclaimed: watch::Receiver<Option<String>>,
}

/// The state as others see it. What they hold must be copied before it changes, so it is not renewed with every frame.
#[derive(Clone)]
pub struct View {
    seen: watch::Receiver<(Seq, Arc<State>)>,
    wanted: Arc<AtomicBool>,
}

impl View {
    /// The state after a durable frame, with that frame's sequence. It holds everything while nothing comes in, and
    /// whatever was answered; under load it is up to 25 ms old for who looks all the time, and five seconds for the first.
    #[must_use]
    pub fn latest(&self) -> (Seq, Arc<State>) {
        self.wanted.store(true, Ordering::Relaxed);
        self.seen.borrow().clone()
    }

    /// The same without asking for a new one: up to five seconds old under load. For who looks at numbers, again and again.
    #[must_use]
    pub fn recent(&self) -> (Seq, Arc<State>) {
        self.seen.borrow().clone()
    }

    /// The state once it holds a frame; the last one if the router ends before.
    pub async fn at(&mut self, frame: Seq) -> (Seq, Arc<State>) {
        loop {
            self.wanted.store(true, Ordering::Relaxed);
            let (seq, state) = self.seen.borrow_and_update().clone();
            if seq >= frame || self.seen.changed().await.is_err() {
                return (seq, state);
            }
        }
    }
}

/// What stays when a router changes between following and leading.
pub(super) struct Post {
    pub log: Arc<dyn Log>,
    pub codec: Arc<Codec>,
    pub packs: Arc<Packs>,
    pub metrics: Arc<Metrics>,
    pub channels: BTreeMap<String, ChannelProfile>,
    pub answers: Arc<Answers>,
    pub process: String,
    pub may_lead: bool,
    feed: Feed,
    /// The last frame that was handed over: a fold from a snapshot must not hand over what went before.
    fed: Seq,
    salt: Salt,
    limits: Limits,
    show: watch::Sender<(Seq, Arc<State>)>,
    wanted: Arc<AtomicBool>,
    standing: watch::Sender<Standing>,
    unwritten: watch::Sender<Option<String>>,
    unclaimed: watch::Sender<Option<String>>,
    /// When the state was last shown to others, and whether it has changed since.
    published: Instant,
    unpublished: bool,
    /// What this process has read of LOG, in the lives that the log had then.
    pub told: Told,
    life: (u64, u64),
    /// What it read of LOG that is not there any more, until a rebase answers it.
    pub lost: Option<Told>,
    /// A rebase came that does not answer it.
    unanswered: bool,
    /// This process holds adapters of other processes back.
    holds: bool,
}

impl Post {
    pub(super) fn new(
        log: Arc<dyn Log>,
        codec: Arc<Codec>,
        packs: Arc<Packs>,
        metrics: Arc<Metrics>,
        seat: Seat,
    ) -> (Post, RouterHandle) {
        let Seat { channels, salt, limits, process, feed, may_lead, told } = seat;
        let (show, seen) = watch::channel((0, Arc::new(State::new(salt))));
        let (standing, stands) = watch::channel(Standing::Vacant { hindered: None });
        let (unwritten, writes) = watch::channel(None);
        let (unclaimed, claims) = watch::channel(None);
        let (answers, wanted) = (Arc::new(Answers::default()), Arc::new(AtomicBool::new(false)));
        let handle = RouterHandle {
            state: View { seen, wanted: wanted.clone() },
            answers: answers.clone(),
            standing: stands,
            unwritten: writes,
            unclaimed: claims,
        };
        let mut post = Post {
            log,
            codec,
            packs,
            metrics,
            channels,
            answers,
            process,
            may_lead,
            feed,
            fed: 0,
            salt,
            limits,
            show,
            wanted,
            standing,
            unwritten,
            unclaimed,
            published: Instant::now(),
            unpublished: false,
            told,
            life: (0, 0),
            lost: None,
            unanswered: false,
            holds: false,
        };
        post.life = post.life_now();
        (post, handle)
    }

    /// A state before the first frame.
    pub(super) fn empty(&self) -> State {
        let mut empty = State::new(self.salt);
        empty.limits = self.limits;
        empty
    }

    /// The state was folded from the log, up to and with `last`.
    pub(super) fn folded(&mut self, last: Seq, state: &State) {
        self.unpublished = true;
        self.publish(last, state);
        // What an earlier fold handed over may be of a log that is no more: whoever gets it looks for gaps.
        self.fed = last;
    }

    /// A frame is durable, and `state` is the state after it: whoever waits is told.
    pub(super) fn after_frame(&mut self, (last, id): (Seq, FrameId), state: &State, events: Vec<Event>) {
        self.unpublished = true;
        let rebase = state.rebased.map_or(0, |r| r.number);
        let newly = rebase != self.told.rebase;
        self.told = Told { frame: last, id, rebase };
        if newly {
            self.settle(state);
        }
        // Who is answered may look at once at what his command did.
        let answers = events.iter().any(|e| matches!(e.public, Public::Answered { .. }));
        let age = self.published.elapsed();
        if answers || age >= PUBLISH_AT_LEAST || (age >= PUBLISH && self.wanted.swap(false, Ordering::Relaxed)) {
            self.publish(last, state);
        }
        for event in &events {
            if let Public::Answered { command, reply, .. } = &event.public {
                self.answers.publish(*command, reply);
            }
        }
        if last > self.fed {
            self.fed = last;
            (self.feed)(last, id, Arc::new(events));
        }
    }

    /// Shows the state to others. While they hold it, whatever changes is copied first, so this is not done for every frame.
    pub(super) fn publish(&mut self, last: Seq, state: &State) {
        if std::mem::take(&mut self.unpublished) {
            self.published = Instant::now();
            let _ = self.show.send((last, Arc::new(state.clone())));
        }
    }

    pub(super) fn stands(&self, standing: Standing) {
        self.metrics.leads(standing == Standing::Leads);
        self.standing.send_if_modified(|before| {
            let changed = *before != standing;
            if changed {
                match &standing {
                    Standing::Leads => tracing::info!("this process leads the workspace"),
                    Standing::Follows(by) => tracing::info!(by, "this process follows"),
                    Standing::Vacant { hindered: Some(why) } => tracing::error!(why, "this process cannot lead"),
                    Standing::Vacant { hindered: None } => tracing::warn!("nobody leads the workspace"),
                }
            }
            *before = standing;
            changed
        });
    }

    /// Says why the log does not take the frame in hand; nothing once it did, or once it is given up.
    pub(super) fn writes(&self, not: Option<String>) {
        self.unwritten.send_if_modified(|before| {
            let changed = *before != not;
            *before = not;
            changed
        });
    }

    /// Says why claims are refused; nothing once one was made.
    pub(super) fn claims(&self, refused: Option<String>) {
        let was = self.unclaimed.send_replace(refused.clone());
        match (was, refused) {
            (None, Some(why)) => tracing::error!(
                why,
                "claims have no room: nothing is sent until older ones lapse, everything else goes on; give them more \
                 (`log.sizes.claims`)"
            ),
            (Some(_), None) => tracing::info!("claims are not refused any more, as far as this router knows"),
            _ => {}
        }
    }

    /// Why this machine's clock forbids to lead: `now` would be its time, for everything that waits.
    pub(super) async fn clock_hinders(&self) -> Result<Option<String>, LogError> {
        crate::clock::off(self.log.as_ref()).await
    }

    /// The lives of the log, before it is read.
    pub(super) fn life_now(&self) -> (u64, u64) {
        let doubt = self.log.doubt();
        (doubt.log_life(), doubt.life())
    }

    /// Whether the log is another one than was folded.
    pub(super) fn is_another_life(&self) -> bool {
        self.log.doubt().life() != self.life.1
    }

    /// The log was folded, which had these lives before. When it ends before what was read of it, or is another one, that is kept
    /// until a rebase answers it, and written down for whoever leads.
    pub(super) async fn adopt(
        &mut self,
        mut life: (u64, u64),
        (last, id): (Seq, FrameId),
        state: &State,
    ) -> Result<(), LogError> {
        let holds = super::is_as_read(self.log.as_ref(), last, self.told).await?;
        let doubt = self.log.doubt();
        if doubt.life() != life.1 {
            return Err(LogError::Unavailable("the log changed while it was folded".into()));
        }
        if !holds || life.0 != self.life.0 {
            let rebase = self.lost.map_or(self.told.rebase, |lost| lost.rebase.max(self.told.rebase));
            tracing::error!(
                last,
                read = self.told.frame,
                "the log is not the one that this process read: nothing is sent until it is rebased"
            );
            self.lost = Some(Told { rebase, ..self.told });
            if !doubt.is_doubted() {
                doubt.log_is_another();
                life = (life.0 + 1, life.1 + 1);
            }
            let why = match holds {
                true => format!("the log is another one than was followed up to frame {last}"),
                false => format!("LOG ends at frame {last}, and another frame {} was read before", self.told.frame),
            };
            super::request_rebase(self.log.as_ref(), rebase, &why).await?;
        }
        self.life = life;
        self.metrics.rebase_due(self.lost.is_some());
        self.told = Told { frame: last, id, rebase: state.rebased.map_or(0, |r| r.number) };
        self.settle(state);
        if self.lost.is_some() && self.may_lead {
            self.holds = true;
            self.hold_out(true).await;
        }
        Ok(())
    }

    /// Ends the doubt once a rebase knows of everything that this process read.
    fn settle(&mut self, state: &State) {
        let Some(rebased) = state.rebased else { return };
        self.unanswered = self.lost.is_some_and(|lost| rebased.number <= lost.rebase);
        if self.unanswered {
            return;
        }
        self.lost = None;
        self.metrics.rebase_due(false);
        self.log.doubt().rebased(self.life.0, rebased.out);
    }

    /// Adapters of other processes know nothing of a doubt: what is to be sent is kept from them. Whoever leads lets them go on after a
    /// rebase, and so does whoever held them back, for it may have been the later of the two.
    async fn hold_out(&self, hold: bool) {
        let outside: Vec<String> =
            self.channels.iter().filter(|(_, p)| p.external).map(|(channel, _)| channel.clone()).collect();
        if outside.is_empty() {
            return;
        }
        if let Err(error) = self.log.hold_out(&outside, hold).await {
            tracing::warn!(%error, hold, "cannot hold adapters in other processes back, or let them go on: they may send what is in doubt");
        }
    }

    /// What a follower does about rebases. It asks once more where the one that came was asked for by somebody who knew less of the log.
    pub(super) async fn mind_rebases(&mut self) {
        if self.lost.is_none() && std::mem::take(&mut self.holds) {
            self.hold_out(false).await;
        }
        let Some(lost) = self.lost.filter(|_| self.unanswered) else { return };
        let why = format!("frame {} was read before, in a life of LOG that no rebase knows of", lost.frame);
        match super::request_rebase(self.log.as_ref(), lost.rebase, &why).await {
            Ok(()) => self.unanswered = false,
            Err(error) => tracing::warn!(%error, "cannot ask for a rebase; trying again"),
        }
    }

    /// What OUT held before the last rebase is not to be sent, by nobody. Repeated by every router that leads, since one may have
    /// been killed before it did.
    pub(super) async fn void(&self, state: &State) {
        let Some(rebased) = state.rebased else { return };
        while let Err(error) = self.log.void_out(rebased.out).await {
            tracing::warn!(%error, "cannot take from OUT what was in it before the rebase");
            if !matches!(error, LogError::Unavailable(_)) {
                return;
            }
            tokio::time::sleep(super::patience::RETRY).await;
        }
        self.hold_out(false).await;
    }
}
