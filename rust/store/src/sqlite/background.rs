//! Jobs of replication, deletion and packs.

use neo_core::database::{
    DataId, JobOutput, JobResult, Refusal, ReplicatedObject, ReplicatedTransaction, WriteJob,
};
use neo_wire::{CellState, Oid, Partition, Tid};

use super::columns::{bound, concatenated, key, sql};
use super::failure::Doing;
use super::work::Work;
use crate::StoreError;

const REPLICATING: &str = "writing replicated data";

impl Work<'_> {
    pub fn background_job(&mut self, job: WriteJob) -> Result<JobResult, StoreError> {
        let result = match job {
            WriteJob::SetCellTid { partition, tid } => self
                .set_own_cell(partition, |row| {
                    if row.state == CellState::OutOfDate {
                        row.tid = tid;
                    }
                })
                .map(|()| JobOutput::Done),
            WriteJob::SetCellPack { partition, pack } => {
                self.set_own_cell(partition, |row| row.pack = Some(pack)).map(|()| JobOutput::Done)
            }
            WriteJob::AddTransactions(_) | WriteJob::AddObjects(_)
                if self.memory.partitions == 0 =>
            {
                return Ok(Err(Refusal::NoPartitionTable));
            }
            WriteJob::AddTransactions(rows) => {
                self.add_transactions(&rows).map(|()| JobOutput::Done)
            }
            WriteJob::AddObjects(rows) => {
                return self.add_objects(rows).map(|()| Ok(JobOutput::Done));
            }
            WriteJob::DeleteTransactions { partition, tids } => {
                self.delete_transactions(partition, &tids).map(|()| JobOutput::Done)
            }
            WriteJob::DeleteObjects { partition, records } => {
                self.delete_objects(partition, &records).map(|()| JobOutput::Done)
            }
            WriteJob::DropPartition { partition, limit } => self.drop_partition(partition, limit),
            WriteJob::BeginPack(order) => self.begin_pack(order).map(|()| JobOutput::Done),
            WriteJob::PackObjects { partition, pack_tid, min, limit } => {
                self.pack_objects(partition, pack_tid, min, limit)
            }
            WriteJob::PackList { partition, pack_tid, oids, min, limit } => {
                self.pack_list(partition, pack_tid, (&oids, min), limit)
            }
            WriteJob::SignPacks { approved, rejected } => self.sign(&approved, &rejected),
            WriteJob::Truncate => self.truncate().map(|()| JobOutput::Done),
            WriteJob::PruneOrphans { min, limit, dry_run } => {
                self.prune_orphans(min, limit, dry_run)
            }
            job => {
                let text = format!("not a job of the background: {job:?}");
                return Err(StoreError::Inconsistent(text));
            }
        };
        result.doing("a write").map(Ok)
    }

    fn add_transactions(&self, rows: &[ReplicatedTransaction]) -> rusqlite::Result<()> {
        for ReplicatedTransaction { transaction, pack } in rows {
            let tid = sql(transaction.tid.0)?;
            if let Some(pack) = pack {
                let oids = pack.oids.clone().filter(|_| pack.partial);
                let row = (
                    tid,
                    pack.approved,
                    pack.partial,
                    oids.map(|oids| concatenated(&oids.list())),
                    sql(pack.pack_tid.0)?,
                );
                self.execute("INSERT OR REPLACE INTO pack VALUES (?, ?, ?, ?, ?)", row)?;
            }
            let row = (
                transaction.tid.partition(self.memory.partitions).0,
                tid,
                transaction.packed,
                concatenated(&transaction.oids),
                &transaction.user[..],
                &transaction.description[..],
                &transaction.extension[..],
                sql(transaction.ttid.0)?,
            );
            self.execute("INSERT OR REPLACE INTO trans VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)?;
        }
        Ok(())
    }

    fn add_objects(&mut self, rows: Vec<ReplicatedObject>) -> Result<(), StoreError> {
        for row in rows {
            let partition = row.oid.partition(self.memory.partitions);
            let target = match row.value_tid {
                Some(tid) => self.record_data(row.oid, tid).doing(REPLICATING)?,
                None => None,
            };
            let data = match (target, row.data) {
                (Some(data), _) => data,
                (None, Some(data)) => Some(self.add_data(partition, &data)?),
                (None, None) => None,
            };
            let replaced = self.record_data(row.oid, row.tid).doing(REPLICATING)?;
            let statement = "INSERT OR REPLACE INTO obj VALUES (?, ?, ?, ?, ?)";
            let values = (
                partition.0,
                sql(row.oid.0).doing(REPLICATING)?,
                sql(row.tid.0).doing(REPLICATING)?,
                data.and_then(|data| key(data.0)),
                row.value_tid.and_then(|tid| key(tid.0)),
            );
            self.execute(statement, values).doing(REPLICATING)?;
            self.prune(replaced.flatten()).doing(REPLICATING)?;
        }
        Ok(())
    }

    fn delete_transactions(&self, partition: Partition, tids: &[Tid]) -> rusqlite::Result<()> {
        for tid in tids.iter().filter_map(|tid| key(tid.0)) {
            let statement = "DELETE FROM trans WHERE partition = ? AND tid = ?";
            if self.execute(statement, (partition.0, tid))? > 0 {
                self.execute("DELETE FROM pack WHERE tid = ?", [tid])?;
            }
        }
        Ok(())
    }

    fn delete_objects(&self, partition: Partition, records: &[(Tid, Oid)]) -> rusqlite::Result<()> {
        for (tid, oid) in records {
            if let (Some(tid), Some(oid)) = (key(tid.0), key(oid.0)) {
                let data = self.delete_record(partition, oid, tid)?;
                self.prune(data)?;
            }
        }
        Ok(())
    }

    /// Gives its data, which is not pruned yet.
    pub fn delete_record(
        &self,
        partition: Partition,
        oid: i64,
        tid: i64,
    ) -> rusqlite::Result<Option<DataId>> {
        let sql = "DELETE FROM obj WHERE partition = ? AND oid = ? AND tid = ? RETURNING data_id";
        let data = self.column(sql, (partition.0, oid, tid))?;
        Ok(data.first().copied().map(DataId))
    }

    fn drop_partition(&self, partition: Partition, limit: u32) -> rusqlite::Result<JobOutput> {
        let mut statement = self
            .statement("SELECT oid, tid FROM obj WHERE partition = ? ORDER BY tid, oid LIMIT ?")?;
        let records: Vec<(i64, i64)> = statement
            .query_map((partition.0, limit), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for &(oid, tid) in &records {
            let data = self.delete_record(partition, oid, tid)?;
            self.prune(data)?;
        }
        let rest = self.column("SELECT oid FROM obj WHERE partition = ? LIMIT 1", [partition.0])?;
        let finished = rest.is_empty();
        if finished {
            self.delete_transactions_after(partition, -1)?;
        }
        let deleted = records.len() as u64;
        Ok(JobOutput::Progress { deleted, finished })
    }

    fn delete_transactions_after(&self, partition: Partition, tid: i64) -> rusqlite::Result<()> {
        let range = (partition.0, tid);
        let statement = "DELETE FROM pack WHERE tid IN (
            SELECT tid FROM trans WHERE partition = ? AND tid > ?)";
        self.execute(statement, range)?;
        self.execute("DELETE FROM trans WHERE partition = ? AND tid > ?", range)?;
        Ok(())
    }

    fn sign(&self, approved: &[Tid], rejected: &[Tid]) -> rusqlite::Result<JobOutput> {
        let mut known = Vec::new();
        for (tids, value) in [(approved, true), (rejected, false)] {
            for tid in tids {
                let Some(key) = key(tid.0) else { continue };
                let statement = "UPDATE pack SET approved = ? WHERE tid = ?";
                if self.execute(statement, (value, key))? > 0 {
                    known.push(*tid);
                }
            }
        }
        Ok(JobOutput::Signed { known })
    }

    fn truncate(&mut self) -> rusqlite::Result<()> {
        let Some(tid) = self.memory.truncate_tid.take() else {
            return Ok(());
        };
        let after = bound(tid.0);
        let rows = self.memory.rows.keys();
        let own: Vec<_> = rows
            .filter(|(_, nid)| Some(*nid) == self.memory.nid)
            .map(|(partition, _)| *partition)
            .collect();
        for partition in own {
            self.delete_transactions_after(partition, after)?;
            let statement = "DELETE FROM obj WHERE partition = ? AND tid > ? RETURNING data_id";
            let data = self.column(statement, (partition.0, after))?;
            self.prune(data.into_iter().map(DataId))?;
            self.set_own_cell(partition, |row| {
                if row.state == CellState::OutOfDate {
                    row.tid = row.tid.min(tid);
                }
            })?;
        }
        self.set("truncate_tid", None)
    }

    fn prune_orphans(&self, min: DataId, limit: u32, dry_run: bool) -> rusqlite::Result<JobOutput> {
        let statement = "SELECT id FROM data WHERE id >= ? ORDER BY id LIMIT ?";
        let ids = match key(min.0) {
            Some(key) => self.column(statement, (key, limit))?,
            None => Vec::new(),
        };
        let next = match ids.last() {
            _ if ids.len() < limit as usize => None,
            None => Some(min),
            Some(last) => Some(DataId(last + 1)),
        };
        let ids = ids.into_iter().map(DataId);
        let orphans = if dry_run { self.orphans(ids)?.len() as u64 } else { self.prune(ids)? };
        Ok(JobOutput::Pruned { orphans, next })
    }
}
