//! The best table for given nodes, and how to go there (spec master.md 12.6, 12.8).

use std::collections::{BTreeMap, BTreeSet};

use neo_wire::{CellChange, CellState, NodeId, Partition};
use tracing::warn;

use super::search::{Pattern, Search, Strategy};
use super::topology::{DevicePath, Limit, limits};
use super::{PartitionTable, TableError};

/// The rows of a candidate: those where it has a cell, by state.
struct Current {
    /// Cells that are not FEEDING.
    settled: Vec<u32>,
    readable: Vec<u32>,
    unreadable: Vec<u32>,
}

/// The ideal layout, up to a permutation of candidates.
struct Layout {
    /// Distinct patterns: the longest first, then in order.
    patterns: Vec<Pattern>,
    /// How many candidates take each of them.
    available: Vec<u32>,
}

impl Layout {
    /// Deals each row `repeats` times, in a round of the candidates.
    fn new(rows: u32, repeats: u32, candidates: usize) -> Self {
        let mut bins = vec![Pattern::new(); candidates];
        let sequence = (0..rows).flat_map(|row| (0..repeats).map(move |_| row));
        for (index, row) in sequence.enumerate() {
            bins[index % candidates].push(row);
        }
        bins.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        let mut layout = Self { patterns: Vec::new(), available: Vec::new() };
        for bin in bins {
            match layout.available.last_mut() {
                Some(count) if layout.patterns.last() == Some(&bin) => *count += 1,
                _ => {
                    layout.patterns.push(bin);
                    layout.available.push(1);
                }
            }
        }
        layout
    }

    /// Nothing to move: each candidate keeps its cells. None if this is not possible.
    fn keeping(&self, current: &[Current]) -> Option<Strategy> {
        let mut strategy = Strategy::new();
        for (candidate, current) in current.iter().enumerate() {
            let keeps = |index: &usize| missing(&current.settled, &self.patterns[*index]) == 0;
            let acceptable: Vec<_> = (0..self.patterns.len()).filter(keeps).collect();
            if acceptable.is_empty() {
                return None;
            }
            strategy.push((candidate, acceptable));
        }
        Some(strategy)
    }

    /// The least to move: those for which the choice matters most choose first.
    fn moving(&self, current: &[Current]) -> Strategy {
        let mut strategy = Vec::new();
        for (candidate, current) in current.iter().enumerate() {
            let cost = |index: usize| {
                let pattern = &self.patterns[index];
                (missing(&current.readable, pattern), missing(&current.unreadable, pattern))
            };
            let mut patterns: Vec<_> =
                (0..self.patterns.len()).map(|index| (cost(index), index)).collect();
            patterns.sort_unstable();
            let stake = match (patterns.first(), patterns.last()) {
                (Some((min, _)), Some((max, _))) => (min.0 - max.0, min.1 - max.1),
                _ => (0, 0),
            };
            let acceptable = patterns.into_iter().map(|(_, index)| index).collect();
            strategy.push((stake, candidate, acceptable));
        }
        strategy.sort_by_key(|(stake, candidate, _)| (*stake, *candidate));
        strategy.into_iter().map(|(_, candidate, acceptable)| (candidate, acceptable)).collect()
    }

    /// The pattern of each candidate.
    fn assign(&self, current: &[Current], rows: u32, limits: &[Limit]) -> Option<Vec<usize>> {
        let search = || {
            let available = self.available.clone();
            Search::new(rows as usize, &self.patterns, available, limits)
        };
        self.keeping(current)
            .and_then(|strategy| search().run(&strategy))
            .or_else(|| search().run(&self.moving(current)))
    }
}

/// How many of `rows` are not in a pattern; both are sorted.
fn missing(rows: &[u32], pattern: &Pattern) -> i64 {
    let mut pattern = pattern.iter().peekable();
    let absent = rows.iter().filter(|row| {
        while pattern.next_if(|other| other < row).is_some() {}
        pattern.peek() != Some(row)
    });
    i64::try_from(absent.count()).unwrap_or(i64::MAX)
}

impl PartitionTable {
    /// Creates the first table, on these nodes; its version is 1 (spec master.md 12.6). Nodes that
    /// get no cell are not members.
    ///
    /// # Errors
    /// If there is no node.
    pub fn create(
        &mut self,
        nids: &BTreeSet<NodeId>,
        path: impl Fn(NodeId) -> DevicePath,
    ) -> Result<(), TableError> {
        let mut table = Self::new(self.partitions(), self.num_replicas);
        table.members.clone_from(nids);
        table.rebuild(&BTreeSet::new(), path, CellState::UpToDate)?;
        table.members = table.nids().collect();
        table.increment_ptid();
        *self = table;
        Ok(())
    }

    /// Spreads the cells over all members but `ignored` ones, whose cells stay and do not count
    /// (spec master.md 12.8). For a dry run, tweak a copy.
    ///
    /// # Errors
    /// If no node is left.
    pub fn tweak(
        &mut self,
        ignored: &BTreeSet<NodeId>,
        path: impl Fn(NodeId) -> DevicePath,
    ) -> Result<Vec<CellChange>, TableError> {
        self.rebuild(ignored, path, CellState::OutOfDate)
    }

    fn rebuild(
        &mut self,
        ignored: &BTreeSet<NodeId>,
        path: impl Fn(NodeId) -> DevicePath,
        added: CellState,
    ) -> Result<Vec<CellChange>, TableError> {
        let candidates: Vec<_> = self.members.difference(ignored).copied().collect();
        if candidates.is_empty() {
            return Err(TableError::NoNode);
        }
        let count = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
        let repeats = self.num_replicas.saturating_add(1).min(count);
        let rows = self.partitions();
        let layout = Layout::new(rows, repeats, candidates.len());
        let current = self.current(&candidates);
        let limits = limits(&candidates, repeats, path).unwrap_or_else(|error| {
            let failures = repeats - 1;
            warn!("Can't maximize resiliency: {error}: {failures} failing devices may lose data");
            Vec::new()
        });
        let assignment = layout.assign(&current, rows, &limits).or_else(|| {
            if !limits.is_empty() {
                let failures = repeats - 1;
                warn!("Can't maximize resiliency: {failures} failing devices may lose data");
            }
            layout.assign(&current, rows, &[])
        });
        // Without limits, the strategy that moves cells takes any pattern for any candidate.
        assert!(assignment.is_some(), "no layout for {count} nodes");
        let assignment = assignment.unwrap_or_default();
        let patterns = assignment.into_iter().map(|index| &layout.patterns[index]);
        let patterns: Vec<_> = candidates.iter().copied().zip(patterns).collect();
        let was_readable = self.readable_rows();
        let changes = self.follow(&patterns, repeats, added);
        let readable = self.readable_rows();
        let kept = was_readable.iter().zip(&readable).all(|(was, is)| is >= was);
        assert!(kept, "a tweak must not make a partition unreadable");
        Ok(changes)
    }

    fn readable_rows(&self) -> Vec<bool> {
        let is_readable = |(partition, _)| self.readable(partition).next().is_some();
        self.iter().map(is_readable).collect()
    }

    fn current(&self, candidates: &[NodeId]) -> Vec<Current> {
        let index: BTreeMap<_, _> = candidates.iter().copied().zip(0..).collect();
        let mut current: Vec<_> = candidates
            .iter()
            .map(|_| Current { settled: Vec::new(), readable: Vec::new(), unreadable: Vec::new() })
            .collect();
        for (partition, row) in self.iter() {
            for cell in row {
                let Some(candidate) = index.get(&cell.nid) else {
                    continue;
                };
                let current: &mut Current = &mut current[*candidate];
                if cell.state != CellState::Feeding {
                    current.settled.push(partition.0);
                }
                if cell.state.is_readable() {
                    current.readable.push(partition.0);
                } else {
                    current.unreadable.push(partition.0);
                }
            }
        }
        current
    }

    /// Gives each candidate its pattern; what is not in it any more stays as long as it is needed
    /// to read (step 4).
    fn follow(
        &mut self,
        patterns: &[(NodeId, &Pattern)],
        repeats: u32,
        added: CellState,
    ) -> Vec<CellChange> {
        let mut changes = Vec::new();
        let mut missing = vec![repeats; self.rows.len()];
        let mut surplus: Vec<Vec<NodeId>> = vec![Vec::new(); self.rows.len()];
        for (nid, pattern) in patterns {
            let mut left: BTreeMap<_, _> = self.cells_of(*nid).collect();
            for partition in pattern.iter().copied().map(Partition) {
                let state = left.remove(&partition);
                if state.is_some_and(CellState::is_readable) {
                    missing[partition.index()] -= 1;
                }
                match state {
                    None => self.change(partition, *nid, added, &mut changes),
                    Some(CellState::Feeding) => {
                        self.change(partition, *nid, CellState::UpToDate, &mut changes);
                    }
                    Some(_) => {}
                }
            }
            for partition in left.into_keys() {
                surplus[partition.index()].push(*nid);
            }
        }
        for (partition, nids) in (0..).map(Partition).zip(surplus) {
            for nid in nids {
                let missing = &mut missing[partition.index()];
                let state = self.cell(partition, nid);
                let is_needed = *missing > 0 && state.is_some_and(CellState::is_readable);
                let state = if is_needed {
                    *missing -= 1;
                    CellState::Feeding
                } else {
                    CellState::Discarded
                };
                self.change(partition, nid, state, &mut changes);
            }
        }
        changes
    }
}
