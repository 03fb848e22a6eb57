//! Reads of the model.

use std::collections::BTreeMap;
use std::sync::MutexGuard;

use neo_core::database::{
    CellRow, Configuration, DataId, DataStatistics, LastIds, LastTids, Loaded, ObjectRevision,
    OidsFrom, Revision, TransactionInfo,
};
use neo_wire::{Oid, PackOrder, Partition, StoredData, Tid, Ttid};

use super::state::State;
use super::{Disk, MemoryDisk};
use crate::{Reader, StoreError};

pub struct MemoryReader {
    pub disk: MemoryDisk,
}

impl MemoryReader {
    fn disk(&self) -> Result<MutexGuard<'_, Disk>, StoreError> {
        let mut disk = self.disk.lock();
        if let Some(failure) = disk.read_fault.take() {
            let what = "read";
            return Err(StoreError::Failed { what, failure });
        }
        if disk.current.is_erased() {
            return Err(StoreError::Erased);
        }
        Ok(disk)
    }
}

/// As many items as memory can count.
fn count(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

impl State {
    pub fn last_tids(&self, partition: Partition) -> LastTids {
        let transactions = (partition, Tid::ZERO)..=(partition, Tid::INVALID);
        let objects = (partition, Tid::ZERO, Oid::ZERO)..=(partition, Tid::INVALID, Oid::INVALID);
        LastTids {
            transactions: self.transactions.range(transactions).map(|(key, _)| key.1).next_back(),
            objects: self.records_by_tid.range(objects).map(|key| key.1).next_back(),
        }
    }

    fn of_object(&self, oid: Oid) -> impl DoubleEndedIterator<Item = (Tid, super::state::Record)> {
        let partition = oid.partition(self.partitions());
        self.records
            .range((partition, oid, Tid::ZERO)..=(partition, oid, Tid::INVALID))
            .map(|(key, record)| (key.2, *record))
    }

    fn load(&self, oid: Oid, revision: Revision) -> Loaded {
        let mut records = self.of_object(oid);
        let found = match revision {
            Revision::Last => records.next_back(),
            Revision::At(tid) => records.find(|(found, _)| *found == tid),
            Revision::Before(tid) => records.rfind(|(found, _)| *found < tid),
        };
        let Some((tid, record)) = found else {
            return match self.of_object(oid).next() {
                Some(_) => Loaded::NoRevision,
                None => Loaded::NoObject,
            };
        };
        Loaded::Found(ObjectRevision {
            tid,
            next_tid: self.of_object(oid).map(|(next, _)| next).find(|next| *next > tid),
            data: record.data.and_then(|id| self.data.get(&id)).map(|row| row.stored.clone()),
            value_tid: record.value_tid,
        })
    }

    fn oids_from(&self, partition: Partition, min_oid: Oid, length: usize, tid: Tid) -> OidsFrom {
        let mut last = BTreeMap::new();
        let range = (partition, min_oid, Tid::ZERO)..=(partition, Oid::INVALID, Tid::INVALID);
        for (&(_, oid, found), record) in self.records.range(range) {
            if found <= tid {
                last.insert(oid, record.data.is_some());
            }
            if last.len() > length {
                break;
            }
        }
        let considered: Vec<_> = last.into_iter().take(length).collect();
        let next = match considered.last() {
            _ if considered.len() < length => None,
            None => Some(min_oid),
            Some((oid, _)) => Some(Oid(oid.0 + u64::from(self.partitions()))),
        };
        let oids = considered.into_iter().filter(|(_, exists)| *exists);
        OidsFrom { next, oids: oids.map(|(oid, _)| oid).collect() }
    }
}

impl Reader for MemoryReader {
    fn configuration(&self) -> Result<Configuration, StoreError> {
        Ok(self.disk()?.current.configuration.clone())
    }

    fn table(&self) -> Result<Vec<CellRow>, StoreError> {
        Ok(self.disk()?.current.rows.values().copied().collect())
    }

    fn last_ids(&self, partitions: &[Partition]) -> Result<LastIds, StoreError> {
        let disk = self.disk()?;
        let state = &disk.current;
        let mut ids = LastIds { last_tid: None, last_oid: None, first_tid: Tid::MAX };
        for &partition in partitions {
            let last = state.last_tids(partition);
            ids.last_tid = ids.last_tid.max(last.transactions).max(last.objects);
            let range = (partition, Oid::ZERO, Tid::ZERO)..=(partition, Oid::INVALID, Tid::INVALID);
            let oid = state.records.range(range).map(|(key, _)| key.1).next_back();
            ids.last_oid = ids.last_oid.max(oid);
            let range = (partition, Tid::ZERO)..=(partition, Tid::INVALID);
            if let Some((key, _)) = state.transactions.range(range).next() {
                ids.first_tid = ids.first_tid.min(key.1);
            }
        }
        Ok(ids)
    }

    fn last_tids(&self, partition: Partition) -> Result<LastTids, StoreError> {
        Ok(self.disk()?.current.last_tids(partition))
    }

    fn unfinished(&self) -> Result<BTreeMap<Ttid, Option<Tid>>, StoreError> {
        let disk = self.disk()?;
        let state = &disk.current;
        let mut unfinished: BTreeMap<_, _> =
            state.voted_records.keys().map(|key| (key.0, None)).collect();
        unfinished.extend(state.voted.iter().map(|(ttid, voted)| (*ttid, voted.tid)));
        Ok(unfinished)
    }

    fn final_tid(&self, ttid: Ttid) -> Result<Option<Tid>, StoreError> {
        let disk = self.disk()?;
        let partition = ttid.partition(disk.current.partitions());
        let range = (partition, ttid.as_tid())..=(partition, Tid::INVALID);
        let mut rows = disk.current.transactions.range(range);
        Ok(rows.find(|(_, row)| row.ttid == ttid).map(|(key, _)| key.1))
    }

    fn load(&self, oid: Oid, revision: Revision) -> Result<Loaded, StoreError> {
        Ok(self.disk()?.current.load(oid, revision))
    }

    fn last_serial(&self, oid: Oid) -> Result<Option<Tid>, StoreError> {
        let disk = self.disk()?;
        let last = disk.current.of_object(oid).next_back();
        Ok(last.map(|(tid, _)| tid))
    }

    fn has_record(&self, oid: Oid, tid: Tid) -> Result<bool, StoreError> {
        Ok(self.disk()?.current.record(oid, tid).is_some())
    }

    fn revisions(&self, oid: Oid) -> Result<Vec<(Tid, Option<Tid>)>, StoreError> {
        let disk = self.disk()?;
        let records = disk.current.of_object(oid);
        Ok(records.map(|(tid, record)| (tid, record.value_tid)).collect())
    }

    fn pack_tid(&self, oid: Oid) -> Result<Tid, StoreError> {
        let disk = self.disk()?;
        let state = &disk.current;
        let partition = oid.partition(state.partitions());
        let packed = state.configuration.nid.and_then(|nid| state.rows.get(&(partition, nid)));
        let packed = packed.and_then(|row| row.pack);
        let done = state.packs.values().filter(|order| {
            order.approved == Some(true) && packed.is_some_and(|packed| order.tid <= packed)
        });
        let orders = state.begun_packs.values().chain(done);
        let concerned =
            orders.filter(|order| order.oids.clone().is_none_or(|oids| oids.list().contains(&oid)));
        // It may be stored elsewhere, and executed by the Python NEO: nothing is known of it then.
        let is_known = |tid: &Tid| {
            state.begun_packs.contains_key(tid)
                || state.packs.get(tid).is_some_and(|order| order.approved == Some(true))
        };
        let unknown = packed.filter(|packed| !is_known(packed));
        Ok(concerned.map(|order| order.pack_tid).chain(unknown).max().unwrap_or(Tid::ZERO))
    }

    fn spilled(&self, data: DataId) -> Result<Option<StoredData>, StoreError> {
        let disk = self.disk()?;
        let state = &disk.current;
        let row = state.spilled.get(&data).and_then(|(_, id)| state.data.get(id));
        Ok(row.map(|row| row.stored.clone()))
    }

    fn transaction(&self, tid: Tid) -> Result<Option<TransactionInfo>, StoreError> {
        let disk = self.disk()?;
        let key = (tid.partition(disk.current.partitions()), tid);
        Ok(disk.current.transactions.get(&key).cloned())
    }

    fn history(&self, oid: Oid, offset: u64, length: u64) -> Result<Vec<(Tid, u64)>, StoreError> {
        let disk = self.disk()?;
        let state = &disk.current;
        let size = |data: Option<DataId>| {
            data.and_then(|id| state.data.get(&id)).map_or(0, |row| row.stored.data.len() as u64)
        };
        Ok(state
            .of_object(oid)
            .rev()
            .skip(count(offset))
            .take(count(length))
            .map(|(tid, record)| (tid, size(record.data)))
            .collect())
    }

    fn tids(
        &self,
        partitions: &[Partition],
        offset: u64,
        length: u64,
    ) -> Result<Vec<Tid>, StoreError> {
        let disk = self.disk()?;
        let keys = disk.current.transactions.keys();
        let mut tids: Vec<_> = keys
            .filter(|(partition, _)| partitions.contains(partition))
            .map(|(_, tid)| *tid)
            .collect();
        tids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(tids.into_iter().skip(count(offset)).take(count(length)).collect())
    }

    fn tids_from(
        &self,
        partition: Partition,
        min: Tid,
        max: Tid,
        length: u64,
    ) -> Result<Vec<Tid>, StoreError> {
        let disk = self.disk()?;
        if min > max {
            return Ok(Vec::new());
        }
        let rows = disk.current.transactions.range((partition, min)..=(partition, max));
        Ok(rows.map(|(key, _)| key.1).take(count(length)).collect())
    }

    fn oids_from(
        &self,
        partition: Partition,
        min_oid: Oid,
        length: u64,
        tid: Tid,
    ) -> Result<OidsFrom, StoreError> {
        let disk = self.disk()?;
        Ok(disk.current.oids_from(partition, min_oid, count(length), tid))
    }

    fn records_from(
        &self,
        partition: Partition,
        min: (Tid, Oid),
        max_tid: Tid,
        length: u64,
    ) -> Result<Vec<(Tid, Oid)>, StoreError> {
        let disk = self.disk()?;
        if min.0 > max_tid {
            return Ok(Vec::new());
        }
        let range = (partition, min.0, min.1)..=(partition, max_tid, Oid::INVALID);
        let records = disk.current.records_by_tid.range(range);
        Ok(records.map(|key| (key.1, key.2)).take(count(length)).collect())
    }

    fn pack_orders(
        &self,
        min: Tid,
        partitions: &[Partition],
    ) -> Result<Vec<PackOrder>, StoreError> {
        let disk = self.disk()?;
        let count = disk.current.partitions();
        let orders = disk.current.packs.range(min..);
        Ok(orders
            .filter(|(tid, _)| partitions.contains(&tid.partition(count)))
            .filter(|(tid, _)| {
                disk.current.transactions.contains_key(&(tid.partition(count), **tid))
            })
            .map(|(_, order)| order.clone())
            .collect())
    }

    fn data_statistics(&self) -> Result<DataStatistics, StoreError> {
        Ok(self.disk()?.current.statistics())
    }
}
