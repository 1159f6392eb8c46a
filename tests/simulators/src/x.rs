//! X: direct messages, posts, their lists, user tokens and the replay of webhooks, and the webhooks themselves. It refuses what X
//! refuses, and notes every request that no correct client would make.

mod answers;
mod media;
mod proof;

use crate::{
    http::{Connection, call},
    lock,
};
use proof::Signed;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
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

/// The app and its account.
#[derive(Clone, Debug)]
pub struct XConfig {
    pub user_id: String,
    pub consumer_key: String,
    pub consumer_secret: String,
    pub access_token: String,
    pub access_token_secret: String,
    pub client_id: String,
    /// The first refresh token; each one is good for one time.
    pub refresh_token: String,
    /// The app's own token.
    pub bearer_token: String,
    pub webhook_id: String,
    /// Direct messages in a quarter of an hour.
    pub direct_limit: u64,
}

impl Default for XConfig {
    fn default() -> XConfig {
        XConfig {
            user_id: "1111111111111111111".into(),
            consumer_key: "a-consumer-key-of-the-tests".into(),
            consumer_secret: "a-consumer-secret-of-the-tests".into(),
            access_token: "1111111111111111111-a-token-of-the-tests".into(),
            access_token_secret: "a-token-secret-of-the-tests".into(),
            client_id: "a-client-of-the-tests".into(),
            refresh_token: "a-refresh-token-of-the-tests".into(),
            bearer_token: "an-app-token-of-the-tests".into(),
            webhook_id: "1146654567674912769".into(),
            direct_limit: 15,
        }
    }
}

/// What becomes of the next send.
#[derive(Clone, Debug)]
pub enum XStep {
    /// A problem: status and detail.
    Problem(u16, String),
    /// An error of version 1.1: status and code.
    Code(u16, i64),
    /// Another answer, whatever was asked: status, further headers, body.
    Answer(u16, Vec<(String, String)>, String),
    /// 429 with the seconds after which the limit is new, or without.
    Limited(Option<i64>),
    /// The request is read and taken, and the connection cut.
    CutAfter,
    /// The connection is cut before the request is read.
    CutBefore,
    /// The echo of a direct message comes to this address before the answer.
    EchoFirst(String),
    Delay(Duration),
}

/// Something that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct XSent {
    pub id: String,
    /// Whom it is to: a person, or for a post the post that it answers.
    pub to: String,
    pub text: String,
    pub public: bool,
    pub files: Vec<XFile>,
    /// The body as it came.
    pub body: Value,
    at: i64,
}

/// A file that was handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XFile {
    pub category: String,
    pub mime: String,
    pub bytes: Vec<u8>,
}

#[derive(Default)]
struct State {
    steps: VecDeque<XStep>,
    sent: Vec<XSent>,
    /// Files on their way, by their ids.
    sessions: BTreeMap<String, media::Session>,
    /// Messages of others that the list shows, newest last.
    heard: Vec<Value>,
    /// Whose posts can be answered: by post, their author.
    authors: BTreeMap<String, String>,
    violations: Vec<String>,
    nonces: BTreeSet<String>,
    next: u64,
    fetched: u64,
    polls: u64,
    renewals: u64,
    replays: Vec<Value>,
    withholds_replays: bool,
    /// What signs deliveries and challenges, once it is another than at first.
    secret: Option<String>,
    /// The limit's end, and how many direct messages it saw.
    window: Option<(i64, u64)>,
    /// The user token that is good, and the refresh token that brings the next.
    user_token: Option<String>,
    refresh_token: Option<String>,
}

struct Shared {
    config: XConfig,
    address: SocketAddr,
    state: Mutex<State>,
}

/// The simulator. It stops when it is dropped.
pub struct XSim {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl XSim {
    /// Listens on a free loopback port.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(config: XConfig) -> io::Result<XSim> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let shared = Arc::new(Shared { config, address: listener.local_addr()?, state: Mutex::default() });
        // Ids grow with time, as X's do.
        lock(&shared.state).next = snowflake(now_ms());
        let state = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, state.clone()));
            }
        });
        Ok(XSim { shared, task })
    }

    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.shared.address)
    }

    #[must_use]
    pub fn config(&self) -> &XConfig {
        &self.shared.config
    }

    /// What becomes of the next send; several calls queue up. Without one it is taken.
    pub fn next(&self, step: XStep) {
        lock(&self.shared.state).steps.push_back(step);
    }

    /// How many files were fetched with the account's keys.
    #[must_use]
    pub fn fetched(&self) -> u64 {
        lock(&self.shared.state).fetched
    }

    /// How often the list of direct messages was asked for.
    #[must_use]
    pub fn polls(&self) -> u64 {
        lock(&self.shared.state).polls
    }

    /// How often the user token was renewed.
    #[must_use]
    pub fn renewals(&self) -> u64 {
        lock(&self.shared.state).renewals
    }

    /// The user token is good no more, as when X forgets it before its time.
    pub fn forget_token(&self) {
        lock(&self.shared.state).user_token = None;
    }

    /// What was asked to be delivered again.
    #[must_use]
    pub fn replays(&self) -> Vec<Value> {
        lock(&self.shared.state).replays.clone()
    }

    /// From here on deliveries are signed with this secret, and challenges want it.
    pub fn rotates(&self, secret: &str) {
        lock(&self.shared.state).secret = Some(secret.to_owned());
    }

    /// What signs deliveries now.
    #[must_use]
    pub fn secret(&self) -> String {
        self.shared.secret()
    }

    /// The app's plan has no replays, until it does.
    pub fn withhold_replays(&self, withholds: bool) {
        lock(&self.shared.state).withholds_replays = withholds;
    }

    /// Everything that was taken, in order.
    ///
    /// # Panics
    /// When a request was none that X documents.
    #[must_use]
    pub fn sent(&self) -> Vec<XSent> {
        let state = lock(&self.shared.state);
        assert_eq!(state.violations, Vec::<String>::new(), "X would not have taken this");
        state.sent.clone()
    }

    /// Checks that an address is ours, as X does before it calls it and regularly afterwards: whether the answer is right.
    ///
    /// # Errors
    /// With what the answer was instead.
    pub async fn challenges(&self, hook: &str, token: &str) -> Result<(), String> {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("crc_token", token).finish();
        let answer = call("GET", &format!("{hook}?{query}"), &[], b"", LIMIT).await.map_err(|e| e.to_string())?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let wanted = format!("sha256={}", proof::tag256(&self.secret(), token.as_bytes()));
        let is_right = answer.status == 200 && body["response_token"] == wanted.as_str();
        if is_right { Ok(()) } else { Err(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))) }
    }

    /// Delivers a body, signed with this secret, or unsigned; the status of the answer.
    pub async fn delivers(&self, hook: &str, body: &Value, secret: Option<&str>) -> u16 {
        delivers(hook, body, secret).await
    }

    /// Delivers a body as X does; the status of the answer.
    pub async fn says(&self, hook: &str, body: &Value) -> u16 {
        self.delivers(hook, body, Some(&self.secret())).await
    }

    /// A new id, as X makes them.
    #[must_use]
    pub fn id(&self) -> String {
        next_id(&mut lock(&self.shared.state))
    }

    /// An X Activity event of a kind that brings a payload.
    #[must_use]
    pub fn activity(&self, kind: &str, payload: Value, includes: Value) -> Value {
        self.shared.activity(kind, payload, includes)
    }

    /// A direct message of somebody to the account, as an event of either API.
    #[must_use]
    pub fn direct(&self, id: &str, from: &str, data: Value) -> Value {
        between(id, from, &self.shared.config.user_id, data)
    }

    /// The echo of a direct message of the account.
    #[must_use]
    pub fn echo(&self, id: &str, to: &str, text: &str) -> Value {
        self.shared.echo(id, to, text)
    }

    /// Direct messages as the newer API delivers them.
    #[must_use]
    pub fn received(&self, events: &[Value]) -> Value {
        self.activity("dm.received", json!({ "direct_message_events": events, "users": people() }), Value::Null)
    }

    /// The same as the older API delivers them.
    #[must_use]
    pub fn received_before(&self, events: &[Value]) -> Value {
        json!({ "for_user_id": self.shared.config.user_id, "direct_message_events": events,
            "users": { ANN: { "id": ANN, "name": "Ann", "screen_name": "ann", "followers_count": 22 } } })
    }

    /// A mention by somebody; it can be answered.
    #[must_use]
    pub fn mention(&self, id: &str, from: &str, text: &str) -> Value {
        lock(&self.shared.state).authors.insert(id.to_owned(), from.to_owned());
        let at = jiff::Timestamp::now().to_string();
        let mentions = json!({ "mentions": [{ "start": 0, "end": 10, "username": "deskbrand", "id": self.shared.config.user_id }] });
        let post = json!({ "id": id, "author_id": from, "text": text, "created_at": at, "conversation_id": id,
            "edit_history_tweet_ids": [id], "entities": mentions, "lang": "en" });
        let user = json!({ "id": from, "username": "ann", "name": "Ann", "public_metrics": { "followers_count": 22 } });
        self.activity("post.mention.create", post, json!({ "users": [user] }))
    }

    /// A direct message that the webhook never brought: only the list has it. It was written so many seconds ago.
    pub fn missed(&self, from: &str, text: &str, seconds_ago: i64) {
        let at = now_ms() - seconds_ago * 1000;
        let mut state = lock(&self.shared.state);
        let heard = answers::listed(&snowflake(at).to_string(), from, &self.shared.config.user_id, text, at);
        state.heard.push(heard);
    }

    /// The same, in a group chat of this number.
    pub fn missed_in_group(&self, group: &str, from: &str, text: &str, seconds_ago: i64) {
        self.missed(from, text, seconds_ago);
        if let Some(heard) = lock(&self.shared.state).heard.last_mut() {
            heard["dm_conversation_id"] = group.into();
        }
    }

    /// Where a picture is that only the account may see.
    #[must_use]
    pub fn picture(&self) -> String {
        format!("{}/1.1/ton/data/dm/1/2/a.png", self.base_url())
    }
}

/// Somebody who writes.
pub const ANN: &str = "2222222222222222222";

impl Shared {
    fn secret(&self) -> String {
        lock(&self.state).secret.clone().unwrap_or_else(|| self.config.consumer_secret.clone())
    }

    fn activity(&self, kind: &str, payload: Value, includes: Value) -> Value {
        let id = next_id(&mut lock(&self.state));
        json!({ "data": { "event_uuid": format!("-{id}"), "filter": { "user_id": self.config.user_id },
            "event_type": kind, "tag": "desk", "payload": payload, "includes": includes, "not_documented_yet": 1 } })
    }

    fn echo(&self, id: &str, to: &str, text: &str) -> Value {
        let event = between(id, &self.config.user_id, to, json!({ "text": text }));
        self.activity("dm.sent", json!({ "direct_message_events": [event], "users": people() }), Value::Null)
    }
}

fn between(id: &str, from: &str, to: &str, data: Value) -> Value {
    json!({ "type": "message_create", "id": id, "created_timestamp": now_ms().to_string(), "message_create": {
        "target": { "recipient_id": to }, "sender_id": from, "message_data": data, "not_documented_yet": [1] } })
}

async fn delivers(hook: &str, body: &Value, secret: Option<&str>) -> u16 {
    let body = body.to_string();
    let signature = secret.map(|secret| format!("sha256={}", proof::tag256(secret, body.as_bytes())));
    let mut headers = vec![("content-type", "application/json")];
    if let Some(signature) = &signature {
        headers.push(("x-twitter-webhooks-signature", signature.as_str()));
    }
    call("POST", hook, &headers, body.as_bytes(), LIMIT).await.map_or(0, |answer| answer.status)
}

fn people() -> Value {
    json!({ ANN: { "data": { "id": ANN, "name": "Ann", "username": "ann", "public_metrics": { "followers_count": 22 } } } })
}

impl Drop for XSim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// The first id of a moment.
fn snowflake(at: i64) -> u64 {
    u64::try_from(at - 1_288_834_974_657).unwrap_or(0) << 22
}

fn next_id(state: &mut State) -> String {
    state.next = (state.next + 1).max(snowflake(now_ms()));
    state.next.to_string()
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut connection = Connection::new(stream);
    while connection.has_begun().await {
        if matches!(lock(&shared.state).steps.front(), Some(XStep::CutBefore)) {
            lock(&shared.state).steps.pop_front();
            return connection.reset();
        }
        let Ok(Some(request)) = connection.read().await else { return };
        let is_send = request.method == "POST"
            && (request.path.contains("dm_conversations")
                || request.path.contains("direct_messages")
                || request.path == "/2/tweets");
        // Lists, files and tokens take no part in what becomes of sends.
        let step = if is_send { lock(&shared.state).steps.pop_front() } else { None };
        let step = match step {
            Some(XStep::Delay(wait)) => {
                tokio::time::sleep(wait).await;
                None
            }
            other => other,
        };
        let is_cut = matches!(step, Some(XStep::CutAfter));
        let echo_to = if let Some(XStep::EchoFirst(hook)) = &step { Some(hook.clone()) } else { None };
        let known = lock(&shared.state).sent.len();
        let signed = Signed::of(&shared.config, &format!("http://{}", shared.address), &request);
        let answer = answers::answer(&shared, &request, &signed, step);
        if is_cut {
            return connection.reset();
        }
        let taken = lock(&shared.state).sent.get(known).filter(|sent| !sent.public).cloned();
        if let Some((hook, sent)) = echo_to.zip(taken) {
            let echo = shared.echo(&sent.id, &sent.to, &sent.text);
            delivers(&hook, &echo, Some(&shared.secret())).await;
        }
        if connection.write(&answer).await.is_err() {
            return;
        }
    }
}
