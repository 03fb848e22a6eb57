//! Compression and checksums of records (spec protocol.md 9.2, 9.3; client.md 7.4).

use std::io::{Read, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use neo_wire::{Digest, StoredData};

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
            let level = level.map_or_else(Compression::default, Compression::new);
            deflate(record, level)
        }
    };
    match compressed {
        Some(data) => StoredData { compression: 1, checksum: Digest::of(&data), data: data.into() },
        None => StoredData { compression: 0, checksum: Digest::of(record), data: record.clone() },
    }
}

/// The compressed bytes, if they are shorter. Stops as soon as they can not be.
fn deflate(record: &[u8], level: Compression) -> Option<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(record.len()), level);
    encoder.write_all(record).ok()?;
    let data = encoder.finish().ok()?;
    (data.len() < record.len()).then_some(data)
}

/// The record that was stored as `data`; none if it can not be decompressed.
#[must_use]
pub fn load(compression: u32, data: &Bytes) -> Option<Bytes> {
    match compression {
        0 => Some(data.clone()),
        1 => {
            let mut record = Vec::with_capacity(data.len().saturating_mul(4));
            ZlibDecoder::new(&data[..]).read_to_end(&mut record).ok()?;
            Some(record.into())
        }
        _ => None,
    }
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
    }
}
