use crate::Options;
use crate::backend::Fresh;
use bytes::Bytes;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use switchboard::log::{Class, Commit, FrameWrite, InRecord, Log, OutRecord};

/// What the log alone does on this machine, in this run.
pub struct Floor {
    /// Records a second that 64 producers store, one each at a time.
    pub ingests: f64,
    /// Messages a second when every message costs what it costs the daemon: a message and a result in IN, a frame and a send in a
    /// commit of many, a claim.
    pub same_records: f64,
}

/// How long the log takes, at a fixed rate, for the three durable steps that lie between a webhook and its provider's call:
/// message, frame with its send, claim, one after the other. Percentiles in milliseconds.
pub struct Steps {
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// Measures a fresh log with nothing else going on.
pub async fn steps(options: &Options) -> Result<Steps, Box<dyn Error>> {
    let on = options.backend.start();
    let fresh = Fresh::open(&on).await?;
    let log = &fresh.log;
    let mut ticks = tokio::time::interval(std::time::Duration::from_secs(1) / options.rate);
    let mut took = Vec::new();
    for n in 0..u64::from(options.rate * options.seconds) {
        ticks.tick().await;
        let began = Instant::now();
        log.ingest(record(n, "message")).await?;
        frame(log.as_ref(), n, n + 1, n..n + 1).await?;
        log.claim(&key(n), &format!("{n:032x}")).await?;
        took.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or_default();
    Ok(Steps { p50_ms: at(0.5), p99_ms: at(0.99) })
}

const PRODUCERS: u64 = 64;
/// About what one SMS weighs as an envelope, and what its decision weighs in a frame.
const RECORD: usize = 900;

/// More records than this show nothing new.
pub const ENOUGH: u64 = 200_000;

/// Measures over fresh logs.
pub async fn measure(options: &Options) -> Result<Floor, Box<dyn Error>> {
    let count = options.messages.min(ENOUGH);
    Ok(Floor { ingests: ingests(options, count).await?, same_records: same_records(options, count / 2).await? })
}

async fn ingests(options: &Options, count: u64) -> Result<f64, Box<dyn Error>> {
    let on = options.backend.start();
    let fresh = Fresh::open(&on).await?;
    let log = Arc::clone(&fresh.log);
    let began = Instant::now();
    produce(count, move |n| {
        let log = log.clone();
        async move { log.ingest(record(n, "message")).await.map(drop).map_err(|e| e.to_string()) }
    })
    .await?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

async fn same_records(options: &Options, count: u64) -> Result<f64, Box<dyn Error>> {
    let on = options.backend.start();
    let fresh = Fresh::open(&on).await?;
    let log = Arc::clone(&fresh.log);
    let began = Instant::now();
    let writer = tokio::spawn(frames(log.clone(), count));
    produce(count, move |n| {
        let log = log.clone();
        async move {
            let step = |e: switchboard::log::LogError| e.to_string();
            log.ingest(record(n, "message")).await.map_err(step)?;
            log.claim(&key(n), &format!("{n:032x}")).await.map_err(step)?;
            log.ingest(record(n, "result")).await.map_err(step).map(drop)
        }
    })
    .await?;
    writer.await??;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// The router's part: frames of as many messages as came meanwhile, each with one send.
async fn frames(log: Arc<dyn Log>, count: u64) -> Result<(), String> {
    const BATCH: u64 = 64;
    let (mut seq, mut out) = (0, 1);
    for batch in 0..count.div_ceil(BATCH) {
        let numbers = batch * BATCH..count.min((batch + 1) * BATCH);
        let size = numbers.end - numbers.start;
        seq = frame(log.as_ref(), seq, out, numbers).await?;
        out += size;
    }
    Ok(())
}

/// Commits one frame after `seq`, with a send for each of `numbers`, the first at `out_first`.
async fn frame(log: &dyn Log, seq: u64, out_first: u64, numbers: std::ops::Range<u64>) -> Result<u64, String> {
    let until = log.now().await.map_err(|e| e.to_string())?.plus(600_000);
    let bytes = Bytes::from(vec![b'x'; RECORD * (numbers.end - numbers.start) as usize]);
    let sends = numbers.map(|n| OutRecord {
        channel: "support-sms".into(),
        claim_key: key(n),
        until,
        data: Bytes::from(vec![b'x'; RECORD]),
    });
    let write = FrameWrite { bytes, keys: vec![], out_first, sends: sends.collect() };
    match log.commit(seq, write).await {
        Commit::Done(at) => Ok(at),
        other => Err(format!("a commit to a log of our own ended as {other:?}")),
    }
}

fn key(number: u64) -> String {
    format!("support-sms.{number:032x}.1.1")
}

fn record(number: u64, kind: &str) -> InRecord {
    InRecord {
        id: format!("support-sms:{kind}:{number:032x}"),
        channel: "support-sms".into(),
        class: Class::Message,
        data: Bytes::from(vec![b'x'; RECORD]),
    }
}

/// Runs `work` for every number below `count`, by 64 producers that each wait for their last one.
async fn produce<F, W>(count: u64, work: W) -> Result<(), Box<dyn Error>>
where
    W: Fn(u64) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), String>> + Send,
{
    let next = Arc::new(AtomicU64::new(0));
    let mut producers = tokio::task::JoinSet::new();
    for _ in 0..PRODUCERS {
        let (next, work) = (next.clone(), work.clone());
        producers.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return Ok(());
                }
                work(n).await?;
            }
        });
    }
    while let Some(done) = producers.join_next().await {
        let ended: Result<(), String> = done?;
        ended?;
    }
    Ok(())
}
