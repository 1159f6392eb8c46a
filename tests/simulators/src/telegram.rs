//! Telegram's Bot API (<https://core.telegram.org/bots/api>): sending, files, and the webhook. It refuses what Telegram refuses, and
//! notes every request that no correct client would make.

use crate::{
    http::{Answer, Connection, Request, call},
    lock,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, VecDeque},
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
/// A small picture, as a customer sends it.
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";

/// What becomes of the next send.
#[derive(Clone, Debug)]
pub enum TelegramStep {
    /// An error of the Bot API: its code and description, and the seconds that it asks for.
    Error(u16, String, Option<u64>),
    /// Another answer, whatever was asked.
    Answer(u16, String),
    /// The request is read and taken, and the connection cut.
    CutAfter,
    /// The connection is cut before the request is read.
    CutBefore,
    Delay(Duration),
}

/// A message that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct TelegramSent {
    pub method: String,
    pub id: i64,
    /// The body as it came.
    pub body: Value,
}

#[derive(Default)]
struct State {
    steps: VecDeque<TelegramStep>,
    sent: Vec<TelegramSent>,
    violations: Vec<String>,
    blocked: BTreeSet<String>,
    updates: i64,
    messages: i64,
    fetched: u64,
}

struct Shared {
    address: SocketAddr,
    state: Mutex<State>,
}

/// The simulator. It stops when it is dropped.
pub struct TelegramSim {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl TelegramSim {
    /// The bot's token.
    pub const TOKEN: &str = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
    /// What it says with each delivery.
    pub const SECRET: &str = "a-word-of-the-tests";

    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> io::Result<TelegramSim> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let state = State { messages: 100, updates: 1000, ..State::default() };
        let shared = Arc::new(Shared { address: listener.local_addr()?, state: Mutex::new(state) });
        let served = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, served.clone()));
            }
        });
        Ok(TelegramSim { shared, task })
    }

    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// What becomes of the next send; several calls queue up. Without one it is taken.
    pub fn next(&self, step: TelegramStep) {
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
    /// When a request was none that Telegram documents.
    #[must_use]
    pub fn sent(&self) -> Vec<TelegramSent> {
        let state = lock(&self.shared.state);
        assert_eq!(state.violations, Vec::<String>::new(), "Telegram would not have taken this");
        state.sent.clone()
    }

    /// An update of this kind, with a number of its own.
    #[must_use]
    pub fn update(&self, kind: &str, told: Value) -> Value {
        let mut state = lock(&self.shared.state);
        state.updates += 1;
        json!({ "update_id": state.updates, (kind): told })
    }

    /// A message of a person in their private chat.
    #[must_use]
    pub fn message(&self, person: i64, more: &Value) -> Value {
        let id = {
            let mut state = lock(&self.shared.state);
            state.messages += 1;
            state.messages
        };
        let mut message = json!({ "message_id": id, "from": from(person), "chat": chat(person), "date": now_s(), "not_documented_yet": [1] });
        if let (Some(message), Some(more)) = (message.as_object_mut(), more.as_object()) {
            message.extend(more.clone());
        }
        self.update("message", message)
    }

    /// A person presses the button of this number under a message that was taken.
    ///
    /// # Panics
    /// When it has no such button.
    #[must_use]
    pub fn press(&self, person: i64, sent: &TelegramSent, button: usize) -> Value {
        let data = sent.body.pointer(&format!("/reply_markup/inline_keyboard/{button}/0/callback_data"));
        let data = data.expect("a button of this number").clone();
        let under = json!({ "message_id": sent.id, "from": { "id": 110_201_543, "is_bot": true, "first_name": "Shop" }, "chat": chat(person),
            "date": now_s(), "text": sent.body["text"], "reply_markup": sent.body["reply_markup"] });
        let id = format!("{}77", sent.id);
        self.update(
            "callback_query",
            json!({ "id": id, "from": from(person), "chat_instance": "1", "data": data, "message": under }),
        )
    }

    /// A person blocks the bot: nothing reaches them from here on. The update that tells of it.
    #[must_use]
    pub fn block(&self, person: i64) -> Value {
        lock(&self.shared.state).blocked.insert(person.to_string());
        self.update(
            "my_chat_member",
            json!({ "chat": chat(person), "from": from(person), "date": now_s(),
                "old_chat_member": { "status": "member" }, "new_chat_member": { "status": "kicked", "until_date": 0 } }),
        )
    }

    /// Delivers an update with this secret; the status and the body of the answer.
    pub async fn says(&self, hook: &str, update: &Value, secret: Option<&str>) -> (u16, String) {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(secret.map(|secret| ("x-telegram-bot-api-secret-token", secret)));
        match call("POST", hook, &headers, update.to_string().as_bytes(), LIMIT).await {
            Ok(answer) => (answer.status, String::from_utf8_lossy(&answer.body).into_owned()),
            Err(_) => (0, String::new()),
        }
    }
}

impl Drop for TelegramSim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn chat(person: i64) -> Value {
    json!({ "id": person, "type": "private", "first_name": "Ann" })
}

fn from(person: i64) -> Value {
    json!({ "id": person, "is_bot": false, "first_name": "Ann", "language_code": "en" })
}

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut connection = Connection::new(stream);
    while connection.has_begun().await {
        if matches!(lock(&shared.state).steps.front(), Some(TelegramStep::CutBefore)) {
            lock(&shared.state).steps.pop_front();
            return connection.reset();
        }
        let Ok(Some(request)) = connection.read().await else { return };
        let step = if request.method == "POST" { lock(&shared.state).steps.pop_front() } else { None };
        if let Some(TelegramStep::Delay(wait)) = step {
            tokio::time::sleep(wait).await;
        }
        let answer = answer(&shared, &request, step.as_ref());
        if matches!(step, Some(TelegramStep::CutAfter)) {
            return connection.reset();
        }
        if connection.write(&answer).await.is_err() {
            return;
        }
    }
}

fn error(code: u16, description: &str, retry_after: Option<u64>) -> Answer {
    let mut told = json!({ "ok": false, "error_code": code, "description": description });
    if let Some(seconds) = retry_after {
        told["parameters"] = json!({ "retry_after": seconds });
    }
    Answer::json(code, &told)
}

fn answer(shared: &Shared, request: &Request, step: Option<&TelegramStep>) -> Answer {
    if let Some(TelegramStep::Error(code, description, retry_after)) = step {
        return error(*code, description, *retry_after);
    }
    if let Some(TelegramStep::Answer(status, body)) = step {
        return Answer::new(*status, "text/html", body.clone());
    }
    let (bot, file) = (format!("/bot{}/", TelegramSim::TOKEN), format!("/file/bot{}/", TelegramSim::TOKEN));
    match (request.method.as_str(), request.path.strip_prefix(&bot), request.path.strip_prefix(&file)) {
        ("GET", Some("getFile"), _) => {
            let known = request.query.contains("file_id=AgADpicture");
            if !known {
                return error(400, "Bad Request: invalid file_id", None);
            }
            Answer::json(
                200,
                &json!({ "ok": true, "result": { "file_id": "AgADpicture", "file_path": "photos/file_0.png" } }),
            )
        }
        ("GET", _, Some("photos/file_0.png")) => {
            lock(&shared.state).fetched += 1;
            Answer::new(200, "application/octet-stream", PICTURE)
        }
        ("POST", Some(method), _) => send(shared, method, request),
        _ if request.path.starts_with("/bot") => error(401, "Unauthorized", None),
        _ => error(404, "Not Found", None),
    }
}

/// Why Telegram would not take a body.
fn wrong(method: &str, body: &Value) -> Option<String> {
    let Some(all) = body.as_object() else { return Some("no object".into()) };
    let own = match method {
        "sendMessage" => "text",
        "sendPhoto" => "photo",
        "sendDocument" => "document",
        "sendVideo" => "video",
        "sendAudio" => "audio",
        "sendVoice" => "voice",
        "sendAnimation" => "animation",
        _ => return Some(format!("no method {method}")),
    };
    let unknown = all.keys().find(|key| !["chat_id", "reply_markup", "reply_parameters", own].contains(&key.as_str()));
    let units = body["text"].as_str().map_or(0, |text| text.encode_utf16().count());
    let rows = body.pointer("/reply_markup/inline_keyboard").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut buttons = rows.iter().filter_map(Value::as_array).flatten();
    let bad = |b: &Value| {
        let data = b["callback_data"].as_str().unwrap_or_default().len();
        b["text"].as_str().is_none_or(str::is_empty) || !(1..=64).contains(&data)
    };
    unknown
        .map(|key| format!("unknown field `{key}`"))
        .or_else(|| all.get(own).and_then(Value::as_str).is_none_or(str::is_empty).then(|| format!("no {own}")))
        .or_else(|| (units > 4096).then(|| "message is too long".into()))
        .or_else(|| buttons.any(bad).then(|| "BUTTON_DATA_INVALID".into()))
}

fn send(shared: &Shared, method: &str, request: &Request) -> Answer {
    let body = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    let is_json = request.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    let mut state = lock(&shared.state);
    if let Some(why) = wrong(method, &body).or_else(|| (!is_json).then(|| "not declared as JSON".into())) {
        state.violations.push(why.clone());
        return error(400, &format!("Bad Request: {why}"), None);
    }
    let to = body["chat_id"].as_str().unwrap_or_default().to_owned();
    if state.blocked.contains(&to) {
        return error(403, "Forbidden: bot was blocked by the user", None);
    }
    state.messages += 1;
    let id = state.messages;
    state.sent.push(TelegramSent { method: method.to_owned(), id, body });
    Answer::json(200, &json!({ "ok": true, "result": { "message_id": id, "date": now_s() } }))
}
