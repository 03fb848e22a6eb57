//! Values as an operator types them (spec tools.md 3.3, 3.4, 3.6).

use neo_wire::{ClusterState, NodeId, NodeType, Tid};

use super::UsageError;

/// A letter and a number: `S1`.
pub(super) fn nid(text: &str) -> Result<NodeId, UsageError> {
    let node_type = match text.chars().next() {
        Some('S') => Some(NodeType::Storage),
        Some('M') => Some(NodeType::Master),
        Some('C') => Some(NodeType::Client),
        Some('A') => Some(NodeType::Admin),
        _ => None,
    };
    let number = text.get(1..).and_then(|digits| digits.parse::<u32>().ok());
    match (node_type, number) {
        (Some(node_type), Some(number @ 1..=0x00ff_ffff)) => Ok(NodeId::new(node_type, number)),
        _ => Err(UsageError(format!(
            "invalid node '{text}': a letter among S, M, C, A and a number are expected, as in S1"
        ))),
    }
}

/// `tid:` and an integer in any of the usual bases, or a number of seconds since 1970.
pub(super) fn tid(text: &str) -> Result<Tid, UsageError> {
    parse_tid(text).ok_or_else(|| {
        UsageError(format!(
            "invalid TID '{text}': tid:<integer> or a number of seconds since 1970 is expected"
        ))
    })
}

fn parse_tid(text: &str) -> Option<Tid> {
    let Some(integer) = strip_tid(text) else {
        let number = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
        let seconds = Some(text).filter(|text| text.chars().all(number))?;
        return Tid::from_time(seconds.parse().ok()?);
    };
    let lower = integer.to_ascii_lowercase();
    let number = if let Some(digits) = lower.strip_prefix("0x") {
        u64::from_str_radix(digits, 16)
    } else if let Some(digits) = lower.strip_prefix("0o") {
        u64::from_str_radix(digits, 8)
    } else if let Some(digits) = lower.strip_prefix("0b") {
        u64::from_str_radix(digits, 2)
    } else {
        lower.parse()
    };
    number.ok().map(Tid).filter(|tid| *tid <= Tid::MAX)
}

fn strip_tid(text: &str) -> Option<&str> {
    let (prefix, rest) = text.split_at_checked(4)?;
    prefix.eq_ignore_ascii_case("tid:").then_some(rest)
}

/// Whether it is a TID rather than a partition and a node, which have a `:` too.
pub(super) fn is_tid(text: &str) -> bool {
    strip_tid(text).is_some() || !text.contains(':')
}

fn names<T: Copy>(all: &[T], name: fn(T) -> &'static str) -> String {
    let names: Vec<&str> = all.iter().map(|value| name(*value)).collect();
    names.join(", ")
}

/// A state of the cluster, in upper or lower case.
pub(super) fn cluster_state(text: &str) -> Result<ClusterState, UsageError> {
    ClusterState::from_name(&text.to_ascii_uppercase()).ok_or_else(|| {
        let expected = names(ClusterState::ALL, ClusterState::name);
        UsageError(format!("unknown cluster state '{text}': expected one of {expected}"))
    })
}

/// A kind of node, in upper or lower case.
pub(super) fn node_type(text: &str) -> Result<NodeType, UsageError> {
    NodeType::from_name(&text.to_ascii_uppercase()).ok_or_else(|| {
        let expected = names(NodeType::ALL, NodeType::name);
        UsageError(format!("unknown node type '{text}': expected one of {expected}"))
    })
}
