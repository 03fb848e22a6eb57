//! The state of a node as text, for who looks for what is wrong (spec tools.md 10).

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use neo_wire::{Cell, NodeId, NodeState, Ptid};

use crate::partition_table::{header_line, table_lines};

/// An item longer than this is cut, in characters: it holds data of objects.
const LONGEST: usize = 400;

/// A text in the making.
#[derive(Debug, Default)]
pub(crate) struct Dump(String);

impl Dump {
    /// The text, without an end of line.
    pub fn finish(self) -> String {
        self.0
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        // Writing to a String does not fail.
        let _ = self.0.write_fmt(line);
    }

    /// One value.
    pub fn value(&mut self, name: &str, value: &dyn fmt::Debug) {
        self.line(format_args!("{name}: {value:?}"));
    }

    /// Several, a line each.
    pub fn list<T: fmt::Debug>(&mut self, name: &str, items: impl IntoIterator<Item = T>) {
        let items: Vec<String> = items.into_iter().map(|item| short(&item)).collect();
        self.line(format_args!("{name}: {}", items.len()));
        for item in items {
            self.line(format_args!("  {item}"));
        }
    }

    /// A partition table, as `neoctl print pt` shows it.
    pub fn table(
        &mut self,
        (ptid, num_replicas): (Option<Ptid>, u32),
        rows: &[Vec<Cell>],
        storages: &BTreeMap<NodeId, NodeState>,
    ) {
        self.line(format_args!("pt: {}", header_line(ptid, num_replicas)));
        for line in table_lines(rows, storages) {
            self.line(format_args!("pt: {line}"));
        }
    }
}

fn short(item: &dyn fmt::Debug) -> String {
    let text = format!("{item:?}");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}
