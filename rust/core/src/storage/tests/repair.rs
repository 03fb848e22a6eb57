//! Data that no object refers to (spec storage.md 16.2).

use super::*;
use crate::database::DataId;

fn repair(dry_run: bool) -> Packet {
    Packet::NotifyRepair { dry_run }
}

fn slice(min: u64, dry_run: bool) -> WriteJob {
    WriteJob::PruneOrphans { min: DataId(min), limit: 256, dry_run }
}

/// The only thing that is being written is this slice; what it finds.
fn pruned(bed: &mut Bed, expected: &WriteJob, orphans: u64, next: Option<u64>) {
    let (ticket, jobs) = bed.writes.pop_front().unwrap();
    assert_eq!(jobs, std::slice::from_ref(expected));
    assert!(bed.writes.is_empty());
    let results = vec![Ok(JobOutput::Pruned { orphans, next: next.map(DataId) })];
    bed.input(Input::Own(Event::Written { ticket, results }));
}

#[test]
fn orphans_are_looked_for_slice_by_slice() {
    for dry_run in [true, false] {
        let (mut bed, _) = Bed::simple();
        bed.tell_master(repair(dry_run));
        pruned(&mut bed, &slice(0, dry_run), 2, Some(300));
        pruned(&mut bed, &slice(300, dry_run), 1, None);
        assert!(bed.writes.is_empty());
        bed.assert_idle();
        assert_eq!(bed.told_master(), [], "nothing is answered");
    }
}

#[test]
fn one_at_a_time() {
    let (mut bed, _) = Bed::simple();
    bed.tell_master(repair(true));
    bed.tell_master(repair(false));
    pruned(&mut bed, &slice(0, true), 2, None);
    bed.assert_idle();
    bed.tell_master(repair(false));
    pruned(&mut bed, &slice(0, false), 2, None);
    bed.assert_idle();
}

#[test]
fn it_does_not_hold_up_a_master_that_starts_again() {
    let (mut bed, _) = Bed::simple();
    bed.tell_master(repair(false));
    bed.tell_master(Packet::StopOperation {});
    pruned(&mut bed, &slice(0, false), 2, Some(300));
    assert!(bed.writes.is_empty());
    assert_eq!(bed.told_master(), []);
    bed.tell_master(Packet::AskRecovery {});
    assert!(matches!(bed.told_master()[..], [Packet::AnswerRecovery { .. }]));
    bed.tell_master(Packet::StartOperation { backup: false });
    let (ticket, jobs) = bed.writes.pop_front().unwrap();
    assert_eq!(jobs, [WriteJob::DropUnfinished]);
    pruned(&mut bed, &slice(300, false), 1, None);
    bed.input(Input::Own(Event::Written { ticket, results: vec![Ok(JobOutput::Done)] }));
    bed.assert_idle();
}

#[test]
fn what_is_asked_before_operation_is_done_in_operation() {
    let mut bed = Bed::new();
    bed.tell_master(repair(false));
    assert!(bed.writes.is_empty());
    bed.nodes(&[(nid(1), NodeState::Running)]);
    let rows = rows(&[&[(1, UP)]]);
    bed.tell_master(Packet::SendPartitionTable { ptid: Some(Ptid(1)), num_replicas: 0, rows });
    bed.commit();
    bed.tell_master(Packet::StartOperation { backup: false });
    bed.writes.pop_front();
    pruned(&mut bed, &slice(0, false), 0, None);
}
