//! Asking a running daemon through its API.

use super::{ConfigArg, Failure};
use crate::config::{self, Environment};
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
    token: Option<Secret>,
}

impl Api {
    /// Where the environment says that the daemon is, else where the configuration does.
    pub fn open(at: &ConfigArg, env: &Environment) -> Result<Api, Failure> {
        let read =
            |name: &str| env.get(name).map(|v| v.filter(|v| !v.is_empty()).map(str::to_owned)).map_err(Failure::Usage);
        let (url, token) = (read("SWITCHBOARD_URL")?, read("SWITCHBOARD_TOKEN")?);
        let known = if url.is_some() && token.is_some() { None } else { Some(known(at, env)?) };
        let url = match (url, &known) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some((listen, _))) => format!("http://{}", reachable(*listen)),
            (None, None) => "http://127.0.0.1:8081".into(),
        };
        let token = token.map(Secret::new).or_else(|| known.and_then(|(_, data)| stored_token(&data)));
        let client = Client::new().map_err(|e| Failure::Failed(e.to_string()))?;
        Ok(Api { client, url, token })
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
        Failure::Unreachable(match e {
            CallError::NotSent(why) => format!(
                "the daemon cannot be reached at {url}: {why}; is it running? SWITCHBOARD_URL names another address"
            ),
            CallError::Lost(why) => format!("the daemon at {url} did not answer: {why}"),
        })
    }
}

/// What the configuration says: where the daemon listens, and its data directory. What is wrong elsewhere in it, such as a
/// secret that only the daemon can read, does not matter here.
fn known(at: &ConfigArg, env: &Environment) -> Result<(SocketAddr, PathBuf), Failure> {
    let inspected = config::inspect(at.config.as_deref(), env).map_err(|e| Failure::Failed(e.to_string()))?;
    match inspected.config {
        Some(config) => Ok((config.admin.listen, config.log.path)),
        None => Err(Failure::Failed("the configuration cannot be read; `switchboard check` says why".into())),
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

/// A problem document (RFC 9457) as one sentence, with what is wrong field by field.
fn problem_sentence(status: u16, problem: &Value) -> String {
    let text = |key: &str| problem.get(key).and_then(Value::as_str).filter(|t| !t.is_empty());
    let sentence =
        text("detail").or_else(|| text("title")).map_or_else(|| format!("the daemon answered {status}"), str::to_owned);
    let mut out = sentence.trim_end_matches('.').to_owned();
    for error in problem.get("errors").and_then(Value::as_array).into_iter().flatten() {
        let field = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
        let (pointer, detail) = (field("pointer"), field("detail"));
        out.push_str("\n  ");
        if !pointer.is_empty() {
            out.push_str(pointer);
            out.push_str(": ");
        }
        out.push_str(detail);
    }
    out
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
        assert_eq!(problem_sentence(422, &problem), "the messaging window is closed\n  /text: is too long");
        assert_eq!(problem_sentence(500, &json!([])), "the daemon answered 500");
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
