//! `[log]` with `backend = "nats"`: where the broker is, who we are there, and how large the streams are.

use super::reader::{Reader, Section};
use super::values::size_within;
use crate::log::nats::{Credentials, Sizes, Tls};

/// Keys of `[log]` that belong to this backend alone.
const KEYS: [&str; 7] = ["servers", "credentials", "nkey", "tls", "replicas", "prefix", "sizes"];

/// The broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsConfig {
    /// `nats://host:port` or `tls://host:port`, at least one.
    pub servers: Vec<String>,
    pub credentials: Credentials,
    pub tls: Option<Tls>,
    /// Copies of every stream: 1, 3 or 5.
    pub replicas: u32,
    /// The first part of every subject.
    pub prefix: String,
    /// The size of IN is that of `limits.inbox`.
    pub sizes: Sizes,
}

pub(super) fn read(r: &mut Reader<'_>, s: &mut Section, chosen: bool) -> Option<NatsConfig> {
    if !chosen {
        for key in KEYS {
            if let Some(node) = s.take(key) {
                r.error(
                    &node.key,
                    format!("`log.{key}` belongs to the backend nats: write `backend = \"nats\"`, or remove it"),
                );
            }
        }
    }
    if chosen {
        s.need(r, "servers", "[\"nats://127.0.0.1:4222\"]");
    }
    let place = s.place_of("servers");
    let problems = r.problems.len();
    let servers: Option<Vec<String>> =
        s.list(r, "servers", server).map(|servers| servers.into_iter().map(|s| s.value).collect());
    if let (Some([]), Some(place), true) = (servers.as_deref(), place, r.problems.len() == problems) {
        r.error(&place, "`log.servers` is empty: write at least one, as `[\"nats://127.0.0.1:4222\"]`");
    }
    let credentials = read_credentials(r, s);
    let tls = read_tls(r, s);
    let place = s.place_of("replicas");
    let replicas = s.integer(r, "replicas", 1..=5);
    if let (true, Some(place)) = (replicas.is_some_and(|n| n % 2 == 0), place) {
        r.error(&place, "`log.replicas` must be odd, for a majority decides: write 1, 3 or 5");
    }
    let prefix = s.get(r, "prefix", prefix).unwrap_or_else(|| "sb".into());
    let sizes = read_sizes(r, s);
    chosen.then(|| NatsConfig {
        servers: servers.unwrap_or_default(),
        credentials,
        tls,
        replicas: replicas.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
        prefix,
        sizes,
    })
}

fn read_credentials(r: &mut Reader<'_>, s: &mut Section) -> Credentials {
    let place = s.place_of("nkey");
    let both = s.has("credentials") && s.has("nkey");
    let (file, nkey) = (s.pem(r, "credentials"), s.secret(r, "nkey"));
    if let (true, Some(place)) = (both, place) {
        r.error(&place, "`log.nkey` and `log.credentials` both say who we are: remove one");
    }
    match (file, nkey) {
        (Some(file), _) => Credentials::File(file),
        (None, Some(nkey)) => Credentials::Nkey(nkey),
        (None, None) => Credentials::None,
    }
}

fn read_tls(r: &mut Reader<'_>, s: &mut Section) -> Option<Tls> {
    let written = s.has("tls");
    let mut section = if written { s.section(r, "tls")? } else { s.absent("tls") };
    let paths = ["ca", "cert", "key"].map(|key| {
        let path = section.placed(r, key, |v| Ok(v.to_owned()))?;
        let file = r.path(&path.value);
        if let Err(e) = std::fs::File::open(&file) {
            r.error(&path.place, format!("{}: `{}` cannot be read: {e}", section.name(key), file.display()));
        }
        Some(file)
    });
    let place = section.place.clone();
    section.finish(r);
    let [ca, cert, key] = paths;
    if cert.is_some() != key.is_some() {
        r.error(&place, "`log.tls.cert` and `log.tls.key` belong together: write both, or none");
    }
    written.then(|| Tls { ca, client: cert.zip(key) })
}

fn read_sizes(r: &mut Reader<'_>, s: &mut Section) -> Sizes {
    let mut section = if s.has("sizes") { s.section(r, "sizes") } else { None }.unwrap_or_else(|| s.absent("sizes"));
    let d = Sizes::default();
    let mut size = |key, default| section.get(r, key, size_within("1MiB", "16TiB")).unwrap_or(default);
    let sizes = Sizes {
        inn: d.inn,
        log: size("log", d.log),
        out: size("out", d.out),
        claims: size("claims", d.claims),
        keys: size("keys", d.keys),
        edges: size("edges", d.edges),
        blobs: size("blobs", d.blobs),
    };
    section.finish(r);
    sizes
}

fn server(s: &str) -> Result<String, String> {
    let url = url::Url::parse(s).map_err(|e| format!("`{s}` is not an address: {e}; write `nats://host:4222`"))?;
    if !matches!(url.scheme(), "nats" | "tls") || url.host_str().is_none_or(str::is_empty) {
        return Err(format!("`{s}`: write `nats://host:4222` or `tls://host:4222`"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password: write `credentials` or `nkey` instead".into());
    }
    Ok(s.to_owned())
}

fn prefix(s: &str) -> Result<String, String> {
    let good = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if s.len() <= 64 && s.split('.').all(good) {
        return Ok(s.to_owned());
    }
    Err(format!("`{s}` is no start of a subject: write letters, digits, `-` and `_`, with dots between, such as `sb`"))
}
