//! The headers: big-endian numbers at fixed places.

use neo_wire::{Oid, Tid};

/// First bytes of a file.
pub const MAGIC: [u8; 4] = *b"FS30";
/// The same, written under Python 2.
pub const MAGIC_PYTHON_2: [u8; 4] = *b"FS21";

/// Length of the header of a transaction, without its texts.
pub const TRANSACTION_HEADER: u64 = 23;
/// Length of the header of a record.
pub const RECORD_HEADER: u64 = 42;
/// Length of the number that ends a transaction, and of a pointer.
pub const NUMBER: u64 = 8;

/// State of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Committed.
    Normal,
    /// Committed, and older than a pack.
    Packed,
    /// Undone in the way of the first versions of ZODB: to be skipped.
    Undone,
    /// Voted, not committed: the end of what can be read.
    Checkpoint,
}

impl Status {
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::Normal => b' ',
            Self::Packed => b'p',
            Self::Undone => b'u',
            Self::Checkpoint => b'c',
        }
    }

    const fn parse(byte: u8) -> Option<Self> {
        match byte {
            b' ' => Some(Self::Normal),
            b'p' => Some(Self::Packed),
            b'u' => Some(Self::Undone),
            b'c' => Some(Self::Checkpoint),
            _ => None,
        }
    }
}

/// Takes numbers from the front of a slice; what is missing is zero.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0; N];
        if let Some((head, rest)) = self.0.split_at_checked(N) {
            field.copy_from_slice(head);
            self.0 = rest;
        }
        field
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }
}

/// The number in these 8 bytes.
pub fn number(bytes: &[u8]) -> u64 {
    Fields(bytes).u64()
}

/// Header of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionHeader {
    pub tid: Tid,
    /// Without the number that ends it.
    pub length: u64,
    /// None if it is no state.
    pub status: Option<Status>,
    pub user: u16,
    pub description: u16,
    pub extension: u16,
}

impl TransactionHeader {
    pub fn parse(bytes: &[u8]) -> Self {
        let mut fields = Fields(bytes);
        Self {
            tid: Tid(fields.u64()),
            length: fields.u64(),
            status: Status::parse(fields.take::<1>()[0]),
            user: fields.u16(),
            description: fields.u16(),
            extension: fields.u16(),
        }
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.tid.0.to_be_bytes());
        out.extend(self.length.to_be_bytes());
        out.push(self.status.unwrap_or(Status::Normal).byte());
        for length in [self.user, self.description, self.extension] {
            out.extend(length.to_be_bytes());
        }
    }

    /// With its texts.
    pub fn full_length(&self) -> u64 {
        let texts = [self.user, self.description, self.extension];
        TRANSACTION_HEADER + texts.into_iter().map(u64::from).sum::<u64>()
    }
}

/// Header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    pub oid: Oid,
    pub tid: Tid,
    /// Position of the previous record of the object; 0 for none.
    pub previous: u64,
    /// Position of the transaction.
    pub transaction: u64,
    /// Always 0.
    pub version: u16,
    /// Bytes of data; 0 if a pointer follows.
    pub data: u64,
}

impl RecordHeader {
    pub fn parse(bytes: &[u8]) -> Self {
        let mut fields = Fields(bytes);
        Self {
            oid: Oid(fields.u64()),
            tid: Tid(fields.u64()),
            previous: fields.u64(),
            transaction: fields.u64(),
            version: fields.u16(),
            data: fields.u64(),
        }
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        for field in [self.oid.0, self.tid.0, self.previous, self.transaction] {
            out.extend(field.to_be_bytes());
        }
        out.extend(self.version.to_be_bytes());
        out.extend(self.data.to_be_bytes());
    }

    /// Of the whole record; none if it is no possible length.
    pub fn length(&self) -> Option<u64> {
        let body = if self.data == 0 { NUMBER } else { self.data };
        RECORD_HEADER.checked_add(body)
    }
}
