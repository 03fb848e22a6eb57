//! Errors of SQLite, in our words.

use rusqlite::ErrorCode;

use crate::{Failure, StoreError};

/// The error of an operation.
pub fn failed(what: &'static str, error: rusqlite::Error) -> StoreError {
    let failure = match &error {
        rusqlite::Error::SqliteFailure(code, text) => {
            let text = text.clone().unwrap_or_else(|| code.to_string());
            match code.code {
                ErrorCode::DiskFull => Failure::DiskFull,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Failure::Corrupted(text),
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly => Failure::Io(text),
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Failure::Busy(text),
                _ => Failure::Other(text),
            }
        }
        rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..) => {
            return StoreError::Inconsistent(error.to_string());
        }
        _ => Failure::Other(error.to_string()),
    };
    StoreError::Failed { what, failure }
}

/// Whether it is only that somebody else uses the database.
pub fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Errors of statements, with what was being done.
pub trait Doing<T> {
    /// Says what was being done.
    fn doing(self, what: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing(self, what: &'static str) -> Result<T, StoreError> {
        self.map_err(|error| failed(what, error))
    }
}
