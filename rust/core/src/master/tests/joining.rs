//! Storages that come once the cluster operates, or leave it (spec master.md 8.2, 9.1-9.3).

use neo_wire::{ClusterState, NodeState, NodeType, Packet, Ptid, Tid};

use super::harness::{Bench, Database, Peer, Running, identification, storage, storage_nid};

/// S1 leaves and comes back, without answering anything.
fn back(running: &mut Running) -> Peer {
    running.bench.close(running.storages[0]);
    let (s1, _) = running.bench.identified(storage(Some(storage_nid(1)), 2001));
    running.bench.clear();
    s1
}

fn recovery(bench: &mut Bench, peer: Peer, ptid: u64, truncate_tid: Option<Tid>) {
    bench.reply(
        peer,
        Packet::AnswerRecovery { ptid: Some(Ptid(ptid)), backup_tid: None, truncate_tid },
    );
}

#[test]
fn a_truncation_that_was_missed_is_executed_first() {
    let mut running = Running::new(2, 1);
    let s1 = back(&mut running);
    let bench = &mut running.bench;
    recovery(bench, s1, 1, Some(Tid(50)));
    assert_eq!(bench.names(s1), ["SendPartitionTable", "AskLastIDs"]);
    bench.reply(
        s1,
        Packet::AnswerLastIDs { last_tid: Some(Tid(50)), last_oid: None, first_tid: Tid(40) },
    );
    assert_eq!(bench.packets(s1), [Packet::StartOperation { backup: false }]);
    bench.send(s1, Packet::NotifyReady {});
    assert!(!bench.is_closed(s1));
    assert_eq!(bench.master.last_tid(), Tid::ZERO);
}

#[test]
fn a_storage_of_another_history_is_refused() {
    let mut running = Running::new(2, 1);
    let s1 = back(&mut running);
    recovery(&mut running.bench, s1, 9, None);
    assert!(running.bench.is_closed(s1));
    assert_eq!(running.bench.node_state(storage_nid(1)), Some(NodeState::Down));
    assert_eq!(running.bench.state(), ClusterState::Running);
    assert!(running.bench.master.is_at_rest());
}

#[test]
fn changes_are_not_told_before_the_table() {
    let mut running = Running::new(3, 2);
    let s1 = back(&mut running);
    let bench = &mut running.bench;
    bench.close(running.storages[1]);
    assert_eq!(bench.names(s1), ["NotifyNodeInformation"]);
    recovery(bench, s1, 1, None);
    let packets = bench.packets(s1);
    let ptid = bench.master.partition_table().ptid();
    let Packet::SendPartitionTable { ptid: told, .. } = &packets[0] else {
        panic!("{packets:?}");
    };
    assert_eq!(*told, ptid);
    // From now on they are.
    let num_replicas = 1;
    bench.ask(running.admin, Packet::SetNumReplicas { num_replicas });
    assert_eq!(bench.names(s1), ["NotifyPartitionChanges"]);
}

#[test]
fn a_pending_storage_knows_the_table_and_waits() {
    let mut running = Running::new(1, 0);
    let bench = &mut running.bench;
    let (s2, nid) = bench.identified(storage(None, 2002));
    assert_eq!(bench.node_state(nid), Some(NodeState::Pending));
    bench.clear();
    bench.reply(s2, Packet::AnswerRecovery { ptid: None, backup_tid: None, truncate_tid: None });
    assert_eq!(bench.names(s2), ["SendPartitionTable"]);
    // Transactions do not wait for it.
    let client = bench.client();
    running.begin(client);
    let nids = vec![nid];
    let (_, text) = running.bench.error(running.admin, Packet::AddPendingNodes { nids });
    assert_eq!(text, "Nodes added: S2");
    let names = running.bench.names(s2);
    assert!(names.ends_with(&["StartOperation", "NotifyNodeInformation"]), "{names:?}");
}

#[test]
fn a_storage_can_be_added_before_it_has_answered() {
    let mut running = Running::new(1, 0);
    let bench = &mut running.bench;
    let (s2, nid) = bench.identified(storage(None, 2002));
    bench.clear();
    let nids = vec![nid];
    bench.error(running.admin, Packet::AddPendingNodes { nids });
    assert_eq!(bench.names(s2), ["NotifyNodeInformation"]);
    let names = bench.serve(s2, &Database::default());
    assert_eq!(names, Vec::<&str>::new());
    bench.reply(s2, Packet::AnswerRecovery { ptid: None, backup_tid: None, truncate_tid: None });
    assert_eq!(bench.serve(s2, &Database::default()), ["SendPartitionTable", "StartOperation"]);
    assert!(bench.master.is_at_rest());
    assert!(!bench.is_closed(s2));
}

#[test]
fn storages_leave_one_after_the_other() {
    let mut running = Running::new(3, 2);
    for (number, table, state) in
        [(0, "OUU|OUU", ClusterState::Running), (1, "OOU|OOU", ClusterState::Running)]
    {
        running.bench.close(running.storages[number]);
        assert_eq!(running.bench.table(3), table);
        assert_eq!(running.bench.state(), state);
    }
    running.bench.clear();
    running.bench.close(running.storages[2]);
    assert_eq!(running.bench.state(), ClusterState::Recovering);
    // The last copy was not marked.
    let packets = running.bench.packets(running.admin);
    assert!(!packets.iter().any(|x| matches!(x, Packet::NotifyPartitionChanges { .. })));
}

#[test]
fn a_secondary_master_or_an_admin_changes_nothing_when_it_leaves() {
    let mut running = Running::new(1, 0);
    let bench = &mut running.bench;
    let (master, _) = bench.identified(super::harness::master(1, 10_001, None));
    let (other, _) = bench.identified(identification(NodeType::Admin, None, Some(9998)));
    bench.clear();
    bench.close(other);
    assert_eq!(bench.sent(running.admin), []);
    bench.close(master);
    assert_eq!(bench.names(running.admin), ["NotifyNodeInformation"]);
    assert_eq!(bench.state(), ClusterState::Running);
}

#[test]
fn corruption_is_only_reported() {
    let mut running = Running::new(1, 0);
    let partition = neo_wire::Partition(0);
    let nids = vec![None];
    let s1 = running.storages[0];
    running.bench.send(s1, Packet::NotifyPartitionCorrupted { partition, nids });
    assert!(!running.bench.is_closed(s1));
    assert_eq!(running.bench.table(1), "U|U");
}
