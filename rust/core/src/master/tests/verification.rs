//! What interrupted commits become (spec master.md 8).

use neo_wire::{ClusterState, Oid, Packet, Tid, Ttid};

use super::harness::{Bench, Database, Peer, identification, storage, storage_nid};

/// Storages with these databases, in VERIFYING: nothing was answered there yet.
fn verifying(databases: &[&Database]) -> (Bench, Vec<Peer>) {
    let mut bench = Bench::new(|_| {});
    let mut peers = Vec::new();
    for (number, database) in (1..).zip(databases) {
        let port = 2000 + u16::try_from(number).expect("a port");
        let (peer, _) = bench.identified(storage(Some(storage_nid(number)), port));
        bench.clear();
        bench.reply(peer, database.answer(&Packet::AskRecovery {}).expect("one"));
        if bench.names(peer).contains(&"AskPartitionTable") {
            let table = database.answer(&Packet::AskPartitionTable {});
            bench.reply(peer, table.expect("one"));
        }
        peers.push(peer);
    }
    assert_eq!(bench.state(), ClusterState::Verifying);
    bench.clear();
    (bench, peers)
}

fn reply(bench: &mut Bench, peer: Peer, database: &Database, packet: &Packet) {
    bench.reply(peer, database.answer(packet).expect("an answer"));
}

const A: Ttid = Ttid(100);
const B: Ttid = Ttid(102);

fn two(text: &str) -> (Database, Database) {
    let database = Database::with(5, 1, text);
    (database.clone(), database)
}

#[test]
fn a_transaction_locked_anywhere_is_committed() {
    let (mut d1, mut d2) = two("UU|UU");
    d1.locked = vec![(A, None), (B, None)];
    d2.locked = vec![(A, Some(Tid(104))), (B, None)];
    let (mut bench, peers) = verifying(&[&d1, &d2]);
    for (peer, database) in peers.iter().zip([&d1, &d2]) {
        reply(&mut bench, *peer, database, &Packet::AskLockedTransactions {});
    }
    let validate = Packet::ValidateTransaction { ttid: A, tid: Tid(104) };
    // Both voted for B: there is nobody to ask about it.
    for peer in &peers {
        assert_eq!(bench.packets(*peer), [validate.clone(), Packet::AskLastIDs {}]);
    }
}

#[test]
fn a_transaction_finished_elsewhere_is_committed() {
    let (mut d1, mut d2) = two("UU|UU");
    d1.locked = vec![(A, None), (B, None)];
    d2.finished = vec![(B, Tid(106))];
    let (mut bench, peers) = verifying(&[&d1, &d2]);
    let (s1, s2) = (peers[0], peers[1]);
    for (peer, database) in [(s1, &d1), (s2, &d2)] {
        reply(&mut bench, peer, database, &Packet::AskLockedTransactions {});
    }
    // One question at a time.
    for ttid in [A, B] {
        let question = Packet::AskFinalTID { ttid };
        assert_eq!(bench.packets(s1), []);
        assert_eq!(bench.packets(s2), std::slice::from_ref(&question));
        reply(&mut bench, s2, &d2, &question);
    }
    let validate = Packet::ValidateTransaction { ttid: B, tid: Tid(106) };
    assert_eq!(bench.packets(s1), [validate, Packet::AskLastIDs {}]);
    assert_eq!(bench.packets(s2), [Packet::AskLastIDs {}]);
}

#[test]
fn a_lost_storage_does_not_lend_a_tid_to_another_transaction() {
    let database = Database::with(5, 2, "UUU|UUU");
    let mut d1 = database.clone();
    d1.locked = vec![(A, None), (B, None)];
    let mut d2 = database.clone();
    d2.finished = vec![(A, Tid(104))];
    let (mut bench, peers) = verifying(&[&d1, &d2, &database]);
    for (peer, database) in peers.iter().zip([&d1, &d2, &database]) {
        reply(&mut bench, *peer, database, &Packet::AskLockedTransactions {});
    }
    let (s1, s2, s3) = (peers[0], peers[1], peers[2]);
    reply(&mut bench, s2, &d2, &Packet::AskFinalTID { ttid: A });
    assert!(bench.packets(s2).contains(&Packet::AskFinalTID { ttid: B }));
    // It never answers, and may have finished B too: it is asked again when it is back.
    bench.clear();
    bench.close(s2);
    assert_eq!(bench.state(), ClusterState::Recovering);
    let (s2, _) = bench.identified(storage(Some(storage_nid(2)), 2002));
    let mut packets = Vec::new();
    for _ in 0..20 {
        for (peer, database) in [(s1, &d1), (s2, &d2), (s3, &database)] {
            for (msg_id, packet) in bench.sent(peer) {
                if let Some(answer) = database.answer(&packet) {
                    bench.answer(peer, msg_id, answer);
                }
                packets.push((peer, packet));
            }
        }
    }
    assert_eq!(bench.state(), ClusterState::Running);
    let validated: Vec<_> = packets
        .iter()
        .filter(|(_, packet)| matches!(packet, Packet::ValidateTransaction { .. }))
        .collect();
    let validate = Packet::ValidateTransaction { ttid: A, tid: Tid(104) };
    assert_eq!(validated, [&(s1, validate)]);
}

#[test]
fn only_readable_storages_are_believed() {
    let (d1, mut d2) = two("UO|UO");
    d2.locked = vec![(A, Some(Tid(104)))];
    let (mut bench, peers) = verifying(&[&d1]);
    // The one that is out of date comes too late.
    let (s2, _) = bench.identified(storage(Some(storage_nid(2)), 2002));
    reply(&mut bench, peers[0], &d1, &Packet::AskLockedTransactions {});
    bench.serve_all(&[(peers[0], &d1), (s2, &d2)]);
    assert_eq!(bench.state(), ClusterState::Running);

    let mut bench = Bench::new(|_| {});
    let (s2, _) = bench.identified(storage(Some(storage_nid(2)), 2002));
    let (s1, _) = bench.identified(storage(Some(storage_nid(1)), 2001));
    let mut names = Vec::new();
    for _ in 0..20 {
        names.extend(bench.serve(s2, &d2));
        bench.serve(s1, &d1);
    }
    assert_eq!(bench.state(), ClusterState::Running);
    assert!(!names.contains(&"AskLockedTransactions"), "{names:?}");
    assert!(!names.contains(&"ValidateTransaction"), "{names:?}");
    assert!(names.contains(&"AskLastIDs"), "{names:?}");
}

#[test]
fn the_last_identifiers_are_the_greatest() {
    let (mut d1, mut d2) = two("UU|UU");
    d1.last_tid = Some(Tid(200));
    d1.last_oid = Some(Oid(7));
    d2.last_tid = Some(Tid(300));
    d2.last_oid = Some(Oid(5));
    let (mut bench, peers) = verifying(&[&d1, &d2]);
    let early = bench.connect();
    let (code, _) = bench.error(early, identification(neo_wire::NodeType::Client, None, None));
    assert_eq!(code, neo_wire::ErrorCode::NotReady);
    for (peer, database) in peers.iter().zip([&d1, &d2]) {
        reply(&mut bench, *peer, database, &Packet::AskLockedTransactions {});
    }
    bench.serve_all(&[(peers[0], &d1), (peers[1], &d2)]);
    assert_eq!(bench.state(), ClusterState::Running);
    let admin = bench.admin();
    let expected = Packet::AnswerLastIDs {
        last_tid: Some(Tid(300)),
        last_oid: Some(Oid(7)),
        first_tid: Tid(200),
    };
    assert_eq!(bench.ask(admin, Packet::AskLastIDs {}), Some(expected));
    let client = bench.client();
    let oids = vec![Oid(8)];
    let answer = bench.ask(client, Packet::AskNewOIDs { count: 1 });
    assert_eq!(answer, Some(Packet::AnswerNewOIDs { oids }));
}

#[test]
fn a_replica_that_may_know_of_a_commit_is_waited_for() {
    let (mut d1, mut d2) = two("UU|UU");
    d1.locked = vec![(A, None)];
    d2.finished = vec![(A, Tid(104))];
    for answered in 0..3 {
        let (mut bench, peers) = verifying(&[&d1, &d2]);
        let answers = [(peers[1], &d2), (peers[0], &d1)];
        for (peer, database) in answers.into_iter().take(answered) {
            reply(&mut bench, peer, database, &Packet::AskLockedTransactions {});
        }
        bench.clear();
        bench.close(peers[1]);
        assert_eq!(bench.state(), ClusterState::Recovering);
        assert!(!bench.names(peers[0]).contains(&"NotifyPartitionChanges"));
        // The other one alone would drop the commit.
        if answered < 2 {
            reply(&mut bench, peers[0], &d1, &Packet::AskLockedTransactions {});
        }
        reply(&mut bench, peers[0], &d1, &Packet::AskRecovery {});
        reply(&mut bench, peers[0], &d1, &Packet::AskPartitionTable {});
        assert_eq!(bench.state(), ClusterState::Recovering);
        bench.clear();
        let (s2, _) = bench.identified(storage(Some(storage_nid(2)), 2002));
        let names = [bench.serve(s2, &d2), bench.serve(peers[0], &d1), bench.serve(s2, &d2)];
        assert!(names[2].contains(&"AskFinalTID"), "{names:?}");
        assert!(bench.serve(peers[0], &d1).contains(&"ValidateTransaction"));
        bench.serve_all(&[(peers[0], &d1), (s2, &d2)]);
        assert_eq!(bench.state(), ClusterState::Running);
    }
}

#[test]
fn an_operator_goes_on_without_a_replica_that_may_know_of_a_commit() {
    let (d1, d2) = two("UU|UU");
    let (mut bench, peers) = verifying(&[&d1, &d2]);
    let admin = bench.admin();
    bench.close(peers[1]);
    reply(&mut bench, peers[0], &d1, &Packet::AskLockedTransactions {});
    reply(&mut bench, peers[0], &d1, &Packet::AskRecovery {});
    reply(&mut bench, peers[0], &d1, &Packet::AskPartitionTable {});
    bench.clear();
    assert_eq!(bench.state(), ClusterState::Recovering);
    let start = Packet::SetClusterState { state: ClusterState::Verifying };
    assert_eq!(bench.error(admin, start).0, neo_wire::ErrorCode::Ack);
    bench.serve_all(&[(peers[0], &d1)]);
    assert_eq!(bench.state(), ClusterState::Running);
    assert_eq!(bench.table(2), "UO|UO");
}

#[test]
fn who_lost_a_lock_is_waited_for_until_others_have_recorded_the_commit() {
    let (mut d1, mut d2) = two("UU|UU");
    d1.locked = vec![(A, None)];
    d2.locked = vec![(A, Some(Tid(104)))];
    for (recorded, state) in [(false, ClusterState::Recovering), (true, ClusterState::Running)] {
        let (mut bench, peers) = verifying(&[&d1, &d2]);
        for (peer, database) in peers.iter().zip([&d1, &d2]) {
            reply(&mut bench, *peer, database, &Packet::AskLockedTransactions {});
        }
        bench.clear();
        if recorded {
            reply(&mut bench, peers[0], &d1, &Packet::AskLastIDs {});
            bench.close(peers[1]);
        } else {
            bench.close(peers[1]);
            reply(&mut bench, peers[0], &d1, &Packet::AskLastIDs {});
        }
        bench.serve_all(&[(peers[0], &d1)]);
        assert_eq!(bench.state(), state);
    }
}

#[test]
fn the_loss_of_a_replica_that_said_everything_is_not_the_end() {
    let (d1, d2) = two("UU|UU");
    let (mut bench, peers) = verifying(&[&d1, &d2]);
    for (peer, database) in peers.iter().zip([&d1, &d2]) {
        reply(&mut bench, *peer, database, &Packet::AskLockedTransactions {});
    }
    bench.clear();
    bench.close(peers[1]);
    assert_eq!(bench.table(2), "UO|UO");
    assert_eq!(bench.names(peers[0]), ["NotifyNodeInformation", "NotifyPartitionChanges"]);
    reply(&mut bench, peers[0], &d1, &Packet::AskLastIDs {});
    bench.serve_all(&[(peers[0], &d1)]);
    assert_eq!(bench.state(), ClusterState::Running);
}

#[test]
fn the_loss_of_the_last_copy_leads_back_to_recovery() {
    let database = Database::with(5, 0, "U.|.U");
    let (mut bench, peers) = verifying(&[&database, &database]);
    bench.close(peers[1]);
    assert_eq!(bench.state(), ClusterState::Recovering);
    let names = bench.names(peers[0]);
    let expected = [
        "NotifyNodeInformation",
        "StopOperation",
        "NotifyNodeInformation",
        "NotifyClusterInformation",
        "AskRecovery",
    ];
    assert_eq!(names, expected);
    // An answer of before does not count.
    reply(&mut bench, peers[0], &database, &Packet::AskLockedTransactions {});
    assert_eq!(bench.state(), ClusterState::Recovering);
    // This master was operating: it starts as soon as it can.
    reply(&mut bench, peers[0], &database, &Packet::AskRecovery {});
    reply(&mut bench, peers[0], &database, &Packet::AskPartitionTable {});
    bench.clear();
    let (s2, _) = bench.identified(storage(Some(storage_nid(2)), 2002));
    bench.serve_all(&[(peers[0], &database), (s2, &database)]);
    assert_eq!(bench.state(), ClusterState::Running);
}

#[test]
fn a_truncation_is_executed_by_all_or_started_again() {
    let (mut d1, mut d2) = two("UU|UU");
    d1.truncate_tid = Some(Tid(50));
    d2.truncate_tid = Some(Tid(50));
    let (mut bench, peers) = verifying(&[&d1, &d2]);
    bench.close(peers[1]);
    // A replica is left, but everything starts again, and waits for all.
    assert_eq!(bench.state(), ClusterState::Recovering);
    bench.clear();
    reply(&mut bench, peers[0], &d1, &Packet::AskLockedTransactions {});
    d1.ptid = Some(6);
    d1.rows = super::harness::rows("UO|UO");
    reply(&mut bench, peers[0], &d1, &Packet::AskRecovery {});
    reply(&mut bench, peers[0], &d1, &Packet::AskPartitionTable {});
    assert_eq!(bench.state(), ClusterState::Recovering);
    bench.clear();
    let (s2, _) = bench.identified(storage(Some(storage_nid(2)), 2002));
    bench.serve_all(&[(peers[0], &d1), (s2, &d2)]);
    assert_eq!(bench.state(), ClusterState::Running);
}

#[test]
fn a_backup_database_needs_an_upstream_cluster() {
    let (mut d1, _) = two("U|U");
    d1.num_replicas = 0;
    d1.backup_tid = Some(Tid(40));
    let (mut bench, peers) = verifying(&[&d1]);
    bench.reply(peers[0], d1.answer(&Packet::AskLastIDs {}).expect("an answer"));
    bench.serve_all(&[(peers[0], &d1)]);
    let reason = "No upstream cluster to backup defined in configuration";
    assert_eq!(bench.exit, Some(crate::io::Exit::Failure(reason.into())));
}
