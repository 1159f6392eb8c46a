//! An account over the log in memory and a provider that hands out tokens.

use super::*;
use crate::log::memory::{MemoryLog, MemoryOptions, Room};
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
    /// Renewals are answered once this is open, if there is one.
    gate: Option<Arc<tokio::sync::Semaphore>>,
    /// What another process does as soon as a renewal is refused.
    on_refusal: Option<Box<dyn FnOnce() + Send>>,
    renewals: u32,
    good: String,
    seen: Vec<String>,
    refuses_renewals: bool,
}

#[async_trait]
impl Caller for Provider {
    async fn call(&self, call: Call) -> Answer {
        let renews = call.url.ends_with("/2/oauth2/token");
        let gate = self.0.lock().expect("no test fails within it").gate.clone().filter(|_| renews);
        if let Some(gate) = gate {
            self.0.lock().expect("no test fails within it").seen.push("renewal".into());
            gate.acquire().await.expect("it is not closed").forget();
        }
        let mut state = self.0.lock().expect("no test fails within it");
        let body = match &call.body {
            CallBody::Bytes(_, bytes) => String::from_utf8_lossy(bytes).into_owned(),
            CallBody::Empty => String::new(),
        };
        if renews {
            let wanted = if state.renewals == 0 { "first".to_owned() } else { format!("r{}", state.renewals) };
            if state.refuses_renewals || !body.contains(&format!("refresh_token={wanted}")) {
                if let Some(act) = state.on_refusal.take() {
                    act();
                }
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
    account_in(log, provider, a_day, &Unfinished::default())
}

fn account_in(log: &MemoryLog, provider: &Provider, a_day: u64, unfinished: &Unfinished) -> Account<Provider> {
    Account::new("handle", adapter(a_day), provider.clone(), Arc::new(log.clone()), unfinished)
}

fn adapter(a_day: u64) -> Arc<dyn Adapter> {
    let secret = |text: &str| Value::Secrets(vec![Secret::new(text)]);
    let settings = Settings::new("handle", None)
        .with("user_id", Value::Text("1".into()))
        .with("consumer_secret", secret("s"))
        .with("client_id", Value::Text("client".into()))
        .with("refresh_token", secret("first"))
        .with("limits.dm_24h", Value::Count(a_day));
    (switchboard_twitter::KIND.build)(&settings).expect("good settings")
}

/// A token that another process renewed, as the log would have it, which lasts so much longer.
fn renewed(n: u32, lasts_ms: i64) -> String {
    let body = json!({ "access_token": format!("a{n}"), "refresh_token": format!("r{n}"), "expires_in": 7200 });
    let at = clock::now().plus(lasts_ms - 7_200_000);
    let token = adapter(100).memory().expect("it remembers").renewed(&Kept::default(), &answer(200, body), at);
    token.expect("a token")
}

fn shared_log() -> MemoryLog {
    MemoryLog::new(&MemoryOptions { exclusive: false, ..MemoryOptions::default() })
}

fn detail(answer: &Answer) -> String {
    answer.as_ref().map_or_else(ToString::to_string, |r| String::from_utf8_lossy(&r.body).into_owned())
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

#[tokio::test(start_paused = true)]
async fn a_new_token_is_used_once_it_is_stored_however_often_that_is_tried() {
    let (log, provider) = (MemoryLog::new(&MemoryOptions::default()), Provider::default());
    log.set_room(Room::None);
    let (seen, fuller) = (provider.clone(), log.clone());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        let state = seen.0.lock().unwrap();
        assert_eq!((state.renewals, state.seen.len()), (1, 0), "it is had, and not used");
        fuller.set_room(Room::Enough);
    });
    let began = tokio::time::Instant::now();
    assert_eq!(status(&account(&log, &provider, 100).call(send()).await), 201);
    assert!((30..35).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(status(&account(&log, &provider, 100).call(send()).await), 201);
    assert_eq!(provider.0.lock().unwrap().renewals, 1, "it is found after a restart");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_goes_on_when_nobody_waits_for_it_any_more() {
    let (log, provider, unfinished) = (shared_log(), Provider::default(), Unfinished::default());
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    provider.0.lock().unwrap().gate = Some(gate.clone());
    let ours = Arc::new(account_in(&log, &provider, 100, &unfinished));
    let caller = ours.clone();
    let waits = tokio::spawn(async move { caller.call(send()).await });
    while provider.0.lock().unwrap().seen.is_empty() {
        tokio::task::yield_now().await;
    }
    // The daemon stops: whoever waits for the call is dropped. The provider has answered already.
    waits.abort();
    assert!(waits.await.is_err() && unfinished.is_any());
    gate.add_permits(1);
    unfinished.end().await;
    assert!(log.get_cursor("token.handle").await.unwrap().is_some(), "the successor of the used token is stored");
    provider.0.lock().unwrap().gate = None;
    assert_eq!(status(&account(&log, &provider, 100).call(send()).await), 201);
    assert_eq!(provider.0.lock().unwrap().renewals, 1);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_nobody_waits_for_does_not_begin() {
    let (log, provider, unfinished) = (shared_log(), Provider::default(), Unfinished::default());
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    {
        let mut state = provider.0.lock().unwrap();
        (state.gate, state.refuses_renewals) = (Some(gate.clone()), true);
    }
    let ours = Arc::new(account_in(&log, &provider, 100, &unfinished));
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let ours = ours.clone();
            tokio::spawn(async move { ours.call(send()).await })
        })
        .collect();
    while provider.0.lock().unwrap().seen.is_empty() {
        tokio::task::yield_now().await;
    }
    for call in calls {
        call.abort();
        let _ = call.await;
    }
    gate.add_permits(3);
    unfinished.end().await;
    assert_eq!(provider.0.lock().unwrap().seen, ["renewal"], "those behind it have nothing to ask for");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_log_refuses_is_used_stored_later_and_never_gives_way_to_an_older_one() {
    let (log, provider, unfinished) = (shared_log(), Provider::default(), Unfinished::default());
    let ours = account_in(&log, &provider, 100, &unfinished);
    assert_eq!(status(&ours.call(send()).await), 201);
    let first = log.get_cursor("token.handle").await.unwrap();
    log.set_room(Room::None);
    for renewals in 2..=3 {
        // Two hours on; what the log holds has been used up.
        provider.0.lock().unwrap().good = "Bearer of somebody else".into();
        assert_eq!(status(&ours.call(send()).await), 201);
        assert_eq!(provider.0.lock().unwrap().renewals, renewals);
        assert_eq!(log.get_cursor("token.handle").await.unwrap(), first);
    }
    assert!(unfinished.is_any(), "the end of the process would wait");
    log.set_room(Room::Enough);
    unfinished.end().await;
    assert_eq!(status(&account(&log, &provider, 100).call(send()).await), 201);
    assert_eq!(provider.0.lock().unwrap().renewals, 3, "the newest one was stored");
}

#[tokio::test(start_paused = true)]
async fn a_call_does_not_leave_after_its_time_whatever_it_waited_for() {
    let (log, provider) = (shared_log(), Provider::default());
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    provider.0.lock().unwrap().gate = Some(gate.clone());
    let ours = Arc::new(account(&log, &provider, 3));
    let late = ours.call_until(send(), clock::now().plus(50)).await;
    assert!(matches!(&late, Err(CallError::NotSent(why)) if why.contains("in time")), "{late:?}");
    gate.add_permits(9);
    let late = ours.call_until(send(), clock::now().plus(-1)).await;
    assert!(matches!(&late, Err(CallError::NotSent(_))), "{late:?}");
    while status(&ours.call(send()).await) != 201 {}
    let late = ours.call_until(send(), clock::now().plus(-1)).await;
    assert!(matches!(&late, Err(CallError::NotSent(why)) if why.contains("too late")), "{late:?}");
    assert_eq!(provider.0.lock().unwrap().seen.iter().filter(|s| *s != "renewal").count(), 1, "only one of them left");
    // What stayed was not counted.
    assert_eq!([status(&ours.call(send()).await), status(&ours.call(send()).await)], [201; 2]);
}

/// An answer must not wait for a renewal: past its attempt's end it would be unknown.
#[tokio::test(start_paused = true)]
async fn an_answer_is_told_while_the_token_is_renewed() {
    let (log, provider) = (shared_log(), Provider::default());
    let ours = Arc::new(account(&log, &provider, 100));
    assert_eq!(status(&ours.call(send()).await), 201);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    {
        let mut state = provider.0.lock().unwrap();
        (state.gate, state.good) = (Some(gate.clone()), "Bearer of somebody else".into());
    }
    let renews = ours.clone();
    let waits = tokio::spawn(async move { renews.call(send()).await });
    while !provider.0.lock().unwrap().seen.contains(&"renewal".to_owned()) {
        tokio::task::yield_now().await;
    }
    let (memory, call, answered) = (adapter(100), send(), answer(201, json!({})));
    let learned = ours.0.learn(memory.memory().expect("it remembers"), &call, &answered, None);
    assert!(tokio::time::timeout(Duration::from_secs(1), learned).await.is_ok());
    gate.add_permits(1);
    assert_eq!(status(&waits.await.unwrap()), 201);
}

#[tokio::test(start_paused = true)]
async fn while_another_process_renews_a_token_that_is_still_good_is_used() {
    let (log, provider) = (shared_log(), Provider::default());
    log.put_cursor("token.handle", &renewed(1, 60_000)).await.unwrap();
    log.set_duty("token.handle", true);
    {
        let mut state = provider.0.lock().unwrap();
        (state.good, state.renewals) = ("Bearer a1".into(), 1);
    }
    let ours = account(&log, &provider, 100);
    assert_eq!(status(&ours.call(send()).await), 201);
    assert_eq!(provider.0.lock().unwrap().renewals, 1);
    // One that is over waits for the other for a while.
    log.put_cursor("token.handle", &renewed(1, -1)).await.unwrap();
    let theirs = account(&log, &provider, 100);
    let held = theirs.call(send()).await;
    assert!(detail(&held).contains("another process renews"), "{held:?}");
    let (later, stores) = (log.clone(), renewed(2, 7_200_000));
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        later.put_cursor("token.handle", &stores).await.unwrap();
    });
    provider.0.lock().unwrap().good = "Bearer a2".into();
    assert_eq!(status(&theirs.call(send()).await), 201);
    assert_eq!(provider.0.lock().unwrap().renewals, 1, "it was not renewed here");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_believed_once_no_other_process_has_stored_a_token() {
    let (log, provider) = (shared_log(), Provider::default());
    let ours = account(&log, &provider, 100);
    // Another process used the refresh token, and was cut off from the log before it could store what it got.
    let (later, stores) = (log.clone(), renewed(1, 7_200_000));
    {
        let mut state = provider.0.lock().unwrap();
        (state.renewals, state.good) = (1, "Bearer a1".into());
        state.on_refusal = Some(Box::new(move || {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(5)).await;
                later.put_cursor("token.handle", &stores).await.unwrap();
            });
        }));
    }
    assert_eq!(status(&ours.call(send()).await), 201);
    assert_eq!(provider.0.lock().unwrap().renewals, 1);
}
