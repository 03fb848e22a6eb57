//! Errors as exceptions (spec client.md 1.5).

use neo_client::Error;
use neo_core::client::api::ClientError;
use pyo3::exceptions::{PyKeyboardInterrupt, PyNotImplementedError};
use pyo3::prelude::*;

use super::arguments::Id;

mod neo {
    use pyo3::import_exception;

    import_exception!(neo.client.exception, NEOPrimaryMasterLost);
    import_exception!(neo.client.exception, NEOStorageCreationUndoneError);
    import_exception!(neo.client.exception, NEOStorageDisconnected);
    import_exception!(neo.client.exception, NEOStorageDoesNotExistError);
    import_exception!(neo.client.exception, NEOStorageError);
    import_exception!(neo.client.exception, NEOStorageNotFoundError);
    import_exception!(neo.client.exception, NEOStorageWrongChecksum);
    import_exception!(neo.client.exception, NEOUndoPackError);
    import_exception!(ZODB.POSException, POSKeyError);
    import_exception!(ZODB.POSException, ReadOnlyError);
    import_exception!(ZODB.POSException, StorageTransactionError);
}

/// What an application that knows nothing of NEO gets when an object is not there.
pub(super) fn pos_key_error(oid: Id) -> PyErr {
    neo::POSKeyError::new_err((oid,))
}

/// An operation that the state of this client forbids.
pub(super) fn storage_error(text: &str) -> PyErr {
    neo::NEOStorageError::new_err(text.to_owned())
}

/// Whether there is no such object at all, or not any more.
pub(super) fn does_not_exist(error: &Error) -> bool {
    matches!(error, Error::CreationUndone(_) | Error::Client(ClientError::DoesNotExist(_)))
}

/// Whether there is no such record.
pub(super) fn is_not_found(error: &Error) -> bool {
    does_not_exist(error) || matches!(error, Error::Client(ClientError::NotFound(_)))
}

/// The exception for an error.
pub(super) fn to_python(error: Error) -> PyErr {
    match error {
        Error::Client(error) => of_the_cluster(error),
        Error::CreationUndone(_) => neo::NEOStorageCreationUndoneError::new_err(error.to_string()),
        Error::WrongChecksum(oid, tid) => {
            neo::NEOStorageWrongChecksum::new_err((Id::from(oid), Id::from(tid)))
        }
        Error::Interrupted => PyKeyboardInterrupt::new_err(()),
    }
}

fn of_the_cluster(error: ClientError) -> PyErr {
    let text = error.to_string();
    match error {
        ClientError::MasterLost(_) => neo::NEOPrimaryMasterLost::new_err(text),
        ClientError::Disconnected(_) => neo::NEOStorageDisconnected::new_err(text),
        ClientError::NotFound(_) => neo::NEOStorageNotFoundError::new_err(text),
        ClientError::DoesNotExist(_) => neo::NEOStorageDoesNotExistError::new_err(text),
        ClientError::UndoPack(_) => neo::NEOUndoPackError::new_err(text),
        ClientError::NotImplemented(_) => PyNotImplementedError::new_err(text),
        ClientError::ReadOnly(_) => neo::ReadOnlyError::new_err(text),
        ClientError::UnknownTransaction => neo::StorageTransactionError::new_err(text),
        ClientError::Storage(_) | ClientError::Closed | ClientError::Broken(_) => {
            neo::NEOStorageError::new_err(text)
        }
    }
}
