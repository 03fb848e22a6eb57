//! Stores, their answers, conflicts, deadlocks (spec client.md 7.3, 7.5 - 7.8).

use neo_wire::packet::RelockConflict;

use super::*;

const ALONE: &[&[(u32, CellState)]] = &[&[(1, UP)]];
const BOTH: &[&[(u32, CellState)]] = &[&[(1, UP), (2, UP)]];

fn conflict(oid: u64, content: Content, base: u64, committed: u64, unpublished: bool) -> Answer {
    let (base, committed) = (Tid(base), Tid(committed));
    Answer::Conflict(Box::new(Conflict { oid: Oid(oid), content, base, committed, unpublished }))
}

fn votes(bed: &mut Bed, numbers: &[u16]) {
    for number in numbers {
        let connection = bed.storage(*number);
        let sent = bed.sent(connection);
        assert!(matches!(sent[..], [(_, Packet::AskStoreTransaction { .. })]), "{sent:?}");
        bed.answer(connection, sent[0].0, Packet::AnswerStoreTransaction {});
    }
}

#[test]
fn stores_go_to_every_cell_without_waiting() {
    let mut bed = Bed::begun(&[&[(1, UP), (2, OUT)], &[(2, UP)]]);
    assert_eq!(bed.run(write(0, 50, data(b"x"))), Ok(Answer::Done));
    assert_eq!(bed.run(write(1, 0, Content::Deleted)), Ok(Answer::Done));
    assert_eq!(bed.run(write(2, 7, Content::Checked)), Ok(Answer::Done));
    bed.accept_by(1);
    bed.accept_by(2);
    let checked = Packet::AskCheckCurrentSerial { ttid: TTID, oid: Oid(2), serial: Tid(7) };
    let mut deleted = store(1, 0, b"");
    if let Packet::AskStoreObject { checksum, .. } = &mut deleted {
        *checksum = Digest::ZERO;
    }
    let sent = |bed: &mut Bed, number| -> Vec<Packet> {
        bed.sent(bed.storage(number)).into_iter().map(|(_, packet)| packet).collect()
    };
    assert_eq!(sent(&mut bed, 1), [store(0, 50, b"x"), checked.clone()]);
    assert_eq!(sent(&mut bed, 2), [store(0, 50, b"x"), deleted, checked]);
}

#[test]
fn writes_made_before_the_begin_is_answered_follow_it() {
    let mut bed = Bed::ready(ALONE);
    assert_eq!(bed.run(Request::Begin { transaction: T, tid: None }), Ok(Answer::Done));
    assert_eq!(bed.run(write(0, 50, data(b"x"))), Ok(Answer::Done));
    assert_eq!(bed.opened.len(), 1);
    let master = bed.master();
    let msg_id = bed.expect(master, &Packet::AskBeginTransaction { tid: None });
    bed.answer(master, msg_id, Packet::AnswerBeginTransaction { ttid: TTID });
    bed.accept_by(1);
    let link = bed.storage(1);
    bed.expect(link, &store(0, 50, b"x"));
}

#[test]
fn too_much_data_on_the_way_makes_the_writer_wait() {
    static BIG: [u8; 600] = [1; 600];
    let mut bed = Bed::begun(ALONE);
    let first = bed.write_to(&[1], write(0, 50, data(&BIG)))[0];
    let call = bed.call(write(2, 50, data(&BIG)));
    assert!(bed.waits(call));
    let link = bed.storage(1);
    bed.answer(link, first, stored(None));
    assert_eq!(bed.result(call), Ok(Answer::Done));
}

#[test]
fn a_limit_of_zero_means_one_at_a_time() {
    let mut bed = Bed::on(Config { write_buffer: 0, ..config() });
    let connect = bed.call(Request::Connect);
    bed.accept_by_master();
    bed.welcome(ALONE, 50);
    bed.result(connect).unwrap();
    bed.begin();
    let call = bed.call(write(0, 50, data(b"x")));
    bed.accept_by(1);
    let link = bed.storage(1);
    let msg_id = bed.expect(link, &store(0, 50, b"x"));
    assert!(bed.waits(call));
    bed.answer(link, msg_id, stored(None));
    assert_eq!(bed.result(call), Ok(Answer::Done));
}

#[test]
fn a_conflict_is_given_with_what_was_to_be_stored_then_resolved() {
    let mut bed = Bed::begun(ALONE);
    let msg_id = bed.write_to(&[1], write(0, 50, data(b"x")))[0];
    let link = bed.storage(1);
    bed.answer(link, msg_id, stored(Some(60)));
    let call = bed.call(vote());
    assert_eq!(bed.result(call), Ok(conflict(0, data(b"x"), 50, 60, true)));
    let msg_id = bed.write_to(&[1], write(0, 60, data(b"y")))[0];
    let call = bed.call(vote());
    bed.answer(link, msg_id, stored(None));
    votes(&mut bed, &[1]);
    assert_eq!(bed.result(call), Ok(Answer::Voted(vec![Oid(0)])));
}

#[test]
fn a_conflict_with_what_is_published_needs_no_sync() {
    let mut bed = Bed::begun(ALONE);
    bed.notify_master(Packet::InvalidateObjects { tid: Tid(60), oids: vec![Oid(0)] });
    bed.publish();
    let msg_id = bed.write_to(&[1], write(0, 50, data(b"x")))[0];
    let link = bed.storage(1);
    bed.answer(link, msg_id, stored(Some(60)));
    assert_eq!(bed.run(vote()), Ok(conflict(0, data(b"x"), 50, 60, false)));
}

#[test]
fn a_check_that_conflicts_can_not_be_resolved() {
    let mut bed = Bed::begun(ALONE);
    let msg_id = bed.write_to(&[1], write(0, 50, Content::Checked))[0];
    let link = bed.storage(1);
    bed.answer(link, msg_id, Packet::AnswerCheckCurrentSerial { conflict: Some(Tid(60)) });
    assert_eq!(bed.run(vote()), Ok(conflict(0, Content::Checked, 50, 60, true)));
}

#[test]
fn a_check_of_what_is_written_is_only_compared() {
    let mut bed = Bed::begun(ALONE);
    bed.stored_on_s1();
    assert_eq!(bed.run(write(0, 50, Content::Checked)), Ok(Answer::Done));
    let link = bed.storage(1);
    assert!(bed.sent(link).is_empty());
    let result = bed.run(write(0, 49, Content::Checked));
    assert!(matches!(result, Ok(Answer::Conflict(_))), "{result:?}");
}

#[test]
fn the_conflict_of_one_replica_wins_over_the_success_of_another() {
    let mut bed = Bed::begun(BOTH);
    let ids = bed.write_to(&[1, 2], write(0, 50, data(b"x")));
    bed.answer(bed.storage(1), ids[0], stored(None));
    bed.answer(bed.storage(2), ids[1], stored(Some(60)));
    assert_eq!(bed.run(vote()), Ok(conflict(0, data(b"x"), 50, 60, true)));
}

#[test]
fn answers_to_a_former_attempt_do_not_count() {
    let mut bed = Bed::begun(BOTH);
    let first = bed.write_to(&[1, 2], write(0, 50, data(b"x")));
    bed.answer(bed.storage(1), first[0], stored(Some(60)));
    assert_eq!(bed.run(vote()), Ok(conflict(0, data(b"x"), 50, 60, true)));
    let second = bed.write_to(&[1, 2], write(0, 60, data(b"y")));
    let call = bed.call(vote());
    bed.answer(bed.storage(1), second[0], stored(None));
    // Late: it had to wait for the lock. Then the same conflict, dealt with already.
    bed.answer(bed.storage(2), first[1], stored(Some(60)));
    assert!(bed.waits(call));
    assert!(bed.sent(bed.storage(1)).is_empty(), "no vote before all answered");
    bed.answer(bed.storage(2), second[1], stored(None));
    votes(&mut bed, &[1, 2]);
    assert_eq!(bed.result(call), Ok(Answer::Voted(vec![Oid(0)])));
}

#[test]
fn a_newer_conflict_during_the_resolution() {
    let mut bed = Bed::begun(ALONE);
    let link_id = bed.write_to(&[1], write(0, 50, data(b"x")))[0];
    let link = bed.storage(1);
    bed.answer(link, link_id, stored(Some(60)));
    assert!(matches!(bed.run(vote()), Ok(Answer::Conflict(_))));
    let msg_id = bed.write_to(&[1], write(0, 60, data(b"y")))[0];
    bed.answer(link, msg_id, stored(Some(70)));
    assert_eq!(bed.run(vote()), Ok(conflict(0, data(b"y"), 60, 70, true)));
}

#[test]
fn a_replica_that_missed_a_commit_is_lost_for_the_transaction() {
    let mut bed = Bed::begun(BOTH);
    let first = bed.write_to(&[1, 2], write(0, 50, data(b"x")));
    bed.answer(bed.storage(1), first[0], stored(Some(60)));
    assert!(matches!(bed.run(vote()), Ok(Answer::Conflict(_))));
    let second = bed.write_to(&[1, 2], write(0, 60, data(b"y")));
    bed.answer(bed.storage(1), second[0], stored(None));
    bed.answer(bed.storage(2), first[1], stored(None));
    // It refuses the base that it has not got: nothing is stored there.
    bed.answer(bed.storage(2), second[1], stored(Some(50)));
    bed.call(vote());
    votes(&mut bed, &[1]);
    let master = bed.master();
    bed.expect(master, &Packet::FailedVote { ttid: TTID, nids: vec![storage(2)] });
}

#[test]
fn the_last_store_of_an_object_wins() {
    let mut bed = Bed::begun(ALONE);
    bed.stored_on_s1();
    let msg_id = bed.write_to(&[1], write(0, 50, data(b"y")))[0];
    let call = bed.call(vote());
    assert!(bed.waits(call));
    let link = bed.storage(1);
    bed.answer(link, msg_id, stored(None));
    votes(&mut bed, &[1]);
    bed.result(call).unwrap();
    let (call, msg_id) = bed.finishing();
    let master = bed.master();
    bed.answer(master, msg_id, Packet::AnswerTransactionFinished { ttid: TTID, tid: Tid(101) });
    let records = vec![(Oid(0), Some(Bytes::from_static(b"y")))];
    assert_eq!(bed.result(call), Ok(Answer::Finished { tid: Tid(101), records }));
}

#[test]
fn a_write_that_is_refused_fails_the_transaction() {
    for (code, error) in [
        (ErrorCode::ReadOnlyAccess, ClientError::ReadOnly("because".into())),
        (ErrorCode::UndoPackError, ClientError::UndoPack("because".into())),
        (ErrorCode::ProtocolError, ClientError::Storage("protocol error: because".into())),
    ] {
        let mut bed = Bed::begun(ALONE);
        let msg_id = bed.write_to(&[1], write(0, 50, data(b"x")))[0];
        bed.answer_error(bed.storage(1), msg_id, code);
        assert_eq!(bed.run(vote()), Err(error));
    }
}

#[test]
fn no_storage_at_all() {
    let mut bed = Bed::begun(BOTH);
    bed.nodes(&[(storage(1), NodeState::Down), (storage(2), NodeState::Down)]);
    let text = "no storage available for write to partition 0";
    let result = bed.run(write(0, 50, data(b"x")));
    assert_eq!(result, Err(ClientError::Disconnected(text.into())));
}

#[test]
fn unknown_transactions_and_writes_after_the_vote() {
    let mut bed = Bed::ready(ALONE);
    for request in [write(0, 50, data(b"x")), vote(), finish()] {
        assert_eq!(bed.run(request), Err(ClientError::UnknownTransaction));
    }
    bed.begin();
    bed.stored_on_s1();
    bed.voted_by_s1();
    let result = bed.run(write(2, 50, data(b"x")));
    assert!(matches!(result, Err(ClientError::Storage(_))), "{result:?}");
}

fn relock(oid: u64) -> Packet {
    Packet::AskRelockObject { ttid: TTID, oid: Oid(oid) }
}

fn deadlock(bed: &mut Bed, number: u16, oid: u64) -> u32 {
    let link = bed.storage(number);
    bed.notify(link, Packet::NotifyDeadlock { ttid: TTID, oid: Oid(oid) });
    bed.expect(link, &relock(oid))
}

#[test]
fn a_lock_is_given_back_at_once_and_the_vote_waits_for_it() {
    let mut bed = Bed::begun(ALONE);
    bed.stored_on_s1();
    let msg_id = deadlock(&mut bed, 1, 0);
    let call = bed.call(vote());
    let link = bed.storage(1);
    assert!(bed.sent(link).is_empty());
    bed.answer(link, msg_id, Packet::AnswerRelockObject { conflict: None });
    votes(&mut bed, &[1]);
    assert_eq!(bed.result(call), Ok(Answer::Voted(vec![])));
}

#[test]
fn data_given_back_is_to_be_resolved() {
    for (returned, kept) in [(true, true), (true, false), (false, true)] {
        let mut bed = Bed::begun(ALONE);
        if kept {
            bed.stored_on_s1();
        } else {
            // Too big to be kept once it is stored.
            static BIG: [u8; 2000] = [3; 2000];
            let call = bed.call(write(0, 50, data(&BIG)));
            bed.accept_by(1);
            let sent = bed.sent(bed.storage(1));
            bed.answer(bed.storage(1), sent[0].0, stored(None));
            bed.result(call).unwrap();
        }
        let msg_id = deadlock(&mut bed, 1, 0);
        let checksum = Digest::of(b"zip");
        let packed = StoredData { compression: 1, checksum, data: Bytes::from_static(b"zip") };
        let data = returned.then(|| packed.clone());
        let found = RelockConflict { base_serial: Tid(50), conflict: Tid(60), data };
        bed.answer(bed.storage(1), msg_id, Packet::AnswerRelockObject { conflict: Some(found) });
        let Ok(Answer::Conflict(found)) = bed.run(vote()) else { panic!() };
        assert_eq!((found.base, found.committed), (Tid(50), Tid(60)));
        let Content::Data { stored, record } = found.content else { panic!() };
        if returned {
            assert_eq!(stored, packed);
        }
        // Without the record, what is stored is to be decompressed.
        assert_eq!(record, if kept { "x" } else { "" });
    }
}

#[test]
fn data_given_back_with_a_wrong_checksum_fails_the_transaction() {
    let mut bed = Bed::begun(ALONE);
    bed.stored_on_s1();
    let msg_id = deadlock(&mut bed, 1, 0);
    let data = StoredData { compression: 0, checksum: Digest::ZERO, data: "x".into() };
    let found = RelockConflict { base_serial: Tid(50), conflict: Tid(60), data: Some(data) };
    bed.answer(bed.storage(1), msg_id, Packet::AnswerRelockObject { conflict: Some(found) });
    assert!(matches!(bed.run(vote()), Err(ClientError::Storage(_))));
}

#[test]
fn a_relock_that_finds_a_conflict_with_what_is_being_stored() {
    let mut bed = Bed::begun(BOTH);
    let ids = bed.write_to(&[1, 2], write(0, 50, data(b"x")));
    bed.answer(bed.storage(1), ids[0], stored(None));
    let msg_id = deadlock(&mut bed, 1, 0);
    let found = RelockConflict { base_serial: Tid(50), conflict: Tid(60), data: None };
    bed.answer(bed.storage(1), msg_id, Packet::AnswerRelockObject { conflict: Some(found) });
    // Not waiting for S2, which may be slow.
    assert_eq!(bed.run(vote()), Ok(conflict(0, data(b"x"), 50, 60, true)));
    // The conflict of S2 is the same one.
    bed.answer(bed.storage(2), ids[1], stored(Some(60)));
    let ids = bed.write_to(&[1, 2], write(0, 60, data(b"y")));
    let call = bed.call(vote());
    bed.answer(bed.storage(1), ids[0], stored(None));
    bed.answer(bed.storage(2), ids[1], stored(None));
    votes(&mut bed, &[1, 2]);
    assert_eq!(bed.result(call), Ok(Answer::Voted(vec![Oid(0)])));
}

#[test]
fn deadlocks_of_others_or_after_the_vote_are_ignored() {
    let mut bed = Bed::begun(ALONE);
    bed.stored_on_s1();
    let link = bed.storage(1);
    bed.notify(link, Packet::NotifyDeadlock { ttid: Ttid(99), oid: Oid(0) });
    assert!(bed.sent(link).is_empty());
    let call = bed.call(vote());
    let sent = bed.sent(link);
    bed.notify(link, Packet::NotifyDeadlock { ttid: TTID, oid: Oid(0) });
    assert!(bed.sent(link).is_empty());
    bed.answer(link, sent[0].0, Packet::AnswerStoreTransaction {});
    assert!(bed.result(call).is_ok());
}

#[test]
fn a_storage_lost_while_it_relocks_does_not_keep_the_vote_waiting() {
    let mut bed = Bed::begun(BOTH);
    let ids = bed.write_to(&[1, 2], write(0, 50, data(b"x")));
    bed.answer(bed.storage(1), ids[0], stored(None));
    bed.answer(bed.storage(2), ids[1], stored(None));
    deadlock(&mut bed, 2, 0);
    bed.call(vote());
    bed.lose(bed.storage(2));
    votes(&mut bed, &[1]);
}
