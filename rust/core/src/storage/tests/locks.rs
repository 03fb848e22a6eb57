//! Taking write locks, row by row of spec storage.md 11.2, and stores (11.3, 11.4, 7.1).

use super::*;

const OLD: Ttid = Ttid(10);
const YOUNG: Ttid = Ttid(20);
const OID: Oid = Oid(4);

fn check(ttid: Ttid, oid: Oid, serial: Tid) -> Packet {
    Packet::AskCheckCurrentSerial { ttid, oid, serial }
}

fn checked(conflict: Option<Tid>) -> Packet {
    Packet::AnswerCheckCurrentSerial { conflict }
}

/// Two clients.
fn two() -> (Bed, ConnectionId, ConnectionId) {
    let (mut bed, first) = Bed::simple();
    let second = bed.client(2);
    (bed, first, second)
}

#[test]
fn a_free_object_is_locked_if_its_base_is_current() {
    let (mut bed, client) = Bed::simple();
    for (ttid, base, last, conflict) in [
        (Ttid(10), Tid::ZERO, None, None),
        (Ttid(11), Tid(5), Some(Tid(5)), None),
        (Ttid(12), Tid(5), Some(Tid(6)), Some(Tid(6))),
        // Older than the base: the client knows more than we do. Told all the same.
        (Ttid(13), Tid(5), Some(Tid(4)), Some(Tid(4))),
    ] {
        let oid = Oid(ttid.0);
        let msg_id = bed.tell(client, store(ttid, oid, base, b"x"));
        assert_eq!(bed.sent(client), [], "nothing is said before the last revision is known");
        bed.answer_last(oid, last);
        assert_eq!(bed.answers(client), [(msg_id, stored(conflict))]);
        let locked = bed.storage.write_locks.get(&oid) == Some(&ttid);
        assert_eq!(locked, conflict.is_none());
    }
}

#[test]
fn a_base_that_was_deleted_and_packed_is_not_current() {
    let (mut bed, client) = Bed::simple();
    for (ttid, packed, conflict) in [
        // Nothing was packed: the object comes from elsewhere.
        (Ttid(10), Tid::ZERO, None),
        (Ttid(11), Tid(4), None),
        (Ttid(12), Tid(5), Some(Tid(6))),
        (Ttid(13), Tid(9), Some(Tid(10))),
    ] {
        let (written, read) = (Oid(ttid.0), Oid(ttid.0 + 100));
        for (oid, packet, answer) in [
            (written, store(ttid, written, Tid(5), b"x"), stored(conflict)),
            (read, check(ttid, read, Tid(5)), checked(conflict)),
        ] {
            let msg_id = bed.tell(client, packet);
            bed.answer_last(oid, None);
            assert_eq!(bed.sent(client), [], "nothing is said before it is known what was packed");
            bed.answer(&Query::PackTid(oid), Answer::PackTid(packed));
            assert_eq!(bed.answers(client), [(msg_id, answer)]);
            let locked = bed.storage.write_locks.get(&oid) == Some(&ttid);
            assert_eq!(locked, conflict.is_none());
        }
    }
}

#[test]
fn a_check_takes_the_lock_too() {
    let (mut bed, first, second) = two();
    let msg_id = bed.tell(first, check(OLD, OID, Tid(5)));
    bed.answer_last(OID, Some(Tid(5)));
    assert_eq!(bed.answers(first), [(msg_id, checked(None))]);
    assert_eq!(bed.ask(second, store(YOUNG, OID, Tid(5), b"x")), []);
    let msg_id = bed.tell(first, check(OLD, Oid(6), Tid(5)));
    bed.answer_last(Oid(6), Some(Tid(7)));
    assert_eq!(bed.answers(first), [(msg_id, checked(Some(Tid(7))))]);
}

#[test]
fn a_younger_transaction_waits_then_finds_the_conflict() {
    let (mut bed, first, second) = two();
    bed.lock(first, OLD, OID);
    let msg_id = bed.tell(second, store(YOUNG, OID, Tid(5), b"x"));
    assert_eq!(bed.sent(second), []);
    assert_eq!(bed.sent(first), [], "the older one is not disturbed");
    bed.vote_and_lock(first, OLD, Tid(11));
    bed.tell_master(Packet::NotifyUnlockInformation { ttid: OLD });
    assert_eq!(bed.sent(second), [], "not before the unlock is visible");
    bed.commit();
    assert_eq!(bed.answers(second), [(msg_id, stored(Some(Tid(11))))]);
    assert!(bed.reads.is_empty(), "what was just committed is not looked up");
}

#[test]
fn a_younger_transaction_gets_the_lock_if_the_older_one_aborts() {
    let (mut bed, first, second) = two();
    bed.lock(first, OLD, OID);
    let msg_id = bed.tell(second, store(YOUNG, OID, Tid(5), b"x"));
    bed.tell(first, Packet::AbortTransaction { ttid: OLD, nids: vec![] });
    assert_eq!(bed.answers(second), [(msg_id, stored(None))]);
    assert_eq!(bed.storage.write_locks.get(&OID), Some(&YOUNG));
}

#[test]
fn an_older_transaction_waits_and_the_younger_one_is_told_once() {
    let (mut bed, first, second) = two();
    bed.lock(second, YOUNG, OID);
    assert_eq!(bed.ask(first, store(OLD, OID, Tid(5), b"x")), []);
    let deadlock = Packet::NotifyDeadlock { ttid: YOUNG, oid: OID };
    assert_eq!(bed.sent(second), [deadlock]);
    assert_eq!(bed.ask(first, check(Ttid(9), OID, Tid(5))), []);
    assert_eq!(bed.sent(second), []);
    bed.lock(second, YOUNG, Oid(6));
    assert_eq!(bed.ask(first, store(OLD, Oid(6), Tid(5), b"x")), []);
    let deadlock = Packet::NotifyDeadlock { ttid: YOUNG, oid: Oid(6) };
    assert_eq!(bed.sent(second), [deadlock], "once for each object");
}

#[test]
fn an_older_transaction_waits_for_one_that_voted() {
    let (mut bed, first, second) = two();
    bed.lock(second, YOUNG, OID);
    bed.tell(second, metadata(YOUNG, &[OID]));
    bed.commit();
    bed.sent(second);
    assert_eq!(bed.ask(first, store(OLD, OID, Tid(5), b"x")), []);
    assert_eq!(bed.sent(second), [], "it is not asked to give the lock back");
}

#[test]
fn nobody_is_told_of_a_deadlock_before_it_knows_that_it_has_the_lock() {
    let (mut bed, first, second) = two();
    let young = bed.tell(second, store(YOUNG, OID, Tid(5), b"x"));
    let old = bed.tell(first, store(OLD, OID, Tid(5), b"y"));
    assert_eq!(bed.sent(second), []);
    bed.answer_last(OID, Some(Tid(5)));
    let sent = bed.answers(second);
    assert_eq!(sent[0], (young, stored(None)));
    assert_eq!(sent[1].1, Packet::NotifyDeadlock { ttid: YOUNG, oid: OID });
    bed.tell(second, Packet::AbortTransaction { ttid: YOUNG, nids: vec![] });
    assert_eq!(bed.answers(first), [(old, stored(None))]);
}

#[test]
fn who_comes_during_the_look_up_gets_the_lock_if_it_ends_with_a_conflict() {
    let (mut bed, first, second) = two();
    let old = bed.tell(first, store(OLD, OID, Tid(4), b"x"));
    let young = bed.tell(second, store(YOUNG, OID, Tid(5), b"y"));
    assert_eq!(bed.reads.len(), 1);
    bed.answer_last(OID, Some(Tid(5)));
    assert_eq!(bed.answers(first), [(old, stored(Some(Tid(5))))]);
    assert_eq!(bed.answers(second), [(young, stored(None))]);
}

#[test]
fn an_abort_during_the_look_up_frees_the_object() {
    let (mut bed, first, second) = two();
    let msg_id = bed.tell(first, store(OLD, OID, Tid(5), b"x"));
    let waiting = bed.tell(second, store(YOUNG, OID, Tid(5), b"y"));
    bed.tell(first, Packet::AbortTransaction { ttid: OLD, nids: vec![] });
    assert_eq!(bed.reads.len(), 2, "the younger one looks it up in turn");
    bed.answer_last(OID, Some(Tid(5)));
    assert_eq!(bed.answers(first), [(msg_id, stored(Some(Tid::ZERO)))]);
    assert_eq!(bed.storage.write_locks.get(&OID), Some(&YOUNG));
    bed.answer_last(OID, Some(Tid(5)));
    assert_eq!(bed.answers(second), [(waiting, stored(None))]);
}

#[test]
fn a_conflict_keeps_what_was_stored_before() {
    let (mut bed, client) = Bed::simple();
    bed.lock(client, OLD, OID);
    bed.lock(client, OLD, Oid(6));
    bed.tell(client, store(OLD, Oid(8), Tid(1), b"x"));
    bed.answer_last(Oid(8), Some(Tid(5)));
    assert_eq!(bed.sent(client), [stored(Some(Tid(5)))]);
    let oids: Vec<Oid> = bed.storage.transactions[&OLD].stores.keys().copied().collect();
    assert_eq!(oids, [OID, Oid(6)]);
}

#[test]
fn the_last_store_of_a_transaction_wins() {
    let (mut bed, client) = Bed::simple();
    bed.lock(client, OLD, OID);
    assert_eq!(bed.ask(client, store(OLD, OID, Tid(5), b"second")), [stored(None)]);
    // After a resolution the base is another one.
    assert_eq!(bed.ask(client, store(OLD, OID, Tid(7), b"third")), [stored(None)]);
    assert_eq!(bed.storage.stored_bytes, b"third".len());
    bed.tell(client, metadata(OLD, &[OID]));
    let jobs = bed.commit();
    let [WriteJob::Vote(vote)] = &jobs[..] else { panic!("{jobs:?}") };
    let [object] = &vote.objects[..] else { panic!("{vote:?}") };
    let database::Payload::Data(data) = &object.payload else { panic!("{object:?}") };
    assert_eq!(data.data, "third");
}

#[test]
fn an_object_may_be_stored_after_it_was_checked() {
    let (mut bed, client) = Bed::simple();
    bed.tell(client, check(OLD, OID, Tid(5)));
    bed.answer_last(OID, Some(Tid(5)));
    bed.sent(client);
    assert_eq!(bed.ask(client, store(OLD, OID, Tid(5), b"x")), [stored(None)]);
    assert_eq!(bed.ask(client, check(OLD, OID, Tid(5))), [checked(None)]);
    assert_eq!(bed.storage.transactions[&OLD].stores.len(), 1);
}

#[test]
fn a_store_after_the_vote_waits_for_the_end() {
    let (mut bed, client) = Bed::simple();
    bed.lock(client, OLD, OID);
    bed.tell(client, metadata(OLD, &[OID]));
    bed.commit();
    bed.sent(client);
    let late = bed.tell(client, store(OLD, OID, Tid(5), b"x"));
    assert_eq!(bed.sent(client), []);
    bed.tell(client, Packet::AbortTransaction { ttid: OLD, nids: vec![] });
    assert_eq!(bed.answers(client), [(late, stored(Some(Tid::ZERO)))]);
}

#[test]
fn a_partition_that_is_not_here_stores_nothing() {
    let mut bed = Bed::serving(&[&[(1, UP)], &[(2, UP)]]);
    let client = bed.client(1);
    assert_eq!(bed.ask(client, store(OLD, Oid(5), Tid(5), b"x")), [stored(Some(Tid::ZERO))]);
    assert_eq!(bed.ask(client, check(OLD, Oid(5), Tid(5))), [checked(Some(Tid::ZERO))]);
    assert!(bed.reads.is_empty());
    assert!(bed.storage.transactions[&OLD].stores.is_empty());
    assert!(bed.storage.write_locks.is_empty());
}

#[test]
fn delayed_requests_of_one_transaction_are_carried_out_in_order() {
    let (mut bed, first, second) = two();
    bed.lock(first, OLD, OID);
    let msg_ids = [
        bed.tell(second, store(YOUNG, OID, Tid(5), b"one")),
        bed.tell(second, store(YOUNG, OID, Tid(5), b"two")),
    ];
    bed.tell(first, Packet::AbortTransaction { ttid: OLD, nids: vec![] });
    assert_eq!(bed.answers(second), msg_ids.map(|msg_id| (msg_id, stored(None))));
    let store = &bed.storage.transactions[&YOUNG].stores[&OID];
    let database::Payload::Data(data) = &store.payload else { panic!("{store:?}") };
    assert_eq!(data.data, "two");
}

#[test]
fn among_those_that_wait_the_oldest_goes_first() {
    let (mut bed, first, second) = two();
    bed.lock(first, OLD, OID);
    let third = bed.client(3);
    let young = bed.tell(third, store(Ttid(30), OID, Tid(5), b"x"));
    let older = bed.tell(second, store(YOUNG, OID, Tid(5), b"x"));
    bed.tell(first, Packet::AbortTransaction { ttid: OLD, nids: vec![] });
    assert_eq!(bed.answers(second), [(older, stored(None))]);
    assert_eq!(bed.sent(third), []);
    bed.lose(second);
    assert_eq!(bed.answers(third), [(young, stored(None))]);
}

#[test]
fn what_waits_is_dropped_with_its_connection() {
    let (mut bed, first, second) = two();
    bed.lock(first, OLD, OID);
    bed.tell(second, store(YOUNG, OID, Tid(5), b"x"));
    bed.lose(second);
    assert!(bed.storage.write_queue.is_empty());
    bed.tell(first, Packet::AbortTransaction { ttid: OLD, nids: vec![] });
    bed.assert_idle();
}

#[test]
fn malformed_stores_end_the_connection() {
    let good = |ttid, oid| store(ttid, oid, Tid(5), b"x");
    let with = |field: fn(&mut u32, &mut Digest)| {
        let mut packet = good(OLD, OID);
        if let Packet::AskStoreObject { compression, checksum, .. } = &mut packet {
            field(compression, checksum);
        }
        packet
    };
    let id = "identifier 8000000000000000 is over 7fffffffffffffff";
    for (packet, message) in [
        (with(|compression, _| *compression = 2), "invalid compression value"),
        (with(|_, checksum| *checksum = Digest::of(b"y")), "invalid checksum"),
        (with(|_, checksum| *checksum = Digest::ZERO), "invalid checksum"),
        (good(OLD, Oid(1 << 63)), id),
        (good(Ttid(1 << 63), OID), id),
        (check(OLD, Oid(1 << 63), Tid(5)), id),
    ] {
        let (mut bed, client) = Bed::simple();
        assert_eq!(bed.ask(client, packet), [error(ErrorCode::ProtocolError, message)]);
        assert!(bed.closed.contains(&client));
        bed.assert_idle();
    }
}

#[test]
fn no_data_and_empty_data_are_not_the_same() {
    let (mut bed, client) = Bed::simple();
    for (oid, checksum) in [(Oid(2), Digest::ZERO), (Oid(4), Digest::of(b""))] {
        let mut packet = store(OLD, oid, Tid(5), b"");
        if let Packet::AskStoreObject { checksum: field, .. } = &mut packet {
            *field = checksum;
        }
        bed.tell(client, packet);
        bed.answer_last(oid, Some(Tid(5)));
    }
    let stores = &bed.storage.transactions[&OLD].stores;
    assert_eq!(stores[&Oid(2)].payload, database::Payload::Nothing);
    assert!(matches!(stores[&Oid(4)].payload, database::Payload::Data(_)));
}

#[test]
fn what_does_not_fit_in_memory_goes_to_the_database() {
    let (mut bed, client) = Bed::simple();
    static BIG: [u8; 800] = [7; 800];
    bed.tell(client, store(OLD, Oid(2), Tid(5), &BIG));
    bed.answer_last(Oid(2), Some(Tid(5)));
    assert_eq!(bed.sent(client), [stored(None)]);
    bed.tell(client, store(OLD, Oid(4), Tid(5), &BIG));
    bed.answer_last(Oid(4), Some(Tid(5)));
    assert_eq!(bed.sent(client), [], "not before there is room again");
    let (ticket, jobs) = bed.writes.pop_front().unwrap();
    assert!(matches!(jobs[..], [WriteJob::Spill { ttid: OLD, oid: Oid(4), .. }]));
    let results = vec![Ok(JobOutput::Spilled(database::DataId(77)))];
    bed.input(Input::Own(Event::Written { ticket, results }));
    assert_eq!(bed.sent(client), [stored(None)]);
    assert_eq!(bed.storage.stored_bytes, 800);
    // Replaced: what was spilled is freed.
    assert_eq!(bed.ask(client, store(OLD, Oid(4), Tid(5), b"x")), [stored(None)]);
    assert_eq!(bed.commit(), [WriteJob::ReleaseSpilled(vec![database::DataId(77)])]);
    bed.tell(client, Packet::AbortTransaction { ttid: OLD, nids: vec![] });
    bed.assert_idle();
}

#[test]
fn spilled_data_is_freed_if_the_transaction_ends_meanwhile() {
    let (mut bed, client) = Bed::simple();
    static BIG: [u8; 1200] = [7; 1200];
    let msg_id = bed.tell(client, store(OLD, OID, Tid(5), &BIG));
    bed.answer_last(OID, Some(Tid(5)));
    let (ticket, _) = bed.writes.pop_front().unwrap();
    bed.tell(client, Packet::AbortTransaction { ttid: OLD, nids: vec![] });
    let results = vec![Ok(JobOutput::Spilled(database::DataId(77)))];
    bed.input(Input::Own(Event::Written { ticket, results }));
    assert_eq!(bed.answers(client), [(msg_id, stored(None))]);
    assert_eq!(bed.commit(), [WriteJob::ReleaseSpilled(vec![database::DataId(77)])]);
    bed.assert_idle();
}
