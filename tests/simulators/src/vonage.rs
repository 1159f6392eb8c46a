//! Vonage: `POST /sms/json` and `POST /v1/messages`, and the webhooks of both. It refuses what Vonage refuses, and notes every
//! request that no correct client would make.

use crate::{
    http::{Answer, Connection, Request, call},
    lock,
};
use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose};
use serde_json::{Value, json};
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

const FORM: &str = "application/x-www-form-urlencoded";
const LIMIT: Duration = Duration::from_secs(20);
/// What `POST /sms/json` takes (<https://developer.vonage.com/en/api/sms>).
const FIELDS: &[&str] =
    &["api_key", "api_secret", "from", "to", "text", "type", "ttl", "status-report-req", "callback", "client-ref"];
const MESSAGE_FIELDS: &[&str] = &["message_type", "channel", "to", "from", "text", "client_ref", "ttl", "webhook_url"];

/// The account.
#[derive(Clone, Debug)]
pub struct VonageConfig {
    pub api_key: String,
    pub api_secret: String,
    pub signature_secret: String,
    /// Our numbers, in digits.
    pub numbers: Vec<String>,
}

impl Default for VonageConfig {
    fn default() -> VonageConfig {
        VonageConfig {
            api_key: "abcd1234".into(),
            api_secret: "an-api-secret-of-the-tests".into(),
            signature_secret: "a-signature-secret-of-the-tests".into(),
            numbers: vec!["447700900000".into()],
        }
    }
}

/// What becomes of the next send.
#[derive(Clone, Debug)]
pub enum VonageStep {
    /// Every entry gets these statuses, one an entry; `0` takes it.
    Statuses(Vec<(&'static str, &'static str)>),
    /// 429 with this `Retry-After`, or without.
    Limited(Option<u32>),
    /// Another answer, whatever was asked.
    Answer(u16, String),
    /// The receipt `delivered` comes before the answer.
    ReceiptFirst,
    /// The request is read and taken, and the connection cut.
    CutAfter,
    /// The connection is cut before the request is read.
    CutBefore,
    Delay(Duration),
}

/// A text that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VonageSent {
    pub id: String,
    pub to: String,
    pub from: String,
    pub text: String,
    pub unicode: bool,
    pub reference: Option<String>,
    /// Where its receipts go.
    pub callback: Option<String>,
    /// By the Messages API.
    pub by_messages: bool,
}

/// How a webhook is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VonageSigned {
    Well,
    Badly,
    Not,
}

/// How the SMS API's webhooks travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VonageForm {
    Get,
    Form,
    Json,
}

#[derive(Default)]
struct State {
    steps: VecDeque<VonageStep>,
    sent: Vec<VonageSent>,
    violations: Vec<String>,
    /// Public addresses and where they are really.
    routes: Vec<(String, String)>,
    /// The signature secret, once it is another than the first.
    secret: Option<String>,
    next: u64,
}

struct Shared {
    config: VonageConfig,
    state: Mutex<State>,
}

/// The simulator. It stops when it is dropped.
pub struct VonageSim {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl VonageSim {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(config: VonageConfig) -> io::Result<VonageSim> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { config, state: Mutex::default() });
        let state = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, state.clone()));
            }
        });
        Ok(VonageSim { address, shared, task })
    }

    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    #[must_use]
    pub fn config(&self) -> &VonageConfig {
        &self.shared.config
    }

    /// What becomes of the next send; several calls queue up. Without one it is taken.
    pub fn next(&self, step: VonageStep) {
        lock(&self.shared.state).steps.push_back(step);
    }

    /// From here on webhooks are signed with this secret.
    pub fn rotates(&self, secret: &str) {
        lock(&self.shared.state).secret = Some(secret.to_owned());
    }

    /// Calls to addresses that begin with `public` go to `real`.
    pub fn route(&self, public: &str, real: &str) {
        lock(&self.shared.state).routes.push((public.to_owned(), real.to_owned()));
    }

    /// What was asked that no correct client would ask.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        lock(&self.shared.state).violations.clone()
    }

    /// Every text that was taken, in order.
    ///
    /// # Panics
    /// When a request was none that Vonage documents.
    #[must_use]
    pub fn sent(&self) -> Vec<VonageSent> {
        let state = lock(&self.shared.state);
        assert_eq!(state.violations, Vec::<String>::new(), "Vonage would not have taken this");
        state.sent.clone()
    }

    /// Tells what became of a text, at the address that came with it; the status of the answer.
    pub async fn receipt(&self, sent: &VonageSent, status: &str, code: &str) -> u16 {
        self.shared.receipt(sent, status, code).await
    }

    /// Delivers a text, or a part `(number, total, reference)` of one, by the SMS API; the status of the answer.
    #[expect(clippy::too_many_arguments, reason = "the fields of one webhook")]
    pub async fn deliver(
        &self,
        hook: &str,
        id: &str,
        from: &str,
        text: &str,
        part: Option<(u16, u16, u16)>,
        form: VonageForm,
        signed: VonageSigned,
    ) -> u16 {
        let to = self.shared.config.numbers.first().cloned().unwrap_or_default();
        let mut fields = BTreeMap::from([
            ("msisdn", from.trim_start_matches('+').to_owned()),
            ("to", to),
            ("messageId", id.to_owned()),
            ("text", text.to_owned()),
            ("type", if text.is_ascii() { "text" } else { "unicode" }.to_owned()),
            ("keyword", text.split(' ').next().unwrap_or_default().to_uppercase()),
            ("message-timestamp", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S").to_string()),
            ("api-key", self.shared.config.api_key.clone()),
            // New parameters come without notice.
            ("not-documented-yet", "x".to_owned()),
        ]);
        if let Some((number, total, reference)) = part {
            fields.insert("concat", "true".into());
            fields.insert("concat-ref", reference.to_string());
            fields.insert("concat-total", total.to_string());
            fields.insert("concat-part", number.to_string());
        }
        self.shared.say(hook, &fields, form, signed).await
    }

    /// Delivers a text by the Messages API; the status of the answer.
    pub async fn deliver_message(&self, hook: &str, id: &str, from: &str, text: &str, signed: VonageSigned) -> u16 {
        let to = self.shared.config.numbers.first().cloned().unwrap_or_default();
        let body = json!({
            "message_uuid": id, "to": to, "from": from.trim_start_matches('+'), "channel": "sms", "message_type": "text",
            "text": text, "timestamp": jiff::Timestamp::now().to_string(), "not_documented_yet": [1],
        });
        self.shared.say_json(hook, &body, signed).await
    }
}

impl Drop for VonageSim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn receipt(&self, sent: &VonageSent, status: &str, code: &str) -> u16 {
        let Some(callback) = &sent.callback else { return 0 };
        if sent.by_messages {
            let mut body = json!({
                "message_uuid": sent.id, "to": sent.to, "from": sent.from, "channel": "sms", "status": status,
                "timestamp": jiff::Timestamp::now().to_string(), "client_ref": sent.reference,
            });
            if code != "0" {
                body["error"] = json!({ "type": format!("https://developer.vonage.com/api-errors/messages#{code}"),
                    "title": code.parse::<u32>().unwrap_or(0), "detail": "x" });
            }
            return self.say_json(callback, &body, VonageSigned::Well).await;
        }
        let mut fields = BTreeMap::from([
            ("msisdn", sent.to.clone()),
            ("to", sent.from.clone()),
            ("messageId", sent.id.clone()),
            ("status", status.to_owned()),
            ("err-code", code.to_owned()),
            ("price", "0.0333".to_owned()),
            ("network-code", "23410".to_owned()),
        ]);
        if let Some(reference) = &sent.reference {
            fields.insert("client-ref", reference.clone());
        }
        self.say(callback, &fields, VonageForm::Form, VonageSigned::Well).await
    }

    async fn say(&self, to: &str, fields: &BTreeMap<&str, String>, form: VonageForm, signed: VonageSigned) -> u16 {
        let mut fields: BTreeMap<&str, String> = fields.clone();
        if signed != VonageSigned::Not {
            fields.insert("timestamp", jiff::Timestamp::now().as_second().to_string());
            fields.insert("nonce", "n-1".into());
            let base = fields
                .iter()
                .fold(String::new(), |base, (name, value)| format!("{base}&{name}={}", value.replace(['&', '='], "_")));
            fields.insert("sig", hex(&mac(&self.secret(signed), base.as_bytes())));
        }
        let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
        let url = self.routed(to);
        let mark = if url.contains('?') { '&' } else { '?' };
        let answer = match form {
            VonageForm::Get => call("GET", &format!("{url}{mark}{encoded}"), &[], b"", LIMIT).await,
            VonageForm::Form => call("POST", &url, &[("content-type", FORM)], encoded.as_bytes(), LIMIT).await,
            VonageForm::Json => {
                let body = json!(fields).to_string();
                call("POST", &url, &[("content-type", "application/json")], body.as_bytes(), LIMIT).await
            }
        };
        answer.map_or(0, |answer| answer.status)
    }

    async fn say_json(&self, to: &str, body: &Value, signed: VonageSigned) -> u16 {
        let body = body.to_string();
        let claims = json!({
            "iat": jiff::Timestamp::now().as_second(), "jti": "1", "iss": "Vonage", "api_key": self.config.api_key,
            "payload_hash": hex(digest::digest(&digest::SHA256, body.as_bytes()).as_ref()),
        });
        let encode = |bytes: &[u8]| general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let token =
            format!("{}.{}", encode(b"{\"alg\":\"HS256\",\"typ\":\"JWT\"}"), encode(claims.to_string().as_bytes()));
        let token = format!("Bearer {token}.{}", encode(&mac(&self.secret(signed), token.as_bytes())));
        let mut headers = vec![("content-type", "application/json")];
        if signed != VonageSigned::Not {
            headers.push(("authorization", token.as_str()));
        }
        let answer = call("POST", &self.routed(to), &headers, body.as_bytes(), LIMIT).await;
        answer.map_or(0, |answer| answer.status)
    }

    /// What signs.
    fn secret(&self, signed: VonageSigned) -> String {
        let ours = || lock(&self.state).secret.clone().unwrap_or_else(|| self.config.signature_secret.clone());
        if signed == VonageSigned::Well { ours() } else { "another".to_owned() }
    }

    fn routed(&self, url: &str) -> String {
        let state = lock(&self.state);
        let found = state
            .routes
            .iter()
            .find_map(|(public, real)| Some(format!("{real}{}", url.strip_prefix(public.as_str())?)));
        found.unwrap_or_else(|| url.to_owned())
    }
}

fn mac(secret: &str, data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), data).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut connection = Connection::new(stream);
    while connection.has_begun().await {
        if matches!(lock(&shared.state).steps.front(), Some(VonageStep::CutBefore)) {
            lock(&shared.state).steps.pop_front();
            return connection.reset();
        }
        let Ok(Some(request)) = connection.read().await else { return };
        let step = lock(&shared.state).steps.pop_front();
        let step = match step {
            Some(VonageStep::Delay(wait)) => {
                tokio::time::sleep(wait).await;
                None
            }
            other => other,
        };
        let is_cut = matches!(step, Some(VonageStep::CutAfter));
        let receipt_first = matches!(step, Some(VonageStep::ReceiptFirst));
        let answer = answer(&shared, &request, step);
        if is_cut {
            return connection.reset();
        }
        let last = if receipt_first { lock(&shared.state).sent.last().cloned() } else { None };
        if let Some(sent) = last {
            shared.receipt(&sent, "delivered", "0").await;
        }
        if connection.write(&answer).await.is_err() {
            return;
        }
    }
}

fn answer(shared: &Shared, request: &Request, step: Option<VonageStep>) -> Answer {
    match &step {
        Some(VonageStep::Answer(status, body)) => return Answer::new(*status, "application/json", body.clone()),
        Some(VonageStep::Limited(after)) => {
            let answer = Answer::new(429, "application/json", "{}");
            return after.iter().fold(answer, |answer, seconds| answer.with("retry-after", seconds.to_string()));
        }
        _ => {}
    }
    let statuses = if let Some(VonageStep::Statuses(statuses)) = step { Some(statuses) } else { None };
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/sms/json") => sms(shared, request, statuses),
        ("POST", "/v1/messages") => messages(shared, request),
        (method, path) => {
            lock(&shared.state).violations.push(format!("{method} {path}: no such resource"));
            Answer::json(
                404,
                &json!({ "type": "https://developer.vonage.com/api-errors#not-found", "title": "Not Found" }),
            )
        }
    }
}

/// What is wrong with a text; `None` takes it.
fn wrong(sent: &VonageSent, config: &VonageConfig) -> Option<(&'static str, String)> {
    let is_number =
        |n: &str| (7..=15).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()) && !n.starts_with('0');
    if !is_number(&sent.to) {
        return Some(("3", format!("to `{}` is not an international number without its plus", sent.to)));
    }
    if !config.numbers.contains(&sent.from) && sent.from.bytes().all(|b| b.is_ascii_digit()) {
        return Some(("15", format!("from `{}` is not a number of the account", sent.from)));
    }
    if sent.text.is_empty() || sent.text.chars().count() > 3200 {
        return Some(("12", "the text is empty or too long".into()));
    }
    if sent.reference.as_ref().is_some_and(|reference| reference.len() > 40) {
        return Some(("3", "client-ref has more than 40 characters".into()));
    }
    None
}

fn take(shared: &Shared, mut sent: VonageSent) -> String {
    let mut state = lock(&shared.state);
    state.next += 1;
    sent.id = format!("0A{:014X}", state.next);
    let id = sent.id.clone();
    state.sent.push(sent);
    id
}

/// How many entries the answer for a text has: one for each segment, counted as if none of its characters took two places.
fn segments(sent: &VonageSent) -> usize {
    let length = sent.text.encode_utf16().count();
    let (whole, each) = if sent.unicode { (70, 67) } else { (160, 153) };
    if length <= whole { 1 } else { length.div_ceil(each) }
}

fn sms(shared: &Shared, request: &Request, statuses: Option<Vec<(&'static str, &'static str)>>) -> Answer {
    let fields: BTreeMap<String, String> = form_urlencoded::parse(&request.body).into_owned().collect();
    let get = |name: &str| fields.get(name).cloned();
    let one = |status: &str, text: &str| {
        Answer::json(200, &json!({ "message-count": "1", "messages": [{ "status": status, "error-text": text }] }))
    };
    if request.header("content-type") != Some(FORM) {
        lock(&shared.state).violations.push("not a form".into());
    }
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        lock(&shared.state).violations.push(format!("unknown parameter `{unknown}`"));
    }
    if get("api_key").as_ref() != Some(&shared.config.api_key)
        || get("api_secret").as_ref() != Some(&shared.config.api_secret)
    {
        return one("4", "Bad Credentials");
    }
    let sent = VonageSent {
        id: String::new(),
        to: get("to").unwrap_or_default(),
        from: get("from").unwrap_or_default(),
        text: get("text").unwrap_or_default(),
        unicode: get("type").as_deref() == Some("unicode"),
        reference: get("client-ref"),
        callback: get("callback"),
        by_messages: false,
    };
    if let Some((status, why)) = wrong(&sent, &shared.config) {
        lock(&shared.state).violations.push(why.clone());
        return one(status, &why);
    }
    let statuses = statuses.unwrap_or_else(|| vec![("0", ""); segments(&sent)]);
    if statuses.iter().all(|(status, _)| *status != "0") {
        return one(statuses.first().map_or("5", |s| s.0), statuses.first().map_or("", |s| s.1));
    }
    let id = take(shared, sent);
    let entries: Vec<Value> = statuses
        .iter()
        .enumerate()
        .map(|(i, (status, text))| match *status {
            "0" => json!({ "to": get("to"), "message-id": if i == 0 { id.clone() } else { format!("{id}-{i}") }, "status": "0",
                "remaining-balance": "3.14", "message-price": "0.03", "network": "23410", "client-ref": get("client-ref") }),
            status => json!({ "status": status, "error-text": text }),
        })
        .collect();
    Answer::json(200, &json!({ "message-count": entries.len().to_string(), "messages": entries }))
}

fn messages(shared: &Shared, request: &Request) -> Answer {
    let problem = |status: u16, code: &str, title: &str| {
        let address = format!("https://developer.vonage.com/api-errors/messages#{code}");
        Answer::json(status, &json!({ "type": address, "title": title, "detail": title, "instance": "1" }))
    };
    let credentials = format!("{}:{}", shared.config.api_key, shared.config.api_secret);
    let basic = format!("Basic {}", general_purpose::STANDARD.encode(credentials));
    if request.header("authorization") != Some(basic.as_str()) {
        return problem(401, "unauthorized", "Unauthorized");
    }
    let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(&request.body) else {
        lock(&shared.state).violations.push("not JSON".into());
        return problem(422, "1150", "Invalid params");
    };
    if let Some(unknown) = fields.keys().find(|name| !MESSAGE_FIELDS.contains(&name.as_str())) {
        lock(&shared.state).violations.push(format!("unknown field `{unknown}`"));
    }
    let get = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
    let sent = VonageSent {
        id: String::new(),
        to: get("to").unwrap_or_default(),
        from: get("from").unwrap_or_default(),
        text: get("text").unwrap_or_default(),
        unicode: false,
        reference: get("client_ref"),
        callback: get("webhook_url"),
        by_messages: true,
    };
    if get("channel").as_deref() != Some("sms") || get("message_type").as_deref() != Some("text") {
        lock(&shared.state).violations.push("neither a text nor by sms".into());
    }
    if let Some((_, why)) = wrong(&sent, &shared.config) {
        lock(&shared.state).violations.push(why.clone());
        return problem(422, "1150", &why);
    }
    let id = take(shared, sent);
    Answer::json(202, &json!({ "message_uuid": id }))
}
