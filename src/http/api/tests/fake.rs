//! A daemon behind the API: frames in memory, a real history over them, and a router that says yes.

use crate::history::tests::{Frames, SALT, story};
use crate::history::{HistoryHandle, HistoryWriter, spawn_projection};
use crate::http::api::*;
use crate::http::console::{Identity, Sessions};
use crate::log::{Log, LogError, Seq};
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use switchboard_envelope::{Address, BlobRef, Command, Scope, Timestamp};
use switchboard_routing_rules::event::{Event, KeyHash, Public, Reply};
use switchboard_routing_rules::ids::ConvId;
use switchboard_routing_rules::pack::{Environment, QUICKSTART, RulePack};
use switchboard_routing_rules::state::Canary;
use switchboard_routing_rules::waiting::Waiting;
use tokio::sync::watch;
use tower_service::Service;

pub(super) const NOW: Timestamp = Timestamp(1_763_000_100_000);

pub struct FakeRouter {
    pub frames: Arc<Frames>,
    pub commands: Mutex<Vec<Command>>,
    pub reply: Mutex<Reply>,
    /// The ids of all commands, also of those that got no answer.
    pub asked: Mutex<Vec<String>>,
    pub fails: Mutex<Option<Unanswered>>,
    /// Frames are kept from history until the test lets them go.
    #[expect(clippy::type_complexity, reason = "frames as they come, named nowhere else")]
    pub held: Mutex<Option<Vec<(Seq, Vec<Event>)>>>,
    pub files: Mutex<HashMap<(String, String, String), Bytes>>,
    pub pack: Arc<RulePack>,
    pub reload: Mutex<Result<String, ReloadError>>,
    pub retried: Mutex<Retried>,
    pub first: Mutex<Seq>,
    pub waiting: Mutex<Option<Waiting>>,
    pub canary: Mutex<Option<Arc<Canary>>>,
    pub undelivered: Mutex<Option<Undelivered>>,
    next: Mutex<Seq>,
}

#[async_trait]
impl Backend for FakeRouter {
    fn now(&self) -> Timestamp {
        NOW
    }
    fn workspace(&self) -> String {
        "main".into()
    }
    fn reaches(&self, _channel: &str, to: &Address) -> Result<(), String> {
        if to.value.starts_with('+') { Ok(()) } else { Err("the number is not international".into()) }
    }
    fn measure(&self, _channel: &str, text: &str) -> Option<switchboard_adapter_sdk::Measure> {
        text.starts_with("measured ").then(|| switchboard_adapter_sdk::Measure {
            encoding: "gsm7",
            units: text.len(),
            segments: text.len().div_ceil(10),
            per_segment: vec![],
            most: 3,
            text: None,
        })
    }
    fn undelivered(&self, conversation: ConvId) -> Option<Undelivered> {
        self.undelivered.lock().unwrap().clone().filter(|_| conversation == crate::history::tests::conv(1))
    }
    async fn sending_trouble(&self, channel: &str) -> Option<String> {
        let failing = matches!(channel, "sms" | "site");
        failing.then(|| "the last attempt to send failed: connection refused".into())
    }
    fn receiving_trouble(&self, channel: &str) -> Option<String> {
        (channel != "sms" || self.undelivered.lock().unwrap().is_some()).then(|| "its mailbox cannot be read".into())
    }
    async fn waiting(&self, _: ConvId) -> Result<Option<Waiting>, LogError> {
        Ok(self.waiting.lock().unwrap().clone())
    }
    async fn command(&self, command: Command) -> Result<Answer, Unanswered> {
        self.asked.lock().unwrap().push(command.id.clone());
        if let Some(error) = self.fails.lock().unwrap().clone() {
            return Err(error);
        }
        // Others with the same key come while this one is answered.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let seq = {
            let mut next = self.next.lock().unwrap();
            *next += 1;
            *next
        };
        let reply = self.reply.lock().unwrap().clone();
        let answered = Public::Answered {
            command: self.command_key(&command.id),
            body: command.body_hash.clone(),
            reply: reply.clone(),
        };
        self.commands.lock().unwrap().push(command);
        let frame = (seq, vec![Event::from(answered)]);
        match &mut *self.held.lock().unwrap() {
            Some(held) => held.push(frame),
            None => self.frames.push(frame),
        }
        Ok(Answer { reply, seq })
    }
    fn command_key(&self, id: &str) -> KeyHash {
        KeyHash(SALT.hash("command", &[id.as_bytes()]))
    }
    fn state(&self) -> Arc<StateView> {
        let queue = QueueView { depth: 3, oldest_since: Some(NOW.plus(-5000)), offered: 1, in_time: 9, due: 10 };
        let up = ChannelView { kind: "sms".into(), ..ChannelView::default() };
        let paused = ChannelView {
            kind: "webchat".into(),
            paused: Some("by an operator".into()),
            failures: 2,
            ..ChannelView::default()
        };
        Arc::new(StateView {
            seq: 4,
            now: NOW,
            pack: "pack1".into(),
            pack_warnings: vec!["pack.yaml:3:1: can never match".into()],
            queues: BTreeMap::from([("everyone".to_owned(), queue)]),
            agents: BTreeMap::from([(
                "ann".to_owned(),
                AgentView { load: 150, conversations: 1, ..AgentView::default() },
            )]),
            channels: BTreeMap::from([("sms".to_owned(), up), ("site".to_owned(), paused)]),
            packs: vec![("pack0".to_owned(), NOW.plus(-9000)), ("pack1".to_owned(), NOW.plus(-5000))],
            canary: self.canary.lock().unwrap().clone(),
        })
    }
    async fn pack(&self, hash: &str) -> Result<Option<Arc<RulePack>>, LogError> {
        Ok((hash == "pack1").then(|| Arc::clone(&self.pack)))
    }
    fn pack_warnings(&self, _hash: &str) -> Vec<String> {
        vec!["pack.yaml:3:1: can never match".into()]
    }
    async fn reload_pack(&self, force: bool) -> Result<String, ReloadError> {
        match self.reload.lock().unwrap().clone() {
            Err(ReloadError::Tests(_)) if force => Ok("pack2".into()),
            found => found,
        }
    }
    async fn stage_pack(&self, files: Vec<(String, Vec<u8>)>, _force: bool) -> Result<String, ReloadError> {
        match RulePack::load(&files, &Environment::default()) {
            Ok(loaded) => Ok(loaded.pack.hash().to_owned()),
            Err(problems) => Err(ReloadError::Pack(problems.iter().map(ToString::to_string).collect())),
        }
    }
    async fn pack_on_disk(&self) -> Option<String> {
        Some("pack2".into())
    }
    async fn put_file(&self, channel: &str, thread: &str, bytes: Bytes) -> Result<BlobRef, LogError> {
        let blob = format!("blob:sha256:{}", bytes.len());
        self.files.lock().unwrap().insert((channel.into(), thread.into(), blob.clone()), bytes);
        Ok(BlobRef(blob))
    }
    async fn get_file(&self, channel: &str, thread: &str, blob: &BlobRef) -> Result<Option<Bytes>, LogError> {
        Ok(self.files.lock().unwrap().get(&(channel.into(), thread.into(), blob.0.clone())).cloned())
    }
    async fn quarantined(&self, _: Seq) -> Result<Option<RawRecord>, LogError> {
        Ok(Some(RawRecord { content_type: "text/plain".into(), bytes: Bytes::from_static(b"Body=caf\xc3\xa9") }))
    }
    async fn retry_quarantined(&self, _: Seq) -> Result<Retried, LogError> {
        Ok(self.retried.lock().unwrap().clone())
    }
    async fn frames(&self, after: Seq, max: usize) -> Result<Vec<(Seq, Vec<Event>)>, LogError> {
        let first = *self.first.lock().unwrap();
        let frames = self.frames.frames.lock().unwrap();
        Ok(frames.iter().filter(|f| f.0 > after && f.0 >= first).take(max).cloned().collect())
    }
    fn typing(&self) -> tokio::sync::broadcast::Receiver<ConvId> {
        tokio::sync::broadcast::Sender::new(1).subscribe()
    }

    fn agent_typing(&self, _conversation: ConvId, _agent: Option<&str>) {}

    async fn log_bounds(&self) -> Result<(Seq, Seq), LogError> {
        let first = *self.first.lock().unwrap();
        Ok((first, self.frames.log_bounds().await?.1))
    }
}

pub struct Fake {
    /// Kept for as long as the history in it is read.
    _dir: tempfile::TempDir,
    pub back: Arc<FakeRouter>,
    pub history: HistoryHandle,
    pub router: Router,
    pub sessions: Arc<Sessions>,
    pub stop: watch::Sender<bool>,
}

fn identity(token: &str, agent: Option<&str>, scope: Scope) -> Identity {
    Identity { token: token.into(), agent: agent.map(str::to_owned), scopes: vec![scope] }
}

fn tokens() -> Arc<Tokens> {
    let mut tokens = Tokens::default();
    tokens.add("t-read", identity("read", None, Scope::Read));
    tokens.add("t-ann", identity("ann", Some("ann"), Scope::Agent));
    tokens.add("t-sup", identity("sup", Some("cy"), Scope::Supervisor));
    tokens.add("t-admin", identity("ops", None, Scope::Admin));
    tokens.add("", identity("nobody", None, Scope::Admin));
    Arc::new(tokens)
}

pub async fn fake() -> Fake {
    let dir = tempfile::tempdir().unwrap();
    let frames = Frames::new();
    story().into_iter().for_each(|f| frames.push(f));
    let sources: Vec<(String, Vec<u8>)> =
        QUICKSTART.iter().map(|(p, t)| ((*p).to_owned(), t.as_bytes().to_vec())).collect();
    let ids =
        [("message".to_owned(), "m0000000000000009".to_owned()), ("conversation".to_owned(), "c1".to_owned())].into();
    let back = Arc::new(FakeRouter {
        frames: Arc::clone(&frames),
        commands: Mutex::default(),
        reply: Mutex::new(Reply { status: 202, code: String::new(), detail: String::new(), ids }),
        asked: Mutex::default(),
        fails: Mutex::default(),
        held: Mutex::default(),
        files: Mutex::default(),
        pack: Arc::new(RulePack::load(&sources, &Environment::default()).unwrap().pack),
        reload: Mutex::new(Ok("pack2".into())),
        retried: Mutex::new(Retried::StillHeld("no from".into())),
        first: Mutex::new(1),
        waiting: Mutex::new(None),
        canary: Mutex::default(),
        undelivered: Mutex::default(),
        next: Mutex::new(100),
    });
    let (stop, stopped) = watch::channel(false);
    let writer = HistoryWriter::open(dir.path().join("history.db")).unwrap();
    let (history, _) = spawn_projection(frames.clone(), writer, frames.decoder(), stopped);
    assert!(history.history().wait_for(4, Duration::from_secs(10)).await);
    let sessions = Arc::new(Sessions::new(Arc::new(|| NOW), false));
    let mut fake = Fake { _dir: dir, back, history, router: Router::new(), sessions, stop };
    fake.restart();
    fake
}

impl Fake {
    /// The API as after a restart: nothing is remembered but what history holds.
    pub fn restart(&mut self) {
        let limits = Limits { json: 4096, file: 10_000, ..Limits::default() };
        let state = ApiState::new(
            self.back.clone(),
            self.history.clone(),
            tokens(),
            Some(self.sessions.clone()),
            FileLinks::new(&[7; 32]),
            limits,
            self.stop.subscribe(),
        );
        self.router = routes(state);
    }

    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().call(request).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Got {
        call(self, Method::GET, path, "t-read", &[], "").await
    }

    pub async fn post(&self, path: &str, token: &str, body: Value) -> Got {
        call(self, Method::POST, path, token, &[("content-type", "application/json")], &body.to_string()).await
    }

    pub fn last_command(&self) -> Command {
        self.back.commands.lock().unwrap().last().cloned().unwrap()
    }

    pub fn commands(&self) -> usize {
        self.back.commands.lock().unwrap().len()
    }
}

#[derive(Debug)]
pub struct Got {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
    pub bytes: Bytes,
}

impl Got {
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.body["code"].as_str()), (status, Some(code)), "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert!(self.body["detail"].as_str().is_some_and(|d| !d.is_empty()));
        assert!(self.body["title"].is_string() && self.body["type"].is_string());
    }

    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(self.status.is_success(), "{} {}", self.status, self.body);
        self.body
    }
}

pub async fn call(fake: &Fake, method: Method, path: &str, token: &str, headers: &[(&str, &str)], body: &str) -> Got {
    let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (k, v) in headers {
        request = request.header(*k, *v);
    }
    let response = fake.send(request.body(Body::from(body.to_owned())).unwrap()).await;
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Got { status: parts.status, headers: parts.headers, body, bytes }
}
