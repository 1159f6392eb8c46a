//! X's lists (<https://docs.x.com/x-api/direct-messages/lookup/introduction>): what became of a send whose answer was lost, and what the
//! webhook missed.
//!
//! **Proof of a send.** A list carries nothing of ours: what counts as the attempt is the one message of ours with those words to that
//! person since the attempt was released. Two alike prove nothing, and absence proves nothing.
//!
//! **Catching up.** A sweep reads the list of direct messages from five minutes before the last one and leaves the newest minute to
//! the webhook, which says more. Ids are the same on both ways.
//!
//! **Replay.** After a gap X is asked, once it takes the question, to deliver again what it delivered meanwhile: mentions are in no list.

use crate::channel::Twitter;
use crate::json::{id, is_number, made_at, text, time, unparsed};
use crate::read::{self, Direct};
use crate::send::{group, is_public, words};
use crate::words::is_short;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use switchboard_adapter_sdk::{
    Answer, AttemptOutcome, Call, Polled,
    classify::Class,
    signature::{sha256_hex, to_base64},
};
use switchboard_envelope::{Inbound, Raw, Reconcile, Timestamp};

/// How records out of the list are marked, in the `source` of their raw form.
pub(crate) const SOURCE: &str = "list";

const MINUTE_MS: i64 = 60_000;
const OVERLAP_MS: i64 = 5 * MINUTE_MS;
const GRACE_MS: i64 = MINUTE_MS;
const SKEW_MS: i64 = 1_000;
/// The most ids that a cursor remembers, so that the overlap is not ingested again and again.
const MAX_SEEN: usize = 256;
/// A pause of this length between sweeps is a gap, and one of three times the usual.
const GAP_MS: i64 = 15 * MINUTE_MS;
/// X replays what is older than this, beginning with what is older than that, and not older than a day.
const REPLAY_END_MS: i64 = 11 * MINUTE_MS;
const REPLAY_BEGIN_MS: i64 = 32 * MINUTE_MS;
const REPLAY_FURTHEST_MS: i64 = 23 * 60 * MINUTE_MS;
/// So soon after a sweep the replay is asked for, that it never stands in a sweep's way.
const SOON_MS: i64 = 5 * MINUTE_MS;

const EVENT_FIELDS: &str = "id,text,event_type,created_at,sender_id,dm_conversation_id,attachments,entities";
const MEDIA_FIELDS: &str = "media_key,type,url,preview_image_url,variants";
const USER_FIELDS: &str = "id,name,username,public_metrics,verified";

fn events(twitter: &Twitter, path: &str, more: &[(&str, &str)]) -> Call {
    let query = [
        ("event_types", "MessageCreate"),
        ("max_results", "100"),
        ("dm_event.fields", EVENT_FIELDS),
        ("expansions", "sender_id,attachments.media_keys"),
        ("media.fields", MEDIA_FIELDS),
        ("user.fields", USER_FIELDS),
    ];
    twitter.get(path, &[query.as_slice(), more].concat())
}

pub(crate) fn ask(twitter: &Twitter, attempt: &Reconcile) -> Option<Call> {
    if is_public(&attempt.thread) {
        let fields = [("max_results", "20"), ("tweet.fields", "created_at,in_reply_to_user_id,entities,note_tweet")];
        return Some(twitter.get(&format!("/2/users/{}/tweets", twitter.user_id), &fields));
    }
    if let Some(group) = group(&attempt.thread) {
        return is_number(group).then(|| events(twitter, &format!("/2/dm_conversations/{group}/dm_events"), &[]));
    }
    let to = Some(&attempt.to.value).filter(|to| is_number(to))?;
    Some(events(twitter, &format!("/2/dm_conversations/with/{to}/dm_events"), &[]))
}

pub(crate) fn proof(twitter: &Twitter, attempt: &Reconcile, answer: &Answer) -> Option<AttemptOutcome> {
    let response = answer.as_ref().ok().filter(|response| response.status == 200)?;
    let body = serde_json::from_slice::<Value>(&response.body).ok()?;
    let sent = bare(&words(twitter, &attempt.thread, &attempt.content));
    if sent.is_empty() {
        // A file alone looks like any other.
        return None;
    }
    let whom = group(&attempt.thread).unwrap_or(&attempt.to.value);
    // X's link to a file stands behind the words.
    let without_link = |said: String| match said.rsplit_once(' ') {
        Some((words, link)) if !attempt.content.attachments.is_empty() && is_short(link) => words.to_owned(),
        _ => said,
    };
    let (since, until) = (attempt.released_at.plus(-SKEW_MS), attempt.until);
    let mut twins = list(&body).iter().filter_map(|value| {
        let (id, to, said, at) = ours(twitter, value, is_public(&attempt.thread))?;
        let is_it = to.as_deref() == Some(whom) && without_link(bare(&said)) == sent;
        (is_it && (since..=until).contains(&at)).then_some(id)
    });
    let (id, None) = (twins.next()?, twins.next()) else { return None };
    Some(AttemptOutcome { provider_ids: vec![id], ..AttemptOutcome::new(Class::Ok.outcome()) })
}

/// A message or post of ours out of a list: its id, whom or which group it is to, its words and its time.
fn ours(twitter: &Twitter, value: &Value, public: bool) -> Option<(String, Option<String>, String, Timestamp)> {
    let at = |id: &str| time(value, "/created_at").or_else(|| made_at(id));
    if !public {
        let direct = Direct::of_list(value, &Value::Null).ok().filter(|direct| direct.sender == twitter.user_id)?;
        let at = at(&direct.id)?;
        return Some((direct.id, direct.group.or(direct.recipient), direct.content.text, at));
    }
    let post = id(value, "/id")?;
    let body = value.get("note_tweet").filter(|note| text(note, "/text").is_some()).unwrap_or(value);
    let links: Vec<&Value> = body.pointer("/entities/urls").and_then(Value::as_array).into_iter().flatten().collect();
    let of_files = links.iter().filter(|link| link.get("media_key").is_some());
    let dropped: Vec<&str> = of_files.filter_map(|link| text(link, "/url")).collect();
    let said = crate::words::expanded(text(body, "/text").unwrap_or_default(), &links, &dropped);
    let at = at(&post)?;
    Some((post, id(value, "/in_reply_to_user_id"), said, at))
}

/// Words without what X puts before and around them: the names of those who are answered, and blanks.
fn bare(said: &str) -> String {
    let mut all = said.split_whitespace().peekable();
    while all.next_if(|word| word.starts_with('@')).is_some() {}
    all.collect::<Vec<_>>().join(" ")
}

fn list(body: &Value) -> &[Value] {
    body.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Where the catch-up is. It is stored between polls as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Cursor {
    /// When the last whole sweep began.
    since: Timestamp,
    /// How long it usually is between two of them, in milliseconds.
    #[serde(default)]
    every: i64,
    /// What the overlap would tell again.
    #[serde(default)]
    seen: Vec<String>,
    /// A sweep of several pages that is not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sweep: Option<Sweep>,
    /// What X is to deliver again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gap: Option<Gap>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sweep {
    began: Timestamp,
    next: String,
    #[serde(default)]
    seen: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Gap {
    from: Timestamp,
    to: Timestamp,
}

impl Cursor {
    /// A cursor that cannot be read begins anew.
    fn read(kept: Option<&str>, now: Timestamp) -> Cursor {
        let fresh = Cursor { since: now, every: 0, seen: vec![], sweep: None, gap: None };
        kept.and_then(|kept| serde_json::from_str(kept).ok()).unwrap_or(fresh)
    }

    fn window(&self) -> Timestamp {
        self.since.plus(-OVERLAP_MS)
    }

    /// The gap that X is asked to fill now.
    fn due(&self, twitter: &Twitter, now: Timestamp) -> Option<Gap> {
        let is_due = |gap: &Gap| now >= gap.to.plus(REPLAY_END_MS) && now >= gap.from.plus(REPLAY_BEGIN_MS);
        let swept = self.sweep.is_none() && now.since(self.since) < SOON_MS;
        self.gap.filter(|gap| twitter.replay.is_some() && swept && is_due(gap) && !gap.is_over(now))
    }

    /// A whole sweep began at this moment.
    fn swept(&mut self, twitter: &Twitter, began: Timestamp, now: Timestamp) {
        let pause = began.since(self.since);
        if self.gap.is_some_and(|gap| gap.is_over(now)) {
            self.gap = None;
        }
        if pause > GAP_MS.max(self.every.saturating_mul(3)) && twitter.replay.is_some() {
            // Two gaps are asked for as one.
            let from = self.gap.map_or(self.since.plus(-MINUTE_MS), |gap| gap.from);
            self.gap = Some(Gap { from: from.max(now.plus(-REPLAY_FURTHEST_MS)), to: began.plus(MINUTE_MS) });
        }
        (self.every, self.since, self.sweep) = (pause.max(0), began, None);
    }
}

impl Gap {
    /// X keeps nothing that is older.
    fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.to) > REPLAY_FURTHEST_MS
    }
}

pub(crate) fn poll(twitter: &Twitter, kept: Option<&str>, now: Timestamp) -> Call {
    let cursor = Cursor::read(kept, now);
    if let (Some(gap), Some((webhook, token))) = (cursor.due(twitter, now), &twitter.replay) {
        let from = gap.from.max(now.plus(-REPLAY_FURTHEST_MS));
        let body = json!({ "webhook_id": webhook, "from_date": minute(from), "to_date": minute(gap.to) });
        let mut call = twitter.post("/2/webhooks/replay", &body);
        call.headers.push(("authorization", format!("Bearer {}", token.expose())));
        return call;
    }
    let next = cursor.sweep.as_ref().map(|sweep| ("pagination_token", sweep.next.as_str()));
    events(twitter, "/2/dm_events", next.as_slice())
}

/// A minute as the replay wants it.
fn minute(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
    at.strftime("%Y%m%d%H%M").to_string()
}

pub(crate) fn polled(twitter: &Twitter, kept: Option<&str>, answer: &Answer, now: Timestamp) -> Result<Polled, String> {
    let response = answer.as_ref().map_err(ToString::to_string)?;
    let mut cursor = Cursor::read(kept, now);
    let body = serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
    if cursor.due(twitter, now).is_some() {
        if !(200..300).contains(&response.status) {
            let why = text(&body, "/detail").or_else(|| text(&body, "/errors/0/message")).unwrap_or("no reason");
            let why: String = why.chars().filter(|c| !c.is_control()).take(200).collect();
            return Err(format!("X answered {} to the request for a replay: {why}", response.status));
        }
        cursor.gap = None;
        return Ok(Polled { cursor: written(&cursor)?, ..Polled::default() });
    }
    if cursor.sweep.is_some() && matches!(response.status, 400 | 404 | 410 | 422) {
        // X gives that page no more. Asked again it would answer the same for ever, so the window begins anew.
        cursor.sweep = None;
        let complaint =
            Some(format!("a page of the list answered {}; the list is read from its beginning", response.status));
        return Ok(Polled { complaint, cursor: written(&cursor)?, ..Polled::default() });
    }
    if response.status != 200 {
        return Err(format!("the list of direct messages answered {}", response.status));
    }
    if !body.is_object() {
        return Err("the list of direct messages is not the documented JSON".into());
    }
    let mut sweep = cursor.sweep.take().unwrap_or(Sweep { began: now, next: String::new(), seen: vec![] });
    let (window, newest, next_window) = (cursor.window(), now.plus(-GRACE_MS), sweep.began.plus(-OVERLAP_MS));
    let includes = body.get("includes").unwrap_or(&Value::Null);
    let (mut found, mut reached) = (vec![], list(&body).is_empty());
    for value in list(&body) {
        let key = id(value, "/id").unwrap_or_else(|| sha256_hex(value.to_string().as_bytes()));
        let at = time(value, "/created_at").or_else(|| made_at(&key));
        reached |= at.is_some_and(|at| at < window);
        let is_message = text(value, "/event_type").is_none_or(|kind| kind == "MessageCreate");
        if !is_message || !at.is_none_or(|at| (window..=newest).contains(&at)) {
            continue;
        }
        if !cursor.seen.contains(&key) {
            found.push(tell(twitter, value, includes, now));
        }
        if at.is_none_or(|at| at >= next_window) && sweep.seen.len() < MAX_SEEN {
            sweep.seen.push(key);
        }
    }
    let next = text(&body, "/meta/next_token").filter(|next| !reached && next.len() <= 1024);
    let more = match next {
        Some(next) => {
            cursor.sweep = Some(Sweep { next: next.to_owned(), ..sweep });
            true
        }
        None => {
            cursor.swept(twitter, sweep.began, now);
            cursor.seen = sweep.seen;
            cursor.due(twitter, now.plus(1)).is_some()
        }
    };
    // The list is newest first.
    let events = found.into_iter().rev().flatten().collect();
    Ok(Polled { events, cursor: written(&cursor)?, more, complaint: None })
}

fn written(cursor: &Cursor) -> Result<String, String> {
    serde_json::to_string(cursor).map_err(|e| e.to_string())
}

/// A record of the list, with what of the rest belongs to it.
fn tell(twitter: &Twitter, value: &Value, includes: &Value, now: Timestamp) -> Vec<Inbound> {
    let of = |name: &str| includes.get(name).and_then(Value::as_array).into_iter().flatten();
    let sender = text(value, "/sender_id");
    let keys: Vec<&str> = value
        .pointer("/attachments/media_keys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let users: Vec<&Value> = of("users").filter(|user| text(user, "/id") == sender).collect();
    let media: Vec<&Value> = of("media").filter(|m| text(m, "/media_key").is_some_and(|k| keys.contains(&k))).collect();
    let alone = json!({ "data": [value], "includes": { "users": users, "media": media } });
    again(twitter, &Bytes::from(alone.to_string()), now)
}

/// Reads a record out of the list again.
pub(crate) fn again(twitter: &Twitter, body: &Bytes, now: Timestamp) -> Vec<Inbound> {
    let alone = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let raw = Raw {
        content_type: "application/json".into(),
        blob: None,
        // There is no request whose body could become a blob; what is long is put into one when the record is stored.
        inline: Some(to_base64(body)),
        meta: BTreeMap::from([("source".to_owned(), SOURCE.to_owned())]),
    };
    let includes = alone.get("includes").unwrap_or(&Value::Null);
    let read = match list(&alone) {
        [value] => read::listed(twitter, value, includes, raw.clone(), now),
        _ => Err("not a message of the list".into()),
    };
    match read {
        Ok(inbound) => inbound.into_iter().collect(),
        Err(reason) => vec![unparsed(&twitter.channel, &sha256_hex(body), &reason, now, raw)],
    }
}
