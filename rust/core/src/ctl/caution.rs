//! What an operator should know before a command is given: what it loses, whom it disturbs.

use neo_wire::Tid;
use neo_wire::{CellState, ClusterState, NodeId, NodeInfo, NodeState, NodeType, Packet, RowList};

use super::Failure;
use super::command::Command;
use super::dialogue::{Next, Reply, storages, whole_table};
use crate::dates::format_tid;

/// The next step of the questions that come before a command. The reply is a line per caution.
pub(super) fn next(command: &Command, answers: &[Packet]) -> Next {
    let next = match command {
        Command::SetCluster(ClusterState::Verifying) => start(answers),
        Command::SetCluster(ClusterState::Stopping) => stop(answers),
        Command::SetCluster(ClusterState::StoppingBackup) => stop_backup(answers),
        Command::Truncate(tid) => truncate(*tid, answers),
        Command::PrintIds => print_ids(answers),
        _ => Some(nothing()),
    };
    let nonsense = || Failure::refused("ERROR: the admin sent an answer that makes no sense");
    next.unwrap_or_else(|| Next::Fail(nonsense()))
}

/// Whether there is anything to ask before a command.
pub(super) fn concerns(command: &Command) -> bool {
    next(command, &[]) != nothing()
}

fn nothing() -> Next {
    Next::Done(Reply::default())
}

fn lines(lines: &[String]) -> Next {
    if lines.is_empty() {
        return nothing();
    }
    let lines = lines.iter().map(|line| format!("warning: {line}"));
    Next::Done(Reply::text(lines.collect::<Vec<_>>().join("\n")))
}

/// Goes on only in one state of the cluster.
fn in_state(wanted: ClusterState, answers: &[Packet]) -> Result<&[Packet], Box<Option<Next>>> {
    match answers {
        [] => Err(Box::new(Some(Next::Ask(Packet::AskClusterState {})))),
        [Packet::AnswerClusterState { state }, rest @ ..] if *state == Some(wanted) => Ok(rest),
        [Packet::AnswerClusterState { .. }] => Err(Box::new(Some(nothing()))),
        _ => Err(Box::new(None)),
    }
}

/// Which storages are absent (spec tools.md 18, D17). Nobody can tell up to where each storage
/// knows transactions: a master only asks that after the start.
fn start(answers: &[Packet]) -> Option<Next> {
    let rest = match in_state(ClusterState::Recovering, answers) {
        Ok(rest) => rest,
        Err(next) => return *next,
    };
    let (rows, rest) = match rest {
        [] => return Some(whole_table()),
        [Packet::AnswerPartitionList { ptid: None, .. }] => return Some(nothing()),
        [Packet::AnswerPartitionList { rows, .. }, rest @ ..] => (rows, rest),
        _ => return None,
    };
    let nodes = match rest {
        [] => return Some(storages()),
        [Packet::AnswerNodeList { nodes }] => nodes,
        _ => return None,
    };
    let absent = absent(rows, nodes).into_iter().map(|(nid, count)| {
        format!(
            "{nid} is absent: its {count} readable cells become out of date, and what only it has \
             is lost"
        )
    });
    Some(lines(&absent.collect::<Vec<_>>()))
}

/// Storages that are not there and have readable cells, with their number.
fn absent(rows: &RowList, nodes: &[NodeInfo]) -> Vec<(NodeId, usize)> {
    let is_there = |nid: NodeId| {
        nodes.iter().any(|node| {
            node.nid == Some(nid) && matches!(node.state, NodeState::Pending | NodeState::Running)
        })
    };
    let readable = |state| matches!(state, CellState::UpToDate | CellState::Feeding);
    let mut counts = std::collections::BTreeMap::<NodeId, usize>::new();
    for cell in rows.iter().flatten().filter(|cell| readable(cell.state)) {
        *counts.entry(cell.nid).or_default() += 1;
    }
    counts.into_iter().filter(|(nid, _)| !is_there(*nid)).collect()
}

/// Whose transactions are waited for (spec tools.md 16.3, 18, D19).
fn stop(answers: &[Packet]) -> Option<Next> {
    let nodes = match answers {
        [] => return Some(Next::Ask(Packet::AskNodeList { node_type: Some(NodeType::Client) })),
        [Packet::AnswerNodeList { nodes }] => nodes,
        _ => return None,
    };
    let mut nids: Vec<_> = nodes.iter().filter_map(|node| node.nid).collect();
    if nids.is_empty() {
        return Some(nothing());
    }
    nids.sort_unstable();
    let names: Vec<_> = nids.iter().map(ToString::to_string).collect();
    Some(lines(&[format!(
        "clients are connected ({}): the transactions they have begun are waited for, then they \
         lose the cluster; stop them first if they commit to several databases",
        names.join(", ")
    )]))
}

fn stop_backup(answers: &[Packet]) -> Option<Next> {
    let rest = match in_state(ClusterState::BackingUp, answers) {
        Ok(rest) => rest,
        Err(next) => return *next,
    };
    Some(match rest {
        [] => Next::Ask(Packet::AskRecovery {}),
        [Packet::AnswerRecovery { backup_tid: Some(tid), .. }] => lines(&[format!(
            "the backup is truncated: transactions after {tid} ({}) are erased",
            format_tid(*tid)
        )]),
        [Packet::AnswerRecovery { .. }] => nothing(),
        _ => return None,
    })
}

fn truncate(tid: Tid, answers: &[Packet]) -> Option<Next> {
    let rest = match in_state(ClusterState::Running, answers) {
        Ok(rest) => rest,
        Err(next) => return *next,
    };
    Some(match rest {
        [] => Next::Ask(Packet::AskLastTransaction {}),
        [Packet::AnswerLastTransaction { tid: last }] if *last > tid => lines(&[format!(
            "transactions after {tid} ({}), up to {last} ({}), are erased for ever",
            format_tid(tid),
            format_tid(*last)
        )]),
        [Packet::AnswerLastTransaction { .. }] => nothing(),
        _ => return None,
    })
}

/// A primary master of the Python NEO may die of the question (spec tools.md 18, D22).
fn print_ids(answers: &[Packet]) -> Option<Next> {
    let rest = match in_state(ClusterState::Recovering, answers) {
        Ok(rest) => rest,
        Err(next) => return *next,
    };
    Some(match rest {
        [] => whole_table(),
        [Packet::AnswerPartitionList { ptid: None, .. }] => nothing(),
        [Packet::AnswerPartitionList { .. }] => lines(&[
            "in RECOVERING, a master of the Python NEO dies of this question if the cluster is a \
             backup"
                .to_owned(),
        ]),
        _ => return None,
    })
}
