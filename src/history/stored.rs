//! Rows as the file has them: MessagePack by position, without what the columns beside it say already. The version of the
//! file says what the positions are.

use super::HistoryError;
use super::rows::{
    Clock, Considering, Conversation, Direction, EventLine, Facts, FactsOutcome, LAST_TEXT, LastMessage, Message,
    OfferRow, Status, Who,
};
use rusqlite::Row;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use switchboard_envelope::{Address, Attachment, BlobRef, Choice, FileProblem, SenderProof, Timestamp};
use switchboard_routing_rules::event::{DecidedMessage, KeyHash, NoReply, Private, Why};
use switchboard_routing_rules::ids::{ContactId, ConvId, ID_BYTES, MessageId};
use switchboard_routing_rules::pack::{ConvStatus, Name, Priority, SeenState};

/// The indexed columns of a conversation.
pub(super) type Indexed = (ContactId, ConvStatus, Option<Name>, Option<Name>, Option<Timestamp>);

/// A conversation with what only the projection needs.
pub(super) struct Conv {
    pub row: Conversation,
    /// The newest row of its transcript; 0 when there is none.
    pub last: u64,
    /// Rows of its transcript.
    pub items: u32,
    /// The newest message that a list shows; 0 when there is none.
    pub shown: u64,
    /// Since when its customer waits for a person's answer.
    pub waits_since: Option<Timestamp>,
    /// Who was considered for it while its customer has written nothing; afterwards that belongs to what they wrote.
    pub considering: Vec<Considering>,
    /// Whether the row says if its customer's newest words are proved to be theirs; in rows of before only the message does.
    pub proof_kept: bool,
    /// When it was closed, once no input can touch it any more: then it may be trimmed.
    pub ended: Option<Timestamp>,
    /// What the file's indexes say.
    pub indexed: Option<Indexed>,
}

impl Conv {
    /// One that the file does not have yet, with nothing in its transcript.
    pub fn new(row: Conversation) -> Conv {
        Conv {
            row,
            last: 0,
            items: 0,
            shown: 0,
            waits_since: None,
            considering: vec![],
            proof_kept: true,
            ended: None,
            indexed: None,
        }
    }
}

impl Deref for Conv {
    type Target = Conversation;
    fn deref(&self) -> &Conversation {
        &self.row
    }
}

impl DerefMut for Conv {
    fn deref_mut(&mut self) -> &mut Conversation {
        &mut self.row
    }
}

/// A message with what only the projection needs. Its text form of ids is made by readers.
pub(super) struct Item {
    pub row: Message,
    /// Absent for event lines.
    pub id: Option<MessageId>,
    /// The row before it in its conversation; 0 when it is the first.
    pub prev: u64,
}

impl Deref for Item {
    type Target = Message;
    fn deref(&self) -> &Message {
        &self.row
    }
}

impl DerefMut for Item {
    fn deref_mut(&mut self) -> &mut Message {
        &mut self.row
    }
}

/// What is known of what became of a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fate {
    pub status: Option<Status>,
    pub code: Option<String>,
    pub detail: Option<String>,
}

/// Reads it from its three columns.
pub(super) fn fate(r: &Row<'_>, first: usize) -> Result<Fate, HistoryError> {
    let status: Option<u8> = r.get(first)?;
    Ok(Fate { status: status.map(Status::of_code), code: r.get(first + 1)?, detail: r.get(first + 2)? })
}

/// A message that is in the file, as far as what becomes of it is concerned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Standing {
    pub direction: Direction,
    /// The row before it in its conversation; 0 when it is the first.
    pub prev: u64,
    pub fate: Fate,
}

impl Fate {
    /// What it takes beside itself.
    pub fn bytes(&self) -> usize {
        self.code.as_ref().map_or(0, String::len) + self.detail.as_ref().map_or(0, String::len)
    }
}

impl Item {
    pub fn fate(&self) -> Fate {
        Fate { status: self.row.status, code: self.row.code.clone(), detail: self.row.detail.clone() }
    }

    pub fn standing(&self) -> Standing {
        Standing { direction: self.row.direction, prev: self.prev, fate: self.fate() }
    }
}

/// What came of a decision; what it saw never changes, and is kept as bytes until it is written.
#[derive(Default)]
pub(super) struct Outcome {
    pub seen: Vec<u8>,
    pub considering: Vec<Considering>,
    pub not_replied: Vec<(String, NoReply)>,
    pub outcome: FactsOutcome,
}

/// A row's bytes, in a buffer that is used again.
pub(super) fn packed<'b>(buf: &'b mut Vec<u8>, row: &impl Serialize) -> Result<&'b [u8], HistoryError> {
    buf.clear();
    rmp_serde::encode::write(buf, row)?;
    Ok(buf)
}

pub(super) fn unpacked<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, HistoryError> {
    Ok(rmp_serde::from_slice(bytes)?)
}

/// A position as SQLite's signed integer.
pub(super) fn column(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// What a column holds, or what is wrong with it.
pub(super) fn bytes<const N: usize>(row: &Row<'_>, column: usize) -> Result<[u8; N], HistoryError> {
    let blob = row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?;
    Ok(blob.try_into().map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, 0))?)
}

pub(super) fn blob<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], HistoryError> {
    Ok(row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)
}

const STATES: [ConvStatus; 6] = [
    ConvStatus::Queued,
    ConvStatus::Offered,
    ConvStatus::Assigned,
    ConvStatus::Pending,
    ConvStatus::Snoozed,
    ConvStatus::Closed,
];

pub(super) fn state_column(state: ConvStatus) -> i64 {
    match state {
        ConvStatus::Queued => 0,
        ConvStatus::Offered => 1,
        ConvStatus::Assigned => 2,
        ConvStatus::Pending => 3,
        ConvStatus::Snoozed => 4,
        ConvStatus::Closed => 5,
    }
}

pub(super) fn state_of(column: i64) -> ConvStatus {
    usize::try_from(column).ok().and_then(|n| STATES.get(n)).copied().unwrap_or(ConvStatus::Queued)
}

#[derive(Serialize, Deserialize)]
struct ConvAbout<A, B, C> {
    kind: A,
    thread: Option<A>,
    address: Option<B>,
    subject: Option<A>,
    attributes: C,
}

/// What came later has a default, so that rows of before can be read.
#[derive(Serialize, Deserialize)]
struct ConvDoc<About, Tags, Clocks, Offers, Considered>(
    About,
    ConvTimes,
    ConvPlaces,
    bool,
    bool,
    u8,
    Tags,
    Clocks,
    Offers,
    #[serde(default)] Option<Timestamp>,
    #[serde(default)] Considered,
    #[serde(default)] Option<Proof>,
);

/// Whether a sender was proved, and whether they were disproved.
type Proof = (Option<bool>, bool);

fn proof_of(proof: Option<SenderProof>) -> Proof {
    (proof.map(|proof| proof == SenderProof::Proved), proof == Some(SenderProof::Disproved))
}

type ConvTimes = (
    Timestamp,
    Timestamp,
    Option<Timestamp>,
    Option<Timestamp>,
    Option<Timestamp>,
    Option<Timestamp>,
    Option<Timestamp>,
);
type ConvPlaces = (u32, u32, u64, Option<u64>);

impl Conv {
    pub fn packed<'b>(&self, buf: &'b mut Vec<u8>) -> Result<&'b [u8], HistoryError> {
        let c = &self.row;
        let about = ConvAbout {
            kind: &c.kind,
            thread: c.thread.as_ref(),
            address: c.address.as_ref(),
            subject: c.subject.as_ref(),
            attributes: &c.attributes,
        };
        let times: ConvTimes =
            (c.opened_at, c.updated_at, c.queued_at, c.resolution_due, c.snoozed_until, c.pending_until, c.closed_at);
        let places: ConvPlaces = (c.messages, self.items, self.shown, c.last_inbound);
        let priority = c.priority as u8;
        let (tags, clock, offer) = (&c.tags, &c.clock, &c.offer);
        let (ours, ours_to_answer) = (c.ours, c.ours_to_answer);
        let (waits, considered) = (self.waits_since, &self.considering);
        let proof = self.proof_kept.then(|| proof_of(c.sender_proof));
        let doc =
            ConvDoc(about, times, places, ours, ours_to_answer, priority, tags, clock, offer, waits, considered, proof);
        packed(buf, &doc)
    }
}

/// A query for what [`conversation`] reads.
macro_rules! conversations {
    ($rest:literal) => {
        concat!(
            "SELECT seq, id, contact, channel, thread, state, queue, agent, ended, last, doc FROM conversations ",
            $rest
        )
    };
}
pub(super) use conversations;

pub(super) fn conversation(r: &Row<'_>) -> Result<Conv, HistoryError> {
    type About = ConvAbout<String, Address, BTreeMap<String, String>>;
    type Doc = ConvDoc<About, BTreeSet<Name>, Option<Clock>, Option<OfferRow>, Vec<Considering>>;
    let doc: Doc = unpacked(blob(r, 10)?)?;
    let ConvDoc(
        about,
        times,
        places,
        ours,
        ours_to_answer,
        priority,
        tags,
        clock,
        offer,
        waits_since,
        considering,
        proof,
    ) = doc;
    let (opened_at, updated_at, queued_at, resolution_due, snoozed_until, pending_until, closed_at) = times;
    let (messages, items, shown, last_inbound) = places;
    let row = Conversation {
        seq: unsigned(r.get(0)?),
        id: ConvId::from_bytes(bytes(r, 1)?),
        contact: ContactId::from_bytes(bytes(r, 2)?),
        channel: r.get(3)?,
        kind: about.kind,
        thread_hash: KeyHash(u128::from_be_bytes(bytes(r, 4)?)),
        thread: about.thread,
        address: about.address,
        subject: about.subject,
        ours,
        opened_at,
        updated_at,
        state: state_of(r.get(5)?),
        queue: r.get(6)?,
        agent: r.get(7)?,
        priority: priority_of(priority),
        tags,
        attributes: about.attributes,
        queued_at,
        clock,
        resolution_due,
        offer,
        last: None,
        sender_proof: proof.and_then(|(proved, disproved)| SenderProof::of(proved, disproved)),
        ours_to_answer,
        snoozed_until,
        pending_until,
        closed_at,
        messages,
        last_inbound,
    };
    let ended: Option<i64> = r.get(8)?;
    let ended = ended.map(Timestamp);
    let indexed = Some((row.contact, row.state, row.queue.clone(), row.agent.clone(), ended));
    let (last, proof_kept) = (unsigned(r.get(9)?), proof.is_some());
    Ok(Conv { row, last, items, shown, waits_since, considering, proof_kept, ended, indexed })
}

fn priority_of(n: u8) -> Priority {
    let all = [Priority::Low, Priority::Normal, Priority::High, Priority::Urgent];
    all.into_iter().find(|p| *p as u8 == n).unwrap_or_default()
}

/// What came later has a default, so that rows of before can be read.
#[derive(Serialize, Deserialize)]
struct MessageDoc<S, F, C, A, L>(
    (u8, Option<S>),
    Option<S>,
    Option<S>,
    F,
    Option<C>,
    Timestamp,
    Option<A>,
    Option<S>,
    Option<(u16, u64)>,
    Option<L>,
    #[serde(default = "Vec::new")] Vec<C>,
    #[serde(default)] Option<bool>,
    #[serde(default)] bool,
);
/// Attachments by position: their own form leaves absent fields out, which only a form with names can bear.
/// What came later has a default, so that rows of before can be read.
#[derive(Serialize, Deserialize)]
struct File(
    String,
    String,
    u64,
    Option<BlobRef>,
    Option<String>,
    Option<(String, bool)>,
    #[serde(default)] Option<String>,
    #[serde(default)] Option<String>,
);

impl Item {
    pub fn packed<'b>(&self, buf: &'b mut Vec<u8>) -> Result<&'b [u8], HistoryError> {
        let m = &self.row;
        let file = |a: &Attachment| {
            let problem = a.problem.as_ref().map(|p| (p.detail.clone(), p.again));
            let a = a.clone();
            File(a.name, a.mime, a.size, a.blob, a.url, problem, a.thread, a.content_id)
        };
        let files: Vec<_> = m.attachments.iter().map(file).collect();
        let (proved, disproved) = proof_of(m.sender_proof);
        let doc: MessageDoc<&String, _, &Choice, &Address, &EventLine> = MessageDoc(
            author_code(&m.author),
            m.text.as_ref(),
            m.subject.as_ref(),
            files,
            m.choice.as_ref(),
            m.at,
            m.to.as_ref(),
            m.client_id.as_ref(),
            m.resends.map(|id| parts(id.to_bytes())),
            m.event.as_ref(),
            m.choices.iter().collect(),
            proved,
            disproved,
        );
        packed(buf, &doc)
    }
}

/// A query for what [`item`] reads, and the id of its conversation.
macro_rules! messages {
    ($rest:literal) => {
        concat!(
            "SELECT m.seq, m.conv, m.prev, m.dir, m.id, m.doc, m.status, m.code, m.detail, c.id
             FROM messages m JOIN conversations c ON c.seq = m.conv ",
            $rest
        )
    };
}
pub(super) use messages;

/// A message of a conversation whose id is known.
pub(super) fn item(r: &Row<'_>, conversation: ConvId) -> Result<Item, HistoryError> {
    type Doc = MessageDoc<String, Vec<File>, Choice, Address, EventLine>;
    let doc: Doc = unpacked(blob(r, 5)?)?;
    let MessageDoc(author, text, subject, files, choice, at, to, client_id, resends, event, choices, proved, disproved) =
        doc;
    let Fate { status, code, detail } = fate(r, 6)?;
    let id = match r.get_ref(4)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(MessageId::from_bytes(bytes(r, 4)?)),
    };
    let file = |File(name, mime, size, blob, url, problem, thread, content_id): File| {
        let problem = problem.map(|(detail, again)| FileProblem { detail, again });
        Attachment { name, mime, size, blob, url, problem, thread, content_id }
    };
    let row = Message {
        seq: unsigned(r.get(0)?),
        id: String::new(),
        conversation,
        conversation_seq: unsigned(r.get(1)?),
        direction: Direction::of_column(r.get(3)?),
        author: author_of(author),
        text,
        subject,
        attachments: files.into_iter().map(file).collect(),
        choice,
        choices,
        at,
        status,
        code,
        detail,
        to,
        client_id,
        resends: resends.map(|p| MessageId::from_bytes(whole(p))),
        event,
        sender_proof: SenderProof::of(proved, disproved),
    };
    Ok(Item { row, id, prev: unsigned(r.get(2)?) })
}

impl Item {
    /// The message as readers get it.
    pub fn into_message(self) -> Message {
        let mut row = self.row;
        row.id = match self.id {
            Some(id) => id.to_string(),
            // An event line's id says its place.
            None => format!("e{}", row.seq),
        };
        row
    }

    /// What a list shows of it.
    pub fn preview(&self) -> Option<LastMessage> {
        let text: String = self.row.text.as_deref()?.chars().take(LAST_TEXT).collect();
        Some(LastMessage {
            text,
            inbound: self.row.direction == Direction::In,
            at: self.row.at,
            status: self.row.status,
            sender_proof: self.row.sender_proof,
        })
    }
}

fn author_code(who: &Who) -> (u8, Option<&String>) {
    match who {
        Who::Contact => (0, None),
        Who::Agent(id) => (1, Some(id)),
        Who::Auto(rule) => (2, Some(rule)),
        Who::System => (3, None),
        Who::Elsewhere => (4, None),
        Who::Token(name) => (5, Some(name)),
    }
}

fn author_of(code: (u8, Option<String>)) -> Who {
    match code {
        (0, _) => Who::Contact,
        (1, Some(id)) => Who::Agent(id),
        (2, Some(rule)) => Who::Auto(rule),
        (4, _) => Who::Elsewhere,
        (5, Some(name)) => Who::Token(name),
        _ => Who::System,
    }
}

/// An id as two numbers, which pack better than bytes.
fn parts(id: [u8; ID_BYTES]) -> (u16, u64) {
    let [a, b, c, d, e, f, g, h, i, j] = id;
    (u16::from_be_bytes([a, b]), u64::from_be_bytes([c, d, e, f, g, h, i, j]))
}

fn whole((high, low): (u16, u64)) -> [u8; ID_BYTES] {
    let ([a, b], [c, d, e, f, g, h, i, j]) = (high.to_be_bytes(), low.to_be_bytes());
    [a, b, c, d, e, f, g, h, i, j]
}

type Seen<H, W, E, M> = (i64, Timestamp, H, Option<W>, Option<(E, M)>);

/// What a decision saw, as its events say: straight from them to bytes.
pub(super) fn pack_seen(
    pack: i64,
    at: Timestamp,
    hits: &[String],
    place: Option<&Why>,
    private: Option<&Private>,
) -> Result<Vec<u8>, HistoryError> {
    let seen = match private {
        Some(Private::Decided { seen, message }) => Some((&**seen, &**message)),
        _ => None,
    };
    let row: Seen<&[String], &Why, &SeenState, &DecidedMessage> = (pack, at, hits, place, seen);
    let mut bytes = Vec::with_capacity(USUAL);
    rmp_serde::encode::write(&mut bytes, &row)?;
    Ok(bytes)
}

/// Room for what a decision mostly saw.
const USUAL: usize = 512;

/// The facts of a decision, but for who wrote, and the number of their pack.
pub(super) fn facts(seen: &[u8], outcome: Option<&[u8]>) -> Result<(i64, Facts), HistoryError> {
    type Row = Seen<Vec<String>, Why, SeenState, DecidedMessage>;
    let (pack, at, hits, place, seen): Row = unpacked(seen)?;
    let (seen, message) = seen.unzip();
    let o = outcome.map(Outcome::unpacked).transpose()?.unwrap_or_default();
    let facts = Facts {
        pack: String::new(),
        at,
        hits,
        place,
        seen,
        message,
        from: None,
        considering: o.considering,
        not_replied: o.not_replied,
        outcome: o.outcome,
    };
    Ok((pack, facts))
}

impl Outcome {
    /// `None` where nothing came of it.
    pub fn packed<'b>(&self, buf: &'b mut Vec<u8>) -> Result<Option<&'b [u8]>, HistoryError> {
        if self.considering.is_empty() && self.not_replied.is_empty() && self.outcome == FactsOutcome::default() {
            return Ok(None);
        }
        packed(buf, &(&self.considering, &self.not_replied, &self.outcome)).map(Some)
    }

    pub fn unpacked(bytes: &[u8]) -> Result<Outcome, HistoryError> {
        let (considering, not_replied, outcome) = unpacked(bytes)?;
        Ok(Outcome { seen: vec![], considering, not_replied, outcome })
    }
}

/// Choices that are told of one message, or of a conversation without one.
const CONSIDERED: usize = 20;

impl Considering {
    /// Adds one: the first stays, for it says why it waited, and the newest, who has it now.
    pub(super) fn join(self, all: &mut Vec<Considering>) {
        if all.len() >= CONSIDERED {
            all.remove(1);
        }
        all.push(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_before_choices_is_read_as_one_without() {
        type Doc = MessageDoc<String, Vec<File>, Choice, Address, EventLine>;
        let nothing: Option<String> = None;
        let row = (
            (0, &nothing),
            Some("hello"),
            &nothing,
            Vec::<File>::new(),
            &nothing,
            Timestamp(7),
            &nothing,
            &nothing,
            &nothing,
            &nothing,
        );
        let mut buf = vec![];
        let MessageDoc(_, text, .., at, _, _, _, _, choices, proved, disproved) =
            unpacked::<Doc>(packed(&mut buf, &row).unwrap()).unwrap();
        assert_eq!((text.as_deref(), at, choices), (Some("hello"), Timestamp(7), vec![]));
        assert_eq!((proved, disproved), (None, false));
    }

    #[test]
    fn codes_and_columns_read_back() {
        for state in STATES {
            assert_eq!(state_of(state_column(state)), state);
        }
        for priority in [Priority::Low, Priority::Normal, Priority::High, Priority::Urgent] {
            assert_eq!(priority_of(priority as u8), priority);
        }
        for direction in [Direction::In, Direction::Out, Direction::Note, Direction::Event, Direction::Notice] {
            assert_eq!(Direction::of_column(direction.column()), direction);
        }
        for status in Status::ALL {
            assert_eq!(Status::of_code(status.code()), status);
        }
        let id = [1, 2, 3, 4, 5, 6, 7, 8, 9, 250];
        assert_eq!(whole(parts(id)), id);
        let token = Who::Token("crm".into());
        for who in [Who::Contact, Who::Agent("ann".into()), token, Who::Auto("Refunds".into()), Who::System] {
            let (code, name) = author_code(&who);
            assert_eq!(author_of((code, name.cloned())), who);
        }
    }

    #[test]
    fn a_file_that_was_written_before_its_thread_was_can_be_read() {
        let before = ("bill.pdf", "application/pdf", 7_u64, None::<BlobRef>, None::<String>, None::<(String, bool)>);
        let File(name, .., thread, content_id) = unpacked(&rmp_serde::to_vec(&before).unwrap()).unwrap();
        assert_eq!((name.as_str(), thread, content_id), ("bill.pdf", None, None));
    }
}
