//! What the primary master says.

use neo_wire::{Address, NodeInfo, NodeState, NodeType, Packet, Timestamp};
use tracing::{debug, info, warn};

use super::{Admin, Effect, Request};
use crate::io::{ConnectionId, Exit, Now, Output, Outputs};
use crate::partition_table::TableError;
use crate::primary_search::Identification;

/// Whether what the master says about the table makes sense; else it is logged.
fn followed(result: Result<(), TableError>) -> bool {
    result.inspect_err(|error| warn!("partition table: {error}")).is_ok()
}

impl Admin {
    pub(super) fn on_identification(
        &mut self,
        now: Now,
        connection: ConnectionId,
        packet: Packet,
        out: &mut Outputs<Effect>,
    ) {
        let answer = self.search.on_identification(packet, now, &mut self.links, out);
        if let Identification::Accepted { master, own } = answer {
            (self.view.primary, self.view.own) = (Some(master), Some(own));
            let request = Packet::AskClusterState {};
            // Established: it can not be given back.
            let _ = self.links.request(connection, request, Request::ClusterState, out);
        }
    }

    pub(super) fn on_cluster_state(
        &mut self,
        now: Now,
        connection: ConnectionId,
        packet: Packet,
        out: &mut Outputs<Effect>,
    ) {
        match packet {
            Packet::AnswerClusterState { state: Some(state) } => {
                self.view.state = Some(state);
                self.health_changed(now, out);
            }
            packet => {
                warn!(packet = packet.name(), "the master does not tell its state");
                let lost = self.links.close(connection, out);
                self.ended(now, connection, lost, out);
            }
        }
    }

    /// A packet on the connection to a master, identified there or not.
    pub(super) fn on_primary_packet(
        &mut self,
        now: Now,
        (connection, msg_id): (ConnectionId, u32),
        packet: Packet,
        out: &mut Outputs<Effect>,
    ) {
        if let Packet::NotPrimaryMaster { primary, known_masters } = packet {
            let hint = (primary, known_masters);
            let attached = self.search.attached() == Some(connection);
            let links = &mut self.links;
            let lost = self.search.on_not_primary(connection, hint, now, links, out);
            debug_assert!(lost.is_none() || self.search.attached().is_none());
            return self.left(now, attached, lost, out);
        }
        let known = self.search.attached() == Some(connection);
        let understood = match &packet {
            Packet::FlushLog {} => {
                out.push(Output::Own(Effect::FlushLog));
                true
            }
            Packet::NotifyNodeInformation { timestamp, nodes } if known => {
                self.on_nodes(*timestamp, nodes, out)
            }
            Packet::NotifyClusterInformation { state } if known => {
                info!(%state, "cluster state");
                self.view.state = Some(*state);
                true
            }
            Packet::SendPartitionTable { ptid, num_replicas, rows } if known => {
                followed(self.view.load(*ptid, *num_replicas, rows))
            }
            Packet::NotifyPartitionChanges { ptid, num_replicas, cells } if known => {
                followed(self.view.change(*ptid, *num_replicas, cells))
            }
            Packet::NotifyUpstreamAdmin { address } if known => {
                let links = &mut self.links;
                self.upstream.set_address(address.clone(), now, links, out);
                true
            }
            _ => false,
        };
        if understood {
            self.health_changed(now, out);
        } else {
            self.unexpected(now, (connection, msg_id), &packet, out);
        }
    }

    /// False if the list breaks the rules.
    fn on_nodes(
        &mut self,
        timestamp: Timestamp,
        nodes: &[NodeInfo],
        out: &mut Outputs<Effect>,
    ) -> bool {
        let full_list = self.view.nodes.last_notification().is_none();
        let applied = self.view.nodes.apply(timestamp, nodes, full_list, |_| false);
        if let Err(error) = applied {
            warn!("{error}");
            return false;
        }
        if self.view.is_dismissed(nodes) {
            info!("the master told this node to stop");
            let exit = Exit::Success;
            out.push(Output::Exit { exit });
        }
        let masters = nodes.iter().filter(|x| x.node_type == NodeType::Master);
        let (gone, present): (Vec<_>, Vec<_>) =
            masters.partition(|node| node.state == NodeState::Unknown);
        let addresses = |nodes: Vec<&NodeInfo>| -> Vec<Address> {
            nodes.into_iter().filter_map(|x| x.address.clone()).collect()
        };
        for address in addresses(gone) {
            self.search.forget(&address);
        }
        let present = addresses(present);
        if full_list {
            debug!(count = nodes.len(), "list of nodes");
            self.search.replace(&present);
        } else {
            present.into_iter().for_each(|x| self.search.learn(x));
        }
        true
    }
}
