//! The primary master: found, followed, obeyed (spec storage.md 3).

use neo_wire::{ClusterState, ErrorCode, Map, NodeInfo, NodeState, NodeType, Packet, Timestamp};
use tracing::{info, warn};

use super::jobs::Job;
use super::queues::Requester;
use super::{Asked, Context, Storage};
use crate::database::WriteJob;
use crate::io::{ConnectionId, Exit};
use crate::primary_search::Identification;

/// What a storage is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No primary master.
    Searching,
    /// It only talks with the primary master.
    Initializing,
    /// It serves clients.
    Operating,
    /// Told to stop.
    Stopped,
}

impl Storage {
    pub(super) fn connected(&mut self, connection: ConnectionId, cx: &mut Context<'_>) {
        if !self.links.connected(connection) {
            return;
        }
        let request = Packet::RequestIdentification {
            node_type: NodeType::Storage,
            nid: self.asked_nid,
            address: Some(self.config.address.clone()),
            cluster: self.config.cluster.as_str().into(),
            id_timestamp: None,
            extra: Map(self.extra()),
        };
        let asked = Asked::Identification;
        self.search.on_connected(connection, request, asked, &mut self.links, cx.out);
    }

    pub(super) fn master_identified(&mut self, packet: Packet, cx: &mut Context<'_>) {
        let outcome = self.search.on_identification(packet, cx.now, &mut self.links, cx.out);
        let own = match outcome {
            Identification::Accepted { own, .. } => own,
            Identification::Refused { code: ErrorCode::ProtocolError, .. } => {
                // Another storage may have got the same NID, from another master or because ours
                // was not known any more. Before there is a table, nothing depends on it.
                if self.table.ptid().is_none() {
                    self.asked_nid = self.config.nid;
                }
                return;
            }
            _ => return,
        };
        if self.nid != Some(own) {
            info!(nid = %own, "new NID");
            self.rename(own, cx);
        }
        self.asked_nid = Some(own);
        self.phase = Phase::Initializing;
        self.fresh = true;
        self.last_timestamp = None;
    }

    pub(super) fn tell_master(&mut self, packet: Packet, cx: &mut Context<'_>) {
        if let Some(connection) = self.search.attached() {
            self.links.notify(connection, packet, cx.out);
        }
    }

    pub(super) fn master_closed(&mut self, connection: ConnectionId, cx: &mut Context<'_>) {
        let lost = self.links.closed(connection);
        let established = lost.is_none_or(|lost| lost.established);
        if self.search.attached() == Some(connection) {
            self.leave_master(cx);
        }
        self.search.on_closed(connection, established, cx.now, &mut self.links, cx.out);
    }

    fn leave_master(&mut self, cx: &mut Context<'_>) {
        warn!("the connection to the primary master is lost");
        self.end_operation(cx);
        self.phase = Phase::Searching;
    }

    /// Every peer but the master is left, and what is in memory of them is forgotten.
    pub(super) fn end_operation(&mut self, cx: &mut Context<'_>) {
        self.epoch += 1;
        let connections: Vec<ConnectionId> =
            self.links.ids().filter(|id| !self.search.owns(*id)).collect();
        for connection in connections {
            self.links.close(connection, cx.out);
        }
        self.peers.clear();
        self.waiting_peers.clear();
        self.forget_transactions();
        self.packs.reset();
    }

    /// A packet of a master.
    pub(super) fn master_packet(
        &mut self,
        connection: ConnectionId,
        msg_id: u32,
        packet: Packet,
        cx: &mut Context<'_>,
    ) {
        let to = Requester { connection, msg_id };
        if let Packet::NotPrimaryMaster { primary, known_masters } = packet {
            let attached = self.search.attached() == Some(connection);
            let told = (primary, known_masters);
            let lost =
                self.search.on_not_primary(connection, told, cx.now, &mut self.links, cx.out);
            if attached && lost.is_some() {
                self.leave_master(cx);
            }
            return;
        }
        if self.search.attached() != Some(connection) {
            match packet {
                Packet::CloseClient {} | Packet::FlushLog {} | Packet::Error { .. } => {}
                other => self.unexpected(to, "identification", &other, cx),
            }
            return;
        }
        if !self.held.is_empty() || self.phase == Phase::Initializing && self.writing > 0 {
            self.held.push_back((to, packet));
        } else {
            self.obey(to, packet, cx);
        }
    }

    /// Goes on with what waited for the database. Before operation, each request of the master must
    /// see what came before it, and be answered in order (spec protocol.md 10.2).
    pub(super) fn obey_held(&mut self, cx: &mut Context<'_>) {
        while self.writing == 0 || self.is_operational() {
            let Some((to, packet)) = self.held.pop_front() else {
                return;
            };
            if self.search.attached() == Some(to.connection) {
                self.obey(to, packet, cx);
            }
        }
    }

    fn obey(&mut self, to: Requester, packet: Packet, cx: &mut Context<'_>) {
        match packet {
            Packet::CloseClient {} | Packet::FlushLog {} | Packet::Error { .. } => {}
            Packet::NotifyNodeInformation { timestamp, nodes } => {
                self.node_information(to, timestamp, nodes, cx);
            }
            Packet::NotifyClusterInformation { state } => self.cluster_state(state),
            Packet::NotifyPartitionChanges { ptid, num_replicas, cells } => {
                if let Err(reason) = self.table_changes((ptid, num_replicas, cells), cx) {
                    self.refuse(to, &reason, cx);
                }
            }
            Packet::NotifyPackSigned { approved, rejected } => {
                self.packs_signed(approved, rejected, cx);
            }
            Packet::NotifyTransactionFinished { ttid, .. }
            | Packet::AbortTransaction { ttid, .. } => self.abort(ttid, cx),
            Packet::AskFinalTID { ttid } => self.master_final_tid(to, ttid, cx),
            Packet::AskPackOrders { min_id } => self.pack_orders(to, min_id, cx),
            Packet::NotifyRepair { dry_run } => self.begin_repair(dry_run, cx),
            Packet::StopOperation {} => {
                info!("operation stops");
                self.end_operation(cx);
                self.phase = Phase::Initializing;
            }
            // A master of the Python NEO does not know what we lack.
            packet @ Packet::CheckPartition { .. } => {
                warn!(packet = packet.name(), "not done: this version of NEO can not");
            }
            packet if self.is_operational() => self.operation_packet(to, packet, cx),
            packet => self.initialization_packet(to, packet, cx),
        }
    }

    fn operation_packet(&mut self, to: Requester, packet: Packet, cx: &mut Context<'_>) {
        match packet {
            Packet::AskLockInformation { ttid, tid, pack } => {
                self.ask_lock(to, (ttid, tid, pack), cx);
            }
            Packet::NotifyUnlockInformation { ttid } => self.unlock(to, ttid, cx),
            Packet::StartOperation { backup: true } => self.start_backup(cx),
            other => self.unexpected(to, "master, operating", &other, cx),
        }
    }

    fn cluster_state(&mut self, state: ClusterState) {
        info!(%state, "cluster");
        self.cluster_state = Some(state);
    }

    fn node_information(
        &mut self,
        to: Requester,
        timestamp: Timestamp,
        nodes: Vec<NodeInfo>,
        cx: &mut Context<'_>,
    ) {
        if self.last_timestamp.is_some_and(|last| timestamp <= last) {
            self.refuse(to, "node information is not newer than the last one", cx);
            return;
        }
        self.last_timestamp = Some(timestamp);
        if std::mem::take(&mut self.fresh) {
            let listed = |nid| nodes.iter().any(|node| node.nid == Some(nid));
            let table = &self.table;
            self.nodes.retain(|nid, node| {
                listed(*nid)
                    || node.node_type == NodeType::Storage && table.cells_of(*nid).next().is_some()
            });
            let masters: Vec<_> = nodes
                .iter()
                .filter(|node| node.node_type == NodeType::Master)
                .filter_map(|node| node.address.clone())
                .collect();
            self.search.replace(&masters);
        }
        for node in nodes {
            if node.nid.is_some() && node.nid == self.nid {
                if !self.told_about_self(&node, cx) {
                    return;
                }
            } else {
                self.node_changed(node, cx);
            }
        }
        self.retry_identifications(cx);
    }

    /// False if the node ends.
    fn told_about_self(&mut self, node: &NodeInfo, cx: &mut Context<'_>) -> bool {
        match node.state {
            NodeState::Down => {
                info!("told to stop by the primary master");
                self.stop_with(Exit::Success, cx);
                false
            }
            NodeState::Unknown => {
                warn!("removed from the cluster: the database is erased");
                self.end_operation(cx);
                self.search.stop(&mut self.links, cx.out);
                self.phase = Phase::Searching;
                self.ask_write(vec![WriteJob::Erase], Job::Erase, cx);
                false
            }
            NodeState::Running | NodeState::Pending => true,
        }
    }

    fn node_changed(&mut self, node: NodeInfo, cx: &mut Context<'_>) {
        if let (NodeType::Master, Some(address)) = (node.node_type, node.address.clone()) {
            self.search.learn(address);
        }
        let Some(nid) = node.nid else { return };
        if node.node_type == NodeType::Client && node.state != NodeState::Running {
            self.client_gone(nid, cx);
        }
        if node.state == NodeState::Unknown {
            self.nodes.remove(&nid);
            self.close_peer(nid, cx);
        } else {
            let known = self.nodes.insert(nid, node);
            let now = self.nodes.get(&nid).and_then(|node| node.id_timestamp);
            if known.is_some_and(|known| known.id_timestamp.is_some() && known.id_timestamp != now)
            {
                // Another process has this NID now.
                self.close_peer(nid, cx);
            }
        }
    }
}
