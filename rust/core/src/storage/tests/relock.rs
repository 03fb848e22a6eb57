//! Deadlock avoidance (spec storage.md 11.5).

use neo_wire::packet::{RelockConflict, StoredData};

use super::*;

const OLD: Ttid = Ttid(10);
const YOUNG: Ttid = Ttid(20);
const OID: Oid = Oid(4);

fn relock(ttid: Ttid, oid: Oid) -> Packet {
    Packet::AskRelockObject { ttid, oid }
}

fn relocked(conflict: Option<RelockConflict>) -> Packet {
    Packet::AnswerRelockObject { conflict }
}

/// The younger one has the lock, the older one waits with this request.
fn deadlock() -> (Bed, ConnectionId, ConnectionId, u32) {
    let (mut bed, first) = Bed::simple();
    let second = bed.client(2);
    bed.lock(second, YOUNG, OID);
    let waiting = bed.tell(first, store(OLD, OID, Tid(5), b"old"));
    assert_eq!(bed.sent(second), [Packet::NotifyDeadlock { ttid: YOUNG, oid: OID }]);
    (bed, first, second, waiting)
}

fn commit_old(bed: &mut Bed, first: ConnectionId) {
    bed.vote_and_lock(first, OLD, Tid(11));
    bed.tell_master(Packet::NotifyUnlockInformation { ttid: OLD });
    bed.commit();
}

#[test]
fn what_is_unknown_needs_no_lock() {
    let (mut bed, client) = Bed::simple();
    assert_eq!(bed.ask(client, relock(OLD, OID)), [relocked(None)]);
    bed.lock(client, OLD, Oid(2));
    assert_eq!(bed.ask(client, relock(OLD, OID)), [relocked(None)]);
}

#[test]
fn the_older_one_goes_first_then_the_lock_comes_back() {
    let (mut bed, first, second, waiting) = deadlock();
    let asked = bed.tell(second, relock(YOUNG, OID));
    assert_eq!(bed.answers(first), [(waiting, stored(None))]);
    assert_eq!(bed.sent(second), []);
    bed.tell(first, Packet::AbortTransaction { ttid: OLD, nids: vec![] });
    assert_eq!(bed.answers(second), [(asked, relocked(None))]);
    assert_eq!(bed.storage.write_locks.get(&OID), Some(&YOUNG));
    assert_eq!(bed.storage.transactions[&YOUNG].stores.len(), 1, "what was stored stays");
}

#[test]
fn a_conflict_gives_back_what_was_stored() {
    let (mut bed, first, second, _) = deadlock();
    let asked = bed.tell(second, relock(YOUNG, OID));
    bed.sent(first);
    commit_old(&mut bed, first);
    let data = StoredData {
        compression: 0,
        checksum: Digest::of(b"data"),
        data: Bytes::from_static(b"data"),
    };
    let conflict = RelockConflict { base_serial: Tid(5), conflict: Tid(11), data: Some(data) };
    assert_eq!(bed.answers(second), [(asked, relocked(Some(conflict)))]);
    let transaction = &bed.storage.transactions[&YOUNG];
    assert!(transaction.stores.is_empty() && transaction.serials.is_empty());
    assert!(bed.storage.write_locks.is_empty());
    // The resolution is stored again.
    assert_eq!(bed.ask(second, store(YOUNG, OID, Tid(11), b"new")), [stored(None)]);
}

#[test]
fn a_check_gives_nothing_back() {
    let (mut bed, first) = Bed::simple();
    let second = bed.client(2);
    bed.tell(second, Packet::AskCheckCurrentSerial { ttid: YOUNG, oid: OID, serial: Tid(5) });
    bed.answer_last(OID, Some(Tid(5)));
    bed.tell(first, store(OLD, OID, Tid(5), b"old"));
    bed.sent(second);
    let asked = bed.tell(second, relock(YOUNG, OID));
    bed.sent(first);
    commit_old(&mut bed, first);
    let conflict = RelockConflict { base_serial: Tid(5), conflict: Tid(11), data: None };
    assert_eq!(bed.answers(second), [(asked, relocked(Some(conflict)))]);
}

#[test]
fn spilled_data_is_read_to_be_given_back_then_freed() {
    let (mut bed, first) = Bed::simple();
    let second = bed.client(2);
    static BIG: [u8; 1200] = [7; 1200];
    bed.tell(second, store(YOUNG, OID, Tid(5), &BIG));
    bed.answer_last(OID, Some(Tid(5)));
    let (ticket, _) = bed.writes.pop_front().unwrap();
    let id = database::DataId(77);
    let results = vec![Ok(JobOutput::Spilled(id))];
    bed.input(Input::Own(Event::Written { ticket, results }));
    bed.tell(first, store(OLD, OID, Tid(5), b"old"));
    bed.sent(second);
    let asked = bed.tell(second, relock(YOUNG, OID));
    bed.sent(first);
    bed.vote_and_lock(first, OLD, Tid(11));
    bed.tell_master(Packet::NotifyUnlockInformation { ttid: OLD });
    let (ticket, jobs) = bed.writes.pop_front().unwrap();
    let results = jobs.iter().map(|_| Ok(JobOutput::Done)).collect();
    bed.input(Input::Own(Event::Written { ticket, results }));
    let data =
        StoredData { compression: 0, checksum: Digest::of(&BIG), data: Bytes::from_static(&BIG) };
    bed.answer(&Query::Spilled(id), Answer::Spilled(Some(data.clone())));
    assert_eq!(bed.commit(), [WriteJob::ReleaseSpilled(vec![id])]);
    let conflict = RelockConflict { base_serial: Tid(5), conflict: Tid(11), data: Some(data) };
    assert_eq!(bed.answers(second), [(asked, relocked(Some(conflict)))]);
}

#[test]
fn a_lost_client_does_not_keep_the_lock() {
    let (mut bed, first, second, waiting) = deadlock();
    bed.lose(second);
    assert_eq!(bed.answers(first), [(waiting, stored(None))]);
}

#[test]
fn after_the_lock_came_back_another_deadlock_is_told_again() {
    let (mut bed, first, second, _) = deadlock();
    bed.tell(second, relock(YOUNG, OID));
    bed.tell(first, Packet::AbortTransaction { ttid: OLD, nids: vec![] });
    bed.sent(first);
    bed.sent(second);
    bed.tell(first, store(Ttid(11), OID, Tid(5), b"x"));
    assert_eq!(bed.sent(second), [Packet::NotifyDeadlock { ttid: YOUNG, oid: OID }]);
}

#[test]
fn two_transactions_that_cross_both_end() {
    // Each has one of two objects and wants the other.
    let (mut bed, first) = Bed::simple();
    let second = bed.client(2);
    bed.lock(first, OLD, Oid(2));
    bed.lock(second, YOUNG, Oid(4));
    let old = bed.tell(first, store(OLD, Oid(4), Tid(5), b"x"));
    let young = bed.tell(second, store(YOUNG, Oid(2), Tid(5), b"x"));
    assert_eq!(bed.sent(second), [Packet::NotifyDeadlock { ttid: YOUNG, oid: Oid(4) }]);
    let asked = bed.tell(second, relock(YOUNG, Oid(4)));
    assert_eq!(bed.answers(first), [(old, stored(None))]);
    commit_old(&mut bed, first);
    let answers = bed.answers(second);
    assert!(answers.contains(&(young, stored(Some(Tid(11))))), "{answers:?}");
    assert!(answers.iter().any(|(id, packet)| {
        *id == asked && matches!(packet, Packet::AnswerRelockObject { conflict: Some(_) })
    }));
    bed.lose(second);
    bed.assert_idle();
}

/// The younger one has stored an undo, the older one waits for it.
fn undo_in_deadlock() -> (Bed, ConnectionId, ConnectionId) {
    let (mut bed, first) = Bed::simple();
    let second = bed.client(2);
    let undo = Packet::AskStoreObject {
        oid: OID,
        serial: Tid(5),
        compression: 0,
        checksum: Digest::ZERO,
        data: Bytes::new(),
        data_serial: Some(Tid(3)),
        ttid: YOUNG,
    };
    bed.tell(second, undo);
    bed.answer_last(OID, Some(Tid(5)));
    bed.answer(&Query::HasRecord { oid: OID, tid: Tid(3) }, Answer::HasRecord(true));
    bed.tell(first, store(OLD, OID, Tid(5), b"old"));
    bed.sent(second);
    (bed, first, second)
}

#[test]
fn a_lock_that_is_asked_back_twice_comes_back_once() {
    let (mut bed, first, second) = undo_in_deadlock();
    let asked = [bed.tell(second, relock(YOUNG, OID)), bed.tell(second, relock(YOUNG, OID))];
    bed.tell(first, Packet::AbortTransaction { ttid: OLD, nids: vec![] });
    let expected = asked.map(|msg_id| (msg_id, relocked(None)));
    assert_eq!(bed.answers(second), expected);
    assert_eq!(bed.storage.transactions[&YOUNG].stores.len(), 1, "what was stored stays");
    bed.tell(second, Packet::AbortTransaction { ttid: YOUNG, nids: vec![] });
    bed.assert_idle();
    bed.sent(first);
    assert_eq!(bed.ask(first, store(Ttid(30), OID, Tid(5), b"new")), [stored(None)]);
}

#[test]
fn nothing_keeps_a_lock_of_what_was_given_back() {
    let (mut bed, first, second) = undo_in_deadlock();
    bed.tell(second, relock(YOUNG, OID));
    bed.tell(second, relock(YOUNG, OID));
    bed.sent(first);
    commit_old(&mut bed, first);
    let conflict = RelockConflict { base_serial: Tid(5), conflict: Tid(11), data: None };
    let answers: Vec<_> = bed.sent(second);
    assert_eq!(answers[0], relocked(Some(conflict)));
    bed.tell(second, Packet::AbortTransaction { ttid: YOUNG, nids: vec![] });
    bed.assert_idle();
}

#[test]
fn a_lock_of_nobody_is_dropped() {
    let (mut bed, client) = Bed::simple();
    bed.storage.write_locks.insert(OID, Ttid(7));
    bed.lock(client, OLD, OID);
    assert_eq!(bed.storage.write_locks.get(&OID), Some(&OLD));
}
