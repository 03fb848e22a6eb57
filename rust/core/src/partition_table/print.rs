//! Tables as operators see them (spec tools.md 8.3).

use std::collections::BTreeMap;

use neo_wire::{Cell, NodeId, NodeState, Partition, Ptid};

fn letter(name: &str) -> char {
    name.chars().next().unwrap_or('?')
}

/// The first line of `neoctl print pt`.
#[must_use]
pub fn header_line(ptid: Option<Ptid>, num_replicas: u32) -> String {
    let ptid = ptid.map_or_else(|| "None".into(), |ptid| ptid.to_string());
    format!("# ptid: {ptid}, replicas: {num_replicas}")
}

/// A table: one line per storage, preceded by a ruler if there are more than 10 partitions. There
/// is a line for each node that has cells, and for each of `storages` that is RUNNING. Without any
/// node, it is one empty line.
#[must_use]
pub fn table_lines(rows: &[Vec<Cell>], storages: &BTreeMap<NodeId, NodeState>) -> Vec<String> {
    let mut lines: BTreeMap<NodeId, Vec<char>> = BTreeMap::new();
    let empty = || vec!['.'; rows.len()];
    for (nid, state) in storages {
        if *state == NodeState::Running {
            lines.insert(*nid, empty());
        }
    }
    for (index, row) in rows.iter().enumerate() {
        for cell in row {
            let line = lines.entry(cell.nid).or_insert_with(empty);
            line[index] = letter(cell.state.name());
        }
    }
    let Some((last, _)) = lines.last_key_value() else {
        return vec![String::new()];
    };
    let width = last.to_string().len();
    let mut text = Vec::new();
    if rows.len() > 10 {
        let mut ruler = " ".repeat(width + 4);
        for number in (10..rows.len()).step_by(10) {
            // Each `v` is above its partition, 10 columns after the last one.
            ruler += &format!("{number:>9}v");
        }
        text.push(ruler);
    }
    text.extend(lines.iter().map(|(nid, cells)| {
        let state = storages.get(nid).copied().unwrap_or(NodeState::Unknown);
        let cells: String = cells.iter().collect();
        let nid = nid.to_string();
        format!("{nid:width$} {} {cells}", letter(state.name()))
    }));
    text
}

/// A row, for `neoctl print pt MIN MAX`.
#[must_use]
pub fn row_line(partition: Partition, row: &[Cell]) -> String {
    let mut line = format!("{:03} |", partition.0);
    for cell in row {
        line += &format!(" {} - {} |", cell.nid, cell.state);
    }
    line
}
