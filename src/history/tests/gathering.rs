//! Changes come together under load, and nothing waits that need not.

use super::*;
use crate::history::pace::LONGEST;
use std::time::Instant;

struct Running {
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
    log: Arc<Frames>,
    handle: HistoryHandle,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

fn running() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let log = Frames::new();
    let (stop, stopped) = watch::channel(false);
    let writer = HistoryWriter::open(&path).unwrap();
    let (handle, task) = spawn_projection(log.clone(), writer, log.decoder(), stopped);
    Running { _dir: dir, path, log, handle, stop, task }
}

impl Running {
    /// As the router does it: LOG first, then history.
    fn commit(&self, seq: Seq, events: Vec<Event>) {
        self.log.push((seq, events.clone()));
        self.handle.feed(seq, 0, Arc::new(events));
    }

    /// Without waking the projection, as `wait_for` does.
    async fn seen(&self, seq: Seq) -> Instant {
        let mut cursor = self.handle.history().watch_cursor();
        tokio::time::timeout(SOON, cursor.wait_for(|c| *c >= seq)).await.unwrap().unwrap();
        Instant::now()
    }
}

fn change(n: u32) -> Vec<Event> {
    vec![received(1, n, "again")]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_comes_alone_is_seen_at_once() {
    let r = running();
    r.commit(1, vec![channels(), opened(1, "sms")]);
    r.seen(1).await;
    let mut fastest = LONGEST;
    for seq in 2..8 {
        tokio::time::sleep(LONGEST + LONGEST / 2).await;
        let began = Instant::now();
        r.commit(seq, change(u32::try_from(seq).unwrap()));
        fastest = fastest.min(r.seen(seq).await - began);
    }
    assert!(fastest < LONGEST / 2, "{fastest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_takes_few_transactions() {
    const FRAMES: u64 = 300;
    let r = running();
    r.commit(1, vec![channels(), opened(1, "sms")]);
    r.seen(1).await;
    let mut cursor = r.handle.history().watch_cursor();
    let commits = tokio::spawn(async move {
        let mut commits = 0;
        while *cursor.borrow_and_update() < FRAMES {
            cursor.changed().await.unwrap();
            commits += 1;
        }
        commits
    });
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    for seq in 2..=FRAMES {
        ticks.tick().await;
        r.commit(seq, change(u32::try_from(seq).unwrap()));
    }
    let commits = tokio::time::timeout(SOON, commits).await.unwrap().unwrap();
    assert!(commits < FRAMES / 2, "{commits} transactions for {FRAMES} frames");
    assert!(!r.handle.is_stuck());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_change_need_not_wait_for_others() {
    let r = running();
    r.commit(1, vec![channels(), opened(1, "sms")]);
    let big = |seq: u32| (0..3000).map(|m| received(1, seq * 10_000 + m, "one of many")).collect::<Vec<_>>();
    let (mut alone, mut awaited) = (vec![], vec![]);
    for round in 0..4u64 {
        let seq = 2 + round * 4;
        for (first, waits) in [(seq, false), (seq + 2, true)] {
            // A transaction that took long is followed by the longest rest.
            r.commit(first, big(u32::try_from(first).unwrap()));
            r.seen(first).await;
            let began = Instant::now();
            r.commit(first + 1, change(u32::try_from(first).unwrap()));
            if waits {
                assert!(r.handle.history().wait_for(first + 1, SOON).await);
                awaited.push(began.elapsed());
            } else {
                alone.push(r.seen(first + 1).await - began);
            }
        }
    }
    assert!(!r.handle.history().wait_for(1000, Duration::from_millis(5)).await);
    assert_eq!(r.handle.history().wanted().seq(), 0, "who gave up does not wait any more");
    let (alone, awaited) = (alone.into_iter().min().unwrap(), awaited.into_iter().min().unwrap());
    assert!(alone > LONGEST / 2, "nobody asked: it could wait, and took {alone:?}");
    assert!(awaited < LONGEST / 2, "{awaited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_router_hands_over_is_not_read_from_the_log() {
    let r = running();
    r.commit(1, vec![channels(), opened(1, "sms")]);
    r.seen(1).await;
    for seq in 2..20u32 {
        // Read from the log, the frame would be empty.
        r.log.push((seq.into(), vec![]));
        tokio::time::sleep(Duration::from_millis(u64::from(seq % 5))).await;
        r.handle.feed(seq.into(), 0, Arc::new(change(seq)));
        r.seen(seq.into()).await;
        let id = msg(seq).to_string();
        assert!(r.handle.history().message(id).await.unwrap().is_some(), "frame {seq}");
    }
    // What is not handed over is read after all.
    r.log.push((20, change(20)));
    r.seen(20).await;
    assert!(r.handle.history().message(msg(20).to_string()).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_while_changes_gather_loses_and_repeats_nothing() {
    let frames: Vec<(Seq, Vec<Event>)> = std::iter::once((1, vec![channels(), opened(1, "sms")]))
        .chain((2..80).map(|n| (n.into(), [change(n), vec![decided(1, n, "Refunds")]].concat())))
        .collect();
    let whole = tempfile::tempdir().unwrap();
    let (w, _) = history_of(whole.path(), &frames);
    let r = running();
    for (seq, events) in frames.clone() {
        r.commit(seq, events);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    r.task.abort();
    let _ = r.task.await;
    // The blocking part of a transaction may still be running.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut again = HistoryWriter::open(&r.path).unwrap();
    let cursor = again.cursor();
    assert!(cursor <= 79, "{cursor}");
    again.apply(&frames).unwrap();
    let without_runs =
        |path: &Path| dump(path).into_iter().filter(|(t, _)| t != "runs" && t != "ids").collect::<Vec<_>>();
    assert_eq!(again.cursor(), 79);
    assert_eq!(meta_without_run(&without_runs(&r.path)), meta_without_run(&without_runs(w.path())));
}

/// Where the runs of ids begin depends on the transactions; nothing else does.
fn meta_without_run(tables: &[(String, Vec<Vec<Value>>)]) -> Vec<(String, Vec<Vec<Value>>)> {
    let mut tables = tables.to_vec();
    for (table, rows) in &mut tables {
        if table == "meta" {
            rows.iter_mut().for_each(|row| drop(row.drain(5..7)));
        }
    }
    tables
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_end_folds_what_was_handed_over() {
    let r = running();
    r.commit(1, vec![channels(), opened(1, "sms")]);
    r.seen(1).await;
    for n in 2..50 {
        r.commit(n.into(), change(n));
    }
    r.stop.send(true).unwrap();
    tokio::time::timeout(SOON, r.task).await.unwrap().unwrap();
    assert_eq!(r.handle.history().cursor(), 49);
    assert!(r.handle.is_closed() && r.handle.trim(t(0)).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_in_what_is_handed_over_is_read_from_the_log() {
    let r = running();
    for n in 1..40u32 {
        let events = if n == 1 { vec![channels(), opened(1, "sms")] } else { change(n) };
        r.log.push((n.into(), events.clone()));
        if n % 7 != 0 {
            r.handle.feed(n.into(), 0, Arc::new(events));
        }
    }
    r.seen(39).await;
    let (c, _) = r.handle.history().conversation(conv(1)).await.unwrap().unwrap();
    assert_eq!(c.messages, 38);
    assert!(!r.handle.is_stuck());
}

#[test]
fn what_is_touched_often_in_a_transaction_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let mut w = HistoryWriter::open(&path).unwrap();
    w.apply(&[(1, vec![channels(), opened(1, "sms")])]).unwrap();
    let auto = Author::Auto { rule: "Refunds".into() };
    let before = w.db.total_changes();
    let sent = Public::Sent { conv: conv(1), message: msg(2), at: t(5) };
    let released = Public::Released { conv: conv(1), message: msg(2), part: 1, n: 1, until: t(50) };
    let one = vec![received(1, 1, "refund?"), decided(1, 1, "Refunds"), send(1, 2, "yes", auto, false)];
    w.apply(&[(2, one), (3, vec![released.into()]), (4, vec![sent.into()])]).unwrap();
    // Two messages and their ids (with the run's beginning), the conversation, the rule's hits in all and of the pack, the slot with its
    // hits, the pack and the cursor.
    assert_eq!(w.db.total_changes() - before, 2 + 2 + 1 + 1 + 2 + 2 + 1 + 1);
    let before = w.db.total_changes();
    w.apply(&[(5, vec![Public::Sent { conv: conv(1), message: msg(2), at: t(6) }.into()])]).unwrap();
    assert_eq!(w.db.total_changes() - before, 1, "nothing changed but the cursor");
}
