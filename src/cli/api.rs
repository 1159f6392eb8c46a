//! Asking a running daemon through its API.

use super::{ConfigArg, Failure};
use crate::config::{self, Environment, Source};
use crate::random;
use bytes::Bytes;
use http::Method;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use switchboard_adapter_sdk::signature::to_hex;
use switchboard_adapter_sdk::{Call, CallBody, CallError, Client, Secret};

/// How long an answer may take: a reload compiles a pack and waits for the router.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a change whose fate is not known is asked for again, under its key.
const PATIENCE: Duration = Duration::from_secs(20);
/// The wait before it is, doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// A running daemon, and the right to ask it.
pub(crate) struct Api {
    client: Client,
    url: String,
    /// The configuration that said so; `None` when it was `SWITCHBOARD_URL`.
    said_by: Option<Source>,
    token: Option<Secret>,
    /// Where a token was looked for.
    looked_in: Option<PathBuf>,
    /// The key that a person gave, to repeat what may have been taken.
    key: Option<String>,
    patience: Duration,
}

/// What came of one request.
enum Answered {
    Done(Value),
    /// It was not done, and asking again would change nothing.
    No(Failure),
    /// It may be done by asking again; `maybe` when it may have been done already.
    Again {
        failure: Failure,
        maybe: bool,
    },
}

impl Api {
    /// Where the environment says that the daemon is, else where the configuration does.
    pub fn open(at: &ConfigArg, env: &Environment) -> Result<Api, Failure> {
        let read =
            |name: &str| env.get(name).map(|v| v.filter(|v| !v.is_empty()).map(str::to_owned)).map_err(Failure::Usage);
        let (url, token) = (read("SWITCHBOARD_URL")?, read("SWITCHBOARD_TOKEN")?);
        let given = url.as_deref().map(admin_url).transpose()?;
        let known = if given.is_some() && token.is_some() { None } else { Some(known(at, env)?) };
        let (url, said_by) = match (given, &known) {
            (Some(url), _) => (url, None),
            (None, Some(k)) => (format!("http://{}", reachable(k.listen)), Some(k.source.clone())),
            (None, None) => ("http://127.0.0.1:8081".into(), None),
        };
        let looked_in = known.map(|k| k.data.join("admin.token"));
        let token = token.map(Secret::new).or_else(|| looked_in.as_deref().and_then(stored_token));
        let client = Client::new().map_err(|e| Failure::Failed(e.to_string()))?;
        Ok(Api { client, url, said_by, token, looked_in, key: None, patience: PATIENCE })
    }

    /// Changes are made under this key, if one is given.
    pub fn under(mut self, key: Option<&str>) -> Api {
        self.key = key.map(str::to_owned);
        self
    }

    /// Where the daemon is asked, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Value, Failure> {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Result<Value, Failure> {
        self.ask(Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Result<Value, Failure> {
        self.ask(Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::DELETE, path, None).await
    }

    /// A change carries a key, so that it can be asked for again when its answer is lost, and is still made once.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        if method == Method::GET {
            return match self.once(method, path, None, None).await {
                Answered::Done(value) => Ok(value),
                Answered::No(failure) | Answered::Again { failure, .. } => Err(failure),
            };
        }
        let key = self.key.clone().map_or_else(new_key, Ok)?;
        let began = tokio::time::Instant::now();
        let (mut wait, mut maybe_done) = (FIRST_WAIT, false);
        loop {
            let failure = match self.once(method.clone(), path, body.clone(), Some(&key)).await {
                Answered::Done(value) => return Ok(value),
                Answered::No(failure) => return Err(failure),
                // Nothing has arrived, and nobody is there.
                Answered::Again { failure: failure @ Failure::Unreachable(_), maybe: false } if !maybe_done => {
                    return Err(failure);
                }
                Answered::Again { failure, maybe } => {
                    maybe_done |= maybe;
                    failure
                }
            };
            if began.elapsed() + wait > self.patience {
                return Err(if maybe_done { undecided(failure, path, &key) } else { failure });
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// What a path beside the API says to whoever asks, with its status.
    pub async fn beside(&self, path: &str) -> Result<(u16, String), Failure> {
        let url = format!("{}{path}", self.url);
        let call = Call { method: Method::GET, url, headers: vec![], body: CallBody::Empty, timeout: TIMEOUT };
        let answer = self.client.call(call).await.map_err(|e| self.unreachable(&e))?;
        Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// What keeps the daemon from knowing more than it did: then what it shows is the last that it knew.
    pub async fn stale(&self) -> Option<String> {
        let (_, text) = self.beside("/readyz").await.ok().filter(|(status, _)| *status == 503)?;
        let why = text.lines().find(|line| !line.trim().is_empty() && line.len() < 500)?;
        Some(format!("this is what the daemon knew last, which may not be all: {}", super::screen::plain(why)))
    }

    async fn once(&self, method: Method, path: &str, body: Option<Value>, key: Option<&str>) -> Answered {
        let mut headers = vec![("accept", "application/json".to_owned())];
        if let Some(token) = &self.token {
            headers.push(("authorization", format!("Bearer {}", token.expose())));
        }
        headers.extend(key.map(|key| ("idempotency-key", key.to_owned())));
        let body = body.map_or(CallBody::Empty, |b| CallBody::Bytes("application/json", Bytes::from(b.to_string())));
        let call = Call { method, url: format!("{}/api/v1{path}", self.url), headers, body, timeout: TIMEOUT };
        let answer = match self.client.call(call).await {
            Ok(answer) => answer,
            Err(e) => {
                let maybe = matches!(e, CallError::Lost(_));
                return Answered::Again { failure: self.unreachable(&e), maybe };
            }
        };
        if answer.status == 204 || answer.body.is_empty() && answer.status < 300 {
            return Answered::Done(Value::Null);
        }
        let body = serde_json::from_slice::<Value>(&answer.body);
        let failed = |said: String| Answered::No(Failure::Failed(said));
        match (answer.status, body) {
            (200..300, Ok(body)) => Answered::Done(body),
            (401, _) => failed(self.unknown_here()),
            (503, Ok(problem)) => {
                let detail = problem.get("detail").and_then(Value::as_str).unwrap_or_default();
                // The log did not answer, or has the command and no router decided it; every other 503 says that nothing was done.
                let code = problem.get("code").and_then(Value::as_str);
                let asked = matches!(code, Some("log_unavailable" | "undecided"));
                let maybe = asked && !detail.contains("nothing was done");
                Answered::Again { failure: Failure::Failed(problem_sentence(503, &problem)), maybe }
            }
            (status, Ok(problem)) if status >= 400 => failed(problem_sentence(status, &problem)),
            (status, _) => failed(format!(
                "{} answered {status} with something that is not the API's: is SWITCHBOARD_URL the admin address?",
                self.url
            )),
        }
    }

    /// Why the daemon does not know who asks.
    fn unknown_here(&self) -> String {
        match (&self.token, &self.looked_in) {
            (Some(_), _) => {
                "the daemon does not know this token: is SWITCHBOARD_TOKEN, or admin.token in the data directory, \
                             the one of this daemon?"
                    .into()
            }
            (None, Some(path)) => format!(
                "the daemon asks for a token, and {} cannot be read: set SWITCHBOARD_TOKEN, or be the user that can read it; \
                 where the daemon runs with another configuration or from another directory, name that by --config, or cd to it",
                path.display()
            ),
            (None, None) => "the daemon asks for a token: set SWITCHBOARD_TOKEN".into(),
        }
    }

    fn unreachable(&self, e: &CallError) -> Failure {
        let url = &self.url;
        Failure::Unreachable(match (e, &self.said_by) {
            (CallError::NotSent(why), Some(source)) => format!(
                "the daemon cannot be reached at {url}, the `admin.listen` of {source}: {why}; is it running? If it runs with \
                 another configuration, name that by --config or SWITCHBOARD_CONFIG, or its address by SWITCHBOARD_URL"
            ),
            (CallError::NotSent(why), None) => {
                format!("the daemon cannot be reached at SWITCHBOARD_URL, {url}: {why}; is it running there?")
            }
            (CallError::Lost(why), _) => format!("the daemon at {url} did not answer: {why}"),
        })
    }
}

/// What `SWITCHBOARD_URL` says, without a slash at its end. A password that was put into it is not repeated.
fn admin_url(text: &str) -> Result<String, Failure> {
    let url = text.trim_end_matches('/');
    let parsed = url::Url::parse(url).ok().filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    let wrong = |what: String| Err(Failure::Usage(format!("SWITCHBOARD_URL {what}, as `http://127.0.0.1:8081`")));
    match parsed {
        Some(u) if !u.username().is_empty() || u.password().is_some() => {
            wrong("must hold no user and no password: write the address of the admin listener alone".into())
        }
        Some(u) if u.query().is_some() || u.fragment().is_some() => {
            wrong("must hold neither `?` nor `#`: write the address of the admin listener alone".into())
        }
        Some(_) => Ok(url.to_owned()),
        None if url.contains('@') => wrong("is not an address: write the scheme, the host and the port".into()),
        None if url.contains("://") => {
            wrong(format!("is `{url}`: write an address that begins with `http://` or `https://`"))
        }
        None => wrong(format!("is `{url}`, without a scheme: write `http://` before the host")),
    }
}

/// What the configuration says of the daemon.
struct Known {
    source: Source,
    listen: SocketAddr,
    data: PathBuf,
}

/// Where the daemon listens, and its data directory. What is wrong elsewhere in the configuration, such as a secret that only
/// the daemon can read, does not matter here.
fn known(at: &ConfigArg, env: &Environment) -> Result<Known, Failure> {
    let inspected = config::inspect(at.config.as_deref(), env).map_err(|e| Failure::Failed(e.to_string()))?;
    match inspected.config {
        Some(config) => Ok(Known { source: inspected.source, listen: config.admin.listen, data: config.log.path }),
        None => Err(Failure::Failed(format!("{} cannot be read; `switchboard check` says why", inspected.source))),
    }
}

fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}

fn stored_token(file: &std::path::Path) -> Option<Secret> {
    let text = std::fs::read_to_string(file).ok()?;
    let token = text.trim();
    (!token.is_empty()).then(|| Secret::new(token))
}

/// A key that nobody else takes.
fn new_key() -> Result<String, Failure> {
    random::bytes::<16>().map(|b| to_hex(&b)).map_err(|e| Failure::Failed(e.to_string()))
}

/// A change that may have been made: what was seen last, where to look, and how to ask again without making it twice.
fn undecided(last: Failure, path: &str, key: &str) -> Failure {
    let look = match path.strip_prefix("/conversations/").and_then(|rest| rest.split_once('/')) {
        Some((id, _)) => format!("look at `switchboard conversations show {id}` before repeating it"),
        None => "look whether it was done before repeating it".to_owned(),
    };
    let add = |said: String| {
        let said = said.split("; repeat the request").next().unwrap_or_default().to_owned();
        format!(
            "{said}; it may have been taken: {look}, or repeat it with `--idempotency-key {key}`, which cannot do it twice"
        )
    };
    match last {
        Failure::Failed(said) => Failure::Failed(add(said)),
        Failure::Usage(said) => Failure::Usage(add(said)),
        Failure::Unreachable(said) => Failure::Unreachable(add(said)),
    }
}

/// A problem document (RFC 9457) as one sentence, with what is wrong field by field where that says more.
fn problem_sentence(status: u16, problem: &Value) -> String {
    fn text(of: &Value, key: &str) -> Option<String> {
        of.get(key).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned)
    }
    let sentence = text(problem, "detail")
        .or_else(|| text(problem, "title"))
        .unwrap_or_else(|| format!("the daemon answered {status}"));
    let sentence = sentence.trim_end_matches('.');
    let faults = problem.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let fault = |name: fn(&str) -> String| {
        move |error: &Value| {
            let (pointer, detail) =
                (text(error, "pointer").unwrap_or_default(), text(error, "detail").unwrap_or_default());
            if pointer.is_empty() { detail } else { format!("{}: {detail}", name(&pointer)) }
        }
    };
    let as_told: Vec<String> = faults.iter().map(fault(str::to_owned)).collect();
    let lines: Vec<String> = faults.iter().map(fault(field)).collect();
    // Where the sentence is nothing but the faults, it would only say them twice.
    if !lines.is_empty() && as_told.join("; ") == sentence {
        return lines.join("\n");
    }
    let lines = lines.iter().map(|line| format!("\n  {line}"));
    std::iter::once(in_our_words(sentence)).chain(lines).collect()
}

/// `/to/value` points into a body that nobody here has seen.
fn field(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

/// The API's hints name keys of a request's body; here one types flags.
fn in_our_words(sentence: &str) -> String {
    let told = sentence
        .replace("`\"take\": true`", "`--take`")
        .replace("`\"force\": true`", "`--force`")
        .replace("add `agent`", "add `--as AGENT`");
    // `"agent": "ann"`
    match told.split_once("`\"agent\": \"").and_then(|(before, rest)| Some((before, rest.split_once("\"`")?))) {
        Some((before, (agent, after))) => format!("{before}`--as {agent}`{after}"),
        None => told,
    }
}

/// One segment of a path, or one value of a query.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_problem_becomes_a_sentence() {
        let problem = json!({ "title": "Unprocessable", "detail": "the messaging window is closed.", "code": "window_closed",
            "errors": [{ "pointer": "/text", "detail": "is too long" }] });
        assert_eq!(problem_sentence(422, &problem), "the messaging window is closed\n  text: is too long");
        assert_eq!(problem_sentence(500, &json!([])), "the daemon answered 500");
    }

    #[test]
    fn a_single_fault_is_told_once_and_in_the_words_of_the_command_line() {
        let fault =
            |detail: &str| json!({ "detail": detail, "errors": [{ "pointer": "/to/value", "detail": "is empty" }] });
        assert_eq!(problem_sentence(422, &fault("/to/value: is empty")), "to.value: is empty");
        let query = json!({ "detail": "a: is no; b: is not", "errors": [
            { "pointer": "a", "detail": "is no" }, { "pointer": "b", "detail": "is not" }] });
        assert_eq!(problem_sentence(400, &query), "a: is no\nb: is not");
        let owned = "the conversation is with `ann`; add `\"agent\": \"ann\"` to answer for them, or `\"take\": true` to answer all the \
                     same, which leaves it with `ann`";
        assert_eq!(
            problem_sentence(409, &json!({ "code": "owned", "detail": owned })),
            "the conversation is with `ann`; add `--as ann` to answer for them, or `--take` to answer all the same, which leaves it \
             with `ann`"
        );
        let nobody = json!({ "detail": "say which agent takes it: add `agent`" });
        assert_eq!(problem_sentence(422, &nobody), "say which agent takes it: add `--as AGENT`");
        for detail in ["add `\"force\": true` to take it all the same", "add `\"force\": true` to put it in force"] {
            let said = problem_sentence(422, &json!({ "code": "pack_tests", "detail": detail }));
            assert_eq!(said, detail.replace("`\"force\": true`", "`--force`"));
        }
        let pack = json!({ "detail": "the pack has errors", "errors": [{ "pointer": "", "detail": "/srv/pack.yaml:1:2: no: it" }] });
        assert_eq!(problem_sentence(422, &pack), "the pack has errors\n  /srv/pack.yaml:1:2: no: it");
    }

    #[test]
    fn an_address_without_a_scheme_is_a_wrong_use_that_says_what_to_write() {
        assert_eq!(admin_url("http://127.0.0.1:8081/"), Ok("http://127.0.0.1:8081".into()));
        assert_eq!(
            admin_url("https://desk.shop.example/switchboard"),
            Ok("https://desk.shop.example/switchboard".into())
        );
        for text in ["127.0.0.1:8081", "localhost:8081", "localhost", "ftp://desk", "http://", "http://h/?a", "/tmp/x"]
        {
            let Err(Failure::Usage(said)) = admin_url(text) else { panic!("{text} was taken") };
            assert!(said.starts_with("SWITCHBOARD_URL ") && said.contains("`http://127.0.0.1:8081`"), "{said}");
        }
        for text in ["http://ops:hunter2@desk:8081", "ops:hunter2@desk"] {
            assert!(matches!(admin_url(text), Err(Failure::Usage(said)) if !said.contains("hunter2")), "{text}");
        }
    }

    #[test]
    fn a_listener_on_every_address_is_reached_on_this_machine() {
        for (listen, at) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")] {
            assert_eq!(reachable(listen.parse().expect("an address")).to_string(), at);
        }
    }

    /// Answers what it is told to, in order and then the last for ever, and keeps the heads of the requests.
    pub(crate) async fn answering(answers: &[&str]) -> (Api, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = std::sync::Arc::new(std::sync::Mutex::new(vec![]));
        let (kept, answers) =
            (std::sync::Arc::clone(&seen), answers.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
        tokio::spawn(async move {
            for n in 0.. {
                let Ok((mut socket, _)) = listener.accept().await else { return };
                let (mut bytes, mut part) = (vec![], [0; 4096]);
                while !bytes.windows(4).any(|w| w == b"\r\n\r\n") {
                    let read = socket.read(&mut part).await.unwrap_or(0);
                    if read == 0 {
                        break;
                    }
                    bytes.extend_from_slice(&part[..read]);
                }
                kept.lock().expect("kept").push(String::from_utf8_lossy(&bytes).to_lowercase());
                let answer = answers.get(n).or(answers.last()).expect("an answer");
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        let client = Client::new().expect("a client");
        let api = Api {
            client,
            url,
            said_by: None,
            token: None,
            looked_in: None,
            key: None,
            patience: Duration::from_secs(3),
        };
        (api, seen)
    }

    pub(crate) fn answer(status: &str, body: &Value) -> String {
        let body = body.to_string();
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    fn key_of(head: &str) -> String {
        let line = head.lines().find_map(|l| l.strip_prefix("idempotency-key: "));
        line.expect("every change has a key").to_owned()
    }

    #[tokio::test]
    async fn a_change_whose_answer_is_lost_is_asked_for_again_under_the_same_key() {
        let outage = answer(
            "503 Service Unavailable",
            &json!({ "code": "log_unavailable",
            "detail": "the log did not answer, so it may have been taken; repeat the request with `Idempotency-Key: k`" }),
        );
        let waits =
            json!({ "code": "undecided", "detail": "it was taken; repeat the request with `Idempotency-Key: k`" });
        let waits = answer("503 Service Unavailable", &waits);
        // The second is cut off before its answer.
        let (api, seen) = answering(&[&outage, "", &answer("202 Accepted", &json!({ "id": "m1" }))]).await;
        let sent = api.post("/conversations/c1/reply", json!({ "text": "hi" })).await;
        assert_eq!(sent, Ok(json!({ "id": "m1" })));
        let keys: Vec<String> = seen.lock().expect("seen").iter().map(|head| key_of(head)).collect();
        assert!(keys.len() == 3 && keys.iter().all(|k| *k == keys[0] && k.len() == 32), "{keys:?}");

        // One that stays undecided says so, and how to go on.
        for without in [&outage, &waits] {
            let (api, seen) = answering(&[without]).await;
            let Err(Failure::Failed(said)) = api.post("/conversations/c1/reply", json!({ "text": "hi" })).await else {
                panic!("an outage is no success")
            };
            let key = key_of(&seen.lock().expect("seen")[0]);
            let parts = ["may have been taken", "`switchboard conversations show c1`"];
            for part in parts.into_iter().chain([format!("--idempotency-key {key}").as_str()]) {
                assert!(said.contains(part), "{part} is not in {said}");
            }
            assert!(!said.contains("Idempotency-Key"), "{said}");
        }
        let (api, seen) = answering(&[&answer("202 Accepted", &json!({}))]).await;
        api.under(Some("mine")).post("/conversations/c1/reply", json!({})).await.expect("taken");
        assert_eq!(key_of(&seen.lock().expect("seen")[0]), "mine");
    }

    #[tokio::test]
    async fn what_was_refused_is_not_asked_for_again_and_a_full_log_is_not_called_a_maybe() {
        let (api, seen) = answering(&[&answer("409 Conflict", &json!({ "detail": "it is with ann" }))]).await;
        let refused = api.post("/conversations/c1/reply", json!({})).await;
        assert_eq!(refused, Err(Failure::Failed("it is with ann".into())));
        assert_eq!(seen.lock().expect("seen").len(), 1);
        let full = answer("503 Service Unavailable", &json!({ "code": "log_full", "detail": "nothing was done" }));
        let (api, seen) = answering(&[&full]).await;
        assert_eq!(api.post("/messages", json!({})).await, Err(Failure::Failed("nothing was done".into())));
        assert!(seen.lock().expect("seen").len() > 1, "there may be room again");
    }

    #[test]
    fn ids_are_encoded() {
        assert_eq!(encoded("phone:+1 5"), "phone%3A%2B1%205");
    }
}
