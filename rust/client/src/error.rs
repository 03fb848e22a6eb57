//! Why a call fails.

use neo_core::client::api::ClientError;
use neo_wire::{Oid, Tid};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The cluster, or the way to it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The selected record is a deletion or an undone creation.
    #[error("{0}: the object does not exist at this revision")]
    CreationUndone(Oid),
    /// Every readable replica gives corrupted data.
    #[error("wrong checksum of {0} at {1} on every replica")]
    WrongChecksum(Oid, Tid),
    /// The caller was interrupted (a signal).
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// A broken promise of the library itself.
    pub(crate) fn broken(what: &str) -> Self {
        Self::Client(ClientError::Broken(what.into()))
    }
}
