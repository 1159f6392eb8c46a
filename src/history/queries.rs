//! What readers ask.

use super::chain::{self, Chain};
use super::load::PLACE_OF;
use super::rows::{
    Considering, Contact, Conversation, ConversationFilter, DeadLetter, Direction, EventLine, Facts, Message, OfferRow,
};
use super::stored::{self, Conv, bytes, column, conversations, state_column, state_of, unpacked, unsigned};
use super::{History, HistoryError};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use serde::de::DeserializeOwned;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::event::{DeadReason, KeyHash, Reply, Why};
use switchboard_routing_rules::ids::{ContactId, ConvId, MessageId};

/// The columns of a message come first, as its reader wants them.
macro_rules! dead_letters {
    () => {
        "SELECT m.seq, m.conv, m.prev, m.dir, m.id, m.doc, m.status, m.code, m.detail, c.id,
                d.seq, d.channel, d.reason, d.at
         FROM dead d JOIN messages m ON m.seq = d.place JOIN conversations c ON c.seq = m.conv "
    };
}

/// Part of a list, newest first, and where the next part starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Ask for what is before this.
    pub next: Option<u64>,
}

/// The first answer that a command got.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    pub at: Timestamp,
    /// The hash of the request's body.
    pub body: Option<String>,
    pub reply: Reply,
}

/// A record of IN that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its place in IN.
    pub seq: u64,
    pub channel: String,
    pub reason: String,
    pub at: Timestamp,
}

/// How often a rule matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleHits {
    pub rule: String,
    pub hits: u64,
    pub last_at: Timestamp,
}

fn hits_of(r: &Row<'_>) -> rusqlite::Result<RuleHits> {
    Ok(RuleHits { rule: r.get(0)?, hits: unsigned(r.get(1)?), last_at: Timestamp(r.get(2)?) })
}

pub(super) type Read<T> = Result<T, HistoryError>;

fn doc<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Read<T> {
    unpacked(stored::blob(row, column)?)
}

/// Cuts a list that was read one longer than asked, and says where it goes on.
fn page<T>(mut items: Vec<T>, limit: usize, place: impl Fn(&T) -> u64) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(place) } else { None };
    Page { items, next }
}

fn limit_value(limit: usize) -> Value {
    Value::Integer(i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX))
}

fn before_value(before: Option<u64>) -> Value {
    Value::Integer(before.map_or(i64::MAX, column))
}

fn contact_of(db: &Connection, id: ContactId) -> Read<Option<Contact>> {
    let mut find = db.prepare_cached("SELECT doc FROM contacts WHERE id = ?1")?;
    let mut of = |id: ContactId| -> Read<Option<Contact>> {
        find.query([id.to_bytes()])?.next()?.map(|r| doc(r, 0)).transpose()
    };
    let contact = of(id)?;
    match contact.as_ref().and_then(|c| c.merged_into) {
        Some(into) if into != id => Ok(of(into)?.or(contact)),
        _ => Ok(contact),
    }
}

fn with_contacts(db: &Connection, items: Vec<Conversation>) -> Read<Vec<(Conversation, Option<Contact>)>> {
    items.into_iter().map(|c| contact_of(db, c.contact).map(|p| (c, p))).collect()
}

/// A conversation as readers get it.
fn whole(db: &Connection, found: Conv) -> Read<Conversation> {
    let shown = if found.shown == 0 { None } else { chain::at(db, found.shown)? };
    let mut row = found.row;
    if !found.proof_kept
        && let Some(place) = row.last_inbound
    {
        row.sender_proof = chain::at(db, place)?.and_then(|m| m.row.sender_proof);
    }
    row.last = shown.and_then(|m| m.preview());
    Ok(row)
}

/// A part of a query that may be absent. Every combination is its own statement, so that each uses its index.
fn conversations_sql(filter: &ConversationFilter, before: Option<u64>, limit: usize) -> (String, Vec<Value>) {
    let mut sql = String::from(conversations!("WHERE seq < ?"));
    let mut args = vec![before_value(before)];
    if !filter.states.is_empty() {
        sql.push_str(" AND state IN (");
        for (i, s) in filter.states.iter().enumerate() {
            sql.push_str(if i == 0 { "?" } else { ", ?" });
            args.push(Value::Integer(state_column(*s)));
        }
        sql.push(')');
    }
    let equal = [
        (" AND queue = ?", filter.queue.clone().map(Value::Text)),
        (" AND agent = ?", filter.agent.clone().map(Value::Text)),
        (" AND channel = ?", filter.channel.clone().map(Value::Text)),
    ];
    for (clause, value) in equal {
        if let Some(v) = value {
            sql.push_str(clause);
            args.push(v);
        }
    }
    if !filter.contacts.is_empty() {
        sql.push_str(" AND contact IN (?");
        sql.push_str(&", ?".repeat(filter.contacts.len() - 1));
        sql.push(')');
        args.extend(filter.contacts.iter().map(|c| Value::Blob(c.to_bytes().to_vec())));
    }
    sql.push_str(" ORDER BY seq DESC LIMIT ?");
    args.push(limit_value(limit));
    (sql, args)
}

impl History {
    /// Conversations with their contacts, by the time of opening, newest first. A row that changes while a reader pages
    /// keeps its place.
    ///
    /// # Errors
    /// When the file cannot be read; so for every query here.
    pub async fn conversations(
        &self,
        filter: ConversationFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Read<Page<(Conversation, Option<Contact>)>> {
        self.read(move |db| {
            let (sql, args) = conversations_sql(&filter, before, limit);
            let mut find = db.prepare_cached(&sql)?;
            let mut rows = find.query(params_from_iter(args))?;
            let mut found = vec![];
            while let Some(r) = rows.next()? {
                found.push(stored::conversation(r)?);
            }
            let p = page(found, limit, |c| c.row.seq);
            let items: Read<Vec<Conversation>> = p.items.into_iter().map(|c| whole(db, c)).collect();
            Ok(Page { items: with_contacts(db, items?)?, next: p.next })
        })
        .await
    }

    pub async fn conversation(&self, id: ConvId) -> Read<Option<(Conversation, Option<Contact>)>> {
        self.read(move |db| {
            let mut find = db.prepare_cached(conversations!("WHERE id = ?1"))?;
            let found = find.query([id.to_bytes()])?.next()?.map(stored::conversation).transpose()?;
            let found = found.map(|c| whole(db, c)).transpose()?;
            Ok(with_contacts(db, found.into_iter().collect())?.into_iter().next())
        })
        .await
    }

    /// The newest message of a conversation's customer; and who was considered for it while there is none.
    pub async fn heard_in(&self, id: ConvId) -> Read<Option<(Option<Message>, Vec<Considering>)>> {
        self.read(move |db| {
            let mut find = db.prepare_cached(conversations!("WHERE id = ?1"))?;
            let found = find.query([id.to_bytes()])?.next()?.map(stored::conversation).transpose()?;
            let Some(c) = found else { return Ok(None) };
            let message = c.row.last_inbound.map(|place| chain::at(db, place)).transpose()?.flatten();
            Ok(Some((message.map(stored::Item::into_message), c.considering)))
        })
        .await
    }

    /// A conversation's messages, newest first.
    pub async fn messages(&self, conversation: u64, before: Option<u64>, limit: usize) -> Read<Page<Message>> {
        self.read(move |db| {
            let chain = Chain::of(db, conversation)?;
            let found = chain.map(|c| c.before(db, before, limit.saturating_add(1))).transpose()?;
            Ok(page(found.unwrap_or_default(), limit, |m: &Message| m.seq))
        })
        .await
    }

    /// What became of a conversation after one of its messages, until its customer wrote again: where it was moved from queue to queue by
    /// its clocks, its steps and people, what changed its priority and what it wants, and which rules followed up. The first so many.
    pub async fn moved_on(&self, message: &Message, limit: usize) -> Read<Vec<Message>> {
        let (conversation, place) = (message.conversation_seq, message.seq);
        let moved = |e: &EventLine| match e.what.as_str() {
            "queued" => e.why.as_ref().is_some_and(|why| *why != Why::Reordered),
            what => matches!(what, "prioritised" | "relaxed" | "followed_up"),
        };
        self.read(move |db| {
            let Some(chain) = Chain::of(db, conversation)? else { return Ok(vec![]) };
            let asked = |m: &Message| m.direction == Direction::In || m.event.as_ref().is_some_and(moved);
            let found = chain.after(db, place, limit.saturating_add(1), asked)?;
            Ok(found.into_iter().take_while(|m| m.direction != Direction::In).take(limit).collect())
        })
        .await
    }

    /// What a visitor of a thread may see, after a place, oldest first: what they wrote and what we sent, no notes.
    pub async fn transcript(&self, channel: String, thread: KeyHash, after: u64, limit: usize) -> Read<Vec<Message>> {
        self.read(move |db| {
            let mut seen = vec![];
            for chain in Chain::of_thread(db, &channel, thread, after)? {
                // Conversations come in the order of their opening: from here all are newer.
                if seen.len() >= limit && seen.last().is_some_and(|m: &Message| m.seq < chain.first) {
                    break;
                }
                let shown = |m: &Message| matches!(m.direction, Direction::In | Direction::Out);
                seen.extend(chain.after(db, after, limit, shown)?);
                seen.sort_by_key(|m| m.seq);
                seen.truncate(limit);
            }
            Ok(seen)
        })
        .await
    }

    /// The newest conversation of a thread.
    pub async fn thread_conversation(&self, channel: String, thread: KeyHash) -> Read<Option<Conversation>> {
        self.read(move |db| {
            let sql = conversations!("WHERE thread = ?1 AND channel = ?2 ORDER BY seq DESC LIMIT 1");
            let mut find = db.prepare_cached(sql)?;
            let mut rows = find.query(params![thread.0.to_be_bytes(), channel])?;
            let found = rows.next()?.map(stored::conversation).transpose()?;
            found.map(|c| whole(db, c)).transpose()
        })
        .await
    }

    pub async fn message(&self, id: String) -> Read<Option<Message>> {
        let Some(id) = MessageId::parse(&id) else { return Ok(None) };
        self.read(move |db| {
            let place = db.prepare_cached(PLACE_OF)?.query_row([id.to_bytes()], |r| r.get::<_, i64>(0)).optional()?;
            let found = place.map(|p| chain::at(db, unsigned(p))).transpose()?.flatten();
            Ok(found.map(stored::Item::into_message))
        })
        .await
    }

    /// The newest message of a customer, on any channel.
    pub async fn last_inbound(&self) -> Read<Option<Message>> {
        self.read(move |db| {
            let mut find =
                db.prepare_cached("SELECT seq FROM messages WHERE facts IS NOT NULL ORDER BY seq DESC LIMIT 1")?;
            let place = find.query_row([], |r| r.get::<_, i64>(0)).optional()?;
            let found = place.map(|p| chain::at(db, unsigned(p))).transpose()?.flatten();
            Ok(found.map(stored::Item::into_message))
        })
        .await
    }

    /// What the decision about a message saw.
    pub async fn facts(&self, message_place: u64) -> Read<Option<Facts>> {
        self.read(move |db| facts_at(db, message_place)).await
    }

    /// A contact; one that was merged answers as what it was merged into.
    /// Messages with the decision that was made about each, the newest first, as far back as `since`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn decisions(
        &self,
        since: Option<Timestamp>,
        before: Option<u64>,
        limit: usize,
    ) -> Read<Page<(Message, Facts)>> {
        self.read(move |db| {
            let sql = "SELECT seq FROM messages WHERE facts IS NOT NULL AND seq < ?1 ORDER BY seq DESC LIMIT ?2";
            let mut find = db.prepare_cached(sql)?;
            let most = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
            let places = find.query_map([before.map_or(i64::MAX, column), most], |r| r.get::<_, i64>(0))?;
            let mut items = vec![];
            for place in places {
                let place = unsigned(place?);
                let (Some(item), Some(facts)) = (chain::at(db, place)?, facts_at(db, place)?) else { continue };
                if since.is_some_and(|since| facts.at < since) {
                    break;
                }
                items.push((stored::Item::into_message(item), facts));
            }
            Ok(page(items, limit, |(m, _)| m.seq))
        })
        .await
    }

    pub async fn contact(&self, id: ContactId) -> Read<Option<Contact>> {
        self.read(move |db| contact_of(db, id)).await
    }

    pub async fn contacts(&self, identity: Option<String>, before: Option<u64>, limit: usize) -> Read<Page<Contact>> {
        self.read(move |db| {
            let (sql, args) = match identity {
                Some(i) => (
                    "SELECT c.doc, c.seq FROM contacts c JOIN identities i ON i.contact = c.id
                     WHERE i.identity = ?3 AND c.seq < ?1 ORDER BY c.seq DESC LIMIT ?2",
                    vec![before_value(before), limit_value(limit), Value::Text(i)],
                ),
                None => (
                    "SELECT doc, seq FROM contacts WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2",
                    vec![before_value(before), limit_value(limit)],
                ),
            };
            let mut find = db.prepare_cached(sql)?;
            let mut rows = find.query(params_from_iter(args))?;
            let mut out: Vec<(Contact, u64)> = vec![];
            while let Some(r) = rows.next()? {
                out.push((doc(r, 0)?, unsigned(r.get(1)?)));
            }
            let p = page(out, limit, |c| c.1);
            let items = p.items.into_iter().map(|c| c.0).filter(|c| c.merged_into.is_none()).collect();
            Ok(Page { items, next: p.next })
        })
        .await
    }

    /// Offers that stand, newest first; of one agent or of all.
    pub async fn offers(&self, agent: Option<String>, before: Option<u64>, limit: usize) -> Read<Page<OfferRow>> {
        self.read(move |db| {
            let sql =
                "SELECT doc, seq FROM offers WHERE seq < ?1 AND (?3 IS NULL OR agent = ?3) ORDER BY seq DESC LIMIT ?2";
            let mut find = db.prepare_cached(sql)?;
            let mut rows = find.query(params_from_iter([
                before_value(before),
                limit_value(limit),
                agent.map_or(Value::Null, Value::Text),
            ]))?;
            let mut out: Vec<(OfferRow, u64)> = vec![];
            while let Some(r) = rows.next()? {
                out.push((doc(r, 0)?, unsigned(r.get(1)?)));
            }
            let p = page(out, limit, |o| o.1);
            Ok(Page { items: p.items.into_iter().map(|o| o.0).collect(), next: p.next })
        })
        .await
    }

    pub async fn dead_letters(
        &self,
        channel: Option<String>,
        before: Option<u64>,
        limit: usize,
    ) -> Read<Page<DeadLetter>> {
        self.read(move |db| {
            let mut find = db.prepare_cached(concat!(
                dead_letters!(),
                "WHERE d.seq < ?1 AND (?3 IS NULL OR d.channel = ?3) ORDER BY d.seq DESC LIMIT ?2"
            ))?;
            let args = [before_value(before), limit_value(limit), channel.map_or(Value::Null, Value::Text)];
            let mut rows = find.query(params_from_iter(args))?;
            let mut out = vec![];
            while let Some(r) = rows.next()? {
                out.push(dead_letter(r)?);
            }
            Ok(page(out, limit, |d| d.seq))
        })
        .await
    }

    /// The dead letter of a message.
    pub async fn dead_letter(&self, message: String) -> Read<Option<DeadLetter>> {
        let Some(id) = MessageId::parse(&message) else { return Ok(None) };
        self.read(move |db| {
            let mut find = db.prepare_cached(concat!(dead_letters!(), "WHERE d.message = ?1"))?;
            let mut rows = find.query([id.to_bytes()])?;
            rows.next()?.map(dead_letter).transpose()
        })
        .await
    }

    pub async fn quarantine(&self, before: Option<u64>, limit: usize) -> Read<Page<Quarantined>> {
        self.read(move |db| {
            let sql = "SELECT seq, channel, reason, at FROM quarantine WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2";
            let mut find = db.prepare_cached(sql)?;
            let rows = find.query_map(params_from_iter([before_value(before), limit_value(limit)]), quarantined)?;
            Ok(page(rows.collect::<Result<Vec<_>, _>>()?, limit, |q| q.seq))
        })
        .await
    }

    pub async fn quarantined(&self, seq: u64) -> Read<Option<Quarantined>> {
        self.read(move |db| {
            let sql = "SELECT seq, channel, reason, at FROM quarantine WHERE seq = ?1";
            Ok(db.prepare_cached(sql)?.query_row([column(seq)], quarantined).optional()?)
        })
        .await
    }

    /// The first answer of a command, for seven days.
    pub async fn answered(&self, command: KeyHash) -> Read<Option<Answered>> {
        self.read(move |db| {
            let found = db
                .prepare_cached("SELECT at, body, reply FROM answers WHERE command = ?1")?
                .query_row(params![command.0.to_be_bytes()], |r| {
                    Ok((r.get::<_, i64>(0)?, r.get::<_, Option<String>>(1)?, r.get::<_, Vec<u8>>(2)?))
                })
                .optional()?;
            let Some((at, body, reply)) = found else { return Ok(None) };
            Ok(Some(Answered { at: Timestamp(at), body, reply: unpacked(&reply)? }))
        })
        .await
    }

    /// Under whichever pack.
    pub async fn rule_hits(&self) -> Read<Vec<RuleHits>> {
        self.read(move |db| {
            let mut find = db.prepare_cached("SELECT rule, hits, last_at FROM rule_hits ORDER BY rule")?;
            let rows = find.query_map([], hits_of)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Under this pack.
    pub async fn pack_hits(&self, hash: &str) -> Read<Vec<RuleHits>> {
        let hash = hash.to_owned();
        self.read(move |db| {
            let mut find = db.prepare_cached(
                "SELECT rule, hits, last_at FROM pack_hits WHERE pack = (SELECT n FROM packs WHERE hash = ?1) ORDER BY rule",
            )?;
            let rows = find.query_map([&hash], hits_of)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The pack in force, and since when.
    pub async fn pack_in_force(&self) -> Read<Option<(String, Timestamp)>> {
        self.read(move |db| {
            let (hash, at): (Option<String>, Option<i64>) =
                db.query_row("SELECT pack, pack_at FROM meta WHERE id = 1", [], |r| Ok((r.get(0)?, r.get(1)?)))?;
            Ok(hash.zip(at.map(Timestamp)))
        })
        .await
    }

    /// Conversations by state.
    pub async fn counts(&self) -> Read<Vec<(String, u64)>> {
        self.read(move |db| {
            let mut find = db.prepare_cached("SELECT state, count(*) FROM conversations GROUP BY state")?;
            let rows = find.query_map([], |r| Ok((state_of(r.get(0)?).as_str().to_owned(), unsigned(r.get(1)?))))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// What the decision about the message at a place saw.
fn facts_at(db: &Connection, place: u64) -> Read<Option<Facts>> {
    let sql = "SELECT m.facts, m.outcome, m.conv FROM messages m WHERE m.seq = ?1 AND m.facts IS NOT NULL";
    let mut find = db.prepare_cached(sql)?;
    let mut rows = find.query([column(place)])?;
    let Some(r) = rows.next()? else { return Ok(None) };
    let outcome = r.get_ref(1)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
    let (pack, mut facts) = stored::facts(stored::blob(r, 0)?, outcome)?;
    let known = db.prepare_cached("SELECT hash FROM packs WHERE n = ?1")?.query_row([pack], |r| r.get(0));
    facts.pack = known.optional()?.unwrap_or_default();
    let mut find = db.prepare_cached(conversations!("WHERE seq = ?1"))?;
    let conversation = find.query([r.get::<_, i64>(2)?])?.next()?.map(stored::conversation).transpose()?;
    facts.from = conversation.and_then(|c| c.row.address);
    Ok(Some(facts))
}

fn quarantined(r: &Row<'_>) -> rusqlite::Result<Quarantined> {
    Ok(Quarantined { seq: unsigned(r.get(0)?), channel: r.get(1)?, reason: r.get(2)?, at: Timestamp(r.get(3)?) })
}

fn dead_letter(r: &Row<'_>) -> Read<DeadLetter> {
    let word: String = r.get(12)?;
    let reasons = [
        DeadReason::Rejected,
        DeadReason::Unknown,
        DeadReason::Expired,
        DeadReason::ChannelRemoved,
        DeadReason::Failed,
    ];
    Ok(DeadLetter {
        seq: unsigned(r.get(10)?),
        channel: r.get(11)?,
        reason: reasons.into_iter().find(|d| d.as_str() == word).unwrap_or(DeadReason::Failed),
        at: Timestamp(r.get(13)?),
        message: stored::item(r, ConvId::from_bytes(bytes(r, 9)?))?.into_message(),
    })
}
