//! What an operator can ask (spec tools.md 8.2), as parsed from the words of a command line.

use neo_wire::{ClusterState, NodeId, NodeType, Tid};

use super::{UsageError, values};

/// One or more storages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Targets {
    /// Every storage of the node list.
    All,
    /// These.
    Nodes(Vec<NodeId>),
}

/// A partition to check, and the storage taken as reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Check {
    /// The partition; none for all.
    pub partition: Option<u32>,
    /// The reference; none to compare replicas together.
    pub source: Option<NodeId>,
}

/// Which rows of the partition table to print.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rows {
    /// First one.
    pub min: u32,
    /// The one after the last; none for the end.
    pub max: Option<u32>,
    /// Only rows having a cell on this node.
    pub node: Option<NodeId>,
}

impl Rows {
    /// The whole table.
    pub const ALL: Self = Self { min: 0, max: None, node: None };
}

/// What can be waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Goal {
    /// The cluster is in this state.
    State(ClusterState),
    /// It is in service, and every cell is up to date.
    Replicated,
}

/// A command of `neoctl`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// `print ids`
    PrintIds,
    /// `print pt`, the whole table.
    PrintTable,
    /// `print pt min [max [node]]`
    PrintRows(Rows),
    /// `print node [type]`
    PrintNodes(Option<NodeType>),
    /// `print cluster`
    PrintCluster,
    /// `print primary`
    PrintPrimary,
    /// `print summary`
    PrintSummary,
    /// `set cluster state`, and `start`.
    SetCluster(ClusterState),
    /// `set replicas n`
    SetReplicas(u32),
    /// `check [p]:[node]… [min_tid [max_tid]]`
    Check {
        /// What to check; later ones win.
        checks: Vec<Check>,
        /// From this TID.
        min_tid: Tid,
        /// Up to this TID; none for the last one.
        max_tid: Option<Tid>,
    },
    /// `add all|node…`
    Add(Targets),
    /// `tweak [-n] [node…]`
    Tweak {
        /// Only tell what would be done.
        dry_run: bool,
        /// Storages that are going away.
        nids: Vec<NodeId>,
    },
    /// `drop [--force] node`
    Drop {
        /// The storage to forget.
        nid: NodeId,
        /// Also if this erases its database.
        force: bool,
    },
    /// `kill node`
    Kill(NodeId),
    /// `prune_orphan 0|1 all|node…`
    PruneOrphan {
        /// Only tell what would be done.
        dry_run: bool,
        /// Where.
        targets: Targets,
    },
    /// `truncate tid`
    Truncate(Tid),
    /// `flush_log`
    FlushLog,
    /// `wait state|replicated`
    Wait(Goal),
}

fn usage<T>(expected: &str) -> Result<T, UsageError> {
    Err(UsageError(format!("usage: {expected}")))
}

fn nids(words: &[&str]) -> Result<Vec<NodeId>, UsageError> {
    words.iter().map(|word| values::nid(word)).collect()
}

fn targets(words: &[&str], expected: &str) -> Result<Targets, UsageError> {
    match words {
        [] => usage(expected),
        ["all"] => Ok(Targets::All),
        nodes => nids(nodes).map(Targets::Nodes),
    }
}

impl Command {
    /// Whether an operator may have to know something before giving it: see
    /// [`super::Ctl::cautions`].
    #[must_use]
    pub fn has_cautions(&self) -> bool {
        super::caution::concerns(self)
    }

    /// The command that these words make; none if there is no word, or `help`: then the list of
    /// commands is wanted.
    ///
    /// # Errors
    /// [`UsageError`]: one line for the operator.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Option<Self>, UsageError> {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let command = match words.as_slice() {
            [] | ["help"] => return Ok(None),
            ["print", rest @ ..] => parse_print(rest, &words)?,
            ["set", "cluster", rest @ ..] => match rest {
                [state] => Self::SetCluster(values::cluster_state(state)?),
                _ => return usage("set cluster <state>"),
            },
            ["set", "replicas", rest @ ..] => match rest {
                [number] => Self::SetReplicas(parse_replicas(number)?),
                _ => return usage("set replicas <number>"),
            },
            ["set"] => return usage("set cluster|replicas …"),
            ["check", rest @ ..] => parse_check(rest)?,
            ["start"] => Self::SetCluster(ClusterState::Verifying),
            ["add", rest @ ..] => Self::Add(targets(rest, "add all|<node>…")?),
            ["tweak", rest @ ..] => parse_tweak(rest)?,
            ["drop", rest @ ..] => match rest {
                ["--force", node] | [node, "--force"] => {
                    Self::Drop { nid: values::nid(node)?, force: true }
                }
                [node] => Self::Drop { nid: values::nid(node)?, force: false },
                _ => return usage("drop [--force] <node>"),
            },
            ["kill", rest @ ..] => match rest {
                [node] => Self::Kill(values::nid(node)?),
                _ => return usage("kill <node>"),
            },
            ["prune_orphan", rest @ ..] => parse_prune(rest)?,
            ["truncate", rest @ ..] => match rest {
                [tid] => Self::Truncate(values::tid(tid)?),
                _ => return usage("truncate <tid>"),
            },
            ["flush_log"] => Self::FlushLog,
            ["wait", rest @ ..] => match rest {
                [goal] if goal.eq_ignore_ascii_case("replicated") => Self::Wait(Goal::Replicated),
                [state] => Self::Wait(Goal::State(values::cluster_state(state)?)),
                _ => return usage("wait <state>|replicated"),
            },
            ["start", ..] => return usage("start"),
            ["flush_log", ..] => return usage("flush_log"),
            _ => return invalid(&words),
        };
        Ok(Some(command))
    }
}

fn invalid<T>(words: &[&str]) -> Result<T, UsageError> {
    Err(UsageError(format!("invalid command: {}", words.join(" "))))
}

fn parse_print(words: &[&str], all: &[&str]) -> Result<Command, UsageError> {
    Ok(match words {
        [] => return usage("print ids|pt|node|cluster|primary|summary …"),
        ["ids"] => Command::PrintIds,
        ["pt", rest @ ..] => parse_rows(rest)?,
        ["node"] => Command::PrintNodes(None),
        ["node", node_type] => Command::PrintNodes(Some(values::node_type(node_type)?)),
        ["cluster"] => Command::PrintCluster,
        ["primary"] => Command::PrintPrimary,
        ["summary"] => Command::PrintSummary,
        ["node", ..] => return usage("print node [<type>]"),
        [name @ ("ids" | "cluster" | "primary" | "summary"), ..] => {
            return usage(&format!("print {name}"));
        }
        _ => return invalid(all),
    })
}

fn parse_rows(words: &[&str]) -> Result<Command, UsageError> {
    let bound = |text: &str| {
        text.parse::<i64>()
            .map_err(|_| UsageError(format!("invalid partition '{text}': a number is expected")))
    };
    let (min, max, node) = match words {
        [] => return Ok(Command::PrintTable),
        [min] => (bound(min)?, 0, None),
        [min, max] => (bound(min)?, bound(max)?, None),
        [min, max, node] => (bound(min)?, bound(max)?, Some(values::nid(node)?)),
        _ => return usage("print pt [<min> [<max> [<node>]]]"),
    };
    if (min, max, node) == (0, 0, None) {
        return Ok(Command::PrintTable);
    }
    let clamp = |number: i64| u32::try_from(number.max(0)).unwrap_or(u32::MAX);
    Ok(Command::PrintRows(Rows { min: clamp(min), max: (max != 0).then(|| clamp(max)), node }))
}

fn parse_replicas(text: &str) -> Result<u32, UsageError> {
    match text.parse::<i64>().map(u32::try_from) {
        Ok(Ok(number)) => Ok(number),
        Ok(Err(_)) => Err(UsageError("invalid number of replicas".into())),
        Err(_) => Err(UsageError(format!("invalid number of replicas: '{text}' is not a number"))),
    }
}

fn parse_check(words: &[&str]) -> Result<Command, UsageError> {
    const EXPECTED: &str = "check [<partition>]:[<node>]… [<min_tid> [<max_tid>]]";
    let count = words.iter().take_while(|word| !values::is_tid(word)).count();
    let (selectors, tids) = words.split_at(count);
    let mut checks = Vec::new();
    for selector in selectors {
        let (partition, node) = selector.split_once(':').unwrap_or((selector, ""));
        let partition = match partition {
            "" if checks.is_empty() => None,
            "" => {
                return Err(UsageError(format!(
                    "'{selector}' selects every partition: it must be the first argument"
                )));
            }
            number => Some(number.parse().map_err(|_| {
                UsageError(format!("invalid partition '{number}': a number is expected"))
            })?),
        };
        let source = match node {
            "" => None,
            node => Some(values::nid(node)?),
        };
        checks.push(Check { partition, source });
    }
    let (min_tid, max_tid) = match tids {
        _ if checks.is_empty() => return usage(EXPECTED),
        [] => (Tid::ZERO, None),
        [min] => (values::tid(min)?, None),
        [min, max] => (values::tid(min)?, Some(values::tid(max)?)),
        _ => return usage(EXPECTED),
    };
    Ok(Command::Check { checks, min_tid, max_tid })
}

fn parse_tweak(words: &[&str]) -> Result<Command, UsageError> {
    let (dry_run, nodes) = match words {
        ["-n", nodes @ ..] => (true, nodes),
        nodes => (false, nodes),
    };
    let nids = nids(nodes)?;
    Ok(Command::Tweak { dry_run, nids })
}

fn parse_prune(words: &[&str]) -> Result<Command, UsageError> {
    const EXPECTED: &str = "prune_orphan 0|1 all|<node>…";
    let (dry_run, nodes) = match words {
        ["0", nodes @ ..] => (false, nodes),
        ["1", nodes @ ..] => (true, nodes),
        _ => return usage(EXPECTED),
    };
    let targets = targets(nodes, EXPECTED)?;
    Ok(Command::PruneOrphan { dry_run, targets })
}
