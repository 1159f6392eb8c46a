use crate::{eventually, http};
use http::Method;
use serde_json::{Value, json};
use std::fmt;

/// The daemon's API with one token.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    token: String,
}

/// An answer of the API.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    /// `Null` when the body is no JSON.
    pub body: Value,
    pub text: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.text.chars().take(2000).collect::<String>())
    }
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "the API answered {self}");
        self.body
    }

    /// Checks a refusal: its status, that it is a problem document, and that `code` and `detail` are in it.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "the API answered {self}");
        assert!(
            self.content_type.starts_with("application/problem+json"),
            "content type of {self}: {}",
            self.content_type
        );
        assert_eq!(self.body["code"], code, "the API answered {self}");
    }
}

impl Api {
    /// `admin` is the daemon's admin address, as `http://127.0.0.1:8081`.
    #[must_use]
    pub fn new(admin: &str, token: &str) -> Api {
        Api { base: admin.to_owned(), token: token.to_owned() }
    }

    /// One call, below `/api/v1`.
    ///
    /// # Errors
    /// When the daemon did not answer.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Answer, reqwest::Error> {
        self.call_with(method, path, body, key.map(|key| ("idempotency-key", key))).await
    }

    /// The same with any header.
    async fn call_with(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        header: Option<(&str, &str)>,
    ) -> Result<Answer, reqwest::Error> {
        let url = format!("{}/api/v1{path}", self.base);
        let mut request = http().request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let content_type =
            response.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, content_type, body, text })
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, None).await.unwrap_or_else(|e| panic!("GET {path}: {e:?}"))
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(&body), None).await.unwrap_or_else(|e| panic!("POST {path}: {e:?}"))
    }

    pub async fn post_with(&self, path: &str, body: Value, header: (&str, &str)) -> Answer {
        let answer = self.call_with(Method::POST, path, Some(&body), Some(header)).await;
        answer.unwrap_or_else(|e| panic!("POST {path}: {e:?}"))
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(&body), None).await.unwrap_or_else(|e| panic!("PUT {path}: {e:?}"))
    }

    /// The quarantine, once so many records are in it: what was answered at the door may be decided a moment later.
    pub async fn held(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} records in quarantine"), || async {
            let rows = self.all("/quarantine", "quarantine").await;
            if rows.len() == count { Ok(rows) } else { Err(format!("{rows:?}")) }
        })
        .await
    }

    /// All of a list, page by page.
    pub async fn all(&self, path: &str, resource: &str) -> Vec<Value> {
        let mut found = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let join = if path.contains('?') { '&' } else { '?' };
            let after = cursor
                .map(|c| format!("&cursor={}", form_urlencoded::byte_serialize(c.as_bytes()).collect::<String>()));
            let page = self.get(&format!("{path}{join}limit=200{}", after.unwrap_or_default())).await.ok();
            let rows = page[resource].as_array().unwrap_or_else(|| panic!("{path} has no list {resource}: {page}"));
            found.extend(rows.iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return found,
            }
        }
    }

    pub async fn available(&self, agent: &str) {
        self.put(&format!("/agents/{agent}/presence"), json!({ "presence": "available" })).await.ok();
    }

    /// Waits for the one conversation of a contact, by identity (`phone:+1555…`), for which `holds`.
    pub async fn conversation(&self, identity: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("the conversation of {identity} {what}"), || async {
            let contact = form_urlencoded::byte_serialize(identity.as_bytes()).collect::<String>();
            let list = self.get(&format!("/conversations?contact={contact}")).await;
            let rows = list.body["conversations"].as_array().cloned().unwrap_or_default();
            let [row] = rows.as_slice() else { return Err(list.to_string()) };
            let id = row["id"].as_str().unwrap_or_default();
            let whole = self.get(&format!("/conversations/{id}")).await;
            if whole.status == 200 && holds(&whole.body) { Ok(whole.body) } else { Err(whole.to_string()) }
        })
        .await
    }

    /// The messages of a conversation, oldest first.
    pub async fn messages(&self, conversation: &str) -> Vec<Value> {
        let mut messages = self.all(&format!("/conversations/{conversation}/messages"), "messages").await;
        messages.reverse();
        messages
    }
}

/// The message of a conversation whose text is `text`.
#[must_use]
pub fn message<'a>(conversation: &'a Value, text: &str) -> Option<&'a Value> {
    conversation["messages"].as_array()?.iter().find(|m| m["text"] == text)
}
