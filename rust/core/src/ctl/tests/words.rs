//! How the words of an operator are understood.

use super::super::{Check, Command, Goal, Rows, Targets};
use neo_wire::{ClusterState, NodeId, NodeType, Tid};

fn parse(words: &str) -> Result<Command, String> {
    let words: Vec<&str> = words.split(' ').collect();
    match Command::parse(&words) {
        Ok(command) => Ok(command.unwrap()),
        Err(error) => Err(error.to_string()),
    }
}

fn error(words: &str) -> String {
    parse(words).unwrap_err()
}

#[test]
fn no_command_is_no_error() {
    assert_eq!(Command::parse::<&str>(&[]), Ok(None));
}

#[test]
fn commands() {
    let set_cluster = Command::SetCluster(ClusterState::StartingBackup);
    assert_eq!(parse("set cluster starting_backup"), Ok(set_cluster));
    assert_eq!(parse("print node STORAGE"), Ok(Command::PrintNodes(Some(NodeType::Storage))));
    assert_eq!(parse("print pt 0 0"), Ok(Command::PrintTable));
    assert_eq!(
        parse("print pt 0 0 S1"),
        Ok(Command::PrintRows(Rows { min: 0, max: None, node: Some(NodeId(1)) }))
    );
    assert_eq!(parse("add S1 S12"), Ok(Command::Add(Targets::Nodes(vec![NodeId(1), NodeId(12)]))));
    assert_eq!(parse("tweak"), Ok(Command::Tweak { dry_run: false, nids: Vec::new() }));
    assert_eq!(parse("kill M2"), Ok(Command::Kill(NodeId::new(NodeType::Master, 2))));
}

#[test]
fn tids() {
    let tid = |text: &str| match parse(&format!("truncate {text}")) {
        Ok(Command::Truncate(tid)) => Some(tid),
        _ => None,
    };
    let expected = Some(Tid(257_684_787_499_560_686));
    assert_eq!(tid("tid:257684787499560686"), expected);
    assert_eq!(tid("TID:0x3937af2eeeeeeee"), expected);
    assert_eq!(tid("1325421296"), expected);
    assert_eq!(tid("tid:0b101"), Some(Tid(5)));
    assert_eq!(tid("tid:0o17"), Some(Tid(15)));
    assert!(tid("1325421296.5") > expected);
    for wrong in
        ["", "tid:", "tid:-1", "tid:x", "nan", "inf", "1e99", "now", "tid:0x8000000000000000"]
    {
        assert_eq!(tid(wrong), None, "{wrong}");
    }
}

#[test]
fn checks() {
    let check = |partition, source: Option<i32>| Check { partition, source: source.map(NodeId) };
    assert_eq!(
        parse("check :S1 3: 4:S2 tid:1 1325421296"),
        Ok(Command::Check {
            checks: vec![check(None, Some(1)), check(Some(3), None), check(Some(4), Some(2))],
            min_tid: Tid(1),
            max_tid: Some(Tid(257_684_787_499_560_686)),
        })
    );
    assert!(error("check 1: :").contains("must be the first argument"));
    assert!(error("check tid:5").starts_with("usage: check "));
    assert!(error("check : 1 2 3").starts_with("usage: check "));
    assert_eq!(error("check x:"), "invalid partition 'x': a number is expected");
}

#[test]
fn mistakes_get_one_line() {
    assert_eq!(error("foo bar"), "invalid command: foo bar");
    assert_eq!(error("print foo"), "invalid command: print foo");
    assert_eq!(error("list"), "invalid command: list");
    assert_eq!(error("set replicas -1"), "invalid number of replicas");
    assert_eq!(error("set replicas 99999999999"), "invalid number of replicas");
    assert_eq!(error("set replicas x"), "invalid number of replicas: 'x' is not a number");
    assert!(
        error("set cluster foo").starts_with("unknown cluster state 'foo': expected one of REC")
    );
    assert!(error("print node foo").starts_with("unknown node type 'foo': expected one of MASTER"));
    for wrong in
        ["kill X1", "kill s1", "kill S", "kill S0", "kill S-1", "kill S16777216", "kill é1"]
    {
        assert!(error(wrong).starts_with("invalid node '"), "{wrong}: {}", error(wrong));
    }
    for wrong in [
        "print",
        "set",
        "set cluster",
        "set replicas",
        "kill",
        "kill S1 S2",
        "drop",
        "add",
        "truncate",
        "prune_orphan",
        "prune_orphan 2 all",
        "prune_orphan 1",
        "start now",
        "flush_log x",
        "check",
        "print ids x",
        "print pt 1 2 S1 x",
        "print node storage x",
    ] {
        let error = error(wrong);
        assert!(error.starts_with("usage: "), "{wrong}: {error}");
        assert!(!error.contains('\n'));
    }
    assert_eq!(error("print pt x"), "invalid partition 'x': a number is expected");
}

#[test]
fn waiting() {
    assert_eq!(parse("wait running"), Ok(Command::Wait(Goal::State(ClusterState::Running))));
    assert_eq!(parse("wait Replicated"), Ok(Command::Wait(Goal::Replicated)));
    assert_eq!(error("wait"), "usage: wait <state>|replicated");
    assert!(error("wait forever").starts_with("unknown cluster state 'forever'"));
    assert_eq!(Command::parse(&["help"]), Ok(None));
}
