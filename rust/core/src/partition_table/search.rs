//! Which candidate takes which pattern (spec master.md 12.8, step 3).

use super::topology::Limit;

/// Rows of the cells of a candidate, in order.
pub(super) type Pattern = Vec<u32>;

/// How many rows may be looked at: beyond that, the next way of searching is likely to be better
/// than what this one would find at last, if it finds anything.
const BUDGET: u64 = 10_000_000;

/// An ordering of candidates, each with an ordered list of acceptable patterns.
pub(super) type Strategy = Vec<(usize, Vec<usize>)>;

/// How many cells each group has in each row, at one depth of the topology.
struct Usage<'a> {
    limit: &'a Limit,
    /// Cells by group and row.
    cells: Vec<u32>,
    /// Groups that have `max_cells`, by parent and row.
    full: Vec<u32>,
}

impl Usage<'_> {
    fn place(&self, candidate: usize, row: u32, rows: usize) -> (usize, usize) {
        let group = self.limit.group[candidate];
        let row = row as usize;
        (group * rows + row, self.limit.parent[group] * rows + row)
    }
}

pub(super) struct Search<'a> {
    rows: usize,
    patterns: &'a [Pattern],
    /// How many candidates can still take each pattern.
    available: Vec<u32>,
    usages: Vec<Usage<'a>>,
    budget: u64,
}

impl<'a> Search<'a> {
    pub fn new(
        rows: usize,
        patterns: &'a [Pattern],
        available: Vec<u32>,
        limits: &'a [Limit],
    ) -> Self {
        let usages = limits.iter().map(|limit| Usage {
            limit,
            cells: vec![0; limit.parent.len() * rows],
            full: vec![0; (limit.parent.iter().max().unwrap_or(&0) + 1) * rows],
        });
        Self { rows, patterns, available, usages: usages.collect(), budget: BUDGET }
    }

    /// The pattern of each candidate in the first complete assignment that the strategy leads to.
    pub fn run(mut self, strategy: &Strategy) -> Option<Vec<usize>> {
        // Enough in any case to look at everything once: without limits, when every pattern is
        // acceptable, nothing more is needed.
        let lists: usize = strategy.iter().map(|(_, patterns)| patterns.len()).sum();
        let lengths = self.patterns.iter().zip(&self.available);
        let cells: u64 =
            lengths.map(|(pattern, count)| (pattern.len() as u64 + 1) * u64::from(*count)).sum();
        self.budget = BUDGET + lists as u64 + cells;
        let mut taken: Vec<usize> = Vec::with_capacity(strategy.len());
        // Where to go on in the list of the candidate to serve.
        let mut next = 0;
        while let Some((candidate, acceptable)) = strategy.get(taken.len()) {
            let found =
                acceptable.get(next..)?.iter().position(|pattern| self.take(*candidate, *pattern));
            if self.budget == 0 {
                return None;
            }
            if let Some(offset) = found {
                taken.push(next + offset);
                next = 0;
            } else {
                let place = taken.pop()?;
                let (candidate, acceptable) = &strategy[taken.len()];
                self.give_back(*candidate, acceptable[place]);
                next = place + 1;
            }
        }
        let mut result = vec![0; strategy.len()];
        for ((candidate, acceptable), place) in strategy.iter().zip(taken) {
            result[*candidate] = acceptable[place];
        }
        Some(result)
    }

    /// Gives a pattern to a candidate if it is available and within the limits.
    fn take(&mut self, candidate: usize, pattern: usize) -> bool {
        self.budget = self.budget.saturating_sub(1);
        if self.available[pattern] == 0 {
            return false;
        }
        let length = self.patterns[pattern].len() as u64;
        self.budget = self.budget.saturating_sub(length);
        if !self.fits(candidate, &self.patterns[pattern]) {
            return false;
        }
        self.available[pattern] -= 1;
        for usage in &mut self.usages {
            for row in &self.patterns[pattern] {
                let (group, parent) = usage.place(candidate, *row, self.rows);
                usage.cells[group] += 1;
                usage.full[parent] += u32::from(usage.cells[group] == usage.limit.max_cells);
            }
        }
        true
    }

    fn fits(&self, candidate: usize, pattern: &Pattern) -> bool {
        self.usages.iter().all(|usage| {
            pattern.iter().all(|row| {
                let (group, parent) = usage.place(candidate, *row, self.rows);
                let cells = usage.cells[group] + 1;
                cells < usage.limit.max_cells
                    || cells == usage.limit.max_cells && usage.full[parent] < usage.limit.max_full
            })
        })
    }

    fn give_back(&mut self, candidate: usize, pattern: usize) {
        self.available[pattern] += 1;
        for usage in &mut self.usages {
            for row in &self.patterns[pattern] {
                let (group, parent) = usage.place(candidate, *row, self.rows);
                usage.full[parent] -= u32::from(usage.cells[group] == usage.limit.max_cells);
                usage.cells[group] -= 1;
            }
        }
    }
}
