//! Transactions that are copied one behind the other.

use super::super::api::Copy;
use super::*;

const ALONE: &[&[(u32, CellState)]] = &[&[(1, UP)]];
const APART: &[&[(u32, CellState)]] = &[&[(1, UP)], &[(2, UP)]];

/// Writes of these objects, based on nothing.
fn copy(tid: u64, after: Option<u64>, oids: &[u64]) -> Request {
    let write = |oid: &u64| Write {
        oid: Oid(*oid),
        base: Tid::ZERO,
        content: data(b"x"),
        data_serial: (*oid == 9).then_some(Tid(9)),
    };
    Request::Copy(Copy {
        transaction: TransactionKey(tid),
        tid: Tid(tid),
        after: after.map(Tid),
        writes: oids.iter().map(write).collect(),
        metadata: Metadata::default(),
    })
}

fn begun(bed: &mut Bed, tid: u64) {
    let master = bed.master();
    let msg_id = bed.expect(master, &Packet::AskBeginTransaction { tid: Some(Tid(tid)) });
    bed.answer(master, msg_id, Packet::AnswerBeginTransaction { ttid: Ttid(tid) });
}

/// Two copies that began, and what was sent to S1 to store them.
fn two(cells: &[&[(u32, CellState)]]) -> (Bed, [CallId; 2], Vec<(u32, Packet)>) {
    let mut bed = Bed::ready(cells);
    let first = bed.call(copy(100, None, &[4, 2]));
    begun(&mut bed, 100);
    bed.accept_by(1);
    let second = bed.call(copy(102, Some(100), &[6]));
    begun(&mut bed, 102);
    let sent = bed.sent(bed.storage(1));
    assert_eq!(sent.len(), 3, "{sent:?}");
    (bed, [first, second], sent)
}

fn asked_to_vote(bed: &mut Bed) -> Vec<(u32, Ttid, Vec<Oid>)> {
    let sent = bed.sent(bed.storage(1)).into_iter();
    sent.map(|(msg_id, packet)| match packet {
        Packet::AskStoreTransaction { ttid, oids, .. } => (msg_id, ttid, oids),
        other => panic!("{other:?}"),
    })
    .collect()
}

fn asked_to_finish(bed: &mut Bed) -> Vec<(u32, Ttid)> {
    let sent = bed.sent(bed.master()).into_iter();
    sent.map(|(msg_id, packet)| match packet {
        Packet::AskFinishTransaction { ttid, .. } => (msg_id, ttid),
        other => panic!("{other:?}"),
    })
    .collect()
}

/// Everything is stored, and votes are asked: their msg_ids.
fn stored_in_order(bed: &mut Bed, sent: &[(u32, Packet)]) -> Vec<u32> {
    let link = bed.storage(1);
    // The second one is ready first, but is not voted before the first one is stored.
    bed.answer(link, sent[2].0, stored(None));
    bed.answer(link, sent[0].0, stored(None));
    assert_eq!(asked_to_vote(bed), []);
    bed.answer(link, sent[1].0, stored(None));
    let votes = asked_to_vote(bed);
    let expected = [(Ttid(100), vec![Oid(4), Oid(2)]), (Ttid(102), vec![Oid(6)])];
    let asked: Vec<_> = votes.iter().map(|(_, ttid, oids)| (*ttid, oids.clone())).collect();
    assert_eq!(asked, expected, "objects are in the order they were given");
    votes.into_iter().map(|(msg_id, ..)| msg_id).collect()
}

fn finished(bed: &mut Bed, msg_id: u32, tid: u64) {
    let (ttid, tid) = (Ttid(tid), Tid(tid));
    bed.answer(bed.master(), msg_id, Packet::AnswerTransactionFinished { ttid, tid });
}

fn is_finished(bed: &mut Bed, call: CallId, tid: u64) {
    let result = bed.result(call);
    assert!(matches!(result, Ok(Answer::Finished { tid: t, .. }) if t == Tid(tid)), "{result:?}");
    bed.input(Input::Own(Event::Published));
}

#[test]
fn on_the_same_nodes_commits_are_asked_in_order_without_waiting() {
    let (mut bed, calls, sent) = two(ALONE);
    let votes = stored_in_order(&mut bed, &sent);
    let link = bed.storage(1);
    bed.answer(link, votes[1], Packet::AnswerStoreTransaction {});
    assert_eq!(asked_to_finish(&mut bed), []);
    bed.answer(link, votes[0], Packet::AnswerStoreTransaction {});
    let asked = asked_to_finish(&mut bed);
    assert_eq!([asked[0].1, asked[1].1], [Ttid(100), Ttid(102)]);
    for (place, tid) in [(0, 100), (1, 102)] {
        finished(&mut bed, asked[place].0, tid);
        is_finished(&mut bed, calls[place], tid);
    }
    // The chain goes on from what is committed, or from nothing.
    bed.call(copy(104, Some(102), &[8]));
    begun(&mut bed, 104);
}

#[test]
fn on_different_nodes_a_commit_waits_for_the_previous_one() {
    let (mut bed, calls, sent) = two(APART);
    let votes = stored_in_order(&mut bed, &sent);
    let link = bed.storage(1);
    for vote in votes {
        bed.answer(link, vote, Packet::AnswerStoreTransaction {});
    }
    let asked = asked_to_finish(&mut bed);
    assert_eq!(asked.len(), 1);
    finished(&mut bed, asked[0].0, 100);
    is_finished(&mut bed, calls[0], 100);
    let asked = asked_to_finish(&mut bed);
    assert_eq!(asked[0].1, Ttid(102));
}

#[test]
fn nothing_is_committed_after_what_failed() {
    let (mut bed, calls, sent) = two(ALONE);
    let link = bed.storage(1);
    bed.answer(link, sent[2].0, stored(None));
    bed.answer_error(link, sent[0].0, ErrorCode::UndoPackError);
    let error = bed.result(calls[0]);
    assert_eq!(error, Err(ClientError::UndoPack("because".into())));
    assert!(bed.result(calls[1]).is_err());
    let aborts = bed.sent(bed.master()).into_iter().map(|(_, packet)| packet);
    let is_abort = |packet: Packet| matches!(packet, Packet::AbortTransaction { .. });
    assert!(aborts.map(is_abort).eq([true, true]));
    // What continues it is refused; a new chain is not.
    assert!(bed.run(copy(104, Some(102), &[8])).is_err());
    bed.sent(link);
    bed.call(copy(100, None, &[4]));
    begun(&mut bed, 100);
}

#[test]
fn what_was_to_continue_a_lost_link_does_not_begin_on_the_next_one() {
    let (mut bed, calls, _) = two(ALONE);
    bed.lose(bed.master());
    assert!(calls.iter().all(|call| bed.result(*call).is_err()));
    let call = bed.call(copy(104, Some(102), &[8]));
    bed.reconnect(50);
    assert!(bed.result(call).is_err());
    assert_eq!(bed.sent(bed.master()), []);
}

#[test]
fn a_wrong_base_is_replaced_by_what_the_database_has() {
    let mut bed = Bed::ready(ALONE);
    let call = bed.call(copy(100, None, &[9]));
    begun(&mut bed, 100);
    bed.accept_by(1);
    let link = bed.storage(1);
    let sent = bed.sent(link);
    bed.answer(link, sent[0].0, stored(Some(40)));
    let again = bed.sent(link);
    let [(msg_id, Packet::AskStoreObject { serial, data_serial, .. })] = &again[..] else {
        panic!("{again:?}")
    };
    assert_eq!((*serial, *data_serial), (Tid(40), Some(Tid(9))));
    bed.answer(link, *msg_id, stored(None));
    assert_eq!(asked_to_vote(&mut bed).len(), 1);
    assert!(bed.waits(call));
}
