//! A channel's worker: takes OUT records as they come and runs many attempts at once. The order within a conversation is
//! the router's: it releases one at a time.

use super::rate::Limits;
use crate::clock;
use crate::http::media::Links;
use crate::log::{Log, LogError, Outbox, Seq, Stored};
use crate::metrics::Metrics;
use async_trait::async_trait;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use switchboard_adapter_sdk::{Adapter, Answer, Call, CallError, Client, Transport};
use switchboard_envelope::{Outbound, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

/// Records taken at once.
const BATCH: usize = 256;

/// Who makes the calls: the shared HTTP client, or a provider in memory.
#[async_trait]
pub trait Caller: Send + Sync + 'static {
    async fn call(&self, call: Call) -> Answer;

    /// The same, unless it would leave after `latest`: then it is not sent. Who waits for something before a call leaves looks again
    /// once that came.
    async fn call_until(&self, call: Call, latest: Timestamp) -> Answer {
        if clock::now() > latest {
            return Err(CallError::NotSent("too late for an answer before the attempt's end".into()));
        }
        self.call(call).await
    }
}

#[async_trait]
impl Caller for Client {
    async fn call(&self, call: Call) -> Answer {
        Client::call(self, call).await
    }
}

/// What a channel needs to send.
pub struct Lane {
    pub channel: String,
    pub adapter: Arc<dyn Adapter>,
    pub log: Arc<dyn Log>,
    pub client: Arc<dyn Caller>,
    /// What makes the attempts where they are no HTTP calls.
    pub transport: Option<Arc<dyn Transport>>,
    pub limits: Option<Limits>,
    pub send_timeout: Duration,
    pub metrics: Arc<Metrics>,
    /// Attempts that run at once.
    pub parallel: usize,
    /// Names this process in its claims.
    pub process: String,
    /// Where providers fetch our files; `None` when nothing of ours is public.
    pub links: Option<Arc<Links>>,
    /// Why nothing may be sent, while it is so: by a clock that is wrong attempts would be taken for over, or for young.
    pub clock_wrong: watch::Receiver<Option<String>>,
    /// What it made; of a lane that starts, nothing.
    pub made: Made,
}

/// Records of which this process has an attempt that has not come to its claim. One that is delivered again meanwhile must not
/// wait for the rate, and use it, a second time.
#[derive(Clone, Default)]
struct InHand(Arc<Mutex<HashSet<Seq>>>);

impl InHand {
    fn seqs(&self) -> MutexGuard<'_, HashSet<Seq>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest attempts that this process made, by their claims, so that none is made again where the log does not know of it any
/// more: it may come back as an older copy, without the claim.
#[derive(Default)]
pub struct Made(Mutex<Known>);

#[derive(Default)]
struct Known {
    claims: HashSet<Arc<str>>,
    /// The same, the oldest first.
    order: VecDeque<Arc<str>>,
}

impl Made {
    /// So many are remembered.
    const MOST: usize = 16_384;

    /// Remembers an attempt; false when it was made before.
    pub(super) fn is_new(&self, claim: String) -> bool {
        let claim: Arc<str> = claim.into();
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !made.claims.insert(claim.clone()) {
            return false;
        }
        made.order.push_back(claim);
        if made.order.len() > Made::MOST
            && let Some(oldest) = made.order.pop_front()
        {
            made.claims.remove(&oldest);
        }
        true
    }
}

/// Starts a channel's worker. It takes no new records once `stop` is true, and ends when what it took is settled. Aborting
/// it aborts its attempts.
pub fn spawn(lane: Lane, mut stop: watch::Receiver<bool>) -> JoinHandle<()> {
    let lane = Arc::new(lane);
    tokio::spawn(async move {
        let (mut attempts, in_hand) = (JoinSet::new(), InHand::default());
        let mut clock_wrong = lane.clock_wrong.clone();
        while !*stop.borrow() {
            tokio::select! {
                biased;
                _ = stop.changed() => continue,
                () = turns(&mut clock_wrong, Option::is_none) => {}
            }
            let mut outbox = match lane.log.outbox(&lane.channel).await {
                Ok(outbox) => outbox,
                Err(error) => {
                    complain(&lane, &error).await;
                    continue;
                }
            };
            let (claimed, mut acks) = mpsc::unbounded_channel();
            loop {
                let life = lane.log.doubt().log_life();
                let records = tokio::select! {
                    biased;
                    Some(seq) = acks.recv() => {
                        acknowledge(outbox.as_mut(), seq).await;
                        continue;
                    }
                    _ = stop.changed() => break,
                    // What is not claimed yet is handed back with the outbox.
                    () = turns(&mut clock_wrong, Option::is_some) => break,
                    records = outbox.next(BATCH) => records,
                };
                match records {
                    // LOG began another life while these were waited for: which of the two they are of shows when they come again.
                    Ok(_) if lane.log.doubt().log_life() != life => break,
                    Ok(records) => {
                        for record in records {
                            if in_hand.seqs().insert(record.seq) {
                                run(&lane, &mut attempts, &record, life, &in_hand, claimed.clone()).await;
                            }
                        }
                    }
                    Err(error) => {
                        complain(&lane, &error).await;
                        break;
                    }
                }
            }
            // What is claimed until now need not come again, be it to this process or to another.
            while let Ok(seq) = acks.try_recv() {
                acknowledge(outbox.as_mut(), seq).await;
            }
        }
        while attempts.join_next().await.is_some() {}
    })
}

/// Waits until the clock is as `wanted`; for ever when nobody looks at it.
async fn turns(clock: &mut watch::Receiver<Option<String>>, wanted: fn(&Option<String>) -> bool) {
    if clock.wait_for(wanted).await.is_err() {
        std::future::pending().await
    }
}

async fn acknowledge(outbox: &mut dyn Outbox, seq: Seq) {
    if let Err(error) = outbox.ack(seq).await {
        // It will come again, and its claim will be taken.
        tracing::debug!(%error, "an acknowledgement was lost");
    }
}

/// Starts an attempt. Its record is acknowledged once its claim is decided, so that a process that is killed before leaves it
/// to whoever is next. No more can wait there than attempts run.
async fn run(
    lane: &Arc<Lane>,
    attempts: &mut JoinSet<()>,
    stored: &Stored,
    life: u64,
    in_hand: &InHand,
    claimed: mpsc::UnboundedSender<Seq>,
) {
    let (seq, in_hand) = (stored.seq, in_hand.clone());
    let done = move || {
        in_hand.seqs().remove(&seq);
        let _ = claimed.send(seq);
    };
    let record = match Outbound::from_slice(&stored.data) {
        Ok(record) => record,
        Err(error) => {
            // Nothing is sent; at `until` the router finds the claim free.
            tracing::error!(channel = %lane.channel, %error, "an outbound record cannot be read");
            return done();
        }
    };
    while attempts.try_join_next().is_some() {}
    while attempts.len() >= lane.parallel.max(1) {
        attempts.join_next().await;
    }
    let lane = lane.clone();
    attempts.spawn(async move { lane.handle(record, (life, seq), done).await });
}

async fn complain(lane: &Lane, error: &LogError) {
    tracing::warn!(channel = %lane.channel, %error, "cannot read the outbound log; trying again");
    lane.metrics.log_error("outbox");
    tokio::time::sleep(Duration::from_millis(200)).await;
}
