//! Jobs of replication, deletion and packs.

use std::collections::BTreeSet;

use neo_core::database::{
    DataId, JobOutput, JobResult, RecordKey, Refusal, ReplicatedObject, ReplicatedTransaction,
    WriteJob,
};
use neo_wire::{CellState, Oid, PackOrder, Partition, Tid};

use super::state::{Record, State, oid_list};
use crate::StoreError;

impl State {
    pub fn background_job(&mut self, job: WriteJob) -> Result<JobResult, StoreError> {
        let output = match job {
            WriteJob::SetCellTid { partition, tid } => {
                self.set_cell_tid(partition, tid);
                JobOutput::Done
            }
            WriteJob::SetCellPack { partition, pack } => {
                self.set_own_cell(partition, |row| row.pack = Some(pack));
                JobOutput::Done
            }
            WriteJob::AddTransactions(rows) => {
                if self.partitions() == 0 {
                    return Ok(Err(Refusal::NoPartitionTable));
                }
                self.add_transactions(rows);
                JobOutput::Done
            }
            WriteJob::AddObjects(rows) => {
                if self.partitions() == 0 {
                    return Ok(Err(Refusal::NoPartitionTable));
                }
                self.add_objects(rows)?;
                JobOutput::Done
            }
            WriteJob::DeleteTransactions { partition, tids } => {
                for tid in tids {
                    self.remove_transaction(partition, tid);
                }
                JobOutput::Done
            }
            WriteJob::DeleteObjects { partition, records } => {
                for (tid, oid) in records {
                    self.remove_record(partition, oid, tid);
                }
                JobOutput::Done
            }
            WriteJob::DropPartition { partition, limit } => self.drop_partition(partition, limit),
            WriteJob::BeginPack(order) => {
                let oids = oid_list(order.partial, order.oids);
                if oids.is_none() {
                    let rows = self.rows.values();
                    let done: BTreeSet<Tid> = rows.filter_map(|row| row.pack).collect();
                    self.begun_packs
                        .retain(|tid, begun| begun.pack_tid > order.pack_tid || done.contains(tid));
                }
                self.begun_packs.insert(order.tid, PackOrder { oids, ..order });
                JobOutput::Done
            }
            WriteJob::PackObjects { partition, pack_tid, min, limit } => {
                let range = (partition, min.0, min.1)..=(partition, Oid::INVALID, Tid::INVALID);
                let keys = self.records.range(range).map(|(key, _)| (key.1, key.2)).collect();
                self.pack(partition, pack_tid, keys, limit)
            }
            WriteJob::PackList { partition, pack_tid, oids, min, limit } => {
                let oids: BTreeSet<Oid> = oids.into_iter().collect();
                let range = (partition, min.0, min.1)..=(partition, Oid::INVALID, Tid::INVALID);
                let keys = self.records.range(range).map(|(key, _)| (key.1, key.2));
                let keys = keys.filter(|key| oids.contains(&key.0)).collect();
                self.pack(partition, pack_tid, keys, limit)
            }
            WriteJob::SignPacks { approved, rejected } => self.sign(&approved, &rejected),
            WriteJob::Truncate => {
                self.truncate();
                JobOutput::Done
            }
            WriteJob::PruneOrphans { min, limit, dry_run } => {
                self.prune_orphans(min, limit, dry_run)
            }
            job => {
                let text = format!("not a job of the background: {job:?}");
                return Err(StoreError::Inconsistent(text));
            }
        };
        Ok(Ok(output))
    }

    fn add_transactions(&mut self, rows: Vec<ReplicatedTransaction>) {
        let partitions = self.partitions();
        for ReplicatedTransaction { transaction, pack } in rows {
            let tid = transaction.tid;
            if let Some(pack) = pack {
                let order = PackOrder {
                    tid,
                    approved: pack.approved,
                    partial: pack.partial,
                    oids: oid_list(pack.partial, pack.oids),
                    pack_tid: pack.pack_tid,
                };
                self.packs.insert(tid, order);
            }
            let key = (tid.partition(partitions), tid);
            self.transactions.insert(key, transaction);
        }
    }

    fn add_objects(&mut self, rows: Vec<ReplicatedObject>) -> Result<(), StoreError> {
        let partitions = self.partitions();
        for row in rows {
            let partition = row.oid.partition(partitions);
            let target = row.value_tid.and_then(|tid| self.record(row.oid, tid));
            let data = match (target, row.data) {
                (Some(record), _) => {
                    self.hold(record.data)?;
                    record.data
                }
                (None, data) => data.map(|data| self.add_data(partition, data)),
            };
            let value_tid = row.value_tid;
            let record = Record { data, value_tid };
            self.put_record(partition, row.oid, row.tid, record);
        }
        Ok(())
    }

    fn drop_partition(&mut self, partition: Partition, limit: u32) -> JobOutput {
        let range = (partition, Tid::ZERO, Oid::ZERO)..=(partition, Tid::INVALID, Oid::INVALID);
        let keys: Vec<_> = self.records_by_tid.range(range.clone()).copied().collect();
        let keys = keys.into_iter().take(limit as usize);
        let deleted =
            keys.filter(|(_, tid, oid)| self.remove_record(partition, *oid, *tid)).count() as u64;
        let finished = self.records_by_tid.range(range).next().is_none();
        if finished {
            self.remove_transactions_after(partition, None);
        }
        JobOutput::Progress { deleted, finished }
    }

    fn remove_transactions_after(&mut self, partition: Partition, tid: Option<Tid>) {
        let min = tid.map_or(Tid::ZERO, Tid::next);
        let range = (partition, min)..=(partition, Tid::INVALID);
        let tids: Vec<_> = self.transactions.range(range).map(|(key, _)| key.1).collect();
        for tid in tids {
            self.remove_transaction(partition, tid);
        }
    }

    /// Spec storage.md 15.1, for the first ones of these records.
    fn pack(
        &mut self,
        partition: Partition,
        pack_tid: Tid,
        keys: Vec<RecordKey>,
        limit: u32,
    ) -> JobOutput {
        let next = keys.get(limit as usize).copied();
        let mut deleted = 0;
        let mut gone = Vec::new();
        for (oid, tid) in keys.into_iter().take(limit as usize) {
            let range = (partition, oid, Tid::ZERO)..=(partition, oid, pack_tid);
            let last = self.records.range(range).next_back();
            let Some((last, exists)) = last.map(|(key, record)| (key.2, record.data.is_some()))
            else {
                continue;
            };
            if tid < last || tid == last && !exists {
                deleted += u64::from(self.remove_record(partition, oid, tid));
                let all = (partition, oid, Tid::ZERO)..=(partition, oid, Tid::INVALID);
                if self.records.range(all).next().is_none() {
                    gone.push(oid);
                }
            }
        }
        JobOutput::Packed { deleted, gone, next }
    }

    fn sign(&mut self, approved: &[Tid], rejected: &[Tid]) -> JobOutput {
        let mut known = Vec::new();
        for (tids, value) in [(approved, true), (rejected, false)] {
            for tid in tids {
                if let Some(order) = self.packs.get_mut(tid) {
                    order.approved = Some(value);
                    known.push(*tid);
                }
            }
        }
        JobOutput::Signed { known }
    }

    fn truncate(&mut self) {
        let Some(tid) = self.configuration.truncate_tid.take() else {
            return;
        };
        for partition in self.own_partitions() {
            self.remove_transactions_after(partition, Some(tid));
            let range =
                (partition, tid.next(), Oid::ZERO)..=(partition, Tid::INVALID, Oid::INVALID);
            let keys: Vec<_> = self.records_by_tid.range(range).copied().collect();
            for (_, tid, oid) in keys {
                self.remove_record(partition, oid, tid);
            }
            self.set_own_cell(partition, |row| {
                if row.state == CellState::OutOfDate {
                    row.tid = row.tid.min(tid);
                }
            });
        }
    }

    fn prune_orphans(&mut self, min: DataId, limit: u32, dry_run: bool) -> JobOutput {
        let ids: Vec<_> = self
            .data
            .range(min..)
            .take(limit as usize)
            .map(|(id, row)| (*id, row.references))
            .collect();
        let next = match ids.last() {
            _ if ids.len() < limit as usize => None,
            None => Some(min),
            Some((last, _)) => Some(DataId(last.0 + 1)),
        };
        let orphans = ids.iter().filter(|(_, references)| *references == 0);
        let orphans =
            orphans.filter(|(id, _)| dry_run || self.data.remove(id).is_some()).count() as u64;
        JobOutput::Pruned { orphans, next }
    }
}
