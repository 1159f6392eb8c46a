//! `switchboard`: see `switchboard --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// A message is many small values that are made by one thread and dropped by another, and the system's allocator spends a
/// fifth of the daemon's time on that. How it is set is in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    switchboard::cli::main(std::env::args_os()).await
}
