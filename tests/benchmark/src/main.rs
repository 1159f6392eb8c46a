//! Measures the real program on this machine, with its load generator and a stub provider beside it, and prints one JSON object.
//!
//! `cargo run --release -p switchboard-benchmark` builds the program too. The job: a signed SMS webhook comes in, a rule answers it,
//! the provider's call is claimed, made and answered; it counts when its result is in LOG. Nothing is turned off for it: every step
//! is durable, as in production.
#![forbid(unsafe_code)]

mod assignment;
mod backend;
mod broker;
mod daemon;
mod failover;
mod floor;
mod load;
mod provider;
mod rules;
mod snapshots;
mod waiting;

use backend::On;
use clap::Parser;
use serde_json::{Value, json};
use std::error::Error;

/// The program's own allocator, since the runs of rules and of assignment decide in this process.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures Switchboard and prints one JSON object.
#[derive(Debug, Parser)]
pub struct Options {
    /// Messages of the throughput run, and of the log and the broker beside it, up to 200,000 there
    #[arg(long, default_value_t = 300_000)]
    messages: u64,
    /// Customers who write them, in turn
    #[arg(long, default_value_t = 10_000)]
    senders: u64,
    /// Connections of the load generator
    #[arg(long, default_value_t = 128)]
    connections: usize,
    /// Messages a second of the latency run
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// Length of the latency run
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Open conversations of the memory run
    #[arg(long, default_value_t = 100_000)]
    conversations: u64,
    /// Conversations that wait, of the waiting run
    #[arg(long, default_value_t = 1_000_000)]
    waiting: u64,
    /// Seconds of messages among those open conversations; a snapshot is taken once a minute
    #[arg(long, default_value_t = 75)]
    among_open: u32,
    /// Starts of the start-up run
    #[arg(long, default_value_t = 5)]
    starts: usize,
    /// A short run that only shows that the benchmark works
    #[arg(long)]
    smoke: bool,
    /// Decisions for each way in which rules are written
    #[arg(long, default_value_t = 20_000)]
    decisions: usize,
    /// Measure only this, to profile it
    #[arg(long)]
    only: Option<Part>,
    /// The log to run on
    #[arg(long, default_value_t, value_enum)]
    backend: On,
    /// Kills of the leader, and of the broker, of the failover run
    #[arg(long, default_value_t = 10)]
    kills: usize,
    /// The program to measure; built from this checkout when absent
    #[arg(long, env = "SWITCHBOARD_BIN")]
    program: Option<std::path::PathBuf>,
}

/// One of the runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Throughput,
    Latency,
    /// Resident memory and start-up
    Memory,
    /// How long until messages are answered again after a kill; only with a broker
    Failover,
    /// What a decision costs with few rules and with many; needs no program
    Rules,
    /// What it costs to assign, with few and many agents and few and many who wait; needs no program
    Assignment,
    /// Memory with very many who wait, and how soon they are back after a kill; takes minutes, so only when it is asked for
    Waiting,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }

    fn shortened(self) -> Options {
        if !self.smoke {
            return self;
        }
        Options {
            messages: 5_000,
            senders: 500,
            seconds: 3,
            conversations: 2_000,
            waiting: 2_000,
            among_open: 2,
            starts: 2,
            decisions: 1_000,
            kills: 2,
            ..self
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse().shortened();
    if options.program.is_none() && !matches!(options.only, Some(Part::Rules | Part::Assignment)) {
        build()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(measure(&options))?;
    println!("{report:#}");
    // A short run, or one of a debug build, measures nothing that was promised.
    let broken = if options.smoke || cfg!(debug_assertions) { vec![] } else { not_kept(&report) };
    if broken.is_empty() { Ok(()) } else { Err(format!("not kept: {}", broken.join(", ")).into()) }
}

/// The parts of a report that say that what is promised of them was not kept.
fn not_kept(report: &Value) -> Vec<String> {
    let parts = report.as_object().into_iter().flatten();
    parts.filter(|(_, part)| part["kept"] == false).map(|(name, _)| name.clone()).collect()
}

/// The program is built with the profile of this benchmark, which finds it in this checkout's target folder.
fn build() -> Result<(), Box<dyn Error>> {
    let mut command = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--locked", "-p", "switchboard", "--bin", "switchboard"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    if command.status()?.success() { Ok(()) } else { Err("the program does not build".into()) }
}

async fn measure(options: &Options) -> Result<Value, Box<dyn Error>> {
    let mut report = json!({
        "machine": {
            "processors": std::thread::available_parallelism().map_or(0, |n| n.get()),
            "profile": if cfg!(debug_assertions) { "debug" } else { "release" },
        },
        "log": options.backend.words(),
        "job": "signed SMS webhook, rules, auto-reply, claimed provider call answered, result in the log",
    });
    if options.wants(Part::Throughput) {
        let floor = floor::measure(options).await?;
        let throughput = daemon::throughput(options).await?;
        let ratio = |of: f64| (throughput.per_second / of * 1000.0).round() / 1000.0;
        report["throughput"] = throughput.json(options);
        report["log_underneath"] = json!({
            "ingests_per_second": floor.ingests.round(),
            "same_records_per_second": floor.same_records.round(),
            "throughput_to_ingests": ratio(floor.ingests),
            "throughput_to_same_records": ratio(floor.same_records),
        });
        if let Some(raw) = broker::measure(options).await? {
            report["raw_broker"] = json!({
                "acknowledged_publishes_per_second": raw.publishes.round(),
                "throughput_to_publishes": ratio(raw.publishes),
            });
        }
    }
    if options.wants(Part::Latency) {
        let floor = floor::steps(options).await?;
        let latency = daemon::latency(options).await?;
        report["latency_webhook_to_provider_ms"] = latency.json(options, &floor);
    }
    if options.wants(Part::Memory) {
        let memory = daemon::memory(options).await?;
        report["memory"] = memory.json(options.conversations);
        report["snapshots"] = memory.snapshots.clone();
        report["start_to_ready_ms"] = memory.starts_json();
    }
    if options.wants(Part::Failover) && options.backend != On::Embedded {
        report["failover_ms"] = failover::measure(options).await?;
    }
    if options.wants(Part::Rules) {
        report["rules"] = rules::measure(options.decisions)?;
    }
    if options.wants(Part::Assignment) {
        report["assignment"] = assignment::measure(options.decisions.min(20_000), options.smoke)?;
    }
    if options.only == Some(Part::Waiting) || options.smoke && options.only.is_none() {
        report["waiting"] = waiting::measure(options).await?;
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_that_is_not_kept_is_found_and_one_that_was_not_asked_is_none() {
        let report = json!({
            "machine": { "processors": 2 }, "job": "words",
            "rules": { "kept": true }, "assignment": { "kept": false }, "waiting": { "kept": null },
        });
        assert_eq!(not_kept(&report), ["assignment"]);
    }
}
