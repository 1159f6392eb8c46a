//! The one writer: a thread that takes what is queued, writes it in one transaction, and answers after COMMIT.
//!
//! Under light load it waits for nothing more to come, and a record costs one sync; under heavy load many share one.

use super::{
    checkpoint::Checkpointer,
    ops::{Indexes, Op, Turn},
    schema::Counters,
    tail::{Fresh, Shared, lock},
};
use crate::log::{LogError, Seq};
use rusqlite::{Connection, ErrorCode};
use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};
use switchboard_envelope::Timestamp;
use tokio::sync::mpsc;

/// Operations in one transaction, at most.
const BATCH_OPS: usize = 1024;
/// So many operations at once come from a crowd: more are on their way, and they are waited for, because a sync for each few of
/// them would take the processors from what makes them.
const CROWD: usize = 32;
const GATHER: Duration = Duration::from_millis(1);
/// And roughly their bytes, so that a few large frames do not make everybody wait.
const BATCH_BYTES: usize = 8 << 20;

pub(super) struct Writer {
    pub conn: Connection,
    pub indexes: Indexes,
    pub counters: Counters,
    pub shared: Arc<Shared>,
    pub checkpointer: Checkpointer,
}

/// Why a transaction did not happen, or may not have.
enum Failure {
    /// There is no room. Nothing was stored.
    Full(String),
    /// Something else failed. Nothing was stored.
    Again(String),
    /// Nobody knows what was stored, or the file is damaged: only a new start finds out.
    Fatal(LogError),
}

impl Failure {
    fn at_statement(error: &rusqlite::Error) -> Failure {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Failure::Full(full_text(error)),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Failure::Fatal(LogError::Damaged(error.to_string()))
            }
            _ => Failure::Again(error.to_string()),
        }
    }

    /// At COMMIT, a full disk is known to have torn the last page of the transaction, which recovery drops. After any
    /// other error its pages may be on the disk, whole.
    fn at_commit(error: &rusqlite::Error) -> Failure {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Failure::Full(full_text(error)),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Failure::Again(error.to_string()),
            _ => Failure::Fatal(LogError::Unavailable(format!("COMMIT failed: {error}"))),
        }
    }

    fn answer(&self) -> LogError {
        match self {
            Failure::Full(text) => LogError::Full(text.clone()),
            Failure::Again(text) => LogError::Unavailable(text.clone()),
            Failure::Fatal(error) => error.clone(),
        }
    }
}

fn full_text(error: &rusqlite::Error) -> String {
    format!("no room for the log database: {error}")
}

/// The wall clock, in milliseconds.
#[expect(clippy::disallowed_methods, reason = "this is the log's clock, by which everything else goes")]
pub(super) fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)).min(Timestamp::MAX)
}

impl Writer {
    /// Runs until the last sender is gone and everything queued is answered.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Op>) {
        let (mut batch, mut ops) = (Vec::with_capacity(BATCH_OPS), VecDeque::with_capacity(BATCH_OPS));
        while take(&mut queue, &mut batch) {
            ops.extend(batch.drain(..));
            while !ops.is_empty() {
                self.transaction(slice(&mut ops));
                let fatal = self.shared.fatal.borrow().clone();
                if let Some(reason) = fatal {
                    return self.refuse_all(ops, queue, &reason);
                }
            }
        }
        if !lock(&self.shared.acks).is_empty() {
            self.transaction(Vec::new());
        }
        self.shared.closed.send_replace(true);
        self.checkpointer.stop();
        if let Err((_, error)) = self.conn.close() {
            tracing::warn!(%error, "the log database was not closed cleanly; it recovers at the next start");
        }
    }

    fn refuse_all(self, ops: VecDeque<Op>, mut queue: mpsc::Receiver<Op>, reason: &str) {
        self.shared.closed.send_replace(true);
        self.checkpointer.stop();
        let refuse = |op: Op| op.fail(LogError::Unavailable(format!("the log has stopped: {reason}")));
        ops.into_iter().for_each(refuse);
        while let Some(op) = queue.blocking_recv() {
            refuse(op);
        }
    }

    fn transaction(&mut self, mut ops: Vec<Op>) {
        let acks = mem::take(&mut *lock(&self.shared.acks));
        match self.write(&mut ops, &acks) {
            Ok((counters, fresh)) => {
                self.indexes.committed();
                self.counters = counters;
                self.shared.publish(counters, fresh);
                self.answer(ops);
            }
            Err(failure) => {
                let failure = self.undo(failure);
                lock(&self.shared.acks).extend(acks);
                let answer = failure.answer();
                ops.into_iter().for_each(|op| op.fail(answer.clone()));
            }
        }
    }

    fn write(&mut self, ops: &mut [Op], acks: &[Seq]) -> Result<(Counters, Fresh), Failure> {
        let statement = |error: rusqlite::Error| Failure::at_statement(&error);
        self.run_sql("BEGIN IMMEDIATE").map_err(statement)?;
        let mut turn = Turn {
            conn: &self.conn,
            indexes: &mut self.indexes,
            counters: self.counters,
            fresh: Fresh::default(),
            now: clock(),
        };
        for op in ops {
            turn.apply(op).map_err(statement)?;
        }
        turn.finish(acks, self.counters).map_err(statement)?;
        let (counters, fresh) = (turn.counters, turn.fresh);
        self.run_sql("COMMIT").map_err(|error| Failure::at_commit(&error))?;
        #[cfg(test)]
        self.shared.commits.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok((counters, fresh))
    }

    fn run_sql(&self, sql: &str) -> rusqlite::Result<()> {
        self.conn.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// Makes a failed transaction one that never happened, or the failure a fatal one.
    fn undo(&mut self, mut failure: Failure) -> Failure {
        self.indexes.rolled_back();
        if !self.conn.is_autocommit()
            && let Err(error) = self.run_sql("ROLLBACK")
        {
            failure = Failure::Fatal(LogError::Unavailable(format!("ROLLBACK failed: {error}")));
        }
        match &failure {
            Failure::Fatal(error) => {
                tracing::error!(%error, "the log cannot go on; it must be opened again");
                self.shared.fatal.send_replace(Some(error.to_string()));
            }
            Failure::Full(error) | Failure::Again(error) => tracing::warn!(error, "nothing was stored"),
        }
        failure
    }

    fn answer(&mut self, ops: Vec<Op>) {
        let mut bytes = 0;
        let mut erased = Vec::new();
        for op in ops {
            bytes += op.bytes();
            match op {
                Op::DeleteKey(..) => erased.push(op),
                op => op.send(),
            }
        }
        if !erased.is_empty() {
            self.answer_erased(erased);
        }
        self.checkpointer.after_write(&self.conn, bytes);
    }

    /// A key is gone only when the write-ahead log no longer holds its page.
    fn answer_erased(&self, erased: Vec<Op>) {
        match self.checkpointer.truncate(&self.conn) {
            Ok(true) => erased.into_iter().for_each(Op::send),
            outcome => {
                let why = outcome.err().map_or_else(|| "a reader holds it".to_owned(), |e| e.to_string());
                let text = format!("the key is deleted, but still in the write-ahead log: {why}");
                erased.into_iter().for_each(|op| op.fail(LogError::Unavailable(text.clone())));
            }
        }
    }
}

/// Takes what is queued, once there is something, with what a crowd is about to add. False when the last sender is gone.
#[expect(
    clippy::disallowed_methods,
    reason = "the writer's thread is its own, and a crowd needs the processor meanwhile"
)]
fn take(queue: &mut mpsc::Receiver<Op>, batch: &mut Vec<Op>) -> bool {
    let taken = queue.blocking_recv_many(batch, BATCH_OPS);
    if (CROWD..BATCH_OPS).contains(&taken) {
        thread::sleep(GATHER);
        while batch.len() < BATCH_OPS
            && let Ok(op) = queue.try_recv()
        {
            batch.push(op);
        }
    }
    taken > 0
}

/// The next operations that fit one transaction; at least one.
fn slice(ops: &mut VecDeque<Op>) -> Vec<Op> {
    let mut bytes = 0;
    let mut count = 0;
    for op in ops.iter() {
        bytes += op.bytes();
        if count > 0 && bytes > BATCH_BYTES {
            break;
        }
        count += 1;
    }
    ops.drain(..count).collect()
}
