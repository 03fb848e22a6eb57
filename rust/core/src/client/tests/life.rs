//! Close, fork, and calls that are given up (spec client.md 13).

use super::*;

const ALONE: &[&[(u32, CellState)]] = &[&[(1, UP)]];

#[test]
fn close_answers_everybody_and_leaves_every_link() {
    let mut bed = Bed::begun(ALONE);
    bed.stored_on_s1();
    bed.voted_by_s1();
    let (finish, _) = bed.finishing();
    let sync = bed.call(Request::Sync);
    let packet = Packet::AskObject { oid: Oid(0), at: None, before: None };
    let read = bed.call(Request::Read { key: 0, packet, except: vec![] });
    bed.input(Input::Own(Event::Close));
    for call in [finish, sync, read] {
        assert_eq!(bed.result(call), Err(ClientError::Closed));
    }
    assert!(bed.closed.contains(&bed.master()) && bed.closed.contains(&bed.storage(1)));
    assert!(bed.timers.is_empty());
    assert_eq!(bed.run(Request::Connect), Err(ClientError::Closed));
    assert_eq!(bed.run(vote()), Err(ClientError::Closed));
    let opened = bed.opened.len();
    bed.input(Input::Own(Event::Close));
    bed.input(Input::Own(Event::Published));
    bed.wait(1000);
    assert_eq!(bed.opened.len(), opened);
}

#[test]
fn a_child_forgets_the_links_of_its_parent_without_a_word() {
    let mut bed = Bed::begun(ALONE);
    bed.stored_on_s1();
    bed.notify_master(Packet::InvalidateObjects { tid: Tid(60), oids: vec![] });
    let call = bed.call(vote());
    let closed = bed.closed.clone();
    for connection in [bed.master(), bed.storage(1)] {
        bed.sent(connection);
    }
    bed.input(Input::Own(Event::Forked));
    assert!(bed.sent.is_empty() && bed.closed == closed);
    assert!(bed.waits(call), "its thread is not there any more");
    assert_eq!(bed.run(vote()), Err(ClientError::UnknownTransaction));
    assert_eq!(bed.client.nid(), None);
    bed.publications.clear();

    let call = bed.call(Request::Connect);
    bed.wait(1000);
    let master = bed.master();
    bed.input(Input::Connected { connection: master });
    let sent = bed.sent(master);
    assert!(matches!(sent[..], [(0, Packet::RequestIdentification { nid: None, .. })]), "{sent:?}");
    let accept = Packet::AcceptIdentification {
        node_type: NodeType::Master,
        nid: Some(master_nid()),
        your_nid: Some(own_nid()),
    };
    bed.answer(master, 0, accept);
    bed.welcome(ALONE, 60);
    assert_eq!(bed.result(call), Ok(Answer::Done));
}

#[test]
fn who_waits_for_a_master_may_give_up() {
    let mut bed = Bed::new();
    let call = bed.call(Request::Sync);
    bed.input(Input::Own(Event::Cancel { call }));
    bed.accept_by_master();
    bed.welcome(ALONE, 50);
    assert!(bed.waits(call));
    assert!(bed.sent(bed.master()).is_empty());
}

#[test]
fn a_cancelled_write_or_vote_leaves_the_transaction_to_be_aborted() {
    let mut bed = Bed::begun(ALONE);
    let msg_id = bed.write_to(&[1], write(0, 50, data(b"x")))[0];
    let call = bed.call(vote());
    bed.input(Input::Own(Event::Cancel { call }));
    let link = bed.storage(1);
    bed.answer(link, msg_id, stored(None));
    assert!(bed.waits(call));
    assert!(bed.sent(link).is_empty(), "nobody wants a vote any more");
    bed.input(Input::Own(Event::Abort { transaction: T }));
    bed.expect(link, &Packet::AbortTransaction { ttid: TTID, nids: vec![] });
}
