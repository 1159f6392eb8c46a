//! The conformance suite on three brokers that keep everything three times. The cases share one cluster, each in a workspace of its
//! own.

use super::{NatsLog, NatsOptions, OpenError};
use crate::log::{
    Log,
    conformance::{Backend, conformance_suite},
};
use async_trait::async_trait;
use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;
use switchboard_simulators::NatsCluster;

struct OnCluster {
    cluster: Arc<NatsCluster>,
    workspace: String,
}

impl OnCluster {
    fn new() -> OnCluster {
        static RUNNING: Mutex<Weak<NatsCluster>> = Mutex::new(Weak::new());
        static CASES: AtomicU64 = AtomicU64::new(1);
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = running.upgrade().unwrap_or_else(|| Arc::new(NatsCluster::start()));
        *running = Arc::downgrade(&cluster);
        OnCluster { cluster, workspace: format!("case-{}", CASES.fetch_add(1, Ordering::Relaxed)) }
    }
}

#[async_trait]
impl Backend for OnCluster {
    async fn open_limited(&self, in_max_bytes: u64) -> Arc<dyn Log> {
        let mut options = NatsOptions::new(self.cluster.urls(), &self.workspace, crate::outbound::process_name());
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
