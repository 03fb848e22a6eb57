//! Reads of clients (spec storage.md 12).

use neo_wire::StoredData;

use super::*;
use crate::database::{Loaded, ObjectRevision, Revision, TransactionInfo};

fn tids_from(max: Tid) -> Packet {
    Packet::AskTIDsFrom { min_tid: Tid(1), max_tid: max, length: 10, partition: Partition(0) }
}

fn oids_from(tid: Tid) -> Packet {
    Packet::AskOIDsFrom { partition: Partition(0), length: 10, min_oid: Oid(0), tid }
}

fn history(oid: Oid) -> Packet {
    Packet::AskObjectHistory { oid, first: 0, last: 10 }
}

/// A client of a cluster in backup mode, complete up to 50.
fn backup() -> (Bed, ConnectionId) {
    let settings = Configuration {
        nid: Some(nid(1)),
        ptid: Some(Ptid(1)),
        backup_tid: Some(Tid(50)),
        ..Configuration::default()
    };
    let row =
        CellRow { partition: Partition(0), nid: nid(1), state: UP, tid: Tid::ZERO, pack: None };
    let mut bed = Bed::on(config(), &settings, vec![row]);
    bed.input(Input::Start);
    bed.accept_by_master(nid(1));
    bed.tell_master(Packet::StartOperation { backup: true });
    bed.commit();
    let client = bed.client(1);
    (bed, client)
}

#[test]
fn an_object_in_its_three_forms() {
    let (mut bed, client) = Bed::simple();
    for (at, before, revision) in [
        (None, None, Revision::Last),
        (Some(Tid(3)), None, Revision::At(Tid(3))),
        (None, Some(Tid(3)), Revision::Before(Tid(3))),
    ] {
        let oid = Oid(2);
        let msg_id = bed.tell(client, Packet::AskObject { oid, at, before });
        let data = StoredData { compression: 1, checksum: Digest::of(b"z"), data: "z".into() };
        let found = ObjectRevision {
            tid: Tid(3),
            next_tid: Some(Tid(5)),
            data: Some(data),
            value_tid: Some(Tid(1)),
        };
        bed.answer(&Query::Load { oid, revision }, Answer::Loaded(Loaded::Found(found)));
        let answer = Packet::AnswerObject {
            oid,
            serial: Tid(3),
            next_serial: Some(Tid(5)),
            compression: Some(1),
            checksum: Digest::of(b"z"),
            data: "z".into(),
            data_serial: Some(Tid(1)),
        };
        assert_eq!(bed.answers(client), [(msg_id, answer)]);
    }
}

#[test]
fn a_record_without_data_has_neither_compression_nor_checksum() {
    let (mut bed, client) = Bed::simple();
    let oid = Oid(2);
    bed.tell(client, load(oid));
    let found = ObjectRevision { tid: Tid(3), next_tid: None, data: None, value_tid: None };
    let query = Query::Load { oid, revision: Revision::Last };
    bed.answer(&query, Answer::Loaded(Loaded::Found(found)));
    let answer = Packet::AnswerObject {
        oid,
        serial: Tid(3),
        next_serial: None,
        compression: None,
        checksum: Digest::ZERO,
        data: Bytes::new(),
        data_serial: None,
    };
    assert_eq!(bed.sent(client), [answer]);
}

#[test]
fn what_is_not_found() {
    let (mut bed, client) = Bed::simple();
    let oid = Oid(2);
    for (loaded, code) in [
        (Loaded::NoObject, ErrorCode::OidDoesNotExist),
        (Loaded::NoRevision, ErrorCode::OidNotFound),
    ] {
        bed.tell(client, load(oid));
        let query = Query::Load { oid, revision: Revision::Last };
        bed.answer(&query, Answer::Loaded(loaded));
        assert_eq!(bed.sent(client), [error(code, "0000000000000002")]);
    }
    bed.tell(client, history(oid));
    bed.answer(&Query::History { oid, offset: 0, length: 10 }, Answer::History(vec![]));
    assert_eq!(bed.sent(client), [error(ErrorCode::OidNotFound, "0000000000000002")]);
    bed.tell(client, Packet::AskTransactionInformation { tid: Tid(2) });
    bed.answer(&Query::Transaction(Tid(2)), Answer::Transaction(None));
    let text = "0000000000000002 does not exist";
    assert_eq!(bed.sent(client), [error(ErrorCode::TidNotFound, text)]);
}

#[test]
fn cells_that_are_not_readable_say_so() {
    let mut bed = Bed::serving(&[&[(1, UP)], &[(2, UP)], &[(1, OUT), (2, UP)]]);
    let client = bed.client(1);
    for partition in [1, 2] {
        let oid = Oid(partition);
        let undo = Packet::AskObjectUndoSerial {
            ttid: Ttid(1),
            ltid: Tid(9),
            undone_tid: Tid(3),
            oids: vec![oid],
        };
        let partition = Partition(partition as u32);
        for packet in [
            load(oid),
            history(oid),
            undo,
            Packet::AskTransactionInformation { tid: Tid(oid.0) },
            Packet::AskFinalTID { ttid: Ttid(oid.0) },
            Packet::AskTIDs { first: 0, last: 1, partition },
            Packet::AskTIDsFrom { min_tid: Tid(1), max_tid: Tid(9), length: 1, partition },
            Packet::AskOIDsFrom { partition, length: 1, min_oid: Oid(0), tid: Tid(9) },
        ] {
            let code = ErrorCode::NonReadableCell;
            assert_eq!(bed.ask(client, packet.clone()), [error(code, "")], "{packet:?}");
        }
    }
    assert!(bed.reads.is_empty());
    // All readable partitions are looked at if none is given.
    bed.tell(client, Packet::AskTIDs { first: 3, last: 5, partition: Partition::INVALID });
    let query = Query::Tids { partitions: vec![Partition(0)], offset: 3, length: 2 };
    bed.answer(&query, Answer::Tids(vec![Tid(6), Tid(3)]));
    assert_eq!(bed.sent(client), [Packet::AnswerTIDs { tids: vec![Tid(6), Tid(3)] }]);
}

#[test]
fn a_cell_that_stopped_being_readable_meanwhile_is_not_answered_from() {
    let mut bed = Bed::serving(&[&[(1, UP), (2, UP)]]);
    let client = bed.client(1);
    bed.tell(client, load(Oid(2)));
    let cells = vec![neo_wire::CellChange {
        partition: Partition(0),
        nid: nid(1),
        state: CellState::Discarded,
    }];
    bed.tell_master(Packet::NotifyPartitionChanges { ptid: Ptid(2), num_replicas: 0, cells });
    let query = Query::Load { oid: Oid(2), revision: Revision::Last };
    bed.answer(&query, Answer::Loaded(Loaded::NoObject));
    assert_eq!(bed.sent(client), [error(ErrorCode::NonReadableCell, "")]);
}

#[test]
fn offsets_must_make_sense() {
    for packet in [
        Packet::AskTIDs { first: 3, last: 3, partition: Partition(0) },
        Packet::AskObjectHistory { oid: Oid(0), first: 4, last: 3 },
    ] {
        let (mut bed, client) = Bed::simple();
        assert_eq!(bed.ask(client, packet), [error(ErrorCode::ProtocolError, "invalid offsets")]);
        assert!(bed.closed.contains(&client));
    }
}

#[test]
fn lists_wait_for_transactions_locked_up_to_their_bound() {
    let (mut bed, client) = Bed::simple();
    bed.vote_and_lock(client, Ttid(10), Tid(12));
    for packet in [tids_from(Tid(11)), oids_from(Tid(11)), load(Oid(0)), history(Oid(0))] {
        bed.tell(client, packet.clone());
        assert!(bed.reads.pop_front().is_some(), "{packet:?}");
    }
    bed.tell(client, Packet::AskTransactionInformation { tid: Tid(11) });
    assert!(bed.reads.pop_front().is_some());
    // A client may know of the transaction already.
    bed.tell(client, Packet::AskTransactionInformation { tid: Tid(12) });
    bed.tell(client, Packet::AskTIDs { first: 0, last: 1, partition: Partition(0) });
    bed.tell(client, tids_from(Tid(12)));
    bed.tell(client, oids_from(Tid::MAX));
    assert!(bed.reads.is_empty());
    bed.tell_master(Packet::NotifyUnlockInformation { ttid: Ttid(10) });
    bed.commit();
    assert_eq!(bed.reads.len(), 4);
}

#[test]
fn a_list_does_not_wait_for_what_is_locked_after_it_was_asked() {
    let (mut bed, client) = Bed::simple();
    bed.vote_and_lock(client, Ttid(10), Tid(12));
    bed.tell(client, Packet::AskTIDs { first: 0, last: 1, partition: Partition::INVALID });
    bed.vote_and_lock(client, Ttid(20), Tid(22));
    assert!(bed.reads.is_empty());
    bed.tell_master(Packet::NotifyUnlockInformation { ttid: Ttid(10) });
    bed.commit();
    assert_eq!(bed.reads.len(), 1);
}

#[test]
fn a_waiting_read_does_not_block_those_that_follow() {
    let (mut bed, client) = Bed::simple();
    bed.lock(client, Ttid(10), Oid(0));
    bed.vote_and_lock(client, Ttid(10), Tid(12));
    bed.tell(client, load(Oid(0)));
    bed.tell(client, history(Oid(0)));
    bed.tell(client, load(Oid(2)));
    assert_eq!(bed.reads.len(), 1);
    // Those of a client that leaves are dropped.
    bed.lose(client);
    assert!(bed.storage.read_queue.is_empty());
}

#[test]
fn lists_are_passed_on() {
    let (mut bed, client) = Bed::simple();
    bed.tell(client, tids_from(Tid(9)));
    let partition = Partition(0);
    let query = Query::TidsFrom { partition, min: Tid(1), max: Tid(9), length: 10 };
    bed.answer(&query, Answer::Tids(vec![Tid(2)]));
    bed.tell(client, oids_from(Tid(9)));
    let query = Query::OidsFrom { partition, min_oid: Oid(0), length: 10, tid: Tid(9) };
    let found = database::OidsFrom { next: Some(Oid(4)), oids: vec![Oid(2)] };
    bed.answer(&query, Answer::OidsFrom(found));
    bed.tell(client, history(Oid(0)));
    let query = Query::History { oid: Oid(0), offset: 0, length: 10 };
    bed.answer(&query, Answer::History(vec![(Tid(3), 7)]));
    assert_eq!(
        bed.sent(client),
        [
            Packet::AnswerTIDsFrom { tids: vec![Tid(2)] },
            Packet::AnswerOIDsFrom { next_oid: Some(Oid(4)), oids: vec![Oid(2)] },
            Packet::AnswerObjectHistory { oid: Oid(0), history: vec![(Tid(3), 7)] },
        ]
    );
}

#[test]
fn a_read_only_client_writes_nothing() {
    let (mut bed, client) = backup();
    for packet in [
        store(Ttid(60), Oid(0), Tid(5), b"x"),
        metadata(Ttid(60), &[]),
        Packet::AskVoteTransaction { ttid: Ttid(60) },
        Packet::AskCheckCurrentSerial { ttid: Ttid(60), oid: Oid(0), serial: Tid(5) },
        Packet::AskRelockObject { ttid: Ttid(60), oid: Oid(0) },
        Packet::AskFinalTID { ttid: Ttid(60) },
    ] {
        let answers = bed.ask(client, packet);
        assert!(
            matches!(answers[..], [Packet::Error { code: ErrorCode::ReadOnlyAccess, .. }]),
            "{answers:?}"
        );
    }
    assert!(!bed.closed.contains(&client));
    bed.assert_idle();
}

#[test]
fn a_read_only_client_sees_what_is_complete() {
    let (mut bed, client) = backup();
    let oid = Oid(0);
    for (at, before, revision) in [
        (None, None, Revision::Before(Tid(51))),
        (None, Some(Tid(60)), Revision::Before(Tid(51))),
        (None, Some(Tid(40)), Revision::Before(Tid(40))),
        (Some(Tid(50)), None, Revision::At(Tid(50))),
        (Some(Tid(51)), None, Revision::At(Tid::ZERO)),
    ] {
        bed.tell(client, Packet::AskObject { oid, at, before });
        bed.answer(&Query::Load { oid, revision }, Answer::Loaded(Loaded::NoRevision));
    }
    bed.sent(client);
    for tid in [Tid(50), Tid(51)] {
        bed.tell(client, Packet::AskTransactionInformation { tid });
        let info = TransactionInfo {
            tid,
            ttid: Ttid(tid.0),
            packed: false,
            user: Bytes::new(),
            description: Bytes::new(),
            extension: Bytes::new(),
            oids: vec![],
        };
        bed.answer(&Query::Transaction(tid), Answer::Transaction(Some(info)));
    }
    let sent = bed.sent(client);
    assert!(matches!(sent[0], Packet::AnswerTransactionInformation { tid: Tid(50), .. }));
    assert!(matches!(sent[1], Packet::Error { code: ErrorCode::TidNotFound, .. }));
    let partition = Partition(0);
    bed.tell(client, tids_from(Tid(99)));
    let query = Query::TidsFrom { partition, min: Tid(1), max: Tid(50), length: 10 };
    bed.answer(&query, Answer::Tids(vec![]));
    bed.tell(client, oids_from(Tid(99)));
    let query = Query::OidsFrom { partition, min_oid: Oid(0), length: 10, tid: Tid(50) };
    bed.answer(&query, Answer::OidsFrom(database::OidsFrom { next: None, oids: vec![] }));
    bed.sent(client);
    bed.tell(client, Packet::AskTIDs { first: 0, last: 3, partition });
    let query = Query::Tids { partitions: vec![partition], offset: 0, length: 3 };
    bed.answer(&query, Answer::Tids(vec![Tid(60), Tid(50), Tid(40)]));
    assert_eq!(bed.sent(client), [Packet::AnswerTIDs { tids: vec![Tid(50), Tid(40)] }]);
    bed.tell(client, history(oid));
    let query = Query::History { oid, offset: 0, length: 10 };
    bed.answer(&query, Answer::History(vec![(Tid(60), 1), (Tid(50), 1)]));
    let history = vec![(Tid(50), 1)];
    assert_eq!(bed.sent(client), [Packet::AnswerObjectHistory { oid, history }]);
}
