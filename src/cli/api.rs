//! Asking a running daemon through its API.

use super::{ConfigArg, Failure};
use crate::config::{self, Environment, Source};
use bytes::Bytes;
use http::Method;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use switchboard_adapter_sdk::{Call, CallBody, CallError, Client, Secret};

/// How long an answer may take: a reload compiles a pack and waits for the router.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A running daemon, and the right to ask it.
pub(crate) struct Api {
    client: Client,
    url: String,
    /// The configuration that said so; `None` when it was `SWITCHBOARD_URL`.
    said_by: Option<Source>,
    token: Option<Secret>,
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
        let token = token.map(Secret::new).or_else(|| known.and_then(|k| stored_token(&k.data)));
        let client = Client::new().map_err(|e| Failure::Failed(e.to_string()))?;
        Ok(Api { client, url, said_by, token })
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

    pub async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::DELETE, path, None).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        let mut headers = vec![("accept", "application/json".to_owned())];
        if let Some(token) = &self.token {
            headers.push(("authorization", format!("Bearer {}", token.expose())));
        }
        let body = body.map_or(CallBody::Empty, |b| CallBody::Bytes("application/json", Bytes::from(b.to_string())));
        let call = Call { method, url: format!("{}/api/v1{path}", self.url), headers, body, timeout: TIMEOUT };
        let answer = self.client.call(call).await.map_err(|e| self.unreachable(&e))?;
        if answer.status == 204 || answer.body.is_empty() && answer.status < 300 {
            return Ok(Value::Null);
        }
        let body = serde_json::from_slice::<Value>(&answer.body);
        match (answer.status, body) {
            (200..300, Ok(body)) => Ok(body),
            (401, _) if self.token.is_none() => Err(Failure::Failed(
                "the daemon asks for a token: set SWITCHBOARD_TOKEN, or run this as the user that can read admin.token in its data directory".into(),
            )),
            (401, _) => Err(Failure::Failed("the daemon does not know this token: is SWITCHBOARD_TOKEN, or admin.token in the data directory, the one of this daemon?".into())),
            (status, Ok(problem)) if status >= 400 => Err(Failure::Failed(problem_sentence(status, &problem))),
            (status, _) => Err(Failure::Failed(format!("{} answered {status} with something that is not the API's: is SWITCHBOARD_URL the admin address?", self.url))),
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

fn stored_token(data: &std::path::Path) -> Option<Secret> {
    let text = std::fs::read_to_string(data.join("admin.token")).ok()?;
    let token = text.trim();
    (!token.is_empty()).then(|| Secret::new(token))
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
    let told = sentence.replace("add `\"take\": true` to take it", "add `--take` to take it");
    told.replace("add `agent`", "add `--agent`")
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
mod tests {
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
        let owned =
            json!({ "code": "owned", "detail": "the conversation is with `ann`; add `\"take\": true` to take it" });
        assert_eq!(problem_sentence(409, &owned), "the conversation is with `ann`; add `--take` to take it");
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

    #[test]
    fn ids_are_encoded() {
        assert_eq!(encoded("phone:+1 5"), "phone%3A%2B1%205");
    }
}
