//! The packet sequences of spec master.md 24.5.

use neo_wire::{CellChange, CellState, ClusterState, NodeState, NodeType, Packet, Partition, Ptid};
use neo_wire::{NodeId, Tid};

use super::harness::rows;
use super::harness::{Bench, Database, Peer, Running, identification, storage, storage_nid};

/// The nodes of each NotifyNodeInformation, with their states; the names of other packets.
fn told(bench: &mut Bench, peer: Peer) -> Vec<String> {
    let packets = bench.packets(peer).into_iter();
    packets
        .map(|packet| match packet {
            Packet::NotifyNodeInformation { nodes, .. } => {
                let nodes = nodes.into_iter().map(|node| {
                    let nid = node.nid.map_or("?".into(), |nid| nid.to_string());
                    format!("{nid} {}", node.state)
                });
                format!("nodes: {}", nodes.collect::<Vec<_>>().join(", "))
            }
            Packet::NotifyClusterInformation { state } => format!("cluster: {state}"),
            packet => packet.name().into(),
        })
        .collect()
}

#[test]
fn first_start() {
    let mut bench = Bench::new(|config| config.replicas = 1);
    let admin = bench.admin();
    let s1 = bench.connect();
    bench.send(s1, storage(None, 2001));
    assert_eq!(told(&mut bench, admin), ["nodes: S1 PENDING"]);
    assert_eq!(
        told(&mut bench, s1),
        ["AcceptIdentification", "nodes: S1 PENDING, M1 RUNNING", "AskRecovery"]
    );
    let (s2, _) = bench.identified(storage(None, 2002));
    assert_eq!(told(&mut bench, s1), ["nodes: S2 PENDING"]);
    let empty = Database::default();
    let answer = empty.answer(&Packet::AskRecovery {}).expect("an answer");
    bench.reply(s1, answer.clone());
    bench.reply(s2, answer);
    bench.clear();

    let state = ClusterState::Verifying;
    bench.send(admin, Packet::SetClusterState { state });
    let seen = told(&mut bench, admin);
    let expected =
        ["Error", "nodes: S1 RUNNING, S2 RUNNING", "SendPartitionTable", "cluster: VERIFYING"];
    assert_eq!(seen, expected);
    for peer in [s1, s2] {
        assert_eq!(
            told(&mut bench, peer),
            [
                "nodes: S1 RUNNING, S2 RUNNING",
                "cluster: VERIFYING",
                "SendPartitionTable",
                "AskLockedTransactions"
            ]
        );
    }
    assert_eq!(bench.table(2), "UU|UU");
    assert_eq!(bench.master.partition_table().ptid(), Some(Ptid(1)));

    let locked = empty.answer(&Packet::AskLockedTransactions {}).expect("an answer");
    bench.reply(s1, locked.clone());
    assert_eq!(told(&mut bench, s1), Vec::<String>::new());
    bench.reply(s2, locked);
    assert_eq!(told(&mut bench, s1), ["AskLastIDs"]);
    assert_eq!(told(&mut bench, s2), ["AskLastIDs"]);
    let last = empty.answer(&Packet::AskLastIDs {}).expect("an answer");
    let tid = Tid::ZERO;
    bench.send(s1, Packet::NotifyPackCompleted { tid });
    bench.reply(s1, last.clone());
    bench.send(s2, Packet::NotifyPackCompleted { tid });
    bench.reply(s2, last);
    let min_id = Tid(1);
    assert_eq!(bench.packets(s1), [Packet::AskPackOrders { min_id }]);
    assert_eq!(bench.packets(s2), [Packet::AskPackOrders { min_id }]);
    let orders = Packet::AnswerPackOrders { orders: Vec::new() };
    bench.reply(s1, orders.clone());
    bench.reply(s2, orders);
    for peer in [s1, s2] {
        let seen = told(&mut bench, peer);
        assert_eq!(seen, ["cluster: RUNNING", "StartOperation"]);
    }
    assert_eq!(told(&mut bench, admin), ["cluster: RUNNING"]);
    bench.send(s1, Packet::NotifyReady {});
    assert!(!bench.master.is_at_rest());
    bench.send(s2, Packet::NotifyReady {});
    assert!(bench.master.is_at_rest());
    assert_eq!(told(&mut bench, s1), Vec::<String>::new());
}

#[test]
fn commit() {
    let mut running = Running::new(2, 1);
    let bench = &mut running.bench;
    let (s1, s2) = (running.storages[0], running.storages[1]);
    let client = bench.connect();
    bench.send(client, identification(NodeType::Client, None, None));
    for peer in [running.admin, s1, s2] {
        assert_eq!(told(bench, peer), ["nodes: C1 RUNNING"]);
    }
    assert_eq!(
        told(bench, client),
        [
            "AcceptIdentification",
            "nodes: C1 RUNNING, M1 RUNNING, S1 RUNNING, S2 RUNNING",
            "SendPartitionTable"
        ]
    );
    let tid = Tid::ZERO;
    let last = bench.ask(client, Packet::AskLastTransaction {});
    assert_eq!(last, Some(Packet::AnswerLastTransaction { tid }));
    let other = bench.client();
    let ttid = running.begin(client);
    let msg_id = running.finish(client, ttid, &[1, 2]);
    let bench = &mut running.bench;
    let asked = bench.sent(s1);
    let [(id1, Packet::AskLockInformation { ttid: asked_ttid, tid, pack: false })] = asked[..]
    else {
        panic!("{asked:?}");
    };
    assert_eq!(asked_ttid, ttid);
    assert!(tid.0 > ttid.0);
    assert_eq!(tid.partition(2), ttid.partition(2));
    let asked = bench.sent(s2);
    let [(id2, Packet::AskLockInformation { .. })] = asked[..] else {
        panic!("{asked:?}");
    };
    bench.answer(s1, id1, Packet::AnswerInformationLocked { ttid });
    assert_eq!(told(bench, client), Vec::<String>::new());
    bench.answer(s2, id2, Packet::AnswerInformationLocked { ttid });
    let finished = Packet::AnswerTransactionFinished { ttid, tid };
    assert_eq!(bench.sent(client), [(msg_id, finished)]);
    let oids = vec![neo_wire::Oid(1), neo_wire::Oid(2)];
    assert_eq!(bench.packets(other), [Packet::InvalidateObjects { tid, oids }]);
    for peer in [s1, s2] {
        assert_eq!(bench.packets(peer), [Packet::NotifyUnlockInformation { ttid }]);
    }
    assert_eq!(bench.master.last_tid(), tid);
    let tid_of_last = bench.ask(client, Packet::AskLastTransaction {});
    assert_eq!(tid_of_last, Some(Packet::AnswerLastTransaction { tid }));
}

fn changes(ptid: u64, cells: &[(u32, u32, CellState)]) -> Packet {
    Packet::NotifyPartitionChanges {
        ptid: Ptid(ptid),
        num_replicas: 1,
        cells: cells
            .iter()
            .map(|(partition, number, state)| CellChange {
                partition: Partition(*partition),
                nid: storage_nid(*number),
                state: *state,
            })
            .collect(),
    }
}

#[test]
fn loss_and_return_of_a_replica() {
    let mut running = Running::new(2, 1);
    let bench = &mut running.bench;
    let (s1, s2) = (running.storages[0], running.storages[1]);
    let client = bench.client();
    bench.clear();
    bench.close(s1);
    let out_of_date = CellState::OutOfDate;
    let outdated = changes(2, &[(0, 1, out_of_date), (1, 1, out_of_date)]);
    for peer in [client, running.admin, s2] {
        let packets = bench.packets(peer);
        let [Packet::NotifyNodeInformation { nodes, .. }, change] = &packets[..] else {
            panic!("{packets:?}");
        };
        assert_eq!(nodes[0].nid, Some(storage_nid(1)));
        assert_eq!(nodes[0].state, NodeState::Down);
        assert_eq!(*change, outdated);
    }
    assert_eq!(bench.state(), ClusterState::Running);
    assert_eq!(bench.table(2), "OU|OU");

    let s1 = bench.connect();
    bench.send(s1, storage(Some(storage_nid(1)), 2001));
    for peer in [client, running.admin, s2] {
        assert_eq!(told(bench, peer), ["nodes: S1 RUNNING"]);
    }
    // Beside what the Python NEO sends, we look whether it missed a truncation (8.2).
    assert_eq!(
        told(bench, s1),
        [
            "AcceptIdentification",
            "nodes: S1 RUNNING, C1 RUNNING, M1 RUNNING, S2 RUNNING",
            "AskRecovery"
        ]
    );
    let database = Database::with(2, 1, "OU|OU");
    let recovery = database.answer(&Packet::AskRecovery {}).expect("an answer");
    bench.reply(s1, recovery);
    let packets = bench.packets(s1);
    let table = Packet::SendPartitionTable {
        ptid: Some(Ptid(2)),
        num_replicas: 1,
        rows: packets_rows(&packets),
    };
    assert_eq!(packets, [table, Packet::StartOperation { backup: false }]);
    bench.send(s1, Packet::NotifyReady {});
    let partitions = vec![Partition(0), Partition(1)];
    let unfinished = bench.ask(s1, Packet::AskUnfinishedTransactions { partitions });
    let expected = Packet::AnswerUnfinishedTransactions { max_tid: Tid::ZERO, ttids: Vec::new() };
    assert_eq!(unfinished, Some(expected));
    for (partition, ptid) in [(0, 3), (1, 4)] {
        let done =
            Packet::NotifyReplicationDone { partition: Partition(partition), tid: Tid::ZERO };
        bench.send(s1, done);
        let change = changes(ptid, &[(partition, 1, CellState::UpToDate)]);
        for peer in [client, running.admin, s1, s2] {
            assert_eq!(bench.packets(peer), std::slice::from_ref(&change));
        }
    }
    assert_eq!(bench.table(2), "UU|UU");
}

fn packets_rows(packets: &[Packet]) -> neo_wire::RowList {
    let Some(Packet::SendPartitionTable { rows, .. }) = packets.first() else {
        panic!("{packets:?}");
    };
    // In a row, cells are in the order they were added.
    let mut sorted = rows.clone();
    sorted.iter_mut().for_each(|row| row.sort_by_key(|cell| cell.nid));
    assert_eq!(sorted, self::rows("OU|OU"));
    rows.clone()
}

#[test]
fn loss_of_operation_and_restart() {
    let mut running = Running::new(2, 1);
    let bench = &mut running.bench;
    let (s1, s2) = (running.storages[0], running.storages[1]);
    let admin = running.admin;
    let client = bench.client();
    bench.close(s1);
    running.storages = vec![s2];
    running.commit(client, &[1]);
    let bench = &mut running.bench;
    bench.clear();
    bench.close(s2);
    assert_eq!(told(bench, client), ["nodes: S2 DOWN", "StopOperation"]);
    assert!(bench.is_closed(client));
    assert_eq!(told(bench, admin), ["nodes: S2 DOWN", "cluster: RECOVERING", "nodes: C1 UNKNOWN"]);
    assert_eq!(bench.state(), ClusterState::Recovering);

    let d1 = Database::with(1, 1, "UU|UU");
    let d2 = Database::with(2, 1, "OU|OU");
    let (s1, _) = bench.identified(storage(Some(storage_nid(1)), 2001));
    bench.serve(s1, &d1);
    // It missed a commit, of which this master knows.
    assert_eq!(bench.state(), ClusterState::Recovering);
    let (s2, nid) = bench.identified(storage(Some(storage_nid(2)), 2002));
    assert_eq!(nid, storage_nid(2));
    bench.clear();
    bench.reply(s2, d2.answer(&Packet::AskRecovery {}).expect("an answer"));
    assert_eq!(bench.names(s2), ["AskPartitionTable"]);
    bench.clear();
    let table = d2.answer(&Packet::AskPartitionTable {}).expect("an answer");
    bench.reply(s2, table);
    let seen = told(bench, admin);
    assert_eq!(seen[..2], ["nodes: ", "SendPartitionTable"]);
    assert_eq!(seen[2..], ["nodes: S1 RUNNING, S2 RUNNING", "cluster: VERIFYING"]);
    bench.serve_all(&[(s1, &d1), (s2, &d2)]);
    assert_eq!(bench.state(), ClusterState::Running);
    assert_eq!(bench.table(2), "OU|OU");
}

#[test]
fn truncation() {
    let mut running = Running::new(2, 1);
    let client = running.bench.client();
    let first = running.commit(client, &[1]);
    let second = running.commit(client, &[1]);
    let bench = &mut running.bench;
    let (s1, s2) = (running.storages[0], running.storages[1]);
    let admin = running.admin;
    bench.clear();
    bench.send(admin, Packet::Truncate { tid: first });
    for peer in [s1, s2] {
        let packets = bench.sent(peer);
        assert_eq!(packets[0].1, Packet::StopOperation {});
        assert_eq!(packets[1].1, Packet::Truncate { tid: first });
        let names: Vec<_> = packets[2..].iter().map(|(_, x)| x.name()).collect();
        let expected = [
            "NotifyNodeInformation",
            "NotifyClusterInformation",
            "AskRecovery",
            "NotifyNodeInformation",
        ];
        assert_eq!(names, expected);
    }
    assert_eq!(bench.names(client), ["StopOperation"]);
    assert!(bench.is_closed(client));
    let seen = told(bench, admin);
    let expected =
        ["Error", "nodes: S1 PENDING, S2 PENDING", "cluster: RECOVERING", "nodes: C1 UNKNOWN"];
    assert_eq!(seen, expected);
    // Both come back with their order.
    let mut database = Database::with(1, 1, "UU|UU");
    database.truncate_tid = Some(first);
    database.last_tid = Some(first);
    for peer in [s1, s2] {
        bench.close(peer);
    }
    let (s1, _) = bench.identified(storage(Some(storage_nid(1)), 2001));
    let (s2, _) = bench.identified(storage(Some(storage_nid(2)), 2002));
    bench.clear();
    let recovery = database.answer(&Packet::AskRecovery {}).expect("an answer");
    bench.reply(s1, recovery.clone());
    bench.reply(s2, recovery);
    bench.serve_all(&[(s1, &database), (s2, &database)]);
    assert_eq!(bench.state(), ClusterState::Running);
    assert_eq!(bench.master.last_tid(), first);
    assert!(first < second);
}

#[test]
fn new_nid_for_a_copied_database() {
    let mut running = Running::new(1, 0);
    let bench = &mut running.bench;
    let copy = bench.connect();
    let mut request = identification(NodeType::Storage, None, None);
    if let Packet::RequestIdentification { extra, .. } = &mut request {
        let partitions = vec![neo_wire::Value::Unsigned(0)];
        extra.0.push(("new_nid".into(), neo_wire::Value::Array(partitions)));
    }
    bench.send(copy, request);
    assert_eq!(told(bench, running.admin), ["nodes: S2 DOWN", "NotifyPartitionChanges"]);
    assert_eq!(bench.table(2), "UO|U.");
    let packets = bench.packets(copy);
    assert_eq!(
        packets[0],
        Packet::AcceptIdentification {
            node_type: NodeType::Master,
            nid: Some(NodeId::new(NodeType::Master, 1)),
            your_nid: Some(storage_nid(2)),
        }
    );
    let Packet::NotifyNodeInformation { nodes, .. } = &packets[1] else {
        panic!("{packets:?}");
    };
    assert_eq!(nodes[0].state, NodeState::Down);
    // It leaves by itself, and comes back with an address.
    bench.close(copy);
    assert_eq!(bench.state(), ClusterState::Running);
    let (_, nid) = bench.identified(storage(Some(storage_nid(2)), 2002));
    assert_eq!(nid, storage_nid(2));
    assert_eq!(bench.node_state(nid), Some(NodeState::Running));
}
