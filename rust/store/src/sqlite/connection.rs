//! Connections and their settings (spec storage.md 5.1, 5.4).

use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::designation::Designation;
use super::failure::{Doing, failed};
use crate::{Failure, StoreError};

const WHAT: &str = "opening the database";
/// The Python NEO waits as long.
const BUSY: Duration = Duration::from_secs(5);
const STATEMENTS: usize = 128;
/// KiB of pages, of the writer and of each reader.
const WRITER_CACHE_KIB: i64 = 16_384;
const READER_CACHE_KIB: i64 = 8_192;

/// How much a commit is synchronised, as `PRAGMA synchronous` tells it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Synchronous(pub u8);

impl Synchronous {
    pub const NORMAL: Self = Self(1);
    pub const FULL: Self = Self(2);
}

/// What a database is set to, read back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Modes {
    pub journal: String,
    pub synchronous: Synchronous,
}

impl Modes {
    pub fn is_wal(&self) -> bool {
        self.journal == "wal"
    }
}

fn open(designation: &Designation) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match &designation.path {
        Some(path) => Connection::open_with_flags(path, flags),
        None => Connection::open_in_memory(),
    }
    .doing(WHAT)?;
    connection.busy_timeout(BUSY).doing(WHAT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Else a prepared statement is prepared again each time another value is bound, in case
    // statistics would tell a better plan.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).doing(WHAT)?;
    Ok(connection)
}

/// Sets a setting; gives what SQLite answers, for those that answer.
pub fn pragma(connection: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA {name} = {value}"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

fn read_back(connection: &Connection) -> rusqlite::Result<Modes> {
    let text = |name: &str| {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| {
            Ok(match row.get_ref(0)? {
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                value => value.as_str()?.to_owned(),
            })
        })
    };
    Ok(Modes {
        journal: text("journal_mode")?,
        synchronous: Synchronous(text("synchronous")?.parse().unwrap_or(0)),
    })
}

/// A connection that has not written anything yet.
///
/// # Errors
/// If it can not be opened.
pub fn first(designation: &Designation) -> Result<Connection, StoreError> {
    open(designation)
}

/// Settings of the writer: WAL and FULL, unless something else is asked for explicitly.
///
/// # Errors
/// If commits would be less durable than asked for.
pub fn configure(connection: &Connection, designation: &Designation) -> Result<Modes, StoreError> {
    pragma(connection, "cache_size", &format!("-{WRITER_CACHE_KIB}")).doing(WHAT)?;
    if designation.pragma("journal_mode").is_none() && designation.path.is_some() {
        pragma(connection, "journal_mode", "WAL").doing(WHAT)?;
    }
    if designation.pragma("synchronous").is_none() {
        pragma(connection, "synchronous", "FULL").doing(WHAT)?;
    }
    for (name, value) in &designation.pragmas {
        pragma(connection, name, value).doing(WHAT)?;
    }
    let modes = read_back(connection).doing(WHAT)?;
    warn(designation, &modes)?;
    Ok(modes)
}

fn warn(designation: &Designation, modes: &Modes) -> Result<(), StoreError> {
    let Modes { journal, synchronous } = modes;
    if designation.path.is_none() {
        tracing::warn!("the database is in memory: nothing survives the process");
        return Ok(());
    }
    let explicit = designation.pragma("synchronous");
    if explicit.is_none() && *synchronous < Synchronous::FULL {
        return Err(failed_setting("synchronous", "FULL", &synchronous.0.to_string()));
    }
    if *synchronous < Synchronous::FULL {
        tracing::warn!(
            synchronous = explicit,
            "commits are not synchronised: acknowledged transactions can be lost if the machine \
             stops"
        );
    }
    match designation.pragma("journal_mode") {
        None if !modes.is_wal() => tracing::warn!(
            journal_mode = journal,
            "the database can not use a write-ahead log here: reads wait for writes"
        ),
        Some(asked) if !asked.eq_ignore_ascii_case(journal) => {
            return Err(failed_setting("journal_mode", asked, journal));
        }
        Some(asked) if matches!(journal.as_str(), "off" | "memory") => tracing::warn!(
            journal_mode = asked,
            "the database can be corrupted if the process or the machine stops"
        ),
        _ => {}
    }
    Ok(())
}

fn failed_setting(name: &str, asked: &str, found: &str) -> StoreError {
    StoreError::Failed {
        what: WHAT,
        failure: Failure::Other(format!("{name} is {found} although {asked} was asked for")),
    }
}

/// One more connection to a database in WAL mode, that only reads.
///
/// # Errors
/// If it can not be opened.
pub fn reader(designation: &Designation) -> Result<Connection, StoreError> {
    let connection = open(designation)?;
    let cache = match designation.pragma("cache_size") {
        Some(value) => value.to_owned(),
        None => format!("-{READER_CACHE_KIB}"),
    };
    pragma(&connection, "cache_size", &cache).doing(WHAT)?;
    pragma(&connection, "query_only", "ON").doing(WHAT)?;
    Ok(connection)
}

/// One more connection to a database in WAL mode, for checkpoints only.
///
/// # Errors
/// If it can not be opened.
pub fn checkpointer(
    designation: &Designation,
    synchronous: Synchronous,
) -> Result<Connection, StoreError> {
    let connection = open(designation)?;
    let level = synchronous.0.to_string();
    pragma(&connection, "synchronous", &level).map_err(|error| failed(WHAT, error))?;
    Ok(connection)
}
