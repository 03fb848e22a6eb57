//! The format of ZODB's FileStorage, read and written from the first byte to the last one.
//!
//! A file is [`MAGIC`], then transactions: a header, user, description and extension, records, and
//! the length of the transaction once more. A record has data, or the position of another record
//! of the same object whose data it takes (an undo), or nothing (a deletion, an undone creation).
//!
//! Pickles are opaque, and the index that FileStorage keeps beside a file is never used.

mod error;
mod format;
mod index;
mod reader;
mod source;
mod writer;

pub use error::{Damage, Error};
pub use format::{MAGIC, MAGIC_PYTHON_2, Status};
pub use reader::{Content, Reader, Record, Tail, Transaction};
pub use source::Source;
pub use writer::{Appended, Value, Writer};
