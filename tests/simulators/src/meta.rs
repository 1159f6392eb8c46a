//! Meta: the Send API of a page and the Cloud API of WhatsApp, files, and the webhooks of both. It refuses what Meta refuses, and
//! notes every request that no correct client would make.

mod webhooks;

pub use webhooks::MetaSigned;

use crate::{
    http::{Answer, Connection, Request},
    lock,
};
use aws_lc_rs::hmac;
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

/// A small picture, as a customer sends it.
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";

/// The app, its page and its number.
#[derive(Clone, Debug)]
pub struct MetaConfig {
    pub app_secret: String,
    pub verify_token: String,
    pub page_id: String,
    pub page_token: String,
    /// The account on Instagram.
    pub account_id: String,
    pub account_token: String,
    pub phone_number_id: String,
    pub access_token: String,
}

impl Default for MetaConfig {
    fn default() -> MetaConfig {
        MetaConfig {
            app_secret: "an-app-secret-of-the-tests".into(),
            verify_token: "a-word-of-the-tests".into(),
            page_id: "102030405060".into(),
            page_token: "a-page-token-of-the-tests".into(),
            account_id: "17841400000000001".into(),
            account_token: "an-account-token-of-the-tests".into(),
            phone_number_id: "106540352242922".into(),
            access_token: "an-access-token-of-the-tests".into(),
        }
    }
}

/// What becomes of the next send.
#[derive(Clone, Debug)]
pub enum MetaStep {
    /// An error of the Graph API: status, code and subcode.
    Error(u16, i64, Option<i64>),
    /// 429 with this `Retry-After`, or without.
    Limited(Option<u32>),
    /// Another answer, whatever was asked.
    Answer(u16, String),
    /// It is taken, and the webhook at this address hears of it before the answer: the echo, or WhatsApp's status `sent`.
    ToldFirst(String),
    /// The request is read and taken, and the connection cut.
    CutAfter,
    /// The connection is cut before the request is read.
    CutBefore,
    Delay(Duration),
}

/// A message that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct MetaSent {
    pub id: String,
    pub to: String,
    /// The body as it came.
    pub body: Value,
}

impl MetaSent {
    /// The words of the message, on either product.
    #[must_use]
    pub fn text(&self) -> &str {
        let pointers = ["/message/text", "/text/body", "/interactive/body/text"];
        pointers.iter().find_map(|pointer| self.body.pointer(pointer)?.as_str()).unwrap_or_default()
    }

    /// Our own word for the attempt.
    #[must_use]
    pub fn word(&self) -> &str {
        let pointers = ["/message/metadata", "/biz_opaque_callback_data"];
        pointers.iter().find_map(|pointer| self.body.pointer(pointer)?.as_str()).unwrap_or_default()
    }
}

#[derive(Default)]
struct State {
    steps: VecDeque<MetaStep>,
    sent: Vec<MetaSent>,
    violations: Vec<String>,
    next: u64,
    fetched: u64,
    /// The app's secret since it was rotated.
    secret: Option<String>,
}

struct Shared {
    config: MetaConfig,
    address: SocketAddr,
    state: Mutex<State>,
}

/// The simulator. It stops when it is dropped.
pub struct MetaSim {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl MetaSim {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(config: MetaConfig) -> io::Result<MetaSim> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let shared = Arc::new(Shared { config, address: listener.local_addr()?, state: Mutex::default() });
        let state = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, state.clone()));
            }
        });
        Ok(MetaSim { shared, task })
    }

    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    #[must_use]
    pub fn config(&self) -> &MetaConfig {
        &self.shared.config
    }

    /// What becomes of the next send; several calls queue up. Without one it is taken.
    pub fn next(&self, step: MetaStep) {
        lock(&self.shared.state).steps.push_back(step);
    }

    /// How many files were fetched.
    #[must_use]
    pub fn fetched(&self) -> u64 {
        lock(&self.shared.state).fetched
    }

    /// What was asked that no correct client would ask.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        lock(&self.shared.state).violations.clone()
    }

    /// Every message that was taken, in order.
    ///
    /// # Panics
    /// When a request was none that Meta documents.
    #[must_use]
    pub fn sent(&self) -> Vec<MetaSent> {
        let state = lock(&self.shared.state);
        assert_eq!(state.violations, Vec::<String>::new(), "Meta would not have taken this");
        state.sent.clone()
    }

    /// Where a picture is that a customer sent.
    #[must_use]
    pub fn picture(&self) -> String {
        format!("{}/files/a.png", self.base_url())
    }
}

impl Drop for MetaSim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn tag(secret: &str, data: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::sign(&key, data).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut connection = Connection::new(stream);
    while connection.has_begun().await {
        if matches!(lock(&shared.state).steps.front(), Some(MetaStep::CutBefore)) {
            lock(&shared.state).steps.pop_front();
            return connection.reset();
        }
        let Ok(Some(request)) = connection.read().await else { return };
        // Files take no part in what becomes of sends.
        let step = if request.method == "POST" { lock(&shared.state).steps.pop_front() } else { None };
        let step = match step {
            Some(MetaStep::Delay(wait)) => {
                tokio::time::sleep(wait).await;
                None
            }
            other => other,
        };
        let is_cut = matches!(step, Some(MetaStep::CutAfter));
        let told_first = if let Some(MetaStep::ToldFirst(hook)) = &step { Some(hook.clone()) } else { None };
        let answer = answer(&shared, &request, step);
        if is_cut {
            return connection.reset();
        }
        if let Some(hook) = told_first {
            let sent = lock(&shared.state).sent.last().cloned();
            if let Some(sent) = sent {
                webhooks::tell(&shared, &hook, &sent, "sent").await;
            }
        }
        if connection.write(&answer).await.is_err() {
            return;
        }
    }
}

fn error(status: u16, code: i64, subcode: Option<i64>, message: &str) -> Answer {
    let mut told = json!({ "message": format!("(#{code}) {message}"), "type": "OAuthException", "code": code, "fbtrace_id": "AbC" });
    if let Some(subcode) = subcode {
        told["error_subcode"] = json!(subcode);
    }
    Answer::json(status, &json!({ "error": told }))
}

fn answer(shared: &Shared, request: &Request, step: Option<MetaStep>) -> Answer {
    match step {
        Some(MetaStep::Answer(status, body)) => return Answer::new(status, "application/json", body),
        Some(MetaStep::Error(status, code, subcode)) => return error(status, code, subcode, "as the test says"),
        Some(MetaStep::Limited(after)) => {
            let answer = error(429, 4, None, "Application request limit reached");
            return after.iter().fold(answer, |answer, seconds| answer.with("retry-after", seconds.to_string()));
        }
        _ => {}
    }
    let config = &shared.config;
    let query: BTreeMap<String, String> = form_urlencoded::parse(request.query.as_bytes()).into_owned().collect();
    let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let is_whatsapp = bearer == Some(config.access_token.as_str());
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/files/a.png") => {
            lock(&shared.state).fetched += 1;
            Answer::new(200, "image/png", PICTURE)
        }
        ("GET", path) if path.starts_with("/v26.0/") && is_whatsapp => Answer::json(
            200,
            &json!({
                "url": format!("http://{}/files/a.png", shared.address), "mime_type": "image/png", "messaging_product": "whatsapp",
            }),
        ),
        ("POST", path) if path == format!("/v26.0/{}/messages", config.page_id) => {
            let token = query.get("access_token").map(String::as_str);
            proved(config, token, &config.page_token, &query).unwrap_or_else(|| page(shared, request, &MESSENGER))
        }
        ("POST", "/v26.0/me/messages") => {
            let token = query.get("access_token").map(String::as_str);
            proved(config, token, &config.account_token, &query).unwrap_or_else(|| page(shared, request, &INSTAGRAM))
        }
        ("POST", path) if path == format!("/v26.0/{}/messages", config.phone_number_id) => {
            proved(config, bearer, &config.access_token, &query).unwrap_or_else(|| whatsapp(shared, request))
        }
        (method, path) => {
            lock(&shared.state).violations.push(format!("{method} {path}: no such resource"));
            error(404, 100, None, "no such resource")
        }
    }
}

/// Who calls must have the token, and the app's secret.
fn proved(config: &MetaConfig, token: Option<&str>, wanted: &str, query: &BTreeMap<String, String>) -> Option<Answer> {
    if token != Some(wanted) {
        return Some(error(401, 190, None, "Invalid OAuth access token"));
    }
    let proof = tag(&config.app_secret, wanted.as_bytes());
    (query.get("appsecret_proof") != Some(&proof)).then(|| error(400, 100, None, "Invalid appsecret_proof"))
}

/// The first key of an object that Meta does not know.
fn unknown(object: &Map<String, Value>, known: &[&str]) -> Option<String> {
    object.keys().find(|key| !known.contains(&key.as_str())).map(|key| format!("unknown field `{key}`"))
}

fn take(shared: &Shared, to: &str, body: Value, prefix: &str) -> String {
    let mut state = lock(&shared.state);
    state.next += 1;
    let id = format!("{prefix}{:012X}", state.next);
    state.sent.push(MetaSent { id: id.clone(), to: to.to_owned(), body });
    id
}

fn body_of(shared: &Shared, request: &Request, wrong: impl Fn(&Value) -> Option<String>) -> Result<Value, Answer> {
    let body = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    let is_json = request.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    match wrong(&body).or_else(|| (!is_json).then(|| "not declared as JSON".to_owned())) {
        Some(why) => {
            lock(&shared.state).violations.push(why.clone());
            Err(error(400, 100, None, &why))
        }
        None => Ok(body),
    }
}

/// What the two that share the Send API differ in.
struct Product {
    /// Whether this text is longer than it takes.
    too_long: fn(&str) -> bool,
    prefix: &'static str,
}

const MESSENGER: Product = Product { too_long: |text| text.chars().count() > 2000, prefix: "m_" };
const INSTAGRAM: Product = Product { too_long: |text| text.len() > 1000, prefix: "aWd" };

fn page(shared: &Shared, request: &Request, product: &Product) -> Answer {
    let wrong = |body: &Value| {
        let (Some(all), Some(message)) = (body.as_object(), body["message"].as_object()) else {
            return Some("no message".into());
        };
        let text = body.pointer("/message/text").and_then(Value::as_str);
        let replies = body.pointer("/message/quick_replies").and_then(Value::as_array);
        let kind = (body["messaging_type"].as_str(), body["tag"].as_str());
        unknown(all, &["recipient", "messaging_type", "tag", "message"])
            .or_else(|| unknown(message, &["text", "attachment", "quick_replies", "metadata"]))
            .or_else(|| {
                (message.contains_key("attachment") == text.is_some()).then(|| "text or attachment, not both".into())
            })
            .or_else(|| text.is_some_and(|t| t.is_empty() || (product.too_long)(t)).then(|| "the text's length".into()))
            .or_else(|| {
                replies
                    .is_some_and(|r| r.len() > 13 || r.iter().any(|r| long(r, "title", 20) || long(r, "payload", 1000)))
                    .then(|| "quick replies".into())
            })
            .or_else(|| {
                let known = ["content_type", "title", "payload", "image_url"];
                replies.into_iter().flatten().find_map(|reply| {
                    unknown_in(reply, &known)
                        .or_else(|| (reply["content_type"] != "text").then(|| "content_type of a quick reply".into()))
                })
            })
            .or_else(|| message.get("attachment").and_then(attachment))
            .or_else(|| body["recipient"].as_object().is_none_or(|r| r.len() != 1).then(|| "recipient".into()))
            .or_else(|| {
                (message.contains_key("metadata") && long(&body["message"], "metadata", 1000))
                    .then(|| "metadata's length".into())
            })
            .or_else(|| {
                (!matches!(kind, (Some("RESPONSE"), None) | (Some("MESSAGE_TAG"), Some("HUMAN_AGENT"))))
                    .then(|| "messaging_type".into())
            })
    };
    match body_of(shared, request, wrong) {
        Err(refused) => refused,
        Ok(body) => {
            let to = body.pointer("/recipient/id").and_then(Value::as_str).unwrap_or_default().to_owned();
            let id = take(shared, &to, body, product.prefix);
            Answer::json(200, &json!({ "recipient_id": to, "message_id": id }))
        }
    }
}

/// The first key that Meta does not know of what has to be an object.
fn unknown_in(value: &Value, known: &[&str]) -> Option<String> {
    value.as_object().map_or_else(|| Some(format!("{value} is no object")), |object| unknown(object, known))
}

fn is_address(value: &Value) -> bool {
    value.as_str().is_some_and(|url| url.starts_with("https://") || url.starts_with("http://127.0.0.1"))
}

/// What is wrong with a file of the Send API.
fn attachment(file: &Value) -> Option<String> {
    let payload = &file["payload"];
    unknown_in(file, &["type", "payload"])
        .or_else(|| {
            let kinds = ["image", "audio", "video", "file"];
            file["type"].as_str().is_none_or(|kind| !kinds.contains(&kind)).then(|| "the kind of the attachment".into())
        })
        .or_else(|| unknown_in(payload, &["url", "is_reusable"]))
        .or_else(|| (!is_address(&payload["url"])).then(|| "the attachment's address".into()))
}

/// What is wrong within the message itself of the Cloud API.
fn within(kind: &str, told: &Value) -> Option<String> {
    let known: &[&str] = match kind {
        "text" => &["body", "preview_url"],
        "interactive" => &["type", "header", "body", "footer", "action"],
        "template" => &["name", "language", "components"],
        "image" | "video" => &["link", "caption"],
        "audio" => &["link"],
        _ => &["link", "caption", "filename"],
    };
    unknown_in(told, known)
        .or_else(|| (known.contains(&"link") && !is_address(&told["link"])).then(|| "the file's address".into()))
        .or_else(|| if kind == "interactive" { choices(told) } else { None })
        .or_else(|| {
            let parts = told["components"].as_array().into_iter().flatten();
            parts.clone().find_map(|part| unknown_in(part, &["type", "parameters", "sub_type", "index"]))
        })
}

fn choices(told: &Value) -> Option<String> {
    let action = &told["action"];
    let known: &[&str] = match told["type"].as_str() {
        Some("button") => &["buttons"],
        Some("list") => &["button", "sections"],
        _ => return Some("the kind of the choices".into()),
    };
    let buttons = action["buttons"].as_array().into_iter().flatten();
    let sections = action["sections"].as_array().into_iter().flatten();
    unknown_in(action, known)
        .or_else(|| known.iter().find(|key| action[**key].is_null()).map(|key| format!("no {key}")))
        .or_else(|| {
            buttons.clone().find_map(|button| {
                unknown_in(button, &["type", "reply"])
                    .or_else(|| unknown_in(&button["reply"], &["id", "title"]))
                    .or_else(|| {
                        (button["type"] != "reply" || long(&button["reply"], "id", 256)).then(|| "a button".into())
                    })
            })
        })
        .or_else(|| {
            sections.clone().find_map(|section| {
                unknown_in(section, &["title", "rows"]).or_else(|| {
                    let mut rows = section["rows"].as_array().into_iter().flatten();
                    rows.find_map(|row| {
                        unknown_in(row, &["id", "title", "description"])
                            .or_else(|| long(row, "id", 200).then(|| "the id of a row".into()))
                    })
                })
            })
        })
}

fn long(value: &Value, field: &str, most: usize) -> bool {
    value[field].as_str().is_none_or(|text| text.is_empty() || text.chars().count() > most)
}

fn whatsapp(shared: &Shared, request: &Request) -> Answer {
    const KINDS: [&str; 7] = ["text", "interactive", "template", "image", "audio", "video", "document"];
    let wrong = |body: &Value| {
        let Some(all) = body.as_object() else { return Some("no object".into()) };
        let kind = body["type"].as_str().unwrap_or_default();
        let buttons = body.pointer("/interactive/action/buttons").and_then(Value::as_array);
        let known = ["messaging_product", "recipient_type", "to", "type", "biz_opaque_callback_data", kind];
        unknown(all, &known)
            .or_else(|| (!KINDS.contains(&kind) || !body[kind].is_object()).then(|| "type".into()))
            .or_else(|| (body["messaging_product"] != "whatsapp").then(|| "messaging_product".into()))
            .or_else(|| within(kind, &body[kind]))
            .or_else(|| (kind == "text" && long(&body["text"], "body", 4096)).then(|| "the text's length".into()))
            .or_else(|| {
                (kind == "interactive" && long(&body["interactive"]["body"], "text", 1024))
                    .then(|| "the length of what is asked".into())
            })
            .or_else(|| {
                let rows = body.pointer("/interactive/action/sections/0/rows").and_then(Value::as_array);
                rows.is_some_and(|r| r.is_empty() || r.len() > 10 || r.iter().any(|r| long(r, "title", 24)))
                    .then(|| "rows".into())
            })
            .or_else(|| {
                let template = &body["template"];
                (kind == "template" && (long(template, "name", 512) || long(&template["language"], "code", 32)))
                    .then(|| "template".into())
            })
            .or_else(|| {
                buttons
                    .is_some_and(|b| b.len() > 3 || b.iter().any(|b| long(&b["reply"], "title", 20)))
                    .then(|| "buttons".into())
            })
    };
    match body_of(shared, request, wrong) {
        Err(refused) => refused,
        Ok(body) => {
            let to = body["to"].as_str().unwrap_or_default().to_owned();
            let id = take(shared, &to, body, "wamid.");
            Answer::json(
                200,
                &json!({ "messaging_product": "whatsapp", "contacts": [{ "input": to, "wa_id": to }], "messages": [{ "id": id }] }),
            )
        }
    }
}
