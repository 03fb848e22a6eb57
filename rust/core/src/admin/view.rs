//! What the primary master tells about the cluster.

use std::collections::BTreeMap;

use neo_wire::{CellChange, ClusterState, NodeId, NodeInfo, NodeType};
use neo_wire::{NodeState, Packet, Ptid, RowList};

use super::health::Health;
use crate::dump::Dump;
use crate::nodes::NodeDirectory;
use crate::partition_table::{PartitionTable, TableError};

/// Everything is empty while there is no primary.
#[derive(Debug, Default)]
pub(super) struct View {
    /// NID of the primary master, once it accepted us.
    pub(super) primary: Option<NodeId>,
    /// The NID it gave us.
    pub(super) own: Option<NodeId>,
    pub(super) state: Option<ClusterState>,
    pub(super) nodes: NodeDirectory,
    table: PartitionTable,
}

impl View {
    pub(super) fn dump(&self, dump: &mut Dump) {
        dump.list("nodes", self.node_list(None));
        let storages = self.node_list(Some(NodeType::Storage));
        let states = storages.iter().filter_map(|node| Some((node.nid?, node.state)));
        let version = (self.table.ptid(), self.table.num_replicas());
        dump.table(version, &self.table.rows(), &states.collect());
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.state == Some(ClusterState::Stopping)
    }

    /// Takes a full table.
    ///
    /// # Errors
    /// If it is malformed.
    pub(super) fn load(
        &mut self,
        ptid: Option<Ptid>,
        num_replicas: u32,
        rows: &RowList,
    ) -> Result<(), TableError> {
        // A node that is not in the list is shown as UNKNOWN: an operator has to see it.
        self.table.load(ptid, num_replicas, rows, |_| true)
    }

    /// Takes changes of the table.
    ///
    /// # Errors
    /// If they are not about the table that is known here.
    pub(super) fn change(
        &mut self,
        ptid: Ptid,
        num_replicas: u32,
        changes: &[CellChange],
    ) -> Result<(), TableError> {
        self.table.apply_changes(ptid, num_replicas, changes, |_| true)
    }

    /// The nodes of a type, or all.
    pub(super) fn node_list(&self, node_type: Option<NodeType>) -> Vec<NodeInfo> {
        self.nodes
            .iter()
            .filter(|(_, record)| node_type.is_none_or(|wanted| record.node_type() == wanted))
            .map(|(_, record)| record.info())
            .collect()
    }

    /// Rows from `min` to `max` excluded, 0 for the end; none if there is no such row.
    pub(super) fn partition_list(&self, min: u32, max: u32) -> Option<Packet> {
        let mut rows = self.table.rows();
        let (min, max) = (min as usize, max as usize);
        let max = if max == 0 { rows.len() } else { max };
        if min > max || max > rows.len() {
            return None;
        }
        rows.truncate(max);
        Some(Packet::AnswerPartitionList {
            ptid: self.table.ptid(),
            num_replicas: self.table.num_replicas(),
            rows: rows.split_off(min),
        })
    }

    /// The health of the cluster, by what is known here.
    pub(super) fn health(&self) -> Health {
        let mut counts = BTreeMap::new();
        for cell in self.table.rows().iter().flatten() {
            *counts.entry(cell.state).or_default() += 1;
        }
        let holders = self.table.nids();
        let down = holders.filter(|nid| !self.nodes.is_running(*nid));
        Health {
            state: self.state,
            down: down.count() as u64,
            cells: self.table.ptid().map(|_| counts),
        }
    }

    /// Whether a list of nodes says that we have to go.
    pub(super) fn is_dismissed(&self, nodes: &[NodeInfo]) -> bool {
        nodes.iter().any(|node| {
            node.nid.is_some()
                && node.nid == self.own
                && matches!(node.state, NodeState::Down | NodeState::Unknown)
        })
    }
}
