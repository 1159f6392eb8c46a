//! What a page's webhooks say (<https://developers.facebook.com/docs/messenger-platform/reference/webhook-events>).

use super::Page;
use crate::event::{self, Event, MAX_FILES, Size, Source, file, joined, kept_id, referred, tell, time, written};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use switchboard_envelope::{
    Address, Attachment, ChannelRefused, Choice, Content, Echo, FileProblem, Inbound, Message, Raw, Receipt,
    ReceiptStatus, Timestamp, Visibility, event_id,
};

/// Lists of an entry that hold events; those of the second belong to conversations that another app owns, those of the third are
/// of fields that nobody asked for.
const FIELDS: [&str; 3] = ["messaging", "standby", "changes"];

pub(super) fn delivery(page: &Page, source: &Source<'_>) -> Vec<Inbound> {
    event::delivery(&page.channel, source, |body, at| split(page, body, at), |event, raw| one(page, event, raw))
}

/// Each event of each entry, wrapped in a delivery of its own.
fn split(page: &Page, body: &Value, received_at: Timestamp) -> Result<Vec<Event>, &'static str> {
    if body.get("object").and_then(Value::as_str) != Some(page.kind.object) {
        return Err("the delivery is of another product: its `object` is not this channel's");
    }
    let entries = body.get("entry").and_then(Value::as_array).ok_or("the delivery has no list of entries")?;
    let mut size = Size::default();
    for entry in entries {
        let around = written(entry.get("id")) + written(entry.get("time"));
        let found = || FIELDS.iter().filter_map(|list| Some((*list, entry.get(*list)?.as_array()?)));
        let count: usize = found().map(|(_, list)| list.len()).sum();
        size.add(count.max(1), around)?;
    }
    Ok(entries.iter().flat_map(|entry| of_entry(page, entry, received_at)).collect())
}

fn of_entry(page: &Page, entry: &Value, received_at: Timestamp) -> Vec<Event> {
    let mut events = vec![];
    for list in FIELDS {
        for value in entry.get(list).and_then(Value::as_array).into_iter().flatten() {
            let alone = json!({ "object": page.kind.object, "entry": [{
                "id": entry.get("id"), "time": entry.get("time"), (list): [value],
            }]});
            events.push(Event { value: value.clone(), alone, received_at });
        }
    }
    if events.is_empty() {
        let alone = json!({ "object": page.kind.object, "entry": [entry] });
        events.push(Event { value: Value::Null, alone, received_at });
    }
    events
}

/// What one event is about, beside its own words.
struct About<'a> {
    page: &'a Page,
    event: &'a Event,
    person: String,
    at: Timestamp,
    standby: bool,
    raw: Raw,
}

fn one(page: &Page, event: &Event, raw: Raw) -> Result<Vec<Inbound>, String> {
    let entry = event.alone.pointer("/entry/0").unwrap_or(&Value::Null);
    let of = event::id(entry, "/id").unwrap_or_default();
    if !page.is(&of) {
        return Err(format!("an entry of {of}, which is not this channel's page_id"));
    }
    if entry.get("changes").is_some() {
        let field = event.text("/field").unwrap_or("without a name").chars().take(60).collect::<String>();
        return Err(format!("a change of the field {field}, which this channel does not read"));
    }
    if event.value.is_null() {
        return Err("an entry without events".into());
    }
    let at = time(&event.value, "/timestamp").or_else(|| time(entry, "/time")).unwrap_or(event.received_at);
    if let Some(refused) = enforced(page, event, at) {
        return Ok(vec![refused]);
    }
    let (sender, recipient) = (event.id("/sender/id"), event.id("/recipient/id"));
    // In an echo the page is the sender; some deliveries of echoes have them the other way round.
    let person = [sender, recipient].into_iter().flatten().find(|id| !page.is(id));
    let person = person.ok_or("an event of nobody who could be answered")?;
    let standby = entry.get("standby").is_some();
    About { page, event, person, at, standby, raw }.read()
}

/// Meta tells a page that it may not write any more.
fn enforced(page: &Page, event: &Event, at: Timestamp) -> Option<Inbound> {
    let action = event.text("/policy_enforcement/action").or_else(|| event.text("/policy-enforcement/action"))?;
    let key = joined(&[action, &at.0.to_string()]);
    let blocked = action.eq_ignore_ascii_case("block");
    blocked.then(|| {
        Inbound::Refused(ChannelRefused {
            id: event_id(&page.channel, "refused", &key),
            channel: page.channel.clone(),
            at,
            detail: "Meta blocks the page for breaking its policies: look into the page's settings".into(),
        })
    })
}

impl About<'_> {
    fn read(self) -> Result<Vec<Inbound>, String> {
        let has = |name: &str| self.event.value.get(name).is_some_and(Value::is_object);
        let found = if has("message") {
            self.message()?
        } else if has("delivery") {
            return Ok(self.receipts("/delivery", ReceiptStatus::Delivered, "delivery"));
        } else if has("read") {
            return Ok(self.receipts("/read", ReceiptStatus::Read, "read"));
        } else if has("postback") {
            self.postback()
        } else if has("message_edit") {
            self.edit()?
        } else if has("reaction") {
            self.reaction()?
        } else if has("referral") {
            self.referral()
        } else if has("optin") {
            self.optin()
        } else {
            self.noted()?
        };
        Ok(vec![found])
    }

    /// A message with nothing in it yet.
    fn blank(&self, key: &str) -> Message {
        let page = self.page;
        let mut meta = BTreeMap::from([("provider".to_owned(), page.kind.product.to_owned())]);
        tell(&mut meta, "standby", self.standby.then_some("true"));
        Message {
            id: event_id(&page.channel, "message", key),
            channel: page.channel.clone(),
            thread: self.person.clone(),
            at: self.at,
            received_at: self.event.received_at,
            from: page.person(&self.person),
            to: Some(Address::new(page.kind.address, page.page_id.clone())),
            content: Content::default(),
            references: vec![],
            provider_id: None,
            visibility: Visibility::Private,
            // What another app answers is ours to watch only.
            automatic: self.standby,
            authenticated: Some(true),
            meta,
            raw: Some(self.raw.clone()),
            traceparent: None,
            mail: None,
        }
    }

    /// What is no message, but belongs into the conversation: it opens no window and is answered by no rule.
    fn note(&self, name: &str, key: &str, text: impl Into<String>) -> Message {
        let mut message = self.blank(key);
        message.automatic = true;
        message.content = Content::text(text);
        tell(&mut message.meta, "event", Some(name));
        message
    }

    /// A key for an event without an id of its own.
    fn keyed(&self, name: &str, more: &[&str]) -> String {
        let at = self.at.0.to_string();
        joined(&[&[name, self.person.as_str(), at.as_str()], more].concat())
    }

    fn message(&self) -> Result<Inbound, String> {
        let event = self.event;
        let mid = event.id("/message/mid").ok_or("a message without an id")?;
        let flag = |pointer: &str| event.value.pointer(pointer).and_then(Value::as_bool) == Some(true);
        if flag("/message/is_echo") {
            return Ok(self.echo(mid));
        }
        if flag("/message/is_deleted") {
            let mut message = self.note("unsend", &joined(&["unsend", &mid]), "[the customer took this message back]");
            message.references = vec![mid];
            return Ok(boxed(message));
        }
        let mut message = self.blank(&mid);
        message.provider_id = Some(mid);
        message.references.extend(event.id("/message/reply_to/mid"));
        let found = Found::of(event.value.pointer("/message/attachments"));
        let said = event.text("/message/text").unwrap_or_default();
        let lines: Vec<&str> =
            [said].into_iter().chain(found.lines.iter().map(String::as_str)).filter(|t| !t.is_empty()).collect();
        message.content.text = lines.join("\n");
        message.content.attachments = found.files;
        if let Some(payload) = event.text("/message/quick_reply/payload") {
            let label = Some(said).filter(|said| !said.is_empty()).map(str::to_owned);
            message.content.choice = Some(Choice { id: payload.to_owned(), label });
        }
        if flag("/message/is_unsupported") {
            tell(&mut message.meta, "unsupported", Some("true"));
            if message.content.text.is_empty() {
                message.content.text = "[a message that can only be read in the app]".into();
            }
        }
        tell(&mut message.meta, "sticker", found.sticker.as_deref());
        tell(&mut message.meta, "file", found.kind.as_deref());
        tell(&mut message.meta, "story", event.id("/message/reply_to/story/id").as_deref());
        self.referred(&mut message.meta, "/message/referral");
        if message.content == Content::default() && !message.meta.contains_key("story") {
            return Err("a message with nothing in it that is known".into());
        }
        Ok(boxed(message))
    }

    /// Our side's own message, by our app or by somebody in theirs.
    fn echo(&self, mid: String) -> Inbound {
        let event = self.event;
        let ours = event.text("/message/metadata").and_then(referred);
        let (send, part, n) = match ours {
            Some((send, part, n)) => (Some(send), Some(part), Some(n)),
            None => (None, None, None),
        };
        let found = Found::of(event.value.pointer("/message/attachments"));
        let said = event.text("/message/text").unwrap_or_default();
        let lines: Vec<&str> =
            [said].into_iter().chain(found.lines.iter().map(String::as_str)).filter(|t| !t.is_empty()).collect();
        let elsewhere = |file: Attachment| Attachment {
            problem: Some(FileProblem {
                detail: "it was sent from the page's inbox, and is there".into(),
                again: false,
            }),
            ..file
        };
        Inbound::Echo(Box::new(Echo {
            id: event_id(&self.page.channel, "echo", &mid),
            channel: self.page.channel.clone(),
            thread: self.person.clone(),
            at: self.at,
            provider_id: mid,
            send,
            part,
            n,
            to: self.page.person(&self.person),
            content: Content {
                attachments: found.files.into_iter().map(elsewhere).collect(),
                ..Content::text(lines.join("\n"))
            },
        }))
    }

    fn postback(&self) -> Inbound {
        let event = self.event;
        let (title, payload) = (event.text("/postback/title"), event.text("/postback/payload"));
        let mid = event.id("/postback/mid");
        let key = mid.clone().unwrap_or_else(|| self.keyed("postback", &[payload.unwrap_or_default()]));
        let mut message = self.blank(&key);
        message.provider_id = mid;
        message.content.text = title.or(payload).unwrap_or("[a button]").to_owned();
        message.content.choice =
            payload.map(|payload| Choice { id: payload.to_owned(), label: title.map(str::to_owned) });
        tell(&mut message.meta, "event", Some("postback"));
        self.referred(&mut message.meta, "/postback/referral");
        boxed(message)
    }

    /// The person wrote it, so it asks for an eye as any message does.
    fn edit(&self) -> Result<Inbound, String> {
        let event = self.event;
        let mid = event.id("/message_edit/mid").ok_or("an edit of a message without an id")?;
        let number = event.value.pointer("/message_edit/num_edit").and_then(Value::as_u64).unwrap_or(0).to_string();
        let text = event.text("/message_edit/text").unwrap_or_default();
        let mut message = self.blank(&joined(&["edit", &mid, &number, &self.at.0.to_string()]));
        message.content = Content::text(text);
        message.references = vec![mid];
        tell(&mut message.meta, "event", Some("edit"));
        Ok(boxed(message))
    }

    fn reaction(&self) -> Result<Inbound, String> {
        let event = self.event;
        let mid = event.id("/reaction/mid").ok_or("a reaction to a message without an id")?;
        let removed = event.text("/reaction/action").is_some_and(|action| action.eq_ignore_ascii_case("unreact"));
        let (name, text) = if removed {
            ("unreact", "[took a reaction back]")
        } else {
            (
                "reaction",
                event.text("/reaction/emoji").or_else(|| event.text("/reaction/reaction")).unwrap_or("[a reaction]"),
            )
        };
        let mut message = self.note(name, &self.keyed(name, &[&mid]), text);
        message.references = vec![mid];
        tell(&mut message.meta, "reaction", event.text("/reaction/reaction"));
        Ok(boxed(message))
    }

    /// Somebody came by a link or an advertisement: it opens the window, though nothing was said.
    fn referral(&self) -> Inbound {
        let reference = self.event.text("/referral/ref").unwrap_or_default();
        let mut message = self.note("referral", &self.keyed("referral", &[reference]), "[came through a link]");
        message.automatic = self.standby;
        self.referred(&mut message.meta, "/referral");
        boxed(message)
    }

    /// A topic's notifications are agreed to or stopped: this says nothing of answers.
    fn optin(&self) -> Inbound {
        let event = self.event;
        let status = event.text("/optin/notification_messages_status").unwrap_or_default();
        let topic =
            event.text("/optin/title").or_else(|| event.text("/optin/payload")).or_else(|| event.text("/optin/ref"));
        let said = match status.to_ascii_uppercase().as_str() {
            "STOP NOTIFICATIONS" => "[stopped notifications",
            "RESUME NOTIFICATIONS" => "[resumed notifications",
            _ => "[agreed to notifications",
        };
        let text = topic.map_or_else(|| format!("{said}]"), |topic| format!("{said}: {topic}]"));
        let token = event.text("/optin/notification_messages_token").unwrap_or_default();
        let mut message = self.note("optin", &self.keyed("optin", &[token, status]), text);
        let told = [
            ("topic", "/optin/payload"),
            ("token", "/optin/notification_messages_token"),
            ("status", "/optin/notification_messages_status"),
            ("optin", "/optin/type"),
        ];
        for (name, pointer) in told {
            tell(&mut message.meta, name, event.text(pointer));
        }
        boxed(message)
    }

    /// Events that are told of and change nothing: who owns the thread, linked accounts, games, feedback and typing.
    fn noted(&self) -> Result<Inbound, String> {
        const KNOWN: [(&str, &str); 12] = [
            ("pass_thread_control", "[another app passed the conversation on]"),
            ("take_thread_control", "[another app took the conversation]"),
            ("request_thread_control", "[another app asks for the conversation]"),
            ("app_roles", "[the roles of the page's apps changed]"),
            ("account_linking", "[linked or unlinked an account]"),
            ("game_play", "[played a game]"),
            ("messaging_feedback", "[gave feedback]"),
            ("order", "[an order]"),
            ("payment", "[a payment]"),
            ("checkout_update", "[changed the checkout]"),
            ("policy_enforcement", "[Meta lifted a block]"),
            ("message_context", "[looked at a message]"),
        ];
        let known = KNOWN.iter().find(|(name, _)| self.event.value.get(*name).is_some());
        if let Some((name, text)) = known {
            return Ok(boxed(self.note(name, &self.keyed(name, &[]), *text)));
        }
        let names = self.event.value.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let new: Vec<&str> =
            names.filter(|name| !matches!(*name, "sender" | "recipient" | "timestamp")).take(3).collect();
        let is_name = |name: &&str| name.len() <= 40 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        match new.iter().find(|name| is_name(name)) {
            Some(name) => Err(format!("an event of a kind that is not known: {name}")),
            None => Err("an event of a kind that is not known".into()),
        }
    }

    /// A receipt names messages, or a moment up to which it holds, or both. Whoever read one read those before it.
    fn receipts(&self, pointer: &str, status: ReceiptStatus, name: &str) -> Vec<Inbound> {
        let told = self.event.value.pointer(pointer).unwrap_or(&Value::Null);
        let until = time(told, "/watermark");
        let listed = told.get("mids").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let mids: Vec<String> =
            listed.filter(|mid| !mid.is_empty()).map(kept_id).chain(event::id(told, "/mid")).collect();
        let channel = &self.page.channel;
        let receipt = |key: &str, provider_id: &str, thread: Option<String>, at: Timestamp| {
            Inbound::Receipt(Receipt {
                id: event_id(channel, "receipt", key),
                channel: channel.clone(),
                provider_id: provider_id.to_owned(),
                thread,
                send: None,
                part: None,
                n: None,
                status,
                at,
                code: None,
                detail: None,
            })
        };
        let at = until.unwrap_or(self.at);
        let mut receipts: Vec<Inbound> = mids.iter().map(|mid| receipt(&joined(&[name, mid]), mid, None, at)).collect();
        if mids.is_empty() || until.is_some() || status == ReceiptStatus::Read {
            let key = joined(&[name, &self.person, &at.0.to_string()]);
            receipts.push(receipt(&key, "", Some(self.person.clone()), at));
        }
        receipts
    }

    fn referred(&self, meta: &mut BTreeMap<String, String>, pointer: &str) {
        for (name, field) in [("referral", "ref"), ("source", "source"), ("ad", "ad_id")] {
            tell(meta, name, self.event.text(&format!("{pointer}/{field}")));
        }
    }
}

fn boxed(message: Message) -> Inbound {
    Inbound::Message(Box::new(message))
}

/// What the attachments of a message are: files to fetch, and lines for what is none.
#[derive(Default)]
struct Found {
    files: Vec<Attachment>,
    lines: Vec<String>,
    sticker: Option<String>,
    kind: Option<String>,
}

impl Found {
    fn of(attachments: Option<&Value>) -> Found {
        let mut found = Found::default();
        let all = attachments.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for attachment in all.iter().take(MAX_FILES) {
            found.add(attachment);
        }
        if all.len() > MAX_FILES {
            found.lines.push(format!("[{} more files, which are not shown]", all.len() - MAX_FILES));
        }
        found
    }

    fn add(&mut self, attachment: &Value) {
        let kind = event::text(attachment, "/type").unwrap_or("file");
        let url = event::text(attachment, "/payload/url").or_else(|| event::text(attachment, "/url"));
        let title = event::text(attachment, "/payload/title").or_else(|| event::text(attachment, "/title"));
        if let Some(sticker) = event::id(attachment, "/payload/sticker_id") {
            // For a while one sticker came as two attachments.
            if self.sticker.as_ref() == Some(&sticker) {
                return;
            }
            self.kind.get_or_insert_with(|| "sticker".to_owned());
            self.sticker = Some(sticker);
            return self.files.push(file("sticker", None, url));
        }
        self.kind.get_or_insert_with(|| kind.to_owned());
        match kind {
            "location" => self.lines.push(located(attachment)),
            "like_heart" => self.lines.push("\u{2764}\u{fe0f}".into()),
            "fallback" | "template" | "appointment_booking" | "share" if title.is_some() || kind != "share" => {
                let words: Vec<&str> = [title, url].into_iter().flatten().collect();
                let shown = if words.is_empty() { format!("[{kind}]") } else { words.join(": ") };
                self.lines.push(shown);
            }
            _ => match url {
                Some(url) => self.files.push(file(&named(kind, url), None, Some(url))),
                None => self.lines.push(format!("[{}]", kind.chars().take(40).collect::<String>())),
            },
        }
    }
}

fn located(attachment: &Value) -> String {
    let number = |name: &str| attachment.pointer(&format!("/payload/coordinates/{name}")).and_then(Value::as_f64);
    match (number("lat"), number("long")) {
        (Some(lat), Some(long)) => format!("[location: {lat}, {long}]"),
        _ => "[location]".into(),
    }
}

/// A file's own name, where its address has one.
fn named(kind: &str, url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let is_name = last.len() <= 100 && last.contains('.') && !last.starts_with('.');
    let plain = last.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if kind == "file" && is_name && plain { last.to_owned() } else { kind.to_owned() }
}
