//! Sending (<https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages>).

use super::{GROUP, WhatsApp};
use crate::event::reference;
use serde_json::{Value, json};
use switchboard_adapter_sdk::{Adapter as _, AttemptOutcome, Call, classify::Class};
use switchboard_envelope::{Choice, Send, Template};

/// No attempt leaves later than this after its release.
const RELEASE_MS: i64 = 600_000;
/// The longest text above buttons, in characters.
const MOST_BODY: usize = 1024;
const MOST_BUTTONS: usize = 3;
const MOST_ID: usize = 200;
/// The longest word of ours that a status carries back.
const MAX_CALLBACK: usize = 512;

fn refused(why: impl Into<String>) -> AttemptOutcome {
    Class::PermanentMessage.attempt(None, why)
}

pub(super) fn encode(whatsapp: &WhatsApp, send: &Send) -> Result<Call, AttemptOutcome> {
    let content = &send.content;
    if content.template.is_none() && send.window_until.is_some_and(|end| send.until > end.plus(RELEASE_MS)) {
        let why = "the customer wrote too long ago: send an approved text (template)";
        return Err(Class::OutsideWindow.attempt(None, why));
    }
    let (kind, told) = part(whatsapp, send)?;
    let (recipient, to) = match send.thread.strip_prefix(GROUP) {
        Some(group) => ("group", group),
        None => ("individual", send.to.value.as_str()),
    };
    let mut body = json!({
        "messaging_product": "whatsapp", "recipient_type": recipient, "to": to, "type": kind, (kind): told,
    });
    // Between two people an answer is one without saying so; in a group nobody else knows to whom.
    let answered = send.reply_to.last().filter(|_| recipient == "group" && send.part == 1);
    if let Some((object, id)) = body.as_object_mut().zip(answered) {
        object.insert("context".into(), json!({ "message_id": id }));
    }
    let word = reference(&send.send, send.part, send.n);
    if let Some(object) = body.as_object_mut().filter(|_| word.len() <= MAX_CALLBACK) {
        object.insert("biz_opaque_callback_data".into(), word.into());
    }
    Ok(whatsapp.graph.post_with_head(&format!("{}/messages", whatsapp.phone_number_id), &body))
}

/// The kind of message, and what is said of it: the text first, then each file.
fn part(whatsapp: &WhatsApp, send: &Send) -> Result<(&'static str, Value), AttemptOutcome> {
    let content = &send.content;
    let has_text = !content.text.trim().is_empty() || content.template.is_some();
    if has_text && send.part == 1 {
        return match &content.template {
            Some(template) => Ok(("template", approved(template))),
            None => text(whatsapp, send),
        };
    }
    let nth = usize::from(send.part.saturating_sub(1 + u16::from(has_text)));
    let file = content.attachments.get(nth).ok_or_else(|| refused("there is nothing in it to send"))?;
    let url = file.url.as_deref().ok_or_else(|| refused("WhatsApp fetches files from us: set http.public_url"))?;
    Ok(match file.mime.as_str() {
        "image/jpeg" | "image/png" => ("image", json!({ "link": url })),
        "audio/aac" | "audio/amr" | "audio/mpeg" | "audio/mp4" | "audio/ogg" => ("audio", json!({ "link": url })),
        "video/mp4" | "video/3gpp" => ("video", json!({ "link": url })),
        _ => ("document", json!({ "link": url, "filename": file.name })),
    })
}

fn approved(template: &Template) -> Value {
    let mut told = json!({ "name": template.name, "language": { "code": template.language } });
    if !template.values.is_empty() {
        let values: Vec<Value> = template.values.iter().map(|value| json!({ "type": "text", "text": value })).collect();
        if let Some(object) = told.as_object_mut() {
            object.insert("components".into(), json!([{ "type": "body", "parameters": values }]));
        }
    }
    told
}

fn text(whatsapp: &WhatsApp, send: &Send) -> Result<(&'static str, Value), AttemptOutcome> {
    let (text, choices) = (&send.content.text, &send.content.choices);
    // Those that cannot be shown are lines of the text already.
    if choices.is_empty() || !whatsapp.profile().shows(choices) {
        return Ok(("text", json!({ "body": text, "preview_url": false })));
    }
    let length = text.chars().count();
    if length > MOST_BODY {
        return Err(refused(format!("the text has {length} characters, and with choices WhatsApp takes {MOST_BODY}")));
    }
    if choices.iter().any(|choice| choice.id.len() > MOST_ID) {
        return Err(refused("the id of a choice is longer than WhatsApp carries"));
    }
    let row = |choice: &Choice| json!({ "id": choice.id, "title": choice.shown() });
    let (kind, action) = if choices.len() <= MOST_BUTTONS {
        let buttons: Vec<Value> =
            choices.iter().map(|choice| json!({ "type": "reply", "reply": row(choice) })).collect();
        ("button", json!({ "buttons": buttons }))
    } else {
        let rows: Vec<Value> = choices.iter().map(row).collect();
        ("list", json!({ "button": whatsapp.list_button, "sections": [{ "rows": rows }] }))
    };
    Ok(("interactive", json!({ "type": kind, "body": { "text": text }, "action": action })))
}
