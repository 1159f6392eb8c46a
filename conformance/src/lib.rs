//! The conformance kit of adapters in other processes (`switchboard adapter check`).
//!
//! It plays both sides of an adapter: towards one it is the daemon, over a real broker, with the streams, claims and permissions
//! that the daemon would have made; towards the other it is the provider, which delivers webhooks and answers calls. Between the two
//! it starts the adapter, lets everything happen to it that happens to adapters (deliveries twice and in the wrong order, a broker
//! that has no room, a 429, an answer that is lost, death in the middle of a call), and compares what it did with the contract.
//!
//! A [`Plan`] says how the adapter is started and what its provider's requests look like; [`check`] does the rest.
#![forbid(unsafe_code)]

mod bench;
mod broker;
mod checks;
mod delivery;
mod plan;
mod process;
mod provider;
mod report;
mod streams;
mod wait;

pub use checks::NAMES;
pub use plan::{Plan, PlanError};
pub use report::{Report, Verdict};
pub use streams::{Stream, streams};

use std::path::PathBuf;
use switchboard_envelope::Timestamp;
use thiserror::Error;

/// The broker that the adapter is checked on.
#[derive(Clone, Debug)]
pub enum On {
    /// A broker of the kit's own: this program is started with a store that is removed afterwards, and the adapter gets an account
    /// that may do what an adapter may, and no more.
    Own(PathBuf),
    /// One that runs, at this address, in a workspace of its own that is removed afterwards.
    Running(String),
}

/// What a check is told beside the plan.
#[derive(Clone, Debug)]
pub struct Options {
    pub on: On,
    /// The names of the checks to run; all when empty.
    pub only: Vec<String>,
    /// The one clock of the program.
    pub clock: fn() -> Timestamp,
}

/// Why nothing can be said of the adapter.
#[derive(Debug, Error)]
pub enum Stopped {
    #[error("{0}")]
    Broker(String),
    #[error("the adapter does not start: {0}")]
    Adapter(String),
    #[error("{0}")]
    Machine(String),
}

impl From<String> for Stopped {
    fn from(why: String) -> Stopped {
        Stopped::Broker(why)
    }
}

/// Drives the adapter of `plan`, and tells each verdict as it falls.
///
/// # Errors
/// When the broker or the adapter cannot be started.
pub async fn check(plan: Plan, options: Options, told: &mut (dyn FnMut(&Verdict) + Send)) -> Result<Report, Stopped> {
    let mut bench = bench::Bench::open(plan, options.on, options.clock).await?;
    let report = checks::run(&mut bench, &options.only, told).await;
    bench.close().await;
    report
}
