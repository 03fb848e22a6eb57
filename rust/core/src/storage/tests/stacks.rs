//! Copied transactions write upon each other before any of them is committed (see `stacks`).

use super::*;

const FIRST: Ttid = Ttid(10);
const SECOND: Ttid = Ttid(20);
const THIRD: Ttid = Ttid(30);
const OID: Oid = Oid(4);

fn abort(ttid: Ttid) -> Packet {
    Packet::AbortTransaction { ttid, nids: vec![] }
}

/// Three transactions, each upon the one before.
fn three() -> (Bed, ConnectionId) {
    let (mut bed, client) = Bed::simple();
    bed.lock(client, FIRST, OID);
    assert_eq!(bed.ask(client, store(SECOND, OID, FIRST.as_tid(), b"2")), [stored(None)]);
    assert_eq!(bed.ask(client, store(THIRD, OID, SECOND.as_tid(), b"3")), [stored(None)]);
    (bed, client)
}

#[test]
fn a_store_goes_upon_what_is_not_committed() {
    let (mut bed, client) = three();
    for ttid in [FIRST, SECOND, THIRD] {
        bed.vote_and_lock(client, ttid, ttid.as_tid());
    }
    for ttid in [FIRST, SECOND, THIRD] {
        bed.tell_master(Packet::NotifyUnlockInformation { ttid });
        bed.commit();
    }
    assert!(bed.storage.write_locks.is_empty() && bed.storage.stacks.is_empty());
    assert!(bed.storage.read_locks.is_empty());
    let late = store(Ttid(40), OID, SECOND.as_tid(), b"x");
    assert_eq!(bed.ask(client, late), [stored(Some(THIRD.as_tid()))]);
}

#[test]
fn only_what_is_known_to_be_the_base_is_not_waited_for() {
    let (mut bed, client) = three();
    let other = bed.client(2);
    let top = THIRD.as_tid();
    for (connection, packet) in [
        (other, store(Ttid(40), OID, top, b"of another client")),
        (client, store(Ttid(41), OID, SECOND.as_tid(), b"of another base")),
        (client, Packet::AskCheckCurrentSerial { ttid: Ttid(42), oid: OID, serial: top }),
    ] {
        assert_eq!(bed.ask(connection, packet), []);
    }
    let Packet::AskStoreObject { checksum, data, .. } = store(FIRST, OID, top, b"undo") else {
        unreachable!();
    };
    let undo = Packet::AskStoreObject {
        oid: OID,
        serial: top,
        compression: 0,
        checksum,
        data,
        data_serial: Some(FIRST.as_tid()),
        ttid: Ttid(43),
    };
    assert_eq!(bed.ask(client, undo), []);
}

#[test]
fn a_request_does_not_overtake_a_former_one() {
    let (mut bed, client) = Bed::simple();
    bed.lock(client, FIRST, OID);
    let wrong = bed.tell(client, store(SECOND, OID, Tid(5), b"wrong base"));
    let right = bed.tell(client, store(SECOND, OID, FIRST.as_tid(), b"right base"));
    assert_eq!(bed.sent(client), []);
    bed.vote_and_lock(client, FIRST, FIRST.as_tid());
    bed.tell_master(Packet::NotifyUnlockInformation { ttid: FIRST });
    bed.commit();
    let conflict = stored(Some(FIRST.as_tid()));
    assert_eq!(bed.answers(client), [(wrong, conflict), (right, stored(None))]);
    let payload = &bed.storage.transactions[&SECOND].stores[&OID].payload;
    let database::Payload::Data(data) = payload else { panic!("no data") };
    assert_eq!(data.data, "right base");
}

#[test]
fn what_is_based_on_an_aborted_one_can_not_be_voted() {
    let (mut bed, client) = three();
    bed.tell(client, abort(SECOND));
    assert_eq!(bed.storage.write_locks.get(&OID), Some(&THIRD));
    let vote = bed.ask(client, metadata(THIRD, &[OID]));
    let text = "transaction 000000000000001e is based on one that was aborted";
    assert_eq!(vote, [error(ErrorCode::ProtocolError, text)]);
}

#[test]
fn what_is_based_on_an_aborted_one_can_not_be_locked() {
    let (mut bed, client) = three();
    bed.tell(client, metadata(SECOND, &[OID]));
    bed.commit();
    bed.tell(client, abort(FIRST));
    let packet = Packet::AskLockInformation { ttid: SECOND, tid: SECOND.as_tid(), pack: false };
    bed.tell_master(packet);
    let [Packet::Error { .. }] = &bed.told_master()[..] else {
        panic!("it was locked");
    };
    assert!(!bed.commit().iter().any(|job| matches!(job, WriteJob::Lock { .. })));
}

#[test]
fn a_base_that_gets_another_tid_is_not_what_was_meant() {
    let (mut bed, client) = three();
    bed.vote_and_lock(client, FIRST, Tid(15));
    bed.tell_master(Packet::NotifyUnlockInformation { ttid: FIRST });
    bed.commit();
    let [Packet::Error { .. }] = &bed.ask(client, metadata(SECOND, &[OID]))[..] else {
        panic!("the base of the second one is not what was committed");
    };
}

#[test]
fn the_lock_goes_back_to_the_one_below() {
    let (mut bed, client) = three();
    let other = bed.client(2);
    let waiting = bed.tell(other, store(Ttid(50), OID, Tid(5), b"x"));
    for (ttid, holder) in [(THIRD, Some(&SECOND)), (SECOND, Some(&FIRST))] {
        bed.tell(client, abort(ttid));
        assert_eq!(bed.storage.write_locks.get(&OID), holder);
        assert_eq!(bed.sent(other), []);
    }
    bed.tell(client, abort(FIRST));
    assert_eq!(bed.answers(other), [(waiting, stored(None))]);
}

#[test]
fn an_older_transaction_gets_the_lock_of_all_of_them() {
    let (mut bed, client) = three();
    let other = bed.client(2);
    let waiting = bed.tell(other, store(Ttid(5), OID, Tid(5), b"x"));
    let mut asked = Vec::new();
    for ttid in [THIRD, SECOND, FIRST] {
        assert_eq!(bed.sent(client), [Packet::NotifyDeadlock { ttid, oid: OID }]);
        asked.push(bed.tell(client, Packet::AskRelockObject { ttid, oid: OID }));
    }
    assert_eq!(bed.answers(other), [(waiting, stored(None))]);
    bed.tell(other, abort(Ttid(5)));
    let relocked = Packet::AnswerRelockObject { conflict: None };
    let expected = asked.into_iter().rev().map(|msg_id| (msg_id, relocked.clone()));
    assert_eq!(bed.answers(client), expected.collect::<Vec<_>>());
    assert_eq!(bed.storage.stacks[&OID], [FIRST, SECOND, THIRD]);
}
