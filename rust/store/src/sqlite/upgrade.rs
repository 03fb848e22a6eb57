//! Databases of older versions (spec storage.md 8).

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::failure::Doing;
use super::schema::{TABLES, VERSION, set_version};
use crate::StoreError;

const PT_3: &str = "(partition INTEGER NOT NULL, nid INTEGER NOT NULL, tid INTEGER NOT NULL,
    PRIMARY KEY (partition, nid)) WITHOUT ROWID";

const WHAT: &str = "the upgrade of the database";

/// Looks whether a database can be upgraded, without touching it.
///
/// # Errors
/// If it is newer, or if it is too old for its unfinished transactions.
pub fn check(connection: &Connection, from: u32) -> Result<(), StoreError> {
    if from > VERSION {
        return Err(StoreError::TooNew);
    }
    if from == 0 && has_unfinished(connection).doing(WHAT)? {
        return Err(StoreError::UnfinishedBeforeUpgrade);
    }
    Ok(())
}

/// Brings a database that passed [`check`] to the current version, one commit per step.
///
/// # Errors
/// A failed write.
pub fn upgrade(connection: &mut Connection, from: u32) -> Result<(), StoreError> {
    for version in from + 1..=VERSION {
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).doing(WHAT)?;
        step(&transaction, version).doing(WHAT)?;
        set_version(&transaction, version).doing(WHAT)?;
        transaction.commit().doing(WHAT)?;
        tracing::info!(version, "the database was upgraded");
    }
    Ok(())
}

fn step(transaction: &Transaction<'_>, version: u32) -> rusqlite::Result<()> {
    match version {
        1 => transaction.execute_batch("DROP TABLE IF EXISTS ttrans"),
        2 => rebuild(transaction, "obj", definition("obj"), "SELECT * FROM obj"),
        3 => rebuild(
            transaction,
            "pt",
            PT_3,
            "SELECT rid, nid, CASE state WHEN 0 THEN -1 WHEN 2 THEN -2 ELSE 1 - state END FROM pt",
        ),
        _ => {
            transaction.execute("DELETE FROM config WHERE name = 'partitions'", [])?;
            rebuild(
                transaction,
                "pt",
                definition("pt"),
                "SELECT partition, nid, tid, CASE WHEN nid = CAST((
                     SELECT value FROM config WHERE name = 'nid') AS INTEGER) THEN 0 END FROM pt",
            )
        }
    }
}

fn definition(table: &str) -> &'static str {
    TABLES.iter().find(|(name, _)| *name == table).map_or("", |(_, definition)| definition)
}

fn exists(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?";
    let found = connection.query_row(sql, [table], |_| Ok(())).optional()?;
    Ok(found.is_some())
}

fn has_unfinished(connection: &Connection) -> rusqlite::Result<bool> {
    for table in ["ttrans", "tobj"] {
        if exists(connection, table)? {
            let sql = format!("SELECT 1 FROM {table} LIMIT 1");
            if connection.query_row(&sql, [], |_| Ok(())).optional()?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Fills a new table from the old one, and puts it in its place. The Python NEO may have been
/// interrupted at any point of the same.
fn rebuild(
    connection: &Connection,
    table: &str,
    definition: &str,
    select: &str,
) -> rusqlite::Result<()> {
    let new = format!("new_{table}");
    match (exists(connection, table)?, exists(connection, &new)?) {
        (false, false) => return Ok(()),
        (false, true) => {}
        (true, _) => connection.execute_batch(&format!(
            "DROP TABLE IF EXISTS {new};
             CREATE TABLE {new} {definition};
             INSERT INTO {new} {select};
             DROP TABLE {table};"
        ))?,
    }
    connection.execute_batch(&format!("ALTER TABLE {new} RENAME TO {table}"))
}

#[cfg(test)]
mod tests;
