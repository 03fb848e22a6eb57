//! Changes of the partition table in operation (spec storage.md 9.4, 11.9).

use neo_wire::CellChange;

use super::*;

/// Partition 0 and 1 here, with replicas on S2.
fn replicated() -> (Bed, ConnectionId) {
    let mut bed = Bed::serving(&[&[(1, UP), (2, UP)], &[(1, UP), (2, UP)]]);
    let client = bed.client(1);
    (bed, client)
}

fn change(bed: &mut Bed, changes: &[(u32, CellState)]) {
    let cells = changes
        .iter()
        .map(|(number, state)| CellChange {
            partition: Partition(*number),
            nid: nid(1),
            state: *state,
        })
        .collect();
    let ptid = Ptid(bed.storage.table.ptid().unwrap().0 + 1);
    bed.tell_master(Packet::NotifyPartitionChanges { ptid, num_replicas: 1, cells });
}

#[test]
fn a_discarded_cell_takes_its_objects_out_of_transactions() {
    for state in [CellState::Discarded, CellState::Corrupted] {
        let (mut bed, client) = replicated();
        let waits = bed.client(2);
        bed.lock(client, Ttid(10), Oid(2));
        bed.lock(client, Ttid(10), Oid(3));
        let msg_id = bed.tell(waits, store(Ttid(20), Oid(3), Tid(5), b"x"));
        change(&mut bed, &[(1, state)]);
        assert_eq!(bed.answers(waits), [(msg_id, stored(Some(Tid::ZERO)))]);
        let jobs = bed.commit();
        let discard = WriteJob::DiscardUnfinished(vec![Partition(1)]);
        assert!(matches!(&jobs[..], [WriteJob::ChangeTable(_), last] if *last == discard));
        let transaction = &bed.storage.transactions[&Ttid(10)];
        assert_eq!(transaction.stores.keys().collect::<Vec<_>>(), [&Oid(2)]);
        assert_eq!(bed.storage.write_locks.keys().collect::<Vec<_>>(), [&Oid(2)]);
        bed.vote_and_lock(client, Ttid(10), Tid(12));
        bed.tell_master(Packet::NotifyUnlockInformation { ttid: Ttid(10) });
        bed.commit();
        bed.lose(waits);
        bed.assert_idle();
        // It is told once.
        change(&mut bed, &[]);
        assert_eq!(bed.commit().len(), 1);
    }
}

#[test]
fn reads_that_wait_are_told_that_the_cell_is_gone() {
    let (mut bed, client) = replicated();
    bed.lock(client, Ttid(10), Oid(3));
    bed.vote_and_lock(client, Ttid(10), Tid(12));
    let msg_id = bed.tell(client, load(Oid(3)));
    change(&mut bed, &[(1, CellState::Discarded)]);
    assert_eq!(bed.answers(client), [(msg_id, error(ErrorCode::NonReadableCell, ""))]);
    assert!(bed.storage.read_locks.is_empty());
    bed.commit();
    bed.tell_master(Packet::NotifyUnlockInformation { ttid: Ttid(10) });
    bed.commit();
    bed.assert_idle();
}

#[test]
fn a_look_up_of_a_discarded_cell_decides_nothing() {
    let (mut bed, client) = replicated();
    let msg_id = bed.tell(client, store(Ttid(10), Oid(3), Tid(5), b"x"));
    change(&mut bed, &[(1, CellState::Discarded)]);
    bed.answer_last(Oid(3), Some(Tid(5)));
    assert_eq!(bed.answers(client), [(msg_id, stored(Some(Tid::ZERO)))]);
    assert!(bed.storage.transactions[&Ttid(10)].stores.is_empty());
}

#[test]
fn a_voted_transaction_that_has_nothing_left_here_is_forgotten() {
    let (mut bed, client) = replicated();
    bed.lock(client, Ttid(10), Oid(3));
    bed.tell(client, Packet::AskVoteTransaction { ttid: Ttid(10) });
    bed.commit();
    bed.sent(client);
    bed.lock(client, Ttid(12), Oid(5));
    change(&mut bed, &[(1, CellState::Discarded)]);
    bed.commit();
    // The metadata of TTID 10 would be here: the master may still ask to lock it.
    let left: Vec<Ttid> = bed.storage.transactions.keys().copied().collect();
    assert_eq!(left, [Ttid(10), Ttid(12)]);
    change(&mut bed, &[(0, CellState::Discarded)]);
    bed.commit();
    // What is not voted can still be: its client would think that this node failed.
    let left: Vec<Ttid> = bed.storage.transactions.keys().copied().collect();
    assert_eq!(left, [Ttid(12)]);
    let msg_id = bed.tell(client, Packet::AskVoteTransaction { ttid: Ttid(12) });
    bed.commit();
    assert!(bed.answers(client).contains(&(msg_id, Packet::AnswerVoteTransaction {})));
}

#[test]
fn a_cell_that_becomes_out_of_date_is_written_without_lock() {
    let (mut bed, client) = replicated();
    bed.lock(client, Ttid(10), Oid(3));
    bed.tell(client, Packet::AbortTransaction { ttid: Ttid(10), nids: vec![] });
    change(&mut bed, &[(1, OUT)]);
    let packet = store(Ttid(20), Oid(3), Tid(5), b"x");
    assert_eq!(bed.ask(client, packet), [stored(Some(Tid::ZERO))]);
    // What was known of its objects is not true any more once it is readable again.
    change(&mut bed, &[(1, UP)]);
    bed.tell(client, Packet::AbortTransaction { ttid: Ttid(20), nids: vec![] });
    bed.tell(client, store(Ttid(30), Oid(3), Tid(5), b"x"));
    assert_eq!(bed.reads.len(), 1);
}

#[test]
fn the_database_tells_up_to_where_own_cells_are_complete() {
    let (mut bed, _) = replicated();
    change(&mut bed, &[(1, OUT)]);
    let (ticket, _) = bed.writes.pop_front().unwrap();
    let row = |number, state, tid| CellRow {
        partition: Partition(number),
        nid: nid(1),
        state,
        tid,
        pack: Some(Tid::ZERO),
    };
    let rows = vec![row(0, UP, Tid::ZERO), row(1, OUT, Tid(40))];
    let results = vec![Ok(JobOutput::OwnCells(rows.clone()))];
    bed.input(Input::Own(Event::Written { ticket, results }));
    let own: Vec<CellRow> = bed.storage.own.values().copied().collect();
    assert_eq!(own, rows);
}

#[test]
fn changes_of_partitions_that_do_not_exist_are_refused() {
    let (mut bed, _) = replicated();
    change(&mut bed, &[(2, UP)]);
    assert!(bed.closed.contains(&bed.master));
    assert!(bed.commit().is_empty());
}

#[test]
fn a_change_that_makes_no_sense_is_refused_with_the_reason() {
    for (ptid, partition, text) in
        [(3, 0, "wrong partition table id"), (2, 7, "partition 7 does not exist: there are 1")]
    {
        let mut bed = Bed::serving(&[&[(1, UP)]]);
        let cells = vec![CellChange { partition: Partition(partition), nid: nid(1), state: UP }];
        let packet = Packet::NotifyPartitionChanges { ptid: Ptid(ptid), num_replicas: 0, cells };
        bed.tell_master(packet);
        assert_eq!(bed.told_master(), [error(ErrorCode::ProtocolError, text)]);
        assert!(bed.closed.contains(&bed.master));
    }
}
