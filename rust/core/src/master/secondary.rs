//! The role of a master while another one is the primary (spec master.md 4.4, 5.4).

use std::collections::BTreeSet;

use neo_wire::{ClusterState, ErrorCode, NodeId, NodeInfo, NodeState, NodeType, Packet, Timestamp};
use tracing::{info, warn};

use super::identification::Request;
use super::{Asker, MASTERS, Master, Phase, Turn};
use crate::io::{ConnectionId, Exit, Output};
use crate::nodes::NodeKey;
use crate::partition_table::PartitionTable;

/// What a secondary remembers.
#[derive(Debug)]
pub(super) struct Secondary {
    /// Who it believes to be the primary.
    primary: NodeKey,
    /// The connection with it, established or being so.
    connection: Option<ConnectionId>,
    /// The primary accepted us.
    accepted: bool,
    /// The full list of masters was received.
    listed: bool,
    /// Masters that were tried since the last primary failed.
    tried: BTreeSet<NodeKey>,
}

impl Secondary {
    pub const fn new(primary: NodeKey) -> Self {
        Self { primary, connection: None, accepted: false, listed: false, tried: BTreeSet::new() }
    }

    pub fn attach(&mut self, connection: ConnectionId) {
        self.tried.insert(self.primary);
        self.connection = Some(connection);
    }
}

impl Master {
    /// Forgets what only a primary knows.
    pub(super) fn leave_primary_role(&mut self, turn: &mut Turn<'_>) {
        self.cluster_state = None;
        self.table = PartitionTable::new(self.config.partitions, self.config.replicas);
        self.epoch += 1;
        self.leaving = None;
        self.recovery = super::Recovery::default();
        self.verification = super::Verification::default();
        self.readiness = super::Readiness::default();
        self.transactions.reset();
        self.packs.reset();
        self.truncate_tid = None;
        self.backup_tid = None;
        turn.out.push(Output::CancelTimer { timer: MASTERS });
    }

    /// Starts again with the believed primary.
    pub(super) fn try_primary(&mut self, turn: &mut Turn<'_>) {
        let masters: Vec<_> = self.nodes.of_type(NodeType::Master).map(|x| x.0).collect();
        for key in masters {
            if key != self.own {
                self.set_node_state(key, NodeState::Down);
            }
        }
        self.secondary.accepted = false;
        self.secondary.listed = false;
        self.secondary.tried.insert(self.secondary.primary);
        self.connect_to_primary(turn);
    }

    /// Connects to the believed primary, now or when enough time has passed.
    pub(super) fn connect_to_primary(&mut self, turn: &mut Turn<'_>) {
        if self.phase != Phase::Secondary || self.secondary.connection.is_some() {
            return;
        }
        let primary = self.secondary.primary;
        let address = self.nodes.get(primary).and_then(|x| x.address().cloned());
        let Some(address) = address else {
            return self.primary_failed(turn);
        };
        match self.pacing.delay_ms(&address, turn.now) {
            0 => {
                self.connect_to_master(turn, primary, address);
                let record = self.nodes.get(primary);
                self.secondary.connection = record.and_then(|record| record.connection());
            }
            delay_ms => {
                let timer = MASTERS;
                turn.out.push(Output::SetTimer { timer, delay_ms });
            }
        }
    }

    /// Believes in another primary.
    fn retarget(&mut self, turn: &mut Turn<'_>, primary: NodeKey) {
        if let Some(record) = self.nodes.get(primary) {
            info!(primary = %record, "another primary");
        }
        if let Some(connection) = self.secondary.connection.take() {
            self.nodes.disconnect(connection);
            self.links.close(connection, turn.out);
        }
        self.secondary.primary = primary;
        self.try_primary(turn);
    }

    /// The believed primary is lost, or can not be reached.
    fn primary_failed(&mut self, turn: &mut Turn<'_>) {
        let next = if self.secondary.accepted {
            warn!("the primary master is lost");
            self.secondary.tried.clear();
            // It is tried first: maybe only the connection is lost.
            Some(self.secondary.primary).filter(|key| self.nodes.get(*key).is_some())
        } else {
            None
        };
        let next = next.or_else(|| {
            let mut masters = self.nodes.of_type(NodeType::Master).map(|(key, _)| key);
            masters.find(|key| *key != self.own && !self.secondary.tried.contains(key))
        });
        match next {
            Some(primary) => {
                self.secondary.primary = primary;
                self.try_primary(turn);
            }
            None => self.start_primary_role(turn),
        }
    }

    pub(super) fn on_secondary_lost(
        &mut self,
        turn: &mut Turn<'_>,
        connection: ConnectionId,
        established: bool,
    ) {
        let key = self.nodes.disconnect(connection);
        if self.secondary.connection != Some(connection) {
            return;
        }
        self.secondary.connection = None;
        let address = key.and_then(|key| self.nodes.get(key)?.address());
        if let (Some(address), false) = (address, established) {
            self.pacing.failed(address);
        }
        self.primary_failed(turn);
    }

    pub(super) fn on_secondary_packet(&mut self, turn: &mut Turn<'_>, from: Asker, packet: Packet) {
        if self.secondary.connection == Some(from.connection) {
            return self.on_primary_packet(turn, from, packet);
        }
        if !matches!(packet, Packet::RequestIdentification { .. }) {
            self.unexpected(turn, from, "secondary master", &packet);
        } else if let Some(request) = Request::from_packet(packet) {
            self.redirect(turn, from, &request);
        }
    }

    /// Tells who the primary is, to somebody who connects (4.4).
    fn redirect(&mut self, turn: &mut Turn<'_>, from: Asker, request: &Request) {
        if request.cluster != self.config.cluster {
            return self.protocol_error(turn, from, "invalid cluster name");
        }
        if request.address.as_ref() == Some(&self.config.address) {
            return self.protocol_error(turn, from, "address conflict");
        }
        let primary = self.nodes.get(self.secondary.primary);
        let primary = primary.and_then(|record| record.address().cloned());
        let mut hint = None;
        let is_primary = request.address.is_some() && request.address == primary;
        if !is_primary {
            if self.secondary.accepted {
                hint = primary;
            } else if request.node_type == NodeType::Master
                && let Some(key) = request.address.as_ref().and_then(|x| self.learn_master(x))
                && request.id_timestamp.is_some_and(|time| time.0 != 0.0)
            {
                self.hang_up(turn, from.connection);
                return self.retarget(turn, key);
            }
        }
        let known_masters = self.known_masters();
        let index = hint.and_then(|hint| known_masters.iter().position(|x| *x == hint));
        let primary = index.and_then(|index| u32::try_from(index).ok());
        self.notify(turn, from.connection, Packet::NotPrimaryMaster { primary, known_masters });
        self.hang_up(turn, from.connection);
    }

    /// The answer of the believed primary to our identification.
    pub(super) fn on_primary_answer(
        &mut self,
        turn: &mut Turn<'_>,
        connection: ConnectionId,
        packet: Packet,
    ) {
        match packet {
            Packet::AcceptIdentification { node_type: NodeType::Master, nid, your_nid } => {
                self.on_accepted(turn, connection, nid, your_nid)
            }
            packet => {
                warn!(?packet, "the primary does not accept this master");
                self.cut(turn, connection);
            }
        }
    }

    /// The believed primary accepted us: it is the primary.
    pub(super) fn on_accepted(
        &mut self,
        turn: &mut Turn<'_>,
        connection: ConnectionId,
        nid: Option<NodeId>,
        your_nid: Option<NodeId>,
    ) {
        let msg_id = 0;
        let from = Asker { connection, msg_id };
        let Some(your_nid) = your_nid else {
            return self.protocol_error(turn, from, "No UUID supplied");
        };
        let primary = self.secondary.primary;
        if nid.is_none() || nid == Some(your_nid) {
            return self.protocol_error(turn, from, "invalid uuids");
        }
        self.nodes.set_nid(primary, nid);
        self.nodes.set_nid(self.own, Some(your_nid));
        if let Some(record) = self.nodes.get_mut(primary) {
            record.state = NodeState::Running;
            record.identified = true;
            info!(primary = %record, own = %your_nid, "accepted as secondary master");
        }
        self.secondary.accepted = true;
        self.secondary.listed = false;
    }

    fn on_primary_packet(&mut self, turn: &mut Turn<'_>, from: Asker, packet: Packet) {
        match packet {
            Packet::NotPrimaryMaster { primary, known_masters } => {
                let hint = self.learn_masters(primary, known_masters);
                let other = |hint: &NodeKey| *hint != self.own && *hint != self.secondary.primary;
                if let Some(primary) = hint.filter(other) {
                    self.retarget(turn, primary);
                }
            }
            Packet::NotifyNodeInformation { timestamp, nodes } if self.secondary.accepted => {
                self.on_masters(turn, from, timestamp, nodes);
            }
            Packet::NotifyClusterInformation { state } if self.secondary.accepted => {
                if state == ClusterState::Stopping {
                    info!("the cluster stops");
                    self.exit(turn, Exit::Success);
                }
            }
            packet => self.unexpected(turn, from, "secondary master", &packet),
        }
    }

    /// What the primary tells about masters.
    fn on_masters(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        timestamp: Timestamp,
        mut nodes: Vec<NodeInfo>,
    ) {
        nodes.retain(|node| node.node_type == NodeType::Master);
        let own = &self.config.address;
        let own_state = nodes.iter().find(|node| node.address.as_ref() == Some(own));
        let is_killed = own_state
            .is_some_and(|node| matches!(node.state, NodeState::Down | NodeState::Unknown));
        if is_killed {
            info!("this master was told to stop");
            return self.exit(turn, Exit::Success);
        }
        let full_list = !self.secondary.listed;
        self.masters_changed = true;
        if let Err(error) = self.nodes.apply(timestamp, &nodes, full_list, |_| false) {
            let text = error.to_string();
            return self.refuse(turn, from, ErrorCode::ProtocolError, &text);
        }
        self.secondary.listed = true;
        // A list without us or without its sender breaks the rules, but we still exist.
        if self.nodes.get(self.own).is_none() {
            self.own = self.nodes.master_at(&self.config.address);
        }
        if self.nodes.get(self.secondary.primary).is_none() {
            warn!("the primary master does not know itself");
            self.cut(turn, from.connection);
        }
    }
}
