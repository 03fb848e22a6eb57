//! Reads (spec storage.md 12 and what recovery, verification and replication need).

use std::collections::BTreeMap;

use neo_wire::{Oid, PackOrder, Partition, StoredData, Tid, Ttid};

use super::cells::CellRow;
use super::model::{
    Configuration, DataId, DataStatistics, LastIds, ObjectRevision, TransactionInfo,
};

/// Which revision of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Revision {
    /// The last one.
    Last,
    /// Exactly this one.
    At(Tid),
    /// The greatest one strictly lower.
    Before(Tid),
}

/// What AskObject finds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Loaded {
    /// A record.
    Found(ObjectRevision),
    /// The object has records, not this one: OID_NOT_FOUND.
    NoRevision,
    /// The object has no record at all: OID_DOES_NOT_EXIST.
    NoObject,
}

/// What AskOIDsFrom finds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OidsFrom {
    /// Where to continue; none at the end.
    pub next: Option<Oid>,
    /// Objects that exist.
    pub oids: Vec<Oid>,
}

/// Greatest TIDs of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LastTids {
    /// Of `trans`.
    pub transactions: Option<Tid>,
    /// Of `obj`.
    pub objects: Option<Tid>,
}

/// One read. It sees everything that was committed before it is carried out, and nothing else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Query {
    /// [`Answer::Configuration`].
    Configuration,
    /// [`Answer::Table`].
    Table,
    /// [`Answer::LastIds`] of these cells (spec storage.md 3.3).
    LastIds(Vec<Partition>),
    /// [`Answer::LastTids`] of one cell.
    LastTids(Partition),
    /// [`Answer::Unfinished`] (AskLockedTransactions).
    Unfinished,
    /// [`Answer::FinalTid`] of a committed transaction.
    FinalTid(Ttid),
    /// [`Answer::Loaded`].
    Load {
        /// The object.
        oid: Oid,
        /// The revision.
        revision: Revision,
    },
    /// [`Answer::LastSerial`]: what stores and checks are compared with.
    LastSerial(Oid),
    /// [`Answer::HasRecord`]: what an undo is checked with.
    HasRecord {
        /// The object.
        oid: Oid,
        /// The revision.
        tid: Tid,
    },
    /// [`Answer::Revisions`]: what AskObjectUndoSerial is computed from.
    Revisions(Oid),
    /// [`Answer::PackTid`] of an object.
    PackTid(Oid),
    /// [`Answer::Spilled`].
    Spilled(DataId),
    /// [`Answer::Transaction`].
    Transaction(Tid),
    /// [`Answer::History`].
    History {
        /// The object.
        oid: Oid,
        /// Revisions to skip, from the last one.
        offset: u64,
        /// Revisions at most.
        length: u64,
    },
    /// [`Answer::Tids`], descending.
    Tids {
        /// Readable cells to look at.
        partitions: Vec<Partition>,
        /// TIDs to skip.
        offset: u64,
        /// TIDs at most.
        length: u64,
    },
    /// [`Answer::Tids`], ascending.
    TidsFrom {
        /// Where.
        partition: Partition,
        /// Included.
        min: Tid,
        /// Included.
        max: Tid,
        /// TIDs at most.
        length: u64,
    },
    /// [`Answer::OidsFrom`].
    OidsFrom {
        /// Where.
        partition: Partition,
        /// Included.
        min_oid: Oid,
        /// Objects looked at, at most.
        length: u64,
        /// Snapshot, included.
        tid: Tid,
    },
    /// [`Answer::Records`]: keys of records from (`min_tid`, `min_oid`), ascending.
    RecordsFrom {
        /// Where.
        partition: Partition,
        /// Included.
        min_tid: Tid,
        /// Included, at `min_tid` only.
        min_oid: Oid,
        /// Included.
        max_tid: Tid,
        /// Records at most.
        length: u64,
    },
    /// [`Answer::PackOrders`] of these cells, ascending. Those without transaction do not exist
    /// (spec storage.md 15.8).
    PackOrders {
        /// Included.
        min: Tid,
        /// Readable cells.
        partitions: Vec<Partition>,
    },
    /// [`Answer::DataStatistics`]. Slow: it reads all rows of `data`.
    DataStatistics,
}

/// The answer to a [`Query`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Settings.
    Configuration(Configuration),
    /// Rows of the partition table, by partition then node.
    Table(Vec<CellRow>),
    /// Identifiers.
    LastIds(LastIds),
    /// Identifiers.
    LastTids(LastTids),
    /// Voted transactions, with their TID if they are locked.
    Unfinished(BTreeMap<Ttid, Option<Tid>>),
    /// None if it is not committed here.
    FinalTid(Option<Tid>),
    /// A revision, or why there is none.
    Loaded(Loaded),
    /// None if the object has no record.
    LastSerial(Option<Tid>),
    /// Whether there is one.
    HasRecord(bool),
    /// TIDs with their `value_tid`, ascending.
    Revisions(Vec<(Tid, Option<Tid>)>),
    /// None if it is not there.
    Spilled(Option<StoredData>),
    /// None if it is not there.
    Transaction(Option<TransactionInfo>),
    /// TIDs with the length of the stored value (0 without data), descending.
    History(Vec<(Tid, u64)>),
    /// TIDs.
    Tids(Vec<Tid>),
    /// Objects.
    OidsFrom(OidsFrom),
    /// (TID, OID) of records.
    Records(Vec<(Tid, Oid)>),
    /// Records at or before it may have been packed; zero if none.
    PackTid(Tid),
    /// Pack orders.
    PackOrders(Vec<PackOrder>),
    /// Of all rows of `data`.
    DataStatistics(DataStatistics),
}
