//! The daemon's configuration: what is written, then what is validated.
//!
//! [`document`] is the written form: a TOML file with the place of every key, and `SWITCHBOARD__…` over it. [`Config`] is
//! the validated form that the program uses: every address parsed, every secret read, every channel complete. Between the
//! two stands a reader that goes on after an error, so that one run of `switchboard check` tells everything.

mod channels;
mod daemon;
mod declared;
mod document;
mod nats;
mod problem;
mod reader;
pub mod schema;
mod secrets;
mod values;

pub use channels::{
    ChannelConfig, ChannelKind, DeclaredConfig, ExternalConfig, FacebookConfig, Signatures, SmsConfig, WebhookConfig,
    kinds,
};
pub use daemon::{
    AdminConfig, HttpConfig, LimitsConfig, LogConfig, LogFormat, LoggingConfig, RetentionConfig, ShutdownConfig,
    TlsConfig, TokenConfig,
};
pub use document::Environment;
pub use nats::NatsConfig;
pub use problem::{ConfigError, Place, Problem, Severity, nearest};
pub use switchboard_webchat::WebchatConfig;
pub(crate) use values::duration;
pub use values::{Cidr, Rate};

use reader::{Reader, Section};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Looked at when neither `--config` nor `$SWITCHBOARD_CONFIG` names a file.
pub const SYSTEM_FILE: &str = "/etc/switchboard/switchboard.toml";
/// The configuration of a start without any.
pub const QUICKSTART: &str = include_str!("../../config/quickstart.toml");

/// Where a configuration came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    File(PathBuf),
    /// None was found: the one that is compiled in.
    Quickstart,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Quickstart => f.write_str("the built-in quickstart"),
        }
    }
}

/// A validated configuration. `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Config {
    pub source: Source,
    pub workspace: String,
    pub log: LogConfig,
    pub http: HttpConfig,
    pub admin: AdminConfig,
    /// The rule pack's directory; `None` is the pack that is compiled in.
    pub rules: Option<PathBuf>,
    pub logging: LoggingConfig,
    pub retention: RetentionConfig,
    pub shutdown: ShutdownConfig,
    pub limits: LimitsConfig,
    /// By id; also the disabled ones.
    pub channels: BTreeMap<String, ChannelConfig>,
    /// Where people of ours are told, by id; also the disabled ones. No channel has the id of one.
    pub desks: BTreeMap<String, ChannelConfig>,
    /// What is not wrong, and still wants to be changed.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Whether this is the start without a configuration, with its own welcome.
    #[must_use]
    pub fn is_quickstart(&self) -> bool {
        self.source == Source::Quickstart
    }

    /// The channels that run.
    pub fn enabled_channels(&self) -> impl Iterator<Item = (&String, &ChannelConfig)> {
        self.channels.iter().filter(|(_, c)| c.enabled)
    }

    /// The desks that run.
    pub fn enabled_desks(&self) -> impl Iterator<Item = (&String, &ChannelConfig)> {
        self.desks.iter().filter(|(_, d)| d.enabled)
    }

    /// The address that providers call for a channel, without a slash at its end: `<public_url>/hooks/<channel>`.
    #[must_use]
    pub fn hook_url(&self, channel: &str) -> Option<String> {
        self.http.public_url.as_ref().map(|base| format!("{base}/hooks/{channel}"))
    }
}

/// Finds and loads the configuration: `--config`, `$SWITCHBOARD_CONFIG`, the system's file, then the quickstart.
///
/// # Errors
/// With everything that is wrong, when anything is.
pub fn load(explicit: Option<&Path>, env: &Environment) -> Result<Config, ConfigError> {
    let source = find(explicit, env)?;
    let text = match &source {
        Source::Quickstart => QUICKSTART.to_owned(),
        Source::File(path) => read_file(path)?,
    };
    from_text(&text, source, env)
}

/// A configuration with everything that is wrong with it.
#[derive(Debug)]
pub struct Inspected {
    pub source: Source,
    /// As far as it could be understood, also when it has errors; `None` when it is not even TOML.
    pub config: Option<Config>,
    pub problems: Vec<Problem>,
    /// The ids of all desks that are written, also of those of which something is wrong; `None` when that is not known.
    pub desks: Option<BTreeSet<String>>,
}

impl Inspected {
    #[must_use]
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|p| p.severity == Severity::Error).count()
    }
}

/// As [`load`], for looking at a configuration instead of running it.
///
/// # Errors
/// When there is nothing to look at.
pub fn inspect(explicit: Option<&Path>, env: &Environment) -> Result<Inspected, ConfigError> {
    let source = find(explicit, env)?;
    let text = match &source {
        Source::Quickstart => QUICKSTART.to_owned(),
        Source::File(path) => read_file(path)?,
    };
    let Read { config, problems, mut ids, .. } = read(&text, source.clone(), env);
    Ok(Inspected { source, config, problems, desks: ids.remove("desks") })
}

/// Which configuration [`load`] takes.
///
/// # Errors
/// When a file may be there and cannot be looked at; falling back to the quickstart would hide it.
pub fn find(explicit: Option<&Path>, env: &Environment) -> Result<Source, ConfigError> {
    if let Some(path) = explicit {
        return Ok(Source::File(path.to_owned()));
    }
    let named = env.get("SWITCHBOARD_CONFIG").map_err(|e| single(Place::Env("SWITCHBOARD_CONFIG".into()), e))?;
    if let Some(path) = named.filter(|p| !p.is_empty()) {
        return Ok(Source::File(path.into()));
    }
    let system = Path::new(SYSTEM_FILE);
    match system.try_exists() {
        Ok(true) => Ok(Source::File(system.into())),
        Ok(false) => Ok(Source::Quickstart),
        Err(e) => Err(single(Place::Whole(Arc::new(system.into())), format!("cannot be looked at: {e}"))),
    }
}

/// Validates a configuration's text. Relative paths start at the directory of the source's file.
///
/// # Errors
/// With everything that is wrong, when anything is.
pub fn from_text(text: &str, source: Source, env: &Environment) -> Result<Config, ConfigError> {
    let Read { config, problems, .. } = read(text, source, env);
    let failed = problems.iter().any(|p| p.severity == Severity::Error);
    match config {
        Some(config) if !failed => Ok(Config { warnings: problems, ..config }),
        _ => Err(ConfigError { problems }),
    }
}

/// What reading a text came to.
struct Read {
    config: Option<Config>,
    problems: Vec<Problem>,
    #[cfg_attr(not(test), expect(dead_code, reason = "the schema is compared with it"))]
    asked: BTreeMap<String, BTreeSet<&'static str>>,
    ids: BTreeMap<&'static str, BTreeSet<String>>,
}

fn read(text: &str, source: Source, env: &Environment) -> Read {
    let (file, base) = match &source {
        Source::File(path) => (path.clone(), path.parent().map(Path::to_path_buf).unwrap_or_default()),
        Source::Quickstart => (PathBuf::from("quickstart"), PathBuf::new()),
    };
    let mut reader = Reader::new(env, base);
    let mut root = document::parse(text, &Arc::new(file), &mut reader.problems);
    // After a syntax error half the keys are missing, and saying so would bury the one thing to mend.
    let config = if reader.problems.is_empty() {
        document::overlay(&mut root, env, &mut reader.problems);
        Some(daemon::read(&mut reader, Section::root(root), source))
    } else {
        None
    };
    reader.problems.sort();
    reader.problems.dedup();
    Read { config, problems: reader.problems, asked: reader.asked, ids: reader.ids }
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    use std::io::Read as _;
    let place = Place::Whole(Arc::new(path.to_owned()));
    let cannot = |e: &dyn std::fmt::Display| single(place.clone(), format!("cannot be read: {e}"));
    let file = std::fs::File::open(path).map_err(|e| cannot(&e))?;
    let mut bytes = Vec::new();
    file.take(document::MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| cannot(&e))?;
    if bytes.len() as u64 > document::MAX_FILE {
        return Err(cannot(&"longer than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|e| {
        let good = e.utf8_error().valid_up_to();
        let line = e.as_bytes().iter().take(good).filter(|b| **b == b'\n').count() + 1;
        cannot(&format!("line {line} is not UTF-8"))
    })
}

fn single(place: Place, message: impl Into<String>) -> ConfigError {
    ConfigError { problems: vec![Problem { place, severity: Severity::Error, message: message.into() }] }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
