//! Sending (<https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource>), and what became of it.

use super::{CODES, MAX_MEDIA, MAX_MEDIA_BYTES, MAX_TEXT, NO_PUBLIC_URL, Twilio, is_token};
use crate::number;
use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use switchboard_adapter_sdk::{
    Answer, AttemptOutcome, Call, CallBody, Response,
    classify::{self, Class},
    redact,
};
use switchboard_envelope::{Address, Fault, Send, Timestamp};

/// The chat network limits how often this one person is written to.
const OF_ONE: &str = "63017";
const FORM: &str = "application/x-www-form-urlencoded";

pub(super) fn encode(twilio: &Twilio, send: &Send) -> Result<Call, AttemptOutcome> {
    let refuse = |why: String| Err(Class::PermanentMessage.attempt(None, why));
    let content = &send.content;
    let length = content.text.chars().count();
    if length > MAX_TEXT {
        return refuse(format!("the text has {length} characters; a text message takes {MAX_TEXT}"));
    }
    if content.text.trim().is_empty() && content.attachments.is_empty() {
        return refuse("there is nothing to send: no text and no file".into());
    }
    if content.attachments.len() > MAX_MEDIA {
        return refuse(format!("more than {MAX_MEDIA} files"));
    }
    let to = recipient(twilio, &send.to).map_err(|why| Class::PermanentRecipient.attempt(None, why))?;
    let mut form = form_urlencoded::Serializer::new(String::with_capacity(512));
    form.append_pair("To", &to);
    let (field, sender) = &twilio.sender;
    form.append_pair(field, sender);
    if !content.text.is_empty() {
        form.append_pair("Body", &content.text);
    }
    if content.attachments.iter().map(|file| file.size).sum::<u64>() > MAX_MEDIA_BYTES {
        return refuse(format!("the files of a message may have {} MB together", MAX_MEDIA_BYTES / 1_000_000));
    }
    for (i, file) in content.attachments.iter().enumerate() {
        let Some(url) = file.url.as_deref() else {
            return refuse(format!("file {} has no public address: {NO_PUBLIC_URL}", i + 1));
        };
        form.append_pair("MediaUrl", url);
    }
    if let Some(url) = &twilio.status_url {
        // The first callback ties the attempt to Twilio's sid even when the answer to our call is lost.
        form.append_pair("StatusCallback", &format!("{url}?send={}&part={}&n={}", send.send, send.part, send.n));
    }
    if let Some(seconds) = twilio.validity {
        form.append_pair("ValidityPeriod", &seconds.to_string());
    }
    if twilio.smart_encoding {
        form.append_pair("SmartEncoded", "true");
    }
    let body = CallBody::Bytes(FORM, Bytes::from(form.finish()));
    Ok(twilio.call(Method::POST, twilio.messages_url.clone(), body))
}

/// The address as Twilio wants it, if our sender can write to it.
pub(super) fn recipient(twilio: &Twilio, to: &Address) -> Result<String, String> {
    let ours = twilio.from.as_ref().map_or("phone", |from| from.kind.as_str());
    let is_network = |kind: &str| kind != "phone" && kind != "sender";
    if !twilio.has_service && ours != to.kind && (is_network(ours) || is_network(&to.kind)) {
        return Err(format!("a {} address cannot be written to from a {ours} sender", to.kind));
    }
    match to.kind.as_str() {
        "phone" => {
            number::e164(&to.value).ok_or_else(|| "the number is not international: write it as +15551230001".into())
        }
        "sender" if number::is_short_code(&to.value) => Ok(to.value.clone()),
        "sender" => Err("the sender is a name or a hidden number and cannot be answered".into()),
        kind => match number::address(&number::written(to)) {
            Some(known) if known.kind == kind => Ok(number::written(&known)),
            _ => Err(format!("a {kind} address cannot be reached by text message")),
        },
    }
}

#[derive(Deserialize)]
struct Created {
    sid: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    error_code: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Refused {
    code: u32,
    #[serde(default)]
    message: String,
}

pub(super) fn classify(answer: &Answer, now: Timestamp) -> AttemptOutcome {
    match answer {
        Err(error) => classify::unanswered(error),
        Ok(response) if (200..300).contains(&response.status) => created(response),
        Ok(response) => refused(response, now),
    }
}

fn created(response: &Response) -> AttemptOutcome {
    let created = serde_json::from_slice::<Created>(&response.body).ok().filter(|created| is_token(&created.sid));
    let Some(created) = created else {
        let why = format!("Twilio answered {} without the message's sid", response.status);
        return Class::Ambiguous.attempt(None, why);
    };
    state(created.sid, &created.status, created.error_code.as_ref())
}

/// The outcome of a message that exists at Twilio.
pub(super) fn state(sid: String, status: &str, code: Option<&serde_json::Value>) -> AttemptOutcome {
    let mut outcome = if matches!(status, "failed" | "undelivered" | "canceled") {
        let code = code.map(ToString::to_string).filter(|code| code != "null");
        let row = code.as_deref().and_then(|code| classify::find(CODES, code));
        // It was taken and failed there: sending it again would be another message, whatever the code says of retries.
        let class = row.map(|row| row.class).filter(|class| class.outcome() == switchboard_envelope::Outcome::Rejected);
        let sentence = row.map_or("Twilio could not deliver it", |row| row.sentence);
        class.unwrap_or(Class::PermanentMessage).attempt(code.as_deref(), sentence)
    } else {
        AttemptOutcome::new(Class::Ok.outcome())
    };
    outcome.provider_ids = vec![sid];
    outcome
}

fn refused(response: &Response, now: Timestamp) -> AttemptOutcome {
    let status = response.status;
    let refused = serde_json::from_slice::<Refused>(&response.body).ok();
    let code = refused.as_ref().map(|refused| refused.code.to_string());
    let row = code.as_deref().and_then(|code| classify::find(CODES, code));
    let class = match (status, row.map(|row| row.class)) {
        (429, _) => Class::RateLimit,
        // Behind a 5xx only a documented "try later" says that nothing was done.
        (500..=599, Some(class @ (Class::RateLimit | Class::Retry))) => class,
        (400..=499, Some(class)) => class,
        (401 | 403 | 407, None) => Class::Config,
        // A refusal in Twilio's own form, with a code that the table does not know.
        (400..=499, None) if refused.is_some() => Class::PermanentMessage,
        // These statuses say that the request belongs elsewhere (RFC 9110 §15.4), so nobody has acted on it.
        (301 | 307 | 308, _) => Class::Config,
        _ => Class::Ambiguous,
    };
    let sentence = match (row, &refused, status) {
        (Some(row), ..) => row.sentence.to_owned(),
        // A refusal of the channel is shown to everybody, so it holds nothing of what this customer was written.
        (None, Some(refused), _) if !refused.message.is_empty() && class != Class::Config => {
            let message: String = refused.message.chars().filter(|c| !c.is_control()).take(200).collect();
            let message = redact::text(&message, &[]);
            // Behind a 5xx nobody knows whether it was taken.
            if class == Class::PermanentMessage {
                format!("Twilio refused it: {message}")
            } else {
                format!("Twilio answered {status}: {message}")
            }
        }
        (None, _, 301 | 307 | 308) => "the API is at another address: check base_url".to_owned(),
        (None, _, 429) => "too many requests to Twilio; nothing was sent".to_owned(),
        (None, _, 401 | 403) => format!("Twilio answered {status}: check account_sid and auth_token"),
        (None, _, 407) => "the proxy refuses us: check proxy".to_owned(),
        _ => format!("Twilio answered {status}"),
    };
    let code = code.unwrap_or_else(|| status.to_string());
    let mut outcome = class.attempt(Some(&code), sentence);
    if matches!(class, Class::RateLimit | Class::Retry) {
        outcome.retry_after_ms = response.retry_after_ms(now);
        // Others can be written to meanwhile.
        outcome.fault = (code == OF_ONE).then_some(Fault::Recipient);
    }
    outcome
}
