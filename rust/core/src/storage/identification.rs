//! Peers that connect: clients and other storages (spec protocol.md 7.7, storage.md 3.5).

use neo_wire::{ErrorCode, NodeId, NodeState, NodeType, Packet, Text, Timestamp};
use tracing::{debug, warn};

use super::queues::Requester;
use super::reads::ReadRequest;
use super::{Context, Storage};
use crate::database::TransactionMetadata;
use crate::io::ConnectionId;

/// An identified peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub node_type: NodeType,
    /// None for a storage of a backup cluster.
    pub nid: Option<NodeId>,
    /// Only complete data is shown, nothing is written.
    pub read_only: bool,
}

/// A peer whose announcement by the master is awaited.
#[derive(Debug)]
pub(super) struct WaitingPeer {
    to: Requester,
    node_type: NodeType,
    nid: NodeId,
    id_timestamp: Timestamp,
}

impl Storage {
    /// A packet of a peer that is not the master.
    pub(super) fn peer_packet(
        &mut self,
        connection: ConnectionId,
        msg_id: u32,
        packet: Packet,
        cx: &mut Context<'_>,
    ) {
        let to = Requester { connection, msg_id };
        match (self.peers.get(&connection).map(|peer| peer.node_type), packet) {
            (_, Packet::FlushLog {}) => {}
            // The peer has no more use for the connection, and we have none (protocol.md 8.4).
            (_, Packet::CloseClient {}) => {
                if self.links.abort(connection, cx.out).is_some() {
                    self.peer_closed(connection, cx);
                }
            }
            (_, Packet::Error { code, message }) => debug!(?code, %message, "the peer reports"),
            (None, Packet::RequestIdentification { node_type, nid, cluster, id_timestamp, .. }) => {
                self.identify(to, (node_type, nid, cluster, id_timestamp), cx)
            }
            (Some(NodeType::Client), packet) => self.client_packet(to, packet, cx),
            (peer, packet) => {
                let role = if peer.is_some() { "storage" } else { "identification" };
                self.unexpected(to, role, &packet, cx);
            }
        }
    }

    pub(super) fn unexpected(
        &mut self,
        to: Requester,
        role: &str,
        packet: &Packet,
        cx: &mut Context<'_>,
    ) {
        let lost = self.links.unexpected(to.connection, to.msg_id, role, packet, cx.out);
        if lost.is_some() {
            self.gone(to.connection, cx);
        }
    }

    fn identify(
        &mut self,
        to: Requester,
        (node_type, nid, cluster, id_timestamp): (
            NodeType,
            Option<NodeId>,
            Text,
            Option<Timestamp>,
        ),
        cx: &mut Context<'_>,
    ) {
        if cluster != *self.config.cluster.as_str() {
            self.refuse(to, "invalid cluster name", cx);
        } else if !self.is_operational() {
            self.not_ready(to, "Retry Later", cx);
        } else if let Some(nid) = nid {
            if Some(nid) == self.nid {
                self.refuse(to, "uuid conflict or loopback connection", cx);
            } else if let Some(id_timestamp) = id_timestamp {
                self.identify_known(WaitingPeer { to, node_type, nid, id_timestamp }, cx);
            } else {
                self.not_ready(to, "unknown by master", cx);
            }
        } else if node_type == NodeType::Storage {
            self.peers.insert(to.connection, Peer { node_type, nid: None, read_only: false });
            let node_type = NodeType::Storage;
            let packet = Packet::AcceptIdentification { node_type, nid: None, your_nid: None };
            self.reply(to, packet, cx);
        } else {
            self.refuse(to, "reject anonymous non-storage node", cx);
        }
    }

    fn not_ready(&mut self, to: Requester, message: &str, cx: &mut Context<'_>) {
        self.links.refuse(to.connection, to.msg_id, ErrorCode::NotReady, message, cx.out);
    }

    /// The master must have announced this very node; if it may still do so, the answer waits.
    fn identify_known(&mut self, peer: WaitingPeer, cx: &mut Context<'_>) {
        let node = self.nodes.get(&peer.nid);
        if node.and_then(|node| node.id_timestamp) != Some(peer.id_timestamp) {
            if self.last_timestamp.is_none_or(|last| last < peer.id_timestamp) {
                debug!(nid = %peer.nid, "identification delayed until the master announces it");
                self.waiting_peers.push(peer);
            } else {
                self.not_ready(peer.to, "unknown by master", cx);
            }
            return;
        }
        let running = node.is_some_and(|node| node.state == NodeState::Running);
        match peer.node_type {
            NodeType::Client if !running => self.not_ready(peer.to, "unknown by master", cx),
            NodeType::Client | NodeType::Storage => self.accept(&peer, cx),
            _ => self.refuse(peer.to, "reject non-client-or-storage node", cx),
        }
    }

    fn accept(&mut self, peer: &WaitingPeer, cx: &mut Context<'_>) {
        let to = peer.to;
        if self.peers.values().any(|other| other.nid == Some(peer.nid)) {
            self.refuse(to, "already connected", cx);
            return;
        }
        let read_only = peer.node_type == NodeType::Client && self.backup_tid.is_some();
        let accepted = Peer { node_type: peer.node_type, nid: Some(peer.nid), read_only };
        self.peers.insert(to.connection, accepted);
        let packet = Packet::AcceptIdentification {
            node_type: NodeType::Storage,
            nid: self.nid,
            your_nid: Some(peer.nid),
        };
        self.reply(to, packet, cx);
    }

    /// The master told something new about nodes.
    pub(super) fn retry_identifications(&mut self, cx: &mut Context<'_>) {
        for peer in std::mem::take(&mut self.waiting_peers) {
            if self.links.contains(peer.to.connection) {
                self.identify_known(peer, cx);
            }
        }
    }

    /// A connection of a peer is gone.
    pub(super) fn peer_closed(&mut self, connection: ConnectionId, cx: &mut Context<'_>) {
        self.waiting_peers.retain(|peer| peer.to.connection != connection);
        if let Some(peer) = self.peers.remove(&connection) {
            debug!(nid = ?peer.nid, "peer disconnected");
            self.client_disconnected(connection, cx);
            // What it still waited for is forgotten.
            self.released = true;
        }
    }

    /// The master says that a node is gone: its connection has no meaning any more.
    pub(super) fn close_peer(&mut self, nid: NodeId, cx: &mut Context<'_>) {
        let found = self.peers.iter().find(|(_, peer)| peer.nid == Some(nid));
        let Some(connection) = found.map(|(connection, _)| *connection) else {
            return;
        };
        self.links.close(connection, cx.out);
        self.peer_closed(connection, cx);
    }

    fn client_packet(&mut self, to: Requester, packet: Packet, cx: &mut Context<'_>) {
        let read_only = self.peers.get(&to.connection).is_some_and(|peer| peer.read_only);
        if read_only && is_write(&packet) {
            let text = "read-only access because cluster is in backuping mode";
            self.reply_error(to, ErrorCode::ReadOnlyAccess, text, cx);
            return;
        }
        match packet {
            Packet::AskStoreObject { .. } => self.ask_store(to, packet, cx),
            Packet::AskCheckCurrentSerial { ttid, oid, serial } => {
                self.ask_check(to, (ttid, oid, serial), cx);
            }
            Packet::AskRelockObject { ttid, oid } => self.ask_relock(to, (ttid, oid), cx),
            Packet::AskStoreTransaction { ttid, user, description, extension, oids, pack } => {
                let metadata = TransactionMetadata { user, description, extension, oids, pack };
                self.ask_store_transaction(to, ttid, metadata, cx);
            }
            Packet::AskVoteTransaction { ttid } => self.ask_vote(to, ttid, cx),
            Packet::AbortTransaction { ttid, .. } => self.abort(ttid, cx),
            other => self.client_read(to, other, cx),
        }
    }

    fn client_read(&mut self, to: Requester, packet: Packet, cx: &mut Context<'_>) {
        match packet {
            Packet::AskFinalTID { ttid } => self.read(to, ReadRequest::FinalTid(ttid), cx),
            Packet::AskObject { oid, at: Some(ttid), before: Some(again) }
                if ttid == again && self.own_store(to, oid, ttid).is_some() =>
            {
                self.ask_own_store(to, oid, ttid, cx);
            }
            Packet::AskObject { oid, at, before } => {
                self.read(to, ReadRequest::Object { oid, at, before }, cx);
            }
            Packet::AskTIDs { first, last, partition } => {
                self.read(to, ReadRequest::Tids { first, last, partition }, cx);
            }
            Packet::AskTIDsFrom { min_tid: min, max_tid: max, length, partition } => {
                self.read(to, ReadRequest::TidsFrom { partition, min, max, length }, cx);
            }
            Packet::AskTransactionInformation { tid } => {
                self.read(to, ReadRequest::Transaction(tid), cx);
            }
            Packet::AskObjectHistory { oid, first, last } => {
                self.read(to, ReadRequest::History { oid, first, last }, cx);
            }
            Packet::AskOIDsFrom { partition, length, min_oid, tid } => {
                self.read(to, ReadRequest::OidsFrom { partition, min_oid, length, tid }, cx);
            }
            Packet::AskObjectUndoSerial { ttid, ltid, undone_tid, oids } => {
                self.ask_undo_serials(to, (ttid, ltid, undone_tid), oids, cx);
            }
            other => {
                warn!(packet = other.name(), "a client asks what is not known here");
                self.unexpected(to, "client", &other, cx);
            }
        }
    }
}

fn is_write(packet: &Packet) -> bool {
    matches!(
        packet,
        Packet::AskStoreObject { .. }
            | Packet::AskStoreTransaction { .. }
            | Packet::AskVoteTransaction { .. }
            | Packet::AskCheckCurrentSerial { .. }
            | Packet::AskRelockObject { .. }
            | Packet::AskFinalTID { .. }
    )
}
