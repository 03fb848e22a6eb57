//! Outputs, to the letter (spec tools.md 8.3, 9.2).

use std::collections::BTreeMap;
use std::fmt::Write;

use neo_wire::{Cell, NodeId, NodeInfo, NodeState, Oid, Partition, Ptid, RowList, Text, Tid};

use super::command::Rows;
use crate::dates::{format_tid, format_timestamp};
use crate::partition_table::{row_line, table_lines};

fn or_none<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "None".into(), |value| value.to_string())
}

/// Nodes in the order of their NIDs, those without one last, by address.
pub(super) fn sorted(nodes: &[NodeInfo]) -> Vec<&NodeInfo> {
    let mut nodes: Vec<&NodeInfo> = nodes.iter().collect();
    nodes.sort_by_key(|node| (node.nid.is_none(), node.nid, node.address.clone()));
    nodes
}

/// One line per node, in columns.
pub(super) fn nodes(nodes: &[NodeInfo]) -> String {
    if nodes.is_empty() {
        return "Empty list!".into();
    }
    let rows: Vec<[String; 5]> = sorted(nodes)
        .into_iter()
        .map(|node| {
            [
                or_none(node.nid),
                node.node_type.to_string(),
                node.address.as_ref().map(ToString::to_string).unwrap_or_default(),
                node.state.to_string(),
                or_none(node.id_timestamp.map(format_timestamp)),
            ]
        })
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2), width(3)];
    let lines: Vec<String> = rows
        .iter()
        .map(|[nid, node_type, address, state, time]| {
            let [w0, w1, w2, w3] = widths;
            format!("{nid:w0$} | {node_type:w1$} | {address:w2$} | {state:w3$} | {time}")
        })
        .collect();
    lines.join("\n")
}

/// A line per storage, a column per partition.
pub(super) fn table(rows: &RowList, storages: &[NodeInfo]) -> String {
    let states: BTreeMap<NodeId, NodeState> =
        storages.iter().filter_map(|node| Some((node.nid?, node.state))).collect();
    table_lines(rows, &states).join("\n")
}

/// The rows that are wanted.
pub(super) fn select(
    rows: &[Vec<Cell>],
    which: Rows,
) -> impl Iterator<Item = (Partition, &Vec<Cell>)> {
    let (min, max) = (which.min as usize, which.max.map(|max| max as usize));
    (0..)
        .map(Partition)
        .zip(rows)
        .take(max.unwrap_or(usize::MAX))
        .skip(min)
        .filter(move |(_, row)| which.node.is_none_or(|nid| row.iter().any(|x| x.nid == nid)))
}

/// A line per partition.
pub(super) fn rows(rows: &RowList, which: Rows) -> Vec<String> {
    select(rows, which).map(|(partition, row)| row_line(partition, row)).collect()
}

fn tid_and_date(name: &str, tid: Tid) -> String {
    format!("{name} = {:#x} ({})", tid.0, format_tid(tid))
}

/// The three lines of `print ids` out of backup mode.
pub(super) fn ids(last_oid: Option<Oid>, last_tid: Option<Tid>, ptid: Option<Ptid>) -> String {
    let last_oid = or_none(last_oid.map(|oid| format!("{:#x}", oid.0)));
    let last_tid =
        last_tid.map_or_else(|| "last_tid = None".into(), |tid| tid_and_date("last_tid", tid));
    format!("last_oid = {last_oid}\n{last_tid}\nlast_ptid = {}", or_none(ptid))
}

/// The three lines of `print ids` in backup mode.
pub(super) fn backup_ids(backup_tid: Tid, last_tid: Tid, ptid: Option<Ptid>) -> String {
    let backup_tid = tid_and_date("backup_tid", backup_tid);
    let last_tid = tid_and_date("last_tid", last_tid);
    format!("{backup_tid}\n{last_tid}\nlast_ptid = {}", or_none(ptid))
}

fn json_string(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            _ => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
    out
}

fn json_names(names: &[Option<Text>]) -> String {
    let names: Vec<String> = names
        .iter()
        .map(|name| match name {
            Some(name) => json_string(&name.to_string()),
            None => "null".into(),
        })
        .collect();
    names.join(", ")
}

/// The JSON line and the text of `print summary`.
pub(super) fn summary(warning: &[Option<Text>], problem: &[Option<Text>], text: &Text) -> String {
    let entries: Vec<String> = [("warning", warning), ("problem", problem)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(key, names)| format!("\"{key}\": [{}]", json_names(names)))
        .collect();
    format!("# {{{}}}\n{text}", entries.join(", "))
}
