//! Pack orders, in normal mode (spec master.md 14).

use neo_wire::{ErrorCode, Oid, OidList, PackOrder, PackRequest, Packet, Tid, Ttid};

use super::harness::{Bench, Database, Peer, Running, storage, storage_nid};

fn finish_pack(ttid: Ttid, pack_tid: Tid) -> Packet {
    Packet::AskFinishTransaction {
        ttid,
        oids: Vec::new(),
        deleted: Vec::new(),
        checked: Vec::new(),
        pack: Some(PackRequest { oids: Some(vec![Oid(1)]), pack_tid }),
    }
}

/// Commits a pack order.
fn pack(running: &mut Running, client: Peer, pack_tid: Tid) -> Tid {
    let ttid = running.begin(client);
    let msg_id = running.bench.send(client, finish_pack(ttid, pack_tid));
    for peer in running.storages.clone() {
        running.lock(peer);
    }
    match running.bench.answer_to(client, msg_id) {
        Some(Packet::AnswerTransactionFinished { tid, .. }) => tid,
        other => panic!("{other:?}"),
    }
}

fn order(tid: Tid, approved: Option<bool>, pack_tid: Tid) -> PackOrder {
    PackOrder { tid, approved, partial: true, oids: Some(OidList::List(vec![Oid(1)])), pack_tid }
}

fn orders(bench: &mut Bench, peer: Peer, min_id: Tid) -> Vec<PackOrder> {
    match bench.ask(peer, Packet::AskPackOrders { min_id }) {
        Some(Packet::AnswerPackOrders { orders }) => orders,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_order_is_approved_told_and_completed() {
    let mut running = Running::new(2, 1);
    let client = running.bench.client();
    let first = running.commit(client, &[1]);
    let (s1, s2) = (running.storages[0], running.storages[1]);
    running.bench.clear();
    let ttid = running.begin(client);
    running.bench.send(client, finish_pack(ttid, first));
    for peer in [s1, s2] {
        let asked = running.bench.sent(peer);
        assert!(
            asked.iter().any(|(_, x)| matches!(x, Packet::AskLockInformation { pack: true, .. })),
            "{asked:?}"
        );
        running.bench.reply(peer, Packet::AnswerInformationLocked { ttid });
    }
    let tid = running.bench.master.last_tid();
    let signed = Packet::NotifyPackSigned { approved: vec![tid], rejected: Vec::new() };
    let unlock = Packet::NotifyUnlockInformation { ttid };
    for peer in [s1, s2] {
        assert_eq!(running.bench.packets(peer), [unlock.clone(), signed.clone()]);
    }
    let known = order(tid, Some(true), first);
    for peer in [s1, client] {
        assert_eq!(orders(&mut running.bench, peer, Tid::ZERO), std::slice::from_ref(&known));
    }
    assert_eq!(orders(&mut running.bench, client, tid.next()), []);
    let wait = Packet::WaitForPack { tid };
    let bench = &mut running.bench;
    let waiting = bench.send(client, wait.clone());
    assert_eq!(bench.answer_to(client, waiting), None);
    bench.send(s2, Packet::NotifyPackCompleted { tid: first });
    bench.send(s1, Packet::NotifyPackCompleted { tid });
    assert_eq!(bench.answer_to(client, waiting), None);
    bench.send(s2, Packet::NotifyPackCompleted { tid });
    assert_eq!(bench.answer_to(client, waiting), Some(Packet::WaitedForPack {}));
    assert_eq!(bench.ask(client, wait), Some(Packet::WaitedForPack {}));
}

#[test]
fn a_truncation_below_a_pack_is_denied() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    let first = running.commit(client, &[1]);
    let tid = pack(&mut running, client, first);
    running.commit(client, &[1]);
    let s1 = running.storages[0];
    for completed in [first, tid] {
        let tid = completed;
        running.bench.send(s1, Packet::NotifyPackCompleted { tid });
        let (code, text) = running.bench.error(running.admin, Packet::Truncate { tid: first });
        assert_eq!(code, ErrorCode::Denied);
        assert_eq!(text, "Can not truncate before an approved pack");
    }
    let (code, _) = running.bench.error(running.admin, Packet::Truncate { tid });
    assert_eq!(code, ErrorCode::Ack);
}

#[test]
fn signatures_are_repeated_when_a_storage_gets_ready() {
    let mut running = Running::new(2, 1);
    let client = running.bench.client();
    let first = running.commit(client, &[1]);
    running.bench.close(running.storages[0]);
    let storages = std::mem::take(&mut running.storages);
    running.storages = vec![storages[1]];
    let tid = pack(&mut running, client, first);
    let (s1, _) = running.bench.identified(storage(Some(storage_nid(1)), 2001));
    running.bench.serve(s1, &Database::with(1, 1, "UU|UU"));
    let signed = Packet::NotifyPackSigned { approved: vec![tid], rejected: Vec::new() };
    // `serve` stopped at it: nothing follows.
    running.bench.clear();
    running.bench.close(s1);
    let (s1, _) = running.bench.identified(storage(Some(storage_nid(1)), 2001));
    running
        .bench
        .reply(s1, Packet::AnswerRecovery { ptid: None, backup_tid: None, truncate_tid: None });
    running.bench.clear();
    running.bench.send(s1, Packet::NotifyReady {});
    assert_eq!(running.bench.packets(s1), [signed]);
}

/// A cluster of storages that report these orders when it starts.
fn started(databases: &[Database]) -> (Bench, Vec<Peer>) {
    let mut bench = Bench::new(|_| {});
    let mut peers = Vec::new();
    for number in 1..=databases.len() {
        let number = u32::try_from(number).expect("a number");
        let port = 2000 + u16::try_from(number).expect("a port");
        let (peer, _) = bench.identified(storage(Some(storage_nid(number)), port));
        peers.push(peer);
    }
    let all: Vec<_> = peers.iter().copied().zip(databases).collect();
    bench.serve_all(&all);
    assert_eq!(bench.state(), neo_wire::ClusterState::Running);
    (bench, peers)
}

#[test]
fn leftovers_of_aborted_packs_are_rejected() {
    let concatenated = PackOrder {
        oids: Some(OidList::Concatenated(vec![Oid(1)])),
        ..order(Tid(50), Some(true), Tid(10))
    };
    let database = Database {
        orders: vec![concatenated, order(Tid(60), None, Tid(20))],
        last_tid: Some(Tid(100)),
        ..Database::with(5, 0, "U|U")
    };
    let (mut bench, _) = started(&[database]);
    let client = bench.client();
    let known = [order(Tid(50), Some(true), Tid(10)), order(Tid(60), Some(false), Tid(20))];
    assert_eq!(orders(&mut bench, client, Tid::ZERO), known);
}

#[test]
fn old_orders_are_asked_to_few_storages() {
    let with = |tid: u64| Database {
        orders: vec![order(Tid(tid), Some(true), Tid(10))],
        last_tid: Some(Tid(1000)),
        ..Database::with(5, 0, "U..|.UU")
    };
    let (mut bench, peers) = started(&[with(50), with(60), with(60)]);
    let client = bench.client();
    let tid = Tid(60);
    for peer in &peers {
        bench.send(*peer, Packet::NotifyPackCompleted { tid });
    }
    assert_eq!(orders(&mut bench, client, tid.next()), []);
    bench.clear();
    let min_id = Tid(1);
    let asked = bench.send(client, Packet::AskPackOrders { min_id: Tid::ZERO });
    assert_eq!(bench.packets(peers[0]), [Packet::AskPackOrders { min_id }]);
    assert_eq!(bench.packets(peers[1]), [Packet::AskPackOrders { min_id }]);
    assert_eq!(bench.packets(peers[2]), []);
    let answer =
        |tid| Packet::AnswerPackOrders { orders: vec![order(Tid(tid), Some(true), Tid(10))] };
    bench.reply(peers[0], answer(50));
    // The other one is lost: a third one has its partition.
    bench.close(peers[1]);
    assert!(bench.packets(peers[2]).contains(&Packet::AskPackOrders { min_id }));
    assert_eq!(bench.answer_to(client, asked), None);
    bench.reply(peers[2], answer(60));
    let all = vec![order(Tid(50), Some(true), Tid(10)), order(Tid(60), Some(true), Tid(10))];
    let found = bench.answer_to(client, asked);
    assert_eq!(found, Some(Packet::AnswerPackOrders { orders: all }));
}

#[test]
fn who_left_is_not_answered() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    let first = running.commit(client, &[1]);
    let tid = pack(&mut running, client, first);
    running.bench.send(client, Packet::WaitForPack { tid });
    running.bench.close(client);
    let s1 = running.storages[0];
    running.bench.send(s1, Packet::NotifyPackCompleted { tid });
    assert!(!running.bench.is_closed(s1));
}

#[test]
fn a_completed_pack_is_not_forgotten_by_a_recovery() {
    let with = |packed: Option<u64>| Database {
        first_tid: Some(Tid(10)),
        last_tid: Some(Tid(100)),
        packed: packed.map(Tid),
        ..Database::with(5, 0, "U.|.U")
    };
    for packed in [[Some(50), Some(50)], [Some(50), Some(20)], [None, Some(50)]] {
        let (mut bench, _) = started(&packed.map(with));
        let admin = bench.admin();
        let (code, text) = bench.error(admin, Packet::Truncate { tid: Tid(49) });
        assert_eq!((code, &*text), (ErrorCode::Denied, "Can not truncate before an approved pack"));
    }
    let (mut bench, _) = started(&[Some(50), Some(20)].map(with));
    let admin = bench.admin();
    let (code, _) = bench.error(admin, Packet::Truncate { tid: Tid(50) });
    assert_eq!(code, ErrorCode::Ack);
}

#[test]
fn an_order_that_is_carried_out_in_part_is_not_forgotten_by_a_recovery() {
    let database = Database {
        first_tid: Some(Tid(10)),
        last_tid: Some(Tid(100)),
        packed: Some(Tid(20)),
        orders: vec![order(Tid(50), Some(true), Tid(30))],
        ..Database::with(5, 0, "U|U")
    };
    let (mut bench, _) = started(&[database]);
    let admin = bench.admin();
    for (tid, expected) in [(49, ErrorCode::Denied), (50, ErrorCode::Ack)] {
        let (code, text) = bench.error(admin, Packet::Truncate { tid: Tid(tid) });
        assert_eq!(code, expected, "{text}");
    }
}

#[test]
fn what_was_completed_before_a_recovery_is_asked_to_storages() {
    let database =
        Database { last_tid: Some(Tid(100)), packed: Some(Tid(50)), ..Database::with(5, 0, "U|U") };
    let (mut bench, peers) = started(&[database]);
    let client = bench.client();
    let asked = bench.send(client, Packet::AskPackOrders { min_id: Tid(50) });
    assert_eq!(bench.answer_to(client, asked), None);
    let orders = vec![order(Tid(50), Some(true), Tid(30))];
    bench.reply(peers[0], Packet::AnswerPackOrders { orders: orders.clone() });
    assert_eq!(bench.answer_to(client, asked), Some(Packet::AnswerPackOrders { orders }));
}
