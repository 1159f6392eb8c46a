//! Starting from a LOG of which only what the snapshots do not hold is kept.

use super::standby_tests::{Process, Workspace};
use crate::log::memory::{Backup, MemoryLog, MemoryOptions, Parts};
use crate::log::{Log, Seq};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::sleep;

const ALL: Parts = Parts { inn: true, log: true, out: true, beside: true };

/// A workspace that ended in order twice, with customers before, between and after, and then was killed; its two snapshots,
/// newest first, and all that it held before LOG was trimmed behind the older one.
async fn trimmed() -> (Workspace, [Seq; 2], Backup) {
    let shop = Workspace::exclusive();
    let mut ids = 1..;
    for _ in 0..2 {
        let process = shop.process("one").await;
        for id in ids.by_ref().take(6) {
            shop.says(id, if id % 2 == 0 { "refund" } else { "hello" }).await;
            sleep(Duration::from_secs(20)).await;
        }
        process.ends().await;
    }
    let last = shop.process("one").await;
    for id in ids.by_ref().take(3) {
        shop.says(id, "refund").await;
        sleep(Duration::from_secs(20)).await;
    }
    last.kill().await;
    let snapshots = shop.0.snapshot_seqs().await.expect("snapshots");
    let [newer, older] = snapshots[..] else { panic!("{snapshots:?}") };
    let whole = shop.0.copy();
    shop.0.trim_log(older).await.expect("trimmed");
    assert_eq!(shop.0.log_bounds().await.expect("LOG").0, older + 1);
    (shop, [newer, older], whole)
}

/// What comes of the whole log, without its snapshots: the same as of what is kept.
async fn whole(shop: &Workspace, copy: &Backup) -> Process {
    let log = MemoryLog::new(&MemoryOptions { clock: Some(crate::clock::now), ..MemoryOptions::default() });
    log.restore(copy, ALL);
    log.drop_snapshots(0).await.expect("dropped");
    Workspace(log, shop.1.clone()).process("one").await
}

async fn damage(shop: &Workspace, at: Seq) {
    let mut bytes = shop.0.snapshot(at).await.expect("an answer").expect("a snapshot").to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    shop.0.put_snapshot(at, Bytes::from(bytes)).await.expect("put");
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_behind_the_snapshots_is_not_missed() {
    for damaged in [false, true] {
        let (shop, [newer, _], copy) = trimmed().await;
        if damaged {
            damage(&shop, newer).await;
        }
        let (one, other) = (shop.process("one").await, whole(&shop, &copy).await);
        sleep(Duration::from_secs(1)).await;
        let parts = |p: &Process| p.handle.state.latest().1.to_parts().expect("parts");
        let (found, wanted) = (parts(&one), parts(&other));
        assert!(found.public == wanted.public, "another public part, newest damaged: {damaged}");
        assert!(found.private == wanted.private, "another private part, newest damaged: {damaged}");
        assert!(one.leads() && one.handle.state.latest().1.conversations.len() == 15);
        // It goes on: what is known is known, what is new is decided.
        shop.says(1, "hello").await;
        shop.says(16, "hello").await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(one.handle.state.latest().1.conversations.len(), 16);
        one.kill().await;
        other.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_whose_beginning_is_in_no_snapshot_that_can_be_read_is_not_led() {
    let (shop, snapshots, _) = trimmed().await;
    for at in snapshots {
        damage(&shop, at).await;
    }
    let before = shop.0.log_bounds().await;
    let refused = shop.enters("one").await.err().expect("nobody starts on it");
    assert!(refused.contains("and no snapshot reaches it: restore a backup"), "{refused}");
    assert_eq!(shop.0.log_bounds().await, before, "nothing was written");
}

#[tokio::test(start_paused = true)]
async fn a_standby_goes_on_where_the_leader_trims_what_both_have_read() {
    let shop = Workspace::new();
    let (one, two) = (shop.process("one").await, shop.process("two").await);
    for id in 1..=5 {
        shop.says(id, "hello").await;
        sleep(Duration::from_secs(1)).await;
    }
    let last = shop.0.log_bounds().await.expect("LOG").1;
    shop.0.trim_log(last).await.expect("trimmed");
    shop.says(6, "hello").await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!((one.decided(), two.decided()), (6, 6));
    one.kill().await;
    sleep(Duration::from_secs(5)).await;
    shop.says(7, "hello").await;
    sleep(Duration::from_secs(1)).await;
    assert!(two.leads());
    assert_eq!((two.decided(), two.handle.state.latest().1.conversations.len()), (7, 7));
}
