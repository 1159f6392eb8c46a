//! The daemon's side of the bench: a workspace on a real broker.

use crate::streams::{consumer, permissions, streams};
use crate::{On, Stopped, wait};
use async_nats::{Client, ConnectOptions, HeaderMap, Request, ServerAddr};
use base64::Engine as _;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use switchboard_envelope::{Inbound, WireError};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::Instant;

const ANSWER: Duration = Duration::from_secs(5);
const STARTS: Duration = Duration::from_secs(20);
const PREFIX: &str = "sb";
/// The most records of IN that are looked at: an adapter that repeats itself without end must not fill the memory.
const MAX_RECORDS: usize = 5000;

/// A record of IN.
#[derive(Debug)]
pub(crate) struct Record {
    pub subject: String,
    /// The header `Nats-Msg-Id`.
    pub msg_id: Option<String>,
    pub read: Result<Inbound, WireError>,
}

#[derive(Default)]
struct Seen {
    last: u64,
    records: Vec<Arc<Record>>,
}

/// The broker as everybody on the bench sees it.
#[derive(Clone)]
pub(crate) struct Broker {
    client: Client,
    pub workspace: String,
    pub channel: String,
    seen: Arc<Mutex<Seen>>,
    beats: Arc<Mutex<Vec<Instant>>>,
    /// Records in IN when messages were last refused.
    marker: Arc<AtomicU64>,
}

/// What ends with the bench: the broker that was started for it.
pub(crate) struct Own {
    _child: Child,
    folder: TempDir,
}

/// A broker with a workspace in it.
pub(crate) struct Opened {
    pub broker: Broker,
    pub own: Option<Own>,
    /// The address that the adapter gets.
    pub server: String,
}

pub(crate) fn random_hex() -> String {
    let mut bytes = [0u8; 6];
    // Without randomness ids would collide, and the checks would say so.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Broker {
    pub(crate) async fn open(on: On, channel: &str) -> Result<Opened, Stopped> {
        let failed = |why: String| Stopped::Broker(why);
        let (own, ours, theirs, workspace) = match on {
            On::Running(url) => (None, url.clone(), url, format!("check-{}", random_hex())),
            On::Own(program) => {
                let (own, ours, theirs) = start(&program, channel).await.map_err(failed)?;
                (Some(own), ours, theirs, "check".to_owned())
            }
        };
        let mut connect = ConnectOptions::new().name("switchboard adapter check").connection_timeout(ANSWER);
        // The client does not look for an account in an address.
        if let Ok(address) = ours.parse::<ServerAddr>()
            && let (Some(user), Some(password)) = (address.username(), address.password())
        {
            connect = connect.user_and_password(user.to_owned(), password.to_owned());
        }
        let client = connect.connect(&ours).await.map_err(|e| {
            failed(format!(
                "the broker at {} does not answer: {e}; start nats-server, or change --server",
                hidden(&ours)
            ))
        })?;
        let broker = Broker {
            client,
            workspace,
            channel: channel.to_owned(),
            seen: Arc::default(),
            beats: Arc::default(),
            marker: Arc::default(),
        };
        if let Err(why) = broker.make().await {
            // What was made before it was refused takes room on somebody's broker.
            if own.is_none() {
                broker.remove().await;
            }
            return Err(failed(why));
        }
        Ok(Opened { broker, own, server: theirs })
    }

    async fn make(&self) -> Result<(), String> {
        for stream in streams(PREFIX, &self.workspace) {
            self.api(&format!("STREAM.CREATE.{}", stream.name), &stream.config).await?;
        }
        let body = consumer(PREFIX, &self.workspace, &self.channel);
        self.api(&format!("CONSUMER.DURABLE.CREATE.SB_{}_OUT.{}", self.workspace, self.channel), &body).await?;
        let status = format!("{PREFIX}.{}.status.{}", self.workspace, self.channel);
        let mut heard = self.client.subscribe(status).await.map_err(|e| e.to_string())?;
        let beats = Arc::clone(&self.beats);
        tokio::spawn(async move {
            while heard.next().await.is_some() {
                lock(&beats).push(Instant::now());
            }
        });
        Ok(())
    }

    /// Removes what the bench made on a broker of others.
    pub(crate) async fn remove(&self) {
        for stream in streams(PREFIX, &self.workspace) {
            let _ = self.api(&format!("STREAM.DELETE.{}", stream.name), &json!({})).await;
        }
    }

    pub(crate) fn prefix(&self) -> &'static str {
        PREFIX
    }

    async fn ask(&self, subject: String, headers: Option<HeaderMap>, payload: Bytes) -> Result<Value, String> {
        let mut request = Request::new().payload(payload).timeout(Some(ANSWER));
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        let answer = self
            .client
            .send_request(subject.clone(), request)
            .await
            .map_err(|e| format!("the broker: {subject}: {e}"))?;
        let value: Value = serde_json::from_slice(&answer.payload).map_err(|e| format!("the broker's answer: {e}"))?;
        match value.get("error") {
            Some(error) => Err(format!("the broker refuses {subject}: {error}")),
            None => Ok(value),
        }
    }

    async fn api(&self, call: &str, body: &Value) -> Result<Value, String> {
        self.ask(format!("$JS.API.{call}"), None, Bytes::from(body.to_string())).await
    }

    /// A record for the adapter, as the router would release it.
    pub(crate) async fn put(&self, record: impl Into<Bytes>) -> Result<(), String> {
        let subject = format!("{PREFIX}.{}.out.{}", self.workspace, self.channel);
        self.ask(subject, None, record.into()).await.map(drop)
    }

    fn claim_subject(&self, key: &str) -> String {
        format!("$KV.SB_{}_CLAIMS.{key}", self.workspace)
    }

    /// Who holds a claim.
    pub(crate) async fn claim(&self, key: &str) -> Option<String> {
        let ask = json!({ "last_by_subj": self.claim_subject(key) });
        let got = self.api(&format!("STREAM.MSG.GET.KV_SB_{}_CLAIMS", self.workspace), &ask).await.ok()?;
        let data = got.pointer("/message/data").and_then(Value::as_str).unwrap_or_default();
        Some(String::from_utf8_lossy(&decode(data)).into_owned())
    }

    /// Takes a claim for somebody else.
    pub(crate) async fn take(&self, key: &str) -> Result<(), String> {
        self.ask(self.claim_subject(key), None, Bytes::from_static(b"another-edge")).await.map(drop)
    }

    /// Forgets a claim, as a broker does that comes back with an older copy of its store.
    pub(crate) async fn forget(&self, key: &str) -> Result<(), String> {
        let only = json!({ "filter": self.claim_subject(key) });
        self.api(&format!("STREAM.PURGE.KV_SB_{}_CLAIMS", self.workspace), &only).await.map(drop)
    }

    /// Records that were not delivered, and that were delivered and not acknowledged.
    pub(crate) async fn left(&self) -> Result<(u64, u64), String> {
        let info = self.api(&format!("CONSUMER.INFO.SB_{}_OUT.{}", self.workspace, self.channel), &json!({})).await?;
        let number = |key: &str| info.get(key).and_then(Value::as_u64).unwrap_or(0);
        Ok((number("num_pending"), number("num_ack_pending")))
    }

    /// Whether everything that was put was acknowledged, at the latest after `within`.
    pub(crate) async fn all_acknowledged(&self, within: Duration) -> bool {
        wait::until(within, async || self.left().await.is_ok_and(|left| left == (0, 0)).then_some(())).await.is_some()
    }

    /// Lets IN take nothing any more, as if it were full.
    pub(crate) async fn refuse(&self) -> Result<(), String> {
        let name = format!("SB_{}_IN", self.workspace);
        let count = |info: &Value| info.pointer("/state/messages").and_then(Value::as_u64).unwrap_or(0);
        let mut info = self.api(&format!("STREAM.INFO.{name}"), &json!({})).await?;
        if count(&info) == 0 {
            // A limit of no messages would be none.
            let subject = format!("{PREFIX}.{}.in.kit", self.workspace);
            self.ask(subject, None, Bytes::from_static(b"{}")).await?;
            info = self.api(&format!("STREAM.INFO.{name}"), &json!({})).await?;
        }
        self.marker.store(count(&info), Ordering::Relaxed);
        self.limit(i64::try_from(count(&info)).unwrap_or(i64::MAX)).await
    }

    /// IN takes records again.
    pub(crate) async fn allow(&self) -> Result<(), String> {
        self.limit(-1).await
    }

    async fn limit(&self, messages: i64) -> Result<(), String> {
        let stream = streams(PREFIX, &self.workspace).into_iter().find(|s| s.name.ends_with("_IN"));
        let Some(mut stream) = stream else { return Ok(()) };
        if let Some(config) = stream.config.as_object_mut() {
            config.insert("max_msgs".into(), json!(messages));
        }
        self.api(&format!("STREAM.UPDATE.{}", stream.name), &stream.config).await.map(drop)
    }

    /// All records of IN so far.
    pub(crate) async fn records(&self) -> Result<Vec<Arc<Record>>, String> {
        let stream = format!("SB_{}_IN", self.workspace);
        let info = self.api(&format!("STREAM.INFO.{stream}"), &json!({})).await?;
        let last = info.pointer("/state/last_seq").and_then(Value::as_u64).unwrap_or(0);
        let mut next = lock(&self.seen).last + 1;
        while next <= last && lock(&self.seen).records.len() < MAX_RECORDS {
            let got = self.api(&format!("STREAM.MSG.GET.{stream}"), &json!({ "seq": next })).await?;
            let record = record(&got);
            let mut seen = lock(&self.seen);
            seen.last = next;
            if !record.subject.ends_with(".in.kit") {
                seen.records.push(Arc::new(record));
            }
            next += 1;
        }
        Ok(lock(&self.seen).records.clone())
    }

    /// Whether the channel has described a file of this hash.
    pub(crate) async fn has_blob(&self, hash: &str) -> bool {
        let bucket = format!("SB_{}_BLOBS", self.workspace);
        let ask = json!({ "seq": 1, "next_by_subj": format!("$O.{bucket}.M.{}.*.{hash}", self.channel) });
        self.api(&format!("STREAM.MSG.GET.OBJ_{bucket}"), &ask).await.is_ok()
    }

    /// When the adapter said that it is there.
    pub(crate) fn beats(&self) -> Vec<Instant> {
        lock(&self.beats).clone()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn decode(base64: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(base64).unwrap_or_default()
}

/// A stored message as JetStream's API tells it.
fn record(got: &Value) -> Record {
    let text =
        |key: &str| got.pointer(&format!("/message/{key}")).and_then(Value::as_str).unwrap_or_default().to_owned();
    let headers = String::from_utf8_lossy(&decode(&text("hdrs"))).into_owned();
    let msg_id = headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("Nats-Msg-Id").then(|| value.trim().to_owned())
    });
    let bytes = decode(&text("data"));
    let read = Inbound::from_slice(&bytes);
    Record { subject: text("subject"), msg_id, read }
}

/// An address without its password.
fn hidden(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}

/// Starts a broker, and says where the kit and where the adapter connect to it.
async fn start(program: &Path, channel: &str) -> Result<(Own, String, String), String> {
    let folder = tempfile::tempdir().map_err(|e| format!("no folder for the broker's store: {e}"))?;
    let (ours, theirs) = (random_hex(), random_hex());
    let (may, inbox) = permissions(PREFIX, "check", channel);
    let may: Vec<String> = may.iter().map(|subject| format!("\"{subject}\"")).collect();
    let root = folder.path().display();
    let conf = format!(
        "host: 127.0.0.1\nport: -1\nports_file_dir: \"{root}\"\njetstream {{ store_dir: \"{root}/store\", max_file_store: 1GB }}\n\
         authorization {{ users: [\n  {{ user: kit, password: \"{ours}\" }}\n  {{ user: adapter, password: \"{theirs}\", permissions: {{ \
         publish: {{ allow: [ {} ] }}, subscribe: {{ allow: [ \"{inbox}\" ] }} }} }}\n] }}\n",
        may.join(", ")
    );
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).map_err(|e| format!("the broker's configuration: {e}"))
    };
    write("server.conf", &conf)?;
    let file = std::fs::File::create(folder.path().join("server.log")).map_err(|e| format!("the broker's log: {e}"))?;
    let again = file.try_clone().map_err(|e| format!("the broker's log: {e}"))?;
    let child = Command::new(program)
        .args(["-c", "server.conf"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(again)
        .stderr(file)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| {
            format!(
                "{} does not start: {e}; install nats-server 2.10.23 or later, or name a broker that runs with --server",
                program.display()
            )
        })?;
    let ports = folder.path().join(format!("nats-server_{}.ports", child.id().unwrap_or(0)));
    let port = wait::until(STARTS, async || port(&ports)).await;
    let own = Own { _child: child, folder };
    let port = port.ok_or_else(|| format!("{} does not start:\n{}", program.display(), own.log()))?;
    let address = |user: &str, password: &str| format!("nats://{user}:{password}@127.0.0.1:{port}");
    Ok((own, address("kit", &ours), address("adapter", &theirs)))
}

fn port(file: &PathBuf) -> Option<u16> {
    let ports: Value = serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
    ports.pointer("/nats/0")?.as_str()?.rsplit(':').next()?.parse().ok()
}

impl Own {
    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    /// What the adapter's account was forbidden, each once.
    pub(crate) fn forbidden(&self) -> Vec<String> {
        let mut found: Vec<String> = vec![];
        for line in self.log().lines() {
            let Some(at) = ["Publish Violation", "Subscription Violation"].iter().find_map(|what| line.find(what))
            else {
                continue;
            };
            let said = line.get(at..).unwrap_or_default();
            let subject = said.rsplit_once("Subject ").map_or("", |(_, subject)| subject.trim());
            let what = if said.starts_with("Publish") { "publish to" } else { "listen on" };
            let told = format!("{what} {subject}");
            if !found.contains(&told) {
                found.push(told);
            }
        }
        found
    }
}
