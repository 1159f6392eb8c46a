//! What X's deliveries say: X Activity events (<https://docs.x.com/x-api/activity/event-payloads>) and, on the same address, those
//! of the older Account Activity API (<https://docs.x.com/x-api/account-activity/introduction>). Both are split into [`Event`]s, which
//! have the newer names, and each event is read alone.

mod direct;
mod files;
mod people;
mod post;

use crate::channel::{Public, Twitter};
use crate::json::{self, id, joined, raw, tell, text, time, unparsed};
use crate::send::group_thread;
use bytes::Bytes;
use people::People;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use switchboard_adapter_sdk::{RawRequest, signature::sha256_hex};
use switchboard_envelope::{
    Address, ChannelRefused, Content, Inbound, Message, Raw, Receipt, ReceiptStatus, Timestamp, Visibility, event_id,
};

pub(crate) use direct::Direct;

/// The most events of one delivery.
const MAX_EVENTS: usize = 2000;
/// The `kind` of the addresses of people on X.
pub(crate) const ADDRESS: &str = "twitter";
/// What stands for words that only the app can show.
const ENCRYPTED: &str = "[an encrypted message, which can only be read in the X app]";

/// A delivery, live or out of quarantine.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub body: &'a Bytes,
    pub received_at: Timestamp,
}

impl<'a> Source<'a> {
    pub(crate) fn of(request: &'a RawRequest) -> Source<'a> {
        Source { body: &request.body, received_at: request.received_at }
    }
}

/// The thread of what is said in public with somebody; what is said in private has their number alone.
pub(crate) fn public_thread(person: &str) -> String {
    format!("post:{person}")
}

/// One thing that happened.
struct Event<'a> {
    /// As the X Activity API calls it.
    kind: String,
    value: &'a Value,
    /// The people and files that came with it.
    around: &'a Value,
    /// The event's own id, where it has one.
    uuid: Option<String>,
    /// The account for which X tells it, where it says so.
    of: Option<String>,
    received_at: Timestamp,
    alone: Alone<'a>,
}

/// How the delivery with one event alone is made. It is made only where it is kept, for a delivery may have thousands of events.
enum Alone<'a> {
    /// The event is all of it.
    Whole(&'a Value),
    /// An X Activity event.
    Activity(&'a Value),
    /// An element of an X Activity event that brought several, of which that is the name and this the list.
    Several { name: &'a str, list: &'static str },
    /// An element of this list of the older API.
    Listed(&'a str),
}

impl Event<'_> {
    fn id(&self, pointer: &str) -> Option<String> {
        id(self.value, pointer)
    }

    fn text(&self, pointer: &str) -> Option<&str> {
        text(self.value, pointer)
    }

    /// The delivery with this event alone.
    fn alone(&self) -> Value {
        let users = || People::named(self.around, self.value);
        match &self.alone {
            Alone::Whole(all) => (*all).clone(),
            Alone::Listed(name) => {
                let mut alone = Map::from_iter([((*name).to_owned(), json!([self.value])), ("users".into(), users())]);
                alone.extend(self.of.clone().map(|of| ("for_user_id".to_owned(), Value::String(of))));
                Value::Object(alone)
            }
            Alone::Activity(data) => json!({ "data": data }),
            Alone::Several { name, list } => {
                let filter = self.of.as_ref().map(|of| json!({ "user_id": of }));
                let payload = json!({ (*list): [self.value], "users": users() });
                json!({ "data": {
                    "event_uuid": self.uuid, "filter": filter, "event_type": name, "payload": payload,
                }})
            }
        }
    }

    fn at(&self, pointers: &[&str]) -> Timestamp {
        pointers.iter().find_map(|pointer| time(self.value, pointer)).unwrap_or(self.received_at)
    }
}

/// Reads a delivery. One event that cannot be read is set aside alone.
pub(crate) fn delivery(twitter: &Twitter, source: &Source<'_>) -> Vec<Inbound> {
    let channel = &twitter.channel;
    let whole =
        |reason: &str| vec![unparsed(channel, &sha256_hex(source.body), reason, source.received_at, raw(source.body))];
    let Ok(body) = serde_json::from_slice::<Value>(source.body) else { return whole("the body is no JSON") };
    let events = match split(&body, source.received_at) {
        Ok(events) => events,
        Err(reason) => return whole(&reason),
    };
    let only = events.len() == 1;
    let mut seen = BTreeSet::new();
    let mut all: Vec<Inbound> = vec![];
    for event in &events {
        let alone = Bytes::from(event.alone().to_string());
        let about = About { twitter, event, raw: raw(if only { source.body } else { &alone }) };
        let found = about.read().unwrap_or_else(|reason| {
            let key = sha256_hex(&alone);
            vec![unparsed(channel, &key, &reason, event.received_at, about.raw.clone())]
        });
        // The same event may stand twice in one delivery.
        all.extend(found.into_iter().filter(|inbound| seen.insert(inbound.id().to_owned())));
    }
    all
}

/// The threads in which somebody is writing to us.
pub(crate) fn typing(twitter: &Twitter, body: &Bytes) -> Vec<String> {
    // Most deliveries are something else, and are not read twice for it.
    let name = b"indicate_typing";
    if !body.windows(name.len()).any(|window| window == name) {
        return vec![];
    }
    let Ok(body) = serde_json::from_slice::<Value>(body) else { return vec![] };
    let events = split(&body, Timestamp(0)).unwrap_or_default();
    // What X tells for another account of the app is not said to ours.
    let is_ours = |event: &&Event<'_>| event.of.as_ref().is_none_or(|of| *of == twitter.user_id);
    let typing = events.iter().filter(|event| event.kind == "dm.indicate_typing").filter(is_ours);
    let senders: BTreeSet<String> = typing.filter_map(|event| event.id("/sender_id")).collect();
    senders.into_iter().filter(|sender| json::is_number(sender) && *sender != twitter.user_id).collect()
}

/// The lists of the Account Activity API, and what each is called by its successor. Where an event has a `type`, that is the rest
/// of the name.
const LISTS: [(&str, &str); 9] = [
    ("direct_message_events", "dm"),
    ("direct_message_indicate_typing_events", "dm.indicate_typing"),
    ("direct_message_mark_read_events", "dm.read"),
    ("tweet_create_events", "post"),
    ("tweet_delete_events", "post.delete"),
    ("favorite_events", "like.create"),
    ("follow_events", "follow."),
    ("block_events", "block."),
    ("mute_events", "mute."),
];

/// The longest name of an event or a list.
const MAX_NAME: usize = 100;
const TOO_MANY: &str = "more events than X puts into one delivery";

/// At most [`MAX_EVENTS`]: nothing is made of any before they are counted.
fn split(body: &Value, received_at: Timestamp) -> Result<Vec<Event<'_>>, String> {
    if let Some(data) = body.get("data") {
        let list = data.as_array().map_or(std::slice::from_ref(data), Vec::as_slice);
        let mut events = vec![];
        for data in list {
            activity(data, received_at, &mut events);
            if events.len() > MAX_EVENTS {
                return Err(TOO_MANY.into());
            }
        }
        return Ok(events);
    }
    if body.get("user_event").is_some() || body.get("replay_job_status").is_some() {
        let name = if body.get("user_event").is_some() { "user_event" } else { "replay_job_status" };
        let value = body.get(name).unwrap_or(&Value::Null);
        let kind = if value.get("revoke").is_some() { "oauth.revoke".to_owned() } else { format!("aaa.{name}") };
        let event = Event { kind, value, around: body, uuid: None, of: None, received_at, alone: Alone::Whole(body) };
        return Ok(vec![event]);
    }
    let mut events = vec![];
    let Some(all) = body.as_object() else { return Err("the body is no JSON object".into()) };
    for (name, list) in all {
        let Some(list) = list.as_array() else { continue };
        if name.len() > MAX_NAME {
            return Err("a list whose name is longer than any of X's".into());
        }
        let known = LISTS.iter().find(|(list, _)| list == name);
        if events.len() + list.len() > MAX_EVENTS {
            return Err(TOO_MANY.into());
        }
        for value in list {
            let kind = match known {
                Some((_, kind)) if kind.ends_with('.') => {
                    format!("{kind}{}", text(value, "/type").unwrap_or("without a type"))
                }
                Some((_, kind)) => (*kind).to_owned(),
                None => format!("aaa.{name}"),
            };
            let (of, alone) = (id(body, "/for_user_id"), Alone::Listed(name));
            events.push(Event { kind, value, around: body, uuid: None, of, received_at, alone });
        }
    }
    if events.is_empty() && !all.keys().any(|name| LISTS.iter().any(|(list, _)| list == name)) {
        return Err("a delivery of a kind that is not known".into());
    }
    Ok(events)
}

/// An X Activity event; one that brings several direct messages is several.
fn activity<'a>(data: &'a Value, received_at: Timestamp, into: &mut Vec<Event<'a>>) {
    // It is repeated for each event.
    let called = text(data, "/event_type").filter(|name| name.len() <= MAX_NAME).unwrap_or("without a name");
    let kind = called.to_owned();
    let (uuid, of) = (id(data, "/event_uuid"), id(data, "/filter/user_id"));
    let nothing = &Value::Null;
    let payload = data.get("payload").unwrap_or(nothing);
    let list = ["direct_message_events", "direct_message_mark_read_events", "direct_message_indicate_typing_events"]
        .into_iter()
        .find_map(|name| Some((name, payload.get(name)?.as_array()?)));
    let Some((name, list)) = list else {
        let around = data.get("includes").unwrap_or(nothing);
        into.push(Event { kind, value: payload, around, uuid, of, received_at, alone: Alone::Activity(data) });
        return;
    };
    let kind = if kind.starts_with("dm.") && name == "direct_message_events" { "dm".to_owned() } else { kind };
    for value in list {
        if into.len() > MAX_EVENTS {
            return;
        }
        let (kind, uuid, of) = (kind.clone(), uuid.clone(), of.clone());
        let alone = Alone::Several { name: called, list: name };
        into.push(Event { kind, value, around: payload, uuid, of, received_at, alone });
    }
}

/// What happened, and to whom.
struct About<'a> {
    twitter: &'a Twitter,
    event: &'a Event<'a>,
    raw: Raw,
}

/// What is known, and says nothing that a conversation needs: beginnings of names.
const NOISE: [&str; 9] =
    ["like.", "follow.", "mute.", "block.", "profile.", "spaces.", "news.", "post.repost.", "chat.conversation_join"];

impl About<'_> {
    fn read(&self) -> Result<Vec<Inbound>, String> {
        match self.event.kind.as_str() {
            "dm" => self.direct().map(|found| found.into_iter().collect()),
            "dm.read" => self.receipts(),
            // A hint of the moment; X repeats nothing of it, and nothing follows from it.
            "dm.indicate_typing" => Ok(vec![]),
            "chat.received" | "chat.sent" => self.encrypted().map(|found| found.into_iter().collect()),
            "post" | "post.create" | "post.mention.create" | "post.reply.create" | "post.quote.create" => {
                self.post().map(|found| found.into_iter().collect())
            }
            "post.delete" => self.deleted().map(|found| found.into_iter().collect()),
            "oauth.revoke" => self.revoked().map(|found| found.into_iter().collect()),
            "aaa.replay_job_status" => Ok(vec![]),
            kind if NOISE.iter().any(|known| kind.starts_with(known)) => Ok(self.noted(kind)?.into_iter().collect()),
            kind => Err(unknown(kind)),
        }
    }

    fn ours(&self) -> &str {
        &self.twitter.user_id
    }

    /// Whether X tells it for our account. An app calls one address for all of its accounts.
    fn for_us(&self) -> Result<(), String> {
        match &self.event.of {
            Some(of) if of != self.ours() => {
                Err(format!("an event for the account {of}, which is not this channel's user_id"))
            }
            _ => Ok(()),
        }
    }

    /// A message from somebody with nothing in it yet.
    fn blank(&self, person: &str, key: &str, at: Timestamp, visibility: Visibility) -> Message {
        let known = People(self.event.around).of(person);
        let mut meta = BTreeMap::from([("provider".to_owned(), "twitter".to_owned())]);
        known.told(&mut meta);
        let thread = if visibility == Visibility::Public { public_thread(person) } else { person.to_owned() };
        Message {
            id: event_id(&self.twitter.channel, "message", key),
            channel: self.twitter.channel.clone(),
            thread,
            at,
            received_at: self.event.received_at,
            from: Address { name: known.name, ..Address::new(ADDRESS, person) },
            to: Some(Address::new(ADDRESS, self.ours())),
            content: Content::default(),
            references: vec![],
            provider_id: None,
            visibility,
            automatic: false,
            authenticated: Some(true),
            meta,
            raw: Some(self.raw.clone()),
            traceparent: None,
            mail: None,
        }
    }

    /// A message that others hear too: in a group each person has a thread of their own.
    fn in_group(&self, group: &str, person: &str, key: &str, at: Timestamp) -> Message {
        let mut message = self.blank(person, key, at, Visibility::Public);
        message.thread = group_thread(group, person);
        tell(&mut message.meta, "chat", Some("group"));
        message
    }

    /// Somebody read everything up to a message.
    fn receipts(&self) -> Result<Vec<Inbound>, String> {
        self.for_us()?;
        let event = self.event;
        let reader = event.id("/sender_id").or_else(|| event.id("/reader_id")).ok_or("a read mark of nobody")?;
        if reader == self.ours() {
            return Ok(vec![]);
        }
        let last = event.id("/last_read_event_id").ok_or("a read mark that names no message")?;
        let read_at = event.at(&["/created_timestamp"]);
        // The message itself, and by time those before it: a message that was made later was not read by this.
        let upto = json::made_at(&last).map_or(read_at, |made| made.min(read_at));
        let receipt = |key: &str, provider_id: &str, thread: Option<String>, at| {
            Inbound::Receipt(Receipt {
                id: event_id(&self.twitter.channel, "receipt", &joined(&["read", &reader, &last, key])),
                channel: self.twitter.channel.clone(),
                provider_id: provider_id.to_owned(),
                thread,
                send: None,
                part: None,
                n: None,
                status: ReceiptStatus::Read,
                at,
                code: None,
                detail: None,
            })
        };
        Ok(vec![receipt("it", &last, None, read_at), receipt("before", "", Some(reader.clone()), upto)])
    }

    /// A message that only the app can decrypt: the agent has to know that there is one.
    fn encrypted(&self) -> Result<Option<Inbound>, String> {
        self.for_us()?;
        let event = self.event;
        let key = event.id("/id").or_else(|| event.uuid.clone()).ok_or("an encrypted message without an id")?;
        let at = event.at(&["/created_at_msec"]);
        let conversation = event.text("/conversation_id").unwrap_or_default();
        let (group, parties) = (direct::grouped(conversation), conversation.split([':', '-']));
        let other = || parties.clone().find(|id| *id != self.ours() && json::is_number(id)).map(str::to_owned);
        let sender = event.id("/sender_id").ok_or("an encrypted message of nobody")?;
        if sender == self.ours() {
            if group.is_some() {
                return Ok(None);
            }
            let to = other().ok_or("an encrypted message of ours to nobody who is known")?;
            return Ok(Some(self.echo(&key, &to, to.clone(), at, Content::text(ENCRYPTED))));
        }
        if !json::is_number(&sender) {
            return Err("an encrypted message of nobody who could be answered".into());
        }
        let mut message = match &group {
            Some(group) => self.in_group(group, &sender, &key, at),
            None => self.blank(&sender, &key, at, Visibility::Private),
        };
        message.content = Content::text(ENCRYPTED);
        tell(&mut message.meta, "event", Some("encrypted"));
        Ok(Some(Inbound::Message(Box::new(message))))
    }

    /// Our side's own words, by our app or by somebody in X's.
    fn echo(&self, key: &str, person: &str, thread: String, at: Timestamp, content: Content) -> Inbound {
        let known = People(self.event.around).of(person);
        Inbound::Echo(Box::new(switchboard_envelope::Echo {
            id: event_id(&self.twitter.channel, "echo", key),
            channel: self.twitter.channel.clone(),
            thread,
            at,
            provider_id: key.to_owned(),
            send: None,
            part: None,
            n: None,
            to: Address { name: known.name, ..Address::new(ADDRESS, person) },
            content,
        }))
    }

    /// Somebody took the app's rights away: for our own account nothing goes out any more.
    fn revoked(&self) -> Result<Option<Inbound>, String> {
        let value = self.event.value;
        let of = id(value, "/user_id").or_else(|| id(value, "/revoke/source/user_id"));
        let of = of.ok_or("a revocation of nobody's rights")?;
        if of != self.ours() {
            return Ok(None);
        }
        let at = time(value, "/date_time").or_else(|| time(value, "/revoke/date_time"));
        let app = id(value, "/app_id").or_else(|| id(value, "/revoke/target/app_id")).unwrap_or_default();
        let at = at.unwrap_or(self.event.received_at);
        let key = self.event.uuid.clone().unwrap_or_else(|| joined(&["revoke", &app, &at.0.to_string()]));
        Ok(Some(Inbound::Refused(ChannelRefused {
            id: event_id(&self.twitter.channel, "refused", &key),
            channel: self.twitter.channel.clone(),
            at,
            detail: "somebody revoked the app's access to the account on X: authorize it again, write the new tokens, subscribe it anew, \
                     then resume the channel"
                .into(),
        })))
    }

    /// What is no message, told in the conversation where the operator wants it so.
    fn noted(&self, kind: &str) -> Result<Option<Inbound>, String> {
        let value = self.event.value;
        if !self.twitter.activity || self.twitter.public == Public::Ignore {
            return Ok(None);
        }
        self.for_us()?;
        let pointers =
            ["/source/id", "/source/data/id", "/user/id", "/user/data/id", "/author_id", "/user_id", "/liker/id"];
        let person = pointers.iter().find_map(|at| id(value, at));
        let Some(person) = person.filter(|id| json::is_number(id) && id != self.ours()) else { return Ok(None) };
        let at = self.event.at(&["/created_timestamp", "/timestamp_ms", "/created_at"]);
        let key = self.event.uuid.clone().unwrap_or_else(|| joined(&[kind, &person, &at.0.to_string()]));
        let mut message = self.blank(&person, &joined(&["note", &key]), at, Visibility::Public);
        message.automatic = true;
        message.content = Content::text(format!("[{kind}]"));
        tell(&mut message.meta, "event", Some(kind));
        Ok(Some(Inbound::Message(Box::new(message))))
    }
}

/// A direct message out of a list.
pub(crate) fn listed(
    twitter: &Twitter,
    value: &Value,
    includes: &Value,
    raw: Raw,
    now: Timestamp,
) -> Result<Option<Inbound>, String> {
    let alone = Alone::Whole(value);
    let event = Event { kind: "dm".into(), value, around: includes, uuid: None, of: None, received_at: now, alone };
    About { twitter, event: &event, raw }.said_directly(Direct::of_list(value, includes)?)
}

fn unknown(kind: &str) -> String {
    let is_name = kind.len() <= 60 && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'.');
    if is_name {
        format!("an event of a kind that is not known: {kind}")
    } else {
        "an event of a kind that is not known".into()
    }
}
