//! From what a storage answers to records: checksums and decompression.

use bytes::Bytes;
use neo_client::records;
use neo_client::{Application, Error, Metadata};
use neo_core::client::loads::Wanted;
use neo_wire::{Digest, Oid, Tid};

use super::cluster::never;

/// A part of a transaction: the whole of it, most often.
#[derive(Debug)]
pub struct Piece<T> {
    /// Its TID.
    pub tid: Tid,
    /// Its metadata and whether it is packed, if it begins with this piece.
    pub begins: Option<(Metadata, bool)>,
    /// In their order.
    pub records: Vec<(Oid, T)>,
    /// It ends with this piece.
    pub ends: bool,
}

/// A record as a storage gives it.
#[derive(Debug)]
pub struct Stored {
    /// Compressed or not.
    pub compression: u32,
    /// Of `data`.
    pub checksum: Digest,
    /// Nothing, with a checksum of zero, for a deletion.
    pub data: Bytes,
    /// Undo: where it goes back to.
    pub data_serial: Option<Tid>,
}

/// A record as it was.
#[derive(Debug)]
pub enum Object {
    /// There is none: it was only checked, or packed.
    Missing,
    /// No replica has it intact.
    Failed(Error),
    /// See the module.
    Record {
        /// None for a deletion or an undone creation.
        data: Option<Bytes>,
        /// Undo: where it goes back to.
        back: Option<Tid>,
    },
}

/// Makes records of what was received.
pub fn unpack(application: &Application, pieces: Vec<Piece<Option<Stored>>>) -> Vec<Piece<Object>> {
    let unpacked = |piece: Piece<Option<Stored>>| {
        let tid = piece.tid;
        let record = |(oid, stored)| (oid, object(application, (oid, tid), stored));
        Piece {
            tid,
            begins: piece.begins,
            records: piece.records.into_iter().map(record).collect(),
            ends: piece.ends,
        }
    };
    pieces.into_iter().map(unpacked).collect()
}

fn object(application: &Application, (oid, tid): (Oid, Tid), stored: Option<Stored>) -> Object {
    let Some(Stored { compression, checksum, data, data_serial: back }) = stored else {
        return Object::Missing;
    };
    if data.is_empty() && checksum == Digest::ZERO {
        return Object::Record { data: None, back };
    }
    let record = (Digest::of(&data) == checksum).then(|| records::load(compression, &data));
    if let Some(data) = record.flatten() {
        return Object::Record { data: Some(data), back };
    }
    // Another replica may have it.
    match application.load(oid, Wanted::Exact(tid), &never) {
        Ok(record) => Object::Record { data: Some(record.data), back },
        Err(error) => Object::Failed(error),
    }
}
