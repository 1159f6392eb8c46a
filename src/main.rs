//! `switchboard`: see `switchboard --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

/// A message is many small values that are made by one thread and dropped by another, and the system's allocator spends a
/// fifth of the daemon's time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    switchboard::cli::main(std::env::args_os()).await
}
