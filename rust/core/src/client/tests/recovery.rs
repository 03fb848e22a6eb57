//! The outcome of a commit whose answer was lost (spec client.md 7.10, 5).

use super::*;

const ALONE: &[&[(u32, CellState)]] = &[&[(1, UP)]];

fn ask() -> Packet {
    Packet::AskFinalTID { ttid: TTID }
}

fn answer(tid: Option<u64>) -> Packet {
    Packet::AnswerFinalTID { tid: tid.map(Tid) }
}

/// The link is lost while the master commits, then made again: the call, and the question.
fn lost(last_tid: u64) -> (Bed, CallId, u32) {
    let mut bed = Bed::begun(ALONE);
    bed.stored_on_s1();
    bed.voted_by_s1();
    let (call, _) = bed.finishing();
    bed.lose(bed.master());
    assert!(bed.waits(call));
    bed.reconnect(last_tid);
    let master = bed.master();
    let msg_id = bed.expect(master, &ask());
    (bed, call, msg_id)
}

fn not_committed() -> Result<Answer, ClientError> {
    let text = "the master was lost while committing: the transaction was aborted";
    Err(ClientError::Disconnected(text.into()))
}

#[test]
fn committed() {
    // The master finished before, or after it accepted us again.
    for last_tid in [101, 50] {
        let (mut bed, call, msg_id) = lost(last_tid);
        bed.answer(bed.master(), msg_id, answer(Some(101)));
        // Something may have been committed after: data does not enter the cache.
        let records = vec![(Oid(0), None)];
        assert_eq!(bed.result(call), Ok(Answer::Finished { tid: Tid(101), records }));
        assert!(bed.client.transactions.is_empty());
    }
}

#[test]
fn aborted() {
    let (mut bed, call, msg_id) = lost(50);
    bed.answer(bed.master(), msg_id, answer(None));
    assert_eq!(bed.result(call), not_committed());
    assert!(bed.client.transactions.is_empty());
}

#[test]
fn the_link_is_lost_again_and_again() {
    let (mut bed, call, _) = lost(50);
    for _ in 0..3 {
        bed.lose(bed.master());
        assert!(bed.waits(call));
        bed.reconnect(50);
        bed.expect(bed.master(), &ask());
    }
    bed.lose(bed.master());
    bed.reconnect(50);
    let msg_id = bed.expect(bed.master(), &ask());
    bed.answer(bed.master(), msg_id, answer(Some(101)));
    assert!(matches!(bed.result(call), Ok(Answer::Finished { tid: Tid(101), .. })));
}

#[test]
fn storages_know_what_the_master_has_forgotten() {
    for tid in [Some(101), None] {
        let (mut bed, call, msg_id) = lost(101);
        bed.answer(bed.master(), msg_id, answer(Some(Tid::MAX.0)));
        bed.accept_by(1);
        let msg_id = bed.expect(bed.storage(1), &ask());
        bed.answer(bed.storage(1), msg_id, answer(tid));
        match tid {
            Some(_) => assert!(matches!(bed.result(call), Ok(Answer::Finished { .. }))),
            None => assert_eq!(bed.result(call), not_committed()),
        }
    }
}

#[test]
fn the_question_is_asked_again_if_storages_fail() {
    let (mut bed, call, msg_id) = lost(101);
    bed.answer(bed.master(), msg_id, answer(Some(Tid::MAX.0)));
    for _ in 0..2 {
        bed.lose(bed.storage(1));
        let sent = bed.sent(bed.master());
        if let [(msg_id, Packet::Ping {})] = sent[..] {
            bed.answer(bed.master(), msg_id, Packet::Pong {});
            bed.wait(1000);
        } else {
            assert!(matches!(sent[..], [(_, Packet::AskFinalTID { .. })]), "{sent:?}");
        }
    }
    assert!(bed.waits(call));
}

#[test]
fn a_call_that_was_cancelled_is_published_all_the_same() {
    let mut bed = Bed::begun(ALONE);
    bed.stored_on_s1();
    bed.voted_by_s1();
    let (call, _) = bed.finishing();
    bed.lose(bed.master());
    bed.input(Input::Own(Event::Cancel { call }));
    bed.reconnect(50);
    let msg_id = bed.expect(bed.master(), &ask());
    bed.answer(bed.master(), msg_id, answer(Some(101)));
    let records = vec![(Oid(0), None)];
    assert_eq!(bed.publish(), Publication::Abandoned { tid: Tid(101), records });
}

#[test]
fn a_limit_of_attempts_ends_the_waiting_but_not_the_recovery() {
    let mut bed = Bed::begun(ALONE);
    bed.stored_on_s1();
    bed.voted_by_s1();
    let (call, _) = bed.finishing();
    bed.client.set_max_reconnections(Some(0));
    bed.lose(bed.master());
    bed.wait(1000);
    bed.lose(bed.master());
    assert!(matches!(bed.result(call), Err(ClientError::MasterLost(_))));
    bed.client.set_max_reconnections(None);
    bed.call(Request::Sync);
    bed.reconnect(50);
    let sent = bed.sent(bed.master());
    let asked = sent.iter().find(|(_, packet)| *packet == ask()).unwrap();
    bed.answer(bed.master(), asked.0, answer(Some(101)));
    assert!(matches!(bed.publications[..], [Publication::Abandoned { tid: Tid(101), .. }]));
}
