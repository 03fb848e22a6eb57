//! The table of packets (spec protocol.md 11) and the structures their arguments are made of.
//!
//! A new packet is one more line here; everything else follows.

use bytes::{Bytes, BytesMut};

use crate::address::{Address, Text};
use crate::codec::{Codec, DecodeError, Reader, write_array_header};
use crate::collections::{Map, OidList};
use crate::digest::Digest;
use crate::enums::{CellState, ClusterState, ErrorCode, NodeState, NodeType};
use crate::ids::{NodeId, Oid, Partition, Ptid, Tid, Timestamp, Ttid};
use crate::macros::{packets, wire_struct};
use crate::packet::{ArgumentSchema, Kind, PacketSchema};
use crate::value::Value;

wire_struct! {
    /// What is told about a node (spec protocol.md 5.7).
    NodeInfo as "node" {
        /// Its kind.
        node_type: NodeType,
        /// Where it listens, if it does.
        address: Option<Address>,
        /// Its identifier; none for a master that has not identified.
        nid: Option<NodeId>,
        /// Its state.
        state: NodeState,
        /// When the primary accepted its current connection.
        id_timestamp: Option<Timestamp>,
    }
}

wire_struct! {
    /// One partition on one storage (spec protocol.md 5.9).
    Cell as "cell" {
        /// The storage.
        nid: NodeId,
        /// Its state.
        state: CellState,
    }
}

wire_struct! {
    /// A change of one cell; DISCARDED removes it (spec protocol.md 5.9).
    CellChange {
        /// The row.
        partition: Partition,
        /// The storage.
        nid: NodeId,
        /// The new state.
        state: CellState,
    }
}

/// Rows of a partition table: the cells of each partition.
pub type RowList = Vec<Vec<Cell>>;

wire_struct! {
    /// A pack asked by a transaction (spec protocol.md 5.10).
    PackRequest {
        /// Objects to pack; none for all.
        oids: Option<Vec<Oid>>,
        /// History before this TID may be dropped.
        pack_tid: Tid,
    }
}

wire_struct! {
    /// A pack order as replicated with its transaction (spec protocol.md 5.10).
    PackRecord {
        /// Neither approved nor rejected yet if none.
        approved: Option<bool>,
        /// Whether `oids` is not empty.
        partial: bool,
        /// Objects to pack; none for all.
        oids: Option<OidList>,
        /// History before this TID may be dropped.
        pack_tid: Tid,
    }
}

wire_struct! {
    /// A pack order with its identifier (spec protocol.md 5.10).
    PackOrder {
        /// TID of the transaction that carries it.
        tid: Tid,
        /// Neither approved nor rejected yet if none.
        approved: Option<bool>,
        /// Whether `oids` is not empty.
        partial: bool,
        /// Objects to pack; none for all.
        oids: Option<OidList>,
        /// History before this TID may be dropped.
        pack_tid: Tid,
    }
}

wire_struct! {
    /// Object data as a client stored it.
    StoredData {
        /// 0 raw, 1 zlib.
        compression: u32,
        /// SHA-1 of `data`.
        checksum: Digest,
        /// Bytes as stored.
        data: Bytes,
    }
}

wire_struct! {
    /// The conflict found when a lock was taken again (AnswerRelockObject).
    RelockConflict {
        /// Serial the store was based on.
        base_serial: Tid,
        /// TID of the conflicting revision.
        conflict: Tid,
        /// What had been stored, given back; none if the store had no data.
        data: Option<StoredData>,
    }
}

packets! {
    0x0001 RequestIdentification request => AcceptIdentification ignore "any → M, SM, S, A" {
        node_type: NodeType,
        nid: Option<NodeId>,
        address: Option<Address>,
        cluster: Text,
        id_timestamp: Option<Timestamp>,
        extra: Map<Text, Value>,
    };
    0x0002 Ping request => Pong ignore "any → any" {};
    0x0003 CloseClient notification execute "S → S (accepted by all)" {};
    0x0004 AskPrimary request => AnswerPrimary ignore "ctl → A" {};
    0x0005 NotPrimaryMaster notification execute "SM → any" {
        primary: Option<u32>,
        known_masters: Vec<Address>,
    };
    0x0006 NotifyNodeInformation notification execute "M → any identified node" {
        timestamp: Timestamp,
        nodes: Vec<NodeInfo>,
    };
    0x0007 AskRecovery request => AnswerRecovery ignore
        "M → S; ctl → A → M; A → M; upstream A → A" {};
    0x0008 AskLastIDs request => AnswerLastIDs ignore "M → S; ctl → A → M" {};
    0x0009 AskPartitionTable request => AnswerPartitionTable ignore "M → S" {};
    0x000a SendPartitionTable notification execute "M → A, C, S, BM" {
        ptid: Option<Ptid>,
        num_replicas: u32,
        rows: RowList,
    };
    0x000b NotifyPartitionChanges notification execute "M → A, C, S, BM" {
        ptid: Ptid,
        num_replicas: u32,
        cells: Vec<CellChange>,
    };
    0x000c StartOperation notification execute "M → S" { backup: bool };
    0x000d StopOperation notification execute "M → S, C" {};
    0x000e AskUnfinishedTransactions request => AnswerUnfinishedTransactions ignore "S → M" {
        partitions: Vec<Partition>,
    };
    0x000f AskLockedTransactions request => AnswerLockedTransactions ignore "M → S" {};
    0x0010 AskFinalTID request => AnswerFinalTID ignore "C → M; C → S; M → S" { ttid: Ttid };
    0x0011 ValidateTransaction notification execute "M → S" { ttid: Ttid, tid: Tid };
    0x0012 AskBeginTransaction request => AnswerBeginTransaction ignore "C → M" {
        tid: Option<Tid>,
    };
    0x0013 FailedVote request => Error ignore "C → M" { ttid: Ttid, nids: Vec<NodeId> };
    0x0014 AskFinishTransaction request => AnswerTransactionFinished execute "C → M" {
        ttid: Ttid,
        oids: Vec<Oid>,
        deleted: Vec<Partition>,
        checked: Vec<Partition>,
        pack: Option<PackRequest>,
    };
    0x0015 AskLockInformation request => AnswerInformationLocked execute "M → S" {
        ttid: Ttid,
        tid: Tid,
        pack: bool,
    };
    0x0016 InvalidateObjects notification execute "M → C (not the committer, not BM)" {
        tid: Tid,
        oids: Vec<Oid>,
    };
    0x0017 InvalidatePartitions notification execute "M → BM" {
        tid: Tid,
        partitions: Vec<Partition>,
    };
    0x0018 NotifyUnlockInformation notification execute "M → S" { ttid: Ttid };
    0x0019 AskNewOIDs request => AnswerNewOIDs ignore "C → M" { count: u32 };
    0x001a NotifyDeadlock notification execute "S → C" { ttid: Ttid, oid: Oid };
    0x001b AskRelockObject request => AnswerRelockObject ignore "C → S" { ttid: Ttid, oid: Oid };
    0x001c AskStoreObject request => AnswerStoreObject ignore "C → S" {
        oid: Oid,
        serial: Tid,
        compression: u32,
        checksum: Digest,
        data: Bytes,
        data_serial: Option<Tid>,
        ttid: Ttid,
    };
    0x001d AbortTransaction notification execute "C → S; C → M; M → S" {
        ttid: Ttid,
        nids: Vec<NodeId>,
    };
    0x001e AskStoreTransaction request => AnswerStoreTransaction ignore "C → S" {
        ttid: Ttid,
        user: Bytes,
        description: Bytes,
        extension: Bytes,
        oids: Vec<Oid>,
        pack: Option<PackRequest>,
    };
    0x001f AskVoteTransaction request => AnswerVoteTransaction ignore "C → S" { ttid: Ttid };
    0x0020 AskObject request => AnswerObject ignore "C → S" {
        oid: Oid,
        at: Option<Tid>,
        before: Option<Tid>,
    };
    0x0021 AskTIDs request => AnswerTIDs ignore "C → S" {
        first: u64,
        last: u64,
        partition: Partition,
    };
    0x0022 AskTransactionInformation request => AnswerTransactionInformation ignore "C → S" {
        tid: Tid,
    };
    0x0023 AskObjectHistory request => AnswerObjectHistory ignore "C → S" {
        oid: Oid,
        first: u64,
        last: u64,
    };
    0x0024 AskPartitionList request => AnswerPartitionList ignore "ctl → A" {
        min_offset: u32,
        max_offset: u32,
        nid: Option<NodeId>,
    };
    0x0025 AskNodeList request => AnswerNodeList ignore "ctl → A" { node_type: Option<NodeType> };
    0x0026 SetNodeState request => Error execute "ctl → A → M" { nid: NodeId, state: NodeState };
    0x0027 AddPendingNodes request => Error execute "ctl → A → M" { nids: Vec<NodeId> };
    0x0028 TweakPartitionTable request => AnswerTweakPartitionTable ignore "ctl → A → M" {
        dry_run: bool,
        nids: Vec<NodeId>,
    };
    0x0029 SetNumReplicas request => Error execute "ctl → A → M" { num_replicas: i64 };
    0x002a SetClusterState request => Error execute "ctl → A → M" { state: ClusterState };
    0x002b Repair request => Error ignore "ctl → A → M" { nids: Vec<NodeId>, dry_run: bool };
    0x002c NotifyRepair notification execute "M → S" { dry_run: bool };
    0x002d NotifyClusterInformation notification execute "M → any identified node" {
        state: ClusterState,
    };
    0x002e AskClusterState request => AnswerClusterState ignore
        "ctl → A; A → M (any identified peer may ask M)" {};
    0x002f AskObjectUndoSerial request => AnswerObjectUndoSerial ignore "C → S" {
        ttid: Ttid,
        ltid: Tid,
        undone_tid: Tid,
        oids: Vec<Oid>,
    };
    0x0030 AskTIDsFrom request => AnswerTIDsFrom ignore "C → S" {
        min_tid: Tid,
        max_tid: Tid,
        length: u64,
        partition: Partition,
    };
    0x0031 AskOIDsFrom request => AnswerOIDsFrom ignore "C → S" {
        partition: Partition,
        length: u64,
        min_oid: Oid,
        tid: Tid,
    };
    0x0032 WaitForPack request => WaitedForPack ignore "C → M" { tid: Tid };
    0x0033 AskPackOrders request => AnswerPackOrders ignore "M → S; S → M; BM → M; C → M" {
        min_id: Tid,
    };
    0x0034 NotifyPackSigned notification execute "M → S, BM" {
        approved: Vec<Tid>,
        rejected: Vec<Tid>,
    };
    0x0035 NotifyPackCompleted notification execute "S → M" { tid: Tid };
    0x0036 CheckReplicas request => Error ignore "ctl → A → M" {
        partitions: Map<Partition, Option<NodeId>>,
        min_tid: Tid,
        max_tid: Option<Tid>,
    };
    0x0037 CheckPartition notification execute "M → S" {
        partition: Partition,
        source: (Text, Option<Address>),
        min_tid: Tid,
        max_tid: Tid,
    };
    0x0038 AskCheckTIDRange request => AnswerCheckTIDRange ignore "S → S" {
        partition: Partition,
        length: u64,
        min_tid: Tid,
        max_tid: Tid,
    };
    0x0039 AskCheckSerialRange request => AnswerCheckSerialRange ignore "S → S" {
        partition: Partition,
        length: u64,
        min_tid: Tid,
        max_tid: Tid,
        min_oid: Oid,
    };
    0x003a NotifyPartitionCorrupted notification execute "S → M" {
        partition: Partition,
        nids: Vec<Option<NodeId>>,
    };
    0x003b NotifyReady notification execute "S → M" {};
    0x003c AskLastTransaction request => AnswerLastTransaction ignore
        "C → M; BM → M; ctl → A → M; A → M; upstream A → A" {};
    0x003d AskCheckCurrentSerial request => AnswerCheckCurrentSerial ignore "C → S" {
        ttid: Ttid,
        oid: Oid,
        serial: Tid,
    };
    0x003e NotifyTransactionFinished notification execute "M → S" { ttid: Ttid, max_tid: Tid };
    0x003f Replicate notification execute "M → S" {
        tid: Tid,
        upstream: Text,
        sources: Map<Partition, Option<Address>>,
    };
    0x0040 NotifyReplicationDone notification execute "S → M" { partition: Partition, tid: Tid };
    0x0041 AskFetchTransactions request => AnswerFetchTransactions ignore "S → S" {
        partition: Partition,
        length: u64,
        min_tid: Tid,
        max_tid: Tid,
        tids: Vec<Tid>,
        ask_pack_info: bool,
    };
    0x0042 AskFetchObjects request => AnswerFetchObjects ignore "S → S" {
        partition: Partition,
        length: u64,
        min_tid: Tid,
        max_tid: Tid,
        min_oid: Oid,
        records: Map<Tid, Vec<Oid>>,
    };
    0x0043 AddTransaction notification execute "S → S" {
        tid: Tid,
        user: Bytes,
        description: Bytes,
        extension: Bytes,
        packed: bool,
        ttid: Ttid,
        oids: Vec<Oid>,
        pack: Option<PackRecord>,
    };
    0x0044 AddObject notification execute "S → S" {
        oid: Oid,
        serial: Tid,
        compression: u32,
        checksum: Digest,
        data: Bytes,
        data_serial: Option<Tid>,
    };
    0x0045 Truncate request => Error ignore
        "ctl → A → M (request); M → S as a notification: no answer" {
        tid: Tid,
    };
    0x0046 FlushLog notification execute "ctl → A → M → every connected node" {};
    0x0047 AskMonitorInformation request => AnswerMonitorInformation ignore "ctl → A" {};
    0x0048 NotifyMonitorInformation notification execute "A → upstream A" {
        info: Map<Text, Option<Value>>,
    };
    0x0049 NotifyUpstreamAdmin notification execute "M (of a backup cluster) → A" {
        address: Address,
    };
    0x8000 Error error execute "any → any" { code: ErrorCode, message: Text };
    0x8001 AcceptIdentification answer execute "M, S, A → peer" {
        node_type: NodeType,
        nid: Option<NodeId>,
        your_nid: Option<NodeId>,
    };
    0x8002 Pong answer execute "any → any" {};
    0x8004 AnswerPrimary answer execute "A → ctl" { nid: NodeId };
    0x8007 AnswerRecovery answer execute "S → M; M → A → ctl; A → upstream A" {
        ptid: Option<Ptid>,
        backup_tid: Option<Tid>,
        truncate_tid: Option<Tid>,
    };
    0x8008 AnswerLastIDs answer execute "S → M; M → A → ctl" {
        last_tid: Option<Tid>,
        last_oid: Option<Oid>,
        first_tid: Tid,
    };
    0x8009 AnswerPartitionTable answer execute "S → M" {
        ptid: Ptid,
        num_replicas: u32,
        rows: RowList,
    };
    0x800e AnswerUnfinishedTransactions answer execute "M → S" { max_tid: Tid, ttids: Vec<Ttid> };
    0x800f AnswerLockedTransactions answer execute "S → M" { transactions: Map<Ttid, Option<Tid>> };
    0x8010 AnswerFinalTID answer execute "M, S → asker" { tid: Option<Tid> };
    0x8012 AnswerBeginTransaction answer execute "M → C" { ttid: Ttid };
    0x8014 AnswerTransactionFinished answer execute "M → C" { ttid: Ttid, tid: Tid };
    0x8015 AnswerInformationLocked answer execute "S → M" { ttid: Ttid };
    0x8019 AnswerNewOIDs answer execute "M → C" { oids: Vec<Oid> };
    0x801b AnswerRelockObject answer execute "S → C" { conflict: Option<RelockConflict> };
    0x801c AnswerStoreObject answer execute "S → C" { conflict: Option<Tid> };
    0x801e AnswerStoreTransaction answer execute "S → C" {};
    0x801f AnswerVoteTransaction answer execute "S → C" {};
    0x8020 AnswerObject answer execute "S → C" {
        oid: Oid,
        serial: Tid,
        next_serial: Option<Tid>,
        compression: Option<u32>,
        checksum: Digest,
        data: Bytes,
        data_serial: Option<Tid>,
    };
    0x8021 AnswerTIDs answer execute "S → C" { tids: Vec<Tid> };
    0x8022 AnswerTransactionInformation answer execute "S → C" {
        tid: Tid,
        user: Bytes,
        description: Bytes,
        extension: Bytes,
        packed: bool,
        oids: Vec<Oid>,
    };
    0x8023 AnswerObjectHistory answer execute "S → C" { oid: Oid, history: Vec<(Tid, u64)> };
    0x8024 AnswerPartitionList answer execute "A → ctl" {
        ptid: Option<Ptid>,
        num_replicas: u32,
        rows: RowList,
    };
    0x8025 AnswerNodeList answer execute "A → ctl" { nodes: Vec<NodeInfo> };
    0x8028 AnswerTweakPartitionTable answer execute "M → A → ctl" { changed: bool, rows: RowList };
    0x802e AnswerClusterState answer execute "A → ctl; M → A" { state: Option<ClusterState> };
    0x802f AnswerObjectUndoSerial answer execute "S → C" {
        objects: Map<Oid, (Tid, Option<Tid>, bool)>,
    };
    0x8030 AnswerTIDsFrom answer execute "S → C" { tids: Vec<Tid> };
    0x8031 AnswerOIDsFrom answer execute "S → C" { next_oid: Option<Oid>, oids: Vec<Oid> };
    0x8032 WaitedForPack answer execute "M → C" {};
    0x8033 AnswerPackOrders answer execute "S → M; M → S, BM, C" { orders: Vec<PackOrder> };
    0x8038 AnswerCheckTIDRange answer execute "S → S" {
        count: u32,
        tid_digest: Digest,
        max_tid: Tid,
    };
    0x8039 AnswerCheckSerialRange answer execute "S → S" {
        count: u32,
        tid_digest: Digest,
        max_tid: Tid,
        oid_digest: Digest,
        max_oid: Oid,
    };
    0x803c AnswerLastTransaction answer execute "M → asker; A → ctl; A → upstream A" { tid: Tid };
    0x803d AnswerCheckCurrentSerial answer execute "S → C" { conflict: Option<Tid> };
    0x8041 AnswerFetchTransactions answer execute "S → S" {
        next_tid: Option<Tid>,
        to_delete: Vec<Tid>,
        completed_pack: Option<Tid>,
    };
    0x8042 AnswerFetchObjects answer execute "S → S" {
        next_tid: Option<Tid>,
        next_oid: Option<Oid>,
        to_delete: Map<Tid, Vec<Oid>>,
    };
    0x8047 AnswerMonitorInformation answer execute "A → ctl" {
        warning: Vec<Option<Text>>,
        problem: Vec<Option<Text>>,
        summary: Text,
    };
}
