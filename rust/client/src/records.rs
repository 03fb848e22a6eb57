//! Compression and checksums of records (spec protocol.md 9.2, 9.3; client.md 7.4).

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Compress as Deflate, Compression, Decompress as Inflate};
use flate2::{FlushCompress, FlushDecompress, Status};
use neo_wire::{Digest, StoredData};

/// First size given to a record that is decompressed, in bytes per stored byte.
const EXPANSION: usize = 4;

thread_local! {
    // The state of deflate is some 300 kB: making it costs more than compressing a small record.
    static DEFLATE: RefCell<Option<(u32, Deflate)>> = const { RefCell::new(None) };
    static INFLATE: RefCell<Option<Inflate>> = const { RefCell::new(None) };
}

/// How records are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compress {
    /// Never.
    No,
    /// By zlib, at this level (1 … 9); none for its default.
    Zlib(Option<u32>),
}

/// What travels for a record: compressed if that is strictly shorter.
#[must_use]
pub fn store(record: &Bytes, compress: Compress) -> StoredData {
    let compressed = match compress {
        Compress::No => None,
        Compress::Zlib(level) => {
            deflate(record, level.unwrap_or_else(|| Compression::default().level()))
        }
    };
    match compressed {
        Some(data) => StoredData { compression: 1, checksum: Digest::of(&data), data: data.into() },
        None => StoredData { compression: 0, checksum: Digest::of(record), data: record.clone() },
    }
}

/// The compressed bytes, if they are shorter: what does not fit in a shorter place is not finished.
fn deflate(record: &[u8], level: u32) -> Option<Vec<u8>> {
    let mut data = Vec::with_capacity(record.len().checked_sub(1)?);
    DEFLATE.with_borrow_mut(|kept| {
        let (_, state) = match kept {
            Some(kept) if kept.0 == level => kept,
            kept => kept.insert((level, Deflate::new(Compression::new(level), true))),
        };
        state.reset();
        let status = state.compress_vec(record, &mut data, FlushCompress::Finish);
        matches!(status, Ok(Status::StreamEnd)).then_some(data)
    })
}

/// The record that was stored as `data`; none if it can not be decompressed.
#[must_use]
pub fn load(compression: u32, data: &Bytes) -> Option<Bytes> {
    match compression {
        0 => Some(data.clone()),
        1 => inflate(data).map(Bytes::from),
        _ => None,
    }
}

fn inflate(data: &[u8]) -> Option<Vec<u8>> {
    let mut record = Vec::with_capacity(data.len().saturating_mul(EXPANSION).max(64));
    INFLATE.with_borrow_mut(|kept| {
        let state = kept.get_or_insert_with(|| Inflate::new(true));
        state.reset(true);
        loop {
            let read = usize::try_from(state.total_in()).ok()?;
            let status =
                state.decompress_vec(data.get(read..)?, &mut record, FlushDecompress::Finish);
            match status {
                Ok(Status::StreamEnd) => return Some(record),
                Ok(_) if record.len() == record.capacity() => record.reserve(record.len()),
                // Room was left: the stream is cut short.
                _ => return None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_gets_shorter_is_compressed() {
        let long = Bytes::from(vec![b'a'; 1000]);
        let stored = store(&long, Compress::Zlib(None));
        assert_eq!(stored.compression, 1);
        assert_eq!(stored.checksum, Digest::of(&stored.data));
        assert_eq!(load(1, &stored.data), Some(long.clone()));
        let short = Bytes::from_static(b"ab");
        assert_eq!(store(&short, Compress::Zlib(Some(9))).compression, 0);
        assert_eq!(store(&long, Compress::No).compression, 0);
    }

    #[test]
    fn garbage_is_not_a_record() {
        assert_eq!(load(1, &Bytes::from_static(b"garbage")), None);
        assert_eq!(load(7, &Bytes::new()), None);
        let stored = store(&Bytes::from(vec![b'a'; 1000]), Compress::Zlib(None));
        assert_eq!(load(1, &stored.data.slice(..stored.data.len() - 5)), None);
    }

    #[test]
    fn states_are_used_again_for_records_of_all_sizes() {
        for length in [0, 1, 2, 63, 1000, 100_000, 5, 1_000_000, 0, 64] {
            for level in [None, Some(1), Some(9)] {
                let record: Bytes = (0..length).map(|i: u32| (i % 7 * i % 31) as u8).collect();
                let stored = store(&record, Compress::Zlib(level));
                assert!(stored.compression == 0 || stored.data.len() < record.len());
                assert_eq!(load(stored.compression, &stored.data), Some(record));
            }
        }
    }
}
