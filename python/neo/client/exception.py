"""What a NEO storage raises besides the exceptions of ZODB."""

from transaction.interfaces import TransientError
from ZODB.POSException import ReadConflictError, StorageError, UndoError

__all__ = [
    "NEOPrimaryMasterLost",
    "NEOStorageCreationUndoneError",
    "NEOStorageDisconnected",
    "NEOStorageDoesNotExistError",
    "NEOStorageError",
    "NEOStorageNotFoundError",
    "NEOStorageReadRetry",
    "NEOStorageWrongChecksum",
    "NEOUndoPackError",
    "NEOUndoUnknownError",
]


class NEOStorageError(StorageError):
    """Any failure that has no class of its own."""


class NEOStorageDisconnected(NEOStorageError, TransientError):
    """Nodes can not be reached: the transaction is to be tried again."""


class NEOStorageReadRetry(NEOStorageError):
    """Never reaches callers. For code that catches it."""


class NEOStorageNotFoundError(NEOStorageError):
    """The object exists and no record matches, or the TID is unknown."""


class NEOStorageDoesNotExistError(NEOStorageNotFoundError):
    """The object is unknown."""


class NEOStorageCreationUndoneError(NEOStorageDoesNotExistError):
    """The record is a deletion, or an undone creation."""


class NEOUndoPackError(NEOStorageNotFoundError):
    """A record that an undo needs was packed."""


class NEOUndoUnknownError(UndoError, NEOStorageNotFoundError):
    """The transaction to undo is unknown."""


class NEOStorageWrongChecksum(NEOStorageError):
    """Every readable replica gave corrupted data for (oid, tid)."""

    def __str__(self) -> str:
        oid, tid = self.args
        return f"wrong checksum of {oid.hex()} at {tid.hex()} on every replica"


class NEOPrimaryMasterLost(ReadConflictError):
    """A read was impossible because the link to the primary master broke."""
