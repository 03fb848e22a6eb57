//! The partition table as a node records it (spec storage.md 4.2, 9).

use std::collections::BTreeMap;

use neo_wire::{CellChange, CellState, NodeId, Partition, Ptid, Tid};

/// A row of `pt`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CellRow {
    /// Which partition.
    pub partition: Partition,
    /// Which storage.
    pub nid: NodeId,
    /// Never DISCARDED.
    pub state: CellState,
    /// For an own OUT_OF_DATE cell, up to where it is complete; zero in all other cases.
    pub tid: Tid,
    /// For an own cell, the last pack order completed; none for others.
    pub pack: Option<Tid>,
}

impl CellRow {
    /// The value of the column `tid`: the TID of an OUT_OF_DATE cell, else minus the state.
    ///
    /// None if the TID is over [`Tid::MAX`].
    #[must_use]
    pub fn column(&self) -> Option<i64> {
        match self.state {
            CellState::OutOfDate => i64::try_from(self.tid.0).ok(),
            state => Some(-i64::from(state as u8)),
        }
    }

    /// State and TID from the value of the column `tid`.
    #[must_use]
    pub fn from_column(column: i64) -> Option<(CellState, Tid)> {
        if let Ok(tid) = u64::try_from(column) {
            return Some((CellState::OutOfDate, Tid(tid)));
        }
        match CellState::from_number(column.unsigned_abs()) {
            Some(state) if state != CellState::Discarded => Some((state, Tid::ZERO)),
            _ => None,
        }
    }
}

/// A partition table received from the master.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableChange {
    /// Version.
    pub ptid: Ptid,
    /// Copies − 1.
    pub replicas: u32,
    /// Applied in order; DISCARDED removes a row.
    pub cells: Vec<CellChange>,
    /// A full table: rows that are not in `cells` are deleted.
    pub full: bool,
    /// Last approved pack order known, zero if none: what a new own cell that is not readable
    /// is taken to have completed.
    pub last_pack: Tid,
}

/// Rows by key.
pub type Rows = BTreeMap<(Partition, NodeId), CellRow>;

/// What a change makes of the rows (spec storage.md 9.2-9.4).
///
/// `own` is the own identifier, `up_to` tells up to which TID an own cell is complete that was
/// readable until now.
///
/// # Errors
/// Those of `up_to`.
pub fn changed<E>(
    rows: &Rows,
    change: &TableChange,
    own: Option<NodeId>,
    mut up_to: impl FnMut(Partition) -> Result<Tid, E>,
) -> Result<Rows, E> {
    let mut after = if change.full { Rows::new() } else { rows.clone() };
    for &CellChange { partition, nid, state } in &change.cells {
        let key = (partition, nid);
        if state == CellState::Discarded {
            after.remove(&key);
            continue;
        }
        let before = if change.full { rows } else { &after }.get(&key).copied();
        let is_own = own == Some(nid);
        let tid = match before {
            _ if !is_own || state != CellState::OutOfDate => Tid::ZERO,
            Some(cell) if cell.state.is_readable() => up_to(partition)?,
            // Already OUT_OF_DATE; CORRUPTED and unknown ones have nothing that is known good.
            Some(cell) => cell.tid,
            None => Tid::ZERO,
        };
        let pack = is_own.then(|| match before.and_then(|cell| cell.pack) {
            Some(pack) => pack,
            None if state.is_readable() => Tid::ZERO,
            None => change.last_pack,
        });
        let row = CellRow { partition, nid, state, tid, pack };
        after.insert(key, row);
    }
    Ok(after)
}

/// Rows after a change of the own identifier (spec storage.md 9.5).
#[must_use]
pub fn renamed(rows: &Rows, old: NodeId, new: NodeId) -> Rows {
    let mut after = rows.clone();
    for (&(partition, nid), &row) in rows {
        if nid == old {
            after.remove(&(partition, old));
            after.insert((partition, new), CellRow { nid: new, ..row });
        }
    }
    after
}

/// Number of partitions: 1 + the greatest one (spec storage.md 4.1).
#[must_use]
pub fn partitions(rows: &Rows) -> u32 {
    rows.keys().next_back().map_or(0, |(partition, _)| partition.0.saturating_add(1))
}

#[cfg(test)]
mod tests;
