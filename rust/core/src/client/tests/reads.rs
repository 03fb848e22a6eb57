//! Reads: cells, retries, failures (spec client.md 3.6, 5.1, 5.2).

use super::*;

fn read() -> Request {
    let packet = Packet::AskObject { oid: Oid(0), at: None, before: None };
    Request::Read { key: 0, packet, except: vec![] }
}

fn found() -> Packet {
    Packet::AnswerObject {
        oid: Oid(0),
        serial: Tid(1),
        next_serial: None,
        compression: Some(0),
        checksum: Digest::of(b"x"),
        data: "x".into(),
        data_serial: None,
    }
}

/// The storage that was chosen, the only one to which something was sent.
fn chosen(bed: &mut Bed) -> (u16, u32) {
    for number in [1, 2] {
        let links = bed.opened.iter().filter(|(_, to)| to.port == 100 + number);
        for connection in links.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some((msg_id, packet)) = bed.sent(connection).pop() {
                assert!(matches!(packet, Packet::AskObject { .. }), "{packet:?}");
                return (number, msg_id);
            }
        }
    }
    panic!("nothing was asked");
}

/// Both storages were reached once.
fn two() -> Bed {
    let mut bed = Bed::begun(&[&[(1, UP), (2, UP)]]);
    bed.write_to(&[1, 2], write(0, 50, data(b"x")));
    bed.input(Input::Own(Event::Abort { transaction: T }));
    for number in [1, 2] {
        bed.sent(bed.storage(number));
    }
    bed.sent(bed.master());
    bed
}

#[test]
fn a_read_connects_to_the_storage_then_asks() {
    let mut bed = Bed::ready(&[&[(1, UP)]]);
    let call = bed.call(read());
    bed.accept_by(1);
    let (_, msg_id) = chosen(&mut bed);
    let link = bed.storage(1);
    bed.answer(link, msg_id, found());
    let answer = Answer::Packet { from: storage(1), packet: found() };
    assert_eq!(bed.result(call), Ok(answer));
    // The link stays.
    bed.call(read());
    assert_eq!(bed.opened.len(), 2);
    chosen(&mut bed);
}

#[test]
fn replicas_share_the_reads() {
    let mut bed = two();
    let mut count = [0; 3];
    for _ in 0..100 {
        let call = bed.call(read());
        let (number, msg_id) = chosen(&mut bed);
        count[usize::from(number)] += 1;
        bed.answer(bed.storage(number), msg_id, found());
        assert!(bed.result(call).is_ok());
    }
    assert!(count[1] > 20 && count[2] > 20, "{count:?}");
}

#[test]
fn another_cell_is_asked_if_one_fails() {
    for lost in [true, false] {
        let mut bed = two();
        let call = bed.call(read());
        let (first, msg_id) = chosen(&mut bed);
        if lost {
            bed.lose(bed.storage(first));
        } else {
            bed.answer_error(bed.storage(first), msg_id, ErrorCode::NonReadableCell);
        }
        let (second, msg_id) = chosen(&mut bed);
        assert_ne!(first, second);
        bed.answer(bed.storage(second), msg_id, found());
        assert!(bed.result(call).is_ok());
    }
}

#[test]
fn a_storage_that_failed_is_avoided_while_there_is_a_choice() {
    let mut bed = two();
    bed.lose(bed.storage(1));
    for _ in 0..20 {
        let call = bed.call(read());
        let (number, msg_id) = chosen(&mut bed);
        assert_eq!(number, 2);
        bed.answer(bed.storage(2), msg_id, found());
        assert!(bed.result(call).is_ok());
    }
    // After ten minutes it is forgiven.
    bed.wait(600_001);
    let mut again = 0;
    for _ in 0..20 {
        bed.call(read());
        again += u32::from(bed.opened.len() > 3);
    }
    assert!(again > 0);
}

#[test]
fn errors_are_returned() {
    for (code, error) in [
        (ErrorCode::OidNotFound, ClientError::NotFound("because".into())),
        (ErrorCode::TidNotFound, ClientError::NotFound("because".into())),
        (ErrorCode::OidDoesNotExist, ClientError::DoesNotExist("because".into())),
        (ErrorCode::BackendNotImplemented, ClientError::NotImplemented("because".into())),
    ] {
        let mut bed = two();
        let call = bed.call(read());
        let (number, msg_id) = chosen(&mut bed);
        bed.answer_error(bed.storage(number), msg_id, code);
        assert_eq!(bed.result(call), Err(error));
    }
}

#[test]
fn cells_that_can_not_be_read_are_asked_again_after_a_word_with_the_master() {
    let mut bed = two();
    let call = bed.call(read());
    for _ in 0..2 {
        let (number, msg_id) = chosen(&mut bed);
        bed.answer_error(bed.storage(number), msg_id, ErrorCode::NonReadableCell);
    }
    let master = bed.master();
    let msg_id = bed.expect(master, &Packet::Ping {});
    // It says that only S2 has the partition.
    let cells = vec![neo_wire::CellChange {
        partition: neo_wire::Partition(0),
        nid: storage(1),
        state: CellState::Discarded,
    }];
    bed.notify_master(Packet::NotifyPartitionChanges { ptid: Ptid(2), num_replicas: 0, cells });
    bed.answer(master, msg_id, Packet::Pong {});
    let (number, msg_id) = chosen(&mut bed);
    assert_eq!(number, 2);
    bed.answer(bed.storage(2), msg_id, found());
    assert!(bed.result(call).is_ok());
}

#[test]
fn when_all_storages_fail_again_and_again_the_read_fails() {
    let mut bed = Bed::ready(&[&[(1, UP)]]);
    let call = bed.call(read());
    bed.lose(bed.storage(1));
    let master = bed.master();
    let msg_id = bed.expect(master, &Packet::Ping {});
    bed.answer(master, msg_id, Packet::Pong {});
    bed.wait(1000);
    bed.lose(bed.storage(1));
    let text = "no storage available";
    assert_eq!(bed.result(call), Err(ClientError::Disconnected(text.into())));
}

#[test]
fn a_storage_that_refuses_us_is_like_one_that_failed() {
    for code in [ErrorCode::NotReady, ErrorCode::ProtocolError] {
        let mut bed = Bed::ready(&[&[(1, UP), (2, UP)]]);
        let call = bed.call(read());
        let (refuses, to) = bed.opened[1].clone();
        bed.input(Input::Connected { connection: refuses });
        bed.sent(refuses);
        bed.answer_error(refuses, 0, code);
        assert!(bed.closed.contains(&refuses));
        let other = if to.port == 101 { 2 } else { 1 };
        bed.accept_by(other);
        let (number, msg_id) = chosen(&mut bed);
        bed.answer(bed.storage(number), msg_id, found());
        assert!(bed.result(call).is_ok());
    }
}

#[test]
fn who_is_not_the_expected_storage_is_left() {
    let accept = |node_type, nid, your_nid| Packet::AcceptIdentification {
        node_type,
        nid: Some(nid),
        your_nid: Some(your_nid),
    };
    for answer in [
        accept(NodeType::Storage, storage(2), own_nid()),
        accept(NodeType::Master, storage(1), own_nid()),
        accept(NodeType::Storage, storage(1), NodeId::new(NodeType::Client, 9)),
    ] {
        let mut bed = Bed::ready(&[&[(1, UP)]]);
        bed.call(read());
        let link = bed.storage(1);
        bed.input(Input::Connected { connection: link });
        bed.sent(link);
        bed.answer(link, 0, answer);
        assert!(bed.closed.contains(&link));
    }
}

#[test]
fn a_node_that_is_not_running_is_left() {
    let mut bed = two();
    let call = bed.call(read());
    let (first, _) = chosen(&mut bed);
    bed.nodes(&[(storage(first.into()), NodeState::Down)]);
    assert!(bed.closed.contains(&bed.storage(first)));
    let (second, msg_id) = chosen(&mut bed);
    bed.answer(bed.storage(second), msg_id, found());
    assert!(bed.result(call).is_ok());
}

#[test]
fn without_master_a_read_that_loses_its_storage_says_so() {
    let mut bed = two();
    let call = bed.call(read());
    let (number, _) = chosen(&mut bed);
    bed.lose(bed.master());
    assert!(bed.waits(call), "the storage may still answer");
    bed.lose(bed.storage(number));
    let text = "the primary master was lost";
    assert_eq!(bed.result(call), Err(ClientError::MasterLost(text.into())));
}

#[test]
fn without_master_a_storage_may_still_answer() {
    let mut bed = two();
    let call = bed.call(read());
    let (number, msg_id) = chosen(&mut bed);
    bed.lose(bed.master());
    bed.answer(bed.storage(number), msg_id, found());
    assert!(bed.result(call).is_ok());
}

#[test]
fn links_made_under_another_identity_are_not_used_again() {
    let mut bed = two();
    bed.call(read());
    let (number, _) = chosen(&mut bed);
    let old = bed.storage(number);
    bed.lose(bed.master());
    assert!(!bed.closed.contains(&old));
    bed.call(Request::Sync);
    bed.wait(1000);
    bed.accept_by_master();
    assert!(bed.closed.contains(&old));
}

#[test]
fn a_read_waits_for_the_master() {
    let mut bed = Bed::new();
    let call = bed.call(read());
    bed.accept_by_master();
    bed.welcome(&[&[(1, UP)]], 50);
    bed.accept_by(1);
    let (number, msg_id) = chosen(&mut bed);
    bed.answer(bed.storage(number), msg_id, found());
    assert!(bed.result(call).is_ok());
}

#[test]
fn cells_that_gave_wrong_data_are_left_out() {
    let mut bed = two();
    let Request::Read { key, packet, .. } = read() else { unreachable!() };
    let except = vec![storage(1)];
    let call = bed.call(Request::Read { key, packet: packet.clone(), except });
    let (number, msg_id) = chosen(&mut bed);
    assert_eq!(number, 2);
    bed.answer(bed.storage(2), msg_id, found());
    assert!(bed.result(call).is_ok());
    let except = vec![storage(1), storage(2)];
    let result = bed.run(Request::Read { key, packet, except });
    assert_eq!(result, Err(ClientError::Disconnected("no storage available".into())));
}

#[test]
fn nodes_that_missed_something_of_a_transaction_are_not_asked_for_it() {
    let Request::Read { key, packet, .. } = read() else { unreachable!() };
    let request = || Request::TransactionRead { transaction: T, key, packet: packet.clone() };
    let mut bed = Bed::begun(&[&[(1, UP), (2, UP)]]);
    bed.write_to(&[1, 2], write(0, 50, data(b"x")));
    bed.lose(bed.storage(1));
    for _ in 0..10 {
        let call = bed.call(request());
        let (number, msg_id) = chosen(&mut bed);
        assert_eq!(number, 2);
        bed.answer(bed.storage(2), msg_id, found());
        assert!(bed.result(call).is_ok());
    }
    // A cell that is not readable is asked again once the master has told what it knows.
    let call = bed.call(request());
    let (_, msg_id) = chosen(&mut bed);
    bed.answer_error(bed.storage(2), msg_id, ErrorCode::NonReadableCell);
    let master = bed.master();
    let msg_id = bed.expect(master, &Packet::Ping {});
    bed.answer(master, msg_id, Packet::Pong {});
    let (number, msg_id) = chosen(&mut bed);
    assert_eq!(number, 2);
    bed.answer(bed.storage(2), msg_id, found());
    assert!(bed.result(call).is_ok());
    // The last one is lost while it is asked: it can not be asked again.
    let call = bed.call(request());
    bed.lose(bed.storage(2));
    while bed.waits(call) {
        let msg_id = bed.expect(master, &Packet::Ping {});
        bed.answer(master, msg_id, Packet::Pong {});
    }
    let error = ClientError::Disconnected("no storage available".into());
    assert_eq!(bed.result(call), Err(error.clone()));
    assert_eq!(bed.run(request()), Err(error));
    bed.input(Input::Own(Event::Abort { transaction: T }));
    assert_eq!(bed.run(request()), Err(ClientError::UnknownTransaction));
}

#[test]
fn a_cancelled_read_is_forgotten() {
    let mut bed = two();
    let call = bed.call(read());
    let (number, msg_id) = chosen(&mut bed);
    bed.input(Input::Own(Event::Cancel { call }));
    bed.answer(bed.storage(number), msg_id, found());
    assert!(bed.waits(call) && bed.client.reads.is_empty());
}
