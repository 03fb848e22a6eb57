//! What is asked of the admin for each command, and what becomes of its answers.

use neo_wire::{CellState, ClusterState, ErrorCode, Map, NodeInfo, NodeState, NodeType};
use neo_wire::{NodeId, Packet, Partition, RowList, Tid};
use serde_json::json;

use super::command::{Check, Command, Goal, Rows, Targets};
use super::{Failure, format, json};
use crate::partition_table::header_line;

/// How a command goes on.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Next {
    /// Ask this too.
    Ask(Packet),
    /// Send this notification, and it is done.
    Tell(Packet),
    /// Done: what to print, if anything.
    Done(Reply),
    /// Not yet: to be asked again from the beginning, later.
    Later(String),
    /// Failed: what to say on stderr.
    Fail(Failure),
}

/// What comes of a command.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Reply {
    /// For people, a newline follows; none prints nothing at all.
    pub(super) text: Option<String>,
    /// For programs.
    pub(super) json: serde_json::Value,
}

impl Reply {
    /// For what only people read.
    pub(super) fn text(text: String) -> Self {
        Self { text: Some(text), json: serde_json::Value::Null }
    }
}

fn done(text: String, json: serde_json::Value) -> Next {
    Next::Done(Reply { text: Some(text), json })
}

const NOT_AN_ANSWER: &str = "ERROR: the admin sent an answer that makes no sense";

pub(super) fn storages() -> Next {
    Next::Ask(Packet::AskNodeList { node_type: Some(NodeType::Storage) })
}

pub(super) const fn whole_table() -> Next {
    Next::Ask(Packet::AskPartitionList { min_offset: 0, max_offset: 0, nid: None })
}

fn nids(nodes: &[NodeInfo]) -> Vec<NodeId> {
    let mut nids: Vec<NodeId> = nodes.iter().filter_map(|node| node.nid).collect();
    nids.sort_unstable();
    nids
}

/// The next step of a command, after the answers to what it asked so far. Errors are not among
/// them, except ACK.
pub(super) fn next(command: &Command, answers: &[Packet]) -> Next {
    let next = match command {
        Command::PrintCluster
        | Command::PrintPrimary
        | Command::PrintSummary
        | Command::PrintNodes(_) => print(command, answers),
        Command::PrintIds => print_ids(answers),
        Command::PrintTable | Command::PrintRows(_) => print_table(command, answers),
        Command::Check { .. } => check(command, answers),
        Command::Tweak { dry_run, nids } => tweak(*dry_run, nids, answers),
        Command::Drop { nid, force } => drop_node(*nid, *force, answers),
        Command::Kill(nid) => kill(*nid, answers),
        Command::FlushLog => match answers {
            // FlushLog has no answer: this tells whether there is somebody to give it to.
            [] => Some(Next::Ask(Packet::AskPrimary {})),
            _ => Some(Next::Tell(Packet::FlushLog {})),
        },
        Command::SetCluster(state) => {
            acknowledged(Packet::SetClusterState { state: *state }, answers)
        }
        Command::SetReplicas(num_replicas) => {
            let num_replicas = i64::from(*num_replicas);
            acknowledged(Packet::SetNumReplicas { num_replicas }, answers)
        }
        Command::Truncate(tid) => {
            acknowledged(Packet::Truncate { tid: *tid }, answers).map(Next::silent)
        }
        Command::Add(targets) => {
            on_targets(targets, answers, |nids| Packet::AddPendingNodes { nids })
        }
        Command::PruneOrphan { dry_run, targets } => on_targets(targets, answers, |nids| {
            let dry_run = *dry_run;
            Packet::Repair { nids, dry_run }
        }),
        Command::Wait(goal) => wait(*goal, answers),
    };
    next.unwrap_or_else(|| Next::Fail(Failure::refused(NOT_AN_ANSWER)))
}

impl Next {
    fn silent(self) -> Self {
        match self {
            Self::Done(reply) => Self::Done(Reply { text: None, ..reply }),
            next => next,
        }
    }
}

/// A request whose success is an ACK, with a message to print.
fn acknowledged(request: Packet, answers: &[Packet]) -> Option<Next> {
    match answers {
        [] => Some(Next::Ask(request)),
        [Packet::Error { code: ErrorCode::Ack, message }] => {
            let message = message.to_string();
            let json = json::message(&message);
            Some(done(message, json))
        }
        _ => None,
    }
}

fn on_targets(
    targets: &Targets,
    answers: &[Packet],
    request: impl Fn(Vec<NodeId>) -> Packet,
) -> Option<Next> {
    match (targets, answers) {
        (Targets::Nodes(nids), answers) => acknowledged(request(nids.clone()), answers),
        (Targets::All, []) => Some(storages()),
        (Targets::All, [Packet::AnswerNodeList { nodes }, answers @ ..]) => {
            acknowledged(request(nids(nodes)), answers)
        }
        _ => None,
    }
}

fn print(command: &Command, answers: &[Packet]) -> Option<Next> {
    let (text, json) = match (command, answers) {
        (Command::PrintCluster, []) => return Some(Next::Ask(Packet::AskClusterState {})),
        (Command::PrintPrimary, []) => return Some(Next::Ask(Packet::AskPrimary {})),
        (Command::PrintSummary, []) => return Some(Next::Ask(Packet::AskMonitorInformation {})),
        (Command::PrintNodes(node_type), []) => {
            let node_type = *node_type;
            return Some(Next::Ask(Packet::AskNodeList { node_type }));
        }
        (_, [Packet::AnswerClusterState { state }]) => {
            let name = state.map(ClusterState::name);
            (name.unwrap_or("None").into(), json!({"state": name}))
        }
        (_, [Packet::AnswerPrimary { nid }]) => {
            (nid.to_string(), json!({"primary": nid.to_string()}))
        }
        (_, [Packet::AnswerMonitorInformation { warning, problem, summary }]) => {
            (format::summary(warning, problem, summary), json::summary(warning, problem, summary))
        }
        (_, [Packet::AnswerNodeList { nodes }]) => (format::nodes(nodes), json::nodes(nodes)),
        _ => return None,
    };
    Some(done(text, json))
}

fn print_ids(answers: &[Packet]) -> Option<Next> {
    let (ptid, backup_tid, rest) = match answers {
        [] => return Some(Next::Ask(Packet::AskRecovery {})),
        [Packet::AnswerRecovery { ptid, backup_tid, .. }, rest @ ..] => (*ptid, *backup_tid, rest),
        _ => return None,
    };
    let (text, json) = match (backup_tid, rest) {
        (None, []) => return Some(Next::Ask(Packet::AskLastIDs {})),
        (Some(_), []) => return Some(Next::Ask(Packet::AskLastTransaction {})),
        (None, [Packet::AnswerLastIDs { last_tid, last_oid, .. }]) => {
            let (oid, tid) = (*last_oid, *last_tid);
            (format::ids(oid, tid, ptid), json::ids(oid, tid, ptid))
        }
        (Some(backup_tid), [Packet::AnswerLastTransaction { tid }]) => {
            let text = format::backup_ids(backup_tid, *tid, ptid);
            (text, json::backup_ids(backup_tid, *tid, ptid))
        }
        _ => return None,
    };
    Some(done(text, json))
}

fn print_table(command: &Command, answers: &[Packet]) -> Option<Next> {
    let (ptid, num_replicas, rows, rest) = match answers {
        // All rows, even to print a few: only so can bounds be clamped.
        [] => return Some(whole_table()),
        [Packet::AnswerPartitionList { ptid, num_replicas, rows }, rest @ ..] => {
            (*ptid, *num_replicas, rows, rest)
        }
        _ => return None,
    };
    let header = header_line(ptid, num_replicas);
    let (text, which) = match (command, rest) {
        (Command::PrintRows(which), _) => {
            let mut lines = vec![header];
            lines.extend(format::rows(rows, *which));
            (lines.join("\n"), *which)
        }
        (_, []) if ptid.is_some() => return Some(storages()),
        (_, []) => (header + "\n", Rows::ALL),
        (_, [Packet::AnswerNodeList { nodes }]) => {
            (format!("{header}\n{}", format::table(rows, nodes)), Rows::ALL)
        }
        _ => return None,
    };
    let rows: &[_] = if ptid.is_some() { rows } else { &[] };
    let json = json::table(ptid, num_replicas, json::partitions(rows, which));
    Some(done(text, json))
}

/// Whether what is waited for is reached.
fn wait(goal: Goal, answers: &[Packet]) -> Option<Next> {
    let (state, rest) = match answers {
        [] => return Some(Next::Ask(Packet::AskClusterState {})),
        [Packet::AnswerClusterState { state }, rest @ ..] => (*state, rest),
        _ => return None,
    };
    let name = state.map_or("None", ClusterState::name);
    let reached = || Next::Done(Reply { text: None, json: json!({"state": name}) });
    let not_yet = Next::Later(format!("the cluster is {name}"));
    Some(match goal {
        Goal::State(wanted) if state == Some(wanted) => reached(),
        Goal::State(_) => not_yet,
        Goal::Replicated => match (state, rest) {
            (Some(ClusterState::Running | ClusterState::BackingUp), []) => whole_table(),
            (_, []) => not_yet,
            (_, [Packet::AnswerPartitionList { rows, .. }]) => {
                let cells = rows.iter().flatten();
                match cells.filter(|cell| cell.state != CellState::UpToDate).count() {
                    0 => reached(),
                    count => Next::Later(format!("{count} cells are not UP_TO_DATE")),
                }
            }
            _ => return None,
        },
    })
}

fn tweak(dry_run: bool, nids: &[NodeId], answers: &[Packet]) -> Option<Next> {
    let nids = nids.to_vec();
    Some(match answers {
        [] => Next::Ask(Packet::TweakPartitionTable { dry_run, nids }),
        [Packet::AnswerTweakPartitionTable { changed: false, .. }] => {
            let json = json!({"changed": false});
            done("No change done.".into(), json)
        }
        [Packet::AnswerTweakPartitionTable { .. }] => storages(),
        [Packet::AnswerTweakPartitionTable { rows, .. }, Packet::AnswerNodeList { nodes }] => {
            let partitions = json::partitions(rows, Rows::ALL);
            let json = json!({"changed": true, "partitions": partitions});
            done(format::table(rows, nodes), json)
        }
        _ => return None,
    })
}

fn kill(nid: NodeId, answers: &[Packet]) -> Option<Next> {
    let request = Packet::SetNodeState { nid, state: NodeState::Down };
    match answers {
        [] => Some(Next::Ask(Packet::AskClusterState {})),
        // A primary master of the Python NEO would put every cell of the storage out of date.
        [Packet::AnswerClusterState { state: Some(ClusterState::Recovering) }] => {
            let text = "kill is refused in RECOVERING state: stop the process instead";
            Some(Next::Fail(Failure::refused(text)))
        }
        [Packet::AnswerClusterState { .. }, rest @ ..] => acknowledged(request, rest),
        _ => None,
    }
}

fn drop_node(nid: NodeId, force: bool, answers: &[Packet]) -> Option<Next> {
    let request = Packet::SetNodeState { nid, state: NodeState::Unknown };
    match answers {
        _ if force => acknowledged(request, answers),
        [] => Some(storages()),
        [Packet::AnswerNodeList { nodes }, rest @ ..] => {
            let erased =
                |node: &NodeInfo| node.nid == Some(nid) && node.state == NodeState::Pending;
            if nodes.iter().any(erased) {
                return Some(Next::Fail(Failure::refused(format!(
                    "{nid} is pending: dropping it would erase its database. \
                     Stop it first, or use --force"
                ))));
            }
            acknowledged(request, rest)
        }
        _ => None,
    }
}

fn check(command: &Command, answers: &[Packet]) -> Option<Next> {
    let Command::Check { checks, min_tid, max_tid } = command else {
        return None;
    };
    let (rows, rest) = match answers {
        [] => return Some(whole_table()),
        [Packet::AnswerPartitionList { rows, .. }, rest @ ..] => (rows, rest),
        _ => return None,
    };
    match check_request(checks, (*min_tid, *max_tid), rows) {
        Ok(request) => acknowledged(request, rest).map(Next::silent),
        Err(reason) => Some(Next::Fail(Failure::refused(reason))),
    }
}

fn check_request(
    checks: &[Check],
    (min_tid, max_tid): (Tid, Option<Tid>),
    rows: &RowList,
) -> Result<Packet, String> {
    let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let mut sources: Vec<Option<Option<NodeId>>> = vec![None; rows.len()];
    for Check { partition, source } in checks {
        let range = match partition {
            None => 0..count,
            Some(partition) if *partition < count => *partition..*partition + 1,
            Some(partition) => {
                return Err(format!(
                    "unknown partition {partition}: the cluster has {count} of them"
                ));
            }
        };
        let held = |nid: NodeId| {
            let mut cells = rows.iter().flatten();
            cells.any(|cell| cell.nid == nid && cell.state != CellState::Discarded)
        };
        if let Some(nid) = source.filter(|nid| !held(*nid)) {
            return Err(format!("unknown storage {nid}: it has no cell"));
        }
        for partition in range {
            sources[partition as usize] = Some(*source);
        }
    }
    let chosen = (0..count).map(Partition).zip(sources);
    let partitions: Map<Partition, Option<NodeId>> =
        chosen.filter_map(|(partition, source)| Some((partition, source?))).collect();
    Ok(Packet::CheckReplicas { partitions, min_tid, max_tid })
}
