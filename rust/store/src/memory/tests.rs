use neo_core::database::{
    JobOutput, Loaded, Payload, Revision, StoredObject, TableChange, Vote, WriteJob,
};
use neo_wire::{
    CellChange, CellState, Digest, NodeId, Oid, Partition, Ptid, StoredData, Tid, Ttid,
};

use super::{CommitFault, MemoryDisk};
use crate::{Failure, Reader, StoreError, Writer};

fn table() -> Vec<WriteJob> {
    let cell = CellChange { partition: Partition(0), nid: NodeId(1), state: CellState::UpToDate };
    vec![
        WriteJob::SetNodeId(NodeId(1)),
        WriteJob::ChangeTable(TableChange {
            ptid: Ptid(1),
            replicas: 0,
            cells: vec![cell],
            full: true,
            last_pack: Tid::ZERO,
        }),
    ]
}

fn vote(ttid: u64) -> WriteJob {
    let data = bytes::Bytes::from_static(b"x");
    let payload = Payload::Data(StoredData { compression: 0, checksum: Digest::of(&data), data });
    let object = StoredObject { oid: Oid(1), payload, value_tid: None, value_required: false };
    WriteJob::Vote(Vote { ttid: Ttid(ttid), objects: vec![object], transaction: None })
}

fn unlock(id: u64) -> WriteJob {
    WriteJob::Unlock { ttid: Ttid(id), tid: Tid(id) }
}

fn last(reader: &dyn Reader) -> Option<Tid> {
    reader.last_serial(Oid(1)).unwrap()
}

#[test]
fn the_machine_forgets_what_was_not_durable() {
    let disk = MemoryDisk::new();
    let mut writer = disk.open().unwrap();
    writer.run(table()).unwrap();
    writer.run(vec![vote(5)]).unwrap();
    writer.run(vec![unlock(5)]).unwrap();
    let reader = writer.reader().unwrap();
    assert_eq!(last(&*reader), Some(Tid(5)));
    disk.crash(0).unwrap();
    assert_eq!(last(&*reader), None);
    assert!(reader.unfinished().unwrap().contains_key(&Ttid(5)));
    // The writer belongs to the life before the crash.
    assert_eq!(writer.run(vec![unlock(5)]), Err(StoreError::Locked));
    let mut writer = disk.open().unwrap();
    assert_eq!(writer.run(vec![unlock(5)]), Ok(vec![Ok(JobOutput::Done)]));
    assert_eq!(last(&*reader), Some(Tid(5)));
}

#[test]
fn a_crash_can_keep_the_first_commits_and_the_process_keeps_all() {
    for (kept, expected) in [(0, None), (1, Some(Tid(5))), (usize::MAX, Some(Tid(6)))] {
        let disk = MemoryDisk::new();
        let mut writer = disk.open().unwrap();
        writer.run(table()).unwrap();
        writer.run(vec![vote(5), vote(6)]).unwrap();
        writer.run(vec![unlock(5)]).unwrap();
        writer.run(vec![unlock(6)]).unwrap();
        disk.crash(kept).unwrap();
        let reader = disk.open().unwrap().reader().unwrap();
        assert_eq!(last(&*reader), expected, "{kept}");
    }
}

#[test]
fn a_durable_commit_carries_those_before_it() {
    let disk = MemoryDisk::new();
    let mut writer = disk.open().unwrap();
    writer.run(table()).unwrap();
    writer.run(vec![vote(5)]).unwrap();
    writer.run(vec![unlock(5)]).unwrap();
    writer.run(vec![vote(6)]).unwrap();
    disk.crash(0).unwrap();
    assert_eq!(last(&*writer.reader().unwrap()), Some(Tid(5)));
}

#[test]
fn a_failed_commit_is_the_last_one() {
    let failures = [
        (CommitFault::Nothing(Failure::DiskFull), None),
        (CommitFault::Everything(Failure::Io("EIO".to_owned())), Some(Tid(5))),
    ];
    for (fault, expected) in failures {
        let disk = MemoryDisk::new();
        let mut writer = disk.open().unwrap();
        writer.run(table()).unwrap();
        disk.fail_next_commit(fault);
        let error = writer.run(vec![vote(5), unlock(5)]).unwrap_err();
        assert!(matches!(error, StoreError::Failed { .. }));
        assert!(matches!(writer.run(vec![]), Err(StoreError::GivenUp(_))));
        disk.crash(0).unwrap();
        let mut writer = disk.open().unwrap();
        assert_eq!(last(&*writer.reader().unwrap()), expected);
        assert!(writer.run(vec![]).is_ok());
    }
}

#[test]
fn reads_can_fail_and_disks_be_copied_and_wiped() {
    let disk = MemoryDisk::new();
    let mut writer = disk.open().unwrap();
    writer.run(table()).unwrap();
    writer.run(vec![vote(5), unlock(5)]).unwrap();
    let copy = disk.copy();
    let reader = writer.reader().unwrap();
    disk.fail_next_read(Failure::Io("EIO".to_owned()));
    assert!(reader.last_serial(Oid(1)).is_err());
    disk.wipe();
    assert_eq!(reader.load(Oid(1), Revision::Last), Ok(Loaded::NoObject));
    assert_eq!(writer.run(vec![]), Err(StoreError::Locked));
    let reader = copy.open().unwrap().reader().unwrap();
    assert_eq!(last(&*reader), Some(Tid(5)));
}

#[test]
fn an_erased_database_is_new_when_it_is_opened_again() {
    let disk = MemoryDisk::new();
    let mut writer = disk.open().unwrap();
    writer.run(table()).unwrap();
    writer.run(vec![WriteJob::Erase]).unwrap();
    let slice = WriteJob::DropPartition { partition: Partition(0), limit: 1 };
    assert_eq!(writer.run(vec![slice]), Ok(vec![Ok(JobOutput::Done)]));
    assert_eq!(writer.run(vec![WriteJob::DropUnfinished]), Err(StoreError::Erased));
    let reader = disk.open().unwrap().reader().unwrap();
    assert_eq!(reader.table(), Ok(vec![]));
    assert_eq!(reader.configuration().unwrap().nid, None);
}
