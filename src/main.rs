//! `switchboard`: see `switchboard --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

/// A message is many small values that are made by one thread and dropped by another, and the system's allocator spends a
/// fifth of the daemon's time on that. How it is set is in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The reading of a mail that does not end would be waited for at the end for ever.
const LAST_WAIT: Duration = Duration::from_secs(5);

fn main() -> std::io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(switchboard::cli::main(std::env::args_os()));
    runtime.shutdown_timeout(LAST_WAIT);
    Ok(code)
}
