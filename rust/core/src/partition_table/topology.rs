//! Where storages are, and how far apart the cells of a row have to be (spec master.md 12.8, step
//! 2).

use std::collections::BTreeMap;

use neo_wire::{NodeId, Text, Value};

use crate::nodes::NodeRecord;

/// Where a storage is, from the widest place to the narrowest: room, machine, disk.
pub type DevicePath = Vec<Text>;

/// The path that a storage gave at identification; empty if it gave none.
#[must_use]
pub fn device_path(storage: &NodeRecord) -> DevicePath {
    let path = storage.extra.get(&Text::from("devpath"));
    let names = path.and_then(Value::as_array).unwrap_or_default();
    let name = |value: &Value| match value {
        Value::Bin(text) => text.clone(),
        Value::Str(text) => text.as_str().into(),
        other => format!("{other:?}").into(),
    };
    names.iter().map(name).collect()
}

/// What is asked of the groups of candidates that share a path of some length.
#[derive(Debug)]
pub(super) struct Limit {
    /// The group of each candidate.
    pub group: Vec<usize>,
    /// The group above of each group.
    pub parent: Vec<usize>,
    /// At most this number of cells of a row in a group,
    pub max_cells: u32,
    /// and that only in this number of groups with the same parent.
    pub max_full: u32,
}

/// Why the topology can not be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("the paths of devices are too short")]
    TooShort,
    #[error("devices are too unbalanced")]
    Unbalanced,
}

/// The limits that spread `repeats` cells as far apart as possible, from the widest places to
/// those narrow enough to have one cell each at most.
pub(super) fn limits(
    candidates: &[NodeId],
    repeats: u32,
    path: impl Fn(NodeId) -> DevicePath,
) -> Result<Vec<Limit>, Unusable> {
    let mut limits: Vec<Limit> = Vec::new();
    if repeats < 2 {
        return Ok(limits);
    }
    let paths: Vec<_> = candidates.iter().map(|nid| path(*nid)).collect();
    for depth in 1.. {
        // Members of each group, by path.
        let mut groups: BTreeMap<&[Text], Vec<usize>> = BTreeMap::new();
        for (candidate, path) in paths.iter().enumerate() {
            let prefix = path.get(..depth).ok_or(Unusable::TooShort)?;
            groups.entry(prefix).or_default().push(candidate);
        }
        let sizes = || groups.values().map(Vec::len);
        let largest = sizes().max().unwrap_or_default();
        let unequal = sizes().any(|size| size != largest);
        if unequal && largest * repeats as usize > candidates.len() {
            return Err(Unusable::Unbalanced);
        }
        let above = limits.last().map(|limit| limit.group.as_slice());
        let mut group = vec![0; candidates.len()];
        let mut parent = Vec::new();
        for (index, members) in groups.values().enumerate() {
            for member in members {
                group[*member] = index;
            }
            parent.push(above.map_or(0, |above| above[members[0]]));
        }
        let count = u32::try_from(groups.len()).unwrap_or(u32::MAX);
        let (max_cells, max_full) = match (repeats / count, repeats % count) {
            (cells, 0) => (cells, count),
            (cells, rest) => (cells + 1, rest),
        };
        limits.push(Limit { group, parent, max_cells, max_full });
        if count >= repeats {
            break;
        }
    }
    Ok(limits)
}
