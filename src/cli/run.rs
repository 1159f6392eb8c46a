use super::screen::Screen;
use super::{ConfigArg, Done, Failure, check};
use crate::config::{self, Environment, LogFormat, LoggingConfig};
use crate::lifecycle::{self, Role, StartError};
use clap::Args;
use tracing_subscriber::EnvFilter;

#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Run {
    /// The part of this process, where several share a log on NATS
    #[arg(long, value_enum, default_value_t)]
    role: Role,
}

/// Runs the daemon. One that cannot start says everything that is wrong, as `check` does.
pub(crate) async fn run(what: Run, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
    let Ok(config) = config::load(at.config.as_deref(), env) else { return check::run(at, env, screen) };
    for warning in &config.warnings {
        screen.err(&warning.to_string());
    }
    start_logging(&config.logging)?;
    lifecycle::run(config, what.role).await.map_err(|e| match e {
        e @ StartError::Role(_) => Failure::Usage(e.to_string()),
        e => Failure::Failed(e.to_string()),
    })
}

fn start_logging(logging: &LoggingConfig) -> Result<(), Failure> {
    // What happens to the connection to the broker is told by us; its client says it again. `level` may ask for that all the same.
    let level = format!("async_nats=warn,{}", logging.level);
    let filter = EnvFilter::try_new(level).map_err(|e| Failure::Failed(format!("logging.level: {e}")))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = match logging.format {
        LogFormat::Text => subscriber.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
    done.map_err(|e| Failure::Failed(format!("logging: {e}")))
}
