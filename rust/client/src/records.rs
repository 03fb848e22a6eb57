//! Compression and checksums of records (spec protocol.md 9.2, 9.3; client.md 7.4).

use std::cell::RefCell;

use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor, DecompressionError, Decompressor};
use neo_wire::{Digest, StoredData};

/// When no level is given, the result is about as short as that of the default of zlib. Up to so
/// many bytes, the fastest level gives that (1 % more at 1 kB, but 4 % at 4 kB), in less than
/// three quarters of the time of the other one.
const SMALL: usize = 2048;
const SMALL_LEVEL: u32 = 1;
const DEFAULT_LEVEL: u32 = 6;

/// One more than the highest level.
const LEVELS: usize = 10;

/// First room given to a record that is decompressed, in bytes per stored byte; then how many times
/// more each time it is not enough.
const EXPANSION: usize = 4;

/// A byte of deflate gives so many at most.
const MAX_EXPANSION: usize = 1032;

/// Longer records get a place of their own.
const MAX_SCRATCH: usize = 1 << 20;

/// What a thread uses again and again: its states take some 300 kB, and to make them costs more
/// than to compress a small record.
#[derive(Default)]
struct Tools {
    /// By level.
    compressors: [Option<Compressor>; LEVELS],
    decompressor: Option<Decompressor>,
    scratch: Vec<u8>,
}

thread_local! {
    static TOOLS: RefCell<Tools> = RefCell::default();
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
            let default = if record.len() <= SMALL { SMALL_LEVEL } else { DEFAULT_LEVEL };
            deflate(record, level.unwrap_or(default))
        }
    };
    match compressed {
        Some(data) => StoredData { compression: 1, checksum: Digest::of(&data), data },
        None => StoredData { compression: 0, checksum: Digest::of(record), data: record.clone() },
    }
}

/// The compressed bytes, if they are shorter: what does not fit in a shorter place is not finished.
fn deflate(record: &[u8], level: u32) -> Option<Bytes> {
    let room = record.len().checked_sub(1)?;
    TOOLS.with_borrow_mut(|tools| {
        let Tools { compressors, scratch, .. } = tools;
        let kept = compressors.get_mut(usize::try_from(level).ok()?)?;
        let compressor = match kept {
            Some(kept) => kept,
            None => {
                kept.insert(Compressor::new(CompressionLvl::new(i32::try_from(level).ok()?).ok()?))
            }
        };
        in_room(scratch, room, |place| compressor.zlib_compress(record, place).ok())
    })
}

/// What `fill` writes in a place of `room` bytes; none if it gives none.
fn in_room(
    scratch: &mut Vec<u8>,
    room: usize,
    fill: impl FnOnce(&mut [u8]) -> Option<usize>,
) -> Option<Bytes> {
    if room > MAX_SCRATCH {
        let mut own = vec![0; room];
        let length = fill(&mut own)?;
        own.truncate(length);
        own.shrink_to_fit();
        return Some(own.into());
    }
    if scratch.len() < room {
        scratch.resize(room, 0);
    }
    let place = scratch.get_mut(..room)?;
    let length = fill(place)?;
    place.get(..length).map(Bytes::copy_from_slice)
}

/// The record that was stored as `data`; none if it can not be decompressed.
#[must_use]
pub fn load(compression: u32, data: &Bytes) -> Option<Bytes> {
    match compression {
        0 => Some(data.clone()),
        1 => inflate(data),
        _ => None,
    }
}

fn inflate(data: &[u8]) -> Option<Bytes> {
    let most = data.len().saturating_mul(MAX_EXPANSION);
    let mut room = data.len().saturating_mul(EXPANSION).max(64);
    TOOLS.with_borrow_mut(|tools| {
        let Tools { decompressor, scratch, .. } = tools;
        let decompressor = decompressor.get_or_insert_with(Decompressor::new);
        loop {
            let mut is_short = false;
            let record = in_room(scratch, room, |place| {
                let result = decompressor.zlib_decompress(data, place);
                is_short = matches!(result, Err(DecompressionError::InsufficientSpace));
                result.ok()
            });
            if !is_short || room >= most {
                return record;
            }
            room = room.saturating_mul(EXPANSION);
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

    #[test]
    fn zlib_of_others_is_read_whatever_it_holds() {
        // zlib.compress(b"NEO" * 5) and zlib.compress(b"") of Python.
        let known = b"x\x9c\xf3s\xf5\xf7CB\x00#Z\x04k";
        assert_eq!(load(1, &Bytes::from_static(known)), Some("NEONEONEONEONEO".into()));
        let empty = b"x\x9c\x03\x00\x00\x00\x00\x01";
        assert_eq!(load(1, &Bytes::from_static(empty)), Some(Bytes::new()));
        // As dense as it can be.
        let zeros = Bytes::from(vec![0; 8 << 20]);
        let stored = store(&zeros, Compress::Zlib(Some(9)));
        assert!(stored.data.len() < 10_000, "{}", stored.data.len());
        assert_eq!(load(1, &stored.data), Some(zeros));
    }
}
