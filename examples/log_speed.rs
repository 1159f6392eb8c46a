//! How fast the embedded log is on this machine, alone: the ceiling for everything above it. Prints JSON.
//!
//! `cargo run --release --example log_speed -- [DIR]`

#![expect(
    clippy::print_stdout,
    clippy::panic,
    reason = "a tool that measures: it prints, and stops at the first error"
)]

use bytes::Bytes;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use switchboard::log::{
    Claim, Class, Commit, FrameWrite, InRecord, Log, OutRecord,
    sqlite::{SqliteLog, SqliteOptions},
};
use switchboard_envelope::Timestamp;

const RECORD: usize = 700;

fn record(id: String) -> InRecord {
    InRecord { id, channel: "sms".into(), class: Class::Message, data: Bytes::from(vec![b'x'; RECORD]) }
}

/// Ingests by `producers` side by side, each waiting for its answer, and the rate in records a second.
async fn ingest(log: &Arc<SqliteLog>, producers: usize, each: usize) -> f64 {
    let start = Instant::now();
    let tasks: Vec<_> = (0..producers)
        .map(|p| {
            let log = Arc::clone(log);
            tokio::spawn(async move {
                for n in 0..each {
                    let id = format!("sms:message:{producers}-{p}-{n}-SM0123456789abcdef0123456789abcdef");
                    log.ingest(record(id)).await.map(drop).unwrap_or_else(|e| panic!("{e}"));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap_or_else(|e| panic!("{e}"));
    }
    (producers * each) as f64 / start.elapsed().as_secs_f64()
}

fn frame(first: u64, sends: u64, bytes: usize) -> FrameWrite {
    let send = |n: u64| OutRecord {
        channel: "sms".into(),
        claim_key: format!("sms.{:016x}.1.1", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        until: Timestamp::MAX,
        data: Bytes::from(vec![b'y'; RECORD]),
    };
    let sends = (first..first + sends).map(send).collect();
    FrameWrite { bytes: Bytes::from(vec![b'z'; bytes]), keys: Vec::new(), out_first: first, sends }
}

fn quantile(sorted: &[Duration], q: f64) -> u128 {
    sorted.get(((sorted.len() - 1) as f64 * q) as usize).map_or(0, Duration::as_micros)
}

/// Commits one after the other, and the median, 99th percentile and longest time in microseconds.
async fn commits(log: &SqliteLog, count: u64, sends: u64, bytes: usize) -> String {
    let mut times = Vec::new();
    for _ in 0..count {
        let (_, last) = log.log_bounds().await.unwrap_or_default();
        let first = log.out_last().await.unwrap_or_default() + 1;
        let write = frame(first, sends, bytes);
        let start = Instant::now();
        let done = log.commit(last, write).await;
        times.push(start.elapsed());
        assert!(matches!(done, Commit::Done(_)), "{done:?}");
    }
    times.sort();
    let (p50, p99, max) = (quantile(&times, 0.5), quantile(&times, 0.99), quantile(&times, 1.0));
    format!("{{\"p50_us\": {p50}, \"p99_us\": {p99}, \"max_us\": {max}}}")
}

/// The whole way of a message through the log: in, a frame with one send each 16 messages, out, claim, result in.
async fn pipeline(log: &Arc<SqliteLog>, messages: usize) -> f64 {
    let (_, base) = log.log_bounds().await.unwrap_or_default();
    let out_base = log.out_last().await.unwrap_or_default();
    let start = Instant::now();
    let producers = tokio::spawn({
        let log = Arc::clone(log);
        async move { ingest(&log, 60, messages / 60).await }
    });
    let total = (messages / 60 * 60) as u64;
    let router = tokio::spawn({
        let log = Arc::clone(log);
        let (mut after, mut last, mut out) = (*log.in_tail().borrow(), base, out_base);
        async move {
            let mut tail = log.in_tail();
            let mut decided = 0;
            while decided < total {
                tail.borrow_and_update();
                let inputs = log.read_in(after, 64).await.unwrap_or_default();
                let Some(end) = inputs.last() else {
                    let _ = tail.changed().await;
                    continue;
                };
                after = end.seq;
                let messages = inputs.iter().filter(|r| r.channel == "sms").count() as u64;
                decided += messages;
                let done = log.commit(last, frame(out + 1, messages, 400 * inputs.len())).await;
                assert_eq!(done, Commit::Done(last + 1));
                (last, out) = (last + 1, out + messages);
            }
        }
    });
    let edge = tokio::spawn({
        let log = Arc::clone(log);
        async move {
            let mut outbox = log.outbox("sms").await.unwrap_or_else(|e| panic!("{e}"));
            let gate = Arc::new(tokio::sync::Semaphore::new(64));
            let (mut sent, mut calls) = (0, Vec::new());
            while sent < total {
                for record in outbox.next(64).await.unwrap_or_default().into_iter().filter(|r| r.seq > out_base) {
                    sent += 1;
                    let _ = outbox.ack(record.seq).await;
                    let (log, gate) = (Arc::clone(&log), Arc::clone(&gate));
                    let Ok(permit) = gate.acquire_owned().await else { return };
                    calls.push(tokio::spawn(async move {
                        let n = record.seq;
                        let key = format!("sms.{:016x}.1.1", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                        assert_eq!(log.claim(&key, "nonce").await, Ok(Claim::Ours));
                        let mut result = record_of_result(n);
                        result.class = Class::Vital;
                        let _ = log.ingest(result).await;
                        drop(permit);
                    }));
                }
            }
            for call in calls {
                call.await.unwrap_or_else(|e| panic!("{e}"));
            }
        }
    });
    for task in [router, edge] {
        task.await.unwrap_or_else(|e| panic!("{e}"));
    }
    producers.await.unwrap_or_else(|e| panic!("{e}"));
    total as f64 / start.elapsed().as_secs_f64()
}

fn record_of_result(n: u64) -> InRecord {
    InRecord { channel: "result".into(), ..record(format!("sms:result:{n}:accepted")) }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let dir = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("switchboard-log-speed-{}", std::process::id()));
    let options = SqliteOptions { in_max_bytes: 1 << 40, ..SqliteOptions::default() };
    let log = SqliteLog::open(&dir, &options).unwrap_or_else(|e| panic!("{e}"));
    println!("{{");
    for (producers, each) in [(1, 2000), (64, 8000), (512, 1000)] {
        println!("  \"ingest_per_second_{producers}\": {:.0},", ingest(&log, producers, each).await);
    }
    println!("  \"commit_small\": {},", commits(&log, 2000, 1, 500).await);
    println!("  \"commit_64_sends\": {},", commits(&log, 500, 64, 40_000).await);
    println!("  \"pipeline_messages_per_second\": {:.0}", pipeline(&log, 120_000).await);
    println!("}}");
    drop(log);
    let _ = std::fs::remove_dir_all(&dir);
}
