//! Posting, what became of it, and looking for a post whose answer was lost.

use crate::{Slack, codes, is_id};
use bytes::Bytes;
use form_urlencoded::Serializer;
use http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use switchboard_adapter_sdk::{
    Answer, AttemptOutcome, Call, CallBody, Response,
    classify::{self, Class},
};
use switchboard_envelope::{Attachment, Outcome, Reconcile, Send, Timestamp};

/// Slack cuts what is longer.
const MOST_TEXT: usize = 40_000;
/// Under this type our id is in a post's metadata.
const EVENT: &str = "switchboard_notice";
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Slack's clock may be so far from ours.
const SLACK_MS: i64 = 60_000;
/// Posts that are looked through; more in these minutes leave it open.
const LOOKED_AT: &str = "200";

/// What somebody wrote, so that it is shown as it was written: `<!channel>` in a customer's text wakes nobody.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The person or group of Slack whom a notice is for.
fn mention(send: &Send) -> Option<String> {
    let to = send.to.value.as_str();
    match send.to.kind.as_str() {
        "slack" if is_id(to, "UW") => Some(format!("<@{to}> ")),
        "slack" if is_id(to, "S") => Some(format!("<!subteam^{to}> ")),
        _ => None,
    }
}

/// A line in which each file that the notice tells of can be opened.
fn links(send: &Send) -> String {
    // A name ends where Slack would take it for the end of the link.
    let one = |file: &Attachment| {
        let name = escaped(&file.name.replace(['|', '\n', '\r'], " "));
        Some(format!("<{}|{name}>", escaped(file.url.as_deref()?)))
    };
    let all: Vec<String> = send.content.attachments.iter().filter_map(one).collect();
    if all.is_empty() { String::new() } else { format!("\nOpen: {}", all.join(" · ")) }
}

pub(crate) fn encode(slack: &Slack, send: &Send) -> Result<Call, AttemptOutcome> {
    if send.content.text.trim().is_empty() {
        return Err(Class::PermanentMessage.attempt(None, "there is nothing to post"));
    }
    let (mention, said) = (mention(send).unwrap_or_default(), escaped(&send.content.text));
    let text = format!("{mention}{said}{}", links(send));
    let length = text.chars().count();
    if length > MOST_TEXT {
        let why = format!("the text has {length} characters, and Slack takes {MOST_TEXT}");
        return Err(Class::PermanentMessage.attempt(None, why));
    }
    let payload = json!({ "send": send.send, "part": send.part, "conversation": send.conversation });
    let body = json!({
        "channel": slack.channel,
        "text": text,
        "unfurl_links": false,
        "unfurl_media": false,
        "metadata": { "event_type": EVENT, "event_payload": payload },
    });
    Ok(Call {
        method: Method::POST,
        url: format!("{}/api/chat.postMessage", slack.base),
        headers: vec![("authorization", format!("Bearer {}", slack.token.expose()))],
        body: CallBody::Bytes("application/json; charset=utf-8", Bytes::from(body.to_string())),
        timeout: CALL_TIMEOUT,
    })
}

fn id_of(channel: &str, ts: &str) -> String {
    format!("{channel}.{ts}")
}

pub(crate) fn classify(answer: &Answer, now: Timestamp) -> AttemptOutcome {
    let response = match answer {
        Ok(response) => response,
        Err(error) => return classify::unanswered(error),
    };
    let body = serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
    let said = |key: &str| body.get(key).and_then(Value::as_str);
    match body.get("ok").and_then(Value::as_bool) {
        Some(true) if response.status == 200 => match (said("channel"), said("ts")) {
            (Some(channel), Some(ts)) => {
                let truncated = said("warning") == Some("message_truncated");
                AttemptOutcome {
                    provider_ids: vec![id_of(channel, ts)],
                    detail: truncated.then(|| "Slack cut the text".to_owned()),
                    ..AttemptOutcome::new(Outcome::Accepted)
                }
            }
            _ => Class::Ambiguous.attempt(None, "Slack answered 200 without the message's time"),
        },
        Some(false) if response.status < 500 => refused(said("error").unwrap_or_default(), response, now),
        _ => unexplained(response, now),
    }
}

fn refused(error: &str, response: &Response, now: Timestamp) -> AttemptOutcome {
    let code: String = error.chars().filter(char::is_ascii_graphic).take(60).collect();
    let (class, sentence) = match classify::find(codes::ERRORS, &code) {
        Some(row) => (row.class, row.sentence.to_owned()),
        None if response.status == 429 => (Class::RateLimit, "too many messages at once; nothing was posted".into()),
        // It names what is wrong with the request, which will not change by itself.
        None => (Class::PermanentMessage, format!("Slack refuses it: {code}")),
    };
    let mut outcome = class.attempt(Some(&code), sentence);
    if class == Class::RateLimit {
        outcome.retry_after_ms = response.retry_after_ms(now);
    }
    outcome
}

/// An answer without Slack's own word, which may be a proxy's.
fn unexplained(response: &Response, now: Timestamp) -> AttemptOutcome {
    let code = response.status.to_string();
    match response.status {
        429 => AttemptOutcome {
            retry_after_ms: response.retry_after_ms(now),
            ..Class::RateLimit.attempt(Some(&code), "too many messages at once; nothing was posted")
        },
        401 | 403 | 404 => Class::Config.attempt(Some(&code), "this is no answer of Slack's: check base_url and proxy"),
        _ => Class::Ambiguous.attempt(Some(&code), format!("Slack answered {code}, which may be after it posted")),
    }
}

fn seconds(at: Timestamp) -> String {
    format!("{}.{:03}000", at.0.div_euclid(1000), at.0.rem_euclid(1000))
}

/// The posts of the channel since the attempt was released, with their metadata.
pub(crate) fn asks(slack: &Slack, attempt: &Reconcile) -> Call {
    let oldest = seconds(attempt.released_at.plus(-SLACK_MS));
    let query = Serializer::new(String::new())
        .append_pair("channel", &slack.channel)
        .append_pair("oldest", &oldest)
        .append_pair("inclusive", "true")
        .append_pair("include_all_metadata", "true")
        .append_pair("limit", LOOKED_AT)
        .finish();
    Call {
        method: Method::GET,
        url: format!("{}/api/conversations.history?{query}", slack.base),
        headers: vec![("authorization", format!("Bearer {}", slack.token.expose()))],
        body: CallBody::Empty,
        timeout: CALL_TIMEOUT,
    }
}

/// The post, if it is there; that it is not there proves nothing.
pub(crate) fn found(slack: &Slack, attempt: &Reconcile, answer: &Answer) -> Option<AttemptOutcome> {
    let body: Value = serde_json::from_slice(&answer.as_ref().ok()?.body).ok()?;
    let ours = |m: &&Value| {
        let at = |pointer: &str| m.pointer(pointer).and_then(Value::as_str);
        at("/metadata/event_type") == Some(EVENT)
            && at("/metadata/event_payload/send") == Some(&attempt.send)
            && m.pointer("/metadata/event_payload/part").and_then(Value::as_u64) == Some(u64::from(attempt.part))
    };
    let ts = body.get("messages")?.as_array()?.iter().find(ours)?.get("ts")?.as_str()?;
    Some(AttemptOutcome { provider_ids: vec![id_of(&slack.channel, ts)], ..AttemptOutcome::new(Outcome::Accepted) })
}
