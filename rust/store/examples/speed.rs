//! How fast the SQLite database is, beside what the disk can do.
//!
//! `cargo run --release -p neo-store --example speed [DIRECTORY]`

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use neo_store::database::{
    Payload, Revision, StoredObject, TableChange, TransactionMetadata, Vote, WriteJob,
};
use neo_store::sqlite::{self, Options};
use neo_store::{Ticket, Writer, WriterThread};
use neo_wire::{
    CellChange, CellState, Digest, NodeId, Oid, Partition, Ptid, StoredData, Tid, Ttid,
};

const PARTITIONS: u32 = 12;
const OIDS: u64 = 20_000;
const COMMITS: u64 = 3_000;

fn vote(ttid: u64, objects: u64, size: usize) -> WriteJob {
    let data = Bytes::from(vec![ttid as u8; size]);
    let checksum = Digest::of(&data);
    let objects: Vec<_> = (0..objects)
        .map(|number| StoredObject {
            oid: Oid((ttid * 31 + number) % OIDS),
            payload: Payload::Data(StoredData { compression: 0, checksum, data: data.clone() }),
            value_tid: None,
            value_required: false,
        })
        .collect();
    let oids = objects.iter().map(|object| object.oid).collect();
    let transaction = Some(TransactionMetadata { oids, ..TransactionMetadata::default() });
    WriteJob::Vote(Vote { ttid: Ttid(ttid), objects, transaction })
}

fn lock(id: u64) -> WriteJob {
    WriteJob::Lock { ttid: Ttid(id), tid: Tid(id), approve_pack: false }
}

fn unlock(id: u64) -> WriteJob {
    WriteJob::Unlock { ttid: Ttid(id), tid: Tid(id) }
}

fn report(what: &str, count: u64, elapsed: Duration) {
    let each = elapsed.as_secs_f64() / count as f64;
    println!("{what:55} {:10.1} us {:10.0}/s", each * 1e6, 1.0 / each);
}

fn raw(directory: &Path) {
    for (what, grows) in [("overwriting", false), ("appending", true)] {
        let mut file = std::fs::File::create(directory.join("raw")).unwrap();
        file.write_all(&vec![0; 1 << 20]).unwrap();
        file.sync_all().unwrap();
        let start = Instant::now();
        for _ in 0..500 {
            if !grows {
                file.seek(SeekFrom::Start(0)).unwrap();
            }
            file.write_all(&[1; 4096]).unwrap();
            file.sync_data().unwrap();
        }
        report(&format!("fdatasync after {what} 4 kB"), 500, start.elapsed());
    }
}

fn main() {
    let directory = match std::env::args().nth(1) {
        Some(path) => tempfile::tempdir_in(path).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    raw(directory.path());
    let database = directory.path().join("speed.sqlite").display().to_string();
    let mut writer = sqlite::open(&Options { database, ..Options::default() }).unwrap();
    let cells = (0..PARTITIONS).map(|partition| CellChange {
        partition: Partition(partition),
        nid: NodeId(1),
        state: CellState::UpToDate,
    });
    let change = TableChange {
        ptid: Ptid(1),
        replicas: 0,
        cells: cells.collect(),
        full: true,
        last_pack: Tid::ZERO,
    };
    writer.run(vec![WriteJob::SetNodeId(NodeId(1)), WriteJob::ChangeTable(change)]).unwrap();
    let mut id = 1_000;

    let start = Instant::now();
    for _ in 0..COMMITS {
        id += 1;
        writer.run(vec![vote(id, 1, 200)]).unwrap();
    }
    report("vote of 1 object, in the thread of the caller", COMMITS, start.elapsed());
    writer.run((1_001..=id).map(unlock).collect()).unwrap();

    let start = Instant::now();
    for _ in 0..COMMITS {
        id += 1;
        writer.run(vec![vote(id, 1, 200)]).unwrap();
        writer.run(vec![lock(id)]).unwrap();
        writer.run(vec![unlock(id)]).unwrap();
    }
    report("vote, lock, unlock of 1 object, 3 commits", COMMITS, start.elapsed());

    for count in [10, 100] {
        let start = Instant::now();
        for _ in 0..COMMITS / count {
            let ids: Vec<u64> = (id + 1..=id + count).collect();
            id += count;
            writer.run(ids.iter().map(|id| vote(*id, 1, 200)).collect()).unwrap();
            writer.run(ids.iter().map(|id| lock(*id)).collect()).unwrap();
            writer.run(ids.iter().map(|id| unlock(*id)).collect()).unwrap();
        }
        let what = format!("the same, {count} transactions per commit");
        report(&what, COMMITS / count * count, start.elapsed());
    }

    let start = Instant::now();
    for _ in 0..20 {
        id += 1;
        writer.run(vec![vote(id, 1000, 1000)]).unwrap();
        writer.run(vec![lock(id)]).unwrap();
        writer.run(vec![unlock(id)]).unwrap();
    }
    report("transaction of 1000 x 1 kB", 20, start.elapsed());

    let reader = writer.reader().unwrap();
    for (what, revision) in [("last", Revision::Last), ("before", Revision::Before(Tid(id)))] {
        let start = Instant::now();
        for number in 0..100_000 {
            reader.load(Oid(number * 7 % OIDS), revision).unwrap();
        }
        report(&format!("load of the {what} revision"), 100_000, start.elapsed());
    }
    let start = Instant::now();
    for number in 0..100_000 {
        reader.last_serial(Oid(number * 7 % OIDS)).unwrap();
    }
    report("last serial", 100_000, start.elapsed());

    let (sender, completed) = channel();
    let completion = Box::new(move |ticket, result: Result<_, _>| {
        result.unwrap();
        sender.send(ticket).unwrap();
    });
    let thread = WriterThread::spawn(Box::new(writer), completion).unwrap();
    for clients in [1, 4, 16] {
        let start = Instant::now();
        // Each client votes, then locks, then unlocks without waiting and starts again.
        let mut done = 0;
        for _ in 0..clients {
            id += 1;
            thread.submit(Ticket(id), vec![vote(id, 1, 200)]).unwrap();
        }
        while done < COMMITS {
            let Ticket(ticket) = completed.recv().unwrap();
            if ticket < 1 << 32 {
                thread.submit(Ticket(ticket | 1 << 32), vec![lock(ticket)]).unwrap();
            } else if ticket < 1 << 33 {
                done += 1;
                let old = ticket & 0xffff_ffff;
                thread.submit(Ticket(1 << 33), vec![unlock(old)]).unwrap();
                id += 1;
                thread.submit(Ticket(id), vec![vote(id, 1, 200)]).unwrap();
            }
        }
        let what = format!("transactions by the thread of the writer, {clients} clients");
        report(&what, COMMITS, start.elapsed());
        // Those that are on their way.
        std::thread::sleep(Duration::from_millis(100));
        completed.try_iter().for_each(drop);
    }
    thread.stop().unwrap();
}
