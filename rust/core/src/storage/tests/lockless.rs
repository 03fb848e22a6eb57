//! Cells that are being replicated (spec storage.md 11.2, 11.8). Replication itself is not here:
//! the tests say that a cell is caught up.

use super::*;

const OID: Oid = Oid(3);

/// S1 replicates partition 1.
fn replicating() -> (Bed, ConnectionId, ConnectionId) {
    let mut bed = Bed::serving(&[&[(1, UP)], &[(1, OUT), (2, UP)]]);
    let (first, second) = (bed.client(1), bed.client(2));
    (bed, first, second)
}

fn caught_up(bed: &mut Bed, tid: Tid) {
    bed.storage.replicating.remove(&Partition(1));
    bed.storage.replicated.insert(Partition(1), Some(tid));
    let now = bed.now;
    let mut out = Vec::new();
    bed.storage.notify_replicated(&mut Context { now, out: &mut out });
    for output in out {
        match output {
            Output::Send { connection, msg_id, packet } => {
                bed.sent.entry(connection).or_default().push((msg_id, packet));
            }
            Output::Own(Effect::Read { ticket, query }) => bed.reads.push_back((ticket, query)),
            other => panic!("{other:?}"),
        }
    }
}

fn lockless(bed: &mut Bed, client: ConnectionId, ttid: Ttid, oid: Oid) {
    let packet = store(ttid, oid, Tid(5), b"data");
    assert_eq!(bed.ask(client, packet), [stored(Some(Tid::ZERO))]);
}

fn done(tid: Tid) -> Packet {
    Packet::NotifyReplicationDone { partition: Partition(1), tid }
}

fn abort(ttid: Ttid) -> Packet {
    Packet::AbortTransaction { ttid, nids: vec![] }
}

#[test]
fn everything_is_accepted_without_lock_and_stored() {
    let (mut bed, first, second) = replicating();
    lockless(&mut bed, first, Ttid(10), OID);
    lockless(&mut bed, second, Ttid(20), OID);
    assert!(bed.reads.is_empty() && bed.storage.write_locks.is_empty());
    bed.tell(first, metadata(Ttid(10), &[OID]));
    let jobs = bed.commit();
    assert!(matches!(&jobs[..], [WriteJob::Vote(vote)] if vote.objects.len() == 1));
}

#[test]
fn an_undo_is_stored_with_its_data() {
    let (mut bed, first, _) = replicating();
    let mut packet = store(Ttid(10), OID, Tid(5), b"data");
    if let Packet::AskStoreObject { data_serial, .. } = &mut packet {
        *data_serial = Some(Tid(3));
    }
    assert_eq!(bed.ask(first, packet), [stored(Some(Tid::ZERO))]);
    assert!(bed.reads.is_empty(), "its target may not be here yet");
    bed.tell(first, metadata(Ttid(10), &[OID]));
    let jobs = bed.commit();
    let [WriteJob::Vote(vote)] = &jobs[..] else { panic!("{jobs:?}") };
    assert_eq!(vote.objects[0].value_tid, Some(Tid(3)));
    assert!(!vote.objects[0].value_required);
}

#[test]
fn without_writes_a_cell_is_announced_at_once() {
    let (mut bed, _, _) = replicating();
    caught_up(&mut bed, Tid(50));
    assert_eq!(bed.told_master(), [done(Tid(50))]);
    caught_up(&mut bed, Tid(50));
    bed.told_master();
}

#[test]
fn one_write_without_lock_becomes_a_lock() {
    let (mut bed, first, second) = replicating();
    lockless(&mut bed, first, Ttid(10), OID);
    caught_up(&mut bed, Tid(50));
    assert_eq!(bed.told_master(), [done(Tid(50))]);
    bed.answer_last(OID, Some(Tid(5)));
    assert_eq!(bed.storage.write_locks.get(&OID), Some(&Ttid(10)));
    assert!(bed.storage.transactions[&Ttid(10)].lockless.is_empty());
    assert_eq!(bed.ask(second, store(Ttid(20), OID, Tid(5), b"x")), [], "it waits");
    assert_eq!(bed.sent(first), []);
}

#[test]
fn a_write_on_an_old_base_is_forgotten_without_a_word() {
    let (mut bed, first, _) = replicating();
    lockless(&mut bed, first, Ttid(10), OID);
    caught_up(&mut bed, Tid(50));
    bed.answer_last(OID, Some(Tid(7)));
    assert_eq!(bed.sent(first), []);
    assert!(bed.storage.write_locks.is_empty());
    let transaction = &bed.storage.transactions[&Ttid(10)];
    assert!(transaction.stores.is_empty() && transaction.serials.is_empty());
    // The client was told by another cell: now it gets a regular answer.
    assert_eq!(bed.ask(first, store(Ttid(10), OID, Tid(6), b"x")), [stored(Some(Tid(7)))]);
    assert_eq!(bed.ask(first, store(Ttid(10), OID, Tid(7), b"x")), [stored(None)]);
}

#[test]
fn several_writes_of_one_object_delay_the_announcement() {
    let (mut bed, first, second) = replicating();
    for ttid in [10, 20, 30] {
        let client = if ttid == 20 { second } else { first };
        lockless(&mut bed, client, Ttid(ttid), OID);
    }
    caught_up(&mut bed, Tid(50));
    assert_eq!(bed.told_master(), []);
    assert_eq!(bed.storage.write_locks.get(&OID), Some(&Ttid(30)), "the highest one has the lock");
    // New transactions wait; those that wrote without lock pass.
    assert_eq!(bed.ask(first, store(Ttid(40), OID, Tid(5), b"x")), []);
    lockless(&mut bed, second, Ttid(20), OID);
    lockless(&mut bed, first, Ttid(30), OID);
    lockless(&mut bed, second, Ttid(25), OID);

    bed.tell(first, abort(Ttid(30)));
    assert_eq!(bed.told_master(), []);
    assert_eq!(bed.storage.write_locks.get(&OID), Some(&Ttid(25)));
    bed.tell(second, abort(Ttid(25)));
    bed.tell(first, abort(Ttid(10)));
    assert_eq!(bed.told_master(), [done(Tid(50))]);
    bed.answer_last(OID, Some(Tid(5)));
    assert_eq!(bed.storage.write_locks.get(&OID), Some(&Ttid(20)));
}

#[test]
fn objects_of_one_writer_each_do_not_delay() {
    let (mut bed, first, second) = replicating();
    lockless(&mut bed, first, Ttid(10), Oid(1));
    lockless(&mut bed, second, Ttid(20), Oid(3));
    caught_up(&mut bed, Tid(50));
    assert_eq!(bed.told_master(), [done(Tid(50))]);
    bed.answer_last(Oid(1), Some(Tid(5)));
    bed.answer_last(Oid(3), None);
    assert_eq!(bed.storage.write_locks.len(), 2);
}

#[test]
fn a_cell_that_is_caught_up_is_not_read_before_the_master_says_so() {
    let (mut bed, first, _) = replicating();
    caught_up(&mut bed, Tid(50));
    assert_eq!(bed.ask(first, load(OID)), [error(ErrorCode::NonReadableCell, "")]);
    let cells = vec![neo_wire::CellChange { partition: Partition(1), nid: nid(1), state: UP }];
    bed.tell_master(Packet::NotifyPartitionChanges { ptid: Ptid(2), num_replicas: 0, cells });
    assert!(bed.storage.replicated.is_empty());
    assert_eq!(bed.ask(first, load(OID)), []);
    assert_eq!(bed.reads.len(), 1);
}

#[test]
fn what_is_committed_in_a_cell_being_replicated_is_not_taken_for_its_last_revision() {
    let (mut bed, first, second) = replicating();
    lockless(&mut bed, first, Ttid(10), OID);
    bed.vote_and_lock(first, Ttid(10), Tid(11));
    bed.tell_master(Packet::NotifyUnlockInformation { ttid: Ttid(10) });
    bed.commit();
    // Replication brings a later one.
    caught_up(&mut bed, Tid(50));
    let msg_id = bed.tell(second, store(Ttid(20), OID, Tid(11), b"x"));
    bed.answer_last(OID, Some(Tid(40)));
    assert_eq!(bed.answers(second), [(msg_id, stored(Some(Tid(40))))]);
}
