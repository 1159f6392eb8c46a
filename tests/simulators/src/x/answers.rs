//! What X answers.

use super::{Shared, Signed, State, XFile, XSent, XStep, media, next_id, now_ms};
use crate::{
    http::{Answer, Request},
    lock,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A small picture, as a customer sends it.
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";
const WINDOW_MS: i64 = 15 * 60_000;

pub(super) fn problem(status: u16, title: &str, detail: &str) -> Answer {
    let body = json!({ "title": title, "detail": detail, "type": "about:blank", "status": status });
    Answer::new(status, "application/problem+json", body.to_string())
}

fn unauthorized(shared: &Shared, why: &str) -> Answer {
    if !why.is_empty() {
        lock(&shared.state).violations.push(format!("not authorized: {why}"));
    }
    problem(401, "Unauthorized", "Unauthorized")
}

fn limited(reset: Option<i64>) -> Answer {
    let answer = problem(429, "Too Many Requests", "Too Many Requests");
    let Some(reset) = reset else { return answer };
    answer
        .with("x-rate-limit-limit", "15")
        .with("x-rate-limit-remaining", "0")
        .with("x-rate-limit-reset", reset.to_string())
}

/// A message as the lists show it.
pub(super) fn listed(id: &str, from: &str, to: &str, text: &str, at: i64) -> Value {
    let at = jiff::Timestamp::from_millisecond(at).unwrap_or_default();
    json!({ "id": id, "event_type": "MessageCreate", "text": text, "sender_id": from, "created_at": at.to_string(),
        "dm_conversation_id": format!("{from}-{to}") })
}

pub(super) fn answer(shared: &Shared, request: &Request, signed: &Signed, step: Option<XStep>) -> Answer {
    match step {
        Some(XStep::Answer(status, headers, body)) => {
            let answer = Answer::new(status, "application/json", body);
            return headers.into_iter().fold(answer, |answer, (name, value)| answer.with(&name, value));
        }
        Some(XStep::Problem(status, detail)) => return problem(status, "Forbidden", &detail),
        Some(XStep::Code(status, code)) => {
            return Answer::json(status, &json!({ "errors": [{ "code": code, "message": "as the test says" }] }));
        }
        Some(XStep::Limited(seconds)) => return limited(seconds.map(|s| now_ms() / 1000 + s)),
        _ => {}
    }
    let path = request.path.as_str();
    match (request.method.as_str(), path) {
        ("POST", "/2/oauth2/token") => renewed(shared, request),
        ("POST", "/2/webhooks/replay") => replay(shared, request, signed),
        _ => {
            if let Some(refused) = of_account(shared, signed) {
                return refused;
            }
            of_user(shared, request)
        }
    }
}

/// What an account may ask for.
fn of_user(shared: &Shared, request: &Request) -> Answer {
    if let Some(answer) = media::answer(shared, request) {
        return answer;
    }
    let path = request.path.as_str();
    let with = path.strip_prefix("/2/dm_conversations/with/");
    let group = path.strip_prefix("/2/dm_conversations/").filter(|_| with.is_none());
    match request.method.as_str() {
        "GET" if path.starts_with("/1.1/ton/data/dm/") => {
            lock(&shared.state).fetched += 1;
            Answer::new(200, "image/png", PICTURE)
        }
        "GET" if path == "/2/dm_events" => {
            lock(&shared.state).polls += 1;
            events(shared, request, None)
        }
        "GET" if path == format!("/2/users/{}/tweets", shared.config.user_id) => posts(shared),
        "GET" => match with.or(group).and_then(|rest| rest.strip_suffix("/dm_events")) {
            Some(person) => events(shared, request, Some(person)),
            None => nowhere(shared, request),
        },
        "POST" if path == "/2/tweets" => post(shared, request),
        "POST" if path == "/1.1/direct_messages/events/new.json" => older(shared, request),
        "POST" => match with.or(group).and_then(|rest| rest.strip_suffix("/messages")) {
            Some(person) => direct(shared, request, person),
            None => nowhere(shared, request),
        },
        _ => nowhere(shared, request),
    }
}

fn nowhere(shared: &Shared, request: &Request) -> Answer {
    lock(&shared.state).violations.push(format!("{} {}: no such resource", request.method, request.path));
    problem(404, "Not Found Error", "no such resource")
}

/// Who calls must have the account's keys, or the user token of the moment.
fn of_account(shared: &Shared, signed: &Signed) -> Option<Answer> {
    match signed {
        Signed::Account(nonce) => {
            if lock(&shared.state).nonces.insert(nonce.clone()) {
                return None;
            }
            Some(unauthorized(shared, "a nonce that was used before"))
        }
        // A token can be old without anybody's fault.
        Signed::Bearer(token) => {
            let good = lock(&shared.state).user_token.as_ref() == Some(token);
            (!good).then(|| unauthorized(shared, ""))
        }
        Signed::Wrong(why) => Some(unauthorized(shared, why)),
        Signed::Basic | Signed::Nothing => Some(unauthorized(shared, "no proof of the account")),
    }
}

fn renewed(shared: &Shared, request: &Request) -> Answer {
    let form: BTreeMap<String, String> = form_urlencoded::parse(&request.body).into_owned().collect();
    let mut state = lock(&shared.state);
    let wanted = state.refresh_token.clone().unwrap_or_else(|| shared.config.refresh_token.clone());
    let is_form = request.header("content-type") == Some("application/x-www-form-urlencoded");
    let of = |name: &str| form.get(name).map(String::as_str);
    if !is_form
        || of("grant_type") != Some("refresh_token")
        || of("client_id") != Some(shared.config.client_id.as_str())
    {
        state.violations.push(format!("a renewal that is none: {form:?}"));
    }
    if of("refresh_token") != Some(wanted.as_str()) {
        let body =
            json!({ "error": "invalid_request", "error_description": "Value passed for the token was invalid." });
        return Answer::json(400, &body);
    }
    state.renewals += 1;
    let n = state.renewals;
    let (access, refresh) = (format!("user-token-{n}"), format!("refresh-token-{n}"));
    (state.user_token, state.refresh_token) = (Some(access.clone()), Some(refresh.clone()));
    let scope = "dm.write dm.read tweet.read tweet.write users.read offline.access";
    let body = json!({ "token_type": "bearer", "expires_in": 7200, "access_token": access, "refresh_token": refresh, "scope": scope });
    Answer::json(200, &body)
}

fn replay(shared: &Shared, request: &Request, signed: &Signed) -> Answer {
    let is_app = matches!(signed, Signed::Bearer(token) if *token == shared.config.bearer_token);
    if !is_app {
        return unauthorized(shared, "a replay is asked for with the app's own token");
    }
    if lock(&shared.state).withholds_replays {
        let detail = "Your current plan does not include replays.";
        return Answer::json(403, &json!({ "title": "Forbidden", "detail": detail, "status": 403 }));
    }
    let body = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    let minute =
        |name: &str| body[name].as_str().is_some_and(|t| t.len() == 12 && t.bytes().all(|b| b.is_ascii_digit()));
    let mut state = lock(&shared.state);
    if body["webhook_id"] != shared.config.webhook_id.as_str() || !minute("from_date") || !minute("to_date") {
        state.violations.push(format!("a replay of nothing: {body}"));
    }
    state.replays.push(body);
    Answer::json(200, &json!({ "job_id": "1915510368169844736", "created_at": "2025-04-24T20:57:15.242Z" }))
}

/// The list of direct messages, newest first.
fn events(shared: &Shared, request: &Request, person: Option<&str>) -> Answer {
    let query: BTreeMap<String, String> = form_urlencoded::parse(request.query.as_bytes()).into_owned().collect();
    let known = [
        "event_types",
        "max_results",
        "dm_event.fields",
        "expansions",
        "media.fields",
        "user.fields",
        "pagination_token",
    ];
    let mut state = lock(&shared.state);
    if let Some(other) = query.keys().find(|key| !known.contains(&key.as_str())) {
        let why = format!("unknown parameter `{other}`");
        state.violations.push(why);
    }
    let us = &shared.config.user_id;
    let sent = state.sent.iter().filter(|s| !s.public).map(|s| {
        let link = if s.files.is_empty() { "" } else { " https://t.co/a1B2c3D4e5" };
        listed(&s.id, us, &s.to, &format!("{}{link}", s.text), s.at)
    });
    let mut all: Vec<Value> = state.heard.iter().cloned().chain(sent).collect();
    all.retain(|e| {
        person.is_none_or(|p| e["dm_conversation_id"].as_str().is_some_and(|id| id.split('-').any(|x| x == p)))
    });
    all.sort_by_key(|e| std::cmp::Reverse(e["id"].as_str().and_then(|id| id.parse::<u64>().ok())));
    let users = json!([{ "id": super::ANN, "name": "Ann", "username": "ann" }]);
    // Two a page, so that pages are turned.
    let from = query.get("pagination_token").and_then(|t| t.strip_prefix("page-")?.parse().ok()).unwrap_or(0_usize);
    let rest: Vec<Value> = all.into_iter().skip(from).collect();
    let mut meta = json!({ "result_count": rest.len().min(2) });
    if rest.len() > 2 {
        meta["next_token"] = json!(format!("page-{}", from + 2));
    }
    let page: Vec<Value> = rest.into_iter().take(2).collect();
    let mut body = json!({ "meta": meta, "includes": { "users": users } });
    if !page.is_empty() {
        body["data"] = Value::Array(page);
    }
    Answer::json(200, &body)
}

fn posts(shared: &Shared) -> Answer {
    let state = lock(&shared.state);
    let post = |s: &XSent| {
        let at = jiff::Timestamp::from_millisecond(s.at).unwrap_or_default();
        json!({ "id": s.id, "text": format!("@ann {}", s.text), "created_at": at.to_string(),
            "in_reply_to_user_id": state.authors.get(&s.to) })
    };
    let all: Vec<Value> = state.sent.iter().rev().filter(|s| s.public).map(post).collect();
    Answer::json(200, &json!({ "data": all, "meta": { "result_count": all.len() } }))
}

/// The first key of an object that X does not know.
fn unknown(object: &Map<String, Value>, known: &[&str]) -> Option<String> {
    object.keys().find(|key| !known.contains(&key.as_str())).map(|key| format!("unknown field `{key}`"))
}

pub(super) fn body_of(state: &mut State, request: &Request, known: &[&str]) -> Result<Value, Answer> {
    let body = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    let is_json = request.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    let wrong = match body.as_object() {
        Some(object) if is_json => unknown(object, known),
        _ => Some("no JSON".to_owned()),
    };
    match wrong {
        Some(why) => {
            let answer = problem(400, "Invalid Request", &why);
            state.violations.push(why);
            Err(answer)
        }
        None => Ok(body),
    }
}

fn take(state: &mut State, to: &str, text: &str, files: Vec<XFile>, public: bool, body: Value) -> String {
    let id = next_id(state);
    let sent = XSent { id: id.clone(), to: to.to_owned(), text: text.to_owned(), public, files, body, at: now_ms() };
    state.sent.push(sent);
    id
}

/// What is left of the limit, which every answer tells; `None` when it is used up.
fn spend(shared: &Shared, state: &mut State) -> Result<(u64, i64), Answer> {
    let now = now_ms();
    let (end, used) = state.window.filter(|(end, _)| *end > now).unwrap_or((now + WINDOW_MS, 0));
    if used >= shared.config.direct_limit {
        return Err(limited(Some(end / 1000)));
    }
    state.window = Some((end, used + 1));
    Ok((shared.config.direct_limit - used - 1, end / 1000))
}

fn told(answer: Answer, (left, reset): (u64, i64)) -> Answer {
    answer.with("x-rate-limit-remaining", left.to_string()).with("x-rate-limit-reset", reset.to_string())
}

fn list(body: &Value, at: &str) -> Vec<Value> {
    body.pointer(at).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn direct(shared: &Shared, request: &Request, person: &str) -> Answer {
    let mut state = lock(&shared.state);
    let body = match body_of(&mut state, request, &["text", "attachments"]) {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let text = body["text"].as_str().unwrap_or_default().to_owned();
    let ids: Vec<Value> = list(&body, "/attachments").iter().map(|a| a["media_id"].clone()).collect();
    if (text.is_empty() && ids.is_empty())
        || ids.len() > 1
        || text.chars().count() > 10_000
        || person.is_empty()
        || !person.bytes().all(|b| b.is_ascii_digit())
    {
        state.violations.push(format!("a message of {} characters to `{person}`", text.chars().count()));
        return problem(400, "Invalid Request", "One or more parameters to your request was invalid.");
    }
    let left = match spend(shared, &mut state) {
        Ok(left) => left,
        Err(limited) => return limited,
    };
    let files = match media::shown(&mut state, &ids, "dm") {
        Ok(files) => files,
        Err(refused) => return refused,
    };
    let id = take(&mut state, person, &text, files, false, body);
    let us = &shared.config.user_id;
    let body = json!({ "data": { "dm_conversation_id": format!("{person}-{us}"), "dm_event_id": id } });
    told(Answer::json(201, &body), left)
}

fn older(shared: &Shared, request: &Request) -> Answer {
    let mut state = lock(&shared.state);
    let body = match body_of(&mut state, request, &["event"]) {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let message = &body["event"]["message_create"];
    let to = message["target"]["recipient_id"].as_str().unwrap_or_default().to_owned();
    let text = message["message_data"]["text"].as_str().unwrap_or_default().to_owned();
    let options = message.pointer("/message_data/quick_reply/options").and_then(Value::as_array);
    let long = |o: &Value| o["label"].as_str().is_none_or(|label| label.is_empty() || label.chars().count() > 36);
    if to.is_empty() || text.is_empty() || options.is_none_or(|all| all.len() > 20 || all.iter().any(long)) {
        state.violations.push(format!("an older message that X does not take: {body}"));
        return Answer::json(
            400,
            &json!({ "errors": [{ "code": 214, "message": "event.message_create is invalid" }] }),
        );
    }
    let file = message.pointer("/message_data/attachment/media/id").cloned();
    let files = match media::shown(&mut state, file.as_slice(), "dm") {
        Ok(files) => files,
        Err(refused) => return refused,
    };
    let id = take(&mut state, &to, &text, files, false, body);
    Answer::json(200, &json!({ "event": { "type": "message_create", "id": id } }))
}

fn post(shared: &Shared, request: &Request) -> Answer {
    let mut state = lock(&shared.state);
    let body = match body_of(&mut state, request, &["text", "reply", "media"]) {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let text = body["text"].as_str().unwrap_or_default().to_owned();
    let to = body["reply"]["in_reply_to_tweet_id"].as_str().unwrap_or_default().to_owned();
    // Every test writes Latin letters, and links as X counts them.
    let weight: usize =
        text.split_whitespace().map(|w| if w.starts_with("http") { 24 } else { w.chars().count() + 1 }).sum();
    let ids = list(&body, "/media/media_ids");
    if (text.is_empty() && ids.is_empty()) || ids.len() > 4 || weight > 281 {
        state.violations.push(format!("a post that weighs {weight}"));
        return problem(403, "Forbidden", "Your Tweet text is too long.");
    }
    if !state.authors.contains_key(&to) {
        let why = "Reply to this conversation is not allowed because you have not been mentioned or otherwise engaged by the author";
        return problem(403, "Forbidden", why);
    }
    if !text.is_empty() && state.sent.iter().any(|s| s.public && s.text == text) {
        return problem(403, "Forbidden", "You are not allowed to create a Tweet with duplicate content.");
    }
    let files = match media::shown(&mut state, &ids, "tweet") {
        Ok(files) => files,
        Err(refused) => return refused,
    };
    let id = take(&mut state, &to, &text, files, true, body);
    Answer::json(201, &json!({ "data": { "id": id, "text": text } }))
}
