//! Reads transactions in order, and only follows pointers backwards.

use bytes::{Bytes, BytesMut};
use neo_wire::{Oid, Tid};

use crate::Error;
use crate::format::{
    MAGIC, MAGIC_PYTHON_2, NUMBER, RECORD_HEADER, RecordHeader, Status, TRANSACTION_HEADER,
    TransactionHeader, number,
};
use crate::source::Source;

/// Bytes read at once.
const CHUNK: u64 = 1 << 20;

/// A transaction, without its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Identifier, greater than those before.
    pub tid: Tid,
    /// Normal or packed.
    pub status: Status,
    /// As it is stored.
    pub user: Bytes,
    /// As it is stored.
    pub description: Bytes,
    /// A pickle, or nothing.
    pub extension: Bytes,
    /// Where it begins.
    pub position: u64,
    /// Bytes in the file.
    pub length: u64,
}

/// What an object becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A new revision.
    Data(Bytes),
    /// The same as in an older transaction, by undo.
    Back {
        /// That transaction.
        tid: Tid,
        /// The data there; none for a deletion or undone creation.
        data: Option<Bytes>,
    },
    /// Deletion or undone creation.
    Nothing,
}

/// A record of the current transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The object.
    pub oid: Oid,
    /// The transaction of its previous record, as the file says: a hint.
    pub previous: Option<Tid>,
    /// What it becomes.
    pub content: Content,
}

/// What follows the last whole transaction, and is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Where it begins.
    pub position: u64,
    /// Bytes until the end of the file.
    pub length: u64,
    /// In a few words.
    pub reason: &'static str,
}

/// See the module.
#[derive(Debug)]
pub struct Reader<S> {
    source: S,
    size: u64,
    /// Written under Python 2.
    is_python_2: bool,
    /// A piece of the file, and its position.
    chunk: (u64, Bytes),
    /// Of the next transaction.
    next: u64,
    /// Of the next record, the transaction and its end.
    current: Option<Current>,
    last: Tid,
    tail: Option<Tail>,
    skipped: u64,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    tid: Tid,
    transaction: u64,
    record: u64,
    end: u64,
}

impl<S: Source> Reader<S> {
    /// At the first transaction. What is appended later is not read.
    ///
    /// # Errors
    /// [`Error::NotAFileStorage`], or those of the system. An empty file is a FileStorage.
    pub fn new(source: S) -> Result<Self, Error> {
        let size = source.length()?;
        let mut magic = MAGIC;
        if 0 < size && size < 4 {
            return Err(Error::NotAFileStorage);
        }
        if size > 0 {
            source.read_at(&mut magic, 0)?;
        }
        if magic != MAGIC && magic != MAGIC_PYTHON_2 {
            return Err(Error::NotAFileStorage);
        }
        Ok(Self {
            source,
            size,
            is_python_2: magic == MAGIC_PYTHON_2,
            chunk: (0, Bytes::new()),
            next: 4,
            current: None,
            last: Tid::ZERO,
            tail: None,
            skipped: 0,
        })
    }

    /// Bytes of the file when it was opened.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Whether it says that it was written under Python 2.
    pub const fn is_python_2(&self) -> bool {
        self.is_python_2
    }

    /// Where the next transaction begins.
    pub const fn position(&self) -> u64 {
        self.next
    }

    /// What is ignored at the end, once the end was reached.
    pub const fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// Transactions of status `u` that were skipped so far.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Bytes of the file. They are a slice of what is kept if possible.
    fn bytes(&mut self, position: u64, length: u64) -> Result<Bytes, Error> {
        let (start, chunk) = &self.chunk;
        let end = start + chunk.len() as u64;
        if position < *start || position + length > end {
            let wanted = CHUNK.max(length).min(self.size.saturating_sub(position));
            let wanted = usize::try_from(wanted.max(length)).map_err(|_| too_long(position))?;
            let mut buffer = BytesMut::zeroed(wanted);
            self.source.read_at(&mut buffer, position)?;
            self.chunk = (position, buffer.freeze());
        }
        let (start, chunk) = &self.chunk;
        let from = usize::try_from(position - start).map_err(|_| too_long(position))?;
        let length = usize::try_from(length).map_err(|_| too_long(position))?;
        Ok(chunk.slice(from..from + length))
    }

    /// Bytes that are not where the file is being read: nothing is kept.
    fn bytes_behind(&self, position: u64, length: u64) -> Result<Bytes, Error> {
        let (start, chunk) = &self.chunk;
        let inside = position.checked_sub(*start).and_then(|from| usize::try_from(from).ok());
        let length = usize::try_from(length).map_err(|_| too_long(position))?;
        if let Some(from) = inside.filter(|from| from + length <= chunk.len()) {
            return Ok(chunk.slice(from..from + length));
        }
        let mut buffer = BytesMut::zeroed(length);
        self.source.read_at(&mut buffer, position)?;
        Ok(buffer.freeze())
    }

    /// The next transaction; records of the current one that were not read are skipped. None at
    /// the end: see [`Self::tail`].
    ///
    /// # Errors
    /// [`Error::Damaged`], or those of the system. Nothing can be read then.
    pub fn next_transaction(&mut self) -> Result<Option<Transaction>, Error> {
        loop {
            self.current = None;
            let position = self.next;
            let Some(header) = self.header(position)? else {
                return Ok(None);
            };
            let end = position + header.length;
            self.next = end + NUMBER;
            if header.status == Some(Status::Undone) {
                self.skipped += 1;
                continue;
            }
            self.last = header.tid;
            let texts = self.bytes(position, header.full_length())?.slice(23..);
            let user = usize::from(header.user);
            let description = user + usize::from(header.description);
            let record = position + header.full_length();
            self.current = Some(Current { tid: header.tid, transaction: position, record, end });
            return Ok(Some(Transaction {
                tid: header.tid,
                status: header.status.unwrap_or(Status::Normal),
                user: texts.slice(..user),
                description: texts.slice(user..description),
                extension: texts.slice(description..),
                position,
                length: header.length + NUMBER,
            }));
        }
    }

    /// The header of a transaction that is whole; none at the end.
    fn header(&mut self, position: u64) -> Result<Option<TransactionHeader>, Error> {
        let left = self.size.saturating_sub(position);
        if left == 0 {
            return Ok(None);
        }
        if left < TRANSACTION_HEADER {
            return Ok(self.ends(position, "truncated transaction"));
        }
        let header = TransactionHeader::parse(&self.bytes(position, TRANSACTION_HEADER)?);
        let damaged = |reason: String| Err(Error::damaged(position, reason));
        if header.status == Some(Status::Checkpoint) {
            return Ok(self.ends(position, "transaction that was not committed"));
        }
        if header.length < header.full_length() {
            if self.is_zero_from(position)? {
                return Ok(self.ends(position, "zeros"));
            }
            return damaged(format!("a transaction of {} bytes", header.length));
        }
        if header.status.is_none() {
            return damaged("invalid status of a transaction".into());
        }
        if header.tid <= self.last {
            return damaged(format!("transaction {} after {}", header.tid, self.last));
        }
        let length = header.length.checked_add(NUMBER);
        if length.is_none_or(|length| length > left) {
            if self.is_truncated(position, &header)? {
                return Ok(self.ends(position, "truncated transaction"));
            }
            return damaged(format!("a transaction of {} bytes, {left} left", header.length));
        }
        let end = position + header.length;
        let again = number(&self.bytes_behind(end, NUMBER)?);
        if again != header.length {
            let reason = format!("lengths of a transaction: {} and {again}", header.length);
            return Err(Error::damaged(end, reason));
        }
        Ok(Some(header))
    }

    fn ends(&mut self, position: u64, reason: &'static str) -> Option<TransactionHeader> {
        self.tail = Some(Tail { position, length: self.size - position, reason });
        None
    }

    /// Whether nothing but zeros follows, as after a crash of the machine.
    fn is_zero_from(&mut self, mut position: u64) -> Result<bool, Error> {
        while position < self.size {
            let length = (self.size - position).min(CHUNK);
            if self.bytes(position, length)?.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            position += length;
        }
        Ok(true)
    }

    /// Whether a transaction that is longer than the file is really cut short by its end: what is
    /// there of its records is right. Else its length is wrong.
    fn is_truncated(&self, position: u64, header: &TransactionHeader) -> Result<bool, Error> {
        let mut at = position.saturating_add(header.full_length());
        let end = position.saturating_add(header.length);
        while at.saturating_add(RECORD_HEADER) <= self.size && at < end {
            let record = RecordHeader::parse(&self.bytes_behind(at, RECORD_HEADER)?);
            let next = record.length().and_then(|length| at.checked_add(length));
            match next {
                Some(next) if record.transaction == position && next <= end => at = next,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The next record of the current transaction; none at its end.
    ///
    /// # Errors
    /// [`Error::Damaged`], or those of the system.
    pub fn next_record(&mut self) -> Result<Option<Record>, Error> {
        let Some((position, header)) = self.next_header()? else {
            return Ok(None);
        };
        let body = position + RECORD_HEADER;
        let content = if header.data > 0 {
            Content::Data(self.bytes(body, header.data)?)
        } else {
            match number(&self.bytes(body, NUMBER)?) {
                0 => Content::Nothing,
                back => self.back(&header, position, back)?,
            }
        };
        let previous = self.previous(&header, position)?;
        Ok(Some(Record { oid: header.oid, previous, content }))
    }

    /// The object and the place of the next record of the current transaction; none at its end.
    ///
    /// # Errors
    /// [`Error::Damaged`], or those of the system.
    pub fn next_place(&mut self) -> Result<Option<(Oid, u64)>, Error> {
        Ok(self.next_header()?.map(|(position, header)| (header.oid, position)))
    }

    fn next_header(&mut self) -> Result<Option<(u64, RecordHeader)>, Error> {
        let Some(current) = self.current.filter(|current| current.record < current.end) else {
            return Ok(None);
        };
        let position = current.record;
        let damaged = |reason: &str| Err(Error::damaged(position, reason));
        if position + RECORD_HEADER > current.end {
            return damaged("a record beyond the end of its transaction");
        }
        let header = RecordHeader::parse(&self.bytes(position, RECORD_HEADER)?);
        if header.transaction != current.transaction || header.tid != current.tid {
            return damaged("a record of another transaction");
        }
        if header.version != 0 {
            return damaged("a record in a version, which ZODB does not have any more");
        }
        let next = header.length().and_then(|length| position.checked_add(length));
        let Some(next) = next.filter(|next| *next <= current.end) else {
            return damaged("a record beyond the end of its transaction");
        };
        self.current = Some(Current { record: next, ..current });
        Ok(Some((position, header)))
    }

    /// A record that is pointed to from `from`, or what is wrong.
    fn pointed(&self, oid: Oid, at: u64, from: u64) -> Result<RecordHeader, Error> {
        let damaged = |reason: &str| Err(Error::damaged(from, format!("{reason} {at}")));
        if at < 4 || at.checked_add(RECORD_HEADER).is_none_or(|end| end > from) {
            return damaged("a pointer to");
        }
        let header = RecordHeader::parse(&self.bytes_behind(at, RECORD_HEADER)?);
        if header.oid != oid {
            return damaged("a pointer to another object at");
        }
        match header.length().and_then(|length| at.checked_add(length)) {
            Some(end) if end <= from => Ok(header),
            _ => damaged("a pointer to something else at"),
        }
    }

    /// Follows a chain of undos: the first record in another transaction tells which one, the
    /// last one has the data.
    fn back(&self, of: &RecordHeader, mut from: u64, mut at: u64) -> Result<Content, Error> {
        let mut tid = None;
        loop {
            let header = self.pointed(of.oid, at, from)?;
            // An object that is undone twice in one transaction has two records there.
            if tid.is_none() && header.tid != of.tid {
                tid = Some(header.tid);
            }
            let body = at + RECORD_HEADER;
            let data = if header.data > 0 {
                Some(self.bytes_behind(body, header.data)?)
            } else {
                match number(&self.bytes_behind(body, NUMBER)?) {
                    0 => None,
                    next => {
                        (from, at) = (at, next);
                        continue;
                    }
                }
            };
            return Ok(match (tid, data) {
                (Some(tid), data) => Content::Back { tid, data },
                (None, Some(data)) => Content::Data(data),
                (None, None) => Content::Nothing,
            });
        }
    }

    /// The transaction of the previous record of an object: never the same one.
    fn previous(&self, of: &RecordHeader, position: u64) -> Result<Option<Tid>, Error> {
        let (mut at, mut from) = (of.previous, position);
        while at != 0 {
            let header = match self.pointed(of.oid, at, from) {
                Ok(header) => header,
                // FileStorage does not read it either: it looks in its index.
                Err(Error::Damaged(_)) => return Ok(None),
                Err(error) => return Err(error),
            };
            if header.tid != of.tid {
                return Ok(Some(header.tid));
            }
            (from, at) = (at, header.previous);
        }
        Ok(None)
    }
}

fn too_long(position: u64) -> Error {
    Error::damaged(position, "a length that does not fit in memory")
}

#[cfg(test)]
mod tests;
