//! LOG: one writer, whole frames, and each of the three answers settled.

use super::{Backend, frame, send, seqs, take, texts};
use crate::log::{Commit, FrameWrite};
use bytes::Bytes;
use std::sync::Arc;

pub(crate) async fn of_two_routers_only_one_commits(backend: &dyn Backend) {
    let log = backend.open().await;
    assert_eq!(log.commit(0, frame("lead", 1, vec![])).await, Commit::Done(1));
    let routers: Vec<_> = (0..16)
        .map(|n| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { log.commit(1, frame(&format!("router {n}"), 1, vec![send("sms", n)])).await })
        })
        .collect();
    let mut done = 0;
    for router in routers {
        match router.await.expect("router") {
            Commit::Done(seq) => {
                assert_eq!(seq, 2);
                done += 1;
            }
            other => assert_eq!(other, Commit::Conflict),
        }
    }
    assert_eq!(done, 1);
    assert_eq!(log.log_bounds().await, Ok((1, 2)));
    assert_eq!(log.out_last().await, Ok(1));
    assert_eq!(log.commit(7, frame("ahead", 2, vec![])).await, Commit::Conflict, "nor may one skip a sequence");
}

pub(crate) async fn a_repeated_commit_is_settled_by_reading_the_frame(backend: &dyn Backend) {
    let log = backend.open().await;
    let ours = frame("id 7: our frame", 1, vec![send("sms", 1)]);
    assert_eq!(log.commit(0, ours.clone()).await, Commit::Done(1));
    // As if the answer had been lost: the same bytes again.
    assert_eq!(log.commit(0, ours.clone()).await, Commit::Conflict);
    let there = log.read_log(0, 1).await.expect("read");
    assert_eq!(there[0].data, ours.bytes, "our frame is the one at expected + 1");
    assert_eq!(log.out_last().await, Ok(1), "its send was released once");
    assert_eq!(log.commit(1, frame("next", 2, vec![])).await, Commit::Done(2));
}

pub(crate) async fn a_refused_frame_leaves_no_key_and_no_send(backend: &dyn Backend) {
    let log = backend.open().await;
    assert_eq!(log.commit(0, frame("lead", 1, vec![])).await, Commit::Done(1));
    let late = FrameWrite { keys: vec![("contact".into(), [1; 32])], ..frame("late", 1, vec![send("sms", 1)]) };
    assert_eq!(log.commit(0, late).await, Commit::Conflict);
    assert_eq!(log.get_keys(&["contact".into()]).await, Ok(vec![None]));
    assert_eq!(log.out_last().await, Ok(0));
    assert_eq!(texts(&log.read_log(0, 10).await.expect("read")), ["lead"]);
}

pub(crate) async fn a_frame_is_there_after_reopening_with_its_keys_and_sends(backend: &dyn Backend) {
    let log = backend.open().await;
    let sends = vec![send("sms", 1), send("chat", 2), send("sms", 3)];
    let written = FrameWrite { keys: vec![("contact".into(), [7; 32])], ..frame("frame", 1, sends) };
    assert_eq!(log.commit(0, written).await, Commit::Done(1));
    drop(log);
    let log = backend.open().await;
    assert_eq!(texts(&log.read_log(0, 10).await.expect("read")), ["frame"]);
    assert_eq!(log.get_keys(&["other".into(), "contact".into()]).await, Ok(vec![None, Some([7; 32])]));
    assert_eq!(log.out_last().await, Ok(3));
    let mut outbox = log.outbox("sms").await.expect("outbox");
    assert_eq!(texts(&take(&mut *outbox, 2).await), ["send 1", "send 3"]);
}

pub(crate) async fn sends_that_do_not_continue_out_are_refused(backend: &dyn Backend) {
    let log = backend.open().await;
    for wrong in [0, 2, 9] {
        assert_eq!(log.commit(0, frame("off", wrong, vec![send("sms", 1)])).await, Commit::Conflict);
    }
    assert_eq!((log.log_bounds().await, log.out_last().await), (Ok((1, 0)), Ok(0)));
    assert_eq!(log.commit(0, frame("right", 1, vec![send("sms", 1), send("sms", 2)])).await, Commit::Done(1));
    assert_eq!(log.commit(1, frame("nothing to send", 3, vec![])).await, Commit::Done(2));
    assert_eq!(log.commit(2, frame("right", 3, vec![send("sms", 3)])).await, Commit::Done(3));
    assert_eq!(log.out_last().await, Ok(3));
}

pub(crate) async fn a_frame_sealed_with_another_key_is_refused(backend: &dyn Backend) {
    let log = backend.open().await;
    assert_eq!(log.put_key("contact", [1; 32]).await, Ok([1; 32]));
    let same = FrameWrite { keys: vec![("contact".into(), [1; 32])], ..frame("same", 1, vec![]) };
    let keys = vec![("new".into(), [3; 32]), ("contact".into(), [2; 32])];
    let other = FrameWrite { keys, ..frame("other", 1, vec![]) };
    assert_eq!(log.commit(0, other).await, Commit::Conflict, "nobody could open it");
    assert_eq!(log.get_keys(&["new".into()]).await, Ok(vec![None]), "and it leaves nothing");
    assert_eq!(log.commit(0, same).await, Commit::Done(1));
    assert_eq!(log.get_keys(&["contact".into()]).await, Ok(vec![Some([1; 32])]));
}

pub(crate) async fn frames_are_read_in_order_and_the_tail_wakes(backend: &dyn Backend) {
    let log = backend.open().await;
    let mut tail = log.log_tail();
    let reader = tokio::spawn({
        let log = Arc::clone(&log);
        async move {
            let mut seen = Vec::new();
            while seen.len() < 100 {
                tail.borrow_and_update();
                let page = log.read_log(seen.len() as u64, 8).await.expect("read");
                if page.is_empty() {
                    tail.changed().await.expect("the log is open");
                }
                seen.extend(texts(&page));
            }
            seen
        }
    });
    for n in 0..100 {
        assert_eq!(log.commit(n, frame(&format!("frame {n}"), 1, vec![])).await, Commit::Done(n + 1));
    }
    let expected: Vec<_> = (0..100).map(|n| format!("frame {n}")).collect();
    assert_eq!(reader.await.expect("reader"), expected);
}

pub(crate) async fn the_bounds_of_log_follow_appends_and_trims(backend: &dyn Backend) {
    let log = backend.open().await;
    assert_eq!(log.log_bounds().await, Ok((1, 0)), "an empty log");
    for n in 0..5 {
        log.commit(n, frame("frame", 1, vec![])).await;
    }
    // What was committed is shown before it is trimmed: it does not come afterwards.
    assert_eq!(seqs(&log.read_log(0, 10).await.expect("read")), [1, 2, 3, 4, 5]);
    log.trim_log(3).await.expect("trim");
    assert_eq!(log.log_bounds().await, Ok((4, 5)));
    assert_eq!(seqs(&log.read_log(0, 10).await.expect("read")), [4, 5]);
    log.trim_log(5).await.expect("trim");
    drop(log);
    let log = backend.open().await;
    assert_eq!(log.log_bounds().await, Ok((6, 5)), "the sequence goes on after everything was trimmed");
    assert_eq!(log.commit(5, frame("next", 1, vec![])).await, Commit::Done(6));
}

pub(crate) async fn a_large_frame_is_kept_whole(backend: &dyn Backend) {
    let log = backend.open().await;
    let bytes = Bytes::from((0..512 * 1024_u32).map(|n| (n % 251) as u8).collect::<Vec<u8>>());
    for n in 0..20 {
        let large = FrameWrite { bytes: bytes.clone(), ..FrameWrite::default() };
        assert_eq!(log.commit(n, large).await, Commit::Done(n + 1));
    }
    let (mut after, mut count) = (0, 0);
    loop {
        let page = log.read_log(after, 100).await.expect("read");
        let Some(last) = page.last() else { break };
        after = last.seq;
        assert!(page.iter().all(|r| r.data == bytes));
        count += page.len();
    }
    assert_eq!(count, 20);
}
