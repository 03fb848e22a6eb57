//! The order in which things become visible (spec client.md 4.2).

use super::*;

const ALONE: &[&[(u32, CellState)]] = &[&[(1, UP)]];

fn invalidate(bed: &mut Bed, tid: u64) {
    bed.notify_master(Packet::InvalidateObjects { tid: Tid(tid), oids: vec![Oid(0)] });
}

fn foreign(tid: u64) -> Publication {
    Publication::Foreign { tid: Tid(tid), oids: vec![Oid(0)] }
}

#[test]
fn one_after_the_other() {
    let mut bed = Bed::ready(ALONE);
    invalidate(&mut bed, 60);
    invalidate(&mut bed, 70);
    assert_eq!(bed.publications, [foreign(60)]);
    assert_eq!(bed.publish(), foreign(60));
    assert_eq!(bed.publish(), foreign(70));
    assert_eq!(bed.client.last_received(), Some(Tid(70)));
}

#[test]
fn a_commit_of_ours_waits_for_its_turn_and_lets_nothing_pass() {
    let mut bed = Bed::begun(ALONE);
    bed.stored_on_s1();
    bed.voted_by_s1();
    let (call, msg_id) = bed.finishing();
    invalidate(&mut bed, 60);
    let master = bed.master();
    bed.answer(master, msg_id, Packet::AnswerTransactionFinished { ttid: TTID, tid: Tid(101) });
    invalidate(&mut bed, 110);
    assert!(bed.waits(call));
    assert_eq!(bed.publish(), foreign(60));
    assert!(matches!(bed.result(call), Ok(Answer::Finished { tid: Tid(101), .. })));
    assert!(bed.publications.is_empty(), "the caller publishes first");
    bed.input(Input::Own(Event::Published));
    assert_eq!(bed.publish(), foreign(110));
}

#[test]
fn a_commit_that_nobody_waits_for_is_published_by_another() {
    for early in [true, false] {
        let mut bed = Bed::begun(ALONE);
        bed.stored_on_s1();
        bed.voted_by_s1();
        let (call, msg_id) = bed.finishing();
        invalidate(&mut bed, 60);
        if early {
            bed.input(Input::Own(Event::Cancel { call }));
        }
        let master = bed.master();
        let finished = Packet::AnswerTransactionFinished { ttid: TTID, tid: Tid(101) };
        bed.answer(master, msg_id, finished);
        if !early {
            bed.input(Input::Own(Event::Cancel { call }));
        }
        assert_eq!(bed.publish(), foreign(60));
        let records = vec![(Oid(0), Some(Bytes::from_static(b"x")))];
        assert_eq!(bed.publish(), Publication::Abandoned { tid: Tid(101), records });
        assert!(bed.waits(call));
    }
}

#[test]
fn sync_ends_after_what_came_before_its_answer() {
    let mut bed = Bed::ready(ALONE);
    let call = bed.call(Request::Sync);
    invalidate(&mut bed, 60);
    let master = bed.master();
    let msg_id = bed.expect(master, &Packet::Ping {});
    bed.answer(master, msg_id, Packet::Pong {});
    invalidate(&mut bed, 70);
    assert!(bed.waits(call));
    bed.publish();
    assert_eq!(bed.result(call), Ok(Answer::Done));
    assert_eq!(bed.publications, [foreign(70)]);
}

#[test]
fn what_was_received_is_published_although_the_link_is_lost() {
    let mut bed = Bed::ready(ALONE);
    invalidate(&mut bed, 60);
    invalidate(&mut bed, 70);
    bed.lose(bed.master());
    assert_eq!(bed.publish(), foreign(60));
    assert_eq!(bed.publish(), foreign(70));
    // The cluster was truncated meanwhile.
    let call = bed.call(Request::Sync);
    bed.wait(1000);
    bed.accept_by_master();
    bed.welcome(ALONE, 55);
    assert!(bed.waits(call));
    assert_eq!(bed.client.published, Some(Tid(55)));
}
