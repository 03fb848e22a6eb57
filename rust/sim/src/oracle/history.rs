//! What the databases hold at rest, and that they agree.
//!
//! Replicas are equal at rest: a read may go to any of them. The rules of the partition table hold:
//! every partition has a readable cell, and all nodes have the same table.

use std::collections::BTreeMap;

use neo_store::database::{CellRow, Loaded, Revision};
use neo_store::{Reader, StoreError};
use neo_wire::{NodeId, Oid, PackOrder, Partition, Tid};

use super::journal::{Journal, Value, Written};
use crate::hosts::client::record::Record;

/// A committed transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    /// Its label, from its metadata.
    pub label: u64,
    /// Its objects, according to its metadata: those that were checked are there too.
    pub oids: Vec<Oid>,
}

/// A revision of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// Contents; none if the object does not exist from there on.
    pub record: Option<Record>,
    /// Of an undo, the revision with the same contents.
    pub value_tid: Option<Tid>,
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// Revisions of every object.
    pub objects: BTreeMap<Oid, BTreeMap<Tid, Stored>>,
    /// Every transaction.
    pub transactions: BTreeMap<Tid, Committed>,
    /// Approved pack orders.
    packs: Vec<PackOrder>,
    /// What transactions that are there were to write, packed revisions included.
    pub chains: BTreeMap<Oid, BTreeMap<Tid, Written>>,
}

/// A storage, by name.
pub type Replica<'a> = (String, &'a dyn Reader);

impl History {
    /// A revision.
    #[must_use]
    pub fn revision(&self, oid: Oid, tid: Tid) -> Option<&Stored> {
        self.objects.get(&oid)?.get(&tid)
    }

    /// The last revision before a TID.
    #[must_use]
    pub fn before(&self, oid: Oid, tid: Tid) -> Option<(Tid, &Stored)> {
        let (serial, stored) = self.objects.get(&oid)?.range(..tid).next_back()?;
        Some((*serial, stored))
    }

    /// The revision that follows another one.
    #[must_use]
    pub fn after(&self, oid: Oid, tid: Tid) -> Option<Tid> {
        let (serial, _) = self.objects.get(&oid)?.range(tid.next()..).next()?;
        Some(*serial)
    }

    /// What the transaction of this TID was to make of an object.
    #[must_use]
    pub fn written(&self, oid: Oid, tid: Tid) -> Option<Written> {
        self.chains.get(&oid)?.get(&tid).copied()
    }

    /// Finds out what transactions were to write.
    pub fn link(&mut self, journal: &Journal) {
        for (tid, transaction) in &self.transactions {
            for (oid, written) in journal.attempt(transaction.label).iter().flat_map(|x| &x.writes)
            {
                self.chains.entry(*oid).or_default().insert(*tid, *written);
            }
        }
    }

    /// Up to where the history of an object is packed; zero if it is not.
    #[must_use]
    pub fn floor(&self, oid: Oid) -> Tid {
        let concerns =
            |order: &&PackOrder| order.oids.clone().is_none_or(|oids| oids.list().contains(&oid));
        let tids = self.packs.iter().filter(concerns).map(|order| order.pack_tid);
        tids.max().unwrap_or_default()
    }

    /// Up to where the history of any object is packed.
    #[must_use]
    pub fn highest_floor(&self) -> Tid {
        self.packs.iter().map(|order| order.pack_tid).max().unwrap_or_default()
    }

    /// Whether the object exists from a revision on.
    #[must_use]
    pub fn exists(&self, oid: Oid, tid: Tid) -> bool {
        match self.written(oid, tid).map(|written| written.value) {
            Some(Value::Own) => true,
            Some(Value::Copy(original)) => original < tid && self.exists(oid, original),
            Some(Value::Nothing) | None => false,
        }
    }

    /// Whether packs leave this revision.
    #[must_use]
    pub fn is_kept(&self, oid: Oid, tid: Tid) -> bool {
        let floor = self.floor(oid);
        let chain = self.chains.get(&oid);
        let newest = chain.and_then(|chain| chain.range(..=floor).next_back());
        tid > floor || newest.is_some_and(|(last, _)| *last == tid) && self.exists(oid, tid)
    }

    /// Reads everything from the readable cells.
    ///
    /// # Errors
    /// What does not agree.
    pub fn collect(replicas: &[Replica<'_>]) -> Result<Self, String> {
        let (table, by_nid) = table(replicas)?;
        let mut history = Self::default();
        let mut rows: BTreeMap<Partition, Vec<&CellRow>> = BTreeMap::new();
        for row in &table {
            rows.entry(row.partition).or_default().push(row);
        }
        for (partition, cells) in rows {
            let mut first: Option<(Self, &str)> = None;
            for cell in cells.into_iter().filter(|cell| cell.state.is_readable()) {
                let (name, reader) = by_nid
                    .get(&cell.nid)
                    .ok_or_else(|| format!("{} is in the table and nowhere else", cell.nid))?;
                let part = Self::read(*reader, partition).map_err(|error| error.to_string())??;
                let orders = reader.pack_orders(Tid::ZERO, &[partition]);
                let orders = orders.map_err(|error| error.to_string())?;
                history.packs.extend(orders.into_iter().filter(|x| x.approved == Some(true)));
                match &first {
                    None => first = Some((part, name)),
                    Some((other, _)) if *other == part => {}
                    Some((other, first)) => {
                        let difference = difference(other, &part);
                        let text = format!("{partition:?}: {first} and {name}: {difference}");
                        return Err(text);
                    }
                }
            }
            let Some((part, _)) = first else {
                return Err(format!("{partition:?} has no readable cell"));
            };
            history.objects.extend(part.objects);
            history.transactions.extend(part.transactions);
        }
        Ok(history)
    }

    /// One partition of one storage.
    fn read(reader: &dyn Reader, partition: Partition) -> Result<Result<Self, String>, StoreError> {
        let mut history = Self::default();
        let all = u64::MAX;
        for (tid, oid) in reader.records_from(partition, (Tid::ZERO, Oid::ZERO), Tid::MAX, all)? {
            let Loaded::Found(revision) = reader.load(oid, Revision::At(tid))? else {
                return Ok(Err(format!("{oid} at {tid} is listed and not found")));
            };
            let value_tid = revision.value_tid;
            let record = match &revision.data {
                Some(data) => match Record::decode(&data.data).filter(|record| record.oid == oid) {
                    Some(record) => Some(record),
                    None => return Ok(Err(format!("{oid} at {tid} holds something else"))),
                },
                None => None,
            };
            let stored = Stored { record, value_tid };
            history.objects.entry(oid).or_default().insert(tid, stored);
        }
        for tid in reader.tids_from(partition, Tid::ZERO, Tid::MAX, all)? {
            let Some(transaction) = reader.transaction(tid)? else {
                return Ok(Err(format!("{tid} is listed and not found")));
            };
            let Ok(label) = <[u8; 8]>::try_from(&*transaction.description) else {
                return Ok(Err(format!("the metadata of {tid} is something else")));
            };
            let label = u64::from_be_bytes(label);
            history.transactions.insert(tid, Committed { label, oids: transaction.oids });
        }
        Ok(Ok(history))
    }
}

type Readers<'a> = BTreeMap<NodeId, (String, &'a dyn Reader)>;

/// The table on which all storages agree.
fn table<'a>(replicas: &[Replica<'a>]) -> Result<(Vec<CellRow>, Readers<'a>), String> {
    let mut by_nid = BTreeMap::new();
    let mut tables = Vec::new();
    for (name, reader) in replicas {
        let settings = reader.configuration().map_err(|error| error.to_string())?;
        let nid = settings.nid.ok_or_else(|| format!("{name} has no NID"))?;
        let rows = reader.table().map_err(|error| error.to_string())?;
        tables.push((settings.ptid, rows, name));
        if by_nid.insert(nid, (name.clone(), *reader)).is_some() {
            return Err(format!("two storages are {nid}"));
        }
    }
    tables.sort_by_key(|(ptid, ..)| *ptid);
    let Some((last_ptid, table, last)) = tables.pop() else {
        return Err("there is no storage".into());
    };
    let cells = |rows: &[CellRow]| -> Vec<_> {
        rows.iter().map(|row| (row.partition, row.nid, row.state)).collect()
    };
    for (ptid, rows, name) in &tables {
        if *ptid != last_ptid || cells(rows) != cells(&table) {
            return Err(format!(
                "{name} has table {ptid:?} {:?}, {last} has {last_ptid:?} {:?}",
                cells(rows),
                cells(&table)
            ));
        }
    }
    Ok((table, by_nid))
}

fn difference(one: &History, other: &History) -> String {
    for (oid, revisions) in &one.objects {
        if other.objects.get(oid) != Some(revisions) {
            let empty = BTreeMap::new();
            let theirs = other.objects.get(oid).unwrap_or(&empty);
            let here = revisions.keys().find(|tid| !theirs.contains_key(tid));
            let there = theirs.keys().find(|tid| !revisions.contains_key(tid));
            return format!("{oid} differs: {here:?} only on one, {there:?} only on the other");
        }
    }
    let here = one.transactions.keys().find(|tid| !other.transactions.contains_key(tid));
    let there = other.transactions.keys().find(|tid| !one.transactions.contains_key(tid));
    format!("transactions differ: {here:?} only on one, {there:?} only on the other")
}
