//! Sending direct messages and public replies (<https://docs.x.com/x-api/direct-messages/manage/introduction>,
//! <https://docs.x.com/x-api/posts/creation-of-a-post>), and what became of it.

use crate::channel::{MAX_DIRECT, Public, Twitter};
use crate::json::{id, is_number, text};
use crate::upload;
use crate::words::weight;
use serde_json::{Value, json};
use switchboard_adapter_sdk::{
    Adapter as _, Answer, AttemptOutcome, Call, Response,
    classify::{self, Class, Row},
    redact,
};
use switchboard_envelope::{Choice, Content, Fault, Outcome, Send, Timestamp, numbered};

mod codes;

/// Marks what is answered in X's place: a limit is used up, so the call stayed here.
pub(crate) const HELD: &str = "urn:switchboard:held";
/// Marks what is answered in X's place: there is no token to call with.
pub(crate) const RENEWAL: &str = "urn:switchboard:renewal";
/// The longest payload of a quick reply.
const MAX_PAYLOAD: usize = 1000;
/// The longest wait that X can ask for.
const LONGEST_WAIT_MS: i64 = 25 * 3_600_000;

pub(crate) fn is_public(thread: &str) -> bool {
    thread.starts_with("post:")
}

/// The thread of somebody in a group chat.
pub(crate) fn group_thread(group: &str, person: &str) -> String {
    format!("group:{group}:{person}")
}

/// The group chat of a thread.
pub(crate) fn group(thread: &str) -> Option<&str> {
    thread.strip_prefix("group:")?.rsplit_once(':').map(|(group, _)| group)
}

/// The words of a message as they leave.
pub(crate) fn words(twitter: &Twitter, thread: &str, content: &Content) -> String {
    if !is_public(thread) && group(thread).is_none() {
        return content.text.clone();
    }
    // There are no buttons before several people. Where the channel has none at all, the core has written the choices into the text.
    let said = match twitter.profile().shows(&content.choices) {
        true => numbered(&content.text, &content.choices),
        false => content.text.clone(),
    };
    if !is_public(thread) || twitter.public != Public::Invite {
        return said;
    }
    let link = format!("https://x.com/messages/compose?recipient_id={}", twitter.user_id);
    format!("{said}\n\n{} {link}", twitter.invitation).trim().to_owned()
}

/// Whether X takes this at all, as far as it can be known here.
pub(crate) fn fits(twitter: &Twitter, thread: &str, content: &Content) -> Result<(), String> {
    if content.text.trim().is_empty() && content.attachments.is_empty() {
        return Err("there is nothing in it to send".into());
    }
    upload::fits(thread, content)?;
    if group(thread).is_some_and(|group| !is_number(group)) {
        return Err("it is an encrypted group, which can only be answered in the X app".into());
    }
    if !is_public(thread) {
        let length = words(twitter, thread, content).chars().count();
        let fits = length <= MAX_DIRECT as usize;
        return if fits { Ok(()) } else { Err(format!("the text has {length} characters, and X takes {MAX_DIRECT}")) };
    }
    if matches!(twitter.public, Public::Read | Public::Ignore) {
        return Err("it was said in public, and nothing of ours is: the channel's `public` says so".into());
    }
    let (length, most) = (weight(&words(twitter, thread, content)), twitter.public_length);
    let what = if twitter.public == Public::Invite { "answer with its invitation" } else { "answer" };
    if length <= most { Ok(()) } else { Err(format!("the {what} weighs {length}, and X takes {most} in public")) }
}

pub(crate) fn encode(twitter: &Twitter, send: &Send) -> Result<Call, AttemptOutcome> {
    let refused = |why: &str| Class::PermanentMessage.attempt(None, why);
    fits(twitter, &send.thread, &send.content).map_err(|why| refused(&why))?;
    let said = words(twitter, &send.thread, &send.content);
    let files = upload::ids(&send.content)?;
    if is_public(&send.thread) {
        let post = send.reply_to.iter().rev().find(|post| is_number(post));
        let post = post.ok_or_else(|| refused("there is no post that it could answer"))?;
        let mut body = json!({ "text": said, "reply": { "in_reply_to_tweet_id": post } });
        if !files.is_empty() {
            put(&mut body, "media", json!({ "media_ids": files }));
        }
        return Ok(twitter.post("/2/tweets", &body));
    }
    // It becomes part of an address.
    if !is_number(&send.to.value) {
        return Err(Class::PermanentRecipient.attempt(None, "this is no account's number on X"));
    }
    let choices = &send.content.choices;
    if let Some(group) = group(&send.thread) {
        return Ok(twitter.post(&format!("/2/dm_conversations/{group}/messages"), &message(&said, &files)));
    }
    if choices.is_empty() || !twitter.quick_replies || !twitter.profile().shows(choices) {
        let path = format!("/2/dm_conversations/with/{}/messages", send.to.value);
        return Ok(twitter.post(&path, &message(&said, &files)));
    }
    if choices.iter().any(|choice| choice.id.len() > MAX_PAYLOAD) {
        return Err(refused("the id of a choice is longer than X carries"));
    }
    let option = |choice: &Choice| json!({ "label": choice.shown(), "metadata": choice.id });
    let options: Vec<Value> = choices.iter().map(option).collect();
    let mut data = json!({ "text": said, "quick_reply": { "type": "options", "options": options } });
    if let [file] = files[..] {
        put(&mut data, "attachment", json!({ "type": "media", "media": { "id": file } }));
    }
    let message = json!({ "target": { "recipient_id": send.to.value }, "message_data": data });
    let event = json!({ "event": { "type": "message_create", "message_create": message } });
    Ok(twitter.post("/1.1/direct_messages/events/new.json", &event))
}

/// One more field of an object.
fn put(object: &mut Value, field: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
}

/// A direct message: words, a file, or both.
fn message(said: &str, files: &[&str]) -> Value {
    let mut body = serde_json::Map::new();
    if !said.trim().is_empty() {
        body.insert("text".into(), json!(said));
    }
    if !files.is_empty() {
        let attachments: Vec<Value> = files.iter().map(|id| json!({ "media_id": id })).collect();
        body.insert("attachments".into(), json!(attachments));
    }
    Value::Object(body)
}

/// The outcome of a send.
pub(crate) fn classify(send: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
    let response = match answer {
        Ok(response) => response,
        Err(error) => return classify::unanswered(error),
    };
    let body = serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
    if (200..300).contains(&response.status) {
        let taken = ["/data/dm_event_id", "/data/id", "/event/id"].iter().find_map(|pointer| id(&body, pointer));
        return match taken {
            Some(id) => AttemptOutcome { provider_ids: vec![id], ..AttemptOutcome::new(Class::Ok.outcome()) },
            None => Class::Ambiguous.attempt(None, format!("X answered {} without an id", response.status)),
        };
    }
    let mut outcome = refused(send, response, &body);
    if outcome.outcome == Outcome::NotSent && !outcome.channel_refused {
        outcome.retry_after_ms = reset_ms(response, now).max(response.retry_after_ms(now));
    }
    outcome
}

fn refused(send: &Send, response: &Response, body: &Value) -> AttemptOutcome {
    let status = response.status;
    let shown = status.to_string();
    let detail = ["/detail", "/errors/0/message", "/errors/0/detail", "/error"].iter().find_map(|at| text(body, at));
    let kind = text(body, "/type").unwrap_or_default();
    if kind == HELD {
        let held = Class::RateLimit.attempt(Some(&shown), detail.unwrap_or_default());
        // X was not asked, and its other limits may have room: it is no failure of the channel.
        return AttemptOutcome { fault: Some(Fault::Recipient), ..held };
    }
    if kind == RENEWAL {
        return renewal(detail.unwrap_or_default());
    }
    let code = body.pointer("/errors/0/code").or_else(|| body.get("code")).and_then(Value::as_i64);
    let row = code
        .and_then(|code| classify::find(codes::CODES, &code.to_string()))
        .or_else(|| problem(body, kind))
        .or_else(|| phrase(status, detail.unwrap_or_default()));
    if let Some(row) = row {
        let code = code.map_or_else(|| shown.clone(), |code| code.to_string());
        let repeated = send.n > 1 && row.sentence == codes::DUPLICATE;
        return row.class.attempt(Some(&code), if repeated { codes::REPEATED } else { row.sentence });
    }
    let class = of_status(status, body, is_public(&send.thread));
    let sentence = match class {
        Class::RateLimit => "too many calls to X; nothing was sent".to_owned(),
        Class::Retry => "X has a passing fault; nothing was sent".to_owned(),
        Class::Ambiguous => format!("X answered {status}"),
        Class::Config => format!("X answered {status}: check the tokens, the app's permissions and base_url"),
        _ => {
            let said: String = detail.unwrap_or("no reason").chars().filter(|c| !c.is_control()).take(200).collect();
            format!("X refused it: {}", redact::text(&said, &[]))
        }
    };
    class.attempt(Some(&shown), sentence)
}

/// There is no token to call with.
pub(crate) fn renewal(why: &str) -> AttemptOutcome {
    let write = "authorize the app again, and write the new refresh_token";
    Class::Config.attempt(Some("refresh_token"), format!("{why}: {write}"))
}

/// The last part of a problem's type, or its title without blanks, names what is wrong.
fn problem(body: &Value, kind: &str) -> Option<&'static Row> {
    let name = kind.rsplit_once("/problems/").map(|(_, name)| name.to_owned());
    let title = || text(body, "/title").map(|title| title.replace(' ', "").to_ascii_lowercase());
    let of_name = name.and_then(|name| classify::find(codes::PROBLEMS, &name));
    of_name.or_else(|| classify::find(codes::PROBLEMS, &title()?))
}

/// X says why it refuses in words: 400 and 403 are many things.
fn phrase(status: u16, detail: &str) -> Option<&'static Row> {
    let said: String = detail.chars().take(1000).collect::<String>().to_lowercase();
    let fits = matches!(status, 400 | 403 | 404) && !said.is_empty();
    codes::PHRASES.iter().find(|row| fits && said.contains(row.code))
}

fn of_status(status: u16, body: &Value, public: bool) -> Class {
    let is_told = body.get("title").is_some() || body.get("detail").is_some() || body.get("errors").is_some();
    match status {
        429 => Class::RateLimit,
        401 | 402 => Class::Config,
        // Who answers without X's words is a proxy, or guards against machines.
        403 | 404 if !is_told => Class::Config,
        403 | 404 if public => Class::PermanentMessage,
        403 | 404 => Class::PermanentRecipient,
        301..=308 | 405 | 410 => Class::Config,
        400..=499 if is_told => Class::PermanentMessage,
        // Documented; every other one of its kind may have come after the message was taken.
        503 if is_told => Class::Retry,
        _ => Class::Ambiguous,
    }
}

/// How long X says that a limit which is used up lasts.
pub(crate) fn reset_ms(response: &Response, now: Timestamp) -> Option<u64> {
    let number = |name: String| response.headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let left = |name: &str| number(format!("{name}-remaining"));
    let ends = |name: &str| Some(number(format!("{name}-reset"))?.checked_mul(1000)?.saturating_sub(now.0));
    let window = ends("x-rate-limit").filter(|_| response.status == 429 || left("x-rate-limit") == Some(0));
    let days = ["x-user-limit-24hour", "x-app-limit-24hour"].map(|name| ends(name).filter(|_| left(name) == Some(0)));
    let longest = window.into_iter().chain(days.into_iter().flatten()).max()?;
    u64::try_from(longest.clamp(0, LONGEST_WAIT_MS)).ok()
}
