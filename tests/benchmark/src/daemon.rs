use crate::Options;
use crate::floor::Steps;
use crate::load::{Text, Webhooks};
use crate::provider::{MARK, Provider};
use crate::snapshots;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::error::Error;
use std::time::{Duration, Instant};
use switchboard_e2e::{Backend, Daemon, Shop, ShopBuilder};
use tokio::sync::mpsc;

type Failure = Box<dyn Error>;

/// How long without any progress before the benchmark gives up.
const STALLED: Duration = Duration::from_secs(30);

/// What the program may take when nothing happens, and with so many open conversations; and how long an empty one may need to be ready.
const MAX_IDLE_MB: f64 = 40.0;
const OPEN: u64 = 100_000;
const MAX_OPEN_MB: f64 = 200.0;
const MAX_START_MS: f64 = 1_000.0;
/// A shorter run measures no rate, and of latency under more load nothing is promised.
const LONG_RUN: u64 = 100_000;
const PROMISED_RATE: u32 = 500;

pub struct Throughput {
    pub per_second: f64,
    pub accepted_per_second: f64,
    pub refused: u64,
    pub memory_mb: f64,
}

pub struct Latency {
    pub messages: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

pub struct Memory {
    idle_mb: f64,
    open_mb: f64,
    starts_ms: Vec<f64>,
    restart_ms: f64,
    /// What snapshots did to routing meanwhile.
    pub snapshots: Value,
}

impl Throughput {
    pub fn json(&self, options: &Options) -> Value {
        let promised = options.backend.promised().map(|p| p.per_second);
        json!({
            "messages_per_second": self.per_second.round(),
            "accepted_per_second": self.accepted_per_second.round(),
            "messages": options.messages,
            "senders": options.senders,
            "asked_to_come_back": self.refused,
            "memory_after_mb": self.memory_mb,
            "kept": promised.filter(|_| options.messages >= LONG_RUN).map(|least| self.per_second >= least),
            "promised": promised.map(|least| json!({ "messages_per_second": least })),
        })
    }
}

impl Memory {
    pub fn json(&self, conversations: u64) -> Value {
        let kept = self.idle_mb <= MAX_IDLE_MB && (conversations < OPEN || self.open_mb <= MAX_OPEN_MB);
        json!({
            "idle_mb": self.idle_mb,
            "open_conversations": conversations,
            "with_open_conversations_mb": self.open_mb,
            // Of more of them nothing is promised.
            "kept": (conversations <= OPEN).then_some(kept),
            "promised": { "idle_mb": MAX_IDLE_MB, "open_conversations": OPEN, "with_open_conversations_mb": MAX_OPEN_MB },
        })
    }

    pub fn starts_json(&self) -> Value {
        let slowest = self.starts_ms.iter().copied().fold(0.0, f64::max);
        json!({
            "empty": self.starts_ms,
            "with_open_conversations": self.restart_ms,
            "kept": slowest <= MAX_START_MS,
            "promised": { "empty": MAX_START_MS },
        })
    }
}

/// Answers everything that carries a mark; the rest waits for an agent who never comes.
fn pack() -> String {
    format!(
        r#"
zone: UTC
budget: {{ conversation: 10000, address: 10000, ping_pong: 10000 }}
queues:
  everyone: {{}}
agents:
  ann: {{ name: Ann, capacity: 5 }}
replies:
  refund: "Thanks, your refund is on its way. Your reference is {MARK}{{{{ match.number }}}}."
rules:
  - name: VIPs first
    when: {{ contact.tags: vip }}
    then: {{ priority: high }}
    continue: true
  - name: Lost parcels
    when: {{ text: {{ contains: [parcel, delivery] }} }}
    then: {{ tag: parcel, queue: everyone }}
  - name: Refunds
    when: {{ text: {{ matches: '(?i)\brefund {MARK}(?<number>\d+)' }} }}
    then: {{ tag: refund, reply: refund }}
default: {{ queue: everyone }}
"#
    )
}

/// A shop whose rule answers what is marked.
pub fn shop(provider: &Provider, log: &Backend) -> ShopBuilder {
    Shop::with(&provider.base_url()).log(log).pack(&pack()).more("[logging]\nlevel = \"warn\"\n")
}

/// Webhooks as fast as they are accepted, until every result is in LOG.
pub async fn throughput(options: &Options) -> Result<Throughput, Failure> {
    let provider = Provider::start(None).await?;
    let log = options.backend.start();
    let shop = shop(&provider, &log).open();
    let daemon = Daemon::start(&shop).await;
    // A first round opens connections and conversations, as a shop that is open has them.
    let warm = options.senders.min(options.messages / 10);
    Webhooks::sign(&shop, Text::Answered, 0, warm, options.senders).flood(options.connections).await?;
    settled(&daemon, warm).await?;
    let webhooks = Webhooks::sign(&shop, Text::Answered, warm, options.messages, options.senders);
    let flooded = webhooks.flood(options.connections).await?;
    settled(&daemon, warm + options.messages).await?;
    let took = flooded.began.elapsed();
    if provider.replies() != warm + options.messages {
        return Err(format!("{} replies for {} messages", provider.replies(), warm + options.messages).into());
    }
    Ok(Throughput {
        per_second: options.messages as f64 / took.as_secs_f64(),
        accepted_per_second: options.messages as f64 / flooded.accepted_in.as_secs_f64(),
        refused: flooded.refused,
        memory_mb: resident_mb(daemon.pid())?,
    })
}

/// Waits until the daemon has counted that many results in LOG.
async fn settled(daemon: &Daemon<'_>, wanted: u64) -> Result<(), Failure> {
    wait_for(daemon, "switchboard_results_total", wanted).await
}

/// Waits until a metric has reached a value.
pub async fn wait_for(daemon: &Daemon<'_>, name: &str, wanted: u64) -> Result<(), Failure> {
    let (mut best, mut moved) = (0.0, Instant::now());
    loop {
        let seen = daemon.metric(name).await;
        if seen >= wanted as f64 {
            return Ok(());
        }
        if seen > best {
            (best, moved) = (seen, Instant::now());
        }
        if moved.elapsed() > STALLED {
            return Err(format!("{name} stopped at {seen} of {wanted}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// From the moment a webhook is due to the moment the provider has the whole request of its reply.
pub async fn latency(options: &Options) -> Result<Latency, Failure> {
    let (hear, mut arrivals) = mpsc::unbounded_channel();
    let provider = Provider::start(Some(hear)).await?;
    let log = options.backend.start();
    let shop = shop(&provider, &log).open();
    let _daemon = Daemon::start(&shop).await;
    let warm = u64::from(options.rate);
    let count = u64::from(options.rate) * u64::from(options.seconds);
    let whole = Webhooks::sign(&shop, Text::Answered, 0, warm + count, options.senders);
    let answered = answered(whole, &mut arrivals, 0, options).await?;
    Ok(Latency::of(answered.iter().skip(warm as usize).map(|(_, ms)| *ms)))
}

impl Latency {
    pub fn json(&self, options: &Options, floor: &Steps) -> Value {
        let promised = options.backend.promised().map(|p| p.p99_ms);
        json!({
            "rate_per_second": options.rate,
            "messages": self.messages,
            "p50": self.p50_ms,
            "p99": self.p99_ms,
            "max": self.max_ms,
            "three_durable_steps_of_the_log_alone": { "p50": floor.p50_ms, "p99": floor.p99_ms },
            "kept": promised.filter(|_| options.rate <= PROMISED_RATE).map(|most| self.p99_ms < most),
            "promised": promised.map(|most| json!({ "rate_per_second": PROMISED_RATE, "p99": most })),
        })
    }

    /// # Panics
    /// When there are no delays to be looked at.
    pub fn of(delays: impl Iterator<Item = f64>) -> Latency {
        let mut delays: Vec<f64> = delays.collect();
        delays.sort_by(f64::total_cmp);
        let at = |share: f64| round(delays[((delays.len() - 1) as f64 * share) as usize]);
        Latency { messages: delays.len(), p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
    }
}

/// Sends webhooks numbered from `first` at the fixed rate, and says of each when it was due and how many milliseconds later the
/// provider had its answer.
pub async fn answered(
    webhooks: Webhooks,
    arrivals: &mut mpsc::UnboundedReceiver<(u64, Instant)>,
    first: u64,
    options: &Options,
) -> Result<Vec<(Instant, f64)>, Failure> {
    let due = webhooks.pace(options.rate, options.connections).await?;
    let mut arrived = HashMap::new();
    while arrived.len() < due.len() {
        let (number, at) = tokio::time::timeout(STALLED, arrivals.recv()).await?.ok_or("the provider is gone")?;
        if arrived.insert(number, at).is_some() {
            return Err(format!("message {number} was answered twice").into());
        }
    }
    let mut delays = Vec::with_capacity(due.len());
    for (number, due) in (first..).zip(due) {
        let at = arrived.get(&number).ok_or_else(|| format!("message {number} was never answered"))?;
        delays.push((due, at.duration_since(due).as_secs_f64() * 1000.0));
    }
    Ok(delays)
}

/// Resident memory when idle and with many open conversations, and the time from start to ready.
pub async fn memory(options: &Options) -> Result<Memory, Failure> {
    let (hear, mut arrivals) = mpsc::unbounded_channel();
    let provider = Provider::start(Some(hear)).await?;
    let log = options.backend.start();
    let shop = shop(&provider, &log).open();
    let mut starts_ms = Vec::new();
    let mut daemon = Daemon::start(&shop).await;
    for _ in 0..options.starts {
        daemon.terminate(Duration::from_secs(40)).await;
        let began = Instant::now();
        daemon.restart().await;
        starts_ms.push(round(began.elapsed().as_secs_f64() * 1000.0));
    }
    // Idle is after what a start leaves behind has settled.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle_mb = resident_mb(daemon.pid())?;
    let count = options.conversations;
    Webhooks::sign(&shop, Text::Waits, 0, count, count).flood(options.connections).await?;
    wait_for(&daemon, "switchboard_queue_depth", count).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let open_mb = resident_mb(daemon.pid())?;
    let snapshots = snapshots::measure(&daemon, &shop, &mut arrivals, options).await?;
    daemon.terminate(Duration::from_secs(60)).await;
    let began = Instant::now();
    daemon.restart().await;
    let restart_ms = round(began.elapsed().as_secs_f64() * 1000.0);
    Ok(Memory { idle_mb, open_mb, starts_ms, restart_ms, snapshots })
}

pub fn resident_mb(pid: u32) -> Result<f64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS in /proc")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).ok_or("no number in VmRSS")?.parse()?;
    Ok(round(kilobytes / 1024.0))
}

pub fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(idle_mb: f64, open_mb: f64, start_ms: f64) -> Memory {
        Memory { idle_mb, open_mb, starts_ms: vec![100.0, start_ms], restart_ms: 0.0, snapshots: Value::Null }
    }

    /// The options of a run over this log, with these words more.
    fn options(backend: &str, more: &[&str]) -> Options {
        <Options as clap::Parser>::parse_from([&["switchboard-benchmark", "--backend", backend], more].concat())
    }

    #[test]
    fn what_is_promised_of_rate_and_latency_is_judged_by_the_log_that_it_ran_on() {
        let rate = |per_second, backend, more: &[&str]| {
            let measured = Throughput { per_second, accepted_per_second: 0.0, refused: 0, memory_mb: 0.0 };
            measured.json(&options(backend, more))["kept"].clone()
        };
        assert_eq!(rate(9_999.0, "embedded", &[]), json!(false));
        assert_eq!(rate(10_000.0, "embedded", &[]), json!(true));
        assert_eq!((rate(5_999.0, "nats", &[]), rate(6_000.0, "nats", &[])), (json!(false), json!(true)));
        assert_eq!(rate(1.0, "nats-sync-always", &[]), Value::Null, "of which nothing is promised");
        assert_eq!(rate(1.0, "embedded", &["--messages", "10000"]), Value::Null, "too short to say");
        let tail = |p99_ms, backend, more: &[&str]| {
            let measured = Latency { messages: 1, p50_ms: 1.0, p99_ms, max_ms: p99_ms };
            measured.json(&options(backend, more), &Steps { p50_ms: 1.0, p99_ms: 1.0 })["kept"].clone()
        };
        assert_eq!((tail(4.99, "embedded", &[]), tail(5.0, "embedded", &[])), (json!(true), json!(false)));
        assert_eq!((tail(7.99, "nats", &[]), tail(8.1, "nats", &[])), (json!(true), json!(false)));
        assert_eq!(tail(90.0, "nats-sync-always", &[]), Value::Null);
        assert_eq!(tail(90.0, "embedded", &["--rate", "2000"]), Value::Null);
    }

    #[test]
    fn what_is_promised_of_memory_and_starts_is_judged() {
        let kept = |m: &Memory, open| (m.json(open)["kept"].clone(), m.starts_json()["kept"].clone());
        assert_eq!(kept(&memory(39.0, 199.0, 900.0), OPEN), (json!(true), json!(true)));
        assert_eq!(kept(&memory(41.0, 150.0, 1001.0), OPEN), (json!(false), json!(false)));
        assert_eq!(kept(&memory(39.0, 201.0, 900.0), OPEN).0, json!(false));
        assert_eq!(kept(&memory(39.0, 500.0, 900.0), 2 * OPEN).0, Value::Null);
    }
}
