//! The conformance suite on three brokers that keep everything three times. The cases share one cluster, each in a workspace of its
//! own.

use super::{NatsLog, NatsOptions, OpenError};
use crate::log::{
    Log,
    conformance::{Backend, Case, conformance_suite, every_case, within},
};
use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;
use switchboard_simulators::NatsCluster;

struct OnCluster {
    urls: Vec<String>,
    workspace: String,
    /// What the cases share runs until the last of them is over.
    _running: Option<Arc<NatsCluster>>,
}

impl OnCluster {
    fn new() -> OnCluster {
        static RUNNING: Mutex<Weak<NatsCluster>> = Mutex::new(Weak::new());
        static CASES: AtomicU64 = AtomicU64::new(1);
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = running.upgrade().unwrap_or_else(|| Arc::new(NatsCluster::start()));
        *running = Arc::downgrade(&cluster);
        let workspace = format!("case-{}", CASES.fetch_add(1, Ordering::Relaxed));
        OnCluster { urls: cluster.urls(), workspace, _running: Some(cluster) }
    }
}

#[async_trait]
impl Backend for OnCluster {
    async fn open_limited(&self, in_max_bytes: u64) -> Arc<dyn Log> {
        let mut options = NatsOptions::new(self.urls.clone(), &self.workspace, crate::outbound::process_name());
        options.replicas = 3;
        // Each of them is reserved on each node.
        let small = 64 << 20;
        let sizes = &mut options.sizes;
        (sizes.log, sizes.out, sizes.claims, sizes.keys, sizes.blobs) = (small, small, small, small, small);
        sizes.inn = in_max_bytes.min(small);
        options.timeout = Duration::from_secs(10);
        loop {
            match NatsLog::open(&options).await {
                Ok(log) => return log,
                // The leaders of new streams are elected.
                Err(OpenError::NoJetStream(_) | OpenError::Make { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }

    fn forgets_trimmed_ids(&self) -> bool {
        false
    }

    fn knows_duplicates_when_full(&self) -> bool {
        false
    }
}

conformance_suite!(OnCluster::new());

/// Nobody here may ask the servers when they write to their disks, but the streams tell of their copies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_three_copies_says_what_a_power_cut_of_one_machine_takes() {
    let log = OnCluster::new().open_limited(64 << 20).await;
    let said = log.durability();
    assert!(said.contains("a majority of 3 servers") && said.contains("of one machine takes nothing"), "{said}");
    assert!(said.contains("one of all at once can take the last 2 minutes"), "{said}");
}

/// What two of three have is enough, whichever is gone. Streams of three copies need three nodes to be made, so they are there before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_passes_with_each_node_gone_in_turn() {
    /// They fill IN, which is a small one for that.
    const SMALL: [&str; 3] = [
        "a_nearly_full_log_refuses_messages_and_takes_results",
        "a_full_log_still_knows_its_duplicates",
        "trimming_makes_room_and_keeps_what_is_later",
    ];
    /// They wait most of the time.
    const AT_ONCE: usize = 4;
    let cases = every_case();
    assert_eq!(cases.iter().filter(|(name, _)| SMALL.contains(name)).count(), SMALL.len());
    for gone in 0..3 {
        let mut cluster = NatsCluster::start();
        let urls = cluster.urls();
        let on = |name: &'static str| OnCluster { urls: urls.clone(), workspace: name.to_owned(), _running: None };
        let open = |name: &'static str| {
            let (backend, in_max_bytes) = (on(name), if SMALL.contains(&name) { 100_000 } else { 1 << 30 });
            async move { within(backend.open_limited(in_max_bytes)).await }
        };
        stream::iter(&cases).for_each_concurrent(AT_ONCE, |(name, _)| open(name).map(drop)).await;
        cluster.node(gone).kill();
        // Leaders that were there are elected anew, one after the other.
        let elected = |(name, _): &(&'static str, Case)| {
            let log = open(name);
            async move {
                let log = log.await;
                within(async {
                    while log.read_in(0, 1).await.is_err() || log.read_log(0, 1).await.is_err() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                })
                .await;
            }
        };
        stream::iter(&cases).for_each_concurrent(AT_ONCE, elected).await;
        let passes = |(name, case): &(&'static str, Case)| {
            let (backend, name, case) = (on(name), *name, *case);
            async move {
                within(case(&backend)).await;
                println!("without node {gone}: {name}");
            }
        };
        stream::iter(&cases).for_each_concurrent(AT_ONCE, passes).await;
    }
}
