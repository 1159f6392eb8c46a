//! Writing history: frames are folded in memory, and what they touched is written in one transaction a batch.

use super::cache::Cache;
use super::checkpoint::Checkpoints;
use super::places::Places;
use super::project::Place;
use super::rows::{Cause, Contact};
use super::slots::Slots;
use super::stored::{Conv, Item, Outcome, Standing, column, unpacked, unsigned};
use super::{HistoryError, schema};
use crate::log::frame::FrameId;
use crate::log::{Seq, Told};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::event::{Event, KeyHash};
use switchboard_routing_rules::ids::{ContactId, ConvId};
use switchboard_routing_rules::pack::Name;

/// Bytes that the rows of one kind may take in memory between commits.
const CONVERSATIONS: usize = 6 << 20;
const FATES: usize = 2 << 20;
const OUTCOMES: usize = 1 << 20;
const CONTACTS: usize = 1 << 20;

/// A contact with its place in lists.
pub(super) struct ContactRow {
    pub seq: u64,
    pub row: Contact,
}

/// What the fold works on between two commits of the file.
pub(super) struct Work {
    pub cursor: Seq,
    /// Which frame stands there; 0 where that is not known.
    pub frame: FrameId,
    /// The number of the last rebase up to there.
    pub rebase: u64,
    /// The last frame that a snapshot knew of, where LOG had lost its beginning: what opened up to there may be in the file already.
    pub known_to: Seq,
    pub now: Timestamp,
    /// The event that is folded.
    pub at: Place,
    /// The last transcript number given out.
    pub last_message: u64,
    /// The last place of a contact given out.
    pub last_contact: u64,
    pub pack: Option<(String, Timestamp)>,
    /// Kinds of channels, as the channel table in force says.
    pub kinds: BTreeMap<Name, String>,
    /// The pack or the channel table changed.
    pub tables_changed: bool,
    /// Numbers of packs, which are long to write out.
    pub packs: HashMap<String, i64>,
    /// The run of ids that grows, and how many it holds.
    pub run: (i64, usize),
    pub conversations: Cache<ConvId, Conv>,
    /// Conversations that the file does not have yet, by thread.
    pub fresh: HashMap<KeyHash, Vec<ConvId>>,
    pub contacts: Cache<ContactId, ContactRow>,
    /// Identities to be written.
    pub identities: Vec<(String, ContactId)>,
    /// By place: those that the running transaction adds or changes.
    pub messages: Cache<u64, Item>,
    /// What becomes of messages that the file has, by place.
    pub fates: Cache<u64, Standing>,
    pub places: Places,
    /// By the place of the message.
    pub outcomes: Cache<u64, Outcome>,
    /// Marks to be written: conversation and message, by place.
    pub marks: Vec<(u64, u64)>,
    /// By the pack's number and the rule.
    pub hits: BTreeMap<(i64, String), (u64, Timestamp)>,
    pub slots: Slots,
    /// The conversation and message that the rules ran for in this input.
    pub deciding: Option<(ConvId, u64)>,
    /// What just happened to a conversation, of which what follows at once is the consequence.
    pub cause: Option<(ConvId, Cause)>,
}

/// The one writer of `history.db`.
pub struct HistoryWriter {
    path: PathBuf,
    pub(super) db: Connection,
    pub(super) work: Work,
    checkpoints: Checkpoints,
}

impl HistoryWriter {
    /// Opens the file. A file that is missing, damaged or of another version is made again, with cursor 0.
    ///
    /// # Errors
    /// When the file can neither be opened nor made.
    pub fn open(path: impl AsRef<Path>) -> Result<HistoryWriter, HistoryError> {
        let path = path.as_ref().to_owned();
        let db = schema::open(&path)?;
        let checkpoints = Checkpoints::new(&path);
        match read_meta(&db) {
            Ok(work) => Ok(HistoryWriter { path, db, work, checkpoints }),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "history cannot be used: it is made again");
                drop(db);
                let db = schema::create(&path)?;
                let work = read_meta(&db)?;
                Ok(HistoryWriter { path, db, work, checkpoints })
            }
        }
    }

    /// Deletes the file and makes an empty one; LOG fills it again.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn reset(&mut self) -> Result<(), HistoryError> {
        self.checkpoints.stop();
        self.db = Connection::open_in_memory()?;
        self.db = schema::create(&self.path)?;
        self.work = read_meta(&self.db)?;
        Ok(())
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last frame that is in the file.
    #[must_use]
    pub fn cursor(&self) -> Seq {
        self.work.cursor
    }

    /// What this file tells of LOG.
    #[must_use]
    pub fn told(&self) -> Told {
        Told { frame: self.work.cursor, id: self.work.frame, rebase: self.work.rebase }
    }

    /// Folds frames into the file, in one transaction, and returns the last that is in it. Frames at or before the cursor
    /// change nothing.
    ///
    /// # Errors
    /// When the file could not be written; nothing of the batch is in it then.
    pub fn apply(&mut self, frames: &[(Seq, impl AsRef<[Event]>)]) -> Result<Seq, HistoryError> {
        self.apply_up_to(frames, 0)
    }

    /// The same, where the last of them is known by its id.
    ///
    /// # Errors
    /// As for [`HistoryWriter::apply`].
    pub fn apply_up_to(&mut self, frames: &[(Seq, impl AsRef<[Event]>)], end: FrameId) -> Result<Seq, HistoryError> {
        self.transaction(|w| {
            for (seq, events) in frames {
                if *seq <= w.work.cursor {
                    continue;
                }
                w.work.deciding = None;
                for (index, event) in events.as_ref().iter().enumerate() {
                    w.work.at = Place { frame: *seq, index };
                    w.fold(event)?;
                }
                (w.work.cursor, w.work.frame) = (*seq, end);
            }
            w.flush()?;
            w.write_meta()
        })?;
        Ok(self.work.cursor)
    }

    /// All of it, or nothing.
    pub(super) fn transaction<T>(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<T, HistoryError>,
    ) -> Result<T, HistoryError> {
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        let done = f(self).and_then(|t| Ok(self.db.execute_batch("COMMIT").map(|()| t)?));
        match &done {
            Ok(_) => {
                self.work.settle();
                self.checkpoints.after_commit(&self.db);
            }
            Err(_) => {
                // What was folded in memory is ahead of the file now: read the file's word again.
                let _ = self.db.execute_batch("ROLLBACK");
                if let Ok(work) = read_meta(&self.db) {
                    self.work = work;
                }
            }
        }
        done
    }

    /// Gives back the memory that only work needs.
    pub fn rest(&mut self) {
        self.work.conversations.clear();
        self.work.contacts.clear();
        self.work.messages.clear();
        self.work.fates.clear();
        self.work.places = Places::default();
        self.work.outcomes.clear();
        // What cannot be given back is no harm.
        let _ = self.db.execute_batch("PRAGMA shrink_memory");
    }

    pub(super) fn write_meta(&mut self) -> Result<(), HistoryError> {
        let w = &mut self.work;
        self.db
            .prepare_cached(
                "UPDATE meta SET cursor = ?1, now = ?2, last_message = ?3, last_contact = ?4, run = ?5, run_size = ?6,
                 frame = ?7, rebase = ?8, known_to = ?9 WHERE id = 1",
            )?
            .execute(params![
                column(w.cursor),
                w.now.0,
                column(w.last_message),
                column(w.last_contact),
                w.run.0,
                i64::try_from(w.run.1).unwrap_or(i64::MAX),
                w.frame.to_le_bytes(),
                column(w.rebase),
                column(w.known_to)
            ])?;
        if std::mem::take(&mut w.tables_changed) {
            self.db.prepare_cached("UPDATE meta SET pack = ?1, pack_at = ?2, kinds = ?3 WHERE id = 1")?.execute(
                params![w.pack.as_ref().map(|p| &p.0), w.pack.as_ref().map(|p| p.1.0), rmp_serde::to_vec(&w.kinds)?],
            )?;
        }
        Ok(())
    }
}

impl Work {
    /// Nothing may be dirty: gives back what is over the bounds.
    pub(super) fn settle(&mut self) {
        self.fresh.clear();
        self.conversations.settle();
        self.contacts.settle();
        self.messages.forget_all();
        self.fates.settle();
        self.outcomes.settle();
    }
}

fn read_meta(db: &Connection) -> Result<Work, HistoryError> {
    let find =
        "SELECT cursor, now, last_message, pack, pack_at, kinds, last_contact, run, run_size, frame, rebase, known_to
        FROM meta WHERE id = 1";
    let mut statement = db.prepare(find)?;
    let mut rows = statement.query([])?;
    let r = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    let (pack, pack_at): (Option<String>, Option<i64>) = (r.get(3)?, r.get(4)?);
    let mut packs = db.prepare("SELECT hash, n FROM packs")?;
    let packs = packs.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<Result<_, _>>()?;
    Ok(Work {
        cursor: unsigned(r.get(0)?),
        frame: r.get::<_, Option<[u8; 16]>>(9)?.map_or(0, FrameId::from_le_bytes),
        rebase: unsigned(r.get(10)?),
        known_to: unsigned(r.get(11)?),
        now: Timestamp(r.get(1)?),
        at: Place::default(),
        last_message: unsigned(r.get(2)?),
        last_contact: unsigned(r.get(6)?),
        pack: pack.zip(pack_at.map(Timestamp)),
        kinds: unpacked(&r.get::<_, Vec<u8>>(5)?)?,
        tables_changed: false,
        packs,
        run: (r.get(7)?, usize::try_from(r.get::<_, i64>(8)?).unwrap_or(0)),
        conversations: Cache::new(CONVERSATIONS),
        fresh: HashMap::new(),
        contacts: Cache::new(CONTACTS),
        identities: vec![],
        messages: Cache::new(0),
        fates: Cache::new(FATES),
        places: Places::default(),
        outcomes: Cache::new(OUTCOMES),
        marks: vec![],
        hits: BTreeMap::new(),
        slots: Slots::default(),
        deciding: None,
        cause: None,
    })
}
