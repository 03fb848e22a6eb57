//! Checkpoints of the write-ahead log, off the path of commits.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::Common;
use super::failure::{failed, is_busy};
use crate::StoreError;

const WHAT: &str = "a checkpoint";

/// Pages of the log after which it is copied to the database, beside commits.
pub const PAGES: u32 = 1_000;
/// Pages from which the writer itself copies the little that is left, so that the log starts
/// again from its beginning: under a constant load it would grow for ever. Up to 4096, readers
/// find a page by one look into the index of the log.
pub const MANY_PAGES: u32 = 4_000;

/// The state of the log after a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Log {
    /// In it.
    pub pages: i64,
    /// Copied to the database.
    pub copied: i64,
}

/// Copies what can be copied without waiting for anybody.
pub fn passive(connection: &Connection) -> rusqlite::Result<Log> {
    let result = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        Ok(Log { pages: row.get(1)?, copied: row.get(2)? })
    });
    match result {
        Err(error) if is_busy(&error) => Ok(Log { pages: 0, copied: 0 }),
        result => result,
    }
}

/// The thread that makes them.
pub struct Checkpointer {
    sender: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    failure: Arc<Mutex<Option<StoreError>>>,
}

impl Checkpointer {
    /// Starts it. It sleeps until it is asked.
    ///
    /// # Errors
    /// If the system can not start a thread.
    pub fn spawn(connection: Connection, common: Arc<Common>) -> std::io::Result<Self> {
        let failure = Arc::new(Mutex::new(None));
        let (sender, receiver) = sync_channel(1);
        let slot = Arc::clone(&failure);
        let thread =
            std::thread::Builder::new().name("neo-checkpoint".to_owned()).spawn(move || {
                run(&connection, &receiver, &slot);
                // The lock of the process outlives the connection.
                drop(connection);
                drop(common);
            })?;
        Ok(Self { sender: Some(sender), thread: Some(thread), failure })
    }

    /// Asks for one. Never waits; while one is made, one more is remembered.
    pub fn ask(&self) {
        if let Some(sender) = &self.sender
            && let Err(TrySendError::Disconnected(())) = sender.try_send(())
        {
            tracing::debug!("no checkpoint any more");
        }
    }

    /// The error of a checkpoint: the node must stop.
    pub fn failure(&self) -> Option<StoreError> {
        let slot = self.failure.lock();
        slot.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of checkpoints ended by a panic");
        }
    }
}

fn run(connection: &Connection, asked: &Receiver<()>, slot: &Mutex<Option<StoreError>>) {
    while asked.recv().is_ok() {
        match passive(connection) {
            Ok(log) => tracing::trace!(log.pages, log.copied, "checkpoint"),
            Err(error) => {
                let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
                *slot = Some(failed(WHAT, error));
                return;
            }
        }
    }
}
