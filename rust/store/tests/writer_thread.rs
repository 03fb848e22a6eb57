//! The thread of a writer.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, channel};

use neo_store::database::{JobResult, TableChange, Vote, WriteJob};
use neo_store::memory::{CommitFault, MemoryDisk};
use neo_store::{Failure, Reader, StoreError, Ticket, Writer, WriterThread};
use neo_wire::{CellChange, CellState, NodeId, Oid, Partition, Ptid, Tid, Ttid};

type Completed = (Ticket, Result<Vec<JobResult>, StoreError>);

fn spawn(disk: &MemoryDisk) -> (WriterThread, Box<dyn Reader>, Receiver<Completed>) {
    let writer = disk.open().unwrap();
    let reader = writer.reader().unwrap();
    let (sender, receiver) = channel();
    let completion = Box::new(move |ticket, result| sender.send((ticket, result)).unwrap());
    (WriterThread::spawn(Box::new(writer), completion).unwrap(), reader, receiver)
}

fn table() -> Vec<WriteJob> {
    let cell = CellChange { partition: Partition(0), nid: NodeId(1), state: CellState::UpToDate };
    vec![WriteJob::ChangeTable(TableChange {
        ptid: Ptid(1),
        replicas: 0,
        cells: vec![cell],
        full: true,
        last_pack: Tid::ZERO,
    })]
}

fn vote(ttid: u64) -> WriteJob {
    WriteJob::Vote(Vote {
        ttid: Ttid(ttid),
        objects: Vec::new(),
        transaction: Some(neo_store::database::TransactionMetadata::default()),
    })
}

fn drop_partition() -> Vec<WriteJob> {
    vec![WriteJob::DropPartition { partition: Partition(3), limit: 10 }]
}

#[test]
fn each_ticket_gets_its_own_results_once_it_is_committed() {
    let disk = MemoryDisk::new();
    let (thread, reader, completed) = spawn(&disk);
    thread.submit(Ticket(0), table()).unwrap();
    for id in 1..200 {
        let jobs = if id % 10 == 0 { drop_partition() } else { vec![vote(id); id as usize % 3] };
        thread.submit(Ticket(id), jobs).unwrap();
    }
    let mut tickets = BTreeSet::new();
    let mut foreground = Vec::new();
    for _ in 0..200 {
        let (ticket, result) = completed.recv().unwrap();
        let count = result.unwrap().len() as u64;
        let background = ticket.0 % 10 == 0 && ticket.0 != 0;
        assert_eq!(count, if background || ticket.0 == 0 { 1 } else { ticket.0 % 3 });
        if !background {
            foreground.push(ticket.0);
        }
        if !background && count > 0 && ticket.0 > 0 {
            assert!(reader.unfinished().unwrap().contains_key(&Ttid(ticket.0)));
        }
        assert!(tickets.insert(ticket));
    }
    assert!(foreground.is_sorted());
    thread.stop().unwrap();
    assert_eq!(reader.last_serial(Oid(1)).unwrap(), None);
}

#[test]
fn what_was_submitted_is_finished_before_the_end() {
    let disk = MemoryDisk::new();
    let (thread, reader, completed) = spawn(&disk);
    thread.submit(Ticket(0), table()).unwrap();
    for id in 1..50 {
        thread.submit(Ticket(id), vec![vote(id)]).unwrap();
    }
    thread.submit(Ticket(50), drop_partition()).unwrap();
    drop(thread);
    assert_eq!(completed.iter().count(), 51);
    assert_eq!(reader.unfinished().unwrap().len(), 49);
}

#[test]
fn after_a_failure_every_ticket_fails() {
    let disk = MemoryDisk::new();
    let (thread, _reader, completed) = spawn(&disk);
    disk.fail_next_commit(CommitFault::Nothing(Failure::DiskFull));
    for id in 0..30 {
        let jobs = if id % 3 == 0 { drop_partition() } else { vec![vote(id)] };
        thread.submit(Ticket(id), jobs).unwrap();
    }
    let mut tickets = BTreeSet::new();
    for _ in 0..30 {
        let (ticket, result) = completed.recv().unwrap();
        assert!(result.is_err());
        assert!(tickets.insert(ticket));
    }
    drop(thread);
    assert!(completed.recv().is_err());
}
