//! Sending through the Send API (<https://developers.facebook.com/docs/messenger-platform/reference/send-api>), and what became
//! of it.

use super::{HOUR_MS, Page, codes::CODES};
use crate::{event::reference, graph};
use serde_json::{Value, json};
use switchboard_adapter_sdk::{Answer, AttemptOutcome, Call, Response, classify::Class};
use switchboard_envelope::{Choice, Fault, Outcome, Send, Timestamp};

/// No attempt leaves later than this after its release.
const RELEASE_MS: i64 = HOUR_MS / 6;
/// The longest word of ours that an echo carries back.
const MAX_METADATA: usize = 1000;
/// How the code of what is too much for one person ends; others can be written to meanwhile.
const OF_ONE: &str = "/1893016";
/// The longest payload of a quick reply.
const MAX_PAYLOAD: usize = 1000;

pub(super) fn encode(page: &Page, send: &Send) -> Result<Call, AttemptOutcome> {
    let kind = messaging_type(page, send)?;
    let mut message = part(page, send)?;
    let word = reference(&send.send, send.part, send.n);
    if let Some(object) = message.as_object_mut().filter(|_| word.len() <= MAX_METADATA) {
        object.insert("metadata".into(), word.into());
    }
    let mut body = json!({ "recipient": { "id": send.to.value }, "message": message });
    if let Some(object) = body.as_object_mut() {
        object.extend(kind.fields());
    }
    // A page is named by its id; a token of Instagram's is the account's own.
    let whose = if page.kind.object == "page" { page.page_id.as_str() } else { "me" };
    Ok(page.graph.post_with_query(&format!("{whose}/messages"), &body))
}

/// Under which of Meta's rules an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Messaging {
    Response,
    HumanAgent,
}

impl Messaging {
    fn fields(self) -> Vec<(String, Value)> {
        let kind = |kind: &str| ("messaging_type".to_owned(), json!(kind));
        match self {
            Messaging::Response => vec![kind("RESPONSE")],
            Messaging::HumanAgent => vec![kind("MESSAGE_TAG"), ("tag".into(), json!("HUMAN_AGENT"))],
        }
    }
}

/// An answer goes by the window as long as it leaves within it for sure; then a person's goes by the tag that is theirs alone.
/// What leaves too late for sure is refused here, and Meta decides about the minutes in between.
fn messaging_type(page: &Page, send: &Send) -> Result<Messaging, AttemptOutcome> {
    let Some(window) = send.window_until else { return Ok(Messaging::Response) };
    let is_person = send.author.by_hand();
    let tagged = is_person && page.human_agent && send.until > window;
    let extended = if tagged { super::PERSON_WINDOW_MS - page.window_ms } else { 0 };
    if send.until > window.plus(extended + RELEASE_MS) {
        let why = "the customer wrote too long ago to be answered; they have to write first";
        return Err(Class::OutsideWindow.attempt(None, why));
    }
    Ok(if tagged { Messaging::HumanAgent } else { Messaging::Response })
}

/// The text is the first call, then each file is one.
fn part(page: &Page, send: &Send) -> Result<Value, AttemptOutcome> {
    let content = &send.content;
    let has_text = !content.text.trim().is_empty();
    if has_text && send.part == 1 {
        return text(page, send);
    }
    let nth = usize::from(send.part.saturating_sub(1 + u16::from(has_text)));
    let refused = |why: &str| Class::PermanentMessage.attempt(None, why);
    let file = content.attachments.get(nth).ok_or_else(|| refused("there is nothing in it to send"))?;
    let url = file.url.as_deref().ok_or_else(|| refused("Meta fetches files from us: set http.public_url"))?;
    let kind =
        file.mime.split('/').next().filter(|kind| matches!(*kind, "image" | "audio" | "video")).unwrap_or("file");
    // What is kept for others would outlive the link, and the person.
    Ok(json!({ "attachment": { "type": kind, "payload": { "url": url, "is_reusable": false } } }))
}

fn text(page: &Page, send: &Send) -> Result<Value, AttemptOutcome> {
    use switchboard_adapter_sdk::Adapter as _;
    let text = send.content.text.as_str();
    let most = page.kind.most_text as usize;
    let (length, unit) = match page.kind.object {
        "page" => (text.chars().count(), "characters"),
        _ => (text.len(), "bytes"),
    };
    if length > most {
        let why = format!("the text has {length} {unit}, and {} takes {most}", page.kind.product);
        return Err(Class::PermanentMessage.attempt(None, why));
    }
    let mut message = json!({ "text": text });
    let choices = &send.content.choices;
    // Those that cannot be shown are lines of the text already.
    if !choices.is_empty() && page.profile().shows(choices) {
        if choices.iter().any(|choice| choice.id.len() > MAX_PAYLOAD) {
            return Err(Class::PermanentMessage.attempt(None, "the id of a choice is longer than Meta carries"));
        }
        let reply = |choice: &Choice| json!({ "content_type": "text", "title": choice.shown(), "payload": choice.id });
        if let Some(object) = message.as_object_mut() {
            object.insert("quick_replies".into(), choices.iter().map(reply).collect());
        }
    }
    Ok(message)
}

pub(super) fn classify(page: &Page, send: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
    let mut outcome = graph::classify(&[CODES], "/message_id", "Meta", answer, now);
    if outcome.outcome == Outcome::NotSent && outcome.code.as_ref().is_some_and(|code| code.ends_with(OF_ONE)) {
        outcome.fault = Some(Fault::Recipient);
    }
    let tagged = messaging_type(page, send) == Ok(Messaging::HumanAgent);
    if tagged && outcome.channel_refused && is_permission(answer) {
        // It is the tag that the app may not use; what goes without it still goes.
        let why = "the window is closed, and the app may not use the tag HUMAN_AGENT: ask Meta for it, or set human_agent = false";
        return Class::OutsideWindow.attempt(outcome.code.as_deref(), why);
    }
    outcome
}

/// A permission that is missing, and not the whole access.
fn is_permission(answer: &Answer) -> bool {
    let Ok(Response { body, .. }) = answer else { return false };
    let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let number = |pointer: &str| body.pointer(pointer).and_then(Value::as_i64);
    matches!(number("/error/code"), Some(10 | 200)) && number("/error/error_subcode").is_none()
}
