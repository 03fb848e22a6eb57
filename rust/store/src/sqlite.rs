//! SQLite (spec storage.md 5).
//!
//! In WAL mode, the default, each reader has its own connection and never waits; checkpoints are
//! made by a thread of their own. In another mode, asked for explicitly, everything goes through
//! the connection of the writer.

mod background;
mod checkpoint;
mod columns;
mod connection;
mod designation;
mod failure;
mod jobs;
mod lock;
mod pack;
mod reader;
mod schema;
#[cfg(test)]
mod tests;
mod upgrade;
mod work;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use neo_core::database::JobResult;
use rusqlite::Connection;

use self::checkpoint::Checkpointer;
use self::connection::{Modes, Synchronous};
pub use self::designation::Designation;
use self::failure::{Doing, is_busy};
use self::lock::ProcessLock;
use self::reader::SqliteReader;
use self::schema::Found;
use self::work::{Memory, Work};
use crate::traits::after_erasure;
use crate::{Durability, Failure, Jobs, Reader, StoreError, Writer};

const OPENING: &str = "opening the database";

/// How to open a database.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// A path, a URI (`file:`) or `:memory:` (spec storage.md 5.1).
    pub database: String,
    /// Store equal data once; only meaningful when the database is created (spec storage.md 7.4).
    pub dedup: bool,
    /// Drop the tables if any, and create them again.
    pub reset: bool,
    /// The cluster that it must belong to, unless it belongs to none yet; any if empty.
    pub cluster: String,
}

/// What the connections of a database have in common; dropped after all of them.
pub struct Common {
    /// Of the partition table, fixed once there is one.
    partitions: AtomicU32,
    _lock: Option<ProcessLock>,
}

impl Common {
    fn partitions(&self) -> u32 {
        self.partitions.load(Ordering::Acquire)
    }
}

/// The writer of an SQLite database.
pub struct SqliteWriter {
    // Dropped first: its thread has a connection.
    checkpointer: Option<Checkpointer>,
    connection: Arc<Mutex<Connection>>,
    memory: Memory,
    designation: Designation,
    modes: Modes,
    /// What the connection is set to now.
    synchronous: Synchronous,
    /// Pages of the log after the last commit.
    log_pages: Arc<AtomicU32>,
    /// Pages of the log when a checkpoint was last asked for.
    asked_pages: u32,
    given_up: Option<StoreError>,
    common: Arc<Common>,
}

/// Opens a database, upgrades it or creates its tables, and locks it against other processes.
///
/// # Errors
/// Why it can not be used; then it is left untouched, unless an upgrade failed.
pub fn open(options: &Options) -> Result<SqliteWriter, StoreError> {
    let designation = Designation::parse(&options.database)?;
    let lock = designation.path.as_deref().map(ProcessLock::take).transpose()?;
    let mut connection = connection::first(&designation)?;
    let found = schema::look(&connection, &options.database)?;
    if let (Found::Version(version), false) = (found, options.reset) {
        upgrade::check(&connection, version)?;
        schema::check_name(&connection, &options.cluster)?;
    }
    let modes = connection::configure(&connection, &designation)?;
    match found {
        Found::Version(version) if !options.reset => {
            upgrade::upgrade(&mut connection, version)?;
            begin(&connection).doing(OPENING)?;
            schema::create_missing(&connection).doing(OPENING)?;
            commit(&connection).doing(OPENING)?;
        }
        Found::Version(_) | Found::Nothing => {
            begin(&connection).doing(OPENING)?;
            schema::drop_tables(&connection).doing(OPENING)?;
            create(&connection)?;
        }
    }
    let dedup = schema::deduplicate(&connection, options.dedup)?;
    begin(&connection).doing(OPENING)?;
    let memory = Memory::load(&connection, dedup)?;
    commit(&connection).doing(OPENING)?;
    let common = Arc::new(Common { partitions: AtomicU32::new(memory.partitions), _lock: lock });
    let log_pages = Arc::new(AtomicU32::new(0));
    let checkpointer = if modes.is_wal() {
        watch_log(&mut connection, &log_pages).doing(OPENING)?;
        let second = connection::checkpointer(&designation, modes.synchronous)?;
        let thread = Checkpointer::spawn(second, Arc::clone(&common));
        Some(thread.map_err(|error| StoreError::Failed {
            what: OPENING,
            failure: Failure::Other(error.to_string()),
        })?)
    } else {
        None
    };
    Ok(SqliteWriter {
        checkpointer,
        connection: Arc::new(Mutex::new(connection)),
        memory,
        designation,
        synchronous: modes.synchronous,
        modes,
        log_pages,
        asked_pages: 0,
        given_up: None,
        common,
    })
}

fn create(connection: &Connection) -> Result<(), StoreError> {
    schema::create_missing(connection).doing(OPENING)?;
    schema::set_version(connection, schema::VERSION).doing(OPENING)?;
    commit(connection).doing(OPENING)
}

/// This replaces the checkpoints that SQLite makes inside of commits.
fn watch_log(connection: &mut Connection, pages: &Arc<AtomicU32>) -> rusqlite::Result<()> {
    let pages = Arc::clone(pages);
    connection.wal_hook(Some(move |_: &mut _, count: i32| {
        pages.store(count.unsigned_abs(), Ordering::Relaxed);
        Ok(())
    }))
}

/// Waits for ever for a program that keeps the database busy (spec storage.md 5.1).
fn retry(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    loop {
        match connection.prepare_cached(sql)?.execute([]) {
            Err(error) if is_busy(&error) => {
                tracing::warn!(%error, "another program keeps the database busy: {sql} waits");
            }
            result => return result.map(|_| ()),
        }
    }
}

fn begin(connection: &Connection) -> rusqlite::Result<()> {
    retry(connection, "BEGIN IMMEDIATE")
}

fn commit(connection: &Connection) -> rusqlite::Result<()> {
    retry(connection, "COMMIT")
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SqliteWriter {
    fn try_commit(
        &mut self,
        durability: Durability,
        jobs: Jobs<'_>,
    ) -> Result<Vec<JobResult>, StoreError> {
        const COMMITTING: &str = "a commit";
        if self.memory.erased {
            return jobs.map(|job| after_erasure(&job)).collect();
        }
        if let Some(failure) = self.checkpointer.as_ref().and_then(Checkpointer::failure) {
            return Err(failure);
        }
        let connection = lock(&self.connection);
        let wanted = match durability {
            Durability::Lazy if self.modes.is_wal() => {
                self.modes.synchronous.min(Synchronous::NORMAL)
            }
            _ => self.modes.synchronous,
        };
        if wanted != self.synchronous {
            let level = wanted.0.to_string();
            connection::pragma(&connection, "synchronous", &level).doing(COMMITTING)?;
            self.synchronous = wanted;
        }
        begin(&connection).doing(COMMITTING)?;
        let mut work = Work { connection: &connection, memory: &mut self.memory };
        let results: Vec<JobResult> = jobs.map(|job| work.job(job)).collect::<Result<_, _>>()?;
        commit(&connection).doing(COMMITTING)?;
        let partitions = self.memory.partitions;
        self.common.partitions.store(partitions, Ordering::Release);
        drop(connection);
        self.keep_log_short()?;
        Ok(results)
    }

    fn keep_log_short(&mut self) -> Result<(), StoreError> {
        let Some(checkpointer) = &self.checkpointer else {
            return Ok(());
        };
        let pages = self.log_pages.load(Ordering::Relaxed);
        // It started again from its beginning.
        self.asked_pages = self.asked_pages.min(pages);
        if pages >= checkpoint::MANY_PAGES {
            let log = checkpoint::passive(&lock(&self.connection)).doing("a checkpoint")?;
            tracing::trace!(log.pages, log.copied, "checkpoint by the writer");
        }
        if pages >= self.asked_pages + checkpoint::PAGES {
            checkpointer.ask();
            self.asked_pages = pages;
        }
        Ok(())
    }

    /// The designation it was opened with.
    #[must_use]
    pub fn designation(&self) -> &Designation {
        &self.designation
    }
}

impl Writer for SqliteWriter {
    fn commit(
        &mut self,
        durability: Durability,
        jobs: Jobs<'_>,
    ) -> Result<Vec<JobResult>, StoreError> {
        if let Some(error) = &self.given_up {
            return Err(StoreError::GivenUp(error.to_string()));
        }
        let result = self.try_commit(durability, jobs);
        if let Err(error) = &result {
            self.given_up = Some(error.clone());
            let connection = lock(&self.connection);
            if !connection.is_autocommit()
                && let Err(error) = connection.execute_batch("ROLLBACK")
            {
                tracing::debug!(%error, "the failed commit is left to recovery");
            }
        }
        result
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        let connection = if self.modes.is_wal() {
            Arc::new(Mutex::new(connection::reader(&self.designation)?))
        } else {
            Arc::clone(&self.connection)
        };
        Ok(Box::new(SqliteReader { connection, common: Arc::clone(&self.common) }))
    }

    fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        self.checkpointer = None;
        if self.given_up.is_some() || !self.modes.is_wal() {
            return Ok(());
        }
        let connection = lock(&self.connection);
        // So that a copy of the single file is complete.
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .doing("a checkpoint")?;
        if self.designation.pragma("journal_mode").is_none()
            && let Err(error) = connection::pragma(&connection, "journal_mode", "DELETE")
        {
            tracing::debug!(%error, "the write-ahead log remains: a reader is still open");
        }
        Ok(())
    }
}
