//! Moving a workspace from one log to another: everything that the log holds, under the same numbers, so that what refers to a
//! frame or to a record still finds it. Neither daemon may run meanwhile. What was on its way to a provider when the old one ended
//! is settled by a rebase when the new one starts.

use super::{aside, open_log};
use crate::config::{Config, NatsConfig};
use crate::log::moving::{Begin, Blob, MOVING, Movable, SCOPES_KEY};
use crate::log::nats::{NatsLog, Part};
use crate::log::seal::fresh_key;
use crate::log::sqlite::{SqliteLog, SqliteOptions, lock_dir};
use crate::log::{Class, Commit, FrameWrite, InRecord, Ingested, KeyId, Log, LogError, Seq, Stored};
use crate::router::{RecoverError, request_rebase, state_of};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use switchboard_routing_rules::state::{Limits, State};
use tokio::sync::mpsc;

/// A cursor of a log that was moved away: where to. No daemon starts on it.
const MOVED: &str = "moved";
/// Cursors that say something of a place, and not of the workspace.
const OF_THE_PLACE: [&str; 4] = [MOVED, MOVING, "rebase", "readyz"];
/// Records read at once.
const PAGE: usize = 256;

/// Why a workspace was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("both configurations name the same log: give one whose `[log]` is the new place")]
    Same,
    #[error("workspace `{from}` cannot become `{to}`: both configurations must name the same `workspace`")]
    Workspace { from: String, to: String },
    #[error("there is nothing to move: the log of {0} is empty")]
    Empty(String),
    #[error("{0}: stop every process of this workspace, and its adapters in other processes, and migrate again")]
    InUse(String),
    #[error("this log was moved to {0}; it can be moved no more")]
    MovedAway(String),
    #[error("{0}")]
    Open(String),
    #[error("the old log: {0}")]
    From(LogError),
    #[error("the new log: {0}")]
    To(LogError),
    #[error(transparent)]
    Recover(#[from] RecoverError),
    #[error("the new log does not hold what the old one does ({0}); the old one is as it was")]
    Differs(&'static str),
    #[error("the log forgot a part of what was being read ({0}): try again")]
    Trimmed(String),
}

/// What was moved.
#[derive(Clone, Debug, Default)]
pub struct Moved {
    pub frames: u64,
    pub inputs: u64,
    /// Records in quarantine that were decided before the last.
    pub quarantined: u64,
    pub keys: u64,
    pub blobs: u64,
    pub conversations: usize,
    pub from: String,
    pub to: String,
}

/// Says why no daemon may run on this log, if so.
pub(super) async fn hinders(log: &dyn Log) -> Result<Option<String>, LogError> {
    let marked = |mark: Option<String>| mark.filter(|m| !m.is_empty());
    if let Some(to) = marked(log.get_cursor(MOVED).await?) {
        return Ok(Some(format!("this log was moved to {to}: start the daemon with the configuration of that place")));
    }
    Ok(marked(log.get_cursor(MOVING).await?).map(|mark| {
        let restored = serde_json::from_str::<Mark>(&mark).is_ok_and(|mark| mark.from.starts_with(A_BACKUP));
        let (what, again) = if restored { ("a backup was being restored", "restore") } else { ("a workspace was being moved", "migrate") };
        format!(
            "{what} to this log, and that was interrupted: run `switchboard {again}` again, which goes on with it; or, to begin \
             otherwise, remove what is here (the directory, or the streams and buckets of this workspace)"
        )
    }))
}

/// How a backup is called where it is what is moved.
pub(super) const A_BACKUP: &str = "the backup of ";

/// What is moved, as it is when the move begins: what makes the rest of a move that was interrupted the rest of the same one.
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Mark {
    from: String,
    /// LOG's first and last.
    frames: (Seq, Seq),
    /// The cursor, and IN's last.
    inputs: (Seq, Seq),
}

/// One side of the move.
pub(super) struct Place {
    log: Arc<dyn Movable>,
    words: String,
    _directory: Option<File>,
}

impl Place {
    pub(super) fn of(log: Arc<dyn Movable>, words: String) -> Place {
        Place { log, words, _directory: None }
    }
}

pub(super) fn words(config: &Config) -> String {
    match &config.log.nats {
        None => format!("{}", config.log.path.display()),
        Some(nats) => format!("{}, workspace {}", nats.servers.join(", "), config.workspace),
    }
}

pub(super) async fn open(config: &Config, begin: Option<&Begin>) -> Result<Place, MigrateError> {
    let failed = |e: &dyn std::fmt::Display| MigrateError::Open(e.to_string());
    let words = words(config);
    let Some(nats) = &config.log.nats else {
        let options = open_log::embedded(config);
        let log = match begin {
            Some(begin) => SqliteLog::begin(&config.log.path, &options, begin),
            None => SqliteLog::open(&config.log.path, &options),
        };
        return Ok(Place { log: log.map_err(|e| failed(&e))?, words, _directory: None });
    };
    crate::log::sqlite::create_private(&config.log.path).map_err(|e| failed(&e))?;
    // The two places may share a data directory; then the embedded side has locked it.
    let directory = lock_dir(&config.log.path).ok();
    let options = open_log::options(config, nats, &crate::outbound::process_name(), Part::All);
    let log = match begin {
        Some(begin) => NatsLog::begin(&options, begin).await,
        None => NatsLog::open(&options).await,
    };
    Ok(Place { log: log.map_err(|e| failed(&e))?, words, _directory: directory })
}

/// Moves the workspace of one configuration to the log of the other.
///
/// # Errors
/// With what stands in the way. The old log is as it was, unless the whole workspace is in the new one.
pub async fn migrate(from: &Config, to: &Config, tell: &mut dyn FnMut(&str)) -> Result<Moved, MigrateError> {
    if from.workspace != to.workspace {
        return Err(MigrateError::Workspace { from: from.workspace.clone(), to: to.workspace.clone() });
    }
    if words(from) == words(to) && from.log.nats.is_some() == to.log.nats.is_some() {
        return Err(MigrateError::Same);
    }
    if from.log.nats.is_none() && !from.log.path.join("log.db").exists() {
        return Err(MigrateError::Empty(words(from)));
    }
    let old = open(from, None).await?;
    if let Some(finished) = interrupted(&old, to).await? {
        return Ok(finished);
    }
    // Asked before anything is read: reading makes consumers, too.
    if !old.log.is_alone().await.map_err(MigrateError::From)? {
        return Err(MigrateError::InUse(format!("another process uses {}", old.words)));
    }
    let why = format!("migrate: this workspace was moved here from {}", old.words);
    carry(&old, super::start::limits(from), to, &why, tell).await
}

/// Where what goes on with a log begins, and how its place is marked until all of it is there.
async fn beginning(old: &Place, state: &State, first: Seq, last: Seq) -> Result<Begin, MigrateError> {
    let at = state.cursor.seq;
    let kept = at > 0 && old.log.get_in(at).await.map_err(MigrateError::From)?.is_some();
    let fresh = fresh_key().map_err(|e| MigrateError::Open(e.to_string()))?;
    let scopes = old.log.put_key(SCOPES_KEY, fresh).await.map_err(MigrateError::From)?;
    let inputs = (at, *old.log.in_tail().borrow());
    let mark = Mark { from: old.words.clone(), frames: (first, last), inputs };
    let mark = serde_json::to_string(&mark).map_err(|e| MigrateError::Open(e.to_string()))?;
    Ok(Begin { in_after: if kept { at - 1 } else { at }, log_after: first.saturating_sub(1), scopes, mark })
}

/// Carries everything that a log holds, which nobody writes to, to the place that a configuration names, and asks for a rebase there.
pub(super) async fn carry(
    old: &Place,
    limits: Limits,
    to: &Config,
    why: &str,
    tell: &mut dyn FnMut(&str),
) -> Result<Moved, MigrateError> {
    let log = old.log.clone() as Arc<dyn Log>;
    let (first, last) = log.log_bounds().await.map_err(MigrateError::From)?;
    if last == 0 {
        return Err(MigrateError::Empty(old.words.clone()));
    }
    tell(&format!("reading the state of {}", old.words));
    let state = state_of(&log, limits).await?;
    let begin = beginning(old, &state, first, last).await?;
    let new = open(to, Some(&begin)).await?;
    let mut moved = Moved { from: old.words.clone(), to: new.words.clone(), ..Moved::default() };
    copy(old, &new, &begin, &mut moved, tell).await?;
    moved.quarantined = quarantined(old, &new, &state, begin.in_after).await?;
    tell("comparing what the new log holds");
    let there = state_of(&(new.log.clone() as Arc<dyn Log>), limits).await?;
    compare(&state, &there)?;
    moved.conversations = state.conversations.len();
    let known = there.rebased.map_or(0, |r| r.number);
    request_rebase(new.log.as_ref(), known, why).await.map_err(MigrateError::To)?;
    finish(old, &new, begin.in_after + moved.inputs, last).await?;
    Ok(moved)
}

/// Saves a log that others go on writing to: all that was acknowledged by now is saved. What was released meanwhile and is not saved
/// is decided again after a rebase only, which sends nothing of it.
///
/// The order is what makes it whole. Cursors come first, for each says that what is before it is in IN or LOG; then LOG, up to where
/// it ends now; then IN, which holds what those frames did not decide; last the keys and files, which are there before what names them.
pub(super) async fn save(
    config: &Config,
    nats: &NatsConfig,
    into: &Path,
    tell: &mut dyn FnMut(&str),
) -> Result<(), MigrateError> {
    let options = open_log::options(config, nats, &crate::outbound::process_name(), Part::All);
    let log = NatsLog::open(&options).await.map_err(|e| MigrateError::Open(e.to_string()))?;
    let old = Place::of(log, words(config));
    let log = old.log.clone() as Arc<dyn Log>;
    let from = MigrateError::From;
    if let Some(why) = hinders(log.as_ref()).await.map_err(from)? {
        return Err(MigrateError::Open(why));
    }
    let (first, last) = log.log_bounds().await.map_err(from)?;
    if last == 0 {
        return Err(MigrateError::Open(format!("there is nothing to save: the log of {} is empty", old.words)));
    }
    let life = log.doubt().life();
    tell("the state");
    let state = state_of(&log, super::start::limits(config)).await?;
    let begin = beginning(&old, &state, first, last).await?;
    // It held more before.
    let options = SqliteOptions { in_max_bytes: u64::MAX, ..SqliteOptions::default() };
    let new = SqliteLog::begin(into, &options, &begin).map_err(|e| MigrateError::Open(e.to_string()))?;
    let new = Place::of(new, into.display().to_string());
    tell("cursors and snapshots");
    cursors(&old, &new).await?;
    snapshots(&old, &new).await?;
    tell("decisions");
    let (_, until) = log.log_bounds().await.map_err(from)?;
    frames(&old, &new, begin.log_after, until).await?;
    tell("messages that wait for a decision");
    let until = log.in_last().await.map_err(from)?;
    inputs(&old, &new, begin.in_after, until).await?;
    quarantined(&old, &new, &state, begin.in_after).await?;
    tell("keys and files");
    keys(&old, &new).await?;
    blobs(&old, &new).await?;
    if log.doubt().life() != life {
        return Err(MigrateError::Trimmed("another copy of it came back".into()));
    }
    new.log.put_cursor(MOVING, "").await.map_err(MigrateError::To)
}

/// Finishes a move that was interrupted at its very last step: the old log was given up already, and the new one holds everything.
async fn interrupted(old: &Place, to: &Config) -> Result<Option<Moved>, MigrateError> {
    let marked = old.log.get_cursor(MOVED).await.map_err(MigrateError::From)?;
    let Some(gone) = marked.filter(|mark| !mark.is_empty()) else { return Ok(None) };
    if gone != words(to) {
        return Err(MigrateError::MovedAway(gone));
    }
    let new = open(to, None).await?;
    let mark = new.log.get_cursor(MOVING).await.map_err(MigrateError::To)?.unwrap_or_default();
    if serde_json::from_str::<Mark>(&mark).ok().is_none_or(|mark| mark.from != old.words) {
        return Err(MigrateError::MovedAway(gone));
    }
    let state = state_of(&(new.log.clone() as Arc<dyn Log>), super::start::limits(to)).await?;
    let (first, last) = new.log.log_bounds().await.map_err(MigrateError::To)?;
    new.log.put_cursor(MOVING, "").await.map_err(MigrateError::To)?;
    Ok(Some(Moved {
        frames: (last + 1).saturating_sub(first),
        conversations: state.conversations.len(),
        from: old.words.clone(),
        to: new.words,
        ..Moved::default()
    }))
}

/// From here on the new log is the workspace's, and the old one is not.
async fn finish(old: &Place, new: &Place, inputs: Seq, frames: Seq) -> Result<(), MigrateError> {
    let more = old.log.read_in(inputs, 1).await.map_err(MigrateError::From)?;
    let (_, last) = old.log.log_bounds().await.map_err(MigrateError::From)?;
    // Whoever started meanwhile has written a frame.
    if !more.is_empty() || last != frames {
        return Err(MigrateError::InUse(format!("{} grew while it was moved", old.words)));
    }
    old.log.put_cursor(MOVED, &new.words).await.map_err(MigrateError::From)?;
    new.log.put_cursor(MOVING, "").await.map_err(MigrateError::To)
}

async fn copy(
    old: &Place,
    new: &Place,
    begin: &Begin,
    moved: &mut Moved,
    tell: &mut dyn FnMut(&str),
) -> Result<(), MigrateError> {
    tell("keys, cursors and files");
    moved.keys = keys(old, new).await?;
    cursors(old, new).await?;
    moved.blobs = blobs(old, new).await?;
    snapshots(old, new).await?;
    tell("decisions");
    moved.frames = frames(old, new, begin.log_after, Seq::MAX).await?;
    tell("messages that wait for a decision");
    moved.inputs = inputs(old, new, begin.in_after, Seq::MAX).await?;
    Ok(())
}

async fn snapshots(old: &Place, new: &Place) -> Result<(), MigrateError> {
    // Oldest first: the newest two are kept.
    for at in old.log.snapshot_seqs().await.map_err(MigrateError::From)?.into_iter().rev() {
        if let Some(bytes) = old.log.snapshot(at).await.map_err(MigrateError::From)? {
            new.log.put_snapshot(at, bytes).await.map_err(MigrateError::To)?;
        }
    }
    Ok(())
}

async fn keys(old: &Place, new: &Place) -> Result<u64, MigrateError> {
    let (found, mut rows) = mpsc::channel::<(KeyId, [u8; 32])>(64);
    let mut count = 0;
    let store = async {
        while let Some((id, key)) = rows.recv().await {
            if new.log.put_key(&id, key).await.map_err(MigrateError::To)? != key {
                return Err(MigrateError::Differs("it has another key already"));
            }
            count += 1;
        }
        Ok(())
    };
    tokio::try_join!(async { old.log.send_keys(found).await.map_err(MigrateError::From) }, store)?;
    Ok(count)
}

async fn cursors(old: &Place, new: &Place) -> Result<(), MigrateError> {
    let (found, mut rows) = mpsc::channel::<(String, String)>(64);
    let store = async {
        while let Some((name, value)) = rows.recv().await {
            if !OF_THE_PLACE.contains(&name.as_str()) {
                new.log.put_cursor(&name, &value).await.map_err(MigrateError::To)?;
            }
        }
        Ok(())
    };
    tokio::try_join!(async { old.log.send_cursors(found).await.map_err(MigrateError::From) }, store).map(drop)
}

async fn blobs(old: &Place, new: &Place) -> Result<u64, MigrateError> {
    let (found, mut rows) = mpsc::channel::<Blob>(2);
    let mut count = 0;
    let store = async {
        while let Some(blob) = rows.recv().await {
            new.log.take_blob(blob).await.map_err(MigrateError::To)?;
            count += 1;
        }
        Ok(())
    };
    tokio::try_join!(async { old.log.send_blobs(found).await.map_err(MigrateError::From) }, store)?;
    Ok(count)
}

/// Copies frames after one, up to the last or to one before it.
async fn frames(old: &Place, new: &Place, after: Seq, until: Seq) -> Result<u64, MigrateError> {
    let (_, there) = new.log.log_bounds().await.map_err(MigrateError::To)?;
    // An earlier try may have come as far as this.
    let mut last = there.max(after);
    if last > after {
        let ours = new.log.read_log(last - 1, 1).await.map_err(MigrateError::To)?;
        same(
            &old.log.read_log(last - 1, 1).await.map_err(MigrateError::From)?,
            &ours,
            "its last frame is another one",
        )?;
    }
    loop {
        let page = if last < until { old.log.read_log(last, PAGE).await.map_err(MigrateError::From)? } else { vec![] };
        if page.is_empty() {
            return reached("LOG", last, until).map(|()| last - after);
        }
        for frame in page {
            if frame.seq != last + 1 {
                let gap = format!("LOG has no frame {}", last + 1);
                // What is read to its end stands still.
                let still = until == Seq::MAX;
                return Err(if still {
                    MigrateError::From(LogError::Damaged(gap))
                } else {
                    MigrateError::Trimmed(gap)
                });
            }
            if frame.seq > until {
                break;
            }
            let write = FrameWrite { bytes: frame.data, ..FrameWrite::default() };
            match new.log.commit(last, write).await {
                Commit::Done(seq) if seq == frame.seq => last = seq,
                Commit::Unknown(why) => return Err(MigrateError::To(LogError::Unavailable(why))),
                Commit::Done(_) | Commit::Conflict => {
                    return Err(MigrateError::InUse(format!("{} is written to by somebody else", new.words)));
                }
            }
        }
    }
}

/// Refuses a stream that ends before what it was said to hold; what is read to its end has no such place.
fn reached(stream: &str, last: Seq, until: Seq) -> Result<(), MigrateError> {
    if last < until && until < Seq::MAX {
        return Err(MigrateError::Trimmed(format!("{stream} ends at {last}, and held {until}")));
    }
    Ok(())
}

/// The id under which a record was stored.
#[derive(Deserialize)]
struct Id {
    id: String,
}

fn id_of(record: &Stored) -> String {
    let read = serde_json::from_slice::<Id>(&record.data);
    // What is not an envelope is quarantined when it is read; until then any id does.
    read.map_or_else(|_| format!("{}:moved:{}", record.channel, record.seq), |envelope| envelope.id)
}

/// What an earlier try wrote last is what stands there in the old log.
fn same(old: &[Stored], new: &[Stored], otherwise: &'static str) -> Result<(), MigrateError> {
    let holds = |records: &[Stored]| records.first().map(|r| (r.seq, r.data.clone()));
    if holds(old).is_some() && holds(old) == holds(new) { Ok(()) } else { Err(MigrateError::Differs(otherwise)) }
}

/// Copies records after one, up to the last or to one before it.
async fn inputs(old: &Place, new: &Place, after: Seq, until: Seq) -> Result<u64, MigrateError> {
    let there = *new.log.in_tail().borrow();
    let mut last = there.max(after);
    if last > after {
        let ours = new.log.get_in(last).await.map_err(MigrateError::To)?;
        let theirs = old.log.get_in(last).await.map_err(MigrateError::From)?;
        same(theirs.as_slice(), ours.as_slice(), "its last record is another one")?;
    }
    loop {
        let page = if last < until { old.log.read_in(last, PAGE).await.map_err(MigrateError::From)? } else { vec![] };
        if page.is_empty() {
            return reached("IN", last, until).map(|()| last - after);
        }
        for record in page {
            if record.seq != last + 1 && until < Seq::MAX {
                return Err(MigrateError::Trimmed(format!("IN has no record {}", last + 1)));
            }
            if record.seq > until {
                break;
            }
            let (seq, id) = (record.seq, id_of(&record));
            let mut record = InRecord { id, channel: record.channel, class: Class::Vital, data: record.data };
            let mut stored = new.log.ingest(record.clone()).await.map_err(MigrateError::To)?;
            if stored == Ingested::Duplicate {
                // The old log had forgotten the first one; who decides it has not. Every record keeps its number.
                record.id = format!("{}:moved:{seq}", record.channel);
                stored = new.log.ingest(record).await.map_err(MigrateError::To)?;
            }
            if stored != Ingested::Stored(seq) {
                return Err(MigrateError::InUse(format!("{} is written to by somebody else", new.words)));
            }
            last = seq;
        }
    }
}

/// What is in quarantine and comes before what is moved of IN is kept beside the new one.
async fn quarantined(old: &Place, new: &Place, state: &State, after: Seq) -> Result<u64, MigrateError> {
    let mut count = 0;
    for seq in state.quarantine.keys().take_while(|seq| **seq <= after) {
        if let Some(record) = aside::find(old.log.as_ref(), *seq).await.map_err(MigrateError::From)? {
            aside::keep(new.log.as_ref(), &record).await.map_err(MigrateError::To)?;
            count += 1;
        }
    }
    Ok(count)
}

fn compare(old: &State, new: &State) -> Result<(), MigrateError> {
    if old == new { Ok(()) } else { Err(MigrateError::Differs("its decisions make another state")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_ends_before_it_was_said_to_is_not_all_of_it() {
        let place = |dir: &Path| {
            let log = SqliteLog::open(dir, &SqliteOptions::default()).expect("the log opens");
            Place::of(log, "here".into())
        };
        let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let (old, new) = (place(from.path()), place(to.path()));
        for n in 1..=3 {
            let id = format!("sms:{n}");
            let record = InRecord { id, channel: "sms".into(), class: Class::Message, data: "{}".into() };
            assert_eq!(old.log.ingest(record).await, Ok(Ingested::Stored(n)));
            let write = FrameWrite { bytes: format!("frame {n}").into(), ..FrameWrite::default() };
            assert_eq!(old.log.commit(n - 1, write).await, Commit::Done(n));
        }
        let short = |copied: Result<u64, MigrateError>| copied.expect_err("there should be five").to_string();
        assert!(short(inputs(&old, &new, 0, 5).await).contains("IN ends at 3, and held 5"));
        assert!(short(frames(&old, &new, 0, 5).await).contains("LOG ends at 3, and held 5"));
        for until in [3, Seq::MAX] {
            assert_eq!(inputs(&old, &new, 0, until).await.expect("copied"), 3);
            assert_eq!(frames(&old, &new, 0, until).await.expect("copied"), 3);
        }
    }
}
