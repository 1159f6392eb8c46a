//! What an update says (<https://core.telegram.org/bots/api#update>).

use crate::Telegram;
use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;
use switchboard_adapter_sdk::signature::{sha256_hex, to_base64};
use switchboard_envelope::{
    Address, Attachment, Choice, ConsentChange, ConsentState, Content, FileProblem, Inbound, Message, Raw, Timestamp,
    Unparsed, Visibility, event_id,
};

/// The longest raw body that travels inside its record, in bytes.
const MAX_INLINE: usize = 16 * 1024;
/// The longest text that goes into `meta`, in characters.
const MAX_META: usize = 500;

/// Kinds of files, each with the name that a file without one gets.
const FILES: &[(&str, &str, &str)] = &[
    ("document", "document", "application/octet-stream"),
    ("animation", "animation.mp4", "video/mp4"),
    ("audio", "audio.mp3", "audio/mpeg"),
    ("video", "video.mp4", "video/mp4"),
    ("video_note", "video-note.mp4", "video/mp4"),
    ("voice", "voice.ogg", "audio/ogg"),
    ("sticker", "sticker", "image/webp"),
];

/// The chat of a thread. In a group each person has a thread of their own, `<chat>:<person>`.
pub(crate) fn chat_of(thread: &str) -> &str {
    thread.split(':').next().unwrap_or_default()
}

/// A message's id among all of the bot's: Telegram numbers them in each chat.
pub(crate) fn message_key(chat: &str, id: i64) -> String {
    format!("{chat}.{id}")
}

/// The id of the press of a button, if the update is one.
pub(crate) fn pressed(body: &[u8]) -> Option<String> {
    let update = serde_json::from_slice::<Value>(body).ok()?;
    let id = update.pointer("/callback_query/id")?.as_str()?;
    (id.len() <= 64).then(|| id.to_owned())
}

pub(crate) fn update(telegram: &Telegram, body: &Bytes, received_at: Timestamp) -> Vec<Inbound> {
    let raw = Raw {
        content_type: "application/json".into(),
        blob: None,
        // Whoever stores the record puts a blob of the delivery in its place.
        inline: (body.len() <= MAX_INLINE).then(|| to_base64(body)),
        meta: BTreeMap::new(),
    };
    let read = serde_json::from_slice::<Value>(body).map_err(|_| "the body is no JSON".to_owned());
    let read = read.and_then(|update| Update { telegram, update: &update, received_at, raw: &raw }.read());
    vec![read.unwrap_or_else(|reason| {
        Inbound::Unparsed(Unparsed {
            id: event_id(&telegram.channel, "unparsed", &sha256_hex(body)),
            channel: telegram.channel.clone(),
            reason,
            at: received_at,
            raw,
        })
    })]
}

struct Update<'a> {
    telegram: &'a Telegram,
    update: &'a Value,
    received_at: Timestamp,
    raw: &'a Raw,
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer)?.as_i64()
}

fn seconds(value: &Value, pointer: &str) -> Option<Timestamp> {
    let ms = number(value, pointer)?.checked_mul(1000)?;
    (1..=Timestamp::MAX.0).contains(&ms).then_some(Timestamp(ms))
}

/// A value for rules, cut to a length that every decision can carry.
fn tell(meta: &mut BTreeMap<String, String>, name: &str, value: Option<&str>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        meta.insert(name.to_owned(), value.chars().filter(|c| !c.is_control()).take(MAX_META).collect());
    }
}

impl Update<'_> {
    fn read(&self) -> Result<Inbound, String> {
        let of = |name: &str| self.update.get(name).filter(|part| part.is_object());
        if let Some(message) = of("message").or_else(|| of("channel_post")) {
            return self.message(message, None);
        }
        if let Some(edited) = of("edited_message").or_else(|| of("edited_channel_post")) {
            return self.message(edited, Some("edit"));
        }
        if let Some(query) = of("callback_query") {
            return self.choice(query);
        }
        if let Some(member) = of("my_chat_member") {
            return self.membership(member);
        }
        if let Some(reaction) = of("message_reaction") {
            return self.reaction(reaction);
        }
        let is_name = |name: &str| name.len() <= 40 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let names = self.update.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        Err(match names.into_iter().find(|name| *name != "update_id" && is_name(name)) {
            Some(name) => format!(
                "an update `{name}`, which this channel does not read: leave it out of `allowed_updates` of setWebhook"
            ),
            None => "an update without anything that is known".into(),
        })
    }

    /// A message with nothing in it yet, in the chat and by the person that `of` names.
    fn blank(&self, of: &Value, from: Option<&Value>, key: &str, at: Timestamp) -> Result<Message, String> {
        let chat = number(of, "/chat/id").ok_or("an update without a chat")?;
        // Who writes as a channel or as a group has no person.
        let person =
            from.and_then(|from| number(from, "/id")).or_else(|| number(of, "/sender_chat/id")).unwrap_or(chat);
        let kind = text(of, "/chat/type").unwrap_or("private");
        let is_private = kind == "private";
        let names = from.map(|from| {
            [text(from, "/first_name"), text(from, "/last_name")].into_iter().flatten().collect::<Vec<_>>().join(" ")
        });
        let name = names.filter(|name| !name.is_empty()).or_else(|| text(of, "/chat/title").map(str::to_owned));
        let mut meta = BTreeMap::from([("provider".to_owned(), "telegram".to_owned())]);
        tell(&mut meta, "chat", Some(kind));
        tell(&mut meta, "username", from.and_then(|from| text(from, "/username")));
        tell(&mut meta, "language", from.and_then(|from| text(from, "/language_code")));
        let is_bot = from.and_then(|from| from.get("is_bot")).and_then(Value::as_bool) == Some(true);
        let channel = &self.telegram.channel;
        Ok(Message {
            id: event_id(channel, "message", key),
            channel: channel.clone(),
            thread: if is_private { chat.to_string() } else { format!("{chat}:{person}") },
            at,
            received_at: self.received_at,
            from: Address {
                name: name.map(|name| name.chars().filter(|c| !c.is_control()).take(200).collect()),
                ..Address::new("telegram", person.to_string())
            },
            to: None,
            content: Content::default(),
            references: vec![],
            provider_id: None,
            visibility: if is_private { Visibility::Private } else { Visibility::Public },
            automatic: is_bot,
            authenticated: Some(true),
            meta,
            raw: Some(self.raw.clone()),
            traceparent: None,
            mail: None,
        })
    }

    fn message(&self, told: &Value, event: Option<&str>) -> Result<Inbound, String> {
        let (chat, id) = (number(told, "/chat/id"), number(told, "/message_id"));
        let (Some(chat), Some(id)) = (chat, id) else { return Err("a message without its chat or id".into()) };
        let chat = chat.to_string();
        let own = message_key(&chat, id);
        let edited = number(told, "/edit_date").filter(|_| event.is_some());
        // Two edits may come in one second; each is an update of its own.
        let edit = edited.map(|at| number(self.update, "/update_id").unwrap_or(at));
        let key = edit.map_or_else(|| own.clone(), |edit| format!("{own}.{edit}"));
        let at = seconds(told, if edited.is_some() { "/edit_date" } else { "/date" }).unwrap_or(self.received_at);
        let mut message = self.blank(told, told.get("from"), &key, at)?;
        if let Some(answered) = number(told, "/reply_to_message/message_id") {
            message.references.push(message_key(&chat, answered));
        }
        let found = Found::of(self.telegram, told);
        let said = text(told, "/text").or_else(|| text(told, "/caption"));
        let lines: Vec<&str> = said.into_iter().chain(found.lines.iter().map(String::as_str)).collect();
        message.content.text = lines.join("\n");
        message.content.attachments = found.files;
        tell(&mut message.meta, "file", found.kind);
        tell(&mut message.meta, "forwarded", told.get("forward_origin").map(|_| "true"));
        tell(&mut message.meta, "event", event);
        if let Some(rest) = said.and_then(|said| said.strip_prefix('/')) {
            let (command, more) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            tell(&mut message.meta, "command", command.split('@').next());
            tell(&mut message.meta, "referral", (command == "start").then_some(more.trim()));
        }
        // Where somebody is goes on changing for hours, and nobody writes that.
        message.automatic |= event.is_some() && told.get("location").is_some();
        match event {
            // Which message it was stands there already.
            Some(_) => message.references = vec![own],
            None => message.provider_id = Some(own),
        }
        if message.content == Content::default() {
            // Somebody joined, something was pinned: it belongs into the conversation, and nobody wrote it.
            let what = service(told).ok_or("a message with nothing in it that is known")?;
            message.automatic = true;
            message.content = Content::text(format!("[{}]", what.replace('_', " ")));
            tell(&mut message.meta, "event", Some("service"));
        }
        Ok(Inbound::Message(Box::new(message)))
    }

    /// A button that was pressed.
    fn choice(&self, query: &Value) -> Result<Inbound, String> {
        let id = text(query, "/id")
            .filter(|id| id.len() <= 64 && id.bytes().all(|b| b.is_ascii_graphic()))
            .ok_or("a press without an id")?;
        let data = text(query, "/data").ok_or("a press that says nothing: a game, or a button of another program")?;
        let under = query.get("message").ok_or("a press under a message that Telegram does not name")?;
        let key = format!("press.{id}");
        let mut message = self.blank(under, query.get("from"), &key, self.received_at)?;
        let rows = under.pointer("/reply_markup/inline_keyboard").and_then(Value::as_array).into_iter().flatten();
        let mut buttons = rows.filter_map(Value::as_array).flatten();
        let label = buttons.find(|b| text(b, "/callback_data") == Some(data)).and_then(|b| text(b, "/text"));
        message.content.text = label.unwrap_or(data).to_owned();
        message.content.choice = Some(Choice { id: data.to_owned(), label: label.map(str::to_owned) });
        if let (Some(chat), Some(answered)) = (number(under, "/chat/id"), number(under, "/message_id")) {
            message.references.push(message_key(&chat.to_string(), answered));
        }
        Ok(Inbound::Message(Box::new(message)))
    }

    /// Somebody blocked the bot, or takes it back.
    fn membership(&self, told: &Value) -> Result<Inbound, String> {
        let chat = number(told, "/chat/id").ok_or("a change without a chat")?;
        let status = text(told, "/new_chat_member/status").unwrap_or_default();
        let at = seconds(told, "/date").unwrap_or(self.received_at);
        let key = number(self.update, "/update_id").map_or_else(|| format!("{chat}.{}", at.0), |id| id.to_string());
        if text(told, "/chat/type") != Some("private") {
            let mut message = self.blank(told, told.get("from"), &format!("member.{key}"), at)?;
            message.automatic = true;
            message.content = Content::text(format!(
                "[the bot is now {} of this group]",
                status.chars().filter(char::is_ascii_lowercase).take(20).collect::<String>()
            ));
            tell(&mut message.meta, "event", Some("service"));
            return Ok(Inbound::Message(Box::new(message)));
        }
        let state = match status {
            "kicked" | "left" => ConsentState::OptedOut,
            "member" | "administrator" | "creator" | "restricted" => ConsentState::OptedIn,
            _ => return Err("a change of the bot's standing that is not known".into()),
        };
        let channel = &self.telegram.channel;
        Ok(Inbound::Consent(ConsentChange {
            id: event_id(channel, "consent", &key),
            channel: channel.clone(),
            address: Address::new("telegram", chat.to_string()),
            state,
            at,
            reason: Some(if state == ConsentState::OptedOut { "blocked the bot" } else { "unblocked the bot" }.into()),
            topic: None,
        }))
    }

    fn reaction(&self, told: &Value) -> Result<Inbound, String> {
        let (chat, id) = (number(told, "/chat/id"), number(told, "/message_id"));
        let (Some(chat), Some(id)) = (chat, id) else { return Err("a reaction without its chat or message".into()) };
        let at = seconds(told, "/date").unwrap_or(self.received_at);
        let key =
            number(self.update, "/update_id").map_or_else(|| format!("{chat}.{id}.{}", at.0), |id| id.to_string());
        let mut message = self.blank(told, told.get("user"), &format!("reaction.{key}"), at)?;
        let new = told.get("new_reaction").and_then(Value::as_array).into_iter().flatten();
        let shown: Vec<&str> = new.take(10).map(|r| text(r, "/emoji").unwrap_or("*")).collect();
        let said = if shown.is_empty() {
            "[took a reaction back]".into()
        } else {
            format!("[reacted with {}]", shown.join(" "))
        };
        message.automatic = true;
        message.content = Content::text(said);
        message.references = vec![message_key(&chat.to_string(), id)];
        tell(&mut message.meta, "event", Some("reaction"));
        Ok(Inbound::Message(Box::new(message)))
    }
}

/// The name of a service message.
fn service(told: &Value) -> Option<&str> {
    const BESIDE: [&str; 9] = [
        "message_id",
        "from",
        "chat",
        "date",
        "sender_chat",
        "via_bot",
        "message_thread_id",
        "reply_to_message",
        "has_protected_content",
    ];
    let names = told.as_object()?.keys().map(String::as_str);
    let is_name = |name: &&str| name.len() <= 60 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    names.filter(|name| !BESIDE.contains(name)).find(is_name)
}

/// What a message holds beside its words: files to fetch, and lines for what is none.
#[derive(Default)]
struct Found {
    files: Vec<Attachment>,
    lines: Vec<String>,
    kind: Option<&'static str>,
}

impl Found {
    fn of(telegram: &Telegram, told: &Value) -> Found {
        let mut found = Found::default();
        // An animation comes as a document, too.
        for (kind, name, mime) in
            FILES.iter().filter(|(kind, ..)| *kind != "document" || told.get("animation").is_none())
        {
            if let Some(file) = told.get(*kind).filter(|file| file.is_object()) {
                found.add(telegram, kind, file, name, mime);
            }
        }
        let sizes = told.get("photo").and_then(Value::as_array).into_iter().flatten();
        if let Some(largest) = sizes.max_by_key(|size| number(size, "/width").unwrap_or(0)) {
            found.add(telegram, "photo", largest, "photo.jpg", "image/jpeg");
        }
        found.lines.extend(lines(told));
        found
    }

    fn add(&mut self, telegram: &Telegram, kind: &'static str, file: &Value, name: &str, mime: &str) {
        let url = text(file, "/file_id").and_then(|id| telegram.bot.asked(id));
        let lost = || FileProblem { detail: "Telegram gave it no id that can be asked for".into(), again: false };
        let own = text(file, "/file_name").unwrap_or(name);
        self.kind.get_or_insert(kind);
        self.files.push(Attachment {
            name: own.chars().filter(|c| !c.is_control() && !matches!(c, '/' | '\\')).take(120).collect(),
            mime: text(file, "/mime_type").unwrap_or(mime).chars().take(120).collect(),
            size: number(file, "/file_size").and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
            problem: url.is_none().then(lost),
            url,
            ..Attachment::default()
        });
    }
}

/// What is no file and has no words of its own, in a line.
fn lines(told: &Value) -> Vec<String> {
    let mut lines = vec![];
    let decimal = |pointer: &str| told.pointer(pointer).and_then(Value::as_f64);
    let venue = text(told, "/venue/title");
    if let (Some(lat), Some(long)) = (decimal("/location/latitude"), decimal("/location/longitude")) {
        lines.push(match venue {
            Some(title) => format!("[{title}: {lat}, {long}]"),
            None => format!("[location: {lat}, {long}]"),
        });
    }
    if let Some(phone) = text(told, "/contact/phone_number") {
        let name = text(told, "/contact/first_name").unwrap_or("contact");
        lines.push(format!("[{name}: {phone}]"));
    }
    if let Some(question) = text(told, "/poll/question") {
        lines.push(format!("[poll: {question}]"));
    }
    if let Some(emoji) = text(told, "/dice/emoji") {
        lines.push(format!("{emoji} {}", number(told, "/dice/value").unwrap_or(0)));
    }
    if text(told, "/sticker/emoji").is_some() && told.get("text").is_none() {
        lines.push(text(told, "/sticker/emoji").unwrap_or_default().to_owned());
    }
    for (field, what) in [("/story", "[a story]"), ("/paid_media", "[paid media]"), ("/game", "[a game]")] {
        if told.pointer(field).is_some() {
            lines.push(what.to_owned());
        }
    }
    lines
}
