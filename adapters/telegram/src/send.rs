//! Sending (<https://core.telegram.org/bots/api#sendmessage>), and what became of it.

use crate::{MOST_TEXT, Telegram, codes, read};
use serde_json::{Map, Value, json};
use switchboard_adapter_sdk::{Adapter as _, Answer, AttemptOutcome, Call, classify, classify::Class};
use switchboard_envelope::{Attachment, Choice, Content, Outcome, Send, Timestamp};

/// Bytes that come back when a button is pressed.
const MAX_DATA: usize = 64;

/// Which method takes a file of which kind from a link, and under which name.
const FILES: &[(&str, &str, &str)] = &[
    ("image/jpeg", "sendPhoto", "photo"),
    ("image/png", "sendPhoto", "photo"),
    ("image/webp", "sendPhoto", "photo"),
    ("image/gif", "sendAnimation", "animation"),
    ("video/mp4", "sendVideo", "video"),
    ("audio/mpeg", "sendAudio", "audio"),
    ("audio/mp4", "sendAudio", "audio"),
    ("audio/ogg", "sendVoice", "voice"),
    ("application/pdf", "sendDocument", "document"),
    ("application/zip", "sendDocument", "document"),
];

fn refused(why: impl Into<String>) -> AttemptOutcome {
    Class::PermanentMessage.attempt(None, why)
}

/// Whether Telegram takes this at all, as far as it can be known before it leaves.
pub(crate) fn fits(telegram: &Telegram, content: &Content) -> Result<(), String> {
    if !content.text.trim().is_empty() {
        text_fits(telegram, content)?;
    }
    content.attachments.iter().try_for_each(|file| method(file).map(drop))
}

fn text_fits(telegram: &Telegram, content: &Content) -> Result<(), String> {
    let units = content.text.encode_utf16().count();
    if units > MOST_TEXT as usize {
        return Err(format!("the text has {units} UTF-16 units, and Telegram takes {MOST_TEXT}"));
    }
    let has_data = |choice: &Choice| (1..=MAX_DATA).contains(&choice.id.len());
    if telegram.profile().shows(&content.choices) && !content.choices.iter().all(has_data) {
        return Err(format!("the id of a choice must have 1 to {MAX_DATA} bytes on Telegram"));
    }
    Ok(())
}

/// Which method takes a file, and under which name.
fn method(file: &Attachment) -> Result<(&'static str, &'static str), String> {
    let mime = file.mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let known = FILES.iter().find(|(known, ..)| *known == mime);
    known.map(|(_, method, name)| (*method, *name)).ok_or_else(|| {
        format!(
            "Telegram takes no {mime} from a link: send a picture, a GIF, an MP4, an MP3, a PDF or a ZIP, or a link in the text"
        )
    })
}

pub(crate) fn encode(telegram: &Telegram, send: &Send) -> Result<Call, AttemptOutcome> {
    let content = &send.content;
    let has_text = !content.text.trim().is_empty();
    let (method, body) = if has_text && send.part <= 1 { text(telegram, send)? } else { file(send, has_text)? };
    let mut body = body;
    body.insert("chat_id".into(), json!(read::chat_of(&send.thread)));
    if let Some(answered) = answered(send) {
        // In a group everybody sees whom the answer is for.
        body.insert("reply_parameters".into(), json!({ "message_id": answered, "allow_sending_without_reply": true }));
    }
    Ok(telegram.bot.call(method, &Value::Object(body)))
}

fn text(telegram: &Telegram, send: &Send) -> Result<(&'static str, Map<String, Value>), AttemptOutcome> {
    text_fits(telegram, &send.content).map_err(refused)?;
    let mut body = Map::from_iter([("text".to_owned(), json!(send.content.text))]);
    let choices = &send.content.choices;
    // Those that cannot be shown are lines of the text already.
    if !choices.is_empty() && telegram.profile().shows(choices) {
        let row = |choice: &Choice| json!([{ "text": choice.shown(), "callback_data": choice.id }]);
        let rows: Vec<Value> = choices.iter().map(row).collect();
        body.insert("reply_markup".into(), json!({ "inline_keyboard": rows }));
    }
    Ok(("sendMessage", body))
}

fn file(send: &Send, has_text: bool) -> Result<(&'static str, Map<String, Value>), AttemptOutcome> {
    let nth = usize::from(send.part.saturating_sub(1 + u16::from(has_text)));
    let file = send.content.attachments.get(nth).ok_or_else(|| refused("there is nothing in it to send"))?;
    let url = file.url.as_deref().ok_or_else(|| refused("Telegram fetches files from us: set http.public_url"))?;
    let (method, name) = method(file).map_err(refused)?;
    Ok((method, Map::from_iter([(name.to_owned(), json!(url))])))
}

/// The message that an answer in a group answers.
fn answered(send: &Send) -> Option<i64> {
    let chat = read::chat_of(&send.thread);
    let of = |id: &String| id.strip_prefix(chat)?.strip_prefix('.')?.parse().ok();
    send.thread.contains(':').then(|| send.reply_to.iter().rev().find_map(of)).flatten()
}

pub(crate) fn classify(send: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
    let response = match answer {
        Ok(response) => response,
        Err(error) => return classify::unanswered(error),
    };
    let body = serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
    let number = |pointer: &str| body.pointer(pointer).and_then(Value::as_i64);
    if response.status == 200 && body.get("ok") == Some(&Value::Bool(true)) {
        return match number("/result/message_id") {
            Some(id) => AttemptOutcome {
                provider_ids: vec![read::message_key(read::chat_of(&send.thread), id)],
                ..AttemptOutcome::new(Outcome::Accepted)
            },
            None => Class::Ambiguous.attempt(None, "Telegram answered 200 without the message's id"),
        };
    }
    // Without its own word the answer may be a proxy's, and says nothing of what Telegram did.
    let own = body.get("ok") == Some(&Value::Bool(false));
    let said = body.get("description").and_then(Value::as_str).unwrap_or_default();
    let code = number("/error_code").and_then(|code| u16::try_from(code).ok()).unwrap_or(response.status);
    let known = if own || matches!(response.status, 401 | 429) { codes::refusal(code, said) } else { None };
    let Some(known) = known else {
        let why = format!("Telegram answered {}, which may be after it sent", response.status);
        return Class::Ambiguous.attempt(Some(&code.to_string()), why);
    };
    let mut sentence = known.sentence.to_owned();
    if known.holds.is_empty() && code == 400 && !said.is_empty() {
        let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
        sentence = format!("{sentence}: {said}");
    }
    let mut outcome = known.class.attempt(Some(&code.to_string()), sentence);
    if known.class == Class::RateLimit {
        let asked = number("/parameters/retry_after").and_then(|s| u64::try_from(s).ok());
        let asked = asked.map(|s| s.saturating_mul(1000).min(86_400_000));
        outcome.retry_after_ms = asked.max(response.retry_after_ms(now));
    }
    outcome
}
