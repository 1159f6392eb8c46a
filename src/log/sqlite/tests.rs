//! The conformance suite over SQLite, and what only SQLite can get wrong.

use super::{OpenError, SqliteLog, SqliteOptions, lock};
use crate::log::{
    Commit, FrameWrite, Ingested, Log, LogError,
    conformance::{Backend, conformance_suite, frame, ingest, record, send, seqs, take, texts, within},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{fs, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;

struct InDirectory(TempDir);

impl InDirectory {
    fn new() -> InDirectory {
        InDirectory(TempDir::new().expect("a temporary directory"))
    }
}

#[async_trait]
impl Backend for InDirectory {
    async fn open_limited(&self, in_max_bytes: u64) -> Arc<dyn Log> {
        let options = SqliteOptions { in_max_bytes, ..SqliteOptions::default() };
        SqliteLog::open(self.0.path(), &options).expect("open")
    }
}

conformance_suite!(InDirectory::new());

fn open(dir: &Path) -> Arc<SqliteLog> {
    SqliteLog::open(dir, &SqliteOptions::default()).expect("open")
}

#[tokio::test]
async fn two_processes_never_share_a_directory() {
    let dir = TempDir::new().expect("dir");
    let first = open(dir.path());
    let Err(error) = SqliteLog::open(dir.path(), &SqliteOptions::default()) else { panic!("opened twice") };
    assert!(matches!(error, OpenError::Locked { .. }));
    let text = error.to_string();
    assert!(text.contains(&dir.path().display().to_string()) && text.contains("another switchboard"), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    drop(first);
    open(dir.path());
}

#[tokio::test]
async fn a_foreign_or_newer_database_is_not_written_to() {
    let dir = TempDir::new().expect("dir");
    let path = dir.path().join("log.db");
    let foreign = rusqlite::Connection::open(&path).expect("create");
    foreign.execute_batch("CREATE TABLE theirs (x)").expect("create");
    drop(foreign);
    let error = SqliteLog::open(dir.path(), &SqliteOptions::default()).err().expect("refused");
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    fs::remove_file(&path).expect("remove");
    drop(open(dir.path()));
    let newer = rusqlite::Connection::open(&path).expect("open");
    newer.pragma_update(None, "user_version", 99).expect("update");
    drop(newer);
    let error = SqliteLog::open(dir.path(), &SqliteOptions::default()).err().expect("refused");
    assert!(error.to_string().contains("format 99"), "{error}");
    fs::write(&path, b"not a database at all, but long enough to be taken for one".repeat(100)).expect("write");
    let error = SqliteLog::open(dir.path(), &SqliteOptions::default()).err().expect("refused");
    assert!(matches!(error, OpenError::Database { .. }), "{error}");
}

/// The directory as a power cut would leave it: copied while the log is open, so that nothing is folded or closed.
fn copy_as_it_is(from: &Path, to: &Path) {
    for name in ["log.db", "log.db-wal"] {
        fs::copy(from.join(name), to.join(name)).expect("copy");
    }
}

#[tokio::test]
async fn a_torn_write_costs_only_what_was_not_acknowledged() {
    let dir = TempDir::new().expect("dir");
    let log = open(dir.path());
    let wal = dir.path().join("log.db-wal");
    let mut ends = Vec::new();
    for n in 0..60 {
        ingest(&*log, &format!("sms:message:{n}")).await;
        assert_eq!(log.commit(n, frame(&format!("frame {n}"), n + 1, vec![send("sms", n)])).await, Commit::Done(n + 1));
        ends.push(fs::metadata(&wal).expect("metadata").len());
    }
    for (cut, flip) in
        [(0, false), (1, false), (2000, false), (4096 + 24, false), (30_000, false), (1, true), (9_000, true)]
    {
        let copy = TempDir::new().expect("dir");
        copy_as_it_is(dir.path(), copy.path());
        let path = copy.path().join("log.db-wal");
        let mut bytes = fs::read(&path).expect("read");
        let kept = bytes.len() - cut;
        if flip {
            bytes[kept] ^= 0x10;
        } else {
            bytes.truncate(kept);
        }
        fs::write(&path, &bytes).expect("write");
        let whole = ends.iter().filter(|end| **end <= kept as u64).count() as u64;
        let torn = open(copy.path());
        let (_, last) = torn.log_bounds().await.expect("bounds");
        assert!(last >= whole, "cut {cut}: {last} of {whole} frames that were whole");
        assert_eq!(torn.out_last().await, Ok(last), "a frame and its send are one");
        let frames = texts(&torn.read_log(0, 100).await.expect("read"));
        assert_eq!(frames, (0..last).map(|n| format!("frame {n}")).collect::<Vec<_>>());
        let inputs = seqs(&torn.read_in(0, 100).await.expect("read"));
        assert!(inputs.len() as u64 == last || inputs.len() as u64 == last + 1);
        assert_eq!(inputs, (1..=inputs.len() as u64).collect::<Vec<_>>());
        assert_eq!(ingest(&*torn, "sms:message:0").await, Ingested::Duplicate);
        assert!(matches!(ingest(&*torn, "sms:message:again").await, Ingested::Stored(_)), "and it goes on");
    }
}

#[tokio::test]
async fn a_full_disk_is_an_error_to_the_caller_and_nothing_is_half_done() {
    let dir = TempDir::new().expect("dir");
    let small = SqliteOptions { max_file_bytes: Some(2 << 20), ..SqliteOptions::default() };
    let log = SqliteLog::open(dir.path(), &small).expect("open");
    let large = |id: &str| {
        let mut one = record(id, crate::log::Class::Vital);
        one.data = Bytes::from(vec![b'x'; 20_000]);
        one
    };
    let mut stored = 0;
    let full = loop {
        match log.ingest(large(&format!("sms:result:{stored}"))).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 200, "the disk is never full");
    };
    assert!(matches!(&full, LogError::Full(text) if text.contains("no room")), "{full}");
    let sends = vec![send("sms", 1)];
    let big =
        FrameWrite { bytes: Bytes::from(vec![1; 300_000]), keys: vec![("ann".into(), [1; 32])], out_first: 1, sends };
    assert!(matches!(log.commit(0, big.clone()).await, Commit::Unknown(_)));
    assert_eq!((log.log_bounds().await, log.out_last().await), (Ok((1, 0)), Ok(0)));
    assert_eq!(log.get_keys(&["ann".into()]).await, Ok(vec![None]));
    assert_eq!(log.read_in(0, 1000).await.expect("reading goes on").len(), stored);
    assert_eq!(*log.fatal().borrow(), None, "a full disk is no reason to stop");
    // Many at once share a transaction: each of them hears of it.
    let many: Vec<_> = (0..40)
        .map(|n| {
            tokio::spawn({
                let (log, one) = (Arc::clone(&log), large(&format!("many {n}")));
                async move { log.ingest(one).await }
            })
        })
        .collect();
    for one in many {
        assert!(matches!(one.await.expect("task"), Err(LogError::Full(_))));
    }
    log.trim_in(stored as u64 / 2).await.expect("trimming a full log");
    assert_eq!(log.commit(0, big).await, Commit::Done(1), "with room it goes on");
    assert_eq!(
        log.ingest(large("sms:result:new")).await,
        Ok(Ingested::Stored(stored as u64 + 1)),
        "no sequence was lost"
    );
    drop(log);
    let check = rusqlite::Connection::open(dir.path().join("log.db")).expect("open");
    let health: String = check.query_row("PRAGMA integrity_check", [], |r| r.get(0)).expect("check");
    assert_eq!(health, "ok");
}

#[tokio::test]
async fn an_erased_key_is_on_the_disk_no_more() {
    let dir = TempDir::new().expect("dir");
    let log = open(dir.path());
    let key: [u8; 32] = *b"an unmistakable key of 32 bytes!";
    let found = |where_: &str| {
        let bytes = fs::read(dir.path().join(where_)).unwrap_or_default();
        bytes.windows(key.len()).any(|w| w == key)
    };
    log.put_key("ann", key).await.expect("put");
    assert!(found("log.db-wal"), "else this test proves nothing");
    log.delete_key("ann").await.expect("delete");
    assert!(!found("log.db-wal") && !found("log.db"));
}

#[tokio::test]
async fn an_acknowledged_record_does_not_come_again_for_ever() {
    let dir = TempDir::new().expect("dir");
    let log = open(dir.path());
    let question = crate::log::OutRecord { claim_key: String::new(), ..send("sms", 1) };
    log.commit(0, frame("frame", 1, vec![question, send("sms", 2)])).await;
    let mut outbox = log.outbox("sms").await.expect("outbox");
    for record in take(&mut *outbox, 2).await {
        outbox.ack(record.seq).await.expect("ack");
    }
    drop((outbox, log));
    let log = open(dir.path());
    let mut outbox = log.outbox("sms").await.expect("outbox");
    assert!(tokio::time::timeout(Duration::from_millis(50), outbox.next(5)).await.is_err());
}

#[tokio::test]
async fn an_attempt_that_out_does_not_hold_may_not_be_sent() {
    let dir = TempDir::new().expect("dir");
    let log = open(dir.path());
    assert_eq!(log.claim("sms.never.1.1", "edge").await, Ok(crate::log::Claim::Taken));
    assert_eq!(log.claimed("sms.never.1.1").await, Ok(None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_and_claims_survive_their_way_from_memory_to_the_index() {
    let dir = TempDir::new().expect("dir");
    let log = open(dir.path());
    // More than two merges' worth, ingested side by side.
    const MANY: u64 = 80_000;
    let producers: Vec<_> = (0..16)
        .map(|p| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                for n in (p..MANY).step_by(16) {
                    assert!(matches!(ingest(&*log, &format!("sms:message:{n}")).await, Ingested::Stored(_)));
                }
            })
        })
        .collect();
    for producer in producers {
        producer.await.expect("producer");
    }
    for round in 0..40 {
        let sends: Vec<_> = (0..2000).map(|n| send("sms", round * 2000 + n)).collect();
        assert_eq!(log.commit(round, frame("frame", round * 2000 + 1, sends)).await, Commit::Done(round + 1));
    }
    assert_eq!(log.claim("sms.s0.1.1", "first").await, Ok(crate::log::Claim::Ours));
    let copy = TempDir::new().expect("dir");
    copy_as_it_is(dir.path(), copy.path());
    for (name, log) in [("live", log), ("after a crash", open(copy.path()))] {
        for n in (0..MANY).step_by(997) {
            assert_eq!(ingest(&*log, &format!("sms:message:{n}")).await, Ingested::Duplicate, "{name}: {n}");
            let claim = log.claim(&format!("sms.s{n}.1.1"), "second").await;
            assert_eq!(
                claim,
                Ok(if n == 0 { crate::log::Claim::Taken } else { crate::log::Claim::Ours }),
                "{name}: {n}"
            );
        }
        within(log.trim_in(MANY - 10)).await.expect("trim");
        assert!(matches!(ingest(&*log, "sms:message:5").await, Ingested::Stored(_)), "{name}: trimmed, so forgotten");
        assert_eq!(ingest(&*log, "sms:message:21").await, Ingested::Stored(MANY + 2));
    }
}

#[test]
fn no_statement_is_compiled_again_because_another_value_is_bound() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log.db");
    let writer = super::schema::open_writer(&path, &SqliteOptions::default()).expect("it opens");
    let reader = super::schema::open_reader(&path).expect("it opens");
    for conn in [writer, reader] {
        let sql = "SELECT seq, data FROM in_records WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        let mut statement = conn.prepare(sql).expect("it is a statement");
        for value in 1..9 {
            assert!(statement.query([value, 9]).and_then(|mut rows| Ok(rows.next()?.is_none())).expect("it runs"));
        }
        assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
    }
}

#[tokio::test]
async fn a_send_that_is_dated_in_the_future_goes_when_a_later_one_is_old_and_not_before() {
    let dir = TempDir::new().expect("dir");
    let log = open(dir.path());
    assert_eq!(log.commit(0, frame("frame", 1, (0..600).map(|n| send("sms", n)).collect())).await, Commit::Done(1));
    assert_eq!(log.claim("sms.s0.1.1", "edge").await, Ok(crate::log::Claim::Ours));
    drop(log);
    let db = rusqlite::Connection::open(dir.path().join("log.db")).expect("open");
    db.execute("UPDATE out_records SET at = at + 86400000 WHERE seq <= 500", []).expect("update");
    drop(db);
    let log = open(dir.path());
    let now = log.now().await.expect("now");
    for before in [switchboard_envelope::Timestamp(0), now.plus(-60_000)] {
        log.trim_out(before).await.expect("trim");
        assert!(log.claimed("sms.s0.1.1").await.expect("claim").is_some(), "an attempt may still need it");
    }
    log.trim_out(now.plus(1)).await.expect("trim");
    assert_eq!(log.claimed("sms.s0.1.1").await, Ok(None), "as old as those behind it");
}

/// Else a crowd would wait for a sync each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_while_a_transaction_is_written_shares_the_next_one() {
    const CROWD: usize = 500;
    let dir = TempDir::new().expect("dir");
    let log = open(dir.path());
    let store = |n: usize| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { ingest(log.as_ref(), &format!("sms:message:{n}")).await })
    };
    let commits = || log.shared.commits.load(std::sync::atomic::Ordering::SeqCst);
    let before = commits();
    let mut stored = vec![];
    {
        // The writer publishes what it committed under this lock, and so waits here while all the others come.
        let held = lock(&log.shared.counters);
        stored.push(store(0));
        while commits() == before {
            std::thread::yield_now();
        }
        stored.extend((1..=CROWD).map(store));
        let queue = log.queue.as_ref().expect("open");
        while queue.max_capacity() - queue.capacity() < CROWD {
            std::thread::yield_now();
        }
        drop(held);
    }
    for record in stored {
        assert!(matches!(within(record).await, Ok(Ingested::Stored(_))));
    }
    assert_eq!(commits() - before, 2, "{CROWD} records that waited are one transaction");
}
