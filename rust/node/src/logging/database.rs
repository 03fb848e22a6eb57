//! The log database (spec tools.md 11.4).

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use neo_wire::NodeId;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Statement, Transaction, params};

use super::backlog::{Content, Entry, now};
use super::protocol;

/// How long one attempt waits for somebody else's lock.
const LOCK_WAIT: Duration = Duration::from_millis(500);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS log (
    date REAL PRIMARY KEY, node INTEGER, level INTEGER NOT NULL, pathname TEXT, lineno INTEGER,
    msg TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS packet (
    date REAL PRIMARY KEY, node INTEGER, msg_id INTEGER NOT NULL, code INTEGER NOT NULL,
    peer TEXT NOT NULL, body BLOB
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS node (
    id INTEGER PRIMARY KEY, name TEXT, cluster TEXT, nid INTEGER
);
CREATE TABLE IF NOT EXISTS protocol (
    date REAL PRIMARY KEY, text BLOB NOT NULL
) WITHOUT ROWID;
";

/// A node as the log names it: cluster and NID.
pub(super) type Name = (Option<String>, Option<NodeId>);

/// An open log file.
pub(super) struct LogDatabase {
    connection: Connection,
    /// `node.id` of those that are in the file.
    ids: HashMap<Name, i64>,
}

impl LogDatabase {
    /// Opens a log file, created if needed. Nothing is written yet.
    ///
    /// # Errors
    /// The file cannot be opened, or is something else.
    pub fn open(path: &Path, at_once: bool) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(LOCK_WAIT)?;
        let mode = connection.query_row("PRAGMA journal_mode = MEMORY", [], |_| Ok(()));
        mode.optional()?;
        if at_once {
            connection.execute_batch("PRAGMA synchronous = OFF")?;
        }
        Ok(Self { connection, ids: HashMap::new() })
    }

    /// What makes this file none of ours; none if it is empty or a log.
    ///
    /// # Errors
    /// It cannot be read, or is no database.
    pub fn stranger(&self) -> rusqlite::Result<Option<String>> {
        let table = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN \
                     ('log', 'packet', 'node', 'protocol', 'log1', 'packet1') LIMIT 1";
        self.connection.query_row(table, [], |row| row.get(0)).optional()
    }

    /// Writes entries in one transaction.
    ///
    /// # Errors
    /// Nothing is written.
    pub fn write<'a>(
        &mut self,
        entries: impl IntoIterator<Item = &'a Entry>,
        name: impl Fn(u32) -> Name,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let result = prepare(&transaction).and_then(|()| {
            load_ids(&transaction, &mut self.ids)?;
            write_all(&transaction, &mut self.ids, entries, &name)
        });
        match result.and_then(|()| transaction.commit()) {
            Ok(()) => Ok(()),
            Err(error) => {
                // What was added is rolled back.
                self.ids.clear();
                Err(error)
            }
        }
    }

    /// Closes the file, made tiny if it has no packet.
    pub fn close(self) {
        let has_packet = self.connection.query_row("SELECT 1 FROM packet LIMIT 1", [], |_| Ok(()));
        if matches!(has_packet.optional(), Ok(None)) {
            // A file that cannot be made smaller is still a good one.
            let _ = self.connection.execute_batch("DROP TABLE IF EXISTS protocol; VACUUM");
        }
    }
}

/// Whether somebody else holds the file for a moment.
pub(super) fn is_locked(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Whether the file is no database, or what it holds is broken.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
        || matches!(
            error,
            FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..)
        )
}

/// Makes what is missing in the file. Tables of versions before 1.11 are put aside.
fn prepare(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    for table in ["log", "packet"] {
        let old = "SELECT 1 FROM pragma_table_info(?) WHERE name = 'name'";
        if transaction.query_row(old, [table], |_| Ok(())).optional()?.is_some() {
            transaction.execute_batch(&format!("ALTER TABLE {table} RENAME TO {table}1"))?;
        }
    }
    transaction.execute_batch(SCHEMA)?;
    let last = "SELECT text FROM protocol ORDER BY date DESC LIMIT 1";
    let last: Option<Vec<u8>> = transaction.query_row(last, [], |row| row.get(0)).optional()?;
    let text = protocol::compressed();
    if last.as_deref() != Some(text) {
        let date = if last.is_some() { now() } else { 0. };
        transaction.execute("INSERT INTO protocol VALUES (?, ?)", params![date, text])?;
    }
    Ok(())
}

fn load_ids(transaction: &Transaction<'_>, ids: &mut HashMap<Name, i64>) -> rusqlite::Result<()> {
    if !ids.is_empty() {
        return Ok(());
    }
    let mut nodes = transaction.prepare("SELECT cluster, nid, id FROM node WHERE name IS NULL")?;
    let mut rows = nodes.query([])?;
    while let Some(row) = rows.next()? {
        let nid: Option<i32> = row.get(1)?;
        ids.insert((row.get(0)?, nid.map(NodeId)), row.get(2)?);
    }
    Ok(())
}

fn write_all<'a>(
    transaction: &Transaction<'_>,
    ids: &mut HashMap<Name, i64>,
    entries: impl IntoIterator<Item = &'a Entry>,
    name: &impl Fn(u32) -> Name,
) -> rusqlite::Result<()> {
    let mut log = transaction.prepare("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)")?;
    let mut packet = transaction.prepare("INSERT INTO packet VALUES (?, ?, ?, ?, ?, ?)")?;
    let mut known: HashMap<u32, i64> = HashMap::new();
    for entry in entries {
        let node = match entry.node {
            None => None,
            Some(number) => Some(match known.get(&number) {
                Some(id) => *id,
                None => {
                    let id = node_id(transaction, ids, name(number))?;
                    known.insert(number, id);
                    id
                }
            }),
        };
        match &entry.content {
            Content::Record { level, path, line, text } => {
                insert(&mut log, entry.date, |s, date| {
                    s.execute(params![date, node, level, path, line, text])
                })?
            }
            Content::Packet { msg_id, code, sent, peer, body } => {
                let peer = format!("{} {peer}", if *sent { '>' } else { '<' });
                insert(&mut packet, entry.date, |s, date| {
                    s.execute(params![date, node, msg_id, code, peer, body.as_deref()])
                })?;
            }
        }
    }
    Ok(())
}

/// Two records never have the same date: the next number is taken.
fn insert(
    statement: &mut Statement<'_>,
    mut date: f64,
    execute: impl Fn(&mut Statement<'_>, f64) -> rusqlite::Result<usize>,
) -> rusqlite::Result<()> {
    loop {
        match execute(statement, date) {
            Ok(_) => return Ok(()),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                date = date.next_up();
            }
            Err(error) => return Err(error),
        }
    }
}

fn node_id(
    transaction: &Transaction<'_>,
    ids: &mut HashMap<Name, i64>,
    name: Name,
) -> rusqlite::Result<i64> {
    if let Some(id) = ids.get(&name) {
        return Ok(*id);
    }
    let next = "SELECT coalesce(max(id) + 1, 0) FROM node";
    let id = transaction.query_row(next, [], |row| row.get(0))?;
    let (cluster, nid) = &name;
    transaction.execute(
        "INSERT INTO node VALUES (?, NULL, ?, ?)",
        params![id, cluster, nid.map(|nid| nid.0)],
    )?;
    ids.insert(name, id);
    Ok(id)
}

#[cfg(test)]
mod tests;
