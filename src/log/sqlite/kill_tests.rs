//! SIGKILL at any moment: a child process produces and says what was acknowledged, the parent kills it and counts.

use super::{SqliteLog, SqliteOptions};
use crate::log::{
    Claim, Class, Commit, Ingested, Log,
    conformance::{frame, record, send, texts},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;

const DIRECTORY: &str = "SWITCHBOARD_TEST_KILLED_IN";
const ROUND: &str = "SWITCHBOARD_TEST_ROUND";
const ROUNDS: u64 = 15;
const PRODUCERS: u64 = 8;

#[expect(clippy::disallowed_methods, reason = "the child of this test is told by its environment what to do")]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Says that something was acknowledged, in one write, so that a kill leaves whole lines.
fn say(out: &Mutex<std::io::Stdout>, line: &str) {
    let mut out = out.lock().expect("stdout");
    out.write_all(format!("\n{line}\n").as_bytes()).and_then(|()| out.flush()).expect("the parent listens");
}

async fn produce(log: Arc<SqliteLog>, out: Arc<Mutex<std::io::Stdout>>, round: u64, producer: u64) {
    for n in 0..u64::MAX {
        let id = format!("{round:03}-{producer}:{n:08}");
        if let Ok(Ingested::Stored(seq)) = log.ingest(record(&id, Class::Message)).await {
            say(&out, &format!("in {seq} {id}"));
        }
    }
}

/// A router and an edge: each frame releases two sends, and one of them is claimed.
async fn route(log: Arc<SqliteLog>, out: Arc<Mutex<std::io::Stdout>>) {
    let (_, mut last) = log.log_bounds().await.expect("bounds");
    loop {
        let first = 2 * last + 1;
        let sends = vec![send("sms", first), send("sms", first + 1)];
        assert_eq!(log.commit(last, frame(&format!("frame {}", last + 1), first, sends)).await, Commit::Done(last + 1));
        last += 1;
        say(&out, &format!("frame {last}"));
        assert_eq!(log.claim(&format!("sms.s{first}.1.1"), &format!("nonce {first}")).await, Ok(Claim::Ours));
        say(&out, &format!("claim {first}"));
        if last.is_multiple_of(50) {
            log.put_blob("scope", last.to_string().into()).await.expect("blob");
            say(&out, &format!("blob {last}"));
        }
    }
}

/// Does nothing unless it is the child of the test below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_of_the_kill_test() {
    let (Some(dir), Some(round)) = (told(DIRECTORY), told(ROUND)) else { return };
    let round = round.parse().expect("a number");
    let log = SqliteLog::open(&PathBuf::from(dir), &SqliteOptions::default()).expect("open");
    let out = Arc::new(Mutex::new(std::io::stdout()));
    for producer in 0..PRODUCERS {
        tokio::spawn(produce(Arc::clone(&log), Arc::clone(&out), round, producer));
    }
    route(log, out).await;
}

/// What the child said before it was killed.
#[derive(Default)]
struct Said {
    inputs: Vec<(u64, String)>,
    frames: u64,
    claims: BTreeSet<u64>,
    blobs: BTreeSet<u64>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or_default();
        let Some(number) = words.next().and_then(|w| w.parse::<u64>().ok()) else { return };
        match kind {
            "in" => self.inputs.push((number, words.next().unwrap_or_default().to_owned())),
            "frame" => self.frames = self.frames.max(number),
            "claim" => drop(self.claims.insert(number)),
            "blob" => drop(self.blobs.insert(number)),
            _ => {}
        }
    }
}

fn run_and_kill(dir: &Path, round: u64, said: &mut Said) {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["log::sqlite::kill_tests::child_of_the_kill_test", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the child starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    // A different number of acknowledgements each round, so that the kill meets different moments.
    let enough = 1 + (round * 7919) % 1400;
    for _ in 0..enough {
        let Some(line) = lines.next() else { break };
        said.hear(&line);
    }
    child.kill().expect("SIGKILL");
    for line in lines {
        said.hear(&line);
    }
    child.wait().expect("wait");
}

async fn check(dir: &Path, said: &Said, round: u64) {
    let log = SqliteLog::open(dir, &SqliteOptions::default()).expect("opens after SIGKILL");
    let (mut inputs, mut after) = (BTreeMap::new(), 0);
    loop {
        let page = log.read_in(after, 1000).await.expect("read");
        let Some(last) = page.last() else { break };
        assert_eq!(page[0].seq, after + 1, "round {round}: a gap");
        after = last.seq;
        inputs.extend(page.iter().map(|r| r.seq).zip(texts(&page)));
    }
    for (seq, id) in &said.inputs {
        assert_eq!(inputs.get(seq), Some(&format!("data of {id}")), "round {round}: acknowledged, and gone");
        if seq % 97 == 0 {
            assert_eq!(log.ingest(record(id, Class::Message)).await, Ok(Ingested::Duplicate), "round {round}: {id}");
        }
    }
    let mut newest: BTreeMap<&str, &str> = BTreeMap::new();
    for (producer, n) in inputs.values().filter_map(|text| text.split_once(':')) {
        let before = newest.insert(producer, n);
        assert!(
            before.is_none_or(|before| before < n),
            "round {round}: {producer} out of order or twice: {before:?}, {n}"
        );
    }
    let (_, last) = log.log_bounds().await.expect("bounds");
    assert!(last >= said.frames, "round {round}: frame {} was acknowledged, {last} is the last", said.frames);
    assert_eq!(log.out_last().await, Ok(2 * last), "round {round}: a frame without its sends");
    for first in &said.claims {
        let holder = log.claimed(&format!("sms.s{first}.1.1")).await;
        assert_eq!(
            holder,
            Ok(Some(format!("nonce {first}"))),
            "round {round}: a claim is gone, and could be taken twice"
        );
    }
    for blob in &said.blobs {
        let bytes = bytes::Bytes::from(blob.to_string());
        let name = log.put_blob("other scope", bytes.clone()).await.expect("blob");
        assert_eq!(log.get_blob("scope", &name).await, Ok(Some(bytes)), "round {round}");
    }
}

#[tokio::test]
async fn sigkill_at_any_moment_loses_nothing_that_was_acknowledged() {
    let dir = TempDir::new().expect("dir");
    let mut said = Said::default();
    for round in 1..=ROUNDS {
        run_and_kill(dir.path(), round, &mut said);
        tokio::time::timeout(Duration::from_secs(60), check(dir.path(), &said, round)).await.expect("the check ends");
    }
    assert!(
        said.inputs.len() > 1000 && said.frames > 100,
        "the child hardly ran: {} {}",
        said.inputs.len(),
        said.frames
    );
}
