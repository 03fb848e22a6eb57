//! Tables (spec storage.md 4, 5.2, 8).

use rusqlite::{Connection, OptionalExtension};

use super::failure::failed;
use crate::StoreError;

/// The version of the schema that is written.
pub const VERSION: u32 = 4;

/// Name of the unique index of a database that deduplicates (spec storage.md 7.4).
const DEDUP_INDEX: &str = "_data_i1";

/// In the order in which they are created. The Python NEO inserts by position.
pub const TABLES: [(&str, &str); 11] = [
    ("config", "(name TEXT NOT NULL PRIMARY KEY, value TEXT) WITHOUT ROWID"),
    (
        "pt",
        "(partition INTEGER NOT NULL, nid INTEGER NOT NULL, tid INTEGER NOT NULL, pack INTEGER,
          PRIMARY KEY (partition, nid)) WITHOUT ROWID",
    ),
    (
        "pack",
        "(tid INTEGER PRIMARY KEY, approved BOOLEAN, partial BOOLEAN NOT NULL, oids BLOB,
          pack_tid INTEGER)",
    ),
    (
        "trans",
        "(partition INTEGER NOT NULL, tid INTEGER NOT NULL, packed BOOLEAN NOT NULL,
          oids BLOB NOT NULL, user BLOB NOT NULL, description BLOB NOT NULL, ext BLOB NOT NULL,
          ttid INTEGER NOT NULL, PRIMARY KEY (partition, tid)) WITHOUT ROWID",
    ),
    (
        "obj",
        "(partition INTEGER NOT NULL, oid INTEGER NOT NULL, tid INTEGER NOT NULL,
          data_id INTEGER, value_tid INTEGER, PRIMARY KEY (partition, oid, tid)) WITHOUT ROWID",
    ),
    (
        "data",
        "(id INTEGER PRIMARY KEY, hash BLOB NOT NULL, compression INTEGER NOT NULL,
          value BLOB NOT NULL)",
    ),
    (
        "ttrans",
        "(partition INTEGER NOT NULL, tid INTEGER, packed BOOLEAN NOT NULL, oids BLOB NOT NULL,
          user BLOB NOT NULL, description BLOB NOT NULL, ext BLOB NOT NULL,
          ttid INTEGER NOT NULL)",
    ),
    (
        "tobj",
        "(partition INTEGER NOT NULL, oid INTEGER NOT NULL, tid INTEGER NOT NULL,
          data_id INTEGER, value_tid INTEGER, PRIMARY KEY (tid, oid)) WITHOUT ROWID",
    ),
    // Ours: rows of `data` written before the vote of their transaction.
    ("neo_spilled", "(name INTEGER PRIMARY KEY, data_id INTEGER NOT NULL)"),
    // Ours: pack orders begun here, whatever their partition. Those in `pack` may not all be.
    (
        "neo_packs",
        "(tid INTEGER PRIMARY KEY, partial BOOLEAN NOT NULL, oids BLOB,
          pack_tid INTEGER NOT NULL)",
    ),
    // Ours: what `config` has under the same name, if `neo_packs` belongs to this database.
    ("neo_identity", "(id TEXT NOT NULL)"),
];

const INDEXES: [(&str, &str); 2] =
    [("_obj_i1", "obj(partition, tid, oid)"), ("_obj_i2", "obj(data_id)")];

/// What a database holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// No table at all, or only those of ours that the Python NEO left when it was told to erase.
    Nothing,
    /// Tables of this version.
    Version(u32),
}

/// Looks without touching anything.
///
/// # Errors
/// [`StoreError::Foreign`] if it is something else than a NEO database.
pub fn look(connection: &Connection, name: &str) -> Result<Found, StoreError> {
    let ours = TABLES.iter().filter(|(name, _)| name.starts_with("neo_"));
    let ours: Vec<_> = ours.map(|(name, _)| format!("'{name}'")).collect();
    let tables = format!(
        "SELECT count(*) FROM sqlite_master WHERE type <> 'table' OR name NOT IN ({})",
        ours.join(", ")
    );
    let count: i64 = connection.query_row(&tables, [], |row| row.get(0)).map_err(|error| {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => StoreError::Foreign(name.to_owned()),
            _ => failed("opening the database", error),
        }
    })?;
    if count == 0 {
        return Ok(Found::Nothing);
    }
    let foreign = |_| StoreError::Foreign(name.to_owned());
    if columns(connection, "config").map_err(foreign)? != "name value" {
        return Err(StoreError::Foreign(name.to_owned()));
    }
    let version: Option<String> = connection
        .query_row("SELECT value FROM config WHERE name = 'version'", [], |row| row.get(0))
        .optional()
        .map_err(foreign)?;
    match version.map(|text| text.parse()) {
        // Other programs also have such a table; but the creation of ours may be interrupted.
        None if count > 1
            && columns(connection, "trans").map_err(foreign)?
                != "partition tid packed oids user description ext ttid" =>
        {
            Err(StoreError::Foreign(name.to_owned()))
        }
        None => Ok(Found::Version(0)),
        Some(Ok(version)) => Ok(Found::Version(version)),
        Some(Err(_)) => Err(StoreError::Foreign(name.to_owned())),
    }
}

/// The names of the columns of a table; none if there is no such table.
fn columns(connection: &Connection, table: &str) -> rusqlite::Result<String> {
    let sql = "SELECT group_concat(name, ' ') FROM pragma_table_info(?1)
        WHERE EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1)";
    let names: Option<String> = connection.query_row(sql, [table], |row| row.get(0))?;
    Ok(names.unwrap_or_default())
}

/// A database belongs to one cluster (spec storage.md 2).
///
/// # Errors
/// If it is another one than `expected`.
pub fn check_name(connection: &Connection, expected: &str) -> Result<(), StoreError> {
    let expected = expected.to_owned();
    match super::reader::configuration(connection)?.name {
        Some(found) if found != expected && !expected.is_empty() => {
            Err(StoreError::OtherCluster { found, expected })
        }
        _ => Ok(()),
    }
}

/// Drops what NEO creates, and nothing else.
///
/// # Errors
/// A failed write.
pub fn drop_tables(connection: &Connection) -> rusqlite::Result<()> {
    TABLES.iter().try_for_each(|(table, _)| {
        connection.execute_batch(&format!("DROP TABLE IF EXISTS {table}"))
    })
}

/// Creates what is missing, inside the transaction of the caller.
///
/// # Errors
/// A failed write.
pub fn create_missing(connection: &Connection) -> rusqlite::Result<()> {
    for (table, definition) in TABLES {
        create_table(connection, table, definition)?;
    }
    for (index, definition) in INDEXES {
        connection.execute_batch(&format!("CREATE INDEX IF NOT EXISTS {index} ON {definition}"))?;
    }
    Ok(())
}

/// Creates a table if it is missing.
///
/// # Errors
/// A failed write.
pub fn create_table(
    connection: &Connection,
    table: &str,
    definition: &str,
) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("CREATE TABLE IF NOT EXISTS {table} {definition}"))
}

/// Whether the database deduplicates; makes it so if asked to.
///
/// # Errors
/// If it holds the same data twice, or a failed write.
pub fn deduplicate(connection: &Connection, asked: bool) -> Result<bool, StoreError> {
    if asked {
        let sql =
            format!("CREATE UNIQUE INDEX IF NOT EXISTS {DEDUP_INDEX} ON data(hash, compression)");
        connection.execute_batch(&sql).map_err(|error| {
            if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) {
                let text = "the database holds the same data twice: it can not be deduplicated";
                StoreError::Unsupported(text.to_owned())
            } else {
                failed("creating an index", error)
            }
        })?;
    }
    connection
        .query_row(
            "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name = ?",
            [DEDUP_INDEX],
            |row| row.get::<_, i64>(0),
        )
        .map(|count| count > 0)
        .map_err(|error| failed("opening the database", error))
}

/// Records the version.
///
/// # Errors
/// A failed write.
pub fn set_version(connection: &Connection, version: u32) -> rusqlite::Result<()> {
    connection
        .execute("INSERT OR REPLACE INTO config VALUES ('version', ?)", [version.to_string()])
        .map(|_| ())
}
