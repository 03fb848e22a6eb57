//! The partition table of a storage: in memory and recorded (spec storage.md 9).

use std::collections::{BTreeMap, BTreeSet};

use neo_wire::{CellChange, CellState, NodeId, Partition, Ptid, RowList, Tid};

use super::jobs::Job;
use super::{Context, Storage};
use crate::database::model::MAX_PARTITIONS;
use crate::database::{CellRow, Configuration, JobOutput, TableChange, WriteJob};

impl Storage {
    /// What the database says at start, or after the NID changed.
    pub(super) fn load_table(&mut self, settings: &Configuration, rows: Vec<CellRow>) {
        let Some(ptid) = settings.ptid else { return };
        let np = rows.iter().map(|row| row.partition.index() + 1).max().unwrap_or(0);
        let mut table: RowList = vec![Vec::new(); np];
        for row in rows {
            let cell = neo_wire::Cell { nid: row.nid, state: row.state };
            table[row.partition.index()].push(cell);
            if Some(row.nid) == self.nid {
                self.own.insert(row.partition, row);
            }
        }
        self.table.load(Some(ptid), settings.replicas.unwrap_or(0), table);
    }

    /// SendPartitionTable.
    ///
    /// # Errors
    /// Why it is refused.
    pub(super) fn full_table(
        &mut self,
        (ptid, num_replicas, rows): (Ptid, u32, RowList),
        cx: &mut Context<'_>,
    ) -> Result<(), String> {
        if rows.is_empty() || rows.iter().any(Vec::is_empty) {
            return Err("Partial partition table received".to_owned());
        }
        if rows.len() > MAX_PARTITIONS as usize {
            return Err(format!(
                "{} partitions: the limit of the database is {MAX_PARTITIONS}",
                rows.len()
            ));
        }
        let cells: Vec<CellChange> = rows
            .iter()
            .zip(0..)
            .flat_map(|(row, partition)| {
                row.iter().map(move |cell| CellChange {
                    partition: Partition(partition),
                    nid: cell.nid,
                    state: cell.state,
                })
            })
            .collect();
        let change = TableChange {
            ptid,
            replicas: num_replicas,
            cells,
            full: true,
            last_pack: self.packs.last,
        };
        let job = WriteJob::ChangeTable(change);
        job.check().map_err(|refusal| refusal.to_string())?;
        self.table.load(Some(ptid), num_replicas, rows);
        self.record_table(job, cx);
        Ok(())
    }

    /// NotifyPartitionChanges.
    ///
    /// # Errors
    /// Why it is refused.
    pub(super) fn table_changes(
        &mut self,
        (ptid, num_replicas, cells): (Ptid, u32, Vec<CellChange>),
        cx: &mut Context<'_>,
    ) -> Result<(), String> {
        if self.table.ptid().is_none_or(|own| own.0.checked_add(1) != Some(ptid.0)) {
            return Err("wrong partition table id".to_owned());
        }
        let np = self.table.partitions();
        if let Some(cell) = cells.iter().find(|cell| cell.partition.0 >= np) {
            return Err(format!("partition {} does not exist: there are {np}", cell.partition));
        }
        self.table.change(ptid, num_replicas, &cells);
        let last_pack = self.packs.last;
        let change = TableChange { ptid, replicas: num_replicas, cells, full: false, last_pack };
        self.record_table(WriteJob::ChangeTable(change), cx);
        Ok(())
    }

    /// States count from now on; TIDs of own cells are known once recorded.
    fn record_table(&mut self, job: WriteJob, cx: &mut Context<'_>) {
        let before = self.own_cells();
        self.ask_write(vec![job], Job::Table, cx);
        if !self.is_operational() {
            return;
        }
        let corrupted = |cell: &CellRow| cell.state == CellState::Corrupted;
        let lost: BTreeSet<Partition> = before
            .values()
            .filter(|cell| !corrupted(cell))
            .map(|cell| cell.partition)
            .filter(|partition| self.own.get(partition).is_none_or(corrupted))
            .collect();
        self.discard(&lost, cx);
        for (partition, cell) in &self.own {
            if cell.state.is_readable() {
                self.replicating.remove(partition);
                self.replicated.remove(partition);
                let known = before.get(partition);
                if known.is_some_and(|row| row.state == CellState::OutOfDate) {
                    self.packs.tell_again();
                }
            } else if cell.state == CellState::OutOfDate
                && before.get(partition).is_none_or(|row| row.state != CellState::OutOfDate)
            {
                self.replicating.insert(*partition);
            }
        }
        let np = self.table.partitions();
        let (own, replicated) = (&self.own, &self.replicated);
        self.last_serials.retain(|oid, _| {
            let partition = oid.partition(np);
            own.get(&partition).is_some_and(|cell| cell.state.is_readable())
                || replicated.contains_key(&partition)
        });
        self.released = true;
    }

    /// Takes the own cells from the table; returns those before.
    fn own_cells(&mut self) -> BTreeMap<Partition, CellRow> {
        let before = std::mem::take(&mut self.own);
        let Some(nid) = self.nid else { return before };
        for (partition, state) in self.table.cells_of(nid) {
            let known = before.get(&partition);
            let row = CellRow {
                partition,
                nid,
                state,
                tid: known.map_or(Tid::ZERO, |row| row.tid),
                pack: known.and_then(|row| row.pack),
            };
            self.own.insert(partition, row);
        }
        before
    }

    /// The NID was given or changed: the own cells follow (spec storage.md 9.5).
    pub(super) fn rename(&mut self, nid: NodeId, cx: &mut Context<'_>) {
        if let Some(old) = self.nid.replace(nid) {
            self.table.rename(old, nid);
        }
        self.own_cells();
        self.ask_write(vec![WriteJob::SetNodeId(nid)], Job::Nothing, cx);
    }

    /// The database recorded a change of the table.
    pub(super) fn table_written(&mut self, outputs: Vec<JobOutput>, cx: &mut Context<'_>) {
        for output in outputs {
            let JobOutput::OwnCells(rows) = output else {
                continue;
            };
            for row in rows {
                // A later change may be on its way: only what it does not touch is taken.
                if let Some(cell) = self.own.get_mut(&row.partition)
                    && cell.state == row.state
                {
                    *cell = row;
                }
            }
        }
        if self.is_operational() {
            self.tell_completed_pack(cx);
            self.maybe_pack(cx);
        }
    }
}
