//! How a cluster and a process stop (spec master.md 17).

use neo_wire::{ClusterState, ErrorCode, NodeState, NodeType, Packet};

use super::harness::{Bench, Database, Peer, Running, finish, identification, master, storage};
use crate::io::{Exit, Input};

fn stop(bench: &mut Bench, admin: Peer) {
    let state = ClusterState::Stopping;
    let answer = bench.error(admin, Packet::SetClusterState { state });
    assert_eq!(answer, (ErrorCode::Ack, "Cluster state changed".into()));
}

fn told_down(bench: &mut Bench, peer: Peer) {
    let packets = bench.packets(peer);
    let Some(Packet::NotifyNodeInformation { nodes, .. }) = packets.last() else {
        panic!("{packets:?}");
    };
    assert_eq!(nodes.len(), 1);
    assert_eq!(nodes[0].state, NodeState::Down);
    assert!(bench.is_closed(peer));
}

#[test]
fn a_cluster_at_rest_stops_at_once() {
    let mut running = Running::new(2, 1);
    let client = running.bench.client();
    let (second, _) = running.bench.identified(master(1, 10_001, None));
    running.bench.clear();
    stop(&mut running.bench, running.admin);
    assert_eq!(running.bench.exit, Some(Exit::Success));
    assert!(!running.bench.is_listening);
    for peer in &running.storages {
        told_down(&mut running.bench, *peer);
    }
    let state = ClusterState::Stopping;
    for peer in [client, second] {
        let told = Packet::NotifyClusterInformation { state };
        assert_eq!(running.bench.packets(peer), [told]);
        assert!(running.bench.is_closed(peer));
    }
    // No cell became out of date.
    assert_eq!(running.bench.table(2), "UU|UU");
}

#[test]
fn a_cluster_stops_before_it_starts() {
    let mut bench = Bench::new(|_| {});
    let admin = bench.admin();
    let (s1, _) = bench.identified(storage(None, 2001));
    stop(&mut bench, admin);
    told_down(&mut bench, s1);
    assert_eq!(bench.exit, Some(Exit::Success));
}

#[test]
fn what_is_begun_ends_and_nothing_begins() {
    let mut running = Running::new(1, 0);
    let (client, other) = (running.bench.client(), running.bench.client());
    let s1 = running.storages[0];
    let ttid = running.begin(client);
    let second = running.begin(client);
    stop(&mut running.bench, running.admin);
    let begin = Packet::AskBeginTransaction { tid: None };
    assert_eq!(running.bench.ask(other, begin), None);
    let msg_id = running.bench.send(client, finish(ttid, &[1]));
    running.lock(s1);
    let answer = running.bench.answer_to(client, msg_id);
    assert!(matches!(answer, Some(Packet::AnswerTransactionFinished { .. })));
    assert_eq!(running.bench.exit, None);
    // Storages do not start any more, but a client may ask what became of its transaction.
    let late = running.bench.connect();
    let (code, _) = running.bench.error(late, storage(None, 2002));
    assert_eq!(code, ErrorCode::NotReady);
    let back = running.bench.client();
    let ask = Packet::AskFinalTID { ttid };
    assert!(running.bench.ask(back, ask).is_some());
    let nids = Vec::new();
    running.bench.send(client, Packet::AbortTransaction { ttid: second, nids });
    assert_eq!(running.bench.exit, Some(Exit::Success));
}

#[test]
fn transactions_that_do_not_end_are_aborted() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    running.begin(client);
    let ttid = running.begin(client);
    running.bench.send(client, finish(ttid, &[1]));
    stop(&mut running.bench, running.admin);
    let s1 = running.storages[0];
    let locked = running.bench.sent(s1);
    running.bench.wait(59_999);
    assert_eq!(running.bench.sent(s1), []);
    running.bench.wait(1);
    assert_eq!(running.bench.names(s1), ["AbortTransaction"]);
    // What is being finished is waited for.
    assert_eq!(running.bench.exit, None);
    let (msg_id, _) = locked
        .iter()
        .find(|(_, packet)| matches!(packet, Packet::AskLockInformation { .. }))
        .expect("a lock");
    running.bench.answer(s1, *msg_id, Packet::AnswerInformationLocked { ttid });
    assert_eq!(running.bench.exit, Some(Exit::Success));
}

#[test]
fn the_loss_of_storages_ends_the_wait() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    running.begin(client);
    stop(&mut running.bench, running.admin);
    running.bench.close(running.storages[0]);
    assert_eq!(running.bench.exit, Some(Exit::Success));
}

#[test]
fn a_signal_is_a_crash_for_others() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    running.begin(client);
    running.bench.clear();
    running.bench.input(Input::Stop);
    assert_eq!(running.bench.exit, Some(Exit::Success));
    let s1 = running.storages[0];
    assert!(running.bench.is_closed(s1));
    assert_eq!(running.bench.sent(s1), []);
}

#[test]
fn a_signal_lets_commits_end() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    let ttid = running.begin(client);
    let msg_id = running.finish(client, ttid, &[1]);
    running.bench.input(Input::Stop);
    assert_eq!(running.bench.exit, None);
    assert!(!running.bench.is_listening);
    let begin = Packet::AskBeginTransaction { tid: None };
    assert_eq!(running.bench.ask(client, begin), None);
    running.lock(running.storages[0]);
    let answer = running.bench.answer_to(client, msg_id);
    assert!(matches!(answer, Some(Packet::AnswerTransactionFinished { .. })));
    assert_eq!(running.bench.exit, Some(Exit::Success));

    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    let ttid = running.begin(client);
    running.finish(client, ttid, &[1]);
    running.bench.input(Input::Stop);
    running.bench.wait(4999);
    assert_eq!(running.bench.exit, None);
    running.bench.wait(1);
    assert_eq!(running.bench.exit, Some(Exit::Success));
}

#[test]
fn nothing_happens_after_the_end() {
    let mut bench = Bench::new(|_| {});
    bench.input(Input::Stop);
    assert_eq!(bench.exit, Some(Exit::Success));
    let peer = bench.connect();
    bench.send(peer, identification(NodeType::Admin, None, None));
    bench.wait(100_000);
    assert_eq!(bench.sent(peer), []);
    let _ = Database::default();
}
