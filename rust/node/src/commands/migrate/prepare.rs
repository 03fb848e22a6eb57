//! From the records of a FileStorage to what travels: parts of transactions are read in order by
//! one thread, and made ready by several.

use std::collections::HashMap;

use bytes::Bytes;
use neo_client::records::{self, Compress};
use neo_client::{Content, Metadata, Write};
use neo_filestorage::{Content as Stored, Error, Reader, Record, Source, Status};
use neo_wire::{Oid, Tid};

/// Bytes of a part: a longer transaction has several.
const PART: usize = 4 << 20;
/// Bytes of the parts that go together from thread to thread.
const BATCH: usize = 128 << 10;
/// About how many bytes a record takes besides its data.
const RECORD: usize = 100;

/// A part of a transaction: the whole of it, most often.
#[derive(Debug)]
pub struct Part<T> {
    /// Its TID, and its metadata if it begins with this part.
    pub tid: Tid,
    /// See `tid`.
    pub begins: Option<Metadata>,
    /// In their order.
    pub records: Vec<T>,
    /// It ends with this part.
    pub ends: bool,
    /// Where the file is read after this part.
    pub position: u64,
    /// What is peculiar to it.
    pub found: Found,
}

/// Peculiarities of transactions.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Transactions whose status is lost.
    pub packed: u64,
    /// Records that another one of the same object replaces in the same transaction.
    pub superseded: u64,
}

impl std::ops::AddAssign for Found {
    fn add_assign(&mut self, other: Self) {
        self.packed += other.packed;
        self.superseded += other.superseded;
    }
}

/// Reads all transactions; stops when `put` returns false.
pub fn read<S: Source>(
    reader: &mut Reader<S>,
    put: impl Fn(Vec<Part<Record>>) -> bool,
) -> Result<(), Error> {
    let mut batch = Batch { parts: Vec::new(), bytes: 0 };
    let result = read_into(&mut batch, reader, &put);
    // What is before a damage is good.
    batch.flush(&put);
    result
}

fn read_into<S: Source>(
    batch: &mut Batch,
    reader: &mut Reader<S>,
    put: &impl Fn(Vec<Part<Record>>) -> bool,
) -> Result<(), Error> {
    while let Some(transaction) = reader.next_transaction()? {
        let tid = transaction.tid;
        let begins = Some(Metadata {
            user: transaction.user,
            description: transaction.description,
            extension: transaction.extension,
        });
        let position = transaction.position;
        let packed = u64::from(transaction.status == Status::Packed);
        let found = Found { packed, superseded: 0 };
        let mut part = Part { tid, begins, records: Vec::new(), ends: false, position, found };
        let mut bytes = 0;
        while let Some(record) = reader.next_record()? {
            bytes += RECORD + size(&record);
            part.records.push(record);
            if bytes >= PART {
                let (begins, found) = (None, Found::default());
                let next = Part { tid, begins, records: Vec::new(), ends: false, position, found };
                let full = std::mem::replace(&mut part, next);
                if !batch.add(full, bytes, put) {
                    return Ok(());
                }
                bytes = 0;
            }
        }
        part.ends = true;
        part.position = reader.position();
        if part.begins.is_some() {
            part.found.superseded = keep_last(&mut part.records);
        }
        if !batch.add(part, bytes + RECORD, put) {
            return Ok(());
        }
    }
    Ok(())
}

struct Batch {
    parts: Vec<Part<Record>>,
    bytes: usize,
}

impl Batch {
    fn add(
        &mut self,
        part: Part<Record>,
        bytes: usize,
        put: &impl Fn(Vec<Part<Record>>) -> bool,
    ) -> bool {
        self.parts.push(part);
        self.bytes += bytes;
        self.bytes < BATCH || self.flush(put)
    }

    fn flush(&mut self, put: &impl Fn(Vec<Part<Record>>) -> bool) -> bool {
        self.bytes = 0;
        put(std::mem::take(&mut self.parts))
    }
}

fn size(record: &Record) -> usize {
    match &record.content {
        Stored::Data(data) | Stored::Back { data: Some(data), .. } => data.len(),
        _ => 0,
    }
}

/// An object that was undone twice has two records: the last one counts. Returns how many do not.
fn keep_last(records: &mut Vec<Record>) -> u64 {
    let mut oids: Vec<Oid> = records.iter().map(|record| record.oid).collect();
    oids.sort_unstable();
    if oids.windows(2).all(|pair| pair.first() != pair.last()) {
        return 0;
    }
    let places: HashMap<Oid, usize> =
        records.iter().enumerate().map(|(place, record)| (record.oid, place)).collect();
    let before = records.len();
    let mut place = 0;
    records.retain(|record| {
        place += 1;
        places.get(&record.oid) == Some(&(place - 1))
    });
    (before - records.len()) as u64
}

/// Compresses and hashes.
pub fn prepare(parts: Vec<Part<Record>>, compress: Compress) -> Vec<Part<Write>> {
    let prepared = |part: Part<Record>| Part {
        tid: part.tid,
        begins: part.begins,
        records: part.records.into_iter().map(|record| write(record, compress)).collect(),
        ends: part.ends,
        position: part.position,
        found: part.found,
    };
    parts.into_iter().map(prepared).collect()
}

fn write(record: Record, compress: Compress) -> Write {
    let (data, data_serial) = match record.content {
        Stored::Data(data) => (Some(data), None),
        Stored::Back { tid, data } => (data, Some(tid)),
        Stored::Nothing => (None, None),
    };
    let content = match data {
        // What was read is not kept: it may be a small piece of something big.
        Some(data) => {
            let mut stored = records::store(&data, compress);
            if stored.compression == 0 {
                stored.data = Bytes::copy_from_slice(&data);
            }
            Content::Data { stored, record: Bytes::new() }
        }
        None => Content::Deleted,
    };
    Write { oid: record.oid, base: record.previous.unwrap_or(Tid::ZERO), content, data_serial }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(oid: u64, content: Stored) -> Record {
        Record { oid: Oid(oid), previous: None, content }
    }

    #[test]
    fn the_last_record_of_an_object_counts() {
        let data = |text: &'static str| Stored::Data(Bytes::from_static(text.as_bytes()));
        let mut records = vec![
            record(1, data("a")),
            record(2, data("b")),
            record(1, data("c")),
            record(3, data("d")),
        ];
        assert_eq!(keep_last(&mut records), 1);
        let expected = [record(2, data("b")), record(1, data("c")), record(3, data("d"))];
        assert_eq!(records, expected);
        assert_eq!(keep_last(&mut records), 0);
    }

    #[test]
    fn an_undo_keeps_where_it_goes_back_to() {
        let data = Bytes::from(vec![b'a'; 1000]);
        let back = Stored::Back { tid: Tid(5), data: Some(data.clone()) };
        let done = write(record(1, back), Compress::Zlib(None));
        assert_eq!(done.data_serial, Some(Tid(5)));
        let Content::Data { stored, .. } = done.content else { panic!("no data") };
        assert_eq!(records::load(stored.compression, &stored.data), Some(data));
        let done = write(record(1, Stored::Back { tid: Tid(5), data: None }), Compress::No);
        assert_eq!((done.content, done.data_serial), (Content::Deleted, Some(Tid(5))));
    }
}
