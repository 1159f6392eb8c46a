//! The embedded log as something that is moved.

use super::{OpenError, SqliteLog, SqliteOptions, create_private, lock_dir, schema};
use crate::log::{
    KeyId, LogError, Seq,
    moving::{Begin, Blob, MOVING, Movable, SCOPES_KEY, ended},
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};
use schema::Counters;
use std::{path::Path, sync::Arc};
use tokio::sync::mpsc;

/// Rows read at once.
const PAGE: usize = 1000;

impl SqliteLog {
    /// Opens a log that goes on where another one ends. The directory must hold none, or a part of the same one.
    ///
    /// # Errors
    /// As [`SqliteLog::open`], and when something else was written there before.
    pub fn begin(dir: &Path, options: &SqliteOptions, begin: &Begin) -> Result<Arc<SqliteLog>, OpenError> {
        create_private(dir).map_err(|source| OpenError::Directory { dir: dir.to_owned(), source })?;
        let lock = lock_dir(dir)?;
        super::saved::is_none_on_its_way(dir)?;
        let path = dir.join("log.db");
        let conn = schema::open_writer(&path, options)?;
        let began = begin_at(&conn, begin).map_err(|source| OpenError::Database { path: path.clone(), source })?;
        match began {
            Began::Here => {}
            Began::Written => return Err(OpenError::Written { path }),
            Began::Other => return Err(OpenError::Unfinished { dir: dir.to_owned() }),
        }
        drop(conn);
        let _ = lock.unlock();
        SqliteLog::open(dir, options)
    }
}

enum Began {
    Here,
    /// The log is another one.
    Written,
    /// A part of something else was moved here.
    Other,
}

/// All or nothing: a log that is begun says so from its first moment.
fn begin_at(conn: &Connection, begin: &Begin) -> rusqlite::Result<Began> {
    let mark = conn
        .query_row("SELECT value FROM edge_cursors WHERE name = ?1 AND value <> ''", [MOVING], |r| {
            r.get::<_, String>(0)
        })
        .optional()?;
    if let Some(mark) = mark {
        return Ok(if mark == begin.mark { Began::Here } else { Began::Other });
    }
    let there = Counters::load(conn)?;
    if there.in_last.max(there.log_last).max(there.out_last) > 0 {
        return Ok(Began::Written);
    }
    let tx = conn.unchecked_transaction()?;
    let (inn, log): (Seq, Seq) = (begin.in_after, begin.log_after);
    Counters { in_last: inn, in_indexed: inn, log_last: log, ..there }.save(&tx)?;
    tx.execute("INSERT OR REPLACE INTO keys VALUES (?1, ?2)", params![SCOPES_KEY, begin.scopes])?;
    tx.execute("INSERT OR REPLACE INTO edge_cursors VALUES (?1, ?2)", params![MOVING, begin.mark])?;
    tx.commit()?;
    Ok(Began::Here)
}

/// The rows of a table of two columns after a key, in the order of the first.
fn page<K, V>(conn: &Connection, query: &str, after: Option<&K>) -> rusqlite::Result<Vec<(K, V)>>
where
    K: rusqlite::types::FromSql + rusqlite::ToSql,
    V: rusqlite::types::FromSql,
{
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    let mut rows = conn.prepare_cached(query)?;
    let rows = rows.query_map(params![after, limit], |r| Ok((r.get(0)?, r.get(1)?)))?;
    rows.collect()
}

impl SqliteLog {
    async fn send_rows<V>(&self, query: &'static str, to: mpsc::Sender<(String, V)>) -> Result<(), LogError>
    where
        V: rusqlite::types::FromSql + Send + 'static,
    {
        let mut after: Option<String> = None;
        loop {
            let from = after.take();
            let rows: Vec<(String, V)> = self.readers.with(move |conn| page(conn, query, from.as_ref())).await?;
            after = rows.last().map(|(id, _)| id.clone());
            if after.is_none() {
                return Ok(());
            }
            for row in rows {
                to.send(row).await.map_err(ended)?;
            }
        }
    }
}

#[async_trait]
impl Movable for SqliteLog {
    /// Its directory is locked.
    async fn is_alone(&self) -> Result<bool, LogError> {
        Ok(true)
    }

    async fn send_keys(&self, to: mpsc::Sender<(KeyId, [u8; 32])>) -> Result<(), LogError> {
        let query = "SELECT id, value FROM keys WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2";
        self.send_rows(query, to).await
    }

    async fn send_cursors(&self, to: mpsc::Sender<(String, String)>) -> Result<(), LogError> {
        let query = "SELECT name, value FROM edge_cursors WHERE ?1 IS NULL OR name > ?1 ORDER BY name LIMIT ?2";
        self.send_rows(query, to).await
    }

    async fn send_blobs(&self, to: mpsc::Sender<Blob>) -> Result<(), LogError> {
        for name in self.on_files(super::files::Files::names).await? {
            let read = name.clone();
            let bytes = self.on_files(move |files| files.read_named(&read)).await?;
            to.send(Blob { name, bytes }).await.map_err(ended)?;
        }
        Ok(())
    }

    async fn take_blob(&self, blob: Blob) -> Result<(), LogError> {
        self.on_files(move |files| files.take_named(&blob.name, &blob.bytes)).await
    }
}
