//! Slices of a pack (spec storage.md 15.1).

use neo_core::database::{JobOutput, RecordKey};
use neo_wire::{Oid, PackOrder, Partition, Tid};
use rusqlite::OptionalExtension;

use super::columns::{concatenated, key, sql};
use super::work::Work;

/// A record: OID, TID, and whether the object exists from there on.
type Row = (u64, u64, bool);

/// What was done so far in a slice.
#[derive(Default)]
struct Slice {
    deleted: u64,
    gone: Vec<Oid>,
}

impl Work<'_> {
    /// Whether the orders of `neo_packs` were begun in this database: the Python NEO drops its own
    /// tables, with the name that ours has there, to make another database of the same file.
    pub fn owns_packs(&self) -> rusqlite::Result<bool> {
        let statement = "SELECT id FROM neo_identity
            JOIN config ON config.name = 'neo_identity' AND config.value = id";
        let found: Option<String> =
            self.statement(statement)?.query_row([], |row| row.get(0)).optional()?;
        Ok(found.is_some())
    }

    fn own_packs(&self) -> rusqlite::Result<()> {
        for statement in [
            "DELETE FROM neo_identity",
            "INSERT INTO neo_identity VALUES (lower(hex(randomblob(16))))",
            "INSERT OR REPLACE INTO config SELECT 'neo_identity', id FROM neo_identity",
        ] {
            self.execute(statement, [])?;
        }
        Ok(())
    }

    pub fn begin_pack(&mut self, order: PackOrder) -> rusqlite::Result<()> {
        if !self.owns_packs()? {
            self.own_packs()?;
        }
        let pack_tid = sql(order.pack_tid.0)?;
        let oids = order.oids.filter(|_| order.partial).map(|oids| concatenated(&oids.list()));
        if oids.is_none() {
            // What they cover is covered; those that cells are packed up to stay known.
            let statement = "DELETE FROM neo_packs WHERE pack_tid <= ?
                AND tid NOT IN (SELECT pack FROM pt WHERE pack IS NOT NULL)";
            self.execute(statement, [pack_tid])?;
        }
        let row = (sql(order.tid.0)?, oids.is_some(), oids, pack_tid);
        self.execute("INSERT OR REPLACE INTO neo_packs VALUES (?, ?, ?, ?)", row).map(drop)
    }

    pub fn pack_objects(
        &mut self,
        partition: Partition,
        pack_tid: Tid,
        min: RecordKey,
        limit: u32,
    ) -> rusqlite::Result<JobOutput> {
        let Some(oid) = key(min.0.0) else {
            return Ok(Slice::default().output(None));
        };
        // A TID that no record has: none of this object is left.
        let tid = key(min.1.0).unwrap_or(i64::MAX);
        let rows = self.rows(
            "SELECT oid, tid, data_id IS NOT NULL FROM obj
             WHERE partition = ? AND (oid, tid) >= (?, ?) ORDER BY oid, tid LIMIT ?",
            (partition.0, oid, tid, i64::from(limit) + 1),
        )?;
        let mut slice = Slice::default();
        let next = self.pack_rows(partition, pack_tid, &rows, limit as usize, &mut slice)?;
        Ok(slice.output(next))
    }

    pub fn pack_list(
        &mut self,
        partition: Partition,
        pack_tid: Tid,
        (oids, min): (&[Oid], RecordKey),
        limit: u32,
    ) -> rusqlite::Result<JobOutput> {
        let mut slice = Slice::default();
        let mut left = limit as usize;
        let mut last = None;
        for &oid in oids.iter().filter(|oid| **oid >= min.0) {
            let Some(key_of_oid) = key(oid.0) else { break };
            if last.replace(oid) == Some(oid) || oid.partition(self.memory.partitions) != partition
            {
                continue;
            }
            let min_tid = if oid == min.0 { key(min.1.0).unwrap_or(i64::MAX) } else { 0 };
            let rows = self.rows(
                "SELECT oid, tid, data_id IS NOT NULL FROM obj
                 WHERE partition = ? AND oid = ? AND tid >= ? ORDER BY tid LIMIT ?",
                (partition.0, key_of_oid, min_tid, left as i64 + 1),
            )?;
            let next = self.pack_rows(partition, pack_tid, &rows, left, &mut slice)?;
            if next.is_some() {
                return Ok(slice.output(next));
            }
            left -= rows.len();
        }
        Ok(slice.output(None))
    }

    fn rows(&self, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<Vec<Row>> {
        super::reader::list(self.connection, sql, params, |row| {
            Ok((super::columns::id(row, 0)?, super::columns::id(row, 1)?, row.get(2)?))
        })
    }

    /// Packs the first `limit` of consecutive records; gives the one that follows them. What is
    /// done with a record only depends on those that follow it, so the oldest ones go first and a
    /// slice can end anywhere.
    fn pack_rows(
        &mut self,
        partition: Partition,
        pack_tid: Tid,
        rows: &[Row],
        limit: usize,
        slice: &mut Slice,
    ) -> rusqlite::Result<Option<RecordKey>> {
        for (place, &(oid, tid, exists)) in rows.iter().enumerate().take(limit) {
            let next = rows.get(place + 1).filter(|(other, ..)| *other == oid);
            let is_old = next.is_some_and(|(_, next, _)| *next <= pack_tid.0);
            if tid > pack_tid.0 || !is_old && exists {
                continue;
            }
            let data = self.delete_record(partition, sql(oid)?, sql(tid)?)?;
            self.prune(data)?;
            slice.deleted += 1;
            if next.is_none() && self.is_gone(partition, oid)? {
                slice.gone.push(Oid(oid));
            }
        }
        Ok(rows.get(limit).map(|(oid, tid, _)| (Oid(*oid), Tid(*tid))))
    }

    fn is_gone(&self, partition: Partition, oid: u64) -> rusqlite::Result<bool> {
        let statement = "SELECT tid FROM obj WHERE partition = ? AND oid = ? LIMIT 1";
        Ok(self.column(statement, (partition.0, sql(oid)?))?.is_empty())
    }
}

impl Slice {
    fn output(self, next: Option<RecordKey>) -> JobOutput {
        JobOutput::Packed { deleted: self.deleted, gone: self.gone, next }
    }
}
