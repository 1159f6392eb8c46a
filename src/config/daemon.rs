//! Everything of the configuration but the channels.

use super::channels;
use super::problem::{Place, Severity, nearest};
use super::reader::{Reader, Section};
use super::values::{Cidr, base_url, cidr, duration_within, is_loopback, listen, log_level, size_within};
use super::{Config, NatsConfig, Source};
use crate::log::frame::VERSION;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use switchboard_adapter_sdk::Secret;
use switchboard_envelope::{Scope, is_id};

/// The log: embedded in a directory of data, or on a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The data directory, on every backend.
    pub path: PathBuf,
    /// The broker; `None` is the embedded log.
    pub nats: Option<NatsConfig>,
    /// The newest format of frames that is written: an earlier version of this program can read on as long as it knows it.
    pub format: u16,
}

/// The public listener: webhooks and chat.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    pub listen: SocketAddr,
    /// What providers call, without a slash at its end.
    pub public_url: Option<String>,
    pub tls: Option<TlsConfig>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
    /// Bytes of a request's body; more is 413.
    pub max_body: usize,
    /// How long a request may take to arrive.
    pub read_timeout: Duration,
    pub max_connections: usize,
}

#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// A PEM file with the certificate and its chain.
    pub cert: PathBuf,
    /// The private key in PEM.
    pub key: Secret,
}

/// The private listener: API, console, metrics, health.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    pub listen: SocketAddr,
    /// Where people of ours reach it, without a slash at its end: what notices at desks lead to.
    pub public_url: Option<String>,
    /// By id.
    pub tokens: BTreeMap<String, TokenConfig>,
}

/// What the bearer of a token may do.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    pub secret: Secret,
    pub scopes: Vec<Scope>,
    /// For whom a token of scope `agent` speaks.
    pub agent: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// What the daemon tells of itself on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingConfig {
    pub format: LogFormat,
    /// A level, or a list of `target=level`.
    pub level: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionConfig {
    pub messages: Duration,
    /// What providers sent, byte for byte.
    pub raw: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownConfig {
    /// How long work in hand may take after the signal.
    pub drain: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Bytes that wait in IN; messages are refused at 80 % of it.
    pub inbox: u64,
    /// Event ids that are remembered, so that a repeated delivery changes nothing.
    pub duplicates: u64,
}

pub(super) fn read(r: &mut Reader<'_>, mut root: Section, source: Source) -> Config {
    let workspace = root.get(r, "workspace", |s| id(s, "main"));
    let log = section(r, &mut root, "log", read_log);
    let (http, public_at) = section(r, &mut root, "http", read_http);
    let (admin, admin_at) = section(r, &mut root, "admin", read_admin);
    if collide(http.listen, admin.listen) {
        let place = admin_at.or(public_at).unwrap_or_else(|| root.place.clone());
        r.error(&place, format!("`admin.listen` is `{}`, where `http.listen` ({}) listens: the two need ports of their own, such as `127.0.0.1:8080` and `127.0.0.1:8081`", admin.listen, http.listen));
    }
    let rules = section(r, &mut root, "rules", read_rules);
    let logging = section(r, &mut root, "logging", |r, s| LoggingConfig {
        format: s
            .choice(r, "format", &[("text", LogFormat::Text), ("json", LogFormat::Json)])
            .unwrap_or(LogFormat::Text),
        level: s.get(r, "level", log_level).unwrap_or_else(|| "info".into()),
    });
    let retention = section(r, &mut root, "retention", |r, s| RetentionConfig {
        messages: s.get(r, "messages", duration_within("1d", "3650d")).unwrap_or(DAY * 365),
        raw: s.get(r, "raw", duration_within("1h", "3650d")).unwrap_or(DAY * 30),
    });
    let shutdown = section(r, &mut root, "shutdown", |r, s| ShutdownConfig {
        drain: s.get(r, "drain", duration_within("0s", "10m")).unwrap_or(Duration::from_secs(30)),
    });
    let limits = section(r, &mut root, "limits", |r, s| LimitsConfig {
        inbox: s.get(r, "inbox", size_within("16MiB", "1TiB")).unwrap_or(1 << 30),
        duplicates: s.integer(r, "duplicates", 10_000..=1_000_000_000).unwrap_or(5_000_000),
    });
    let around = channels::Around {
        public_url: http.public_url.as_deref(),
        console: admin.public_url.is_some(),
        on_nats: log.nats.is_some(),
    };
    let channels = channels::read(r, &mut root, &around);
    let desks = channels::read_desks(r, &mut root, &around, &channels);
    let start = root.place.clone();
    root.finish(r);
    if channels.is_empty() && !r.problems.iter().any(|p| p.severity == Severity::Error) {
        r.warn(&start, "no channel is configured, so nobody can write: add one, such as `[channels.site]` with `kind = \"webchat\"`");
    }
    Config {
        source,
        workspace: workspace.unwrap_or_else(|| "main".into()),
        log,
        http,
        admin,
        rules,
        logging,
        retention,
        shutdown,
        limits,
        channels,
        desks,
        warnings: vec![],
    }
}

const DAY: Duration = Duration::from_secs(86_400);

/// Reads a table that may be left out, when its defaults hold.
fn section<T>(
    r: &mut Reader<'_>,
    root: &mut Section,
    key: &'static str,
    read: impl FnOnce(&mut Reader<'_>, &mut Section) -> T,
) -> T {
    let written = if root.has(key) { root.section(r, key) } else { None };
    let mut section = written.unwrap_or_else(|| root.absent(key));
    let value = read(r, &mut section);
    section.finish(r);
    value
}

fn read_log(r: &mut Reader<'_>, s: &mut Section) -> LogConfig {
    let nats = s.placed(r, "backend", |v| match v {
        "embedded" => Ok(false),
        "nats" => Ok(true),
        other => Err(match nearest(other, ["embedded", "nats"]) {
            Some(near) => format!("unknown backend `{other}`: did you mean `{near}`?"),
            None => format!("unknown backend `{other}`: write `embedded` or `nats`"),
        }),
    });
    let nats = super::nats::read(r, s, nats.is_some_and(|b| b.value));
    let path = s.get(r, "path", non_empty_path).unwrap_or_else(|| "data".into());
    let format = s.integer(r, "format", 1..=u64::from(VERSION)).and_then(|n| u16::try_from(n).ok()).unwrap_or(1);
    LogConfig { path: r.path(&path), nats, format }
}

/// Whether one of two listeners would find its port in use.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

/// Also where the address is written, if it is.
fn read_http(r: &mut Reader<'_>, s: &mut Section) -> (HttpConfig, Option<Place>) {
    let address = s.placed(r, "listen", listen);
    let public_url = s.placed(r, "public_url", base_url);
    let tls = if s.has("tls") { s.section(r, "tls").and_then(|t| read_tls(r, t)) } else { None };
    if let Some(url) = public_url.as_ref().filter(|u| u.value.starts_with("http:") && !is_loopback(&u.value)) {
        r.warn(
            &url.place,
            format!(
                "`http.public_url` is `{}`: providers would send customers' messages unencrypted; write `https`",
                url.value
            ),
        );
    }
    let trusted_proxies: Vec<Cidr> =
        s.list(r, "trusted_proxies", cidr).unwrap_or_default().into_iter().map(|p| p.value).collect();
    if let Some(a) =
        address.as_ref().filter(|a| !a.value.ip().is_loopback() && tls.is_none() && trusted_proxies.is_empty())
    {
        r.warn(&a.place, format!("`http.listen` is `{}` without TLS: set `http.tls`, or listen on 127.0.0.1 behind a proxy and name it in `http.trusted_proxies`", a.value));
    }
    let place = address.as_ref().map(|a| a.place.clone());
    let config = HttpConfig {
        listen: address.map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)), |a| a.value),
        public_url: public_url.map(|u| u.value),
        tls,
        trusted_proxies,
        max_body: s
            .get(r, "max_body", size_within("16KiB", "64MiB"))
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(1 << 20),
        read_timeout: s.get(r, "read_timeout", duration_within("1s", "5m")).unwrap_or(Duration::from_secs(15)),
        max_connections: s
            .integer(r, "max_connections", 16..=1_000_000)
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(10_000),
    };
    (config, place)
}

fn read_tls(r: &mut Reader<'_>, mut s: Section) -> Option<TlsConfig> {
    let cert = s.required(r, "cert", "\"cert.pem\"", non_empty_path).map(|p| r.path(&p));
    s.need(r, "key", "{ file = \"key.pem\" }");
    let key = s.pem(r, "key");
    if let Some(path) = cert.as_ref()
        && let Err(e) = std::fs::File::open(path)
    {
        r.error(&s.place, format!("{}: `{}` cannot be read: {e}", s.name("cert"), path.display()));
    }
    s.finish(r);
    Some(TlsConfig { cert: cert?, key: key? })
}

/// Also where the address is written, if it is.
fn read_admin(r: &mut Reader<'_>, s: &mut Section) -> (AdminConfig, Option<Place>) {
    let address = s.placed(r, "listen", listen);
    if let Some(a) = address.as_ref().filter(|a| !a.value.ip().is_loopback()) {
        r.warn(&a.place, format!("`admin.listen` is `{}`: API and console would be reachable from outside, in plain HTTP; keep it on 127.0.0.1 or in a private network", a.value));
    }
    let public_url = s.get(r, "public_url", base_url);
    let mut tokens: BTreeMap<String, TokenConfig> = BTreeMap::new();
    for (id, mut section) in s.by_id(r, "tokens") {
        let token = read_token(r, &mut section, &tokens);
        section.finish(r);
        if let Some(token) = token {
            tokens.insert(id, token);
        }
    }
    let place = address.as_ref().map(|a| a.place.clone());
    let listen = address.map_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)), |a| a.value);
    (AdminConfig { listen, public_url, tokens }, place)
}

const SCOPES: [(&str, Scope); 4] =
    [("admin", Scope::Admin), ("supervisor", Scope::Supervisor), ("agent", Scope::Agent), ("read", Scope::Read)];

fn read_token(r: &mut Reader<'_>, s: &mut Section, others: &BTreeMap<String, TokenConfig>) -> Option<TokenConfig> {
    let secret = s.required_secret(r, "token");
    s.need(r, "scopes", "[\"agent\"]");
    let (listed, problems) = (s.has("scopes"), r.problems.len());
    let scopes = s.list(r, "scopes", |v| {
        SCOPES
            .iter()
            .find(|(name, _)| *name == v)
            .map(|(_, scope)| *scope)
            .ok_or_else(|| format!("unknown scope `{v}`: write `admin`, `supervisor`, `agent` or `read`"))
    });
    let scopes: Vec<Scope> = scopes.unwrap_or_default().into_iter().map(|p| p.value).collect();
    let empty = listed && scopes.is_empty() && r.problems.len() == problems;
    let names_agent = s.has("agent");
    let agent = s.get(r, "agent", |v| id(v, "ann"));
    if empty {
        r.error(&s.place, format!("{} is empty: a token without a scope may do nothing", s.name("scopes")));
    }
    if scopes.contains(&Scope::Agent) && !names_agent {
        r.error(
            &s.place,
            format!("{} is missing: a token of scope `agent` names its agent, as `agent = \"ann\"`", s.name("agent")),
        );
    }
    let secret = secret?;
    let value = secret.expose();
    if !value.bytes().all(|b| b.is_ascii_graphic()) {
        r.error(&s.place, format!("{} must hold visible ASCII characters only, to fit a header", s.name("token")));
    } else if value.len() < 16 {
        r.warn(
            &s.place,
            format!("{} has fewer than 16 characters: make one with `openssl rand -hex 32`", s.name("token")),
        );
    }
    if let Some((other, _)) = others.iter().find(|(_, t)| t.secret == secret) {
        r.error(&s.place, format!("{} is the same as that of `{other}`: nobody could tell who acted", s.name("token")));
    }
    Some(TokenConfig { secret, scopes, agent })
}

fn read_rules(r: &mut Reader<'_>, s: &mut Section) -> Option<PathBuf> {
    let path = s.placed(r, "path", non_empty_path)?;
    let directory = r.path(&path.value);
    if !directory.is_dir() {
        r.error(
            &path.place,
            format!(
                "`rules.path`: `{}` is not a directory: write the path of a rule pack, from this file's directory, or copy \
                 routing-rules/packs/shop there",
                directory.display()
            ),
        );
    }
    Some(directory)
}

fn non_empty_path(s: &str) -> Result<String, String> {
    if s.trim().is_empty() || s.contains('\0') { Err("is empty: write a path".into()) } else { Ok(s.to_owned()) }
}

fn id(s: &str, example: &str) -> Result<String, String> {
    if is_id(s) {
        Ok(s.to_owned())
    } else {
        Err(format!("{}, such as `{example}`", switchboard_envelope::InvalidId(s.to_owned())))
    }
}
