//! Writes (spec storage.md 9-11, 13-16).

use neo_wire::{NodeId, Oid, PackOrder, Partition, StoredData, Tid, Ttid};

use super::cells::{CellRow, TableChange};
use super::model::{
    DataId, MAX_ID, MAX_METADATA_BYTES, MAX_OIDS, MAX_PARTITIONS, Payload, ReplicatedObject,
    ReplicatedTransaction, Vote,
};

/// A record of a cell, by OID then TID.
pub type RecordKey = (Oid, Tid);

/// One write. Jobs are carried out in the order they were given, and those of one ticket are in
/// the same commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WriteJob {
    /// Records the cluster name.
    SetName(String),
    /// Records the own identifier; own rows of the partition table follow (spec storage.md 9.5).
    SetNodeId(NodeId),
    /// Enters, moves in, or leaves backup mode.
    SetBackupTid(Option<Tid>),
    /// Decides a truncation: leaves backup mode too (spec storage.md 16.1, 1).
    DecideTruncation(Tid),
    /// A new partition table, or changes of it (spec storage.md 9.3, 9.4).
    /// Answer: [`JobOutput::OwnCells`].
    ChangeTable(TableChange),
    /// Progress of an own OUT_OF_DATE cell: complete up to this TID. No effect on other cells.
    SetCellTid {
        /// The cell.
        partition: Partition,
        /// Included.
        tid: Tid,
    },
    /// Last pack order completed on an own cell.
    SetCellPack {
        /// The cell.
        partition: Partition,
        /// The order.
        pack: Tid,
    },
    /// Writes data of a transaction that is too big to stay in memory until its vote.
    /// Answer: [`JobOutput::Spilled`].
    Spill {
        /// The transaction: an abort, or the next start of operation, frees the data.
        ttid: Ttid,
        /// The object: its partition decides the place.
        oid: Oid,
        /// The data.
        data: StoredData,
    },
    /// Frees spilled data whose store was replaced. Unknown ones are ignored.
    ReleaseSpilled(Vec<DataId>),
    /// A vote.
    Vote(Vote),
    /// Gives its TID to a voted transaction (AskLockInformation on a node with the metadata).
    Lock {
        /// The transaction.
        ttid: Ttid,
        /// Its final TID.
        tid: Tid,
        /// Approve the pack order that it carries.
        approve_pack: bool,
    },
    /// Moves a voted transaction to its final place. One that is not there is ignored.
    Unlock {
        /// The transaction.
        ttid: Ttid,
        /// Its final TID.
        tid: Tid,
    },
    /// Forgets a transaction that is not locked, its pack order and its data.
    /// One that is not there is ignored.
    Abort {
        /// The transaction.
        ttid: Ttid,
    },
    /// Verification found that it is committed: lock and unlock (spec storage.md 10.4).
    Validate {
        /// The transaction.
        ttid: Ttid,
        /// Its final TID.
        tid: Tid,
    },
    /// Forgets what is unfinished in cells that were discarded (spec storage.md 11.9).
    DiscardUnfinished(Vec<Partition>),
    /// Start of operation: forgets everything unfinished, and pack orders without transaction
    /// (spec storage.md 3.3, 15.8).
    DropUnfinished,
    /// Transactions received by replication.
    AddTransactions(Vec<ReplicatedTransaction>),
    /// Records received by replication.
    AddObjects(Vec<ReplicatedObject>),
    /// Deletes transactions with their pack orders.
    DeleteTransactions {
        /// Where.
        partition: Partition,
        /// Which.
        tids: Vec<Tid>,
    },
    /// Deletes records and prunes their data.
    DeleteObjects {
        /// Where.
        partition: Partition,
        /// Which.
        records: Vec<(Tid, Oid)>,
    },
    /// One slice of the deletion of a partition (spec storage.md 14).
    /// Answer: [`JobOutput::Progress`].
    DropPartition {
        /// Which.
        partition: Partition,
        /// Records to delete at most.
        limit: u32,
    },
    /// Remembers an order before anything of it is executed, for [`super::Query::PackTid`].
    BeginPack(PackOrder),
    /// One slice of a pack (spec storage.md 15.1). Answer: [`JobOutput::Packed`].
    PackObjects {
        /// The cell.
        partition: Partition,
        /// History at or before it is packed.
        pack_tid: Tid,
        /// First record of the slice.
        min: RecordKey,
        /// Records to look at, at most.
        limit: u32,
    },
    /// One slice of a partial pack: these objects only, those of other partitions left out.
    PackList {
        /// The cell.
        partition: Partition,
        /// History at or before it is packed.
        pack_tid: Tid,
        /// The objects, ascending.
        oids: Vec<Oid>,
        /// First record of the slice.
        min: RecordKey,
        /// Records to look at, at most.
        limit: u32,
    },
    /// Signs pack orders. Answer: [`JobOutput::Signed`].
    SignPacks {
        /// Approved ones.
        approved: Vec<Tid>,
        /// Rejected ones.
        rejected: Vec<Tid>,
    },
    /// Does the truncation that was decided, on own cells (spec storage.md 16.1, 2); nothing if
    /// none was decided.
    Truncate,
    /// One slice of a repair: deletes rows of `data` that nothing refers to
    /// (spec storage.md 16.2). Answer: [`JobOutput::Pruned`].
    PruneOrphans {
        /// First row of the slice.
        min: DataId,
        /// Rows to look at, at most.
        limit: u32,
        /// They are only counted.
        dry_run: bool,
    },
    /// Drops all tables: the node was removed from the cluster (spec storage.md 3.6).
    Erase,
}

/// When and how a job is committed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// A commit of nothing but such jobs needs no fsync: a crash replays them.
    Lazy,
    /// Answered after a durable commit.
    Durable,
    /// Durable, in slices, after the others.
    Background,
}

impl WriteJob {
    /// Its class. Jobs of the background keep their order among themselves, and so do the others;
    /// the two are not ordered, and a ticket with a job of the background is in the background.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Unlock { .. } | Self::ReleaseSpilled(_) | Self::Spill { .. } => Class::Lazy,
            Self::AddTransactions(_)
            | Self::AddObjects(_)
            | Self::DeleteTransactions { .. }
            | Self::DeleteObjects { .. }
            | Self::SetCellTid { .. }
            | Self::SetCellPack { .. }
            | Self::DropPartition { .. }
            | Self::BeginPack(_)
            | Self::PackObjects { .. }
            | Self::PackList { .. }
            | Self::PruneOrphans { .. } => Class::Background,
            _ => Class::Durable,
        }
    }

    /// About how many bytes it holds, for the bound of a commit.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        const ROW_BYTES: usize = 64;
        let payload = |payload: &Payload| match payload {
            Payload::Data(data) => data.data.len(),
            _ => 0,
        };
        match self {
            Self::Spill { data, .. } => data.data.len(),
            Self::Vote(vote) => {
                let objects = vote.objects.iter();
                let metadata = vote.transaction.as_ref().map_or(0, |metadata| {
                    metadata.user.len()
                        + metadata.description.len()
                        + metadata.extension.len()
                        + metadata.oids.len() * size_of::<Oid>()
                });
                metadata + objects.map(|o| payload(&o.payload) + ROW_BYTES).sum::<usize>()
            }
            Self::AddTransactions(rows) => rows
                .iter()
                .map(|row| row.transaction.oids.len() * size_of::<Oid>() + ROW_BYTES)
                .sum(),
            Self::AddObjects(rows) => rows
                .iter()
                .map(|row| row.data.as_ref().map_or(0, |data| data.data.len()) + ROW_BYTES)
                .sum(),
            _ => ROW_BYTES,
        }
    }

    /// Whether a database can hold it (spec storage.md 4, 5.4, 6.2).
    ///
    /// # Errors
    /// The limit that it goes over; the job must not be carried out, not even in part.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::ChangeTable(change) => {
                change.cells.iter().try_for_each(|cell| partition(cell.partition))
            }
            Self::Spill { ttid, oid, .. } => id(ttid.0).and(id(oid.0)),
            Self::Vote(vote) => check_vote(vote),
            Self::Lock { ttid, tid, .. }
            | Self::Unlock { ttid, tid }
            | Self::Validate { ttid, tid } => id(ttid.0).and(id(tid.0)),
            Self::AddTransactions(rows) => rows.iter().try_for_each(|row| {
                let row = &row.transaction;
                oids(&row.oids)?;
                metadata([&row.user, &row.description, &row.extension])?;
                id(row.tid.0).and(id(row.ttid.0))
            }),
            Self::AddObjects(rows) => rows.iter().try_for_each(|row| {
                id(row.oid.0)?;
                id(row.tid.0)?;
                row.value_tid.map_or(Ok(()), |tid| id(tid.0))
            }),
            Self::SetCellTid { tid, .. } => id(tid.0),
            Self::SetCellPack { pack, .. } => id(pack.0),
            Self::BeginPack(order) => id(order.tid.0).and(id(order.pack_tid.0)),
            _ => Ok(()),
        }
    }
}

fn check_vote(vote: &Vote) -> Result<(), Refusal> {
    id(vote.ttid.0)?;
    for object in &vote.objects {
        id(object.oid.0)?;
        object.value_tid.map_or(Ok(()), |tid| id(tid.0))?;
    }
    let Some(transaction) = &vote.transaction else {
        return Ok(());
    };
    oids(&transaction.oids)?;
    metadata([&transaction.user, &transaction.description, &transaction.extension])?;
    match &transaction.pack {
        Some(pack) => {
            id(pack.pack_tid.0)?;
            pack.oids.as_ref().map_or(Ok(()), |list| oids(list))
        }
        None => Ok(()),
    }
}

const fn id(value: u64) -> Result<(), Refusal> {
    if value > MAX_ID {
        return Err(Refusal::IdTooGreat(value));
    }
    Ok(())
}

const fn partition(partition: Partition) -> Result<(), Refusal> {
    if partition.0 >= MAX_PARTITIONS {
        return Err(Refusal::TooManyPartitions(partition.0));
    }
    Ok(())
}

const fn oids(list: &[Oid]) -> Result<(), Refusal> {
    if list.len() > MAX_OIDS {
        return Err(Refusal::TooManyOids(list.len()));
    }
    Ok(())
}

fn metadata(fields: [&bytes::Bytes; 3]) -> Result<(), Refusal> {
    match fields.iter().find(|field| field.len() > MAX_METADATA_BYTES) {
        Some(field) => Err(Refusal::MetadataTooLong(field.len())),
        None => Ok(()),
    }
}

/// Why a job was not carried out. The others of the same commit were.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The record that an undo goes back to was packed meanwhile (UNDO_PACK_ERROR).
    #[error("could not undo for oid {0}")]
    UndoPacked(Oid),
    /// An identifier is 2^63 or more.
    #[error("identifier {0:016x} is over 7fffffffffffffff")]
    IdTooGreat(u64),
    /// Objects of a transaction, or of a pack order.
    #[error("Too many modified OIDs (the default storage backend has a limitation of 2^21-1)")]
    TooManyOids(usize),
    /// User, description or extension.
    #[error("{0} bytes of metadata: the limit is 65535")]
    MetadataTooLong(usize),
    /// Greatest number of a partition.
    #[error("partition {0}: the limit is 32768 partitions")]
    TooManyPartitions(u32),
    /// Nothing can be stored before a partition table is known.
    #[error("there is no partition table yet")]
    NoPartitionTable,
    /// Spilled data that is not there.
    #[error("no spilled data {0:?}")]
    NotSpilled(DataId),
}

/// What a job gives back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobOutput {
    /// Nothing to say.
    Done,
    /// Own rows after a change of the partition table, by partition.
    OwnCells(Vec<CellRow>),
    /// What to call the data until its transaction ends.
    Spilled(DataId),
    /// Of [`WriteJob::DropPartition`].
    Progress {
        /// Records deleted by this slice.
        deleted: u64,
        /// Nothing is left.
        finished: bool,
    },
    /// Of [`WriteJob::PackObjects`] and [`WriteJob::PackList`].
    Packed {
        /// Records deleted by this slice.
        deleted: u64,
        /// Objects that have no record any more.
        gone: Vec<Oid>,
        /// Where the next slice begins; none if the end was reached.
        next: Option<RecordKey>,
    },
    /// Of [`WriteJob::SignPacks`].
    Signed {
        /// The orders that are stored here; the others may come by replication.
        known: Vec<Tid>,
    },
    /// Of [`WriteJob::PruneOrphans`].
    Pruned {
        /// Rows that nothing refers to in this slice.
        orphans: u64,
        /// Where the next slice begins; none if the end was reached.
        next: Option<DataId>,
    },
}

/// Of one job.
pub type JobResult = Result<JobOutput, Refusal>;
