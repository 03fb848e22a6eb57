//! The link to the primary master (spec client.md 3.3 - 3.5, 3.7).

use super::*;

fn refuse(bed: &mut Bed, code: ErrorCode) {
    let master = bed.master();
    bed.input(Input::Connected { connection: master });
    bed.sent(master);
    bed.answer_error(master, 0, code);
}

#[test]
fn nothing_happens_before_the_first_call() {
    let mut bed = Bed::new();
    bed.input(Input::Start);
    assert!(bed.opened.is_empty());
}

#[test]
fn connection_then_reconciliation_then_calls() {
    let mut bed = Bed::new();
    let call = bed.call(Request::Connect);
    bed.accept_by_master();
    let master = bed.master();
    let msg_id = bed.expect(master, &Packet::AskLastTransaction {});
    bed.nodes(&[(own_nid(), NodeState::Running), (storage(1), NodeState::Running)]);
    bed.table(&[&[(1, UP)]]);
    // Nothing can be said about what comes before the last TID.
    bed.notify_master(Packet::InvalidateObjects { tid: Tid(49), oids: vec![Oid(1)] });
    assert!(bed.publications.is_empty());
    bed.answer(master, msg_id, Packet::AnswerLastTransaction { tid: Tid(50) });
    assert!(bed.waits(call), "not before the last TID is published");
    assert_eq!(bed.publish(), Publication::Reset { last_tid: Tid(50) });
    assert_eq!(bed.result(call), Ok(Answer::Done));
    assert_eq!(bed.client.nid(), Some(own_nid()));
    assert_eq!(bed.client.geometry(), Some((1, 0)));
}

#[test]
fn calls_wait_for_an_operational_table() {
    let mut bed = Bed::new();
    let call = bed.call(Request::Connect);
    bed.accept_by_master();
    bed.welcome(&[&[(1, OUT)]], 50);
    assert!(bed.waits(call));
    // It becomes so while something is being published.
    bed.notify_master(Packet::InvalidateObjects { tid: Tid(51), oids: vec![] });
    let cells = vec![neo_wire::CellChange {
        partition: neo_wire::Partition(0),
        nid: storage(1),
        state: UP,
    }];
    bed.notify_master(Packet::NotifyPartitionChanges { ptid: Ptid(2), num_replicas: 0, cells });
    assert_eq!(bed.result(call), Ok(Answer::Done));
    bed.publish();
}

#[test]
fn a_running_node_makes_the_table_operational() {
    let mut bed = Bed::new();
    let call = bed.call(Request::Connect);
    bed.accept_by_master();
    bed.nodes(&[(own_nid(), NodeState::Running), (storage(1), NodeState::Down)]);
    bed.table(&[&[(1, UP)]]);
    let master = bed.master();
    let msg_id = bed.expect(master, &Packet::AskLastTransaction {});
    bed.answer(master, msg_id, Packet::AnswerLastTransaction { tid: Tid(50) });
    bed.publish();
    assert!(bed.waits(call));
    bed.nodes(&[(storage(1), NodeState::Running)]);
    assert_eq!(bed.result(call), Ok(Answer::Done));
}

#[test]
fn not_ready_is_tried_again_for_ever() {
    let mut bed = Bed::new();
    let call = bed.call(Request::Connect);
    for _ in 0..20 {
        refuse(&mut bed, ErrorCode::NotReady);
        bed.wait(1000);
    }
    assert!(bed.waits(call));
    bed.accept_by_master();
    bed.welcome(&[&[(1, UP)]], 50);
    assert_eq!(bed.result(call), Ok(Answer::Done));
}

#[test]
fn refusals_are_told_and_the_next_call_tries_again() {
    for (code, error) in [
        (ErrorCode::ReadOnlyAccess, ClientError::ReadOnly("because".into())),
        (ErrorCode::ProtocolError, ClientError::Storage("protocol error: because".into())),
    ] {
        let mut bed = Bed::new();
        let call = bed.call(Request::Connect);
        refuse(&mut bed, code);
        assert_eq!(bed.result(call), Err(error));
        let call = bed.call(Request::Connect);
        bed.wait(1000);
        bed.accept_by_master();
        bed.welcome(&[&[(1, UP)]], 50);
        assert_eq!(bed.result(call), Ok(Answer::Done));
    }
}

#[test]
fn attempts_may_be_limited() {
    let mut bed = Bed::on(Config { max_reconnections: Some(1), ..config() });
    let call = bed.call(Request::Connect);
    bed.lose(bed.master());
    assert!(bed.waits(call));
    bed.wait(1000);
    bed.lose(bed.master());
    let text = "Too many connection failures to the primary master";
    assert_eq!(bed.result(call), Err(ClientError::MasterLost(text.into())));
    assert!(bed.timers.is_empty(), "nobody needs it any more");
}

#[test]
fn a_secondary_points_to_the_primary() {
    let mut bed = Bed::new();
    bed.call(Request::Connect);
    let secondary = bed.master();
    bed.input(Input::Connected { connection: secondary });
    bed.sent(secondary);
    let known_masters = vec![address(7), address(8)];
    bed.notify(secondary, Packet::NotPrimaryMaster { primary: Some(1), known_masters });
    assert!(bed.closed.contains(&secondary));
    assert_eq!(bed.opened.last().unwrap().1, address(8));
    assert_eq!(bed.client.masters(), [address(1), address(7), address(8)]);
}

#[test]
fn a_master_that_has_not_accepted_us_is_not_listened_to() {
    let mut bed = Bed::new();
    bed.call(Request::Connect);
    let master = bed.master();
    bed.input(Input::Connected { connection: master });
    bed.table(&[&[(1, UP)]]);
    assert!(bed.closed.contains(&master));
    assert!(bed.client.geometry().is_none());
}

#[test]
fn a_lost_master_is_searched_by_the_next_call_that_needs_it() {
    let mut bed = Bed::ready(&[&[(1, UP)]]);
    bed.wait(5000);
    bed.lose(bed.master());
    assert_eq!(bed.opened.len(), 1, "an idle client does not reconnect");
    assert!(bed.client.geometry().is_none());
    let call = bed.call(Request::Sync);
    assert_eq!(bed.opened.len(), 2, "at once: the last attempt is long ago");
    bed.accept_by_master();
    bed.welcome(&[&[(1, UP)]], 60);
    let master = bed.master();
    let msg_id = bed.expect(master, &Packet::Ping {});
    bed.answer(master, msg_id, Packet::Pong {});
    assert_eq!(bed.result(call), Ok(Answer::Done));
}

#[test]
fn what_was_asked_of_a_lost_master_is_asked_again() {
    let mut bed = Bed::ready(&[&[(1, UP)]]);
    let packet = Packet::AskNewOIDs { count: 100 };
    let call = bed.call(Request::Master { packet: packet.clone() });
    let sync = bed.call(Request::Sync);
    let sent: Vec<Packet> = bed.sent(bed.master()).into_iter().map(|(_, p)| p).collect();
    assert_eq!(sent, [packet.clone(), Packet::Ping {}]);
    bed.lose(bed.master());
    bed.reconnect(60);
    let master = bed.master();
    let sent = bed.sent(master);
    assert_eq!(sent.iter().map(|(_, p)| p).collect::<Vec<_>>(), [&packet, &Packet::Ping {}]);
    let oids = Packet::AnswerNewOIDs { oids: vec![Oid(5)] };
    bed.answer(master, sent[0].0, oids.clone());
    bed.answer(master, sent[1].0, Packet::Pong {});
    assert_eq!(bed.result(call), Ok(Answer::Packet { from: own_nid(), packet: oids }));
    assert_eq!(bed.result(sync), Ok(Answer::Done));
}

#[test]
fn a_link_lost_during_reconciliation_is_made_again_for_those_that_wait() {
    let mut bed = Bed::new();
    let call = bed.call(Request::Connect);
    bed.accept_by_master();
    let master = bed.master();
    let msg_id = bed.expect(master, &Packet::AskLastTransaction {});
    bed.answer(master, msg_id, Packet::AnswerLastTransaction { tid: Tid(50) });
    bed.lose(master);
    bed.publish();
    bed.wait(1000);
    bed.accept_by_master();
    bed.welcome(&[&[(1, UP)]], 60);
    assert_eq!(bed.result(call), Ok(Answer::Done));
}

#[test]
fn calls_do_not_see_an_older_publication_than_that_of_their_link() {
    let mut bed = Bed::new();
    let call = bed.call(Request::Connect);
    bed.accept_by_master();
    let master = bed.master();
    let msg_id = bed.expect(master, &Packet::AskLastTransaction {});
    bed.answer(master, msg_id, Packet::AnswerLastTransaction { tid: Tid(50) });
    bed.lose(master);
    bed.wait(1000);
    bed.accept_by_master();
    bed.nodes(&[(own_nid(), NodeState::Running), (storage(1), NodeState::Running)]);
    bed.table(&[&[(1, UP)]]);
    let master = bed.master();
    let msg_id = bed.expect(master, &Packet::AskLastTransaction {});
    bed.answer(master, msg_id, Packet::AnswerLastTransaction { tid: Tid(60) });
    assert_eq!(bed.publish(), Publication::Reset { last_tid: Tid(50) });
    assert!(bed.waits(call));
    assert_eq!(bed.publish(), Publication::Reset { last_tid: Tid(60) });
    assert_eq!(bed.result(call), Ok(Answer::Done));
}

#[test]
fn a_primary_that_is_not_one_any_more_is_left() {
    let mut bed = Bed::begun(&[&[(1, UP)]]);
    let master = bed.master();
    let known_masters = vec![address(8)];
    bed.notify(master, Packet::NotPrimaryMaster { primary: Some(0), known_masters });
    assert!(bed.closed.contains(&master));
    let text = "the link to the primary master was lost during the transaction";
    assert_eq!(bed.run(vote()), Err(ClientError::Disconnected(text.into())));
}

#[test]
fn node_information_must_be_newer() {
    let mut bed = Bed::ready(&[&[(1, UP)]]);
    let timestamp = Timestamp(bed.time);
    bed.notify_master(Packet::NotifyNodeInformation { timestamp, nodes: vec![] });
    assert!(bed.closed.contains(&bed.master()));
}

#[test]
fn an_error_instead_of_the_last_tid_is_a_failed_attempt() {
    let mut bed = Bed::new();
    let call = bed.call(Request::Connect);
    bed.accept_by_master();
    let master = bed.master();
    let msg_id = bed.expect(master, &Packet::AskLastTransaction {});
    bed.answer_error(master, msg_id, ErrorCode::NotReady);
    assert!(bed.closed.contains(&master) && bed.waits(call));
    bed.reconnect(50);
    assert_eq!(bed.result(call), Ok(Answer::Done));
}
