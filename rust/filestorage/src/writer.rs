//! Writes transactions at the end of a file.
//!
//! A transaction that is being written has status `c`: whoever reads the file ignores it, until
//! its header is written again with its length.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use neo_wire::{Oid, Tid};

use crate::Error;
use crate::format::{
    MAGIC, RECORD_HEADER, RecordHeader, Status, TRANSACTION_HEADER, TransactionHeader,
};
use crate::index::Index;
use crate::reader::{Reader, Tail};

/// Bytes written at once.
const BUFFER: usize = 1 << 20;

/// What an object becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A new revision. A record without a byte can not be told from a deletion.
    Data(&'a [u8]),
    /// The same as in an older transaction, by undo. `data` is written if that one has no record
    /// of the object.
    Back {
        /// That transaction.
        tid: Tid,
        /// The data there; none for a deletion or undone creation.
        data: Option<&'a [u8]>,
    },
    /// Deletion or undone creation.
    Nothing,
}

/// What was found in a file that is continued.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Appended {
    /// Its transactions.
    pub transactions: u64,
    /// What was cut off after the last one.
    pub tail: Option<Tail>,
}

/// See the module.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: File,
    /// Held as long as the writer lives.
    _lock: File,
    buffer: Vec<u8>,
    /// Where the buffer goes.
    flushed: u64,
    index: Index,
    last: Tid,
    current: Option<TransactionHeader>,
    /// Where the current transaction begins.
    start: u64,
}

impl Writer {
    /// Creates a file, or opens one to continue it: what it has is read, `seen` is called with the
    /// TID of each transaction and the end of it, and may refuse; then what is after the last
    /// whole one is cut off.
    ///
    /// # Errors
    /// Those of the system; [`Error::Locked`] while ZODB or another writer has the file; what is
    /// wrong with its contents; those of `seen`.
    pub fn open<E: From<Error>>(
        path: &Path,
        mut seen: impl FnMut(Tid, u64) -> Result<(), E>,
    ) -> Result<(Self, Appended), E> {
        let lock = lock(path)?;
        let file = open(path).map_err(Error::Io)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let index = Index::new(folder.unwrap_or(Path::new("."))).map_err(Error::Io)?;
        let mut writer = Self {
            path: path.to_owned(),
            file,
            _lock: lock,
            buffer: Vec::with_capacity(BUFFER),
            flushed: 4,
            index,
            last: Tid::ZERO,
            current: None,
            start: 4,
        };
        let appended = writer.read_all(&mut seen)?;
        Ok((writer, appended))
    }

    fn read_all<E: From<Error>>(
        &mut self,
        seen: &mut impl FnMut(Tid, u64) -> Result<(), E>,
    ) -> Result<Appended, E> {
        let mut appended = Appended::default();
        let mut reader = Reader::new(&self.file)?;
        if reader.size() == 0 {
            self.file.write_all_at(&MAGIC, 0).map_err(Error::Io)?;
            remove_index(&self.path)?;
            return Ok(appended);
        }
        while let Some(transaction) = reader.next_transaction()? {
            while let Some((oid, position)) = reader.next_place()? {
                self.index.set(oid, position).map_err(Error::Io)?;
            }
            self.last = transaction.tid;
            appended.transactions += 1;
            seen(transaction.tid, reader.position())?;
        }
        appended.tail = reader.tail().cloned();
        self.flushed = appended.tail.as_ref().map_or(reader.size(), |tail| tail.position);
        drop(reader);
        self.file.set_len(self.flushed).map_err(Error::Io)?;
        Ok(appended)
    }

    /// The last transaction; [`Tid::ZERO`] if there is none.
    #[must_use]
    pub const fn last(&self) -> Tid {
        self.last
    }

    /// Bytes of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// [`Error`]
    pub fn begin(
        &mut self,
        tid: Tid,
        status: Status,
        (user, description, extension): (&[u8], &[u8], &[u8]),
    ) -> Result<(), Error> {
        if tid <= self.last {
            return Err(Error::NotNewer { tid, last: self.last });
        }
        let length =
            |text: &[u8]| u16::try_from(text.len()).map_err(|_| Error::MetadataTooLong(tid));
        let header = TransactionHeader {
            tid,
            length: 0,
            status: Some(status),
            user: length(user)?,
            description: length(description)?,
            extension: length(extension)?,
        };
        self.start = self.size();
        TransactionHeader { status: Some(Status::Checkpoint), ..header }.encode(&mut self.buffer);
        for text in [user, description, extension] {
            self.buffer.extend_from_slice(text);
        }
        self.current = Some(header);
        Ok(())
    }

    /// Adds a record to the current transaction.
    ///
    /// # Errors
    /// [`Error`]
    pub fn record(&mut self, oid: Oid, value: Value<'_>) -> Result<(), Error> {
        let Some(TransactionHeader { tid, .. }) = self.current else {
            return Err(io::Error::other("a record outside of a transaction").into());
        };
        let previous = self.index.get(oid)?;
        let (data, pointer) = match value {
            Value::Data(data) => (data, 0),
            Value::Nothing => (&[][..], 0),
            Value::Back { tid, data } => match self.find(previous, tid)? {
                0 => (data.unwrap_or_default(), 0),
                position => (&[][..], position),
            },
        };
        let header = RecordHeader {
            oid,
            tid,
            previous,
            transaction: self.start,
            version: 0,
            data: data.len() as u64,
        };
        self.index.set(oid, self.size())?;
        header.encode(&mut self.buffer);
        if data.is_empty() {
            self.buffer.extend(pointer.to_be_bytes());
        } else {
            self.buffer.extend_from_slice(data);
        }
        self.flush_beyond(BUFFER)
    }

    /// Ends the current transaction.
    ///
    /// # Errors
    /// [`Error`]
    pub fn finish(&mut self) -> Result<(), Error> {
        let Some(mut header) = self.current.take() else {
            return Err(io::Error::other("no transaction is being written").into());
        };
        header.length = self.size() - self.start;
        self.buffer.extend(header.length.to_be_bytes());
        let mut bytes = Vec::with_capacity(TRANSACTION_HEADER as usize);
        header.encode(&mut bytes);
        match self.start.checked_sub(self.flushed).and_then(|at| usize::try_from(at).ok()) {
            Some(at) => {
                if let Some(place) = self.buffer.get_mut(at..at + bytes.len()) {
                    place.copy_from_slice(&bytes);
                }
            }
            None => {
                self.flush_beyond(0)?;
                self.file.write_all_at(&bytes, self.start)?;
            }
        }
        self.last = header.tid;
        self.flush_beyond(BUFFER)
    }

    /// Writes everything, durably.
    ///
    /// # Errors
    /// Those of the system.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.flush_beyond(0)?;
        Ok(self.file.sync_all()?)
    }

    fn flush_beyond(&mut self, limit: usize) -> Result<(), Error> {
        if self.buffer.len() > limit {
            self.file.write_all_at(&self.buffer, self.flushed)?;
            self.flushed += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// The position of the record of an object in a transaction, from its last one backwards; 0 if
    /// there is none.
    fn find(&self, mut position: u64, tid: Tid) -> Result<u64, Error> {
        while position != 0 {
            let header = self.header_at(position)?;
            if header.tid <= tid {
                return Ok(if header.tid == tid { position } else { 0 });
            }
            if header.previous >= position {
                return Err(Error::damaged(position, "a record that comes before itself"));
            }
            position = header.previous;
        }
        Ok(0)
    }

    fn header_at(&self, position: u64) -> Result<RecordHeader, Error> {
        let buffered = position.checked_sub(self.flushed).and_then(|at| usize::try_from(at).ok());
        if let Some(bytes) = buffered.and_then(|at| self.buffer.get(at..)) {
            return Ok(RecordHeader::parse(bytes));
        }
        let mut bytes = [0; RECORD_HEADER as usize];
        self.file.read_exact_at(&mut bytes, position)?;
        Ok(RecordHeader::parse(&bytes))
    }
}

/// The index of a file that is gone would be taken for that of the new one.
fn remove_index(path: &Path) -> Result<(), Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".index");
    match std::fs::remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// What FileStorage locks too, and leaves there.
fn lock(path: &Path) -> Result<File, Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = open(Path::new(&name))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
