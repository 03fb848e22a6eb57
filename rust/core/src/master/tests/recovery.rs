//! When the cluster starts, and from which table (spec master.md 3.3, 5.7, 7).

use neo_wire::{ClusterState, ErrorCode, NodeId, NodeState, NodeType, Packet, Ptid, Tid};

use super::harness::storage_nid;
use super::harness::{Bench, Database, Peer, Running, address, identification, storage};

fn start(bench: &mut Bench, admin: Peer) -> (ErrorCode, String) {
    let state = ClusterState::Verifying;
    bench.error(admin, Packet::SetClusterState { state })
}

fn join(bench: &mut Bench, number: u32, database: &Database) -> Peer {
    let port = 2000 + u16::try_from(number).expect("a port");
    let (peer, nid) = bench.identified(storage(Some(storage_nid(number)), port));
    assert_eq!(nid, storage_nid(number));
    bench.serve(peer, database);
    peer
}

#[test]
fn a_new_database_waits_for_an_operator() {
    let mut bench = Bench::new(|_| {});
    let admin = bench.admin();
    let none = "Cannot exit recovery without any storage node";
    assert_eq!(start(&mut bench, admin), (ErrorCode::Denied, none.into()));
    let (s1, nid) = bench.identified(storage(None, 2001));
    assert_eq!(nid, storage_nid(1));
    let (code, text) = start(&mut bench, admin);
    assert_eq!(code, ErrorCode::Denied);
    assert!(text.starts_with("Cannot exit recovery now: node S1"), "{text}");
    bench.serve(s1, &Database::default());
    assert_eq!(bench.state(), ClusterState::Recovering);
    assert_eq!(start(&mut bench, admin).0, ErrorCode::Ack);
    assert_eq!(bench.state(), ClusterState::Verifying);
    let again = (ErrorCode::Denied, "Can not switch to this state".into());
    assert_eq!(start(&mut bench, admin), again);
}

#[test]
fn autostart_waits_for_enough_storages() {
    let mut bench = Bench::new(|config| config.autostart = 3);
    let empty = Database::default();
    for port in [2001, 2002] {
        let (peer, _) = bench.identified(storage(None, port));
        bench.serve(peer, &empty);
    }
    assert_eq!(bench.state(), ClusterState::Recovering);
    let (peer, _) = bench.identified(storage(None, 2003));
    bench.serve(peer, &empty);
    assert_eq!(bench.state(), ClusterState::Verifying);
    assert_eq!(bench.table(3), "U..|.U.");
    assert_eq!(bench.node_state(storage_nid(3)), Some(NodeState::Running));
}

#[test]
fn an_existing_database_waits_for_all_that_are_readable() {
    let mut bench = Bench::new(|_| {});
    let database = Database::with(5, 1, "UU.|UUO");
    join(&mut bench, 1, &database);
    assert_eq!(bench.master.partition_table().ptid(), Some(Ptid(5)));
    assert_eq!(bench.state(), ClusterState::Recovering);
    join(&mut bench, 3, &database);
    assert_eq!(bench.state(), ClusterState::Recovering);
    join(&mut bench, 2, &database);
    assert_ne!(bench.state(), ClusterState::Recovering);
    assert_eq!(bench.node_state(storage_nid(3)), Some(NodeState::Running));
}

#[test]
fn an_operator_starts_with_what_is_there() {
    let mut bench = Bench::new(|_| {});
    let admin = bench.admin();
    let database = Database::with(5, 1, "UU|UU");
    let s1 = join(&mut bench, 1, &database);
    bench.clear();
    assert_eq!(start(&mut bench, admin).0, ErrorCode::Ack);
    let names = bench.names(admin);
    let expected = ["NotifyNodeInformation", "NotifyPartitionChanges", "NotifyClusterInformation"];
    assert_eq!(names, expected);
    let packets = bench.packets(s1);
    // The whole table, and no change before.
    let Packet::SendPartitionTable { ptid, .. } = &packets[2] else {
        panic!("{packets:?}");
    };
    assert_eq!(*ptid, Some(Ptid(6)));
    assert_eq!(bench.table(2), "UO|UO");
}

#[test]
fn a_partition_without_copy_can_not_be_started() {
    let mut bench = Bench::new(|_| {});
    let admin = bench.admin();
    let database = Database::with(5, 0, "U.|.U");
    join(&mut bench, 1, &database);
    assert_eq!(start(&mut bench, admin).0, ErrorCode::Ack);
    assert_eq!(bench.state(), ClusterState::Recovering);
    join(&mut bench, 2, &database);
    assert_ne!(bench.state(), ClusterState::Recovering);
}

#[test]
fn the_newest_table_is_used() {
    let mut bench = Bench::new(|_| {});
    let old = Database::with(5, 1, "UU|UU");
    let new = Database::with(6, 1, "OU|OU");
    join(&mut bench, 1, &old);
    assert_eq!(bench.table(2), "UU|UU");
    join(&mut bench, 2, &new);
    assert_eq!(bench.table(2), "OU|OU");
    assert_ne!(bench.state(), ClusterState::Recovering);
    // Only the one that is out of date: it needs the other.
    let mut bench = Bench::new(|_| {});
    join(&mut bench, 2, &new);
    assert_ne!(bench.state(), ClusterState::Recovering);
}

#[test]
fn a_storage_lost_before_it_gave_its_table_is_replaced() {
    let mut bench = Bench::new(|_| {});
    let admin = bench.admin();
    let database = Database::with(5, 0, "U.|.U");
    let recovery = database.answer(&Packet::AskRecovery {}).expect("an answer");
    let (s1, _) = bench.identified(storage(Some(storage_nid(1)), 2001));
    let (s2, _) = bench.identified(storage(Some(storage_nid(2)), 2002));
    bench.clear();
    bench.reply(s1, recovery.clone());
    bench.reply(s2, recovery.clone());
    assert_eq!(bench.names(s1), ["AskPartitionTable"]);
    assert_eq!(bench.names(s2), Vec::<&str>::new());
    bench.close(s1);
    assert!(bench.names(s2).contains(&"AskPartitionTable"));
    // It is lost too: no older table, and no new database either.
    bench.close(s2);
    let empty = Database::default();
    let (s3, nid) = bench.identified(storage(None, 2003));
    assert!(nid.0 > 3, "{nid} may have cells");
    bench.serve(s3, &empty);
    assert_eq!(start(&mut bench, admin).0, ErrorCode::Ack);
    assert_eq!(bench.state(), ClusterState::Recovering);
    assert_eq!(bench.master.partition_table().ptid(), None);
    let older = Database::with(4, 0, "U.|.U");
    join(&mut bench, 1, &older);
    assert_eq!(bench.state(), ClusterState::Recovering);
    join(&mut bench, 2, &database);
    assert_eq!(bench.table(2), "U.|.U");
    assert_ne!(bench.state(), ClusterState::Recovering);
}

#[test]
fn a_malformed_table_ends_its_connection() {
    for text in ["U.|.", "UU|"] {
        let mut bench = Bench::new(|_| {});
        let (s1, _) = bench.identified(storage(Some(storage_nid(1)), 2001));
        bench.serve(s1, &Database::with(5, 0, text));
        assert!(bench.is_closed(s1));
        assert_eq!(bench.master.partition_table().ptid(), None);
    }
}

#[test]
fn nodes_are_introduced_before_the_table() {
    let mut bench = Bench::new(|_| {});
    let admin = bench.admin();
    let (new, _) = bench.identified(storage(None, 2009));
    bench.serve(new, &Database::default());
    let (other, nid) = bench.identified(storage(Some(storage_nid(8)), 2008));
    assert_eq!(nid, storage_nid(8));
    bench.serve(other, &Database::default());
    bench.clear();
    let database = Database::with(5, 1, "UU|UU");
    // It has the NID of S1: it goes away.
    join(&mut bench, 1, &database);
    assert!(bench.is_closed(new));
    let (new, nid) = bench.identified(storage(Some(storage_nid(1)), 2009));
    assert_eq!(nid, storage_nid(3));
    bench.serve(new, &Database::default());
    // S2 is known by all, the storages that were there before included.
    for peer in [admin, other] {
        let mut known = Vec::new();
        for packet in bench.packets(peer) {
            if let Packet::NotifyNodeInformation { nodes, .. } = packet {
                known.extend(nodes.into_iter().filter_map(|node| node.nid));
            }
        }
        assert!(known.contains(&storage_nid(2)), "{known:?}");
    }
    assert_eq!(start(&mut bench, admin).0, ErrorCode::Ack);
    let names = bench.names(new);
    assert!(names.contains(&"SendPartitionTable"), "{names:?}");
}

#[test]
fn an_empty_storage_is_not_taken_for_an_owner() {
    let mut bench = Bench::new(|_| {});
    let admin = bench.admin();
    let (thief, nid) = bench.identified(storage(None, 2009));
    assert_eq!(nid, storage_nid(1));
    bench.serve(thief, &Database::default());
    let database = Database::with(5, 1, "UU|UU");
    join(&mut bench, 2, &database);
    assert!(bench.is_closed(thief));
    assert_eq!(bench.state(), ClusterState::Recovering);
    assert_eq!(bench.node_state(storage_nid(1)), Some(NodeState::Down));
    // It comes back with the NID that it had recorded, and gets another one.
    let (thief, nid) = bench.identified(storage(Some(storage_nid(1)), 2009));
    assert_eq!(nid, storage_nid(3));
    bench.serve(thief, &Database::default());
    assert_eq!(bench.node_state(nid), Some(NodeState::Pending));
    assert_eq!(bench.state(), ClusterState::Recovering);
    let owner = join(&mut bench, 1, &database);
    assert!(!bench.is_closed(owner));
    assert_ne!(bench.state(), ClusterState::Recovering);
    assert_eq!(bench.node_state(storage_nid(3)), Some(NodeState::Pending));
    assert_eq!(bench.table(3), "UU.|UU.");
    let _ = admin;
}

#[test]
fn an_empty_storage_that_speaks_late_is_not_taken_for_an_owner() {
    let mut bench = Bench::new(|_| {});
    let (thief, nid) = bench.identified(storage(None, 2009));
    assert_eq!(nid, storage_nid(1));
    let database = Database::with(5, 1, "UU|UU");
    join(&mut bench, 2, &database);
    assert!(!bench.is_closed(thief));
    bench.serve(thief, &Database::default());
    assert!(bench.is_closed(thief));
    assert_eq!(bench.state(), ClusterState::Recovering);
}

#[test]
fn an_owner_that_lost_its_table_needs_an_operator() {
    let mut bench = Bench::new(|_| {});
    let admin = bench.admin();
    join(&mut bench, 1, &Database::with(5, 1, "UU|UU"));
    join(&mut bench, 2, &Database::default());
    assert_eq!(bench.state(), ClusterState::Recovering);
    assert_eq!(start(&mut bench, admin).0, ErrorCode::Ack);
    assert_ne!(bench.state(), ClusterState::Recovering);
    // A first table that did not reach everybody is no reason.
    let mut bench = Bench::new(|_| {});
    join(&mut bench, 1, &Database::with(1, 0, "U.|.U"));
    join(&mut bench, 2, &Database::default());
    assert_ne!(bench.state(), ClusterState::Recovering);
}

#[test]
fn nids_are_random_once_a_database_may_exist() {
    let mut bench = Bench::new(|_| {});
    let (_, nid) = bench.identified(storage(None, 2001));
    assert_eq!(nid, storage_nid(1));
    let (_, nid) = bench.identified(storage(Some(storage_nid(7)), 2007));
    assert_eq!(nid, storage_nid(7));
    let (_, nid) = bench.identified(storage(None, 2002));
    assert!(nid.0 > 7, "{nid}");
    assert_eq!(nid.node_type(), Some(NodeType::Storage));
}

fn truncated(ptid: u64, text: &str, tid: Option<u64>) -> Database {
    Database { truncate_tid: tid.map(Tid), ..Database::with(ptid, 1, text) }
}

#[test]
fn a_truncation_is_given_to_all_before_any_executes_it() {
    for order in [[1, 2], [2, 1]] {
        let mut bench = Bench::new(|_| {});
        let with = truncated(5, "UU|UU", Some(50));
        let without = truncated(5, "UU|UU", None);
        let mut peers = Vec::new();
        for number in order {
            let database = if number == 1 { &with } else { &without };
            let port = 2000 + u16::try_from(number).expect("a port");
            let (peer, _) = bench.identified(storage(Some(storage_nid(number)), port));
            bench.clear();
            bench.reply(peer, database.answer(&Packet::AskRecovery {}).expect("an answer"));
            if number == order[0] {
                bench.reply(peer, database.answer(&Packet::AskPartitionTable {}).expect("one"));
            }
            peers.push((number, peer));
        }
        let (_, late) = *peers.iter().find(|(number, _)| *number == 2).expect("S2");
        let (_, early) = *peers.iter().find(|(number, _)| *number == 1).expect("S1");
        let tid = Tid(50);
        let packets = bench.packets(late);
        assert!(
            packets.ends_with(&[Packet::Truncate { tid }, Packet::AskRecovery {}]),
            "{packets:?}"
        );
        assert_eq!(bench.state(), ClusterState::Recovering);
        bench.reply(late, with.answer(&Packet::AskRecovery {}).expect("an answer"));
        bench.serve_all(&[(early, &with), (late, &with)]);
        assert_eq!(bench.state(), ClusterState::Running);
    }
}

#[test]
fn a_truncation_waits_for_all_that_have_cells() {
    let mut bench = Bench::new(|_| {});
    let database = truncated(5, "UO|UO", Some(50));
    join(&mut bench, 1, &database);
    assert_eq!(bench.state(), ClusterState::Recovering);
    join(&mut bench, 2, &database);
    assert_ne!(bench.state(), ClusterState::Recovering);
}

#[test]
fn an_old_truncation_only_concerns_who_missed_it() {
    let mut bench = Bench::new(|_| {});
    let s2 = join(&mut bench, 2, &truncated(4, "UU|UU", Some(50)));
    let s1 = join(&mut bench, 1, &truncated(6, "UO|UO", None));
    assert_ne!(bench.state(), ClusterState::Recovering);
    for peer in [s1, s2] {
        assert!(!bench.names(peer).contains(&"Truncate"));
    }
}

#[test]
fn contradictory_truncations_wait_for_an_operator() {
    let mut bench = Bench::new(|_| {});
    let admin = bench.admin();
    join(&mut bench, 1, &truncated(5, "UU|UU", Some(50)));
    let s2 = join(&mut bench, 2, &truncated(5, "UU|UU", Some(60)));
    assert_eq!(bench.state(), ClusterState::Recovering);
    assert_eq!(start(&mut bench, admin).0, ErrorCode::Ack);
    assert_eq!(bench.state(), ClusterState::Recovering);
    bench.close(s2);
    assert_ne!(bench.state(), ClusterState::Recovering);

    let mut bench = Bench::new(|_| {});
    join(&mut bench, 1, &truncated(4, "UU|UU", Some(50)));
    join(&mut bench, 2, &truncated(5, "UU|UU", None));
    assert_eq!(bench.state(), ClusterState::Recovering);
}

/// S1 was lost first, then S2, which was told so; nothing was committed meanwhile.
fn both_lost() -> Running {
    let mut running = Running::new(2, 1);
    let client = running.bench.client();
    running.commit(client, &[1]);
    for peer in running.storages.clone() {
        running.bench.close(peer);
    }
    assert_eq!(running.bench.table(2), "..|..");
    running
}

#[test]
fn the_last_storage_of_an_operating_cluster_is_enough() {
    let bench = &mut both_lost().bench;
    let s2 = join(bench, 2, &Database::with(2, 1, "OU|OU"));
    bench.serve(s2, &Database::default());
    assert_eq!(bench.state(), ClusterState::Running);
}

#[test]
fn a_storage_that_missed_nothing_waits_for_who_was_told_that_it_is_lost() {
    let Running { mut bench, admin, .. } = both_lost();
    let bench = &mut bench;
    // S2 may have recorded that it has everything: alone, later, it would start without what S1
    // commits now.
    let s1 = join(bench, 1, &Database::with(1, 1, "UU|UU"));
    assert_eq!(bench.state(), ClusterState::Recovering);
    assert_eq!(start(bench, admin).0, ErrorCode::Ack);
    bench.serve(s1, &Database::default());
    assert_eq!(bench.state(), ClusterState::Running);
    assert_eq!(bench.table(2), "UO|UO");
    // What S2 may know has other numbers.
    assert_eq!(bench.master.partition_table().ptid(), Some(Ptid(3)));
}

#[test]
fn identifiers_are_told_in_recovery() {
    let mut bench = Bench::new(|_| {});
    let admin = bench.admin();
    let recovery = |ptid: Option<u64>, backup: Option<u64>| Packet::AnswerRecovery {
        ptid: ptid.map(Ptid),
        backup_tid: backup.map(Tid),
        truncate_tid: None,
    };
    let answer = bench.ask(admin, Packet::AskRecovery {});
    assert_eq!(answer, Some(recovery(None, None)));
    let database = Database { backup_tid: Some(Tid(40)), ..Database::with(5, 1, "UU|UU") };
    join(&mut bench, 1, &database);
    let answer = bench.ask(admin, Packet::AskRecovery {});
    assert_eq!(answer, Some(recovery(Some(5), Some(40))));
    let last = bench.ask(admin, Packet::AskLastIDs {});
    assert!(matches!(last, Some(Packet::AnswerLastIDs { first_tid: Tid::MAX, .. })));
    let tid = Tid::ZERO;
    let last = bench.ask(admin, Packet::AskLastTransaction {});
    assert_eq!(last, Some(Packet::AnswerLastTransaction { tid }));
    let state = Some(ClusterState::Recovering);
    let answer = bench.ask(admin, Packet::AskClusterState {});
    assert_eq!(answer, Some(Packet::AnswerClusterState { state }));
}

#[test]
fn a_kill_in_recovery_leaves_the_table_alone() {
    let mut bench = Bench::new(|_| {});
    let admin = bench.admin();
    let database = Database::with(5, 1, "UU|UU");
    let s1 = join(&mut bench, 1, &database);
    bench.clear();
    let kill = Packet::SetNodeState { nid: storage_nid(1), state: NodeState::Down };
    assert_eq!(bench.error(admin, kill), (ErrorCode::Ack, "state changed".into()));
    let packets = bench.packets(s1);
    let [Packet::NotifyNodeInformation { nodes, .. }] = &packets[..] else {
        panic!("{packets:?}");
    };
    assert_eq!(nodes[0].state, NodeState::Down);
    assert!(bench.is_closed(s1));
    assert_eq!(bench.table(2), "UU|UU");
    let drop = Packet::SetNodeState { nid: storage_nid(2), state: NodeState::Unknown };
    assert_eq!(bench.error(admin, drop).0, ErrorCode::Denied);
    join(&mut bench, 1, &database);
    join(&mut bench, 2, &database);
    assert_ne!(bench.state(), ClusterState::Recovering);
    assert_eq!(bench.table(2), "UU|UU");
}

#[test]
fn late_packets_are_ignored_but_requests_end_the_connection() {
    let mut running = Running::new(2, 0);
    let client = running.bench.client();
    let ttid = running.begin(client);
    running.finish(client, ttid, &[0, 1]);
    let bench = &mut running.bench;
    let (s1, s2) = (running.storages[0], running.storages[1]);
    bench.close(s2);
    assert_eq!(bench.state(), ClusterState::Recovering);
    bench.clear();
    bench.reply(s1, Packet::AnswerInformationLocked { ttid });
    bench.send(s1, Packet::NotifyReady {});
    let tid = Tid::ZERO;
    bench.send(s1, Packet::NotifyPackCompleted { tid });
    let partition = neo_wire::Partition(0);
    bench.send(s1, Packet::NotifyReplicationDone { partition, tid });
    assert_eq!(bench.sent(s1), []);
    assert!(!bench.is_closed(s1));
    let partitions = Vec::new();
    let (code, _) = bench.error(s1, Packet::AskUnfinishedTransactions { partitions });
    assert_eq!(code, ErrorCode::ProtocolError);
    assert!(bench.is_closed(s1));
}

#[test]
fn no_storage_is_asked_twice_and_flushes_are_forwarded() {
    let mut bench = Bench::new(|config| config.masters = vec![address(10_001)]);
    let admin = bench.admin();
    let (s1, _) = bench.identified(storage(None, 2001));
    assert_eq!(bench.names(s1).last(), Some(&"AskRecovery"));
    bench.send(admin, Packet::FlushLog {});
    assert_eq!(bench.packets(s1), [Packet::FlushLog {}]);
    assert_eq!(bench.sent(admin).len(), 1);
    assert!(bench.effects.contains(&crate::master::Effect::FlushLog));
    let wrong = NodeId::new(NodeType::Admin, 1);
    let (_, nid) = bench.identified(identification(NodeType::Admin, Some(wrong), Some(9998)));
    assert_ne!(nid, wrong);
}
