mod beginning;
mod bounds;
mod gathering;
mod shown;
mod slots;
mod trimming;
mod versions;

use super::*;
use crate::log::*;
use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::types::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use switchboard_envelope::{
    Address, Author, BlobRef, ChannelProfile, ConsentState, Content, Outcome, ReceiptStatus, Timestamp,
};
use switchboard_routing_rules::event::*;
use switchboard_routing_rules::ids::{ContactId, ConvId, MessageId, OfferId, Salt};
use switchboard_routing_rules::pack::{ConvStatus, Priority};
use tokio::sync::watch;

pub(crate) const SALT: Salt = Salt([3; 16]);

pub(crate) fn conv(n: u32) -> ConvId {
    ConvId::derive(&SALT, &[&n.to_be_bytes()])
}
pub(crate) fn contact(n: u32) -> ContactId {
    ContactId::derive(&SALT, &[&n.to_be_bytes()])
}
pub(crate) fn msg(n: u32) -> MessageId {
    MessageId::derive(&SALT, &[&n.to_be_bytes()])
}
pub(crate) fn offer(n: u32) -> OfferId {
    OfferId::derive(&SALT, &[&n.to_be_bytes()])
}
pub(crate) fn thread(n: u32) -> KeyHash {
    KeyHash(u128::from(n) + 7)
}
pub(crate) fn t(ms: i64) -> Timestamp {
    Timestamp(1_763_000_000_000 + ms)
}

pub(crate) fn consumed(seq: u64) -> Event {
    let at = t(i64::try_from(seq).unwrap());
    Public::Consumed { seq, stored_at: at, now: at, id: None, duplicate: false }.into()
}

pub(crate) fn with(public: Public, who: u32, private: Private) -> Event {
    Event { public, private: Some((contact(who), private)) }
}

pub(crate) fn channels() -> Event {
    let mut channels = BTreeMap::new();
    channels.insert("sms".to_owned(), ChannelProfile::new("sms", "phone"));
    channels.insert("site".to_owned(), ChannelProfile { push: true, ..ChannelProfile::new("webchat", "visitor") });
    Public::ChannelsInForce { channels }.into()
}

pub(crate) fn opened(n: u32, channel: &str) -> Event {
    let address = Address { name: Some(format!("Ann {n}")), ..Address::new("phone", format!("+1555{n:07}")) };
    with(
        Public::Opened {
            conv: conv(n),
            contact: contact(n),
            channel: channel.into(),
            thread: thread(n),
            at: t(0),
            ours: false,
            trial: 0,
        },
        n,
        Private::Opened { thread: address.value.clone(), address, subject: None },
    )
}

pub(crate) fn received(n: u32, m: u32, text: &str) -> Event {
    let at = t(i64::from(m));
    with(
        Public::Received { conv: conv(n), message: msg(m), at, automatic: false, provider: None, quiet: false },
        n,
        Private::Received {
            said_at: None,
            content: Box::new(Content::text(text)),
            from: Address::new("phone", format!("+1555{n:07}")),
            provider_id: None,
            client_id: None,
            id: format!("sms:message:{m}"),
            mail: None,
            proved: None,
            disproved: false,
        },
    )
}

pub(crate) fn send(n: u32, m: u32, text: &str, author: Author, push: bool) -> Event {
    with(
        Public::SendQueued {
            parts: 1,
            conv: conv(n),
            message: msg(m),
            channel: "sms".into(),
            author,
            at: t(i64::from(m)),
            not_after: t(1_000_000),
            push,
            resends: None,
            relived: false,
            doubted: false,
            notice: false,
        },
        n,
        Private::Send {
            content: Box::new(Content::text(text)),
            to: Address::new("phone", format!("+1555{n:07}")),
            reply_to: vec![],
            mail: None,
            traceparent: None,
        },
    )
}

pub(crate) fn decided(n: u32, m: u32, rule: &str) -> Event {
    with(
        Public::Decided {
            conv: conv(n),
            message: msg(m),
            pack: "pack1".into(),
            hits: vec![rule.into()],
            place: Some(Why::Rule(rule.into())),
            chosen: None,
            priority: None,
        },
        n,
        Private::Decided { seen: Box::default(), message: Box::default() },
    )
}

pub(crate) fn queued(n: u32, queue: &str) -> Event {
    Public::Queued {
        conv: conv(n),
        queue: queue.into(),
        since: t(1),
        entered: t(1),
        skills: BTreeMap::new(),
        overflow: vec![],
        ageing: None,
        newest: false,
        why: Why::Default,
        by: None,
    }
    .into()
}

pub(crate) fn assigned(n: u32, agent: &str, why: Why) -> Event {
    let considered = Considered {
        chosen: Some(agent.into()),
        passed: vec![
            ("bob".into(), PassedOver::Away),
            ("cy".into(), PassedOver::Capacity { load: 300, capacity: 300 }),
        ],
        others: 4,
    };
    Public::Assigned { conv: conv(n), agent: agent.into(), why, considered, by: None }.into()
}

pub(crate) fn receipt(n: u32, m: u32, status: ReceiptStatus) -> Event {
    Public::Receipt { conv: conv(n), message: msg(m), status, code: None, at: t(9), of: None }.into()
}

fn agent(id: &str) -> Author {
    Author::Agent { id: id.into() }
}

/// A day with a bit of everything.
pub(crate) fn story() -> Vec<(Seq, Vec<Event>)> {
    let auto = Author::Auto { rule: "Refunds".into() };
    let mut tags = BTreeSet::new();
    tags.insert("refund".to_owned());
    vec![
        (
            1,
            vec![
                Public::Led { now: t(0), incarnation: 1 }.into(),
                Public::PackInForce { hash: "pack1".into() }.into(),
                channels(),
            ],
        ),
        (
            2,
            vec![
                consumed(1),
                opened(1, "sms"),
                received(1, 1, "where is my refund"),
                decided(1, 1, "Refunds"),
                Public::Tagged { conv: conv(1), add: tags, remove: BTreeSet::new() }.into(),
                Public::Prioritised { conv: conv(1), priority: Priority::High, by: None }.into(),
                queued(1, "billing"),
                Public::ClockSet { conv: conv(1), clock: ClockKind::FirstResponse, due: t(900), warn_at: None }.into(),
                send(1, 2, "we are on it", auto, false),
                consumed(2),
                opened(2, "site"),
                received(2, 3, "hello"),
                decided(2, 3, "Greet"),
                queued(2, "everyone"),
            ],
        ),
        (
            3,
            vec![
                Public::Released { conv: conv(1), message: msg(2), part: 1, n: 1, until: t(50) }.into(),
                consumed(3),
                Public::AttemptEnded {
                    conv: conv(1),
                    message: msg(2),
                    part: 1,
                    n: 1,
                    outcome: Outcome::Accepted,
                    code: None,
                    retry_at: None,
                    provider: vec![],
                }
                .into(),
                Public::Sent { conv: conv(1), message: msg(2), at: t(5) }.into(),
                Public::Ticked { now: t(40), relived: false }.into(),
                assigned(1, "ann", Why::Strategy),
                Public::Offered {
                    conv: conv(2),
                    offer: offer(1),
                    agent: "bob".into(),
                    expires: t(60),
                    considered: Considered::default(),
                }
                .into(),
                Public::Quarantined { seq: 9, channel: "sms".into(), reason: "no body".into(), at: t(4) }.into(),
                Public::Quarantined { seq: 10, channel: "sms".into(), reason: "no from".into(), at: t(4) }.into(),
                Public::QuarantineReleased { seq: 9 }.into(),
            ],
        ),
        (
            4,
            vec![
                consumed(4),
                with(
                    Public::NoteAdded {
                        conv: conv(2),
                        message: msg(4),
                        agent: Some("bob".into()),
                        token: None,
                        at: t(44),
                    },
                    2,
                    Private::Note { text: "a secret between agents".into() },
                ),
                Public::OfferEnded { conv: conv(2), offer: offer(1), agent: "bob".into(), how: OfferEnd::Accepted }
                    .into(),
                assigned(2, "bob", Why::Accepted),
                send(2, 5, "hi there", agent("bob"), true),
                send(1, 6, "your money is back", agent("ann"), false),
                Public::Dead { conv: conv(1), message: msg(6), reason: DeadReason::Unknown, at: t(45) }.into(),
                Public::Answered { command: KeyHash(77), body: Some("b1".into()), reply: ok("first") }.into(),
                Public::Answered { command: KeyHash(77), body: Some("b2".into()), reply: ok("second") }.into(),
                Public::Closed { conv: conv(2), by: Some("bob".into()), reopen_until: t(999) }.into(),
            ],
        ),
    ]
}

fn ok(message: &str) -> Reply {
    let ids = [("message".to_owned(), message.to_owned())].into();
    Reply { status: 202, code: String::new(), detail: String::new(), ids }
}

pub(super) fn dump(path: &Path) -> Vec<(String, Vec<Vec<Value>>)> {
    let db = rusqlite::Connection::open(path).unwrap();
    let tables = [
        "meta",
        "conversations",
        "messages",
        "marks",
        "runs",
        "ids",
        "packs",
        "contacts",
        "identities",
        "offers",
        "trash",
        "dead",
        "quarantine",
        "answers",
        "rule_hits",
        "pack_hits",
        "slots",
        "slot_hits",
    ];
    let read = |table: &str| {
        let mut q = db.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).unwrap();
        let columns = q.column_count();
        let rows = q.query_map([], |r| (0..columns).map(|i| r.get(i)).collect::<Result<Vec<Value>, _>>()).unwrap();
        rows.collect::<Result<Vec<_>, _>>().unwrap()
    };
    tables.iter().map(|t| ((*t).to_owned(), read(t))).collect()
}

pub(crate) fn history_of(dir: &Path, frames: &[(Seq, Vec<Event>)]) -> (HistoryWriter, History) {
    let mut writer = HistoryWriter::open(dir.join("history.db")).unwrap();
    writer.apply(frames).unwrap();
    let (_, cursor) = watch::channel(writer.cursor());
    let history = History::new(writer.path(), cursor);
    (writer, history)
}

#[test]
fn frames_applied_twice_and_one_by_one_give_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, pieces) = (dir.path().join("a.db"), dir.path().join("b.db"));
    let mut a = HistoryWriter::open(&whole).unwrap();
    a.apply(&story()).unwrap();
    let before = dump(&whole);
    a.apply(&story()).unwrap();
    assert_eq!(dump(&whole), before, "frames behind the cursor change nothing");
    for frame in story() {
        // A new writer each time: nothing may depend on what a former one remembered.
        HistoryWriter::open(&pieces).unwrap().apply(&[frame]).unwrap();
    }
    assert_eq!(dump(&whole), dump(&pieces));
    a.reset().unwrap();
    assert_eq!(a.cursor(), 0);
    a.apply(&story()).unwrap();
    assert_eq!(dump(&whole), dump(&pieces));
    let rows = dump(&whole).into_iter().map(|(t, r)| (t, r.len())).collect::<BTreeMap<_, _>>();
    assert_eq!((rows["conversations"], rows["contacts"], rows["dead"], rows["quarantine"]), (2, 2, 1, 1));
}

#[test]
fn a_file_of_another_version_or_damaged_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let mut w = HistoryWriter::open(&path).unwrap();
    w.apply(&story()).unwrap();
    drop(w);
    assert_eq!(HistoryWriter::open(&path).unwrap().cursor(), 4);
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    assert_eq!(HistoryWriter::open(&path).unwrap().cursor(), 0);
    for junk in [&b"this is no database, but long enough to look at for a while"[..], &[0; 4096], b""] {
        std::fs::write(&path, junk).unwrap();
        let mut w = HistoryWriter::open(&path).unwrap();
        assert_eq!(w.cursor(), 0);
        w.apply(&story()).unwrap();
        assert_eq!(w.cursor(), 4);
    }
}

#[tokio::test]
async fn lists_and_details_say_what_the_events_said() {
    let dir = tempfile::tempdir().unwrap();
    let (_w, h) = history_of(dir.path(), &story());
    let all = h.conversations(ConversationFilter::default(), None, 10).await.unwrap();
    let ids: Vec<ConvId> = all.items.iter().map(|c| c.0.id).collect();
    assert_eq!((ids, all.next), (vec![conv(2), conv(1)], None));
    let (one, who) = h.conversation(conv(1)).await.unwrap().unwrap();
    assert_eq!(
        (one.state, one.agent.as_deref(), one.queue.as_deref()),
        (ConvStatus::Assigned, Some("ann"), Some("billing"))
    );
    assert_eq!((one.kind.as_str(), one.priority, one.tags.contains("refund")), ("sms", Priority::High, true));
    assert_eq!(one.clock.unwrap().due, t(900));
    assert_eq!(one.last.unwrap().text, "your money is back");
    assert!(!one.ours_to_answer);
    let who = who.unwrap();
    assert_eq!((who.name.as_deref(), who.identities.len()), (Some("Ann 1"), 1));
    let filter = ConversationFilter { states: vec![ConvStatus::Closed], ..Default::default() };
    assert_eq!(h.conversations(filter, None, 10).await.unwrap().items.len(), 1);
    assert!(h.offers(None, None, 10).await.unwrap().items.is_empty(), "the offer was accepted");
    let dead = h.dead_letters(None, None, 10).await.unwrap().items;
    assert_eq!((dead[0].reason, dead[0].message.text.as_deref()), (DeadReason::Unknown, Some("your money is back")));
    assert_eq!(h.quarantine(None, 10).await.unwrap().items.iter().map(|q| q.seq).collect::<Vec<_>>(), [10]);
    let answered = h.answered(KeyHash(77)).await.unwrap().unwrap();
    assert_eq!((answered.body.as_deref(), answered.reply), (Some("b1"), ok("first")));
    assert_eq!(h.rule_hits().await.unwrap().len(), 2);
    assert_eq!(h.pack_hits("pack1").await.unwrap(), h.rule_hits().await.unwrap());
    assert_eq!(h.pack_hits("pack2").await.unwrap(), []);
    assert_eq!(h.pack_in_force().await.unwrap().unwrap().0, "pack1");
    let found = h.contacts(Some("phone:+15550000001".into()), None, 10).await.unwrap();
    assert_eq!(found.items[0].id, contact(1));
}

#[tokio::test]
async fn facts_hold_who_was_considered_and_what_came_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (_w, h) = history_of(dir.path(), &story());
    let m = h.message(msg(1).to_string()).await.unwrap().unwrap();
    let facts = h.facts(m.seq).await.unwrap().unwrap();
    assert_eq!((facts.hits.as_slice(), facts.pack.as_str()), (&["Refunds".to_owned()][..], "pack1"));
    assert_eq!(facts.considering.len(), 1, "assigned later, by a timer, and still told with the message");
    assert_eq!(facts.considering[0].considered.others, 4);
    assert_eq!(facts.outcome.queue.as_deref(), Some("billing"));
    assert_eq!(facts.outcome.agent, None, "the assignment was no part of this decision");
    assert_eq!(facts.outcome.replies, [(msg(2).to_string(), "Refunds".to_owned())]);
    assert_eq!(h.last_inbound().await.unwrap().unwrap().id, msg(3).to_string());
}

async fn status_after(events: Vec<Event>) -> Status {
    let dir = tempfile::tempdir().unwrap();
    let mut frames =
        vec![(1, vec![channels(), opened(1, "sms"), received(1, 1, "x"), send(1, 2, "y", agent("ann"), false)])];
    frames.extend(events.into_iter().enumerate().map(|(i, e)| (2 + i as u64, vec![e])));
    let (_w, h) = history_of(dir.path(), &frames);
    h.message(msg(2).to_string()).await.unwrap().unwrap().status.unwrap()
}

#[tokio::test]
async fn a_late_older_status_never_overwrites_a_newer_one() {
    use ReceiptStatus as R;
    let sent = || -> Event { Public::Sent { conv: conv(1), message: msg(2), at: t(3) }.into() };
    let released =
        || -> Event { Public::Released { conv: conv(1), message: msg(2), part: 1, n: 1, until: t(3) }.into() };
    let ended = |outcome| -> Event {
        let (conv, message) = (conv(1), msg(2));
        Public::AttemptEnded { conv, message, part: 1, n: 1, outcome, code: None, retry_at: None, provider: vec![] }
            .into()
    };
    let dead =
        || -> Event { Public::Dead { conv: conv(1), message: msg(2), reason: DeadReason::Unknown, at: t(4) }.into() };
    let r = |s| receipt(1, 2, s);
    let table: Vec<(Vec<Event>, Status)> = vec![
        (vec![], Status::Queued),
        (vec![released()], Status::Sending),
        (vec![released(), ended(Outcome::NotSent)], Status::Queued),
        (vec![released(), ended(Outcome::NotSent), released()], Status::Sending),
        (vec![released(), ended(Outcome::Unknown)], Status::Unknown),
        (vec![ended(Outcome::Unknown), sent()], Status::Accepted),
        (vec![ended(Outcome::Rejected), released()], Status::Rejected),
        (vec![r(R::Delivered), sent()], Status::Delivered),
        (vec![r(R::Delivered), ended(Outcome::Accepted), sent(), r(R::Accepted)], Status::Delivered),
        (vec![sent(), r(R::Read), r(R::Delivered)], Status::Read),
        (vec![sent(), r(R::Failed), r(R::Delivered)], Status::Failed),
        (vec![ended(Outcome::Unknown), dead()], Status::Unknown),
        (vec![ended(Outcome::Unknown), dead(), r(R::Delivered)], Status::Delivered),
        (vec![ended(Outcome::Unknown), dead(), r(R::Failed)], Status::Failed),
    ];
    for (i, (events, wanted)) in table.into_iter().enumerate() {
        assert_eq!(status_after(events).await, wanted, "line {i}");
    }
}

#[tokio::test]
async fn a_client_confirms_what_it_has_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (mut w, h) = history_of(dir.path(), &story());
    let up_to = h.message(msg(5).to_string()).await.unwrap().unwrap().seq;
    let frames = [
        (5, vec![send(2, 7, "and more", agent("bob"), true)]),
        (6, vec![Public::Confirmed { channel: "site".into(), thread: thread(2), up_to, read: true, at: t(50) }.into()]),
    ];
    w.apply(&frames).unwrap();
    let status = async |m| h.message(msg(m).to_string()).await.unwrap().unwrap().status.unwrap();
    assert_eq!((status(5).await, status(7).await), (Status::Read, Status::Accepted));
}

#[tokio::test]
async fn an_erased_person_leaves_ids_and_no_words() {
    let dir = tempfile::tempdir().unwrap();
    let erased: Vec<(Seq, Vec<Event>)> = story()
        .into_iter()
        .map(|(s, events)| (s, events.into_iter().map(|e| Event { private: None, ..e }).collect()))
        .collect();
    let (w, h) = history_of(dir.path(), &erased);
    assert_eq!(h.conversations(ConversationFilter::default(), None, 9).await.unwrap().items.len(), 2);
    let m = h.message(msg(1).to_string()).await.unwrap().unwrap();
    assert_eq!((m.text, m.at), (None, t(1)));
    assert!(h.facts(m.seq).await.unwrap().unwrap().seen.is_none());
    let bytes = std::fs::read(w.path()).unwrap();
    for word in ["refund\u{0}", "+1555", "Ann 1", "secret"] {
        assert!(!bytes.windows(word.len()).any(|x| x == word.as_bytes()), "{word} is in the file");
    }
}

#[tokio::test]
async fn a_merge_moves_identities_consent_and_conversations() {
    let dir = tempfile::tempdir().unwrap();
    let (mut w, h) = history_of(dir.path(), &story());
    let opted_out = ConsentState::OptedOut;
    let frames = [(
        5,
        vec![
            Public::ConsentChanged {
                contact: contact(2),
                identity: thread(2),
                channel: "sms".into(),
                state: opted_out,
            }
            .into(),
            Public::ContactMerged { into: contact(1), from: contact(2) }.into(),
        ],
    )];
    w.apply(&frames).unwrap();
    let merged = h.contact(contact(2)).await.unwrap().unwrap();
    assert_eq!((merged.id, merged.identities.len(), merged.consent["sms"]), (contact(1), 2, opted_out));
    let filter = ConversationFilter { contacts: vec![contact(1)], ..Default::default() };
    assert_eq!(h.conversations(filter, None, 9).await.unwrap().items.len(), 2);
    assert_eq!(h.contacts(Some("phone:+15550000002".into()), None, 9).await.unwrap().items[0].id, contact(1));
}

#[test]
fn a_frame_with_more_events_than_places_numbers_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = HistoryWriter::open(dir.path().join("history.db")).unwrap();
    let mut events = vec![opened(1, "sms")];
    events.extend((0..5000).map(|m| received(1, m, "x")));
    w.apply(&[(1, events), (2, vec![received(1, 9999, "next")])]).unwrap();
    let rows = dump(w.path()).into_iter().find(|t| t.0 == "messages").unwrap().1.len();
    assert_eq!(rows, 5001);
}

/// A log of frames only.
pub(crate) struct Frames {
    pub frames: Mutex<Vec<(Seq, Vec<Event>)>>,
    pub tail: watch::Sender<Seq>,
}

impl Frames {
    pub fn new() -> Arc<Frames> {
        Arc::new(Frames { frames: Mutex::new(vec![]), tail: watch::channel(0).0 })
    }

    pub fn push(&self, frame: (Seq, Vec<Event>)) {
        let seq = frame.0;
        self.frames.lock().unwrap().push(frame);
        self.tail.send_replace(seq);
    }

    pub fn decoder(self: &Arc<Self>) -> impl Fn(Stored) -> std::future::Ready<Result<Vec<Event>, LogError>> + use<> {
        let me = Arc::clone(self);
        move |stored| {
            let frames = me.frames.lock().unwrap();
            let found = frames.iter().find(|f| f.0 == stored.seq).map(|f| f.1.clone());
            std::future::ready(found.ok_or_else(|| LogError::Damaged("no such frame".into())))
        }
    }
}

fn no<T>() -> Result<T, LogError> {
    Err(LogError::Refused("this log holds frames only".into()))
}

#[async_trait]
impl Log for Frames {
    async fn ingest(&self, _: InRecord) -> Result<Ingested, LogError> {
        no()
    }
    async fn read_in(&self, _: Seq, _: usize) -> Result<Vec<Stored>, LogError> {
        no()
    }
    async fn get_in(&self, _: Seq) -> Result<Option<Stored>, LogError> {
        no()
    }
    fn in_tail(&self) -> watch::Receiver<Seq> {
        watch::channel(0).1
    }
    async fn in_last(&self) -> Result<Seq, LogError> {
        no()
    }
    async fn commit(&self, _: Seq, _: FrameWrite) -> Commit {
        Commit::Unknown("frames only".into())
    }
    async fn read_log(&self, after: Seq, max: usize) -> Result<Vec<Stored>, LogError> {
        let frames = self.frames.lock().unwrap();
        let of = |f: &(Seq, Vec<Event>)| Stored { seq: f.0, at: t(0), channel: String::new(), data: Bytes::new() };
        Ok(frames.iter().filter(|f| f.0 > after).take(max).map(of).collect())
    }
    fn log_tail(&self) -> watch::Receiver<Seq> {
        self.tail.subscribe()
    }
    async fn log_bounds(&self) -> Result<(Seq, Seq), LogError> {
        let frames = self.frames.lock().unwrap();
        Ok((frames.first().map_or(1, |f| f.0), frames.last().map_or(0, |f| f.0)))
    }
    fn doubt(&self) -> &crate::log::Doubt {
        static NONE: crate::log::Doubt = crate::log::Doubt::new();
        &NONE
    }
    async fn out_last(&self) -> Result<Seq, LogError> {
        no()
    }
    async fn outbox(&self, _: &str) -> Result<Box<dyn Outbox>, LogError> {
        no()
    }
    async fn claim(&self, _: &str, _: &str) -> Result<Claim, LogError> {
        no()
    }
    async fn claimed(&self, _: &str) -> Result<Option<String>, LogError> {
        no()
    }
    async fn put_blob(&self, _: &str, _: Bytes) -> Result<BlobRef, LogError> {
        no()
    }
    async fn get_blob(&self, _: &str, _: &BlobRef) -> Result<Option<Bytes>, LogError> {
        no()
    }
    async fn delete_blob(&self, _: &str, _: &BlobRef) -> Result<(), LogError> {
        no()
    }
    async fn put_key(&self, _: &str, _: [u8; 32]) -> Result<[u8; 32], LogError> {
        no()
    }
    async fn get_keys(&self, _: &[KeyId]) -> Result<Vec<Option<[u8; 32]>>, LogError> {
        no()
    }
    async fn delete_key(&self, _: &str) -> Result<(), LogError> {
        no()
    }
    async fn put_cursor(&self, _: &str, _: &str) -> Result<(), LogError> {
        no()
    }
    async fn get_cursor(&self, _: &str) -> Result<Option<String>, LogError> {
        no()
    }
    async fn delete_cursor(&self, _: &str) -> Result<(), LogError> {
        no()
    }
    async fn put_snapshot(&self, _: Seq, _: Bytes) -> Result<(), LogError> {
        no()
    }
    async fn snapshots(&self) -> Result<Vec<(Seq, Bytes)>, LogError> {
        no()
    }
    async fn in_fill(&self) -> Result<u32, LogError> {
        Ok(0)
    }
    async fn trim_in(&self, _: Seq) -> Result<(), LogError> {
        no()
    }
    async fn trim_log(&self, _: Seq) -> Result<(), LogError> {
        no()
    }
    async fn trim_out(&self, _: Timestamp) -> Result<(), LogError> {
        no()
    }
    async fn now(&self) -> Result<Timestamp, LogError> {
        no()
    }
    fn exclusive(&self) -> bool {
        true
    }
    fn durability(&self) -> String {
        String::new()
    }
}

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_runner_follows_the_log_and_tells_who_listens() {
    let dir = tempfile::tempdir().unwrap();
    let log = Frames::new();
    let mut frames = story();
    let last = frames.pop().unwrap();
    frames.into_iter().for_each(|f| log.push(f));
    let (stop, stopped) = watch::channel(false);
    let writer = HistoryWriter::open(dir.path().join("history.db")).unwrap();
    let (handle, task) = spawn_projection(log.clone(), writer, log.decoder(), stopped);
    assert!(handle.history().wait_for(3, SOON).await);
    let mut changes = handle.changes();
    log.push(last);
    assert_eq!(tokio::time::timeout(SOON, changes.recv()).await.unwrap().unwrap().seq, 4);
    // Handed over by the router instead of read.
    handle.feed(5, 0, Arc::new(vec![send(2, 8, "one more", agent("bob"), true)]));
    log.push((5, vec![]));
    assert!(handle.history().wait_for(5, SOON).await);
    assert_eq!(handle.history().transcript("site".into(), thread(2), 0, 9).await.unwrap().len(), 3);
    assert!(!handle.history().wait_for(6, Duration::from_millis(20)).await);
    stop.send(true).unwrap();
    tokio::time::timeout(SOON, task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_history_ahead_of_its_log_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (w, _) = history_of(dir.path(), &story());
    let log = Frames::new();
    story().into_iter().take(2).for_each(|f| log.push(f));
    let (_stop, stopped) = watch::channel(false);
    let (handle, _task) = spawn_projection(log.clone(), w, log.decoder(), stopped);
    let mut cursor = handle.history().watch_cursor();
    tokio::time::timeout(SOON, cursor.wait_for(|c| *c == 2)).await.unwrap().unwrap();
    assert!(handle.history().message(msg(5).to_string()).await.unwrap().is_none());
    assert!(handle.history().message(msg(3).to_string()).await.unwrap().is_some());
}
