//! The tables as ordered maps.

use std::collections::{BTreeMap, BTreeSet};

use neo_core::database::cells::{Rows, partitions};
use neo_core::database::{Configuration, DataId, DataStatistics, TransactionInfo};
use neo_wire::{Oid, OidList, PackOrder, Partition, StoredData, Tid, Ttid};

use crate::StoreError;

/// Rows of `obj`, and of `tobj` with their partition beside.
#[derive(Clone, Copy)]
pub struct Record {
    pub data: Option<DataId>,
    pub value_tid: Option<Tid>,
}

/// A row of `ttrans`.
#[derive(Clone)]
pub struct Voted {
    pub partition: Partition,
    pub tid: Option<Tid>,
    /// It carries a pack order.
    pub pack: bool,
    /// Its `tid` is not looked at.
    pub info: TransactionInfo,
}

#[derive(Clone)]
pub struct DataRow {
    pub stored: StoredData,
    /// Rows of `obj` and `tobj` that refer to it, and whether it is spilled.
    pub references: u64,
}

#[derive(Clone, Default)]
pub struct State {
    pub configuration: Configuration,
    pub rows: Rows,
    pub transactions: BTreeMap<(Partition, Tid), TransactionInfo>,
    pub records: BTreeMap<(Partition, Oid, Tid), Record>,
    pub records_by_tid: BTreeSet<(Partition, Tid, Oid)>,
    pub data: BTreeMap<DataId, DataRow>,
    pub voted: BTreeMap<Ttid, Voted>,
    pub voted_records: BTreeMap<(Ttid, Oid), (Partition, Record)>,
    /// By the name given to it, until the transaction ends.
    pub spilled: BTreeMap<DataId, (Ttid, DataId)>,
    pub last_spilled: u64,
    pub packs: BTreeMap<Tid, PackOrder>,
    /// Orders executed here, or begun.
    pub begun_packs: BTreeMap<Tid, PackOrder>,
    pub erased: bool,
    /// Next `n` of data ids, for partitions that got one since the database was opened.
    next_data: BTreeMap<Partition, u64>,
}

impl State {
    pub fn open(&mut self) {
        if self.erased {
            *self = Self::default();
        }
        self.next_data.clear();
        self.last_spilled = 0;
        for (_, data) in std::mem::take(&mut self.spilled).into_values() {
            self.release(Some(data));
        }
    }

    pub const fn is_erased(&self) -> bool {
        self.erased
    }

    /// Number of partitions.
    pub fn partitions(&self) -> u32 {
        partitions(&self.rows)
    }

    pub fn own_partitions(&self) -> Vec<Partition> {
        let own = self.configuration.nid;
        self.rows
            .keys()
            .filter(|(_, nid)| Some(*nid) == own)
            .map(|(partition, _)| *partition)
            .collect()
    }

    pub fn record(&self, oid: Oid, tid: Tid) -> Option<Record> {
        self.records.get(&(oid.partition(self.partitions()), oid, tid)).copied()
    }

    pub fn add_data(&mut self, partition: Partition, stored: StoredData) -> DataId {
        let base = u64::from(partition.0) << 48;
        let next = self.next_data.entry(partition).or_insert_with(|| {
            let range = DataId(base)..DataId(base + (1 << 48));
            self.data.range(range).next_back().map_or(0, |(last, _)| last.0 - base + 1)
        });
        let id = DataId(base + *next);
        *next += 1;
        let references = 1;
        self.data.insert(id, DataRow { stored, references });
        id
    }

    pub fn hold(&mut self, data: Option<DataId>) -> Result<(), StoreError> {
        let Some(id) = data else { return Ok(()) };
        match self.data.get_mut(&id) {
            Some(row) => {
                row.references += 1;
                Ok(())
            }
            None => Err(StoreError::Inconsistent(format!("no data {id:?}"))),
        }
    }

    /// One reference less; the last one takes the row with it.
    pub fn release(&mut self, data: Option<DataId>) {
        let Some(id) = data else { return };
        if let Some(row) = self.data.get_mut(&id) {
            row.references -= 1;
            if row.references == 0 {
                self.data.remove(&id);
            }
        }
    }

    /// The record replaces one with the same key, if any; it owns a reference to its data.
    pub fn put_record(&mut self, partition: Partition, oid: Oid, tid: Tid, record: Record) {
        if let Some(old) = self.records.insert((partition, oid, tid), record) {
            self.release(old.data);
        }
        self.records_by_tid.insert((partition, tid, oid));
    }

    pub fn remove_record(&mut self, partition: Partition, oid: Oid, tid: Tid) -> bool {
        let old = self.records.remove(&(partition, oid, tid));
        self.records_by_tid.remove(&(partition, tid, oid));
        self.release(old.and_then(|record| record.data));
        old.is_some()
    }

    pub fn remove_transaction(&mut self, partition: Partition, tid: Tid) {
        if self.transactions.remove(&(partition, tid)).is_some() {
            self.packs.remove(&tid);
        }
    }

    pub fn statistics(&self) -> DataStatistics {
        DataStatistics {
            rows: self.data.len() as u64,
            bytes: self.data.values().map(|row| row.stored.data.len() as u64).sum(),
            orphans: self.data.values().filter(|row| row.references == 0).count() as u64,
        }
    }
}

/// Objects of a pack order, as they are given back.
pub fn oid_list(partial: bool, oids: Option<OidList>) -> Option<OidList> {
    oids.filter(|_| partial).map(|oids| OidList::List(oids.list()))
}
