//! Transactions (spec master.md 9.5-9.7, 10).

use neo_wire::{ClusterState, ErrorCode, NodeType, Oid, PackRequest, Packet, Partition, Tid, Ttid};
use neo_wire::{Map, Value};

use super::harness::{
    Bench, Database, Peer, Running, finish, identification, storage, storage_nid,
};

pub fn protocol_error(bench: &mut Bench, peer: Peer, packet: Packet) -> String {
    let (code, text) = bench.error(peer, packet);
    assert_eq!(code, ErrorCode::ProtocolError);
    assert!(bench.is_closed(peer));
    text
}

pub fn begin(tid: Option<Tid>) -> Packet {
    Packet::AskBeginTransaction { tid }
}

pub fn finished(bench: &mut Bench, peer: Peer, msg_id: u32) -> Option<Tid> {
    match bench.answer_to(peer, msg_id) {
        Some(Packet::AnswerTransactionFinished { tid, .. }) => Some(tid),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn oids_follow_the_greatest_one() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    let ask = |bench: &mut Bench, count| match bench.ask(client, Packet::AskNewOIDs { count }) {
        Some(Packet::AnswerNewOIDs { oids }) => oids,
        other => panic!("{other:?}"),
    };
    assert_eq!(ask(&mut running.bench, 3), [Oid(1), Oid(2), Oid(3)]);
    assert_eq!(ask(&mut running.bench, 0), []);
    running.commit(client, &[1000]);
    assert_eq!(ask(&mut running.bench, 1), [Oid(1001)]);
    running.commit(client, &[Oid::MAX.0 - 2]);
    assert_eq!(ask(&mut running.bench, 1), [Oid(Oid::MAX.0 - 1)]);
    // Storages can hold none from 2^63 on; what is left can still be had.
    let more = Packet::AskNewOIDs { count: 2 };
    let text = protocol_error(&mut running.bench, client, more);
    assert!(text.starts_with("no OID is left: "), "{text}");
    let client = running.bench.client();
    let ask = |bench: &mut Bench| bench.ask(client, Packet::AskNewOIDs { count: 1 });
    assert_eq!(ask(&mut running.bench), Some(Packet::AnswerNewOIDs { oids: vec![Oid::MAX] }));
    for oid in [Oid::MAX.0, u64::MAX] {
        let client = running.bench.client();
        running.commit(client, &[oid]);
        let text = protocol_error(&mut running.bench, client, Packet::AskNewOIDs { count: 1 });
        assert!(text.contains("2^63 - 1"), "{text}");
    }
}

#[test]
fn commits_are_announced_in_the_order_of_tids() {
    let mut running = Running::new(1, 0);
    let (first, second) = (running.bench.client(), running.bench.client());
    let s1 = running.storages[0];
    let (a, b) = (running.begin(first), running.begin(second));
    assert!(a < b);
    let id_b = running.finish(second, b, &[1]);
    let id_a = running.finish(first, a, &[2]);
    let bench = &mut running.bench;
    let asked = bench.sent(s1);
    // b was asked first, so that its TID is the smaller one: a waits for it.
    bench.answer(s1, asked[1].0, Packet::AnswerInformationLocked { ttid: a });
    assert_eq!(finished(bench, first, id_a), None);
    assert_eq!(bench.sent(s1), []);
    bench.answer(s1, asked[0].0, Packet::AnswerInformationLocked { ttid: b });
    let unlocked: Vec<_> = bench.packets(s1);
    let unlock = |ttid| Packet::NotifyUnlockInformation { ttid };
    assert_eq!(unlocked, [unlock(b), unlock(a)]);
    let tid_b = finished(bench, second, id_b).expect("b");
    let seen = bench.packets(first);
    let [
        Packet::InvalidateObjects { tid, .. },
        Packet::AnswerTransactionFinished { tid: tid_a, .. },
    ] = &seen[..]
    else {
        panic!("{seen:?}");
    };
    assert_eq!(*tid, tid_b);
    assert!(*tid_a > tid_b);
}

#[test]
fn only_the_owner_finishes_and_only_once() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    let ttid = running.begin(client);
    let thief = running.bench.client();
    let text = protocol_error(&mut running.bench, thief, finish(ttid, &[1]));
    assert_eq!(text, format!("unknown ttid {ttid}"));
    let abort = Packet::AbortTransaction { ttid, nids: vec![storage_nid(1)] };
    let other = running.bench.client();
    running.bench.clear();
    running.bench.send(other, abort.clone());
    assert!(!running.bench.is_closed(other));
    assert_eq!(running.bench.sent(running.storages[0]), []);
    running.finish(client, ttid, &[1]);
    assert_eq!(running.bench.names(running.storages[0]), ["AskLockInformation"]);
    let msg_id = running.bench.send(client, abort);
    let error = running.bench.answer_to(client, msg_id);
    let text = format!("commit already requested for ttid {ttid}");
    assert_eq!(error, Some(Packet::error(ErrorCode::ProtocolError, text.clone())));

    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    let ttid = running.begin(client);
    running.finish(client, ttid, &[1]);
    let again = protocol_error(&mut running.bench, client, finish(ttid, &[1]));
    assert_eq!(again, format!("commit already requested for ttid {ttid}"));
    assert_eq!(running.bench.names(running.storages[0])[..1], ["AskLockInformation"]);
    // It continues without its client.
    running.bench.clear();
    let s1 = running.storages[0];
    running.bench.reply(s1, Packet::AnswerInformationLocked { ttid });
    assert_eq!(running.bench.names(s1), ["NotifyUnlockInformation"]);
}

#[test]
fn wrong_requests_end_the_connection() {
    let finish_with = |ttid, deleted: &[u32], checked: &[u32], pack: Option<u64>| {
        let partitions = |list: &[u32]| list.iter().copied().map(Partition).collect();
        Packet::AskFinishTransaction {
            ttid,
            oids: Vec::new(),
            deleted: partitions(deleted),
            checked: partitions(checked),
            pack: pack.map(|tid| PackRequest { oids: None, pack_tid: Tid(tid) }),
        }
    };
    let mut running = Running::new(1, 0);
    for (deleted, checked, pack, text) in [
        (&[2][..], &[][..], None, "invalid partition"),
        (&[], &[2], None, "invalid partition"),
        (&[], &[], Some(0), "invalid pack time"),
        (&[], &[], Some(u64::MAX), "invalid pack time"),
    ] {
        let client = running.bench.client();
        let ttid = running.begin(client);
        let packet = finish_with(ttid, deleted, checked, pack);
        assert_eq!(protocol_error(&mut running.bench, client, packet), text);
    }
    let client = running.bench.client();
    let count = u32::MAX;
    protocol_error(&mut running.bench, client, Packet::AskNewOIDs { count });
    let client = running.bench.client();
    let ttid = Ttid(5);
    let vote = Packet::FailedVote { ttid, nids: Vec::new() };
    let text = protocol_error(&mut running.bench, client, vote);
    assert_eq!(text, format!("unknown ttid {ttid}"));
    let client = running.bench.client();
    protocol_error(&mut running.bench, client, Packet::NotifyReady {});
    assert_eq!(running.bench.state(), ClusterState::Running);
    assert!(running.bench.master.is_at_rest());
}

#[test]
fn tids_rise_when_the_clock_goes_back() {
    let mut running = Running::new(1, 0);
    let (first, second) = (running.bench.client(), running.bench.client());
    let old = running.begin(first);
    let mut last = Tid::ZERO;
    for back_s in [0.0, 3600.0, 7200.0] {
        running.bench.now.wall_s -= back_s;
        let tid = running.commit(second, &[1]);
        assert!(tid > last);
        last = tid;
    }
    let msg_id = running.finish(first, old, &[2]);
    let s1 = running.storages[0];
    running.lock(s1);
    let tid = finished(&mut running.bench, first, msg_id).expect("a commit");
    assert!(tid > last);
    assert_eq!(tid.partition(2), old.partition(2));
}

#[test]
fn no_transaction_begins_while_a_storage_starts() {
    let mut running = Running::new(2, 1);
    let client = running.bench.client();
    let old = running.begin(client);
    running.bench.close(running.storages[0]);
    let (s1, _) = running.bench.identified(storage(Some(storage_nid(1)), 2001));
    let msg_id = running.bench.send(client, begin(None));
    assert_eq!(running.bench.answer_to(client, msg_id), None);
    let database = Database::with(2, 1, "OU|OU");
    running.bench.serve(s1, &database);
    let answer = running.bench.answer_to(client, msg_id);
    let Some(Packet::AnswerBeginTransaction { ttid }) = answer else {
        panic!("{answer:?}");
    };
    // It takes part in what began since then, and not in what it missed the beginning of.
    running.bench.clear();
    running.finish(client, old, &[1]);
    assert_eq!(running.bench.sent(s1), []);
    running.finish(client, ttid, &[1]);
    assert_eq!(running.bench.names(s1), ["AskLockInformation"]);
}

#[test]
fn a_storage_that_does_not_get_ready_is_given_up() {
    let mut running = Running::new(2, 1);
    let client = running.bench.client();
    running.bench.close(running.storages[0]);
    let (s1, _) = running.bench.identified(storage(Some(storage_nid(1)), 2001));
    let msg_id = running.bench.send(client, begin(None));
    running.bench.wait(59_999);
    assert_eq!(running.bench.answer_to(client, msg_id), None);
    running.bench.wait(1);
    assert!(running.bench.is_closed(s1));
    let answer = running.bench.answer_to(client, msg_id);
    assert!(matches!(answer, Some(Packet::AnswerBeginTransaction { .. })));
}

#[test]
fn a_duplicate_ready_ends_the_connection() {
    let mut running = Running::new(2, 1);
    let s1 = running.storages[0];
    protocol_error(&mut running.bench, s1, Packet::NotifyReady {});
    assert_eq!(running.bench.state(), ClusterState::Running);
}

#[test]
fn votes_that_exclude_each_other_are_arbitrated() {
    // Each partition is on two of three storages.
    let mut running = Running::new(3, 1);
    assert_eq!(running.bench.table(3), "UU.|U.U");
    let (first, second) = (running.bench.client(), running.bench.client());
    let (a, b) = (running.begin(first), running.begin(second));
    let failed = |ttid, numbers: &[u32]| Packet::FailedVote {
        ttid,
        nids: numbers.iter().copied().map(storage_nid).collect(),
    };
    let bench = &mut running.bench;
    let ack = (ErrorCode::Ack, String::new());
    assert_eq!(bench.error(first, failed(a, &[])), ack);
    assert_eq!(bench.error(first, failed(a, &[9])), ack);
    // Both copies of a partition.
    let (code, _) = bench.error(first, failed(a, &[1, 2]));
    assert_eq!(code, ErrorCode::IncompleteTransaction);
    assert_eq!(bench.error(first, failed(a, &[2])), ack);
    let msg_id = bench.send(second, failed(b, &[1]));
    assert_eq!(bench.answer_to(second, msg_id), None);
    // The first one ends: S2 is out, and S1 can not be spared.
    let s2 = running.storages[1];
    let id = running.finish(first, a, &[0]);
    assert!(running.bench.is_closed(s2));
    assert_eq!(running.bench.table(3), "UO.|U.U");
    running.lock(running.storages[0]);
    running.lock(running.storages[2]);
    let answer = running.bench.answer_to(second, msg_id);
    assert!(
        matches!(answer, Some(Packet::Error { code: ErrorCode::IncompleteTransaction, .. })),
        "{answer:?}"
    );
    assert!(finished(&mut running.bench, first, id).is_some());
}

#[test]
fn an_abort_lets_the_other_vote_pass() {
    let mut running = Running::new(3, 1);
    let (first, second) = (running.bench.client(), running.bench.client());
    let (a, b) = (running.begin(first), running.begin(second));
    let failed = |ttid, number| Packet::FailedVote { ttid, nids: vec![storage_nid(number)] };
    let bench = &mut running.bench;
    bench.error(first, failed(a, 2));
    let msg_id = bench.send(second, failed(b, 1));
    assert_eq!(bench.answer_to(second, msg_id), None);
    bench.clear();
    let nids = vec![storage_nid(1), storage_nid(3)];
    bench.send(first, Packet::AbortTransaction { ttid: a, nids });
    assert_eq!(bench.answer_to(second, msg_id), Some(Packet::ack("")));
    let ttid = a;
    let nids = Vec::new();
    let abort = Packet::AbortTransaction { ttid, nids };
    assert_eq!(bench.packets(running.storages[0]), std::slice::from_ref(&abort));
    assert_eq!(bench.packets(running.storages[1]), []);
    assert_eq!(bench.packets(running.storages[2]), [abort]);
    // An abort may cross the end of the transaction.
    let nids = Vec::new();
    bench.send(first, Packet::AbortTransaction { ttid: a, nids });
    assert!(!bench.is_closed(first));
}

#[test]
fn a_transaction_that_can_not_be_read_is_aborted() {
    let mut running = Running::new(3, 1);
    let client = running.bench.client();
    let ttid = running.begin(client);
    let nids = vec![storage_nid(2)];
    running.bench.error(client, Packet::FailedVote { ttid, nids });
    running.bench.close(running.storages[0]);
    assert_eq!(running.bench.state(), ClusterState::Running);
    running.bench.clear();
    let (code, _) = running.bench.error(client, finish(ttid, &[0, 1]));
    assert_eq!(code, ErrorCode::IncompleteTransaction);
    for peer in &running.storages[1..] {
        assert_eq!(running.bench.names(*peer), ["AbortTransaction"]);
    }
    assert_eq!(running.bench.state(), ClusterState::Running);
    assert!(running.bench.master.is_at_rest());
}

#[test]
fn a_lost_storage_is_not_waited_for() {
    let mut running = Running::new(2, 1);
    let client = running.bench.client();
    let ttid = running.begin(client);
    let msg_id = running.finish(client, ttid, &[0, 1]);
    running.lock(running.storages[0]);
    assert_eq!(finished(&mut running.bench, client, msg_id), None);
    running.bench.close(running.storages[1]);
    let sent = running.bench.sent(client);
    let names: Vec<_> = sent.iter().map(|(_, packet)| packet.name()).collect();
    let expected = ["NotifyNodeInformation", "NotifyPartitionChanges", "AnswerTransactionFinished"];
    assert_eq!(names, expected);
}

#[test]
fn the_loss_of_the_last_copy_ends_everything() {
    let mut running = Running::new(2, 0);
    let client = running.bench.client();
    let ttid = running.begin(client);
    let msg_id = running.finish(client, ttid, &[0, 1]);
    running.lock(running.storages[0]);
    running.bench.close(running.storages[1]);
    assert_eq!(finished(&mut running.bench, client, msg_id), None);
    assert!(running.bench.is_closed(client));
    assert_eq!(running.bench.state(), ClusterState::Recovering);
    assert!(running.bench.master.is_at_rest());
}

#[test]
fn an_error_of_a_storage_is_its_loss() {
    let mut running = Running::new(2, 1);
    let client = running.bench.client();
    let ttid = running.begin(client);
    let msg_id = running.finish(client, ttid, &[0, 1]);
    let (s1, s2) = (running.storages[0], running.storages[1]);
    running.lock(s1);
    let asked = running.bench.sent(s2);
    let error = Packet::error(ErrorCode::ProtocolError, "unknown ttid");
    running.bench.answer(s2, asked[0].0, error);
    assert!(running.bench.is_closed(s2));
    assert!(finished(&mut running.bench, client, msg_id).is_some());
    // Another answer than the one asked for.
    let ttid = running.begin(client);
    running.finish(client, ttid, &[0]);
    let asked = running.bench.sent(s1);
    let ttid = Ttid(ttid.0 + 1);
    let (msg_id, _) = asked.last().expect("a request");
    let answer = Packet::AnswerInformationLocked { ttid };
    running.bench.answer(s1, *msg_id, answer);
    assert!(running.bench.is_closed(s1));
}

#[test]
fn a_lost_client_leaves_nothing() {
    let mut running = Running::new(1, 0);
    let (client, other) = (running.bench.client(), running.bench.client());
    let begun = running.begin(client);
    let ttid = running.begin(client);
    running.finish(client, ttid, &[1]);
    running.bench.clear();
    running.bench.close(client);
    let names = running.bench.names(running.admin);
    assert_eq!(names, ["NotifyNodeInformation"]);
    let partitions = Vec::new();
    let s1 = running.storages[0];
    let unfinished = running.bench.ask(s1, Packet::AskUnfinishedTransactions { partitions });
    let max_tid = Tid::ZERO;
    let ttids = vec![ttid];
    assert_eq!(unfinished, Some(Packet::AnswerUnfinishedTransactions { max_tid, ttids }));
    assert!(!running.bench.master.is_at_rest());
    // It comes back and asks what became of it, with something else in between.
    let back = running.bench.client();
    let ask = Packet::AskFinalTID { ttid };
    let asked = running.bench.send(back, ask.clone());
    running.bench.send(back, Packet::Ping {});
    assert_eq!(running.bench.answer_to(back, asked), None);
    running.bench.clear();
    running.bench.reply(s1, Packet::AnswerInformationLocked { ttid });
    let tid = running.bench.master.last_tid();
    let invalidated = Packet::InvalidateObjects { tid, oids: vec![Oid(1)] };
    assert_eq!(running.bench.packets(other), [invalidated]);
    let seen = running.bench.sent(back);
    assert_eq!(seen[1], (asked, Packet::AnswerFinalTID { tid: Some(tid) }));
    let max_tid = tid;
    let finished = Packet::NotifyTransactionFinished { ttid, max_tid };
    let unlocked = Packet::NotifyUnlockInformation { ttid };
    assert_eq!(running.bench.packets(s1), [unlocked, finished]);
    assert!(running.bench.master.is_at_rest());
    // Once it is over, storages know.
    let tid = Some(Tid::MAX);
    for ttid in [ttid, begun] {
        let answer = running.bench.ask(back, Packet::AskFinalTID { ttid });
        assert_eq!(answer, Some(Packet::AnswerFinalTID { tid }));
    }
    let ttid = Ttid(u64::MAX);
    let answer = running.bench.ask(back, Packet::AskFinalTID { ttid });
    assert_eq!(answer, Some(Packet::AnswerFinalTID { tid: None }));
}

#[test]
fn an_abort_is_told_to_who_registered() {
    let mut running = Running::new(2, 1);
    let client = running.bench.client();
    let ttid = running.begin(client);
    let (s1, s2) = (running.storages[0], running.storages[1]);
    let partitions = vec![Partition(0)];
    running.bench.send(s2, Packet::AskUnfinishedTransactions { partitions });
    running.bench.clear();
    let nids = vec![storage_nid(1)];
    running.bench.send(client, Packet::AbortTransaction { ttid, nids });
    for peer in [s1, s2] {
        assert_eq!(running.bench.names(peer), ["AbortTransaction"]);
    }
}

#[test]
fn a_late_end_of_replication_is_ignored() {
    let mut running = Running::new(2, 1);
    running.bench.close(running.storages[0]);
    let (s1, _) = running.bench.identified(storage(Some(storage_nid(1)), 2001));
    running.bench.serve(s1, &Database::with(2, 1, "OU|OU"));
    let tid = Tid(1);
    for number in [0, 9] {
        let partition = Partition(number);
        let done = Packet::NotifyReplicationDone { partition, tid };
        running.bench.send(s1, done);
    }
    assert!(!running.bench.is_closed(s1));
    assert_eq!(running.bench.table(2), "OU|OU");
}

fn reader(extra: &[(&str, Value)]) -> Packet {
    let mut request = identification(NodeType::Client, None, None);
    if let Packet::RequestIdentification { extra: map, .. } = &mut request {
        let entries = extra.iter().cloned();
        *map = Map(entries.map(|(key, value)| (key.into(), value)).collect());
    }
    request
}

#[test]
fn readers_do_not_write() {
    let mut running = Running::new(1, 0);
    let writer = running.bench.client();
    let read_only = reader(&[("read_only", Value::Bool(true))]);
    let (reader, _) = running.bench.identified(read_only);
    let ttid = Ttid(1);
    for packet in [
        begin(None),
        Packet::AskNewOIDs { count: 1 },
        finish(ttid, &[]),
        Packet::AskFinalTID { ttid },
        Packet::AbortTransaction { ttid, nids: Vec::new() },
    ] {
        let (code, text) = running.bench.error(reader, packet);
        assert_eq!(code, ErrorCode::ReadOnlyAccess);
        assert_eq!(text, "read-only access as requested by the client");
    }
    running.bench.clear();
    running.commit(writer, &[1]);
    assert_eq!(running.bench.names(reader), ["InvalidateObjects"]);
}

#[test]
fn a_backup_cluster_is_told_partitions() {
    let mut running = Running::new(1, 0);
    let writer = running.bench.client();
    let (backup, _) = running.bench.identified(reader(&[("backup", "copy".into())]));
    running.bench.clear();
    let tid = running.commit(writer, &[0, 2, 3]);
    let partitions = vec![Partition(0), Partition(1)];
    let expected = Packet::InvalidatePartitions { tid, partitions };
    assert_eq!(running.bench.packets(backup), [expected]);
}

#[test]
fn an_aborted_transaction_never_existed() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    let last = running.commit(client, &[1]);
    let ttid = running.begin(client);
    running.bench.send(client, Packet::AbortTransaction { ttid, nids: Vec::new() });
    let found = running.bench.ask(client, Packet::AskFinalTID { ttid });
    assert_eq!(found, Some(Packet::AnswerFinalTID { tid: None }));
    let found = running.bench.ask(running.admin, Packet::AskLastIDs {});
    let Some(Packet::AnswerLastIDs { last_tid, .. }) = found else { panic!("{found:?}") };
    assert_eq!(last_tid, Some(last));
    // Something newer may be it.
    running.commit(client, &[1]);
    let found = running.bench.ask(client, Packet::AskFinalTID { ttid });
    assert_eq!(found, Some(Packet::AnswerFinalTID { tid: Some(Tid::MAX) }));
}
