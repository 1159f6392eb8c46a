//! The log in memory, for the simulator: it holds no more than the trait promises.
//!
//! It forgets duplicates, loses answers, lands appends late and delivers OUT again, all by a seed. It has no thread, no
//! timer and no clock of its own: everything that happens, happens inside a call, so that a single-threaded executor that
//! repeats its calls repeats the story. What was acknowledged stays, also after [`MemoryLog::crash`].

mod bell;
mod faults;
mod outbox;
mod processes;
mod store;
#[cfg(test)]
mod tests;

pub use faults::{Fate, Faults, Room};

use super::frame::{FrameId, id_of};
use super::{
    Claim, Commit, Doubt, FrameWrite, InRecord, Ingested, KeyId, Leader, Log, LogError, OutRecord, Outbox, Seq, Stored,
    hash_of, in_fill,
};
use async_trait::async_trait;
use bell::Bell;
use bytes::Bytes;
use faults::Dice;
use processes::{Process, Processes};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use store::{Answer, Store, Write};
use switchboard_adapter_sdk::signature::sha256_hex;
use switchboard_envelope::{BlobRef, Timestamp};
use tokio::sync::watch;

/// How a log in memory behaves.
#[derive(Clone, Debug)]
pub struct MemoryOptions {
    /// What IN may hold, in bytes, as for the embedded log.
    pub in_max_bytes: u64,
    /// What [`Log::exclusive`] answers.
    pub exclusive: bool,
    /// Every chance is drawn from this.
    pub seed: u64,
    pub faults: Faults,
    /// The log's clock; without one it stands where [`MemoryLog::set_now`] put it.
    pub clock: Option<fn() -> Timestamp>,
}

impl Default for MemoryOptions {
    fn default() -> MemoryOptions {
        MemoryOptions { in_max_bytes: 1 << 30, exclusive: true, seed: 0, faults: Faults::default(), clock: None }
    }
}

/// A handle; clones share one log.
#[derive(Clone)]
pub struct MemoryLog {
    shared: Arc<Shared>,
    exclusive: bool,
    /// Whose handle this is, where several processes share the log.
    process: Option<Process>,
    doubt: Arc<Doubt>,
}

/// What a log in memory held at a moment.
pub struct Backup(Store);

impl Backup {
    /// LOG's end in it.
    #[must_use]
    pub fn last_frame(&self) -> Seq {
        self.0.log_last
    }
}

/// What of a log is put back from a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    pub inn: bool,
    pub log: bool,
    pub out: bool,
    /// Claims, cursors, snapshots, keys and blobs.
    pub beside: bool,
}

struct Shared {
    inner: Mutex<Inner>,
    in_tail: Bell<Seq>,
    log_tail: Bell<Seq>,
    out_tail: Bell<Seq>,
    /// Raised by a crash; an outbox of before is dead.
    epoch: Bell<u64>,
}

struct Inner {
    store: Store,
    faults: Faults,
    room: Room,
    dice: Dice,
    forced: VecDeque<Fate>,
    /// Calls so far, by which late writes know their moment.
    calls: u64,
    late: Vec<(u64, Write)>,
    clock: Option<fn() -> Timestamp>,
    processes: Processes,
    /// Duties that a process has which is not here.
    elsewhere: BTreeSet<String>,
    /// Who was held back, and let go, in its order.
    held: Vec<(String, bool)>,
}

impl MemoryLog {
    #[must_use]
    pub fn new(options: &MemoryOptions) -> MemoryLog {
        let inner = Inner {
            store: Store::new(options.in_max_bytes),
            faults: options.faults,
            room: Room::Enough,
            dice: Dice::new(options.seed),
            forced: VecDeque::new(),
            calls: 0,
            late: Vec::new(),
            clock: options.clock,
            processes: Processes::default(),
            elsewhere: BTreeSet::new(),
            held: Vec::new(),
        };
        let shared = Shared {
            inner: Mutex::new(inner),
            in_tail: Bell::new(0),
            log_tail: Bell::new(0),
            out_tail: Bell::new(0),
            epoch: Bell::new(0),
        };
        MemoryLog { shared: Arc::new(shared), exclusive: options.exclusive, process: None, doubt: Arc::default() }
    }

    /// What it holds now.
    #[must_use]
    pub fn copy(&self) -> Backup {
        Backup(self.shared.lock().store.clone())
    }

    /// The broker comes back with an older copy of some of what it holds. Each process notices before it does anything else: that LOG
    /// or IN is another, and that claims of its own are gone.
    pub fn restore(&self, copy: &Backup, parts: Parts) {
        let mut inner = self.shared.lock();
        inner.late.clear();
        inner.forced.clear();
        let cut = parts.log && inner.store.log_last > copy.0.log_last;
        let gone = if parts.beside { inner.store.claims_beyond(&copy.0) } else { BTreeSet::new() };
        inner.store.restore(&copy.0, parts);
        inner.processes.notice(cut, parts.inn, &gone);
        self.shared.show(inner);
        self.shared.epoch.show(self.shared.epoch.get() + 1);
    }

    /// Whether claims would be gone with this copy; of a process's handle, whether claims of its own would be.
    #[must_use]
    pub fn misses_claims(&self, copy: &Backup) -> bool {
        let inner = self.shared.lock();
        let gone = inner.store.claims_beyond(&copy.0);
        self.process.as_ref().map_or(!gone.is_empty(), |process| inner.processes.made_any(process, &gone))
    }

    /// Which frame has this number; 0 when none has. No fault meets this question.
    #[must_use]
    pub fn frame_id(&self, seq: Seq) -> FrameId {
        self.shared.lock().store.log.get(&seq).map_or(0, id_of)
    }

    /// The channels of which adapters in other processes were held back, or let go (`false`), in the order in which it was done.
    #[must_use]
    pub fn held(&self) -> Vec<(String, bool)> {
        self.shared.lock().held.clone()
    }

    /// Sets the log's clock.
    pub fn set_now(&self, now: Timestamp) {
        self.shared.lock().store.now = now;
    }

    /// Changes the chances from here on.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.lock().faults = faults;
    }

    /// Fills the disk, or makes room.
    pub fn set_room(&self, room: Room) {
        self.shared.lock().room = room;
    }

    /// Another process takes a duty, or leaves it.
    pub fn set_duty(&self, name: &str, is_elsewhere: bool) {
        let elsewhere = &mut self.shared.lock().elsewhere;
        if is_elsewhere {
            elsewhere.insert(name.to_owned());
        } else {
            elsewhere.remove(name);
        }
    }

    /// From now on remembers what is trimmed from IN and LOG, for [`MemoryLog::everything_in`] and [`MemoryLog::every_frame`].
    pub fn remember_trimmed(&self) {
        let store = &mut self.shared.lock().store;
        store.trimmed.get_or_insert_default();
        store.trimmed_log.get_or_insert_default();
    }

    /// Every record of IN, also those that were trimmed since [`MemoryLog::remember_trimmed`]. No fault meets this question.
    #[must_use]
    pub fn everything_in(&self) -> Vec<Stored> {
        let inner = self.shared.lock();
        let trimmed = inner.store.trimmed.iter().flat_map(BTreeMap::values);
        trimmed.chain(inner.store.inn.values()).cloned().collect()
    }

    /// The same of LOG.
    #[must_use]
    pub fn every_frame(&self) -> Vec<Stored> {
        let inner = self.shared.lock();
        let trimmed = inner.store.trimmed_log.iter().flat_map(BTreeMap::values);
        trimmed.chain(inner.store.log.values()).cloned().collect()
    }

    /// OUT drops its records up to `up_to`, unsent or not, as a broker does that keeps them by limits; how many it had. Claims
    /// are kept beside it, and may still be made.
    pub fn drop_out(&self, up_to: Seq) -> usize {
        self.shared.lock().store.drop_out(up_to)
    }

    /// The next write meets this fate, whatever the chances are. Several wait in order.
    pub fn force(&self, fate: Fate) {
        self.shared.lock().forced.push_back(fate);
    }

    /// Writes that were not answered and will still land.
    #[must_use]
    pub fn late(&self) -> usize {
        self.shared.lock().late.len()
    }

    /// Lands every late write now.
    pub fn land_late(&self) {
        let mut inner = self.shared.lock();
        let late = std::mem::take(&mut inner.late);
        late.into_iter().for_each(|(_, write)| drop(inner.apply(write)));
        self.shared.show(inner);
    }

    /// The process that uses the log is killed: what it had sent and was not answered lands or does not, its outboxes
    /// answer no more, and everything that was acknowledged is there.
    pub fn crash(&self) {
        let mut inner = self.shared.lock();
        let late = std::mem::take(&mut inner.late);
        for (_, write) in late {
            if inner.dice.chance(500) {
                let _ = inner.apply(write);
            }
        }
        inner.forced.clear();
        self.shared.show(inner);
        self.shared.epoch.show(self.shared.epoch.get() + 1);
    }

    /// Begins a call, when this handle's process is not paused, and others that could run had their turn.
    async fn turn(&self) {
        self.awake().await;
        loop {
            {
                let mut inner = self.shared.lock();
                let overtaken = inner.faults.overtaken;
                if !inner.dice.chance(overtaken) {
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    async fn write(&self, write: Write) -> Result<Answer, LogError> {
        self.turn().await;
        let mut inner = self.shared.begin();
        let answer = inner.write(write);
        self.shared.show(inner);
        answer
    }

    async fn read<T>(&self, read: impl FnOnce(&Store) -> T) -> Result<T, LogError> {
        self.turn().await;
        let mut inner = self.shared.begin();
        let lost = inner.faults.lost_read;
        let answer = if inner.dice.chance(lost) { Err(no_answer()) } else { Ok(read(&inner.store)) };
        self.shared.show(inner);
        answer
    }
}

fn no_answer() -> LogError {
    LogError::Unavailable("the answer was lost".into())
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call: what is due lands first.
    fn begin(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        inner.calls += 1;
        if let Some(clock) = inner.clock {
            inner.store.now = clock();
        }
        let now = inner.calls;
        let (due, later) = std::mem::take(&mut inner.late).into_iter().partition(|(at, _)| *at <= now);
        inner.late = later;
        let due: Vec<(u64, Write)> = due;
        due.into_iter().for_each(|(_, write)| drop(inner.apply(write)));
        inner
    }

    /// Ends a call, and wakes those who wait for what it brought.
    fn show(&self, inner: MutexGuard<'_, Inner>) {
        let lasts = [inner.store.in_last, inner.store.log_last, inner.store.out_last];
        drop(inner);
        for (tail, last) in [&self.in_tail, &self.log_tail, &self.out_tail].into_iter().zip(lasts) {
            tail.show(last);
        }
    }
}

impl Inner {
    fn apply(&mut self, write: Write) -> Result<Answer, LogError> {
        let forget = self.faults.forget_duplicate;
        self.store.apply(write, || self.dice.chance(forget))
    }

    fn write(&mut self, write: Write) -> Result<Answer, LogError> {
        // A claim that is there is answered as ever.
        let held = matches!(&write, Write::Claim { key, .. } if self.store.holder(key).is_some());
        if self.room.refuses(&write) && !(held && self.room == Room::NoClaims) {
            return Err(LogError::Full("the disk is full".into()));
        }
        let fate = self.forced.pop_front().unwrap_or_else(|| self.faults.fate(&mut self.dice));
        match fate {
            Fate::Answered => self.apply(write),
            Fate::AnswerLost => self.apply(write).and(Err(no_answer())),
            Fate::RequestLost => Err(no_answer()),
            Fate::Half => {
                if let Write::Commit(expected, frame) = write {
                    let sends = usize::try_from(self.dice.below(frame.sends.len() as u64 + 1)).unwrap_or(0);
                    self.store.commit(expected, frame, sends);
                }
                Err(no_answer())
            }
            Fate::Late => {
                let at = self.calls + 1 + self.dice.below(8);
                self.late.push((at, write));
                Err(no_answer())
            }
        }
    }
}

fn blob_ref(bytes: &[u8]) -> BlobRef {
    BlobRef::of_hash(&sha256_hex(bytes))
}

fn checked(blob: &BlobRef) -> Result<BlobRef, LogError> {
    hash_of(blob).map(|_| blob.clone())
}

#[async_trait]
impl Log for MemoryLog {
    async fn ingest(&self, record: InRecord) -> Result<Ingested, LogError> {
        self.write(Write::Ingest(record)).await.map(Answer::ingested)
    }

    async fn read_in(&self, after: Seq, max: usize) -> Result<Vec<Stored>, LogError> {
        self.read(|store| Store::after(&store.inn, after, max)).await
    }

    async fn get_in(&self, seq: Seq) -> Result<Option<Stored>, LogError> {
        self.read(|store| store.inn.get(&seq).cloned()).await
    }

    fn in_tail(&self) -> watch::Receiver<Seq> {
        self.shared.in_tail.subscribe()
    }

    async fn in_last(&self) -> Result<Seq, LogError> {
        self.read(|store| store.in_last).await
    }

    async fn commit(&self, expected: Seq, frame: FrameWrite) -> Commit {
        let answer = self.write(Write::Commit(expected, frame)).await;
        answer.map_or_else(|error| Commit::Unknown(error.to_string()), Answer::committed)
    }

    async fn read_log(&self, after: Seq, max: usize) -> Result<Vec<Stored>, LogError> {
        self.read(|store| Store::after(&store.log, after, max)).await
    }

    fn log_tail(&self) -> watch::Receiver<Seq> {
        self.shared.log_tail.subscribe()
    }

    async fn log_bounds(&self) -> Result<(Seq, Seq), LogError> {
        self.read(|store| (store.log.keys().next().copied().unwrap_or(store.log_last + 1), store.log_last)).await
    }

    async fn out_last(&self) -> Result<Seq, LogError> {
        self.read(|store| store.out_last).await
    }

    async fn outbox(&self, channel: &str) -> Result<Box<dyn Outbox>, LogError> {
        Ok(Box::new(outbox::MemoryOutbox::new(Arc::clone(&self.shared), channel)))
    }

    async fn claim(&self, key: &str, nonce: &str) -> Result<Claim, LogError> {
        self.awake().await;
        if self.doubt.is_doubted() {
            return Err(LogError::Unavailable("LOG is another one than was read; a router has to rebase".into()));
        }
        let claim = self.write(Write::Claim { key: key.into(), nonce: nonce.into() }).await?.claimed();
        if claim == Claim::Ours {
            self.made(key);
        }
        Ok(claim)
    }

    async fn claimed(&self, key: &str) -> Result<Option<String>, LogError> {
        self.read(|store| store.holder(key).cloned()).await
    }

    async fn put_blob(&self, scope: &str, bytes: Bytes) -> Result<BlobRef, LogError> {
        let blob = blob_ref(&bytes);
        self.write(Write::PutBlob { scope: scope.into(), blob: blob.clone(), bytes }).await.map(|_| blob)
    }

    async fn get_blob(&self, scope: &str, blob: &BlobRef) -> Result<Option<Bytes>, LogError> {
        let key = (scope.to_owned(), checked(blob)?);
        self.read(|store| store.blobs.get(&key).cloned()).await
    }

    async fn delete_blob(&self, scope: &str, blob: &BlobRef) -> Result<(), LogError> {
        let blob = checked(blob)?;
        self.write(Write::DeleteBlob { scope: scope.into(), blob }).await.map(drop)
    }

    async fn put_key(&self, id: &str, key: [u8; 32]) -> Result<[u8; 32], LogError> {
        self.write(Write::PutKey(id.into(), key)).await.map(Answer::key)
    }

    async fn get_keys(&self, ids: &[KeyId]) -> Result<Vec<Option<[u8; 32]>>, LogError> {
        self.read(|store| ids.iter().map(|id| store.keys.get(id).copied()).collect()).await
    }

    async fn delete_key(&self, id: &str) -> Result<(), LogError> {
        self.write(Write::DeleteKey(id.into())).await.map(drop)
    }

    async fn put_cursor(&self, name: &str, value: &str) -> Result<(), LogError> {
        self.write(Write::PutCursor(name.into(), value.into())).await.map(drop)
    }

    async fn get_cursor(&self, name: &str) -> Result<Option<String>, LogError> {
        self.read(|store| store.cursors.get(name).cloned()).await
    }

    async fn delete_cursor(&self, name: &str) -> Result<(), LogError> {
        self.write(Write::DeleteCursor(name.into())).await.map(drop)
    }

    async fn put_snapshot(&self, at: Seq, bytes: Bytes) -> Result<(), LogError> {
        self.write(Write::PutSnapshot(at, bytes)).await.map(drop)
    }

    async fn drop_snapshots(&self, after: Seq) -> Result<(), LogError> {
        self.write(Write::DropSnapshots(after)).await.map(drop)
    }

    fn doubt(&self) -> &Doubt {
        &self.doubt
    }

    async fn snapshots(&self) -> Result<Vec<(Seq, Bytes)>, LogError> {
        self.read(|store| store.snapshots.iter().rev().map(|(at, bytes)| (*at, bytes.clone())).collect()).await
    }

    async fn in_fill(&self) -> Result<u32, LogError> {
        self.read(|store| in_fill(store.in_bytes, store.in_max_bytes)).await
    }

    async fn trim_in(&self, up_to: Seq) -> Result<(), LogError> {
        self.write(Write::TrimIn(up_to)).await.map(drop)
    }

    async fn trim_log(&self, up_to: Seq) -> Result<(), LogError> {
        self.write(Write::TrimLog(up_to)).await.map(drop)
    }

    async fn trim_out(&self, before: Timestamp) -> Result<(), LogError> {
        self.write(Write::TrimOut(before)).await.map(drop)
    }

    async fn now(&self) -> Result<Timestamp, LogError> {
        self.read(|store| store.now).await
    }

    fn exclusive(&self) -> bool {
        self.exclusive
    }

    async fn is_gone(&self, process: &str) -> bool {
        self.exclusive || self.shared.lock().processes.is_gone(process)
    }

    async fn leader(&self) -> Leader {
        self.awake().await;
        self.other_leader()
    }

    async fn stand(&self, leads: bool) -> Result<(), LogError> {
        self.awake().await;
        self.stands(leads);
        Ok(())
    }

    async fn duty(&self, name: &str) -> Result<bool, LogError> {
        Ok(!self.shared.lock().elsewhere.contains(name))
    }

    async fn hold_out(&self, channels: &[String], hold: bool) -> Result<(), LogError> {
        self.awake().await;
        self.shared.lock().held.extend(channels.iter().map(|channel| (channel.clone(), hold)));
        Ok(())
    }

    async fn complete(&self, out_first: Seq, sends: Vec<OutRecord>) -> Result<(), LogError> {
        self.write(Write::Complete(out_first, sends)).await.map(drop)
    }

    fn durability(&self) -> String {
        "everything is gone when the process ends: this log is for simulations".into()
    }
}
