//! Reading any bytes as a file ends, and what is whole does not depend on what follows it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use neo_filestorage::{Content, Error, Reader};

/// Bytes of the seeds: some transactions, and short enough to be mutated well.
const SEED_SIZE: usize = 6000;

fn seeds() -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/Data.fs");
    let file = std::fs::read(path)?;
    let mut reader = Reader::new(&file[..])?;
    let mut seeds = vec![file.iter().take(SEED_SIZE).copied().collect()];
    // Each transaction as the first one of a file, its pointers leading nowhere.
    while let Some(transaction) = reader.next_transaction()? {
        let start = usize::try_from(transaction.position)?;
        let end = usize::try_from(transaction.position + transaction.length)?;
        if end - start < SEED_SIZE {
            seeds.push([b"FS30", &file[start..end]].concat());
        }
    }
    Ok(seeds)
}

/// Transactions and records that could be read, and whether the end was reached.
fn read(bytes: &[u8]) -> Result<(u64, u64), Error> {
    let mut reader = Reader::new(bytes)?;
    let (mut transactions, mut end) = (0, 4);
    while let Some(transaction) = reader.next_transaction()? {
        transactions += 1;
        assert!(transaction.position >= end);
        end = transaction.position + transaction.length;
        assert!(end <= bytes.len() as u64);
        while let Some(record) = reader.next_record()? {
            assert!(record.previous != Some(transaction.tid));
            if let Content::Back { tid, .. } = record.content {
                assert!(tid != transaction.tid);
            }
        }
    }
    if let Some(tail) = reader.tail() {
        assert_eq!(tail.position + tail.length, bytes.len() as u64);
    }
    Ok((transactions, end))
}

fuzz_target!(init: neo_fuzz::plant(seeds), |bytes: &[u8]| {
    let Ok((transactions, end)) = read(bytes) else { return };
    // What was whole is whole without what follows it.
    let end = usize::try_from(end).unwrap_or(usize::MAX).min(bytes.len());
    if let Ok((again, _)) = read(&bytes[..end]) {
        assert_eq!(again, transactions);
    }
});
