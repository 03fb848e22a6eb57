//! Small changes that the master decides (spec master.md 12.4, 12.5, 12.7).

use std::collections::BTreeSet;

use neo_wire::{Cell, CellChange, CellState, NodeId, Partition};

use super::{PartitionTable, TableError};

impl PartitionTable {
    /// Sets one cell; DISCARDED removes it. Returns the change to broadcast, if it is one.
    ///
    /// # Errors
    /// If the partition does not exist.
    pub fn set_cell(
        &mut self,
        partition: Partition,
        nid: NodeId,
        state: CellState,
    ) -> Result<Option<CellChange>, TableError> {
        if partition.index() >= self.rows.len() {
            return Err(TableError::NoPartition(partition));
        }
        let mut changes = Vec::new();
        self.change(partition, nid, state, &mut changes);
        Ok(changes.pop())
    }

    /// Notes that the node of an OUT_OF_DATE cell knows from now on what it has to replicate
    /// (AskUnfinishedTransactions): only then can it say that it is up to date.
    pub fn set_updatable(&mut self, partition: Partition, nid: NodeId) {
        if self.cell(partition, nid) == Some(CellState::OutOfDate) {
            self.updatable.insert((partition, nid));
        }
    }

    /// A node says that it has replicated a partition (spec master.md 12.4). FEEDING cells that
    /// are not needed any more are removed, one at a time as long as cells are not readable. There
    /// is no change if the node speaks of a previous life of its cell.
    ///
    /// # Errors
    /// If it has no cell there.
    pub fn set_up_to_date(
        &mut self,
        nid: NodeId,
        partition: Partition,
    ) -> Result<Vec<CellChange>, TableError> {
        let mut changes = Vec::new();
        let state = self.cell(partition, nid);
        let state = state.ok_or(TableError::NoCell { partition, nid })?;
        let updatable = self.updatable.contains(&(partition, nid));
        if state != CellState::OutOfDate || !updatable {
            return Ok(changes);
        }
        self.change(partition, nid, CellState::UpToDate, &mut changes);
        let row = self.row(partition);
        let readable = self.readable(partition).count();
        let mut feeding: Vec<_> = row
            .iter()
            .filter(|cell| cell.state == CellState::Feeding)
            .map(|cell| cell.nid)
            .collect();
        if readable < row.len() {
            let spare = readable.saturating_sub(self.num_replicas as usize).min(1);
            if spare < feeding.len() {
                feeding.sort_by_key(|nid| !self.is_being_emptied(*nid));
            }
            feeding.truncate(spare);
        }
        for nid in feeding {
            self.change(partition, nid, CellState::Discarded, &mut changes);
        }
        Ok(changes)
    }

    fn is_being_emptied(&self, nid: NodeId) -> bool {
        self.cells_of(nid).all(|(_, state)| state == CellState::Feeding)
    }

    /// Takes what is not RUNNING out of what is read, but never the last copy that the node just
    /// `lost` holds: the cluster can start again from it (spec master.md 12.5).
    ///
    /// Not to be called while the cluster is RECOVERING, when no storage is RUNNING.
    pub fn outdate(
        &mut self,
        lost: Option<NodeId>,
        is_running: impl Fn(NodeId) -> bool,
    ) -> Vec<CellChange> {
        let running: BTreeSet<_> = self.nids().filter(|nid| is_running(*nid)).collect();
        let mut outdated = Vec::new();
        for (partition, row) in self.iter() {
            let readable = || row.iter().filter(|cell| cell.state.is_readable());
            let is_served = readable().any(|cell| running.contains(&cell.nid));
            outdated.extend(
                readable()
                    .filter(|cell| !running.contains(&cell.nid))
                    .filter(|cell| is_served || lost != Some(cell.nid))
                    .map(|cell| (partition, cell.nid, cell.state)),
            );
        }
        let mut changes = Vec::new();
        for (partition, nid, state) in outdated {
            let state = match state {
                CellState::Feeding => CellState::Discarded,
                _ => CellState::OutOfDate,
            };
            self.change(partition, nid, state, &mut changes);
        }
        changes
    }

    /// The changes that would remove every cell of some nodes (spec master.md 12.7).
    ///
    /// # Errors
    /// If they have the only readable copies of a partition.
    pub fn check_drop(&self, nids: &BTreeSet<NodeId>) -> Result<Vec<CellChange>, TableError> {
        let mut changes = Vec::new();
        for (partition, row) in self.iter() {
            let (removed, left): (Vec<_>, Vec<_>) =
                row.iter().partition(|cell| nids.contains(&cell.nid));
            let has = |cells: &[&Cell], state| cells.iter().any(|cell| cell.state == state);
            let feeding = left
                .iter()
                .rfind(|cell| cell.state == CellState::Feeding)
                .filter(|_| !removed.is_empty());
            if !has(&left, CellState::Feeding)
                && !has(&left, CellState::UpToDate)
                && removed.iter().any(|cell| cell.state.is_readable())
            {
                return Err(TableError::LastCopy(partition));
            }
            let removed = removed.iter().map(|cell| (cell.nid, CellState::Discarded));
            // What it feeds may be among what is removed.
            let kept = feeding.map(|cell| (cell.nid, CellState::UpToDate));
            changes.extend(removed.chain(kept).map(|(nid, state)| CellChange {
                partition,
                nid,
                state,
            }));
        }
        Ok(changes)
    }

    /// Removes every cell of some nodes, which are not members any more.
    ///
    /// # Errors
    /// As [`PartitionTable::check_drop`].
    pub fn drop_nodes(&mut self, nids: &BTreeSet<NodeId>) -> Result<Vec<CellChange>, TableError> {
        let changes = self.check_drop(nids)?;
        for change in &changes {
            self.put(change.partition, change.nid, change.state);
        }
        self.members.retain(|nid| !nids.contains(nid));
        Ok(changes)
    }
}
