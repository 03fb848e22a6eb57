//! Packs (spec storage.md 15, 12.6).

use neo_wire::{CellChange, OidList, PackOrder};

use super::*;
use crate::database::{CellRow, JobResult, RecordKey};

const START: RecordKey = (Oid::ZERO, Tid::ZERO);
const FEEDING: CellState = CellState::Feeding;

fn signed(approved: &[u64]) -> Packet {
    let approved = approved.iter().copied().map(Tid).collect();
    Packet::NotifyPackSigned { approved, rejected: Vec::new() }
}

fn order(tid: u64, pack_tid: u64, oids: Option<&[u64]>) -> PackOrder {
    PackOrder {
        tid: Tid(tid),
        approved: Some(true),
        partial: oids.is_some(),
        oids: oids.map(|oids| OidList::List(oids.iter().copied().map(Oid).collect())),
        pack_tid: Tid(pack_tid),
    }
}

fn objects(partition: u32, pack_tid: u64, min: RecordKey) -> WriteJob {
    let (partition, pack_tid) = (Partition(partition), Tid(pack_tid));
    WriteJob::PackObjects { partition, pack_tid, min, limit: 256 }
}

fn list(partition: u32, pack_tid: u64, oids: &[u64], min: RecordKey) -> WriteJob {
    let oids = oids.iter().copied().map(Oid).collect();
    let (partition, pack_tid) = (Partition(partition), Tid(pack_tid));
    WriteJob::PackList { partition, pack_tid, oids, min, limit: 256 }
}

fn done(partition: u32, pack: u64) -> WriteJob {
    WriteJob::SetCellPack { partition: Partition(partition), pack: Tid(pack) }
}

fn next(next: Option<RecordKey>) -> JobOutput {
    JobOutput::Packed { deleted: 1, gone: Vec::new(), next }
}

fn completed(tid: u64) -> Packet {
    Packet::NotifyPackCompleted { tid: Tid(tid) }
}

/// In operation with these cells: state, and last order completed.
fn serving(config: Config, cells: &[(CellState, u64)]) -> Bed {
    let settings =
        Configuration { nid: Some(nid(1)), ptid: Some(Ptid(1)), ..Configuration::default() };
    let rows = cells.iter().zip(0..).map(|((state, pack), partition)| CellRow {
        partition: Partition(partition),
        nid: nid(1),
        state: *state,
        tid: Tid::ZERO,
        pack: Some(Tid(*pack)),
    });
    let mut bed = Bed::on(config, &settings, rows.collect());
    bed.input(Input::Start);
    bed.accept_by_master(nid(1));
    bed.nodes(&[(nid(1), NodeState::Running)]);
    bed.tell_master(Packet::AskLastIDs {});
    let (ticket, _) = bed.reads.pop_front().unwrap();
    let ids = LastIds { last_tid: None, last_oid: None, first_tid: Tid::MAX };
    bed.input(Input::Own(Event::Answered { ticket, answer: Answer::LastIds(ids) }));
    bed.told_master();
    start(&mut bed);
    bed
}

fn start(bed: &mut Bed) {
    bed.tell_master(Packet::StartOperation { backup: false });
    bed.commit();
}

/// The only thing the master was told is this question; its identifier.
fn question(bed: &mut Bed, min_id: u64) -> u32 {
    let told = bed.answers(bed.master);
    let [(msg_id, Packet::AskPackOrders { min_id: asked })] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(*asked, Tid(min_id));
    *msg_id
}

fn answer(bed: &mut Bed, msg_id: u32, orders: Vec<PackOrder>) {
    let message = Message { msg_id: Some(msg_id), packet: Packet::AnswerPackOrders { orders } };
    bed.input(Input::Received { connection: bed.master, message });
}

/// The master gives the order that follows; what comes before is written.
fn begin(bed: &mut Bed, after: u64, order: &PackOrder) {
    let msg_id = question(bed, after + 1);
    answer(bed, msg_id, vec![order.clone()]);
    let (ticket, jobs) = bed.writes.pop_back().unwrap();
    assert_eq!(jobs, []);
    bed.commit();
    assert!(bed.writes.is_empty(), "nothing is packed before");
    bed.input(Input::Own(Event::Written { ticket, results: Vec::new() }));
}

/// The next commit has these jobs; this is the result of the last one.
fn slice(bed: &mut Bed, expected: &[WriteJob], last: JobOutput) {
    let (ticket, jobs) = bed.writes.pop_front().unwrap();
    assert_eq!(jobs, expected);
    let mut results: Vec<JobResult> = jobs.iter().map(|_| Ok(JobOutput::Done)).collect();
    *results.last_mut().unwrap() = Ok(last);
    bed.input(Input::Own(Event::Written { ticket, results }));
}

#[test]
fn cells_are_packed_one_by_one_in_slices() {
    let mut bed = serving(config(), &[(UP, 7), (FEEDING, 7), (UP, 7), (OUT, 7)]);
    assert_eq!(bed.told_master(), [Packet::NotifyReady {}]);
    bed.tell_master(signed(&[20]));
    let order = order(20, 15, None);
    begin(&mut bed, 7, &order);
    let middle = (Oid(4), Tid(3));
    slice(&mut bed, &[WriteJob::BeginPack(order), objects(0, 15, START)], next(Some(middle)));
    slice(&mut bed, &[objects(0, 15, middle)], next(None));
    slice(&mut bed, &[done(0, 20), objects(2, 15, START)], next(None));
    assert_eq!(bed.told_master(), []);
    slice(&mut bed, &[done(2, 20)], JobOutput::Done);
    // Cells that are not packed count for what is completed.
    assert_eq!(bed.told_master(), []);
    bed.assert_idle();
}

#[test]
fn what_is_completed_is_told_and_late_cells_go_first() {
    let mut bed = serving(config(), &[(UP, 20), (UP, 7)]);
    bed.told_master();
    bed.tell_master(signed(&[20, 30]));
    let first = order(20, 15, None);
    begin(&mut bed, 7, &first);
    slice(&mut bed, &[WriteJob::BeginPack(first), objects(1, 15, START)], next(None));
    slice(&mut bed, &[done(1, 20)], JobOutput::Done);
    let told = bed.answers(bed.master);
    let [(_, told), (msg_id, asked)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((told, asked), (&completed(20), &Packet::AskPackOrders { min_id: Tid(21) }));
    let second = order(30, 25, None);
    answer(&mut bed, *msg_id, vec![second.clone()]);
    bed.commit();
}

#[test]
fn a_partial_pack_passes_by_cells_without_object() {
    let mut bed = serving(config(), &[(UP, 0), (UP, 0), (UP, 0)]);
    bed.told_master();
    bed.tell_master(signed(&[20]));
    // Not sorted, in the form of storages of the Python NEO.
    let oids = vec![Oid(11), Oid(8), Oid(2), Oid(8)];
    let order = PackOrder { oids: Some(OidList::Concatenated(oids)), ..order(20, 15, Some(&[])) };
    begin(&mut bed, 0, &order);
    let oids = Some(OidList::List(vec![Oid(2), Oid(8), Oid(11)]));
    let begun = WriteJob::BeginPack(PackOrder { oids, ..order });
    let jobs = [begun, done(0, 20), done(1, 20), list(2, 15, &[2, 8, 11], START)];
    let middle = (Oid(8), Tid(3));
    slice(&mut bed, &jobs, next(Some(middle)));
    slice(&mut bed, &[list(2, 15, &[8, 11], middle)], next(None));
    slice(&mut bed, &[done(2, 20)], JobOutput::Done);
    assert_eq!(bed.told_master(), [completed(20)]);
    bed.assert_idle();
}

#[test]
fn a_long_list_is_cut() {
    let mut bed = serving(config(), &[(UP, 0)]);
    bed.told_master();
    bed.tell_master(signed(&[20]));
    let oids: Vec<u64> = (0..200).collect();
    let order = order(20, 15, Some(&oids));
    begin(&mut bed, 0, &order);
    let jobs = [WriteJob::BeginPack(order), list(0, 15, &oids[..128], START)];
    slice(&mut bed, &jobs, next(None));
    slice(&mut bed, &[list(0, 15, &oids[128..], (Oid(128), Tid(0)))], next(None));
    slice(&mut bed, &[done(0, 20)], JobOutput::Done);
    bed.assert_idle();
}

#[test]
fn a_partial_pack_of_nothing_is_completed() {
    let mut bed = serving(config(), &[(UP, 0)]);
    bed.told_master();
    bed.tell_master(signed(&[20]));
    let order = order(20, 15, Some(&[]));
    begin(&mut bed, 0, &order);
    slice(&mut bed, &[WriteJob::BeginPack(order), done(0, 20)], JobOutput::Done);
    assert_eq!(bed.told_master(), [completed(20)]);
}

fn change(bed: &mut Bed, partition: u32, state: CellState) {
    let ptid = Ptid(bed.storage.table.ptid().unwrap().0 + 1);
    let cells = vec![CellChange { partition: Partition(partition), nid: nid(1), state }];
    bed.tell_master(Packet::NotifyPartitionChanges { ptid, num_replicas: 1, cells });
}

#[test]
fn a_cell_lost_meanwhile_is_left_out() {
    for state in [OUT, CellState::Discarded, CellState::Corrupted] {
        let mut bed = serving(config(), &[(UP, 0), (UP, 0)]);
        bed.told_master();
        bed.tell_master(signed(&[20]));
        let order = order(20, 15, None);
        begin(&mut bed, 0, &order);
        let (ticket, jobs) = bed.writes.pop_front().unwrap();
        assert_eq!(jobs, [WriteJob::BeginPack(order), objects(0, 15, START)]);
        change(&mut bed, 0, state);
        let table = bed.commit();
        assert!(matches!(table[0], WriteJob::ChangeTable(_)));
        let results = vec![Ok(JobOutput::Done), Ok(next(Some((Oid(4), Tid(3)))))];
        bed.input(Input::Own(Event::Written { ticket, results }));
        slice(&mut bed, &[objects(1, 15, START)], next(None));
        slice(&mut bed, &[done(1, 20)], JobOutput::Done);
        let left_behind = state != CellState::Discarded;
        let expected = if left_behind { vec![] } else { vec![completed(20)] };
        assert_eq!(bed.told_master(), expected, "{state}");
        bed.assert_idle();
    }
}

#[test]
fn a_cell_that_is_up_to_date_again_is_packed() {
    let mut bed = serving(config(), &[(UP, 20), (OUT, 7)]);
    bed.told_master();
    bed.tell_master(signed(&[20]));
    bed.commit();
    assert_eq!(bed.told_master(), []);
    change(&mut bed, 1, UP);
    bed.commit();
    let told = bed.answers(bed.master);
    let told: Vec<_> = told.into_iter().map(|(_, packet)| packet).collect();
    assert_eq!(told, [completed(7), Packet::AskPackOrders { min_id: Tid(8) }]);
}

#[test]
fn a_disabled_pack_holds_nobody_up() {
    let config = Config { disable_pack: true, ..config() };
    let mut bed = serving(config, &[(UP, 7)]);
    bed.told_master();
    bed.tell_master(signed(&[20, 12]));
    assert_eq!(bed.told_master(), [completed(20)]);
    bed.tell_master(signed(&[12]));
    assert_eq!(bed.told_master(), []);
    assert!(bed.writes.is_empty(), "signatures are not recorded");
    // A master that starts again repeats them, and waits for the answer.
    bed.tell_master(Packet::StopOperation {});
    let rows = rows(&[&[(1, UP)], &[(1, UP)]]);
    bed.tell_master(Packet::SendPartitionTable { ptid: Some(Ptid(2)), num_replicas: 0, rows });
    let jobs = bed.commit();
    let [WriteJob::ChangeTable(change)] = &jobs[..] else { panic!("{jobs:?}") };
    assert_eq!(change.last_pack, Tid::ZERO, "nothing is known of orders yet");
    start(&mut bed);
    bed.told_master();
    bed.tell_master(signed(&[20]));
    assert_eq!(bed.told_master(), [completed(20)]);
}

#[test]
fn it_goes_on_after_an_interruption_of_operation() {
    let mut bed = serving(config(), &[(UP, 0), (UP, 0)]);
    bed.told_master();
    bed.tell_master(signed(&[20]));
    let order = order(20, 15, None);
    begin(&mut bed, 0, &order);
    slice(&mut bed, &[WriteJob::BeginPack(order.clone()), objects(0, 15, START)], next(None));
    bed.tell_master(Packet::StopOperation {});
    // What was being done is recorded, and nothing follows from it.
    slice(&mut bed, &[done(0, 20), objects(1, 15, START)], next(None));
    assert!(bed.writes.is_empty());
    bed.told_master();
    start(&mut bed);
    assert_eq!(bed.told_master(), [Packet::NotifyReady {}]);
    // The master repeats what is approved.
    bed.tell_master(signed(&[20]));
    bed.commit();
    let msg_id = question(&mut bed, 1);
    answer(&mut bed, msg_id, vec![order]);
}

#[test]
fn an_answer_for_a_former_operation_or_without_order_is_ignored() {
    let mut bed = serving(config(), &[(UP, 7)]);
    bed.told_master();
    bed.tell_master(signed(&[20]));
    bed.commit();
    let old = question(&mut bed, 8);
    bed.tell_master(Packet::StopOperation {});
    start(&mut bed);
    bed.told_master();
    bed.tell_master(signed(&[20]));
    bed.commit();
    let new = question(&mut bed, 8);
    answer(&mut bed, old, vec![order(20, 15, None)]);
    assert!(bed.writes.is_empty());
    let rejected = PackOrder { approved: Some(false), ..order(20, 15, None) };
    let impossible = PackOrder { pack_tid: Tid::INVALID, ..order(20, 15, None) };
    answer(&mut bed, new, vec![order(7, 1, None), rejected, impossible]);
    bed.assert_idle();
    assert_eq!(bed.told_master(), []);
    // Asked again when there is something new.
    bed.tell_master(signed(&[]));
    bed.commit();
    question(&mut bed, 8);
}

#[test]
fn the_error_of_a_master_stops_nothing() {
    let mut bed = serving(config(), &[(UP, 7)]);
    bed.told_master();
    bed.tell_master(signed(&[20]));
    bed.commit();
    let msg_id = question(&mut bed, 8);
    let packet = error(ErrorCode::NotReady, "later");
    let message = Message { msg_id: Some(msg_id), packet };
    bed.input(Input::Received { connection: bed.master, message });
    assert!(!bed.closed.contains(&bed.master));
    bed.assert_idle();
}

#[test]
fn a_removed_object_can_be_created_again() {
    let mut bed = serving(config(), &[(UP, 0)]);
    bed.told_master();
    let client = bed.client(1);
    bed.lock(client, Ttid(10), Oid(2));
    bed.tell(client, Packet::AbortTransaction { ttid: Ttid(10), nids: vec![] });
    bed.tell_master(signed(&[20]));
    let order = order(20, 15, None);
    begin(&mut bed, 0, &order);
    let packed = JobOutput::Packed { deleted: 1, gone: vec![Oid(2)], next: None };
    slice(&mut bed, &[WriteJob::BeginPack(order), objects(0, 15, START)], packed);
    bed.commit();
    let msg_id = bed.tell(client, store(Ttid(30), Oid(2), Tid::ZERO, b"new"));
    bed.answer_last(Oid(2), None);
    assert_eq!(bed.answers(client), [(msg_id, stored(None))]);
}

#[test]
fn the_oldest_revision_left_by_a_pack_can_not_be_undone() {
    let refused = || error(ErrorCode::OidNotFound, "0000000000000002");
    let undone = || {
        let objects = neo_wire::Map(vec![(Oid(2), (Tid(5), None, false))]);
        Packet::AnswerObjectUndoSerial { objects }
    };
    for (packed, expected) in [(3, refused()), (4, refused()), (2, undone()), (0, undone())] {
        let (mut bed, client) = Bed::simple();
        let (ttid, ltid, undone_tid) = (Ttid(10), Tid(9), Tid(3));
        let oids = vec![Oid(2)];
        bed.tell(client, Packet::AskObjectUndoSerial { ttid, ltid, undone_tid, oids });
        let revisions = vec![(Tid(3), None), (Tid(5), None)];
        bed.answer(&Query::Revisions(Oid(2)), Answer::Revisions(revisions));
        bed.answer(&Query::PackTid(Oid(2)), Answer::PackTid(Tid(packed)));
        assert_eq!(bed.sent(client), [expected]);
    }
}
