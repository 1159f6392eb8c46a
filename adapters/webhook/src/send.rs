//! What becomes of our messages: one POST an attempt, under an id that all attempts share.

use crate::{CALL_TIMEOUT, Webhook, signature::ID};
use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use switchboard_adapter_sdk::{
    Answer, AttemptOutcome, Call, CallBody, Response,
    classify::{self, Class},
    redact,
};
use switchboard_envelope::{MAX_ENVELOPE, Outbound, Outcome, Send, Timestamp};

/// The same for every attempt, so that the receiver can drop what it has.
pub(crate) fn message_id(send: &Send) -> String {
    format!("{}_{}", send.send, send.part)
}

pub(crate) fn encode(webhook: &Webhook, send: &Send) -> Result<Call, AttemptOutcome> {
    let refuse = |why: String| Err(Class::PermanentMessage.attempt(None, why));
    let content = &send.content;
    if content.text.trim().is_empty() && content.attachments.is_empty() && content.html.is_none() {
        return refuse("there is nothing to send".into());
    }
    let mut told = send.clone();
    for (i, file) in told.content.attachments.iter_mut().enumerate() {
        if file.url.is_none() {
            return refuse(format!("file {} has no public address: set http.public_url", i + 1));
        }
        // How we store it is of no use outside.
        file.blob = None;
    }
    let traceparent = told.traceparent.clone();
    let body = Outbound::Send(Box::new(told)).to_vec();
    if body.len() > MAX_ENVELOPE {
        return refuse(format!("the message has {} bytes, and {MAX_ENVELOPE} are allowed", body.len()));
    }
    let mut headers = vec![(ID, message_id(send))];
    headers.extend(traceparent.map(|trace| ("traceparent", trace)));
    Ok(Call {
        method: Method::POST,
        url: webhook.url.as_str().to_owned(),
        headers,
        body: CallBody::Bytes("application/json", Bytes::from(body)),
        timeout: CALL_TIMEOUT,
    })
}

/// What a status means. Everything else may have arrived, and is sent again under the same id.
const STATUSES: &[(u16, Class, &str)] = &[
    (301, Class::Config, "it is at another address: change `url`; redirects are not followed"),
    (307, Class::Config, "it is at another address: change `url`; redirects are not followed"),
    (308, Class::Config, "it is at another address: change `url`; redirects are not followed"),
    (401, Class::Config, "it refuses our signature: check `secret`, and the clocks of both sides"),
    (403, Class::Config, "it refuses us: check `secret` and what it allows"),
    (404, Class::Config, "nothing is at its address: check `url`"),
    (405, Class::Config, "its address takes no POST: check `url`"),
    (407, Class::Config, "the proxy refuses us: check `proxy`"),
    (410, Class::Config, "it wants no more messages at this address: change `url` or remove the channel"),
    (425, Class::Retry, "it is not ready yet"),
    (429, Class::RateLimit, "it gets too many requests; nothing was taken"),
];

/// Where answers keep their own words, in the order of preference.
const SAID: [&str; 4] = ["detail", "message", "error", "title"];

#[derive(Deserialize)]
struct Taken {
    id: String,
}

pub(crate) fn classify(send: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
    match answer {
        Err(error) => classify::unanswered(error),
        Ok(response) if (200..300).contains(&response.status) => accepted(send, response),
        Ok(response) => refused(response, now),
    }
}

/// Receipts and replies may name the message by our id, or by the receiver's when it answers with one.
fn accepted(send: &Send, response: &Response) -> AttemptOutcome {
    let theirs = serde_json::from_slice::<Taken>(&response.body).ok().map(|taken| taken.id);
    let plain = |id: &String| (1..=256).contains(&id.len()) && !id.chars().any(char::is_control);
    let ours = message_id(send);
    let provider_ids = [Some(ours.clone()), theirs.filter(plain).filter(|id| *id != ours)];
    AttemptOutcome {
        provider_ids: provider_ids.into_iter().flatten().collect(),
        ..AttemptOutcome::new(Outcome::Accepted)
    }
}

fn refused(response: &Response, now: Timestamp) -> AttemptOutcome {
    let status = response.status;
    let (class, sentence) = match STATUSES.iter().find(|(known, ..)| *known == status) {
        Some((_, class, sentence)) => (*class, format!("the receiver answered {status}: {sentence}")),
        None if (400..500).contains(&status) && status != 408 => (Class::PermanentMessage, refusal(response)),
        None => (Class::Ambiguous, format!("the receiver answered {status}; it is sent again under the same id")),
    };
    let mut outcome = class.attempt(Some(&status.to_string()), sentence);
    if matches!(class, Class::RateLimit | Class::Retry | Class::Ambiguous) {
        outcome.retry_after_ms = response.retry_after_ms(now);
    }
    outcome
}

fn refusal(response: &Response) -> String {
    let body = serde_json::from_slice::<serde_json::Value>(&response.body).unwrap_or_default();
    let said = SAID.iter().find_map(|name| body.get(name)?.as_str()).unwrap_or_default();
    let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
    let status = response.status;
    if said.trim().is_empty() {
        format!("the receiver refused it with {status}")
    } else {
        format!("the receiver refused it with {status}: {}", redact::text(&said, &[]))
    }
}
