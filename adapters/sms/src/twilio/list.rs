//! The message list (<https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources>): what became
//! of a send whose answer was lost, and what the webhooks missed.
//!
//! **Proof of a send.** The list carries nothing of ours, so a message counts as the attempt only if it is the one message
//! with that text, those files and that address since the attempt was released. Two alike prove nothing. Twilio's dates have
//! whole seconds and its own clock: an attempt is not proved when the clocks differ by more than [`SKEW_MS`], and a twin that
//! was sent within that time before the attempt is taken for it. The daemon's lane sends one at a time, so a twin is that
//! near only if both were released within a second.
//!
//! **Catching up.** Each sweep reads the list from five minutes before the last one, and leaves the newest minute to the
//! webhooks: they say more (names, buttons, media addresses), and Twilio repeats them within that minute. Ids are the
//! same on both ways, so nothing is said twice.
//!
//! **Echoes.** With `echoes`, a sweep then reads the newest pages of what our number sent. Most of it the router knows as its
//! own by Twilio's sid; the rest somebody wrote in Twilio's own tools.

use super::{
    Twilio, is_token,
    read::{Heard, MEDIA_READ, events, file, mime},
    send::{recipient, state},
};
use crate::{number, request::unparsed};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use switchboard_adapter_sdk::{
    Answer, AttemptOutcome, Call, Polled,
    signature::{sha256_hex, to_base64},
};
use switchboard_envelope::{Attachment, Content, Echo, Inbound, JsonProblem, Raw, Reconcile, Timestamp, event_id};

/// How records out of the list are marked, in the `source` of their raw form.
pub(super) const SOURCE: &str = "list";

/// How a list of files is marked while it stands for them.
const LIST_NAME: &str = "files.json";
const LIST_TYPE: &str = Attachment::LIST;

const SKEW_MS: i64 = 1_000;
const OVERLAP_MS: i64 = 5 * 60_000;
const GRACE_MS: i64 = 60_000;
const PAGE: &str = "100";
/// The most pages of our own messages that a sweep reads: they are read for the few that are not the daemon's.
const ECHO_PAGES: u32 = 10;
/// The most sids that a cursor remembers, so that the overlap is not ingested again and again.
const MAX_SEEN: usize = 256;

#[derive(Deserialize)]
struct Page {
    messages: Vec<Value>,
    #[serde(default)]
    next_page_uri: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    sid: String,
    #[serde(default)]
    direction: String,
    #[serde(default)]
    status: String,
    from: Option<String>,
    to: Option<String>,
    body: Option<String>,
    /// A number in quotes.
    num_media: Option<Value>,
    date_created: Option<String>,
    date_sent: Option<String>,
    error_code: Option<Value>,
    subresource_uris: Option<BTreeMap<String, Value>>,
}

impl Item {
    fn of(json: &Value) -> Option<Item> {
        Item::deserialize(json).ok()
    }

    /// The time by which the list is sorted.
    fn at(&self) -> Option<Timestamp> {
        date(self.date_sent.as_deref()).or_else(|| self.created())
    }

    fn created(&self) -> Option<Timestamp> {
        date(self.date_created.as_deref())
    }

    fn media(&self) -> usize {
        match &self.num_media {
            Some(Value::String(n)) => n.parse().unwrap_or(0),
            Some(Value::Number(n)) => n.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
            _ => 0,
        }
    }
}

fn date(text: Option<&str>) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text?).ok().map(|at| Timestamp::from_jiff(at.timestamp()))
}

fn query(twilio: &Twilio, pairs: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("{}?{query}", twilio.messages_url)
}

pub(super) fn ask(twilio: &Twilio, attempt: &Reconcile) -> Option<Call> {
    let to = recipient(twilio, &attempt.to).ok()?;
    // Newest first, so the first page holds everything since the release. No filter by date: it would go by the day on which a
    // message was sent, which a queued message does not have yet.
    let mut pairs = vec![("To", to.as_str()), ("PageSize", PAGE)];
    let (field, sender) = &twilio.sender;
    if *field == "From" {
        pairs.push((field, sender));
    }
    Some(twilio.get(query(twilio, &pairs)))
}

pub(super) fn proof(twilio: &Twilio, attempt: &Reconcile, answer: &Answer) -> Option<AttemptOutcome> {
    let response = answer.as_ref().ok().filter(|response| response.status == 200)?;
    let page: Page = serde_json::from_slice(&response.body).ok()?;
    let to = recipient(twilio, &attempt.to).ok()?;
    let since = attempt.released_at.plus(-SKEW_MS);
    let mut twins = page
        .messages
        .iter()
        .filter_map(Item::of)
        .filter(|item| is_attempt(twilio, attempt, &to, item) && item.created().is_none_or(|at| at >= since));
    let (item, None) = (twins.next()?, twins.next()) else { return None };
    let is_in_time = item.created().is_some_and(|at| at <= attempt.until);
    (is_in_time && is_token(&item.sid)).then(|| state(item.sid, &item.status, item.error_code.as_ref()))
}

fn is_attempt(twilio: &Twilio, attempt: &Reconcile, to: &str, item: &Item) -> bool {
    let (field, sender) = &twilio.sender;
    item.direction.starts_with("outbound")
        && item.to.as_deref() == Some(to)
        // Twilio fills in the sender that it chose out of a service.
        && (*field != "From" || item.from.as_deref() == Some(sender.as_str()))
        && item.body.as_deref().unwrap_or_default().trim_end() == attempt.content.text.trim_end()
        && item.media() == attempt.content.attachments.len()
}

/// Where the catch-up is. It is stored between polls as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// When the last whole sweep began.
    since: Timestamp,
    /// What the overlap would tell again.
    #[serde(default)]
    seen: Vec<String>,
    /// A sweep of several pages that is not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sweep: Option<Sweep>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sweep {
    began: Timestamp,
    /// The page to read; empty for the first.
    next: String,
    /// What our number sent is read, by this many pages so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    echoes: Option<u32>,
    /// What the next sweep will see again.
    #[serde(default)]
    seen: Vec<String>,
}

impl Cursor {
    /// A cursor that cannot be read begins anew; so does a sweep whose page is of another list, as after another account was
    /// configured.
    fn read(twilio: &Twilio, text: Option<&str>, now: Timestamp) -> Cursor {
        let kept = text.and_then(|text| serde_json::from_str(text).ok());
        let mut cursor = kept.unwrap_or(Cursor { since: now, seen: vec![], sweep: None });
        cursor.sweep = cursor.sweep.filter(|s| s.next.is_empty() || page_path(twilio, &s.next).is_some());
        cursor
    }

    fn window(&self) -> Timestamp {
        self.since.plus(-OVERLAP_MS)
    }
}

pub(super) fn poll(twilio: &Twilio, cursor: Option<&str>, now: Timestamp) -> Option<Call> {
    // Without a number of our own the list would be the whole account's.
    let ours = twilio.from.as_ref().map(number::written)?;
    let cursor = Cursor::read(twilio, cursor, now);
    let url = match &cursor.sweep {
        Some(sweep) if !sweep.next.is_empty() => {
            format!("{}{}", twilio.base.as_str().trim_end_matches('/'), sweep.next)
        }
        sweep => {
            let whose = if sweep.as_ref().is_some_and(|s| s.echoes.is_some()) { "From" } else { "To" };
            // The filter knows days only.
            let day = cursor.window().to_string();
            let day = day.split('T').next().unwrap_or_default();
            query(twilio, &[(whose, &ours), ("DateSent>", day), ("PageSize", PAGE)])
        }
    };
    Some(twilio.get(url))
}

/// The path of a further page, if it is one of our list: the credentials go nowhere else.
fn page_path<'a>(twilio: &Twilio, uri: &'a str) -> Option<&'a str> {
    let list = format!("/2010-04-01/Accounts/{}/Messages.json?", twilio.account_sid);
    (uri.len() <= 2048 && uri.starts_with(&list) && !uri.chars().any(|c| c.is_control() || c == ' ')).then_some(uri)
}

fn written(cursor: &Cursor) -> Result<String, String> {
    serde_json::to_string(cursor).map_err(|e| e.to_string())
}

pub(super) fn polled(twilio: &Twilio, cursor: Option<&str>, answer: &Answer, now: Timestamp) -> Result<Polled, String> {
    let response = answer.as_ref().map_err(ToString::to_string)?;
    let mut cursor = Cursor::read(twilio, cursor, now);
    let is_further = cursor.sweep.as_ref().is_some_and(|sweep| !sweep.next.is_empty());
    if is_further && matches!(response.status, 400 | 404 | 410 | 422) {
        // Twilio gives that page no more. Asked again it would answer the same for ever, so the window begins anew.
        cursor.sweep = None;
        let complaint = Some(format!(
            "a page of the message list answered {}; the list is read from its beginning",
            response.status
        ));
        return Ok(Polled { complaint, cursor: written(&cursor)?, ..Polled::default() });
    }
    if response.status != 200 {
        return Err(format!("the message list answered {}", response.status));
    }
    let page: Page = serde_json::from_slice(&response.body)
        .map_err(|e| format!("the message list is not the documented JSON: {}", JsonProblem::from(&e)))?;
    let first = Sweep { began: now, next: String::new(), echoes: None, seen: vec![] };
    let mut sweep = cursor.sweep.take().unwrap_or(first);
    let (window, newest, next_window) = (cursor.window(), now.plus(-GRACE_MS), sweep.began.plus(-OVERLAP_MS));
    let mut found = vec![];
    let mut reached_window = page.messages.is_empty();
    for json in &page.messages {
        let item = Item::of(json);
        let at = item.as_ref().and_then(Item::at);
        if at.is_some_and(|at| at < window) {
            reached_window = true;
        }
        let is_due = at.is_none_or(|at| (window..=newest).contains(&at));
        if sweep.echoes.is_some() {
            found.extend(item.as_ref().filter(|_| is_due).and_then(|item| echo(twilio, item, at)).map(|e| vec![e]));
            continue;
        }
        let Some(key) = key(json, item.as_ref()).filter(|_| is_due) else { continue };
        if !cursor.seen.contains(&key) {
            found.push(tell(twilio, json, item.as_ref(), now));
        }
        if at.is_none_or(|at| at >= next_window) && sweep.seen.len() < MAX_SEEN {
            sweep.seen.push(key);
        }
    }
    let pages = sweep.echoes.map(|pages| pages + 1);
    let next = page.next_page_uri.filter(|_| !reached_window && pages.is_none_or(|pages| pages < ECHO_PAGES));
    let mut complaint = None;
    if next.as_ref().is_some_and(|next| page_path(twilio, next).is_none()) {
        // What stands there is not read, and what is behind it is still missing: the next poll reads the window again.
        complaint = Some("the message list's next page is not of this list".to_owned());
    } else if let Some(next) = next {
        cursor.sweep = Some(Sweep { next, echoes: pages, ..sweep });
    } else if twilio.echoes && pages.is_none() {
        cursor.sweep = Some(Sweep { next: String::new(), echoes: Some(0), ..sweep });
    } else {
        cursor = Cursor { since: sweep.began, seen: sweep.seen, sweep: None };
    }
    let more = cursor.sweep.is_some();
    // The list is newest first.
    let events = found.into_iter().rev().flatten().collect();
    Ok(Polled { events, cursor: written(&cursor)?, more, complaint })
}

/// A message of ours as the list shows it, unless it never went out.
fn echo(twilio: &Twilio, item: &Item, at: Option<Timestamp>) -> Option<Inbound> {
    let is_ours = item.direction.starts_with("outbound") && is_token(&item.sid);
    let went = matches!(item.status.as_str(), "accepted" | "queued" | "sending" | "sent" | "delivered" | "read");
    let to = item.to.as_deref().and_then(number::origin).filter(|_| is_ours && went)?;
    Some(Inbound::Echo(Box::new(Echo {
        id: event_id(&twilio.channel, "echo", &item.sid),
        channel: twilio.channel.clone(),
        thread: number::written(&to),
        at: at?,
        provider_id: item.sid.clone(),
        send: None,
        part: None,
        n: None,
        to,
        content: Content { text: item.body.clone().unwrap_or_default(), ..Content::default() },
    })))
}

/// What a record of the list is remembered by; `None` for our own messages.
fn key(json: &Value, item: Option<&Item>) -> Option<String> {
    match item {
        Some(item) if item.direction != "inbound" && !item.direction.is_empty() => None,
        Some(item) if is_token(&item.sid) => Some(item.sid.clone()),
        _ => Some(sha256_hex(json.to_string().as_bytes())),
    }
}

/// Reads a record out of the list again.
pub(super) fn again(twilio: &Twilio, body: &[u8], received_at: Timestamp) -> Vec<Inbound> {
    let json =
        serde_json::from_slice(body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()));
    tell(twilio, &json, Item::of(&json).as_ref(), received_at)
}

fn tell(twilio: &Twilio, json: &Value, item: Option<&Item>, now: Timestamp) -> Vec<Inbound> {
    let json = json.to_string();
    let raw = Raw {
        content_type: "application/json".into(),
        blob: None,
        // There is no request whose body could become a blob; what is long is put into one when the record is stored.
        inline: Some(to_base64(json.as_bytes())),
        meta: BTreeMap::from([("source".to_owned(), SOURCE.to_owned())]),
    };
    let heard = item.and_then(|item| {
        Some(Heard {
            sid: Some(item.sid.as_str()).filter(|sid| is_token(sid))?,
            from: item.from.as_deref()?,
            to: item.to.as_deref(),
            text: item.body.clone().unwrap_or_default(),
            name: None,
            attachments: files(twilio, item),
            choice: None,
            opt_out: None,
            meta: vec![],
            at: item.at().unwrap_or(now),
            received_at: now,
        })
    });
    let read = heard.ok_or("not a message of the list").and_then(|heard| events(twilio, heard, raw.clone()));
    read.unwrap_or_else(|reason| vec![unparsed(&twilio.channel, &sha256_hex(json.as_bytes()), reason, now, raw)])
}

/// The list does not say what the files are, only how many and where they are listed: that address is passed on.
fn files(twilio: &Twilio, item: &Item) -> Vec<Attachment> {
    let prefix = format!("/2010-04-01/Accounts/{}/Messages/", twilio.account_sid);
    let uri = item.subresource_uris.as_ref().and_then(|uris| uris.get("media")?.as_str());
    let uri = uri.filter(|uri| uri.starts_with(&prefix) && uri.len() <= 1024);
    if item.media() == 0 {
        return vec![];
    }
    let url = uri.map(|uri| format!("{}{uri}", twilio.base.as_str().trim_end_matches('/')));
    vec![Attachment { name: LIST_NAME.into(), mime: LIST_TYPE.into(), url, ..Attachment::default() }]
}

#[derive(Deserialize)]
struct MediaPage {
    media_list: Vec<Media>,
}

#[derive(Deserialize)]
struct Media {
    sid: String,
    #[serde(default)]
    content_type: String,
    uri: String,
}

/// The files that a message's media list names.
pub(super) fn listed(twilio: &Twilio, list: &Attachment, fetched: &[u8]) -> Option<Vec<Attachment>> {
    if list.name != LIST_NAME || list.mime != LIST_TYPE {
        return None;
    }
    let prefix = format!("/2010-04-01/Accounts/{}/Messages/", twilio.account_sid);
    let base = twilio.base.as_str().trim_end_matches('/');
    let page: MediaPage = serde_json::from_slice(fetched).ok()?;
    let known = page.media_list.into_iter().filter(|m| is_token(&m.sid) && m.uri.starts_with(&prefix));
    let file = |(i, m): (usize, Media)| {
        // The same address without its ending is the file itself.
        let path = m.uri.strip_suffix(".json").unwrap_or(&m.uri);
        file(i, mime(&m.content_type), Some(format!("{base}{path}")))
    };
    Some(known.take(MEDIA_READ).enumerate().map(file).collect())
}
