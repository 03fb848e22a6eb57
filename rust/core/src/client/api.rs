//! What an application asks of a client, and what it gets (spec client.md 1, 7).

use bytes::Bytes;
use neo_wire::packet::StoredData;
use neo_wire::{NodeId, Oid, PackRequest, Packet, Tid, Timestamp, Ttid};

/// A call of the application that waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub u64);

/// A transaction of the application, until it is finished or aborted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransactionKey(pub u64);

/// What an object becomes in a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// A new revision.
    Data {
        /// What travels: compressed or not, with its checksum.
        stored: StoredData,
        /// The uncompressed record, for conflict resolution and for the cache.
        record: Bytes,
    },
    /// No data any more: deletion or undone creation.
    Deleted,
    /// The same, of what nobody reads any more: other clients are not told.
    Garbage,
    /// Not changed, only required to be current.
    Checked,
}

impl Content {
    /// Bytes of the uncompressed record.
    #[must_use]
    pub fn len(&self) -> usize {
        if let Self::Data { record, .. } = self { record.len() } else { 0 }
    }

    /// Whether it has no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One store, deletion or check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// The object.
    pub oid: Oid,
    /// The revision it is based on; [`Tid::ZERO`] for a new object.
    pub base: Tid,
    /// What it becomes.
    pub content: Content,
    /// Undo: the revision whose data it takes.
    pub data_serial: Option<Tid>,
}

/// A whole transaction with its TID, to be committed after those that came before it.
#[derive(Clone, PartialEq, Debug)]
pub struct Copy {
    /// The new transaction.
    pub transaction: TransactionKey,
    /// TTID and final TID to impose.
    pub tid: Tid,
    /// The previous one of the chain; none to begin a chain, when there is no other one.
    pub after: Option<Tid>,
    /// Everything it writes, one write for each object. A base is a hint: the revision that the
    /// database has is taken. The uncompressed record is not needed.
    pub writes: Vec<Write>,
    /// User, description and extension, as they are stored.
    pub metadata: Metadata,
}

/// A call of the application.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// Get in touch with the primary master and storages.
    Connect,
    /// Begin a transaction; with a TID, it imposes it.
    Begin {
        /// The new transaction.
        transaction: TransactionKey,
        /// TTID and final TID to impose.
        tid: Option<Tid>,
    },
    /// Store, delete or check an object. Answered at once unless too much data is on the way.
    Write {
        /// In this transaction.
        transaction: TransactionKey,
        /// What.
        write: Write,
    },
    /// Wait until the master gave the transaction its TTID.
    Ttid {
        /// Of this transaction.
        transaction: TransactionKey,
    },
    /// What the transaction stored for an object.
    Stored {
        /// In this transaction.
        transaction: TransactionKey,
        /// The object.
        oid: Oid,
    },
    /// Wait until every object written so far is stored, without voting.
    Flush {
        /// In this transaction.
        transaction: TransactionKey,
    },
    /// Attach a pack order.
    Pack {
        /// To this transaction.
        transaction: TransactionKey,
        /// The order.
        pack: PackRequest,
    },
    /// Wait until everything is stored, then make it durable.
    Vote {
        /// This transaction.
        transaction: TransactionKey,
        /// User, description and extension, as they are stored.
        metadata: Metadata,
    },
    /// Commit a voted transaction.
    Finish {
        /// This transaction.
        transaction: TransactionKey,
    },
    /// Begin, write, vote and commit a transaction of the past. Answered like a commit.
    Copy(Copy),
    /// Ask something of a readable cell of a partition, whichever answers.
    Read {
        /// What chooses the partition: an OID or a TID.
        key: u64,
        /// The request.
        packet: Packet,
        /// Cells that gave a corrupted answer already.
        except: Vec<NodeId>,
    },
    /// The same, of a node that missed nothing of what a transaction wrote.
    TransactionRead {
        /// This transaction.
        transaction: TransactionKey,
        /// What chooses the partition.
        key: u64,
        /// The request.
        packet: Packet,
    },
    /// Ask something of the master, that can be asked again if its link breaks.
    Master {
        /// A request that the master answers.
        packet: Packet,
    },
    /// Wait until everything the master had sent is published (spec client.md 10.4).
    Sync,
}

/// Metadata of a transaction.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Metadata {
    /// UTF-8.
    pub user: Bytes,
    /// UTF-8.
    pub description: Bytes,
    /// A pickle, or nothing.
    pub extension: Bytes,
}

/// A conflict that the application has to resolve, by writing the object again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The object.
    pub oid: Oid,
    /// What was to be stored.
    pub content: Content,
    /// The revision it was based on.
    pub base: Tid,
    /// The revision that was committed meanwhile.
    pub committed: Tid,
    /// Whether that revision is not published yet: sync before loading it.
    pub unpublished: bool,
}

/// What a transaction stored for an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored {
    /// This record.
    Data(Bytes),
    /// A record that was too big to be kept: storages have it.
    Dropped,
    /// No data, or nothing at all.
    Nothing,
}

/// What a call returns.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// Done.
    Done,
    /// A transaction began.
    Begun(Ttid),
    /// What was stored.
    Stored(Stored),
    /// Resolve this, then ask again.
    Conflict(Box<Conflict>),
    /// Voted; the objects whose conflicts were resolved.
    Voted(Vec<Oid>),
    /// Committed. The caller publishes it, then says so with [`Event::Published`].
    Finished {
        /// The final TID.
        tid: Tid,
        /// What to put in the cache.
        records: Vec<(Oid, Option<Bytes>)>,
    },
    /// The answer of a peer.
    Packet {
        /// From this node.
        from: NodeId,
        /// The answer.
        packet: Packet,
    },
}

/// Why a call failed (spec client.md 1.5, 11).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClientError {
    /// The link to the primary master broke: retry the transaction.
    #[error("{0}")]
    MasterLost(String),
    /// Storages can not be reached: retry the transaction.
    #[error("{0}")]
    Disconnected(String),
    /// Anything else about the cluster.
    #[error("{0}")]
    Storage(String),
    /// The object exists, no record matches; or unknown TID.
    #[error("{0}")]
    NotFound(String),
    /// Unknown object.
    #[error("{0}")]
    DoesNotExist(String),
    /// A record that an undo needs was packed.
    #[error("{0}")]
    UndoPack(String),
    /// A storage can not do it, at least as long as it imports a database.
    #[error("{0}")]
    NotImplemented(String),
    /// A write on a read-only service.
    #[error("{0}")]
    ReadOnly(String),
    /// The transaction is not one that was begun.
    #[error("unknown transaction")]
    UnknownTransaction,
    /// The storage was closed.
    #[error("the storage is closed")]
    Closed,
    /// An invariant of ours is broken: nothing works any more.
    #[error("internal error: {0}")]
    Broken(String),
}

/// What only a client gets.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// The application calls.
    Call {
        /// Its call.
        call: CallId,
        /// What it asks.
        request: Box<Request>,
    },
    /// The application does not wait any more.
    Cancel {
        /// For this.
        call: CallId,
    },
    /// The application gives a transaction up. No answer.
    Abort {
        /// This one.
        transaction: TransactionKey,
    },
    /// What [`Effect::Publish`] or [`Answer::Finished`] asked for is done.
    Published,
    /// The application closes the storage.
    Close,
    /// The process forked and this is the child: forget every link without a word.
    Forked,
}

/// A change that becomes visible to the application; one at a time, in order (spec client.md 4.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Publication {
    /// Another client committed.
    Foreign {
        /// Its TID.
        tid: Tid,
        /// What changed.
        oids: Vec<Oid>,
    },
    /// We committed, but nobody waits for it any more: publish it all the same.
    Abandoned {
        /// Its TID.
        tid: Tid,
        /// What to put in the cache.
        records: Vec<(Oid, Option<Bytes>)>,
    },
    /// A link to a primary was made: anything may have changed.
    Reset {
        /// The last TID.
        last_tid: Tid,
    },
}

/// What only a client wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Return from a call.
    Return {
        /// This one.
        call: CallId,
        /// Its result.
        result: Result<Answer, ClientError>,
    },
    /// Publish, then say [`Event::Published`].
    Publish(Publication),
}

/// What identifies us to storages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Given by the primary master.
    pub nid: NodeId,
    /// When it accepted us.
    pub id_timestamp: Option<Timestamp>,
}
