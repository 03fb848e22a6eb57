//! Why a file can not be read or written.

use std::io;

use neo_wire::Tid;

/// Where a file is damaged, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("damaged at position {position}: {reason}")]
pub struct Damage {
    /// Of what is wrong, in bytes from the beginning of the file.
    pub position: u64,
    /// In a few words.
    pub reason: String,
}

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It does not begin as a FileStorage does.
    #[error("not a FileStorage")]
    NotAFileStorage,
    /// The contents are not those of a FileStorage.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// Another process writes to the file.
    #[error("in use by another process")]
    Locked,
    /// A transaction must be newer than the last one.
    #[error("transaction {tid} can not follow {last}")]
    NotNewer {
        /// What was to be written.
        tid: Tid,
        /// The last one of the file.
        last: Tid,
    },
    /// User, description or extension are longer than the format allows.
    #[error("transaction {0}: more than 65535 bytes of user, description or extension")]
    MetadataTooLong(Tid),
}

impl Error {
    pub(crate) fn damaged(position: u64, reason: impl Into<String>) -> Self {
        Self::Damaged(Damage { position, reason: reason.into() })
    }
}
