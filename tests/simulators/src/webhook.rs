//! The other side of a channel `webhook`: it takes signed messages as Standard Webhooks asks, drops what it has, and sends
//! signed messages itself.

use crate::{
    http::{self, Answer, Connection, Request},
    lock,
};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What a body of ours may hold; anything else is a violation.
const FIELDS: [&str; 14] = [
    "v",
    "type",
    "send",
    "part",
    "n",
    "until",
    "channel",
    "conversation",
    "thread",
    "to",
    "content",
    "author",
    "reply_to",
    "traceparent",
];
const TOLERANCE_S: i64 = 300;

/// What becomes of a request that is in order.
#[derive(Clone, Debug)]
pub enum HookStep {
    /// Takes it: 200, with an id of its own.
    Accept,
    /// Takes it, and answers this.
    AcceptAndAnswer { status: u16 },
    /// Takes it, and resets the connection without an answer.
    AcceptAndReset,
    /// Takes nothing, and answers this; `retry_after` in seconds.
    Refuse { status: u16, retry_after: Option<u64>, body: String },
    /// Waits first; what follows is decided then.
    Delay(Duration, Box<HookStep>),
}

impl HookStep {
    /// A bare status.
    #[must_use]
    pub fn refuse(status: u16) -> HookStep {
        HookStep::Refuse { status, retry_after: None, body: String::new() }
    }
}

/// A message that was taken, once.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The `webhook-id`.
    pub id: String,
    pub body: Value,
    /// Requests with this id that were in order, whatever became of them.
    pub requests: usize,
}

#[derive(Default)]
struct State {
    taken: Vec<Taken>,
    /// Requests in order, by their id.
    requests: BTreeMap<String, usize>,
    violations: Vec<String>,
    script: VecDeque<HookStep>,
    has_rotated: bool,
    files: BTreeMap<String, (String, Vec<u8>)>,
}

struct Shared {
    secrets: Vec<Vec<u8>>,
    address: SocketAddr,
    state: Mutex<State>,
}

/// A receiver and sender with its secrets. It stops when it is dropped.
pub struct WebhookSim {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl WebhookSim {
    /// Listens on a free loopback port. The first of the secrets (`whsec_…`) signs what it sends.
    ///
    /// # Errors
    /// When no port can be had, or a secret is none.
    pub async fn start(secrets: &[&str]) -> io::Result<WebhookSim> {
        let bytes = |secret: &&str| secret.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
        let secrets: Option<Vec<_>> = secrets.iter().map(bytes).collect();
        let secrets = secrets.ok_or_else(|| io::Error::other("a secret is `whsec_` and base64"))?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let shared = Arc::new(Shared { secrets, address: listener.local_addr()?, state: Mutex::default() });
        let state = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, state.clone()));
            }
        });
        Ok(WebhookSim { shared, task })
    }

    /// What to configure as `url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/messages?tenant=7", self.shared.address)
    }

    /// The next request in order meets this step; steps queue up.
    pub fn script(&self, step: HookStep) {
        lock(&self.shared.state).script.push_back(step);
    }

    /// Every message that was taken, in order, each once.
    #[must_use]
    pub fn taken(&self) -> Vec<Taken> {
        let state = lock(&self.shared.state);
        let with_requests =
            |taken: &Taken| Taken { requests: state.requests.get(&taken.id).copied().unwrap_or(0), ..taken.clone() };
        state.taken.iter().map(with_requests).collect()
    }

    /// Requests in order, whatever became of them.
    #[must_use]
    pub fn requests(&self) -> usize {
        lock(&self.shared.state).requests.values().sum()
    }

    /// What no correct sender would have sent.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        lock(&self.shared.state).violations.clone()
    }

    /// Serves a file, and gives its address.
    #[must_use]
    pub fn add_file(&self, name: &str, content_type: &str, bytes: &[u8]) -> String {
        lock(&self.shared.state).files.insert(name.into(), (content_type.into(), bytes.to_vec()));
        format!("http://{}/files/{name}", self.shared.address)
    }

    /// Posts a signed body to the daemon; the status of its answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, url: &str, id: &str, body: &Value) -> io::Result<u16> {
        let body = body.to_string();
        let timestamp = now().to_string();
        let signature = self.signature(id, &timestamp, body.as_bytes());
        self.post(
            url,
            &[("webhook-id", id), ("webhook-timestamp", &timestamp), ("webhook-signature", &signature)],
            &body,
        )
        .await
    }

    /// From here on the last of the secrets signs what it sends.
    pub fn rotates(&self) {
        lock(&self.shared.state).has_rotated = true;
    }

    /// The signature of the secret in use, as the header holds it.
    #[must_use]
    pub fn signature(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        let (secrets, has_rotated) = (&self.shared.secrets, lock(&self.shared.state).has_rotated);
        let secret = if has_rotated { secrets.last() } else { secrets.first() };
        let secret = secret.map(Vec::as_slice).unwrap_or_default();
        format!("v1,{}", STANDARD.encode(tag(secret, id, timestamp, body)))
    }

    /// Posts anything; the status of the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, url: &str, headers: &[(&str, &str)], body: &str) -> io::Result<u16> {
        let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
        Ok(http::call("POST", url, &headers, body.as_bytes(), Duration::from_secs(20)).await?.status)
    }
}

impl Drop for WebhookSim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn tag(secret: &[u8], id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    let data = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &data).as_ref().to_vec()
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut connection = Connection::new(stream);
    while let Ok(Some(request)) = connection.read().await {
        match answer(&shared, &request).await {
            Some(answer) => {
                let written = connection.write(&answer).await;
                if written.is_err() || request.header("connection") == Some("close") {
                    return;
                }
            }
            None => return connection.reset(),
        }
    }
}

/// The answer; `None` resets the connection.
async fn answer(shared: &Shared, request: &Request) -> Option<Answer> {
    if let (Some(name), "GET") = (request.path.strip_prefix("/files/"), request.method.as_str()) {
        let file = lock(&shared.state).files.get(name).cloned();
        return Some(file.map_or_else(|| bare(404), |(content_type, bytes)| Answer::new(200, &content_type, bytes)));
    }
    let (id, body) = match shared.check(request) {
        Ok(checked) => checked,
        Err(why) => {
            lock(&shared.state).violations.push(why);
            return Some(bare(401));
        }
    };
    let mut step = {
        let mut state = lock(&shared.state);
        *state.requests.entry(id.clone()).or_default() += 1;
        state.script.pop_front().unwrap_or(HookStep::Accept)
    };
    while let HookStep::Delay(pause, next) = step {
        tokio::time::sleep(pause).await;
        step = *next;
    }
    match step {
        HookStep::Refuse { status, retry_after, body } => {
            let answer = Answer::new(status, "application/json", body);
            Some(match retry_after {
                Some(seconds) => answer.with("retry-after", seconds.to_string()),
                None => answer,
            })
        }
        HookStep::AcceptAndReset => {
            shared.take(id, body);
            None
        }
        HookStep::AcceptAndAnswer { status } => {
            shared.take(id, body);
            Some(bare(status))
        }
        HookStep::Accept | HookStep::Delay(..) => {
            let number = shared.take(id, body);
            Some(Answer::json(200, &serde_json::json!({ "id": format!("r{number}") })))
        }
    }
}

fn bare(status: u16) -> Answer {
    Answer::new(status, "text/plain", "")
}

impl Shared {
    /// The id and body of a request that the specification allows.
    fn check(&self, request: &Request) -> Result<(String, Value), String> {
        let header = |name: &str| request.header(name).ok_or_else(|| format!("no {name}"));
        let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
        if (request.method.as_str(), request.path.as_str(), request.query.as_str()) != ("POST", "/messages", "tenant=7")
        {
            return Err(format!("{} {}?{}", request.method, request.path, request.query));
        }
        if header("content-type")? != "application/json" {
            return Err("the content type is not application/json".into());
        }
        let seconds: i64 = timestamp.parse().map_err(|_| format!("webhook-timestamp {timestamp}"))?;
        if (now() - seconds).abs() > TOLERANCE_S {
            return Err(format!("webhook-timestamp {timestamp} is not now"));
        }
        let entries: Vec<&str> = header("webhook-signature")?.split(' ').collect();
        let signed = |secret: &Vec<u8>| {
            let expected = format!("v1,{}", STANDARD.encode(tag(secret, id, timestamp, &request.body)));
            entries.contains(&expected.as_str())
        };
        if !self.secrets.iter().any(signed) {
            return Err("no signature matches".into());
        }
        let body: Value = serde_json::from_slice(&request.body).map_err(|e| format!("the body: {e}"))?;
        let object = body.as_object().ok_or("the body is no object")?;
        if let Some(unknown) = object.keys().find(|key| !FIELDS.contains(&key.as_str())) {
            return Err(format!("the field {unknown} is not known"));
        }
        if (&body["v"], &body["type"]) != (&Value::from(1), &Value::from("send")) {
            return Err(format!("version {} of {}", body["v"], body["type"]));
        }
        let known = lock(&self.state).taken.iter().find(|t| t.id == id).map(|t| same(&t.body));
        if known.is_some_and(|known| known != same(&body)) {
            return Err(format!("{id} came again with another message"));
        }
        Ok((id.to_owned(), body))
    }

    /// Keeps a message that it does not have yet; the number of those that it has.
    fn take(&self, id: String, body: Value) -> usize {
        let mut state = lock(&self.state);
        if let Some(known) = state.taken.iter().position(|t| t.id == id) {
            return known + 1;
        }
        state.taken.push(Taken { id, body, requests: 0 });
        state.taken.len()
    }
}

/// A body without what differs between the attempts at one message.
fn same(body: &Value) -> Value {
    let mut same = body.clone();
    if let Some(object) = same.as_object_mut() {
        object.remove("n");
        object.remove("until");
    }
    same
}
