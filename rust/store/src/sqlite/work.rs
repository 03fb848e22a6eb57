//! What the writer knows of its database, and what all jobs use.

use std::collections::BTreeMap;

use neo_core::database::cells::{Rows, partitions};
use neo_core::database::{CellRow, DataId};
use neo_wire::{NodeId, Oid, Partition, StoredData, Tid, Ttid};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params};

use super::columns;
use super::failure::{Doing, failed};
use crate::StoreError;

const LOADING: &str = "opening the database";

/// A voted transaction.
#[derive(Default)]
pub struct Voted {
    /// One for each of its rows of `tobj` that has data.
    pub data: Vec<DataId>,
    /// Its row in `ttrans`, which has no other key.
    pub metadata: Option<i64>,
    /// This row has its TID.
    pub locked: bool,
    /// It carries a pack order.
    pub pack: bool,
}

/// The part of the database that is small and always asked for.
#[derive(Default)]
pub struct Memory {
    pub rows: Rows,
    pub partitions: u32,
    pub nid: Option<NodeId>,
    pub backup_tid: Option<Tid>,
    pub truncate_tid: Option<Tid>,
    pub voted: BTreeMap<Ttid, Voted>,
    /// By the name given to it, until the transaction ends.
    pub spilled: BTreeMap<DataId, (Ttid, DataId)>,
    pub last_spilled: u64,
    /// Data that is referred to by something else than `obj`, with how many times
    /// (spec storage.md 7.5).
    holds: BTreeMap<DataId, u32>,
    next_data: BTreeMap<Partition, u64>,
    pub dedup: bool,
    pub erased: bool,
}

/// The connection inside a transaction, and the memory: jobs are methods of it.
pub struct Work<'a> {
    pub connection: &'a Connection,
    pub memory: &'a mut Memory,
}

impl Memory {
    /// Reads it; what was spilled and never voted is freed, unless something else refers to it: the
    /// Python NEO may have made another database of the file in the meantime, and left our tables.
    pub fn load(connection: &Connection, dedup: bool) -> Result<Self, StoreError> {
        let mut memory = Self { dedup, ..Self::default() };
        let settings = super::reader::configuration(connection)?;
        memory.nid = settings.nid;
        memory.backup_tid = settings.backup_tid;
        memory.truncate_tid = settings.truncate_tid;
        memory.set_rows(super::reader::rows(connection)?);
        let mut work = Work { connection, memory: &mut memory };
        work.load_voted()?;
        if !work.owns_packs().doing(LOADING)? {
            work.execute("DELETE FROM neo_packs", []).doing(LOADING)?;
        }
        let spilled = work.column("SELECT data_id FROM neo_spilled", []).doing(LOADING)?;
        if !spilled.is_empty() {
            work.execute("DELETE FROM neo_spilled", []).doing(LOADING)?;
            work.prune(spilled.into_iter().map(DataId)).doing(LOADING)?;
        }
        Ok(memory)
    }

    pub fn set_rows(&mut self, rows: Rows) {
        self.partitions = partitions(&rows);
        self.rows = rows;
    }

    pub fn own_cell(&self, partition: Partition) -> Option<CellRow> {
        self.rows.get(&(partition, self.nid?)).copied()
    }

    pub fn hold(&mut self, data: DataId) {
        *self.holds.entry(data).or_default() += 1;
    }

    pub fn unhold(&mut self, data: DataId) {
        if let Some(count) = self.holds.get_mut(&data) {
            *count -= 1;
            if *count == 0 {
                self.holds.remove(&data);
            }
        }
    }

    pub fn is_held(&self, data: DataId) -> bool {
        self.holds.contains_key(&data)
    }

    /// Forgets all of them.
    pub fn take_holds(&mut self) -> Vec<DataId> {
        std::mem::take(&mut self.holds).into_keys().collect()
    }
}

impl<'a> Work<'a> {
    fn load_voted(&mut self) -> Result<(), StoreError> {
        let mut statement = self.statement("SELECT tid, data_id FROM tobj").doing(LOADING)?;
        let rows = statement
            .query_map([], |row| Ok((columns::id(row, 0)?, columns::data_id(row, 1)?)))
            .doing(LOADING)?;
        for row in rows {
            let (ttid, data) = row.doing(LOADING)?;
            let voted = self.memory.voted.entry(Ttid(ttid)).or_default();
            voted.data.extend(data);
            if let Some(data) = data {
                self.memory.hold(data);
            }
        }
        let sql = "SELECT t.ttid, t.rowid, t.tid IS NOT NULL, p.tid IS NOT NULL
                   FROM ttrans t LEFT JOIN pack p ON p.tid = t.ttid";
        let mut statement = self.statement(sql).doing(LOADING)?;
        let rows = statement
            .query_map([], |row| Ok((columns::id(row, 0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .doing(LOADING)?;
        for row in rows {
            let (ttid, metadata, locked, pack) = row.doing(LOADING)?;
            let voted = self.memory.voted.entry(Ttid(ttid)).or_default();
            voted.metadata = Some(metadata);
            voted.locked = locked;
            voted.pack = pack;
        }
        Ok(())
    }

    pub fn statement(&self, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
        self.connection.prepare_cached(sql)
    }

    /// Number of rows changed.
    pub fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.statement(sql)?.execute(params)
    }

    /// The first column, made of identifiers; NULL is left out.
    pub fn column(&self, sql: &str, params: impl Params) -> rusqlite::Result<Vec<u64>> {
        let mut statement = self.statement(sql)?;
        let rows = statement.query_map(params, |row| columns::optional_id(row, 0))?;
        rows.filter_map(Result::transpose).collect()
    }

    /// Deletes those that nothing refers to (spec storage.md 7.5).
    pub fn prune(&self, data: impl IntoIterator<Item = DataId>) -> rusqlite::Result<u64> {
        let mut deleted = 0;
        let mut delete = self.statement("DELETE FROM data WHERE id = ?")?;
        for key in self.orphans(data)? {
            deleted += delete.execute([key])? as u64;
        }
        Ok(deleted)
    }

    /// The keys of those that nothing refers to.
    pub fn orphans(&self, data: impl IntoIterator<Item = DataId>) -> rusqlite::Result<Vec<i64>> {
        let mut referred = self.statement("SELECT 1 FROM obj WHERE data_id = ? LIMIT 1")?;
        let mut orphans = Vec::new();
        for data in data {
            if self.memory.is_held(data) {
                continue;
            }
            let key = columns::sql(data.0)?;
            if referred.query_row([key], |_| Ok(())).optional()?.is_none() {
                orphans.push(key);
            }
        }
        Ok(orphans)
    }

    /// Releases data of unfinished transactions and prunes it.
    pub fn release(&mut self, data: Vec<DataId>) -> rusqlite::Result<()> {
        for &data in &data {
            self.memory.unhold(data);
        }
        self.prune(data).map(|_| ())
    }

    /// A new row of `data`, or with deduplication the one that has the same contents.
    pub fn add_data(
        &mut self,
        partition: Partition,
        stored: &StoredData,
    ) -> Result<DataId, StoreError> {
        const WHAT: &str = "writing data";
        let hash = &stored.checksum.0[..];
        let value = &stored.data[..];
        if self.memory.dedup {
            let sql = "SELECT id, value = ?3 FROM data WHERE hash = ?1 AND compression = ?2";
            let same = self
                .statement(sql)
                .and_then(|mut statement| {
                    statement
                        .query_row((hash, stored.compression, value), |row| {
                            Ok((columns::id(row, 0)?, row.get::<_, bool>(1)?))
                        })
                        .optional()
                })
                .doing(WHAT)?;
            match same {
                None => {}
                Some((id, true)) => return Ok(DataId(id)),
                Some((id, false)) => {
                    return Err(StoreError::Inconsistent(format!(
                        "data {id} has other contents with the checksum {}",
                        stored.checksum
                    )));
                }
            }
        }
        let id = self.next_data(partition).doing(WHAT)?;
        let sql = "INSERT INTO data VALUES (?, ?, ?, ?)";
        let key = columns::sql(id.0).map_err(|error| failed(WHAT, error))?;
        self.execute(sql, (key, hash, stored.compression, value)).doing(WHAT)?;
        Ok(id)
    }

    /// Spec storage.md 7.3.
    fn next_data(&mut self, partition: Partition) -> rusqlite::Result<DataId> {
        let base = u64::from(partition.0) << 48;
        let next = match self.memory.next_data.get(&partition) {
            Some(next) => *next,
            None => {
                let range = (columns::sql(base)?, columns::sql(base + (1 << 48) - 1)?);
                let sql = "SELECT max(id) FROM data WHERE id BETWEEN ? AND ?";
                let last =
                    self.statement(sql)?.query_row(range, |row| columns::optional_id(row, 0))?;
                last.map_or(base, |last| last + 1)
            }
        };
        self.memory.next_data.insert(partition, next + 1);
        Ok(DataId(next))
    }

    /// The `data_id` of a record: none if there is no record.
    pub fn record_data(&self, oid: Oid, tid: Tid) -> rusqlite::Result<Option<Option<DataId>>> {
        let partition = oid.partition(self.memory.partitions).0;
        let sql = "SELECT data_id FROM obj WHERE partition = ? AND oid = ? AND tid = ?";
        let key = (partition, columns::sql(oid.0)?, columns::sql(tid.0)?);
        self.statement(sql)?.query_row(key, |row| columns::data_id(row, 0)).optional()
    }

    /// Writes the rows of the partition table that differ.
    pub fn write_rows(&mut self, rows: Rows) -> rusqlite::Result<()> {
        for (key, old) in &self.memory.rows {
            if !rows.contains_key(key) {
                let sql = "DELETE FROM pt WHERE partition = ? AND nid = ?";
                self.execute(sql, (old.partition.0, old.nid.0))?;
            }
        }
        for (key, row) in &rows {
            if self.memory.rows.get(key) != Some(row) {
                self.write_row(row)?;
            }
        }
        self.memory.set_rows(rows);
        Ok(())
    }

    /// Changes the own cell of a partition, if there is one.
    pub fn set_own_cell(
        &mut self,
        partition: Partition,
        set: impl Fn(&mut CellRow),
    ) -> rusqlite::Result<()> {
        if let Some(mut row) = self.memory.own_cell(partition) {
            set(&mut row);
            self.write_row(&row)?;
            self.memory.rows.insert((partition, row.nid), row);
        }
        Ok(())
    }

    fn write_row(&self, row: &CellRow) -> rusqlite::Result<()> {
        let column = match row.column() {
            Some(column) => column,
            None => columns::sql(row.tid.0)?,
        };
        let pack = row.pack.map(|pack| columns::sql(pack.0)).transpose()?;
        let sql = "INSERT OR REPLACE INTO pt VALUES (?, ?, ?, ?)";
        self.execute(sql, (row.partition.0, row.nid.0, column, pack)).map(|_| ())
    }

    /// Sets or unsets a setting.
    pub fn set(&self, name: &str, value: Option<String>) -> rusqlite::Result<()> {
        match value {
            Some(value) => {
                self.execute("INSERT OR REPLACE INTO config VALUES (?, ?)", (name, value))?
            }
            None => self.execute("DELETE FROM config WHERE name = ?", [name])?,
        };
        Ok(())
    }
}
