//! `switchboard`: see `switchboard --help`.
#![forbid(unsafe_code)]

fn main() -> anyhow::Result<()> {
    let env = switchboard::config::Environment::of_process();
    let config = switchboard::config::load(std::env::args().nth(1).map(std::path::PathBuf::from).as_deref(), &env)?;
    tracing_subscriber::fmt().with_env_filter("info").init();
    let rt = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    rt.block_on(switchboard::lifecycle::run(config))?;
    Ok(())
}
