//! What is refused before anything is sent, how long one waits, and what is kept in order.

use neo_wire::PackRequest;

use super::*;
use crate::client::limits::MAX_OBJECTS;

fn begin() -> Request {
    Request::Begin { transaction: T, tid: None }
}

fn refused(result: Result<Answer, ClientError>) -> String {
    match result {
        Err(ClientError::Storage(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn objects_that_no_cluster_can_store() {
    let mut bed = Bed::begun(&[&[(1, UP)]]);
    let limit = (64 << 20) - (64 << 10);
    let big = |length: usize| {
        let record = Bytes::from(vec![0; length]);
        let stored = StoredData { compression: 0, checksum: Digest::ZERO, data: record.clone() };
        Content::Data { stored, record: Bytes::new() }
    };
    let text = refused(bed.run(write(1, 0, big(limit + 1))));
    assert!(text.contains("67043329 bytes, 67043328 at most"), "{text}");
    for content in [data(b"x"), Content::Deleted, Content::Checked] {
        let text = refused(bed.run(write(1 << 63, 0, content)));
        assert!(text.contains("the last one is 7fffffffffffffff"), "{text}");
    }
    // The transaction does not suffer from that, and the limits are included.
    bed.write_to(&[1], write(i64::MAX.cast_unsigned(), 0, big(limit)));
}

#[test]
fn too_many_objects() {
    let mut bed = Bed::ready(&[&[(1, UP)]]);
    assert_eq!(bed.run(begin()), Ok(Answer::Done));
    let transaction = bed.client.transactions.get_mut(&T).unwrap();
    for oid in 0..MAX_OBJECTS as u64 {
        let content = Content::Deleted;
        transaction.add(Write { oid: Oid(oid), base: Tid::ZERO, content, data_serial: None });
    }
    let text = refused(bed.run(write(MAX_OBJECTS as u64, 0, data(b"x"))));
    assert!(text.contains("2097151 at most"), "{text}");
    // One that is there can be stored again.
    assert_eq!(bed.run(write(7, 0, data(b"x"))), Ok(Answer::Done));
    let pack = |count: usize| {
        let pack = PackRequest { oids: Some(vec![Oid(1); count]), pack_tid: Tid(1) };
        Request::Pack { transaction: T, pack }
    };
    refused(bed.run(pack(MAX_OBJECTS + 1)));
    assert_eq!(bed.run(pack(MAX_OBJECTS)), Ok(Answer::Done));
}

#[test]
fn metadata_that_is_too_long() {
    for field in 0..3 {
        let mut bed = Bed::begun(&[&[(1, UP)]]);
        bed.stored_on_s1();
        let metadata = |length: usize| {
            let mut fields = [Bytes::new(), Bytes::new(), Bytes::new()];
            fields[field] = Bytes::from(vec![b'x'; length]);
            let [user, description, extension] = fields;
            let metadata = Metadata { user, description, extension };
            Request::Vote { transaction: T, metadata }
        };
        let text = refused(bed.run(metadata(65_536)));
        let name = ["user", "description", "extension"][field];
        assert!(text.contains(name) && text.contains("65535 at most"), "{text}");
        assert!(bed.sent(bed.storage(1)).is_empty());
        let call = bed.call(metadata(65_535));
        assert!(bed.waits(call));
        assert_eq!(bed.sent(bed.storage(1)).len(), 1);
    }
}

#[test]
fn a_begin_that_was_lost_is_asked_again() {
    let mut bed = Bed::ready(&[&[(1, UP)]]);
    assert_eq!(bed.run(begin()), Ok(Answer::Done));
    bed.lose(bed.master());
    assert_eq!(bed.run(write(0, 50, data(b"x"))), Ok(Answer::Done));
    bed.reconnect(60);
    let msg_id = bed.expect(bed.master(), &Packet::AskBeginTransaction { tid: None });
    bed.answer(bed.master(), msg_id, Packet::AnswerBeginTransaction { ttid: TTID });
    bed.accept_by(1);
    bed.expect(bed.storage(1), &store(0, 50, b"x"));
}

#[test]
fn a_begin_survives_links_that_are_lost_before_they_are_ready() {
    let mut bed = Bed::ready(&[&[(1, UP)]]);
    assert_eq!(bed.run(begin()), Ok(Answer::Done));
    let first = bed.master();
    bed.lose(first);
    bed.wait(1000);
    bed.accept_by_master();
    let second = bed.master();
    assert_ne!(second, first);
    bed.lose(second);
    bed.reconnect(60);
    assert_ne!(bed.master(), second);
    bed.expect(bed.master(), &Packet::AskBeginTransaction { tid: None });
}

#[test]
fn how_long_one_waits_for_a_primary() {
    let mut bed = Bed::ready(&[&[(1, UP)]]);
    bed.client.set_wait_timeout(Some(3000));
    assert_eq!(bed.run(begin()), Ok(Answer::Done));
    bed.lose(bed.master());
    let connect = bed.call(Request::Connect);
    bed.wait(2999);
    let ttid = bed.call(Request::Ttid { transaction: T });
    assert!(bed.waits(connect));
    bed.timers.insert(WAIT_TIMER, 1);
    bed.wait(1);
    let error = Err(ClientError::MasterLost("no primary master after 3 s".into()));
    assert_eq!(bed.result(connect), error);
    assert_eq!(bed.result(ttid), error);
    // The next one waits as long again.
    let connect = bed.call(Request::Connect);
    bed.wait(2999);
    assert!(bed.waits(connect));
}

#[test]
fn objects_are_listed_in_the_order_they_were_written() {
    let mut bed = Bed::begun(&[&[(1, UP)]]);
    let first = bed.write_to(&[1], write(5, 0, data(b"5")))[0];
    let second = bed.write_to(&[1], write(3, 0, data(b"3")))[0];
    let third = bed.write_to(&[1], write(4, 0, data(b"4")))[0];
    let again = bed.write_to(&[1], write(5, 0, data(b"five")))[0];
    for msg_id in [third, second, first, again] {
        bed.answer(bed.storage(1), msg_id, stored(None));
    }
    bed.call(vote());
    let sent = bed.sent(bed.storage(1));
    let [(_, Packet::AskStoreTransaction { oids, .. })] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!(oids[..], [Oid(3), Oid(4), Oid(5)]);
}

#[test]
fn what_was_stored_is_known() {
    let mut bed = Bed::begun(&[&[(1, UP)]]);
    let known = |bed: &mut Bed, oid| bed.run(Request::Stored { transaction: T, oid: Oid(oid) });
    let msg_ids = bed.write_to(&[1], write(1, 0, data(b"x")));
    let stored_x = Ok(Answer::Stored(Stored::Data(Bytes::from_static(b"x"))));
    assert_eq!(known(&mut bed, 1), stored_x);
    bed.answer(bed.storage(1), msg_ids[0], stored(None));
    assert_eq!(known(&mut bed, 1), stored_x);
    assert_eq!(known(&mut bed, 2), Ok(Answer::Stored(Stored::Nothing)));
    bed.write_to(&[1], write(2, 0, Content::Deleted));
    assert_eq!(known(&mut bed, 2), Ok(Answer::Stored(Stored::Nothing)));
    // Beyond what is kept of a transaction, storages know.
    for oid in [3, 4] {
        let msg_ids = bed.write_to(&[1], write(oid, 0, data(&[0; 600])));
        bed.answer(bed.storage(1), msg_ids[0], stored(None));
    }
    assert_eq!(known(&mut bed, 4), Ok(Answer::Stored(Stored::Dropped)));
    assert_eq!(known(&mut bed, 1), stored_x);
}
