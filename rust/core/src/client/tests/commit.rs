//! Begin, vote, lost nodes, finish, abort (spec client.md 7.2, 7.9 - 7.11, 11).

use super::*;

const ALONE: &[&[(u32, CellState)]] = &[&[(1, UP)]];
const BOTH: &[&[(u32, CellState)]] = &[&[(1, UP), (2, UP)]];

/// Stored by S1 and S2.
fn stored_by_both() -> Bed {
    let mut bed = Bed::begun(BOTH);
    let ids = bed.write_to(&[1, 2], write(0, 50, data(b"x")));
    bed.answer(bed.storage(1), ids[0], stored(None));
    bed.answer(bed.storage(2), ids[1], stored(None));
    bed
}

fn answer_vote(bed: &mut Bed, number: u16) {
    let link = bed.storage(number);
    let sent = bed.sent(link);
    assert_eq!(sent.len(), 1, "{sent:?}");
    let answer = match sent[0].1 {
        Packet::AskStoreTransaction { .. } => Packet::AnswerStoreTransaction {},
        Packet::AskVoteTransaction { .. } => Packet::AnswerVoteTransaction {},
        ref other => panic!("{other:?}"),
    };
    bed.answer(link, sent[0].0, answer);
}

fn failed_vote(bed: &mut Bed, numbers: &[u32]) -> u32 {
    let nids = numbers.iter().map(|number| storage(*number)).collect();
    let master = bed.master();
    bed.expect(master, &Packet::FailedVote { ttid: TTID, nids })
}

fn acknowledge(bed: &mut Bed, msg_id: u32) {
    bed.answer(bed.master(), msg_id, Packet::error(ErrorCode::Ack, ""));
}

#[test]
fn an_imposed_tid_waits_for_the_master() {
    for refused in [false, true] {
        let mut bed = Bed::ready(ALONE);
        let call = bed.call(Request::Begin { transaction: T, tid: Some(Tid(100)) });
        assert!(bed.waits(call));
        let master = bed.master();
        let msg_id = bed.expect(master, &Packet::AskBeginTransaction { tid: Some(Tid(100)) });
        if refused {
            bed.answer_error(master, msg_id, ErrorCode::ProtocolError);
            let error = ClientError::Storage("protocol error: because".into());
            assert_eq!(bed.result(call), Err(error.clone()));
            assert_eq!(bed.run(vote()), Err(error));
            // It is there to be aborted, and nobody has to be told.
            bed.input(Input::Own(Event::Abort { transaction: T }));
            assert!(bed.sent(master).is_empty() && bed.client.transactions.is_empty());
        } else {
            bed.answer(master, msg_id, Packet::AnswerBeginTransaction { ttid: TTID });
            assert_eq!(bed.result(call), Ok(Answer::Begun(TTID)));
        }
    }
}

#[test]
fn a_vote_goes_to_every_node_with_metadata_where_they_belong() {
    // TTID 100 is in partition 0.
    let mut bed = Bed::begun(&[&[(1, UP)], &[(2, UP)]]);
    let ids = bed.write_to(&[2], write(3, 50, data(b"x")));
    bed.answer(bed.storage(2), ids[0], stored(None));
    let ids = bed.write_to(&[2], write(1, 50, Content::Checked));
    let metadata =
        Metadata { user: "u".into(), description: "d".into(), extension: Bytes::from_static(b"e") };
    let call = bed.call(Request::Vote { transaction: T, metadata });
    let link = bed.storage(2);
    assert!(bed.sent(link).is_empty(), "not before everything is stored");
    bed.answer(link, ids[0], Packet::AnswerCheckCurrentSerial { conflict: None });
    bed.accept_by(1);
    let vote = Packet::AskStoreTransaction {
        ttid: TTID,
        user: "u".into(),
        description: "d".into(),
        extension: Bytes::from_static(b"e"),
        oids: vec![Oid(3), Oid(1)],
        pack: None,
    };
    let msg_id = bed.expect(bed.storage(1), &vote);
    let other = bed.expect(link, &Packet::AskVoteTransaction { ttid: TTID });
    bed.answer(bed.storage(1), msg_id, Packet::AnswerStoreTransaction {});
    assert!(bed.waits(call));
    bed.answer(link, other, Packet::AnswerVoteTransaction {});
    assert_eq!(bed.result(call), Ok(Answer::Voted(vec![])));

    let call = bed.call(finish());
    let packet = Packet::AskFinishTransaction {
        ttid: TTID,
        oids: vec![Oid(3)],
        deleted: vec![],
        checked: vec![neo_wire::Partition(1)],
        pack: None,
    };
    let master = bed.master();
    let msg_id = bed.expect(master, &packet);
    bed.answer(master, msg_id, Packet::AnswerTransactionFinished { ttid: TTID, tid: Tid(102) });
    let records = vec![(Oid(3), Some(Bytes::from_static(b"x")))];
    assert_eq!(bed.result(call), Ok(Answer::Finished { tid: Tid(102), records }));
    assert!(bed.client.transactions.is_empty());
}

#[test]
fn an_empty_transaction_commits() {
    let mut bed = Bed::begun(ALONE);
    let call = bed.call(vote());
    bed.accept_by(1);
    answer_vote(&mut bed, 1);
    assert_eq!(bed.result(call), Ok(Answer::Voted(vec![])));
    let (call, msg_id) = bed.finishing();
    let master = bed.master();
    bed.answer(master, msg_id, Packet::AnswerTransactionFinished { ttid: TTID, tid: Tid(101) });
    assert_eq!(bed.result(call), Ok(Answer::Finished { tid: Tid(101), records: vec![] }));
}

#[test]
fn deleted_objects_are_invalidated_like_others() {
    let mut bed = Bed::begun(ALONE);
    let ids = bed.write_to(&[1], write(0, 50, Content::Deleted));
    bed.answer(bed.storage(1), ids[0], stored(None));
    bed.voted_by_s1();
    bed.call(finish());
    let sent = bed.sent(bed.master());
    let Packet::AskFinishTransaction { oids, deleted, .. } = &sent[0].1 else { panic!() };
    assert_eq!((&oids[..], &deleted[..]), (&[Oid(0)][..], &[][..]));
}

#[test]
fn garbage_only_tells_the_master_where_it_was() {
    let mut bed = Bed::begun(&[&[(1, UP)], &[(1, UP)]]);
    for (oid, content) in [(1, Content::Garbage), (3, Content::Garbage), (0, Content::Deleted)] {
        let ids = bed.write_to(&[1], write(oid, 50, content));
        bed.answer(bed.storage(1), ids[0], stored(None));
    }
    // The last store of an object wins.
    for (oid, content) in [(5, Content::Garbage), (5, Content::Deleted)] {
        let ids = bed.write_to(&[1], write(oid, 50, content));
        bed.answer(bed.storage(1), ids[0], stored(None));
    }
    bed.voted_by_s1();
    let call = bed.call(finish());
    let packet = Packet::AskFinishTransaction {
        ttid: TTID,
        oids: vec![Oid(0), Oid(5)],
        deleted: vec![neo_wire::Partition(1)],
        checked: vec![],
        pack: None,
    };
    let master = bed.master();
    let msg_id = bed.expect(master, &packet);
    bed.answer(master, msg_id, Packet::AnswerTransactionFinished { ttid: TTID, tid: Tid(102) });
    // This process does not serve them any more.
    let records = [0, 1, 3, 5].map(|oid| (Oid(oid), None)).to_vec();
    assert_eq!(bed.result(call), Ok(Answer::Finished { tid: Tid(102), records }));
}

#[test]
fn a_refused_vote_leaves_the_transaction_to_be_aborted() {
    let mut bed = Bed::begun(ALONE);
    bed.stored_on_s1();
    let call = bed.call(vote());
    let sent = bed.sent(bed.storage(1));
    bed.answer_error(bed.storage(1), sent[0].0, ErrorCode::UndoPackError);
    assert_eq!(bed.result(call), Err(ClientError::UndoPack("because".into())));
    assert_eq!(bed.run(finish()), Err(ClientError::UndoPack("because".into())));
    bed.input(Input::Own(Event::Abort { transaction: T }));
    let abort = Packet::AbortTransaction { ttid: TTID, nids: vec![] };
    bed.expect(bed.storage(1), &abort);
    bed.expect(bed.master(), &Packet::AbortTransaction { ttid: TTID, nids: vec![storage(1)] });
}

#[test]
fn finish_needs_a_vote() {
    let mut bed = Bed::begun(ALONE);
    assert!(matches!(bed.run(finish()), Err(ClientError::Storage(_))));
    bed.stored_on_s1();
    assert!(matches!(bed.run(finish()), Err(ClientError::Storage(_))));
}

#[test]
fn a_replica_lost_before_it_answered_is_reported() {
    let mut bed = Bed::begun(BOTH);
    let ids = bed.write_to(&[1, 2], write(0, 50, data(b"x")));
    bed.lose(bed.storage(2));
    let call = bed.call(vote());
    bed.answer(bed.storage(1), ids[0], stored(None));
    answer_vote(&mut bed, 1);
    let msg_id = failed_vote(&mut bed, &[2]);
    assert!(bed.waits(call));
    acknowledge(&mut bed, msg_id);
    assert_eq!(bed.result(call), Ok(Answer::Voted(vec![])));
    bed.finishing();
}

#[test]
fn a_node_that_is_lost_stays_so_for_the_transaction() {
    let mut bed = stored_by_both();
    bed.lose(bed.storage(2));
    let opened = bed.opened.len();
    bed.write_to(&[1], write(2, 50, data(b"y")));
    assert_eq!(bed.opened.len(), opened, "it is not even connected again");
}

#[test]
fn a_replica_lost_during_the_vote() {
    let mut bed = stored_by_both();
    let call = bed.call(vote());
    answer_vote(&mut bed, 1);
    bed.lose(bed.storage(2));
    let msg_id = failed_vote(&mut bed, &[2]);
    acknowledge(&mut bed, msg_id);
    assert_eq!(bed.result(call), Ok(Answer::Voted(vec![])));
}

#[test]
fn nodes_that_are_not_running_need_no_arbitration() {
    let mut bed = stored_by_both();
    bed.nodes(&[(storage(2), NodeState::Down)]);
    let call = bed.call(vote());
    answer_vote(&mut bed, 1);
    assert!(bed.sent(bed.master()).is_empty());
    assert_eq!(bed.result(call), Ok(Answer::Voted(vec![])));
}

#[test]
fn the_only_storage_lost_during_the_vote_and_not_running_any_more() {
    let mut bed = Bed::begun(ALONE);
    bed.stored_on_s1();
    let call = bed.call(vote());
    bed.nodes(&[(storage(1), NodeState::Down)]);
    let text = "partition 0 not fully write-locked";
    assert_eq!(bed.result(call), Err(ClientError::Disconnected(text.into())));
}

#[test]
fn an_arbitration_may_refuse() {
    let mut bed = stored_by_both();
    bed.lose(bed.storage(2));
    let call = bed.call(vote());
    answer_vote(&mut bed, 1);
    let msg_id = failed_vote(&mut bed, &[2]);
    bed.answer_error(bed.master(), msg_id, ErrorCode::IncompleteTransaction);
    let text = "the transaction can not be completed: because";
    assert_eq!(bed.result(call), Err(ClientError::Disconnected(text.into())));
}

#[test]
fn a_lost_replica_is_nothing_once_all_voted() {
    let mut bed = stored_by_both();
    let call = bed.call(vote());
    answer_vote(&mut bed, 1);
    answer_vote(&mut bed, 2);
    assert!(bed.result(call).is_ok());
    bed.lose(bed.storage(2));
    bed.finishing();
}

#[test]
fn every_storage_lost() {
    let mut bed = stored_by_both();
    bed.lose(bed.storage(1));
    bed.lose(bed.storage(2));
    let result = bed.run(vote());
    assert!(matches!(result, Err(ClientError::Disconnected(_))), "{result:?}");
}

#[test]
fn a_partition_locked_nowhere_is_not_committed() {
    // S2 replicates: it locks nothing.
    let mut bed = Bed::begun(&[&[(1, UP), (2, OUT)]]);
    let ids = bed.write_to(&[1, 2], write(0, 50, data(b"x")));
    bed.answer(bed.storage(1), ids[0], stored(None));
    bed.answer(bed.storage(2), ids[1], stored(Some(0)));
    bed.lose(bed.storage(1));
    let call = bed.call(vote());
    answer_vote(&mut bed, 2);
    let text = "partition 0 not fully write-locked";
    assert_eq!(bed.result(call), Err(ClientError::Disconnected(text.into())));
}

#[test]
fn an_object_stored_nowhere_is_not_committed() {
    for answered in [true, false] {
        let mut bed = Bed::begun(BOTH);
        let ids = bed.write_to(&[1, 2], write(0, 50, data(b"x")));
        // Neither has the partition any more; or the only one that could answer is lost.
        bed.answer(bed.storage(1), ids[0], stored(Some(0)));
        if answered {
            bed.answer(bed.storage(2), ids[1], stored(Some(0)));
        } else {
            bed.lose(bed.storage(2));
        }
        let call = bed.call(vote());
        answer_vote(&mut bed, 1);
        if answered {
            answer_vote(&mut bed, 2);
        }
        let result = bed.result(call);
        assert!(matches!(result, Err(ClientError::Disconnected(_))), "{result:?}");
    }
}

#[test]
fn writes_without_lock_are_committed_if_another_replica_locked() {
    let mut bed = Bed::begun(&[&[(1, UP), (2, OUT)]]);
    let ids = bed.write_to(&[1, 2], write(0, 50, data(b"x")));
    bed.answer(bed.storage(1), ids[0], stored(None));
    bed.answer(bed.storage(2), ids[1], stored(Some(0)));
    let call = bed.call(vote());
    answer_vote(&mut bed, 1);
    answer_vote(&mut bed, 2);
    assert_eq!(bed.result(call), Ok(Answer::Voted(vec![])));
}

#[test]
fn the_master_lost_since_the_begin_fails_the_vote() {
    for voting in [false, true] {
        let mut bed = Bed::begun(ALONE);
        bed.stored_on_s1();
        let call = voting.then(|| bed.call(vote()));
        bed.lose(bed.master());
        let call = call.unwrap_or_else(|| bed.call(vote()));
        let text = "the link to the primary master was lost during the transaction";
        assert_eq!(bed.result(call), Err(ClientError::Disconnected(text.into())));
    }
}

#[test]
fn the_master_lost_before_it_answered_a_begin_with_a_tid() {
    let mut bed = Bed::ready(ALONE);
    let imposed = TransactionKey(2);
    let call = bed.call(Request::Begin { transaction: imposed, tid: Some(Tid(99)) });
    bed.lose(bed.master());
    assert!(matches!(bed.result(call), Err(ClientError::Disconnected(_))));
}

#[test]
fn the_master_lost_after_the_vote_fails_the_finish_at_once() {
    let mut bed = Bed::begun(ALONE);
    bed.stored_on_s1();
    bed.voted_by_s1();
    bed.lose(bed.master());
    assert!(matches!(bed.run(finish()), Err(ClientError::Disconnected(_))));
}

#[test]
fn the_master_lost_during_the_arbitration() {
    let mut bed = stored_by_both();
    bed.lose(bed.storage(2));
    let call = bed.call(vote());
    answer_vote(&mut bed, 1);
    failed_vote(&mut bed, &[2]);
    bed.lose(bed.master());
    assert!(matches!(bed.result(call), Err(ClientError::Disconnected(_))));
}

#[test]
fn a_finish_that_is_refused() {
    for (code, error) in [
        (
            ErrorCode::IncompleteTransaction,
            ClientError::Disconnected("transaction aborted: because".into()),
        ),
        (ErrorCode::ProtocolError, ClientError::Storage("protocol error: because".into())),
    ] {
        let mut bed = Bed::begun(ALONE);
        bed.stored_on_s1();
        bed.voted_by_s1();
        let (call, msg_id) = bed.finishing();
        bed.answer_error(bed.master(), msg_id, code);
        assert_eq!(bed.result(call), Err(error));
        assert!(bed.client.transactions.is_empty() && bed.publications.is_empty());
    }
}

#[test]
fn abort_tells_who_may_know() {
    let mut bed = stored_by_both();
    bed.lose(bed.storage(2));
    bed.input(Input::Own(Event::Abort { transaction: T }));
    bed.expect(bed.storage(1), &Packet::AbortTransaction { ttid: TTID, nids: vec![] });
    // The master forwards it to the node that we lost.
    let nids = vec![storage(1), storage(2)];
    bed.expect(bed.master(), &Packet::AbortTransaction { ttid: TTID, nids });
    bed.input(Input::Own(Event::Abort { transaction: T }));
    assert!(bed.sent(bed.master()).is_empty());
    assert_eq!(bed.run(vote()), Err(ClientError::UnknownTransaction));
}

#[test]
fn abort_takes_back_what_is_not_sent_yet() {
    let mut bed = Bed::begun(ALONE);
    assert_eq!(bed.run(write(0, 50, data(b"x"))), Ok(Answer::Done));
    bed.input(Input::Own(Event::Abort { transaction: T }));
    bed.sent(bed.master());
    bed.accept_by(1);
    assert!(bed.sent(bed.storage(1)).is_empty());
}

#[test]
fn abort_before_the_begin_is_answered() {
    let mut bed = Bed::ready(ALONE);
    assert_eq!(bed.run(Request::Begin { transaction: T, tid: None }), Ok(Answer::Done));
    let master = bed.master();
    let msg_id = bed.expect(master, &Packet::AskBeginTransaction { tid: None });
    bed.input(Input::Own(Event::Abort { transaction: T }));
    assert!(bed.sent(master).is_empty());
    bed.answer(master, msg_id, Packet::AnswerBeginTransaction { ttid: TTID });
    bed.expect(master, &Packet::AbortTransaction { ttid: TTID, nids: vec![] });
}

#[test]
fn what_is_being_committed_can_not_be_aborted() {
    let mut bed = Bed::begun(ALONE);
    bed.stored_on_s1();
    bed.voted_by_s1();
    let (call, msg_id) = bed.finishing();
    bed.input(Input::Own(Event::Abort { transaction: T }));
    let master = bed.master();
    assert!(bed.sent(master).is_empty());
    bed.answer(master, msg_id, Packet::AnswerTransactionFinished { ttid: TTID, tid: Tid(101) });
    assert!(matches!(bed.result(call), Ok(Answer::Finished { .. })));
}

#[test]
fn an_abort_answers_who_still_waits() {
    let mut bed = Bed::begun(ALONE);
    bed.write_to(&[1], write(0, 50, data(b"x")));
    let call = bed.call(vote());
    bed.input(Input::Own(Event::Abort { transaction: T }));
    assert_eq!(bed.result(call), Err(ClientError::UnknownTransaction));
}
