//! What is told to whom, and in which order (spec master.md 3.4-3.6, 6.2, 12.3).

use neo_wire::{Address, CellChange, ClusterState, ErrorCode, NodeInfo, NodeState, NodeType};
use neo_wire::{NodeId, Packet};
use tracing::{debug, info};

use super::{Asked, Asker, Master, Question, Turn};
use crate::io::ConnectionId;
use crate::nodes::NodeKey;

impl Master {
    pub(super) fn notify(&mut self, turn: &mut Turn<'_>, to: ConnectionId, packet: Packet) {
        self.links.notify(to, packet, turn.out);
    }

    /// Asks something in the current period. Nothing on a closed connection: its loss is handled
    /// on its own.
    pub(super) fn ask(
        &mut self,
        turn: &mut Turn<'_>,
        to: ConnectionId,
        packet: Packet,
        question: Question,
    ) {
        let epoch = self.epoch;
        let asked = Asked { epoch, question };
        if self.links.request(to, packet, asked, turn.out).is_err() {
            debug!(?to, ?question, "not asked: the connection is closed");
        }
    }

    pub(super) fn answer(&self, turn: &mut Turn<'_>, to: Asker, packet: Packet) {
        self.links.answer(to.connection, to.msg_id, packet, turn.out);
    }

    pub(super) fn error(&self, turn: &mut Turn<'_>, to: Asker, code: ErrorCode, text: &str) {
        self.answer(turn, to, Packet::error(code, text));
    }

    /// Success of what an operator asked.
    pub(super) fn ack(&self, turn: &mut Turn<'_>, to: Asker, text: &str) {
        self.answer(turn, to, Packet::ack(text));
    }

    /// Answers with an Error, then ends the connection, with what follows from its loss.
    pub(super) fn refuse(&mut self, turn: &mut Turn<'_>, to: Asker, code: ErrorCode, text: &str) {
        let lost = self.links.refuse(to.connection, to.msg_id, code, text, turn.out);
        if let Some(lost) = lost {
            self.connection_lost(turn, to.connection, lost.established);
        }
    }

    /// PROTOCOL_ERROR, then the end of the connection.
    pub(super) fn protocol_error(&mut self, turn: &mut Turn<'_>, to: Asker, text: &str) {
        self.refuse(turn, to, ErrorCode::ProtocolError, text);
    }

    /// Refuses a packet that the peer may not send, as our `role`.
    pub(super) fn unexpected(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        role: &str,
        packet: &Packet,
    ) {
        let Asker { connection, msg_id } = from;
        let lost = self.links.unexpected(connection, msg_id, role, packet, turn.out);
        if let Some(lost) = lost {
            self.connection_lost(turn, connection, lost.established);
        }
    }

    /// Ends a connection once what is waiting has left, with what follows from its loss.
    pub(super) fn hang_up(&mut self, turn: &mut Turn<'_>, connection: ConnectionId) {
        if let Some(lost) = self.links.abort(connection, turn.out) {
            self.connection_lost(turn, connection, lost.established);
        }
    }

    /// Ends a connection at once, with what follows from its loss.
    pub(super) fn cut(&mut self, turn: &mut Turn<'_>, connection: ConnectionId) {
        if let Some(lost) = self.links.close(connection, turn.out) {
            self.connection_lost(turn, connection, lost.established);
        }
    }

    /// NotifyNodeInformation, one to each node that may know about one of these.
    pub(super) fn tell_nodes(&mut self, turn: &mut Turn<'_>, subjects: &[NodeKey]) {
        if subjects.is_empty() {
            return;
        }
        let timestamp = self.clock.next(turn.now.wall_s);
        for (connection, nodes) in self.nodes.audience(subjects) {
            self.notify(turn, connection, Packet::NotifyNodeInformation { timestamp, nodes });
        }
    }

    /// NotifyNodeInformation of given contents to one node.
    pub(super) fn tell_one(
        &mut self,
        turn: &mut Turn<'_>,
        connection: ConnectionId,
        nodes: Vec<NodeInfo>,
    ) {
        let timestamp = self.clock.next(turn.now.wall_s);
        self.notify(turn, connection, Packet::NotifyNodeInformation { timestamp, nodes });
    }

    /// Sets the state of a node, without telling anybody. Returns whether it was another one.
    pub(super) fn set_node_state(&mut self, key: NodeKey, state: NodeState) -> bool {
        let Some(record) = self.nodes.get_mut(key) else {
            return false;
        };
        let previous = std::mem::replace(&mut record.state, state);
        if previous != state {
            debug!(node = %record, ?previous, "state changed");
        }
        previous != state
    }

    /// Forgets a node, and tells that it is UNKNOWN.
    pub(super) fn forget_node(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        self.set_node_state(key, NodeState::Unknown);
        self.tell_nodes(turn, &[key]);
        self.nodes.remove(key);
    }

    /// Every identified node of some types, with its connection.
    pub(super) fn connected(&self, types: &[NodeType]) -> Vec<(NodeKey, ConnectionId)> {
        self.nodes
            .identified()
            .filter(|(_, record, _)| types.contains(&record.node_type()))
            .map(|(key, _, connection)| (key, connection))
            .collect()
    }

    /// The connections of admins, to whom most is told.
    pub(super) fn admins(&self) -> Vec<ConnectionId> {
        let admins = self.connected(&[NodeType::Admin]).into_iter();
        admins.map(|(_, connection)| connection).collect()
    }

    /// The identified storages, with their identifiers.
    pub(super) fn storages(&self) -> Vec<(NodeKey, NodeId, ConnectionId)> {
        self.nodes
            .identified()
            .filter(|(_, record, _)| record.node_type() == NodeType::Storage)
            .filter_map(|(key, record, connection)| Some((key, record.nid()?, connection)))
            .collect()
    }

    /// The connection with an identified storage.
    pub(super) fn storage_connection(&self, nid: NodeId) -> Option<ConnectionId> {
        let (_, record) = self.nodes.find_nid(nid)?;
        record.identified_connection().filter(|_| record.node_type() == NodeType::Storage)
    }

    /// Changes the state of the cluster, and tells everybody.
    pub(super) fn set_cluster_state(&mut self, turn: &mut Turn<'_>, state: ClusterState) {
        if self.cluster_state.replace(state) == Some(state) {
            return;
        }
        info!(%state, "state of the cluster");
        let to: Vec<_> = self.nodes.identified().map(|(_, _, to)| to).collect();
        for connection in to {
            self.notify(turn, connection, Packet::NotifyClusterInformation { state });
        }
    }

    /// The whole partition table.
    pub(super) fn table_packet(&self) -> Packet {
        Packet::SendPartitionTable {
            ptid: self.table.ptid(),
            num_replicas: self.table.num_replicas(),
            rows: self.table.rows(),
        }
    }

    /// Numbers changes of the partition table and tells them to nodes of these types. Nothing if
    /// there is none.
    pub(super) fn tell_changes_to(
        &mut self,
        turn: &mut Turn<'_>,
        types: &[NodeType],
        cells: Vec<CellChange>,
    ) {
        if !cells.is_empty() {
            self.tell_version_to(turn, types, cells);
        }
    }

    /// Numbers changes of the partition table and tells them to everybody but masters.
    pub(super) fn tell_changes(&mut self, turn: &mut Turn<'_>, cells: Vec<CellChange>) {
        let types = [NodeType::Storage, NodeType::Client, NodeType::Admin];
        self.tell_changes_to(turn, &types, cells);
    }

    /// The same, even if no cell changes: the number of replicas did.
    pub(super) fn tell_version_to(
        &mut self,
        turn: &mut Turn<'_>,
        types: &[NodeType],
        cells: Vec<CellChange>,
    ) {
        let ptid = self.table.increment_ptid();
        info!(%ptid, ?cells, "the partition table changes");
        let num_replicas = self.table.num_replicas();
        for (key, connection) in self.connected(types) {
            let nid = self.nodes.get(key).and_then(|record| record.nid());
            if nid.is_some_and(|nid| self.readiness.is_joining(nid)) {
                // It gets the whole table soon, and no change before.
                continue;
            }
            let cells = cells.clone();
            self.notify(
                turn,
                connection,
                Packet::NotifyPartitionChanges { ptid, num_replicas, cells },
            );
        }
    }

    /// Whether every partition could be read without some nodes.
    pub(super) fn is_operational(&self, excluded: &[NodeId]) -> bool {
        self.table.is_operational(excluded, |nid| self.nodes.is_running(nid))
    }

    /// The addresses of every known master, its own included.
    pub(super) fn known_masters(&self) -> Vec<Address> {
        self.nodes
            .of_type(NodeType::Master)
            .filter_map(|(_, record)| record.address().cloned())
            .collect()
    }
}
