//! Connecting, and the streams and buckets: created when missing, compared when there.

use super::{
    link::{Events, Failure, Link, code},
    names::Names,
    options::{Credentials, NatsOptions, OpenError, Part},
};
use async_nats::{Client, ConnectOptions};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Servers before this one lack what the backend needs.
const OLDEST: (u64, u64, u64) = (2, 10, 23);
/// Servers before this one work, and have bugs that were mended since.
const RECOMMENDED: (u64, u64, u64) = (2, 12, 3);
/// What a frame and its headers need.
const PAYLOAD: usize = 1_000_000;
/// How long OUT keeps a record: what it drops unsent, the router finds at `until`.
const OUT_AGE: Duration = Duration::from_secs(20 * 60);
/// How long a claim lives: longer than anybody can still hold its record.
const CLAIM_AGE: Duration = Duration::from_secs(30 * 60);
const WAIT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

pub(super) async fn connect(options: &NatsOptions, names: &Names) -> Result<Link, OpenError> {
    let events = Events::new();
    let deadline = Instant::now() + options.connect;
    let (servers, mut pause) = (options.servers.join(", "), PAUSE);
    let client = loop {
        match try_connect(options, names, &events).await? {
            Ok(client) => break client,
            Err(why) if Instant::now() >= deadline => {
                let known = !why.to_ascii_lowercase().contains("authorization");
                return Err(if known {
                    OpenError::Connect { servers, why }
                } else {
                    OpenError::NotLetIn { servers, why }
                });
            }
            Err(why) => tracing::warn!(
                servers, why, again_in = ?pause,
                "cannot connect to the broker: is nats-server running there, and does `log.servers` name it?"
            ),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    check_server(&client)?;
    Ok(events.link(client, options.timeout))
}

/// One attempt; the inner error may pass.
async fn try_connect(
    options: &NatsOptions,
    names: &Names,
    events: &Events,
) -> Result<Result<Client, String>, OpenError> {
    let events = events.clone();
    let mut connect = ConnectOptions::new()
        .name(format!("switchboard {}", options.workspace))
        .custom_inbox_prefix(names.inbox_prefix(options.part.token()))
        .request_timeout(None)
        .ping_interval(Duration::from_secs(5))
        .reconnect_delay_callback(|attempts| PAUSE.saturating_mul(u32::try_from(attempts).unwrap_or(10).min(10)))
        .event_callback(move |event| {
            let events = events.clone();
            async move { events.hear(&event) }
        });
    connect = match &options.credentials {
        Credentials::None => connect,
        Credentials::Nkey(seed) => connect.nkey(seed.expose().trim().to_owned()),
        Credentials::File(text) => {
            // The client wants the end of the last line too, which reading a secret takes away.
            let text = format!("{}\n", text.expose());
            connect.credentials(&text).map_err(|e| OpenError::Credentials(e.to_string()))?
        }
    };
    if let Some(tls) = &options.tls {
        connect = connect.require_tls(true);
        if let Some(ca) = &tls.ca {
            connect = connect.add_root_certificates(ca.clone());
        }
        if let Some((cert, key)) = &tls.client {
            connect = connect.add_client_certificate(cert.clone(), key.clone());
        }
    }
    let answer = tokio::time::timeout(options.timeout, connect.connect(options.servers.clone())).await;
    Ok(match answer {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!("no answer within {:?}", options.timeout)),
    })
}

fn check_server(client: &Client) -> Result<(), OpenError> {
    let info = client.server_info();
    let server = format!("{}:{}", info.host, info.port);
    let version = version(&info.version);
    if version.is_none_or(|v| v < OLDEST) {
        return Err(OpenError::TooOld { server, found: info.version.clone() });
    }
    if version.is_some_and(|v| v < RECOMMENDED) {
        tracing::warn!(server, version = %info.version, "this nats-server works; 2.12.3 or later is recommended");
    }
    if info.max_payload < PAYLOAD {
        return Err(OpenError::Payload { found: info.max_payload });
    }
    Ok(())
}

/// `2.12.3-beta.1` as numbers.
pub(super) fn version(text: &str) -> Option<(u64, u64, u64)> {
    let core = text.trim_start_matches('v').split(['-', '+']).next()?;
    let mut parts = core.split('.').map(|p| p.parse::<u64>().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

/// What must hold for one stream, and which setting to change when it does not.
struct Wanted {
    name: String,
    setting: &'static str,
    config: Value,
}

/// LOG comes first, so that its space is reserved before that of the others.
fn wanted(options: &NatsOptions, names: &Names) -> Vec<Wanted> {
    let sizes = &options.sizes;
    let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
    let stream = |name: String, setting, subject: String, max_bytes: u64, discard: &str, max_age: Duration| {
        let config = json!({
            "name": name,
            "subjects": [subject],
            "retention": "limits",
            "storage": "file",
            "discard": discard,
            "max_bytes": max_bytes,
            "max_age": nanos(max_age),
            "num_replicas": options.replicas,
            "duplicate_window": nanos(options.duplicate_window),
            "allow_direct": true,
        });
        Wanted { name, setting, config }
    };
    let never = Duration::ZERO;
    let bucket = |name: &str, setting, max_bytes, max_age| {
        let bucket = names.bucket(name);
        let mut wanted = stream(format!("KV_{bucket}"), setting, format!("$KV.{bucket}.>"), max_bytes, "new", max_age);
        // What every KV client expects of a bucket; messages may be deleted, for that is what wipes them.
        set(&mut wanted.config, "max_msgs_per_subject", json!(1));
        set(&mut wanted.config, "allow_rollup_hdrs", json!(true));
        wanted
    };
    let mut all = vec![
        stream(names.log(), "log.sizes.log", names.log_subject(), sizes.log, "new", never),
        stream(names.inn(), "limits.inbox", names.in_subject("*"), sizes.inn, "new", never),
        stream(names.out(), "log.sizes.out", names.out_subject("*"), sizes.out, "old", OUT_AGE),
        bucket("CLAIMS", "log.sizes.claims", sizes.claims, CLAIM_AGE),
        bucket("KEYS", "log.sizes.keys", sizes.keys, never),
        bucket("EDGES", "log.sizes.edges", sizes.edges, never),
    ];
    let blobs = names.bucket("BLOBS");
    let mut objects =
        stream(format!("OBJ_{blobs}"), "log.sizes.blobs", format!("$O.{blobs}.C.>"), sizes.blobs, "new", never);
    set(&mut objects.config, "subjects", json!([format!("$O.{blobs}.C.>"), format!("$O.{blobs}.M.>")]));
    set(&mut objects.config, "allow_rollup_hdrs", json!(true));
    all.push(objects);
    all
}

fn set(config: &mut Value, key: &str, value: Value) {
    if let Value::Object(config) = config {
        config.insert(key.to_owned(), value);
    }
}

#[derive(Deserialize)]
struct Info {
    config: Map<String, Value>,
}

/// Makes what is missing, and compares what is there. An edge may come before its router, and waits for it.
pub(super) async fn streams(link: &Link, options: &NatsOptions, names: &Names) -> Result<(), OpenError> {
    let mut waits = Waits::default();
    loop {
        match make_or_compare(link, options, names).await {
            Err(OpenError::NotMade { what }) => waits.more(&what).await,
            made => return made,
        }
    }
}

/// An edge that waits for what only a router makes. It says so once, and not again for each thing.
#[derive(Default)]
pub(super) struct Waits {
    said: bool,
}

impl Waits {
    pub(super) async fn more(&mut self, what: &str) {
        if !std::mem::replace(&mut self.said, true) {
            tracing::warn!(
                what,
                "not there yet: an edge makes none, and waits; start a process with `--role router` or `--role all`"
            );
        }
        tokio::time::sleep(WAIT).await;
    }
}

async fn make_or_compare(link: &Link, options: &NatsOptions, names: &Names) -> Result<(), OpenError> {
    for wanted in wanted(options, names) {
        let made =
            |e: &Failure| OpenError::Make { what: format!("stream {}", wanted.name), why: mend(e, wanted.setting) };
        let info: Info = match link.api(&format!("STREAM.INFO.{}", wanted.name), &json!({})).await {
            Ok(info) => info,
            Err(e) if e.is(code::STREAM_NOT_FOUND) && options.part == Part::Edge => {
                return Err(OpenError::NotMade { what: format!("stream {}", wanted.name) });
            }
            Err(e) if e.is(code::STREAM_NOT_FOUND) => {
                let call = format!("STREAM.CREATE.{}", wanted.name);
                link.api(&call, &wanted.config).await.map_err(|e| made(&e))?
            }
            Err(Failure::NoAnswer(why)) => return Err(OpenError::NoJetStream(why)),
            Err(e) if e.is(code::NO_JETSTREAM) || e.is(code::NO_JETSTREAM_FOR_ACCOUNT) => {
                return Err(OpenError::NoJetStream(e.to_string()));
            }
            Err(e) => return Err(made(&e)),
        };
        let mut differences = differences(&wanted.config, &info.config);
        if info.config.get("persist_mode").and_then(Value::as_str) == Some("async") {
            differences
                .push("persist_mode is \"async\" there, so that a killed server loses what it acknowledged".into());
        }
        if !differences.is_empty() {
            return Err(OpenError::Differs {
                what: format!("stream {}", wanted.name),
                differences: differences.join(", "),
                mend: format!(
                    "change `{}` or edit it with `nats stream edit {}`",
                    setting(&differences, wanted.setting),
                    wanted.name
                ),
            });
        }
    }
    Ok(())
}

fn mend(failure: &Failure, setting: &str) -> String {
    if failure.is_full() {
        return format!(
            "{failure}: give JetStream more room (`max_file_store` of nats-server), or make `{setting}` smaller"
        );
    }
    failure.to_string()
}

/// The setting that the first difference belongs to.
fn setting<'a>(differences: &[String], size: &'a str) -> &'a str {
    match differences.first() {
        Some(first) if first.starts_with("num_replicas") => "log.replicas",
        Some(first) if first.starts_with("subjects") => "log.prefix",
        _ => size,
    }
}

/// One line a field in which `found` is not what is `wanted`. What we did not ask for may be anything.
fn differences(wanted: &Value, found: &Map<String, Value>) -> Vec<String> {
    let Value::Object(wanted) = wanted else { return vec![] };
    let nothing = Value::Null;
    wanted
        .iter()
        .filter_map(|(key, value)| {
            let there = found.get(key).unwrap_or(&nothing);
            (!same(value, there)).then(|| format!("{key} is {there} there and {value} in the configuration"))
        })
        .collect()
}

/// The server leaves out what is false, zero or empty.
fn same(wanted: &Value, found: &Value) -> bool {
    let empty = |v: &Value| match v {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_u64() == Some(0),
        _ => false,
    };
    wanted == found || (empty(wanted) && empty(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kit_checks_adapters_on_the_streams_that_the_daemon_makes() {
        let options = NatsOptions::new(vec![], "main", "p1".into());
        let made = wanted(&options, &Names::new("sb", "main"));
        for mut stream in switchboard_conformance::streams("sb", "main") {
            let ours = made.iter().find(|w| w.name == stream.name).map(|w| w.config.clone());
            // Only the sizes are its own.
            set(&mut stream.config, "max_bytes", ours.as_ref().map_or(Value::Null, |o| o["max_bytes"].clone()));
            assert_eq!(Some(stream.config), ours, "{}", stream.name);
        }
    }

    #[test]
    fn the_space_of_log_is_reserved_before_that_of_any_other_and_each_has_a_limit() {
        let names = Names::new("sb", "main");
        let made = wanted(&NatsOptions::new(vec![], "main", "p1".into()), &names);
        assert_eq!((made.first().map(|w| w.name.clone()), made.len()), (Some(names.log()), 7));
        assert!(made.iter().all(|w| w.config["max_bytes"].as_u64().is_some_and(|bytes| bytes > 0)));
    }

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(version("2.10.23"), Some((2, 10, 23)));
        assert_eq!(version("v2.12.3-RC.1"), Some((2, 12, 3)));
        assert!(version("2.9.10") < Some(OLDEST) && version("2.10.9") < Some(OLDEST));
        assert_eq!(version("two"), None);
    }

    #[test]
    fn a_difference_is_shown_with_both_values() {
        let found = json!({"max_bytes": 100, "discard": "new", "sealed": false});
        let Value::Object(found) = found else { return };
        let wanted = json!({"max_bytes": 200, "discard": "new", "max_age": 0, "allow_direct": true});
        assert_eq!(
            differences(&wanted, &found),
            [
                "allow_direct is null there and true in the configuration",
                "max_bytes is 100 there and 200 in the configuration"
            ]
        );
    }
}
