//! Gateways for text messages that stand in one's own network: Jasmin, and one with an API of its own in JSON, as regional gateways
//! have. Each refuses what it would refuse, and notes every request that no correct client would make.

use crate::{
    http::{Answer, Connection, Request, call},
    lock,
};
use serde_json::{Map, Value, json};
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

const LIMIT: Duration = Duration::from_secs(20);

/// What it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `POST /send` with a form; answers in words; calls us with forms and wants to hear `ACK/Jasmin`.
    Jasmin,
    /// `POST /v1/messages` with JSON and a bearer token; calls us with lists in JSON and wants to hear `OK`.
    Json,
}

/// What becomes of the next send.
#[derive(Clone, Debug)]
pub enum GatewayStep {
    /// This answer: status and body.
    Answer(u16, String),
    /// 429 with this `Retry-After`, or without.
    Limited(Option<u32>),
    /// The request is read and taken, and the connection cut.
    CutAfter,
    /// The connection is cut before the request is read.
    CutBefore,
    /// The report comes before the send's own answer.
    ReportFirst,
    Delay(Duration),
}

/// A text that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewaySent {
    pub id: String,
    pub to: String,
    pub from: String,
    pub text: String,
    /// Where reports of it are wanted.
    pub reports: String,
    /// Our word for the attempt, where it has a field of its own.
    pub reference: String,
}

#[derive(Default)]
struct State {
    steps: VecDeque<GatewayStep>,
    sent: Vec<GatewaySent>,
    violations: Vec<String>,
    /// What the public address is in this network.
    route: (String, String),
}

struct Shared {
    dialect: Dialect,
    address: SocketAddr,
    state: Mutex<State>,
}

/// The simulator. It stops when it is dropped.
pub struct GatewaySim {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl GatewaySim {
    /// Who may send, and with what.
    pub const USER: &str = "desk";
    pub const PASSWORD: &str = "foo&bar of the tests";

    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(dialect: Dialect) -> io::Result<GatewaySim> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let shared = Arc::new(Shared { dialect, address: listener.local_addr()?, state: Mutex::default() });
        let state = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, state.clone()));
            }
        });
        Ok(GatewaySim { shared, task })
    }

    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// Where what begins with the public address is found from here.
    pub fn route(&self, public: &str, local: &str) {
        lock(&self.shared.state).route = (public.to_owned(), local.to_owned());
    }

    /// What becomes of the next send; several calls queue up. Without one it is taken.
    pub fn next(&self, step: GatewayStep) {
        lock(&self.shared.state).steps.push_back(step);
    }

    /// What was asked that no correct client would ask.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        lock(&self.shared.state).violations.clone()
    }

    /// Everything that was taken, in order.
    ///
    /// # Panics
    /// When a request was none that the gateway documents.
    #[must_use]
    pub fn sent(&self) -> Vec<GatewaySent> {
        let state = lock(&self.shared.state);
        assert_eq!(state.violations, Vec::<String>::new(), "the gateway would not have taken this");
        state.sent.clone()
    }

    /// Delivers what somebody wrote; the answer's status, and whether it is the acknowledgement.
    pub async fn says(&self, hook: &str, id: &str, from: &str, text: &str) -> (u16, bool) {
        let digits = from.trim_start_matches('+');
        match self.shared.dialect {
            Dialect::Jasmin => {
                let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
                let hex: String = utf16.iter().map(|b| format!("{b:02x}")).collect();
                let pairs = [
                    ("id", id),
                    ("from", digits),
                    ("to", "24453"),
                    ("origin-connector", "c1"),
                    ("coding", "8"),
                    ("priority", "1"),
                    ("validity", ""),
                    ("binary", &hex),
                    ("not-documented-yet", "1"),
                ];
                self.tell(hook, &form(&pairs), "application/x-www-form-urlencoded").await
            }
            Dialect::Json => {
                let message = json!({ "id": id, "from": digits, "to": "24453", "message": { "text": text }, "operator": "Mobitel" });
                let body = json!({ "results": [message], "not_documented_yet": 1 }).to_string();
                self.tell(hook, body.as_bytes(), "application/json").await
            }
        }
    }

    /// Reports what became of a text, in the dialect's word for it.
    pub async fn reports(&self, sent: &GatewaySent, word: &str) -> (u16, bool) {
        report(&self.shared, sent, word).await
    }

    async fn tell(&self, hook: &str, body: &[u8], kind: &str) -> (u16, bool) {
        deliver(self.shared.dialect, hook, body, kind).await
    }
}

impl Drop for GatewaySim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn form(pairs: &[(&str, &str)]) -> Vec<u8> {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes()
}

async fn deliver(dialect: Dialect, hook: &str, body: &[u8], kind: &str) -> (u16, bool) {
    let wanted: &[u8] = if dialect == Dialect::Jasmin { b"ACK/Jasmin" } else { b"OK" };
    let answer = call("POST", hook, &[("content-type", kind)], body, LIMIT).await;
    answer.map_or((0, false), |answer| (answer.status, answer.body == wanted))
}

async fn report(shared: &Shared, sent: &GatewaySent, word: &str) -> (u16, bool) {
    let (public, local) = lock(&shared.state).route.clone();
    let to = sent.reports.replacen(&public, &local, 1);
    match shared.dialect {
        Dialect::Jasmin => {
            let pairs = [
                ("id", sent.id.as_str()),
                ("id_smsc", "a1"),
                ("message_status", word),
                ("level", "3"),
                ("connector", "c1"),
                ("subdate", "2608311000"),
                ("donedate", "2608311001"),
                ("sub", "001"),
                ("dlvrd", "001"),
                ("err", "000"),
                ("text", "Hi"),
            ];
            deliver(shared.dialect, &to, &form(&pairs), "application/x-www-form-urlencoded").await
        }
        Dialect::Json => {
            let one = json!({ "id": sent.id, "ref": sent.reference, "status": word, "error": "7" });
            deliver(shared.dialect, &to, json!({ "reports": [one] }).to_string().as_bytes(), "application/json").await
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut connection = Connection::new(stream);
    while connection.has_begun().await {
        if matches!(lock(&shared.state).steps.front(), Some(GatewayStep::CutBefore)) {
            lock(&shared.state).steps.pop_front();
            return connection.reset();
        }
        let Ok(Some(request)) = connection.read().await else { return };
        let step = lock(&shared.state).steps.pop_front();
        if let Some(GatewayStep::Delay(wait)) = step {
            tokio::time::sleep(wait).await;
        }
        let answer = match &step {
            Some(GatewayStep::Answer(status, body)) => Answer::new(*status, "text/plain", body.clone()),
            Some(GatewayStep::Limited(after)) => {
                let answer = Answer::new(429, "text/plain", "slow down");
                after.iter().fold(answer, |answer, seconds| answer.with("retry-after", seconds.to_string()))
            }
            _ => take(&shared, &request),
        };
        if matches!(step, Some(GatewayStep::CutAfter)) {
            return connection.reset();
        }
        if matches!(step, Some(GatewayStep::ReportFirst)) {
            let sent = lock(&shared.state).sent.last().cloned();
            if let Some(sent) = sent {
                report(&shared, &sent, if shared.dialect == Dialect::Jasmin { "DELIVRD" } else { "delivered" }).await;
            }
        }
        if connection.write(&answer).await.is_err() {
            return;
        }
    }
}

fn take(shared: &Shared, request: &Request) -> Answer {
    let read = match shared.dialect {
        Dialect::Jasmin => of_form(request),
        Dialect::Json => of_json(request),
    };
    let mut state = lock(&shared.state);
    let id = format!("07033084-5cfd-4812-90a4-{:012}", state.sent.len() + 1);
    match read {
        Ok(sent) => {
            state.sent.push(GatewaySent { id: id.clone(), ..sent });
            match shared.dialect {
                Dialect::Jasmin => Answer::new(200, "text/plain", format!("Success \"{id}\"")),
                Dialect::Json => Answer::json(200, &json!({ "messages": [{ "id": id, "status": "QUEUED" }] })),
            }
        }
        Err((status, why)) => {
            let answer = match shared.dialect {
                Dialect::Jasmin => Answer::new(status, "text/plain", format!("Error \"{why}\"")),
                Dialect::Json => Answer::json(status, &json!({ "error": why })),
            };
            state.violations.push(why);
            answer
        }
    }
}

type Refused = (u16, String);

fn refused(why: impl Into<String>) -> Refused {
    (400, why.into())
}

/// A number as gateways want it: digits alone.
fn number(text: &str) -> Result<String, Refused> {
    let is_number = (3..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if is_number { Ok(text.to_owned()) } else { Err(refused(format!("Argument [to] has an invalid value: [{text}]."))) }
}

fn of_form(request: &Request) -> Result<GatewaySent, Refused> {
    const KNOWN: [&str; 12] = [
        "username",
        "password",
        "to",
        "from",
        "coding",
        "content",
        "hex-content",
        "dlr",
        "dlr-url",
        "dlr-level",
        "dlr-method",
        "priority",
    ];
    if (request.method.as_str(), request.path.as_str()) != ("POST", "/send") {
        return Err((404, format!("{} {}", request.method, request.path)));
    }
    let fields: BTreeMap<String, String> = form_urlencoded::parse(&request.body).into_owned().collect();
    if let Some(unknown) = fields.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(refused(format!("Argument [{unknown}] is unknown.")));
    }
    let of = |name: &str| fields.get(name).cloned().unwrap_or_default();
    if of("username") != GatewaySim::USER || of("password") != GatewaySim::PASSWORD {
        return Err((403, format!("Authentication failure for username:{}", of("username"))));
    }
    let text = match (of("coding").as_str(), fields.get("content"), fields.get("hex-content")) {
        ("0", Some(content), None) => content.clone(),
        ("8", None, Some(hex)) => utf16(hex).ok_or_else(|| refused("Argument [hex-content] is invalid."))?,
        (coding, ..) => return Err(refused(format!("no content for the coding {coding}"))),
    };
    if text.is_empty() || of("dlr") != "yes" || of("dlr-level") != "3" || of("dlr-method") != "POST" {
        return Err(refused("nothing to say, or no report wanted"));
    }
    let (to, from, reports) = (number(&of("to"))?, of("from"), of("dlr-url"));
    Ok(GatewaySent { id: String::new(), to, from, text, reports, reference: String::new() })
}

fn utf16(hex: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> =
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(hex.get(i..i + 2)?, 16).ok()).collect();
    let units: Vec<u16> = bytes?.chunks(2).map(|pair| pair.iter().fold(0, |n, b| n << 8 | u16::from(*b))).collect();
    String::from_utf16(&units).ok()
}

fn of_json(request: &Request) -> Result<GatewaySent, Refused> {
    if (request.method.as_str(), request.path.as_str()) != ("POST", "/v1/messages") {
        return Err((404, format!("{} {}", request.method, request.path)));
    }
    if request.header("authorization") != Some(&format!("Bearer {}", GatewaySim::PASSWORD)) {
        return Err((401, "who are you?".into()));
    }
    let body = serde_json::from_slice::<Value>(&request.body).map_err(|e| refused(e.to_string()))?;
    let message = body.pointer("/messages/0").and_then(Value::as_object).ok_or_else(|| refused("no message"))?;
    let known = |object: &Map<String, Value>, names: &[&str]| object.keys().all(|key| names.contains(&key.as_str()));
    let has_only = body.as_object().is_some_and(|body| known(body, &["messages", "callback"]));
    if !has_only || !known(message, &["to", "from", "body", "ref"]) {
        return Err(refused("a field that nobody documented"));
    }
    let of = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (to, text) = (number(&of("to"))?, of("body"));
    if text.is_empty() {
        return Err(refused("nothing to say"));
    }
    let reports = body["callback"].as_str().unwrap_or_default().to_owned();
    Ok(GatewaySent { id: String::new(), to, from: of("from"), text, reports, reference: of("ref") })
}
