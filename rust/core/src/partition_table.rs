//! Which storage holds which partition (spec master.md 12, protocol.md 5.9).
//!
//! Every role keeps one. The master alone changes it otherwise than by what it is told: each of
//! those operations returns the list of changes to broadcast, and leaves to the master to count
//! them with [`PartitionTable::increment_ptid`].

use std::collections::{BTreeMap, BTreeSet};

use neo_wire::{Cell, CellChange, CellState, NodeId, Partition, Ptid, RowList};

mod changes;
mod print;
mod search;
mod topology;
mod tweak;

pub use print::{header_line, row_line, table_lines};
pub use topology::{DevicePath, device_path};

/// What is wrong in a table, a change or a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TableError {
    /// The table refers to a node that nobody told about.
    #[error("node {nid} of partition {partition} is unknown")]
    UnknownNode {
        /// The row.
        partition: Partition,
        /// The node.
        nid: NodeId,
    },
    /// A partition is beyond the last one.
    #[error("partition {0} does not exist")]
    NoPartition(Partition),
    /// The node has no cell there.
    #[error("node {nid} has no cell for partition {partition}")]
    NoCell {
        /// The row.
        partition: Partition,
        /// The node.
        nid: NodeId,
    },
    /// A row of a table holds twice the same node, or a cell to remove.
    #[error("cell of node {nid} in partition {partition} is malformed")]
    Malformed {
        /// The row.
        partition: Partition,
        /// The node.
        nid: NodeId,
    },
    /// Changes are not newer than the table.
    #[error("changes {received} do not follow partition table {current:?}")]
    Order {
        /// The identifier received.
        received: Ptid,
        /// That of the table.
        current: Option<Ptid>,
    },
    /// The only readable copies of a partition would be lost.
    #[error("Refuse to drop nodes that contain the only readable copies of partition {0}")]
    LastCopy(Partition),
    /// No node would be left.
    #[error("Can't remove all nodes.")]
    NoNode,
}

/// The cells of every partition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PartitionTable {
    ptid: Option<Ptid>,
    num_replicas: u32,
    /// At most one cell per node in a row, in the order they were added.
    rows: Vec<Vec<Cell>>,
    /// Number of cells of each node that has some.
    counts: BTreeMap<NodeId, u32>,
    /// Nodes that a tweak may use: they have or had cells, or an administrator added them.
    members: BTreeSet<NodeId>,
    /// OUT_OF_DATE cells whose node said what it has to replicate since they are so.
    updatable: BTreeSet<(Partition, NodeId)>,
}

impl PartitionTable {
    /// A table without cell and without identifier: no table exists yet.
    #[must_use]
    pub fn new(partitions: u32, num_replicas: u32) -> Self {
        Self { num_replicas, rows: vec![Vec::new(); partitions as usize], ..Self::default() }
    }

    /// Its version; none as long as no table exists.
    #[must_use]
    pub const fn ptid(&self) -> Option<Ptid> {
        self.ptid
    }

    /// Gives and returns the next version, for the changes to broadcast.
    pub const fn increment_ptid(&mut self) -> Ptid {
        let ptid = Ptid(match self.ptid {
            Some(ptid) => ptid.0.saturating_add(1),
            None => 1,
        });
        self.ptid = Some(ptid);
        ptid
    }

    /// Whether changes with this identifier are the ones that follow: storages accept no others.
    #[must_use]
    pub fn is_next(&self, ptid: Ptid) -> bool {
        self.ptid.is_some_and(|current| current.0.checked_add(1) == Some(ptid.0))
    }

    /// The wanted number of replicas: 0 for one copy.
    #[must_use]
    pub const fn num_replicas(&self) -> u32 {
        self.num_replicas
    }

    /// Changes the wanted number of replicas; only a tweak moves cells.
    pub const fn set_num_replicas(&mut self, num_replicas: u32) {
        self.num_replicas = num_replicas;
    }

    /// The number of partitions.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        // `new` and `load` see to it.
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    /// The table as it travels.
    #[must_use]
    pub fn rows(&self) -> RowList {
        self.rows.clone()
    }

    fn iter(&self) -> impl Iterator<Item = (Partition, &[Cell])> {
        (0..).map(Partition).zip(self.rows.iter().map(Vec::as_slice))
    }

    /// The cells of a partition; none beyond the last one.
    #[must_use]
    pub fn row(&self, partition: Partition) -> &[Cell] {
        self.rows.get(partition.index()).map_or(&[], Vec::as_slice)
    }

    /// The state of the cell of a node.
    #[must_use]
    pub fn cell(&self, partition: Partition, nid: NodeId) -> Option<CellState> {
        let cell = self.row(partition).iter().find(|cell| cell.nid == nid);
        cell.map(|cell| cell.state)
    }

    /// The nodes from which a partition can be read.
    pub fn readable(&self, partition: Partition) -> impl Iterator<Item = NodeId> {
        let cells = self.row(partition).iter();
        cells.filter(|cell| cell.state.is_readable()).map(|cell| cell.nid)
    }

    /// The nodes to which what belongs to a partition is written.
    pub fn writable(&self, partition: Partition) -> impl Iterator<Item = NodeId> {
        let cells = self.row(partition).iter();
        cells.filter(|cell| cell.state.is_writable()).map(|cell| cell.nid)
    }

    /// The cells of a node, by partition.
    pub fn cells_of(&self, nid: NodeId) -> impl Iterator<Item = (Partition, CellState)> {
        self.iter().filter_map(move |(partition, row)| {
            let cell = row.iter().find(|cell| cell.nid == nid)?;
            Some((partition, cell.state))
        })
    }

    /// Whether a node has a cell.
    #[must_use]
    pub fn has_cells(&self, nid: NodeId) -> bool {
        self.counts.contains_key(&nid)
    }

    /// The nodes that have cells, in order.
    pub fn nids(&self) -> impl Iterator<Item = NodeId> {
        self.counts.keys().copied()
    }

    /// The nodes that have readable cells.
    #[must_use]
    pub fn readable_nids(&self) -> BTreeSet<NodeId> {
        let cells = self.rows.iter().flatten();
        cells.filter(|cell| cell.state.is_readable()).map(|cell| cell.nid).collect()
    }

    /// The nodes that a tweak may use (spec master.md 12.1).
    #[must_use]
    pub const fn members(&self) -> &BTreeSet<NodeId> {
        &self.members
    }

    /// Lets a tweak use a node: an administrator added it.
    pub fn add_member(&mut self, nid: NodeId) {
        self.members.insert(nid);
    }

    /// Whether every partition has a cell.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| !row.is_empty())
    }

    /// Whether every partition can be read from a node that is RUNNING and not `excluded`.
    pub fn is_operational(&self, excluded: &[NodeId], is_running: impl Fn(NodeId) -> bool) -> bool {
        let serving = |nid: NodeId| !excluded.contains(&nid) && is_running(nid);
        let serving: BTreeSet<_> = self.nids().filter(|nid| serving(*nid)).collect();
        let is_read = |cell: &Cell| cell.state.is_readable() && serving.contains(&cell.nid);
        !self.rows.is_empty() && self.rows.iter().all(|row| row.iter().any(is_read))
    }

    /// Replaces everything by a table that was received or stored.
    ///
    /// # Errors
    /// If it refers to a node that is not known or is malformed; nothing is changed then.
    pub fn load(
        &mut self,
        ptid: Option<Ptid>,
        num_replicas: u32,
        rows: &[Vec<Cell>],
        is_known: impl Fn(NodeId) -> bool,
    ) -> Result<(), TableError> {
        let mut table =
            Self { ptid, num_replicas, rows: vec![Vec::new(); rows.len()], ..Self::default() };
        for (partition, row) in (0..).map(Partition).zip(rows) {
            for cell in row {
                let (nid, state) = (cell.nid, cell.state);
                if !is_known(nid) {
                    return Err(TableError::UnknownNode { partition, nid });
                }
                if state == CellState::Discarded || table.cell(partition, nid).is_some() {
                    return Err(TableError::Malformed { partition, nid });
                }
                table.put(partition, nid, state);
            }
        }
        *self = table;
        Ok(())
    }

    /// Applies a NotifyPartitionChanges. Storages check [`PartitionTable::is_next`] before.
    ///
    /// # Errors
    /// If it is not newer than the table, beyond the last partition, or refers to a node that is
    /// not known (one whose cell is discarded may be); nothing is changed then.
    pub fn apply_changes(
        &mut self,
        ptid: Ptid,
        num_replicas: u32,
        changes: &[CellChange],
        is_known: impl Fn(NodeId) -> bool,
    ) -> Result<(), TableError> {
        let current = self.ptid;
        if current.is_none_or(|current| ptid <= current) {
            let received = ptid;
            return Err(TableError::Order { received, current });
        }
        for change in changes {
            let (partition, nid) = (change.partition, change.nid);
            if partition.index() >= self.rows.len() {
                return Err(TableError::NoPartition(partition));
            }
            if change.state != CellState::Discarded && !is_known(nid) {
                return Err(TableError::UnknownNode { partition, nid });
            }
        }
        self.ptid = Some(ptid);
        self.num_replicas = num_replicas;
        for change in changes {
            self.put(change.partition, change.nid, change.state);
        }
        Ok(())
    }

    /// Sets a cell, adds it, or removes it if `state` is DISCARDED. Returns whether this changes
    /// anything. Whatever changes a cell goes through here.
    fn put(&mut self, partition: Partition, nid: NodeId, state: CellState) -> bool {
        let Some(row) = self.rows.get_mut(partition.index()) else {
            return false;
        };
        let index = row.iter().position(|cell| cell.nid == nid);
        match index.map(|index| (index, &mut row[index])) {
            Some((_, cell)) if cell.state == state => return false,
            None if state == CellState::Discarded => return false,
            Some((index, _)) if state == CellState::Discarded => {
                row.remove(index);
                if let Some(count) = self.counts.get_mut(&nid) {
                    *count -= 1;
                    if *count == 0 {
                        self.counts.remove(&nid);
                    }
                }
            }
            Some((_, cell)) => cell.state = state,
            None => {
                row.push(Cell { nid, state });
                *self.counts.entry(nid).or_default() += 1;
                self.members.insert(nid);
            }
        }
        self.updatable.remove(&(partition, nid));
        true
    }

    /// [`PartitionTable::put`], noted in a list of changes.
    fn change(
        &mut self,
        partition: Partition,
        nid: NodeId,
        state: CellState,
        changes: &mut Vec<CellChange>,
    ) {
        if self.put(partition, nid, state) {
            changes.push(CellChange { partition, nid, state });
        }
    }
}

#[cfg(test)]
mod tests;
