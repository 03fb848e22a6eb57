//! What a database holds, in rows of the specification's tables (spec storage.md 4).

use bytes::Bytes;
use neo_wire::{NodeId, Oid, PackRecord, PackRequest, Ptid, StoredData, Tid, Ttid};

/// The greatest identifier a database can hold, 2^63 − 1 (spec storage.md 4).
pub const MAX_ID: u64 = Tid::MAX.0;
/// OIDs per transaction, and per pack order (spec storage.md 6.2).
pub const MAX_OIDS: usize = (1 << 21) - 1;
/// Bytes of each of user, description and extension (spec storage.md 6.2).
pub const MAX_METADATA_BYTES: usize = 65_535;
/// Partitions of a database: data ids are (partition << 48) + n (spec storage.md 5.4).
pub const MAX_PARTITIONS: u32 = 32_768;

/// A row of `data` (spec storage.md 7.3), or the name of data that was spilled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DataId(pub u64);

/// The contents that come with a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// No data: a deletion, or an undo whose target says it all.
    Nothing,
    /// Bytes as received.
    Data(StoredData),
    /// Written before the vote by [`super::WriteJob::Spill`].
    Spilled(DataId),
}

/// One object of a vote (spec storage.md 7.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredObject {
    /// Which.
    pub oid: Oid,
    /// What the client sent.
    pub payload: Payload,
    /// For an undo, the revision it goes back to: its row of `data` is used if the record is
    /// there, and `payload` is used else.
    pub value_tid: Option<Tid>,
    /// The cell is readable, hence the vote is refused if the record of `value_tid` is not there.
    pub value_required: bool,
}

/// Metadata of a transaction, as a client sends it with AskStoreTransaction.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TransactionMetadata {
    /// Opaque.
    pub user: Bytes,
    /// Opaque.
    pub description: Bytes,
    /// Opaque.
    pub extension: Bytes,
    /// In the order sent by the client, including those only checked.
    pub oids: Vec<Oid>,
    /// The pack order that the transaction carries.
    pub pack: Option<PackRequest>,
}

/// A vote (spec storage.md 11.6). A second vote of the same transaction replaces the first one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vote {
    /// The transaction.
    pub ttid: Ttid,
    /// Its objects in cells of this node.
    pub objects: Vec<StoredObject>,
    /// Given on the nodes that have the cell of the TTID.
    pub transaction: Option<TransactionMetadata>,
}

/// A committed transaction (AskTransactionInformation, AddTransaction).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransactionInfo {
    /// Its TID.
    pub tid: Tid,
    /// Its TTID.
    pub ttid: Ttid,
    /// Status flag of imported transactions.
    pub packed: bool,
    /// Opaque.
    pub user: Bytes,
    /// Opaque.
    pub description: Bytes,
    /// Opaque.
    pub extension: Bytes,
    /// In the order sent by the client.
    pub oids: Vec<Oid>,
}

/// A transaction received by replication (AddTransaction).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicatedTransaction {
    /// The row of `trans`.
    pub transaction: TransactionInfo,
    /// The row of `pack` with the same TID.
    pub pack: Option<PackRecord>,
}

/// A record received by replication (AddObject).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicatedObject {
    /// Which object.
    pub oid: Oid,
    /// Which revision.
    pub tid: Tid,
    /// Contents; none if the object does not exist from this TID.
    pub data: Option<StoredData>,
    /// Kept as it is; the record it points to gives the contents if it is there.
    pub value_tid: Option<Tid>,
}

/// One revision of an object (AnswerObject).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectRevision {
    /// Which revision.
    pub tid: Tid,
    /// The revision that follows, if any.
    pub next_tid: Option<Tid>,
    /// Contents; none if the object does not exist from this TID.
    pub data: Option<StoredData>,
    /// For an undo, a previous revision with the same contents.
    pub value_tid: Option<Tid>,
}

/// The settings of a database (spec storage.md 4.1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Configuration {
    /// Cluster name.
    pub name: Option<String>,
    /// Own identifier, none until the first identification.
    pub nid: Option<NodeId>,
    /// Version of the partition table, none until one is received.
    pub ptid: Option<Ptid>,
    /// Copies − 1.
    pub replicas: Option<u32>,
    /// Backup mode, zero included.
    pub backup_tid: Option<Tid>,
    /// A truncation decided and not done yet, zero included.
    pub truncate_tid: Option<Tid>,
}

/// Last and first identifiers of a set of cells (spec storage.md 3.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastIds {
    /// Of `trans` and `obj`.
    pub last_tid: Option<Tid>,
    /// Of `obj`.
    pub last_oid: Option<Oid>,
    /// Of `trans`; [`Tid::MAX`] if there is none.
    pub first_tid: Tid,
}

/// What the rows of `data` amount to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DataStatistics {
    /// All rows.
    pub rows: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Rows that no record, vote or spilled store refers to.
    pub orphans: u64,
}
