//! The partition table as clients and storages use it: rows and states, nothing to decide.

use neo_wire::{Cell, CellChange, CellState, NodeId, Partition, Ptid, RowList};

/// See the module. Empty while none was received.
#[derive(Debug, Default)]
pub struct Table {
    ptid: Option<Ptid>,
    num_replicas: u32,
    rows: RowList,
}

impl Table {
    /// Replaced by a full table.
    pub fn load(&mut self, ptid: Option<Ptid>, num_replicas: u32, rows: RowList) {
        *self = Self { ptid, num_replicas, rows };
    }

    /// Changed by the master; late changes are ignored.
    pub fn change(&mut self, ptid: Ptid, num_replicas: u32, changes: &[CellChange]) {
        if self.ptid.is_none_or(|own| ptid <= own) {
            return;
        }
        self.ptid = Some(ptid);
        self.num_replicas = num_replicas;
        for change in changes {
            let Some(row) = self.rows.get_mut(change.partition.index()) else {
                continue;
            };
            let place = row.iter().position(|cell| cell.nid == change.nid);
            match (place, change.state) {
                (Some(place), CellState::Discarded) => {
                    row.remove(place);
                }
                (None, CellState::Discarded) => {}
                (Some(place), state) => row[place].state = state,
                (None, state) => row.push(Cell { nid: change.nid, state }),
            }
        }
    }

    /// Forgets everything: the master is lost.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether there is no table.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Number of partitions.
    pub fn partitions(&self) -> u32 {
        self.rows.len() as u32
    }

    /// Number of copies beyond the first.
    pub fn num_replicas(&self) -> u32 {
        self.num_replicas
    }

    /// The partition of an OID or TID.
    pub fn partition(&self, key: u64) -> Partition {
        neo_wire::Oid(key).partition(self.partitions())
    }

    /// The cells of a partition.
    pub fn row(&self, partition: Partition) -> &[Cell] {
        self.rows.get(partition.index()).map_or(&[], Vec::as_slice)
    }

    /// Whether every partition can be read on a running node.
    pub fn is_operational<'a>(&'a self, running: impl Fn(&'a NodeId) -> bool) -> bool {
        let readable = |cell: &'a Cell| cell.state.is_readable() && running(&cell.nid);
        !self.rows.is_empty() && self.rows.iter().all(|row| row.iter().any(readable))
    }
}

impl Table {
    /// Its version; none if there is no table.
    pub fn ptid(&self) -> Option<Ptid> {
        self.ptid
    }

    /// Every row.
    pub fn rows(&self) -> &RowList {
        &self.rows
    }

    /// Partitions that have a cell on a node, with its state.
    pub fn cells_of(&self, nid: NodeId) -> impl Iterator<Item = (Partition, CellState)> {
        self.rows.iter().zip(0..).flat_map(move |(row, partition)| {
            let cells = row.iter().filter(move |cell| cell.nid == nid);
            cells.map(move |cell| (Partition(partition), cell.state))
        })
    }
}

impl Table {
    /// The cells of a node become those of another NID, which replaces any it had.
    pub fn rename(&mut self, old: NodeId, new: NodeId) {
        for row in &mut self.rows {
            if let Some(place) = row.iter().position(|cell| cell.nid == old) {
                row[place].nid = new;
                let mut seen = false;
                row.retain(|cell| cell.nid != new || !std::mem::replace(&mut seen, true));
            }
        }
    }
}
