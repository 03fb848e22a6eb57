//! What operators are told before a command does harm.

use super::*;

fn session(words: &str) -> Session {
    let words: Vec<&str> = words.split(' ').collect();
    let command = Command::parse(&words).unwrap().unwrap();
    assert!(command.has_cautions());
    let mut ctl = Ctl::cautions(address(9999), command);
    let mut out = Outputs::new();
    ctl.handle(NOW, Input::Start, &mut out);
    let Output::Connect { connection, .. } = out[0] else { panic!("{out:?}") };
    let mut session = Session { ctl, out, connection };
    session.input(Input::Connected { connection });
    session
}

fn in_state(words: &str, state: ClusterState) -> Session {
    session(words).answer(Packet::AnswerClusterState { state: Some(state) })
}

const LAST: Tid = Tid(0x040d_30b7_2ff2_e94a);

#[test]
fn most_commands_are_innocent() {
    for words in ["print cluster", "tweak", "add all", "set replicas 1", "wait running"] {
        let words: Vec<&str> = words.split(' ').collect();
        assert!(!Command::parse(&words).unwrap().unwrap().has_cautions(), "{words:?}");
    }
}

#[test]
fn starting_without_a_storage_may_lose_transactions() {
    let recovering = || in_state("start", ClusterState::Recovering);
    let table = || partition_list(4, 1, &[(1, "U.U"), (2, "UU."), (3, "..O")]);
    let states = |second| storages(&[(1, NodeState::Pending), (2, second), (3, DOWN)]);
    let session = recovering().answer(table()).answer(states(DOWN));
    assert_eq!(
        session.printed(),
        "warning: S2 is absent: its 2 readable cells become out of date, and what only it has is \
         lost\n"
    );
    // Everybody who has something to read is there.
    let session = recovering().answer(table()).answer(states(NodeState::Pending));
    assert_eq!(session.printed(), "");
    // A new cluster.
    let session = recovering().answer(Packet::AnswerPartitionList {
        ptid: None,
        num_replicas: 0,
        rows: vec![Vec::new(); 3],
    });
    assert_eq!(session.printed(), "");
    assert_eq!(in_state("start", ClusterState::Running).printed(), "");
}

#[test]
fn truncating_erases_transactions() {
    let session = in_state("truncate tid:5", ClusterState::Running);
    assert_eq!(session.asked(), Packet::AskLastTransaction {});
    let session = session.answer(Packet::AnswerLastTransaction { tid: LAST });
    assert_eq!(
        session.printed(),
        "warning: transactions after 0000000000000005 (1900-01-01 00:00:00), up to \
         040d30b72ff2e94a (2026-11-22 16:23:11.238016), are erased for ever\n"
    );
    let session = in_state("truncate tid:5", ClusterState::Running);
    let session = session.answer(Packet::AnswerLastTransaction { tid: Tid(5) });
    assert_eq!(session.printed(), "");
    assert_eq!(in_state("truncate tid:5", ClusterState::BackingUp).printed(), "");
}

#[test]
fn stopping_leaves_clients_alone() {
    let nodes = |numbers: &[u32]| Packet::AnswerNodeList {
        nodes: numbers.iter().map(|n| node(NodeType::Client, *n, 0, RUNNING, 1.0)).collect(),
    };
    let session = session("set cluster stopping");
    assert_eq!(session.asked(), Packet::AskNodeList { node_type: Some(NodeType::Client) });
    let session = session.answer(nodes(&[2, 1]));
    assert!(session.printed().starts_with("warning: clients are connected (C1, C2): "));
    let session = super::cautions::session("set cluster stopping").answer(nodes(&[]));
    assert_eq!(session.printed(), "");
}

#[test]
fn leaving_backup_mode_truncates() {
    let session = in_state("set cluster stopping_backup", ClusterState::BackingUp);
    let session = session.answer(Packet::AnswerRecovery {
        ptid: Some(Ptid(1)),
        backup_tid: Some(LAST),
        truncate_tid: None,
    });
    assert_eq!(
        session.printed(),
        "warning: the backup is truncated: transactions after 040d30b72ff2e94a (2026-11-22 \
         16:23:11.238016) are erased\n"
    );
}

#[test]
fn an_old_master_may_die_of_a_question() {
    let session = in_state("print ids", ClusterState::Recovering);
    let session = session.answer(partition_list(4, 0, &[(1, "U")]));
    assert!(session.printed().starts_with("warning: in RECOVERING, a master of the Python NEO"));
    assert_eq!(in_state("print ids", ClusterState::Running).printed(), "");
}

#[test]
fn an_admin_without_master_fails_at_once() {
    let text = "Not connected to a primary master.";
    let session = session("start").answer(Packet::error(ErrorCode::NotReady, text));
    assert_eq!(session.failure(), "ERROR: Not connected to a primary master.");
}
