"""Undo (spec client.md 8.1)."""

from base64 import b64decode
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from ZODB.POSException import ConflictError, ReadOnlyError, UndoError

from .app import Application, Context
from .exception import (
    NEOStorageNotFoundError,
    NEOUndoPackError,
    NEOUndoUnknownError,
)
from .undolog import last_pack

NOT_FOUND = "Object not found while resolving undo conflict"
MODIFIED = "Some data were modified by a later transaction"

#: Revisions read at once, at first and at most.
FIRST, MOST = 32, 1000

#: Bytes of the revisions read at once, if they are as big as the last ones.
BUDGET = 8 << 20

#: OID, current revision, the one to go back to, whether the undone one is current.
Serial = tuple[bytes, bytes, bytes | None, bool]


def undo(app: Application, transaction_id: bytes, transaction: Any) -> list[bytes]:
    """Stores what makes a transaction undone; the objects that change.

    `transaction_id` is a TID, or one in base64 as `FileStorage` gives them.
    """
    if app.read_only:
        raise ReadOnlyError
    context = app.context(transaction)
    number = app.number(context)
    undone = transaction_id
    if len(undone) != 8:
        try:
            undone = b64decode(transaction_id + b"\n")
        except ValueError as error:
            raise NEOUndoUnknownError(f"not a transaction: {transaction_id!r}") from error
        if len(undone) != 8:
            raise NEOUndoUnknownError(f"not a transaction: {transaction_id!r}")
    try:
        oids = app.client.transaction(undone)[4]
    except NEOStorageNotFoundError as error:
        raise NEOUndoUnknownError(f"no such transaction: {undone.hex()}") from error
    try:
        serials = app.client.undo_serials(number, undone, oids)
    except NEOUndoPackError:
        raise
    except NEOStorageNotFoundError as error:
        raise UndoError("non-undoable transaction") from error
    found = {serial[0]: serial for serial in serials}
    creations = any(target is None and is_current for _, _, target, is_current in serials)
    if creations and undone <= last_pack(app):
        # What a pack left first would be lost: older storages do not know the difference.
        raise UndoError("non-undoable transaction")
    # As they are in the undone transaction; absent ones have nothing to undo.
    oids = [oid for oid in oids if oid in found]
    revisions = _revisions(app, (found[oid] for oid in oids))
    for oid in oids:
        _, current, target, is_current = found[oid]
        if is_current:
            data = None if target is None else next(revisions)
            conflict = app.client.store(number, oid, current, data, target)
        elif target is None:
            raise UndoError(MODIFIED, oid)
        else:
            data = _merge(app, context, oid, current, undone, target)
            conflict = app.client.store(number, oid, current, data)
        context.undone[oid] = data
        if conflict:
            app.resolve(context, conflict)
    app.flush(context)
    return oids


def _revisions(app: Application, serials: Iterable[Serial]) -> Iterator[bytes | None]:
    """Data to go back to, of the objects that did not change since."""
    wanted = ((oid, target) for oid, _, target, is_current in serials if is_current and target)
    length = FIRST
    while group := list(islice(wanted, length)):
        try:
            found = app.past.revisions(group)
        except NEOStorageNotFoundError as error:
            raise NEOUndoPackError("what the undo goes back to was packed meanwhile") from error
        size = sum(len(data or b"") for data in found) // len(found)
        length = min(max(BUDGET // max(size, 1), 1), MOST)
        yield from found


def _merge(
    app: Application, context: Context, oid: bytes, current: bytes, undone: bytes, target: bytes
) -> bytes:
    """What the object becomes although it was changed after the undone transaction."""
    try:
        committed: bytes | None
        if oid in context.undone:
            committed = context.undone[oid]
        else:
            # What this very transaction stored is not a revision yet.
            committed = app.client.stored(app.number(context), oid)
            if committed is None:
                committed = app.client.load_revision(oid, current)[0]
        data = app.client.load_revision(oid, target)[0]
    except NEOStorageNotFoundError as error:
        raise UndoError(NOT_FOUND, oid) from error
    if committed is None:
        raise UndoError(NOT_FOUND, oid)
    try:
        merged: bytes = context.storage.tryToResolveConflict(oid, current, undone, data, committed)
    except ConflictError as error:
        raise UndoError(MODIFIED, oid) from error
    return merged
