//! OUT, claims, keys, blobs, cursors and snapshots: what edges and the router's start depend on.

use super::{Backend, frame, ingest, send, seqs, take, texts};
use crate::log::{Claim, Commit, Log, LogError, OutRecord};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use switchboard_envelope::{BlobRef, Timestamp};

async fn release(log: &dyn Log, sends: Vec<OutRecord>) {
    let (_, last) = log.log_bounds().await.expect("bounds");
    let first = log.out_last().await.expect("out_last") + 1;
    assert_eq!(log.commit(last, frame("release", first, sends)).await, Commit::Done(last + 1));
}

pub(crate) async fn a_channel_gets_its_own_records_in_order(backend: &dyn Backend) {
    let log = backend.open().await;
    for n in 0..40 {
        release(&*log, vec![send(if n % 2 == 0 { "sms" } else { "chat" }, n)]).await;
    }
    let mut sms = log.outbox("sms").await.expect("outbox");
    let got = take(&mut *sms, 20).await;
    assert_eq!(seqs(&got), (1..=39).step_by(2).collect::<Vec<_>>());
    assert!(got.iter().all(|r| r.channel == "sms"));
    assert_eq!(texts(&got)[1], "send 2");
}

pub(crate) async fn an_outbox_waits_and_is_woken(backend: &dyn Backend) {
    let log = backend.open().await;
    let mut outbox = log.outbox("sms").await.expect("outbox");
    let waiting = tokio::time::timeout(Duration::from_millis(30), outbox.next(5)).await;
    assert!(waiting.is_err(), "an empty outbox must wait");
    let reader = tokio::spawn(async move { take(&mut *outbox, 30).await });
    for n in 0..30 {
        release(&*log, vec![send("chat", 100 + n), send("sms", n)]).await;
    }
    let expected: Vec<_> = (0..30).map(|n| format!("send {n}")).collect();
    assert_eq!(texts(&reader.await.expect("reader")), expected);
}

pub(crate) async fn an_unclaimed_record_comes_again_after_reopening(backend: &dyn Backend) {
    let log = backend.open().await;
    release(&*log, vec![send("sms", 1), send("sms", 2)]).await;
    let mut outbox = log.outbox("sms").await.expect("outbox");
    assert_eq!(take(&mut *outbox, 2).await.len(), 2);
    drop((outbox, log));
    let log = backend.open().await;
    let mut outbox = log.outbox("sms").await.expect("outbox");
    let mut again = texts(&take(&mut *outbox, 2).await);
    again.sort();
    assert_eq!(again, ["send 1", "send 2"], "delivered is not done");
}

pub(crate) async fn of_many_claims_one_wins(backend: &dyn Backend) {
    let log = backend.open().await;
    release(&*log, vec![send("sms", 1)]).await;
    assert_eq!(log.claimed("sms.s1.1.1").await, Ok(None));
    let edges: Vec<_> = (0..32)
        .map(|n| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { (n, log.claim("sms.s1.1.1", &format!("nonce {n}")).await) })
        })
        .collect();
    let mut owners = Vec::new();
    for edge in edges {
        let (n, claim) = edge.await.expect("edge");
        if claim == Ok(Claim::Ours) {
            owners.push(format!("nonce {n}"));
        }
    }
    assert_eq!(owners.len(), 1, "{owners:?}");
    assert_eq!(log.claimed("sms.s1.1.1").await, Ok(owners.pop()));
}

pub(crate) async fn a_claim_whose_answer_was_lost_is_still_ours(backend: &dyn Backend) {
    let log = backend.open().await;
    release(&*log, vec![send("sms", 1), send("sms", 2)]).await;
    assert_eq!(log.claim("sms.s1.1.1", "a").await, Ok(Claim::Ours));
    assert_eq!(log.claim("sms.s1.1.1", "a").await, Ok(Claim::Ours), "the same nonce repeats the question");
    assert_eq!(log.claim("sms.s1.1.1", "b").await, Ok(Claim::Taken));
    assert_eq!(log.claim("sms.s1.1.1", "a").await, Ok(Claim::Ours));
    assert_eq!(log.claim("sms.s2.1.1", "b").await, Ok(Claim::Ours), "each attempt has its own claim");
}

pub(crate) async fn the_routers_claim_stops_a_late_edge(backend: &dyn Backend) {
    let log = backend.open().await;
    release(&*log, vec![send("sms", 1), send("sms", 2)]).await;
    assert_eq!(log.claim("sms.s1.1.1", "router").await, Ok(Claim::Ours), "so nothing was sent");
    assert_eq!(log.claim("sms.s1.1.1", "edge").await, Ok(Claim::Taken));
    assert_eq!(log.claim("sms.s2.1.1", "edge").await, Ok(Claim::Ours));
    assert_eq!(log.claim("sms.s2.1.1", "router").await, Ok(Claim::Taken), "so it may have been sent");
    assert_eq!(log.claimed("sms.s2.1.1").await, Ok(Some("edge".into())));
}

pub(crate) async fn a_claim_is_there_after_reopening(backend: &dyn Backend) {
    let log = backend.open().await;
    release(&*log, vec![send("sms", 1)]).await;
    assert_eq!(log.claim("sms.s1.1.1", "before").await, Ok(Claim::Ours));
    drop(log);
    let log = backend.open().await;
    assert_eq!(log.claim("sms.s1.1.1", "after").await, Ok(Claim::Taken), "else it is sent twice");
    assert_eq!(log.claimed("sms.s1.1.1").await, Ok(Some("before".into())));
}

pub(crate) async fn an_attempt_released_twice_is_claimed_once(backend: &dyn Backend) {
    let log = backend.open().await;
    release(&*log, vec![send("sms", 1)]).await;
    assert_eq!(log.claim("sms.s1.1.1", "first").await, Ok(Claim::Ours));
    // A rebase can release an attempt again, with the same key.
    release(&*log, vec![send("sms", 1)]).await;
    assert_eq!(log.claim("sms.s1.1.1", "second").await, Ok(Claim::Taken));
    drop(log);
    let log = backend.open().await;
    assert_eq!(log.claim("sms.s1.1.1", "third").await, Ok(Claim::Taken));
    assert_eq!(log.claim("sms.s1.1.1", "first").await, Ok(Claim::Ours));
}

pub(crate) async fn trimmed_sends_are_gone_and_later_ones_stay(backend: &dyn Backend) {
    let log = backend.open().await;
    release(&*log, (0..600).map(|n| send("sms", n)).collect()).await;
    assert_eq!(log.claim("sms.s1.1.1", "edge").await, Ok(Claim::Ours));
    let stored = log.read_log(0, 1).await.expect("read")[0].at;
    log.trim_out(stored).await.expect("trim");
    assert_eq!(log.claimed("sms.s1.1.1").await, Ok(Some("edge".into())), "stored before, not at");
    // A claim is stored with its record, or when it is made.
    let now = log.now().await.expect("now");
    log.trim_out(now.max(stored).plus(1)).await.expect("trim");
    assert_eq!(log.claimed("sms.s1.1.1").await, Ok(None));
    assert_eq!(log.out_last().await, Ok(600), "the sequence goes on");
    release(&*log, vec![send("sms", 1000)]).await;
    let mut outbox = log.outbox("sms").await.expect("outbox");
    assert_eq!(seqs(&take(&mut *outbox, 1).await), [601]);
    log.trim_out(Timestamp(0)).await.expect("trim");
    assert_eq!(log.claim("sms.s1000.1.1", "edge").await, Ok(Claim::Ours));
}

pub(crate) async fn a_key_is_created_once_and_erased_for_good(backend: &dyn Backend) {
    let log = backend.open().await;
    assert_eq!(log.put_key("ann", [1; 32]).await, Ok([1; 32]));
    assert_eq!(log.put_key("ann", [2; 32]).await, Ok([1; 32]), "the first one is in force");
    assert_eq!(log.put_key("bob", [3; 32]).await, Ok([3; 32]));
    log.delete_key("ann").await.expect("delete");
    log.delete_key("ann").await.expect("deleting again");
    drop(log);
    let log = backend.open().await;
    assert_eq!(log.get_keys(&["ann".into(), "bob".into()]).await, Ok(vec![None, Some([3; 32])]));
    assert_eq!(log.put_key("ann", [4; 32]).await, Ok([4; 32]), "a later message gets a new key");
}

pub(crate) async fn a_blob_is_found_in_its_scope_only(backend: &dyn Backend) {
    let log = backend.open().await;
    let bytes = Bytes::from_static(b"the same picture");
    let ann = log.put_blob("chat/ann", bytes.clone()).await.expect("put");
    assert_eq!(ann.0, "blob:sha256:afe1ed8d54cd80e6888fce90e432a12abae1e310f34015d2f741860737f7875f");
    assert_eq!(log.get_blob("chat/bob", &ann).await, Ok(None), "a hash alone opens nothing");
    let bob = log.put_blob("chat/bob", bytes.clone()).await.expect("put");
    assert_eq!(ann, bob);
    assert_eq!(log.put_blob("chat/bob", bytes.clone()).await, Ok(bob.clone()), "putting again changes nothing");
    log.delete_blob("chat/ann", &ann).await.expect("delete");
    log.delete_blob("chat/ann", &ann).await.expect("deleting again");
    assert_eq!(log.get_blob("chat/ann", &ann).await, Ok(None));
    assert_eq!(log.get_blob("chat/bob", &bob).await, Ok(Some(bytes)), "erasing Ann takes nothing from Bob");
}

pub(crate) async fn a_blob_is_there_after_reopening(backend: &dyn Backend) {
    let log = backend.open().await;
    let large = Bytes::from(vec![9; 3 << 20]);
    let empty = log.put_blob("sms/1", Bytes::new()).await.expect("put");
    let blob = log.put_blob("sms/1", large.clone()).await.expect("put");
    drop(log);
    let log = backend.open().await;
    assert_eq!(log.get_blob("sms/1", &blob).await, Ok(Some(large)));
    assert_eq!(log.get_blob("sms/1", &empty).await, Ok(Some(Bytes::new())));
}

pub(crate) async fn a_reference_that_is_no_hash_reaches_no_file(backend: &dyn Backend) {
    let log = backend.open().await;
    let hostile =
        ["", "blob:sha256:", "blob:sha256:../../log.db", "/etc/passwd", &format!("blob:sha256:{}", "A".repeat(64))];
    for reference in hostile {
        let blob = BlobRef(reference.to_owned());
        assert!(matches!(log.get_blob("chat/ann", &blob).await, Err(LogError::Refused(_))), "{reference}");
        assert!(matches!(log.delete_blob("chat/ann", &blob).await, Err(LogError::Refused(_))), "{reference}");
    }
    ingest(&*log, "the log still works").await;
}

pub(crate) async fn an_edge_gets_back_its_cursor(backend: &dyn Backend) {
    let log = backend.open().await;
    assert_eq!(log.get_cursor("sms/list").await, Ok(None));
    log.put_cursor("sms/list", "page 1").await.expect("put");
    log.put_cursor("sms/list", "page 2").await.expect("put");
    drop(log);
    let log = backend.open().await;
    assert_eq!(log.get_cursor("sms/list").await, Ok(Some("page 2".into())));
    assert_eq!(log.get_cursor("other").await, Ok(None));
    for _ in 0..2 {
        log.delete_cursor("sms/list").await.expect("delete");
        assert_eq!(log.get_cursor("sms/list").await, Ok(None));
    }
    drop(log);
    let log = backend.open().await;
    assert_eq!(log.get_cursor("sms/list").await, Ok(None));
    assert_eq!(log.swap_cursor("sms/list", None, "page 1").await, Ok(true), "it is as if it never was");
}

pub(crate) async fn the_snapshot_before_the_newest_is_kept(backend: &dyn Backend) {
    let log = backend.open().await;
    assert!(log.snapshots().await.expect("snapshots").is_empty());
    for at in [10, 20, 30] {
        log.put_snapshot(at, Bytes::from(format!("state at {at}"))).await.expect("put");
    }
    log.put_snapshot(30, Bytes::from_static(b"state at 30, again")).await.expect("put");
    drop(log);
    let log = backend.open().await;
    let kept = log.snapshots().await.expect("snapshots");
    let expected = [(30, Bytes::from_static(b"state at 30, again")), (20, Bytes::from_static(b"state at 20"))];
    assert_eq!(kept, expected);
    for (at, bytes) in expected {
        assert_eq!(log.snapshot(at).await, Ok(Some(bytes)), "each can be read alone");
    }
    assert_eq!(log.snapshot(10).await, Ok(None));
}

/// After an older copy of LOG came back, others have the numbers of the frames that they are of.
pub(crate) async fn snapshots_of_frames_that_are_lost_are_dropped(backend: &dyn Backend) {
    let log = backend.open().await;
    for at in [10, 20] {
        log.put_snapshot(at, Bytes::from(format!("state {at}"))).await.expect("put");
    }
    log.drop_snapshots(20).await.expect("drop");
    assert_eq!(log.snapshots().await.expect("snapshots").len(), 2, "both are of frames that are there");
    log.drop_snapshots(15).await.expect("drop");
    let kept = || async { log.snapshots().await.expect("snapshots").iter().map(|(at, _)| *at).collect::<Vec<_>>() };
    assert_eq!(kept().await, [10]);
    log.put_snapshot(16, Bytes::from_static(b"state 16")).await.expect("put");
    assert_eq!(kept().await, [16, 10], "and none of them displaces a new one");
}
