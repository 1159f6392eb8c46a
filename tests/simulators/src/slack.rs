//! Slack's Web API as far as posting goes (<https://docs.slack.dev/reference/methods/chat.postMessage>). It refuses what Slack
//! refuses, and notes every request that no correct client would make.

use crate::{
    http::{Answer, Connection, Request},
    lock,
};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What becomes of the next post.
#[derive(Clone, Debug)]
pub enum SlackStep {
    /// 429, with the seconds of `Retry-After`.
    RateLimited(u64),
    /// 200 with `ok: false` and this error; nothing is posted.
    Error(String),
    /// It is posted, and answered with this error all the same.
    ErrorAfter(String),
    /// It is posted, and the connection cut.
    CutAfter,
    /// The connection is cut before anything is done.
    CutBefore,
}

/// A post that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct SlackPost {
    pub ts: String,
    pub text: String,
    /// The body as it came.
    pub body: Value,
}

#[derive(Default)]
struct State {
    steps: VecDeque<SlackStep>,
    posts: Vec<SlackPost>,
    violations: Vec<String>,
    requests: usize,
}

struct Shared {
    address: SocketAddr,
    state: Mutex<State>,
}

/// The simulator: a workspace with one channel, in which the bot is. It stops when it is dropped.
pub struct SlackSim {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

const FIELDS: [&str; 5] = ["channel", "text", "unfurl_links", "unfurl_media", "metadata"];

impl SlackSim {
    /// The bot's token.
    pub const TOKEN: &str = "xoxb-simulated-0001";
    /// The channel in which the bot is.
    pub const CHANNEL: &str = "C0SUPPORT";

    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> io::Result<SlackSim> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let shared = Arc::new(Shared { address: listener.local_addr()?, state: Mutex::default() });
        let served = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, served.clone()));
            }
        });
        Ok(SlackSim { shared, task })
    }

    /// What to configure as `base_url`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    /// What becomes of the next post; several calls queue up. Without one it is taken.
    pub fn next(&self, step: SlackStep) {
        lock(&self.shared.state).steps.push_back(step);
    }

    /// Requests to post, whatever became of them.
    #[must_use]
    pub fn requests(&self) -> usize {
        lock(&self.shared.state).requests
    }

    /// Every post that was taken, in order.
    ///
    /// # Panics
    /// When a request was none that Slack documents.
    #[must_use]
    pub fn posts(&self) -> Vec<SlackPost> {
        let state = lock(&self.shared.state);
        assert_eq!(state.violations, Vec::<String>::new(), "Slack would not have taken this");
        state.posts.clone()
    }
}

impl Drop for SlackSim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut connection = Connection::new(stream);
    while let Ok(Some(request)) = connection.read().await {
        let posts = request.path == "/api/chat.postMessage";
        let step = if posts { lock(&shared.state).steps.pop_front() } else { None };
        if posts {
            lock(&shared.state).requests += 1;
        }
        if matches!(step, Some(SlackStep::CutBefore)) {
            return connection.reset();
        }
        let answer = answer(&shared, &request, step.as_ref());
        if matches!(step, Some(SlackStep::CutAfter)) {
            return connection.reset();
        }
        let answer = if let Some(SlackStep::ErrorAfter(error)) = &step { refuse(error) } else { answer };
        if connection.write(&answer).await.is_err() {
            return;
        }
    }
}

fn refuse(error: &str) -> Answer {
    Answer::json(200, &json!({ "ok": false, "error": error }))
}

fn answer(shared: &Shared, request: &Request, step: Option<&SlackStep>) -> Answer {
    match step {
        Some(SlackStep::RateLimited(seconds)) => {
            let told = json!({ "ok": false, "error": "ratelimited" });
            return Answer::json(429, &told).with("retry-after", seconds.to_string());
        }
        Some(SlackStep::Error(error)) => return refuse(error),
        _ => {}
    }
    match request.header("authorization").and_then(|h| h.strip_prefix("Bearer ")) {
        None => return refuse("not_authed"),
        Some(token) if token != SlackSim::TOKEN => return refuse("invalid_auth"),
        Some(_) => {}
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/api/chat.postMessage") => post(shared, request),
        ("GET", "/api/conversations.history") => history(shared, request),
        _ => refuse("unknown_method"),
    }
}

/// Why Slack would not take a body, as its error.
fn wrong(request: &Request, body: &Value) -> Option<(&'static str, String)> {
    let kind = request.header("content-type").unwrap_or_default();
    let Some(all) = body.as_object() else { return Some(("invalid_json", "no object".into())) };
    let text = body["text"].as_str().unwrap_or_default();
    let unknown = all.keys().find(|key| !FIELDS.contains(&key.as_str()));
    let bare = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
    // Between `<` and `>` only what means something to Slack may stand, and a link to a file that a notice tells of.
    let of_file = |mark: &str| {
        mark.split_once('|').is_some_and(|(url, name)| {
            url.starts_with("https://")
                && url.contains("/api/v1/messages/")
                && url.contains("signature=")
                && !name.contains('|')
        })
    };
    let marks = bare.split('<').skip(1).filter_map(|part| part.split_once('>')).map(|(mark, _)| mark);
    let means = |mark: &&str| mark.starts_with(['@', '#']) || mark.starts_with("!subteam^") || of_file(mark);
    let odd = marks.into_iter().find(|mark| !means(mark));
    if kind != "application/json; charset=utf-8" {
        return Some(("missing_charset", format!("the content type is `{kind}`")));
    }
    unknown
        .map(|key| ("invalid_arguments", format!("unknown field `{key}`")))
        .or_else(|| bare.contains('&').then(|| ("invalid_arguments", "an `&` that is not escaped".into())))
        .or_else(|| odd.map(|mark| ("invalid_arguments", format!("`<{mark}>` would wake somebody or link somewhere"))))
        .or_else(|| {
            body["metadata"]["event_type"].as_str().is_none().then(|| ("metadata_must_be_sent", "no type".into()))
        })
}

fn post(shared: &Shared, request: &Request) -> Answer {
    let body = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    let mut state = lock(&shared.state);
    if let Some((error, why)) = wrong(request, &body) {
        state.violations.push(why);
        return refuse(error);
    }
    let text = body["text"].as_str().unwrap_or_default().to_owned();
    if body["channel"] != SlackSim::CHANNEL {
        return refuse("channel_not_found");
    }
    if text.trim().is_empty() {
        return refuse("no_text");
    }
    if text.chars().count() > 40_000 {
        return refuse("msg_too_long");
    }
    let now = jiff::Timestamp::now();
    let ts = format!("{}.{:06}", now.as_second(), state.posts.len() + 1);
    state.posts.push(SlackPost { ts: ts.clone(), text, body });
    Answer::json(
        200,
        &json!({ "ok": true, "channel": SlackSim::CHANNEL, "ts": ts, "message": {}, "not_documented_yet": 1 }),
    )
}

fn history(shared: &Shared, request: &Request) -> Answer {
    let asked = |key: &str| {
        let mut pairs = request.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == key).map(|(_, value)| value.to_owned())
    };
    if asked("channel").as_deref() != Some(SlackSim::CHANNEL) {
        return refuse("channel_not_found");
    }
    let since = asked("oldest").and_then(|at| at.parse::<f64>().ok()).unwrap_or(0.0);
    let with_metadata = asked("include_all_metadata").as_deref() == Some("true");
    let state = lock(&shared.state);
    let shown = state.posts.iter().rev().filter(|p| p.ts.parse::<f64>().is_ok_and(|ts| ts >= since)).map(|p| {
        let mut message = json!({ "type": "message", "bot_id": "B0", "ts": p.ts, "text": p.text });
        if with_metadata {
            message["metadata"] = p.body["metadata"].clone();
        }
        message
    });
    let messages: Vec<Value> = shown.collect();
    Answer::json(200, &json!({ "ok": true, "messages": messages, "has_more": false }))
}
