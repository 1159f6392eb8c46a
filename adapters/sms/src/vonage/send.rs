//! Sending, and what became of it: `POST /sms/json` (<https://developer.vonage.com/en/api/sms>), which answers 200 whatever
//! happened, and `POST /v1/messages` (<https://developer.vonage.com/en/api/messages-olympus>).

use super::{
    Api, CALL_TIMEOUT, MAX_REFERENCE, Vonage,
    codes::{MESSAGES, STATUSES},
    read::code_of,
};
use crate::{
    kannel::short,
    number::Form,
    request::{id_of, reference},
    segments::{self, Encoding},
};
use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use switchboard_adapter_sdk::{
    Answer, AttemptOutcome, Call, CallBody, Response,
    classify::{self, Class},
    redact,
};
use switchboard_envelope::{Send, Timestamp};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

pub(super) fn encode(vonage: &Vonage, send: &Send) -> Result<Call, AttemptOutcome> {
    let to = Form::Digits.write(&send.to).map_err(|why| Class::PermanentRecipient.attempt(None, why))?;
    // It comes back in the receipts. A longer one would be refused, and a cut one would be somebody else's.
    let reference = Some(reference(send)).filter(|reference| reference.len() <= MAX_REFERENCE);
    let (headers, body) = match vonage.api {
        Api::Sms => (vec![], CallBody::Bytes(FORM, form(vonage, send, &to, reference.as_deref()))),
        Api::Messages => {
            let mut body = json!({
                "message_type": "text", "channel": "sms", "to": to, "from": vonage.from, "text": send.content.text,
            });
            let optional = [
                ("client_ref", reference.map(Value::from)),
                ("ttl", vonage.ttl_ms.map(|ms| Value::from(ms / 1000))),
                ("webhook_url", vonage.status.as_ref().map(|url| Value::from(url.expose()))),
            ];
            if let Some(object) = body.as_object_mut() {
                object.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
            }
            let headers = vec![("authorization", vonage.authorization.expose().to_owned())];
            (headers, CallBody::Bytes(JSON, Bytes::from(body.to_string())))
        }
    };
    Ok(Call { method: Method::POST, url: vonage.send_url.clone(), headers, body, timeout: CALL_TIMEOUT })
}

fn form(vonage: &Vonage, send: &Send, to: &str, reference: Option<&str>) -> Bytes {
    let text = &send.content.text;
    let mut form = form_urlencoded::Serializer::new(String::with_capacity(512));
    form.append_pair("api_key", &vonage.signing.api_key).append_pair("api_secret", vonage.api_secret.expose());
    form.append_pair("from", &vonage.from).append_pair("to", to).append_pair("text", text);
    if segments::encoding(text) == Encoding::Ucs2 {
        form.append_pair("type", "unicode");
    }
    if let Some(status) = &vonage.status {
        form.append_pair("status-report-req", "1").append_pair("callback", status.expose());
    }
    if let Some(reference) = reference {
        form.append_pair("client-ref", reference);
    }
    if let Some(ms) = vonage.ttl_ms {
        form.append_pair("ttl", &ms.to_string());
    }
    Bytes::from(form.finish())
}

pub(super) fn classify(api: Api, answer: &Answer, now: Timestamp) -> AttemptOutcome {
    let response = match answer {
        Ok(response) => response,
        Err(error) => return classify::unanswered(error),
    };
    match (api, response.status) {
        (Api::Sms, 200) => parts(response),
        (Api::Messages, 202) => taken(response),
        _ => refused(response, now),
    }
}

#[derive(Deserialize)]
struct Parts {
    messages: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    status: Value,
    #[serde(rename = "message-id")]
    id: Option<String>,
    #[serde(rename = "error-text")]
    error: Option<String>,
}

impl Part {
    /// A number in quotes, or without.
    fn code(&self) -> String {
        match &self.status {
            Value::String(code) => code.trim().to_owned(),
            other => other.to_string(),
        }
    }
}

/// The answer has an entry for each part of the text, with a status of its own.
fn parts(response: &Response) -> AttemptOutcome {
    let read = serde_json::from_slice::<Parts>(&response.body).ok().filter(|read| !read.messages.is_empty());
    let Some(Parts { messages }) = read else {
        return Class::Ambiguous.attempt(None, "Vonage answered 200 without saying what became of the message");
    };
    let (taken, failed): (Vec<_>, Vec<_>) = messages.iter().partition(|part| part.code() == "0");
    let ids: Vec<_> = taken.iter().filter_map(|part| part.id.as_deref()).map(id_of).collect();
    let Some(first) = failed.first() else {
        let mut outcome = AttemptOutcome::new(Class::Ok.outcome());
        outcome.provider_ids = ids;
        return outcome;
    };
    let code = first.code();
    let row = classify::find(STATUSES, &code);
    let said = redact::text(&short(first.error.as_deref().unwrap_or_default()), &[]);
    let sentence = row.map_or_else(|| format!("Vonage refused it: {said}"), |row| row.sentence.to_owned());
    if !taken.is_empty() {
        // Sending it again would repeat what the person has; what is missing cannot be sent alone.
        let sentence = format!("only {} of {} parts of the text were taken: {sentence}", taken.len(), messages.len());
        let mut outcome = Class::PermanentMessage.attempt(Some(&code), sentence);
        outcome.provider_ids = ids;
        return outcome;
    }
    let class = row.map_or(Class::PermanentMessage, |row| row.class);
    let mut outcome = class.attempt(Some(&code), sentence);
    if class == Class::RateLimit {
        outcome.retry_after_ms = first.error.as_deref().and_then(wait_ms);
    }
    outcome
}

/// `… please wait [ 250 ] and retry`.
fn wait_ms(text: &str) -> Option<u64> {
    let inside = text.split_once('[')?.1.split_once(']')?.0;
    inside.trim().parse::<u64>().ok().map(|ms| ms.min(86_400_000))
}

#[derive(Deserialize)]
struct Taken {
    message_uuid: String,
}

fn taken(response: &Response) -> AttemptOutcome {
    let read = serde_json::from_slice::<Taken>(&response.body).ok().filter(|read| !read.message_uuid.is_empty());
    let Some(Taken { message_uuid }) = read else {
        return Class::Ambiguous.attempt(None, "Vonage answered 202 without the message's id");
    };
    let mut outcome = AttemptOutcome::new(Class::Ok.outcome());
    outcome.provider_ids = vec![id_of(&message_uuid)];
    outcome
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    address: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
}

/// Anything but a success: a problem of the Messages API, or of what stands before either.
fn refused(response: &Response, now: Timestamp) -> AttemptOutcome {
    let status = response.status;
    let problem = serde_json::from_slice::<Problem>(&response.body).ok();
    let code = problem.as_ref().map(|problem| code_of(&problem.address).to_ascii_lowercase());
    let row = code.as_deref().and_then(|code| classify::find(MESSAGES, code));
    let class = match (status, row.map(|row| row.class)) {
        (429, _) => Class::RateLimit,
        (401 | 402 | 403 | 407, _) => Class::Config,
        // Behind a 5xx only a documented "try later" says that nothing was done.
        (500..=599, Some(class @ (Class::RateLimit | Class::Retry))) => class,
        (400..=499, Some(class)) => class,
        (400..=499, None) if problem.is_some() => Class::PermanentMessage,
        (301 | 307 | 308 | 404 | 405, None) => Class::Config,
        _ => Class::Ambiguous,
    };
    let sentence = match (row, &problem, class) {
        (Some(row), ..) => row.sentence.to_owned(),
        (None, Some(problem), Class::PermanentMessage) => {
            let said = if problem.detail.is_empty() { &problem.title } else { &problem.detail };
            format!("Vonage refused it: {}", redact::text(&short(said), &[]))
        }
        (None, _, Class::RateLimit) => "too many requests to Vonage; nothing was sent".to_owned(),
        (None, _, Class::Config) if matches!(status, 401..=403) => {
            format!("Vonage answered {status}: check api_key, api_secret and the account's balance")
        }
        (None, _, Class::Config) => format!("Vonage answered {status}: check base_url"),
        _ => format!("Vonage answered {status}"),
    };
    let code = code.filter(|code| row.is_some() || code.bytes().all(|b| b.is_ascii_digit()));
    let mut outcome = class.attempt(Some(&code.unwrap_or_else(|| status.to_string())), sentence);
    if matches!(class, Class::RateLimit | Class::Retry) {
        outcome.retry_after_ms = response.retry_after_ms(now);
    }
    outcome
}
