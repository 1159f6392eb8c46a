//! An account over the log in memory and a provider that hands out tokens.

use super::*;
use crate::log::memory::{MemoryLog, MemoryOptions};
use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::json;
use std::sync::Mutex as StdMutex;
use switchboard_adapter_sdk::{CallBody, Response, Secret, Settings, settings::Value};

/// A provider with one good token at a time, and refresh tokens that are good for one time.
#[derive(Clone, Default)]
struct Provider(Arc<StdMutex<State>>);

#[derive(Default)]
struct State {
    renewals: u32,
    good: String,
    seen: Vec<String>,
    refuses_renewals: bool,
}

#[async_trait]
impl Caller for Provider {
    async fn call(&self, call: Call) -> Answer {
        let mut state = self.0.lock().expect("no test fails within it");
        let body = match &call.body {
            CallBody::Bytes(_, bytes) => String::from_utf8_lossy(bytes).into_owned(),
            CallBody::Empty => String::new(),
        };
        if call.url.ends_with("/2/oauth2/token") {
            let wanted = if state.renewals == 0 { "first".to_owned() } else { format!("r{}", state.renewals) };
            if state.refuses_renewals || !body.contains(&format!("refresh_token={wanted}")) {
                return answer(400, json!({ "error": "invalid_request" }));
            }
            state.renewals += 1;
            state.good = format!("Bearer a{}", state.renewals);
            let n = state.renewals;
            return answer(
                200,
                json!({ "access_token": format!("a{n}"), "refresh_token": format!("r{n}"), "expires_in": 7200 }),
            );
        }
        let shown = call.headers.iter().find(|(name, _)| *name == "authorization").map(|(_, v)| v.clone());
        let shown = shown.unwrap_or_default();
        state.seen.push(shown.clone());
        if shown != state.good {
            return answer(401, json!({ "title": "Unauthorized" }));
        }
        answer(201, json!({ "data": { "dm_event_id": "1" } }))
    }
}

fn answer(status: u16, body: serde_json::Value) -> Answer {
    Ok(Response { status, headers: HeaderMap::new(), body: Bytes::from(body.to_string()) })
}

fn account(log: &MemoryLog, provider: &Provider, a_day: u64) -> Account<Provider> {
    let secret = |text: &str| Value::Secrets(vec![Secret::new(text)]);
    let settings = Settings::new("handle", None)
        .with("user_id", Value::Text("1".into()))
        .with("consumer_secret", secret("s"))
        .with("client_id", Value::Text("client".into()))
        .with("refresh_token", secret("first"))
        .with("limits.dm_24h", Value::Count(a_day));
    let adapter = switchboard_twitter::build(&settings).expect("good settings");
    Account::new("handle", adapter, provider.clone(), Arc::new(log.clone()))
}

fn send() -> Call {
    let body = CallBody::Bytes("application/json", Bytes::from_static(b"{\"text\":\"hi\"}"));
    let url = "https://api.x.com/2/dm_conversations/with/2/messages".to_owned();
    Call { method: Method::POST, url, headers: vec![], body, timeout: Duration::from_secs(1) }
}

fn status(answer: &Answer) -> u16 {
    answer.as_ref().map_or(0, |response| response.status)
}

#[tokio::test]
async fn a_token_is_renewed_once_for_all_who_wait_and_found_after_a_restart() {
    let (log, provider) = (MemoryLog::new(&MemoryOptions::default()), Provider::default());
    let first = account(&log, &provider, 100);
    let (a, b, c) = tokio::join!(first.call(send()), first.call(send()), first.call(send()));
    assert_eq!([status(&a), status(&b), status(&c)], [201; 3]);
    assert_eq!(provider.0.lock().unwrap().renewals, 1);
    let kept = log.get_cursor("token.handle").await.unwrap().unwrap();
    assert!(!kept.contains("access") && !kept.contains('{'), "{kept}");
    let after = account(&log, &provider, 100);
    assert_eq!(status(&after.call(send()).await), 201);
    assert_eq!(provider.0.lock().unwrap().renewals, 1, "what was renewed was kept");
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_and_the_call_made_again_once() {
    let (log, provider) = (MemoryLog::new(&MemoryOptions::default()), Provider::default());
    let ours = account(&log, &provider, 100);
    assert_eq!(status(&ours.call(send()).await), 201);
    provider.0.lock().unwrap().good = "Bearer of somebody else".into();
    assert_eq!(status(&ours.call(send()).await), 201);
    assert_eq!(provider.0.lock().unwrap().seen, ["Bearer a1", "Bearer a1", "Bearer a2"]);
    provider.0.lock().unwrap().refuses_renewals = true;
    provider.0.lock().unwrap().good = "Bearer of somebody else".into();
    let refused = ours.call(send()).await;
    assert_eq!(status(&refused), 401);
    assert!(String::from_utf8_lossy(&refused.unwrap().body).contains("refresh token"), "the operator learns why");
    assert_eq!(provider.0.lock().unwrap().seen.len(), 4);
}

#[tokio::test]
async fn what_another_process_renewed_is_used() {
    let (log, provider) = (MemoryLog::new(&MemoryOptions::default()), Provider::default());
    let (ours, theirs) = (account(&log, &provider, 100), account(&log, &provider, 100));
    assert_eq!(status(&ours.call(send()).await), 201);
    assert_eq!(status(&theirs.call(send()).await), 201);
    provider.0.lock().unwrap().good = "Bearer of somebody else".into();
    assert_eq!(status(&theirs.call(send()).await), 201);
    assert_eq!(status(&ours.call(send()).await), 201);
    assert_eq!(provider.0.lock().unwrap().renewals, 2, "the second of them found the token that the first renewed");
}

#[tokio::test]
async fn the_days_budget_is_kept_across_restarts() {
    let (log, provider) = (MemoryLog::new(&MemoryOptions::default()), Provider::default());
    let first = account(&log, &provider, 3);
    assert_eq!([status(&first.call(send()).await), status(&first.call(send()).await)], [201; 2]);
    let after = account(&log, &provider, 3);
    assert_eq!(status(&after.call(send()).await), 201);
    assert_eq!(status(&after.call(send()).await), 429, "answered here");
    assert_eq!(status(&account(&log, &provider, 3).call(send()).await), 429);
    assert_eq!(provider.0.lock().unwrap().seen.len(), 3, "the provider was not asked");
}
