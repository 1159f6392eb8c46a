//! What WhatsApp's webhooks say (<https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/reference>).

use super::{
    GROUP, WhatsApp,
    codes::{CODES, DAY_MS, STOPPED, is_for_tomorrow},
};
use crate::apart::WHATSAPP;
use crate::event::{self, Event, Size, Source, file, joined, kept_id, referred, tell, text, time, written};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use switchboard_adapter_sdk::classify;
use switchboard_envelope::{
    Address, ChannelRefused, Choice, ConsentChange, ConsentState, Content, Echo, Inbound, Message, Raw, Receipt,
    ReceiptStatus, Timestamp, Visibility, event_id,
};

/// Lists of a change's value that hold events, each of which is one.
const LISTS: [&str; 5] = ["messages", "statuses", "user_preferences", "message_echoes", "errors"];
/// Who wrote, beside the lists.
const CONTACTS: &str = "contacts";
/// The topic of messages that sell something, as a template's category names it.
const MARKETING: &str = "marketing";
/// Fields of a form that are told to rules.
const MAX_FORM: usize = 20;

pub(super) fn delivery(whatsapp: &WhatsApp, source: &Source<'_>) -> Vec<Inbound> {
    event::delivery(&whatsapp.channel, source, split, |event, raw| one(whatsapp, event, raw))
}

/// Each item of each change, wrapped in a delivery of its own together with what is said of all of them.
fn split(body: &Value, received_at: Timestamp) -> Result<Vec<Event>, &'static str> {
    if body.get("object").and_then(Value::as_str) != Some(WHATSAPP) {
        return Err("the delivery is of another product: its `object` is not this channel's");
    }
    let entries = body.get("entry").and_then(Value::as_array).ok_or("the delivery has no list of entries")?;
    let mut size = Size::default();
    let mut found = vec![];
    for entry in entries {
        let changes = entry.get("changes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if changes.is_empty() {
            size.add(1, 0)?;
            found.push(Found::Nothing(entry));
        }
        for change in changes {
            let change = Change::of(entry, change);
            change.weigh(&mut size)?;
            found.push(Found::Change(change));
        }
    }
    Ok(found.iter().flat_map(|found| found.events(received_at)).collect())
}

/// What an entry has in it.
enum Found<'a> {
    Change(Change<'a>),
    /// The entry has no changes, whatever else it has.
    Nothing(&'a Value),
}

impl Found<'_> {
    fn events(&self, received_at: Timestamp) -> Vec<Event> {
        match self {
            Found::Change(change) => change.events(received_at),
            Found::Nothing(entry) => {
                let alone = json!({ "object": WHATSAPP, "entry": [entry] });
                vec![Event { value: Value::Null, alone, received_at }]
            }
        }
    }
}

/// A change, with its items apart from what is said of all of them.
struct Change<'a> {
    entry: &'a Value,
    change: &'a Value,
    items: Vec<(&'static str, &'a Value)>,
    around: Vec<(&'a String, &'a Value)>,
    /// Who is told of, by each of their ids.
    contacts: BTreeMap<&'a str, &'a Value>,
    only_contact: Option<&'a Value>,
}

impl<'a> Change<'a> {
    fn of(entry: &'a Value, change: &'a Value) -> Change<'a> {
        let value = change.get("value").and_then(Value::as_object);
        let lists = LISTS.iter().filter_map(|list| Some((*list, value?.get(*list)?.as_array()?)));
        let is_apart = |name: &str| LISTS.contains(&name) || name == CONTACTS;
        let told = value.and_then(|value| value.get(CONTACTS)?.as_array()).map(Vec::as_slice).unwrap_or_default();
        let ids = |contact: &'a Value| ["/wa_id", "/user_id"].into_iter().filter_map(|id| text(contact, id));
        Change {
            entry,
            change,
            items: lists.flat_map(|(list, items)| items.iter().map(move |item| (list, item))).collect(),
            around: value.into_iter().flatten().filter(|(name, _)| !is_apart(name)).collect(),
            // The first one counts, where two are told of with one id.
            contacts: told.iter().rev().flat_map(|contact| ids(contact).map(move |id| (id, contact))).collect(),
            only_contact: told.first().filter(|_| told.len() == 1),
        }
    }

    /// Adds its items, each with what stands around it.
    fn weigh(&self, size: &mut Size) -> Result<(), &'static str> {
        let around: usize = self.around.iter().map(|(name, value)| name.len() + written(Some(value))).sum();
        let around = around + written(self.entry.get("id")) + written(self.change.get("field"));
        if self.items.is_empty() {
            return size.add(1, around);
        }
        for (_, item) in &self.items {
            let people: usize = self.people(item).into_iter().map(|contact| written(Some(contact))).sum();
            size.add(1, around + people)?;
        }
        Ok(())
    }

    fn events(&self, received_at: Timestamp) -> Vec<Event> {
        let event = |item: &Value, value: Value| {
            let alone = json!({ "object": WHATSAPP, "entry": [{ "id": self.entry.get("id"),
                "changes": [{ "field": self.change.get("field"), "value": value }] }] });
            Event { value: item.clone(), alone, received_at }
        };
        if self.items.is_empty() {
            return vec![event(&Value::Null, self.change.get("value").cloned().unwrap_or_default())];
        }
        let one = |(list, item): &(&'static str, &Value)| {
            let around = self.around.iter().map(|(name, value)| ((*name).clone(), (*value).clone()));
            let mut value: Map<String, Value> = around.collect();
            let people: Vec<&Value> = self.people(item);
            if !people.is_empty() {
                value.insert(CONTACTS.to_owned(), json!(people));
            }
            value.insert((*list).to_owned(), json!([item]));
            event(item, Value::Object(value))
        };
        self.items.iter().map(one).collect()
    }

    /// Who is told of and has to do with the item: nobody's record has others in it.
    fn people(&self, item: &Value) -> Vec<&'a Value> {
        const IDS: [&str; 6] = ["/from", "/to", "/recipient_id", "/wa_id", "/from_user_id", "/user_id"];
        if let Some(contact) = self.only_contact {
            return vec![contact];
        }
        let mut people: Vec<&Value> = vec![];
        for contact in IDS.iter().filter_map(|id| self.contacts.get(text(item, id)?).copied()) {
            if !people.iter().any(|known| std::ptr::eq(*known, contact)) {
                people.push(contact);
            }
        }
        people
    }
}

fn one(whatsapp: &WhatsApp, event: &Event, raw: Raw) -> Result<Vec<Inbound>, String> {
    let Some(change) = event.alone.pointer("/entry/0/changes/0") else { return Err("an entry without changes".into()) };
    let value = change.get("value").unwrap_or(&Value::Null);
    let field: String = text(change, "/field").unwrap_or("without a name").chars().take(60).collect();
    if let Some(refused) = disabled(whatsapp, event, value, &field) {
        return refused.map(|refused| vec![refused]);
    }
    let Some(list) = LISTS.iter().find(|list| value.get(**list).is_some()) else {
        return Err(format!("a change of the field {field}, which this channel does not read"));
    };
    match event::id(value, "/metadata/phone_number_id") {
        Some(id) if id == whatsapp.phone_number_id => {}
        _ => return Err("a change of another number than this channel's phone_number_id".into()),
    }
    let at = time(&event.value, "/timestamp").unwrap_or(event.received_at);
    let about = About { whatsapp, event, value, at, raw };
    match *list {
        "messages" => about.message().map(|message| vec![Inbound::Message(Box::new(message))]),
        "statuses" => about.status(),
        "user_preferences" => about.preference(),
        "message_echoes" => about.echo().map(|echo| vec![Inbound::Echo(Box::new(echo))]),
        _ => {
            let code = event.value.get("code").and_then(Value::as_i64).unwrap_or(0);
            Err(format!("WhatsApp reports the error {code}"))
        }
    }
}

/// The account is closed, or about to be. Where the channel knows which one it is of, another's says nothing of it.
fn disabled(whatsapp: &WhatsApp, event: &Event, value: &Value, field: &str) -> Option<Result<Inbound, String>> {
    let what = text(value, "/event").filter(|_| field == "account_update")?;
    let state = text(value, "/ban_info/waba_ban_state").unwrap_or_default();
    if what != "ACCOUNT_DELETED" && (what != "DISABLED_UPDATE" || state != "DISABLE") {
        return None;
    }
    let of = event::id(&event.alone, "/entry/0/id").unwrap_or_default();
    if whatsapp.business.as_ref().is_some_and(|ours| *ours != of) {
        return Some(Err("another business account than this channel's business_account_id is closed".into()));
    }
    let key = kept_id(&switchboard_adapter_sdk::signature::sha256_hex(event.alone.to_string().as_bytes()));
    Some(Ok(Inbound::Refused(ChannelRefused {
        id: event_id(&whatsapp.channel, "refused", &key),
        channel: whatsapp.channel.clone(),
        at: event.received_at,
        detail: "WhatsApp closed the business account: look into the business manager".into(),
    })))
}

/// What one item is about, beside its own words.
struct About<'a> {
    whatsapp: &'a WhatsApp,
    event: &'a Event,
    /// What is said of all items of the change.
    value: &'a Value,
    at: Timestamp,
    raw: Raw,
}

impl About<'_> {
    /// Who wrote: their number, or where they show none, WhatsApp's id for them.
    fn person(&self) -> Option<String> {
        ["/from", "/wa_id", "/from_user_id", "/user_id"].iter().find_map(|pointer| self.event.id(pointer))
    }

    fn name(&self, person: &str) -> Option<String> {
        let contacts = self.value.get("contacts").and_then(Value::as_array)?;
        let is_person = |contact: &&Value| ["/wa_id", "/user_id"].iter().any(|p| text(contact, p) == Some(person));
        let contact = contacts.iter().find(is_person).or_else(|| contacts.first().filter(|_| contacts.len() == 1))?;
        let name = text(contact, "/profile/name").or_else(|| text(contact, "/profile/username"))?;
        Some(name.chars().filter(|c| !c.is_control()).take(120).collect())
    }

    fn blank(&self, key: &str) -> Result<Message, String> {
        let whatsapp = self.whatsapp;
        let person = self.person().ok_or("an event of nobody who could be answered")?;
        let group = self.event.id("/group_id");
        let mut meta = BTreeMap::from([("provider".to_owned(), "whatsapp".to_owned())]);
        tell(&mut meta, "group", group.as_deref());
        let ours = text(self.value, "/metadata/display_phone_number").unwrap_or(&whatsapp.phone_number_id);
        let from = Address { name: self.name(&person), ..Address::new("whatsapp", person.clone()) };
        Ok(Message {
            id: event_id(&whatsapp.channel, "message", key),
            channel: whatsapp.channel.clone(),
            thread: group.map_or(person, |group| format!("{GROUP}{group}")),
            at: self.at,
            received_at: self.event.received_at,
            from,
            to: Some(Address::new("whatsapp", kept_id(ours))),
            content: Content::default(),
            references: vec![],
            provider_id: None,
            visibility: Visibility::Private,
            automatic: false,
            authenticated: Some(true),
            meta,
            raw: Some(self.raw.clone()),
            traceparent: None,
            mail: None,
        })
    }

    /// What is no message, but belongs into the conversation: it opens no window and is answered by no rule.
    fn note(&self, name: &str, key: &str, said: impl Into<String>) -> Result<Message, String> {
        let mut message = self.blank(key)?;
        message.automatic = true;
        message.content = Content::text(said);
        tell(&mut message.meta, "event", Some(name));
        Ok(message)
    }

    fn message(&self) -> Result<Message, String> {
        let event = self.event;
        let id = event.id("/id").ok_or("a message without an id")?;
        let kind = event.text("/type").unwrap_or_default();
        let mut message = match kind {
            "reaction" => return self.reaction(&id),
            "edit" | "revoke" => return self.changed(&id, kind),
            "system" => self.note("system", &id, event.text("/system/body").unwrap_or("[something changed]"))?,
            "request_welcome" => self.note("welcome", &id, "[opened the conversation]")?,
            _ => self.blank(&id)?,
        };
        if !message.automatic {
            self.fill(&mut message, kind)?;
        }
        message.provider_id = Some(id);
        message.references.extend(event.id("/context/id"));
        let flag = |pointer: &str| event.value.pointer(pointer).and_then(Value::as_bool) == Some(true);
        tell(&mut message.meta, "forwarded", flag("/context/forwarded").then_some("true"));
        tell(&mut message.meta, "referral", event.text("/referral/source_url"));
        tell(&mut message.meta, "ad", event.text("/referral/source_id"));
        Ok(message)
    }

    /// The words and files of a message, by its kind.
    fn fill(&self, message: &mut Message, kind: &str) -> Result<(), String> {
        let event = self.event;
        let (content, meta) = (&mut message.content, &mut message.meta);
        let choice = |id: Option<&str>, label: Option<&str>| {
            let id = id.or(label)?;
            Some(Choice { id: id.to_owned(), label: label.map(str::to_owned) })
        };
        match kind {
            "text" => content.text = event.text("/text/body").unwrap_or_default().to_owned(),
            "image" | "audio" | "voice" | "video" | "document" | "sticker" => self.media(message, kind)?,
            "location" => content.text = located(&event.value),
            "contacts" => content.text = contacts(&event.value),
            "button" => {
                let (payload, label) = (event.text("/button/payload"), event.text("/button/text"));
                content.choice = choice(payload, label);
                content.text = label.or(payload).unwrap_or("[a button]").to_owned();
            }
            "interactive" => {
                let reply = ["/interactive/button_reply", "/interactive/list_reply"]
                    .into_iter()
                    .find_map(|p| event.value.pointer(p));
                if let Some(reply) = reply {
                    content.choice = choice(text(reply, "/id"), text(reply, "/title"));
                    content.text =
                        text(reply, "/title").or_else(|| text(reply, "/id")).unwrap_or("[a choice]").to_owned();
                } else if event.value.pointer("/interactive/nfm_reply").is_some() {
                    content.text = form(&event.value, meta);
                } else {
                    return Err("an answer of a kind that is not known".into());
                }
            }
            "order" => {
                let items = event.value.pointer("/order/product_items").and_then(Value::as_array).map_or(0, Vec::len);
                let words = event.text("/order/text").unwrap_or_default();
                content.text = format!("[an order of {items} items] {words}").trim_end().to_owned();
            }
            "unsupported" | "unknown" => {
                content.text = "[a message that can only be read in the app]".into();
                let code = event.value.pointer("/errors/0/code").and_then(Value::as_i64);
                tell(meta, "unsupported", Some("true"));
                tell(meta, "error", code.map(|code| code.to_string()).as_deref());
            }
            other => {
                let is_name = other.len() <= 40 && other.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                let name = if is_name { other } else { "without a name" };
                return Err(format!("a message of a kind that is not known: {name}"));
            }
        }
        if message.content == Content::default() {
            return Err("a message with nothing in it that is known".into());
        }
        Ok(())
    }

    fn media(&self, message: &mut Message, kind: &str) -> Result<(), String> {
        let media = self.event.value.get(kind).ok_or("a file that is not described")?;
        let id = event::id(media, "/id").ok_or("a file without an id")?;
        let is_voice = kind == "voice" || media.get("voice").and_then(Value::as_bool) == Some(true);
        let name = text(media, "/filename").unwrap_or(if is_voice { "voice message" } else { kind });
        // Where it is, WhatsApp says when it is asked by the id.
        let is_plain = id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let url = is_plain.then(|| self.whatsapp.graph.object(&id));
        message.content.text = text(media, "/caption").unwrap_or_default().to_owned();
        message.content.attachments = vec![file(name, text(media, "/mime_type"), url.as_deref())];
        tell(&mut message.meta, "voice", is_voice.then_some("true"));
        tell(&mut message.meta, "file", Some(kind));
        Ok(())
    }

    fn reaction(&self, id: &str) -> Result<Message, String> {
        let event = self.event;
        let to = event.id("/reaction/message_id").ok_or("a reaction to no message")?;
        let (name, said) = match event.text("/reaction/emoji") {
            Some(emoji) => ("reaction", emoji),
            None => ("unreact", "[took a reaction back]"),
        };
        // One reaction's change and removal now and then share their id.
        let mut message = self.note(name, &joined(&[name, id, &to, &self.at.0.to_string()]), said)?;
        message.references = vec![to];
        Ok(message)
    }

    fn changed(&self, id: &str, kind: &str) -> Result<Message, String> {
        let of = self.event.id(&format!("/{kind}/original_message_id")).ok_or("a change of no message")?;
        let mut message = if kind == "edit" {
            let words =
                self.event.text("/edit/message/text/body").or_else(|| self.event.text("/edit/message/image/caption"));
            let mut message = self.blank(id)?;
            message.content = Content::text(words.unwrap_or("[changed a message]"));
            tell(&mut message.meta, "event", Some("edit"));
            message
        } else {
            self.note("unsend", id, "[the customer took this message back]")?
        };
        message.references = vec![of];
        Ok(message)
    }

    /// Somebody stops or resumes one kind of message: this says nothing of answers, so nobody is opted out of them.
    fn preference(&self) -> Result<Vec<Inbound>, String> {
        let event = self.event;
        let (category, value) = (event.text("/category").unwrap_or_default(), event.text("/value").unwrap_or_default());
        let person = self.person().unwrap_or_default();
        let kind = category
            .replace('_', " ")
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == ' ')
            .take(60)
            .collect::<String>();
        let verb = if value.eq_ignore_ascii_case("stop") { "stopped" } else { "resumed" };
        let key = joined(&["preference", &person, category, value, &self.at.0.to_string()]);
        let mut message = self.note("preference", &key, format!("[{verb} {kind}]"))?;
        tell(&mut message.meta, "category", Some(category));
        tell(&mut message.meta, "preference", Some(value));
        let state = match value.to_ascii_lowercase().as_str() {
            "stop" => Some(ConsentState::OptedOut),
            "resume" => Some(ConsentState::OptedIn),
            _ => None,
        };
        let change = state.filter(|_| category.eq_ignore_ascii_case("marketing_messages"));
        let change = change.map(|state| self.marketing(&key, &person, state, "their preferences"));
        Ok(std::iter::once(Inbound::Message(Box::new(message))).chain(change).collect())
    }

    /// What somebody wants of what is sold to them.
    fn marketing(&self, key: &str, person: &str, state: ConsentState, why: &str) -> Inbound {
        Inbound::Consent(ConsentChange {
            id: event_id(&self.whatsapp.channel, "consent", key),
            channel: self.whatsapp.channel.clone(),
            address: Address::new("whatsapp", person),
            state,
            at: self.at,
            reason: Some(format!("WhatsApp, by {why}")),
            topic: Some(MARKETING.to_owned()),
        })
    }

    fn status(&self) -> Result<Vec<Inbound>, String> {
        let event = self.event;
        let id = event.id("/id").ok_or("a status of no message")?;
        let word = event.text("/status").unwrap_or_default();
        let status = match word {
            "sent" => ReceiptStatus::Accepted,
            "delivered" => ReceiptStatus::Delivered,
            "read" | "played" => ReceiptStatus::Read,
            "failed" => ReceiptStatus::Failed,
            // That a message was deleted on a phone, and what is new, changes nothing that is known.
            _ => return Ok(vec![]),
        };
        let code = event.value.pointer("/errors/0/code").and_then(Value::as_i64).map(|code| code.to_string());
        let detail = (status == ReceiptStatus::Failed).then(|| {
            let row = code.as_deref().and_then(|code| classify::find(CODES, code));
            let why = row.map_or("WhatsApp did not deliver it", |row| row.sentence);
            // It was taken, so nobody sends it again by themselves: Meta may count it.
            if code.as_deref().is_some_and(is_for_tomorrow) {
                let day = i64::try_from(DAY_MS).unwrap_or(i64::MAX);
                return format!("{why}: send it again by hand after {}", self.at.plus(day));
            }
            why.to_owned()
        });
        let ours = event.text("/biz_opaque_callback_data").and_then(referred);
        let (send, part, n) = ours.map_or((None, None, None), |(send, part, n)| (Some(send), Some(part), Some(n)));
        // It was taken, and only then did WhatsApp look at what they want.
        let stopped = event.id("/recipient_id").filter(|_| code.as_deref() == Some(STOPPED));
        let stopped = stopped.filter(|_| status == ReceiptStatus::Failed).map(|person| {
            let key = joined(&[STOPPED, &id]);
            self.marketing(&key, &person, ConsentState::OptedOut, STOPPED)
        });
        let receipt = Inbound::Receipt(Receipt {
            id: event_id(&self.whatsapp.channel, "receipt", &joined(&[&id, word])),
            channel: self.whatsapp.channel.clone(),
            provider_id: id,
            thread: None,
            send,
            part,
            n,
            status,
            at: self.at,
            code: code.filter(|_| status == ReceiptStatus::Failed),
            detail,
        });
        Ok(std::iter::once(receipt).chain(stopped).collect())
    }

    /// Somebody of ours wrote with the app on the phone.
    fn echo(&self) -> Result<Echo, String> {
        let event = self.event;
        let id = event.id("/id").ok_or("an echo without an id")?;
        let person = event.id("/to").ok_or("an echo to nobody")?;
        let kind = event.text("/type").unwrap_or("text");
        let words = event.text("/text/body").or_else(|| event.text(&format!("/{kind}/caption")));
        let shown: String = kind.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
        Ok(Echo {
            id: event_id(&self.whatsapp.channel, "echo", &id),
            channel: self.whatsapp.channel.clone(),
            thread: person.clone(),
            at: self.at,
            provider_id: id,
            send: None,
            part: None,
            n: None,
            to: Address::new("whatsapp", person),
            content: Content::text(words.map_or_else(|| format!("[{shown}]"), str::to_owned)),
        })
    }
}

fn located(message: &Value) -> String {
    let number = |name: &str| message.pointer(&format!("/location/{name}")).and_then(Value::as_f64);
    let place = match (number("latitude"), number("longitude")) {
        (Some(latitude), Some(longitude)) => format!("[location: {latitude}, {longitude}]"),
        _ => "[location]".into(),
    };
    let names = ["/location/name", "/location/address"].into_iter().filter_map(|pointer| text(message, pointer));
    [place.as_str()].into_iter().chain(names).collect::<Vec<_>>().join("\n")
}

fn contacts(message: &Value) -> String {
    let all = message.get("contacts").and_then(Value::as_array).into_iter().flatten().take(20);
    let line = |contact: &Value| {
        let name = text(contact, "/name/formatted_name").unwrap_or("a contact").to_owned();
        let phones = contact.get("phones").and_then(Value::as_array).into_iter().flatten().take(5);
        let numbers: Vec<&str> = phones.filter_map(|phone| text(phone, "/phone")).collect();
        format!("[{name}] {}", numbers.join(", ")).trim_end().to_owned()
    };
    all.map(line).collect::<Vec<_>>().join("\n")
}

/// The answers to a form, a line each; its token is of no use to a reader.
fn form(message: &Value, meta: &mut BTreeMap<String, String>) -> String {
    let written = text(message, "/interactive/nfm_reply/response_json").unwrap_or_default();
    let fields = serde_json::from_str::<Map<String, Value>>(written).unwrap_or_default();
    let mut lines: Vec<String> = vec![];
    for (name, value) in fields.iter().take(MAX_FORM) {
        let said = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let plain: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
            .take(40)
            .collect();
        tell(meta, &format!("form_{plain}"), Some(&said));
        if name != "flow_token" {
            lines.push(format!("{name}: {said}"));
        }
    }
    if lines.is_empty() {
        text(message, "/interactive/nfm_reply/body").unwrap_or("[a form]").to_owned()
    } else {
        lines.join("\n")
    }
}
