//! Direct messages. Webhooks of both kinds have them in the shape of the API's first version, the list in that of its second.

use super::{About, files::Found};
use crate::json::{id, is_number, text, time};
use crate::words::expanded;
use serde_json::Value;
use switchboard_envelope::{Choice, Content, Inbound, Timestamp, Visibility};

/// A direct message as it is in either shape.
pub(crate) struct Direct {
    pub id: String,
    pub sender: String,
    pub recipient: Option<String>,
    pub at: Option<Timestamp>,
    pub content: Content,
    pub files: Found,
    /// The group chat in which it was said.
    pub group: Option<String>,
    /// It began on a post of ours.
    pub post: Option<String>,
}

impl Direct {
    /// An element of `direct_message_events`.
    pub(crate) fn of_event(value: &Value) -> Result<Direct, String> {
        if value.get("message_create").is_none() {
            return Err("a direct message event of a kind that is not known".into());
        }
        let data = value.pointer("/message_create/message_data").unwrap_or(&Value::Null);
        let attachment = data.get("attachment");
        let media = attachment.and_then(|a| a.get("media"));
        let files = Found::of(media.into_iter());
        let links: Vec<&Value> = list(data, "/entities/urls");
        let dropped: Vec<&str> = files.links.iter().map(String::as_str).collect();
        let mut said = expanded(text(data, "/text").unwrap_or_default(), &links, &dropped);
        if let Some(place) = attachment.filter(|a| text(a, "/type") == Some("location")) {
            said = [said, located(place)].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join("\n");
        }
        let mut content = Content::text(files.beside(said));
        if let Some(answer) = data.get("quick_reply_response") {
            let label = Some(content.text.clone()).filter(|label| !label.is_empty());
            let chosen = text(answer, "/metadata").map(str::to_owned).or_else(|| label.clone());
            content.choice = chosen.map(|id| Choice { id, label });
        }
        Ok(Direct {
            id: id(value, "/id").ok_or("a direct message without an id")?,
            sender: id(value, "/message_create/sender_id").ok_or("a direct message of nobody")?,
            recipient: id(value, "/message_create/target/recipient_id"),
            at: time(value, "/created_timestamp"),
            content,
            files,
            group: text(value, "/dm_conversation_id").and_then(grouped),
            post: id(value, "/initiated_via/tweet_id"),
        })
    }

    /// An element of the list of events, with the files that came with the list.
    pub(crate) fn of_list(value: &Value, includes: &Value) -> Result<Direct, String> {
        let keys: Vec<&str> = list(value, "/attachments/media_keys").into_iter().filter_map(Value::as_str).collect();
        let known = list(includes, "/media");
        let media = known.into_iter().filter(|m| text(m, "/media_key").is_some_and(|key| keys.contains(&key)));
        let mut files = Found::of(media);
        let links = [list(value, "/entities/urls"), list(value, "/urls")].concat();
        let of_files = links.iter().filter(|link| link.get("media_key").is_some()).filter_map(|l| text(l, "/url"));
        files.links.extend(of_files.map(str::to_owned));
        let dropped: Vec<&str> = files.links.iter().map(String::as_str).collect();
        let said = expanded(text(value, "/text").unwrap_or_default(), &links, &dropped);
        let content = Content::text(files.beside(said));
        let sender = id(value, "/sender_id").ok_or("a direct message of nobody")?;
        let conversation = text(value, "/dm_conversation_id").unwrap_or_default();
        let other = conversation.split_once('-').map(|(a, b)| if a == sender { b } else { a });
        let recipient = other.filter(|other| is_number(other)).map(str::to_owned);
        Ok(Direct {
            id: id(value, "/id").ok_or("a direct message without an id")?,
            sender,
            recipient,
            at: time(value, "/created_at"),
            content,
            files,
            group: grouped(conversation),
            post: None,
        })
    }
}

impl About<'_> {
    pub(super) fn direct(&self) -> Result<Option<Inbound>, String> {
        self.said_directly(Direct::of_event(self.event.value)?)
    }

    /// What we said ourselves in a group is to nobody whose conversation it could join.
    pub(super) fn said_directly(&self, direct: Direct) -> Result<Option<Inbound>, String> {
        let Direct { id, sender, recipient, at, mut content, files, group, post } = direct;
        let at = at.or_else(|| crate::json::made_at(&id)).unwrap_or(self.event.received_at);
        // Between two people the recipient says whose it is; in a group nobody but X does.
        if group.is_some() {
            self.for_us()?;
        }
        if sender == self.ours() && group.is_some() {
            return Ok(None);
        }
        if sender == self.ours() {
            let to = recipient.filter(|to| to != self.ours()).ok_or("a message of ours to nobody who is known")?;
            content.choice = None;
            content.attachments = files.of_ours();
            return Ok(Some(self.echo(&id, &to, to.clone(), at, content)));
        }
        // Two accounts of one app in a conversation give the event twice; it is told by who takes part.
        if group.is_none() && recipient.as_deref() != Some(self.ours()) {
            return Err("a direct message between others".into());
        }
        if !crate::json::is_number(&sender) {
            return Err("a direct message of nobody who could be answered".into());
        }
        content.attachments = files.files;
        if content == Content::default() {
            return Err("a direct message with nothing in it that is known".into());
        }
        let mut message = match &group {
            Some(group) => self.in_group(group, &sender, &id, at),
            None => self.blank(&sender, &id, at, Visibility::Private),
        };
        message.provider_id = Some(id);
        message.content = content;
        message.references.extend(post);
        Ok(Some(Inbound::Message(Box::new(message))))
    }
}

/// The group of a conversation's name: that of two people has both of their numbers.
pub(super) fn grouped(conversation: &str) -> Option<String> {
    let of_two = conversation.contains([':', '-']);
    (!conversation.is_empty() && !of_two).then(|| crate::json::kept_id(conversation))
}

/// The most elements of a list beside or within an event that are looked at, so that many events beside a long list stay cheap.
const MAX_LISTED: usize = 1000;

pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> Vec<&'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten().take(MAX_LISTED).collect()
}

fn located(attachment: &Value) -> String {
    let pair = attachment.pointer("/location/shared_coordinate/coordinates/coordinates");
    let number = |i: usize| pair?.get(i)?.as_f64();
    match (number(1), number(0)) {
        (Some(lat), Some(long)) => format!("[location: {lat}, {long}]"),
        _ => "[location]".into(),
    }
}
