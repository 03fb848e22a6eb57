//! Undo: the revision it goes back to (spec storage.md 7.2, 12.6).

use neo_wire::Map;
use neo_wire::packet::StoredData;

use super::super::undo::{NotInSnapshot, undo_serial};
use super::*;

const OID: Oid = Oid(4);

fn undo(ttid: Ttid, target: Tid) -> Packet {
    let mut packet = store(ttid, OID, Tid(5), b"data");
    if let Packet::AskStoreObject { data_serial, .. } = &mut packet {
        *data_serial = Some(target);
    }
    packet
}

fn has_record(bed: &mut Bed, found: bool) {
    bed.answer(&Query::HasRecord { oid: OID, tid: Tid(3) }, Answer::HasRecord(found));
}

#[test]
fn the_target_must_be_there() {
    for found in [true, false] {
        let (mut bed, client) = Bed::simple();
        let msg_id = bed.tell(client, undo(Ttid(10), Tid(3)));
        bed.answer_last(OID, Some(Tid(5)));
        has_record(&mut bed, found);
        let expected = if found {
            stored(None)
        } else {
            error(ErrorCode::UndoPackError, &format!("Could not undo for oid {OID}"))
        };
        assert_eq!(bed.answers(client), [(msg_id, expected)]);
        assert!(!bed.closed.contains(&client));
        assert_eq!(bed.storage.write_locks.get(&OID), Some(&Ttid(10)), "the lock stays");
        bed.tell(client, Packet::AbortTransaction { ttid: Ttid(10), nids: vec![] });
        bed.assert_idle();
    }
}

#[test]
fn what_follows_an_undo_is_based_on_the_revision_it_went_back_to() {
    let (mut bed, client) = Bed::simple();
    bed.tell(client, undo(Ttid(10), Tid(3)));
    bed.answer_last(OID, Some(Tid(5)));
    has_record(&mut bed, true);
    bed.sent(client);
    let packet = store(Ttid(10), OID, Tid(5), b"x");
    assert_eq!(bed.ask(client, packet), [stored(Some(Tid(3)))]);
    assert_eq!(bed.ask(client, store(Ttid(10), OID, Tid(3), b"x")), [stored(None)]);
}

#[test]
fn the_end_of_the_transaction_during_the_look_up() {
    let (mut bed, client) = Bed::simple();
    let msg_id = bed.tell(client, undo(Ttid(10), Tid(3)));
    bed.answer_last(OID, Some(Tid(5)));
    bed.tell(client, Packet::AbortTransaction { ttid: Ttid(10), nids: vec![] });
    assert!(bed.storage.write_locks.is_empty());
    has_record(&mut bed, true);
    assert_eq!(bed.answers(client), [(msg_id, stored(Some(Tid::ZERO)))]);
    bed.assert_idle();
}

#[test]
fn a_discarded_cell_during_the_look_up() {
    let mut bed = Bed::serving(&[&[(1, UP), (2, UP)]]);
    let client = bed.client(1);
    let msg_id = bed.tell(client, undo(Ttid(10), Tid(3)));
    bed.answer_last(OID, Some(Tid(5)));
    let state = CellState::Discarded;
    let cells = vec![neo_wire::CellChange { partition: Partition(0), nid: nid(1), state }];
    bed.tell_master(Packet::NotifyPartitionChanges { ptid: Ptid(2), num_replicas: 0, cells });
    has_record(&mut bed, false);
    assert_eq!(bed.answers(client), [(msg_id, stored(Some(Tid::ZERO)))]);
    let transaction = &bed.storage.transactions[&Ttid(10)];
    assert!(transaction.serials.is_empty() && transaction.stores.is_empty());
}

#[test]
fn undo_serials_of_several_objects() {
    let (mut bed, client) = Bed::simple();
    let oids = vec![Oid(2), Oid(4), Oid(6)];
    let (ttid, ltid, undone_tid) = (Ttid(10), Tid(9), Tid(3));
    let msg_id = bed.tell(client, Packet::AskObjectUndoSerial { ttid, ltid, undone_tid, oids });
    bed.answer(&Query::Revisions(Oid(2)), Answer::Revisions(vec![(Tid(2), None), (Tid(3), None)]));
    bed.answer(&Query::Revisions(Oid(4)), Answer::Revisions(vec![(Tid(2), None)]));
    bed.answer(&Query::Revisions(Oid(6)), Answer::Revisions(vec![(Tid(3), None), (Tid(5), None)]));
    bed.answer(&Query::PackTid(Oid(6)), Answer::PackTid(Tid::ZERO));
    let objects =
        Map(vec![(Oid(2), (Tid(3), Some(Tid(2)), true)), (Oid(6), (Tid(5), None, false))]);
    assert_eq!(bed.answers(client), [(msg_id, Packet::AnswerObjectUndoSerial { objects })]);
}

#[test]
fn undo_serials_wait_for_what_is_being_committed() {
    let (mut bed, client) = Bed::simple();
    bed.lock(client, Ttid(10), Oid(2));
    bed.vote_and_lock(client, Ttid(10), Tid(12));
    let (ttid, ltid, undone_tid) = (Ttid(20), Tid(13), Tid(3));
    let oids = vec![Oid(4), Oid(2)];
    bed.tell(client, Packet::AskObjectUndoSerial { ttid, ltid, undone_tid, oids });
    assert!(bed.reads.is_empty());
    bed.tell_master(Packet::NotifyUnlockInformation { ttid: Ttid(10) });
    bed.commit();
    assert_eq!(bed.reads.len(), 1);
}

#[test]
fn undo_serials_do_not_wait_for_what_is_locked_later() {
    let (mut bed, client) = Bed::simple();
    bed.lock(client, Ttid(10), Oid(2));
    bed.vote_and_lock(client, Ttid(10), Tid(12));
    let (ttid, ltid, undone_tid) = (Ttid(20), Tid(13), Tid(3));
    let oids = vec![Oid(2), Oid(4)];
    bed.tell(client, Packet::AskObjectUndoSerial { ttid, ltid, undone_tid, oids });
    bed.lock(client, Ttid(14), Oid(4));
    bed.vote_and_lock(client, Ttid(14), Tid(16));
    bed.tell_master(Packet::NotifyUnlockInformation { ttid: Ttid(10) });
    bed.commit();
    assert_eq!(bed.reads.len(), 1);
}

#[test]
fn what_the_client_does_not_see_can_not_be_undone() {
    let (mut bed, client) = Bed::simple();
    let (ttid, ltid, undone_tid) = (Ttid(10), Tid(3), Tid(3));
    let oids = vec![Oid(2)];
    bed.tell(client, Packet::AskObjectUndoSerial { ttid, ltid, undone_tid, oids });
    bed.answer(&Query::Revisions(Oid(2)), Answer::Revisions(vec![(Tid(3), None)]));
    assert_eq!(bed.sent(client), [error(ErrorCode::OidNotFound, "0000000000000002")]);
}

#[test]
fn undo_serial_row_by_row() {
    const T1: Tid = Tid(1);
    const T2: Tid = Tid(2);
    const T3: Tid = Tid(3);
    const T4: Tid = Tid(4);
    let two = [(T1, None), (T2, None)];
    let three = [(T1, None), (T2, None), (T3, Some(T1))];
    for (revisions, undone, ltid, own, expected) in [
        (&two[..], T1, T4, None, Ok(Some((T2, None, false)))),
        (&two, T2, T4, None, Ok(Some((T2, Some(T1), true)))),
        (&two, T1, T4, Some(T1), Ok(Some((T1, None, true)))),
        (&two, T3, T4, None, Ok(None)),
        (&two, T2, T2, None, Err(NotInSnapshot)),
        // What is after the snapshot does not count.
        (&two, T1, T2, None, Ok(Some((T1, None, true)))),
        (&three, T1, T4, None, Ok(Some((T3, None, true)))),
        // Undo of the undo: back to the second.
        (&three, T3, T4, None, Ok(Some((T3, Some(T2), true)))),
        (&three, T2, T4, None, Ok(Some((T3, Some(T3), false)))),
    ] {
        let found = undo_serial(revisions, undone, ltid, own);
        assert_eq!(found, expected, "{revisions:?} {undone} {ltid} {own:?}");
    }
}

fn own(ttid: Ttid, oid: Oid) -> Packet {
    Packet::AskObject { oid, at: Some(ttid.as_tid()), before: Some(ttid.as_tid()) }
}

fn kept(ttid: Ttid, data: &'static [u8]) -> Packet {
    Packet::AnswerObject {
        oid: OID,
        serial: ttid.as_tid(),
        next_serial: None,
        compression: Some(0),
        checksum: Digest::of(data),
        data: Bytes::from_static(data),
        data_serial: None,
    }
}

#[test]
fn a_client_gets_back_what_it_stored() {
    let (mut bed, client) = Bed::simple();
    let ttid = Ttid(10);
    bed.tell(client, store(ttid, OID, Tid(5), b"first"));
    bed.answer_last(OID, Some(Tid(5)));
    bed.sent(client);
    bed.ask(client, store(ttid, OID, Tid(5), b"second"));
    assert_eq!(bed.ask(client, own(ttid, OID)), [kept(ttid, b"second")]);
    // What it did not store, what others ask, and what usual reads ask, is what is committed.
    let other = bed.client(2);
    let usual = Packet::AskObject { oid: OID, at: Some(ttid.as_tid()), before: None };
    for (link, packet, oid) in [
        (other, own(ttid, OID), OID),
        (client, own(ttid, Oid(8)), Oid(8)),
        (client, own(Ttid(12), OID), OID),
        (client, usual, OID),
    ] {
        let Packet::AskObject { at: Some(tid), .. } = packet else { unreachable!() };
        let msg_id = bed.tell(link, packet);
        let query = Query::Load { oid, revision: database::Revision::At(tid) };
        bed.answer(&query, Answer::Loaded(database::Loaded::NoRevision));
        let none = error(ErrorCode::OidNotFound, &oid.to_string());
        assert_eq!(bed.answers(link), [(msg_id, none)]);
    }
}

#[test]
fn a_client_gets_back_what_its_storage_did_not_keep_in_memory_either() {
    let (mut bed, client) = Bed::simple();
    let ttid = Ttid(10);
    let id = database::DataId(77);
    bed.tell(client, store(ttid, OID, Tid(5), &[0; 1001]));
    bed.answer_last(OID, Some(Tid(5)));
    let (ticket, _) = bed.writes.pop_front().unwrap();
    let results = vec![Ok(JobOutput::Spilled(id))];
    bed.input(Input::Own(Event::Written { ticket, results }));
    bed.sent(client);
    for there in [true, false] {
        let data = StoredData {
            compression: 0,
            checksum: Digest::of(&[0; 1001]),
            data: Bytes::from_static(&[0; 1001]),
        };
        let msg_id = bed.tell(client, own(ttid, OID));
        bed.answer(&Query::Spilled(id), Answer::Spilled(there.then_some(data)));
        let expected = if there {
            kept(ttid, &[0; 1001])
        } else {
            error(ErrorCode::OidNotFound, &OID.to_string())
        };
        assert_eq!(bed.answers(client), [(msg_id, expected)]);
    }
}
