use super::*;
use neo_wire::{NodeState, NodeType, Text};

mod operations;
mod properties;
mod vectors;

fn nid(number: u32) -> NodeId {
    NodeId::new(NodeType::Storage, number)
}

fn set(numbers: &[u32]) -> BTreeSet<NodeId> {
    numbers.iter().copied().map(nid).collect()
}

fn state(letter: char) -> Option<CellState> {
    Some(match letter {
        'U' => CellState::UpToDate,
        'O' => CellState::OutOfDate,
        'F' => CellState::Feeding,
        'C' => CellState::Corrupted,
        _ => return None,
    })
}

/// A table from `UU.|U.U` (one column per node, from 1), version 1; every column is a member.
fn parse(num_replicas: u32, text: &str) -> PartitionTable {
    let row = |line: &str| -> Vec<Cell> {
        let cells = line.chars().zip(1..).filter_map(|(letter, number)| {
            state(letter).map(|state| Cell { nid: nid(number), state })
        });
        cells.collect()
    };
    let rows: RowList = text.split('|').map(row).collect();
    let mut table = PartitionTable::default();
    let loaded = table.load(Some(Ptid(1)), num_replicas, &rows, |_| true);
    loaded.unwrap();
    let columns = text.find('|').unwrap_or(text.len());
    for (number, _) in (1..).zip(0..columns) {
        table.add_member(nid(number));
    }
    table
}

/// What [`parse`] reads, for the given number of columns.
fn text(table: &PartitionTable, columns: u32) -> String {
    let row = |row: &Vec<Cell>| -> String {
        let letter = |number| {
            let cell = row.iter().find(|cell| cell.nid == nid(number));
            cell.map_or(".", |cell| &cell.state.name()[..1])
        };
        (1..=columns).map(letter).collect()
    };
    let rows: Vec<_> = table.rows.iter().map(row).collect();
    rows.join("|")
}

fn repeat(text: &str, rows: usize) -> String {
    let lines: Vec<_> = text.split('|').cycle().take(rows).collect();
    lines.join("|")
}

/// `(row, node, state)` of each change, e.g. `0:S1:D`.
fn letters(changes: &[CellChange]) -> String {
    let change = |change: &CellChange| {
        let state = &change.state.name()[..1];
        format!("{}:{}:{state}", change.partition, change.nid)
    };
    let mut changes: Vec<_> = changes.iter().map(change).collect();
    changes.sort();
    changes.join(" ")
}

/// One character of the text for each level.
fn path(text: &str) -> DevicePath {
    text.chars().map(|name| name.to_string().into()).collect()
}

fn paths(text: &str) -> impl Fn(NodeId) -> DevicePath {
    let paths: Vec<_> = text.split(' ').map(path).collect();
    move |nid| paths[nid.0 as usize - 1].clone()
}

fn nowhere(_: NodeId) -> DevicePath {
    Vec::new()
}

fn create(
    partitions: u32,
    num_replicas: u32,
    nodes: u32,
    path: impl Fn(NodeId) -> DevicePath,
) -> PartitionTable {
    let mut table = PartitionTable::new(partitions, num_replicas);
    let nids = (1..=nodes).map(nid).collect();
    table.create(&nids, path).unwrap();
    table
}

/// Every replication ends: by rows, and within a row in the order of cells.
fn replicate(table: &mut PartitionTable) {
    for partition in (0..table.partitions()).map(Partition) {
        let outdated: Vec<_> = table
            .row(partition)
            .iter()
            .filter(|cell| cell.state == CellState::OutOfDate)
            .map(|cell| cell.nid)
            .collect();
        for nid in outdated {
            table.set_updatable(partition, nid);
            assert!(!table.set_up_to_date(nid, partition).unwrap().is_empty());
        }
    }
}

fn tweak(table: &mut PartitionTable, ignored: &[u32]) -> Vec<CellChange> {
    table.tweak(&set(ignored), nowhere).unwrap()
}
